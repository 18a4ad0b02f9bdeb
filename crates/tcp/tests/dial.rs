//! Dials and listeners over real sockets: what stands, what is refused, what takes too long, Unix
//! sockets, ports in use, bursts of connections. Every wait is bounded.

mod support;

use loopwork_reactor::{Address, BindOptions, Datagrams, Id, ListenOptions, Os};
use loopwork_tcp::{ACCEPTS_PER_TURN, Close, Dial, addresses, listen, listen_at, shutdown};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use support::{
    On, PATIENCE, Seat, dial_to, echo, finish, idle, more, open, peer, play, read_all, server,
    turn_until, until_closed,
};

/// Says a word when it stands, and ends when it has come back.
fn client(seat: &mut Seat, io: &mut loopwork_tcp::Io<'_>, on: On<'_>) -> usize {
    match on {
        On::Open => {
            let _ = io.write(b"a word");
            0
        }
        On::Data(bytes) => {
            seat.got.extend_from_slice(bytes);
            if seat.got == b"a word" {
                io.end();
            }
            bytes.len()
        }
        _ => echo(seat, io, on),
    }
}

#[test]
fn a_dial_that_stands_talks() {
    let (mut lp, host, at) = server(echo);
    let dialer = more(&mut lp, client);
    for _ in 0..10 {
        dial_to(&mut lp, dialer, at, PATIENCE);
    }
    until_closed(&mut lp, dialer, 10);
    until_closed(&mut lp, host, 10);
    let play = &lp.get(dialer).protocol;
    assert!(play.closed.iter().all(|(_, why)| *why == Close::Finished));
    assert!((0..10).all(|n| play.calls(n) == ["open", "data", "end"]), "{:?}", play.log);
    finish(&mut lp, host);
    finish(&mut lp, dialer);
}

#[test]
fn hostile_20_refused_dials_close_once_and_say_why() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (mut lp, dialer) = play(Os::new().unwrap(), client);
    dial_to(&mut lp, dialer, gone, PATIENCE);
    dial_to(&mut lp, dialer, Address::Unix("/nonexistent/socket".into()), PATIENCE);
    dial_to(&mut lp, dialer, Address::Unix("x".repeat(300).into()), PATIENCE);
    dial_to(&mut lp, dialer, "255.255.255.255:9".parse::<SocketAddr>().unwrap(), PATIENCE);
    lp.run().unwrap();
    let play = &lp.get(dialer).protocol;
    let mut closed = play.closed.clone();
    closed.sort_by_key(|(n, _)| *n);
    assert_eq!(closed[0].1, Close::Dial(ErrorKind::ConnectionRefused));
    assert_eq!(closed[1].1, Close::Dial(ErrorKind::NotFound));
    assert!(closed[2..].iter().all(|(_, why)| matches!(why, Close::Dial(_))), "{closed:?}");
    assert!(play.log.is_empty(), "none opened");
    finish(&mut lp, dialer);
}

/// A listener whose queue is full answers no SYN: the nearest thing to a black hole.
#[test]
fn hostile_20_a_dial_into_a_black_hole_times_out() {
    const LIMIT: Duration = Duration::from_millis(150);
    let mut hole = Os::new().unwrap();
    let mut how = ListenOptions::default();
    how.backlog = 1;
    let id = Id { birth: 1, slot: 0, driver: 0 };
    let any = Address::Ip("127.0.0.1:0".parse().unwrap());
    let (_, at) = loopwork_reactor::Streams::listen(&mut hole, &any, &how, id).unwrap();
    let (mut lp, dialer) = play(Os::new().unwrap(), |_, _, _| 0);
    let begun = Instant::now();
    for _ in 0..8 {
        dial_to(&mut lp, dialer, at.clone(), LIMIT);
    }
    until_closed(&mut lp, dialer, 6);
    assert!(begun.elapsed() >= LIMIT, "early");
    let play = &lp.get(dialer).protocol;
    assert!(play.closed.iter().all(|(_, why)| *why == Close::Dial(ErrorKind::TimedOut)));
    assert!(play.log.iter().all(|(_, what)| *what == "open"));
    // Dials under way when the host shuts down are given up.
    dial_to(&mut lp, dialer, at, PATIENCE);
    lp.turn(Some(Duration::ZERO)).unwrap();
    shutdown(&mut lp.env, dialer);
    turn_until(&mut lp, |lp| lp.get(dialer).protocol.closed.last().unwrap().1 == Close::Aborted);
    drop(hole);
    finish(&mut lp, dialer);
}

