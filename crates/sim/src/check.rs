//! One scenario under many seeds, each run twice.
//!
//! Rules of this file:
//! * A failure names its seed and the command that runs that seed alone.
//! * Two runs of one seed that differ are a failure: something escaped the simulation.

use crate::Sim;
use loopwork_reactor::Loop;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The environment variable that names the one seed to run.
pub const SEED_VARIABLE: &str = "LOOPWORK_SEED";
/// The environment variable that says how many seeds to run instead of the test's own number:
/// a night's run.
pub const SEEDS_VARIABLE: &str = "LOOPWORK_SEEDS";

/// What went wrong, with which seed, and how to see it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// The panic's message, or the two hashes that differ.
    pub why: String,
    /// The command that runs this seed alone.
    pub replay: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {}: {}\n  replay: {}", self.seed, self.why, self.replay)
    }
}

impl std::error::Error for Failure {}

/// The command that replays a seed of a test of this workspace, for [`check`].
pub fn cargo_test<'a>(package: &'a str, test: &'a str) -> impl Fn(u64) -> String + 'a {
    move |seed| {
        format!("{SEED_VARIABLE}={seed} cargo test -p {package} {test} -- --exact --nocapture")
    }
}

/// Runs `scenario` with the seeds `0..count`, each twice. It returns the hash of its run
/// ([`Sim::hash`](crate::Sim::hash), [`TraceHash::value`](crate::TraceHash::value)) and panics
/// when something does not hold. `replay` makes the command that runs one seed alone, see
/// [`cargo_test`].
///
/// With `LOOPWORK_SEED=n` in the environment that seed alone is run; with `LOOPWORK_SEEDS=n`, `n`
/// of them.
///
/// # Panics
/// At the first seed that fails: a panic, or two runs that differ. The message ends with the
/// replay command.
pub fn check(count: u64, replay: impl Fn(u64) -> String, scenario: impl Fn(u64) -> u64) {
    let number = |name| std::env::var(name).ok().and_then(|n| n.parse::<u64>().ok());
    let seeds = match number(SEED_VARIABLE) {
        Some(seed) => seed..seed.saturating_add(1),
        None => 0..number(SEEDS_VARIABLE).unwrap_or(count),
    };
    if let Err(failure) = run_seeds(seeds, replay, scenario) {
        panic!("{failure}");
    }
}

/// [`check`] without the environment, for these seeds.
///
/// # Errors
/// The first seed that fails.
pub fn run_seeds(
    seeds: impl IntoIterator<Item = u64>,
    replay: impl Fn(u64) -> String,
    scenario: impl Fn(u64) -> u64,
) -> Result<(), Failure> {
    for seed in seeds {
        let run = || catch_unwind(AssertUnwindSafe(|| scenario(seed)));
        let why = match (run(), run()) {
            (Ok(one), Ok(two)) if one == two => continue,
            (Ok(one), Ok(two)) => format!("two runs differ: {one:016x} and {two:016x}"),
            (Err(panic), _) | (_, Err(panic)) => message(panic.as_ref()),
        };
        return Err(Failure { seed, why, replay: replay(seed) });
    }
    Ok(())
}

/// Turns a loop until its world is at rest ([`Sim::idle`]: no event, no timer is left), or until
/// it is told to stop or holds nothing any more, as `Loop::run` does.
///
/// # Errors
/// `TimedOut` after so many turns; what a turn itself fails with.
pub fn run_to_rest(lp: &mut Loop<Sim>, turns: u64) -> io::Result<()> {
    turn_until(lp, turns, |lp| lp.world.idle() || lp.env.calls.stopping() || !lp.env.calls.alive())
}

/// Turns a loop until its world is at rest, whether anything holds it or not: what does not, as a
/// client's free connections, ends in its time.
///
/// # Errors
/// As those of [`run_to_rest`].
pub fn run_to_idle(lp: &mut Loop<Sim>, turns: u64) -> io::Result<()> {
    turn_until(lp, turns, |lp| lp.world.idle())
}

fn turn_until(
    lp: &mut Loop<Sim>,
    turns: u64,
    mut done: impl FnMut(&mut Loop<Sim>) -> bool,
) -> io::Result<()> {
    for _ in 0..turns {
        // First: what was asked for since the last rest has not begun yet.
        lp.turn(None)?;
        if done(lp) {
            return Ok(());
        }
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, "the world has not come to rest"))
}

fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn a_steady_scenario_passes_and_runs_twice() {
        let runs = Cell::new(0);
        let scenario = |seed| {
            runs.set(runs.get() + 1);
            seed * 3
        };
        assert_eq!(run_seeds(0..5, cargo_test("p", "t"), scenario), Ok(()));
        assert_eq!(runs.get(), 10);
    }

    #[test]
    fn a_run_that_differs_names_its_seed_and_command() {
        let runs = Cell::new(0);
        let scenario = |seed| {
            runs.set(runs.get() + u64::from(seed == 3));
            runs.get()
        };
        let failure = run_seeds(0..5, cargo_test("p", "t"), scenario).unwrap_err();
        assert_eq!(failure.seed, 3);
        assert!(failure.why.contains("differ"), "{failure}");
        let command = "LOOPWORK_SEED=3 cargo test -p p t -- --exact --nocapture";
        assert_eq!(failure.replay, command);
    }

    #[test]
    fn a_panic_is_a_failure_with_its_message() {
        let scenario = |seed| {
            assert!(seed != 2, "two is bad");
            0
        };
        let failure = run_seeds(0..5, |seed| format!("again {seed}"), scenario).unwrap_err();
        assert_eq!((failure.seed, failure.replay.as_str()), (2, "again 2"));
        assert!(failure.why.contains("two is bad"));
        assert!(failure.to_string().ends_with("replay: again 2"));
    }
}
