//! The client over real sockets, against servers that behave, against ones that do not, and
//! against Node's.

mod asker;
mod hand;
mod peer;

use asker::{Job, finish, poke, until};
use hand::{Bench, always, hand};
use loopwork_http::client::Failure;
use loopwork_http::core::Malformed;
use loopwork_http::tcp::reactor::Address;
use peer::Server;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

#[test]
fn a_connection_is_used_again() {
    let hand = always(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
    let mut bench = Bench::new(hand.at, |_| {});
    for _ in 0..5 {
        assert_eq!(bench.run(Job::get("/")).text(), (200, "hi"));
    }
    assert_eq!(hand.accepted.load(Ordering::SeqCst), 1);
    // Three at once are three connections; then those three serve.
    for _ in 0..2 {
        let jobs: Vec<usize> = (0..3).map(|_| bench.begin(Job::get("/"))).collect();
        finish(&mut bench.lp, bench.asker);
        for n in jobs {
            assert_eq!(bench.job(n).text(), (200, "hi"));
        }
    }
    assert_eq!(hand.accepted.load(Ordering::SeqCst), 3);
}

#[test]
fn blocked_addresses_are_asked_nothing() {
    let hand = always(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
    let mut bench = Bench::new(hand.at, |config| config.per_address = 1);
    let client = bench.lp.get(bench.asker).client;
    client.block_outbound(&mut bench.lp).add("127.0.0.0/8".parse().unwrap());
    let jobs: Vec<usize> = (0..3).map(|_| bench.begin(Job::get("/"))).collect();
    finish(&mut bench.lp, bench.asker);
    for n in jobs {
        let why = bench.job(n).failure();
        assert_eq!(why, Failure::Connect(ErrorKind::PermissionDenied));
    }
    assert_eq!(hand.accepted.load(Ordering::SeqCst), 0);
    client.block_outbound(&mut bench.lp).clear();
    assert_eq!(bench.run(Job::get("/")).text(), (200, "hi"));
}

#[test]
fn a_free_connection_is_closed_in_time_without_a_reset() {
    let (tell, told) = mpsc::channel();
    let hand = hand(move |_, mut peer| {
        assert!(peer.heard());
        peer.send("HTTP/1.1 204 No Content\r\n\r\n");
        tell.send(peer.cut()).unwrap();
    });
    let mut bench = Bench::new(hand.at, |config| config.keep = Duration::from_millis(50));
    assert_eq!(bench.run(Job::get("/")).text(), (204, ""));
    let mut seen = None;
    until(&mut bench.lp, "closed", |_| {
        seen = told.try_recv().ok();
        seen.is_some()
    });
    assert_eq!(seen, Some(Ok(Vec::new())));
}

#[test]
fn an_upload_is_streamed() {
    let server = Server::site(|_| {});
    let mut bench = Bench::new(Address::Ip(server.at), |_| {});
    let body: Vec<u8> = (0..3_000_000u32).map(|n| (n.wrapping_mul(n) >> 7) as u8).collect();
    for chunked in [false, true] {
        let job = bench.run(Job::put("/sum", body.clone(), chunked));
        assert_eq!(job.text(), (200, "3000000 bytes"));
        let job = bench.run(Job::put("/echo", body.clone(), chunked));
        assert_eq!((job.outcome, job.status), (Some(Ok(())), 200));
        assert!(job.body == body);
        assert_eq!(bench.run(Job::put("/sum", Vec::new(), chunked)).text(), (200, "0 bytes"));
    }
    let log = server.log.lock().unwrap();
    assert!(log.bodies.iter().filter(|(path, b)| path == "/sum" && !b.is_empty()).count() == 2);
    assert!(log.bodies.iter().all(|(_, b)| b.is_empty() || *b == body));
}

#[test]
fn an_upload_waits_for_who_does_not_read() {
    let hand = hand(|_, mut peer| {
        peer.until(b"\r\n\r\n");
        std::thread::sleep(Duration::from_millis(500));
        let mut left = 30_000_000;
        let mut piece = vec![0; 65536];
        while left > 0 {
            left -= peer.read(&mut piece);
        }
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    });
    let mut bench = Bench::new(hand.at, |_| {});
    let n = bench.begin(Job::put("/", vec![b'u'; 30_000_000], false));
    let began = std::time::Instant::now();
    until(&mut bench.lp, "some time", |_| began.elapsed() > Duration::from_millis(300));
    let sent = bench.job(n).sent;
    assert!(sent > 0 && sent < 12_000_000, "{sent}");
    finish(&mut bench.lp, bench.asker);
    assert_eq!(bench.job(n).text(), (200, ""));
}

#[test]
fn a_download_waits_for_a_slow_owner() {
    let server = Server::site(|_| {});
    for path in ["/big?30000000", "/sized?30000000"] {
        let mut bench = Bench::new(Address::Ip(server.at), |_| {});
        let n = bench.begin(Job { deaf: true, ..Job::get(path) });
        let began = std::time::Instant::now();
        until(&mut bench.lp, "some time", |_| began.elapsed() > Duration::from_millis(300));
        let written = std::mem::take(&mut server.log.lock().unwrap().written);
        assert!(written > 0 && written < 12_000_000, "{written}");
        bench.job(n).deaf = false;
        poke(&mut bench.lp, bench.asker, n);
        finish(&mut bench.lp, bench.asker);
        assert_eq!(bench.job(n).text().1.len(), 30_000_000);
        server.log.lock().unwrap().written = 0;
    }
}

#[test]
fn an_answer_that_just_fills_the_pipe_ends() {
    // The mark is 64 KiB: a body whose last byte goes over it has no byte behind it.
    let server = Server::site(|_| {});
    let mut bench = Bench::new(Address::Ip(server.at), |_| {});
    for n in [65_536, 65_537, 70_000, 200_000, 262_145] {
        let job = bench.run(Job::get(&format!("/sized?{n}")));
        assert_eq!(job.text().1.len(), n);
    }
}

#[test]
fn answers_without_a_body_have_none() {
    let server = Server::site(|_| {});
    let mut bench = Bench::new(Address::Ip(server.at), |_| {});
    for (method, target, status) in [
        ("HEAD", "/hello", 200),
        ("HEAD", "/big?9", 200),
        ("GET", "/status/204", 204),
        ("GET", "/unchanged", 304),
        ("GET", "/empty", 200),
        ("GET", "/hints", 200),
    ] {
        let job = bench.run(Job { method, ..Job::get(target) });
        let text = if target == "/hints" { "0 bytes" } else { "" };
        assert_eq!(job.text(), (status, text), "{method} {target}");
    }
}

#[test]
fn interim_responses_have_a_limit() {
    let some = always(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 x\r\nLink: a\r\n\r\n\
          HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    );
    assert_eq!(Bench::new(some.at, |_| {}).run(Job::get("/")).text(), (200, ""));
    let flood = hand(|_, mut peer| {
        assert!(peer.heard());
        while peer.push(&b"HTTP/1.1 102 x\r\n\r\n".repeat(100)) {}
    });
    let mut bench = Bench::new(flood.at, |_| {});
    assert_eq!(bench.run(Job::get("/")).failure(), Failure::Unexpected(102));
    let switch = always(b"HTTP/1.1 101 x\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nhey");
    let mut bench = Bench::new(switch.at, |_| {});
    assert_eq!(bench.run(Job::get("/")).failure(), Failure::Unexpected(101));
}

/// What a connection keeps by itself is no limit of a head.
#[test]
fn a_response_may_have_the_head_that_its_limit_says() {
    const MOST: usize = 300_000;
    let fields = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: ";
    for (bytes, fits) in [(200_000, true), (MOST, true), (MOST + 1, false)] {
        let server = hand(move |_, mut peer| {
            assert!(peer.heard());
            let head = fields.to_owned() + &"x".repeat(bytes - fields.len() - 4);
            peer.push((head + "\r\n\r\nhi").as_bytes());
            peer.rest();
        });
        let mut bench = Bench::new(server.at, |c| c.limits.head_bytes = MOST as u32);
        let job = bench.run(Job::get("/"));
        match fits {
            true => assert_eq!(job.text(), (200, "hi"), "{bytes}"),
            false => {
                assert_eq!(job.failure(), Failure::Malformed(Malformed::HeadTooLarge), "{bytes}");
            }
        }
    }
}

#[test]
fn bytes_behind_an_answer_spoil_the_connection() {
    let cases: [&[u8]; 3] = [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi\
          HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\nX",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi",
    ];
    for answer in cases {
        let hand = always(answer);
        let mut bench = Bench::new(hand.at, |_| {});
        for n in 1..=3 {
            assert_eq!(bench.run(Job::get("/")).text(), (200, "hi"));
            assert_eq!(hand.accepted.load(Ordering::SeqCst), n);
        }
    }
    // Those that come while it is free.
    let hand = hand(|n, mut peer| {
        assert!(peer.heard());
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
        if n == 0 {
            std::thread::sleep(Duration::from_millis(50));
            peer.push(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
            let _ = peer.cut();
        }
    });
    let mut bench = Bench::new(hand.at, |_| {});
    assert_eq!(bench.run(Job::get("/")).text(), (200, "hi"));
    let began = std::time::Instant::now();
    until(&mut bench.lp, "some time", |_| began.elapsed() > Duration::from_millis(100));
    assert_eq!(bench.run(Job::get("/")).text(), (200, "hi"));
}

#[test]
fn an_answer_that_is_none_is_a_failure() {
    let cases: [(&'static [u8], Failure); 9] = [
        (b"", Failure::Closed),
        (b"HTTP/1.1 200 OK\r\n", Failure::Closed),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhi", Failure::Closed),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhi", Failure::Closed),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n", Failure::Closed),
        (b"HTTP/1.1 099 OK\r\n\r\n", Failure::Malformed(Malformed::InvalidStatus)),
        (b"HTTP/1.1 200 OK\nA: b\n\n", Failure::Malformed(Malformed::BareLf)),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nh",
            Failure::Malformed(Malformed::DuplicateContentLength),
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            Failure::Malformed(Malformed::InvalidChunkSize),
        ),
    ];
    for (answer, failure) in cases {
        let hand = hand(move |_, mut peer| {
            assert!(peer.heard());
            peer.send(answer);
        });
        let mut bench = Bench::new(hand.at, |_| {});
        assert_eq!(bench.run(Job::get("/")).failure(), failure, "{}", answer.escape_ascii());
        assert_eq!(hand.accepted.load(Ordering::SeqCst), 1, "a fresh connection: no retry");
    }
}

#[test]
fn an_endless_head_has_a_limit() {
    let hand = hand(|_, mut peer| {
        assert!(peer.heard());
        peer.send("HTTP/1.1 200 OK\r\n");
        while peer.push(&b"A: b\r\n".repeat(10)) {}
    });
    let mut bench = Bench::new(hand.at, |_| {});
    let failure = bench.run(Job::get("/")).failure();
    assert_eq!(failure, Failure::Malformed(Malformed::TooManyHeaders));
}

#[test]
fn a_dead_kept_connection_is_replaced_once() {
    // Each connection answers once, and closes when it is asked again.
    let once = || {
        hand(|_, mut peer| {
            assert!(peer.heard());
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
            peer.heard();
        })
    };
    let hand = once();
    let mut bench = Bench::new(hand.at, |_| {});
    for n in 1..=3 {
        assert_eq!(bench.run(Job::get("/")).text(), (200, "hi"));
        assert_eq!(hand.accepted.load(Ordering::SeqCst), n);
    }
    // What may not be sent twice is not.
    let post = Job { method: "POST", ..Job::put("/", b"x".to_vec(), false) };
    assert_eq!(bench.run(post).failure(), Failure::Closed);
    let hand = once();
    let mut bench = Bench::new(hand.at, |_| {});
    assert_eq!(bench.run(Job::get("/")).text(), (200, "hi"));
    let post = Job { method: "POST", ..Job::get("/") };
    assert_eq!(bench.run(post).failure(), Failure::Closed);
    assert_eq!(hand.accepted.load(Ordering::SeqCst), 1);
}

#[test]
fn a_server_that_is_silent_or_not_there() {
    let silent = hand(|n, mut peer| {
        assert!(peer.heard());
        if n == 1 {
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhi");
        }
        let _ = peer.cut();
    });
    let mut bench = Bench::new(silent.at, |c| c.timeout = Duration::from_millis(100));
    for _ in 0..2 {
        assert_eq!(bench.run(Job::get("/")).failure(), Failure::TimedOut);
    }
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut bench = Bench::new(Address::Ip(nobody), |c| c.per_address = 2);
    let jobs: Vec<usize> = (0..5).map(|_| bench.begin(Job::get("/"))).collect();
    finish(&mut bench.lp, bench.asker);
    for n in jobs {
        assert_eq!(bench.job(n).failure(), Failure::Connect(ErrorKind::ConnectionRefused));
    }
    assert!(!bench.lp.env.calls.alive(), "nothing is left");
}

#[test]
fn who_lets_go_in_the_middle_closes_the_connection() {
    let server = Server::site(|_| {});
    let mut bench = Bench::new(Address::Ip(server.at), |_| {});
    let job = bench.run(Job { release_at: Some(1), ..Job::get("/big?1000000000") });
    assert_eq!(job.outcome, Some(Err(None)));
    until(&mut bench.lp, "told", |_| server.log.lock().unwrap().done.len() == 1);
    assert!(server.log.lock().unwrap().done[0].1.is_some());
    until(&mut bench.lp, "closed", |lp| !lp.env.calls.alive());
    // Who waits for a connection, and lets go, leaves the others their turn.
    let hand = always(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
    let mut bench = Bench::new(hand.at, |c| c.per_address = 1);
    let first = bench.begin(Job::get("/"));
    bench.begin(Job { release_at: Some(0), ..Job::get("/") });
    let last = bench.begin(Job::get("/"));
    finish(&mut bench.lp, bench.asker);
    assert_eq!(bench.job(first).text(), (200, "hi"));
    assert_eq!(bench.job(last).text(), (200, "hi"));
}

#[test]
fn requests_wait_for_a_connection() {
    let (open, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (o, m) = (open.clone(), most.clone());
    let hand = hand(move |n, mut peer| {
        m.fetch_max(o.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        while peer.heard() {
            std::thread::sleep(Duration::from_millis(3));
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
            // Some of them do not last.
            if n % 2 == 0 {
                break;
            }
        }
        o.fetch_sub(1, Ordering::SeqCst);
    });
    let mut bench = Bench::new(hand.at, |c| c.per_address = 2);
    let jobs: Vec<usize> = (0..30).map(|_| bench.begin(Job::get("/"))).collect();
    finish(&mut bench.lp, bench.asker);
    for n in jobs {
        assert_eq!(bench.job(n).text(), (200, "hi"));
    }
    // One that ends may still be on its way out in its thread.
    assert!(most.load(Ordering::SeqCst) <= 3, "{}", most.load(Ordering::SeqCst));
}

#[test]
fn a_body_may_end_with_the_connection() {
    let hand = hand(|_, mut peer| {
        assert!(peer.heard());
        peer.send("HTTP/1.1 200 OK\r\n\r\n");
        for _ in 0..100 {
            peer.send(vec![b'e'; 3000]);
        }
    });
    let mut bench = Bench::new(hand.at, |_| {});
    for n in 1..=2 {
        assert_eq!(bench.run(Job::get("/")).text(), (200, &"e".repeat(300_000)[..]));
        assert_eq!(hand.accepted.load(Ordering::SeqCst), n);
    }
}

const NODE: &str = r#"
const http = require('http');
const server = http.createServer((req, res) => {
  if (req.url === '/echo') { res.writeHead(201, {'X-Method': req.method}); return req.pipe(res); }
  if (req.url === '/hints') { res.writeEarlyHints({link: '</a.css>; rel=preload'}); }
  if (req.url === '/big') {
    let n = 0;
    const more = () => { while (n++ < 1000) if (!res.write('x'.repeat(10000))) break;
                         if (n > 1000) res.end(); };
    res.on('drain', more); return more();
  }
  res.setHeader('Content-Length', 5);
  res.end(req.method === 'HEAD' ? undefined : 'hello');
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
setTimeout(() => process.exit(0), 60000);
"#;

#[test]
fn node_serves_us() {
    let Some((mut node, at)) = peer::node(NODE) else {
        return println!("skipped: there is no node here");
    };
    let mut bench = Bench::new(Address::Ip(at), |_| {});
    assert_eq!(bench.run(Job::get("/")).text(), (200, "hello"));
    assert_eq!(bench.run(Job { method: "HEAD", ..Job::get("/") }).text(), (200, ""));
    assert_eq!(bench.run(Job::get("/hints")).text(), (200, "hello"));
    assert_eq!(bench.run(Job::get("/big")).text().1.len(), 10_000_000);
    for chunked in [false, true] {
        let job = bench.run(Job::put("/echo", vec![b'n'; 2_000_000], chunked));
        assert_eq!(job.text().1.len(), 2_000_000);
        assert_eq!((job.status, job.header("x-method")), (201, Some("PUT")));
    }
    node.kill().unwrap();
    node.wait().unwrap();
}
