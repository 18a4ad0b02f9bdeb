//! What RFC 9110 and RFC 9112 ask of a server and of a client, where no other test says it; and
//! that `docs/conformance.md`, which maps their clauses to tests, names tests that exist.

mod asker;
mod wild;

use asker::{Job, add, ask};
use loopwork_http::client::Client;
use loopwork_http::core::encode::{self, NO_HEADERS, ResponseHead};
use loopwork_http::core::{Body, Request};
use loopwork_http::tcp::reactor::{Address, Loop};
use loopwork_http::{Answer, App, Http, Reply};
use loopwork_sim::{Faults, Sim, run_to_rest};
use std::path::{Path, PathBuf};
use wild::{Got, Plan, Site, play_one, port, raw_server};

/// Answers with the status that the path ends with.
struct Statuses;

impl App for Statuses {
    type Exchange = ();

    fn on_request(&mut self, r: &Request<'_>, mut reply: Reply<'_>) -> Answer<()> {
        let (front, status) = r.path().rsplit_once('/').unwrap();
        let method = r.method.as_str().to_owned();
        if front == "/interim" {
            reply.interim(103, &[("Link", "</a>; rel=preload")]).unwrap();
        }
        let (status, headers) = (status.parse().unwrap(), [("X-Method", &method[..])]);
        if front == "/chunked" {
            reply.head(status, headers, Body::Chunked).unwrap();
            let _ = reply.body.write(b"in chunks");
            reply.body.finish();
            return reply.later(());
        }
        reply.send(status, &headers, b"a body")
    }
}

/// What comes of one request, sent whole.
fn answers(request: &str) -> (Vec<Got>, bool) {
    let seen = play_one(Http::new(Statuses), Plan::whole(request.as_bytes()));
    (seen.answers(), seen.closed)
}

fn answer(request: &str) -> Got {
    let (mut all, _) = answers(request);
    assert_eq!(all.len(), 1, "{request:?}");
    all.remove(0)
}

/// `IMF-fixdate` of RFC 9110, 5.6.7: `Sun, 06 Nov 1994 08:49:37 GMT`.
fn is_fixdate(text: &str) -> bool {
    let pattern = "Aaa, 00 Aaa 0000 00:00:00 GMT";
    text.len() == pattern.len()
        && pattern.bytes().zip(text.bytes()).take(26).all(|(p, b)| match p {
            b'A' => b.is_ascii_uppercase(),
            b'a' => b.is_ascii_lowercase(),
            b'0' => b.is_ascii_digit(),
            other => b == other,
        })
        && text.ends_with(" GMT")
}

#[test]
fn answers_have_a_date_and_our_version() {
    assert!(is_fixdate("Sun, 06 Nov 1994 08:49:37 GMT") && !is_fixdate("Sunday, 06-Nov-94"));
    for request in [
        "GET /s/200 HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /s/304 HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /s/404 HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /s/200 HTTP/1.0\r\n\r\n",
        "GET /s/200 HTTP/1.2\r\nHost: a\r\n\r\n",
        "GET /s/200 HTTP/1.1\r\n\r\n",
        "GET /s/200 HTTP/2.0\r\n\r\n",
        "nonsense\r\n\r\n",
    ] {
        // The reader of the answers takes `HTTP/1.1` and nothing else.
        let got = answer(request);
        assert!(is_fixdate(got.header("date").unwrap()), "{request:?}: {}", got.head);
    }
}

