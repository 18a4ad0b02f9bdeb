//! What the settings of a whole network change. Each scenario runs in a network of its own, by
//! unshare(1), which takes a privilege: without it a test says that it is skipped, and passes.

mod support;

use loopwork_reactor::{ConnectOptions, ListenOptions, Os};
use loopwork_tcp::{Close, Dial, listen_at};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::process::Command;
use support::{On, PATIENCE, echo, finish, more, play, turn_until, until_closed};

/// Says to a child which scenario it is; without it a scenario does nothing.
const CHILD: &str = "LOOPWORK_NETWORK_CHILD";

/// Runs a scenario in a network that has been prepared by a line of shell.
fn in_network(scenario: &str, prepare: &str) {
    let prepare = format!("ip link set lo up && {prepare}");
    let able = Command::new("unshare").args(["-n", "sh", "-c", &prepare]).output();
    if !able.is_ok_and(|done| done.status.success()) {
        return support::skipped("no network of its own can be made here");
    }
    let child = Command::new("unshare")
        .args(["-n", "sh", "-c", &format!("{prepare} && exec \"$0\" \"$@\"")])
        .arg(std::env::current_exe().expect("this test binary"))
        .args(["--exact", &format!("child_{scenario}"), "--nocapture"])
        .env(CHILD, scenario)
        .output()
        .expect("it was there a moment ago");
    let said = String::from_utf8_lossy(&child.stderr) + String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && said.contains("survived"), "{said}");
}

fn is_child(scenario: &str) -> bool {
    std::env::var(CHILD).is_ok_and(|of| of == scenario)
}

#[test]
fn bytes_leave_with_the_syn_where_the_cookie_is_known() {
    in_network("fast_open", "echo 3 > /proc/sys/net/ipv4/tcp_fastopen");
}

#[test]
fn hostile_24_no_port_left_to_dial_from() {
    in_network("ports", "echo 40000 40009 > /proc/sys/net/ipv4/ip_local_port_range");
}

#[test]
fn child_ports() {
    const PORTS: usize = 10;
    if !is_child("ports") {
        return;
    }
    let (mut lp, host) = play(Os::new().unwrap(), echo);
    let at = "127.0.0.1:3000".parse::<SocketAddr>().unwrap();
    listen_at(&mut lp, host, &at.into(), &ListenOptions::default()).unwrap();
    let dialer = more(&mut lp, echo);
    for _ in 0..PORTS + 5 {
        support::dial_to(&mut lp, dialer, at, PATIENCE);
    }
    // As many as there are ports, and the others are told at once.
    until_closed(&mut lp, dialer, 5);
    turn_until(&mut lp, |lp| lp.get(host).len() == PORTS);
    let none = Close::Dial(ErrorKind::AddrNotAvailable);
    assert!(lp.get(dialer).protocol.closed.iter().all(|(_, why)| *why == none));
    // To another address the same ports will do; and from another.
    let (mut other, far) = play(Os::new().unwrap(), echo);
    let elsewhere = "127.0.0.1:3001".parse::<SocketAddr>().unwrap();
    listen_at(&mut other, far, &elsewhere.into(), &ListenOptions::default()).unwrap();
    support::dial_to(&mut lp, dialer, elsewhere, PATIENCE);
    turn_until(&mut lp, |lp| lp.get(dialer).len() == PORTS + 1);
    turn_until(&mut other, |lp| lp.get(far).len() == 1);
    let conn = lp.get(dialer).protocol.seat();
    let from = Some("127.0.0.2:0".parse().unwrap());
    Dial { to: at.into(), from, timeout: PATIENCE, conn }.send(&mut lp.env, dialer);
    turn_until(&mut lp, |lp| lp.get(host).len() == PORTS + 1);
    drop(other);
    loopwork_tcp::shutdown(&mut lp.env, dialer);
    until_closed(&mut lp, dialer, PORTS + 7);
    finish(&mut lp, host);
    finish(&mut lp, dialer);
    eprintln!("survived");
}

/// Dials with fast open; says hello at once, and hears it back.
fn hello(seat: &mut support::Seat, io: &mut loopwork_tcp::Io<'_>, on: On<'_>) -> usize {
    match on {
        On::Open => {
            let _ = io.write(b"hello");
            0
        }
        On::Data(bytes) => {
            seat.got.extend_from_slice(bytes);
            bytes.len()
        }
        _ => echo(seat, io, on),
    }
}

#[test]
fn child_fast_open() {
    if !is_child("fast_open") {
        return;
    }
    let (mut lp, host) = play(Os::new().unwrap(), echo);
    let mut how = ListenOptions::default();
    how.fast_open = 16;
    let at = listen_at(&mut lp, host, &"127.0.0.1:0".parse::<SocketAddr>().unwrap().into(), &how);
    let at = at.unwrap();
    let dialer = more(&mut lp, hello);
    let mut how = ConnectOptions::default();
    how.fast_open = true;
    let dial = |lp: &mut loopwork_reactor::Loop<Os>| {
        let conn = lp.get(dialer).protocol.seat();
        let dial = Dial { to: at.clone(), from: None, timeout: PATIENCE, conn };
        dial.send_with(&mut lp.env, dialer, how.clone());
    };
    for n in 0..3 {
        dial(&mut lp);
        turn_until(&mut lp, |lp| lp.get(dialer).protocol.calls(n).contains(&"data"));
        let id = lp.get(dialer).ids().next().unwrap();
        assert_eq!(lp.get(dialer).conn(id).unwrap().got, b"hello");
        let about = loopwork_tcp::info(&mut lp, dialer, id).unwrap();
        // The first brings the cookie home.
        assert_eq!(about.syn_data, n > 0, "{n}: {about:?}");
        loopwork_tcp::shutdown(&mut lp.env, dialer);
        until_closed(&mut lp, dialer, n + 1);
        assert_eq!(lp.get(dialer).protocol.closed[n].1, Close::Finished);
    }
    finish(&mut lp, host);
    // Nobody listens any more: that is learnt only after the bytes have left.
    dial(&mut lp);
    until_closed(&mut lp, dialer, 4);
    assert_eq!(lp.get(dialer).protocol.calls(3), ["open"]);
    assert_eq!(lp.get(dialer).protocol.closed[3].1, Close::Reset);
    // Without the option the same is a dial that failed.
    let conn = lp.get(dialer).protocol.seat();
    loopwork_tcp::dial(&mut lp.env, dialer, at.clone(), conn);
    until_closed(&mut lp, dialer, 5);
    assert_eq!(lp.get(dialer).protocol.closed[4].1, Close::Dial(ErrorKind::ConnectionRefused));
    finish(&mut lp, dialer);
    eprintln!("survived");
}
