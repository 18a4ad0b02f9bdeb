//! `loopwork trace`: a command recorded, replayed, and exported.
//!
//! Rule: a replay runs the command that its recording names, through the same code as the shell.

use crate::common::{self, Fail, Outcome, talk};
use crate::notes::Form;
use crate::tape::{self, PROGRAM, Shown, Wanted};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use std::cell::Cell;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  loopwork trace record run.lw -- echo http 8080
  loopwork echo tcp 7000 --record run.lw      the same, by a flag of the command
  loopwork sim --scenario ws --seed 17 --record run.lw
  loopwork trace replay run.lw                every turn again, without a network
  loopwork trace replay run.lw --to 8812      up to a turn, and show it
  loopwork trace replay run.lw --step         turn by turn, also back
  loopwork trace export run.lw --to perfetto -o run.json    open in ui.perfetto.dev

A replay runs the protocols themselves by the recorded answers; the first call that is not the
recorded one ends it, and is told. echo, serve, dns and sim can be recorded, without TLS.

Exit codes: 0 replayed, 1 it differs or the file is refused, 2 wrong usage.
";

fn file() -> Arg {
    Arg::new("file")
        .value_name("FILE")
        .help("The recording")
        .value_parser(value_parser!(PathBuf))
        .required(true)
}

pub(crate) fn command() -> Command {
    let turn = || value_parser!(u64).range(1..);
    let record = Command::new("record")
        .about("Run a command and record what its loop is answered")
        .arg(file())
        .arg(
            Arg::new("command")
                .value_name("COMMAND")
                .help("The command with its arguments, behind --")
                .num_args(1..)
                .last(true)
                .required(true),
        );
    let replay = Command::new("replay")
        .about("Run a recorded command again by its recording")
        .arg(file())
        .arg(
            Arg::new("to")
                .long("to")
                .value_name("TURN")
                .help("Stop behind this turn, and show it")
                .value_parser(turn()),
        )
        .arg(
            Arg::new("step")
                .long("step")
                .help("Show each turn, from --to on if it is given, and ask")
                .action(ArgAction::SetTrue),
        )
        .arg(Arg::new("print").long("print").help("Show all turns").action(ArgAction::SetTrue));
    let export = Command::new("export")
        .about("Write what happened in a recorded run in a form that others read")
        .arg(file())
        .arg(
            Arg::new("to")
                .long("to")
                .value_name("FORM")
                .help("perfetto and chrome: the Trace Event Format; jsonl: an object a note")
                .value_parser(["perfetto", "chrome", "jsonl"])
                .default_value("perfetto"),
        )
        .arg(
            Arg::new("output")
                .short('o')
                .long("output")
                .value_name("FILE")
                .help("Where it goes")
                .value_parser(value_parser!(PathBuf))
                .required(true),
        );
    Command::new("trace")
        .about("Record a command's loop, replay it, export it")
        .after_help(EXAMPLES)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands([record, replay, export])
}

pub(crate) fn run(matches: &ArgMatches) -> Outcome {
    let Some((name, matches)) = matches.subcommand() else {
        return Err(Fail::usage("record, replay or export; see loopwork trace --help"));
    };
    let path: PathBuf = common::parsed(matches, "file").unwrap_or_default();
    if name == "record" {
        let command = matches.get_many::<String>("command").into_iter().flatten();
        let arguments: Vec<String> = command.cloned().collect();
        return again(&arguments, &Wanted::Record(path, arguments.clone()));
    }
    let (to, mut from, step, export) = match name {
        "replay" => {
            let (to, step) = (common::parsed::<u64>(matches, "to"), matches.get_flag("step"));
            let from = match to {
                _ if matches.get_flag("print") => 1,
                Some(to) => to,
                None if step => 1,
                None => u64::MAX,
            };
            (to.filter(|_| !step), from, step, None)
        }
        _ => {
            let form = match common::text(matches, "to") {
                Some("jsonl") => Form::Jsonl,
                _ => Form::Chrome,
            };
            let output: PathBuf = common::parsed(matches, "output").unwrap_or_default();
            (None, 0, false, Some((output, form)))
        }
    };
    loop {
        let head = tape::replay(&path)?.head().clone();
        if head.program != PROGRAM {
            talk(&format!("recorded by {}, this is {PROGRAM}: calls may differ", head.program));
        }
        let (path, export, back) = (path.clone(), export.clone(), Cell::new(None));
        let to = to.unwrap_or(u64::MAX);
        let wanted = Wanted::Replay(Shown { path, to, from, step, export, back });
        again(&head.arguments, &wanted)?;
        match wanted {
            Wanted::Replay(Shown { back, .. }) if back.get().is_some() => {
                from = back.get().unwrap_or(1);
            }
            _ => return Ok(()),
        }
    }
}

/// Runs a command line in what is wanted.
fn again(arguments: &[String], wanted: &Wanted) -> Outcome {
    let line = std::iter::once("loopwork").chain(arguments.iter().map(String::as_str));
    let matches = crate::command().try_get_matches_from(line).map_err(|error| {
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default();
        Fail::usage(format!("{}: {first}", arguments.join(" ")))
    })?;
    let (name, matches) = matches.subcommand().ok_or_else(|| Fail::usage("no command"))?;
    crate::run(name, matches, wanted)
}
