//! Timers: a hierarchical timing wheel. Arming, moving and cancelling cost the same for one
//! timer and for a million, and a cancelled timer leaves nothing behind.
//!
//! Rules of this file:
//! * A timer never fires early. Its deadline is rounded up to a tick of 1.024 µs, and it fires
//!   when that tick has come; within a tick in the order of arming.
//! * A timer stands in the level of the highest base-64 digit in which its tick differs from
//!   `elapsed`. So a lower level is always due before a higher one, and moving `elapsed` to a
//!   time before the earliest slot leaves every timer where it belongs.
//! * Level 0 holds single ticks; a slot of level n holds 64ⁿ of them, and is dealt out to lower
//!   levels when its first tick comes.

use crate::id::{Id, Instant};
use slab::Slab;

/// A tick is 2¹⁰ ns: finer than any wait of a kernel, and 9 levels of 6 bits reach 584 years.
const TICK_BITS: u32 = 10;
const LEVEL_BITS: u32 = 6;
const SLOTS: usize = 1 << LEVEL_BITS;
const LEVELS: usize = 9;
/// The list of what is due, behind those of the wheel.
const DUE: usize = LEVELS * SLOTS;
const NIL: u32 = u32::MAX;
/// How many timers of the earliest slot are looked at for the exact wait. A longer list is waited
/// for by its slot: one wake too many, but no scan of a million timers in each turn.
const SCAN: usize = 16;

/// A timer, for who armed it: to move or cancel it. Of a timer that fired it means nothing, and
/// using it then does nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimerKey {
    slot: u32,
    birth: u32,
}

impl TimerKey {
    /// No timer.
    pub const NONE: TimerKey = TimerKey { slot: NIL, birth: 0 };
}

#[derive(Clone, Copy)]
struct Timer {
    tick: u64,
    id: Id,
    next: u32,
    prev: u32,
    birth: u32,
    list: u16,
}

/// The wheel. Addresses what is due by [`Id`]; what the deadline is for is its owner's business.
pub struct Timers {
    timers: Slab<Timer>,
    heads: Box<[u32; DUE + 1]>,
    tails: Box<[u32; DUE + 1]>,
    occupied: [u64; LEVELS],
    /// The levels that are occupied at all: a turn without timers looks at this alone.
    levels: u32,
    elapsed: u64,
    births: u32,
    due: usize,
}

impl Default for Timers {
    fn default() -> Self {
        Timers {
            timers: Slab::new(),
            heads: Box::new([NIL; DUE + 1]),
            tails: Box::new([NIL; DUE + 1]),
            occupied: [0; LEVELS],
            levels: 0,
            elapsed: 0,
            births: 0,
            due: 0,
        }
    }
}

/// The tick at or after a time. The last tick is that of [`Instant::NEVER`], which no clock
/// reaches: one more would not fit the levels.
fn tick(at: Instant) -> u64 {
    at.0.div_ceil(1 << TICK_BITS).min(u64::MAX >> TICK_BITS)
}

