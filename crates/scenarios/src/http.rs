//! An HTTP server and a client with few connections: every exchange ends with what the server
//! said, or it failed where connections may break; never with less that looks like all.

use crate::ledger::{Book, Watched, wake_later};
use crate::plan::Plan;
use crate::stage::{Run, Setting, Stage, piece};
use loopwork::http::client::{self, Client, Failure, Ticket};
use loopwork::http::core::encode::{Connection, RequestHead};
use loopwork::http::core::{Body, Headers, Request};
use loopwork::http::{Answer, App, Http, Reply};
use loopwork::reactor::{Cx, Driver, Ready};
use loopwork::sim::{Sim, SplitMix};
use loopwork::trace::Tape;
use loopwork::{Address, Close, Env, Flow, Handle, Id, Loop, World, tcp};
use std::net::SocketAddr;
use std::time::Duration;

/// Requests for each connection that the plan allows.
const REQUESTS: u32 = 3;
/// Bytes that are written at once.
const STEP: usize = 10_000;

/// Answers as the path says.
struct Site {
    book: Book,
}

/// One exchange of the server's.
struct Visit {
    path: String,
    n: u32,
    size: usize,
    at: usize,
}

impl Site {
    /// As much of the body as goes.
    fn fill(x: &mut Visit, reply: &mut Reply<'_>) {
        while x.at < x.size && reply.body.flow() == Flow::Open {
            let len = STEP.min(x.size - x.at);
            let _ = reply.body.write(&piece(x.n, x.at, len));
            x.at += len;
        }
        if x.at == x.size && !reply.body.done() {
            reply.body.finish();
        }
    }
}

const NONE: [(&str, &str); 0] = [];

impl App for Site {
    type Exchange = Visit;

    fn on_request(&mut self, request: &Request<'_>, mut reply: Reply<'_>) -> Answer<Visit> {
        let mut numbers = request.query().unwrap_or_default().split('&');
        let mut number = || numbers.next().and_then(|n| n.parse::<u32>().ok()).unwrap_or(0);
        let (n, size) = (number(), number() as usize);
        let mut x = Visit { path: request.path().to_owned(), n, size, at: 0 };
        match request.path() {
            "/late" => wake_later(reply.env, &self.book, reply.id, Duration::from_millis(50)),
            "/echo" => reply.head(200, NONE, Body::Chunked).expect("a head"),
            "/big" | "/sized" => {
                let body = Body::Length(size as u64);
                let body = if x.path == "/big" { Body::Chunked } else { body };
                reply.head(200, NONE, body).expect("a head");
                Site::fill(&mut x, &mut reply);
            }
            "/sum" => {}
            _ => return reply.send(200, &[], &piece(n, 0, size)),
        }
        reply.later(x)
    }

    fn on_body(&mut self, x: &mut Visit, reply: &mut Reply<'_>, bytes: &[u8]) -> usize {
        x.at += bytes.len();
        if x.path == "/echo" && reply.body.write(bytes) == Flow::Full {
            reply.pause();
        }
        bytes.len()
    }

    fn on_body_end(&mut self, x: &mut Visit, reply: &mut Reply<'_>, _: &Headers<'_>) {
        match &*x.path {
            "/echo" => reply.body.finish(),
            "/sum" => reply.answer(200, &[], format!("{} bytes", x.at).as_bytes()),
            _ => {}
        }
    }

    fn on_more(&mut self, x: &mut Visit, reply: &mut Reply<'_>) {
        match &*x.path {
            "/late" => reply.answer(200, &[], &piece(x.n, 0, x.size)),
            "/big" | "/sized" => Site::fill(x, reply),
            _ => reply.resume(),
        }
    }

    fn on_done(&mut self, _: Visit, _: &mut Env, _: Option<Close>) {}
}

/// One request of the client's.
struct Job {
    target: String,
    upload: Option<Vec<u8>>,
    chunked: bool,
    expected: Vec<u8>,
    sent: usize,
    finished: bool,
    ticket: Option<Ticket>,
    status: u16,
    body: Vec<u8>,
    outcome: Option<Result<(), Failure>>,
}

impl Job {
    fn new(n: u32, bytes: u32, dice: &mut SplitMix) -> Job {
        let mut below = |n: u64| dice.next_u64() % n;
        let bits = 1 + below(u64::from(bytes.max(2).ilog2()));
        let size = 1 + below(1 << bits) as usize;
        let whole = piece(n, 0, size);
        let (path, upload, expected) = match below(7) {
            0 => ("/late", None, whole),
            1 => ("/big", None, whole),
            2 => ("/sized", None, whole),
            3 => ("/sum", Some(whole), format!("{size} bytes").into_bytes()),
            4 | 5 => ("/echo", Some(whole.clone()), whole),
            _ => ("/blob", None, whole),
        };
        let target = format!("{path}?{n}&{size}");
        let chunked = below(2) == 0;
        let (sent, finished, ticket, status) = (0, false, None, 0);
        let (body, outcome) = (Vec::new(), None);
        Job { target, upload, chunked, expected, sent, finished, ticket, status, body, outcome }
    }

