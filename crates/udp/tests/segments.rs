//! Many datagrams in one message, out (`UDP_SEGMENT`) and in (`UDP_GRO`): nothing changes but the
//! number of calls.

mod common;

use common::{Counting, Notes, how, local, notes, peer, settle, until};
use loopwork_reactor::{BATCH, Handle, Loop, Os};
use loopwork_udp::{self as udp, DatagramOption, Host, MAX_PAYLOAD, Options, Sent};
use proptest::prelude::*;
use std::net::{SocketAddr, UdpSocket};

/// Datagrams that one message is cut into at most.
const SEGMENTS: usize = 64;

type Socket = (Handle<Host<Notes>>, SocketAddr);

fn open(lp: &mut Loop<Counting>, gro: bool, options: Options) -> Socket {
    let how = how(|how| how.gro = gro);
    udp::bind_with(lp, local(), &how, options, Notes::default()).unwrap()
}

fn body(n: usize, len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7 + n * 13) as u8).collect()
}

#[test]
fn four_thousand_datagrams_of_one_size_leave_by_one_call() {
    let mut lp = Loop::new(Counting::new());
    let (h, _) = open(&mut lp, true, Options::default());
    let to = peer().local_addr().unwrap();
    settle(&mut lp);
    lp.world.sends.clear();
    udp::with(&mut lp, h, |_, io| {
        (0..BATCH * SEGMENTS).for_each(|_| assert_eq!(io.send(to, &[7; 64]), Sent::Queued));
    });
    if lp.world.sends[0] == BATCH {
        return common::skipped(format_args!("this kernel has no UDP_SEGMENT"));
    }
    assert_eq!(lp.world.sends, [BATCH * SEGMENTS]);
}

#[test]
fn what_was_put_together_is_told_one_by_one() {
    let mut lp = Loop::new(Counting::new());
    let (from, at) = open(&mut lp, true, Options::default());
    let (h, to) = open(&mut lp, true, Options::default());
    settle(&mut lp);
    lp.world.recvs = 0;
    let sent: Vec<Vec<u8>> = (0..150).map(|n| body(n, 200 - n / 149)).collect();
    udp::with(&mut lp, from, |_, io| {
        sent.iter().for_each(|bytes| assert_eq!(io.send(to, bytes), Sent::Queued));
    });
    until(&mut lp, |lp| notes(lp, h).got.len() == sent.len());
    let want: Vec<_> = sent.into_iter().map(|bytes| (at, bytes, false)).collect();
    assert_eq!(notes(&mut lp, h).got, want);
    if lp.world.sends == [150] {
        assert_eq!(lp.world.recvs, 1, "three messages of one batch");
    }
}

/// What a call has used is filled again for the next: a lone datagram leaves no room behind for
/// the kernel's note of how long each is.
#[test]
fn what_is_put_together_behind_a_lone_one_is_told_one_by_one() {
    let mut lp = Loop::new(Counting::new());
    // A loop of its own sends, since sending fills headers again as well.
    let mut other = Loop::new(Counting::new());
    let (from, at) = open(&mut other, true, Options::default());
    let (h, to) = open(&mut lp, true, Options::default());
    settle(&mut lp);
    let mut want = Vec::new();
    for count in [1, 20, 1, 1, 20] {
        let sent: Vec<Vec<u8>> = (0..count).map(|n| body(n, 100)).collect();
        udp::with(&mut other, from, |_, io| {
            sent.iter().for_each(|bytes| assert_eq!(io.send(to, bytes), Sent::Queued));
        });
        want.extend(sent.into_iter().map(|bytes| (at, bytes, false)));
        until(&mut lp, |lp| {
            notes(lp, h).got.iter().map(|g| g.1.len()).sum::<usize>() == want.len() * 100
        });
        settle(&mut lp);
    }
    assert_eq!(notes(&mut lp, h).got, want);
}

#[test]
fn each_is_cut_by_itself_to_the_longest_that_is_wanted() {
    let mut lp = Loop::new(Counting::new());
    let (from, _) = open(&mut lp, true, Options::default());
    let options = Options { max_datagram: 64, ..Options::default() };
    let (h, to) = open(&mut lp, true, options);
    udp::with(&mut lp, from, |_, io| {
        for (n, len) in [65, 65, 65, 64, 64, 200, 1, 0].into_iter().enumerate() {
            assert_eq!(io.send(to, &body(n, len)), Sent::Queued);
        }
    });
    until(&mut lp, |lp| notes(lp, h).got.len() == 8);
    let got: Vec<_> = notes(&mut lp, h).got.iter().map(|g| (g.1.clone(), g.2)).collect();
    let want: Vec<_> = [(64, true), (64, true), (64, true), (64, false), (64, false), (64, true)]
        .into_iter()
        .chain([(1, false), (0, false)])
        .enumerate()
        .map(|(n, (len, cut))| (body(n, len), cut))
        .collect();
    assert_eq!(got, want);
}

