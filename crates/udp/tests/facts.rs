//! What the kernel says beside a datagram, where it leaves from, and what the network says of one
//! that it could not deliver.

mod common;

use common::{PATIENCE, how, peer, settle, until};
use loopwork_reactor::{Handle, Loop, Os};
use loopwork_udp::{self as udp, DatagramOption, Facts, Host, Io, Options, Protocol, Sent, Source};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

/// Writes down what it is told, and answers from where it was asked.
#[derive(Default)]
struct Clerk {
    got: Vec<(Vec<u8>, Facts)>,
    errors: Vec<(Option<SocketAddr>, io::Error)>,
}

impl Protocol for Clerk {
    fn on_open(&mut self, io: &mut Io<'_>) {
        assert_eq!(*io.facts(), Facts::NONE);
    }
    fn on_datagram(&mut self, io: &mut Io<'_>, from: SocketAddr, bytes: &mut [u8]) {
        // Through a second hand, as protocols that are made of others do.
        let facts = *io.reborrow().facts();
        self.got.push((bytes.to_vec(), facts));
        let sent = match facts.source() {
            Some(source) => io.send_from(source, from, &[b"re: ", bytes]),
            None => io.send(from, bytes),
        };
        assert_eq!(sent, Sent::Queued);
    }
    fn on_error(&mut self, _: &mut Io<'_>, to: Option<SocketAddr>, error: io::Error) {
        self.errors.push((to, error));
    }
}

type Socket = (Handle<Host<Clerk>>, SocketAddr);

fn clerk(lp: &mut Loop<Os>, at: &str, change: impl FnOnce(&mut udp::BindOptions)) -> Socket {
    let at = at.parse().unwrap();
    udp::bind_with(lp, at, &how(change), Options::default(), Clerk::default()).unwrap()
}

fn all(how: &mut udp::BindOptions) {
    (how.destination, how.class, how.ttl, how.drops, how.time) = (true, true, true, true, true);
}

fn new_loop() -> Loop<Os> {
    Loop::new(Os::new().expect("a poll"))
}

#[test]
fn everything_that_was_asked_for_is_told() {
    let mut lp = new_loop();
    let (h, at) = clerk(&mut lp, "0.0.0.0:0", all);
    let (from, _) = clerk(&mut lp, "127.0.0.1:0", |_| {});
    udp::set(&mut lp, from, DatagramOption::Class(0xb9)).unwrap();
    udp::set(&mut lp, from, DatagramOption::Ttl(9)).unwrap();
    let before = lp.env.unix_time();
    // Loopback answers to all of 127.
    let to = SocketAddr::from(([127, 0, 0, 2], at.port()));
    udp::with(&mut lp, from, |_, io| assert_eq!(io.send(to, b"who?"), Sent::Queued));
    until(&mut lp, |lp| lp.get(from).protocol.got.len() == 1);
    let (bytes, facts) = lp.get(h).protocol.got[0].clone();
    assert_eq!(bytes, b"who?");
    assert_eq!((facts.destination, facts.local), (Some(to.ip()), Some(to.ip())));
    assert_eq!((facts.class, facts.ttl, facts.dropped), (Some(0xb9), Some(9), 0));
    assert!(facts.interface.is_some_and(|index| index > 0));
    let apart = facts.time.expect("asked for").abs_diff(before);
    assert!(apart < Duration::from_secs(60), "the kernel's clock is the world's: {apart:?}");
    // And what was not asked for is not told.
    let (_, facts) = &lp.get(from).protocol.got[0];
    assert_eq!(*facts, Facts::NONE);
}

#[test]
fn an_answer_leaves_from_where_the_question_went_to() {
    let mut lp = new_loop();
    let (_, at) = clerk(&mut lp, "0.0.0.0:0", |how| how.destination = true);
    for last in [2, 3, 1] {
        let to = SocketAddr::from(([127, 0, 0, last], at.port()));
        // Associated, so that an answer from another address would not reach it.
        let other = peer();
        other.connect(to).unwrap();
        other.set_nonblocking(true).unwrap();
        other.send(b"x").unwrap();
        let mut room = [0; 9];
        until(&mut lp, |_| other.recv(&mut room).is_ok_and(|n| n == 5));
        assert_eq!(&room[..5], b"re: x");
    }
}

