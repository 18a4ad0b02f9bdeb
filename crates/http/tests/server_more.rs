//! The server over real sockets: whom it believes of the PROXY protocol, how many requests a
//! connection has, tunnels, and answers that come from elsewhere.

mod peer;

use loopwork_http::core::{Method, Request};
use loopwork_http::tcp::reactor::{Env, Mailbox};
use loopwork_http::tcp::{Close, Io, Protocol};
use loopwork_http::{Answer, App, Desk, Due, Http, Offer, Reply, Upgrade};
use peer::{PATIENCE, Server, Site};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const GET: &str = "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n";

/// A server that believes these addresses.
fn trusting(rule: &'static str) -> Server {
    Server::site(move |http: &mut Http<Site>| {
        http.config.proxies.add(rule.parse().unwrap());
    })
}

#[test]
fn a_trusted_proxy_says_for_whom_it_comes() {
    let server = trusting("127.0.0.0/8");
    let v1 = b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n".to_vec();
    let mut v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x24".to_vec();
    v2.extend([0; 15]);
    v2.push(7);
    v2.extend([0; 16]);
    v2.extend([0, 80, 0, 90]);
    let unknown = b"PROXY UNKNOWN\r\n".to_vec();
    for header in [&v1, &v2, &unknown] {
        // In one piece with two requests, and byte by byte.
        let mut peer = server.peer();
        let all = [header.as_slice(), GET.as_bytes(), GET.as_bytes()].concat();
        peer.send(&all);
        assert_eq!(peer.response(false).text(), (200, "hello"));
        assert_eq!(peer.response(false).text(), (200, "hello"));
        let mut peer = server.peer();
        for byte in &all[..header.len() + GET.len()] {
            peer.send([*byte]);
        }
        assert_eq!(peer.response(false).text(), (200, "hello"));
    }
    let log = server.log.lock().unwrap();
    let said: Vec<String> = log.peers.iter().map(|at| at.unwrap().to_string()).collect();
    assert_eq!(said[..3], ["192.0.2.1:56324", "192.0.2.1:56324", "192.0.2.1:56324"]);
    assert_eq!(said[3..6], ["[::7]:80", "[::7]:80", "[::7]:80"]);
    // Of one that does not know, it is the proxy itself.
    assert!(said[6..].iter().all(|at| at.starts_with("127.0.0.1:")), "{said:?}");
}

#[test]
fn who_should_say_it_and_does_not_is_cut_off() {
    let server = trusting("127.0.0.1");
    for wrong in [GET, "PROXY TCP4 1.2.3.4 5.6.7.8 1 99999\r\n", "PROXY TCP4 a\r\n", "\r\n\r\nGET"]
    {
        let mut peer = server.peer();
        peer.send(wrong.to_owned() + GET);
        assert!(peer.cut().map_or(true, |got| got.is_empty()), "{wrong:?} was answered");
    }
    let log = server.log.lock().unwrap();
    assert_eq!((log.begun.len(), log.malformed.len()), (0, 0));
}

#[test]
fn nobody_else_is_believed() {
    for server in [Server::site(|_| {}), trusting("192.0.2.0/24")] {
        let mut peer = server.peer();
        peer.send("PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n".to_owned() + GET);
        assert_eq!(peer.response(false).status, 400);
        assert_eq!(peer.rest(), "");
        let mut peer = server.peer();
        assert_eq!(peer.get("/hello").text(), (200, "hello"));
        let from = peer.stream.local_addr().unwrap();
        assert_eq!(server.log.lock().unwrap().peers, [Some(from)]);
        // The header comes once: behind it, too, it is no request.
        let mut peer = server.peer();
        peer.send(GET.to_owned() + "PROXY UNKNOWN\r\n");
        assert_eq!(peer.response(false).text(), (200, "hello"));
        assert_eq!(peer.response(false).status, 400);
    }
}

#[test]
fn the_last_of_so_many_requests_is_the_last() {
    let server = Server::site(|http| http.config.requests = 3);
    let mut peer = server.peer();
    for n in 1..=3 {
        let got = peer.get("/hello");
        let said = (n == 3).then_some("close");
        assert_eq!((got.text(), got.header("connection")), ((200, "hello"), said), "{n}");
    }
    assert_eq!(peer.rest(), "");
    // Pipelined, and answered later: what is behind the last is not served.
    let mut peer = server.peer();
    peer.send("GET /late HTTP/1.1\r\nHost: a\r\n\r\n".repeat(5));
    for n in 1..=3 {
        let got = peer.response(false);
        let said = (n == 3).then_some("close");
        assert_eq!((got.text(), got.header("connection")), ((200, "at last"), said), "{n}");
    }
    assert_eq!(peer.rest(), "");
    assert_eq!(server.log.lock().unwrap().begun.len(), 6);
}

/// Opens a tunnel to itself: what comes is sent back, upper-case.
struct Tunnel;

