//! Datagrams of the simulated world, one promise a test.

mod support;

use loopwork_reactor::{
    Address, BATCH, BindOptions, Datagram, DatagramOption, Datagrams, Fd, Id, ListenOptions,
    Streams, World,
};
use loopwork_sim::{DATAGRAM_MAX, Faults, Sim, UNIX_DATAGRAM_MAX, UNIX_QUEUE, Waiting, percent};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use support::*;

const ROOM: usize = 2048;

fn bind_at(sim: &mut Sim, at: SocketAddr, id: Id) -> (Fd, SocketAddr) {
    let bound = sim.bind(at, &BindOptions::default(), id).unwrap();
    settle(sim);
    bound
}

fn bind(sim: &mut Sim, n: u64) -> (Fd, SocketAddr) {
    bind_at(sim, at(0), id(n))
}

fn send(sim: &mut Sim, fd: Fd, to: SocketAddr, bytes: &[u8]) -> io::Result<usize> {
    let one = Datagram { peer: to, start: 0, len: bytes.len() as u32, truncated: false };
    sim.send(fd, &[one], bytes)
}

/// Receives all that is there, in batches.
fn receive(sim: &mut Sim, fd: Fd, room: usize) -> Vec<(SocketAddr, Vec<u8>, bool)> {
    let (mut all, mut into) = (Vec::new(), vec![0; room * 4]);
    loop {
        let mut got = Vec::new();
        match sim.recv(fd, &mut into, room, &mut got) {
            Ok(()) => {}
            Err(e) if e.kind() == ErrorKind::WouldBlock => return all,
            Err(e) => panic!("{e}"),
        }
        assert!(!got.is_empty());
        for d in got {
            let start = d.start as usize;
            all.push((d.peer, into[start..start + d.len as usize].to_vec(), d.truncated));
        }
    }
}

fn calm() -> Sim {
    Sim::with_faults(1, Faults::none())
}

#[test]
fn a_batch_arrives_whole_in_order_with_its_sender() {
    let mut sim = calm();
    let ((a, from), (b, to)) = (bind(&mut sim, 1), bind(&mut sim, 2));
    let parts = [(0, 3), (3, 0), (3, 2)];
    let batch = parts.map(|(start, len)| Datagram { peer: to, start, len, truncated: false });
    assert_eq!(sim.send(a, &batch, b"onetw").unwrap(), 3);
    let ready = settle(&mut sim);
    assert!(told(&ready, id(2)).unwrap().readable);
    let got = receive(&mut sim, b, ROOM);
    let want = [&b"one"[..], b"", b"tw"].map(|bytes| (from, bytes.to_vec(), false));
    assert_eq!(got, want);
}

#[test]
fn what_is_too_long_for_the_room_is_cut_and_says_so() {
    let mut sim = calm();
    let ((a, _), (b, to)) = (bind(&mut sim, 1), bind(&mut sim, 2));
    send(&mut sim, a, to, b"0123456789").unwrap();
    send(&mut sim, a, to, b"0123").unwrap();
    settle(&mut sim);
    let got = receive(&mut sim, b, 4);
    assert_eq!((got[0].1.as_slice(), got[0].2), (&b"0123"[..], true));
    assert_eq!((got[1].1.as_slice(), got[1].2), (&b"0123"[..], false));
}

#[test]
fn a_batch_is_bounded_and_the_rest_comes_next() {
    let mut sim = calm();
    let ((a, _), (b, to)) = (bind(&mut sim, 1), bind(&mut sim, 2));
    let one = Datagram { peer: to, start: 0, len: 1, truncated: false };
    assert_eq!(sim.send(a, &[one; BATCH + 9], b"x").unwrap(), BATCH);
    assert!(told(&settle(&mut sim), id(1)).unwrap().writable, "the rest is owed a readiness");
    assert_eq!(sim.send(a, &[one; 9], b"x").unwrap(), 9);
    settle(&mut sim);
    let (mut got, mut into) = (Vec::new(), vec![0; 4 * BATCH]);
    sim.recv(b, &mut into, 2, &mut got).unwrap();
    assert_eq!(got.len(), BATCH);
    sim.recv(b, &mut into, 2, &mut got).unwrap();
    assert_eq!(got.len(), BATCH + 9);
    assert_eq!(kind(sim.recv(b, &mut into, 2, &mut got)), ErrorKind::WouldBlock);
}

