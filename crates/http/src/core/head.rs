//! The head: first line and headers (RFC 9112 §2 to §5).
//!
//! Rules:
//!
//! * the usual head comes in one piece, so the first look parses at once, in one pass;
//! * of a head in pieces each new byte is searched once ([`Progress`]), and the head is parsed
//!   again only when its first line is whole and when it is whole: three passes at the most;
//! * what is refused, and as what, does not depend on how the bytes were cut (only how soon
//!   does): a search that finds something wrong leaves it to the pass to name the first sin in
//!   the bytes' order.

use super::{
    Fields, Headers, Limits, Malformed, Method, Progress, Request, Response, Version,
    cursor::Cursor,
    fields::Known,
    limits::METHOD_BYTES,
    lines::{Stop, Summary, header_lines, line_end},
    loose::{self, Loose},
    scan,
    simd::{self, First, Lanes, Task},
    target::{self, Target},
};

/// Parses the head of a request at the start of `bytes`.
///
/// `Ok(Some((request, used)))`: `bytes[..used]` is the head, and the body follows it.
/// `Ok(None)`: more bytes are needed; call again with the same bytes and more behind them.
/// `seen` belongs to the connection; `fields` may be shared by all of them.
///
/// The target's form, `Host` and every header line are checked here; what concerns the body is
/// checked by [`Request::framing`].
///
/// # Errors
///
/// The first thing that is wrong in the bytes, as early as it can be known cheaply.
#[inline]
pub fn parse_request<'a>(
    bytes: &'a [u8],
    seen: &mut Progress,
    fields: &'a mut Fields,
    limits: &Limits,
) -> Result<Option<(Request<'a>, usize)>, Malformed> {
    if seen.is_idle() {
        return request(bytes, seen, fields, limits);
    }
    if seen.waits(bytes) {
        return Ok(None);
    }
    more_of_request(bytes, seen, fields, limits)
}

/// Longer than this a request line has a part that is too long, and the pass says which: an empty
/// line, the method, the target, two spaces, the version, CRLF.
#[inline]
pub(super) fn longest_line(limits: &Limits) -> usize {
    2 + METHOD_BYTES + limits.target_bytes as usize + 2 + VERSION.len() + 2
}

/// The same when some of the bytes were looked at before.
#[inline(never)]
fn more_of_request<'a>(
    bytes: &'a [u8],
    seen: &mut Progress,
    fields: &'a mut Fields,
    limits: &Limits,
) -> Result<Option<(Request<'a>, usize)>, Malformed> {
    if seen.search(bytes, limits, longest_line(limits)) {
        return request(bytes, seen, fields, limits);
    }
    Ok(None)
}

/// See [`parse_request`].
fn request<'a>(
    bytes: &'a [u8],
    seen: &mut Progress,
    fields: &'a mut Fields,
    limits: &Limits,
) -> Result<Option<(Request<'a>, usize)>, Malformed> {
    simd::run(bytes, limits, RequestHead { seen, fields })
}

/// A request whose head is to be parsed.
struct RequestHead<'a, 'b> {
    seen: &'b mut Progress,
    fields: &'a mut Fields,
}

impl<'a> Task<'a> for RequestHead<'a, '_> {
    type Output = Result<Option<(Request<'a>, usize)>, Malformed>;

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L, bytes: &'a [u8], limits: &Limits) -> Self::Output {
        let Self { seen, fields } = self;
        let (mut line, mut found) = (Line::EMPTY, Summary::default());
        let end = match parse(lanes, bytes, seen, fields, limits, &mut line, &mut found) {
            Ok(0) => return Ok(None),
            Ok(end) => end,
            Err(sin) => return loose_request(lanes, bytes, seen, fields, limits, sin),
        };
        made(lanes, bytes, fields, line, &found, end)
    }
}