#[test]
fn an_address_that_is_not_ours_is_told_and_the_rest_goes() {
    let mut lp = new_loop();
    let (h, _) = clerk(&mut lp, "0.0.0.0:0", |_| {});
    let other = peer();
    let to = other.local_addr().unwrap();
    let ours = Source { ip: [127, 0, 0, 9].into(), interface: 0 };
    let foreign = Source { ip: [192, 0, 2, 1].into(), interface: 0 };
    udp::with(&mut lp, h, |_, io| {
        for (n, source) in
            [Some(ours), Some(foreign), None, Some(ours), Some(ours)].into_iter().enumerate()
        {
            let byte = [n as u8];
            let sent = match source {
                Some(source) => io.send_from(source, to, &[&byte]),
                None => io.send(to, &byte),
            };
            assert_eq!(sent, Sent::Queued);
        }
    });
    let mut room = [0; 9];
    for (n, ip) in
        [(0, [127, 0, 0, 9]), (2, [127, 0, 0, 1]), (3, [127, 0, 0, 9]), (4, [127, 0, 0, 9])]
    {
        let (len, from) = other.recv_from(&mut room).unwrap();
        assert_eq!((len, room[0], from.ip()), (1, n, IpAddr::from(ip)));
    }
    let errors = &lp.get(h).protocol.errors;
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].0, Some(to));
}

#[test]
fn both_families_tell_on_a_socket_of_both() {
    let mut lp = new_loop();
    let asked = how(all);
    let any = "[::]:0".parse().unwrap();
    let bound = udp::bind_with(&mut lp, any, &asked, Options::default(), Clerk::default());
    let Ok((h, at)) = bound else {
        return common::skipped(format_args!("no IPv6 here: {:?}", bound.err()));
    };
    udp::set(&mut lp, h, DatagramOption::Class(0x20)).unwrap();
    let six = UdpSocket::bind("[::1]:0").unwrap();
    six.set_read_timeout(Some(PATIENCE)).unwrap();
    six.send_to(b"6", ("::1", at.port())).unwrap();
    let four = peer();
    four.send_to(b"4", ("127.0.0.2", at.port())).unwrap();
    until(&mut lp, |lp| lp.get(h).protocol.got.len() == 2);
    for (bytes, facts) in &lp.get(h).protocol.got {
        let ip = facts.destination.expect("asked for").to_canonical();
        let want = if bytes == b"6" { "::1" } else { "127.0.0.2" };
        assert_eq!(ip, want.parse::<IpAddr>().unwrap());
        assert_eq!(facts.class, Some(0));
        assert!(facts.ttl.is_some() && facts.interface.is_some() && facts.time.is_some());
    }
    let mut room = [0; 9];
    assert_eq!(six.recv_from(&mut room).unwrap().0, 5);
    let (_, from) = four.recv_from(&mut room).unwrap();
    assert_eq!(from.ip(), IpAddr::from(Ipv4Addr::new(127, 0, 0, 2)));
}

#[test]
fn each_of_what_was_put_together_has_its_facts() {
    let mut lp = new_loop();
    let (h, at) = clerk(&mut lp, "0.0.0.0:0", all);
    let (from, _) = clerk(&mut lp, "127.0.0.1:0", |_| {});
    let to = SocketAddr::from(([127, 0, 0, 2], at.port()));
    udp::with(&mut lp, from, |_, io| {
        (0..5).for_each(|_| assert_eq!(io.send(to, b"same"), Sent::Queued));
    });
    until(&mut lp, |lp| lp.get(from).protocol.got.len() == 5);
    assert_eq!(lp.get(h).protocol.got.len(), 5);
    assert!(lp.get(h).protocol.got.iter().all(|g| g.1.destination == Some(to.ip())));
}

#[test]
fn hostile_28_a_flood_is_dropped_and_counted() {
    let mut lp = new_loop();
    let (h, at) = clerk(&mut lp, "127.0.0.1:0", |how| how.drops = true);
    // The least that the kernel gives.
    udp::set(&mut lp, h, DatagramOption::ReceiveBuffer(1)).unwrap();
    let other = peer();
    for _ in 0..100 {
        other.send_to(&[0; 500], at).unwrap();
    }
    until(&mut lp, |lp| !lp.get(h).protocol.got.is_empty());
    settle(&mut lp);
    let kept = lp.get(h).protocol.got.len();
    assert!(kept < 100);
    other.send_to(b"last", at).unwrap();
    until(&mut lp, |lp| lp.get(h).protocol.got.len() > kept);
    let (bytes, facts) = lp.get(h).protocol.got.last().unwrap();
    assert_eq!((&bytes[..], facts.dropped as usize), (&b"last"[..], 100 - kept));
}

/// Ports of loopback where nobody listens.
fn dead(count: usize) -> Vec<SocketAddr> {
    let peers: Vec<_> = (0..count).map(|_| peer()).collect();
    peers.iter().map(|p| p.local_addr().unwrap()).collect()
}

