//! RFC 8305's schedule, to the tick: a world that is a script, in which each address answers after
//! its time or never, and beside it a model that counts time unit by unit.

use loopwork_reactor::{
    Address, Env, Fd, Id, Instant, ListenOptions, Loop, Mail, Mailbox, Ready, StreamOption,
    Streams, World,
};
use loopwork_tcp::{Close, DialAny, Family, Io, Protocol, add, prefer};
use proptest::prelude::*;
use std::collections::{BTreeMap, VecDeque};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

/// A unit of the script's time: a whole number of the timers' ticks, about a millisecond.
const UNIT: u64 = 1 << 20;

fn units(n: u64) -> Duration {
    Duration::from_nanos(n * UNIT)
}

/// What becomes of an attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    /// It stands after so many units.
    Stands(u64),
    /// It fails after so many; with none, at once.
    Fails(u64, ErrorKind),
    Hangs,
}

struct Socket {
    id: Id,
    /// When its readiness is told, and what it says.
    due: Due,
    told: bool,
}

struct Script {
    now: u64,
    fates: BTreeMap<SocketAddr, Fate>,
    sockets: Vec<Option<Socket>>,
    /// What was dialed, and when.
    dialed: Vec<(u64, SocketAddr)>,
}

impl Script {
    fn open(&self) -> usize {
        self.sockets.iter().flatten().count()
    }

    fn socket(&mut self, fd: Fd) -> &mut Socket {
        self.sockets[fd.0 as usize].as_mut().expect("it is open")
    }
}

impl World for Script {
    fn now(&mut self) -> Instant {
        Instant(self.now)
    }
    fn poll(&mut self, until: Option<Instant>, ready: &mut Vec<Ready>) -> io::Result<()> {
        let waits = self.sockets.iter().flatten().filter(|s| !s.told);
        let next = waits.filter_map(|s| s.due.map(|(at, _)| at)).min();
        let until = until.map_or(u64::MAX, |until| until.0);
        let to = next.unwrap_or(u64::MAX).min(until);
        assert!(to < u64::MAX, "nothing can happen any more");
        self.now = self.now.max(to);
        for socket in self.sockets.iter_mut().flatten().filter(|s| !s.told) {
            let Some((at, result)) = socket.due.filter(|(at, _)| *at <= self.now) else { continue };
            assert!(at <= self.now);
            socket.told = true;
            let (id, gone) = (socket.id, result.is_err());
            ready.push(Ready { id, readable: gone, writable: true, closed: gone, gone });
        }
        Ok(())
    }
    fn random(&mut self, into: &mut [u8]) {
        into.fill(0);
    }
    fn close(&mut self, fd: Fd) {
        assert!(self.sockets[fd.0 as usize].take().is_some(), "closed twice");
    }
    fn watch_signals(&mut self, _: &[i32], _: Id) -> io::Result<()> {
        Err(ErrorKind::Unsupported.into())
    }
    fn next_signal(&mut self, _: Id) -> Option<i32> {
        None
    }
    fn mailbox(&mut self) -> io::Result<Mailbox> {
        Err(ErrorKind::Unsupported.into())
    }
    fn mail(&mut self, _: &mut Vec<Mail>) {}
}

impl Streams for Script {
    fn listen(&mut self, _: &Address, _: &ListenOptions, _: Id) -> io::Result<(Fd, Address)> {
        Err(ErrorKind::Unsupported.into())
    }
    fn accept(&mut self, _: Fd, _: Id) -> io::Result<(Fd, Address)> {
        Err(ErrorKind::Unsupported.into())
    }
    fn connect(&mut self, to: &Address, _: Option<SocketAddr>, id: Id) -> io::Result<Fd> {
        let to = to.ip().expect("an IP address");
        self.dialed.push((self.now / UNIT, to));
        let due = match self.fates[&to] {
            Fate::Stands(after) => Some((self.now + after * UNIT, Ok(()))),
            Fate::Fails(0, kind) => return Err(kind.into()),
            Fate::Fails(after, kind) => Some((self.now + after * UNIT, Err(kind))),
            Fate::Hangs => None,
        };
        self.sockets.push(Some(Socket { id, due, told: false }));
        Ok(Fd(self.sockets.len() as u32 - 1))
    }
    fn connected(&mut self, fd: Fd) -> io::Result<()> {
        let now = self.now;
        match self.socket(fd).due {
            Some((at, result)) if at <= now => result.map_err(io::Error::from),
            _ => Err(ErrorKind::WouldBlock.into()),
        }
    }
    fn read(&mut self, fd: Fd, _: &mut [u8]) -> io::Result<usize> {
        self.socket(fd);
        Err(ErrorKind::WouldBlock.into())
    }
    fn write(&mut self, fd: Fd, bytes: &[u8]) -> io::Result<usize> {
        self.socket(fd);
        Ok(bytes.len())
    }
    fn shutdown(&mut self, fd: Fd) -> io::Result<()> {
        self.socket(fd);
        Ok(())
    }
    fn reset(&mut self, fd: Fd) {
        self.close(fd);
    }
    fn set(&mut self, _: Fd, _: StreamOption) -> io::Result<()> {
        Ok(())
    }
    fn local(&mut self, _: Fd) -> io::Result<Address> {
        Err(ErrorKind::Unsupported.into())
    }
    fn peer(&mut self, _: Fd) -> io::Result<Address> {
        Err(ErrorKind::Unsupported.into())
    }
}

