//! llhttp's own cases, put to our parser: where the two differ, `fixtures/llhttp-differs.txt` says
//! how and why, and nothing else may differ.
//!
//! Rule: a request of theirs without `Host` is given one, and one with a fragment in its target
//! loses that, since ours refuses them for these alone and would say nothing about the rest.

use loopwork_http::core::*;
use std::collections::BTreeMap;
use std::fmt::Write as _;

const CASES: &str = include_str!("fixtures/llhttp.txt");
const DIFFERS: &str = include_str!("fixtures/llhttp-differs.txt");

/// One case: what goes in, and what llhttp says of it.
struct Case {
    name: &'static str,
    /// `request` or `response`, and the leniency that llhttp was told.
    kind: &'static str,
    head_only: bool,
    input: Vec<u8>,
    messages: Vec<&'static str>,
    end: &'static str,
}

fn cases() -> Vec<Case> {
    let blocks = CASES.split("\n\n").filter(|block| block.starts_with("case "));
    blocks.map(case).collect()
}

fn case(block: &'static str) -> Case {
    let mut lines = block.lines();
    let mut words = lines.next().unwrap().split(' ').skip(1);
    let (name, kind) = (words.next().unwrap(), words.next().unwrap());
    let input = lines.next().unwrap().strip_prefix("in ").unwrap();
    let mut rest: Vec<_> = lines.collect();
    let end = rest.pop().unwrap().strip_prefix("end ").unwrap();
    let head_only = words.next() == Some("skip-body");
    Case { name, kind, head_only, input: unescape(input), messages: rest, end }
}

fn unescape(text: &str) -> Vec<u8> {
    let (mut out, mut bytes) = (Vec::new(), text.bytes());
    while let Some(b) = bytes.next() {
        out.push(match b {
            b'\\' => match bytes.next().unwrap() {
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'x' => {
                    let mut digit = || char::from(bytes.next().unwrap()).to_digit(16).unwrap();
                    (digit() * 16 + digit()) as u8
                }
                other => other,
            },
            plain => plain,
        });
    }
    out
}

fn escape(bytes: &[u8]) -> String {
    let mut out = String::new();
    for &b in bytes {
        match b {
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            b'\\' => out.push_str("\\\\"),
            b' '..=b'~' if b != b'|' => out.push(b.into()),
            _ => write!(out, "\\x{b:02x}").unwrap(),
        }
    }
    out
}

/// What we say of the same bytes, in the words of the fixture.
#[derive(Debug, PartialEq)]
struct Ours {
    messages: Vec<String>,
    end: String,
}

/// A message under way.
struct Message {
    parts: Vec<Vec<u8>>,
    body: Vec<u8>,
    fields: Vec<Vec<u8>>,
}

impl Message {
    fn line(&self, how: &str) -> String {
        let parts = self.parts.iter().chain([&self.body]).chain(&self.fields);
        format!("{how} {}", parts.map(|part| escape(part)).collect::<Vec<_>>().join("|"))
    }
}

fn fields(headers: &Headers<'_>) -> Vec<Vec<u8>> {
    headers.iter().flat_map(|(name, value)| [name.into(), value.to_vec()]).collect()
}

/// The reader of a connection: all messages up to an end.
struct Reader {
    limits: Limits,
    seen: Progress,
    table: Fields,
    step: usize,
}

/// What a head is followed by.
enum Head {
    Message(Message, Framing, usize),
    More,
}

impl Reader {
    fn version(version: Version) -> Vec<u8> {
        if version == Version::Http11 { b"1.1".to_vec() } else { b"1.0".to_vec() }
    }

