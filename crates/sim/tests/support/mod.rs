//! What the tests of the simulated world share: a program without a loop, which polls by itself.
//!
//! Rules of this file:
//! * It relies on nothing but the promises of `World`: it acts on a readiness, goes on until a
//!   short answer or `WouldBlock`, and looks at ids, never at luck.

// Each test file uses its own part of this.
#![allow(dead_code)]

use loopwork_reactor::{Address, Fd, Id, ListenOptions, Ready, Streams, World};
use loopwork_sim::Sim;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

/// An id of birth `n`.
pub(crate) fn id(n: u64) -> Id {
    Id { birth: n, slot: n as u32, driver: 0 }
}

/// An IPv4 loopback address.
pub(crate) fn at(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// A TCP address on the loopback.
pub(crate) fn tcp(port: u16) -> Address {
    Address::Ip(at(port))
}

/// One poll of at most a second.
pub(crate) fn poll(sim: &mut Sim) -> Vec<Ready> {
    let mut ready = Vec::new();
    let until = sim.time().after(Duration::from_secs(1));
    sim.poll(Some(until), &mut ready).unwrap();
    ready
}

/// Polls until the world is at rest, and gives all that was told.
pub(crate) fn settle(sim: &mut Sim) -> Vec<Ready> {
    let mut ready = Vec::new();
    for _ in 0..100_000 {
        sim.poll(None, &mut ready).unwrap();
        if sim.idle() {
            return ready;
        }
    }
    panic!("the world does not come to rest");
}

/// Of all that was told to `of`, each bit that was set at least once.
pub(crate) fn told(ready: &[Ready], of: Id) -> Option<Ready> {
    let of = ready.iter().filter(|r| r.id == of);
    of.copied().reduce(|a, b| Ready {
        id: a.id,
        readable: a.readable | b.readable,
        writable: a.writable | b.writable,
        closed: a.closed | b.closed,
        gone: a.gone | b.gone,
    })
}

/// The kind of an error.
pub(crate) fn kind<T: std::fmt::Debug>(of: io::Result<T>) -> ErrorKind {
    of.unwrap_err().kind()
}

/// Reads until `WouldBlock`, an end or an error: the bytes, and what ended it.
pub(crate) fn drain(sim: &mut Sim, fd: Fd) -> (Vec<u8>, io::Result<()>) {
    let (mut all, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        match sim.read(fd, &mut buffer) {
            Ok(0) => return (all, Ok(())),
            Ok(n) => all.extend_from_slice(&buffer[..n]),
            Err(e) => return (all, Err(e)),
        }
    }
}

/// A connection that stands: its client's end (id 2) and its server's end (id 3). The listener
/// has id 1.
pub(crate) struct Pair {
    pub(crate) listener: Fd,
    pub(crate) client: Fd,
    pub(crate) server: Fd,
    pub(crate) at: Address,
}

/// Listens at `place`, connects, accepts.
pub(crate) fn pair_at(sim: &mut Sim, place: &Address) -> Pair {
    let (listener, at) = sim.listen(place, &ListenOptions::default(), id(1)).unwrap();
    let client = sim.connect(&at, None, id(2)).unwrap();
    settle(sim);
    sim.connected(client).unwrap();
    let (server, _) = sim.accept(listener, id(3)).unwrap();
    settle(sim);
    Pair { listener, client, server, at }
}

/// A TCP connection that stands.
pub(crate) fn pair(sim: &mut Sim) -> Pair {
    pair_at(sim, &tcp(0))
}