/// Sends 10,000 numbered datagrams and gives the numbers that arrive.
fn stream_of_numbers(faults: Faults) -> (Vec<u32>, Sim) {
    let mut sim = Sim::with_faults(5, faults);
    let ((a, _), (b, to)) = (bind(&mut sim, 1), bind(&mut sim, 2));
    let mut got = Vec::new();
    for n in 0..10_000u32 {
        send(&mut sim, a, to, &n.to_le_bytes()).unwrap();
        if n % 100 == 99 {
            settle(&mut sim);
            let all = receive(&mut sim, b, ROOM);
            got.extend(all.iter().map(|d| u32::from_le_bytes(d.1.as_slice().try_into().unwrap())));
        }
    }
    (got, sim)
}

#[test]
fn a_perfect_network_loses_and_swaps_nothing() {
    let (got, _) = stream_of_numbers(Faults::none());
    assert!(got.iter().copied().eq(0..10_000));
}

#[test]
fn loss_is_about_its_rate() {
    let (got, sim) = stream_of_numbers(Faults { loss: percent(10), ..Faults::none() });
    assert!((8_800..9_200).contains(&got.len()), "{}", got.len());
    assert_eq!(sim.stats().lost as usize, 10_000 - got.len());
    assert!(got.is_sorted_by(|a, b| a < b), "lost ones are missing, the rest is in order");
}

#[test]
fn doubles_are_about_their_rate() {
    let (got, sim) = stream_of_numbers(Faults { duplicate: percent(10), ..Faults::none() });
    assert!((10_800..11_200).contains(&got.len()), "{}", got.len());
    assert_eq!(sim.stats().duplicated as usize, got.len() - 10_000);
}

#[test]
fn detours_change_the_order_and_nothing_else() {
    let rough = Faults::rough();
    let faults =
        Faults { reorder: percent(10), reorder_time: rough.reorder_time, ..Faults::none() };
    let (mut got, _) = stream_of_numbers(faults);
    let swaps = got.windows(2).filter(|w| w[0] > w[1]).count();
    assert!((500..1_500).contains(&swaps), "{swaps}");
    got.sort_unstable();
    assert!(got.iter().copied().eq(0..10_000));
}

#[test]
fn latency_that_varies_does_not_swap() {
    let (got, _) = stream_of_numbers(Faults { latency: Faults::rough().latency, ..Faults::none() });
    assert!(got.iter().copied().eq(0..10_000));
}

#[test]
fn what_is_too_long_or_finds_no_buffers_is_refused_and_the_next_goes() {
    let mut sim = calm();
    let ((a, _), (b, to)) = (bind(&mut sim, 1), bind(&mut sim, 2));
    sim.faults().datagram_max = 100;
    let code = |of: io::Result<usize>| of.unwrap_err().raw_os_error();
    assert_eq!(code(send(&mut sim, a, to, &[0; 101])), Some(90));
    let long = |len| Datagram { peer: to, start: 0, len, truncated: false };
    let batch = [long(100), long(101), long(99)];
    assert_eq!(sim.send(a, &batch, &[0; 101]).unwrap(), 1, "up to what is refused");
    assert_eq!(code(sim.send(a, &batch[1..], &[0; 101])), Some(90));
    assert_eq!(sim.send(a, &batch[2..], &[0; 101]).unwrap(), 1);
    sim.faults().no_buffers = percent(100);
    assert_eq!(code(send(&mut sim, a, to, b"x")), Some(105));
    sim.faults().no_buffers = 0;
    send(&mut sim, a, to, b"y").unwrap();
    settle(&mut sim);
    let sizes: Vec<_> = receive(&mut sim, b, ROOM).iter().map(|d| d.1.len()).collect();
    assert_eq!(sizes, [100, 99, 1]);
    assert_eq!((sim.stats().sent, sim.stats().refused), (3, 3), "each is told once");
}

