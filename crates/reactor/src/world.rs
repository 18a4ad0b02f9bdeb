//! Everything outside the program, as traits: the clock, the poll, randomness, signals here;
//! sockets in `streams.rs` and `datagrams.rs`.
//!
//! Rules of this file:
//! * Whatever is not deterministic comes through here, so that a run can be simulated, recorded
//!   and replayed. `&mut self` everywhere, `now` too: a recorder writes every answer down.
//! * No call blocks but [`World::poll`]. A socket call that cannot go on says `WouldBlock`.
//! * A short read or write, and a `WouldBlock`, promise a new [`Ready`] when there is more to do.
//!   Readiness is told once for each change (edge-triggered); spurious readiness is allowed.
//! * `Interrupted` never comes out: a `World` tries again by itself.

use crate::blocking::{Done, Job};
use crate::id::{Fd, Id, Instant, Ready};
use crate::mail::{Mail, Mailbox};
use std::io;
use std::time::Duration;

/// The part of the world that every driver needs.
pub trait World: 'static {
    /// The monotonic clock. Never goes back, never `Instant(0)`.
    fn now(&mut self) -> Instant;
    /// The time of day: how long after the beginning of 1970, in UTC. May jump. Unless a world
    /// says otherwise it began on the first day of 2026, so that simulated runs print one date.
    fn unix_time(&mut self) -> Duration {
        Duration::from_secs(1_767_225_600) + self.now().since(Instant(0))
    }
    /// Waits until something is ready, or `until` (`None`: without end; a past time: not at all),
    /// and appends what is ready. Returns early for no reason at times. Never late on purpose.
    ///
    /// # Errors
    /// When the poll itself is broken: the loop cannot go on.
    fn poll(&mut self, until: Option<Instant>, ready: &mut Vec<Ready>) -> io::Result<()>;
    /// Fills `into` with bytes that nobody can guess (or that a seed gives, in a simulation).
    fn random(&mut self, into: &mut [u8]);
    /// Closes a socket of any kind. Of a stream, bytes that were written still go out.
    fn close(&mut self, fd: Fd);
    /// Asks that these signals be told to `id`: a [`Ready`] for it says that
    /// [`World::next_signal`] has an answer.
    ///
    /// # Errors
    /// A signal that cannot be caught; no descriptor is left.
    fn watch_signals(&mut self, signals: &[i32], id: Id) -> io::Result<()>;
    /// The next signal that came in for this watch, by its number.
    fn next_signal(&mut self, watch: Id) -> Option<i32>;
    /// A door for other threads; what they put in is told by a [`Ready`] for [`Id::MAIL`].
    ///
    /// # Errors
    /// No descriptor is left for it.
    fn mailbox(&mut self) -> io::Result<Mailbox>;
    /// Runs a job where it may block: here, unless a world has a better place, and then gives what
    /// came out; `None` promises a post of it to [`Done::DRIVER`] by the mailbox.
    ///
    /// # Errors
    /// There is no thread for it, and it did not run.
    fn offload(&mut self, job: Job) -> io::Result<Option<Done>> {
        Ok(job.run())
    }
    /// Takes what other threads have sent, in order.
    fn mail(&mut self, into: &mut Vec<Mail>);
}
