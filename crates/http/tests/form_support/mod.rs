//! Helpers of the tests of forms: `read`, which feeds a form in any pieces, and `oracle`, a reader
//! that is slow and plain. Nothing of the oracle is shared with the code under test.

use loopwork_http::core;
use loopwork_http::forms::multipart::{Event, Limits, Malformed, Multipart};

/// Limits that a small form reaches.
pub(crate) const TIGHT: Limits =
    Limits { parts: 3, head_bytes: 90, headers: 2, outside_bytes: 12, body_bytes: 300 };

/// A part as far as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Got {
    pub(crate) name: String,
    pub(crate) file_name: Option<String>,
    pub(crate) lines: Vec<(String, Vec<u8>)>,
    pub(crate) data: Vec<u8>,
    pub(crate) ended: bool,
}

/// All parts, and how it ended.
pub(crate) type Outcome = (Vec<Got>, Result<(), Malformed>);

/// Reads a form in pieces of these lengths.
pub(crate) fn read(
    kind: &[u8],
    bytes: &[u8],
    limits: Limits,
    mut piece: impl FnMut() -> usize,
) -> Outcome {
    let mut parts = Vec::new();
    let verdict = Multipart::new(kind, limits).and_then(|mut form| {
        let (mut rest, mut over) = (bytes, false);
        while !rest.is_empty() {
            let (mut now, later) = rest.split_at(piece().clamp(1, rest.len()));
            rest = later;
            while let Some(event) = form.next(&mut now)? {
                assert!(!over, "nothing behind the end");
                over = note(&mut parts, event);
            }
            assert!(now.is_empty(), "all is used");
        }
        assert!(form.next(&mut &b""[..])?.is_none());
        assert_eq!(form.finish().is_ok(), over);
        form.finish()
    });
    (parts, verdict)
}

/// Writes an event down, which has to be in its turn; whether it is the last.
fn note(parts: &mut Vec<Got>, event: Event<'_>) -> bool {
    let open = parts.last().is_some_and(|part| !part.ended);
    match event {
        Event::Part(part) => {
            assert!(!open);
            let line = |(name, value): (&str, &[u8])| (name.to_owned(), value.to_vec());
            parts.push(Got {
                name: part.name.into_owned(),
                file_name: part.file_name.map(Into::into),
                lines: part.headers.iter().map(line).collect(),
                ..Got::default()
            });
        }
        Event::Data(data) => {
            assert!(open && !data.is_empty());
            parts.last_mut().unwrap().data.extend_from_slice(data);
        }
        Event::PartEnd => {
            assert!(open);
            parts.last_mut().unwrap().ended = true;
        }
        Event::End => {
            assert!(!open);
            return true;
        }
    }
    false
}

/// The boundary, if the type is that of a form.
fn boundary(kind: &[u8]) -> Option<Vec<u8>> {
    let (kind, parameters) = pieces(kind)?;
    if !kind.eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let found = only(&parameters, "boundary")??;
    let bchar = |c: &u8| c.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(c);
    let valid = (1..=70).contains(&found.len()) && found.iter().all(bchar);
    (valid && found.last() != Some(&b' ')).then_some(found)
}

/// Names and values of parameters.
type Parameters = Vec<(Vec<u8>, Vec<u8>)>;

/// The value of the only parameter of this name; `None`: there are several.
fn only(parameters: &Parameters, name: &str) -> Option<Option<Vec<u8>>> {
    let mut all = parameters.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes()));
    let first = all.next().map(|(_, value)| value.clone());
    all.next().is_none().then_some(first)
}

