//! `versus http`: a greeting by HTTP/1.1, by ours and by peers.

use crate::args::Args;
use crate::compared::Compared;
use crate::exact::{self, Calls};
use crate::http_load::{Clients, Load};
use crate::http_report::{self, Answer, Memory, Results, Row};
use crate::http_servers::{self, SERVERS};
use crate::report;
use crate::rounds::{self, Measured};
use crate::server::Server;
use crate::{chart, sys};
use std::cell::RefCell;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

const FLAGS: [&str; 7] =
    ["--rounds", "--seconds", "--loads", "--only", "--parts", "--json", "--svg"];
/// Before a server's processor is looked at: what compiles or fills caches at first has done so.
const WARM: Duration = Duration::from_millis(150);
/// Connections while memory is measured, and answers on each before.
const HELD: (usize, u64) = (256, 20);
/// Bytes of a kibibyte.
const KIB: u64 = 1024;

/// What is run: a name for `--loads`, connections, and requests that leave together.
const LOADS: [(&str, Load); 4] = [
    ("1", Load { conns: 1, depth: 1 }),
    ("64", Load { conns: 64, depth: 1 }),
    ("256", Load { conns: 256, depth: 1 }),
    ("64x16", Load { conns: 64, depth: 16 }),
];

/// A folder for the files of servers, gone with the value.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> io::Result<Folder> {
        let path = exact::scratch("http");
        std::fs::create_dir_all(&path)?;
        Ok(Folder(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// This process is a server, on a core of its own.
///
/// # Errors
/// What the kernel says.
pub(crate) fn serve(name: &str, depth: &str, folder: &str, core: &str) -> io::Result<()> {
    sys::die_with_parent();
    sys::descriptors()?;
    sys::pin(core.parse().map_err(io::Error::other)?);
    http_servers::run(name, depth, folder)
}

/// Starts a server on the first core, behind a tool if one is given, and waits until it listens.
pub(crate) fn start(
    tool: &[&str],
    name: &str,
    depth: usize,
    folder: &Folder,
) -> io::Result<Server> {
    let path = folder.0.display().to_string();
    Server::listening(tool, &["http-server", name, &depth.to_string(), &path, "0"])
}

/// Runs all of it, or the `--parts` that are named: `rates`, `calls`, `exact`, `memory`.
///
/// # Errors
/// Wrong arguments, a server that answers wrongly, a file that cannot be written.
pub(crate) fn run(words: &[&str]) -> io::Result<()> {
    let args = Args::of(words, &FLAGS)?;
    let part = |name| args.lists("--parts", name);
    let (rounds, seconds) = (args.number("--rounds", 12)?, args.number("--seconds", 1.0)?);
    let time = Duration::try_from_secs_f64(seconds).map_err(io::Error::other)?;
    let folder = Folder::new()?;
    sys::descriptors()?;
    sys::pin(1);
    // The raw one is what the others are measured by.
    let wanted = |s: &&str| *s == SERVERS[0] || args.lists("--only", s);
    let wanted: Vec<&'static str> = SERVERS.into_iter().filter(wanted).collect();
    let mut results = Results { rounds, seconds, ..Results::default() };
    results.answers = answers(&wanted, &folder)?;
    let there = |s: &&'static str| results.answers.iter().any(|a| a.server == *s && a.bytes > 0);
    let servers: Vec<&'static str> = wanted.into_iter().filter(there).collect();
    if part("rates") || part("calls") {
        println!("\n{rounds} alternating rounds of {seconds} s; {}\n", report::machine());
        println!("{}", http_report::head());
        for (_, load) in LOADS.into_iter().filter(|load| args.lists("--loads", load.0)) {
            let rounds = part("rates").then_some(rounds);
            results.rows.extend(rates(&servers, load, (rounds, time), part("calls"), &folder)?);
        }
    }
    if part("exact") {
        results.exact = exact(&servers, &folder);
    }
    if part("memory") {
        results.memory = memory(&servers, &folder)?;
    }
    if let Some(path) = args.text("--json") {
        std::fs::write(path, results.json())?;
    }
    if let Some(path) = args.text("--svg") {
        let rows: Vec<report::Row> = results.rows.iter().map(Row::for_chart).collect();
        std::fs::write(path, chart::draw("loopwork and its peers: HTTP/1.1", &rows, &[]))?;
    }
    Ok(())
}

/// Who is there, what it is, and how long its answer is.
fn answers(servers: &[&'static str], folder: &Folder) -> io::Result<Vec<Answer>> {
    println!("| server | what it is | bytes of an answer |\n|---|---|---|");
    let mut all = Vec::new();
    for &server in servers {
        if let Some(Err(why)) = http_servers::program(server) {
            println!("| {server} | {why} | – |");
            all.push(Answer { server, about: why.to_string(), bytes: 0 });
            continue;
        }
        let named = |e: io::Error| io::Error::new(e.kind(), format!("{server}: {e}"));
        let process = start(&[], server, 1, folder).map_err(named)?;
        let one = Load { conns: 1, depth: 1 };
        let bytes = Clients::open(process.port, one).map_err(named)?.answer();
        let about = http_servers::about(server);
        println!("| {server} | {about} | {bytes} |");
        all.push(Answer { server, about, bytes });
    }
    Ok(all)
}

/// All servers under one load: a row each. `rounds`: if they are timed at all.
fn rates(
    servers: &[&'static str],
    load: Load,
    (rounds, time): (Option<usize>, Duration),
    count_calls: bool,
    folder: &Folder,
) -> io::Result<Vec<Row>> {
    // The connections of the warm-up go on, so that no accept is measured.
    let open: RefCell<Option<Clients>> = RefCell::new(None);
    let measured = rounds::alternate(
        servers,
        rounds.unwrap_or(0),
        &|name| start(&[], name, load.depth, folder),
        &|port| {
            let mut clients = Clients::open(port, load)?;
            let done = clients.run(WARM);
            *open.borrow_mut() = Some(clients);
            done
        },
        &|_| match open.borrow_mut().take() {
            Some(mut clients) => clients.run(time),
            None => Err(io::Error::other("no connections")),
        },
    )?;
    let of = |name: &str| measured.get(name).cloned().unwrap_or_default();
    let (raw, ours): (Measured, Measured) = (of(SERVERS[0]), of("loopwork"));
    let count_calls = count_calls && exact::have("strace");
    let mut rows = Vec::new();
    for &server in servers {
        let calls = count_calls.then(|| calls(server, load, folder));
        if let Some(Err(e)) = &calls {
            eprintln!("{server}: its calls are not counted: {e}");
        }
        let (raw, ours) = (raw.clone(), ours.clone());
        let calls = calls.and_then(Result::ok);
        let compared = Compared { measured: of(server), raw, ours, calls };
        let row = Row { load, server, compared };
        println!("{}", row.line());
        rows.push(row);
    }
    Ok(rows)
}

/// Runs a server behind a tool for so many requests, and gives what the tool wrote.
fn behind(
    tool: &[&str],
    out: &Path,
    name: &str,
    (load, count): (Load, u64),
    folder: &Folder,
) -> io::Result<(String, u64)> {
    let server = start(tool, name, load.depth, folder)?;
    let done = Clients::open(server.port, load)?.lockstep(count)?;
    server.finish()?;
    let text = std::fs::read_to_string(out)?;
    std::fs::remove_file(out)?;
    Ok((text, done))
}

/// The server's system calls for each request in lockstep: the difference of two run lengths.
fn calls(name: &str, load: Load, folder: &Folder) -> io::Result<Calls> {
    let run = |rounds: u64| -> io::Result<([u64; 4], u64)> {
        let out = exact::scratch("strace-http");
        let file = out.display().to_string();
        let tool = ["strace", "-f", "-c", "-o", &file];
        let count = rounds * (load.conns * load.depth) as u64;
        let (text, done) = behind(&tool, &out, name, (load, count), folder)?;
        Ok((exact::by_kind(&text), done))
    };
    // Every call stops the server twice: not more than it takes to see that each is alike.
    let some = if load.conns == 1 { 200 } else { 8 };
    let ((short, n), (long, m)) = (run(some)?, run(some * 4)?);
    let each = |i: usize| (long[i] as f64 - short[i] as f64).max(0.0) / (m - n).max(1) as f64;
    Ok(Calls { reads: each(0), writes: each(1), waits: each(2), others: each(3) })
}

/// User-space instructions of each request in lockstep, of servers that are of this program.
fn exact(servers: &[&'static str], folder: &Folder) -> Vec<http_report::Exact> {
    println!("\nexact: in lockstep\n\n| load | connections | server | user instructions/request |");
    println!("|---|---|---|---|");
    let mut all = Vec::new();
    for load in [(1, 1), (32, 1), (4, 16)].map(|(conns, depth)| Load { conns, depth }) {
        for &server in servers.iter().filter(|s| http_servers::program(s).is_none()) {
            let run = |count: u64| -> io::Result<(u64, u64)> {
                let out = exact::scratch("callgrind-http");
                let file = format!("--callgrind-out-file={}", out.display());
                let tool = ["valgrind", "--tool=callgrind", &file];
                let (text, n) = behind(&tool, &out, server, (load, count), folder)?;
                let line = text.lines().find_map(|l| l.strip_prefix("summary: "));
                let line = line.or_else(|| text.lines().find_map(|l| l.strip_prefix("totals: ")));
                let total = line.and_then(|l| l.split(' ').next()).and_then(|n| n.parse().ok());
                Ok((total.ok_or_else(|| io::Error::other("no summary"))?, n))
            };
            let each = || -> io::Result<f64> {
                let ((short, n), (long, m)) = (run(320)?, run(1_920)?);
                Ok(long.saturating_sub(short) as f64 / (m - n) as f64)
            };
            let (instructions, name) = (each(), load.name());
            let text = match &instructions {
                Ok(n) => format!("{n:.0}"),
                Err(e) => format!("not counted: {e}"),
            };
            println!("| {name} | {} | {server} | {text} |", load.conns);
            all.push((server, load, instructions.ok()));
        }
    }
    all
}

/// What each server holds in memory with its connections open, after some traffic on each.
fn memory(servers: &[&'static str], folder: &Folder) -> io::Result<Vec<Memory>> {
    let (conns, answers) = HELD;
    println!("\nmemory with {conns} connections, after {answers} answers on each\n");
    println!("| server | resident | of it its own |\n|---|---|---|");
    let mut all = Vec::new();
    for &server in servers {
        let process = start(&[], server, 1, folder)?;
        let mut clients = Clients::open(process.port, Load { conns, depth: 1 })?;
        clients.lockstep(answers * conns as u64)?;
        let (resident, own) = (resident(&process)?, process.resident()?);
        println!("| {server} | {} KiB | {} KiB |", resident / KIB, own / KIB);
        all.push(Memory { server, conns, resident, own });
    }
    Ok(all)
}

/// Bytes of memory that a server's process has, of files too.
pub(crate) fn resident(server: &Server) -> io::Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{}/status", server.id()))?;
    let line = text.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    let kib = line.and_then(|l| l.trim().split(' ').next()).and_then(|n| n.parse::<u64>().ok());
    kib.map(|n| n * KIB).ok_or_else(|| io::Error::other("the kernel does not tell"))
}
