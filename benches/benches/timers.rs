//! A million timers: the wheel beside a sorted map and tokio-util's `DelayQueue`.
//!
//! Rules:
//! * Each operation is timed at a million others, in random order: what a cache forgets, counts.
//! * `lazy` is what a message of a connection costs: its deadline moves ahead, and the timer behind
//!   it only when that fires, sixty messages later here.

use criterion::{Criterion, criterion_group, criterion_main};
use loopwork_reactor::{Id, Instant, TimerKey, Timers};
use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, Instant as Clock};
use tokio_util::time::{DelayQueue, delay_queue};

/// Timers that are there.
const MANY: u64 = 1_000_000;
/// Timers that one measurement adds or takes away: a small part of those that are there.
const SOME: u64 = 20_000;
/// They are due within a minute: the idle timeouts of connections.
const SPAN: u64 = 60_000_000_000;

/// A sequence without a pattern, the same for all.
fn scatter(i: u64) -> u64 {
    let mut z = i.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z ^ (z >> 27)
}

fn at(i: u64) -> Instant {
    Instant(1 + scatter(i) % SPAN)
}

/// What each of the three can do.
trait Queue {
    type Key;
    fn arm(&mut self, i: u64) -> Self::Key;
    fn rearm(&mut self, key: Self::Key, i: u64) -> Self::Key;
    fn cancel(&mut self, key: Self::Key);
}

impl Queue for Timers {
    type Key = TimerKey;
    fn arm(&mut self, i: u64) -> TimerKey {
        Timers::arm(self, at(i), Id { birth: i, slot: 0, driver: 0 })
    }
    fn rearm(&mut self, key: TimerKey, i: u64) -> TimerKey {
        Timers::rearm(self, key, at(i)).expect("armed")
    }
    fn cancel(&mut self, key: TimerKey) {
        assert!(Timers::cancel(self, key));
    }
}

impl Queue for BTreeMap<(Instant, u64), ()> {
    type Key = (Instant, u64);
    fn arm(&mut self, i: u64) -> Self::Key {
        self.insert((at(i), i), ());
        (at(i), i)
    }
    fn rearm(&mut self, key: Self::Key, i: u64) -> Self::Key {
        self.cancel(key);
        self.arm(i)
    }
    fn cancel(&mut self, key: Self::Key) {
        assert!(self.remove(&key).is_some());
    }
}

impl Queue for DelayQueue<u64> {
    type Key = delay_queue::Key;
    fn arm(&mut self, i: u64) -> Self::Key {
        self.insert(i, Duration::from_nanos(at(i).0))
    }
    fn rearm(&mut self, key: Self::Key, i: u64) -> Self::Key {
        self.reset(&key, Duration::from_nanos(at(i).0));
        key
    }
    fn cancel(&mut self, key: Self::Key) {
        self.remove(&key);
    }
}

fn three<Q: Queue>(c: &mut Criterion, name: &str, mut queue: Q) {
    let mut keys: Vec<Q::Key> = (0..MANY).map(|i| queue.arm(i)).collect();
    let mut n = MANY;
    let mut group = c.benchmark_group(format!("timers/{name}"));
    let (mut arming, mut cancelling) = (Duration::ZERO, Duration::ZERO);
    // In turns, so that there are always about as many; each is timed by itself.
    let mut round = |keys: &mut Vec<Q::Key>| {
        let mut new = Vec::with_capacity(SOME as usize);
        let begun = Clock::now();
        for i in n..n + SOME {
            new.push(queue.arm(i));
        }
        arming = begun.elapsed();
        let mut old = Vec::with_capacity(SOME as usize);
        for (i, key) in (n..).zip(new) {
            let slot = (scatter(!i) % MANY) as usize;
            old.push(std::mem::replace(&mut keys[slot], key));
        }
        let begun = Clock::now();
        for key in old {
            queue.cancel(key);
        }
        cancelling = begun.elapsed();
        n += SOME;
        (arming, cancelling)
    };
    for (what, cancel) in [("arm", false), ("cancel", true)] {
        group.bench_function(what, |b| {
            b.iter_custom(|times| {
                let rounds = times.div_ceil(SOME).max(1);
                let mut all = Duration::ZERO;
                for _ in 0..rounds {
                    let (arming, cancelling) = round(&mut keys);
                    all += if cancel { cancelling } else { arming };
                }
                all.mul_f64(times as f64 / (rounds * SOME) as f64)
            });
        });
    }
    let mut keys: Vec<_> = keys.into_iter().map(Some).collect();
    group.bench_function("rearm", |b| {
        b.iter(|| {
            n += 1;
            let slot = (scatter(!n) % MANY) as usize;
            let key = keys[slot].take().expect("armed");
            keys[slot] = Some(queue.rearm(key, n));
        });
    });
    group.finish();
}

/// A connection's deadline, and the timer that stands somewhere before it.
struct Lazy {
    deadline: Instant,
    key: TimerKey,
}

fn lazy(c: &mut Criterion) {
    // Each connection hears something every second, and may be idle for a minute.
    const STEP: u64 = 1_000_000_000 / MANY;
    let mut timers = Timers::default();
    let mut all: Vec<Lazy> = (0..MANY)
        .map(|i| {
            let id = Id { birth: 1, slot: i as u32, driver: 0 };
            Lazy { deadline: at(i), key: timers.arm(at(i), id) }
        })
        .collect();
    let (mut now, mut fired) = (0, 0_u64);
    let mut message = |n: u64| {
        now += STEP;
        let it = &mut all[(scatter(n) % MANY) as usize];
        it.deadline = Instant(now + SPAN);
        if n.is_multiple_of(64) {
            // A turn of 64 messages: what is due moves to where its deadline is by now.
            for _ in 0..timers.advance(Instant(now)) {
                let id = timers.pop().expect("due");
                let it = &mut all[id.slot as usize];
                it.key = timers.arm(it.deadline.max(Instant(now + STEP)), id);
                fired += 1;
            }
        }
    };
    let mut n = 0;
    // The first minute: from then on as many fire as do for ever.
    while n < 60 * MANY {
        n += 1;
        message(n);
    }
    let mut group = c.benchmark_group("timers/wheel");
    group.bench_function("lazy", |b| {
        b.iter(|| {
            n += 1;
            message(black_box(n));
        });
    });
    group.finish();
    assert!(fired > MANY / 2, "timers fire too: {fired}");
    assert!(all.iter().all(|it| it.key != TimerKey::NONE));
}

fn benches(c: &mut Criterion) {
    lazy(c);
    three(c, "wheel", Timers::default());
    three(c, "btree", BTreeMap::new());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.expect("a runtime");
    let _inside = runtime.enter();
    three(c, "delay-queue", DelayQueue::new());
}

criterion_group! {
    name = all;
    config = Criterion::default().sample_size(20).measurement_time(Duration::from_secs(3));
    targets = benches
}
criterion_main!(all);
