//! `https` through a proxy, in the simulated world: what the proxy says, how it comes apart, and
//! what becomes of it.
#![cfg(feature = "tls")]

use loopwork::fetch::{Error, Proxies, Settings};
use loopwork::http::client::{ANSWER, Client, Config, Failure};
use loopwork::http::core::Request;
use loopwork::http::{Answer, App, Http, Reply};
use loopwork::sim::{Faults, Sim};
use loopwork::tcp::{self, Io, Protocol};
use loopwork::tls::rustls::pki_types::PrivateKeyDer;
use loopwork::tls::{Tls, config};
use loopwork::{Address, Agent, Env, Fetch, Id, Loop};
use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

const PROXY: &str = "127.0.0.1:3128";
const TURNS: usize = 200_000;

struct Site;

impl App for Site {
    type Exchange = ();
    fn on_request(&mut self, r: &Request<'_>, reply: Reply<'_>) -> Answer<()> {
        assert!(r.target == "/page" && r.headers.get_str("proxy-authorization").is_none());
        reply.send(200, &[("Content-Type", "text/plain")], &[7; 50_000])
    }
}

/// A proxy that is the server, too: it answers, and passes on what follows a 200.
struct Front<P> {
    inner: P,
    answer: Rc<RefCell<Vec<u8>>>,
    heads: Rc<RefCell<Vec<String>>>,
}

impl<P: Protocol> Protocol for Front<P> {
    type Conn = (bool, P::Conn);

    fn on_accept(&mut self, env: &mut Env, id: Id, peer: &Address) -> Option<Self::Conn> {
        Some((false, self.inner.on_accept(env, id, peer)?))
    }

    fn on_data(&mut self, c: &mut Self::Conn, io: &mut Io<'_>, bytes: &mut [u8]) -> usize {
        if c.0 {
            return self.inner.on_data(&mut c.1, io, bytes);
        }
        let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else { return 0 };
        self.heads.borrow_mut().push(String::from_utf8_lossy(&bytes[..end]).into_owned());
        assert_eq!(bytes.len(), end + 4, "nothing follows before the answer");
        let answer = self.answer.borrow();
        let _ = io.write(&answer);
        if answer.ends_with(b"\r\n\r\n") && answer.windows(4).any(|w| w == b" 200") {
            c.0 = true;
            self.inner.on_open(&mut c.1, io);
        } else if answer.is_empty() {
            io.end();
        }
        end + 4
    }

    fn keeps(&self, c: &Self::Conn, env: &mut Env) -> usize {
        self.inner.keeps(&c.1, env)
    }

    fn on_drain(&mut self, c: &mut Self::Conn, io: &mut Io<'_>) {
        self.inner.on_drain(&mut c.1, io);
    }

    fn on_end(&mut self, c: &mut Self::Conn, io: &mut Io<'_>) {
        if c.0 { self.inner.on_end(&mut c.1, io) } else { io.end() }
    }

    fn on_timeout(&mut self, c: &mut Self::Conn, io: &mut Io<'_>) {
        self.inner.on_timeout(&mut c.1, io);
    }

    fn on_wake(&mut self, c: &mut Self::Conn, io: &mut Io<'_>) {
        self.inner.on_wake(&mut c.1, io);
    }

    fn on_close(&mut self, c: Self::Conn, id: Id, env: &mut Env, why: tcp::Close) {
        self.inner.on_close(c.1, id, env, why);
    }
}

/// What came of a page behind a proxy that answers so.
struct Came {
    end: Result<(u16, usize), Error>,
    /// What the proxy was sent.
    heads: Vec<String>,
    took: Duration,
}

fn fetch(seed: u64, faults: Faults, answer: &[u8]) -> Came {
    let made = rcgen::generate_simple_self_signed(vec!["server.example".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let identity = config::identity_of(vec![made.cert.der().clone()], key).unwrap();
    let server = config::server(vec![identity]).unwrap();
    let mut lp = Loop::new(Sim::with_faults(seed, faults));
    let (answer, heads) = (Rc::new(RefCell::new(answer.to_vec())), Rc::<RefCell<_>>::default());
    let inner = Tls::server(Http::new(Site), server);
    let front = Front { inner, answer, heads: heads.clone() };
    let at: SocketAddr = PROXY.parse().unwrap();
    tcp::listen(&mut lp, at, front).unwrap();
    let client = Client::with_config(&mut lp, Config::default());
    let mut settings = Settings::default();
    settings.proxies = Proxies::to(&format!("http://me:secret@{PROXY}"), "").unwrap();
    let agent = Agent::with(&mut lp, client, settings);
    agent.secure(&mut lp, || config::client_without_checks(None));
    let done = Rc::new(RefCell::new(None));
    let tell = done.clone();
    Fetch::get("https://server.example:8443/page").whole(&mut lp.env, agent, move |_, page| {
        *tell.borrow_mut() = Some(page.map(|page| (page.head.status, page.body.len())));
    });
    let began = lp.env.now;
    for turn in 0.. {
        if let Some(end) = done.borrow_mut().take() {
            return Came { end, heads: heads.take(), took: lp.env.now.since(began) };
        }
        assert!(turn < TURNS, "seed {seed}: stuck");
        lp.turn(Some(Duration::from_secs(1))).unwrap();
    }
    unreachable!()
}

#[test]
fn a_page_comes_through_a_tunnel_however_it_is_cut() {
    for seed in 0..100 {
        let faults = if seed % 2 == 0 { Faults::rough() } else { Faults::none() };
        let said = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n";
        let Came { end, heads, .. } = fetch(seed, faults, said);
        assert_eq!(end.unwrap(), (200, 50_000), "seed {seed}");
        assert_eq!(
            heads,
            ["CONNECT server.example:8443 HTTP/1.1\r\nHost: server.example:8443\r\n\
              Proxy-Authorization: Basic bWU6c2VjcmV0"],
            "seed {seed}"
        );
    }
}

#[test]
fn a_proxy_that_opens_no_tunnel_is_told_from_the_server() {
    for (answer, wanted) in [
        (&b"HTTP/1.1 407 Who are you\r\nContent-Length: 3\r\n\r\nno\n"[..], 407),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", 101),
        (b"HTTP/1.1 302 Found\r\nLocation: http://elsewhere/\r\n\r\n", 302),
        (b"SSH-2.0-proxy\r\n\r\n", 0),
    ] {
        match fetch(1, Faults::none(), answer).end {
            Err(Error::Exchange { why: Failure::Tunnel(status), .. }) => assert_eq!(status, wanted),
            other => panic!("{wanted}: {other:?}"),
        }
    }
    // It ends; or it goes on to say nothing.
    for (answer, wait) in [(&b""[..], Duration::ZERO), (b"HTTP/1.1 200 OK\r\n", ANSWER)] {
        let Came { end, took, .. } = fetch(1, Faults::none(), answer);
        assert!(matches!(end, Err(Error::Connect { .. } | Error::Exchange { .. })), "{end:?}");
        assert!(took >= wait && took < wait + Duration::from_secs(1), "{took:?}: {end:?}");
    }
}
