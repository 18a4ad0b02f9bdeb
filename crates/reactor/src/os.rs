//! The real world: mio, the kernel's sockets, the clock.
//!
//! Rules of this file:
//! * It alone names mio and sockets, and it alone asks for the time (the two batch calls of
//!   `mmsg.rs` act on its behalf).
//! * Every socket is registered once, edge-triggered, for reading and writing: no `epoll_ctl` on
//!   the way of a message.
//! * The id travels with the registration. A poll's events become ids before anyone acts on them,
//!   and a token carries the low half of the birth, so that an event of a slot's former owner is
//!   recognised.

use crate::id::{Fd, Id, Instant, Ready};
use crate::mail::{Mail, Mailbox};
use crate::mmsg::Batches;
use crate::world::{
    Address, BindOptions, Datagram, DatagramOption, Datagrams, ListenOptions, StreamOption,
    Streams, World,
};
use mio::event::Source;
use mio::net::{TcpListener, TcpStream, UdpSocket, UnixListener, UnixStream};
use mio::{Events, Interest, Poll, Token, Waker};
use slab::Slab;
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, SockAddr, SockRef, Socket, Type};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time;

pub use mio;

/// Events taken by one poll; what is more stays in the kernel for the next.
const EVENTS: usize = 1024;
const MAIL: Token = Token(usize::MAX);
const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);

enum Kind {
    TcpListener(TcpListener),
    UnixListener(UnixListener, PathBuf),
    Tcp(TcpStream),
    Unix(UnixStream),
    /// With whether it is connected: then sending names no address.
    Udp(UdpSocket, bool),
    Signals(UnixStream),
    Foreign,
}

struct Entry {
    kind: Kind,
    id: Id,
}

struct Watch {
    id: Id,
    fd: Fd,
    flags: Vec<(i32, Arc<AtomicBool>)>,
    hooks: Vec<signal_hook::SigId>,
}

/// The real world.
pub struct Os {
    poll: Poll,
    events: Events,
    entries: Slab<Entry>,
    start: time::Instant,
    mailbox: Option<Mailbox>,
    watches: Vec<Watch>,
    batches: Option<Box<Batches>>,
}

impl Os {
    /// Opens the poll.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn new() -> io::Result<Os> {
        Ok(Os {
            poll: Poll::new()?,
            events: Events::with_capacity(EVENTS),
            entries: Slab::new(),
            start: time::Instant::now(),
            mailbox: None,
            watches: Vec::new(),
            batches: None,
        })
    }

    /// Registers a user's own source of mio's. It stays the user's; its readiness goes to `id`,
    /// whose driver is the user's own `impl Driver<Os>`.
    ///
    /// # Errors
    /// What the kernel says of the registration.
    pub fn watch(&mut self, source: &mut dyn Source, id: Id, interest: Interest) -> io::Result<Fd> {
        let (key, token) = self.vacant(id);
        self.poll.registry().register(source, token, interest)?;
        self.entries.insert(Entry { kind: Kind::Foreign, id });
        Ok(key)
    }

    /// Ends what [`Os::watch`] began.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn unwatch(&mut self, source: &mut dyn Source, fd: Fd) -> io::Result<()> {
        self.entries.try_remove(fd.0 as usize);
        self.poll.registry().deregister(source)
    }

    fn vacant(&self, id: Id) -> (Fd, Token) {
        let key = self.entries.vacant_key();
        (Fd(key as u32), Token(key | (id.birth as u32 as usize) << 32))
    }

    fn seat<S: Source>(
        &mut self,
        mut source: S,
        id: Id,
        interest: Interest,
        kind: impl FnOnce(S) -> Kind,
    ) -> io::Result<Fd> {
        let (fd, token) = self.vacant(id);
        self.poll.registry().register(&mut source, token, interest)?;
        self.entries.insert(Entry { kind: kind(source), id });
        Ok(fd)
    }

    #[inline]
    fn kind(&self, fd: Fd) -> io::Result<&Kind> {
        self.entries.get(fd.0 as usize).map(|e| &e.kind).ok_or_else(wrong_kind)
    }

    fn udp(&self, fd: Fd) -> io::Result<&UdpSocket> {
        match self.kind(fd)? {
            Kind::Udp(socket, _) => Ok(socket),
            _ => Err(wrong_kind()),
        }
    }
}

