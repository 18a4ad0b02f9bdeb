//! Listening at names and connecting to them, over the loopback and in the simulated world. Every
//! wait is bounded. No name is looked up that the machine's own files do not answer.

use loopwork::reactor::blocking::JOBS;
use loopwork::reactor::{ListenOptions, Streams};
use loopwork::sim::Sim;
use loopwork::tcp::{self, Family, Host};
use loopwork::{Address, Close, Env, Handle, Id, Loop, Os, connect_name, listen_name, lookup};
use std::io::ErrorKind;
use std::time::{Duration, Instant};

/// Says its number when it stands, and gives back what it hears.
#[derive(Default)]
struct Both {
    opened: Vec<u8>,
    closed: Vec<(u8, Close)>,
}

impl tcp::Protocol for Both {
    type Conn = u8;
    fn on_accept(&mut self, _: &mut Env, _: Id, _: &Address) -> Option<u8> {
        Some(0)
    }
    fn on_open(&mut self, n: &mut u8, io: &mut tcp::Io<'_>) {
        if *n > 0 {
            self.opened.push(*n);
            let _ = io.write(&[*n]);
        }
    }
    fn on_data(&mut self, n: &mut u8, io: &mut tcp::Io<'_>, bytes: &mut [u8]) -> usize {
        match *n {
            0 => drop(io.write(bytes)),
            n => {
                assert_eq!(bytes, [n]);
                io.end();
            }
        }
        bytes.len()
    }
    fn on_close(&mut self, n: u8, _: Id, _: &mut Env, why: Close) {
        self.closed.push((n, why));
    }
}

fn turn_until<W: Streams>(lp: &mut Loop<W>, both: Handle<Host<Both>>, closed: usize) {
    let begun = Instant::now();
    while lp.get(both).protocol.closed.len() < closed {
        assert!(begun.elapsed() < Duration::from_secs(30), "it did not happen");
        lp.turn(Some(Duration::from_millis(20))).unwrap();
    }
}

/// Why the connections of these numbers were closed, in their order.
fn closed<W: Streams>(lp: &mut Loop<W>, both: Handle<Host<Both>>) -> Vec<Close> {
    let mut closed = lp.get(both).protocol.closed.clone();
    closed.retain(|(n, _)| *n > 0);
    closed.sort_by_key(|(n, _)| *n);
    closed.into_iter().map(|(_, why)| why).collect()
}

#[test]
fn a_name_is_listened_at_and_connected_to() {
    let mut lp = Loop::new(Os::new().unwrap());
    let both = tcp::add(&mut lp, |_| Both::default());
    let at = listen_name(&mut lp, both, Some("localhost"), 0, &ListenOptions::default()).unwrap();
    assert!(at.ip().is_loopback() && at.port() != 0);
    let family = if at.is_ipv4() { Family::V4 } else { Family::V6 };
    for (n, host, family) in [
        (1, "localhost", Family::Any),
        (2, "localhost", family),
        (3, "127.0.0.1", if at.is_ipv4() { Family::Any } else { Family::V6 }),
    ] {
        connect_name(&mut lp.env, both, host, at.port(), family, n);
    }
    // Both ends of each, or of the last none but the one that found no address.
    turn_until(&mut lp, both, if at.is_ipv4() { 6 } else { 5 });
    let last = if at.is_ipv4() { Close::Finished } else { Close::Dial(ErrorKind::NotFound) };
    assert_eq!(closed(&mut lp, both), [Close::Finished, Close::Finished, last]);
    tcp::unlisten(&mut lp.env, both);
    lp.run().unwrap();
}

#[test]
fn without_a_host_both_families_are_served() {
    let mut lp = Loop::new(Os::new().unwrap());
    let both = tcp::add(&mut lp, |_| Both::default());
    for (n, host) in [None, Some("")].into_iter().enumerate() {
        let at = listen_name(&mut lp, both, host, 0, &ListenOptions::default()).unwrap();
        assert!(at.ip().is_unspecified());
        let n = n as u8 + 1;
        connect_name(&mut lp.env, both, "127.0.0.1", at.port(), Family::Any, 2 * n);
        let six = if at.is_ipv6() { "[::1]" } else { "127.0.0.1" };
        connect_name(&mut lp.env, both, six, at.port(), Family::Any, 2 * n - 1);
    }
    turn_until(&mut lp, both, 8);
    assert_eq!(closed(&mut lp, both), [Close::Finished; 4]);
}

#[test]
fn what_has_no_address_closes_once_and_says_so() {
    let mut lp = Loop::new(Os::new().unwrap());
    let both = tcp::add(&mut lp, |_| Both::default());
    connect_name(&mut lp.env, both, "no such name", 80, Family::Any, 1);
    connect_name(&mut lp.env, both, "", 80, Family::Any, 2);
    connect_name(&mut lp.env, both, "127.0.0.1", 80, Family::V6, 3);
    connect_name(&mut lp.env, both, "[::1]", 80, Family::V4, 4);
    lp.run().unwrap();
    assert_eq!(closed(&mut lp, both), [Close::Dial(ErrorKind::NotFound); 4]);
    assert!(lp.get(both).protocol.opened.is_empty());
    let nowhere = listen_name(&mut lp, both, Some("no such name"), 0, &ListenOptions::default());
    assert!(nowhere.is_err());
    let strange = listen_name(&mut lp, both, Some("203.0.113.7"), 0, &ListenOptions::default());
    assert_eq!(strange.unwrap_err().kind(), ErrorKind::AddrNotAvailable);
}

/// Who asks for more than may wait is told, and its state is not lost.
#[test]
fn too_many_look_ups_are_refused() {
    let mut lp = Loop::new(Os::new().unwrap());
    let both = tcp::add(&mut lp, |_| Both::default());
    for _ in 0..JOBS {
        lp.env.blocking(|| (), |_, _| ()).unwrap();
    }
    connect_name(&mut lp.env, both, "localhost", 80, Family::Any, 1);
    // Addresses need no thread.
    lookup(&mut lp.env, "[::1]", 80, |_, found| assert_eq!(found.unwrap().len(), 1));
    lp.run().unwrap();
    assert_eq!(closed(&mut lp, both), [Close::Dial(ErrorKind::ResourceBusy)]);
}

#[test]
fn a_simulated_world_has_names_too() {
    let mut lp = Loop::new(Sim::new(7));
    let both = tcp::add(&mut lp, |_| Both::default());
    let at = listen_name(&mut lp, both, Some("127.0.0.1"), 0, &ListenOptions::default()).unwrap();
    connect_name(&mut lp.env, both, "localhost", at.port(), Family::V4, 1);
    connect_name(&mut lp.env, both, "127.0.0.1", at.port(), Family::Any, 2);
    turn_until(&mut lp, both, 4);
    assert_eq!(closed(&mut lp, both), [Close::Finished; 2]);
}
