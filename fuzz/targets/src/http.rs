//! The HTTP targets: parsing, framing and decoding under any cut, httparse as the second
//! opinion, and the encoder read back by the parser.

use crate::cuts::Cuts;
use loopwork_http::core::encode::{self, Connection, NO_HEADERS, RequestHead, ResponseHead};
use loopwork_http::core::*;
use std::fmt::Write;

/// Limits that a small input reaches.
const TIGHT: Limits = Limits {
    head_bytes: 200,
    target_bytes: 24,
    headers: 5,
    extension_bytes: 12,
    small_chunks: 60,
    trailer_bytes: 40,
    body_bytes: 60,
    lenient: Leniency::NONE,
};

/// Limits that no input reaches: what the encoder writes is not measured against any.
const WIDE: Limits = Limits {
    head_bytes: 1 << 20,
    target_bytes: 1 << 20,
    headers: 1 << 20,
    extension_bytes: 0,
    small_chunks: u32::MAX,
    trailer_bytes: 1 << 20,
    body_bytes: u64::MAX,
    lenient: Leniency::NONE,
};

/// Ends every head for good or bad: what a parser says only when a line or a head is whole must
/// then be said, also where LF alone ends a line.
const TAIL: &[u8] = b"x\n\n";

/// Which messages come.
#[derive(Clone, Copy)]
enum Kind {
    Requests,
    /// Answers to requests of this method.
    Responses(Method<'static>),
    /// One chunked body, and nothing else.
    Chunks,
}

/// Reads messages to the end, and writes down what it saw.
struct Reader<'a> {
    kind: Kind,
    limits: Limits,
    bytes: &'a [u8],
    /// Bytes that are done with.
    at: usize,
    /// The most body bytes taken at a time.
    bite: usize,
    seen: Progress,
    fields: Fields,
    body: Option<Decoder>,
    log: String,
    data: Vec<u8>,
}

impl<'a> Reader<'a> {
    fn new(kind: Kind, limits: &Limits, bytes: &'a [u8], bite: usize) -> Self {
        let body = match kind {
            Kind::Chunks => Decoder::new(Body::Chunked, limits).ok(),
            _ => None,
        };
        let (seen, fields) = (Progress::new(), Fields::new());
        let (log, data) = (String::new(), Vec::new());
        Self { kind, limits: *limits, bytes, at: 0, bite, seen, fields, body, log, data }
    }

    /// Reads as far as it can with the bytes before `end` alone.
    fn read(&mut self, end: usize) -> Result<(), Malformed> {
        while if self.body.is_some() { self.body(end)? } else { self.head(end)? } {}
        Ok(())
    }

    /// One head; `false`: there is none yet.
    fn head(&mut self, end: usize) -> Result<bool, Malformed> {
        let Self { seen, fields, limits, log, .. } = self;
        let bytes = &self.bytes[self.at..end];
        let (framing, used) = match self.kind {
            Kind::Requests => match parse_request(bytes, seen, fields, limits)? {
                None => return Ok(false),
                Some((r, used)) => {
                    let _ = write!(log, "{r:?} {} {:?} {}", r.path(), r.query(), r.host());
                    (r.framing()?, used)
                }
            },
            Kind::Responses(method) => match parse_response(bytes, seen, fields, limits)? {
                None => return Ok(false),
                Some((r, used)) => {
                    let _ = write!(log, "{r:?}");
                    (r.framing(method)?, used)
                }
            },
            Kind::Chunks => return Ok(false),
        };
        assert!(seen.is_idle() && 0 < used && used <= bytes.len());
        let _ = write!(log, "{framing:?}");
        self.at += used;
        self.body = Some(Decoder::new(framing.body, limits)?);
        Ok(true)
    }

    /// One piece of body; `false`: there is none yet.
    fn body(&mut self, end: usize) -> Result<bool, Malformed> {
        let Some(decoder) = &mut self.body else { return Ok(false) };
        let bytes = &self.bytes[self.at..end];
        match decoder.next(bytes, &self.limits)? {
            Step::Data { skip, len } => {
                assert!(len > 0 && skip + len <= bytes.len());
                let len = len.min(self.bite);
                self.data.extend_from_slice(&bytes[skip..skip + len]);
                decoder.consume(len);
                self.at += skip + len;
                Ok(true)
            }
            Step::More { skip } => {
                assert!(skip <= bytes.len());
                self.at += skip;
                Ok(false)
            }
            Step::End { skip, trailers } => {
                assert!(decoder.is_end() && skip <= bytes.len() && trailers.end <= skip);
                let section = &bytes[trailers];
                let trailers = parse_trailers(section, &mut self.fields, &self.limits)?;
                self.at += skip;
                let _ = write!(self.log, "{trailers:?} ends at {}", self.at);
                self.body = None;
                Ok(true)
            }
        }
    }
}

