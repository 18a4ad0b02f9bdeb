//! `loopwork bench`: load on an HTTP or WebSocket server, and how long it took to answer.
//!
//! Rules of this file:
//! * One loop a thread, nothing shared but a counter. This thread keeps the time, hears signals,
//!   and tells how it goes.
//! * What makes the figures say less than they seem to is told with them: a client that is the
//!   bottleneck, ports that run short.

mod http;
mod load;
mod pace;
mod page;
mod tally;
mod ws;

use crate::common::{self, Fail, Outcome, parsed, text};
use crate::idn;
use crate::tls;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use http::Http;
use load::{Load, Plan, Speech};
use loopwork::http::Url;
use loopwork::reactor::Mailbox;
use loopwork::signal::{self, SIGINT, SIGTERM};
use loopwork::tcp::{self, Host, Protocol};
use loopwork::tls::Tls;
use loopwork::{Env, Handle, Loop, Os};
use std::io::{self, IsTerminal, Write};
use std::ops::ControlFlow;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;
use tally::{Run, Tally};
use ws::WebSocket;

const EXAMPLES: &str = "\
Examples:
  loopwork bench http://127.0.0.1:8080/              50 connections, 10 seconds
  loopwork bench -c 200 -d 30s --latency http://127.0.0.1:8080/
  loopwork bench -n 100000 --json http://127.0.0.1:8080/
  loopwork bench -R 2000 --html run.html http://127.0.0.1:8080/
  loopwork bench --size 125 --depth 16 ws://127.0.0.1:9000/     WebSocket messages, echoed

With -R requests are due at fixed instants, and a latency counts from when its request was due:
what a server that stalls makes everybody wait is in it. Without, each connection asks when it has
been answered, so that a stall is one slow answer a connection, however long it lasts.

Over ws:// a request is a message, and its answer is the next message that comes back.
";

/// How long, if nobody says.
const DURATION: Duration = Duration::from_secs(10);
/// How often a terminal is told how it goes.
const SHOWN: Duration = Duration::from_millis(250);
/// Descriptors beside those of the connections.
const SPARE: u64 = 24;
/// A thread that works for more of its time than this is what is measured.
const BUSY: f64 = 0.9;

fn numbers() -> [Arg; 7] {
    let number = |name, short, value, help| {
        let arg = Arg::new(name).long(name).value_name(value).help(help);
        if short == ' ' { arg } else { arg.short(short) }
    };
    [
        number("connections", 'c', "N", "Connections, over all threads")
            .value_parser(value_parser!(u32).range(1..=1_000_000))
            .default_value("50"),
        number("duration", 'd', "TIME", "How long: 10, 10s, 500ms, 2m [default: 10s]")
            .value_parser(duration)
            .conflicts_with("requests"),
        number("requests", 'n', "N", "How many requests, instead of how long")
            .value_parser(value_parser!(u64).range(1..)),
        number("rate", 'R', "N", "Requests a second, due at fixed instants").value_parser(rate),
        number("depth", ' ', "N", "Requests at once on a connection (pipelining)")
            .value_parser(value_parser!(u32).range(1..=1024))
            .default_value("1"),
        number("threads", 't', "N", "Threads, each with a loop of its own")
            .value_parser(value_parser!(u32).range(1..=256))
            .default_value("1"),
        number("timeout", ' ', "TIME", "How long an answer may take")
            .value_parser(duration)
            .default_value("30s"),
    ]
}

pub(crate) fn command() -> Command {
    let value = |name, value, help| Arg::new(name).long(name).value_name(value).help(help);
    let flag = |name, help| Arg::new(name).long(name).help(help).action(ArgAction::SetTrue);
    Command::new("bench")
        .about("Measure an HTTP or WebSocket server under load")
        .after_help(EXAMPLES)
        .arg(
            Arg::new("url")
                .value_name("URL")
                .help("http://HOST[:PORT]/PATH or ws://HOST[:PORT]/PATH")
                .required(true),
        )
        .args(numbers())
        .arg(
            value("header", "LINE", "A header: 'Name: value'")
                .short('H')
                .allow_hyphen_values(true)
                .action(ArgAction::Append),
        )
        .arg(value("request", "METHOD", "The method [default: GET, with a body POST]").short('X'))
        .arg(
            value("body", "DATA", "A body, or a message; @FILE reads it")
                .short('b')
                .allow_hyphen_values(true),
        )
        .arg(
            value("size", "N", "ws: so many bytes as a message [default: 20]")
                .value_parser(value_parser!(u32).range(0..=ws::SIZE_MAX))
                .conflicts_with("body"),
        )
        .arg(
            value("warm-up", "TIME", "Count nothing for so long")
                .value_parser(duration)
                .default_value("0"),
        )
        .args(tls::client_args())
        .arg(flag("latency", "Show the whole spectrum of latencies"))
        .arg(flag("json", "Print one JSON object"))
        .arg(value("html", "FILE", "Write a page with plots, too"))
}

