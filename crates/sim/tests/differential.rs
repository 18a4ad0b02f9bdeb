//! The same script in the simulated world and on the real kernel gives the same answers: ends,
//! half-closes, resets, refusals, and what is told of them.
//!
//! Rules of this file:
//! * The simulated run comes first; the real one has until [`PATIENCE`] for each of its steps to
//!   come to the same answer. Only an answer that never comes, or another one, is a failure: a busy
//!   machine is none.

use loopwork_reactor::{Address, Fd, Id, ListenOptions, Os, Ready, Streams};
use loopwork_sim::{Faults, Sim, SplitMix};
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);
/// Runs on the kernel until one comes to the simulated answers. What differs, differs in all of
/// them; an acknowledgement that a busy kernel handles behind our next call, in one.
const TRIES: u32 = 5;

/// One end of the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    C,
    S,
}
use End::{C, S};

/// One step.
#[derive(Clone, Copy, Debug)]
enum Op {
    Write(End, &'static str),
    Read(End),
    Shutdown(End),
    Close(End),
    Reset(End),
    Peer(End),
    Connected(End),
}
use Op::{Close, Connected, Peer, Read, Reset, Shutdown, Write};

/// What came of a step: the answer, and what was told meanwhile of each end: that it can be read,
/// that the peer has ended, that it is dead. (Of room to write Linux tells more often than it
/// must.)
#[derive(Clone, PartialEq, Eq, Debug)]
struct Outcome {
    answer: String,
    told: [[bool; 3]; 2],
}

fn id(n: u64) -> Id {
    Id { birth: n, slot: n as u32, driver: 0 }
}

struct Rig<W> {
    world: W,
    ends: [Option<Fd>; 2],
    told: [[bool; 3]; 2],
}

fn text<T>(answer: io::Result<T>, show: impl FnOnce(T) -> String) -> String {
    answer.map_or_else(|e| format!("{:?}", e.kind()), show)
}

impl<W: Streams> Rig<W> {
    fn fd(&self, end: End) -> Fd {
        self.ends[end as usize].expect("open")
    }

    fn act(&mut self, op: Op) -> String {
        let mut buffer = [0; 64];
        let done = |()| "done".to_owned();
        match op {
            Write(end, bytes) => {
                let fd = self.fd(end);
                text(self.world.write(fd, bytes.as_bytes()), |n| format!("{n} written"))
            }
            Read(end) => {
                let fd = self.fd(end);
                let n = self.world.read(fd, &mut buffer);
                text(n, |n| format!("{:?}", String::from_utf8_lossy(&buffer[..n])))
            }
            Shutdown(end) => text(self.world.shutdown(self.fd(end)), done),
            Peer(end) => text(self.world.peer(self.fd(end)), |_| "an address".to_owned()),
            Connected(end) => text(self.world.connected(self.fd(end)), done),
            Close(end) => {
                let fd = self.ends[end as usize].take().expect("open");
                self.world.close(fd);
                String::new()
            }
            Reset(end) => {
                let fd = self.ends[end as usize].take().expect("open");
                self.world.reset(fd);
                String::new()
            }
        }
    }

    fn poll(&mut self, wait: Duration) {
        let mut ready: Vec<Ready> = Vec::new();
        let until = self.world.now().after(wait);
        self.world.poll(Some(until), &mut ready).expect("a poll");
        for r in ready {
            // The listener's birth is 1.
            let Some(end) = (r.id.birth as usize).checked_sub(2) else { continue };
            let told = &mut self.told[end];
            let bits = [r.readable, r.closed, r.gone];
            told.iter_mut().zip(bits).for_each(|(of, bit)| *of |= bit);
        }
    }

