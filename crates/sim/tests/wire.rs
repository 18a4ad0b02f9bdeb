//! Loss, partitions, peers that vanish, `TIME_WAIT`, ports that run out, Nagle's algorithm: what a
//! kernel makes of each, at the times at which it does.

mod support;

use loopwork_reactor::{ConnectOptions, KeepAlive, ListenOptions, StreamOption, Streams, World};
use loopwork_sim::{ALWAYS, DELAYED_ACK, Faults, Sim, TIME_WAIT, Way, percent};
use std::io::ErrorKind;
use std::time::Duration;
use support::{at, drain, id, kind, pair, poll, settle, tcp, told};

fn calm() -> Sim {
    Sim::with_faults(1, Faults::none())
}

/// How long `f` takes, in virtual time.
fn time(sim: &mut Sim, f: impl FnOnce(&mut Sim)) -> Duration {
    let begun = sim.time();
    f(sim);
    sim.time().since(begun)
}

fn near(time: Duration, seconds: f64) {
    let off = (time.as_secs_f64() - seconds).abs();
    assert!(off < 0.01, "{time:?}, and not {seconds} s");
}

#[test]
fn a_lost_segment_comes_later_and_in_order() {
    let mut sim = calm();
    let p = pair(&mut sim);
    sim.faults().drop = ALWAYS;
    assert_eq!(sim.write(p.client, b"one ").unwrap(), 4);
    sim.faults().drop = 0;
    assert_eq!(sim.write(p.client, b"two").unwrap(), 3);
    sim.shutdown(p.client).unwrap();
    let late = time(&mut sim, |sim| drop(poll(sim)));
    near(late, 0.2);
    settle(&mut sim);
    let (bytes, end) = drain(&mut sim, p.server);
    assert!(bytes == b"one two" && end.is_ok(), "{bytes:?} {end:?}");
    assert_eq!(sim.stats().dropped_segments, 1);
}

#[test]
fn who_sends_in_vain_times_out_after_fifteen_retransmissions() {
    let mut sim = calm();
    let p = pair(&mut sim);
    sim.faults().drop = ALWAYS;
    sim.write(p.client, b"x").unwrap();
    let mut ready = Vec::new();
    let took = time(&mut sim, |sim| ready = settle(sim));
    near(took, 924.6);
    let gone = told(&ready, id(2)).unwrap();
    assert!(gone.gone && gone.readable);
    assert_eq!(kind(sim.read(p.client, &mut [0; 9])), ErrorKind::TimedOut);
    assert_eq!(sim.read(p.client, &mut [0; 9]).unwrap(), 0, "an error comes once");
    assert!(told(&ready, id(3)).is_none(), "the peer has heard nothing");
}

#[test]
fn a_user_timeout_ends_it_sooner() {
    let mut sim = calm();
    let p = pair(&mut sim);
    let limit = Some(Duration::from_secs(5));
    sim.set(p.client, StreamOption::UserTimeout(limit)).unwrap();
    sim.faults().drop = ALWAYS;
    sim.write(p.client, b"x").unwrap();
    // The first retransmission behind the limit: 0.2, 0.6, 1.4, 3, 6.2 s.
    let took = time(&mut sim, |sim| drop(settle(sim)));
    near(took, 6.2);
    assert_eq!(kind(sim.read(p.client, &mut [0; 9])), ErrorKind::TimedOut);
}

#[test]
fn a_dial_without_answer_times_out_after_127_seconds() {
    let mut sim = calm();
    sim.listen(&tcp(80), &ListenOptions::default(), id(1)).unwrap();
    sim.partition(Way::ToServer, Duration::MAX);
    let client = sim.connect(&tcp(80), None, id(2)).unwrap();
    near(time(&mut sim, |sim| drop(settle(sim))), 127.0);
    assert_eq!(kind(sim.connected(client)), ErrorKind::TimedOut);
}

#[test]
fn a_partition_of_one_direction_holds_that_one_and_heals() {
    let mut sim = calm();
    let p = pair(&mut sim);
    sim.partition(Way::ToClient, Duration::from_secs(3600));
    sim.write(p.client, b"to the server").unwrap();
    sim.write(p.server, b"to the client").unwrap();
    assert!(told(&poll(&mut sim), id(3)).is_some_and(|r| r.readable));
    assert_eq!(drain(&mut sim, p.server).0, b"to the server");
    assert_eq!(kind(sim.read(p.client, &mut [0; 99])), ErrorKind::WouldBlock);
    sim.heal();
    settle(&mut sim);
    assert_eq!(drain(&mut sim, p.client).0, b"to the client");
}

