//! `get`: what curl does beyond one request, each held by a server of ours.

use crate::harness::*;
use loopwork::reactor::ListenOptions;
use loopwork::{Address, Env, Id, Loop, Os, tcp};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::{Duration, Instant};

fn answer(head: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

fn ok(body: &str) -> Vec<u8> {
    answer("200 OK", body)
}

/// Runs one line against these answers; what became of it, and what the server heard.
fn asked(answers: Vec<Vec<u8>>, line: &[&str], stdin: &[u8]) -> (Ended, Vec<String>) {
    let (at, server) = canned(answers);
    let url = |word: &&str| word.replace("U/", &format!("http://{at}/"));
    let line: Vec<String> = line.iter().map(url).collect();
    let mut words = vec!["get"];
    words.extend(line.iter().map(String::as_str));
    let ended = run(&words, stdin);
    (ended, server.join().unwrap())
}

/// A server that keeps its one connection, and answers each request with its first line.
fn keeping() -> (SocketAddr, mpsc::Receiver<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(WAIT)).unwrap();
        let (mut heard, mut bytes, mut count) = (Vec::new(), [0; 4096], 0);
        loop {
            match stream.read(&mut bytes) {
                Ok(n) if n > 0 => heard.extend_from_slice(&bytes[..n]),
                _ => {
                    // Nobody asks when the test has failed.
                    let _ = tell.send(count);
                    return;
                }
            }
            while let Some(end) = heard.windows(4).position(|w| w == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&heard[..end]).into_owned();
                heard.drain(..end + 4);
                count += 1;
                let line = head.lines().next().unwrap_or_default().to_string();
                stream.write_all(&ok(&line)).unwrap();
            }
        }
    });
    (at, told)
}

/// Takes nobody in.
struct Nobody;

impl tcp::Protocol for Nobody {
    type Conn = ();
    fn on_accept(&mut self, _: &mut Env, _: Id, _: &Address) -> Option<()> {
        None
    }
    fn on_data(&mut self, _: &mut (), _: &mut tcp::Io<'_>, bytes: &mut [u8]) -> usize {
        bytes.len()
    }
}

/// A listener that nobody serves and whose queue is full: who comes now gets no answer at all.
fn full() -> (SocketAddr, (Loop<Os>, Vec<TcpStream>)) {
    let mut lp = Loop::new(Os::new().unwrap());
    let host = tcp::add(&mut lp, |_| Nobody);
    let mut how = ListenOptions::default();
    how.backlog = 1;
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let at = tcp::listen_at(&mut lp, host, &any.into(), &how).unwrap().ip().unwrap();
    let mut queue = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&at, Duration::from_millis(500)) {
        queue.push(stream);
        assert!(queue.len() < 50, "the queue is as long as that of a system of another kind");
    }
    (at, (lp, queue))
}

#[test]
fn several_urls_share_a_connection() {
    let (at, told) = keeping();
    let url = format!("http://{at}/{{a,b}}");
    let third = format!("http://{at}/[1-2]");
    let ended = run(&["get", "-w", "|%{num_connects}\\n", &url, &third], b"");
    let line = |path: &str, n: u8| format!("GET /{path} HTTP/1.1|{n}\n");
    assert_eq!(ended.text(), [line("a", 1), line("b", 0), line("1", 0), line("2", 0)].concat());
    assert_eq!(told.recv_timeout(WAIT), Ok(4));
}

