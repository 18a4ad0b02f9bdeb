//! A protocol that follows on HTTP is told who asks: the other end, or whom a trusted proxy speaks
//! for.

mod peer;

use loopwork_http::core::{Method, Request};
use loopwork_http::tcp::{Io, Protocol, Rule};
use loopwork_http::{Http, Offer, Upgrade};
use peer::{Server, Site};
use std::net::{IpAddr, SocketAddr};

/// Tunnels for one address alone, to an echo.
struct Tunnel {
    only: IpAddr,
}

impl Protocol for Tunnel {
    type Conn = ();
    fn on_data(&mut self, _: &mut (), io: &mut Io<'_>, bytes: &mut [u8]) -> usize {
        let _ = io.write(bytes);
        bytes.len()
    }
}

impl Upgrade for Tunnel {
    fn offer(&mut self, _: &Request<'_>, _: &mut Io<'_>) -> Offer<()> {
        panic!("the server asks with the address")
    }
    fn offer_to(
        &mut self,
        peer: Option<SocketAddr>,
        request: &Request<'_>,
        io: &mut Io<'_>,
    ) -> Offer<()> {
        if request.method != Method::Connect {
            return Offer::Pass;
        }
        if peer.map(|at| at.ip()) != Some(self.only) {
            return Offer::Refuse(403, &[], "not for you\n");
        }
        let _ = io.write(b"HTTP/1.1 200 OK\r\n\r\n");
        Offer::Accept(())
    }
}

const CONNECT: &str = "CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n";

fn server(only: &str, trusting: bool) -> Server {
    let only = only.parse().unwrap();
    Server::run(move |_, log| {
        let mut http = Http::with_upgrade(Site { log }, Tunnel { only });
        if trusting {
            http.config.proxies.add(Rule::address([127, 0, 0, 1].into()));
        }
        http
    })
}

#[test]
fn who_asks_for_a_tunnel_is_told() {
    let origin = server("127.0.0.1", false);
    let mut peer = origin.peer();
    peer.send(CONNECT.to_owned() + "through");
    assert_eq!(peer.until(b"through"), "HTTP/1.1 200 OK\r\n\r\nthrough");
    let origin = server("127.0.0.2", false);
    let mut peer = origin.peer();
    peer.send(CONNECT);
    assert_eq!(peer.response(false).text(), (403, "not for you\n"));
    assert_eq!(peer.rest(), "");
}

#[test]
fn for_whom_a_proxy_asks_is_told() {
    let line = "PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n";
    let origin = server("192.0.2.1", true);
    let mut peer = origin.peer();
    peer.send(line.to_owned() + CONNECT + "through");
    assert_eq!(peer.until(b"through"), "HTTP/1.1 200 OK\r\n\r\nthrough");
    let origin = server("127.0.0.1", true);
    let mut peer = origin.peer();
    peer.send(line.to_owned() + CONNECT);
    assert_eq!(peer.response(false).status, 403);
}
