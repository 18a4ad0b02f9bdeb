//! The body decoder: takes the framing off, copies nothing (RFC 9112 §6, §7).
//!
//! Rules:
//!
//! * body bytes are shown where they lie, and count as taken only when [`Decoder::consume`] says
//!   so: a reader that takes less gets the rest again;
//! * the state is small, 32 bytes, because every connection has one;
//! * a chunk line needs no buffer: a whole one is taken at once, any other byte by byte; only
//!   trailers must be kept by the caller until they are whole, and there is a limit to them;
//! * white space that the grammar calls "bad" (BWS) is refused, unless
//!   [`Leniency::chunk_spaces`](super::Leniency::chunk_spaces) is on.

use core::ops::Range;

use super::limits::{CHUNK_BYTES, CHUNK_SIZE_DIGITS};
use super::{Body, Fields, Headers, Limits, Malformed, lines, scan};

/// What the decoder found at the front of the bytes it was shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// `bytes[skip..skip + len]` is body. The `skip` bytes of framing before it are done with;
    /// of the `len` bytes, which are at least 1, as many as [`Decoder::consume`] is told.
    Data {
        /// Bytes of framing in front.
        skip: usize,
        /// Bytes of body behind them.
        len: usize,
    },
    /// `bytes[..skip]` is done with; what is behind it, if anything, is not yet enough: show it
    /// again with more bytes behind.
    More {
        /// Bytes of framing in front.
        skip: usize,
    },
    /// The body is over; `bytes[skip..]` is the next message's.
    End {
        /// Bytes of framing in front, trailers included.
        skip: usize,
        /// Where in `bytes` the trailer section is, for [`parse_trailers`]; empty if none.
        trailers: Range<usize>,
    },
}

/// Where in the body the next byte stands.
///
/// ```text
/// chunked-body = *chunk last-chunk trailer-section CRLF
/// chunk        = chunk-size [ chunk-ext ] CRLF chunk-data CRLF
/// last-chunk   = 1*"0" [ chunk-ext ] CRLF
/// chunk-size   = 1*HEXDIG
/// chunk-ext    = *( ";" chunk-ext-name [ "=" chunk-ext-val ] )
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In `Body::Length`.
    Length,
    /// In `Body::UntilClose`.
    UntilClose,
    /// In a chunk size, so many digits behind its start.
    Size(u8),
    Ext(Ext),
    /// Behind the CR of a chunk line.
    SizeLf,
    /// In chunk data.
    Data,
    DataCr,
    DataLf,
    Trailers,
    End,
}

/// Where in a chunk extension the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ext {
    /// At the start of a name.
    Name,
    InName,
    /// Behind a name and white space.
    AfterName,
    /// At the start of a value.
    Value,
    InToken,
    InQuotes,
    /// Behind a backslash.
    Escaped,
    /// Behind the closing quote.
    Quoted,
    /// Behind a size or a value, and white space: only another extension may follow.
    After,
}

impl Ext {
    /// Between quotes white space is text.
    fn is_quoted(self) -> bool {
        matches!(self, Self::InQuotes | Self::Escaped)
    }

    /// Behind white space that is not in quotes.
    fn spaced(self) -> Self {
        match self {
            Self::InName => Self::AfterName,
            Self::InToken | Self::Quoted => Self::After,
            same => same,
        }
    }
}

/// An incremental decoder of one body.
///
/// ```
/// # use loopwork_http::core::*;
/// let limits = Limits::default();
/// let mut body = Decoder::new(Body::Chunked, &limits)?;
/// let (bytes, mut text, mut at) = (b"5\r\nhello\r\n1;a=b\r\n!\r\n0\r\n\r\n", Vec::new(), 0);
/// loop {
///     match body.next(&bytes[at..], &limits)? {
///         Step::Data { skip, len } => {
///             text.extend_from_slice(&bytes[at + skip..][..len]);
///             body.consume(len);
///             at += skip + len;
///         }
///         Step::More { .. } => panic!("all is here"),
///         Step::End { skip, .. } => break at += skip,
///     }
/// }
/// assert_eq!((&text[..], at), (&b"hello!"[..], bytes.len()));
/// # Ok::<(), Malformed>(())
/// ```
#[derive(Clone, Debug)]
pub struct Decoder {
    /// Bytes left of the body or of the chunk; while its size is read, what it says so far.
    left: u64,
    /// Body bytes that the limit leaves for chunks to come.
    budget: u64,
    /// Extension bytes so far.
    extension: u32,
    /// Bytes of the trailer section that were searched.
    searched: u32,
    /// How far the chunks so far fall short of [`CHUNK_BYTES`] each.
    short: u32,
    state: State,
}