/// What stands before the first semicolon, and the parameters behind it.
fn pieces(text: &[u8]) -> Option<(String, Parameters)> {
    // Semicolons between quotes part nothing.
    let (mut parts, mut quoted) = (vec![Vec::new()], false);
    for (at, b) in text.iter().enumerate() {
        quoted ^= *b == b'"' && at > 0;
        match b {
            b';' if !quoted => parts.push(Vec::new()),
            b => parts.last_mut()?.push(*b),
        }
    }
    let kind = String::from_utf8_lossy(parts[0].trim_ascii()).into_owned();
    let mut found = Vec::new();
    for part in &parts[1..] {
        let part = part.trim_ascii();
        if part.is_empty() {
            continue;
        }
        let equals = part.iter().position(|b| *b == b'=')?;
        let (name, mut value) = (&part[..equals], &part[equals + 1..]);
        if value.first() == Some(&b'"') {
            value = value.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
            if value.contains(&b'"') || value.last() == Some(&b'\\') {
                return None;
            }
        } else if !is_token(value) {
            return None;
        }
        if !is_token(name) || value.last() == Some(&b'\\') {
            return None;
        }
        found.push((name.to_vec(), value.to_vec()));
    }
    Some((kind, found))
}

fn is_token(text: &[u8]) -> bool {
    let tchar = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
    !text.is_empty() && text.iter().all(tchar)
}

/// A part's head: what it says, or why it is none; `None`: HTTP's grammar has to say why.
fn head(text: &[u8], limits: &Limits) -> Option<Result<Got, Malformed>> {
    let mut got = Got::default();
    let mut lines = text.strip_suffix(b"\r\n").unwrap_or(text);
    while !lines.is_empty() {
        let end = lines.windows(2).position(|two| two == b"\r\n")?;
        let colon = lines[..end].iter().position(|b| *b == b':')?;
        let (name, value) = (&lines[..colon], &lines[colon + 1..end]);
        if !is_token(name) || value.iter().any(|b| b.is_ascii_control() && *b != b'\t') {
            return None;
        }
        if got.lines.len() == limits.headers as usize {
            return None;
        }
        let name = String::from_utf8_lossy(name).into_owned();
        got.lines.push((name, value.trim_ascii().to_vec()));
        lines = &lines[end + 2..];
    }
    let is = |(name, _): &&(String, Vec<u8>)| name.eq_ignore_ascii_case("content-disposition");
    let said: Vec<_> = got.lines.iter().filter(is).collect();
    let named = match said[..] {
        [(_, value)] => pieces(value).filter(|(kind, _)| kind.eq_ignore_ascii_case("form-data")),
        _ => None,
    };
    let named = named.and_then(|(_, parameters)| {
        Some((only(&parameters, "name")??, only(&parameters, "filename")?))
    });
    let Some((name, file_name)) = named else { return Some(Err(Malformed::Disposition)) };
    (got.name, got.file_name) = (text_of(&name), file_name.map(|name| text_of(&name)));
    Some(Ok(got))
}

