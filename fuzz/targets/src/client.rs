//! A whole HTTP client in a simulated world: a server that says a fuzzer's bytes, and a kernel
//! whose every choice is a fuzzer's byte.
//!
//! Rules:
//!
//! * Every exchange ends, and once: answered, failed, or given up by its owner.
//! * A body that counts as whole is one that the server's bytes hold: each run of them, read in
//!   order as answers, is tried, and there is no other.
//! * Nothing is left of it all: no socket, no exchange, no byte beyond a pipe.

use loopwork_http::client::{Client, Config, Ticket};
use loopwork_http::core::encode::{Connection, RequestHead};
use loopwork_http::core::{Body, Decoder, Fields, Limits, Method, Progress, Step, parse_response};
use loopwork_http::tcp::reactor::{Address, Cx, Driver, Env, Handle, Id, Loop, Ready, World};
use loopwork_http::tcp::{Close, Flow, Io, Protocol, listen, shutdown};
use loopwork_sim::{Faults, FromBytes, Sim, run_to_idle, run_to_rest};
use std::collections::BTreeSet;
use std::time::Duration;

/// Turns after which a run is called stuck: ten times the longest of a seed.
const TURNS: u64 = 200_000;
/// How often the server says its lines on one connection.
const TIMES: usize = 4;
/// Answers that are looked for in a row.
const DEPTH: usize = 10;
/// More than a pipe holds and a read of it: [`loopwork_http::tcp::HIGH_WATER`] twice, and a read.
const PIPE: usize = 512 * 1024;

/// Says its lines: when a connection is accepted, or each time that a head has come in.
struct Server {
    lines: Vec<Vec<u8>>,
    accepted: usize,
    at_once: bool,
    ends: bool,
    aborts: bool,
}

#[derive(Default)]
struct Served {
    number: usize,
    said: usize,
    heard: Vec<u8>,
}

impl Server {
    fn say(&mut self, c: &mut Served, io: &mut Io<'_>) {
        if c.said < TIMES {
            c.said += 1;
            let _ = io.write(&self.lines[c.number % self.lines.len()]);
        }
        if self.ends && !io.ending() {
            io.end();
        }
        if self.aborts {
            io.abort(Close::Aborted);
        }
    }
}

impl Protocol for Server {
    type Conn = Served;

    fn on_accept(&mut self, _: &mut Env, _: Id, _: &Address) -> Option<Served> {
        self.accepted += 1;
        Some(Served { number: self.accepted - 1, ..Served::default() })
    }

    fn on_open(&mut self, c: &mut Served, io: &mut Io<'_>) {
        io.read_when_full(true);
        if self.at_once {
            self.say(c, io);
        }
    }

    fn on_data(&mut self, c: &mut Served, io: &mut Io<'_>, bytes: &mut [u8]) -> usize {
        c.heard.extend_from_slice(bytes);
        while let Some(at) = c.heard.windows(4).position(|four| four == b"\r\n\r\n") {
            c.heard.drain(..at + 4);
            self.say(c, io);
        }
        bytes.len()
    }
}

/// What is asked.
struct Wish {
    method: &'static str,
    body: Body,
    connection: Connection,
    headers: &'static [(&'static str, &'static str)],
    /// Lets go when so many bytes of the answer have come.
    enough: usize,
}

const PLAIN: Wish = Wish {
    method: "GET",
    body: Body::None,
    connection: Connection::Implicit,
    headers: &[],
    enough: usize::MAX,
};
const UPLOAD: u64 = 40_000;

const WISHES: [Wish; 8] = [
    PLAIN,
    Wish { method: "HEAD", ..PLAIN },
    Wish { method: "POST", body: Body::Chunked, ..PLAIN },
    Wish {
        method: "PUT",
        body: Body::Length(UPLOAD),
        headers: &[("Expect", "100-continue")],
        ..PLAIN
    },
    Wish { method: "CONNECT", ..PLAIN },
    Wish { connection: Connection::Upgrade, headers: &[("Upgrade", "echo")], ..PLAIN },
    Wish { enough: 10, ..PLAIN },
    Wish { connection: Connection::Close, ..PLAIN },
];

/// What has come of it.
#[derive(Default)]
struct Job {
    ticket: Option<Ticket>,
    sent: u64,
    finished: bool,
    tunnel: bool,
    got: Vec<u8>,
    /// It was answered, as far as it is known.
    whole: Option<bool>,
}

struct Asker {
    client: Client,
    driver: u16,
    jobs: Vec<Job>,
    to: Address,
}

impl Asker {
    fn begin(&mut self, env: &mut Env, slot: usize) {
        let Wish { method, body, connection, headers, .. } = WISHES[slot];
        let target = if method == "CONNECT" { "a:1" } else { "/" };
        let head = RequestHead { method, target, host: "a", body, connection };
        let id = Id { birth: 1, slot: slot as u32, driver: self.driver };
        let ticket = self.client.request(env, self.to.clone(), id, &head, headers.iter().copied());
        self.jobs.push(Job { ticket: Some(ticket.expect("a good head")), ..Job::default() });
        env.wake(id);
    }

    fn upload(&mut self, env: &mut Env, slot: usize, t: Ticket) {
        let job = &mut self.jobs[slot];
        let length = match WISHES[slot].body {
            Body::None if !job.tunnel => return,
            _ => UPLOAD,
        };
        while job.sent < length && self.client.flow(env, t) == Flow::Open {
            job.sent += 10_000;
            let _ = self.client.write(env, t, &[b'u'; 10_000]);
        }
        if job.sent == length && !std::mem::replace(&mut job.finished, true) {
            self.client.finish(env, t);
        }
    }