#[test]
fn bodies_of_all_kinds() {
    let folder = Folder::new();
    let path = folder.write("lines", b"one\ntwo\n");
    let path = path.to_str().unwrap();
    let at = format!("@{path}");
    for (line, head, body) in [
        (&["--data-raw", "@x", "U/"][..], "POST / ", "@x"),
        (&["-d", &at, "U/"], "POST / ", "onetwo"),
        (&["--data-binary", &at, "U/"], "POST / ", "one\ntwo\n"),
        (&["--data-urlencode", "n=a b&", "U/"], "POST / ", "n=a+b%26"),
        (&["-G", "-d", "a=b", "U/x?y"], "GET /x?y&a=b ", ""),
        (&["--json", "{}", "U/"], "POST / ", "{}"),
        (&["-T", path, "U/d/"], "PUT /d/lines ", "one\ntwo\n"),
        (
            &["-H", "Transfer-Encoding: chunked", "-d", "abc", "U/"],
            "POST / ",
            "3\r\nabc\r\n0\r\n\r\n",
        ),
    ] {
        let (ended, heard) = asked(vec![ok("")], line, b"");
        assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{line:?}");
        let (found, rest) = heard[0].split_once("\r\n\r\n").unwrap();
        assert!(found.starts_with(head), "{line:?}: {found}");
        assert!(body.starts_with(rest), "{line:?}: {rest}");
        let json = found.contains("Content-Type: application/json\r\n");
        assert_eq!(json, line[0] == "--json", "{found}");
    }
}

#[test]
fn stdin_is_sent_in_chunks_as_it_comes() {
    let server = start(&["echo", "http"]);
    let url = format!("http://{}/", server.listening("http"));
    let bytes = noise(9 << 20, 21);
    let ended = run(&["get", "-T", "-", "-w", "%{stderr}%{size_upload}", &url], &bytes);
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), "9437184"));
    same(&ended.out, &bytes);
}

#[test]
fn credentials_stay_with_their_origin() {
    let (to, second) = canned(vec![ok("there"), ok("there")]);
    let moved = |to: &str| answer(&format!("302 Found\r\nConnection: close\r\nLocation: {to}"), "");
    let elsewhere = format!("http://{to}/");
    let line = ["-L", "-u", "a:b", "-b", "c=d", "U/"];
    let (ended, first) = asked(vec![moved(&elsewhere)], &line, b"");
    assert_eq!(ended.text(), "there");
    assert!(first[0].contains("Authorization: Basic YTpi\r\n"), "{first:?}");
    assert!(first[0].contains("Cookie: c=d\r\n"), "{first:?}");
    let (_, _) =
        asked(vec![moved(&elsewhere)], &["-L", "--location-trusted", "-u", "a:b", "U/"], b"");
    let heard = second.join().unwrap();
    assert!(!heard[0].contains("Authorization") && !heard[0].contains("Cookie"), "{heard:?}");
    assert!(heard[1].contains("Authorization: Basic YTpi\r\n"), "{heard:?}");
    let (at, server) = canned(vec![moved("/next"), ok("")]);
    run(&["get", "-L", &format!("http://x%40:y@{at}/")], b"");
    for heard in server.join().unwrap() {
        assert!(heard.contains("Authorization: Basic eEA6eQ==\r\n"), "{heard}");
    }
}

#[test]
fn a_post_stays_one_when_asked() {
    for (status, line, first) in [
        (301, &["-L", "-d", "x", "U/"][..], "GET "),
        (302, &["-L", "-d", "x", "U/"], "GET "),
        (303, &["-L", "-d", "x", "U/"], "GET "),
        (308, &["-L", "-d", "x", "U/"], "POST "),
        (301, &["-L", "--post301", "-d", "x", "U/"], "POST "),
        (302, &["-L", "--post302", "-d", "x", "U/"], "POST "),
        (303, &["-L", "--post303", "-d", "x", "U/"], "POST "),
        (303, &["-L", "-T", "/etc/hostname", "U/x"], "GET "),
        (302, &["-L", "-T", "/etc/hostname", "U/x"], "PUT "),
    ] {
        let moved = answer(&format!("{status} M\r\nConnection: close\r\nLocation: /to"), "");
        let (ended, heard) = asked(vec![moved, ok("")], line, b"");
        assert_eq!(ended.code, Some(0), "{line:?}: {ended:?}");
        assert!(heard[1].starts_with(&format!("{first}/to ")), "{status} {line:?}: {heard:?}");
    }
    let moved = answer("307 M\r\nLocation: /to", "");
    let (ended, _) = asked(vec![moved], &["-L", "-H", "Expect:", "-T", "-", "U/"], b"once");
    ended.failed(65, "second time");
}