/// A request that the strict pass has refused.
#[cold]
#[inline(never)]
fn loose_request<'a, L: Lanes>(
    lanes: L,
    bytes: &'a [u8],
    seen: &mut Progress,
    fields: &'a mut Fields,
    limits: &Limits,
    sin: Malformed,
) -> Result<Option<(Request<'a>, usize)>, Malformed> {
    let head = parse_loosely(bytes, seen, fields, limits, sin)?;
    let Some((line, found, end)) = head else { return Ok(None) };
    made(lanes, bytes, fields, line, &found, end)
}

/// What its line and its headers make of a request, whose head ends at `end`.
#[inline(always)]
fn made<'a, L: Lanes>(
    lanes: L,
    bytes: &'a [u8],
    fields: &'a Fields,
    line: Line<'a>,
    found: &Summary,
    end: usize,
) -> Result<Option<(Request<'a>, usize)>, Malformed> {
    let Line { method, target, version } = line;
    let is_path = target.starts_with('/') && !matches!(method, Method::Connect);
    let parts = match is_path {
        true => Target { authority: None, origin: target },
        false => target::parse(method, target)?,
    };
    let host = host(lanes, bytes, found, version)?;
    let host = parts.authority.map_or(host, str::as_bytes);
    let origin = (target.len() - parts.origin.len()) as u32;
    let headers = Headers::new(bytes, fields, found.known);
    Ok(Some((Request { method, target, version, headers, origin, host }, end)))
}

/// Parses the head of a response at the start of `bytes`: as [`parse_request`].
///
/// # Errors
///
/// The first thing that is wrong in the bytes, as early as it can be known cheaply.
#[inline]
pub fn parse_response<'a>(
    bytes: &'a [u8],
    seen: &mut Progress,
    fields: &'a mut Fields,
    limits: &Limits,
) -> Result<Option<(Response<'a>, usize)>, Malformed> {
    if seen.is_idle() {
        return response(bytes, seen, fields, limits);
    }
    if seen.waits(bytes) {
        return Ok(None);
    }
    more_of_response(bytes, seen, fields, limits)
}

/// The same when some of the bytes were looked at before.
#[inline(never)]
fn more_of_response<'a>(
    bytes: &'a [u8],
    seen: &mut Progress,
    fields: &'a mut Fields,
    limits: &Limits,
) -> Result<Option<(Response<'a>, usize)>, Malformed> {
    if seen.search(bytes, limits, usize::MAX) {
        return response(bytes, seen, fields, limits);
    }
    Ok(None)
}

/// See [`parse_response`].
fn response<'a>(
    bytes: &'a [u8],
    seen: &mut Progress,
    fields: &'a mut Fields,
    limits: &Limits,
) -> Result<Option<(Response<'a>, usize)>, Malformed> {
    simd::run(bytes, limits, ResponseHead { seen, fields })
}

/// A response whose head is to be parsed.
struct ResponseHead<'a, 'b> {
    seen: &'b mut Progress,
    fields: &'a mut Fields,
}

impl<'a> Task<'a> for ResponseHead<'a, '_> {
    type Output = Result<Option<(Response<'a>, usize)>, Malformed>;

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L, bytes: &'a [u8], limits: &Limits) -> Self::Output {
        let Self { seen, fields } = self;
        let (mut line, mut found) = (Status::EMPTY, Summary::default());
        let end = match parse(lanes, bytes, seen, fields, limits, &mut line, &mut found) {
            Ok(0) => return Ok(None),
            Ok(end) => end,
            Err(sin) => match parse_loosely(bytes, seen, fields, limits, sin)? {
                None => return Ok(None),
                Some(head) => {
                    (line, found) = (head.0, head.1);
                    head.2
                }
            },
        };
        let Status { version, status, reason } = line;
        let headers = Headers::new(bytes, fields, found.known);
        Ok(Some((Response { version, status, reason, headers }, end)))
    }
}

