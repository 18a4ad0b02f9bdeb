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

    /// What the token of this length at `at` names. Length and first letter decide for most, so
    /// this is one comparison at the most.
    #[inline(always)]
    pub(crate) fn at(bytes: &[u8], at: usize, len: usize) -> Self {
        /// The first letter of the known name of this length; no letter where there is none.
        const FIRST: [u8; Known::LENGTHS] = {
            let mut first = [0; Known::LENGTHS];
            (first[4], first[6], first[7]) = (b'h', b'e', b'u');
            (first[10], first[14], first[17]) = (b'c', b'c', b't');
            first
        };
        match (FIRST.get(len), bytes.get(at)) {
            (Some(letter), Some(first)) if *letter == first | 0x20 => Self::compare(bytes, at, len),
            _ => Self::Other,
        }
    }

    #[inline(never)]
    fn compare(bytes: &[u8], at: usize, len: usize) -> Self {
        let name = bytes.get(at..).unwrap_or_default();
        // Every request has one.
        if len == 4 {
            return if same(name, b"host") { Self::Host } else { Self::Other };
        }
        match len {
            6 if same(name, b"expect") => Self::Expect,
            7 if same(name, b"upgrade") => Self::Upgrade,
            10 if same(name, b"connection") => Self::Connection,
            14 if same(name, b"content-length") => Self::ContentLength,
            17 if same(name, b"transfer-encoding") => Self::TransferEncoding,
            _ => Self::Other,
        }
    }
}

/// Does a name begin like this? Bit 0x20 makes letters small, and makes of no other `tchar` a
/// letter or a dash: `name` is a token.
#[inline]
fn same<const N: usize>(name: &[u8], text: &[u8; N]) -> bool {
    let differs = |(a, b): (&u8, &u8)| (a | 0x20) ^ b;
    name.first_chunk::<N>()
        .is_some_and(|name| name.iter().zip(text).map(differs).fold(0, |all, one| all | one) == 0)
}

/// One header line, as offsets into the head. 16 bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field {
    pub(crate) name_at: u32,
    pub(crate) value_at: u32,
    pub(crate) value_len: u32,
    pub(crate) name_len: u16,
    pub(crate) known: Known,
}

/// The table that a parse fills with offsets: owned by the caller and used again and again, so
/// that parsing allocates nothing once it has grown to the largest head. It holds no bytes and
/// nothing between two calls: one table serves all connections of a thread.
#[derive(Clone, Debug, Default)]
pub struct Fields {
    pub(crate) list: Vec<Field>,
}

impl Fields {
    /// An empty table.
    pub const fn new() -> Self {
        Self { list: Vec::new() }
    }

    /// A table with room for this many headers.
    pub fn with_capacity(headers: usize) -> Self {
        Self { list: Vec::with_capacity(headers) }
    }
}

/// The headers (or trailers) of a parsed message, in the order in which they came.
#[derive(Clone, Copy)]
pub struct Headers<'a> {
    bytes: &'a [u8],
    list: &'a [Field],
    /// The known names among them, as [`Known::bit`]s.
    known: u8,
}

impl<'a> Headers<'a> {
    #[inline]
    pub(crate) fn new(bytes: &'a [u8], list: &'a [Field], known: u8) -> Self {
        Self { bytes, list, known }
    }

    /// Is there none of the names that framing asks for?
    #[inline]
    pub(crate) fn frames_nothing(&self) -> bool {
        self.known & !Known::Host.bit() == 0
    }

    /// Number of header lines.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Are there none?
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
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
        GetAll { bytes: self.bytes, list: self.list.iter(), name }
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
        Iter { bytes: self.bytes, list: self.list.iter() }
    }

    /// The lines that framing looks at, and their values.
    pub(crate) fn known(&self) -> impl Iterator<Item = (Known, &'a [u8])> + use<'a> {
        let bytes = self.bytes;
        let known = self.list.iter().filter(|field| field.known != Known::Other);
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
