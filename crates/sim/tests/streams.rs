//! Streams of the simulated world, one promise a test, on a perfect network.

mod support;

use loopwork_reactor::{Address, Fd, ListenOptions, StreamOption, Streams, World};
use loopwork_sim::{Faults, SYN_TRIES, Sim, Waiting, percent};
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;
use support::*;

fn calm() -> Sim {
    Sim::with_faults(1, Faults::none())
}

#[test]
fn a_connection_stands_carries_bytes_both_ways_and_ends() {
    let mut sim = calm();
    let p = pair(&mut sim);
    assert_eq!(sim.write(p.client, b"ping").unwrap(), 4);
    assert_eq!(kind(sim.read(p.server, &mut [0; 9])), ErrorKind::WouldBlock);
    let ready = settle(&mut sim);
    assert!(told(&ready, id(3)).unwrap().readable);
    assert_eq!(drain(&mut sim, p.server).0, b"ping");
    assert_eq!(sim.write(p.server, b"pong!").unwrap(), 5);
    settle(&mut sim);
    let mut small = [0; 3];
    assert_eq!(sim.read(p.client, &mut small).unwrap(), 3);
    assert_eq!(&small, b"pon");
    assert_eq!(drain(&mut sim, p.client).0, b"g!");
    sim.close(p.client);
    let end = told(&settle(&mut sim), id(3)).unwrap();
    assert!(end.readable && end.closed && !end.gone);
    assert_eq!(sim.read(p.server, &mut small).unwrap(), 0);
    sim.close(p.server);
    sim.close(p.listener);
    assert_eq!(sim.open(), 0);
}

#[test]
fn connected_says_not_yet_and_a_readiness_says_when() {
    let mut sim = calm();
    let (_, at) = sim.listen(&tcp(0), &ListenOptions::default(), id(1)).unwrap();
    let client = sim.connect(&at, None, id(2)).unwrap();
    assert_eq!(kind(sim.connected(client)), ErrorKind::WouldBlock);
    assert_eq!(kind(sim.read(client, &mut [0])), ErrorKind::WouldBlock);
    assert_eq!(kind(sim.write(client, b"x")), ErrorKind::WouldBlock);
    assert_eq!(kind(sim.shutdown(client)), ErrorKind::NotConnected);
    assert_eq!(kind(sim.peer(client)), ErrorKind::NotConnected);
    let ready = settle(&mut sim);
    assert!(told(&ready, id(2)).unwrap().writable);
    assert!(told(&ready, id(1)).unwrap().readable);
    sim.connected(client).unwrap();
}

#[test]
fn nobody_listens_is_refused_behind_a_readiness() {
    let mut sim = calm();
    let client = sim.connect(&tcp(9), None, id(2)).unwrap();
    let told = told(&settle(&mut sim), id(2)).unwrap();
    assert!(told.writable && told.readable && told.gone && told.closed);
    assert_eq!(kind(sim.connected(client)), ErrorKind::ConnectionRefused);
    assert_eq!(kind(sim.connected(client)), ErrorKind::ConnectionRefused);
}

fn unix(path: &str) -> Address {
    Address::Unix(PathBuf::from(path))
}

/// Writes until `WouldBlock`: how much went.
fn fill(sim: &mut Sim, fd: Fd) -> usize {
    let mut sum = 0;
    loop {
        match sim.write(fd, &[7; 10_000]) {
            Ok(n) => sum += n,
            Err(e) if e.kind() == ErrorKind::WouldBlock => return sum,
            Err(e) => panic!("{e}"),
        }
    }
}

#[test]
fn a_full_window_blocks_and_room_is_told() {
    let mut sim = calm();
    let p = pair(&mut sim);
    assert_eq!(fill(&mut sim, p.client), 65_536);
    let quiet = told(&settle(&mut sim), id(2));
    assert_eq!(quiet, None, "no room, no readiness");
    let mut some = [0; 1000];
    sim.read(p.server, &mut some).unwrap();
    assert_eq!(told(&settle(&mut sim), id(2)), None, "little room is not worth a wake");
    assert_eq!(drain(&mut sim, p.server).0.len(), 64_536);
    assert!(told(&settle(&mut sim), id(2)).unwrap().writable);
    assert_eq!(fill(&mut sim, p.client), 65_536);
}

