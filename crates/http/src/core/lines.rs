//! Header lines and the empty line behind them (RFC 9112 §5).
//!
//! Rules: the one function for heads and for trailers; a line is looked at in the order of its
//! bytes, so that the first sin is the one that is named.

use super::{
    Limits, Malformed,
    cursor::Cursor,
    fields::{Field, Known},
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
}

/// A line must end at `at`: gives where the next begins. Something other than CRLF is `else_`.
#[inline(always)]
pub(super) fn line_end(bytes: &[u8], at: usize, else_: Malformed) -> Result<usize, Stop> {
    match bytes.get(at..).and_then(|rest| rest.first_chunk()) {
        Some(b"\r\n") => Ok(at + 2),
        _ => Err(no_line_end(bytes.get(at..), else_)),
    }
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
pub(super) fn header_lines(
    bytes: &[u8],
    cursor: &mut Cursor<'_>,
    mut at: usize,
    limits: &Limits,
    found: &mut Summary,
    mut keep: impl FnMut(Field),
) -> Result<usize, Stop> {
    let mut count = 0;
    loop {
        let name_at = at;
        at = cursor.name_end(at);
        let name_len = at - name_at;
        let found_byte = bytes.get(at);
        if found_byte != Some(&b':') || name_len == 0 {
            if found_byte == Some(&b'\r') && name_len == 0 {
                return line_end(bytes, at, Malformed::BareCr);
            }
            return Err(no_name(found_byte, name_len, count == 0));
        }
        if count >= limits.headers {
            return Err(Malformed::TooManyHeaders.into());
        }
        count += 1;
        let known = match name_len {
            0..Known::LENGTHS => Known::at(bytes, name_at, name_len),
            _ if name_len > usize::from(u16::MAX) => return Err(Malformed::HeadTooLarge.into()),
            _ => Known::Other,
        };
        at += 1;
        while bytes.get(at).is_some_and(is_space) {
            at += 1;
        }
        let value_at = at as u32;
        let end = cursor.value_end(at);
        let mut value_len = (end - at) as u32;
        // Of the bytes of a value only SP and HTAB are not above SP.
        if bytes.get(end.wrapping_sub(1)).is_some_and(|b| *b <= b' ') {
            value_len = trimmed(bytes, at, end);
        }
        at = line_end(bytes, end, Malformed::InvalidHeaderValue)?;
        if known != Known::Other {
            found.again |= found.known & known.bit();
            found.known |= known.bit();
            if known == Known::Host {
                found.host = (value_at, value_len);
            }
        }
        let (name_at, name_len) = (name_at as u32, name_len as u16);
        keep(Field { name_at, value_at, value_len, name_len, known });
    }
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
pub(super) fn trailer_lines(
    bytes: &[u8],
    limits: &Limits,
    keep: impl FnMut(Field),
) -> Result<(), Malformed> {
    let mut found = Summary::default();
    let mut cursor = Cursor::new(bytes);
    cursor.start();
    match header_lines(bytes, &mut cursor, 0, limits, &mut found, keep) {
        Ok(_) => Ok(()),
        Err(Stop::More) => Err(Malformed::Truncated),
        Err(Stop::Bad(sin)) => Err(sin),
    }
}
