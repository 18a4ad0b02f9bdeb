//! Server, proxy and client in one loop of a simulated world, seed after seed, each run twice.
//! Under rough faults every exchange ends with what the server said; under hostile ones it ends
//! so, or it failed: never with less that looks like all. Every exchange is done once, and in the
//! end nothing is left.

mod asker;
mod peer;
#[path = "../examples/proxy.rs"]
#[allow(unreachable_pub)]
mod proxy;

use asker::{Job, add, ask};
use loopwork_http::Http;
use loopwork_http::client::{Client, Config, Failure};
use loopwork_http::core::{
    Decoder, Fields, Limits, Method, Progress, Step, parse_response as response,
};
use loopwork_http::tcp::reactor::{Address, Env, Id, Loop};
use loopwork_http::tcp::{self, Close, Io, Protocol, listen, shutdown};
use loopwork_sim::{Faults, Sim, SplitMix, TraceHash, cargo_test, check, run_to_idle, run_to_rest};
use peer::{Log, Site};
use proxy::Proxy;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

/// `LOOPWORK_SEEDS` runs more of them.
const SEEDS: u64 = 1000;
const JOBS: u64 = 10;
/// Turns after which a run is called stuck.
const TURNS: u64 = 400_000;

/// What is asked, and what must come of it; `None`: nothing good.
type Case = (Job, Option<(u16, Vec<u8>)>);

fn case(rng: &mut SplitMix) -> Case {
    let mut below = |n: u64| rng.next_u64() % n;
    // Up to twice what a pipe holds before it is full.
    let bits = 4 + below(14);
    let size = below(1 << bits) as usize;
    let body: Vec<u8> = (0..size).map(|n| (n * 7 + size) as u8).collect();
    let chunked = below(2) == 0;
    let ok = |text: &str| Some((200, text.as_bytes().to_vec()));
    let total = format!("{size} bytes");
    match below(12) {
        0 => (Job::get("/hello"), ok("hello")),
        1 => (Job::get("/late"), ok("at last")),
        2 => (Job::get(&format!("/big?{size}")), Some((200, vec![b'x'; size]))),
        3 => (Job::get(&format!("/sized?{size}")), Some((200, vec![b'x'; size]))),
        4 => (Job::put("/sum", body, chunked), ok(&total)),
        5 | 6 => (Job::put("/echo", body.clone(), chunked), Some((200, body))),
        7 => (Job { method: "HEAD", ..Job::get("/sized?70000") }, ok("")),
        8 => (Job::get("/hints"), ok("0 bytes")),
        9 => {
            let few = body[..size.min(60)].to_vec();
            let total = format!("{} bytes", few.len());
            (Job::put("/pause", few, chunked), ok(&total))
        }
        10 => {
            (Job::put("/early", vec![b'e'; size + 1], chunked), Some((413, b"too much".to_vec())))
        }
        _ => (Job::get("/short"), None),
    }
}

/// What connections got, and why they ended.
type Ended = Vec<(Vec<u8>, Close)>;

/// Sends a script in one go, and keeps what comes.
struct Raw(Rc<RefCell<Ended>>);

impl Protocol for Raw {
    type Conn = Vec<u8>;
    fn on_open(&mut self, _: &mut Vec<u8>, io: &mut Io<'_>) {
        let _ = io.write(SCRIPT);
    }
    fn on_data(&mut self, got: &mut Vec<u8>, _: &mut Io<'_>, bytes: &mut [u8]) -> usize {
        got.extend_from_slice(bytes);
        bytes.len()
    }
    fn on_close(&mut self, got: Vec<u8>, _: Id, _: &mut Env, why: Close) {
        self.0.borrow_mut().push((got, why));
    }
}

const SCRIPT: &[u8] = b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n\
    PUT /sum HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc\
    GET /late HTTP/1.1\r\nHost: a\r\n\r\n\
    PUT /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n\
    1\r\nd\r\n0\r\n\r\n\
    POST /hello HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nGET /evil\
    HEAD /sized?5 HTTP/1.1\r\nHost: a\r\n\r\n\
    GET /big?20000 HTTP/1.1\r\nHost: a\r\n\r\n\
    GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n\
    GET /evil HTTP/1.1\r\nHost: a\r\n\r\n";

