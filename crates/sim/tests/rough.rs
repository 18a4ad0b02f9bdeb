//! Streams under rough faults and many seeds: every byte arrives, in order, both ways, with
//! half-close; and the same seed gives the same run.
//!
//! The program below relies on the promises of `World` alone, as sharply as a driver may: a short
//! read is taken for dry unless the end was told, and a short write waits for a readiness.

mod support;

use loopwork_reactor::{Address, Fd, Id, ListenOptions, Ready, Streams, World};
use loopwork_sim::{Faults, Sim, SplitMix, Stats, cargo_test, check, percent};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::PathBuf;
use support::*;

const CONNECTIONS: u64 = 3;

/// One end of a connection: sends all it has, ends its side, and reads to the peer's end.
struct End {
    fd: Fd,
    open: bool,
    sends: Vec<u8>,
    sent: usize,
    got: Vec<u8>,
    buffer: Vec<u8>,
    told_closed: bool,
    finished: bool,
    ended: bool,
    broken: Option<ErrorKind>,
}

impl End {
    fn new(fd: Fd, open: bool, sends: Vec<u8>, buffer: usize) -> End {
        let (got, buffer) = (Vec::new(), vec![0; buffer]);
        let (sent, told_closed, finished, ended, broken) = (0, false, false, false, None);
        End { fd, open, sends, sent, got, buffer, told_closed, finished, ended, broken }
    }

    fn on_ready(&mut self, sim: &mut Sim, ready: Ready) {
        if !self.open {
            match sim.connected(self.fd) {
                Ok(()) => self.open = true,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                Err(e) => return self.broken = Some(e.kind()),
            }
        }
        self.told_closed |= ready.closed;
        if ready.readable {
            self.read(sim);
        }
        if ready.writable {
            self.write(sim);
        }
    }

