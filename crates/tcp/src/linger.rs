//! The end of a connection whose peer may still be sending: its input is drained for a while.
//!
//! A socket that is closed with input unread, or gets some afterwards, answers by a reset, and a
//! reset destroys what the peer has not read yet: our last words. So whoever has said them and
//! wants to hear no more ends its side, and drops what comes until the peer ends too.
//!
//! Rules of this file:
//! * Nothing that is dropped is shown or kept, and all of it is bounded: by time and by bytes.
//! * A peer that takes our words, and not too slowly, has its time for them first.

use crate::connection::Work;
use crate::state::FIN;
use crate::{Close, Io, Protocol, Wishes};
use loopwork_reactor::Instant;
use std::time::Duration;

/// How long, and how much, a connection is drained ([`Io::end_and_drain`]).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Drain {
    /// With too little taken of output that waits: then it is given up, by a reset. 30 s: a mobile
    /// peer comes back from a tunnel.
    pub stall: Duration,
    /// Bytes that have to be taken of what waits in each [`stall`](Self::stall), or it is given up:
    /// 1. More of them bound how long a slow reader can hold its connection.
    pub least: u64,
    /// For the peer's end behind ours: 5 s, some round trips and a retransmission.
    pub wait: Duration,
    /// Bytes that are dropped: 64 MiB, what 100 Mbit/s bring in 5 s.
    pub bytes: u64,
}

impl Default for Drain {
    fn default() -> Self {
        let (stall, wait) = (Duration::from_secs(30), Duration::from_secs(5));
        Drain { stall, least: 1, wait, bytes: 64 << 20 }
    }
}

/// A drain under way.
#[derive(Debug)]
pub(crate) struct Draining {
    how: Drain,
    /// Bytes that the kernel had taken when the deadline was set.
    sent: u64,
    dropped: u64,
}

impl Io<'_> {
    /// Ends our side, as [`Io::end`], and wants no more input: what still comes is dropped, so
    /// that the peer reads our last words, which a close at once might destroy. Of callbacks only
    /// `on_wake` and `on_shutdown` may follow, and `on_close`: with [`Close::Finished`] when the
    /// peer ends too, or the drain has its limit. The deadline is the drain's from here on.
    ///
    /// Of a layer inside another the outer one takes the wish over ([`Wishes::draining`]).
    pub fn end_and_drain(&mut self, how: Drain) {
        if self.wish.drain.is_some() {
            return;
        }
        self.end();
        self.resume();
        // What is dropped takes no room: two that both wait to be read would wait for ever.
        self.read_when_full(true);
        let draining = Draining { how, sent: self.count.sent, dropped: 0 };
        self.wish.drain = Some(Box::new(draining));
        self.set_deadline(Some(self.env.now.after(how.stall)));
    }

    /// Whether [`Io::end_and_drain`] was wished.
    #[must_use]
    pub fn draining(&self) -> bool {
        self.wish.drain.is_some()
    }
}

impl Wishes {
    /// For a protocol around a protocol: the inner wish to be drained.
    #[must_use]
    pub fn draining(&self) -> Option<Drain> {
        self.drain.as_ref().map(|drain| drain.how)
    }

    /// Our end has been sent: from now on the peer's is waited for.
    pub(crate) fn drain_from(&mut self, now: Instant) {
        if let Some(drain) = &self.drain {
            self.deadline = now.after(drain.how.wait);
        }
    }
}

impl<P: Protocol> Work<'_, P> {
    /// Drops input if it is drained; says whether it is. Beyond the limit nothing more is read.
    pub(crate) fn dropped(&mut self, n: usize) -> bool {
        let Some(drain) = &mut self.link.wish.drain else { return false };
        drain.dropped += (n + self.bufs.carry.len()) as u64;
        self.bufs.carry.clear();
        self.link.wish.paused |= drain.dropped > drain.how.bytes;
        true
    }

    /// Both our words and the drain's limit are behind us.
    pub(crate) fn drained(&self) -> bool {
        let over = |drain: &Draining| drain.dropped > drain.how.bytes;
        self.link.state.has(FIN) && self.link.wish.drain.as_deref().is_some_and(over)
    }

    /// The deadline passed, in a drain; says whether there is one.
    pub(crate) fn drain_due(&mut self, now: Instant) -> bool {
        let (fin, sent) = (self.link.state.has(FIN), self.link.count.sent);
        let Some(drain) = &mut self.link.wish.drain else { return false };
        let moved = sent - std::mem::replace(&mut drain.sent, sent) >= drain.how.least.max(1);
        let stall = drain.how.stall;
        match (fin, moved) {
            (true, _) => self.link.wish.abort(Close::Finished),
            (false, true) => self.link.wish.set_deadline(Some(now.after(stall))),
            (false, false) => self.link.wish.abort(Close::TimedOut),
        }
        true
    }
}
