//! `bench`: what it counts, what it calls a latency, and how it tells.

use crate::harness::*;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// A server that answers requests, one after the other on each connection, as `answer` says: with
/// bytes, and whether it closes behind them. What it is shown is the number of the request.
fn server(
    answer: impl Fn(usize) -> (Vec<u8>, bool) + Send + Sync + 'static,
) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (at, count) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let (counted, answer) = (count.clone(), Arc::new(answer));
    // They end with the test's process: nobody waits for them.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (counted, answer) = (counted.clone(), answer.clone());
            std::thread::spawn(move || talk(stream.unwrap(), &counted, &*answer));
        }
    });
    (at, count)
}

fn talk(mut stream: TcpStream, count: &AtomicUsize, answer: &dyn Fn(usize) -> (Vec<u8>, bool)) {
    let (mut held, mut bytes) = (Vec::new(), [0; 65536]);
    loop {
        while let Some(end) = held.windows(4).position(|w: &[u8]| w == b"\r\n\r\n") {
            held.drain(..end + 4);
            let (text, close) = answer(count.fetch_add(1, Ordering::SeqCst));
            let sent = stream.write_all(&text);
            if sent.is_err() || close {
                // What came and is not read would make it a reset, which destroys the answer.
                let _ = stream.shutdown(Shutdown::Write);
                while stream.read(&mut bytes).is_ok_and(|n| n > 0) {}
                return;
            }
        }
        match stream.read(&mut bytes) {
            Ok(n) if n > 0 => held.extend_from_slice(&bytes[..n]),
            _ => return,
        }
    }
}

