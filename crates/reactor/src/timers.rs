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
//! * Of a million timers each is a cache miss, and so are its neighbours in a list: what moving and
//!   cancelling need is kept apart, and small.

use crate::id::{Id, Instant};

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

/// A timer but for its owner.
#[derive(Clone, Copy)]
struct Place {
    /// The tick, and in the low bits, which it does not need, the list that the timer is in.
    tick_and_list: u64,
    next: u32,
    prev: u32,
    /// Counts up when the slot is armed, and when it is free again: an odd number is armed.
    birth: u32,
}

impl Place {
    fn tick(&self) -> u64 {
        self.tick_and_list >> TICK_BITS
    }

    fn list(&self) -> usize {
        (self.tick_and_list & LIST_MASK) as usize
    }
}

const LIST_MASK: u64 = (1 << TICK_BITS) - 1;
const _: () = assert!(DUE <= LIST_MASK as usize);

/// The wheel. Addresses what is due by [`Id`]; what the deadline is for is its owner's business.
pub struct Timers {
    places: Vec<Place>,
    owners: Vec<Id>,
    /// The first of the free slots, which are a list by `next`.
    free: u32,
    armed: usize,
    heads: Box<[u32; DUE + 1]>,
    tails: Box<[u32; DUE + 1]>,
    occupied: [u64; LEVELS],
    /// The levels that are occupied at all: a turn without timers looks at this alone.
    levels: u32,
    elapsed: u64,
    due: usize,
    /// No slot begins before this tick: a turn before it only moves `elapsed`.
    quiet: u64,
    /// What [`Timers::next`] says; [`Instant::default`] when it is to be looked for anew.
    next: Instant,
}

impl Default for Timers {
    fn default() -> Self {
        Timers {
            places: Vec::new(),
            owners: Vec::new(),
            free: NIL,
            armed: 0,
            heads: Box::new([NIL; DUE + 1]),
            tails: Box::new([NIL; DUE + 1]),
            occupied: [0; LEVELS],
            levels: 0,
            elapsed: 0,
            due: 0,
            quiet: u64::MAX,
            next: Instant::NEVER,
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
        self.armed
    }

    /// None is armed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.armed == 0
    }

    /// Arms a timer. A time in the past is due at once, in the next phase of timers.
    ///
    /// # Panics
    /// With 2³² timers.
    pub fn arm(&mut self, at: Instant, id: Id) -> TimerKey {
        self.armed += 1;
        let slot = match self.free {
            NIL => self.grow(),
            slot => slot,
        };
        let place = &mut self.places[slot as usize];
        self.free = place.next;
        place.birth = place.birth.wrapping_add(1);
        let birth = place.birth;
        self.owners[slot as usize] = id;
        self.place(slot, tick(at));
        TimerKey { slot, birth }
    }

    /// Makes a slot.
    fn grow(&mut self) -> u32 {
        let slot = u32::try_from(self.places.len()).unwrap_or(NIL);
        assert!(slot != NIL, "fewer than 2³² timers");
        self.places.push(Place { tick_and_list: 0, next: NIL, prev: NIL, birth: 0 });
        self.owners.push(Id::NOBODY);
        slot
    }

    /// Cancels a timer; says whether it was still armed.
    pub fn cancel(&mut self, key: TimerKey) -> bool {
        let armed = self.is_armed(key);
        if armed {
            self.unlink(key.slot);
            self.vacant(key.slot);
        }
        armed
    }

    /// Moves an armed timer to another time; `None` when it fired or was cancelled.
    pub fn rearm(&mut self, key: TimerKey, at: Instant) -> Option<TimerKey> {
        if !self.is_armed(key) {
            return None;
        }
        self.unlink(key.slot);
        self.place(key.slot, tick(at));
        Some(key)
    }

    #[inline]
    fn is_armed(&self, key: TimerKey) -> bool {
        // Whoever has a key has seen it armed, so the number is odd, and stays that of one time.
        self.places.get(key.slot as usize).is_some_and(|place| place.birth == key.birth)
    }

