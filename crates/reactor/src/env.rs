//! What a callback may reach: the half of the loop that knows no World.
//!
//! Rules of this file:
//! * Nothing here touches a socket. Callbacks state wishes; the loop and its drivers settle them.
//! * Public fields are public so that they can be borrowed apart.
//! * Work that one phase asks for is served in a later phase or the next turn, never at once.

use crate::blocking::Waiting;
use crate::id::{Id, Instant};
use crate::planted::{Planted, planted};
use crate::timers::{TimerKey, Timers};
use crate::trace::{Trace, Tracer};
use chacha20::ChaCha12Rng;
use chacha20::rand_core::{Rng, SeedableRng};
use slab::Slab;
use std::any::Any;
use std::collections::VecDeque;
use std::marker::PhantomData;
use std::ops::ControlFlow;
use std::time::Duration;

/// The environment of every callback.
pub struct Env {
    /// The time at which this turn's poll returned. One clock read serves the whole turn.
    pub now: Instant,
    /// Wishes that are addressed to the loop.
    pub calls: Calls,
    /// State that several protocols share.
    pub shared: Shared,
    /// Empty buffers.
    pub pool: Pool,
    /// The time of day at `wall_at`.
    wall: Duration,
    wall_at: Instant,
    random: ChaCha12Rng,
    pub(crate) trace: Option<Box<dyn Tracer>>,
}

/// The clock of the day is looked at so often: between two looks it runs with the monotonic one,
/// and a correction of it shows within this time.
const WALL_EVERY: u64 = 1_000_000_000;

impl Env {
    pub(crate) fn new(now: Instant, wall: Duration, seed: [u8; 32]) -> Env {
        Env {
            now,
            wall,
            wall_at: now,
            calls: Calls::default(),
            shared: Shared::default(),
            pool: Pool::default(),
            random: ChaCha12Rng::from_seed(seed),
            trace: None,
        }
    }

    /// The time of day of this turn: how long after the beginning of 1970, in UTC.
    #[must_use]
    pub fn unix_time(&self) -> Duration {
        self.wall + self.now.since(self.wall_at)
    }

    pub(crate) fn wall_due(&self) -> bool {
        self.now.0.wrapping_sub(self.wall_at.0) >= WALL_EVERY
    }

    pub(crate) fn set_wall(&mut self, wall: Duration) {
        (self.wall, self.wall_at) = (wall, self.now);
    }

    /// `on_wake` of `id`; see [`Calls::wake`].
    #[inline]
    pub fn wake(&mut self, id: Id) {
        self.calls.wake(id);
    }

    /// Calls `f` once, `delay` from now, at the earliest in the next turn. The loop runs on until
    /// then; [`Calls::unref`] lets it end before.
    pub fn after(&mut self, delay: Duration, f: impl FnOnce(&mut Env) + 'static) -> CallKey {
        // At least a nanosecond: `now` itself may be a tick that this turn's timers still serve.
        self.calls.at(self.now.after(delay.max(SOON)), Work::Once(Box::new(f)))
    }

    /// Calls `f` every `period`, the first time one period from now, until it breaks or is
    /// cancelled. The beat is kept: a call that comes late does not move the next one, and beats
    /// that were missed altogether are left out, so that a loop which was held up makes one call,
    /// not a storm. A period of zero is each turn.
    ///
    /// The loop runs for it; [`Calls::unref`] changes that.
    pub fn every(
        &mut self,
        period: Duration,
        f: impl FnMut(&mut Env) -> ControlFlow<()> + 'static,
    ) -> CallKey {
        let period = period.max(SOON);
        self.calls.at(self.now.after(period), Work::Every(period, Box::new(f)))
    }

    /// Calls `f` at the end of this turn, behind everything that the turn serves and before it
    /// waits again. From a phase of posts, so from another deferred call, it is the next turn's.
    pub fn defer(&mut self, f: impl FnOnce(&mut Env) + 'static) {
        let f: Run = Box::new(f);
        self.calls.post(Id::CALLS, Box::new(f));
    }

    /// For the phase of timers: a call is due.
    pub(crate) fn run_call(&mut self, id: Id) {
        match self.calls.begin(id, self.now) {
            Work::Away => {}
            Work::Once(f) => f(self),
            Work::Every(period, mut f) => {
                let flow = f(self);
                self.calls.finish(id, flow, Work::Every(period, f));
            }
        }
    }

