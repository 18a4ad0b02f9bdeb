//! URLs, as far as a client of HTTP and WebSocket needs them (RFC 3986).
//!
//! Rules of this file:
//! * What comes out can be sent: the target is ASCII without blanks, the host one that a header
//!   can hold. What cannot be made so is an error, not a guess.
//! * Bytes that may not stand in a URL but people type, letters beyond ASCII, are encoded; white
//!   space and control characters are refused, as curl does.
//! * User and password are kept apart, and shown by nothing: neither `Display` nor `Debug`.

use base64::prelude::{BASE64_STANDARD, Engine};
use std::fmt::{self, Write as _};
use std::net::Ipv6Addr;

/// `URI = scheme "://" [ userinfo "@" ] host [ ":" port ] path [ "?" query ]`, without a fragment,
/// which is never sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Url {
    /// In lower case.
    pub scheme: String,
    /// User and password, if it has them.
    pub login: Option<Login>,
    /// A name, an IPv4 address, or an IPv6 address in brackets, as short as it can be written
    /// (RFC 5952); in lower case.
    pub host: String,
    /// That of the scheme where none is named.
    pub port: u16,
    /// Path and query, ready to be sent; begins with a slash.
    pub target: String,
}

/// User and password, decoded: `userinfo` (RFC 3986 §3.2.1).
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// Without a colon: none can be said (RFC 7617 §2).
    pub user: String,
    /// Empty if there is none.
    pub password: String,
}

impl Login {
    /// The value of `Authorization`, or `Proxy-Authorization`: `Basic` (RFC 7617), in UTF-8. It
    /// hides nothing from who sees it.
    ///
    /// ```
    /// use loopwork_http::Url;
    /// let url = Url::parse("http://Aladdin:open%20sesame@a/", &["http"]).unwrap();
    /// assert_eq!(url.login.unwrap().basic(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    /// assert_eq!(Url::parse("http://u:p@a/", &["http"]).unwrap().to_string(), "http://a/");
    /// ```
    #[must_use]
    pub fn basic(&self) -> String {
        let pair = format!("{}:{}", self.user, self.password);
        format!("Basic {}", BASE64_STANDARD.encode(pair))
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login(…)")
    }
}

/// Why a text is no URL for us.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Bad {
    /// The scheme is none of those that are asked for.
    Scheme(String),
    /// The text breaks the grammar, and how.
    Malformed(&'static str),
}

/// The port that a scheme has when the URL names none.
fn default_port(scheme: &str) -> u16 {
    if matches!(scheme, "https" | "wss") { 443 } else { 80 }
}

impl Url {
    /// Reads a URL. Without a scheme it is taken for one of `schemes[0]`.
    ///
    /// ```
    /// use loopwork_http::Url;
    /// let url = Url::parse("Example.org:8080/a/../b?c#d", &["http"]).unwrap();
    /// assert_eq!((url.host.as_str(), url.port), ("example.org", 8080));
    /// assert_eq!(url.target, "/b?c");
    /// ```
    ///
    /// # Errors
    /// A scheme that is not among `schemes`, or what cannot be sent as it stands.
    pub fn parse(text: &str, schemes: &[&str]) -> Result<Url, Bad> {
        if text.bytes().any(|b| b <= b' ' || b == 0x7f) {
            return Err(Bad::Malformed("white space has to be written as %20"));
        }
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) if is_scheme(scheme) => (scheme.to_ascii_lowercase(), rest),
            Some((scheme, _)) if !scheme.contains(['/', '?', '#']) => {
                return Err(Bad::Malformed("the scheme is none"));
            }
            _ if schemes.iter().any(|scheme| without_slashes(text, scheme)) => {
                return Err(Bad::Malformed("behind the scheme stands ://"));
            }
            _ => (schemes.first().copied().unwrap_or_default().to_string(), text),
        };
        if !schemes.contains(&scheme.as_str()) {
            return Err(Bad::Scheme(scheme));
        }
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        let (login, authority) = match authority.split_once('@') {
            Some((userinfo, rest)) => (login_of(userinfo)?, rest),
            None => (None, authority),
        };
        let (host, port) = authority_of(authority, default_port(&scheme))?;
        Ok(Url { scheme, login, host, port, target: target_of(target) })
    }

    /// Where a reference leads from here (RFC 3986 §5.2). One that names no host keeps the login.
    ///
    /// # Errors
    /// As [`Url::parse`].
    pub fn join(&self, location: &str, schemes: &[&str]) -> Result<Url, Bad> {
        let named = location.split_once(':').filter(|(scheme, _)| is_scheme(scheme));
        if let Some((scheme, rest)) = named {
            return match schemes.iter().any(|scheme| without_slashes(location, scheme)) {
                true => Err(Bad::Malformed("behind the scheme stands ://")),
                false if rest.starts_with("//") => Url::parse(location, schemes),
                false => Err(Bad::Scheme(scheme.to_ascii_lowercase())),
            };
        }
        if location.bytes().any(|b| b <= b' ' || b == 0x7f) {
            return Err(Bad::Malformed("white space has to be written as %20"));
        }
        if location.starts_with("//") {
            return Url::parse(&format!("{}:{location}", self.scheme), schemes);
        }
        let (path, _) = self.target.split_once('?').unwrap_or((&self.target, ""));
        let target = match location.chars().next() {
            None | Some('#') => self.target.clone(),
            Some('/') => target_of(location),
            Some('?') => target_of(&format!("{path}{location}")),
            Some(_) => {
                let folder = path.rfind('/').map_or("/", |slash| &path[..=slash]);
                target_of(&format!("{folder}{location}"))
            }
        };
        Ok(Url { target, ..self.clone() })
    }

    /// The value of `Host`: the port stands there unless it is the scheme's.
    #[must_use]
    pub fn authority(&self) -> String {
        match self.port == default_port(&self.scheme) {
            true => self.host.clone(),
            false => format!("{}:{}", self.host, self.port),
        }
    }

    /// Whether credentials for one may be shown to the other.
    #[must_use]
    pub fn same_origin(&self, other: &Url) -> bool {
        (&self.scheme, &self.host, self.port) == (&other.scheme, &other.host, other.port)
    }

    /// The last part of the path, under which the answer could be kept.
    #[must_use]
    pub fn file_name(&self) -> Option<&str> {
        let (path, _) = self.target.split_once('?').unwrap_or((&self.target, ""));
        path.rsplit('/').next().filter(|name| !matches!(*name, "" | "." | ".."))
    }
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bad::Scheme(scheme) => write!(f, "{scheme} is not spoken here"),
            Bad::Malformed(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for Bad {}

/// Without user and password.
impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme, self.authority(), self.target)
    }
}

