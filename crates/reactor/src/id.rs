//! Who and when: the names that travel through the loop.
//!
//! Rules of this file:
//! * An [`Id`] is never used twice. Its slot is, so whoever looks a slot up compares the birth.
//! * Time is a number that the [`World`](crate::World) hands out. Nothing else knows the clock.

use std::fmt;
use std::time::Duration;

/// A point in time: nanoseconds since the [`World`](crate::World) began, by its monotonic clock.
///
/// `0` never occurs as an answer of a `World`, so it serves as "no time" inside deadlines.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash)]
pub struct Instant(pub u64);

impl Instant {
    /// Later than everything: a wait without end.
    pub const NEVER: Instant = Instant(u64::MAX);

    /// This long after `self`; saturates at [`Instant::NEVER`], so `Duration::MAX` is no trap.
    #[inline]
    #[must_use]
    pub fn after(self, d: Duration) -> Instant {
        let ns = u64::try_from(d.as_nanos()).unwrap_or(u64::MAX);
        Instant(self.0.saturating_add(ns))
    }

    /// How long after `earlier` this is; zero when it is not.
    #[inline]
    #[must_use]
    pub fn since(self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Who: a driver of the loop, a slot in it, and the number of the birth that filled the slot.
///
/// Births count up and never repeat, so an id that outlives its owner misses harmlessly: a late
/// wake, a stale event of the same poll, a timer of the slot's former owner.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct Id {
    /// The number of the birth; `0` is nobody's.
    pub birth: u64,
    /// The slot inside the driver. What it means is the driver's business.
    pub slot: u32,
    /// The driver, as numbered by [`Loop::add`](crate::Loop::add).
    pub driver: u16,
}

impl Id {
    /// Nobody: what is addressed to it is dropped.
    pub const NOBODY: Id = Id { birth: 0, slot: 0, driver: u16::MAX };
    /// Mail of other threads lies ready; see [`World::mail`](crate::World::mail).
    pub const MAIL: Id = Id { birth: 0, slot: 1, driver: u16::MAX };
    /// The driver number under which the loop keeps its own timed calls.
    pub(crate) const CALLS: u16 = u16::MAX - 1;
    /// And this one for jobs that block.
    pub(crate) const JOBS: u16 = u16::MAX - 2;
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}#{}", self.driver, self.slot, self.birth)
    }
}

/// A socket inside a [`World`](crate::World): an index there, not the kernel's number.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Fd(pub u32);

/// What one poll says of one socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ready {
    /// The id that the socket was registered with.
    pub id: Id,
    /// Reading may give something: bytes, the end, an error.
    pub readable: bool,
    /// Writing may take something.
    pub writable: bool,
    /// A short read does not mean dry: behind the bytes that lie here comes the end of the peer's
    /// side, or something that reads stop short of (urgent data).
    pub closed: bool,
    /// The connection is dead (reset, or an error): who is not reading learns it only here.
    pub gone: bool,
}
