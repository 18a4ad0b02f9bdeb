//! What must hold of a URL, whatever the text: it can be sent, it is read again as itself, and
//! the crate `url`, which reads as browsers do, means the same where it takes the text too.

use loopwork_http::Url;
use url::Url as Oracle;

pub(crate) const SCHEMES: &[&str] = &["http", "https"];

/// Reads `base`, and `reference` from there; checks whatever is taken.
pub(crate) fn check(base: &str, reference: &str) -> Option<Url> {
    let here = Url::parse(base, SCHEMES).ok()?;
    can_be_sent(&here);
    // Without a scheme it is no URL there.
    let scheme = base.split_once("://").map(|(scheme, _)| scheme);
    let absolute = scheme.is_some_and(|s| s.bytes().all(|b| b.is_ascii_alphanumeric()));
    let oracle = Oracle::parse(base).ok().filter(|_| absolute && alike(base));
    if let Some(oracle) = &oracle {
        same(&here, oracle);
    }
    let Ok(there) = here.join(reference, SCHEMES) else { return Some(here) };
    can_be_sent(&there);
    if let Some(oracle) = oracle.and_then(|o| o.join(reference).ok()).filter(|_| alike(reference)) {
        same(&there, &oracle);
    }
    Some(there)
}

/// Not what is read in two ways on purpose: a backslash, which browsers take for a slash, and a
/// host that ends with a number, which they take for an IPv4 address in one of its odd forms. Nor
/// a folder like `c|`: the oracle does not leave drives, even where there are none.
fn alike(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    let (path, authority) = match text.split_once("//") {
        Some(("" | "http:" | "https:", rest)) => {
            let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
            (&rest[end..], &rest[..end])
        }
        _ => (&*text, ""),
    };
    let drive = |part: &str| {
        let bytes = part.as_bytes();
        bytes.first().is_some_and(u8::is_ascii_alphabetic)
            && matches!(bytes.get(1), Some(b'|' | b':'))
    };
    let host = authority.rsplit('@').next().unwrap_or_default();
    let host = if host.starts_with('[') { "" } else { host.split(':').next().unwrap_or_default() };
    let last = host.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    let quirk = text.contains('\\') || path.split('/').any(drive);
    !quirk && !last.starts_with(|c: char| c.is_ascii_digit())
}

fn can_be_sent(url: &Url) {
    assert!(url.target.starts_with('/'), "{url:?}");
    assert!(url.target.bytes().all(|b| (0x21..0x7f).contains(&b) && b != b'#'), "{url:?}");
    assert!(url.authority().bytes().all(|b| (0x21..0x7f).contains(&b)), "{url:?}");
    let again = Url::parse(&url.to_string(), SCHEMES);
    assert_eq!(again, Ok(Url { login: None, ..url.clone() }));
    if let Some(login) = &url.login {
        assert!(!login.user.contains(':'));
        assert!(login.basic().starts_with("Basic "));
    }
}

fn same(url: &Url, oracle: &Oracle) {
    assert_eq!(url.scheme, oracle.scheme());
    assert_eq!(Some(url.port), oracle.port_or_known_default(), "{url}");
    let ip = |host: &str| host.trim_matches(['[', ']']).parse::<std::net::Ipv6Addr>();
    let host = oracle.host_str().expect("a host");
    match ip(host) {
        Ok(address) => assert_eq!(ip(&url.host), Ok(address)),
        Err(_) => assert_eq!(url.host, host),
    }
    let (user, password) = (oracle.username(), oracle.password().unwrap_or_default());
    let login = url.login.as_ref().map_or(("", ""), |l| (&l.user, &l.password));
    assert_eq!(login.0.as_bytes(), plain(user));
    assert_eq!(login.1.as_bytes(), plain(password));
    let (path, query) = match url.target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (&*url.target, None),
    };
    let parts = |path: &str| path.split('/').map(plain).collect::<Vec<_>>();
    assert_eq!(parts(path), parts(oracle.path()), "{url}");
    // Both keep what is encoded, but not all the same bytes need encoding.
    assert_eq!(query.map(plain), oracle.query().map(plain), "{url}");
}

/// Percent-decoded.
fn plain(text: &str) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), text.as_bytes());
    while let [first, tail @ ..] = rest {
        let hex = tail.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        let hex = hex.filter(|two| two.bytes().all(|b| b.is_ascii_hexdigit()));
        match hex.and_then(|two| u8::from_str_radix(two, 16).ok()).filter(|_| *first == b'%') {
            Some(byte) => {
                out.push(byte);
                rest = &tail[2..];
            }
            None => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    out
}
