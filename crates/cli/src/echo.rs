//! `loopwork echo`: a service that says back what it is told, for each protocol.
//!
//! Rules of this file:
//! * Backpressure is the library's: nothing here keeps a byte.
//! * A datagram is answered with as many bytes as came, so that nobody can use the service to
//!   flood a third one with more than he spends himself.

use crate::common::{self, Fail, Outcome};
use crate::serve::shutdown_timeout;
use crate::tape::{self, Wanted};
use crate::tls;
use clap::{Arg, ArgAction, ArgMatches, Command};
use loopwork::http::core::{Body, Headers, Method, Request};
use loopwork::http::{Answer, App, Http, Reply};
use loopwork::tls::{Tls, config};
use loopwork::{Address, Env, Id, tcp, udp};
use std::net::SocketAddr;
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  loopwork echo tcp 7000               then: loopwork nc 127.0.0.1 7000
  loopwork echo udp 127.0.0.1:7000     then: echo hi | loopwork nc -u -w 1 127.0.0.1 7000
  loopwork echo http --greet hello     then: loopwork get -d hi http://127.0.0.1:PORT/
  loopwork echo ws                     then: loopwork ws ws://127.0.0.1:PORT/
  loopwork echo ws --deflate           the same, with permessage-deflate

tcp greets who connects, http greets who asks with GET and gives back the body of POST and PUT, ws
gives back each message with its type, udp each datagram.
";

pub(crate) fn command() -> Command {
    Command::new("echo")
        .about("Run an echo service")
        .after_help(EXAMPLES)
        .arg(
            Arg::new("protocol")
                .value_name("PROTOCOL")
                .help("What it speaks")
                .value_parser(["tcp", "udp", "http", "ws"])
                .required(true),
        )
        .arg(
            Arg::new("addr")
                .value_name("ADDR")
                .help("Where it listens: IP:PORT, or PORT on loopback; port 0 takes a free one")
                .default_value("127.0.0.1:0"),
        )
        .arg(
            Arg::new("greet")
                .long("greet")
                .value_name("TEXT")
                .help("What tcp and http greet with, on a line; empty for nothing")
                .allow_hyphen_values(true)
                .default_value("欢迎光临"),
        )
        .arg(
            Arg::new("deflate")
                .long("deflate")
                .help("ws: compress messages for clients that offer it")
                .action(ArgAction::SetTrue),
        )
        .args(tls::server_args())
        .arg(shutdown_timeout())
        .arg(tape::arg())
}

pub(crate) fn run(matches: &ArgMatches, wanted: &Wanted) -> Outcome {
    let at = common::listen_address(common::text(matches, "addr").unwrap_or_default(), 0)?;
    let timeout = common::parsed(matches, "shutdown-timeout").unwrap_or_default();
    let deflate = matches.get_flag("deflate");
    let greeting = match common::text(matches, "greet").unwrap_or_default() {
        "" => String::new(),
        text => format!("{text}\n"),
    };
    let protocol = common::text(matches, "protocol").unwrap_or_default();
    let alpn: &[&[u8]] = if protocol == "tcp" { &[] } else { &[config::HTTP] };
    if protocol == "udp" {
        if matches.get_flag("tls-self-signed") || matches.contains_id("tls-cert") {
            let text = "there is no TLS over udp here: leave the --tls flags away";
            return Err(Fail::usage(text));
        }
        return datagrams(wanted, at, timeout);
    }
    wanted.without_tls(matches)?;
    let secure = tls::server(matches, at.ip(), alpn)?;
    let how = How { wanted, at, timeout };
    match (protocol, secure) {
        ("tcp", None) => streams(how, "tcp", Tcp { greeting }),
        ("tcp", Some(tls)) => streams(how, "tls", Tls::server(Tcp { greeting }, tls)),
        ("http", None) => streams(how, "http", Http::new(Web { greeting })),
        ("http", Some(tls)) => streams(how, "https", Tls::server(Http::new(Web { greeting }), tls)),
        (_, None) => streams(how, "ws", crate::ws::echo_server(deflate)),
        (_, Some(tls)) => {
            let server = Tls::server(crate::ws::echo_server(deflate), tls);
            streams(how, "wss", server)
        }
    }
}