#[test]
fn buffers_can_be_set() {
    let mut sim = calm();
    let p = pair(&mut sim);
    sim.set(p.server, StreamOption::ReceiveBuffer(1000)).unwrap();
    assert_eq!(fill(&mut sim, p.client), 1000);
    settle(&mut sim);
    sim.set(p.server, StreamOption::ReceiveBuffer(5000)).unwrap();
    assert!(told(&settle(&mut sim), id(2)).unwrap().writable);
    assert_eq!(fill(&mut sim, p.client), 4000);
    sim.set(p.server, StreamOption::SendBuffer(10)).unwrap();
    assert_eq!(fill(&mut sim, p.server), 10);
    assert!(told(&settle(&mut sim), id(3)).unwrap().writable, "what arrived leaves room");
    assert_eq!(fill(&mut sim, p.server), 10);
}

#[test]
fn options_of_tcp_are_unsupported_elsewhere() {
    let mut sim = calm();
    let p = pair(&mut sim);
    sim.set(p.client, StreamOption::NoDelay(false)).unwrap();
    sim.set(p.client, StreamOption::KeepAlive(Some(Duration::from_secs(1).into()))).unwrap();
    let u = pair_at(&mut calm(), &unix("/a"));
    let mut sim = calm();
    let same = pair_at(&mut sim, &unix("/a"));
    assert_eq!(same.client, u.client);
    for option in [StreamOption::NoDelay(true), StreamOption::KeepAlive(None)] {
        assert_eq!(kind(sim.set(same.client, option)), ErrorKind::Unsupported);
    }
    sim.set(same.client, StreamOption::ReceiveBuffer(1)).unwrap();
}

#[test]
fn an_end_comes_behind_the_bytes_and_is_told_with_them() {
    let mut sim = calm();
    let p = pair(&mut sim);
    sim.write(p.client, b"last").unwrap();
    sim.shutdown(p.client).unwrap();
    sim.shutdown(p.client).unwrap();
    assert_eq!(kind(sim.write(p.client, b"x")), ErrorKind::BrokenPipe);
    let mut ready = Vec::new();
    sim.poll(None, &mut ready).unwrap();
    let now = told(&ready, id(3)).unwrap();
    assert!(now.readable && now.closed, "one poll tells both: a short read is not dry");
    assert_eq!(drain(&mut sim, p.server).0, b"last");
    assert_eq!(told(&settle(&mut sim), id(3)), None, "and it is told once");
}

#[test]
fn half_closed_the_other_direction_goes_on() {
    let mut sim = calm();
    let p = pair(&mut sim);
    sim.shutdown(p.client).unwrap();
    settle(&mut sim);
    assert_eq!(sim.read(p.server, &mut [0; 9]).unwrap(), 0);
    for _ in 0..3 {
        assert_eq!(sim.write(p.server, b"still").unwrap(), 5);
        settle(&mut sim);
        assert_eq!(drain(&mut sim, p.client).0, b"still");
    }
    sim.shutdown(p.server).unwrap();
    settle(&mut sim);
    assert_eq!(sim.read(p.client, &mut [0; 9]).unwrap(), 0);
}

#[test]
fn close_lets_go_out_what_was_written() {
    let mut sim = calm();
    let p = pair(&mut sim);
    let written = fill(&mut sim, p.client);
    sim.close(p.client);
    settle(&mut sim);
    let (got, end) = drain(&mut sim, p.server);
    assert_eq!((got.len(), end.is_ok()), (written, true));
}

#[test]
fn a_reset_loses_what_is_under_way_and_is_told_as_gone() {
    let mut sim = Sim::with_faults(1, Faults { lose_input: percent(100), ..Faults::none() });
    let p = pair(&mut sim);
    sim.write(p.client, b"arrived, not read").unwrap();
    settle(&mut sim);
    sim.reset(p.client);
    let now = told(&settle(&mut sim), id(3)).unwrap();
    assert!(now.gone && now.closed && now.readable && now.writable);
    assert_eq!(kind(sim.shutdown(p.server)), ErrorKind::NotConnected);
    assert_eq!(kind(sim.peer(p.server)), ErrorKind::NotConnected);
    assert_eq!(kind(sim.read(p.server, &mut [0; 9])), ErrorKind::ConnectionReset);
    // As Linux has it: the error is told once, then it looks like an end.
    assert_eq!(sim.read(p.server, &mut [0; 9]).unwrap(), 0);
    assert_eq!(kind(sim.write(p.server, b"x")), ErrorKind::BrokenPipe);
}

