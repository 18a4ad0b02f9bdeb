//! What the tests over real sockets share: a server whose behaviour is chosen by the path, in a
//! thread of its own, and a peer that speaks raw bytes and waits a bounded time.
#![allow(dead_code, reason = "each test file uses its part")]

use loopwork_http::core::{Body, Headers, Malformed, Method, Request};
use loopwork_http::tcp::reactor::{Env, Handle, Id, Loop, Mailbox, Os};
use loopwork_http::tcp::{Close, Flow, Host, listen, shutdown};
use loopwork_http::{Answer, App, Http, Late, Reply, Upgrade};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// No wait of a test is longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// What the server's application was told.
#[derive(Default, Debug)]
pub(crate) struct Log {
    /// Paths of the requests, in order.
    pub(crate) begun: Vec<String>,
    pub(crate) done: Vec<(String, Option<Close>)>,
    pub(crate) malformed: Vec<Malformed>,
    /// Calls of `on_body_end`, with what the body was.
    pub(crate) bodies: Vec<(String, Vec<u8>)>,
    pub(crate) trailers: Vec<(String, String)>,
    pub(crate) late: Vec<Late>,
    /// Who asked, request by request.
    pub(crate) peers: Vec<Option<SocketAddr>>,
    /// Bytes that `/big` has written.
    pub(crate) written: u64,
}

/// Behaves as the path says.
#[derive(Default)]
pub(crate) struct Site {
    pub(crate) log: Arc<Mutex<Log>>,
}

/// What is remembered of a request.
#[derive(Default)]
pub(crate) struct Visit {
    path: String,
    number: u64,
    body: Vec<u8>,
    /// `on_body_end` came, and must not come again.
    ended: bool,
    due: bool,
}

pub(crate) const STEP: usize = 10_000;

fn wake_in(env: &mut Env, id: Id, ms: u64) {
    env.after(Duration::from_millis(ms), move |env| env.wake(id));
}

impl Site {
    fn log<R>(&self, f: impl FnOnce(&mut Log) -> R) -> R {
        f(&mut self.log.lock().unwrap())
    }

    /// As much of `/big` as goes.
    fn fill(&mut self, x: &mut Visit, reply: &mut Reply<'_>) {
        while x.number > 0 && reply.body.flow() == Flow::Open {
            let n = x.number.min(STEP as u64);
            let _ = reply.body.write(&[b'x'; STEP][..n as usize]);
            x.number -= n;
            self.log(|log| log.written += n);
        }
        if x.number == 0 && !reply.body.done() {
            reply.body.finish();
        }
    }
}

impl App for Site {
    type Exchange = Visit;

    fn on_request(&mut self, r: &Request<'_>, mut reply: Reply<'_>) -> Answer<Visit> {
        let path = r.path().to_owned();
        self.log(|log| {
            log.begun.push(path.clone());
            log.peers.push(reply.peer());
        });
        let number = r.query().and_then(|q| q.parse().ok()).unwrap_or(0);
        let mut x = Visit { path, number, ..Visit::default() };
        match r.path() {
            // Milliseconds, or few.
            "/late" => wake_in(reply.env, reply.id, if number > 0 { number } else { 50 }),
            "/much-later" => wake_in(reply.env, reply.id, number),
            "/wait" | "/sum" | "/early" | "/trailers" => {}
            "/never" => {}
            "/deaf" => reply.pause(),
            "/pause" => {
                reply.pause();
                wake_in(reply.env, reply.id, 50);
            }
            "/echo" => reply.head(200, NONE, Body::Chunked).unwrap(),
            "/big" | "/sized" => {
                let body = Body::Length(number);
                let body = if r.path() == "/big" { Body::Chunked } else { body };
                reply.head(200, NONE, body).unwrap();
                self.fill(&mut x, &mut reply);
            }
            "/short" => reply.head(200, NONE, Body::Length(10)).unwrap(),
            "/long" => reply.head(200, NONE, Body::Length(3)).unwrap(),
            "/split" => return reply.send(200, &[("X", "a\r\nX-Evil: 1")], b"no"),
            "/split-head" => {
                assert!(reply.head(200, [("X\n", "a")], Body::None).is_err());
                assert!(reply.head(200, [("Content-Length", "7")], Body::None).is_err());
                return reply.send(200, &[], b"refused");
            }
            "/hints" => {
                assert!(reply.interim(200, &[]).is_err());
                reply.interim(103, &[("Link", "</a.css>; rel=preload")]).unwrap();
            }
            "/empty" => {
                reply.head(200, NONE, Body::None).unwrap();
            }
            "/unchanged" => reply.head(304, NONE, Body::Length(7)).unwrap(),
            "/close" => {
                reply.close();
                return reply.send(200, &[], b"bye");
            }
            "/blob" => return reply.send(200, &[], &vec![b'x'; number as usize]),
            "/invalid-status" => return reply.send(99, &[], b""),
            p if p.starts_with("/status/") => {
                return reply.send(p[8..].parse().unwrap(), &[], b"body");
            }
            _ => return reply.send(200, &[], b"hello"),
        }
        if matches!(r.path(), "/short" | "/long" | "/unchanged") {
            let _ = reply.body.write(b"12345");
            reply.body.finish();
        }
        reply.later(x)
    }

