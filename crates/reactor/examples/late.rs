//! How late waits end: the loop's, and beside them those of a thread that only sleeps, which is
//! what the machine can do. `cargo run --release -p loopwork-reactor --example late`, a minute.
//!
//! Each figure is of the best of some rounds, which alternate: other work on the machine, and a
//! host that takes the core away, only ever make a wait longer.

use loopwork_reactor::{Loop, Os};
use std::time::{Duration, Instant};

const ROUNDS: usize = 6;
/// One round of one kind of wait takes so long, and has so many waits at most.
const ROUND: Duration = Duration::from_secs(1);
const WAITS: usize = 500;

/// The middle one of a hundred, the second to last, and the last.
type Late = [Duration; 3];

fn main() -> std::io::Result<()> {
    let mut lp = Loop::new(Os::new()?);
    println!("|         |  loop, late by µs        |  sleep, late by µs       |       |");
    println!("| wait µs |    p50     p99       max |    p50     p99       max | turns |");
    println!("|---------|--------------------------|--------------------------|-------|");
    for micros in [50, 300, 700, 1_000, 2_500, 5_000, 20_000] {
        let wait = Duration::from_micros(micros);
        let count = WAITS.min((ROUND.as_micros() / wait.as_micros()) as usize);
        let (mut best, mut turns) = ([[Duration::MAX; 3]; 2], 0);
        for _ in 0..ROUNDS {
            let by_loop = round(count, || {
                let (late, took) = by_loop(&mut lp, wait);
                turns += took;
                late
            });
            let by_sleep = round(count, || {
                let due = Instant::now() + wait;
                std::thread::sleep(wait);
                due.elapsed()
            });
            for (best, late) in best.iter_mut().zip([by_loop, by_sleep]) {
                for (best, late) in best.iter_mut().zip(late) {
                    *best = late.min(*best);
                }
            }
        }
        let text = |late: Late| {
            let [p50, p99, max] = late.map(|late| late.as_micros());
            format!("{p50:>6}  {p99:>6}  {max:>8}")
        };
        let turns = turns as f64 / (ROUNDS * count) as f64;
        println!("| {micros:>7} | {} | {} | {turns:>5.2} |", text(best[0]), text(best[1]));
    }
    Ok(())
}

fn round(count: usize, mut wait: impl FnMut() -> Duration) -> Late {
    let mut late: Vec<Duration> = (0..count).map(|_| wait()).collect();
    late.sort_unstable();
    [late[count / 2], late[count * 99 / 100], late[count - 1]]
}

/// By how much, and in how many turns.
fn by_loop(lp: &mut Loop<Os>, wait: Duration) -> (Duration, u32) {
    lp.turn(Some(Duration::ZERO)).expect("a turn");
    let due = lp.env.now.after(wait);
    lp.env.after(wait, |_| {});
    let mut turns = 0;
    while lp.env.calls.alive() {
        lp.turn(None).expect("a turn");
        turns += 1;
    }
    assert!(lp.env.now >= due, "never early");
    (lp.env.now.since(due), turns)
}
