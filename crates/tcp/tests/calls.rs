//! What a message costs the kernel: a world around the real one that counts the calls, and that
//! can lie to the driver as far as a world may.

mod support;

use loopwork_reactor::{
    Address, Fd, Id, Instant, ListenOptions, Mail, Mailbox, Os, Ready, StreamOption, Streams, World,
};
use loopwork_tcp::Flow;
use std::fs::File;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use support::{
    On, Seat, dial_to, echo, finish, idle, more, open, peer, play, read_all, turn_until,
    until_closed,
};

/// The real world, counted.
struct Counted {
    os: Os,
    reads: u64,
    writes: u64,
    polls: u64,
    shutdowns: u64,
    /// Readiness that the real world told.
    told: usize,
    /// At most so many bytes at once, then `WouldBlock` with a readiness owed; 0: as it comes.
    cut: usize,
    /// Whoever is read from has more, without end.
    hose: bool,
    /// Sockets that are owed a readiness.
    owed: Vec<Ready>,
    ids: Vec<(Fd, Id)>,
    /// Every poll tells every socket ready for everything.
    spurious: bool,
    accepts: Vec<ErrorKind>,
    /// So many writes find no memory in the kernel.
    starved: u64,
}

impl Counted {
    fn new() -> Counted {
        let os = Os::new().expect("a poll");
        let (owed, ids, accepts) = (Vec::new(), Vec::new(), Vec::new());
        let (cut, hose, spurious, starved) = (0, false, false, 0);
        let (reads, writes, polls, shutdowns, told) = (0, 0, 0, 0, 0);
        Counted {
            os,
            reads,
            writes,
            polls,
            shutdowns,
            told,
            cut,
            hose,
            owed,
            ids,
            spurious,
            accepts,
            starved,
        }
    }

    fn owe(&mut self, fd: Fd) {
        if let Some((_, id)) = self.ids.iter().find(|(of, _)| *of == fd) {
            self.owed.push(all(*id));
        }
    }

    fn forget(&mut self, fd: Fd) {
        self.ids.retain(|(of, _)| *of != fd);
    }

    fn take(&mut self) -> (u64, u64) {
        (std::mem::take(&mut self.reads), std::mem::take(&mut self.writes))
    }
}

fn all(id: Id) -> Ready {
    Ready { id, readable: true, writable: true, closed: false, gone: false }
}

impl World for Counted {
    fn now(&mut self) -> Instant {
        self.os.now()
    }
    fn poll(&mut self, until: Option<Instant>, ready: &mut Vec<Ready>) -> io::Result<()> {
        self.polls += 1;
        ready.append(&mut self.owed);
        if self.spurious {
            ready.extend(self.ids.iter().map(|(_, id)| all(*id)));
        }
        let until = if ready.is_empty() { until } else { Some(Instant(0)) };
        let before = ready.len();
        self.os.poll(until, ready)?;
        self.told += ready.len() - before;
        Ok(())
    }
    fn random(&mut self, into: &mut [u8]) {
        self.os.random(into);
    }
    fn close(&mut self, fd: Fd) {
        self.forget(fd);
        self.os.close(fd);
    }
    fn watch_signals(&mut self, signals: &[i32], id: Id) -> io::Result<()> {
        self.os.watch_signals(signals, id)
    }
    fn next_signal(&mut self, watch: Id) -> Option<i32> {
        self.os.next_signal(watch)
    }
    fn mailbox(&mut self) -> io::Result<Mailbox> {
        self.os.mailbox()
    }
    fn mail(&mut self, into: &mut Vec<Mail>) {
        self.os.mail(into);
    }
}

