//! What the tests of fetching share: two servers that note what they are asked, in the simulated
//! world, and a taker that notes what it is told.
#![allow(dead_code, reason = "each test file uses its part")]

use loopwork::fetch::{Asking, Done, Error, Fetching, Head, Page, Taker, Upload};
use loopwork::http::core::{Headers, Request};
use loopwork::http::{Answer, App, Http, Reply, Url};
use loopwork::reactor::ListenOptions;
use loopwork::sim::{Faults, Sim, run_to_idle};
use loopwork::tcp::{self, Host};
use loopwork::{Address, Agent, Env, Fetch, Flow, Handle, Loop};
use std::cell::RefCell;
use std::io::{ErrorKind, Write};
use std::net::SocketAddr;
use std::rc::Rc;

/// The servers of the simulated world.
pub(crate) const A: &str = "127.0.0.1:8001";
pub(crate) const B: &str = "127.0.0.1:8002";
/// Where nobody listens.
pub(crate) const NOBODY: &str = "127.0.0.1:8009";
/// More turns than any of the tests needs.
const TURNS: usize = 200_000;

/// What a server was asked.
#[derive(Clone, Default, Debug)]
pub(crate) struct Seen {
    pub(crate) server: &'static str,
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// From where.
    pub(crate) peer: Option<SocketAddr>,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// Server, method and target in one line.
    pub(crate) fn line(&self) -> String {
        format!("{} {} {}", self.server, self.method, self.target)
    }
}

/// A redirect: the path that has it (with the server before it), its status, its `Location`.
pub(crate) type Redirect = (&'static str, u16, &'static str);

/// `N`: so many zeros in gzip; `cut`: some text, cut short; anything else as it is.
fn coded(how: &str) -> Vec<u8> {
    let gzip = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Default::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    match (how, how.parse()) {
        (_, Ok(n)) => gzip(&vec![0; n]),
        ("cut", _) => gzip(b"some text")[..20].to_vec(),
        _ => how.as_bytes().to_vec(),
    }
}

pub(crate) type Log = Rc<RefCell<Vec<Seen>>>;

/// Notes each request. Redirects as it is told, and where the path begins with `/hasty` before it
/// has read a body. `/hints` comes with a 103; `/blob?n` is so many bytes; `/coded?c&x` is coded;
/// `/loop` leads to itself, `/long` to `/short` with a long body; anything else is `method target`.
pub(crate) struct Site {
    pub(crate) name: &'static str,
    pub(crate) redirects: Vec<Redirect>,
    pub(crate) log: Log,
}

impl App for Site {
    type Exchange = Seen;

    fn on_request(&mut self, r: &Request<'_>, reply: Reply<'_>) -> Answer<Seen> {
        let text = |v: &[u8]| String::from_utf8_lossy(v).into_owned();
        let at = |at: &&Redirect| at.0 == format!("{}{}", self.name, r.path());
        if let (true, Some(found)) =
            (r.path().starts_with("/hasty"), self.redirects.iter().find(at))
        {
            return reply.send(found.1, &[("Location", found.2)], b"");
        }
        let peer = reply.peer();
        reply.later(Seen {
            peer,
            server: self.name,
            method: r.method.as_str().to_owned(),
            target: r.target.to_owned(),
            headers: r.headers.iter().map(|(n, v)| (n.to_owned(), text(v))).collect(),
            body: Vec::new(),
        })
    }

    fn on_body(&mut self, x: &mut Seen, _: &mut Reply<'_>, bytes: &[u8]) -> usize {
        x.body.extend_from_slice(bytes);
        bytes.len()
    }

    fn on_body_end(&mut self, x: &mut Seen, reply: &mut Reply<'_>, _: &Headers<'_>) {
        self.log.borrow_mut().push(x.clone());
        let url = Url::parse("http://x", &["http"]).unwrap().join(&x.target, &["http"]).unwrap();
        let (path, query) = url.target.split_once('?').unwrap_or((&url.target, ""));
        let at = |r: &&Redirect| r.0 == format!("{}{path}", self.name);
        if let Some((_, status, location)) = self.redirects.iter().find(at) {
            let headers = [("Location", *location)];
            return reply.answer(*status, &headers, b"it is elsewhere");
        }
        match path {
            "/hints" => {
                reply.interim(103, &[("Link", "</a>")]).unwrap();
                reply.answer(200, &[], b"with hints");
            }
            "/long" => reply.answer(302, &[("Location", "/short")], &[b'x'; 1 << 20]),
            "/loop" => reply.answer(302, &[("Location", "/loop")], b""),
            "/blob" => reply.answer(200, &[], &vec![b'x'; query.parse().unwrap()]),
            "/coded" => {
                let (coding, how) = query.split_once('&').unwrap();
                reply.answer(200, &[("Content-Encoding", coding)], &coded(how));
            }
            "/missing" => reply.answer(404, &[("X-A", "b")], b"no such page"),
            _ => reply.answer(200, &[], format!("{} {}", x.method, x.target).as_bytes()),
        }
    }
}

/// A world with both servers, and an agent.
pub(crate) struct Stage {
    pub(crate) lp: Loop<Sim>,
    pub(crate) agent: Agent,
    pub(crate) log: Log,
    hosts: Vec<Handle<Host<Http<Site>>>>,
}

impl Stage {
    pub(crate) fn new(seed: u64, redirects: &[Redirect]) -> Stage {
        let faults = if seed == 0 { Faults::none() } else { Faults::rough() };
        Stage::with_faults(seed, faults, redirects)
    }

