//! A loop in its simulated world, turned until something has happened, and looked over in the
//! end.

use crate::ledger::{Book, Ledger};
use crate::plan::Plan;
use loopwork::reactor::{Id, Instant, Trace, Tracer};
use loopwork::sim::{Sim, SplitMix, Stats, TraceHash};
use loopwork::trace::{Recording, Replay, Tape};
use loopwork::{Env, Loop};
use std::any::Any;
use std::time::Duration;

/// Turns after which a run is called stuck: ten times the longest that was seen.
pub const TURNS: u64 = 400_000;
/// How late a timer may be: no turn of these takes longer, in virtual time.
const LATE: Duration = Duration::from_millis(1);

/// How a run went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Everything that the world was asked and answered, and that the loop noted, as one number.
    pub hash: u64,
    /// Turns of the loop.
    pub turns: u64,
    /// Virtual time.
    pub time: Duration,
    /// What the world did.
    pub stats: Stats,
}

/// Folds every note, and hands it on to a second tracer.
struct Both(TraceHash, Option<Box<dyn Tracer>>);

impl Tracer for Both {
    fn note(&mut self, at: Instant, id: Id, what: Trace) {
        self.0.note(at, id, what);
        if let Some(other) = &mut self.1 {
            other.note(at, id, what);
        }
    }
    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

/// Where a run's answers come from, and go to.
#[derive(Default)]
pub(crate) enum Outside {
    #[default]
    Live,
    Record(Recording),
    Replay(Replay),
}

/// What a run has beside its plan.
#[derive(Default)]
pub(crate) struct Setting {
    pub(crate) tracer: Option<Box<dyn Tracer>>,
    pub(crate) outside: Outside,
}

/// Whether nothing is left that could happen.
pub(crate) fn idle(lp: &mut Loop<Tape<Sim>>) -> bool {
    lp.world.also(|sim| sim.idle().into()) != 0
}

/// Sockets that are open.
fn open(lp: &mut Loop<Tape<Sim>>) -> u64 {
    lp.world.also(|sim| sim.open() as u64)
}

pub(crate) struct Stage {
    pub(crate) lp: Loop<Tape<Sim>>,
    pub(crate) book: Book,
    /// Choices of the scenario itself; those of the world are another sequence.
    pub(crate) dice: SplitMix,
    /// Of dials of several addresses, how many may stand and lose.
    pub(crate) losers: usize,
    turns: u64,
}

impl Stage {
    pub(crate) fn new(plan: &Plan, setting: Setting) -> Stage {
        let sim = || Sim::with_faults(plan.seed, plan.faults.clone());
        let mut lp = Loop::new(match setting.outside {
            Outside::Live => Tape::Live(sim()),
            Outside::Record(to) => Tape::record(sim(), to),
            Outside::Replay(of) => Tape::replay(of),
        });
        lp.trace(Some(Box::new(Both(TraceHash::new(), setting.tracer))));
        let book = Book::default();
        book.borrow_mut().late = LATE;
        Stage { lp, book, dice: SplitMix::new(!plan.seed), losers: 0, turns: 0 }
    }

    pub(crate) fn turn(&mut self) {
        self.turn_for(None);
    }

    /// A turn that waits so long at most.
    pub(crate) fn turn_for(&mut self, wait: Option<Duration>) {
        self.turns += 1;
        assert!(self.turns < TURNS, "stuck: {TURNS} turns, and no end");
        let outcome = self.lp.turn(wait);
        if let Some(why) = self.lp.world.replaying().and_then(|replay| replay.stopped()) {
            panic!("{why}");
        }
        outcome.expect("a turn");
        let mut book = self.book.borrow_mut();
        if let Some(sim) = self.lp.world.world() {
            book.nobody_starves(sim);
        }
        book.turn_over();
    }

    /// Turns until `done`.
    pub(crate) fn until(&mut self, what: &str, mut done: impl FnMut(&mut Loop<Tape<Sim>>) -> bool) {
        while !done(&mut self.lp) {
            assert!(!idle(&mut self.lp), "at rest, and never: {what}");
            self.turn();
        }
    }

    /// Turns until the loop holds nothing and nothing is open, and looks for what is left.
    pub(crate) fn finish(mut self) -> (Run, Ledger) {
        self.until("all is closed", |lp| !lp.env.calls.alive() && open(lp) == 0);
        let lp = &mut self.lp;
        let timers = lp.env.calls.timers.len();
        assert!(timers == 0, "{timers} timers are left behind what they were for");
        let open = open(lp);
        assert!(open == 0, "{open} sockets are left");
        let stats = lp.world.world().map(|sim| sim.stats()).unwrap_or_default();
        assert!(stats.strays == 0, "{} calls on sockets that were closed", stats.strays);
        let traced = lp.trace(None).and_then(|t| t.into_any().downcast::<Both>().ok());
        let traced = traced.map_or(0, |both| both.0.value());
        let time = Duration::from_nanos(lp.world.also(|sim| sim.time().0));
        let hash = lp.world.also(|sim| sim.hash()) ^ traced.rotate_left(1);
        if let Some(replay) = lp.world.replaying() {
            let stopped = replay.finished() || replay.stopped().is_some();
            assert!(stopped, "the run is over, and its recording is not");
        }
        drop(self.lp);
        let book = std::rc::Rc::into_inner(self.book).expect("the protocols are gone");
        (Run { hash, turns: self.turns, time, stats }, book.into_inner())
    }
}

/// Below `sides`, by the loop's own randomness, which the seed gives too.
pub(crate) fn random(env: &mut Env, sides: u32) -> u32 {
    let mut bytes = [0; 4];
    env.random(&mut bytes);
    u32::from_le_bytes(bytes) % sides
}

/// The byte at an offset of stream `n`: long periods, so that no shift goes unseen, and streams
/// that differ from their first byte on.
pub(crate) fn pattern(n: u32, at: usize) -> u8 {
    let at = at as u64;
    (at ^ (at >> 8).wrapping_mul(3) ^ (at >> 16).wrapping_mul(5)) as u8 ^ n as u8
}

/// So many bytes of stream `n` from `at` on.
pub(crate) fn piece(n: u32, at: usize, len: usize) -> Vec<u8> {
    (at..at + len).map(|at| pattern(n, at)).collect()
}
