//! What a callback may do with one WebSocket.
//!
//! Rules of this file:
//! * A socket appends frames and notes wishes; the loop settles them when the callback returns,
//!   so whatever one turn sends leaves in one write.
//! * Nothing follows a Close: what is sent behind it is dropped.

use crate::client::Opening;
use crate::codec::{Agreed, Shared};
use crate::core::frame::{self, Fragments, MAX_CONTROL, MAX_HEADER, Opcode};
use crate::core::{CloseCode, Role, Terms, close};
use crate::topics::{self, Delivered, Prepared, Topics};
use crate::{Config, Failure, Message};
use loopwork_http::tcp::reactor::{Env, Id, Pool};
use loopwork_http::tcp::{Close, Count, Flow, Io, Out, Wishes};

/// Where a connection stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stage {
    /// A client that waits for the server's answer.
    Opening,
    /// Messages go both ways.
    Open,
    /// Our Close is out, the peer's is awaited. What it had sent before still arrives (§1.4);
    /// nothing more goes out.
    Closing,
    /// Both are out, or the peer failed: nothing it says matters, only that it ends.
    Ended,
}

/// What a connection has only at times.
#[derive(Debug)]
pub(crate) enum Extra {
    Opening(Opening),
    /// The Pong that is owed until the output has drained.
    Pong(Payload),
    /// The reason in the peer's Close.
    Reason(Box<str>),
}

/// The payload of a control frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Payload {
    bytes: [u8; MAX_CONTROL],
    len: u8,
}

impl Payload {
    pub(crate) fn new(payload: &[u8]) -> Payload {
        let mut bytes = [0; MAX_CONTROL];
        let len = payload.len().min(MAX_CONTROL);
        bytes[..len].copy_from_slice(&payload[..len]);
        Payload { bytes, len: len as u8 }
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// The state of a WebSocket, but for what is being received and the application's.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) extra: Option<Box<Extra>>,
    /// Of permessage-deflate, if it was agreed on.
    pub(crate) deflate: Option<Box<Agreed>>,
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
    /// It has subscriptions, or what was published waits for it.
    pub(crate) subscribed: bool,
    /// Messages are shown by parts.
    pub(crate) parts: bool,
}

impl Link {
    pub(crate) fn new(role: Role, stage: Stage, extra: Option<Box<Extra>>) -> Link {
        Link {
            extra,
            deflate: None,
            received: 0,
            sent: 0,
            failure: None,
            code: CloseCode::ABNORMAL,
            stage,
            role,
            pinged: false,
            subscribed: false,
            parts: false,
        }
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
    /// Bytes in and out, up to this callback.
    pub count: Count,
    out: Out<'a>,
    wish: &'a mut Wishes,
    link: &'a mut Link,
    config: &'a Config,
    shared: &'a mut Shared,
}

impl<'a> Socket<'a> {
    #[inline]
    pub(crate) fn new(
        io: Io<'a>,
        link: &'a mut Link,
        config: &'a Config,
        shared: &'a mut Shared,
    ) -> Self {
        let Io { id, out, wish, count, env } = io;
        Socket { id, env, count, out, wish, link, config, shared }
    }

    /// Whether messages are shown as they come: it is open, and neither full nor paused.
    #[inline]
    pub(crate) fn takes(&self) -> bool {
        let full = self.out.flow() == Flow::Full && !self.wish.reads_when_full();
        !(full || self.wish.paused()) && self.link.stage == Stage::Open
    }

    fn io(&mut self) -> Io<'_> {
        let (id, out, count) = (self.id, self.out.reborrow(), self.count);
        Io { id, out, wish: self.wish, count, env: self.env }
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

    /// Sends a message of either kind as it is, also where others are compressed: for what is short
    /// of redundancy already, or is secret and stands beside what a stranger can choose (its
    /// compressed length tells how alike they are).
    pub fn send_plain(&mut self, message: &Message<'_>) -> Flow {
        match message {
            Message::Text(text) => self.plain(Opcode::Text, text.as_bytes()),
            Message::Binary(bytes) => self.plain(Opcode::Binary, bytes),
        }
    }

    /// Sends a message that was encoded before, for whoever keeps account of its own of who gets
    /// what. See [`publish`](Socket::publish) for the usual way.
    pub fn send_prepared(&mut self, message: &Prepared) -> Flow {
        if self.link.stage != Stage::Open || !self.fits(message.payload().len()) {
            return self.out.flow();
        }
        let to = (self.link.role, self.deflate());
        match message.write(&mut self.out, to, self.config, self.shared) {
            Some(flow) => flow,
            None => self.frame(message.opcode(), message.payload()),
        }
    }

