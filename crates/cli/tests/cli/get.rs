//! `get`: curl's words and curl's exit codes.

use crate::harness::*;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

fn ok(body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nX: y\r\n\r\n{body}").into_bytes()
}

fn moved(status: u16, to: &str) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status} Moved\r\nLocation: {to}\r\nContent-Length: 4\r\n");
    format!("{head}Connection: close\r\n\r\ngone").into_bytes()
}

#[test]
fn the_body_goes_to_stdout_and_i_shows_the_head() {
    let (at, server) = canned(vec![ok("one"), ok("two")]);
    let url = format!("http://{at}/a?b=c");
    let ended = run(&["get", &url], b"");
    assert_eq!((ended.code, ended.text().as_str(), ended.err.as_str()), (Some(0), "one", ""));
    let ended = run(&["get", "-i", &url], b"");
    assert_eq!(ended.text(), "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nX: y\r\n\r\ntwo");
    let heard = server.join().unwrap();
    assert!(heard[0].starts_with(&format!("GET /a?b=c HTTP/1.1\r\nHost: {at}\r\n")), "{heard:?}");
    assert!(heard[0].contains("User-Agent: loopwork/") && heard[0].contains("Accept: */*"));
}

#[test]
fn methods_headers_and_data() {
    let (at, server) = canned(vec![ok(""), ok(""), ok("")]);
    let url = format!("http://{at}/");
    run(&["get", "-d", "a=1", "-d", "b=2", &url], b"");
    run(&["get", "-X", "PATCH", "-H", "Accept:", "-H", "Host: h", "-H", "Q: 1", &url], b"");
    run(&["get", "-d", "@-", "-H", "Content-Type: x/y", &url], b"line\nline\n");
    let heard = server.join().unwrap();
    assert!(heard[0].starts_with("POST / ") && heard[0].ends_with("a=1&b=2"), "{heard:?}");
    assert!(heard[0].contains("Content-Type: application/x-www-form-urlencoded\r\n"));
    assert!(heard[1].starts_with("PATCH / HTTP/1.1\r\nHost: h\r\n"), "{heard:?}");
    assert!(!heard[1].contains("Accept") && heard[1].contains("Q: 1\r\n"), "{heard:?}");
    assert!(heard[2].ends_with("lineline") && heard[2].contains("x/y"), "{heard:?}");
}

#[test]
fn files_and_formats() {
    let folder = Folder::new();
    let (at, server) = canned(vec![ok("to a file"), ok("named"), ok("123")]);
    let path = folder.path().join("o");
    let out = path.to_str().unwrap();
    let ended = run(&["get", "-o", out, "-w", "%{http_code}\\n", &format!("http://{at}/")], b"");
    assert_eq!(ended.text(), "200\n");
    assert_eq!(std::fs::read(&path).unwrap(), b"to a file");
    let url = format!("http://{at}/dir/name.txt?x");
    let mut command = command(&["get", "-O", &url]);
    assert_eq!(Run::of(command.current_dir(folder.path())).ended().code, Some(0));
    assert_eq!(std::fs::read(folder.path().join("name.txt")).unwrap(), b"named");
    let format = "|%{size_download}|%{time_total}|%{num_redirects}";
    let ended = run(&["get", "-w", format, &format!("http://{at}/")], b"");
    let text = ended.text();
    let parts: Vec<&str> = text.split('|').collect();
    assert_eq!((parts[0], parts[1], parts[3]), ("123", "3", "0"));
    assert!(parts[2].parse::<f64>().is_ok_and(|time| time < 20.0), "{text}");
    server.join().unwrap();
}