    /// A connection that stands, or has failed; the server's end if it was accepted.
    fn connect(mut world: W, at: &Address, listening: bool) -> Self {
        let mut listener = None;
        let mut to = at.clone();
        if listening {
            let (fd, real) = world.listen(at, &ListenOptions::default(), id(1)).expect("a port");
            (listener, to) = (Some(fd), real);
        }
        let client = world.connect(&to, None, id(2)).expect("begins");
        let mut rig = Rig { world, ends: [Some(client), None], told: [[false; 3]; 2] };
        let begun = Instant::now();
        // Of a dial that fails the script asks: the kernel says it once.
        let would_block = |e: io::Error| e.kind() == io::ErrorKind::WouldBlock;
        while match listening {
            true => rig.world.connected(client).is_err_and(would_block),
            false => !rig.told[0][2],
        } {
            assert!(begun.elapsed() < PATIENCE, "neither stands nor fails");
            rig.poll(Duration::from_millis(5));
        }
        while let (Some(listener), None) = (listener, rig.ends[1]) {
            assert!(begun.elapsed() < PATIENCE, "nobody to accept");
            rig.ends[1] = rig.world.accept(listener, id(3)).ok().map(|(fd, _)| fd);
            rig.poll(Duration::from_millis(1));
        }
        rig.told = [[false; 3]; 2];
        rig
    }
}

fn simulated(at: &Address, script: &[Op], listening: bool) -> Vec<Outcome> {
    let mut rig = Rig::connect(Sim::with_faults(1, Faults::none()), at, listening);
    let step = |op: &Op| {
        rig.told = [[false; 3]; 2];
        let answer = rig.act(*op);
        // Longer than the network takes.
        for _ in 0..4 {
            rig.poll(Duration::from_millis(5));
        }
        Outcome { answer, told: rig.told }
    };
    script.iter().map(step).collect()
}

fn reaches(told: [[bool; 3]; 2], expected: [[bool; 3]; 2]) -> bool {
    told.iter().flatten().zip(expected.iter().flatten()).all(|(is, must)| *is || !*must)
}

/// The same on the kernel, each step until it comes to what is expected.
fn real_run(at: &Address, script: &[Op], listening: bool, expected: &[Outcome]) -> Vec<Outcome> {
    if let Address::Unix(path) = at {
        // Of the run before.
        let _ = std::fs::remove_file(path);
    }
    let mut rig = Rig::connect(Os::new().expect("a poll"), at, listening);
    let (mut all, mut over) = (Vec::new(), [[false; 3]; 2]);
    for (op, expected) in script.iter().zip(expected) {
        let begun = Instant::now();
        rig.told = [[false; 3]; 2];
        let mut answer = rig.act(*op);
        while answer == "WouldBlock" && expected.answer != answer && begun.elapsed() < PATIENCE {
            rig.poll(Duration::from_millis(1));
            answer = rig.act(*op);
        }
        while !reaches(rig.told, expected.told) && begun.elapsed() < PATIENCE {
            rig.poll(Duration::from_millis(1));
        }
        rig.poll(Duration::ZERO);
        // A kernel tells more at times, and an end again, but no death or end that is none.
        let mut told = rig.told;
        for (n, (told, expected)) in told.iter_mut().zip(expected.told).enumerate() {
            told[0] &= expected[0];
            for bit in [1, 2] {
                told[bit] &= expected[bit] || !over[n][bit];
                over[n][bit] |= told[bit];
            }
        }
        all.push(Outcome { answer, told });
    }
    all
}

const SCRIPTS: [(&str, &[Op]); 13] = [
    ("nothing yet", &[Read(C), Write(C, ""), Read(S), Peer(C), Connected(C), Shutdown(C)]),
    ("half-closed", &[Shutdown(C), Read(S), Write(S, "x"), Read(C), Shutdown(S), Read(C)]),
    ("behind our end", &[Shutdown(C), Write(C, "x"), Shutdown(C), Read(C)]),
    ("bytes, then the end", &[Write(C, "abc"), Shutdown(C), Read(S), Read(S), Read(S)]),
    ("closed with bytes under way", &[Write(C, "abc"), Close(C), Read(S), Read(S), Shutdown(S)]),
    ("both ended", &[Shutdown(C), Shutdown(S), Read(C), Read(S), Write(C, "x"), Write(S, "x")]),
    ("closed, then written to", &[Close(C), Read(S), Write(S, "a"), Write(S, "b"), Read(S)]),
    ("closed with unread input", &[Write(S, "abc"), Close(C), Read(S), Read(S), Write(S, "x")]),
    ("reset", &[Reset(C), Read(S), Read(S), Write(S, "x"), Shutdown(S), Peer(S)]),
    ("reset, and written to first", &[Reset(C), Write(S, "x"), Write(S, "y"), Read(S)]),
    ("reset behind bytes", &[Write(C, "abc"), Reset(C), Read(S), Read(S), Read(S)]),
    ("reset behind an end", &[Shutdown(S), Read(C), Reset(S), Write(C, "x"), Read(C)]),
    ("ended, answered, closed", &[Shutdown(C), Write(S, "abc"), Close(S), Read(C), Read(C)]),
];

fn compare(at: &Address, name: &str, script: &[Op], listening: bool) {
    let simulated = simulated(at, script, listening);
    let mut real = real_run(at, script, listening, &simulated);
    for _ in 1..TRIES {
        if real == simulated {
            return;
        }
        real = real_run(at, script, listening, &simulated);
    }
    for (n, (ours, kernels)) in simulated.iter().zip(&real).enumerate() {
        assert_eq!(ours, kernels, "{name}, {at}: {:?} (left is simulated)", script[n]);
    }
}

#[test]
fn streams_of_tcp_are_those_of_the_kernel() {
    let at = Address::Ip("127.0.0.1:0".parse().unwrap());
    for (name, script) in SCRIPTS {
        compare(&at, name, script, true);
    }
}

#[test]
fn a_dial_that_nobody_takes_is_refused_as_the_kernel_refuses() {
    // A port of its own that nobody else can have meanwhile: bound for datagrams is not enough, so
    // one that the system gives to nobody who asks for a free one.
    let at = Address::Ip("127.0.0.1:1".parse().unwrap());
    compare(&at, "refused", &[Connected(C), Peer(C), Read(C), Write(C, "x")], false);
}

#[test]
fn streams_of_unix_sockets_are_those_of_the_kernel() {
    let dir = std::env::temp_dir().join(format!("loopwork-sim-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    for (n, (name, script)) in SCRIPTS.iter().enumerate() {
        let path: PathBuf = dir.join(n.to_string());
        compare(&Address::Unix(path), name, script, true);
    }
    std::fs::remove_dir_all(&dir).unwrap();
}

/// A script by chance: of ends that are open, and not of those that are closed.
fn script(seed: u64) -> Vec<Op> {
    let mut dice = SplitMix::new(seed);
    let mut open = [true; 2];
    let mut ops = Vec::new();
    for _ in 0..12 {
        let end = if dice.next_u64().is_multiple_of(2) { C } else { S };
        if !open[end as usize] {
            continue;
        }
        let op = match dice.next_u64() % 12 {
            0..=3 => Write(end, ["a", "bc", "def"][dice.next_u64() as usize % 3]),
            4..=7 => Read(end),
            8 | 9 => Shutdown(end),
            10 => Close(end),
            _ => Reset(end),
        };
        open[end as usize] &= !matches!(op, Close(_) | Reset(_));
        ops.push(op);
    }
    ops
}

#[test]
fn streams_by_chance_are_those_of_the_kernel() {
    let at = Address::Ip("127.0.0.1:0".parse().unwrap());
    for seed in 0..2000 {
        let script = script(seed);
        compare(&at, &format!("seed {seed}, {script:?}"), &script, true);
    }
}

#[test]
fn unix_streams_by_chance_are_those_of_the_kernel() {
    let dir = std::env::temp_dir().join(format!("loopwork-sim-chance-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    for seed in 0..400 {
        let script = script(seed);
        let at = Address::Unix(dir.join(seed.to_string()));
        compare(&at, &format!("seed {seed}, {script:?}"), &script, true);
    }
    std::fs::remove_dir_all(&dir).unwrap();
}
