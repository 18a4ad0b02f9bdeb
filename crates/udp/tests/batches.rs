//! How many system calls it costs, what happens when they fail, and that queues have an end.

mod common;

use common::{Counting, Notes, local, peer, settle, until};
use loopwork_reactor::{BATCH, Handle, Loop};
use loopwork_udp::{self as udp, Host, Options, Sent};
use std::io::ErrorKind;
use std::net::SocketAddr;

type Setup = (Loop<Counting>, Handle<Host<Notes>>, SocketAddr);

fn setup(options: Options) -> Setup {
    let mut lp = Loop::new(Counting::new());
    let protocol = Notes { echo: true, ..Notes::default() };
    let how = common::how(|how| how.gro = false);
    let (h, at) = udp::bind_with(&mut lp, local(), &how, options, protocol).unwrap();
    (lp, h, at)
}

fn small() -> Options {
    Options { max_datagram: 2048, ..Options::default() }
}

fn notes(lp: &mut Loop<Counting>, h: Handle<Host<Notes>>) -> &mut Notes {
    &mut lp.get(h).protocol
}

#[test]
fn a_thousand_datagrams_cost_a_few_calls() {
    // As many as the kernel's buffer keeps of the smallest ones, several times.
    const BURST: usize = 125;
    let (mut lp, h, at) = setup(small());
    settle(&mut lp);
    let other = peer();
    lp.world.recvs = 0;
    for round in 0..8_usize {
        for i in 0..BURST {
            other.send_to(&((round * BURST + i) as u32).to_be_bytes(), at).unwrap();
        }
        lp.turn(Some(common::PATIENCE)).unwrap();
        let mut room = [0; 9];
        for i in 0..BURST {
            assert_eq!(other.recv_from(&mut room).unwrap(), (4, at));
            assert_eq!(room[..4], ((round * BURST + i) as u32).to_be_bytes());
        }
    }
    assert_eq!(notes(&mut lp, h).got.len(), 1000);
    // 64, and 61 that leave rooms unused, so that nothing is behind them. Of one length and to one
    // peer, each batch leaves as one message or as several: by one call in any case.
    assert_eq!(lp.world.recvs, 8 * 2);
    assert_eq!(lp.world.sends, [BATCH, BURST - BATCH].repeat(8));
}

#[test]
fn a_lone_datagram_costs_one_call_to_receive_and_one_to_send() {
    let (mut lp, h, at) = setup(small());
    settle(&mut lp);
    let other = peer();
    for n in 1..=5 {
        lp.world.recvs = 0;
        lp.world.sends.clear();
        other.send_to(b"alone", at).unwrap();
        until(&mut lp, |lp| notes(lp, h).got.len() == n);
        settle(&mut lp);
        assert_eq!((lp.world.recvs, &lp.world.sends[..]), (1, &[1][..]));
    }
}

#[test]
fn a_spent_budget_goes_on_in_the_next_turn() {
    let options = Options { batches_per_turn: 1, ..small() };
    let (mut lp, h, at) = setup(options);
    settle(&mut lp);
    let other = peer();
    for _ in 0..2 * BATCH {
        other.send_to(b"x", at).unwrap();
    }
    lp.world.recvs = 0;
    lp.turn(Some(common::PATIENCE)).unwrap();
    // One batch as ready; and the rest, since `again` is served behind it, only by a new budget.
    assert!(lp.world.recvs <= 2, "{}", lp.world.recvs);
    until(&mut lp, |lp| notes(lp, h).got.len() == 2 * BATCH);
    settle(&mut lp);
    assert_eq!(lp.world.recvs, 3, "two full batches, and one call that finds nothing");
}

#[test]
fn would_block_keeps_the_queue_in_order() {
    let (mut lp, h, at) = setup(small());
    settle(&mut lp);
    let other = peer();
    lp.world.blocked = true;
    for i in 0..3_u8 {
        other.send_to(&[i], at).unwrap();
        until(&mut lp, |lp| notes(lp, h).got.len() == usize::from(i) + 1);
    }
    assert_eq!(udp::with(&mut lp, h, |_, io| io.queued_datagrams()), Some(3));
    lp.world.blocked = false;
    // Readiness to write comes with the next event of this socket.
    other.send_to(&[3], at).unwrap();
    let mut room = [0; 9];
    until(&mut lp, |lp| notes(lp, h).got.len() == 4);
    for i in 0..4 {
        assert_eq!(other.recv_from(&mut room).unwrap().0, 1);
        assert_eq!(room[0], i);
    }
    assert!(notes(&mut lp, h).errors.is_empty());
}

