//! Dials of several addresses in the simulated world, seed after seed, and over real sockets of
//! the loopback; and block lists, both ways.

mod support;

use loopwork_reactor::{
    Address, ConnectOptions, Env, Handle, Id, ListenOptions, Loop, Os, Streams,
};
use loopwork_sim::{Faults, Sim, TraceHash, cargo_test, check as check_seeds};
use loopwork_tcp::{
    Close, Dial, DialAny, Host, Io, PRIVATE_RANGES, Protocol, Refusal, add, addresses, dial,
    dial_any, listen_at, shutdown, unlisten,
};
use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;
use support::{PATIENCE, echo, finish, idle, open, peer, play, server, turn_until};

/// Says a word, and ends when it has come back.
#[derive(Default)]
struct Caller {
    opened: Vec<Id>,
    closed: Vec<(u8, Id, Close)>,
    tried: Vec<(u8, Vec<(SocketAddr, ErrorKind)>)>,
    heard: Vec<u8>,
}

impl Protocol for Caller {
    type Conn = u8;
    fn on_open(&mut self, _: &mut u8, io: &mut Io<'_>) {
        self.opened.push(io.id);
        let _ = io.write(b"?");
    }
    fn on_data(&mut self, conn: &mut u8, io: &mut Io<'_>, bytes: &mut [u8]) -> usize {
        assert_eq!(bytes, b"?");
        self.heard.push(*conn);
        io.end();
        1
    }
    fn on_dial_failed(&mut self, n: &mut u8, _: &mut Env, tried: &[(SocketAddr, ErrorKind)]) {
        self.tried.push((*n, tried.to_vec()));
    }
    fn on_close(&mut self, n: u8, id: Id, _: &mut Env, why: Close) {
        self.closed.push((n, id, why));
    }
}

type Calls = Handle<Host<Caller>>;

/// A listener that nobody accepts at, and whose queue is full: it answers no SYN.
fn hole<W: Streams>(world: &mut W, at: SocketAddr) -> SocketAddr {
    let mut how = ListenOptions::default();
    how.backlog = 1;
    let id = Id { birth: 1, slot: 77, driver: 77 };
    let (_, at) = world.listen(&at.into(), &how, id).expect("a port of the loopback");
    for _ in 0..2 {
        world.connect(&at, None, id).expect("it begins");
    }
    at.ip().expect("an IP address")
}

/// Races of random addresses: each has one that answers, or none.
fn races(lp: &mut Loop<Sim>, caller: Calls, good: SocketAddr, bad: [SocketAddr; 3]) -> Vec<bool> {
    let mut answered = Vec::new();
    for n in 0..12_u8 {
        let mut bytes = [0; 8];
        lp.env.random(&mut bytes);
        let mut to: Vec<_> = bytes[..5].iter().map(|b| bad[usize::from(b % 3)]).collect();
        let stands = bytes[5] < 200;
        if stands {
            to[usize::from(bytes[6] % 5)] = good;
        }
        answered.push(stands);
        let (timeout, delay) = (Duration::from_secs(20), Duration::from_millis(250));
        DialAny { to, how: Default::default(), timeout, delay, conn: n }.send(&mut lp.env, caller);
    }
    answered
}

fn run(seed: u64, faults: Faults) -> u64 {
    let hostile = faults.breaks();
    // The hole's guests come in a calm world, so that it is full for all that follow.
    let (mut lp, host) = play(Sim::with_faults(seed, Faults::none()), echo);
    lp.trace(Some(Box::new(TraceHash::new())));
    let caller = add(&mut lp, |_| Caller::default());
    let good = open(&mut lp, host);
    let hung = hole(&mut lp.world, "[::1]:0".parse().unwrap());
    idle(&mut lp);
    *lp.world.faults() = faults;
    let before = lp.world.open();
    let unroutable = "[ff02::1]:7".parse().unwrap();
    let refused = "127.0.0.1:1".parse().unwrap();
    let answered = races(&mut lp, caller, good, [hung, refused, unroutable]);
    for turn in 0.. {
        assert!(turn < 100_000, "stuck");
        if lp.get(caller).protocol.closed.len() == answered.len() && lp.get(host).is_empty() {
            break;
        }
        lp.turn(None).expect("a turn");
    }
    let told = &lp.get(caller).protocol;
    let mut closed = told.closed.clone();
    closed.sort_by_key(|(n, ..)| *n);
    for ((n, id, why), stands) in closed.iter().zip(&answered) {
        let opened = told.opened.contains(id);
        assert!(!opened || *stands, "nobody answers there");
        assert!(hostile || opened == *stands, "somebody answers");
        let heard = told.heard.contains(n);
        assert!(heard <= opened && (*why == Close::Finished) <= heard, "{why}");
        assert!(hostile || heard == opened);
        assert_eq!(opened, !matches!(why, Close::Dial(_)), "{why}");
        let tried = told.tried.iter().filter(|(of, _)| of == n).collect::<Vec<_>>();
        assert!(tried.len() <= usize::from(!opened), "{tried:?}");
        assert!(hostile || opened || tried[0].1.len() == 5, "each error is told");
    }
    assert!(closed.iter().map(|(n, ..)| *n).eq(0..12), "one on_close for each");
    assert!(lp.get(caller).is_empty() && lp.env.calls.timers.is_empty());
    assert_eq!((lp.world.open(), lp.world.stats().strays), (before, 0), "no attempt is left");
    let hash = TraceHash::take(&mut lp).expect("it was set").value();
    hash ^ lp.world.hash()
}

