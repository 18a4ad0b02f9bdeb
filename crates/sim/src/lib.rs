//! A simulated World: one seed, virtual time, cuts, delay, loss and resets.
//!
//! `Loop::new(Sim::new(seed))`, and nothing else changes. Servers and clients live in one loop, as
//! processes of one simulated host that owns every address.
//!
//! Rules of this crate:
//! * The same seed gives the same run, byte for byte: no clock, no thread, no hash map's order.
//!   Every choice is asked of one [`Decider`] (`dice.rs`), and how often something happens is
//!   said in one [`Faults`] (`faults.rs`).
//! * It keeps the promises of [`World`], edge-triggered as Linux keeps them, and no more than
//!   those: what a driver must not rely on is varied.
//! * Time is virtual. [`World::poll`] jumps to the next event and costs 1 µs; [`World::now`] costs
//!   1 ns, so that no two stamps are equal and a wait that spins on the clock ends. Both cost the
//!   same in every run, so both keep it the same.
//! * What is simulated is bounded: windows and queues by `Faults`, the rest by constants here.

mod check;
mod datagram;
mod dice;
mod faults;
mod hash;
mod net;
mod ports;
mod post;
mod segment;
mod stream;
mod unserved;
mod wire;

pub use check::{
    Failure, SEED_VARIABLE, SEEDS_VARIABLE, cargo_test, check, run_seeds, run_to_idle, run_to_rest,
};
pub use datagram::{DATAGRAM_ERRORS, DATAGRAM_MAX, DATAGRAM_OVERHEAD, DATAGRAMS_IN_FLIGHT};
pub use dice::{Choice, Decider, FromBytes, SplitMix};
pub use faults::{ALWAYS, Faults, Rate, Stats, percent};
pub use hash::{Fold, TraceHash};
pub use net::{IDLE_POLLS, POLL_COST};
pub use post::{UNIX_DATAGRAM_MAX, UNIX_QUEUE};
pub use segment::{SYN_TRIES, TIME_WAIT};
pub use unserved::{Unserved, Waiting};
pub use wire::{DELAYED_ACK, RETRIES, Way};

use dice::Dice;
use loopwork_reactor::{Fd, Id, Instant, Mail, Mailbox, Ready, World};
use net::Net;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// SIGKILL and SIGSTOP: the kernel lets nobody catch them.
const UNCATCHABLE: [i32; 2] = [9, 19];

struct Watch {
    id: Id,
    signals: Vec<i32>,
    /// Came in and not taken yet. One of a kind, as the kernel keeps them.
    raised: Vec<i32>,
    told: bool,
}

/// The simulated world.
pub struct Sim {
    pub(crate) net: Net,
    watches: Vec<Watch>,
    mailbox: Option<Mailbox>,
    rung: Arc<AtomicBool>,
}

impl Sim {
    /// The world of this seed, with [`Faults::rough`].
    #[must_use]
    pub fn new(seed: u64) -> Sim {
        Sim::with_faults(seed, Faults::rough())
    }

    /// The world of this seed, with these faults.
    #[must_use]
    pub fn with_faults(seed: u64, faults: Faults) -> Sim {
        Sim::with_decider(SplitMix::new(seed), faults)
    }

    /// A world whose choices are answered by `decider`: a fuzzer's bytes, a script.
    #[must_use]
    pub fn with_decider(decider: impl Decider, faults: Faults) -> Sim {
        Sim {
            net: Net::new(Dice::new(Box::new(decider)), faults),
            watches: Vec::new(),
            mailbox: None,
            rung: Arc::new(AtomicBool::new(false)),
        }
    }

    /// The last poll was to wait without end, and nothing was left that could happen: no event
    /// under way, no readiness owed. Only another thread's mail could still change that.
    ///
    /// That poll returned at once with nothing, so [`run_to_rest`] knows when a scenario has come
    /// to its end, and a test that expected more can fail. Whoever polls on gets an error after
    /// [`IDLE_POLLS`] of them, so that a deadlock ends `Loop::run` and does not hang it.
    #[must_use]
    pub fn idle(&self) -> bool {
        self.net.idle_polls > 0
    }

    /// The time, without its cost: for tests.
    #[must_use]
    pub fn time(&self) -> Instant {
        Instant(self.net.now)
    }

