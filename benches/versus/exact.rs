//! What is counted and not timed: system calls by `strace -c`, user-space instructions by
//! callgrind. Each is the difference of two run lengths, so that what happens once cancels out.

use crate::load::{Kind, Until};
use crate::server::Server;
use std::io;
use std::path::PathBuf;

/// Connections in lockstep when instructions are counted: with one, each message has a turn of
/// its own; with many, what a loop does once a turn is spread over all of them.
pub(crate) const CONNS: [usize; 2] = [1, 32];

/// System calls of one kind or another, for each thing that the load counts.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Calls {
    pub(crate) reads: f64,
    pub(crate) writes: f64,
    /// Waits for readiness.
    pub(crate) waits: f64,
    pub(crate) others: f64,
}

impl Calls {
    pub(crate) fn sum(&self) -> f64 {
        self.reads + self.writes + self.waits + self.others
    }
}

/// A path for a tool's output, of this process alone.
pub(crate) fn scratch(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("loopwork-versus-{}-{name}", std::process::id()))
}

/// Runs a server behind a tool for so much of a load, and gives what the tool wrote.
fn behind(
    tool: &[&str],
    out: &PathBuf,
    name: &str,
    load: (Kind, usize),
    count: u64,
) -> io::Result<(String, u64)> {
    let (kind, conns) = load;
    let server = Server::behind(tool, name, kind.service())?;
    let done = kind.run(server.port, conns, Until::Done(count))?;
    server.finish()?;
    let text = std::fs::read_to_string(out)?;
    std::fs::remove_file(out)?;
    Ok((text, done.count))
}

/// User-space instructions a message of a ping-pong.
pub(crate) fn instructions(name: &str, conns: usize) -> io::Result<f64> {
    if name == "node" {
        return Err(io::Error::other("callgrind cannot follow a compiler at run time"));
    }
    let run = |rounds: u64| -> io::Result<(u64, u64)> {
        let out = scratch("callgrind");
        let file = format!("--callgrind-out-file={}", out.display());
        let tool = ["valgrind", "--tool=callgrind", &file];
        let (text, count) = behind(&tool, &out, name, (Kind::PingPong, conns), rounds)?;
        let line = text.lines().find_map(|l| l.strip_prefix("summary: "));
        let line = line.or_else(|| text.lines().find_map(|l| l.strip_prefix("totals: ")));
        let total = line.and_then(|l| l.split(' ').next()).and_then(|n| n.parse().ok());
        Ok((total.ok_or_else(|| io::Error::other("callgrind gave no summary"))?, count))
    };
    let ((short, n), (long, m)) = (run(200 * conns as u64)?, run(1200 * conns as u64)?);
    Ok(long.saturating_sub(short) as f64 / (m - n) as f64)
}

/// System calls of a load, for each that it counts.
pub(crate) fn calls(name: &str, kind: Kind, conns: usize, count: u64) -> io::Result<Calls> {
    let run = |count| -> io::Result<([u64; 4], u64)> {
        let out = scratch("strace");
        let file = out.display().to_string();
        let tool = ["strace", "-f", "-c", "-o", &file];
        let (text, done) = behind(&tool, &out, name, (kind, conns), count)?;
        Ok((by_kind(&text), done))
    };
    let ((short, n), (long, m)) = (run(count)?, run(count * 5)?);
    let each = |i: usize| long[i].saturating_sub(short[i]) as f64 / (m - n).max(1) as f64;
    Ok(Calls { reads: each(0), writes: each(1), waits: each(2), others: each(3) })
}

/// The summary of `strace -c`: reads, writes, waits, others.
pub(crate) fn by_kind(summary: &str) -> [u64; 4] {
    let mut counts = [0; 4];
    for line in summary.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = words.get(3).map(|n| n.parse::<u64>());
        let (Some(call), Some(Ok(n))) = (words.last(), number) else { continue };
        let kind = match *call {
            "read" | "readv" | "recvfrom" | "recvmsg" | "recvmmsg" => 0,
            "write" | "writev" | "sendto" | "sendmsg" | "sendmmsg" => 1,
            "epoll_wait" | "epoll_pwait" | "epoll_pwait2" => 2,
            "total" => continue,
            _ => 3,
        };
        counts[kind] += n;
    }
    counts
}

/// Whether a tool is there at all.
pub(crate) fn have(tool: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(tool).is_file())
}