    fn on_body(&mut self, x: &mut Visit, reply: &mut Reply<'_>, bytes: &[u8]) -> usize {
        assert!(!x.ended && !bytes.is_empty());
        match &x.path[..] {
            "/echo" => {
                if reply.body.write(bytes) == Flow::Full {
                    reply.pause();
                }
            }
            "/early" if !reply.body.started() => reply.answer(413, &[], b"too much"),
            "/pause" => {
                // Three bytes at a time, with a pause behind each.
                let n = bytes.len().min(3);
                x.body.extend_from_slice(&bytes[..n]);
                reply.pause();
                wake_in(reply.env, reply.id, 1);
                return n;
            }
            _ => x.body.extend_from_slice(bytes),
        }
        bytes.len()
    }

    fn on_body_end(&mut self, x: &mut Visit, reply: &mut Reply<'_>, trailers: &Headers<'_>) {
        assert!(!std::mem::replace(&mut x.ended, true), "the end comes once");
        assert!(reply.uploaded());
        self.log(|log| {
            log.bodies.push((x.path.clone(), x.body.clone()));
            for (name, value) in trailers.iter() {
                log.trailers.push((name.to_owned(), String::from_utf8_lossy(value).into_owned()));
            }
        });
        match &x.path[..] {
            "/echo" => reply.body.finish(),
            "/hints" | "/sum" | "/pause" => {
                let text = format!("{} bytes", x.body.len());
                reply.answer(200, &[], text.as_bytes());
            }
            "/trailers" => {
                reply.head(200, [("Trailer", "X-Sum")], Body::Chunked).unwrap();
                let _ = reply.body.write(b"data");
                assert!(reply.body.finish_with([("Content-Length", "1")]).is_err());
                reply.body.finish_with([("X-Sum", "7")]).unwrap();
            }
            _ => {}
        }
    }

    fn on_more(&mut self, x: &mut Visit, reply: &mut Reply<'_>) {
        match &x.path[..] {
            "/late" => reply.answer(200, &[], b"at last"),
            "/much-later" => {
                if !reply.body.started() {
                    x.number = 100_000;
                    reply.head(200, NONE, Body::Length(x.number)).unwrap();
                }
                self.fill(x, reply);
            }
            "/big" | "/sized" => self.fill(x, reply),
            "/echo" | "/pause" => reply.resume(),
            _ => {}
        }
    }

    fn on_done(&mut self, x: Visit, _: &mut Env, cut: Option<Close>) {
        self.log(|log| log.done.push((x.path, cut)));
    }

    fn on_malformed(&mut self, _: &mut Env, _: Id, why: Malformed) {
        self.log(|log| log.malformed.push(why));
    }

    fn on_late(&mut self, _: &mut Env, _: Id, with: Late) {
        self.log(|log| log.late.push(with));
    }

    fn understands(&self, method: Method<'_>) -> bool {
        !matches!(method, Method::Connect | Method::Trace | Method::Other("BREW"))
    }
}

const NONE: [(&str, &str); 0] = [];

/// A server in its thread. Dropped, it stops; its thread's panic is the test's.
pub(crate) struct Server {
    pub(crate) at: SocketAddr,
    pub(crate) log: Arc<Mutex<Log>>,
    mailbox: Mailbox,
    closing: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// A [`Site`] as `set` sets it up.
    pub(crate) fn site(set: impl FnOnce(&mut Http<Site>) + Send + 'static) -> Server {
        Server::run(move |_, log| {
            let mut http = Http::new(Site { log });
            set(&mut http);
            http
        })
    }