fn plain(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// The number behind a name in an object of JSON.
#[track_caller]
fn number(json: &str, name: &str) -> f64 {
    let key = format!("\"{name}\":");
    let at = json.find(&key).unwrap_or_else(|| panic!("no {name} in {json}")) + key.len();
    let end = json[at..].find([',', '}']).unwrap() + at;
    json[at..end].parse().unwrap_or_else(|_| panic!("{name} in {json}"))
}

fn bench(args: &[&str], at: SocketAddr) -> Ended {
    let url = format!("http://{at}/");
    run(&[&["bench"], args, &[&url[..]]].concat(), b"")
}

#[test]
fn so_many_requests_are_so_many() {
    for (args, count) in [
        (&["-n", "1"][..], 1),
        (&["-n", "1000", "-c", "7"], 1000),
        (&["-n", "1003", "-c", "10", "-t", "3", "--depth", "8"], 1003),
        (&["-n", "50", "-c", "2", "-R", "5000"], 50),
    ] {
        let (at, seen) = server(|_| (plain("hello"), false));
        let ended = bench(&[args, &["--json"]].concat(), at);
        assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{ended:?}");
        let json = ended.text();
        assert_eq!(number(&json, "schema_version"), 1.0);
        assert_eq!(number(&json, "requests"), count as f64, "{json}");
        assert_eq!(number(&json, "200"), count as f64, "{json}");
        assert_eq!(seen.load(Ordering::SeqCst), count, "{args:?}");
    }
}

#[test]
fn answers_of_every_framing_are_counted() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let none = "HTTP/1.1 204 No Content\r\n\r\n";
    let early = format!("HTTP/1.1 103 Hints\r\n\r\n{}", String::from_utf8(plain("x")).unwrap());
    let closed = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi";
    let until = "HTTP/1.1 200 OK\r\n\r\nuntil the end";
    for (answer, close, status) in [
        (chunked, false, "200"),
        (none, false, "204"),
        (&early, false, "200"),
        (closed, true, "200"),
        (until, true, "200"),
        ("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", false, "503"),
    ] {
        let text = answer.to_string();
        let (at, seen) = server(move |_| (text.clone().into_bytes(), close));
        for depth in ["1", "4"] {
            let before = seen.load(Ordering::SeqCst);
            let json = bench(&["-n", "40", "-c", "4", "--depth", depth, "--json"], at).text();
            assert_eq!(number(&json, status), 40.0, "{answer}{json}");
            assert!(json.contains("\"errors\":{\"connect\":0,\"read\":0,"), "{answer}{json}");
            assert_eq!(seen.load(Ordering::SeqCst) - before, 40, "{answer}");
        }
    }
    let (at, _) = server(|_| (b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n".to_vec(), false));
    let json = bench(&["-X", "HEAD", "-n", "9", "-c", "3", "--json"], at).text();
    assert_eq!(number(&json, "200"), 9.0, "{json}");
}

#[test]
fn errors_are_counted_by_kind() {
    let ended = bench(&["-n", "3", "-c", "1", "--json"], NOBODY.parse().unwrap());
    assert_eq!((ended.code, number(&ended.text(), "connect")), (Some(1), 3.0));
    ended.failed(1, "is a server at");
    for (answer, close, kind) in [
        (&b"no HTTP\r\n\r\n"[..], false, "malformed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", true, "read"),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 9\r\n\r\nshort", true, "read"),
        (
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            true,
            "malformed",
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nslow", false, "timeout"),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 9\r\n\r\nslow", false, "timeout"),
    ] {
        let (at, _) = server(move |n| match n {
            0 => (plain("good"), false),
            _ => (answer.to_vec(), close),
        });
        let ended = bench(&["-n", "3", "-c", "1", "--timeout", "200ms", "--json"], at);
        let json = ended.text();
        assert_eq!((number(&json, "requests"), number(&json, kind)), (1.0, 2.0), "{json}");
        assert_eq!(ended.code, Some(0));
        // Each failed request is one error.
        let kinds = ["connect", "read", "timeout", "malformed"];
        assert_eq!(kinds.map(|kind| number(&json, kind)).iter().sum::<f64>(), 2.0, "{json}");
    }
}

#[test]
fn a_rate_is_kept() {
    let (at, seen) = server(|_| (plain("hello"), false));
    let json = bench(&["-R", "500", "-d", "2", "-c", "20", "--json"], at).text();
    // All that were due in that time, but for those that were under way at its end.
    let (told, seen) = (number(&json, "requests"), seen.load(Ordering::SeqCst) as f64);
    assert!((850.0..=1001.0).contains(&told) && (told..=told + 20.0).contains(&seen), "{json}");
}

#[test]
fn a_stall_is_in_the_latencies_of_a_rate() {
    // Two seconds, of which the server sleeps for half a second.
    let (began, slept) = (OnceLock::new(), AtomicBool::new(false));
    let (at, _) = server(move |_| {
        let since = began.get_or_init(Instant::now).elapsed();
        if since >= Duration::from_millis(500) && !slept.swap(true, Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(500));
        }
        (plain("hello"), false)
    });
    let json = bench(&["-R", "400", "-d", "2", "-c", "1", "--json"], at).text();
    // A quarter of all requests were due while it slept: the 90th percentile has waited for long.
    let (due, sent) = json.split_once("latency_from_sent_ns").expect("both");
    assert!(number(due, "p90") > 100e6, "{json}");
    assert!(number(sent, "p90") < 100e6, "the closed view does not see it: {json}");
}

#[test]
fn what_was_due_and_is_not_answered_is_told() {
    let (at, _) = server(|n| {
        if n >= 20 {
            std::thread::sleep(2 * WAIT);
        }
        (plain("hello"), false)
    });
    let json = bench(&["-R", "200", "-d", "1", "-c", "2", "--json"], at).text();
    assert!(number(&json, "requests") <= 21.0, "{json}");
    assert!((150.0..=182.0).contains(&number(&json, "unanswered")), "{json}");
    assert!(json.contains("had no answer when the run ended"), "{json}");
}

#[test]
fn the_report_and_the_page() {
    let (folder, (at, _)) = (Folder::new(), server(|_| (plain("hello"), false)));
    let page = folder.path().join("run.html");
    let ended = bench(&["-n", "300", "--html", page.to_str().unwrap(), "--latency"], at);
    let text = ended.text();
    for part in ["50 connections", "requests ", "300", "latency", "50.0000 %", "100.0000 %"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let page = std::fs::read_to_string(&page).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"));
    assert!(page.contains("<svg") && page.contains("99.9 %"));
    // Nothing is asked of anybody: the only URL is the one that was measured, as text.
    assert_eq!(page.matches("http://").count(), 2, "{page}");
    assert!(!page.contains("src=") && !page.contains("href=") && !page.contains("<script"));
}

#[test]
fn interrupted_it_tells_what_there_is() {
    let (at, seen) = server(|_| (plain("hello"), false));
    let run = start(&["bench", "-d", "1h", "-c", "2", &format!("http://{at}/")]);
    let limit = Instant::now() + WAIT;
    while seen.load(Ordering::SeqCst) < 50 {
        assert!(Instant::now() < limit, "no load");
        std::thread::sleep(Duration::from_millis(5));
    }
    run.signal("INT");
    let ended = run.ended();
    assert_eq!(ended.code, Some(130), "{ended:?}");
    assert!(ended.text().contains("requests "), "{ended:?}");
}

#[test]
fn what_is_asked_is_sent() {
    let (at, server) = canned(vec![plain("")]);
    let args = ["-n", "1", "-c", "1", "-H", "Host: h", "-H", "A: b", "-b", "data"];
    assert_eq!(bench(&args, at).code, Some(0));
    let heard = server.join().unwrap().remove(0);
    assert!(heard.starts_with("POST / HTTP/1.1\r\nHost: h\r\n"), "{heard}");
    assert!(heard.contains("A: b\r\n") && heard.contains("Content-Length: 4\r\n"), "{heard}");
    assert!(heard.ends_with("\r\n\r\ndata"), "{heard}");
    let (at, server) = canned(vec![plain("")]);
    let url = format!("http://Aladdin:open%20sesame@{at}/");
    assert_eq!(run(&["bench", "-n", "1", "-c", "1", &url], b"").code, Some(0));
    let heard = server.join().unwrap().remove(0);
    let basic = "Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n";
    assert!(heard.contains(basic), "{heard}");
}

#[test]
fn wrong_usage_is_told() {
    for (args, part) in [
        (&["bench", "ftp://a"][..], "ftp"),
        (&["bench", "-t", "4", "-c", "2", "http://a"], "threads"),
        (&["bench", "-d", "3x", "http://a"], "unit"),
        (&["bench", "-n", "5", "-d", "5", "http://a"], "cannot be used with"),
        (&["bench", "-R", "0", "http://a"], "a second"),
        (&["bench", "-H", "x", "http://127.0.0.1"], "header"),
    ] {
        let ended = run(args, b"");
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.err.contains(part), "{ended:?}");
    }
    let many = ["bench", "-c", "1000000", "http://127.0.0.1:1/"];
    run(&many, b"").failed(1, "ulimit -n");
}

/// A WebSocket server of our own, and its URL.
fn echo() -> (Run, String) {
    let server = start(&["echo", "ws"]);
    let url = format!("ws://{}/any/path", server.listening("ws"));
    (server, url)
}

/// A server that does this on each connection, behind the handshake.
fn behind_handshakes(talk: impl Fn(TcpStream) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (at, talk) = (listener.local_addr().unwrap(), Arc::new(talk));
    // They end with the test's process: nobody waits for them.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, talk) = (stream.unwrap(), talk.clone());
            std::thread::spawn(move || {
                let (mut head, mut byte) = (Vec::new(), [0]);
                while !head.ends_with(b"\r\n\r\n") {
                    match stream.read(&mut byte) {
                        Ok(1) => head.push(byte[0]),
                        _ => return,
                    }
                }
                let head = String::from_utf8(head).unwrap();
                let key = head.lines().find_map(|l| l.strip_prefix("Sec-WebSocket-Key: "));
                let accept = loopwork::ws::core::handshake::accept_key(key.unwrap());
                let accept = String::from_utf8_lossy(&accept).into_owned();
                let early = "HTTP/1.1 103 Hints\r\n\r\n";
                let answer = format!(
                    "{early}HTTP/1.1 101 Yes\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                     Sec-WebSocket-Accept: {accept}\r\n\r\n"
                );
                stream.write_all(answer.as_bytes()).unwrap();
                talk(stream);
            });
        }
    });
    format!("ws://{at}/")
}

