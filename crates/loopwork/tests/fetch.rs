//! Fetching in a loop, in the simulated world: redirects, addresses, proxies, bodies both ways,
//! and giving up.

mod fetch_support;

use fetch_support::{A, B, NOBODY, Noting, Stage};
use loopwork::dns::{Config, Hosts, Resolver};
use loopwork::fetch::{Error, Proxies};
use loopwork::http::BadUrl;
use loopwork::http::client::Failure;
use loopwork::http::redirect::{Policy, Refused};
use loopwork::reactor::blocking::JOBS;
use loopwork::tcp::{self, Family};
use loopwork::{Address, Env, Fetch, Id};
use std::net::SocketAddr;
use std::time::Duration;

/// The seeds that each test of the world's moods runs with; 0 is a perfect world.
const SEEDS: u64 = 12;

fn a(path: &str) -> String {
    format!("http://{A}{path}")
}

#[test]
fn a_page_and_its_head() {
    for seed in 0..SEEDS {
        let mut stage = Stage::new(seed, &[]);
        let page = stage.fetch(Fetch::get(&a("/x?y#z"))).unwrap();
        assert_eq!((page.head.status, &*page.text()), (200, "GET /x?y"));
        assert_eq!((page.head.url.to_string(), page.redirects), (a("/x?y"), 0));
        assert_eq!(page.head.headers.text("content-length"), Some("8"));
        let seen = stage.last();
        assert_eq!(seen.header("Host"), Some(A));
        assert!(seen.header("User-Agent").unwrap().starts_with("loopwork/"));
        let page = stage.fetch(Fetch::get(&a("/missing"))).unwrap();
        assert_eq!((page.head.ok(), page.head.status), (false, 404));
        let page = stage.fetch(Fetch::new("HEAD", &a("/blob?99"))).unwrap();
        assert!(page.head.ok() && page.body.is_empty());
        assert_eq!(page.head.headers.text("Content-Length"), Some("99"));
        let page = stage.fetch(Fetch::get(&format!("localhost:{}/n", &A[10..]))).unwrap();
        assert_eq!(page.text(), "GET /n");
    }
}

#[test]
fn bodies_and_headers_are_sent() {
    let mut stage = Stage::new(0, &[]);
    let fetch = Fetch::post(&a("/p"), "a=b").header("Content-Type", "text/x").header("Host", "h");
    assert_eq!(stage.fetch(fetch).unwrap().text(), "POST /p");
    let seen = stage.last();
    assert_eq!((seen.header("Host"), &seen.body[..]), (Some("h"), &b"a=b"[..]));
    assert_eq!(seen.header("content-type"), Some("text/x"));
    stage.fetch(Fetch::new("PUT", &a("/p"))).unwrap();
    assert_eq!(stage.last().header("Content-Length"), Some("0"));
    stage.fetch(Fetch::new("DELETE", &a("/p"))).unwrap();
    assert_eq!(stage.last().header("Content-Length"), None);
    let big = vec![7; 1 << 20];
    stage.fetch(Fetch::post(&a("/p"), big.clone()).close()).unwrap();
    assert_eq!(stage.last().body, big);
    assert_eq!(stage.last().header("Connection"), Some("close"));
    stage.fetch(Fetch::get(&format!("http://u:p%20q@{A}/"))).unwrap();
    assert_eq!(stage.last().header("Authorization"), Some("Basic dTpwIHE="));
    let own = Fetch::get(&format!("http://u:p@{A}/")).header("authorization", "Bearer x");
    stage.fetch(own.header("User-Agent", "me")).unwrap();
    assert_eq!(stage.last().header("Authorization"), Some("Bearer x"));
    assert_eq!(stage.last().header("User-Agent"), Some("me"));
}

#[test]
fn what_is_secret_is_not_shown() {
    let fetch = Fetch::post("http://u:secret@a/", "secret").header("Authorization", "secret");
    let shown = format!("{fetch:?}");
    assert!(shown.contains("POST") && !shown.contains("secret"), "{shown}");
}

