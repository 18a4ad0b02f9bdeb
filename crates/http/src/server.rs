//! `Http<A, U>`: the server, a protocol of streams.
//!
//! Rules of this file:
//! * One request at a time is answered; what is pipelined behind it waits where it lies.
//! * After a refusal, and after the last response, nothing more is served: our side ends, what
//!   still comes is dropped, and the peer's end or a deadline closes (RFC 9112 §9.6), so that the
//!   client reads the answer instead of a reset.
//! * Every wait has a deadline: `waits.rs` says what it means.

use crate::app::{App, NoUpgrade, Offer, Upgrade};
use crate::config::Config;
use crate::core::encode::{self, Connection};
use crate::core::{
    Body, Decoder, Fields, Framing, Limits, Malformed, Method, Progress, Request, Step, Version,
    parse_request, parse_trailers,
};
use crate::desk::{Desk, Due};
use crate::front::{Fronts, Head};
use crate::proxied;
use crate::reply::{DRAIN_MAX, Phase, Reply, Sending};
use crate::waits::Wait;
use loopwork_tcp::reactor::{Address, Env, Id, Trace};
use loopwork_tcp::{Close, Drain, Flow, Io, Protocol};
use std::net::{IpAddr, SocketAddr};

/// An HTTP/1.1 server, and the protocol that may follow on it.
pub struct Http<A, U = NoUpgrade> {
    /// What answers.
    pub app: A,
    /// What follows after an upgrade.
    pub next: U,
    /// Limits and deadlines.
    pub config: Config,
    /// Where answers from elsewhere are handed in, if any are.
    pub desk: Option<Desk>,
    fields: Fields,
    fronts: Fronts,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stage {
    /// A proxy has to say on whose behalf it comes.
    Proxy,
    /// A head is awaited, or comes in.
    Head,
    /// A request is here: its body comes in, its answer goes out.
    Exchange,
    /// Nothing more is served; what comes is dropped.
    Linger,
}

/// An IP address and port, smaller than a `SocketAddr`: each connection has one.
pub(crate) type Peer = Option<(IpAddr, u16)>;

/// A connection that speaks HTTP.
pub struct Serving<X> {
    decoder: Decoder,
    x: Option<X>,
    pub(crate) wait: Wait,
    pub(crate) progress: Progress,
    drained: u32,
    /// Who asks, if it has an address.
    peer: Peer,
    pub(crate) sending: Sending,
    pub(crate) stage: Stage,
    /// `on_body_end` was told, or nobody is there to be told.
    pub(crate) ended: bool,
    /// The response under way is the connection's last, whatever it says.
    last: bool,
}

/// The state of a connection: HTTP, or what followed.
pub enum Conn<X, C> {
    /// It speaks HTTP.
    Http(Serving<X>),
    /// It was handed over.
    Upgraded(C),
}

impl<X> Serving<X> {
    /// How a request is framed; the decoder is at the start of its body then.
    #[inline]
    fn frame(&mut self, request: &Request<'_>, limits: &Limits) -> Result<Framing, Malformed> {
        let framing = request.framing()?;
        // Without a body it stays where the request before has left it: at the end of one.
        debug_assert!(self.decoder.is_end(), "a request behind a body that is not over");
        if framing.body != Body::None {
            self.decoder = Decoder::new(framing.body, limits)?;
        }
        Ok(framing)
    }

    #[inline]
    fn begin(&mut self, request: &Request<'_>, framing: &Framing, most: u32) {
        let number = self.sending.number.saturating_add(1);
        self.sending = Sending {
            phase: Phase::Head,
            head_only: request.method == Method::Head,
            old: request.version == Version::Http10,
            close: !framing.keep_alive || self.last || number >= most,
            expect: framing.expect_continue,
            due: false,
            status: 0,
            number,
            written: 0,
        };
    }
}

impl<A: App> Http<A> {
    /// A server.
    pub fn new(app: A) -> Self {
        Http::with_upgrade(app, NoUpgrade)
    }
}

impl<A: App, U: Upgrade> Http<A, U> {
    /// A server from which connections may go on to another protocol.
    pub fn with_upgrade(app: A, next: U) -> Self {
        let (config, fields, fronts) = (Config::default(), Fields::new(), Fronts::default());
        Http { app, next, config, desk: None, fields, fronts }
    }

