//! What really passed on the wire: the heads of TCP's segments, from a packet socket.
//!
//! Rules of this file:
//! * Only heads are looked at; what a segment carries is nobody's business here.
//! * A time is the kernel's own, of when the segment passed; and what the kernel hands over as one
//!   segment counts as one, though its card may have made several of it.

use crate::common::Fail;
use loopwork::Instant;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// Flags of a segment (RFC 9293 §3.1).
pub(super) const FIN: u8 = 1;
pub(super) const SYN: u8 = 2;
pub(super) const RST: u8 = 4;
pub(super) const ACK: u8 = 16;
/// TCP, as IP has it.
const TCP: u8 = 6;
/// Segments that are kept: of the machine's other connections, too, since which one is ours is
/// not known before it stands. 16 MiB at most.
const SEGMENTS_MAX: usize = 200_000;

/// The head of a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Segment {
    from: SocketAddr,
    to: SocketAddr,
    sequence: u32,
    acknowledged: u32,
    flags: u8,
    bytes: u32,
}

/// A segment of one connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Passed {
    pub(super) at: Instant,
    /// To the server.
    pub(super) out: bool,
    /// Of its first byte, and of the byte that it waits for.
    pub(super) sequence: u32,
    pub(super) acknowledged: u32,
    pub(super) flags: u8,
    /// What it carries.
    pub(super) bytes: u32,
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

/// Reads a packet from its IP head on (RFC 791 §3.1, RFC 8200 §3); `None`: it begins no segment of
/// TCP, or another header stands between.
fn segment(packet: &[u8]) -> Option<Segment> {
    let long = |at| number(packet, at).map(u16::from_be_bytes).map(usize::from);
    let (hosts, head, all): ([IpAddr; 2], usize, usize) = match packet.first()? >> 4 {
        4 => {
            let head = usize::from(packet[0] & 15) * 4;
            // A later part of what was cut in parts has no head of TCP.
            if head < 20 || *packet.get(9)? != TCP || long(6)? & 0x1fff != 0 {
                return None;
            }
            let host = |at| number::<4>(packet, at).map(Ipv4Addr::from);
            ([host(12)?.into(), host(16)?.into()], head, long(2)?)
        }
        6 if *packet.get(6)? == TCP => {
            let host = |at| number::<16>(packet, at).map(Ipv6Addr::from);
            ([host(8)?.into(), host(24)?.into()], 40, 40 + long(4)?)
        }
        _ => return None,
    };
    let [from, to] = [0, 2].map(|at| number(packet, head + at).map(u16::from_be_bytes));
    let [sequence, acknowledged] = [4, 8].map(|at| number(packet, head + at));
    let own = usize::from(packet.get(head + 12)? >> 4) * 4;
    Some(Segment {
        from: (hosts[0], from?).into(),
        to: (hosts[1], to?).into(),
        sequence: u32::from_be_bytes(sequence?),
        acknowledged: u32::from_be_bytes(acknowledged?),
        flags: *packet.get(head + 13)?,
        bytes: all.saturating_sub(head + own) as u32,
    })
}

/// What passes on all of the machine's links, from the beginning of a load on.
pub(super) struct Capture {
    socket: link::Socket,
    /// Since 1970.
    seen: Vec<(Duration, Segment)>,
    /// There was more than is kept.
    pub(super) missed: bool,
}

impl Capture {
    /// Begins; it needs the right to.
    pub(super) fn begin() -> Result<Capture, Fail> {
        Ok(Capture { socket: link::open()?, seen: Vec::new(), missed: false })
    }

    /// Takes what has passed by now.
    pub(super) fn look(&mut self) {
        while let Some((at, packet)) = link::next(&self.socket) {
            let Some(segment) = segment(&packet) else { continue };
            if self.seen.len() == SEGMENTS_MAX {
                self.missed = true;
                return;
            }
            self.seen.push((at, segment));
        }
    }

    /// What passed between these two; `clock` is one moment by the loop's clock, and since 1970.
    pub(super) fn between(
        &self,
        (ours, peer): (SocketAddr, SocketAddr),
        clock: (Instant, Duration),
    ) -> Vec<Passed> {
        let passed = |(at, s): &(Duration, Segment)| {
            let out = (s.from, s.to) == (ours, peer);
            let Segment { sequence, acknowledged, flags, bytes, .. } = *s;
            let at = clock.0.after(at.saturating_sub(clock.1));
            let passed = Passed { at, out, sequence, acknowledged, flags, bytes };
            (out || (s.to, s.from) == (ours, peer)).then_some(passed)
        };
        let mut all: Vec<Passed> = self.seen.iter().filter_map(passed).collect();
        all.sort_by_key(|passed| passed.at);
        all
    }
}

#[cfg(target_os = "linux")]
mod link {
    use crate::common::Fail;
    use nix::errno::Errno;
    use nix::sys::socket::{
        AddressFamily, ControlMessageOwned, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType,
        recvmsg, setsockopt, socket, sockopt,
    };
    use nix::sys::time::TimeSpec;
    use std::io::IoSliceMut;
    use std::os::fd::{AsRawFd, OwnedFd};
    use std::time::Duration;

    pub(super) type Socket = OwnedFd;
    /// The longest head of IP, and TCP's without its options, with some to spare.
    const HEAD: usize = 128;
    /// What may wait in the kernel between two turns.
    const ROOM: usize = 32 << 20;
    /// `ARPHRD_LOOPBACK` of `linux/if_arp.h`, where each packet is seen twice.
    const LOOPBACK: u16 = 772;