#[test]
fn redirects_lead_on() {
    for seed in 0..SEEDS {
        let mut stage = Stage::new(
            seed,
            &[
                ("a/1", 301, "/dir/2"),
                ("a/dir/2", 302, "../3?q"),
                ("a/3", 307, "//127.0.0.1:8002/4#f"),
                ("b/4", 308, "http://127.0.0.1:8001/end"),
            ],
        );
        let page = stage.fetch(Fetch::get(&a("/1"))).unwrap();
        assert_eq!((&*page.text(), page.redirects), ("GET /end", 4));
        assert_eq!(page.head.url.to_string(), a("/end"));
        let lines = ["a GET /1", "a GET /dir/2", "a GET /3?q", "b GET /4", "a GET /end"];
        assert_eq!(stage.lines(), lines);
        let page = stage.fetch(Fetch::get(&a("/1")).redirects(None)).unwrap();
        assert_eq!((page.head.status, &*page.text()), (301, "it is elsewhere"));
    }
}

#[test]
fn a_connection_is_used_again_unless_too_much_is_behind_the_redirect() {
    for (path, same) in [("/short", true), ("/long", false)] {
        let mut stage = Stage::new(0, &[("a/short", 302, "/x"), ("a/x", 302, "/y")]);
        stage.fetch(Fetch::get(&a(path))).unwrap();
        let log = stage.log.borrow();
        assert!(log[0].peer.is_some());
        assert_eq!(log[0].peer == log[1].peer, same, "{path}");
    }
}

#[test]
fn a_redirect_may_come_before_the_body_is_read() {
    let redirects = [("a/hasty/303", 303, "/x"), ("a/hasty/307", 307, "/x")];
    for seed in 0..SEEDS {
        for (path, method) in [("/hasty/303", "GET"), ("/hasty/307", "POST")] {
            let mut stage = Stage::new(seed, &redirects);
            let body: Vec<u8> = (0..1_000_000).map(|n| n as u8).collect();
            stage.fetch(Fetch::post(&a(path), body.clone())).unwrap();
            let seen = stage.last();
            assert_eq!(seen.line(), format!("a {method} /x"));
            assert!(seen.body == if method == "GET" { Vec::new() } else { body });
        }
    }
}

#[test]
fn methods_and_bodies_follow_the_status() {
    let redirects = [
        ("a/301", 301, "/x"),
        ("a/302", 302, "/x"),
        ("a/303", 303, "/x"),
        ("a/307", 307, "/x"),
        ("a/308", 308, "/x"),
    ];
    for (status, method, then, again) in [
        (301, "POST", "GET", false),
        (302, "POST", "GET", false),
        (303, "POST", "GET", false),
        (303, "PUT", "GET", false),
        (303, "HEAD", "HEAD", false),
        (307, "POST", "POST", true),
        (308, "PUT", "PUT", true),
        (302, "PUT", "PUT", true),
    ] {
        let mut stage = Stage::new(0, &redirects);
        let fetch = Fetch::new(method, &a(&format!("/{status}"))).header("Content-Type", "text/x");
        let fetch = if method == "HEAD" { fetch } else { fetch.body("body") };
        stage.fetch(fetch).unwrap();
        let seen = stage.last();
        assert_eq!(seen.line(), format!("a {then} /x"), "{method} {status}");
        assert_eq!(seen.body, if again { &b"body"[..] } else { b"" }, "{method} {status}");
        assert_eq!(seen.header("Content-Type").is_some(), again, "{method} {status}");
        assert_eq!(seen.header("Content-Length").is_some(), again, "{method} {status}");
    }
}