    /// What a trusted proxy says first: whether to go on with what lies behind it.
    #[cold]
    fn proxied(
        &self,
        s: &mut Serving<A::Exchange>,
        io: &mut Io<'_>,
        bytes: &[u8],
        used: &mut usize,
    ) -> bool {
        match proxied::parse(bytes) {
            Ok(None) => false,
            Ok(Some(header)) => {
                *used += header.len;
                s.peer = header.client.map(|at| (at.ip(), at.port())).or(s.peer);
                s.stage = Stage::Head;
                io.set_deadline(Some(io.env.now.after(self.config.keep_alive)));
                true
            }
            Err(proxied::NoHeader) => {
                // Who it is for is not known, so no answer is for anyone.
                io.env.note(io.id, Trace::Say("a trusted proxy did not say for whom it comes"));
                io.abort(Close::Aborted);
                false
            }
        }
    }

    /// One head: whether to go on with what lies behind it.
    fn head(
        &mut self,
        conn: &mut Conn<A::Exchange, U::Conn>,
        io: &mut Io<'_>,
        bytes: &[u8],
        used: &mut usize,
    ) -> bool {
        let Conn::Http(s) = conn else { return true };
        if bytes.is_empty() || io.flow() == Flow::Full {
            if *used > 0 {
                // Something was used up, so an exchange is over that was here just now.
                self.config.await_next(&mut s.wait, io);
            }
            return false;
        }
        let idle = s.progress.is_idle();
        let limits = &self.config.limits;
        let parsed = parse_request(bytes, &mut s.progress, &mut self.fields, limits);
        let (request, n) = match &parsed {
            Ok(Some((request, n))) => (request, *n),
            Ok(None) => {
                if idle {
                    io.set_deadline(Some(io.env.now.after(self.config.head_timeout)));
                }
                return false;
            }
            Err(why) => {
                let why = *why;
                return self.malformed(s, io, bytes, why);
            }
        };
        let framing = match s.frame(request, limits) {
            Ok(framing) => framing,
            Err(why) => return self.malformed(s, io, bytes, why),
        };
        *used += n;
        let whole = s.decoder.is_end();
        // Behind a shutdown nothing new begins. The deadline is HTTP's, not the next protocol's.
        io.set_deadline(None);
        let peer = s.peer.map(SocketAddr::from);
        match if s.last { Offer::Pass } else { self.next.offer_to(peer, request, io) } {
            Offer::Pass => {}
            Offer::Accept(c) if whole => {
                *conn = Conn::Upgraded(c);
                return true;
            }
            Offer::Accept(c) => {
                // See `Upgrade::offer`: what follows is a body, not the next protocol's.
                self.next.on_close(c, io.id, io.env, Close::Aborted);
                io.abort(Close::Aborted);
                return false;
            }
            Offer::Refuse(status, headers, text) => {
                return self.refuse(s, io, bytes, status, headers, text);
            }
        }
        if !self.app.understands(request.method) {
            return self.refuse(s, io, bytes, 501, &[], "method not understood\n");
        }
        s.begin(request, &framing, self.config.requests);
        let remaining = s.decoder.remaining();
        let reply = Reply::new(io.reborrow(), &mut s.sending, &mut self.fronts, remaining, &s.peer);
        s.x = self.app.on_request(request, reply).0;
        self.asked(conn, io, whole)
    }

    /// The application has been asked; `whole`: the request has no body. Always true.
    #[inline]
    fn asked(
        &mut self,
        conn: &mut Conn<A::Exchange, U::Conn>,
        io: &mut Io<'_>,
        whole: bool,
    ) -> bool {
        let Conn::Http(s) = conn else { return true };
        let answered = s.x.is_none();
        if answered && whole && s.sending.stays() && io.wish.aborting().is_none() {
            // As a rule: nothing is left of it, and the next head is awaited.
            return true;
        }
        (s.stage, s.ended, s.drained) = (Stage::Exchange, answered && whole, 0);
        if !answered && s.sending.expect && !io.paused() {
            // It answers later, and takes the body: the client may send it.
            s.sending.expect = false;
            let _ = io.write(encode::CONTINUE);
        }
        if whole {
            self.config.await_reader(&mut s.wait, io);
        } else {
            self.config.await_body(&mut s.wait, io);
        }
        self.after(conn, io);
        true
    }