    fn head(&mut self, case: &Case, bytes: &[u8]) -> Result<Head, Malformed> {
        let Self { seen, table, limits, .. } = self;
        let (parts, fields, framing, used) = if case.kind.starts_with("request") {
            let Some((r, used)) = parse_request(bytes, seen, table, limits)? else {
                return Ok(Head::More);
            };
            let first = [r.method.as_str().into(), r.target.into(), Reader::version(r.version)];
            (first, fields(&r.headers), r.framing()?, used)
        } else {
            let Some((r, used)) = parse_response(bytes, seen, table, limits)? else {
                return Ok(Head::More);
            };
            let status = r.status.to_string().into_bytes();
            let method = if case.head_only { Method::Head } else { Method::Get };
            let first = [status, r.reason.to_vec(), Reader::version(r.version)];
            (first, fields(&r.headers), r.framing(method)?, used)
        };
        let body = Vec::new();
        Ok(Head::Message(Message { parts: parts.into(), body, fields }, framing, used))
    }

    /// Whether the message is whole, and how many bytes its body took.
    fn body(
        &mut self,
        m: &mut Message,
        body: Body,
        bytes: &[u8],
    ) -> Result<(bool, usize), Malformed> {
        let (mut decoder, mut at, limits) = (Decoder::new(body, &self.limits)?, 0, self.limits);
        let mut end = 0usize;
        loop {
            end = bytes.len().min(end.max(at).saturating_add(self.step));
            match decoder.next(&bytes[at..end], &limits)? {
                Step::Data { skip, len } => {
                    m.body.extend_from_slice(&bytes[at + skip..at + skip + len]);
                    decoder.consume(len);
                    at += skip + len;
                }
                Step::More { skip } if end == bytes.len() => return Ok((false, at + skip)),
                Step::More { skip } => at += skip,
                Step::End { skip, trailers } => {
                    let section = &bytes[at..end][trailers];
                    m.fields.extend(fields(&parse_trailers(section, &mut self.table, &limits)?));
                    return Ok((true, at + skip));
                }
            }
        }
    }
}

/// Reads a case's input: as much at a time as `step` says.
fn ours(case: &Case, step: usize) -> Ours {
    let limits = Limits::default();
    let mut reader = Reader { limits, seen: Progress::new(), table: Fields::new(), step };
    let (mut bytes, mut at, mut messages) = (case.input.clone(), 0usize, Vec::new());
    let end = loop {
        let mut upto = at;
        let head = loop {
            upto = bytes.len().min(upto.saturating_add(step));
            match reader.head(case, &bytes[at..upto]) {
                Ok(Head::More) if upto < bytes.len() => {}
                other => break other,
            }
        };
        let (mut message, framing, used) = match head {
            Ok(Head::Message(m, f, used)) => (m, f, used),
            Ok(Head::More) => break "more".to_owned(),
            Err(Malformed::MissingHost) => {
                // Behind the first line, wherever an empty one stands before it.
                let skip = if bytes[at..].starts_with(b"\r\n") { 2 } else { 0 };
                let line = bytes[at + skip..].windows(2).position(|w| w == b"\r\n").unwrap();
                let place = at + skip + line + 2;
                bytes.splice(place..place, *b"Host: a\r\n");
                continue;
            }
            Err(Malformed::FragmentInTarget) => {
                let from = at + bytes[at..].iter().position(|b| *b == b'#').unwrap();
                let to = from + bytes[from..].iter().position(|b| *b == b' ').unwrap();
                bytes.drain(from..to);
                continue;
            }
            Err(why) => break format!("refused {why:?}"),
        };
        if message.fields.starts_with(&[b"Host".to_vec(), b"a".to_vec()]) {
            message.fields.drain(..2);
        }
        at += used;
        let switched = message.parts[0] == b"CONNECT" || message.parts[0] == b"101";
        let (whole, used) = match reader.body(&mut message, framing.body, &bytes[at..]) {
            Ok(found) => found,
            Err(why) => break format!("refused {why:?}"),
        };
        at += used;
        messages.push(message.line(if whole { "whole" } else { "part" }));
        if switched || (framing.upgrade && whole && case.kind.starts_with("request")) {
            break "upgrade".to_owned();
        }
        match (whole, framing.keep_alive) {
            (true, true) => {}
            (true, false) if at < bytes.len() => break "closed".to_owned(),
            _ => break "more".to_owned(),
        }
    };
    Ours { messages, end }
}

