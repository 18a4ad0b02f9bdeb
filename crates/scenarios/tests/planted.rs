//! Each planted bug is found within a thousand seeds, and what finds it is made smaller and found
//! again. Without a bug the same seeds pass (`seeds.rs`).

use loopwork::reactor::planted::Planted;
use loopwork_scenarios::{Plan, Scenario, preset_of, quiet, run, shrink};

/// Seeds of each scenario within which a bug must be found.
const SEEDS: u64 = 1000;

/// The first plan that finds the bug, in the order of `loopwork sim`.
fn find(bug: Planted) -> Option<(Plan, loopwork_scenarios::Failure)> {
    (0..SEEDS).find_map(|seed| {
        Scenario::ALL.into_iter().find_map(|scenario| {
            let plan = Plan { bug: Some(bug), ..Plan::new(scenario, seed, preset_of(seed)) };
            let failure = run(&plan, None).err()?;
            Some((plan, failure))
        })
    })
}

/// Panics are what is looked for here: a test that fails says so by its result.
#[test]
fn every_bug_is_found_and_made_smaller() -> Result<(), String> {
    quiet();
    for bug in Planted::ALL {
        let (plan, why) = find(bug).ok_or(format!("{} is not found", bug.name()))?;
        let (small, same) = shrink(&plan, &why);
        if same.kind != why.kind || run(&small, None).err() != Some(same.clone()) {
            return Err(format!("{}: {} fails in another way", bug.name(), small.command()));
        }
        if run(&Plan { bug: None, ..small.clone() }, None).is_err() {
            return Err(format!("{} fails without its bug", small.command()));
        }
        println!("{}: seed {}: {}", bug.name(), plan.seed, why.why);
        println!("    {}: {}", small.command(), same.why);
    }
    Ok(())
}