const _: () = assert!(size_of::<Decoder>() <= 32);

/// Of a message without a body: at its end already.
impl Default for Decoder {
    fn default() -> Self {
        Self { left: 0, budget: 0, extension: 0, searched: 0, short: 0, state: State::End }
    }
}

impl Decoder {
    /// A decoder at the start of a body.
    ///
    /// # Errors
    ///
    /// [`Malformed::ContentTooLarge`] if the length is above the limit.
    pub fn new(body: Body, limits: &Limits) -> Result<Self, Malformed> {
        let budget = limits.body_bytes;
        let (state, left) = match body {
            Body::None | Body::Length(0) => (State::End, 0),
            Body::Length(length) if length > budget => return Err(Malformed::ContentTooLarge),
            Body::Length(length) => (State::Length, length),
            Body::Chunked => (State::Size(0), 0),
            Body::UntilClose => (State::UntilClose, budget),
        };
        Ok(Self { left, budget, extension: 0, searched: 0, short: 0, state })
    }

    /// Is the body over?
    pub fn is_end(&self) -> bool {
        self.state == State::End
    }

    /// Body bytes still to come, if the head said how many.
    pub fn remaining(&self) -> Option<u64> {
        match self.state {
            State::Length => Some(self.left),
            State::End => Some(0),
            _ => None,
        }
    }

    /// Looks at the next bytes of the message: what was not [`consume`](Self::consume)d or
    /// skipped before, and what came since. After [`Step::End`] it gives that again, with
    /// nothing to skip.
    ///
    /// # Errors
    ///
    /// Anything outside of the grammar or above a limit. Do not call it again after that.
    #[inline]
    pub fn next(&mut self, bytes: &[u8], limits: &Limits) -> Result<Step, Malformed> {
        let mut skip = 0;
        if let Some((len, size)) = self.plain_line(bytes) {
            (skip, self.left) = (len, size);
            self.state = self.chunk(limits)?;
        }
        match self.state {
            State::Length | State::Data => Ok(self.data(bytes, skip)),
            _ => self.steps(bytes, skip, limits),
        }
    }

    /// Takes framing byte by byte, until there is something to say.
    fn steps(&mut self, bytes: &[u8], mut skip: usize, limits: &Limits) -> Result<Step, Malformed> {
        loop {
            match self.state {
                State::Length | State::Data => break Ok(self.data(bytes, skip)),
                State::UntilClose if self.left == 0 && skip < bytes.len() => {
                    break Err(Malformed::ContentTooLarge);
                }
                State::UntilClose => break Ok(self.data(bytes, skip)),
                State::End => break Ok(Step::End { skip, trailers: 0..0 }),
                State::Trailers => break self.trailers(bytes, skip, limits),
                _ => match bytes.get(skip) {
                    Some(&b) => self.state = self.framing(b, limits)?,
                    None => break Ok(Step::More { skip }),
                },
            }
            skip += 1;
        }
    }

    /// The usual case at once: a chunk line that is whole and without extensions, and before it
    /// the end of the chunk before. Gives how long that is, and the size. All else is left to
    /// the steps of single bytes.
    #[inline]
    fn plain_line(&self, bytes: &[u8]) -> Option<(usize, u64)> {
        let (start, line) = match self.state {
            State::DataCr => (2, bytes.strip_prefix(b"\r\n")?),
            State::Size(0) => (0, bytes),
            _ => return None,
        };
        let (mut size, most) = (0, usize::from(CHUNK_SIZE_DIGITS));
        for (digits, &b) in line.iter().take(most + 1).enumerate() {
            match char::from(b).to_digit(16) {
                Some(digit) if digits < most => size = size << 4 | u64::from(digit),
                _ => {
                    let whole = digits > 0 && b == b'\r' && line.get(digits + 1) == Some(&b'\n');
                    scan::work::add(digits + 2);
                    return whole.then_some((start + digits + 2, size));
                }
            }
        }
        scan::work::add(line.len());
        None
    }

    #[inline]
    fn data(&self, bytes: &[u8], skip: usize) -> Step {
        let here = bytes.len() - skip;
        match usize::try_from(self.left).map_or(here, |left| here.min(left)) {
            0 => Step::More { skip },
            len => Step::Data { skip, len },
        }
    }