impl Protocol for Tunnel {
    type Conn = ();
    fn on_data(&mut self, _: &mut (), io: &mut Io<'_>, bytes: &mut [u8]) -> usize {
        bytes.make_ascii_uppercase();
        let _ = io.write(bytes);
        bytes.len()
    }
}

impl Upgrade for Tunnel {
    fn offer(&mut self, request: &Request<'_>, io: &mut Io<'_>) -> Offer<()> {
        match (request.method, request.target) {
            (Method::Connect, "a.example:443") => {
                // A tunnel's head has no length (RFC 9110 §9.3.6).
                let _ = io.write(b"HTTP/1.1 200 OK\r\n\r\n");
                Offer::Accept(())
            }
            (Method::Connect, _) => Offer::Refuse(403, &[], "not there\n"),
            _ => Offer::Pass,
        }
    }
}

#[test]
fn a_tunnel_takes_the_early_bytes_along() {
    let server = Server::run(|_, log| Http::with_upgrade(Site { log }, Tunnel));
    let connect = |to: &str| format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n");
    // Behind a request, with bytes that look like one behind it, whole and byte by byte.
    let all = GET.to_owned() + &connect("a.example:443") + "get / http/1.1\r\n\r\n";
    for step in [all.len(), 1] {
        let mut peer = server.peer();
        for piece in all.as_bytes().chunks(step) {
            peer.send(piece);
        }
        assert_eq!(peer.response(false).text(), (200, "hello"));
        assert_eq!(peer.until(b"\r\n\r\n"), "HTTP/1.1 200 OK\r\n\r\n");
        assert_eq!(peer.until(b"\r\n\r\n"), "GET / HTTP/1.1\r\n\r\n");
        peer.send("more");
        assert_eq!(peer.until(b"E"), "MORE");
        peer.end();
        assert_eq!(peer.rest(), "");
    }
    let mut peer = server.peer();
    peer.send(connect("b.example:443") + GET);
    assert_eq!(peer.response(false).text(), (403, "not there\n"));
    assert_eq!(peer.rest(), "");
    assert_eq!(server.log.lock().unwrap().begun, ["/hello", "/hello"]);
}

/// What an application that answers over a desk has handed over.
type Orders = Arc<Mutex<Vec<(String, Due)>>>;

/// Hands every request to somebody else.
struct Clerk {
    desk: Desk,
    orders: Orders,
    done: Arc<Mutex<Vec<Option<Close>>>>,
}

impl App for Clerk {
    type Exchange = ();

    fn on_request(&mut self, request: &Request<'_>, mut reply: Reply<'_>) -> Answer<()> {
        let due = self.desk.due(&mut reply);
        self.orders.lock().unwrap().push((request.path().to_owned(), due));
        if request.path() == "/changed-my-mind" {
            return reply.send(503, &[], b"no time");
        }
        reply.later(())
    }

    fn on_more(&mut self, _: &mut (), reply: &mut Reply<'_>) {
        // Someone else woke it: it is answered here, and the desk's answer comes too late.
        reply.answer(504, &[], b"too slow");
    }

    fn on_done(&mut self, _: (), _: &mut Env, cut: Option<Close>) {
        self.done.lock().unwrap().push(cut);
    }
}

struct Office {
    server: Server,
    desk: Desk,
    orders: Orders,
    done: Arc<Mutex<Vec<Option<Close>>>>,
    mailbox: Mailbox,
}

fn office() -> Office {
    let (orders, done) = (Orders::default(), Arc::<Mutex<Vec<_>>>::default());
    let (theirs, ends) = (orders.clone(), done.clone());
    let (tell, told) = std::sync::mpsc::channel();
    let server = Server::run(move |lp, _| {
        let mailbox = lp.mailbox().unwrap();
        let desk = Desk::new(mailbox.clone());
        tell.send((desk.clone(), mailbox)).unwrap();
        let mut http = Http::new(Clerk { desk: desk.clone(), orders: theirs, done: ends });
        http.desk = Some(desk);
        http
    });
    let (desk, mailbox) = told.recv_timeout(PATIENCE).unwrap();
    Office { server, desk, orders, done, mailbox }
}

