//! Datagrams by the batch: `recvmmsg` and `sendmmsg`, which no safe crate offers, and the socket
//! options that go with them.
//!
//! Rules of this file:
//! * One of the files with `unsafe`. Each block says why it holds.
//! * The headers are made once and filled again: no allocation, no clearing of address storage
//!   that the kernel writes anyway. Those for receiving stay aimed between two calls, so that a
//!   lone datagram does not pay for a batch; only what the kernel wrote over is set again. This is
//!   sound since a system call sees addresses, and what is there has not moved or gone: this
//!   struct is in a box, and where the room begins is compared.
//! * Datagrams of one size to one peer, whose bytes lie one behind the other, leave as one message
//!   that the kernel (or the network card) cuts: `UDP_SEGMENT`. What the kernel put together on
//!   the way in, `UDP_GRO`, is told as the datagrams that it was.
#![allow(unsafe_code)]

use crate::control::{self, Control};
use crate::datagrams::{BATCH, Datagram, Facts, Source};
use libc::c_int;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::RawFd;
use std::ptr;

/// Datagrams that one message is cut into at most. 64: what every kernel with `UDP_SEGMENT` takes
/// (4.18 and newer; since 6.9 it is 128), and the call's cost is spread thin by then.
pub(crate) const SEGMENTS: usize = 64;
/// Bytes of one message at most, so of the datagrams that leave in one: IPv4's limit.
const MESSAGE: usize = 65_507;

const NOBODY: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0));

/// An address as the kernel writes it: of the two, the family says which.
#[derive(Clone, Copy)]
#[repr(C)]
union Name {
    v4: libc::sockaddr_in,
    v6: libc::sockaddr_in6,
}

/// The headers of one batch and what they point at.
struct Headers {
    headers: [libc::mmsghdr; BATCH],
    pieces: [libc::iovec; BATCH],
    names: [Name; BATCH],
    controls: [Control; BATCH],
}

/// The headers of batches in and out, reused by every call.
pub(crate) struct Batches {
    incoming: Headers,
    /// What those are aimed at: where the first room begins, how long each is, and its room for
    /// control messages.
    aim: (usize, usize, usize),
    /// So many of them are.
    aimed: usize,
    /// And so many of these the kernel has written over.
    used: usize,
    outgoing: Headers,
    /// Datagrams in each message that is sent.
    counts: [u8; BATCH],
}

/// How a batch leaves.
#[derive(Clone, Copy)]
pub(crate) struct Leaving {
    /// No address is named.
    pub(crate) connected: bool,
    /// Of IPv6: control messages are, too.
    pub(crate) six: bool,
    /// Datagrams up to this length are put together; 0: none.
    pub(crate) segment_max: u16,
    /// From where, if not from where the system chooses.
    pub(crate) source: Option<Source>,
}

impl Default for Batches {
    fn default() -> Self {
        // SAFETY: all are C structs of integers and pointers (`Name` a union of two such), or
        // arrays of bytes, for which zeroes are a value: null pointers and zero lengths.
        unsafe { std::mem::zeroed() }
    }
}

impl Headers {
    /// Points header `i` at a piece of memory, its own address storage and its own control room,
    /// each so long; 0: at none.
    #[inline(always)]
    fn aim(&mut self, i: usize, base: *mut u8, len: usize, name_len: usize, control_len: usize) {
        let name = ptr::from_mut(&mut self.names[i]).cast();
        let control = ptr::from_mut(&mut self.controls[i]).cast();
        let piece = &mut self.pieces[i];
        *piece = libc::iovec { iov_base: base.cast(), iov_len: len };
        let header = &mut self.headers[i].msg_hdr;
        header.msg_name = if name_len == 0 { ptr::null_mut() } else { name };
        header.msg_namelen = name_len as libc::socklen_t;
        header.msg_iov = ptr::from_mut(piece);
        header.msg_iovlen = 1;
        header.msg_control = if control_len == 0 { ptr::null_mut() } else { control };
        header.msg_controllen = control_len as _;
        header.msg_flags = 0;
    }
}

