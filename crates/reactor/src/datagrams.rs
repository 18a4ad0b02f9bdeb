//! Datagrams as a part of the world: the trait, and what it speaks of.
//!
//! The rules are those of `world.rs`.

use crate::id::{Fd, Id};
use crate::world::World;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

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
    /// Joins a group for what one source sends to it (RFC 4607).
    JoinSource {
        /// Whose datagrams.
        source: IpAddr,
        /// To which group, of the same family.
        group: IpAddr,
        /// On which interface, as in [`Join`](Self::Join).
        on: IpAddr,
    },
    /// Leaves it again.
    LeaveSource {
        /// As it was joined.
        source: IpAddr,
        /// As it was joined.
        group: IpAddr,
        /// As it was joined.
        on: IpAddr,
    },
    /// Through which interface multicasts leave (`IP_MULTICAST_IF`), named as in
    /// [`Join`](Self::Join).
    MulticastInterface(IpAddr),
    /// The class of what is sent: six bits of DSCP and two of ECN (`IP_TOS`, `IPV6_TCLASS`).
    Class(u8),
    /// The kernel's receive buffer, in bytes. Linux keeps twice as much, its own book-keeping
    /// counted in, and at most twice `net.core.rmem_max`.
    ReceiveBuffer(usize),
    /// The kernel's send buffer, in bytes; likewise, with `net.core.wmem_max`.
    SendBuffer(usize),
}

/// How a datagram socket is bound.
///
/// What `destination` to `time` ask for comes in [`Facts`], datagram by datagram. Each costs the
/// kernel a note beside the datagram; what is not asked for costs nothing.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BindOptions {
    /// Several sockets on one address (`SO_REUSEADDR`): multicast listeners.
    pub reuse_address: bool,
    /// Several sockets share one port's load (`SO_REUSEPORT`).
    pub reuse_port: bool,
    /// An IPv6 socket takes IPv6 alone.
    pub ipv6_only: bool,
    /// The kernel may hand over datagrams of one sender and one size together (`UDP_GRO`), where
    /// it can; they are told one by one all the same. On: where nothing can be put together it
    /// costs a dozen instructions a datagram and no system call, and where something can, one
    /// walk through the kernel serves up to 64. Each room must then hold [`ROOM_MAX`] bytes.
    pub gro: bool,
    /// Tell where each datagram was sent to, and through which interface it came
    /// (`IP_PKTINFO`): what a server on several addresses answers from.
    pub destination: bool,
    /// Tell each datagram's class, DSCP and ECN (`IP_RECVTOS`).
    pub class: bool,
    /// Tell the hops that each datagram had left (`IP_RECVTTL`).
    pub ttl: bool,
    /// Tell how many the kernel has dropped for want of room (`SO_RXQ_OVFL`).
    pub drops: bool,
    /// Tell when the kernel received each datagram (`SO_TIMESTAMPNS`).
    pub time: bool,
    /// Keep what the network says of datagrams that could not be delivered, each with whom it was
    /// for (`IP_RECVERR`); without it a socket that is not associated hears nothing of them.
    pub errors: bool,
}

impl Default for BindOptions {
    fn default() -> Self {
        BindOptions {
            reuse_address: false,
            reuse_port: false,
            ipv6_only: false,
            gro: true,
            destination: false,
            class: false,
            ttl: false,
            drops: false,
            time: false,
            errors: false,
        }
    }
}

impl BindOptions {
    /// Whether anything is asked for that [`Facts`] tell.
    #[must_use]
    pub fn facts(&self) -> bool {
        self.destination || self.class || self.ttl || self.drops || self.time
    }
}

/// What the kernel says of one datagram, as far as [`BindOptions`] asked for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Facts {
    /// Where it was sent to: an address of ours, a group, a broadcast.
    pub destination: Option<IpAddr>,
    /// Which address of ours to answer from. `None` for a group of IPv6.
    pub local: Option<IpAddr>,
    /// The index of the interface through which it came.
    pub interface: Option<u32>,
    /// DSCP, six bits, and ECN, the two lowest.
    pub class: Option<u8>,
    /// The hops that it had left.
    pub ttl: Option<u8>,
    /// Datagrams that the kernel has dropped since the socket was bound, up to this one's arrival,
    /// since its receive buffer was full. Wraps around.
    pub dropped: u32,
    /// When the kernel received it: how long after the beginning of 1970, in UTC.
    pub time: Option<Duration>,
}

impl Facts {
    /// Facts that say nothing.
    pub const NONE: Facts = Facts {
        destination: None,
        local: None,
        interface: None,
        class: None,
        ttl: None,
        dropped: 0,
        time: None,
    };

    /// Where an answer leaves from, so that it comes from where the question went to.
    #[must_use]
    pub fn source(&self) -> Option<Source> {
        let ip = self.local?;
        // Only an address of IPv6 that many interfaces have says nothing without one.
        let interface = match ip {
            IpAddr::V6(ip) if ip.is_unicast_link_local() => self.interface.unwrap_or(0),
            _ => 0,
        };
        Some(Source { ip, interface })
    }
}

/// Where a datagram leaves from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Source {
    /// One of our addresses; unspecified: the system's choice.
    pub ip: IpAddr,
    /// The index of one of our interfaces; 0: the system's choice.
    pub interface: u32,
}

/// What the kernel has set for a socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct DatagramSettings {
    /// The receive buffer, in bytes, with the kernel's own book-keeping.
    pub receive_buffer: usize,
    /// The send buffer, likewise.
    pub send_buffer: usize,
    /// Hops of what is sent.
    pub ttl: u32,
    /// Hops of multicasts.
    pub multicast_ttl: u32,
}

