//! Ways out of the root, what is no file, files that change while they are sent, and no descriptor
//! left: over real sockets.

mod support;

use std::fs::{File, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::process::Command;
use support::{Folder, Server};

#[test]
fn nothing_escapes_the_root() {
    let (folder, outside) = (Folder::new(), Folder::new());
    outside.write("secret", b"secret");
    folder.write("a.txt", b"a");
    folder.write("sub/b", b"b");
    folder.write(".secret", b"secret");
    folder.write(".git/config", b"secret");
    let link = |to: &str, at: &str| symlink(to, folder.path().join(at)).expect("a link");
    link(outside.path().to_str().unwrap(), "out");
    link(outside.path().join("secret").to_str().unwrap(), "out.txt");
    link("../..", "sub/up");
    link(".secret", "shown");
    link("loop", "loop");
    link("a.txt", "fine");
    link("/dev/zero", "zero");
    link("/proc/self/environ", "environ");
    for hidden in [false, true] {
        let server = Server::with(&folder, move |files| files.hidden(hidden).listing(true));
        for path in [
            "/..",
            "/../../../../etc/passwd",
            "/sub/../a.txt",
            "/%2e%2e/%2e%2e/etc/passwd",
            "/%2e%2e%2fetc%2fpasswd",
            "/.%2e/x",
            "/sub/..%5c..%5ca.txt",
            "/a.txt%00",
            "/%00",
            "/out/secret",
            "/out/",
            "/out",
            "/out.txt",
            "/sub/up/",
            "/sub/up/etc/passwd",
            "/loop",
            "/zero",
            "/environ",
            "//etc/passwd",
            "/a.txt/b",
            "/%252e%252e/",
        ] {
            assert_eq!(server.status(path), 404, "{path}");
        }
        for path in ["/.secret", "/.git/config", "/%2egit/config", "/shown"] {
            assert_eq!(server.status(path), if hidden { 200 } else { 404 }, "{path}");
        }
        assert_eq!((server.status("/fine"), server.status("/%zz")), (200, 400));
        let page = server.get("/");
        for part in ["out", "loop", "zero", "environ"] {
            assert!(!page.text().1.contains(&format!("./{part}")), "{part} is listed");
        }
        assert!(page.text().1.contains("./fine"));
    }
}

#[test]
fn what_is_no_file_is_not_opened() {
    let folder = Folder::new();
    let fifo = |name: &str| {
        let path = folder.path().join(name);
        assert!(Command::new("mkfifo").arg(path).status().expect("mkfifo").success());
    };
    fifo("fifo");
    folder.write("a.js", b"plain");
    fifo("a.js.gz");
    folder.write("sub/x", b"");
    fifo("sub/index.html");
    let _socket = UnixListener::bind(folder.path().join("socket")).expect("a socket");
    let server = Server::with(&folder, |files| files.precompressed(true).listing(true));
    assert_eq!((server.status("/fifo"), server.status("/socket")), (404, 404));
    let got = server.ask("GET /a.js", &["Accept-Encoding: gzip"]);
    assert_eq!(got.text(), (200, "plain"), "a form that is a FIFO is none");
    assert_eq!(server.status("/sub/"), 200, "an index that is a FIFO is none");
}

#[test]
fn what_may_not_be_read_is_403() {
    let folder = Folder::new();
    let path = folder.write("locked", b"x");
    std::fs::set_permissions(&path, Permissions::from_mode(0o000)).expect("ours");
    // Root reads everything.
    let wanted = if File::open(&path).is_ok() { 200 } else { 403 };
    assert_eq!(Server::new(&folder).status("/locked"), wanted);
}

#[test]
fn a_file_that_shrinks_is_cut_off_not_padded() {
    for range in ["", "Range: bytes=0-99,1000-104857599\r\n"] {
        let folder = Folder::new();
        let path = folder.path().join("shrinks");
        File::create(&path).unwrap().set_len(100 << 20).unwrap();
        let server = Server::new(&folder);
        let mut stream = server.connect();
        let text = format!("GET /shrinks HTTP/1.1\r\nHost: x\r\n{range}\r\n");
        stream.write_all(text.as_bytes()).unwrap();
        let mut some = vec![0; 1000];
        stream.read_exact(&mut some).unwrap();
        File::options().write(true).open(&path).unwrap().set_len(1000).unwrap();
        let (mut total, mut bytes) = (some.len(), vec![0; 1 << 20]);
        let error = loop {
            match stream.read(&mut bytes) {
                Ok(0) => break None,
                Ok(n) => total += n,
                Err(error) => break Some(error.kind()),
            }
        };
        assert!(total < 100 << 20, "{total} bytes of a file that has 1,000");
        assert_eq!(error, Some(ErrorKind::ConnectionReset), "the cut is seen");
    }
}

#[test]
fn a_file_that_is_replaced_is_sent_as_it_was_opened() {
    let folder = Folder::new();
    let path = folder.write("a", &vec![b'a'; 32 << 20]);
    let server = Server::new(&folder);
    let mut stream = server.connect();
    stream.write_all(b"GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut all = vec![0; 1000];
    stream.read_exact(&mut all).unwrap();
    let new = folder.write("new", b"b");
    std::fs::rename(new, path).unwrap();
    stream.read_to_end(&mut all).unwrap();
    let end = all.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
    assert!(all[end..].len() == 32 << 20 && all[end..].iter().all(|b| *b == b'a'));
    assert_eq!(server.get("/a").text(), (200, "b"));
}
