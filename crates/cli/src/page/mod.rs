//! `loopwork get --page`: a page with all that it embeds, and when each of it came.
//!
//! Rules of this folder:
//! * `html.rs` and `css.rs` find URLs in a text and know nothing else; `load.rs` fetches, on any
//!   world; `waterfall.rs` draws.
//! * Every time is that of the turn in which the loop saw it. What was not seen is not shown.

mod css;
mod html;
mod load;
mod waterfall;

use crate::common::{Fail, Outcome};
use crate::tls::{self, Wanted};
use clap::ArgMatches;
use load::Load;
use loopwork::fetch::{SCHEMES, Settings};
use loopwork::http::Url;
use loopwork::http::client::{Client, Config};
use loopwork::{Agent, Loop, Os, signal};
use std::io::Write;

/// As browsers over HTTP/1.1.
const CONNECTIONS: usize = 6;
/// Exit codes of shells after a signal: this and its number.
const SIGNALLED: i32 = 128;

pub(crate) fn run(matches: &ArgMatches) -> Outcome {
    check(matches)?;
    let urls: Vec<&String> = matches.get_many("url").into_iter().flatten().collect();
    let [url] = urls[..] else {
        return Err(Fail::usage("--page takes one URL; load other pages by calls of their own"));
    };
    let url = Url::parse(url, SCHEMES)
        .map_err(|why| Fail::new(3, format!("{url} is no URL to load: {why}")))?;
    let trust = Wanted::of(matches)?;
    let mut lp = Loop::new(Os::new()?);
    signal::watch(&mut lp, &[signal::SIGINT, signal::SIGTERM], |_, number| {
        std::process::exit(SIGNALLED + number);
    })?;
    let mut config = Config::default();
    (config.per_address, config.free_per_address) = (CONNECTIONS, CONNECTIONS);
    let client = Client::with_config(&mut lp, config);
    let agent = Agent::with(&mut lp, client, Settings::default());
    agent.secure(&mut lp, move || trust.config());
    let load = Load::begin(&mut lp.env, agent, &url);
    while !load.is_over(&mut lp.env) {
        lp.turn(None)?;
    }
    let story = load.story(&mut lp.env);
    let drawn = waterfall::draw(story, columns());
    std::io::stdout().lock().write_all(drawn.as_bytes())?;
    let document = story.document();
    let (at, status, failure) = (document.url.clone(), document.status, document.failure.clone());
    match failure {
        // curl's codes: that of TLS where it was that, else 7 for all that came to no answer.
        Some(why) => {
            let text = format!("{at} could not be loaded: {why}");
            let secure = (at.scheme == "https").then(|| tls::why(&mut lp.env, &at.host)).flatten();
            let (code, text) = secure.unwrap_or((7, text));
            Err(Fail::new(code, text))
        }
        None if status >= 400 && matches.get_flag("fail") => {
            Err(Fail::new(22, format!("{at} answered {status}; without -f that is no failure")))
        }
        None => Ok(()),
    }
}

/// How wide it may be: what `COLUMNS` says, else the 80 of a terminal.
fn columns() -> usize {
    let said = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    said.unwrap_or(80)
}

/// Options that mean nothing here are refused, not passed over.
fn check(matches: &ArgMatches) -> Outcome {
    for option in ["output", "data", "upload-file", "write-out", "request", "header", "proxy"] {
        if matches.contains_id(option) {
            let why = format!("--{option} means nothing with --page; leave one of them out");
            return Err(Fail::usage(why));
        }
    }
    Ok(())
}