/// The pass, and what becomes of the progress: gives where the head ends, or 0 if it does not.
#[inline(always)]
fn parse<'a, L: Lanes, F: FirstLine<'a>>(
    lanes: L,
    bytes: &'a [u8],
    seen: &mut Progress,
    fields: &mut Fields,
    limits: &Limits,
    line: &mut F,
    found: &mut Summary,
) -> Result<usize, Malformed> {
    let room = limits.head_bytes as usize;
    let head = &bytes[..bytes.len().min(room)];
    let stop = match pass(lanes, head, fields, limits, &mut seen.first_line, line, found) {
        Ok(end) => {
            *seen = Progress::new();
            return Ok(end);
        }
        Err(stop) => stop,
    };
    seen.stopped(stop, head.len(), room)
}

/// A head that the strict pass refused for `sin`, read as loosely as the limits say.
#[cold]
fn parse_loosely<'a, F: Loose<'a>>(
    bytes: &'a [u8],
    seen: &mut Progress,
    fields: &mut Fields,
    limits: &Limits,
    sin: Malformed,
) -> Result<Option<loose::Head<F>>, Malformed> {
    if !limits.lenient.in_heads() {
        return Err(sin);
    }
    let room = limits.head_bytes as usize;
    let head = &bytes[..bytes.len().min(room)];
    match loose::head(head, fields, limits, &mut seen.first_line, sin) {
        Ok(head) => {
            *seen = Progress::new();
            Ok(Some(head))
        }
        Err(stop) => seen.stopped(stop, head.len(), room).map(|_| None),
    }
}

/// A first line: of a request or of a response.
trait FirstLine<'a>: Sized {
    /// Parses it: gives where the headers begin.
    fn parse<L: Lanes>(
        &mut self,
        bytes: &'a [u8],
        first: &First<'a>,
        cursor: &mut Cursor<'a, L>,
        limits: &Limits,
    ) -> Result<usize, Stop>;
}

/// One pass over a head, as far as it came. `whole_line` is set when the first line is whole.
#[inline(always)]
fn pass<'a, L: Lanes, F: FirstLine<'a>>(
    lanes: L,
    bytes: &'a [u8],
    fields: &mut Fields,
    limits: &Limits,
    whole_line: &mut bool,
    line: &mut F,
    found: &mut Summary,
) -> Result<usize, Stop> {
    let first = First::new(lanes, bytes);
    let mut cursor = Cursor::new(lanes, bytes, first.words());
    let at = line.parse(bytes, &first, &mut cursor, limits)?;
    *whole_line = true;
    let keep = |count, field| fields.put(count, field);
    let end = header_lines(bytes, &mut cursor, at, limits, found, keep)?;
    fields.set_len(found.count);
    Ok(end)
}

/// A request line.
pub(super) struct Line<'a> {
    pub(super) method: Method<'a>,
    pub(super) target: &'a str,
    pub(super) version: Version,
}

impl Line<'_> {
    const EMPTY: Self = Self { method: Method::Get, target: "", version: Version::Http11 };
}

impl<'a> FirstLine<'a> for Line<'a> {
    /// `request-line = method SP request-target SP HTTP-version`, then CRLF. One empty line
    /// before it is skipped (RFC 9112 §2.2): some clients send one behind a body.
    #[inline(always)]
    fn parse<L: Lanes>(
        &mut self,
        bytes: &'a [u8],
        first: &First<'a>,
        _: &mut Cursor<'a, L>,
        limits: &Limits,
    ) -> Result<usize, Stop> {
        let (method, mut at) = match bytes.starts_with(b"GET ") {
            true => (Method::Get, 4),
            false => method(bytes)?,
        };
        let target = first.target(at);
        let end = at + target.len();
        if bytes.get(end) != Some(&b' ') || end == at || end - at > limits.target_bytes as usize {
            return Err(no_target(bytes, at, end, limits));
        }
        at = end + 1;

        let rest = &bytes[at..];
        if rest.starts_with(b"HTTP/1.1\r\n") {
            *self = Line { method, target, version: Version::Http11 };
            return Ok(at + VERSION.len() + 2);
        }
        *self = Line { method, target, version: version(rest)? };
        line_end(bytes, at + VERSION.len(), Malformed::InvalidVersion)
    }
}

