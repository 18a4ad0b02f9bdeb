//! How connections of the server end, over real sockets: deadlines, floods, peers that are slow,
//! half-closed or gone, and the shutdown. How exact the deadlines are is for `server_waits.rs`,
//! where no other program delays anyone.

mod peer;

use loopwork_http::Http;
use loopwork_http::tcp::Close;
use peer::{Server, Site};
use std::io::{ErrorKind, Write};
use std::time::{Duration, Instant};

const SHORT: Duration = Duration::from_millis(100);
/// A machine under load wakes late; no deadline is ever early.
const LATE: Duration = Duration::from_secs(5);

fn site(set: impl FnOnce(&mut Http<Site>) + Send + 'static) -> Server {
    Server::site(set)
}

fn took(began: Instant, what: Duration) {
    let took = began.elapsed();
    assert!(took >= what - Duration::from_millis(2) && took < what + LATE, "{took:?}");
}

#[test]
fn a_slow_head_is_408() {
    let server = site(|http| http.config.head_timeout = SHORT);
    let mut peer = server.peer();
    // The deadline counts from the first byte, not from the connection.
    std::thread::sleep(SHORT * 2);
    let began = Instant::now();
    for byte in b"GET / HT" {
        peer.send([*byte]);
        std::thread::sleep(Duration::from_millis(20));
    }
    let got = peer.response(false);
    assert_eq!((got.status, got.header("connection")), (408, Some("close")));
    took(began, SHORT);
    assert_eq!(peer.rest(), "");
}

#[test]
fn a_slow_body_is_408_or_a_cut() {
    let server = site(|http| http.config.body_timeout = SHORT);
    let head = |path| format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\n");
    let mut peer = server.peer();
    let began = Instant::now();
    peer.send(head("/sum"));
    for _ in 0..5 {
        peer.send("a");
        std::thread::sleep(Duration::from_millis(15));
    }
    assert_eq!(peer.response(false).status, 408);
    took(began, SHORT);
    assert_eq!(peer.rest(), "");
    let mut peer = server.peer();
    peer.send(head("/echo"));
    assert!(peer.cut().is_err(), "half an answer is no answer");
    // The answer is out already, and the rest of the body is not worth waiting for.
    let mut peer = server.peer();
    peer.send(head("/hello"));
    assert_eq!(peer.response(false).text(), (200, "hello"));
    assert_eq!(peer.rest(), "");
    server.until("done", |log| log.done.len() == 2);
    for done in &server.log.lock().unwrap().done {
        assert_eq!(done.1, Some(Close::Aborted));
    }
}

#[test]
fn an_idle_connection_is_closed_without_a_word() {
    let server = site(|http| http.config.keep_alive = SHORT);
    let began = Instant::now();
    assert_eq!(server.peer().rest(), "");
    took(began, SHORT);
}

#[test]
fn who_does_not_read_is_cut_off() {
    let server = site(|http| http.config.write_timeout = SHORT);
    for path in ["/big?1000000000", "/sized?1000000000"] {
        let mut peer = server.peer();
        peer.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let path = &path[..path.len() - 11];
        let gone = (path.to_owned(), Some(Close::TimedOut));
        server.until("cut off", |log| log.done.contains(&gone));
        // What was written went to the kernels' buffers: the rest was never made.
        let written = std::mem::take(&mut server.log.lock().unwrap().written);
        assert!(written < 20_000_000, "{written}");
        assert!(peer.cut().is_err());
    }
}

