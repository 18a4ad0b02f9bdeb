//! A reverse proxy: HTTP in, HTTP out, streamed both ways. Who reads slowly slows who sends, on
//! both sides, and connections to the server behind are used again.
//!
//! `cargo run --release --example proxy 127.0.0.1:8081 127.0.0.1:8080`: listens on the first
//! address, asks the second.

use loopwork_http::client::{Client, Exchange, Ticket};
use loopwork_http::core::encode::{Connection, RequestHead, is_framing_header};
use loopwork_http::core::{Body, Headers, Request, Version};
use loopwork_http::tcp::reactor::{Address, Env, Loop, Os};
use loopwork_http::tcp::{Close, Flow, listen};
use loopwork_http::{Answer, App, Http, Reply};

/// What concerns one connection alone (RFC 9110 §7.6.1), besides what frames the message and what
/// `Connection` names. The server answers `Expect` itself.
const HOP_BY_HOP: [&str; 5] = ["keep-alive", "proxy-connection", "te", "upgrade", "expect"];

type Line<'a> = (&'a str, &'a [u8]);

/// The headers that go on to the other side, and who passed them on (RFC 9110 §7.6.3).
fn passed<'a>(headers: Headers<'a>, of: Version, request: bool) -> impl Iterator<Item = Line<'a>> {
    let passes = move |name: &str| {
        !is_framing_header(name.as_bytes(), request)
            && !HOP_BY_HOP.iter().any(|hop| name.eq_ignore_ascii_case(hop))
            && !headers.has_token("connection", name)
    };
    let via = if of == Version::Http10 { "1.0 loopwork" } else { "1.1 loopwork" };
    headers.iter().filter(move |(name, _)| passes(name)).chain([("Via", via.as_bytes())])
}

/// How the answer's body is passed on. Where there is none, as after HEAD, its length still is.
fn framing(x: &mut Exchange) -> Body {
    let length = |x: &mut Exchange| x.response()?.headers.get_str("content-length")?.parse().ok();
    match x.body() {
        Some(Body::UntilClose) => Body::Chunked,
        Some(Body::None) => length(x).map_or(Body::None, Body::Length),
        body => body.unwrap_or(Body::None),
    }
}

pub(crate) struct Proxy {
    pub(crate) client: Client,
    pub(crate) to: Address,
}

impl App for Proxy {
    type Exchange = Ticket;

    fn on_request(&mut self, request: &Request<'_>, reply: Reply<'_>) -> Answer<Ticket> {
        let body = match reply.remaining() {
            Some(0) => Body::None,
            length => length.map_or(Body::Chunked, Body::Length),
        };
        let (method, target, host) = (request.method.as_str(), request.target, request.host());
        let head = RequestHead { method, target, host, body, connection: Connection::Implicit };
        // Behind those that other proxies added: the last one is the one to be believed.
        let peer = reply.peer().map(|at| at.ip().to_string());
        let forwarded = peer.iter().map(|ip| ("X-Forwarded-For", ip.as_bytes()));
        let headers = passed(request.headers, request.version, true).chain(forwarded);
        match self.client.request(reply.env, self.to.clone(), reply.id, &head, headers) {
            Ok(ticket) => reply.later(ticket),
            Err(_) => reply.send(400, &[], b"this cannot be passed on\n"),
        }
    }

    fn on_body(&mut self, t: &mut Ticket, reply: &mut Reply<'_>, bytes: &[u8]) -> usize {
        if self.client.write(reply.env, *t, bytes) == Flow::Full {
            reply.pause();
        }
        bytes.len()
    }

    fn on_body_end(&mut self, t: &mut Ticket, reply: &mut Reply<'_>, trailers: &Headers<'_>) {
        let ended = self.client.finish_with(reply.env, *t, trailers.iter());
        ended.unwrap_or_else(|_| reply.abort());
    }

    fn on_more(&mut self, t: &mut Ticket, reply: &mut Reply<'_>) {
        if self.client.flow(reply.env, *t) == Flow::Open {
            reply.resume();
        }
        let Some(x) = self.client.exchange(&mut reply.env.shared, *t) else { return };
        let body = framing(x);
        if !reply.body.started()
            && let Some(response) = x.response()
        {
            let headers = passed(response.headers, response.version, false);
            if reply.body.head(response.status, headers, body).is_err() {
                return reply.answer(502, &[], b"the server's answer cannot be passed on\n");
            }
        }
        x.pull(&mut reply.env.calls, reply.body.flow(), |bytes| reply.body.write(bytes));
        match (x.failure(), reply.body.started()) {
            (Some(why), false) => reply.answer(502, &[], format!("{why}\n").as_bytes()),
            // A part of it is out: the client must not take that for the whole.
            (Some(_), true) => reply.abort(),
            (None, _) if x.done() && !reply.body.done() => {
                let trailers = x.trailers().into_iter().flat_map(|all| all.iter());
                reply.body.finish_with(trailers).unwrap_or_else(|_| reply.abort());
            }
            (None, _) => {}
        }
    }

    fn on_done(&mut self, t: Ticket, env: &mut Env, _: Option<Close>) {
        self.client.release(env, t);
    }
}

#[allow(dead_code, reason = "the tests take this file in as a module")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut addresses = std::env::args().skip(1);
    let mut next = |or: &str| addresses.next().unwrap_or_else(|| or.to_owned()).parse();
    let (at, to) = (next("127.0.0.1:8081")?, Address::Ip(next("127.0.0.1:8080")?));
    let mut lp = Loop::new(Os::new()?);
    let client = Client::new(&mut lp);
    let (_, at) = listen(&mut lp, at, Http::new(Proxy { client, to }))?;
    println!("listening on http://{at}");
    Ok(lp.run()?)
}
