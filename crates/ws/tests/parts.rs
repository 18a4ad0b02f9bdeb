//! Messages received and sent by parts on real sockets: a mirror that holds none of them.

mod support;

use loopwork_ws::core::Terms;
use loopwork_ws::core::deflate::Deflater;
use loopwork_ws::core::frame::{self, Opcode};
use loopwork_ws::http::core::Request;
use loopwork_ws::http::{Http, Offer};
use loopwork_ws::tcp::listen;
use loopwork_ws::tcp::reactor::{Env, Id, Loop, Os};
use loopwork_ws::{App, End, Fragments, Handshake, Message, Part, Socket, Ws};
use std::net::SocketAddr;
use std::thread::JoinHandle;
use std::time::Duration;
use support::{PATIENCE, Peer, REQUEST, Site, masked};

/// Sends each part back as it comes.
#[derive(Default)]
struct Mirror {
    closed: usize,
}

impl App for Mirror {
    type Conn = Option<Fragments>;

    fn on_request(&mut self, _: &Request<'_>, _: &mut Handshake<'_>) -> Offer<Self::Conn> {
        Offer::Accept(None)
    }

    fn on_open(&mut self, _: &mut Self::Conn, socket: &mut Socket<'_>) {
        socket.receive_parts();
    }

    fn on_message(&mut self, _: &mut Self::Conn, _: &mut Socket<'_>, _: Message<'_>) {
        panic!("by parts");
    }

    fn on_part(&mut self, under: &mut Self::Conn, socket: &mut Socket<'_>, part: Part<'_>) {
        assert_eq!(part.first, under.is_none());
        let new = if part.text { Fragments::text() } else { Fragments::binary() };
        let mut message = under.take().unwrap_or(new);
        // Full or not: no more is shown before there is room.
        if part.last {
            let _ = socket.send_last(message, part.bytes);
        } else {
            let _ = socket.send_part(&mut message, part.bytes);
            *under = Some(message);
        }
    }

    fn on_close(&mut self, _: Self::Conn, _: Id, _: &mut Env, _: &End<'_>) {
        self.closed += 1;
    }
}

/// Serves one connection, and looks at each turn that nothing is held.
fn mirror() -> (SocketAddr, JoinHandle<()>) {
    let mut ws = Ws::new(Mirror::default());
    ws.config.limits.message = 1 << 30;
    ws.config.deflate = Some(Terms::default());
    let (tell, told) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        let mut lp = Loop::new(Os::new().unwrap());
        let here = "127.0.0.1:0".parse().unwrap();
        let (server, at) = listen(&mut lp, here, Http::with_upgrade(Site, ws)).unwrap();
        tell.send(at).unwrap();
        while lp.get(server).protocol.next.app.closed == 0 {
            assert_eq!(lp.get(server).protocol.next.pinned(), 0, "nothing is gathered");
            lp.turn(Some(Duration::from_millis(20))).unwrap();
        }
    });
    (told.recv_timeout(PATIENCE).unwrap(), thread)
}

/// The next message, put together; its opcode and how many frames it came in.
fn message(peer: &mut Peer) -> (u8, Vec<u8>, usize) {
    let (mut first, mut whole, mut frames) = (0, Vec::new(), 0);
    loop {
        let (byte, _, payload) = peer.next();
        first |= byte & 0x0f;
        whole.extend(payload);
        frames += 1;
        if byte & 0x80 != 0 {
            return (first, whole, frames);
        }
    }
}

#[test]
fn a_mirror_holds_nothing() {
    let (at, thread) = mirror();
    let mut peer = Peer::connect(at);
    let offer = "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
    peer.send(REQUEST.replace("\r\n\r\n", offer).as_bytes());
    assert!(peer.head().contains("permessage-deflate"));
    peer.frame(Opcode::Text, b"short");
    assert_eq!(peer.next(), (0x81, false, b"short".to_vec()));
    // Larger than all buffers: what is behind is sent while what is before comes back.
    let large: Vec<u8> = (0..16 << 20).map(|at: u32| (at % 251) as u8).collect();
    let mut writer = Peer::new(peer.stream.try_clone().unwrap());
    let sent = masked(Opcode::Binary, &large);
    let writing = std::thread::spawn(move || writer.send(&sent));
    let (opcode, back, frames) = message(&mut peer);
    writing.join().unwrap();
    assert!(opcode == 2 && back == large && frames > 10, "{frames} frames");
    // A compressed one is one part.
    let text = "to and fro ".repeat(100);
    let packed = Deflater::new(6, 15).message(text.as_bytes(), false).to_vec();
    let mut bytes = Vec::new();
    frame::encode_compressed(&mut bytes, Opcode::Text, &packed, Some([1, 2, 3, 4]));
    peer.send(&bytes);
    assert_eq!(message(&mut peer), (1, text.into_bytes(), 1));
    peer.frame(Opcode::Close, &1000u16.to_be_bytes());
    peer.rest();
    drop(peer);
    thread.join().unwrap();
}