#[test]
fn credentials_are_not_shown_to_others() {
    let redirects = [
        ("a/same", 302, "/there"),
        ("a/other", 302, "http://127.0.0.1:8002/there"),
        ("a/back", 302, "http://127.0.0.1:8002/home"),
        ("b/home", 302, "http://127.0.0.1:8001/there"),
    ];
    for (path, shown) in [("/same", true), ("/other", false), ("/back", false)] {
        let mut stage = Stage::new(0, &redirects);
        let fetch = Fetch::get(&format!("http://u:p@{A}{path}"));
        let fetch = fetch.header("Cookie", "c").header("Proxy-Authorization", "x");
        stage.fetch(fetch.header("Host", "own").header("X-Other", "y")).unwrap();
        for seen in &stage.log.borrow()[1..] {
            for name in ["Authorization", "Cookie", "Proxy-Authorization"] {
                assert_eq!(seen.header(name).is_some(), shown, "{path}: {name}");
            }
            assert_eq!(seen.header("Host") == Some("own"), shown, "{path}");
            assert_eq!(seen.header("X-Other"), Some("y"));
        }
    }
}

#[test]
fn redirects_have_an_end() {
    let mut stage = Stage::new(0, &[]);
    let error = stage.fetch(Fetch::get(&a("/loop"))).unwrap_err();
    assert!(matches!(error, Error::Redirect { why: Refused::TooMany(20), .. }), "{error}");
    assert_eq!(stage.log.borrow().len(), 21);
    let mut policy = Policy::default();
    policy.limit = 100;
    let error = stage.fetch(Fetch::get(&a("/loop")).redirects(Some(policy))).unwrap_err();
    assert_eq!(error.to_string(), format!("{}: more than 100 redirects", a("/loop")));
    assert_eq!(stage.log.borrow().len(), 21 + 101);
}

#[test]
fn only_http_is_followed() {
    let redirects = [
        ("a/file", 302, "file:///etc/passwd"),
        ("a/tls", 302, "https://127.0.0.1/"),
        ("a/bad", 302, "http://a b:c/"),
        ("a/user", 302, "http://u:p@127.0.0.1:8002/"),
    ];
    let mut stage = Stage::new(0, &redirects);
    let file = stage.fetch(Fetch::get(&a("/file"))).unwrap_err();
    let Error::Redirect { from, why } = &file else { panic!("{file}") };
    assert_eq!((from.to_string(), why), (a("/file"), &refused("file")));
    assert!(matches!(stage.fetch(Fetch::get(&a("/tls"))), Err(Error::Scheme(s)) if s == "https"));
    for path in ["/bad", "/user"] {
        let found = stage.fetch(Fetch::get(&a(path)));
        assert!(matches!(found, Err(Error::Redirect { .. })), "{path}");
    }
    assert_eq!(stage.log.borrow().len(), 4);
}

fn refused(scheme: &str) -> Refused {
    Refused::Location(BadUrl::Scheme(scheme.to_string()))
}

#[test]
fn what_cannot_be_asked() {
    let mut stage = Stage::new(0, &[]);
    let mut of = |fetch| stage.fetch(fetch).unwrap_err();
    assert!(matches!(of(Fetch::get("http://a b/")), Error::Url(BadUrl::Malformed(_))));
    assert!(matches!(of(Fetch::get("ftp://a/")), Error::Url(BadUrl::Scheme(_))));
    assert!(matches!(of(Fetch::get("https://a/")), Error::Scheme(_)));
    assert!(matches!(of(Fetch::new("CONNECT", &a("/"))), Error::Request(_)));
    assert!(matches!(of(Fetch::new("A B", &a("/"))), Error::Request(_)));
    assert!(matches!(of(Fetch::get(&a("/")).header("A", "b\r\nC: d")), Error::Request(_)));
    assert!(matches!(of(Fetch::get(&a("/")).header("Content-Length", "9")), Error::Request(_)));
    let nobody = of(Fetch::get(&format!("http://{NOBODY}/")));
    assert!(matches!(nobody, Error::Connect { .. }), "{nobody}");
    assert!(nobody.to_string().contains(NOBODY));
    // Longer than any label may be: it takes no name server to know that.
    let host = "x".repeat(70);
    let name = of(Fetch::get(&format!("http://{host}/")));
    assert!(name.to_string().starts_with(&format!("cannot find {host}: ")), "{name}");
    assert!(stage.log.borrow().is_empty());
}

