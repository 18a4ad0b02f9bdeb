//! What the tests of streams share: a protocol whose acts are a closure and which checks the
//! order of its own callbacks, peers that wait a bounded time, and the check that a host which
//! has ended has left nothing behind.
#![allow(dead_code, reason = "each test file uses its part")]

use loopwork_reactor::{Address, Env, Fd, Handle, Id, Loop, Os, Ready, Streams, World};
use loopwork_tcp::{Close, Host, Io, Protocol, Refusal, add, listen_at, unlisten};
use std::io::{self, Read, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Says that this test is left out, and why: to the terminal itself, since what a test prints is
/// shown only when it fails.
pub(crate) fn skipped(why: &str) {
    let thread = std::thread::current();
    let _ = writeln!(io::stderr(), "{}: skipped, {why}", thread.name().unwrap_or("a test"));
}

/// A callback.
pub(crate) enum On<'a> {
    Open,
    Data(&'a mut [u8]),
    Drain,
    End,
    Timeout,
    Wake,
    Shutdown,
}

/// One connection's state.
#[derive(Default)]
pub(crate) struct Seat {
    /// The how manieth of its host it is.
    pub(crate) n: usize,
    pub(crate) id: Option<Id>,
    /// What the test put aside.
    pub(crate) got: Vec<u8>,
    pub(crate) number: u64,
    pub(crate) size: u64,
    pub(crate) opened: bool,
    pub(crate) ended: bool,
}

pub(crate) type Act = Box<dyn FnMut(&mut Seat, &mut Io<'_>, On<'_>) -> usize>;

/// Acts as the test says; of `on_data` the answer counts, of the others it is ignored.
pub(crate) struct Play {
    act: Act,
    /// What was called, by connection; runs of `data` are one.
    pub(crate) log: Vec<(usize, &'static str)>,
    pub(crate) closed: Vec<(usize, Close)>,
    /// The states of those that are closed.
    pub(crate) seats: Vec<Seat>,
    pub(crate) ids: Vec<Id>,
    pub(crate) peers: Vec<Address>,
    pub(crate) accept_errors: Vec<io::ErrorKind>,
    pub(crate) dropped: Vec<(Address, Refusal)>,
    pub(crate) refuse: bool,
    pub(crate) given: usize,
    /// What it keeps of a message that is not whole.
    pub(crate) keeps: usize,
}

impl Play {
    fn call(&mut self, seat: &mut Seat, io: &mut Io<'_>, what: &'static str, on: On<'_>) -> usize {
        assert_eq!(seat.id, Some(io.id), "one connection, one id");
        assert_eq!(seat.opened, what != "open", "{what}");
        if self.log.last() != Some(&(seat.n, "data")) || what != "data" {
            self.log.push((seat.n, what));
        }
        (self.act)(seat, io, on)
    }

    pub(crate) fn seat(&mut self) -> Seat {
        self.given += 1;
        Seat { n: self.given - 1, ..Seat::default() }
    }

    /// What was called for one connection.
    pub(crate) fn calls(&self, n: usize) -> Vec<&'static str> {
        self.log.iter().filter(|(of, _)| *of == n).map(|(_, what)| *what).collect()
    }
}

impl Protocol for Play {
    type Conn = Seat;
    fn on_accept(&mut self, _: &mut Env, id: Id, peer: &Address) -> Option<Seat> {
        if self.refuse {
            return None;
        }
        self.ids.push(id);
        self.peers.push(peer.clone());
        let mut seat = self.seat();
        seat.id = Some(id);
        Some(seat)
    }
    fn on_open(&mut self, seat: &mut Seat, io: &mut Io<'_>) {
        seat.id.get_or_insert(io.id);
        self.call(seat, io, "open", On::Open);
        seat.opened = true;
    }
    fn on_data(&mut self, seat: &mut Seat, io: &mut Io<'_>, bytes: &mut [u8]) -> usize {
        self.call(seat, io, "data", On::Data(bytes))
    }
    fn keeps(&self, _: &Seat, _: &mut Env) -> usize {
        self.keeps
    }
    fn on_drain(&mut self, seat: &mut Seat, io: &mut Io<'_>) {
        self.call(seat, io, "drain", On::Drain);
    }
    fn on_end(&mut self, seat: &mut Seat, io: &mut Io<'_>) {
        assert!(!std::mem::replace(&mut seat.ended, true), "the end comes once");
        self.call(seat, io, "end", On::End);
    }
    fn on_timeout(&mut self, seat: &mut Seat, io: &mut Io<'_>) {
        assert_eq!(io.deadline(), None);
        self.call(seat, io, "timeout", On::Timeout);
    }
    fn on_wake(&mut self, seat: &mut Seat, io: &mut Io<'_>) {
        self.call(seat, io, "wake", On::Wake);
    }
    fn on_shutdown(&mut self, seat: &mut Seat, io: &mut Io<'_>) {
        self.call(seat, io, "shutdown", On::Shutdown);
    }
    fn on_close(&mut self, seat: Seat, id: Id, _: &mut Env, why: Close) {
        assert!(seat.id.is_none_or(|of| of == id));
        let dialed_in_vain = matches!(why, Close::Dial(_)) || !seat.opened;
        assert!(seat.opened != dialed_in_vain);
        self.closed.push((seat.n, why));
        self.seats.push(seat);
    }
    fn on_drop(&mut self, _: &mut Env, peer: &Address, why: Refusal) {
        self.dropped.push((peer.clone(), why));
    }
    fn on_accept_error(&mut self, _: &mut Env, error: &io::Error) {
        self.accept_errors.push(error.kind());
    }
}

/// The acts of an echo server.
pub(crate) fn echo(_: &mut Seat, io: &mut Io<'_>, on: On<'_>) -> usize {
    match on {
        On::Data(bytes) => {
            let _ = io.write(bytes);
            bytes.len()
        }
        On::End | On::Shutdown => {
            io.end();
            0
        }
        _ => 0,
    }
}

pub(crate) type At<W = Os> = (Loop<W>, Handle<Host<Play>>);

pub(crate) fn play<W: Streams>(
    world: W,
    act: impl FnMut(&mut Seat, &mut Io<'_>, On<'_>) -> usize + 'static,
) -> At<W> {
    let mut lp = Loop::new(world);
    let host = more(&mut lp, act);
    (lp, host)
}

/// One more host in the same loop.
pub(crate) fn more<W: Streams>(
    lp: &mut Loop<W>,
    act: impl FnMut(&mut Seat, &mut Io<'_>, On<'_>) -> usize + 'static,
) -> Handle<Host<Play>> {
    add(lp, |_| Play {
        act: Box::new(act),
        log: Vec::new(),
        closed: Vec::new(),
        seats: Vec::new(),
        ids: Vec::new(),
        peers: Vec::new(),
        accept_errors: Vec::new(),
        dropped: Vec::new(),
        refuse: false,
        given: 0,
        keeps: loopwork_tcp::CARRY_MAX,
    })
}

/// A host that listens on a port of the loopback.
pub(crate) fn server(
    act: impl FnMut(&mut Seat, &mut Io<'_>, On<'_>) -> usize + 'static,
) -> (Loop<Os>, Handle<Host<Play>>, SocketAddr) {
    let (mut lp, host) = play(Os::new().expect("a poll"), act);
    let at = open(&mut lp, host);
    (lp, host, at)
}

pub(crate) fn open<W: Streams>(lp: &mut Loop<W>, host: Handle<Host<Play>>) -> SocketAddr {
    let at = Address::Ip("127.0.0.1:0".parse().expect("an address"));
    let at = listen_at(lp, host, &at, &Default::default()).expect("a port of the loopback");
    at.ip().expect("an IP address")
}

pub(crate) fn dial_to<W: Streams>(
    lp: &mut Loop<W>,
    host: Handle<Host<Play>>,
    to: impl Into<Address>,
    timeout: Duration,
) {
    let conn = lp.get(host).protocol.seat();
    loopwork_tcp::Dial { to: to.into(), from: None, timeout, conn }.send(&mut lp.env, host);
}

/// A peer that gives up instead of waiting for ever.
pub(crate) fn peer(at: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(at).expect("the listener is there");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

/// Everything until the end.
pub(crate) fn read_all(mut stream: impl Read) -> Vec<u8> {
    let mut all = Vec::new();
    stream.read_to_end(&mut all).expect("a clean end");
    all
}

pub(crate) fn turn_until<W: Streams>(lp: &mut Loop<W>, mut done: impl FnMut(&mut Loop<W>) -> bool) {
    let begun = Instant::now();
    while !done(lp) {
        assert!(begun.elapsed() < PATIENCE, "it did not happen");
        lp.turn(Some(Duration::from_millis(20))).expect("a turn");
    }
}

/// Turns until so many connections are over.
pub(crate) fn until_closed<W: Streams>(lp: &mut Loop<W>, host: Handle<Host<Play>>, count: usize) {
    turn_until(lp, |lp| lp.get(host).protocol.closed.len() >= count);
}

/// Some turns in which nothing should happen.
pub(crate) fn idle<W: Streams>(lp: &mut Loop<W>) {
    for _ in 0..4 {
        lp.turn(Some(Duration::from_millis(5))).expect("a turn");
    }
}

/// Closes the listeners, waits for the connections, and looks for what was left behind.
pub(crate) fn finish<W: Streams>(lp: &mut Loop<W>, host: Handle<Host<Play>>) {
    unlisten(&mut lp.env, host);
    turn_until(lp, |lp| lp.get(host).is_empty());
    idle(lp);
    let given = lp.get(host).protocol.given;
    let closed = &mut lp.get(host).protocol.closed;
    assert_eq!(closed.len(), given, "one on_close for each state");
    let mut of: Vec<_> = closed.iter().map(|(n, _)| *n).collect();
    of.sort_unstable();
    assert!(of.into_iter().eq(0..given), "and not two for one");
    assert!(lp.env.calls.timers.is_empty(), "no timer is left");
    assert!(!lp.env.calls.alive(), "nothing keeps the loop running");
    lp.run().expect("returns at once");
}

/// The byte at an offset of a stream: long periods, so that no shift goes unseen.
pub(crate) fn pattern(at: u64) -> u8 {
    (at ^ (at >> 8).wrapping_mul(3) ^ (at >> 16).wrapping_mul(5)) as u8
}

/// Fills with the pattern from an offset on.
pub(crate) fn fill(at: u64, into: &mut [u8]) {
    for (i, byte) in into.iter_mut().enumerate() {
        *byte = pattern(at + i as u64);
    }
}

pub(crate) fn check(at: u64, bytes: &[u8]) {
    for (i, byte) in bytes.iter().enumerate() {
        let at = at + i as u64;
        assert_eq!(*byte, pattern(at), "at {at}");
    }
}

/// A peer by the world's own means, which can end as no stream of the standard library can.
pub(crate) struct Raw {
    pub(crate) os: Os,
    pub(crate) fd: Fd,
}

impl Raw {
    pub(crate) fn new(to: SocketAddr) -> Raw {
        let mut os = Os::new().expect("a poll");
        let id = Id { birth: 1, slot: 0, driver: 0 };
        let fd = os.connect(&to.into(), None, id).expect("the listener is there");
        let mut ready: Vec<Ready> = Vec::new();
        while !ready.iter().any(|r| r.writable) {
            let until = os.now().after(PATIENCE);
            os.poll(Some(until), &mut ready).expect("a poll");
            assert!(!ready.is_empty(), "it does not connect");
        }
        os.connected(fd).expect("it stands");
        Raw { os, fd }
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        assert_eq!(self.os.write(self.fd, bytes).expect("there is room"), bytes.len());
    }

    /// As a process that dies with `SO_LINGER` 0.
    pub(crate) fn reset(mut self) {
        self.os.reset(self.fd);
    }

    pub(crate) fn close(mut self) {
        self.os.close(self.fd);
    }
}
