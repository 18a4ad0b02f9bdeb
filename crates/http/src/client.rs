//! A client that any protocol can ask with, over connections that are kept and used again.
//!
//! [`Client`] is a handle, `Copy`. An exchange lives in the loop's shared state and is named by a
//! [`Ticket`]; whoever asked (its *owner*, any [`Id`]) is woken when there is a head, a body,
//! room for more of the upload, the end, or a failure, and then looks at the [`Exchange`].
//!
//! Rules of this file:
//! * A connection carries one exchange at a time. It is used again only when both messages of the
//!   last one were complete, and not one byte came behind.
//! * A request is sent a second time only when a kept connection turned out dead before a byte of
//!   the answer came, and the method is idempotent and has no body (RFC 9112 §9.3.1); and once.
//! * Every wait has a deadline.

use crate::core::encode::{self, RequestHead};
use crate::core::{
    Body, Decoder, Fields, Framing, Invalid, Limits, Malformed, Method, Progress, Response, Step,
    parse_response,
};
use crate::pipe::Pipe;
use loopwork_tcp::reactor::{Address, Calls, Env, Handle, Id, Key, Loop, Shared, Streams};
use loopwork_tcp::{Close, Flow, Host, Io, Protocol};
use slab::Slab;
use std::collections::{HashMap, VecDeque};
use std::io::ErrorKind;
use std::time::Duration;

/// Limits and deadlines of a client.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Of response heads and bodies.
    pub limits: Limits,
    /// Connections to one address; further requests wait. 256: as many as a busy proxy needs
    /// towards one server, while the descriptors last for several.
    pub per_address: usize,
    /// Without a byte in either direction while an exchange is under way: 60 s.
    pub timeout: Duration,
    /// How long a free connection is kept: 4 s, below the 5 s after which Node's server, the
    /// hastiest of the common ones, closes it.
    pub keep: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            limits: Limits::default(),
            per_address: 256,
            timeout: Duration::from_secs(60),
            keep: Duration::from_secs(4),
        }
    }
}

/// Interim responses (1xx) before a final one: Node's server sends two at most.
const INTERIM_MAX: u8 = 16;

/// Why an exchange has no complete response.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Failure {
    /// No connection came about.
    Connect(ErrorKind),
    /// It ended before the response did.
    Closed,
    /// Nothing moved for too long.
    TimedOut,
    /// The server sent what is no response.
    Malformed(Malformed),
    /// Interim responses without end, or a protocol that was not asked for.
    Unexpected(u16),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Connect(kind) => write!(f, "could not connect: {kind}"),
            Failure::Closed => f.write_str("the connection ended before the response did"),
            Failure::TimedOut => f.write_str("timed out"),
            Failure::Malformed(why) => write!(f, "not a response: {why}"),
            Failure::Unexpected(status) => write!(f, "an unexpected response {status}"),
        }
    }
}

impl std::error::Error for Failure {}

/// The name of an exchange; of one that was released it means nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ticket {
    slot: u32,
    birth: u64,
}

/// One request and its response.
pub struct Exchange {
    birth: u64,
    owner: Id,
    /// The connection that carries it.
    wire: Option<Id>,
    to: Address,
    /// The encoded head: the request's, until the response's takes its place.
    head: Vec<u8>,
    fields: Fields,
    body: Body,
    up: Pipe,
    down: Pipe,
    framing: Option<Framing>,
    failure: Option<Failure>,
    head_only: bool,
    tunnel: bool,
    idempotent: bool,
    retried: bool,
    over: bool,
}

/// Where a request's body stands on the wire.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Upload {
    Length(u64),
    Chunked,
    Done,
}

