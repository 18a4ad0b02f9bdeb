//! The simulated host: its clock, its queue of events, its sockets, and what is ready.
//!
//! Rules of this file:
//! * Events of one instant happen in the order in which they were scheduled.
//! * An event names a socket by a [`Key`], whose birth never repeats: late events of a closed
//!   socket miss. The number in an `Fd` is used again at once, as a kernel does.
//! * Readiness is an edge: a socket is marked when something changes, and told once. What is told
//!   is the state at the time of telling, as epoll does it.

use crate::datagram::{Packet, Udp};
use crate::dice::{Choice, Dice};
use crate::faults::{Faults, Rate, Stats};
use crate::hash::Fold;
use crate::ports::Ports;
use crate::post::Post;
use crate::segment::Segment;
use crate::stream::{Listener, Stream};
use crate::unserved::Owed;
use crate::wire::Flight;
use loopwork_reactor::{Fd, Id, Instant, Ready};
use slab::Slab;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, ErrorKind};

/// What a poll costs, in nanoseconds of virtual time: about what a system call costs, so that a
/// loop which has work in every turn still gets on in time.
pub const POLL_COST: u64 = 1_000;
/// Polls without end that nothing can end, one after the other, before they are an error. A few
/// are harmless (a test that looks at [`Sim::idle`](crate::Sim::idle) sees the first).
pub const IDLE_POLLS: u32 = 1_000;
/// Sockets told by one poll, as the real world's.
const BATCH: usize = 1024;

/// A socket, for events: its number and its birth.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Key {
    pub(crate) slot: u32,
    pub(crate) birth: u64,
}

pub(crate) enum Socket {
    Listener(Listener),
    Stream(Stream),
    Udp(Udp),
    Post(Post),
}

pub(crate) struct Entry {
    birth: u64,
    pub(crate) id: Id,
    marked: bool,
    pub(crate) owed: Owed,
    pub(crate) socket: Socket,
}

/// What happens at a time.
pub(crate) enum What {
    /// A readiness that was promised.
    Poke(Key),
    Segment(Segment),
    /// A part of a stream arrives; it has to be sent again.
    Flight(Flight),
    Again(Flight),
    /// One more SYN, the how manieth.
    Syn(Key, u32),
    /// Probes had no answer.
    Probe(Key, bool),
    Packet(Packet),
}

struct Event {
    at: u64,
    order: u64,
    what: What,
}