impl Streams for Counted {
    fn listen(&mut self, at: &Address, how: &ListenOptions, id: Id) -> io::Result<(Fd, Address)> {
        self.os.listen(at, how, id)
    }
    fn accept(&mut self, listener: Fd, id: Id) -> io::Result<(Fd, Address)> {
        if let Some(error) = self.accepts.pop() {
            return Err(error.into());
        }
        let (fd, peer) = self.os.accept(listener, id)?;
        self.ids.push((fd, id));
        Ok((fd, peer))
    }
    fn connect(&mut self, to: &Address, from: Option<SocketAddr>, id: Id) -> io::Result<Fd> {
        let fd = self.os.connect(to, from, id)?;
        self.ids.push((fd, id));
        Ok(fd)
    }
    fn connected(&mut self, fd: Fd) -> io::Result<()> {
        self.os.connected(fd)
    }
    fn read(&mut self, fd: Fd, into: &mut [u8]) -> io::Result<usize> {
        self.reads += 1;
        if self.hose {
            return Ok(into.len());
        }
        if self.cut == 0 {
            return self.os.read(fd, into);
        }
        self.owe(fd);
        let room = into.len().min(self.cut);
        self.os.read(fd, &mut into[..room])
    }
    fn write(&mut self, fd: Fd, bytes: &[u8]) -> io::Result<usize> {
        self.writes += 1;
        if self.starved > 0 {
            self.starved -= 1;
            return Err(ErrorKind::OutOfMemory.into());
        }
        if self.cut == 0 {
            return self.os.write(fd, bytes);
        }
        self.owe(fd);
        self.os.write(fd, &bytes[..bytes.len().min(self.cut)])
    }
    fn write_vectored(&mut self, fd: Fd, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.starved > 0 || self.cut > 0 {
            return self.write(fd, &slices[0]);
        }
        self.writes += 1;
        self.os.write_vectored(fd, slices)
    }
    fn send_file(&mut self, fd: Fd, file: &File, at: u64, len: u64) -> io::Result<u64> {
        self.writes += 1;
        self.os.send_file(fd, file, at, len)
    }
    fn shutdown(&mut self, fd: Fd) -> io::Result<()> {
        self.shutdowns += 1;
        self.os.shutdown(fd)
    }
    fn reset(&mut self, fd: Fd) {
        self.forget(fd);
        self.os.reset(fd);
    }
    fn set(&mut self, fd: Fd, option: StreamOption) -> io::Result<()> {
        self.os.set(fd, option)
    }
    fn local(&mut self, fd: Fd) -> io::Result<Address> {
        self.os.local(fd)
    }
    fn peer(&mut self, fd: Fd) -> io::Result<Address> {
        self.os.peer(fd)
    }
}

#[test]
fn a_message_is_one_read_and_one_write() {
    const ROUNDS: u64 = 50;
    let (mut lp, host) = play(Counted::new(), echo);
    let at = open(&mut lp, host);
    let mut peers: Vec<_> = (0..5).map(|_| peer(at)).collect();
    turn_until(&mut lp, |lp| lp.get(host).len() == 5);
    idle(&mut lp);
    assert_eq!(lp.world.take(), (0, 0), "nothing was said: nothing is tried");
    for round in 0..ROUNDS {
        let message = vec![round as u8; 64 << (round % 8)];
        for peer in &mut peers {
            peer.write_all(&message).unwrap();
        }
        let mut back = vec![0; message.len()];
        lp.turn(Some(Duration::from_secs(1))).unwrap();
        while lp.world.writes < 5 * (round + 1) {
            lp.turn(Some(Duration::from_secs(1))).unwrap();
        }
        for peer in &mut peers {
            peer.read_exact(&mut back).unwrap();
            assert!(back == message);
        }
    }
    assert_eq!(lp.world.take(), (5 * ROUNDS, 5 * ROUNDS));
    // The end: with the last bytes behind it one read more, and no write.
    for peer in &mut peers {
        peer.shutdown(std::net::Shutdown::Write).unwrap();
    }
    until_closed(&mut lp, host, 5);
    assert_eq!(lp.world.take(), (5, 0));
    finish(&mut lp, host);
}

#[test]
fn a_short_connection_is_told_of_nothing_in_vain() {
    let (mut lp, host) = play(Counted::new(), echo);
    let at = open(&mut lp, host);
    let mut stream = peer(at);
    turn_until(&mut lp, |lp| lp.get(host).len() == 1);
    idle(&mut lp);
    assert_eq!(lp.world.told, 1, "the listener's, and none for room that nobody lacks");
    stream.write_all(b"hello").unwrap();
    turn_until(&mut lp, |lp| lp.world.writes == 1);
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    until_closed(&mut lp, host, 1);
    assert_eq!((lp.world.told, lp.world.shutdowns), (3, 0), "the close is our end");
    assert_eq!(read_all(stream), b"hello");
    finish(&mut lp, host);
}

