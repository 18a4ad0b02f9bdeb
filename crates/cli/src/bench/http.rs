//! HTTP/1.1 as a bench speaks it: a request over and over, and answers framed as HTTP says.
//!
//! Rule: an answer whose head is byte for byte the one before says what that said, and is not
//! parsed again.

use super::load::{Bad, Heard, Speech};
use crate::common::{self, Fail, text};
use clap::ArgMatches;
use loopwork::http::Url;
use loopwork::http::core::encode::{self, Connection, RequestHead};
use loopwork::http::core::{
    Body, Decoder, Fields, Limits, Malformed, Method, Progress, Step, parse_response,
};
use loopwork::tcp::Io;

/// The head of the last answer, and what it said.
#[derive(Default)]
struct Memo {
    head: Vec<u8>,
    status: u16,
    length: u64,
}

/// Where an answer stands.
enum Stage {
    Head,
    /// So many bytes of the body are still to come.
    Length(u64),
    Coded(Decoder),
    UntilClose,
}

/// One connection's answers.
pub(super) struct Conn {
    progress: Progress,
    stage: Stage,
    status: u16,
    keep: bool,
}

/// What the answers of all connections have in common.
pub(super) struct Http {
    /// Answers have no body.
    head_only: bool,
    memo: Memo,
    fields: Fields,
    limits: Limits,
}

impl Http {
    pub(super) fn new(head_only: bool) -> Http {
        let limits = Limits { body_bytes: u64::MAX, ..Limits::default() };
        Http { head_only, memo: Memo::default(), fields: Fields::new(), limits }
    }

    /// Takes an answer further: how many bytes it took, and whether it is whole.
    fn answer(&mut self, c: &mut Conn, bytes: &[u8]) -> Result<(usize, bool), Malformed> {
        match &mut c.stage {
            Stage::Head if bytes.starts_with(&self.memo.head) && !self.memo.head.is_empty() => {
                c.status = self.memo.status;
                c.progress = Progress::new();
                let head = self.memo.head.len();
                let body = self.memo.length.min((bytes.len() - head) as u64);
                let left = self.memo.length - body;
                c.stage = if left == 0 { Stage::Head } else { Stage::Length(left) };
                Ok((head + body as usize, left == 0))
            }
            Stage::Head => self.head(c, bytes),
            Stage::Length(left) => {
                let taken = (*left).min(bytes.len() as u64);
                *left -= taken;
                let whole = *left == 0;
                if whole {
                    c.stage = Stage::Head;
                }
                Ok((taken as usize, whole))
            }
            Stage::Coded(decoder) => {
                let mut used = 0;
                loop {
                    let rest = &bytes[used..];
                    match decoder.next(rest, &self.limits)? {
                        Step::Data { skip, len } => {
                            decoder.consume(len);
                            used += skip + len;
                        }
                        Step::More { skip } => return Ok((used + skip, false)),
                        Step::End { skip, .. } => {
                            c.stage = Stage::Head;
                            return Ok((used + skip, true));
                        }
                    }
                }
            }
            Stage::UntilClose => Ok((bytes.len(), false)),
        }
    }

    /// A head that is not the last one again.
    fn head(&mut self, c: &mut Conn, bytes: &[u8]) -> Result<(usize, bool), Malformed> {
        let parsed = parse_response(bytes, &mut c.progress, &mut self.fields, &self.limits)?;
        let Some((response, used)) = parsed else { return Ok((0, false)) };
        if matches!(response.status, 100..=199) {
            return Ok((used, false));
        }
        let method = if self.head_only { Method::Head } else { Method::Get };
        let framing = response.framing(method)?;
        (c.status, c.keep) = (response.status, framing.keep_alive);
        let length = match framing.body {
            Body::None => Some(0),
            Body::Length(length) => Some(length),
            Body::Chunked | Body::UntilClose => None,
        };
        if let (Some(length), true) = (length, c.keep) {
            self.memo.head.clear();
            self.memo.head.extend_from_slice(&bytes[..used]);
            (self.memo.status, self.memo.length) = (c.status, length);
        }
        c.stage = match framing.body {
            Body::None | Body::Length(0) => return Ok((used, true)),
            Body::Length(length) => Stage::Length(length),
            Body::Chunked => Stage::Coded(Decoder::new(framing.body, &self.limits)?),
            Body::UntilClose => Stage::UntilClose,
        };
        Ok((used, false))
    }
}

