//! What accept(2) can fail with, one error after the other, as the kernel itself would tell it.
//!
//! strace(1) puts the errors there: this test program runs itself behind it, one scenario alone.
//! Where that cannot be the test says so and passes.

mod support;

use std::io::{Read, Write};
use std::process::Command;
use support::{echo, finish, peer, server, turn_until, until_closed};

/// Says to a child whose error it is, ours or theirs; without it a scenario does nothing.
const CHILD: &str = "LOOPWORK_ACCEPT_CHILD";

/// Runs [`child_accept`] with this error in place of the first accept.
fn with_error(error: &str, whose: &str) {
    let inject = format!("inject=accept4:error={error}:when=1");
    let tool = ["-f", "-qq", "-o", "/dev/null", "-e", "trace=accept4", "-e", &inject];
    let child = Command::new("strace")
        .args(tool)
        .arg(std::env::current_exe().expect("this test binary"))
        .args(["--exact", "child_accept", "--nocapture", "--test-threads=1"])
        .env(CHILD, whose)
        .output()
        .expect("it was there a moment ago");
    let said = String::from_utf8_lossy(&child.stderr) + String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && said.contains("survived"), "{error}: {said}");
}

/// Whether strace can be used; it says so if not.
fn can_inject() -> bool {
    let tool = ["-qq", "-o", "/dev/null", "-e", "inject=accept4:error=EPROTO", "true"];
    let able = Command::new("strace").args(tool).output().is_ok_and(|out| out.status.success());
    if !able {
        support::skipped("strace cannot be used here");
    }
    able
}

/// accept(2): a signal, and errors of the network that were there before the connection was.
#[test]
fn hostile_02_whatever_the_network_did_to_one_connection_is_passed_over() {
    const THEIRS: [&str; 11] = [
        "EINTR",
        "ECONNABORTED",
        "EPROTO",
        "EPERM",
        "ENETDOWN",
        "ENOPROTOOPT",
        "EHOSTDOWN",
        "ENONET",
        "EHOSTUNREACH",
        "EOPNOTSUPP",
        "ENETUNREACH",
    ];
    if can_inject() {
        THEIRS.iter().for_each(|error| with_error(error, "theirs"));
    }
}

#[test]
fn hostile_01_a_want_of_our_own_is_told_and_outlasted() {
    if can_inject() {
        ["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM"].iter().for_each(|e| with_error(e, "ours"));
    }
}

#[test]
fn child_accept() {
    let Ok(whose) = std::env::var(CHILD) else { return };
    let (mut lp, host, at) = server(echo);
    let mut stream = peer(at);
    stream.write_all(b"hello").unwrap();
    turn_until(&mut lp, |lp| lp.get(host).protocol.calls(0).contains(&"data"));
    stream.read_exact(&mut [0; 5]).unwrap();
    let told = lp.get(host).protocol.accept_errors.len();
    assert_eq!(told, usize::from(whose == "ours"));
    drop(stream);
    until_closed(&mut lp, host, 1);
    finish(&mut lp, host);
    eprintln!("survived");
}