#[test]
fn so_many_messages_are_so_many() {
    let (_server, url) = echo();
    for (args, count) in [
        (&["-n", "1"][..], 1),
        (&["-n", "1000", "-c", "7"], 1000),
        (&["-n", "1003", "-c", "10", "-t", "3", "--depth", "16"], 1003),
        (&["-n", "50", "-c", "2", "-R", "5000"], 50),
        (&["-n", "200", "-c", "3", "--size", "0", "--depth", "2"], 200),
        (&["-n", "200", "-c", "3", "--size", "125"], 200),
        (&["-n", "200", "-c", "3", "--size", "126"], 200),
        (&["-n", "60", "-c", "3", "--size", "70000", "--depth", "4"], 60),
        (&["-n", "9", "-c", "2", "--size", "3000000", "--depth", "2"], 9),
        (&["-n", "60", "-c", "3", "-b", "你好"], 60),
    ] {
        let ended = run(&[&["bench", "--json", &url], args].concat(), b"");
        assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{args:?} {ended:?}");
        let json = ended.text();
        assert_eq!(number(&json, "requests"), count as f64, "{args:?} {json}");
        assert!(json.contains("\"statuses\":{}"), "{json}");
        let none = "\"errors\":{\"connect\":0,\"read\":0,\"timeout\":0,\"malformed\":0}";
        assert!(json.contains(none), "{args:?} {json}");
    }
}

