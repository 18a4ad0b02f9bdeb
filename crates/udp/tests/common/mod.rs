//! What the tests share: a world that counts and fails on demand, a protocol that writes down
//! what it is told, and waits that end.
#![allow(dead_code, missing_docs, unreachable_pub)]

use loopwork_reactor::{
    BATCH, BindOptions, Datagram, DatagramOption, DatagramSettings, Datagrams, Facts, Fd, Handle,
    Id, Instant, Loop, Mail, Mailbox, Os, Ready, Source, World,
};
use loopwork_udp::{Host, Io, Protocol};
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Write as _};
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

/// Says that this test, or its rest, is left out, and why: to the terminal itself, since what a
/// test prints is shown only when it fails.
pub fn skipped(why: std::fmt::Arguments<'_>) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    let _ = writeln!(io::stderr(), "{test}: skipped, {why}");
}

/// No test waits longer for anything.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A world around the real one that counts the calls and can be told to fail them.
pub struct Counting {
    pub inner: Os,
    /// Calls of `recv`, those that gave nothing too.
    pub recvs: usize,
    /// Calls of `send`, and how many datagrams each took.
    pub sends: Vec<usize>,
    /// At most so many datagrams a call: as a kernel does that puts none together.
    pub plain: bool,
    /// Answers for the next calls of `send`: `None` goes to the real world.
    pub send_script: VecDeque<Option<ErrorKind>>,
    pub recv_script: VecDeque<Option<ErrorKind>>,
    /// Every send would block.
    pub blocked: bool,
}

impl Counting {
    pub fn new() -> Counting {
        Counting {
            inner: Os::new().expect("a poll"),
            recvs: 0,
            sends: Vec::new(),
            plain: false,
            send_script: VecDeque::new(),
            recv_script: VecDeque::new(),
            blocked: false,
        }
    }
}

impl World for Counting {
    fn now(&mut self) -> Instant {
        self.inner.now()
    }
    fn poll(&mut self, until: Option<Instant>, ready: &mut Vec<Ready>) -> io::Result<()> {
        let before = ready.len();
        self.inner.poll(until, ready)?;
        // Whom this world has blocked, it owes the word that there is room.
        ready[before..].iter_mut().for_each(|r| r.writable |= !self.blocked);
        Ok(())
    }
    fn random(&mut self, into: &mut [u8]) {
        self.inner.random(into);
    }
    fn close(&mut self, fd: Fd) {
        self.inner.close(fd);
    }
    fn watch_signals(&mut self, signals: &[i32], id: Id) -> io::Result<()> {
        self.inner.watch_signals(signals, id)
    }
    fn next_signal(&mut self, watch: Id) -> Option<i32> {
        self.inner.next_signal(watch)
    }
    fn mailbox(&mut self) -> io::Result<Mailbox> {
        self.inner.mailbox()
    }
    fn mail(&mut self, into: &mut Vec<Mail>) {
        self.inner.mail(into);
    }
}

