//! Datagrams of the real world.
//!
//! Rules of this file: those of the folder. The batches themselves are in `mmsg.rs`.

use super::streams::Made;
use super::{BOTH, Entry, Kind, Os, domain, retry, token, wrong_kind};
use crate::datagrams::{
    BindOptions, Datagram, DatagramOption, DatagramSettings, Datagrams, Facts, Source,
};
use crate::id::{Fd, Id};
use crate::mmsg::{self, Leaving};
use mio::Interest;
use mio::net::{UdpSocket, UnixDatagram};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, SockAddr, SockRef, Socket, Type};
use std::ffi::OsString;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// Errors of this host's own kernel that are skipped in one search for one of the network's.
const OWN_ERRORS: usize = 64;

/// What is known of a datagram socket without asking the kernel.
#[derive(Clone, Copy)]
pub(super) struct Udp {
    /// Sending names no address.
    connected: bool,
    /// It is of IPv6.
    six: bool,
    /// Control messages may come with a datagram.
    control: bool,
    /// Datagrams up to this length are put together where they can; 0: none.
    segment_max: u16,
    /// It is registered for writing too, since a send had no room once. Until then the kernel
    /// would tell of the room that each datagram leaves behind, which never lacked.
    both: bool,
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
        let udp = ask(&socket, at.is_ipv6(), how)?;
        socket.bind(&SockAddr::from(at))?;
        let socket = UdpSocket::from_std(socket.into());
        let at = socket.local_addr()?;
        self.batches.get_or_insert_default();
        Ok((self.seat(socket, id, Interest::READABLE, |s| Kind::Udp(s, udp))?, at))
    }

    fn adopt_datagrams(
        &mut self,
        socket: OwnedFd,
        how: &BindOptions,
        id: Id,
    ) -> io::Result<(Fd, SocketAddr, Option<SocketAddr>)> {
        let socket = Socket::from(socket);
        let at =
            socket.local_addr()?.as_socket().filter(|_| socket.r#type().ok() == Some(Type::DGRAM));
        let at = at.ok_or(io::ErrorKind::InvalidInput)?;
        socket.set_nonblocking(true)?;
        socket.set_cloexec(true)?;
        let peer = socket.peer_addr().ok().and_then(|peer| peer.as_socket());
        let mut udp = ask(&socket, at.is_ipv6(), how)?;
        udp.connected = peer.is_some();
        self.batches.get_or_insert_default();
        let socket = UdpSocket::from_std(socket.into());
        Ok((self.seat(socket, id, Interest::READABLE, |s| Kind::Udp(s, udp))?, at, peer))
    }

    fn associate(&mut self, fd: Fd, peer: SocketAddr) -> io::Result<()> {
        let (socket, udp) = self.udp(fd)?;
        socket.connect(peer)?;
        udp.connected = true;
        Ok(())
    }

    fn dissociate(&mut self, fd: Fd) -> io::Result<()> {
        let (socket, udp) = self.udp(fd)?;
        let before = socket.local_addr()?;
        mmsg::disconnect(socket.as_raw_fd())?;
        udp.connected = false;
        let mut at = socket.local_addr()?;
        if at.port() == 0 {
            // The kernel keeps a port that was asked for, and lets go of one that it chose.
            at.set_port(before.port());
            SockRef::from(socket).bind(&SockAddr::from(at))?;
        }
        Ok(())
    }

    fn recv(
        &mut self,
        fd: Fd,
        into: &mut [u8],
        room: usize,
        got: &mut Vec<Datagram>,
    ) -> io::Result<()> {
        let (socket, udp) = self.udp(fd)?;
        let (socket, control) = (socket.as_raw_fd(), udp.control);
        let batches = self.batches.get_or_insert_default();
        retry(|| batches.recv(socket, into, room, got, control, None))
    }

    fn recv_facts(
        &mut self,
        fd: Fd,
        into: &mut [u8],
        room: usize,
        got: &mut Vec<Datagram>,
        facts: &mut Vec<Facts>,
    ) -> io::Result<()> {
        let (socket, udp) = self.udp(fd)?;
        let (socket, control) = (socket.as_raw_fd(), udp.control);
        let batches = self.batches.get_or_insert_default();
        retry(|| batches.recv(socket, into, room, got, control, Some(facts)))
    }

    fn send(&mut self, fd: Fd, batch: &[Datagram], bytes: &[u8]) -> io::Result<usize> {
        self.leave(fd, batch, bytes, None)
    }

    fn send_from(
        &mut self,
        fd: Fd,
        batch: &[Datagram],
        bytes: &[u8],
        source: Source,
    ) -> io::Result<usize> {
        self.leave(fd, batch, bytes, Some(source))
    }

    fn next_error(&mut self, fd: Fd) -> Option<(SocketAddr, io::Error)> {
        let socket = self.udp(fd).ok()?.0.as_raw_fd();
        let batches = self.batches.get_or_insert_default();
        for _ in 0..OWN_ERRORS {
            let (to, error, network) = retry(|| batches.error(socket)).ok()?;
            // What this host's own kernel has against a datagram, its sending has said already.
            if network {
                return Some((to, io::Error::from_raw_os_error(error)));
            }
        }
        None
    }

    fn set_datagram(&mut self, fd: Fd, option: DatagramOption) -> io::Result<()> {
        let (udp, Udp { six, .. }) = self.udp(fd)?;
        let (six, raw) = (*six, udp.as_raw_fd());
        let socket = SockRef::from(udp);
        match option {
            DatagramOption::Broadcast(on) => socket.set_broadcast(on),
            DatagramOption::Ttl(n) if six => socket.set_unicast_hops_v6(n),
            DatagramOption::Ttl(n) => socket.set_ttl_v4(n),
            DatagramOption::MulticastTtl(n) if six => socket.set_multicast_hops_v6(n),
            DatagramOption::MulticastTtl(n) => socket.set_multicast_ttl_v4(n),
            DatagramOption::MulticastLoop(on) if six => socket.set_multicast_loop_v6(on),
            DatagramOption::MulticastLoop(on) => socket.set_multicast_loop_v4(on),
            DatagramOption::MulticastInterface(on) if six => socket.set_multicast_if_v6(index(on)),
            DatagramOption::MulticastInterface(on) => socket.set_multicast_if_v4(&address(on)),
            DatagramOption::Join(group, on) => membership(socket, group, on, true),
            DatagramOption::Leave(group, on) => membership(socket, group, on, false),
            DatagramOption::JoinSource { source, group, on } => {
                of_one_source(socket, source, group, on, true)
            }
            DatagramOption::LeaveSource { source, group, on } => {
                of_one_source(socket, source, group, on, false)
            }
            DatagramOption::Class(class) => {
                if six {
                    socket.set_tclass_v6(class.into())?;
                }
                // Of an IPv6 socket too: what it sends to IPv4 has its own.
                mmsg::set(raw, libc::IPPROTO_IP, libc::IP_TOS, class.into())
            }
            DatagramOption::ReceiveBuffer(n) => socket.set_recv_buffer_size(n),
            DatagramOption::SendBuffer(n) => socket.set_send_buffer_size(n),
        }
    }

    fn bind_unix(&mut self, at: &Path, id: Id) -> io::Result<Fd> {
        let socket = Socket::new(Domain::UNIX, Type::DGRAM.nonblocking(), None)?;
        let mut made = None;
        if !at.as_os_str().is_empty() {
            socket.bind(&SockAddr::unix(at)?)?;
            // An abstract name makes no file.
            made = socket.local_addr()?.as_pathname().map(Made::new).transpose()?;
        }
        let socket = UnixDatagram::from_std(socket.into());
        self.seat(socket, id, BOTH, |s| Kind::UnixDatagrams(Box::new((s, made))))
    }

    fn recv_unix(&mut self, fd: Fd, into: &mut [u8]) -> io::Result<(usize, PathBuf)> {
        let socket = self.unix_datagrams(fd)?;
        let (len, from) = retry(|| socket.recv_from(into))?;
        let name = from.as_abstract_name().map(|name| {
            let name = [&[0], name].concat();
            PathBuf::from(OsString::from_vec(name))
        });
        let path = name.or_else(|| from.as_pathname().map(PathBuf::from));
        Ok((len, path.unwrap_or_default()))
    }

    fn send_unix(&mut self, fd: Fd, to: &Path, bytes: &[u8]) -> io::Result<()> {
        let to = SockAddr::unix(to)?;
        let socket = SockRef::from(self.unix_datagrams(fd)?);
        retry(|| socket.send_to(bytes, &to)).map(drop)
    }

    fn datagram_settings(&mut self, fd: Fd) -> io::Result<DatagramSettings> {
        let (socket, Udp { six, .. }) = self.udp(fd)?;
        let (six, socket) = (*six, SockRef::from(socket));
        Ok(DatagramSettings {
            receive_buffer: socket.recv_buffer_size()?,
            send_buffer: socket.send_buffer_size()?,
            ttl: if six { socket.unicast_hops_v6()? } else { socket.ttl_v4()? },
            multicast_ttl: match six {
                true => socket.multicast_hops_v6()?,
                false => socket.multicast_ttl_v4()?,
            },
        })
    }
}

