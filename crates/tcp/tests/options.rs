//! Options of hosts and dials: what a listener and a dial are told reaches the sockets, and what
//! cannot be had fails them.

mod support;

use loopwork_reactor::{Address, ConnectOptions, ListenOptions, Os, StreamOption};
use loopwork_sim::Sim;
use loopwork_tcp::{Close, Dial, Refusal, dial, listen_at, socket};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use support::{
    On, PATIENCE, echo, finish, idle, more, peer, play, server, turn_until, until_closed,
};

/// A duplicate of a connection's socket.
fn see(
    lp: &mut loopwork_reactor::Loop<Os>,
    host: loopwork_reactor::Handle<loopwork_tcp::Host<support::Play>>,
    id: loopwork_reactor::Id,
) -> TcpStream {
    let fd = socket(lp, host, id).expect("it stands");
    lp.world.descriptor(fd).unwrap().try_clone_to_owned().unwrap().into()
}

fn refused(stream: &mut TcpStream) -> bool {
    stream.read(&mut [0; 1]).is_err_and(|e| e.kind() == ErrorKind::ConnectionReset)
}

#[test]
fn beyond_its_limit_a_host_turns_connections_away() {
    let (mut lp, host, at) = server(echo);
    lp.get(host).max_connections = Some(2);
    let (first, second) = (peer(at), peer(at));
    turn_until(&mut lp, |lp| lp.get(host).len() == 2);
    let mut third = peer(at);
    let mut fourth = peer(at);
    turn_until(&mut lp, |lp| lp.get(host).protocol.dropped.len() == 2);
    assert!(refused(&mut third) && refused(&mut fourth));
    let from = |stream: &TcpStream| Address::Ip(stream.local_addr().unwrap());
    let full = Refusal::Full(2);
    assert_eq!(lp.get(host).protocol.dropped, [(from(&third), full), (from(&fourth), full)]);
    assert_eq!(lp.get(host).protocol.peers, [from(&first), from(&second)], "nobody was asked");
    // Room for one is made by an end, for more by a new limit.
    drop(first);
    until_closed(&mut lp, host, 1);
    let fifth = peer(at);
    turn_until(&mut lp, |lp| lp.get(host).len() == 2);
    lp.get(host).max_connections = None;
    let sixth = peer(at);
    turn_until(&mut lp, |lp| lp.get(host).len() == 3);
    // None at all; those that stand do not mind.
    lp.get(host).max_connections = Some(0);
    let mut last = peer(at);
    turn_until(&mut lp, |lp| lp.get(host).protocol.dropped.len() == 3);
    assert!(refused(&mut last));
    assert_eq!(lp.get(host).len(), 3);
    drop((second, fifth, sixth));
    finish(&mut lp, host);
}

/// What is dialed takes its place in the count, and is not itself held back by it.
#[test]
fn dials_count_and_are_not_turned_away() {
    let (mut lp, host, at) = server(echo);
    let (other, _, elsewhere) = server(echo);
    lp.get(host).max_connections = Some(1);
    for n in 1..=2 {
        support::dial_to(&mut lp, host, elsewhere, PATIENCE);
        turn_until(&mut lp, |lp| lp.get(host).protocol.calls(n - 1) == ["open"]);
    }
    let mut late = peer(at);
    turn_until(&mut lp, |lp| lp.get(host).protocol.dropped.len() == 1);
    assert_eq!(lp.get(host).protocol.dropped[0].1, Refusal::Full(2));
    assert!(refused(&mut late));
    loopwork_tcp::shutdown(&mut lp.env, host);
    drop(other);
    until_closed(&mut lp, host, 2);
    finish(&mut lp, host);
}

/// As hard as it may be hit: nothing is left of thousands, and the others are served.
#[test]
fn hostile_23_a_flood_beyond_the_limit_leaves_nothing() {
    for seed in 0..20 {
        let (mut lp, host) = play(Sim::new(seed), echo);
        let at = support::open(&mut lp, host);
        lp.get(host).max_connections = Some(3);
        let dialer = more(&mut lp, |seat, io, on| match on {
            On::Open => {
                let _ = io.write(b"served");
                0
            }
            On::Data(bytes) => {
                seat.number += bytes.len() as u64;
                if seat.number == 6 {
                    io.end();
                }
                bytes.len()
            }
            _ => 0,
        });
        for _ in 0..200 {
            support::dial_to(&mut lp, dialer, at, PATIENCE);
        }
        until_closed(&mut lp, dialer, 200);
        let served = lp.get(dialer).protocol.seats.iter().filter(|s| s.number == 6).count();
        turn_until(&mut lp, |lp| lp.get(host).is_empty());
        let play = &lp.get(host).protocol;
        assert!(served >= 3 && play.given >= served, "{served} of {}", play.given);
        assert_eq!(play.given + play.dropped.len(), 200);
        assert!(play.dropped.iter().all(|(_, why)| *why == Refusal::Full(3)));
        finish(&mut lp, host);
        finish(&mut lp, dialer);
    }
}

