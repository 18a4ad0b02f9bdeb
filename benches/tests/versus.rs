//! `versus` itself, on a small scale: every server answers rightly under every load, what is
//! written for machines is JSON, and what would not fit is refused. Nothing here is timed.

mod small;

use small::{Scratch, text, versus};

/// The rest behind one JSON value, or where it is none.
fn value(text: &str) -> Result<&str, &str> {
    let text = text.trim_start();
    match text.chars().next().ok_or(text)? {
        '{' => members(&text[1..], '}', |t| {
            let t = value(t)?.trim_start();
            value(t.strip_prefix(':').ok_or(t)?)
        }),
        '[' => members(&text[1..], ']', value),
        '"' => {
            let mut escaped = false;
            let end = text[1..].find(|c| {
                c == '"' && !escaped || {
                    escaped = c == '\\' && !escaped;
                    false
                }
            });
            end.map(|end| &text[end + 2..]).ok_or(text)
        }
        _ => {
            let end = text.find([',', '}', ']', '\n', ' ']).unwrap_or(text.len());
            let known = text[..end].parse::<f64>().is_ok_and(f64::is_finite);
            if known || &text[..end] == "null" { Ok(&text[end..]) } else { Err(text) }
        }
    }
}

fn members<'a>(
    mut text: &'a str,
    close: char,
    one: impl Fn(&'a str) -> Result<&'a str, &'a str>,
) -> Result<&'a str, &'a str> {
    if let Some(rest) = text.trim_start().strip_prefix(close) {
        return Ok(rest);
    }
    loop {
        text = one(text)?.trim_start();
        match text.chars().next() {
            Some(',') => text = &text[1..],
            Some(c) if c == close => return Ok(&text[1..]),
            _ => return Err(text),
        }
    }
}

#[test]
fn the_check_of_json_can_fail() {
    for right in ["{}", "[1, 2.5, null]", "{\"a\": {\"b\": \"c\\\"d\"}, \"e\": []}"] {
        assert_eq!(value(right), Ok(""), "{right}");
    }
    for wrong in ["", "{", "[1,]", "{\"a\" 1}", "NaN", "inf", "\"a", "[1 2]"] {
        assert!(value(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn all_servers_answer_rightly_under_all_loads() {
    let (json, svg) = (Scratch::new("json"), Scratch::new("svg"));
    // Node may be missing; whoever answers wrongly ends it all with an error.
    let done = versus(&[
        "tcp",
        "--rounds",
        "1",
        "--seconds",
        "0.05",
        "--parts",
        "rates",
        "--only",
        "loopwork,mio,tokio,traced",
        "--json",
        json.path(),
        "--svg",
        svg.path(),
    ]);
    assert!(done.status.success(), "{}", text(&done.stderr));
    let table = text(&done.stdout);
    for load in ["ping-pong 64 B", "stream 64 KiB", "sink 64 KiB", "connect 64 B"] {
        for server in ["raw", "loopwork", "mio", "tokio", "traced"] {
            let row = |line: &&str| line.contains(load) && line.contains(&format!("| {server} |"));
            assert!(table.lines().any(|line| row(&line)), "{load} by {server}: {table}");
        }
    }
    assert!(!table.contains("did not start"), "{table}");
    let json = json.text();
    assert_eq!(value(&json).map(str::trim), Ok(""), "{json}");
    assert!(json.contains("\"schema_version\": 1"), "{json}");
    assert_eq!(json.matches("\"server_cpu_ns\"").count(), 40, "{json}");
    let svg = svg.text();
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"), "{svg}");
    assert_eq!(svg.matches("class=\"loopwork\"").count(), 8, "{svg}");
}

#[test]
fn idle_connections_are_opened_and_echo() {
    let json = Scratch::new("million");
    let done = versus(&["million", "--conns", "3000", "--json", json.path()]);
    assert!(done.status.success(), "{}", text(&done.stderr));
    assert!(text(&done.stdout).contains("| bytes echoed, one on each | 3000 |"));
    assert_eq!(value(&json.text()).map(str::trim), Ok(""), "{}", json.text());
    let done = versus(&["idle", "--conns", "300", "--only", "raw,loopwork"]);
    assert!(done.status.success(), "{}", text(&done.stderr));
    assert!(text(&done.stdout).contains("| loopwork | "), "{}", text(&done.stdout));
}

#[test]
fn what_makes_no_sense_or_would_not_fit_is_refused() {
    for (args, part) in [
        (&["million", "--conns", "0"][..], "can be had"),
        (&["million", "--conns", "100000000000"], "can be had"),
        (&["million", "--conns", "some"], "a number is needed"),
        (&["tcp", "--rounds"], "needs a value"),
        (&["tcp", "--colour", "blue"], "--colour is unknown"),
        (&["frobnicate"], "usage: versus"),
        (&[], "usage: versus"),
    ] {
        let done = versus(args);
        assert_eq!(done.status.code(), Some(1), "{args:?}");
        assert!(text(&done.stderr).contains(part), "{args:?}: {}", text(&done.stderr));
    }
}
