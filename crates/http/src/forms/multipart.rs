//! `multipart/form-data` in pieces: forms with files, as browsers and curl send them (RFC 7578,
//! RFC 2046 §5.1).
//!
//! Rules of this file:
//! * Any cut of the bytes gives the same parts and the same data, and work is linear: a delimiter
//!   begins with the only CR that it has, so what was held for one and is none is searched no
//!   second time.
//! * Data is shown where it lies. Kept are a part's head, up to a limit, and how much of a
//!   delimiter has come, which is not copied either: it is the delimiter's own beginning.
//! * What two readers could read in two ways is refused, as everywhere here.

use crate::core::{self, Fields, Headers, parse_lines};
use memchr::memmem::Finder;
use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

/// The longest boundary (RFC 2046 §5.1.1).
const BOUNDARY_MAX: usize = 70;
/// The delimiter's CRLF, which may also be the line end before it: that of the head's empty line,
/// or the beginning of it all.
const LINE_END: u8 = 2;

/// How much of a form is accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Parts: 1,000, as many as other servers take; a form's reader does something for each.
    pub parts: u32,
    /// Bytes of one part's head, its empty line included: 4 KiB, room for a file's name of 255
    /// characters in any coding.
    pub head_bytes: u32,
    /// Header lines of one part: 16. RFC 7578 §4.8 knows three.
    pub headers: u32,
    /// Bytes before the first delimiter and behind the last one, and of white space behind
    /// delimiters, which no part shows: 1 KiB. Nobody sends any.
    pub outside_bytes: u32,
    /// Bytes of it all, delimiters and heads included. 2⁶³ − 1, as
    /// [`body_bytes`](crate::core::Limits::body_bytes): who stores the data sets the limit.
    pub body_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            parts: 1000,
            head_bytes: 4 * 1024,
            headers: 16,
            outside_bytes: 1024,
            body_bytes: i64::MAX as u64,
        }
    }
}

/// Why a form was refused. Nothing is shown of it from there on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Malformed {
    /// The content's type is not `multipart/form-data`, or it has no valid boundary.
    NotAForm,
    /// Behind a boundary stands what does not belong there: data holds the boundary.
    Delimiter,
    /// The header lines of a part.
    Head(core::Malformed),
    /// A part has not one `Content-Disposition` that says `form-data` and one name.
    Disposition,
    /// More than [`Limits::parts`].
    TooManyParts,
    /// More than [`Limits::outside_bytes`].
    TooMuchOutside,
    /// More than [`Limits::body_bytes`].
    TooLarge,
    /// It ended before its last delimiter.
    Truncated,
}

impl Malformed {
    /// The status to answer with: 413, 415 or 400.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::TooManyParts | Self::TooMuchOutside | Self::TooLarge => 413,
            Self::Head(core::Malformed::HeadTooLarge | core::Malformed::TooManyHeaders) => 413,
            Self::NotAForm => 415,
            _ => 400,
        }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAForm => "not a form with a boundary",
            Self::Delimiter => "data that holds the boundary",
            Self::Head(why) => return write!(f, "{why}, in a part of the form"),
            Self::Disposition => "a part of the form without a name",
            Self::TooManyParts => "too many parts of a form",
            Self::TooMuchOutside => "too much outside of the parts of a form",
            Self::TooLarge => "form too large",
            Self::Truncated => "the form ended before its last delimiter",
        })
    }
}

impl std::error::Error for Malformed {}

/// What a part's head says.
#[derive(Clone, Debug)]
pub struct Part<'a> {
    /// The field's name. What is not UTF-8 got the replacement character.
    pub name: Cow<'a, str>,
    /// The file's name, if it is a file's: what a client likes to say, with slashes and all. It is
    /// to be shown, and no path; where no file was chosen browsers say an empty one.
    pub file_name: Option<Cow<'a, str>>,
    /// All header lines; `Content-Type` is one of them.
    pub headers: Headers<'a>,
}

/// What comes of a form, in this order: of each part its head, its data, its end.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// A part begins.
    Part(Part<'a>),
    /// Data of the part, as it came: one byte at the least.
    Data(&'a [u8]),
    /// The part is complete.
    PartEnd,
    /// The form is complete; what still comes is not shown.
    End,
}

/// Where in the form the next byte stands.
///
/// ```text
/// multipart-body    = [ preamble CRLF ] dash-boundary transport-padding CRLF body-part
///                     *encapsulation close-delimiter transport-padding [ CRLF epilogue ]
/// encapsulation     = delimiter transport-padding CRLF body-part
/// delimiter         = CRLF dash-boundary
/// close-delimiter   = delimiter "--"
/// dash-boundary     = "--" boundary
/// transport-padding = *LWSP-char
/// body-part         = MIME-part-headers [ CRLF *OCTET ]
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Preamble,
    /// Behind a boundary: a line end, or the end of it all.
    Boundary,
    Padding,
    LineFeed,
    Dash,
    Head,
    Data,
    Epilogue,
}

