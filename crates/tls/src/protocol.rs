//! `Tls<P>`: the protocol around the protocol.
//!
//! Rules of this file:
//! * The inside is entered in one place, [`Tls::enter`]: what it wrote is encrypted there.
//! * Its wishes become ours in one place, [`Tls::settle`], at the end of every callback; what
//!   waited until it may be shown, plaintext and the peer's end, is shown there first.
//! * While the inside is paused or full nothing is decrypted: the stream keeps the bytes.

use crate::conn::{Conn, Sessions, Stage};
use crate::queue::Queue;
use crate::{Failure, Failures};
use loopwork_tcp::reactor::{Address, Env, Id, Trace};
use loopwork_tcp::{CARRY_MAX, Close, Drain, Flow, Io, Protocol, Refusal};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, Error, ServerConfig, ServerConnection};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// How long a handshake may take: ten seconds, three round trips of a bad path and some losses.
pub const HANDSHAKE: Duration = Duration::from_secs(10);
/// For a peer to read our last words, an alert or a hint, and hang up: they fit any window, so one
/// that takes none of them for five seconds is gone; what it sent before it read them is little.
const LAST_WORDS: Drain = Drain {
    stall: Duration::from_secs(5),
    least: 1,
    wait: Duration::from_secs(1),
    bytes: 64 << 10,
};
/// For who forgot the `s` of `https`.
const HINT: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 48\r\nConnection: close\r\n\r\n\
    This port speaks TLS: ask it by https, not http.";

/// TLS around a protocol of streams.
pub struct Tls<P> {
    /// The protocol inside.
    pub inner: P,
    /// What accepted connections are served by; without it they are hung up on. May be replaced
    /// at any time, with newer certificates say: those to come have it.
    pub config: Option<Arc<ServerConfig>>,
    /// How long a handshake may take. Default [`HANDSHAKE`].
    pub handshake: Duration,
}

impl<P> Tls<P> {
    /// A server: [`config::server`](crate::config::server) makes what it needs.
    pub fn server(inner: P, config: Arc<ServerConfig>) -> Self {
        Tls { inner, config: Some(config), handshake: HANDSHAKE }
    }

    /// A client: each connection that is dialed brings its session along, from [`Conn::client`].
    pub fn client(inner: P) -> Self {
        Tls { inner, config: None, handshake: HANDSHAKE }
    }
}

impl<C> Conn<C> {
    /// The state of a connection to be dialed, to whoever proves to have this name, with the state
    /// of the protocol inside.
    ///
    /// # Errors
    /// A configuration that can do nothing, with no version or no cipher; and the state back.
    pub fn client(
        config: &Arc<ClientConfig>,
        name: ServerName<'static>,
        inner: C,
    ) -> Result<Self, (Error, C)> {
        match ClientConnection::new(config.clone(), name) {
            Ok(session) => Ok(Conn::new(session.into(), inner)),
            Err(why) => Err((why, inner)),
        }
    }

    /// The state of the protocol inside.
    pub fn inner(&mut self) -> &mut C {
        &mut self.inner
    }
}