impl Os {
    fn unix_datagrams(&self, fd: Fd) -> io::Result<&UnixDatagram> {
        match self.kind(fd)? {
            Kind::UnixDatagrams(socket) => Ok(&socket.0),
            _ => Err(wrong_kind()),
        }
    }

    #[inline]
    fn leave(
        &mut self,
        fd: Fd,
        batch: &[Datagram],
        bytes: &[u8],
        source: Option<Source>,
    ) -> io::Result<usize> {
        match self.try_leave(fd, batch, bytes, source) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => self.await_room(fd, e),
            other => other,
        }
    }

    fn try_leave(
        &mut self,
        fd: Fd,
        batch: &[Datagram],
        bytes: &[u8],
        source: Option<Source>,
    ) -> io::Result<usize> {
        let (socket, udp) = self.udp(fd)?;
        let (socket, Udp { connected, six, segment_max, .. }) = (socket.as_raw_fd(), *udp);
        let batches = self.batches.get_or_insert_default();
        let mut how = Leaving { connected, six, segment_max, source };
        match retry(|| batches.send(socket, batch, bytes, how)) {
            Err(e) if segment_max > 0 && batches.joined() && is_of_segments(&e) => {
                // Each by itself: if that fails as well, it was not for the segments.
                how.segment_max = 0;
                let sent = retry(|| batches.send(socket, batch, bytes, how))?;
                let length = batch.first().map_or(0, |first| first.len);
                self.udp(fd)?.1.segment_max = match e.raw_os_error() {
                    // Longer than this path takes; shorter ones may fit.
                    Some(libc::EINVAL | libc::EMSGSIZE) => length.saturating_sub(1) as u16,
                    _ => 0,
                };
                Ok(sent)
            }
            other => other,
        }
    }

    /// From now on the poll tells when there is room again.
    #[cold]
    fn await_room(&mut self, fd: Fd, blocked: io::Error) -> io::Result<usize> {
        let entry = self.entries.get_mut(fd.0 as usize);
        if let Some(Entry { kind: Kind::Udp(socket, udp), id }) = entry
            && !udp.both
        {
            // If there is room by now, the kernel says so at once: no edge is lost.
            self.poll.registry().reregister(socket, token(fd, *id), BOTH)?;
            udp.both = true;
        }
        Err(blocked)
    }
}