/// The echo of `--size 20`, as a server frames it.
const ECHO: &[u8] = b"\x81\x14abcdefghijklmnopqrst";

#[test]
fn messages_are_counted_however_they_are_framed() {
    let parts = b"\x01\x03abc\x89\x02hi\x00\x00\x80\x11defghijklmnopqrst";
    let long = [&b"\x82\x7e\x01\x00"[..], &[7; 256]].concat();
    for answer in [ECHO, parts, b"\x8a\x00\x82\x00", &long] {
        let answer = answer.to_vec();
        let url = behind_handshakes(move |mut stream| {
            // Each message is 26 bytes: head, mask and 20 of payload.
            let mut message = [0; 26];
            while stream.read_exact(&mut message).is_ok() {
                assert_eq!(message[..2], [0x81, 0x94]);
                let mask: [u8; 4] = message[2..6].try_into().unwrap();
                let payload = &mut message[6..];
                payload.iter_mut().enumerate().for_each(|(i, b)| *b ^= mask[i % 4]);
                assert_eq!(payload, &ECHO[2..]);
                for piece in answer.chunks(5) {
                    stream.write_all(piece).unwrap();
                }
                if answer.contains(&0x89) {
                    let mut pong = [0; 8];
                    stream.read_exact(&mut pong).unwrap();
                    assert_eq!(pong[..2], [0x8a, 0x82], "a Ping is answered");
                }
            }
        });
        let json = run(&["bench", "-n", "20", "-c", "2", "--json", &url], b"").text();
        assert_eq!(number(&json, "requests"), 20.0, "{json}");
        let kinds = ["connect", "read", "timeout", "malformed"];
        assert_eq!(kinds.map(|kind| number(&json, kind)), [0.0; 4], "{json}");
    }
}