    /// For the phase of posts: what [`Env::defer`] put there. Anything else was addressed to a
    /// driver that nobody is.
    pub(crate) fn run_deferred(&mut self, mail: Box<dyn Any>) {
        if let Ok(f) = mail.downcast::<Run>() {
            f(self);
        }
    }

    /// Unpredictable bytes: a stream cipher, seeded once by the World, so that a recorded or
    /// simulated run draws the same ones.
    #[inline]
    pub fn random(&mut self, into: &mut [u8]) {
        self.random.fill_bytes(into);
    }

    /// Out of the way of the loop's code, which has nobody to tell as a rule.
    #[cfg(not(feature = "notrace"))]
    #[cold]
    #[inline(never)]
    fn tell(&mut self, id: Id, what: Trace) {
        if let Some(tracer) = &mut self.trace {
            tracer.note(self.now, id, what);
        }
    }

    /// Tells the tracer, if there is one. A null test when there is none; nothing at all with the
    /// feature `notrace`.
    #[inline(always)]
    pub fn note(&mut self, id: Id, what: Trace) {
        #[cfg(not(feature = "notrace"))]
        if self.trace.is_some() {
            self.tell(id, what);
        }
        #[cfg(feature = "notrace")]
        let _ = (id, what);
    }

    /// As [`note`](Self::note), of a number of bytes: the note is put together only if someone
    /// watches.
    #[inline(always)]
    pub fn note_bytes(&mut self, id: &Id, what: fn(u32) -> Trace, bytes: usize) {
        #[cfg(not(feature = "notrace"))]
        if self.trace.is_some() {
            self.tell_bytes(id, what, bytes);
        }
        #[cfg(feature = "notrace")]
        let _ = (id, what, bytes);
    }

    #[cfg(not(feature = "notrace"))]
    #[cold]
    #[inline(never)]
    fn tell_bytes(&mut self, id: &Id, what: fn(u32) -> Trace, bytes: usize) {
        self.tell(*id, what(bytes as u32));
    }
}

/// The shortest wait: `now` itself may be a tick that this turn's timers still serve.
const SOON: Duration = Duration::from_nanos(1);

/// A call that was asked for by [`Env::after`] or [`Env::every`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CallKey {
    slot: u32,
    birth: u64,
}

type Run = Box<dyn FnOnce(&mut Env)>;
type Beat = Box<dyn FnMut(&mut Env) -> ControlFlow<()>>;

/// What a call does.
enum Work {
    Once(Run),
    Every(Duration, Beat),
    /// It runs just now.
    Away,
}

struct Call {
    work: Work,
    birth: u64,
    at: Instant,
    timer: TimerKey,
    holds: bool,
}

/// Wishes addressed to the loop.
#[derive(Default)]
pub struct Calls {
    births: u64,
    held: usize,
    stop: bool,
    /// Armed deadlines, for drivers.
    pub timers: Timers,
    pub(crate) wakes: VecDeque<Id>,
    /// `woken[driver][slot]` is the birth that is queued already.
    woken: Vec<Vec<u64>>,
    pub(crate) again: VecDeque<Id>,
    pub(crate) posts: VecDeque<(u16, Box<dyn Any>)>,
    calls: Slab<Call>,
    pub(crate) jobs: Waiting,
}

/// Slots up to here are woken once however often it is asked; beyond, where no driver seats
/// anyone, an id is simply queued, so that a foolish one cannot ask for gigabytes of marks.
const MARKED_SLOTS: u32 = 1 << 24;

impl Calls {
    /// `on_wake` there, in this turn if its wakes are still to come, else in the next. Misses
    /// harmlessly when `id` is gone. However often it is asked for before it happens, it happens
    /// once: a thousand messages to ten thousand members are ten thousand wakes.
    pub fn wake(&mut self, id: Id) {
        let (driver, slot) = (id.driver as usize, id.slot as usize);
        if id.slot >= MARKED_SLOTS || id.driver >= Id::JOBS {
            return self.wakes.push_back(id);
        }
        if self.woken.len() <= driver {
            self.woken.resize_with(driver + 1, Vec::new);
        }
        let marks = &mut self.woken[driver];
        if marks.len() <= slot {
            marks.resize(slot + 1, 0);
        }
        if std::mem::replace(&mut marks[slot], id.birth) != id.birth {
            self.wakes.push_back(id);
        }
    }

