//! The one place that answers every choice of the simulated world.
//!
//! Rules of this file:
//! * Nothing else in this crate is undetermined: same answers, same run.
//! * `0` is always the tame answer (no fault, the shortest delay, the first in line), so that a
//!   [`Decider`] which has run dry leaves a well-behaved world behind.
//! * A choice with one possible answer is not asked: a fault that is switched off draws nothing.

use crate::faults::{ALWAYS, Rate};
use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::time::Duration;

/// What is being decided.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[non_exhaustive]
pub enum Choice {
    /// How long something travels.
    Latency,
    /// Whether, and where, one write travels as two segments.
    Split,
    /// The receive window of a new connection.
    Window,
    /// Whether, and where, a read is cut short.
    CutRead,
    /// Whether, and where, a write is cut short.
    CutWrite,
    /// Whether a read that could go on says `WouldBlock`.
    BlockRead,
    /// Whether a write or send that could go on says `WouldBlock`.
    BlockWrite,
    /// Whether, and of whom, a readiness is told that is none.
    Spurious,
    /// The order in which a poll tells what is ready.
    Order,
    /// Whether one readiness is told as two.
    Twice,
    /// Whether a closed socket's readiness is told once more.
    Stale,
    /// Whether a poll returns early, and when.
    Early,
    /// Whether the process is kept from running for a while, and how long.
    Lag,
    /// Whether a part of a stream is lost.
    Drop,
    /// Whether nothing gets through, for how long, and in which direction.
    Partition,
    /// Whether the ends of a connection lose each other.
    Vanish,
    /// Whether there is no memory for a write.
    Memory,
    /// Whether a connection is reset.
    Reset,
    /// Whether a reset takes the input along that had arrived.
    LoseInput,
    /// Whether a waiting connection dies before it is accepted.
    Abort,
    /// Whether no descriptor is left.
    Descriptors,
    /// Whether, and how, an accept fails for another reason.
    Accept,
    /// Whether there are no buffers for a datagram.
    Buffers,
    /// Whether a datagram is lost.
    Loss,
    /// Whether a datagram comes twice.
    Duplicate,
    /// Whether a datagram is held back.
    Reorder,
    /// Which ephemeral port.
    Port,
    /// Which of several sockets that share a port.
    Share,
    /// Eight bytes of randomness for the program.
    Random,
}

/// Answers choices: from a seed, from a fuzzer's bytes, from a script.
pub trait Decider: 'static {
    /// A number below `sides` (which is at least 2). A larger answer is taken modulo `sides`.
    fn pick(&mut self, what: Choice, sides: u64) -> u64;
}

