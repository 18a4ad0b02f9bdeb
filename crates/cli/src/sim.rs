//! `loopwork sim`: the scenarios of the simulated world, seed by seed; a failure becomes a command.
//!
//! Rules of this file:
//! * The outcome does not depend on how many threads share the work, nor on when they run: of two
//!   failures the earlier seed's is told.
//! * What is printed behind `replay:` runs exactly what has failed.

use crate::common::{self, Fail, Outcome};
use crate::notes::Notes;
use crate::tape::{self, Wanted};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use loopwork::reactor::planted::{Planted, plant};
use loopwork::trace::Stop;
use loopwork_scenarios::{self as scenarios, run_twice, shrink};
use loopwork_scenarios::{Failure, Plan, Run, Scenario, parse_faults, preset_of, quiet};
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  loopwork sim                                    a thousand seeds of every scenario
  loopwork sim --seeds 100000                     a hundred thousand: some minutes
  loopwork sim --scenario ws --seed 17            one run, turn by turn
  loopwork sim --faults rough,loss=20%,early=0    another world
  loopwork sim --faults hostile --connections 9 --bytes 500

A run that fails is made smaller while it fails the same way, and printed as the command that
replays it. The same command gives the same run, on every machine.

Exit codes: 0 all pass, 1 one fails, 2 wrong usage.
";

/// Progress is told on a terminal after so many runs: several times a second.
const TELL: u64 = 256;
/// Of so many seeds one runs twice, to see that nothing escapes the simulation.
const TWICE: u64 = 16;

fn number(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value).help(help)
}

pub(crate) fn command() -> Command {
    let count = || value_parser!(u32).range(1..=1_000_000);
    Command::new("sim")
        .about("Run servers and clients in a simulated world, seed by seed")
        .after_help(EXAMPLES)
        .arg(
            number("scenario", "NAME", "Who is in the world")
                .value_parser(["tcp", "http", "ws", "udp", "all"])
                .default_value("all"),
        )
        .arg(
            number("seeds", "N", "Seeds from 0 on")
                .value_parser(value_parser!(u64))
                .conflicts_with("seed")
                .default_value("1000"),
        )
        .arg(
            number("seed", "N", "This seed alone, and print its turns")
                .value_parser(value_parser!(u64)),
        )
        .arg(number(
            "faults",
            "WORLD",
            "none, rough, hostile or dark; with :NAME+NAME of its faults these alone; behind a \
             comma NAME=RATE, parts of a million or N%. Unless told the last three in turn",
        ))
        .arg(number("connections", "N", "Of clients").value_parser(count()))
        .arg(
            number("bytes", "N", "At most so many by each of them")
                .value_parser(value_parser!(u32).range(2..=1 << 24)),
        )
        .arg(
            number("jobs", "N", "Threads, a world each; as many as there are processors")
                .value_parser(value_parser!(u16).range(1..=1024)),
        )
        .arg(
            number("plant", "BUG", "A bug that the loop shall have")
                .value_parser(Planted::ALL.map(Planted::name))
                .hide(true),
        )
        .arg(
            Arg::new("trace")
                .long("trace")
                .help("Print the turns of every run")
                .action(ArgAction::SetTrue),
        )
        .arg(tape::arg())
}

/// What is to be run: the scenarios of each seed, one after the other.
struct Work {
    scenarios: Vec<Scenario>,
    seeds: std::ops::Range<u64>,
    world: Option<(loopwork::sim::Faults, &'static str)>,
    connections: Option<u32>,
    bytes: Option<u32>,
    bug: Option<Planted>,
}

impl Work {
    fn new(matches: &ArgMatches) -> Result<Work, Fail> {
        let name = common::text(matches, "scenario").unwrap_or_default();
        let scenarios = Scenario::by_name(name).map_or(Scenario::ALL.to_vec(), |one| vec![one]);
        let seeds = match common::parsed::<u64>(matches, "seed") {
            Some(seed) => seed..seed.saturating_add(1),
            None => 0..common::parsed(matches, "seeds").unwrap_or_default(),
        };
        let world = common::text(matches, "faults").map(parse_faults).transpose();
        let world = world.map_err(|why| Fail::usage(format!("--faults {why}")))?;
        let connections = common::parsed(matches, "connections");
        let bytes = common::parsed(matches, "bytes");
        let bug = common::text(matches, "plant");
        let bug = bug.and_then(|name| Planted::ALL.into_iter().find(|bug| bug.name() == name));
        if bug.is_some() && !plant(None) {
            let how = "cargo run --release --features planted -- sim";
            return Err(Fail::usage(format!("this build has no planted bugs; {how}")));
        }
        Ok(Work { scenarios, seeds, world, connections, bytes, bug })
    }

    fn len(&self) -> u64 {
        (self.seeds.end - self.seeds.start).saturating_mul(self.scenarios.len() as u64)
    }