    /// One step of a request's body: whether to go on with what lies behind it.
    fn body(
        &mut self,
        conn: &mut Conn<A::Exchange, U::Conn>,
        io: &mut Io<'_>,
        bytes: &[u8],
        used: &mut usize,
    ) -> bool {
        let Conn::Http(s) = conn else { return true };
        let step = s.decoder.next(bytes, &self.config.limits);
        let remaining = s.decoder.remaining();
        let go_on = match step {
            Ok(Step::More { skip }) => {
                *used += skip;
                false
            }
            Ok(Step::Data { skip, len }) => {
                let data = &bytes[skip..skip + len];
                // It did not wait for the 100, so it needs none (RFC 9110 §10.1.1).
                s.sending.expect = false;
                let taken = match &mut s.x {
                    Some(x) => {
                        let (sending, fronts) = (&mut s.sending, &mut self.fronts);
                        let mut reply =
                            Reply::new(io.reborrow(), sending, fronts, remaining, &s.peer);
                        self.app.on_body(x, &mut reply, data).min(len)
                    }
                    None => {
                        s.drained = s.drained.saturating_add(len as u32);
                        len
                    }
                };
                s.decoder.consume(taken);
                *used += skip + taken;
                if taken < len {
                    io.pause();
                }
                true
            }
            Ok(Step::End { skip, trailers }) => {
                *used += skip;
                s.ended = true;
                if let Some(x) = &mut s.x {
                    let (fields, limits) = (&mut self.fields, &self.config.limits);
                    let trailers = match parse_trailers(&bytes[trailers], fields, limits) {
                        Ok(trailers) => trailers,
                        Err(why) => return self.malformed(s, io, &[], why),
                    };
                    self.config.await_reader(&mut s.wait, io);
                    let (sending, fronts) = (&mut s.sending, &mut self.fronts);
                    let mut reply = Reply::new(io.reborrow(), sending, fronts, Some(0), &s.peer);
                    self.app.on_body_end(x, &mut reply, &trailers);
                }
                true
            }
            Err(why) => return self.malformed(s, io, &[], why),
        };
        self.after(conn, io);
        go_on
    }

    /// After any step: is the exchange over? Then the connection goes on to the next, or ends.
    fn after(&mut self, conn: &mut Conn<A::Exchange, U::Conn>, io: &mut Io<'_>) {
        let Conn::Http(s) = conn else { return };
        if !s.ended {
            s.wait.look(s.sending.expect, io);
        }
        let aborting = io.wish.aborting().is_some();
        if s.stage != Stage::Exchange || s.sending.phase != Phase::Done || aborting {
            return;
        }
        self.forget(s, io.id);
        if let Some(x) = s.x.take() {
            self.app.on_done(x, io.env, None);
            // Whoever paused the body is gone; the rest of it is drained.
            io.resume();
        }
        let too_long = s.decoder.remaining().unwrap_or(0).max(s.drained.into()) > DRAIN_MAX;
        if s.sending.close || s.last || too_long {
            // A body that is still coming need not be looked at: it is dropped.
            self.linger(s, io);
        } else if s.ended {
            s.stage = Stage::Head;
            self.config.await_next(&mut s.wait, io);
        }
    }

    /// Our side ends; what still comes is dropped, until the peer ends too.
    pub(crate) fn linger(&self, s: &mut Serving<A::Exchange>, io: &mut Io<'_>) {
        s.stage = Stage::Linger;
        let (stall, wait) = (self.config.write_timeout, self.config.linger);
        let least = self.config.least_download();
        io.end_and_drain(Drain { stall, least, wait, ..Drain::default() });
    }

    /// Answers what is no request, and ends: always true, for what lies behind it is dropped.
    #[cold]
    fn malformed(
        &mut self,
        s: &mut Serving<A::Exchange>,
        io: &mut Io<'_>,
        asked: &[u8],
        why: Malformed,
    ) -> bool {
        self.app.on_malformed(io.env, io.id, why);
        self.refuse(s, io, asked, why.status(), &[], why.as_str())
    }