#[test]
fn statuses_that_fail() {
    for (line, code, out, err) in [
        (&["-f", "U/"][..], 22, "", true),
        (&["--fail-with-body", "U/"], 22, "sorry", true),
        (&["-sf", "U/"], 22, "", false),
        (&["-sSf", "U/"], 22, "", true),
        (&["U/"], 0, "sorry", false),
        (&["--max-filesize", "4", "U/"], 63, "", true),
        (&["--max-redirs", "-1", "--max-filesize", "5", "U/"], 0, "sorry", false),
    ] {
        let (ended, _) = asked(vec![answer("404 No", "sorry")], line, b"");
        assert_eq!((ended.code, ended.text().as_str()), (Some(code), out), "{line:?}");
        assert_eq!(!ended.err.is_empty(), err, "{line:?}: {ended:?}");
    }
    // Without a length it is found out on the way.
    let body = "HTTP/1.0 200 OK\r\n\r\n0123456789".to_string().into_bytes();
    let (ended, _) = asked(vec![body], &["--max-filesize", "9", "U/"], b"");
    ended.failed(63, "longer than 9 bytes");
}

#[test]
fn files_are_made_where_they_should_be() {
    let folder = Folder::new();
    let named = answer("200 OK\r\nContent-Disposition: attachment; filename=\"../given\"", "named");
    let (at, server) =
        canned(vec![ok("deep"), named.clone(), named.clone(), ok("head"), named, ok("nameless")]);
    let in_folder = |line: &[&str]| {
        let mut words = vec!["get"];
        words.extend(line);
        Run::of(command(&words).current_dir(folder.path())).ended()
    };
    let url = format!("http://{at}/x");
    let file = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    let line = ["--create-dirs", "--output-dir", "a/b", "-o", "c", &url];
    assert_eq!((in_folder(&line).code, file("a/b/c").as_str()), (Some(0), "deep"));
    assert_eq!((in_folder(&["-OJ", &url]).code, file("given").as_str()), (Some(0), "named"));
    in_folder(&["-OJ", &url]).failed(23, "given");
    assert_eq!(in_folder(&["-D", "heads", "-o", "body", &url]).code, Some(0));
    assert_eq!(file("heads"), "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n");
    assert!(!folder.path().join("x").exists());
    // The folder is there; the URL itself has no name.
    let root = format!("http://{at}/");
    let line = ["-OJ", "--output-dir", "a", &root];
    assert_eq!((in_folder(&line).code, file("a/given").as_str()), (Some(0), "named"));
    in_folder(&line).failed(23, "names a file");
    server.join().unwrap();
}

#[test]
fn what_was_begun_goes_on() {
    let folder = Folder::new();
    let path = folder.write("part", b"abc");
    let file = path.to_str().unwrap();
    let rest = answer("206 Partial Content\r\nContent-Range: bytes 3-5/6", "def");
    let (ended, heard) = asked(vec![rest], &["-C", "-", "-o", file, "U/"], b"");
    assert_eq!((ended.code, std::fs::read(&path).unwrap()), (Some(0), b"abcdef".to_vec()));
    assert!(heard[0].contains("Range: bytes=3-\r\n"), "{heard:?}");
    let all = answer("416 No\r\nContent-Range: bytes */6", "nothing");
    let (ended, _) = asked(vec![all], &["-f", "-C", "-", "-o", file, "U/"], b"");
    assert_eq!((ended.code, std::fs::read(&path).unwrap()), (Some(0), b"abcdef".to_vec()));
    let (ended, _) = asked(vec![ok("abcdef")], &["-C", "-", "-o", file, "U/"], b"");
    ended.failed(33, "byte 6");
    assert_eq!(std::fs::read(&path).unwrap(), b"abcdef");
    let (_, heard) = asked(vec![ok("")], &["-r", "7", "U/"], b"");
    assert!(heard[0].contains("Range: bytes=7-\r\n"), "{heard:?}");
}