/// What the script is answered, in order.
fn answers() -> Vec<Vec<u8>> {
    let texts = ["hello", "3 bytes", "at last", "abcd", "hello", "", &"x".repeat(20_000), "hello"];
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// The bodies of the whole responses in these bytes; whether nothing is left behind them.
fn bodies(bytes: &[u8]) -> (Vec<Vec<u8>>, bool) {
    let (limits, mut fields, mut at, mut all) =
        (Limits::default(), Fields::new(), 0, Vec::<Vec<u8>>::new());
    loop {
        let method = if all.len() == 5 { Method::Head } else { Method::Get };
        let head = response(&bytes[at..], &mut Progress::new(), &mut fields, &limits).unwrap();
        let Some((head, used)) = head else { return (all, at == bytes.len()) };
        assert_eq!(head.status, 200);
        let mut decoder = Decoder::new(head.framing(method).unwrap().body, &limits).unwrap();
        let (mut body, mut from) = (Vec::new(), at + used);
        at = loop {
            match decoder.next(&bytes[from..], &limits).unwrap() {
                Step::Data { skip, len } => {
                    body.extend_from_slice(&bytes[from + skip..][..len]);
                    decoder.consume(len);
                    from += skip + len;
                }
                Step::More { .. } => return (all, false),
                Step::End { skip, .. } => break from + skip,
            }
        };
        all.push(body);
    }
}

fn judge(job: &Job, expected: &Option<(u16, Vec<u8>)>, hostile: bool, what: &str) {
    let outcome = job.outcome.unwrap_or_else(|| panic!("{what} has no end"));
    match (outcome, expected) {
        // Through the proxy a failure may be told as such.
        (Ok(()), _) if job.status == 502 => assert!(hostile || expected.is_none(), "{what}"),
        (Ok(()), Some((status, body))) => {
            assert_eq!(job.status, *status, "{what}");
            assert!(job.body == *body, "{what}: another body, of {}", job.body.len());
        }
        (Ok(()), None) => panic!("{what} looks whole"),
        (Err(why), Some((_, body))) => {
            assert!(hostile, "{what}: {why:?}");
            assert!(body.starts_with(&job.body) || job.status == 502, "{what}: not a part");
        }
        (Err(why), None) => {
            assert!(hostile || why == Some(Failure::Closed), "{what}: {why:?}");
        }
    }
}

fn run(seed: u64, hostile: bool) -> u64 {
    let faults = if hostile { Faults::hostile() } else { Faults::rough() };
    let mut lp = Loop::new(Sim::with_faults(seed, faults));
    lp.trace(Some(Box::new(TraceHash::new())));
    let log = Arc::<Mutex<Log>>::default();
    let at = |port: u16| std::net::SocketAddr::from(([127, 0, 0, 1], port));
    let (origin, _) = listen(&mut lp, at(80), Http::new(Site { log: log.clone() })).unwrap();
    let mut config = Config::default();
    // Few connections: most requests wait for one, and find it as the last one left it.
    config.per_address = 1 + seed as usize % 3;
    let client = Client::with_config(&mut lp, config);
    let to = Address::Ip(at(80));
    let (front, _) = listen(&mut lp, at(81), Http::new(Proxy { client, to })).unwrap();
    let asker = add(&mut lp, client);
    let raw = Rc::<RefCell<Ended>>::default();
    let scripts = tcp::add(&mut lp, |_| Raw(raw.clone()));
    let mut rng = SplitMix::new(seed);
    let mut expected = Vec::new();
    for n in 0..JOBS {
        let (job, outcome) = case(&mut rng);
        ask(&mut lp, asker, &Address::Ip(at(80 + (n % 2) as u16)), job);
        expected.push(outcome);
        for _ in 0..rng.next_u64() % 40 {
            lp.turn(Some(std::time::Duration::ZERO)).unwrap();
        }
    }
    for port in [80, 81] {
        tcp::dial(&mut lp.env, scripts, at(port), Vec::new());
    }
    run_to_rest(&mut lp, TURNS).unwrap();
    for (n, expected) in expected.iter().enumerate() {
        let job = &lp.get(asker).jobs[n];
        let what = format!("job {n}, {} {}", job.method, job.target);
        judge(job, expected, hostile, &what);
    }
    shutdown(&mut lp.env, origin);
    shutdown(&mut lp.env, front);
    run_to_idle(&mut lp, TURNS).unwrap();
    assert_eq!(lp.world.open(), 0, "sockets are left");
    for (got, why) in raw.borrow().iter() {
        let (all, whole) = if hostile { lenient(got) } else { bodies(got) };
        let part = all.len() <= answers().len() && all[..] == answers()[..all.len()];
        assert!(part, "{}", got.escape_ascii());
        let complete = whole && all.len() == answers().len() && *why == Close::Finished;
        let count = all.len();
        assert!(complete || hostile, "{why:?} after {count}: {}", got.escape_ascii());
    }
    assert_eq!(raw.borrow().len(), 2);
    tell(&log.lock().unwrap());
    let trace = TraceHash::take(&mut lp).unwrap();
    trace.value() ^ lp.world.hash().rotate_left(1)
}

/// A 502 of the proxy is no answer of the script: what came before it counts.
fn lenient(got: &[u8]) -> (Vec<Vec<u8>>, bool) {
    let at = got.windows(12).position(|w| w == b"HTTP/1.1 502");
    bodies(&got[..at.unwrap_or(got.len())])
}

/// Every exchange that was begun and is not answered at once is done, and once.
fn tell(log: &Log) {
    let later = |path: &&String| path.as_str() != "/hello";
    let mut begun: Vec<&String> = log.begun.iter().filter(later).collect();
    let mut done: Vec<&String> = log.done.iter().map(|(path, _)| path).collect();
    begun.sort();
    done.sort();
    assert_eq!(begun, done);
    assert!(log.begun.iter().all(|path| path != "/evil"));
    assert_eq!(log.malformed, []);
}

#[test]
fn every_exchange_ends_as_the_server_said() {
    let test = "every_exchange_ends_as_the_server_said";
    check(SEEDS, cargo_test("loopwork-http --test sim", test), |seed| run(seed, false));
}

#[test]
fn every_exchange_ends_so_or_fails() {
    let test = "every_exchange_ends_so_or_fails";
    check(SEEDS, cargo_test("loopwork-http --test sim", test), |seed| run(seed, true));
}