    /// Takes this many bytes of the data that [`next`](Self::next) just showed. More than were
    /// shown is the caller's mistake, and counts as all of the body or chunk.
    #[inline]
    pub fn consume(&mut self, bytes: usize) {
        if !matches!(self.state, State::Length | State::Data | State::UntilClose) {
            return;
        }
        self.left = self.left.saturating_sub(bytes as u64);
        match self.state {
            State::Length if self.left == 0 => self.state = State::End,
            State::Data if self.left == 0 => self.state = State::DataCr,
            _ => {}
        }
    }

    /// The peer has ended the connection: was the body over?
    ///
    /// # Errors
    ///
    /// [`Malformed::Truncated`] unless the body was over, or ends in this way.
    pub fn finish(&mut self) -> Result<(), Malformed> {
        match self.state {
            State::End | State::UntilClose => {
                self.state = State::End;
                Ok(())
            }
            _ => Err(Malformed::Truncated),
        }
    }

    /// One byte of framing: gives the state behind it.
    #[inline]
    fn framing(&mut self, b: u8, limits: &Limits) -> Result<State, Malformed> {
        scan::work::add(1);
        match (self.state, b) {
            (State::Size(digits), _) => self.size(digits, b, limits),
            (State::Ext(ext), _) => self.extension(ext, b, limits),
            (State::SizeLf, b'\n') => self.chunk(limits),
            (State::DataCr, b'\r') => Ok(State::DataLf),
            (State::DataLf, b'\n') => Ok(State::Size(0)),
            (State::DataCr | State::DataLf, _) => Err(Malformed::InvalidChunkEnd),
            _ => Err(Malformed::BareCr),
        }
    }

    #[inline]
    fn size(&mut self, digits: u8, b: u8, limits: &Limits) -> Result<State, Malformed> {
        match b {
            b'\r' if digits > 0 => Ok(State::SizeLf),
            b'\n' if digits > 0 => Err(Malformed::BareLf),
            b' ' | b'\t' if digits > 0 && limits.lenient.chunk_spaces => {
                self.spend_extension(limits, State::Ext(Ext::After))
            }
            b';' if digits > 0 => self.spend_extension(limits, State::Ext(Ext::Name)),
            _ => match char::from(b).to_digit(16) {
                Some(digit) if digits < CHUNK_SIZE_DIGITS => {
                    self.left = self.left << 4 | u64::from(digit);
                    Ok(State::Size(digits + 1))
                }
                _ => Err(Malformed::InvalidChunkSize),
            },
        }
    }

    /// Behind a chunk line.
    fn chunk(&mut self, limits: &Limits) -> Result<State, Malformed> {
        if self.left == 0 {
            return Ok(State::Trailers);
        }
        self.budget = self.budget.checked_sub(self.left).ok_or(Malformed::ContentTooLarge)?;
        let short = (u64::from(self.short) + CHUNK_BYTES).saturating_sub(self.left);
        if short > u64::from(limits.small_chunks) {
            return Err(Malformed::SmallChunks);
        }
        self.short = short as u32;
        Ok(State::Data)
    }

    fn spend_extension(&mut self, limits: &Limits, next: State) -> Result<State, Malformed> {
        self.extension = self.extension.saturating_add(1);
        if self.extension > limits.extension_bytes {
            return Err(Malformed::ChunkExtensionsTooLarge);
        }
        Ok(next)
    }

    /// ```text
    /// chunk-ext      = *( BWS ";" BWS chunk-ext-name [ BWS "=" BWS chunk-ext-val ] )
    /// chunk-ext-name = token
    /// chunk-ext-val  = token / quoted-string
    /// quoted-string  = DQUOTE *( qdtext / quoted-pair ) DQUOTE
    /// qdtext         = HTAB / SP / %x21 / %x23-5B / %x5D-7E / obs-text
    /// quoted-pair    = "\" ( HTAB / SP / VCHAR / obs-text )
    /// ```
    fn extension(&mut self, ext: Ext, b: u8, limits: &Limits) -> Result<State, Malformed> {
        let next = match (ext, b) {
            (Ext::InName | Ext::InToken | Ext::Quoted, b'\r') => return Ok(State::SizeLf),
            (_, b'\n') => return Err(Malformed::BareLf),
            (Ext::InName | Ext::InToken | Ext::Quoted, b';') => Ext::Name,
            (Ext::AfterName | Ext::After, b';') => Ext::Name,
            (Ext::InName | Ext::AfterName, b'=') => Ext::Value,
            (_, b' ' | b'\t') if limits.lenient.chunk_spaces && !ext.is_quoted() => ext.spaced(),
            (Ext::Name | Ext::InName, _) if scan::is_token(b) => Ext::InName,
            (Ext::Value, b'"') => Ext::InQuotes,
            (Ext::Value | Ext::InToken, _) if scan::is_token(b) => Ext::InToken,
            (Ext::InQuotes, b'"') => Ext::Quoted,
            (Ext::InQuotes, b'\\') => Ext::Escaped,
            (Ext::InQuotes | Ext::Escaped, _) if scan::is_value(b) => Ext::InQuotes,
            _ => return Err(Malformed::InvalidChunkExtension),
        };
        self.spend_extension(limits, State::Ext(next))
    }

