//! What is recorded of a simulated run replays without its world, to the same run: every note of
//! the loop, each at its time. `LOOPWORK_SEEDS=1000` records more of them.

use loopwork::reactor::planted::Planted;
use loopwork::trace::{Head, Recording, Replay};
use loopwork_scenarios::{Plan, Scenario, preset_of, record, replay, run};
use std::io::{self, Write};
use std::sync::{Arc, Mutex};

/// Seeds of each scenario, unless told.
const SEEDS: u64 = 25;

/// A file in memory, which outlives its recording.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn recorded(plan: &Plan) -> (Result<u64, loopwork_scenarios::Failure>, Vec<u8>) {
    let kept = Kept::default();
    let recording = Recording::new(kept.clone(), &Head::default()).unwrap();
    let outcome = record(plan, recording, None).map(|run| run.hash);
    let bytes = std::mem::take(&mut *kept.0.lock().unwrap());
    (outcome, bytes)
}

fn same(scenario: Scenario) {
    let seeds = std::env::var("LOOPWORK_SEEDS").ok().and_then(|n| n.parse().ok());
    for seed in 0..seeds.unwrap_or(SEEDS) {
        let plan = Plan::new(scenario, seed, preset_of(seed));
        let (outcome, bytes) = recorded(&plan);
        let again = replay(&plan, Replay::of_bytes(bytes).unwrap(), None).map(|run| run.hash);
        assert_eq!(outcome, again, "{}", plan.command());
        if seed < 3 {
            let live = run(&plan, None).map(|run| run.hash);
            assert_eq!(outcome, live, "{}: a recording disturbs", plan.command());
        }
    }
}

#[test]
fn tcp_replays() {
    same(Scenario::Tcp);
}

#[test]
fn http_replays() {
    same(Scenario::Http);
}

#[test]
fn ws_replays() {
    same(Scenario::Ws);
}

#[test]
fn udp_replays() {
    same(Scenario::Udp);
}

/// What did not hold in the recorded run does not hold in its replay, in the same words.
#[test]
fn a_failure_is_found_again() {
    let failed = (0..100).find_map(|seed| {
        let bug = Some(Planted::ShortWrite);
        let plan = Plan { bug, ..Plan::new(Scenario::Tcp, seed, preset_of(seed)) };
        let (outcome, bytes) = recorded(&plan);
        outcome.err().map(|why| (plan, why, bytes))
    });
    let (plan, why, bytes) = failed.expect("a seed that finds it");
    assert_eq!(replay(&plan, Replay::of_bytes(bytes).unwrap(), None).err(), Some(why));
}

/// Another program than the recorded one is told by its first other call.
#[test]
fn what_differs_is_told() {
    let plan = Plan::new(Scenario::Http, 1, "rough");
    let (_, bytes) = recorded(&plan);
    let other = Plan { connections: plan.connections + 1, ..plan };
    let why = replay(&other, Replay::of_bytes(bytes).unwrap(), None).unwrap_err().why;
    assert!(why.contains("does something else"), "{why}");
}

/// As after a crash of what was recorded.
#[test]
fn a_file_that_ends_early_replays_up_to_there() {
    let plan = Plan::new(Scenario::Ws, 2, "rough");
    let (_, bytes) = recorded(&plan);
    let cut = bytes[..bytes.len() / 2].to_vec();
    let why = replay(&plan, Replay::of_bytes(cut).unwrap(), None).unwrap_err().why;
    assert!(why.contains("the file ends at byte"), "{why}");
}
