//! Byte streams as a part of the world: the trait, and what it speaks of.
//!
//! The rules are those of `world.rs`.

use crate::id::{Fd, Id};
use crate::world::World;
use std::fs::File;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::Duration;

/// What is read of a file at a time, where the kernel does not send it itself: a part of the
/// stack, and long enough that the two calls are a small part of the work.
const FILE_CHUNK: usize = 16 * 1024;

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
    /// Probe idle connections (`SO_KEEPALIVE`).
    pub keepalive: Option<KeepAlive>,
    /// More settings, of the listener's socket before it is bound: accepted connections inherit
    /// them. Of a Unix socket the buffers' sizes alone.
    pub settings: Vec<StreamOption>,
    /// The one network device that connections may come in by (`SO_BINDTODEVICE`).
    pub device: Option<String>,
    /// Handshakes whose SYN brought data, that may wait for their ACK at a time (`TCP_FASTOPEN`,
    /// RFC 7413); 0 is off. The system must allow it too: bit 2 of `net.ipv4.tcp_fastopen`.
    pub fast_open: u32,
    /// The permissions of a Unix path, such as `0o666` for everybody: who may write may connect.
    /// They hold before the first connection can come. `None`: as the process's mask has them.
    pub unix_mode: Option<u32>,
    /// Removes the Unix path when the listener is closed, if it is still the one that was made.
    pub unlink: bool,
}

impl Default for ListenOptions {
    fn default() -> Self {
        ListenOptions {
            backlog: 1024,
            reuse_port: false,
            ipv6_only: false,
            nodelay: true,
            keepalive: None,
            settings: Vec::new(),
            device: None,
            fast_open: 0,
            unix_mode: None,
            unlink: true,
        }
    }
}

/// How a dialed connection is set up, before its first packet leaves.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ConnectOptions {
    /// Settings of the socket. A receive buffer's size counts in full only when it is set here:
    /// the first packet tells the peer how far the window may grow.
    pub settings: Vec<StreamOption>,
    /// The one network device that the connection may use (`SO_BINDTODEVICE`).
    pub device: Option<String>,
    /// The first bytes leave with the SYN, a round trip sooner, if the peer has given its cookie
    /// before (`TCP_FASTOPEN_CONNECT`, RFC 7413). The connection then stands at once, as far as
    /// can be told, and nothing at all is sent before there are bytes: only for who speaks first.
    /// Such bytes may arrive twice (§2.1): only for what may be repeated.
    pub fast_open: bool,
}

/// When the kernel probes a connection that is idle, and when it gives up
/// ([`TimedOut`](io::ErrorKind::TimedOut)): after `idle + count * interval`. Whole seconds, one at
/// least.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeepAlive {
    /// Idle for so long, before the first probe (`TCP_KEEPIDLE`).
    pub idle: Duration,
    /// Between two probes (`TCP_KEEPINTVL`); `None` is the system's, as a rule 75 s.
    pub interval: Option<Duration>,
    /// Probes without an answer (`TCP_KEEPCNT`); `None` is the system's, as a rule 9.
    pub count: Option<u32>,
}

impl From<Duration> for KeepAlive {
    fn from(idle: Duration) -> Self {
        KeepAlive { idle, interval: None, count: None }
    }
}

