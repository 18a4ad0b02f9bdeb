//! Sockets that come from elsewhere, connections that go there, and what the kernel says of both.

mod support;

use loopwork_reactor::mio::{self, unix::SourceFd};
use loopwork_reactor::{
    Address, Cx, Driver, Handle, Id, ListenOptions, Loop, Os, Ready, TcpState, listen_fds,
    receive_descriptors, send_descriptors,
};
use loopwork_sim::Sim;
use loopwork_tcp::{
    Close, Detached, Host, addresses, adopt, credentials, detach, info, listen_at, listen_on,
};
use socket2::{Domain, SockAddr, Socket, Type};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Command;
use std::thread;
use std::time::Duration;
use support::{
    On, PATIENCE, Play, Seat, echo, fill, finish, idle, peer, play, read_all, server, turn_until,
    until_closed,
};

fn real() -> (Loop<Os>, Handle<Host<Play>>) {
    play(Os::new().unwrap(), echo)
}

fn adopted(lp: &mut Loop<Os>, host: Handle<Host<Play>>, socket: impl Into<OwnedFd>) {
    let conn = lp.get(host).protocol.seat();
    adopt(&mut lp.env, host, socket, conn);
}

/// A word there and back.
fn serves(lp: &mut Loop<Os>, host: Handle<Host<Play>>, mut stream: impl Read + Write) {
    let n = lp.get(host).protocol.given;
    stream.write_all(b"over there").unwrap();
    let heard = |lp: &mut Loop<Os>| lp.get(host).protocol.calls(n).contains(&"data");
    turn_until(lp, heard);
    stream.read_exact(&mut [0; 10]).unwrap();
}

#[test]
fn a_listener_of_tcp_that_listens_already() {
    let (mut lp, host) = real();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let mut waiting = peer(at);
    waiting.write_all(b"early").unwrap();
    let found = listen_on(&mut lp, host, listener, &ListenOptions::default()).unwrap();
    assert_eq!(found, Address::Ip(at));
    turn_until(&mut lp, |lp| lp.get(host).protocol.calls(0) == ["open", "data"]);
    waiting.read_exact(&mut [0; 5]).unwrap();
    serves(&mut lp, host, peer(at));
    drop(waiting);
    finish(&mut lp, host);
}

/// Node's `BoundSocket`: the port is ours before anyone may connect.
#[test]
fn a_socket_that_is_bound_and_does_not_listen_yet() {
    let (mut lp, host) = real();
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SockAddr::from("127.0.0.1:0".parse::<SocketAddr>().unwrap())).unwrap();
    let at = socket.local_addr().unwrap().as_socket().unwrap();
    listen_on(&mut lp, host, socket, &ListenOptions::default()).unwrap();
    serves(&mut lp, host, peer(at));
    finish(&mut lp, host);
}

#[test]
fn a_listener_of_a_unix_path_leaves_the_path() {
    let file = std::env::temp_dir().join(format!("loopwork-adopt-{}", std::process::id()));
    let (mut lp, host) = real();
    let listener = UnixListener::bind(&file).unwrap();
    let at = listen_on(&mut lp, host, listener, &ListenOptions::default()).unwrap();
    assert_eq!(at, Address::Unix(file.clone()));
    let stream = UnixStream::connect(&file).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    serves(&mut lp, host, stream);
    finish(&mut lp, host);
    assert!(file.exists(), "whoever made it removes it");
    std::fs::remove_file(&file).unwrap();
}

#[test]
fn what_is_no_listener_is_refused() {
    let (mut lp, host) = real();
    let how = ListenOptions::default();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let error = listen_on(&mut lp, host, udp, &how).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let file = std::fs::File::open("/dev/null").unwrap();
    assert!(listen_on(&mut lp, host, file, &how).is_err());
    let (one, _other) = UnixStream::pair().unwrap();
    assert!(listen_on(&mut lp, host, one, &how).is_err(), "it is connected");
    finish(&mut lp, host);
}