/// Node's `pauseOnConnect`: whoever pauses in `on_open` is shown nothing before it resumes, however
/// much is there already.
#[test]
fn who_pauses_when_it_opens_is_shown_nothing() {
    let (mut lp, host, at) = server(|seat, io, on| match on {
        On::Open => {
            io.pause();
            0
        }
        On::Wake => {
            io.resume();
            0
        }
        On::Data(bytes) => {
            seat.got.extend_from_slice(bytes);
            bytes.len()
        }
        _ => echo(seat, io, on),
    });
    let mut stream = peer(at);
    stream.write_all(b"early").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    turn_until(&mut lp, |lp| lp.get(host).len() == 1);
    idle(&mut lp);
    assert_eq!(lp.get(host).protocol.calls(0), ["open"], "neither bytes nor the end");
    let id = lp.get(host).protocol.ids[0];
    assert_eq!(lp.get(host).conn(id).unwrap().got, b"");
    lp.env.wake(id);
    until_closed(&mut lp, host, 1);
    assert_eq!(lp.get(host).protocol.calls(0), ["open", "wake", "data", "end"]);
    assert_eq!(lp.get(host).protocol.seats[0].got, b"early");
    finish(&mut lp, host);
}

/// Node's `ref` and `unref`: what a host does not hold, the loop does not run for.
#[test]
fn a_loop_does_not_run_for_who_does_not_hold_it() {
    let (mut lp, host, at) = server(echo);
    let (first, second) = (peer(at), peer(at));
    turn_until(&mut lp, |lp| lp.get(host).len() == 2);
    assert!(lp.env.calls.alive());
    for _ in 0..2 {
        loopwork_tcp::hold(&mut lp, host, false);
        assert!(!lp.env.calls.alive());
    }
    lp.run().unwrap();
    assert_eq!(lp.get(host).len(), 2, "and all stand");
    // It serves on while something else holds the loop; who comes and goes counts for nothing.
    drop(first);
    until_closed(&mut lp, host, 1);
    let third = peer(at);
    turn_until(&mut lp, |lp| lp.get(host).len() == 2);
    assert!(!lp.env.calls.alive());
    loopwork_tcp::hold(&mut lp, host, true);
    assert!(lp.env.calls.alive());
    drop((second, third));
    until_closed(&mut lp, host, 3);
    assert!(lp.env.calls.alive(), "by the listener");
    finish(&mut lp, host);
    loopwork_tcp::hold(&mut lp, host, false);
    loopwork_tcp::hold(&mut lp, host, true);
    assert!(!lp.env.calls.alive(), "nothing is left to hold");
}

#[test]
fn a_dial_is_set_up_as_it_says() {
    let (mut lp, host, at) = server(echo);
    let dialer = more(&mut lp, echo);
    let mut how = ConnectOptions::default();
    how.settings = vec![StreamOption::NoDelay(false)];
    for how in [how, ConnectOptions::default()] {
        let nodelay = how.settings.is_empty();
        let conn = lp.get(dialer).protocol.seat();
        let dial = Dial { to: at.into(), from: None, timeout: PATIENCE, conn };
        dial.send_with(&mut lp.env, dialer, how);
        turn_until(&mut lp, |lp| lp.get(dialer).len() == 1);
        let id = lp.get(dialer).ids().next().unwrap();
        assert_eq!(see(&mut lp, dialer, id).nodelay().unwrap(), nodelay);
        loopwork_tcp::shutdown(&mut lp.env, dialer);
        turn_until(&mut lp, |lp| lp.get(dialer).is_empty());
        assert_eq!(socket(&mut lp, dialer, id), None, "it is gone");
    }
    finish(&mut lp, host);
    finish(&mut lp, dialer);
}

#[test]
fn a_dial_that_cannot_be_set_up_fails() {
    let at = Address::Unix(format!("\0loopwork-tcp-options-{}", std::process::id()).into());
    let (mut lp, host) = play(Os::new().unwrap(), echo);
    listen_at(&mut lp, host, &at, &ListenOptions::default()).unwrap();
    let dialer = more(&mut lp, echo);
    let mut how = ConnectOptions::default();
    how.settings = vec![StreamOption::NoDelay(false)];
    let conn = lp.get(dialer).protocol.seat();
    let failing = Dial { to: at.clone(), from: None, timeout: PATIENCE, conn };
    failing.send_with(&mut lp.env, dialer, how);
    until_closed(&mut lp, dialer, 1);
    assert_eq!(lp.get(dialer).protocol.closed, [(0, Close::Dial(ErrorKind::Unsupported))]);
    let conn = lp.get(dialer).protocol.seat();
    dial(&mut lp.env, dialer, at, conn);
    turn_until(&mut lp, |lp| lp.get(host).len() == 1);
    loopwork_tcp::shutdown(&mut lp.env, dialer);
    until_closed(&mut lp, dialer, 2);
    finish(&mut lp, host);
    finish(&mut lp, dialer);
}
