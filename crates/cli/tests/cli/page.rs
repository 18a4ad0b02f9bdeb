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
    for option in [&["-m", "3"][..], &["-4"], &["-A", "me"], &["-v"], &["--timing"], &["-L", "-I"]]
    {
        let ended = run(&[&["get", "--page", &url], option].concat(), b"");
        ended.failed(2, "means nothing with --page");
    }
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

/// What stands behind `"key":`, up to the next comma or end.
fn values<'t>(json: &'t str, key: &str) -> Vec<&'t str> {
    let key = format!("\"{key}\":");
    let parts = json.split(key.as_str()).skip(1);
    parts.map(|part| part.split([',', '}']).next().unwrap_or_default().trim_matches('"')).collect()
}

#[test]
fn the_story_is_told_to_other_programs() {
    let folder = site();
    let server = start(&["serve", folder.text(), "-p", "0"]);
    let url = format!("http://{}/", server.listening("http"));
    let out = Folder::new();
    let [svg, trace] = ["page.svg", "page.trace"].map(|name| out.path().join(name));
    let (svg, trace) = (svg.to_str().unwrap(), trace.to_str().unwrap());
    let har = run(&["get", "--page", &url, "--har", "-", "--svg", svg, "--trace", trace], b"");
    assert_eq!((har.code, har.err.as_str()), (Some(0), ""));
    let har = har.text();
    assert!(har.starts_with("{\"log\":{\"version\":\"1.2\",") && har.ends_with("]}}\n"), "{har}");
    // Eighteen entries, by six connections, each phase of each a time or none.
    let urls: Vec<&str> =
        values(&har, "url").into_iter().map(|v| v.split('/').next_back().unwrap()).collect();
    assert_eq!(urls.len(), 18, "{urls:?}");
    assert_eq!(values(&har, "status").iter().filter(|s| **s == "404").count(), 1);
    let mut connections = values(&har, "connection");
    connections.sort_unstable();
    connections.dedup();
    assert_eq!(connections, ["1", "2", "3", "4", "5", "6"]);
    let opened = values(&har, "connect").iter().filter(|ms| **ms != "-1").count();
    assert!((1..=6).contains(&opened), "{opened} were opened");
    for (n, total) in values(&har, "time").into_iter().enumerate() {
        let ms = |key| values(&har, key)[n].parse::<f64>().unwrap().max(0.0);
        let sum: f64 =
            ["blocked", "dns", "connect", "send", "wait", "receive"].map(ms).iter().sum();
        let total: f64 = total.parse().unwrap();
        assert!((sum - total).abs() < 0.01, "{n}: {sum} and {total}");
    }
    let svg = std::fs::read_to_string(svg).unwrap();
    for tag in ["svg", "text", "style", "title"] {
        let opened =
            svg.matches(&format!("<{tag} ")).count() + svg.matches(&format!("<{tag}>")).count();
        assert_eq!(opened, svg.matches(&format!("</{tag}>")).count(), "{tag}");
    }
    assert!(svg.contains("/img/11.png") && svg.contains("SYN, ACK") && svg.contains("TIME_WAIT"));
    let trace = std::fs::read_to_string(trace).unwrap();
    assert_eq!(values(&trace, "name").iter().filter(|name| name.contains("/img/")).count(), 12);
    run(&["get", "--page", "--har", "/no/such/folder/x", &url], b"").failed(23, "cannot write");
    let alone = run(&["get", "--har", "-", &url], b"");
    assert!(alone.code == Some(2) && alone.err.contains("--page"), "{}", alone.err);
}

#[test]
fn the_ladder_goes_from_the_first_handshake_to_the_last_end() {
    let folder = site();
    let server = start(&["serve", folder.text(), "-p", "0"]);
    let url = format!("http://{}/", server.listening("http"));
    let text = run(&["get", "--page", &url], b"").text();
    let ladder = text.split_once("the first connection").expect("a ladder").1;
    let mut rest = ladder;
    for part in ["connect", " SYN ", "SYN, ACK", "connected", "GET /", "200,", "FIN", "TIME_WAIT"] {
        rest = rest.split_once(part).unwrap_or_else(|| panic!("no {part} in {ladder}")).1;
    }
}

