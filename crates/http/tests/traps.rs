//! The 89 requests that servers were measured with, sent to the whole server: whole, a byte at a
//! time, and cut at every place. A row says what must come: the answers' statuses, and whether the
//! connection goes on.
//!
//! Behind each case lies one more request. Where the connection goes on it must be answered, and
//! where it does not it must never be seen by the application: that would be smuggling.

mod wild;

use loopwork_http::Http;
use loopwork_sim::{Faults, Sim, SplitMix};
use wild::{Log, Plan, Seen, Site, play, play_in, play_one};

/// What goes on behind the last answer.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Then {
    Open,
    Closed,
}
use Then::{Closed, Open};

struct Case {
    name: &'static str,
    bytes: Vec<u8>,
    statuses: &'static [u16],
    then: Then,
}

fn case(
    name: &'static str,
    bytes: impl Into<Vec<u8>>,
    statuses: &'static [u16],
    then: Then,
) -> Case {
    Case { name, bytes: bytes.into(), statuses, then }
}

/// Refused with 400, and closed.
fn bad(name: &'static str, bytes: impl Into<Vec<u8>>) -> Case {
    case(name, bytes, &[400], Closed)
}

/// Answered with 200, and kept.
fn good(name: &'static str, bytes: impl Into<Vec<u8>>) -> Case {
    case(name, bytes, &[200], Open)
}

/// A request with this first line, and a host.
fn line(line: &str) -> String {
    format!("{line}\r\nHost: a\r\n\r\n")
}

/// A GET with these lines behind `Host`.
fn get(lines: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n")
}

/// A POST with these lines and this body.
fn post(lines: &str, body: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n{body}")
}

fn chunked(body: &str) -> String {
    post("Transfer-Encoding: chunked", body)
}

/// RFC 9112, 2 to 5: lines and headers.
fn lines() -> Vec<Case> {
    let obs_text = b"GET / HTTP/1.1\r\nHost: a\r\nX: \xe9\r\n\r\n";
    vec![
        bad("bare-LF line ends", "GET / HTTP/1.1\nHost: a\n\n"),
        bad("bare-LF after reqline only", "GET / HTTP/1.1\nHost: a\r\n\r\n"),
        bad("bare CR in header value", get("X: a\rb\r\n")),
        bad("bare CR as line end", "GET / HTTP/1.1\rHost: a\r\r"),
        bad("CR CR LF", "GET / HTTP/1.1\r\r\nHost: a\r\r\n\r\r\n"),
        good("1 leading CRLF", format!("\r\n{}", get(""))),
        bad("ws before 1st header", "GET / HTTP/1.1\r\n Host: a\r\n\r\n"),
        bad("obs-fold", get("X: a\r\n b\r\n")),
        bad("obs-fold TE", get("Transfer-Encoding:\r\n chunked\r\n")),
        bad("ws before colon", get("X : a\r\n")),
        bad("empty field name", get(": a\r\n")),
        bad("no colon", get("X\r\n")),
        bad("NUL in value", get("X: a\0b\r\n")),
        bad("CTL 0x01 in value", get("X: a\x01b\r\n")),
        good("obs-text 0xE9", obs_text),
        good("TAB in value", get("X: a\tb\r\n")),
    ]
}

/// RFC 9112, 6: where a message ends.
fn framing() -> Vec<Case> {
    let length = |value: &str| post(&format!("Content-Length:{value}"), "hello");
    let coding = |value: &str| post(&format!("Transfer-Encoding: {value}"), "0\r\n\r\n");
    let both = "Content-Length: 5\r\nTransfer-Encoding: chunked";
    let old = "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    vec![
        bad("CL+TE", post(both, "0\r\n\r\n")),
        bad("dup CL differ", post("Content-Length: 5\r\nContent-Length: 6", "hello")),
        bad("dup CL same", post("Content-Length: 5\r\nContent-Length: 5", "hello")),
        bad("CL list same", length(" 5, 5")),
        bad("CL +5", length(" +5")),
        bad("CL 0x5", length(" 0x5")),
        bad("CL empty", length("")),
        bad("CL -1", length(" -1")),
        bad("CL 2^64", length(" 18446744073709551616")),
        good("CL 05", length(" 05")),
        bad("TE not final chunked", coding("chunked, gzip")),
        case("TE: gzip, chunked", coding("gzip, chunked"), &[501], Closed),
        bad("TE chunked twice", coding("chunked, chunked")),
        bad("TE two lines", coding("chunked\r\nTransfer-Encoding: chunked")),
        bad("TE xchunked", coding("xchunked")),
        bad("TE identity", coding("identity")),
        bad("TE \"chunked;a=b\"", coding("chunked;a=b")),
        bad("TE in HTTP/1.0", old),
    ]
}

