//! `versus ws`: an echo by WebSocket, by ours and by peers; and `versus ws-idle`: what a connection
//! that does nothing costs in memory.

use crate::args::Args;
use crate::compared::Compared;
use crate::exact::{self, Calls};
use crate::report::{self, Object};
use crate::rounds::{self, Measured};
use crate::server::Server;
use crate::sys;
use crate::ws_load::{Clients, Load};
use crate::ws_report::{self, Exact, Results, Row, Who};
use crate::ws_servers::{self, SERVERS};
use std::cell::RefCell;
use std::io;
use std::path::Path;
use std::time::Duration;

const FLAGS: [&str; 6] = ["--rounds", "--seconds", "--loads", "--only", "--parts", "--json"];
/// What is run where `--loads` does not say: one in flight at three sizes, pipelines, and large
/// messages.
const LOADS: &str = "20x100,125x100,1024x100,20x1000,125x1000,1024x1000,20x100x16,125x100x16,\
                     1048576x1,1048576x10";
/// Under which instructions are counted: alone, many in one turn, and together.
const EXACT: [Load; 3] = [
    Load { size: 20, conns: 1, depth: 1 },
    Load { size: 20, conns: 32, depth: 1 },
    Load { size: 20, conns: 4, depth: 16 },
];
/// Before a server's processor is looked at: what compiles or fills caches at first has done so.
const WARM: Duration = Duration::from_millis(150);
/// The message of a server that is asked whether it is there, and of idle connections.
const SMALL: Load = Load { size: 20, conns: 1, depth: 1 };
/// Messages of the shorter run in which calls are counted, or two on each connection.
const CALLS: u64 = 800;
/// Connections that are there before idle ones are measured: what the first ones bring into memory
/// is there once, and not for each.
const FIRST: usize = 100;

/// This process is a server, on a core of its own.
///
/// # Errors
/// What the kernel says.
pub(crate) fn serve(name: &str, load: &str, core: &str) -> io::Result<()> {
    sys::die_with_parent();
    sys::descriptors()?;
    sys::pin(core.parse().map_err(io::Error::other)?);
    ws_servers::run(name, Load::parse(load)?)
}

/// Starts a server on the first core, behind a tool if one is given, and waits until it listens.
fn start(tool: &[&str], name: &str, load: Load) -> io::Result<Server> {
    let text = format!("{}x{}x{}", load.size, load.conns, load.depth);
    Server::listening(tool, &["ws-server", name, &text, "0"])
}

/// Runs all of it, or the `--parts` that are named: `rates`, `calls`, `exact`.
///
/// # Errors
/// Wrong arguments, a server that echoes wrongly, a file that cannot be written.
pub(crate) fn run(words: &[&str]) -> io::Result<()> {
    let args = Args::of(words, &FLAGS)?;
    let part = |name| args.lists("--parts", name);
    let (rounds, seconds) = (args.number("--rounds", 12)?, args.number("--seconds", 1.0)?);
    let time = Duration::try_from_secs_f64(seconds).map_err(io::Error::other)?;
    let loads: io::Result<Vec<Load>> =
        args.text("--loads").unwrap_or(LOADS).split(',').map(Load::parse).collect();
    let loads = loads?;
    sys::descriptors()?;
    sys::pin(1);
    let mut results = Results { rounds, seconds, ..Results::default() };
    results.servers = who(&wanted(&args))?;
    let servers: Vec<&'static str> =
        results.servers.iter().filter(|who| who.there).map(|who| who.server).collect();
    if part("rates") || part("calls") {
        println!("\n{rounds} alternating rounds of {seconds} s; {}\n", report::machine());
        println!("{}", ws_report::head());
        for load in loads {
            let rounds = part("rates").then_some(rounds);
            results.rows.extend(rates(&servers, load, (rounds, time), part("calls"))?);
        }
    }
    if part("exact") {
        results.exact = exact(&servers);
    }
    if let Some(path) = args.text("--json") {
        std::fs::write(path, results.json())?;
    }
    Ok(())
}