#[test]
fn a_reset_that_is_lost_leaves_the_peer_half_open_until_it_speaks() {
    let mut sim = calm();
    let p = pair(&mut sim);
    sim.partition(Way::ToServer, Duration::from_secs(1));
    sim.reset(p.client);
    assert!(settle(&mut sim).is_empty(), "nobody is told");
    sim.jump(Duration::from_secs(2));
    assert_eq!(sim.write(p.server, b"there?").unwrap(), 6);
    assert!(told(&settle(&mut sim), id(3)).is_some_and(|r| r.gone));
    assert_eq!(kind(sim.read(p.server, &mut [0; 9])), ErrorKind::ConnectionReset);
}

#[test]
fn a_vanished_peer_is_silence_unless_probed() {
    let mut sim = calm();
    let p = pair(&mut sim);
    sim.vanish(p.client).unwrap();
    assert!(settle(&mut sim).is_empty(), "nobody is told, ever");
    let keep = KeepAlive {
        idle: Duration::from_secs(10),
        interval: Some(Duration::from_secs(2)),
        count: Some(3),
    };
    sim.set(p.server, StreamOption::KeepAlive(Some(keep))).unwrap();
    let mut ready = Vec::new();
    near(time(&mut sim, |sim| ready = settle(sim)), 16.0);
    assert!(told(&ready, id(3)).is_some_and(|r| r.gone));
    assert_eq!(kind(sim.read(p.server, &mut [0; 9])), ErrorKind::TimedOut);
    assert!(told(&ready, id(2)).is_none());
}

#[test]
fn a_listeners_keep_alive_is_its_connections() {
    let mut sim = calm();
    let mut how = ListenOptions::default();
    how.keepalive = Some(Duration::from_secs(60).into());
    let (listener, there) = sim.listen(&tcp(0), &how, id(1)).unwrap();
    let client = sim.connect(&there, None, id(2)).unwrap();
    settle(&mut sim);
    let (server, _) = sim.accept(listener, id(3)).unwrap();
    settle(&mut sim);
    sim.vanish(client).unwrap();
    // 60 s, then nine probes 75 s apart; the sender's own patience is over later.
    near(time(&mut sim, |sim| drop(poll_until(sim, 3))), 60.0 + 9.0 * 75.0);
    assert_eq!(kind(sim.read(server, &mut [0; 9])), ErrorKind::TimedOut);
}

/// Polls until something is told to the `n`th.
fn poll_until(sim: &mut Sim, n: u64) -> Vec<loopwork_reactor::Ready> {
    let mut ready = Vec::new();
    while told(&ready, id(n)).is_none() {
        sim.poll(None, &mut ready).unwrap();
        assert!(!sim.idle(), "nothing comes");
    }
    ready
}

#[test]
fn a_full_window_whose_reader_vanished_times_out() {
    let mut sim = calm();
    let p = pair(&mut sim);
    let wrote = sim.write(p.client, &[7; 100_000]).unwrap();
    settle(&mut sim);
    assert_eq!(kind(sim.write(p.client, b"x")), ErrorKind::WouldBlock, "behind {wrote}");
    sim.vanish(p.server).unwrap();
    assert!(told(&settle(&mut sim), id(2)).is_some_and(|r| r.gone));
    assert_eq!(kind(sim.write(p.client, b"x")), ErrorKind::TimedOut);
}

#[test]
fn who_ends_first_keeps_its_port_for_a_minute() {
    for client_first in [true, false] {
        let mut sim = calm();
        let p = pair(&mut sim);
        let from = sim.local(p.client).unwrap().ip().unwrap();
        let (first, second) =
            if client_first { (p.client, p.server) } else { (p.server, p.client) };
        sim.close(first);
        settle(&mut sim);
        sim.close(second);
        settle(&mut sim);
        let again = sim.connect(&p.at, Some(from), id(4));
        assert_eq!(again.is_err(), client_first);
        if client_first {
            assert_eq!(kind(again), ErrorKind::AddrInUse);
            sim.listen(&tcp(81), &ListenOptions::default(), id(5)).unwrap();
            sim.connect(&tcp(81), Some(from), id(6)).expect("to another peer");
            sim.jump(Duration::from_nanos(TIME_WAIT));
            sim.connect(&p.at, Some(from), id(7)).expect("a minute later");
        }
    }
}

