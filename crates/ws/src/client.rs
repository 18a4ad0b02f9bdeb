//! The client's side of the handshake (RFC 6455 §4.1).
//!
//! Rules of this file:
//! * The request is encoded when it is dialed, so that what is wrong with it is told there.
//! * The answer is bounded, in bytes and in time, and nothing of it is believed before all of it
//!   was checked. Bytes behind it are the first frames.

use crate::codec::Agreed;
use crate::conn::{Conn, Ws};
use crate::core::handshake::{self, BadAnswer, MAX_PROTOCOLS, VERSION};
use crate::core::{Role, Terms};
use crate::server::is_own_header;
use crate::socket::{Extra, Link, Stage};
use crate::{App, Failure};
use loopwork_http::core::encode::{self, Connection, RequestHead};
use loopwork_http::core::{Body, Invalid, Progress, parse_response};
use loopwork_http::tcp::reactor::{Address, Env, Handle};
use loopwork_http::tcp::{self, Close, Host, Io};
use std::net::SocketAddr;

/// Interim responses (1xx) before the answer: nobody sends more than a few.
const INTERIM_MAX: u8 = 16;

/// What a client asks for.
#[derive(Clone, Copy, Debug)]
pub struct Open<'a> {
    /// The value of `Host`: a name or an address, with the port if it is not the scheme's.
    pub host: &'a str,
    /// Path and query, percent-encoded: `/chat?room=1`.
    pub target: &'a str,
    /// Subprotocols, the preferred one first; up to 32, all different.
    pub protocols: &'a [&'a str],
    /// Headers of one's own: `Origin`, `Authorization`, `Cookie`.
    pub headers: &'a [(&'a str, &'a str)],
    /// permessage-deflate (RFC 7692), as it is offered; `None`: it is not.
    pub deflate: Option<Terms>,
}

/// A handshake under way.
#[derive(Debug)]
pub(crate) struct Opening {
    request: Vec<u8>,
    protocols: Vec<String>,
    key: [u8; 24],
    deflate: Option<Terms>,
    progress: Progress,
    interim: u8,
}

/// Dials a server: `on_open` when it has answered, `on_close` when it has not, or not well.
///
/// # Errors
/// What cannot be sent; nothing is dialed then. A list of subprotocols with a name that is none,
/// or is there twice, is an [`Invalid::HeaderValue`].
pub fn dial<A: App>(
    env: &mut Env,
    ws: Handle<Host<Ws<A>>>,
    to: impl Into<Address>,
    open: &Open<'_>,
    conn: A::Conn,
) -> Result<(), Invalid> {
    let conn = Conn::client(env, open, conn)?;
    tcp::dial(env, ws, to, conn);
    Ok(())
}

/// As [`dial`], to the first of several addresses that answers; see [`tcp::dial_any`].
///
/// # Errors
/// As [`dial`].
pub fn dial_any<A: App>(
    env: &mut Env,
    ws: Handle<Host<Ws<A>>>,
    to: Vec<SocketAddr>,
    open: &Open<'_>,
    conn: A::Conn,
) -> Result<(), Invalid> {
    let conn = Conn::client(env, open, conn)?;
    tcp::dial_any(env, ws, to, conn);
    Ok(())
}