/// Who is asked for. The raw one is what the others are measured by.
fn wanted(args: &Args<'_>) -> Vec<&'static str> {
    SERVERS.into_iter().filter(|s| *s == SERVERS[0] || args.lists("--only", s)).collect()
}

/// Who is there, and what it is.
fn who(servers: &[&'static str]) -> io::Result<Vec<Who>> {
    println!("| server | what it is |\n|---|---|");
    let mut all = Vec::new();
    for &server in servers {
        let absent = match ws_servers::program(server) {
            Some(Err(why)) => Some(why.to_string()),
            // What is installed may lack something still.
            Some(Ok(_)) => start(&[], server, SMALL).err().map(|e| format!("absent: {e}")),
            None => None,
        };
        let (there, about) =
            (absent.is_none(), absent.unwrap_or_else(|| ws_servers::about(server)));
        println!("| {server} | {about} |");
        if there {
            let process = start(&[], server, SMALL)?;
            Clients::open(process.port, SMALL).map_err(|e| named(server, &e))?;
        }
        all.push(Who { server, about, there });
    }
    Ok(all)
}

fn named(server: &str, e: &io::Error) -> io::Error {
    io::Error::new(e.kind(), format!("{server}: {e}"))
}

/// All servers under one load: a row each. `rounds`: if they are timed at all.
fn rates(
    servers: &[&'static str],
    load: Load,
    (rounds, time): (Option<usize>, Duration),
    count_calls: bool,
) -> io::Result<Vec<Row>> {
    // The connections of the warm-up go on, so that no handshake is measured.
    let open: RefCell<Option<Clients>> = RefCell::new(None);
    let measured = rounds::alternate(
        servers,
        rounds.unwrap_or(0),
        &|name| start(&[], name, load),
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
        let calls = count_calls.then(|| calls(server, load));
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

/// Runs a server behind a tool for so many messages, and gives what the tool wrote.
fn behind(
    tool: &[&str],
    out: &Path,
    name: &str,
    (load, count): (Load, u64),
) -> io::Result<(String, u64)> {
    let server = start(tool, name, load)?;
    let done = Clients::open(server.port, load)?.lockstep(count)?;
    server.finish()?;
    let text = std::fs::read_to_string(out)?;
    std::fs::remove_file(out)?;
    Ok((text, done))
}

/// The server's system calls for each message in lockstep: the difference of two run lengths.
fn calls(name: &str, load: Load) -> io::Result<Calls> {
    let run = |rounds: u64| -> io::Result<([u64; 4], u64)> {
        let out = exact::scratch("strace-ws");
        let file = out.display().to_string();
        let tool = ["strace", "-f", "-c", "-o", &file];
        let count = rounds * (load.conns * load.depth) as u64;
        let (text, done) = behind(&tool, &out, name, (load, count))?;
        Ok((exact::by_kind(&text), done))
    };
    // Every call stops the server twice: not more than it takes to see that each is alike.
    let some = (CALLS / (load.conns * load.depth) as u64).clamp(2, 100);
    let ((short, n), (long, m)) = (run(some)?, run(some * 4)?);
    let each = |i: usize| (long[i] as f64 - short[i] as f64).max(0.0) / (m - n).max(1) as f64;
    Ok(Calls { reads: each(0), writes: each(1), waits: each(2), others: each(3) })
}

/// User-space instructions of each message in lockstep, of servers that are of this program.
fn exact(servers: &[&'static str]) -> Vec<Exact> {
    println!("\nexact: in lockstep\n\n| message | connections | server | user instructions each |");
    println!("|---|---|---|---|");
    let mut all = Vec::new();
    for load in EXACT {
        for &server in servers.iter().filter(|s| ws_servers::program(s).is_none()) {
            let instructions = instructions(server, load);
            let text = match &instructions {
                Ok(n) => format!("{n:.0}"),
                Err(e) => format!("not counted: {e}"),
            };
            println!("| {load} | {} | {server} | {text} |", load.conns);
            all.push((server, load, instructions.ok()));
        }
    }
    all
}

fn instructions(server: &str, load: Load) -> io::Result<f64> {
    let run = |count: u64| -> io::Result<(u64, u64)> {
        let out = exact::scratch("callgrind-ws");
        let file = format!("--callgrind-out-file={}", out.display());
        let tool = ["valgrind", "--tool=callgrind", &file];
        let (text, n) = behind(&tool, &out, server, (load, count))?;
        let line = text.lines().find_map(|l| l.strip_prefix("summary: "));
        let line = line.or_else(|| text.lines().find_map(|l| l.strip_prefix("totals: ")));
        let total = line.and_then(|l| l.split(' ').next()).and_then(|n| n.parse().ok());
        Ok((total.ok_or_else(|| io::Error::other("no summary"))?, n))
    };
    let ((short, n), (long, m)) = (run(320)?, run(1_920)?);
    Ok(long.saturating_sub(short) as f64 / (m - n) as f64)
}

/// `versus ws-idle`: opens connections that do nothing, then has one message echoed on each.
///
/// # Errors
/// Wrong arguments, a server that echoes wrongly, a file that cannot be written.
pub(crate) fn idle(words: &[&str]) -> io::Result<()> {
    let args = Args::of(words, &["--conns", "--only", "--json"])?;
    let conns = args.number("--conns", 15_000)?;
    sys::descriptors()?;
    sys::pin(1);
    let mut rows = Vec::new();
    let servers = who(&wanted(&args))?;
    println!("\n{conns} idle connections, then one echo of {} B on each\n", SMALL.size);
    println!("| server | user memory/connection | after traffic |\n|---|---|---|");
    for server in servers.iter().filter(|who| who.there).map(|who| who.server) {
        let [opened, used] = held(server, conns).map_err(|e| named(server, &e))?;
        println!("| {server} | {opened:.0} B | {used:.0} B |");
        let mut object = Object::new();
        object.text("server", server).number("connections", conns as f64);
        rows.push(object.number("idle_bytes", opened).number("used_bytes", used).end());
    }
    if let Some(path) = args.text("--json") {
        let members = [("rows", report::array(rows.into_iter()))];
        std::fs::write(path, report::document("versus ws-idle", &members))?;
    }
    Ok(())
}

/// Bytes of a server's own for each idle connection: behind its handshake, and behind an echo.
fn held(name: &str, conns: usize) -> io::Result<[f64; 2]> {
    let server = start(&[], name, SMALL)?;
    Clients::open(server.port, Load { conns: FIRST, ..SMALL })?;
    let before = server.resident()?;
    let mut open = Clients::connect(server.port, Load { conns, ..SMALL })?;
    let opened = server.resident()?;
    open.compare()?;
    let used = server.resident()?;
    Ok([opened, used].map(|bytes| bytes.saturating_sub(before) as f64 / conns as f64))
}
