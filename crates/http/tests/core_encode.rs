//! The encoder: what it writes is what the parser reads, and what it must not write it refuses.

mod support;

use std::num::NonZeroUsize;

use loopwork_http::core::encode::{self, Connection, NO_HEADERS, RequestHead, ResponseHead};
use loopwork_http::core::*;
use proptest::prelude::*;
use support::*;

#[test]
fn a_response_byte_for_byte() {
    let mut out = b"before".to_vec();
    let date = b"Sun, 06 Nov 1994 08:49:37 GMT";
    let head = ResponseHead { date: Some(date), ..ResponseHead::new(200, Body::Length(5)) };
    encode::response_head(&mut out, &head, [("Content-Type", "text/plain")]).unwrap();
    let expected = "beforeHTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
                    Content-Type: text/plain\r\nContent-Length: 5\r\n\r\n";
    assert_eq!(out.escape_ascii().to_string(), expected.as_bytes().escape_ascii().to_string());
}

#[test]
fn a_request_byte_for_byte() {
    let mut out = Vec::new();
    let head = RequestHead {
        method: "POST",
        target: "/a?b",
        host: "[::1]:80",
        body: Body::Chunked,
        connection: Connection::Close,
    };
    encode::request_head(&mut out, &head, NO_HEADERS).unwrap();
    encode::chunk(&mut out, b"");
    encode::chunk(&mut out, &[b'x'; 26]);
    encode::last_chunk(&mut out, [("X-Sum", "1")]).unwrap();
    let expected = "POST /a?b HTTP/1.1\r\nHost: [::1]:80\r\nTransfer-Encoding: chunked\r\n\
                    Connection: close\r\n\r\n1a\r\nxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n\
                    0\r\nX-Sum: 1\r\n\r\n";
    assert_eq!(out.escape_ascii().to_string(), expected.as_bytes().escape_ascii().to_string());
}

#[test]
fn what_must_not_be_sent() {
    let ok = ResponseHead::new(200, Body::Length(0));
    let response = |head: ResponseHead<'_>, name: &str, value: &str| {
        let mut out = b"before".to_vec();
        let result = encode::response_head(&mut out, &head, [("Good", "1"), (name, value)]);
        assert_eq!(out == b"before", result.is_err(), "nothing written on an error");
        result
    };
    assert_eq!(response(ok, "X", "a\tb \u{e9}"), Ok(()));
    for value in ["a\r\nSet-Cookie: x", "\n", "\r", "\0", "\x7f", "a\x1bb"] {
        assert_eq!(response(ok, "X", value), Err(Invalid::HeaderValue), "{value:?}");
        let head = ResponseHead { reason: Some(value), ..ok };
        assert_eq!(response(head, "X", ""), Err(Invalid::Reason));
        let head = ResponseHead { date: Some(value.as_bytes()), ..ok };
        assert_eq!(response(head, "X", ""), Err(Invalid::HeaderValue));
    }
    for name in ["", "a b", "a:", "a\r\n", "\u{e9}", "a\0"] {
        assert_eq!(response(ok, name, ""), Err(Invalid::HeaderName), "{name:?}");
    }
    for name in ["content-length", "Transfer-Encoding", "CONNECTION"] {
        assert_eq!(response(ok, name, "1"), Err(Invalid::FramingHeader), "{name:?}");
    }
    for status in [0, 99, 1000, u16::MAX] {
        assert_eq!(response(ResponseHead { status, ..ok }, "X", ""), Err(Invalid::Status));
    }
    for status in [100, 101, 204] {
        for body in [Body::Length(0), Body::Chunked, Body::UntilClose] {
            assert_eq!(response(ResponseHead::new(status, body), "X", ""), Err(Invalid::Body));
        }
        assert_eq!(response(ResponseHead::new(status, Body::None), "X", ""), Ok(()));
    }
}

#[test]
fn what_must_not_be_asked() {
    let ok = RequestHead {
        method: "GET",
        target: "/",
        host: "a",
        body: Body::None,
        connection: Connection::Implicit,
    };
    let request = |head: RequestHead<'_>, name: &str| {
        let mut out = b"before".to_vec();
        let result = encode::request_head(&mut out, &head, [(name, "")]);
        assert_eq!(out == b"before", result.is_err(), "nothing written on an error");
        result
    };
    assert_eq!(request(ok, "X"), Ok(()));
    assert_eq!(request(ok, "host"), Err(Invalid::FramingHeader));
    for method in ["", "G T", "GET\r\n", "G\0"] {
        assert_eq!(request(RequestHead { method, ..ok }, "X"), Err(Invalid::Method));
    }
    for target in ["", "/ HTTP/1.1\r\nX: y", "/a b", "/\u{e9}", "/#a", "/\0"] {
        assert_eq!(request(RequestHead { target, ..ok }, "X"), Err(Invalid::Target));
    }
    for host in ["a b", "a\r\nX: y", "a/b", "a:x"] {
        assert_eq!(request(RequestHead { host, ..ok }, "X"), Err(Invalid::Host));
    }
    let body = Body::UntilClose;
    assert_eq!(request(RequestHead { body, ..ok }, "X"), Err(Invalid::Body));
}

