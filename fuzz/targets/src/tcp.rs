//! An echo server and its clients in a simulated world whose every choice is a fuzzer's byte.
//!
//! Rule: the faults are [`Faults::rough`], which lose nothing. So all that a client sent comes
//! back, unless it gave up by itself, and then the world is at rest.

use loopwork_sim::{Faults, FromBytes, Sim, run_to_rest};
use loopwork_tcp::reactor::{Address, Env, Id, Loop};
use loopwork_tcp::{Close, Flow, Io, Protocol, add, dial, listen};
use std::time::Duration;

/// Turns after which a run is called stuck: ten times the longest of a seed.
const TURNS: u64 = 50_000;

/// Echoes; at times it takes a part, pauses, and goes on when a timer wakes it.
struct Echo {
    /// The most bytes taken at once.
    bite: usize,
}

impl Protocol for Echo {
    type Conn = ();
    fn on_accept(&mut self, _: &mut Env, _: Id, _: &Address) -> Option<()> {
        Some(())
    }
    fn on_data(&mut self, _: &mut (), io: &mut Io<'_>, bytes: &mut [u8]) -> usize {
        assert!(!io.paused() && io.flow() == Flow::Open);
        take_part(io, self.bite, bytes.len(), |io, part| {
            let _ = io.write(&bytes[..part]);
        })
    }
    fn on_wake(&mut self, _: &mut (), io: &mut Io<'_>) {
        io.resume();
    }
}

/// Takes at most `bite` of `len` bytes; if that is not all, pauses for a while.
fn take_part(
    io: &mut Io<'_>,
    bite: usize,
    len: usize,
    f: impl FnOnce(&mut Io<'_>, usize),
) -> usize {
    let part = bite.min(len);
    f(io, part);
    if part < len {
        io.pause();
        let id = io.id;
        io.env.after(Duration::from_micros(300), move |env| env.wake(id));
    }
    part
}

/// A client's plan and how far it is.
struct Plan {
    size: usize,
    /// The most bytes written or taken at once.
    bite: usize,
    /// Gives up after so many bytes, if ever.
    abort_at: Option<usize>,
    sent: usize,
    got: usize,
}

impl Plan {
    /// Three bytes: how much, how it takes it, and when it gives up (mostly never). At times it
    /// is more than the high-water mark; mostly little, so that many are run.
    fn new([size, bite, abort]: [u8; 3]) -> Plan {
        let abort_at = (abort >= 0xc0).then_some(usize::from(abort & 0x3f) * 50);
        let size = if size >= 0xf0 { 72 * 1024 } else { usize::from(size) * 16 };
        let bite = 100 + usize::from(bite) * 100;
        Plan { size, bite, abort_at, sent: 0, got: 0 }
    }
}

/// What every client sends, as far as its plan goes: no power of two is a period of it.
static PATTERN: [u8; 72 * 1024] = {
    let (mut bytes, mut at) = ([0; _], 0);
    while at < bytes.len() {
        bytes[at] = (at % 251) as u8;
        at += 1;
    }
    bytes
};

#[derive(Default)]
struct Clients {
    closed: Vec<(Plan, Close)>,
}

impl Clients {
    fn send(&mut self, plan: &mut Plan, io: &mut Io<'_>) {
        while plan.sent < plan.size {
            let start = plan.sent;
            plan.sent = plan.size.min(start + plan.bite);
            if io.write(&PATTERN[start..plan.sent]) == Flow::Full {
                return;
            }
        }
        io.end();
    }
}

impl Protocol for Clients {
    type Conn = Plan;
    fn on_open(&mut self, plan: &mut Plan, io: &mut Io<'_>) {
        io.read_when_full(true);
        self.send(plan, io);
    }
    fn on_drain(&mut self, plan: &mut Plan, io: &mut Io<'_>) {
        self.send(plan, io);
    }
    fn on_data(&mut self, plan: &mut Plan, io: &mut Io<'_>, bytes: &mut [u8]) -> usize {
        assert!(!io.paused());
        assert!(plan.got + bytes.len() <= plan.sent, "not more than was sent");
        let part = take_part(io, plan.bite, bytes.len(), |_, _| {});
        let sent = &PATTERN[plan.got..plan.got + part];
        assert!(bytes[..part] == *sent, "what comes back is what was sent");
        plan.got += part;
        if plan.abort_at.is_some_and(|at| plan.got >= at) {
            io.abort(Close::Aborted);
        }
        part
    }
    fn on_end(&mut self, _: &mut Plan, _: &mut Io<'_>) {}
    fn on_wake(&mut self, _: &mut Plan, io: &mut Io<'_>) {
        io.resume();
    }
    fn on_close(&mut self, plan: Plan, _: Id, _: &mut Env, why: Close) {
        self.closed.push((plan, why));
    }
}

/// One byte for the server, nine for three clients, and the rest decides what the kernel does.
pub fn tcp_ops(data: &[u8]) {
    let Some((&[bite, ref plans @ ..], choices)) = data.split_first_chunk::<10>() else { return };
    let mut lp = Loop::new(Sim::with_decider(FromBytes::new(choices), Faults::rough()));
    let echo = Echo { bite: 100 + usize::from(bite) * 100 };
    let (server, at) = listen(&mut lp, ([127, 0, 0, 1], 0).into(), echo).expect("a free port");
    let clients = add(&mut lp, |_| Clients::default());
    for plan in plans.as_chunks::<3>().0 {
        dial(&mut lp.env, clients, at, Plan::new(*plan));
    }
    run_to_rest(&mut lp, TURNS).expect("comes to rest");

    assert!(lp.get(server).is_empty() && lp.get(clients).is_empty(), "nobody is stuck");
    assert_eq!(lp.world.open(), 1, "the listener is left");
    let closed = &lp.get(clients).protocol.closed;
    assert_eq!(closed.len(), 3, "one on_close for each");
    for (plan, why) in closed {
        match why {
            Close::Aborted => assert!(plan.abort_at.is_some()),
            why => assert_eq!((*why, plan.got), (Close::Finished, plan.size)),
        }
    }
}