#[test]
fn ways_to_the_server() {
    let (at, server) = canned(vec![ok("1"), ok("2"), ok("3")]);
    let (ip, port) = (at.ip(), at.port());
    let resolved = format!("some.test:{port}:{ip}");
    let there = format!("http://some.test:{port}/a");
    assert_eq!(run(&["get", "--resolve", &resolved, &there], b"").text(), "1");
    let instead = format!("some.test:80:{ip}:{port}");
    assert_eq!(run(&["get", "--connect-to", &instead, "http://some.test/b"], b"").text(), "2");
    let proxy = format!("u:p@{at}");
    assert_eq!(run(&["get", "-x", &proxy, "http://some.test/c"], b"").text(), "3");
    let heard = server.join().unwrap();
    assert!(heard[0].starts_with(&format!("GET /a HTTP/1.1\r\nHost: some.test:{port}\r\n")));
    assert!(heard[1].starts_with("GET /b HTTP/1.1\r\nHost: some.test\r\n"), "{heard:?}");
    assert!(heard[2].starts_with("GET http://some.test/c HTTP/1.1\r\nHost: some.test\r\n"));
    assert!(heard[2].contains("Proxy-Authorization: Basic dTpw\r\n"), "{heard:?}");
    run(&["get", "-x", "no-such-proxy.invalid:1", "http://a/"], b"").failed(5, "proxy");
    run(&["get", "--unix-socket", "/no/such/socket", "http://a/"], b"")
        .failed(7, "/no/such/socket");
}

#[test]
fn cookies_are_kept() {
    let folder = Folder::new();
    let jar = folder.path().join("jar");
    let jar = jar.to_str().unwrap();
    let set = answer("200 OK\r\nConnection: close\r\nSet-Cookie: a=1; Path=/", "");
    let (_, heard) = asked(vec![set, ok("")], &["-c", jar, "U/", "U/"], b"");
    assert!(!heard[0].contains("Cookie") && heard[1].contains("Cookie: a=1\r\n"), "{heard:?}");
    let text = std::fs::read_to_string(jar).unwrap();
    assert!(text.ends_with("127.0.0.1\tFALSE\t/\tFALSE\t0\ta\t1\n"), "{text}");
    let (_, heard) = asked(vec![ok("")], &["-b", jar, "-b", "b=2", "U/"], b"");
    assert!(heard[0].contains("Cookie: a=1; b=2\r\n"), "{heard:?}");
}

#[test]
fn another_try() {
    let busy = || answer("503 Busy\r\nConnection: close", "busy");
    let folder = Folder::new();
    let path = folder.path().join("out");
    let out = path.to_str().unwrap();
    let line = ["-sS", "--retry", "2", "--retry-delay", "0.01", "-o", out, "U/"];
    let (ended, heard) = asked(vec![busy(), busy(), ok("well")], &line, b"");
    assert_eq!((ended.code, ended.err.as_str(), heard.len()), (Some(0), "", 3));
    assert_eq!(std::fs::read(&path).unwrap(), b"well");
    let (ended, heard) = asked(vec![busy(), busy(), busy()], &[&["-f"], &line[..]].concat(), b"");
    assert_eq!((ended.code, heard.len()), (Some(22), 3));
    // What is no use to be tried again is not.
    let (ended, heard) = asked(vec![answer("404 No", "")], &[&["-f"], &line[..]].concat(), b"");
    assert_eq!((ended.code, heard.len()), (Some(22), 1));
}

#[test]
fn a_connection_that_does_not_come_is_given_up() {
    let (at, _full) = full();
    let url = format!("http://{at}/");
    let began = Instant::now();
    let ended = run(&["get", "--connect-timeout", "0.3", &url], b"");
    ended.failed(28, "no connection within 0.3 s");
    assert!(began.elapsed() >= Duration::from_millis(290));
}

