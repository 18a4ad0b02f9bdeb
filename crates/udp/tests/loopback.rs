//! Real sockets on loopback, the standard library's as the other side.

mod common;

use common::{Notes, local, peer, settle, until};
use loopwork_reactor::{BindOptions, Env, Handle, Id, Loop, Os};
use loopwork_udp::{self as udp, DatagramOption, Host, Io, MAX_PAYLOAD, Options, Protocol, Sent};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

fn new_loop() -> Loop<Os> {
    Loop::new(Os::new().expect("a poll"))
}

fn echo() -> Notes {
    Notes { echo: true, ..Notes::default() }
}

fn notes(lp: &mut Loop<Os>, h: Handle<Host<Notes>>) -> &mut Notes {
    &mut lp.get(h).protocol
}

/// A port of loopback where nobody listens.
fn dead() -> SocketAddr {
    peer().local_addr().expect("bound")
}

#[test]
fn hostile_26_every_size_is_echoed_the_empty_one_too() {
    let mut lp = new_loop();
    let (h, at) = udp::bind(&mut lp, local(), echo()).unwrap();
    assert_eq!(notes(&mut lp, h).opened, [at]);
    assert_eq!(lp.get(h).local(), Some(at));
    let other = peer();
    let mut room = vec![0; 70_000];
    for (i, size) in [5, 0, 1, 1472, 9000, MAX_PAYLOAD, 0].into_iter().enumerate() {
        let sent: Vec<u8> = (0..size).map(|n| (n * 7 + i) as u8).collect();
        other.send_to(&sent, at).unwrap();
        until(&mut lp, |lp| notes(lp, h).got.len() > i);
        let (from, seen, truncated) = &notes(&mut lp, h).got[i];
        assert_eq!((*from, seen, *truncated), (other.local_addr().unwrap(), &sent, false));
        let (n, from) = other.recv_from(&mut room).unwrap();
        assert_eq!((&room[..n], from), (&sent[..], at));
    }
    assert!(notes(&mut lp, h).errors.is_empty());
}

#[test]
fn echoes_over_ipv6() {
    let mut lp = new_loop();
    let bound = udp::bind(&mut lp, "[::1]:0".parse().unwrap(), echo());
    let Ok((h, at)) = bound else {
        return common::skipped(format_args!("no IPv6 here: {:?}", bound.err()));
    };
    let other = UdpSocket::bind("[::1]:0").unwrap();
    other.set_read_timeout(Some(common::PATIENCE)).unwrap();
    other.send_to(b"six", at).unwrap();
    until(&mut lp, |lp| notes(lp, h).got.len() == 1);
    let mut room = [0; 9];
    assert_eq!(other.recv_from(&mut room).unwrap(), (3, at));
}

#[test]
fn hostile_26_what_is_longer_than_the_room_is_cut_and_says_so() {
    let mut lp = new_loop();
    let options = Options { max_datagram: 4, ..Options::default() };
    let how = BindOptions::default();
    let (h, at) = udp::bind_with(&mut lp, local(), &how, options, Notes::default()).unwrap();
    let other = peer();
    for sent in [&b"four"[..], b"fives", b""] {
        other.send_to(sent, at).unwrap();
    }
    until(&mut lp, |lp| notes(lp, h).got.len() == 3);
    let got: Vec<_> = notes(&mut lp, h).got.iter().map(|g| (g.1.clone(), g.2)).collect();
    assert_eq!(got, [(b"four".to_vec(), false), (b"five".to_vec(), true), (vec![], false)]);
}

#[test]
fn hostile_26_too_large_is_told_and_the_others_go() {
    let mut lp = new_loop();
    let (h, _) = udp::bind(&mut lp, local(), Notes::default()).unwrap();
    let other = peer();
    let to = other.local_addr().unwrap();
    let sizes = [1, MAX_PAYLOAD + 1, 2, 65_536, 200_000, 3];
    udp::with(&mut lp, h, |_, io| {
        for size in sizes {
            assert_eq!(io.send(to, &vec![9; size]), Sent::Queued);
        }
    });
    let mut room = [0; 9];
    for size in [1, 2, 3] {
        assert_eq!(other.recv_from(&mut room).unwrap().0, size);
    }
    let errors = &notes(&mut lp, h).errors;
    assert_eq!(errors.len(), 3);
    for (whom, error) in errors {
        // EMSGSIZE, for which the standard library has no kind yet.
        assert_eq!((*whom, error.raw_os_error()), (Some(to), Some(90)));
    }
}

