//! The client on real sockets: against servers that answer wrongly, late or without end, and
//! against our own.

mod support;

use loopwork_ws::core::frame::{self, Opcode};
use loopwork_ws::core::handshake::{BadAnswer, accept_key};
use loopwork_ws::core::{Fragments, Violation, close};
use loopwork_ws::http::core::Invalid;
use loopwork_ws::tcp::reactor::{Handle, Loop, Os};
use loopwork_ws::tcp::{Close, Host, add, shutdown};
use loopwork_ws::{CloseCode, Failure, Message, Open, Socket, Ws, dial};
use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread::JoinHandle;
use std::time::Duration;
use support::*;

const OPEN: Open<'_> =
    Open { host: "localhost", target: "/chat", protocols: &[], headers: &[], deflate: None };

/// A server that is played: it takes one connection, reads its request, and does as it likes.
fn played<R: Send + 'static>(
    play: impl FnOnce(Peer, String) -> R + Send + 'static,
) -> (SocketAddr, JoinHandle<R>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let thread = std::thread::spawn(move || {
        let mut peer = Peer::new(listener.accept().unwrap().0);
        let request = peer.head();
        play(peer, request)
    });
    (at, thread)
}

/// The value of a header in a head.
fn value<'a>(head: &'a str, name: &str) -> &'a str {
    let lines = head.lines().filter_map(|line| line.split_once(": "));
    let mut values = lines.filter(|(n, _)| *n == name).map(|(_, value)| value);
    let value = values.next().unwrap_or_else(|| panic!("{name} in {head}"));
    assert_eq!(values.next(), None, "{name} twice");
    value
}

/// The right answer to a request, with more headers.
fn right(request: &str, more: &str) -> Vec<u8> {
    let accept = accept_key(value(request, "Sec-WebSocket-Key"));
    let accept = std::str::from_utf8(&accept).unwrap();
    let head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade";
    format!("{head}\r\nSec-WebSocket-Accept: {accept}\r\n{more}\r\n").into_bytes()
}

struct Client {
    lp: Loop<Os>,
    ws: Handle<Host<Ws<Play>>>,
    ends: Ends,
}

fn client(act: impl FnMut(&mut Socket<'_>, On<'_>) + 'static) -> Client {
    let (play, ends) = Play::new(act);
    let mut lp = Loop::new(Os::new().unwrap());
    let ws = add(&mut lp, |_| Ws::new(play));
    // Whatever hangs ends, and is seen to have hung.
    let late = lp.env.after(PATIENCE, |env| env.calls.stop());
    lp.env.calls.unref(late);
    Client { lp, ws, ends }
}

impl Client {
    /// Dials, and runs until it is over.
    fn run(&mut self, at: SocketAddr, open: &Open<'_>) -> Ended {
        dial(&mut self.lp.env, self.ws, at, open, Seat::default()).unwrap();
        self.lp.run().unwrap();
        assert!(!self.lp.env.calls.stopping(), "it hung");
        let ended = self.ends.next();
        assert!(self.ends.none());
        ended
    }
}

fn failed(why: Failure) -> Ended {
    Ended { code: 1006, reason: String::new(), clean: false, failure: Some(why), opened: false }
}

