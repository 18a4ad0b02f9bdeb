//! From a head to its body: where the message ends, and whether another may follow it
//! (RFC 9112 §6, §9; RFC 9110 §7.8, §8.6, §10.1.1).
//!
//! Rule: two parsers could end a message at two places only where this file has a branch, so
//! every doubt is an error here.

use super::{Headers, Malformed, Method, Request, Response, Version, fields::Known, scan};

/// How the end of a body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Body {
    /// There is none.
    None,
    /// So many bytes; may be 0.
    Length(u64),
    /// Chunks, the last one of size 0 (RFC 9112 §7.1).
    Chunked,
    /// All bytes until the peer ends the connection: responses only.
    UntilClose,
}

/// What a head says about the rest of the message and of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Framing {
    /// The body.
    pub body: Body,
    /// May the connection be used for another message after this one?
    pub keep_alive: bool,
    /// Does the client wait for `100 Continue` before it sends the body? Requests only.
    pub expect_continue: bool,
    /// Does it offer, or a response accept, an upgrade: `Upgrade`, and `Connection: upgrade`?
    /// In HTTP/1.0 it does not count (RFC 9110 §7.8).
    pub upgrade: bool,
}

/// The headers that matter here, of a message in one pass.
#[derive(Default)]
struct Found<'a> {
    length: Option<u64>,
    coding: Option<&'a [u8]>,
    close: bool,
    keep_alive: bool,
    upgrade_token: bool,
    upgrade: bool,
    expect: bool,
    unknown_expect: bool,
}

impl<'a> Found<'a> {
    #[inline]
    fn find(headers: &Headers<'a>) -> Result<Self, Malformed> {
        let mut found = Self::default();
        if headers.frames_nothing() {
            return Ok(found);
        }
        for (known, value) in headers.known() {
            match known {
                Known::ContentLength => {
                    let length = content_length(value)?;
                    if found.length.replace(length).is_some() {
                        return Err(Malformed::DuplicateContentLength);
                    }
                }
                Known::TransferEncoding => {
                    if found.coding.replace(value).is_some() {
                        return Err(Malformed::DuplicateTransferEncoding);
                    }
                }
                Known::Connection => found.connection(value),
                Known::Upgrade => found.upgrade |= !value.is_empty(),
                Known::Expect => {
                    found.expect = true;
                    found.unknown_expect |= !value.eq_ignore_ascii_case(b"100-continue");
                }
                Known::Host | Known::Other => {}
            }
        }
        Ok(found)
    }

    /// `Connection = #connection-option`, tokens without case (RFC 9110 §7.6.1).
    #[inline]
    fn connection(&mut self, mut list: &[u8]) {
        while let Some(option) = super::fields::next_member(&mut list) {
            match option.len() {
                5 => self.close |= option.eq_ignore_ascii_case(b"close"),
                7 => self.upgrade_token |= option.eq_ignore_ascii_case(b"upgrade"),
                10 => self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive"),
                _ => {}
            }
        }
    }

    /// The body by its headers alone: RFC 9112 §6.3, rules 3 to 6.
    #[inline]
    fn body(&self, version: Version) -> Result<Option<Body>, Malformed> {
        let Some(coding) = self.coding else { return Ok(self.length.map(Body::Length)) };
        if self.length.is_some() {
            return Err(Malformed::LengthAndTransferEncoding);
        }
        if version == Version::Http10 {
            return Err(Malformed::TransferEncodingInHttp10);
        }
        transfer_coding(coding)?;
        Ok(Some(Body::Chunked))
    }

    /// RFC 9112 §9.3: `close` wins; HTTP/1.0 has to ask for it.
    fn persists(&self, version: Version) -> bool {
        !self.close && (version == Version::Http11 || self.keep_alive)
    }

    fn upgrades(&self, version: Version) -> bool {
        self.upgrade && self.upgrade_token && version == Version::Http11
    }
}

/// `Content-Length = 1*DIGIT`. A list of equal numbers could be accepted (RFC 9110 §8.6), and is
/// not.
#[inline]
fn content_length(value: &[u8]) -> Result<u64, Malformed> {
    let mut length = 0u64;
    for &b in value {
        let digit = b.wrapping_sub(b'0');
        if digit > 9 {
            return Err(Malformed::InvalidContentLength);
        }
        let next = length.checked_mul(10).and_then(|n| n.checked_add(u64::from(digit)));
        length = next.ok_or(Malformed::InvalidContentLength)?;
    }
    if value.is_empty() { Err(Malformed::InvalidContentLength) } else { Ok(length) }
}

/// `Transfer-Encoding = #( token *( OWS ";" OWS parameter ) )`: only `chunked` is implemented.
/// With another coding beneath it the message is well-formed but not understood; anything whose
/// last member is not one plain `chunked` has no end that both sides agree on (RFC 9112 §6.3).
fn transfer_coding(value: &[u8]) -> Result<(), Malformed> {
    if value.eq_ignore_ascii_case(b"chunked") {
        return Ok(());
    }
    let (mut rest, mut last_is_chunked) = (value, false);
    while let Some(member) = super::fields::next_member(&mut rest) {
        if last_is_chunked || !scan::all_token(member) {
            return Err(Malformed::InvalidTransferEncoding);
        }
        last_is_chunked = member.eq_ignore_ascii_case(b"chunked");
    }
    if last_is_chunked && !value.ends_with(b",") {
        return Err(Malformed::UnsupportedTransferEncoding);
    }
    Err(Malformed::InvalidTransferEncoding)
}

impl Request<'_> {
    /// The framing of this request: RFC 9112 §6.3.
    ///
    /// # Errors
    ///
    /// Anything about the body that could be understood in two ways, an unknown transfer coding,
    /// and an `Expect` other than `100-continue`.
    #[inline]
    pub fn framing(&self) -> Result<Framing, Malformed> {
        let found = Found::find(&self.headers)?;
        let body = found.body(self.version)?.unwrap_or(Body::None);
        if found.unknown_expect {
            return Err(Malformed::UnknownExpectation);
        }
        let has_body = !matches!(body, Body::None | Body::Length(0));
        Ok(Framing {
            body,
            keep_alive: found.persists(self.version),
            // RFC 9110 §10.1.1: ignored in HTTP/1.0, and without a body there is no wait.
            expect_continue: found.expect && has_body && self.version == Version::Http11,
            upgrade: found.upgrades(self.version),
        })
    }
}

impl Response<'_> {
    /// The framing of this response to a request with this method: RFC 9112 §6.3.
    ///
    /// After 101, and after a 2xx to CONNECT, the connection is no longer HTTP: the body is
    /// `None` and what follows the head belongs to the next protocol. After another 1xx the
    /// response is still to come.
    ///
    /// # Errors
    ///
    /// Anything about the body that could be understood in two ways, and an unknown transfer
    /// coding. `Content-Length` must be one number even where there is no body.
    pub fn framing(&self, method: Method<'_>) -> Result<Framing, Malformed> {
        let tunnel = method == Method::Connect && matches!(self.status, 200..=299);
        let no_body = matches!(self.status, 100..=199 | 204 | 304);
        let found = Found::find(&self.headers)?;
        let body = if method == Method::Head || tunnel || no_body {
            Body::None
        } else {
            found.body(self.version)?.unwrap_or(Body::UntilClose)
        };
        Ok(Framing {
            body,
            keep_alive: found.persists(self.version) && body != Body::UntilClose,
            expect_continue: false,
            upgrade: found.upgrades(self.version),
        })
    }
}
