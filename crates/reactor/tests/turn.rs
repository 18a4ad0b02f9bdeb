//! The turn, phase by phase, in a world without sockets whose clock stands still unless moved:
//! who is served when, what keeps the loop running, what the tracer is told.

use loopwork_reactor::{
    CallKey, Cx, Driver, Env, Fd, Handle, Id, Instant, Loop, Mail, Mailbox, READ_BUFFER, Ready,
    TIMERS_PER_TURN, Trace, Tracer, World, blocking,
};
use std::any::Any;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// A world in which nothing happens but what the test says.
struct Still {
    now: Instant,
    /// What the next poll tells.
    next: Vec<Ready>,
    /// Until when each poll would have waited.
    waits: Vec<Option<Instant>>,
    mailbox: Option<Mailbox>,
    rung: Arc<AtomicU32>,
    letters: bool,
}

impl Still {
    /// A turn's time and a multiple of the wheel's tick: the strictest of all times.
    const START: Instant = Instant(1 << 20);

    fn new() -> Still {
        let rung = Arc::default();
        let (next, waits, mailbox, letters) = (Vec::new(), Vec::new(), None, false);
        Still { now: Self::START, next, waits, mailbox, rung, letters }
    }
}

impl World for Still {
    fn now(&mut self) -> Instant {
        self.now
    }
    /// Waiting is time that passes.
    fn poll(&mut self, until: Option<Instant>, ready: &mut Vec<Ready>) -> io::Result<()> {
        self.waits.push(until);
        ready.append(&mut self.next);
        if self.rung.swap(0, Ordering::Relaxed) > 0 {
            ready.push(self::ready(Id::MAIL));
            self.letters = true;
        }
        if ready.is_empty() {
            self.now = self.now.max(until.expect("a wait without end"));
        }
        Ok(())
    }
    fn random(&mut self, into: &mut [u8]) {
        into.fill(4);
    }
    fn close(&mut self, _: Fd) {}
    fn watch_signals(&mut self, _: &[i32], _: Id) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn next_signal(&mut self, _: Id) -> Option<i32> {
        None
    }
    fn mailbox(&mut self) -> io::Result<Mailbox> {
        let rung = self.rung.clone();
        let new = || Mailbox::new(move || rung.store(1, Ordering::Relaxed));
        Ok(self.mailbox.get_or_insert_with(new).clone())
    }
    fn mail(&mut self, into: &mut Vec<Mail>) {
        assert!(std::mem::take(&mut self.letters), "mail is taken when it was announced");
        self.mailbox.as_ref().expect("announced").take(into);
    }
}

fn ready(id: Id) -> Ready {
    Ready { id, readable: true, writable: false, closed: false, gone: false }
}

/// What happened, in order. Kept in the environment, where drivers and calls both reach it.
#[derive(Default)]
struct Log(Vec<String>);

fn log(env: &mut Env, what: impl Into<String>) {
    env.shared.one::<Log>().0.push(what.into());
}

fn taken(lp: &mut Loop<Still>) -> Vec<String> {
    std::mem::take(&mut lp.env.shared.one::<Log>().0)
}

/// Writes down every call; what it does then is the test's.
struct Scribe {
    name: &'static str,
    then: fn(&mut Env, Id, &str),
}

impl Scribe {
    fn note(&mut self, cx: &mut Cx<'_, Still>, id: Id, what: &str) {
        assert_eq!(cx.buffer.len(), READ_BUFFER);
        log(cx.env, format!("{} {what} {}#{}", self.name, id.slot, id.birth));
        (self.then)(cx.env, id, what);
    }
}

impl Driver<Still> for Scribe {
    fn on_ready(&mut self, cx: &mut Cx<'_, Still>, ready: Ready) {
        self.note(cx, ready.id, "ready");
    }
    fn on_again(&mut self, cx: &mut Cx<'_, Still>, id: Id) {
        self.note(cx, id, "again");
    }
    fn on_timer(&mut self, cx: &mut Cx<'_, Still>, id: Id) {
        self.note(cx, id, "timer");
    }
    fn on_wake(&mut self, cx: &mut Cx<'_, Still>, id: Id) {
        self.note(cx, id, "wake");
    }
    fn on_post(&mut self, cx: &mut Cx<'_, Still>, mail: Box<dyn Any>) {
        let what = mail.downcast::<&str>().expect("this test posts words");
        self.note(cx, Id::NOBODY, &format!("post {what}"));
    }
}

