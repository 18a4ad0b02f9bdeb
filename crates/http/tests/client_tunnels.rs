//! What a client does beside requests and answers: interim responses, bodies that wait for
//! `100 Continue`, upgrades and `CONNECT`; against servers by hand, Node's, and our own in the
//! simulated world.

mod asker;
mod peer;

use asker::{Asker, Job, add, ask, finish};
use loopwork_http::client::{Client, Config, Failure};
use loopwork_http::core::{Method, Request};
use loopwork_http::tcp::reactor::{Address, Handle, Loop, Os, Streams};
use loopwork_http::tcp::{Io, Protocol, listen, shutdown};
use loopwork_http::{Http, Offer, Upgrade};
use loopwork_sim::{Faults, Sim, cargo_test, check, run_to_idle, run_to_rest};
use peer::{Peer, Site};
use std::net::TcpListener;
use std::time::{Duration, Instant};

/// A server by hand for one connection after the other: its address.
fn hand(play: impl Fn(Peer) + Send + 'static) -> Address {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = Address::Ip(listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            play(Peer::of(stream));
        }
    });
    at
}

fn start<W: Streams>(lp: &mut Loop<W>, set: impl FnOnce(&mut Config)) -> Handle<Asker> {
    let mut config = Config::default();
    set(&mut config);
    let client = Client::with_config(lp, config);
    add(lp, client)
}

/// What comes of these jobs, one after the other.
fn run(to: &Address, set: impl FnOnce(&mut Config), jobs: Vec<Job>) -> Vec<Job> {
    let mut lp = Loop::new(Os::new().unwrap());
    let asker = start(&mut lp, set);
    for job in jobs {
        ask(&mut lp, asker, to, job);
        finish(&mut lp, asker);
    }
    std::mem::take(&mut lp.get(asker).jobs)
}

fn one(to: &Address, set: impl FnOnce(&mut Config), job: Job) -> Job {
    run(to, set, vec![job]).remove(0)
}

fn upgrade(bytes: Vec<u8>) -> Job {
    let headers = vec![("Upgrade".to_owned(), "echo".to_owned())];
    Job { upgrade: true, upload: Some(bytes), headers, ..Job::get("/") }
}

fn connect(bytes: Vec<u8>) -> Job {
    Job { method: "CONNECT", upload: Some(bytes), ..Job::get("a:80") }
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len as u32).map(|n| b'a' + ((n.wrapping_mul(n) >> 9) % 26) as u8).collect()
}

const SWITCH: &str = "HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n";

/// Answers with this, and sends back what comes until it ends.
fn echo(answer: &'static str) -> Address {
    hand(move |mut peer| {
        peer.until(b"\r\n\r\n");
        peer.send(answer);
        let mut stream = peer.stream;
        std::io::copy(&mut stream.try_clone().unwrap(), &mut stream).unwrap();
    })
}

#[test]
fn a_tunnel_carries_bytes_both_ways_and_its_ends() {
    for len in [0, 5, 3_000_000] {
        // What comes behind the head, in one piece with it, is the tunnel's.
        let at = echo("HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nearly");
        let job = one(&at, |_| {}, upgrade(bytes(len)));
        assert_eq!((job.outcome, job.status, job.tunnel), (Some(Ok(())), 101, true));
        assert_eq!(job.header("upgrade"), Some("echo"));
        assert!(job.body.starts_with(b"early") && job.body[5..] == bytes(len));
        let job = one(&echo("HTTP/1.1 200 OK\r\n\r\n"), |_| {}, connect(bytes(len)));
        assert_eq!((job.outcome, job.status, job.tunnel), (Some(Ok(())), 200, true));
        assert!(job.body == bytes(len));
    }
}

#[test]
fn who_is_refused_a_tunnel_has_an_answer_and_keeps_the_connection() {
    let (tell, told) = std::sync::mpsc::channel();
    let at = hand(move |mut peer| {
        for _ in 0..3 {
            let head = peer.until(b"\r\n\r\n");
            tell.send(head).unwrap();
            peer.send("HTTP/1.1 403 no\r\nContent-Length: 2\r\n\r\nno");
        }
        tell.send(peer.rest()).unwrap();
    });
    let jobs = run(&at, |_| {}, vec![upgrade(bytes(9)), connect(bytes(9)), Job::get("/")]);
    for job in &jobs {
        assert_eq!((job.text(), job.tunnel), ((403, "no"), false));
    }
    for begin in ["GET / ", "CONNECT a:80 ", "GET / "] {
        // Not a byte of what was for the tunnel came before the next head.
        let head = told.recv().unwrap();
        assert!(head.starts_with(begin), "{head}");
    }
    assert_eq!(told.recv().unwrap(), "");
}