/// The empty line in front, which may be one.
#[cold]
fn empty_line(bytes: &[u8]) -> Result<usize, Stop> {
    let at = line_end(bytes, 0, Malformed::BareCr)?;
    if let Some(b'\r' | b'\n') = bytes.get(at) {
        line_end(bytes, at, Malformed::BareCr)?;
        return Err(Malformed::LeadingEmptyLines.into());
    }
    Ok(at)
}

/// The method, and where the target begins. Most requests get, and do not come here.
#[inline(never)]
fn method(bytes: &[u8]) -> Result<(Method<'_>, usize), Stop> {
    let at = match bytes.first() {
        Some(b'\r' | b'\n') => empty_line(bytes)?,
        _ => 0,
    };
    let name = &bytes[at..][..scan::token(&bytes[at..])];
    let end = at + name.len();
    if bytes.get(end) != Some(&b' ') || name.is_empty() || name.len() > METHOD_BYTES {
        return Err(no_method(bytes, at, end));
    }
    Ok((Method::new(scan::ascii(name)), end + 1))
}

/// What is wrong with `method = token`, and the space behind it.
#[cold]
fn no_method(bytes: &[u8], at: usize, end: usize) -> Stop {
    if end - at > METHOD_BYTES {
        return Malformed::MethodTooLong.into();
    }
    match bytes.get(end) {
        None => Stop::More,
        // The type of a TLS handshake record.
        Some(0x16) if end == at => Malformed::TlsHello.into(),
        Some(_) => Malformed::InvalidMethod.into(),
    }
}

/// What is wrong with a target that is empty, too long, or not followed by a space.
#[cold]
fn no_target(bytes: &[u8], at: usize, end: usize, limits: &Limits) -> Stop {
    if end - at > limits.target_bytes as usize {
        return Malformed::TargetTooLong.into();
    }
    let sin = match bytes.get(end) {
        None => return Stop::More,
        Some(b'#') => Malformed::FragmentInTarget,
        Some(b'\r') if end > at => match line_end(bytes, end, Malformed::BareCr) {
            Ok(_) => Malformed::MissingVersion,
            Err(stop) => return stop,
        },
        Some(b'\n') => Malformed::BareLf,
        Some(_) => Malformed::InvalidTarget,
    };
    sin.into()
}

pub(super) const VERSION: &[u8; 8] = b"HTTP/1.1";

/// `HTTP-version = "HTTP" "/" DIGIT "." DIGIT`; case-sensitive.
#[inline]
pub(super) fn version(bytes: &[u8]) -> Result<Version, Stop> {
    let Some(text) = bytes.first_chunk::<8>() else {
        // A beginning that no version has is refused before the rest has come.
        let fits = bytes.iter().zip(VERSION).all(|(b, v)| match v {
            b'1' => b.is_ascii_digit(),
            v => b == v,
        });
        return Err(if fits { Stop::More } else { Malformed::InvalidVersion.into() });
    };
    match text {
        b"HTTP/1.1" => Ok(Version::Http11),
        b"HTTP/1.0" => Ok(Version::Http10),
        [b'H', b'T', b'T', b'P', b'/', major @ b'0'..=b'9', b'.', b'0'..=b'9'] => match major {
            b'1' => Ok(Version::Http11),
            _ => Err(Malformed::UnsupportedVersion.into()),
        },
        _ => Err(Malformed::InvalidVersion.into()),
    }
}

/// A status line.
pub(super) struct Status<'a> {
    pub(super) version: Version,
    pub(super) status: u16,
    pub(super) reason: &'a [u8],
}

impl Status<'_> {
    const EMPTY: Self = Self { version: Version::Http11, status: 0, reason: &[] };
}