/// The three escapes undone, and UTF-8 made of it.
fn text_of(value: &[u8]) -> String {
    let (mut out, mut at) = (Vec::new(), 0);
    while at < value.len() {
        let three = value.get(at..at + 3).unwrap_or_default().to_ascii_lowercase();
        let escaped = [(&b"%0a"[..], b'\n'), (b"%0d", b'\r'), (b"%22", b'"')];
        let found = escaped.iter().find(|(text, _)| *text == three);
        out.push(found.map_or(value[at], |(_, b)| *b));
        at += if found.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Where the delimiter stands from `from` on; else, where a piece of it begins at the end, or the
/// end.
fn delimiter(bytes: &[u8], from: usize, delimiter: &[u8]) -> Result<usize, usize> {
    for at in from..bytes.len() {
        if bytes[at..].starts_with(delimiter) {
            return Ok(at);
        }
        if delimiter.starts_with(&bytes[at..]) {
            return Err(at);
        }
    }
    Err(bytes.len())
}

/// What must come of a form.
pub(crate) fn oracle(kind: &[u8], bytes: &[u8], limits: Limits) -> Outcome {
    let mut parts = Vec::new();
    let Some(boundary) = boundary(kind) else { return (parts, Err(Malformed::NotAForm)) };
    let room = bytes.len().min(limits.body_bytes as usize);
    // A line end before it all makes the first delimiter one as the others.
    let text = [b"\r\n", &bytes[..room]].concat();
    let line = [b"\r\n--", &boundary[..]].concat();
    let mut verdict = walk(&text, &line, &limits, &mut parts);
    if room < bytes.len() && matches!(verdict, Ok(()) | Err(Malformed::Truncated)) {
        verdict = Err(Malformed::TooLarge);
    }
    (parts, verdict)
}

fn walk(text: &[u8], line: &[u8], limits: &Limits, parts: &mut Vec<Got>) -> Result<(), Malformed> {
    let (mut outside, mut at) = (0, 0);
    let mut spend = |n: usize| {
        outside += n;
        if outside > limits.outside_bytes as usize {
            Err(Malformed::TooMuchOutside)
        } else {
            Ok(())
        }
    };
    let mut first = true;
    loop {
        let found = delimiter(text, at, line);
        let end = found.unwrap_or_else(|end| end);
        // The first two bytes are those of the line before.
        let data = text.get(at + 2..end).unwrap_or_default();
        match parts.last_mut() {
            Some(part) if !first => {
                part.data.extend_from_slice(data);
                part.ended = found.is_ok();
            }
            _ => spend(data.len())?,
        }
        first = false;
        if found.is_err() {
            return Err(Malformed::Truncated);
        }
        at = end + line.len();
        if text[at..].starts_with(b"--") {
            return spend(text.len() - at - 2);
        }
        if text[at..] == b"-"[..] {
            return Err(Malformed::Truncated);
        }
        while let Some(b' ' | b'\t') = text.get(at) {
            spend(1)?;
            at += 1;
        }
        match text.get(at..at + 2) {
            Some(b"\r\n") => at += 2,
            None if matches!(&text[at..], b"" | b"\r") => return Err(Malformed::Truncated),
            _ => return Err(Malformed::Delimiter),
        }
        if parts.len() == limits.parts as usize {
            return Err(Malformed::TooManyParts);
        }
        let len = head_len(&text[at..], limits)?;
        match head(&text[at..at + len], limits) {
            Some(part) => parts.push(part?),
            None => return Err(Malformed::Head(core::Malformed::MissingColon)),
        }
        at += len - 2;
    }
}

/// The length of a head with its empty line.
fn head_len(text: &[u8], limits: &Limits) -> Result<usize, Malformed> {
    for len in 1..=text.len() {
        if len > limits.head_bytes as usize {
            return Err(Malformed::Head(core::Malformed::HeadTooLarge));
        }
        let so_far = &text[..len];
        if so_far.ends_with(b"\n") && !so_far.ends_with(b"\r\n") {
            return Err(Malformed::Head(core::Malformed::BareLf));
        }
        if so_far == b"\r\n" || so_far.ends_with(b"\r\n\r\n") {
            return Ok(len);
        }
    }
    Err(Malformed::Truncated)
}

/// The same, whichever of HTTP's rules a head broke: the oracle does not know them apart.
pub(crate) fn alike((parts, verdict): Outcome) -> Outcome {
    use core::Malformed::{BareLf, HeadTooLarge, MissingColon};
    let verdict = verdict.map_err(|why| match why {
        Malformed::Head(HeadTooLarge | BareLf) => why,
        Malformed::Head(_) => Malformed::Head(MissingColon),
        why => why,
    });
    (parts, verdict)
}

/// Every way of feeding a form comes to what the oracle says.
pub(crate) fn check(kind: &[u8], bytes: &[u8], limits: Limits, seed: u64) -> Outcome {
    let whole = read(kind, bytes, limits, || usize::MAX);
    assert_eq!(alike(whole.clone()), alike(oracle(kind, bytes, limits)));
    assert_eq!(read(kind, bytes, limits, || 1), whole, "byte by byte");
    let mut state = seed;
    for most in [3, 17, 90] {
        let cut = read(kind, bytes, limits, || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            1 + (state >> 33) as usize % most
        });
        assert_eq!(cut, whole, "pieces of at most {most}, seed {seed}");
    }
    whole
}
