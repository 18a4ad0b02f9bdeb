//! Everything outside the program, as traits: the clock, the poll, sockets, randomness, signals.
//!
//! Rules of this file:
//! * Whatever is not deterministic comes through here, so that a run can be simulated, recorded
//!   and replayed. `&mut self` everywhere, `now` too: a recorder writes every answer down.
//! * No call blocks but [`World::poll`]. A socket call that cannot go on says `WouldBlock`.
//! * A short read or write, and a `WouldBlock`, promise a new [`Ready`] when there is more to do.
//!   Readiness is told once for each change (edge-triggered); spurious readiness is allowed.
//! * `Interrupted` never comes out: a `World` tries again by itself.

use crate::blocking::{Done, Job};
use crate::id::{Fd, Id, Instant, Ready};
use crate::mail::{Mail, Mailbox};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// The part of the world that every driver needs.
pub trait World: 'static {
    /// The monotonic clock. Never goes back, never `Instant(0)`.
    fn now(&mut self) -> Instant;
    /// The time of day: how long after the beginning of 1970, in UTC. May jump. Unless a world
    /// says otherwise it began on the first day of 2026, so that simulated runs print one date.
    fn unix_time(&mut self) -> Duration {
        Duration::from_secs(1_767_225_600) + self.now().since(Instant(0))
    }
    /// Waits until something is ready, or `until` (`None`: without end; a past time: not at all),
    /// and appends what is ready. Returns early for no reason at times. Never late on purpose.
    ///
    /// # Errors
    /// When the poll itself is broken: the loop cannot go on.
    fn poll(&mut self, until: Option<Instant>, ready: &mut Vec<Ready>) -> io::Result<()>;
    /// Fills `into` with bytes that nobody can guess (or that a seed gives, in a simulation).
    fn random(&mut self, into: &mut [u8]);
    /// Closes a socket of any kind. Of a stream, bytes that were written still go out.
    fn close(&mut self, fd: Fd);
    /// Asks that these signals be told to `id`: a [`Ready`] for it says that
    /// [`World::next_signal`] has an answer.
    ///
    /// # Errors
    /// A signal that cannot be caught; no descriptor is left.
    fn watch_signals(&mut self, signals: &[i32], id: Id) -> io::Result<()>;
    /// The next signal that came in for this watch, by its number.
    fn next_signal(&mut self, watch: Id) -> Option<i32>;
    /// A door for other threads; what they put in is told by a [`Ready`] for [`Id::MAIL`].
    ///
    /// # Errors
    /// No descriptor is left for it.
    fn mailbox(&mut self) -> io::Result<Mailbox>;
    /// Runs a job where it may block: here, unless a world has a better place, and then gives what
    /// came out; `None` promises a post of it to [`Done::DRIVER`] by the mailbox.
    ///
    /// # Errors
    /// There is no thread for it, and it did not run.
    fn offload(&mut self, job: Job) -> io::Result<Option<Done>> {
        Ok(Some(job.run()))
    }
    /// Takes what other threads have sent, in order.
    fn mail(&mut self, into: &mut Vec<Mail>);
}

/// Where a stream socket is, or shall be: an IP address and port, or a Unix path.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub enum Address {
    /// TCP. Port 0 asks the system to choose.
    Ip(SocketAddr),
    /// A Unix stream socket. An empty path is an unnamed socket (the usual client); a path that
    /// begins with a NUL byte is a name in Linux's abstract namespace.
    Unix(PathBuf),
}