    /// A slot is free again.
    fn vacant(&mut self, slot: u32) {
        self.armed -= 1;
        let place = &mut self.places[slot as usize];
        place.next = std::mem::replace(&mut self.free, slot);
        place.birth = place.birth.wrapping_add(1);
    }

    /// When to look again: the deadline of the earliest timer, or a time shortly before it.
    #[inline]
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        match self.next {
            _ if self.due > 0 => Some(Instant(0)),
            Instant::NEVER => None,
            Instant(0) => self.soonest(),
            next => Some(next),
        }
    }

    /// As [`next`](Self::next), of the timers in the wheel.
    fn soonest(&self) -> Option<Instant> {
        let level = self.lowest()?;
        let (list, slot_tick) = self.first(level);
        let mut earliest = u64::MAX;
        let mut at = self.heads[list];
        for _ in 0..SCAN {
            let place = &self.places[at as usize];
            earliest = earliest.min(place.tick());
            at = place.next;
            if at == NIL {
                return Some(Instant(earliest.saturating_mul(1 << TICK_BITS)));
            }
        }
        Some(Instant(slot_tick.saturating_mul(1 << TICK_BITS)))
    }

    /// Moves the wheel to `now`; says how many are due.
    #[inline]
    pub fn advance(&mut self, now: Instant) -> usize {
        let now = now.0 >> TICK_BITS;
        if now < self.quiet {
            self.elapsed = self.elapsed.max(now);
        } else {
            self.turn(now);
        }
        self.due
    }

    /// Deals out the slots whose time has come.
    fn turn(&mut self, now: u64) {
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
                let place = self.places[at as usize];
                self.place(at, place.tick());
                at = place.next;
            }
        }
        self.elapsed = self.elapsed.max(now);
        self.quiet = self.lowest().map_or(u64::MAX, |level| self.first(level).1);
        self.next = self.soonest().unwrap_or(Instant::NEVER);
    }

    /// Takes the earliest that is due.
    pub fn pop(&mut self) -> Option<Id> {
        let slot = self.heads[DUE];
        if slot == NIL {
            return None;
        }
        self.unlink(slot);
        self.vacant(slot);
        Some(self.owners[slot as usize])
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
    fn place(&mut self, slot: u32, tick: u64) {
        let list = if tick <= self.elapsed {
            self.due += 1;
            DUE
        } else {
            let level = (63 - (tick ^ self.elapsed).leading_zeros()) / LEVEL_BITS;
            let slot = tick >> (level * LEVEL_BITS);
            let at = slot as usize % SLOTS;
            self.quiet = self.quiet.min(slot << (level * LEVEL_BITS));
            self.occupied[level as usize] |= 1 << at;
            self.levels |= 1 << level;
            self.next = self.next.min(Instant(tick.saturating_mul(1 << TICK_BITS)));
            level as usize * SLOTS + at
        };
        let prev = std::mem::replace(&mut self.tails[list], slot);
        let place = &mut self.places[slot as usize];
        place.tick_and_list = tick << TICK_BITS | list as u64;
        (place.next, place.prev) = (NIL, prev);
        match prev {
            NIL => self.heads[list] = slot,
            prev => self.places[prev as usize].next = slot,
        }
    }

    fn unlink(&mut self, slot: u32) {
        let place = self.places[slot as usize];
        let (list, prev, next) = (place.list(), place.prev, place.next);
        match prev {
            NIL => self.heads[list] = next,
            prev => self.places[prev as usize].next = next,
        }
        match next {
            NIL => self.tails[list] = prev,
            next => self.places[next as usize].prev = prev,
        }
        if list == DUE {
            self.due -= 1;
            return;
        }
        if self.heads[list] == NIL {
            self.vacate(list);
        }
        if place.tick() == self.next.0 >> TICK_BITS {
            self.next = Instant::default();
        }
    }
}