    /// Answers a request that the application does not see, or saw in vain, and ends: always true.
    /// `asked` are the bytes of a request that was not begun, if there are any.
    #[cold]
    pub(crate) fn refuse(
        &mut self,
        s: &mut Serving<A::Exchange>,
        io: &mut Io<'_>,
        asked: &[u8],
        status: u16,
        headers: &[(&str, &str)],
        text: &str,
    ) -> bool {
        // RFC 9110 §9.3.2: "The server MUST NOT send content in the response" to a HEAD.
        let begun = s.stage == Stage::Exchange && s.sending.head_only;
        let silent = begun || asked.trim_ascii_start().starts_with(b"HEAD ");
        match (s.stage, s.sending.phase) {
            // It has its answer; what was wrong came behind it.
            (Stage::Exchange, Phase::Done) => {
                self.linger(s, io);
                return true;
            }
            (Stage::Exchange, Phase::Head) => {}
            (Stage::Proxy | Stage::Head | Stage::Linger, _) => {}
            // A part of the answer is out: only a cut tells the client.
            (Stage::Exchange, _) => {
                io.abort(Close::Aborted);
                return true;
            }
        }
        let line = if text.ends_with('\n') { "" } else { "\n" };
        let body = Body::Length((text.len() + line.len()) as u64);
        let head = Head { status, body, connection: Connection::Close };
        self.fronts.tick(io.env);
        let plain = [("Content-Type", "text/plain; charset=utf-8")];
        let headers = headers.iter().chain(&plain).copied();
        // Everything in it is ours; if it could not be written there would be nothing to send.
        if self.fronts.head(io.out.buffer(), &head, headers).is_ok() && !silent {
            let _ = io.write(text.as_bytes());
            let _ = io.write(line.as_bytes());
        }
        self.forget(s, io.id);
        if let Some(x) = s.x.take() {
            self.app.on_done(x, io.env, Some(Close::Aborted));
        }
        self.linger(s, io);
        true
    }

    /// An answer that may still be on its way over the desk is nobody's.
    #[inline]
    fn forget(&self, s: &Serving<A::Exchange>, id: Id) {
        if s.sending.due
            && let Some(desk) = &self.desk
        {
            desk.forget(Due { id, number: s.sending.number });
        }
    }

    /// Woken or drained.
    fn more(&mut self, conn: &mut Conn<A::Exchange, U::Conn>, io: &mut Io<'_>) {
        let Conn::Http(s) = conn else { return };
        if let Some(x) = &mut s.x
            && s.sending.phase != Phase::Done
        {
            let remaining = if s.ended { Some(0) } else { s.decoder.remaining() };
            let (sending, fronts) = (&mut s.sending, &mut self.fronts);
            let mut reply = Reply::new(io.reborrow(), sending, fronts, remaining, &s.peer);
            match self.desk.as_ref().and_then(|desk| reply.came(desk)) {
                Some(whole) => reply.hand_out(&whole),
                None => self.app.on_more(x, &mut reply),
            }
        }
        self.after(conn, io);
    }

    /// Bytes of requests, and of what they were upgraded to on the way; how many were used.
    #[inline(never)]
    fn requests(
        &mut self,
        conn: &mut Conn<A::Exchange, U::Conn>,
        io: &mut Io<'_>,
        bytes: &mut [u8],
    ) -> usize {
        let mut used = 0;
        while let Conn::Http(s) = conn {
            if io.wish.aborting().is_some() {
                return used;
            }
            let rest = &bytes[used..];
            let go_on = match s.stage {
                Stage::Linger => return bytes.len(),
                Stage::Proxy => self.proxied(s, io, rest, &mut used),
                Stage::Head => self.head(conn, io, rest, &mut used),
                // The end of a body is told to who paused it, too: no byte may be left that
                // would bring it later.
                Stage::Exchange if !s.ended && (!io.paused() || s.decoder.is_end()) => {
                    self.body(conn, io, rest, &mut used)
                }
                Stage::Exchange => {
                    io.pause();
                    return used;
                }
            };
            if !go_on {
                return used;
            }
        }
        match conn {
            Conn::Upgraded(c) => used + self.next.on_data(c, io, &mut bytes[used..]),
            Conn::Http(_) => used,
        }
    }
}

impl<A: App, U: Upgrade> Protocol for Http<A, U> {
    type Conn = Conn<A::Exchange, U::Conn>;