impl Drop for Os {
    fn drop(&mut self) {
        for hook in self.watches.drain(..).flat_map(|w| w.hooks) {
            signal_hook::low_level::unregister(hook);
        }
        // A Unix listener's path goes with it, however the loop ended.
        for key in 0..self.entries.capacity() {
            self.close(Fd(key as u32));
        }
    }
}

/// A call on a socket that cannot do it: a driver's mistake, never a peer's.
#[cold]
fn wrong_kind() -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, "not a socket of the kind that this call needs")
}

fn domain(at: SocketAddr) -> Domain {
    if at.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 }
}

fn address(at: &SockAddr) -> Address {
    match at.as_socket() {
        Some(at) => Address::Ip(at),
        None => Address::Unix(unix_path(at)),
    }
}

/// The path, empty when unnamed, with a NUL before an abstract name.
fn unix_path(at: &SockAddr) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    if let Some(name) = at.as_abstract_namespace() {
        let mut bytes = vec![0];
        bytes.extend_from_slice(name);
        return PathBuf::from(std::ffi::OsString::from_vec(bytes));
    }
    at.as_pathname().map(PathBuf::from).unwrap_or_default()
}

/// Runs a call again for as long as signals interrupt it.
#[inline]
fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

impl World for Os {
    #[inline]
    fn now(&mut self) -> Instant {
        Instant(self.start.elapsed().as_nanos() as u64 + 1)
    }

    fn unix_time(&mut self) -> time::Duration {
        // A clock set before 1970 is wrong in any case.
        time::SystemTime::now().duration_since(time::UNIX_EPOCH).unwrap_or_default()
    }

    fn poll(&mut self, until: Option<Instant>, ready: &mut Vec<Ready>) -> io::Result<()> {
        let timeout = match until {
            None => None,
            Some(Instant(0)) => Some(time::Duration::ZERO),
            Some(at) => Some(at.since(self.now())),
        };
        match self.poll.poll(&mut self.events, timeout) {
            Err(e) if e.kind() == ErrorKind::Interrupted => return Ok(()),
            other => other?,
        }
        for event in &self.events {
            if event.token() == MAIL {
                let id = Id::MAIL;
                ready.push(Ready {
                    id,
                    readable: true,
                    writable: false,
                    closed: false,
                    gone: false,
                });
                continue;
            }
            let token = event.token().0;
            let Some(entry) = self.entries.get(token & 0xffff_ffff) else { continue };
            if entry.id.birth as u32 as usize != token >> 32 {
                continue;
            }
            let (closed, gone) = (event.is_read_closed(), event.is_error());
            ready.push(Ready {
                id: entry.id,
                readable: event.is_readable() || closed || gone,
                writable: event.is_writable() || gone,
                closed: closed || gone,
                gone,
            });
        }
        Ok(())
    }

    fn random(&mut self, into: &mut [u8]) {
        // The kernel's generator fails only where there is none: nothing could go on safely then.
        getrandom::fill(into).expect("the kernel's random generator");
    }

    fn close(&mut self, fd: Fd) {
        let entry = self.entries.try_remove(fd.0 as usize);
        if let Some(Entry { kind: Kind::UnixListener(listener, path), .. }) = entry {
            drop(listener);
            // Gone already, or not ours any more: nothing is left to tidy then.
            let _ = std::fs::remove_file(path);
        }
    }

    fn watch_signals(&mut self, signals: &[i32], id: Id) -> io::Result<()> {
        if signals.iter().any(|signal| signal_hook::consts::FORBIDDEN.contains(signal)) {
            return Err(io::Error::new(ErrorKind::InvalidInput, "a signal that cannot be caught"));
        }
        let (read, write) = std::os::unix::net::UnixStream::pair()?;
        read.set_nonblocking(true)?;
        let fd = self.seat(UnixStream::from_std(read), id, Interest::READABLE, Kind::Signals)?;
        // Of a watch that fails half way, the hooks that stand are taken back with the world.
        self.watches.push(Watch { id, fd, flags: Vec::new(), hooks: Vec::new() });
        let watch = self.watches.last_mut().expect("pushed above");
        for &signal in signals {
            // The flag first: whoever is woken by the pipe finds it raised.
            let flag = Arc::new(AtomicBool::new(false));
            watch.hooks.push(signal_hook::flag::register(signal, flag.clone())?);
            let pipe = write.try_clone()?;
            watch.hooks.push(signal_hook::low_level::pipe::register(signal, pipe)?);
            watch.flags.push((signal, flag));
        }
        Ok(())
    }

