//! The server over real sockets, as its documentation promises it: order, framing, bodies,
//! interim responses, upgrades, and what is refused.

mod peer;

use loopwork_http::core::{Malformed, Request};
use loopwork_http::tcp::reactor::{Env, Id};
use loopwork_http::tcp::{Close, Io, Protocol};
use loopwork_http::{Http, Offer, Upgrade};
use peer::{PATIENCE, Peer, Server, Site};
use std::net::TcpStream;
use std::time::{Duration, Instant};

fn site() -> Server {
    Server::site(|_| {})
}

#[test]
fn answers_come_in_the_order_of_the_requests() {
    let server = site();
    let mut peer = server.peer();
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    peer.send([get("/late"), get("/hello"), get("/late"), get("/hello")].concat());
    for text in ["at last", "hello", "at last", "hello"] {
        assert_eq!(peer.response(false).text(), (200, text));
    }
    // What is awaited at the end of the table is awaited byte by byte, too.
    for byte in (get("/late") + &get("/hello")).as_bytes() {
        peer.send([*byte]);
    }
    assert_eq!(peer.response(false).text(), (200, "at last"));
    assert_eq!(peer.response(false).text(), (200, "hello"));
    let log = server.log.lock().unwrap();
    assert_eq!(log.begun.len(), 6);
    assert_eq!(log.done, vec![("/late".to_owned(), None); 3]);
}

#[test]
fn an_unread_body_is_drained_and_never_parsed() {
    let server = site();
    let mut peer = server.peer();
    let inside = "GET /evil HTTP/1.1\r\nHost: a\r\n\r\n";
    let length = inside.len();
    for _ in 0..3 {
        peer.send(format!(
            "POST /hello HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{inside}"
        ));
        let got = peer.response(false);
        assert_eq!((got.text(), got.header("connection")), ((200, "hello"), None));
    }
    assert_eq!(peer.get("/hello").text(), (200, "hello"));
    // A body without a length may be of any: the connection is not kept for it.
    peer.send("POST /hello HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello");
    assert_eq!(peer.response(false).header("connection"), Some("close"));
    assert_eq!(peer.rest(), "");
    assert!(!server.log.lock().unwrap().begun.contains(&"/evil".to_owned()));
}