/// What became of a race: when it was over, and how. The winner, or each failure and the last.
#[derive(Clone, PartialEq, Eq, Debug)]
enum End {
    Stands(u64),
    Fails(u64, Vec<(SocketAddr, ErrorKind)>, Close),
}

/// Notes what it is told.
#[derive(Default)]
struct Told {
    opened: Vec<(u64, Id)>,
    tried: Vec<Vec<(SocketAddr, ErrorKind)>>,
    closed: Vec<(u64, Id, Close)>,
}

impl Protocol for Told {
    type Conn = u8;
    fn on_open(&mut self, conn: &mut u8, io: &mut Io<'_>) {
        *conn += 1;
        self.opened.push((io.env.now.0 / UNIT, io.id));
        // Who reads nothing learns of a loser's end all the more, if it is taken for its own.
        io.pause();
    }
    fn on_data(&mut self, _: &mut u8, _: &mut Io<'_>, _: &mut [u8]) -> usize {
        panic!("nothing comes")
    }
    fn on_dial_failed(&mut self, _: &mut u8, _: &mut Env, tried: &[(SocketAddr, ErrorKind)]) {
        self.tried.push(tried.to_vec());
    }
    fn on_close(&mut self, conn: u8, id: Id, env: &mut Env, why: Close) {
        assert_eq!(usize::from(conn), self.opened.len());
        self.closed.push((env.now.0 / UNIT, id, why));
    }
}

#[derive(Clone, Debug)]
struct Case {
    addresses: Vec<(SocketAddr, Fate)>,
    delay: u64,
    timeout: u64,
}

