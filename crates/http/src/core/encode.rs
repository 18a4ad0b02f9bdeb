//! The encoder: appends messages to a caller's buffer.
//!
//! Rules:
//!
//! * everything that the application gives is checked: no CR, LF or NUL gets into a head;
//! * on an error nothing was written;
//! * headers that decide where the message ends are written here and nowhere else.

use core::{num::NonZeroUsize, ops::Range};

use super::{Body, Invalid, body::is_forbidden_trailer, fields::Known, reason, scan, target};

/// For a message without headers of its own.
pub const NO_HEADERS: [(&str, &[u8]); 0] = [];

/// The interim response that asks a client for the body (RFC 9110 §15.2.1).
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Bytes that a response head of a few headers takes.
const HEAD_ROOM: usize = 256;

/// What the `Connection` header says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Connection {
    /// Nothing: in HTTP/1.1 the connection stays open.
    #[default]
    Implicit,
    /// `keep-alive`: stays open, said to a client of HTTP/1.0.
    KeepAlive,
    /// `close`: the last message.
    Close,
    /// `upgrade`: goes with an `Upgrade` header among the application's.
    Upgrade,
}

/// What a response head is made of, besides the application's headers.
#[derive(Clone, Copy, Debug)]
pub struct ResponseHead<'a> {
    /// The status code, from 100 to 999.
    pub status: u16,
    /// Another reason phrase than the standard one.
    pub reason: Option<&'a str>,
    /// The body. `Body::None` writes no header about it: that is for 1xx, 204, 2xx to CONNECT,
    /// and for HEAD and 304 when the length is not known; otherwise it is `Body::Length(0)`.
    /// `Body::UntilClose` implies `Connection: close`.
    pub body: Body,
    /// The `Connection` header.
    pub connection: Connection,
    /// The value of `Date`, which the caller formats once a second; `None` writes none, and one
    /// among the application's headers takes its place.
    pub date: Option<&'a [u8]>,
}

impl ResponseHead<'_> {
    /// A head with this status and body, without a `Date`.
    pub fn new(status: u16, body: Body) -> Self {
        Self { status, reason: None, body, connection: Connection::Implicit, date: None }
    }
}

/// What a request head is made of, besides the application's headers.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'a> {
    /// The method: any token.
    pub method: &'a str,
    /// The request target, already percent-encoded.
    pub target: &'a str,
    /// The value of `Host`.
    pub host: &'a str,
    /// The body: `None`, `Length` or `Chunked`.
    pub body: Body,
    /// The `Connection` header.
    pub connection: Connection,
}

/// Appends the head of a response, in HTTP/1.1.
///
/// # Errors
///
/// What the application gave and cannot be sent; `out` is then as it was.
pub fn response_head<I, N, V>(
    out: &mut Vec<u8>,
    head: &ResponseHead<'_>,
    headers: I,
) -> Result<(), Invalid>
where
    I: IntoIterator<Item = (N, V)>,
    N: AsRef<[u8]>,
    V: AsRef<[u8]>,
{
    let bodiless = matches!(head.status, 100..=199 | 204);
    if bodiless && head.body != Body::None {
        return Err(Invalid::Body);
    }
    // One look at the capacity for what every head has, instead of one for each piece.
    out.reserve(HEAD_ROOM);
    whole(out, |out| {
        let date = front(out, head.status, head.reason, head.date)?;
        response_headers(out, date, headers)?;
        head_end(out, head.body, head.connection);
        Ok(())
    })
}

/// Appends what stands before the application's headers: the status line, and the `Date` if one is
/// given; says where that stands.
pub(crate) fn front(
    out: &mut Vec<u8>,
    status: u16,
    reason: Option<&str>,
    date: Option<&[u8]>,
) -> Result<Range<usize>, Invalid> {
    status_line(out, status, reason)?;
    let before = out.len();
    if let Some(date) = date {
        // Its name is ours: the value alone needs a look.
        if !scan::all_value(date) {
            return Err(Invalid::HeaderValue);
        }
        line(out, b"Date", date);
    }
    Ok(before..out.len())
}