    fn next_signal(&mut self, watch: Id) -> Option<i32> {
        let watch = self.watches.iter().find(|w| w.id == watch)?;
        if let Some(Entry { kind: Kind::Signals(pipe), .. }) =
            self.entries.get_mut(watch.fd.0 as usize)
        {
            while matches!(retry(|| pipe.read(&mut [0; 64])), Ok(1..)) {}
        }
        let raised = watch.flags.iter().find(|(_, flag)| flag.swap(false, Ordering::AcqRel));
        raised.map(|(signal, _)| *signal)
    }

    fn mailbox(&mut self) -> io::Result<Mailbox> {
        if let Some(mailbox) = &self.mailbox {
            return Ok(mailbox.clone());
        }
        let waker = Waker::new(self.poll.registry(), MAIL)?;
        // Waking fails only with the poll itself, and then nobody is there to be woken.
        let mailbox = Mailbox::new(move || drop(waker.wake()));
        Ok(self.mailbox.insert(mailbox).clone())
    }

    fn mail(&mut self, into: &mut Vec<Mail>) {
        if let Some(mailbox) = &self.mailbox {
            mailbox.take(into);
        }
    }
}

impl Streams for Os {
    fn listen(&mut self, at: &Address, how: &ListenOptions, id: Id) -> io::Result<(Fd, Address)> {
        let backlog = i32::try_from(how.backlog).unwrap_or(i32::MAX);
        match at {
            Address::Ip(at) => {
                let socket = Socket::new(domain(*at), Type::STREAM.nonblocking(), None)?;
                socket.set_reuse_address(true)?;
                if at.is_ipv6() {
                    socket.set_only_v6(how.ipv6_only)?;
                }
                if how.reuse_port {
                    socket.set_reuse_port(true)?;
                }
                // Accepted connections inherit these from the listener: no call for each.
                socket.set_tcp_nodelay(how.nodelay)?;
                if let Some(idle) = how.keepalive {
                    keepalive(SockRef::from(&socket), Some(idle))?;
                }
                socket.bind(&SockAddr::from(*at))?;
                socket.listen(backlog)?;
                let at = address(&socket.local_addr()?);
                let listener = TcpListener::from_std(socket.into());
                Ok((self.seat(listener, id, Interest::READABLE, Kind::TcpListener)?, at))
            }
            Address::Unix(path) => {
                let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
                socket.bind(&SockAddr::unix(path)?)?;
                socket.listen(backlog)?;
                let at = address(&socket.local_addr()?);
                let listener = UnixListener::from_std(socket.into());
                let kind = |l| Kind::UnixListener(l, path.clone());
                Ok((self.seat(listener, id, Interest::READABLE, kind)?, at))
            }
        }
    }

    fn accept(&mut self, listener: Fd, id: Id) -> io::Result<(Fd, Address)> {
        match self.kind(listener)? {
            Kind::TcpListener(l) => {
                let (stream, peer) = retry(|| l.accept()).map_err(accept_error)?;
                Ok((self.seat(stream, id, BOTH, Kind::Tcp)?, Address::Ip(peer)))
            }
            Kind::UnixListener(l, _) => {
                let (stream, peer) = retry(|| l.accept()).map_err(accept_error)?;
                let path = peer.as_pathname().map(PathBuf::from).unwrap_or_default();
                Ok((self.seat(stream, id, BOTH, Kind::Unix)?, Address::Unix(path)))
            }
            _ => Err(wrong_kind()),
        }
    }

    fn connect(&mut self, to: &Address, from: Option<SocketAddr>, id: Id) -> io::Result<Fd> {
        let (domain, to) = match to {
            Address::Ip(to) => (domain(*to), SockAddr::from(*to)),
            Address::Unix(path) => (Domain::UNIX, SockAddr::unix(path)?),
        };
        let socket = Socket::new(domain, Type::STREAM.nonblocking(), None)?;
        if let Some(from) = from {
            socket.bind(&SockAddr::from(from))?;
        }
        match socket.connect(&to) {
            // A signal does not end an attempt: it goes on as if it were in progress.
            Err(e) if e.raw_os_error() == Some(libc::EINPROGRESS) => {}
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            other => other?,
        }
        if domain == Domain::UNIX {
            return self.seat(UnixStream::from_std(socket.into()), id, BOTH, Kind::Unix);
        }
        socket.set_tcp_nodelay(true)?;
        self.seat(TcpStream::from_std(socket.into()), id, BOTH, Kind::Tcp)
    }

