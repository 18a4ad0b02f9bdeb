//! `versus million`: very many idle connections, and one byte echoed on each of them.
//!
//! Rules:
//! * A process holds as many connections as its limit of descriptors lets it, so there are as
//!   many servers, and as many clients, as that takes. Each client has a server of its own.
//! * No address and port of a server sees more than `PER_SOURCE` connections from one address of
//!   a client: beyond some thousands the kernel looks for a free port one by one.
//! * What would not fit is refused before anything is opened. Every wait has an end. A client's
//!   connections are reset when it ends, so nothing lingers.

use crate::args::Args;
use crate::report::{self, Object};
use crate::server::Server;
use crate::servers::Service;
use crate::sys;
use std::fs;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// Connections of one process at most: below the usual limit of 20,000 descriptors.
const PER_PROCESS: u64 = 19_000;
/// Descriptors of a process that are not connections.
const OTHERS: u64 = 64;
/// Connections from one address to one server.
const PER_SOURCE: u64 = 2_400;
/// Clients that can have addresses of their own, 127.1.0.* to 127.1.255.*.
const CLIENTS: u64 = 256;
/// Memory that a connection takes, both ends, with a margin: 9.8 kB is what was seen.
const NEEDED: u64 = 12 * 1024;
/// Connections that have a byte under way at once: a wait for each alone would take most of the
/// time.
const TOGETHER: usize = 256;
/// What one client does at once takes seconds; so long it is waited for.
const PATIENCE: Duration = Duration::from_secs(180);

/// Opens them, echoes on each, and tells what it took.
///
/// # Errors
/// Wrong arguments, too little memory or too few descriptors, a connection that fails, an answer
/// that is wrong or late.
pub(crate) fn run(words: &[&str]) -> io::Result<()> {
    let args = Args::of(words, &["--conns", "--server", "--json"])?;
    let conns: u64 = args.number("--conns", 1_000_000)?;
    let name = args.text("--server").unwrap_or("loopwork");
    let share = share(conns)?;
    let pairs = conns.div_ceil(share);
    println!("{conns} connections to {pairs} servers ({name}), from as many clients\n");
    let (before, start) = (meminfo("Slab")?, Instant::now());
    let (mut user, mut all) = (0, Vec::new());
    for k in 0..pairs {
        let server = Server::start(name, Service::Echo)?;
        user += server.resident()?;
        let client = Client::start(server.port, k, share.min(conns - k * share))?;
        client.hear("opened")?;
        eprint!("\r{} opened", conns.min((k + 1) * share));
        // In this order they end, too: a client's reset leaves nothing behind at the server.
        all.push((client, server));
    }
    eprintln!();
    let opened = start.elapsed();
    let idle = total(&all)?.saturating_sub(user);
    for (client, _) in &mut all {
        client.say()?;
        client.hear("echoed")?;
    }
    let echoed = start.elapsed() - opened;
    let used = total(&all)?.saturating_sub(user);
    let kernel = meminfo("Slab")?.saturating_sub(before);
    let seen = Seen { conns, processes: pairs * 2, opened, echoed, idle, used, kernel };
    seen.print();
    if let Some(path) = args.text("--json") {
        let member = ("million", seen.json());
        fs::write(path, report::document("versus million", &[member]))?;
    }
    Ok(())
}

/// Connections of each process; refuses what would not fit.
fn share(conns: u64) -> io::Result<u64> {
    let refuse = |text: String| Err(io::Error::other(text));
    let limit = sys::descriptors()?;
    let share = PER_PROCESS.min(limit.saturating_sub(OTHERS));
    if share == 0 || conns == 0 || conns.div_ceil(share) > CLIENTS {
        return refuse(format!(
            "{conns} connections with {limit} descriptors a process: from 1 to {} can be had; \
             raise the limit with ulimit -n",
            share * CLIENTS
        ));
    }
    let free = meminfo("MemAvailable")?;
    let needed = conns * NEEDED;
    if needed > free {
        return refuse(format!(
            "{conns} connections need {} MiB and {} MiB are free; --conns {} would fit",
            needed >> 20,
            free >> 20,
            free / NEEDED
        ));
    }
    let text = fs::read_to_string("/proc/sys/fs/file-nr")?;
    let files: Vec<u64> = text.split_whitespace().filter_map(|n| n.parse().ok()).collect();
    if let [open, _, most] = files[..]
        && open + 2 * conns > most
    {
        return refuse(format!(
            "{} descriptors are needed and the system has {most}: sysctl -w fs.file-max={}",
            open + 2 * conns,
            3 * conns
        ));
    }
    Ok(share)
}

/// A line of `/proc/meminfo`, in bytes.
fn meminfo(name: &str) -> io::Result<u64> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let line = text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':'));
    let kib = line.and_then(|l| l.split_whitespace().next()?.parse::<u64>().ok());
    kib.map(|n| n * 1024).ok_or_else(|| io::Error::other(format!("no {name} in /proc/meminfo")))
}