/// Appends the application's headers. A `Date` among them takes the place of that in `date`, since
/// one is enough (RFC 9110 §6.6.1), and a proxy passes on when the answer was made; says whether
/// it did.
pub(crate) fn response_headers<I, N, V>(
    out: &mut Vec<u8>,
    date: Range<usize>,
    headers: I,
) -> Result<bool, Invalid>
where
    I: IntoIterator<Item = (N, V)>,
    N: AsRef<[u8]>,
    V: AsRef<[u8]>,
{
    let dated = app_headers(out, headers, false)?;
    if dated {
        out.drain(date);
    }
    Ok(dated)
}

/// Appends the end of a head: what it says of the body and of the connection, and the empty line.
pub(crate) fn head_end(out: &mut Vec<u8>, body: Body, connection: Connection) {
    body_header(out, body);
    let closes = body == Body::UntilClose && connection != Connection::Upgrade;
    connection_header(out, if closes { Connection::Close } else { connection });
    out.extend_from_slice(b"\r\n");
}

/// Appends the head of a request, in HTTP/1.1.
///
/// # Errors
///
/// What the application gave and cannot be sent; `out` is then as it was.
pub fn request_head<I, N, V>(
    out: &mut Vec<u8>,
    head: &RequestHead<'_>,
    headers: I,
) -> Result<(), Invalid>
where
    I: IntoIterator<Item = (N, V)>,
    N: AsRef<[u8]>,
    V: AsRef<[u8]>,
{
    if head.body == Body::UntilClose {
        return Err(Invalid::Body);
    }
    whole(out, |out| {
        request_line(out, head.method, head.target)?;
        if !target::is_host(head.host.as_bytes()) {
            return Err(Invalid::Host);
        }
        line(out, b"Host", head.host.as_bytes());
        app_headers(out, headers, true)?;
        head_end(out, head.body, head.connection);
        Ok(())
    })
}

/// Takes back what was written if the writing fails.
fn whole(
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), Invalid>,
) -> Result<(), Invalid> {
    let before = out.len();
    write(out).inspect_err(|_| out.truncate(before))
}