fn scribe(
    name: &'static str,
    then: fn(&mut Env, Id, &str),
) -> (Loop<Still>, Handle<Scribe>, impl Fn(u64) -> Id) {
    let mut lp = Loop::new(Still::new());
    let handle = lp.add(|_| Scribe { name, then });
    let driver = handle.driver;
    (lp, handle, move |n| Id { birth: 100 + n, slot: n as u32, driver })
}

const ZERO: Option<Duration> = Some(Duration::ZERO);

#[test]
fn phases_come_in_their_order() {
    let (mut lp, a, id) = scribe("a", |_, _, _| {});
    lp.mailbox().unwrap().wake(id(5));
    lp.env.calls.post(a.driver, Box::new("p"));
    lp.env.wake(id(4));
    lp.env.calls.timers.arm(Instant(1), id(3));
    lp.env.calls.again(id(2));
    lp.world.next.push(ready(id(1)));
    lp.turn(None).unwrap();
    let want = ["ready 1", "again 2", "timer 3", "wake 4", "wake 5"].iter();
    let mut want: Vec<_> = want.zip(1..).map(|(w, n)| format!("a {w}#{}", 100 + n)).collect();
    want.push(format!("a post p {}#0", Id::NOBODY.slot));
    assert_eq!(taken(&mut lp), want);
    assert_eq!(lp.world.waits, [Some(Instant(0))], "work waits: no wait");
}

#[test]
fn what_a_phase_asks_of_itself_comes_in_the_next_turn() {
    let (mut lp, a, id) = scribe("a", |env, id, what| match what {
        "again" => env.calls.again(id),
        "wake" => env.wake(id),
        "timer" => drop(env.calls.timers.arm(Instant(0), id)),
        _ => env.calls.post(0, Box::new("more")),
    });
    assert_eq!(a.driver, 0);
    for turn in 0..3 {
        if turn == 0 {
            lp.env.calls.again(id(1));
            lp.env.calls.timers.arm(Instant(0), id(2));
            lp.env.wake(id(3));
            lp.env.calls.post(0, Box::new("more"));
        }
        lp.turn(None).unwrap();
        let got = taken(&mut lp);
        assert_eq!(got[..3], ["a again 1#101", "a timer 2#102", "a wake 3#103"]);
        assert_eq!(got.len(), 4, "one round of each: {got:?}");
    }
}

/// Or a budget for each turn would be two.
#[test]
fn hostile_07_who_spends_its_budget_goes_on_in_the_next_turn() {
    let (mut lp, _, id) = scribe("a", |env, id, what| {
        if what == "ready" {
            env.calls.again(id);
        }
    });
    lp.world.next.push(ready(id(1)));
    lp.turn(None).unwrap();
    assert_eq!(taken(&mut lp), ["a ready 1#101"]);
    lp.world.next.push(ready(id(2)));
    lp.turn(None).unwrap();
    assert_eq!(taken(&mut lp), ["a ready 2#102", "a again 1#101"], "behind the others");
}

#[test]
fn wakes_of_earlier_phases_come_in_the_same_turn_and_once() {
    let (mut lp, _, id) = scribe("a", |env, id, what| {
        if what == "ready" {
            let one = Id { slot: 9, birth: 109, ..id };
            (0..1000).for_each(|_| env.wake(one));
        }
    });
    lp.world.next = vec![ready(id(1)), ready(id(2))];
    lp.turn(ZERO).unwrap();
    assert_eq!(taken(&mut lp), ["a ready 1#101", "a ready 2#102", "a wake 9#109"]);
    assert!(!lp.env.calls.alive());
    lp.env.wake(id(9));
    lp.turn(ZERO).unwrap();
    assert_eq!(taken(&mut lp), ["a wake 9#109"], "woken anew");
}

#[test]
fn wakes_of_two_births_of_one_slot_are_both_told() {
    let (mut lp, _, id) = scribe("a", |_, _, _| {});
    let younger = Id { birth: 999, ..id(1) };
    lp.env.wake(id(1));
    lp.env.wake(younger);
    lp.env.wake(younger);
    lp.turn(None).unwrap();
    assert_eq!(taken(&mut lp), ["a wake 1#101", "a wake 1#999"], "which is stale, the driver says");
}

