//! Servers that mean harm, against the client in a simulated world. Each test has the number of
//! its situation in `docs/hostile.md`.
//!
//! Rule: what is not a whole answer is a failure that has a name, and its connection is never
//! used again.

mod asker;
mod wild;

use asker::{Job, add, ask};
use loopwork_http::client::{Client, Config, Failure};
use loopwork_http::core::Malformed;
use loopwork_http::tcp::reactor::{Address, Loop};
use loopwork_sim::{Faults, Sim, run_to_rest};
use std::time::Duration;
use wild::{GAP, Plan, Seen, port, raw_server};

const TURNS: u64 = 10_000_000;
const OK: &str = "HTTP/1.1 200 OK\r\n";

/// Asks twice, one after the other, a server that follows this plan on each connection: what came
/// of it, and what the server saw on each.
fn twice(method: &'static str, plan: Plan) -> ([Job; 2], Vec<Seen>) {
    let mut lp = Loop::new(Sim::with_faults(1, Faults::none()));
    let seen = raw_server(&mut lp, plan);
    let config = Config::default();
    let client = Client::with_config(&mut lp, config);
    let asker = add(&mut lp, client);
    let to = Address::Ip(port(80));
    for _ in 0..2 {
        let n = ask(&mut lp, asker, &to, Job { method, ..Job::get("/") });
        for _ in 0..TURNS {
            if lp.get(asker).jobs[n].outcome.is_some() {
                break;
            }
            lp.turn(None).unwrap();
        }
    }
    run_to_rest(&mut lp, TURNS).unwrap();
    let jobs = [0, 1].map(|n| std::mem::take(&mut lp.get(asker).jobs[n]));
    drop(lp);
    (jobs, seen.take())
}

/// One answer, in one piece and a byte at a time; both must end alike.
fn outcomes(method: &'static str, answer: &str) -> (Result<(u16, Vec<u8>), Failure>, usize) {
    let mut all = Vec::new();
    for plan in [Plan::whole(answer.as_bytes()), Plan::bytes(answer.as_bytes())] {
        let (jobs, seen) = twice(method, plan);
        for job in jobs {
            let outcome = match job.outcome.expect("it has an end") {
                Ok(()) => Ok((job.status, job.body)),
                Err(why) => Err(why.expect("it was not let go of")),
            };
            all.push((outcome, seen.len()));
        }
    }
    assert!(all[0].0 == all[1].0 && all[0].0 == all[2].0, "{all:?} of {answer:?}");
    assert!(all[0] == all[3], "{all:?} of {answer:?}");
    all.remove(0)
}

