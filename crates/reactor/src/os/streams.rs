//! Streams of the real world: TCP and Unix sockets.
//!
//! Rules of this file: those of the folder.

use super::{BOTH, Entry, INPUT, Kind, Os, about, address, domain, raw, retry, token, wrong_kind};
use crate::id::{Fd, Id};
use crate::streams::{
    Address, ConnectOptions, Credentials, ListenOptions, StreamInfo, StreamOption, Streams,
    copy_file,
};
use crate::world::World;
use mio::Interest;
use mio::event::Source;
use mio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use socket2::{Domain, SockAddr, SockRef, Socket, TcpKeepalive, Type};
use std::fs::{self, File};
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time;

/// What sendfile(2) says of files that it cannot send, as of some that are made up as they are
/// read.
const NO_SENDFILE: [i32; 4] = [libc::EINVAL, libc::ENOSYS, libc::EOPNOTSUPP, libc::ESPIPE];

/// A path that a listener made in the file system; dropped, it takes the path away again, unless
/// another file has taken its place.
pub(super) struct Made {
    path: PathBuf,
    /// Device and inode.
    file: (u64, u64),
    unlink: bool,
}

impl Made {
    pub(super) fn new(path: &Path) -> io::Result<Made> {
        let about = fs::symlink_metadata(path)?;
        Ok(Made { path: path.to_path_buf(), file: (about.dev(), about.ino()), unlink: true })
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        let about = fs::symlink_metadata(&self.path);
        if self.unlink && about.is_ok_and(|about| (about.dev(), about.ino()) == self.file) {
            // Gone this very moment: nothing is left to tidy then.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Os {
    /// The socket behind a name, for what this crate has no word for: settings to be read back,
    /// options of other layers. Reading from it, writing to it or closing it breaks the loop's
    /// account of it.
    ///
    /// # Errors
    /// `InvalidInput` of a name that is no socket's (any more).
    pub fn descriptor(&self, fd: Fd) -> io::Result<BorrowedFd<'_>> {
        Ok(match self.kind(fd)? {
            Kind::TcpListener(socket) => socket.as_fd(),
            Kind::UnixListener(socket) => socket.0.as_fd(),
            Kind::Tcp(socket, ..) => socket.as_fd(),
            Kind::Unix(socket, ..) => socket.as_fd(),
            Kind::Udp(socket, ..) => socket.as_fd(),
            Kind::UnixDatagrams(socket) => socket.0.as_fd(),
            Kind::Signals(_) | Kind::Foreign => return Err(wrong_kind()),
        })
    }

    fn listen_ip(
        &mut self,
        at: SocketAddr,
        how: &ListenOptions,
        id: Id,
    ) -> io::Result<(Fd, Address)> {
        let socket = Socket::new(domain(at), Type::STREAM.nonblocking(), None)?;
        socket.set_reuse_address(true)?;
        if at.is_ipv6() {
            socket.set_only_v6(how.ipv6_only)?;
        }
        if how.reuse_port {
            socket.set_reuse_port(true)?;
        }
        bequeath(&socket, how)?;
        socket.bind(&SockAddr::from(at))?;
        socket.listen(i32::try_from(how.backlog).unwrap_or(i32::MAX))?;
        let at = address(&socket.local_addr()?);
        let listener = TcpListener::from_std(socket.into());
        Ok((self.seat(listener, id, Interest::READABLE, Kind::TcpListener)?, at))
    }

    fn listen_unix(
        &mut self,
        path: &Path,
        how: &ListenOptions,
        id: Id,
    ) -> io::Result<(Fd, Address)> {
        let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
        configure(&socket, false, &how.settings, None)?;
        socket.bind(&SockAddr::unix(path)?)?;
        let at = socket.local_addr()?;
        // An unnamed or abstract socket has made no file.
        let mut made = at.as_pathname().map(Made::new).transpose()?;
        if let (Some(made), Some(mode)) = (&made, how.unix_mode) {
            // Before it listens: nobody connects by permissions that were not meant.
            fs::set_permissions(&made.path, fs::Permissions::from_mode(mode))?;
        }
        socket.listen(i32::try_from(how.backlog).unwrap_or(i32::MAX))?;
        if let Some(made) = &mut made {
            made.unlink = how.unlink;
        }
        let listener = UnixListener::from_std(socket.into());
        let kind = |l| Kind::UnixListener(Box::new((l, made)));
        Ok((self.seat(listener, id, Interest::READABLE, kind)?, address(&at)))
    }
}

impl Streams for Os {
    fn listen(&mut self, at: &Address, how: &ListenOptions, id: Id) -> io::Result<(Fd, Address)> {
        match at {
            Address::Ip(at) => self.listen_ip(*at, how, id),
            Address::Unix(path) => self.listen_unix(path, how, id),
        }
    }