#[test]
fn rough_races_are_won_where_somebody_answers() {
    let replay =
        cargo_test("loopwork-tcp --test race", "rough_races_are_won_where_somebody_answers");
    check_seeds(200, replay, |seed| run(seed, Faults::rough()));
}

#[test]
fn hostile_20_races_end_once_and_leave_nothing() {
    let replay =
        cargo_test("loopwork-tcp --test race", "hostile_20_races_end_once_and_leave_nothing");
    check_seeds(200, replay, |seed| run(seed, Faults::hostile()));
}

/// A port of the loopback at which nobody listens.
fn nobody(at: &str) -> SocketAddr {
    match TcpListener::bind(at) {
        Ok(listener) => listener.local_addr().unwrap(),
        // Without IPv6 a dial there fails all the same.
        Err(_) => "[::1]:9".parse().unwrap(),
    }
}

fn until_closed(lp: &mut Loop<Os>, caller: Calls, count: usize) {
    turn_until(lp, |lp| lp.get(caller).protocol.closed.len() == count);
}

#[test]
fn the_second_family_serves_when_the_first_refuses() {
    let (mut lp, host, good) = server(echo);
    let caller = add(&mut lp, |_| Caller::default());
    let refused = nobody("[::1]:0");
    dial_any(&mut lp.env, caller, vec![refused, good], 0);
    dial_any(&mut lp.env, caller, vec![good, refused], 1);
    until_closed(&mut lp, caller, 2);
    let told = &lp.get(caller).protocol;
    assert!(told.closed.iter().all(|(_, _, why)| *why == Close::Finished), "{:?}", told.closed);
    assert!(told.tried.is_empty(), "what failed on the way is no failure");
    finish(&mut lp, host);
}

#[test]
fn hostile_20_a_black_hole_costs_the_delay_alone() {
    let (mut lp, host, good) = server(echo);
    let mut elsewhere = Os::new().unwrap();
    let hung = hole(&mut elsewhere, "127.0.0.1:0".parse().unwrap());
    let caller = add(&mut lp, |_| Caller::default());
    dial_any(&mut lp.env, caller, vec![hung, good], 0);
    until_closed(&mut lp, caller, 1);
    assert_eq!(lp.get(caller).protocol.closed[0].2, Close::Finished);
    // Alone it takes its time, and says so.
    let (to, how) = (vec![hung, nobody("127.0.0.1:0")], ConnectOptions::default());
    let (timeout, delay) = (Duration::from_millis(100), Duration::from_millis(20));
    DialAny { to: to.clone(), how, timeout, delay, conn: 1 }.send(&mut lp.env, caller);
    until_closed(&mut lp, caller, 2);
    let told = &lp.get(caller).protocol;
    assert_eq!(told.closed[1].2, Close::Dial(ErrorKind::TimedOut));
    let tried = [(to[1], ErrorKind::ConnectionRefused), (hung, ErrorKind::TimedOut)];
    assert_eq!(told.tried, [(1, tried.to_vec())]);
    // A race that is on when its host shuts down is given up.
    dial_any(&mut lp.env, caller, vec![hung], 2);
    lp.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(lp.get(caller).len(), 1);
    shutdown(&mut lp.env, caller);
    until_closed(&mut lp, caller, 3);
    assert_eq!(lp.get(caller).protocol.closed[2].2, Close::Aborted);
    drop(elsewhere);
    finish(&mut lp, host);
}

