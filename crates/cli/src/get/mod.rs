//! `loopwork get`: what curl does with HTTP.
//!
//! Rules of this folder:
//! * `arguments.rs` is the table of options, `wanted.rs` what they mean; `exchange.rs` is what the
//!   loop carries, `transfer.rs` decides between its requests; the rest is a room each.
//! * The body goes through, it is not kept: a slow stdout slows the server.
//! * What came in time is written before a failure is told.
//! * Who is redirected to another origin takes no credentials along, and only HTTP is followed.

mod arguments;
pub(crate) mod codes;
mod cookies;
mod data;
mod decoding;
mod exchange;
mod failure;
mod glob;
mod head;
mod progress;
mod report;
mod request;
mod route;
mod sink;
mod target;
mod timing;
mod transfer;
mod wanted;
mod watch;

pub(crate) use failure::code;

use crate::common::{Fail, Outcome};
use clap::{ArgMatches, Command};
use wanted::Wanted;

pub(crate) fn command() -> Command {
    arguments::command()
}

pub(crate) fn run(matches: &ArgMatches) -> Outcome {
    if matches.get_flag("page") {
        return crate::page::run(matches);
    }
    let quiet = matches.get_flag("silent") && !matches.get_flag("show-error");
    let outcome = Wanted::of(matches).and_then(transfer::all);
    outcome.map_err(|fail| if quiet { Fail::new(fail.code, "") } else { fail })
}
