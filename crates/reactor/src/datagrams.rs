//! Datagrams as a part of the world: the trait, and what it speaks of.
//!
//! The rules are those of `world.rs`.

use crate::id::{Fd, Id};
use crate::world::World;
use std::io;
use std::net::{IpAddr, SocketAddr};

/// One datagram of a batch: who it is from or to, and where it lies in the batch's bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Datagram {
    /// The sender of what came, the receiver of what goes. On a connected socket that sends, the
    /// peer that it is connected to.
    pub peer: SocketAddr,
    /// Offset of its first byte.
    pub start: u32,
    /// Length in bytes; 0 is a datagram too.
    pub len: u32,
    /// It was longer than the room for it; the rest is lost (`MSG_TRUNC`).
    pub truncated: bool,
}

/// A setting of a datagram socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum DatagramOption {
    /// `SO_BROADCAST`.
    Broadcast(bool),
    /// `IP_TTL` / `IPV6_UNICAST_HOPS`.
    Ttl(u32),
    /// `IP_MULTICAST_TTL` / `IPV6_MULTICAST_HOPS`.
    MulticastTtl(u32),
    /// Own multicasts come back (`IP_MULTICAST_LOOP`).
    MulticastLoop(bool),
    /// Joins a group on an interface: of IPv4 by its address (unspecified: the system's choice),
    /// of IPv6 by its index as the last four bytes of `::index` (unspecified: likewise).
    Join(IpAddr, IpAddr),
    /// Leaves a group.
    Leave(IpAddr, IpAddr),
    /// The kernel's receive buffer, in bytes.
    ReceiveBuffer(usize),
    /// The kernel's send buffer, in bytes.
    SendBuffer(usize),
}

/// How a datagram socket is bound.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct BindOptions {
    /// Several sockets on one address (`SO_REUSEADDR`): multicast listeners.
    pub reuse_address: bool,
    /// Several sockets share one port's load (`SO_REUSEPORT`).
    pub reuse_port: bool,
    /// An IPv6 socket takes IPv6 alone.
    pub ipv6_only: bool,
}

/// Datagrams. Batches are the only form: one datagram is a batch of one.
pub trait Datagrams: World {
    /// Opens a socket whose readiness goes to `id`; says where it is (the real port).
    ///
    /// # Errors
    /// What the kernel says: the address in use, not ours, not allowed.
    fn bind(&mut self, at: SocketAddr, how: &BindOptions, id: Id) -> io::Result<(Fd, SocketAddr)>;
    /// Takes only from, and sends to, this peer from now on.
    ///
    /// # Errors
    /// What the kernel says: no route, wrong family.
    fn associate(&mut self, fd: Fd, peer: SocketAddr) -> io::Result<()>;
    /// Receives up to `into.len() / room` datagrams (at most [`BATCH`]), each into its own `room`
    /// bytes of `into`, and appends one entry for each to `got`. Less than it could take: dry.
    ///
    /// # Errors
    /// `WouldBlock` when none is there; an error that the kernel kept for this socket
    /// (`ConnectionRefused` of an earlier send), after which receiving goes on.
    fn recv(
        &mut self,
        fd: Fd,
        into: &mut [u8],
        room: usize,
        got: &mut Vec<Datagram>,
    ) -> io::Result<()>;
    /// Sends the datagrams of `batch`, whose bytes lie in `bytes` at their offsets; says how many
    /// went. Less than all: try the rest when writable, or after looking at the next error.
    ///
    /// # Errors
    /// That of the first datagram of `batch`, and then none was sent: `WouldBlock`, too large,
    /// no route, refused.
    fn send(&mut self, fd: Fd, batch: &[Datagram], bytes: &[u8]) -> io::Result<usize>;
    /// Changes a setting.
    ///
    /// # Errors
    /// What the kernel says.
    fn set_datagram(&mut self, fd: Fd, option: DatagramOption) -> io::Result<()>;
}

/// Datagrams of one system call at most: enough to make the call's own cost vanish, few enough
/// that their headers (about 200 B each) stay in the first-level cache's reach.
pub const BATCH: usize = 64;
