//! `versus`: the same work by loopwork and by a peer, in one run, as a table of ratios.
//!
//! ```text
//! cargo run --release -p loopwork-benches --bin versus -- tcp [--rounds 15] [--conns N]
//! cargo run --release -p loopwork-benches --bin versus -- idle [--conns 10000]
//! ```
//!
//! Rules:
//! * Server and load are pinned to different cores; rounds alternate; the best of each counts,
//!   since noise only ever slows.
//! * What is exact is counted, not timed: system calls by `strace -c`, user-space instructions by
//!   callgrind as the difference of two run lengths. Where a tool is missing the row says so.
//! * Everything is on loopback, bounded, and ends by itself.

mod load;
mod servers;
mod sys;

use servers::MESSAGE;
use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

const USAGE: &str = "usage: versus tcp [--rounds N] [--seconds N] [--conns N] [--only A,B]
       versus idle [--conns N]";
const SERVERS: [&str; 5] = ["raw", "loopwork", "mio", "tokio", "node"];
/// Those that can count and end by themselves.
const COUNTED: [&str; 2] = ["raw", "loopwork"];
/// Connections of the exact counts; see `exact`.
const EXACT_CONNS: usize = 32;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["server", name, core, exit_after] => serve(name, core, exit_after),
        ["tcp", ref rest @ ..] => tcp(rest),
        ["idle", ref rest @ ..] => idle(rest),
        _ => Err(io::Error::other(USAGE)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("versus: {e}");
            ExitCode::FAILURE
        }
    }
}

fn serve(name: &str, core: &str, exit_after: &str) -> io::Result<()> {
    sys::die_with_parent();
    sys::pin(core.parse().map_err(io::Error::other)?)?;
    servers::run(name, exit_after.parse().map_err(io::Error::other)?)
}

fn option(args: &[&str], name: &str, default: u64) -> io::Result<u64> {
    match args.iter().position(|a| *a == name) {
        None => Ok(default),
        Some(at) => {
            let value = args.get(at + 1).ok_or_else(|| io::Error::other("a value is missing"))?;
            value.parse().map_err(io::Error::other)
        }
    }
}

