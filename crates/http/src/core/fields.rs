//! The header table and the view of it.
//!
//! Rules: order, case and repetition of header lines are kept; names compare without case;
//! values are bytes, trimmed of white space; nothing is hashed, so nothing can be made to collide.

use core::{fmt, iter::FusedIterator};

use super::scan;

/// A field that framing and routing ask for, found while parsing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    Other,
    Host,
    Expect,
    Upgrade,
    Connection,
    ContentLength,
    TransferEncoding,
}

impl Known {
    /// All known names are shorter than this.
    pub(crate) const LENGTHS: usize = 32;

    /// A bit of its own for each known name.
    #[inline]
    pub(crate) const fn bit(self) -> u8 {
        1 << self as u8
    }

    /// What this token names.
    #[inline]
    pub(crate) fn of(name: &[u8]) -> Self {
        Self::at(name, 0, name.len())
    }

    /// What the token of this length at `at` names. No two known names have the same length; the
    /// first eight bytes decide for most tokens.
    #[inline(always)]
    pub(crate) fn at(bytes: &[u8], at: usize, len: usize) -> Self {
        let Some(name) = NAMES.get(len) else { return Self::Other };
        // A name with less than eight bytes behind its start is in a head that is not whole.
        let Some(front) = bytes.get(at..).and_then(|rest| rest.first_chunk()) else {
            return Self::compare(bytes, at, len);
        };
        if ((u64::from_le_bytes(*front) | SMALL) ^ name.front) & name.mask != 0 {
            return Self::Other;
        }
        if len <= 8 { name.known } else { Self::compare(bytes, at, len) }
    }

    /// The same byte by byte.
    #[inline(never)]
    fn compare(bytes: &[u8], at: usize, len: usize) -> Self {
        let token = bytes.get(at..at + len).unwrap_or_default();
        let same = |(name, _): &&(&str, Self)| token.eq_ignore_ascii_case(name.as_bytes());
        KNOWN.iter().find(same).map_or(Self::Other, |(_, known)| *known)
    }
}

/// The known names.
const KNOWN: [(&str, Known); 6] = [
    ("host", Known::Host),
    ("expect", Known::Expect),
    ("upgrade", Known::Upgrade),
    ("connection", Known::Connection),
    ("content-length", Known::ContentLength),
    ("transfer-encoding", Known::TransferEncoding),
];

/// The bit that makes letters small; of no other `tchar` it makes a letter or a dash.
const SMALL: u64 = 0x2020_2020_2020_2020;

/// How a known name begins.
#[derive(Clone, Copy)]
struct Name {
    /// Its first eight bytes, or all and zeros behind them.
    front: u64,
    /// Which of them count.
    mask: u64,
    known: Known,
}

/// The known name of each length; where there is none, one that no token has.
static NAMES: [Name; Known::LENGTHS] = {
    let none = Name { front: 0, mask: u64::MAX, known: Known::Other };
    let (mut names, mut i) = ([none; Known::LENGTHS], 0);
    while i < KNOWN.len() {
        let (text, known) = (KNOWN[i].0.as_bytes(), KNOWN[i].1);
        let (mut front, mut mask, mut at) = (0, 0, 0);
        while at < text.len() && at < 8 {
            front |= (text[at] as u64) << (8 * at);
            mask |= 0xff << (8 * at);
            at += 1;
        }
        names[text.len()] = Name { front, mask, known };
        i += 1;
    }
    names
};

/// One header line, as offsets into the head. 16 bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field {
    pub(crate) name_at: u32,
    pub(crate) value_at: u32,
    pub(crate) value_len: u32,
    pub(crate) name_len: u16,
    pub(crate) known: Known,
}

impl Field {
    const EMPTY: Self =
        Self { name_at: 0, value_at: 0, value_len: 0, name_len: 0, known: Known::Other };
}

/// The table that a parse fills with offsets: owned by the caller and used again and again, so
/// that parsing allocates nothing once it has grown to the largest head. It holds no bytes and
/// nothing between two calls: one table serves all connections of a thread.
#[derive(Clone, Debug, Default)]
pub struct Fields {
    /// Room, of which the first `count` are those of the last parse.
    slots: Vec<Field>,
    count: usize,
}

impl Fields {
    /// An empty table.
    pub const fn new() -> Self {
        Self { slots: Vec::new(), count: 0 }
    }

    /// A table with room for this many headers.
    pub fn with_capacity(headers: usize) -> Self {
        Self { slots: vec![Field::EMPTY; headers], count: 0 }
    }

    /// Puts a line into the table, which counts only when it is told how many there are.
    #[inline(always)]
    pub(crate) fn put(&mut self, at: usize, field: Field) {
        if self.slots.len() <= at {
            self.grow(at);
        }
        if let Some(slot) = self.slots.get_mut(at) {
            *slot = field;
        }
    }

    #[cold]
    fn grow(&mut self, at: usize) {
        // Twice as many, so that a head of many lines is not copied for each of them.
        self.slots.resize((2 * at).max(16), Field::EMPTY);
    }

    /// So many lines are in the table.
    #[inline]
    pub(crate) fn set_len(&mut self, count: usize) {
        self.count = count;
    }

    /// The lines.
    #[inline]
    fn list(&self) -> &[Field] {
        self.slots.get(..self.count).unwrap_or_default()
    }
}