/// A room that holds any datagram, and any that were put together, in bytes: what 16 bits of length
/// can say, and a cache line more. Rooms whose size is a power of two would begin at addresses that
/// all compete for the same few lines of a cache.
pub const ROOM_MAX: usize = 65_536 + 64;

/// Datagrams. Batches are the only form: one datagram is a batch of one.
pub trait Datagrams: World {
    /// Opens a socket whose readiness goes to `id`; says where it is (the real port).
    ///
    /// # Errors
    /// What the kernel says: the address in use, not ours, not allowed.
    fn bind(&mut self, at: SocketAddr, how: &BindOptions, id: Id) -> io::Result<(Fd, SocketAddr)>;
    /// Takes over a socket that is bound already, by a parent process for instance, as if this
    /// world had bound it; says where it is, and which peer it has.
    ///
    /// # Errors
    /// No datagram socket of IPv4 or IPv6 (`InvalidInput`); `Unsupported` in a world that cannot.
    fn adopt_datagrams(
        &mut self,
        _socket: OwnedFd,
        _how: &BindOptions,
        _id: Id,
    ) -> io::Result<(Fd, SocketAddr, Option<SocketAddr>)> {
        Err(io::ErrorKind::Unsupported.into())
    }
    /// Takes only from, and sends to, this peer from now on.
    ///
    /// # Errors
    /// What the kernel says: no route, wrong family.
    fn associate(&mut self, fd: Fd, peer: SocketAddr) -> io::Result<()>;
    /// Takes from, and sends to, anyone again, from where it was bound.
    ///
    /// # Errors
    /// What the kernel says; `Unsupported` in a world that cannot.
    fn dissociate(&mut self, _fd: Fd) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    /// Receives into up to `into.len() / room` rooms (at most [`BATCH`]) of `room` bytes each, in
    /// their order, and appends one entry to `got` for each datagram. Less rooms than it could
    /// take: dry. One room has one datagram, or with [`BindOptions::gro`] several that were put
    /// together, one behind the other; it is then to hold [`ROOM_MAX`] bytes, or some are lost.
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
    /// [`recv`](Self::recv) that also tells what [`BindOptions`] asked for: one entry of `facts`
    /// for each of `got`, which both begin empty.
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    fn recv_facts(
        &mut self,
        fd: Fd,
        into: &mut [u8],
        room: usize,
        got: &mut Vec<Datagram>,
        facts: &mut Vec<Facts>,
    ) -> io::Result<()> {
        self.recv(fd, into, room, got)?;
        facts.resize(got.len(), Facts::NONE);
        Ok(())
    }
    /// Sends the datagrams of `batch`, whose bytes lie in `bytes` at their offsets; says how many
    /// went. Less than all: try the rest, at once or when writable.
    ///
    /// One call sends at most [`BATCH`] messages. Datagrams of one length to one peer may leave
    /// as one message when their bytes lie one behind the other, the last of them no longer than
    /// the others (`UDP_SEGMENT`).
    ///
    /// # Errors
    /// That of the first datagram of `batch`, and then none was sent: `WouldBlock`, too large,
    /// no route, refused.
    fn send(&mut self, fd: Fd, batch: &[Datagram], bytes: &[u8]) -> io::Result<usize>;
    /// [`send`](Self::send) from an address or through an interface of the caller's choice.
    ///
    /// # Errors
    /// As [`send`](Self::send); an address that is not ours; `Unsupported` in a world that cannot.
    fn send_from(
        &mut self,
        _fd: Fd,
        _batch: &[Datagram],
        _bytes: &[u8],
        _source: Source,
    ) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }
    /// The next of the errors that [`BindOptions::errors`] asked to keep, with whom the datagram
    /// was for; `None` when there is none.
    fn next_error(&mut self, _fd: Fd) -> Option<(SocketAddr, io::Error)> {
        None
    }
    /// Changes a setting.
    ///
    /// # Errors
    /// What the kernel says.
    fn set_datagram(&mut self, fd: Fd, option: DatagramOption) -> io::Result<()>;
    /// Opens a Unix datagram socket at a path, which is unlinked when it is closed; one that begins
    /// with a NUL byte is a name in Linux's abstract namespace, an empty one is none.
    ///
    /// # Errors
    /// What the kernel says: in use, not allowed; `Unsupported` in a world that has none.
    fn bind_unix(&mut self, _at: &Path, _id: Id) -> io::Result<Fd> {
        Err(io::ErrorKind::Unsupported.into())
    }
    /// Receives one datagram of a Unix socket: how long it is, and from which path (empty: from a
    /// socket without one). What is longer than `into` is cut.
    ///
    /// # Errors
    /// `WouldBlock` when none is there.
    fn recv_unix(&mut self, _fd: Fd, _into: &mut [u8]) -> io::Result<(usize, PathBuf)> {
        Err(io::ErrorKind::Unsupported.into())
    }
    /// Sends one datagram to a path.
    ///
    /// # Errors
    /// What the kernel says: nobody is there, too large; `WouldBlock` when the receiver has too
    /// many waiting, and no readiness tells when that is over.
    fn send_unix(&mut self, _fd: Fd, _to: &Path, _bytes: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    /// What is set.
    ///
    /// # Errors
    /// What the kernel says; `Unsupported` in a world that has no such settings.
    fn datagram_settings(&mut self, _fd: Fd) -> io::Result<DatagramSettings> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Messages of one system call at most: enough to make the call's own cost vanish, few enough
/// that their headers (about 200 B each) stay in the first-level cache's reach.
pub const BATCH: usize = 64;
