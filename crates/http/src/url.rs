//! URLs, as far as a client of HTTP and WebSocket needs them (RFC 3986).
//!
//! Rules of this file:
//! * What comes out can be sent: the target is ASCII without blanks, the host one that a header
//!   can hold. What cannot be made so is an error, not a guess.
//! * Bytes that may not stand in a URL but people type, letters beyond ASCII, are encoded; white
//!   space and control characters are refused, as curl does.

use std::fmt::Write as _;

/// `URI = scheme "://" host [ ":" port ] path [ "?" query ]`, without a fragment, which is never
/// sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Url {
    /// In lower case.
    pub scheme: String,
    /// A name, an IPv4 address, or an IPv6 address in brackets; in lower case.
    pub host: String,
    /// That of the scheme where none is named.
    pub port: u16,
    /// Path and query, ready to be sent; begins with a slash.
    pub target: String,
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
            _ => (schemes.first().copied().unwrap_or_default().to_string(), text),
        };
        if !schemes.contains(&scheme.as_str()) {
            return Err(Bad::Scheme(scheme));
        }
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        let (host, port) = authority_of(authority, default_port(&scheme))?;
        Ok(Url { scheme, host, port, target: target_of(target) })
    }

    /// Where a `Location` leads from here (RFC 3986 §5.2).
    ///
    /// # Errors
    /// As [`Url::parse`].
    pub fn join(&self, location: &str, schemes: &[&str]) -> Result<Url, Bad> {
        let scheme = location.split_once(':').map(|(scheme, _)| scheme);
        if scheme.is_some_and(is_scheme) {
            return match location.contains("://") {
                true => Url::parse(location, schemes),
                false => Err(Bad::Scheme(scheme.unwrap_or_default().to_ascii_lowercase())),
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

impl std::fmt::Display for Bad {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Bad::Scheme(scheme) => write!(f, "{scheme} is not spoken here"),
            Bad::Malformed(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for Bad {}

impl std::fmt::Display for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}{}", self.scheme, self.authority(), self.target)
    }
}

/// `scheme = ALPHA *( ALPHA / DIGIT / "+" / "-" / "." )`
fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
}

/// `authority = [ userinfo "@" ] host [ ":" port ]`
fn authority_of(text: &str, default: u16) -> Result<(String, u16), Bad> {
    if text.contains('@') {
        let why = "no user and password in it: say -H 'Authorization: ...'";
        return Err(Bad::Malformed(why));
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
    let sound = match ipv6 {
        Some(ip) => ip.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)),
    };
    match host {
        "" => Err(Bad::Malformed("the host is missing")),
        _ if !sound => Err(Bad::Malformed("the host is no name and no address")),
        _ => Ok((host.to_ascii_lowercase(), port)),
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
    let mut parts: Vec<&str> = Vec::new();
    let mut folder = true;
    for part in path.split('/').skip(1) {
        folder = matches!(part, "." | ".." | "");
        match part {
            "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let mut whole = String::new();
    for part in &parts {
        whole.push('/');
        whole.push_str(part);
    }
    if whole.is_empty() || (folder && !whole.ends_with('/')) {
        whole.push('/');
    }
    whole
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
    use proptest::prelude::*;

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
            "http://u:p@a/",
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

    proptest! {
        /// Whatever is taken can be sent, and means the same when it is read again.
        #[test]
        fn what_is_taken_can_be_sent(
            text in "(http://|//|a|é|/|\\.|\\?|#|:|8|%|@|\\[|\\]| ){0,16}",
        ) {
            if let Ok(url) = Url::parse(&text, HTTP) {
                prop_assert!(url.target.starts_with('/'));
                prop_assert!(url.target.bytes().all(|b| (0x21..0x7f).contains(&b)));
                prop_assert_eq!(Url::parse(&url.to_string(), HTTP), Ok(url));
            }
        }
    }
}