impl<P: Protocol> Tls<P> {
    /// Calls the inside; encrypts what it wrote.
    fn enter<R>(
        &mut self,
        c: &mut Conn<P::Conn>,
        io: &mut Io<'_>,
        f: impl FnOnce(&mut P, &mut P::Conn, &mut Io<'_>) -> R,
    ) -> R {
        let mut plain = io.env.pool.take();
        let result = f(&mut self.inner, &mut c.inner, &mut io.layer(&mut plain, &mut c.wish));
        // Nothing follows a `close_notify`.
        if !plain.is_empty() && !c.ended && c.stage == Stage::Open {
            let now = io.env.now;
            if c.seal(&plain, io.out.buffer(), now).is_err() {
                // Its keys have encrypted as much as they may.
                fail(c, io, Failure::Tls(Error::EncryptError));
            }
        }
        io.env.pool.give(plain);
        result
    }

    /// The inside is shown what waited for it; then its wishes become ours.
    fn settle(&mut self, c: &mut Conn<P::Conn>, io: &mut Io<'_>) {
        if c.wish.take_reshow() {
            self.show_kept(c, io);
        }
        if c.stage == Stage::Open && c.end_due && !Self::stops(c, io) {
            c.end_due = false;
            self.enter(c, io, |p, i, io| p.on_end(i, io));
        }
        if c.stage == Stage::Over {
            return;
        }
        if let Some(why) = c.wish.aborting() {
            return io.abort(why);
        }
        if c.wish.ending() && !c.ended {
            c.ended = true;
            c.session.send_close_notify();
            c.flush(io.out.buffer());
            match c.wish.draining() {
                Some(how) => return io.end_and_drain(how),
                None => io.end(),
            }
        }
        if io.draining() {
            return;
        }
        let handshake = c.stage == Stage::Handshake;
        if c.wish.paused() {
            io.pause()
        } else if !handshake || c.admitted {
            io.resume()
        }
        io.read_when_full(c.wish.reads_when_full());
        let own = Some(c.until).filter(|_| handshake);
        io.set_deadline(own.into_iter().chain(c.wish.deadline()).min());
    }

    /// Takes up what came; how many bytes of it.
    fn read(&mut self, c: &mut Conn<P::Conn>, io: &mut Io<'_>, bytes: &[u8]) -> usize {
        let mut plain = match std::mem::take(&mut c.carry) {
            carry if carry.capacity() > 0 => carry,
            _ => io.env.pool.take(),
        };
        let (kept, mut rest, mut ends) = (plain.len(), bytes, false);
        while !(rest.is_empty() || ends || c.stage == Stage::Open && Self::stops(c, io)) {
            match c.take(&mut rest, &mut plain) {
                Ok(ended) => ends = ended && !c.peer_ended,
                Err(why) => {
                    fail(c, io, Failure::Tls(why));
                    break;
                }
            }
            c.flush(io.out.buffer());
            if c.stage == Stage::Handshake && !c.session.is_handshaking() {
                self.opened(c, io);
            }
        }
        let used = bytes.len() - rest.len();
        let came = plain.len() - kept;
        if came > 0 {
            let id = io.id;
            io.env.note_bytes(&id, Trace::Clear, came);
        }
        // It may have come with the end of the handshake, and the inside have paused in `on_open`.
        if came > 0 && !Self::stops(c, io) {
            self.show(c, io, plain);
        } else {
            c.keep(io, plain);
        }
        if ends {
            (c.peer_ended, c.end_due) = (true, true);
        }
        // Behind the peer's end there is nothing (RFC 8446 §6.1).
        if c.stage == Stage::Over || c.peer_ended { bytes.len() } else { used }
    }

    /// Whether the inside takes nothing now.
    fn stops(c: &Conn<P::Conn>, io: &Io<'_>) -> bool {
        let full = io.flow() == Flow::Full && !c.wish.reads_when_full();
        full || c.wish.paused() || c.wish.aborting().is_some()
    }

    /// The handshake is done: the inside may speak.
    fn opened(&mut self, c: &mut Conn<P::Conn>, io: &mut Io<'_>) {
        c.stage = Stage::Open;
        let (id, agreed) = (io.id, c.agreed());
        io.env.shared.one::<Sessions>().0.insert(id, agreed);
        io.env.note(id, Trace::Secure);
        self.enter(c, io, |p, i, io| p.on_open(i, io));
    }

    /// Shows plaintext; what the inside leaves is kept.
    fn show(&mut self, c: &mut Conn<P::Conn>, io: &mut Io<'_>, mut plain: Vec<u8>) {
        loop {
            let used = self.enter(c, io, |p, i, io| p.on_data(i, io, &mut plain));
            assert!(used <= plain.len(), "a protocol used {used} of {} bytes", plain.len());
            plain.drain(..used);
            let again = c.wish.take_reshow() && !plain.is_empty();
            if !again || Self::stops(c, io) {
                break;
            }
        }
        if plain.len() > CARRY_MAX
            && !Self::stops(c, io)
            && plain.len() > self.inner.keeps(&c.inner, io.env)
        {
            io.abort(Close::Overrun);
        }
        c.keep(io, plain);
    }

    /// Shows what was kept, if the inside may take it now.
    fn show_kept(&mut self, c: &mut Conn<P::Conn>, io: &mut Io<'_>) {
        if !c.carry.is_empty() && !Self::stops(c, io) {
            let kept = std::mem::take(&mut c.carry);
            self.show(c, io, kept);
        }
    }
}

impl<C> Conn<C> {
    fn keep(&mut self, io: &mut Io<'_>, plain: Vec<u8>) {
        if plain.is_empty() {
            io.env.pool.give(plain);
        } else {
            self.carry = plain;
        }
    }
}

/// TLS gives the connection up: the peer is told by an alert, and drained while it reads that.
#[cold]
fn fail<C>(c: &mut Conn<C>, io: &mut Io<'_>, why: Failure) {
    c.flush(io.out.buffer());
    over(c, io, why);
}

fn over<C>(c: &mut Conn<C>, io: &mut Io<'_>, why: Failure) {
    c.stage = Stage::Over;
    note(io, why);
    io.end_and_drain(LAST_WORDS);
}

/// What [`failure`](crate::failure) tells.
fn note(io: &mut Io<'_>, why: Failure) {
    let id = io.id;
    io.env.shared.one::<Failures>().note(id, why);
}

impl<P: Protocol> Protocol for Tls<P> {
    type Conn = Conn<P::Conn>;

