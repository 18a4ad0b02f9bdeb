//! `ws`: lines out, lines in, and a Close in order.

use crate::harness::*;

fn server() -> (Run, String) {
    let server = start(&["echo", "ws"]);
    let url = format!("ws://{}/any/path", server.listening("ws"));
    (server, url)
}

#[test]
fn lines_come_back_as_lines_and_nothing_else() {
    let (_server, url) = server();
    let text = "one\n\n你好\nlast without an end";
    let ended = run(&["ws", &url], text.as_bytes());
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
    assert_eq!(ended.text(), format!("{text}\n"));
}

/// The server is at one of the name's addresses alone; the others refuse.
#[test]
fn a_name_is_tried_at_all_its_addresses() {
    let (_server, url) = server();
    let url = url.replace("127.0.0.1", "localhost");
    let ended = run(&["ws", &url], b"hi\n");
    assert_eq!((ended.code, ended.err.as_str(), ended.text().as_str()), (Some(0), "", "hi\n"));
    let nobody = NOBODY.replace("127.0.0.1", "localhost");
    run(&["ws", &format!("ws://{nobody}/")], b"").failed(1, "nobody listens");
}

#[test]
fn it_talks_while_stdin_goes_on() {
    let (_server, url) = server();
    let mut client = start(&["ws", &url]);
    client.feed(b"first\n".to_vec(), false);
    assert_eq!(client.out.line_with("first"), "first");
    client.feed(b"second\n".to_vec(), true);
    let ended = client.ended();
    assert_eq!((ended.code, ended.text().as_str()), (Some(0), "first\nsecond\n"));
}

#[test]
fn many_lines_come_back_all() {
    let (_server, url) = server();
    let text: String = (0..100_000).map(|n| format!("line {n}\n")).collect();
    let ended = run(&["ws", &url], text.as_bytes());
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
    same(&ended.out, text.as_bytes());
}

#[test]
fn bytes_go_through_as_they_are() {
    let (_server, url) = server();
    let bytes = noise(24 << 20, 16);
    let ended = run(&["ws", "-b", &url], &bytes);
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
    same(&ended.out, &bytes);
}

#[test]
fn one_message_from_the_command_line() {
    let (_server, url) = server();
    let ended = run(&["ws", "-x", "hello", &url], b"not read\n");
    assert_eq!((ended.code, ended.text().as_str()), (Some(0), "hello\n"));
    let began = std::time::Instant::now();
    let ended = run(&["ws", "-x", "hello", "-w", "0.3", &url], b"");
    assert_eq!((ended.code, ended.text().as_str()), (Some(0), "hello\n"));
    assert!(began.elapsed().as_millis() >= 290);
}

#[test]
fn the_handshake_says_what_it_was_told_to() {
    let refusal = b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n".to_vec();
    let (at, server) = canned(vec![refusal]);
    let url = format!("ws://{at}/chat?x=1");
    let args = ["ws", "-H", "A: b", "-o", "http://page", "-s", "v1", "-s", "v2", &url];
    run(&args, b"").failed(1, "403");
    let heard = server.join().unwrap().remove(0);
    for part in [
        "GET /chat?x=1 HTTP/1.1\r\n",
        "\r\nA: b\r\n",
        "\r\nOrigin: http://page\r\n",
        "\r\nSec-WebSocket-Protocol: v1, v2\r\n",
    ] {
        assert!(heard.contains(part), "{part:?} is missing in {heard}");
    }
}

#[test]
fn redirects_are_followed_where_that_is_asked_for() {
    let (_server, url) = server();
    let leads = |to: &str| format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\n\r\n").into_bytes();
    // A relative one, one of HTTP, and one of WebSocket's own scheme.
    let answers = vec![leads("/next?1"), leads(&url.replace("ws:", "HTTP:"))];
    let (at, asked) = canned(answers);
    let first = format!("ws://{at}/first");
    let ended = run(&["ws", "-L", "-H", "Authorization: me", &first], b"hi\n");
    assert_eq!((ended.code, ended.err.as_str(), ended.text().as_str()), (Some(0), "", "hi\n"));
    let asked = asked.join().unwrap();
    assert!(asked[0].starts_with("GET /first HTTP/1.1\r\n") && asked[0].contains("me\r\n"));
    assert!(asked[1].starts_with("GET /next?1 HTTP/1.1\r\n") && asked[1].contains("me\r\n"));

    let (at, _) = canned(vec![leads(&url)]);
    run(&["ws", &format!("ws://{at}/")], b"").failed(1, "-L follows it");
    let (at, _) = canned(vec![leads("gopher://hole/")]);
    run(&["ws", "-L", &format!("ws://{at}/")], b"").failed(1, "the redirect leads to no URL");
    let (at, _) = canned(vec![leads("/again"); 21]);
    run(&["ws", "-L", &format!("ws://{at}/")], b"").failed(1, "more than 20 redirects");
}