/// What a step over some bytes found.
enum Found {
    /// All of them are used.
    More,
    /// There is more to be said of what follows.
    Again,
    /// So many of them are data, from the first on.
    Data(usize),
    /// This part of the delimiter was data.
    Held(Range<usize>),
    Head,
    PartEnd,
    End,
}

/// Takes a form apart, piece by piece.
///
/// ```
/// use loopwork_http::forms::multipart::{Event, Limits, Multipart};
///
/// let mut form = Multipart::new(b"multipart/form-data; boundary=x", Limits::default())?;
/// let (mut text, mut names) = (Vec::new(), Vec::new());
/// // As `on_body` is shown it.
/// for mut bytes in [
///     &b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\nhel"[..],
///     b"lo\r\n--",
///     b"x--\r\n",
/// ] {
///     while let Some(event) = form.next(&mut bytes)? {
///         match event {
///             Event::Part(part) => names.push(part.name.into_owned()),
///             Event::Data(data) => text.extend_from_slice(data),
///             Event::PartEnd | Event::End => {}
///         }
///     }
/// }
/// // In `on_body_end`.
/// form.finish()?;
/// assert_eq!((&names[..], &text[..]), (&["a".to_owned()][..], &b"hello"[..]));
/// # Ok::<(), loopwork_http::forms::multipart::Malformed>(())
/// ```
#[derive(Debug)]
pub struct Multipart {
    /// Of the delimiter.
    finder: Finder<'static>,
    limits: Limits,
    state: State,
    /// Bytes of a delimiter that have come.
    matched: u8,
    /// The first so many of them are no data, whatever follows: they belong to what was before.
    before: u8,
    parts: u32,
    outside: u32,
    /// Bytes that may still come.
    left: u64,
    head: Vec<u8>,
    fields: Fields,
}

impl Multipart {
    /// A form of this `Content-Type`.
    ///
    /// # Errors
    /// [`Malformed::NotAForm`].
    pub fn new(content_type: &[u8], limits: Limits) -> Result<Multipart, Malformed> {
        let boundary = boundary(content_type).ok_or(Malformed::NotAForm)?;
        let delimiter = [b"\r\n--", boundary].concat();
        Ok(Multipart {
            finder: Finder::new(&delimiter).into_owned(),
            limits,
            state: State::Preamble,
            matched: LINE_END,
            before: LINE_END,
            parts: 0,
            outside: 0,
            left: limits.body_bytes,
            head: Vec::new(),
            fields: Fields::new(),
        })
    }