#[test]
fn a_tunnel_that_breaks_is_a_failure() {
    let at = hand(|mut peer| {
        peer.until(b"\r\n\r\n");
        peer.send(SWITCH);
        peer.until(b"reset me");
        // Bytes that nobody has read make the close a reset: time for them to come.
        std::thread::sleep(Duration::from_millis(300));
    });
    let job = one(&at, |_| {}, upgrade([b"reset me".to_vec(), bytes(20_000_000)].concat()));
    assert_eq!((job.status, job.failure()), (101, Failure::Closed));
}

#[test]
fn the_silence_of_a_tunnel_is_its_own() {
    let at = hand(|mut peer| {
        peer.until(b"\r\n\r\n");
        peer.send(SWITCH);
        std::thread::sleep(Duration::from_millis(300));
        peer.send("at last");
        let _ = peer.cut();
    });
    let job = one(&at, |c| c.timeout = Duration::from_millis(50), upgrade(Vec::new()));
    assert_eq!((job.outcome, &job.body[..]), (Some(Ok(())), &b"at last"[..]));
}

#[test]
fn interim_responses_are_shown_in_order() {
    let at = hand(|mut peer| {
        while peer.heard() {
            peer.send("HTTP/1.1 102 x\r\n\r\n");
            std::thread::sleep(Duration::from_millis(20));
            peer.send("HTTP/1.1 103 x\r\nLink: </a>\r\n\r\nHTTP/1.1 103 x\r\n\r\n");
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
        }
    });
    for job in run(&at, |_| {}, vec![Job::get("/"), Job::get("/")]) {
        assert_eq!((job.text(), &job.interim[..]), ((200, "hi"), &[102, 103, 103][..]));
    }
    let long = hand(|mut peer| {
        assert!(peer.heard());
        let link = format!("HTTP/1.1 103 x\r\nLink: {}\r\n\r\n", "l".repeat(7_000));
        while peer.push(link.as_bytes()) {}
    });
    assert_eq!(one(&long, |_| {}, Job::get("/")).failure(), Failure::Unexpected(103));
}

#[test]
fn what_was_taken_within_the_limits_can_be_looked_at() {
    let link = "l".repeat(50_000);
    let at = hand(move |mut peer| {
        assert!(peer.heard());
        peer.send(format!("HTTP/1.1 103 x\nLink: {link}\n\n"));
        peer.send(format!("HTTP/1.1  200 OK\nX: {link}\nContent-Length: 2\n\nhi"));
    });
    let set = |c: &mut Config| {
        c.limits.head_bytes = 100_000;
        (c.limits.lenient.bare_lf, c.limits.lenient.white_space) = (true, true);
    };
    let job = one(&at, set, Job::get("/"));
    assert_eq!((job.text(), &job.interim[..]), ((200, "hi"), &[103][..]));
    assert_eq!(job.header("x").map(str::len), Some(50_000));
}

/// A body that waits to be asked for.
fn expecting(chunked: bool) -> Job {
    let headers = vec![("Expect".to_owned(), "100-continue".to_owned())];
    Job { headers, ..Job::put("/", bytes(200_000), chunked) }
}

#[test]
fn a_body_waits_to_be_asked_for() {
    const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
    let at = hand(|mut peer| {
        loop {
            if !peer.heard() {
                return;
            }
            peer.silent(100);
            peer.send("HTTP/1.1 100 Continue\r\n\r\n");
            let mut left = 200_000;
            while left > 0 {
                left -= peer.read(&mut vec![0; left]);
            }
            peer.send(OK);
        }
    });
    let jobs =
        run(&at, |c| c.expect = Duration::from_secs(30), vec![expecting(false), expecting(false)]);
    for job in jobs {
        assert_eq!((job.text(), &job.interim[..]), ((200, "hi"), &[100][..]));
    }
    // A server that does not know of it is asked for long enough.
    let deaf = hand(|mut peer| {
        peer.until(b"\r\n\r\n");
        peer.until(b"\r\n0\r\n\r\n");
        peer.send(OK);
        let _ = peer.cut();
    });
    let began = Instant::now();
    let job = one(&deaf, |c| c.expect = Duration::from_millis(150), expecting(true));
    assert_eq!(job.text(), (200, "hi"));
    assert!(began.elapsed() >= Duration::from_millis(150));
}

#[test]
fn a_body_that_nobody_wants_is_not_sent() {
    let (tell, told) = std::sync::mpsc::channel();
    let at = hand(move |mut peer| {
        peer.until(b"\r\n\r\n");
        peer.send("HTTP/1.1 417 no\r\nContent-Length: 2\r\n\r\nno");
        tell.send(peer.cut()).unwrap();
    });
    for job in run(&at, |_| {}, vec![expecting(false), expecting(true)]) {
        assert_eq!(job.text(), (417, "no"));
        // The head announced a body: the connection ends, and orderly.
        assert_eq!(told.recv().unwrap(), Ok(Vec::new()));
    }
}

