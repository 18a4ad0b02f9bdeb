//! Header lines and the empty line behind them (RFC 9112 §5).
//!
//! Rules: the one function for heads and for trailers; a line is looked at in the order of its
//! bytes, so that the first sin is the one that is named.

use super::{
    Limits, Malformed,
    cursor::Cursor,
    fields::{Field, Known},
    simd::{self, Lanes, Task, Words},
};

/// Why a pass stopped.
pub(super) enum Stop {
    /// More bytes are needed.
    More,
    /// They would not help.
    Bad(Malformed),
}

impl From<Malformed> for Stop {
    #[inline]
    fn from(sin: Malformed) -> Self {
        Self::Bad(sin)
    }
}

/// What a pass over header lines found.
#[derive(Clone, Copy, Default)]
pub(super) struct Summary {
    /// Which known names there were, as [`Known::bit`]s.
    pub(super) known: u8,
    /// Which of them came more than once.
    pub(super) again: u8,
    /// The value of the last `Host`: where it begins, and its length.
    pub(super) host: (u32, u32),
    /// Number of lines.
    pub(super) count: usize,
}

impl Summary {
    /// Notes a known name.
    #[inline(always)]
    pub(super) fn know(&mut self, known: Known, value_at: u32, value_len: u32) {
        self.again |= self.known & known.bit();
        self.known |= known.bit();
        if known == Known::Host {
            self.host = (value_at, value_len);
        }
    }
}

/// A line must end at `at`: gives where the next begins. Something other than CRLF is `else_`.
#[inline(always)]
pub(super) fn line_end(bytes: &[u8], at: usize, else_: Malformed) -> Result<usize, Stop> {
    if starts_with(bytes, at, *b"\r\n") {
        return Ok(at + 2);
    }
    Err(no_line_end(bytes.get(at..), else_))
}

/// Do these two bytes stand at `at`? In one comparison.
#[inline(always)]
fn starts_with(bytes: &[u8], at: usize, two: [u8; 2]) -> bool {
    let here = bytes.get(at..).and_then(|rest| rest.first_chunk());
    here.is_some_and(|here| u16::from_ne_bytes(*here) == u16::from_ne_bytes(two))
}

#[cold]
fn no_line_end(rest: Option<&[u8]>, else_: Malformed) -> Stop {
    match rest {
        None | Some([] | [b'\r']) => Stop::More,
        Some([b'\r', ..]) => Malformed::BareCr.into(),
        Some([b'\n', ..]) => Malformed::BareLf.into(),
        Some(_) => else_.into(),
    }
}

/// The header lines and the empty line behind them, from `at` on: gives where they end. The
/// cursor is that of `bytes`.
///
/// ```text
/// field-line  = field-name ":" OWS field-value OWS
/// field-name  = token
/// field-value = *( HTAB / SP / VCHAR / obs-text )     ; trimmed
/// ```
#[inline(always)]
pub(super) fn header_lines<L: Lanes>(
    bytes: &[u8],
    cursor: &mut Cursor<'_, L>,
    mut at: usize,
    limits: &Limits,
    found: &mut Summary,
    mut keep: impl FnMut(usize, Field),
) -> Result<usize, Stop> {
    cursor.seek(at);
    let most = limits.headers as usize;
    let mut count = 0;
    loop {
        let ends = cursor.line(at);
        let name_len = ends.name - at;
        if name_len == 0 {
            found.count = count;
            return empty_line(bytes, at, count);
        }
        let mut value_at = ends.name + 2;
        if !plain_start(bytes, ends.name) {
            value_at = match bytes.get(ends.name) {
                Some(b':') => value_start(bytes, ends.name + 1),
                byte => return Err(no_name(byte, name_len, count == 0)),
            };
        }
        if count >= most {
            return Err(Malformed::TooManyHeaders.into());
        }
        if name_len > usize::from(u16::MAX) {
            return Err(Malformed::HeadTooLarge.into());
        }
        let mut value_len = ends.line.wrapping_sub(value_at) as u32;
        let mut next = ends.line + 2;
        if !plain_end(bytes, ends.line) {
            value_len = trimmed(bytes, value_at, ends.line);
            next = line_end(bytes, ends.line, Malformed::InvalidHeaderValue)?;
        }
        cursor.pass_crlf();
        let value_at = value_at as u32;
        let known = Known::at(bytes, at, name_len);
        if known != Known::Other {
            found.know(known, value_at, value_len);
        }
        let (name_at, name_len) = (at as u32, name_len as u16);
        keep(count, Field { name_at, value_at, value_len, name_len, known });
        count += 1;
        at = next;
    }
}

