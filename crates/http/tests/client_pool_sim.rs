//! A pool of connections whose server closes the idle ones at any moment, in a simulated world:
//! each GET is answered and served once, and a POST is served once if it was answered, and not at
//! all if it failed.

mod asker;

use asker::{Job, add, ask};
use loopwork_http::client::{Client, Config, Failure};
use loopwork_http::core::{Method, Request};
use loopwork_http::tcp::listen;
use loopwork_http::tcp::reactor::{Address, Loop};
use loopwork_http::{Answer, App, Http, Reply};
use loopwork_sim::{Faults, Sim, SplitMix, TraceHash, cargo_test, check, run_to_rest};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

/// `LOOPWORK_SEEDS` runs more of them. Each asks this often:
const REQUESTS: usize = 500;
const SEEDS: u64 = 20;
const TURNS: u64 = 1_000_000;

/// What takes long on the way is left out: the server's patience is to be what ends connections.
const NETWORK: Faults = Faults { lag: 0, drop: 0, partition: 0, ..Faults::rough() };

/// How often each path was served.
type Served = Rc<RefCell<HashMap<String, u32>>>;

struct Site(Served);

impl App for Site {
    type Exchange = ();
    fn on_request(&mut self, request: &Request<'_>, reply: Reply<'_>) -> Answer<()> {
        *self.0.borrow_mut().entry(request.target.to_owned()).or_default() += 1;
        let text = if request.method == Method::Post { "taken" } else { "hi" };
        reply.send(200, &[], text.as_bytes())
    }
}

fn run(seed: u64) -> u64 {
    let mut dice = SplitMix::new(seed);
    let mut lp = Loop::new(Sim::with_faults(seed, NETWORK));
    lp.trace(Some(Box::new(TraceHash::new())));
    let served = Served::default();
    let mut site = Http::new(Site(served.clone()));
    // As long as the pauses between two requests, so that its close and a request cross; and long
    // enough for the first request of a connection, which is not sent again.
    site.config.keep_alive = Duration::from_millis(40 + dice.next_u64() % 20);
    let at = std::net::SocketAddr::from(([127, 0, 0, 1], 80));
    let (server, _) = listen(&mut lp, at, site).unwrap();
    loopwork_http::tcp::hold(&mut lp, server, false);
    let mut config = Config::default();
    config.per_address = 64;
    config.oldest_first = seed.is_multiple_of(2);
    let client = Client::with_config(&mut lp, config);
    let asker = add(&mut lp, client);
    for n in 0..REQUESTS {
        let method = if dice.next_u64().is_multiple_of(5) { "POST" } else { "GET" };
        let upload = (method == "POST").then(Vec::new);
        let job = Job { method, upload, ..Job::get(&format!("/{n}")) };
        ask(&mut lp, asker, &Address::Ip(at), job);
        if dice.next_u64().is_multiple_of(4) {
            let pause = Duration::from_micros(dice.next_u64() % 60_000);
            let until = lp.env.now.after(pause);
            while lp.env.now < until {
                let rest = until.since(lp.env.now);
                lp.turn(Some(rest)).unwrap();
            }
        }
    }
    run_to_rest(&mut lp, TURNS).unwrap();
    let served = served.borrow();
    for (n, job) in lp.get(asker).jobs.iter().enumerate() {
        let (what, times) = (format!("{} /{n}", job.method), served.get(&format!("/{n}")));
        match job.outcome {
            Some(Err(why)) if job.method == "POST" => {
                assert_eq!((why, times), (Some(Failure::Closed), None), "{what}");
            }
            outcome => {
                let text = if job.method == "POST" { "taken" } else { "hi" };
                let seen = (outcome, job.status, &job.body[..], times);
                assert_eq!(seen, (Some(Ok(())), 200, text.as_bytes(), Some(&1)), "{what}");
            }
        }
    }
    let trace = TraceHash::take(&mut lp).unwrap();
    trace.value() ^ lp.world.hash().rotate_left(1)
}

#[test]
fn no_request_is_lost_and_none_served_twice() {
    let test = "no_request_is_lost_and_none_served_twice";
    check(SEEDS, cargo_test("loopwork-http --test client_pool_sim", test), run);
}
