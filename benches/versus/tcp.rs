//! `versus tcp`: streams, by ours and by peers.

use crate::args::Args;
use crate::exact::{self, Calls};
use crate::idle::{self, Memory};
use crate::load::{Kind, Until};
use crate::report::{self, Object, Row};
use crate::rounds::{self, Measured};
use crate::server::Server;
use crate::servers::{SERVERS, TRACED};
use crate::{chart, sys};
use std::io;
use std::time::Duration;

const FLAGS: [&str; 7] =
    ["--rounds", "--seconds", "--loads", "--only", "--parts", "--json", "--svg"];
/// Before a server's processor is looked at: what compiles or fills caches at first has done so.
const WARM: Duration = Duration::from_millis(150);
/// Idle connections whose memory is measured.
const IDLE: usize = 10_000;

/// What is run: a name, what it does, over how many connections, and how much of it while its
/// system calls are counted.
const LOADS: [(&str, Kind, usize, u64); 8] = [
    ("ping-pong", Kind::PingPong, 1, 500),
    ("ping-pong", Kind::PingPong, 64, 1280),
    ("ping-pong", Kind::PingPong, 1000, 4000),
    ("stream", Kind::Stream, 1, 500),
    ("stream", Kind::Stream, 64, 1000),
    ("sink", Kind::Sink, 1, 500),
    ("sink", Kind::Sink, 64, 1000),
    ("connect", Kind::Connect, 1, 200),
];

/// One server's instructions and calls, with so many connections.
type Exact = (&'static str, usize, io::Result<f64>, io::Result<Calls>);

/// Runs all of it, or the `--parts` that are named: `rates`, `calls`, `exact`, `memory`.
///
/// # Errors
/// Wrong arguments, a server that answers wrongly, a file that cannot be written.
pub(crate) fn run(words: &[&str]) -> io::Result<()> {
    let args = Args::of(words, &FLAGS)?;
    let part = |name| args.lists("--parts", name);
    let rounds = args.number("--rounds", 15)?;
    let seconds = args.number("--seconds", 1.0)?;
    sys::pin(1);
    // The raw one is what the others are measured by.
    let wanted = |s: &&str| *s == SERVERS[0] || args.lists("--only", s);
    let mut servers: Vec<&'static str> = SERVERS.into_iter().filter(wanted).collect();
    if args.text("--only").is_some() && args.lists("--only", TRACED) {
        servers.push(TRACED);
    }
    let mut rows = Vec::new();
    if part("rates") {
        println!("best of {rounds} alternating rounds of {seconds} s; {}\n", report::machine());
        println!("{}", report::HEAD);
        for load in LOADS.into_iter().filter(|load| args.lists("--loads", load.0)) {
            rows.extend(rates(&servers, load, rounds, seconds, part("calls"))?);
        }
    }
    let exact = if part("exact") { exact(&servers) } else { Vec::new() };
    let memory = if part("memory") { idle::measure(&servers, IDLE)? } else { Vec::new() };
    if let Some(path) = args.text("--json") {
        std::fs::write(path, json(&rows, &exact, &memory, rounds, seconds))?;
    }
    if let Some(path) = args.text("--svg") {
        std::fs::write(path, chart::draw("loopwork and its peers: TCP", &rows, &memory))?;
    }
    Ok(())
}

/// All servers under one load: a row each, printed when it is known.
fn rates(
    servers: &[&'static str],
    (name, kind, conns, some): (&'static str, Kind, usize, u64),
    rounds: usize,
    seconds: f64,
    count_calls: bool,
) -> io::Result<Vec<Row>> {
    let time = Duration::try_from_secs_f64(seconds).map_err(io::Error::other)?;
    let measured = rounds::alternate(
        servers,
        rounds,
        &|name| Server::start(name, kind.service()),
        &|port| kind.run(port, conns, Until::Over(WARM)),
        &|port| kind.run(port, conns, Until::Over(time)),
    )?;
    let base: Measured = measured.get(SERVERS[0]).cloned().unwrap_or_default();
    let count_calls = count_calls && exact::have("strace");
    let mut rows = Vec::new();
    for &server in servers {
        let calls = match count_calls && measured.contains_key(server) {
            true => exact::calls(server, kind, conns, some).ok().map(|calls| calls.sum()),
            false => None,
        };
        let measured = measured.get(server).cloned();
        let bytes = kind.bytes();
        let row = Row { load: name, bytes, conns, server, measured, base: base.clone(), calls };
        println!("{}", row.line());
        rows.push(row);
    }
    Ok(rows)
}

/// Instructions and calls of a ping-pong in lockstep.
fn exact(servers: &[&'static str]) -> Vec<Exact> {
    println!("\nexact: ping-pong of 64 B in lockstep\n");
    println!(
        "| connections | server | user instructions/message | reads | writes | waits | others |"
    );
    println!("|---|---|---|---|---|---|---|");
    let mut all = Vec::new();
    for (conns, &name) in exact::CONNS.into_iter().flat_map(|n| servers.iter().map(move |s| (n, s)))
    {
        let instructions = exact::instructions(name, conns);
        let calls = exact::calls(name, Kind::PingPong, conns, 40 * conns as u64);
        let front = match &instructions {
            Ok(n) => format!("{n:.0}"),
            Err(e) => format!("not counted: {e}"),
        };
        let back = match &calls {
            Ok(Calls { reads, writes, waits, others }) => {
                format!("{reads:.3} | {writes:.3} | {waits:.3} | {others:.3}")
            }
            Err(e) => format!("not counted: {e} | | |"),
        };
        println!("| {conns} | {name} | {front} | {back} |");
        all.push((name, conns, instructions, calls));
    }
    all
}

fn json(rows: &[Row], exact: &[Exact], idle: &[Memory], rounds: usize, seconds: f64) -> String {
    let exact = report::array(exact.iter().map(|(server, conns, instructions, calls)| {
        let mut object = Object::new();
        object.text("server", server).number("connections", *conns as f64);
        if let Ok(n) = instructions {
            object.number("user_instructions", *n);
        }
        if let Ok(Calls { reads, writes, waits, others }) = calls {
            object.number("reads", *reads).number("writes", *writes);
            object.number("waits", *waits).number("other_calls", *others);
        }
        object.end()
    }));
    let members = [
        ("rounds", rounds.to_string()),
        ("seconds", seconds.to_string()),
        ("rows", report::rows(rows)),
        ("exact", exact),
        ("memory", idle::json(idle)),
    ];
    report::document("versus tcp", &members)
}
