//! Cookies: `-b` and `-c` (RFC 6265), kept in the file format of curl and wget.
//!
//! Rules of this file:
//! * A cookie goes to the host that set it, or to what lies below the domain that it names and
//!   that its host lies below; never to a top-level domain, and over plain HTTP never when it is
//!   `Secure`.
//! * There are at most [`MOST`] of them, none longer than [`LONGEST`].

use loopwork::http::Url;
use std::fmt::Write as _;
use std::time::UNIX_EPOCH;

/// RFC 6265 §6.1 asks for at least 3,000.
const MOST: usize = 3000;
/// Name, value and attributes; §6.1 asks for at least 4,096 bytes.
const LONGEST: usize = 8190;

#[derive(Clone, PartialEq, Eq, Debug)]
struct Cookie {
    domain: String,
    /// It goes to hosts below the domain, too.
    below: bool,
    path: String,
    secure: bool,
    http_only: bool,
    /// In seconds since 1970; 0: when the session ends, which is up to whoever reads the file.
    expires: u64,
    name: String,
    value: String,
}

/// All that were set.
#[derive(Default, Debug)]
pub(super) struct Jar(Vec<Cookie>);

impl Jar {
    /// Takes over what a file of cookies says, or a file of `Set-Cookie` lines.
    pub(super) fn read(&mut self, text: &str, url: &Url, now: u64) {
        for line in text.lines() {
            if let Some(set) = strip_name(line, "Set-Cookie:") {
                self.set(set, url, now);
                continue;
            }
            let (line, http_only) = match line.strip_prefix("#HttpOnly_") {
                Some(line) => (line, true),
                None => (line, false),
            };
            let parts: Vec<&str> = line.split('\t').collect();
            let ([domain, below, path, secure, expires, name, rest @ ..], false) =
                (&parts[..], line.starts_with('#'))
            else {
                continue;
            };
            let cookie = Cookie {
                domain: domain.trim_start_matches('.').to_ascii_lowercase(),
                below: *below == "TRUE",
                path: path.to_string(),
                secure: *secure == "TRUE",
                http_only,
                expires: expires.parse().unwrap_or(0),
                name: name.to_string(),
                value: rest.first().unwrap_or(&"").to_string(),
            };
            self.put(cookie, now);
        }
    }

    /// What a server sets (§5.2, §5.3).
    pub(super) fn set(&mut self, text: &str, url: &Url, now: u64) {
        // A tab would end a column of the file.
        if text.len() > LONGEST || text.chars().any(char::is_control) {
            return;
        }
        let mut parts = text.split(';').map(str::trim);
        let Some((name, value)) = parts.next().and_then(|pair| pair.split_once('=')) else {
            return;
        };
        let path = url.target.split('?').next().unwrap_or("/");
        let folder = path.rfind('/').filter(|at| *at > 0).map_or("/", |at| &path[..at]);
        let mut cookie = Cookie {
            domain: url.host.clone(),
            below: false,
            path: folder.to_string(),
            secure: false,
            http_only: false,
            expires: 0,
            name: name.trim().to_string(),
            value: value.trim().to_string(),
        };
        let mut age = None;
        for part in parts {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let value = value.trim();
            match name.trim().to_ascii_lowercase().as_str() {
                "domain" if !value.is_empty() => {
                    let domain = value.trim_start_matches('.').to_ascii_lowercase();
                    let sound = domain == url.host || domain.contains('.') && !is_ip(&url.host);
                    if !sound || !is_below(&url.host, &domain) {
                        return;
                    }
                    (cookie.domain, cookie.below) = (domain, !is_ip(&url.host));
                }
                "path" if value.starts_with('/') => cookie.path = value.to_string(),
                "secure" => cookie.secure = true,
                "httponly" => cookie.http_only = true,
                "expires" => cookie.expires = date(value).unwrap_or(cookie.expires),
                "max-age" => age = value.parse::<i64>().ok(),
                _ => {}
            }
        }
        match age {
            Some(age) if age > 0 => cookie.expires = now.saturating_add(age.unsigned_abs()),
            Some(_) => cookie.expires = 1,
            None => {}
        }
        // Whoever is not secure sets no cookie that is, nor one whose name says so (RFC 6265bis).
        let prefixed = ["__Secure-", "__Host-"].iter().any(|p| cookie.name.starts_with(p));
        let secure = cookie.secure && url.scheme == "https";
        if !cookie.name.is_empty() && (secure || !cookie.secure && !prefixed) {
            self.put(cookie, now);
        }
    }

    fn put(&mut self, cookie: Cookie, now: u64) {
        let key = |c: &Cookie| (c.domain.clone(), c.path.clone(), c.name.clone());
        self.0.retain(|other| key(other) != key(&cookie));
        if (cookie.expires == 0 || cookie.expires > now) && self.0.len() < MOST {
            self.0.push(cookie);
        }
    }

