//! What travels between the two ends of a stream, and what it does where it arrives.
//!
//! Rules of this file:
//! * Bytes, the end behind them, and the answer to a SYN arrive in the order of sending
//!   (`wire.rs`). A reset does not wait for what is under way, and what is under way behind it is
//!   lost.
//! * What arrives for a closed socket is answered by a reset.
//! * A blocked writer is told when a third of its window is free, as Linux does, so that it does
//!   not write byte by byte.

use crate::dice::Choice;
use crate::net::{Key, Net, Socket, What};
use crate::ports::{routed, seen_by};
use crate::stream::{Listener, State, Stream};
use loopwork_reactor::{Address, Id};
use std::io::ErrorKind;
use std::path::PathBuf;

/// SYNs of one attempt, the wait doubling from one second (`net.ipv4.tcp_syn_retries` and the
/// first): an accept queue that stays full refuses nobody, but times out after two minutes.
pub const SYN_TRIES: u32 = 7;
const SYN_WAIT: u64 = 1_000_000_000;
/// Who ends a connection first keeps its ports for so long, in nanoseconds: as `TIME_WAIT`, or
/// before it as `FIN_WAIT_2` (`TCP_TIMEWAIT_LEN`, `net.ipv4.tcp_fin_timeout`).
pub const TIME_WAIT: u64 = 60_000_000_000;

pub(crate) enum Segment {
    Syn { client: Key, tries: u32 },
    SynAck { client: Key },
    Refused { client: Key, why: ErrorKind },
    Bytes { from: Key, to: Key, bytes: Vec<u8> },
    Fin { to: Key },
    Reset { to: Key },
}

impl Net {
    /// Sends something that does not wait for what is under way.
    fn overtake(&mut self, segment: Segment) {
        let at = self.now + self.latency();
        self.at(at, What::Segment(segment));
    }

    pub(crate) fn send_syn(&mut self, client: Key) {
        self.try_syn(client, 1);
    }

    /// The direction of a SYN is that to the server, whose end is not there yet.
    fn try_syn(&mut self, client: Key, tries: u32) {
        let cut = self.cut[usize::from(false)] > self.now;
        if cut || self.dice.chance(Choice::Drop, self.faults.drop) {
            self.stats.dropped_segments += 1;
            return self.syn_again(client, tries);
        }
        self.overtake(Segment::Syn { client, tries });
    }

    /// Nobody has answered a SYN: the next, or the end of the dial.
    fn syn_again(&mut self, client: Key, tries: u32) {
        let at = self.now + (SYN_WAIT << (tries - 1));
        let (tries, why) = (tries + 1, ErrorKind::TimedOut);
        let next = match tries > SYN_TRIES {
            true => What::Segment(Segment::Refused { client, why }),
            false => What::Syn(client, tries),
        };
        self.at(at, next);
    }

    /// It is time for one more SYN.
    pub(crate) fn next_syn(&mut self, client: Key, tries: u32) {
        if self.stream(client).is_some_and(|s| s.state == State::Connecting) {
            self.try_syn(client, tries);
        }
    }

    pub(crate) fn send_fin(&mut self, to: Key) {
        self.follow(to, Segment::Fin { to }, 0);
    }

    pub(crate) fn send_reset(&mut self, to: Key) {
        if !self.is_lost(to, false) {
            self.overtake(Segment::Reset { to });
        }
    }

    /// Sends bytes, in one segment or two; at times the connection breaks over it.
    pub(crate) fn send_bytes(&mut self, from: Key, to: Key, bytes: &[u8]) {
        let first = self.dice.cut(Choice::Split, self.faults.split, bytes.len());
        for part in [&bytes[..first], &bytes[first..]] {
            if part.is_empty() {
                continue;
            }
            let hold = self.nagle(from, to, part.len());
            if let Some(peer) = self.stream(to) {
                peer.flying += part.len();
            }
            self.follow(to, Segment::Bytes { from, to, bytes: part.to_vec() }, hold);
        }
        if self.dice.chance(Choice::Reset, self.faults.reset) {
            self.stats.resets += 1;
            self.send_reset(from);
            self.send_reset(to);
        }
    }

