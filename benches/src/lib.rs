//! What the benches share: the servers that are measured, and the requests that they are sent.

use loopwork_http::core::Request;
use loopwork_http::{Answer, App, Offer, Reply};
use loopwork_reactor::{Address, Env, Id, Loop, Os};
use loopwork_tcp::{Io, Protocol, listen};
use loopwork_ws::{Handshake, Message, Socket};
use std::net::TcpStream;

/// The least that a request can be.
pub const MINIMAL: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// The request of the TechEmpower plaintext test.
pub const TECHEMPOWER: &[u8] = b"GET /plaintext HTTP/1.1\r\nHost: server\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) Gecko/20130501 Firefox/30.0 AppleWebKit/600.00\r\n\
    Cookie: uid=12345678901234567890; __utma=1.1234567890.1234567890.1234567890.1234567890.12\r\n\
    Connection: keep-alive\r\n\r\n";

/// What a browser sends for a page.
pub const BROWSER: &[u8] = b"GET /articles/2026/reactors?ref=home&lang=en HTTP/1.1\r\n\
    Host: www.example.com\r\n\
    Connection: keep-alive\r\n\
    Cache-Control: max-age=0\r\n\
    sec-ch-ua: \"Chromium\";v=\"140\", \"Not=A?Brand\";v=\"24\"\r\n\
    sec-ch-ua-mobile: ?0\r\n\
    sec-ch-ua-platform: \"Linux\"\r\n\
    Upgrade-Insecure-Requests: 1\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
    Chrome/140.0.0.0 Safari/537.36\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,\
    */*;q=0.8\r\n\
    Sec-Fetch-Site: none\r\n\
    Sec-Fetch-Mode: navigate\r\n\
    Sec-Fetch-User: ?1\r\n\
    Sec-Fetch-Dest: document\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Accept-Language: en-GB,en;q=0.9\r\n\r\n";

/// Echoes.
pub struct Echo;

impl Protocol for Echo {
    type Conn = ();

    fn on_accept(&mut self, _: &mut Env, _: Id, _: &Address) -> Option<()> {
        Some(())
    }

    fn on_data(&mut self, _: &mut (), io: &mut Io<'_>, bytes: &mut [u8]) -> usize {
        let _ = io.write(bytes);
        bytes.len()
    }
}

/// Answers every request with a greeting.
pub struct Hello;

impl App for Hello {
    type Exchange = ();

    fn on_request(&mut self, _: &Request<'_>, reply: Reply<'_>) -> Answer<()> {
        reply.send(200, &[("Content-Type", "text/plain")], b"Hello, World!")
    }
}

/// Echoes WebSocket messages.
pub struct WsEcho;

impl loopwork_ws::App for WsEcho {
    type Conn = ();

    fn on_request(&mut self, _: &Request<'_>, _: &mut Handshake<'_>) -> Offer<()> {
        Offer::Accept(())
    }

    fn on_message(&mut self, _: &mut (), socket: &mut Socket<'_>, message: Message<'_>) {
        let _ = socket.send(&message);
    }
}

/// A loop with this protocol in it, and a client that is connected to it.
///
/// # Panics
/// When the machine has no socket for it: a bench cannot go on then.
pub fn start<P: Protocol>(protocol: P) -> (Loop<Os>, TcpStream) {
    let mut lp = Loop::new(Os::new().expect("a poll"));
    let at = ([127, 0, 0, 1], 0).into();
    let (handle, at) = listen(&mut lp, at, protocol).expect("a port");
    let client = TcpStream::connect(at).expect("a connection");
    client.set_nodelay(true).expect("an option");
    while lp.get(handle).is_empty() {
        lp.turn(None).expect("a turn");
    }
    (lp, client)
}
