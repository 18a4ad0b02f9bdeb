//! Every case about heads, framing and chunks that was measured against other servers, as a
//! table: bytes in, status out. 200 means that the message is accepted.

mod support;

use loopwork_http::core::*;
use support::*;

/// The status that a server gives: 200, or that of the refusal.
#[track_caller]
fn row(name: &str, bytes: impl AsRef<[u8]>, status: u16) {
    let outcome = check(bytes.as_ref());
    let got = match &outcome {
        Ok(Some(message)) => {
            assert_eq!(message.used, bytes.as_ref().len(), "{name}: all is one message");
            200
        }
        Ok(None) => 0,
        Err(sin) => sin.status(),
    };
    assert_eq!(got, status, "{name}: {outcome:?}");
}

/// A GET with these lines behind `Host`.
fn get(lines: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n")
}

/// A POST with these header lines and this body.
fn post(lines: &str, body: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n{body}")
}

fn line(line: &str) -> String {
    format!("{line}\r\nHost: a\r\n\r\n")
}

#[test]
fn line_ends() {
    row("bare-LF line ends", "GET / HTTP/1.1\nHost: a\n\n", 400);
    row("bare-LF after reqline only", "GET / HTTP/1.1\nHost: a\r\n\r\n", 400);
    row("bare-LF after a header", "GET / HTTP/1.1\r\nHost: a\n\r\n", 400);
    row("bare-LF at the end", "GET / HTTP/1.1\r\nHost: a\r\n\n", 400);
    row("bare CR in header value", get("X: a\rb\r\n"), 400);
    row("bare CR as line end", "GET / HTTP/1.1\rHost: a\r\r", 400);
    row("CR CR LF", "GET / HTTP/1.1\r\r\nHost: a\r\r\n\r\r\n", 400);
    row("CR LF CR X", "GET / HTTP/1.1\r\nHost: a\r\n\rX", 400);
    row("1 leading CRLF", format!("\r\n{}", get("")), 200);
    row("2 leading CRLF", format!("\r\n\r\n{}", get("")), 400);
    row("leading LF", format!("\n{}", get("")), 400);
    row("leading CR", format!("\r{}", get("")), 400);
}

#[test]
fn header_lines() {
    row("ws before 1st header", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400);
    row("obs-fold", get("X: a\r\n b\r\n"), 400);
    row("obs-fold by tab", get("X: a\r\n\tb\r\n"), 400);
    row("obs-fold TE", get("Transfer-Encoding:\r\n chunked\r\n"), 400);
    row("ws before colon", get("X : a\r\n"), 400);
    row("tab before colon", get("X\t: a\r\n"), 400);
    row("empty field name", get(": a\r\n"), 400);
    row("no colon", get("X\r\n"), 400);
    row("no colon, words", get("X a b\r\n"), 400);
    row("NUL in value", get("X: a\0b\r\n"), 400);
    row("CTL 0x01 in value", get("X: a\x01b\r\n"), 400);
    row("DEL in value", get("X: a\x7fb\r\n"), 400);
    row("NUL in name", get("X\0: a\r\n"), 400);
    row("non-token name", get("X(): a\r\n"), 400);
    row("UTF-8 name", get("X\u{e9}: a\r\n"), 400);
    row("obs-text 0xE9", b"GET / HTTP/1.1\r\nHost: a\r\nX: \xe9\r\n\r\n", 200);
    row("TAB in value", get("X: a\tb\r\n"), 200);
    row("empty value", get("X:\r\nY: \t \r\n"), 200);
    let message = check(get("X:\t a b \t\r\nx:\r\n").as_bytes()).unwrap().unwrap();
    assert_eq!(message.headers[1..], [("X".into(), b"a b".to_vec()), ("x".into(), vec![])]);
}