    /// What comes next of these bytes, which are moved on; `None`: they are used up. Who has to
    /// stop, because a disk is full, can leave the rest for later.
    ///
    /// # Errors
    /// It is no form, or above a limit. Do not call it again after that.
    pub fn next<'a, 'b: 'a>(
        &'a mut self,
        bytes: &mut &'b [u8],
    ) -> Result<Option<Event<'a>>, Malformed> {
        loop {
            let all: &'b [u8] = bytes;
            let room = usize::try_from(self.left).unwrap_or(all.len()).min(all.len());
            let (used, found) = self.step(&all[..room])?;
            let (taken, rest) = all.split_at(used);
            *bytes = rest;
            self.left -= used as u64;
            return Ok(Some(match found {
                Found::More if rest.is_empty() => return Ok(None),
                Found::More => return Err(Malformed::TooLarge),
                Found::Again => continue,
                Found::Data(len) => Event::Data(&taken[..len]),
                Found::Held(range) => Event::Data(&self.finder.needle()[range]),
                Found::Head => Event::Part(self.part()?),
                Found::PartEnd => Event::PartEnd,
                Found::End => Event::End,
            }));
        }
    }

    /// Nothing more comes.
    ///
    /// # Errors
    /// [`Malformed::Truncated`]: the form is not complete.
    pub fn finish(&self) -> Result<(), Malformed> {
        if self.state == State::Epilogue { Ok(()) } else { Err(Malformed::Truncated) }
    }

    /// Bytes used, and what they were.
    fn step(&mut self, bytes: &[u8]) -> Result<(usize, Found), Malformed> {
        let searching = matches!(self.state, State::Preamble | State::Data);
        if searching && self.matched > 0 {
            return self.go_on(bytes);
        }
        let Some(&first) = bytes.first() else { return Ok((0, Found::More)) };
        let next = match (self.state, first) {
            (State::Preamble | State::Data, _) => return self.search(bytes),
            (State::Head, _) => return self.head(bytes),
            (State::Epilogue, _) => {
                self.outside(bytes.len())?;
                return Ok((bytes.len(), Found::More));
            }
            (State::Boundary, b'-') => State::Dash,
            (State::Dash, b'-') => {
                self.state = State::Epilogue;
                return Ok((1, Found::End));
            }
            (State::Boundary | State::Padding, b' ' | b'\t') => {
                self.outside(1)?;
                State::Padding
            }
            (State::Boundary | State::Padding, b'\r') => State::LineFeed,
            (State::LineFeed, b'\n') => {
                if self.parts == self.limits.parts {
                    return Err(Malformed::TooManyParts);
                }
                self.parts += 1;
                self.head.clear();
                State::Head
            }
            _ => return Err(Malformed::Delimiter),
        };
        self.state = next;
        Ok((1, Found::Again))
    }

    /// So many bytes belong to no part.
    fn outside(&mut self, bytes: usize) -> Result<(), Malformed> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.outside = self.outside.saturating_add(bytes);
        if self.outside > self.limits.outside_bytes {
            return Err(Malformed::TooMuchOutside);
        }
        Ok(())
    }

    /// Looks for a delimiter, or for the beginning of one at the end.
    fn search(&mut self, bytes: &[u8]) -> Result<(usize, Found), Malformed> {
        let needle = self.finder.needle();
        let (len, matched) = match self.finder.find(bytes) {
            Some(at) => (at, needle.len()),
            None => {
                let tail = bytes.len() - bytes.len().min(needle.len() - 1);
                let begin = memchr::memrchr(b'\r', &bytes[tail..]).map(|at| tail + at);
                let begin = begin.filter(|at| needle.starts_with(&bytes[*at..]));
                let at = begin.unwrap_or(bytes.len());
                (at, bytes.len() - at)
            }
        };
        // Four more than the longest boundary.
        self.matched = matched as u8;
        let found = match (self.state, len) {
            (_, 0) => Found::Again,
            (State::Data, _) => Found::Data(len),
            _ => {
                self.outside(len)?;
                Found::Again
            }
        };
        Ok((len + matched, found))
    }

    /// The beginning of a delimiter has come: do these bytes go on with it?
    fn go_on(&mut self, bytes: &[u8]) -> Result<(usize, Found), Malformed> {
        let needle = self.finder.needle();
        let begun = usize::from(self.matched);
        let more = needle[begun..].iter().zip(bytes).take_while(|(a, b)| a == b).count();
        self.matched += more as u8;
        let matched = begun + more;
        let whole = matched == needle.len();
        if !whole && more == bytes.len() {
            return Ok((more, Found::More));
        }
        let held = usize::from(std::mem::take(&mut self.before))..matched;
        self.matched = 0;
        let found = match (self.state, whole) {
            (State::Data, true) => Found::PartEnd,
            (_, true) => Found::Again,
            (State::Data, false) if !held.is_empty() => Found::Held(held),
            (State::Data, false) => Found::Again,
            (_, false) => {
                self.outside(held.len())?;
                Found::Again
            }
        };
        if whole {
            self.state = State::Boundary;
        }
        Ok((more, found))
    }

    /// One line of a part's head, or a part of one.
    fn head(&mut self, bytes: &[u8]) -> Result<(usize, Found), Malformed> {
        let end = memchr::memchr(b'\n', bytes);
        let len = end.map_or(bytes.len(), |lf| lf + 1);
        if self.head.len() + len > self.limits.head_bytes as usize {
            return Err(Malformed::Head(core::Malformed::HeadTooLarge));
        }
        self.head.extend_from_slice(&bytes[..len]);
        if end.is_some() && !self.head.ends_with(b"\r\n") {
            return Err(Malformed::Head(core::Malformed::BareLf));
        }
        if end.is_none() || !(self.head == b"\r\n" || self.head.ends_with(b"\r\n\r\n")) {
            return Ok((len, Found::Again));
        }
        // By the grammar the empty line may belong to a delimiter: of a part that has no data.
        (self.state, self.matched, self.before) = (State::Data, LINE_END, LINE_END);
        Ok((len, Found::Head))
    }

    /// Reads the head that is whole.
    ///
    /// ```text
    /// disposition = "form-data" *( ";" parameter )     ; RFC 7578 §4.2: one is "name"
    /// ```
    fn part(&mut self) -> Result<Part<'_>, Malformed> {
        let limits = core::Limits { headers: self.limits.headers, ..core::Limits::default() };
        let headers =
            parse_lines(&self.head, &mut self.fields, &limits).map_err(Malformed::Head)?;
        let mut lines = headers.get_all("content-disposition");
        let (Some(line), None) = (lines.next(), lines.next()) else {
            return Err(Malformed::Disposition);
        };
        let (kind, rest) = line.split_at(memchr::memchr(b';', line).unwrap_or(line.len()));
        let (mut name, mut file_name) = (None, None);
        let good = kind.trim_ascii().eq_ignore_ascii_case(b"form-data")
            && parameters(rest, |parameter, value| {
                let place = match parameter {
                    p if p.eq_ignore_ascii_case(b"name") => &mut name,
                    p if p.eq_ignore_ascii_case(b"filename") => &mut file_name,
                    // `filename*` among them, which RFC 7578 §4.2 forbids to send.
                    _ => return true,
                };
                place.replace(unescape(value)).is_none()
            });
        match name {
            Some(name) if good => Ok(Part { name, file_name, headers }),
            _ => Err(Malformed::Disposition),
        }
    }
}

