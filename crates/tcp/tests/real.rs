//! Streams over real sockets: transfers, backpressure, ends and resets, with peers of the
//! standard library. Every wait is bounded; every test ends with nothing left behind.

mod support;

use loopwork_reactor::StreamOption;
use loopwork_tcp::{CARRY_MAX, Close, Flow, HIGH_WATER, Io};
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::thread;
use std::time::Duration;
use support::{
    On, Seat, check, echo, fill, finish, idle, peer, read_all, server, turn_until, until_closed,
};

#[test]
fn many_clients_are_echoed_messages_of_every_size() {
    let (mut lp, host, at) = server(|seat, io, on| {
        if let On::Open = on {
            let _ = io.write("欢迎光临\n".as_bytes());
        }
        echo(seat, io, on)
    });
    let clients: Vec<_> = (0..16u64)
        .map(|client| {
            thread::spawn(move || {
                let mut stream = peer(at);
                let mut greeting = [0; 13];
                stream.read_exact(&mut greeting).unwrap();
                assert_eq!(&greeting, "欢迎光临\n".as_bytes());
                for round in 0..60u64 {
                    let mut out = vec![0; (1 + round * round * (client + 1)) as usize];
                    fill(client * round, &mut out);
                    stream.write_all(&out).unwrap();
                    let mut back = vec![0; out.len()];
                    stream.read_exact(&mut back).unwrap();
                    assert!(out == back);
                }
            })
        })
        .collect();
    until_closed(&mut lp, host, 16);
    clients.into_iter().for_each(|c| c.join().unwrap());
    assert!(lp.get(host).protocol.closed.iter().all(|(_, why)| *why == Close::Finished));
    finish(&mut lp, host);
}