#[test]
fn the_next_address_is_asked_when_one_is_not_there() {
    for seed in 0..SEEDS {
        let mut stage = Stage::new(seed, &[]);
        stage.pin("Two.test", 80, &[NOBODY, A]);
        stage.pin("none.test", 80, &[NOBODY, "127.0.0.1:8008"]);
        let agent = stage.agent;
        let (mut taker, told) = Noting::new(agent);
        // Small enough to be taken in before it is known that nobody is there.
        taker.pieces = vec![b"by ".to_vec(), b"pieces".to_vec()];
        let fetch = Fetch::new("PUT", "http://two.test/x").stream(None);
        fetch.begin(&mut stage.lp.env, agent, taker);
        stage.until("an end", || told.borrow().end.is_some());
        let told = told.take();
        assert_eq!(told.end.unwrap().unwrap().redirects, 0);
        let ask = |at| format!("ask http://two.test/x of {at}");
        assert_eq!(told.what[0], ask(NOBODY));
        assert!(told.what[1].starts_with(&format!("not {NOBODY}: ")), "{:?}", told.what);
        assert_eq!(told.what[2..], [ask(A), "head 200 of http://two.test/x".to_string()]);
        assert_eq!(stage.last().body, b"by pieces");
        assert_eq!(stage.last().header("Host"), Some("two.test"));
        stage.fetch(Fetch::post("http://two.test/y", "bytes")).unwrap();
        assert_eq!(stage.last().body, b"bytes");
        let none = stage.fetch(Fetch::get("http://none.test/")).unwrap_err();
        assert!(none.to_string().contains("127.0.0.1:8008"), "{none}");
    }
}

/// More at once than jobs may block: a name is looked up once for all of them.
#[test]
fn a_name_is_looked_up_once_at_a_time() {
    let mut stage = Stage::new(0, &[]);
    stage.agent.settings(&mut stage.lp.env).family = Family::V4;
    let (count, many) = (std::rc::Rc::new(std::cell::Cell::new(0)), JOBS + 100);
    for n in 0..many {
        let (count, url) = (count.clone(), format!("http://localhost:8001/{n}"));
        Fetch::get(&url).whole(&mut stage.lp.env, stage.agent, move |_, page| {
            assert_eq!(page.unwrap().text(), format!("GET /{n}"));
            count.set(count.get() + 1);
        });
    }
    stage.until("all", || count.get() == many);
}

/// A resolver of the loop's own is asked, and what it says against a name is the fetch's error.
#[test]
fn names_by_a_resolver_of_the_loops_own() {
    let mut stage = Stage::new(0, &[]);
    let hosts = Hosts::parse("127.0.0.1 own.example");
    let names = Resolver::new(&mut stage.lp, Config::default(), hosts);
    stage.agent.settings(&mut stage.lp.env).resolver = Some(names);
    let page = stage.fetch(Fetch::get("http://own.example:8001/x")).unwrap();
    assert_eq!(page.text(), "GET /x");
    let host = "x".repeat(70);
    let bad = stage.fetch(Fetch::get(&format!("http://{host}/"))).unwrap_err().to_string();
    assert!(bad.contains("more than 63 characters"), "{bad}");
}

#[test]
fn who_answered_is_asked_first() {
    let mut stage = Stage::new(0, &[]);
    stage.pin("two.test", 80, &[NOBODY, A]);
    let mut asked = Vec::new();
    for _ in 0..3 {
        let (taker, told) = Noting::new(stage.agent);
        Fetch::get("http://two.test/").begin(&mut stage.lp.env, stage.agent, taker);
        stage.until("an end", || told.borrow().end.is_some());
        let what = told.take().what;
        asked.push(what.iter().filter(|what| what.starts_with("ask")).count());
    }
    assert_eq!(asked, [2, 1, 1]);
}