#[test]
fn parts_leave_as_one_datagram() {
    let mut lp = new_loop();
    let (h, _) = udp::bind(&mut lp, local(), Notes::default()).unwrap();
    let other = peer();
    let to = other.local_addr().unwrap();
    udp::with(&mut lp, h, |_, io| {
        assert_eq!(io.send_parts(to, &[b"head ", b"", b"body"]), Sent::Queued);
        assert_eq!((io.queued_bytes(), io.queued_datagrams()), (9, 1));
    });
    let mut room = [0; 20];
    let (n, _) = other.recv_from(&mut room).unwrap();
    assert_eq!(&room[..n], b"head body");
}

#[test]
fn hostile_27_refused_is_told_and_the_socket_lives_on() {
    let mut lp = new_loop();
    let (h, at) = udp::bind(&mut lp, local(), Notes::default()).unwrap();
    let to = dead();
    udp::associate(&mut lp, h, to).unwrap();
    for round in 1..=3 {
        udp::with(&mut lp, h, |_, io| {
            assert_eq!(io.peer(), Some(to));
            assert_eq!(io.send(local(), b"elsewhere"), Sent::Dropped);
            assert_eq!(io.send(to, b"anyone?"), Sent::Queued);
        });
        until(&mut lp, |lp| notes(lp, h).errors.len() >= round);
        let (whom, error) = notes(&mut lp, h).errors.last().unwrap();
        assert_eq!((*whom, error.kind()), (None, ErrorKind::ConnectionRefused));
    }
    // Someone comes to life there: the same socket reaches it, and hears it alone.
    let other = UdpSocket::bind(to).unwrap();
    other.set_read_timeout(Some(common::PATIENCE)).unwrap();
    udp::with(&mut lp, h, |_, io| {
        assert_eq!(io.send(to, b"hello"), Sent::Queued);
    });
    let mut room = [0; 9];
    assert_eq!(other.recv_from(&mut room).unwrap(), (5, at));
    peer().send_to(b"stranger", at).unwrap();
    other.send_to(b"friend", at).unwrap();
    until(&mut lp, |lp| !notes(lp, h).got.is_empty());
    settle(&mut lp);
    assert_eq!(notes(&mut lp, h).got.len(), 1);
    assert_eq!(notes(&mut lp, h).got[0].1, b"friend");
}

#[test]
fn a_refused_burst_is_bounded_and_reaches_the_end() {
    let mut lp = new_loop();
    let (h, _) = udp::bind(&mut lp, local(), Notes::default()).unwrap();
    let to = dead();
    udp::with(&mut lp, h, |_, io| {
        io.associate(to);
        (0..500).for_each(|_| assert_eq!(io.send(to, b"x"), Sent::Queued));
    });
    until(&mut lp, |lp| udp::with(lp, h, |_, io| io.queued_datagrams()) == Some(0));
    settle(&mut lp);
    let errors = &notes(&mut lp, h).errors;
    assert!(!errors.is_empty() && errors.len() <= 1000, "{}", errors.len());
    assert!(errors.iter().all(|(whom, _)| whom.is_none()));
}

#[test]
fn closing_ends_the_loop_and_it_opens_again() {
    let mut lp = new_loop();
    let (h, at) = udp::bind(&mut lp, local(), echo()).unwrap();
    let first = lp.get(h).id().unwrap();
    let again = udp::open(&mut lp, h, local(), &BindOptions::default());
    assert_eq!(again.unwrap_err().kind(), ErrorKind::AlreadyExists);
    udp::with(&mut lp, h, |_, io| io.set_deadline(Some(io.env.now.after(common::PATIENCE))));
    udp::close(&mut lp, h);
    udp::close(&mut lp, h);
    lp.run().unwrap();
    assert_eq!(notes(&mut lp, h).closed, [first]);
    assert!(lp.env.calls.timers.is_empty(), "the deadline went with the socket");
    assert_eq!((lp.get(h).id(), lp.get(h).local()), (None, None));
    assert_eq!(udp::with(&mut lp, h, |_, _| ()), None);
    let nobody = udp::set(&mut lp, h, DatagramOption::Broadcast(true));
    assert_eq!(nobody.unwrap_err().kind(), ErrorKind::NotConnected);

    assert_eq!(udp::open(&mut lp, h, at, &BindOptions::default()).unwrap(), at);
    lp.env.wake(first);
    let other = peer();
    other.send_to(b"again", at).unwrap();
    until(&mut lp, |lp| notes(lp, h).got.len() == 1);
    assert_eq!(other.recv_from(&mut [0; 9]).unwrap(), (5, at));
    assert_eq!(notes(&mut lp, h).wakes, 0, "the former socket's wake misses");
    let second = lp.get(h).id().unwrap();
    lp.env.wake(second);
    until(&mut lp, |lp| notes(lp, h).wakes == 1);
}