/// All cuts of the bytes come to the same: the same messages, the same error, as many bytes used.
fn cuts_agree(kind: Kind, limits: &Limits, data: &[u8]) {
    with_and_without_tail(data, |bytes, tail| {
        let mut whole = Reader::new(kind, limits, bytes, usize::MAX);
        let verdict = whole.read(bytes.len());
        for (n, cuts) in Cuts::ways(data).into_iter().enumerate() {
            let cut = Reader::new(kind, limits, bytes, [usize::MAX, 1, 5][n]);
            cut_agrees(&whole, verdict, cut, cuts.ends(bytes.len()), tail);
        }
    });
}

/// Calls with the bytes, and whether the tail is behind them.
fn with_and_without_tail(data: &[u8], mut check: impl FnMut(&[u8], bool)) {
    check(data, false);
    check(&[data, TAIL].concat(), true);
}

/// One way to cut the bytes comes to what they come to as a whole.
fn cut_agrees(
    whole: &Reader<'_>,
    verdict: Result<(), Malformed>,
    mut cut: Reader<'_>,
    mut ends: impl Iterator<Item = usize>,
    tail: bool,
) {
    let end = ends.try_for_each(|end| cut.read(end));
    // Of a head in pieces a parser may say what is wrong only when it is whole.
    let later = !tail && verdict.is_err() && end.is_ok();
    assert!(end == verdict || later, "{end:?}, not {verdict:?}, by bites of {}", cut.bite);
    assert_eq!(cut.log, whole.log, "by bites of {}", cut.bite);
    assert!(cut.data == whole.data, "by bites of {}", cut.bite);
    assert!(verdict.is_err() || cut.at == whole.at, "by bites of {}", cut.bite);
}

/// Messages under cuts that the fuzzer chooses: a byte of flags, one whose low half is a number
/// of cuts, then a byte for the length of each piece but one, then the bytes. The pieces come
/// again and again; without any, the bytes come one by one. As header lines of a request the
/// bytes are what a plain parser makes of them.
pub fn http_cuts(data: &[u8]) {
    let [flags, count, rest @ ..] = data else { return };
    let Some((plan, data)) = rest.split_at_checked(usize::from(count & 15)) else { return };
    let kinds = [Kind::Requests, Kind::Requests, Kind::Responses(Method::Get), Kind::Chunks];
    let kind = kinds[usize::from(flags & 3)];
    let limits = if flags & 4 == 0 { Limits::default() } else { TIGHT };
    let bite = 1 + usize::from(flags >> 4);
    with_and_without_tail(data, |bytes, tail| {
        let mut whole = Reader::new(kind, &limits, bytes, usize::MAX);
        let verdict = whole.read(bytes.len());
        let mut pieces = plan.iter().chain((plan.is_empty()).then_some(&0)).cycle();
        let (mut at, len) = (0, bytes.len());
        let ends = std::iter::from_fn(|| {
            let more = at < len;
            at = len.min(at + 1 + usize::from(*pieces.next()?));
            more.then_some(at)
        });
        cut_agrees(&whole, verdict, Reader::new(kind, &limits, bytes, bite), ends, tail);
    });
    lines_are_plain(data);
}

/// These bytes as header lines: taken, and read, as by a parser that is slow and plain.
fn lines_are_plain(lines: &[u8]) {
    let bytes = [b"GET / HTTP/1.0\r\n", lines, b"\r\n\r\n"].concat();
    let (mut seen, mut fields) = (Progress::new(), Fields::new());
    let parsed = parse_request(&bytes, &mut seen, &mut fields, &WIDE);
    // Whether a host is good is a matter of its own.
    if matches!(parsed, Err(Malformed::InvalidHost | Malformed::DuplicateHost)) {
        return;
    }
    let ours = parsed.ok().map(|parsed| {
        let (request, used) = parsed.expect("an empty line is there");
        let line = |(name, value): (&str, &[u8])| (name.as_bytes().to_vec(), value.to_vec());
        (request.headers.iter().map(line).collect::<Lines>(), used)
    });
    assert_eq!(ours, plain_lines(&bytes));
}

