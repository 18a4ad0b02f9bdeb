//! What is served and how: methods, types, forms, indexes, listings, mounts.

mod support;

use loopwork_files::http::core::Request;
use loopwork_files::http::{Answer, App, Reply};
use loopwork_files::{Files, Sending};
use std::io::{Read, Write};
use support::{Folder, Got, Server, changed};

const BROWSER: &str = "Accept: text/html,application/xhtml+xml;q=0.9,*/*;q=0.8";

#[test]
fn methods() {
    let folder = Folder::new();
    folder.write("a.txt", b"hello");
    let server = Server::new(&folder);
    let head = server.ask("HEAD /a.txt", &[]);
    assert_eq!((head.text(), head.header("Content-Length")), ((200, ""), Some("5")));
    for path in ["/a.txt", "/nothing", "*"] {
        let options = server.ask(&format!("OPTIONS {path}"), &[]);
        assert_eq!((options.status, options.header("Allow")), (204, Some("GET, HEAD, OPTIONS")));
        assert!(options.body.is_empty() && options.header("Content-Length").is_none());
    }
    for method in ["POST", "PUT", "DELETE", "PATCH", "BREW"] {
        let got = server.ask(&format!("{method} /a.txt"), &["Content-Length: 0"]);
        assert_eq!((got.status, got.header("Allow")), (405, Some("GET, HEAD, OPTIONS")));
    }
}

#[test]
fn types_say_their_encoding() {
    let folder = Folder::new();
    let kinds = [
        ("a.html", "text/html; charset=utf-8"),
        ("a.js", "text/javascript; charset=utf-8"),
        ("a.svg", "image/svg+xml; charset=utf-8"),
        ("a.png", "image/png"),
        ("a", "application/octet-stream"),
    ];
    kinds.iter().for_each(|(name, _)| drop(folder.write(name, b"x")));
    let server = Server::new(&folder);
    for (name, kind) in kinds {
        let got = server.get(&format!("/{name}"));
        assert_eq!(got.header("Content-Type"), Some(kind));
        assert_eq!(got.header("X-Content-Type-Options"), Some("nosniff"));
        assert_eq!(got.header("Vary"), None, "there is one form alone");
    }
}

/// A file with three forms, of which one is older than it.
fn forms() -> (Folder, Server) {
    let folder = Folder::new();
    for (name, bytes) in [
        ("a.js", "as it is"),
        ("a.js.br", "brotli"),
        ("a.js.gz", "gzip"),
        ("a.js.zst", "zstd"),
        ("b.js", "b"),
    ] {
        folder.write(name, bytes.as_bytes());
    }
    changed(&folder.path().join("a.js.zst"), 7200);
    changed(&folder.path().join("a.js.br"), 1800);
    changed(&folder.path().join("a.js.gz"), 1800);
    let server = Server::with(&folder, |files| files.precompressed(true));
    (folder, server)
}

#[test]
fn compressed_forms_by_what_the_client_takes() {
    let (_folder, server) = forms();
    for (accept, body, coding) in [
        ("identity", "as it is", None),
        ("gzip", "gzip", Some("gzip")),
        ("gzip, br, zstd", "brotli", Some("br")),
        ("gzip;q=1, br;q=0.9", "gzip", Some("gzip")),
        ("br;q=0, gzip;q=0", "as it is", None),
        ("zstd", "as it is", None),
        ("zstd, gzip;q=0.1", "gzip", Some("gzip")),
        ("deflate", "as it is", None),
    ] {
        let got = server.ask("GET /a.js", &[&format!("Accept-Encoding: {accept}")]);
        assert_eq!((got.text(), got.header("Content-Encoding")), ((200, body), coding), "{accept}");
        assert_eq!(got.header("Vary"), Some("Accept-Encoding"));
        assert_eq!(got.header("Content-Type"), Some("text/javascript; charset=utf-8"));
    }
    let got = server.get("/a.js");
    assert_eq!((got.text(), got.header("Vary")), ((200, "as it is"), Some("Accept-Encoding")));
    let got = server.ask("GET /b.js", &["Accept-Encoding: br"]);
    assert_eq!((got.text(), got.header("Content-Encoding")), ((200, "b"), None));
    let got = server.ask("GET /a.js.gz", &[]);
    assert_eq!((got.text(), got.header("Content-Encoding")), ((200, "gzip"), None));
}

