//! Situations that are no single request: what comes as a deadline passes, as the client ends its
//! side, or as it still sends; each in steps that are shorter than the way.

mod wild;

use loopwork_http::core::encode::NO_HEADERS;
use loopwork_http::core::{Body, Request};
use loopwork_http::tcp::Close;
use loopwork_http::{Answer, App, Http, Reply};
use std::time::Duration;
use wild::{GAP, Plan, Site, play, play_one};

/// Answers each request with its target, 50 ms after it came.
struct Late;

const LATE: Duration = Duration::from_millis(50);

impl App for Late {
    type Exchange = String;

    fn on_request(&mut self, r: &Request<'_>, reply: Reply<'_>) -> Answer<String> {
        let id = reply.id;
        reply.env.after(LATE, move |env| env.wake(id));
        reply.later(r.target.to_owned())
    }

    fn on_more(&mut self, x: &mut String, reply: &mut Reply<'_>) {
        reply.answer(200, &[], x.as_bytes());
    }
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")
}

/// A request that comes as the idle deadline passes is served, or the connection has ended in
/// order before it was read: never anything between.
#[test]
fn a_request_that_comes_as_the_idle_deadline_passes() {
    let (mut served, mut refused) = (0, 0);
    let (idle, one) = (Duration::from_secs(60), get("/"));
    for late in (0..100).map(|n| Duration::from_micros(10 * n)) {
        let mut plan = Plan::cut(one.repeat(2).as_bytes(), &[one.len()]);
        plan.pieces[1].0 = idle - Duration::from_micros(500) + late;
        let (site, log) = Site::new(false);
        let mut http = Http::new(site);
        http.config.keep_alive = idle;
        let seen = play_one(http, plan);
        assert_eq!(seen.why, Close::Finished, "in order, {late:?}");
        match seen.statuses()[..] {
            [200, 200] => served += 1,
            [200] if seen.closed => refused += 1,
            ref other => panic!("{late:?}: {other:?}"),
        }
        assert_eq!(log.borrow().begun.len(), seen.statuses().len());
        assert!(log.borrow().malformed.is_empty());
    }
    assert!(served > 10 && refused > 10, "both were met: {served} {refused}");
}

/// Who sends several requests and ends its side gets all answers, whenever the end comes.
#[test]
fn the_end_behind_pipelined_requests_cuts_no_answer() {
    let three = get("/1") + &get("/2") + &get("/3");
    let wait = |ms| Some(Duration::from_millis(ms));
    let plans: Vec<_> =
        (0..200).map(|ms| Plan { wait: wait(ms), ..Plan::whole(three.as_bytes()) }).collect();
    for seen in play(Http::new(Late), &plans) {
        let bodies: Vec<_> = seen.answers().into_iter().map(|answer| answer.body).collect();
        assert_eq!(bodies, [b"/1", b"/2", b"/3"], "ended after {} ms", seen.n);
        assert_eq!(seen.why, Close::Finished);
    }
}

/// The answer comes while the upload goes on. It arrives whole, and the connection ends in order,
/// not by a reset that might take the answer along.
#[test]
fn an_early_answer_arrives_while_the_upload_goes_on() {
    let body = vec![b'x'; 2_000_000];
    let head = "POST / HTTP/1.1\r\nHost: a\r\n";
    let length = format!("{head}Content-Length: {}\r\n\r\n", body.len());
    let chunk = format!("{head}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n", body.len());
    for front in [length, chunk] {
        let bytes = [front.as_bytes(), &body].concat();
        let gap = Duration::from_micros(100);
        let (site, log) = Site::new(true);
        let seen = play_one(Http::new(site), Plan::paced(&bytes, 10_000, gap));
        assert_eq!((seen.statuses(), seen.closed, seen.why), (vec![200], true, Close::Finished));
        assert_eq!(seen.answers()[0].header("connection"), Some("close"));
        assert_eq!(log.borrow().begun.len(), 1);
    }
}

/// Answers with a head and a body of its own, before it has read anything, and reads nothing.
struct Hasty;

impl App for Hasty {
    type Exchange = ();

    fn on_request(&mut self, r: &Request<'_>, mut reply: Reply<'_>) -> Answer<()> {
        assert!(r.target != "/behind" || r.headers.has_token("X", "may-be-served"));
        reply.head(200, NO_HEADERS, Body::Length(2)).unwrap();
        let _ = reply.body.write(b"ok");
        reply.later(())
    }
}

/// Of an unread body so much is dropped that the connection can go on, and no more: a longer one
/// ends the connection, and neither it nor what lies behind it is ever a request.
#[test]
fn an_unread_body_is_dropped_up_to_a_limit() {
    let head = "POST / HTTP/1.1\r\nHost: a\r\n";
    for (size, goes_on) in [(10, true), (60_000, true), (70_000, false), (1_000_000, false)] {
        let body = "x".repeat(size);
        let chunks = format!("5\r\nhello\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
        let served = if goes_on { "may-be-served" } else { "no" };
        let behind = format!("GET /behind HTTP/1.1\r\nHost: a\r\nX: {served}\r\n\r\n");
        for case in [
            format!("{head}Content-Length: {size}\r\n\r\n{body}{behind}"),
            format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunks}{behind}"),
        ] {
            let plans = [1000, 7777, case.len()].map(|n| Plan::paced(case.as_bytes(), n, GAP));
            for seen in play(Http::new(Hasty), &plans) {
                let wanted = if goes_on { vec![200, 200] } else { vec![200] };
                assert_eq!((seen.statuses(), seen.closed), (wanted, !goes_on), "{size}");
                assert_eq!(seen.why, Close::Finished);
            }
        }
    }
}