#[test]
fn a_plain_receiver_sees_no_difference() {
    let mut lp = Loop::new(Counting::new());
    let (h, at) = open(&mut lp, true, Options::default());
    let other = peer();
    let to = other.local_addr().unwrap();
    udp::with(&mut lp, h, |_, io| {
        (0..100).for_each(|n| assert_eq!(io.send(to, &body(n, 300)), Sent::Queued));
    });
    let mut room = [0; 1000];
    for n in 0..100 {
        assert_eq!(other.recv_from(&mut room).unwrap(), (300, at));
        assert_eq!(room[..300], body(n, 300));
    }
}

#[test]
fn a_budget_of_one_batch_ends_the_turn_however_much_came_together() {
    let mut lp = Loop::new(Counting::new());
    let (from, _) = open(&mut lp, true, Options::default());
    let options = Options { batches_per_turn: 1, ..Options::default() };
    let (h, to) = open(&mut lp, true, options);
    udp::set(&mut lp, h, DatagramOption::ReceiveBuffer(4 << 20)).unwrap();
    settle(&mut lp);
    // Empty ones lie between, so that there are more messages than one call takes.
    let most = 40;
    udp::with(&mut lp, from, |_, io| {
        for _ in 0..most {
            assert_eq!(io.send(to, b"one"), Sent::Queued);
            assert_eq!(io.send(to, b"two"), Sent::Queued);
            assert_eq!(io.send(to, b""), Sent::Queued);
        }
    });
    lp.world.recvs = 0;
    lp.turn(Some(common::PATIENCE)).unwrap();
    assert!(lp.world.recvs <= 2, "one as ready, one more as again: {}", lp.world.recvs);
    until(&mut lp, |lp| notes(lp, h).got.len() == 3 * most);
    let empty = notes(&mut lp, h).got.iter().filter(|g| g.1.is_empty()).count();
    assert_eq!(empty, most);
}

/// Where a datagram of the property goes: hosts with and without GRO, and a plain socket.
struct Peers {
    hosts: [Socket; 2],
    plain: UdpSocket,
}

impl Peers {
    fn address(&self, whom: usize) -> SocketAddr {
        match whom {
            0 | 1 => self.hosts[whom].1,
            _ => self.plain.local_addr().unwrap(),
        }
    }
}

/// Sizes that meet each rule of putting together: none, the least, equal ones, a longer one behind
/// a shorter one, several that fill a message, the largest.
const SIZES: [usize; 9] = [0, 1, 64, 64, 64, 1200, 1400, 9000, MAX_PAYLOAD];
/// Bytes of one burst: what the smallest receive buffers keep of it, the kernel's book-keeping and
/// one datagram of the largest size with it.
const BURST: usize = 40_000;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever is sent to whom in whatever mix: each receives exactly its own, whole and in
    /// order, whether or not anything was put together.
    #[test]
    fn any_mix_arrives_exactly(
        mix in prop::collection::vec((0_usize..3, 0..SIZES.len(), 1_usize..30), 1..12),
        segments in any::<bool>(),
    ) {
        let mut lp = Loop::new(Counting::new());
        lp.world.plain = !segments;
        let (from, at) = open(&mut lp, true, Options::default());
        let hosts = [true, false].map(|gro| open(&mut lp, gro, Options::default()));
        let peers = Peers { hosts, plain: peer() };
        let mut want = [const { Vec::new() }; 3];
        let mut bytes = 0;
        udp::with(&mut lp, from, |_, io| {
            for (n, (whom, size, count)) in mix.into_iter().enumerate() {
                for i in 0..count {
                    let piece = body(n + i, SIZES[size]);
                    if bytes > BURST || want[whom].len() == 60 {
                        return;
                    }
                    // A small datagram costs the kernel's buffer hundreds of bytes all the same.
                    bytes += piece.len().max(600);
                    assert_eq!(io.send(peers.address(whom), &piece), Sent::Queued);
                    want[whom].push((at, piece, false));
                }
            }
        });
        until(&mut lp, |lp| {
            let mut hosts = peers.hosts.iter().zip(&want);
            hosts.all(|((h, _), want)| notes(lp, *h).got.len() >= want.len())
        });
        settle(&mut lp);
        for ((h, _), want) in peers.hosts.iter().zip(&want) {
            prop_assert_eq!(&notes(&mut lp, *h).got, want);
        }
        let mut room = vec![0; MAX_PAYLOAD];
        for one in &want[2] {
            let (n, sender) = peers.plain.recv_from(&mut room).unwrap();
            prop_assert_eq!((sender, &room[..n]), (at, &one.1[..]));
        }
        peers.plain.set_nonblocking(true).unwrap();
        prop_assert!(peers.plain.recv_from(&mut room).is_err(), "nothing comes twice");
    }
}

#[test]
fn the_real_world_needs_no_counter() {
    let mut lp = Loop::new(Os::new().unwrap());
    let (h, at) = udp::bind(&mut lp, local(), Notes { echo: true, ..Notes::default() }).unwrap();
    let other = peer();
    for n in 0..50 {
        other.send_to(&body(n, 100), at).unwrap();
    }
    until(&mut lp, |lp| notes(lp, h).got.len() == 50);
    let mut room = [0; 200];
    for n in 0..50 {
        assert_eq!(other.recv_from(&mut room).unwrap(), (100, at));
        assert_eq!(room[..100], body(n, 100));
    }
}
