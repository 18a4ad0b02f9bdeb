//! Pings with retry over a network that loses, doubles, delays and reorders, seed by seed: every
//! number is answered, and the same seed gives the same run.

mod common;

use common::local;
use loopwork_reactor::{Env, Id, Loop};
use loopwork_sim::{Faults, Sim, TraceHash, check, percent};
use loopwork_udp::{self as udp, Io, Protocol};
use std::net::SocketAddr;
use std::time::Duration;

/// Numbers to be answered.
const PINGS: u32 = 20;
/// Longer than the way there and back without a fault.
const RETRY: Duration = Duration::from_millis(20);

#[derive(Default)]
struct Server {
    closed: bool,
}

impl Protocol for Server {
    fn on_datagram(&mut self, io: &mut Io<'_>, from: SocketAddr, bytes: &mut [u8]) {
        let _ = io.send(from, bytes);
    }
    fn on_close(&mut self, _: Id, _: &mut Env) {
        self.closed = true;
    }
}

struct Client {
    server: SocketAddr,
    at: u32,
    tries: u32,
}

impl Client {
    /// Asks, and asks again when no answer has come in time.
    fn ask(&mut self, io: &mut Io<'_>) {
        self.tries += 1;
        let _ = io.send(self.server, &self.at.to_be_bytes());
        io.set_deadline(Some(io.env.now.after(RETRY)));
    }
}

impl Protocol for Client {
    fn on_open(&mut self, io: &mut Io<'_>) {
        io.associate(self.server);
        self.ask(io);
    }
    fn on_datagram(&mut self, io: &mut Io<'_>, from: SocketAddr, bytes: &mut [u8]) {
        assert_eq!(from, self.server);
        let answer = u32::from_be_bytes((&*bytes).try_into().expect("a whole number"));
        assert!(answer <= self.at, "an answer to what was not asked");
        if answer == self.at {
            self.at += 1;
            if self.at == PINGS { io.close() } else { self.ask(io) }
        }
    }
    fn on_timeout(&mut self, io: &mut Io<'_>) {
        assert!(self.tries < 10_000, "never answered");
        self.ask(io);
    }
}

/// Runs one seed; its hash is everything that the world and the loop did.
fn run(seed: u64, faults: Faults) -> u64 {
    let mut lp = Loop::new(Sim::with_faults(seed, faults));
    lp.trace(Some(Box::new(TraceHash::new())));
    let (server, to) = udp::bind(&mut lp, local(), Server::default()).unwrap();
    let ping = Client { server: to, at: 0, tries: 0 };
    let (client, _) = udp::bind(&mut lp, local(), ping).unwrap();
    for _ in 0..1_000_000 {
        if lp.get(client).id().is_none() {
            break;
        }
        lp.turn(None).unwrap();
    }
    assert_eq!(lp.get(client).protocol.at, PINGS);
    assert!(lp.get(client).protocol.tries >= PINGS);
    udp::close(&mut lp, server);
    lp.run().unwrap();
    assert!(lp.get(server).protocol.closed);
    assert_eq!((lp.world.open(), lp.env.calls.timers.len()), (0, 0));
    let trace = TraceHash::take(&mut lp).expect("it was set");
    lp.world.hash() ^ trace.value().rotate_left(1)
}

#[test]
fn every_ping_is_answered_under_loss() {
    let replay = loopwork_sim::cargo_test("loopwork-udp", "every_ping_is_answered_under_loss");
    check(300, replay, |seed| {
        let faults = || Faults { loss: percent(30), ..Faults::rough() };
        let first = run(seed, faults());
        assert_eq!(first, run(seed, faults()), "the same seed gives the same run");
        first
    });
}

#[test]
fn seeds_differ() {
    assert_ne!(run(1, Faults::rough()), run(2, Faults::rough()));
}
