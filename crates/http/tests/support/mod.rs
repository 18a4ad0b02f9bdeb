//! Helpers of the core's tests: one `check` that cuts the input in every way, and an owned form
//! of what was parsed, so that parses can be compared.
//!
//! Rule: whatever the cuts, the outcome is the same, and bytes behind the message do not matter.

#![allow(dead_code)]

use loopwork_http::core::*;

/// A whole exchange as a server sees it: what was in the head, how it is framed, and the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) first: String,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) framing: Framing,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(String, Vec<u8>)>,
    /// Bytes that the message took.
    pub(crate) used: usize,
}

/// A message, `None` if it is not whole, or what is wrong with it.
pub(crate) type Outcome = Result<Option<Message>, Malformed>;

/// What is parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Request,
    /// A response to a request with this method.
    Response(&'static str),
}

pub(crate) fn owned(headers: &Headers<'_>) -> Vec<(String, Vec<u8>)> {
    headers.iter().map(|(name, value)| (name.to_owned(), value.to_vec())).collect()
}

/// A connection that keeps what was not used, as a server's carry does.
pub(crate) struct Feeder {
    pub(crate) limits: Limits,
    kind: Kind,
    seen: Progress,
    fields: Fields,
    carry: Vec<u8>,
    head: Option<Message>,
    decoder: Option<Decoder>,
    /// Data bytes taken at a time: a reader that is slower than the bytes come.
    bite: usize,
}

impl Feeder {
    pub(crate) fn new(kind: Kind, limits: Limits, bite: usize) -> Self {
        Self {
            limits,
            kind,
            seen: Progress::new(),
            fields: Fields::new(),
            carry: Vec::new(),
            head: None,
            decoder: None,
            bite,
        }
    }

    /// Takes more bytes; gives the message once it is whole. Nothing may be fed after that.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Outcome {
        self.carry.extend_from_slice(bytes);
        if self.head.is_none() && !self.parse_head()? {
            return Ok(None);
        }
        self.parse_body()
    }

    fn parse_head(&mut self) -> Result<bool, Malformed> {
        let Self { seen, fields, limits, carry, .. } = self;
        let (first, headers, framing, used) = match self.kind {
            Kind::Request => match parse_request(carry, seen, fields, limits)? {
                None => return Ok(false),
                Some((r, used)) => {
                    let first = format!("{} {} {:?} {}", r.method, r.target, r.version, r.host());
                    (first, owned(&r.headers), r.framing()?, used)
                }
            },
            Kind::Response(method) => match parse_response(carry, seen, fields, limits)? {
                None => return Ok(false),
                Some((r, used)) => {
                    let reason = r.reason.escape_ascii();
                    let first = format!("{:?} {} {reason}", r.version, r.status);
                    (first, owned(&r.headers), r.framing(Method::new(method))?, used)
                }
            },
        };
        assert!(seen.is_idle(), "progress starts anew");
        self.decoder = Some(Decoder::new(framing.body, limits)?);
        carry.drain(..used);
        let (body, trailers) = (Vec::new(), Vec::new());
        self.head = Some(Message { first, headers, framing, body, trailers, used });
        Ok(true)
    }

    fn parse_body(&mut self) -> Outcome {
        let (Some(message), Some(decoder)) = (&mut self.head, &mut self.decoder) else {
            return Ok(None);
        };
        loop {
            let took = match decoder.next(&self.carry, &self.limits)? {
                Step::Data { skip, len } => {
                    assert!(len > 0);
                    let len = len.min(self.bite);
                    message.body.extend_from_slice(&self.carry[skip..skip + len]);
                    decoder.consume(len);
                    skip + len
                }
                Step::More { skip } => {
                    self.carry.drain(..skip);
                    message.used += skip;
                    return Ok(None);
                }
                Step::End { skip, trailers } => {
                    let section = &self.carry[trailers];
                    let parsed = parse_trailers(section, &mut self.fields, &self.limits)?;
                    message.trailers = owned(&parsed);
                    message.used += skip;
                    assert!(decoder.is_end());
                    return Ok(self.head.take());
                }
            };
            self.carry.drain(..took);
            message.used += took;
        }
    }

    /// The peer ended the connection.
    pub(crate) fn finish(mut self) -> Outcome {
        match (self.head, &mut self.decoder) {
            (Some(message), Some(decoder)) => decoder.finish().map(|()| Some(message)),
            _ if self.seen.is_idle() => Ok(None),
            _ => Err(Malformed::Truncated),
        }
    }
}

/// Feeds these pieces, until there is an outcome.
pub(crate) fn feed<'a>(
    kind: Kind,
    limits: Limits,
    bite: usize,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Outcome {
    let mut feeder = Feeder::new(kind, limits, bite);
    for piece in pieces {
        if let Some(message) = feeder.feed(piece)? {
            return Ok(Some(message));
        }
    }
    Ok(None)
}

/// The outcome of these bytes: whole, byte by byte, cut in two at every place, cut in thirds,
/// read slowly, and with trailing bytes; they must agree.
pub(crate) fn check_with(kind: Kind, limits: Limits, bytes: &[u8]) -> Outcome {
    let outcome = feed(kind, limits, usize::MAX, [bytes]);
    let show = || bytes.escape_ascii().to_string();
    assert_eq!(feed(kind, limits, usize::MAX, bytes.chunks(1)), outcome, "bytes of {}", show());
    assert_eq!(feed(kind, limits, 1, [bytes]), outcome, "slow reader of {}", show());
    assert_eq!(feed(kind, limits, 2, bytes.chunks(3)), outcome, "threes of {}", show());
    // Every cut of a long input is quadratic in the test, so those are cut here and there.
    let stride = bytes.len() / 400 + 1;
    for cut in (0..bytes.len()).step_by(stride) {
        let (front, back) = bytes.split_at(cut);
        assert_eq!(feed(kind, limits, 7, [front, back]), outcome, "cut at {cut} of {}", show());
    }
    if !matches!(outcome, Ok(None)) {
        for tail in [&b"X"[..], b"\r\n", b"\n", b"\0\0\0", b"GET / HTTP/1.1\r\n\r\n"] {
            let longer = [bytes, tail].concat();
            let trailing = feed(kind, limits, usize::MAX, [&longer[..]]);
            assert_eq!(trailing, outcome, "{tail:?} behind {}", show());
        }
    }
    outcome
}

/// A request under the default limits.
pub(crate) fn check(bytes: &[u8]) -> Outcome {
    check_with(Kind::Request, Limits::default(), bytes)
}

/// A response under the default limits.
pub(crate) fn check_response(method: &'static str, bytes: &[u8]) -> Outcome {
    check_with(Kind::Response(method), Limits::default(), bytes)
}