#[test]
fn trailers_that_must_not_be_sent() {
    for name in ["Content-Length", "transfer-encoding", "HOST", "Authorization", "Set-Cookie"] {
        let mut out = b"before".to_vec();
        let result = encode::last_chunk(&mut out, [("X", "1"), (name, "1")]);
        assert_eq!((result, &out[..]), (Err(Invalid::TrailerName), &b"before"[..]));
    }
    let mut out = Vec::new();
    assert_eq!(encode::last_chunk(&mut out, [("X", "1\r\n")]), Err(Invalid::HeaderValue));
    assert_eq!(encode::last_chunk(&mut out, [("X\n", "1")]), Err(Invalid::HeaderName));
    assert!(out.is_empty());
}

#[test]
fn numbers() {
    let mut powers: Vec<u64> = (0..64).map(|bit| 1 << bit).collect();
    powers.extend((0..20).map(|digits| 10u64.pow(digits)));
    for number in powers.iter().flat_map(|n| [n - 1, *n, n.saturating_add(1)]).chain([u64::MAX]) {
        let mut out = Vec::new();
        encode::decimal(&mut out, number);
        assert_eq!(out, number.to_string().as_bytes());
        if let Some(len) = NonZeroUsize::new(number as usize) {
            out.clear();
            encode::chunk_begin(&mut out, len);
            assert_eq!(out, format!("{number:x}\r\n").as_bytes());
        }
    }
}

#[test]
fn the_registries_are_sorted_and_valid() {
    assert!(STATUS.is_sorted_by(|a, b| a.0 < b.0));
    assert!(METHODS.is_sorted_by(|a, b| a < b));
    for &(status, text) in STATUS {
        assert_eq!(reason(status), text);
        let mut out = Vec::new();
        encode::status_line(&mut out, status, None).unwrap();
        assert_eq!(out, format!("HTTP/1.1 {status} {text}\r\n").as_bytes());
    }
    assert_eq!((reason(299), reason(0), reason(u16::MAX)), ("", "", ""));
    for method in METHODS {
        assert_eq!(Method::new(method).as_str(), *method);
        encode::request_line(&mut Vec::new(), method, "/").unwrap();
    }
}

/// Names and values, mostly such as can be sent.
fn headers() -> impl Strategy<Value = Vec<(String, Vec<u8>)>> {
    let name = prop_oneof![9 => "X[a-z0-9_-]{0,8}", 1 => "[!-~]{1,3}", 1 => "[\\PC\r\n]{0,4}"];
    let bytes = proptest::collection::vec(any::<u8>(), 0..5);
    let value =
        prop_oneof![9 => "[ -~\t\u{e0}-\u{ff}]{0,20}".prop_map(String::into_bytes), 1 => bytes];
    proptest::collection::vec((name, value), 0..6)
}

/// What the parser makes of a value.
fn trimmed(value: &[u8]) -> Vec<u8> {
    let ows = |b: &u8| matches!(b, b' ' | b'\t');
    let Some(start) = value.iter().position(|b| !ows(b)) else { return Vec::new() };
    let end = value.iter().rposition(|b| !ows(b)).unwrap_or(start);
    value[start..=end].to_vec()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Whatever the application gives: an error that leaves the buffer alone, or one message
    /// that the parser reads back, with all of it where it belongs.
    #[test]
    fn a_response_comes_back(
        status in 90u16..1010,
        phrase in proptest::option::of("[ -~\t\r\n]{0,12}"),
        headers in headers(),
        chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..4),
    ) {
        let mut out = Vec::new();
        let body = if matches!(status, 100..=199 | 204 | 304) { Body::None } else { Body::Chunked };
        let head = ResponseHead { reason: phrase.as_deref(), ..ResponseHead::new(status, body) };
        let written = encode::response_head(&mut out, &head, headers.iter().map(|(n, v)| (n, v)));
        if written.is_err() {
            prop_assert!(out.is_empty());
            return Ok(());
        }
        if body == Body::Chunked {
            chunks.iter().for_each(|data| encode::chunk(&mut out, data));
            encode::last_chunk(&mut out, NO_HEADERS).unwrap();
        }
        let message = check_response("GET", &out).unwrap().unwrap();
        let phrase = phrase.as_deref().unwrap_or(reason(status)).as_bytes().escape_ascii();
        prop_assert_eq!(message.first, format!("Http11 {status} {phrase}"));
        let sent = headers.iter().map(|(n, v)| (n.clone(), trimmed(v)));
        prop_assert!(message.headers.iter().take(headers.len()).cloned().eq(sent));
        prop_assert_eq!(message.framing.body, body);
        let data = if body == Body::Chunked { chunks.concat() } else { Vec::new() };
        prop_assert_eq!(message.body, data);
        prop_assert_eq!(message.used, out.len());
    }

    #[test]
    fn a_request_comes_back(
        method in "[A-Za-z!#$*@ ]{0,8}",
        target in "/[ -~]{0,12}",
        host in "[a-z:/.@0-9]{0,6}",
        headers in headers(),
        data in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let mut out = Vec::new();
        let body = Body::Length(data.len() as u64);
        let connection = Connection::KeepAlive;
        let (m, t, h) = (&method, &target, &host);
        let head = RequestHead { method: m, target: t, host: h, body, connection };
        let given = headers.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("expect"));
        let written = encode::request_head(&mut out, &head, given.map(|(n, v)| (n, v)));
        if written.is_err() {
            prop_assert!(out.is_empty());
            return Ok(());
        }
        out.extend_from_slice(&data);
        let message = check(&out).unwrap().unwrap();
        prop_assert_eq!(message.first, format!("{method} {target} Http11 {host}"));
        prop_assert_eq!(message.framing.body, body);
        prop_assert_eq!(message.body, data);
        prop_assert_eq!(message.used, out.len());
    }
}
