//! `get --page`: what is fetched of a page, from a real server.

use crate::harness::*;
use std::fmt::Write as _;

/// A page of 12 images, a style sheet that imports another, a font and a picture behind that.
fn site() -> Folder {
    let folder = Folder::new();
    let mut page = "<!doctype html><link rel=stylesheet href=css/a.css>\n".to_string();
    for n in 0..12 {
        let _ = writeln!(page, "<img src=\"img/{n}.png\"><img src='img/{n}.png'>");
        folder.write(&format!("img/{n}.png"), &noise(1000 + n, n as u64));
    }
    page.push_str("<img src='data:image/png;base64,AAAA'><!-- <img src=no.png> --><img src=lost>");
    folder.write("index.html", page.as_bytes());
    folder.write("css/a.css", b"@import 'b.css'; @font-face{src:url(../f.woff2),url(../f.woff)}");
    folder.write("css/b.css", b"@import 'c.css'; body{background:url(../back.png)}");
    folder.write("css/c.css", b"");
    folder.write("f.woff2", b"font");
    folder.write("back.png", b"back");
    folder
}

#[test]
fn a_page_comes_with_all_that_it_embeds() {
    let folder = site();
    let server = start(&["serve", folder.text(), "-p", "0"]);
    let url = format!("http://{}/", server.listening("http"));
    let ended = run(&["get", "--page", &url], b"");
    let text = ended.text();
    let asked: Vec<&str> = text.lines().filter_map(|line| line.split(' ').next()).collect();
    for name in ["/css/a.css", "/css/b.css", "/f.woff2", "/back.png", "/img/0.png", "/img/11.png"] {
        assert_eq!(asked.iter().filter(|at| **at == name).count(), 1, "{name}: {text}");
    }
    assert!(!text.contains("no.png") && !text.contains("c.css") && !text.contains("f.woff "));
    assert!(
        text.lines().any(|line| line.starts_with("/lost ") && line.contains(" 404 ")),
        "{text}"
    );
    // The page, 12 images, one that is lost, two style sheets, a font and a picture.
    assert!(text.contains("\n18 resources, ") && text.contains("; 0 failed\n"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
}

#[test]
fn what_cannot_be_loaded_is_told() {
    let folder = site();
    let server = start(&["serve", folder.text(), "-p", "0"]);
    let url = format!("http://{}/lost", server.listening("http"));
    run(&["get", "--page", "-f", &url], b"").failed(22, "answered 404");
    run(&["get", "--page", &url, &url], b"").failed(2, "one URL");
    run(&["get", "--page", "-o", "x", &url], b"").failed(2, "--output means nothing");
    run(&["get", "--page", "ftp://a/"], b"").failed(3, "no URL to load");
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    run(&["get", "--page", &format!("http://{nobody}/")], b"").failed(7, "could not be loaded");
}

#[test]
fn a_page_comes_by_tls() {
    let folder = site();
    let server = start(&["serve", folder.text(), "-p", "0", "--tls-self-signed"]);
    let url = format!("https://{}/", server.listening("https"));
    let text = run(&["get", "-k", "--page", &url], b"").text();
    assert!(text.contains("\n18 resources, ") && text.contains("; 0 failed\n"), "{text}");
    run(&["get", "--page", &url], b"").failed(60, "nobody who is trusted");
}