#[test]
fn datagrams_are_unserved_until_all_of_them_were_asked_for() {
    let mut sim = calm();
    let ((a, _), (b, to)) = (bind(&mut sim, 1), bind(&mut sim, 2));
    (0..5).for_each(|n| assert_eq!(send(&mut sim, a, to, &[n]).unwrap(), 1));
    settle(&mut sim);
    let of = |sim: &mut Sim| sim.unserved().map(|u| (u.id, u.what)).collect::<Vec<_>>();
    assert_eq!(of(&mut sim), [(id(2), Waiting::Datagrams)]);
    let (mut got, mut into) = (Vec::new(), [0; 8]);
    sim.recv(b, &mut into[..4], 2, &mut got).unwrap();
    assert_eq!((got.len(), of(&mut sim).len()), (2, 1), "the rooms are full: there may be more");
    sim.recv(b, &mut into, 2, &mut got).unwrap();
    assert_eq!((got.len(), of(&mut sim).len()), (5, 0));
}

#[test]
fn a_full_queue_drops_and_counts() {
    let mut sim = calm();
    let ((a, _), (b, to)) = (bind(&mut sim, 1), bind(&mut sim, 2));
    sim.set_datagram(b, DatagramOption::ReceiveBuffer(10_000)).unwrap();
    for _ in 0..100 {
        send(&mut sim, a, to, &[0; 744]).unwrap();
    }
    settle(&mut sim);
    assert_eq!(receive(&mut sim, b, ROOM).len(), 10);
    assert_eq!(sim.stats().dropped, 90);
    send(&mut sim, a, to, b"again").unwrap();
    settle(&mut sim);
    assert_eq!(receive(&mut sim, b, ROOM).len(), 1, "what was received makes room");
}

#[test]
fn an_associated_socket_takes_from_and_sends_to_its_peer_alone() {
    let mut sim = calm();
    let (a, at_a) = bind(&mut sim, 1);
    let (b, at_b) = bind(&mut sim, 2);
    let (c, _) = bind(&mut sim, 3);
    sim.associate(a, at_b).unwrap();
    send(&mut sim, c, at_a, b"stranger").unwrap();
    send(&mut sim, b, at_a, b"peer").unwrap();
    send(&mut sim, a, at(1), b"to the peer whatever is named").unwrap();
    settle(&mut sim);
    assert_eq!(receive(&mut sim, a, ROOM), [(at_b, b"peer".to_vec(), false)]);
    assert_eq!(receive(&mut sim, b, ROOM).len(), 1);
}

#[test]
fn a_closed_port_is_told_to_who_is_associated_once() {
    let mut sim = calm();
    let (a, _) = bind(&mut sim, 1);
    send(&mut sim, a, at(9), b"x").unwrap();
    assert_eq!(told(&settle(&mut sim), id(1)), None, "nobody hears of it otherwise");
    sim.associate(a, at(9)).unwrap();
    send(&mut sim, a, at(9), b"x").unwrap();
    assert!(told(&settle(&mut sim), id(1)).unwrap().readable);
    let mut into = [0; 64];
    let recv = |sim: &mut Sim, into: &mut [u8]| sim.recv(a, into, 64, &mut Vec::new());
    assert_eq!(kind(recv(&mut sim, &mut into)), ErrorKind::ConnectionRefused);
    assert_eq!(kind(recv(&mut sim, &mut into)), ErrorKind::WouldBlock);
    send(&mut sim, a, at(9), b"x").unwrap();
    settle(&mut sim);
    assert_eq!(kind(send(&mut sim, a, at(9), b"x")), ErrorKind::ConnectionRefused);
    send(&mut sim, a, at(9), b"x").unwrap();
}

#[test]
fn a_blocked_send_is_owed_a_readiness() {
    let mut sim = Sim::with_faults(3, Faults { block_write: percent(50), ..Faults::none() });
    let ((a, _), (b, to)) = (bind(&mut sim, 1), bind(&mut sim, 2));
    let (mut sent, mut blocked) = (0, 0);
    while sent < 100 {
        match send(&mut sim, a, to, b"x") {
            Ok(n) => sent += n,
            Err(e) => {
                assert_eq!(e.kind(), ErrorKind::WouldBlock);
                blocked += 1;
                assert!(told(&settle(&mut sim), id(1)).unwrap().writable);
            }
        }
    }
    settle(&mut sim);
    assert!(blocked > 50, "{blocked}");
    assert_eq!(receive(&mut sim, b, ROOM).len(), 100);
}