    pub(crate) fn arrive(&mut self, segment: Segment) {
        match segment {
            Segment::Syn { client, tries } => self.on_syn(client, tries),
            Segment::SynAck { client } => self.on_syn_ack(client),
            Segment::Refused { client, why } => self.on_refused(client, why),
            Segment::Bytes { from, to, bytes } => self.on_bytes(from, to, bytes),
            Segment::Fin { to } => self.on_fin(to),
            Segment::Reset { to } => self.on_reset(to),
        }
    }

    fn on_syn(&mut self, client: Key, tries: u32) {
        let Some(stream) = self.stream(client) else { return };
        let Address::Ip(to) = stream.remote else { return };
        if stream.state != State::Connecting {
            return;
        }
        let listener = self.ports.listener(&mut self.dice, to);
        let Some(listener) = listener else {
            if self.is_lost(client, false) {
                return self.syn_again(client, tries);
            }
            let why = ErrorKind::ConnectionRefused;
            return self.overtake(Segment::Refused { client, why });
        };
        if self.queue_up(listener, client).is_none() {
            self.stats.syn_drops += 1;
            self.syn_again(client, tries);
        }
    }

    /// Makes the server's end of a connection and puts it into the accept queue, if there is
    /// room.
    pub(crate) fn queue_up(&mut self, listener: Key, client: Key) -> Option<Key> {
        let Some(Socket::Listener(of)) = self.socket(listener) else { return None };
        if of.queue.len() >= of.backlog {
            return None;
        }
        let (at, nagle, keep_alive) = (of.at.clone(), of.nagle, of.keep_alive);
        let stream = self.stream(client)?;
        let (theirs, ours) = (stream.local.clone(), stream.remote.clone());
        let (local, remote) = match (at, ours, theirs) {
            (Address::Ip(at), Address::Ip(ours), Address::Ip(theirs)) => {
                let seen = |of| Address::Ip(seen_by(at.ip(), of));
                (seen(routed(ours)), seen(theirs))
            }
            (at, ..) => (at, Address::Unix(PathBuf::new())),
        };
        let window = self.dice.size(Choice::Window, &self.faults.window);
        let mut server = Stream::new(local, remote, window);
        server.state = State::Open;
        server.peer = Some(client);
        (server.nagle, server.keep_alive) = (nagle, keep_alive);
        let server = self.insert(Id::NOBODY, Socket::Stream(server));
        self.stream(client)?.peer = Some(server);
        if let Some(Socket::Listener(listener)) = self.socket(listener) {
            listener.queue.push_back(server);
        }
        self.mark(listener);
        self.follow(client, Segment::SynAck { client }, 0);
        Some(server)
    }

    fn on_syn_ack(&mut self, client: Key) {
        let Some(stream) = self.stream(client) else { return };
        if stream.state == State::Connecting {
            stream.state = State::Open;
            self.mark(client);
        }
    }

    fn on_refused(&mut self, client: Key, why: ErrorKind) {
        let Some(stream) = self.stream(client) else { return };
        if stream.state == State::Connecting {
            stream.die(why);
            stream.failed = Some(why);
            self.mark(client);
        }
    }

    fn on_bytes(&mut self, from: Key, to: Key, bytes: Vec<u8>) {
        let Some(stream) = self.stream(to) else { return self.send_reset(from) };
        stream.flying -= bytes.len();
        if stream.state != State::Open {
            return;
        }
        self.log.add(bytes.len() as u64);
        if let Some(stream) = self.stream(to) {
            stream.inbox.extend(bytes);
        }
        self.mark(to);
        self.relieve(to);
    }