impl Speech for Http {
    type Conn = Conn;

    fn begin() -> Conn {
        Conn { progress: Progress::new(), stage: Stage::Head, status: 0, keep: true }
    }

    fn open(&mut self, _: &mut Conn, _: &mut Io<'_>) -> bool {
        true
    }

    fn hear(&mut self, c: &mut Conn, _: &mut Io<'_>, bytes: &[u8]) -> Result<(usize, Heard), Bad> {
        let (used, whole) = self.answer(c, bytes).map_err(|_| Bad)?;
        Ok((used, if whole { Heard::Answer(Some(c.status)) } else { Heard::Part }))
    }

    fn ended(&mut self, c: &mut Conn) -> Option<u16> {
        matches!(c.stage, Stage::UntilClose).then(|| {
            (c.keep, c.stage) = (false, Stage::Head);
            c.status
        })
    }

    fn keeps(&self, c: &Conn) -> bool {
        c.keep
    }

    fn begun(&self, c: &Conn) -> bool {
        !matches!(c.stage, Stage::Head)
    }

    fn bye(&mut self, _: &mut Io<'_>) {}
}

/// The request as it goes out, and whether its answers have no body.
pub(super) fn request(matches: &ArgMatches, url: &Url) -> Result<(Vec<u8>, bool), Fail> {
    if matches.contains_id("size") {
        return Err(Fail::usage("--size is for ws://; say -b for a body"));
    }
    let body = body(matches)?;
    let method = text(matches, "request").unwrap_or(if body.is_some() { "POST" } else { "GET" });
    let (host, mut headers) = headers(matches, url)?;
    let framing = body.as_ref().map_or(Body::None, |body| Body::Length(body.len() as u64));
    let close = headers.iter().position(|(name, value)| {
        name.eq_ignore_ascii_case("connection") && value.eq_ignore_ascii_case("close")
    });
    let connection = match close.map(|at| headers.remove(at)) {
        Some(_) => Connection::Close,
        None => Connection::Implicit,
    };
    let target = &url.target;
    let head = RequestHead { method, target, host: &host, body: framing, connection };
    let mut bytes = Vec::new();
    encode::request_head(&mut bytes, &head, headers).map_err(|why| {
        Fail::usage(format!("the request cannot be sent: {why}; check -X and -H"))
    })?;
    bytes.extend(body.unwrap_or_default());
    Ok((bytes, method == "HEAD"))
}

/// What `--body` says.
pub(super) fn body(matches: &ArgMatches) -> Result<Option<Vec<u8>>, Fail> {
    let Some(data) = text(matches, "body") else { return Ok(None) };
    let Some(path) = data.strip_prefix('@') else { return Ok(Some(data.as_bytes().to_vec())) };
    std::fs::read(path).map(Some).map_err(|error| {
        let why = common::reason(&error);
        Fail::failed(format!("cannot read {path}: {why}; check --body"))
    })
}

/// The `Host`, and the other headers: those of `-H`, and the login of the URL.
pub(super) fn headers(
    matches: &ArgMatches,
    url: &Url,
) -> Result<(String, Vec<(String, String)>), Fail> {
    let (mut host, mut headers) = (url.authority(), Vec::new());
    for line in matches.get_many::<String>("header").into_iter().flatten() {
        let Some((name, value)) = line.split_once(':') else {
            return Err(Fail::usage(format!("{line:?} is no header: 'Name: value' is one")));
        };
        match name.eq_ignore_ascii_case("host") {
            true => host = value.trim().to_string(),
            false => headers.push((name.to_string(), value.trim().to_string())),
        }
    }
    let given = |(name, _): &(String, String)| name.eq_ignore_ascii_case("authorization");
    if let Some(login) = &url.login
        && !headers.iter().any(given)
    {
        headers.push(("Authorization".to_string(), login.basic()));
    }
    Ok((host, headers))
}