    fn step(&mut self, env: &mut Env, slot: usize) {
        let Some(t) = self.jobs[slot].ticket else { return };
        self.upload(env, slot, t);
        let job = &mut self.jobs[slot];
        let x = self.client.exchange(&mut env.shared, t).expect("not released yet");
        x.interim(|response| assert!(matches!(response.status, 100..=199)));
        job.tunnel = x.is_tunnel();
        x.pull(&mut env.calls, Flow::Open, |bytes| {
            assert!(bytes.len() <= PIPE, "{} bytes in a pipe", bytes.len());
            job.got.extend_from_slice(bytes);
        });
        job.whole = match (x.failure(), x.done()) {
            (Some(_), _) => Some(false),
            (None, true) => {
                assert!(job.tunnel || x.response().is_some(), "an answer has a head");
                Some(true)
            }
            _ if job.got.len() >= WISHES[slot].enough => Some(false),
            _ => return,
        };
        job.ticket = None;
        self.client.release(env, t);
        assert!(self.client.exchange(&mut env.shared, t).is_none());
    }
}

impl<W: World> Driver<W> for Asker {
    fn on_ready(&mut self, _: &mut Cx<'_, W>, _: Ready) {}
    fn on_wake(&mut self, cx: &mut Cx<'_, W>, id: Id) {
        self.step(cx.env, id.slot as usize);
    }
}

/// The bodies that these bytes can be taken for, read as answers in a row.
fn bodies(bytes: &[u8], depth: usize, all: &mut BTreeSet<Vec<u8>>) {
    let (limits, mut fields) = (Limits::default(), Fields::new());
    let parsed = parse_response(bytes, &mut Progress::new(), &mut fields, &limits);
    let Ok(Some((response, used))) = parsed else { return };
    let rest = &bytes[used..];
    if depth == 0 {
        return;
    }
    if matches!(response.status, 100..=199) {
        return bodies(rest, depth - 1, all);
    }
    for method in [Method::Get, Method::Head] {
        let Ok(framing) = response.framing(method) else { continue };
        let Ok(mut decoder) = Decoder::new(framing.body, &limits) else { continue };
        let (mut body, mut at) = (Vec::new(), 0);
        loop {
            match decoder.next(&rest[at..], &limits) {
                Ok(Step::Data { skip, len }) => {
                    body.extend_from_slice(&rest[at + skip..][..len]);
                    decoder.consume(len);
                    at += skip + len;
                }
                Ok(Step::End { skip, .. }) => {
                    all.insert(body);
                    bodies(&rest[at + skip..], depth - 1, all);
                    break;
                }
                Ok(Step::More { .. }) => {
                    if decoder.finish().is_ok() {
                        all.insert(body);
                    }
                    break;
                }
                Err(_) => break,
            }
        }
    }
}

/// Flags, and how many bytes the server has to say (two bytes, the upper first); those, with a
/// byte 0xFF between what is said on the first connection, the second and so on; and the rest
/// decides what the kernel does.
pub fn http_client_ops(data: &[u8]) {
    let Some((&[flags, high, low], rest)) = data.split_first_chunk::<3>() else { return };
    let len = usize::from(u16::from_be_bytes([high, low])).min(rest.len());
    let (says, choices) = rest.split_at(len);
    let lines: Vec<Vec<u8>> = says.split(|byte| *byte == 0xff).map(<[u8]>::to_vec).collect();
    let mut known = BTreeSet::new();
    for line in &lines {
        for times in 1..=TIMES {
            bodies(&line.repeat(times), DEPTH, &mut known);
        }
    }
    let flag = |n: u8| flags & 1 << n != 0;
    let (at_once, ends, aborts) = (flag(0), flag(1), flag(2));
    let server = Server { lines, accepted: 0, at_once, ends, aborts };
    let mut lp = Loop::new(Sim::with_decider(FromBytes::new(choices), Faults::rough()));
    let (server, at) = listen(&mut lp, ([127, 0, 0, 1], 0).into(), server).expect("a free port");
    let mut config = Config::default();
    config.per_address = if flag(3) { 1 } else { 3 };
    config.oldest_first = flag(4);
    config.exchange = flag(5).then_some(Duration::from_millis(20));
    let client = Client::with_config(&mut lp, config);
    let asker = lp.add(|me: Handle<Asker>| Asker {
        client,
        driver: me.driver,
        jobs: Vec::new(),
        to: Address::Ip(at),
    });
    for slot in 0..WISHES.len() {
        lp.with(asker, |asker, cx| asker.begin(cx.env, slot));
        if flag(6) {
            run_to_rest_for(&mut lp, 50);
        }
    }
    // A tunnel of which one side goes on has no end of its own; its server ends it.
    let until = Duration::from_secs(600);
    lp.env.after(until, move |env| shutdown(env, server));
    run_to_rest(&mut lp, TURNS).expect("comes to rest");
    run_to_idle(&mut lp, TURNS).expect("and nothing is left to come");
    assert_eq!(lp.world.open(), 0, "no socket is left");
    for (slot, job) in lp.get(asker).jobs.iter().enumerate() {
        let whole = job.whole.expect("every exchange ends");
        if whole && !job.tunnel {
            let (len, text) = (job.got.len(), job.got[..job.got.len().min(80)].escape_ascii());
            assert!(known.contains(&job.got), "{}: {len} bytes: {text}", WISHES[slot].method);
        }
    }
}

fn run_to_rest_for(lp: &mut Loop<Sim>, turns: usize) {
    for _ in 0..turns {
        lp.turn(Some(Duration::from_micros(100))).expect("a turn");
    }
}