/// A server process; ended with its value.
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    /// Starts a server, behind a tool if one is given.
    fn start(tool: &[&str], name: &str, exit_after: u64) -> io::Result<Server> {
        let me = std::env::current_exe()?;
        let exit_after = exit_after.to_string();
        let mut command = match tool {
            [] => Command::new(&me),
            [program, args @ ..] => {
                let mut command = Command::new(program);
                command.args(args).arg(&me);
                command
            }
        };
        command.args(["server", name, "0", &exit_after]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let mut line = String::new();
        if let Some(out) = child.stdout.take() {
            BufReader::new(out).read_line(&mut line)?;
        }
        let port = line.trim().parse().map_err(|_| io::Error::other("the server did not start"))?;
        Ok(Server { child, port })
    }

    /// Bytes of memory that are its own and in use.
    fn resident(&self) -> io::Result<u64> {
        let text = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", self.child.id()))?;
        let line = text.lines().find_map(|l| l.strip_prefix("Anonymous:"));
        let kib = line.and_then(|l| l.trim().split(' ').next()).and_then(|n| n.parse::<u64>().ok());
        kib.map(|n| n * 1024).ok_or_else(|| io::Error::other("the kernel does not tell"))
    }

    /// Nanoseconds on a core so far.
    fn cpu(&self) -> io::Result<u64> {
        let text = std::fs::read_to_string(format!("/proc/{}/schedstat", self.child.id()))?;
        let first = text.split(' ').next().unwrap_or_default();
        first.parse().map_err(io::Error::other)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The best of a server's rounds.
#[derive(Clone, Copy)]
struct Best {
    rate: f64,
    cpu: f64,
}

impl Default for Best {
    fn default() -> Self {
        Best { rate: 0.0, cpu: f64::INFINITY }
    }
}

fn tcp(args: &[&str]) -> io::Result<()> {
    let rounds = option(args, "--rounds", 15)?;
    let time = Duration::from_secs(option(args, "--seconds", 1)?);
    sys::pin(1)?;
    println!("tcp echo, {MESSAGE} B, ping-pong, best of {rounds} alternating rounds of {time:?}\n");
    println!(
        "| connections | server | messages/s | server CPU ns/message | rate ÷ raw | CPU ÷ raw |"
    );
    println!("|---|---|---|---|---|---|");
    let only = option(args, "--conns", 0)? as usize;
    let servers = servers_of(args)?;
    for conns in [1, 64, 1000].into_iter().filter(|c| only == 0 || *c == only) {
        table(
            &conns.to_string(),
            &servers,
            rounds,
            &|port| load::ping_pong(port, conns, time),
            time,
        )?;
    }
    if only == 0 {
        table("new each", &servers, rounds, &|port| load::connect_close(port, time), time)?;
    }
    println!("\nexact, {EXACT_CONNS} connections in lockstep\n");
    println!("| server | user instructions/message | reads | writes | waits | other calls |");
    println!("|---|---|---|---|---|---|");
    for name in COUNTED {
        let instructions = match instructions(name) {
            Ok(n) => format!("{n:.0}"),
            Err(e) => format!("not counted: {e}"),
        };
        match system_calls(name) {
            Ok([r, w, p, o]) => {
                println!("| {name} | {instructions} | {r:.3} | {w:.3} | {p:.3} | {o:.3} |");
            }
            Err(e) => println!("| {name} | {instructions} | not counted: {e} | | | |"),
        }
    }
    Ok(())
}

/// All of them, or `raw` and those that `--only` names.
fn servers_of(args: &[&str]) -> io::Result<Vec<&'static str>> {
    let Some(at) = args.iter().position(|a| *a == "--only") else { return Ok(SERVERS.to_vec()) };
    let named = args.get(at + 1).ok_or_else(|| io::Error::other("a name is missing"))?;
    let wanted = |s: &&str| *s == "raw" || named.split(',').any(|n| n == *s);
    Ok(SERVERS.into_iter().filter(wanted).collect())
}

/// The rows of one kind of load, by all servers, in alternating rounds.
fn table(
    name: &str,
    servers: &[&str],
    rounds: u64,
    load: &dyn Fn(u16) -> io::Result<u64>,
    time: Duration,
) -> io::Result<()> {
    let mut best: BTreeMap<&str, Best> = BTreeMap::new();
    for round in 0..rounds {
        for i in 0..servers.len() {
            // Who goes first changes, so that a drift of the machine favours nobody.
            let name = servers[(i + round as usize) % servers.len()];
            let Ok(server) = Server::start(&[], name, 0) else { continue };
            let before = server.cpu()?;
            let count = load(server.port)?;
            let cpu = (server.cpu()? - before) as f64 / count as f64;
            let rate = count as f64 / time.as_secs_f64();
            let b = best.entry(name).or_default();
            *b = Best { rate: b.rate.max(rate), cpu: b.cpu.min(cpu) };
        }
    }
    let raw = best["raw"];
    for server in servers {
        let Some(Best { rate, cpu }) = best.get(server) else {
            println!("| {name} | {server} | did not start | | | |");
            continue;
        };
        let (by_rate, by_cpu) = (rate / raw.rate, cpu / raw.cpu);
        println!("| {name} | {server} | {rate:.0} | {cpu:.0} | {by_rate:.2} | {by_cpu:.2} |");
    }
    Ok(())
}

/// Idle connections to one server process, then traffic on each of them: what one costs in memory.
fn idle(args: &[&str]) -> io::Result<()> {
    let conns = option(args, "--conns", 10_000)? as usize;
    println!("{conns} idle connections, then one echo of {MESSAGE} B on each\n");
    println!("| server | user memory/connection | after traffic | opened and echoed in |");
    println!("|---|---|---|---|");
    for name in SERVERS {
        let Ok(server) = Server::start(&[], name, 0) else {
            println!("| {name} | did not start | | |");
            continue;
        };
        // What the first connections bring into memory is there once, not for each.
        let warm = load::Idle::open(server.port, 100)?;
        warm.echo()?;
        let before = server.resident()?;
        let start = std::time::Instant::now();
        let idle = load::Idle::open(server.port, conns)?;
        let opened = server.resident()? - before;
        idle.echo()?;
        let took = start.elapsed();
        let used = server.resident()? - before;
        let each = |bytes: u64| bytes as f64 / conns as f64;
        println!("| {name} | {:.0} B | {:.0} B | {took:.1?} |", each(opened), each(used));
    }
    Ok(())
}

/// A path for a tool's output, of this process alone.
fn scratch(name: &str) -> std::path::PathBuf {
    std::env::temp_dir().join(format!("loopwork-versus-{}-{name}", std::process::id()))
}

/// Runs a server behind a tool until it ends by itself after so many rounds, and gives what the
/// tool wrote.
fn behind(tool: &[&str], out: &std::path::Path, name: &str, rounds: u64) -> io::Result<String> {
    let mut server = Server::start(tool, name, rounds * EXACT_CONNS as u64)?;
    load::lockstep(server.port, EXACT_CONNS, rounds)?;
    server.child.wait()?;
    let text = std::fs::read_to_string(out)?;
    std::fs::remove_file(out)?;
    Ok(text)
}

/// User-space instructions a message: the difference of two run lengths.
fn instructions(name: &str) -> io::Result<f64> {
    let run = |rounds| -> io::Result<u64> {
        let out = scratch("callgrind");
        let file = format!("--callgrind-out-file={}", out.display());
        let text = behind(&["valgrind", "--tool=callgrind", &file], &out, name, rounds)?;
        let line = text.lines().find_map(|l| l.strip_prefix("summary: "));
        let total = line.and_then(|l| l.split(' ').next()).and_then(|n| n.parse().ok());
        total.ok_or_else(|| io::Error::other("callgrind gave no summary"))
    };
    let (short, long) = (200, 1200);
    Ok((run(long)? - run(short)?) as f64 / ((long - short) * EXACT_CONNS as u64) as f64)
}

/// Reads, writes, waits and other calls a message: the difference of two run lengths.
fn system_calls(name: &str) -> io::Result<[f64; 4]> {
    let run = |rounds| -> io::Result<[u64; 4]> {
        let out = scratch("strace");
        let file = out.display().to_string();
        let text = behind(&["strace", "-f", "-c", "-o", &file], &out, name, rounds)?;
        let mut counts = [0; 4];
        for line in text.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let (Some(call), Some(Ok(n))) = (words.last(), words.get(3).map(|n| n.parse::<u64>()))
            else {
                continue;
            };
            let kind = match *call {
                "read" | "recvfrom" => 0,
                "write" | "sendto" => 1,
                "epoll_wait" | "epoll_pwait" => 2,
                "total" => continue,
                _ => 3,
            };
            counts[kind] += n;
        }
        Ok(counts)
    };
    let (short, long) = (50, 550);
    let (short_counts, long_counts) = (run(short)?, run(long)?);
    let messages = ((long - short) * EXACT_CONNS as u64) as f64;
    Ok(std::array::from_fn(|i| long_counts[i].saturating_sub(short_counts[i]) as f64 / messages))
}