#[test]
fn hostile_66_answers_that_open_nothing() {
    let base = |head: &str| format!("{head}\r\n\r\n");
    let not = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0";
    let away = "HTTP/1.1 301 Moved\r\nLocation: ws://elsewhere/\r\nContent-Length: 0";
    type Make = Box<dyn FnOnce(&str) -> Vec<u8> + Send>;
    let fixed = |text: String| -> Make { Box::new(move |_| text.into_bytes()) };
    let bent = |from: &'static str, to: &'static str| -> Make {
        Box::new(move |request| {
            let answer = String::from_utf8(right(request, "")).unwrap();
            assert!(answer.contains(from));
            answer.replace(from, to).into_bytes()
        })
    };
    let more = |line: &'static str| -> Make { Box::new(move |request| right(request, line)) };
    let table: Vec<(Make, BadAnswer)> = vec![
        (fixed(base("HTTP/1.1 200 OK\r\nContent-Length: 0")), BadAnswer::Status(200)),
        (fixed(base(not)), BadAnswer::Status(401)),
        (fixed(base(away)), BadAnswer::Status(301)),
        (fixed("HTTP/1.1 103 Early Hints\r\n\r\n".repeat(50)), BadAnswer::Status(103)),
        (Box::new(|_| ANSWER.as_bytes().to_vec()), BadAnswer::Accept),
        (bent("Sec-WebSocket-Accept", "X"), BadAnswer::Accept),
        (bent("Upgrade: websocket\r\n", ""), BadAnswer::Upgrade),
        (bent("Upgrade: websocket", "Upgrade: h2c"), BadAnswer::Upgrade),
        (bent("Connection: Upgrade", "Connection: close"), BadAnswer::Connection),
        (more("Sec-WebSocket-Extensions: permessage-deflate\r\n"), BadAnswer::Extension),
        (more("Sec-WebSocket-Protocol: unasked\r\n"), BadAnswer::Protocol),
    ];
    for (make, why) in table {
        let (at, server) = played(move |mut peer, request| {
            peer.send(&make(&request));
            // A frame behind a wrong answer is none.
            let _ = peer.stream.write_all(b"\x81\x02hi");
            std::thread::sleep(Duration::from_millis(20));
        });
        let mut client = client(|_, _| panic!("it is not open"));
        assert_eq!(client.run(at, &OPEN), failed(Failure::Answer(why)));
        server.join().unwrap();
    }
}

#[test]
fn hostile_66_heads_without_end_and_without_sense() {
    type Check = fn(&Failure) -> bool;
    let table: [(&[u8], Check); 4] = [
        (b"HTTP/1.1 101 X\r\nX-Long: ", |f| matches!(f, Failure::Malformed(_))),
        (b"SSH-2.0-OpenSSH_9.9\r\n\r\n", |f| matches!(f, Failure::Malformed(_))),
        (b"HTTP/1.1 101 X\r\n", |f| matches!(f, Failure::Truncated)),
        (b"", |f| matches!(f, Failure::Truncated)),
    ];
    for (n, (bytes, expected)) in table.into_iter().enumerate() {
        let (at, server) = played(move |mut peer, _| {
            peer.send(bytes);
            while n == 0 && peer.stream.write_all(&[b'x'; 1000]).is_ok() {}
        });
        let ended = client(|_, _| panic!("it is not open")).run(at, &OPEN);
        assert!(expected(&ended.failure.unwrap()) && !ended.opened, "{n}: {ended:?}");
        server.join().unwrap();
    }
}