#[test]
fn streams_that_are_connected_are_adopted() {
    let (mut lp, host) = real();
    let (ours, theirs) = UnixStream::pair().unwrap();
    theirs.set_read_timeout(Some(PATIENCE)).unwrap();
    adopted(&mut lp, host, ours);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut far = peer(listener.local_addr().unwrap());
    // What came before is read, and the end behind it too.
    far.write_all(b"early").unwrap();
    far.shutdown(Shutdown::Write).unwrap();
    adopted(&mut lp, host, listener.accept().unwrap().0);
    until_closed(&mut lp, host, 1);
    assert_eq!(lp.get(host).protocol.closed, [(1, Close::Finished)]);
    assert_eq!(lp.get(host).protocol.calls(1), ["open", "data", "end"]);
    assert_eq!(read_all(far), b"early");
    (&theirs).write_all(b"a pair").unwrap();
    theirs.shutdown(Shutdown::Write).unwrap();
    until_closed(&mut lp, host, 2);
    assert_eq!(read_all(theirs), b"a pair");
    finish(&mut lp, host);
}

#[test]
fn what_is_no_connection_is_not_adopted() {
    let (mut lp, host) = real();
    adopted(&mut lp, host, UdpSocket::bind("127.0.0.1:0").unwrap());
    adopted(&mut lp, host, std::fs::File::open("/dev/null").unwrap());
    adopted(&mut lp, host, TcpListener::bind("127.0.0.1:0").unwrap());
    until_closed(&mut lp, host, 3);
    let closed = &lp.get(host).protocol.closed;
    assert_eq!(closed[0].1, Close::Dial(ErrorKind::InvalidInput));
    assert!(matches!(closed[1].1, Close::Dial(_)));
    assert_eq!(closed[2].1, Close::Dial(ErrorKind::NotConnected));
    finish(&mut lp, host);
}

#[test]
fn a_connection_is_given_away_with_what_was_not_used() {
    let (mut lp, host, at) = server(|seat, io, on| match on {
        On::Open => {
            io.set_deadline(Some(io.env.now.after(PATIENCE)));
            0
        }
        // A protocol that knows where another's begins.
        On::Data(bytes) => {
            seat.got.extend_from_slice(&bytes[..3]);
            io.pause();
            3
        }
        _ => 0,
    });
    let mut stream = peer(at);
    stream.write_all(b"oneother").unwrap();
    turn_until(&mut lp, |lp| lp.get(host).protocol.calls(0) == ["open", "data"]);
    let id = lp.get(host).protocol.ids[0];
    let gone = detach(&mut lp, host, id).unwrap();
    assert_eq!((&gone.conn.got[..], &gone.unread[..]), (&b"one"[..], &b"other"[..]));
    assert!(lp.get(host).is_empty());
    assert_eq!(detach(&mut lp, host, id).err().unwrap().kind(), ErrorKind::NotConnected);
    lp.env.wake(id);
    // Nothing of it reaches the loop any more.
    stream.write_all(b"more").unwrap();
    lp.measure(true);
    idle(&mut lp);
    assert_eq!(lp.metrics().unwrap().events, 0);
    let mut taken = TcpStream::from(gone.socket);
    taken.set_nonblocking(false).unwrap();
    let mut more = [0; 4];
    taken.read_exact(&mut more).unwrap();
    taken.write_all(b"well").unwrap();
    stream.read_exact(&mut more).unwrap();
    assert_eq!(&more, b"well");
    // The host has given one state that no `on_close` takes.
    lp.get(host).protocol.given -= 1;
    finish(&mut lp, host);
}

/// A loop whose host adopts what comes in by a Unix socket, with the bytes that come along.
struct Door {
    id: Id,
    from: UnixStream,
    host: Handle<Host<Play>>,
}