/// A setting of an open stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum StreamOption {
    /// `TCP_NODELAY`; on for every stream unless told.
    NoDelay(bool),
    /// `SO_KEEPALIVE` with its times; `None` is off.
    KeepAlive(Option<KeepAlive>),
    /// The kernel's receive buffer, in bytes (`SO_RCVBUF`). Linux reserves twice as much, for its
    /// own bookkeeping, and stops to tune the size by itself.
    ReceiveBuffer(usize),
    /// The kernel's send buffer, in bytes (`SO_SNDBUF`), likewise.
    SendBuffer(usize),
    /// The type of service, or traffic class, of its packets (`IP_TOS`, `IPV6_TCLASS`). The two
    /// low bits (ECN) are the kernel's.
    Tos(u8),
    /// Unsent bytes that the kernel takes at most before it calls the socket full
    /// (`TCP_NOTSENT_LOWAT`): what waits here can still be chosen, what waits there cannot.
    NotSentLowWater(u32),
    /// Sent bytes may wait so long for their acknowledgement, to the millisecond, before the
    /// connection has timed out (`TCP_USER_TIMEOUT`, RFC 5482). `None`: as the system retries,
    /// about 15 minutes.
    UserTimeout(Option<Duration>),
    /// Acknowledges at once, or may wait (`TCP_QUICKACK`). The kernel changes it back as it sees
    /// fit.
    QuickAck(bool),
    /// The kernel asks the network device for packets, for so many microseconds, before it sleeps
    /// (`SO_BUSY_POLL`). More than the system has set needs a privilege.
    BusyPoll(u32),
    /// Whoever closes it, and a death of the process too, resets the connection: what is unsent is
    /// lost, and no state is left in the kernel (`SO_LINGER` of zero). Longer times are not
    /// offered: a close would block the loop for so long.
    ResetOnClose(bool),
}

/// Where a TCP connection is in its life (RFC 9293 §3.3.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum TcpState {
    /// Open both ways.
    Established,
    /// We have asked, and wait for the answer.
    SynSent,
    /// We were asked, have answered, and wait for the acknowledgement.
    SynReceived,
    /// We have ended; neither our end is acknowledged nor the peer's has come.
    FinWait1,
    /// Our end is acknowledged; the peer's has not come.
    FinWait2,
    /// Over; late segments are waited for.
    TimeWait,
    /// Over, or never begun.
    #[default]
    Closed,
    /// The peer has ended, we have not.
    CloseWait,
    /// The peer had ended, we have too, and wait for the acknowledgement.
    LastAck,
    /// A listener.
    Listen,
    /// Both have ended at once; our end is not acknowledged.
    Closing,
}

/// What the kernel knows of a TCP connection (`TCP_INFO`). What it does not tell is 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct StreamInfo {
    /// Where it is in its life.
    pub state: TcpState,
    /// The peer acknowledged data that came with our SYN (RFC 7413).
    pub syn_data: bool,
    /// The time to the peer and back, smoothed (RFC 6298's SRTT).
    pub round_trip: Duration,
    /// How far single round trips are from it, on average.
    pub round_trip_deviation: Duration,
    /// The least that was seen of late.
    pub round_trip_min: Duration,
    /// Silence after which the oldest segment is sent again.
    pub retransmit_timeout: Duration,
    /// Segments that may be on their way at a time.
    pub congestion_window: u32,
    /// The window up to which it grows fast, in segments.
    pub slow_start_threshold: u32,
    /// The longest segment that we send, in bytes of payload.
    pub segment: u32,
    /// Segments sent and not acknowledged.
    pub unacknowledged: u32,
    /// Segments that are taken for lost.
    pub lost: u32,
    /// Times that a timeout has struck since the last acknowledgement.
    pub timeouts: u32,
    /// Segments that were sent again, in all.
    pub retransmissions: u32,
    /// Bytes in the kernel that were not sent yet.
    pub unsent: u32,
    /// Bytes sent, those sent again counted again.
    pub bytes_sent: u64,
    /// Of them, bytes that were sent again.
    pub bytes_resent: u64,
    /// Bytes that the peer has acknowledged.
    pub bytes_acknowledged: u64,
    /// Bytes that came in, whether or not they were read.
    pub bytes_received: u64,
    /// How fast bytes were delivered of late, in bytes a second.
    pub delivery_rate: u64,
    /// How fast the kernel sends at most, in bytes a second; `u64::MAX` is as fast as it can.
    pub pacing_rate: u64,
}

