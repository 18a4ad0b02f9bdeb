//! The timing wheel against a sorted map: the same deadlines, the same order, never early, never
//! a wait that is too long, never a wait that leads nowhere.

use loopwork_reactor::{Id, Instant, TimerKey, Timers};
use proptest::prelude::*;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Ticks as the documentation has them: 1,024 ns each, deadlines rounded up, the end of time
/// the last whole one.
const TICK: u64 = 1024;
const LAST: u64 = u64::MAX / TICK;

fn tick(at: u64) -> u64 {
    at.div_ceil(TICK).min(LAST)
}

fn id(n: u64) -> Id {
    Id { birth: n, slot: n as u32, driver: 7 }
}

#[derive(Clone, Debug)]
enum Op {
    Arm(u64),
    ArmPast(u64),
    Cancel(usize),
    Rearm(usize, u64),
    Advance(u64),
    WaitForNext,
    Pop(usize),
}

/// Spans of every magnitude: within a tick, about a slot's border, years, the end of time.
fn span() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..4 * TICK,
        (0u32..64, 0u64..3).prop_map(|(bits, off)| (1u64 << bits).saturating_add(off)),
        (0u32..54, 0u64..3).prop_map(|(bits, off)| ((1u64 << bits) * TICK).wrapping_sub(off)),
        any::<u64>().prop_map(|n| n >> (n % 61)),
        Just(u64::MAX),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        5 => span().prop_map(Op::Arm),
        1 => span().prop_map(Op::ArmPast),
        2 => any::<usize>().prop_map(Op::Cancel),
        2 => (any::<usize>(), span()).prop_map(|(i, s)| Op::Rearm(i, s)),
        2 => span().prop_map(|s| Op::Advance(s % (1 << 45))),
        1 => span().prop_map(Op::Advance),
        4 => Just(Op::WaitForNext),
        3 => (0usize..40).prop_map(Op::Pop),
    ]
}

/// What the wheel must do, in the plainest way.
#[derive(Default)]
struct Model {
    now: u64,
    seq: u64,
    /// By tick, then by arming.
    armed: BTreeMap<(u64, u64), u64>,
    due: VecDeque<u64>,
    /// Where each timer is; gone when it fired or was cancelled.
    place: BTreeMap<u64, (u64, u64)>,
}

impl Model {
    fn place(&mut self, n: u64, at: u64) {
        self.seq += 1;
        let key = (tick(at), self.seq);
        self.place.insert(n, key);
        if key.0 <= self.now / TICK {
            self.due.push_back(n);
        } else {
            self.armed.insert(key, n);
        }
    }

    fn remove(&mut self, n: u64) -> bool {
        let Some(key) = self.place.remove(&n) else { return false };
        if self.armed.remove(&key).is_none() {
            self.due.retain(|&d| d != n);
        }
        true
    }

    fn advance(&mut self, now: u64) {
        self.now = self.now.max(now);
        while let Some((&key, &n)) = self.armed.first_key_value() {
            if key.0 > self.now / TICK {
                break;
            }
            self.armed.remove(&key);
            self.due.push_back(n);
        }
    }

    fn pop(&mut self) -> Option<u64> {
        let n = self.due.pop_front()?;
        self.place.remove(&n);
        Some(n)
    }
}

#[derive(Default)]
struct Both {
    wheel: Timers,
    model: Model,
    keys: Vec<TimerKey>,
}

impl Both {
    fn arm(&mut self, at: u64) {
        let n = self.keys.len() as u64;
        self.keys.push(self.wheel.arm(Instant(at), id(n)));
        self.model.place(n, at);
    }

    fn advance(&mut self, now: u64) {
        self.model.advance(now);
        let due = self.wheel.advance(Instant(now));
        assert_eq!(due, self.model.due.len(), "due at {now}");
    }

    fn run(&mut self, op: &Op) {
        let now = self.model.now;
        match *op {
            Op::Arm(span) => self.arm(now.saturating_add(span)),
            Op::ArmPast(span) => self.arm(now.saturating_sub(span)),
            Op::Cancel(i) if !self.keys.is_empty() => {
                let n = i % self.keys.len();
                assert_eq!(self.wheel.cancel(self.keys[n]), self.model.remove(n as u64));
                assert!(!self.wheel.cancel(self.keys[n]), "a stale key");
            }
            Op::Rearm(i, span) if !self.keys.is_empty() => {
                let (n, at) = (i % self.keys.len(), now.saturating_add(span));
                let moved = self.wheel.rearm(self.keys[n], Instant(at));
                assert_eq!(moved.is_some(), self.model.remove(n as u64));
                if let Some(key) = moved {
                    self.keys[n] = key;
                    self.model.place(n as u64, at);
                }
            }
            Op::Advance(span) => self.advance(now.saturating_add(span)),
            Op::WaitForNext => self.wait_for_next(),
            Op::Pop(count) => {
                for _ in 0..count {
                    assert_eq!(self.wheel.pop(), self.model.pop().map(id));
                }
            }
            Op::Cancel(_) | Op::Rearm(..) => {}
        }
        assert_eq!(self.wheel.len(), self.model.place.len());
        assert_eq!(self.wheel.is_empty(), self.model.place.is_empty());
        self.check_next();
    }

