//! `bench`: what it counts, what it calls a latency, and how it tells.

use crate::harness::*;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
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
            if stream.write_all(&text).is_err() || close {
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
        (&["bench", "https://a"][..], "https"),
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