    fn connected(&mut self, fd: Fd) -> io::Result<()> {
        let (error, peer) = match self.kind(fd)? {
            Kind::Tcp(s) => (s.take_error()?, s.peer_addr().map(drop)),
            Kind::Unix(s) => (s.take_error()?, s.peer_addr().map(drop)),
            _ => return Err(wrong_kind()),
        };
        match (error, peer) {
            (Some(e), _) => Err(e),
            (None, Err(e)) if e.kind() == ErrorKind::NotConnected => {
                Err(ErrorKind::WouldBlock.into())
            }
            (None, peer) => peer,
        }
    }

    #[inline]
    fn read(&mut self, fd: Fd, into: &mut [u8]) -> io::Result<usize> {
        match self.kind(fd)? {
            Kind::Tcp(s) => retry(|| (&*s).read(into)),
            Kind::Unix(s) => retry(|| (&*s).read(into)),
            _ => Err(wrong_kind()),
        }
    }

    #[inline]
    fn write(&mut self, fd: Fd, bytes: &[u8]) -> io::Result<usize> {
        match self.kind(fd)? {
            Kind::Tcp(s) => retry(|| (&*s).write(bytes)),
            Kind::Unix(s) => retry(|| (&*s).write(bytes)),
            _ => Err(wrong_kind()),
        }
    }

    fn shutdown(&mut self, fd: Fd) -> io::Result<()> {
        match self.kind(fd)? {
            Kind::Tcp(s) => s.shutdown(Shutdown::Write),
            Kind::Unix(s) => s.shutdown(Shutdown::Write),
            _ => Err(wrong_kind()),
        }
    }

    fn reset(&mut self, fd: Fd) {
        if let Ok(Kind::Tcp(s)) = self.kind(fd) {
            // If it fails the connection is gone, and closing is all that is left.
            let _ = SockRef::from(s).set_linger(Some(time::Duration::ZERO));
        }
        self.close(fd);
    }

    fn set(&mut self, fd: Fd, option: StreamOption) -> io::Result<()> {
        let (socket, tcp) = match self.kind(fd)? {
            Kind::Tcp(s) => (SockRef::from(s), true),
            Kind::Unix(s) => (SockRef::from(s), false),
            _ => return Err(wrong_kind()),
        };
        match option {
            StreamOption::ReceiveBuffer(n) => socket.set_recv_buffer_size(n),
            StreamOption::SendBuffer(n) => socket.set_send_buffer_size(n),
            _ if !tcp => Err(ErrorKind::Unsupported.into()),
            StreamOption::NoDelay(on) => socket.set_tcp_nodelay(on),
            StreamOption::KeepAlive(idle) => keepalive(socket, idle),
        }
    }

    fn local(&mut self, fd: Fd) -> io::Result<Address> {
        match self.kind(fd)? {
            Kind::Tcp(s) => Ok(address(&SockRef::from(s).local_addr()?)),
            Kind::Unix(s) => Ok(address(&SockRef::from(s).local_addr()?)),
            _ => Err(wrong_kind()),
        }
    }

    fn peer(&mut self, fd: Fd) -> io::Result<Address> {
        match self.kind(fd)? {
            Kind::Tcp(s) => Ok(address(&SockRef::from(s).peer_addr()?)),
            Kind::Unix(s) => Ok(address(&SockRef::from(s).peer_addr()?)),
            _ => Err(wrong_kind()),
        }
    }
}

fn keepalive(socket: SockRef<'_>, idle: Option<time::Duration>) -> io::Result<()> {
    match idle {
        None => socket.set_keepalive(false),
        Some(idle) => socket.set_tcp_keepalive(&socket2::TcpKeepalive::new().with_time(idle)),
    }
}

/// accept(2): errors of the network that belong to the one connection are told apart from those
/// of this process.
fn accept_error(e: io::Error) -> io::Error {
    const THEIRS: [i32; 10] = [
        libc::ECONNABORTED,
        libc::EPROTO,
        libc::EPERM,
        libc::ENETDOWN,
        libc::ENOPROTOOPT,
        libc::EHOSTDOWN,
        libc::ENONET,
        libc::EHOSTUNREACH,
        libc::EOPNOTSUPP,
        libc::ENETUNREACH,
    ];
    match e.raw_os_error() {
        Some(code) if THEIRS.contains(&code) => ErrorKind::ConnectionAborted.into(),
        _ => e,
    }
}

