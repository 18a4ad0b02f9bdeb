//! The error queue of a datagram socket: of what the kernel keeps there only the network's errors
//! are told, and looking for one is bounded.

use loopwork_reactor::{BindOptions, Datagram, Datagrams, Fd, Id, Os};
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// Too long for a datagram of IPv4 with its headers: the kernel refuses it, and keeps the error.
const LONG: usize = 65_520;
/// Own errors that one search leaves behind: the constant of the world.
const OWN_ERRORS: usize = 64;
const PATIENCE: Duration = Duration::from_secs(30);

fn send(os: &mut Os, fd: Fd, peer: SocketAddr, len: usize) -> std::io::Result<usize> {
    let batch = [Datagram { peer, start: 0, len: len as u32, truncated: false }];
    os.send(fd, &batch, &[0; LONG][..len])
}

/// How many searches find the network's error behind so many of the host's own.
fn searches(own: usize) -> usize {
    let mut os = Os::new().expect("a poll");
    let mut how = BindOptions::default();
    how.errors = true;
    let id = Id { birth: 1, slot: 0, driver: 0 };
    let local = SocketAddr::from(([127, 0, 0, 1], 0));
    let (fd, _) = os.bind(local, &how, id).expect("a port");
    // Nobody listens there any more.
    let gone = UdpSocket::bind(local).and_then(|s| s.local_addr()).expect("a port");
    for _ in 0..own {
        let refused = send(&mut os, fd, gone, LONG).expect_err("too long");
        assert_eq!(refused.raw_os_error(), Some(90), "EMSGSIZE");
    }
    send(&mut os, fd, gone, 5).expect("it leaves");
    // The network's error is behind the others as soon as it shows on the socket itself.
    let socket = os.descriptor(fd).and_then(|fd| fd.try_clone_to_owned()).expect("it is open");
    let (socket, begun) = (UdpSocket::from(socket), Instant::now());
    while socket.take_error().expect("it is a socket").is_none() {
        assert!(begun.elapsed() < PATIENCE, "no answer of the network");
        std::thread::sleep(Duration::from_millis(1));
    }
    for n in 1..9 {
        if let Some((to, error)) = os.next_error(fd) {
            assert_eq!((to, error.kind()), (gone, ErrorKind::ConnectionRefused));
            assert!(os.next_error(fd).is_none(), "there was one");
            return n;
        }
    }
    panic!("the network's error was not found behind {own}");
}

#[test]
fn one_search_passes_over_so_many_of_the_hosts_own() {
    assert_eq!(searches(0), 1);
    assert_eq!(searches(OWN_ERRORS - 1), 1);
    assert_eq!(searches(OWN_ERRORS), 2);
    assert_eq!(searches(2 * OWN_ERRORS - 1), 2);
}
