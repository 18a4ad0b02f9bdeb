//! A million timers: the wheel beside a sorted map and tokio-util's `DelayQueue`.
//!
//! Rules:
//! * Deadlines have no order. `arm` goes from none to a million; `cancel` takes them all, and
//!   `rearm` moves one of them, in an order that is another still: what a cache forgets, counts.
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

/// Arms a million, and cancels them; how long each took.
fn round<Q: Queue>(queue: &mut Q) -> (Duration, Duration) {
    let begun = Clock::now();
    let keys: Vec<Q::Key> = (0..MANY).map(|i| queue.arm(i)).collect();
    let armed = begun.elapsed();
    // By an odd number, so that each is met once.
    let mut keys: Vec<_> = keys.into_iter().map(Some).collect();
    let order = |i: u64| (i.wrapping_mul(611_953) % MANY) as usize;
    let keys: Vec<_> = (0..MANY).map(|i| keys[order(i)].take().expect("met once")).collect();
    let begun = Clock::now();
    for key in keys {
        queue.cancel(key);
    }
    (armed, begun.elapsed())
}

fn three<Q: Queue>(c: &mut Criterion, name: &str, new: impl Fn() -> Q) {
    let mut group = c.benchmark_group(format!("timers/{name}"));
    for (what, cancel) in [("arm", false), ("cancel", true)] {
        group.bench_function(what, |b| {
            b.iter_custom(|times| {
                let rounds = times.div_ceil(MANY).max(1);
                let mut all = Duration::ZERO;
                for _ in 0..rounds {
                    let (arming, cancelling) = round(&mut new());
                    all += if cancel { cancelling } else { arming };
                }
                all.mul_f64(times as f64 / (rounds * MANY) as f64)
            });
        });
    }
    let (mut queue, mut n) = (new(), MANY);
    let mut keys: Vec<_> = (0..MANY).map(|i| Some(queue.arm(i))).collect();
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