impl Exchange {
    /// The response's head, once it is there.
    pub fn response(&mut self) -> Option<Response<'_>> {
        self.framing?;
        let limits = Limits { head_bytes: u32::MAX, headers: u32::MAX, ..Limits::default() };
        let parsed = parse_response(&self.head, &mut Progress::new(), &mut self.fields, &limits);
        parsed.ok().flatten().map(|(response, _)| response)
    }

    /// How the response's body ends, once its head is there.
    #[must_use]
    pub fn body(&self) -> Option<Body> {
        self.framing.map(|f| f.body)
    }

    /// Hands over what came of the response's body, unless the taker is full, and lets the
    /// connection go on reading.
    pub fn pull(&mut self, calls: &mut Calls, ready: Flow, take: impl FnOnce(&[u8])) {
        if self.down.pull(ready, take)
            && let Some(wire) = self.wire
        {
            calls.wake(wire);
        }
    }

    /// The response is complete, and all of its body was pulled.
    #[must_use]
    pub fn done(&self) -> bool {
        self.over && self.down.is_empty()
    }

    /// Why there will be no complete response.
    #[must_use]
    pub fn failure(&self) -> Option<Failure> {
        self.failure
    }

    fn method(&self) -> Method<'static> {
        match (self.head_only, self.tunnel) {
            (true, _) => Method::Head,
            (_, true) => Method::Connect,
            _ => Method::Get,
        }
    }
}

/// The connections to one address.
#[derive(Default)]
struct Origin {
    free: Vec<Id>,
    waiting: VecDeque<Ticket>,
    open: usize,
}

/// What all connections of a client share.
struct Pool {
    exchanges: Slab<Exchange>,
    origins: HashMap<Address, Origin>,
    config: Config,
}

impl Pool {
    fn get(&mut self, t: Ticket) -> Option<&mut Exchange> {
        self.exchanges.get_mut(t.slot as usize).filter(|x| x.birth == t.birth)
    }

    fn next(&mut self, to: &Address) -> Option<Ticket> {
        self.origins.get_mut(to)?.waiting.pop_front()
    }

    fn waits(&self, to: &Address) -> bool {
        self.origins.get(to).is_some_and(|o| !o.waiting.is_empty())
    }
}

/// A handle to a client: copy it into whoever asks.
#[derive(Clone, Copy)]
pub struct Client {
    pool: Key<Pool>,
    wires: Handle<Host<Wire>>,
}

impl Client {
    /// Adds a client to a loop.
    pub fn new<W: Streams>(lp: &mut Loop<W>) -> Client {
        Client::with_config(lp, Config::default())
    }

    /// Adds a client with its limits and deadlines.
    pub fn with_config<W: Streams>(lp: &mut Loop<W>, config: Config) -> Client {
        let (exchanges, origins) = (Slab::new(), HashMap::new());
        let pool = lp.env.shared.add(Pool { exchanges, origins, config });
        Client { pool, wires: loopwork_tcp::add(lp, |me| Wire { pool, me, fields: Fields::new() }) }
    }

    /// Sends a request to `to`, and wakes `owner` as it goes on. The ticket has to be
    /// [released](Client::release), whatever comes of it.
    ///
    /// # Errors
    /// A head that cannot be sent: nothing was begun then.
    pub fn request<I, N, V>(
        &self,
        env: &mut Env,
        to: impl Into<Address>,
        owner: Id,
        head: &RequestHead<'_>,
        headers: I,
    ) -> Result<Ticket, Invalid>
    where
        I: IntoIterator<Item = (N, V)>,
        N: AsRef<[u8]>,
        V: AsRef<[u8]>,
    {
        let mut bytes = env.pool.take();
        if let Err(why) = encode::request_head(&mut bytes, head, headers) {
            env.pool.give(bytes);
            return Err(why);
        }
        let (to, birth, method) = (to.into(), env.calls.birth(), Method::new(head.method));
        let (up, down) = (Pipe::new(env.pool.take()), Pipe::new(env.pool.take()));
        let pool = env.shared.get(self.pool);
        let slot = pool.exchanges.insert(Exchange {
            birth,
            owner,
            wire: None,
            to: to.clone(),
            head: bytes,
            fields: Fields::new(),
            body: head.body,
            up,
            down,
            framing: None,
            failure: None,
            head_only: method == Method::Head,
            tunnel: method == Method::Connect,
            idempotent: method.is_idempotent() && matches!(head.body, Body::None | Body::Length(0)),
            retried: false,
            over: false,
        });
        let ticket = Ticket { slot: slot as u32, birth };
        let per_address = pool.config.per_address;
        let origin = pool.origins.entry(to.clone()).or_default();
        origin.waiting.push_back(ticket);
        match origin.free.pop() {
            Some(id) => env.calls.wake(id),
            None if origin.open >= per_address => {}
            None => {
                origin.open += 1;
                loopwork_tcp::dial(env, self.wires, to.clone(), WireConn::new(to));
            }
        }
        Ok(ticket)
    }

