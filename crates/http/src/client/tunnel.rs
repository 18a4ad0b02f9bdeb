//! A tunnel through an HTTP proxy (RFC 9110 §9.3.6): a layer beneath whatever is spoken with the
//! server at its other end, which is TLS.
//!
//! Rules of this file:
//! * Until the proxy has said yes, nothing of the inside is sent; from then on, and where there is
//!   no proxy, nothing is done here.
//! * What the proxy says instead is its own word and not the server's: the connection is given up,
//!   and the exchange told by [`Failure::Tunnel`](super::Failure::Tunnel).

use crate::Url;
use crate::core::{Fields, Limits, Progress, parse_response};
use loopwork_tcp::reactor::{Address, Env, Id};
use loopwork_tcp::{Close, Io, Protocol, Refusal};
use std::collections::BTreeMap;
use std::fmt;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// How long a proxy may take for its answer: it has to look a name up and to connect, for which
/// systems try a minute or two; nobody waits so long for a page.
pub const ANSWER: Duration = Duration::from_secs(30);

/// What a proxy is asked for. Control characters are not sent to it: they could end a line.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Tunnel {
    /// `HOST:PORT` of the server.
    pub target: String,
    /// The value of `Proxy-Authorization` (RFC 9110 §11.7.2).
    pub authorization: Option<String>,
}

impl fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secret = self.authorization.as_ref().map(|_| "…");
        f.debug_struct("Tunnel")
            .field("target", &self.target)
            .field("authorization", &secret)
            .finish()
    }
}

impl Tunnel {
    /// To the server of this URL; `authorization` is for the proxy.
    #[must_use]
    pub fn to(url: &Url, authorization: Option<String>) -> Arc<Tunnel> {
        let target = format!("{}:{}", url.host, url.port);
        Arc::new(Tunnel { target, authorization })
    }

    fn request(&self, out: &mut Vec<u8>) {
        let clean = |text: &str| text.chars().filter(|c| !c.is_control()).collect::<String>();
        let target = clean(&self.target);
        out.extend_from_slice(
            format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n").as_bytes(),
        );
        if let Some(value) = &self.authorization {
            let line = format!("Proxy-Authorization: {}\r\n", clean(value));
            out.extend_from_slice(line.as_bytes());
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// A tunnel around a protocol of streams, for those of its connections that need one; for clients
/// alone.
pub struct Through<P> {
    /// The protocol inside.
    pub inner: P,
    fields: Fields,
}

impl<P> Through<P> {
    /// Around this.
    pub fn new(inner: P) -> Self {
        Through { inner, fields: Fields::new() }
    }
}

/// A connection, through a tunnel or not.
pub struct ThroughConn<C> {
    /// Until it stands; `None` also where there is none.
    asked: Option<Arc<Tunnel>>,
    progress: Progress,
    inner: C,
}

impl<C> ThroughConn<C> {
    /// The state of one to be dialed: to the proxy, or without a tunnel to the server itself.
    pub fn new(tunnel: Option<Arc<Tunnel>>, inner: C) -> Self {
        ThroughConn { asked: tunnel, progress: Progress::default(), inner }
    }
}

/// What proxies answered that let nobody through; taken away by whoever is told of the end.
#[derive(Default)]
pub(super) struct Refusals(pub(super) BTreeMap<Id, u16>);

impl<P: Protocol> Protocol for Through<P> {
    type Conn = ThroughConn<P::Conn>;

    fn on_drop(&mut self, env: &mut Env, peer: &Address, why: Refusal) {
        self.inner.on_drop(env, peer, why);
    }

    fn on_open(&mut self, c: &mut Self::Conn, io: &mut Io<'_>) {
        match &c.asked {
            None => self.inner.on_open(&mut c.inner, io),
            Some(tunnel) => {
                tunnel.request(io.out.buffer());
                io.set_deadline(Some(io.env.now.after(ANSWER)));
            }
        }
    }

    fn on_data(&mut self, c: &mut Self::Conn, io: &mut Io<'_>, bytes: &mut [u8]) -> usize {
        let mut used = 0;
        while c.asked.is_some() {
            let rest = &bytes[used..];
            let parsed =
                parse_response(rest, &mut c.progress, &mut self.fields, &Limits::default());
            let (status, n) = match parsed {
                Ok(None) => return used,
                Ok(Some((response, n))) => (response.status, n),
                // No answer of HTTP at all.
                Err(_) => (0, 0),
            };
            used += n;
            c.progress = Progress::default();
            match status {
                100 | 102..=199 => {}
                // Whatever length it names, there is none (RFC 9110 §9.3.6).
                200..=299 => {
                    c.asked = None;
                    io.set_deadline(None);
                    self.inner.on_open(&mut c.inner, io);
                }
                status => {
                    let id = io.id;
                    io.env.shared.one::<Refusals>().0.insert(id, status);
                    io.abort(Close::Layer);
                    return bytes.len();
                }
            }
        }
        match &mut bytes[used..] {
            [] => used,
            rest => used + self.inner.on_data(&mut c.inner, io, rest),
        }
    }

    fn keeps(&self, c: &Self::Conn, env: &mut Env) -> usize {
        self.inner.keeps(&c.inner, env)
    }

    fn on_drain(&mut self, c: &mut Self::Conn, io: &mut Io<'_>) {
        if c.asked.is_none() {
            self.inner.on_drain(&mut c.inner, io);
        }
    }

    fn on_end(&mut self, c: &mut Self::Conn, io: &mut Io<'_>) {
        match c.asked {
            None => self.inner.on_end(&mut c.inner, io),
            Some(_) => io.abort(Close::Aborted),
        }
    }

    fn on_timeout(&mut self, c: &mut Self::Conn, io: &mut Io<'_>) {
        match c.asked {
            None => self.inner.on_timeout(&mut c.inner, io),
            Some(_) => io.abort(Close::TimedOut),
        }
    }

    fn on_wake(&mut self, c: &mut Self::Conn, io: &mut Io<'_>) {
        if c.asked.is_none() {
            self.inner.on_wake(&mut c.inner, io);
        }
    }

    fn on_shutdown(&mut self, c: &mut Self::Conn, io: &mut Io<'_>) {
        match c.asked {
            None => self.inner.on_shutdown(&mut c.inner, io),
            Some(_) => io.abort(Close::Aborted),
        }
    }

    fn on_close(&mut self, c: Self::Conn, id: Id, env: &mut Env, why: Close) {
        self.inner.on_close(c.inner, id, env, why);
        env.shared.one::<Refusals>().0.remove(&id);
    }

    fn on_dial_failed(
        &mut self,
        c: &mut Self::Conn,
        env: &mut Env,
        tried: &[(SocketAddr, ErrorKind)],
    ) {
        self.inner.on_dial_failed(&mut c.inner, env, tried);
    }
}