impl Batches {
    /// See [`Datagrams::recv`](crate::Datagrams::recv). With `control`, datagrams that the kernel
    /// put together are told apart again; with `facts`, one entry for each datagram is appended.
    pub(crate) fn recv(
        &mut self,
        socket: RawFd,
        into: &mut [u8],
        room: usize,
        got: &mut Vec<Datagram>,
        control: bool,
        mut facts: Option<&mut Vec<Facts>>,
    ) -> io::Result<()> {
        let room = room.max(1);
        let want = (into.len() / room).min(BATCH);
        let control_len = if control { control::ROOM } else { 0 };
        let base = into.as_mut_ptr();
        let aim = (base.addr(), room, control_len);
        if self.aim != aim {
            (self.aim, self.used, self.aimed) = (aim, 0, 0);
        }
        for message in &mut self.incoming.headers[..self.used.min(want)] {
            let header = &mut message.msg_hdr;
            header.msg_namelen = size_of::<Name>() as libc::socklen_t;
            header.msg_controllen = control_len as _;
            header.msg_flags = 0;
        }
        for i in self.aimed..want {
            let at = base.wrapping_add(i * room);
            self.incoming.aim(i, at, room, size_of::<Name>(), control_len);
        }
        self.aimed = self.aimed.max(want);
        // What the call leaves as it was, if it fails, is the kernel's affair.
        let kept = self.used;
        self.used = kept.max(want);
        // SAFETY: the first `want` headers point at `want` disjoint pieces of `into`, which is
        // borrowed mutably for the call, and at names and control rooms of this struct; all
        // outlive the call.
        let n = unsafe {
            let headers = self.incoming.headers.as_mut_ptr();
            libc::recvmmsg(socket, headers, want as u32, 0, ptr::null_mut())
        };
        let n = usize::try_from(n).map_err(|_| io::Error::last_os_error())?;
        self.used = if kept > want { kept } else { n };
        let Headers { headers, names, .. } = &self.incoming;
        let whole = |(i, (header, name)): (usize, (&libc::mmsghdr, &Name))| Datagram {
            peer: name.address(),
            start: (i * room) as u32,
            len: header.msg_len,
            truncated: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
        };
        let each = headers[..n].iter().zip(&names[..n]).enumerate().map(whole);
        if control {
            for (i, whole) in each.enumerate() {
                self.noted(i, whole, got, facts.as_deref_mut());
            }
        } else {
            got.extend(each);
        }
        Ok(())
    }

    /// Tells message `i` with what its control messages say. Not inlined, for those that have none.
    #[inline(never)]
    fn noted(
        &self,
        i: usize,
        whole: Datagram,
        got: &mut Vec<Datagram>,
        facts: Option<&mut Vec<Facts>>,
    ) {
        let (control, len) =
            (&self.incoming.controls[i], self.incoming.headers[i].msg_hdr.msg_controllen);
        split(whole, control.notes(len).find_map(|note| note.segment()), got);
        if let Some(facts) = facts {
            let mut one = Facts::default();
            for note in control.notes(len) {
                note.tell(&mut one);
            }
            facts.resize(got.len(), one);
        }
    }

    /// See [`Datagrams::send`](crate::Datagrams::send).
    pub(crate) fn send(
        &mut self,
        socket: RawFd,
        batch: &[Datagram],
        bytes: &[u8],
        how: Leaving,
    ) -> io::Result<usize> {
        let (mut at, mut want) = (0, 0);
        while at < batch.len() && want < BATCH {
            let first = batch[at];
            let (count, len) = run(&batch[at..], how.segment_max);
            let piece = &bytes[first.start as usize..][..len];
            let name_len =
                if how.connected { 0 } else { self.outgoing.names[want].fill(first.peer) };
            let mut control_len = 0;
            let control = &mut self.outgoing.controls[want];
            if count > 1 {
                let size = (first.len as u16).to_ne_bytes();
                control_len = control.push(0, libc::SOL_UDP, libc::UDP_SEGMENT, &size);
            }
            if let Some(source) = how.source {
                control_len = control.push_source(control_len, source, how.six);
            }
            let base = piece.as_ptr().cast_mut();
            self.outgoing.aim(want, base, len, name_len, control_len);
            self.counts[want] = count as u8;
            (at, want) = (at + count, want + 1);
        }
        // SAFETY: the first `want` headers point at pieces of `bytes`, which the kernel only
        // reads, and at names and control rooms of this struct; all outlive the call.
        let n =
            unsafe { libc::sendmmsg(socket, self.outgoing.headers.as_mut_ptr(), want as u32, 0) };
        let n = usize::try_from(n).map_err(|_| io::Error::last_os_error())?;
        Ok(self.counts[..n].iter().map(|count| usize::from(*count)).sum())
    }

    /// Whether the first message of the last batch that was to leave was put together.
    pub(crate) fn joined(&self) -> bool {
        self.counts[0] > 1
    }

    /// The next entry of a socket's error queue: whom the datagram was for, the kernel's number of
    /// the error, and whether the network said so (and not this host's own kernel).
    pub(crate) fn error(&mut self, socket: RawFd) -> io::Result<(SocketAddr, i32, bool)> {
        self.outgoing.aim(0, ptr::null_mut(), 0, size_of::<Name>(), control::ROOM);
        let header = &raw mut self.outgoing.headers[0].msg_hdr;
        // SAFETY: the header points at no bytes of ours, and at a name and a control room of this
        // struct, which outlives the call.
        let n = unsafe { libc::recvmsg(socket, header, libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT) };
        if n < 0 {
            return Err(io::Error::last_os_error());
        }
        let noted = self.outgoing.headers[0].msg_hdr.msg_controllen;
        let error = self.outgoing.controls[0].notes(noted).find_map(|note| note.error());
        Ok(match error {
            Some((error, origin)) => {
                let network = matches!(origin, libc::SO_EE_ORIGIN_ICMP | libc::SO_EE_ORIGIN_ICMP6);
                (self.outgoing.names[0].address(), error, network)
            }
            None => (NOBODY, 0, false),
        })
    }
}

