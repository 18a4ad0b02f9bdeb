//! Files that are kept in memory: what is sent is what is there now, over real sockets.

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};
use support::{Folder, Server, changed};

/// Until what was written is old enough to be kept: its date is an hour ago, the time at which
/// that was set is not.
fn settle() {
    std::thread::sleep(Duration::from_millis(150));
}

fn site() -> (Folder, Server) {
    let folder = Folder::new();
    folder.write("a.txt", b"0123456789");
    let server = Server::with(&folder, |files| files.listing(true));
    (folder, server)
}

#[test]
fn a_file_is_the_same_from_memory() {
    let folder = Folder::new();
    let long: Vec<u8> = (0..65_536_u32).map(|n| b'a' + (n % 26) as u8).collect();
    folder.write("a.txt", b"0123456789");
    folder.write("long.txt", &long);
    folder.write("empty.txt", b"");
    let kept = Server::new(&folder);
    let plain = Server::with(&folder, |files| files.cache(0));
    settle();
    for path in ["/a.txt", "/long.txt", "/empty.txt", "//a.txt", "/%61.txt?x"] {
        let tag = plain.get(path).header("ETag").expect("a tag").to_owned();
        let known = format!("If-None-Match: {tag}");
        for lines in [
            &[][..],
            &["Range: bytes=2-4"],
            &["Range: bytes=-3"],
            &["Range: bytes=100000-"],
            &[known.as_str()],
            &["If-Match: \"other\""],
        ] {
            for method in ["GET", "HEAD"] {
                let ask = |server: &Server| {
                    let got = server.ask(&format!("{method} {path}"), lines);
                    let head = got.head.lines().filter(|l| !l.starts_with("Date: "));
                    (head.map(str::to_owned).collect::<Vec<_>>(), got.body)
                };
                let wanted = ask(&plain);
                for _ in 0..3 {
                    assert_eq!(ask(&kept), wanted, "{method} {path} {lines:?}");
                }
            }
        }
    }
    // The parts of several ranges have a boundary of their own.
    for server in [&kept, &plain] {
        let got = server.ask("GET /long.txt", &["Range: bytes=0-9,65526-"]);
        let text = got.text().1.to_owned();
        assert!(got.status == 206 && text.contains("\r\n\r\nabcdefghij\r\n--"), "{text}");
        assert_eq!(got.header("Content-Length"), Some(text.len().to_string().as_str()));
    }
}

#[test]
fn what_has_changed_is_read_anew() {
    let (folder, server) = site();
    let path = folder.path().join("a.txt");
    let text = |wanted: (u16, &str)| {
        assert_eq!(server.get("/a.txt").text(), wanted);
        settle();
        (0..2).for_each(|_| assert_eq!(server.get("/a.txt").text(), wanted));
    };
    text((200, "0123456789"));
    // As long and as old.
    let before = path.metadata().unwrap().modified().unwrap();
    std::fs::write(&path, "abcdefghij").unwrap();
    std::fs::File::options().write(true).open(&path).unwrap().set_modified(before).unwrap();
    text((200, "abcdefghij"));
    // Another length.
    folder.write("a.txt", b"short");
    text((200, "short"));
    // Another file of the same name.
    let other = folder.write("other", b"other");
    std::fs::rename(&other, &path).unwrap();
    text((200, "other"));
    std::fs::remove_file(&path).unwrap();
    assert_eq!(server.status("/a.txt"), 404);
    folder.write("a.txt", b"back");
    text((200, "back"));
    // No file any more.
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    assert_eq!(server.status("/a.txt"), 301);
}

#[test]
fn a_link_that_leads_elsewhere_by_now_is_looked_at_anew() {
    let (folder, outside) = (Folder::new(), Folder::new());
    folder.write("a/x", b"a");
    folder.write("b/x", b"b");
    outside.write("x", b"secret");
    let server = Server::new(&folder);
    let link = folder.path().join("link");
    let lead = |to: &std::path::Path| {
        let _ = std::fs::remove_file(&link);
        symlink(to, &link).unwrap();
        settle();
        let _ = server.get("/link/x");
        (server.get("/link/x").text().0, server.get("/link/x").body)
    };
    assert_eq!(lead(&folder.path().join("a")), (200, b"a".to_vec()));
    assert_eq!(lead(&folder.path().join("b")), (200, b"b".to_vec()));
    assert_eq!(lead(outside.path()).0, 404);
}

#[test]
fn a_compressed_form_that_comes_and_goes_is_seen() {
    let folder = Folder::new();
    folder.write("a.js", b"plain");
    let server = Server::with(&folder, |files| files.precompressed(true));
    let ask = |accept: &str| {
        let got = server.ask("GET /a.js", &[&format!("Accept-Encoding: {accept}")]);
        settle();
        String::from_utf8(got.body).unwrap()
    };
    assert_eq!([ask("gzip"), ask("gzip"), ask("identity")], ["plain"; 3]);
    let form = folder.write("a.js.gz", b"gzip");
    changed(&form, 60);
    assert_eq!([ask("gzip"), ask("br"), ask("identity")], ["gzip", "plain", "plain"]);
    assert_eq!([ask("gzip"), ask("br"), ask("identity")], ["gzip", "plain", "plain"]);
    // An older one is not made of this file, one that is changed is another.
    changed(&form, 7200);
    assert_eq!([ask("gzip"), ask("gzip")], ["plain"; 2]);
    folder.write("a.js.gz", b"other");
    changed(&form, 60);
    assert_eq!([ask("gzip"), ask("gzip")], ["other"; 2]);
    std::fs::remove_file(form).unwrap();
    assert_eq!([ask("gzip"), ask("gzip")], ["plain"; 2]);
}

#[test]
fn an_index_is_kept_too_and_gives_way_to_the_listing() {
    let (folder, server) = site();
    let index = folder.write("index.html", b"index");
    settle();
    (0..2).for_each(|_| assert_eq!(server.get("/").text(), (200, "index")));
    std::fs::remove_file(index).unwrap();
    assert!(server.get("/").text().1.contains("a.txt"));
}

#[test]
fn a_file_that_is_replaced_again_and_again_is_always_one_of_its_versions() {
    let (folder, server) = site();
    let versions: Vec<Vec<u8>> =
        [(b'a', 10), (b'b', 9000), (b'c', 500), (b'd', 9000)].map(|(b, n)| vec![b; n]).into();
    let mut stream = BufReader::new(server.connect());
    for round in 0..16 {
        let new = &versions[round % versions.len()];
        std::fs::rename(folder.write("new", new), folder.path().join("a.txt")).unwrap();
        // Long enough to be kept in some rounds, and replaced before in others.
        let until = Instant::now() + Duration::from_millis(if round % 2 == 0 { 20 } else { 160 });
        // A turn that has not ended yet may have looked before.
        let first = ask(&mut stream);
        assert!(versions.contains(&first) || first == b"0123456789", "a mix in round {round}");
        while Instant::now() < until {
            assert!(ask(&mut stream) == *new, "not the version of round {round}");
        }
    }
}

/// The body of one answer, as long as its head says.
fn ask(stream: &mut BufReader<TcpStream>) -> Vec<u8> {
    stream.get_mut().write_all(b"GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let (mut line, mut length) = (String::new(), 0);
    while line != "\r\n" {
        line.clear();
        stream.read_line(&mut line).unwrap();
        if let Some(text) = line.strip_prefix("Content-Length: ") {
            length = text.trim().parse().unwrap();
        }
    }
    let mut got = vec![0; length];
    stream.read_exact(&mut got).unwrap();
    got
}
