//! A head once more, as loosely as [`Leniency`](super::Leniency) says, after the strict pass has
//! refused it.
//!
//! Rules:
//!
//! * what the strict pass takes is taken as it says: this is never asked about it;
//! * a line is judged when it is whole, so that the verdict does not depend on how it was cut;
//! * nothing of what frames a message is read loosely: colons, lengths and codings go through the
//!   same checks.

use super::{
    Fields, Limits, Malformed, Method,
    fields::{Field, Known},
    head::{Line, Status, VERSION, longest_line, version},
    limits::METHOD_BYTES,
    lines::{Stop, Summary, no_name},
    scan,
};

/// A first line that is read again.
pub(super) trait Loose<'a>: Sized {
    /// Are empty lines before it skipped?
    const EMPTY_LINES: bool;

    /// What it says, if it may be read so. The line end is off.
    fn read(line: &'a [u8], limits: &Limits) -> Option<Self>;
}

/// A first line, what is known of the headers, and where the head ends.
pub(super) type Head<F> = (F, Summary, usize);

/// A head that the strict pass refused for `sin`. `whole_line` is set when the first line is whole.
pub(super) fn head<'a, F: Loose<'a>>(
    bytes: &'a [u8],
    fields: &mut Fields,
    limits: &Limits,
    whole_line: &mut bool,
    sin: Malformed,
) -> Result<Head<F>, Stop> {
    let (text, at) = first_line::<F>(bytes, limits, sin)?;
    let line = F::read(text, limits).ok_or(sin)?;
    *whole_line = true;
    let (found, end) = header_lines(bytes, at, fields, limits)?;
    fields.set_len(found.count);
    Ok((line, found, end))
}

/// Does a line end behind `start` that a pass has to look at: the first one, the empty one behind
/// the headers, or one that may not end so?
pub(super) fn ends(head: &[u8], start: usize, first_line: bool, limits: &Limits) -> bool {
    memchr::memchr_iter(b'\n', &head[start..]).any(|found| {
        let line = &head[..start + found];
        let bare = !limits.lenient.bare_lf && !line.ends_with(b"\r");
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        // Of a head it ends the lines; before one it may be skipped.
        let empty = line.is_empty() || line.ends_with(b"\n");
        let second = empty && !line.is_empty() && !limits.lenient.empty_lines;
        bare || second || empty == first_line
    })
}

/// The line at `at` without its end, and where the next begins. `None`: it is not whole.
///
/// RFC 9112 §2.2: "a recipient MAY recognize a single LF as a line terminator and ignore any
/// preceding CR".
fn line<'a>(bytes: &'a [u8], at: usize, limits: &Limits) -> Result<(&'a [u8], usize), Stop> {
    let rest = bytes.get(at..).unwrap_or_default();
    let Some(lf) = memchr::memchr(b'\n', rest) else {
        scan::work::add(rest.len());
        return Err(Stop::More);
    };
    scan::work::add(lf + 1);
    match rest[..lf].strip_suffix(b"\r") {
        Some(line) => Ok((line, at + lf + 1)),
        None if limits.lenient.bare_lf => Ok((&rest[..lf], at + lf + 1)),
        None => Err(Malformed::BareLf.into()),
    }
}

/// The first line, behind the empty ones. It is refused where it cannot end in time, so that what
/// comes without an end is not waited for.
fn first_line<'a, F: Loose<'a>>(
    bytes: &'a [u8],
    limits: &Limits,
    sin: Malformed,
) -> Result<(&'a [u8], usize), Stop> {
    let most = if F::EMPTY_LINES { longest_line(limits) } else { usize::MAX };
    let room = &bytes[..bytes.len().min(most)];
    let (mut at, mut empty) = (0, 0);
    loop {
        let (text, next) = match line(room, at, limits) {
            Err(Stop::More) if bytes.len() > most => return Err(sin.into()),
            line => line?,
        };
        if !text.is_empty() || !F::EMPTY_LINES {
            return Ok((text, next));
        }
        empty += 1;
        if empty > 1 && !limits.lenient.empty_lines {
            return Err(Malformed::LeadingEmptyLines.into());
        }
        at = next;
    }
}