#[test]
fn a_dial_from_an_address_of_ours() {
    let (mut lp, host, at) = server(echo);
    let dialer = more(&mut lp, client);
    let from: SocketAddr = "127.0.0.9:0".parse().unwrap();
    dial_to(&mut lp, dialer, at, PATIENCE);
    lp.get(dialer).protocol.given += 2;
    for (n, from) in [(1, from), (2, "203.0.113.7:0".parse().unwrap())] {
        let conn = Seat { n, ..Seat::default() };
        Dial { to: at.into(), from: Some(from), timeout: PATIENCE, conn }.send(&mut lp.env, dialer);
    }
    until_closed(&mut lp, dialer, 3);
    let closed = lp.get(dialer).protocol.closed.clone();
    assert!(closed.contains(&(2, Close::Dial(ErrorKind::AddrNotAvailable))), "{closed:?}");
    until_closed(&mut lp, host, 2);
    assert_eq!(lp.get(host).protocol.peers[1].ip().unwrap().ip(), from.ip());
    finish(&mut lp, host);
    finish(&mut lp, dialer);
}

#[test]
fn no_option_and_no_timer_of_a_dial_outlives_it() {
    let (mut lp, host, at) = server(|seat, io, on| {
        if let On::Open = on {
            io.abort(Close::Aborted);
        }
        echo(seat, io, on)
    });
    let dialer = more(&mut lp, client);
    dial_to(&mut lp, dialer, at, PATIENCE);
    until_closed(&mut lp, dialer, 1);
    assert!(lp.env.calls.timers.is_empty());
    // The reset may be there before it was seen that the connection stood.
    let why = lp.get(dialer).protocol.closed[0].1;
    assert!(matches!(why, Close::Reset | Close::Dial(ErrorKind::ConnectionReset)), "{why}");
    finish(&mut lp, host);
    finish(&mut lp, dialer);
}

#[test]
fn a_refusing_host_hangs_up() {
    let (mut lp, host, at) = server(echo);
    lp.get(host).protocol.refuse = true;
    let stream = peer(at);
    idle(&mut lp);
    assert_eq!(read_all(stream), b"");
    assert!(lp.get(host).is_empty());
    finish(&mut lp, host);
}

#[test]
fn a_port_in_use_is_an_error() {
    let (mut lp, host, at) = server(echo);
    assert_ne!(at.port(), 0, "the real port");
    for _ in 0..2 {
        let again = listen_at(&mut lp, host, &at.into(), &ListenOptions::default());
        assert_eq!(again.unwrap_err().kind(), ErrorKind::AddrInUse);
    }
    let strange = "203.0.113.7:0".parse().unwrap();
    let (_, second) = listen(&mut lp, "127.0.0.1:0".parse().unwrap(), Nothing).unwrap();
    assert_ne!(second.port(), at.port());
    assert_eq!(
        listen(&mut lp, strange, Nothing).err().unwrap().kind(),
        ErrorKind::AddrNotAvailable
    );
    // After the failures the listener that stands still serves.
    let mut stream = peer(at);
    stream.write_all(b"x").unwrap();
    turn_until(&mut lp, |lp| lp.get(host).protocol.calls(0).contains(&"data"));
}

struct Nothing;

impl loopwork_tcp::Protocol for Nothing {
    type Conn = ();
    fn on_data(&mut self, _: &mut (), _: &mut loopwork_tcp::Io<'_>, bytes: &mut [u8]) -> usize {
        bytes.len()
    }
}

#[test]
fn two_listeners_share_a_port_when_both_say_so() {
    let (mut lp, host) = play(Os::new().unwrap(), echo);
    let mut how = ListenOptions::default();
    how.reuse_port = true;
    how.keepalive = Some(Duration::from_secs(30).into());
    how.nodelay = false;
    let any = Address::Ip("127.0.0.1:0".parse().unwrap());
    let at = listen_at(&mut lp, host, &any, &how).unwrap();
    assert_eq!(listen_at(&mut lp, host, &at, &how).unwrap(), at);
    let streams: Vec<_> = (0..8).map(|_| peer(at.ip().unwrap())).collect();
    turn_until(&mut lp, |lp| lp.get(host).len() == 8);
    drop(streams);
    finish(&mut lp, host);
}

