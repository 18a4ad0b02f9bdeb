//! WebSocket (RFC 6455) as a bench speaks it: a message over and over, and each message that comes
//! back as the answer to the oldest one that is out.
//!
//! Rules of this file:
//! * The message is framed and masked once. An echo is known by its head, which is compared, and
//!   its payload is counted and not looked at; what else comes is framed as the RFC says.
//! * No extension is offered: compression would be what is measured.

use super::http;
use super::load::{Bad, Heard, Speech};
use crate::common::{Fail, parsed, text};
use clap::ArgMatches;
use loopwork::http::Url;
use loopwork::http::core::encode::{self, Connection, RequestHead};
use loopwork::http::core::{Body, Fields, Limits, Progress, parse_response};
use loopwork::tcp::Io;
use loopwork::ws::core::frame::{self, Opcode, Role};
use loopwork::ws::core::{CloseCode, close, handshake};
use std::hash::{BuildHasher, Hasher, RandomState};

/// The longest message that `--size` makes: more than servers take.
pub(super) const SIZE_MAX: i64 = 64 * 1024 * 1024;
/// The message, if nobody says.
const SIZE: u32 = 20;
/// Bytes of messages that may be out on one connection: they stand in memory once.
const OUT_MAX: usize = 1024 * 1024 * 1024;
/// Stands in the request where each connection has its key: as long as one (§4.1).
const KEY: &str = "------------------------";

/// The handshake's request, and what an echo begins with.
#[derive(Clone)]
pub(super) struct Opening {
    request: Vec<u8>,
    /// Where the key stands in it.
    key: usize,
    echo: Vec<u8>,
    /// Bytes of an echo's payload.
    len: u64,
    mask: [u8; 4],
}

/// The message as it goes out, and the handshake before.
pub(super) fn message(
    matches: &ArgMatches,
    url: &Url,
    depth: usize,
) -> Result<(Vec<u8>, Opening), Fail> {
    if text(matches, "request").is_some() {
        return Err(Fail::usage("-X is for http://; a WebSocket always begins with GET"));
    }
    let size = parsed::<u32>(matches, "size").unwrap_or(SIZE);
    let payload = match http::body(matches)? {
        Some(body) => body,
        None => (0..size).map(|i| b'a' + (i % 26) as u8).collect(),
    };
    if payload.len().saturating_mul(depth) > OUT_MAX {
        return Err(Fail::usage("so much is not sent at once: take a smaller --depth"));
    }
    let kind = if std::str::from_utf8(&payload).is_ok() { Opcode::Text } else { Opcode::Binary };
    // One that nobody can foresee (§5.3), of the randomness that the standard library has.
    let [a, b, c, d, ..] = RandomState::new().build_hasher().finish().to_ne_bytes();
    let (mut message, mut echo, mask) = (Vec::new(), Vec::new(), [a, b, c, d]);
    frame::encode(&mut message, kind, &payload, Some(mask));
    frame::encode_header(&mut echo, true, kind, false, payload.len() as u64, None);
    let (request, key) = request(matches, url)?;
    Ok((message, Opening { request, key, echo, len: payload.len() as u64, mask }))
}

/// The request, and where its key is to stand.
fn request(matches: &ArgMatches, url: &Url) -> Result<(Vec<u8>, usize), Fail> {
    let (host, mut headers) = http::headers(matches, url)?;
    let own = |(name, _): &(String, String)| {
        name.eq_ignore_ascii_case("upgrade") || name.to_ascii_lowercase().starts_with("sec-websock")
    };
    if let Some((name, _)) = headers.iter().find(|header| own(header)) {
        return Err(Fail::usage(format!("{name} is for the handshake to say; check -H")));
    }
    let ours = [
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", handshake::VERSION),
        ("Sec-WebSocket-Key", KEY),
    ];
    // First, so that nothing of a user's can stand where the key is looked for.
    headers.splice(0..0, ours.map(|(name, value)| (name.to_string(), value.to_string())));
    let head = RequestHead {
        method: "GET",
        target: &url.target,
        host: &host,
        body: Body::None,
        connection: Connection::Upgrade,
    };
    let mut bytes = Vec::new();
    encode::request_head(&mut bytes, &head, headers).map_err(|why| {
        Fail::usage(format!("the handshake cannot be sent: {why}; check the URL and -H"))
    })?;
    const NAME: &[u8] = b"\r\nSec-WebSocket-Key: ";
    let at = bytes.windows(NAME.len()).position(|part| part == NAME);
    let key = at.ok_or_else(|| Fail::failed("the handshake has no key"))? + NAME.len();
    Ok((bytes, key))
}

/// Where one connection stands.
pub(super) enum Conn {
    /// In the handshake.
    Opening { key: [u8; KEY.len()], progress: Progress },
    /// Between frames, or so many bytes before the end of one.
    Open {
        left: u64,
        /// The message ends with this frame.
        fin: bool,
        /// The next data frame goes on with a message.
        inside: bool,
    },
}

