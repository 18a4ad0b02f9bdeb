//! Streams of the simulated world, one promise a test, on a perfect network.

mod support;

use loopwork_reactor::{ListenOptions, Streams, World};
use loopwork_sim::{Faults, Sim};
use std::io::ErrorKind;
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