impl Driver<Os> for Door {
    fn on_ready(&mut self, cx: &mut Cx<'_, Os>, _: Ready) {
        let mut sockets = Vec::new();
        while let Ok(n @ 1..) = receive_descriptors(&self.from, cx.buffer, &mut sockets) {
            for socket in sockets.drain(..) {
                // The first byte is there to carry the descriptor.
                let unread = cx.buffer[1..n].to_vec();
                Detached { socket, unread, conn: Seat::default() }.adopt(cx.env, self.host);
            }
        }
    }
}

/// A connection that one loop has accepted, and begun to read, is served by another to its end.
#[test]
fn a_connection_is_handed_over_to_another_process() {
    let (mut lp, host, at) = server(|_, io, on| {
        if let On::Data(_) = on {
            io.pause();
        }
        0
    });
    let (out, from) = UnixStream::pair().unwrap();
    let serving = thread::spawn(move || {
        let (mut lp, host) = real();
        let birth = lp.env.calls.birth();
        let door = lp.add(|handle| {
            let id = Id { birth, slot: 0, driver: handle.driver };
            Door { id, from, host }
        });
        lp.with(door, |door, cx| {
            let mut source = SourceFd(&door.from.as_raw_fd());
            cx.world.watch(&mut source, door.id, mio::Interest::READABLE).unwrap();
        });
        lp.get(host).protocol.given = 3;
        until_closed(&mut lp, host, 3);
        let closed = &lp.get(host).protocol.closed;
        assert!(closed.iter().all(|(_, why)| *why == Close::Finished));
    });
    for n in 0..3 {
        let mut stream = peer(at);
        stream.write_all(b"the beginning, ").unwrap();
        turn_until(&mut lp, |lp| lp.get(host).protocol.calls(n) == ["open", "data"]);
        let id = lp.get(host).protocol.ids[n];
        let gone = detach(&mut lp, host, id).unwrap();
        let message = [b"!", &gone.unread[..]].concat();
        send_descriptors(&out, &message, &[gone.socket.as_fd()]).unwrap();
        drop(gone);
        stream.write_all(b"and the end").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_all(stream), b"the beginning, and the end");
    }
    serving.join().unwrap();
    lp.get(host).protocol.given = 0;
    finish(&mut lp, host);
}

#[test]
fn a_connection_with_output_is_not_given_away() {
    let (mut lp, host, at) = server(|_, io, on| {
        if let On::Open = on {
            let mut much = vec![0; 16 << 20];
            fill(0, &mut much);
            let _ = io.write(&much);
        }
        0
    });
    let stream = peer(at);
    turn_until(&mut lp, |lp| lp.get(host).len() == 1);
    let id = lp.get(host).protocol.ids[0];
    assert_eq!(detach(&mut lp, host, id).err().unwrap().kind(), ErrorKind::WouldBlock);
    let reader = std::thread::spawn(move || {
        let (mut all, mut stream) = (vec![0; 16 << 20], stream);
        stream.read_exact(&mut all).map(|()| support::check(0, &all)).unwrap();
    });
    turn_until(&mut lp, |lp| lp.get(host).protocol.calls(0).contains(&"drain"));
    reader.join().unwrap();
    // Its peer is gone: the events that wait are for nobody.
    let gone = detach(&mut lp, host, id).unwrap();
    idle(&mut lp);
    drop(gone);
    lp.get(host).protocol.given -= 1;
    finish(&mut lp, host);
}

