//! The opening handshake (RFC 6455 §4) as pure functions on header values.
//!
//! They read what an HTTP parser has already found well-formed, allocate nothing and are linear
//! in their input.

use std::fmt;
use std::str;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sha1_smol::Sha1;

use super::extension::Terms;

/// The only version of the protocol (§4.1), as the value of `Sec-WebSocket-Version`.
pub const VERSION: &str = "13";

/// > a string "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" [...] (§1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The most subprotocols a client may offer. Their names must differ (§4.1), which takes a
/// comparison of each with each; nobody speaks this many.
pub const MAX_PROTOCOLS: usize = 32;

/// The value of `Sec-WebSocket-Accept` for a key: 28 characters of base64 (§4.2.2).
///
/// > base64-encode(SHA-1(key ++ GUID))
#[must_use]
pub fn accept_key(key: &str) -> [u8; 28] {
    let mut sha = Sha1::new();
    sha.update(key.as_bytes());
    sha.update(GUID);
    let mut accept = [b'='; 28];
    // 20 bytes are 28 characters: it always fits.
    let _ = BASE64_STANDARD.encode_slice(sha.digest().bytes(), &mut accept);
    accept
}

/// A `Sec-WebSocket-Key` of 16 random bytes: 24 characters of base64 (§4.1).
#[must_use]
pub fn make_key(random: [u8; 16]) -> [u8; 24] {
    let mut key = [b'='; 24];
    // 16 bytes are 24 characters: it always fits.
    let _ = BASE64_STANDARD.encode_slice(random, &mut key);
    key
}

/// Whether `key` is the base64 of exactly 16 bytes: 22 characters of the alphabet and `==`.
///
/// Unused bits of the last character may be set (RFC 4648 §3.5 leaves that to the decoder).
#[must_use]
pub fn is_valid_key(key: &str) -> bool {
    let alphabet = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    key.len() == 24 && key.strip_suffix("==").is_some_and(|k| k.as_bytes().iter().all(alphabet))
}

/// Whether a server's `Sec-WebSocket-Accept` is the one for our `key`.
#[must_use]
pub fn verify_accept(key: &str, accept: &str) -> bool {
    accept.as_bytes() == accept_key(key)
}

/// Whether `text` is a token of RFC 9110 §5.6.2: not empty, of visible ASCII, no delimiters.
#[must_use]
pub fn is_token(text: &str) -> bool {
    let tchar = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(tchar)
}

/// The elements of a comma-separated list, without blanks around them; empty ones are left out
/// (RFC 9110 §5.6.1.2).
pub fn elements(list: &str) -> impl Iterator<Item = &str> {
    let blank = |char| matches!(char, ' ' | '\t');
    list.split(',').map(move |element| element.trim_matches(blank)).filter(|e| !e.is_empty())
}

/// Whether a list such as `keep-alive, Upgrade` contains `token`, in any case.
#[must_use]
pub fn has_token(list: &str, token: &str) -> bool {
    elements(list).any(|element| element.eq_ignore_ascii_case(token))
}

/// Why a request for an upgrade is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// The method is not GET.
    Method,
    /// HTTP before 1.1.
    HttpVersion,
    /// No `Host`.
    Host,
    /// No `Upgrade` with the token `websocket`.
    Upgrade,
    /// No `Connection` with the token `Upgrade`.
    Connection,
    /// `Sec-WebSocket-Key` is missing, there twice, or not the base64 of 16 bytes.
    Key,
    /// `Sec-WebSocket-Version` is not 13: the answer must say [`VERSION`].
    Version,
    /// The request has a body.
    Body,
    /// `Sec-WebSocket-Protocol` is not a list of different tokens, or too long a list.
    Protocol,
    /// `Sec-WebSocket-Extensions` is no list of extensions.
    Extensions,
}

