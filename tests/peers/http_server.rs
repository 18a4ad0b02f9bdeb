//! What curl's and Node's clients are shown, besides what `loopwork echo http` does: trailers in
//! both directions, refusals before a body, interim answers, upgrades and tunnels.
//!
//! `http-peer [ADDRESS]` says where it listens, and runs until it is ended. CONNECT to `echo:7`
//! opens a tunnel that says back what it hears; one to anywhere else ends at this server again.

use loopwork_http::core::{Body, Headers, Method, Request};
use loopwork_http::{Answer, App, Http, Offer, Reply, Upgrade};
use loopwork_reactor::{Address, Env, Id, Loop, Os};
use loopwork_tcp::{Close, Flow, Io, Protocol, listen};
use std::net::Ipv4Addr;

const PLAIN: [(&str, &str); 1] = [("Content-Type", "text/plain")];
/// A body is refused from here on, before a byte of it is read.
const TOO_LONG: u64 = 1 << 20;

struct Site {
    /// It has an inside, to which CONNECT opens a tunnel.
    tunnels: bool,
}

/// What comes of a request's body.
enum Upload {
    /// Sent back in chunks, with its trailers behind.
    Echo,
    /// Counted.
    Count(u64),
}

impl Site {
    fn upload(&self, request: &Request<'_>, mut reply: Reply<'_>) -> Answer<Upload> {
        let expects = request.headers.contains("expect");
        match (request.target, reply.remaining()) {
            (_, Some(n)) if n > TOO_LONG && expects => reply.send(413, &PLAIN, b"too long\n"),
            ("/echo", _) => {
                let names = [("Content-Type", "text/plain"), ("Trailer", "X-Sum")];
                match reply.head(200, names, Body::Chunked) {
                    Ok(()) => reply.later(Upload::Echo),
                    Err(_) => reply.send(500, &PLAIN, b""),
                }
            }
            _ => {
                // It is wanted: a client that waits for 100 is told so.
                reply.resume();
                reply.later(Upload::Count(0))
            }
        }
    }
}

impl App for Site {
    type Exchange = Upload;

    fn on_request(&mut self, request: &Request<'_>, mut reply: Reply<'_>) -> Answer<Upload> {
        match (request.method, request.target) {
            (Method::Post | Method::Put, _) => self.upload(request, reply),
            (_, "/none") => reply.send(204, &[], b""),
            (_, "/same") => reply.send(304, &[("ETag", "\"1\"")], b""),
            (_, "/hints") => {
                let link = ("Link", "</style.css>; rel=preload");
                match reply.interim(103, &[link]) {
                    Ok(()) => reply.send(200, &PLAIN, b"hints came before\n"),
                    Err(_) => reply.send(500, &PLAIN, b""),
                }
            }
            (_, "/chunks") => {
                let head = [("Content-Type", "text/plain"), ("Trailer", "X-Sum")];
                let sum = [("X-Sum", "3")];
                let mut all = || {
                    reply.head(200, head, Body::Chunked)?;
                    for part in ["one\n", "two\n", "three\n"] {
                        let _ = reply.body.write(part.as_bytes());
                    }
                    reply.body.finish_with(sum)
                };
                match all() {
                    Ok(()) => reply.later(Upload::Count(0)),
                    Err(_) => reply.send(500, &PLAIN, b""),
                }
            }
            (Method::Connect, _) => reply.send(403, &PLAIN, b"no tunnel in a tunnel\n"),
            _ => {
                let inside: &[u8] = if self.tunnels { b"hello\n" } else { b"hello inside\n" };
                reply.send(200, &PLAIN, inside)
            }
        }
    }

    fn on_body(&mut self, x: &mut Upload, reply: &mut Reply<'_>, bytes: &[u8]) -> usize {
        match x {
            Upload::Count(n) => *n += bytes.len() as u64,
            Upload::Echo => {
                if reply.body.write(bytes) == Flow::Full {
                    reply.pause();
                }
            }
        }
        bytes.len()
    }

    fn on_body_end(&mut self, x: &mut Upload, reply: &mut Reply<'_>, trailers: &Headers<'_>) {
        match x {
            _ if reply.body.done() => {}
            Upload::Count(n) => reply.answer(200, &PLAIN, format!("{n} bytes\n").as_bytes()),
            Upload::Echo => {
                if reply.body.finish_with(trailers.iter()).is_err() {
                    reply.abort();
                }
            }
        }
    }

    fn on_more(&mut self, _: &mut Upload, reply: &mut Reply<'_>) {
        reply.resume();
    }

    fn understands(&self, method: Method<'_>) -> bool {
        method != Method::Trace
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
    let at = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let mut lp = Loop::new(Os::new()?);
    let inside = Http::new(Site { tunnels: false });
    let site = Http::with_upgrade(Site { tunnels: true }, Beyond(inside));
    let (_, at) = listen(&mut lp, at.parse()?, site)?;
    println!("listening on http://{at}");
    Ok(lp.run()?)
}
