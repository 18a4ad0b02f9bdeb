//! Fetches in rough and hostile worlds, seed after seed, each run twice: every one ends, once, and
//! what looks whole is. Some are slow, some are cancelled, some run out of time; in the end
//! nothing is left.

mod fetch_support;

use fetch_support::{A, B, NOBODY, Noting, Stage, Told};
use loopwork::Fetch;
use loopwork::fetch::{Error, Fetching};
use loopwork::sim::{Faults, SplitMix, TraceHash, cargo_test, check};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

/// `LOOPWORK_SEEDS` runs more of them.
const SEEDS: u64 = 300;
const FETCHES: usize = 10;
/// Turns after which a run is called stuck.
const TURNS: usize = 400_000;

/// One fetch, and what must come of it.
struct Case {
    fetch: Fetch,
    pieces: Vec<Vec<u8>>,
    slow: bool,
    /// The body of the answer.
    answer: Vec<u8>,
    /// What the server must have been sent.
    sent: Vec<u8>,
    /// In so many turns it is given up.
    cancel: Option<u64>,
    /// It may fail in any world.
    may_fail: bool,
    told: Rc<RefCell<Told>>,
    fetching: Option<Fetching>,
}

fn case(rng: &mut SplitMix) -> Case {
    let mut below = |n: u64| rng.next_u64() % n;
    let bits = 4 + below(14);
    let size = below(1 << bits) as usize;
    let body: Vec<u8> = (0..size).map(|n| (n * 7 + size) as u8).collect();
    let pieces: Vec<Vec<u8>> = body.chunks(1 + size / 5).map(<[u8]>::to_vec).collect();
    let text = |text: &str| text.as_bytes().to_vec();
    let (streams, length) = (below(4), (below(2) == 0).then_some(size as u64));
    let (fetch, answer, sent) = match below(6) {
        0 => (Fetch::get(&format!("{A}/r/2")), text("GET /end"), Vec::new()),
        1 => (Fetch::get(&format!("{B}/blob?{size}")), vec![b'x'; size], Vec::new()),
        2 => (Fetch::post(&format!("{A}/keep"), body.clone()), text("POST /kept"), body.clone()),
        3 => (Fetch::post(&format!("{A}/r/2"), body.clone()), text("GET /end"), Vec::new()),
        4 if streams > 0 => {
            let fetch = Fetch::new("PUT", "two.test/up").stream(length);
            (fetch, text("PUT /up"), body.clone())
        }
        _ => (Fetch::new("PUT", "two.test/up").body(body.clone()), text("PUT /up"), body.clone()),
    };
    let timeout = (below(6) == 0).then(|| Duration::from_millis(below(20)));
    let cancel = (below(6) == 0).then(|| below(300));
    let fetch = match timeout {
        Some(time) => fetch.timeout(time),
        None => fetch,
    };
    let (slow, told) = (below(2) == 0, Rc::default());
    let may_fail = timeout.is_some() || cancel.is_some();
    Case { fetch, pieces, slow, answer, sent, cancel, may_fail, told, fetching: None }
}

fn run(seed: u64, faults: Faults) -> u64 {
    let hostile = faults.breaks();
    let redirects = [
        ("a/r/2", 302, "../r/1"),
        ("a/r/1", 301, "http://127.0.0.1:8002/end"),
        ("a/keep", 307, "http://127.0.0.1:8002/kept"),
    ];
    let mut stage = Stage::with_faults(seed, faults, &redirects);
    stage.lp.trace(Some(Box::new(TraceHash::new())));
    stage.pin("two.test", 80, &[NOBODY, A]);
    let (mut rng, agent) = (SplitMix::new(seed), stage.agent);
    let mut cases: Vec<Case> = (0..FETCHES).map(|_| case(&mut rng)).collect();
    for case in &mut cases {
        let (mut taker, told) = Noting::new(agent);
        taker.slow = case.slow;
        taker.pieces = case.pieces.clone();
        case.told = told;
        case.fetching = Some(case.fetch.clone().begin(&mut stage.lp.env, agent, taker));
    }
    for turn in 0.. {
        assert!(turn < TURNS, "stuck: {:?}", cases.iter().map(|c| &c.told).collect::<Vec<_>>());
        let mut over = true;
        for case in cases.iter().filter(|case| case.told.borrow().end.is_none()) {
            over = false;
            let (Some(fetching), env) = (case.fetching, &mut stage.lp.env) else { continue };
            match case.cancel == Some(turn as u64) {
                true => agent.cancel(env, fetching),
                false if case.slow && rng.next_u64() % 4 == 0 => agent.resume(env, fetching),
                false => {}
            }
        }
        if over {
            break;
        }
        stage.lp.turn(Some(Duration::from_millis(1))).unwrap();
    }
    for case in &cases {
        judge(case, &stage, hostile);
    }
    let mut lp = stage.end();
    let trace = TraceHash::take(&mut lp).unwrap();
    trace.value() ^ lp.world.hash().rotate_left(1)
}

fn judge(case: &Case, stage: &Stage, hostile: bool) {
    let told = case.told.borrow();
    let what = format!("{:?}, told {:?}", case.fetch, told.what);
    match told.end.as_ref().expect("an end") {
        Ok(_) => {
            assert!(told.body == case.answer, "{what}: another body, of {}", told.body.len());
            let log = stage.log.borrow();
            assert!(log.iter().any(|seen| seen.body == case.sent), "{what}: was not sent");
        }
        Err(Error::Cancelled) => assert!(case.cancel.is_some(), "{what}"),
        Err(why) => {
            assert!(hostile || case.may_fail, "{what}: {why}");
            assert!(case.answer.starts_with(&told.body), "{what}: not a part");
        }
    }
}

#[test]
fn every_fetch_ends_as_it_should() {
    let test = "every_fetch_ends_as_it_should";
    check(SEEDS, cargo_test("loopwork --test fetch_sim", test), |seed| run(seed, Faults::rough()));
}

#[test]
fn every_fetch_ends_so_or_fails() {
    let test = "every_fetch_ends_so_or_fails";
    check(SEEDS, cargo_test("loopwork --test fetch_sim", test), |seed| {
        run(seed, Faults::hostile())
    });
}
