//! The way between the two ends of a stream: loss and retransmission, partitions, peers that
//! vanish, and what makes a kernel give a connection up.
//!
//! Rules of this file:
//! * What belongs to a stream (bytes, the end, the answer to a SYN) is numbered, sent again until
//!   it arrives, and taken in order: a program sees delay, never a gap.
//! * What belongs to none (a reset, a datagram) is sent once.
//! * Who has sent [`RETRIES`] times in vain gives up with `TimedOut`; so does who had no answer to
//!   its probes. Nobody is told earlier: a vanished peer is silence.

use crate::dice::Choice;
use crate::net::{Key, Net, What};
use crate::segment::Segment;
use crate::stream::State;
use loopwork_reactor::KeepAlive;
use std::io::ErrorKind;
use std::time::Duration;

/// Retransmissions of one segment before the connection has timed out (`net.ipv4.tcp_retries2`).
pub const RETRIES: u32 = 15;
/// The first wait for an acknowledgement, and the longest: it doubles in between
/// (`TCP_RTO_MIN`, `TCP_RTO_MAX`). Fifteen of them are 924.6 s.
const WAIT_FIRST: u64 = 200_000_000;
const WAIT_LAST: u64 = 120_000_000_000;
/// An acknowledgement that has nothing to travel with waits for so long (`TCP_DELACK_MIN`).
pub const DELAYED_ACK: Duration = Duration::from_millis(40);
/// What one segment carries: Ethernet's 1,500 bytes without the headers. Nagle's algorithm
/// (RFC 1122, 4.2.3.4) holds shorter ones back.
pub(crate) const SEGMENT_MAX: usize = 1460;
/// The system's own times between probes, and how many (`tcp(7)`).
const PROBE_EVERY: Duration = Duration::from_secs(75);
const PROBES: u32 = 9;

/// Which way something travels between the two ends of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// To who has dialed.
    ToClient,
    /// To who has accepted.
    ToServer,
}

/// A numbered part of a stream on its way, or about to be sent again.
pub(crate) struct Flight {
    pub(crate) segment: Segment,
    to: Key,
    from: Option<Key>,
    number: u64,
    tries: u32,
    /// When it was sent first.
    since: u64,
}

fn ns(of: Duration) -> u64 {
    u64::try_from(of.as_nanos()).unwrap_or(u64::MAX)
}

impl Net {
    /// Sends a part of the stream to `to`, behind all parts before it, `hold` later than now.
    pub(crate) fn follow(&mut self, to: Key, segment: Segment, hold: u64) {
        let (mut number, mut from) = (0, None);
        if let Some(stream) = self.stream(to) {
            (number, from) = (stream.sent_to, stream.peer);
            stream.sent_to += 1;
        }
        let since = self.now;
        self.launch_flight(Flight { segment, to, from, number, tries: 0, since }, hold);
    }

    /// Puts it on its way, unless the network loses it.
    fn launch_flight(&mut self, flight: Flight, hold: u64) {
        if self.is_lost(flight.to, true) {
            self.stats.dropped_segments += 1;
            let wait = (WAIT_FIRST << flight.tries.min(16)).min(WAIT_LAST);
            return self.at(self.now + wait, What::Again(flight));
        }
        let mut at = self.now + self.latency() + hold;
        if let Some(stream) = self.stream(flight.to) {
            at = at.max(stream.arrival);
            stream.arrival = at;
        }
        self.at(at, What::Flight(flight));
    }

    /// No acknowledgement has come: again, or the end of it.
    pub(crate) fn again(&mut self, mut flight: Flight) {
        flight.tries += 1;
        let limit = flight.from.and_then(|from| self.stream(from)?.user_timeout);
        let late = limit.is_some_and(|limit| self.now - flight.since >= ns(limit));
        if flight.tries > RETRIES || late {
            return self.give_up(&flight);
        }
        self.launch_flight(flight, 0);
    }

    /// Who waits for the answer to a SYN learns it as a dial that timed out.
    fn give_up(&mut self, flight: &Flight) {
        if let Segment::SynAck { client } = flight.segment {
            let (client, why) = (client, ErrorKind::TimedOut);
            self.arrive(Segment::Refused { client, why });
        }
        if let Some(from) = flight.from {
            self.time_out(from);
        }
    }