    /// Not after the earliest deadline; a time that is over only when something is due.
    fn check_next(&self) {
        let next = self.wheel.next();
        if !self.model.due.is_empty() {
            assert!(next.is_some_and(|at| at.0 <= self.model.now));
        } else if let Some((&(tick, _), _)) = self.model.armed.first_key_value() {
            let next = next.expect("something is armed").0;
            assert!(next <= tick.saturating_mul(TICK), "too late: {next} for tick {tick}");
            assert!(next > self.model.now, "busy: {next} at {}", self.model.now);
        } else {
            assert_eq!(next, None);
        }
    }

    /// As the loop waits: each wait ends with something due or a later time to wait for, and
    /// there are no more such waits than the wheel has levels.
    fn wait_for_next(&mut self) {
        for _ in 0..=9 {
            let Some(next) = self.wheel.next() else { return };
            self.advance(self.model.now.max(next.0));
            if !self.model.due.is_empty() {
                return;
            }
            assert!(self.wheel.next().is_some_and(|later| later > next), "the wait was in vain");
        }
        panic!("more waits than levels");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn hostile_09_wheel_is_a_sorted_map(ops in prop::collection::vec(op(), 1..120)) {
        let mut both = Both::default();
        for op in &ops {
            both.run(op);
        }
        both.advance(u64::MAX);
        while let Some(n) = both.model.pop() {
            assert_eq!(both.wheel.pop(), Some(id(n)));
        }
        assert_eq!(both.wheel.pop(), None);
        assert!(both.wheel.is_empty());
        assert_eq!(both.wheel.next(), None);
    }
}

#[test]
fn hostile_10_the_end_of_time_is_no_trap() {
    let mut timers = Timers::default();
    let never = Instant(5).after(Duration::MAX);
    assert_eq!(never, Instant::NEVER);
    let first = timers.arm(never, id(1));
    timers.arm(Instant(u64::MAX - 1), id(2));
    assert_eq!(timers.advance(Instant(u64::MAX / 2)), 0);
    assert_eq!(timers.rearm(first, Instant::NEVER), Some(first));
    assert!(timers.next().is_some_and(|at| at > Instant(u64::MAX / 2)));
    assert!(timers.cancel(first));
    assert_eq!(timers.advance(Instant::NEVER), 1);
    assert_eq!(timers.pop(), Some(id(2)));
}

#[test]
fn hostile_10_past_and_present_deadlines_are_due_at_the_next_look() {
    let mut timers = Timers::default();
    timers.advance(Instant(10_000_000));
    for (n, at) in [(1, 0), (2, 1), (3, 9_990_000), (4, 10_000_000 / TICK * TICK)] {
        timers.arm(Instant(at), id(n));
    }
    assert_eq!(timers.next(), Some(Instant(0)));
    assert_eq!(timers.advance(Instant(10_000_000)), 4);
    let order: Vec<_> = std::iter::from_fn(|| timers.pop()).collect();
    assert_eq!(order, [1, 2, 3, 4].map(id), "in the order of arming");
}

#[test]
fn time_that_goes_back_moves_nothing() {
    let mut timers = Timers::default();
    timers.advance(Instant(1 << 40));
    timers.arm(Instant((1 << 40) + 5_000), id(1));
    assert_eq!(timers.advance(Instant(3)), 0);
    assert_eq!(timers.advance(Instant((1 << 40) + 4_000)), 0);
    assert_eq!(timers.advance(Instant((1 << 40) + 6_000)), 1);
}

#[test]
fn keys_of_timers_that_are_over_do_nothing_to_their_successors() {
    let mut timers = Timers::default();
    let first = timers.arm(Instant(1), id(1));
    timers.advance(Instant(TICK));
    assert_eq!(timers.pop(), Some(id(1)));
    let second = timers.arm(Instant(1 << 30), id(2));
    assert_ne!(first, second, "the slot is used again, the key is not");
    assert!(!timers.cancel(first));
    assert_eq!(timers.rearm(first, Instant(0)), None);
    assert!(!timers.cancel(TimerKey::NONE));
    assert_eq!(timers.rearm(TimerKey::NONE, Instant(0)), None);
    assert_eq!(timers.advance(Instant((1 << 30) - 1)), 0, "the second stands where it stood");
    assert!(timers.cancel(second));
    assert!(timers.is_empty());
}

/// A cheap sequence without a pattern that the wheel could like.
fn mix(n: u64) -> u64 {
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    n ^ (n >> 27)
}

#[test]
fn hostile_09_a_million_timers_fire_in_order_and_churn_leaves_nothing() {
    const MANY: u64 = 1_000_000;
    const HOUR: u64 = 3_600_000_000_000;
    let mut timers = Timers::default();
    let at = |n: u64| 1 + mix(n) % HOUR;
    let keys: Vec<_> = (0..MANY).map(|n| timers.arm(Instant(at(n)), id(n))).collect();
    for (n, key) in keys.iter().enumerate() {
        match n % 3 {
            0 => assert!(timers.cancel(*key)),
            1 => assert!(timers.rearm(*key, Instant(at(n as u64) + HOUR)).is_some()),
            _ => {}
        }
    }
    let (mut fired, mut last) = (0, (0, 0));
    while let Some(next) = timers.next() {
        timers.advance(next);
        while let Some(who) = timers.pop() {
            let n = who.birth;
            let moved = n % 3 == 1;
            let tick = tick(at(n) + if moved { HOUR } else { 0 });
            assert!(tick * TICK <= next.0, "early");
            // The moved ones were armed behind the others, in turn.
            let order = (tick, n + if moved { MANY } else { 0 });
            assert!(last < order, "{last:?} before {order:?}");
            last = order;
            fired += 1;
        }
    }
    assert_eq!(fired, MANY - MANY.div_ceil(3));
    assert!(timers.is_empty());
}