#[test]
fn a_reset_leaves_no_port_waiting() {
    let mut sim = calm();
    let p = pair(&mut sim);
    let from = sim.local(p.client).unwrap().ip().unwrap();
    sim.reset(p.client);
    settle(&mut sim);
    sim.connect(&p.at, Some(from), id(4)).expect("at once");
}

#[test]
fn hostile_24_ports_run_out_for_one_peer_and_not_for_another() {
    let mut sim = Sim::with_faults(1, Faults { ports: 50_000..=50_003, ..Faults::none() });
    for port in [80, 81] {
        sim.listen(&tcp(port), &ListenOptions::default(), id(port.into())).unwrap();
    }
    let fds: Vec<_> = (0..4).map(|n| sim.connect(&tcp(80), None, id(n)).unwrap()).collect();
    assert_eq!(kind(sim.connect(&tcp(80), None, id(4))), ErrorKind::AddrNotAvailable);
    sim.connect(&tcp(81), None, id(5)).expect("the same ports lead to another peer");
    settle(&mut sim);
    sim.close(fds[0]);
    assert_eq!(kind(sim.connect(&tcp(80), None, id(6))), ErrorKind::AddrNotAvailable, "it waits");
    sim.jump(Duration::from_nanos(TIME_WAIT));
    let fd = sim.connect(&tcp(80), None, id(7)).unwrap();
    assert!((50_000..=50_003).contains(&sim.local(fd).unwrap().ip().unwrap().port()));
}

#[test]
fn nagle_holds_a_short_piece_until_the_one_before_is_acknowledged() {
    for nodelay in [true, false] {
        let mut sim = calm();
        let p = pair(&mut sim);
        sim.set(p.client, StreamOption::NoDelay(nodelay)).unwrap();
        sim.write(p.client, b"head").unwrap();
        sim.write(p.client, b"body").unwrap();
        let took = time(&mut sim, |sim| drop(settle(sim)));
        assert_eq!(drain(&mut sim, p.server).0, b"headbody");
        assert_eq!(took >= DELAYED_ACK, !nodelay, "{took:?}");
        // A whole segment does not wait.
        sim.write(p.client, b"head").unwrap();
        sim.write(p.client, &[7; 1460]).unwrap();
        assert!(time(&mut sim, |sim| drop(settle(sim))) < DELAYED_ACK);
    }
}

#[test]
fn a_write_without_memory_takes_nothing_and_promises_nothing() {
    let mut sim = calm();
    let p = pair(&mut sim);
    sim.faults().no_memory = ALWAYS;
    assert_eq!(kind(sim.write(p.client, b"x")), ErrorKind::OutOfMemory);
    assert!(settle(&mut sim).is_empty());
    sim.faults().no_memory = 0;
    assert_eq!(sim.write(p.client, b"x").unwrap(), 1);
    assert_eq!(sim.stats().starved, 1);
}

#[test]
fn settings_before_the_connection_hold_for_it() {
    let mut sim = calm();
    let (_, there) = sim.listen(&tcp(0), &ListenOptions::default(), id(1)).unwrap();
    let mut how = ConnectOptions::default();
    how.settings.push(StreamOption::UserTimeout(Some(Duration::from_secs(1))));
    let client = sim.connect_with(&there, None, &how, id(2)).unwrap();
    settle(&mut sim);
    sim.faults().drop = ALWAYS;
    sim.write(client, b"x").unwrap();
    near(time(&mut sim, |sim| drop(settle(sim))), 1.4);
}

#[test]
fn a_unix_socket_has_no_network_that_could_lose_anything() {
    let faults = Faults { drop: ALWAYS, partition: percent(50), ..Faults::none() };
    let mut sim = Sim::with_faults(1, faults);
    let p = support::pair_at(&mut sim, &loopwork_reactor::Address::Unix("/run/s".into()));
    sim.write(p.client, b"x").unwrap();
    settle(&mut sim);
    assert_eq!(drain(&mut sim, p.server).0, b"x");
    assert_eq!(sim.stats().dropped_segments, 0);
    assert_eq!(kind(sim.listen(&p.at, &ListenOptions::default(), id(9))), ErrorKind::AddrInUse);
    assert_eq!(at(1).port(), 1);
}