impl Datagrams for Os {
    fn bind(&mut self, at: SocketAddr, how: &BindOptions, id: Id) -> io::Result<(Fd, SocketAddr)> {
        let kind = Type::DGRAM.nonblocking();
        let socket = Socket::new(domain(at), kind, Some(Protocol::UDP))?;
        if how.reuse_address {
            socket.set_reuse_address(true)?;
        }
        if how.reuse_port {
            socket.set_reuse_port(true)?;
        }
        if at.is_ipv6() {
            socket.set_only_v6(how.ipv6_only)?;
        }
        socket.bind(&SockAddr::from(at))?;
        let socket = UdpSocket::from_std(socket.into());
        let at = socket.local_addr()?;
        self.batches.get_or_insert_default();
        Ok((self.seat(socket, id, BOTH, |s| Kind::Udp(s, false))?, at))
    }

    fn associate(&mut self, fd: Fd, peer: SocketAddr) -> io::Result<()> {
        match self.entries.get_mut(fd.0 as usize).map(|e| &mut e.kind) {
            Some(Kind::Udp(socket, connected)) => {
                socket.connect(peer)?;
                *connected = true;
                Ok(())
            }
            _ => Err(wrong_kind()),
        }
    }

    fn recv(
        &mut self,
        fd: Fd,
        into: &mut [u8],
        room: usize,
        got: &mut Vec<Datagram>,
    ) -> io::Result<()> {
        let socket = self.udp(fd)?.as_raw_fd();
        let batches = self.batches.get_or_insert_default();
        retry(|| batches.recv(socket, into, room, got))
    }

    fn send(&mut self, fd: Fd, batch: &[Datagram], bytes: &[u8]) -> io::Result<usize> {
        let (socket, connected) = match self.kind(fd)? {
            Kind::Udp(socket, connected) => (socket.as_raw_fd(), *connected),
            _ => return Err(wrong_kind()),
        };
        let batches = self.batches.get_or_insert_default();
        retry(|| batches.send(socket, batch, bytes, connected))
    }

    fn set_datagram(&mut self, fd: Fd, option: DatagramOption) -> io::Result<()> {
        let udp = self.udp(fd)?;
        let six = udp.local_addr()?.is_ipv6();
        let socket = SockRef::from(udp);
        match option {
            DatagramOption::Broadcast(on) => socket.set_broadcast(on),
            DatagramOption::Ttl(n) if six => socket.set_unicast_hops_v6(n),
            DatagramOption::Ttl(n) => socket.set_ttl_v4(n),
            DatagramOption::MulticastTtl(n) if six => socket.set_multicast_hops_v6(n),
            DatagramOption::MulticastTtl(n) => socket.set_multicast_ttl_v4(n),
            DatagramOption::MulticastLoop(on) if six => socket.set_multicast_loop_v6(on),
            DatagramOption::MulticastLoop(on) => socket.set_multicast_loop_v4(on),
            DatagramOption::Join(group, on) => membership(socket, group, on, true),
            DatagramOption::Leave(group, on) => membership(socket, group, on, false),
            DatagramOption::ReceiveBuffer(n) => socket.set_recv_buffer_size(n),
            DatagramOption::SendBuffer(n) => socket.set_send_buffer_size(n),
        }
    }
}

fn membership(socket: SockRef<'_>, group: IpAddr, on: IpAddr, join: bool) -> io::Result<()> {
    match (group, on) {
        (IpAddr::V4(group), on) => {
            let on = match on {
                IpAddr::V4(on) => on,
                IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
            };
            let on = InterfaceIndexOrAddress::Address(on);
            if join {
                socket.join_multicast_v4_n(&group, &on)
            } else {
                socket.leave_multicast_v4_n(&group, &on)
            }
        }
        (IpAddr::V6(group), on) => {
            let index = match on {
                IpAddr::V6(on) => on.to_bits() as u32,
                IpAddr::V4(_) => 0,
            };
            if join {
                socket.join_multicast_v6(&group, index)
            } else {
                socket.leave_multicast_v6(&group, index)
            }
        }
    }
}