impl Refusal {
    /// The HTTP status to answer: 426 with `Sec-WebSocket-Version: 13` for a wrong version, else
    /// 400.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Refusal::Version => 426,
            _ => 400,
        }
    }

    /// A few words for the body of that answer.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Refusal::Method => "the method is not GET",
            Refusal::HttpVersion => "HTTP/1.1 is needed",
            Refusal::Host => "no Host",
            Refusal::Upgrade => "Upgrade does not say websocket",
            Refusal::Connection => "Connection does not say Upgrade",
            Refusal::Key => "Sec-WebSocket-Key is not one key of 16 bytes in base64",
            Refusal::Version => "Sec-WebSocket-Version is not 13",
            Refusal::Body => "the request has a body",
            Refusal::Protocol => "Sec-WebSocket-Protocol is not a list of different tokens",
            Refusal::Extensions => "Sec-WebSocket-Extensions is not a list of extensions",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::error::Error for Refusal {}

/// Checks a client's request as RFC 6455 §4.2.1 says, and gives its key.
///
/// `http_1_1` says that the request's version is 1.1 (or a later 1.x); `headers` are its fields,
/// names in any case. Of `Origin`, subprotocols and extensions nothing is asked here.
///
/// # Errors
/// The first [`Refusal`] in the order of that enum.
pub fn check_request<'a>(
    method: &str,
    http_1_1: bool,
    headers: impl IntoIterator<Item = (&'a str, &'a [u8])>,
) -> Result<&'a str, Refusal> {
    let (mut host, mut upgrade, mut connection, mut body) = (false, false, false, false);
    let (mut key, mut version) = (Once::Missing, Once::Missing);
    for (name, value) in headers {
        let is = |wanted: &str| name.eq_ignore_ascii_case(wanted);
        let value = str::from_utf8(value).unwrap_or("\0");
        if is("host") {
            host = true;
        } else if is("upgrade") {
            upgrade |= has_token(value, "websocket");
        } else if is("connection") {
            connection |= has_token(value, "upgrade");
        } else if is("sec-websocket-key") {
            key.set(value);
        } else if is("sec-websocket-version") {
            version.set(value);
        } else if is("content-length") {
            body |= value.bytes().any(|digit| digit != b'0');
        } else if is("transfer-encoding") {
            body = true;
        }
    }
    let require = |held, refusal| if held { Ok(()) } else { Err(refusal) };
    require(method == "GET", Refusal::Method)?;
    require(http_1_1, Refusal::HttpVersion)?;
    require(host, Refusal::Host)?;
    require(upgrade, Refusal::Upgrade)?;
    require(connection, Refusal::Connection)?;
    let key = key.get().filter(|key| is_valid_key(key)).ok_or(Refusal::Key)?;
    require(version.get() == Some(VERSION), Refusal::Version)?;
    require(!body, Refusal::Body)?;
    Ok(key)
}

/// A header that must be there exactly once.
#[derive(Clone, Copy)]
enum Once<'a> {
    Missing,
    One(&'a str),
    Many,
}

impl<'a> Once<'a> {
    fn set(&mut self, value: &'a str) {
        *self = if matches!(self, Once::Missing) { Once::One(value) } else { Once::Many };
    }

    fn get(self) -> Option<&'a str> {
        if let Once::One(value) = self { Some(value) } else { None }
    }
}

/// The first subprotocol of the client's list that we support; `None` if there is none, and the
/// answer then names none.
///
/// `offers` are the values of all `Sec-WebSocket-Protocol` headers. The client lists them "in
/// order of preference" (§4.1); names are compared exactly.
///
/// # Errors
/// [`Refusal::Protocol`] if an element is no token, is there twice, or there are over
/// [`MAX_PROTOCOLS`].
pub fn choose_protocol<'a, 's>(
    offers: impl IntoIterator<Item = &'a [u8]>,
    supported: &[&'s str],
) -> Result<Option<&'s str>, Refusal> {
    let mut seen = [""; MAX_PROTOCOLS];
    let mut count = 0;
    let mut chosen = None;
    for value in offers {
        let value = str::from_utf8(value).map_err(|_| Refusal::Protocol)?;
        for name in elements(value) {
            let twice = seen.iter().take(count).any(|other| *other == name);
            let slot = seen.get_mut(count).ok_or(Refusal::Protocol)?;
            if twice || !is_token(name) {
                return Err(Refusal::Protocol);
            }
            *slot = name;
            count += 1;
            if chosen.is_none() {
                chosen = supported.iter().copied().find(|ours| *ours == name);
            }
        }
    }
    Ok(chosen)
}

