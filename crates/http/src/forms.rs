//! What forms and browsers send: query strings, form bodies, cookies; with files, [`multipart`].
//!
//! Rules of this file:
//! * Nothing is kept in a map: who looks for a name goes through the pairs, in their order, so
//!   that no names can be made to collide, and repetition is seen.
//! * Reading never fails: what is no escape stands for itself, as in browsers (URL Standard §5.1).
//! * Writing does: a cookie that could be read as something else is not made.

pub mod multipart;

use crate::core::{Headers, Invalid};
use std::borrow::Cow;
use std::fmt::Write;
use std::time::Duration;

/// The pairs of a query string or of a form's body (`application/x-www-form-urlencoded`), decoded,
/// in their order.
///
/// ```
/// use loopwork_http::forms::pairs;
/// let all: Vec<_> = pairs(b"a=1+2&b=%e6%ac%a2&a&&=x").collect();
/// let expected = [("a", "1 2"), ("b", "欢"), ("a", ""), ("", "x")];
/// assert!(all.iter().map(|(n, v)| (&n[..], &v[..])).eq(expected));
/// ```
pub fn pairs(text: &[u8]) -> Pairs<'_> {
    Pairs { rest: Some(text) }
}

/// Iterator over pairs: see [`pairs`].
#[derive(Clone, Debug)]
pub struct Pairs<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (Cow<'a, str>, Cow<'a, str>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (pair, rest) = cut(self.rest?, b'&');
            self.rest = rest;
            if !pair.is_empty() {
                let (name, value) = cut(pair, b'=');
                return Some((decode(name), decode(value.unwrap_or_default())));
            }
        }
    }
}

impl std::iter::FusedIterator for Pairs<'_> {}

/// What stands before the first `at`, and what behind it, if it is there.
fn cut(bytes: &[u8], at: u8) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(at, bytes) {
        Some(n) => (&bytes[..n], Some(&bytes[n + 1..])),
        None => (bytes, None),
    }
}

/// A name or value of a form as text: `+` is a space, `%41` an `A`. What is not UTF-8 then gets
/// the replacement character.
#[must_use]
pub fn decode(text: &[u8]) -> Cow<'_, str> {
    if memchr::memchr2(b'+', b'%', text).is_none() {
        return String::from_utf8_lossy(text);
    }
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text);
    while let [first, behind @ ..] = rest {
        let escaped = match behind {
            [high, low, ..] if *first == b'%' => hex(*high).zip(hex(*low)),
            _ => None,
        };
        match (escaped, first) {
            (Some((high, low)), _) => bytes.push(high << 4 | low),
            (None, b'+') => bytes.push(b' '),
            (None, _) => bytes.push(*first),
        }
        rest = if escaped.is_some() { &behind[2..] } else { behind };
    }
    match String::from_utf8(bytes) {
        Ok(text) => Cow::Owned(text),
        Err(e) => Cow::Owned(String::from_utf8_lossy(e.as_bytes()).into_owned()),
    }
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|n| n as u8)
}

/// Appends a pair to a query string or a form's body, with a `&` before it if there is one before
/// it.
///
/// ```
/// let mut query = String::new();
/// loopwork_http::forms::append(&mut query, "q", "a&b 欢");
/// loopwork_http::forms::append(&mut query, "n", "1");
/// assert_eq!(query, "q=a%26b+%E6%AC%A2&n=1");
/// ```
pub fn append(out: &mut String, name: &str, value: &str) {
    if !out.is_empty() {
        out.push('&');
    }
    escape(out, name);
    out.push('=');
    escape(out, value);
}

/// The `application/x-www-form-urlencoded` percent-encode set (URL Standard §1.3).
fn escape(out: &mut String, text: &str) {
    for b in text.bytes() {
        match b {
            b'*' | b'-' | b'.' | b'_' => out.push(b.into()),
            _ if b.is_ascii_alphanumeric() => out.push(b.into()),
            b' ' => out.push('+'),
            // A String takes all that is written to it.
            _ => drop(write!(out, "%{b:02X}")),
        }
    }
}