    fn accept(&mut self, listener: Fd, id: Id) -> io::Result<(Fd, Address)> {
        match self.kind(listener)? {
            Kind::TcpListener(l) => {
                let (stream, peer) = retry(|| l.accept()).map_err(accept_error)?;
                Ok((self.seat(stream, id, INPUT, Kind::tcp(false))?, Address::Ip(peer)))
            }
            Kind::UnixListener(l) => {
                let (stream, peer) = retry(|| l.0.accept()).map_err(accept_error)?;
                let path = peer.as_pathname().map(PathBuf::from).unwrap_or_default();
                Ok((self.seat(stream, id, INPUT, Kind::unix(false))?, Address::Unix(path)))
            }
            _ => Err(wrong_kind()),
        }
    }

    fn connect(&mut self, to: &Address, from: Option<SocketAddr>, id: Id) -> io::Result<Fd> {
        self.connect_with(to, from, &ConnectOptions::default(), id)
    }

    fn connect_with(
        &mut self,
        to: &Address,
        from: Option<SocketAddr>,
        how: &ConnectOptions,
        id: Id,
    ) -> io::Result<Fd> {
        let (domain, to) = match to {
            Address::Ip(to) => (domain(*to), SockAddr::from(*to)),
            Address::Unix(path) => (Domain::UNIX, SockAddr::unix(path)?),
        };
        let socket = Socket::new(domain, Type::STREAM.nonblocking(), None)?;
        let tcp = domain != Domain::UNIX;
        if tcp {
            socket.set_tcp_nodelay(true)?;
        }
        configure(&socket, tcp, &how.settings, how.device.as_deref())?;
        if tcp && how.fast_open {
            raw::set(socket.as_fd(), libc::IPPROTO_TCP, libc::TCP_FASTOPEN_CONNECT, 1)?;
        }
        if let Some(from) = from {
            socket.bind(&SockAddr::from(from))?;
        }
        match socket.connect(&to) {
            // A signal does not end an attempt: it goes on as if it were in progress.
            Err(e) if e.raw_os_error() == Some(libc::EINPROGRESS) => {}
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            other => other?,
        }
        if !tcp {
            return self.seat(UnixStream::from_std(socket.into()), id, BOTH, Kind::unix(true));
        }
        self.seat(TcpStream::from_std(socket.into()), id, BOTH, Kind::tcp(true))
    }

    fn connected(&mut self, fd: Fd) -> io::Result<()> {
        let (error, peer) = match self.kind(fd)? {
            Kind::Tcp(s, _) => (s.take_error()?, s.peer_addr().map(drop)),
            Kind::Unix(s, _) => (s.take_error()?, s.peer_addr().map(drop)),
            _ => return Err(wrong_kind()),
        };
        match (error, peer) {
            (Some(e), _) => Err(e),
            (None, Err(e)) if e.kind() == ErrorKind::NotConnected => match self.kind(fd)? {
                Kind::Tcp(s, _) if about::waits_for_bytes(s.as_fd()) => Ok(()),
                _ => Err(ErrorKind::WouldBlock.into()),
            },
            (None, peer) => peer,
        }
    }