#[test]
fn linux_keeps_what_had_arrived_before_a_reset() {
    let mut sim = calm();
    let p = pair(&mut sim);
    sim.write(p.client, b"answer").unwrap();
    settle(&mut sim);
    sim.reset(p.client);
    settle(&mut sim);
    let (got, end) = drain(&mut sim, p.server);
    assert_eq!(got, b"answer");
    assert_eq!(kind(end), ErrorKind::ConnectionReset);
}

#[test]
fn close_with_unread_input_resets_the_peer() {
    for place in [tcp(0), unix("/u")] {
        let mut sim = calm();
        let p = pair_at(&mut sim, &place);
        sim.write(p.client, b"never read").unwrap();
        settle(&mut sim);
        sim.close(p.server);
        assert!(told(&settle(&mut sim), id(2)).unwrap().gone);
        assert_eq!(kind(sim.read(p.client, &mut [0; 9])), ErrorKind::ConnectionReset);
    }
}

#[test]
fn writing_to_who_has_closed_is_answered_by_a_reset() {
    let mut sim = calm();
    let p = pair(&mut sim);
    sim.write(p.server, b"bye").unwrap();
    sim.close(p.server);
    assert!(!told(&settle(&mut sim), id(2)).unwrap().gone);
    assert_eq!(sim.write(p.client, b"x").unwrap(), 1);
    assert!(told(&settle(&mut sim), id(2)).unwrap().gone);
    assert_eq!(kind(sim.write(p.client, b"x")), ErrorKind::BrokenPipe);
    let (got, end) = drain(&mut sim, p.client);
    assert_eq!(got, b"bye");
    assert!(end.is_ok(), "the end had come before: nothing is missing");
}

#[test]
fn a_unix_peer_that_has_closed_is_noticed_at_once() {
    let mut sim = calm();
    let p = pair_at(&mut sim, &unix("/u"));
    sim.close(p.server);
    assert_eq!(kind(sim.write(p.client, b"x")), ErrorKind::BrokenPipe);
}

#[test]
fn unix_paths_are_addresses() {
    let mut sim = calm();
    assert_eq!(kind(sim.connect(&unix("/none"), None, id(9))), ErrorKind::NotFound);
    let p = pair_at(&mut sim, &unix("\0abstract"));
    assert_eq!(p.at, unix("\0abstract"));
    assert_eq!(sim.local(p.server).unwrap(), p.at);
    assert_eq!(sim.peer(p.client).unwrap(), p.at);
    assert_eq!(sim.peer(p.server).unwrap(), unix(""));
    let options = ListenOptions::default();
    assert_eq!(kind(sim.listen(&p.at, &options, id(9))), ErrorKind::AddrInUse);
    sim.close(p.listener);
    sim.listen(&p.at, &options, id(9)).unwrap();
}

#[test]
fn addresses_are_told_as_the_kernel_tells_them() {
    let mut sim = calm();
    let p = pair(&mut sim);
    assert_eq!(sim.peer(p.client).unwrap(), p.at);
    assert_eq!(sim.local(p.server).unwrap(), p.at);
    let local = sim.local(p.client).unwrap().ip().unwrap();
    assert!(local.ip().is_loopback() && local.port() >= 32_768);
    assert_eq!(sim.peer(p.server).unwrap().ip(), Some(local));
    let from = at(4321);
    let client = sim.connect(&p.at, Some(from), id(5)).unwrap();
    assert_eq!(sim.local(client).unwrap().ip(), Some(from));
    assert_eq!(kind(sim.connect(&p.at, Some(from), id(6))), ErrorKind::AddrInUse);
    sim.close(client);
    sim.connect(&p.at, Some(from), id(7)).unwrap();
}