/// `10`, `10s`, `500ms`, `2m`, `1h`.
fn duration(text: &str) -> Result<Duration, String> {
    let end = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = match unit {
        "ms" => 1e-3,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err("a unit is ms, s, m or h".to_string()),
    };
    let number: f64 = number.parse().map_err(|_| "not a number".to_string())?;
    let time = Duration::try_from_secs_f64(number * unit);
    time.map_err(|_| "not a time that one can wait".to_string())
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "not a number".to_string())?;
    let fits = (0.001..=1e7).contains(&rate);
    fits.then_some(rate).ok_or_else(|| "from 0.001 to 10000000 a second".to_string())
}

pub(crate) fn run(matches: &ArgMatches) -> Outcome {
    let given = idn::url(text(matches, "url").unwrap_or_default());
    let url = Url::parse(&given, &["http", "https", "ws", "wss"]).map_err(|bad| {
        Fail::usage(format!(
            "that is no URL for a bench: {bad}; take http[s]:// or ws[s]://HOST[:PORT]/PATH"
        ))
    })?;
    let wanted = Wanted::of(matches, &url)?;
    let mut warnings = wanted.warnings()?;
    let tally = measure(&wanted)?;
    if io::stderr().is_terminal() {
        let _ = write!(io::stderr(), "\r\x1b[K");
    }
    let time = tally.time;
    let busy = tally.cpu.map(|cpu| cpu.as_secs_f64() / time.as_secs_f64().max(1e-9));
    if busy.is_some_and(|busy| busy > BUSY * wanted.threads as f64) {
        warnings.push(
            "the client has no time left: it is what was measured; give it --threads, or \
                       a machine of its own"
                .to_string(),
        );
    }
    if tally.unanswered > wanted.plan.connections as u64 {
        let count = tally.unanswered;
        warnings.push(format!(
            "{count} {}s were due and had no answer when the run ended: the latencies are \
             without them, and so too good",
            wanted.wire.unit()
        ));
    }
    let told = Run {
        url: &url.to_string(),
        unit: wanted.wire.unit(),
        threads: wanted.threads,
        connections: wanted.plan.connections,
        depth: wanted.plan.depth,
        rate: wanted.plan.rate,
        time: time.saturating_sub(wanted.plan.warm_up),
        tally: &tally,
        warnings: &warnings,
    };
    if let Some(path) = text(matches, "html") {
        std::fs::write(path, page::page(&told)).map_err(|error| {
            Fail::failed(format!("cannot write {path}: {}; check --html", common::reason(&error)))
        })?;
    }
    let report =
        if matches.get_flag("json") { told.json() } else { told.text(matches.get_flag("latency")) };
    let mut out = std::io::stdout().lock();
    // Whoever closed stdout does not want it.
    let _ = out.write_all(report.as_bytes()).and_then(|()| out.flush());
    if let Some(number) = tally.signal {
        // 130 after ^C, as everywhere.
        return Err(Fail::new(128 + number, ""));
    }
    match (tally.requests(), tally.errors.all()) {
        (0, 0) => Err(Fail::failed("no answer came in that time")),
        (0, _) => Err(Fail::failed(format!("no answer came; is a server at {url}?"))),
        _ => Ok(()),
    }
}

/// What is spoken.
#[derive(Clone)]
enum Wire {
    /// And whether answers have no body.
    Http {
        head_only: bool,
    },
    Ws(ws::Opening),
}

impl Wire {
    /// What one of those is that are counted.
    fn unit(&self) -> &'static str {
        match self {
            Wire::Http { .. } => "request",
            Wire::Ws(_) => "message",
        }
    }
}

