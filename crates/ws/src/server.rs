//! The server's side of the handshake (RFC 6455 §4.2).
//!
//! Rules of this file:
//! * What is wrong with a request is told by a status, and the application is not asked.
//! * The application is asked while the head of the answer is being written, and if it refuses
//!   nothing of that head is sent.

use crate::App;
use crate::codec::Agreed;
use crate::conn::{Conn, Ws};
use crate::core::extension::NotExtensions;
use crate::core::handshake::{self, Refusal, VERSION, choose_protocol};
use crate::core::{Role, Terms};
use crate::socket::{Link, Stage};
use loopwork_http::core::{Invalid, Request, Version, encode};
use loopwork_http::tcp::reactor::{Env, Id};
use loopwork_http::tcp::{Io, Out};
use loopwork_http::{Offer, Upgrade};

const PROTOCOL: &str = "Sec-WebSocket-Protocol";
const EXTENSIONS: &str = "Sec-WebSocket-Extensions";

/// An answer to a request for a WebSocket, while the application makes up its mind.
pub struct Handshake<'a> {
    /// The connection, for whoever wants to wake it.
    pub id: Id,
    /// The rest of what a callback may reach.
    pub env: &'a mut Env,
    out: Out<'a>,
    request: Request<'a>,
    chosen: bool,
}

impl Handshake<'_> {
    /// Chooses a subprotocol: the first of the client's that is among these, and says so in the
    /// answer. `None`, and nothing is said, if there is none.
    ///
    /// # Panics
    /// When asked a second time.
    pub fn protocol<'s>(&mut self, supported: &[&'s str]) -> Option<&'s str> {
        assert!(!self.chosen, "one choice of a subprotocol");
        self.chosen = true;
        // What was offered is well-formed: that was checked before.
        let name = choose_protocol(self.request.headers.get_all(PROTOCOL), supported).ok()??;
        encode::header(self.out.buffer(), PROTOCOL, name).ok()?;
        Some(name)
    }

    /// Adds a header to the answer.
    ///
    /// # Errors
    /// A name or value that cannot be sent, and [`Invalid::FramingHeader`] for the headers of the
    /// handshake itself; nothing was added then.
    pub fn header(&mut self, name: &str, value: &str) -> Result<(), Invalid> {
        if is_own_header(name) {
            return Err(Invalid::FramingHeader);
        }
        encode::header(self.out.buffer(), name, value)
    }
}

/// Headers that the handshake writes, or that would promise what nobody keeps.
pub(crate) fn is_own_header(name: &str) -> bool {
    const OWN: &str = "sec-websocket-";
    name.eq_ignore_ascii_case("upgrade")
        || name.get(..OWN.len()).is_some_and(|start| start.eq_ignore_ascii_case(OWN))
        || encode::is_framing_header(name.as_bytes(), true)
}

/// Whether someone meant to ask for a WebSocket, well or badly.
fn is_meant(request: &Request<'_>) -> bool {
    let headers = &request.headers;
    headers.has_token("Upgrade", "websocket")
        || headers.contains("Sec-WebSocket-Key")
        || headers.contains("Sec-WebSocket-Version")
}

impl<A: App> Ws<A> {
    /// What is agreed to of permessage-deflate. Where nothing is, the list has to be one, too.
    fn agree(&self, request: &Request<'_>) -> Result<Option<Terms>, NotExtensions> {
        let agreed = self.config.deflate.unwrap_or_default();
        let agreed = agreed.accept(request.headers.get_all(EXTENSIONS))?;
        Ok(agreed.filter(|_| self.config.deflate.is_some()))
    }
}

impl<A: App> Upgrade for Ws<A> {
    fn offer(&mut self, request: &Request<'_>, io: &mut Io<'_>) -> Offer<Self::Conn> {
        if !is_meant(request) || !self.app.wants(request) {
            return Offer::Pass;
        }
        let headers = &request.headers;
        let modern = request.version >= Version::Http11;
        let checked = handshake::check_request(request.method.as_str(), modern, headers.iter())
            .and_then(|key| choose_protocol(headers.get_all(PROTOCOL), &[]).map(|_| key));
        let checked = checked.and_then(|key| {
            let terms = self.agree(request).map_err(|_| Refusal::Extensions)?;
            Ok((key, terms))
        });
        let (key, terms) = match checked {
            Ok(checked) => checked,
            Err(why) => {
                let version: &[_] = &[("Sec-WebSocket-Version", VERSION)];
                let headers = if why.status() == 426 { version } else { &[] };
                return Offer::Refuse(why.status(), headers, why.as_str());
            }
        };
        let before = io.out.buffer().len();
        let out = io.out.buffer();
        out.extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n");
        out.extend_from_slice(b"Connection: Upgrade\r\nSec-WebSocket-Accept: ");
        out.extend_from_slice(&handshake::accept_key(key));
        out.extend_from_slice(b"\r\n");
        if let Some(terms) = terms {
            out.extend_from_slice(EXTENSIONS.as_bytes());
            out.extend_from_slice(b": ");
            terms.write(out);
            out.extend_from_slice(b"\r\n");
        }
        let Io { id, out, env, .. } = io.reborrow();
        let mut answer = Handshake { id, env, out, request: *request, chosen: false };
        let app = match self.app.on_request(request, &mut answer) {
            Offer::Accept(app) => app,
            Offer::Pass => {
                io.out.buffer().truncate(before);
                return Offer::Pass;
            }
            Offer::Refuse(status, headers, text) => {
                io.out.buffer().truncate(before);
                return Offer::Refuse(status, headers, text);
            }
        };
        io.out.buffer().extend_from_slice(b"\r\n");
        let mut link = Link::new(Role::Server, Stage::Open, None);
        link.deflate = terms.map(Agreed::new);
        let mut conn = Conn::new(link, app);
        self.open(&mut conn, io);
        Offer::Accept(conn)
    }
}
