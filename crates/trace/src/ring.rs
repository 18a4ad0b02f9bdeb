//! The notes of a running loop in a ring of fixed size, read by another thread while it runs.
//!
//! Rules of this file:
//! * The loop never waits, and never allocates but for a word that it says for the first time.
//!   What a reader has not read in time is written over, and counted.
//! * An event is three words. A reader takes them without a lock, and looks afterwards at how far
//!   the writer has come: what may have been written over meanwhile is lost, not wrong.

use loopwork_reactor::{Id, Instant, Trace, Tracer};
use std::any::Any;
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex, PoisonError};

/// Events of a ring unless told, 1.5 MiB: a hundred turns of a thousand ready connections.
pub const EVENTS: usize = 1 << 16;
/// Different words of [`Trace::Say`] that are kept: programs say literals, and few. What is beyond
/// reads as `?`.
pub const WORDS: usize = 256;

/// One note, as a reader gets it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Event {
    /// When the turn began in which it happened, to 2 years after the world did.
    pub at: Instant,
    /// To whom. Births are kept to 48 bits: a million a second for nine years.
    pub id: Id,
    /// What.
    pub what: Trace,
}

type Slot = [AtomicU64; 3];

struct Inner {
    slots: Box<[Slot]>,
    /// Events that were ever written.
    head: AtomicU64,
    words: Mutex<Vec<&'static str>>,
}

/// The loop's end of a ring: a tracer.
pub struct Ring {
    inner: Arc<Inner>,
    head: u64,
    words: Vec<&'static str>,
}

/// The other end: takes what was written, on any thread.
pub struct RingReader {
    inner: Arc<Inner>,
    next: u64,
    lost: u64,
    words: Vec<&'static str>,
}

/// A ring with room for so many events, rounded up to a power of two: 24 bytes each.
#[must_use]
pub fn ring(events: usize) -> (Ring, RingReader) {
    let slots = (0..events.next_power_of_two()).map(|_| Slot::default()).collect();
    let inner = Arc::new(Inner { slots, head: AtomicU64::new(0), words: Mutex::default() });
    let reader = RingReader { inner: inner.clone(), next: 0, lost: 0, words: Vec::new() };
    (Ring { inner, head: 0, words: Vec::new() }, reader)
}