/// What the kernel, or the network card's driver, says when it cannot cut a message into segments:
/// it does not know how, or they are longer than the path takes and it will not cut them further.
fn is_of_segments(error: &io::Error) -> bool {
    const SUCH: [i32; 5] =
        [libc::EIO, libc::EINVAL, libc::EMSGSIZE, libc::EOPNOTSUPP, libc::ENOPROTOOPT];
    error.raw_os_error().is_some_and(|n| SUCH.contains(&n))
}

/// Asks for what is to come beside the datagrams. What a kernel does not know and can do without,
/// is done without.
fn ask(socket: &Socket, six: bool, how: &BindOptions) -> io::Result<Udp> {
    let fd = socket.as_raw_fd();
    let gro = how.gro && mmsg::set(fd, libc::SOL_UDP, libc::UDP_GRO, 1).is_ok();
    let segments = mmsg::knows(fd, libc::SOL_UDP, libc::UDP_SEGMENT);
    // Of an IPv6 socket both: it may take IPv4, too.
    let wanted = [
        (how.destination, libc::IP_PKTINFO, libc::IPV6_RECVPKTINFO),
        (how.class, libc::IP_RECVTOS, libc::IPV6_RECVTCLASS),
        (how.ttl, libc::IP_RECVTTL, libc::IPV6_RECVHOPLIMIT),
        (how.errors, libc::IP_RECVERR, libc::IPV6_RECVERR),
    ];
    for (_, four_name, six_name) in wanted.into_iter().filter(|(wanted, ..)| *wanted) {
        if six {
            mmsg::set(fd, libc::IPPROTO_IPV6, six_name, 1)?;
        }
        // Its destination is told as IPv6's is.
        if !(six && four_name == libc::IP_PKTINFO) {
            mmsg::set(fd, libc::IPPROTO_IP, four_name, 1)?;
        }
    }
    if how.drops {
        mmsg::set(fd, libc::SOL_SOCKET, libc::SO_RXQ_OVFL, 1)?;
    }
    if how.time {
        mmsg::set(fd, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1)?;
    }
    let segment_max = if segments { u16::MAX } else { 0 };
    Ok(Udp { connected: false, six, control: gro || how.facts(), segment_max, both: false })
}

/// An interface of IPv4 by its address; of anything else, the system's choice.
fn address(on: IpAddr) -> Ipv4Addr {
    match on {
        IpAddr::V4(on) => on,
        IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
    }
}

/// An interface of IPv6 by its index; of anything else, the system's choice.
fn index(on: IpAddr) -> u32 {
    match on {
        IpAddr::V6(on) => on.to_bits() as u32,
        IpAddr::V4(_) => 0,
    }
}

