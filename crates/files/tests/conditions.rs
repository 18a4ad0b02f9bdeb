//! Conditional requests and ranges, over real sockets.

mod support;

use support::{Folder, Got, Server};

const DIGITS: &[u8] = b"0123456789";

fn site() -> (Folder, Server) {
    let folder = Folder::new();
    folder.write("digits.txt", DIGITS);
    let server = Server::new(&folder);
    (folder, server)
}

/// A body of several ranges as a plain reader takes it apart: the lines and the bytes of each.
fn parts(got: &Got) -> Vec<(String, String)> {
    let kind = got.header("Content-Type").expect("a type");
    let boundary = kind.strip_prefix("multipart/byteranges; boundary=").expect("a boundary");
    let text = std::str::from_utf8(&got.body).expect("text");
    let text = text.strip_suffix(&format!("\r\n--{boundary}--\r\n")).expect("the last line");
    let text = format!("\r\n{text}");
    let between = format!("\r\n--{boundary}\r\n");
    let parts = text.split(&between).skip(1);
    let split = |part: &str| {
        let (lines, bytes) = part.split_once("\r\n\r\n").expect("an empty line");
        (lines.to_owned(), bytes.to_owned())
    };
    parts.map(split).collect()
}

#[test]
fn preconditions_that_fail_are_412_before_anything_else() {
    let (_folder, server) = site();
    let got = server.get("/digits.txt");
    let (tag, date) = (got.header("ETag").unwrap(), got.header("Last-Modified").unwrap());
    let early = "Sun, 06 Nov 1994 08:49:37 GMT";
    let ask = |headers: &[String]| {
        let lines: Vec<_> = headers.iter().map(String::as_str).collect();
        (server.ask("GET /digits.txt", &lines), server.ask("HEAD /digits.txt", &lines).status)
    };
    for (headers, status) in [
        (&[format!("If-Match: {tag}")][..], 200),
        (&["If-Match: *".into()], 200),
        (&["If-Match: \"other\"".into()], 412),
        (&[format!("If-Match: W/{tag}")], 412),
        (&[format!("If-Unmodified-Since: {date}")], 200),
        (&[format!("If-Unmodified-Since: {early}")], 412),
        (&[format!("If-Match: {tag}"), format!("If-Unmodified-Since: {early}")], 200),
        (&["If-Match: \"other\"".into(), format!("If-None-Match: {tag}")], 412),
        (&[format!("If-Match: {tag}"), format!("If-None-Match: {tag}")], 304),
        (&[format!("If-None-Match: W/{tag}")], 304),
        (&["If-None-Match: \"a\"".into(), format!("If-Modified-Since: {date}")], 200),
        (&[format!("If-Modified-Since: {date}"), "Range: bytes=0-1".into()], 304),
        (&["If-Match: \"other\"".into(), "Range: bytes=0-1".into()], 412),
    ] {
        let (got, head) = ask(headers);
        assert_eq!((got.status, head), (status, status), "{headers:?}");
        assert_eq!(got.body == DIGITS, status == 200, "{headers:?}");
        if status == 304 {
            // RFC 9110 §15.4.5: what a 200 would have said of the version.
            assert_eq!(got.header("ETag"), Some(tag));
            assert!(got.body.is_empty() && got.header("Content-Type").is_none());
        }
    }
}

#[test]
fn ranges_one_and_several() {
    let (_folder, server) = site();
    let ask = |range: &str| server.ask("GET /digits.txt", &[&format!("Range: {range}")]);
    let one = ask("bytes=2-4");
    assert_eq!(one.text(), (206, "234"));
    assert_eq!(one.header("Content-Range"), Some("bytes 2-4/10"));
    assert_eq!(one.header("Content-Type"), Some("text/plain; charset=utf-8"));
    assert_eq!(ask("bytes=-2").text(), (206, "89"));
    assert_eq!(ask("bytes=8-,20-").text(), (206, "89"), "one is left: no multipart");
    let outside = ask("bytes=10-");
    assert_eq!((outside.status, outside.header("Content-Range")), (416, Some("bytes */10")));
    let several = ask("bytes=8-, 0-1,4-4");
    assert_eq!(several.status, 206);
    assert!(several.header("Content-Range").is_none(), "each part has its own");
    let length: usize = several.header("Content-Length").unwrap().parse().unwrap();
    assert_eq!(length, several.body.len());
    let lines = |range: &str| {
        format!("Content-Type: text/plain; charset=utf-8\r\nContent-Range: bytes {range}/10")
    };
    let wanted =
        [("8-9", "89"), ("0-1", "01"), ("4-4", "4")].map(|(r, b)| (lines(r), b.to_owned()));
    assert_eq!(parts(&several), wanted);
    for whole in ["bytes=0-4,4-9", "bytes=5-3", "lines=1-2"] {
        assert_eq!(ask(whole).text(), (200, "0123456789"), "{whole}");
    }
    let head = server.ask("HEAD /digits.txt", &["Range: bytes=2-4"]);
    assert_eq!((head.status, head.header("Content-Length")), (200, Some("10")));
}

#[test]
fn ranges_of_a_large_file_are_the_bytes_of_the_file() {
    let folder = Folder::new();
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| b'a' + (n ^ (n >> 8)) as u8 % 26).collect();
    folder.write("large", &bytes);
    let server = Server::new(&folder);
    let range = "Range: bytes=2000000-2999999,0-0,5-1000000";
    let got = server.ask("GET /large", &[range]);
    let bodies: Vec<_> = parts(&got).into_iter().map(|(_, body)| body.into_bytes()).collect();
    let wanted = [&bytes[2_000_000..], &bytes[..1], &bytes[5..1_000_001]];
    assert!(bodies == wanted, "three parts");
}

#[test]
fn if_range_is_strong() {
    let (folder, server) = site();
    let got = server.get("/digits.txt");
    let tag = got.header("ETag").unwrap().to_owned();
    let date = got.header("Last-Modified").unwrap().to_owned();
    let ask = |value: &str| {
        let lines = ["Range: bytes=8-", &format!("If-Range: {value}")];
        server.ask("GET /digits.txt", &lines).status
    };
    assert_eq!((ask(&tag), ask(&date)), (206, 206));
    assert_eq!((ask(&format!("W/{tag}")), ask("\"x\"")), (200, 200));
    // Another version: neither its tag nor its date is what the client has a part of.
    folder.write("digits.txt", b"abcdefghij");
    support::changed(&folder.path().join("digits.txt"), 1800);
    assert_eq!((ask(&tag), ask(&date)), (200, 200));
}