#[test]
fn foolish_ids_miss_and_cost_nothing() {
    let (mut lp, _, id) = scribe("a", |_, _, _| {});
    lp.env.wake(Id::NOBODY);
    lp.env.wake(Id { driver: 40_000, ..id(1) });
    lp.env.wake(Id { slot: u32::MAX, ..id(1) });
    lp.env.calls.again(Id::NOBODY);
    lp.env.calls.post(12_345, Box::new("nobody's"));
    lp.world.next.push(ready(Id { driver: 77, ..id(1) }));
    lp.turn(None).unwrap();
    assert_eq!(taken(&mut lp), [format!("a wake {}#101", u32::MAX)]);
    assert!(!lp.env.calls.alive());
}

#[test]
fn a_storm_of_timers_is_served_by_the_turn() {
    let (mut lp, _, id) = scribe("a", |_, _, _| {});
    for n in 0..TIMERS_PER_TURN as u64 + 10 {
        lp.env.calls.timers.arm(Instant(5), id(n));
    }
    lp.turn(None).unwrap();
    assert_eq!(taken(&mut lp).len(), TIMERS_PER_TURN);
    lp.turn(None).unwrap();
    assert_eq!(taken(&mut lp).len(), 10);
    assert!(lp.world.waits.iter().all(|wait| wait.unwrap() <= Still::START));
}

#[test]
fn a_wait_ends_with_the_first_deadline_or_the_callers() {
    let (mut lp, _, id) = scribe("a", |_, _, _| {});
    let start = Still::START;
    lp.env.calls.timers.arm(start.after(Duration::from_millis(50)), id(1));
    lp.turn(Some(Duration::from_millis(20))).unwrap();
    assert_eq!(lp.env.now, start.after(Duration::from_millis(20)));
    assert_eq!(taken(&mut lp), [""; 0]);
    lp.turn(Some(Duration::MAX)).unwrap();
    assert_eq!(taken(&mut lp), ["a timer 1#101"]);
    let late = lp.env.now.since(start);
    assert!((50_000..50_002).contains(&late.as_micros()), "{late:?}");
}

#[test]
fn run_ends_when_nothing_is_left() {
    let (mut lp, ..) = scribe("a", |_, _, _| {});
    lp.run().unwrap();
    assert!(lp.world.waits.is_empty(), "nothing at all: no turn");
    lp.env.after(Duration::from_secs(1), |env| {
        log(env, "first");
        env.after(Duration::from_secs(3600), |env| log(env, "second"));
    });
    lp.run().unwrap();
    assert_eq!(taken(&mut lp), ["first", "second"]);
    assert!(lp.env.now >= Still::START.after(Duration::from_secs(3601)));
    assert!(lp.env.calls.timers.is_empty());
}

#[test]
fn cancel_and_unref_end_the_wait_for_a_call() {
    let (mut lp, ..) = scribe("a", |_, _, _| {});
    let kept = lp.env.after(Duration::from_secs(9), |env| log(env, "kept"));
    let gone = lp.env.after(Duration::from_secs(5), |env| log(env, "gone"));
    assert!(lp.env.calls.cancel(gone));
    assert!(!lp.env.calls.cancel(gone), "twice");
    lp.env.calls.unref(gone);
    assert!(lp.env.calls.alive());
    lp.env.calls.unref(kept);
    lp.env.calls.unref(kept);
    assert!(!lp.env.calls.alive());
    lp.run().unwrap();
    assert_eq!(taken(&mut lp), [""; 0]);
    // Something else keeps the loop running: then the call comes after all.
    lp.env.after(Duration::from_secs(10), |env| log(env, "last"));
    lp.run().unwrap();
    assert_eq!(taken(&mut lp), ["kept", "last"]);
    assert!(!lp.env.calls.cancel(kept), "it has been called");
}