#[test]
fn content_length() {
    let cl = |value: &str| post(&format!("Content-Length:{value}\r\n"), "");
    for (name, bytes, status) in [
        ("CL+TE", post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", ""), 400),
        ("TE+CL", post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", ""), 400),
        ("dup CL differ", post("Content-Length: 5\r\nContent-Length: 6\r\n", ""), 400),
        ("dup CL same", post("Content-Length: 5\r\ncontent-length: 5\r\n", ""), 400),
        ("CL list same", cl(" 5, 5"), 400),
        ("CL +5", cl(" +5"), 400),
        ("CL 0x5", cl(" 0x5"), 400),
        ("CL empty", cl(""), 400),
        ("CL -1", cl(" -1"), 400),
        ("CL 2^64", cl(" 18446744073709551616"), 400),
        ("CL 2^64+", cl(" 99999999999999999999999"), 400),
        ("CL 2^64-1", cl(" 18446744073709551615"), 413),
        ("CL 2^63", cl(" 9223372036854775808"), 413),
        ("CL 5 5", cl(" 5 5"), 400),
        ("CL 5;", cl(" 5;"), 400),
        ("CL with the byte above 9", cl(" 1:"), 400),
        ("CL with the byte below 0", cl(" 1/"), 400),
        ("CL 1e1", cl(" 1e1"), 400),
        ("CL 5.0", cl(" 5.0"), 400),
        ("CL 05", post("Content-Length: 05\r\n", "hello"), 200),
        ("CL 0", cl(" 0"), 200),
        ("CL 5", post("CONTENT-LENGTH:\t5 \r\n", "hello"), 200),
        ("GET with body", get("Content-Length: 2\r\n") + "hi", 200),
    ] {
        row(name, bytes, status);
    }
}

#[test]
fn transfer_encoding() {
    let te = |value: &str| post(&format!("Transfer-Encoding:{value}\r\n"), "0\r\n\r\n");
    for (name, bytes, status) in [
        ("TE not final chunked", te(" chunked, gzip"), 400),
        ("TE: gzip, chunked", te(" gzip, chunked"), 501),
        ("TE chunked twice", te(" chunked, chunked"), 400),
        ("TE two lines", te(" chunked\r\nTransfer-Encoding: chunked"), 400),
        ("TE two lines, gzip", te(" gzip\r\nTransfer-Encoding: chunked"), 400),
        ("TE xchunked", te(" xchunked"), 400),
        ("TE identity", te(" identity"), 400),
        ("TE identity, chunked", te(" identity, chunked"), 501),
        ("TE chunked;a=b", te(" chunked;a=b"), 400),
        ("TE VT chunked", te(" \x0bchunked"), 400),
        ("TE empty", te(""), 400),
        ("TE comma", te(" ,"), 400),
        ("TE chunked,", te(" chunked,"), 400),
        ("TE ,chunked", te(" ,chunked"), 400),
        ("TE quoted", te(" \"chunked\""), 400),
        ("TE chunk", te(" chunk"), 400),
        ("TE words", te(" chunked chunked"), 400),
        ("TE Chunked", te(" \t ChunKed \t"), 200),
    ] {
        row(name, bytes, status);
    }
    let old = "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    row("TE in HTTP/1.0", old, 400);
}

#[test]
fn chunks() {
    let chunked = |body: &str| post("Transfer-Encoding: chunked\r\n", body);
    let ext = format!("5;a={}\r\nhello\r\n0\r\n\r\n", "x".repeat(64 * 1024));
    let ok_ext = format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(1023));
    for (name, body, status) in [
        ("plain", "5\r\nhello\r\n0\r\n\r\n", 200),
        ("chunk size overflow", "10000000000000000\r\nx", 400),
        ("chunk size overflow, f", "fffffffffffffffff\r\nx", 400),
        ("chunk of 2^64-1", "ffffffffffffffff\r\nx", 413),
        ("chunk of 2^63", "8000000000000000\r\nx", 413),
        ("sum above 2^63", "5\r\nhello\r\n7fffffffffffffff\r\nx", 413),
        ("chunk size 0x5", "0x5\r\nhello\r\n0\r\n\r\n", 400),
        ("chunk size neg", "-5\r\nhello\r\n0\r\n\r\n", 400),
        ("chunk size plus", "+5\r\nhello\r\n0\r\n\r\n", 400),
        ("chunk size empty", "\r\nhello\r\n0\r\n\r\n", 400),
        ("chunk size ;", ";a\r\nhello\r\n0\r\n\r\n", 400),
        ("chunk size with space before", " 5\r\nhello\r\n0\r\n\r\n", 400),
        ("chunk size _", "1_0\r\n", 400),
        ("16 digits", "0000000000000005\r\nhello\r\n0\r\n\r\n", 200),
        ("17 digits", "00000000000000005\r\nhello\r\n0\r\n\r\n", 400),
        ("17 zeros", "00000000000000000\r\n\r\n", 400),
        ("upper and lower case", "A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n", 200),
        ("chunk LF only", "5\nhello\n0\n\n", 400),
        ("chunk CR only", "5\rhello", 400),
        ("LF behind data", "5\r\nhello\n0\r\n\r\n", 400),
        ("chunk data missing CRLF", "5\r\nhello0\r\n\r\n", 400),
        ("chunk data too long", "5\r\nhello!\r\n0\r\n\r\n", 400),
        ("chunk data too short", "5\r\nhell\r\n0\r\n\r\n", 400),
        ("chunk ext", "5;a=b\r\nhello\r\n0\r\n\r\n", 200),
        ("chunk exts", "5;a;b=c;d=\"e\\\"; \r\";f\r\nhello\r\n0;a\r\n\r\n", 400),
        ("chunk exts quoted", "5;a;b=c;d=\"e\\\"; \t=\";f\r\nhello\r\n0;a\r\n\r\n", 200),
        ("chunk ext bare LF inside", "5;a\nb\r\nhello\r\n0\r\n\r\n", 400),
        ("chunk ext bare LF quoted", "5;a=\"\n\"\r\nhello\r\n0\r\n\r\n", 400),
        ("chunk ext bare CR", "5;a\rb\r\nhello\r\n0\r\n\r\n", 400),
        ("chunk ext empty", "5;\r\nhello\r\n0\r\n\r\n", 400),
        ("chunk ext no value", "5;a=\r\nhello\r\n0\r\n\r\n", 400),
        ("chunk ext open quote", "5;a=\"b\r\nhello\r\n0\r\n\r\n", 400),
        ("chunk ext behind quote", "5;a=\"b\"c\r\nhello\r\n0\r\n\r\n", 400),
        ("chunk ext NUL", "5;a=\0\r\nhello\r\n0\r\n\r\n", 400),
        ("chunk ext space", "5; a\r\nhello\r\n0\r\n\r\n", 400),
        ("chunk ext 64KB", &ext, 413),
        ("chunk ext at its limit", &ok_ext, 200),
        ("chunk size sp", "5 \r\nhello\r\n0\r\n\r\n", 400),
        ("chunk size tab", "5\t\r\nhello\r\n0\r\n\r\n", 400),
        ("end without line", "0\r\n\r", 0),
        ("end by LF", "0\r\n\n", 400),
    ] {
        row(name, chunked(body), status);
    }
}

#[test]
fn trailers() {
    let with = |lines: &str| {
        post("Transfer-Encoding: chunked\r\n", &format!("2\r\nhi\r\n0\r\n{lines}\r\n"))
    };
    row("trailers", with("X: 1\r\nY: 2\r\n"), 200);
    row("trailer CL", with("Content-Length: 5\r\n"), 200);
    row("trailer fold", with("X: 1\r\n 2\r\n"), 400);
    row("trailer ws before colon", with("X : 1\r\n"), 400);
    row("trailer NUL", with("X: \0\r\n"), 400);
    row("trailer bare LF", with("X: 1\nY: 2\r\n"), 400);
    row("trailer bare CR", with("X: 1\rY: 2\r\n"), 400);
    row("trailer without colon", with("X\r\n"), 400);
    row("trailers 5 KiB", with(&format!("X: {}\r\n", "x".repeat(5 * 1024))), 431);
    row("101 trailers", with(&"X: 1\r\n".repeat(101)), 431);

    let bad = "Content-Length: 9\r\nTransfer-Encoding: chunked\r\nHOST: b\r\nAuthorization: c\r\n\
               Cookie: d\r\nX-Sum: 1\r\nExpect: e\r\nX-Sum: 2\r\nSet-Cookie: f\r\n";
    let message = check(with(bad).as_bytes()).unwrap().unwrap();
    let sums = [("X-Sum".to_owned(), b"1".to_vec()), ("X-Sum".to_owned(), b"2".to_vec())];
    assert_eq!((&message.body[..], &message.trailers[..]), (&b"hi"[..], &sums[..]));
    assert_eq!(message.headers.len(), 2, "never merged");
}

#[test]
fn hosts() {
    row("no Host 1.1", "GET / HTTP/1.1\r\n\r\n", 400);
    row("2 Host", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400);
    row("2 Host same", "GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n", 400);
    row("Host empty", "GET / HTTP/1.1\r\nHost:\r\n\r\n", 200);
    row("Host invalid a b", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400);
    row("Host a/b", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400);
    row("Host u@b", "GET / HTTP/1.1\r\nHost: u@b\r\n\r\n", 400);
    row("Host port", "GET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n", 200);
    row("Host bad port", "GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", 400);
    row("no Host 1.0", "GET / HTTP/1.0\r\n\r\n", 200);
    row("2 Host 1.0", "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", 400);
    row("no Host 1.2", "GET / HTTP/1.2\r\n\r\n", 400);
}

#[test]
fn targets() {
    for (name, first, status) in [
        ("absolute-form", "GET http://a/x HTTP/1.1", 200),
        ("absolute-form host differs", "GET http://b:80/x?y HTTP/1.1", 200),
        ("absolute-form without path", "GET HTTPS://b HTTP/1.1", 200),
        ("absolute-form with user", "GET http://u@b/ HTTP/1.1", 400),
        ("absolute-form without host", "GET http:///x HTTP/1.1", 400),
        ("absolute-form with a port only", "GET http://:80/x HTTP/1.1", 400),
        ("absolute-form, other scheme", "GET file:///etc/passwd HTTP/1.1", 400),
        ("asterisk OPTIONS", "OPTIONS * HTTP/1.1", 200),
        ("asterisk GET", "GET * HTTP/1.1", 400),
        ("asterisk and more", "OPTIONS ** HTTP/1.1", 400),
        ("CONNECT authority", "CONNECT a:443 HTTP/1.1", 200),
        ("CONNECT origin-form", "CONNECT / HTTP/1.1", 400),
        ("CONNECT absolute-form", "CONNECT http://a:1/ HTTP/1.1", 400),
        ("CONNECT without port", "CONNECT a HTTP/1.1", 400),
        ("CONNECT with empty port", "CONNECT a: HTTP/1.1", 400),
        ("CONNECT without host", "CONNECT :1 HTTP/1.1", 400),
        ("CONNECT IPv6", "CONNECT [::1]:443 HTTP/1.1", 200),
        ("CONNECT IPv6 without port", "CONNECT [::1] HTTP/1.1", 400),
        ("GET authority-form", "GET a:80 HTTP/1.1", 400),
        ("relative path", "GET x HTTP/1.1", 400),
        ("fragment in target", "GET /a#b HTTP/1.1", 400),
        ("raw UTF-8 in target", "GET /\u{e9} HTTP/1.1", 400),
        ("SP in target", "GET /a b HTTP/1.1", 400),
        ("NUL in target", "GET /\0 HTTP/1.1", 400),
        ("DEL in target", "GET /\x7f HTTP/1.1", 400),
        ("quote in target", "GET /\" HTTP/1.1", 400),
        ("angle in target", "GET /<script> HTTP/1.1", 400),
        ("what browsers send", "GET /a?b=[1]|{2}^`\\ HTTP/1.1", 200),
        ("TAB as delimiter", "GET\t/\tHTTP/1.1", 400),
        ("2 SP delimiter", "GET  / HTTP/1.1", 400),
        ("2 SP before the version", "GET /  HTTP/1.1", 400),
        ("trailing SP version", "GET / HTTP/1.1 ", 400),
        ("leading SP", " GET / HTTP/1.1", 400),
    ] {
        row(name, line(first), status);
    }
}

#[test]
fn methods_and_versions() {
    for (name, first, status) in [
        ("lowercase method", "get / HTTP/1.1", 200),
        ("unknown method", "BREW / HTTP/1.1", 200),
        ("method with @", "G@T / HTTP/1.1", 400),
        ("method of 32", "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEF / HTTP/1.1", 200),
        ("method of 33", "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG / HTTP/1.1", 501),
        ("empty method", " / HTTP/1.1", 400),
        ("HTTP/0.9", "GET /", 400),
        ("HTTP/0.9 spelled", "GET / HTTP/0.9", 505),
        ("HTTP/1.2", "GET / HTTP/1.2", 200),
        ("HTTP/1.9", "GET / HTTP/1.9", 200),
        ("HTTP/2.0", "GET / HTTP/2.0", 505),
        ("http/1.1 lower", "GET / http/1.1", 400),
        ("HTTP/01.1", "GET / HTTP/01.1", 400),
        ("HTTP/1.10", "GET / HTTP/1.10", 400),
        ("HTTP/1", "GET / HTTP/1", 400),
        ("HTTP/1,1", "GET / HTTP/1,1", 400),
        ("ICY/1.1", "GET / ICYP/1.1", 400),
        ("h2c preface", "PRI * HTTP/2.0", 505),
        ("HEAD", "HEAD / HTTP/1.1", 200),
    ] {
        row(name, line(first), status);
    }
}

#[test]
fn connections() {
    let of = |bytes: &str| check(bytes.as_bytes()).unwrap().unwrap().framing;
    let keeps = |bytes: &str| of(bytes).keep_alive;
    assert!(keeps(&get("")));
    assert!(!keeps("GET / HTTP/1.0\r\n\r\n"), "no Host 1.0");
    assert!(keeps("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"));
    assert!(!keeps("GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n"));
    assert!(!keeps(&get("Connection: close\r\n")));
    assert!(!keeps(&get("Connection: Close, TE\r\n")));
    assert!(!keeps(&get("Connection: a\r\nConnection: ,, TE ,\tCLOSE\r\n")));
    assert!(keeps(&get("Connection: closed, enclose\r\n")));

    let upgrade = "Connection: x, Upgrade\r\nUpgrade: websocket\r\n";
    assert!(of(&get(upgrade)).upgrade);
    assert!(!of(&get("Connection: Upgrade\r\n")).upgrade);
    assert!(!of(&get("Upgrade: websocket\r\n")).upgrade);
    assert!(!of(&format!("GET / HTTP/1.0\r\n{upgrade}\r\n")).upgrade);

    let expect = "Expect: 100-Continue\r\nContent-Length: 2\r\n";
    assert!(of(&post(expect, "hi")).expect_continue, "Expect 100");
    assert!(!of(&post("Expect: 100-continue\r\n", "")).expect_continue, "without a body");
    assert!(!of(&format!("POST / HTTP/1.0\r\n{expect}\r\nhi")).expect_continue, "HTTP/1.0");
    row("Expect other", post("Expect: tea\r\n", ""), 417);
    row("Expect list", post("Expect: 100-continue, tea\r\n", ""), 417);
}

#[test]
fn sizes() {
    let x = |n: usize| "x".repeat(n);
    row("header 20KB", get(&format!("X: {}\r\n", x(20 << 10))), 431);
    row("header 200KB", get(&format!("X: {}\r\n", x(200 << 10))), 431);
    row("name 200KB", get(&format!("{}: x\r\n", x(200 << 10))), 431);
    row("URI 20KB", line(&format!("GET /{} HTTP/1.1", x(20 << 10))), 414);
    row("URI at the limit", line(&format!("GET /{} HTTP/1.1", x((8 << 10) - 1))), 200);
    row("URI above the limit", line(&format!("GET /{} HTTP/1.1", x(8 << 10))), 414);
    row("100 headers", get(&"X: y\r\n".repeat(99)), 200);
    row("101 headers", get(&"X: y\r\n".repeat(100)), 431);
    row("2500 headers", get(&"X: y\r\n".repeat(2500)), 431);
    let room = Limits::default().head_bytes as usize - get("X: \r\n").len();
    row("head at the limit", get(&format!("X: {}\r\n", x(room))), 200);
    row("head above the limit", get(&format!("X: {}\r\n", x(room + 1))), 431);
}

#[test]
fn refused_before_the_end_is_there() {
    let long_target = format!("GET /{}", "x".repeat((8 << 10) + 50));
    let long_head = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(16 << 10));
    let many = format!("GET / HTTP/1.1\r\n{}", "X: y\r\n".repeat(101));
    for (bytes, sin) in [
        (&b"\x16"[..], Malformed::TlsHello),
        (b"\x16\x03\x01\x02\x00\x01\x00", Malformed::TlsHello),
        (b"\0", Malformed::InvalidMethod),
        (b"GET /\r\n", Malformed::MissingVersion),
        (b"GET\r\n", Malformed::InvalidMethod),
        (b"SSH-2.0-OpenSSH_9.6\r\n", Malformed::InvalidMethod),
        (b"PRI * HTTP/2.0\r\n", Malformed::UnsupportedVersion),
        (b"GET / HTTP/1.1\r\nX: y\n", Malformed::BareLf),
        (b"GET / HTTP/1.1\r\nX: y\rZ", Malformed::BareCr),
        (long_target.as_bytes(), Malformed::TargetTooLong),
        (long_head.as_bytes(), Malformed::HeadTooLarge),
    ] {
        assert_eq!(check(bytes), Err(sin), "{}", bytes.escape_ascii());
    }
    let whole = feed(Kind::Request, Limits::default(), 1, [many.as_bytes()]);
    assert_eq!(whole, Err(Malformed::TooManyHeaders));
}

