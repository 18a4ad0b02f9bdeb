//! Streams of the real world: TCP and Unix sockets.
//!
//! Rules of this file: those of the folder.

use super::{BOTH, Kind, Os, address, domain, retry, wrong_kind};
use crate::id::{Fd, Id};
use crate::streams::{Address, ListenOptions, StreamOption, Streams};
use crate::world::World;
use mio::Interest;
use mio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use socket2::{Domain, SockAddr, SockRef, Socket, Type};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::path::PathBuf;
use std::time;

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
                let kind = |l| Kind::UnixListener(Box::new((l, path.clone())));
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
            Kind::UnixListener(l) => {
                let (stream, peer) = retry(|| l.0.accept()).map_err(accept_error)?;
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

    #[inline(always)]
    fn read(&mut self, fd: Fd, into: &mut [u8]) -> io::Result<usize> {
        match self.kind(fd)? {
            Kind::Tcp(s) => retry(|| (&*s).read(into)),
            Kind::Unix(s) => retry(|| (&*s).read(into)),
            _ => Err(wrong_kind()),
        }
    }

    #[inline(always)]
    fn write(&mut self, fd: Fd, bytes: &[u8]) -> io::Result<usize> {
        match self.kind(fd)? {
            Kind::Tcp(s) => retry(|| (&*s).write(bytes)).map_err(write_error),
            Kind::Unix(s) => retry(|| (&*s).write(bytes)).map_err(write_error),
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

/// The kernel has two names for its own want of memory.
#[cold]
fn write_error(e: io::Error) -> io::Error {
    match e.raw_os_error() {
        Some(libc::ENOBUFS) => ErrorKind::OutOfMemory.into(),
        _ => e,
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
