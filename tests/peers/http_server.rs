//! What curl's and Node's clients are shown, besides what `loopwork echo http` does: trailers in
//! both directions, refusals before a body, interim answers, upgrades, tunnels, and bodies of any
//! length whose every byte is known.
//!
//! `http-peer [ADDRESS]` says where it listens, and runs until it is ended. CONNECT to `echo:7`
//! opens a tunnel that says back what it hears; one to anywhere else ends at this server again.
//! A body is compared with what it should be on its way: it is never kept.
//!
//! `http-peer mirror [ADDRESS]` is what suites of raw requests ask for: POST is answered with its
//! body and `/echo` with its headers, but only when the request has come in whole, so that what is
//! wrong in its body can still be answered with 400.

mod lines;

use lines::{BLOCK, LINES, ZEROS, same};
use loopwork_http::core::{Body, Headers, Method, Request};
use loopwork_http::{Answer, App, Http, Offer, Reply, Upgrade};
use loopwork_reactor::{Address, Env, Id, Loop, Os};
use loopwork_tcp::{Close, Flow, Io, Protocol, listen};
use std::net::Ipv4Addr;
use std::time::Duration;

const PLAIN: [(&str, &str); 1] = [("Content-Type", "text/plain")];
/// A body at `/short` is refused from here on, before a byte of it is read.
const TOO_LONG: u64 = 1 << 20;
/// For a body of gigabytes on a machine that has other work.
const BODY_TIMEOUT: Duration = Duration::from_secs(3600);

struct Site {
    /// It has an inside, to which CONNECT opens a tunnel.
    tunnels: bool,
}

/// What comes of a request and its body.
enum Work {
    /// The body is sent back in chunks, with its trailers behind.
    Echo,
    /// It is counted.
    Count(u64),
    /// It is counted, and compared with what it should be: `true` as long as it is.
    Compare(u64, &'static [u8], bool),
    /// So many bytes are still to be sent.
    Send(u64),
}

impl Site {
    fn upload(&self, request: &Request<'_>, mut reply: Reply<'_>) -> Answer<Work> {
        let expects = request.headers.contains("expect");
        let work = match (request.target, reply.remaining()) {
            ("/short", Some(n)) if n > TOO_LONG && expects => {
                return reply.send(413, &PLAIN, b"too long\n");
            }
            ("/echo", _) => {
                let names = [("Content-Type", "text/plain"), ("Trailer", "X-Sum")];
                match reply.head(200, names, Body::Chunked) {
                    Ok(()) => Work::Echo,
                    Err(_) => return reply.send(500, &PLAIN, b""),
                }
            }
            ("/lines", _) => Work::Compare(0, &LINES, true),
            ("/zeros", _) => Work::Compare(0, &ZEROS, true),
            _ => Work::Count(0),
        };
        // It is wanted: a client that waits for 100 is told so.
        reply.resume();
        reply.later(work)
    }

    /// `N` bytes, with a length or in chunks.
    fn download(&self, n: &str, mut reply: Reply<'_>, chunked: bool) -> Answer<Work> {
        let Ok(n) = n.parse() else { return reply.send(404, &PLAIN, b"how many?\n") };
        let body = if chunked { Body::Chunked } else { Body::Length(n) };
        if reply.head(200, PLAIN, body).is_err() {
            return reply.send(500, &PLAIN, b"");
        }
        let mut work = Work::Send(n);
        work.send(&mut reply);
        reply.later(work)
    }

    /// Interim answers, and one behind them.
    fn hints(&self, mut reply: Reply<'_>) -> Answer<Work> {
        let link = ("Link", "</style.css>; rel=preload");
        match reply.interim(102, &[]).and_then(|()| reply.interim(103, &[link])) {
            Ok(()) => reply.send(200, &PLAIN, b"hints came before\n"),
            Err(_) => reply.send(500, &PLAIN, b""),
        }
    }

