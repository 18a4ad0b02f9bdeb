//! `loopwork get --page`: a page with all that it embeds, and when each of it came.
//!
//! Rules of this folder:
//! * `html.rs` and `css.rs` find URLs in a text and know nothing else; `load.rs` fetches, on any
//!   world; `journal.rs` looks on from the loop, `account.rs` asks the kernel, `capture.rs` sees
//!   the wire; `phases.rs` puts them together; the others draw or write that.
//! * Every time is that of the turn in which the loop saw it. What was not seen is not shown, or
//!   said to be inferred.

mod account;
mod capture;
mod css;
mod export;
mod html;
mod journal;
mod ladder;
mod load;
mod phases;
mod slo;
mod svg;
mod waterfall;

use crate::common::{self, Fail, Outcome};
use crate::idn;
use crate::tls::{self, Wanted};
use account::Account;
use capture::Capture;
use clap::ArgMatches;
use clap::parser::ValueSource;
use journal::Journal;
use load::Load;
use loopwork::dns::Resolver;
use loopwork::fetch::{SCHEMES, Settings};
use loopwork::http::Url;
use loopwork::http::client::{Client, Config};
use loopwork::{Agent, Loop, Os, signal};
use slo::Limits;
use std::io::Write;
use std::time::{Duration, SystemTime};

/// As browsers over HTTP/1.1.
const CONNECTIONS: usize = 6;
/// For the servers' ends, behind ours: what is not there by then is not shown.
const ENDS: Duration = Duration::from_secs(1);
/// For a last acknowledgment to pass.
const LAST: Duration = Duration::from_millis(50);
/// The exit code of a limit that was missed.
const MISSED: u8 = 4;
/// Exit codes of shells after a signal: this and its number.
const SIGNALLED: i32 = 128;

pub(crate) fn run(matches: &ArgMatches) -> Outcome {
    check(matches)?;
    let urls: Vec<&String> = matches.get_many("url").into_iter().flatten().collect();
    let [url] = urls[..] else {
        return Err(Fail::usage("--page takes one URL; load other pages by calls of their own"));
    };
    let url = Url::parse(&idn::url(url), SCHEMES)
        .map_err(|why| Fail::new(3, format!("{url} is no URL to load: {why}")))?;
    let limits = common::text(matches, "slo").map(Limits::parse).transpose()?;
    let trust = Wanted::of(matches)?;
    let mut capture = matches.get_flag("capture").then(Capture::begin).transpose()?;
    let mut lp = Loop::new(Os::new()?);
    signal::watch(&mut lp, &[signal::SIGINT, signal::SIGTERM], |_, number| {
        std::process::exit(SIGNALLED + number);
    })?;
    let mut config = Config::default();
    (config.per_address, config.free_per_address) = (CONNECTIONS, CONNECTIONS);
    let client = Client::with_config(&mut lp, config);
    let mut settings = Settings::default();
    // The name is a part of the story: it is looked up on this loop.
    settings.resolver = Some(Resolver::system(&mut lp));
    let agent = Agent::with(&mut lp, client, settings);
    let secure = agent.secure(&mut lp, move || trust.config());
    lp.trace(Some(Box::new(Journal::default())));
    let clock = (lp.env.now, lp.env.unix_time());
    let mut account = Account::new(client, secure);
    let load = Load::begin(&mut lp.env, agent, &url);
    to_the_end(&mut lp, load, client, |lp| {
        account.look(lp);
        capture.iter_mut().for_each(Capture::look);
    })?;
    // Of the last segment, an acknowledgment, nothing tells the loop.
    if let Some(capture) = &mut capture {
        std::thread::sleep(LAST);
        capture.look();
    }
    let journal = Journal::take(&mut lp);
    let story = load.story(&mut lp.env);
    let phases = phases::of(story, &journal);
    let wire = capture.as_ref().zip(account.ends).map(|(seen, ends)| seen.between(ends, clock));
    let rungs = ladder::rungs(story, &phases, &journal, &account, wire.as_deref());
    if capture.is_some_and(|capture| capture.missed) {
        common::talk("there was more on the wire than is kept: the end of the ladder is not all");
    }
    let wall = SystemTime::UNIX_EPOCH + clock.1;
    let mut drawn = waterfall::draw(story, &phases, columns()) + &ladder::draw(&rungs);
    if matches.get_flag("story") {
        drawn = export::json(story, &phases, &rungs);
    }
    let files: [(&str, &dyn Fn() -> String); 3] = [
        ("har", &|| export::har(story, &phases, wall)),
        ("trace", &|| export::trace(story, &phases)),
        ("svg", &|| svg::draw(story, &phases, &rungs)),
    ];
    let missed = limits.and_then(|limits| limits.missed(story, &phases));
    write(matches, &drawn, &files)?;
    verdict(&mut lp, load, matches.get_flag("fail"), missed)
}