impl<'a> FirstLine<'a> for Status<'a> {
    /// `status-line = HTTP-version SP status-code SP [ reason-phrase ]`, then CRLF. The space
    /// behind the code may be missing too: many servers drop it with the phrase, and nothing
    /// hangs on it.
    #[inline(always)]
    fn parse<L: Lanes>(
        &mut self,
        bytes: &'a [u8],
        _: &First<'a>,
        cursor: &mut Cursor<'a, L>,
        _: &Limits,
    ) -> Result<usize, Stop> {
        let version = version(bytes)?;
        let rest = &bytes[VERSION.len()..];
        let &[b' ', a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', ..] = rest else {
            return Err(no_status(rest));
        };
        let digit = |b: u8| u16::from(b - b'0');
        let status = digit(a) * 100 + digit(b) * 10 + digit(c);
        let at = VERSION.len() + 4;
        *self = Status { version, status, reason: &[] };
        if bytes.get(at) != Some(&b' ') {
            return line_end(bytes, at, Malformed::InvalidStatus);
        }
        // reason-phrase = 1*( HTAB / SP / VCHAR / obs-text )
        let end = cursor.line(0).line;
        self.reason = bytes.get(at + 1..end).unwrap_or_default();
        line_end(bytes, end, Malformed::InvalidReason)
    }
}

/// What is wrong with the status code and the space before it, if anything.
#[cold]
fn no_status(rest: &[u8]) -> Stop {
    for (at, &b) in rest.iter().take(4).enumerate() {
        match at {
            0 if b != b' ' => return Malformed::InvalidVersion.into(),
            1 if !matches!(b, b'1'..=b'9') => return Malformed::InvalidStatus.into(),
            2 | 3 if !b.is_ascii_digit() => return Malformed::InvalidStatus.into(),
            _ => {}
        }
    }
    Stop::More
}

/// RFC 9112 §3.2: exactly one valid `Host` in HTTP/1.1, at most one in HTTP/1.0.
#[inline(always)]
fn host<'a, L: Lanes>(
    lanes: L,
    bytes: &'a [u8],
    found: &Summary,
    version: Version,
) -> Result<&'a [u8], Malformed> {
    if found.known & Known::Host.bit() == 0 {
        return if version == Version::Http10 { Ok(&[]) } else { Err(Malformed::MissingHost) };
    }
    if found.again & Known::Host.bit() != 0 {
        return Err(Malformed::DuplicateHost);
    }
    let (at, len) = (found.host.0 as usize, found.host.1 as usize);
    let value = bytes.get(at..at + len).unwrap_or_default();
    let name = match simd::run_of(lanes, bytes, at, at + len, &scan::HOSTS) {
        Some(name) => name,
        None => scan::host(value),
    };
    let good = name == len || target::is_host_behind(value, name);
    if good { Ok(value) } else { Err(Malformed::InvalidHost) }
}

#[cfg(test)]
mod tests {
    use super::super::{Body, Decoder, Leniency, Step};
    use super::*;

    const WIDE: Limits = Limits {
        head_bytes: u32::MAX,
        target_bytes: u32::MAX >> 1,
        headers: u32::MAX,
        extension_bytes: u32::MAX,
        small_chunks: u32::MAX,
        trailer_bytes: u32::MAX,
        body_bytes: u64::MAX,
        lenient: Leniency::NONE,
    };

    /// Bytes looked at while a head comes in pieces of this size.
    fn work_of_head(head: &[u8], piece: usize) -> u64 {
        let (mut seen, mut fields) = (Progress::new(), Fields::new());
        scan::work::take();
        for end in (piece..head.len()).step_by(piece) {
            let parsed = parse_request(&head[..end], &mut seen, &mut fields, &WIDE);
            assert!(matches!(parsed, Ok(None)), "{parsed:?}");
        }
        assert!(matches!(parse_request(head, &mut seen, &mut fields, &WIDE), Ok(Some(_))));
        scan::work::take()
    }