    #[inline(always)]
    fn read(&mut self, fd: Fd, into: &mut [u8]) -> io::Result<usize> {
        match self.kind(fd)? {
            Kind::Tcp(s, _) => retry(|| (&*s).read(into)),
            Kind::Unix(s, _) => retry(|| (&*s).read(into)),
            _ => Err(wrong_kind()),
        }
    }

    #[inline(always)]
    fn write(&mut self, fd: Fd, bytes: &[u8]) -> io::Result<usize> {
        let written = match self.kind(fd)? {
            Kind::Tcp(s, _) => retry(|| (&*s).write(bytes)),
            Kind::Unix(s, _) => retry(|| (&*s).write(bytes)),
            _ => Err(wrong_kind()),
        };
        match written {
            Ok(n) if n == bytes.len() => Ok(n),
            other => self.wrote_less(fd, other),
        }
    }

    fn write_vectored(&mut self, fd: Fd, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let socket = match self.kind(fd)? {
            Kind::Tcp(s, _) => SockRef::from(s),
            Kind::Unix(s, _) => SockRef::from(s),
            _ => return Err(wrong_kind()),
        };
        // Not writev(2): to a peer that is gone that is a signal.
        let written = retry(|| socket.send_vectored_with_flags(slices, libc::MSG_NOSIGNAL));
        match written {
            Ok(n) if n == slices.iter().map(|s| s.len()).sum() => Ok(n),
            other => self.wrote_less(fd, other),
        }
    }

    fn send_file(&mut self, fd: Fd, file: &File, at: u64, len: u64) -> io::Result<u64> {
        let socket = match self.kind(fd)? {
            Kind::Tcp(s, _) => s.as_fd(),
            Kind::Unix(s, _) => s.as_fd(),
            _ => return Err(wrong_kind()),
        };
        if raw::pipe_signal_is_ignored() {
            match retry(|| raw::send_file(socket, file.as_fd(), at, len)) {
                Ok(n) => return Ok(n as u64),
                // Of this kind of file, or of this system: then through our hands.
                Err(e) if NO_SENDFILE.contains(&e.raw_os_error().unwrap_or(0)) => {}
                Err(e) => return self.wrote_less(fd, Err(e)).map(|n| n as u64),
            }
        }
        copy_file(self, fd, file, at, len)
    }

    fn shutdown(&mut self, fd: Fd) -> io::Result<()> {
        match self.kind(fd)? {
            Kind::Tcp(s, _) => s.shutdown(Shutdown::Write),
            Kind::Unix(s, _) => s.shutdown(Shutdown::Write),
            _ => Err(wrong_kind()),
        }
    }

    fn reset(&mut self, fd: Fd) {
        if let Ok(Kind::Tcp(s, _)) = self.kind(fd) {
            // If it fails the connection is gone, and closing is all that is left.
            let _ = SockRef::from(s).set_linger(Some(time::Duration::ZERO));
        }
        self.close(fd);
    }

    fn set(&mut self, fd: Fd, option: StreamOption) -> io::Result<()> {
        let (socket, tcp) = match self.kind(fd)? {
            Kind::Tcp(s, _) => (SockRef::from(s), true),
            Kind::Unix(s, _) => (SockRef::from(s), false),
            _ => return Err(wrong_kind()),
        };
        set(&socket, tcp, option)
    }

    fn local(&mut self, fd: Fd) -> io::Result<Address> {
        match self.kind(fd)? {
            Kind::Tcp(s, _) => Ok(address(&SockRef::from(s).local_addr()?)),
            Kind::Unix(s, _) => Ok(address(&SockRef::from(s).local_addr()?)),
            _ => Err(wrong_kind()),
        }
    }