#[test]
fn failures_are_one_line() {
    run(&["ws", &format!("ws://{NOBODY}/")], b"").failed(1, "nobody listens");
    let (_server, url) = server();
    run(&["ws", &url], b"\xff\xfe\n").failed(1, "-b");
    run(&["ws", "-H", "Upgrade: x", &url], b"").failed(2, "-H");
    run(&["ws", "-H", "nonsense", &url], b"").failed(2, "Name: value");
    let (http, _) = canned(vec![b"SSH-2.0\r\n\r\n".to_vec()]);
    run(&["ws", &format!("ws://{http}/")], b"").failed(1, "not HTTP");
}

#[test]
fn the_servers_end_is_told() {
    let (server, url) = server();
    let mut client = start(&["ws", &url]);
    client.feed(b"hi\n".to_vec(), false);
    client.out.line_with("hi");
    server.signal("TERM");
    assert_eq!(server.ended().code, Some(0), "the client answered the Close");
    assert_eq!(client.ended().code, Some(0), "1001 is an end in order");
}

fn listener(args: &[&str]) -> (Run, String) {
    let server = start(&[&["ws", "-l", "0"], args].concat());
    let line = server.err.line_with("listening on");
    let url = format!("ws://{}/any/path", address(&line, "ws"));
    (server, url)
}

#[test]
fn the_listening_side_talks_with_one_client() {
    let (mut server, url) = listener(&[]);
    let mut client = start(&["ws", &url]);
    client.feed("到\n".as_bytes().to_vec(), false);
    assert_eq!(server.out.line_with("到"), "到");
    server.feed(b"to the client\n".to_vec(), false);
    assert_eq!(client.out.line_with("to the"), "to the client");
    run(&["ws", &url], b"").failed(1, "503");
    server.feed(b"last without an end".to_vec(), true);
    let (server, client) = (server.ended(), client.ended());
    assert_eq!((server.code, server.text().as_str()), (Some(0), "到\n"), "{server:?}");
    assert_eq!(client.code, Some(0), "{client:?}");
    assert_eq!(client.text(), "to the client\nlast without an end\n");
}

#[test]
fn the_listening_side_keeps_stdin_for_who_comes() {
    // Before anybody is there.
    let (mut server, url) = listener(&[]);
    server.feed(b"held\n".to_vec(), false);
    let mut first = start(&["ws", &url]);
    assert_eq!(first.out.line_with("held"), "held");
    first.feed(b"one\n".to_vec(), true);
    assert_eq!(first.ended().code, Some(0));
    server.out.line_with("one");
    // The next one, after that.
    server.feed(b"for the second\n".to_vec(), true);
    let limit = std::time::Instant::now() + WAIT;
    let second = loop {
        let second = run(&["ws", "-x", "two", "-w", "20", &url], b"");
        // The server may hear a moment later that the first one's stream has ended.
        if !second.err.contains("503") || std::time::Instant::now() > limit {
            break second;
        }
    };
    assert_eq!((second.code, second.text().as_str()), (Some(0), "for the second\n"));
    let server = server.ended();
    assert_eq!((server.code, server.text().as_str()), (Some(0), "one\ntwo\n"), "{server:?}");
}

#[test]
fn the_listening_side_sends_bytes_and_one_message() {
    let (mut server, url) = listener(&["-b"]);
    let bytes = noise(3 << 20, 5);
    server.feed(bytes.clone(), true);
    let client = run(&["ws", "-b", "-w", "20", "-x", "hi", &url], b"");
    assert_eq!(client.code, Some(0), "{client:?}");
    same(&client.out, &bytes);
    assert_eq!(server.ended().text(), "hi");
    let (server, url) = listener(&["-x", "welcome", "-s", "v2"]);
    let client = run(&["ws", "-w", "20", "-s", "v1", "-s", "v2", "-x", "hi", &url], b"");
    assert_eq!((client.code, client.text().as_str()), (Some(0), "welcome\n"), "{client:?}");
    assert_eq!(server.ended().text(), "hi\n");
}

#[test]
fn the_listening_side_outlives_who_breaks_off() {
    let (mut server, url) = listener(&[]);
    let at = url["ws://".len()..].split('/').next().unwrap().parse().unwrap();
    // What is no WebSocket is told so, and what is a bad one ends alone.
    let (head, _) = ask(at, "GET /", &[]);
    assert!(head.starts_with("HTTP/1.1 404 "), "{head}");
    let key = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
               Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
    let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{key}\r\n\r\n\u{1}");
    exchange(at, text.as_bytes());
    server.err.line_with("the connection failed");
    assert!(server.is_running());
    server.feed(Vec::new(), true);
    let client = run(&["ws", "-x", "hi", "-w", "20", &url], b"");
    assert_eq!(client.code, Some(0), "{client:?}");
    let ended = server.ended();
    assert_eq!((ended.code, ended.text().as_str()), (Some(0), "hi\n"), "{ended:?}");
    assert_eq!(run(&["ws", "-l", "0", &url], b"").code, Some(2));
    run(&["ws", "-l", "0", "-s", "no name"], b"").failed(2, "-s");
}