#[test]
fn an_address_in_use_is_an_error() {
    let mut lp = new_loop();
    let other = peer();
    let taken = other.local_addr().unwrap();
    let e = udp::bind(&mut lp, taken, Notes::default()).map(drop).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::AddrInUse);
    lp.run().unwrap();
}

/// Says goodbye and closes on its first datagram, then asks to be opened again.
struct Phoenix {
    me: Option<Handle<Host<Phoenix>>>,
    next: SocketAddr,
    seen: usize,
    opened: Vec<SocketAddr>,
    failed: Vec<ErrorKind>,
}

impl Protocol for Phoenix {
    fn on_open(&mut self, io: &mut Io<'_>) {
        self.opened.push(io.local());
    }
    fn on_datagram(&mut self, io: &mut Io<'_>, from: SocketAddr, _: &mut [u8]) {
        self.seen += 1;
        assert_eq!(io.send(from, b"bye"), Sent::Queued);
        io.close();
    }
    fn on_close(&mut self, _: Id, env: &mut Env) {
        let me = self.me.expect("told");
        udp::post_open(env, me, self.next, BindOptions::default());
    }
    fn on_open_failed(&mut self, _: &mut Env, _: SocketAddr, error: io::Error) {
        self.failed.push(error.kind());
    }
}

#[test]
fn a_callback_closes_and_opens_again() {
    let mut lp = new_loop();
    let phoenix = Phoenix { me: None, next: local(), seen: 0, opened: vec![], failed: vec![] };
    let (h, at) = udp::bind(&mut lp, local(), phoenix).unwrap();
    lp.get(h).protocol.me = Some(h);
    let other = peer();
    for _ in 0..3 {
        other.send_to(b"die", at).unwrap();
    }
    until(&mut lp, |lp| lp.get(h).protocol.opened.len() == 2);
    assert_eq!(lp.get(h).protocol.seen, 1, "nothing is shown behind the close");
    assert_eq!(other.recv_from(&mut [0; 9]).unwrap(), (3, at), "what was queued still goes");

    let second = lp.get(h).local().unwrap();
    lp.get(h).protocol.next = other.local_addr().unwrap();
    other.send_to(b"die", second).unwrap();
    lp.run().unwrap();
    assert_eq!(lp.get(h).protocol.failed, [ErrorKind::AddrInUse]);
}

#[test]
fn multicast_on_loopback_comes_back() {
    let mut lp = new_loop();
    let how = {
        let mut how = BindOptions::default();
        how.reuse_address = true;
        how
    };
    let any = SocketAddr::from(([0, 0, 0, 0], 0));
    let (h, at) = udp::bind_with(&mut lp, any, &how, Options::default(), Notes::default()).unwrap();
    let group = IpAddr::from([239, 255, 77, 1]);
    let on = IpAddr::from(Ipv4Addr::LOCALHOST);
    if let Err(e) = udp::set(&mut lp, h, DatagramOption::Join(group, on)) {
        // ENODEV: the machine has no interface that can.
        assert_eq!(e.raw_os_error(), Some(19), "{e}");
        return common::skipped(format_args!("no device for multicast: {e}"));
    }
    udp::with(&mut lp, h, |_, io| {
        io.set(DatagramOption::MulticastLoop(true));
        io.set(DatagramOption::MulticastTtl(0));
    });
    let to = SocketAddr::new(group, at.port());
    let other = peer(); // bound to loopback, so its multicasts leave there
    if let Err(e) = other.send_to(b"all", to) {
        // ENETUNREACH: no route for the group.
        assert_eq!(e.raw_os_error(), Some(101), "{e}");
        return common::skipped(format_args!("no route for multicast: {e}"));
    }
    until(&mut lp, |lp| !notes(lp, h).got.is_empty());
    assert_eq!(notes(&mut lp, h).got[0].1, b"all");
    assert!(notes(&mut lp, h).errors.is_empty(), "{:?}", notes(&mut lp, h).errors);
    udp::set(&mut lp, h, DatagramOption::Leave(group, on)).unwrap();
    let twice = udp::set(&mut lp, h, DatagramOption::Leave(group, on));
    assert!(twice.is_err(), "left already");
}