#[test]
fn a_call_that_was_let_go_is_held_again_and_says_when_it_is_due() {
    let (mut lp, ..) = scribe("a", |_, _, _| {});
    let at = lp.env.now.after(Duration::from_secs(9));
    let key = lp.env.after(Duration::from_secs(9), |env| log(env, "called"));
    lp.env.calls.unref(key);
    assert!(!lp.env.calls.alive());
    lp.env.calls.re_ref(key);
    lp.env.calls.re_ref(key);
    assert!(lp.env.calls.alive());
    assert_eq!(lp.env.calls.due(key), Some(at));
    lp.run().unwrap();
    assert_eq!(taken(&mut lp), ["called"]);
    assert!(!lp.env.calls.alive(), "held once, let go once");
    assert_eq!(lp.env.calls.due(key), None);
    lp.env.calls.re_ref(key);
    assert!(!lp.env.calls.alive(), "what is over holds nothing");
}

#[test]
fn a_stale_call_key_does_nothing_to_its_successor() {
    let (mut lp, ..) = scribe("a", |_, _, _| {});
    let old = lp.env.after(Duration::ZERO, |env| {
        let own = *env.shared.one::<Option<CallKey>>();
        assert!(!env.calls.cancel(own.expect("set below")), "from inside itself");
        env.after(Duration::from_secs(1), |env| log(env, "new"));
    });
    *lp.env.shared.one() = Some(old);
    lp.turn(None).unwrap();
    assert!(!lp.env.calls.cancel(old));
    lp.env.calls.unref(old);
    assert!(lp.env.calls.alive());
    lp.run().unwrap();
    assert_eq!(taken(&mut lp), ["new"]);
}

/// At every time, also at one that the wheel's ticks meet exactly.
#[test]
fn a_call_after_nothing_comes_in_the_next_turn() {
    for offset in [0, 1, 1023] {
        let (mut lp, _, id) = scribe("a", |env, _, _| {
            env.after(Duration::ZERO, |env| log(env, "called"));
        });
        lp.world.now.0 += offset;
        lp.world.next.push(ready(id(1)));
        lp.turn(ZERO).unwrap();
        assert_eq!(taken(&mut lp), ["a ready 1#101"], "at {offset}");
        lp.turn(None).unwrap();
        assert_eq!(taken(&mut lp), ["called"], "at {offset}");
    }
}

#[test]
fn stop_ends_run_after_its_turn() {
    let (mut lp, _, id) = scribe("a", |env, _, what| {
        if what == "ready" {
            env.calls.stop();
        }
    });
    lp.env.calls.hold();
    lp.world.next.push(ready(id(1)));
    lp.env.wake(id(2));
    lp.run().unwrap();
    assert_eq!(taken(&mut lp), ["a ready 1#101", "a wake 2#102"]);
    assert!(lp.env.calls.stopping());
    lp.env.calls.release();
}

#[test]
fn hold_and_release_are_counted() {
    let (mut lp, ..) = scribe("a", |_, _, _| {});
    lp.env.calls.hold();
    lp.env.calls.hold();
    lp.env.calls.release();
    assert!(lp.env.calls.alive());
    lp.env.calls.release();
    assert!(!lp.env.calls.alive());
}

struct Notes(Vec<(Instant, Id, Trace)>);

