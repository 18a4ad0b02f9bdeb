//! How connections end over real sockets: resets, deadlines, messages that are too long, ids that
//! are late, hosts that shut down. Every wait is bounded.

mod support;

use loopwork_reactor::{Address, Id, StreamOption};
use loopwork_tcp::{CARRY_MAX, Close, addresses, shutdown, unlisten};
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};
use support::{
    On, Raw, check, echo, fill, finish, idle, peer, read_all, server, turn_until, until_closed,
};

#[test]
fn abort_shows_the_peer_a_reset() {
    let (mut lp, host, at) = server(|_, io, on| match on {
        On::Data(bytes) => {
            io.abort(Close::Aborted);
            bytes.len()
        }
        _ => 0,
    });
    let mut stream = peer(at);
    stream.write_all(b"go").unwrap();
    until_closed(&mut lp, host, 1);
    assert_eq!(stream.read(&mut [0; 9]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(lp.get(host).protocol.closed, [(0, Close::Aborted)]);
    finish(&mut lp, host);
}

#[test]
fn hostile_16_a_reset_in_the_middle_is_one_close() {
    let (mut lp, host, at) = server(echo);
    for n in 0..20 {
        let mut raw = Raw::new(at);
        raw.write(&[1; 1000]);
        if n % 2 == 0 {
            turn_until(&mut lp, |lp| lp.get(host).protocol.calls(n) == ["open", "data"]);
        }
        raw.reset();
        until_closed(&mut lp, host, n + 1);
        assert_eq!(lp.get(host).protocol.closed[n], (n, Close::Reset));
    }
    finish(&mut lp, host);
}

/// What came before the reset is shown before the close, also when writing failed first.
#[test]
fn hostile_21_bytes_before_a_reset_are_delivered_first() {
    let (mut lp, host, at) = server(|seat, io, on| match on {
        On::Open => {
            let _ = io.write(b"nobody reads this");
            0
        }
        On::Data(bytes) => {
            seat.got.extend_from_slice(bytes);
            let _ = io.write(b"nor this");
            bytes.len()
        }
        _ => echo(seat, io, on),
    });
    let mut heard = 0;
    for n in 0..20 {
        let mut raw = Raw::new(at);
        raw.write(b"last words");
        match n % 2 {
            // The end and then, since the greeting is not read, a reset.
            0 => raw.close(),
            _ => raw.reset(),
        }
        until_closed(&mut lp, host, n + 1);
        let play = &lp.get(host).protocol;
        assert_eq!(play.closed[n], (n, Close::Reset), "output was lost");
        let got = &play.seats[n].got[..];
        assert!(got == b"last words" || got.is_empty());
        heard += usize::from(!got.is_empty());
    }
    assert!(heard >= 10, "the kernel kept them, and only {heard} were shown");
    finish(&mut lp, host);
}

#[test]
fn hostile_16_a_reset_is_noticed_by_who_does_not_read() {
    let (mut lp, host, at) = server(|_, io, on| {
        if let On::Open = on {
            io.pause();
        }
        0
    });
    let mut raw = Raw::new(at);
    raw.write(b"unread");
    turn_until(&mut lp, |lp| lp.get(host).len() == 1);
    idle(&mut lp);
    raw.reset();
    until_closed(&mut lp, host, 1);
    assert_eq!(lp.get(host).protocol.closed, [(0, Close::Reset)]);
    assert_eq!(lp.get(host).protocol.calls(0), ["open"]);
    finish(&mut lp, host);
}

#[test]
fn hostile_16_a_reset_is_noticed_by_who_is_full() {
    let (mut lp, host, at) = server(|_, io, on| {
        if let On::Open = on {
            let _ = io.write(&[0; 32 << 20]);
        }
        0
    });
    let raw = Raw::new(at);
    turn_until(&mut lp, |lp| lp.get(host).len() == 1);
    idle(&mut lp);
    raw.reset();
    until_closed(&mut lp, host, 1);
    assert_eq!(lp.get(host).protocol.closed, [(0, Close::Reset)]);
    finish(&mut lp, host);
}

/// Paused, the end is not read: who pauses says so by `resume`. It costs no turns meanwhile.
#[test]
fn a_paused_connection_whose_peer_ended_rests_until_it_is_resumed() {
    let (mut lp, host, at) = server(|seat, io, on| match on {
        On::Open => {
            io.pause();
            0
        }
        On::Wake => {
            io.resume();
            0
        }
        _ => echo(seat, io, on),
    });
    let mut stream = peer(at);
    stream.write_all(b"said and gone").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    turn_until(&mut lp, |lp| lp.get(host).len() == 1);
    idle(&mut lp);
    let (begun, mut turns) = (Instant::now(), 0);
    while begun.elapsed() < Duration::from_millis(60) {
        lp.turn(Some(Duration::from_millis(20))).unwrap();
        turns += 1;
    }
    assert!(turns <= 5, "{turns} turns in 60 ms: it spins");
    let id = lp.get(host).protocol.ids[0];
    lp.env.wake(id);
    until_closed(&mut lp, host, 1);
    assert_eq!(read_all(stream), b"said and gone");
    assert_eq!(lp.get(host).protocol.calls(0), ["open", "wake", "data", "end"]);
    finish(&mut lp, host);
}

#[test]
fn a_message_that_is_too_long_ends_the_connection() {
    let (mut lp, host, at) = server(|seat, io, on| match on {
        // Waits for a line's end, and looks at what is new only.
        On::Data(bytes) => {
            seat.number = seat.number.max(bytes.len() as u64);
            0
        }
        _ => echo(seat, io, on),
    });
    let mut stream = peer(at);
    stream.write_all(&[b'x'; CARRY_MAX]).unwrap();
    turn_until(&mut lp, |lp| !lp.get(host).protocol.ids.is_empty());
    let id = lp.get(host).protocol.ids[0];
    turn_until(&mut lp, |lp| lp.get(host).conn(id).unwrap().number == CARRY_MAX as u64);
    idle(&mut lp);
    assert_eq!(lp.get(host).len(), 1, "just as much is allowed");
    stream.write_all(b"x").unwrap();
    until_closed(&mut lp, host, 1);
    assert_eq!(lp.get(host).protocol.closed, [(0, Close::Overrun)]);
    finish(&mut lp, host);
}

/// Who says that it keeps more is shown more, each byte where it belongs, and just as much.
#[test]
fn a_protocol_keeps_as_much_as_it_says() {
    // More than the buffer of the loop: what is kept needs no room in it.
    const MOST: usize = loopwork_reactor::READ_BUFFER + 100_000;
    let (mut lp, host, at) = server(|seat, io, on| match on {
        On::Data(bytes) => {
            check(seat.number, &bytes[seat.number as usize..bytes.len().min(MOST)]);
            seat.number = bytes.len() as u64;
            if bytes.len() == MOST && seat.size == 0 {
                check(0, bytes);
                seat.size = 1;
                let _ = io.write(b"!");
            }
            0
        }
        _ => echo(seat, io, on),
    });
    lp.get(host).protocol.keeps = MOST;
    let mut stream = peer(at);
    let mut sender = stream.try_clone().unwrap();
    let thread = std::thread::spawn(move || {
        let mut all = vec![0; MOST];
        fill(0, &mut all);
        sender.write_all(&all).unwrap();
    });
    turn_until(&mut lp, |_| thread.is_finished());
    thread.join().unwrap();
    turn_until(&mut lp, |lp| {
        let id = lp.get(host).protocol.ids[0];
        lp.get(host).conn(id).expect("it keeps as much").size == 1
    });
    stream.write_all(b"x").unwrap();
    until_closed(&mut lp, host, 1);
    assert_eq!(lp.get(host).protocol.closed, [(0, Close::Overrun)]);
    finish(&mut lp, host);
}

/// The cap holds for who pauses at new bytes, resumes, and uses nothing, too.
#[test]
fn a_message_that_is_too_long_is_no_longer_for_a_pause() {
    let (mut lp, host, at) = server(|seat, io, on| match on {
        On::Data(_) => {
            if io.count.received > seat.number {
                seat.number = io.count.received;
                io.pause();
                io.env.wake(io.id);
            }
            0
        }
        On::Wake => {
            io.resume();
            0
        }
        _ => 0,
    });
    let mut stream = peer(at);
    stream.set_nonblocking(true).unwrap();
    let (begun, mut sent) = (Instant::now(), 0);
    while lp.get(host).protocol.closed.is_empty() && begun.elapsed() < Duration::from_secs(1) {
        sent += stream.write(&[0; 1 << 16]).unwrap_or(0);
        lp.turn(Some(Duration::ZERO)).unwrap();
    }
    assert!(sent < 8 << 20, "{sent} bytes were taken in");
    assert_eq!(lp.get(host).protocol.closed, [(0, Close::Overrun)]);
    finish(&mut lp, host);
}

#[test]
fn deadlines_are_not_early_and_moving_one_back_is_no_timer_operation() {
    const STEP: Duration = Duration::from_millis(40);
    let (mut lp, host, at) = server(|seat, io, on| match on {
        On::Open => {
            io.set_deadline(Some(io.env.now.after(STEP)));
            0
        }
        On::Data(bytes) => {
            let before = (io.env.calls.timers.len(), io.env.calls.timers.next());
            io.set_deadline(Some(io.env.now.after(STEP)));
            assert_eq!(before, (io.env.calls.timers.len(), io.env.calls.timers.next()));
            seat.number = io.env.now.after(STEP).0;
            assert_eq!(io.deadline().unwrap().0, seat.number);
            let _ = io.write(bytes);
            bytes.len()
        }
        On::Timeout => {
            assert!(io.env.now.0 >= seat.number, "early");
            io.abort(Close::TimedOut);
            0
        }
        _ => 0,
    });
    let mut stream = peer(at);
    for _ in 0..12 {
        stream.write_all(b"alive").unwrap();
        lp.turn(Some(Duration::from_millis(10))).unwrap();
        std::thread::sleep(Duration::from_millis(10));
        lp.turn(Some(Duration::ZERO)).unwrap();
    }
    assert_eq!(lp.get(host).protocol.closed, [], "it was alive for three times the deadline");
    until_closed(&mut lp, host, 1);
    assert_eq!(lp.get(host).protocol.closed, [(0, Close::TimedOut)]);
    finish(&mut lp, host);
}

#[test]
fn deadlines_move_forward_go_away_and_come_back() {
    let (mut lp, host, at) = server(|seat, io, on| {
        let now = io.env.now;
        match on {
            On::Open => {
                io.set_deadline(Some(now.after(Duration::MAX)));
                io.set_deadline(Some(now.after(Duration::from_secs(3600))));
            }
            On::Data(bytes) => {
                match bytes[0] {
                    b'-' => io.set_deadline(None),
                    b'0' => io.set_deadline(Some(now)),
                    b'!' => io.set_deadline(Some(now.after(Duration::MAX))),
                    _ => io.set_deadline(Some(now.after(Duration::from_millis(15)))),
                }
                return bytes.len();
            }
            On::Timeout => seat.number += 1,
            _ => return echo(seat, io, on),
        }
        0
    });
    let mut stream = peer(at);
    turn_until(&mut lp, |lp| !lp.get(host).protocol.ids.is_empty());
    let id = lp.get(host).protocol.ids[0];
    // Sooner, at once, soon and then never.
    for (say, timeouts) in [(b"1", 1), (b"0", 2), (b"1", 3)] {
        stream.write_all(say).unwrap();
        turn_until(&mut lp, |lp| lp.get(host).conn(id).unwrap().number == timeouts);
    }
    for say in [b"1-", b"1!"] {
        for say in say {
            stream.write_all(&[*say]).unwrap();
            lp.turn(Some(Duration::from_millis(10))).unwrap();
        }
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(50) {
            lp.turn(Some(Duration::from_millis(10))).unwrap();
        }
        assert_eq!(lp.get(host).conn(id).unwrap().number, 3, "{say:?}");
    }
    drop(stream);
    until_closed(&mut lp, host, 1);
    finish(&mut lp, host);
}

#[test]
fn ids_that_are_late_miss() {
    let (mut lp, host, at) = server(echo);
    let first = peer(at);
    turn_until(&mut lp, |lp| lp.get(host).len() == 1);
    let old = lp.get(host).protocol.ids[0];
    assert!(lp.get(host).conn(old).is_some());
    drop(first);
    until_closed(&mut lp, host, 1);
    let second = peer(at);
    turn_until(&mut lp, |lp| lp.get(host).len() == 1);
    let new = lp.get(host).protocol.ids[1];
    assert_eq!((old.slot, old.driver), (new.slot, new.driver), "the slot is used again");
    let strange = Id { slot: u32::MAX, ..new };
    for id in [old, strange, Id { birth: 0, ..new }] {
        lp.env.wake(id);
        lp.env.calls.again(id);
        lp.env.calls.timers.arm(lp.env.now, id);
        assert!(lp.get(host).conn(id).is_none());
        assert!(addresses(&mut lp, host, id).is_none());
    }
    idle(&mut lp);
    assert_eq!(lp.get(host).protocol.calls(1), ["open"]);
    assert!(lp.get(host).ids().eq([new]));
    drop(second);
    finish(&mut lp, host);
}

#[test]
fn addresses_and_counters_are_those_of_the_peer() {
    let (mut lp, host, at) = server(|seat, io, on| {
        if let On::Data(_) = on {
            seat.number = io.count.sent;
        }
        if let On::End = on {
            seat.got = format!("{} {}", io.count.received, io.count.sent).into();
        }
        echo(seat, io, on)
    });
    let mut stream = peer(at);
    turn_until(&mut lp, |lp| lp.get(host).len() == 1);
    let id = lp.get(host).protocol.ids[0];
    let theirs: Address = stream.local_addr().unwrap().into();
    assert_eq!(addresses(&mut lp, host, id), Some((at.into(), theirs.clone())));
    assert_eq!(lp.get(host).protocol.peers, [theirs]);
    stream.write_all(b"12345").unwrap();
    turn_until(&mut lp, |lp| lp.get(host).protocol.calls(0).contains(&"data"));
    stream.write_all(b"678").unwrap();
    idle(&mut lp);
    assert_eq!(lp.get(host).conn(id).unwrap().number, 5);
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_some(&mut stream, 8), b"12345678");
    until_closed(&mut lp, host, 1);
    assert_eq!(lp.get(host).protocol.seats[0].got, b"8 8");
    finish(&mut lp, host);
}

#[test]
fn shutdown_tells_every_connection_and_then_run_returns() {
    let (mut lp, host, at) = server(echo);
    let streams: Vec<_> = (0..5).map(|_| peer(at)).collect();
    turn_until(&mut lp, |lp| lp.get(host).len() == 5);
    shutdown(&mut lp.env, host);
    let peers = std::thread::spawn(move || streams.into_iter().for_each(|s| drop(read_all(s))));
    lp.run().unwrap();
    peers.join().unwrap();
    let play = &lp.get(host).protocol;
    assert_eq!(play.closed.len(), 5);
    assert!((0..5).all(|n| play.calls(n) == ["open", "shutdown", "end"]), "{:?}", play.log);
    assert!(std::net::TcpStream::connect(at).is_err(), "nobody listens");
    finish(&mut lp, host);
}

#[test]
fn unlisten_leaves_the_connections() {
    let (mut lp, host, at) = server(echo);
    let mut stream = peer(at);
    turn_until(&mut lp, |lp| lp.get(host).len() == 1);
    unlisten(&mut lp.env, host);
    idle(&mut lp);
    assert!(std::net::TcpStream::connect(at).is_err(), "nobody listens");
    assert!(lp.env.calls.alive());
    stream.write_all(b"still here").unwrap();
    let peer = std::thread::spawn(move || {
        stream.read_exact(&mut [0; 10]).unwrap();
    });
    lp.run().unwrap();
    peer.join().unwrap();
    finish(&mut lp, host);
}

#[test]
fn settings_reach_the_socket() {
    let (mut lp, host, at) = server(|seat, io, on| {
        match on {
            On::Open => {
                io.set(StreamOption::SendBuffer(8192));
                io.set(StreamOption::ReceiveBuffer(8192));
                io.set(StreamOption::NoDelay(false));
                io.set(StreamOption::KeepAlive(Some(Duration::from_secs(7).into())));
                io.set(StreamOption::KeepAlive(None));
            }
            On::Data(bytes) => {
                let _ = io.write(&[0; 1 << 20]);
                io.pause();
                return bytes.len();
            }
            On::Wake => seat.number = io.count.sent,
            _ => {}
        }
        0
    });
    let mut stream = peer(at);
    turn_until(&mut lp, |lp| lp.get(host).len() == 1);
    idle(&mut lp);
    stream.write_all(b"go").unwrap();
    idle(&mut lp);
    let id = lp.get(host).protocol.ids[0];
    lp.env.wake(id);
    turn_until(&mut lp, |lp| lp.get(host).conn(id).unwrap().number > 0);
    let taken = lp.get(host).conn(id).unwrap().number;
    assert!(taken < 1 << 20, "a small buffer took {taken} bytes");
    drop(stream);
    until_closed(&mut lp, host, 1);
    finish(&mut lp, host);
}

fn read_some(stream: &mut std::net::TcpStream, n: usize) -> Vec<u8> {
    let mut some = vec![0; n];
    stream.read_exact(&mut some).expect("so many bytes");
    some
}
