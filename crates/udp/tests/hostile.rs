//! What goes wrong outside: system calls that fail, a flood, an interface that goes down.
//!
//! Some need a tool (`strace`, `unshare`, `ip`) or the right to use it: this test program runs
//! itself behind it, one test alone. Where that cannot be the test says so and passes.

mod common;

use common::{Notes, how, local, notes, peer, until};
use loopwork_reactor::{BATCH, Env, Handle, Loop, Os};
use loopwork_udp::{self as udp, DatagramOption, Host, Options, Sent};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::Duration;

/// Tells a test that it runs behind its tool.
const INSIDE: &str = "LOOPWORK_UDP_INSIDE";
const ENOBUFS: i32 = 105;
const ENETUNREACH: i32 = 101;

/// Runs the test of this name again behind a tool, which the words say; `true`: this *is* it.
fn inside(tool: &[&str], test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let mut probe = Command::new(tool[0]);
    if !probe.args(&tool[1..]).arg("true").output().is_ok_and(|out| out.status.success()) {
        common::skipped(format_args!("this does not work here: {}", tool.join(" ")));
        return false;
    }
    let me = std::env::current_exe().expect("this program");
    let mut command = Command::new(tool[0]);
    command.args(&tool[1..]).arg(me).args(["--exact", test, "--nocapture", "--test-threads=1"]);
    let out = command.env(INSIDE, "1").output().expect("it ran just now");
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let errors = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.success() && text.contains("1 passed"), "{text}\n{errors}");
    if let Some((_, why)) = errors.split_once("skipped, ") {
        common::skipped(format_args!("{}", why.lines().next().unwrap_or_default()));
    }
    false
}

fn new_loop() -> Loop<Os> {
    Loop::new(Os::new().expect("a poll"))
}

#[test]
fn hostile_03_no_memory_for_a_send_costs_that_datagram_alone() {
    // Each other send finds no memory.
    let inject = "inject=sendmmsg:error=ENOBUFS:when=1+2";
    let tool = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=sendmmsg", "-e", inject];
    if !inside(&tool, "hostile_03_no_memory_for_a_send_costs_that_datagram_alone") {
        return;
    }
    let mut lp = new_loop();
    let (h, _) = udp::bind(&mut lp, local(), Notes::default()).unwrap();
    let other = peer();
    let to = other.local_addr().unwrap();
    for n in 0..10_u8 {
        udp::with(&mut lp, h, |_, io| assert_eq!(io.send(to, &[n]), Sent::Queued));
    }
    let mut room = [0; 9];
    for n in [1, 3, 5, 7, 9] {
        assert_eq!(other.recv_from(&mut room).unwrap().0, 1);
        assert_eq!(room[0], n);
    }
    let errors = &notes(&mut lp, h).errors;
    assert_eq!(errors.len(), 5);
    let whole = |(whom, e): &(Option<SocketAddr>, std::io::Error)| {
        (*whom, e.raw_os_error()) == (Some(to), Some(ENOBUFS))
    };
    assert!(errors.iter().all(whole), "{errors:?}");
}

#[test]
fn a_card_that_cannot_cut_segments_costs_a_call_and_no_datagram() {
    let inject = "inject=sendmmsg:error=EIO:when=1";
    let tool = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=sendmmsg", "-e", inject];
    if !inside(&tool, "a_card_that_cannot_cut_segments_costs_a_call_and_no_datagram") {
        return;
    }
    let mut lp = new_loop();
    let (h, _) = udp::bind(&mut lp, local(), Notes::default()).unwrap();
    let other = peer();
    let to = other.local_addr().unwrap();
    let mut room = [0; 99];
    for round in 0..3 {
        udp::with(&mut lp, h, |_, io| {
            (0..50).for_each(|n| assert_eq!(io.send(to, &[round + n; 50]), Sent::Queued));
        });
        for n in 0..50 {
            assert_eq!(other.recv_from(&mut room).unwrap().0, 50);
            assert_eq!(room[..50], [round + n; 50]);
        }
    }
    let errors = &notes(&mut lp, h).errors;
    if errors.len() == 1 && errors[0].0 == Some(to) {
        return common::skipped(format_args!(
            "this kernel has no UDP_SEGMENT, so it was the datagram's own"
        ));
    }
    assert!(errors.is_empty(), "{errors:?}");
    other.set_nonblocking(true).unwrap();
    assert!(other.recv_from(&mut room).is_err(), "none came twice");
}

