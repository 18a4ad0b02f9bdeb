//! permessage-deflate on real sockets: what is agreed on, what goes over the wire, and what fails.

mod support;

use loopwork_ws::core::deflate::{Deflater, Inflater};
use loopwork_ws::core::frame::{self, Opcode};
use loopwork_ws::core::{Terms, Violation};
use loopwork_ws::{Failure, Ws};
use std::time::Duration;
use support::*;

const DEFLATE: &str = "permessage-deflate; client_max_window_bits";
const AGREED: &str = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; \
                      client_no_context_takeover\r\n";

/// An echo that takes messages up to a MiB, compressed ones too; and a client that has offered.
fn deflating(offer: &str) -> (Server, Peer) {
    let server = serve(|| {
        let (play, ends) = Play::new(echo);
        let mut ws = Ws::new(play);
        ws.config.deflate = Some(Terms::default());
        ws.config.limits.message = 1 << 20;
        (ws, ends)
    });
    let mut peer = Peer::connect(server.at);
    let end = format!("\r\nSec-WebSocket-Extensions: {offer}\r\n\r\n");
    peer.send(REQUEST.replace("\r\n\r\n", &end).as_bytes());
    (server, peer)
}

#[test]
fn messages_are_compressed_where_both_agree() {
    let (server, mut peer) = deflating(DEFLATE);
    assert!(peer.head().contains(AGREED));
    let long = "to and fro ".repeat(1000);
    let packed = Deflater::new(6, 15).message(long.as_bytes(), false).to_vec();
    let mut frame = Vec::new();
    frame::encode_compressed(&mut frame, Opcode::Text, &packed, Some([1, 2, 3, 4]));
    // Whole, cut in its header, and cut in its payload.
    for cut in [0, 1, 3, 20] {
        peer.send(&frame[..cut]);
        std::thread::sleep(Duration::from_millis(5));
        peer.send(&frame[cut..]);
        let (first, _, payload) = peer.next();
        assert!(first == 0xc1 && payload.len() < 200, "{first:x}, {} bytes", payload.len());
        let back = Inflater::new().message(&payload, long.len(), false).map(|b| b.to_vec());
        assert_eq!(back.as_deref(), Ok(long.as_bytes()));
    }
    // What is short stays as it is, and so does a Pong.
    peer.frame(Opcode::Text, b"short");
    peer.frame(Opcode::Ping, &[b'a'; 125]);
    assert_eq!(peer.next(), (0x81, false, b"short".to_vec()));
    assert_eq!(peer.next(), (0x8a, false, vec![b'a'; 125]));
    drop(server);
}

#[test]
fn hostile_63_compressed_messages_that_fail_the_connection() {
    let bomb = Deflater::new(9, 15).message(&vec![0; 32 << 20], false).to_vec();
    let text =
        Deflater::new(9, 15).message(b"\xff\xfe not a text, but long enough", false).to_vec();
    for (opcode, payload, why) in [
        (Opcode::Binary, &bomb[..], Violation::MessageTooBig),
        (Opcode::Text, &text, Violation::InvalidUtf8),
        (Opcode::Text, b"\x07 no block", Violation::Compression),
        (Opcode::Ping, b"", Violation::ReservedBits),
    ] {
        let (server, mut peer) = deflating(DEFLATE);
        assert!(peer.head().contains(AGREED));
        let mut frame = Vec::new();
        frame::encode_compressed(&mut frame, opcode, payload, Some([1, 2, 3, 4]));
        peer.send(&frame);
        assert_eq!(peer.rest(), close_bytes(why.code().get(), why.as_str()));
        drop(peer);
        assert_eq!(server.ends.next().failure, Some(Failure::Violation(why)));
    }
}

#[test]
fn hostile_64_offers_that_are_not_taken() {
    for offer in ["permessage-bzip2", "permessage-deflate; server_max_window_bits=7"] {
        let (_server, mut peer) = deflating(offer);
        assert_eq!(peer.head(), ANSWER);
        let mut frame = Vec::new();
        frame::encode_compressed(&mut frame, Opcode::Text, b"\0", Some([1, 2, 3, 4]));
        peer.send(&frame);
        let why = Violation::ReservedBits;
        assert_eq!(peer.rest(), close_bytes(why.code().get(), why.as_str()));
    }
    for offer in ["permessage-deflate;", "a b", "a; b=\"c"] {
        let (_server, mut peer) = deflating(offer);
        assert!(peer.head().starts_with("HTTP/1.1 400 "), "{offer}");
    }
}
