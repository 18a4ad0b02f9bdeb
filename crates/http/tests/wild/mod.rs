//! Raw peers and a real server in one loop of a simulated world: what arrives together, and when,
//! is what the test says, and no clock of the machine is asked.
//!
//! Rules of this file: unless told the network is perfect, so that what goes wrong is the peer's
//! doing; answers are read by a naive reader that shares no code with the one under test.
#![allow(dead_code, reason = "each test file uses its part")]

use loopwork_http::core::{Headers, Malformed, Request};
use loopwork_http::tcp::reactor::{Address, Env, Id, Loop};
use loopwork_http::tcp::{self, Close, Io, Protocol};
use loopwork_http::{Answer, App, Http, Reply, Upgrade};
use loopwork_sim::{Faults, Sim, run_to_idle, run_to_rest};
use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

/// Between two pieces: more than the way takes, so that each is read alone.
pub(crate) const GAP: Duration = Duration::from_micros(200);
/// Behind the last piece, before the peer ends its side: an answer takes far less.
pub(crate) const WAIT: Duration = Duration::from_secs(1);
/// Peers at a time: few enough that none of them waits to be accepted.
const TOGETHER: usize = 32;
/// Turns after which a run is called stuck.
const TURNS: u64 = 50_000_000;

pub(crate) fn port(number: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], number))
}

/// What a raw peer does: pieces, each after a wait; then [`WAIT`], then it ends its side.
#[derive(Clone, Default)]
pub(crate) struct Plan {
    pub(crate) pieces: Vec<(Duration, Vec<u8>)>,
    /// It reads nothing.
    pub(crate) deaf: bool,
    /// How long it waits behind the last piece; [`WAIT`] unless told.
    pub(crate) wait: Option<Duration>,
}

impl Plan {
    /// All at once.
    pub(crate) fn whole(bytes: &[u8]) -> Plan {
        Plan::cut(bytes, &[])
    }

    /// In pieces that end at these places.
    pub(crate) fn cut(bytes: &[u8], cuts: &[usize]) -> Plan {
        let (mut pieces, mut from) = (Vec::new(), 0);
        for &to in cuts.iter().chain([&bytes.len()]) {
            pieces.push((if from == 0 { Duration::ZERO } else { GAP }, bytes[from..to].to_vec()));
            from = to;
        }
        Plan { pieces, ..Plan::default() }
    }

    /// A byte at a time.
    pub(crate) fn bytes(bytes: &[u8]) -> Plan {
        Plan::paced(bytes, 1, GAP)
    }

    /// So many bytes at a time.
    pub(crate) fn paced(bytes: &[u8], size: usize, gap: Duration) -> Plan {
        let pieces = bytes.chunks(size).map(|piece| (gap, piece.to_vec())).collect();
        Plan { pieces, ..Plan::default() }
    }
}

/// What a peer saw of the other side.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// Which plan it followed.
    pub(crate) n: usize,
    pub(crate) got: Vec<u8>,
    /// The other side ended first, and in order.
    pub(crate) closed: bool,
    /// When that was, from the peer's first byte on.
    pub(crate) after: Duration,
    /// From its first byte on to the end of the connection.
    pub(crate) lasted: Duration,
    /// Pieces that were sent until the end.
    pub(crate) sent: usize,
    pub(crate) why: Close,
}

impl Seen {
    /// The statuses in order, 100 left out.
    pub(crate) fn statuses(&self) -> Vec<u16> {
        let all = answers(&self.got).unwrap_or_else(|why| panic!("{why}: {}", self.text()));
        all.iter().map(|answer| answer.status).filter(|status| *status != 100).collect()
    }

    pub(crate) fn answers(&self) -> Vec<Got> {
        answers(&self.got).unwrap_or_else(|why| panic!("{why}: {}", self.text()))
    }

    pub(crate) fn text(&self) -> String {
        self.got.escape_ascii().to_string()
    }
}

/// A connection that follows a plan.
pub(crate) struct Follower {
    n: usize,
    plan: Rc<Plan>,
    next: usize,
    /// Where a server waits for a request's head before it begins.
    begun: bool,
    got: Vec<u8>,
    ended: bool,
    closed: bool,
    first: Option<loopwork_http::tcp::reactor::Instant>,
    after: Duration,
}

impl Follower {
    fn new(n: usize, plan: Rc<Plan>, begun: bool) -> Follower {
        Follower {
            n,
            plan,
            next: 0,
            begun,
            got: Vec::new(),
            ended: false,
            closed: false,
            first: None,
            after: Duration::ZERO,
        }
    }