impl Datagrams for Counting {
    fn bind(&mut self, at: SocketAddr, how: &BindOptions, id: Id) -> io::Result<(Fd, SocketAddr)> {
        self.inner.bind(at, how, id)
    }
    fn associate(&mut self, fd: Fd, peer: SocketAddr) -> io::Result<()> {
        self.inner.associate(fd, peer)
    }
    fn recv(
        &mut self,
        fd: Fd,
        into: &mut [u8],
        room: usize,
        got: &mut Vec<Datagram>,
    ) -> io::Result<()> {
        self.recvs += 1;
        match self.recv_script.pop_front().flatten() {
            Some(kind) => Err(kind.into()),
            None => self.inner.recv(fd, into, room, got),
        }
    }
    fn dissociate(&mut self, fd: Fd) -> io::Result<()> {
        self.inner.dissociate(fd)
    }
    fn recv_facts(
        &mut self,
        fd: Fd,
        into: &mut [u8],
        room: usize,
        got: &mut Vec<Datagram>,
        facts: &mut Vec<Facts>,
    ) -> io::Result<()> {
        self.recvs += 1;
        self.inner.recv_facts(fd, into, room, got, facts)
    }
    fn send(&mut self, fd: Fd, batch: &[Datagram], bytes: &[u8]) -> io::Result<usize> {
        let batch = if self.plain { &batch[..batch.len().min(BATCH)] } else { batch };
        let sent = if self.blocked {
            Err(ErrorKind::WouldBlock.into())
        } else {
            match self.send_script.pop_front().flatten() {
                Some(kind) => Err(kind.into()),
                None => self.inner.send(fd, batch, bytes),
            }
        };
        self.sends.push(*sent.as_ref().unwrap_or(&0));
        sent
    }
    fn send_from(
        &mut self,
        fd: Fd,
        batch: &[Datagram],
        bytes: &[u8],
        source: Source,
    ) -> io::Result<usize> {
        self.inner.send_from(fd, batch, bytes, source)
    }
    fn next_error(&mut self, fd: Fd) -> Option<(SocketAddr, io::Error)> {
        self.inner.next_error(fd)
    }
    fn datagram_settings(&mut self, fd: Fd) -> io::Result<DatagramSettings> {
        self.inner.datagram_settings(fd)
    }
    fn set_datagram(&mut self, fd: Fd, option: DatagramOption) -> io::Result<()> {
        self.inner.set_datagram(fd, option)
    }
}

/// Writes down what it is told; answers what it is shown when `echo` is set.
#[derive(Default)]
pub struct Notes {
    pub echo: bool,
    pub opened: Vec<SocketAddr>,
    pub got: Vec<(SocketAddr, Vec<u8>, bool)>,
    pub errors: Vec<(Option<SocketAddr>, io::Error)>,
    pub drains: usize,
    pub wakes: usize,
    pub timeouts: Vec<Instant>,
    pub closed: Vec<Id>,
    pub dropped: usize,
}

impl Protocol for Notes {
    fn on_datagram(&mut self, io: &mut Io<'_>, from: SocketAddr, bytes: &mut [u8]) {
        self.got.push((from, bytes.to_vec(), io.truncated));
        if self.echo && io.send(from, bytes) == loopwork_udp::Sent::Dropped {
            self.dropped += 1;
        }
    }
    fn on_open(&mut self, io: &mut Io<'_>) {
        self.opened.push(io.local());
    }
    fn on_drain(&mut self, _: &mut Io<'_>) {
        self.drains += 1;
    }
    fn on_wake(&mut self, _: &mut Io<'_>) {
        self.wakes += 1;
    }
    fn on_timeout(&mut self, io: &mut Io<'_>) {
        self.timeouts.push(io.env.now);
    }
    fn on_error(&mut self, _: &mut Io<'_>, to: Option<SocketAddr>, error: io::Error) {
        self.errors.push((to, error));
    }
    fn on_close(&mut self, id: Id, _: &mut loopwork_reactor::Env) {
        self.closed.push(id);
    }
}

pub fn notes<W: World>(lp: &mut Loop<W>, h: Handle<Host<Notes>>) -> &mut Notes
where
    Host<Notes>: loopwork_reactor::Driver<W>,
{
    &mut lp.get(h).protocol
}

/// Options of binding that are not the default ones.
pub fn how(change: impl FnOnce(&mut BindOptions)) -> BindOptions {
    let mut how = BindOptions::default();
    change(&mut how);
    how
}

pub fn local() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// A plain socket of the standard library as the other side.
pub fn peer() -> UdpSocket {
    let socket = UdpSocket::bind(local()).expect("a loopback socket");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    socket
}

/// Turns the loop until it is so; panics when it takes too long.
pub fn until<W: World>(lp: &mut Loop<W>, mut done: impl FnMut(&mut Loop<W>) -> bool) {
    let end = lp.world.now().after(PATIENCE);
    while !done(lp) {
        assert!(lp.world.now() < end, "waited too long");
        lp.turn(Some(Duration::from_millis(20))).expect("the poll works");
    }
}

/// Some turns, for what must *not* happen.
pub fn settle<W: World>(lp: &mut Loop<W>) {
    for _ in 0..5 {
        lp.turn(Some(Duration::from_millis(2))).expect("the poll works");
    }
}
