//! A parsed request or response. Rule: everything borrows from the bytes and the table that were
//! parsed; nothing is decoded or normalised.

use core::fmt;

use super::{Fields, Headers, scan};

/// The version of a message. A minor version above 1 is treated as 1 (RFC 9110 §2.5); any other
/// major version is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
}

/// A request method (RFC 9110 §9). Methods are case-sensitive: `get` is an unknown one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method<'a> {
    /// GET
    Get,
    /// HEAD
    Head,
    /// POST
    Post,
    /// PUT
    Put,
    /// DELETE
    Delete,
    /// CONNECT
    Connect,
    /// OPTIONS
    Options,
    /// TRACE
    Trace,
    /// PATCH (RFC 5789)
    Patch,
    /// Any other token.
    Other(&'a str),
}

impl<'a> Method<'a> {
    /// The method that this text names. The text is not checked: the parser and the encoder do.
    #[inline]
    pub fn new(text: &'a str) -> Self {
        match text {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "POST" => Self::Post,
            "PUT" => Self::Put,
            "DELETE" => Self::Delete,
            "CONNECT" => Self::Connect,
            "OPTIONS" => Self::Options,
            "TRACE" => Self::Trace,
            "PATCH" => Self::Patch,
            other => Self::Other(other),
        }
    }

    /// The method as it is sent.
    pub fn as_str(&self) -> &'a str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
            Self::Options => "OPTIONS",
            Self::Trace => "TRACE",
            Self::Patch => "PATCH",
            Self::Other(text) => text,
        }
    }

    /// May the request be sent a second time without asking (RFC 9110 §9.2.2)?
    pub fn is_idempotent(&self) -> bool {
        self.is_safe() || matches!(self, Self::Put | Self::Delete)
    }

    /// Does the request only read (RFC 9110 §9.2.1)?
    pub fn is_safe(&self) -> bool {
        matches!(self, Self::Get | Self::Head | Self::Options | Self::Trace)
    }
}

impl fmt::Display for Method<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl PartialEq<str> for Method<'_> {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Method<'_> {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

/// The head of a request: see [`parse_request`](super::parse_request).
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The method.
    pub method: Method<'a>,
    /// The request target as it came: ASCII, percent-encoding untouched.
    pub target: &'a str,
    /// The version.
    pub version: Version,
    /// The headers.
    pub headers: Headers<'a>,
    /// Where in the target path and query begin.
    pub(crate) origin: u32,
    /// What the target names, or the `Host` header.
    pub(crate) host: &'a [u8],
}

impl<'a> Request<'a> {
    /// The path of the target, without the query, not decoded. `*` for `OPTIONS *`, empty for
    /// CONNECT, and `/` if an absolute target has none.
    pub fn path(&self) -> &'a str {
        let origin = self.origin();
        let path = memchr::memchr(b'?', origin.as_bytes()).map_or(origin, |at| &origin[..at]);
        if path.is_empty() && self.method != Method::Connect { "/" } else { path }
    }

    /// The query: what stands behind the first `?`, not decoded.
    pub fn query(&self) -> Option<&'a str> {
        let origin = self.origin();
        memchr::memchr(b'?', origin.as_bytes()).map(|at| &origin[at + 1..])
    }

    /// The host, with the port if one is named, that the request is for: what the target names
    /// wins over the `Host` header (RFC 9112 §3.2.2). Checked, and empty if nothing names one.
    pub fn host(&self) -> &'a str {
        scan::ascii(self.host)
    }

    /// Path and query.
    fn origin(&self) -> &'a str {
        self.target.get(self.origin as usize..).unwrap_or_default()
    }
}

/// The head of a response: see [`parse_response`](super::parse_response).
#[derive(Clone, Copy, Debug)]
pub struct Response<'a> {
    /// The version.
    pub version: Version,
    /// The status code, from 100 to 999.
    pub status: u16,
    /// The reason phrase as it came; may be empty, and means nothing (RFC 9112 §4).
    pub reason: &'a [u8],
    /// The headers.
    pub headers: Headers<'a>,
}

impl Fields {
    /// Size in bytes of what one header costs in the table.
    pub(crate) const COST: usize = size_of::<super::fields::Field>();
}

const _: () = assert!(Fields::COST == 16);
