//! The binary `loopwork`: each layer of the crates at work, in the shape of a tool that people
//! know.
//!
//! Rules of this program:
//! * One file, one command: its arguments, its help, its work.
//! * Errors are values ([`common::Fail`]) that end here, as one line and an exit code.

mod bench;
mod common;
mod completions;
mod dns;
mod doctor;
mod echo;
mod get;
mod idn;
mod nc;
mod notes;
mod page;
mod serve;
mod sim;
mod stdio;
mod tape;
mod tls;
mod trace;
mod ws;

use clap::{ArgMatches, Command};
use common::{Fail, Outcome};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use tape::Wanted;

const EXAMPLES: &str = "\
Examples:
  loopwork serve public                this directory on http://127.0.0.1:8080
  loopwork echo tcp 7000               an echo service
  loopwork nc 127.0.0.1 7000           talk to it
  loopwork get -i http://127.0.0.1:8080/
  loopwork ws ws://127.0.0.1:9000/
  loopwork bench http://127.0.0.1:8080/

Each command has examples of its own: loopwork COMMAND --help.

Exit codes: 0 well, 1 failure, 2 wrong usage, 130 after ^C; get has those of curl.
";

fn command() -> Command {
    Command::new("loopwork")
        .version(env!("CARGO_PKG_VERSION"))
        .about("An event loop at work: serve files, echo, talk TCP, UDP, HTTP and WebSocket")
        .after_help(EXAMPLES)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .max_term_width(100)
        .subcommands([
            serve::command(),
            echo::command(),
            nc::command(),
            get::command(),
            ws::command(),
            dns::command(),
            bench::command(),
            sim::command(),
            trace::command(),
            doctor::command(),
            completions::command(),
        ])
}

fn run(name: &str, matches: &ArgMatches, wanted: &Wanted) -> Outcome {
    match name {
        "serve" => serve::run(matches, wanted),
        "echo" => echo::run(matches, wanted),
        "dns" => dns::run(matches, wanted),
        "sim" => sim::run(matches, wanted),
        "doctor" => doctor::run(matches),
        "completions" => completions::run(matches),
        name if !matches!(wanted, Wanted::Live) => Err(Fail::usage(format!(
            "{name} cannot be recorded: threads of its own read and write for it; record the \
             other end, such as loopwork trace record FILE -- echo http"
        ))),
        "nc" => nc::run(matches),
        "get" => get::run(matches),
        "ws" => ws::run(matches),
        "bench" => bench::run(matches),
        "trace" => trace::run(matches),
        other => Err(Fail::usage(format!("{other} is no command; see loopwork --help"))),
    }
}

/// This command's own arguments, without the wish to be recorded.
fn arguments() -> Vec<String> {
    let mut all = std::env::args_os().skip(1).map(|of| of.to_string_lossy().into_owned());
    let mut kept = Vec::new();
    while let Some(one) = all.next() {
        match one.as_str() {
            "--record" => drop(all.next()),
            one if one.starts_with("--record=") => {}
            _ => kept.push(one),
        }
    }
    kept
}

/// `--json` is curl's word of `get` for a body; with `--page`, which sends none, it says what it
/// says everywhere else.
fn said() -> Vec<OsString> {
    let mut all: Vec<OsString> = std::env::args_os().collect();
    if all.iter().any(|one| one == "get") && all.iter().any(|one| one == "--page") {
        for one in all.iter_mut().filter(|one| *one == "--json") {
            *one = "--story".into();
        }
    }
    all
}

fn main() -> ExitCode {
    let matches = command().get_matches_from(said());
    let Some((name, matches)) = matches.subcommand() else { return ExitCode::from(2) };
    let recorded = matches.try_get_one::<PathBuf>("record").ok().flatten();
    let wanted = recorded.map_or(Wanted::Live, |to| Wanted::Record(to.clone(), arguments()));
    match run(name, matches, &wanted) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Fail { code, text }) => {
            if !text.is_empty() {
                common::talk(&format!("loopwork {name}: {text}"));
            }
            ExitCode::from(code)
        }
    }
}

#[cfg(test)]
mod tests {
    /// Clap checks the whole table of arguments: names that clash, defaults that do not parse.
    #[test]
    fn the_arguments_are_sound() {
        super::command().debug_assert();
    }
}