    /// Whatever `make` makes, in a loop that runs in a thread.
    pub(crate) fn run<A: App, U: Upgrade>(
        make: impl FnOnce(&mut Loop<Os>, Arc<Mutex<Log>>) -> Http<A, U> + Send + 'static,
    ) -> Server {
        let (log, closing) = (Arc::<Mutex<Log>>::default(), Arc::new(AtomicBool::new(false)));
        let (tell, told) = mpsc::channel();
        let (logged, close) = (log.clone(), closing.clone());
        let thread = std::thread::spawn(move || {
            let mut lp = Loop::new(Os::new().unwrap());
            let http = make(&mut lp, logged);
            let (handle, at) = listen(&mut lp, "127.0.0.1:0".parse().unwrap(), http).unwrap();
            tell.send((at, lp.mailbox().unwrap())).unwrap();
            turn(&mut lp, handle, &close);
        });
        let (at, mailbox) = told.recv_timeout(PATIENCE).unwrap();
        Server { at, log, mailbox, closing, thread: Some(thread) }
    }

    /// Asks it to shut down.
    pub(crate) fn shutdown(&self) {
        self.closing.store(true, Ordering::SeqCst);
    }

    /// It has come to its end by itself, or the test fails.
    pub(crate) fn join(mut self) {
        let thread = self.thread.take().unwrap();
        let until = Instant::now() + PATIENCE;
        while !thread.is_finished() {
            assert!(Instant::now() < until, "the server goes on");
            std::thread::sleep(Duration::from_millis(2));
        }
        thread.join().unwrap();
    }

    pub(crate) fn peer(&self) -> Peer {
        Peer::new(self.at)
    }

    /// Sends all, and reads to the end of the connection.
    pub(crate) fn exchange(&self, bytes: &[u8]) -> String {
        let mut peer = self.peer();
        peer.send(bytes);
        peer.rest()
    }

