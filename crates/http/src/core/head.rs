//! The head: first line and headers (RFC 9112 §2 to §5).
//!
//! Rules:
//!
//! * the usual head comes in one piece, so the first look parses at once, in one pass;
//! * of a head in pieces each new byte is searched once, for line ends, and the head is parsed
//!   again only when its first line is whole and when it is whole: three passes at the most;
//! * what is refused, and as what, does not depend on how the bytes were cut (only how soon
//!   does): a search that finds something wrong leaves it to the pass to name the first sin in
//!   the bytes' order.

use super::{
    Fields, Headers, Limits, Malformed, Method, Request, Response, Version,
    fields::{Field, Known},
    limits::METHOD_BYTES,
    scan, target,
};

/// How far a head that is not whole was looked at. One per connection; 8 bytes.
///
/// It starts anew by itself when a parse ends in a head or in an error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes in which no end was found; 0 before the first look.
    searched: u32,
    /// Was the whole first line parsed?
    first_line: bool,
}

impl Progress {
    /// Nothing was looked at.
    pub const fn new() -> Self {
        Self { searched: 0, first_line: false }
    }

    /// Has no byte of the next head come yet? Then the connection is idle, not slow.
    pub const fn is_idle(&self) -> bool {
        self.searched == 0
    }
}

/// Why a pass stopped.
enum Stop {
    More,
    Bad(Malformed),
}

impl From<Malformed> for Stop {
    #[inline]
    fn from(sin: Malformed) -> Self {
        Self::Bad(sin)
    }
}

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
pub fn parse_request<'a>(
    bytes: &'a [u8],
    seen: &mut Progress,
    fields: &'a mut Fields,
    limits: &Limits,
) -> Result<Option<(Request<'a>, usize)>, Malformed> {
    // Longer than this the first line has a part that is too long, and the pass says which:
    // an empty line, the method, the target, two spaces, the version, CRLF.
    let longest = 2 + METHOD_BYTES + limits.target_bytes as usize + 2 + VERSION.len() + 2;
    let parsed = parse(bytes, seen, fields, limits, longest, request_line);
    let Some((line, end)) = parsed? else { return Ok(None) };
    let headers = Headers::new(bytes, &fields.list);
    let parts = target::parse(line.method, line.target)?;
    let host_field = host(&headers, line.version)?;
    let Line { method, target, version } = line;
    Ok(Some((Request { method, target, version, headers, parts, host_field }, end)))
}

/// Parses the head of a response at the start of `bytes`: as [`parse_request`].
///
/// # Errors
///
/// The first thing that is wrong in the bytes, as early as it can be known cheaply.
pub fn parse_response<'a>(
    bytes: &'a [u8],
    seen: &mut Progress,
    fields: &'a mut Fields,
    limits: &Limits,
) -> Result<Option<(Response<'a>, usize)>, Malformed> {
    let parsed = parse(bytes, seen, fields, limits, usize::MAX, status_line);
    let Some(((version, status, reason), end)) = parsed? else { return Ok(None) };
    let headers = Headers::new(bytes, &fields.list);
    Ok(Some((Response { version, status, reason, headers }, end)))
}

/// The search and the passes: see the rules at the top. `first_line` parses a first line, and
/// gives it and where the headers begin; `longest` is how long it can be.
#[inline(always)]
fn parse<'a, T>(
    bytes: &'a [u8],
    seen: &mut Progress,
    fields: &mut Fields,
    limits: &Limits,
    longest: usize,
    first_line: impl FnOnce(&'a [u8], &Limits) -> Result<(T, usize), Stop>,
) -> Result<Option<(T, usize)>, Malformed> {
    let room = limits.head_bytes as usize;
    let head = &bytes[..bytes.len().min(room)];
    if seen.searched != 0 {
        let too_long = head.len() >= room || (!seen.first_line && head.len() > longest);
        if !search(head, seen) && !too_long {
            return Ok(None);
        }
    }
    if head.is_empty() && room != 0 {
        return Ok(None);
    }
    let passed = first_line(head, limits).and_then(|(line, at)| {
        seen.first_line = true;
        fields.list.clear();
        let list = &mut fields.list;
        Ok((line, header_lines(head, at, limits, |field| list.push(field))?))
    });
    match passed {
        Ok(whole) => {
            *seen = Progress::new();
            Ok(Some(whole))
        }
        Err(Stop::More) if head.len() < room => {
            seen.searched = head.len() as u32;
            Ok(None)
        }
        Err(Stop::More) => {
            *seen = Progress::new();
            Err(Malformed::HeadTooLarge)
        }
        Err(Stop::Bad(sin)) => {
            *seen = Progress::new();
            Err(sin)
        }
    }
}

