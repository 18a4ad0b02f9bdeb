//! `versus http` and `versus http-load` on a small scale: every server of this program answers
//! rightly under every load, and what would not fit is refused. Nothing here is timed.

mod small;

use small::{Scratch, text, versus};

/// The servers that need no other program.
const OURS: [&str; 4] = ["raw", "loopwork", "hyper", "minihttp"];

#[test]
fn all_servers_answer_rightly_under_all_loads() {
    let (json, svg) = (Scratch::new("json"), Scratch::new("svg"));
    // Who answers wrongly ends it all with an error.
    let done = versus(&[
        "http",
        "--rounds",
        "1",
        "--seconds",
        "0.05",
        "--parts",
        "rates,memory",
        "--only",
        "loopwork,hyper,minihttp",
        "--json",
        json.path(),
        "--svg",
        svg.path(),
    ]);
    assert!(done.status.success(), "{}", text(&done.stderr));
    let table = text(&done.stdout);
    for server in OURS {
        for load in ["GET | 1", "GET | 64", "GET | 256", "GET ×16 | 64"] {
            let begin = format!("| {load} | {server} | ");
            let line = table.lines().find(|line| line.starts_with(&begin));
            assert!(line.is_some_and(|l| !l.contains("not timed")), "{begin}: {table}");
        }
    }
    assert_eq!(table.matches(" KiB | ").count(), 4, "{table}");
    let json = json.text();
    assert_eq!(json.matches("\"server_cpu_ns\"").count(), 16, "{json}");
    assert_eq!(json.matches("\"resident_bytes\"").count(), 4, "{json}");
    assert_eq!(json.matches("\"answer_bytes\"").count(), 4, "{json}");
    assert!(!json.contains("inf") && !json.contains("NaN") && !json.contains("null"), "{json}");
    let svg = svg.text();
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"), "{svg}");
    assert_eq!(svg.matches("class=\"loopwork\"").count(), 4, "{svg}");
}

#[test]
fn the_answers_are_about_as_long() {
    let done = versus(&["http", "--parts", "", "--only", "loopwork,hyper,minihttp"]);
    assert!(done.status.success(), "{}", text(&done.stderr));
    let table = text(&done.stdout);
    for server in OURS {
        let line = table.lines().find(|line| line.starts_with(&format!("| {server} | ")));
        let bytes =
            line.and_then(|line| line.split(" | ").last()?.trim_end_matches(" |").parse().ok());
        assert!(bytes.is_some_and(|n: usize| (100..=180).contains(&n)), "{server}: {table}");
    }
}

#[test]
fn many_connections_are_served_without_an_error() {
    let json = Scratch::new("load");
    let args = ["http-load", "--conns", "200", "--seconds", "1", "--only", "loopwork,raw"];
    let done = versus(&[&args[..], &["--json", json.path()]].concat());
    assert!(done.status.success(), "{}", text(&done.stderr));
    let told = text(&done.stdout);
    for server in ["loopwork", "raw"] {
        assert!(told.contains(&format!("\n{server}: ")), "{told}");
    }
    assert_eq!(told.matches(" requests, no error").count(), 2, "{told}");
    assert_eq!(json.text().matches("\"p99_ms\"").count(), 2, "{}", json.text());
}

#[test]
fn what_makes_no_sense_or_would_not_fit_is_refused() {
    for (args, part) in [
        (&["http", "--rounds"][..], "needs a value"),
        (&["http", "--colour", "blue"], "--colour is unknown"),
        (&["http", "--seconds", "-1"], "negative"),
        (&["http-load", "--conns", "0"], "can be had"),
        (&["http-load", "--conns", "100000000"], "can be had"),
        (&["http-load", "--only", "nobody"], "there is no server"),
        (&["http-server", "nobody", "1", "/nowhere", "0"], "no server is called nobody"),
    ] {
        let done = versus(args);
        assert_eq!(done.status.code(), Some(1), "{args:?}");
        assert!(text(&done.stderr).contains(part), "{args:?}: {}", text(&done.stderr));
    }
}
