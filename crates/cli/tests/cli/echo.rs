//! `echo`: each protocol, its greeting, and its limits.

use crate::harness::*;
use std::io::{ErrorKind, Read, Write};
use std::net::UdpSocket;

#[test]
fn tcp_greets_and_says_back() {
    let server = start(&["echo", "tcp"]);
    let heard = exchange(server.listening("tcp"), "你好".as_bytes());
    assert_eq!(String::from_utf8(heard).unwrap(), "欢迎光临\n你好");
}

#[test]
fn the_greeting_can_be_another_or_none() {
    for (greet, wanted) in [("hello", "hello\nx"), ("", "x")] {
        let server = start(&["echo", "tcp", "127.0.0.1:0", "--greet", greet]);
        assert_eq!(exchange(server.listening("tcp"), b"x"), wanted.as_bytes());
    }
}

#[test]
fn tcp_says_back_megabytes() {
    let server = start(&["echo", "tcp", "--greet", ""]);
    let bytes = noise(10 << 20, 1);
    same(&exchange(server.listening("tcp"), &bytes), &bytes);
}

#[test]
fn hostile_29_udp_says_back_each_datagram_once_empty_ones_too() {
    let server = start(&["echo", "udp", "127.0.0.1:0"]);
    let at = server.listening("udp");
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(WAIT)).unwrap();
    // Were there a second answer to any, it would come in front of the next.
    for bytes in [&b""[..], b"a", &noise(65_507, 2), b"the last"] {
        socket.send_to(bytes, at).unwrap();
        let mut back = vec![0; 70_000];
        let (n, from) = loop {
            // A child of another test that ends interrupts the wait.
            match socket.recv_from(&mut back) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                got => break got.unwrap(),
            }
        };
        assert_eq!(from, at);
        same(&back[..n], bytes);
    }
}

#[test]
fn http_greets_and_says_bodies_back() {
    let server = start(&["echo", "http"]);
    let at = server.listening("http");
    let (head, body) = ask(at, "GET /anything", &[]);
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert_eq!(String::from_utf8(body).unwrap(), "欢迎光临\n");
    let (head, body) = ask(at, "HEAD /", &[]);
    assert!(head.contains("Content-Length: 13\r\n") && body.is_empty(), "{head}");
    let (head, _) = ask(at, "DELETE /", &[]);
    assert!(head.starts_with("HTTP/1.1 405 ") && head.contains("Allow: GET, HEAD, POST, PUT"));
}

#[test]
fn http_streams_an_upload_back_while_it_comes() {
    let server = start(&["echo", "http"]);
    let mut stream = connect(server.listening("http"));
    let head = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let mut heard = Vec::new();
    let mut bytes = [0; 4096];
    while !String::from_utf8_lossy(&heard).contains("5\r\nfirst\r\n") {
        let n = stream.read(&mut bytes).expect("the first part, before the second is sent");
        assert!(n > 0);
        heard.extend_from_slice(&bytes[..n]);
    }
    stream.write_all(b"6\r\nsecond\r\n0\r\n\r\n").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let text = String::from_utf8(rest(&mut stream)).unwrap();
    assert_eq!(text, "6\r\nsecond\r\n0\r\n\r\n");
}

#[test]
fn http_says_back_megabytes_with_their_type() {
    let server = start(&["echo", "http"]);
    let bytes = noise(10 << 20, 3);
    let head = format!(
        "PUT / HTTP/1.1\r\nHost: x\r\nContent-Type: x/y\r\nConnection: close\r\n\
         Content-Length: {}\r\n\r\n",
        bytes.len()
    );
    let heard = exchange(server.listening("http"), &[head.as_bytes(), &bytes].concat());
    let end = heard.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
    let head = String::from_utf8_lossy(&heard[..end]);
    assert!(head.contains("Content-Type: x/y\r\n"), "{head}");
    same(&heard[end..], &bytes);
}

#[test]
fn a_taken_port_is_one_line_and_1() {
    let first = start(&["echo", "tcp"]);
    let at = first.listening("tcp").to_string();
    for args in [&["echo", "tcp", &at][..], &["echo", "http", &at], &["echo", "ws", &at]] {
        run(args, b"").failed(1, "another port");
    }
    let udp = start(&["echo", "udp"]);
    run(&["echo", "udp", &udp.listening("udp").to_string()], b"").failed(1, "another port");
}
