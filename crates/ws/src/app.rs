//! What an application says and is told.
//!
//! Rules of this file:
//! * One trait for both roles: a message is a message, whoever dialed.
//! * Whatever ends a connection, `on_close` says it, once, and takes its state.

use crate::core::handshake::BadAnswer;
use crate::core::{CloseCode, Limits, Part, Terms, Violation};
use crate::{Handshake, Socket};
use loopwork_http::Offer;
use loopwork_http::core::{Limits as HeadLimits, Malformed, Request, Response};
use loopwork_http::tcp::Close;
use loopwork_http::tcp::reactor::{Env, Id};
use std::fmt;
use std::io::ErrorKind;
use std::time::Duration;

/// A message, whole and unmasked.
#[derive(Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// Text, known to be UTF-8.
    Text(&'a str),
    /// Bytes. Those that came in may be changed in place: they lie in the loop's read buffer.
    Binary(&'a mut [u8]),
}

/// What is done with WebSockets. `&mut self` is shared by all of them; `Conn` is the state of one.
///
/// Of the browser's and Node's events: `connection` and `open` are [`on_open`](App::on_open),
/// `message` is [`on_message`](App::on_message), `ping` and `pong` are [`on_ping`](App::on_ping)
/// and [`on_pong`](App::on_pong), `close` and `error` are [`on_close`](App::on_close), `upgrade`
/// and `unexpected-response` of a client are [`on_answer`](App::on_answer).
pub trait App: 'static {
    /// The state of one WebSocket.
    type Conn: 'static;

    /// Server: whether a request for a WebSocket is for this application, before it is checked.
    /// What is not goes to the HTTP application as any other request. By default all are.
    fn wants(&mut self, _request: &Request<'_>) -> bool {
        true
    }

    /// Server: a request for a WebSocket, found correct. The application looks at its path, its
    /// headers and its `Origin` ([`same_origin`](crate::same_origin),
    /// [`Origins`](crate::Origins)), chooses a subprotocol, adds headers, and accepts with the new
    /// connection's state, or refuses.
    ///
    /// Pages of any origin may ask, and browsers send their cookies along: who trusts cookies has
    /// to look at the origin. The default passes the request on: for a client nobody asks.
    fn on_request(&mut self, _: &Request<'_>, _: &mut Handshake<'_>) -> Offer<Self::Conn> {
        Offer::Pass
    }

    /// Client: the server's answer to the handshake, whatever it is: with the subprotocol that it
    /// chose, or what is wrong with it. Then comes `on_open`, or `on_close`.
    fn on_answer(
        &mut self,
        _conn: &mut Self::Conn,
        _env: &mut Env,
        _answer: &Response<'_>,
        _outcome: Result<Option<&str>, BadAnswer>,
    ) {
    }

    /// The connection is a WebSocket now.
    fn on_open(&mut self, _conn: &mut Self::Conn, _socket: &mut Socket<'_>) {}

    /// A message came. No further one is shown while the output is full or after
    /// [`Socket::pause`].
    fn on_message(&mut self, conn: &mut Self::Conn, socket: &mut Socket<'_>, message: Message<'_>);

    /// A part of a message came, to a connection that [shows them](Socket::receive_parts): it gets
    /// no `on_message`. No further part is shown while the output is full or after
    /// [`Socket::pause`].
    fn on_part(&mut self, _conn: &mut Self::Conn, _socket: &mut Socket<'_>, _part: Part<'_>) {}

    /// A Ping came; its Pong goes out by itself.
    fn on_ping(&mut self, _conn: &mut Self::Conn, _socket: &mut Socket<'_>, _payload: &[u8]) {}

    /// A Pong came, asked for or not.
    fn on_pong(&mut self, _conn: &mut Self::Conn, _socket: &mut Socket<'_>, _payload: &[u8]) {}

    /// The output has emptied after it had been [`Full`](crate::tcp::Flow::Full).
    fn on_drain(&mut self, _conn: &mut Self::Conn, _socket: &mut Socket<'_>) {}

    /// Someone woke this connection by its id, or it was sent what was
    /// [published](crate::publish). Before `on_open` and behind a Close wakes miss.
    fn on_wake(&mut self, _conn: &mut Self::Conn, _socket: &mut Socket<'_>) {}

    /// It is over. Exactly once for each state: that of an accepted request, and that of a dial,
    /// also of one that failed.
    fn on_close(&mut self, _conn: Self::Conn, _id: Id, _env: &mut Env, _end: &End<'_>) {}
}

/// How a WebSocket ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End<'a> {
    /// The code of the peer's Close; [`CloseCode::NO_STATUS`] if it had none, and
    /// [`CloseCode::ABNORMAL`] if there was no Close (RFC 6455 §7.1.5).
    pub code: CloseCode,
    /// The reason in the peer's Close; may be empty.
    pub reason: &'a str,
    /// Both sides have sent a Close (RFC 6455 §7.1.4).
    pub clean: bool,
    /// What went wrong, when something did.
    pub failure: Option<Failure>,
}

/// Why a WebSocket failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// Client: no connection.
    Connect(ErrorKind),
    /// Client: the answer to the handshake is not one that opens a WebSocket.
    Answer(BadAnswer),
    /// Client: the answer to the handshake is not HTTP, or too long.
    Malformed(Malformed),
    /// Client: the handshake took longer than [`Config::handshake`].
    Handshake,
    /// The peer broke the protocol, or a limit.
    Violation(Violation),
    /// Nothing came within [`Config::idle`], nor in answer to the Ping within [`Config::pong`];
    /// or the peer took nothing of our output for so long.
    Silent,
    /// The peer did not answer our Close within [`Config::close`].
    Unanswered,
    /// Its message was under way while all that were took more than [`Config::pinned`].
    Pinned,
    /// The peer does not keep up: more than [`Config::unsent`] was to wait for it, or it is a
    /// subscriber that was more than [`Config::behind`] and is closed for it
    /// ([`Config::close_behind`]).
    Behind,
    /// The peer ended the stream without a Close.
    Truncated,
    /// The stream broke, or was given up.
    Stream(Close),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Connect(kind) => write!(f, "no connection: {kind}"),
            Failure::Answer(why) => why.fmt(f),
            Failure::Malformed(why) => write!(f, "the answer is not HTTP: {}", why.as_str()),
            Failure::Handshake => f.write_str("the handshake took too long"),
            Failure::Violation(violation) => violation.fmt(f),
            Failure::Silent => f.write_str("the peer is silent"),
            Failure::Unanswered => f.write_str("the peer did not answer the Close"),
            Failure::Pinned => f.write_str("too many messages are unfinished"),
            Failure::Behind => f.write_str("the peer is too far behind what it was sent"),
            Failure::Truncated => f.write_str("the stream ended without a Close"),
            Failure::Stream(why) => why.fmt(f),
        }
    }
}

impl std::error::Error for Failure {}

/// Limits and deadlines of WebSockets. [`Duration::MAX`] is no deadline.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Of messages.
    pub limits: Limits,
    /// Bytes that the unfinished messages of all connections may take together: whose message grows
    /// beyond is closed, with code 1013. 1 GiB: sixty-four of the largest messages at once. The
    /// limits of one connection alone would let a thousand peers hold sixteen.
    pub pinned: usize,
    /// Server: permessage-deflate (RFC 7692), at most so. `None`: offers of it are declined. A
    /// client offers it by [`Open::deflate`](crate::Open::deflate).
    pub deflate: Option<Terms>,
    /// How hard compression tries, 0 to 9. 1: JSON of 1 to 4 KiB takes a third of the time that 6
    /// takes, for a quarter to two fifths more bytes.
    pub level: u8,
    /// Bytes; shorter messages are not compressed. 128: of so much JSON a quarter is saved, of half
    /// as much nothing, and either takes 3 µs.
    pub compress_from: usize,
    /// Bytes of output that may wait for a peer; what is [published](Self::behind) has a limit of
    /// its own. A message that would make it more is not sent, and the connection is closed, with
    /// code 1013. 64 MiB, four of the largest messages: whoever looks at [`Flow`](crate::tcp::Flow)
    /// never comes near, and who does not look cannot be made to fill the memory. Less than
    /// 256 KiB is no limit: what is short is counted from there on.
    pub unsent: usize,
    /// A message beyond [`unsent`](Self::unsent) is dropped, and the connection goes on without it:
    /// for what the next message replaces. Off, since else a message that is missing with nobody
    /// told is worse than a connection that is.
    pub drop_unsent: bool,
    /// Bytes of messages published to it that may wait for a subscriber whose output is full; what
    /// is published beyond is not for it. One message may always wait. 1 MiB: some seconds of a
    /// busy topic on a slow line. The messages are shared, so that a thousand slow subscribers cost
    /// little more than one.
    pub behind: usize,
    /// A subscriber that missed a message that way is closed, with code 1013, instead of going on
    /// without it. Off: [`Socket::missed`] tells.
    pub close_behind: bool,
    /// Without a frame from the peer: then it is sent a Ping. 120 s: below the minutes after
    /// which middleboxes forget a connection, and rare enough to cost nothing.
    pub idle: Duration,
    /// For a sign of life after that Ping: 10 s, several round trips and retransmissions.
    pub pong: Duration,
    /// From `on_open`: then a Close with code 1001 is sent, in the middle of whatever goes on. No
    /// end by default; who wants clients to come back at times, so that load spreads over servers
    /// that were added, says hours.
    pub life: Duration,
    /// For the peer's Close after ours, and for the end of the stream after both: 10 s.
    pub close: Duration,
    /// Client: from the connection to the end of the server's answer: 10 s. A server has HTTP's
    /// own deadlines.
    pub handshake: Duration,
    /// Client: of the head of the server's answer.
    pub head: HeadLimits,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            limits: Limits::default(),
            pinned: 1 << 30,
            deflate: None,
            level: 1,
            compress_from: 128,
            unsent: 64 << 20,
            drop_unsent: false,
            behind: 1 << 20,
            close_behind: false,
            idle: Duration::from_secs(120),
            pong: Duration::from_secs(10),
            life: Duration::MAX,
            close: Duration::from_secs(10),
            handshake: Duration::from_secs(10),
            head: HeadLimits::default(),
        }
    }
}