    fn peer(&mut self, fd: Fd) -> io::Result<Address> {
        match self.kind(fd)? {
            Kind::Tcp(s, _) => Ok(address(&SockRef::from(s).peer_addr()?)),
            Kind::Unix(s, _) => Ok(address(&SockRef::from(s).peer_addr()?)),
            _ => Err(wrong_kind()),
        }
    }

    fn listen_on(
        &mut self,
        socket: OwnedFd,
        how: &ListenOptions,
        id: Id,
    ) -> io::Result<(Fd, Address)> {
        let socket = Socket::from(socket);
        let tcp = admit(&socket)?;
        if tcp {
            bequeath(&socket, how)?;
        } else {
            configure(&socket, false, &how.settings, None)?;
        }
        if !socket.is_listener()? {
            socket.listen(i32::try_from(how.backlog).unwrap_or(i32::MAX))?;
        }
        let at = address(&socket.local_addr()?);
        let fd = if tcp {
            let listener = TcpListener::from_std(socket.into());
            self.seat(listener, id, Interest::READABLE, Kind::TcpListener)?
        } else {
            let listener = UnixListener::from_std(socket.into());
            let kind = |l| Kind::UnixListener(Box::new((l, None)));
            self.seat(listener, id, Interest::READABLE, kind)?
        };
        Ok((fd, at))
    }

    fn adopt(&mut self, socket: OwnedFd, id: Id) -> io::Result<Fd> {
        let socket = Socket::from(socket);
        let tcp = admit(&socket)?;
        socket.peer_addr()?;
        if tcp {
            return self.seat(TcpStream::from_std(socket.into()), id, BOTH, Kind::tcp(true));
        }
        self.seat(UnixStream::from_std(socket.into()), id, BOTH, Kind::unix(true))
    }

    fn release(&mut self, fd: Fd) -> io::Result<OwnedFd> {
        let key = fd.0 as usize;
        let source: &mut dyn Source = match self.entries.get_mut(key).map(|e| &mut e.kind) {
            Some(Kind::Tcp(s, _)) => s,
            Some(Kind::Unix(s, _)) => s,
            _ => return Err(wrong_kind()),
        };
        // Not by the close, which does not come: the poll would go on telling of it.
        self.poll.registry().deregister(source)?;
        match self.entries.remove(key).kind {
            Kind::Tcp(s, _) => Ok(s.into()),
            Kind::Unix(s, _) => Ok(s.into()),
            _ => Err(wrong_kind()),
        }
    }

    fn info(&mut self, fd: Fd) -> io::Result<StreamInfo> {
        match self.kind(fd)? {
            Kind::Tcp(s, _) => about::tcp(s.as_fd()),
            Kind::Unix(..) => Err(ErrorKind::Unsupported.into()),
            _ => Err(wrong_kind()),
        }
    }

