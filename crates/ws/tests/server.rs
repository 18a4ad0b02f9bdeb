//! The server on real sockets: handshakes, violations and ends as bytes on the wire.

mod support;

use loopwork_ws::core::frame::Opcode;
use loopwork_ws::core::{Limits, Violation};
use loopwork_ws::http::{Http, Offer};
use loopwork_ws::tcp::reactor::{Loop, Os};
use loopwork_ws::tcp::{Close, Flow, listen, shutdown};
use loopwork_ws::{CloseCode, Failure, Message, Ws, same_origin};
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use support::*;

/// The request with one line replaced (`""`: left out).
fn with(line: &str, by: &str) -> String {
    assert!(REQUEST.contains(line), "{line}");
    let by = if by.is_empty() { String::new() } else { format!("{by}\r\n") };
    REQUEST.replace(&format!("{line}\r\n"), &by)
}

const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
const VERSION: &str = "Sec-WebSocket-Version: 13";
const GET: &str = "GET /chat HTTP/1.1";

/// Sends a request, half-closes, and gives the whole answer.
fn ask(server: &Server, request: &str) -> String {
    let mut peer = Peer::connect(server.at);
    peer.send(request.as_bytes());
    peer.stream.shutdown(Shutdown::Write).unwrap();
    String::from_utf8(peer.rest()).unwrap()
}