    /// An exchange; `None` when it was released. Takes the shared state alone, so that the rest
    /// of the environment stays free for [`Exchange::pull`].
    pub fn exchange<'e>(&self, shared: &'e mut Shared, t: Ticket) -> Option<&'e mut Exchange> {
        shared.get(self.pool).get(t)
    }

    /// Appends to the request's body. [`Flow::Full`]: wait to be woken.
    pub fn write(&self, env: &mut Env, t: Ticket, bytes: &[u8]) -> Flow {
        let Some(x) = env.shared.get(self.pool).get(t) else { return Flow::Open };
        if let Some(wire) = x.wire {
            env.calls.wake(wire);
        }
        x.up.push(bytes)
    }

    /// Whether more of the request's body should be written.
    pub fn flow(&self, env: &mut Env, t: Ticket) -> Flow {
        let full = env.shared.get(self.pool).get(t).is_some_and(|x| x.up.full());
        if full { Flow::Full } else { Flow::Open }
    }

    /// Ends the request's body.
    pub fn finish(&self, env: &mut Env, t: Ticket) {
        let Some(x) = env.shared.get(self.pool).get(t) else { return };
        x.up.end();
        if let Some(wire) = x.wire {
            env.calls.wake(wire);
        }
    }

    /// Lets go of an exchange. If it was not complete its connection is given up.
    pub fn release(&self, env: &mut Env, t: Ticket) {
        let pool = env.shared.get(self.pool);
        if pool.get(t).is_none() {
            return;
        }
        let x = pool.exchanges.remove(t.slot as usize);
        if let Some(origin) = pool.origins.get_mut(&x.to) {
            origin.waiting.retain(|w| *w != t);
        }
        if let (Some(wire), false) = (x.wire, x.over) {
            // It finds its exchange gone, and gives up.
            env.calls.wake(wire);
        }
        for buffer in [x.head, x.up.into_buffer(), x.down.into_buffer()] {
            env.pool.give(buffer);
        }
    }
}

/// The protocol beneath: connections to servers.
pub struct Wire {
    pool: Key<Pool>,
    me: Handle<Host<Wire>>,
    fields: Fields,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It carries nothing.
    Free,
    /// The response's head is awaited.
    Head,
    /// Its body comes in.
    Body,
}

/// A connection to a server.
pub struct WireConn {
    to: Address,
    at: Option<Ticket>,
    decoder: Decoder,
    progress: Progress,
    upload: Upload,
    stage: Stage,
    interim: u8,
    /// It has carried an exchange before.
    used: bool,
    /// Something of the response came in.
    heard: bool,
}

impl WireConn {
    fn new(to: Address) -> Self {
        WireConn {
            to,
            at: None,
            decoder: Decoder::default(),
            progress: Progress::new(),
            upload: Upload::Done,
            stage: Stage::Free,
            interim: 0,
            used: false,
            heard: false,
        }
    }
}

impl Wire {
    /// Takes a waiting exchange if it is free; sends what there is to send; reads if it may.
    fn pump(&mut self, c: &mut WireConn, io: &mut Io<'_>) {
        let pool = io.env.shared.get(self.pool);
        if c.stage == Stage::Free {
            let Some(x) = Wire::take(pool, c) else {
                let origin = pool.origins.entry(c.to.clone()).or_default();
                if !origin.free.contains(&io.id) {
                    origin.free.push(io.id);
                }
                let keep = pool.config.keep;
                return io.set_deadline(Some(io.env.now.after(keep)));
            };
            x.wire = Some(io.id);
            let _ = io.out.write(&x.head);
        }
        let timeout = pool.config.timeout;
        let Some(x) = c.at.and_then(|t| pool.get(t)) else { return io.abort(Close::Aborted) };
        io.wish.set_deadline(Some(io.env.now.after(timeout)));
        let (out, upload) = (&mut io.out, &mut c.upload);
        let mut overlong = false;
        let go_on = x.up.pull(out.flow(), |bytes| match upload {
            Upload::Chunked => encode::chunk(out.buffer(), bytes),
            Upload::Length(left) if bytes.len() as u64 <= *left => {
                *left -= bytes.len() as u64;
                out.buffer().extend_from_slice(bytes);
            }
            Upload::Length(_) | Upload::Done => overlong = true,
        });
        if go_on {
            io.env.calls.wake(x.owner);
        }
        if x.up.ended() && x.up.is_empty() && *upload == Upload::Chunked {
            out.buffer().extend_from_slice(b"0\r\n\r\n");
            *upload = Upload::Done;
        }
        match *upload {
            Upload::Length(0) => *upload = Upload::Done,
            // Less or more body than its head announced: only a cut tells the server.
            Upload::Length(_) if x.up.ended() && x.up.is_empty() => overlong = true,
            _ => {}
        }
        if overlong {
            return io.abort(Close::Aborted);
        }
        if !x.down.full() {
            io.resume();
        }
    }