    pub(crate) fn next_wake(&mut self) -> Option<Id> {
        let id = self.wakes.pop_front()?;
        let mark = self.woken.get_mut(id.driver as usize).and_then(|m| m.get_mut(id.slot as usize));
        if let Some(mark) = mark.filter(|m| **m == id.birth && !planted(Planted::LostWake)) {
            *mark = 0;
        }
        Some(id)
    }

    /// For drivers: `on_again` in the next turn, since a budget is spent with work left.
    #[inline]
    pub fn again(&mut self, id: Id) {
        self.again.push_back(id);
    }

    /// Mail to a driver: how dialing and listening reach the World from a callback. Boxed, hence
    /// for the rare, not for messages.
    pub fn post(&mut self, driver: u16, mail: Box<dyn Any>) {
        self.posts.push_back((driver, mail));
    }

    /// A number for a new [`Id`], never given before.
    #[inline]
    pub fn birth(&mut self) -> u64 {
        self.births += 1;
        self.births
    }

    /// For drivers: something is open that the loop runs for.
    pub fn hold(&mut self) {
        self.held += 1;
    }

    /// For drivers: it is closed.
    ///
    /// # Panics
    /// When nothing is held.
    pub fn release(&mut self) {
        self.held = self.held.checked_sub(1).expect("a release without a hold");
    }

    /// Ends [`Loop::run`](crate::Loop::run) after this turn.
    pub fn stop(&mut self) {
        self.stop = true;
    }

    /// Someone asked to stop.
    #[must_use]
    pub fn stopping(&self) -> bool {
        self.stop
    }

    /// Whether anything can still happen: something is open, or work waits.
    #[must_use]
    pub fn alive(&self) -> bool {
        self.held > 0 || self.pending()
    }

    /// Work waits that needs no poll.
    pub(crate) fn pending(&self) -> bool {
        !(self.wakes.is_empty() && self.again.is_empty() && self.posts.is_empty())
    }

    fn at(&mut self, at: Instant, work: Work) -> CallKey {
        let birth = self.birth();
        let entry = self.calls.vacant_entry();
        let slot = entry.key() as u32;
        let timer = self.timers.arm(at, Id { birth, slot, driver: Id::CALLS });
        entry.insert(Call { work, birth, at, timer, holds: true });
        self.hold();
        CallKey { slot, birth }
    }

    fn call(&mut self, key: CallKey) -> Option<&mut Call> {
        self.calls.get_mut(key.slot as usize).filter(|c| c.birth == key.birth)
    }

    /// When a call is due, the next time if it comes again; `None` when it is over.
    #[must_use]
    pub fn due(&self, key: CallKey) -> Option<Instant> {
        let call = self.calls.get(key.slot as usize).filter(|c| c.birth == key.birth);
        call.map(|c| c.at)
    }

    /// Takes [`Calls::unref`] back: the loop runs for this call, as after Node's `ref`.
    pub fn re_ref(&mut self, key: CallKey) {
        let let_go = self.call(key).is_some_and(|c| !std::mem::replace(&mut c.holds, true));
        if let_go {
            self.hold();
        }
    }

    /// The ids of all calls to come.
    pub(crate) fn each_call(&self) -> impl Iterator<Item = Id> + '_ {
        let id = |slot, c: &Call| Id { birth: c.birth, slot: slot as u32, driver: Id::CALLS };
        self.calls.iter().map(move |(slot, c)| id(slot, c))
    }

    /// Lets the loop end although this call is still to come, as Node's `unref`.
    pub fn unref(&mut self, key: CallKey) {
        let held = self.call(key).is_some_and(|c| std::mem::take(&mut c.holds));
        if held {
            self.release();
        }
    }

    /// Takes a call of [`Env::after`] or [`Env::every`] back, from inside it too; says whether it
    /// was still to come.
    pub fn cancel(&mut self, key: CallKey) -> bool {
        self.unref(key);
        let timer = self.call(key).map(|c| c.timer);
        if let Some(timer) = timer {
            self.calls.remove(key.slot as usize);
            self.timers.cancel(timer);
        }
        timer.is_some()
    }

    /// A call is due: gives what it does, and sets its next time if it has one.
    fn begin(&mut self, id: Id, now: Instant) -> Work {
        let key = CallKey { slot: id.slot, birth: id.birth };
        let Some(call) = self.calls.get_mut(id.slot as usize).filter(|c| c.birth == id.birth)
        else {
            return Work::Away;
        };
        let work = std::mem::replace(&mut call.work, Work::Away);
        if let Work::Every(period, _) = work {
            call.at = beat(call.at, period, now);
            call.timer = self.timers.arm(call.at, id);
        } else {
            self.cancel(key);
        }
        work
    }

    /// A call of [`Env::every`] has run: it stays, unless it is over or was cancelled meanwhile.
    fn finish(&mut self, id: Id, flow: ControlFlow<()>, work: Work) {
        let key = CallKey { slot: id.slot, birth: id.birth };
        if flow.is_break() {
            self.cancel(key);
        } else if let Some(call) = self.call(key) {
            call.work = work;
        }
    }
}

