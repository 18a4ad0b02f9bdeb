//! `loopwork completions`: what a shell needs to complete the other commands.

use crate::common::Outcome;
use clap::{Arg, ArgMatches, Command, value_parser};
use clap_complete::Shell;
use std::io::Write;

pub(crate) fn command() -> Command {
    let shell = Arg::new("shell").value_name("SHELL").required(true);
    Command::new("completions")
        .about("What a shell needs to complete these commands")
        .after_help("Examples:\n  loopwork completions bash > completions/loopwork\n")
        .arg(shell.value_parser(value_parser!(Shell)))
}

pub(crate) fn run(matches: &ArgMatches) -> Outcome {
    if let Some(shell) = matches.get_one::<Shell>("shell") {
        let mut text = Vec::new();
        clap_complete::generate(*shell, &mut crate::command(), "loopwork", &mut text);
        std::io::stdout().write_all(&text)?;
    }
    Ok(())
}
