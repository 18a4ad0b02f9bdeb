//! Responses: what a client accepts, and where it thinks that they end.

mod support;

use loopwork_http::core::*;
use support::*;

fn body_of(method: &'static str, head: &str) -> Result<Body, Malformed> {
    let (mut seen, mut fields) = (Progress::new(), Fields::new());
    let limits = Limits::default();
    let parsed = parse_response(head.as_bytes(), &mut seen, &mut fields, &limits)?;
    Ok(parsed.unwrap().0.framing(Method::new(method))?.body)
}

#[test]
fn status_lines() {
    for (line, expected) in [
        ("HTTP/1.1 200 OK", Ok("Http11 200 OK")),
        ("HTTP/1.0 404 Not Found", Ok("Http10 404 Not Found")),
        ("HTTP/1.1 200 ", Ok("Http11 200 ")),
        ("HTTP/1.1 200", Ok("Http11 200 ")),
        ("HTTP/1.1 999 x\ty\u{e9}", Ok("Http11 999 x\\ty\\xc3\\xa9")),
        ("HTTP/1.7 200 OK", Ok("Http11 200 OK")),
        ("HTTP/1.1 099 x", Err(Malformed::InvalidStatus)),
        ("HTTP/1.1 1000 x", Err(Malformed::InvalidStatus)),
        ("HTTP/1.1 20 x", Err(Malformed::InvalidStatus)),
        ("HTTP/1.1 2x0 x", Err(Malformed::InvalidStatus)),
        ("HTTP/1.1  200 x", Err(Malformed::InvalidStatus)),
        ("HTTP/1.1\t200 x", Err(Malformed::InvalidVersion)),
        ("HTTP/1.1 200 a\x01", Err(Malformed::InvalidReason)),
        ("HTTP/1.1 200 a\rb", Err(Malformed::BareCr)),
        ("HTTP/1.1 200 OK\nX: y", Err(Malformed::BareLf)),
        ("HTTP/2.0 200 OK", Err(Malformed::UnsupportedVersion)),
        ("http/1.1 200 OK", Err(Malformed::InvalidVersion)),
        ("ICY 200 OK", Err(Malformed::InvalidVersion)),
        ("\r\nHTTP/1.1 200 OK", Err(Malformed::InvalidVersion)),
    ] {
        let bytes = format!("{line}\r\nContent-Length: 0\r\n\r\n");
        let outcome = check_response("GET", bytes.as_bytes());
        let first = outcome.map(|message| message.unwrap().first);
        assert_eq!(first.as_deref(), expected.as_deref(), "{line:?}");
    }
}

#[test]
fn not_http_is_refused_at_its_first_bytes() {
    for (bytes, sin) in [
        (&b"S"[..], Malformed::InvalidVersion),
        (b"HTTP/x", Malformed::InvalidVersion),
        (b"HTTP/1.1 0", Malformed::InvalidStatus),
        (b"HTTP/1.1 20x", Malformed::InvalidStatus),
    ] {
        let whole = feed(Kind::Response("GET"), Limits::default(), 1, [bytes]);
        assert_eq!(whole, Err(sin));
    }
}

#[test]
fn where_the_body_ends() {
    let length = "Content-Length: 7\r\n";
    let chunked = "Transfer-Encoding: chunked\r\n";
    for (method, status, lines, body) in [
        ("GET", 200, length, Body::Length(7)),
        ("GET", 200, chunked, Body::Chunked),
        ("GET", 200, "", Body::UntilClose),
        ("GET", 404, "", Body::UntilClose),
        ("HEAD", 200, length, Body::None),
        ("HEAD", 200, chunked, Body::None),
        ("GET", 204, length, Body::None),
        ("GET", 304, length, Body::None),
        ("GET", 304, "", Body::None),
        ("GET", 100, "", Body::None),
        ("GET", 101, chunked, Body::None),
        ("CONNECT", 200, length, Body::None),
        ("CONNECT", 299, chunked, Body::None),
        ("CONNECT", 407, length, Body::Length(7)),
        ("head", 200, length, Body::Length(7)),
    ] {
        let head = format!("HTTP/1.1 {status} x\r\n{lines}\r\n");
        assert_eq!(body_of(method, &head), Ok(body), "{method} {head:?}");
    }
}