/// What an event is, as a byte and a number.
fn pack(what: Trace, word: impl FnOnce(&'static str) -> u32) -> (u8, u32) {
    match what {
        Trace::Turn(n) => (1, n),
        Trace::Ready => (2, 0),
        Trace::Open => (3, 0),
        Trace::Listen => (4, 0),
        Trace::Read(n) => (5, n),
        Trace::Used(n) => (6, n),
        Trace::Wrote(n) => (7, n),
        Trace::End => (8, 0),
        Trace::Shutdown => (9, 0),
        Trace::Drain => (10, 0),
        Trace::Wake => (11, 0),
        Trace::Timer => (12, 0),
        Trace::Secure => (13, 0),
        Trace::Clear(n) => (14, n),
        Trace::Close => (15, 0),
        Trace::Say(said) => (16, word(said)),
        // A kind that this ring does not know yet.
        _ => (16, u32::MAX),
    }
}

fn unpack(kind: u8, n: u32, words: &[&'static str]) -> Trace {
    match kind {
        1 => Trace::Turn(n),
        2 => Trace::Ready,
        3 => Trace::Open,
        4 => Trace::Listen,
        5 => Trace::Read(n),
        6 => Trace::Used(n),
        7 => Trace::Wrote(n),
        8 => Trace::End,
        9 => Trace::Shutdown,
        10 => Trace::Drain,
        11 => Trace::Wake,
        12 => Trace::Timer,
        13 => Trace::Secure,
        14 => Trace::Clear(n),
        15 => Trace::Close,
        _ => Trace::Say(words.get(n as usize).copied().unwrap_or("?")),
    }
}

impl Ring {
    /// Room for so many events.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.inner.slots.len()
    }

    /// The number of a word. Words are literals, so a place in memory is a word, mostly.
    fn word(words: &mut Vec<&'static str>, inner: &Inner, said: &'static str) -> u32 {
        if let Some(at) = words.iter().position(|w| std::ptr::eq(*w, said)) {
            return at as u32;
        }
        if words.len() == WORDS {
            return u32::MAX;
        }
        words.push(said);
        inner.words.lock().unwrap_or_else(PoisonError::into_inner).push(said);
        words.len() as u32 - 1
    }
}

impl Tracer for Ring {
    #[inline]
    fn note(&mut self, at: Instant, id: Id, what: Trace) {
        let Ring { inner, head, words } = self;
        let (kind, n) = pack(what, |said| Ring::word(words, inner, said));
        let slot = &inner.slots[*head as usize & (inner.slots.len() - 1)];
        // Whoever sees a word of this event sees that the ring has come so far.
        fence(Ordering::Release);
        slot[0].store(at.0 << 8 | u64::from(kind), Ordering::Relaxed);
        slot[1].store(id.birth << 16 | u64::from(id.driver), Ordering::Relaxed);
        slot[2].store(u64::from(id.slot) << 32 | u64::from(n), Ordering::Relaxed);
        *head += 1;
        inner.head.store(*head, Ordering::Release);
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

impl RingReader {
    /// Room for so many events.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.inner.slots.len()
    }

    /// Events that were written over before they were read.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Appends what was written since the last time, oldest first, at most a ring.
    pub fn read(&mut self, into: &mut Vec<Event>) {
        let size = self.inner.slots.len() as u64;
        let head = self.inner.head.load(Ordering::Acquire);
        let begin = self.next.max(head.saturating_sub(size));
        let load = |of: &AtomicU64| of.load(Ordering::Relaxed);
        let slot = |n: u64| &self.inner.slots[(n & (size - 1)) as usize];
        let raw: Vec<[u64; 3]> = (begin..head).map(|n| slot(n).each_ref().map(load)).collect();
        fence(Ordering::Acquire);
        // The writer may be in the midst of the event behind its head, in the place of this one.
        let now = self.inner.head.load(Ordering::Relaxed);
        let whole = begin.max((now + 1).saturating_sub(size)).min(head);
        self.lost += whole - self.next;
        self.next = head;
        let known = self.words.len() as u32;
        let events = raw.into_iter().skip((whole - begin) as usize);
        for [first, second, third] in events {
            let (kind, n) = (first as u8, third as u32);
            if kind == 16 && n >= known && n < WORDS as u32 {
                let words = self.inner.words.lock().unwrap_or_else(PoisonError::into_inner);
                self.words.clone_from(&words);
            }
            let what = unpack(kind, n, &self.words);
            let (slot, driver) = ((third >> 32) as u32, second as u16);
            let id = Id { birth: second >> 16, slot, driver };
            into.push(Event { at: Instant(first >> 8), id, what });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u64) -> Id {
        Id { birth: n, slot: n as u32 ^ 5, driver: 3 }
    }

    #[test]
    fn what_is_noted_is_read() {
        let all = [
            Trace::Turn(7),
            Trace::Ready,
            Trace::Open,
            Trace::Listen,
            Trace::Read(u32::MAX),
            Trace::Used(1),
            Trace::Wrote(2),
            Trace::End,
            Trace::Shutdown,
            Trace::Drain,
            Trace::Wake,
            Trace::Timer,
            Trace::Secure,
            Trace::Clear(3),
            Trace::Close,
            Trace::Say("one"),
            Trace::Say("two"),
            Trace::Say("one"),
        ];
        let (mut ring, mut reader) = ring(20);
        assert_eq!((ring.capacity(), reader.capacity()), (32, 32));
        let event = |(n, what): (usize, &Trace)| Event {
            at: Instant((n as u64 + 1) << 40),
            id: id(n as u64),
            what: *what,
        };
        let wanted: Vec<Event> = all.iter().enumerate().map(event).collect();
        wanted.iter().for_each(|of| ring.note(of.at, of.id, of.what));
        let mut got = Vec::new();
        reader.read(&mut got);
        assert_eq!((got, reader.lost()), (wanted, 0));
    }

    #[test]
    fn what_is_not_read_in_time_is_counted() {
        let (mut ring, mut reader) = ring(8);
        let mut got = Vec::new();
        for n in 0..20 {
            ring.note(Instant(n), id(n), Trace::Ready);
        }
        reader.read(&mut got);
        // One less than there is room for: the writer might be at the oldest.
        assert_eq!((got.len(), reader.lost(), got[0].at), (7, 13, Instant(13)));
        reader.read(&mut got);
        assert_eq!((got.len(), reader.lost()), (7, 13));
    }

    /// Every word of an event says the same number, or it would be a mixture of two.
    #[test]
    fn a_reader_beside_the_writer_sees_whole_events_in_order() {
        const ALL: u64 = 300_000;
        let (mut ring, mut reader) = ring(64);
        let writer = std::thread::spawn(move || {
            for n in 0..ALL {
                let id = Id { birth: n, slot: n as u32, driver: n as u16 };
                ring.note(Instant(n), id, Trace::Read(n as u32));
            }
        });
        let (mut next, mut seen) = (0, 0);
        let mut got = Vec::new();
        while next < ALL {
            reader.read(&mut got);
            for event in got.drain(..) {
                let n = event.at.0;
                assert!(n >= next, "{n} behind {next}");
                let id = Id { birth: n, slot: n as u32, driver: n as u16 };
                assert_eq!((event.id, event.what), (id, Trace::Read(n as u32)));
                (next, seen) = (n + 1, seen + 1);
            }
        }
        writer.join().unwrap();
        assert_eq!(seen + reader.lost(), ALL);
    }
}