fn of_one_source(
    socket: SockRef<'_>,
    source: IpAddr,
    group: IpAddr,
    on: IpAddr,
    join: bool,
) -> io::Result<()> {
    match (source, group) {
        (IpAddr::V4(source), IpAddr::V4(group)) => {
            if join {
                socket.join_ssm_v4(&source, &group, &address(on))
            } else {
                socket.leave_ssm_v4(&source, &group, &address(on))
            }
        }
        (IpAddr::V6(source), IpAddr::V6(group)) => {
            mmsg::source_v6(socket.as_raw_fd(), group, source, index(on), join)
        }
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

fn membership(socket: SockRef<'_>, group: IpAddr, on: IpAddr, join: bool) -> io::Result<()> {
    match group {
        IpAddr::V4(group) => {
            let on = InterfaceIndexOrAddress::Address(address(on));
            if join {
                socket.join_multicast_v4_n(&group, &on)
            } else {
                socket.leave_multicast_v4_n(&group, &on)
            }
        }
        IpAddr::V6(group) if join => socket.join_multicast_v6(&group, index(on)),
        IpAddr::V6(group) => socket.leave_multicast_v6(&group, index(on)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Instant, World};
    use std::net::UdpSocket as Plain;
    use std::time::Duration;

    const ID: Id = Id { birth: 1, slot: 0, driver: 0 };

    fn local() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 0))
    }

    fn plain() -> Plain {
        let plain = Plain::bind(local()).unwrap();
        plain.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        plain
    }

    /// Datagrams of these lengths, one behind the other.
    fn batch(peer: SocketAddr, lens: &[u32]) -> Vec<Datagram> {
        let mut start = 0;
        let one = |len: &u32| {
            start += len;
            Datagram { peer, start: start - len, len: *len, truncated: false }
        };
        lens.iter().map(one).collect()
    }

    #[test]
    fn a_kernel_that_refuses_segments_gets_each_datagram_by_itself_and_once() {
        let mut os = Os::new().unwrap();
        let (fd, _) = os.bind(local(), &BindOptions::default(), ID).unwrap();
        if os.udp(fd).unwrap().1.segment_max == 0 {
            return println!("skipped, this kernel has no UDP_SEGMENT");
        }
        // Without check sums the kernel cuts nothing (EINVAL), and sends plain ones all the same.
        let raw = os.udp(fd).unwrap().0.as_raw_fd();
        mmsg::set(raw, libc::SOL_SOCKET, libc::SO_NO_CHECK, 1).unwrap();
        let other = plain();
        let lens = [40, 40, 40, 7, 9];
        let batch = batch(other.local_addr().unwrap(), &lens);
        let bytes: Vec<u8> = (0..136).collect();
        assert_eq!(os.send(fd, &batch, &bytes).unwrap(), lens.len());
        let mut room = [0; 100];
        for one in &batch {
            let (n, _) = other.recv_from(&mut room).unwrap();
            assert_eq!(room[..n], bytes[one.start as usize..][..one.len as usize]);
        }
        other.set_nonblocking(true).unwrap();
        assert!(other.recv_from(&mut room).is_err(), "none came twice");
        assert_eq!(os.udp(fd).unwrap().1.segment_max, 39, "shorter ones may still be cut");
    }

    #[test]
    fn room_is_told_of_only_to_who_lacked_it() {
        let mut os = Os::new().unwrap();
        let (fd, at) = os.bind(local(), &BindOptions::default(), ID).unwrap();
        let told = |os: &mut Os| {
            let mut ready = Vec::new();
            os.poll(Some(Instant(0)), &mut ready).unwrap();
            ready.iter().map(|r| (r.readable, r.writable)).collect::<Vec<_>>()
        };
        let other = plain();
        for _ in 0..2 {
            other.send_to(b"x", at).unwrap();
            assert_eq!(told(&mut os), [(true, false)]);
        }
        let blocked = os.await_room(fd, io::ErrorKind::WouldBlock.into());
        assert_eq!(blocked.unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert_eq!(told(&mut os), [(true, true)], "there is room, and it is told at once");
        assert_eq!(told(&mut os), [], "once");
        other.send_to(b"x", at).unwrap();
        assert_eq!(told(&mut os), [(true, true)]);
    }

    #[test]
    fn a_datagrams_own_error_is_not_blamed_on_segments() {
        let mut os = Os::new().unwrap();
        let (fd, _) = os.bind(local(), &BindOptions::default(), ID).unwrap();
        let before = os.udp(fd).unwrap().1.segment_max;
        // Nobody has port 0: EINVAL, in one message or in several.
        let batch = batch(SocketAddr::from(([127, 0, 0, 1], 0)), &[10, 10]);
        assert!(os.send(fd, &batch, &[0; 20]).is_err());
        assert_eq!(os.udp(fd).unwrap().1.segment_max, before);
    }
}
