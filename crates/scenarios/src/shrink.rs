//! Makes a plan that fails smaller, while it fails the same way.
//!
//! Rules of this file:
//! * What is tried is the next smaller thing along each road: fewer connections, fewer bytes, a
//!   kind of fault less. What still fails the same way stays, until nothing smaller does.
//! * A smaller plan draws other choices from its seed, so each is tried with a few seeds.

use crate::plan::Plan;
use crate::{Failure, run};

/// Seeds that a smaller plan is tried with: its own, and others that may meet the failure again.
const SEEDS: u64 = 12;

/// The smallest plan found that fails as `plan` does, and how it fails.
#[must_use]
pub fn shrink(plan: &Plan, failure: &Failure) -> (Plan, Failure) {
    let (mut best, mut why) = (plan.clone(), failure.clone());
    while let Some((plan, failure)) = smaller(&best).find_map(|plan| fails_as(plan, &why)) {
        (best, why) = (plan, failure);
    }
    (best, why)
}

fn fails_as(plan: Plan, failure: &Failure) -> Option<(Plan, Failure)> {
    (0..SEEDS).find_map(|n| {
        let plan = Plan { seed: if n == 0 { plan.seed } else { n - 1 }, ..plan.clone() };
        let why = run(&plan, None).err().filter(|why| why.kind == failure.kind)?;
        Some((plan, why))
    })
}

/// Every plan that is one step smaller.
fn smaller(plan: &Plan) -> impl Iterator<Item = Plan> + use<> {
    let mut all = Vec::new();
    for connections in [1, plan.connections / 2, plan.connections.saturating_sub(1)] {
        if (1..plan.connections).contains(&connections) {
            all.push(Plan { connections, ..plan.clone() });
        }
    }
    for bytes in [plan.bytes / 64, plan.bytes / 2] {
        if bytes >= 2 {
            all.push(Plan { bytes, ..plan.clone() });
        }
    }
    let kinds = plan.faults.clone().rates().len();
    let on = plan.faults.clone().rates().iter().filter(|(_, rate)| **rate > 0).count();
    // None of them, or one alone: most failures need no more.
    for kept in (0..=kinds).rev().filter(|_| on > 1) {
        let mut next = plan.clone();
        let rates = next.faults.rates().into_iter().enumerate();
        rates.filter(|(kind, _)| *kind != kept).for_each(|(_, (_, rate))| *rate = 0);
        all.push(next);
    }
    for kind in 0..kinds {
        let mut next = plan.clone();
        let rate = &mut next.faults.rates()[kind].1;
        if **rate != 0 {
            **rate = 0;
            all.push(next);
        }
    }
    all.into_iter()
}
