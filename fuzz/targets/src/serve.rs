//! A whole HTTP server in a simulated world: a client that sends a fuzzer's bytes, two that behave,
//! and a kernel whose every choice is a fuzzer's byte.
//!
//! Rules:
//!
//! * The faults are [`Faults::rough`], which lose nothing. So what the server answers does not
//!   depend on them: it is what it answers in a perfect world, where all comes at once.
//! * What the application says is a function of the request, not of when it comes. Its bodies are
//!   bytes above 0x7F, so that every `HTTP/1.1` in the output begins a head.

use loopwork_http::core::{
    Body, Decoder, Fields, Headers, Limits, Malformed, Method, Progress, Request, Step,
    parse_request,
};
use loopwork_http::tcp::reactor::{Address, Env, Handle, Id, Loop};
use loopwork_http::tcp::{Close, Flow, Host, Io, Protocol, add, dial, listen, shutdown};
use loopwork_http::{Answer, App, Http, Late, Offer, Reply, Upgrade};
use loopwork_sim::{Faults, FromBytes, Sim, run_to_rest};
use std::time::Duration;

/// Turns after which a run is called stuck: ten times the longest of a seed.
const TURNS: u64 = 100_000;
/// What `/push` sends: more than a window and than an output buffer's mark, in steps of this.
const PUSH: usize = 72 * 1024;
const STEP: usize = 9 * 1024;

/// What clients that behave send, and how many answers they get.
const SCRIPT: (&[u8], usize) = (
    b"GET /now HTTP/1.1\r\nHost: a\r\n\r\n\
      POST /sum HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n\
      PUT /bite HTTP/1.1\r\nHost: a\r\nContent-Length: 20\r\n\r\n01234567890123456789\
      HEAD /push HTTP/1.1\r\nHost: a\r\n\r\n\
      PUT /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello\
      POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nGET /evil\
      GET /late HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n\
      GET /evil HTTP/1.1\r\nHost: a\r\n\r\n",
    7,
);

fn wake_in(env: &mut Env, id: Id, us: u64) {
    env.after(Duration::from_micros(us), move |env| env.wake(id));
}

/// What has been told of a request: FNV-1a over it, and how much.
#[derive(Clone, Copy)]
struct Sum(u64);

impl Sum {
    fn add(self, bytes: &[u8]) -> Sum {
        Sum(bytes.iter().fold(self.0, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x100_0000_01b3)))
    }
    /// As a body.
    fn text(self) -> [u8; 8] {
        self.0.to_be_bytes().map(|b| b | 0x80)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Echo,
    Bite,
    Push(usize),
    Late,
    Sum,
}

struct Visit {
    way: Way,
    sum: Sum,
    ended: bool,
    woken: bool,
}

/// Answers as the path says, and holds the server to the order of its callbacks.
#[derive(Default)]
struct Site {
    /// Requests by their sums, in order.
    begun: Vec<u64>,
    owed: usize,
    malformed: usize,
}

impl Site {
    fn fill(reply: &mut Reply<'_>, left: &mut usize) {
        while *left > 0 && reply.body.flow() == Flow::Open {
            let _ = reply.body.write(&[0xaa; STEP]);
            *left -= STEP;
        }
    }
}

/// What is asked, as a sum.
fn asked(request: &Request<'_>) -> Sum {
    let begin = Sum(0xcbf2_9ce4_8422_2325).add(request.method.as_str().as_bytes());
    begin.add(b" ").add(request.target.as_bytes())
}

impl App for Site {
    type Exchange = Visit;

    fn on_request(&mut self, r: &Request<'_>, mut reply: Reply<'_>) -> Answer<Visit> {
        assert!(reply.peer().is_some_and(|at| at.ip().is_loopback()));
        let sum = asked(r);
        self.begun.push(sum.0);
        let way = match (r.path(), reply.remaining()) {
            ("/now", Some(0)) => return reply.send(200, &[], &sum.text()),
            ("/early", _) => return reply.send(413, &[], &sum.text()),
            ("/echo", Some(n)) => {
                reply.head(200, [("X", "echo")], Body::Length(n)).expect("a good head");
                Way::Echo
            }
            ("/bite", _) => Way::Bite,
            ("/push", Some(0)) => {
                reply.head(200, [("X", "push")], Body::Length(PUSH as u64)).expect("a good head");
                let mut left = if r.method == Method::Head { 0 } else { PUSH };
                Site::fill(&mut reply, &mut left);
                Way::Push(left)
            }
            ("/late", _) => {
                wake_in(reply.env, reply.id, 700);
                Way::Late
            }
            _ => Way::Sum,
        };
        self.owed += 1;
        reply.later(Visit { way, sum, ended: false, woken: false })
    }