/// Appends `status-line = HTTP-version SP status-code SP [ reason-phrase ]`, with the standard
/// phrase if none is given.
///
/// # Errors
///
/// [`Invalid::Status`], [`Invalid::Reason`].
pub fn status_line(out: &mut Vec<u8>, status: u16, phrase: Option<&str>) -> Result<(), Invalid> {
    if !matches!(status, 100..=999) {
        return Err(Invalid::Status);
    }
    let phrase = match phrase {
        Some(text) if !scan::all_value(text.as_bytes()) => return Err(Invalid::Reason),
        Some(text) => text,
        None => reason(status),
    };
    let digit = |n: u16| b'0' + (n % 10) as u8;
    let code = [digit(status / 100), digit(status / 10), digit(status)];
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(&code);
    out.push(b' ');
    out.extend_from_slice(phrase.as_bytes());
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// Appends `request-line = method SP request-target SP HTTP-version`.
///
/// # Errors
///
/// [`Invalid::Method`], [`Invalid::Target`].
pub fn request_line(out: &mut Vec<u8>, method: &str, target: &str) -> Result<(), Invalid> {
    if !scan::all_token(method.as_bytes()) {
        return Err(Invalid::Method);
    }
    if target.is_empty() || scan::target(target.as_bytes()) != target.len() {
        return Err(Invalid::Target);
    }
    for part in [method.as_bytes(), b" ", target.as_bytes(), b" HTTP/1.1\r\n"] {
        out.extend_from_slice(part);
    }
    Ok(())
}

/// Appends one header line.
///
/// # Errors
///
/// [`Invalid::HeaderName`], [`Invalid::HeaderValue`].
#[inline]
pub fn header(
    out: &mut Vec<u8>,
    name: impl AsRef<[u8]>,
    value: impl AsRef<[u8]>,
) -> Result<(), Invalid> {
    let (name, value) = (name.as_ref(), value.as_ref());
    if !scan::all_token(name) {
        return Err(Invalid::HeaderName);
    }
    if !scan::all_value(value) {
        return Err(Invalid::HeaderValue);
    }
    line(out, name, value);
    Ok(())
}

#[inline]
fn line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.reserve(name.len() + value.len() + 4);
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// The application's headers; says whether a `Date` is among them.
fn app_headers<I, N, V>(out: &mut Vec<u8>, headers: I, request: bool) -> Result<bool, Invalid>
where
    I: IntoIterator<Item = (N, V)>,
    N: AsRef<[u8]>,
    V: AsRef<[u8]>,
{
    let mut dated = false;
    for (name, value) in headers {
        if is_framing_header(name.as_ref(), request) {
            return Err(Invalid::FramingHeader);
        }
        dated |= name.as_ref().eq_ignore_ascii_case(b"date");
        header(out, name, value)?;
    }
    Ok(dated)
}

/// Is this a header that [`response_head`] or [`request_head`] writes from its arguments, and
/// refuses among the application's?
pub fn is_framing_header(name: &[u8], request: bool) -> bool {
    match Known::of(name) {
        Known::ContentLength | Known::TransferEncoding | Known::Connection => true,
        Known::Host => request,
        _ => false,
    }
}

/// Appends the header that says where the body ends: nothing for `None` and `UntilClose`.
#[inline]
pub fn body_header(out: &mut Vec<u8>, body: Body) {
    match body {
        Body::Length(length) => content_length(out, length),
        Body::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        Body::None | Body::UntilClose => {}
    }
}

/// `Content-Length = 1*DIGIT`, as a line that is written from behind and appended at once.
fn content_length(out: &mut Vec<u8>, mut length: u64) {
    const NAME: &[u8; 16] = b"Content-Length: ";
    // As many digits as u64::MAX has.
    let mut text = [0; NAME.len() + 20 + 2];
    let mut at = text.len() - 2;
    text[at..].copy_from_slice(b"\r\n");
    loop {
        at -= 1;
        text[at] = b'0' + (length % 10) as u8;
        length /= 10;
        if length == 0 {
            break;
        }
    }
    at -= NAME.len();
    text[at..at + NAME.len()].copy_from_slice(NAME);
    out.extend_from_slice(&text[at..]);
}

/// Appends the `Connection` header, if it has something to say.
#[inline]
pub fn connection_header(out: &mut Vec<u8>, connection: Connection) {
    out.extend_from_slice(match connection {
        Connection::Implicit => b"",
        Connection::KeepAlive => b"Connection: keep-alive\r\n",
        Connection::Close => b"Connection: close\r\n",
        Connection::Upgrade => b"Connection: upgrade\r\n",
    });
}

/// Appends a number in decimal.
#[inline]
pub fn decimal(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20]; // as many as u64::MAX has
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Appends a whole chunk; nothing if `data` is empty, because that would end the body.
pub fn chunk(out: &mut Vec<u8>, data: &[u8]) {
    let Some(len) = NonZeroUsize::new(data.len()) else { return };
    out.reserve(data.len() + 22);
    chunk_begin(out, len);
    out.extend_from_slice(data);
    chunk_end(out);
}

/// Appends the line before a chunk of so many bytes: `chunk-size CRLF`. The caller appends the
/// data, and then [`chunk_end`].
#[inline]
pub fn chunk_begin(out: &mut Vec<u8>, len: NonZeroUsize) {
    let mut digits = [0; 16]; // as many as u64::MAX has
    let (mut at, mut number) = (digits.len(), len.get() as u64);
    while number != 0 {
        at -= 1;
        digits[at] = b"0123456789abcdef"[(number & 15) as usize];
        number >>= 4;
    }
    out.extend_from_slice(&digits[at..]);
    out.extend_from_slice(b"\r\n");
}

/// Appends the line end behind a chunk's data.
#[inline]
pub fn chunk_end(out: &mut Vec<u8>) {
    out.extend_from_slice(b"\r\n");
}

/// Appends the last chunk, the trailers, and the empty line: the end of a chunked body.
///
/// # Errors
///
/// [`Invalid::TrailerName`] for a field that must not be a trailer (RFC 9110 §6.5.1), and what
/// [`header`] refuses; `out` is then as it was.
pub fn last_chunk<I, N, V>(out: &mut Vec<u8>, trailers: I) -> Result<(), Invalid>
where
    I: IntoIterator<Item = (N, V)>,
    N: AsRef<[u8]>,
    V: AsRef<[u8]>,
{
    whole(out, |out| {
        out.extend_from_slice(b"0\r\n");
        for (name, value) in trailers {
            if is_forbidden_trailer(name.as_ref()) {
                return Err(Invalid::TrailerName);
            }
            header(out, name, value)?;
        }
        out.extend_from_slice(b"\r\n");
        Ok(())
    })
}