/// Appends a message as the datagrams that it was put together from: each `segment` long but the
/// last, which may be shorter. Only the last can be cut.
fn split(whole: Datagram, segment: Option<usize>, got: &mut Vec<Datagram>) {
    let segment = segment.unwrap_or(0) as u32;
    if segment == 0 || segment >= whole.len {
        return got.push(whole);
    }
    let (mut start, end) = (whole.start, whole.start + whole.len);
    while end - start > segment {
        got.push(Datagram { start, len: segment, truncated: false, ..whole });
        start += segment;
    }
    got.push(Datagram { start, len: end - start, ..whole });
}

/// How many of the first datagrams leave as one message, at least one, and their bytes. Those of
/// one message have one peer and one length, but the last may be shorter; none is empty; and they
/// lie one behind the other.
#[inline]
fn run(batch: &[Datagram], segment_max: u16) -> (usize, usize) {
    let first = &batch[0];
    let (mut count, mut len) = (1, first.len as usize);
    if first.len == 0 || first.len > u32::from(segment_max) {
        return (count, len);
    }
    for next in &batch[1..] {
        let fits = next.len != 0
            && next.len <= first.len
            && count < SEGMENTS
            && len + next.len as usize <= MESSAGE
            && next.start as usize == first.start as usize + len
            && next.peer == first.peer;
        if !fits {
            break;
        }
        (count, len) = (count + 1, len + next.len as usize);
        if next.len < first.len {
            break;
        }
    }
    (count, len)
}

impl Name {
    /// The address; of a family that an IP socket cannot have, which would be the kernel's error,
    /// nobody's.
    #[inline]
    fn address(&self) -> SocketAddr {
        // SAFETY: both variants begin with the family, and every bit pattern of either is a
        // value: integers and arrays of integers.
        let family = unsafe { self.v4.sin_family };
        match i32::from(family) {
            libc::AF_INET => {
                // SAFETY: the family says that the kernel wrote a `sockaddr_in`.
                let v4 = unsafe { self.v4 };
                let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
                SocketAddrV4::new(ip, u16::from_be(v4.sin_port)).into()
            }
            libc::AF_INET6 => {
                // SAFETY: the family says that the kernel wrote a `sockaddr_in6`.
                let v6 = unsafe { self.v6 };
                let (ip, port) = (Ipv6Addr::from(v6.sin6_addr.s6_addr), v6.sin6_port);
                let (flow, scope) = (v6.sin6_flowinfo, v6.sin6_scope_id);
                SocketAddrV6::new(ip, u16::from_be(port), flow, scope).into()
            }
            _ => NOBODY,
        }
    }

    /// Writes an address; its length.
    fn fill(&mut self, to: SocketAddr) -> usize {
        match to {
            SocketAddr::V4(to) => {
                self.v4 = libc::sockaddr_in {
                    sin_family: libc::AF_INET as libc::sa_family_t,
                    sin_port: to.port().to_be(),
                    sin_addr: libc::in_addr { s_addr: u32::from(*to.ip()).to_be() },
                    sin_zero: [0; 8],
                };
                size_of::<libc::sockaddr_in>()
            }
            SocketAddr::V6(to) => {
                self.v6 = name_v6(to);
                size_of::<libc::sockaddr_in6>()
            }
        }
    }
}