#[test]
fn a_head_and_a_shared_body_are_one_write() {
    for len in [8 * 1024, 1 << 20] {
        let body: Arc<[u8]> = (0..len).map(support::pattern).collect();
        let shared = body.clone();
        let (mut lp, host) = play(Counted::new(), move |seat, io, on| match on {
            On::Data(bytes) => {
                let _ = io.write(b"head");
                let flow = io.write_shared(&shared);
                assert_eq!(flow == Flow::Full, shared.len() > loopwork_tcp::HIGH_WATER);
                let _ = io.write(b"tail");
                bytes.len()
            }
            on => echo(seat, io, on),
        });
        let at = open(&mut lp, host);
        let mut stream = peer(at);
        stream.write_all(b"?").unwrap();
        turn_until(&mut lp, |lp| lp.world.writes > 0);
        // What there is room for in the kernel goes out at once, and the rest when there is some.
        let at_once = lp.world.take().1;
        let reader = std::thread::spawn(move || {
            let mut got = vec![0; len as usize + 8];
            stream.read_exact(&mut got).unwrap();
            got
        });
        turn_until(&mut lp, |_| reader.is_finished());
        assert_eq!(at_once, 1);
        assert!(len > 8 * 1024 || lp.world.writes == 0, "there was room for all");
        assert!(reader.join().unwrap() == [b"head", &body[..], b"tail"].concat());
        until_closed(&mut lp, host, 1);
        let play = &mut lp.get(host).protocol;
        assert_eq!(play.closed.len(), 1);
        finish(&mut lp, host);
        drop(lp);
        assert_eq!(Arc::strong_count(&body), 1, "nobody holds it any more");
    }
}

#[test]
fn hostile_22_every_cut_of_inserts_is_the_same_stream() {
    let body: Arc<[u8]> = (0..9000).map(support::pattern).collect();
    for cut in [1, 7, 1000, 4096, 9000] {
        let shared = body.clone();
        let (mut lp, host) = play(Counted::new(), move |_, io, on| {
            let On::Open = on else { return 0 };
            for _ in 0..3 {
                let _ = io.write(b"head");
                let _ = io.write_shared(&shared);
            }
            io.end();
            0
        });
        lp.world.cut = cut;
        let at = open(&mut lp, host);
        let stream = peer(at);
        let reader = std::thread::spawn(move || read_all(stream));
        until_closed(&mut lp, host, 1);
        let whole = [b"head", &body[..]].concat().repeat(3);
        assert!(reader.join().unwrap() == whole, "cut at {cut}");
        assert!(lp.world.writes >= 6, "a world that cannot gather writes slice by slice");
        finish(&mut lp, host);
    }
}

#[test]
fn hostile_22_every_cut_of_reads_and_writes_is_the_same_stream() {
    for cut in [1, 2, 3, 7, 64, 1000] {
        let (mut lp, host) = play(Counted::new(), echo);
        lp.world.cut = cut;
        let at = open(&mut lp, host);
        let mut stream = peer(at);
        let mut out = vec![0; 40 * cut + 1];
        support::fill(0, &mut out);
        stream.write_all(&out).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        until_closed(&mut lp, host, 1);
        assert!(read_all(stream) == out, "cut at {cut}");
        assert!(lp.world.reads >= 41 && lp.world.writes >= 41);
        finish(&mut lp, host);
    }
}

