//! `Ws<A>`: the connection of either role, a protocol of streams.
//!
//! Rules of this file:
//! * What a stage does with bytes, ends and deadlines is decided here, for both roles.
//! * The peer's breach of the protocol is answered by a Close with its code; then our side ends,
//!   what still comes is dropped, and the peer's end or a deadline closes.
//! * A message costs one store for its deadline. What the deadline means follows from the stage.
//! * While the output is full, or the application paused, no message is taken up: the stream
//!   keeps the bytes and shows them again. Who reads on all the same is owed one Pong at most.

use crate::codec::{self, Shared};
use crate::core::close::{self, CloseFrame};
use crate::core::frame::{self, Opcode};
use crate::core::message::Room;
use crate::core::{self, CloseCode, Part, Receiver, Role, Violation};
use crate::socket::{Extra, Link, Payload, Stage, mask};
use crate::topics::Topics;
use crate::{App, Config, End, Failure, Message, Socket};
use loopwork_http::core::Fields;
use loopwork_http::tcp::reactor::{CallKey, Env, Id, Instant, Pool};
use loopwork_http::tcp::{Close, Flow, Io, Protocol};
use std::collections::BTreeMap;
use std::time::Duration;

/// Pongs in answer to one show of input; of the Pings beyond them only the newest is answered
/// (RFC 6455 §5.5.3). More than any client sends at once that means well.
const PONGS_AT_ONCE: u32 = 16;
/// Within the deadline at least so many bytes of an unfinished message have to come: a slow line
/// does it in a second, and who drips single bytes does not hold a connection.
const PROGRESS: u32 = 1024;

/// WebSockets: what HTTP hands connections over to (server), and what dials them
/// ([`dial`](crate::dial), client).
pub struct Ws<A> {
    /// What is done with messages.
    pub app: A,
    /// Limits and deadlines.
    pub config: Config,
    pub(crate) fields: Fields,
    pub(crate) shared: Shared,
    /// Bytes that unfinished messages take.
    pinned: usize,
    /// When [`Config::life`] ends, of those that it ends for, and the call that wakes them then.
    lives: BTreeMap<Id, (Instant, CallKey)>,
}

/// The state of one WebSocket.
pub struct Conn<C> {
    pub(crate) receiver: Receiver,
    pub(crate) link: Link,
    pub(crate) app: C,
}

impl<C> Conn<C> {
    pub(crate) fn new(link: Link, app: C) -> Self {
        let mut receiver = Receiver::new(link.role);
        receiver.inflates(link.deflate.is_some());
        Conn { receiver, link, app }
    }
}

impl<A: App> Ws<A> {
    /// WebSockets of this application, with the default limits and deadlines.
    pub fn new(app: A) -> Self {
        Ws {
            app,
            config: Config::default(),
            fields: Fields::new(),
            shared: Shared::default(),
            pinned: 0,
            lives: BTreeMap::new(),
        }
    }

    /// Bytes that unfinished messages take now, of [`Config::pinned`].
    #[must_use]
    pub fn pinned(&self) -> usize {
        self.pinned
    }

    /// Bytes of one WebSocket's state, without the application's.
    pub const STATE: usize = size_of::<Conn<()>>();

    /// The connection is a WebSocket: the application may speak.
    pub(crate) fn open(&mut self, c: &mut Conn<A::Conn>, io: &mut Io<'_>) {
        (c.link.stage, c.link.extra) = (Stage::Open, None);
        self.listen_anew(&mut c.link, io);
        if self.config.life != Duration::MAX {
            let id = io.id;
            let call = io.env.after(self.config.life, move |env| env.wake(id));
            // The connection itself is what the loop runs for.
            io.env.calls.unref(call);
            self.lives.insert(id, (io.env.now.after(self.config.life), call));
        }
        let (config, shared) = (&self.config, &mut self.shared);
        let mut socket = Socket::new(io.reborrow(), &mut c.link, config, shared);
        self.app.on_open(&mut c.app, &mut socket);
        c.receiver.by_parts(c.link.parts);
    }

    /// The peer is there: the deadline begins anew.
    #[inline]
    fn listen_anew(&self, link: &mut Link, io: &mut Io<'_>) {
        link.pinged = false;
        (link.received, link.sent) = (io.count.received as u32, io.count.sent as u32);
        io.set_deadline(Some(io.env.now.after(self.config.idle)));
    }

    /// The answer to a handshake, and what lies behind it.
    #[cold]
    fn opening(&mut self, c: &mut Conn<A::Conn>, io: &mut Io<'_>, bytes: &mut [u8]) -> usize {
        let used = self.answer(c, io, bytes);
        let open = c.link.stage != Stage::Opening;
        if open { used + self.any(c, io, &mut bytes[used..]) } else { used }
    }