/// Between messages.
const OPEN: Conn = Conn::Open { left: 0, fin: true, inside: false };

/// What all connections have in common.
pub(super) struct WebSocket {
    opening: Opening,
    fields: Fields,
    limits: Limits,
}

impl WebSocket {
    pub(super) fn new(opening: Opening) -> WebSocket {
        WebSocket { opening, fields: Fields::new(), limits: Limits::default() }
    }

    /// The answer to the handshake.
    fn answer(&mut self, c: &mut Conn, bytes: &[u8]) -> Result<(usize, Heard), Bad> {
        let Conn::Opening { key, progress } = c else { return Err(Bad) };
        let parsed = parse_response(bytes, progress, &mut self.fields, &self.limits);
        let Some((response, used)) = parsed.map_err(|_| Bad)? else {
            return Ok((0, Heard::Part));
        };
        if matches!(response.status, 100 | 102..=199) {
            return Ok((used, Heard::Part));
        }
        let key = std::str::from_utf8(key).unwrap_or_default();
        let headers = response.headers.iter();
        let checked = handshake::check_response(response.status, headers, key, &[], None);
        checked.map_err(|_| Bad)?;
        *c = OPEN;
        Ok((used, Heard::Ready))
    }

    /// A frame that is not the beginning of an echo.
    fn frame(&self, c: &mut Conn, io: &mut Io<'_>, bytes: &[u8]) -> Result<(usize, Heard), Bad> {
        let Conn::Open { left, fin, inside } = c else { return Err(Bad) };
        let header = frame::parse_header(bytes, Role::Client, false).map_err(|_| Bad)?;
        let Some((header, head)) = header else { return Ok((0, Heard::Part)) };
        if !header.opcode.is_control() {
            // §5.4: a message goes on with continuations, and with nothing else.
            if *inside != (header.opcode == Opcode::Continuation) {
                return Err(Bad);
            }
            (*left, *fin, *inside) = (header.len, header.fin, !header.fin);
            let whole = header.len == 0 && header.fin;
            return Ok((head, if whole { Heard::Answer(None) } else { Heard::Part }));
        }
        // 125 bytes at most.
        let end = head + header.len as usize;
        let Some(payload) = bytes.get(head..end) else { return Ok((0, Heard::Part)) };
        let mask = Some(self.opening.mask);
        match header.opcode {
            Opcode::Ping => frame::encode(io.out.buffer(), Opcode::Pong, payload, mask),
            Opcode::Close => {
                frame::encode(io.out.buffer(), Opcode::Close, payload, mask);
                return Ok((end, Heard::Over));
            }
            _ => {}
        }
        Ok((end, Heard::Part))
    }
}

impl Speech for WebSocket {
    type Conn = Conn;

    fn begin() -> Conn {
        Conn::Opening { key: [0; KEY.len()], progress: Progress::new() }
    }

    fn open(&mut self, c: &mut Conn, io: &mut Io<'_>) -> bool {
        // What comes back is read while a long message goes out.
        io.read_when_full(true);
        let mut random = [0; 16];
        io.env.random(&mut random);
        let own = handshake::make_key(random);
        if let Conn::Opening { key, .. } = c {
            *key = own;
        }
        let at = self.opening.key;
        self.opening.request[at..at + own.len()].copy_from_slice(&own);
        let _ = io.write(&self.opening.request);
        false
    }

    fn hear(&mut self, c: &mut Conn, io: &mut Io<'_>, bytes: &[u8]) -> Result<(usize, Heard), Bad> {
        let taken = match c {
            Conn::Opening { .. } => return self.answer(c, bytes),
            Conn::Open { left: 0, inside: false, .. } if bytes.starts_with(&self.opening.echo) => {
                let (head, len) = (self.opening.echo.len(), self.opening.len);
                let body = len.min((bytes.len() - head) as u64);
                *c = Conn::Open { left: len - body, fin: true, inside: false };
                head as u64 + body
            }
            Conn::Open { left: 0, .. } => return self.frame(c, io, bytes),
            Conn::Open { left, .. } => {
                let taken = (*left).min(bytes.len() as u64);
                *left -= taken;
                taken
            }
        };
        let whole = matches!(c, Conn::Open { left: 0, fin: true, .. });
        Ok((taken as usize, if whole { Heard::Answer(None) } else { Heard::Part }))
    }

    fn ended(&mut self, _: &mut Conn) -> Option<u16> {
        None
    }

    fn keeps(&self, _: &Conn) -> bool {
        true
    }

    fn begun(&self, c: &Conn) -> bool {
        matches!(c, Conn::Open { left: 1.., .. } | Conn::Open { inside: true, .. })
    }

    fn bye(&mut self, io: &mut Io<'_>) {
        close::encode(io.out.buffer(), CloseCode::NORMAL, "", Some(self.opening.mask));
    }
}
