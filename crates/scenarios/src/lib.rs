//! What loopwork must survive: servers and clients of each layer in one loop of a simulated world,
//! watched by a ledger, one seed a run.
//!
//! A [`Plan`] says everything about a run: the same plan gives the same run. [`run`] runs it and
//! says how it went; [`shrink`] makes a plan that fails smaller while it fails the same way.
//!
//! Rules of this crate:
//! * A scenario judges the whole: every byte arrives where nothing may break, and a part from the
//!   beginning where it may; each close is seen once; in the end no socket, no timer and no hold
//!   is left.
//! * Sizes come from the plan, choices from the seed, and nothing from anywhere else.
//! * What does not hold is a panic inside a scenario, and a [`Failure`] outside.

pub mod ledger;

mod http;
mod output;
mod plan;
mod routes;
mod shrink;
mod stage;
mod tcp;
mod udp;
mod unix;
mod ws;

pub use plan::{PRESETS, Plan, Scenario, faults, parse_faults, preset_of};
pub use shrink::shrink;
pub use stage::{Run, TURNS};

use loopwork::reactor::Tracer;
use loopwork::reactor::planted::plant;
use loopwork::trace::{Recording, Replay};
use stage::{Outside, Setting};
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What was said, and where in the source.
    pub why: String,
    /// The same for all failures of one kind: without the numbers.
    pub kind: String,
}

thread_local! {
    /// Where the last panic of this thread was, told by the hook of [`quiet`].
    static WHERE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// From now on a panic prints nothing: a [`Failure`] tells of it. For programs that run nothing
/// else than scenarios; it sets the process' panic hook.
pub fn quiet() {
    std::panic::set_hook(Box::new(|info| {
        let at = info.location().map(|at| format!(" ({}:{})", at.file(), at.line()));
        WHERE.with(|place| *place.borrow_mut() = at.unwrap_or_default());
    }));
}

/// Runs a plan, with a tracer of one's own if there is one.
///
/// # Errors
/// What did not hold.
pub fn run(plan: &Plan, tracer: Option<Box<dyn Tracer>>) -> Result<Run, Failure> {
    run_in(plan, Setting { tracer, outside: Outside::Live })
}

/// Runs a plan, and records what the simulated world answers.
///
/// # Errors
/// What did not hold.
pub fn record(plan: &Plan, to: Recording, tracer: Option<Box<dyn Tracer>>) -> Result<Run, Failure> {
    run_in(plan, Setting { tracer, outside: Outside::Record(to) })
}

/// Runs a plan again by a recording of it, without its world: with the same outcome, of which the
/// world's own counts are not a part.
///
/// # Errors
/// What did not hold then; why the replay has ended before.
pub fn replay(plan: &Plan, of: Replay, tracer: Option<Box<dyn Tracer>>) -> Result<Run, Failure> {
    run_in(plan, Setting { tracer, outside: Outside::Replay(of) })
}

fn run_in(plan: &Plan, setting: Setting) -> Result<Run, Failure> {
    let scenario = match plan.scenario {
        Scenario::Tcp => tcp::run,
        Scenario::Http => http::run,
        Scenario::Ws => ws::run,
        Scenario::Udp => udp::run,
    };
    if !plant(plan.bug) && plan.bug.is_some() {
        let why = "this build has no planted bugs".to_owned();
        return Err(Failure { kind: why.clone(), why });
    }
    let outcome = catch_unwind(AssertUnwindSafe(|| scenario(plan, setting)));
    plant(None);
    outcome.map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
        let kind = text.chars().filter(|c| !c.is_ascii_digit()).collect();
        let at = WHERE.with(|place| std::mem::take(&mut *place.borrow_mut()));
        Failure { why: format!("{text}{at}"), kind }
    })
}

/// Runs a plan twice.
///
/// # Errors
/// What did not hold, or that the two runs differ.
pub fn run_twice(plan: &Plan) -> Result<Run, Failure> {
    let (one, two) = (run(plan, None)?, run(plan, None)?);
    if one.hash == two.hash {
        return Ok(one);
    }
    let why = format!("two runs differ: {:016x} and {:016x}", one.hash, two.hash);
    Err(Failure { why, kind: "two runs differ".to_owned() })
}
