//! The reverse proxy of the examples between peers of raw bytes and an origin: what passes, what
//! does not, who slows whom, and who is told when one side dies.

mod peer;
#[path = "../examples/proxy.rs"]
#[allow(unreachable_pub)]
mod proxy;

use loopwork_http::Http;
use loopwork_http::client::Client;
use loopwork_http::tcp::Close;
use loopwork_http::tcp::reactor::Address;
use peer::{PATIENCE, Peer, Server};
use proxy::Proxy;
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

/// A proxy before this address.
fn before(to: SocketAddr) -> Server {
    Server::run(move |lp, _| {
        let client = Client::new(lp);
        Http::new(Proxy { client, to: Address::Ip(to) })
    })
}

fn pair() -> (Server, Server) {
    let origin = Server::site(|_| {});
    let proxy = before(origin.at);
    (origin, proxy)
}

/// An origin by hand, for one connection.
fn hand() -> (TcpListener, Server) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = before(listener.local_addr().unwrap());
    (listener, proxy)
}

fn accept(listener: &TcpListener) -> Peer {
    Peer::of(listener.accept().unwrap().0)
}

#[test]
fn messages_pass() {
    let (origin, proxy) = pair();
    let mut peer = proxy.peer();
    for _ in 0..3 {
        let got = peer.get("/hello");
        assert_eq!((got.text(), got.header("via")), ((200, "hello"), Some("1.1 loopwork")));
        assert_eq!(got.head.matches("Date: ").count(), 1, "{}", got.head);
    }
    peer.send("HEAD /sized?70 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(peer.response(true).header("content-length"), Some("70"));
    assert_eq!(peer.get("/big?300000").body.len(), 300_000);
    assert_eq!(peer.get("/sized?300000").body.len(), 300_000);
    assert_eq!(peer.get("/status/204").text(), (204, ""));
    let got = peer.get("/unchanged");
    assert_eq!((got.text(), got.header("content-length")), ((304, ""), Some("7")));
    assert_eq!(peer.get("/empty").header("content-length"), Some("0"));
    assert_eq!(peer.get("/hints").text(), (200, "0 bytes"));
    let body = "b".repeat(200_000);
    peer.send(format!("PUT /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n{body}"));
    assert!(peer.response(false).text() == (200, &body));
    peer.send("PUT /sum HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    peer.send("3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
    assert_eq!(peer.response(false).text(), (200, "5 bytes"));
    peer.send("PUT /sum HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(peer.response(false).status, 100);
    peer.send("body");
    assert_eq!(peer.response(false).text(), (200, "4 bytes"));
    assert_eq!(origin.log.lock().unwrap().malformed, []);
}

#[test]
fn what_concerns_one_connection_does_not_pass() {
    let (listener, proxy) = hand();
    let mut peer = proxy.peer();
    peer.send(
        "GET /a?b=c HTTP/1.1\r\nHost: example.com:81\r\nConnection: x-mine, keep-alive\r\n\
         X-Mine: 1\r\nKeep-Alive: 5\r\nTE: trailers\r\nUpgrade: x\r\nX-Other: 2\r\n\r\n",
    );
    let mut origin = accept(&listener);
    let head = origin.until(b"\r\n\r\n");
    let expected = "GET /a?b=c HTTP/1.1\r\nHost: example.com:81\r\nX-Other: 2\r\n\
                    Via: 1.1 loopwork\r\nX-Forwarded-For: 127.0.0.1\r\n\r\n";
    assert_eq!(head, expected);
    origin.send(
        "HTTP/1.1 200 Fine\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nConnection: x-yours\r\n\
         X-Yours: 1\r\nX-Other: 3\r\nContent-Length: 2\r\n\r\nhi",
    );
    let got = peer.response(false);
    assert_eq!(
        got.head,
        "HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nX-Other: 3\r\n\
         Via: 1.1 loopwork\r\nContent-Length: 2\r\n\r\n"
    );
    assert_eq!(got.body, b"hi");
}

#[test]
fn trailers_pass_both_ways() {
    let (listener, proxy) = hand();
    let mut peer = proxy.peer();
    peer.send(
        "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
         3\r\nabc\r\n0\r\nX-Sum: 1\r\nContent-Length: 3\r\nX-More: 2\r\n\r\n",
    );
    let mut origin = accept(&listener);
    let head = origin.until(b"\r\n\r\n");
    assert!(head.contains("\r\nTrailer: X-Sum\r\n"), "{head}");
    let body = origin.until(b"\r\n\r\n");
    assert_eq!(body, "3\r\nabc\r\n0\r\nX-Sum: 1\r\nX-More: 2\r\n\r\n");
    origin.send(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nde\r\n\
         0\r\nX-Sum: 3\r\nHost: evil\r\n\r\n",
    );
    let got = peer.response(false);
    assert_eq!((got.text(), got.header("x-sum")), ((200, "de"), Some("3")));
    assert!(!got.head.contains("evil"), "{}", got.head);
    // The connections are used again, without the trailers of before.
    peer.send("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    origin.until(b"\r\n\r\n");
    assert_eq!(origin.until(b"\r\n\r\n"), "0\r\n\r\n");
    origin.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    let got = peer.response(false);
    assert_eq!((got.text(), got.header("x-sum")), ((200, ""), None));
    // A client of HTTP/1.0 is sent no chunks, and so no trailers.
    let mut old = proxy.peer();
    old.send("GET / HTTP/1.0\r\n\r\n");
    let head = origin.until(b"\r\n\r\n");
    assert!(head.contains("\r\nVia: 1.0 loopwork\r\n"), "{head}");
    origin.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Sum: 3\r\n\r\n");
    assert!(!old.rest().contains("X-Sum"));
}

#[test]
fn who_asks_is_said_behind_what_was_said_before() {
    let (listener, proxy) = hand();
    let mut peer = proxy.peer();
    peer.send("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.1\r\nVia: 1.1 b\r\n\r\n");
    let head = accept(&listener).until(b"\r\n\r\n");
    let all = |name: &str| {
        let lines = head.split("\r\n").filter_map(|line| line.split_once(": "));
        lines.filter(|(n, _)| *n == name).map(|(_, value)| value).collect::<Vec<_>>()
    };
    assert_eq!(all("X-Forwarded-For"), ["192.0.2.1", "127.0.0.1"]);
    assert_eq!(all("Via"), ["1.1 b", "1.1 loopwork"]);
}

#[test]
fn old_clients_and_pipelined_ones() {
    let (_origin, proxy) = pair();
    let all = proxy.exchange(b"GET /big?30000 HTTP/1.0\r\n\r\n");
    let (head, body) = all.split_once("\r\n\r\n").unwrap();
    assert!(!head.contains("Transfer-Encoding"), "{head}");
    assert_eq!(body, "x".repeat(30000));
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut peer = proxy.peer();
    let put = "PUT /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
    peer.send([get("/late"), put.to_owned(), get("/hello"), get("/big?100000")].concat().repeat(5));
    for _ in 0..5 {
        for text in ["at last", "abc", "hello", &"x".repeat(100_000)] {
            assert!(peer.response(false).text() == (200, text));
        }
    }
}

#[test]
fn a_slow_reader_slows_the_origin() {
    let (origin, proxy) = pair();
    let mut peer = proxy.peer();
    peer.send("GET /sized?50000000 HTTP/1.1\r\nHost: a\r\n\r\n");
    origin.until("it began", |log| log.written > 0);
    std::thread::sleep(Duration::from_millis(400));
    let written = origin.log.lock().unwrap().written;
    // Four sockets' buffers are the kernel's, two connections' and one pipe's are ours.
    assert!(written < 25_000_000, "{written}");
    assert_eq!(peer.response(false).body.len(), 50_000_000);
    assert_eq!(peer.get("/hello").text(), (200, "hello"));
}

#[test]
fn a_slow_origin_slows_the_upload() {
    let (listener, proxy) = hand();
    let mut peer = proxy.peer();
    peer.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 50000000\r\n\r\n");
    let mut origin = accept(&listener);
    origin.until(b"\r\n\r\n");
    peer.stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let mut sent = 0;
    while let Ok(n) = peer.stream.write(&[b'u'; 50_000]) {
        sent += n;
    }
    assert!(sent < 25_000_000, "{sent}");
    peer.stream.set_write_timeout(Some(PATIENCE)).unwrap();
    let mut writer = peer.stream.try_clone().unwrap();
    let rest = std::thread::spawn(move || writer.write_all(&vec![b'u'; 50_000_000 - sent]));
    let mut piece = vec![0; 100_000];
    let mut left = 50_000_000;
    while left > 0 {
        left -= origin.read(&mut piece);
    }
    rest.join().unwrap().unwrap();
    origin.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(peer.response(false).text(), (200, ""));
}

#[test]
fn a_client_that_is_gone_cancels() {
    let (origin, proxy) = pair();
    let cut = |n| move |log: &peer::Log| log.done.len() == n && log.done[n - 1].1.is_some();
    let mut peer = proxy.peer();
    peer.send("GET /big?1000000000 HTTP/1.1\r\nHost: a\r\n\r\n");
    peer.until(b"xxx");
    drop(peer);
    origin.until("download", cut(1));
    let mut peer = proxy.peer();
    peer.send("PUT /sum HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc");
    origin.until("begun", |log| log.begun.len() == 2);
    drop(peer);
    origin.until("upload", cut(2));
    let mut peer = proxy.peer();
    assert_eq!(peer.get("/hello").text(), (200, "hello"));
}

#[test]
fn an_origin_that_dies_is_never_a_short_success() {
    let (listener, proxy) = hand();
    let answers = [
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n",
    ];
    for answer in answers {
        let mut peer = proxy.peer();
        peer.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let mut origin = accept(&listener);
        origin.until(b"\r\n\r\n");
        origin.send(answer);
        if !answer.contains("zz") {
            peer.until(b"abc");
        }
        drop(origin);
        assert!(peer.cut().is_err(), "{answer:?} ends well");
    }
    // Before its answer began there is a way to say it.
    for answer in ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 99 X\r\n\r\n"] {
        let mut peer = proxy.peer();
        peer.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let mut origin = accept(&listener);
        origin.until(b"\r\n\r\n");
        origin.send(answer);
        drop(origin);
        assert_eq!(peer.response(false).status, 502);
    }
    drop(listener);
    let mut peer = proxy.peer();
    for _ in 0..2 {
        let got = peer.get("/");
        assert_eq!(got.text(), (502, "could not connect: connection refused\n"));
    }
}

#[test]
fn an_early_answer_passes() {
    let (origin, proxy) = pair();
    let mut peer = proxy.peer();
    peer.send("PUT /early HTTP/1.1\r\nHost: a\r\nContent-Length: 5000000\r\n\r\n");
    for _ in 0..50 {
        peer.send(vec![b'b'; 100_000]);
    }
    assert_eq!(peer.response(false).text(), (413, "too much"));
    assert_eq!(peer.rest(), "");
    origin.until("done", |log| log.done == [("/early".to_owned(), None::<Close>)]);
}
