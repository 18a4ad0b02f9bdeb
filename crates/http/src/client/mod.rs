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
//!   the answer came, and the method is idempotent and has no body (RFC 9112 §9.3.1); and once,
//!   over a new connection.
//! * Every wait for the network has a deadline, but in a tunnel, whose silence means what its owner
//!   says. Who waits for a connection to fall free waits as long as its owner does, if
//!   [`Config::exchange`] says nothing.
//! * A ticket holds the loop until it is released; a connection does not, so that the free ones let
//!   it end.
//! * After 101 to who offered an upgrade, and after a 2xx to `CONNECT`, the exchange is a tunnel
//!   (RFC 9110 §7.8, §9.3.6): what is written goes out as it is, what is pulled is what came,
//!   and each side ends by itself.

mod pool;
mod tunnel;
mod wire;

use crate::core::encode::{self, RequestHead};
use crate::core::{
    Body, Fields, Framing, Headers, Invalid, Limits, Malformed, Method, Progress, Response,
    parse_response, parse_trailers,
};
use crate::pipe::Pipe;
use loopwork_tcp::reactor::{Address, CallKey, Calls, Env, Handle, Id, Key, Loop, Shared, Streams};
use loopwork_tcp::{BlockList, Close, Dial, Flow, Host};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

pub use pool::Config;
pub use tunnel::{ANSWER, Through, ThroughConn, Tunnel};
pub use wire::{Wire, WireConn};

use pool::Pool;

/// Interim responses (1xx) before a final one: Node's server sends two at most.
const INTERIM_MAX: u8 = 16;

/// Why an exchange has no complete response.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Failure {
    /// No connection came about.
    Connect(ErrorKind),
    /// What lies between the stream and HTTP gave the connection up before it stood, and says why
    /// by itself: TLS.
    Layer,
    /// It ended before the response did.
    Closed,
    /// Nothing moved for too long.
    TimedOut,
    /// The response's head did not end in time: [`Config::head`].
    HeadTimedOut,
    /// All of it took too long: [`Config::exchange`].
    ExchangeTimedOut,
    /// Too many others wait for a connection: [`Config::waiting`].
    Crowded,
    /// The server sent what is no response.
    Malformed(Malformed),
    /// Interim responses without end, or a protocol that was not asked for.
    Unexpected(u16),
    /// The proxy lets nobody through to the server: the status that it answered with; 0 when what
    /// it sent is no response.
    Tunnel(u16),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Connect(kind) => write!(f, "could not connect: {kind}"),
            Failure::Layer => f.write_str("no secure connection came about"),
            Failure::Closed => f.write_str("the connection ended before the response did"),
            Failure::TimedOut => f.write_str("timed out"),
            Failure::HeadTimedOut => f.write_str("the response's head did not come in time"),
            Failure::ExchangeTimedOut => f.write_str("the exchange took too long"),
            Failure::Crowded => f.write_str("too many requests wait for a connection"),
            Failure::Malformed(why) => write!(f, "not a response: {why}"),
            Failure::Unexpected(status) => write!(f, "an unexpected response {status}"),
            Failure::Tunnel(0) => f.write_str("the proxy's answer is none of HTTP"),
            Failure::Tunnel(status) => write!(f, "the proxy opens no tunnel: it answered {status}"),
        }
    }
}

impl std::error::Error for Failure {}

impl Failure {
    /// Of a connection that never stood.
    fn before(why: Close) -> Failure {
        match why {
            Close::Layer => Failure::Layer,
            Close::TimedOut => Failure::Connect(ErrorKind::TimedOut),
            why => Failure::Connect(why.dial_error().unwrap_or(ErrorKind::ConnectionReset)),
        }
    }
}

/// Whom a connection leads to.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Peer {
    /// Where.
    pub at: Address,
    /// Who it has to prove to be, to what was set by [`Client::layer`]; without it nothing lies
    /// between the stream and HTTP.
    pub name: Option<Arc<str>>,
    /// What the proxy at that address is to be asked for first; what was set by
    /// [`Client::layer`] does so, by [`Through`].
    pub through: Option<Arc<Tunnel>>,
}

impl From<Address> for Peer {
    fn from(at: Address) -> Peer {
        Peer { at, name: None, through: None }
    }
}

impl From<SocketAddr> for Peer {
    fn from(at: SocketAddr) -> Peer {
        Address::from(at).into()
    }
}

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
    /// That one, or the last that did.
    carrier: Option<Id>,
    to: Peer,
    /// The encoded head: the request's, until the response's takes its place.
    head: Vec<u8>,
    fields: Fields,
    /// Those of the client: what was taken within them is read again within them.
    limits: Limits,
    body: Body,
    up: Pipe,
    down: Pipe,
    /// What ends a chunked request with trailers, encoded.
    last_chunk: Vec<u8>,
    /// The trailer section of the response.
    trailers: Vec<u8>,
    /// Heads of interim responses that nobody has looked at yet.
    interim: Vec<u8>,
    framing: Option<Framing>,
    failure: Option<Failure>,
    head_only: bool,
    connects: bool,
    /// An upgrade was offered.
    offers: bool,
    /// The connection is the owner's.
    tunnel: bool,
    /// The body waits for `100 Continue`.
    expects: bool,
    idempotent: bool,
    retried: bool,
    over: bool,
    /// What ends it when it takes too long.
    alarm: Option<CallKey>,
}

