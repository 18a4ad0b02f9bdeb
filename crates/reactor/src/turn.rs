//! The loop. One turn is seven phases, each a function below, in this order:
//!
//! 1. **poll**: wait until something is ready, or the earliest deadline, or not at all while
//!    work waits; then read the clock, once.
//! 2. **ready**: each ready source's driver reads, calls its protocol, and settles what the
//!    protocol wished: bytes are handled while they are warm, an answer leaves at once.
//! 3. **again**: who had spent its budget in an earlier turn goes on. Behind *ready*, so that one
//!    fast peer does not keep the others waiting.
//! 4. **timers**: what is due. Behind the input, so that bytes which came in time count.
//! 5. **mail**: what other threads sent joins the queues of the next two phases.
//! 6. **wakes**: connections that phases 2 to 5 want to speak to; mostly in the turn that asked.
//! 7. **posts**: dials, listeners, settings, deferred calls: the rare, last.
//!
//! Rules of this file:
//! * A phase serves what was queued when it began. What it causes comes later, so that nothing
//!   can hold a turn for ever.
//! * No callback is ever called from inside another.
//! * The loop knows drivers, by number; it does not know what a stream is.

use crate::datagrams::{BATCH, ROOM_MAX};
use crate::env::Env;
use crate::id::{Id, Instant, Ready};
use crate::mail::{Mail, Mailbox};
use crate::metrics::{Meter, Metrics};
use crate::trace::{Trace, Tracer};
use crate::world::World;
use std::any::Any;
use std::io;
use std::marker::PhantomData;
use std::time::Duration;

/// What a driver may touch while it runs. The read buffer is here, and not in [`Env`], because a
/// callback holds both at once.
pub struct Cx<'a, W> {
    /// The outside.
    pub world: &'a mut W,
    /// What callbacks may reach.
    pub env: &'a mut Env,
    /// The loop's one read buffer: what is in it lasts for one callback.
    pub buffer: &'a mut [u8],
}