    /// Everything that the world was asked and what it answered, bytes and all, as one number.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.net.log.value()
    }

    /// What has happened so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.net.stats
    }

    /// The clock jumps forward, as after a machine's sleep that its monotonic clock counts. What
    /// the network had under way arrives meanwhile, each at its own time, and every deadline in
    /// between is due at once.
    pub fn jump(&mut self, by: Duration) {
        let by = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        self.net.note(4, by, 0);
        self.net.now = self.net.now.saturating_add(by);
    }

    /// Nothing gets through this way for so long: streams wait and are sent again, resets are
    /// lost. [`Sim::heal`] ends it.
    pub fn partition(&mut self, way: Way, time: Duration) {
        let time = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let until = self.net.now.saturating_add(time);
        self.net.cut[usize::from(way == Way::ToClient)] = until;
        self.net.note(5, until, u64::from(way == Way::ToClient));
    }

    /// Everything gets through again; what was lost comes with its next retransmission.
    pub fn heal(&mut self) {
        self.net.note(6, 0, 0);
        self.net.cut = [0; 2];
    }

    /// The peer of this connection is gone without a word, and so is this end for its peer: as
    /// after a power failure.
    ///
    /// # Errors
    /// It is no connection.
    pub fn vanish(&mut self, fd: Fd) -> io::Result<()> {
        let key = self.net.key(fd)?;
        self.net.note(7, fd.0.into(), 0);
        self.net.vanish(key);
        Ok(())
    }

    /// The faults in force. Changing them changes what is to come: a test can let the network
    /// turn bad, and good again.
    pub fn faults(&mut self) -> &mut Faults {
        &mut self.net.faults
    }

    /// The sockets that the program holds open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.net.open
    }

    /// A signal comes in. `false`: nobody watches it, and a real process would have died of it.
    pub fn signal(&mut self, signal: i32) -> bool {
        let mut watched = false;
        for watch in self.watches.iter_mut().filter(|w| w.signals.contains(&signal)) {
            watched = true;
            watch.told = false;
            if !watch.raised.contains(&signal) {
                watch.raised.push(signal);
            }
        }
        self.net.note(1, signal as u64, u64::from(watched));
        watched
    }

    /// Mail and signals, which are no sockets.
    fn tell_others(&mut self, ready: &mut Vec<Ready>) {
        if self.rung.swap(false, Ordering::AcqRel) {
            ready.push(input(Id::MAIL));
        }
        for watch in self.watches.iter_mut().filter(|w| !w.told) {
            watch.told = true;
            ready.push(input(watch.id));
        }
    }
}

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

fn input(id: Id) -> Ready {
    Ready { id, readable: true, writable: false, closed: false, gone: false }
}

impl World for Sim {
    fn now(&mut self) -> Instant {
        self.net.now += 1;
        Instant(self.net.now)
    }

    fn poll(&mut self, until: Option<Instant>, ready: &mut Vec<Ready>) -> io::Result<()> {
        let before = ready.len();
        self.tell_others(ready);
        let told = ready.len() > before;
        self.net.poll(if told { Some(Instant(0)) } else { until }, ready)
    }

    fn random(&mut self, into: &mut [u8]) {
        for chunk in into.chunks_mut(8) {
            let word = self.net.dice.pick(Choice::Random, u64::MAX).to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    }

    fn close(&mut self, fd: Fd) {
        self.net.close(fd, false);
    }

    fn watch_signals(&mut self, signals: &[i32], id: Id) -> io::Result<()> {
        if signals.iter().any(|s| *s <= 0 || UNCATCHABLE.contains(s)) {
            return Err(ErrorKind::InvalidInput.into());
        }
        let (signals, raised) = (signals.to_vec(), Vec::new());
        self.watches.push(Watch { id, signals, raised, told: true });
        Ok(())
    }

    fn next_signal(&mut self, watch: Id) -> Option<i32> {
        let watch = self.watches.iter_mut().find(|w| w.id == watch)?;
        (!watch.raised.is_empty()).then(|| watch.raised.remove(0))
    }

    fn mailbox(&mut self) -> io::Result<Mailbox> {
        let rung = &self.rung;
        let new = || {
            let rung = rung.clone();
            Mailbox::new(move || rung.store(true, Ordering::Release))
        };
        Ok(self.mailbox.get_or_insert_with(new).clone())
    }

    fn mail(&mut self, into: &mut Vec<Mail>) {
        if let Some(mailbox) = &self.mailbox {
            mailbox.take(into);
        }
    }
}