#[test]
fn hostile_23_a_burst_is_accepted_by_the_turn() {
    const BURST: usize = 3 * ACCEPTS_PER_TURN + 7;
    let (mut lp, host, at) = server(echo);
    let streams: Vec<_> = (0..BURST).map(|_| peer(at)).collect();
    for turn in 1..=3 {
        lp.turn(Some(Duration::from_secs(1))).unwrap();
        assert_eq!(lp.get(host).protocol.given, turn * ACCEPTS_PER_TURN);
    }
    turn_until(&mut lp, |lp| lp.get(host).len() == BURST);
    drop(streams);
    until_closed(&mut lp, host, BURST);
    finish(&mut lp, host);
}

/// A path of this process's own, below the folder for such things.
fn path(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("loopwork-{}-{name}", std::process::id()))
}

#[test]
fn unix_sockets_by_path() {
    let at = Address::Unix(path("by-path"));
    let Address::Unix(file) = &at else { unreachable!() };
    let (mut lp, host) = play(Os::new().unwrap(), echo);
    let bound = listen_at(&mut lp, host, &at, &ListenOptions::default()).unwrap();
    assert_eq!(bound, at);
    assert!(file.exists());
    let again = listen_at(&mut lp, host, &at, &ListenOptions::default());
    assert_eq!(again.unwrap_err().kind(), ErrorKind::AddrInUse);
    let mut stream = UnixStream::connect(file).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"over there").unwrap();
    turn_until(&mut lp, |lp| lp.get(host).protocol.calls(0) == ["open", "data"]);
    let mut back = [0; 10];
    stream.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"over there");
    let id = lp.get(host).protocol.ids[0];
    assert_eq!(addresses(&mut lp, host, id), Some((at.clone(), Address::Unix("".into()))));
    drop(stream);
    let dialer = more(&mut lp, client);
    dial_to(&mut lp, dialer, at.clone(), PATIENCE);
    until_closed(&mut lp, dialer, 1);
    assert_eq!(lp.get(dialer).protocol.closed, [(0, Close::Finished)]);
    finish(&mut lp, host);
    assert!(!file.exists(), "unlinked when it was closed");
    finish(&mut lp, dialer);
}

#[test]
fn a_unix_path_goes_with_its_loop() {
    let file = path("with-loop");
    let at = Address::Unix(file.clone());
    for _ in 0..2 {
        let (mut lp, host) = play(Os::new().unwrap(), echo);
        listen_at(&mut lp, host, &at, &ListenOptions::default()).expect("free again");
        lp.env.calls.stop();
        lp.run().unwrap();
        assert!(file.exists());
    }
    assert!(!file.exists());
}

#[test]
fn unix_sockets_without_a_file() {
    let name = format!("\0loopwork-{}", std::process::id());
    let (mut lp, host) = play(Os::new().unwrap(), echo);
    let named = Address::Unix(name.into());
    let how = ListenOptions::default();
    assert_eq!(listen_at(&mut lp, host, &named, &how).unwrap(), named);
    // Without a name the system gives one.
    let given = listen_at(&mut lp, host, &Address::Unix("".into()), &how).unwrap();
    assert!(matches!(&given, Address::Unix(name) if name.as_os_str().len() == 6), "{given:?}");
    let dialer = more(&mut lp, client);
    dial_to(&mut lp, dialer, named, PATIENCE);
    dial_to(&mut lp, dialer, given, PATIENCE);
    until_closed(&mut lp, dialer, 2);
    assert!(lp.get(dialer).protocol.closed.iter().all(|(_, why)| *why == Close::Finished));
    finish(&mut lp, host);
    finish(&mut lp, dialer);
}