/// A kind of source: streams, datagrams, signals, or a user's own. Between the world, which it
/// alone touches, and a protocol, which it calls.
///
/// A driver that is written for one `World` (`impl Driver<Os> for …`) says by its type that it
/// needs that one: how a source of mio's joins the loop, see [`Os::watch`](crate::Os::watch).
pub trait Driver<W>: Any {
    /// One of its sources is ready.
    fn on_ready(&mut self, cx: &mut Cx<'_, W>, ready: Ready);
    /// It had asked by [`Calls::again`](crate::Calls::again).
    fn on_again(&mut self, _cx: &mut Cx<'_, W>, _id: Id) {}
    /// A timer that it had armed is due.
    fn on_timer(&mut self, _cx: &mut Cx<'_, W>, _id: Id) {}
    /// Someone had asked by [`Calls::wake`](crate::Calls::wake).
    fn on_wake(&mut self, _cx: &mut Cx<'_, W>, _id: Id) {}
    /// Mail by [`Calls::post`](crate::Calls::post) or [`Mailbox::post`].
    fn on_post(&mut self, _cx: &mut Cx<'_, W>, _mail: Box<dyn Any>) {}
    /// Tells each source that it has open, and what it is; see [`Loop::sources`].
    fn sources(&self, _tell: &mut dyn FnMut(Id, &'static str)) {}
}

/// A driver of a loop, by number and by type.
pub struct Handle<D> {
    /// Its number, as in [`Id::driver`].
    pub driver: u16,
    of: PhantomData<fn() -> D>,
}

impl<D> Clone for Handle<D> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<D> Copy for Handle<D> {}

/// The one read buffer, in bytes: a batch of datagrams of the largest size. A stream reads at most
/// [`READ_MAX`] of it at once. Untouched pages cost nothing.
pub const READ_BUFFER: usize = BATCH * ROOM_MAX;
/// What a page has, and what the addresses of a copy are compared by.
const PAGE: usize = 4096;
/// Where in a page the read buffer begins: in its middle. Some processors (AMD's Zen 3 is one) copy
/// 17 times slower by `rep movsb`, with which the kernel and the C library copy, if modulo a page
/// the target is 1 to 31 bytes behind the source. Kernels begin what they hand over at a page, or a
/// little behind it, and allocators put large blocks 16 bytes behind one, our output among them: to
/// both, the middle is far.
const INTO_PAGE: usize = PAGE / 2;
/// One read of a stream: it and as much output stay in the second-level cache while they are
/// parsed, answered and written. Four times as much, which saves calls, made streams slower.
pub const READ_MAX: usize = 64 * 1024;
/// Timers that one turn serves: a storm of them delays the next poll by tens of microseconds.
pub const TIMERS_PER_TURN: usize = 1024;

/// An event loop: a world, an environment, and the drivers between them.
pub struct Loop<W> {
    /// The outside.
    pub world: W,
    /// What callbacks reach.
    pub env: Env,
    drivers: Vec<Box<dyn Driver<W>>>,
    ready: Vec<Ready>,
    mail: Vec<Mail>,
    meter: Option<Box<Meter>>,
    buffer: Vec<u8>,
    /// Where what is used of it begins: [`INTO_PAGE`].
    from: usize,
}

impl<W: World> Loop<W> {
    /// A loop in this world, with nothing in it.
    pub fn new(mut world: W) -> Self {
        let mut seed = [0; 32];
        world.random(&mut seed);
        let mut buffer = vec![0; READ_BUFFER + PAGE + INTO_PAGE];
        let from = buffer.as_ptr().align_offset(PAGE).min(PAGE) + INTO_PAGE;
        buffer.truncate(from + READ_BUFFER);
        Loop {
            env: Env::new(world.now(), world.unix_time(), seed),
            world,
            drivers: Vec::new(),
            ready: Vec::new(),
            mail: Vec::new(),
            meter: None,
            buffer,
            from,
        }
    }

    /// Runs until someone stops it, or nothing is left that could happen: no listener, no
    /// connection, no socket, no call to come.
    ///
    /// # Errors
    /// When the poll itself fails.
    pub fn run(&mut self) -> io::Result<()> {
        while !self.env.calls.stopping() && self.env.calls.alive() {
            self.turn(None)?;
        }
        Ok(())
    }

    /// One turn, waiting at most so long (`None`: as long as it takes; zero: not at all).
    ///
    /// # Errors
    /// When the poll itself fails.
    pub fn turn(&mut self, wait: Option<Duration>) -> io::Result<()> {
        self.poll(wait)?;
        // Whoever spends its budget in this turn goes on in the next.
        let again = self.env.calls.again.len();
        let mail = self.serve_ready();
        self.serve_again(again);
        self.serve_timers();
        if mail {
            self.serve_mail();
        }
        self.serve_wakes();
        self.serve_posts();
        Ok(())
    }

    /// Until when a turn would wait if nothing were ready: `Instant(0)` when work waits already,
    /// `None` without end. What a foreign loop needs, besides the descriptor that
    /// [`Os`](crate::Os) is for it, to run this one inside:
    ///
    /// 1. wait until the descriptor is readable, or this long:
    ///    `lp.next_deadline().map(|at| at.since(lp.world.now()))`;
    /// 2. `lp.turn(Some(Duration::ZERO))`, while [`Calls::alive`](crate::Calls::alive).
    #[inline]
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        let calls = &self.env.calls;
        if calls.pending() || calls.stopping() {
            return Some(Instant(0));
        }
        calls.timers.next()
    }

    /// Phase 1.
    fn poll(&mut self, wait: Option<Duration>) -> io::Result<()> {
        self.ready.clear();
        let next = self.next_deadline();
        let until = match (wait, next) {
            (_, Some(Instant(0))) | (Some(Duration::ZERO), _) => Some(Instant(0)),
            (None, next) => next,
            (Some(wait), next) => {
                let limit = self.world.now().after(wait);
                Some(next.map_or(limit, |at| at.min(limit)))
            }
        };
        if let Some(meter) = &mut self.meter {
            meter.before_poll(self.world.now());
        }
        self.world.poll(until, &mut self.ready)?;
        self.env.now = self.world.now();
        if let Some(meter) = &mut self.meter {
            meter.after_poll(self.env.now, until, self.ready.len());
        }
        if self.env.wall_due() {
            self.env.set_wall(self.world.unix_time());
        }
        self.env.note(Id::NOBODY, Trace::Turn(self.ready.len() as u32));
        Ok(())
    }

    /// Phase 2. Says whether mail of other threads has come.
    fn serve_ready(&mut self) -> bool {
        // Out of `self` for the length of the phase: nobody adds to it meanwhile.
        let ready = std::mem::take(&mut self.ready);
        let mut mail = false;
        for r in &ready {
            if r.id.driver == Id::MAIL.driver {
                mail |= r.id == Id::MAIL;
            } else {
                self.driver(r.id.driver, |d, cx| d.on_ready(cx, *r));
            }
        }
        self.ready = ready;
        mail
    }

    /// Phase 3.
    fn serve_again(&mut self, count: usize) {
        for _ in 0..count {
            let Some(id) = self.env.calls.again.pop_front() else { break };
            self.driver(id.driver, |d, cx| d.on_again(cx, id));
        }
    }

    /// Phase 4.
    fn serve_timers(&mut self) {
        let due = self.env.calls.timers.advance(self.env.now);
        for _ in 0..due.min(TIMERS_PER_TURN) {
            let Some(id) = self.env.calls.timers.pop() else { break };
            if id.driver == Id::CALLS {
                self.env.run_call(id);
            } else {
                self.driver(id.driver, |d, cx| d.on_timer(cx, id));
            }
        }
    }

    /// Phase 5.
    fn serve_mail(&mut self) {
        self.world.mail(&mut self.mail);
        for mail in self.mail.drain(..) {
            match mail {
                Mail::Wake(id) => self.env.calls.wake(id),
                Mail::Post(driver, mail) => self.env.calls.post(driver, mail),
                Mail::Stop => self.env.calls.stop(),
            }
        }
    }

    /// Phase 6.
    fn serve_wakes(&mut self) {
        for _ in 0..self.env.calls.wakes.len() {
            let Some(id) = self.env.calls.next_wake() else { break };
            self.driver(id.driver, |d, cx| d.on_wake(cx, id));
        }
    }

    /// Phase 7.
    fn serve_posts(&mut self) {
        for _ in 0..self.env.calls.posts.len() {
            let Some((driver, mail)) = self.env.calls.posts.pop_front() else { break };
            if driver == Id::CALLS {
                self.env.run_deferred(mail);
            } else if driver == Id::JOBS {
                self.env.serve_job(&mut self.world, mail);
            } else {
                self.driver(driver, |d, cx| d.on_post(cx, mail));
            }
        }
    }

    /// Lets a driver work; an unknown number is nobody.
    #[inline]
    fn driver(&mut self, driver: u16, f: impl FnOnce(&mut dyn Driver<W>, &mut Cx<'_, W>)) {
        if let Some(d) = self.drivers.get_mut(driver as usize) {
            let (world, env, buffer) =
                (&mut self.world, &mut self.env, &mut self.buffer[self.from..]);
            f(d.as_mut(), &mut Cx { world, env, buffer });
        }
    }

    /// Adds a driver. It is told its own handle: what it will be reached by.
    pub fn add<D: Driver<W>>(&mut self, make: impl FnOnce(Handle<D>) -> D) -> Handle<D> {
        let handle = Handle { driver: self.drivers.len() as u16, of: PhantomData };
        self.drivers.push(Box::new(make(handle)));
        handle
    }

    /// The driver behind a handle.
    ///
    /// # Panics
    /// With a handle of another loop.
    pub fn get<D: Driver<W>>(&mut self, handle: Handle<D>) -> &mut D {
        let driver: &mut dyn Any = self.drivers[handle.driver as usize].as_mut();
        driver.downcast_mut().expect("a handle of this loop")
    }

    /// The driver together with what it needs to act outside a turn: how `tcp::listen` is written
    /// outside this crate. The clock is read first, so that its delays count from now, and not
    /// from the last turn.
    ///
    /// # Panics
    /// With a handle of another loop.
    pub fn with<D: Driver<W>, R>(
        &mut self,
        handle: Handle<D>,
        f: impl FnOnce(&mut D, &mut Cx<'_, W>) -> R,
    ) -> R {
        let driver: &mut dyn Any = self.drivers[handle.driver as usize].as_mut();
        let driver = driver.downcast_mut().expect("a handle of this loop");
        let (world, env, buffer) = (&mut self.world, &mut self.env, &mut self.buffer[self.from..]);
        env.now = world.now();
        f(driver, &mut Cx { world, env, buffer })
    }

    /// All that is open, by driver, with what it is: why a loop does not end. As `uv_walk` and
    /// Node's `process.getActiveResourcesInfo`; calls of [`Env::after`] and [`Env::every`] are
    /// among them.
    #[must_use]
    pub fn sources(&self) -> Vec<(Id, &'static str)> {
        let mut list = Vec::new();
        for driver in &self.drivers {
            driver.sources(&mut |id, what| list.push((id, what)));
        }
        list.extend(self.env.calls.each_call().map(|id| (id, "call")));
        list
    }

    /// Sets or takes away the tracer; gives back the one that was set.
    pub fn trace(&mut self, tracer: Option<Box<dyn Tracer>>) -> Option<Box<dyn Tracer>> {
        std::mem::replace(&mut self.env.trace, tracer)
    }

    /// Begins to measure, from nothing; or ends it. While it measures each turn looks at the clock
    /// once more, some tens of nanoseconds; while it does not, nothing is counted.
    pub fn measure(&mut self, on: bool) {
        self.meter = on.then(Box::default);
    }

    /// What was measured up to the last poll; `None` when [`Loop::measure`] is off.
    #[must_use]
    pub fn metrics(&self) -> Option<&Metrics> {
        self.meter.as_ref().map(|meter| &meter.metrics)
    }

    /// A door to this loop for other threads.
    ///
    /// # Errors
    /// No descriptor is left for it.
    pub fn mailbox(&mut self) -> io::Result<Mailbox> {
        self.world.mailbox()
    }
}