    /// The next exchange that waits for this address, if its owner has not let go of it.
    fn take<'p>(pool: &'p mut Pool, c: &mut WireConn) -> Option<&'p mut Exchange> {
        let ticket = loop {
            let ticket = pool.next(&c.to)?;
            if pool.get(ticket).is_some() {
                break ticket;
            }
        };
        let x = pool.get(ticket)?;
        (c.at, c.stage, c.interim, c.heard) = (Some(ticket), Stage::Head, 0, false);
        c.upload = match x.body {
            Body::Length(n) if n > 0 => Upload::Length(n),
            Body::Chunked => Upload::Chunked,
            _ => Upload::Done,
        };
        Some(x)
    }

    /// The response's head: whether to go on with what lies behind it.
    fn head(
        &mut self,
        c: &mut WireConn,
        io: &mut Io<'_>,
        bytes: &[u8],
        used: &mut usize,
    ) -> Result<bool, Failure> {
        let pool = io.env.shared.get(self.pool);
        let limits = pool.config.limits;
        let Some(x) = c.at.and_then(|t| pool.get(t)) else { return Err(Failure::Closed) };
        c.heard = true;
        let parsed = parse_response(bytes, &mut c.progress, &mut self.fields, &limits);
        let Some((response, n)) = parsed.map_err(Failure::Malformed)? else { return Ok(false) };
        *used += n;
        let framing = response.framing(x.method()).map_err(Failure::Malformed)?;
        match response.status {
            101 => return Err(Failure::Unexpected(101)),
            100..=199 => {
                c.interim += 1;
                let many = c.interim > INTERIM_MAX;
                return if many { Err(Failure::Unexpected(response.status)) } else { Ok(true) };
            }
            200..=299 if x.tunnel => return Err(Failure::Unexpected(response.status)),
            _ => {}
        }
        c.decoder = Decoder::new(framing.body, &limits).map_err(Failure::Malformed)?;
        x.head.clear();
        x.head.extend_from_slice(&bytes[..n]);
        x.framing = Some(framing);
        c.stage = Stage::Body;
        io.env.calls.wake(x.owner);
        Ok(true)
    }

    /// One step of its body: whether to go on with what lies behind it.
    fn body(
        &mut self,
        c: &mut WireConn,
        io: &mut Io<'_>,
        bytes: &[u8],
        used: &mut usize,
    ) -> Result<bool, Failure> {
        let pool = io.env.shared.get(self.pool);
        let limits = pool.config.limits;
        let Some(x) = c.at.and_then(|t| pool.get(t)) else { return Err(Failure::Closed) };
        match c.decoder.next(bytes, &limits).map_err(Failure::Malformed)? {
            Step::More { skip } => {
                *used += skip;
                Ok(false)
            }
            Step::Data { skip, len } => {
                let flow = x.down.push(&bytes[skip..skip + len]);
                c.decoder.consume(len);
                *used += skip + len;
                io.env.calls.wake(x.owner);
                if flow == Flow::Full {
                    io.pause();
                }
                Ok(flow == Flow::Open)
            }
            Step::End { skip, .. } => {
                *used += skip;
                let clean = skip == bytes.len();
                self.complete(c, io, clean);
                Ok(false)
            }
        }
    }

    /// The response is complete. `clean`: nothing lies behind it.
    fn complete(&mut self, c: &mut WireConn, io: &mut Io<'_>, clean: bool) {
        let pool = io.env.shared.get(self.pool);
        let Some(x) = c.at.and_then(|t| pool.get(t)) else { return io.abort(Close::Aborted) };
        let keep = x.framing.is_some_and(|f| f.keep_alive) && clean && c.upload == Upload::Done;
        x.over = true;
        x.wire = None;
        io.env.calls.wake(x.owner);
        (c.at, c.stage, c.used) = (None, Stage::Free, true);
        if keep && !io.wish.ending() {
            self.pump(c, io);
        } else if c.upload == Upload::Done && clean {
            io.end();
        } else {
            io.abort(Close::Aborted);
        }
    }

    /// The exchange fails, and the connection with it.
    fn fail(&mut self, c: &mut WireConn, env: &mut Env, why: Failure) {
        let pool = env.shared.get(self.pool);
        let Some(x) = c.at.take().and_then(|t| pool.get(t)) else { return };
        if !x.over && x.failure.is_none() {
            x.failure = Some(why);
            x.wire = None;
            env.calls.wake(x.owner);
        }
    }

    /// A kept connection that was dead already: its request goes to another one.
    fn retry(pool: &mut Pool, c: &mut WireConn) -> bool {
        let Some(ticket) = c.at else { return false };
        let Some(x) = pool.get(ticket) else { return false };
        if !c.used || c.heard || x.retried || !x.idempotent {
            return false;
        }
        (x.retried, x.wire) = (true, None);
        c.at = None;
        pool.origins.entry(c.to.clone()).or_default().waiting.push_front(ticket);
        true
    }
}

