//! The servers of `versus udp`: each runs in a process of its own, on a core of its own, prints
//! its port as a line, and runs until it is ended.
//!
//! Rules:
//! * All do the same work: an echo sends back what comes; a sink counts, and answers the question
//!   with its count in 8 bytes, little-endian.
//! * Each is written as a careful user of its kind writes it, and waits in the kernel.

use crate::sys;
use crate::udp_load::ASK;
use crate::udp_sys::{self, Batch, LARGE, MESSAGES, SMALL};
use loopwork_reactor::{BindOptions, Loop, Os};
use loopwork_udp::{self as udp, Io, Options, Protocol};
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Who is compared. The first is what the others are measured by: `recvmmsg` and `sendmmsg` on a
/// level-triggered epoll. `raw-single` makes a call for each datagram, `raw-joined` has GSO and
/// GRO; `loopwork-plain` is loopwork without.
pub(crate) const SERVERS: [&str; 8] =
    ["raw", "raw-single", "raw-joined", "loopwork", "loopwork-plain", "mio", "tokio", "node"];

/// Datagrams that a server takes before it waits again.
const TURN: usize = 256;

/// Runs the server of this name: `echo` or `sink`.
///
/// # Errors
/// A name that nobody has; what the kernel says.
pub(crate) fn run(name: &str, service: &str) -> io::Result<()> {
    let sink = match service {
        "echo" => false,
        "sink" => true,
        other => return Err(io::Error::other(format!("no service is called {other}"))),
    };
    match name {
        "raw" => batched(sink, false),
        "raw-single" => single(sink),
        "raw-joined" => batched(sink, true),
        "loopwork" => loopwork(sink, true),
        "loopwork-plain" => loopwork(sink, false),
        "mio" => by_mio(sink),
        "tokio" => by_tokio(sink),
        "node" => node(service),
        other => Err(io::Error::other(format!("no server is called {other}"))),
    }
}

/// What a sink answers, if it was asked.
fn answer(sink: bool, bytes: &[u8], count: &mut u64) -> Option<[u8; 8]> {
    if sink && bytes == ASK {
        return Some(count.to_le_bytes());
    }
    *count += 1;
    None
}

/// A socket of the standard library, and an epoll that watches it.
fn watched() -> io::Result<(UdpSocket, i32)> {
    let socket = UdpSocket::bind(("127.0.0.1", 0))?;
    socket.set_nonblocking(true)?;
    println!("{}", socket.local_addr()?.port());
    let epoll = sys::epoll_create()?;
    sys::epoll_add(epoll, socket.as_raw_fd(), 0)?;
    Ok((socket, epoll))
}

fn would_block<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(done) => Ok(Some(done)),
        Err(e) if e.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(e) => Err(e),
    }
}

fn single(sink: bool) -> io::Result<()> {
    let (socket, epoll) = watched()?;
    let (mut events, mut bytes, mut count) = ([sys::NO_EVENT; 8], vec![0; LARGE], 0);
    loop {
        sys::epoll_wait(epoll, &mut events, -1)?;
        for _ in 0..TURN {
            let Some((n, from)) = would_block(socket.recv_from(&mut bytes))? else { break };
            match answer(sink, &bytes[..n], &mut count) {
                Some(told) => drop(would_block(socket.send_to(&told, from))?),
                None if sink => {}
                // A full send buffer loses it, as it would a datagram on the way.
                None => drop(would_block(socket.send_to(&bytes[..n], from))?),
            }
        }
    }
}

fn batched(sink: bool, joined: bool) -> io::Result<()> {
    let (socket, epoll) = watched()?;
    let fd = socket.as_raw_fd();
    let mut batch = Batch::new(MESSAGES, SMALL);
    if joined {
        udp_sys::gro(fd)?;
        batch = Batch::new(MESSAGES / 2, LARGE);
    }
    let full = if joined { MESSAGES / 2 } else { MESSAGES };
    let (mut events, mut count) = ([sys::NO_EVENT; 8], 0);
    loop {
        sys::epoll_wait(epoll, &mut events, -1)?;
        for _ in 0..TURN / MESSAGES {
            let Some(n) = would_block(batch.recv(fd))? else { break };
            if sink {
                for i in 0..n {
                    if batch.bytes(i) == ASK {
                        batch.tell(i, count);
                        would_block(batch.echo_one(fd, i))?;
                    } else {
                        count += batch.datagrams(i);
                    }
                }
            } else {
                would_block(batch.echo(fd, n))?;
            }
            if n < full {
                break;
            }
        }
    }
}

struct Echo;

impl Protocol for Echo {
    fn on_datagram(&mut self, io: &mut Io<'_>, from: SocketAddr, bytes: &mut [u8]) {
        let _ = io.send(from, bytes);
    }
}

#[derive(Default)]
struct Sink {
    count: u64,
}

impl Protocol for Sink {
    fn on_datagram(&mut self, io: &mut Io<'_>, from: SocketAddr, bytes: &mut [u8]) {
        if let Some(told) = answer(true, bytes, &mut self.count) {
            let _ = io.send(from, &told);
        }
    }
}

fn loopwork(sink: bool, gro: bool) -> io::Result<()> {
    let mut lp = Loop::new(Os::new()?);
    let at = ([127, 0, 0, 1], 0).into();
    let (mut how, mut options) = (BindOptions::default(), Options::default());
    how.gro = gro;
    if !gro {
        options.max_datagram = SMALL;
    }
    let at = match sink {
        false => udp::bind_with(&mut lp, at, &how, options, Echo)?.1,
        true => udp::bind_with(&mut lp, at, &how, options, Sink::default())?.1,
    };
    println!("{}", at.port());
    lp.run()
}

/// Edge-triggered: until it would block.
fn by_mio(sink: bool) -> io::Result<()> {
    use mio::{Events, Interest, Poll, Token};
    let mut poll = Poll::new()?;
    let mut socket = mio::net::UdpSocket::bind(([127, 0, 0, 1], 0).into())?;
    println!("{}", socket.local_addr()?.port());
    poll.registry().register(&mut socket, Token(0), Interest::READABLE)?;
    let (mut events, mut bytes, mut count) = (Events::with_capacity(8), vec![0; LARGE], 0);
    loop {
        poll.poll(&mut events, None)?;
        while let Some((n, from)) = would_block(socket.recv_from(&mut bytes))? {
            match answer(sink, &bytes[..n], &mut count) {
                Some(told) => drop(would_block(socket.send_to(&told, from))?),
                None if sink => {}
                None => drop(would_block(socket.send_to(&bytes[..n], from))?),
            }
        }
    }
}

fn by_tokio(sink: bool) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let socket = tokio::net::UdpSocket::bind(("127.0.0.1", 0)).await?;
        println!("{}", socket.local_addr()?.port());
        let (mut bytes, mut count) = (vec![0; LARGE], 0);
        loop {
            let (n, from) = socket.recv_from(&mut bytes).await?;
            match answer(sink, &bytes[..n], &mut count) {
                Some(told) => drop(socket.send_to(&told, from).await?),
                None if sink => {}
                None => drop(socket.send_to(&bytes[..n], from).await?),
            }
        }
    })
}

/// Node takes this process's place, and with it its core.
fn node(service: &str) -> io::Result<()> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/versus/udp.cjs");
    Err(Command::new("node").arg(script).arg(service).exec())
}