/// The deadline of the race is none of the connection's.
#[test]
fn a_winner_has_no_deadline_left() {
    let (mut lp, host, good) = server(echo);
    let caller = add(&mut lp, |_| Caller::default());
    dial_any(&mut lp.env, caller, vec![good], 0);
    turn_until(&mut lp, |lp| !lp.get(caller).protocol.opened.is_empty());
    assert!(lp.env.calls.timers.is_empty());
    let id = lp.get(caller).protocol.opened[0];
    assert_eq!(addresses(&mut lp, caller, id).unwrap().1, good.into());
    until_closed(&mut lp, caller, 1);
    finish(&mut lp, host);
}

#[test]
fn blocked_addresses_are_not_dialed() {
    let (mut lp, host, good) = server(echo);
    let caller = add(&mut lp, |_| Caller::default());
    lp.get(caller).block_outbound = PRIVATE_RANGES.into_iter().collect();
    dial(&mut lp.env, caller, good, 0);
    dial_any(&mut lp.env, caller, vec![good, "[::1]:9".parse().unwrap()], 1);
    // A path is no address.
    dial(&mut lp.env, caller, Address::Unix("/nonexistent/socket".into()), 2);
    until_closed(&mut lp, caller, 3);
    let told = &lp.get(caller).protocol;
    let why: Vec<_> = told.closed.iter().map(|(.., why)| *why).collect();
    assert_eq!(why, [Close::Blocked, Close::Blocked, Close::Dial(ErrorKind::NotFound)]);
    let denied = |(_, kind): &(SocketAddr, ErrorKind)| *kind == ErrorKind::PermissionDenied;
    assert_eq!(told.tried.len(), 1);
    assert!(told.tried[0].1.len() == 2 && told.tried[0].1.iter().all(denied), "{:?}", told.tried);
    // In a race a blocked address is passed over.
    let list = &mut lp.get(caller).block_outbound;
    list.clear();
    list.add("::1".parse().unwrap());
    dial_any(&mut lp.env, caller, vec!["[::1]:9".parse().unwrap(), good], 3);
    until_closed(&mut lp, caller, 4);
    assert_eq!(lp.get(caller).protocol.closed[3].2, Close::Finished);
    idle(&mut lp);
    assert_eq!(lp.get(host).protocol.given, 1, "the others never came");
    finish(&mut lp, host);
}

#[test]
fn blocked_peers_are_reset_before_anyone_sees_them() {
    let (mut lp, host) = play(Os::new().unwrap(), echo);
    // One listener for both families, if there are two: a peer of IPv4 is mapped there.
    let both = Address::Ip("[::]:0".parse().unwrap());
    let any = Address::Ip("0.0.0.0:0".parse().unwrap());
    let how = ListenOptions::default();
    let at = listen_at(&mut lp, host, &both, &how);
    let at = at.or_else(|_| listen_at(&mut lp, host, &any, &how)).unwrap();
    let at = SocketAddr::from(([127, 0, 0, 1], at.ip().unwrap().port()));
    lp.get(host).block_inbound.add("127.0.0.8/30".parse().unwrap());
    let caller = add(&mut lp, |_| Caller::default());
    for (n, from) in [(0, "127.0.0.9:0"), (1, "127.0.0.12:0")] {
        let from = Some(from.parse().unwrap());
        Dial { to: at.into(), from, timeout: PATIENCE, conn: n }.send(&mut lp.env, caller);
    }
    until_closed(&mut lp, caller, 2);
    let mut closed = lp.get(caller).protocol.closed.clone();
    closed.sort_by_key(|(n, ..)| *n);
    let why = closed[0].2;
    assert!(matches!(why, Close::Reset | Close::Dial(ErrorKind::ConnectionReset)), "{why}");
    assert_eq!(closed[1].2, Close::Finished);
    turn_until(&mut lp, |lp| lp.get(host).is_empty());
    assert_eq!(lp.get(host).protocol.given, 1, "the other was not seen");
    let dropped = &lp.get(host).protocol.dropped;
    assert_eq!(dropped.len(), 1);
    let (peer_was, why) = &dropped[0];
    let ip = peer_was.ip().unwrap().ip().to_canonical();
    assert_eq!((ip.to_string().as_str(), *why), ("127.0.0.9", Refusal::Blocked));
    let dropped = &lp.get(host).protocol.dropped;
    assert!(matches!(dropped[..], [(_, loopwork_tcp::Refusal::Blocked)]), "{dropped:?}");
    // Unblocked again, it is served.
    lp.get(host).block_inbound.clear();
    lp.get(host).block_inbound.add("127.0.0.1".parse().unwrap());
    let mut stream = peer(at);
    idle(&mut lp);
    assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    unlisten(&mut lp.env, caller);
    finish(&mut lp, host);
}