#[test]
fn hostile_65_handshakes_and_their_statuses() {
    let server = serve(|| {
        let (mut play, ends) = Play::new(echo);
        play.ask = |request, _| match request.path() {
            "/chat" => panic!("asked about a request that is wrong"),
            _ => Offer::Refuse(403, &[("X-Why", "test")], "not here"),
        };
        (Ws::new(play), ends)
    });
    let table = [
        (with(GET, "POST /chat HTTP/1.1"), 400),
        (with(GET, "GET /chat HTTP/1.0"), 400),
        (with("Host: localhost", ""), 400),
        (with("Upgrade: websocket", ""), 400),
        (with("Upgrade: websocket", "Upgrade: h2c"), 400),
        (with("Connection: Upgrade", ""), 400),
        (with("Connection: Upgrade", "Connection: keep-alive"), 400),
        (with(KEY, ""), 400),
        (with(KEY, &format!("{KEY}\r\n{KEY}")), 400),
        (with(KEY, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ"), 400),
        (with(KEY, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j"), 400),
        (with(VERSION, ""), 426),
        (with(VERSION, "Sec-WebSocket-Version: 8"), 426),
        (with(VERSION, &format!("{VERSION}\r\nSec-WebSocket-Protocol: a, b, a")), 400),
        (with(VERSION, &format!("{VERSION}\r\nSec-WebSocket-Protocol: a b")), 400),
        (with(GET, "GET /no HTTP/1.1"), 403),
        (with(VERSION, &format!("{VERSION}\r\nContent-Length: 3")), 400),
        (with(VERSION, &format!("{VERSION}\r\nTransfer-Encoding: chunked")), 400),
    ];
    for (request, status) in table {
        let answer = ask(&server, &request);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}{answer}");
        assert!(!answer.contains("101 Switching"), "{answer}");
        assert_eq!(answer.contains("Sec-WebSocket-Version: 13\r\n"), status == 426, "{answer}");
        assert_eq!(answer.contains("X-Why: test\r\n"), status == 403, "{answer}");
        assert!(answer.contains("Connection: close\r\n"), "{answer}");
    }
    // What is no request for a WebSocket, or for one that nobody wants, goes to the site.
    let plain = "GET /chat HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    for request in [plain, &with(GET, "GET /plain HTTP/1.1")] {
        let answer = ask(&server, request);
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("site"), "{answer}");
    }
    assert!(server.ends.none());
}

#[test]
fn the_application_chooses_a_protocol_and_adds_headers() {
    let server = serve(|| {
        let (mut play, ends) = Play::new(echo);
        play.ask = |request, hand| {
            if !same_origin(request) {
                return Offer::Refuse(403, &[], "another origin");
            }
            hand.protocol(&["chat", "superchat"]);
            hand.header("Set-Cookie", "a=b").unwrap();
            assert!(hand.header("Sec-WebSocket-Extensions", "x").is_err());
            assert!(hand.header("Connection", "close").is_err());
            assert!(hand.header("X", "a\r\nb").is_err());
            Offer::Accept(Seat::default())
        };
        (Ws::new(play), ends)
    });
    let request = |more: &str| with(VERSION, &format!("{VERSION}\r\n{more}"));
    let answer = ask(&server, &request("Sec-WebSocket-Protocol: mqtt, superchat, chat"));
    let expected = ANSWER
        .replace("xOo=\r\n", "xOo=\r\nSec-WebSocket-Protocol: superchat\r\nSet-Cookie: a=b\r\n");
    assert_eq!(answer, expected);
    let answer = ask(&server, &request("Sec-WebSocket-Protocol: mqtt"));
    assert_eq!(answer, ANSWER.replace("xOo=\r\n", "xOo=\r\nSet-Cookie: a=b\r\n"));
    assert!(ask(&server, &request("Origin: http://LOCALHOST")).starts_with("HTTP/1.1 101 "));
    for origin in ["http://evil.example", "null", "http://localhost:81", "localhost"] {
        let answer = ask(&server, &request(&format!("Origin: {origin}")));
        assert!(answer.starts_with("HTTP/1.1 403 "), "{origin}: {answer}");
    }
}

#[test]
fn hostile_47_frames_glued_to_the_handshake_are_served() {
    let server = echo_server();
    let mut peer = Peer::connect(server.at);
    let mut bytes = REQUEST.as_bytes().to_vec();
    bytes.extend(masked(Opcode::Text, b"early"));
    bytes.extend(&masked(Opcode::Binary, b"cut")[..5]);
    peer.send(&bytes);
    assert_eq!(peer.head(), ANSWER);
    assert_eq!(peer.next(), (0x81, false, b"early".to_vec()));
    peer.send(&masked(Opcode::Binary, b"cut")[5..]);
    assert_eq!(peer.next(), (0x82, false, b"cut".to_vec()));
}

/// Sends bytes to a fresh connection, gives all that comes until the end, and how it ended.
fn provoke(server: &Server, bytes: &[u8]) -> (Vec<u8>, Ended) {
    let mut peer = Peer::upgraded(server.at);
    peer.send(bytes);
    let answer = peer.rest();
    // Whatever follows is dropped, and no reset destroys the Close that went out.
    peer.frame(Opcode::Text, b"behind the end");
    drop(peer);
    (answer, server.ends.next())
}

#[test]
fn hostile_55_to_62_violations_and_their_closes() {
    let server = serve(|| {
        let (play, ends) = Play::new(|_, on| assert!(!matches!(on, On::Message(_))));
        let mut ws = Ws::new(play);
        ws.config.limits = Limits { message: 1000, frames: 3, ..Limits::default() };
        (ws, ends)
    });
    let cut = |opcode, payload: &[u8], first: u8| {
        let mut bytes = masked(opcode, payload);
        bytes[0] = first;
        bytes
    };
    let twice = |a: Vec<u8>, b: Vec<u8>| [a, b].concat();
    let empty = cut(Opcode::Text, b"", 0x01);
    let table = [
        (cut(Opcode::Text, b"x", 0xC1), Violation::ReservedBits),
        (cut(Opcode::Text, b"x", 0x83), Violation::ReservedOpcode),
        (cut(Opcode::Ping, b"x", 0x09), Violation::FragmentedControl),
        (cut(Opcode::Text, &[b'x'; 126], 0x89), Violation::OversizedControl),
        (vec![0x81, 0x01, b'x'], Violation::UnmaskedFromClient),
        (vec![0x81, 0xFE, 0, 5, 1, 2, 3, 4], Violation::NonMinimalLength),
        (vec![0x82, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0], Violation::LengthOverflow),
        (cut(Opcode::Text, b"x", 0x80), Violation::UnexpectedContinuation),
        (twice(empty.clone(), masked(Opcode::Text, b"x")), Violation::UnfinishedMessage),
        (masked(Opcode::Close, &[3]), Violation::TruncatedCloseCode),
        (masked(Opcode::Close, &1005u16.to_be_bytes()), Violation::ReservedCloseCode),
        (masked(Opcode::Close, &999u16.to_be_bytes()), Violation::ReservedCloseCode),
        (masked(Opcode::Close, b"\x03\xe8\xff"), Violation::InvalidUtf8),
        (masked(Opcode::Text, b"\xc0\x80"), Violation::InvalidUtf8),
        (cut(Opcode::Text, b"\xed\xa0", 0x01), Violation::InvalidUtf8),
        (vec![0x82, 0xFF, 0x40, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4], Violation::MessageTooBig),
        (twice(empty, cut(Opcode::Text, b"", 0x00).repeat(3)), Violation::TooManyFrames),
    ];
    for (bytes, violation) in table {
        let (answer, ended) = provoke(&server, &bytes);
        let code = violation.code().get();
        assert_eq!(answer, close_bytes(code, violation.as_str()), "{violation}");
        let failure = Some(Failure::Violation(violation));
        let expected =
            Ended { code: 1006, reason: String::new(), clean: false, failure, opened: true };
        assert_eq!(ended, expected);
    }
}

#[test]
fn closes_are_answered_with_their_code() {
    let server = echo_server();
    let table: [(&[u8], u16, &str, &[u8]); 3] = [
        (b"", 1005, "", b"\x88\x00"),
        (b"\x03\xe8", 1000, "", b"\x88\x02\x03\xe8"),
        (b"\x0f\xa0bye", 4000, "bye", b"\x88\x05\x0f\xa0bye"),
    ];
    for (payload, code, reason, answer) in table {
        // A second Close and data behind the first are ignored.
        let mut bytes = masked(Opcode::Close, payload);
        bytes.extend(masked(Opcode::Text, b"behind"));
        bytes.extend(masked(Opcode::Close, b""));
        let (got, ended) = provoke(&server, &bytes);
        assert_eq!(got, answer);
        assert_eq!((ended.code, &*ended.reason, ended.clean), (code, reason, true));
        assert_eq!(ended.failure, None);
    }
}

/// > After sending a control frame indicating the connection should be closed, a peer does not
/// > send any further data; after receiving a control frame indicating the connection should be
/// > closed, a peer discards any further data received. (RFC 6455 §1.4)
#[test]
fn what_was_under_way_when_we_closed_still_arrives() {
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let heard = seen.clone();
    let server = serve(move || {
        let (play, ends) = Play::new(move |socket, on| match on {
            On::Open => socket.close(CloseCode::NORMAL, "bye"),
            On::Message(Message::Text(text)) => {
                heard.lock().unwrap().push(text.to_owned());
                let _ = socket.send_text("nothing goes out any more");
            }
            _ => {}
        });
        (Ws::new(play), ends)
    });
    let mut peer = Peer::upgraded(server.at);
    let mut bytes = masked(Opcode::Text, b"under way");
    bytes.extend(masked(Opcode::Ping, b"p"));
    bytes.extend(masked(Opcode::Text, b"this too"));
    bytes.extend(masked(Opcode::Close, b"\x03\xe8"));
    bytes.extend(masked(Opcode::Text, b"behind"));
    peer.send(&bytes);
    assert_eq!(peer.rest(), close_bytes(1000, "bye"));
    drop(peer);
    assert!(server.ends.next().clean);
    assert_eq!(*seen.lock().unwrap(), ["under way", "this too"]);
}

#[test]
fn ends_without_a_close_are_1006() {
    let server = echo_server();
    let mut peer = Peer::upgraded(server.at);
    peer.stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(peer.rest(), b"");
    let ended = server.ends.next();
    assert_eq!((ended.code, ended.clean, ended.failure), (1006, false, Some(Failure::Truncated)));

    let peer = Peer::upgraded(server.at);
    leave_unread(&peer);
    drop(peer);
    let ended = server.ends.next();
    assert_eq!((ended.code, ended.clean), (1006, false));
    assert_eq!(ended.failure, Some(Failure::Stream(Close::Reset)));
}

/// Lets an answer come and lie there: closing the socket then is a reset.
fn leave_unread(peer: &Peer) {
    Peer::new(peer.stream.try_clone().unwrap()).frame(Opcode::Text, b"nobody reads the answer");
    while peer.stream.peek(&mut [0; 8]).unwrap() == 0 {}
}

#[test]
fn echo_of_all_sizes() {
    let server = echo_server();
    let mut peer = Peer::upgraded(server.at);
    let data: Vec<u8> = (0..1 << 20).map(|n: u32| (n * 7 + n / 251) as u8).collect();
    let sizes = (0..700).chain((700..70_000).step_by(17)).chain(65_530..65_541).chain([1 << 20]);
    for size in sizes {
        peer.frame(Opcode::Binary, &data[..size]);
        let (first, masked, payload) = peer.next();
        assert_eq!((first, masked), (0x82, false));
        assert!(payload == data[..size], "{size} bytes");
    }
    let text = "ἀρχὴ 始まり ".repeat(1000);
    peer.frame(Opcode::Text, text.as_bytes());
    assert_eq!(peer.next(), (0x81, false, text.into_bytes()));
}

#[test]
fn hostile_60_fragments_with_control_frames_between() {
    let server = echo_server();
    let mut peer = Peer::upgraded(server.at);
    let part = |opcode, payload: &[u8], last: bool| {
        let mut bytes = masked(opcode, payload);
        bytes[0] = opcode as u8 | if last { 0x80 } else { 0 };
        bytes
    };
    let all = [
        part(Opcode::Text, "ä".as_bytes().get(..1).unwrap(), false),
        part(Opcode::Ping, b"between", true),
        part(Opcode::Continuation, "ä".as_bytes().get(1..).unwrap(), false),
        part(Opcode::Continuation, b"", false),
        part(Opcode::Continuation, b"!", true),
    ]
    .concat();
    for cut in [all.len(), 1, 7] {
        for bytes in all.chunks(cut) {
            peer.send(bytes);
        }
        assert_eq!(peer.next(), (0x8A, false, b"between".to_vec()));
        assert_eq!(peer.next(), (0x81, false, "ä!".as_bytes().to_vec()));
    }
}

#[test]
fn hostile_59_pongs_coalesce_to_the_newest() {
    let server = echo_server();
    let mut peer = Peer::upgraded(server.at);
    // One segment, so one show.
    let pings: Vec<u8> =
        (0..1000u32).flat_map(|n| masked(Opcode::Ping, &n.to_be_bytes())).collect();
    peer.send(&pings);
    peer.frame(Opcode::Text, b"end");
    let (mut pongs, mut ended) = (Vec::new(), false);
    while !ended || pongs.last() != Some(&999) {
        match peer.next() {
            (0x8A, _, payload) => pongs.push(u32::from_be_bytes(payload.try_into().unwrap())),
            (first, _, payload) => ended = (first, &*payload) == (0x81, b"end"),
        }
    }
    assert!(pongs.is_sorted() && pongs.len() < 500, "{} pongs", pongs.len());
    assert_eq!((pongs[0], pongs.last()), (0, Some(&999)));
}

#[test]
fn hostile_59_one_pong_is_owed_while_the_output_is_full() {
    const BYTES: usize = 16 << 20;
    let pinged = Arc::new(AtomicUsize::new(0));
    let count = pinged.clone();
    let server = serve(move || {
        let (play, ends) = Play::new(move |socket, on| match on {
            On::Open => {
                socket.read_when_full(true);
                assert_eq!(socket.send_binary(&vec![0; BYTES]), Flow::Full);
            }
            On::Ping(_) => drop(count.fetch_add(1, Ordering::Relaxed)),
            _ => {}
        });
        (Ws::new(play), ends)
    });
    let mut peer = Peer::upgraded(server.at);
    for n in 0..1000u32 {
        peer.frame(Opcode::Ping, &n.to_be_bytes());
    }
    let start = Instant::now();
    while pinged.load(Ordering::Relaxed) < 1000 {
        assert!(start.elapsed() < PATIENCE, "it reads on");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(peer.next().2.len(), BYTES);
    assert_eq!(peer.next(), (0x8A, false, 999u32.to_be_bytes().to_vec()));
    peer.frame(Opcode::Close, b"");
    assert_eq!(peer.rest(), b"\x88\x00");
}

#[test]
fn hostile_58_flood_of_pings_from_a_peer_that_does_not_read() {
    let flooded = Arc::new(AtomicUsize::new(0));
    let count = flooded.clone();
    let server = serve(move || {
        let (play, ends) = Play::new(move |_, on| {
            if let On::Ping(_) = on {
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        (Ws::new(play), ends)
    });
    let mut peer = Peer::upgraded(server.at);
    peer.stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let pings = masked(Opcode::Ping, &[7; 125]).repeat(1000);
    let start = Instant::now();
    use std::io::Write;
    // With pongs for sixteen a show the stream is never full, or it is and we are held up.
    while start.elapsed() < Duration::from_secs(1) && peer.stream.write_all(&pings).is_ok() {}
    assert!(flooded.load(Ordering::Relaxed) > 1000);
    assert!(server.ends.none());
}

#[test]
fn backpressure_of_a_peer_that_does_not_read_is_bounded() {
    let (sent, drains) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (count, drained) = (sent.clone(), drains.clone());
    let server = serve(move || {
        let (play, ends) = Play::new(move |socket, on| match on {
            On::Message(message) => {
                count.fetch_add(1, Ordering::Relaxed);
                assert_eq!(socket.flow(), Flow::Open, "no message while the output is full");
                let _ = socket.send(&message);
            }
            On::Drain => drop(drained.fetch_add(1, Ordering::Relaxed)),
            _ => {}
        });
        (Ws::new(play), ends)
    });
    let peer = Peer::upgraded(server.at);
    let mut writer = Peer::new(peer.stream.try_clone().unwrap());
    const MESSAGES: usize = 3000;
    let writing = std::thread::spawn(move || {
        for n in 0..MESSAGES {
            writer.frame(Opcode::Binary, &[n as u8; 10_000]);
        }
    });
    std::thread::sleep(Duration::from_millis(500));
    let held = sent.load(Ordering::Relaxed);
    assert!(held < MESSAGES, "all {held} messages were taken from a peer that does not read");
    let mut peer = peer;
    for n in 0..MESSAGES {
        let (first, _, payload) = peer.next();
        assert!(first == 0x82 && payload == [n as u8; 10_000], "message {n}");
    }
    writing.join().unwrap();
    assert!(drains.load(Ordering::Relaxed) > 0);
}

#[test]
fn pause_and_resume() {
    let server = serve(|| {
        let mut taken = 0;
        let (play, ends) = Play::new(move |socket, on| match on {
            On::Message(Message::Text(text)) => {
                taken += 1;
                let _ = socket.send_text(&format!("{text}{taken}"));
                socket.pause();
                let id = socket.id;
                socket.env.after(Duration::from_millis(20), move |env| env.wake(id));
            }
            On::Wake => socket.resume(),
            _ => {}
        });
        (Ws::new(play), ends)
    });
    let mut peer = Peer::upgraded(server.at);
    peer.send(&masked(Opcode::Text, b"n").repeat(5));
    let start = Instant::now();
    for n in 1..=5 {
        assert_eq!(peer.next().2, format!("n{n}").into_bytes());
    }
    assert!(start.elapsed() >= Duration::from_millis(80));
    peer.frame(Opcode::Close, b"");
    assert_eq!(peer.rest(), b"\x88\x00");
    drop(peer);
    assert!(server.ends.next().clean);
}

#[test]
fn idle_peers_are_pinged_then_dropped() {
    let server = serve(|| {
        let (play, ends) = Play::new(echo);
        let mut ws = Ws::new(play);
        ws.config.idle = Duration::from_millis(150);
        ws.config.pong = Duration::from_millis(150);
        (ws, ends)
    });
    let mut peer = Peer::upgraded(server.at);
    for _ in 0..3 {
        assert_eq!(peer.next(), (0x89, false, Vec::new()));
        peer.frame(Opcode::Pong, b"");
    }
    assert!(server.ends.none());
    // Single bytes of a message are no sign of life, however many come.
    let dripping = std::thread::spawn(move || {
        use std::io::Write;
        let drop_by_drop = |byte: &u8| {
            std::thread::sleep(Duration::from_millis(20));
            peer.stream.write_all(&[*byte]).is_ok()
        };
        masked(Opcode::Text, &[b'x'; 500]).iter().all(drop_by_drop)
    });
    let ended = server.ends.next();
    assert_eq!((ended.code, ended.failure), (1006, Some(Failure::Silent)));
    assert!(!dripping.join().unwrap(), "all of it was waited for");
}

#[test]
fn a_close_that_is_not_answered_times_out() {
    let server = serve(|| {
        let (play, ends) = Play::new(|socket, on| {
            if let On::Message(_) = on {
                socket.close(CloseCode::new(4001).unwrap(), "enough");
                assert!(!socket.is_open());
                let _ = socket.send_text("dropped");
            }
        });
        let mut ws = Ws::new(play);
        ws.config.close = Duration::from_millis(150);
        (ws, ends)
    });
    let mut peer = Peer::upgraded(server.at);
    peer.send(&masked(Opcode::Text, b"x").repeat(3));
    assert_eq!(peer.bytes(10), close_bytes(4001, "enough"));
    let ended = server.ends.next();
    assert_eq!((ended.code, ended.failure), (1006, Some(Failure::Unanswered)));

    // Answered, but the stream is kept open: clean, and over all the same.
    let mut peer = Peer::upgraded(server.at);
    peer.frame(Opcode::Text, b"x");
    assert_eq!(peer.bytes(10), close_bytes(4001, "enough"));
    peer.frame(Opcode::Close, &4001u16.to_be_bytes());
    assert_eq!(peer.rest(), b"");
    let ended = server.ends.next();
    assert_eq!((ended.code, ended.clean, ended.failure), (4001, true, None));
}

#[test]
fn nothing_is_shown_behind_an_abort() {
    let server = serve(|| {
        let mut shown = 0;
        let (play, ends) = Play::new(move |socket, on| {
            if let On::Message(_) = on {
                shown += 1;
                assert_eq!(shown, 1);
                socket.abort();
                assert!(!socket.is_open());
            }
        });
        (Ws::new(play), ends)
    });
    let mut peer = Peer::upgraded(server.at);
    peer.send(&masked(Opcode::Text, b"x").repeat(5));
    let ended = server.ends.next();
    assert_eq!((ended.code, ended.failure), (1006, Some(Failure::Stream(Close::Aborted))));
}

#[test]
fn a_close_behind_much_output_to_a_peer_that_only_writes() {
    const BYTES: usize = 16 << 20;
    let server = serve(|| {
        let (play, ends) = Play::new(|socket, on| {
            // The others are shown behind the Close, where nothing more is sent.
            if let On::Message(_) = on
                && socket.is_open()
            {
                assert_eq!(socket.send_binary(&vec![0; BYTES]), Flow::Full);
                socket.close(CloseCode::NORMAL, "");
            }
        });
        (Ws::new(play), ends)
    });
    let mut peer = Peer::upgraded(server.at);
    // As much as no kernel buffers: what it does not read now would hold us up.
    for _ in 0..64 {
        peer.frame(Opcode::Binary, &vec![0; 1 << 20]);
    }
    peer.frame(Opcode::Close, &1000u16.to_be_bytes());
    assert_eq!(peer.next().2.len(), BYTES);
    assert_eq!(peer.rest(), close_bytes(1000, ""));
    drop(peer);
    let ended = server.ends.next();
    assert_eq!((ended.code, ended.clean, ended.failure), (1000, true, None));
}

#[test]
fn hostile_14_shutdown_says_going_away() {
    let (play, ends) = Play::new(echo);
    let mut lp = Loop::new(Os::new().unwrap());
    let here = "127.0.0.1:0".parse().unwrap();
    let (host, at) = listen(&mut lp, here, Http::with_upgrade(Site, Ws::new(play))).unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    let peer = std::thread::spawn(move || {
        let mut peer = Peer::upgraded(at);
        tell.send(()).unwrap();
        assert_eq!(peer.bytes(4), close_bytes(1001, ""));
        peer.frame(Opcode::Close, &1001u16.to_be_bytes());
        assert_eq!(peer.rest(), b"");
    });
    while told.try_recv().is_err() {
        lp.turn(Some(Duration::from_millis(10))).unwrap();
    }
    shutdown(&mut lp.env, host);
    lp.run().unwrap();
    peer.join().unwrap();
    let ended = ends.next();
    assert_eq!((ended.code, ended.clean), (1001, true));
}