/// Loads all of it, and ends the connections: both ends of each belong to the story.
fn to_the_end(
    lp: &mut Loop<Os>,
    load: Load,
    client: Client,
    mut look: impl FnMut(&mut Loop<Os>),
) -> std::io::Result<()> {
    while !load.is_over(&mut lp.env) {
        lp.turn(None)?;
        look(lp);
    }
    client.close(&mut lp.env);
    let until = lp.env.now.after(ENDS);
    let open: Vec<_> = load.story(&mut lp.env).connections().collect();
    while lp.sources().iter().any(|(id, _)| open.contains(id)) && lp.env.now < until {
        lp.turn(Some(ENDS))?;
        look(lp);
    }
    Ok(())
}

/// How it ended, by curl's codes, for the page itself.
fn verdict(lp: &mut Loop<Os>, load: Load, fail: bool, missed: Option<String>) -> Outcome {
    let document = load.story(&mut lp.env).document();
    let (at, status, failure) = (document.url.clone(), document.status, document.failure.clone());
    match failure {
        // That of TLS where it was that.
        Some(why) => {
            let text = format!("{at} could not be loaded: {}", why.words);
            let secure = (at.scheme == "https").then(|| tls::why(&mut lp.env, &at.host)).flatten();
            let (code, text) = secure.unwrap_or((why.code, text));
            Err(Fail::new(code, text))
        }
        None if status >= 400 && fail => {
            Err(Fail::new(22, format!("{at} answered {status}; without -f that is no failure")))
        }
        None => match missed {
            Some(missed) => Err(Fail::new(MISSED, format!("{at}: {missed}"))),
            None => Ok(()),
        },
    }
}

/// The drawing goes to stdout, unless one of the files does, by the name `-`.
fn write(matches: &ArgMatches, drawn: &str, files: &[(&str, &dyn Fn() -> String)]) -> Outcome {
    let mut drawn = Some(drawn);
    let mut out = std::io::stdout().lock();
    for (option, text) in files {
        match common::text(matches, option) {
            Some("-") => {
                drawn = None;
                out.write_all(text().as_bytes())?;
            }
            Some(path) => std::fs::write(path, text()).map_err(|error| {
                let why = common::reason(&error);
                Fail::new(23, format!("cannot write {path}: {why}"))
            })?,
            None => {}
        }
    }
    Ok(out.write_all(drawn.unwrap_or_default().as_bytes())?)
}

/// How wide it may be: what `COLUMNS` says, else the 80 of a terminal.
fn columns() -> usize {
    let said = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    said.unwrap_or(80)
}

/// What has a meaning here; redirects are followed anyway, and there is nothing to be silent about.
const OPTIONS: [&str; 16] = [
    "url",
    "page",
    "capture",
    "story",
    "har",
    "trace",
    "svg",
    "slo",
    "fail",
    "insecure",
    "cacert",
    "cert",
    "key",
    "location",
    "silent",
    "show-error",
];

/// Other options are refused, not passed over.
fn check(matches: &ArgMatches) -> Outcome {
    let given = |id: &&str| matches.value_source(id) == Some(ValueSource::CommandLine);
    let ids = matches.ids().map(clap::Id::as_str);
    match ids.filter(|id| !OPTIONS.contains(id)).find(given) {
        Some(option) => {
            let why = format!("--{option} means nothing with --page; leave one of them out");
            Err(Fail::usage(why))
        }
        None => Ok(()),
    }
}