/// Names and values.
type Lines = Vec<(Vec<u8>, Vec<u8>)>;

/// Name and value of each line behind the first, and where the empty line ends.
fn plain_lines(bytes: &[u8]) -> Option<(Lines, usize)> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 2;
    let (mut at, mut lines) = (16, Vec::new());
    while at < end {
        let len = bytes[at..end].windows(2).position(|two| two == b"\r\n")?;
        let line = &bytes[at..at + len];
        let colon = line.iter().position(|b| *b == b':')?;
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        let tchar = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
        let in_value = |b: &u8| *b == b'\t' || !b.is_ascii_control();
        if name.is_empty() || !name.iter().all(tchar) || !value.iter().all(in_value) {
            return None;
        }
        lines.push((name.to_vec(), value.trim_ascii().to_vec()));
        at += len + 2;
    }
    Some((lines, end + 2))
}

/// What is taken that the grammar has otherwise, by the bits of a byte.
fn lenient(bits: u8) -> Leniency {
    let [bare_lf, empty_lines, white_space, chunk_spaces] = [1, 2, 4, 8].map(|bit| bits & bit > 0);
    Leniency { bare_lf, empty_lines, white_space, chunk_spaces }
}

/// Requests, one behind the other, as a server reads them; httparse agrees with each head. The
/// last byte says, besides, how loosely they are read a second time: what is right is read alike.
pub fn http_request(data: &[u8]) {
    cuts_agree(Kind::Requests, &Limits::default(), data);
    cuts_agree(Kind::Requests, &TIGHT, data);
    let lenient = lenient(data.last().copied().unwrap_or_default());
    let loose = Limits { lenient, ..Limits::default() };
    cuts_agree(Kind::Requests, &loose, data);
    cuts_agree(Kind::Requests, &Limits { lenient, ..TIGHT }, data);
    let mut strictly = Reader::new(Kind::Requests, &Limits::default(), data, usize::MAX);
    let strict = strictly.read(data.len());
    let mut loosely = Reader::new(Kind::Requests, &loose, data, usize::MAX);
    let verdict = loosely.read(data.len());
    assert!(loosely.log.starts_with(&strictly.log), "read in another way");
    assert!(strict.is_err() || (verdict == strict && loosely.data == strictly.data));

    let (mut seen, mut fields) = (Progress::new(), Fields::new());
    let limits = Limits::default();
    let Ok(Some((ours, used))) = parse_request(data, &mut seen, &mut fields, &limits) else {
        return;
    };
    let mut table = [httparse::EMPTY_HEADER; 100];
    let mut theirs = httparse::Request::new(&mut table);
    match theirs.parse(data) {
        // Minor versions above 1.
        Err(httparse::Error::Version) => return,
        status => assert_eq!(status, Ok(httparse::Status::Complete(used))),
    }
    assert_eq!(theirs.method, Some(ours.method.as_str()));
    assert_eq!(theirs.path, Some(ours.target));
    assert_eq!(theirs.version, Some((ours.version == Version::Http11).into()));
    assert!(ours.headers.iter().eq(theirs.headers.iter().map(|h| (h.name, h.value))));
}

/// Responses, one behind the other, as a client reads them; httparse agrees with each head.
pub fn http_response(data: &[u8]) {
    for method in [Method::Get, Method::Head, Method::Connect] {
        cuts_agree(Kind::Responses(method), &Limits::default(), data);
    }
    cuts_agree(Kind::Responses(Method::Get), &TIGHT, data);

    let (mut seen, mut fields) = (Progress::new(), Fields::new());
    let limits = Limits::default();
    let Ok(Some((ours, used))) = parse_response(data, &mut seen, &mut fields, &limits) else {
        return;
    };
    let mut table = [httparse::EMPTY_HEADER; 100];
    let mut theirs = httparse::Response::new(&mut table);
    match theirs.parse(data) {
        // Minor versions above 1.
        Err(httparse::Error::Version) => return,
        status => assert_eq!(status, Ok(httparse::Status::Complete(used))),
    }
    assert_eq!(theirs.code, Some(ours.status));
    assert!(ours.headers.iter().eq(theirs.headers.iter().map(|h| (h.name, h.value))));
}