/// The first beat after `now`: so many periods after `last`.
fn beat(last: Instant, period: Duration, now: Instant) -> Instant {
    let (late, period) = (now.since(last).as_nanos(), period.as_nanos());
    let beats = u64::try_from((late / period + 1) * period).unwrap_or(u64::MAX);
    Instant(last.0.saturating_add(beats))
}

/// State that several protocols share, reached by a typed key. No `Rc`: `&mut Env` is the proof
/// that nobody else is in it.
#[derive(Default)]
pub struct Shared {
    items: Vec<Box<dyn Any>>,
}

/// Where a `T` lies in [`Shared`].
pub struct Key<T> {
    at: u32,
    of: PhantomData<fn() -> T>,
}

impl<T> Clone for Key<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Key<T> {}

impl Shared {
    /// Puts something in, for as long as the loop lives.
    pub fn add<T: 'static>(&mut self, item: T) -> Key<T> {
        self.items.push(Box::new(item));
        Key { at: self.items.len() as u32 - 1, of: PhantomData }
    }

    /// What `add` put in.
    ///
    /// # Panics
    /// With a key of another loop.
    #[inline]
    pub fn get<T: 'static>(&mut self, key: Key<T>) -> &mut T {
        self.items[key.at as usize].downcast_mut().expect("a key of this loop")
    }

    /// The one `T` of this loop, made when first asked for: caches, scratch. Found by its type,
    /// in a list that has a handful of items.
    pub fn one<T: Default + 'static>(&mut self) -> &mut T {
        let at = self.items.iter().position(|item| item.is::<T>()).unwrap_or_else(|| {
            self.items.push(Box::new(T::default()));
            self.items.len() - 1
        });
        self.items[at].downcast_mut().expect("found by its type")
    }
}

/// Empty buffers of connections that are idle. Taken out by value, so nothing stays borrowed.
#[derive(Default)]
pub struct Pool {
    free: Vec<Vec<u8>>,
    large: Vec<Vec<u8>>,
    /// Bytes of room in `large`.
    held: usize,
}

impl Pool {
    /// Buffers that are kept: those of a turn's busy connections.
    pub const KEEP: usize = 64;
    /// A larger buffer is kept apart, for who asks for one by [`Pool::take_large`].
    pub const LARGEST: usize = 256 * 1024;
    /// What those take together; beyond it they go back to the allocator, since one big message
    /// must not stay for ever. As much as the others: to get a megabyte from the kernel and give it
    /// back costs more than to fill it.
    pub const LARGE: usize = Self::KEEP * Self::LARGEST;

    /// An empty buffer, with room if one was given back.
    #[inline]
    #[must_use]
    pub fn take(&mut self) -> Vec<u8> {
        self.free.pop().unwrap_or_default()
    }

    /// The smallest of the empty buffers with room for more than [`Pool::LARGEST`], and at least
    /// `room`, if one was given back.
    #[must_use]
    pub fn take_large(&mut self, room: usize) -> Option<Vec<u8>> {
        let fits = self.large.iter().enumerate().filter(|(_, buffer)| buffer.capacity() >= room);
        let (at, _) = fits.min_by_key(|(_, buffer)| buffer.capacity())?;
        let buffer = self.large.swap_remove(at);
        self.held -= buffer.capacity();
        Some(buffer)
    }

    /// Gives a buffer back. Its bytes are forgotten.
    #[inline]
    pub fn give(&mut self, mut buffer: Vec<u8>) {
        let room = buffer.capacity();
        buffer.clear();
        if room > Self::LARGEST {
            self.give_large(buffer);
        } else if room > 0 && self.free.len() < Self::KEEP {
            self.free.push(buffer);
        }
    }

    #[cold]
    fn give_large(&mut self, buffer: Vec<u8>) {
        let held = self.held.saturating_add(buffer.capacity());
        if held <= Self::LARGE {
            self.held = held;
            self.large.push(buffer);
        }
    }
}