/// The boundary that a `Content-Type` names.
///
/// ```text
/// boundary      = 0*69bchars bcharsnospace
/// bchars        = bcharsnospace / " "
/// bcharsnospace = DIGIT / ALPHA / "'" / "(" / ")" / "+" / "_" / "," / "-" / "." / "/" / ":"
///                 / "=" / "?"
/// ```
fn boundary(content_type: &[u8]) -> Option<&[u8]> {
    let at = memchr::memchr(b';', content_type)?;
    let (kind, rest) = content_type.split_at(at);
    let mut found = None;
    let good = kind.trim_ascii().eq_ignore_ascii_case(b"multipart/form-data")
        && parameters(rest, |name, value| {
            !name.eq_ignore_ascii_case(b"boundary") || found.replace(value).is_none()
        });
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b" '()+_,-./:=?".contains(b);
    let valid = |b: &&[u8]| matches!(b.len(), 1..=BOUNDARY_MAX) && b.iter().all(plain);
    found.filter(|_| good).filter(valid).filter(|b| !b.ends_with(b" "))
}

/// Shows each parameter; whether all are well-formed and welcome.
///
/// ```text
/// parameters    = *( OWS ";" OWS [ parameter ] )
/// parameter     = token "=" ( token / quoted-string )
/// quoted-string = DQUOTE *( qdtext / quoted-pair ) DQUOTE
/// ```
///
/// The backslash of a quoted-pair is one of the file's name where browsers send it (URL and Fetch
/// Standards), and that is how it is read; before a quote, where it decides what ends there, it
/// is refused.
fn parameters<'a>(mut rest: &'a [u8], mut show: impl FnMut(&'a [u8], &'a [u8]) -> bool) -> bool {
    let token = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
    let token = |text: &[u8]| text.iter().take_while(|b| token(b)).count();
    loop {
        rest = rest.trim_ascii_start();
        let Some((b';', behind)) = rest.split_first() else { return rest.is_empty() };
        rest = behind.trim_ascii_start();
        if matches!(rest.first(), None | Some(b';')) {
            continue;
        }
        let (name, behind) = rest.split_at(token(rest));
        let Some((b'=', behind)) = behind.split_first() else { return false };
        let value;
        (value, rest) = match behind.strip_prefix(b"\"") {
            None => behind.split_at(token(behind)),
            Some(quoted) => {
                let Some(end) = memchr::memchr(b'"', quoted) else { return false };
                (&quoted[..end], &quoted[end + 1..])
            }
        };
        let bare = !behind.starts_with(b"\"");
        let empty = name.is_empty() || (bare && value.is_empty());
        if empty || value.ends_with(b"\\") || !show(name, value) {
            return false;
        }
    }
}

/// A name as it was before a browser wrote it into a line (Fetch Standard): of the escapes there
/// are three, of what would end it.
fn unescape(value: &[u8]) -> Cow<'_, str> {
    if memchr::memchr(b'%', value).is_none() {
        return String::from_utf8_lossy(value);
    }
    let (mut bytes, mut rest) = (Vec::with_capacity(value.len()), value);
    while let Some(at) = memchr::memchr(b'%', rest) {
        bytes.extend_from_slice(&rest[..at]);
        let escaped = match rest.get(at + 1..at + 3) {
            Some(b"0A" | b"0a") => Some(b'\n'),
            Some(b"0D" | b"0d") => Some(b'\r'),
            Some(b"22") => Some(b'"'),
            _ => None,
        };
        bytes.push(escaped.unwrap_or(b'%'));
        rest = &rest[at + if escaped.is_some() { 3 } else { 1 }..];
    }
    bytes.extend_from_slice(rest);
    String::from_utf8_lossy(&bytes).into_owned().into()
}