    fn on_accept(&mut self, env: &mut Env, id: Id, peer: &Address) -> Option<Self::Conn> {
        let session = ServerConnection::new(self.config.clone()?).ok()?;
        Some(Conn::new(session.into(), self.inner.on_accept(env, id, peer)?))
    }

    fn on_drop(&mut self, env: &mut Env, peer: &Address, why: Refusal) {
        self.inner.on_drop(env, peer, why);
    }

    fn on_open(&mut self, c: &mut Self::Conn, io: &mut Io<'_>) {
        c.until = io.env.now.after(self.handshake);
        c.admitted = !c.is_server();
        c.flush(io.out.buffer());
        self.settle(c, io);
    }

    fn on_data(&mut self, c: &mut Self::Conn, io: &mut Io<'_>, bytes: &mut [u8]) -> usize {
        if c.stage == Stage::Over {
            return bytes.len();
        }
        if !c.admitted {
            // A record's first byte says what it is (RFC 8446 §5.1); none is a letter.
            if bytes.first().is_some_and(u8::is_ascii_uppercase) {
                io.out.buffer().extend_from_slice(HINT);
                over(c, io, Failure::Plain);
                return bytes.len();
            }
            c.admitted = Queue::admits(io.env, io.id);
            if !c.admitted {
                io.pause();
                return 0;
            }
        }
        let used = self.read(c, io, bytes);
        self.settle(c, io);
        used
    }

    fn keeps(&self, c: &Self::Conn, env: &mut Env) -> usize {
        self.inner.keeps(&c.inner, env)
    }

    fn on_drain(&mut self, c: &mut Self::Conn, io: &mut Io<'_>) {
        if c.stage == Stage::Open {
            self.enter(c, io, |p, i, io| p.on_drain(i, io));
            self.show_kept(c, io);
        }
        self.settle(c, io);
    }

    fn on_end(&mut self, c: &mut Self::Conn, io: &mut Io<'_>) {
        match c.stage {
            Stage::Open if c.peer_ended => self.settle(c, io),
            Stage::Over => io.end(),
            stage => {
                let open = stage == Stage::Open;
                let why = if open { Failure::Truncated } else { Failure::Ended };
                note(io, why);
                io.abort(if open { Close::Truncated } else { Close::Layer });
            }
        }
    }

    fn on_timeout(&mut self, c: &mut Self::Conn, io: &mut Io<'_>) {
        let now = io.env.now;
        if c.stage == Stage::Handshake && c.until <= now {
            note(io, Failure::Slow);
            return io.abort(Close::TimedOut);
        }
        if c.wish.deadline().is_some_and(|at| at <= now) {
            c.wish.set_deadline(None);
            self.enter(c, io, |p, i, io| p.on_timeout(i, io));
        }
        self.settle(c, io);
    }

    fn on_wake(&mut self, c: &mut Self::Conn, io: &mut Io<'_>) {
        match c.stage {
            // Its turn in the line; who is woken for something else goes before it.
            Stage::Handshake => c.admitted = true,
            Stage::Open => self.enter(c, io, |p, i, io| p.on_wake(i, io)),
            Stage::Over => return,
        }
        self.settle(c, io);
    }

    fn on_shutdown(&mut self, c: &mut Self::Conn, io: &mut Io<'_>) {
        match c.stage {
            Stage::Handshake => io.abort(Close::Aborted),
            Stage::Open => {
                self.enter(c, io, |p, i, io| p.on_shutdown(i, io));
                self.settle(c, io);
            }
            Stage::Over => {}
        }
    }

    fn on_close(&mut self, c: Self::Conn, id: Id, env: &mut Env, why: Close) {
        let failed = c.stage == Stage::Over;
        self.inner.on_close(c.inner, id, env, if failed { Close::Layer } else { why });
        env.shared.one::<Sessions>().0.remove(&id);
    }

    fn on_dial_failed(
        &mut self,
        c: &mut Self::Conn,
        env: &mut Env,
        tried: &[(SocketAddr, ErrorKind)],
    ) {
        self.inner.on_dial_failed(&mut c.inner, env, tried);
    }

    fn on_accept_error(&mut self, env: &mut Env, error: &std::io::Error) {
        self.inner.on_accept_error(env, error);
    }
}