impl Exchange {
    /// The response's head, once it is there.
    pub fn response(&mut self) -> Option<Response<'_>> {
        self.framing?;
        let (seen, fields) = (&mut Progress::new(), &mut self.fields);
        let parsed = parse_response(&self.head, seen, fields, &self.limits);
        parsed.ok().flatten().map(|(response, _)| response)
    }

    /// Hands over the interim responses (100, 102, 103; RFC 9110 §15.2) that came since the last
    /// call, in their order. All of them together may be as long as one head.
    pub fn interim(&mut self, mut take: impl FnMut(Response<'_>)) {
        let (fields, mut rest) = (&mut self.fields, &self.interim[..]);
        while let Ok(Some((response, n))) =
            parse_response(rest, &mut Progress::new(), fields, &self.limits)
        {
            take(response);
            rest = &rest[n..];
        }
        self.interim.clear();
    }

    /// Whether the connection is the owner's now: a 2xx to `CONNECT`, or 101 to an upgrade that
    /// was offered with [`Connection::Upgrade`](encode::Connection::Upgrade). What is written from
    /// here on goes out as it is, and [`Client::finish`] ends that side alone.
    #[must_use]
    pub fn is_tunnel(&self) -> bool {
        self.tunnel
    }

    /// How the response's body ends, once its head is there.
    #[must_use]
    pub fn body(&self) -> Option<Body> {
        self.framing.map(|f| f.body)
    }

    /// Hands over what came of the response's body, unless the taker is full, and lets the
    /// connection go on reading.
    pub fn pull<R>(&mut self, calls: &mut Calls, ready: Flow, take: impl FnOnce(&[u8]) -> R) {
        if self.down.pull(ready, take)
            && let Some(wire) = self.wire
        {
            calls.wake(wire);
        }
    }

    /// The response is complete, and all of its body was pulled. Of a tunnel: the server has ended
    /// its side.
    #[must_use]
    pub fn done(&self) -> bool {
        self.over && self.down.is_empty()
    }

    /// The response's trailers, once it is complete; those that must not be any are left out
    /// (RFC 9110 §6.5.1).
    pub fn trailers(&mut self) -> Option<Headers<'_>> {
        let (section, fields) = (&self.trailers[..], &mut self.fields);
        self.over.then(|| parse_trailers(section, fields, &self.limits).ok()).flatten()
    }

    /// Why there will be no complete response.
    #[must_use]
    pub fn failure(&self) -> Option<Failure> {
        self.failure
    }

    /// The connection that carries it, or the last that did: what a tracer calls it.
    #[must_use]
    pub fn connection(&self) -> Option<Id> {
        self.carrier
    }

    fn method(&self) -> Method<'static> {
        match (self.head_only, self.connects) {
            (true, _) => Method::Head,
            (_, true) => Method::Connect,
            _ => Method::Get,
        }
    }
}

/// A handle to a client: copy it into whoever asks.
#[derive(Clone, Copy)]
pub struct Client {
    pool: Key<Pool>,
}

impl Client {
    /// Adds a client to a loop.
    pub fn new<W: Streams>(lp: &mut Loop<W>) -> Client {
        Client::with_config(lp, Config::default())
    }

    /// Adds a client with its limits and deadlines.
    pub fn with_config<W: Streams>(lp: &mut Loop<W>, config: Config) -> Client {
        let pool = lp.env.shared.add(Pool::new(config));
        let wires = loopwork_tcp::add(lp, |_| Wire { pool, fields: Fields::new() });
        lp.env.shared.get(pool).plain = Some(wires);
        // Its tickets do.
        loopwork_tcp::hold(lp, wires, false);
        Client { pool }
    }

    /// The host of its connections to peers without a name, to ask the kernel about them.
    pub fn host(&self, env: &mut Env) -> Option<Handle<Host<Wire>>> {
        env.shared.get(self.pool).plain
    }

    /// The protocol beneath, for a host of its own that puts a layer around it.
    #[must_use]
    pub fn wire(&self) -> Wire {
        Wire { pool: self.pool, fields: Fields::new() }
    }

    /// How connections are dialed to peers that have a [name](Peer::name): `dial` adds to what it
    /// is given the layer's own, and sends it to the host of that layer, which has a
    /// [`wire`](Client::wire) inside; or it gives the connection back, and says why it cannot. A
    /// peer without a name has none [to go through](Peer::through), either.
    pub fn layer<F>(&self, env: &mut Env, dial: F)
    where
        F: Fn(&mut Env, Dial<WireConn>, &Peer) -> Result<(), (ErrorKind, Box<WireConn>)> + 'static,
    {
        env.shared.get(self.pool).layered = Some(Rc::new(dial));
    }