    fn on_fin(&mut self, to: Key) {
        let Some(stream) = self.stream(to) else { return };
        if stream.state == State::Open {
            stream.ended = true;
            self.mark(to);
        }
    }

    fn on_reset(&mut self, to: Key) {
        let Some(stream) = self.stream(to) else { return };
        if stream.state == State::Dead {
            return;
        }
        let connecting = stream.state == State::Connecting;
        let ended = stream.ended && matches!(stream.local, Address::Ip(_));
        stream.die(if ended { ErrorKind::BrokenPipe } else { ErrorKind::ConnectionReset });
        if connecting {
            stream.failed = Some(ErrorKind::ConnectionReset);
        }
        // Behind an end that has arrived nothing may be missing: it would look complete.
        if !ended
            && self.dice.chance(Choice::LoseInput, self.faults.lose_input)
            && let Some(stream) = self.stream(to)
        {
            stream.inbox.clear();
        }
        self.mark(to);
    }

    /// Bytes that a stream may write now.
    pub(crate) fn room(&mut self, key: Key) -> usize {
        let Some(Stream { peer: Some(peer), unsent_max, .. }) = self.stream(key) else { return 0 };
        let (peer, unsent_max) = (*peer, *unsent_max);
        match self.stream(peer) {
            // Into the void: a reset will answer.
            None => usize::MAX,
            Some(peer) => {
                let window = peer.window.saturating_sub(peer.inbox.len() + peer.flying);
                window.min(unsent_max.saturating_sub(peer.flying))
            }
        }
    }

    /// The peer of this end waits for room: is there enough to tell it?
    pub(crate) fn relieve(&mut self, reader: Key) {
        let Some(Stream { peer: Some(writer), window, .. }) = self.stream(reader) else { return };
        let (writer, window) = (*writer, *window);
        let Some(Stream { blocked: true, unsent_max, .. }) = self.stream(writer) else { return };
        let enough = (window.min(*unsent_max) / 3).max(1);
        if self.room(writer) >= enough {
            if let Some(stream) = self.stream(writer) {
                stream.blocked = false;
            }
            self.poke(writer);
        }
    }

    /// What a closed stream leaves behind. `reset`: it was told to throw everything away.
    pub(crate) fn close_stream(&mut self, key: Key, stream: Stream, reset: bool) {
        if let (Address::Ip(at), Address::Ip(to), true) =
            (&stream.local, &stream.remote, stream.client)
        {
            self.ports.drop_stream(*at, key);
            let orderly = stream.state == State::Open && !reset && stream.inbox.is_empty();
            if orderly && (stream.first || !stream.ended) {
                self.ports.wait(*at, *to, self.now + TIME_WAIT, self.now);
            }
        }
        let Some(peer) = stream.peer else { return };
        let unix = matches!(stream.local, Address::Unix(_));
        let unread = !stream.inbox.is_empty();
        match stream.state {
            State::Dead => {}
            // Both sides have ended: nothing is left that could be reset.
            State::Open if stream.finished && stream.ended && !unix => {}
            // RFC 9293, 3.10.4 and RFC 2525, 2.17: input that nobody read is answered by a reset,
            // or the peer would take it for read.
            _ if unread || (reset && !unix) => self.send_reset(peer),
            State::Connecting => self.send_reset(peer),
            State::Open if !stream.finished => self.send_fin(peer),
            State::Open => {}
        }
    }

    /// Those who waited to be accepted are reset.
    pub(crate) fn close_listener(&mut self, key: Key, listener: Listener) {
        match &listener.at {
            Address::Ip(at) => self.ports.drop_stream(*at, key),
            Address::Unix(path) => self.ports.drop_path(path),
        }
        for waiting in listener.queue {
            self.abandon(waiting);
        }
    }

    /// A connection that nobody accepted is gone.
    pub(crate) fn abandon(&mut self, server: Key) {
        if let Some(Socket::Stream(stream)) = self.remove(server) {
            self.close_stream(server, stream, true);
        }
    }
}