#[test]
fn hostile_48_answers_that_have_no_body() {
    // Lengths and codings are said of what is not sent, and nothing is waited for.
    let length = "Content-Length: 5\r\n\r\n";
    let coded = "Transfer-Encoding: chunked\r\n\r\n";
    for (method, status, lines) in [
        ("HEAD", 200, length),
        ("HEAD", 200, coded),
        ("HEAD", 404, length),
        ("GET", 204, length),
        ("GET", 204, coded),
        ("GET", 304, length),
        ("GET", 304, coded),
    ] {
        let answer = format!("HTTP/1.1 {status} x\r\n{lines}");
        let (outcome, _) = outcomes(method, &answer);
        assert_eq!(outcome, Ok((status, Vec::new())), "{method} {answer:?}");
        // A body comes all the same: it is no answer to anything, and ends the connection.
        let evil = format!("{answer}HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
        let (jobs, seen) = twice(method, Plan::whole(evil.as_bytes()));
        for job in &jobs {
            assert_eq!((job.outcome, job.status), (Some(Ok(())), status));
            assert_eq!(job.body, b"", "{method} {evil:?}");
        }
        assert_eq!(seen.len(), 2, "a connection for each");
    }
}

#[test]
fn hostile_48_interim_answers_without_end() {
    for (status, most) in [(100, 16), (102, 16), (103, 16), (199, 16)] {
        let interim = format!("HTTP/1.1 {status} x\r\nX: y\r\n\r\n");
        let end = format!("{OK}Content-Length: 2\r\n\r\nhi");
        let (outcome, _) = outcomes("GET", &(interim.repeat(most) + &end));
        assert_eq!(outcome, Ok((200, b"hi".to_vec())), "{status}");
        let (outcome, connections) = outcomes("GET", &(interim.repeat(most + 1) + &end));
        assert_eq!((outcome, connections), (Err(Failure::Unexpected(status)), 2));
        let (jobs, seen) = twice("GET", Plan::paced(interim.repeat(500).as_bytes(), 30, GAP));
        assert_eq!(jobs[0].failure(), Failure::Unexpected(status));
        assert!(seen[0].sent < 40, "it was cut off: {}", seen[0].sent);
    }
    let switch = "HTTP/1.1 101 x\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n";
    assert_eq!(outcomes("GET", switch).0, Err(Failure::Unexpected(101)));
}

#[test]
fn hostile_49_answers_that_are_not_whole() {
    for rest in [
        "",
        "Content-Length: 5\r\n",
        "Content-Length: 5\r\n\r\n",
        "Content-Length: 5\r\n\r\nhell",
        "Transfer-Encoding: chunked\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n5",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n",
    ] {
        let (outcome, connections) = outcomes("GET", &format!("{OK}{rest}"));
        assert_eq!((outcome, connections), (Err(Failure::Closed), 2), "{rest:?}");
    }
    // Without either, the end of the connection is the end of the body.
    let (outcome, connections) = outcomes("GET", &format!("{OK}\r\nall of it"));
    assert_eq!((outcome, connections), (Ok((200, b"all of it".to_vec())), 2));
}

#[test]
fn hostile_49_answers_that_could_be_read_in_two_ways() {
    use Malformed::*;
    let long = format!("{OK}X: {}\r\n\r\n", "x".repeat(17 << 10));
    let many = format!("{OK}{}\r\n", "X: y\r\n".repeat(101));
    let endless = format!("{OK}Transfer-Encoding: chunked\r\n\r\n5;{}", "x".repeat(2000));
    for (answer, sin) in [
        (
            format!("{OK}Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello"),
            DuplicateContentLength,
        ),
        (
            format!("{OK}Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello"),
            DuplicateContentLength,
        ),
        (format!("{OK}Content-Length: 5, 5\r\n\r\nhello"), InvalidContentLength),
        (format!("{OK}Content-Length: +5\r\n\r\nhello"), InvalidContentLength),
        (
            format!("{OK}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
            LengthAndTransferEncoding,
        ),
        (format!("{OK}Transfer-Encoding: gzip\r\n\r\n"), InvalidTransferEncoding),
        (format!("{OK}Transfer-Encoding: gzip, chunked\r\n\r\n"), UnsupportedTransferEncoding),
        (format!("{OK}Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello"), InvalidChunkSize),
        (format!("{OK}Transfer-Encoding: chunked\r\n\r\n5\nhello"), BareLf),
        (format!("{OK}Transfer-Encoding: chunked\r\n\r\n5\r\nhello0"), InvalidChunkEnd),
        (endless, ChunkExtensionsTooLarge),
        (
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(),
            TransferEncodingInHttp10,
        ),
        ("HTTP/1.1 099 OK\r\n\r\n".to_owned(), InvalidStatus),
        ("HTTP/1.1 1000 OK\r\n\r\n".to_owned(), InvalidStatus),
        ("HTTP/2.0 200 OK\r\n\r\n".to_owned(), UnsupportedVersion),
        ("SSH-2.0-OpenSSH_9.6\r\n\r\n".to_owned(), InvalidVersion),
        (format!("{OK}X: a\n\r\n"), BareLf),
        (format!("{OK}X: a\r\n b\r\n\r\n"), ObsFold),
        (format!("{OK}X : a\r\n\r\n"), WhitespaceBeforeColon),
        (format!("{OK}X: a\0b\r\n\r\n"), InvalidHeaderValue),
        (long, HeadTooLarge),
        (many, TooManyHeaders),
    ] {
        let (outcome, connections) = outcomes("GET", &answer);
        assert_eq!((outcome, connections), (Err(Failure::Malformed(sin)), 2), "{answer:.200}");
    }
}

#[test]
fn hostile_49_bytes_behind_an_answer_are_no_answer() {
    let evil = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    for good in [
        format!("{OK}Content-Length: 2\r\n\r\nhi"),
        format!("{OK}Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"),
    ] {
        let bytes = format!("{good}{evil}");
        // Together with the answer's end, or with a part behind it. (What comes later, when the
        // next request is out, cannot be told from its answer.)
        let cuts = [good.len() - 1, good.len() + 1, good.len() + 20, bytes.len()];
        for at in cuts {
            let (jobs, seen) = twice("GET", Plan::cut(bytes.as_bytes(), &[at]));
            for job in jobs {
                assert_eq!(job.text(), (200, "hi"), "cut at {at}");
            }
            assert_eq!(seen.len(), 2, "by another connection");
        }
    }
}

#[test]
fn hostile_50_a_kept_connection_that_closes_as_it_is_used() {
    // The server closes a second after its answer; the next request is sent just before, at the
    // same time, and just after, in steps that are shorter than the way.
    let mut stale = 0;
    for early in (0..40).map(|n| Duration::from_micros(n * 10)) {
        for (method, retried) in [("GET", true), ("POST", false)] {
            let mut lp = Loop::new(Sim::with_faults(1, Faults::none()));
            let answer = format!("{OK}Content-Length: 2\r\n\r\nhi");
            let wait = Some(Duration::from_secs(1));
            let plan = Plan { wait, ..Plan::whole(answer.as_bytes()) };
            let seen = raw_server(&mut lp, plan);
            let client = Client::new(&mut lp);
            let asker = add(&mut lp, client);
            let to = Address::Ip(port(80));
            ask(&mut lp, asker, &to, Job { method, ..Job::get("/") });
            while lp.get(asker).jobs[0].outcome.is_none() {
                lp.turn(None).unwrap();
            }
            let at = lp.world.time().after(Duration::from_micros(1_000_100) - early);
            while lp.world.time() < at {
                let left = at.since(lp.world.time());
                lp.turn(Some(left)).unwrap();
            }
            ask(&mut lp, asker, &to, Job { method, ..Job::get("/") });
            run_to_rest(&mut lp, TURNS).unwrap();
            let job = &lp.get(asker).jobs[1];
            let outcome = job.outcome.expect("it has an end");
            match outcome {
                Ok(()) => assert_eq!(job.text(), (200, "hi")),
                Err(why) => assert!(!retried && why == Some(Failure::Closed), "{method} {why:?}"),
            }
            drop(lp);
            let heads = |seen: &Seen| seen.got.windows(4).filter(|w| *w == b"\r\n\r\n").count();
            let heard: usize = seen.take().iter().map(heads).sum();
            assert!(heard <= if retried { 3 } else { 2 }, "{method}: sent again");
            stale += usize::from(heard == 3 || outcome.is_err());
        }
    }
    assert!(stale > 5, "some were caught by it: {stale}");
}
