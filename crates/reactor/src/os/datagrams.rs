//! Datagrams of the real world.
//!
//! Rules of this file: those of the folder. The batches themselves are in `mmsg.rs`.

use super::{BOTH, Kind, Os, domain, retry, wrong_kind};
use crate::datagrams::{BindOptions, Datagram, DatagramOption, Datagrams};
use crate::id::{Fd, Id};
use mio::net::UdpSocket;
use socket2::{InterfaceIndexOrAddress, Protocol, SockAddr, SockRef, Socket, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd;

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
