//! A run in 64 bits: whoever folds the same things in the same order gets the same number.
//!
//! Rules of this file:
//! * The fold does not depend on addresses, on the build, or on std's hashing of integers by
//!   machine word: the same run has the same hash on every 64-bit machine.
//! * A tracer sees and changes nothing.

use crate::dice::mix;
use loopwork_reactor::{Id, Instant, Loop, Trace, Tracer, World};
use std::any::Any;
use std::collections::VecDeque;
use std::fmt::Write;
use std::hash::{Hash, Hasher};

/// Folds numbers and bytes into a `u64`. Order counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Fold(u64);

impl Fold {
    /// Folds a number in.
    pub fn add(&mut self, n: u64) {
        self.0 = mix(self.0.wrapping_add(0x9e37_79b9_7f4a_7c15) ^ mix(n));
    }

    /// What has come together so far.
    #[must_use]
    pub fn value(self) -> u64 {
        self.0
    }
}

impl Hasher for Fold {
    fn write(&mut self, bytes: &[u8]) {
        self.add(bytes.len() as u64);
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.add(u64::from_le_bytes(word));
        }
    }
    fn write_u8(&mut self, n: u8) {
        self.add(n.into());
    }
    fn write_u16(&mut self, n: u16) {
        self.add(n.into());
    }
    fn write_u32(&mut self, n: u32) {
        self.add(n.into());
    }
    fn write_u64(&mut self, n: u64) {
        self.add(n);
    }
    fn write_usize(&mut self, n: usize) {
        self.add(n as u64);
    }
    fn write_isize(&mut self, n: isize) {
        self.add(n as u64);
    }
    fn finish(&self) -> u64 {
        self.0
    }
}

/// A tracer that folds every note into a `u64`, counts them, and keeps the last few if asked.
///
/// Set it with `lp.trace(Some(Box::new(TraceHash::new())))`, get it back with
/// [`TraceHash::take`].
#[derive(Clone, Debug, Default)]
pub struct TraceHash {
    fold: Fold,
    count: u64,
    keep: usize,
    tail: VecDeque<(Instant, Id, Trace)>,
}

impl TraceHash {
    /// Folds and counts.
    #[must_use]
    pub fn new() -> TraceHash {
        TraceHash::default()
    }

    /// Folds, counts, and keeps the last `keep` notes.
    #[must_use]
    pub fn with_tail(keep: usize) -> TraceHash {
        TraceHash { keep, ..TraceHash::default() }
    }

    /// All notes so far, as one number.
    #[must_use]
    pub fn value(&self) -> u64 {
        self.fold.value()
    }

    /// How many notes there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The notes that were kept, oldest first.
    pub fn tail(&self) -> impl Iterator<Item = &(Instant, Id, Trace)> {
        self.tail.iter()
    }

    /// The kept notes as text, one a line, the time in microseconds.
    #[must_use]
    pub fn print(&self) -> String {
        let mut text = String::new();
        for (at, id, what) in &self.tail {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{:>14.3} µs  {id}  {what:?}", at.0 as f64 / 1e3);
        }
        text
    }

    /// Takes the tracer out of a loop. `None` if there was none, or one of another kind.
    pub fn take<W: World>(lp: &mut Loop<W>) -> Option<TraceHash> {
        let any = lp.trace(None)?.into_any();
        any.downcast().ok().map(|of: Box<TraceHash>| *of)
    }
}

impl Tracer for TraceHash {
    fn note(&mut self, at: Instant, id: Id, what: Trace) {
        (at, id, what).hash(&mut self.fold);
        self.count += 1;
        if self.keep > 0 {
            if self.tail.len() == self.keep {
                self.tail.pop_front();
            }
            self.tail.push_back((at, id, what));
        }
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fold(bytes: &[&[u8]]) -> u64 {
        let mut fold = Fold::default();
        bytes.iter().for_each(|b| fold.write(b));
        fold.value()
    }

    #[test]
    fn order_length_and_cuts_count() {
        assert_eq!(fold(&[b"abc", b"d"]), fold(&[b"abc", b"d"]));
        assert_ne!(fold(&[b"abc", b"d"]), fold(&[b"d", b"abc"]));
        assert_ne!(fold(&[b"abc", b"d"]), fold(&[b"ab", b"cd"]));
        assert_ne!(fold(&[b"a"]), fold(&[b"a\0"]));
        assert_ne!(fold(&[]), fold(&[b""]));
    }

    #[test]
    fn every_part_of_a_note_counts_and_the_tail_is_the_last() {
        let id = |slot| Id { birth: 1, slot, driver: 0 };
        let hash = |at, slot, what| {
            let mut of = TraceHash::new();
            of.note(Instant(at), id(slot), what);
            of.value()
        };
        let base = hash(1, 2, Trace::Read(3));
        assert_eq!(base, hash(1, 2, Trace::Read(3)));
        assert_ne!(base, hash(2, 2, Trace::Read(3)));
        assert_ne!(base, hash(1, 3, Trace::Read(3)));
        assert_ne!(base, hash(1, 2, Trace::Read(4)));
        assert_ne!(base, hash(1, 2, Trace::Used(3)));
        assert_ne!(hash(1, 2, Trace::Say("a")), hash(1, 2, Trace::Say("b")));

        let mut of = TraceHash::with_tail(2);
        for n in 0..5 {
            of.note(Instant(n + 1), id(0), Trace::Turn(n as u32));
        }
        assert_eq!(of.count(), 5);
        assert_eq!(of.tail().map(|n| n.0.0).collect::<Vec<_>>(), [4, 5]);
        assert_eq!(of.print().lines().count(), 2);
    }
}
