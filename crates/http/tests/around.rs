//! An application around another: it sees what that one has answered, however it did.

mod peer;

use loopwork_http::core::{Body, Headers, Request};
use loopwork_http::tcp::Close;
use loopwork_http::tcp::reactor::Env;
use loopwork_http::{Answer, App, Http, Reply};
use peer::{Server, Site};
use std::fs::File;
use std::ops::Range;
use std::sync::{Arc, Mutex};

type Seen = (String, Option<u16>, u64);

/// Notes the path, the status and the bytes of a body when each answer is over.
struct Around<A> {
    inner: A,
    seen: Arc<Mutex<Vec<Seen>>>,
}

struct Kept<X>(X, Seen);

fn look(seen: &mut Seen, reply: &Reply<'_>) {
    (seen.1, seen.2) = (reply.status(), reply.written());
}

impl<A: App> App for Around<A> {
    type Exchange = Kept<A::Exchange>;

    fn on_request(&mut self, r: &Request<'_>, mut reply: Reply<'_>) -> Answer<Self::Exchange> {
        assert_eq!((reply.status(), reply.written()), (None, 0), "nothing of the answer before");
        let mut seen = Some((r.path().to_owned(), None, 0));
        let answer = self.inner.on_request(r, reply.reborrow());
        look(seen.as_mut().unwrap(), &reply);
        let answer = answer.map(|x| Kept(x, seen.take().unwrap()));
        self.seen.lock().unwrap().extend(seen);
        answer
    }

    fn on_body(&mut self, x: &mut Self::Exchange, reply: &mut Reply<'_>, bytes: &[u8]) -> usize {
        let used = self.inner.on_body(&mut x.0, reply, bytes);
        look(&mut x.1, reply);
        used
    }

    fn on_body_end(&mut self, x: &mut Self::Exchange, reply: &mut Reply<'_>, t: &Headers<'_>) {
        self.inner.on_body_end(&mut x.0, reply, t);
        look(&mut x.1, reply);
    }

    fn on_more(&mut self, x: &mut Self::Exchange, reply: &mut Reply<'_>) {
        self.inner.on_more(&mut x.0, reply);
        look(&mut x.1, reply);
    }

    fn on_done(&mut self, x: Self::Exchange, env: &mut Env, cut: Option<Close>) {
        self.inner.on_done(x.0, env, cut);
        self.seen.lock().unwrap().push(x.1);
    }
}

/// Sends what others hold: shared bytes on `/shared`, a file on all other paths; by a length,
/// or in chunks on `/chunks`.
struct Lender(Arc<File>);

const FILE: u64 = 70_000;

impl App for Lender {
    type Exchange = Range<u64>;

    fn on_request(&mut self, r: &Request<'_>, mut reply: Reply<'_>) -> Answer<Range<u64>> {
        let none: [(&str, &str); 0] = [];
        let chunks = r.path() == "/chunks";
        let body = if chunks { Body::Chunked } else { Body::Length(FILE) };
        reply.head(203, none, body).unwrap();
        let mut left = 0..FILE;
        if r.path() == "/shared" {
            let bytes: Arc<[u8]> = vec![7; FILE as usize].into();
            let _ = reply.body.write_shared(&bytes);
            left = 0..0;
        }
        self.on_more(&mut left, &mut reply);
        reply.later(left)
    }

    fn on_more(&mut self, left: &mut Range<u64>, reply: &mut Reply<'_>) {
        if !left.is_empty() {
            let _ = reply.body.write_file(&self.0, left).unwrap();
        }
        if left.is_empty() && !reply.body.done() {
            reply.body.finish();
        }
    }
}

/// What was seen of these requests, one after the other on one connection.
fn seen_by<A: App + Send>(
    inner: impl FnOnce() -> A + Send + 'static,
    requests: &[&str],
) -> Vec<Seen> {
    let seen = Arc::<Mutex<Vec<Seen>>>::default();
    let shared = seen.clone();
    let server = Server::run(move |_, _| Http::new(Around { inner: inner(), seen: shared }));
    let mut peer = server.peer();
    for request in requests {
        peer.send(request);
        let _ = peer.response(request.starts_with("HEAD"));
    }
    drop(peer);
    let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while seen.lock().unwrap().len() < requests.len() {
        assert!(std::time::Instant::now() < until, "{:?}", seen.lock().unwrap());
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    seen.lock().unwrap().clone()
}

#[test]
fn every_way_to_answer_is_seen() {
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    let table = [
        (get("/hello"), "/hello", 200, 5),
        // As before, by the short way of an answer that is like the last.
        (get("/hello"), "/hello", 200, 5),
        (get("/status/404"), "/status/404", 404, 4),
        (get("/status/204"), "/status/204", 204, 0),
        (get("/status/304"), "/status/304", 304, 0),
        ("HEAD /hello HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), "/hello", 200, 0),
        (get("/late"), "/late", 200, 7),
        (get("/sized?300000"), "/sized", 200, 300_000),
        (get("/big?300000"), "/big", 200, 300_000),
        (get("/blob?1000"), "/blob", 200, 1000),
        (get("/empty"), "/empty", 200, 0),
        (get("/split"), "/split", 500, 0),
        (
            "PUT /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nabcd".to_owned(),
            "/echo",
            200,
            4,
        ),
    ];
    let requests: Vec<&str> = table.iter().map(|(request, ..)| &request[..]).collect();
    let wanted = table.iter().map(|(_, path, status, n)| (path.to_string(), Some(*status), *n));
    let seen = seen_by(Site::default, &requests);
    assert_eq!(seen, wanted.collect::<Vec<Seen>>());
}

#[test]
fn what_is_lent_is_seen() {
    let path = std::env::temp_dir().join(format!("loopwork-around-{}", std::process::id()));
    std::fs::write(&path, vec![7; FILE as usize]).unwrap();
    let file = Arc::new(File::open(&path).unwrap());
    std::fs::remove_file(&path).unwrap();
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    let requests = ["/shared", "/length", "/chunks"].map(get);
    let requests: Vec<&str> = requests.iter().map(|request| &request[..]).collect();
    let seen = seen_by(move || Lender(file), &requests);
    let wanted = ["/shared", "/length", "/chunks"].map(|p| (p.to_owned(), Some(203), FILE));
    assert_eq!(seen, wanted);
}