#[test]
fn the_parts_of_a_request() {
    let limits = Limits::default();
    for (first, path, query, host) in [
        ("GET /a/b?c=d?e HTTP/1.1", "/a/b", Some("c=d?e"), "a"),
        ("GET /? HTTP/1.1", "/", Some(""), "a"),
        ("GET //x HTTP/1.1", "//x", None, "a"),
        ("GET http://b:8/x?y HTTP/1.1", "/x", Some("y"), "b:8"),
        ("GET http://b?y HTTP/1.1", "/", Some("y"), "b"),
        ("GET http://b HTTP/1.1", "/", None, "b"),
        ("OPTIONS * HTTP/1.1", "*", None, "a"),
        ("CONNECT c:1 HTTP/1.1", "", None, "c:1"),
    ] {
        let (mut seen, mut fields) = (Progress::new(), Fields::new());
        let head = line(first);
        let parsed = parse_request(head.as_bytes(), &mut seen, &mut fields, &limits);
        let (request, used) = parsed.unwrap().unwrap();
        assert_eq!((request.path(), request.query(), request.host()), (path, query, host));
        assert_eq!(used, head.len());
    }
}

#[test]
fn headers_by_name() {
    let head = get("Accept: a\r\nX: 1\r\naccept: b , ,c,\r\nACCEPT:\r\nAccept: d\r\n");
    let (mut seen, mut fields) = (Progress::new(), Fields::with_capacity(8));
    let limits = Limits::default();
    let parsed = parse_request(head.as_bytes(), &mut seen, &mut fields, &limits);
    let headers = parsed.unwrap().unwrap().0.headers;
    assert_eq!((headers.len(), headers.is_empty()), (6, false));
    assert_eq!(headers.get("ACCEPT"), Some(&b"a"[..]));
    assert_eq!(headers.get_str("x"), Some("1"));
    assert_eq!(headers.get("Acce"), None);
    assert_eq!(headers.get_all("accept").count(), 4);
    assert!(headers.list("accept").eq([&b"a"[..], b"b", b"c", b"d"]));
    assert!(headers.has_token("accept", "C") && !headers.has_token("accept", "e"));
    let names: Vec<_> = headers.iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["Host", "Accept", "X", "accept", "ACCEPT", "Accept"]);
}