#[test]
fn no_range_is_of_another_form() {
    let (_folder, server) = forms();
    let tag = |got: &Got| got.header("ETag").expect("a tag").to_owned();
    let plain = server.get("/a.js");
    let gzip = server.ask("GET /a.js", &["Accept-Encoding: gzip"]);
    let brotli = server.ask("GET /a.js", &["Accept-Encoding: br"]);
    assert!(tag(&plain) != tag(&gzip) && tag(&gzip) != tag(&brotli));
    let ask = |lines: &[&str]| {
        let lines = [&["Accept-Encoding: gzip", "Range: bytes=1-2"], lines].concat();
        server.ask("GET /a.js", &lines)
    };
    let got = ask(&[]);
    assert_eq!((got.text(), got.header("Content-Range")), ((206, "zi"), Some("bytes 1-2/4")));
    assert_eq!(got.header("Content-Encoding"), Some("gzip"));
    assert_eq!(ask(&[&format!("If-Range: {}", tag(&gzip))]).text(), (206, "zi"));
    for other in [&plain, &brotli] {
        assert_eq!(ask(&[&format!("If-Range: {}", tag(other))]).text(), (200, "gzip"));
        assert_eq!(ask(&[&format!("If-Match: {}", tag(other))]).status, 412);
        assert_eq!(ask(&[&format!("If-None-Match: {}", tag(other))]).status, 206);
    }
    // Both compressed forms may have this date.
    let date = gzip.header("Last-Modified").unwrap();
    assert_eq!(ask(&[&format!("If-Range: {date}")]).text(), (200, "gzip"));
    let known = ask(&[&format!("If-None-Match: {}", tag(&gzip))]);
    assert_eq!((known.status, known.header("Vary")), (304, Some("Accept-Encoding")));
}

#[test]
fn an_application_in_the_browser_has_paths_of_its_own() {
    let folder = Folder::new();
    folder.write("index.html", b"<p>app");
    folder.write("a.txt", b"a");
    folder.write("sub/b.txt", b"b");
    let server = Server::with(&folder, |files| files.spa(true));
    let page = |path: &str| server.ask(&format!("GET {path}"), &[BROWSER]);
    for path in ["/", "/users/7", "/users/", "/v1.2/about", "/sub/", "/users?q=a.b"] {
        let got = page(path);
        assert_eq!(got.text(), (200, "<p>app"), "{path}");
        assert_eq!(got.header("Content-Type"), Some("text/html; charset=utf-8"));
    }
    assert_eq!(page("/a.txt").text(), (200, "a"));
    for path in ["/users/7.js", "/..", "/../users", "/.git", "/.git/users", "/a%00"] {
        assert_eq!(page(path).status, 404, "{path}");
    }
    assert_eq!(server.ask("HEAD /users/7", &[BROWSER]).status, 200);
    for accept in ["Accept: */*", "Accept: application/json", "Accept: text/html;q=0", "X: y"] {
        assert_eq!(server.ask("GET /users/7", &[accept]).status, 404, "{accept}");
    }
    assert_eq!(server.ask("POST /users/7", &[BROWSER, "Content-Length: 0"]).status, 405);
    let plain = Server::new(&folder);
    assert_eq!(plain.ask("GET /users/7", &[BROWSER]).status, 404, "only when told so");
}

#[test]
fn indexes_listings_and_hidden_names_are_a_choice() {
    let folder = Folder::new();
    folder.write("home.htm", b"home");
    folder.write("sub/x", b"x");
    folder.write(".well/known", b"known");
    let server = Server::new(&folder);
    assert_eq!((server.status("/"), server.status("/.well/known")), (404, 404));
    assert_eq!(server.status("/sub"), 301);
    let server = Server::with(&folder, |files| files.index("home.htm").listing(true));
    assert_eq!(server.get("/").text(), (200, "home"));
    assert!(server.get("/sub/").text().1.contains("href=\"./x\""));
    let server = Server::with(&folder, |files| files.hidden(true).listing(true).index(""));
    assert_eq!(server.get("/.well/known").text(), (200, "known"));
    assert!(server.get("/").text().1.contains("href=\"./.well/\""));
    for path in ["/..", "/../", "/.well/..", "/%2e%2e/etc/passwd"] {
        assert_eq!(server.status(path), 404, "{path}");
    }
}