#[test]
fn doubtful_framing_is_refused() {
    for (lines, sin) in [
        ("Content-Length: 5\r\nContent-Length: 5\r\n", Malformed::DuplicateContentLength),
        ("Content-Length: 5, 5\r\n", Malformed::InvalidContentLength),
        ("Content-Length:\r\n", Malformed::InvalidContentLength),
        (
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            Malformed::LengthAndTransferEncoding,
        ),
        ("Transfer-Encoding: chunked, x\r\n", Malformed::InvalidTransferEncoding),
        ("Transfer-Encoding: gzip, chunked\r\n", Malformed::UnsupportedTransferEncoding),
    ] {
        assert_eq!(body_of("GET", &format!("HTTP/1.1 200 OK\r\n{lines}\r\n")), Err(sin), "{lines}");
    }
    let old = "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(body_of("GET", old), Err(Malformed::TransferEncodingInHttp10));
}

#[test]
fn the_end_of_the_connection() {
    let end = |bytes: &str| {
        let mut feeder = Feeder::new(Kind::Response("GET"), Limits::default(), usize::MAX);
        assert_eq!(feeder.feed(bytes.as_bytes()), Ok(None), "not over before the end");
        feeder.finish().map(|message| message.map(|message| message.body))
    };
    let ok = "HTTP/1.1 200 OK\r\n";
    assert_eq!(end(&format!("{ok}\r\nall of it")), Ok(Some(b"all of it".to_vec())));
    assert_eq!(end(&format!("{ok}\r\n")), Ok(Some(vec![])));
    assert_eq!(end(""), Ok(None));
    for cut in [
        "HTTP",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n\r",
    ] {
        assert_eq!(end(cut), Err(Malformed::Truncated), "{cut:?}");
    }
}

#[test]
fn keep_alive() {
    let keeps = |head: &str| {
        let bytes = format!("{head}\r\n\r\n");
        let (mut seen, mut fields) = (Progress::new(), Fields::new());
        let limits = Limits::default();
        let parsed = parse_response(bytes.as_bytes(), &mut seen, &mut fields, &limits);
        parsed.unwrap().unwrap().0.framing(Method::Get).unwrap().keep_alive
    };
    assert!(keeps("HTTP/1.1 200 OK\r\nContent-Length: 0"));
    assert!(keeps("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nExpect: 417"));
    assert!(keeps("HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive"));
    assert!(!keeps("HTTP/1.0 200 OK\r\nContent-Length: 0"));
    assert!(!keeps("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close"));
    assert!(!keeps("HTTP/1.1 200 OK"), "ends with the connection");
}

#[test]
fn a_body_until_close_has_a_limit() {
    let limits = Limits { body_bytes: 4, ..Limits::default() };
    let head = b"HTTP/1.1 200 OK\r\n\r\n";
    for (body, outcome) in [(&b"1234"[..], Ok(None)), (b"12345", Err(Malformed::ContentTooLarge))] {
        let kind = Kind::Response("GET");
        assert_eq!(feed(kind, limits, usize::MAX, [&head[..], body]), outcome);
        assert_eq!(feed(kind, limits, 3, [&head[..], body]), outcome);
    }
    let limits = Limits { body_bytes: 5, ..Limits::default() };
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n";
    for (rest, fits) in [(&b"2\r\nde\r\n0\r\n\r\n"[..], true), (b"3\r\ndef\r\n0\r\n\r\n", false)] {
        let outcome = feed(Kind::Response("GET"), limits, 9, [&chunked[..], rest]);
        assert_eq!(outcome.is_ok_and(|message| message.is_some()), fits);
    }
}