/// Bytes that all servers have in use.
fn total(all: &[(Client, Server)]) -> io::Result<u64> {
    all.iter().map(|(_, server)| server.resident()).sum()
}

/// What a run has shown.
struct Seen {
    conns: u64,
    processes: u64,
    opened: Duration,
    echoed: Duration,
    /// Memory of all servers in user space, beyond what they began with.
    idle: u64,
    used: u64,
    /// Memory that the kernel has allocated in pieces: sockets, files, watches, of both ends.
    kernel: u64,
}

impl Seen {
    fn each(&self, bytes: u64) -> f64 {
        bytes as f64 / self.conns as f64
    }

    fn print(&self) {
        println!("| what | seen |");
        println!("|---|---|");
        println!("| connections open at once | {} |", self.conns);
        println!("| bytes echoed, one on each | {} |", self.conns);
        println!("| processes | {} |", self.processes);
        println!("| opened in | {:.1?} |", self.opened);
        println!("| echoed in | {:.1?} |", self.echoed);
        println!("| user memory a connection, idle | {:.0} B |", self.each(self.idle));
        println!("| user memory a connection, after the echo | {:.0} B |", self.each(self.used));
        println!("| kernel objects a connection, both ends | {:.0} B |", self.each(self.kernel));
    }

    fn json(&self) -> String {
        let mut object = Object::new();
        object.number("connections", self.conns as f64).number("echoed", self.conns as f64);
        object.number("processes", self.processes as f64);
        object.number("opened_seconds", self.opened.as_secs_f64());
        object.number("echoed_seconds", self.echoed.as_secs_f64());
        object.number("user_bytes_idle", self.each(self.idle));
        object.number("user_bytes_used", self.each(self.used));
        object.number("kernel_object_bytes", self.each(self.kernel));
        object.end()
    }
}

/// A process that holds connections; ended, and they with it, with its value.
struct Client {
    child: Child,
    lines: Receiver<String>,
}

impl Client {
    fn start(port: u16, index: u64, conns: u64) -> io::Result<Client> {
        let numbers = [u64::from(port), index, conns].map(|n| n.to_string());
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("holder").args(numbers).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let (send, lines) = channel();
        let out = child.stdout.take().ok_or_else(|| io::Error::other("no stdout"))?;
        // Ends with the process that it listens to.
        std::thread::spawn(move || {
            BufReader::new(out).lines().map_while(Result::ok).all(|line| send.send(line).is_ok())
        });
        Ok(Client { child, lines })
    }

    /// Waits for a word.
    fn hear(&self, word: &str) -> io::Result<()> {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) if line == word => Ok(()),
            Ok(line) => Err(io::Error::other(format!("a client said {line:?}, not {word}"))),
            Err(_) => Err(io::Error::other(format!("a client failed before it had {word}"))),
        }
    }

    /// Tells it to go on.
    fn say(&mut self) -> io::Result<()> {
        let stdin = self.child.stdin.as_mut().ok_or_else(|| io::Error::other("no stdin"))?;
        stdin.write_all(b"go on\n")
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// This process is a client: opens its connections, says so, and when it is told to go on echoes
/// a byte on each, and says so. Then it holds them until it is ended, or nobody holds its stdin.
///
/// # Errors
/// A connection that fails, an answer that is wrong or late.
pub(crate) fn hold(port: &str, index: &str, conns: &str) -> io::Result<()> {
    sys::die_with_parent();
    sys::descriptors()?;
    sys::pin(1);
    let number = |text: &str| text.parse::<u64>().map_err(io::Error::other);
    let port = port.parse().map_err(io::Error::other)?;
    let to = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
    let (index, conns) = (number(index)?, number(conns)?);
    let mut streams = Vec::with_capacity(conns as usize);
    for i in 0..conns {
        let source = Ipv4Addr::new(127, 1, index as u8, (1 + i / PER_SOURCE) as u8);
        let failed = |e: io::Error| io::Error::other(format!("connection {i} from {source}: {e}"));
        let stream = sys::connect_from(source, to).map_err(failed)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
        streams.push(stream);
    }
    // When the last one is answered the server has accepted all.
    let last = streams.len().saturating_sub(1);
    echo(&mut streams[last..])?;
    println!("opened");
    let mut line = String::new();
    io::stdin().read_line(&mut line)?;
    streams.chunks_mut(TOGETHER).try_for_each(echo)?;
    println!("echoed");
    io::stdin().read_line(&mut line).map(drop)
}

/// A byte on each, and back.
fn echo(streams: &mut [TcpStream]) -> io::Result<()> {
    for (i, stream) in streams.iter_mut().enumerate() {
        stream.write_all(&[i as u8])?;
    }
    for (i, stream) in streams.iter_mut().enumerate() {
        let mut heard = [!(i as u8)];
        stream.read_exact(&mut heard)?;
        if heard != [i as u8] {
            return Err(io::Error::new(ErrorKind::InvalidData, "the echo is not what was sent"));
        }
    }
    Ok(())
}