/// The headers (or trailers) of a parsed message, in the order in which they came.
#[derive(Clone, Copy)]
pub struct Headers<'a> {
    bytes: &'a [u8],
    fields: &'a Fields,
    /// The known names among them, as [`Known::bit`]s.
    known: u8,
}

impl<'a> Headers<'a> {
    #[inline]
    pub(crate) fn new(bytes: &'a [u8], fields: &'a Fields, known: u8) -> Self {
        Self { bytes, fields, known }
    }

    /// Is there none of the names that framing asks for?
    #[inline]
    pub(crate) fn frames_nothing(&self) -> bool {
        self.known & !Known::Host.bit() == 0
    }

    /// Number of header lines.
    pub fn len(&self) -> usize {
        self.fields.list().len()
    }

    /// Are there none?
    pub fn is_empty(&self) -> bool {
        self.fields.list().is_empty()
    }

    /// The value of the first line of this name, whatever its case.
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.get_all(name).next()
    }

    /// As [`get`](Self::get), if the value is UTF-8.
    pub fn get_str(&self, name: &str) -> Option<&'a str> {
        self.get(name).and_then(|value| core::str::from_utf8(value).ok())
    }

    /// Is there a line of this name?
    pub fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// The values of all lines of this name, in order.
    pub fn get_all<'n>(&self, name: &'n str) -> GetAll<'a, 'n> {
        GetAll { bytes: self.bytes, list: self.fields.list().iter(), name }
    }

    /// The members of the comma-separated lists in all lines of this name (RFC 9110 §5.6.1),
    /// trimmed, empty ones left out. Commas in quoted strings separate too, so this is for lists
    /// of tokens, such as `Connection` and `Upgrade`.
    pub fn list<'n>(&self, name: &'n str) -> List<'a, 'n> {
        List { rest: &[], lines: self.get_all(name) }
    }

    /// Is this token a member of the [`list`](Self::list) of this name, whatever the case?
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        self.list(name).any(|member| member.eq_ignore_ascii_case(token.as_bytes()))
    }

    /// All lines as name and value: the name as it came, the value trimmed of white space.
    pub fn iter(&self) -> Iter<'a> {
        Iter { bytes: self.bytes, list: self.fields.list().iter() }
    }

    /// The lines that framing looks at, and their values.
    pub(crate) fn known(&self) -> impl Iterator<Item = (Known, &'a [u8])> + use<'a> {
        let bytes = self.bytes;
        let known = self.fields.list().iter().filter(|field| field.known != Known::Other);
        known.map(move |field| (field.known, value(bytes, field)))
    }
}

impl fmt::Debug for Headers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter().map(|(n, v)| (n, v.escape_ascii().to_string()))).finish()
    }
}

impl<'a> IntoIterator for Headers<'a> {
    type Item = (&'a str, &'a [u8]);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

#[inline]
fn slice(bytes: &[u8], at: u32, len: u32) -> &[u8] {
    let at = at as usize;
    bytes.get(at..at + len as usize).unwrap_or_default()
}

#[inline]
fn name<'a>(bytes: &'a [u8], field: &Field) -> &'a [u8] {
    slice(bytes, field.name_at, u32::from(field.name_len))
}

#[inline]
fn value<'a>(bytes: &'a [u8], field: &Field) -> &'a [u8] {
    slice(bytes, field.value_at, field.value_len)
}

/// Iterator over all header lines: see [`Headers::iter`].
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    bytes: &'a [u8],
    list: core::slice::Iter<'a, Field>,
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a str, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let field = self.list.next()?;
        Some((scan::ascii(name(self.bytes, field)), value(self.bytes, field)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.list.size_hint()
    }
}

impl ExactSizeIterator for Iter<'_> {}
impl FusedIterator for Iter<'_> {}

/// Iterator over the values of one name: see [`Headers::get_all`].
#[derive(Clone, Debug)]
pub struct GetAll<'a, 'n> {
    bytes: &'a [u8],
    list: core::slice::Iter<'a, Field>,
    name: &'n str,
}

impl<'a> Iterator for GetAll<'a, '_> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (bytes, wanted) = (self.bytes, self.name.as_bytes());
        let same = |field: &&Field| {
            usize::from(field.name_len) == wanted.len()
                && name(bytes, field).eq_ignore_ascii_case(wanted)
        };
        self.list.find(same).map(|field| value(bytes, field))
    }
}

impl FusedIterator for GetAll<'_, '_> {}

/// Iterator over the members of a list header: see [`Headers::list`].
#[derive(Clone, Debug)]
pub struct List<'a, 'n> {
    rest: &'a [u8],
    lines: GetAll<'a, 'n>,
}

impl<'a> Iterator for List<'a, '_> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            if self.rest.is_empty() {
                self.rest = self.lines.next()?;
            }
            if let Some(member) = next_member(&mut self.rest).filter(|m| !m.is_empty()) {
                return Some(member);
            }
        }
    }
}

impl FusedIterator for List<'_, '_> {}

/// Takes the next member off a comma-separated list, trimmed; it may be empty.
pub(crate) fn next_member<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    if rest.is_empty() {
        return None;
    }
    let (member, after) = match memchr::memchr(b',', rest) {
        Some(comma) => (&rest[..comma], &rest[comma + 1..]),
        None => (*rest, &rest[rest.len()..]),
    };
    *rest = after;
    Some(scan::trim_ows(member))
}