    /// Short messages that lie whole at the front, as most do; how many bytes they are.
    #[inline(always)]
    fn short(&mut self, c: &mut Conn<A::Conn>, io: &mut Io<'_>, bytes: &mut [u8]) -> usize {
        let Conn { receiver, link, app } = c;
        let (mut used, mut violated) = (0, false);
        let mut socket = Socket::new(io.reborrow(), link, &self.config, &mut self.shared);
        while used < bytes.len()
            && socket.takes()
            && let Some((opcode, n, payload)) =
                receiver.short(&mut bytes[used..], &self.config.limits)
        {
            used += n;
            let message = match opcode {
                Opcode::Text => match str::from_utf8(payload) {
                    Ok(text) => Message::Text(text),
                    Err(_) => {
                        violated = true;
                        break;
                    }
                },
                _ => Message::Binary(payload),
            };
            self.app.on_message(app, &mut socket, message);
        }
        if violated {
            self.violated(link, io, Violation::InvalidUtf8);
        } else if used > 0 && link.stage == Stage::Open {
            self.listen_anew(link, io);
        }
        used
    }

    /// Bytes of frames of any kind; how many were used.
    #[inline(never)]
    fn any(&mut self, c: &mut Conn<A::Conn>, io: &mut Io<'_>, bytes: &mut [u8]) -> usize {
        let keep = self.config.limits.keep;
        let before = c.receiver.pinned(keep);
        let used = self.frames(c, io, bytes);
        if c.receiver.pinned(keep) != before {
            self.repin(c, io, before);
        }
        used
    }

    fn frames(&mut self, c: &mut Conn<A::Conn>, io: &mut Io<'_>, bytes: &mut [u8]) -> usize {
        let Conn { receiver, link, app } = c;
        let (mut used, mut pongs, mut heard) = (0, Pongs::default(), false);
        while link.stage != Stage::Ended {
            let open = link.stage == Stage::Open;
            let full = io.flow() == Flow::Full && !io.wish.reads_when_full();
            if open && (full || io.paused()) {
                receiver.release_to(&mut io.env.pool);
                break;
            }
            let (limits, room) = (&self.config.limits, &mut io.env.pool);
            let (n, message) = match receiver.next_of_any(&mut bytes[used..], limits, room) {
                Ok(next) => next,
                Err(violation) => {
                    pongs.settle(link, io);
                    self.violated(link, io, violation);
                    break;
                }
            };
            used += n;
            let Some(message) = message else { break };
            let before = std::mem::replace(&mut heard, true);
            let mut socket = Socket::new(io.reborrow(), link, &self.config, &mut self.shared);
            match message {
                core::Message::Compressed(opcode, payload) => {
                    let told = self.inflated(link, app, io, opcode, payload);
                    if let Err(violation) = told {
                        pongs.settle(link, io);
                        self.violated(link, io, violation);
                        break;
                    }
                }
                core::Message::Close(frame) => {
                    pongs.settle(link, io);
                    self.closed(link, io, &frame);
                }
                core::Message::Text(text) => {
                    self.app.on_message(app, &mut socket, Message::Text(text));
                }
                core::Message::Binary(bytes) => {
                    self.app.on_message(app, &mut socket, Message::Binary(bytes));
                }
                core::Message::Part(part) => {
                    // Who drips a message is heard when it is whole.
                    heard = before || part.last;
                    self.app.on_part(app, &mut socket, part);
                }
                core::Message::Ping(payload) => {
                    pongs.owe(&mut socket, payload);
                    self.app.on_ping(app, &mut socket, payload);
                }
                core::Message::Pong(payload) => self.app.on_pong(app, &mut socket, payload),
            }
            // Asking once more would give back what was gathered, if anything was.
            if used == bytes.len() && receiver.memory() == 0 {
                break;
            }
        }
        pongs.settle(link, io);
        match link.stage {
            Stage::Ended => bytes.len(),
            Stage::Open if heard => {
                self.listen_anew(link, io);
                used
            }
            _ => used,
        }
    }

    /// The message under way took `before`, and takes another room now.
    #[cold]
    fn repin(&mut self, c: &mut Conn<A::Conn>, io: &mut Io<'_>, before: usize) {
        let now = c.receiver.pinned(self.config.limits.keep);
        self.pinned = self.pinned.saturating_sub(before) + now;
        if now > before && self.pinned > self.config.pinned {
            self.pinned -= now;
            c.receiver = Receiver::new(c.link.role);
            c.link.fail(Failure::Pinned);
            if c.link.stage == Stage::Open {
                let mask = mask(c.link.role, io.env);
                let (code, why) = (CloseCode::TRY_AGAIN_LATER, "too much is under way");
                close::encode(io.out.buffer(), code, why, mask);
            }
            self.end(&mut c.link, io);
        }
    }