#[test]
fn a_world_without_descriptors_says_so() {
    let (mut lp, host) = play(Sim::new(1), echo);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let how = ListenOptions::default();
    let error = listen_on(&mut lp, host, listener, &how).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let conn = lp.get(host).protocol.seat();
    adopt(&mut lp.env, host, UnixStream::pair().unwrap().0, conn);
    until_closed(&mut lp, host, 1);
    let at = support::open(&mut lp, host);
    support::dial_to(&mut lp, host, at, PATIENCE);
    turn_until(&mut lp, |lp| lp.get(host).protocol.calls(1) == ["open"]);
    let id = lp.get(host).ids().next().unwrap();
    let kind = |e: std::io::Error| e.kind();
    assert_eq!(detach(&mut lp, host, id).map_err(kind).err(), Some(ErrorKind::Unsupported));
    assert_eq!(info(&mut lp, host, id).map_err(kind), Err(ErrorKind::Unsupported));
    assert_eq!(credentials(&mut lp, host, id).map_err(kind), Err(ErrorKind::Unsupported));
    assert!(addresses(&mut lp, host, id).is_some(), "it stands all the same");
    loopwork_tcp::shutdown(&mut lp.env, host);
    finish(&mut lp, host);
}

#[test]
fn the_kernel_tells_of_a_connection() {
    let (mut lp, host, at) = server(echo);
    let mut stream = peer(at);
    let mut word = vec![7; 100_000];
    let mut writer = stream.try_clone().unwrap();
    let writing = std::thread::spawn(move || writer.write_all(&[7; 100_000]).unwrap());
    let reading = std::thread::spawn(move || {
        stream.read_exact(&mut word).unwrap();
        stream
    });
    turn_until(&mut lp, |lp| lp.get(host).len() == 1);
    let id = lp.get(host).protocol.ids[0];
    let told = |lp: &mut Loop<Os>| info(lp, host, id).unwrap();
    // The peer's acknowledgement of the last byte may come a moment later than the byte.
    turn_until(&mut lp, |lp| told(lp).bytes_acknowledged >= 100_000);
    let stream = reading.join().unwrap();
    writing.join().unwrap();
    let about = told(&mut lp);
    assert_eq!(about.state, TcpState::Established);
    assert_eq!((about.bytes_received, about.bytes_sent - about.bytes_resent), (100_000, 100_000));
    assert_eq!((about.unsent, about.unacknowledged, about.lost), (0, 0, 0));
    assert!(about.round_trip > Duration::ZERO && about.round_trip < PATIENCE);
    assert!(about.round_trip_min <= about.round_trip + about.round_trip_deviation * 8);
    assert!(about.retransmit_timeout >= Duration::from_millis(1));
    assert!(about.congestion_window >= 1 && about.segment >= 500);
    assert!(about.delivery_rate > 0 && about.pacing_rate > 0 && !about.syn_data);
    assert_eq!(credentials(&mut lp, host, id).unwrap_err().kind(), ErrorKind::Unsupported);
    drop(stream);
    until_closed(&mut lp, host, 1);
    assert_eq!(info(&mut lp, host, id).unwrap_err().kind(), ErrorKind::NotConnected);
    finish(&mut lp, host);
}

#[test]
fn what_a_peer_does_not_read_is_unsent() {
    let (mut lp, host, at) = server(|_, io, on| {
        if let On::Open = on {
            let _ = io.write(&[7; 32 << 20]);
        }
        0
    });
    let stream = peer(at);
    turn_until(&mut lp, |lp| lp.get(host).len() == 1);
    let id = lp.get(host).protocol.ids[0];
    turn_until(&mut lp, |lp| info(lp, host, id).unwrap().unsent > 0);
    drop(stream);
    until_closed(&mut lp, host, 1);
    finish(&mut lp, host);
}

#[test]
fn a_unix_socket_tells_who_is_there() {
    let (mut lp, host) = real();
    let at = Address::Unix(format!("\0loopwork-who-{}", std::process::id()).into());
    listen_at(&mut lp, host, &at, &ListenOptions::default()).unwrap();
    support::dial_to(&mut lp, host, at, PATIENCE);
    turn_until(&mut lp, |lp| lp.get(host).len() == 2);
    let ids: Vec<_> = lp.get(host).ids().collect();
    for id in ids {
        let who = credentials(&mut lp, host, id).unwrap();
        assert_eq!(who.pid, Some(std::process::id()));
        let own = std::fs::read_to_string("/proc/self/status").unwrap();
        let field = |name: &str| {
            let line = own.lines().find(|l| l.starts_with(name)).unwrap();
            line.split_whitespace().nth(2).unwrap().parse::<u32>().unwrap()
        };
        assert_eq!((who.uid, who.gid), (field("Uid:"), field("Gid:")));
        assert_eq!(info(&mut lp, host, id).unwrap_err().kind(), ErrorKind::Unsupported);
    }
    loopwork_tcp::shutdown(&mut lp.env, host);
    finish(&mut lp, host);
}