#[test]
fn head_is_answered_as_get_without_the_body() {
    for path in ["/s/200", "/s/404", "/chunked/200"] {
        let of = |method: &str| answer(&format!("{method} {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let (get, head) = (of("GET"), of("HEAD"));
        assert_eq!(head.head.replace("HEAD", "GET"), get.head, "{path}");
        assert!(!get.body.is_empty() && head.body.is_empty());
        // And the connection goes on behind it: what follows is the next answer.
        let twice = format!("HEAD {path} HTTP/1.1\r\nHost: a\r\n\r\n").repeat(2);
        assert_eq!(answers(&twice).0.len(), 2);
    }
}

#[test]
fn statuses_without_content_say_nothing_of_it() {
    for path in ["/s/204", "/s/304"] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
        let (all, closed) = answers(&request.repeat(2));
        assert_eq!((all.len(), closed), (2, false), "{path}");
        for got in all {
            assert_eq!(got.header("content-length"), None, "{path}");
            assert_eq!(got.header("transfer-encoding"), None, "{path}");
        }
    }
    let (all, _) = answers("GET /interim/200 HTTP/1.1\r\nHost: a\r\n\r\n");
    let statuses: Vec<_> = all.iter().map(|got| got.status).collect();
    assert_eq!(statuses, [103, 200]);
    assert!(all[0].header("content-length").or(all[0].header("transfer-encoding")).is_none());
}

#[test]
fn http_10_is_sent_no_chunks_and_no_interim_answers() {
    let (all, closed) = answers("GET /chunked/200 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_eq!((&all[0].body[..], closed), (&b"in chunks"[..], true));
    assert_eq!(all[0].header("transfer-encoding"), None);
    assert_eq!(all[0].header("connection"), Some("close"));
    let (all, _) = answers("GET /interim/200 HTTP/1.0\r\n\r\n");
    assert_eq!((all.len(), all[0].status), (1, 200));
    let (all, closed) = answers("GET /s/200 HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n");
    assert_eq!((all[0].header("connection"), closed), (Some("keep-alive"), false));
}

#[test]
fn answers_come_in_order_and_the_last_one_says_so() {
    let statuses = [200, 404, 201, 503, 204, 200];
    let line = |status: &u16| format!("GET /s/{status} HTTP/1.1\r\nHost: a\r\n\r\n");
    let last = "GET /s/410 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let mut requests: String = statuses.iter().map(line).collect();
    requests.push_str(last);
    requests.push_str(&line(&200));
    let (all, closed) = answers(&requests);
    let got: Vec<u16> = all.iter().map(|got| got.status).collect();
    assert_eq!((&got[..6], &got[6..], closed), (&statuses[..], &[410][..], true));
    for (n, got) in all.iter().enumerate() {
        assert_eq!(got.header("connection"), (n == 6).then_some("close"), "{n}");
    }
}

#[test]
fn a_status_line_has_its_space_without_a_reason() {
    let mut out = Vec::new();
    let head = ResponseHead::new(299, Body::Length(0));
    encode::response_head(&mut out, &head, NO_HEADERS).unwrap();
    assert!(out.starts_with(b"HTTP/1.1 299 \r\n"), "{}", out.escape_ascii());
}

#[test]
fn tunnels_and_mirrors_have_to_be_asked_for() {
    for first in ["CONNECT a:1", "TRACE /", "TRACE http://a/"] {
        let request = format!("{first} HTTP/1.1\r\nHost: a\r\nCookie: secret\r\n\r\n");
        let (site, log) = Site::new(false);
        let seen = play_one(Http::new(site), Plan::whole(request.as_bytes()));
        assert_eq!((seen.statuses(), seen.closed), (vec![501], true), "{first}");
        assert!(log.borrow().begun.is_empty() && !seen.text().contains("secret"));
    }
}

#[test]
fn a_request_that_is_cut_short_ends_its_connection() {
    let requests = [
        ("GET / HTTP/1.1\r\nHo", 0),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhell", 1),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", 1),
    ];
    for (request, begun) in requests {
        let (site, log) = Site::new(false);
        let seen = play_one(Http::new(site), Plan::whole(request.as_bytes()));
        assert_eq!(seen.text(), "", "{request:?}");
        let log = log.borrow();
        assert_eq!((log.begun.len(), log.done, log.cut), (begun, begun, begun), "{request:?}");
        assert!(log.bodies.is_empty());
    }
}

/// What a server sees of a client, which sends each job once; and the jobs' outcomes.
fn heard(answer: &str, jobs: Vec<Job>) -> (Vec<String>, Vec<(u16, String)>) {
    let mut lp = Loop::new(Sim::with_faults(1, Faults::none()));
    let seen = raw_server(&mut lp, Plan::whole(answer.as_bytes()));
    let client = Client::new(&mut lp);
    let asker = add(&mut lp, client);
    let count = jobs.len();
    for job in jobs {
        ask(&mut lp, asker, &Address::Ip(port(80)), job);
    }
    run_to_rest(&mut lp, 1_000_000).unwrap();
    let text = |job: &Job| (job.text().0, job.text().1.to_owned());
    let outcomes = (0..count).map(|n| text(&lp.get(asker).jobs[n])).collect();
    drop(lp);
    let texts = seen.take().into_iter().map(|s| String::from_utf8(s.got).unwrap()).collect();
    (texts, outcomes)
}

#[test]
fn a_client_says_what_it_must() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let jobs = vec![
        Job::get("/a?b"),
        Job::put("/", b"hello".to_vec(), false),
        Job::put("/", b"hello".to_vec(), true),
        Job::put("/", Vec::new(), false),
    ];
    let (mut texts, _) = heard(answer, jobs);
    texts.sort();
    assert_eq!(texts.len(), 4);
    assert_eq!(texts[0], "GET /a?b HTTP/1.1\r\nHost: a\r\n\r\n");
    for text in &texts {
        let lines = |name: &str| text.matches(&format!("\r\n{name}: ")).count();
        assert_eq!(lines("Host"), 1);
        // A length, or chunks, or neither, and nothing behind the message.
        let framing = lines("Content-Length") + lines("Transfer-Encoding");
        assert_eq!(framing, usize::from(text.starts_with("PUT")), "{text}");
    }
    let has = |part: &str, end: &str| texts.iter().any(|t| t.contains(part) && t.ends_with(end));
    assert!(has("Content-Length: 5\r\n", "\r\n\r\nhello"));
    assert!(has("Transfer-Encoding: chunked\r\n", "\r\n\r\n5\r\nhello\r\n0\r\n\r\n"));
    assert!(has("Content-Length: 0\r\n", "\r\n\r\n"));
}

