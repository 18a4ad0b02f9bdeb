//! What a peer can do wrong ([`Malformed`]) and what the application can do wrong ([`Invalid`]).
//!
//! Rule: every refusal has a name of its own, so that a log line says what happened, and every
//! [`Malformed`] knows the status code that a server answers with before it closes.

use core::fmt;

/// Why bytes of a peer were refused. After any of these the connection cannot be used further:
/// a server answers with [`status`](Self::status) and closes, a client closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Malformed {
    /// The first byte is that of a TLS record: a TLS client on a plain port.
    TlsHello,
    /// More than one empty line before a request (RFC 9112 §2.2 asks to skip at least one).
    LeadingEmptyLines,
    /// A line feed without a carriage return before it.
    BareLf,
    /// A carriage return without a line feed behind it.
    BareCr,
    /// The method is empty or not a token.
    InvalidMethod,
    /// The method is longer than any method that could be meant.
    MethodTooLong,
    /// The request target is longer than [`Limits::target_bytes`](super::Limits::target_bytes).
    TargetTooLong,
    /// The request target is empty or holds a byte that no URI has.
    InvalidTarget,
    /// The request target holds a `#`: fragments are never sent.
    FragmentInTarget,
    /// The target's form does not go with the method, such as `GET *` (RFC 9112 §3.2).
    InvalidTargetForm,
    /// The request line ends behind the target, as in HTTP/0.9.
    MissingVersion,
    /// The version is not `HTTP/` digit `.` digit, or something stands behind it.
    InvalidVersion,
    /// A well-formed version whose major number is not 1.
    UnsupportedVersion,
    /// The status code is not three digits from 100 to 999.
    InvalidStatus,
    /// The reason phrase holds a control character.
    InvalidReason,
    /// White space before the first header field.
    LeadingWhitespace,
    /// A header line continued on the next line (RFC 9112 §5.2).
    ObsFold,
    /// A header line that begins with the colon.
    EmptyHeaderName,
    /// A header name that is not a token.
    InvalidHeaderName,
    /// White space between a header name and the colon (RFC 9112 §5.1).
    WhitespaceBeforeColon,
    /// A header line without a colon.
    MissingColon,
    /// A control character in a header value.
    InvalidHeaderValue,
    /// More header lines than [`Limits::headers`](super::Limits::headers).
    TooManyHeaders,
    /// The head is longer than [`Limits::head_bytes`](super::Limits::head_bytes).
    HeadTooLarge,
    /// An HTTP/1.1 request without `Host`.
    MissingHost,
    /// More than one `Host`.
    DuplicateHost,
    /// A `Host`, or an authority in the target, that is not `host` or `host:port`.
    InvalidHost,
    /// A `Content-Length` that is not digits only, or above 2⁶⁴ − 1.
    InvalidContentLength,
    /// More than one `Content-Length`, whether or not they agree.
    DuplicateContentLength,
    /// Both `Content-Length` and `Transfer-Encoding`: a smuggling attempt.
    LengthAndTransferEncoding,
    /// `Transfer-Encoding` in an HTTP/1.0 message.
    TransferEncodingInHttp10,
    /// A `Transfer-Encoding` whose end does not delimit the message.
    InvalidTransferEncoding,
    /// More than one `Transfer-Encoding` line.
    DuplicateTransferEncoding,
    /// A transfer coding beneath `chunked` that is not implemented, such as `gzip, chunked`.
    UnsupportedTransferEncoding,
    /// An `Expect` other than `100-continue`.
    UnknownExpectation,
    /// The body is longer than [`Limits::body_bytes`](super::Limits::body_bytes).
    ContentTooLarge,
    /// A chunk size that is not 1 to 16 hex digits and then `;` or CRLF.
    InvalidChunkSize,
    /// A chunk extension outside of the grammar (RFC 9112 §7.1.1).
    InvalidChunkExtension,
    /// More extension bytes in a body than
    /// [`Limits::extension_bytes`](super::Limits::extension_bytes).
    ChunkExtensionsTooLarge,
    /// More small chunks in a body than [`Limits::small_chunks`](super::Limits::small_chunks) lets
    /// pass.
    SmallChunks,
    /// Chunk data that is not followed by CRLF.
    InvalidChunkEnd,
    /// The trailer section is longer than
    /// [`Limits::trailer_bytes`](super::Limits::trailer_bytes).
    TrailersTooLarge,
    /// The connection ended before the message did.
    Truncated,
}