#[test]
fn a_host_may_be_a_unix_socket() {
    let mut stage = Stage::new(0, &[]);
    let at = Address::Unix("/run/engine.sock".into());
    stage.listen(&at);
    stage.agent.settings(&mut stage.lp.env).pin("engine", 80, [at]);
    assert_eq!(stage.fetch(Fetch::get("http://engine/v1")).unwrap().text(), "GET /v1");
    assert_eq!(stage.last().header("Host"), Some("engine"));
}

#[test]
fn hints_come_before_the_head() {
    let mut stage = Stage::new(0, &[]);
    let (taker, told) = Noting::new(stage.agent);
    Fetch::get(&a("/hints")).begin(&mut stage.lp.env, stage.agent, taker);
    stage.until("an end", || told.borrow().end.is_some());
    let told = told.take();
    let url = a("/hints");
    let what = [format!("ask {url} of {A}"), "interim 103".into(), format!("head 200 of {url}")];
    assert_eq!((told.what, &told.body[..]), (what.to_vec(), &b"with hints"[..]));
}

#[test]
fn only_addresses_of_the_family_are_asked() {
    let mut stage = Stage::new(0, &[]);
    stage.agent.settings(&mut stage.lp.env).family = Family::V6;
    let error = stage.fetch(Fetch::get(&a("/"))).unwrap_err();
    assert!(matches!(error, Error::Name { .. }), "{error}");
}

#[test]
fn a_proxy_is_told_the_whole_url() {
    let mut stage = Stage::new(0, &[("b/go", 302, "http://direct.test:8001/d")]);
    let settings = stage.agent.settings(&mut stage.lp.env);
    settings.proxies = Proxies::to(&format!("http://u:p@{B}"), "direct.test").unwrap();
    stage.pin("direct.test", 8001, &[A]);
    let page = stage.fetch(Fetch::get("http://far.test:81/x?y")).unwrap();
    assert_eq!(page.head.url.to_string(), "http://far.test:81/x?y");
    let seen = stage.last();
    assert_eq!(seen.line(), "b GET http://far.test:81/x?y");
    assert_eq!(seen.header("Host"), Some("far.test:81"));
    assert_eq!(seen.header("Proxy-Authorization"), Some("Basic dTpw"));
    let direct = Fetch::get(&a("/a")).proxies(Proxies::none());
    assert_eq!(stage.fetch(direct).unwrap().text(), "GET /a");
    // Led to who is asked directly, it does not show him what is for the proxy.
    let page = stage.fetch(Fetch::get("http://v:w@far.test/go")).unwrap();
    assert_eq!(page.text(), "GET /d");
    let log = stage.log.borrow();
    let [.., there, here] = &log[..] else { panic!() };
    assert_eq!(there.line(), "b GET http://far.test/go");
    assert_eq!(there.header("Authorization"), Some("Basic djp3"));
    assert_eq!(here.line(), "a GET /d");
    assert_eq!((here.header("Proxy-Authorization"), here.header("Authorization")), (None, None));
}

#[test]
fn a_streamed_body_is_sent_once() {
    let redirects = [("a/303", 303, "/x"), ("a/307", 307, "/x")];
    for (path, length) in [("/303", None), ("/307", None), ("/307", Some(6))] {
        let mut stage = Stage::new(0, &redirects);
        let (mut taker, told) = Noting::new(stage.agent);
        taker.pieces = vec![b"abc".to_vec(), b"def".to_vec()];
        let fetch = Fetch::post(&a(path), "").stream(length);
        fetch.begin(&mut stage.lp.env, stage.agent, taker);
        stage.until("an end", || told.borrow().end.is_some());
        let end = told.take().end.unwrap();
        match path {
            "/303" => assert!(end.is_ok() && stage.last().line() == "a GET /x"),
            _ => assert!(matches!(end, Err(Error::Replay))),
        }
        assert_eq!(stage.log.borrow()[0].body, b"abcdef");
    }
}

