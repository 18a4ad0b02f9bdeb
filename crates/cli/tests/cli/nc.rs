//! `nc`: no byte is lost, whoever ends first, whoever is slow.

use crate::harness::*;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

const MIB: usize = 1 << 20;

/// A listener of ours, for a client to come to.
fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    (listener, port)
}

fn accept(listener: &TcpListener) -> TcpStream {
    let (stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(WAIT)).unwrap();
    stream.set_write_timeout(Some(WAIT)).unwrap();
    stream
}

fn listening(run: &Run, scheme: &str) -> SocketAddr {
    address(&run.err.line_with("listening on"), scheme)
}

/// A netcat and the peer that it talks to: as a client, and as a server.
fn pairs() -> [(&'static str, Run, TcpStream); 2] {
    let (listener, port) = listener();
    let client = start(&["nc", "127.0.0.1", &port]);
    let server = start(&["nc", "-l", "0"]);
    let peer = connect(listening(&server, "tcp"));
    [("client", client, accept(&listener)), ("server", server, peer)]
}

#[test]
fn stdin_ends_first() {
    for (role, mut nc, mut peer) in pairs() {
        nc.feed(b"question".to_vec(), true);
        assert_eq!(rest(&mut peer), b"question", "{role}");
        assert!(nc.is_running(), "{role} waits for the answer");
        peer.write_all(b"answer").unwrap();
        drop(peer);
        let ended = nc.ended();
        assert_eq!((ended.code, ended.text().as_str()), (Some(0), "answer"), "{role}");
    }
}

#[test]
fn the_peer_ends_first() {
    for (role, mut nc, mut peer) in pairs() {
        peer.write_all(b"all I have").unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        assert_eq!(nc.out.bytes(10), b"all I have", "{role}");
        std::thread::sleep(Duration::from_millis(30));
        assert!(nc.is_running(), "{role} still has a stdin");
        nc.feed(b"late".to_vec(), false);
        nc.feed(b" words".to_vec(), true);
        assert_eq!(rest(&mut peer), b"late words", "{role}");
        assert_eq!(nc.ended().code, Some(0), "{role}");
    }
}

#[test]
fn both_end_at_once() {
    for (role, mut nc, mut peer) in pairs() {
        nc.feed(Vec::new(), true);
        peer.shutdown(Shutdown::Write).unwrap();
        assert_eq!(rest(&mut peer), b"", "{role}");
        let ended = nc.ended();
        assert_eq!((ended.code, ended.out.len()), (Some(0), 0), "{role}");
    }
}

#[test]
fn megabytes_both_ways_at_once() {
    for (role, mut nc, mut peer) in pairs() {
        let (ours, theirs) = (noise(10 * MIB, 6), noise(10 * MIB, 7));
        nc.feed(ours.clone(), true);
        let mut writer = peer.try_clone().unwrap();
        let sent = theirs.clone();
        let writing = std::thread::spawn(move || {
            writer.write_all(&sent).unwrap();
            writer.shutdown(Shutdown::Write).unwrap();
        });
        same(&rest(&mut peer), &ours);
        writing.join().unwrap();
        let ended = nc.ended();
        assert_eq!(ended.code, Some(0), "{role}");
        same(&ended.out, &theirs);
    }
}

#[test]
fn a_slow_stdout_loses_nothing_and_stops_the_peer() {
    let (listener, port) = listener();
    let mut command = command(&["nc", "127.0.0.1", &port]);
    let piped = std::process::Stdio::piped;
    let child = command.stdin(piped()).stdout(piped()).stderr(piped());
    let mut child = child.spawn().unwrap();
    drop(child.stdin.take());
    let mut peer = accept(&listener);
    peer.set_nonblocking(true).unwrap();
    // Nobody reads its stdout: so much fits into the buffers between, and no more.
    let bytes = noise(64 * MIB, 8);
    let (mut sent, mut idle) = (0, 0);
    while idle < 40 && sent < bytes.len() {
        match peer.write(&bytes[sent..]) {
            Ok(n) => (sent, idle) = (sent + n, 0),
            Err(_) => {
                idle += 1;
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
    assert!(sent < bytes.len(), "64 MiB went nowhere");
    peer.set_nonblocking(false).unwrap();
    let rest = bytes[sent..].to_vec();
    let writing = std::thread::spawn(move || peer.write_all(&rest).unwrap());
    let mut heard = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut heard).unwrap();
    writing.join().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    same(&heard, &bytes);
}

#[test]
fn a_slow_peer_stops_stdin() {
    let (listener, port) = listener();
    let mut nc = start(&["nc", "127.0.0.1", &port]);
    let mut peer = accept(&listener);
    let bytes = noise(24 * MIB, 9);
    nc.feed(bytes.clone(), true);
    std::thread::sleep(Duration::from_millis(200));
    let path = format!("/proc/{}/status", nc.child.id());
    let text = std::fs::read_to_string(path).unwrap();
    let now = text.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap();
    let kib: u64 = now.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(kib < 20_000, "{kib} KiB for 24 MiB that nobody reads");
    peer.shutdown(Shutdown::Write).unwrap();
    same(&rest(&mut peer), &bytes);
    assert_eq!(nc.ended().code, Some(0));
}

#[test]
fn more_than_all_buffers_hold_comes_back_from_an_echo() {
    let server = start(&["echo", "tcp", "--greet", ""]);
    let port = server.listening("tcp").port().to_string();
    let bytes = noise(32 * MIB, 17);
    let ended = run(&["nc", "127.0.0.1", &port], &bytes);
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
    same(&ended.out, &bytes);
}

#[test]
fn netcat_to_netcat() {
    let mut server = start(&["nc", "-l", "0"]);
    let at = listening(&server, "tcp");
    let mut client = start(&["nc", "-v", "127.0.0.1", &at.port().to_string()]);
    let (a, b) = (noise(3 * MIB, 10), noise(2 * MIB, 11));
    server.feed(a.clone(), true);
    client.feed(b.clone(), true);
    let (server, client) = (server.ended(), client.ended());
    assert_eq!((server.code, client.code), (Some(0), Some(0)));
    same(&client.out, &a);
    same(&server.out, &b);
    assert!(client.err.contains("connected: 127.0.0.1"), "{}", client.err);
}

#[test]
fn a_listener_takes_one_or_with_k_one_after_the_other() {
    let one = start(&["nc", "-l", "0"]);
    let at = listening(&one, "tcp");
    let mut first = connect(at);
    first.write_all(b"1").unwrap();
    one.out.bytes(1);
    let limit = Instant::now() + WAIT;
    while TcpStream::connect(at).is_ok() {
        assert!(Instant::now() < limit, "nobody else is let in");
    }
    drop(one);
    let many = start(&["nc", "-lk", "0"]);
    let at = listening(&many, "tcp");
    let mut first = connect(at);
    first.write_all(b"1").unwrap();
    many.out.bytes(1);
    let mut second = connect(at);
    second.write_all(b"2").unwrap();
    std::thread::sleep(Duration::from_millis(30));
    assert_eq!(many.out.bytes(1), b"1", "the second waits for its turn");
    drop(first);
    assert_eq!(many.out.bytes(2), b"12");
    drop(second);
    assert_eq!(exchange(at, b"3"), b"");
    assert_eq!(many.out.bytes(3), b"123");
}

#[test]
fn a_scan_says_who_listens() {
    let (_listener, port) = listener();
    let ended = run(&["nc", "-zv", "127.0.0.1", &port], b"");
    assert_eq!(ended.code, Some(0));
    assert!(ended.err.contains("open") && ended.out.is_empty(), "{ended:?}");
    let (host, port) = NOBODY.split_once(':').unwrap();
    run(&["nc", "-z", host, port], b"").failed(1, "nobody listens");
    run(&["nc", host, port], b"").failed(1, "nobody listens");
    run(&["nc", "no-such-host.invalid", "1"], b"").failed(1, "check the name");
}

#[test]
fn w_ends_what_is_idle_and_only_that() {
    let (listener, port) = listener();
    let began = Instant::now();
    let nc = start(&["nc", "-w", "1.5", "127.0.0.1", &port]);
    let mut peer = accept(&listener);
    for _ in 0..6 {
        std::thread::sleep(Duration::from_millis(300));
        peer.write_all(b"x").unwrap();
    }
    let ended = nc.ended();
    assert_eq!((ended.code, ended.text().as_str()), (Some(0), "xxxxxx"));
    assert!(began.elapsed() >= Duration::from_millis(3200), "{:?}", began.elapsed());
    assert_eq!(rest(&mut peer), b"", "an end, and no reset");
}

#[test]
fn w_with_a_peer_that_takes_nothing_is_a_failure() {
    let (listener, port) = listener();
    let mut nc = start(&["nc", "-w", "3", "127.0.0.1", &port]);
    let _peer = accept(&listener);
    nc.feed(noise(64 * MIB, 18), true);
    nc.ended().failed(1, "took nothing for too long");
}

#[test]
fn a_scan_of_many_ports_says_which_are_open() {
    // An address of its own: neighbouring ports of 127.0.0.1 may be those of other tests.
    let host = "127.83.0.1";
    let first = TcpListener::bind((host, 0)).unwrap();
    let low = first.local_addr().unwrap().port();
    let (from, to) = (low.saturating_sub(2), low.saturating_add(2));
    let ports = format!("{from}-{to}");
    let ended = run(&["nc", "-zv", host, &ports], b"");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(ended.err.lines().count(), usize::from(to - from) + 1, "{ended:?}");
    assert!(ended.err.contains(&format!("open: {host}:{low}\n")), "{ended:?}");
    first.set_nonblocking(true).unwrap();
    let (mut stream, _) = first.accept().unwrap();
    stream.set_nonblocking(false).unwrap();
    assert_eq!(rest(&mut stream), b"", "a scan says nothing, and ends in order");
    run(&["nc", "-z", host, "1-3"], b"").failed(1, "nobody listens at 127.83.0.1 1-3");
    run(&["nc", host, "1-3"], b"").failed(2, "-z");
}

#[test]
fn x_shows_what_passes_and_changes_nothing() {
    let (listener, port) = listener();
    let mut nc = start(&["nc", "-x", "127.0.0.1", &port]);
    let mut peer = accept(&listener);
    nc.feed(b"ping\n".to_vec(), true);
    assert_eq!(rest(&mut peer), b"ping\n");
    peer.write_all(b"pong\n").unwrap();
    drop(peer);
    let ended = nc.ended();
    assert_eq!((ended.code, ended.text().as_str()), (Some(0), "pong\n"));
    let lines: Vec<&str> = ended.err.lines().collect();
    assert_eq!(lines.len(), 2, "{ended:?}");
    assert!(lines[0].starts_with("> 00000000  70 69 6e 67 0a "), "{ended:?}");
    assert!(lines[1].starts_with("< 00000000  70 6f 6e 67 0a "), "{ended:?}");
    assert!(lines[0].ends_with("|ping.|") && lines[1].ends_with("|pong.|"), "{ended:?}");
}

#[test]
fn a_reset_is_a_failure() {
    for (role, mut nc, mut peer) in pairs() {
        nc.feed(vec![b'x'; 100_000], false);
        let mut some = [0; 10];
        peer.read_exact(&mut some).unwrap();
        // Closed with bytes unread: the kernel says so by a reset.
        drop(peer);
        let _ = nc.stdin.as_mut().unwrap().write_all(b"more");
        let ended = nc.ended();
        assert_eq!(ended.code, Some(1), "{role}: {ended:?}");
        assert!(ended.err.contains("reset the connection"), "{role}: {ended:?}");
    }
}

#[test]
fn a_closed_stdout_ends_it_quietly() {
    let (listener, port) = listener();
    let mut command = command(&["nc", "127.0.0.1", &port]);
    let piped = std::process::Stdio::piped;
    let mut child = command.stdin(piped()).stdout(piped()).stderr(piped()).spawn().unwrap();
    drop(child.stdout.take());
    let mut peer = accept(&listener);
    while peer.write_all(&[0; 65536]).is_ok() {}
    let mut err = String::new();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert_eq!((child.wait().unwrap().code(), err.as_str()), (Some(1), ""));
}

#[test]
fn unix_sockets() {
    let folder = Folder::new();
    let path = folder.path().join("s");
    let path = path.to_str().unwrap();
    let mut server = start(&["nc", "-lU", path]);
    let line = server.err.line_with("listening on");
    assert_eq!(line, format!("listening on unix://{path}"));
    let mut client = start(&["nc", "-U", path]);
    let (a, b) = (noise(MIB, 12), noise(MIB, 13));
    server.feed(a.clone(), true);
    client.feed(b.clone(), true);
    same(&client.ended().out, &a);
    same(&server.ended().out, &b);
    assert!(!std::path::Path::new(path).exists(), "the path is tidied away");
    run(&["nc", "-U", path], b"").failed(1, "no such path");
}

#[test]
fn datagrams() {
    let mut server = start(&["nc", "-lu", "0"]);
    let at = listening(&server, "udp");
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(WAIT)).unwrap();
    socket.send_to(b"hello\n", at).unwrap();
    assert_eq!(server.out.bytes(6), b"hello\n");
    server.feed(b"you too\n".to_vec(), false);
    let mut bytes = [0; 100];
    let (n, _) = socket.recv_from(&mut bytes).unwrap();
    assert_eq!(&bytes[..n], b"you too\n");
    let other = UdpSocket::bind("127.0.0.1:0").unwrap();
    other.send_to(b"not for you", at).unwrap();
    socket.send_to(b"end\n", at).unwrap();
    assert_eq!(server.out.bytes(10), b"hello\nend\n");
}

#[test]
fn datagrams_to_an_echo_end_when_nothing_moves() {
    let server = start(&["echo", "udp"]);
    let port = server.listening("udp").port().to_string();
    let ended = run(&["nc", "-u", "-w", "2", "127.0.0.1", &port], b"hi\n");
    assert_eq!((ended.code, ended.text().as_str()), (Some(0), "hi\n"));
    let (host, port) = NOBODY.split_once(':').unwrap();
    let ended = run(&["nc", "-u", "-w", "5", host, port], b"hi\n");
    ended.failed(1, "nobody listens");
}
