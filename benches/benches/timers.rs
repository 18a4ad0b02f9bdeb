//! A million timers: the wheel beside a sorted map and tokio-util's `DelayQueue`.
//!
//! Rules:
//! * Deadlines have no order. `arm` goes from none to a million; `rearm` moves each of them once,
//!   and `cancel` takes them, each in an order of its own: what a cache forgets, counts. The memory
//!   for all of them is there before. `stirred` is the mean of the three where a round in which
//!   they came and went in such orders has left the free places anywhere.
//! * `lazy` is what a message costs a connection beside all else: its deadline moves ahead, and the
//!   timer behind it only when that fires, sixty messages later here. Connections take turns, so
//!   that what is measured is the timer; `lazy-scattered` adds a cache miss for the connection.

use criterion::{Criterion, criterion_group, criterion_main};
use loopwork_reactor::{Id, Instant, TimerKey, Timers};
use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, Instant as Clock};
use tokio_util::time::{DelayQueue, delay_queue};

/// Timers that are there.
const MANY: u64 = 1_000_000;
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

/// Arms a million, moves each of them, and cancels them: how long each took.
fn round<Q: Queue>(queue: &mut Q) -> [Duration; 3] {
    let mut keys: Vec<Option<Q::Key>> = (0..MANY).map(|_| None).collect();
    let begun = Clock::now();
    for (i, key) in (0..).zip(&mut keys) {
        *key = Some(queue.arm(i));
    }
    let armed = begun.elapsed();
    let keys = shuffled(keys.into_iter().flatten().collect(), 7_654_321);
    let begun = Clock::now();
    let keys: Vec<Q::Key> = (MANY..).zip(keys).map(|(i, key)| queue.rearm(key, i)).collect();
    let moved = begun.elapsed();
    let keys = shuffled(keys, 611_953);
    let begun = Clock::now();
    for key in keys {
        queue.cancel(key);
    }
    [armed, moved, begun.elapsed()]
}

/// All of these in another order. `step` has no divisor with their number in common, so that each
/// is met once.
fn shuffled<T>(all: Vec<T>, step: usize) -> Vec<T> {
    let mut all: Vec<_> = all.into_iter().map(Some).collect();
    let len = all.len();
    (0..len).map(|i| all[i * step % len].take().expect("met once")).collect()
}

fn three<Q: Queue>(c: &mut Criterion, name: &str, new: impl Fn() -> Q) {
    let mut group = c.benchmark_group(format!("timers/{name}"));
    let mut bench = |what: &str, queue: &dyn Fn() -> Q, part: fn([Duration; 3]) -> Duration| {
        group.bench_function(what, |b| {
            b.iter_custom(|times| {
                let rounds = times.div_ceil(MANY).max(1);
                let all: Duration = (0..rounds).map(|_| part(round(&mut queue()))).sum();
                all.mul_f64(times as f64 / (rounds * MANY) as f64)
            });
        });
    };
    let made = || {
        let mut queue = new();
        let keys: Vec<Q::Key> = (0..MANY).map(|i| queue.arm(i)).collect();
        keys.into_iter().rev().for_each(|key| queue.cancel(key));
        queue
    };
    bench("arm", &made, |[arm, _, _]| arm);
    bench("rearm", &made, |[_, rearm, _]| rearm);
    bench("cancel", &made, |[_, _, cancel]| cancel);
    let stirred = || {
        let mut queue = new();
        round(&mut queue);
        queue
    };
    bench("stirred", &stirred, |three| three.into_iter().sum::<Duration>() / 3);
    group.finish();
}

/// A connection's deadline, and the timer that stands somewhere before it.
struct Lazy {
    deadline: Instant,
    key: TimerKey,
}

fn lazy(c: &mut Criterion, name: &str, which: fn(u64) -> u64) {
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
        let it = &mut all[(which(n) % MANY) as usize];
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
    group.bench_function(name, |b| {
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
    lazy(c, "lazy", |n| n);
    lazy(c, "lazy-scattered", scatter);
    three(c, "wheel", Timers::default);
    three(c, "btree", BTreeMap::new);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.expect("a runtime");
    let _inside = runtime.enter();
    three(c, "delay-queue", DelayQueue::new);
}

criterion_group! {
    name = all;
    config = Criterion::default().sample_size(20).measurement_time(Duration::from_secs(3));
    targets = benches
}
criterion_main!(all);
