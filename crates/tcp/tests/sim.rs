//! The echo server and its clients in a simulated world, seed after seed, each run twice: under
//! rough faults every byte comes back; under hostile ones what came back is a prefix. Every state
//! is closed once, and in the end nothing is left.

mod support;

use loopwork_reactor::{Handle, Loop};
use loopwork_sim::{Faults, Sim, TraceHash, cargo_test, check as check_seeds};
use loopwork_tcp::{Close, Flow, Host, Io};
use std::time::Duration;
use support::{On, Play, Seat, dial_to, fill, more, open, pattern, play};

/// Turns after which a run is called stuck. The longest seen is a tenth of it.
const TURNS: u32 = 100_000;
/// Virtual time in which all that is sent comes back, unless it never does.
const DEADLINE: Duration = Duration::from_secs(120);

fn random(io: &mut Io<'_>, below: u32) -> u32 {
    let mut bytes = [0; 4];
    io.env.random(&mut bytes);
    u32::from_le_bytes(bytes) % below
}

/// Echoes, and does all that a protocol may do on the way: stops when full, leaves bytes and
/// pauses, goes on when woken.
fn server(seat: &mut Seat, io: &mut Io<'_>, on: On<'_>) -> usize {
    match on {
        On::Data(bytes) => {
            assert!(!io.paused() && io.flow() == Flow::Open);
            if random(io, 8) > 0 {
                let _ = io.write(bytes);
                return bytes.len();
            }
            let some = random(io, bytes.len() as u32 + 1) as usize;
            let _ = io.write(&bytes[..some]);
            io.pause();
            let (id, delay) = (io.id, Duration::from_micros(random(io, 5000).into()));
            io.env.after(delay, move |env| env.wake(id));
            some
        }
        On::Wake => {
            io.resume();
            0
        }
        _ => support::echo(seat, io, on),
    }
}

/// Sends so many bytes as it may, ends, and checks what comes back.
fn client(seat: &mut Seat, io: &mut Io<'_>, on: On<'_>) -> usize {
    match on {
        On::Open => {
            let bits = 4 + random(io, 14);
            seat.size = 1 + u64::from(random(io, 1 << bits));
            io.set_deadline(Some(io.env.now.after(DEADLINE)));
            io.read_when_full(true);
            send(seat, io);
            0
        }
        On::Drain => {
            send(seat, io);
            0
        }
        On::Data(bytes) => {
            let at = seat.got.len() as u64;
            assert!(bytes.iter().zip(at..).all(|(byte, at)| *byte == pattern(at)));
            seat.got.extend_from_slice(bytes);
            assert!(seat.got.len() as u64 <= seat.number, "more came back than was sent");
            bytes.len()
        }
        On::End => 0,
        On::Timeout => panic!("{} of {} came back in time", seat.got.len(), seat.size),
        On::Wake | On::Shutdown => panic!("nobody asked"),
    }
}

fn send(seat: &mut Seat, io: &mut Io<'_>) {
    let mut piece = [0; 3000];
    while seat.number < seat.size {
        let n = piece.len().min((seat.size - seat.number) as usize);
        fill(seat.number, &mut piece[..n]);
        seat.number += n as u64;
        if io.write(&piece[..n]) == Flow::Full {
            return;
        }
    }
    io.end();
}

struct Run {
    lp: Loop<Sim>,
    server: Handle<Host<Play>>,
    client: Handle<Host<Play>>,
    turns: u32,
}

impl Run {
    fn until(&mut self, mut done: impl FnMut(&mut Self) -> bool) {
        while !done(self) {
            self.turns += 1;
            assert!(self.turns < TURNS, "stuck");
            self.lp.turn(None).expect("a turn");
        }
    }
}

fn run(seed: u64, faults: Faults) -> (Run, u64) {
    const CLIENTS: usize = 4;
    let (mut lp, server) = play(Sim::with_faults(seed, faults), server);
    lp.trace(Some(Box::new(TraceHash::new())));
    let client = more(&mut lp, client);
    let at = open(&mut lp, server);
    for _ in 0..CLIENTS {
        dial_to(&mut lp, client, at, DEADLINE);
    }
    let mut run = Run { lp, server, client, turns: 0 };
    run.until(|run| run.lp.get(client).protocol.closed.len() == CLIENTS);
    loopwork_tcp::unlisten(&mut run.lp.env, server);
    run.until(|run| !run.lp.env.calls.alive());

    let lp = &mut run.lp;
    for host in [server, client] {
        assert!(lp.get(host).is_empty());
        let play = &lp.get(host).protocol;
        let mut closed: Vec<_> = play.closed.iter().map(|(n, _)| *n).collect();
        closed.sort_unstable();
        assert!(closed.into_iter().eq(0..play.given), "one on_close for each");
    }
    assert!(lp.env.calls.timers.is_empty());
    assert_eq!(lp.world.open(), 0, "no socket is left open");
    let hash = TraceHash::take(lp).expect("it was set").value() ^ lp.world.hash();
    (run, hash)
}

#[test]
fn rough_every_byte_comes_back() {
    let replay = cargo_test("loopwork-tcp --test sim", "rough_every_byte_comes_back");
    check_seeds(1000, replay, |seed| {
        let (mut run, hash) = run(seed, Faults::rough());
        for host in [run.server, run.client] {
            let play = &run.lp.get(host).protocol;
            assert!(play.closed.iter().all(|(_, why)| *why == Close::Finished));
        }
        for seat in &run.lp.get(run.client).protocol.seats {
            assert_eq!(seat.got.len() as u64, seat.size, "all of it came back");
        }
        hash
    });
}

#[test]
fn hostile_22_what_comes_back_is_a_prefix() {
    let replay = cargo_test("loopwork-tcp --test sim", "hostile_22_what_comes_back_is_a_prefix");
    check_seeds(1000, replay, |seed| {
        let (mut run, hash) = run(seed, Faults::hostile());
        let play = &run.lp.get(run.client).protocol;
        for (n, why) in &play.closed {
            let seat = play.seats.iter().find(|s| s.n == *n).expect("each brings its state");
            match why {
                Close::Finished => assert_eq!(seat.got.len() as u64, seat.size),
                Close::Reset => assert!(seat.got.len() as u64 <= seat.size),
                Close::Dial(_) => assert!(play.calls(*n).is_empty()),
                other => panic!("{other}"),
            }
        }
        hash
    });
}