/// `scheme = ALPHA *( ALPHA / DIGIT / "+" / "-" / "." )`
fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
}

/// `http:x`: a reference that browsers read in one way, and RFC 3986 §5.2.2 in another.
fn without_slashes(text: &str, scheme: &str) -> bool {
    let (begin, rest) = text.split_at_checked(scheme.len()).unwrap_or_default();
    begin.eq_ignore_ascii_case(scheme) && rest.starts_with(':') && !rest.starts_with("://")
}

/// `userinfo = *( unreserved / pct-encoded / sub-delims / ":" )`
fn login_of(userinfo: &str) -> Result<Option<Login>, Bad> {
    let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
    let (user, password) = (decoded(user)?, decoded(password)?);
    match (user.is_empty(), password.is_empty()) {
        (true, true) => Ok(None),
        _ if user.contains(':') => Err(Bad::Malformed("a user's name has no colon")),
        _ => Ok(Some(Login { user, password })),
    }
}

/// `pct-encoded = "%" HEXDIG HEXDIG`; what comes out is text.
fn decoded(text: &str) -> Result<String, Bad> {
    const PERCENT: Bad = Bad::Malformed("in user and password a % has to be written as %25");
    let (mut bytes, mut rest) = (Vec::new(), text.bytes());
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|b| char::from(b).to_digit(16));
        let (Some(high), Some(low)) = (digit(), digit()) else { return Err(PERCENT) };
        bytes.push((high * 16 + low) as u8);
    }
    let text = String::from_utf8(bytes);
    let text = text.map_err(|_| Bad::Malformed("user and password are not UTF-8"))?;
    match text.contains(char::is_control) {
        true => Err(Bad::Malformed("user and password have no control characters")),
        false => Ok(text),
    }
}

/// `host [ ":" port ]`
fn authority_of(text: &str, default: u16) -> Result<(String, u16), Bad> {
    if text.contains('@') {
        return Err(Bad::Malformed("in user and password an @ has to be written as %40"));
    }
    let end = match text.strip_prefix('[') {
        Some(rest) => rest.find(']').ok_or(Bad::Malformed("a bracket is open"))? + 2,
        None => text.find(':').unwrap_or(text.len()),
    };
    let (host, tail) = text.split_at(end);
    let port = match tail.strip_prefix(':') {
        None if tail.is_empty() => default,
        Some("") => default,
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
            digits.parse().map_err(|_| Bad::Malformed("the port is above 65535"))?
        }
        _ => return Err(Bad::Malformed("the port is no number")),
    };
    let ipv6 = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host = match ipv6 {
        Some(ip) => ip.parse().ok().map(|ip: Ipv6Addr| format!("[{ip}]")),
        None if host.is_empty() => return Err(Bad::Malformed("the host is missing")),
        None if host.contains(|c: char| !c.is_ascii()) => {
            return Err(Bad::Malformed("a host beyond ASCII has to be written as xn--..."));
        }
        None => host
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
            .then(|| host.to_ascii_lowercase()),
    };
    match host {
        Some(host) => Ok((host, port)),
        None => Err(Bad::Malformed("the host is no name and no address")),
    }
}

/// Path and query, encoded, without dot segments and fragment; `/` if there is none.
fn target_of(text: &str) -> String {
    let text = text.split('#').next().unwrap_or_default();
    let (path, query) = match text.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (text, None),
    };
    let mut target = String::new();
    encode(&mut target, &without_dots(path));
    if let Some(query) = query {
        target.push('?');
        encode(&mut target, query);
    }
    target
}