impl PartialEq for Event {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for Event {}
impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Event {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

pub(crate) struct Net {
    pub(crate) now: u64,
    pub(crate) dice: Dice,
    pub(crate) faults: Faults,
    pub(crate) stats: Stats,
    pub(crate) log: Fold,
    pub(crate) ports: Ports,
    /// Sockets that the program holds; those that wait to be accepted are not among them.
    pub(crate) open: usize,
    pub(crate) idle_polls: u32,
    pub(crate) in_flight: usize,
    /// Until when nothing gets through to servers, and to clients.
    pub(crate) cut: [u64; 2],
    sockets: Slab<Entry>,
    births: u64,
    events: BinaryHeap<Reverse<Event>>,
    orders: u64,
    marks: Vec<Key>,
    ghosts: Vec<Id>,
    /// Those that may be unserved (`unserved.rs`).
    pub(crate) unserved: Vec<Key>,
}

impl Net {
    pub(crate) fn new(dice: Dice, faults: Faults) -> Net {
        Net {
            now: 1,
            dice,
            faults,
            stats: Stats::default(),
            log: Fold::default(),
            ports: Ports::default(),
            open: 0,
            idle_polls: 0,
            in_flight: 0,
            cut: [0; 2],
            sockets: Slab::new(),
            births: 0,
            events: BinaryHeap::new(),
            orders: 0,
            marks: Vec::new(),
            ghosts: Vec::new(),
            unserved: Vec::new(),
        }
    }

    // --- sockets ---

    pub(crate) fn insert(&mut self, id: Id, socket: Socket) -> Key {
        self.births += 1;
        let (birth, owed) = (self.births, Owed::default());
        let slot = self.sockets.insert(Entry { birth, id, marked: false, owed, socket });
        Key { slot: slot as u32, birth }
    }

    /// The socket that the program calls `fd`.
    pub(crate) fn key(&mut self, fd: Fd) -> io::Result<Key> {
        match self.sockets.get(fd.0 as usize) {
            Some(entry) if entry.id != Id::NOBODY => Ok(Key { slot: fd.0, birth: entry.birth }),
            _ => {
                self.stats.strays += 1;
                Err(wrong_kind())
            }
        }
    }

    /// As [`key`](Self::key), for our own account: a stray call is not counted twice.
    pub(crate) fn look(&self, fd: Fd) -> Option<Key> {
        let entry = self.sockets.get(fd.0 as usize).filter(|e| e.id != Id::NOBODY)?;
        Some(Key { slot: fd.0, birth: entry.birth })
    }

    pub(crate) fn entry(&mut self, key: Key) -> Option<&mut Entry> {
        self.sockets.get_mut(key.slot as usize).filter(|e| e.birth == key.birth)
    }

    /// How many sockets there are.
    pub(crate) fn sockets(&self) -> usize {
        self.sockets.len()
    }

    pub(crate) fn peek(&self, key: Key) -> Option<&Entry> {
        self.sockets.get(key.slot as usize).filter(|e| e.birth == key.birth)
    }

    pub(crate) fn socket(&mut self, key: Key) -> Option<&mut Socket> {
        self.entry(key).map(|e| &mut e.socket)
    }

    pub(crate) fn stream(&mut self, key: Key) -> Option<&mut Stream> {
        match self.socket(key) {
            Some(Socket::Stream(stream)) => Some(stream),
            _ => None,
        }
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<Socket> {
        self.entry(key)?;
        Some(self.sockets.remove(key.slot as usize).socket)
    }

    /// The program takes a connection that waited.
    pub(crate) fn adopt(&mut self, key: Key, id: Id) {
        if let Some(entry) = self.entry(key) {
            entry.id = id;
        }
        self.open += 1;
    }

    /// May one more socket be opened? `rate`: how often it may not, whatever there is.
    pub(crate) fn descriptor(&mut self, rate: Rate) -> io::Result<()> {
        if self.open >= self.faults.descriptors || self.dice.chance(Choice::Descriptors, rate) {
            return Err(io::Error::from_raw_os_error(EMFILE));
        }
        Ok(())
    }

    pub(crate) fn close(&mut self, fd: Fd, reset: bool) {
        let Ok(key) = self.key(fd) else { return };
        let id = self.sockets[key.slot as usize].id;
        self.note(2, fd.0.into(), id.birth);
        if self.dice.chance(Choice::Stale, self.faults.stale) {
            self.ghosts.push(id);
        }
        self.open -= 1;
        match self.remove(key) {
            Some(Socket::Stream(stream)) => self.close_stream(key, stream, reset),
            Some(Socket::Listener(listener)) => self.close_listener(key, listener),
            Some(Socket::Udp(udp)) => self.ports.drop_datagram(udp.local, key),
            Some(Socket::Post(post)) => self.ports.drop_path(&post.path),
            None => {}
        }
    }

    // --- time ---

    pub(crate) fn latency(&mut self) -> u64 {
        self.dice.span(Choice::Latency, &self.faults.latency)
    }

    pub(crate) fn at(&mut self, at: u64, what: What) {
        self.orders += 1;
        self.events.push(Reverse(Event { at: at.max(self.now), order: self.orders, what }));
    }

    /// Pays a promise: a readiness of this socket, some time from now.
    pub(crate) fn poke(&mut self, key: Key) {
        let at = self.now + self.latency();
        self.at(at, What::Poke(key));
    }

    /// Something changed: the next poll tells it.
    pub(crate) fn mark(&mut self, key: Key) {
        let Some(entry) = self.entry(key) else { return };
        if !std::mem::replace(&mut entry.marked, true) {
            self.marks.push(key);
        }
    }

    /// Lets everything happen that is due, each at its own time: the network does not wait for a
    /// process that lags.
    fn run_due(&mut self) {
        let until = self.now;
        while self.events.peek().is_some_and(|Reverse(next)| next.at <= until) {
            let Some(Reverse(event)) = self.events.pop() else { break };
            self.now = event.at;
            match event.what {
                What::Poke(key) => self.mark(key),
                What::Segment(segment) => self.arrive(segment),
                What::Flight(flight) => self.land(flight),
                What::Again(flight) => self.again(flight),
                What::Syn(client, tries) => self.next_syn(client, tries),
                What::Probe(key, idle) => self.probed(key, idle),
                What::Packet(packet) => self.deliver(packet),
            }
        }
        self.now = until;
    }

    pub(crate) fn poll(
        &mut self,
        until: Option<Instant>,
        ready: &mut Vec<Ready>,
    ) -> io::Result<()> {
        let before = ready.len();
        self.now += POLL_COST;
        self.stats.polls += 1;
        let mut limit = until.filter(|at| *at != Instant::NEVER).map(|at| at.0.max(self.now));
        let waits = limit.is_some() || !self.events.is_empty();
        if waits && self.dice.chance(Choice::Early, self.faults.early) {
            let room = limit.map_or(0, |at| at - self.now);
            limit = Some(self.now + self.dice.pick(Choice::Early, room.saturating_add(1)));
        }
        loop {
            self.run_due();
            self.tell(ready);
            if ready.len() > before {
                break;
            }
            let next = self.events.peek().map(|Reverse(e)| e.at);
            match (next, limit) {
                (Some(at), limit) if limit.is_none_or(|l| at <= l) => self.jump(at, limit),
                (_, Some(limit)) => {
                    self.now = limit;
                    self.idle_polls = 0;
                    return Ok(());
                }
                _ => return self.nothing_to_come(),
            }
        }
        self.idle_polls = 0;
        for at in ready[before..].iter() {
            let bits = [at.readable, at.writable, at.closed, at.gone];
            let bits = bits.iter().fold(0, |all, bit| all << 1 | u64::from(*bit));
            self.note(3, at.id.birth << 4 | bits, at.id.slot.into());
        }
        Ok(())
    }

    /// To the next event, and beyond it at times: never beyond what the caller waits for.
    fn jump(&mut self, at: u64, limit: Option<u64>) {
        self.now = at;
        if self.dice.chance(Choice::Lag, self.faults.lag) {
            let late = at.saturating_add(self.dice.span(Choice::Lag, &self.faults.lag_time));
            self.now = limit.map_or(late, |limit| late.min(limit));
        }
    }

    fn nothing_to_come(&mut self) -> io::Result<()> {
        self.idle_polls += 1;
        if self.idle_polls > IDLE_POLLS {
            let why = "the simulated world is at rest and is polled without end";
            return Err(io::Error::new(ErrorKind::Deadlock, why));
        }
        Ok(())
    }

    // --- readiness ---

    /// Appends what is ready, as epoll would: once for each mark, with the state of now.
    fn tell(&mut self, ready: &mut Vec<Ready>) {
        let before = ready.len();
        for id in std::mem::take(&mut self.ghosts) {
            self.stats.stale += 1;
            ready.push(Ready { id, readable: true, writable: true, closed: true, gone: true });
        }
        let marks = self.marks.len().min(BATCH);
        for key in self.marks.drain(..marks).collect::<Vec<_>>() {
            let Some(entry) = self.entry(key) else { continue };
            entry.marked = false;
            if let Some(now) = self.state(key) {
                self.tell_one(now, ready);
                self.is_told(key);
            }
        }
        if ready.len() > before && self.dice.chance(Choice::Spurious, self.faults.spurious) {
            self.tell_nothing(ready);
        }
        if ready.len() > before + 1 && self.dice.chance(Choice::Order, self.faults.shuffle) {
            self.dice.shuffle(&mut ready[before..]);
        }
    }

    fn tell_one(&mut self, now: Ready, ready: &mut Vec<Ready>) {
        let both = now.readable && now.writable;
        if both && self.dice.chance(Choice::Twice, self.faults.twice) {
            ready.push(Ready { readable: false, closed: false, ..now });
            ready.push(Ready { writable: false, ..now });
        } else {
            ready.push(now);
        }
    }

    /// A readiness out of nothing, for any socket: reading and writing may say `WouldBlock`.
    fn tell_nothing(&mut self, ready: &mut Vec<Ready>) {
        let start = self.dice.pick(Choice::Spurious, self.sockets.len() as u64) as usize;
        let at = self.sockets.iter().skip(start).find(|(_, e)| e.id != Id::NOBODY);
        if let Some((_, Entry { id, .. })) = at {
            let (id, coin) = (*id, self.dice.pick(Choice::Spurious, 3));
            let (readable, writable) = (coin != 1, coin != 0);
            self.stats.spurious += 1;
            ready.push(Ready { id, readable, writable, closed: false, gone: false });
        }
    }

    /// What a socket is ready for, or `None` if for nothing.
    fn state(&mut self, key: Key) -> Option<Ready> {
        let room = self.room(key) > 0;
        let entry = self.entry(key)?;
        let id = entry.id;
        let (readable, writable, closed, gone) = match &entry.socket {
            Socket::Listener(listener) => (!listener.queue.is_empty(), false, false, false),
            Socket::Stream(stream) => stream.state(room),
            Socket::Udp(udp) => (udp.readable(), true, false, udp.failed()),
            Socket::Post(post) => (!post.inbox.is_empty(), true, false, false),
        };
        let any = readable || writable;
        (any && id != Id::NOBODY).then_some(Ready { id, readable, writable, closed, gone })
    }

    // --- the log ---

    /// Folds one thing that was asked or answered into the log.
    pub(crate) fn note(&mut self, what: u64, a: u64, b: u64) {
        for n in [self.now, what, a, b] {
            self.log.add(n);
        }
    }

    /// Folds an answer into the log.
    pub(crate) fn answer<T>(
        &mut self,
        what: u64,
        fd: u64,
        answer: io::Result<T>,
        number: impl FnOnce(&T) -> u64,
    ) -> io::Result<T> {
        match &answer {
            Ok(of) => self.note(what, fd, number(of)),
            Err(e) => self.note(what, fd, u64::MAX - e.kind() as u64),
        }
        answer
    }
}

const EMFILE: i32 = 24;

/// A call on a socket that cannot do it: a driver's mistake, never a peer's.
#[cold]
pub(crate) fn wrong_kind() -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, "not a socket of the kind that this call needs")
}