    fn on_accept(&mut self, _: &mut Env, _: Id, peer: &Address) -> Option<Self::Conn> {
        let peer = peer.ip().map(|at| (at.ip(), at.port()));
        let proxied = peer.is_some_and(|(ip, _)| self.config.proxies.check(ip));
        Some(Conn::Http(Serving {
            decoder: Decoder::default(),
            x: None,
            wait: Wait::default(),
            progress: Progress::new(),
            drained: 0,
            sending: Sending::IDLE,
            peer,
            stage: if proxied { Stage::Proxy } else { Stage::Head },
            ended: true,
            last: false,
        }))
    }

    fn on_open(&mut self, conn: &mut Self::Conn, io: &mut Io<'_>) {
        let proxied = matches!(conn, Conn::Http(s) if s.stage == Stage::Proxy);
        let wait = if proxied { self.config.head_timeout } else { self.config.keep_alive };
        io.set_deadline(Some(io.env.now.after(wait)));
    }

    #[inline]
    fn on_data(&mut self, conn: &mut Self::Conn, io: &mut Io<'_>, bytes: &mut [u8]) -> usize {
        match conn {
            Conn::Upgraded(c) => self.next.on_data(c, io, bytes),
            Conn::Http(_) => self.requests(conn, io, bytes),
        }
    }

    fn keeps(&self, conn: &Self::Conn, env: &mut Env) -> usize {
        match conn {
            Conn::Upgraded(c) => self.next.keeps(c, env),
            Conn::Http(_) => self.config.limits.kept(),
        }
    }

    fn on_drain(&mut self, conn: &mut Self::Conn, io: &mut Io<'_>) {
        match conn {
            Conn::Upgraded(c) => self.next.on_drain(c, io),
            Conn::Http(s) if s.stage == Stage::Head && s.progress.is_idle() => {
                // What was slow to go has gone: it is idle from here on.
                io.set_deadline(Some(io.env.now.after(self.config.keep_alive)));
            }
            Conn::Http(s) => {
                s.wait.dry();
                self.more(conn, io);
            }
        }
    }

    fn on_wake(&mut self, conn: &mut Self::Conn, io: &mut Io<'_>) {
        match conn {
            Conn::Upgraded(c) => self.next.on_wake(c, io),
            Conn::Http(_) => self.more(conn, io),
        }
    }

    fn on_end(&mut self, conn: &mut Self::Conn, io: &mut Io<'_>) {
        match conn {
            Conn::Upgraded(c) => self.next.on_end(c, io),
            // The request is whole and its answer is owed: who half-closes may still read.
            Conn::Http(s) if s.stage == Stage::Exchange && s.ended => s.last = true,
            Conn::Http(s) if s.stage == Stage::Exchange && s.sending.phase != Phase::Done => {
                io.abort(Close::Aborted);
            }
            Conn::Http(_) => io.end(),
        }
    }

    fn on_timeout(&mut self, conn: &mut Self::Conn, io: &mut Io<'_>) {
        match conn {
            Conn::Upgraded(c) => self.next.on_timeout(c, io),
            Conn::Http(s) => self.timeout(s, io),
        }
    }

    fn on_shutdown(&mut self, conn: &mut Self::Conn, io: &mut Io<'_>) {
        match conn {
            Conn::Upgraded(c) => self.next.on_shutdown(c, io),
            Conn::Http(s) if s.stage == Stage::Head && s.progress.is_idle() => self.linger(s, io),
            Conn::Http(s) => {
                s.last = true;
                s.sending.close = true;
            }
        }
    }

    fn on_close(&mut self, conn: Self::Conn, id: Id, env: &mut Env, why: Close) {
        match conn {
            Conn::Upgraded(c) => self.next.on_close(c, id, env, why),
            Conn::Http(s) => {
                self.forget(&s, id);
                if let Some(x) = s.x {
                    self.app.on_done(x, env, Some(why));
                }
            }
        }
    }
}