    /// Waits for the next piece, or for what comes behind the last one.
    fn arm(&self, io: &mut Io<'_>) {
        let wait = match self.plan.pieces.get(self.next) {
            Some((wait, _)) => *wait,
            None => self.plan.wait.unwrap_or(WAIT),
        };
        io.set_deadline(Some(io.env.now.after(wait)));
    }

    fn begin(&mut self, io: &mut Io<'_>) {
        self.begun = true;
        self.first = Some(io.env.now);
        // What it hears while it still sends is heard at once.
        io.read_when_full(true);
        if self.plan.deaf {
            io.pause();
        }
        self.arm(io);
    }
}

/// Raw peers: dialed, or, as servers, accepted.
pub(crate) struct Raw {
    seen: Rc<RefCell<Vec<Seen>>>,
    /// What a server does on each connection once it has heard a head.
    serve: Rc<Plan>,
    accepted: usize,
}

impl Protocol for Raw {
    type Conn = Follower;

    fn on_accept(&mut self, _: &mut Env, _: Id, _: &Address) -> Option<Follower> {
        self.accepted += 1;
        Some(Follower::new(self.accepted - 1, self.serve.clone(), false))
    }

    fn on_open(&mut self, c: &mut Follower, io: &mut Io<'_>) {
        if c.begun {
            c.begin(io);
        }
    }

    fn on_data(&mut self, c: &mut Follower, io: &mut Io<'_>, bytes: &mut [u8]) -> usize {
        c.got.extend_from_slice(bytes);
        if !c.begun && c.got.windows(4).any(|w| w == b"\r\n\r\n") {
            c.begin(io);
        }
        bytes.len()
    }

    fn on_timeout(&mut self, c: &mut Follower, io: &mut Io<'_>) {
        let plan = c.plan.clone();
        let Some((_, bytes)) = plan.pieces.get(c.next) else {
            c.ended = true;
            return io.end();
        };
        let _ = io.write(bytes);
        c.next += 1;
        c.arm(io);
    }

    fn on_end(&mut self, c: &mut Follower, io: &mut Io<'_>) {
        c.closed = !c.ended;
        c.after = c.first.map_or(Duration::ZERO, |first| io.env.now.since(first));
        io.end();
    }

    fn on_close(&mut self, c: Follower, _: Id, env: &mut Env, why: Close) {
        let lasted = c.first.map_or(Duration::ZERO, |first| env.now.since(first));
        let Follower { n, got, closed, after, next: sent, .. } = c;
        self.seen.borrow_mut().push(Seen { n, got, closed, after, lasted, sent, why });
    }
}

/// Lets raw peers loose on a server, all in one loop; what each saw, in the order of the plans.
/// In the end no socket is left.
pub(crate) fn play<A: App, U: Upgrade>(http: Http<A, U>, plans: &[Plan]) -> Vec<Seen> {
    play_in(Sim::with_faults(1, Faults::none()), http, plans)
}

/// In this world.
pub(crate) fn play_in<A: App, U: Upgrade>(
    world: Sim,
    http: Http<A, U>,
    plans: &[Plan],
) -> Vec<Seen> {
    let mut lp = Loop::new(world);
    let (server, _) = tcp::listen(&mut lp, port(80), http).unwrap();
    let seen = Rc::<RefCell<Vec<Seen>>>::default();
    let raw = Raw { seen: seen.clone(), serve: Rc::default(), accepted: 0 };
    let raw = tcp::add(&mut lp, |_| raw);
    for (first, some) in plans.chunks(TOGETHER).enumerate() {
        for (n, plan) in some.iter().enumerate() {
            let n = first * TOGETHER + n;
            let follower = Follower::new(n, Rc::new(plan.clone()), true);
            tcp::dial(&mut lp.env, raw, port(80), follower);
        }
        run_to_rest(&mut lp, TURNS).unwrap();
    }
    tcp::shutdown(&mut lp.env, server);
    run_to_idle(&mut lp, TURNS).unwrap();
    assert_eq!(lp.world.open(), 0, "sockets are left");
    drop(lp);
    let mut seen = seen.take();
    seen.sort_by_key(|seen| seen.n);
    assert_eq!(seen.len(), plans.len());
    seen
}

/// One raw peer.
pub(crate) fn play_one<A: App>(http: Http<A>, plan: Plan) -> Seen {
    play(http, &[plan]).remove(0)
}

/// A server that follows a plan on each connection, on port 80 of this loop; what it saw.
pub(crate) fn raw_server(lp: &mut Loop<Sim>, plan: Plan) -> Rc<RefCell<Vec<Seen>>> {
    let seen = Rc::<RefCell<Vec<Seen>>>::default();
    let raw = Raw { seen: seen.clone(), serve: Rc::new(plan), accepted: 0 };
    tcp::listen(lp, port(80), raw).unwrap();
    seen
}

