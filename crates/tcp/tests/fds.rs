//! Descriptors: what happens when none is left, and that none is lost. Each scenario runs in a
//! process of its own (this test binary again), whose limit and descriptors are its own.

mod support;

use loopwork_reactor::{Loop, Os};
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::process::Command;
use std::time::{Duration, Instant};
use support::{
    PATIENCE, Raw, echo, finish, idle, more, peer, read_all, server, turn_until, until_closed,
};

/// Says to a child which scenario it is; without it a scenario does nothing.
const CHILD: &str = "LOOPWORK_FDS_CHILD";

fn in_child(scenario: &str) {
    let own = std::env::current_exe().expect("this test binary");
    let run = "ulimit -n 64 && exec \"$0\" --exact \"$1\" --nocapture --test-threads 1";
    let child = Command::new("sh")
        .args(["-c", run])
        .arg(own)
        .arg(format!("child_{scenario}"))
        .env(CHILD, scenario)
        .output()
        .expect("a shell");
    let said = String::from_utf8_lossy(&child.stderr) + String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && said.contains("survived"), "{said}");
}

fn is_child(scenario: &str) -> bool {
    std::env::var(CHILD).is_ok_and(|of| of == scenario)
}

#[test]
fn hostile_01_no_descriptor_left_to_accept() {
    in_child("accept");
}

#[test]
fn hostile_15_no_descriptor_is_lost() {
    in_child("lost");
}

#[test]
fn hostile_24_no_descriptor_left_to_dial_or_listen() {
    in_child("dial");
}

/// All descriptors but so many.
fn hoard(leave: usize) -> Vec<File> {
    let mut all: Vec<File> =
        std::iter::from_fn(|| File::open("/dev/null").ok()).take(1000).collect();
    assert!(all.len() > leave && all.len() < 64, "the limit holds");
    all.truncate(all.len() - leave);
    all
}

fn cpu_ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields: Vec<_> = stat.rsplit(") ").next().unwrap_or("").split(' ').collect();
    fields[11..13].iter().map(|f| f.parse::<u64>().expect("a number")).sum()
}

fn open_fds() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("Linux").count()
}

#[test]
fn child_accept() {
    if !is_child("accept") {
        return;
    }
    let (mut lp, host, at) = server(echo);
    let mut old = peer(at);
    turn_until(&mut lp, |lp| lp.get(host).len() == 1);
    // Room for the peer's end and for /proc, but not for ours.
    let mut hoarded = hoard(1);
    let begun = Instant::now();
    let mut waiting = peer(at);
    waiting.write_all(b"waiting").unwrap();
    turn_until(&mut lp, |lp| !lp.get(host).protocol.accept_errors.is_empty());
    let kind = std::io::Error::from_raw_os_error(24).kind();
    assert_eq!(lp.get(host).protocol.accept_errors[0], kind, "EMFILE");

    // The others do not notice, and it does not spin: a try at 10, 30, 70, 150, 310 ms.
    hoarded.pop();
    let (ticks, mut turns) = (cpu_ticks(), 0);
    hoarded.push(File::open("/dev/null").unwrap());
    while lp.get(host).protocol.accept_errors.len() < 6 {
        lp.turn(Some(PATIENCE)).unwrap();
        turns += 1;
    }
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(300), "five pauses in {took:?}");
    old.write_all(b"hello").unwrap();
    turn_until(&mut lp, |lp| lp.get(host).protocol.calls(0).contains(&"data"));
    old.read_exact(&mut [0; 5]).unwrap();
    assert!(turns <= 10, "{turns} turns");
    hoarded.truncate(hoarded.len() - 4);
    assert!(cpu_ticks() - ticks <= 5, "it spins");

    // With room it goes on by itself, and next time begins with short pauses again.
    turn_until(&mut lp, |lp| lp.get(host).protocol.calls(1).contains(&"data"));
    waiting.read_exact(&mut [0; 7]).unwrap();
    drop(waiting);
    until_closed(&mut lp, host, 1);
    while let Ok(file) = File::open("/dev/null") {
        hoarded.push(file);
    }
    hoarded.pop();
    lp.get(host).protocol.accept_errors.clear();
    let late = peer(at);
    turn_until(&mut lp, |lp| lp.get(host).protocol.accept_errors.len() == 1);
    let next = lp.next_deadline().expect("it tries again").since(lp.env.now);
    assert!((5..15).contains(&next.as_millis()), "the first pause: {next:?}");
    hoarded.clear();
    turn_until(&mut lp, |lp| lp.get(host).len() == 2);
    drop((late, old));
    until_closed(&mut lp, host, 3);
    finish(&mut lp, host);
    eprintln!("survived");
}

#[test]
fn child_lost() {
    if !is_child("lost") {
        return;
    }
    let before = open_fds();
    let (mut lp, host, at) = server(echo);
    let dialer = more(&mut lp, echo);
    let standing = open_fds();
    for round in 0..30 {
        let mut stream = peer(at);
        stream.write_all(b"x").unwrap();
        lp.get(host).protocol.refuse = round % 5 == 0;
        match round % 3 {
            0 => drop(stream),
            1 => {
                drop(stream);
                Raw::new(at).reset();
            }
            _ => {
                stream.shutdown(Shutdown::Write).unwrap();
                idle(&mut lp);
                let _ = stream.read(&mut [0; 8]);
            }
        }
        let to = if round % 2 == 0 { at } else { "127.0.0.1:1".parse().unwrap() };
        support::dial_to(&mut lp, dialer, to, Duration::from_secs(5));
        idle(&mut lp);
        loopwork_tcp::shutdown(&mut lp.env, dialer);
        turn_until(&mut lp, |lp| lp.get(host).is_empty() && lp.get(dialer).is_empty());
    }
    assert_eq!(open_fds(), standing, "every connection's descriptor is closed");
    finish(&mut lp, host);
    finish(&mut lp, dialer);
    drop(lp);
    assert_eq!(open_fds(), before, "and the loop's own");
    eprintln!("survived");
}

#[test]
fn child_dial() {
    if !is_child("dial") {
        return;
    }
    let (mut lp, host, at) = server(echo);
    let hoarded = hoard(0);
    assert!(Os::new().is_err(), "an error, and no panic");
    let any = "127.0.0.1:0".parse().unwrap();
    assert!(lp.mailbox().is_err());
    support::dial_to(&mut lp, host, at, Duration::from_secs(5));
    until_closed(&mut lp, host, 1);
    let why = lp.get(host).protocol.closed[0].1;
    let kind = std::io::Error::from_raw_os_error(24).kind();
    assert_eq!(why, loopwork_tcp::Close::Dial(kind));
    let how = Default::default();
    let address = loopwork_reactor::Address::Ip(any);
    assert!(loopwork_tcp::listen_at(&mut lp, host, &address, &how).is_err());
    assert!(loopwork_reactor::signal::watch(&mut lp, &[10], |_, _| {}).is_err());
    drop(hoarded);
    let mut stream = peer(at);
    stream.write_all(b"now").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    until_closed(&mut lp, host, 2);
    assert_eq!(read_all(stream), b"now");
    finish(&mut lp, host);
    let _: Loop<Os> = lp;
    assert_ne!(kind, ErrorKind::WouldBlock);
    eprintln!("survived");
}
