//! How servers end.

use crate::harness::*;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::Instant;

#[test]
fn a_server_without_work_ends_at_once_and_well() {
    for args in [
        &["serve", env!("CARGO_MANIFEST_DIR"), "-p", "0"][..],
        &["echo", "tcp"],
        &["echo", "udp"],
        &["echo", "http"],
        &["echo", "ws"],
    ] {
        for signal in ["TERM", "INT"] {
            let server = start(args);
            server.out.line_with("listening on");
            server.signal(signal);
            assert_eq!(server.ended().code, Some(0), "{args:?} {signal}");
        }
    }
}

#[test]
fn hostile_14_what_is_in_flight_is_finished() {
    let server = start(&["echo", "http"]);
    let at = server.listening("http");
    let mut idle = connect(at);
    let mut busy = connect(at);
    busy.write_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nabc").unwrap();
    let mut heard = vec![0; 1024];
    let n = busy.read(&mut heard).unwrap();
    assert!(n > 0);
    server.signal("TERM");
    assert_eq!(rest(&mut idle), b"", "an idle connection is ended");
    assert!(std::net::TcpStream::connect(at).is_err(), "nobody new is let in");
    busy.write_all(b"def").unwrap();
    heard.truncate(n);
    heard.extend_from_slice(&rest(&mut busy));
    drop((idle, busy));
    assert!(heard.ends_with(b"\r\n\r\nabcdef"), "{:?}", String::from_utf8_lossy(&heard));
    assert_eq!(server.ended().code, Some(0));
}

#[test]
fn a_file_that_is_being_sent_is_sent_to_its_end() {
    let folder = Folder::new();
    let bytes = noise(12 << 20, 4);
    folder.write("big", &bytes);
    let server = start(&["serve", folder.text(), "-p", "0"]);
    let mut stream = connect(server.listening("http"));
    stream.write_all(b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut first = vec![0; 1000];
    stream.read_exact(&mut first).unwrap();
    server.signal("TERM");
    server.err.line_with("finishing");
    let heard = [first, rest(&mut stream)].concat();
    drop(stream);
    let end = heard.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
    same(&heard[end..], &bytes);
    assert_eq!(server.ended().code, Some(0));
}

#[test]
fn hostile_14_who_does_not_finish_is_cut_off_when_the_time_is_up() {
    let server = start(&["echo", "tcp", "--shutdown-timeout", "0.3"]);
    let mut stream = connect(server.listening("tcp"));
    let mut byte = [0];
    stream.read_exact(&mut byte).unwrap();
    let began = Instant::now();
    server.signal("TERM");
    let ended = server.ended();
    assert_eq!(ended.code, Some(0));
    assert!(began.elapsed().as_millis() >= 290, "{:?}", began.elapsed());
    assert!(ended.err.contains("cut off"), "{ended:?}");
}

#[test]
fn a_second_interrupt_ends_at_once() {
    let server = start(&["echo", "tcp"]);
    let mut stream = connect(server.listening("tcp"));
    let mut byte = [0];
    stream.read_exact(&mut byte).unwrap();
    server.signal("INT");
    server.err.line_with("finishing");
    server.signal("INT");
    assert_eq!(server.ended().code, Some(130));
}

#[test]
fn a_client_ends_at_once() {
    let server = start(&["echo", "tcp"]);
    let at = server.listening("tcp");
    let client = start(&["nc", "127.0.0.1", &at.port().to_string()]);
    client.out.line_with("欢迎光临");
    client.signal("INT");
    assert_eq!(client.ended().code, Some(130));
}

#[test]
fn a_unix_socket_is_tidied_away() {
    let folder = Folder::new();
    let path = folder.path().join("s");
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let server = start(&["nc", "-lkU", path.to_str().unwrap()]);
        server.err.line_with("listening on");
        assert!(path.exists());
        server.signal(signal);
        assert_eq!(server.ended().code, Some(code));
        assert!(!path.exists(), "after {signal}");
    }
}

#[test]
fn websockets_are_told_that_the_server_goes() {
    let server = start(&["echo", "ws"]);
    let at = server.listening("ws");
    let mut stream = connect(at);
    let head = "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let mut heard = Vec::new();
    let mut byte = [0];
    while !heard.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        heard.push(byte[0]);
    }
    assert!(heard.starts_with(b"HTTP/1.1 101 "));
    server.signal("TERM");
    let mut close = [0; 4];
    stream.read_exact(&mut close).unwrap();
    assert_eq!(close, [0x88, 2, 3, 233], "a Close with 1001");
    // Ours, with a key of zeros.
    stream.write_all(&[0x88, 0x82, 0, 0, 0, 0, 3, 233]).unwrap();
    assert_eq!(rest(&mut stream), b"");
    stream.shutdown(Shutdown::Write).ok();
    drop(stream);
    assert_eq!(server.ended().code, Some(0));
}