impl Timers {
    /// How many are armed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.timers.len()
    }

    /// None is armed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.timers.is_empty()
    }

    /// Arms a timer. A time in the past is due at once, in the next phase of timers.
    pub fn arm(&mut self, at: Instant, id: Id) -> TimerKey {
        self.births = self.births.wrapping_add(1);
        let birth = self.births;
        let timer = Timer { tick: tick(at), id, next: NIL, prev: NIL, birth, list: 0 };
        let slot = self.timers.insert(timer) as u32;
        self.place(slot);
        TimerKey { slot, birth }
    }

    /// Cancels a timer; says whether it was still armed.
    pub fn cancel(&mut self, key: TimerKey) -> bool {
        let armed = self.timers.get(key.slot as usize).is_some_and(|t| t.birth == key.birth);
        if armed {
            self.unlink(key.slot);
            self.timers.remove(key.slot as usize);
        }
        armed
    }

    /// Moves an armed timer to another time; `None` when it fired or was cancelled.
    pub fn rearm(&mut self, key: TimerKey, at: Instant) -> Option<TimerKey> {
        self.timers.get(key.slot as usize).filter(|t| t.birth == key.birth)?;
        self.unlink(key.slot);
        self.timers[key.slot as usize].tick = tick(at);
        self.place(key.slot);
        Some(key)
    }

    /// When to look again: the deadline of the earliest timer, or a time shortly before it.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        if self.due > 0 {
            return Some(Instant(0));
        }
        let level = self.lowest()?;
        let (list, slot_tick) = self.first(level);
        let mut earliest = u64::MAX;
        let mut at = self.heads[list];
        for _ in 0..SCAN {
            let timer = &self.timers[at as usize];
            earliest = earliest.min(timer.tick);
            at = timer.next;
            if at == NIL {
                return Some(Instant(earliest.saturating_mul(1 << TICK_BITS)));
            }
        }
        Some(Instant(slot_tick.saturating_mul(1 << TICK_BITS)))
    }

    /// Moves the wheel to `now`; says how many are due.
    pub fn advance(&mut self, now: Instant) -> usize {
        let now = now.0 >> TICK_BITS;
        while let Some(level) = self.lowest() {
            let (list, slot_tick) = self.first(level);
            if slot_tick > now {
                break;
            }
            self.elapsed = slot_tick;
            self.vacate(list);
            let mut at = std::mem::replace(&mut self.heads[list], NIL);
            self.tails[list] = NIL;
            while at != NIL {
                let next = self.timers[at as usize].next;
                self.place(at);
                at = next;
            }
        }
        self.elapsed = self.elapsed.max(now);
        self.due
    }

    /// Takes the earliest that is due.
    pub fn pop(&mut self) -> Option<Id> {
        let slot = self.heads[DUE];
        if slot == NIL {
            return None;
        }
        self.unlink(slot);
        Some(self.timers.remove(slot as usize).id)
    }

    /// The lowest level that is occupied, which holds the earliest timer.
    #[inline]
    fn lowest(&self) -> Option<usize> {
        (self.levels != 0).then(|| self.levels.trailing_zeros() as usize)
    }

    /// A slot of the wheel is empty.
    fn vacate(&mut self, list: usize) {
        let level = list / SLOTS;
        self.occupied[level] &= !(1 << (list % SLOTS));
        self.levels &= !(u32::from(self.occupied[level] == 0) << level);
    }

    /// The first occupied slot of a level: its list, and its first tick.
    fn first(&self, level: usize) -> (usize, u64) {
        let slot = self.occupied[level].trailing_zeros();
        let low = LEVEL_BITS * level as u32;
        let above =
            self.elapsed & !(u64::MAX.checked_shl(low + LEVEL_BITS).map_or(u64::MAX, |m| !m));
        (level * SLOTS + slot as usize, above | u64::from(slot) << low)
    }

    /// Hangs a timer into the list where it belongs, at the tail.
    fn place(&mut self, slot: u32) {
        let tick = self.timers[slot as usize].tick;
        let list = if tick <= self.elapsed {
            self.due += 1;
            DUE
        } else {
            let level = (63 - (tick ^ self.elapsed).leading_zeros()) / LEVEL_BITS;
            let at = (tick >> (level * LEVEL_BITS)) as usize % SLOTS;
            self.occupied[level as usize] |= 1 << at;
            self.levels |= 1 << level;
            level as usize * SLOTS + at
        };
        let tail = std::mem::replace(&mut self.tails[list], slot);
        let timer = &mut self.timers[slot as usize];
        (timer.list, timer.prev, timer.next) = (list as u16, tail, NIL);
        match tail {
            NIL => self.heads[list] = slot,
            tail => self.timers[tail as usize].next = slot,
        }
    }

    fn unlink(&mut self, slot: u32) {
        let Timer { list, prev, next, .. } = self.timers[slot as usize];
        let list = list as usize;
        match prev {
            NIL => self.heads[list] = next,
            prev => self.timers[prev as usize].next = next,
        }
        match next {
            NIL => self.tails[list] = prev,
            next => self.timers[next as usize].prev = prev,
        }
        if list == DUE {
            self.due -= 1;
        } else if self.heads[list] == NIL {
            self.vacate(list);
        }
    }
}