    /// A message that came compressed.
    fn inflated(
        &mut self,
        link: &mut Link,
        app: &mut A::Conn,
        io: &mut Io<'_>,
        opcode: Opcode,
        payload: &[u8],
    ) -> Result<(), Violation> {
        let Some(agreed) = link.deflate.as_mut() else { return Err(Violation::ReservedBits) };
        let takeover = agreed.inflates_on(link.role);
        // Out of the socket's reach while its message is shown.
        let slot = if takeover { &mut agreed.inflater } else { &mut self.shared.inflater };
        let mut inflater = slot.take().unwrap_or_default();
        let (limits, parts) = (&self.config.limits, link.parts);
        let told = codec::inflate(&mut inflater, takeover, limits, opcode, payload, |message| {
            let mut socket = Socket::new(io.reborrow(), link, &self.config, &mut self.shared);
            if !parts {
                return self.app.on_message(app, &mut socket, message);
            }
            let (text, bytes) = match &message {
                Message::Text(text) => (true, text.as_bytes()),
                Message::Binary(bytes) => (false, &**bytes),
            };
            self.app.on_part(app, &mut socket, Part { text, first: true, last: true, bytes });
        });
        match link.deflate.as_mut() {
            Some(agreed) if takeover => agreed.inflater = Some(inflater),
            _ => self.shared.inflater = Some(inflater),
        }
        told
    }

    /// The peer's Close came: ours goes out if it has not, with the same code (RFC 6455 §5.5.1)
    /// and, as other implementations do, the same reason.
    #[cold]
    fn closed(&mut self, link: &mut Link, io: &mut Io<'_>, frame: &CloseFrame<'_>) {
        link.code = frame.code;
        if !frame.reason.is_empty() {
            link.extra = Some(Box::new(Extra::Reason(frame.reason.into())));
        }
        if link.stage == Stage::Open {
            let mask = mask(link.role, io.env);
            close::encode(io.out.buffer(), frame.code, frame.reason, mask);
        }
        self.end(link, io);
    }

    /// RFC 6455 §7.1.7: the peer failed.
    #[cold]
    fn violated(&mut self, link: &mut Link, io: &mut Io<'_>, violation: Violation) {
        link.fail(Failure::Violation(violation));
        if link.stage == Stage::Open {
            let mask = mask(link.role, io.env);
            close::encode(io.out.buffer(), violation.code(), violation.as_str(), mask);
        }
        self.end(link, io);
    }

    /// No frame matters any more.
    ///
    /// > the server MUST close the TCP connection immediately; the client SHOULD wait for the
    /// > server to close the connection [...] (§5.5.1)
    fn end(&self, link: &mut Link, io: &mut Io<'_>) {
        if link.role == Role::Server || link.failure.is_some() {
            io.end();
        }
        link.stage = Stage::Ended;
        if std::mem::take(&mut link.subscribed) {
            io.env.shared.one::<Topics>().leave(io.id);
        }
        io.resume();
        io.set_deadline(Some(io.env.now.after(self.config.close)));
    }

    /// The deadline passed while messages may go both ways.
    fn idle(&mut self, link: &mut Link, io: &mut Io<'_>) {
        let (received, sent) = (io.count.received as u32, io.count.sent as u32);
        let came = received.wrapping_sub(link.received);
        let went = sent.wrapping_sub(link.sent);
        let waiting = !io.out.buffer().is_empty();
        // Who was not read cannot be called silent; but who reads nothing can.
        let unheard = io.paused() || io.flow() == Flow::Full;
        if came >= PROGRESS || (waiting && went > 0) || (unheard && !waiting) {
            return self.listen_anew(link, io);
        }
        if link.pinged || waiting {
            link.fail(Failure::Silent);
            return io.abort(Close::TimedOut);
        }
        link.pinged = true;
        let mask = mask(link.role, io.env);
        frame::encode(io.out.buffer(), Opcode::Ping, &[], mask);
        io.set_deadline(Some(io.env.now.after(self.config.pong)));
    }
}

impl<A: App> Protocol for Ws<A> {
    type Conn = Conn<A::Conn>;

    fn on_open(&mut self, c: &mut Self::Conn, io: &mut Io<'_>) {
        self.ask(c, io);
    }

    #[inline]
    fn on_data(&mut self, c: &mut Self::Conn, io: &mut Io<'_>, bytes: &mut [u8]) -> usize {
        if c.link.stage == Stage::Opening {
            return self.opening(c, io, bytes);
        }
        let used = self.short(c, io, bytes);
        if used == bytes.len() { used } else { used + self.any(c, io, &mut bytes[used..]) }
    }