#[test]
fn who_reads_slowly_is_not() {
    // More than the kernels' buffers hold. The last response of its connection, so that the
    // linger's deadline passes as well.
    let server = site(|http| http.config.linger = SHORT);
    let mut peer = server.peer();
    peer.send("GET /big?30000000 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    std::thread::sleep(SHORT * 3);
    assert!(peer.until(b"\r\n\r\n").contains("Connection: close"));
    for chunk in 1..=3000 {
        // A chunk of the server's at a time, of 10,000 bytes.
        peer.until(b"2710\r\n");
        if chunk % 300 == 0 {
            std::thread::sleep(SHORT);
        }
    }
    assert!(peer.rest().ends_with("0\r\n\r\n"));
    // An answer that was given in one piece is no other: nothing is left to do but to wait.
    let mut peer = server.peer();
    peer.send("GET /blob?30000000 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    peer.until(b"\r\n\r\n");
    let (mut left, mut piece) = (30_000_000, vec![0; 100_000]);
    for n in 0.. {
        left -= peer.read(&mut piece);
        if left == 0 {
            break;
        }
        if n % 30 == 0 {
            std::thread::sleep(SHORT);
        }
    }
    assert_eq!(peer.rest(), "");
    server.until("done", |log| log.done == [("/big".to_owned(), None)]);
}

#[test]
fn the_linger_ends() {
    let server = site(|http| http.config.linger = SHORT);
    let mut peer = server.peer();
    let began = Instant::now();
    peer.send("GET /close HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(peer.rest().matches("bye").count(), 1);
    // The peer does not end: soon nobody is there any more.
    let kind = loop {
        std::thread::sleep(Duration::from_millis(5));
        if let Err(e) = peer.stream.write_all(b"x") {
            break e.kind();
        }
    };
    assert!(matches!(kind, ErrorKind::BrokenPipe | ErrorKind::ConnectionReset), "{kind:?}");
    took(began, SHORT);
}

#[test]
fn a_flood_of_requests_that_nobody_reads_is_bounded() {
    const COUNT: usize = 100_000;
    let server = site(|_| {});
    let mut peer = server.peer();
    // Long enough that all of them do not fit into the kernels' buffers.
    let request = format!("GET /hello HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(300));
    let mut writer = peer.stream.try_clone().unwrap();
    let sender = std::thread::spawn(move || {
        for _ in 0..COUNT / 1000 {
            writer.write_all(request.repeat(1000).as_bytes()).unwrap();
        }
    });
    // It stops by itself: the kernels' buffers are full, and the output's mark is reached.
    let begun = || server.log.lock().unwrap().begun.len();
    let (mut before, mut now) = (usize::MAX, 0);
    while before != now {
        std::thread::sleep(Duration::from_millis(300));
        (before, now) = (now, begun());
    }
    println!("{now} requests answered while nobody read");
    assert!(now < COUNT && !sender.is_finished());
    for _ in 0..COUNT {
        assert_eq!(peer.response(false).status, 200);
    }
    sender.join().unwrap();
    assert_eq!(peer.get("/hello").text(), (200, "hello"));
    assert_eq!(begun(), COUNT + 1);
}

#[test]
fn a_client_that_is_gone_is_told_once() {
    let server = site(|_| {});
    let mut peer = server.peer();
    peer.send("GET /big?1000000000 HTTP/1.1\r\nHost: a\r\n\r\n");
    peer.until(b"xxx");
    drop(peer);
    server.until("big", |log| log.done.len() == 1);
    // In the middle of its body.
    let mut peer = server.peer();
    peer.send("PUT /sum HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc");
    server.until("begun", |log| log.begun.len() == 2);
    drop(peer);
    server.until("sum", |log| log.done.len() == 2);
    // While it waits for an answer, with a reset.
    let peer = server.peer();
    let mut writer = peer.stream.try_clone().unwrap();
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    writer.write_all((get("/hello") + &get("/never") + &get("/evil")).as_bytes()).unwrap();
    // An answer that was not read makes the close a reset.
    server.until("answered", |log| log.begun.len() == 4);
    drop((peer, writer));
    server.until("never", |log| log.done.len() == 3);
    let log = server.log.lock().unwrap();
    let cut = |n: usize| (log.done[n].0.as_str(), log.done[n].1);
    assert_eq!(cut(0), ("/big", Some(Close::Reset)));
    assert_eq!(cut(1), ("/sum", Some(Close::Aborted)));
    assert_eq!(cut(2), ("/never", Some(Close::Reset)));
    assert_eq!(log.begun.len(), 4);
}

#[test]
fn who_half_closes_still_reads() {
    let server = site(|_| {});
    let mut peer = server.peer();
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    peer.send(get("/late") + &get("/hello") + &get("/late"));
    peer.end();
    for text in ["at last", "hello", "at last"] {
        assert_eq!(peer.response(false).text(), (200, text));
    }
    assert_eq!(peer.rest(), "");
    // Half a head is no request.
    assert_eq!(
        {
            let mut peer = server.peer();
            peer.send("GET /hel");
            peer.end();
            peer.rest()
        },
        ""
    );
}

#[test]
fn a_shutdown_waits_for_what_is_under_way() {
    let server = site(|_| {});
    let (mut idle, mut used, mut busy) = (server.peer(), server.peer(), server.peer());
    let (mut half, mut upload) = (server.peer(), server.peer());
    assert_eq!(used.get("/hello").status, 200);
    busy.send("GET /late?1000 HTTP/1.1\r\nHost: a\r\n\r\nGET /evil HTTP/1.1\r\nHost: a\r\n\r\n");
    half.send("GET /hello HTTP");
    upload.send("PUT /sum HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab");
    server.until("begun", |log| log.begun.len() == 3);
    std::thread::sleep(Duration::from_millis(10));
    server.shutdown();
    assert_eq!((idle.rest(), used.rest()), (String::new(), String::new()));
    let got = busy.response(false);
    assert_eq!((got.text(), got.header("connection")), ((200, "at last"), Some("close")));
    assert_eq!(busy.rest(), "");
    half.send("/1.1\r\nHost: a\r\n\r\n");
    upload.send("cd");
    for (peer, text) in [(&mut half, "hello"), (&mut upload, "4 bytes")] {
        let got = peer.response(false);
        assert_eq!((got.text(), got.header("connection")), ((200, text), Some("close")));
        assert_eq!(peer.rest(), "");
    }
    assert!(std::net::TcpStream::connect(server.at).is_err(), "nobody listens");
    drop((idle, used, busy, half, upload));
    assert!(!server.log.lock().unwrap().begun.contains(&"/evil".to_owned()));
    server.join();
}