    fn read(&mut self, sim: &mut Sim) {
        while !self.ended && self.broken.is_none() {
            match sim.read(self.fd, &mut self.buffer) {
                Ok(0) => self.ended = true,
                Ok(n) => {
                    self.got.extend_from_slice(&self.buffer[..n]);
                    if n < self.buffer.len() && !self.told_closed {
                        return;
                    }
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                Err(e) => self.broken = Some(e.kind()),
            }
        }
    }

    fn write(&mut self, sim: &mut Sim) {
        while self.sent < self.sends.len() && self.broken.is_none() {
            let rest = &self.sends[self.sent..];
            match sim.write(self.fd, rest) {
                Ok(n) => {
                    self.sent += n;
                    if n < rest.len() {
                        return;
                    }
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                // No readiness is promised for it. The next try may be luckier.
                Err(e) if e.kind() == ErrorKind::OutOfMemory => {}
                Err(e) => self.broken = Some(e.kind()),
            }
        }
        if !self.finished && self.broken.is_none() {
            self.finished = true;
            // The peer may have reset us since: then the next read says so.
            let _ = sim.shutdown(self.fd);
        }
    }

    fn done(&self) -> bool {
        self.broken.is_some() || (self.finished && self.ended)
    }
}

fn bytes(dice: &mut SplitMix, most: u64) -> Vec<u8> {
    let n = dice.next_u64() % (most + 1);
    (0..n).map(|_| dice.next_u64() as u8).collect()
}

/// What a run leaves: its hash, its counts, the sums of bytes, and how many ends broke.
struct Run {
    hash: u64,
    stats: Stats,
    moved: usize,
    broken: usize,
}

struct Program {
    sim: Sim,
    dice: SplitMix,
    listener: Fd,
    /// By birth. Clients have even births, the server's ends odd ones.
    ends: BTreeMap<u64, End>,
    done: Vec<(u64, End)>,
    births: u64,
}

impl Program {
    fn new(seed: u64, faults: Faults, place: &Address) -> Program {
        let mut sim = Sim::with_faults(seed, faults);
        let mut dice = SplitMix::new(!seed);
        let (listener, at) = sim.listen(place, &ListenOptions::default(), id(1)).unwrap();
        let mut ends = BTreeMap::new();
        for n in 1..=CONNECTIONS {
            // Without a descriptor, again: every attempt rolls anew.
            let connect = |sim: &mut Sim| sim.connect(&at, None, id(n * 2));
            let fd = (0..100).find_map(|_| connect(&mut sim).ok()).unwrap();
            let sends = bytes(&mut dice, 40_000);
            let buffer = 1 + (dice.next_u64() % 8192) as usize;
            ends.insert(n * 2, End::new(fd, false, sends, buffer));
        }
        Program { sim, dice, listener, ends, done: Vec::new(), births: 1 }
    }

    fn accept(&mut self) {
        loop {
            match self.sim.accept(self.listener, id(self.births + 2)) {
                Ok((fd, _)) => {
                    self.births += 2;
                    let sends = bytes(&mut self.dice, 40_000);
                    let buffer = 1 + (self.dice.next_u64() % 8192) as usize;
                    self.ends.insert(self.births, End::new(fd, true, sends, buffer));
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                // Aborted, or no descriptor: the next attempt may be well.
                Err(_) => {}
            }
        }
    }

    fn on_ready(&mut self, ready: Ready) {
        if ready.id == id(1) {
            return self.accept();
        }
        let birth = ready.id.birth;
        let Some(end) = self.ends.get_mut(&birth) else { return };
        end.on_ready(&mut self.sim, ready);
        if end.done() {
            self.sim.close(end.fd);
            self.done.extend(self.ends.remove(&birth).map(|end| (birth, end)));
        }
    }

    fn run(mut self) -> Run {
        let mut ready = Vec::new();
        for _ in 0..2_000_000 {
            ready.clear();
            self.sim.poll(None, &mut ready).unwrap();
            if self.sim.idle() {
                break;
            }
            for ready in std::mem::take(&mut ready) {
                self.on_ready(ready);
            }
        }
        let stuck: Vec<Id> = self.ends.keys().map(|birth| id(*birth)).collect();
        assert!(self.sim.idle() && stuck.is_empty(), "stuck: {stuck:?}");
        assert_eq!(self.sim.open(), 1, "only the listener is left");
        let moved = self.done.iter().map(|(_, end)| end.got.len()).sum();
        let broken = self.done.iter().filter(|(_, end)| end.broken.is_some()).count();
        self.match_up();
        Run { hash: self.sim.hash(), stats: self.sim.stats(), moved, broken }
    }

    /// What one whole end got is what one end of the other side sent, each used once; what a
    /// broken one got is the beginning of that.
    fn match_up(&self) {
        for side in [0, 1] {
            let of = |side| self.done.iter().filter(move |(birth, _)| birth % 2 == side);
            let mut sent: Vec<&End> = of(1 - side).map(|(_, end)| end).collect();
            for (birth, end) in of(side) {
                let fits = |other: &&End| match end.broken {
                    None => end.got == other.sends,
                    Some(_) => other.sends.starts_with(&end.got),
                };
                let at = sent.iter().position(fits);
                match at {
                    Some(at) if end.broken.is_none() => drop(sent.swap_remove(at)),
                    Some(_) => {}
                    None => assert!(end.got.is_empty(), "{birth} got what nobody sent"),
                }
            }
        }
    }
}

fn transfer(seed: u64, faults: Faults) -> Run {
    Program::new(seed, faults, &tcp(0)).run()
}

#[test]
fn every_byte_arrives_under_rough_faults() {
    check(250, cargo_test("loopwork-sim", "every_byte_arrives_under_rough_faults"), |seed| {
        let run = transfer(seed, Faults::rough());
        assert_eq!(run.broken, 0);
        run.hash
    });
}

#[test]
fn every_byte_arrives_over_a_unix_socket() {
    check(50, cargo_test("loopwork-sim", "every_byte_arrives_over_a_unix_socket"), |seed| {
        let place = Address::Unix(PathBuf::from("/run/echo"));
        let run = Program::new(seed, Faults::rough(), &place).run();
        assert_eq!(run.broken, 0);
        run.hash
    });
}

#[test]
fn a_window_of_one_byte_is_slow_and_whole() {
    for seed in 0..5 {
        let run = transfer(seed, Faults { window: 1..=1, ..Faults::rough() });
        assert_eq!(run.broken, 0);
        assert!(run.moved > 0);
    }
}

#[test]
fn under_hostile_faults_connections_break_and_nothing_wrong_arrives() {
    let (mut broken, mut resets, mut accept_errors) = (0, 0, 0);
    let name = "under_hostile_faults_connections_break_and_nothing_wrong_arrives";
    for seed in 0..200 {
        let run = transfer(seed, Faults::hostile());
        assert_eq!(run.hash, transfer(seed, Faults::hostile()).hash, "{name}: {seed}");
        broken += run.broken;
        resets += run.stats.resets;
        accept_errors += run.stats.accept_errors;
    }
    assert!(broken > 100 && resets > 50 && accept_errors > 20, "{broken} {resets}");
}

#[test]
fn rough_faults_do_happen() {
    let mut all = Stats::default();
    for seed in 0..20 {
        let stats = transfer(seed, Faults::rough()).stats;
        all.spurious += stats.spurious;
        all.stale += stats.stale;
        all.cut_reads += stats.cut_reads;
        all.cut_writes += stats.cut_writes;
    }
    assert!(all.spurious > 100, "{all:?}");
    assert!(all.stale > 10, "{all:?}");
    assert!(all.cut_reads > 100 && all.cut_writes > 100, "{all:?}");
}

#[test]
fn the_seed_is_the_run() {
    let hashes: Vec<u64> = (0..50).map(|seed| transfer(seed, Faults::rough()).hash).collect();
    let again: Vec<u64> = (0..50).map(|seed| transfer(seed, Faults::rough()).hash).collect();
    assert_eq!(hashes, again);
    let mut unique = hashes;
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique.len(), 50, "different seeds, different runs");
}

#[test]
fn a_fault_alone_loses_nothing() {
    let calm = Faults::none;
    let alone = [
        Faults { split: percent(90), ..calm() },
        Faults { cut_read: percent(90), ..calm() },
        Faults { cut_write: percent(90), ..calm() },
        Faults { block_read: percent(90), ..calm() },
        Faults { block_write: percent(90), ..calm() },
        Faults { spurious: percent(90), ..calm() },
        Faults { shuffle: percent(100), ..calm() },
        Faults { twice: percent(100), ..calm() },
        Faults { stale: percent(100), ..calm() },
        Faults { early: percent(90), ..calm() },
        Faults { lag: percent(90), lag_time: Faults::rough().lag_time, ..calm() },
        Faults { latency: Faults::rough().latency, ..calm() },
    ];
    for (n, faults) in alone.into_iter().enumerate() {
        for seed in 0..10 {
            assert_eq!(transfer(seed, faults.clone()).broken, 0, "fault {n}, seed {seed}");
        }
    }
}