    /// Ends the connections that carry nothing, and each of the others behind what it carries. What
    /// is asked from here on has a connection of its own, which ends as well.
    pub fn close(&self, env: &mut Env) {
        for id in env.shared.get(self.pool).close() {
            env.wake(id);
        }
    }

    /// Addresses that this client does not connect to, whoever asks it to.
    pub fn block_outbound<'l, W: Streams>(&self, lp: &'l mut Loop<W>) -> &'l mut BlockList {
        &mut lp.env.shared.get(self.pool).block
    }

    /// Sends a request to `to`, and wakes `owner` as it goes on. The ticket has to be
    /// [released](Client::release), whatever comes of it.
    ///
    /// # Errors
    /// A head that cannot be sent: nothing was begun then.
    pub fn request<I, N, V>(
        &self,
        env: &mut Env,
        to: impl Into<Peer>,
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
        let mut expects = false;
        let headers = headers.into_iter().inspect(|(name, value)| {
            expects |= name.as_ref().eq_ignore_ascii_case(b"expect")
                && value.as_ref().eq_ignore_ascii_case(b"100-continue");
        });
        if let Err(why) = encode::request_head(&mut bytes, head, headers) {
            env.pool.give(bytes);
            return Err(why);
        }
        let (to, birth, method) = (to.into(), env.calls.birth(), Method::new(head.method));
        let (up, down) = (Pipe::new(env.pool.take()), Pipe::new(env.pool.take()));
        let pool = env.shared.get(self.pool);
        let limits = pool.config.limits;
        let slot = pool.exchanges.insert(Exchange {
            birth,
            owner,
            wire: None,
            carrier: None,
            to: to.clone(),
            head: bytes,
            fields: Fields::new(),
            limits,
            body: head.body,
            up,
            down,
            last_chunk: Vec::new(),
            trailers: Vec::new(),
            interim: Vec::new(),
            framing: None,
            failure: None,
            head_only: method == Method::Head,
            connects: method == Method::Connect,
            offers: head.connection == encode::Connection::Upgrade,
            tunnel: false,
            expects,
            idempotent: method.is_idempotent() && matches!(head.body, Body::None | Body::Length(0)),
            retried: false,
            over: false,
            alarm: None,
        });
        let ticket = Ticket { slot: slot as u32, birth };
        let time = pool.config.exchange;
        if pool.ask(&mut env.calls, &to, ticket) {
            wire::dial(env, self.pool, to);
        }
        env.calls.hold();
        if let Some(time) = time {
            let client = *self;
            let alarm = env.after(time, move |env| client.expire(env, ticket));
            if let Some(x) = env.shared.get(self.pool).get(ticket) {
                x.alarm = Some(alarm);
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
        // Without trailers there is nothing that could be refused.
        let _ = self.finish_with(env, t, encode::NO_HEADERS);
    }

    /// As [`finish`](Client::finish), with trailers behind the chunks. They are dropped where
    /// there are no chunks.
    ///
    /// # Errors
    /// A trailer that may not be one (RFC 9110 §6.5.1): the body has not ended then.
    pub fn finish_with<I, N, V>(&self, env: &mut Env, t: Ticket, trailers: I) -> Result<(), Invalid>
    where
        I: IntoIterator<Item = (N, V)>,
        N: AsRef<[u8]>,
        V: AsRef<[u8]>,
    {
        let Some(x) = env.shared.get(self.pool).get(t) else { return Ok(()) };
        let mut trailers = trailers.into_iter().peekable();
        if trailers.peek().is_some() {
            encode::last_chunk(&mut x.last_chunk, trailers)?;
        }
        x.up.end();
        if let Some(wire) = x.wire {
            env.calls.wake(wire);
        }
        Ok(())
    }

    /// An exchange took too long: it fails, if it is not over.
    fn expire(&self, env: &mut Env, t: Ticket) {
        let pool = env.shared.get(self.pool);
        let Some(x) = pool.get(t) else { return };
        x.alarm = None;
        if x.over || x.failure.is_some() {
            return;
        }
        x.failure = Some(Failure::ExchangeTimedOut);
        env.calls.wake(x.owner);
        match x.wire {
            // It sees that, and gives up.
            Some(wire) => env.calls.wake(wire),
            None => {
                let to = x.to.clone();
                pool.forget(&to, t);
            }
        }
    }

    /// Lets go of an exchange. If it was not complete its connection is given up.
    pub fn release(&self, env: &mut Env, t: Ticket) {
        let pool = env.shared.get(self.pool);
        if pool.get(t).is_none() {
            return;
        }
        let x = pool.exchanges.remove(t.slot as usize);
        match x.wire {
            // It finds its exchange gone, and gives up.
            Some(wire) => env.calls.wake(wire),
            None => pool.forget(&x.to, t),
        }
        env.calls.release();
        if let Some(alarm) = x.alarm {
            env.calls.cancel(alarm);
        }
        for buffer in [x.head, x.up.into_buffer(), x.down.into_buffer()] {
            env.pool.give(buffer);
        }
    }
}