    fn on_body(&mut self, x: &mut Visit, reply: &mut Reply<'_>, bytes: &[u8]) -> usize {
        assert!(!x.ended && !bytes.is_empty());
        let taken = if x.way == Way::Bite { bytes.len().min(7) } else { bytes.len() };
        x.sum = x.sum.add(&bytes[..taken]);
        if x.way == Way::Echo {
            let high: Vec<u8> = bytes.iter().map(|b| b | 0x80).collect();
            if reply.body.write(&high) == Flow::Full {
                reply.pause();
            }
        }
        if taken < bytes.len() {
            wake_in(reply.env, reply.id, 300);
        }
        taken
    }

    fn on_body_end(&mut self, x: &mut Visit, reply: &mut Reply<'_>, trailers: &Headers<'_>) {
        assert!(!std::mem::replace(&mut x.ended, true) && reply.uploaded());
        for (name, value) in trailers.iter() {
            x.sum = x.sum.add(name.as_bytes()).add(value);
        }
        if matches!(x.way, Way::Bite | Way::Sum) || (x.way == Way::Late && x.woken) {
            reply.answer(200, &[], &x.sum.text());
        }
    }

    fn on_more(&mut self, x: &mut Visit, reply: &mut Reply<'_>) {
        match &mut x.way {
            Way::Bite | Way::Echo => reply.resume(),
            Way::Push(left) => Site::fill(reply, left),
            Way::Late => {
                x.woken = true;
                if x.ended {
                    reply.answer(200, &[], &x.sum.text());
                }
            }
            Way::Sum => {}
        }
    }

    fn on_done(&mut self, _: Visit, _: &mut Env, _: Option<Close>) {
        self.owed -= 1;
    }

    fn on_malformed(&mut self, _: &mut Env, _: Id, _: Malformed) {
        self.malformed += 1;
    }

    fn on_late(&mut self, _: &mut Env, _: Id, with: Late) {
        assert!(with != Late::Download, "everyone reads");
    }

    fn understands(&self, method: Method<'_>) -> bool {
        !matches!(method, Method::Connect | Method::Other("BREW"))
    }
}

/// What follows on HTTP: an echo, until the peer ends.
struct Echo {
    offered: bool,
}

impl Protocol for Echo {
    type Conn = ();
    fn on_data(&mut self, _: &mut (), io: &mut Io<'_>, bytes: &mut [u8]) -> usize {
        let high: Vec<u8> = bytes.iter().map(|b| b | 0x80).collect();
        let _ = io.write(&high);
        bytes.len()
    }
}

impl Upgrade for Echo {
    fn offer(&mut self, request: &Request<'_>, io: &mut Io<'_>) -> Offer<()> {
        let named = request.headers.get("upgrade").is_some_and(|value| value == b"echo");
        let framing = request.framing().ok();
        let whole = framing.is_some_and(|f| matches!(f.body, Body::None | Body::Length(0)));
        if !(self.offered && named && whole) {
            return Offer::Pass;
        }
        let _ = io.write(b"HTTP/1.1 101 Switching Protocols\r\n\r\n");
        Offer::Accept(())
    }
}

/// A client: what it sends, and what it does besides.
#[derive(Clone, Copy, Default)]
struct Plan {
    /// It ends its side behind the last byte.
    ends: bool,
    /// It gives up after so many bytes.
    abort_at: Option<usize>,
    /// It reads by so many bytes, with pauses.
    bite: Option<usize>,
    /// It behaves, and is served whatever the other does.
    good: bool,
}

struct Client {
    sends: Vec<u8>,
    plan: Plan,
    got: Vec<u8>,
}

#[derive(Default)]
struct Clients {
    /// What each got, by what it sent.
    closed: Vec<(Client, Close)>,
}