    /// The value of `Cookie` for a URL (§5.4): longer paths first.
    pub(super) fn header(&self, url: &Url, now: u64) -> Option<String> {
        let path = url.target.split('?').next().unwrap_or("/");
        let fits = |c: &&Cookie| {
            let host = url.host == c.domain || c.below && is_below(&url.host, &c.domain);
            let whole = path.strip_prefix(c.path.trim_end_matches('/'));
            let in_path = whole.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
            let fresh = c.expires == 0 || c.expires > now;
            host && in_path && fresh && (!c.secure || url.scheme == "https")
        };
        let mut list: Vec<&Cookie> = self.0.iter().filter(fits).collect();
        list.sort_by_key(|c| std::cmp::Reverse(c.path.len()));
        let pairs: Vec<String> = list.iter().map(|c| format!("{}={}", c.name, c.value)).collect();
        (!pairs.is_empty()).then(|| pairs.join("; "))
    }

    /// As a file.
    pub(super) fn text(&self) -> String {
        let mut text = "# Netscape HTTP Cookie File\n# Written by loopwork get.\n\n".to_string();
        let word = |is| if is { "TRUE" } else { "FALSE" };
        for c in &self.0 {
            let only = if c.http_only { "#HttpOnly_" } else { "" };
            let dot = if c.below { "." } else { "" };
            let (below, secure) = (word(c.below), word(c.secure));
            let Cookie { domain, path, expires, name, value, .. } = c;
            let _ = writeln!(
                text,
                "{only}{dot}{domain}\t{below}\t{path}\t{secure}\t{expires}\t{name}\t{value}"
            );
        }
        text
    }
}

fn strip_name<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let front = line.get(..name.len())?;
    front.eq_ignore_ascii_case(name).then(|| line[name.len()..].trim())
}

fn is_ip(host: &str) -> bool {
    host.starts_with('[') || host.parse::<std::net::Ipv4Addr>().is_ok()
}

/// Whether a host is this domain or lies below it.
fn is_below(host: &str, domain: &str) -> bool {
    let front = host.strip_suffix(domain);
    front.is_some_and(|front| front.is_empty() || front.ends_with('.'))
}

/// Seconds since 1970; also of the old form with dashes.
fn date(text: &str) -> Option<u64> {
    let parse = |text: &str| httpdate::parse_http_date(text).ok();
    let time = parse(text).or_else(|| parse(&text.replace('-', " ")))?;
    // 0 would mean: until the session ends.
    time.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs().max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text, &["http", "https"]).unwrap()
    }

    #[test]
    fn cookies_go_where_they_belong() {
        let from = url("http://www.a.org/x/y");
        for (set, to, sent) in [
            ("n=v", "http://www.a.org/x/z", true),
            ("n=v", "http://www.a.org/z", false),
            ("n=v; Path=/", "http://www.a.org/z", true),
            ("n=v; path=/x/y", "http://www.a.org/x/yz", false),
            ("n=v; Path=/", "http://a.org/", false),
            ("n=v; Path=/; Domain=a.org", "http://b.a.org/", true),
            ("n=v; Path=/; Domain=.a.org", "http://ba.org/", false),
            ("n=v; Path=/; Domain=org", "http://www.a.org/", false),
            ("n=v; Path=/; Domain=b.org", "http://b.org/", false),
            ("n=v; Path=/; Secure", "https://www.a.org/", false),
            ("n=v; Path=/; Max-Age=0", "http://www.a.org/", false),
            ("n=v; Path=/; Max-Age=9", "http://www.a.org/", true),
            ("n=v; Path=/; Expires=Thu, 01-Jan-1970 00:00:00 GMT", "http://www.a.org/", false),
            ("n=v; Path=/; Expires=Fri, 31 Dec 2100 00:00:00 GMT", "http://www.a.org/", true),
            ("novalue", "http://www.a.org/x/y", false),
            ("=n=v; Path=/", "http://www.a.org/", false),
            ("n=v; Path=/\tx", "http://www.a.org/", false),
        ] {
            let mut jar = Jar::default();
            jar.set(set, &from, 1000);
            let found = jar.header(&url(to), 1000);
            assert_eq!(found.as_deref(), sent.then_some("n=v"), "{set} {to}");
            // What is written is read again.
            let mut again = Jar::default();
            again.read(&jar.text(), &from, 1000);
            assert_eq!(again.0, jar.0, "{set}");
        }
    }

    #[test]
    fn a_cookie_is_replaced_and_removed() {
        let mut jar = Jar::default();
        let from = url("http://127.0.0.1/");
        jar.set("a=1", &from, 5);
        jar.set("b=2", &from, 5);
        jar.set("a=3", &from, 5);
        assert_eq!(jar.header(&from, 5).as_deref(), Some("b=2; a=3"));
        jar.set("b=; Max-Age=-1", &from, 5);
        assert_eq!(jar.header(&from, 5).as_deref(), Some("a=3"));
        jar.set("__Secure-d=5", &from, 5);
        jar.set("__Host-d=5; Path=/", &from, 5);
        jar.read("Set-Cookie: c=4\n# a comment\nnonsense\n", &from, 5);
        assert_eq!(jar.header(&from, 5).as_deref(), Some("a=3; c=4"));
    }
}