    /// Subscribes to a topic, a name of the application's choice, one for all WebSockets of this
    /// loop; whether that is new. It ends with [`unsubscribe`](Socket::unsubscribe), with
    /// [`close`](Socket::close) or with the connection.
    pub fn subscribe(&mut self, topic: impl AsRef<[u8]>) -> bool {
        if self.link.stage != Stage::Open {
            return false;
        }
        self.link.subscribed = true;
        let topics = self.env.shared.one::<Topics>();
        topics.subscribe(self.id, self.config, topic.as_ref())
    }

    /// Ends a subscription; whether there was one. What was published before still comes.
    pub fn unsubscribe(&mut self, topic: impl AsRef<[u8]>) -> bool {
        let topics = self.env.shared.one::<Topics>();
        let (was, stays) = topics.unsubscribe(self.id, topic.as_ref());
        self.link.subscribed = stays;
        was
    }

    /// Whether it is subscribed to this.
    #[must_use]
    pub fn is_subscribed(&mut self, topic: impl AsRef<[u8]>) -> bool {
        self.env.shared.one::<Topics>().has(self.id, topic.as_ref())
    }

    /// Publishes a message to all subscribers of a topic but this one; how many get it.
    /// [`publish`](crate::publish) says how, and leaves nobody out.
    pub fn publish(&mut self, topic: impl AsRef<[u8]>, message: impl Into<Prepared>) -> usize {
        topics::publish_but(self.env, topic.as_ref(), Some(self.id), message)
    }

    /// How many published messages this subscriber has missed since its first subscription,
    /// because it was more than [`Config::behind`].
    #[must_use]
    pub fn missed(&mut self) -> u64 {
        self.env.shared.one::<Topics>().missed(self.id)
    }

    #[inline]
    pub(crate) fn subscribed(&self) -> bool {
        self.link.subscribed
    }

    /// Nothing that is published comes here any more.
    pub(crate) fn leave(&mut self) {
        if std::mem::take(&mut self.link.subscribed) {
            self.env.shared.one::<Topics>().leave(self.id);
        }
    }

    /// What was published goes out; whether there is room for more.
    #[inline(never)]
    pub(crate) fn deliver(&mut self) -> bool {
        match topics::deliver(self) {
            Delivered::All(subscribed) => self.link.subscribed = subscribed,
            Delivered::Some => return false,
            Delivered::Missed => {
                self.link.fail(Failure::Behind);
                self.close(CloseCode::TRY_AGAIN_LATER, "too slow");
            }
        }
        self.link.stage == Stage::Open && self.out.flow() == Flow::Open
    }

    /// Whether permessage-deflate was agreed on, and how.
    #[must_use]
    pub fn deflate(&self) -> Option<Terms> {
        self.link.deflate.as_ref().map(|agreed| agreed.terms)
    }

    /// Sends the next part of a message that comes to be known bit by bit, as a frame of its own.
    /// Until [`Socket::send_last`] no other message may be sent here; Pings may. Parts are never
    /// dropped: beyond [`Config::unsent`] the connection is closed.
    pub fn send_part(&mut self, message: &mut Fragments, part: &[u8]) -> Flow {
        if self.link.stage == Stage::Open && self.fits_part(part.len()) {
            let mask = mask(self.link.role, self.env);
            message.part(self.out.buffer(), part, mask);
        }
        self.out.flow()
    }