/// `remove_dot_segments` (RFC 3986 §5.2.4) of a path that begins with a slash or is empty.
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut parts = path.split('/').skip(1).peekable();
    while let Some(part) = parts.next() {
        let dots = dots(part);
        match dots {
            0 => kept.push(part),
            2 => drop(kept.pop()),
            _ => {}
        }
        if dots > 0 && parts.peek().is_none() {
            kept.push("");
        }
    }
    match kept.is_empty() {
        true => "/".into(),
        false => kept.iter().flat_map(|part| ["/", part]).collect(),
    }
}

/// How many dots a segment consists of: one, two, or 0, it is a name. `%2E` is a dot (§2.3): for
/// servers it is, so that the segment meant the same here or there.
fn dots(part: &str) -> usize {
    let mut rest = part;
    for n in 0..=2 {
        if rest.is_empty() {
            return n;
        }
        let dot = rest.strip_prefix('.');
        let Some(next) = dot.or(rest.strip_prefix("%2e")).or(rest.strip_prefix("%2E")) else {
            return 0;
        };
        rest = next;
    }
    0
}

/// Bytes that stand in no URL, percent-encoded; `%` is left, since it may be encoding already.
fn encode(into: &mut String, text: &str) {
    for byte in text.bytes() {
        match byte {
            0x21..=0x7e if !b"\"<>\\^`{|}".contains(&byte) => into.push(byte.into()),
            byte => drop(write!(into, "%{byte:02X}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HTTP: &[&str] = &["http"];

    fn parse(text: &str) -> Url {
        Url::parse(text, HTTP).unwrap_or_else(|why| panic!("{text}: {why:?}"))
    }

    #[test]
    fn urls_and_what_they_mean() {
        for (text, authority, port, target) in [
            ("http://a", "a", 80, "/"),
            ("a", "a", 80, "/"),
            ("A.Example:8080/x?y=1#z", "a.example:8080", 8080, "/x?y=1"),
            ("HTTP://[::1]:9/", "[::1]:9", 9, "/"),
            ("http://a:80/", "a", 80, "/"),
            ("http://a:/b", "a", 80, "/b"),
            ("http://a?q", "a", 80, "/?q"),
            ("http://a#f", "a", 80, "/"),
            ("http://a/b/../c/./d", "a", 80, "/c/d"),
            ("http://a/../..", "a", 80, "/"),
            ("http://a/b/..", "a", 80, "/"),
            ("http://a/b/c/..", "a", 80, "/b/"),
            ("http://a//b//", "a", 80, "//b//"),
            ("http://a/é?ü", "a", 80, "/%C3%A9?%C3%BC"),
            ("http://a/%41{x}", "a", 80, "/%41%7Bx%7D"),
            ("a/x?u=http://b/", "a", 80, "/x?u=http://b/"),
        ] {
            let url = parse(text);
            let found = (url.authority(), url.port, url.target.as_str());
            assert_eq!(found, (authority.to_string(), port, target), "{text}");
        }
    }

    #[test]
    fn what_is_no_url() {
        for text in [
            "",
            "http://",
            "http:///x",
            "http://a b/",
            "http://a/ ",
            "http://a:x/",
            "http://[::1",
            "http://a:70000/",
            "http://é/",
            "://a",
            "1http://a",
            "http://[x]/",
            "http://a\n/",
            "http://a:+8/",
            "http://a/\0",
        ] {
            let found = Url::parse(text, HTTP);
            assert!(matches!(found, Err(Bad::Malformed(_))), "{text:?}: {found:?}");
        }
        for text in ["ftp://a", "https://a", "file:///etc/passwd"] {
            assert!(matches!(Url::parse(text, HTTP), Err(Bad::Scheme(_))), "{text}");
        }
    }

    #[test]
    fn where_locations_lead() {
        let base = parse("http://a:81/b/c/d?q");
        for (location, url) in [
            ("http://x/y", "http://x/y"),
            ("//x/y", "http://x/y"),
            ("/y", "http://a:81/y"),
            ("y", "http://a:81/b/c/y"),
            ("./y", "http://a:81/b/c/y"),
            ("../y", "http://a:81/b/y"),
            ("../../../y", "http://a:81/y"),
            ("?y", "http://a:81/b/c/d?y"),
            ("#y", "http://a:81/b/c/d?q"),
            ("", "http://a:81/b/c/d?q"),
            ("y?z/../w", "http://a:81/b/c/y?z/../w"),
        ] {
            assert_eq!(base.join(location, HTTP).unwrap().to_string(), url, "{location}");
        }
        for location in ["file:///etc/passwd", "javascript:alert(1)", "https://a/", "mailto:x"] {
            assert!(matches!(base.join(location, HTTP), Err(Bad::Scheme(_))), "{location}");
        }
    }

    #[test]
    fn names_for_files() {
        for (text, name) in [
            ("http://a/b/c.txt?x", Some("c.txt")),
            ("http://a/b/", None),
            ("http://a", None),
            ("http://a/b/..", None),
            ("http://a/x%2Fy", Some("x%2Fy")),
        ] {
            assert_eq!(parse(text).file_name(), name, "{text}");
        }
    }
}