/// One step of a splitmix64 mixer: every bit of the input moves every bit of the output.
pub(crate) fn mix(z: u64) -> u64 {
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014. Neighbouring seeds
/// give unrelated runs.
#[derive(Clone, Debug)]
pub struct SplitMix(u64);

impl SplitMix {
    /// The generator of this seed.
    #[must_use]
    pub fn new(seed: u64) -> SplitMix {
        SplitMix(seed)
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }
}

impl Decider for SplitMix {
    fn pick(&mut self, _: Choice, sides: u64) -> u64 {
        // The high half of a 128-bit product: no division, and no bias that a test could see.
        ((u128::from(self.next_u64()) * u128::from(sides)) >> 64) as u64
    }
}

/// Answers from a fuzzer's bytes: as many as the choice has sides for. Dry: `0` for ever.
#[derive(Clone, Debug, Default)]
pub struct FromBytes(VecDeque<u8>);

impl FromBytes {
    /// Decides by these bytes, in order.
    #[must_use]
    pub fn new(bytes: &[u8]) -> FromBytes {
        FromBytes(bytes.iter().copied().collect())
    }
}

impl Decider for FromBytes {
    fn pick(&mut self, _: Choice, sides: u64) -> u64 {
        let (mut answer, mut reach) = (0u64, 1u64);
        while reach < sides {
            let Some(byte) = self.0.pop_front() else { break };
            answer = answer << 8 | u64::from(byte);
            reach = reach.saturating_mul(256);
        }
        answer % sides
    }
}

/// Asks the decider, in the forms that the rooms of this crate need.
pub(crate) struct Dice {
    decider: Box<dyn Decider>,
}

impl Dice {
    pub(crate) fn new(decider: Box<dyn Decider>) -> Dice {
        Dice { decider }
    }

    /// Below `sides`; `0` without asking when there is no other answer.
    pub(crate) fn pick(&mut self, what: Choice, sides: u64) -> u64 {
        if sides < 2 { 0 } else { self.decider.pick(what, sides) % sides }
    }

    /// Does it happen, at this rate? Not when the decider says `0`, unless it always does.
    pub(crate) fn chance(&mut self, what: Choice, rate: Rate) -> bool {
        match rate {
            0 => false,
            ALWAYS.. => true,
            _ => self.pick(what, u64::from(ALWAYS)) >= u64::from(ALWAYS - rate),
        }
    }

    /// A time span out of a range, in nanoseconds.
    pub(crate) fn span(&mut self, what: Choice, range: &RangeInclusive<Duration>) -> u64 {
        let ns = |d: &Duration| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX);
        let (least, most) = (ns(range.start()), ns(range.end()));
        let sides = most.saturating_sub(least).saturating_add(1);
        least.saturating_add(self.pick(what, sides))
    }

    /// A size out of a range, small ones as likely as large ones: each halving is one chance.
    /// The tame answer is the largest.
    pub(crate) fn size(&mut self, what: Choice, range: &RangeInclusive<usize>) -> usize {
        let (least, most) = (*range.start(), *range.end().max(range.start()));
        let halvings = (most / least.max(1)).max(1).ilog2();
        let most = (most >> self.pick(what, u64::from(halvings) + 1)).max(least);
        most - self.pick(what, (most - least) as u64 + 1) as usize
    }

    /// Cuts `n` at this rate: from 1 to `n - 1` of it, or all.
    pub(crate) fn cut(&mut self, what: Choice, rate: Rate, n: usize) -> usize {
        if n < 2 || !self.chance(what, rate) {
            return n;
        }
        n - 1 - self.pick(what, n as u64 - 1) as usize
    }

    /// A random order (Fisher and Yates).
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            let other = at - self.pick(Choice::Order, at as u64 + 1) as usize;
            items.swap(at, other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splitmix_gives_the_published_sequence() {
        let mut of = SplitMix::new(1_234_567);
        let got: Vec<u64> = (0..3).map(|_| of.next_u64()).collect();
        assert_eq!(got, [6457827717110365317, 3203168211198807973, 9817491932198370423]);
    }

    #[test]
    fn zero_is_tame() {
        let mut dice = Dice::new(Box::new(FromBytes::default()));
        assert!(!dice.chance(Choice::Loss, ALWAYS - 1));
        assert!(dice.chance(Choice::Loss, ALWAYS));
        assert_eq!(dice.cut(Choice::CutRead, ALWAYS / 2, 100), 100);
        let range = Duration::from_nanos(5)..=Duration::from_nanos(9);
        assert_eq!(dice.span(Choice::Latency, &range), 5);
        let mut items = [1, 2, 3, 4];
        dice.shuffle(&mut items);
        assert_eq!(items, [1, 2, 3, 4]);
    }

    #[test]
    fn answers_stay_in_their_range_and_reach_its_ends() {
        let mut dice = Dice::new(Box::new(SplitMix::new(9)));
        let mut seen = [0u32; 8];
        let range = Duration::from_nanos(3)..=Duration::from_nanos(7);
        for _ in 0..10_000 {
            seen[dice.span(Choice::Latency, &range) as usize] += 1;
        }
        assert_eq!(seen[..3], [0; 3]);
        assert!(seen[3..].iter().all(|n| (1800..2200).contains(n)), "{seen:?}");
        let sizes: Vec<usize> =
            (0..10_000).map(|_| dice.size(Choice::Window, &(3..=1000))).collect();
        assert!(sizes.iter().all(|n| (3..=1000).contains(n)));
        let small = sizes.iter().filter(|n| **n < 100).count();
        assert!((4_000..9_000).contains(&small), "{small}");
        assert!(sizes.iter().any(|n| *n > 900));
        let cuts: Vec<usize> = (0..1000).map(|_| dice.cut(Choice::CutRead, ALWAYS, 4)).collect();
        assert!((1..4).all(|n| cuts.contains(&n)) && !cuts.contains(&4));
    }

    #[test]
    fn rates_are_parts_of_a_million() {
        let mut dice = Dice::new(Box::new(SplitMix::new(4)));
        let hits = (0..100_000).filter(|_| dice.chance(Choice::Loss, 100_000)).count();
        assert!((9_500..10_500).contains(&hits), "{hits}");
    }

    #[test]
    fn a_fuzzers_bytes_decide_in_order() {
        let mut of = FromBytes::new(&[7, 1, 2, 3]);
        assert_eq!(of.pick(Choice::Loss, 10), 7);
        assert_eq!(of.pick(Choice::Loss, 1000), 0x0102);
        assert_eq!(of.pick(Choice::Loss, 256), 3);
        assert_eq!(of.pick(Choice::Loss, 256), 0);
    }
}