#[test]
fn head_and_verbose() {
    let (at, server) =
        canned(vec![b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n".to_vec(), ok("body")]);
    let ended = run(&["get", "-I", &format!("http://{at}/")], b"");
    assert_eq!(ended.code, Some(0));
    assert_eq!(ended.text(), "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n");
    let ended = run(&["get", "-v", &format!("http://{at}/")], b"");
    assert_eq!(ended.text(), "body");
    assert!(ended.err.contains("> GET / HTTP/1.1\n") && ended.err.contains("< X: y\n"));
    assert!(server.join().unwrap()[0].starts_with("HEAD / "));
}

#[test]
fn redirects_are_followed_when_asked() {
    let (to, second) = canned(vec![ok("there"), ok("there"), ok("there")]);
    let target = format!("http://{to}/x");
    let (at, first) = canned(vec![
        moved(302, &target),
        moved(302, &target),
        moved(307, &target),
        moved(301, "/again"),
        ok("relative"),
        moved(302, &target),
    ]);
    let url = format!("http://{at}/");
    assert_eq!(run(&["get", &url], b"").text(), "gone");
    let secret = ["-H", "Authorization: s", "-H", "Cookie: s", "-H", "Other: o"];
    let args = [&["get", "-L", "-d", "form"], &secret[..], &[&url]].concat();
    assert_eq!(run(&args, b"").text(), "there");
    assert_eq!(run(&["get", "-L", "-d", "form", &url], b"").text(), "there");
    let ended = run(&["get", "-L", "-w", "%{num_redirects}", &url], b"");
    assert_eq!(ended.text(), "relative1");
    let ended = run(&["get", "-L", "-I", "-X", "GET", &url], b"");
    assert!(ended.text().starts_with("HTTP/1.1 302 "), "{ended:?}");
    let (first, second) = (first.join().unwrap(), second.join().unwrap());
    assert!(first[1].contains("Authorization: s"), "{first:?}");
    assert!(second[0].starts_with("GET /x ") && !second[0].contains("form"), "{second:?}");
    assert!(second[0].contains("Other: o"), "{second:?}");
    assert!(!second[0].contains("Authorization") && !second[0].contains("Cookie"), "{second:?}");
    assert!(second[1].starts_with("POST /x ") && second[1].ends_with("form"), "{second:?}");
    assert!(first[4].starts_with("GET /again "), "{first:?}");
}

#[test]
fn redirects_do_not_lead_anywhere() {
    let (at, server) = canned(vec![moved(302, "/"); 21]);
    run(&["get", "-L", &format!("http://{at}/")], b"").failed(47, "20 redirects");
    assert_eq!(server.join().unwrap().len(), 21);
    for to in ["file:///etc/passwd", "ftp://127.0.0.1/", "javascript:x"] {
        let (at, _server) = canned(vec![moved(302, to)]);
        run(&["get", "-L", &format!("http://{at}/")], b"").failed(1, to);
    }
}

#[test]
fn exit_codes() {
    run(&["get", "ftp://127.0.0.1/"], b"").failed(1, "ftp");
    run(&["get", "gopher://127.0.0.1/"], b"").failed(1, "gopher");
    run(&["get", "http://a b/"], b"").failed(3, "URL");
    run(&["get", "http://no-such-host.invalid/"], b"").failed(6, "no-such-host.invalid");
    run(&["get", &format!("http://{NOBODY}/")], b"").failed(7, "nobody listens");
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (answer, code, out, part) in [
        ("HTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\nno".to_string(), 22, "", "404"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart".to_string(), 18, "part", "4 bytes"),
        (format!("{chunked}4\r\npart\r\n"), 18, "part", "4 bytes"),
        (format!("{chunked}4\r\npart\r\nx"), 56, "part", "chunk"),
        (String::new(), 52, "", "without an answer"),
        ("SSH-2.0-OpenSSH\r\n\r\n".to_string(), 1, "", "not a response"),
        ("HTTP/1.1 200 OK\r\nno colon\r\n\r\n".to_string(), 8, "", "not a response"),
    ] {
        let (at, _server) = canned(vec![answer.clone().into_bytes()]);
        let ended = run(&["get", "-f", &format!("http://{at}/")], b"");
        ended.failed(code, part);
        assert_eq!(ended.text(), out, "{answer}");
    }
    let (at, _server) = canned(vec![ok("x"), ok("x")]);
    let url = format!("http://{at}/");
    run(&["get", "-o", "/no/such/dir/x", &url], b"").failed(23, "/no/such/dir/x");
    run(&["get", "-o", "/dev/full", &url], b"").failed(23, "cannot write");
    let silent = run(&["get", "-s", &format!("http://{NOBODY}/")], b"");
    assert_eq!((silent.code, silent.err.as_str()), (Some(7), ""));
}

#[test]
fn time_is_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let began = Instant::now();
    run(&["get", "--max-time", "0.3", &format!("http://{at}/")], b"").failed(28, "0.3 s");
    assert!(began.elapsed() >= Duration::from_millis(290));
    // However short: a timer that rings on time is not too early for whoever had set it.
    for _ in 0..30 {
        run(&["get", "-m", "0.001", &format!("http://{at}/")], b"").failed(28, "0.001 s");
    }
}

#[test]
fn a_closed_stdout_is_quiet() {
    let folder = Folder::new();
    std::fs::File::create(folder.path().join("big")).unwrap().set_len(1 << 30).unwrap();
    let server = start(&["serve", folder.text(), "-p", "0"]);
    let url = format!("http://{}/big", server.listening("http"));
    let mut command = command(&["get", &url]);
    let piped = std::process::Stdio::piped;
    let mut child = command.stdout(piped()).stderr(piped()).spawn().unwrap();
    let mut some = [0; 1000];
    let mut out = child.stdout.take().unwrap();
    out.read_exact(&mut some).unwrap();
    drop(out);
    let mut err = String::new();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert_eq!((child.wait().unwrap().code(), err.as_str()), (Some(23), ""));
}

#[test]
fn megabytes_through_and_back() {
    let server = start(&["echo", "http"]);
    let url = format!("http://{}/", server.listening("http"));
    let bytes: Vec<u8> = noise(24 << 20, 14).into_iter().map(|b| b'a' + b % 26).collect();
    let ended = run(&["get", "-d", "@-", &url], &bytes);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    same(&ended.out, &bytes);
}

#[test]
fn a_slow_stdout_stops_the_server() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let mut command = command(&["get", &format!("http://{at}/")]);
    let mut child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let (mut peer, _) = listener.accept().unwrap();
    // A request that is not read would make the end a reset.
    let mut request = [0; 4096];
    assert!(peer.read(&mut request).unwrap() > 0);
    let bytes = noise(64 << 20, 15);
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", bytes.len());
    peer.write_all(head.as_bytes()).unwrap();
    peer.set_nonblocking(true).unwrap();
    let (mut sent, mut idle) = (0, 0);
    while idle < 40 && sent < bytes.len() {
        match peer.write(&bytes[sent..]) {
            Ok(n) => (sent, idle) = (sent + n, 0),
            Err(_) => {
                idle += 1;
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
    assert!(sent < bytes.len(), "64 MiB went nowhere");
    peer.set_nonblocking(false).unwrap();
    let rest = bytes[sent..].to_vec();
    let writing = std::thread::spawn(move || peer.write_all(&rest).unwrap());
    let mut heard = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut heard).unwrap();
    writing.join().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    same(&heard, &bytes);
}

#[test]
fn a_compressed_body_is_shown_as_what_it_was_made_from() {
    let coded = |coding: &str, body: &[u8]| {
        let length = body.len();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\n");
        [format!("{head}Content-Length: {length}\r\n\r\n").as_bytes(), body].concat()
    };
    let gzip = b"\x1f\x8b\x08\0\0\0\0\0\x02\xff\xcbH\xcd\xc9\xc9\x07\0\x86\xa6\x106\x05\0\0\0";
    let cut = &gzip[..gzip.len() - 3];
    let answers =
        [("gzip", &gzip[..]), ("gzip", cut), ("br", b"hello"), ("gzip", b"hello"), ("gzip", gzip)];
    let (at, server) = canned(answers.map(|(coding, body)| coded(coding, body)).to_vec());
    let url = format!("http://{at}/");
    let get = || run(&["get", "--compressed", "-w", "|%{size_download}", &url], b"");
    let ended = get();
    assert_eq!((ended.code, ended.text().as_str()), (Some(0), "hello|25"));
    for why in ["ends too early", "not known here", "not what its coding says"] {
        let ended = get();
        assert_eq!(ended.code, Some(61));
        assert!(ended.err.contains(why), "{}", ended.err);
    }
    let ended = run(&["get", &url], b"");
    assert_eq!((ended.code, &ended.out[..]), (Some(0), &gzip[..]));
    let heard = server.join().unwrap();
    assert!(heard[0].contains("Accept-Encoding: gzip, deflate\r\n"), "{heard:?}");
    assert!(!heard[4].contains("Accept-Encoding"), "{heard:?}");
}

#[test]
fn hosts_beyond_ascii_are_asked_for_in_their_form_for_dns() {
    let server = start(&["echo", "http"]);
    let port = server.listening("http").port();
    let pin = format!("xn--bcher-kva.example:{port}:127.0.0.1");
    let url = format!("http://Bücher.example:{port}/");
    let ended = run(&["get", "-sv", "--resolve", &pin, &url], b"");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.err.contains(&format!("Host: xn--bcher-kva.example:{port}")), "{ended:?}");
}
