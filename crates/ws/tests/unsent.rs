//! What waits for a peer that does not read has a limit, by which messages are dropped or the
//! connection ends.

mod support;

use loopwork_ws::core::frame::Opcode;
use loopwork_ws::{Failure, Fragments, Message, Prepared, Socket, Ws};
use std::time::Duration;
use support::*;

/// Bytes that may wait.
const UNSENT: usize = 1 << 20;
const LEN: usize = 100_000;
/// Each takes so many bytes with its header: so many fit, whatever is in them.
const FIT: usize = UNSENT / (LEN + 10);

/// The `n`-th message: what does not compress by much.
fn message(n: usize) -> Vec<u8> {
    let mut x = n as u64 + 1;
    let noise = std::iter::repeat_with(|| {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (x >> 56) as u8
    });
    noise.take(LEN).collect()
}

/// Sends fifty messages at once, in the way that the word says.
fn flood(socket: &mut Socket<'_>, on: On<'_>) {
    let On::Message(Message::Text(how)) = on else { return };
    let mut parts = Fragments::text();
    for n in 0..50 {
        let mut bytes = message(n);
        let _ = match how {
            "messages" => socket.send_binary(&bytes),
            "plain" => socket.send_plain(&Message::Binary(&mut bytes)),
            "prepared" => socket.send_prepared(&Prepared::from(&bytes[..])),
            "parts" => socket.send_part(&mut parts, &[b'x'; LEN]),
            _ => {
                let _ = socket.send_text("here");
                return;
            }
        };
    }
}

fn server(drops: bool) -> Server {
    serve(move || {
        let (play, ends) = Play::new(flood);
        let mut ws = Ws::new(play);
        (ws.config.unsent, ws.config.drop_unsent) = (UNSENT, drops);
        ws.config.close = Duration::from_secs(2);
        (ws, ends)
    })
}

#[test]
fn what_is_beyond_is_dropped_and_the_rest_goes_on() {
    let server = server(true);
    let mut peers: Vec<Peer> = (0..3).map(|_| Peer::upgraded(server.at)).collect();
    for (peer, how) in peers.iter_mut().zip(["messages", "plain", "prepared"]) {
        peer.frame(Opcode::Text, how.as_bytes());
        for n in 0..FIT {
            assert!(peer.next() == (0x82, false, message(n)), "{how}: message {n}");
        }
        peer.frame(Opcode::Text, b"?");
        assert_eq!(peer.next(), (0x81, false, b"here".to_vec()), "{how}");
    }
    assert!(server.ends.none(), "nobody was closed");
}

#[test]
fn who_is_beyond_is_closed() {
    let server = server(false);
    for how in ["messages", "plain", "prepared", "parts"] {
        let mut peer = Peer::upgraded(server.at);
        peer.frame(Opcode::Text, how.as_bytes());
        for n in 0..FIT {
            let (first, _, payload) = peer.next();
            let wanted = if how == "parts" { vec![b'x'; LEN] } else { message(n) };
            assert!(first != 0x88 && payload == wanted, "{how}: message {n}");
        }
        let (first, _, payload) = peer.next();
        assert_eq!((first, &payload[..]), (0x88, &close_bytes(1013, "too slow")[2..]), "{how}");
        peer.frame(Opcode::Close, &1013u16.to_be_bytes());
        assert_eq!(peer.rest(), b"");
        assert_eq!(server.ends.next().failure, Some(Failure::Behind), "{how}");
    }
}