/// Says to a child which scenario it is; without it a scenario does nothing.
const CHILD: &str = "LOOPWORK_ADOPT_CHILD";

/// Runs a scenario in a process of its own, started as a supervisor does, the listener being its
/// descriptors 3 and 4.
fn supervised(scenario: &str, variables: &str, listener: OwnedFd) -> String {
    let run =
        format!("exec 3<&0 4<&0 0</dev/null; {variables} exec \"$0\" --exact \"$1\" --nocapture");
    let child = Command::new("sh")
        .args(["-c", &run])
        .arg(std::env::current_exe().expect("this test binary"))
        .arg(format!("child_{scenario}"))
        .env(CHILD, scenario)
        .stdin(listener)
        .output()
        .expect("a shell");
    let said = String::from_utf8_lossy(&child.stderr) + String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && said.contains("survived"), "{said}");
    said.into_owned()
}

#[test]
fn listeners_of_a_supervisor_are_taken_over() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let variables = "LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=web";
    supervised("inherits", variables, listener.into());
}

#[test]
fn child_inherits() {
    if std::env::var(CHILD).as_deref() != Ok("inherits") {
        return;
    }
    let mut all = listen_fds().unwrap();
    assert_eq!(all.iter().map(|i| &i.name[..]).collect::<Vec<_>>(), ["web", "unknown"]);
    assert!(listen_fds().unwrap().is_empty(), "once");
    let closes = |fd: &OwnedFd| Socket::from(fd.try_clone().unwrap()).is_listener().unwrap();
    assert!(all.iter().all(|i| closes(&i.socket)));
    let listed = Command::new("ls").args(["-l", "/proc/self/fd"]).output().unwrap();
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(!listed.contains("socket:"), "programs that are started do not have it:\n{listed}");
    let (mut lp, host) = real();
    let at = listen_on(&mut lp, host, all.remove(0).socket, &ListenOptions::default()).unwrap();
    serves(&mut lp, host, peer(at.ip().unwrap()));
    finish(&mut lp, host);
    eprintln!("survived");
}

#[test]
fn what_is_for_another_process_or_makes_no_sense_is_left_alone() {
    for variables in [
        "",
        "LISTEN_PID=1 LISTEN_FDS=2",
        "LISTEN_FDS=2",
        "LISTEN_PID=$$ LISTEN_FDS=0",
        "LISTEN_PID=$$",
        "LISTEN_PID=$$ LISTEN_FDS=-1",
        "LISTEN_PID=$$ LISTEN_FDS=many",
        "LISTEN_PID=$$ LISTEN_FDS=1025",
        "LISTEN_PID=$$ LISTEN_FDS=999",
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let said = supervised("inherits_nothing", variables, listener.into());
        let wrong =
            ["=$$ LISTEN_FDS=-", "=many", "=1025", "=999"].iter().any(|w| variables.contains(w));
        let wrong = wrong || variables == "LISTEN_PID=$$";
        assert_eq!(said.contains("an error"), wrong, "{variables}: {said}");
    }
}

#[test]
fn child_inherits_nothing() {
    if std::env::var(CHILD).as_deref() != Ok("inherits_nothing") {
        return;
    }
    match listen_fds() {
        Ok(all) => assert!(all.is_empty()),
        Err(_) => eprintln!("an error"),
    }
    // They are open still, whoever they are for.
    assert!(std::fs::exists("/proc/self/fd/3").unwrap());
    eprintln!("survived");
}