impl Address {
    /// The IP address and port, if this is one.
    #[must_use]
    pub fn ip(&self) -> Option<SocketAddr> {
        match self {
            Address::Ip(at) => Some(*at),
            Address::Unix(_) => None,
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(at: SocketAddr) -> Self {
        Address::Ip(at)
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Address::Ip(at) => at.fmt(f),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// How a listener, and the connections that it accepts, are set up.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ListenOptions {
    /// Connections that the kernel completes and keeps until we accept them. The kernel caps it
    /// at `net.core.somaxconn`. 1024: a burst of a thousand clients loses no SYN.
    pub backlog: u32,
    /// Several listeners on one port, one a thread (`SO_REUSEPORT`).
    pub reuse_port: bool,
    /// An IPv6 listener takes IPv6 alone, not IPv4 mapped into it.
    pub ipv6_only: bool,
    /// Send small writes at once (`TCP_NODELAY`), for every accepted connection. On: a turn's
    /// output is one write already, so Nagle's algorithm could only delay it.
    pub nodelay: bool,
    /// Probe idle connections after this long (`SO_KEEPALIVE`, `TCP_KEEPIDLE`).
    pub keepalive: Option<Duration>,
}

impl Default for ListenOptions {
    fn default() -> Self {
        ListenOptions {
            backlog: 1024,
            reuse_port: false,
            ipv6_only: false,
            nodelay: true,
            keepalive: None,
        }
    }
}

/// A setting of an open stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum StreamOption {
    /// `TCP_NODELAY`; on for every stream unless told.
    NoDelay(bool),
    /// `SO_KEEPALIVE` with its idle time; `None` is off.
    KeepAlive(Option<Duration>),
    /// The kernel's receive buffer, in bytes (`SO_RCVBUF`).
    ReceiveBuffer(usize),
    /// The kernel's send buffer, in bytes (`SO_SNDBUF`).
    SendBuffer(usize),
}

/// Byte streams: TCP and Unix sockets.
pub trait Streams: World {
    /// Opens a listener whose readiness goes to `id`; says where it is (the real port).
    ///
    /// # Errors
    /// What the kernel says: the address in use, not ours, not allowed.
    fn listen(&mut self, at: &Address, how: &ListenOptions, id: Id) -> io::Result<(Fd, Address)>;
    /// The next waiting connection, its readiness going to `id`, and who it is.
    ///
    /// # Errors
    /// `WouldBlock` when none waits. `ConnectionAborted`: one died while it waited; the next may
    /// be well. Without descriptors or memory: what the kernel says; the connection goes on
    /// waiting, and no readiness is promised for it.
    fn accept(&mut self, listener: Fd, id: Id) -> io::Result<(Fd, Address)>;
    /// Begins a connection; a [`Ready`] with `writable` says that it stands or failed.
    ///
    /// # Errors
    /// What the kernel says at once (no such path, no route, no descriptor).
    fn connect(&mut self, to: &Address, from: Option<SocketAddr>, id: Id) -> io::Result<Fd>;
    /// After that `Ready`: does it stand?
    ///
    /// # Errors
    /// `WouldBlock`: not yet. Anything else: it failed, and why.
    fn connected(&mut self, fd: Fd) -> io::Result<()>;
    /// Reads what has come in; `Ok(0)` is the peer's end.
    ///
    /// # Errors
    /// `WouldBlock`, or the end of the connection (`ConnectionReset`, `TimedOut`).
    fn read(&mut self, fd: Fd, into: &mut [u8]) -> io::Result<usize>;
    /// Writes; may take less than there is.
    ///
    /// # Errors
    /// `WouldBlock`; `OutOfMemory`: the kernel has no room for it now, and promises no readiness;
    /// or the end of the connection (`BrokenPipe`, `ConnectionReset`).
    fn write(&mut self, fd: Fd, bytes: &[u8]) -> io::Result<usize>;
    /// Ends our side, behind what was written.
    ///
    /// # Errors
    /// `NotConnected` when the connection is gone.
    fn shutdown(&mut self, fd: Fd) -> io::Result<()>;
    /// Closes at once and throws away what is unsent: the peer of a TCP stream sees a reset.
    fn reset(&mut self, fd: Fd);
    /// Changes a setting.
    ///
    /// # Errors
    /// What the kernel says; `Unsupported` on a Unix socket for what TCP alone has.
    fn set(&mut self, fd: Fd, option: StreamOption) -> io::Result<()>;
    /// Our end's address.
    ///
    /// # Errors
    /// What the kernel says of a socket that is gone.
    fn local(&mut self, fd: Fd) -> io::Result<Address>;
    /// The peer's address.
    ///
    /// # Errors
    /// `NotConnected` when it is gone.
    fn peer(&mut self, fd: Fd) -> io::Result<Address>;
}

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