/// Searches what is new for a reason to parse: the head is whole, its first line is whole, or
/// there is a CR or LF that stands alone.
fn search(head: &[u8], seen: &mut Progress) -> bool {
    // A CR at the very end waits for the byte behind it.
    let start = (seen.searched as usize).min(head.len()).saturating_sub(1);
    seen.searched = head.len() as u32;
    scan::work::add(head.len() - start);
    memchr::memchr2_iter(b'\r', b'\n', &head[start..]).any(|found| {
        let (line, rest) = head.split_at(start + found);
        match rest {
            [b'\r', next, ..] => *next != b'\n',
            [b'\r'] => false,
            _ => {
                // An empty line may come before the first one.
                let first_line = !seen.first_line && line != b"\r";
                first_line || !line.ends_with(b"\r") || line.ends_with(b"\r\n\r")
            }
        }
    })
}

/// A request line.
struct Line<'a> {
    method: Method<'a>,
    target: &'a str,
    version: Version,
}

/// `request-line = method SP request-target SP HTTP-version`, then CRLF. One empty line before
/// it is skipped (RFC 9112 §2.2): some clients send one behind a body.
#[inline]
fn request_line<'a>(bytes: &'a [u8], limits: &Limits) -> Result<(Line<'a>, usize), Stop> {
    let mut at = 0;
    if let Some(b'\r' | b'\n') = bytes.first() {
        at = line_end(bytes, 0, Malformed::BareCr)?;
        if let Some(b'\r' | b'\n') = bytes.get(at) {
            line_end(bytes, at, Malformed::BareCr)?;
            return Err(Malformed::LeadingEmptyLines.into());
        }
    }

    let method = if bytes[at..].starts_with(b"GET ") {
        at += 4;
        Method::Get
    } else {
        method(bytes, &mut at)?
    };

    let rest = &bytes[at..];
    let room = limits.target_bytes as usize;
    let len = scan::target(&rest[..rest.len().min(room.saturating_add(1))]);
    if len > room {
        return Err(Malformed::TargetTooLong.into());
    }
    match rest.get(len) {
        None => return Err(Stop::More),
        Some(b' ') if len > 0 => {}
        Some(b'#') => return Err(Malformed::FragmentInTarget.into()),
        Some(b'\r') if len > 0 => {
            line_end(bytes, at + len, Malformed::BareCr)?;
            return Err(Malformed::MissingVersion.into());
        }
        Some(b'\n') => return Err(Malformed::BareLf.into()),
        Some(_) => return Err(Malformed::InvalidTarget.into()),
    }
    let target = scan::ascii(&rest[..len]);
    at += len + 1;

    if bytes[at..].starts_with(b"HTTP/1.1\r\n") {
        return Ok((Line { method, target, version: Version::Http11 }, at + VERSION.len() + 2));
    }
    let version = version(&bytes[at..])?;
    let end = line_end(bytes, at + VERSION.len(), Malformed::InvalidVersion)?;
    Ok((Line { method, target, version }, end))
}

