//! Settings: groups of one source, interfaces, association and its end, sizes.

mod common;

use common::{Notes, how, local, notes, peer, settle, until};
use loopwork_reactor::{Handle, Loop, Os};
use loopwork_udp::{self as udp, DatagramOption, Host, Options, Sent};
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

const ON: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn new_loop() -> Loop<Os> {
    Loop::new(Os::new().expect("a poll"))
}

fn open(lp: &mut Loop<Os>, at: &str) -> (Handle<Host<Notes>>, SocketAddr) {
    udp::bind(lp, at.parse().unwrap(), Notes::default()).unwrap()
}

#[test]
fn a_group_of_one_source_hears_that_source_alone() {
    let mut lp = new_loop();
    let how = how(|how| how.reuse_address = true);
    let any = SocketAddr::from(([0, 0, 0, 0], 0));
    let (h, at) = udp::bind_with(&mut lp, any, &how, Options::default(), Notes::default()).unwrap();
    let group = IpAddr::from([232, 77, 1, 1]);
    let source = IpAddr::from([127, 0, 0, 5]);
    let join = DatagramOption::JoinSource { source, group, on: ON };
    if let Err(e) = udp::set(&mut lp, h, join) {
        // ENODEV: the machine has no interface that can.
        assert_eq!(e.raw_os_error(), Some(19), "{e}");
        return common::skipped(format_args!("no device for multicast: {e}"));
    }
    for (ip, bytes) in [([127, 0, 0, 6], b"no"), ([127, 0, 0, 5], b"us")] {
        let (from, _) = open(&mut lp, &format!("{}:0", Ipv4Addr::from(ip)));
        udp::with(&mut lp, from, |_, io| {
            io.set(DatagramOption::MulticastInterface(ON));
            io.set(DatagramOption::MulticastTtl(0));
            assert_eq!(io.send((group, at.port()).into(), bytes), Sent::Queued);
        });
        let errors = &notes(&mut lp, from).errors;
        assert!(errors.is_empty(), "{errors:?}");
    }
    until(&mut lp, |lp| !notes(lp, h).got.is_empty());
    settle(&mut lp);
    let got: Vec<_> = notes(&mut lp, h).got.iter().map(|g| (g.0.ip(), g.1.clone())).collect();
    assert_eq!(got, [(source, b"us".to_vec())]);
    let leave = DatagramOption::LeaveSource { source, group, on: ON };
    udp::set(&mut lp, h, leave).unwrap();
    assert!(udp::set(&mut lp, h, leave).is_err(), "left already");
    let mixed = DatagramOption::JoinSource { source, group: Ipv6Addr::LOCALHOST.into(), on: ON };
    assert_eq!(udp::set(&mut lp, h, mixed).unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn a_group_of_one_source_of_ipv6() {
    let mut lp = new_loop();
    let bound = udp::bind(&mut lp, "[::]:0".parse().unwrap(), Notes::default());
    let Ok((h, at)) = bound else {
        return common::skipped(format_args!("no IPv6 here: {:?}", bound.err()));
    };
    // The interface's index, as the kernel numbers it; loopback is the first.
    let on: IpAddr = "::1".parse().unwrap();
    let group: IpAddr = "ff31::4d:1".parse().unwrap();
    let source = IpAddr::from(Ipv6Addr::LOCALHOST);
    if let Err(e) = udp::set(&mut lp, h, DatagramOption::JoinSource { source, group, on }) {
        return common::skipped(format_args!("no such group here: {e}"));
    }
    let (from, _) = open(&mut lp, "[::1]:0");
    udp::with(&mut lp, from, |_, io| {
        io.set(DatagramOption::MulticastInterface(on));
        assert_eq!(io.send((group, at.port()).into(), b"six"), Sent::Queued);
    });
    settle(&mut lp);
    if let Some((_, e)) = notes(&mut lp, from).errors.pop() {
        // ENETUNREACH: no route for the group.
        assert_eq!(e.raw_os_error(), Some(101), "{e}");
        return common::skipped(format_args!("no route for multicast: {e}"));
    }
    until(&mut lp, |lp| !notes(lp, h).got.is_empty());
    assert_eq!(notes(&mut lp, h).got[0].1, b"six");
    udp::set(&mut lp, h, DatagramOption::LeaveSource { source, group, on }).unwrap();
}

#[test]
fn an_association_ends_and_the_port_stays() {
    // A port that the system chose, and one that was asked for.
    let mut lp = new_loop();
    let free = peer().local_addr().unwrap();
    for at in [local(), free] {
        let (h, at) = udp::bind(&mut lp, at, Notes::default()).unwrap();
        let (one, two) = (peer(), peer());
        udp::associate(&mut lp, h, one.local_addr().unwrap()).unwrap();
        two.send_to(b"unheard", at).unwrap();
        one.send_to(b"1", at).unwrap();
        until(&mut lp, |lp| notes(lp, h).got.len() == 1);
        udp::dissociate(&mut lp, h).unwrap();
        two.send_to(b"2", at).unwrap();
        until(&mut lp, |lp| notes(lp, h).got.len() == 2);
        let to = two.local_addr().unwrap();
        udp::with(&mut lp, h, |_, io| {
            assert_eq!((io.peer(), io.local()), (None, at));
            assert_eq!(io.send(to, b"back"), Sent::Queued);
        });
        let (n, from) = two.recv_from(&mut [0; 9]).unwrap();
        assert_eq!((n, from), (4, at));
        // By a wish, in the order of the wishes' rules: first the association, then the sending.
        udp::with(&mut lp, h, |_, io| {
            io.associate(to);
            io.dissociate();
            assert_eq!(io.peer(), None);
            assert_eq!(io.send(one.local_addr().unwrap(), b"also"), Sent::Queued);
        });
        assert_eq!(one.recv_from(&mut [0; 9]).unwrap(), (4, at));
        let errors = &notes(&mut lp, h).errors;
        assert!(errors.is_empty(), "{errors:?}");
    }
}

#[test]
fn settings_are_what_they_were_set_to() {
    let mut lp = new_loop();
    let (h, _) = open(&mut lp, "127.0.0.1:0");
    let before = udp::settings(&mut lp, h).unwrap();
    assert!(before.receive_buffer > 0 && before.send_buffer > 0 && before.ttl > 0);
    assert_eq!(before.multicast_ttl, 1, "as every system begins");
    for option in [
        DatagramOption::ReceiveBuffer(50_000),
        DatagramOption::SendBuffer(40_000),
        DatagramOption::Ttl(7),
        DatagramOption::MulticastTtl(3),
    ] {
        udp::set(&mut lp, h, option).unwrap();
    }
    let after = udp::settings(&mut lp, h).unwrap();
    // Twice as much, as Linux counts.
    assert_eq!((after.receive_buffer, after.send_buffer), (100_000, 80_000));
    assert_eq!((after.ttl, after.multicast_ttl), (7, 3));
    udp::close(&mut lp, h);
    assert_eq!(udp::settings(&mut lp, h).unwrap_err().kind(), ErrorKind::NotConnected);
    assert_eq!(udp::dissociate(&mut lp, h).unwrap_err().kind(), ErrorKind::NotConnected);
}

#[test]
fn the_same_port_is_bound_again_at_once() {
    let mut lp = new_loop();
    let (h, at) = open(&mut lp, "127.0.0.1:0");
    for round in 1..=3_u8 {
        peer().send_to(&[round], at).unwrap();
        until(&mut lp, |lp| notes(lp, h).got.len() == usize::from(round));
        let old = lp.get(h).id().unwrap();
        udp::close(&mut lp, h);
        assert_eq!(lp.get(h).id(), None);
        assert_eq!(notes(&mut lp, h).closed.last(), Some(&old));
        let taken = UdpSocket::bind(at).expect("free again");
        drop(taken);
        assert_eq!(udp::open(&mut lp, h, at, &how(|_| {})).unwrap(), at);
        assert_ne!(lp.get(h).id(), Some(old), "an id never repeats");
    }
}

#[test]
fn a_socket_that_is_bound_already_is_taken_over() {
    let mut lp = new_loop();
    let h = udp::add(&mut lp, Options::default(), Notes { echo: true, ..Notes::default() });
    let (ready, other) = (peer(), peer());
    let at = ready.local_addr().unwrap();
    assert_eq!(udp::adopt(&mut lp, h, ready.into(), &how(|_| {})).unwrap(), at);
    assert_eq!(notes(&mut lp, h).opened, [at]);
    other.send_to(b"hello", at).unwrap();
    until(&mut lp, |lp| notes(lp, h).got.len() == 1);
    assert_eq!(other.recv_from(&mut [0; 9]).unwrap(), (5, at));
    let again = udp::adopt(&mut lp, h, peer().into(), &how(|_| {})).unwrap_err();
    assert_eq!(again.kind(), ErrorKind::AlreadyExists);
    // One that has a peer keeps it; one of another kind is refused.
    udp::close(&mut lp, h);
    let connected = peer();
    connected.connect(at).unwrap();
    udp::adopt(&mut lp, h, connected.into(), &how(|_| {})).unwrap();
    udp::with(&mut lp, h, |_, io| {
        assert_eq!(io.peer(), Some(at));
        assert_eq!(io.send(local(), b"elsewhere"), Sent::Dropped);
    });
    udp::close(&mut lp, h);
    let stream = std::net::TcpListener::bind(local()).unwrap();
    let wrong = udp::adopt(&mut lp, h, stream.into(), &how(|_| {})).unwrap_err();
    assert_eq!(wrong.kind(), ErrorKind::InvalidInput);
    lp.run().unwrap();
}

#[test]
fn a_loop_does_not_run_for_who_does_not_hold_it() {
    let mut lp = new_loop();
    let (h, at) = open(&mut lp, "127.0.0.1:0");
    udp::hold(&mut lp, h, false);
    udp::hold(&mut lp, h, false);
    assert!(!lp.env.calls.alive());
    lp.run().unwrap();
    // It is open all the same.
    peer().send_to(b"x", at).unwrap();
    until(&mut lp, |lp| notes(lp, h).got.len() == 1);
    udp::hold(&mut lp, h, true);
    assert!(lp.env.calls.alive());
    udp::hold(&mut lp, h, false);
    udp::close(&mut lp, h);
    udp::hold(&mut lp, h, true);
    assert!(!lp.env.calls.alive(), "a closed one holds nothing");
    udp::open(&mut lp, h, local(), &how(|_| {})).unwrap();
    assert!(lp.env.calls.alive(), "a new one does");
    udp::close(&mut lp, h);
    lp.run().unwrap();
}