    /// Waits until the log is as `ready` says.
    pub(crate) fn until(&self, what: &str, ready: impl Fn(&Log) -> bool) {
        let until = Instant::now() + PATIENCE;
        while !ready(&self.log.lock().unwrap()) {
            assert!(Instant::now() < until, "{what}: {:?}", self.log.lock().unwrap());
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

fn turn<P: loopwork_http::tcp::Protocol>(
    lp: &mut Loop<Os>,
    handle: Handle<Host<P>>,
    close: &AtomicBool,
) {
    let mut closed = false;
    while lp.env.calls.alive() && !lp.env.calls.stopping() {
        if close.load(Ordering::SeqCst) && !std::mem::replace(&mut closed, true) {
            shutdown(&mut lp.env, handle);
        }
        lp.turn(Some(Duration::from_millis(5))).unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.mailbox.stop();
        if let Some(thread) = self.thread.take()
            && let Err(panic) = thread.join()
            && !std::thread::panicking()
        {
            std::panic::resume_unwind(panic);
        }
    }
}

/// A response as a naive reader sees it.
#[derive(Debug, PartialEq)]
pub(crate) struct Got {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Got {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.split("\r\n").filter_map(|line| line.split_once(": "));
        lines.find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v)
    }

    pub(crate) fn text(&self) -> (u16, &str) {
        (self.status, std::str::from_utf8(&self.body).unwrap())
    }
}

/// The other end: raw bytes, bounded waits.
pub(crate) struct Peer {
    pub(crate) stream: TcpStream,
    buf: Vec<u8>,
}

impl Peer {
    pub(crate) fn new(at: SocketAddr) -> Peer {
        Peer::of(TcpStream::connect_timeout(&at, PATIENCE).unwrap())
    }

    pub(crate) fn of(stream: TcpStream) -> Peer {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Peer { stream, buf: Vec::new() }
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// Sends as much as the server takes: it may have closed.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    pub(crate) fn get(&mut self, path: &str) -> Got {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        self.response(false)
    }

    pub(crate) fn end(&mut self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// Reads more; false at the end.
    fn more(&mut self) -> bool {
        let mut piece = [0; 65536];
        let n = self.stream.read(&mut piece).unwrap();
        self.buf.extend_from_slice(&piece[..n]);
        n > 0
    }

    fn take(&mut self, n: usize) -> Vec<u8> {
        while self.buf.len() < n {
            assert!(self.more(), "ended after {:?}", String::from_utf8_lossy(&self.buf));
        }
        self.buf.drain(..n).collect()
    }

    pub(crate) fn until(&mut self, end: &[u8]) -> String {
        loop {
            if let Some(at) = self.buf.windows(end.len()).position(|w| w == end) {
                return String::from_utf8(self.take(at + end.len())).unwrap();
            }
            assert!(self.more(), "ended after {:?}", String::from_utf8_lossy(&self.buf));
        }
    }

    /// Waits for a head and takes it; false when the connection ends first.
    pub(crate) fn heard(&mut self) -> bool {
        let mut piece = [0; 65536];
        loop {
            if let Some(at) = self.buf.windows(4).position(|w| w == b"\r\n\r\n") {
                self.buf.drain(..at + 4);
                return true;
            }
            match self.stream.read(&mut piece) {
                Ok(n) if n > 0 => self.buf.extend_from_slice(&piece[..n]),
                _ => return false,
            }
        }
    }

    /// Some bytes, at least one.
    pub(crate) fn read(&mut self, into: &mut [u8]) -> usize {
        if !self.buf.is_empty() {
            let n = self.buf.len().min(into.len());
            into[..n].copy_from_slice(&self.buf[..n]);
            self.buf.drain(..n);
            return n;
        }
        let n = self.stream.read(into).unwrap();
        assert!(n > 0, "ended");
        n
    }

    /// One response; `head`: it is the answer to HEAD.
    pub(crate) fn response(&mut self, head: bool) -> Got {
        let text = self.until(b"\r\n\r\n");
        let status = text[9..12].parse().unwrap();
        let mut got = Got { status, head: text, body: Vec::new() };
        if head || status < 200 || matches!(status, 204 | 304) {
            return got;
        }
        if let Some(n) = got.header("content-length") {
            got.body = self.take(n.parse().unwrap());
        } else if got.header("transfer-encoding").is_some() {
            loop {
                let line = self.until(b"\r\n");
                let n = usize::from_str_radix(line.trim_end(), 16).unwrap();
                if n == 0 {
                    break got.head.push_str(&self.trailers());
                }
                got.body.extend(self.take(n));
                assert_eq!(self.take(2), b"\r\n");
            }
        } else {
            while self.more() {}
            got.body = std::mem::take(&mut self.buf);
        }
        got
    }

    fn trailers(&mut self) -> String {
        let mut text = String::new();
        loop {
            let line = self.until(b"\r\n");
            if line == "\r\n" {
                return text;
            }
            text.push_str(&line);
        }
    }

    /// Everything to the end of the connection, which must come in order, without a reset.
    pub(crate) fn rest(&mut self) -> String {
        while self.more() {}
        String::from_utf8_lossy(&std::mem::take(&mut self.buf)).into_owned()
    }

    /// Reads to the end, or to the reset; says which.
    pub(crate) fn cut(&mut self) -> Result<Vec<u8>, ErrorKind> {
        let mut piece = [0; 65536];
        loop {
            match self.stream.read(&mut piece) {
                Ok(0) => return Ok(std::mem::take(&mut self.buf)),
                Ok(n) => self.buf.extend_from_slice(&piece[..n]),
                Err(e) => return Err(e.kind()),
            }
        }
    }

    /// Nothing comes for this long.
    pub(crate) fn silent(&mut self, ms: u64) {
        self.stream.set_read_timeout(Some(Duration::from_millis(ms))).unwrap();
        let mut byte = [0];
        let kind = self.stream.read(&mut byte).map_err(|e| e.kind());
        assert!(matches!(kind, Err(ErrorKind::WouldBlock | ErrorKind::TimedOut)), "{kind:?}");
        assert!(self.buf.is_empty(), "{:?}", String::from_utf8_lossy(&self.buf));
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
    }
}

/// Node with this script, which says its port first; `None` where there is no Node.
pub(crate) fn node(script: &str) -> Option<(Child, SocketAddr)> {
    let mut command = Command::new("node");
    let mut node = command.args(["-e", script]).stdout(Stdio::piped()).spawn().ok()?;
    let mut line = String::new();
    BufReader::new(node.stdout.take().unwrap()).read_line(&mut line).unwrap();
    Some((node, format!("127.0.0.1:{}", line.trim()).parse().unwrap()))
}