#[test]
fn what_goes_wrong_with_messages_is_counted_by_kind() {
    for (answer, kind) in [
        // A Close instead of an echo, masked frames, reserved bits, a continuation of nothing, a
        // message within another; silence, and the half of one.
        (&b"\x88\x02\x03\xe8"[..], "read"),
        (b"\x81\x94\0\0\0\0abcdefghijklmnopqrst", "malformed"),
        (b"\xc1\x00", "malformed"),
        (b"\x80\x00", "malformed"),
        (b"\x01\x01a\x81\x01b", "malformed"),
        (b"\x89\x7e\x01\x00", "malformed"),
        (b"", "timeout"),
        (b"\x81\x14abc", "timeout"),
    ] {
        let url = behind_handshakes(move |mut stream| {
            let mut message = [0; 26];
            if stream.read_exact(&mut message).is_ok() {
                stream.write_all(answer).unwrap();
                let _ = stream.read_to_end(&mut Vec::new());
            }
        });
        // Long enough for a handshake on a busy machine.
        let (count, timeout) = if kind == "timeout" { ("1", "1500ms") } else { ("3", "20s") };
        let args = ["bench", "-n", count, "-c", "1", "--timeout", timeout, "--json", &url];
        let ended = run(&args, b"");
        let (json, count) = (ended.text(), count.parse().unwrap());
        assert_eq!((ended.code, number(&json, kind)), (Some(1), count), "{answer:?} {json}");
        let kinds = ["connect", "read", "timeout", "malformed"];
        assert_eq!(kinds.map(|kind| number(&json, kind)).iter().sum::<f64>(), count, "{json}");
    }
    // Who refuses the handshake, never answers it, or is not there.
    let (at, _) = server(|_| (plain("hello"), false));
    let (silent, _) = server(|_| (Vec::new(), false));
    for at in [at.to_string(), silent.to_string(), NOBODY.to_string()] {
        let url = format!("ws://{at}/");
        let args = ["bench", "-n", "3", "-c", "1", "--timeout", "200ms", "--json", &url];
        let ended = run(&args, b"");
        let json = ended.text();
        assert_eq!((ended.code, number(&json, "connect")), (Some(1), 3.0), "{json}");
        assert_eq!(number(&json, "requests"), 0.0, "{json}");
    }
}

#[test]
fn messages_at_a_rate_have_a_report_and_a_page() {
    let (folder, (_server, url)) = (Folder::new(), echo());
    let page = folder.path().join("run.html");
    let page = page.to_str().unwrap();
    let args = ["-R", "500", "-d", "1", "-c", "5", "--depth", "2", "--html", page, &url];
    let ended = run(&[&["bench"][..], &args].concat(), b"");
    let text = ended.text();
    for part in ["messages ", "2 messages at once", "when each message was due"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(!text.contains("request"), "{text}");
    let count = text.lines().find_map(|l| l.trim().strip_prefix("messages "));
    let count: f64 = count.unwrap().split_whitespace().next().unwrap().parse().unwrap();
    assert!((1.0..=501.0).contains(&count), "{text}");
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains("messages at once") && page.contains("its message was due"), "{page}");
}

#[test]
fn a_websocket_is_asked_for_as_told() {
    let refusal = b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n".to_vec();
    let (at, server) = canned(vec![refusal]);
    let url = format!("ws://a:b@{at}/chat?x=1");
    let args = ["bench", "-n", "1", "-c", "1", "-H", "Host: h", "-H", "A: b", &url];
    assert_eq!(run(&args, b"").code, Some(1));
    let heard = server.join().unwrap().remove(0);
    assert!(heard.starts_with("GET /chat?x=1 HTTP/1.1\r\nHost: h\r\n"), "{heard}");
    for part in ["A: b\r\n", "Authorization: Basic YTpi\r\n", "Upgrade: websocket\r\n"] {
        assert!(heard.contains(part), "{part} in {heard}");
    }
    let key = heard.lines().find_map(|l| l.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
    assert!(loopwork::ws::core::handshake::is_valid_key(key), "{heard}");
    for (args, part) in [
        (&["bench", "-X", "PUT", "ws://127.0.0.1"][..], "-X"),
        (&["bench", "-H", "Upgrade: x", "ws://127.0.0.1"], "-H"),
        (&["bench", "--size", "9", "http://127.0.0.1"], "--size"),
        (&["bench", "--size", "9", "-b", "x", "ws://127.0.0.1"], "cannot be used with"),
        (&["bench", "--size", "60000000", "--depth", "99", "ws://127.0.0.1"], "--depth"),
        (&["bench", "wsx://a"], "wsx"),
    ] {
        let ended = run(args, b"");
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.err.contains(part), "{ended:?}");
    }
}