impl Protocol for Clients {
    type Conn = Client;
    fn on_open(&mut self, c: &mut Client, io: &mut Io<'_>) {
        io.read_when_full(true);
        let _ = io.write(&c.sends);
        if c.plan.ends {
            io.end();
        }
    }
    fn on_data(&mut self, c: &mut Client, io: &mut Io<'_>, bytes: &mut [u8]) -> usize {
        let part = c.plan.bite.unwrap_or(usize::MAX).min(bytes.len());
        c.got.extend_from_slice(&bytes[..part]);
        if c.plan.abort_at.is_some_and(|at| c.got.len() > at) {
            io.abort(Close::Aborted);
        }
        if part < bytes.len() {
            io.pause();
            wake_in(io.env, io.id, 200);
        }
        part
    }
    fn on_wake(&mut self, _: &mut Client, io: &mut Io<'_>) {
        io.resume();
    }
    fn on_close(&mut self, c: Client, _: Id, _: &mut Env, why: Close) {
        self.closed.push((c, why));
    }
}

/// What came of a run.
struct Outcome {
    /// Of the fuzzer's client and of those that behave: output without what may differ, and how
    /// it ended.
    clients: Vec<(Vec<u8>, Close)>,
    begun: Vec<u64>,
}

/// Output without dates, and without interim answers: a 100 is not sent where the body came with
/// the head. Of a date or a 100 that was cut off there is nothing left either.
fn plain(got: &[u8]) -> Vec<u8> {
    const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
    const DATE: (&[u8], &[u8]) = (b"Date: ", b" GMT\r\n");
    let (mut out, mut rest) = (Vec::new(), got);
    while let Some((first, behind)) = rest.split_first() {
        let dated = rest.get(..37).filter(|d| d.starts_with(DATE.0) && d.ends_with(DATE.1));
        let cut = rest.len() < 37 && (rest.starts_with(DATE.0) || DATE.0.starts_with(rest));
        if cut || CONTINUE.starts_with(rest) && rest.len() < CONTINUE.len() {
            break;
        }
        if let Some(after) = rest.strip_prefix(CONTINUE) {
            rest = after;
        } else if let Some(date) = dated {
            rest = &rest[date.len()..];
        } else {
            out.push(*first);
            rest = behind;
        }
    }
    out
}

/// How many heads begin in an output.
fn heads(got: &[u8]) -> usize {
    got.windows(9).filter(|nine| nine == b"HTTP/1.1 ").count()
}

/// What came before the last head.
fn before_last(got: &[u8]) -> &[u8] {
    let last = got.windows(9).rposition(|nine| nine == b"HTTP/1.1 ");
    &got[..last.unwrap_or(0)]
}

/// The output without a refusal at its end, which the server writes and no application.
fn served(got: &[u8]) -> &[u8] {
    let before = before_last(got);
    let refused = got[before.len()..].windows(14).any(|text| text == b"\r\nContent-Type");
    if refused { before } else { got }
}

/// One run; `stops`: the server shuts down after so many microseconds.
fn run(sim: Sim, sends: &[u8], plan: Plan, stops: Option<u64>) -> Outcome {
    let mut lp = Loop::new(sim);
    let http = Http::with_upgrade(Site::default(), Echo { offered: plan.ends });
    let (server, at) = listen(&mut lp, ([127, 0, 0, 1], 0).into(), http).expect("a free port");
    let clients = add(&mut lp, |_| Clients::default());
    let good = Plan { good: true, ..Plan::default() };
    for (sends, plan) in [(SCRIPT.0, good), (sends, plan), (SCRIPT.0, good)] {
        let client = Client { sends: sends.to_vec(), plan, got: Vec::new() };
        dial(&mut lp.env, clients, Address::Ip(at), client);
    }
    if let Some(us) = stops {
        lp.env.after(Duration::from_micros(us), move |env| shutdown(env, server));
    }
    run_to_rest(&mut lp, TURNS).expect("comes to rest");
    judge(&mut lp, server, clients, stops.is_some())
}