#[test]
fn ipv6_for_all_sees_ipv4_mapped() {
    let mut sim = calm();
    let any = Address::Ip((Ipv6Addr::UNSPECIFIED, 80).into());
    let (listener, _) = sim.listen(&any, &ListenOptions::default(), id(1)).unwrap();
    let client = sim.connect(&tcp(80), None, id(2)).unwrap();
    settle(&mut sim);
    let (server, peer) = sim.accept(listener, id(3)).unwrap();
    assert_eq!(peer, sim.peer(server).unwrap());
    let mapped = Ipv4Addr::LOCALHOST.to_ipv6_mapped();
    assert_eq!(peer.ip().unwrap().ip(), mapped);
    assert_eq!(sim.local(server).unwrap().ip(), Some((mapped, 80).into()));
    assert_eq!(sim.peer(client).unwrap(), tcp(80));

    let mut only = ListenOptions::default();
    only.ipv6_only = true;
    let alone = Address::Ip((Ipv6Addr::UNSPECIFIED, 81).into());
    sim.listen(&alone, &only, id(4)).unwrap();
    let client = sim.connect(&tcp(81), None, id(5)).unwrap();
    settle(&mut sim);
    assert_eq!(kind(sim.connected(client)), ErrorKind::ConnectionRefused);
}

#[test]
fn an_address_is_listened_on_once_or_shared_by_all() {
    let mut sim = calm();
    let (mut options, zero) = (ListenOptions::default(), Ipv4Addr::UNSPECIFIED);
    let (first, place) = sim.listen(&tcp(0), &options, id(1)).unwrap();
    let port = place.ip().unwrap().port();
    assert_ne!(port, 0);
    for again in [place.clone(), Address::Ip(SocketAddr::from((zero, port)))] {
        assert_eq!(kind(sim.listen(&again, &options, id(2))), ErrorKind::AddrInUse);
    }
    sim.close(first);
    options.reuse_port = true;
    for n in 10..14 {
        sim.listen(&place, &options, id(n)).unwrap();
    }
    for n in 20..60 {
        sim.connect(&place, None, id(n)).unwrap();
    }
    let ready = settle(&mut sim);
    assert!((10..14).all(|n| told(&ready, id(n)).is_some()), "each gets its share");
}

#[test]
fn a_full_accept_queue_delays_and_at_last_times_out() {
    let mut sim = calm();
    let mut options = ListenOptions::default();
    options.backlog = 2;
    let (listener, place) = sim.listen(&tcp(0), &options, id(1)).unwrap();
    let clients: Vec<Fd> = (2..6).map(|n| sim.connect(&place, None, id(n)).unwrap()).collect();
    poll(&mut sim);
    poll(&mut sim);
    assert_eq!(kind(sim.connected(clients[2])), ErrorKind::WouldBlock);
    assert_eq!(sim.stats().syn_drops, 2);
    // Two leave the queue, and the next SYN of the third finds room.
    sim.accept(listener, id(6)).unwrap();
    while sim.connected(clients[2]).is_err() && sim.connected(clients[3]).is_err() {
        assert!(!poll(&mut sim).is_empty() || sim.time().0 < 3_000_000_000);
    }
    settle(&mut sim);
    let late = [clients[2], clients[3]].map(|fd| sim.connected(fd).err().map(|e| e.kind()));
    assert!(late.contains(&None) && late.contains(&Some(ErrorKind::TimedOut)), "{late:?}");
    let waited = sim.time().0 / 1_000_000_000;
    assert_eq!(waited, (1 << SYN_TRIES) - 1, "seconds, doubling");
    let full = unix("/full");
    options.backlog = 1;
    sim.listen(&full, &options, id(7)).unwrap();
    sim.connect(&full, None, id(8)).unwrap();
    assert_eq!(kind(sim.connect(&full, None, id(9))), ErrorKind::WouldBlock);
}

#[test]
fn closing_a_listener_resets_who_waits() {
    let mut sim = calm();
    let (listener, place) = sim.listen(&tcp(0), &ListenOptions::default(), id(1)).unwrap();
    let client = sim.connect(&place, None, id(2)).unwrap();
    settle(&mut sim);
    sim.close(listener);
    assert!(told(&settle(&mut sim), id(2)).unwrap().gone);
    assert_eq!(kind(sim.read(client, &mut [0])), ErrorKind::ConnectionReset);
    let late = sim.connect(&place, None, id(3)).unwrap();
    settle(&mut sim);
    assert_eq!(kind(sim.connected(late)), ErrorKind::ConnectionRefused);
}