impl Office {
    /// The next request that was handed over.
    fn order(&self) -> (String, Due) {
        let until = Instant::now() + PATIENCE;
        loop {
            let order = self.orders.lock().unwrap().pop();
            if let Some(order) = order {
                return order;
            }
            assert!(Instant::now() < until, "no order");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn settled(&self) {
        let until = Instant::now() + PATIENCE;
        while self.desk.waiting() > 0 {
            assert!(Instant::now() < until, "an order is left");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

#[test]
fn answers_from_threads_go_to_their_requests() {
    let office = office();
    let mut peers: Vec<_> = (0..8).map(|_| office.server.peer()).collect();
    // Each pipelines four; they are answered by threads, in whatever order.
    for (n, peer) in peers.iter_mut().enumerate() {
        let all: String = (0..4).map(|m| get(&format!("/{n}/{m}"))).collect();
        peer.send(all);
    }
    let mut threads = Vec::new();
    for n in 0..32 {
        let ((path, due), desk) = (office.order(), office.desk.clone());
        threads.push(std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(n * 7 % 5));
            let said = [("X-Path", &path[..])];
            assert!(desk.answer(due, 200, &said, path.as_bytes()));
            assert!(!desk.answer(due, 200, &said, b"twice"));
        }));
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    for (n, peer) in peers.iter_mut().enumerate() {
        for m in 0..4 {
            let (path, got) = (format!("/{n}/{m}"), peer.response(false));
            assert_eq!((got.text(), got.header("x-path")), ((200, &path[..]), Some(&path[..])));
        }
    }
    assert_eq!(office.desk.waiting(), 0);
    assert_eq!(*office.done.lock().unwrap(), [None; 32]);
}

#[test]
fn an_answer_that_comes_too_late_meets_nobody() {
    let office = office();
    let mut peer = office.server.peer();
    peer.send(get("/changed-my-mind"));
    assert_eq!(peer.response(false).text(), (503, "no time"));
    let (_, gone) = office.order();
    peer.send(get("/1"));
    let (_, first) = office.order();
    assert!(!office.desk.answer(gone, 200, &[], b"late"), "it was answered");
    // Somebody else's wake answers it; the next request is not given this one's answer.
    office.mailbox.wake(first.connection());
    assert_eq!(peer.response(false).text(), (504, "too slow"));
    peer.send(get("/2"));
    let (_, second) = office.order();
    assert!(!office.desk.answer(first, 200, &[], b"late"));
    assert!(office.desk.answer(second, 200, &[], b"in time"));
    assert_eq!(peer.response(false).text(), (200, "in time"));
    // Who is gone waits for nothing. What it has not read makes its end a reset.
    peer.send(get("/changed-my-mind") + &get("/3"));
    let third = loop {
        let (path, due) = office.order();
        if path == "/3" {
            break due;
        }
    };
    drop(peer);
    office.settled();
    assert!(!office.desk.answer(third, 200, &[], b"late"));
}

/// A head of so many bytes, the empty line included.
fn head_of(bytes: usize) -> Vec<u8> {
    let mut head = GET.trim_end().to_owned() + "\r\nX: ";
    head += &"x".repeat(bytes - head.len() - 4);
    (head + "\r\n\r\n").into_bytes()
}

/// What a connection keeps by itself, and what it reads at once, are no limits of a head.
#[test]
fn a_head_may_have_the_size_that_its_limit_says() {
    const MOST: usize = 1 << 20;
    let server = Server::site(|http: &mut Http<Site>| http.config.limits.head_bytes = MOST as u32);
    for bytes in [64 << 10, 65 << 10, 128 << 10, 129 << 10, 200_000, MOST - 1, MOST] {
        for piece in [MOST + 100, 65_536, 10_000] {
            let mut peer = server.peer();
            // A request before it and one behind it, so that it lies somewhere in what is read.
            let all = [GET.as_bytes(), &head_of(bytes), GET.as_bytes()].concat();
            all.chunks(piece).for_each(|piece| peer.send(piece));
            for n in 0..3 {
                let got = peer.response(false);
                assert_eq!(got.text(), (200, "hello"), "{n} of {bytes} by {piece}");
            }
        }
    }
}

/// Above it the answer is 431, and it is read, although the client is not done with its head.
#[test]
fn a_head_above_its_limit_is_431_whatever_the_limit() {
    for most in [16 << 10, 64 << 10, 65 << 10, 128 << 10, 129 << 10, 1 << 20] {
        let server =
            Server::site(move |http: &mut Http<Site>| http.config.limits.head_bytes = most as u32);
        for (bytes, piece) in [(1, usize::MAX), (1, 9000), (1 << 20, usize::MAX), (1 << 20, 9000)] {
            let mut peer = server.peer();
            head_of(most + bytes).chunks(piece).for_each(|piece| peer.send(piece));
            let got = peer.response(false);
            assert_eq!(got.status, 431, "{bytes} above {most} by {piece}");
            assert_eq!(peer.rest(), "", "nothing behind it, and no reset");
        }
        let log = server.log.lock().unwrap();
        assert_eq!((log.malformed.len(), log.begun.len()), (4, 0));
    }
}

/// Trailers likewise.
#[test]
fn trailers_may_have_the_size_that_their_limit_says() {
    const MOST: usize = 300_000;
    let server =
        Server::site(|http: &mut Http<Site>| http.config.limits.trailer_bytes = MOST as u32);
    for (bytes, status) in [(MOST, 200), (MOST + 1, 431)] {
        let head = "POST /sum HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n";
        let mut all = head.to_owned() + "X: ";
        all += &"x".repeat(bytes - 7);
        let mut peer = server.peer();
        (all + "\r\n\r\n").as_bytes().chunks(20_000).for_each(|piece| peer.send(piece));
        assert_eq!(peer.response(false).status, status, "{bytes}");
    }
}