#[test]
fn a_cut_receive_is_owed_a_readiness() {
    let mut sim = Sim::with_faults(3, Faults { cut_receive: percent(100), ..Faults::none() });
    let ((a, _), (b, to)) = (bind(&mut sim, 1), bind(&mut sim, 2));
    for _ in 0..20 {
        send(&mut sim, a, to, b"x").unwrap();
    }
    let (mut got, mut into) = (Vec::new(), [0; 64]);
    while told(&settle(&mut sim), id(2)).is_some() {
        sim.recv(b, &mut into, 1, &mut got).unwrap();
    }
    assert_eq!(got.len(), 20);
}

#[test]
fn errors_of_the_first_alone_are_told() {
    let mut sim = calm();
    let ((a, _), (_, to)) = (bind(&mut sim, 1), bind(&mut sim, 2));
    let long = vec![0; DATAGRAM_MAX + 1];
    assert_eq!(send(&mut sim, a, to, &long).unwrap_err().raw_os_error(), Some(90));
    assert_eq!(send(&mut sim, a, to, &long[1..]).unwrap(), 1);
    let fine = Datagram { peer: to, start: 0, len: 1, truncated: false };
    let bad = Datagram { len: long.len() as u32, ..fine };
    assert_eq!(sim.send(a, &[fine, bad, fine], &long).unwrap(), 1);
    assert_eq!(kind(send(&mut sim, a, at(0), b"x")), ErrorKind::InvalidInput);
    let six = SocketAddr::from((Ipv6Addr::LOCALHOST, 9));
    assert_eq!(send(&mut sim, a, six, b"x").unwrap_err().raw_os_error(), Some(97));
    assert_eq!(sim.associate(a, six).unwrap_err().raw_os_error(), Some(97));
}

#[test]
fn groups_reach_their_members_on_that_port() {
    let mut sim = calm();
    let group = IpAddr::from([239, 1, 2, 3]);
    let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let mut how = BindOptions::default();
    how.reuse_address = true;
    let open = |sim: &mut Sim, n| sim.bind((any, 5000).into(), &how, id(n)).unwrap().0;
    let (b, c, d) = (open(&mut sim, 2), open(&mut sim, 3), open(&mut sim, 4));
    for member in [b, c] {
        sim.set_datagram(member, DatagramOption::Join(group, any)).unwrap();
    }
    let again = sim.set_datagram(b, DatagramOption::Join(group, any));
    assert_eq!(kind(again), ErrorKind::AddrInUse);
    let none = sim.set_datagram(d, DatagramOption::Leave(group, any));
    assert_eq!(kind(none), ErrorKind::AddrNotAvailable);
    let (a, _) = bind(&mut sim, 1);
    let to = SocketAddr::new(group, 5000);
    send(&mut sim, a, to, b"all").unwrap();
    settle(&mut sim);
    let count = |sim: &mut Sim| [b, c, d].map(|fd| receive(sim, fd, ROOM).len());
    assert_eq!(count(&mut sim), [1, 1, 0]);
    sim.set_datagram(c, DatagramOption::Leave(group, any)).unwrap();
    send(&mut sim, a, to, b"fewer").unwrap();
    settle(&mut sim);
    assert_eq!(count(&mut sim), [1, 0, 0]);
    sim.associate(b, at(1)).unwrap();
    send(&mut sim, a, to, b"from a stranger").unwrap();
    settle(&mut sim);
    assert_eq!(count(&mut sim), [0, 0, 0]);
    sim.set_datagram(c, DatagramOption::Join(group, any)).unwrap();
    sim.set_datagram(a, DatagramOption::MulticastLoop(false)).unwrap();
    send(&mut sim, a, to, b"nobody").unwrap();
    settle(&mut sim);
    assert_eq!(count(&mut sim), [0, 0, 0]);
}

#[test]
fn broadcast_asks_for_leave() {
    let mut sim = calm();
    let (a, _) = bind(&mut sim, 1);
    let (b, to) = bind_at(&mut sim, SocketAddr::from(([0; 4], 0)), id(2));
    let all = SocketAddr::from(([255; 4], to.port()));
    assert_eq!(kind(send(&mut sim, a, all, b"x")), ErrorKind::PermissionDenied);
    sim.set_datagram(a, DatagramOption::Broadcast(true)).unwrap();
    send(&mut sim, a, all, b"x").unwrap();
    settle(&mut sim);
    assert_eq!(receive(&mut sim, b, ROOM).len(), 1);
}