    /// Sends the last part of such a message; it may be empty.
    pub fn send_last(&mut self, message: Fragments, part: &[u8]) -> Flow {
        if self.link.stage == Stage::Open && self.fits_part(part.len()) {
            let mask = mask(self.link.role, self.env);
            message.finish(self.out.buffer(), part, mask);
        }
        self.out.flow()
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

    /// Appends a frame, compressed if that was agreed on and is worth it.
    #[inline]
    pub(crate) fn frame(&mut self, opcode: Opcode, payload: &[u8]) -> Flow {
        if self.link.deflate.is_some() {
            self.packed(opcode, payload)
        } else {
            self.plain(opcode, payload)
        }
    }

    #[inline(never)]
    fn packed(&mut self, opcode: Opcode, payload: &[u8]) -> Flow {
        let (open, role) = (self.link.stage == Stage::Open, self.link.role);
        if open && !self.fits(payload.len()) {
            return self.out.flow();
        }
        let sent = match &mut self.link.deflate {
            Some(agreed) if open && !opcode.is_control() => {
                let (out, env) = (self.out.buffer(), &mut *self.env);
                agreed.compress(self.shared, role, self.config, payload, |compressed| {
                    frame::encode_compressed(out, opcode, compressed, mask(role, env));
                })
            }
            _ => false,
        };
        if sent { self.out.flow() } else { self.plain(opcode, payload) }
    }

    /// Appends a frame, unless a Close is out.
    #[inline]
    fn plain(&mut self, opcode: Opcode, payload: &[u8]) -> Flow {
        if self.out.copied() + payload.len() > Pool::LARGEST {
            return self.much(opcode, payload);
        }
        if self.link.stage == Stage::Open {
            let mask = mask(self.link.role, self.env);
            frame::encode(self.out.buffer(), opcode, payload, mask);
        }
        self.out.flow()
    }

    /// Whether so much of a message may wait, too. If not, it is dropped, or the connection closed.
    fn fits(&mut self, len: usize) -> bool {
        let dropped = self.config.drop_unsent && self.beyond(len);
        !dropped && self.fits_part(len)
    }

    fn fits_part(&mut self, len: usize) -> bool {
        let beyond = self.beyond(len);
        if beyond {
            self.link.fail(Failure::Behind);
            self.close(CloseCode::TRY_AGAIN_LATER, "too slow");
        }
        !beyond
    }

    /// Whether so much more is beyond [`Config::unsent`].
    fn beyond(&self, len: usize) -> bool {
        self.out.held().saturating_add(MAX_HEADER).saturating_add(len) > self.config.unsent
    }

    /// As [`plain`](Self::plain) where much waits, or is to wait. What is large goes into a buffer
    /// that has been used before, if there is one.
    #[cold]
    #[inline(never)]
    fn much(&mut self, opcode: Opcode, payload: &[u8]) -> Flow {
        if self.link.stage == Stage::Open && self.fits(payload.len()) {
            let mask = mask(self.link.role, self.env);
            let out = self.out.buffer();
            let room = out.len().saturating_add(MAX_HEADER + payload.len());
            if out.capacity() < room
                && let Some(mut large) = self.env.pool.take_large(room)
            {
                large.extend_from_slice(out);
                self.env.pool.give(std::mem::replace(out, large));
            }
            frame::encode(out, opcode, payload, mask);
        }
        self.out.flow()
    }

    /// Sends a Close, the reason cut to 123 bytes between characters; a code that may not stand on
    /// the wire sends a Close without one. Nothing is sent from here on; what the peer had under
    /// way is still shown, until its own Close (RFC 6455 §1.4). The connection ends with that, or
    /// when [`Config::close`] has passed, however much comes until then.
    pub fn close(&mut self, code: CloseCode, reason: &str) {
        if self.link.stage == Stage::Open {
            let mask = mask(self.link.role, self.env);
            close::encode(self.out.buffer(), code, reason, mask);
            self.link.stage = Stage::Closing;
            self.leave();
            self.wish.set_deadline(Some(self.env.now.after(self.config.close)));
            // Who reads no more would not see the peer's Close.
            self.wish.resume();
            self.io().read_when_full(true);
        }
    }

    /// Shows messages, or not, although the output is full; off at first. For who bounds its
    /// output by itself and sends while it receives: two peers that both read nothing while they
    /// are full wait for each other for ever. Who answers messages leaves it off, or a peer that
    /// does not read makes the output grow.
    pub fn read_when_full(&mut self, on: bool) {
        if self.link.stage == Stage::Open {
            self.io().read_when_full(on);
        }
    }

    /// Shows messages by parts, as they come ([`App::on_part`](crate::App::on_part)), instead of
    /// whole: nothing of them is kept here, so that `Limits::message` may be as large as one likes.
    /// A compressed message is still inflated as a whole, and is one part. To be said in `on_open`.
    pub fn receive_parts(&mut self) {
        self.link.parts = true;
    }

    /// Gives the connection up now: what has not gone out is lost, and nothing more is shown.
    pub fn abort(&mut self) {
        self.link.stage = Stage::Ended;
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

    /// Shows no more messages until [`Socket::resume`]. Pings are not answered meanwhile either,
    /// and whether the peer is still there is not asked.
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