    #[test]
    fn work_is_linear_in_the_head_however_it_is_cut() {
        let many = |n: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(n));
        let long = |n: usize| format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "y".repeat(n));
        let target = |n: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "y".repeat(n));
        for (make, n) in [(&many as &dyn Fn(usize) -> String, 500), (&long, 3000), (&target, 3000)]
        {
            for piece in [1, 2, 7, 1460, usize::MAX >> 1] {
                let small = work_of_head(make(n).as_bytes(), piece);
                let large = work_of_head(make(2 * n).as_bytes(), piece);
                assert!(small >= n as u64, "the counter counts");
                assert!(large * 10 <= small * 21, "{small} then {large} by {piece}");
            }
        }
    }

    /// Bytes looked at while requests that are one behind the other come in pieces of this size.
    fn work_of_pipeline(bytes: &[u8], piece: usize) -> u64 {
        let (mut seen, mut fields, mut at) = (Progress::new(), Fields::new(), 0);
        scan::work::take();
        for end in (piece..bytes.len()).step_by(piece).chain([bytes.len()]) {
            while at < end {
                let parsed = parse_request(&bytes[at..end], &mut seen, &mut fields, &WIDE);
                let Some((_, used)) = parsed.unwrap() else { break };
                at += used;
            }
        }
        assert_eq!(at, bytes.len());
        scan::work::take()
    }

    #[test]
    fn work_is_linear_in_the_requests_of_a_pipeline() {
        let many = |n: usize| "GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(n);
        let head = format!("GET /?{} HTTP/1.1\r\nHost: a\r\n\r\n", "y".repeat(300));
        let long = |n: usize| head.repeat(n);
        for make in [&many as &dyn Fn(usize) -> String, &long] {
            for piece in [1, 2, 7, 1460, usize::MAX >> 1] {
                let small = work_of_pipeline(make(500).as_bytes(), piece);
                let large = work_of_pipeline(make(1000).as_bytes(), piece);
                assert!(small >= 500, "the counter counts");
                assert!(large * 10 <= small * 21, "{small} then {large} by {piece}");
            }
        }
    }

    /// Bytes looked at while a chunked body comes in pieces of this size.
    fn work_of_chunks(bytes: &[u8], piece: usize) -> u64 {
        let (mut body, mut at) = (Decoder::new(Body::Chunked, &WIDE).unwrap(), 0);
        scan::work::take();
        for end in (piece..bytes.len()).step_by(piece).chain([bytes.len()]) {
            loop {
                match body.next(&bytes[at..end], &WIDE) {
                    Ok(Step::Data { skip, len }) => {
                        body.consume(len);
                        at += skip + len;
                    }
                    Ok(Step::More { skip }) => break at += skip,
                    step => break assert!(matches!(step, Ok(Step::End { .. })), "{step:?}"),
                }
            }
        }
        assert!(body.is_end());
        scan::work::take()
    }

    #[test]
    fn work_is_linear_in_chunks_extensions_and_trailers() {
        let chunks = |n: usize| "1\r\nx\r\n".repeat(n) + "0\r\n\r\n";
        let digits = |n: usize| "0000000000000001\r\nx\r\n".repeat(n) + "0\r\n\r\n";
        let many = |n: usize| format!("1{}\r\nx\r\n0\r\n\r\n", ";a=\"b\"".repeat(n));
        let long = |n: usize| format!("1;{}\r\nx\r\n0\r\n\r\n", "a".repeat(n));
        let trailers = |n: usize| format!("0\r\n{}\r\n", "X: y\r\n".repeat(n));
        let value = |n: usize| format!("0\r\nX: {}\r\n\r\n", "y".repeat(n));
        let makes: [&dyn Fn(usize) -> String; 6] =
            [&chunks, &digits, &many, &long, &trailers, &value];
        for make in makes {
            for piece in [1, 2, 7, 1460, usize::MAX >> 1] {
                let small = work_of_chunks(make(1000).as_bytes(), piece);
                let large = work_of_chunks(make(2000).as_bytes(), piece);
                assert!(small >= 1000, "the counter counts");
                assert!(large * 10 <= small * 21, "{small} then {large} by {piece}");
            }
        }
    }
}