/// What the application was shown.
#[derive(Default, Debug)]
pub(crate) struct Log {
    pub(crate) begun: Vec<String>,
    pub(crate) done: usize,
    pub(crate) cut: usize,
    pub(crate) malformed: Vec<Malformed>,
    pub(crate) bodies: Vec<Vec<u8>>,
    pub(crate) trailers: Vec<(String, String)>,
}

/// Answers every request with 200, and with what its body was; `/blob?n` with so many bytes.
#[derive(Default)]
pub(crate) struct Site {
    pub(crate) log: Rc<RefCell<Log>>,
    /// Answers before it has read anything.
    pub(crate) hasty: bool,
}

impl Site {
    pub(crate) fn new(hasty: bool) -> (Site, Rc<RefCell<Log>>) {
        let log = Rc::<RefCell<Log>>::default();
        (Site { log: log.clone(), hasty }, log)
    }
}

impl App for Site {
    type Exchange = (String, Vec<u8>);

    fn on_request(&mut self, r: &Request<'_>, reply: Reply<'_>) -> Answer<(String, Vec<u8>)> {
        self.log.borrow_mut().begun.push(r.target.to_owned());
        let method = r.method.as_str().to_owned();
        if let Some(size) = r.target.strip_prefix("/blob?") {
            let blob = vec![b'x'; size.parse().unwrap_or(0)];
            return reply.send(200, &[("X-Method", &method)], &blob);
        }
        if self.hasty {
            return reply.send(200, &[("X-Method", &method)], b"hasty");
        }
        reply.later((method, Vec::new()))
    }

    fn on_body(&mut self, x: &mut Self::Exchange, _: &mut Reply<'_>, bytes: &[u8]) -> usize {
        x.1.extend_from_slice(bytes);
        bytes.len()
    }

    fn on_body_end(
        &mut self,
        (method, body): &mut Self::Exchange,
        reply: &mut Reply<'_>,
        trailers: &Headers<'_>,
    ) {
        let mut log = self.log.borrow_mut();
        log.bodies.push(body.clone());
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        log.trailers.extend(trailers.iter().map(|(n, v)| (n.to_owned(), text(v))));
        reply.answer(200, &[("X-Method", method)], body);
    }

    fn on_done(&mut self, _: Self::Exchange, _: &mut Env, cut: Option<Close>) {
        let mut log = self.log.borrow_mut();
        (log.done, log.cut) = (log.done + 1, log.cut + usize::from(cut.is_some()));
    }

    fn on_malformed(&mut self, _: &mut Env, _: Id, why: Malformed) {
        self.log.borrow_mut().malformed.push(why);
    }
}

/// An answer as a naive reader sees it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Got {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Got {
    /// The one line of this name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.split("\r\n").filter_map(|line| line.split_once(": "));
        let found = lines.find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v);
        assert!(lines.all(|(n, _)| !n.eq_ignore_ascii_case(name)), "two lines {name}");
        found
    }
}

/// All answers in these bytes, which hold nothing else.
fn answers(mut bytes: &[u8]) -> Result<Vec<Got>, String> {
    let mut list = Vec::new();
    while !bytes.is_empty() {
        let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").ok_or("half a head")?;
        let head = std::str::from_utf8(&bytes[..end]).map_err(|e| e.to_string())?.to_owned();
        let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
        let status = status.and_then(|s| s.parse().ok()).ok_or("no status line")?;
        let mut got = Got { status, head, body: Vec::new() };
        bytes = &bytes[end + 4..];
        let none =
            matches!(status, 100..=199 | 204 | 304) || got.header("x-method") == Some("HEAD");
        if !none {
            bytes = body(&mut got, bytes)?;
        }
        list.push(got);
    }
    Ok(list)
}

/// Takes the body of this answer off the front.
fn body<'a>(got: &mut Got, mut bytes: &'a [u8]) -> Result<&'a [u8], String> {
    let mut take = |n: usize| {
        let (front, back) = bytes.split_at_checked(n).ok_or("half a body")?;
        bytes = back;
        Ok::<_, String>(front)
    };
    if let Some(length) = got.header("content-length") {
        let length = length.parse().map_err(|_| "no length")?;
        got.body = take(length)?.to_vec();
    } else if got.header("transfer-encoding") == Some("chunked") {
        loop {
            let mut line = String::new();
            while !line.ends_with("\r\n") {
                line.push(take(1)?[0].into());
            }
            let size = usize::from_str_radix(line.trim_end(), 16).map_err(|e| e.to_string())?;
            got.body.extend_from_slice(take(size)?);
            if take(2)? != b"\r\n" {
                return Err("no end of a chunk".into());
            }
            if size == 0 {
                break;
            }
        }
    } else {
        got.body = std::mem::take(&mut bytes).to_vec();
    }
    Ok(bytes)
}