#[test]
fn addresses_in_use_ports_chosen_and_freed() {
    let mut sim = calm();
    let (a, at_a) = bind(&mut sim, 1);
    assert_ne!(at_a.port(), 0);
    let again = sim.bind(at_a, &BindOptions::default(), id(2));
    assert_eq!(kind(again), ErrorKind::AddrInUse);
    sim.close(a);
    bind_at(&mut sim, at_a, id(3));
    assert_eq!(sim.open(), 1);
}

#[test]
fn ipv6_for_all_takes_ipv4_mapped() {
    let mut sim = calm();
    let (b, to) = bind_at(&mut sim, SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)), id(2));
    let (a, from) = bind(&mut sim, 1);
    send(&mut sim, a, at(to.port()), b"x").unwrap();
    settle(&mut sim);
    let mapped = Ipv4Addr::LOCALHOST.to_ipv6_mapped();
    let peer = SocketAddr::from((mapped, from.port()));
    assert_eq!(receive(&mut sim, b, ROOM), [(peer, b"x".to_vec(), false)]);
    send(&mut sim, b, peer, b"y").unwrap();
    settle(&mut sim);
    assert_eq!(receive(&mut sim, a, ROOM), [(at(to.port()), b"y".to_vec(), false)]);
}

#[test]
fn unix_datagrams_go_from_hand_to_hand_until_a_queue_is_full() {
    let mut sim = calm();
    let [here, there] = ["/here", "/there"].map(Path::new);
    let a = sim.bind_unix(here, id(1)).unwrap();
    let b = sim.bind_unix(there, id(2)).unwrap();
    let nameless = sim.bind_unix(Path::new(""), id(3)).unwrap();
    assert_eq!(kind(sim.bind_unix(here, id(4))), ErrorKind::AddrInUse);
    settle(&mut sim);
    assert_eq!(kind(sim.send_unix(a, Path::new("/nobody"), b"x")), ErrorKind::NotFound);
    let mut room = vec![0; UNIX_DATAGRAM_MAX + 1];
    let long = sim.send_unix(a, there, &room).unwrap_err();
    assert_eq!(long.raw_os_error(), Some(90));
    sim.send_unix(a, there, b"one").unwrap();
    sim.send_unix(nameless, there, b"").unwrap();
    sim.send_unix(a, there, &room[1..]).unwrap();
    assert!(told(&settle(&mut sim), id(2)).unwrap().readable);
    assert_eq!(sim.unserved().next().unwrap().what, Waiting::Datagrams);
    assert_eq!(sim.recv_unix(b, &mut room).unwrap(), (3, here.to_path_buf()));
    assert_eq!(room[..3], *b"one");
    assert_eq!(sim.recv_unix(b, &mut room).unwrap(), (0, PathBuf::new()), "no end");
    assert_eq!(sim.recv_unix(b, &mut room[..9]).unwrap().0, 9, "what is longer is cut");
    assert_eq!(sim.unserved().count(), 0);
    assert_eq!(kind(sim.recv_unix(b, &mut room)), ErrorKind::WouldBlock);
    for _ in 0..UNIX_QUEUE {
        sim.send_unix(a, there, b"x").unwrap();
    }
    assert_eq!(kind(sim.send_unix(a, there, b"x")), ErrorKind::WouldBlock);
    sim.recv_unix(b, &mut room).unwrap();
    sim.send_unix(a, there, b"x").unwrap();
    // A path is for one of them, streams or datagrams, and free again when it is closed.
    let stream = Address::Unix(there.to_path_buf());
    let listens = sim.listen(&stream, &ListenOptions::default(), id(5));
    assert_eq!(kind(listens), ErrorKind::AddrInUse);
    assert_eq!(sim.connect(&stream, None, id(6)).unwrap_err().raw_os_error(), Some(91));
    [a, b, nameless].into_iter().for_each(|fd| sim.close(fd));
    sim.listen(&stream, &ListenOptions::default(), id(5)).unwrap();
    let a = sim.bind_unix(here, id(7)).unwrap();
    assert_eq!(sim.send_unix(a, there, b"x").unwrap_err().raw_os_error(), Some(91));
    assert_eq!((sim.open(), sim.stats().strays), (2, 0));
}