#[test]
fn a_long_upload_nobody_wants_gets_its_answer_and_no_reset() {
    let server = site();
    let cases = [("/hello", 200, "hello"), ("/early", 413, "too much")];
    for (path, status, text) in cases {
        let mut peer = server.peer();
        peer.send(format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 5000000\r\n\r\n"));
        for _ in 0..50 {
            peer.send(vec![b'b'; 100_000]);
        }
        let got = peer.response(false);
        assert_eq!((got.text(), got.header("connection")), ((status, text), Some("close")));
        assert_eq!(peer.rest(), "");
    }
    // So does a refusal.
    let mut peer = server.peer();
    peer.send("POST / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n");
    for _ in 0..50 {
        peer.send(vec![b'b'; 100_000]);
    }
    assert_eq!(peer.response(false).status, 400);
    assert_eq!(peer.rest(), "");
    server.until("done", |log| log.done == [("/early".to_owned(), None)]);
}

#[test]
fn head_and_statuses_without_a_body() {
    let server = site();
    let mut peer = server.peer();
    for (path, length) in [("/hello", Some("5")), ("/sized?70", Some("70")), ("/big?9", None)] {
        peer.send(format!("HEAD {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let got = peer.response(true);
        assert_eq!((got.status, got.header("content-length")), (200, length), "{path}");
    }
    for status in [204, 304] {
        assert_eq!(peer.get(&format!("/status/{status}")).text(), (status, ""));
    }
    let got = peer.get("/unchanged");
    assert_eq!((got.text(), got.header("content-length")), ((304, ""), Some("7")));
    // An empty body is one with an end, or the client would wait for it.
    let got = peer.get("/empty");
    assert_eq!((got.text(), got.header("content-length")), ((200, ""), Some("0")));
    assert_eq!(peer.get("/hello").text(), (200, "hello"));
}

#[test]
fn answers_that_are_alike_are_each_their_own() {
    let server = site();
    let mut peer = server.peer();
    // More than once: what was sent before for a status is not to be sent where it does not fit.
    for _ in 0..3 {
        for n in [5, 5, 12345, 0] {
            let got = peer.get(&format!("/blob?{n}"));
            assert_eq!((got.text(), got.header("connection")), ((200, &*"x".repeat(n)), None));
        }
        peer.send("HEAD /blob?7 HTTP/1.1\r\nHost: a\r\n\r\n");
        let got = peer.response(true);
        assert_eq!((got.status, got.header("content-length")), (200, Some("7")));
        for status in [204, 304] {
            let got = peer.get(&format!("/status/{status}"));
            assert_eq!((got.text(), got.header("content-length")), ((status, ""), None));
        }
        peer.send("POST /blob?3 HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nGET ");
        assert_eq!(peer.response(false).text(), (200, "xxx"));
        peer.send("GET /blob?3 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        let got = peer.response(false);
        assert_eq!((got.text(), got.header("connection")), ((200, "xxx"), Some("keep-alive")));
    }
    peer.send("GET /blob?3 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let got = peer.response(false);
    assert_eq!((got.text(), got.header("connection")), ((200, "xxx"), Some("close")));
    assert_eq!(peer.rest(), "");
}

#[test]
fn a_client_of_http_10() {
    let server = site();
    let all = server.exchange(b"GET /hello HTTP/1.0\r\n\r\n");
    assert!(all.contains("Connection: close\r\n") && all.ends_with("\r\n\r\nhello"), "{all}");
    let all = server.exchange(b"GET /big?30000 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    let (head, body) = all.split_once("\r\n\r\n").unwrap();
    assert!(!head.contains("Transfer-Encoding") && head.contains("Connection: close"), "{head}");
    assert_eq!(body, "x".repeat(30000));
    let mut peer = server.peer();
    for _ in 0..3 {
        peer.send("GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        let got = peer.response(false);
        assert_eq!((got.text(), got.header("connection")), ((200, "hello"), Some("keep-alive")));
    }
    // No interim response, whatever it says of one.
    peer.send("GET /hints HTTP/1.0\r\n\r\n");
    assert_eq!(peer.response(false).text(), (200, "0 bytes"));
    let mut peer = server.peer();
    peer.send("POST /sum HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nab");
    assert_eq!(peer.response(false).text(), (200, "2 bytes"));
}

#[test]
fn the_last_response_is_the_last() {
    let server = site();
    let more = "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n".repeat(3);
    let close = "GET /hello HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n";
    let all = server.exchange((close.to_owned() + &more).as_bytes());
    assert_eq!(all.matches("HTTP/1.1").count(), 1, "{all}");
    assert!(all.contains("Connection: close\r\n"));
    let all = server.exchange(format!("GET /close HTTP/1.1\r\nHost: a\r\n\r\n{more}").as_bytes());
    assert_eq!(all.matches("HTTP/1.1").count(), 1, "{all}");
    assert!(all.contains("Connection: close\r\n") && all.ends_with("bye"));
}

const EXPECT: &str = "HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n";

#[test]
fn a_hundred_is_sent_when_the_body_is_wanted() {
    let server = site();
    let mut peer = server.peer();
    peer.send(format!("PUT /sum {EXPECT}"));
    assert_eq!(peer.response(false).status, 100);
    peer.send("body");
    assert_eq!(peer.response(false).text(), (200, "4 bytes"));
    // Whoever answers while it comes wants it too.
    peer.send(format!("PUT /echo {EXPECT}"));
    assert_eq!(peer.response(false).status, 100);
    peer.send("body");
    assert_eq!(peer.response(false).text(), (200, "body"));
    // Not while it is paused, but then.
    let began = std::time::Instant::now();
    peer.send(format!("PUT /pause {EXPECT}"));
    assert_eq!(peer.response(false).status, 100);
    assert!(began.elapsed().as_millis() >= 45);
    peer.send("body");
    assert_eq!(peer.response(false).text(), (200, "4 bytes"));
    let mut deaf = server.peer();
    deaf.send(format!("PUT /deaf {EXPECT}"));
    deaf.silent(50);
}

#[test]
fn no_hundred_for_who_answers_at_once() {
    let server = site();
    let mut peer = server.peer();
    peer.send(format!("PUT /hello {EXPECT}"));
    let got = peer.response(false);
    assert_eq!((got.text(), got.header("connection")), ((200, "hello"), Some("close")));
    // The body, or a request, comes all the same: neither is served.
    peer.send("GET /evil HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(peer.rest(), "");
    let all = server
        .exchange(b"PUT /sum HTTP/1.1\r\nHost: a\r\nExpect: tea\r\nContent-Length: 4\r\n\r\n");
    assert!(all.starts_with("HTTP/1.1 417 "), "{all}");
    // Without a body there is nothing to wait for.
    let mut peer = server.peer();
    peer.send("GET /hello HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(peer.response(false).text(), (200, "hello"));
    assert_eq!(server.log.lock().unwrap().begun, ["/hello", "/hello"]);
}

#[test]
fn what_the_application_may_not_say_is_a_500_and_splits_nothing() {
    let server = site();
    let mut peer = server.peer();
    let got = peer.get("/split");
    assert_eq!((got.status, got.header("x-evil"), got.header("x")), (500, None, None));
    assert_eq!(peer.get("/split-head").text(), (200, "refused"));
    assert_eq!(peer.get("/invalid-status").status, 500);
    assert_eq!(peer.get("/hello").text(), (200, "hello"));
}

#[test]
fn a_body_that_is_not_as_announced_is_cut_off() {
    let server = site();
    for path in ["/short", "/long"] {
        let mut peer = server.peer();
        peer.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").repeat(2));
        assert!(peer.cut().is_err(), "{path} looks like an end");
        server.until(path, |log| log.done.contains(&(path.to_owned(), Some(Close::Aborted))));
    }
    assert_eq!(server.log.lock().unwrap().done.len(), 2);
}

#[test]
fn trailers_both_ways() {
    let server = site();
    let mut peer = server.peer();
    peer.send(
        "POST /trailers HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
         3\r\nabc\r\n0\r\nX-Mac: 12\r\nHost: evil\r\nContent-Length: 3\r\n\r\n",
    );
    let got = peer.response(false);
    assert_eq!(got.text(), (200, "data"));
    assert_eq!(got.header("x-sum"), Some("7"));
    assert_eq!(got.header("content-length"), None);
    let log = server.log.lock().unwrap();
    assert_eq!(log.trailers, [("X-Mac".to_owned(), "12".to_owned())]);
    assert_eq!(log.bodies, [("/trailers".to_owned(), b"abc".to_vec())]);
}

#[test]
fn hints_come_before_the_response() {
    let server = site();
    let mut peer = server.peer();
    let got = peer.get("/hints");
    assert_eq!((got.status, got.header("link")), (103, Some("</a.css>; rel=preload")));
    assert_eq!(got.header("content-length"), None);
    assert_eq!(peer.response(false).text(), (200, "0 bytes"));
}

#[test]
fn a_body_taken_in_bites_is_shown_again() {
    let server = site();
    let mut peer = server.peer();
    let body: String = (0..100).map(|n| char::from(b'a' + n % 26)).collect();
    // One with a length and one in chunks, each in one segment and in many.
    let length = format!("POST /pause HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{body}");
    let chunks: String = body.as_bytes().chunks(7).fold(String::new(), |all, c| {
        all + &format!("{:x}\r\n{}\r\n", c.len(), std::str::from_utf8(c).unwrap())
    });
    let chunked = format!(
        "POST /pause HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n"
    );
    for request in [&length, &chunked] {
        peer.send(format!("{request}GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(peer.response(false).text(), (200, "100 bytes"));
        assert_eq!(peer.response(false).text(), (200, "hello"));
        for byte in request.as_bytes() {
            peer.send([*byte]);
        }
        assert_eq!(peer.response(false).text(), (200, "100 bytes"));
    }
    let log = server.log.lock().unwrap();
    assert!(log.bodies.iter().all(|(_, got)| got == body.as_bytes()));
    assert_eq!(log.done.len(), 4);
}

/// Echoes upper-case what comes after the upgrade.
struct Shout;

impl Protocol for Shout {
    type Conn = ();
    fn on_data(&mut self, _: &mut (), io: &mut Io<'_>, bytes: &mut [u8]) -> usize {
        bytes.make_ascii_uppercase();
        let _ = io.write(bytes);
        bytes.len()
    }
}

impl Upgrade for Shout {
    fn offer(&mut self, request: &Request<'_>, io: &mut Io<'_>) -> Offer<()> {
        let body = request.headers.contains("content-length");
        match request.headers.get_str("upgrade") {
            Some("shout") if !body => {
                let head = b"HTTP/1.1 101 \r\nConnection: upgrade\r\nUpgrade: shout\r\n\r\n";
                let _ = io.write(head);
                Offer::Accept(())
            }
            Some("whisper") => Offer::Refuse(426, &[("Upgrade", "shout")], "louder\n"),
            _ => Offer::Pass,
        }
    }
}

#[test]
fn an_upgrade_takes_the_early_bytes_along() {
    let server = Server::run(|_, log| Http::with_upgrade(Site { log }, Shout));
    let upgrade = |to: &str| {
        format!("GET /hello HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: {to}\r\n\r\n")
    };
    let mut peer = server.peer();
    peer.send(format!("GET /late HTTP/1.1\r\nHost: a\r\n\r\n{}GET / early", upgrade("shout")));
    assert_eq!(peer.response(false).text(), (200, "at last"));
    assert_eq!(peer.response(false).status, 101);
    assert_eq!(peer.until(b"EARLY"), "GET / EARLY");
    peer.send("more");
    assert_eq!(peer.until(b"E"), "MORE");
    peer.end();
    assert_eq!(peer.rest(), "");
    let mut peer = server.peer();
    peer.send(upgrade("nothing"));
    assert_eq!(peer.response(false).text(), (200, "hello"));
    peer.send(upgrade("whisper") + "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    let got = peer.response(false);
    assert_eq!((got.text(), got.header("upgrade")), ((426, "louder\n"), Some("shout")));
    assert_eq!(peer.rest(), "");
    // A request with a body has not come in whole: it is passed.
    let mut peer = server.peer();
    let body = upgrade("shout").replace("\r\n\r\n", "\r\nContent-Length: 2\r\n\r\nhi");
    peer.send(body);
    assert_eq!(peer.response(false).text(), (200, "hello"));
}

/// Accepts whatever it is offered but `/hello`, and counts the connections that it has lost.
struct Rash(std::sync::Arc<std::sync::atomic::AtomicUsize>);

impl Protocol for Rash {
    type Conn = ();
    fn on_data(&mut self, _: &mut (), _: &mut Io<'_>, bytes: &mut [u8]) -> usize {
        panic!("a body was taken for the next protocol: {bytes:?}")
    }
    fn on_close(&mut self, _: (), _: Id, _: &mut Env, _: Close) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    }
}

impl Upgrade for Rash {
    fn offer(&mut self, request: &Request<'_>, _: &mut Io<'_>) -> Offer<()> {
        if request.path() == "/hello" { Offer::Pass } else { Offer::Accept(()) }
    }
}

#[test]
fn an_upgrade_with_a_body_is_given_up() {
    let closed = std::sync::Arc::<std::sync::atomic::AtomicUsize>::default();
    let count = closed.clone();
    let server = Server::run(|_, log| Http::with_upgrade(Site { log }, Rash(count)));
    let mut peer = server.peer();
    peer.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
    assert_eq!(peer.cut(), Err(std::io::ErrorKind::ConnectionReset));
    assert_eq!(closed.load(std::sync::atomic::Ordering::SeqCst), 1, "told once");
    assert!(server.log.lock().unwrap().begun.is_empty(), "the application never saw it");
}

#[test]
fn behind_a_shutdown_nothing_is_handed_over() {
    let closed = std::sync::Arc::<std::sync::atomic::AtomicUsize>::default();
    let count = closed.clone();
    let server = Server::run(|_, log| Http::with_upgrade(Site { log }, Rash(count)));
    let mut peer = server.peer();
    // One segment: with the answer to the first, a part of the second was seen.
    peer.send("GET /hello HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHo");
    assert_eq!(peer.response(false).text(), (200, "hello"));
    server.shutdown();
    let until = Instant::now() + PATIENCE;
    while TcpStream::connect(server.at).is_ok() {
        assert!(Instant::now() < until, "it still listens");
        std::thread::sleep(Duration::from_millis(2));
    }
    peer.send("st: a\r\n\r\n");
    let got = peer.response(false);
    assert_eq!((got.text(), got.header("connection")), ((200, "hello"), Some("close")));
    assert_eq!(peer.rest(), "");
    assert_eq!(closed.load(std::sync::atomic::Ordering::SeqCst), 0);
    drop(peer);
    server.join();
}

#[test]
fn what_is_malformed_is_answered_once_and_ends_all() {
    let server = site();
    let line = |rest: &str| format!("GET / HTTP/1.1\r\n{rest}\r\n\r\n");
    let cases = [
        ("\u{16}\u{3}\u{1}\u{2}\0\u{1}".to_owned(), 400),
        ("GET / HTTP/2.0\r\n\r\n".to_owned(), 505),
        ("GET / HTTP/1.1\nHost: a\n\n".to_owned(), 400),
        ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 400),
        ("GET /#a HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 400),
        ("CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 501),
        ("BREW / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 501),
        (format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(9000)), 414),
        (line(""), 400),
        (line("Host: a\r\nHost: a"), 400),
        (line("Host: a\r\nX : y"), 400),
        (line("Host: a\r\nX: a\r\n b"), 400),
        (line("Host: a\r\nX: a\0b"), 400),
        (line(&format!("Host: a\r\nX: {}", "a".repeat(17_000))), 431),
        (line(&format!("Host: a{}", "\r\nA: b".repeat(200))), 431),
        (line("Host: a\r\nContent-Length: 5\r\nContent-Length: 5"), 400),
        (line("Host: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked"), 400),
        (line("Host: a\r\nTransfer-Encoding: gzip, chunked"), 501),
        (line("Host: a\r\nTransfer-Encoding: chunked, gzip"), 400),
        (line("Host: a\r\nExpect: x"), 417),
        (line("Host: a\r\nTransfer-Encoding: chunked").replace("GET /", "PUT /sum") + "x\r\n", 400),
        (line("Host: a\r\nContent-Length: 9223372036854775808"), 413),
    ];
    for (bytes, status) in &cases {
        let behind = "GET /evil HTTP/1.1\r\nHost: a\r\n\r\n";
        let before = "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n";
        let mut peer = server.peer();
        peer.send(format!("{before}{bytes}{behind}"));
        assert_eq!(peer.response(false).text(), (200, "hello"));
        let got = peer.response(false);
        assert_eq!((got.status, got.header("connection")), (*status, Some("close")), "{bytes:?}");
        peer.end();
        assert_eq!(peer.rest(), "", "{bytes:?}");
    }
    let log = server.log.lock().unwrap();
    assert!(log.begun.iter().all(|path| path == "/hello" || path == "/sum"), "{:?}", log.begun);
    assert_eq!(log.malformed.len(), cases.len() - 2, "but for the methods not understood");
    assert_eq!(log.malformed[0], Malformed::TlsHello);
    assert_eq!(log.done, [("/sum".to_owned(), Some(Close::Aborted))]);
}

#[test]
fn a_malformed_body_behind_a_begun_answer_cuts() {
    let server = site();
    let mut peer = server.peer();
    peer.send("PUT /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n");
    peer.until(b"ab\r\n");
    peer.send("zz\r\n");
    assert!(peer.cut().is_err(), "a part of the answer is no whole");
    server.until("done", |log| log.done == [("/echo".to_owned(), Some(Close::Aborted))]);
    // The answer was complete before: it is no victim.
    let mut peer: Peer = server.peer();
    peer.send("PUT /early HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nab");
    assert_eq!(peer.response(false).status, 413);
    peer.end();
    assert_eq!(peer.rest(), "");
}
