//! Connections that are ended while the peer still sends: it reads all that it was told, within
//! the drain's limits. Over real sockets, and in the simulated world seed after seed.

mod support;

use loopwork_reactor::{Loop, Os};
use loopwork_sim::{Faults, Sim, TraceHash, cargo_test, check as check_seeds};
use loopwork_tcp::{Close, Drain, Io};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use support::{
    On, Play, Seat, check, dial_to, fill, finish, more, open, peer, play, server, turn_until,
    until_closed,
};

/// More than the high-water mark, less than the kernel's buffers.
const ANSWER: usize = 200_000;

/// Answers the first bytes with all it has to say, and wants to hear no more.
fn answerer(drain: Drain, size: usize) -> impl FnMut(&mut Seat, &mut Io<'_>, On<'_>) -> usize {
    move |_, io, on| match on {
        On::Data(_) => {
            assert!(!io.draining(), "what comes behind it is not shown");
            let mut answer = vec![0; size];
            fill(0, &mut answer);
            let _ = io.write(&answer);
            io.end_and_drain(drain);
            // None of it was used: what is left is dropped, too.
            0
        }
        On::Open => 0,
        On::End | On::Drain | On::Timeout | On::Wake | On::Shutdown => panic!("nothing follows"),
    }
}

/// Sends a MiB before it reads; what it read, or what went wrong on the way.
fn sender(mut stream: TcpStream) -> JoinHandle<std::io::Result<Vec<u8>>> {
    std::thread::spawn(move || {
        for _ in 0..1024 {
            stream.write_all(&[7; 1024])?;
        }
        stream.shutdown(Shutdown::Write)?;
        let mut all = Vec::new();
        stream.read_to_end(&mut all)?;
        Ok(all)
    })
}

fn until_done<T>(lp: &mut Loop<Os>, thread: JoinHandle<T>) -> T {
    turn_until(lp, |_| thread.is_finished());
    thread.join().expect("no panic")
}

#[test]
fn hostile_21_who_still_sends_reads_the_whole_answer() {
    let (mut lp, host, at) = server(answerer(Drain::default(), ANSWER));
    for _ in 0..4 {
        let sender = sender(peer(at));
        let all = until_done(&mut lp, sender).expect("no reset");
        assert_eq!(all.len(), ANSWER);
        check(0, &all);
    }
    until_closed(&mut lp, host, 4);
    assert!(lp.get(host).protocol.closed.iter().all(|(_, why)| *why == Close::Finished));
    finish(&mut lp, host);
}

/// Both write more than all buffers hold before they read: the drain goes on although the output
/// is full, or both would wait for each other.
#[test]
fn a_full_output_does_not_stop_the_drain() {
    const LARGE: usize = 24 << 20;
    let (mut lp, host, at) = server(answerer(Drain::default(), LARGE));
    let mut stream = peer(at);
    let thread = std::thread::spawn(move || {
        let piece = [7; 64 * 1024];
        for _ in 0..LARGE / piece.len() {
            stream.write_all(&piece).expect("it is taken");
        }
        let mut all = Vec::new();
        stream.read_to_end(&mut all).expect("no reset");
        all.len()
    });
    assert_eq!(until_done(&mut lp, thread), LARGE);
    until_closed(&mut lp, host, 1);
    finish(&mut lp, host);
}

/// Beyond the limit it is cut off: the same peer sees a reset.
#[test]
fn the_drain_has_a_limit_of_bytes() {
    let drain = Drain { bytes: 1000, ..Drain::default() };
    let (mut lp, host, at) = server(answerer(drain, ANSWER));
    let sender = sender(peer(at));
    assert!(until_done(&mut lp, sender).is_err(), "a reset");
    until_closed(&mut lp, host, 1);
    assert_eq!(lp.get(host).protocol.closed, [(0, Close::Finished)]);
    finish(&mut lp, host);
}

#[test]
fn a_peer_that_never_ends_is_waited_for_so_long() {
    const WAIT: Duration = Duration::from_millis(100);
    let drain = Drain { wait: WAIT, ..Drain::default() };
    let (mut lp, host, at) = server(answerer(drain, 5));
    let mut stream = peer(at);
    stream.write_all(b"?").unwrap();
    let begun = Instant::now();
    until_closed(&mut lp, host, 1);
    assert!(begun.elapsed() >= WAIT, "early");
    assert_eq!(lp.get(host).protocol.closed, [(0, Close::Finished)]);
    let mut all = Vec::new();
    stream.read_to_end(&mut all).expect("no reset: nothing was unread");
    assert_eq!(all.len(), 5);
    finish(&mut lp, host);
}

#[test]
fn a_peer_that_never_reads_is_given_up() {
    const STALL: Duration = Duration::from_millis(100);
    let drain = Drain { stall: STALL, ..Drain::default() };
    let (mut lp, host, at) = server(answerer(drain, 32 << 20));
    let mut stream = peer(at);
    stream.write_all(b"?").unwrap();
    until_closed(&mut lp, host, 1);
    assert_eq!(lp.get(host).protocol.closed, [(0, Close::TimedOut)]);
    let cut = stream.read_to_end(&mut Vec::new());
    assert!(cut.is_err(), "half an answer is no answer");
    finish(&mut lp, host);
}

/// The client sends all it has before it ends, whatever comes meanwhile.
fn client(seat: &mut Seat, io: &mut Io<'_>, on: On<'_>) -> usize {
    match on {
        On::Open => {
            io.read_when_full(true);
            let mut bytes = [0; 4];
            io.env.random(&mut bytes);
            seat.size = 1 + u64::from(u32::from_le_bytes(bytes) % 200_000);
            let _ = io.write(&vec![7; seat.size as usize]);
            io.end();
            0
        }
        On::Data(bytes) => {
            check(seat.got.len() as u64, bytes);
            seat.got.extend_from_slice(bytes);
            bytes.len()
        }
        _ => 0,
    }
}

fn run(seed: u64) -> u64 {
    // Long enough for small windows that lose a segment now and then.
    let (stall, wait) = (Duration::from_secs(600), Duration::from_secs(6000));
    let drain = Drain { stall, wait, ..Drain::default() };
    let (mut lp, host) = play(Sim::with_faults(seed, Faults::rough()), answerer(drain, ANSWER));
    lp.trace(Some(Box::new(TraceHash::new())));
    let dialer = more(&mut lp, client);
    let at = open(&mut lp, host);
    for _ in 0..2 {
        dial_to(&mut lp, dialer, at, Duration::from_secs(60));
    }
    let done = |play: &Play| play.closed.len() == 2;
    for turn in 0.. {
        assert!(turn < 200_000, "stuck");
        if done(&lp.get(host).protocol) && done(&lp.get(dialer).protocol) {
            break;
        }
        lp.turn(None).expect("a turn");
    }
    for host in [host, dialer] {
        let closed = &lp.get(host).protocol.closed;
        assert!(closed.iter().all(|(_, why)| *why == Close::Finished), "{closed:?}");
    }
    assert!(lp.get(dialer).protocol.seats.iter().all(|seat| seat.got.len() == ANSWER));
    assert!(lp.env.calls.timers.is_empty(), "no timer is left");
    let hash = TraceHash::take(&mut lp).expect("it was set").value();
    hash ^ lp.world.hash()
}

#[test]
fn hostile_21_rough_answers_arrive_whole() {
    let replay = cargo_test("loopwork-tcp --test linger", "hostile_21_rough_answers_arrive_whole");
    check_seeds(50, replay, run);
}
