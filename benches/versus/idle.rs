//! What an idle connection costs a server in memory of its own.

use crate::load::{Idle, MESSAGE};
use crate::report::{self, Object};
use crate::server::Server;
use crate::servers::Service;
use std::io;
use std::time::{Duration, Instant};

/// One server's answer.
pub(crate) struct Memory {
    pub(crate) server: &'static str,
    pub(crate) conns: usize,
    /// Bytes a connection, before any traffic on most of them.
    pub(crate) idle: f64,
    /// Bytes a connection, after a message on each.
    pub(crate) used: f64,
    time: Duration,
}

/// Connections that are there before anything is measured: what the first ones bring into memory
/// is there once, and not for each.
const WARM: usize = 100;

/// Opens idle connections to each server, then has one message echoed on each of them.
///
/// # Errors
/// A server that answers wrongly or not at all.
pub(crate) fn measure(servers: &[&'static str], conns: usize) -> io::Result<Vec<Memory>> {
    println!("\n{conns} idle connections, then one echo of {MESSAGE} B on each\n");
    println!("| server | user memory/connection | after traffic | opened and echoed in |");
    println!("|---|---|---|---|");
    let mut all = Vec::new();
    for &name in servers {
        let Ok(server) = Server::start(name, Service::Echo) else {
            println!("| {name} | did not start | | |");
            continue;
        };
        let memory = of(&server, name, conns)?;
        let Memory { idle, used, time, .. } = memory;
        println!("| {name} | {idle:.0} B | {used:.0} B | {time:.1?} |");
        all.push(memory);
    }
    Ok(all)
}

fn of(server: &Server, name: &'static str, conns: usize) -> io::Result<Memory> {
    Idle::open(server.port, WARM)?.echo()?;
    let before = server.resident()?;
    let start = Instant::now();
    let open = Idle::open(server.port, conns)?;
    let opened = server.resident()?;
    open.echo()?;
    let time = start.elapsed();
    let used = server.resident()?;
    let each = |bytes: u64| bytes.saturating_sub(before) as f64 / conns as f64;
    Ok(Memory { server: name, conns, idle: each(opened), used: each(used), time })
}

/// As a JSON array.
pub(crate) fn json(all: &[Memory]) -> String {
    report::array(all.iter().map(|memory| {
        let mut object = Object::new();
        object.text("server", memory.server).number("connections", memory.conns as f64);
        object.number("idle_bytes", memory.idle).number("used_bytes", memory.used);
        object.end()
    }))
}
