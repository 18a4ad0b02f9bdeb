//! Control messages: what the kernel says of a datagram beside its bytes (`cmsg(3)`).
//!
//! Rules of this file:
//! * No `unsafe`: a control message is bytes with a small header, read and written as such.
//! * What does not fit its header is the end: nothing here panics, whatever the bytes are.

use crate::datagrams::{Facts, Source};
use libc::c_int;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// Room for the control messages of one datagram, in bytes. All that can be asked for take 232 of
/// them, an error of the queue and its offender's address included.
pub(crate) const ROOM: usize = 256;
/// A header as the kernel lays it out: a length of pointer's size, a level, a kind. The length
/// counts the header.
pub(crate) const HEAD: usize = size_of::<usize>() + 2 * size_of::<c_int>();

/// The control messages of one datagram. Aligned as the kernel asks.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(crate) struct Control([u8; ROOM]);

impl Default for Control {
    fn default() -> Self {
        Control([0; ROOM])
    }
}

impl Control {
    /// All of it, for the kernel to write into.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        &mut self.0
    }

    /// The first `len` bytes.
    pub(crate) fn bytes(&self, len: usize) -> &[u8] {
        &self.0[..len]
    }

    /// Writes one behind what `len` bytes hold; the new length.
    ///
    /// # Panics
    /// When there is no room: the caller knows what it writes.
    pub(crate) fn push(&mut self, len: usize, level: c_int, kind: c_int, data: &[u8]) -> usize {
        let size = HEAD + data.len();
        let (head, body) = self.0[len..][..size].split_at_mut(HEAD);
        let (first, rest) = head.split_at_mut(size_of::<usize>());
        first.copy_from_slice(&size.to_ne_bytes());
        let (second, third) = rest.split_at_mut(size_of::<c_int>());
        second.copy_from_slice(&level.to_ne_bytes());
        third.copy_from_slice(&kind.to_ne_bytes());
        body.copy_from_slice(data);
        len + size.next_multiple_of(size_of::<usize>())
    }

    /// Asks that this datagram leave from there; the new length.
    pub(crate) fn push_source(&mut self, len: usize, source: Source, six: bool) -> usize {
        if !six {
            // struct in_pktinfo { int ipi_ifindex; in_addr ipi_spec_dst; in_addr ipi_addr; }
            let ip = match source.ip {
                IpAddr::V4(ip) => ip,
                IpAddr::V6(ip) => ip.to_ipv4_mapped().unwrap_or(Ipv4Addr::UNSPECIFIED),
            };
            let mut data = [0; 12];
            data[..4].copy_from_slice(&source.interface.to_ne_bytes());
            data[4..8].copy_from_slice(&ip.octets());
            return self.push(len, libc::IPPROTO_IP, libc::IP_PKTINFO, &data);
        }
        // struct in6_pktinfo { in6_addr ipi6_addr; unsigned ipi6_ifindex; }
        let ip = match source.ip {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        let mut data = [0; 20];
        data[..16].copy_from_slice(&ip.octets());
        data[16..].copy_from_slice(&source.interface.to_ne_bytes());
        self.push(len, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &data)
    }

    /// What the first `len` bytes hold.
    pub(crate) fn notes(&self, len: usize) -> Notes<'_> {
        Notes(&self.0[..len.min(ROOM)])
    }
}

/// One control message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Note<'a> {
    pub(crate) level: c_int,
    pub(crate) kind: c_int,
    pub(crate) data: &'a [u8],
}

impl Note<'_> {
    /// A number of four bytes that begins there.
    fn int(&self, at: usize) -> Option<u32> {
        self.data.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
    }

    fn octets<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.data.get(at..at + N)?.try_into().ok()
    }

    /// Of a message that several datagrams were put together to: how long each is, but the last.
    pub(crate) fn segment(&self) -> Option<usize> {
        let is = (self.level, self.kind) == (libc::SOL_UDP, libc::UDP_GRO);
        self.int(0).filter(|size| is && *size > 0).map(|size| size as usize)
    }

    /// Of the error queue: the kind of error, and where it came from (`SO_EE_ORIGIN_…`).
    pub(crate) fn error(&self) -> Option<(i32, u8)> {
        let of = (self.level, self.kind);
        if of != (libc::IPPROTO_IP, libc::IP_RECVERR)
            && of != (libc::IPPROTO_IPV6, libc::IPV6_RECVERR)
        {
            return None;
        }
        // struct sock_extended_err { u32 ee_errno; u8 ee_origin; … }
        Some((self.int(0)? as i32, *self.data.get(4)?))
    }

    /// Adds what this one says of a datagram; one that is cut short says nothing.
    pub(crate) fn tell(&self, facts: &mut Facts) {
        let _ = self.try_tell(facts);
    }

    fn try_tell(&self, facts: &mut Facts) -> Option<()> {
        let byte = |n: u32| u8::try_from(n).ok();
        match (self.level, self.kind) {
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                facts.interface = self.int(0);
                facts.local = self.octets::<4>(4).map(|ip| Ipv4Addr::from(ip).into());
                facts.destination = self.octets::<4>(8).map(|ip| Ipv4Addr::from(ip).into());
            }
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                let ip = IpAddr::V6(Ipv6Addr::from(self.octets::<16>(0)?));
                facts.interface = self.int(16);
                facts.destination = Some(ip);
                facts.local = (!ip.to_canonical().is_multicast()).then_some(ip);
            }
            (libc::IPPROTO_IP, libc::IP_TOS) => facts.class = self.data.first().copied(),
            (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => facts.class = byte(self.int(0)?),
            (libc::IPPROTO_IP, libc::IP_TTL) | (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT) => {
                facts.ttl = byte(self.int(0)?);
            }
            (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => facts.dropped = self.int(0)?,
            (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => {
                // struct timespec, of two words.
                const WORD: usize = size_of::<libc::time_t>();
                let seconds = libc::time_t::from_ne_bytes(self.octets::<WORD>(0)?);
                let nanos = u32::try_from(libc::time_t::from_ne_bytes(self.octets::<WORD>(WORD)?));
                let seconds = u64::try_from(seconds).ok()?;
                facts.time = Some(Duration::new(seconds, nanos.ok()?));
            }
            _ => {}
        }
        Some(())
    }
}