#[test]
fn a_handshake_that_takes_too_long_fails() {
    // Nothing at all, and a good head drop by drop.
    for answer in ["", "HTTP/1.1 101 Switching Protocols\r\nX-Slow: xxxxxxxxxxxxxxxxxxxxxxxx"] {
        let (at, server) = played(move |mut peer, _| {
            for byte in answer.bytes() {
                if peer.stream.write_all(&[byte]).is_err() {
                    return;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            std::thread::sleep(Duration::from_millis(300));
        });
        let mut client = client(|_, _| panic!("it is not open"));
        client.lp.get(client.ws).protocol.config.handshake = Duration::from_millis(100);
        assert_eq!(client.run(at, &OPEN), failed(Failure::Handshake));
        server.join().unwrap();
    }
}

#[test]
fn nobody_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    drop(listener);
    let ended = client(|_, _| panic!("it is not open")).run(at, &OPEN);
    assert_eq!(ended, failed(Failure::Connect(ErrorKind::ConnectionRefused)));
}

#[test]
fn what_cannot_be_asked_is_not_dialed() {
    let mut client = client(|_, _| panic!("it is not open"));
    let table = [
        (Open { host: "a b", ..OPEN }, Invalid::Host),
        (Open { target: "", ..OPEN }, Invalid::Target),
        (Open { target: "/a b", ..OPEN }, Invalid::Target),
        (Open { headers: &[("X", "a\r\nY: b")], ..OPEN }, Invalid::HeaderValue),
        (Open { headers: &[("sec-websocket-key", "x")], ..OPEN }, Invalid::FramingHeader),
        (Open { headers: &[("Host", "x")], ..OPEN }, Invalid::FramingHeader),
        (Open { protocols: &["a", "a"], ..OPEN }, Invalid::HeaderValue),
        (Open { protocols: &["a, b"], ..OPEN }, Invalid::HeaderValue),
        (Open { protocols: &[""], ..OPEN }, Invalid::HeaderValue),
        (Open { protocols: &["x"; 40], ..OPEN }, Invalid::HeaderValue),
    ];
    let at: SocketAddr = "127.0.0.1:9".parse().unwrap();
    for (open, why) in table {
        let dialed = dial(&mut client.lp.env, client.ws, at, &open, Seat::default());
        assert_eq!(dialed, Err(why), "{open:?}");
    }
    client.lp.run().unwrap();
    assert!(client.ends.none());
}

#[test]
fn a_handshake_as_it_should_be_with_frames_behind_it() {
    let (at, server) = played(|mut peer, request| {
        assert!(request.starts_with("GET /chat HTTP/1.1\r\nHost: localhost\r\n"), "{request}");
        assert_eq!(value(&request, "Origin"), "http://localhost");
        assert_eq!(value(&request, "Upgrade"), "websocket");
        assert_eq!(value(&request, "Connection").to_ascii_lowercase(), "upgrade");
        assert_eq!(value(&request, "Sec-WebSocket-Version"), "13");
        assert_eq!(value(&request, "Sec-WebSocket-Protocol"), "chat, superchat");
        let mut bytes = b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n".to_vec();
        bytes.extend(right(&request, "Sec-WebSocket-Protocol: superchat\r\n"));
        frame::encode(&mut bytes, Opcode::Text, b"glued", None);
        frame::encode(&mut bytes, Opcode::Ping, b"?", None);
        close::encode(&mut bytes, CloseCode::NORMAL, "done", None);
        for byte in bytes {
            peer.send(&[byte]);
        }
        let keys = [peer.next(), peer.next(), peer.next()];
        assert_eq!(keys[0], (0x81, true, b"hello".to_vec()));
        assert_eq!(keys[1], (0x81, true, b"glued".to_vec()));
        assert_eq!(keys[2], (0x8A, true, b"?".to_vec()));
        assert_eq!(peer.next(), (0x88, true, b"\x03\xe8done".to_vec()));
        // The server ends first (RFC 6455 §7.1.1); then the client does.
        peer.stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let early = std::io::Read::read(&mut peer.stream, &mut [0; 8]).map_err(|e| e.kind());
        assert_eq!(early, Err(ErrorKind::WouldBlock));
        peer.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        peer.stream.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(peer.rest(), b"");
    });
    let mut client = client(|socket, on| match on {
        On::Open => drop(socket.send_text("hello")),
        on => echo(socket, on),
    });
    let protocols: &[&str] = &["chat", "superchat"];
    let headers: &[(&str, &str)] = &[("Origin", "http://localhost")];
    let ended = client.run(at, &Open { protocols, headers, ..OPEN });
    server.join().unwrap();
    let (reason, failure) = ("done".to_owned(), None);
    assert_eq!(ended, Ended { code: 1000, reason, clean: true, failure, opened: true });
}

#[test]
fn each_frame_has_a_mask_of_its_own() {
    let (at, server) = played(|mut peer, request| {
        peer.send(&right(&request, ""));
        let keys: Vec<Vec<u8>> = (0..100).map(|_| peer.bytes(7)[2..6].to_vec()).collect();
        let mut distinct = keys.clone();
        distinct.sort();
        distinct.dedup();
        assert!(distinct.len() > 95 && !distinct.contains(&vec![0; 4]), "{keys:?}");
    });
    let mut client = client(|socket, on| {
        if let On::Open = on {
            for _ in 0..100 {
                let _ = socket.send_binary(b"x");
            }
        }
    });
    let ended = client.run(at, &OPEN);
    server.join().unwrap();
    assert_eq!(ended.code, 1006);
}

#[test]
fn a_server_that_masks_is_refused_with_1002() {
    let (at, server) = played(|mut peer, request| {
        peer.send(&right(&request, ""));
        peer.frame(Opcode::Text, b"masked");
        let (first, masked, payload) = peer.next();
        assert_eq!((first, masked, &payload[..2]), (0x88, true, &1002u16.to_be_bytes()[..]));
        assert_eq!(peer.rest(), b"");
    });
    let ended = client(|_, on| assert!(matches!(on, On::Open))).run(at, &OPEN);
    server.join().unwrap();
    assert_eq!(ended.failure, Some(Failure::Violation(Violation::MaskedFromServer)));
}

#[test]
fn a_server_that_keeps_the_stream_open_does_not_keep_us() {
    let (at, server) = played(|mut peer, request| {
        peer.send(&right(&request, ""));
        assert_eq!(peer.next().0, 0x88);
        peer.send(b"\x88\x00");
        std::thread::sleep(Duration::from_millis(400));
    });
    let mut client = client(|socket, _| socket.close(CloseCode::NORMAL, ""));
    client.lp.get(client.ws).protocol.config.close = Duration::from_millis(100);
    let ended = client.run(at, &OPEN);
    assert_eq!((ended.code, ended.clean, ended.failure), (1005, true, None));
    server.join().unwrap();
}

#[test]
fn client_and_server_of_ours() {
    let server = echo_server();
    let sizes = [0, 1, 125, 126, 127, 65_535, 65_536, 70_000, 1 << 20];
    let mut left = sizes.into_iter();
    let mut client = client(move |socket, on| {
        if let On::Message(message) = on {
            match message {
                Message::Binary(b) => assert!(b.iter().enumerate().all(|(n, b)| n as u8 == *b)),
                Message::Text(text) => assert_eq!(text, "ü"),
            }
        } else {
            let _ = socket.send_text("ü");
            return;
        }
        match left.next() {
            Some(size) => {
                let bytes: Vec<u8> = (0..size).map(|n| n as u8).collect();
                let _ = socket.send_binary(&bytes);
            }
            None => socket.close(CloseCode::NORMAL, "all came back"),
        }
    });
    let ended = client.run(server.at, &OPEN);
    assert_eq!((ended.code, ended.clean, ended.failure), (1000, true, None));
    let ended = server.ends.next();
    assert_eq!((ended.code, &*ended.reason, ended.clean), (1000, "all came back", true));
}

#[test]
fn a_message_in_parts() {
    let server = echo_server();
    let mut client = client(|socket, on| match on {
        On::Open => {
            let mut message = Fragments::text();
            let _ = socket.send_part(&mut message, &"ü".as_bytes()[..1]);
            let _ = socket.ping(b"between");
            let _ = socket.send_part(&mut message, &"ü".as_bytes()[1..]);
            let _ = socket.send_last(message, b"!");
        }
        On::Pong(payload) => assert_eq!(payload, b"between"),
        On::Message(message) => {
            assert_eq!(message, Message::Text("ü!"));
            socket.close(CloseCode::NO_STATUS, "unsent");
        }
        _ => {}
    });
    let ended = client.run(server.at, &OPEN);
    assert_eq!((ended.code, ended.clean, ended.failure), (1005, true, None));
}

#[test]
fn shutdown_of_a_client_says_going_away() {
    let server = echo_server();
    let (tell, told) = std::sync::mpsc::channel();
    let mut client = client(move |socket, on| match on {
        On::Open => drop(socket.send_text("x")),
        _ => tell.send(()).unwrap(),
    });
    dial(&mut client.lp.env, client.ws, server.at, &OPEN, Seat::default()).unwrap();
    while told.try_recv().is_err() {
        client.lp.turn(Some(Duration::from_millis(10))).unwrap();
    }
    shutdown(&mut client.lp.env, client.ws);
    client.lp.run().unwrap();
    assert!(client.ends.next().clean);
    assert_eq!(server.ends.next().code, 1001);
}

#[test]
fn shutdown_in_the_handshake_gives_up() {
    let (tell, told) = std::sync::mpsc::channel();
    let (at, server) = played(move |mut peer, _| {
        tell.send(()).unwrap();
        // Its end is a reset or an orderly one.
        let _ = std::io::Read::read(&mut peer.stream, &mut [0; 8]);
    });
    let mut client = client(|_, _| panic!("it is not open"));
    dial(&mut client.lp.env, client.ws, at, &OPEN, Seat::default()).unwrap();
    while told.try_recv().is_err() {
        client.lp.turn(Some(Duration::from_millis(10))).unwrap();
    }
    shutdown(&mut client.lp.env, client.ws);
    client.lp.run().unwrap();
    server.join().unwrap();
    assert_eq!(client.ends.next(), failed(Failure::Stream(Close::Aborted)));
}