#[test]
fn hostile_18_fifty_mib_there_and_back_past_a_slow_reader_in_bounded_memory() {
    const SIZE: u64 = 50 << 20;
    // What may lie here: a full output, and one read that came on top of it.
    const BOUND: u64 = (HIGH_WATER + loopwork_reactor::READ_MAX) as u64;
    let (mut lp, host, at) = server(|seat, io, on| {
        if let On::Data(bytes) = &on {
            assert_eq!(io.flow(), Flow::Open, "nothing is read while the output is full");
            check(seat.number, bytes);
            seat.number += bytes.len() as u64;
            assert_eq!(io.count.received, seat.number);
        }
        let used = echo(seat, io, on);
        let held = io.count.received - io.count.sent;
        assert!(held <= BOUND, "{held} bytes are held");
        used
    });
    let mut reader = peer(at);
    let mut writer = reader.try_clone().unwrap();
    let writing = thread::spawn(move || {
        let (mut at, mut piece) = (0, vec![0; 1 << 16]);
        while at < SIZE {
            fill(at, &mut piece);
            writer.write_all(&piece).unwrap();
            at += piece.len() as u64;
        }
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let reading = thread::spawn(move || {
        let (mut at, mut reads, mut piece) = (0, 0, vec![0; 100_000]);
        loop {
            let n = reader.read(&mut piece).unwrap();
            check(at, &piece[..n]);
            (at, reads) = (at + n as u64, reads + 1);
            match n {
                0 => break at,
                _ if reads % 16 == 0 => thread::sleep(Duration::from_millis(3)),
                _ => {}
            }
        }
    });
    until_closed(&mut lp, host, 1);
    writing.join().unwrap();
    assert_eq!(reading.join().unwrap(), SIZE);
    assert_eq!(lp.get(host).protocol.seats[0].number, SIZE);
    assert_eq!(lp.get(host).protocol.closed, [(0, Close::Finished)]);
    finish(&mut lp, host);
}

/// A source that writes for as long as it may, and goes on when told.
fn pour(seat: &mut Seat, io: &mut Io<'_>, size: u64) {
    let mut piece = [0; 10_000];
    while seat.number < size {
        let n = piece.len().min((size - seat.number) as usize);
        fill(seat.number, &mut piece[..n]);
        seat.number += n as u64;
        if io.write(&piece[..n]) == Flow::Full {
            return;
        }
    }
    io.end();
}

#[test]
fn hostile_18_full_is_told_at_the_mark_and_the_drain_comes_when_it_is_owed() {
    const SIZE: u64 = 20 << 20;
    let (mut lp, host, at) = server(|seat, io, on| {
        match on {
            On::Open | On::Drain => {
                assert_eq!(io.flow(), Flow::Open);
                assert!(io.out.buffer().is_empty(), "drained means empty");
                pour(seat, io, SIZE);
                let full = io.flow() == Flow::Full;
                assert_eq!(full, !io.ending() && io.out.buffer().len() > HIGH_WATER);
                seat.got.push(full.into());
            }
            On::End => {}
            _ => panic!("nothing else"),
        }
        0
    });
    let mut stream = peer(at);
    // Nobody reads: the kernel takes what it takes, the rest waits here, and nothing spins.
    idle(&mut lp);
    let before = lp.get(host).protocol.log.len();
    idle(&mut lp);
    assert_eq!(lp.get(host).protocol.log.len(), before, "no drain before there is room");
    let reader = thread::spawn(move || {
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        all
    });
    until_closed(&mut lp, host, 1);
    let all = reader.join().unwrap();
    assert_eq!(all.len() as u64, SIZE);
    check(0, &all);
    let play = &lp.get(host).protocol;
    let drains = play.calls(0).iter().filter(|&&what| what == "drain").count();
    let fulls = play.seats[0].got.iter().filter(|&&full| full == 1).count();
    assert_eq!(drains, fulls, "one drain for each Full");
    finish(&mut lp, host);
}

#[test]
fn no_drain_without_full_and_none_after_the_end() {
    let (mut lp, host, at) = server(|seat, io, on| {
        match on {
            On::Open => assert_eq!(io.write(&[7; HIGH_WATER]), Flow::Open),
            On::Data(bytes) => {
                assert_eq!(io.write(&[8; HIGH_WATER + 1]), Flow::Full);
                io.end();
                return bytes.len();
            }
            On::Drain => panic!("the end was wished: nobody waits for room"),
            _ => return echo(seat, io, on),
        }
        0
    });
    let mut stream = peer(at);
    let mut first = vec![0; HIGH_WATER];
    turn_until(&mut lp, |lp| lp.get(host).len() == 1);
    idle(&mut lp);
    stream.read_exact(&mut first).unwrap();
    stream.write_all(b"more").unwrap();
    let reader = thread::spawn(move || read_all(stream));
    until_closed(&mut lp, host, 1);
    assert_eq!(reader.join().unwrap(), [8; HIGH_WATER + 1]);
    assert_eq!(lp.get(host).protocol.calls(0), ["open", "data", "end"]);
    finish(&mut lp, host);
}

#[test]
fn pause_keeps_what_was_shown_and_resume_shows_it_again() {
    let (mut lp, host, at) = server(|seat, io, on| match on {
        On::Data(bytes) if seat.number == 0 => {
            io.pause();
            assert!(io.paused());
            assert_eq!(&bytes[..3], b"abc");
            3
        }
        On::Data(bytes) => {
            seat.got.extend_from_slice(bytes);
            bytes.len()
        }
        On::Wake => {
            seat.number = 1;
            io.resume();
            assert!(!io.paused());
            0
        }
        _ => echo(seat, io, on),
    });
    let mut stream = peer(at);
    stream.write_all(b"abcdef").unwrap();
    turn_until(&mut lp, |lp| lp.get(host).protocol.calls(0) == ["open", "data"]);
    stream.write_all(b"ghi").unwrap();
    idle(&mut lp);
    assert_eq!(lp.get(host).protocol.log.len(), 2, "paused: nothing is shown");
    let id = lp.get(host).protocol.ids[0];
    lp.env.wake(id);
    turn_until(&mut lp, |lp| lp.get(host).conn(id).unwrap().got == b"defghi");
    drop(stream);
    until_closed(&mut lp, host, 1);
    assert_eq!(lp.get(host).protocol.calls(0), ["open", "data", "wake", "data", "end"]);
    finish(&mut lp, host);
}

/// A paused protocol may leave all behind that it is shown, more than the cap of the carry.
#[test]
fn what_a_paused_protocol_leaves_is_kept_whatever_its_length() {
    const SIZE: usize = 200_000;
    let (mut lp, host, at) = server(|seat, io, on| match on {
        On::Open => {
            io.pause();
            0
        }
        On::Data(bytes) if seat.number == 1 => {
            if bytes.len() > CARRY_MAX {
                io.pause();
                seat.number = 2;
            }
            0
        }
        On::Data(bytes) => {
            check(seat.got.len() as u64, bytes);
            seat.got.extend_from_slice(bytes);
            bytes.len()
        }
        On::Wake => {
            seat.number += 1;
            io.resume();
            0
        }
        _ => echo(seat, io, on),
    });
    let mut stream = peer(at);
    let mut out = vec![0; SIZE];
    fill(0, &mut out);
    turn_until(&mut lp, |lp| lp.get(host).len() == 1);
    stream.write_all(&out).unwrap();
    let id = lp.get(host).protocol.ids[0];
    for _ in 0..2 {
        idle(&mut lp);
        lp.env.wake(id);
    }
    turn_until(&mut lp, |lp| lp.get(host).conn(id).unwrap().got.len() == SIZE);
    drop(stream);
    until_closed(&mut lp, host, 1);
    finish(&mut lp, host);
}

/// Resumed while the output is full: what was left waits for the drain, as everything does.
#[test]
fn hostile_44_what_was_left_is_not_shown_while_the_output_is_full() {
    let (mut lp, host, at) = server(|seat, io, on| match on {
        On::Data(bytes) => {
            assert_eq!(io.flow(), Flow::Open, "shown while full");
            let _ = io.write(&[0; 4 << 20]);
            io.pause();
            assert!(bytes.len() < 5);
            1
        }
        On::Wake => {
            io.resume();
            0
        }
        On::Drain => {
            io.resume();
            0
        }
        _ => echo(seat, io, on),
    });
    let mut stream = peer(at);
    stream.write_all(b"1234").unwrap();
    turn_until(&mut lp, |lp| !lp.get(host).protocol.ids.is_empty());
    let id = lp.get(host).protocol.ids[0];
    for _ in 0..5 {
        lp.env.wake(id);
        idle(&mut lp);
    }
    assert!(!lp.get(host).protocol.calls(0).contains(&"drain"), "the kernel took it all");
    stream.shutdown(Shutdown::Write).unwrap();
    let reader = thread::spawn(move || read_all(stream).len());
    until_closed(&mut lp, host, 1);
    assert_eq!(reader.join().unwrap(), 4 * (4 << 20));
    finish(&mut lp, host);
}

#[test]
fn hostile_21_data_and_end_in_one_segment_are_both_told() {
    let (mut lp, host, at) = server(echo);
    for n in 0..20usize {
        let mut stream = peer(at);
        stream.write_all(b"all of it").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        until_closed(&mut lp, host, n + 1);
        assert_eq!(lp.get(host).protocol.calls(n), ["open", "data", "end"]);
        assert_eq!(read_all(stream), b"all of it");
    }
    finish(&mut lp, host);
}

#[test]
fn hostile_17_the_peer_ends_first_and_gets_all_that_is_owed() {
    const SIZE: u64 = 3 << 20;
    let (mut lp, host, at) = server(|seat, io, on| match on {
        // Half-open: the answer begins when the question has ended, and takes a while.
        On::End | On::Drain => {
            pour(seat, io, SIZE);
            0
        }
        On::Data(bytes) => bytes.len(),
        _ => 0,
    });
    let mut stream = peer(at);
    stream.write_all(b"a question").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let reader = thread::spawn(move || read_all(stream));
    until_closed(&mut lp, host, 1);
    let all = reader.join().unwrap();
    check(0, &all);
    assert_eq!((all.len() as u64, lp.get(host).protocol.closed[0].1), (SIZE, Close::Finished));
    finish(&mut lp, host);
}

#[test]
fn hostile_17_we_end_first_and_still_receive() {
    let (mut lp, host, at) = server(|seat, io, on| match on {
        On::Open => {
            let _ = io.write(b"bye");
            io.end();
            assert!(io.ending());
            0
        }
        On::Data(bytes) => {
            let _ = io.write(b"written after the end: dropped");
            seat.got.extend_from_slice(bytes);
            bytes.len()
        }
        _ => 0,
    });
    let mut stream = peer(at);
    let mut first = [0; 3];
    turn_until(&mut lp, |lp| lp.get(host).len() == 1);
    stream.read_exact(&mut first).unwrap();
    assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0, "their end");
    for _ in 0..3 {
        stream.write_all(&[5; 100_000]).unwrap();
        idle(&mut lp);
    }
    assert_eq!(lp.get(host).len(), 1, "it stands until the peer ends");
    drop(stream);
    until_closed(&mut lp, host, 1);
    assert_eq!(lp.get(host).protocol.seats[0].got.len(), 300_000);
    assert_eq!(lp.get(host).protocol.closed, [(0, Close::Finished)]);
    finish(&mut lp, host);
}

#[test]
fn hostile_05_many_wishes_at_once_close_once() {
    let (mut lp, host, at) = server(|_, io, on| {
        if let On::Data(bytes) = on {
            let _ = io.write(b"lost");
            io.end();
            io.pause();
            io.resume();
            io.end();
            io.abort(Close::Overrun);
            io.abort(Close::Aborted);
            io.env.wake(io.id);
            io.set_deadline(Some(io.env.now));
            io.set(StreamOption::NoDelay(true));
            return bytes.len();
        }
        0
    });
    let mut stream = peer(at);
    stream.write_all(b"go").unwrap();
    until_closed(&mut lp, host, 1);
    assert_eq!(lp.get(host).protocol.closed, [(0, Close::Overrun)], "the first reason");
    // What was written may have gone out before the reset.
    let error = stream.read(&mut [0; 16]).and_then(|_| stream.read(&mut [0; 16])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset, "the peer sees a reset");
    finish(&mut lp, host);
}