/// `method = token`, and the space behind it.
fn method<'a>(bytes: &'a [u8], at: &mut usize) -> Result<Method<'a>, Stop> {
    let rest = &bytes[*at..];
    let len = scan::token(&rest[..rest.len().min(METHOD_BYTES + 1)]);
    if len > METHOD_BYTES {
        return Err(Malformed::MethodTooLong.into());
    }
    match rest.get(len) {
        None => return Err(Stop::More),
        Some(b' ') if len > 0 => {}
        // The type of a TLS handshake record.
        Some(0x16) if len == 0 => return Err(Malformed::TlsHello.into()),
        Some(_) => return Err(Malformed::InvalidMethod.into()),
    }
    *at += len + 1;
    Ok(Method::new(scan::ascii(&rest[..len])))
}

const VERSION: &[u8; 8] = b"HTTP/1.1";

/// `HTTP-version = "HTTP" "/" DIGIT "." DIGIT`; case-sensitive.
#[inline]
fn version(bytes: &[u8]) -> Result<Version, Stop> {
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

type Status<'a> = (Version, u16, &'a [u8]);

/// `status-line = HTTP-version SP status-code SP [ reason-phrase ]`, then CRLF. The space behind
/// the code may be missing too: many servers drop it with the phrase, and nothing hangs on it.
#[inline]
fn status_line<'a>(bytes: &'a [u8], _: &Limits) -> Result<(Status<'a>, usize), Stop> {
    let version = version(bytes)?;
    let rest = &bytes[VERSION.len()..];
    for (at, &b) in rest.iter().take(4).enumerate() {
        match at {
            0 if b != b' ' => return Err(Malformed::InvalidVersion.into()),
            1 if !matches!(b, b'1'..=b'9') => return Err(Malformed::InvalidStatus.into()),
            2 | 3 if !b.is_ascii_digit() => return Err(Malformed::InvalidStatus.into()),
            _ => {}
        }
    }
    let [_, a, b, c, rest @ ..] = rest else { return Err(Stop::More) };
    let digit = |b: &u8| u16::from(b - b'0');
    let status = digit(a) * 100 + digit(b) * 10 + digit(c);
    let at = bytes.len() - rest.len();
    match rest.first() {
        Some(b' ') => {
            // reason-phrase = 1*( HTAB / SP / VCHAR / obs-text )
            let len = scan::value(&rest[1..]);
            let end = line_end(bytes, at + 1 + len, Malformed::InvalidReason)?;
            Ok(((version, status, &rest[1..1 + len]), end))
        }
        _ => Ok(((version, status, &[]), line_end(bytes, at, Malformed::InvalidStatus)?)),
    }
}

/// A line must end at `at`: gives where the next begins. Something other than CRLF is `else_`.
#[inline(always)]
fn line_end(bytes: &[u8], at: usize, else_: Malformed) -> Result<usize, Stop> {
    match bytes.get(at..) {
        Some([b'\r', b'\n', ..]) => Ok(at + 2),
        None | Some([] | [b'\r']) => Err(Stop::More),
        Some([b'\r', ..]) => Err(Malformed::BareCr.into()),
        Some([b'\n', ..]) => Err(Malformed::BareLf.into()),
        Some(_) => Err(else_.into()),
    }
}

/// The header lines and the empty line behind them, from `at` on: gives where they end.
///
/// ```text
/// field-line  = field-name ":" OWS field-value OWS
/// field-name  = token
/// field-value = *( HTAB / SP / VCHAR / obs-text )     ; trimmed
/// ```
#[inline]
fn header_lines(
    bytes: &[u8],
    mut at: usize,
    limits: &Limits,
    mut keep: impl FnMut(Field),
) -> Result<usize, Stop> {
    let mut count = 0;
    loop {
        let name_at = at;
        let name_len = scan::token(&bytes[at..]);
        at += name_len;
        match bytes.get(at) {
            Some(b':') if name_len > 0 => {}
            Some(b'\r') if name_len == 0 => return line_end(bytes, at, Malformed::BareCr),
            found => return Err(no_name(found, name_len, count == 0)),
        }
        if count >= limits.headers {
            return Err(Malformed::TooManyHeaders.into());
        }
        count += 1;
        let known = Known::of(&bytes[name_at..at]);
        let Ok(name_len) = u16::try_from(name_len) else {
            return Err(Malformed::HeadTooLarge.into());
        };
        at += 1;
        while let Some(b' ' | b'\t') = bytes.get(at) {
            at += 1;
        }
        let value_at = at;
        at += scan::value(&bytes[at..]);
        let mut value_end = at;
        while value_end > value_at && matches!(bytes[value_end - 1], b' ' | b'\t') {
            value_end -= 1;
        }
        at = line_end(bytes, at, Malformed::InvalidHeaderValue)?;
        let (name_at, value_len) = (name_at as u32, (value_end - value_at) as u32);
        keep(Field { name_at, value_at: value_at as u32, value_len, name_len, known });
    }
}

