//! How much of a message is accepted. Rule: every limit is named here, with the reason for its
//! default beside it; nothing in this folder grows with what a peer sends but within these.

/// The longest method. The longest that is registered, `UPDATEREDIRECTREF`, has 17 bytes.
pub(crate) const METHOD_BYTES: usize = 32;

/// The most hex digits of a chunk size, leading zeros included: those of 2⁶⁴ − 1.
pub(crate) const CHUNK_SIZE_DIGITS: u8 = 16;

/// A chunk that is shorter counts as small.
pub(crate) const CHUNK_BYTES: u64 = 16;

/// How much of a message is accepted, in bytes unless said otherwise.
///
/// ```
/// use loopwork_http::core::Limits;
/// let limits = Limits { headers: 50, ..Limits::default() };
/// # assert_eq!(limits.head_bytes, 16 * 1024);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// First line and headers together, with the empty line at the end; above it 431.
    /// Default 16 KiB, as Node's `maxHeaderSize`: room for large cookies, while ten thousand
    /// half-sent heads still cost no more than 160 MiB. A head is kept until it is whole, so each
    /// connection may hold as many bytes as are said here.
    pub head_bytes: u32,
    /// The request target; above it 414. Default 8 KiB: RFC 9112 §3 asks for at least 8,000.
    pub target_bytes: u32,
    /// Number of header lines, and of trailer lines; above it 431. Default 100, as hyper and
    /// Apache: browsers send about 20, and each costs 16 bytes in [`Fields`](super::Fields).
    pub headers: u32,
    /// All chunk extensions of one body together; above it 413. Default 1 KiB: nobody gives
    /// them a meaning, and without a limit they are a free way to keep a server reading.
    pub extension_bytes: u32,
    /// How far the chunks of one body fall short of 16 bytes each, together, longer ones making up
    /// for shorter; above it 413. Default 4 MiB, some 280,000 chunks of one byte: each costs its
    /// sender five bytes more, but its reader a step of its own, and nobody who sends words or
    /// lines comes near.
    pub small_chunks: u32,
    /// The trailer section of one body; above it 431. Default 4 KiB: trailers carry a checksum
    /// or a status, and unlike the head they come when the answer may already be on its way.
    pub trailer_bytes: u32,
    /// Body bytes after decoding; above it 413, as soon as a length or a chunk announces it.
    /// Default 2⁶³ − 1, what a file offset can say: bodies are streamed, not stored, so that
    /// the one who stores them sets the limit.
    pub body_bytes: u64,
    /// What is taken though the grammar has it otherwise. Default nothing.
    pub lenient: Leniency,
}

/// What RFC 9112 lets a recipient take though no sender may send it, each by itself. All is off,
/// since whatever is taken so may be read in another way by whoever stands in front. On for peers
/// that are known, and cannot be mended.
///
/// The strict reading comes first, so that these cost nothing where nothing is wrong. Nothing of
/// what frames a message is read loosely: two lengths, white space before a colon, folded lines,
/// ends of chunk lines and of trailers are as strict as ever.
///
/// ```
/// use loopwork_http::core::{Fields, Leniency, Limits, Progress, parse_request};
/// let lenient = Leniency { bare_lf: true, ..Leniency::NONE };
/// let limits = Limits { lenient, ..Limits::default() };
/// let (mut seen, mut fields) = (Progress::new(), Fields::new());
/// let head = b"GET / HTTP/1.1\nHost: a\n\n";
/// assert!(parse_request(head, &mut seen, &mut fields, &Limits::default()).is_err());
/// assert!(parse_request(head, &mut seen, &mut fields, &limits).is_ok());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leniency {
    /// LF alone ends a line of a head (RFC 9112 §2.2: "a recipient MAY recognize a single LF as
    /// a line terminator").
    pub bare_lf: bool,
    /// Any number of empty lines before a request, within the longest first line; one is always
    /// skipped (§2.2: "SHOULD ignore at least one").
    pub empty_lines: bool,
    /// The parts of a first line stand apart by any white space, also around them: SP, HTAB, VT,
    /// FF, CR (§3 and §4: "recipients MAY instead parse on whitespace-delimited word boundaries").
    pub white_space: bool,
    /// SP and HTAB around the `;` and the `=` of chunk extensions (§7.1.1, where the grammar has
    /// BWS). What is not part of an extension stays refused.
    pub chunk_spaces: bool,
}

impl Leniency {
    /// Nothing but the grammar.
    pub const NONE: Self =
        Self { bare_lf: false, empty_lines: false, white_space: false, chunk_spaces: false };

    /// Is anything of a head read loosely?
    pub(super) fn in_heads(&self) -> bool {
        self.bare_lf | self.empty_lines | self.white_space
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes: 16 * 1024,
            target_bytes: 8 * 1024,
            headers: 100,
            extension_bytes: 1024,
            small_chunks: 4 << 20,
            trailer_bytes: 4 * 1024,
            body_bytes: i64::MAX as u64,
            lenient: Leniency::NONE,
        }
    }
}

impl Limits {
    /// The most bytes that a message can have kept while it is not whole: what is longer is
    /// refused, or was used up.
    pub(crate) fn kept(&self) -> usize {
        self.head_bytes.max(self.trailer_bytes) as usize
    }
}