#[test]
fn long_bodies_both_ways_and_a_taker_that_is_slow() {
    for seed in 0..4 {
        let mut stage = Stage::new(seed, &[]);
        let agent = stage.agent;
        let (mut taker, told) = Noting::new(agent);
        taker.pieces = (0..40).map(|n| vec![n; 20_000]).collect();
        taker.slow = true;
        let all = taker.pieces.concat();
        let fetch = Fetch::new("PUT", &a("/blob?700000")).stream(Some(all.len() as u64));
        let me = fetch.begin(&mut stage.lp.env, agent, taker);
        let mut before = 0;
        for _ in 0..200_000 {
            if told.borrow().end.is_some() {
                break;
            }
            let have = told.borrow().body.len();
            if have > before {
                // Full: nothing more comes until it is told to go on.
                stage.lp.turn(Some(Duration::ZERO)).unwrap();
                stage.lp.turn(Some(Duration::ZERO)).unwrap();
                assert_eq!(told.borrow().body.len(), have);
                assert!(have - before < 300_000, "bounded by the client's pipe");
                before = have;
                agent.resume(&mut stage.lp.env, me);
            }
            stage.lp.turn(Some(Duration::from_millis(1))).unwrap();
        }
        let told = told.take();
        assert!(told.end.unwrap().is_ok() && told.body.len() == 700_000);
        assert!(stage.last().body == all);
    }
}

/// Announces more than it says, in two parts, and ends.
struct Cut;

impl tcp::Protocol for Cut {
    type Conn = bool;
    fn on_accept(&mut self, _: &mut Env, _: Id, _: &Address) -> Option<bool> {
        Some(false)
    }
    fn on_data(&mut self, said: &mut bool, io: &mut tcp::Io<'_>, bytes: &mut [u8]) -> usize {
        if !std::mem::replace(said, true) {
            let head = b"HTTP/1.1 200 OK\r\nContent-Length: 90000\r\n\r\n";
            let _ = io.write(head);
            let _ = io.write(&[b'x'; 10_000]);
            io.set_deadline(Some(io.env.now.after(Duration::from_secs(1))));
        }
        bytes.len()
    }
    fn on_timeout(&mut self, _: &mut bool, io: &mut tcp::Io<'_>) {
        let _ = io.write(&[b'y'; 20_000]);
        io.end();
    }
}

#[test]
fn what_came_before_it_broke_is_handed_over_to_the_slow_too() {
    let mut stage = Stage::new(0, &[]);
    let at: SocketAddr = "127.0.0.1:8003".parse().unwrap();
    tcp::listen(&mut stage.lp, at, Cut).unwrap();
    let (agent, (mut taker, told)) = (stage.agent, Noting::new(stage.agent));
    taker.slow = true;
    let me = Fetch::get("127.0.0.1:8003").begin(&mut stage.lp.env, agent, taker);
    stage.until("a part", || told.borrow().body.len() == 10_000);
    let begun = stage.lp.env.now;
    while stage.lp.env.now.since(begun) < Duration::from_secs(3) {
        stage.lp.turn(Some(Duration::from_millis(100))).unwrap();
    }
    assert!(told.borrow().end.is_none() && told.borrow().body.len() == 10_000);
    agent.resume(&mut stage.lp.env, me);
    stage.until("the rest", || told.borrow().body.len() == 30_000);
    agent.resume(&mut stage.lp.env, me);
    stage.until("an end", || told.borrow().end.is_some());
    let end = told.take().end.unwrap();
    assert!(matches!(end, Err(Error::Exchange { why: Failure::Closed, .. })), "{end:?}");
}