#[test]
fn a_name_is_looked_up_on_the_loop() {
    let folder = site();
    let server = start(&["serve", folder.text(), "-p", "0"]);
    let url = format!("http://localhost:{}/", server.listening("http").port());
    let text = run(&["get", "--page", &url], b"").text();
    assert!(text.contains("\n18 resources, ") && text.contains("; 0 failed\n"), "{text}");
    // What can be no name is asked of nobody.
    let label = "a".repeat(64);
    run(&["get", "--page", &format!("http://{label}.example/")], b"").failed(6, "cannot find");
    let (at, _) = canned(vec![b"SSH-2.0\r\n\r\n".to_vec()]);
    run(&["get", "--page", &format!("http://{at}/")], b"").failed(1, "not a response");
}

#[test]
fn a_limit_that_is_missed_is_told() {
    let folder = site();
    let server = start(&["serve", folder.text(), "-p", "0"]);
    let url = format!("http://{}/", server.listening("http"));
    let ended = run(&["get", "--page", "--slo", "total=60000,connect=60000,tls=0", &url], b"");
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
    run(&["get", "--page", "--slo", "first=0.0001", &url], b"").failed(4, "first took");
    run(&["get", "--page", "--slo", "soon=1", &url], b"").failed(2, "is no limit");
}

#[test]
fn json_tells_the_story_with_page() {
    let folder = site();
    let server = start(&["serve", folder.text(), "-p", "0"]);
    let url = format!("http://{}/", server.listening("http"));
    for line in [["get", "--page", "--json", &url], ["get", "--json", &url, "--page"]] {
        let text = run(&line, b"").text();
        assert!(text.starts_with("{\"schema_version\":1,\"total\":") && text.ends_with("]}\n"));
        assert_eq!((values(&text, "url").len(), values(&text, "heard").len()), (18, 18));
        let what = values(&text, "what");
        assert!(what.contains(&"connect") && what.contains(&"ESTABLISHED"), "{what:?}");
    }
    // Without --page it is curl's.
    let curls = run(&["get", "--json"], b"");
    assert!(curls.code == Some(2) && curls.err.contains("--json <DATA>"), "{curls:?}");
}

/// With the right to see packets the ladder has nothing that is inferred; without it that is said.
#[test]
fn packets_are_captured_by_who_may() {
    let folder = site();
    let server = start(&["serve", folder.text(), "-p", "0"]);
    let url = format!("http://{}/", server.listening("http"));
    let ended = run(&["get", "--page", "--capture", "--json", &url], b"");
    if ended.code != Some(0) {
        return ended.failed(1, "needs the right to see packets");
    }
    let text = ended.text();
    let ladder: Vec<&str> = text.split("\"ladder\":").nth(1).unwrap().lines().collect();
    let beyond: Vec<&&str> = ladder.iter().filter(|rung| rung.contains("\"server\"")).collect();
    assert!(beyond.iter().all(|rung| rung.contains("\"wire_seen\":true")), "{text}");
    let what: Vec<&str> = beyond
        .iter()
        .map(|rung| rung.split("\"what\":\"").nth(1).unwrap().split('"').next().unwrap())
        .collect();
    assert_eq!(what[..3], ["SYN", "SYN, ACK", "ACK"], "{text}");
    assert!(what[3].starts_with("1 segment, ") && what[4].contains(" segment"), "{text}");
    assert!(what[5..].iter().filter(|what| what.starts_with("FIN, ACK")).count() == 2, "{text}");
    let alone = run(&["get", "--capture", &url], b"");
    assert!(alone.code == Some(2) && alone.err.contains("--page"), "{alone:?}");
}
