//! Two thousand seeds of every scenario pass, in rough, hostile and dark worlds in turn; some of
//! them twice, with the same outcome. `loopwork sim --seeds 100000` runs more.

use loopwork::sim::{Faults, percent};
use loopwork_scenarios::{Plan, Scenario, preset_of, run, run_twice};
use std::time::Duration;

/// Seeds of each scenario.
const SEEDS: u64 = 2000;
/// Of so many seeds one runs twice.
const TWICE: u64 = 16;

fn pass(scenario: Scenario) {
    for seed in 0..SEEDS {
        let plan = Plan::new(scenario, seed, preset_of(seed));
        let outcome = if seed % TWICE < 2 { run_twice(&plan) } else { run(&plan, None) };
        if let Err(failure) = outcome {
            panic!("seed {seed}: {}\n  replay: {}", failure.why, plan.command());
        }
    }
}

#[test]
fn tcp_passes() {
    pass(Scenario::Tcp);
}

#[test]
fn http_passes() {
    pass(Scenario::Http);
}

#[test]
fn ws_passes() {
    pass(Scenario::Ws);
}

#[test]
fn udp_passes() {
    pass(Scenario::Udp);
}

/// What the network loses is sent again: late, and whole.
#[test]
fn lost_segments_lose_no_byte() {
    let partition_time = Duration::from_millis(1)..=Duration::from_secs(2);
    let faults = Faults { drop: percent(1), partition: 200, partition_time, ..Faults::rough() };
    let (mut dropped, mut partitions) = (0, 0);
    for scenario in [Scenario::Tcp, Scenario::Ws] {
        for seed in 0..SEEDS / 8 {
            let plan = Plan { faults: faults.clone(), ..Plan::new(scenario, seed, "rough") };
            let run = run(&plan, None).unwrap_or_else(|why| panic!("seed {seed}: {why:?}"));
            (dropped, partitions) =
                (dropped + run.stats.dropped_segments, partitions + run.stats.partitions);
        }
    }
    assert!(dropped > 1000 && partitions > 10, "{dropped}, {partitions}");
}

#[test]
fn seeds_differ() {
    for scenario in Scenario::ALL {
        let of = |seed| run(&Plan::new(scenario, seed, "rough"), None).unwrap().hash;
        assert_ne!(of(1), of(2), "{}", scenario.name());
    }
}