fn judge(
    lp: &mut Loop<Sim>,
    server: Handle<Host<Http<Site, Echo>>>,
    clients: Handle<Host<Clients>>,
    stopped: bool,
) -> Outcome {
    assert!(lp.get(server).is_empty() && lp.get(clients).is_empty(), "nobody is stuck");
    assert_eq!(lp.world.open(), usize::from(!stopped), "at most the listener is left");
    let app = &mut lp.get(server).protocol.app;
    assert_eq!(app.owed, 0, "each exchange is done");
    assert!(app.malformed <= 1, "only one client sends nonsense, and it is told once");
    let begun = std::mem::take(&mut app.begun);
    let mut closed = std::mem::take(&mut lp.get(clients).protocol.closed);
    assert_eq!(closed.len(), 3, "one on_close for each");
    closed.sort_by_key(|(client, _)| client.plan.good);
    let clients = closed.into_iter().map(|(client, why)| (plain(&client.got), why)).collect();
    Outcome { clients, begun }
}

/// The requests that are in these bytes, as sums, as far as they are in order; and whether a head
/// is cut short behind them.
fn requests(mut bytes: &[u8]) -> (Vec<u64>, bool) {
    let (mut all, limits) = (Vec::new(), Limits::default());
    loop {
        let (mut seen, mut fields) = (Progress::new(), Fields::new());
        let Ok(Some((request, n))) = parse_request(bytes, &mut seen, &mut fields, &limits) else {
            return (all, !bytes.windows(4).any(|four| four == b"\r\n\r\n"));
        };
        let Ok(framing) = request.framing() else { return (all, false) };
        let Ok(mut body) = Decoder::new(framing.body, &limits) else { return (all, false) };
        all.push(asked(&request).0);
        bytes = &bytes[n..];
        loop {
            match body.next(bytes, &limits) {
                Ok(Step::Data { skip, len }) => {
                    body.consume(len);
                    bytes = &bytes[skip + len..];
                }
                Ok(Step::End { skip, .. }) => break bytes = &bytes[skip..],
                Ok(Step::More { .. }) | Err(_) => return (all, false),
            }
        }
    }
}

/// Flags, a number, and how many bytes the client sends (two bytes, the upper first); those; and
/// the rest decides what the kernel does.
pub fn http_ops(data: &[u8]) {
    let Some((&[flags, number, high, low], rest)) = data.split_first_chunk::<4>() else { return };
    let len = usize::from(u16::from_be_bytes([high, low])).min(rest.len());
    let (sends, choices) = rest.split_at(len);
    let number = usize::from(number);
    let plan = Plan {
        ends: flags & 1 != 0,
        abort_at: (flags & 2 != 0).then_some(number * 16),
        bite: (flags & 4 != 0).then_some(20 + number * 8),
        good: false,
    };
    let stops = (flags & 8 != 0).then_some(number as u64 * 20);
    let rough = Sim::with_decider(FromBytes::new(choices), Faults::rough());
    let there = run(rough, sends, plan, stops);
    let (sent, cut) = requests(sends);
    assert!(heads(&there.clients[0].0) <= sent.len() + 1, "an answer for each, and a refusal");
    if stops.is_some() {
        return;
    }
    let calm = Sim::with_decider(FromBytes::default(), Faults::none());
    let here = run(calm, sends, plan, None);
    for good in &there.clients[1..] {
        assert_eq!((heads(&good.0), good.1), (SCRIPT.1, Close::Finished));
        assert!(*good == here.clients[1], "who behaves is served, whatever others do");
    }
    let ((a, why_a), (b, why_b)) = (&here.clients[0], &there.clients[0]);
    // What is wrong with a head is said when it, or a line of it, has ended, or before that, as
    // the pieces fall: one that is cut short may be refused for this, or that, or as too late.
    let (a, b) = if cut { (served(a), served(b)) } else { (&a[..], &b[..]) };
    if (*why_a, *why_b) == (Close::Finished, Close::Finished) {
        assert!(a == b, "{} but {}", a.escape_ascii(), b.escape_ascii());
    }
    let both = a.len().min(b.len());
    assert!(a[..both] == b[..both], "what came is the same");
    let mut theirs = requests(SCRIPT.0).0;
    theirs.truncate(SCRIPT.1);
    let mut known = [theirs.clone(), theirs, sent].concat();
    for request in there.begun {
        let at = known.iter().position(|sum| *sum == request);
        known.swap_remove(at.expect("nothing is begun that was not sent, or twice"));
    }
}