/// What is wrong with a server's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BadAnswer {
    /// The status is not 101: the server refuses or redirects.
    Status(u16),
    /// `Upgrade` is missing, there twice, or does not say `websocket`.
    Upgrade,
    /// `Connection` is missing or does not say `Upgrade`.
    Connection,
    /// `Sec-WebSocket-Accept` is missing, there twice, or not the one for our key.
    Accept,
    /// An extension, or terms of one, that we did not ask for.
    Extension,
    /// A subprotocol that we did not offer, or more than one.
    Protocol,
}

impl fmt::Display for BadAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BadAnswer::Status(status) => return write!(f, "the server answered {status}, not 101"),
            BadAnswer::Upgrade => "Upgrade does not say websocket",
            BadAnswer::Connection => "Connection does not say Upgrade",
            BadAnswer::Accept => "Sec-WebSocket-Accept is not the one for our key",
            BadAnswer::Extension => "an extension that was not asked for",
            BadAnswer::Protocol => "a subprotocol that was not offered",
        })
    }
}

impl std::error::Error for BadAnswer {}

/// Checks a server's answer as RFC 6455 §4.1 says, and gives the subprotocol it chose, one of
/// `offered`, and what it agreed to of permessage-deflate, if that was offered as `deflate`.
///
/// # Errors
/// The first [`BadAnswer`] in the order of that enum: the connection is to be closed.
pub fn check_response<'a, 'o>(
    status: u16,
    headers: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    key: &str,
    offered: &[&'o str],
    deflate: Option<Terms>,
) -> Result<(Option<&'o str>, Option<Terms>), BadAnswer> {
    let (mut connection, mut extension, mut terms) = (false, false, None);
    let (mut upgrade, mut accept, mut protocol) = (Once::Missing, Once::Missing, Once::Missing);
    for (name, value) in headers {
        let is = |wanted: &str| name.eq_ignore_ascii_case(wanted);
        let bytes = value;
        let value = str::from_utf8(value).unwrap_or("\0");
        if is("upgrade") {
            // > the |Upgrade| header field contains a value that is not an ASCII
            // > case-insensitive match for the value "websocket" (§4.1)
            // Two lines are a list of two (RFC 9110 §5.3), which does not match either.
            upgrade.set(value);
        } else if is("connection") {
            connection |= has_token(value, "upgrade");
        } else if is("sec-websocket-accept") {
            accept.set(value);
        } else if is("sec-websocket-extensions") {
            match deflate.unwrap_or_default().check([bytes]) {
                Ok(None) => {}
                Ok(agreed) if deflate.is_some() && terms.is_none() => terms = agreed,
                _ => extension = true,
            }
        } else if is("sec-websocket-protocol") {
            protocol.set(value);
        }
    }
    let require = |held, fault| if held { Ok(()) } else { Err(fault) };
    require(status == 101, BadAnswer::Status(status))?;
    let upgrade = upgrade.get().is_some_and(|value| value.eq_ignore_ascii_case("websocket"));
    require(upgrade, BadAnswer::Upgrade)?;
    require(connection, BadAnswer::Connection)?;
    require(accept.get().is_some_and(|a| verify_accept(key, a)), BadAnswer::Accept)?;
    require(!extension, BadAnswer::Extension)?;
    let protocol = match protocol {
        Once::Missing => None,
        Once::Many => return Err(BadAnswer::Protocol),
        Once::One(name) => {
            let ours = offered.iter().copied().find(|ours| *ours == name);
            Some(ours.ok_or(BadAnswer::Protocol)?)
        }
    };
    Ok((protocol, terms))
}
