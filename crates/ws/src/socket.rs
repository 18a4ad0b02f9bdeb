//! What a callback may do with one WebSocket.
//!
//! Rules of this file:
//! * A socket appends frames and notes wishes; the loop settles them when the callback returns,
//!   so whatever one turn sends leaves in one write.
//! * Nothing follows a Close: what is sent behind it is dropped.

use crate::client::Opening;
use crate::core::frame::{self, Opcode};
use crate::core::{CloseCode, Role, close};
use crate::{Config, Failure, Message};
use loopwork_http::tcp::reactor::{Env, Id};
use loopwork_http::tcp::{Close, Flow, Io, Out, Wishes};

/// Where a connection stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stage {
    /// A client that waits for the server's answer.
    Opening,
    /// Messages go both ways.
    Open,
    /// Our Close is out, the peer's is awaited. Messages are dropped.
    Closing,
    /// Both are out, or the peer failed: nothing it says matters, only that it ends.
    Ended,
}

/// What a connection has only at its two ends.
#[derive(Debug)]
pub(crate) enum Extra {
    Opening(Opening),
    Reason(Box<str>),
}

/// The state of a WebSocket, but for what is being received and the application's.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) extra: Option<Box<Extra>>,
    /// Bytes in and out, modulo 2³², when the deadline was last thought over.
    pub(crate) received: u32,
    pub(crate) sent: u32,
    pub(crate) failure: Option<Failure>,
    /// Of the peer's Close; `ABNORMAL` while there is none.
    pub(crate) code: CloseCode,
    pub(crate) stage: Stage,
    pub(crate) role: Role,
    /// A Ping was sent because nothing came.
    pub(crate) pinged: bool,
}

impl Link {
    pub(crate) fn new(role: Role, stage: Stage, extra: Option<Box<Extra>>) -> Link {
        let (failure, code, pinged) = (None, CloseCode::ABNORMAL, false);
        Link { extra, received: 0, sent: 0, failure, code, stage, role, pinged }
    }

    /// Something went wrong: the first thing counts.
    pub(crate) fn fail(&mut self, why: Failure) {
        self.failure.get_or_insert(why);
    }
}

/// A WebSocket, as a callback sees it. `env` is a field, to be borrowed apart.
pub struct Socket<'a> {
    /// Its name, for whoever wants to wake it.
    pub id: Id,
    /// The rest of what a callback may reach.
    pub env: &'a mut Env,
    out: Out<'a>,
    wish: &'a mut Wishes,
    link: &'a mut Link,
    config: &'a Config,
}

impl<'a> Socket<'a> {
    #[inline]
    pub(crate) fn new(io: Io<'a>, link: &'a mut Link, config: &'a Config) -> Self {
        Socket { id: io.id, env: io.env, out: io.out, wish: io.wish, link, config }
    }

    /// Sends a text message.
    #[inline]
    pub fn send_text(&mut self, text: &str) -> Flow {
        self.frame(Opcode::Text, text.as_bytes())
    }

    /// Sends a binary message.
    #[inline]
    pub fn send_binary(&mut self, bytes: &[u8]) -> Flow {
        self.frame(Opcode::Binary, bytes)
    }

    /// Sends a message of either kind.
    #[inline]
    pub fn send(&mut self, message: &Message<'_>) -> Flow {
        match message {
            Message::Text(text) => self.send_text(text),
            Message::Binary(bytes) => self.send_binary(bytes),
        }
    }

    /// Sends a Ping; of the payload the first 125 bytes. The peer's answer is `on_pong`.
    pub fn ping(&mut self, payload: &[u8]) -> Flow {
        self.frame(Opcode::Ping, payload)
    }

    /// Sends a Pong that nobody asked for, a sign of life (RFC 6455 §5.5.3); of the payload the
    /// first 125 bytes. Pings are answered without it.
    pub fn pong(&mut self, payload: &[u8]) -> Flow {
        self.frame(Opcode::Pong, payload)
    }

    /// Appends a frame, unless a Close is out.
    #[inline]
    pub(crate) fn frame(&mut self, opcode: Opcode, payload: &[u8]) -> Flow {
        if self.link.stage == Stage::Open {
            let mask = mask(self.link.role, self.env);
            frame::encode(self.out.buffer(), opcode, payload, mask);
        }
        self.out.flow()
    }

    /// Sends a Close, the reason cut to 123 bytes between characters; a code that may not stand on
    /// the wire sends a Close without one. No message is shown and none sent from here on. The
    /// connection ends with the peer's Close, or when [`Config::close`] has passed.
    pub fn close(&mut self, code: CloseCode, reason: &str) {
        if self.link.stage == Stage::Open {
            let mask = mask(self.link.role, self.env);
            close::encode(self.out.buffer(), code, reason, mask);
            self.link.stage = Stage::Closing;
            self.wish.set_deadline(Some(self.env.now.after(self.config.close)));
            // Who reads no more would not see the peer's Close.
            self.wish.resume();
        }
    }

    /// Gives the connection up now: what has not gone out is lost.
    pub fn abort(&mut self) {
        self.wish.abort(Close::Aborted);
    }

    /// Whether more should be sent.
    pub fn flow(&self) -> Flow {
        self.out.flow()
    }

    /// Whether messages can be sent: no Close is out.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.link.stage == Stage::Open
    }

    /// Shows no more messages until [`Socket::resume`]. Pings are not answered meanwhile either.
    pub fn pause(&mut self) {
        if self.link.stage == Stage::Open {
            self.wish.pause();
        }
    }

    /// Shows messages again.
    pub fn resume(&mut self) {
        self.wish.resume();
    }
}

/// The key for the next frame: a client's are masked, each by a new key that nobody can guess
/// (RFC 6455 §5.3).
#[inline]
pub(crate) fn mask(role: Role, env: &mut Env) -> Option<[u8; 4]> {
    (role == Role::Client).then(|| {
        let mut key = [0; 4];
        env.random(&mut key);
        key
    })
}
