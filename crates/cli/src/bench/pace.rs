//! With a rate: when requests are due, and who sends them.
//!
//! Rule: request `n` is due at an instant that is fixed beforehand, whether a connection is free or
//! not, and counts from there.

use super::load::Asked;
use loopwork::{Id, Instant};
use std::collections::VecDeque;
use std::time::Duration;

/// With a rate: which requests are due, and who is free to send them.
pub(super) struct Pace {
    began: Instant,
    /// Between two requests, in nanoseconds.
    gap: f64,
    /// Requests that have been given out.
    given: u64,
    /// When those were due that came back unanswered, from connections that the server closed.
    pub(super) back: VecDeque<Instant>,
    pub(super) free: Vec<Id>,
}

impl Pace {
    pub(super) fn new(began: Instant, rate: f64) -> Pace {
        Pace { began, gap: 1e9 / rate, given: 0, back: VecDeque::new(), free: Vec::new() }
    }

    /// When request `n` is due.
    fn due(&self, n: u64) -> Instant {
        Instant(self.began.0 + (n as f64 * self.gap) as u64)
    }

    /// Requests that were due up to now.
    pub(super) fn ever(&self, now: Instant) -> u64 {
        (now.since(self.began).as_nanos() as f64 / self.gap) as u64 + 1
    }

    /// Gives out at most so many requests that are due; how many.
    pub(super) fn take(&mut self, now: Instant, most: usize, into: &mut VecDeque<Asked>) -> usize {
        let again = self.back.len().min(most);
        into.extend(self.back.drain(..again).map(|due| Asked { due, sent: now }));
        let new = self.ever(now).saturating_sub(self.given).min((most - again) as u64);
        for n in self.given..self.given + new {
            into.push_back(Asked { due: self.due(n), sent: now });
        }
        self.given += new;
        again + new as usize
    }

    /// Wakes as many who are free as there are requests due.
    pub(super) fn tick(&mut self, now: Instant) -> Vec<Id> {
        let new = self.ever(now).saturating_sub(self.given);
        let due = self.back.len().saturating_add(usize::try_from(new).unwrap_or(usize::MAX));
        let left = self.free.len().saturating_sub(due);
        self.free.split_off(left)
    }

    /// How often it ticks: at each request, but for rates that are higher than ticks are cheap.
    pub(super) fn period(&self) -> Duration {
        Duration::from_nanos(self.gap as u64).max(Duration::from_micros(100))
    }
}