#[test]
fn listings_are_sorted_and_hostile_names_harmless() {
    let folder = Folder::new();
    for (name, len, ago) in [("b.txt", 3, 30), ("a.txt", 2, 10), ("C<script>.txt", 1, 20)] {
        changed(&folder.write(name, &vec![b'x'; len]), ago);
    }
    folder.write("dir/x", b"");
    let server = Server::with(&folder, |files| files.listing(true));
    let order = |query: &str| {
        let got = server.get(&format!("/{query}"));
        let page = got.text().1;
        assert!(!page.contains("<script"), "{page}");
        let names = ["dir/</a>", "a.txt</a>", "b.txt</a>", "C&lt;script&gt;.txt</a>"];
        let mut found = names.map(|n| (page.find(n).expect("each name"), &n[..1]));
        found.sort_unstable();
        found.map(|(_, name)| name).concat()
    };
    for (query, wanted) in [
        ("", "dabC"),
        ("?sort=name&order=desc", "dCba"),
        ("?sort=size", "dCab"),
        ("?sort=size&order=desc", "dbaC"),
        ("?sort=time", "dbCa"),
        ("?sort=time&order=desc", "daCb"),
        ("?sort=%3Cscript%3E&order=x", "dabC"),
    ] {
        assert_eq!(order(query), wanted, "{query}");
    }
    let got = server.get("/?sort=size");
    assert!(got.text().1.contains("href=\"?sort=size&amp;order=desc\""), "the other way round");
    assert!(got.text().1.contains("aria-sort=\"ascending\""));
    assert!(got.text().1.contains("prefers-color-scheme") || got.text().1.contains("light dark"));
    assert!(got.header("Content-Security-Policy").is_some_and(|p| p.contains("'none'")));
}

#[test]
fn ten_thousand_names_are_one_page() {
    let folder = Folder::new();
    for n in 0..10_000 {
        std::fs::File::create(folder.path().join(format!("{n:05}<b>"))).expect("a file");
    }
    let server = Server::with(&folder, |files| files.listing(true));
    let got = server.get("/");
    let page = got.text().1;
    assert_eq!(page.matches("&lt;b&gt;</a>").count(), 10_000);
    assert!(!page.contains("<b>"));
    assert_eq!(got.header("Content-Length"), Some(page.len().to_string().as_str()));
}

/// Files beside something else.
struct Mounted(Files);

impl App for Mounted {
    type Exchange = Sending;

    fn on_request(&mut self, request: &Request<'_>, mut reply: Reply<'_>) -> Answer<Sending> {
        if request.path() == "/hello" {
            return reply.send(200, &[], b"hello");
        }
        let sending = self.0.respond(request, "/static", &mut reply);
        reply.later(sending)
    }

    fn on_more(&mut self, sending: &mut Sending, reply: &mut Reply<'_>) {
        sending.more(reply);
    }
}

#[test]
fn files_are_a_part_of_another_application() {
    let folder = Folder::new();
    let large = vec![b'x'; 1 << 20];
    folder.write("sub/large", &large);
    let root = folder.path().to_path_buf();
    let server = Server::of(move || Mounted(Files::new(root).unwrap().listing(true)));
    assert_eq!(server.get("/hello").text(), (200, "hello"));
    assert!(server.get("/static/sub/large").body == large);
    for (path, to) in [("/static", "/static/"), ("/static/sub?a", "/static/sub/?a")] {
        let got = server.get(path);
        assert_eq!((got.status, got.header("Location")), (301, Some(to)), "{path}");
    }
    assert!(server.get("/static/").text().1.contains("href=\"./sub/\""));
    for path in ["/", "/staticsub/large", "/sub/large", "/static/../hello", "/static/.."] {
        assert_eq!(server.status(path), 404, "{path}");
    }
    // One connection, one after the other.
    let mut stream = server.connect();
    let one = "GET /static/sub/large HTTP/1.1\r\nHost: a\r\n\r\n";
    let last = "GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    stream.write_all([one, one, last].concat().as_bytes()).unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    assert!(all.len() > 2 << 20 && all.ends_with(b"hello"));
}

#[test]
fn what_is_no_directory_is_an_error() {
    let folder = Folder::new();
    let file = folder.write("a", b"");
    let error = Files::new(file).err().expect("a file is none");
    assert_eq!(error.kind(), std::io::ErrorKind::NotADirectory);
    assert!(Files::new(folder.path().join("nothing")).is_err());
    assert_eq!(Files::new(folder.path()).expect("one").root(), folder.path());
}