impl Protocol for Wire {
    type Conn = WireConn;

    fn on_open(&mut self, c: &mut WireConn, io: &mut Io<'_>) {
        self.pump(c, io);
    }

    fn on_wake(&mut self, c: &mut WireConn, io: &mut Io<'_>) {
        self.pump(c, io);
    }

    fn on_drain(&mut self, c: &mut WireConn, io: &mut Io<'_>) {
        self.pump(c, io);
    }

    fn on_data(&mut self, c: &mut WireConn, io: &mut Io<'_>, bytes: &mut [u8]) -> usize {
        let mut used = 0;
        let timeout = io.env.shared.get(self.pool).config.timeout;
        io.set_deadline(Some(io.env.now.after(timeout)));
        while used < bytes.len() || c.stage == Stage::Body {
            let rest = &bytes[used..];
            let step = match c.stage {
                // Bytes that nobody asked for: the next response could not be told from them.
                Stage::Free => {
                    io.abort(Close::Aborted);
                    return bytes.len();
                }
                Stage::Head => self.head(c, io, rest, &mut used),
                Stage::Body => self.body(c, io, rest, &mut used),
            };
            match step {
                Ok(true) => {}
                Ok(false) => return used,
                Err(why) => {
                    self.fail(c, io.env, why);
                    io.abort(Close::Aborted);
                    return bytes.len();
                }
            }
        }
        used
    }

    fn on_end(&mut self, c: &mut WireConn, io: &mut Io<'_>) {
        io.end();
        if c.stage == Stage::Body && c.decoder.finish().is_ok() {
            self.complete(c, io, true);
        }
    }

    fn on_timeout(&mut self, c: &mut WireConn, io: &mut Io<'_>) {
        self.fail(c, io.env, Failure::TimedOut);
        io.abort(Close::TimedOut);
    }

    fn on_close(&mut self, mut c: WireConn, id: Id, env: &mut Env, why: Close) {
        let pool = env.shared.get(self.pool);
        let origin = pool.origins.entry(c.to.clone()).or_default();
        origin.open -= 1;
        origin.free.retain(|free| *free != id);
        if let Close::Dial(kind) = why {
            c.at = pool.next(&c.to);
            self.fail(&mut c, env, Failure::Connect(kind));
        } else if !Wire::retry(pool, &mut c) {
            self.fail(&mut c, env, Failure::Closed);
        }
        let pool = env.shared.get(self.pool);
        if pool.waits(&c.to) {
            pool.origins.entry(c.to.clone()).or_default().open += 1;
            loopwork_tcp::dial(env, self.me, c.to.clone(), WireConn::new(c.to));
        } else if pool.origins.get(&c.to).is_some_and(|o| o.open == 0) {
            pool.origins.remove(&c.to);
        }
    }
}
