//! How exact waits are in the real world: never early, not rounded to milliseconds, and no turn
//! in vain. The bounds hold on a busy machine too: what counts is the best of as many as it takes.

use loopwork_reactor::{Id, Instant, Loop, Os, World};
use std::time::Duration;

const MICRO: Duration = Duration::from_micros(1);

/// How long a wait that is exact enough is looked for. One that is rounded to milliseconds, or
/// made longer in any other way, is so each time.
const PATIENCE: Duration = Duration::from_secs(20);

/// The best of 30 measurements; or of more, until one is below the bound, or patience ends.
fn best_of(bound: Duration, mut measure: impl FnMut() -> Duration) -> Duration {
    let begun = std::time::Instant::now();
    let mut best = (0..30).map(|_| measure()).min().expect("there are some");
    while best >= bound && begun.elapsed() < PATIENCE {
        best = best.min(measure());
    }
    best
}

fn os() -> Loop<Os> {
    Loop::new(Os::new().expect("a poll"))
}

/// Waits once by a call, and says how late it was and how many turns it took.
fn wait_once(lp: &mut Loop<Os>, wait: Duration) -> (Duration, u32) {
    // The environment's time is that of the last poll; a turn that waits for nothing renews it.
    lp.turn(Some(Duration::ZERO)).expect("a turn");
    let due = lp.env.now.after(wait);
    lp.env.after(wait, |env| env.shared.one::<Vec<Instant>>().push(env.now));
    let mut turns = 0;
    while lp.env.shared.one::<Vec<Instant>>().is_empty() {
        lp.turn(None).expect("a turn");
        turns += 1;
    }
    let at = lp.env.shared.one::<Vec<Instant>>().pop().expect("one");
    assert!(at >= due, "{wait:?} fired {:?} early", due.since(at));
    (at.since(due), turns)
}

#[test]
fn waits_are_exact_and_never_early() {
    let mut lp = os();
    for micros in [1, 50, 300, 1_000, 1_300, 3_900, 4_100, 9_500] {
        let best = best_of(200 * MICRO, || {
            let (late, turns) = wait_once(&mut lp, micros * MICRO);
            assert!(turns <= 2, "{turns} turns for {micros} µs");
            late
        });
        assert!(best < 200 * MICRO, "{micros} µs: at best {best:?} late");
    }
}

#[test]
fn a_callers_limit_is_as_exact_and_gives_one_turn() {
    let mut lp = os();
    let best = best_of(500 * MICRO, || {
        let begun = lp.world.now();
        lp.turn(Some(300 * MICRO)).unwrap();
        let took = lp.env.now.since(begun);
        assert!(took >= 300 * MICRO, "{took:?}");
        took
    });
    assert!(best < 500 * MICRO, "{best:?}");
}

/// Near enough for the alarm, and as far off as that goes.
const RING: Duration = Duration::from_micros(3_800);

#[test]
fn a_ring_for_a_cancelled_deadline_makes_no_turn() {
    let begun = std::time::Instant::now();
    while begun.elapsed() < PATIENCE {
        let mut lp = os();
        let mailbox = lp.mailbox().expect("a door");
        lp.turn(Some(Duration::ZERO)).unwrap();
        let first = lp.env.after(RING, |env| *env.shared.one::<bool>() = true);
        // The poll sets the alarm for it, and is woken at once by something else.
        mailbox.wake(Id::NOBODY);
        lp.turn(None).unwrap();
        if *lp.env.shared.one::<bool>() {
            // The machine was busy for all that time: nothing to cancel.
            continue;
        }
        lp.env.calls.cancel(first);
        let (_, turns) = wait_once(&mut lp, 3 * RING);
        assert_eq!(turns, 1);
        assert!(!*lp.env.shared.one::<bool>(), "cancelled");
        return;
    }
    panic!("turns that wait for nothing take {RING:?} each");
}

#[test]
fn two_deadlines_in_either_order_are_both_kept() {
    let mut lp = os();
    for (first, second) in [(700, 2_000), (2_000, 700)] {
        lp.turn(Some(Duration::ZERO)).unwrap();
        let begun = lp.env.now;
        for micros in [first, second] {
            let due = begun.after(micros * MICRO);
            lp.env.after(micros * MICRO, move |env| {
                assert!(env.now >= due, "early");
                env.shared.one::<Vec<u32>>().push(micros);
            });
            lp.turn(Some(100 * MICRO)).unwrap();
        }
        lp.run().unwrap();
        let order = std::mem::take(lp.env.shared.one::<Vec<u32>>());
        assert_eq!(order.len(), 2, "{order:?}");
    }
}
