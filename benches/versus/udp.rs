//! `versus udp`: datagrams, by ours and by peers, as the server's processor time for each.

use crate::args::Args;
use crate::exact;
use crate::load::Until;
use crate::report::{self, Object};
use crate::rounds::{self, Measured};
use crate::server::Server;
use crate::sys;
use crate::udp_load::Load;
use crate::udp_servers::{self, SERVERS};
use std::io;
use std::time::Duration;

const FLAGS: [&str; 6] = ["--rounds", "--seconds", "--loads", "--only", "--parts", "--json"];
/// Before a server's processor is looked at: what compiles or fills caches at first has done so.
const WARM: Duration = Duration::from_millis(150);
/// Datagrams of the shorter run when system calls are counted; the longer one has five times as
/// many.
const COUNTED: u64 = 2000;

/// What is run: 64 datagrams in flight and back, and one way without end; each by itself, and put
/// together by the sender (`joined`).
const LOADS: [Load; 8] = [
    Load { name: "echo", bytes: 64, joined: false, sink: false },
    Load { name: "echo", bytes: 1400, joined: false, sink: false },
    Load { name: "one-way", bytes: 64, joined: false, sink: true },
    Load { name: "one-way", bytes: 1400, joined: false, sink: true },
    Load { name: "echo-joined", bytes: 64, joined: true, sink: false },
    Load { name: "echo-joined", bytes: 1400, joined: true, sink: false },
    Load { name: "one-way-joined", bytes: 64, joined: true, sink: true },
    Load { name: "one-way-joined", bytes: 1400, joined: true, sink: true },
];

const HEAD: &str = "\
| load | in flight | server | per second | server CPU ns each | per CPU second | ÷ raw \
| system calls each |
|---|---|---|---|---|---|---|---|";

/// One server under one load.
struct Row {
    load: Load,
    server: &'static str,
    /// `None`: the server did not start.
    measured: Option<Measured>,
    /// What the first server took, to compare with.
    base: f64,
    calls: Option<f64>,
}

/// This process is a server, on a core of its own.
///
/// # Errors
/// What the kernel says.
pub(crate) fn serve(name: &str, service: &str, core: &str) -> io::Result<()> {
    sys::die_with_parent();
    sys::pin(core.parse().map_err(io::Error::other)?);
    udp_servers::run(name, service)
}

/// Runs all of it, or the `--parts` that are named: `rates`, `calls`.
///
/// # Errors
/// Wrong arguments, a server that answers wrongly, a file that cannot be written.
pub(crate) fn run(words: &[&str]) -> io::Result<()> {
    let args = Args::of(words, &FLAGS)?;
    let rounds = args.number("--rounds", 15)?;
    let seconds = args.number("--seconds", 1.0)?;
    let time = Duration::try_from_secs_f64(seconds).map_err(io::Error::other)?;
    sys::pin(1);
    // The raw one is what the others are measured by.
    let wanted = |s: &&str| *s == SERVERS[0] || args.lists("--only", s);
    let servers: Vec<&'static str> = SERVERS.into_iter().filter(wanted).collect();
    println!("best of {rounds} alternating rounds of {seconds} s; {}\n", report::machine());
    println!("{HEAD}");
    let mut rows = Vec::new();
    for load in LOADS.into_iter().filter(|load| args.lists("--loads", load.name)) {
        let measured = match args.lists("--parts", "rates") {
            true => rounds::alternate(
                &servers,
                rounds,
                &|name| start(&[], name, load),
                &|port| load.run(port, Until::Over(WARM)),
                &|port| load.run(port, Until::Over(time)),
            )?,
            false => Default::default(),
        };
        let base = measured.get(SERVERS[0]).map_or(f64::NAN, Measured::cpu);
        for &server in &servers {
            // One way, how many arrive is the kernel's affair: no two runs differ by so many.
            let count = !load.sink && args.lists("--parts", "calls") && exact::have("strace");
            let calls = if count { calls(server, load).ok() } else { None };
            let measured = measured.get(server).cloned();
            let row = Row { load, server, measured, base, calls };
            println!("{}", row.line());
            rows.push(row);
        }
    }
    let Some(path) = args.text("--json") else { return Ok(()) };
    let members = [
        ("rounds", rounds.to_string()),
        ("seconds", seconds.to_string()),
        ("rows", report::array(rows.iter().map(Row::json))),
    ];
    std::fs::write(path, report::document("versus udp", &members))
}

fn start(tool: &[&str], name: &str, load: Load) -> io::Result<Server> {
    let service = if load.sink { "sink" } else { "echo" };
    Server::of(tool, &["udp-server", name, service, "0"])
}

/// The server's system calls for each datagram: the difference of two run lengths.
fn calls(name: &str, load: Load) -> io::Result<f64> {
    let run = |count| -> io::Result<(u64, u64)> {
        let out = exact::scratch("strace-udp");
        let file = out.display().to_string();
        let server = start(&["strace", "-f", "-c", "-o", &file], name, load)?;
        let done = load.run(server.port, Until::Done(count))?;
        server.finish()?;
        let text = std::fs::read_to_string(&out)?;
        std::fs::remove_file(&out)?;
        Ok((exact::by_kind(&text).iter().sum(), done.count))
    };
    let ((short, n), (long, m)) = (run(COUNTED)?, run(COUNTED * 5)?);
    Ok((long as f64 - short as f64) / (m as f64 - n as f64).max(1.0))
}

impl Row {
    fn line(&self) -> String {
        let Row { load, server, .. } = self;
        let calls = self.calls.map_or("–".to_string(), |n| format!("{n:.4}"));
        let (name, bytes, flying) = (load.name, report::size(load.bytes), self.flying());
        let front = format!("| {name} {bytes} | {flying} | {server}");
        let Some(m) = &self.measured else {
            return format!("{front} | not measured | | | | {calls} |");
        };
        let (rate, cpu) = (m.rate(), m.cpu());
        let (each, by_raw) = (1e9 / cpu, self.base / cpu);
        format!("{front} | {rate:.0} | {cpu:.0} | {each:.0} | {by_raw:.2} | {calls} |")
    }

    fn flying(&self) -> String {
        if self.load.sink { "–".to_string() } else { self.load.datagrams().to_string() }
    }

    fn json(&self) -> String {
        let mut object = Object::new();
        object.text("load", self.load.name).number("bytes", self.load.bytes as f64);
        object.text("server", self.server);
        if let Some(m) = &self.measured {
            object.number("per_second", m.rate()).number("server_cpu_ns", m.cpu());
            object.number("server_cpu_ns_median", m.median_cpu());
            object.number("per_cpu_second", 1e9 / m.cpu());
            object.number("per_cpu_second_to_raw", self.base / m.cpu());
        }
        if let Some(calls) = self.calls {
            object.number("system_calls", calls);
        }
        object.end()
    }
}