    /// Searches the new bytes of the trailer section for its end: an empty line.
    #[cold]
    fn trailers(&mut self, all: &[u8], skip: usize, limits: &Limits) -> Result<Step, Malformed> {
        let room = limits.trailer_bytes as usize;
        let bytes = &all[skip..];
        let section = &bytes[..bytes.len().min(room)];
        let start = (self.searched as usize).min(section.len());
        self.searched = section.len() as u32;
        scan::work::add(section.len() - start);
        for lf in memchr::memchr_iter(b'\n', &section[start..]) {
            let line = &section[..start + lf];
            if !line.ends_with(b"\r") {
                return Err(Malformed::BareLf);
            }
            if line == b"\r" || line.ends_with(b"\r\n\r") {
                let end = start + lf + 1;
                self.state = State::End;
                lines::trailer_lines(&section[..end], limits, &mut |_| {})?;
                let trailers = if end > 2 { skip..skip + end } else { 0..0 };
                return Ok(Step::End { skip: skip + end, trailers });
            }
        }
        if bytes.len() >= room {
            return Err(Malformed::TrailersTooLarge);
        }
        Ok(Step::More { skip })
    }
}

/// Parses the trailer section that [`Step::End`] pointed to.
///
/// Fields that must not come in trailers are left out, never merged into the headers
/// (RFC 9110 §6.5.1): `Content-Length`, `Host`, `Authorization` and their like.
///
/// # Errors
///
/// As for the headers of a head.
pub fn parse_trailers<'a>(
    section: &'a [u8],
    fields: &'a mut Fields,
    limits: &Limits,
) -> Result<Headers<'a>, Malformed> {
    if section.is_empty() {
        fields.set_len(0);
        return Ok(Headers::new(section, fields, 0));
    }
    kept_lines(section, fields, limits, |name| !is_forbidden_trailer(name))
}

/// Parses header lines that no message frames, with the empty line behind them: those of a part
/// of a form. None is left out.
pub(crate) fn parse_lines<'a>(
    section: &'a [u8],
    fields: &'a mut Fields,
    limits: &Limits,
) -> Result<Headers<'a>, Malformed> {
    kept_lines(section, fields, limits, |_| true)
}

/// Those of the lines whose name is to be kept. Nobody asks for what framing knows of them.
fn kept_lines<'a>(
    section: &'a [u8],
    fields: &'a mut Fields,
    limits: &Limits,
    is_kept: impl Fn(&[u8]) -> bool,
) -> Result<Headers<'a>, Malformed> {
    let mut count = 0;
    lines::trailer_lines(section, limits, &mut |field| {
        let at = field.name_at as usize;
        if is_kept(&section[at..at + usize::from(field.name_len)]) {
            fields.put(count, field);
            count += 1;
        }
    })?;
    fields.set_len(count);
    Ok(Headers::new(section, fields, 0))
}

/// Fields that frame, route, authenticate or modify a request, or say how the content is to be
/// read: a trailer that sets them comes too late, or is an attack (RFC 9110 §6.5.1).
const FORBIDDEN_TRAILERS: [&[&str]; 4] = [
    // Framing and the connection.
    &[
        "content-length",
        "transfer-encoding",
        "connection",
        "keep-alive",
        "te",
        "trailer",
        "upgrade",
    ],
    // Routing, conditions and expectations.
    &["host", "expect", "max-forwards", "range", "if-match", "if-none-match", "if-range"],
    &["if-modified-since", "if-unmodified-since", "location", "retry-after", "cache-control"],
    // Identity, and how to read the content.
    &[
        "authorization",
        "proxy-authorization",
        "cookie",
        "set-cookie",
        "www-authenticate",
        "proxy-authenticate",
        "content-encoding",
        "content-type",
        "content-range",
        "age",
        "date",
        "expires",
        "pragma",
    ],
];

/// Must this field not stand in trailers?
pub(crate) fn is_forbidden_trailer(name: &[u8]) -> bool {
    FORBIDDEN_TRAILERS
        .iter()
        .copied()
        .flatten()
        .any(|field| name.eq_ignore_ascii_case(field.as_bytes()))
}