    /// Chunks, and a trailer that counts them.
    fn chunks(&self, mut reply: Reply<'_>) -> Answer<Work> {
        let head = [("Content-Type", "text/plain"), ("Trailer", "X-Sum")];
        let mut all = || {
            reply.head(200, head, Body::Chunked)?;
            for part in ["one\n", "two\n", "three\n"] {
                let _ = reply.body.write(part.as_bytes());
            }
            reply.body.finish_with([("X-Sum", "3")])
        };
        match all() {
            Ok(()) => reply.later(Work::Count(0)),
            Err(_) => reply.send(500, &PLAIN, b""),
        }
    }
}

impl Work {
    /// Sends as much as is taken.
    fn send(&mut self, reply: &mut Reply<'_>) {
        let Work::Send(left) = self else { return };
        while !reply.body.done() && reply.body.flow() == Flow::Open {
            // Each but the last is a whole block, so that each begins with a line.
            let n = (*left).min(BLOCK as u64);
            *left -= n;
            let _ = reply.body.write(&LINES[..n as usize]);
            if *left == 0 && !reply.body.done() {
                reply.body.finish();
            }
        }
    }
}

impl App for Site {
    type Exchange = Work;

    fn on_request(&mut self, request: &Request<'_>, reply: Reply<'_>) -> Answer<Work> {
        match (request.method, request.target) {
            (Method::Post | Method::Put, _) => self.upload(request, reply),
            (_, "/none") => reply.send(204, &[], b""),
            (_, "/same") => reply.send(304, &[("ETag", "\"1\"")], b""),
            (_, "/hints") => self.hints(reply),
            (_, "/chunks") => self.chunks(reply),
            (Method::Connect, _) => reply.send(403, &PLAIN, b"no tunnel in a tunnel\n"),
            (_, target) => match (target.strip_prefix("/bytes/"), target.strip_prefix("/parts/")) {
                (Some(n), _) => self.download(n, reply, false),
                (_, Some(n)) => self.download(n, reply, true),
                _ if self.tunnels => reply.send(200, &PLAIN, b"hello\n"),
                _ => reply.send(200, &PLAIN, b"hello inside\n"),
            },
        }
    }

    fn on_body(&mut self, x: &mut Work, reply: &mut Reply<'_>, bytes: &[u8]) -> usize {
        match x {
            Work::Count(n) => *n += bytes.len() as u64,
            Work::Compare(n, block, equal) => {
                *equal &= same(block, *n, bytes);
                *n += bytes.len() as u64;
            }
            Work::Echo => {
                if reply.body.write(bytes) == Flow::Full {
                    reply.pause();
                }
            }
            Work::Send(_) => {}
        }
        bytes.len()
    }

    fn on_body_end(&mut self, x: &mut Work, reply: &mut Reply<'_>, trailers: &Headers<'_>) {
        match x {
            _ if reply.body.done() => {}
            Work::Count(n) => reply.answer(200, &PLAIN, format!("{n} bytes\n").as_bytes()),
            Work::Compare(n, _, equal) => {
                let which = if *equal { "as they should be" } else { "which differ" };
                reply.answer(200, &PLAIN, format!("{n} bytes, {which}\n").as_bytes());
            }
            Work::Echo => {
                if reply.body.finish_with(trailers.iter()).is_err() {
                    reply.abort();
                }
            }
            Work::Send(_) => {}
        }
    }

    fn on_more(&mut self, x: &mut Work, reply: &mut Reply<'_>) {
        x.send(reply);
        reply.resume();
    }

    fn understands(&self, method: Method<'_>) -> bool {
        method != Method::Trace
    }
}

/// Answers with what it was sent.
struct Mirror;

/// The longest body that is sent back: no suite sends a longer one that it wants to see again.
const MIRRORED: u64 = 1 << 20;
const ALLOW: (&str, &str) = ("Allow", "GET, HEAD, POST, PUT, OPTIONS");

/// What a request is answered with.
struct Seen {
    answer: Vec<u8>,
    /// Its body is a part of it.
    body: bool,
}

impl App for Mirror {
    type Exchange = Seen;

    fn on_request(&mut self, request: &Request<'_>, reply: Reply<'_>) -> Answer<Seen> {
        let mut seen = Seen { answer: Vec::new(), body: false };
        match (request.method, request.target) {
            (Method::Options, _) => return reply.send(204, &[ALLOW], b""),
            (Method::Patch | Method::Delete | Method::Other(_), _) => {
                return reply.send(405, &[ALLOW], b"");
            }
            (_, "/echo") => {
                for (name, value) in request.headers.iter() {
                    let line = [name.as_bytes(), b": ", value, b"\n"];
                    seen.answer.extend(line.concat());
                }
            }
            (Method::Post | Method::Put, _) => seen.body = true,
            _ => seen.answer.extend(b"OK"),
        }
        reply.later(seen)
    }