    pub(crate) fn with_faults(seed: u64, faults: Faults, redirects: &[Redirect]) -> Stage {
        let mut lp = Loop::new(Sim::with_faults(seed, faults));
        let (log, mut hosts) = (Log::default(), Vec::new());
        for (name, at) in [("a", A), ("b", B)] {
            let site = Site { name, redirects: redirects.to_vec(), log: log.clone() };
            let at: SocketAddr = at.parse().unwrap();
            hosts.push(tcp::listen(&mut lp, at, Http::new(site)).unwrap().0);
        }
        let agent = Agent::new(&mut lp);
        Stage { lp, agent, log, hosts }
    }

    /// Ends the servers; nothing may be left of the whole world.
    pub(crate) fn end(mut self) -> Loop<Sim> {
        for host in self.hosts {
            tcp::shutdown(&mut self.lp.env, host);
        }
        run_to_idle(&mut self.lp, TURNS as u64).unwrap();
        assert_eq!(self.lp.world.open(), 0, "sockets are left");
        self.lp
    }

    pub(crate) fn until(&mut self, what: &str, mut ready: impl FnMut() -> bool) {
        for _ in 0..TURNS {
            if ready() {
                return;
            }
            self.lp.turn(None).unwrap();
        }
        panic!("it did not happen: {what}");
    }

    /// The servers listen here too.
    pub(crate) fn listen(&mut self, at: &Address) {
        tcp::listen_at(&mut self.lp, self.hosts[0], at, &ListenOptions::default()).unwrap();
    }

    pub(crate) fn pin(&mut self, host: &str, port: u16, at: &[&str]) {
        let at = at.iter().map(|at| at.parse::<SocketAddr>().unwrap());
        self.agent.settings(&mut self.lp.env).pin(host, port, at);
    }

    /// The whole answer.
    pub(crate) fn fetch(&mut self, fetch: Fetch) -> Result<Page, Error> {
        let page = Rc::new(RefCell::new(None));
        let into = page.clone();
        fetch.whole(&mut self.lp.env, self.agent, move |_, page| {
            assert!(into.replace(Some(page)).is_none(), "once");
        });
        self.until("an answer", || page.borrow().is_some());
        page.take().unwrap()
    }

    /// What the servers were asked, a line each.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.log.borrow().iter().map(Seen::line).collect()
    }

    pub(crate) fn last(&self) -> Seen {
        self.log.borrow().last().cloned().unwrap()
    }
}

/// What a taker was told.
#[derive(Default, Debug)]
pub(crate) struct Told {
    pub(crate) what: Vec<String>,
    pub(crate) body: Vec<u8>,
    pub(crate) end: Option<Result<Done, Error>>,
}

/// Notes what it is told; writes what it has to write, piece by piece; is full after each piece
/// if it is slow; gives up when it is told what `cancel_at` begins with.
pub(crate) struct Noting {
    pub(crate) told: Rc<RefCell<Told>>,
    pub(crate) agent: Agent,
    pub(crate) me: Option<Fetching>,
    pub(crate) pieces: Vec<Vec<u8>>,
    pub(crate) slow: bool,
    pub(crate) cancel_at: &'static str,
}

impl Noting {
    pub(crate) fn new(agent: Agent) -> (Noting, Rc<RefCell<Told>>) {
        let told = Rc::<RefCell<Told>>::default();
        let (pieces, cancel_at) = (Vec::new(), "nothing");
        (Noting { told: told.clone(), agent, me: None, pieces, slow: false, cancel_at }, told)
    }

    fn note(&mut self, env: &mut Env, what: String) {
        let mut told = self.told.borrow_mut();
        assert!(told.end.is_none(), "{what} behind the end");
        if let (true, Some(me)) = (what.starts_with(self.cancel_at), self.me) {
            self.agent.cancel(env, me);
        }
        told.what.push(what);
    }
}

impl Taker for Noting {
    fn on_asking(&mut self, env: &mut Env, asking: &Asking<'_>) {
        self.me = Some(asking.fetching);
        self.note(env, format!("ask {} of {}", asking.url, asking.to));
    }

    fn on_unreachable(&mut self, env: &mut Env, to: &Address, kind: ErrorKind) {
        self.note(env, format!("not {to}: {kind}"));
    }

    fn on_upload(&mut self, up: &mut Upload<'_>) {
        while !self.pieces.is_empty() {
            let piece = self.pieces.remove(0);
            if up.write(&piece) == Flow::Full {
                return;
            }
        }
        up.finish();
    }

    fn on_interim(&mut self, env: &mut Env, head: &Head) {
        self.note(env, format!("interim {}", head.status));
    }

    fn on_redirect(&mut self, env: &mut Env, head: &Head, to: &Url) {
        self.note(env, format!("{} to {to}", head.status));
    }

    fn on_head(&mut self, env: &mut Env, head: Head) {
        self.note(env, format!("head {} of {}", head.status, head.url));
    }

    fn on_body(&mut self, env: &mut Env, bytes: &[u8]) -> Flow {
        let told = self.told.clone();
        assert!(told.borrow().end.is_none());
        told.borrow_mut().body.extend_from_slice(bytes);
        if self.cancel_at == "body" {
            self.agent.cancel(env, self.me.unwrap());
        }
        if self.slow { Flow::Full } else { Flow::Open }
    }

    fn on_end(self: Box<Self>, _: &mut Env, end: Result<Done, Error>) {
        assert!(self.told.borrow_mut().end.replace(end).is_none(), "once");
    }
}
