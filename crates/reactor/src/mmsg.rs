//! Datagrams by the batch: `recvmmsg` and `sendmmsg`, which no safe crate offers.
//!
//! Rules of this file:
//! * One of the two files with `unsafe`. Each block says why it holds.
//! * The headers are made once and filled again for each call: no allocation, no clearing of
//!   address storage that the kernel writes anyway.
#![allow(unsafe_code)]

use crate::datagrams::{BATCH, Datagram};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::RawFd;
use std::ptr;

/// An address as the kernel writes it: of the two, the family says which.
#[derive(Clone, Copy)]
#[repr(C)]
union Name {
    v4: libc::sockaddr_in,
    v6: libc::sockaddr_in6,
}

/// The headers of one batch, reused by every call.
pub(crate) struct Batches {
    headers: [libc::mmsghdr; BATCH],
    pieces: [libc::iovec; BATCH],
    names: [Name; BATCH],
}

impl Default for Batches {
    fn default() -> Self {
        // SAFETY: all three are C structs of integers and pointers (`Name` a union of two such),
        // for which zeroes are a value: null pointers and zero lengths.
        unsafe { std::mem::zeroed() }
    }
}

impl Batches {
    /// Points header `i` at a piece of memory and at its own address storage.
    fn aim(&mut self, i: usize, base: *mut u8, len: usize, name_len: usize) {
        self.pieces[i] = libc::iovec { iov_base: base.cast(), iov_len: len };
        let name = match name_len {
            0 => ptr::null_mut(),
            _ => ptr::from_mut(&mut self.names[i]).cast(),
        };
        let header = &mut self.headers[i].msg_hdr;
        header.msg_name = name;
        header.msg_namelen = name_len as libc::socklen_t;
        header.msg_iov = &raw mut self.pieces[i];
        header.msg_iovlen = 1;
        header.msg_flags = 0;
    }

    /// See [`Datagrams::recv`](crate::Datagrams::recv).
    pub(crate) fn recv(
        &mut self,
        socket: RawFd,
        into: &mut [u8],
        room: usize,
        got: &mut Vec<Datagram>,
    ) -> io::Result<()> {
        let want = (into.len() / room.max(1)).min(BATCH);
        for (i, piece) in into.chunks_exact_mut(room.max(1)).take(want).enumerate() {
            self.aim(i, piece.as_mut_ptr(), piece.len(), size_of::<Name>());
        }
        // SAFETY: the first `want` headers point at `want` disjoint pieces of `into`, which is
        // borrowed mutably for the call, and at names of this struct; all outlive the call.
        let n = unsafe {
            libc::recvmmsg(socket, self.headers.as_mut_ptr(), want as u32, 0, ptr::null_mut())
        };
        let n = usize::try_from(n).map_err(|_| io::Error::last_os_error())?;
        for i in 0..n {
            // An address of a family that an IP socket cannot have would be the kernel's error;
            // such a datagram is nobody's.
            let Some(peer) = self.peer(i) else { continue };
            let len = self.headers[i].msg_len;
            let truncated = self.headers[i].msg_hdr.msg_flags & libc::MSG_TRUNC != 0;
            got.push(Datagram { peer, start: (i * room) as u32, len, truncated });
        }
        Ok(())
    }

    /// See [`Datagrams::send`](crate::Datagrams::send). On a connected socket no address is named.
    pub(crate) fn send(
        &mut self,
        socket: RawFd,
        batch: &[Datagram],
        bytes: &[u8],
        connected: bool,
    ) -> io::Result<usize> {
        let want = batch.len().min(BATCH);
        for (i, datagram) in batch.iter().take(want).enumerate() {
            let piece = &bytes[datagram.start as usize..][..datagram.len as usize];
            let name_len = if connected { 0 } else { self.name(i, datagram.peer) };
            self.aim(i, piece.as_ptr().cast_mut(), piece.len(), name_len);
        }
        // SAFETY: the first `want` headers point at pieces of `bytes`, which the kernel only
        // reads, and at names of this struct; all outlive the call.
        let n = unsafe { libc::sendmmsg(socket, self.headers.as_mut_ptr(), want as u32, 0) };
        usize::try_from(n).map_err(|_| io::Error::last_os_error())
    }

    fn peer(&self, i: usize) -> Option<SocketAddr> {
        // SAFETY: both variants begin with the family, and every bit pattern of either is a
        // value: integers and arrays of integers.
        let family = unsafe { self.names[i].v4.sin_family };
        match i32::from(family) {
            libc::AF_INET => {
                // SAFETY: the family says that the kernel wrote a `sockaddr_in`.
                let v4 = unsafe { self.names[i].v4 };
                let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
                Some(SocketAddrV4::new(ip, u16::from_be(v4.sin_port)).into())
            }
            libc::AF_INET6 => {
                // SAFETY: the family says that the kernel wrote a `sockaddr_in6`.
                let v6 = unsafe { self.names[i].v6 };
                let (ip, port) = (Ipv6Addr::from(v6.sin6_addr.s6_addr), v6.sin6_port);
                let (flow, scope) = (v6.sin6_flowinfo, v6.sin6_scope_id);
                Some(SocketAddrV6::new(ip, u16::from_be(port), flow, scope).into())
            }
            _ => None,
        }
    }

    /// Writes an address into name `i`; its length.
    fn name(&mut self, i: usize, to: SocketAddr) -> usize {
        match to {
            SocketAddr::V4(to) => {
                self.names[i].v4 = libc::sockaddr_in {
                    sin_family: libc::AF_INET as libc::sa_family_t,
                    sin_port: to.port().to_be(),
                    sin_addr: libc::in_addr { s_addr: u32::from(*to.ip()).to_be() },
                    sin_zero: [0; 8],
                };
                size_of::<libc::sockaddr_in>()
            }
            SocketAddr::V6(to) => {
                self.names[i].v6 = libc::sockaddr_in6 {
                    sin6_family: libc::AF_INET6 as libc::sa_family_t,
                    sin6_port: to.port().to_be(),
                    sin6_flowinfo: to.flowinfo(),
                    sin6_addr: libc::in6_addr { s6_addr: to.ip().octets() },
                    sin6_scope_id: to.scope_id(),
                };
                size_of::<libc::sockaddr_in6>()
            }
        }
    }
}
