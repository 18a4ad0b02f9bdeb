//! `trace`: what was recorded replays, in part and backward, and what cannot be is told.

use crate::harness::*;
use std::fs;

/// A recorded run of a server that is asked a few times, and ends in order.
fn recorded(folder: &Folder, args: &[&str], scheme: &str, go: impl Fn(std::net::SocketAddr)) {
    let file = folder.path().join("run.lw");
    let mut line = vec!["trace", "record", file.to_str().unwrap(), "--"];
    line.extend(args);
    let server = start(&line);
    go(server.listening(scheme));
    server.signal("TERM");
    assert_eq!(server.ended().code, Some(0));
}

fn trace(folder: &Folder, args: &[&str], stdin: &[u8]) -> Ended {
    let file = folder.path().join("run.lw");
    let mut line = vec!["trace", args[0], file.to_str().unwrap()];
    line.extend(&args[1..]);
    run(&line, stdin)
}

fn http(folder: &Folder) {
    recorded(folder, &["echo", "http", "--greet", "hi"], "http", |at| {
        for line in ["GET /", "GET /again", "DELETE /"] {
            ask(at, line, &[]);
        }
    });
}

#[test]
fn a_server_replays_without_a_network() {
    let folder = Folder::new();
    http(&folder);
    let ended = trace(&folder, &["replay", "--print"], b"");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.err.contains("the recording's end"), "{ended:?}");
    assert_eq!(ended.text().matches("  open\n").count(), 3, "{}", ended.text());
    assert!(ended.text().contains("listening on http://127.0.0.1:"), "{}", ended.text());
}

#[test]
fn streams_and_datagrams_replay_too() {
    let folder = Folder::new();
    recorded(&folder, &["echo", "tcp"], "tcp", |at| {
        assert!(exchange(at, &noise(1 << 20, 3)).len() > 1 << 20);
    });
    let ended = trace(&folder, &["replay"], b"");
    assert!(ended.code == Some(0) && ended.err.contains("the recording's end"), "{ended:?}");
    recorded(&folder, &["echo", "udp"], "udp", |at| {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(WAIT)).unwrap();
        socket.send_to(b"once", at).unwrap();
        while socket.recv_from(&mut [0; 9]).is_err() {}
    });
    let ended = trace(&folder, &["replay"], b"");
    assert!(ended.code == Some(0) && ended.err.contains("the recording's end"), "{ended:?}");
}

#[test]
fn a_directory_that_changes_is_told() {
    let folder = Folder::new();
    let site = Folder::new();
    site.write("a.txt", b"hello");
    let dir = site.text().to_owned();
    recorded(&folder, &["serve", &dir, "-p", "0"], "http", |at| {
        assert_eq!(ask(at, "GET /a.txt", &[]).1, b"hello");
    });
    let ended = trace(&folder, &["replay"], b"");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    site.write("a.txt", b"hello, and more");
    trace(&folder, &["replay"], b"").failed(1, "the program does something else");
}

#[test]
fn a_turn_is_shown_and_steps_go_back() {
    let folder = Folder::new();
    http(&folder);
    let ended = trace(&folder, &["replay", "--to", "3"], b"");
    assert!(ended.code == Some(0) && ended.err.contains("replayed 3 turns"), "{ended:?}");
    let turns = |text: &str| -> Vec<u64> {
        let words = text.lines().filter_map(|line| line.strip_prefix("turn "));
        words.filter_map(|rest| rest.split(' ').next()?.parse().ok()).collect()
    };
    assert_eq!(turns(&ended.text()), [3]);
    let ended = trace(&folder, &["replay", "--step"], b"\n\nb\n\n5\nq\n");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(turns(&ended.text()), [1, 2, 3, 2, 3, 5], "{ended:?}");
}

#[test]
fn exports_are_of_their_forms() {
    let folder = Folder::new();
    http(&folder);
    let out = folder.path().join("out");
    let to = out.to_str().unwrap();
    assert_eq!(trace(&folder, &["export", "-o", to], b"").code, Some(0));
    let text = fs::read_to_string(&out).unwrap();
    let begins = text.matches("\"ph\":\"b\"").count();
    assert_eq!((begins, text.matches("\"ph\":\"e\"").count()), (begins, begins));
    assert!(begins >= 3 && text.starts_with('{') && text.ends_with("]}\n"), "{text}");
    assert_eq!(trace(&folder, &["export", "--to", "jsonl", "-o", to], b"").code, Some(0));
    let text = fs::read_to_string(&out).unwrap();
    assert!(text.lines().all(|line| line.starts_with("{\"t\":") && line.ends_with('}')));
    assert!(text.contains("\"what\":\"read\",\"n\":"), "{text}");
}

#[test]
fn a_simulated_run_is_a_recording_too() {
    let folder = Folder::new();
    let file = folder.path().join("run.lw");
    let line = ["sim", "--scenario", "ws", "--seed", "17", "--record", file.to_str().unwrap()];
    let live = run(&line, b"");
    assert_eq!(live.code, Some(0), "{live:?}");
    let ended = trace(&folder, &["replay"], b"");
    assert_eq!((ended.code, ended.text()), (Some(0), live.text()));
    let ended = trace(&folder, &["replay", "--to", "9"], b"");
    assert!(ended.code == Some(0) && ended.text().contains("turn 9  "), "{ended:?}");
}

#[test]
fn what_is_refused_says_why() {
    let folder = Folder::new();
    http(&folder);
    let file = folder.path().join("run.lw");
    let good = fs::read(&file).unwrap();
    let mut bad = good.clone();
    *bad.last_mut().unwrap() ^= 1;
    fs::write(&file, &bad).unwrap();
    let ended = trace(&folder, &["replay"], b"");
    assert!(ended.code == Some(1) && ended.err.contains("it is damaged"), "{ended:?}");
    // Wherever it is, it is told; and so is a cut.
    for at in (12..good.len()).step_by(good.len() / 9) {
        bad = good.clone();
        bad[at] ^= 1;
        for bad in [&bad, &good[..at].to_vec()] {
            fs::write(&file, bad).unwrap();
            let ended = trace(&folder, &["replay"], b"");
            let told = ["damaged", "cut off"].iter().any(|word| ended.err.contains(word));
            assert!(ended.code == Some(1) && told, "{at}: {ended:?}");
        }
    }
    bad = good.clone();
    bad[8] += 1;
    fs::write(&file, &bad).unwrap();
    trace(&folder, &["replay"], b"").failed(1, "replay it with the program that recorded it");
    fs::write(&file, b"no such thing").unwrap();
    trace(&folder, &["replay"], b"").failed(1, "no recording");
    fs::write(&file, &good[..good.len() - 3]).unwrap();
    let ended = trace(&folder, &["replay"], b"");
    assert!(ended.err.contains("the file ends at byte"), "{ended:?}");

    let to = file.to_str().unwrap();
    run(&["echo", "tcp", "--tls-self-signed", "--record", to], b"").failed(2, "TLS draws");
    run(&["serve", folder.text(), "--threads", "2", "--record", to], b"").failed(2, "one loop");
    run(&["sim", "--seeds", "2", "--record", to], b"").failed(2, "--seed");
    run(&["trace", "record", to, "--", "nc", "::1", "1"], b"").failed(2, "cannot be recorded");
    run(&["echo", "tcp", "--record", "/nowhere/at/all"], b"").failed(1, "cannot write");
}