fn done(n: c_int) -> io::Result<()> {
    if n == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Sets a socket option that is a number.
pub(crate) fn set(socket: RawFd, level: c_int, name: c_int, value: c_int) -> io::Result<()> {
    let len = size_of::<c_int>() as libc::socklen_t;
    // SAFETY: `value` is as long as is said, outlives the call, and is only read.
    done(unsafe { libc::setsockopt(socket, level, name, (&raw const value).cast(), len) })
}

/// Whether the kernel knows an option that is a number.
pub(crate) fn knows(socket: RawFd, level: c_int, name: c_int) -> bool {
    let (mut value, mut len) = (0 as c_int, size_of::<c_int>() as libc::socklen_t);
    // SAFETY: the kernel writes at most `len` bytes to `value`; both outlive the call.
    let n = unsafe { libc::getsockopt(socket, level, name, (&raw mut value).cast(), &raw mut len) };
    n == 0
}

/// Takes a socket's peer away.
pub(crate) fn disconnect(socket: RawFd) -> io::Result<()> {
    // SAFETY: a `sockaddr` is integers, for which zeroes are a value; no family is `AF_UNSPEC`.
    let none: libc::sockaddr = unsafe { std::mem::zeroed() };
    let len = size_of::<libc::sockaddr>() as libc::socklen_t;
    // SAFETY: `none` is as long as is said, outlives the call, and is only read.
    done(unsafe { libc::connect(socket, &raw const none, len) })
}

/// Joins or leaves an IPv6 group for what one source sends to it, on an interface by its index.
pub(crate) fn source_v6(
    socket: RawFd,
    group: Ipv6Addr,
    source: Ipv6Addr,
    interface: u32,
    join: bool,
) -> io::Result<()> {
    // SAFETY: a `group_source_req` is integers and bytes, for which zeroes are a value.
    let mut request: libc::group_source_req = unsafe { std::mem::zeroed() };
    request.gsr_interface = interface;
    for (ip, storage) in [(group, &mut request.gsr_group), (source, &mut request.gsr_source)] {
        let name = name_v6(SocketAddrV6::new(ip, 0, 0, 0));
        // SAFETY: a `sockaddr_storage` is larger than any address, and aligned for each.
        unsafe { ptr::write(ptr::from_mut(storage).cast(), name) };
    }
    let name = if join { libc::MCAST_JOIN_SOURCE_GROUP } else { libc::MCAST_LEAVE_SOURCE_GROUP };
    let (value, len) = ((&raw const request).cast(), size_of_val(&request) as libc::socklen_t);
    // SAFETY: `request` is as long as is said, outlives the call, and is only read.
    done(unsafe { libc::setsockopt(socket, libc::IPPROTO_IPV6, name, value, len) })
}

fn name_v6(to: SocketAddrV6) -> libc::sockaddr_in6 {
    libc::sockaddr_in6 {
        sin6_family: libc::AF_INET6 as libc::sa_family_t,
        sin6_port: to.port().to_be(),
        sin6_flowinfo: to.flowinfo(),
        sin6_addr: libc::in6_addr { s6_addr: to.ip().octets() },
        sin6_scope_id: to.scope_id(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    /// Datagrams one behind the other: to which port, how long.
    fn batch(of: &[(u16, u32)]) -> Vec<Datagram> {
        let mut start = 0;
        let one = |(port, len): &(u16, u32)| {
            start += len;
            Datagram { peer: at(*port), start: start - len, len: *len, truncated: false }
        };
        of.iter().map(one).collect()
    }

    #[test]
    fn a_message_has_one_peer_one_length_and_an_end() {
        type Case<'a> = (&'a [(u16, u32)], (usize, usize));
        let cases: [Case<'_>; 9] = [
            (&[(1, 5)], (1, 5)),
            (&[(1, 5), (1, 5), (1, 5)], (3, 15)),
            (&[(1, 5), (1, 5), (2, 5)], (2, 10)),
            (&[(1, 5), (1, 3), (1, 3)], (2, 8)),
            (&[(1, 5), (1, 6)], (1, 5)),
            (&[(1, 0), (1, 0)], (1, 0)),
            (&[(1, 5), (1, 0)], (1, 5)),
            (&[(1, 40_000), (1, 30_000)], (1, 40_000)),
            (&[(1, 9), (1, 9)], (2, 18)),
        ];
        for (of, want) in cases {
            assert_eq!(run(&batch(of), u16::MAX), want, "{of:?}");
        }
        assert_eq!(run(&batch(&[(1, 9); 200]), u16::MAX), (SEGMENTS, 9 * SEGMENTS));
        assert_eq!(run(&batch(&[(1, 1400); 64]), u16::MAX), (46, 64_400), "below the largest");
        assert_eq!(run(&batch(&[(1, 9), (1, 9)]), 8), (1, 9), "longer than may be cut");
        let mut apart = batch(&[(1, 5), (1, 5)]);
        apart[1].start += 1;
        assert_eq!(run(&apart, u16::MAX), (1, 5), "not one behind the other");
    }

    #[test]
    fn a_message_is_told_as_what_it_was_put_together_from() {
        let told = |len, segment, truncated| {
            let mut got = Vec::new();
            split(Datagram { peer: at(1), start: 100, len, truncated }, segment, &mut got);
            got.iter().map(|d| (d.start, d.len, d.truncated)).collect::<Vec<_>>()
        };
        assert_eq!(told(9, None, false), [(100, 9, false)]);
        assert_eq!(told(0, Some(4), false), [(100, 0, false)]);
        assert_eq!(told(4, Some(4), false), [(100, 4, false)]);
        assert_eq!(told(8, Some(4), false), [(100, 4, false), (104, 4, false)]);
        assert_eq!(told(9, Some(4), true), [(100, 4, false), (104, 4, false), (108, 1, true)]);
    }
}