impl Malformed {
    /// The status code to answer with: 400 unless RFC 9110 §15 has a better one.
    pub fn status(&self) -> u16 {
        match self {
            Self::ContentTooLarge | Self::ChunkExtensionsTooLarge | Self::SmallChunks => 413,
            Self::TargetTooLong => 414,
            Self::UnknownExpectation => 417,
            Self::TooManyHeaders | Self::HeadTooLarge | Self::TrailersTooLarge => 431,
            // RFC 9112 §3: a method longer than any implemented, and §6.1: an unknown coding.
            Self::MethodTooLong | Self::UnsupportedTransferEncoding => 501,
            Self::UnsupportedVersion => 505,
            _ => 400,
        }
    }

    /// What happened, in a few words, for a log line or a response body.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::TlsHello => "TLS on a plain HTTP port",
            Self::LeadingEmptyLines => "empty lines before the request",
            Self::BareLf => "line feed without carriage return",
            Self::BareCr => "carriage return without line feed",
            Self::InvalidMethod => "invalid method",
            Self::MethodTooLong => "method too long",
            Self::TargetTooLong => "request target too long",
            Self::InvalidTarget => "invalid request target",
            Self::FragmentInTarget => "fragment in request target",
            Self::InvalidTargetForm => "form of request target does not fit the method",
            Self::MissingVersion => "request line without a version",
            Self::InvalidVersion => "invalid HTTP version",
            Self::UnsupportedVersion => "unsupported HTTP version",
            Self::InvalidStatus => "invalid status code",
            Self::InvalidReason => "invalid reason phrase",
            Self::LeadingWhitespace => "white space before the first header",
            Self::ObsFold => "folded header line",
            Self::EmptyHeaderName => "empty header name",
            Self::InvalidHeaderName => "invalid header name",
            Self::WhitespaceBeforeColon => "white space between header name and colon",
            Self::MissingColon => "header line without a colon",
            Self::InvalidHeaderValue => "control character in header value",
            Self::TooManyHeaders => "too many headers",
            Self::HeadTooLarge => "head too large",
            Self::MissingHost => "missing Host",
            Self::DuplicateHost => "more than one Host",
            Self::InvalidHost => "invalid host",
            Self::InvalidContentLength => "invalid Content-Length",
            Self::DuplicateContentLength => "more than one Content-Length",
            Self::LengthAndTransferEncoding => "both Content-Length and Transfer-Encoding",
            Self::TransferEncodingInHttp10 => "Transfer-Encoding in HTTP/1.0",
            Self::InvalidTransferEncoding => "invalid Transfer-Encoding",
            Self::DuplicateTransferEncoding => "more than one Transfer-Encoding",
            Self::UnsupportedTransferEncoding => "transfer coding not implemented",
            Self::UnknownExpectation => "unknown expectation",
            Self::ContentTooLarge => "body too large",
            Self::InvalidChunkSize => "invalid chunk size",
            Self::InvalidChunkExtension => "invalid chunk extension",
            Self::ChunkExtensionsTooLarge => "chunk extensions too large",
            Self::SmallChunks => "too many small chunks",
            Self::InvalidChunkEnd => "chunk data not followed by CRLF",
            Self::TrailersTooLarge => "trailers too large",
            Self::Truncated => "message cut short",
        }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl core::error::Error for Malformed {}

/// Why the encoder refused what the application gave it. Nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Invalid {
    /// Not a token (RFC 9110 §9.1).
    Method,
    /// Empty, or with a byte that no URI has.
    Target,
    /// Not `host` or `host:port`.
    Host,
    /// Not from 100 to 999.
    Status,
    /// A control character in the reason phrase.
    Reason,
    /// A header name that is not a token.
    HeaderName,
    /// A control character (CR, LF and NUL among them) in a header value.
    HeaderValue,
    /// A header that the encoder writes by itself from its arguments: `Content-Length`,
    /// `Transfer-Encoding`, `Connection`, and `Host` in a request.
    FramingHeader,
    /// A field that must not stand in trailers (RFC 9110 §6.5.1).
    TrailerName,
    /// A body that this message cannot have: one in a 1xx or 204 response, or one that ends
    /// with the connection in a request.
    Body,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Method => "invalid method",
            Self::Target => "invalid request target",
            Self::Host => "invalid host",
            Self::Status => "invalid status code",
            Self::Reason => "invalid reason phrase",
            Self::HeaderName => "invalid header name",
            Self::HeaderValue => "invalid header value",
            Self::FramingHeader => "header that is written by the encoder itself",
            Self::TrailerName => "field that must not be a trailer",
            Self::Body => "message cannot have this body",
        })
    }
}

impl core::error::Error for Invalid {}