#[test]
fn a_decoder_that_is_used_wrongly_stays_in_its_body() {
    let limits = Limits::default();
    let mut body = Decoder::new(Body::Length(3), &limits).unwrap();
    assert_eq!(body.remaining(), Some(3));
    assert_eq!(body.next(b"abcd", &limits), Ok(Step::Data { skip: 0, len: 3 }));
    assert_eq!(body.next(b"abcd", &limits), Ok(Step::Data { skip: 0, len: 3 }), "not taken yet");
    body.consume(usize::MAX);
    for _ in 0..2 {
        assert_eq!(body.next(b"d", &limits), Ok(Step::End { skip: 0, trailers: 0..0 }));
        body.consume(1);
    }
    assert_eq!((body.remaining(), body.is_end(), body.finish()), (Some(0), true, Ok(())));

    let mut body = Decoder::new(Body::Chunked, &limits).unwrap();
    assert_eq!(body.next(b"1", &limits), Ok(Step::More { skip: 1 }));
    body.consume(1);
    assert_eq!(body.next(b"0\r\nx", &limits), Ok(Step::Data { skip: 3, len: 1 }));
    assert_eq!((body.remaining(), body.finish()), (None, Err(Malformed::Truncated)));

    let none = Decoder::new(Body::None, &limits).unwrap();
    assert!(none.is_end() && size_of::<Decoder>() <= 32 && size_of::<Progress>() <= 12);
}