#[test]
fn hostile_28_a_flood_waits_for_timers_and_for_others() {
    const FLOOD: usize = 400;
    let mut lp = new_loop();
    let (options, how) = (Options { batches_per_turn: 1, ..Options::default() }, how(|_| {}));
    let flooded = udp::bind_with(&mut lp, local(), &how, options, Notes::default());
    let (h, at) = flooded.unwrap();
    let (quiet, quiet_at) = udp::bind(&mut lp, local(), Notes::default()).unwrap();
    udp::set(&mut lp, h, DatagramOption::ReceiveBuffer(4 << 20)).unwrap();
    let other = peer();
    for _ in 0..FLOOD {
        other.send_to(b"flood", at).unwrap();
    }
    other.send_to(b"me too", quiet_at).unwrap();
    let fired = lp.env.shared.add(false);
    lp.env.after(Duration::ZERO, move |env: &mut Env| *env.shared.get(fired) = true);
    lp.turn(Some(common::PATIENCE)).unwrap();
    // One batch as ready, at most one more as *again*; then the others' turn.
    let seen = notes(&mut lp, h).got.len();
    assert!((1..=2 * BATCH).contains(&seen), "{seen}");
    until(&mut lp, |lp| *lp.env.shared.get(fired) && notes(lp, quiet).got.len() == 1);
    assert!(notes(&mut lp, h).got.len() < FLOOD, "long before the flood is over");
    until(&mut lp, |lp| notes(lp, h).got.len() == FLOOD);
}

fn ip(words: &str) -> bool {
    let ran = Command::new("ip").args(words.split(' ')).output();
    ran.is_ok_and(|out| out.status.success())
}

/// In a network of its own: a socket, and an address at the other end of a cable, where nobody
/// answers. `None` outside of that network, and where none can be made.
fn beside_a_cable(test: &str) -> Option<(Loop<Os>, Handle<Host<Notes>>, SocketAddr)> {
    if !inside(&["unshare", "--net"], test) {
        return None;
    }
    let up = ip("link set lo up")
        && ip("link add v0 type veth peer name v1")
        && ip("addr add 10.9.9.1/24 dev v0")
        && ip("link set v0 up")
        && ip("link set v1 up");
    if !up {
        common::skipped(format_args!("no interface can be made here"));
        return None;
    }
    let mut lp = new_loop();
    let any = SocketAddr::from(([0, 0, 0, 0], 0));
    let (h, _) = udp::bind(&mut lp, any, Notes::default()).unwrap();
    Some((lp, h, SocketAddr::from(([10, 9, 9, 2], 9))))
}

#[test]
fn a_path_too_narrow_for_segments_gets_each_datagram_by_itself() {
    let test = "a_path_too_narrow_for_segments_gets_each_datagram_by_itself";
    let Some((mut lp, h, to)) = beside_a_cable(test) else { return };
    // Longer than a packet of this path may be: alone, IP itself cuts them into fragments.
    for size in [3000, 1400, 3000] {
        udp::with(&mut lp, h, |_, io| {
            (0..5).for_each(|_| assert_eq!(io.send(to, &vec![1; size]), Sent::Queued));
            assert_eq!(io.queued_datagrams(), 5);
        });
        assert_eq!(udp::with(&mut lp, h, |_, io| io.queued_datagrams()), Some(0), "they went");
    }
    let errors = &notes(&mut lp, h).errors;
    assert!(errors.is_empty(), "{errors:?}");
}

#[test]
fn hostile_31_an_interface_goes_down_and_comes_back() {
    let test = "hostile_31_an_interface_goes_down_and_comes_back";
    let Some((mut lp, h, to)) = beside_a_cable(test) else { return };
    let (group, on) = (IpAddr::from([239, 9, 9, 9]), IpAddr::from(Ipv4Addr::new(10, 9, 9, 1)));
    udp::set(&mut lp, h, DatagramOption::Join(group, on)).unwrap();
    let send = |lp: &mut Loop<Os>| {
        udp::with(lp, h, |_, io| assert_eq!(io.send(to, b"there?"), Sent::Queued));
        notes(lp, h).errors.pop().map(|(whom, e)| (whom, e.raw_os_error()))
    };
    assert_eq!(send(&mut lp), None, "there is a way");
    assert!(ip("link set v0 down"));
    for _ in 0..3 {
        assert_eq!(send(&mut lp), Some((Some(to), Some(ENETUNREACH))), "told, each time");
    }
    // The socket lives: others are still reached, and a group is left and joined again.
    let other = peer();
    let near = other.local_addr().unwrap();
    udp::with(&mut lp, h, |_, io| assert_eq!(io.send(near, b"near"), Sent::Queued));
    assert_eq!(other.recv_from(&mut [0; 9]).unwrap().0, 4);
    assert!(ip("link set v0 up"));
    assert_eq!(send(&mut lp), None, "there is a way again");
    udp::set(&mut lp, h, DatagramOption::Leave(group, on)).unwrap();
    udp::set(&mut lp, h, DatagramOption::Join(group, on)).unwrap();
    assert!(ip("link del v0"));
    let gone = send(&mut lp);
    assert_eq!(gone, Some((Some(to), Some(ENETUNREACH))));
    assert!(udp::set(&mut lp, h, DatagramOption::Join(group, on)).is_err(), "nowhere to join");
}
