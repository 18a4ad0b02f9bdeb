//! Where the time of a resource went.
//!
//! Rule: each phase begins where the one before it ended, and one that was not seen takes no time.

use super::journal::{Journal, Life};
use super::load::{Resource, Story};
use loopwork::{Id, Instant};
use std::collections::BTreeMap;

/// When each phase was over, as they follow each other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Phases {
    /// It was wanted.
    pub(super) start: Instant,
    /// The addresses of its host were known.
    pub(super) named: Instant,
    /// The connection that was opened for it stood, and TLS on it. `None`: it came by one that
    /// was there.
    pub(super) connected: Option<Instant>,
    pub(super) secured: Option<Instant>,
    /// Its request began to go out: before, it waited for a connection.
    pub(super) begun: Instant,
    pub(super) sent: Instant,
    /// The answer's first byte, and the last.
    pub(super) heard: Instant,
    pub(super) end: Instant,
    /// Bytes of the request as it went over the connection.
    pub(super) request: u64,
}

/// The phases of all, in the order of the resources.
pub(super) fn of(story: &Story, journal: &Journal) -> Vec<Phases> {
    let mut seen: BTreeMap<Id, (usize, Instant)> = BTreeMap::new();
    // A connection was opened for whom it carried first.
    for (n, r) in story.resources.iter().enumerate() {
        if let (Some(id), Some(head)) = (r.connection, r.first) {
            let first = seen.entry(id).or_insert((n, head));
            if head < first.1 {
                *first = (n, head);
            }
        }
    }
    let all = story.resources.iter().enumerate();
    all.map(|(n, r)| {
        let life = r.connection.and_then(|id| journal.life(id));
        let opened = r.connection.and_then(|id| seen.get(&id)).is_some_and(|first| first.0 == n);
        one(r, life, opened)
    })
    .collect()
}

fn one(r: &Resource, life: Option<&Life>, opened: bool) -> Phases {
    let end = r.end.unwrap_or(r.start);
    let mut at = r.start;
    let mut next = |to: Option<Instant>| {
        at = to.unwrap_or(at).clamp(at, end.max(at));
        at
    };
    let named = next(r.asked);
    // What stood before it was asked for was opened for somebody else, who had another.
    let opened = life.filter(|life| opened && life.open >= r.asked);
    let connected = opened.and_then(|life| life.open).map(|open| next(Some(open)));
    let secured = opened.and_then(|life| life.secure).map(|secure| next(Some(secure)));
    let exchange = life.and_then(|life| life.exchange(r.first?));
    let begun = next(exchange.map(|(run, _)| run.from));
    let sent = next(exchange.map(|(run, _)| run.to));
    let heard = next(exchange.map(|(_, heard)| heard).or(r.first));
    let request = exchange.map_or(0, |(run, _)| run.bytes);
    Phases { start: r.start, named, connected, secured, begun, sent, heard, end, request }
}

impl Phases {
    /// What is to be shown for each moment: which phases there are, and when each is over.
    pub(super) fn marks(&self) -> [(Instant, char); 4] {
        let stood = self.secured.or(self.connected).unwrap_or(self.named);
        [(stood, '▒'), (self.begun, '·'), (self.heard, '░'), (self.end, '█')]
    }
}

/// Milliseconds.
pub(super) fn millis(from: Instant, to: Instant) -> f64 {
    to.since(from).as_secs_f64() * 1e3
}
