//! `versus files`: files of three sizes, by `loopwork serve` and by nginx.
//!
//! Rules:
//! * What is compared is what a second of the server's processor does: requests and bytes.
//! * The files are in memory, and none of them changes: the disk is not measured.

use crate::args::Args;
use crate::exact;
use crate::files_load::Clients;
use crate::files_servers::{self, SERVERS};
use crate::report::{self, Object};
use crate::rounds::{self, Measured};
use crate::server::Server;
use crate::sys;
use std::cell::RefCell;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

const FLAGS: [&str; 6] = ["--rounds", "--seconds", "--loads", "--only", "--parts", "--json"];
/// Before a server's processor is looked at: what fills caches at first has done so.
const WARM: Duration = Duration::from_millis(150);

/// A file that is asked for.
#[derive(Clone, Copy)]
struct Load {
    /// Its name, and that of the load.
    name: &'static str,
    bytes: usize,
    conns: usize,
    /// Requests of a connection for each run under `strace`, which are many calls already where
    /// the file is long.
    counted: u64,
}

const LOADS: [Load; 4] = [
    Load { name: "1k-alone", bytes: 1 << 10, conns: 1, counted: 200 },
    Load { name: "1k", bytes: 1 << 10, conns: 64, counted: 8 },
    Load { name: "1m", bytes: 1 << 20, conns: 16, counted: 4 },
    Load { name: "100m", bytes: 100 << 20, conns: 4, counted: 1 },
];

/// The folder with the files and what servers write, gone with the value.
struct Folder(PathBuf);

impl Folder {
    /// Files of bytes that are no pattern, an hour old, as most that are served are no younger.
    fn new(loads: &[Load]) -> io::Result<Folder> {
        let folder = Folder(exact::scratch("files"));
        std::fs::create_dir_all(folder.0.join("www"))?;
        for load in loads {
            let path = folder.path(load);
            std::fs::write(&path, content(load.bytes))?;
            let file = std::fs::File::options().write(true).open(path)?;
            file.set_modified(std::time::SystemTime::now() - Duration::from_secs(3600))?;
        }
        // The time of this change is told in steps, too: until it is another.
        std::thread::sleep(WARM);
        Ok(folder)
    }

