//! What a peer, or the network, does below the stream of bytes: urgent data, and silence.

mod support;

use loopwork_reactor::{Address, Handle, Id, KeepAlive, ListenOptions, Loop, Os, StreamOption};
use loopwork_tcp::{Close, Host, listen_at};
use socket2::{SockFilter, SockRef};
use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};
use support::{
    On, PATIENCE, Play, echo, finish, idle, peer, play, read_all, server, turn_until, until_closed,
};

/// How many bytes the protocol was shown by the first connection.
fn received(lp: &mut Loop<Os>, host: Handle<Host<Play>>) -> usize {
    let id: Id = lp.get(host).protocol.ids[0];
    lp.get(host).conn(id).expect("it stands").number as usize
}

fn counting_echo(seat: &mut support::Seat, io: &mut loopwork_tcp::Io<'_>, on: On<'_>) -> usize {
    if let On::Data(bytes) = &on {
        seat.number += bytes.len() as u64;
    }
    echo(seat, io, on)
}

/// Urgent bytes are not part of the stream, as in Node. The kernel ends a read in front of one, and
/// that short read is not the last: what stands behind it must come too, without another edge.
#[test]
fn hostile_25_urgent_data_is_left_out_and_what_is_behind_it_is_not_held_up() {
    let (mut lp, host, at) = server(counting_echo);
    let mut stream = peer(at);
    turn_until(&mut lp, |lp| lp.get(host).len() == 1);
    for round in 1..=3 {
        // All of it is there before the loop looks.
        stream.write_all(b"before").unwrap();
        assert_eq!(SockRef::from(&stream).send_out_of_band(b"!").unwrap(), 1);
        stream.write_all(b"behind").unwrap();
        turn_until(&mut lp, |lp| received(lp, host) == round * 12);
    }
    stream.shutdown(Shutdown::Write).unwrap();
    until_closed(&mut lp, host, 1);
    assert_eq!(read_all(stream), b"beforebehind".repeat(3));
    assert_eq!(lp.get(host).protocol.closed, [(0, Close::Finished)]);
    finish(&mut lp, host);
}

#[test]
fn hostile_25_urgent_data_of_a_unix_socket_likewise() {
    let name = format!("loopwork-urgent-{}", std::process::id());
    let (mut lp, host) = play(Os::new().unwrap(), counting_echo);
    let at = Address::Unix(format!("\0{name}").into());
    listen_at(&mut lp, host, &at, &ListenOptions::default()).unwrap();
    let to = std::os::unix::net::SocketAddr::from_abstract_name(name).unwrap();
    let mut stream = UnixStream::connect_addr(&to).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    turn_until(&mut lp, |lp| lp.get(host).len() == 1);
    for round in 1..=3 {
        stream.write_all(b"before").unwrap();
        // A kernel may be built without.
        if let Err(e) = SockRef::from(&stream).send_out_of_band(b"!") {
            assert_eq!(e.raw_os_error(), Some(95), "EOPNOTSUPP: {e}");
        }
        stream.write_all(b"behind").unwrap();
        turn_until(&mut lp, |lp| received(lp, host) == round * 12);
    }
    stream.shutdown(Shutdown::Write).unwrap();
    until_closed(&mut lp, host, 1);
    assert_eq!(read_all(stream), b"beforebehind".repeat(3));
    finish(&mut lp, host);
}

#[test]
fn hostile_25_nothing_but_urgent_data_is_nothing_and_does_not_spin() {
    let (mut lp, host, at) = server(echo);
    lp.measure(true);
    let stream = peer(at);
    turn_until(&mut lp, |lp| lp.get(host).len() == 1);
    idle(&mut lp);
    let before = lp.metrics().expect("it measures").events;
    for _ in 0..50 {
        SockRef::from(&stream).send_out_of_band(b"!").unwrap();
        idle(&mut lp);
    }
    let events = lp.metrics().expect("it measures").events - before;
    assert!(events <= 100, "{events} events for 50 bytes");
    assert_eq!(lp.get(host).protocol.calls(0), ["open"]);
    drop(stream);
    until_closed(&mut lp, host, 1);
    finish(&mut lp, host);
}

/// From now on this end hears nothing, and so acknowledges nothing: as a machine that is gone.
fn vanish(stream: &TcpStream) {
    const RETURN: u16 = 6;
    SockRef::from(stream).attach_filter(&[SockFilter::new(RETURN, 0, 0, 0)]).expect("a filter");
}

/// A server of which the peer vanishes; why the connection ended, and after what time.
fn silence(
    option: StreamOption,
    act: impl FnMut(&mut support::Seat, &mut loopwork_tcp::Io<'_>, On<'_>) -> usize + 'static,
) -> (Close, Duration) {
    let (mut lp, host) = play(Os::new().unwrap(), act);
    let mut how = ListenOptions::default();
    how.settings = vec![option];
    let at = Address::Ip("127.0.0.1:0".parse().unwrap());
    let at = listen_at(&mut lp, host, &at, &how).unwrap();
    let stream = peer(at.ip().unwrap());
    turn_until(&mut lp, |lp| lp.get(host).len() == 1);
    vanish(&stream);
    let (begun, id) = (Instant::now(), lp.get(host).protocol.ids[0]);
    lp.env.wake(id);
    until_closed(&mut lp, host, 1);
    let why = lp.get(host).protocol.closed[0].1;
    finish(&mut lp, host);
    (why, begun.elapsed())
}

#[test]
fn hostile_25_an_idle_peer_that_is_gone_is_noticed_by_the_probes() {
    let second = Duration::from_secs(1);
    let times = KeepAlive { idle: second, interval: Some(second), count: Some(1) };
    let (why, after) = silence(StreamOption::KeepAlive(Some(times)), echo);
    assert_eq!(why, Close::TimedOut);
    assert!(after >= second, "{after:?}");
}

#[test]
fn hostile_25_a_peer_that_acknowledges_nothing_is_given_up() {
    let wait = Duration::from_millis(300);
    let (why, after) = silence(StreamOption::UserTimeout(Some(wait)), |seat, io, on| {
        if let On::Wake = on {
            let _ = io.write(b"is anybody there?");
        }
        echo(seat, io, on)
    });
    assert_eq!(why, Close::TimedOut);
    assert!(after >= wait, "{after:?}");
}

/// Who cannot read must be told the reason too.
#[test]
fn hostile_25_a_full_or_paused_connection_is_given_up_for_the_same_reason() {
    let wait = StreamOption::UserTimeout(Some(Duration::from_millis(300)));
    let (why, _) = silence(wait, |_, io, on| {
        if let On::Wake = on {
            let _ = io.write(&[7; 16 << 20]);
        }
        0
    });
    assert_eq!(why, Close::TimedOut, "full");
    let (why, _) = silence(wait, |_, io, on| {
        if let On::Wake = on {
            let _ = io.write(b"is anybody there?");
            io.pause();
        }
        0
    });
    assert_eq!(why, Close::TimedOut, "paused");
}
