//! `serve`: what is served, how, and what never is.

use crate::harness::*;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::process::Command;

fn site() -> (Folder, Run, SocketAddr) {
    let folder = Folder::new();
    folder.write("a.txt", b"hello\n");
    folder.write("page/index.html", b"<p>index");
    folder.write("page/x y.css", b"a{}");
    folder.write("sub/deep/b.bin", b"\x00\x01");
    folder.write(".secret", b"secret");
    folder.write(".git/config", b"secret");
    folder.write("empty", b"");
    let server = start(&["serve", folder.text(), "-p", "0"]);
    let at = server.listening("http");
    (folder, server, at)
}

fn status(at: SocketAddr, path: &str) -> u16 {
    let (head, _) = ask(at, &format!("GET {path}"), &[]);
    head[9..12].parse().unwrap()
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

#[test]
fn files_have_length_type_and_date() {
    let (_folder, _server, at) = site();
    let (head, body) = ask(at, "GET /a.txt?query", &[]);
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert_eq!(header(&head, "Content-Length"), Some("6"));
    assert_eq!(header(&head, "Content-Type"), Some("text/plain; charset=utf-8"));
    assert!(header(&head, "Last-Modified").is_some_and(|date| date.ends_with(" GMT")));
    assert_eq!(body, b"hello\n");
    let (head, body) = ask(at, "GET /page/x%20y.css", &[]);
    assert_eq!(header(&head, "Content-Type"), Some("text/css; charset=utf-8"));
    assert_eq!(body, b"a{}");
    let (head, body) = ask(at, "GET /sub/deep/b.bin", &[]);
    assert_eq!(header(&head, "Content-Type"), Some("application/octet-stream"));
    assert_eq!(body, b"\x00\x01");
    let (head, body) = ask(at, "GET /empty", &[]);
    assert_eq!((header(&head, "Content-Length"), body.len()), (Some("0"), 0));
}

#[test]
fn head_is_a_head_and_other_methods_are_refused() {
    let (_folder, _server, at) = site();
    for path in ["/a.txt", "/", "/page/", "/nothing"] {
        let (get, body) = ask(at, &format!("GET {path}"), &[]);
        let (head, none) = ask(at, &format!("HEAD {path}"), &[]);
        assert!(none.is_empty() && !body.is_empty());
        assert_eq!(header(&get, "Content-Length"), header(&head, "Content-Length"), "{path}");
    }
    for method in ["POST", "PUT", "DELETE", "BREW"] {
        let (head, _) = ask(at, &format!("{method} /a.txt"), &[]);
        assert!(head.starts_with("HTTP/1.1 405 "), "{method}: {head}");
        assert_eq!(header(&head, "Allow"), Some("GET, HEAD, OPTIONS"));
    }
}

#[test]
fn what_is_known_is_not_sent_again() {
    let (_folder, _server, at) = site();
    let (head, _) = ask(at, "GET /a.txt", &[]);
    let date = header(&head, "Last-Modified").unwrap().to_string();
    for (since, status) in [
        (date.as_str(), "304"),
        ("Fri, 31 Dec 9999 23:59:59 GMT", "304"),
        ("Sun, 06 Nov 1994 08:49:37 GMT", "200"),
        ("no date", "200"),
    ] {
        let (head, body) = ask(at, "GET /a.txt", &[&format!("If-Modified-Since: {since}")]);
        assert_eq!(&head[9..12], status, "{since}");
        assert_eq!(body.is_empty(), status == "304");
        assert_eq!(header(&head, "Last-Modified"), Some(date.as_str()));
    }
}

#[test]
fn tags_and_ranges() {
    let (folder, _server, at) = site();
    folder.write("digits", b"0123456789");
    let (head, _) = ask(at, "GET /digits", &[]);
    let tag = header(&head, "ETag").unwrap().to_string();
    let date = header(&head, "Last-Modified").unwrap().to_string();
    assert_eq!(header(&head, "Accept-Ranges"), Some("bytes"));
    let old = "If-Modified-Since: Fri, 31 Dec 9999 23:59:59 GMT";
    for (headers, status, body) in [
        (&[format!("If-None-Match: {tag}")][..], "304", ""),
        (&[format!("If-None-Match: \"a\", W/{tag}")], "304", ""),
        (&["If-None-Match: *".to_string()], "304", ""),
        (&["If-None-Match: \"a\"".to_string(), old.to_string()], "200", "0123456789"),
        (&["Range: bytes=2-4".to_string()], "206", "234"),
        (&["Range: bytes=-2".to_string()], "206", "89"),
        (&["Range: bytes=0-2,2-3".to_string()], "200", "0123456789"),
        (&["Range: bytes=8-".to_string(), format!("If-Range: {tag}")], "206", "89"),
        // A compressed form could have the same date.
        (&["Range: bytes=8-".to_string(), format!("If-Range: {date}")], "200", "0123456789"),
        (&["Range: bytes=8-".to_string(), format!("If-Range: W/{tag}")], "200", "0123456789"),
        (&["Range: bytes=8-".to_string(), "If-Range: \"a\"".to_string()], "200", "0123456789"),
    ] {
        let lines: Vec<&str> = headers.iter().map(String::as_str).collect();
        let (head, found) = ask(at, "GET /digits", &lines);
        assert_eq!((&head[9..12], String::from_utf8(found).unwrap().as_str()), (status, body));
    }
    let (head, _) = ask(at, "GET /digits", &["Range: bytes=2-4"]);
    assert_eq!(header(&head, "Content-Range"), Some("bytes 2-4/10"));
    let (head, _) = ask(at, "GET /digits", &["Range: bytes=10-"]);
    assert_eq!((&head[9..12], header(&head, "Content-Range")), ("416", Some("bytes */10")));
    let (head, _) = ask(at, "HEAD /digits", &["Range: bytes=2-4"]);
    assert_eq!((&head[9..12], header(&head, "Content-Length")), ("200", Some("10")));
}

#[test]
fn directories_are_listed_or_have_an_index() {
    let (folder, _server, at) = site();
    folder.write("<script>&\"é.txt", b"x");
    let (head, body) = ask(at, "GET /", &[]);
    assert_eq!(header(&head, "Content-Type"), Some("text/html; charset=utf-8"));
    let page = String::from_utf8(body).unwrap();
    assert!(page.contains("&lt;script&gt;&amp;&quot;é.txt</a>"), "{page}");
    assert!(page.contains("href=\"./%3Cscript%3E%26%22%C3%A9.txt\""), "{page}");
    assert!(!page.contains("<script") && !page.contains("secret") && !page.contains(".git"));
    assert!(page.contains(">6 B<"), "sizes: {page}");
    let at_of = |part: &str| page.find(part).unwrap_or_else(|| panic!("{part}: {page}"));
    assert!(at_of("page/</a>") < at_of("sub/</a>"));
    assert!(at_of("sub/</a>") < at_of("a.txt</a>"), "directories come first");
    assert!(!page.contains("href=\"../\""), "the root has no parent");
    let (_, body) = ask(at, "GET /sub/", &[]);
    assert!(String::from_utf8(body).unwrap().contains("href=\"../\""));
    assert_eq!(ask(at, "GET /page/", &[]).1, b"<p>index");
}

#[test]
fn directories_are_named_with_a_slash() {
    let (_folder, _server, at) = site();
    for (path, to) in [
        ("/sub", "/sub/"),
        ("/sub/deep?a=b", "/sub/deep/?a=b"),
        ("//sub", "/sub/"),
        ("/%73ub", "/sub/"),
    ] {
        let (head, _) = ask(at, &format!("GET {path}"), &[]);
        assert!(head.starts_with("HTTP/1.1 301 "), "{path}: {head}");
        assert_eq!(header(&head, "Location"), Some(to), "{path}");
    }
    assert_eq!(status(at, "/a.txt/"), 404, "a file is no directory");
}

#[test]
fn nothing_escapes_the_root() {
    let (folder, _server, at) = site();
    let outside = Folder::new();
    outside.write("secret", b"secret");
    symlink(outside.path(), folder.path().join("out")).unwrap();
    symlink(outside.path().join("secret"), folder.path().join("out.txt")).unwrap();
    symlink("../..", folder.path().join("sub/up")).unwrap();
    symlink(".secret", folder.path().join("shown")).unwrap();
    symlink("loop", folder.path().join("loop")).unwrap();
    symlink("a.txt", folder.path().join("fine")).unwrap();
    symlink("/dev/zero", folder.path().join("zero")).unwrap();
    for path in [
        "/..",
        "/../",
        "/../../../../etc/passwd",
        "/sub/../a.txt",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/%2e%2e%2fetc%2fpasswd",
        "/..%2f..%2fetc/passwd",
        "/sub/..%5c..%5ca.txt",
        "/a.txt%00",
        "/%00",
        "/.secret",
        "/.git/config",
        "/.git",
        "/%2egit/config",
        "/out/secret",
        "/out/",
        "/out",
        "/out.txt",
        "/sub/up/",
        "/sub/up/etc/passwd",
        "/shown",
        "/loop",
        "/zero",
        "//etc/passwd",
        "/nothing",
        "/a.txt/b",
        "/...",
        "/%252e%252e/",
    ] {
        assert_eq!(status(at, path), 404, "{path}");
    }
    for path in ["/%", "/%zz", "/a%2"] {
        assert_eq!(status(at, path), 400, "{path}");
    }
    assert_eq!(status(at, "/fine"), 200, "a link that stays inside");
    let page = String::from_utf8(ask(at, "GET /", &[]).1).unwrap();
    for part in ["out", "shown", "loop", "zero"] {
        assert!(!page.contains(&format!("./{part}")), "{part} is listed");
    }
    assert!(page.contains("./fine"));
}

#[test]
fn what_is_no_file_is_not_opened() {
    let (folder, _server, at) = site();
    let fifo = folder.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let _socket = UnixListener::bind(folder.path().join("socket")).unwrap();
    assert_eq!(status(at, "/fifo"), 404);
    assert_eq!(status(at, "/socket"), 404);
    let page = String::from_utf8(ask(at, "GET /", &[]).1).unwrap();
    assert!(!page.contains("fifo") && !page.contains("socket"));
    folder.write("index.d/x", b"");
    assert!(Command::new("mkfifo").arg(folder.path().join("sub/index.html")).status().is_ok());
    assert_eq!(status(at, "/sub/"), 200, "an index that is a FIFO is none");
}

#[test]
fn a_large_file_costs_no_memory_and_waits_for_a_slow_reader() {
    let folder = Folder::new();
    let file = std::fs::File::create(folder.path().join("huge")).unwrap();
    file.set_len(3 << 30).unwrap();
    let server = start(&["serve", folder.text(), "-p", "0"]);
    let at = server.listening("http");
    let mut streams: Vec<_> = (0..8).map(|_| connect(at)).collect();
    for stream in &mut streams {
        stream.write_all(b"GET /huge HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut some = vec![0; 1 << 20];
        stream.read_exact(&mut some).unwrap();
    }
    assert_eq!(status(at, "/"), 200, "others are served meanwhile");
    let path = format!("/proc/{}/status", server.child.id());
    let text = std::fs::read_to_string(path).unwrap();
    let peak = text.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap();
    let kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(kib < 40_000, "the server took {kib} KiB");
}

#[test]
fn the_whole_machine_is_not_served_by_accident() {
    run(&["serve", "/", "-p", "0"], b"").failed(1, "--anywhere");
    let home = Folder::new();
    home.write("site/a", b"x");
    for (dir, served) in [(home.path().to_path_buf(), false), (home.path().join("site"), true)] {
        let mut command = command(&["serve", dir.to_str().unwrap(), "-p", "0"]);
        let server = Run::of(command.env("HOME", home.path()));
        match served {
            true => drop(server.listening("http")),
            false => server.ended().failed(1, "--anywhere"),
        }
    }
    let mut meant = command(&["serve", home.text(), "-p", "0", "--anywhere"]);
    Run::of(meant.env("HOME", home.path())).listening("http");
}

#[test]
fn what_cannot_be_served_is_one_line() {
    let folder = Folder::new();
    let file = folder.write("a", b"x");
    run(&["serve", file.to_str().unwrap()], b"").failed(1, "not a directory");
    run(&["serve", "/no/such/directory"], b"").failed(1, "exists");
    let server = start(&["serve", folder.text(), "-p", "0"]);
    let port = server.listening("http").port().to_string();
    run(&["serve", folder.text(), "-p", &port], b"").failed(1, "another port");
    run(&["serve", folder.text(), "-b", "203.0.113.7"], b"").failed(1, "address of this machine");
}

#[test]
fn websockets_echo_on_their_path_alone() {
    let folder = Folder::new();
    folder.write("a.txt", b"hello");
    let server = start(&["serve", folder.text(), "-p", "0", "--ws-echo", "/echo"]);
    let at = server.listening("http");
    let ended = run(&["ws", &format!("ws://{at}/echo")], "你好\n".as_bytes());
    assert_eq!((ended.code, ended.text().as_str()), (Some(0), "你好\n"), "{ended:?}");
    run(&["ws", &format!("ws://{at}/other")], b"").failed(1, "404");
    assert_eq!(status(at, "/a.txt"), 200);
    assert_eq!(status(at, "/echo"), 404);
}

#[test]
fn curl_and_the_server_agree() {
    if Command::new("curl").arg("--version").output().is_err() {
        return skipped("there is no curl here");
    }
    let (folder, _server, at) = site();
    let bytes = noise(5 << 20, 5);
    folder.write("big", &bytes);
    let curl = |args: &[&str]| {
        let url = format!("http://{at}");
        let limit = ["-sS", "--max-time", "20", "--path-as-is"];
        let args = args.iter().map(|arg| arg.replace('@', &url));
        Command::new("curl").args(limit).args(args).output().unwrap()
    };
    same(&curl(&["@/big"]).stdout, &bytes);
    same(&curl(&["--http1.0", "@/big"]).stdout, &bytes);
    let both = curl(&["@/a.txt", "@/page/"]);
    assert_eq!(both.stdout, b"hello\n<p>index", "two on one connection");
    let code = ["-o", "/dev/null", "-w", "%{http_code} %{num_redirects}", "-L"];
    assert_eq!(curl(&[&code[..], &["@/sub"]].concat()).stdout, b"200 1");
    assert_eq!(curl(&[&code[..], &["@/../etc/passwd"]].concat()).stdout, b"404 0");
}