impl Tracer for Notes {
    fn note(&mut self, at: Instant, id: Id, what: Trace) {
        self.0.push((at, id, what));
    }
    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

#[test]
fn a_tracer_sees_the_notes_while_it_is_set() {
    let (mut lp, _, id) = scribe("a", |env, id, _| env.note(id, Trace::Say("hello")));
    assert!(lp.trace(Some(Box::new(Notes(Vec::new())))).is_none());
    lp.world.next = vec![ready(id(1)), ready(id(2))];
    lp.turn(ZERO).unwrap();
    let notes = lp.trace(None).expect("it was set").into_any().downcast::<Notes>().unwrap();
    lp.world.next = vec![ready(id(1))];
    lp.turn(ZERO).unwrap();
    let at = Still::START;
    let say = Trace::Say("hello");
    assert_eq!(notes.0, [(at, Id::NOBODY, Trace::Turn(2)), (at, id(1), say), (at, id(2), say)]);
}

#[test]
fn drivers_are_reached_by_their_handles() {
    let (mut lp, a, id) = scribe("a", |_, _, _| {});
    let b = lp.add(|handle| {
        assert_eq!(handle.driver, 1);
        Scribe { name: "b", then: |_, _, _| {} }
    });
    lp.env.wake(Id { driver: b.driver, ..id(1) });
    lp.turn(None).unwrap();
    assert_eq!(taken(&mut lp), ["b wake 1#101"]);
    assert_eq!((lp.get(a).name, lp.get(b).name), ("a", "b"));
    let name = lp.with(b, |driver, cx| {
        cx.env.calls.post(0, Box::new("from b"));
        driver.name
    });
    lp.turn(None).unwrap();
    assert_eq!(name, "b");
    assert_eq!(taken(&mut lp), [format!("a post from b {}#0", Id::NOBODY.slot)]);
}

#[test]
fn shared_state_and_the_pool() {
    let (mut lp, ..) = scribe("a", |_, _, _| {});
    let (first, second) = (lp.env.shared.add(1u64), lp.env.shared.add(2u64));
    *lp.env.shared.get(first) += 10;
    assert_eq!((*lp.env.shared.get(first), *lp.env.shared.get(second)), (11, 2));
    *lp.env.shared.one::<u8>() = 7;
    assert_eq!(*lp.env.shared.one::<u8>(), 7);

    let pool = &mut lp.env.pool;
    let mut buffer = pool.take();
    buffer.extend_from_slice(&[1; 5000]);
    let at = buffer.as_ptr();
    pool.give(buffer);
    let again = pool.take();
    assert!(again.is_empty() && again.as_ptr() == at, "the same room, without its bytes");
    pool.give(Vec::with_capacity(loopwork_reactor::Pool::LARGEST + 1));
    assert_eq!(pool.take().capacity(), 0, "a large one is for who asks for it");
    assert!(pool.take_large(loopwork_reactor::Pool::LARGEST + 2).is_none(), "too small");
    assert!(pool.take_large(0).is_some() && pool.take_large(0).is_none());
    for _ in 0..100 {
        pool.give(Vec::with_capacity(loopwork_reactor::Pool::LARGE / 4));
    }
    let kept = std::iter::from_fn(|| pool.take_large(0)).count();
    assert_eq!(kept, 4, "one big message does not stay for ever");
    for _ in 0..2 * loopwork_reactor::Pool::KEEP {
        pool.give(vec![0; 8]);
    }
    let kept = std::iter::repeat_with(|| pool.take()).take_while(|b| b.capacity() > 0).count();
    assert_eq!(kept, loopwork_reactor::Pool::KEEP);
}

#[test]
fn one_seed_gives_one_stream_of_random_bytes() {
    let draw = || {
        let (mut lp, ..) = scribe("a", |_, _, _| {});
        let mut bytes = [0; 64];
        lp.env.random(&mut bytes[..13]);
        lp.env.random(&mut bytes[13..]);
        bytes
    };
    assert_eq!(draw(), draw());
    assert_ne!(draw()[..32], draw()[32..]);
}

#[test]
fn deferred_calls_end_the_turn_that_asked_and_theirs_the_next() {
    let (mut lp, _, id) = scribe("a", |env, _, what| {
        if what == "ready" {
            env.wake(Id { birth: 9, slot: 9, driver: 0 });
            env.defer(|env| {
                log(env, "deferred");
                env.defer(|env| log(env, "deferred by it"));
            });
            env.calls.post(0, Box::new("posted"));
        }
    });
    lp.world.next.push(ready(id(1)));
    lp.turn(None).unwrap();
    let posted = format!("a post posted {}#0", Id::NOBODY.slot);
    assert_eq!(taken(&mut lp), ["a ready 1#101", "a wake 9#9", "deferred", &posted]);
    assert!(lp.env.calls.alive());
    assert_eq!(lp.next_deadline(), Some(Instant(0)), "work waits");
    lp.run().unwrap();
    assert_eq!(taken(&mut lp), ["deferred by it"]);
    assert_eq!(lp.next_deadline(), None);
}

#[test]
fn a_beat_is_kept_and_beats_that_were_missed_are_left_out() {
    const BEAT: Duration = Duration::from_millis(10);
    let (mut lp, ..) = scribe("a", |_, _, _| {});
    let mut calls = 0;
    lp.env.every(BEAT, move |env| {
        let at = env.now.since(Still::START).as_micros() / 100;
        log(env, at.to_string());
        calls += 1;
        if calls == 5 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert_eq!(lp.next_deadline(), Some(Still::START.after(Duration::from_nanos(10_000_384))));
    lp.turn(None).unwrap();
    // Held up for three beats and a half: one call, and the next on the beat.
    lp.world.now = Still::START.after(Duration::from_millis(45));
    for _ in 0..3 {
        lp.turn(ZERO).unwrap();
    }
    lp.run().unwrap();
    assert_eq!(taken(&mut lp), ["100", "450", "500", "600", "700"]);
    assert!(lp.env.calls.timers.is_empty());
}

#[test]
fn a_beat_is_cancelled_from_inside_and_holds_the_loop_unless_told() {
    let (mut lp, ..) = scribe("a", |_, _, _| {});
    let key = lp.env.every(Duration::ZERO, |env| {
        log(env, "beat");
        let own = env.shared.one::<Option<CallKey>>().expect("set below");
        if env.now > Still::START {
            assert!(env.calls.cancel(own), "its next beat is taken back");
            assert!(!env.calls.cancel(own));
        }
        ControlFlow::Continue(())
    });
    *lp.env.shared.one() = Some(key);
    lp.run().unwrap();
    assert_eq!(taken(&mut lp), ["beat"]);
    let key = lp.env.every(Duration::from_secs(1), |env| {
        log(env, "tick");
        ControlFlow::Continue(())
    });
    lp.env.calls.unref(key);
    assert!(!lp.env.calls.alive());
    lp.env.after(Duration::from_millis(2500), |_| {});
    lp.run().unwrap();
    assert_eq!(taken(&mut lp), ["tick", "tick"]);
    assert!(lp.env.calls.cancel(key));
    assert!(lp.env.calls.timers.is_empty());
}

#[test]
fn a_turn_that_waits_for_nothing_polls_without_looking_at_deadlines() {
    let (mut lp, ..) = scribe("a", |_, _, _| {});
    lp.env.after(Duration::from_secs(1), |_| {});
    lp.turn(ZERO).unwrap();
    assert_eq!(lp.world.waits, [Some(Instant(0))]);
    let next = lp.next_deadline().expect("the call");
    assert!(next >= Still::START.after(Duration::from_secs(1)));
    lp.env.calls.stop();
    assert_eq!(lp.next_deadline(), Some(Instant(0)));
}

#[test]
fn a_job_in_a_world_without_threads_runs_in_the_same_turn() {
    let (mut lp, ..) = scribe("a", |_, _, _| {});
    let job = || std::thread::current().id();
    let then = |env: &mut Env, id: Result<_, blocking::Failed>| {
        assert_eq!(id.expect("it ran"), std::thread::current().id());
        log(env, "done");
    };
    lp.env.blocking(job, then).unwrap();
    assert!(lp.env.calls.alive());
    lp.turn(None).unwrap();
    assert_eq!(taken(&mut lp), ["done"]);
    assert!(!lp.env.calls.alive());
}

#[test]
fn a_loop_that_measures_tells_waiting_from_work() {
    let (mut lp, _, id) = scribe("a", |_, _, _| {});
    assert!(lp.metrics().is_none(), "off unless asked for");
    lp.measure(true);
    lp.env.after(Duration::from_millis(30), |_| {});
    lp.turn(None).unwrap();
    // What happens between two polls is work: ten milliseconds of it.
    lp.world.now = lp.world.now.after(Duration::from_millis(10));
    lp.world.next = vec![ready(id(1)), ready(id(2))];
    lp.turn(ZERO).unwrap();
    let m = lp.metrics().expect("measured");
    assert_eq!((m.turns, m.events), (2, 2));
    assert_eq!((m.waited.as_millis(), m.worked.as_millis()), (30, 10));
    assert!((m.utilisation() - 0.25).abs() < 0.001);
    assert_eq!((m.work.count(), m.work.max().as_millis()), (1, 10));
    assert_eq!((m.late.count(), m.late.max()), (1, Duration::ZERO));
    lp.measure(true);
    assert_eq!(lp.metrics().map(|m| m.turns), Some(0), "anew");
    lp.measure(false);
    assert!(lp.metrics().is_none());
}