/// What is wrong with a line whose name is not followed by a colon.
#[cold]
fn no_name(found: Option<&u8>, name_len: usize, first: bool) -> Stop {
    let sin = match found {
        None => return Stop::More,
        Some(b':') => Malformed::EmptyHeaderName,
        Some(b' ' | b'\t') if name_len > 0 => Malformed::WhitespaceBeforeColon,
        Some(b' ' | b'\t') if first => Malformed::LeadingWhitespace,
        Some(b' ' | b'\t') => Malformed::ObsFold,
        Some(b'\n') if name_len == 0 => Malformed::BareLf,
        Some(b'\r' | b'\n') => Malformed::MissingColon,
        Some(_) => Malformed::InvalidHeaderName,
    };
    Stop::Bad(sin)
}

/// The header rules for a trailer section, which ends with its empty line.
pub(crate) fn trailer_lines(
    bytes: &[u8],
    limits: &Limits,
    keep: impl FnMut(Field),
) -> Result<(), Malformed> {
    match header_lines(bytes, 0, limits, keep) {
        Ok(_) => Ok(()),
        Err(Stop::More) => Err(Malformed::Truncated),
        Err(Stop::Bad(sin)) => Err(sin),
    }
}

/// RFC 9112 §3.2: exactly one valid `Host` in HTTP/1.1, at most one in HTTP/1.0.
#[inline]
fn host<'a>(headers: &Headers<'a>, version: Version) -> Result<&'a [u8], Malformed> {
    let mut lines = headers.known().filter(|(known, _)| *known == Known::Host);
    let Some((_, value)) = lines.next() else {
        return if version == Version::Http10 { Ok(&[]) } else { Err(Malformed::MissingHost) };
    };
    if lines.next().is_some() {
        return Err(Malformed::DuplicateHost);
    }
    if !target::is_host(value) {
        return Err(Malformed::InvalidHost);
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::super::{Body, Decoder, Step};
    use super::*;

    const WIDE: Limits = Limits {
        head_bytes: u32::MAX,
        target_bytes: u32::MAX >> 1,
        headers: u32::MAX,
        extension_bytes: u32::MAX,
        trailer_bytes: u32::MAX,
        body_bytes: u64::MAX,
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
            for piece in [1, 2, 7] {
                let small = work_of_head(make(n).as_bytes(), piece);
                let large = work_of_head(make(2 * n).as_bytes(), piece);
                assert!(small >= n as u64, "the counter counts");
                assert!(large * 10 <= small * 21, "{small} then {large} by {piece}");
            }
        }
    }

    #[test]
    fn work_is_linear_in_the_trailers() {
        let work = |n: usize| {
            let bytes = format!("0\r\n{}\r\n", "X: y\r\n".repeat(n)).into_bytes();
            let (mut body, mut at) = (Decoder::new(Body::Chunked, &WIDE).unwrap(), 0);
            scan::work::take();
            for end in 1..=bytes.len() {
                match body.next(&bytes[at..end], &WIDE) {
                    Ok(Step::More { skip }) => at += skip,
                    step => assert!(matches!(step, Ok(Step::End { .. })), "{step:?}"),
                }
            }
            assert!(body.is_end());
            scan::work::take()
        };
        let (small, large) = (work(500), work(1000));
        assert!(small >= 3000 && large * 10 <= small * 21, "{small} then {large}");
    }
}
