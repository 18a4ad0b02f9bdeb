//! Pings with retry over a network that loses, doubles, delays and reorders, seed by seed: every
//! number is answered, and the same seed gives the same run.

mod common;

use common::{Notes, how, local, notes};
use loopwork_reactor::{Env, Id, Loop};
use loopwork_sim::{Faults, Sim, TraceHash, check, percent};
use loopwork_udp::{self as udp, Facts, Io, Options, Protocol, Sent, Source};
use std::io::ErrorKind;
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

/// A network that loses three datagrams in ten, and doubles and overtakes others.
fn lossy() -> Faults {
    Faults { loss: percent(30), ..Faults::rough() }
}

/// Runs one seed; its hash is everything that the world and the loop did.
fn run(seed: u64, faults: Faults) -> u64 {
    ping(seed, faults).0
}

/// [`run`], and how many datagrams were lost, doubled and held back.
fn ping(seed: u64, faults: Faults) -> (u64, [u64; 3]) {
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
    let stats = lp.world.stats();
    let met = [stats.lost, stats.duplicated, stats.reordered];
    (lp.world.hash() ^ trace.value().rotate_left(1), met)
}

#[test]
fn hostile_30_every_ping_is_answered_under_loss_doubles_and_detours() {
    const TEST: &str = "hostile_30_every_ping_is_answered_under_loss_doubles_and_detours";
    let replay = loopwork_sim::cargo_test("loopwork-udp", TEST);
    check(300, replay, |seed| {
        let first = run(seed, lossy());
        assert_eq!(first, run(seed, lossy()), "the same seed gives the same run");
        first
    });
}

/// What the pings above outlive does befall them.
#[test]
fn hostile_30_pings_meet_loss_doubles_and_detours() {
    let mut met = [0; 3];
    for seed in 0..30 {
        let (_, of) = ping(seed, lossy());
        met.iter_mut().zip(of).for_each(|(all, of)| *all += of);
    }
    let [lost, doubled, late] = met;
    assert!(lost > 100 && doubled > 5 && late > 20, "{met:?}");
}

#[test]
fn seeds_differ() {
    assert_ne!(run(1, Faults::rough()), run(2, Faults::rough()));
}

/// Bursts of equal datagrams, which come together, over a network without loss: each is shown
/// once, whole, and in its order.
fn bursts(seed: u64) -> u64 {
    let faults = Faults { loss: 0, duplicate: 0, reorder: 0, ..Faults::rough() };
    let mut lp = Loop::new(Sim::with_faults(seed, faults));
    let (h, to) = udp::bind(&mut lp, local(), Notes::default()).unwrap();
    let (from, at) = udp::bind(&mut lp, local(), Notes::default()).unwrap();
    let mut want = Vec::new();
    for burst in 0..20_u64 {
        let (count, len) = (1 + (seed ^ (burst * 7)) % 90, (seed + burst) % 5 * 300);
        udp::with(&mut lp, from, |_, io| {
            for n in 0..count {
                // The last of a burst is shorter at times.
                let len = if n + 1 == count { len / 2 } else { len };
                let bytes = vec![(burst + n) as u8; len as usize];
                assert_eq!(io.send(to, &bytes), Sent::Queued);
                want.push((at, bytes, false));
            }
        });
        for _ in 0..10_000 {
            if notes(&mut lp, h).got.len() == want.len() {
                break;
            }
            lp.turn(None).unwrap();
        }
    }
    assert_eq!(notes(&mut lp, h).got, want);
    lp.world.hash()
}

#[test]
fn what_comes_together_is_shown_one_by_one() {
    let replay =
        loopwork_sim::cargo_test("loopwork-udp", "what_comes_together_is_shown_one_by_one");
    check(100, replay, |seed| {
        let first = bursts(seed);
        assert_eq!(first, bursts(seed), "the same seed gives the same run");
        first
    });
}

/// Keeps the facts of what came; answers from where it was asked.
#[derive(Default)]
struct Clerk {
    facts: Vec<Facts>,
    errors: Vec<(Option<SocketAddr>, ErrorKind)>,
}

impl Protocol for Clerk {
    fn on_datagram(&mut self, io: &mut Io<'_>, from: SocketAddr, bytes: &mut [u8]) {
        self.facts.push(*io.facts());
        if let Some(source) = io.facts().source() {
            assert_eq!(io.send_from(source, from, &[bytes]), Sent::Queued);
        }
    }
    fn on_error(&mut self, _: &mut Io<'_>, to: Option<SocketAddr>, error: std::io::Error) {
        self.errors.push((to, error.kind()));
    }
}

#[test]
fn the_simulated_world_tells_what_the_real_one_tells() {
    let mut lp = Loop::new(Sim::with_faults(1, Faults::none()));
    let all = how(|how| {
        (how.destination, how.class, how.ttl, how.time) = (true, true, true, true);
        how.errors = true;
    });
    let any = SocketAddr::from(([0, 0, 0, 0], 0));
    let (h, at) = udp::bind_with(&mut lp, any, &all, Options::default(), Clerk::default()).unwrap();
    let (other, from) = udp::bind(&mut lp, local(), Notes::default()).unwrap();
    udp::set(&mut lp, other, udp::DatagramOption::Class(3)).unwrap();
    let to = SocketAddr::from(([127, 0, 0, 7], at.port()));
    udp::associate(&mut lp, other, to).unwrap();
    udp::with(&mut lp, other, |_, io| assert_eq!(io.send(to, b"?"), Sent::Queued));
    for _ in 0..20 {
        lp.turn(Some(Duration::from_millis(1))).unwrap();
    }
    let facts = lp.get(h).protocol.facts[0];
    assert_eq!((facts.destination, facts.class, facts.ttl), (Some(to.ip()), Some(3), Some(64)));
    assert!(facts.time.unwrap().abs_diff(lp.env.unix_time()) < Duration::from_secs(1));
    assert_eq!(notes(&mut lp, other).got, [(to, b"?".to_vec(), false)], "from where it was asked");
    // Nobody is there, and it is told once, with whom it was for.
    let dead = SocketAddr::from(([127, 0, 0, 1], 9));
    udp::with(&mut lp, h, |_, io| assert_eq!(io.send(dead, b"anyone?"), Sent::Queued));
    udp::with(&mut lp, h, |_, io| {
        let six = Source { ip: [0, 0, 0, 0, 0, 0, 0, 1_u16].into(), interface: 0 };
        assert_eq!(io.send_from(six, from, &[b"wrong"]), Sent::Queued);
    });
    udp::dissociate(&mut lp, other).unwrap();
    for _ in 0..20 {
        lp.turn(Some(Duration::from_millis(1))).unwrap();
    }
    let errors = std::mem::take(&mut lp.get(h).protocol.errors);
    let want = [(Some(from), ErrorKind::InvalidInput), (Some(dead), ErrorKind::ConnectionRefused)];
    assert_eq!(errors, want);
}