#[test]
fn closing_before_it_stands_resets_the_server_end() {
    let mut sim = calm();
    let (listener, place) = sim.listen(&tcp(0), &ListenOptions::default(), id(1)).unwrap();
    let client = sim.connect(&place, None, id(2)).unwrap();
    // The SYN has arrived, its answer has not.
    while told(&poll(&mut sim), id(1)).is_none() {}
    sim.close(client);
    settle(&mut sim);
    let (server, _) = sim.accept(listener, id(3)).unwrap();
    assert!(told(&settle(&mut sim), id(3)).unwrap().gone);
    assert_eq!(kind(sim.read(server, &mut [0])), ErrorKind::ConnectionReset);
}

#[test]
fn bytes_that_came_before_the_accept_are_told_behind_it() {
    let mut sim = calm();
    let (listener, place) = sim.listen(&tcp(0), &ListenOptions::default(), id(1)).unwrap();
    let client = sim.connect(&place, None, id(2)).unwrap();
    settle(&mut sim);
    sim.write(client, b"early").unwrap();
    assert_eq!(settle(&mut sim), [], "nobody is there to be told");
    let (server, _) = sim.accept(listener, id(3)).unwrap();
    let now = told(&poll(&mut sim), id(3)).unwrap();
    assert!(now.readable && now.writable);
    assert_eq!(drain(&mut sim, server).0, b"early");
    assert_eq!(kind(sim.accept(listener, id(4))), ErrorKind::WouldBlock);
}

#[test]
fn accept_errors_abort_one_or_leave_it_waiting() {
    let mut sim = Sim::with_faults(1, Faults { abort: percent(100), ..Faults::none() });
    let (listener, place) = sim.listen(&tcp(0), &ListenOptions::default(), id(1)).unwrap();
    let client = sim.connect(&place, None, id(2)).unwrap();
    settle(&mut sim);
    assert_eq!(kind(sim.accept(listener, id(3))), ErrorKind::ConnectionAborted);
    assert_eq!(kind(sim.accept(listener, id(3))), ErrorKind::WouldBlock);
    assert!(told(&settle(&mut sim), id(2)).unwrap().gone);
    sim.close(client);

    sim.faults().abort = 0;
    sim.connect(&place, None, id(4)).unwrap();
    settle(&mut sim);
    sim.faults().no_descriptor = percent(100);
    let full = sim.accept(listener, id(5)).unwrap_err();
    assert_eq!(full.raw_os_error(), Some(24));
    assert_eq!(settle(&mut sim), [], "no readiness is promised for it");
    sim.faults().no_descriptor = 0;
    sim.accept(listener, id(5)).unwrap();
    let open = sim.open();
    sim.faults().descriptors = open;
    assert_eq!(sim.connect(&place, None, id(6)).unwrap_err().raw_os_error(), Some(24));
    let other = sim.listen(&tcp(0), &ListenOptions::default(), id(7));
    assert_eq!(other.unwrap_err().raw_os_error(), Some(24));
}

#[test]
fn other_accept_errors_are_of_five_kinds_and_one_takes_the_connection_along() {
    const EPROTO: i32 = 71;
    let mut sim = Sim::with_faults(1, Faults { accept_error: percent(100), ..Faults::none() });
    let (listener, place) = sim.listen(&tcp(0), &ListenOptions::default(), id(1)).unwrap();
    let mut seen = BTreeSet::new();
    for n in 2..100 {
        sim.faults().accept_error = percent(100);
        let client = sim.connect(&place, None, id(n)).unwrap();
        settle(&mut sim);
        let code = sim.accept(listener, id(n + 100)).unwrap_err().raw_os_error().unwrap();
        seen.insert(code);
        let gone = told(&settle(&mut sim), id(n)).is_some_and(|ready| ready.gone);
        assert_eq!(gone, code == EPROTO, "{code}");
        sim.faults().accept_error = 0;
        match sim.accept(listener, id(n + 100)) {
            Ok((server, _)) => sim.close(server),
            Err(e) => assert_eq!((e.kind(), code), (ErrorKind::WouldBlock, EPROTO)),
        }
        sim.close(client);
        settle(&mut sim);
    }
    assert!(seen.into_iter().eq([4, 12, 23, EPROTO, 105]), "each of them");
    assert_eq!(sim.stats().accept_errors, 98);
}

