//! One question on its way to one server: over a datagram socket of its own, or a connection.
//!
//! Rules of this file:
//! * RFC 5452, 9.2: each question leaves from a port of its own, which the kernel draws. So the
//!   socket is opened for it and closed behind it.
//! * What comes from elsewhere, or answers something else, is ignored; the deadline stays.
//! * RFC 7766, 8: over TCP a message stands behind its length, in two octets.

use crate::message::{self, Asked, Message};
use crate::resolver::{State, Way};
use loopwork_tcp::reactor::{Address, Env, Id, Instant, Key};
use loopwork_tcp::{self as tcp, Close};
use loopwork_udp as udp;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;

/// How a question to one server ended.
pub(crate) enum End {
    /// It was answered.
    Answer(Message),
    /// With octets that are no message.
    Malformed,
    /// It was not answered in time.
    Timeout,
    /// It did not get there.
    Failed(ErrorKind),
}

/// A question on its way.
pub(crate) struct Wait {
    way: Way,
    asked: Asked,
    wire: Vec<u8>,
    end: End,
}

impl Wait {
    pub(crate) fn new(env: &mut Env, way: Way) -> Wait {
        let mut random = [0; 34];
        env.random(&mut random);
        let (asked, wire) = message::ask(&way.name, way.kind, way.edns, &random);
        Wait { way, asked, wire, end: End::Timeout }
    }

    /// Whether these octets end the wait.
    fn take(&mut self, bytes: &[u8]) -> bool {
        // A message that is none counts as the server's if it has the number and is an answer.
        let ours = bytes.get(..2) == Some(&self.asked.id.to_be_bytes())
            && bytes.get(2).is_some_and(|flags| flags & 0x80 != 0);
        self.end = match Message::read(bytes) {
            Ok(message) if message.answers(&self.asked) => End::Answer(message),
            Err(_) if ours => End::Malformed,
            _ => return false,
        };
        true
    }
}

/// A datagram socket for one question after the other.
pub(crate) struct Port {
    pub(crate) state: Key<State>,
    /// Its place in the resolver's list.
    pub(crate) seat: usize,
    at: Option<Wait>,
}

impl Port {
    pub(crate) fn new(state: Key<State>, seat: usize) -> Port {
        Port { state, seat, at: None }
    }

    fn over(&mut self, env: &mut Env, way: Way, end: End) {
        let state = env.shared.get(self.state);
        state.ended(way, end, false).run(env);
        State::start(self.state, env);
    }
}

impl udp::Protocol for Port {
    fn on_open(&mut self, io: &mut udp::Io<'_>) {
        let Some(way) = io.env.shared.get(self.state).assigned[self.seat].take() else {
            return io.close();
        };
        let way = Wait::new(io.env, way);
        let server = way.way.server;
        io.associate(server);
        let _ = io.send(server, &way.wire);
        io.set_deadline(Some(way.way.until));
        self.at = Some(way);
    }

    fn on_datagram(&mut self, io: &mut udp::Io<'_>, from: SocketAddr, bytes: &mut [u8]) {
        let Some(way) = &mut self.at else { return };
        if from == way.way.server && way.take(bytes) {
            io.close();
        }
    }

    fn on_timeout(&mut self, io: &mut udp::Io<'_>) {
        io.close();
    }

    /// Nobody is there, or no way leads there. ICMP may be forged: the next server is asked, and
    /// this one again in its turn.
    fn on_error(&mut self, io: &mut udp::Io<'_>, _: Option<SocketAddr>, error: io::Error) {
        if let Some(way) = &mut self.at {
            way.end = End::Failed(error.kind());
        }
        io.close();
    }

    fn on_close(&mut self, _: Id, env: &mut Env) {
        if let Some(way) = self.at.take() {
            self.over(env, way.way, way.end);
        }
    }

    fn on_open_failed(&mut self, env: &mut Env, _: SocketAddr, error: io::Error) {
        if let Some(way) = env.shared.get(self.state).assigned[self.seat].take() {
            self.over(env, way, End::Failed(error.kind()));
        }
    }
}

/// Connections, each for one question.
pub(crate) struct Streams {
    pub(crate) state: Key<State>,
}

impl tcp::Protocol for Streams {
    type Conn = Wait;

    fn on_open(&mut self, way: &mut Wait, io: &mut tcp::Io<'_>) {
        let length = (way.wire.len() as u16).to_be_bytes();
        let _ = io.write(&[&length, &way.wire[..]].concat());
        io.set_deadline(Some(way.way.until));
    }

    fn on_data(&mut self, way: &mut Wait, io: &mut tcp::Io<'_>, bytes: &mut [u8]) -> usize {
        let mut used = 0;
        while let Some((length, rest)) = bytes[used..].split_first_chunk::<2>() {
            let length = usize::from(u16::from_be_bytes(*length));
            let Some(message) = rest.get(..length) else { break };
            used += 2 + length;
            if way.take(message) {
                io.abort(Close::Aborted);
                return bytes.len();
            }
        }
        used
    }

    /// A message and its length.
    fn keeps(&self, _: &Wait, _: &mut Env) -> usize {
        2 + usize::from(u16::MAX)
    }

    fn on_close(&mut self, way: Wait, _: Id, env: &mut Env, why: Close) {
        let end = match (way.end, why) {
            (End::Timeout, Close::TimedOut | Close::Dial(ErrorKind::TimedOut)) => End::Timeout,
            (End::Timeout, Close::Dial(kind)) => End::Failed(kind),
            (End::Timeout, Close::Reset) => End::Failed(ErrorKind::ConnectionReset),
            // It hung up instead of an answer.
            (End::Timeout, _) => End::Failed(ErrorKind::UnexpectedEof),
            (end, _) => end,
        };
        env.shared.get(self.state).ended(way.way, end, true).run(env);
        State::start(self.state, env);
    }
}

/// Asks over a connection, until the question's deadline.
pub(crate) fn dial(
    env: &mut Env,
    host: loopwork_tcp::reactor::Handle<tcp::Host<Streams>>,
    way: Way,
) {
    let (to, now): (_, Instant) = (Address::Ip(way.server), env.now);
    let timeout = way.until.since(now);
    let conn = Wait::new(env, way);
    tcp::Dial { to, from: None, timeout, conn }.send(env, host);
}