#[test]
fn longer_than_its_limit() {
    let mut stage = Stage::new(0, &[]);
    let mut of = |n, limit| stage.fetch(Fetch::get(&a(&format!("/blob?{n}"))).limit(limit));
    assert_eq!(of(1000, 1000).unwrap().body.len(), 1000);
    assert!(matches!(of(1001, 1000), Err(Error::TooLong(1000))));
    assert!(matches!(of(900_000, 0), Err(Error::TooLong(0))));
    assert!(of(0, 0).unwrap().body.is_empty());
    let head = stage.fetch(Fetch::new("HEAD", &a("/blob?1001")).limit(1000));
    assert!(head.is_ok());
}

#[test]
fn in_time_or_not_at_all() {
    let mut stage = Stage::new(0, &[]);
    let page = stage.fetch(Fetch::get(&a("/")).timeout(Duration::from_secs(60)));
    assert!(page.is_ok());
    let (mut taker, told) = Noting::new(stage.agent);
    taker.slow = true;
    let fetch = Fetch::get(&a("/blob?900000")).timeout(Duration::from_secs(3));
    fetch.begin(&mut stage.lp.env, stage.agent, taker);
    let begun = stage.lp.env.now;
    stage.until("an end", || told.borrow().end.is_some());
    assert!(matches!(told.take().end, Some(Err(Error::TimedOut))));
    let took = stage.lp.env.now.since(begun);
    assert!(took >= Duration::from_secs(3) && took < Duration::from_secs(4), "{took:?}");
}

#[test]
fn who_gives_up_hears_the_end_and_nothing_else() {
    let redirects = [("a/r", 302, "/blob?5")];
    for (at, last) in [
        ("ask", "ask http"),
        ("not", "not"),
        ("302", "302 to"),
        ("head", "head 200"),
        ("body", "head 200"),
    ] {
        let mut stage = Stage::new(0, &redirects);
        let (mut taker, told) = Noting::new(stage.agent);
        taker.cancel_at = at;
        stage.pin("two.test", 80, &[NOBODY, A]);
        let me = Fetch::get("http://two.test/r").begin(&mut stage.lp.env, stage.agent, taker);
        stage.until("an end", || told.borrow().end.is_some());
        assert!(matches!(told.borrow().end, Some(Err(Error::Cancelled))), "{at}");
        assert!(told.borrow().what.last().unwrap().starts_with(last), "{at}: {:?}", told.borrow());
        // Of what is over, nothing can be wished any more.
        stage.agent.cancel(&mut stage.lp.env, me);
        stage.agent.resume(&mut stage.lp.env, me);
        assert!(stage.fetch(Fetch::get(&a("/after"))).is_ok());
    }
    let mut stage = Stage::new(0, &[]);
    let (taker, told) = Noting::new(stage.agent);
    let me = Fetch::get("http://localhost:8001/").begin(&mut stage.lp.env, stage.agent, taker);
    stage.agent.cancel(&mut stage.lp.env, me);
    stage.until("an end", || told.borrow().end.is_some());
    assert!(told.borrow().what.is_empty());
}

#[test]
fn many_at_once_and_one_from_the_end_of_another() {
    for seed in 0..SEEDS {
        let mut stage = Stage::new(seed, &[("a/r", 302, "http://127.0.0.1:8002/s")]);
        let (agent, count) = (stage.agent, std::rc::Rc::new(std::cell::Cell::new(0)));
        for n in 0..50 {
            let (count, next) = (count.clone(), a(&format!("/next/{n}")));
            Fetch::get(&a("/r")).whole(&mut stage.lp.env, agent, move |env, page| {
                assert_eq!(page.unwrap().text(), "GET /s");
                Fetch::get(&next).whole(env, agent, move |_, page| {
                    assert_eq!(page.unwrap().text(), format!("GET /next/{n}"));
                    count.set(count.get() + 1);
                });
            });
        }
        stage.until("all", || count.get() == 50);
        assert_eq!(stage.log.borrow().len(), 150);
    }
}