/// The empty line that ends the lines, where no name is.
#[inline(always)]
fn empty_line(bytes: &[u8], at: usize, count: usize) -> Result<usize, Stop> {
    if starts_with(bytes, at, *b"\r\n") {
        return Ok(at + 2);
    }
    Err(no_empty_line(bytes.get(at..), count == 0))
}

/// What is wrong where neither a name nor an empty line is.
#[cold]
fn no_empty_line(rest: Option<&[u8]>, first: bool) -> Stop {
    let rest = rest.unwrap_or_default();
    match rest.first() {
        Some(b'\r') => no_line_end(Some(rest), Malformed::BareCr),
        byte => no_name(byte, 0, first),
    }
}

/// Is this a colon, one space, and the beginning of a value? So are most.
#[inline(always)]
fn plain_start(bytes: &[u8], at: usize) -> bool {
    match bytes.get(at..).and_then(|rest| rest.first_chunk()) {
        Some(&[a, b, c]) => u16::from_ne_bytes([a, b]) == u16::from_ne_bytes(*b": ") && c > b' ',
        None => false,
    }
}

/// Is the line end at `at` a CRLF, without white space before it? Of the bytes of a value only SP
/// and HTAB are not above SP.
#[inline(always)]
fn plain_end(bytes: &[u8], at: usize) -> bool {
    match bytes.get(at.wrapping_sub(1)..).and_then(|rest| rest.first_chunk()) {
        Some(&[a, b, c]) => u16::from_ne_bytes([b, c]) == u16::from_ne_bytes(*b"\r\n") && a > b' ',
        None => false,
    }
}

/// Where the value begins whose colon is before `at`.
#[cold]
fn value_start(bytes: &[u8], mut at: usize) -> usize {
    while bytes.get(at).is_some_and(is_space) {
        at += 1;
    }
    at
}

/// Is this white space of a line? Most bytes are not, and need one comparison.
#[inline(always)]
fn is_space(b: &u8) -> bool {
    *b <= b' ' && matches!(b, b' ' | b'\t')
}

/// The length of a value without the white space behind it.
#[cold]
fn trimmed(bytes: &[u8], start: usize, end: usize) -> u32 {
    let value = bytes.get(start..end).unwrap_or_default();
    value.trim_ascii_end().len() as u32
}

/// What is wrong with a line whose name is not followed by a colon.
#[cold]
pub(super) fn no_name(found: Option<&u8>, name_len: usize, first: bool) -> Stop {
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
pub(super) fn trailer_lines(
    bytes: &[u8],
    limits: &Limits,
    keep: &mut dyn FnMut(Field),
) -> Result<(), Malformed> {
    simd::run(bytes, limits, Trailers(keep))
}

/// See [`trailer_lines`].
struct Trailers<'b>(&'b mut dyn FnMut(Field));

impl<'a> Task<'a> for Trailers<'_> {
    type Output = Result<(), Malformed>;

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L, bytes: &'a [u8], limits: &Limits) -> Self::Output {
        let mut found = Summary::default();
        let words = Words::at(lanes, bytes, 0);
        let mut cursor = Cursor::new(lanes, bytes, words);
        let keep = |_, field| (self.0)(field);
        match header_lines(bytes, &mut cursor, 0, limits, &mut found, keep) {
            Ok(_) => Ok(()),
            Err(Stop::More) => Err(Malformed::Truncated),
            Err(Stop::Bad(sin)) => Err(sin),
        }
    }
}
