//! Two thousand seeds of every scenario pass, one half in a rough world and one half in a hostile
//! one; some of them twice, with the same outcome. `loopwork sim --seeds 100000` runs more.

use loopwork_scenarios::{Plan, Scenario, run, run_twice};

/// Seeds of each scenario.
const SEEDS: u64 = 2000;
/// Of so many seeds one runs twice.
const TWICE: u64 = 16;

fn pass(scenario: Scenario) {
    for seed in 0..SEEDS {
        let preset = if seed % 2 == 0 { "rough" } else { "hostile" };
        let plan = Plan::new(scenario, seed, preset);
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

#[test]
fn seeds_differ() {
    for scenario in Scenario::ALL {
        let of = |seed| run(&Plan::new(scenario, seed, "rough"), None).unwrap().hash;
        assert_ne!(of(1), of(2), "{}", scenario.name());
    }
}