#[test]
fn a_client_takes_statuses_and_reasons_that_it_does_not_know() {
    for line in ["299 ", "299 \u{e9}t\u{e9}", "418 I'm a teapot", "471 x", "599 y", "999 z", "299"]
    {
        let answer = format!("HTTP/1.1 {line}\r\nContent-Length: 2\r\n\r\nhi");
        let (_, outcomes) = heard(&answer, vec![Job::get("/")]);
        assert_eq!(outcomes, [(line[..3].parse().unwrap(), "hi".to_owned())], "{line}");
    }
}

#[test]
fn the_application_is_shown_what_was_sent() {
    let request = "GET http://B:81/x?y HTTP/1.1\r\nHost: a\r\n\r\n";
    let (site, log) = Site::new(false);
    let seen = play_one(Http::new(site), Plan::whole(request.as_bytes()));
    assert_eq!(seen.statuses(), [200]);
    assert_eq!(log.borrow().begun, ["http://B:81/x?y"]);
}

/// The root of the workspace.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The names of all functions below a folder.
fn functions(dir: &Path, into: &mut Vec<String>) {
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            functions(&path, into);
        } else if path.extension().is_some_and(|end| end == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let names = text.lines().filter_map(|line| line.trim_start().strip_prefix("fn "));
            into.extend(names.map(|rest| rest.split(['(', '<']).next().unwrap().to_owned()));
        }
    }
}

/// What is wrong with a row: its clause, and the cell that names its tests.
fn wrong(clause: &str, cell: &str, functions: &[String], traps: &str) -> Option<String> {
    if cell.starts_with("none: ") {
        return None;
    }
    let names: Vec<_> = cell.split('`').skip(1).step_by(2).collect();
    let cases = cell.split('"').skip(1).step_by(2);
    let is_there = |name: &&&str| match name.strip_suffix('…') {
        Some(begin) => functions.iter().any(|f| f.starts_with(begin)),
        None => functions.iter().any(|f| f == **name),
    };
    let missing: Vec<_> = names.iter().filter(|name| !is_there(name)).copied().collect();
    // Quotation marks within a name are left out.
    let traps = traps.replace("\\\"", "");
    let cases: Vec<_> = cases.filter(|case| !traps.contains(&format!("\"{case}\""))).collect();
    let good = !names.is_empty() && missing.is_empty() && cases.is_empty();
    (!good).then(|| format!("{clause}: {missing:?} {cases:?} in {cell}"))
}

#[test]
fn every_clause_names_tests_that_exist() {
    let text = std::fs::read_to_string(root().join("docs/conformance.md")).unwrap();
    let traps = std::fs::read_to_string(root().join("crates/http/tests/traps.rs")).unwrap();
    let mut names = Vec::new();
    for folder in ["http/tests", "http/src", "ws/tests", "tcp/tests"] {
        functions(&root().join("crates").join(folder), &mut names);
    }
    let (mut rows, mut list) = (0, Vec::new());
    for line in text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| clause"))
    {
        let cells: Vec<_> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        assert_eq!(cells.len(), 3, "{line}");
        rows += 1;
        list.extend(wrong(cells[0], cells[2], &names, &traps));
    }
    assert!(rows > 100, "only {rows} rows were found");
    assert!(list.is_empty(), "{}", list.join("\n"));
}

#[test]
fn a_clause_without_a_test_is_noticed() {
    let names = ["there".to_owned()];
    assert_eq!(wrong("1", "`there` \"a case\"", &names, "(\"a case\")"), None);
    assert_eq!(wrong("1", "none: nothing to do", &names, ""), None);
    for cell in ["", "there", "`nowhere`", "`there` `no…`", "`there` \"no case\""] {
        assert!(wrong("1", cell, &names, "").is_some(), "{cell:?}");
    }
}
