//! How busy a loop is: turns, events, and where its time goes.
//!
//! Rules of this file:
//! * Off unless asked for ([`Loop::measure`](crate::Loop::measure)): then one more look at the
//!   clock a turn, before the poll, beside the one that each turn takes behind it.
//! * Nothing is kept for each event, and nothing grows: sums, and buckets of powers of two.

use crate::id::Instant;
use std::time::Duration;

/// Durations by their size, each within a factor of two.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Histogram {
    /// Of `n` there are those of 2ⁿ⁻¹ up to 2ⁿ ns; of 0 those of nothing.
    buckets: [u64; BUCKETS],
    max: Duration,
}

/// The last holds everything from 2⁶² ns, which is 146 years.
const BUCKETS: usize = 64;

impl Default for Histogram {
    fn default() -> Self {
        Histogram { buckets: [0; BUCKETS], max: Duration::ZERO }
    }
}

impl Histogram {
    fn add(&mut self, d: Duration) {
        let ns = u64::try_from(d.as_nanos()).unwrap_or(u64::MAX);
        self.buckets[(64 - ns.leading_zeros() as usize).min(BUCKETS - 1)] += 1;
        self.max = self.max.max(d);
    }

    /// How many durations there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// The longest, exactly.
    #[must_use]
    pub fn max(&self) -> Duration {
        self.max
    }

    /// An upper bound for this share of them, at most twice the truth: `0.5` is the median,
    /// `0.99` what one in a hundred exceeds. Nothing of nothing.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Duration {
        let rank = (self.count() as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (n, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Duration::from_nanos((1 << n) - 1).min(self.max);
            }
        }
        self.max
    }
}

/// What a loop has measured since [`Loop::measure`](crate::Loop::measure).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Metrics {
    /// Turns that began.
    pub turns: u64,
    /// Sources that polls found ready.
    pub events: u64,
    /// Time inside the poll.
    pub waited: Duration,
    /// Time outside it, between two polls.
    pub worked: Duration,
    /// Of each turn, the time from one poll to the next: how long an event may have to wait until
    /// someone looks at it.
    pub work: Histogram,
    /// Of each poll that went on until a deadline, how late it came back.
    pub late: Histogram,
}

impl Metrics {
    /// The share of time that was work: from 0, always waiting, to 1, never.
    #[must_use]
    pub fn utilisation(&self) -> f64 {
        let whole = (self.waited + self.worked).as_secs_f64();
        if whole > 0.0 { self.worked.as_secs_f64() / whole } else { 0.0 }
    }
}

/// The measuring loop's memory from one poll to the next.
#[derive(Default)]
pub(crate) struct Meter {
    pub(crate) metrics: Metrics,
    /// When the last poll returned; none has yet.
    back: Option<Instant>,
    /// When the present one began.
    began: Instant,
}

impl Meter {
    pub(crate) fn before_poll(&mut self, now: Instant) {
        self.began = now;
        if let Some(back) = self.back {
            let worked = now.since(back);
            self.metrics.worked += worked;
            self.metrics.work.add(worked);
        }
    }

    pub(crate) fn after_poll(&mut self, now: Instant, until: Option<Instant>, events: usize) {
        self.back = Some(now);
        self.metrics.turns += 1;
        self.metrics.events += events as u64;
        self.metrics.waited += now.since(self.began);
        // A deadline that had passed before is the work's doing, and is in its histogram.
        if let Some(at) = until.filter(|at| *at > self.began && now >= *at) {
            self.metrics.late.add(now.since(at));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_at_most_twice_the_truth_and_never_below_it() {
        let mut h = Histogram::default();
        assert_eq!((h.count(), h.quantile(0.5)), (0, Duration::ZERO));
        let times: Vec<u64> = (0..1000).map(|n| n * n * n).collect();
        times.iter().for_each(|&ns| h.add(Duration::from_nanos(ns)));
        for share in [0.001, 0.01, 0.5, 0.9, 0.99, 1.0] {
            let truth = times[(1000.0 * share) as usize - 1];
            let told = h.quantile(share).as_nanos() as u64;
            assert!((truth..=2 * truth).contains(&told), "{share}: {told} for {truth}");
        }
        assert_eq!((h.count(), h.max()), (1000, Duration::from_nanos(999 * 999 * 999)));
        h.add(Duration::MAX);
        assert_eq!(h.max(), Duration::MAX);
    }
}