    fn path(&self, load: &Load) -> PathBuf {
        self.0.join("www").join(load.name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The same for each length, by the generator of Lehmer.
fn content(len: usize) -> Vec<u8> {
    let mut state: u64 = 1;
    let mut next = || {
        state = state * 48_271 % 0x7fff_ffff;
        (state >> 8) as u8
    };
    (0..len).map(|_| next()).collect()
}

/// A server, the load, and what was measured and counted.
struct Row {
    load: Load,
    server: &'static str,
    measured: Measured,
    ours: Measured,
    /// For each request: reads, writes, `sendfile`, waits, others.
    calls: Option<[f64; 5]>,
}

const HEAD: &str = "\
| file | connections | server | requests/s | requests per CPU second, best and median \
| bytes per CPU second | ours ÷ it | calls each: reads, writes, sendfile, waits, others |
|---|---|---|---|---|---|---|---|";

impl Row {
    /// Requests of a second of the server's processor.
    fn per_cpu(&self) -> f64 {
        1e9 / self.measured.cpu()
    }

    fn line(&self) -> String {
        let Row { load, server, measured, ours, .. } = self;
        let calls = self
            .calls
            .map_or("–".to_string(), |calls| calls.map(|n| format!("{n:.2}")).join(" "));
        let rates = match measured.cpu().is_finite() {
            true => format!(
                "{:.0} | {:.0} {:.0} | {:.2} GB | {:.2}",
                measured.rate(),
                self.per_cpu(),
                1e9 / measured.median_cpu(),
                self.per_cpu() * load.bytes as f64 / 1e9,
                measured.cpu() / ours.cpu()
            ),
            false => "not timed | | |".into(),
        };
        let (size, conns) = (report::size(load.bytes), load.conns);
        format!("| {size} | {conns} | {server} | {rates} | {calls} |")
    }

    fn json(&self) -> String {
        let Row { load, server, measured: m, ours, .. } = self;
        let mut object = Object::new();
        object.text("load", load.name).number("bytes", load.bytes as f64);
        object.number("connections", load.conns as f64).text("server", server);
        object.number("per_second", m.rate()).number("per_second_median", m.median_rate());
        object.number("server_cpu_ns", m.cpu()).number("server_cpu_ns_median", m.median_cpu());
        object.number("per_cpu_second", self.per_cpu());
        object.number("bytes_per_cpu_second", self.per_cpu() * load.bytes as f64);
        object.number("loopwork_to_it", m.cpu() / ours.cpu());
        if let Some([reads, writes, sendfile, waits, others]) = self.calls {
            object.number("reads", reads).number("writes", writes).number("sendfile", sendfile);
            object.number("waits", waits).number("other_calls", others);
        }
        object.end()
    }
}

/// This process is a server, on a core of its own.
///
/// # Errors
/// What the kernel says.
pub(crate) fn serve(name: &str, folder: &str, core: &str) -> io::Result<()> {
    sys::die_with_parent();
    sys::descriptors()?;
    sys::pin(core.parse().map_err(io::Error::other)?);
    files_servers::run(name, Path::new(folder))
}

/// Starts a server on the first core, behind a tool if one is given, and waits until it listens.
fn start(tool: &[&str], name: &str, folder: &Folder) -> io::Result<Server> {
    Server::listening(tool, &["file-server", name, &folder.0.display().to_string(), "0"])
}

/// Runs all of it, or the `--parts` that are named: `rates`, `calls`.
///
/// # Errors
/// Wrong arguments, a server that answers wrongly, a file that cannot be written.
pub(crate) fn run(words: &[&str]) -> io::Result<()> {
    let args = Args::of(words, &FLAGS)?;
    let part = |name| args.lists("--parts", name);
    let (rounds, seconds) = (args.number("--rounds", 12)?, args.number("--seconds", 1.0)?);
    let time = Duration::try_from_secs_f64(seconds).map_err(io::Error::other)?;
    let loads: Vec<Load> = LOADS.into_iter().filter(|l| args.lists("--loads", l.name)).collect();
    let folder = Folder::new(&loads)?;
    sys::descriptors()?;
    sys::pin(1);
    println!("| server | what it is |\n|---|---|");
    let mut servers = Vec::new();
    for server in SERVERS.into_iter().filter(|s| *s == SERVERS[0] || args.lists("--only", s)) {
        match files_servers::program(server) {
            Ok(_) => {
                println!("| {server} | {} |", files_servers::about(server));
                servers.push(server);
            }
            Err(why) => println!("| {server} | {why} |"),
        }
    }
    println!("\n{rounds} alternating rounds of {seconds} s; {}\n\n{HEAD}", report::machine());
    let mut rows = Vec::new();
    for load in loads {
        let rounds = if part("rates") { rounds } else { 0 };
        let measured = rates(&servers, load, (rounds, time), &folder)?;
        for &server in &servers {
            let of = |name: &str| measured.get(name).cloned().unwrap_or_default();
            let calls = part("calls").then(|| calls(server, load, &folder));
            let (measured, ours) = (of(server), of(SERVERS[0]));
            let row = Row { load, server, measured, ours, calls: told(server, calls) };
            println!("{}", row.line());
            rows.push(row);
        }
    }
    if let Some(path) = args.text("--json") {
        let about = servers.iter().map(|server| {
            let mut object = Object::new();
            object.text("server", server).text("about", &files_servers::about(server)).end()
        });
        let members = [
            ("rounds", rounds.to_string()),
            ("seconds", seconds.to_string()),
            ("servers", report::array(about)),
            ("rows", report::array(rows.iter().map(Row::json))),
        ];
        std::fs::write(path, report::document("versus files", &members))?;
    }
    Ok(())
}

/// What was counted, or why it was not.
fn told<T>(server: &str, counted: Option<io::Result<T>>) -> Option<T> {
    match counted? {
        Ok(n) => Some(n),
        Err(e) => {
            eprintln!("{server}: it is not counted: {e}");
            None
        }
    }
}

/// All servers under one load.
fn rates(
    servers: &[&'static str],
    load: Load,
    (rounds, time): (usize, Duration),
    folder: &Folder,
) -> io::Result<std::collections::BTreeMap<&'static str, Measured>> {
    let file = std::fs::read(folder.path(&load))?;
    // The connections of the warm-up go on, so that no accept is measured.
    let open: RefCell<Option<Clients>> = RefCell::new(None);
    rounds::alternate(
        servers,
        rounds,
        &|name| start(&[], name, folder),
        &|port| {
            let mut clients = Clients::open(port, load.name, &file, load.conns)?;
            let done = clients.run(WARM);
            *open.borrow_mut() = Some(clients);
            done
        },
        &|_| match open.borrow_mut().take() {
            Some(mut clients) => clients.run(time),
            None => Err(io::Error::other("no connections")),
        },
    )
}

/// What a tool writes of a server that was asked so many times on each connection.
fn behind(
    tool: &[&str],
    out: &Path,
    (name, load, times): (&str, Load, u64),
    folder: &Folder,
) -> io::Result<String> {
    let file = std::fs::read(folder.path(&load))?;
    let server = start(tool, name, folder)?;
    let mut clients = Clients::open(server.port, load.name, &file, load.conns)?;
    clients.lockstep(times)?;
    drop(clients);
    server.finish()?;
    let text = std::fs::read_to_string(out)?;
    std::fs::remove_file(out)?;
    Ok(text)
}

/// The server's system calls for each request: the difference of two run lengths.
fn calls(name: &str, load: Load, folder: &Folder) -> io::Result<[f64; 5]> {
    let run = |times: u64| -> io::Result<[u64; 5]> {
        let out = exact::scratch("strace-files");
        let file = out.display().to_string();
        let tool = ["strace", "-f", "-c", "-o", &file];
        let text = behind(&tool, &out, (name, load, times), folder)?;
        let [reads, writes, waits, others] = exact::by_kind(&text);
        let line = text.lines().find(|line| line.ends_with(" sendfile"));
        let sendfile = line.and_then(|line| line.split_whitespace().nth(3)?.parse().ok());
        let sendfile: u64 = sendfile.unwrap_or_default();
        Ok([reads, writes, sendfile, waits, others.saturating_sub(sendfile)])
    };
    let (short, long) = (run(load.counted)?, run(load.counted * 4)?);
    let requests = (3 * load.counted * load.conns as u64) as f64;
    Ok(std::array::from_fn(|i| long[i].saturating_sub(short[i]) as f64 / requests))
}