    fn credentials(&mut self, fd: Fd) -> io::Result<Credentials> {
        match self.kind(fd)? {
            Kind::Unix(s, _) => about::credentials(s.as_fd()),
            Kind::Tcp(..) => Err(ErrorKind::Unsupported.into()),
            _ => Err(wrong_kind()),
        }
    }
}

impl Os {
    /// A write that took less than all, of whatever form: readiness for the rest is promised, and
    /// asked for here the first time. Most streams that are accepted never come by.
    #[cold]
    fn wrote_less(&mut self, fd: Fd, written: io::Result<usize>) -> io::Result<usize> {
        if let Err(e) = written.as_ref()
            && e.kind() != ErrorKind::WouldBlock
        {
            return written.map_err(write_error);
        }
        let Some(Entry { kind, id }) = self.entries.get_mut(fd.0 as usize) else {
            return Err(wrong_kind());
        };
        let (source, both): (&mut dyn Source, _) = match kind {
            Kind::Tcp(s, both) => (s, both),
            Kind::Unix(s, both) => (s, both),
            _ => return Err(wrong_kind()),
        };
        if !*both {
            // If it is writable by now, the kernel says so at once: no edge is lost.
            self.poll.registry().reregister(source, token(fd, *id), BOTH)?;
            *both = true;
        }
        written
    }
}

/// Sets up a socket that is not yet bound or connected.
fn configure(
    socket: &Socket,
    tcp: bool,
    settings: &[StreamOption],
    device: Option<&str>,
) -> io::Result<()> {
    if let Some(device) = device {
        socket.bind_device(Some(device.as_bytes()))?;
    }
    settings.iter().try_for_each(|option| set(socket, tcp, *option))
}

/// What connections that a TCP listener accepts inherit from it: no call for each.
fn bequeath(socket: &Socket, how: &ListenOptions) -> io::Result<()> {
    socket.set_tcp_nodelay(how.nodelay)?;
    if how.keepalive.is_some() {
        set(socket, true, StreamOption::KeepAlive(how.keepalive))?;
    }
    if how.fast_open > 0 {
        let queue = i32::try_from(how.fast_open).unwrap_or(i32::MAX);
        raw::set(socket.as_fd(), libc::IPPROTO_TCP, libc::TCP_FASTOPEN, queue)?;
    }
    configure(socket, true, &how.settings, how.device.as_deref())
}

/// A socket from elsewhere: whether it is TCP or Unix, and made as the loop needs it.
fn admit(socket: &Socket) -> io::Result<bool> {
    let tcp = match socket.domain()? {
        Domain::IPV4 | Domain::IPV6 => true,
        Domain::UNIX => false,
        _ => return Err(wrong_kind()),
    };
    if socket.r#type()? != Type::STREAM {
        return Err(wrong_kind());
    }
    socket.set_nonblocking(true)?;
    socket.set_cloexec(true)?;
    Ok(tcp)
}

fn set(socket: &Socket, tcp: bool, option: StreamOption) -> io::Result<()> {
    match option {
        StreamOption::ReceiveBuffer(n) => socket.set_recv_buffer_size(n),
        StreamOption::SendBuffer(n) => socket.set_send_buffer_size(n),
        _ if !tcp => Err(ErrorKind::Unsupported.into()),
        StreamOption::NoDelay(on) => socket.set_tcp_nodelay(on),
        StreamOption::KeepAlive(None) => socket.set_keepalive(false),
        StreamOption::KeepAlive(Some(times)) => {
            let mut probes = TcpKeepalive::new().with_time(times.idle);
            probes = times.interval.into_iter().fold(probes, TcpKeepalive::with_interval);
            probes = times.count.into_iter().fold(probes, TcpKeepalive::with_retries);
            socket.set_tcp_keepalive(&probes)
        }
        StreamOption::Tos(tos) => {
            if socket.domain()? == Domain::IPV6 {
                socket.set_tclass_v6(tos.into())?;
            }
            // Of an IPv6 socket too: it may carry IPv4.
            socket.set_tos_v4(tos.into())
        }
        StreamOption::NotSentLowWater(n) => socket.set_tcp_notsent_lowat(n),
        StreamOption::UserTimeout(wait) => socket.set_tcp_user_timeout(wait),
        StreamOption::QuickAck(on) => socket.set_tcp_quickack(on),
        StreamOption::BusyPoll(micros) => socket.set_busy_poll(micros),
        StreamOption::ResetOnClose(on) => socket.set_linger(on.then_some(time::Duration::ZERO)),
    }
}

/// The kernel has two names for its own want of memory, and for being asked too soon.
#[cold]
fn write_error(e: io::Error) -> io::Error {
    match e.raw_os_error() {
        Some(libc::ENOBUFS) => ErrorKind::OutOfMemory.into(),
        // A SYN that should have taken the bytes along went without: the cookie is gone.
        Some(libc::EINPROGRESS) => ErrorKind::WouldBlock.into(),
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
