//! Limits over all connections, lifetimes, and refusals with a status and headers of one's own.

mod support;

use loopwork_ws::core::frame::{self, Opcode};
use loopwork_ws::http::Offer;
use loopwork_ws::{Failure, Ws, same_origin};
use std::time::Duration;
use support::*;

/// A masked frame of zeros that begins or continues a message, or ends it.
fn fragment(opcode: Opcode, fin: bool, len: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::encode_header(&mut bytes, fin, opcode, false, len as u64, Some([0; 4]));
    bytes.resize(bytes.len() + len, 0);
    bytes
}

#[test]
fn unfinished_messages_share_a_limit() {
    const PART: usize = 400 << 10;
    let server = serve(|| {
        let (play, ends) = Play::new(echo);
        let mut ws = Ws::new(play);
        ws.config.pinned = 1 << 20;
        (ws, ends)
    });
    // What was given back can be had again, however the connection before came to its end.
    for round in 0..4 {
        let mut first = Peer::upgraded(server.at);
        let mut second = Peer::upgraded(server.at);
        for peer in [&mut first, &mut second] {
            peer.send(&fragment(Opcode::Binary, false, PART));
            peer.frame(Opcode::Ping, b"in");
            assert_eq!(peer.next().0, 0x8a);
        }
        let mut third = Peer::upgraded(server.at);
        third.send(&fragment(Opcode::Binary, false, PART));
        assert_eq!(third.rest(), close_bytes(1013, "too much is under way"));
        drop(third);
        assert_eq!(server.ends.next().failure, Some(Failure::Pinned));
        // Whoever was there before is served, and so is who sends what is whole.
        first.send(&fragment(Opcode::Continuation, true, 1));
        assert_eq!(first.next().2.len(), PART + 1);
        let mut fourth = Peer::upgraded(server.at);
        fourth.frame(Opcode::Text, b"short");
        assert_eq!(fourth.next().2, b"short");
        match round {
            0 => second.send(&fragment(Opcode::Continuation, true, 1)),
            1 => second.send(b"\xff\xff"),
            2 => second.frame(Opcode::Close, &1000u16.to_be_bytes()),
            _ => {}
        }
        drop((first, second, fourth));
        (0..3).for_each(|_| drop(server.ends.next()));
    }
}

#[test]
fn a_lifetime_ends_with_a_close() {
    let server = serve(|| {
        let (play, ends) = Play::new(echo);
        let mut ws = Ws::new(play);
        ws.config.life = Duration::from_millis(200);
        (ws, ends)
    });
    let mut peer = Peer::upgraded(server.at);
    // It speaks all the while, and what it is answered may come before.
    peer.frame(Opcode::Text, b"here");
    let close = (0x88, false, close_bytes(1001, "its time is over")[2..].to_vec());
    let mut frame = peer.next();
    if frame != close {
        assert_eq!(frame.2, b"here");
        frame = peer.next();
    }
    assert_eq!(frame, close);
    peer.frame(Opcode::Close, &1001u16.to_be_bytes());
    peer.rest();
    drop(peer);
    let end = server.ends.next();
    assert!(end.clean && end.code == 1001, "{end:?}");
}

#[test]
fn the_application_refuses_as_it_likes() {
    let server = serve(|| {
        let (mut play, ends) = Play::new(echo);
        play.ask = |request, _| match request.path() {
            "/key" if !request.headers.contains("Authorization") => {
                Offer::Refuse(401, &[("WWW-Authenticate", "Basic realm=\"chat\"")], "who is it?\n")
            }
            "/gone" => Offer::Pass,
            _ if !same_origin(request) => Offer::Refuse(403, &[], "not from there\n"),
            _ => Offer::Accept(Seat::default()),
        };
        (Ws::new(play), ends)
    });
    for (path, header, status, with, body) in [
        ("/key", "X: y", "401 ", "WWW-Authenticate: Basic realm=\"chat\"\r\n", "who is it?\n"),
        ("/key", "Authorization: Basic eDp5", "101 ", "", ""),
        ("/", "Origin: http://elsewhere", "403 ", "", "not from there\n"),
        ("/", "Origin: http://localhost", "101 ", "", ""),
        ("/gone", "X: y", "200 ", "", "site"),
        ("/", "Sec-WebSocket-Version: 12", "4", "", ""),
    ] {
        let mut peer = Peer::connect(server.at);
        let request = REQUEST.replace("/chat", path);
        peer.send(request.replace("\r\n\r\n", &format!("\r\n{header}\r\n\r\n")).as_bytes());
        let head = peer.head();
        let said = head.strip_prefix("HTTP/1.1 ").is_some_and(|rest| rest.starts_with(status));
        assert!(said && head.contains(with), "{path} {header}: {head}");
        assert_eq!(peer.bytes(body.len()), body.as_bytes());
    }
}