/// What llhttp says, as we would say it: values without white space behind them, no fragments, and
/// only what is whole where the end is an error.
fn theirs(case: &Case, ours: &Ours) -> Ours {
    let end = match case.end {
        "error Data after `Connection: close`" => "closed".to_owned(),
        error if error.starts_with("error ") => "refused".to_owned(),
        other => other.to_owned(),
    };
    let mut messages: Vec<String> = case.messages.iter().map(|m| normal(m)).collect();
    if end == "refused" || ours.messages.len() < messages.len() {
        messages.retain(|m| m.starts_with("whole"));
    }
    Ours { messages, end }
}

fn normal(message: &str) -> String {
    let mut parts: Vec<&str> = message.split('|').collect();
    parts[1] = parts[1].split('#').next().unwrap();
    for part in parts.iter_mut().skip(4) {
        while let Some(shorter) = part.strip_suffix(' ').or(part.strip_suffix("\\t")) {
            *part = shorter;
        }
    }
    parts.join("|")
}

/// How ours differs, if it does.
fn verdict(case: &Case) -> Option<String> {
    let mut mine = ours(case, usize::MAX);
    let slow = ours(case, 1);
    // Of a head that is not whole, only how soon it is refused depends on the cuts.
    let later = mine.end.starts_with("refused") && slow.end == "more";
    assert!(slow == mine || (later && slow.messages == mine.messages), "{}: {slow:?}", case.name);
    let theirs = theirs(case, &mine);
    let said = mine.end.clone();
    if mine.end.starts_with("refused") {
        mine.end = "refused".to_owned();
        mine.messages.retain(|m| m.starts_with("whole"));
    }
    if mine == theirs {
        return None;
    }
    Some(if said == theirs.end { "another message".to_owned() } else { said })
}

/// What `llhttp-differs.txt` says: the verdict of each case that it names. Its lines are reasons,
/// which begin with `#`, and below each the cases that it is the reason of.
fn differing() -> BTreeMap<&'static str, &'static str> {
    let (mut all, mut reason) = (BTreeMap::new(), None);
    for line in DIFFERS.lines().filter(|line| !line.is_empty()) {
        if let Some(text) = line.strip_prefix("# ") {
            reason = Some(text);
            continue;
        }
        assert!(reason.is_some(), "{line} has no reason");
        let (name, verdict) = line.split_once(": ").unwrap();
        assert!(all.insert(name, verdict).is_none(), "{name} is named twice");
    }
    all
}

#[test]
fn what_differs_is_listed_with_its_reason() {
    let mut listed = differing();
    let mut wrong = Vec::new();
    for case in cases() {
        let verdict = verdict(&case);
        if verdict.as_deref() != listed.remove(case.name) {
            wrong.push(format!("{} ({}): {verdict:?}", case.name, case.kind));
        }
    }
    assert!(wrong.is_empty(), "not as listed:\n{}", wrong.join("\n"));
    assert!(listed.is_empty(), "listed, and no case: {listed:?}");
}

#[test]
fn all_cases_are_there() {
    let cases = cases();
    let requests = cases.iter().filter(|case| case.kind.starts_with("request")).count();
    assert_eq!((requests, cases.len() - requests), (164, 82));
    // Where llhttp sees an error that does not come of its methods, ours never goes on.
    let errors = cases.iter().filter(|case| case.end.starts_with("error"));
    let passed: Vec<_> = errors.filter(|case| ours(case, usize::MAX).end == "more").collect();
    let names: Vec<_> = passed.iter().map(|case| case.name).collect();
    assert_eq!(names, MORE);
}

/// Cases that are an error of llhttp's and not of ours, or not yet: see `llhttp-differs.txt`.
const MORE: [&str; 4] = [
    "requests/error-on-content-length-overflow",
    "requests/error-on-duplicate-content-length",
    "requests/http-protocol-and-announce-method",
    "requests/invalid-method",
];
