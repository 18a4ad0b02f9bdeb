//! Query strings, forms and cookies: vectors, what is written is read, and a naive oracle.

use loopwork_http::core::{Fields, Invalid, Limits, Progress, parse_request};
use loopwork_http::forms::{SameSite, SetCookie, append, cookies, decode, pairs};
use proptest::prelude::*;
use std::borrow::Cow;
use std::time::Duration;

fn all(text: &str) -> Vec<(String, String)> {
    pairs(text.as_bytes()).map(|(n, v)| (n.into_owned(), v.into_owned())).collect()
}

fn own(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
}

#[test]
fn vectors_of_forms() {
    let cases: [(&str, &[(&str, &str)]); 14] = [
        ("", &[]),
        ("&", &[]),
        ("a", &[("a", "")]),
        ("a=", &[("a", "")]),
        ("=a", &[("", "a")]),
        ("=", &[("", "")]),
        ("a=b", &[("a", "b")]),
        ("a=b=c", &[("a", "b=c")]),
        ("a=b&c", &[("a", "b"), ("c", "")]),
        ("a=1&a=2&&a=1", &[("a", "1"), ("a", "2"), ("a", "1")]),
        ("a+b=%2B%26%3d+", &[("a b", "+&= ")]),
        ("a=%&b=%4&c=%zz&d=%%41", &[("a", "%"), ("b", "%4"), ("c", "%zz"), ("d", "%A")]),
        ("a=%f0%9f%8c%8d&b=%ff", &[("a", "🌍"), ("b", "\u{fffd}")]),
        ("欢=迎;x=y", &[("欢", "迎;x=y")]),
    ];
    for (text, expected) in cases {
        assert_eq!(all(text), own(expected), "{text:?}");
    }
    // What needs no decoding is not copied.
    assert!(matches!(decode(b"plain"), Cow::Borrowed("plain")));
}

/// Decodes as the standard says it, byte by byte over a text without `+`.
fn naive(text: &[u8]) -> String {
    let text: Vec<u8> = text.iter().map(|b| if *b == b'+' { b' ' } else { *b }).collect();
    let (mut out, mut at) = (Vec::new(), 0);
    while at < text.len() {
        let digits = text.get(at + 1..at + 3).and_then(|d| std::str::from_utf8(d).ok());
        let digits = digits.filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
        match digits.filter(|_| text[at] == b'%') {
            Some(digits) => {
                out.push(u8::from_str_radix(digits, 16).unwrap());
                at += 3;
            }
            None => {
                out.push(text[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

proptest! {
    #[test]
    fn decoding_is_as_the_oracle_has_it(text in "[%+a-g0-9é&= ]{0,40}", bytes: Vec<u8>) {
        prop_assert_eq!(decode(text.as_bytes()), naive(text.as_bytes()));
        prop_assert_eq!(decode(&bytes), naive(&bytes));
    }

    #[test]
    fn what_is_appended_is_read(list: Vec<(String, String)>) {
        let mut text = String::new();
        for (name, value) in &list {
            append(&mut text, name, value);
        }
        prop_assert!(text.bytes().all(|b| b.is_ascii_graphic()));
        prop_assert_eq!(all(&text), list);
    }
}

fn read(lines: &str) -> Vec<(String, String)> {
    let bytes = format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
    let mut fields = Fields::new();
    let limits = Limits::default();
    let parsed = parse_request(bytes.as_bytes(), &mut Progress::new(), &mut fields, &limits);
    let (request, _) = parsed.unwrap().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    cookies(&request.headers).map(|(n, v)| (text(n), text(v))).collect()
}

#[test]
fn cookies_of_a_request() {
    let cases: [(&str, &[(&str, &str)]); 8] = [
        ("", &[]),
        ("Cookie: a=1\r\n", &[("a", "1")]),
        ("Cookie: a=1; b=2\r\n", &[("a", "1"), ("b", "2")]),
        ("Cookie: a=1;b=2 ;\tc=3;\r\n", &[("a", "1"), ("b", "2"), ("c", "3")]),
        ("cookie: a=1\r\nX: y\r\nCOOKIE: a=2\r\n", &[("a", "1"), ("a", "2")]),
        ("Cookie: a=b=c; d=\"e f\"; g=\"\r\n", &[("a", "b=c"), ("d", "e f"), ("g", "\"")]),
        ("Cookie: x; =y; a=\r\n", &[("", "y"), ("a", "")]),
        ("Cookie:\r\n", &[]),
    ];
    for (lines, expected) in cases {
        assert_eq!(read(lines), own(expected), "{lines:?}");
    }
}

#[test]
fn cookies_that_are_set() {
    let mut cookie = SetCookie::new("id", "a1");
    cookie.max_age = Some(Duration::from_secs(3600));
    (cookie.path, cookie.domain) = ("/a b", Some("example.com"));
    (cookie.http_only, cookie.same_site) = (false, SameSite::None);
    let line = "id=a1; Path=/a b; Domain=example.com; Max-Age=3600; Secure; SameSite=None";
    assert_eq!(cookie.to_header().as_deref(), Ok(line));
    cookie.secure = false;
    assert_eq!(cookie.to_header(), Err(Invalid::HeaderValue));
    for name in ["", "a b", "a=b", "a;b", "a\r\n"] {
        assert_eq!(SetCookie::new(name, "x").to_header(), Err(Invalid::HeaderName), "{name:?}");
    }
    for bad in ["a b", "a;b", "a,b", "a\"b", "a\\b", "a\r\nb", "\u{e9}", "a\0"] {
        assert_eq!(SetCookie::new("a", bad).to_header(), Err(Invalid::HeaderValue), "{bad:?}");
    }
    for bad in ["/;Secure", "/\r\nX: y", "/\u{e9}"] {
        let mut cookie = SetCookie::new("a", "b");
        cookie.path = bad;
        assert_eq!(cookie.to_header(), Err(Invalid::HeaderValue), "{bad:?}");
        (cookie.path, cookie.domain) = ("/", Some(bad));
        assert_eq!(cookie.to_header(), Err(Invalid::HeaderValue), "{bad:?}");
    }
}
