//! Who was told that something is there, and has not asked for it since: what a check for
//! starvation looks at.
//!
//! Rules of this file:
//! * It is an account alone: it changes no answer, and draws no choice.
//! * A source is served when it was asked until dry: by a call that took less than it had room for.

use crate::Sim;
use crate::net::{Key, Net, Socket};
use loopwork_reactor::{Id, Instant};

/// A shorter list is not worth tidying.
const LIST_MIN: usize = 64;

/// What somebody was told of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Waiting {
    /// Connections wait at a listener.
    Connections,
    /// A stream has bytes, an end, or an error.
    Bytes,
    /// Datagrams, or an error, wait at a socket.
    Datagrams,
}

/// A source that was told to be readable, and has not been asked until dry since. A protocol may
/// have its reasons: it has paused, or it is full.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unserved {
    /// Whom it was told to.
    pub id: Id,
    /// What is there.
    pub what: Waiting,
    /// Polls that there had been ([`Stats::polls`](crate::Stats::polls)) when it was told, or when
    /// it was last asked.
    pub polls: u64,
    /// The time then.
    pub at: Instant,
}

/// Since when a source waits, and whether it is on the list of those that do.
#[derive(Clone, Copy, Default)]
pub(crate) struct Owed {
    since: Option<(u64, u64)>,
    listed: bool,
}

impl Net {
    /// It is told, unless it was before: who waits already goes on waiting.
    pub(crate) fn is_told(&mut self, key: Key) {
        let (polls, now) = (self.stats.polls, self.now);
        let Some(entry) = self.entry(key) else { return };
        let there = match &entry.socket {
            Socket::Listener(listener) => !listener.queue.is_empty(),
            Socket::Stream(stream) => !stream.read_up && stream.state(false).0,
            Socket::Udp(udp) => udp.readable(),
            Socket::Post(post) => !post.inbox.is_empty(),
        };
        if there && entry.owed.since.is_none() {
            entry.owed.since = Some((polls, now));
            if !std::mem::replace(&mut entry.owed.listed, true) {
                self.list(key);
            }
        }
    }

    /// Closed sockets go when they are half of the list, whether or not anybody looks at it.
    fn list(&mut self, key: Key) {
        self.unserved.push(key);
        if self.unserved.len() > 2 * self.sockets() + LIST_MIN {
            let mut keys = std::mem::take(&mut self.unserved);
            keys.retain(|key| self.peek(*key).is_some());
            self.unserved = keys;
        }
    }

    /// It was asked. `more`: whoever asked knows that there may be more.
    pub(crate) fn is_asked(&mut self, key: Key, more: bool) {
        let (polls, now) = (self.stats.polls, self.now);
        if let Some(entry) = self.entry(key)
            && entry.owed.since.is_some()
        {
            entry.owed.since = more.then_some((polls, now));
        }
    }
}

impl Sim {
    /// All that was told and not served, for a check that nobody starves.
    pub fn unserved(&mut self) -> impl Iterator<Item = Unserved> + '_ {
        let mut keys = std::mem::take(&mut self.net.unserved);
        keys.retain(|key| {
            let Some(entry) = self.net.entry(*key) else { return false };
            entry.owed.listed = entry.owed.since.is_some();
            entry.owed.listed
        });
        self.net.unserved = keys;
        let of = |key: &Key| {
            let entry = self.net.peek(*key)?;
            let (polls, at) = entry.owed.since?;
            let what = match entry.socket {
                Socket::Listener(_) => Waiting::Connections,
                Socket::Stream(_) => Waiting::Bytes,
                Socket::Udp(_) | Socket::Post(_) => Waiting::Datagrams,
            };
            Some(Unserved { id: entry.id, what, polls, at: Instant(at) })
        };
        self.net.unserved.iter().filter_map(of)
    }
}