#[test]
fn broadcast_needs_its_option_and_a_failed_wish_is_told() {
    let mut lp = new_loop();
    let any = SocketAddr::from(([0, 0, 0, 0], 0));
    let (h, at) = udp::bind(&mut lp, any, Notes::default()).unwrap();
    let to = SocketAddr::from(([127, 255, 255, 255], at.port()));
    udp::with(&mut lp, h, |_, io| assert_eq!(io.send(to, b"no"), Sent::Queued));
    let (whom, error) = notes(&mut lp, h).errors.pop().unwrap();
    assert_eq!((whom, error.kind()), (Some(to), ErrorKind::PermissionDenied));
    udp::with(&mut lp, h, |_, io| {
        // The wish comes first, although it is stated behind.
        assert_eq!(io.send(to, b"yes"), Sent::Queued);
        io.set(DatagramOption::Broadcast(true));
    });
    until(&mut lp, |lp| !notes(lp, h).got.is_empty());
    assert_eq!(notes(&mut lp, h).got[0].1, b"yes");

    let no_group = IpAddr::from([10, 0, 0, 1]);
    udp::with(&mut lp, h, |_, io| io.set(DatagramOption::Join(no_group, no_group)));
    assert_eq!(notes(&mut lp, h).errors.pop().map(|e| e.0), Some(None));
    udp::with(&mut lp, h, |_, io| io.associate("[::1]:9".parse().unwrap()));
    assert_eq!(notes(&mut lp, h).errors.pop().map(|e| e.0), Some(None), "the wrong family");
}

#[test]
fn the_deadline_is_never_early_and_moves_for_nothing() {
    let mut lp = new_loop();
    let (h, _) = udp::bind(&mut lp, local(), Notes::default()).unwrap();
    let ms = Duration::from_millis;
    let mut want = lp.env.now;
    for i in 1..=20 {
        udp::with(&mut lp, h, |_, io| {
            want = io.env.now.after(ms(10 + 2 * i));
            io.set_deadline(Some(want));
            assert_eq!(io.deadline(), Some(want));
        });
        assert_eq!(lp.env.calls.timers.len(), 1);
    }
    until(&mut lp, |lp| !notes(lp, h).timeouts.is_empty());
    settle(&mut lp);
    assert_eq!(notes(&mut lp, h).timeouts.len(), 1, "once");
    assert!(notes(&mut lp, h).timeouts[0] >= want);
    assert!(lp.env.calls.timers.is_empty());
    // Sooner than what is armed; then none at all.
    udp::with(&mut lp, h, |_, io| io.set_deadline(Some(io.env.now.after(common::PATIENCE))));
    udp::with(&mut lp, h, |_, io| io.set_deadline(Some(io.env.now.after(ms(1)))));
    until(&mut lp, |lp| notes(lp, h).timeouts.len() == 2);
    udp::with(&mut lp, h, |_, io| io.set_deadline(Some(io.env.now.after(ms(1)))));
    udp::with(&mut lp, h, |_, io| io.set_deadline(None));
    settle(&mut lp);
    assert_eq!(notes(&mut lp, h).timeouts.len(), 2);
}

/// In one callback: a datagram for another, then the association. What was queued for the other
/// is forgotten, and not sent to the new peer instead.
#[test]
fn what_is_queued_for_another_is_forgotten_with_an_association() {
    let mut lp = new_loop();
    let (h, _) = udp::bind(&mut lp, local(), Notes::default()).unwrap();
    let (old, new) = (peer(), peer());
    let (to_old, to_new) = (old.local_addr().unwrap(), new.local_addr().unwrap());
    udp::with(&mut lp, h, |_, io| {
        assert_eq!(io.send(to_old, b"old"), Sent::Queued);
        assert_eq!(io.send(to_new, b"early"), Sent::Queued);
        io.associate(to_new);
        assert_eq!(io.send(to_old, b"none"), Sent::Dropped);
        assert_eq!(io.send(to_new, b"late"), Sent::Queued);
    });
    let mut room = [0; 9];
    for want in [&b"early"[..], b"late"] {
        let (n, _) = new.recv_from(&mut room).unwrap();
        assert_eq!(&room[..n], want);
    }
    for other in [&old, &new] {
        other.set_nonblocking(true).unwrap();
        assert!(other.recv_from(&mut room).is_err(), "nothing else came");
    }
    assert!(notes(&mut lp, h).errors.is_empty());
}

/// Whoever has closed is told of nothing but that: no error of what still left, no drain.
#[test]
fn behind_a_close_there_is_no_error_and_no_drain() {
    let mut lp = new_loop();
    let options = Options { queue_datagrams: 2, ..Options::default() };
    let (h, _) =
        udp::bind_with(&mut lp, local(), &BindOptions::default(), options, Notes::default())
            .unwrap();
    let to = peer().local_addr().unwrap();
    udp::with(&mut lp, h, |_, io| {
        // Longer than a datagram may be: the kernel refuses it.
        assert_eq!(io.send(to, &[0; 65_536]), Sent::Queued);
        assert_eq!(io.send(to, b"fits"), Sent::Queued);
        assert_eq!(io.send(to, b"does not"), Sent::Dropped);
        io.close();
    });
    let told = notes(&mut lp, h);
    assert_eq!((told.errors.len(), told.drains, told.closed.len()), (0, 0, 1));
    lp.run().unwrap();
}