impl<C> Conn<C> {
    /// The state of a connection that is to be dialed by other means than [`dial`]: through TLS,
    /// or from an address of one's own.
    ///
    /// # Errors
    /// As [`dial`].
    pub fn client(env: &mut Env, open: &Open<'_>, app: C) -> Result<Self, Invalid> {
        let mut random = [0; 16];
        env.random(&mut random);
        let key = handshake::make_key(random);
        let mut request = env.pool.take();
        let protocols = open.protocols.join(", ");
        let offer = (!protocols.is_empty()).then_some(("Sec-WebSocket-Protocol", &*protocols));
        let mut terms = Vec::new();
        if let Some(deflate) = open.deflate {
            deflate.offer(&mut terms);
        }
        let terms = std::str::from_utf8(&terms).unwrap_or_default();
        let extension = (!terms.is_empty()).then_some(("Sec-WebSocket-Extensions", terms));
        let own = [
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", VERSION),
            ("Sec-WebSocket-Key", std::str::from_utf8(&key).unwrap_or_default()),
        ];
        if open.headers.iter().any(|(name, _)| is_own_header(name)) {
            return Err(Invalid::FramingHeader);
        }
        let distinct = handshake::choose_protocol([protocols.as_bytes()], &[]).is_ok();
        let tokens = open.protocols.iter().all(|name| handshake::is_token(name));
        if !distinct || !tokens || open.protocols.len() > MAX_PROTOCOLS {
            return Err(Invalid::HeaderValue);
        }
        let (host, target) = (open.host, open.target);
        let connection = Connection::Upgrade;
        let head = RequestHead { method: "GET", target, host, body: Body::None, connection };
        let headers =
            own.into_iter().chain(offer).chain(extension).chain(open.headers.iter().copied());
        encode::request_head(&mut request, &head, headers)?;
        let protocols = open.protocols.iter().map(|&name| name.to_owned()).collect();
        let (deflate, progress) = (open.deflate, Progress::new());
        let opening = Opening { request, protocols, key, deflate, progress, interim: 0 };
        let extra = Some(Box::new(Extra::Opening(opening)));
        let link = Link::new(Role::Client, Stage::Opening, extra);
        Ok(Conn::new(link, app))
    }
}

impl<A: App> Ws<A> {
    /// The connection stands: the request goes out.
    pub(crate) fn ask(&mut self, c: &mut Conn<A::Conn>, io: &mut Io<'_>) {
        if let Some(Extra::Opening(opening)) = c.link.extra.as_deref_mut() {
            let request = std::mem::take(&mut opening.request);
            // The answer is what lets us write more.
            let _ = io.write(&request);
            io.env.pool.give(request);
            io.set_deadline(Some(io.env.now.after(self.config.handshake)));
        }
    }

    /// The server's answer; how many bytes it took. Behind it the stage is another.
    pub(crate) fn answer(&mut self, c: &mut Conn<A::Conn>, io: &mut Io<'_>, bytes: &[u8]) -> usize {
        let Some(Extra::Opening(opening)) = c.link.extra.as_deref_mut() else { return 0 };
        let mut used = 0;
        let outcome = loop {
            let (rest, limits) = (&bytes[used..], &self.config.head);
            let parsed = parse_response(rest, &mut opening.progress, &mut self.fields, limits);
            let (answer, n) = match parsed {
                Ok(Some(parsed)) => parsed,
                Ok(None) => return used,
                Err(why) => break Err(Failure::Malformed(why)),
            };
            used += n;
            if matches!(answer.status, 100 | 102..=199) && opening.interim < INTERIM_MAX {
                opening.interim += 1;
                continue;
            }
            let key = std::str::from_utf8(&opening.key).unwrap_or_default();
            let headers = answer.headers.iter();
            let checked = check(answer.status, headers, key, opening);
            let protocol = checked.map(|(protocol, _)| protocol);
            self.app.on_answer(&mut c.app, io.env, &answer, protocol);
            break checked.map(|(_, terms)| terms).map_err(Failure::Answer);
        };
        match outcome {
            Ok(terms) => {
                c.link.deflate = terms.map(Agreed::new);
                c.receiver.inflates(terms.is_some());
                self.open(c, io);
            }
            Err(why) => {
                c.link.fail(why);
                c.link.stage = Stage::Ended;
                io.abort(Close::Aborted);
            }
        }
        used
    }
}

/// Checks the answer against what was asked.
fn check<'a, 'o>(
    status: u16,
    headers: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    key: &str,
    opening: &'o Opening,
) -> Result<(Option<&'o str>, Option<Terms>), BadAnswer> {
    let mut names = [""; MAX_PROTOCOLS];
    for (slot, name) in names.iter_mut().zip(&opening.protocols) {
        *slot = name;
    }
    let names = names.get(..opening.protocols.len()).unwrap_or_default();
    handshake::check_response(status, headers, key, names, opening.deflate)
}