/// Where it stands, where it listens, and how long its end may take.
struct How<'a> {
    wanted: &'a Wanted,
    at: SocketAddr,
    timeout: Duration,
}

fn streams<P: tcp::Protocol>(how: How<'_>, scheme: &str, p: P) -> Outcome {
    let How { wanted, at, timeout } = how;
    let mut lp = tape::open(wanted)?;
    let listening = tcp::listen(&mut lp, at, p);
    let (host, at) = listening.map_err(|error| common::cannot_listen(at, &error))?;
    common::end_in_order(&mut lp, timeout, move |env| tcp::shutdown(env, host))?;
    common::announce(scheme, at);
    common::serve(&mut lp, wanted)
}

fn datagrams(wanted: &Wanted, at: SocketAddr, timeout: Duration) -> Outcome {
    let mut lp = tape::open(wanted)?;
    let bound = udp::bind(&mut lp, at, Udp);
    let (host, at) = bound.map_err(|error| common::cannot_listen(at, &error))?;
    let id = lp.get(host).id().unwrap_or(Id::NOBODY);
    common::end_in_order(&mut lp, timeout, move |env| env.wake(id))?;
    common::announce("udp", at);
    common::serve(&mut lp, wanted)
}

struct Tcp {
    greeting: String,
}

impl tcp::Protocol for Tcp {
    type Conn = ();

    fn on_accept(&mut self, _: &mut Env, _: Id, _: &Address) -> Option<()> {
        Some(())
    }

    fn on_open(&mut self, (): &mut (), io: &mut tcp::Io<'_>) {
        let _ = io.write(self.greeting.as_bytes());
    }

    fn on_data(&mut self, (): &mut (), io: &mut tcp::Io<'_>, bytes: &mut [u8]) -> usize {
        let _ = io.write(bytes);
        bytes.len()
    }
}

struct Udp;

impl udp::Protocol for Udp {
    fn on_datagram(&mut self, io: &mut udp::Io<'_>, from: SocketAddr, bytes: &mut [u8]) {
        // Too many wait: this one is lost, which is what datagrams are.
        let _ = io.send(from, bytes);
    }

    fn on_wake(&mut self, io: &mut udp::Io<'_>) {
        io.close();
    }
}

struct Web {
    greeting: String,
}

/// Whether the answer's end has to be said.
struct Upload {
    chunked: bool,
}

impl App for Web {
    type Exchange = Upload;

    fn on_request(&mut self, request: &Request<'_>, mut reply: Reply<'_>) -> Answer<Upload> {
        let plain = ("Content-Type", "text/plain; charset=utf-8");
        match request.method {
            Method::Get | Method::Head => reply.send(200, &[plain], self.greeting.as_bytes()),
            Method::Post | Method::Put => {
                let body = match request.framing().map(|framing| framing.body) {
                    Ok(Body::Length(n)) => Body::Length(n),
                    Ok(Body::None) => Body::Length(0),
                    _ => Body::Chunked,
                };
                let kind = request.headers.get("Content-Type");
                let headers = [("Content-Type", kind.unwrap_or(b"application/octet-stream"))];
                if reply.head(200, headers, body).is_err() {
                    // What came as a header can be sent as one; if not, nothing else is right.
                    reply.abort();
                }
                reply.later(Upload { chunked: body == Body::Chunked })
            }
            _ => {
                let allow = ("Allow", "GET, HEAD, POST, PUT");
                reply.send(405, &[plain, allow], b"only GET, HEAD, POST and PUT\n")
            }
        }
    }

    fn on_body(&mut self, _: &mut Upload, reply: &mut Reply<'_>, bytes: &[u8]) -> usize {
        if reply.body.started() {
            let _ = reply.body.write(bytes);
        }
        bytes.len()
    }

    fn on_body_end(&mut self, x: &mut Upload, reply: &mut Reply<'_>, _: &Headers<'_>) {
        if x.chunked && reply.body.started() {
            reply.body.finish();
        }
    }
}