    fn on_drain(&mut self, c: &mut Self::Conn, io: &mut Io<'_>) {
        if c.link.stage == Stage::Open {
            let owed = c.link.extra.take();
            let mut socket =
                Socket::new(io.reborrow(), &mut c.link, &self.config, &mut self.shared);
            if let Some(Extra::Pong(payload)) = owed.as_deref() {
                let _ = socket.frame(Opcode::Pong, payload.as_slice());
            }
            if !socket.subscribed() || socket.deliver() {
                self.app.on_drain(&mut c.app, &mut socket);
            }
        }
    }

    fn on_wake(&mut self, c: &mut Self::Conn, io: &mut Io<'_>) {
        if c.link.stage == Stage::Open {
            let id = io.id;
            let mut socket =
                Socket::new(io.reborrow(), &mut c.link, &self.config, &mut self.shared);
            if socket.subscribed() {
                let _room = socket.deliver();
            }
            if self.lives.get(&id).is_some_and(|(end, _)| socket.env.now >= *end) {
                socket.close(CloseCode::GOING_AWAY, "its time is over");
            }
            if socket.is_open() {
                self.app.on_wake(&mut c.app, &mut socket);
            }
        }
    }

    fn on_end(&mut self, c: &mut Self::Conn, io: &mut Io<'_>) {
        if c.link.stage != Stage::Ended {
            c.link.fail(Failure::Truncated);
            self.end(&mut c.link, io);
        }
        io.end();
    }

    fn on_timeout(&mut self, c: &mut Self::Conn, io: &mut Io<'_>) {
        match c.link.stage {
            Stage::Open => return self.idle(&mut c.link, io),
            Stage::Opening => c.link.fail(Failure::Handshake),
            Stage::Closing => c.link.fail(Failure::Unanswered),
            Stage::Ended => {}
        }
        io.abort(Close::TimedOut);
    }

    fn on_shutdown(&mut self, c: &mut Self::Conn, io: &mut Io<'_>) {
        if c.link.stage == Stage::Opening {
            return io.abort(Close::Aborted);
        }
        let mut socket = Socket::new(io.reborrow(), &mut c.link, &self.config, &mut self.shared);
        socket.close(CloseCode::GOING_AWAY, "");
    }

    fn on_close(&mut self, c: Self::Conn, id: Id, env: &mut Env, why: Close) {
        let Conn { receiver, link, app } = c;
        self.pinned = self.pinned.saturating_sub(receiver.pinned(self.config.limits.keep));
        if let Some((_, call)) = self.lives.remove(&id) {
            env.calls.cancel(call);
        }
        if link.subscribed {
            env.shared.one::<Topics>().leave(id);
        }
        let clean = link.code != CloseCode::ABNORMAL && link.failure.is_none();
        let failure = match (link.failure, why.dial_error()) {
            (None, Some(kind)) => Some(Failure::Connect(kind)),
            (None, None) if !clean => Some(Failure::Stream(why)),
            (failure, _) => failure,
        };
        let reason = match link.extra.as_deref() {
            Some(Extra::Reason(reason)) => reason,
            _ => "",
        };
        self.app.on_close(app, id, env, &End { code: link.code, reason, clean, failure });
    }
}

/// The loop's buffers.
impl Room for Pool {
    fn take(&mut self, room: usize) -> Vec<u8> {
        self.take_large(room).unwrap_or_default()
    }

    fn give(&mut self, buffer: Vec<u8>) {
        Pool::give(self, buffer);
    }
}

/// The Pongs of one show of input.
#[derive(Default)]
struct Pongs {
    sent: u32,
    newest: Option<Payload>,
}

impl Pongs {
    fn owe(&mut self, socket: &mut Socket<'_>, payload: &[u8]) {
        if self.sent < PONGS_AT_ONCE && socket.flow() == Flow::Open {
            self.sent += 1;
            // The loop looks at the flow before it takes up the next message.
            let _ = socket.frame(Opcode::Pong, payload);
        } else {
            self.newest = Some(Payload::new(payload));
        }
    }

    #[inline(always)]
    fn settle(&mut self, link: &mut Link, io: &mut Io<'_>) {
        if self.newest.is_some() {
            self.settle_newest(link, io);
        }
    }

    #[cold]
    fn settle_newest(&mut self, link: &mut Link, io: &mut Io<'_>) {
        if let Some(payload) = self.newest.take()
            && link.stage == Stage::Open
        {
            if io.flow() == Flow::Full {
                link.extra = Some(Box::new(Extra::Pong(payload)));
            } else {
                let mask = mask(link.role, io.env);
                frame::encode(io.out.buffer(), Opcode::Pong, payload.as_slice(), mask);
            }
        }
    }
}