/// A chunked body, and whatever stands behind it.
pub fn http_chunked(data: &[u8]) {
    cuts_agree(Kind::Chunks, &Limits::default(), data);
    cuts_agree(Kind::Chunks, &TIGHT, data);

    // A body that is over stays over, and takes no byte of what follows.
    let mut reader = Reader::new(Kind::Chunks, &WIDE, data, usize::MAX);
    let verdict = reader.read(data.len());
    assert!(reader.data.len() <= reader.at && reader.at <= data.len());
    let mut end = Decoder::default();
    let step = end.next(data, &WIDE);
    assert_eq!(step, Ok(Step::End { skip: 0, trailers: 0..0 }));

    // What was decoded, encoded again, is the same body; and a plain decoder agrees.
    if verdict.is_ok() && reader.body.is_none() {
        assert_eq!(plain_chunks(data).as_ref(), Some(&reader.data));
        let mut again = Vec::new();
        encode::chunk(&mut again, &reader.data);
        encode::last_chunk(&mut again, NO_HEADERS).unwrap();
        let mut second = Reader::new(Kind::Chunks, &WIDE, &again, usize::MAX);
        assert_eq!(second.read(again.len()), Ok(()));
        assert!(second.data == reader.data && second.at == again.len());
    }
}

/// The body of whole chunks, by a decoder that is slow and plain. It believes the extensions and
/// the trailers.
fn plain_chunks(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
        let digits = rest[..end].split(|b| *b == b';').next()?;
        let size = usize::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        rest = &rest[end + 2..];
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(..size)?);
        rest = rest[size..].strip_prefix(b"\r\n")?;
    }
}

/// What an application gives to the encoder, out of a fuzzer's bytes: two of flags, and then
/// parts between bytes 0xFF (no UTF-8 text has one): three for the first line, then the body,
/// then names and values in turn.
struct Given<'a> {
    status: u16,
    body: Body,
    connection: Connection,
    texts: [&'a str; 3],
    data: &'a [u8],
    headers: Vec<(&'a [u8], &'a [u8])>,
}

impl<'a> Given<'a> {
    fn new(data: &'a [u8]) -> Option<Self> {
        let [flags, status, rest @ ..] = data else { return None };
        let mut parts = rest.split(|b| *b == 0xff);
        let mut text = || std::str::from_utf8(parts.next().unwrap_or_default()).ok();
        let texts = [text()?, text()?, text()?];
        let data = parts.next().unwrap_or_default();
        let length = Body::Length(data.len() as u64);
        let body = [Body::None, length, Body::Chunked, Body::UntilClose][usize::from(flags & 3)];
        let connections = [Connection::Implicit, Connection::KeepAlive, Connection::Close];
        let connection = connections.get(usize::from(flags >> 2 & 3));
        let parts: Vec<&[u8]> = parts.collect();
        let headers = parts.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
        let connection = connection.copied().unwrap_or(Connection::Upgrade);
        Some(Self { status: u16::from(*status) * 4, body, connection, texts, data, headers })
    }

    /// What the parser must make of the headers.
    fn trimmed(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let ows = |b: &u8| matches!(b, b' ' | b'\t');
        let trim = move |value: &'a [u8]| {
            let start = value.iter().position(|b| !ows(b)).unwrap_or(value.len());
            let end = value.iter().rposition(|b| !ows(b)).map_or(start, |last| last + 1);
            &value[start..end]
        };
        self.headers.iter().map(move |(name, value)| (*name, trim(value)))
    }

    /// The parsed headers are those given, in order, and the encoder's own.
    fn came_back(&self, headers: &Headers<'_>, skip: usize) {
        let parsed = headers.iter().skip(skip).map(|(name, value)| (name.as_bytes(), value));
        assert!(parsed.take(self.headers.len()).eq(self.trimmed()));
        assert!(headers.len() - self.headers.len() <= 3);
    }

    /// Adds the body to a head, and reads both.
    fn body_comes_back(&self, mut out: Vec<u8>, head: usize, kind: Kind, framed: Body) {
        let mut trailers = 0;
        match framed {
            Body::Chunked => {
                encode::chunk(&mut out, self.data);
                let written = encode::last_chunk(&mut out, self.headers.iter().copied());
                let written = written.or_else(|_| encode::last_chunk(&mut out, NO_HEADERS));
                assert_eq!(written, Ok(()));
                trailers = out.len() - head - self.data.len();
            }
            Body::Length(_) | Body::UntilClose => out.extend_from_slice(self.data),
            Body::None => {}
        }
        let mut reader = Reader::new(kind, &WIDE, &out, usize::MAX);
        assert_eq!(reader.read(out.len()), Ok(()));
        assert_eq!(reader.at, out.len(), "with {trailers} bytes of chunks");
        assert!(framed == Body::None || reader.data == self.data);
        assert!(framed == Body::UntilClose || reader.body.is_none(), "one message");
    }
}