/// What is told and not asked for stays unserved; who has asked is served.
#[test]
fn what_nobody_asks_for_is_unserved() {
    let mut sim = calm();
    let of = |sim: &mut Sim| sim.unserved().map(|u| (u.id, u.polls, u.what)).collect::<Vec<_>>();
    let (listener, place) = sim.listen(&tcp(0), &ListenOptions::default(), id(1)).unwrap();
    let client = sim.connect(&place, None, id(2)).unwrap();
    while of(&mut sim).is_empty() {
        poll(&mut sim);
    }
    let (first, at) = (sim.stats().polls, sim.unserved().next().unwrap().at);
    settle(&mut sim);
    assert_eq!(of(&mut sim), [(id(1), first, Waiting::Connections)]);
    assert_eq!(sim.unserved().next().unwrap().at, at, "it waits since then");
    sim.faults().no_descriptor = percent(100);
    sim.accept(listener, id(3)).unwrap_err();
    let since = sim.unserved().next().unwrap().at;
    assert!(since > at, "it was asked, and waits on");
    sim.faults().no_descriptor = 0;
    let (server, _) = sim.accept(listener, id(3)).unwrap();
    settle(&mut sim);
    assert_eq!(of(&mut sim), [], "nobody waits, and there is nothing to read");
    sim.write(client, b"abcdef").unwrap();
    settle(&mut sim);
    let told = sim.unserved().next().unwrap();
    assert_eq!((told.id, told.what), (id(3), Waiting::Bytes));
    // As much as there was room for: there may be more, and it is known.
    assert_eq!(sim.read(server, &mut [0; 3]).unwrap(), 3);
    let polls = sim.stats().polls;
    assert_eq!(of(&mut sim), [(id(3), polls, Waiting::Bytes)]);
    assert_eq!(sim.read(server, &mut [0; 4]).unwrap(), 3);
    assert_eq!(of(&mut sim), []);
    sim.shutdown(client).unwrap();
    settle(&mut sim);
    assert_eq!(of(&mut sim).len(), 1, "an end is to be read");
    assert_eq!(sim.read(server, &mut [0; 4]).unwrap(), 0);
    sim.write(server, b"x").unwrap();
    settle(&mut sim);
    assert_eq!(of(&mut sim), [(id(2), sim.unserved().next().unwrap().polls, Waiting::Bytes)]);
    sim.close(client);
    settle(&mut sim);
    assert!(of(&mut sim).iter().all(|(id, ..)| id.birth == 3), "who is closed waits for nothing");
}

#[test]
fn a_cut_or_blocked_call_is_owed_a_readiness() {
    let faults = Faults {
        cut_read: percent(100),
        block_read: percent(30),
        cut_write: percent(100),
        block_write: percent(30),
        ..Faults::none()
    };
    let mut sim = Sim::with_faults(1, faults);
    let p = pair(&mut sim);
    let (text, mut sent, mut got) = ([9; 300], 0, 0);
    while sent < text.len() {
        sent += sim.write(p.client, &text[sent..]).unwrap_or(0);
        if sent < text.len() {
            assert!(told(&settle(&mut sim), id(2)).unwrap().writable);
        }
    }
    settle(&mut sim);
    while got < text.len() {
        got += sim.read(p.server, &mut [0; 999]).unwrap_or(0);
        if got < text.len() {
            assert!(told(&settle(&mut sim), id(3)).unwrap().readable);
        }
    }
}

#[test]
fn a_call_on_the_wrong_kind_of_socket_is_an_error() {
    let mut sim = calm();
    let p = pair(&mut sim);
    assert_eq!(kind(sim.read(p.listener, &mut [0])), ErrorKind::InvalidInput);
    assert_eq!(kind(sim.accept(p.client, id(9))), ErrorKind::InvalidInput);
    assert_eq!(kind(sim.write(Fd(999), b"x")), ErrorKind::InvalidInput);
    sim.close(p.client);
    sim.close(p.client);
    sim.reset(Fd(999));
    assert_eq!(kind(sim.read(p.client, &mut [0])), ErrorKind::InvalidInput);
    assert_eq!(sim.open(), 2);
}