    /// The kernel gives a connection up.
    fn time_out(&mut self, key: Key) {
        let Some(stream) = self.stream(key) else { return };
        if stream.state == State::Open {
            stream.die(ErrorKind::TimedOut);
            self.stats.timeouts += 1;
            self.mark(key);
        }
    }

    /// It is there: it is taken when all before it are.
    pub(crate) fn land(&mut self, flight: Flight) {
        let to = flight.to;
        let Some(stream) = self.stream(to) else { return self.arrive(flight.segment) };
        stream.early.insert(flight.number, flight.segment);
        while let Some(stream) = self.stream(to) {
            let Some(next) = stream.early.remove(&stream.taken) else { return };
            stream.taken += 1;
            self.arrive(next);
        }
    }

    /// Does the network lose what goes to `to` now? `stream`: it would be sent again.
    pub(crate) fn is_lost(&mut self, to: Key, stream: bool) -> bool {
        let Some(receiver) = self.stream(to) else { return false };
        let (way, lost) = (receiver.client, receiver.lost);
        let unix = matches!(receiver.local, loopwork_reactor::Address::Unix(_));
        if unix {
            return false;
        }
        if self.dice.chance(Choice::Partition, self.faults.partition) {
            self.stats.partitions += 1;
            let span = self.dice.span(Choice::Partition, &self.faults.partition_time);
            let which = self.dice.pick(Choice::Partition, 3);
            for (n, until) in self.cut.iter_mut().enumerate() {
                if which == 0 || which == n as u64 + 1 {
                    *until = (*until).max(self.now.saturating_add(span));
                }
            }
        }
        if self.dice.chance(Choice::Vanish, self.faults.vanish) {
            self.vanish(to);
        }
        let cut = self.cut[usize::from(way)] > self.now;
        lost || cut || (stream && self.dice.chance(Choice::Drop, self.faults.drop))
    }

    /// From now on nothing arrives at either end of a connection, and nobody is told.
    pub(crate) fn vanish(&mut self, key: Key) {
        let Some(peer) = self.stream(key).and_then(|s| s.peer) else { return };
        self.stats.vanished += 1;
        for end in [key, peer] {
            let now = self.now;
            let Some(stream) = self.stream(end) else { continue };
            stream.lost = true;
            // Who waits for room is probed too (RFC 9293, 3.8.6.1), as often as it would send.
            let waits =
                (0..=RETRIES).map(|n| (WAIT_FIRST << n.min(16)).min(WAIT_LAST)).sum::<u64>();
            let probed = stream.keep_alive.map(|keep| now.saturating_add(patience(keep)));
            self.at(now + waits, What::Probe(end, false));
            if let Some(at) = probed {
                self.at(at, What::Probe(end, true));
            }
        }
    }

    /// The answers to probes are overdue. `idle`: it was asked whether anyone is there; otherwise
    /// only who could not get rid of its output has asked.
    pub(crate) fn probed(&mut self, key: Key, idle: bool) {
        let waits = self.stream(key).is_some_and(|s| s.lost && (idle || s.blocked));
        if waits {
            self.time_out(key);
        }
    }

    /// `SO_KEEPALIVE` is switched on, or off.
    pub(crate) fn keep_alive(&mut self, key: Key, keep: Option<KeepAlive>) {
        let now = self.now;
        let Some(stream) = self.stream(key) else { return };
        stream.keep_alive = keep;
        if let (true, Some(keep)) = (stream.lost, keep) {
            self.at(now.saturating_add(patience(keep)), What::Probe(key, true));
        }
    }

    /// How long this piece waits by Nagle's algorithm: a short one waits until what is on its way
    /// is acknowledged, and the acknowledgement waits for something to travel with.
    pub(crate) fn nagle(&mut self, from: Key, to: Key, len: usize) -> u64 {
        let holds = self.stream(from).is_some_and(|s| s.nagle) && len < SEGMENT_MAX;
        let flying = self.stream(to).is_some_and(|s| s.flying > 0);
        if holds && flying { ns(DELAYED_ACK) } else { 0 }
    }
}

/// How long an idle connection lasts whose peer has vanished.
fn patience(keep: KeepAlive) -> u64 {
    let (every, count) = (keep.interval.unwrap_or(PROBE_EVERY), keep.count.unwrap_or(PROBES));
    ns(keep.idle.saturating_add(every.saturating_mul(count)))
}
