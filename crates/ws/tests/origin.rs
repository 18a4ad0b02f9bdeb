//! Whose pages may ask, and where a client is sent instead.

use loopwork_ws::http::Url;
use loopwork_ws::http::core::{Fields, Limits, Progress, parse_request, parse_response};
use loopwork_ws::http::redirect::{Chain, Refused};
use loopwork_ws::{Origins, redirect, same_origin};

/// Whether a request for this host with these lines is of the same origin, and of a listed one.
fn asked(host: &str, lines: &str) -> (bool, bool) {
    let listed = ["https://chat.example", "http://[0::1]:8080", "https://b.example:443"];
    let origins = Origins::new(&listed).unwrap();
    let bytes = format!("GET / HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n");
    let (mut progress, mut fields) = (Progress::new(), Fields::new());
    let parsed =
        parse_request(bytes.as_bytes(), &mut progress, &mut fields, &Limits::default()).unwrap();
    let (request, _) = parsed.unwrap();
    (same_origin(&request), origins.allow(&request))
}

#[test]
fn origins_are_compared_whole() {
    for (lines, same, listed) in [
        ("", true, true),
        ("Origin: https://chat.example\r\n", true, true),
        ("Origin: HTTPS://CHAT.example:443\r\n", false, true),
        ("Origin: http://chat.example\r\n", true, false),
        ("Origin: https://chat.example:8443\r\n", false, false),
        ("Origin: https://b.example\r\n", false, true),
        ("Origin: http://[::1]:8080\r\n", false, true),
        ("Origin: https://chat.example.evil\r\n", false, false),
        ("Origin: https://evil-chat.example\r\n", false, false),
        ("Origin: https://chat.example/\r\n", false, false),
        ("Origin: https://me@chat.example\r\n", false, false),
        ("Origin: null\r\n", false, false),
        ("Origin: \r\n", false, false),
        ("Origin: \u{e9}\r\n", false, false),
        ("Origin: https://chat.example\r\nOrigin: https://chat.example\r\n", false, false),
        ("Origin: https://chat.example https://b.example\r\n", false, false),
    ] {
        assert_eq!(asked("chat.example", lines), (same, listed), "{lines}");
    }
}

#[test]
fn what_is_no_origin_is_not_listed() {
    for bad in [
        "",
        "null",
        "*",
        "example.org",
        "https://",
        "https://*.example.org",
        "https://example.org/",
        "https://example.org/path",
        "https://me@example.org",
        "https://example.org?x",
        "ws://example.org",
        "https://ex\u{e4}mple.org",
        "https://example.org:http",
    ] {
        assert!(Origins::new(&["https://fine.example", bad]).is_err(), "{bad}");
    }
    assert!(Origins::new(&[]).is_ok(), "nobody's pages");
}

/// Where an answer with this `Location` leads.
fn leads(chain: &mut Chain, from: &str, status: u16, to: &str) -> Result<Option<String>, Refused> {
    let bytes = format!("HTTP/1.1 {status} Sent\r\nLocation: {to}\r\n\r\n");
    let (mut progress, mut fields) = (Progress::new(), Fields::new());
    let parsed =
        parse_response(bytes.as_bytes(), &mut progress, &mut fields, &Limits::default()).unwrap();
    let from = Url::parse(from, &["ws", "wss"]).unwrap();
    redirect(chain, &from, &parsed.unwrap().0).map(|next| next.map(|url| url.to_string()))
}

#[test]
fn a_redirect_may_use_the_schemes_of_either() {
    for (from, to, wanted) in [
        ("ws://a/x", "/y", "ws://a/y"),
        ("ws://a/x/y", "z?q", "ws://a/x/z?q"),
        ("ws://a/x", "/Y:z", "ws://a/Y:z"),
        ("ws://a/", "ws://b:81/", "ws://b:81/"),
        ("ws://a/", "WSS://b/", "wss://b/"),
        ("ws://a/", "https://b/", "wss://b/"),
        ("ws://a:443/", "http://b/", "ws://b/"),
        ("wss://a/", "//b/c", "wss://b/c"),
    ] {
        let next = leads(&mut Chain::default(), from, 307, to);
        assert_eq!(next, Ok(Some(wanted.to_owned())), "{from} {to}");
    }
    let mut chain = Chain::default();
    assert_eq!(leads(&mut chain, "ws://a/", 101, "/b"), Ok(None));
    assert_eq!(leads(&mut chain, "ws://a/", 401, "/b"), Ok(None));
    assert_eq!(leads(&mut chain, "wss://a/", 302, "ws://a/"), Err(Refused::Downgrade));
    assert_eq!(leads(&mut chain, "wss://a/", 302, "http://a/"), Err(Refused::Downgrade));
    assert!(matches!(leads(&mut chain, "ws://a/", 302, "ftp://a/"), Err(Refused::Location(_))));
    assert!(chain.sends("Authorization"));
    leads(&mut chain, "ws://a/", 302, "ws://b/").unwrap().unwrap();
    assert!(!chain.sends("Authorization") && chain.sends("Origin"));
}