/// RFC 9112, 7: chunks.
fn chunks() -> Vec<Case> {
    let long = format!("5;a={}\r\nhello\r\n0\r\n\r\n", "x".repeat(64 << 10));
    vec![
        bad("chunk size overflow", chunked("10000000000000005\r\nhello\r\n0\r\n\r\n")),
        bad("chunk size 0x5", chunked("0x5\r\nhello\r\n0\r\n\r\n")),
        bad("chunk size neg", chunked("-5\r\nhello\r\n0\r\n\r\n")),
        bad("chunk LF only", chunked("5\nhello\n0\n\n")),
        bad("chunk data missing CRLF", chunked("5\r\nhello0\r\n\r\n")),
        good("chunk ext", chunked("5;a=b\r\nhello\r\n0\r\n\r\n")),
        bad("chunk ext bare LF inside", chunked("5;a\nb\r\nhello\r\n0\r\n\r\n")),
        case("chunk ext 64KB", chunked(&long), &[413], Closed),
        bad("chunk size sp", chunked("5 \r\nhello\r\n0\r\n\r\n")),
        good("trailers", chunked("5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n")),
        good("trailer CL", chunked("5\r\nhello\r\n0\r\nContent-Length: 9\r\n\r\n")),
    ]
}

/// RFC 9112, 3.2: hosts and targets; 9: connections.
fn targets() -> Vec<Case> {
    let host = |value: &str| format!("GET / HTTP/1.1\r\nHost:{value}\r\n\r\n");
    let kept = "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
    vec![
        bad("no Host 1.1", "GET / HTTP/1.1\r\n\r\n"),
        bad("2 Host", host(" a\r\nHost: b")),
        good("Host empty", host("")),
        bad("Host invalid \"a b\"", host(" a b")),
        bad("Host a/b", host(" a/b")),
        case("no Host 1.0", "GET / HTTP/1.0\r\n\r\n", &[200], Closed),
        good("HTTP/1.0 keep-alive", kept),
        case("Connection: close", get("Connection: close\r\n"), &[200], Closed),
        case("Connection: Close, TE", get("Connection: Close, TE\r\n"), &[200], Closed),
        good("absolute-form", line("GET http://a/x HTTP/1.1")),
        good("absolute-form host differs", line("GET http://b/x HTTP/1.1")),
        good("asterisk OPTIONS", line("OPTIONS * HTTP/1.1")),
        bad("asterisk GET", line("GET * HTTP/1.1")),
        // An application has to ask for tunnels; this one does not.
        case("CONNECT authority", line("CONNECT a:443 HTTP/1.1"), &[501], Closed),
        bad("CONNECT origin-form", line("CONNECT / HTTP/1.1")),
        bad("GET authority-form", line("GET a:80 HTTP/1.1")),
        bad("fragment in target", line("GET /a#b HTTP/1.1")),
        bad("raw UTF-8 in target", line("GET /\u{e9} HTTP/1.1")),
        bad("SP in target", line("GET /a b HTTP/1.1")),
    ]
}

