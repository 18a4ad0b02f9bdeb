//! The server over real sockets: whom it believes of the PROXY protocol, how many requests a
//! connection has, tunnels, and answers that come from elsewhere.

mod peer;

use loopwork_http::Http;
use peer::{Server, Site};

const GET: &str = "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n";

/// A server that believes these addresses.
fn trusting(rule: &'static str) -> Server {
    Server::site(move |http: &mut Http<Site>| {
        http.config.proxies.add(rule.parse().unwrap());
    })
}

#[test]
fn a_trusted_proxy_says_for_whom_it_comes() {
    let server = trusting("127.0.0.0/8");
    let v1 = b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n".to_vec();
    let mut v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x24".to_vec();
    v2.extend([0; 15]);
    v2.push(7);
    v2.extend([0; 16]);
    v2.extend([0, 80, 0, 90]);
    let unknown = b"PROXY UNKNOWN\r\n".to_vec();
    for header in [&v1, &v2, &unknown] {
        // In one piece with two requests, and byte by byte.
        let mut peer = server.peer();
        let all = [header.as_slice(), GET.as_bytes(), GET.as_bytes()].concat();
        peer.send(&all);
        assert_eq!(peer.response(false).text(), (200, "hello"));
        assert_eq!(peer.response(false).text(), (200, "hello"));
        let mut peer = server.peer();
        for byte in &all[..header.len() + GET.len()] {
            peer.send([*byte]);
        }
        assert_eq!(peer.response(false).text(), (200, "hello"));
    }
    let log = server.log.lock().unwrap();
    let said: Vec<String> = log.peers.iter().map(|at| at.unwrap().to_string()).collect();
    assert_eq!(said[..3], ["192.0.2.1:56324", "192.0.2.1:56324", "192.0.2.1:56324"]);
    assert_eq!(said[3..6], ["[::7]:80", "[::7]:80", "[::7]:80"]);
    // Of one that does not know, it is the proxy itself.
    assert!(said[6..].iter().all(|at| at.starts_with("127.0.0.1:")), "{said:?}");
}

#[test]
fn who_should_say_it_and_does_not_is_cut_off() {
    let server = trusting("127.0.0.1");
    for wrong in [GET, "PROXY TCP4 1.2.3.4 5.6.7.8 1 99999\r\n", "PROXY TCP4 a\r\n", "\r\n\r\nGET"]
    {
        let mut peer = server.peer();
        peer.send(wrong.to_owned() + GET);
        assert!(peer.cut().map_or(true, |got| got.is_empty()), "{wrong:?} was answered");
    }
    let log = server.log.lock().unwrap();
    assert_eq!((log.begun.len(), log.malformed.len()), (0, 0));
}

#[test]
fn nobody_else_is_believed() {
    for server in [Server::site(|_| {}), trusting("192.0.2.0/24")] {
        let mut peer = server.peer();
        peer.send("PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n".to_owned() + GET);
        assert_eq!(peer.response(false).status, 400);
        assert_eq!(peer.rest(), "");
        let mut peer = server.peer();
        assert_eq!(peer.get("/hello").text(), (200, "hello"));
        let from = peer.stream.local_addr().unwrap();
        assert_eq!(server.log.lock().unwrap().peers, [Some(from)]);
        // The header comes once: behind it, too, it is no request.
        let mut peer = server.peer();
        peer.send(GET.to_owned() + "PROXY UNKNOWN\r\n");
        assert_eq!(peer.response(false).text(), (200, "hello"));
        assert_eq!(peer.response(false).status, 400);
    }
}

#[test]
fn the_last_of_so_many_requests_is_the_last() {
    let server = Server::site(|http| http.config.requests = 3);
    let mut peer = server.peer();
    for n in 1..=3 {
        let got = peer.get("/hello");
        let said = (n == 3).then_some("close");
        assert_eq!((got.text(), got.header("connection")), ((200, "hello"), said), "{n}");
    }
    assert_eq!(peer.rest(), "");
    // Pipelined, and answered later: what is behind the last is not served.
    let mut peer = server.peer();
    peer.send("GET /late HTTP/1.1\r\nHost: a\r\n\r\n".repeat(5));
    for n in 1..=3 {
        let got = peer.response(false);
        let said = (n == 3).then_some("close");
        assert_eq!((got.text(), got.header("connection")), ((200, "at last"), said), "{n}");
    }
    assert_eq!(peer.rest(), "");
    assert_eq!(server.log.lock().unwrap().begun.len(), 6);
}
