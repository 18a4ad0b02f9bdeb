//! `versus ws` and `versus ws-idle` on a small scale: every server of this program echoes rightly
//! under every kind of load, and what is no load is refused. Nothing here is timed.

mod small;

use small::{Scratch, text, versus};

/// The servers that need no other program.
const OURS: [&str; 3] = ["raw", "loopwork", "fastwebsockets"];

#[test]
fn all_servers_echo_rightly_under_all_loads() {
    let json = Scratch::new("json");
    // Who echoes wrongly ends it all with an error.
    let done = versus(&[
        "ws",
        "--rounds",
        "1",
        "--seconds",
        "0.05",
        "--loads",
        "0x1,20x10,125x20,1024x5,20x4x16,1048576x2,70000x2x3",
        "--parts",
        "rates",
        "--only",
        "loopwork,fastwebsockets",
        "--json",
        json.path(),
    ]);
    assert!(done.status.success(), "{}", text(&done.stderr));
    let table = text(&done.stdout);
    for server in OURS {
        for load in ["20 B | 10", "1 KiB | 5", "20 B ×16 | 4", "1024 KiB | 2", "70000 B ×3 | 2"] {
            let begin = format!("| {load} | {server} | ");
            let line = table.lines().find(|line| line.starts_with(&begin));
            assert!(line.is_some_and(|l| !l.contains("not timed")), "{begin}: {table}");
        }
    }
    let json = json.text();
    assert_eq!(json.matches("\"server_cpu_ns\"").count(), 7 * OURS.len(), "{json}");
    assert_eq!(json.matches("\"there\": true").count(), OURS.len(), "{json}");
    assert!(!json.contains("inf") && !json.contains("NaN") && !json.contains("null"), "{json}");
}

#[test]
fn idle_connections_are_held_and_weighed() {
    let json = Scratch::new("json");
    let done = versus(&["ws-idle", "--conns", "150", "--only", "loopwork", "--json", json.path()]);
    assert!(done.status.success(), "{}", text(&done.stderr));
    for server in ["raw", "loopwork"] {
        let named = format!("\"server\": \"{server}\", \"connections\": 150");
        assert!(json.text().contains(&named), "{}", json.text());
    }
    assert_eq!(json.text().matches("\"idle_bytes\"").count(), 2, "{}", json.text());
}

#[test]
fn what_is_no_load_is_refused() {
    for load in ["", "20", "20x0", "20x1x0", "20x1x1x1", "ax1", "20x-1"] {
        let done = versus(&["ws", "--loads", load]);
        assert!(!done.status.success(), "{load}");
        assert!(text(&done.stderr).contains("SIZExCONNS"), "{load}: {}", text(&done.stderr));
    }
}
