//! `versus http-load`: thousands of connections, each with a request under way all the time, for a
//! minute: no error, no growing memory, and how long the slowest waited, beside nginx.
//!
//! Rules:
//! * All servers run at once and keep all their connections. The load goes from one to the next
//!   every second, so that a change of the machine concerns all of them; the times are of its own
//!   seconds alone.
//! * An answer that is wrong, a connection that ends, memory that grows: the command fails. What
//!   is timed is told, and fails nothing.

use crate::args::Args;
use crate::http::{self, Folder};
use crate::http_load::{Clients, Load};
use crate::http_servers::{self, SERVERS};
use crate::report::{self, Object};
use crate::server::Server;
use crate::sys;
use std::io;
use std::time::Duration;

const FLAGS: [&str; 4] = ["--conns", "--seconds", "--only", "--json"];
/// Who is compared where `--only` does not say otherwise.
const USUAL: [&str; 2] = ["loopwork", "nginx"];
/// How long the load stays with one server.
const SLICE: Duration = Duration::from_secs(1);
/// The memory is looked at so often, in slices.
const STEP: u64 = 10;
/// What a server may grow by between the first look at its memory and the last: an allocator
/// still moves some pages about. A request that leaked one byte would show by megabytes.
const GROWTH: u64 = 1024 * 1024;
/// Descriptors of this process that are no connection.
const OTHERS: u64 = 100;
const KIB: u64 = 1024;

/// One server under this load.
struct Run {
    name: &'static str,
    server: Server,
    clients: Clients,
    requests: u64,
    time: Duration,
    /// Bytes, at each look.
    memory: Vec<u64>,
}

/// Runs it.
///
/// # Errors
/// Wrong arguments, too few descriptors; an answer that is wrong, a connection that ends; memory
/// that grows.
pub(crate) fn run(words: &[&str]) -> io::Result<()> {
    let args = Args::of(words, &FLAGS)?;
    let (conns, seconds): (usize, u64) =
        (args.number("--conns", 9000)?, args.number("--seconds", 60)?);
    let wanted = |s: &&str| match args.text("--only") {
        Some(_) => args.lists("--only", s),
        None => USUAL.contains(s),
    };
    let wanted: Vec<&'static str> = SERVERS.into_iter().filter(wanted).collect();
    let (need, have) = ((wanted.len() * conns) as u64 + OTHERS, sys::descriptors()?);
    if conns == 0 || seconds == 0 || need > have {
        let text = format!("{need} descriptors are needed, {have} can be had; --conns N for less");
        return Err(io::Error::other(text));
    }
    sys::pin(1);
    let folder = Folder::new()?;
    let mut runs = Vec::new();
    for name in wanted {
        match http_servers::program(name) {
            Some(Err(why)) => println!("{name}: {why}"),
            _ => runs.push(open(name, conns, &folder)?),
        }
    }
    if runs.is_empty() {
        return Err(io::Error::other("there is no server"));
    }
    println!(
        "{conns} connections each, one request under way on each, {seconds} s each in turns of \
         {SLICE:?}; {}\n",
        report::machine()
    );
    println!("| s | server | requests/s | p50 ms | p99 ms | most ms | resident KiB |");
    println!("|---|---|---|---|---|---|---|");
    for second in 1..=seconds {
        for run in &mut runs {
            run.slice().map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", run.name)))?;
            if second.is_multiple_of(STEP) || second == seconds {
                run.memory.push(http::resident(&run.server)?);
                println!("{}", run.line(second));
            }
        }
    }
    if let Some(path) = args.text("--json") {
        let rows = report::array(runs.iter().map(|run| run.json(conns)));
        let members = [("seconds", seconds.to_string()), ("rows", rows)];
        std::fs::write(path, report::document("versus http-load", &members))?;
    }
    verdict(&runs)
}

/// A server with all its connections; each has had an answer, and a second of load is behind it.
fn open(name: &'static str, conns: usize, folder: &Folder) -> io::Result<Run> {
    let server = http::start(&[], name, 1, folder)?;
    let mut clients = Clients::open(server.port, Load { conns, depth: 1 })?;
    clients.run(SLICE)?;
    clients.keep_times();
    Ok(Run { name, server, clients, requests: 0, time: Duration::ZERO, memory: Vec::new() })
}

/// What is to be said in the end.
fn verdict(runs: &[Run]) -> io::Result<()> {
    println!();
    let mut leaks = Vec::new();
    for run in runs {
        let (first, last) = (run.memory[0], run.memory[run.memory.len() - 1]);
        let grown = last.saturating_sub(first);
        println!(
            "{}: {} requests, no error; resident memory grew by {} KiB between the first look and \
             the last; p99 {:.1} ms, {:.2} × {}'s",
            run.name,
            run.requests,
            grown / KIB,
            run.percentile(99.0),
            run.percentile(99.0) / runs[runs.len() - 1].percentile(99.0),
            runs[runs.len() - 1].name
        );
        if grown > GROWTH {
            leaks.push(run.name);
        }
    }
    match leaks.is_empty() {
        true => Ok(()),
        false => Err(io::Error::other(format!("memory grew: {}", leaks.join(", ")))),
    }
}

impl Run {
    fn slice(&mut self) -> io::Result<()> {
        let done = self.clients.run(SLICE)?;
        self.requests += done.count;
        self.time += done.time;
        Ok(())
    }

    /// Within how many milliseconds so many of a hundred requests were answered.
    fn percentile(&self, percent: f64) -> f64 {
        let mut times = self.clients.times().to_vec();
        let at = ((times.len() as f64 * percent / 100.0) as usize).min(times.len() - 1);
        f64::from(*times.select_nth_unstable(at).1) / 1000.0
    }

    fn line(&self, second: u64) -> String {
        format!(
            "| {second} | {} | {:.0} | {:.1} | {:.1} | {:.1} | {} |",
            self.name,
            self.requests as f64 / self.time.as_secs_f64(),
            self.percentile(50.0),
            self.percentile(99.0),
            self.percentile(100.0),
            self.memory.last().copied().unwrap_or_default() / KIB
        )
    }

    fn json(&self, conns: usize) -> String {
        let mut object = Object::new();
        object.text("server", self.name).number("connections", conns as f64);
        object.number("requests", self.requests as f64);
        object.number("per_second", self.requests as f64 / self.time.as_secs_f64());
        for (name, percent) in [("p50_ms", 50.0), ("p99_ms", 99.0), ("max_ms", 100.0)] {
            object.number(name, self.percentile(percent));
        }
        let memory: Vec<String> = self.memory.iter().map(u64::to_string).collect();
        object.raw("resident_bytes", &format!("[{}]", memory.join(", "))).end()
    }
}