/// The arguments, checked.
struct Wanted {
    plan: Plan,
    wire: Wire,
    threads: usize,
}

impl Wanted {
    fn of(matches: &ArgMatches, url: &Url) -> Result<Wanted, Fail> {
        let number = |name| parsed::<u32>(matches, name).unwrap_or(1) as usize;
        let (connections, threads) = (number("connections"), number("threads"));
        if threads > connections {
            let text = format!("{threads} threads for {connections} connections; give more -c");
            return Err(Fail::usage(text));
        }
        let requests: Option<u64> = parsed(matches, "requests");
        let duration = parsed(matches, "duration");
        let to = loopwork::resolve(&url.host, url.port).map_err(|error| {
            let why = common::reason(&error);
            Fail::failed(format!("cannot find {}: {why}; check the name", url.host))
        })?;
        let depth = number("depth");
        let (request, wire) = match url.scheme.as_str() {
            "ws" | "wss" => {
                let (message, opening) = ws::message(matches, url, depth)?;
                (message, Wire::Ws(opening))
            }
            _ => {
                let (request, head_only) = http::request(matches, url)?;
                (request, Wire::Http { head_only })
            }
        };
        let warm_up = parsed(matches, "warm-up").unwrap_or_default();
        let duration = match requests {
            Some(_) => None,
            None => Some(duration.unwrap_or(DURATION) + warm_up),
        };
        let secure = match url.scheme.as_str() {
            "https" | "wss" => Some(tls::Wanted::of(matches)?.dialing(&url.host)?),
            _ => None,
        };
        let plan = Plan {
            to,
            secure,
            request,
            connections,
            depth,
            requests,
            duration,
            rate: parsed(matches, "rate"),
            timeout: parsed(matches, "timeout").unwrap_or_default(),
            warm_up,
        };
        Ok(Wanted { plan, wire, threads })
    }

    /// What can be told beforehand.
    fn warnings(&self) -> Result<Vec<String>, Fail> {
        let (mut warnings, connections) = (Vec::new(), self.plan.connections as u64);
        let needed = connections + SPARE;
        if let Some(limit) = descriptors().filter(|limit| *limit < needed) {
            let text = format!(
                "{connections} connections need {needed} descriptors, and {limit} are allowed; \
                 say ulimit -n {needed}, or fewer -c"
            );
            return Err(Fail::failed(text));
        }
        if let Some(ports) = ports().filter(|ports| *ports < connections) {
            warnings.push(format!(
                "{connections} connections to one address, and {ports} ports for them \
                 (net.ipv4.ip_local_port_range)"
            ));
        }
        Ok(warnings)
    }

    /// The part of one thread.
    fn part(&self, number: usize) -> Plan {
        let threads = self.threads as u64;
        let share = |all: u64| all / threads + u64::from((number as u64) < all % threads);
        let mut plan = self.plan.clone();
        plan.connections = share(plan.connections as u64) as usize;
        plan.requests = plan.requests.map(share);
        plan.rate = plan.rate.map(|rate| rate / threads as f64);
        plan
    }
}

/// Descriptors that this process may have, if the system tells.
fn descriptors() -> Option<u64> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Ports that connections may begin from, if the system tells.
fn ports() -> Option<u64> {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let mut ends = range.split_whitespace().map_while(|end| end.parse::<u64>().ok());
    let (first, last) = (ends.next()?, ends.next()?);
    Some(last.saturating_sub(first) + 1)
}