#[test]
fn hostile_27_a_closed_port_is_told_with_its_address_and_harms_nobody_else() {
    let mut lp = new_loop();
    let (h, _) = clerk(&mut lp, "127.0.0.1:0", |how| how.errors = true);
    let other = peer();
    let (gone, alive) = (dead(3), other.local_addr().unwrap());
    let mut room = [0; 9];
    for round in 1..=3_usize {
        udp::with(&mut lp, h, |_, io| {
            for to in [gone[0], alive, gone[1], gone[2], alive] {
                assert_eq!(io.send(to, b"anyone?"), Sent::Queued);
            }
        });
        until(&mut lp, |lp| lp.get(h).protocol.errors.len() >= 3 * round);
        for _ in 0..2 {
            assert_eq!(other.recv_from(&mut room).unwrap().0, 7);
        }
    }
    settle(&mut lp);
    let errors = &lp.get(h).protocol.errors;
    assert_eq!(errors.len(), 9, "each once: {errors:?}");
    for (n, (to, error)) in errors.iter().enumerate() {
        assert_eq!((*to, error.kind()), (Some(gone[n % 3]), ErrorKind::ConnectionRefused));
    }
}

#[test]
fn hostile_27_without_asking_a_closed_port_is_silent() {
    let mut lp = new_loop();
    let (h, _) = clerk(&mut lp, "127.0.0.1:0", |_| {});
    let (other, gone) = (peer(), dead(1));
    let alive = other.local_addr().unwrap();
    for _ in 0..3 {
        udp::with(&mut lp, h, |_, io| {
            assert_eq!(io.send(gone[0], b"anyone?"), Sent::Queued);
            assert_eq!(io.send(alive, b"you"), Sent::Queued);
        });
        settle(&mut lp);
        assert_eq!(other.recv_from(&mut [0; 9]).unwrap().0, 3);
    }
    assert!(lp.get(h).protocol.errors.is_empty());
}

#[test]
fn many_errors_come_in_turns_and_all_of_them() {
    const COUNT: usize = 100;
    let mut lp = new_loop();
    let (h, _) = clerk(&mut lp, "127.0.0.1:0", |how| how.errors = true);
    let gone = dead(1)[0];
    udp::with(&mut lp, h, |_, io| {
        // Each longer than the one before, so that none are put together: one error for each.
        for len in 1..=COUNT {
            assert_eq!(io.send(gone, &vec![0; len]), Sent::Queued);
        }
    });
    until(&mut lp, |lp| lp.get(h).protocol.errors.len() >= COUNT);
    settle(&mut lp);
    assert_eq!(lp.get(h).protocol.errors.len(), COUNT);
}

#[test]
fn an_associated_socket_hears_each_error_once_too() {
    let mut lp = new_loop();
    let (h, _) = clerk(&mut lp, "127.0.0.1:0", |how| how.errors = true);
    let gone = dead(1)[0];
    udp::associate(&mut lp, h, gone).unwrap();
    for round in 1..=5 {
        udp::with(&mut lp, h, |_, io| assert_eq!(io.send(gone, b"anyone?"), Sent::Queued));
        until(&mut lp, |lp| lp.get(h).protocol.errors.len() >= round);
        settle(&mut lp);
        let errors = &lp.get(h).protocol.errors;
        assert_eq!(errors.len(), round, "{errors:?}");
        let (to, error) = &errors[round - 1];
        assert_eq!((*to, error.kind()), (Some(gone), ErrorKind::ConnectionRefused));
    }
}

#[test]
fn what_the_host_itself_refuses_is_told_once() {
    let mut lp = new_loop();
    let (h, _) = clerk(&mut lp, "127.0.0.1:0", |how| how.errors = true);
    let to = peer().local_addr().unwrap();
    udp::with(&mut lp, h, |_, io| assert_eq!(io.send(to, &[0; 65_536]), Sent::Queued));
    settle(&mut lp);
    let errors = &lp.get(h).protocol.errors;
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert_eq!((errors[0].0, errors[0].1.raw_os_error()), (Some(to), Some(90)));
}

/// The kernel keeps its own errors in the same queue as the network's: they have been told when
/// the datagram was sent, and are not told again from there.
#[test]
fn what_the_host_has_kept_of_its_own_errors_is_not_told_again() {
    // Short enough to be a datagram, too long for one of IPv4 with its headers.
    const LONG: usize = 65_520;
    let mut lp = new_loop();
    let (h, _) = clerk(&mut lp, "127.0.0.1:0", |how| how.errors = true);
    let other = peer();
    let (gone, alive) = (dead(1)[0], other.local_addr().unwrap());
    for round in 1..=3 {
        udp::with(&mut lp, h, |_, io| {
            for bytes in [&[0; LONG][..], b"anyone?"] {
                assert_eq!(io.send(alive, bytes), Sent::Queued);
            }
            assert_eq!(io.send(gone, b"anyone?"), Sent::Queued);
        });
        until(&mut lp, |lp| lp.get(h).protocol.errors.len() >= 2 * round);
        settle(&mut lp);
        assert_eq!(other.recv_from(&mut [0; 9]).unwrap().0, 7);
    }
    let errors = &lp.get(h).protocol.errors;
    let told: Vec<_> = errors.iter().map(|(to, e)| (*to, e.raw_os_error())).collect();
    let each = [(Some(alive), Some(90)), (Some(gone), Some(111))];
    assert_eq!(told, each.repeat(3));
}