#[test]
fn the_queue_has_an_end_and_a_drain() {
    let options = Options { queue_bytes: 100, queue_datagrams: 4, ..small() };
    let (mut lp, h, at) = setup(options);
    settle(&mut lp);
    let other = peer();
    let to = other.local_addr().unwrap();
    lp.world.blocked = true;
    udp::with(&mut lp, h, |_, io| {
        let sent: Vec<Sent> = (0..6).map(|_| io.send(to, b"1")).collect();
        assert_eq!(sent[..4], [Sent::Queued; 4]);
        assert_eq!(sent[4..], [Sent::Dropped; 2]);
    });
    settle(&mut lp);
    assert_eq!(notes(&mut lp, h).drains, 0);
    lp.world.blocked = false;
    other.send_to(b"?", at).unwrap();
    until(&mut lp, |lp| notes(lp, h).drains == 1);
    settle(&mut lp);
    assert_eq!(notes(&mut lp, h).drains, 1, "one drain for all that was dropped");
    lp.world.blocked = true;
    udp::with(&mut lp, h, |_, io| {
        assert_eq!(io.send(to, &[0; 60]), Sent::Queued);
        assert_eq!(io.send(to, &[0; 60]), Sent::Dropped);
        assert_eq!(io.send(to, &[0; 40]), Sent::Queued);
    });
}

#[test]
fn one_failed_datagram_is_told_and_the_rest_go() {
    let (mut lp, h, _) = setup(small());
    settle(&mut lp);
    let other = peer();
    let to = other.local_addr().unwrap();
    // No memory for the first; of the second, an earlier one's refusal is told: it has another
    // try, and goes. The third is refused twice, and given up.
    lp.world.send_script = [
        Some(ErrorKind::OutOfMemory),
        Some(ErrorKind::ConnectionRefused),
        None,
        Some(ErrorKind::ConnectionRefused),
        Some(ErrorKind::ConnectionRefused),
    ]
    .into();
    udp::with(&mut lp, h, |_, io| {
        assert_eq!(io.send(to, b"1"), Sent::Queued);
        assert_eq!(io.send(to, b"2"), Sent::Queued);
    });
    let mut room = [0; 9];
    assert_eq!(other.recv_from(&mut room).unwrap().0, 1);
    assert_eq!(room[0], b'2');
    udp::with(&mut lp, h, |_, io| {
        assert_eq!(io.send(to, b"3"), Sent::Queued);
        assert_eq!(io.send(to, b"4"), Sent::Queued);
    });
    other.recv_from(&mut room).unwrap();
    assert_eq!(room[0], b'4');
    let errors = std::mem::take(&mut notes(&mut lp, h).errors);
    let told: Vec<_> = errors.iter().map(|(whom, e)| (*whom, e.kind())).collect();
    let refused = (None, ErrorKind::ConnectionRefused);
    assert_eq!(told, [(Some(to), ErrorKind::OutOfMemory), refused, refused, refused]);
}

#[test]
fn many_failures_do_not_hold_the_turn_and_none_is_lost() {
    let (mut lp, h, _) = setup(small());
    settle(&mut lp);
    lp.world.sends.clear();
    let to = peer().local_addr().unwrap();
    lp.world.send_script = vec![Some(ErrorKind::PermissionDenied); 300].into();
    udp::with(&mut lp, h, |_, io| {
        (0..300).for_each(|_| assert_eq!(io.send(to, b"x"), Sent::Queued));
    });
    assert_eq!(lp.world.sends.len(), 64, "a flush ends after so many errors");
    until(&mut lp, |lp| notes(lp, h).errors.len() == 300);
}

#[test]
fn a_kept_error_of_receiving_is_told_and_the_datagrams_come() {
    let (mut lp, h, at) = setup(small());
    settle(&mut lp);
    lp.world.recv_script = vec![Some(ErrorKind::ConnectionRefused); 10].into();
    peer().send_to(b"x", at).unwrap();
    until(&mut lp, |lp| notes(lp, h).got.len() == 1);
    assert_eq!(notes(&mut lp, h).errors.len(), 10);
}
