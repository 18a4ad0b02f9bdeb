//! The servers that are compared: each runs in a process of its own, on a core of its own, prints
//! its port as a line, and runs until it is ended.
//!
//! Rules:
//! * All do the same work, and each is written as a careful user of its kind writes it.
//! * No server keeps more than one read of a peer that does not read.

mod by_loopwork;
mod by_mio;
mod by_tokio;
mod raw;

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Who is compared. The first is what the others are measured by.
pub(crate) const SERVERS: [&str; 5] = ["raw", "loopwork", "mio", "tokio", "node"];

/// Who is compared only when `--only` names it: ours with a tracer that is on.
pub(crate) const TRACED: &str = "traced";

/// One read at most: what the loop of loopwork takes at once, for all who can choose.
const BUFFER: usize = loopwork_reactor::READ_MAX;

/// A buffer that begins in the middle of a page, as that of loopwork's loop does.
///
/// Allocators place a large block 16 bytes into a page, and what the kernel hands over begins with
/// a page. Some processors copy 17 times slower to 1 to 31 bytes behind the source, modulo a page,
/// so without this the position of a buffer would be measured.
struct Buffer {
    bytes: Vec<u8>,
    from: usize,
}

impl Buffer {
    const PAGE: usize = 4096;

    fn new() -> Buffer {
        let bytes = vec![0; BUFFER + 2 * Buffer::PAGE];
        let from = bytes.as_ptr().align_offset(Buffer::PAGE).min(Buffer::PAGE) + Buffer::PAGE / 2;
        Buffer { bytes, from }
    }

    fn get(&mut self) -> &mut [u8] {
        &mut self.bytes[self.from..self.from + BUFFER]
    }
}

/// What a server does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Service {
    /// Sends back what comes.
    Echo,
    /// As `Echo`, for messages of many kilobytes: who has a buffer for each connection takes a
    /// large one.
    Stream,
    /// Drops what comes, and at its end tells in 8 bytes, little-endian, how much it was.
    Sink,
}

impl Service {
    /// Its name, as an argument.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Service::Echo => "echo",
            Service::Stream => "stream",
            Service::Sink => "sink",
        }
    }
}

/// Runs the server of this name.
pub(crate) fn run(name: &str, service: &str) -> io::Result<()> {
    let all = [Service::Echo, Service::Stream, Service::Sink];
    let Some(service) = all.into_iter().find(|s| s.name() == service) else {
        return Err(io::Error::other(format!("no service is called {service}")));
    };
    match name {
        "raw" => raw::run(service),
        "loopwork" => by_loopwork::run(service, false),
        TRACED => by_loopwork::run(service, true),
        "mio" => by_mio::run(service),
        "tokio" => by_tokio::run(service),
        "node" => node(service),
        other => Err(io::Error::other(format!("no server is called {other}"))),
    }
}

/// Node takes this process's place, and with it its core.
fn node(service: Service) -> io::Result<()> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/versus/servers/echo.cjs");
    Err(Command::new("node").arg(script).arg(service.name()).exec())
}
