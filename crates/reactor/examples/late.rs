//! How late a wait ends on this machine: `cargo run --release -p loopwork-reactor --example late`.

use loopwork_reactor::{Loop, Os};
use std::time::Duration;

const ROUNDS: usize = 500;

fn main() -> std::io::Result<()> {
    let mut lp = Loop::new(Os::new()?);
    println!("|    wait µs |  p50 late µs |  p99 late µs |  max late µs |  turns/wait |");
    println!("|------------|--------------|--------------|--------------|-------------|");
    for micros in [50, 300, 700, 1_000, 2_500, 5_000, 20_000] {
        let (mut late, mut turns) = (Vec::new(), 0);
        let rounds = ROUNDS.min(5_000_000 / micros as usize);
        for _ in 0..rounds {
            lp.turn(Some(Duration::ZERO))?;
            let wait = Duration::from_micros(micros);
            let due = lp.env.now.after(wait);
            lp.env.after(wait, |_| {});
            while lp.env.calls.alive() {
                lp.turn(None)?;
                turns += 1;
            }
            late.push(lp.env.now.since(due).as_micros());
        }
        late.sort_unstable();
        let (p50, p99, max) = (late[rounds / 2], late[rounds * 99 / 100], late[rounds - 1]);
        let turns = turns as f64 / rounds as f64;
        println!("| {micros:>10} | {p50:>12} | {p99:>12} | {max:>12} | {turns:>11.2} |");
    }
    Ok(())
}