/// Lets the threads work; what they have measured together.
fn measure(wanted: &Wanted) -> Result<Tally, Fail> {
    let mut lp = Loop::new(Os::new()?);
    let live = Arc::new(AtomicU64::new(0));
    let last = Arc::new(Last(lp.mailbox()?));
    let (tell, told) = channel();
    let mut threads: Vec<JoinHandle<io::Result<Tally>>> = Vec::new();
    for number in 0..wanted.threads {
        let (plan, wire) = (wanted.part(number), wanted.wire.clone());
        let (live, tell, last) = (live.clone(), tell.clone(), last.clone());
        let thread = std::thread::Builder::new().name(format!("bench-{number}"));
        threads.push(thread.spawn(move || {
            let measured = match wire {
                Wire::Http { head_only } => work(plan, Http::new(head_only), live, &tell),
                Wire::Ws(opening) => work(plan, WebSocket::new(opening), live, &tell),
            };
            drop((tell, last));
            measured
        })?);
    }
    drop((tell, last));
    // Of each thread that has begun; one that cannot says so when it is joined.
    let mailboxes: Vec<Mailbox> = told.iter().take(wanted.threads).collect();
    let heard = Arc::new(AtomicU8::new(0));
    let hears = heard.clone();
    signal::watch(&mut lp, &[SIGINT, SIGTERM], move |_, number| {
        hears.store(u8::try_from(number).unwrap_or(0), Ordering::Relaxed);
        mailboxes.iter().for_each(Mailbox::stop);
    })?;
    if io::stderr().is_terminal() {
        show(&mut lp, live);
    }
    lp.env.calls.hold();
    lp.run()?;
    let mut tally: Option<Tally> = None;
    for thread in threads {
        let one = thread.join().map_err(|_| Fail::failed("a thread of the load panicked"))??;
        match &mut tally {
            None => tally = Some(one),
            Some(all) => all.add(&one),
        }
    }
    let mut tally = tally.unwrap_or_default();
    tally.signal = Some(heard.load(Ordering::Relaxed)).filter(|number| *number != 0);
    Ok(tally)
}

/// Held by all threads that work: when the last one lets go, the main loop ends.
struct Last(Mailbox);

impl Drop for Last {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// One thread's work.
fn work<S: Speech>(
    plan: Plan,
    speech: S,
    live: Arc<AtomicU64>,
    tell: &Sender<Mailbox>,
) -> io::Result<Tally> {
    let mut lp = Loop::new(Os::new()?);
    // Who is not there any more has no use for it.
    let _ = tell.send(lp.mailbox()?);
    let (began, duration) = (cpu(), plan.duration);
    let (to, secure) = (plan.to.clone(), plan.secure.clone());
    let tally = match secure {
        None => {
            let load = tcp::add(&mut lp, |me| {
                let dialer = Rc::new(move |env: &mut Env, conn| load::dial(env, me, &to, conn));
                Load::new(dialer, plan, speech, live)
            });
            drive(&mut lp, load, duration, |load| load)
        }
        Some(secure) => {
            let load = tcp::add(&mut lp, |me| {
                let dialer = Rc::new(move |env: &mut Env, conn| {
                    // What cannot be begun was told before the first.
                    if let Ok(conn) = secure.conn(conn) {
                        load::dial(env, me, &to, conn);
                    }
                });
                Tls::client(Load::new(dialer, plan, speech, live))
            });
            drive(&mut lp, load, duration, |tls| &mut tls.inner)
        }
    };
    let mut tally = tally?;
    tally.cpu = cpu().zip(began).map(|(now, began)| now.saturating_sub(began));
    Ok(tally)
}

/// Runs a load to its end, whatever lies around it; what it has measured.
fn drive<P: Protocol, S: Speech>(
    lp: &mut Loop<Os>,
    load: Handle<Host<P>>,
    duration: Option<Duration>,
    within: impl Fn(&mut P) -> &mut Load<S>,
) -> io::Result<Tally> {
    lp.with(load, |host, cx| {
        if let Some(duration) = duration {
            let end = cx.env.after(duration, |env| env.calls.stop());
            cx.env.calls.unref(end);
        }
        within(&mut host.protocol).begin(cx.env);
    });
    lp.run()?;
    let now = lp.env.now;
    Ok(within(&mut lp.get(load).protocol).end(now))
}

/// Processor time of this thread, if the system tells (`/proc/thread-self/schedstat`).
fn cpu() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

/// Tells a terminal how it goes, on one line that is wiped in the end.
fn show(lp: &mut Loop<Os>, live: Arc<AtomicU64>) {
    let (mut before, mut since) = (0, lp.env.now);
    let beat = lp.env.every(SHOWN, move |env| {
        let all = live.load(Ordering::Relaxed);
        let rate = (all - before) as f64 / env.now.since(since).as_secs_f64().max(1e-9);
        (before, since) = (all, env.now);
        let mut stderr = io::stderr().lock();
        // A terminal that is gone is told nothing.
        let _ = write!(stderr, "\r\x1b[K{all} answers, {rate:.0}/s").and_then(|()| stderr.flush());
        ControlFlow::Continue(())
    });
    lp.env.calls.unref(beat);
}