const NODE: &str = r#"
const http = require('http');
const server = http.createServer((req, res) => { res.writeProcessing();
  res.writeEarlyHints({link: '</a.css>; rel=preload'}); res.end('plain'); });
const echo = (head) => (req, socket, early) => {
  socket.write(head); socket.write(early); socket.pipe(socket); };
server.on('upgrade', echo('HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n'));
server.on('connect', echo('HTTP/1.1 200 OK\r\n\r\n'));
server.on('checkContinue', (req, res) => { res.writeContinue();
  let n = 0; req.on('data', d => n += d.length).on('end', () => res.end('' + n)); });
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
setTimeout(() => process.exit(0), 60000);
"#;

#[test]
fn node_serves_tunnels() {
    let Some((mut node, at)) = peer::node(NODE) else {
        return println!("skipped: there is no node here");
    };
    let at = Address::Ip(at);
    let mut jobs = vec![upgrade(bytes(1_000_000)), connect(bytes(1_000_000)), Job::get("/")];
    jobs.extend([expecting(true), expecting(false)]);
    let jobs = run(&at, |_| {}, jobs);
    node.kill().unwrap();
    node.wait().unwrap();
    for (job, status) in jobs.iter().zip([101, 200]) {
        assert_eq!((job.outcome, job.status, job.tunnel), (Some(Ok(())), status, true));
        assert!(job.body == bytes(1_000_000));
    }
    assert_eq!((jobs[2].text(), &jobs[2].interim[..]), ((200, "plain"), &[102, 103][..]));
    for job in &jobs[3..] {
        assert_eq!((job.text(), &job.interim[..]), ((200, "200000"), &[100][..]));
    }
}

/// The protocol behind an upgrade or a `CONNECT`: what comes goes back.
struct Echo;

impl Protocol for Echo {
    type Conn = ();

    fn on_data(&mut self, _: &mut (), io: &mut Io<'_>, bytes: &mut [u8]) -> usize {
        let _ = io.out.write(bytes);
        bytes.len()
    }
}

impl Upgrade for Echo {
    fn offer(&mut self, request: &Request<'_>, io: &mut Io<'_>) -> Offer<()> {
        let head = match request.method {
            Method::Connect => "HTTP/1.1 200 OK\r\n\r\n",
            _ if request.framing().is_ok_and(|framing| framing.upgrade) => SWITCH,
            _ => return Offer::Pass,
        };
        let _ = io.out.write(head.as_bytes());
        Offer::Accept(())
    }
}

/// Tunnels beside plain exchanges, in one loop with their server: the jobs, and a hash of the run.
fn world(seed: u64, faults: Faults, len: usize) -> (Vec<Job>, u64) {
    let mut lp = Loop::new(Sim::with_faults(seed, faults));
    let at = "127.0.0.1:80".parse().unwrap();
    let (server, at) = listen(&mut lp, at, Http::with_upgrade(Site::default(), Echo)).unwrap();
    let asker = start(&mut lp, |_| {});
    for n in 0..6 {
        let body = bytes(len * n);
        let job = match n % 3 {
            0 => upgrade(body),
            1 => connect(body),
            _ => Job::get("/hello"),
        };
        ask(&mut lp, asker, &Address::Ip(at), job);
    }
    run_to_rest(&mut lp, 400_000).unwrap();
    shutdown(&mut lp.env, server);
    run_to_idle(&mut lp, 400_000).unwrap();
    assert_eq!(lp.world.open(), 0, "sockets are left");
    let hash = lp.world.hash();
    (std::mem::take(&mut lp.get(asker).jobs), hash)
}

#[test]
fn tunnels_in_the_simulated_world() {
    let test = cargo_test("loopwork-http --test client_tunnels", "tunnels_in_the_simulated_world");
    check(200, test, |seed| {
        let len = 1 + seed as usize * 37 % 30_000;
        let (jobs, rough) = world(seed, Faults::rough(), len);
        for (n, job) in jobs.iter().enumerate() {
            assert_eq!(job.outcome, Some(Ok(())), "{n}");
            match n % 3 {
                2 => assert_eq!(job.text(), (200, "hello")),
                _ => assert!(job.tunnel && job.body == bytes(len * n), "{n}"),
            }
        }
        // Resets come: a tunnel has all of its bytes, or is a failure.
        let (jobs, hostile) = world(seed, Faults::hostile(), len);
        for (n, job) in jobs.iter().enumerate().filter(|(n, _)| n % 3 != 2) {
            let (body, outcome) = (bytes(len * n), job.outcome.unwrap());
            assert!(body.starts_with(&job.body), "{n}");
            assert!(outcome.is_err() || job.body == body, "{n}");
        }
        rough ^ hostile.rotate_left(1)
    });
}