/// Control messages, one after the other.
pub(crate) struct Notes<'a>(&'a [u8]);

impl<'a> Iterator for Notes<'a> {
    type Item = Note<'a>;

    fn next(&mut self) -> Option<Note<'a>> {
        const WORD: usize = size_of::<usize>();
        let size = usize::from_ne_bytes(self.0.get(..WORD)?.try_into().ok()?);
        let level = c_int::from_ne_bytes(self.0.get(WORD..WORD + 4)?.try_into().ok()?);
        let kind = c_int::from_ne_bytes(self.0.get(WORD + 4..HEAD)?.try_into().ok()?);
        let data = self.0.get(HEAD..size)?;
        self.0 = self.0.get(size.next_multiple_of(WORD)..).unwrap_or_default();
        Some(Note { level, kind, data })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_pushed_is_read() {
        let mut control = Control([0; ROOM]);
        let mut len = control.push(0, libc::SOL_UDP, libc::UDP_GRO, &1400_i32.to_ne_bytes());
        assert_eq!(len, 24, "a whole number of words");
        len = control.push(len, libc::IPPROTO_IP, libc::IP_TOS, &[0xb9]);
        let local = IpAddr::from([10, 1, 2, 3]);
        len = control.push_source(len, Source { ip: local, interface: 7 }, false);
        assert_eq!(control.notes(len).count(), 3);
        assert_eq!(control.notes(len).find_map(|n| n.segment()), Some(1400));
        let mut facts = Facts::default();
        control.notes(len).for_each(|n| n.tell(&mut facts));
        assert_eq!((facts.class, facts.interface, facts.local), (Some(0xb9), Some(7), Some(local)));
        assert_eq!((facts.ttl, facts.time, facts.dropped), (None, None, 0));
    }

    #[test]
    fn a_source_on_an_ipv6_socket_is_of_ipv6_whatever_it_was() {
        let mut control = Control([0; ROOM]);
        let source = Source { ip: IpAddr::from([10, 1, 2, 3]), interface: 0 };
        let len = control.push_source(0, source, true);
        let mut facts = Facts::default();
        control.notes(len).for_each(|n| n.tell(&mut facts));
        assert_eq!(facts.destination.map(|ip| ip.to_canonical()), Some(source.ip));
    }

    /// Both families carry an interface, each at its own place.
    #[test]
    fn an_interface_is_read_as_it_was_pushed() {
        let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
        for (at, six, interface) in
            [("10.1.2.3", false, 7), ("10.1.2.3", true, 0x0102_0304), ("fe80::1", true, 9)]
        {
            let mut control = Control([0; ROOM]);
            let len = control.push_source(0, Source { ip: ip(at), interface }, six);
            let mut facts = Facts::default();
            control.notes(len).for_each(|n| n.tell(&mut facts));
            assert_eq!(facts.interface, Some(interface), "{at}");
            assert_eq!(facts.local.map(|ip| ip.to_canonical()), Some(ip(at)));
        }
        // One that came to a group: what it went to is no address of ours.
        let mut control = Control([0; ROOM]);
        let len = control.push_source(0, Source { ip: ip("ff02::1"), interface: 3 }, true);
        let mut facts = Facts::default();
        control.notes(len).for_each(|n| n.tell(&mut facts));
        assert_eq!((facts.destination, facts.local), (Some(ip("ff02::1")), None));
        assert_eq!(facts.interface, Some(3));
    }

    proptest! {
        /// Whatever the bytes are: it ends, and what it gives lies within them.
        #[test]
        fn any_bytes_are_read_without_harm(bytes in prop::collection::vec(0_u8..40, 0..ROOM)) {
            let mut control = Control([0; ROOM]);
            control.0[..bytes.len()].copy_from_slice(&bytes);
            let mut facts = Facts::default();
            let mut total = 0;
            for note in control.notes(bytes.len()) {
                total += HEAD + note.data.len();
                let _ = (note.segment(), note.error());
                note.tell(&mut facts);
            }
            prop_assert!(total <= bytes.len());
        }

        /// A cut list is a shorter list.
        #[test]
        fn a_cut_gives_the_first_ones(cut in 0_usize..ROOM) {
            let (mut control, mut len, mut ends) = (Control([0; ROOM]), 0, Vec::new());
            for n in 0..5_u8 {
                let data = vec![n; usize::from(n) * 3];
                ends.push(len + HEAD + data.len());
                len = control.push(len, 1, n.into(), &data);
            }
            let seen: Vec<c_int> = control.notes(cut).map(|n| n.kind).collect();
            let whole: Vec<c_int> = (0..5).filter(|n| cut >= ends[*n as usize]).collect();
            // Behind the last there are zeroes, which say nothing.
            prop_assert_eq!(seen, whole);
        }
    }
}