    fn judge(&self, breaks: bool) {
        let what = &self.target;
        match self.outcome.expect("over") {
            // A request that came in pieces, too far apart for the server: its answer, or a part.
            _ if self.status == 408 => assert!(breaks, "{what}: too late in a sound world"),
            Ok(()) => {
                assert_eq!(self.status, 200, "{what}");
                assert!(self.body == self.expected, "{what}: another body");
            }
            Err(why) => {
                assert!(breaks, "{what}: {why:?} in a sound world");
                assert!(self.expected.starts_with(&self.body), "{what}: not a part");
            }
        }
    }
}

/// Asks, and keeps what it is answered.
struct Asker {
    client: Client,
    jobs: Vec<Job>,
    over: usize,
    driver: u16,
}

impl Asker {
    fn begin(&mut self, env: &mut Env, to: SocketAddr, mut job: Job) {
        let (method, body) = match &job.upload {
            None => ("GET", Body::None),
            Some(_) if job.chunked => ("PUT", Body::Chunked),
            Some(bytes) => ("PUT", Body::Length(bytes.len() as u64)),
        };
        let (target, connection) = (&*job.target, Connection::Implicit);
        let head = RequestHead { method, target, host: "a", body, connection };
        let id = Id { birth: 1, slot: self.jobs.len() as u32, driver: self.driver };
        let to = Address::Ip(to);
        job.ticket = Some(self.client.request(env, to, id, &head, NONE).expect("a head"));
        self.jobs.push(job);
        env.wake(id);
    }

    /// Sends what goes, takes what came.
    fn step(&mut self, env: &mut Env, slot: usize) {
        let job = &mut self.jobs[slot];
        let (Some(t), None) = (job.ticket, job.outcome) else { return };
        if let Some(bytes) = &job.upload {
            while job.sent < bytes.len() && self.client.flow(env, t) == Flow::Open {
                let piece = &bytes[job.sent..bytes.len().min(job.sent + STEP)];
                job.sent += piece.len();
                let _ = self.client.write(env, t, piece);
            }
            if job.sent == bytes.len() && !std::mem::replace(&mut job.finished, true) {
                self.client.finish(env, t);
            }
        }
        let x = self.client.exchange(&mut env.shared, t).expect("not released yet");
        if let Some(response) = x.response() {
            job.status = response.status;
        }
        x.pull(&mut env.calls, Flow::Open, |bytes| job.body.extend_from_slice(bytes));
        job.outcome = match x.failure() {
            Some(why) => Some(Err(why)),
            None => x.done().then_some(Ok(())),
        };
        if job.outcome.is_some() {
            self.over += 1;
            self.client.release(env, t);
        }
    }
}

impl<W: World> Driver<W> for Asker {
    fn on_ready(&mut self, _: &mut Cx<'_, W>, _: Ready) {}
    fn on_wake(&mut self, cx: &mut Cx<'_, W>, id: Id) {
        self.step(cx.env, id.slot as usize);
    }
}

fn ask(lp: &mut Loop<Tape<Sim>>, asker: Handle<Asker>, to: SocketAddr, job: Job) {
    lp.with(asker, |asker, cx| asker.begin(cx.env, to, job));
}

pub(crate) fn run(plan: &Plan, setting: Setting) -> Run {
    let mut stage = Stage::new(plan, setting);
    let here = SocketAddr::from(([127, 0, 0, 1], 80));
    let site = Http::new(Site { book: stage.book.clone() });
    let site = Watched::new("server", &stage.book, site);
    let (server, at) = tcp::listen(&mut stage.lp, here, site).expect("a port");
    let mut config = client::Config::default();
    // Few: most requests wait for a connection, and find it as the last one left it.
    config.per_address = 1 + stage.dice.next_u64() as usize % 3;
    let client = Client::with_config(&mut stage.lp, config);
    let asker = stage.lp.add(|handle: Handle<Asker>| {
        let driver = handle.driver;
        Asker { client, jobs: Vec::new(), over: 0, driver }
    });
    let count = (plan.connections * REQUESTS) as usize;
    for n in 0..count {
        let job = Job::new(n as u32, plan.bytes, &mut stage.dice);
        ask(&mut stage.lp, asker, at, job);
        for _ in 0..stage.dice.next_u64() % 30 {
            stage.turn_for(Some(Duration::ZERO));
        }
    }
    stage.until("all is answered", |lp| lp.get(asker).over == count);
    for job in &stage.lp.get(asker).jobs {
        job.judge(plan.breaks());
    }
    tcp::shutdown(&mut stage.lp.env, server);
    let (run, ledger) = stage.finish();
    ledger.closed();
    run
}