/// No line end but those that the encoder put: one for each line of the head.
fn nothing_is_injected(head: &[u8], lines: usize) {
    let count = |b: u8| head.iter().filter(|x| **x == b).count();
    let pairs = head.windows(2).filter(|pair| pair == b"\r\n").count();
    assert_eq!((count(b'\r'), count(b'\n'), pairs), (lines, lines, lines));
    assert!(head.ends_with(b"\r\n\r\n") && count(0) == 0);
}

/// What the encoder takes, the parser reads back; what it refuses leaves the buffer alone.
pub fn http_encode(data: &[u8]) {
    let Some(given) = Given::new(data) else { return };
    if data[0] & 16 == 0 { a_request_comes_back(&given) } else { a_response_comes_back(&given) }
}

fn a_request_comes_back(given: &Given<'_>) {
    let [method, target, host] = given.texts;
    let (body, connection) = (given.body, given.connection);
    let head = RequestHead { method, target, host, body, connection };
    let mut out = b"\n".to_vec();
    let written = encode::request_head(&mut out, &head, given.headers.iter().copied());
    if out.remove(0) != b'\n' || written.is_err() {
        return assert!(written.is_err() && out.is_empty());
    }
    let own =
        usize::from(!matches!(body, Body::None)) + usize::from(connection != Connection::Implicit);
    nothing_is_injected(&out, 3 + given.headers.len() + own);
    let (mut seen, mut fields) = (Progress::new(), Fields::new());
    let parsed = match parse_request(&out, &mut seen, &mut fields, &WIDE) {
        // The encoder checks the bytes of a target, and leaves its form to the server.
        Err(Malformed::InvalidTargetForm | Malformed::InvalidHost) => return,
        Err(Malformed::MethodTooLong) => return assert!(method.len() > 32),
        parsed => parsed.unwrap().expect("a whole head"),
    };
    let (request, used) = parsed;
    assert_eq!((request.method.as_str(), request.target), (method, target));
    assert_eq!(request.headers.get_str("host"), Some(host));
    given.came_back(&request.headers, 1);
    match request.framing() {
        Err(sin) => assert_eq!(sin, Malformed::UnknownExpectation),
        Ok(framing) => {
            assert_eq!((framing.body, used), (body, out.len()));
            given.body_comes_back(out.clone(), used, Kind::Requests, body);
        }
    }
}

fn a_response_comes_back(given: &Given<'_>) {
    let [phrase, date, _] = given.texts;
    let phrase = (!phrase.is_empty()).then_some(phrase);
    let Given { status, body, connection, .. } = *given;
    let date = (!date.is_empty()).then_some(date.as_bytes());
    let head = ResponseHead { status, reason: phrase, body, connection, date };
    let mut out = b"\n".to_vec();
    let written = encode::response_head(&mut out, &head, given.headers.iter().copied());
    if out.remove(0) != b'\n' || written.is_err() {
        return assert!(written.is_err() && out.is_empty());
    }
    let (mut seen, mut fields) = (Progress::new(), Fields::new());
    let parsed = parse_response(&out, &mut seen, &mut fields, &WIDE);
    let (response, used) = parsed.unwrap().expect("a whole head");
    assert_eq!((response.status, used), (status, out.len()));
    assert_eq!(response.reason, phrase.unwrap_or(reason(status)).as_bytes());
    nothing_is_injected(&out, 2 + response.headers.len());
    let dated = given.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(b"date"));
    given.came_back(&response.headers, usize::from(date.is_some() && !dated));
    let framing = response.framing(Method::Get).unwrap();
    let bodiless = matches!(status, 100..=199 | 204 | 304);
    let expected = match body {
        _ if bodiless => Body::None,
        Body::None => Body::UntilClose,
        body => body,
    };
    assert_eq!(framing.body, expected);
    given.body_comes_back(out.clone(), used, Kind::Responses(Method::Get), expected);
}