#[test]
fn zero_limits_refuse_and_do_not_hang() {
    let zero = Limits {
        head_bytes: 0,
        target_bytes: 0,
        headers: 0,
        extension_bytes: 0,
        small_chunks: 0,
        trailer_bytes: 0,
        body_bytes: 0,
        lenient: Leniency::NONE,
    };
    let bytes = get("");
    assert_eq!(check_with(Kind::Request, zero, bytes.as_bytes()), Err(Malformed::HeadTooLarge));
    let limits = Limits { head_bytes: 99, ..zero };
    assert_eq!(check_with(Kind::Request, limits, bytes.as_bytes()), Err(Malformed::TargetTooLong));
    let limits = Limits { target_bytes: 1, ..limits };
    assert_eq!(check_with(Kind::Request, limits, bytes.as_bytes()), Err(Malformed::TooManyHeaders));
    let limits = Limits { headers: 2, ..limits };
    assert!(check_with(Kind::Request, limits, bytes.as_bytes()).is_ok());
    for (body, sin) in [
        ("1\r\nx", Malformed::ContentTooLarge),
        ("0;a\r\n", Malformed::ChunkExtensionsTooLarge),
        ("0\r\n\r\n", Malformed::TrailersTooLarge),
    ] {
        let bytes = post("Transfer-Encoding: chunked\r\n", body);
        assert_eq!(check_with(Kind::Request, limits, bytes.as_bytes()), Err(sin), "{body:?}");
    }
}