/// Runs a case on the loop: what was dialed when, and what came of it.
fn run(case: &Case) -> (Vec<(u64, SocketAddr)>, End) {
    let fates = case.addresses.iter().copied().collect();
    let script = Script { now: UNIT, fates, sockets: Vec::new(), dialed: Vec::new() };
    let mut lp = Loop::new(script);
    let host = add(&mut lp, |_| Told::default());
    let to = case.addresses.iter().map(|(at, _)| *at).collect();
    let (timeout, delay) = (units(case.timeout), units(case.delay));
    DialAny { to, how: Default::default(), timeout, delay, conn: 0 }.send(&mut lp.env, host);
    let over = |told: &Told| !told.opened.is_empty() || !told.closed.is_empty();
    for turn in 0.. {
        assert!(turn < 10_000, "it does not end");
        lp.turn(None).expect("a turn");
        if over(&lp.get(host).protocol) {
            break;
        }
    }
    assert!(lp.env.calls.timers.is_empty(), "no timer is left");
    let open = lp.world.open();
    let told = &lp.get(host).protocol;
    let end = match (&told.opened[..], &told.closed[..]) {
        ([(at, _)], []) => End::Stands(at - 1),
        ([], [(at, _, why)]) => {
            assert_eq!(told.tried.len(), 1);
            End::Fails(at - 1, told.tried[0].clone(), *why)
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(open, usize::from(matches!(end, End::Stands(_))), "the winner's socket is open");
    if let [(_, id)] = told.opened[..] {
        // What was told to losers is not taken for the winner's; then it ends as any other.
        loopwork_tcp::shutdown(&mut lp.env, host);
        lp.turn(Some(Duration::ZERO)).expect("a turn");
        assert_eq!(lp.get(host).ids().collect::<Vec<_>>(), [id], "it waits for its peer's end");
        lp.env.calls.stop();
    } else {
        assert!(lp.get(host).is_empty() && !lp.env.calls.alive());
    }
    let dialed = lp.world.dialed.iter().map(|(at, to)| (at - 1, *to)).collect();
    (dialed, end)
}

/// The order of §4, by its words: take from the families in turns while both have addresses.
fn in_turns(addresses: &[(SocketAddr, Fate)]) -> VecDeque<(SocketAddr, Fate)> {
    let mut left = addresses.to_vec();
    let mut list = VecDeque::new();
    let mut six = left.first().is_some_and(|(at, _)| at.is_ipv6());
    while !left.is_empty() {
        let next = left.iter().position(|(at, _)| at.is_ipv6() == six).unwrap_or(0);
        list.push_back(left.remove(next));
        six = !six;
    }
    list
}

/// When an attempt is told what became of it; `None` is never.
type Due = Option<(u64, Result<(), ErrorKind>)>;

struct Model {
    waiting: VecDeque<(SocketAddr, Fate)>,
    under_way: Vec<(SocketAddr, Due)>,
    dialed: Vec<(u64, SocketAddr)>,
    failed: Vec<(SocketAddr, ErrorKind)>,
    next: u64,
}

impl Model {
    fn begin(&mut self, now: u64, delay: u64) {
        while let Some((to, fate)) = self.waiting.pop_front() {
            self.dialed.push((now, to));
            self.next = now + delay;
            match fate {
                Fate::Fails(0, kind) => self.failed.push((to, kind)),
                Fate::Fails(after, kind) => {
                    return self.under_way.push((to, Some((now + after, Err(kind)))));
                }
                Fate::Stands(after) => {
                    return self.under_way.push((to, Some((now + after, Ok(())))));
                }
                Fate::Hangs => return self.under_way.push((to, None)),
            }
        }
    }

    fn lost(self, now: u64) -> (Vec<(u64, SocketAddr)>, End) {
        let last = self.failed.last().map_or(ErrorKind::AddrNotAvailable, |(_, kind)| *kind);
        (self.dialed, End::Fails(now, self.failed, Close::Dial(last)))
    }
}

/// What must come of a case.
fn model(case: &Case) -> (Vec<(u64, SocketAddr)>, End) {
    let mut model = Model {
        waiting: in_turns(&case.addresses),
        under_way: Vec::new(),
        dialed: Vec::new(),
        failed: Vec::new(),
        next: 0,
    };
    model.begin(0, case.delay);
    for now in 0.. {
        // What is ready now, in the order of beginning; what begins meanwhile is ready later.
        for (to, due) in model.under_way.clone() {
            match due.filter(|(at, _)| *at == now) {
                Some((_, Ok(()))) => return (model.dialed, End::Stands(now)),
                Some((_, Err(kind))) => {
                    model.under_way.retain(|(at, _)| *at != to);
                    model.failed.push((to, kind));
                    model.begin(now, case.delay);
                }
                None => {}
            }
        }
        if model.under_way.is_empty() {
            return model.lost(now);
        }
        if now >= case.timeout {
            let late = model.under_way.iter().map(|(at, _)| (*at, ErrorKind::TimedOut));
            model.failed.extend(late);
            return model.lost(now);
        }
        if now >= model.next {
            model.begin(now, case.delay);
        }
        if model.under_way.is_empty() {
            return model.lost(now);
        }
    }
    unreachable!("time ends it")
}

fn address(six: bool, n: usize) -> SocketAddr {
    let text = if six { format!("[2001:db8::{n:x}]:9") } else { format!("192.0.2.{n}:9") };
    text.parse().expect("an address")
}

fn fate() -> impl Strategy<Value = Fate> {
    let kind = prop::sample::select(vec![
        ErrorKind::ConnectionRefused,
        ErrorKind::NetworkUnreachable,
        ErrorKind::HostUnreachable,
    ]);
    prop_oneof![
        2 => (1..60_u64).prop_map(Fate::Stands),
        4 => (0..40_u64, kind).prop_map(|(after, kind)| Fate::Fails(after, kind)),
        3 => Just(Fate::Hangs),
    ]
}

fn case() -> impl Strategy<Value = Case> {
    let addresses = prop::collection::vec((any::<bool>(), fate()), 0..8);
    (addresses, 10..30_u64, 1..200_u64).prop_map(|(addresses, delay, timeout)| {
        let addresses = addresses.into_iter().enumerate();
        let addresses = addresses.map(|(n, (six, fate))| (address(six, n + 1), fate)).collect();
        Case { addresses, delay, timeout }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn every_race_keeps_the_schedule(case in case()) {
        prop_assert_eq!(run(&case), model(&case));
    }
}

/// The examples of the RFC's text, by hand: each with when what was dialed.
#[test]
fn the_schedule_by_hand() {
    let refused = ErrorKind::ConnectionRefused;
    let (a6, b6, c6) = (address(true, 1), address(true, 2), address(true, 3));
    let (a4, b4) = (address(false, 1), address(false, 2));
    let race = |addresses: &[(SocketAddr, Fate)], timeout| {
        run(&Case { addresses: addresses.to_vec(), delay: 250, timeout })
    };
    // The first family hangs: the other's first is 250 later, and wins.
    let hung = [(a6, Fate::Hangs), (b6, Fate::Hangs), (a4, Fate::Stands(30))];
    assert_eq!(race(&hung, 9000), (vec![(0, a6), (250, a4)], End::Stands(280)));
    // Slow, but before the other that began later.
    let slow = [(a6, Fate::Stands(300)), (a4, Fate::Stands(100))];
    assert_eq!(race(&slow, 9000), (vec![(0, a6), (250, a4)], End::Stands(300)));
    // Refused: the next begins at once, and its neighbour 250 after that.
    let fails = [(a6, Fate::Fails(5, refused)), (b6, Fate::Stands(1)), (a4, Fate::Hangs)];
    assert_eq!(race(&fails, 9000), (vec![(0, a6), (5, a4), (255, b6)], End::Stands(256)));
    // In turns, beginning with the first; all that fails at once costs no time.
    let all = [a4, a6, b6, c6, b4].map(|at| (at, Fate::Fails(0, refused)));
    let order = [a4, a6, b4, b6, c6];
    let failed = order.map(|at| (at, refused)).to_vec();
    let dialed = order.map(|at| (0, at)).to_vec();
    assert_eq!(race(&all, 9000), (dialed, End::Fails(0, failed, Close::Dial(refused))));
    // Time ends it all, also what has not begun.
    let hang = [a6, a4, b6].map(|at| (at, Fate::Hangs));
    let failed = [a6, a4].map(|at| (at, ErrorKind::TimedOut)).to_vec();
    let end = End::Fails(400, failed, Close::Dial(ErrorKind::TimedOut));
    assert_eq!(race(&hang, 400), (vec![(0, a6), (250, a4)], end));
    // No address is no race.
    let none = Close::Dial(ErrorKind::AddrNotAvailable);
    assert_eq!(race(&[], 400), (Vec::new(), End::Fails(0, Vec::new(), none)));
}

/// §5 and §8: not sooner than 10 ms after each other, nor later than 2 s.
#[test]
fn the_delay_has_its_bounds() {
    let hang = [address(true, 1), address(false, 1)].map(|at| (at, Fate::Hangs)).to_vec();
    for (delay, least, most) in [(0, 10, 11), (1_000_000, 1_900, 2_000)] {
        let (dialed, _) = run(&Case { addresses: hang.clone(), delay, timeout: 4_000 });
        let gap = units(dialed[1].0 + 1).as_millis() as u64;
        assert!((least..=most + 2).contains(&gap), "{gap} ms");
    }
}

#[test]
fn of_many_addresses_the_first_are_tried() {
    let refused = Fate::Fails(0, ErrorKind::ConnectionRefused);
    let many: Vec<_> = (0..200).map(|n| (address(n % 3 == 0, n), refused)).collect();
    let (dialed, _) = run(&Case { addresses: many.clone(), delay: 250, timeout: 4_000 });
    let wanted: Vec<_> = in_turns(&many).into_iter().map(|(at, _)| (0, at)).collect();
    assert_eq!(dialed, wanted[..loopwork_tcp::ADDRESSES_MAX]);
}

#[test]
fn families_are_chosen_and_sorted() {
    let (a6, b6) = (address(true, 1), address(true, 2));
    let (a4, b4) = (address(false, 1), address(false, 2));
    let list = vec![a6, a4, b6, b4];
    for (family, wanted) in [
        (Family::Any, vec![a6, a4, b6, b4]),
        (Family::V4, vec![a4, b4]),
        (Family::V6, vec![a6, b6]),
        (Family::V4First, vec![a4, b4, a6, b6]),
        (Family::V6First, vec![a6, b6, a4, b4]),
    ] {
        assert_eq!(prefer(list.clone(), family), wanted, "{family:?}");
    }
}