#[test]
fn hostile_06_spurious_readiness_is_harmless_also_to_dials_under_way() {
    let mut hole = Os::new().unwrap();
    let mut how = ListenOptions::default();
    how.backlog = 0;
    let id = Id { birth: 1, slot: 0, driver: 0 };
    let any = Address::Ip("127.0.0.1:0".parse().unwrap());
    let (_hole, black) = hole.listen(&any, &how, id).unwrap();

    let (mut lp, host) = play(Counted::new(), echo);
    let at = open(&mut lp, host);
    let dialer = more(&mut lp, |seat: &mut Seat, io, on| echo(seat, io, on));
    for _ in 0..5 {
        dial_to(&mut lp, dialer, black.clone(), Duration::from_millis(100));
    }
    dial_to(&mut lp, dialer, at, Duration::from_secs(5));
    lp.world.spurious = true;
    let mut stream = peer(at);
    stream.write_all(b"hello").unwrap();
    until_closed(&mut lp, dialer, 4);
    turn_until(&mut lp, |lp| lp.get(host).protocol.log.iter().any(|(_, what)| *what == "data"));
    lp.world.spurious = false;
    stream.read_exact(&mut [0; 5]).unwrap();
    let play = &lp.get(dialer).protocol;
    let timed_out = loopwork_tcp::Close::Dial(ErrorKind::TimedOut);
    assert!(play.closed.len() >= 4, "{:?}", play.closed);
    assert!(play.closed.iter().all(|(_, why)| *why == timed_out), "{:?}", play.closed);
    assert!(lp.get(host).protocol.closed.is_empty(), "nobody is closed for it");
    drop((stream, hole));
    loopwork_tcp::shutdown(&mut lp.env, dialer);
    turn_until(&mut lp, |lp| lp.get(host).is_empty() && lp.get(dialer).is_empty());
    finish(&mut lp, host);
    finish(&mut lp, dialer);
}

#[test]
fn hostile_07_a_fire_hose_is_read_by_the_turn() {
    let (mut lp, host) = play(Counted::new(), |seat, io, on| match on {
        On::Data(bytes) => bytes.len(),
        on => echo(seat, io, on),
    });
    let at = open(&mut lp, host);
    let mut stream = peer(at);
    turn_until(&mut lp, |lp| lp.get(host).len() == 1);
    idle(&mut lp);
    (lp.world.hose, lp.world.reads) = (true, 0);
    stream.write_all(b"the first of many").unwrap();
    turn_until(&mut lp, |lp| lp.world.reads > 0);
    // Those of its readiness, and in the phase behind it those that it asked for.
    let budget = loopwork_tcp::READS_PER_TURN as u64;
    assert!((budget..=2 * budget).contains(&lp.world.reads), "{} reads", lp.world.reads);
    lp.world.reads = 0;
    lp.turn(Some(Duration::ZERO)).unwrap();
    assert!((1..=2 * budget).contains(&lp.world.reads), "it goes on: {}", lp.world.reads);
    lp.world.hose = false;
    drop(stream);
    until_closed(&mut lp, host, 1);
    finish(&mut lp, host);
}

#[test]
fn hostile_02_accept_errors_of_the_network_are_passed_over() {
    let (mut lp, host) = play(Counted::new(), echo);
    let at = open(&mut lp, host);
    lp.world.accepts = vec![ErrorKind::ConnectionAborted; 20];
    let stream = peer(at);
    turn_until(&mut lp, |lp| lp.get(host).len() == 1);
    assert!(lp.get(host).protocol.accept_errors.is_empty());
    // Others are told, and tried again by themselves.
    lp.world.accepts = vec![ErrorKind::OutOfMemory; 3];
    let second = peer(at);
    turn_until(&mut lp, |lp| lp.get(host).len() == 2);
    assert_eq!(lp.get(host).protocol.accept_errors, [ErrorKind::OutOfMemory; 3]);
    drop((stream, second));
    until_closed(&mut lp, host, 2);
    finish(&mut lp, host);
}

#[test]
fn hostile_03_without_memory_a_write_is_tried_again_by_a_timer() {
    let (mut lp, host) = play(Counted::new(), echo);
    let at = open(&mut lp, host);
    let mut peer = peer(at);
    turn_until(&mut lp, |lp| lp.get(host).len() == 1);
    idle(&mut lp);
    lp.world.starved = 5;
    (lp.world.polls, lp.world.writes) = (0, 0);
    let start = lp.world.now();
    peer.write_all(b"now").unwrap();
    turn_until(&mut lp, |lp| lp.world.starved == 0 && lp.world.writes == 6);
    let mut back = [0; 3];
    peer.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"now");
    // Five refusals, each with a pause: neither a spin nor a lost answer.
    let took = lp.world.now().since(start);
    assert!(took >= Duration::from_millis(45), "{took:?}");
    assert!(lp.world.polls < 500, "{} polls", lp.world.polls);
    drop(peer);
    until_closed(&mut lp, host, 1);
    finish(&mut lp, host);
}