    fn on_body(&mut self, x: &mut Seen, _: &mut Reply<'_>, bytes: &[u8]) -> usize {
        if x.body {
            x.answer.extend_from_slice(bytes);
        }
        bytes.len()
    }

    fn on_body_end(&mut self, x: &mut Seen, reply: &mut Reply<'_>, _: &Headers<'_>) {
        reply.answer(200, &PLAIN, &x.answer);
    }
}

/// What follows on HTTP: the protocol `echo`, or a tunnel.
struct Beyond(Http<Site>);

enum Tunnel {
    Echo,
    Inside(Box<<Http<Site> as Protocol>::Conn>),
}

impl Upgrade for Beyond {
    fn offer(&mut self, request: &Request<'_>, io: &mut Io<'_>) -> Offer<Tunnel> {
        let upgrade = request.headers.get_str("upgrade");
        match (request.method, request.target, upgrade) {
            (Method::Connect, "forbidden:1", _) => Offer::Refuse(403, &[], "not there\n"),
            (Method::Connect, to, _) => {
                // A tunnel's head has no length (RFC 9110 §9.3.6).
                let _ = io.write(b"HTTP/1.1 200 OK\r\n\r\n");
                if to == "echo:7" {
                    return Offer::Accept(Tunnel::Echo);
                }
                let from = Address::Ip((Ipv4Addr::LOCALHOST, 0).into());
                match self.0.on_accept(io.env, io.id, &from) {
                    Some(conn) => Offer::Accept(Tunnel::Inside(Box::new(conn))),
                    None => Offer::Refuse(502, &[], "nobody is inside\n"),
                }
            }
            (_, _, Some("echo")) => {
                let head = b"HTTP/1.1 101 \r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n";
                let _ = io.write(head);
                Offer::Accept(Tunnel::Echo)
            }
            _ => Offer::Pass,
        }
    }
}

impl Protocol for Beyond {
    type Conn = Tunnel;

    fn on_data(&mut self, conn: &mut Tunnel, io: &mut Io<'_>, bytes: &mut [u8]) -> usize {
        match conn {
            Tunnel::Inside(conn) => self.0.on_data(conn, io, bytes),
            Tunnel::Echo => {
                let _ = io.write(bytes);
                bytes.len()
            }
        }
    }

    fn on_drain(&mut self, conn: &mut Tunnel, io: &mut Io<'_>) {
        if let Tunnel::Inside(conn) = conn {
            self.0.on_drain(conn, io);
        }
    }

    fn on_end(&mut self, conn: &mut Tunnel, io: &mut Io<'_>) {
        match conn {
            Tunnel::Inside(conn) => self.0.on_end(conn, io),
            Tunnel::Echo => io.end(),
        }
    }

    fn on_timeout(&mut self, conn: &mut Tunnel, io: &mut Io<'_>) {
        match conn {
            Tunnel::Inside(conn) => self.0.on_timeout(conn, io),
            Tunnel::Echo => io.abort(Close::TimedOut),
        }
    }

    fn on_wake(&mut self, conn: &mut Tunnel, io: &mut Io<'_>) {
        if let Tunnel::Inside(conn) = conn {
            self.0.on_wake(conn, io);
        }
    }

    fn on_close(&mut self, conn: Tunnel, id: Id, env: &mut Env, why: Close) {
        if let Tunnel::Inside(conn) = conn {
            self.0.on_close(*conn, id, env, why);
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1).peekable();
    let mirror = args.next_if_eq("mirror").is_some();
    let at = args.next().unwrap_or_else(|| "127.0.0.1:0".to_owned()).parse()?;
    let mut lp = Loop::new(Os::new()?);
    let at = if mirror {
        let mut site = Http::new(Mirror);
        site.config.limits.body_bytes = MIRRORED;
        listen(&mut lp, at, site)?.1
    } else {
        let inside = Http::new(Site { tunnels: false });
        let mut site = Http::with_upgrade(Site { tunnels: true }, Beyond(inside));
        site.config.body_timeout = BODY_TIMEOUT;
        listen(&mut lp, at, site)?.1
    };
    println!("listening on http://{at}");
    Ok(lp.run()?)
}