/// RFC 9112, 2.3 and 3: the rest of the first line.
fn first_lines() -> Vec<Case> {
    vec![
        bad("TAB as delimiter", line("GET\t/\tHTTP/1.1")),
        bad("2 SP delimiter", line("GET  / HTTP/1.1")),
        bad("trailing SP version", line("GET / HTTP/1.1 ")),
        good("lowercase method", line("get / HTTP/1.1")),
        good("unknown method", line("BREW / HTTP/1.1")),
        bad("method with @", line("G@T / HTTP/1.1")),
        bad("HTTP/0.9", "GET /\r\n"),
        good("HTTP/1.2", line("GET / HTTP/1.2")),
        case("HTTP/2.0", line("GET / HTTP/2.0"), &[505], Closed),
        bad("http/1.1 lower", line("GET / http/1.1")),
        bad("HTTP/01.1", line("GET / HTTP/01.1")),
        case("h2c preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &[505], Closed),
    ]
}

/// RFC 9110: expectations, methods, upgrades; limits; and what is no HTTP.
fn rest() -> Vec<Case> {
    let x = |n: usize| "x".repeat(n << 10);
    let last = get("Connection: close\r\n");
    let unknown = get("Connection: upgrade\r\nUpgrade: tea\r\n");
    let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    vec![
        good("Expect 100", post("Expect: 100-continue\r\nContent-Length: 5", "hello")),
        case("Expect other", get("Expect: tea\r\n"), &[417], Closed),
        good("HEAD", line("HEAD / HTTP/1.1")),
        case("GET with body", get("Content-Length: 2\r\n") + "hi" + &get(""), &[200, 200], Open),
        case("pipeline 3", get("") + &get("") + &get(""), &[200, 200, 200], Open),
        case("pipeline after close", last + &get(""), &[200], Closed),
        case("Upgrade unknown + pipelined", unknown + &get(""), &[200, 200], Open),
        case("header 20KB", get(&format!("X: {}\r\n", x(20))), &[431], Closed),
        case("header 200KB", get(&format!("X: {}\r\n", x(200))), &[431], Closed),
        case("URI 20KB", line(&format!("GET /{} HTTP/1.1", x(20))), &[414], Closed),
        case("150 headers", get(&"X: y\r\n".repeat(150)), &[431], Closed),
        case("2500 headers", get(&"X: y\r\n".repeat(2500)), &[431], Closed),
        bad("TLS ClientHello", hello),
    ]
}

fn table() -> Vec<Case> {
    [lines(), framing(), chunks(), targets(), first_lines(), rest()].into_iter().flatten().collect()
}

/// What lies behind each case.
const BEHIND: &str = "GET /behind HTTP/1.1\r\nHost: a\r\n\r\n";

/// Does this outcome go with the row?
fn judge(case: &Case, seen: &Seen, how: &str) {
    let mut wanted = case.statuses.to_vec();
    wanted.extend((case.then == Open).then_some(200));
    assert_eq!(seen.statuses(), wanted, "{}, {how}: {}", case.name, seen.text());
    assert_eq!(seen.closed, case.then == Closed, "{}, {how}", case.name);
    assert_eq!(seen.why, loopwork_http::tcp::Close::Finished, "{}, {how}", case.name);
    let closing = seen.answers().last().unwrap().header("connection") == Some("close");
    assert_eq!(closing, case.then == Closed, "{}, {how}: it says so", case.name);
}

/// The application saw what the row says, each time, and nothing that lay behind a refusal.
fn judge_log(case: &Case, log: &Log, runs: usize) {
    let behind = log.begun.iter().filter(|target| *target == "/behind").count();
    assert_eq!(behind, if case.then == Open { runs } else { 0 }, "{}", case.name);
    // A method that the application does not ask for is well-formed.
    let refused = usize::from(case.statuses[0] >= 400 && case.name != "CONNECT authority");
    assert_eq!(log.malformed.len(), refused * runs, "{}: {:?}", case.name, log.malformed);
    assert!(log.cut <= refused * runs && log.done >= log.cut, "{}", case.name);
}

#[test]
fn every_case_is_in_the_table_once() {
    let mut names: Vec<_> = table().iter().map(|case| case.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 89);
}

#[test]
fn every_case_whole_and_alone() {
    for case in table() {
        let (site, log) = Site::new(false);
        let seen = play_one(Http::new(site), Plan::whole(&case.bytes));
        assert_eq!(seen.statuses(), case.statuses, "{}: {}", case.name, seen.text());
        assert_eq!(seen.closed, case.then == Closed, "{}", case.name);
        assert!(log.borrow().begun.iter().all(|target| target != "/behind"));
    }
}

#[test]
fn every_case_a_byte_at_a_time() {
    for case in table() {
        let bytes = [&case.bytes, BEHIND.as_bytes()].concat();
        let (site, log) = Site::new(false);
        let seen = play_one(Http::new(site), Plan::bytes(&bytes));
        judge(&case, &seen, "byte by byte");
        judge_log(&case, &log.borrow(), 1);
    }
}

#[test]
fn every_case_cut_at_every_place() {
    for case in table() {
        let bytes = [&case.bytes, BEHIND.as_bytes()].concat();
        // Long ones at every place of what can be looked at, and here and there behind it.
        let places = (0..bytes.len()).filter(|at| bytes.len() < 1000 || at % 97 == 0 || *at < 200);
        let mut plans = vec![Plan::whole(&bytes)];
        plans.extend(places.filter(|at| *at > 0).map(|at| Plan::cut(&bytes, &[at])));
        let (site, log) = Site::new(false);
        for (seen, n) in play(Http::new(site), &plans).iter().zip(0..) {
            judge(&case, seen, &format!("cut {n}"));
        }
        judge_log(&case, &log.borrow(), plans.len());
    }
}

/// A network that cuts, delays and reorders what is ready changes nothing.
#[test]
fn every_case_on_a_rough_network() {
    for (case, seed) in table().iter().zip(1..) {
        let bytes = [&case.bytes, BEHIND.as_bytes()].concat();
        let wait = Some(std::time::Duration::from_secs(30));
        let mut plans: Vec<_> = (1..9).map(|n| Plan::cut(&bytes, &[n * bytes.len() / 9])).collect();
        plans.iter_mut().for_each(|plan| plan.wait = wait);
        let (site, log) = Site::new(false);
        let world = Sim::with_faults(seed, Faults::rough());
        for seen in play_in(world, Http::new(site), &plans) {
            judge(case, &seen, &format!("seed {seed}"));
        }
        judge_log(case, &log.borrow(), plans.len());
    }
}

/// Cases behind each other on one connection, cut here and there: each is answered as it is alone,
/// up to the first that ends the connection.
#[test]
fn cases_behind_each_other_are_answered_as_alone() {
    let table: Vec<_> = table().into_iter().filter(|case| case.bytes.len() < 1000).collect();
    let open: Vec<_> = table.iter().filter(|case| case.then == Open).collect();
    let mut rng = SplitMix::new(1);
    let mut below = |n: usize| (rng.next_u64() % n as u64) as usize;
    for last in table.iter().flat_map(|case| [case; 8]) {
        let mut cases: Vec<_> = (0..below(6)).map(|_| open[below(open.len())]).collect();
        cases.push(last);
        let mut bytes: Vec<u8> = cases.iter().flat_map(|case| case.bytes.clone()).collect();
        bytes.extend_from_slice(BEHIND.as_bytes());
        let mut statuses: Vec<u16> = cases.iter().flat_map(|case| case.statuses.to_vec()).collect();
        statuses.extend((last.then == Open).then_some(200));
        let mut cuts: Vec<_> = (0..below(9)).map(|_| 1 + below(bytes.len() - 1)).collect();
        cuts.sort_unstable();
        cuts.dedup();
        let (site, log) = Site::new(false);
        let seen = play_one(Http::new(site), Plan::cut(&bytes, &cuts));
        let names: Vec<_> = cases.iter().map(|case| case.name).collect();
        assert_eq!(seen.statuses(), statuses, "{names:?} cut at {cuts:?}");
        assert_eq!(seen.closed, last.then == Closed, "{names:?}");
        let behind = log.borrow().begun.iter().any(|target| target == "/behind");
        assert_eq!(behind, last.then == Open, "{names:?}");
    }
}

/// An application that answers before it reads must not make a hole: what comes behind a body
/// that is malformed is never a request.
#[test]
fn every_case_answered_before_it_is_read() {
    for case in table() {
        let bytes = [&case.bytes, BEHIND.as_bytes()].concat();
        let mut plans = vec![Plan::whole(&bytes), Plan::bytes(&bytes)];
        let cuts = (1..bytes.len()).step_by(bytes.len() / 40 + 1);
        plans.extend(cuts.map(|at| Plan::cut(&bytes, &[at])));
        let (site, log) = Site::new(true);
        for seen in play(Http::new(site), &plans) {
            let statuses = seen.statuses();
            // Its head was good, or it was refused as ever.
            let first = [200, case.statuses[0]].contains(&statuses[0]);
            assert!(first && statuses.len() <= case.statuses.len() + 1, "{}", case.name);
            assert!(seen.closed || case.then == Open, "{}", case.name);
        }
        let log = log.borrow();
        let behind = log.begun.iter().filter(|target| *target == "/behind").count();
        assert!(behind == 0 || case.then == Open, "{}", case.name);
    }
}

/// The client that waits for `100 Continue` gets it, once, before it sends its body.
#[test]
fn expect_100_is_answered_before_the_body_comes() {
    let head = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
    let bytes = format!("{head}hello");
    let (site, log) = Site::new(false);
    let seen = play_one(Http::new(site), Plan::cut(bytes.as_bytes(), &[head.len()]));
    let statuses: Vec<u16> = seen.answers().iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [100, 200]);
    assert_eq!(log.borrow().bodies, [b"hello".to_vec()]);
    // Who will not read it says so instead, and the connection ends.
    let (site, _) = Site::new(true);
    let seen = play_one(Http::new(site), Plan::cut(bytes.as_bytes(), &[head.len()]));
    let statuses: Vec<u16> = seen.answers().iter().map(|answer| answer.status).collect();
    assert_eq!((&statuses[..], seen.closed), (&[200][..], true));
}

/// What a trailer says is never taken for a header, nor for the framing.
#[test]
fn a_trailer_with_a_length_is_dropped() {
    let body = "5\r\nhello\r\n0\r\nContent-Length: 9\r\nX-Sum: 1\r\n\r\n";
    let (site, log) = Site::new(false);
    let seen = play_one(Http::new(site), Plan::whole((chunked(body) + BEHIND).as_bytes()));
    assert_eq!(seen.statuses(), [200, 200]);
    assert_eq!(log.borrow().trailers, [("X-Sum".to_owned(), "1".to_owned())]);
    assert_eq!(log.borrow().bodies, [b"hello".to_vec(), Vec::new()]);
}