    pub(super) fn open() -> Result<Socket, Fail> {
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let of = (AddressFamily::Packet, SockType::Datagram, SockProtocol::EthAll);
        let socket = socket(of.0, of.1, flags, of.2).map_err(refused)?;
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true).map_err(refused)?;
        // Who may look at packets may not always have so much room; then as much as anybody has.
        let _ = setsockopt(&socket, sockopt::RcvBufForce, &ROOM)
            .or_else(|_| setsockopt(&socket, sockopt::RcvBuf, &ROOM));
        Ok(socket)
    }

    fn refused(why: Errno) -> Fail {
        let advice = match why {
            Errno::EPERM | Errno::EACCES => {
                "; it needs the right to see packets: run as root, or once \
                 setcap cap_net_raw+ep on this program"
            }
            _ => "",
        };
        Fail::failed(format!("cannot capture packets: {}{advice}", why.desc().to_lowercase()))
    }

    /// The next packet from its IP head on, as much of it as is of interest, and when it passed.
    pub(super) fn next(socket: &Socket) -> Option<(Duration, Vec<u8>)> {
        let mut head = [0; HEAD];
        let mut control = nix::cmsg_space!(TimeSpec);
        loop {
            let mut into = [IoSliceMut::new(&mut head)];
            let none = MsgFlags::empty();
            let got = recvmsg::<LinkAddr>(socket.as_raw_fd(), &mut into, Some(&mut control), none);
            let got = match got {
                Err(Errno::EINTR) => continue,
                other => other.ok()?,
            };
            let (n, link) = (got.bytes, got.address);
            let at = got.cmsgs().ok()?.find_map(|message| match message {
                ControlMessageOwned::ScmTimestampns(at) => Some(Duration::from(at)),
                _ => None,
            })?;
            let twice = link.is_some_and(|link| {
                link.hatype() == LOOPBACK && link.pkttype() == libc::PACKET_OUTGOING
            });
            if !twice {
                return Some((at, head[..n].to_vec()));
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod link {
    use crate::common::Fail;
    use std::time::Duration;

    pub(super) type Socket = std::convert::Infallible;

    pub(super) fn open() -> Result<Socket, Fail> {
        Err(Fail::failed("cannot capture packets: only Linux has packet sockets"))
    }

    pub(super) fn next(socket: &Socket) -> Option<(Duration, Vec<u8>)> {
        match *socket {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A packet, as the RFCs draw it; `options` are words behind the heads of IPv4 and of TCP.
    fn packet(s: &Segment, options: (u8, u8)) -> Vec<u8> {
        let own = 20 + usize::from(options.1) * 4;
        let mut all = Vec::new();
        match (s.from.ip(), s.to.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let head = 20 + usize::from(options.0) * 4;
                let len = (head + own) as u16 + s.bytes as u16;
                all.extend([0x40 | (head / 4) as u8, 0]);
                all.extend(len.to_be_bytes());
                all.extend([7, 7, 0x40, 0, 64, TCP, 1, 2]);
                all.extend(from.octets().into_iter().chain(to.octets()));
                all.resize(head, 1);
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                all.extend([0x60, 0, 0, 0]);
                all.extend((own as u16 + s.bytes as u16).to_be_bytes());
                all.extend([TCP, 64]);
                all.extend(from.octets().into_iter().chain(to.octets()));
            }
            _ => unreachable!(),
        }
        all.extend(s.from.port().to_be_bytes());
        all.extend(s.to.port().to_be_bytes());
        all.extend(s.sequence.to_be_bytes());
        all.extend(s.acknowledged.to_be_bytes());
        all.extend([(own / 4 * 16) as u8, s.flags, 1, 0, 9, 9, 0, 0]);
        all.resize(all.len() + own - 20 + s.bytes as usize, 0);
        all
    }

    proptest! {
        #[test]
        fn what_was_packed_is_read(
            (six, hosts, ports) in any::<(bool, [[u16; 8]; 2], [u16; 2])>(),
            (sequence, acknowledged, flags) in any::<(u32, u32, u8)>(),
            (bytes, options, cut) in (0u32..2000, (0u8..=10, 0u8..=10), 0usize..200),
        ) {
            let ip = |host: [u16; 8]| match six {
                true => IpAddr::from(host),
                false => IpAddr::from(u32::from(host[0]).to_be_bytes()),
            };
            let [from, to] = [0, 1].map(|n| SocketAddr::new(ip(hosts[n]), ports[n]));
            let segment = Segment { from, to, sequence, acknowledged, flags, bytes };
            let packet = packet(&segment, options);
            prop_assert_eq!(super::segment(&packet), Some(segment));
            // Cut as by the socket: the same, or nothing where a head is cut.
            let some = super::segment(&packet[..cut.min(packet.len())]);
            prop_assert!(some.is_none() || some == Some(segment), "{some:?}");
            prop_assert!(cut < 54 + 40 || some == Some(segment) || cut < 40 + 40 + 20);
        }

        #[test]
        fn noise_is_no_segment_or_one(noise: Vec<u8>) {
            let _ = segment(&noise);
        }
    }

    #[test]
    fn what_is_no_beginning_of_a_segment_is_passed_over() {
        let at = |n: u8| SocketAddr::from(([127, 0, 0, n], 80));
        let of = |from, to| Segment { from, to, sequence: 1, acknowledged: 2, flags: 3, bytes: 4 };
        let whole = packet(&of(at(1), at(2)), (0, 0));
        assert!(segment(&whole).is_some());
        // UDP; a later part; a head that is too short; no version of IP.
        for (place, byte) in [(9, 17), (7, 1), (0, 0x44), (0, 0x50), (0, 0)] {
            let mut other = whole.clone();
            other[place] = byte;
            assert_eq!(segment(&other), None, "{place} {byte}");
        }
        assert_eq!(segment(&[]), None);
    }
}