/// The header lines, by the rules of [`lines::header_lines`](super::lines::header_lines) but for
/// the ends of lines: what is known of them, and where the empty line ends.
fn header_lines(
    bytes: &[u8],
    mut at: usize,
    fields: &mut Fields,
    limits: &Limits,
) -> Result<(Summary, usize), Stop> {
    let mut found = Summary::default();
    loop {
        let (text, next) = line(bytes, at, limits)?;
        if text.is_empty() {
            return Ok((found, next));
        }
        let name_len = scan::token(text);
        let colon = text.get(name_len);
        if name_len == 0 || colon != Some(&b':') {
            // A line that is only a name lacks its colon.
            return Err(no_name(colon.or(Some(&b'\r')), name_len, found.count == 0));
        }
        if found.count >= limits.headers as usize {
            return Err(Malformed::TooManyHeaders.into());
        }
        let Ok(name_bytes) = u16::try_from(name_len) else {
            return Err(Malformed::HeadTooLarge.into());
        };
        let rest = &text[name_len + 1..];
        let value = scan::trim_ows(rest);
        if !scan::all_value(value) {
            let cr = rest.contains(&b'\r');
            return Err(if cr { Malformed::BareCr } else { Malformed::InvalidHeaderValue }.into());
        }
        let blank = rest.len() - rest.trim_ascii_start().len();
        let value_at = (at + name_len + 1 + blank) as u32;
        let value_len = value.len() as u32;
        let known = Known::at(bytes, at, name_len);
        if known != Known::Other {
            found.know(known, value_at, value_len);
        }
        let name_at = at as u32;
        fields
            .put(found.count, Field { name_at, value_at, value_len, name_len: name_bytes, known });
        found.count += 1;
        at = next;
    }
}

/// RFC 9112 §3: "recipients MAY instead parse on whitespace-delimited word boundaries and [...]
/// treat any form of whitespace as the SP separator", which is SP, HTAB, VT, FF, and a bare CR.
fn is_white(b: &u8) -> bool {
    matches!(b, b' ' | b'\t' | 0x0b | 0x0c | b'\r')
}

/// The next word of a first line, and what is behind the white space that ends it.
fn word(text: &[u8], loose: bool) -> (&[u8], &[u8]) {
    let end = |b: &u8| if loose { is_white(b) } else { *b == b' ' };
    let len = text.iter().position(end).unwrap_or(text.len());
    let rest = text.get(len + 1..).unwrap_or_default();
    (&text[..len], if loose { trim(rest) } else { rest })
}

/// Without the white space around it, which §3 lets a recipient ignore.
fn trim(mut text: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = text
        && is_white(first)
    {
        text = rest;
    }
    while let [rest @ .., last] = text
        && is_white(last)
    {
        text = rest;
    }
    text
}

impl<'a> Loose<'a> for Line<'a> {
    const EMPTY_LINES: bool = true;

    /// `request-line = method SP request-target SP HTTP-version`
    fn read(line: &'a [u8], limits: &Limits) -> Option<Self> {
        let loose = limits.lenient.white_space;
        let line = if loose { trim(line) } else { line };
        let (method, rest) = word(line, loose);
        let (target, rest) = word(rest, loose);
        let is_method = !method.is_empty() && method.len() <= METHOD_BYTES;
        let most = limits.target_bytes as usize;
        let is_target = !target.is_empty() && target.len() <= most;
        let good = is_method && scan::all_token(method) && is_target;
        if !good || scan::target(target) < target.len() || rest.len() != VERSION.len() {
            return None;
        }
        let version = version(rest).ok()?;
        Some(Line {
            method: Method::new(scan::ascii(method)),
            target: scan::ascii(target),
            version,
        })
    }
}

impl<'a> Loose<'a> for Status<'a> {
    const EMPTY_LINES: bool = false;

    /// `status-line = HTTP-version SP status-code SP [ reason-phrase ]`
    fn read(line: &'a [u8], limits: &Limits) -> Option<Self> {
        let loose = limits.lenient.white_space;
        let line = if loose { trim(line) } else { line };
        let (first, rest) = word(line, loose);
        let (code, reason) = word(rest, loose);
        let &[a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9'] = code else { return None };
        if first.len() != VERSION.len() || !scan::all_value(reason) {
            return None;
        }
        let digit = |b: u8| u16::from(b - b'0');
        let status = digit(a) * 100 + digit(b) * 10 + digit(c);
        Some(Status { version: version(first).ok()?, status, reason })
    }
}