    fn plan(&self, at: u64) -> Plan {
        let scenarios = self.scenarios.len() as u64;
        let seed = self.seeds.start + at / scenarios;
        let scenario = self.scenarios[(at % scenarios) as usize];
        let mut plan = Plan::new(scenario, seed, preset_of(seed));
        if let Some((faults, preset)) = &self.world {
            (plan.faults, plan.preset) = (faults.clone(), preset);
        }
        plan.connections = self.connections.unwrap_or(plan.connections);
        plan.bytes = self.bytes.unwrap_or(plan.bytes);
        plan.bug = self.bug;
        plan
    }
}

/// What has come together of the runs that pass; their order does not matter.
#[derive(Default)]
struct Sum {
    runs: u64,
    turns: u64,
    time: Duration,
    digest: u64,
}

impl Sum {
    fn add(&mut self, run: &Run) {
        self.runs += 1;
        self.turns += run.turns;
        self.time += run.time;
        self.digest = self.digest.wrapping_add(run.hash);
    }
}

/// A run is over: the how manieth it was, and its outcome.
type News = (u64, Result<Run, Failure>);

/// Runs one after the other until there is none, or one fails.
fn job(work: &Work, next: &AtomicU64, stop: &AtomicU64, news: &Sender<News>) {
    loop {
        let at = next.fetch_add(1, Ordering::Relaxed);
        // Those before a failure still run: the earliest is told.
        if at >= stop.load(Ordering::Relaxed) {
            return;
        }
        let plan = work.plan(at);
        let twice = plan.seed % TWICE < 2;
        let outcome = if twice { run_twice(&plan) } else { scenarios::run(&plan, None) };
        if outcome.is_err() {
            stop.fetch_min(at, Ordering::Relaxed);
        }
        if news.send((at, outcome)).is_err() {
            return;
        }
    }
}

/// Runs all of it on so many threads; the earliest failure, if there is one.
fn run_all(work: &Work, jobs: usize, sum: &mut Sum) -> Option<(u64, Failure)> {
    let (next, stop) = (AtomicU64::new(0), AtomicU64::new(work.len()));
    let (news, told) = channel();
    let terminal = io::stderr().is_terminal();
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            let (next, stop, news) = (&next, &stop, news.clone());
            scope.spawn(move || job(work, next, stop, &news));
        }
        drop(news);
        let mut first: Option<(u64, Failure)> = None;
        for (at, outcome) in told {
            match outcome {
                Ok(run) => sum.add(&run),
                Err(why) if first.as_ref().is_none_or(|(of, _)| at < *of) => {
                    first = Some((at, why));
                }
                Err(_) => {}
            }
            if terminal && sum.runs.is_multiple_of(TELL) {
                let _ = write!(io::stderr(), "\r{} of {} runs", sum.runs, work.len());
            }
        }
        if terminal {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
        first
    })
}

/// Runs one after the other, and prints the turns of each.
fn trace_all(work: &Work, sum: &mut Sum) -> Option<(u64, Failure)> {
    for at in 0..work.len() {
        let plan = work.plan(at);
        let _ = writeln!(io::stdout(), "{}", plan.command());
        let notes = Notes::text_from(0, 0);
        match scenarios::run(&plan, Some(Box::new(notes))) {
            Ok(run) => sum.add(&run),
            Err(why) => return Some((at, why)),
        }
    }
    None
}

/// One run, recorded or replayed; how it fails, if it does.
fn taped(work: &Work, wanted: &Wanted, sum: &mut Sum) -> Result<Option<(u64, Failure)>, Fail> {
    if work.len() != 1 {
        let text = "a recording is of one run; name it by --scenario and --seed";
        return Err(Fail::usage(text));
    }
    let plan = work.plan(0);
    let outcome = match wanted {
        Wanted::Live => scenarios::run(&plan, None),
        Wanted::Record(path, arguments) => {
            scenarios::record(&plan, tape::record(path, arguments)?, None)
        }
        Wanted::Replay(shown) => {
            if shown.step {
                let text = "a simulated run is not stepped through; --print shows its turns";
                return Err(Fail::usage(text));
            }
            let replay = tape::replay(&shown.path)?.to_turn(shown.to);
            let outcome = scenarios::replay(&plan, replay, Some(Box::new(shown.notes()?)));
            if outcome.as_ref().is_err_and(|f| f.why.starts_with(&Stop::Turn.to_string())) {
                common::talk(&format!("replayed {} turns: {}", shown.to, Stop::Turn));
                return Ok(None);
            }
            outcome
        }
    };
    match outcome {
        Ok(run) => sum.add(&run),
        Err(why) => return Ok(Some((0, why))),
    }
    Ok(None)
}

pub(crate) fn run(matches: &ArgMatches, wanted: &Wanted) -> Outcome {
    let work = Work::new(matches)?;
    let tracing = matches.get_flag("trace") || matches.contains_id("seed");
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let jobs = common::parsed::<u16>(matches, "jobs").map_or(processors, usize::from);
    quiet();
    let mut sum = Sum::default();
    let failed = match (wanted, tracing) {
        (Wanted::Live, true) => trace_all(&work, &mut sum),
        (Wanted::Live, false) => run_all(&work, jobs, &mut sum),
        (wanted, _) => taped(&work, wanted, &mut sum)?,
    };
    let mut out = io::stdout().lock();
    let Some((at, why)) = failed else {
        let Sum { runs, turns, time, digest } = sum;
        if runs == 0 && !matches!(wanted, Wanted::Live) {
            // A replay that was to stop before its end: it is told.
            return Ok(());
        }
        let hours = time.as_secs_f64() / 3600.0;
        let _ = writeln!(
            out,
            "{runs} runs pass: {turns} turns, {hours:.1} hours of virtual time, \
             digest {digest:016x}"
        );
        return Ok(());
    };
    let plan = work.plan(at);
    let _ = writeln!(out, "{} seed {}: {}", plan.scenario.name(), plan.seed, why.why);
    if tracing || !matches!(wanted, Wanted::Live) {
        return Err(Fail::failed("it fails"));
    }
    let (small, same) = shrink(&plan, &why);
    let _ = writeln!(out, "smaller, seed {}: {}", small.seed, same.why);
    let _ = writeln!(out, "replay: {}", small.command());
    Err(Fail::failed("a run fails"))
}