/// Settings that TCP alone has are refused by the world, and the connection does not mind.
#[test]
fn unix_sockets_end_and_reset_as_tcp_does() {
    let at = Address::Unix(format!("\0loopwork-ends-{}", std::process::id()).into());
    let (mut lp, host) = play(Os::new().unwrap(), |seat, io, on| match on {
        On::Open => {
            io.set(loopwork_reactor::StreamOption::NoDelay(true));
            0
        }
        On::Data(bytes) if bytes == b"pause" => {
            io.pause();
            bytes.len()
        }
        _ => echo(seat, io, on),
    });
    listen_at(&mut lp, host, &at, &ListenOptions::default()).unwrap();
    let name = match &at {
        Address::Unix(path) => path.as_os_str().as_encoded_bytes()[1..].to_vec(),
        Address::Ip(_) => unreachable!(),
    };
    use std::os::linux::net::SocketAddrExt;
    let to = std::os::unix::net::SocketAddr::from_abstract_name(name).unwrap();
    // Data and end at once; then one that leaves without reading the echo.
    let mut first = UnixStream::connect_addr(&to).unwrap();
    first.write_all(b"bye").unwrap();
    first.shutdown(std::net::Shutdown::Write).unwrap();
    until_closed(&mut lp, host, 1);
    assert_eq!(read_all(first), b"bye");
    let mut second = UnixStream::connect_addr(&to).unwrap();
    second.write_all(b"echo").unwrap();
    turn_until(&mut lp, |lp| lp.get(host).protocol.calls(1) == ["open", "data"]);
    second.write_all(b"pause").unwrap();
    idle(&mut lp);
    drop(second);
    until_closed(&mut lp, host, 2);
    assert_eq!(lp.get(host).protocol.closed, [(0, Close::Finished), (1, Close::Reset)]);
    finish(&mut lp, host);
}

#[test]
fn calls_on_a_socket_of_another_kind_are_errors() {
    use loopwork_reactor::{Streams, World};
    let mut os = Os::new().unwrap();
    let id = Id { birth: 1, slot: 0, driver: 0 };
    let at = "127.0.0.1:0".parse().unwrap();
    let (udp, _) = os.bind(at, &BindOptions::default(), id).unwrap();
    let (tcp, _) = Streams::listen(&mut os, &at.into(), &ListenOptions::default(), id).unwrap();
    for fd in [udp, tcp, loopwork_reactor::Fd(77)] {
        assert_eq!(os.read(fd, &mut [0; 8]).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(os.write(fd, b"x").unwrap_err().kind(), ErrorKind::InvalidInput);
        assert!(os.shutdown(fd).is_err() && os.connected(fd).is_err() && os.peer(fd).is_err());
    }
    assert!(os.accept(udp, id).is_err());
    assert_eq!(os.accept(tcp, id).unwrap_err().kind(), ErrorKind::WouldBlock);
    for fd in [udp, tcp, tcp, loopwork_reactor::Fd(77)] {
        os.close(fd);
        os.reset(fd);
    }
}

#[test]
fn two_hosts_of_one_loop_do_not_mix() {
    let (mut lp, first, at) = server(echo);
    let second = more(&mut lp, |_, io, on| match on {
        On::Data(bytes) => {
            let _ = io.write(b"second");
            io.end();
            bytes.len()
        }
        _ => 0,
    });
    let other = open(&mut lp, second);
    for (at, want) in [(at, &b"hello"[..]), (other, b"second")] {
        let mut stream = peer(at);
        stream.write_all(b"hello").unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        turn_until(&mut lp, |lp| lp.get(first).is_empty() && lp.get(second).is_empty());
        let both = |lp: &mut loopwork_reactor::Loop<Os>| {
            lp.get(first).protocol.closed.len() + lp.get(second).protocol.closed.len()
        };
        turn_until(&mut lp, |lp| both(lp) == if at == other { 2 } else { 1 });
        assert_eq!(read_all(stream), want);
    }
    finish_all(lp, &[first, second]);
}

fn finish_all(
    mut lp: loopwork_reactor::Loop<Os>,
    hosts: &[loopwork_reactor::Handle<loopwork_tcp::Host<support::Play>>],
) {
    for host in hosts {
        loopwork_tcp::unlisten(&mut lp.env, *host);
    }
    hosts.iter().for_each(|host| finish(&mut lp, *host));
}