/// The process at the other end of a Unix socket, as it was when it connected or listened
/// (`SO_PEERCRED`). The kernel vouches for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Credentials {
    /// Its number; `None` where ours cannot see it (another namespace of processes).
    pub pid: Option<u32>,
    /// Its effective user.
    pub uid: u32,
    /// Its effective group.
    pub gid: u32,
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
    /// Begins a connection; a [`Ready`](crate::Ready) with `writable` says that it stands or
    /// failed.
    ///
    /// # Errors
    /// What the kernel says at once (no such path, no route, no descriptor).
    fn connect(&mut self, to: &Address, from: Option<SocketAddr>, id: Id) -> io::Result<Fd>;
    /// As [`connect`](Self::connect), with settings. A world that has no such settings dials
    /// without them.
    ///
    /// # Errors
    /// As `connect`; what the kernel says of a setting.
    fn connect_with(
        &mut self,
        to: &Address,
        from: Option<SocketAddr>,
        _how: &ConnectOptions,
        id: Id,
    ) -> io::Result<Fd> {
        self.connect(to, from, id)
    }
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
    /// Writes slices as one; may take less than there is. A count that ends within a slice
    /// promises a [`Ready`](crate::Ready), as a short write does; one that ends between two
    /// promises nothing. A world that cannot gather writes the first.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    fn write_vectored(&mut self, fd: Fd, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let first = slices.iter().find(|slice| !slice.is_empty());
        first.map_or(Ok(0), |slice| self.write(fd, slice))
    }
    /// Writes `len` bytes of a file, from `at` on; may take less, and promises a readiness for
    /// the rest only with `WouldBlock`. `Ok(0)`: the file ends there. Blocks for as long as the
    /// disk needs. A world that has no such call reads a part of the file, and writes it.
    ///
    /// # Errors
    /// As [`write`](Self::write); what the system says of the file.
    fn send_file(&mut self, fd: Fd, file: &File, at: u64, len: u64) -> io::Result<u64> {
        copy_file(self, fd, file, at, len)
    }
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
    /// As [`listen`](Self::listen), on a socket that somebody else has bound, and perhaps has made
    /// to listen already. What of `how` is about binding is void, and a Unix path stays when the
    /// listener is closed: it is not ours.
    ///
    /// # Errors
    /// `InvalidInput`: no stream socket of TCP or Unix, or one that is connected; what the kernel
    /// says. The socket is closed then. `Unsupported`: this world has no descriptors.
    fn listen_on(
        &mut self,
        _socket: OwnedFd,
        _how: &ListenOptions,
        _id: Id,
    ) -> io::Result<(Fd, Address)> {
        Err(io::ErrorKind::Unsupported.into())
    }
    /// Takes over a stream that is connected; its settings stay as they are.
    ///
    /// # Errors
    /// `InvalidInput`: no stream socket of TCP or Unix. `NotConnected`. The socket is closed then.
    /// `Unsupported`: this world has no descriptors.
    fn adopt(&mut self, _socket: OwnedFd, _id: Id) -> io::Result<Fd> {
        Err(io::ErrorKind::Unsupported.into())
    }
    /// Gives a stream away: it is this world's no more. It stays non-blocking.
    ///
    /// # Errors
    /// What the kernel says; the stream stays then. `Unsupported`: this world has no descriptors.
    fn release(&mut self, _fd: Fd) -> io::Result<OwnedFd> {
        Err(io::ErrorKind::Unsupported.into())
    }
    /// What is known of a TCP connection.
    ///
    /// # Errors
    /// `Unsupported` of a Unix socket, and of a world that keeps no such account.
    fn info(&mut self, _fd: Fd) -> io::Result<StreamInfo> {
        Err(io::ErrorKind::Unsupported.into())
    }
    /// Who is at the other end of a Unix socket.
    ///
    /// # Errors
    /// `Unsupported` of a TCP connection, and of a world without processes.
    fn credentials(&mut self, _fd: Fd) -> io::Result<Credentials> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Reads a part of a file's range and writes it; what was written.
pub(crate) fn copy_file<W: Streams + ?Sized>(
    world: &mut W,
    fd: Fd,
    file: &File,
    at: u64,
    len: u64,
) -> io::Result<u64> {
    let mut chunk = [0; FILE_CHUNK];
    let room = FILE_CHUNK.min(usize::try_from(len).unwrap_or(FILE_CHUNK));
    let there = loop {
        match file.read_at(&mut chunk[..room], at) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            other => break other?,
        }
    };
    if there == 0 {
        return Ok(0);
    }
    world.write(fd, &chunk[..there]).map(|n| n as u64)
}