#[test]
fn who_is_connected_has_all_the_time() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        while let Ok((mut peer, _)) = listener.accept() {
            std::thread::sleep(Duration::from_millis(500));
            // It may have given up.
            let _ = peer.read(&mut [0; 4096]).and_then(|_| peer.write_all(&ok("late")));
        }
    });
    // On a machine that stands still the connection itself may come too late: then once more.
    let well =
        (0..20).any(|_| run(&["get", "--connect-timeout", "0.3", &url], b"").text() == "late");
    assert!(well);
}

#[test]
fn timing_is_numbers_off_a_terminal() {
    let moved = answer("302 M\r\nConnection: close\r\nLocation: /x", "");
    for (line, answers, names) in [
        (&["--timing", "U/"][..], vec![ok("body")], &NAMES[1..]),
        (&["--timing", "-L", "U/"], vec![moved, ok("body")], &NAMES[..]),
    ] {
        let (ended, _) = asked(answers, line, b"");
        assert_eq!((ended.code, ended.text().as_str()), (Some(0), "body"));
        let found: Vec<&str> = ended.err.lines().map(|line| line[..12].trim()).collect();
        assert_eq!(found, names, "{}", ended.err);
        let over = |line: &str| line[25..].trim().trim_end_matches(" ms").parse::<f64>().unwrap();
        let overs: Vec<f64> = ended.err.lines().map(over).collect();
        assert!(overs.is_sorted() && overs[overs.len() - 1] > 0.0, "{}", ended.err);
    }
}

const NAMES: [&str; 6] = ["redirects", "name", "connect", "request sent", "first byte", "done"];

#[test]
fn the_next_address_gets_the_whole_body() {
    let folder = Folder::new();
    let path = folder.write("body", b"in a file");
    let path = path.to_str().unwrap();
    for (line, stdin, body) in [
        (&["-d", "posted"][..], &b""[..], "posted"),
        (&["-T", path], b"", "in a file"),
        (&["-T", "-", "-H", "Expect:"], b"from stdin", "a\r\nfrom stdin\r\n0\r\n\r\n"),
    ] {
        let (at, server) = canned(vec![ok("")]);
        // Nobody listens at the first of the two.
        let resolved = format!("some.test:{}:127.0.0.2,{}", at.port(), at.ip());
        let url = format!("http://some.test:{}/x", at.port());
        let line = [&["get", "--resolve", &resolved, &url], line].concat();
        let ended = run(&line, stdin);
        assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{line:?}");
        let heard = server.join().unwrap();
        let (_, found) = heard[0].split_once("\r\n\r\n").unwrap();
        assert!(body.starts_with(found), "{line:?}: {heard:?}");
    }
}

#[test]
fn a_server_that_wants_no_expectation_gets_the_body_without() {
    let folder = Folder::new();
    let path = folder.write("body", &vec![b'x'; (1 << 20) + 1]);
    let no = answer("417 Expectation Failed\r\nConnection: close", "");
    let line = ["-T", path.to_str().unwrap(), "U/x"];
    let (ended, heard) = asked(vec![no, ok("well")], &line, b"");
    assert_eq!((ended.code, ended.text().as_str()), (Some(0), "well"));
    assert!(heard[0].contains("Expect: 100-continue\r\n"), "{}", heard[0].len());
    assert!(!heard[1].contains("Expect:") && heard[1].starts_with("PUT "));
}

#[test]
fn times_follow_each_other() {
    let names = ["namelookup", "connect", "pretransfer", "starttransfer", "total"];
    let format: String = names.iter().map(|name| format!("%{{time_{name}}} ")).collect();
    let (ended, _) = asked(vec![ok("")], &["-w", &format, "U/"], b"");
    let times: Vec<f64> = ended.text().split_whitespace().map(|t| t.parse().unwrap()).collect();
    assert!(times.len() == 5 && times.is_sorted() && times[4] > 0.0, "{times:?}");
}