/// The cookies that a request brings, as name and value, in their order. A name may come twice:
/// the first is of the longest path (RFC 6265 §5.4).
///
/// ```text
/// cookie-string = cookie-pair *( ";" SP cookie-pair )
/// ```
///
/// ```
/// # use loopwork_http::core::{Fields, Limits, Progress, parse_request};
/// # let bytes = b"GET / HTTP/1.1\r\nHost: a\r\nCookie: a=1; b=\"2\"\r\n\r\n";
/// # let mut fields = Fields::new();
/// # let parsed = parse_request(bytes, &mut Progress::new(), &mut fields, &Limits::default());
/// # let (request, _) = parsed.unwrap().unwrap();
/// let b = loopwork_http::forms::cookies(&request.headers).find(|(name, _)| *name == b"b");
/// assert_eq!(b, Some((&b"b"[..], &b"2"[..])));
/// ```
pub fn cookies<'a>(headers: &Headers<'a>) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
    headers.get_all("cookie").flat_map(|line| {
        line.split(|b| *b == b';').filter_map(|pair| {
            // Without a `=` it is nobody's: servers and browsers do not agree on what it is.
            let (name, value) = cut(pair.trim_ascii(), b'=');
            let value = value?;
            let quoted = value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\""));
            Some((name, quoted.unwrap_or(value)))
        })
    })
}

/// Which requests of other sites a cookie goes with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum SameSite {
    /// With none of them.
    Strict,
    /// Only where the user follows a link.
    #[default]
    Lax,
    /// With all; the cookie has to be [`secure`](SetCookie::secure) then.
    None,
}

/// A cookie that a response sets: the value of a `Set-Cookie` header.
///
/// ```
/// use loopwork_http::forms::SetCookie;
/// let line = SetCookie::new("id", "a1").to_header()?;
/// assert_eq!(line, "id=a1; Path=/; Secure; HttpOnly; SameSite=Lax");
/// # Ok::<(), loopwork_http::core::Invalid>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SetCookie<'a> {
    /// A token.
    pub name: &'a str,
    /// Without white space, quotes, commas, semicolons and backslashes.
    pub value: &'a str,
    /// Where on the site it goes.
    pub path: &'a str,
    /// Which hosts it goes to: `None`, the one that set it.
    pub domain: Option<&'a str>,
    /// When it is forgotten: `None`, with the browser's session; zero, at once.
    pub max_age: Option<Duration>,
    /// Only over TLS, as it is.
    pub secure: bool,
    /// Out of the reach of scripts, as it is.
    pub http_only: bool,
    /// Which requests of other sites it goes with.
    pub same_site: SameSite,
}

impl<'a> SetCookie<'a> {
    /// A cookie of the session, of the whole site, and as safe as there is.
    #[must_use]
    pub fn new(name: &'a str, value: &'a str) -> SetCookie<'a> {
        let (path, domain, max_age) = ("/", None, None);
        let same_site = SameSite::Lax;
        SetCookie { name, value, path, domain, max_age, secure: true, http_only: true, same_site }
    }

    /// The header's value.
    ///
    /// ```text
    /// set-cookie-string = token "=" cookie-value *( ";" SP cookie-av )
    /// cookie-octet      = %x21 / %x23-2B / %x2D-3A / %x3C-5B / %x5D-7E
    /// path-value        = *av-octet        ; any CHAR except CTLs or ";"
    /// ```
    ///
    /// # Errors
    /// [`Invalid::HeaderName`]: the name is no token. [`Invalid::HeaderValue`]: value, path or
    /// domain hold what would end them, or `SameSite=None` is not secure (browsers refuse that).
    pub fn to_header(&self) -> Result<String, Invalid> {
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        if self.name.is_empty() || !self.name.bytes().all(token) {
            return Err(Invalid::HeaderName);
        }
        let octet = |b: u8| b.is_ascii_graphic() && !b"\",;\\".contains(&b);
        let plain =
            |text: &str| text.bytes().all(|b| (b == b' ' || b.is_ascii_graphic()) && b != b';');
        let loose = self.same_site == SameSite::None && !self.secure;
        let domain = self.domain.unwrap_or_default();
        if !self.value.bytes().all(octet) || !plain(self.path) || !plain(domain) || loose {
            return Err(Invalid::HeaderValue);
        }
        let mut line = format!("{}={}; Path={}", self.name, self.value, self.path);
        if let Some(domain) = self.domain {
            line += "; Domain=";
            line += domain;
        }
        if let Some(age) = self.max_age {
            let _ = write!(line, "; Max-Age={}", age.as_secs());
        }
        line += if self.secure { "; Secure" } else { "" };
        line += if self.http_only { "; HttpOnly" } else { "" };
        line += match self.same_site {
            SameSite::Strict => "; SameSite=Strict",
            SameSite::Lax => "; SameSite=Lax",
            SameSite::None => "; SameSite=None",
        };
        Ok(line)
    }
}
