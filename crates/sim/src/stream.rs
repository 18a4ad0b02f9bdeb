//! Byte streams: what a program may do with them.
//!
//! Rules of this file:
//! * A read or write that stops short of what it could do owes a readiness, and pays it: by a
//!   poke when the dice cut it, by the next arrival or the next room when it ran dry or full.
//! * A dead stream behaves as Linux has it: what arrived is read first, then the error comes once,
//!   then the end; a write fails with the error if nobody has taken it, then with `BrokenPipe`.

use crate::Sim;
use crate::dice::Choice;
use crate::net::{Key, Net, Socket, wrong_kind};
use crate::ports::{Hold, routed};
use crate::segment::Segment;
use loopwork_reactor::{
    Address, ConnectOptions, Fd, Id, KeepAlive, ListenOptions, StreamOption, Streams,
};
use std::collections::{BTreeMap, VecDeque};
use std::hash::Hasher;
use std::io::{self, ErrorKind, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

const EINTR: i32 = 4;
const ENOMEM: i32 = 12;
const ENFILE: i32 = 23;
const EPROTO: i32 = 71;
const EPROTOTYPE: i32 = 91;
const ENOBUFS: i32 = 105;
/// Of these the last takes the connection along.
const ACCEPT_ERRORS: [i32; 5] = [ENFILE, ENOBUFS, ENOMEM, EINTR, EPROTO];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    Connecting,
    Open,
    /// Refused, or reset.
    Dead,
}

pub(crate) struct Listener {
    pub(crate) at: Address,
    pub(crate) backlog: usize,
    pub(crate) queue: VecDeque<Key>,
    /// What its connections inherit.
    pub(crate) nagle: bool,
    pub(crate) keep_alive: Option<KeepAlive>,
}

/// One end of a stream.
pub(crate) struct Stream {
    pub(crate) state: State,
    pub(crate) local: Address,
    pub(crate) remote: Address,
    /// The other end; it may be closed already.
    pub(crate) peer: Option<Key>,
    /// It began the connection, and holds its port.
    pub(crate) client: bool,
    pub(crate) inbox: VecDeque<u8>,
    /// Bytes on their way to us.
    pub(crate) flying: usize,
    pub(crate) window: usize,
    /// Bytes that may be on their way from us (`SO_SNDBUF`).
    pub(crate) unsent_max: usize,
    /// When the last of what is on its way to us arrives.
    pub(crate) arrival: u64,
    /// Parts of the stream sent to us, and taken; those that came before their turn.
    pub(crate) sent_to: u64,
    pub(crate) taken: u64,
    pub(crate) early: BTreeMap<u64, Segment>,
    /// Nothing arrives any more, and nobody is told.
    pub(crate) lost: bool,
    pub(crate) nagle: bool,
    pub(crate) keep_alive: Option<KeepAlive>,
    pub(crate) user_timeout: Option<Duration>,
    /// We ended our side before the peer's end had arrived.
    pub(crate) first: bool,
    /// The peer's end has arrived.
    pub(crate) ended: bool,
    /// Its end, or its error, was read.
    pub(crate) read_up: bool,
    /// We ended our side.
    pub(crate) finished: bool,
    /// A write ran full; a readiness is owed.
    pub(crate) blocked: bool,
    /// Told to the first who asks.
    pub(crate) error: Option<ErrorKind>,
    /// Why it was never open.
    pub(crate) failed: Option<ErrorKind>,
}

impl Stream {
    pub(crate) fn new(local: Address, remote: Address, window: usize) -> Stream {
        Stream {
            state: State::Connecting,
            local,
            remote,
            peer: None,
            client: false,
            inbox: VecDeque::new(),
            flying: 0,
            window,
            unsent_max: usize::MAX,
            arrival: 0,
            sent_to: 0,
            taken: 0,
            early: BTreeMap::new(),
            lost: false,
            nagle: false,
            keep_alive: None,
            user_timeout: None,
            first: false,
            ended: false,
            read_up: false,
            finished: false,
            blocked: false,
            error: None,
            failed: None,
        }
    }

    pub(crate) fn die(&mut self, why: ErrorKind) {
        self.state = State::Dead;
        self.error = Some(why);
    }

    /// Readable, writable, closed, gone.
    pub(crate) fn state(&self, room: bool) -> (bool, bool, bool, bool) {
        match self.state {
            State::Connecting => (false, false, false, false),
            State::Dead => (true, true, true, true),
            State::Open => {
                let readable = self.ended || !self.inbox.is_empty();
                (readable, room || self.finished, self.ended, false)
            }
        }
    }
}

impl Net {
    fn listen(&mut self, at: &Address, how: &ListenOptions, id: Id) -> io::Result<(Fd, Address)> {
        self.descriptor(0)?;
        let backlog = (how.backlog as usize).max(1);
        let (queue, keep_alive) = (VecDeque::new(), how.keepalive);
        let listener = Listener { at: at.clone(), backlog, queue, nagle: !how.nodelay, keep_alive };
        let key = self.insert(id, Socket::Listener(listener));
        let held = match at {
            Address::Ip(at) => {
                let (only_v6, shared) = (how.ipv6_only, how.reuse_port);
                let hold = Hold { at: *at, key, only_v6, shared, peer: None };
                self.hold_stream(hold).map(Address::Ip)
            }
            Address::Unix(path) => self.ports.hold_path(path, key).map(|()| at.clone()),
        };
        let at = self.keep(key, held)?;
        if let Some(Socket::Listener(listener)) = self.socket(key) {
            listener.at = at.clone();
        }
        Ok((Fd(key.slot), at))
    }

    /// Keeps a new socket if it got its address, and forgets it otherwise.
    pub(crate) fn keep<T>(&mut self, key: Key, held: io::Result<T>) -> io::Result<T> {
        match &held {
            Ok(_) => self.open += 1,
            Err(_) => drop(self.remove(key)),
        }
        held
    }

    fn accept(&mut self, listener: Fd, id: Id) -> io::Result<(Fd, Address)> {
        let key = self.key(listener)?;
        let Some(Socket::Listener(Listener { queue, at, .. })) = self.socket(key) else {
            return Err(wrong_kind());
        };
        if queue.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        let unix = matches!(at, Address::Unix(_));
        let rate = self.faults.no_descriptor;
        self.descriptor(rate).inspect_err(|_| self.stats.accept_errors += 1)?;
        let failure = self.accept_failure(unix);
        if let Some(code) = failure.filter(|code| *code != EPROTO) {
            return Err(io::Error::from_raw_os_error(code));
        }
        let Some(Socket::Listener(Listener { queue, .. })) = self.socket(key) else {
            return Err(wrong_kind());
        };
        let Some(server) = queue.pop_front() else { return Err(ErrorKind::WouldBlock.into()) };
        if let Some(code) = failure {
            self.abandon(server);
            return Err(io::Error::from_raw_os_error(code));
        }
        if !unix && self.dice.chance(Choice::Abort, self.faults.abort) {
            self.stats.accept_errors += 1;
            self.abandon(server);
            return Err(ErrorKind::ConnectionAborted.into());
        }
        self.adopt(server, id);
        // What came before is told now: a new registration is an edge.
        self.mark(server);
        let stream = self.stream(server).ok_or_else(wrong_kind)?;
        Ok((Fd(server.slot), stream.remote.clone()))
    }

    /// What else an accept says than that there is no descriptor, or that the connection has died.
    /// (Of a Unix socket no network can take a connection away.)
    fn accept_failure(&mut self, unix: bool) -> Option<i32> {
        if !self.dice.chance(Choice::Accept, self.faults.accept_error) {
            return None;
        }
        self.stats.accept_errors += 1;
        let count = ACCEPT_ERRORS.len() - usize::from(unix);
        let which = self.dice.pick(Choice::Accept, count as u64);
        Some(ACCEPT_ERRORS[which as usize])
    }

    fn connect(&mut self, to: &Address, from: Option<SocketAddr>, id: Id) -> io::Result<Fd> {
        self.descriptor(self.faults.no_descriptor)?;
        match to {
            Address::Ip(to) => self.connect_ip(*to, from, id),
            Address::Unix(path) => self.connect_unix(path, id),
        }
    }

    fn connect_ip(&mut self, to: SocketAddr, from: Option<SocketAddr>, id: Id) -> io::Result<Fd> {
        let far = routed(to);
        if far.ip().is_multicast() || far.ip() == IpAddr::from([255; 4]) {
            return Err(ErrorKind::NetworkUnreachable.into());
        }
        let mut from = from.map_or(SocketAddr::new(far.ip(), 0), routed);
        if from.is_ipv4() != far.is_ipv4() {
            return Err(ErrorKind::InvalidInput.into());
        }
        let window = self.dice.size(Choice::Window, &self.faults.window);
        let key = self.insert(id, Socket::Stream(Stream::new(from.into(), far.into(), window)));
        let hold = Hold { at: from, key, only_v6: true, shared: false, peer: Some(far) };
        let held = self.hold_stream(hold);
        from = self.keep(key, held)?;
        if let Some(stream) = self.stream(key) {
            stream.local = from.into();
            stream.client = true;
        }
        self.send_syn(key);
        Ok(Fd(key.slot))
    }

    fn hold_stream(&mut self, hold: Hold) -> io::Result<SocketAddr> {
        let (now, range) = (self.now, self.faults.ports.clone());
        self.ports.hold_stream(&mut self.dice, hold, &range, now)
    }

    /// A Unix connection stands at once, or not at all.
    fn connect_unix(&mut self, path: &Path, id: Id) -> io::Result<Fd> {
        let listener = self.ports.path(path).ok_or(ErrorKind::NotFound)?;
        if !matches!(self.socket(listener), Some(Socket::Listener(_))) {
            return Err(io::Error::from_raw_os_error(EPROTOTYPE));
        }
        let window = self.dice.size(Choice::Window, &self.faults.window);
        let (local, remote) = (Address::Unix(PathBuf::new()), Address::Unix(path.to_path_buf()));
        let key = self.insert(id, Socket::Stream(Stream::new(local, remote, window)));
        // As of a path that nobody accepts at: EAGAIN when its queue is full.
        let queued = self.queue_up(listener, key).ok_or(ErrorKind::WouldBlock.into());
        self.keep(key, queued)?;
        Ok(Fd(key.slot))
    }

    fn connected(&mut self, fd: Fd) -> io::Result<()> {
        let stream = self.stream_of(fd)?;
        match (stream.state, stream.failed) {
            (State::Connecting, _) => Err(ErrorKind::WouldBlock.into()),
            (_, Some(why)) => {
                stream.error = None;
                Err(why.into())
            }
            (State::Open, None) => Ok(()),
            (State::Dead, None) => {
                Err(stream.error.take().unwrap_or(ErrorKind::NotConnected).into())
            }
        }
    }

    fn stream_of(&mut self, fd: Fd) -> io::Result<&mut Stream> {
        let key = self.key(fd)?;
        self.stream(key).ok_or_else(wrong_kind)
    }

    fn read(&mut self, fd: Fd, into: &mut [u8]) -> io::Result<usize> {
        let stream = self.stream_of(fd)?;
        if stream.state == State::Connecting {
            return Err(ErrorKind::WouldBlock.into());
        }
        let there = stream.inbox.len().min(into.len());
        if stream.inbox.is_empty() {
            // Of a Unix socket the error comes before the end, of TCP the end hides it.
            let unix = matches!(stream.local, Address::Unix(_));
            return match (stream.ended && !(unix && stream.error.is_some()), stream.state) {
                (true, _) => Ok(0),
                (false, State::Dead) => stream.error.take().map_or(Ok(0), |e| Err(e.into())),
                (false, _) => Err(ErrorKind::WouldBlock.into()),
            };
        }
        let key = self.key(fd)?;
        if self.dice.chance(Choice::BlockRead, self.faults.block_read) {
            self.stats.cut_reads += 1;
            self.poke(key);
            return Err(ErrorKind::WouldBlock.into());
        }
        let n = self.dice.cut(Choice::CutRead, self.faults.cut_read, there);
        if n < there {
            self.stats.cut_reads += 1;
            self.poke(key);
        }
        let stream = self.stream(key).ok_or_else(wrong_kind)?;
        for (to, byte) in into.iter_mut().zip(stream.inbox.drain(..n)) {
            *to = byte;
        }
        self.log.write(&into[..n]);
        self.relieve(key);
        Ok(n)
    }

    /// Behind an accept: whether the listener is served by it.
    fn was_accepted(&mut self, listener: Fd) {
        let Some(key) = self.look(listener) else { return };
        let Some(Socket::Listener(listener)) = self.socket(key) else { return };
        let more = !listener.queue.is_empty();
        self.is_asked(key, more);
    }

    /// Behind a read: whether the stream is served by it.
    fn was_read(&mut self, fd: Fd, room: usize, answer: &io::Result<usize>) {
        let Some(key) = self.look(fd) else { return };
        let over = match answer {
            Ok(0) => room > 0,
            Ok(_) => false,
            Err(e) => e.kind() != ErrorKind::WouldBlock,
        };
        let Some(stream) = self.stream(key) else { return };
        stream.read_up |= over;
        let there = stream.ended || !stream.inbox.is_empty();
        let full = answer.as_ref().is_ok_and(|n| *n > 0 && *n == room);
        self.is_asked(key, there && full);
    }

    fn write(&mut self, fd: Fd, bytes: &[u8]) -> io::Result<usize> {
        let stream = self.stream_of(fd)?;
        let unix = matches!(stream.local, Address::Unix(_));
        match stream.state {
            State::Connecting => return Err(ErrorKind::WouldBlock.into()),
            // The error stays for who reads.
            State::Dead if unix => return Err(ErrorKind::BrokenPipe.into()),
            State::Dead => return Err(stream.error.take().unwrap_or(ErrorKind::BrokenPipe).into()),
            State::Open if stream.finished => return Err(ErrorKind::BrokenPipe.into()),
            State::Open => {}
        }
        let peer = stream.peer.ok_or_else(wrong_kind)?;
        if unix && self.stream(peer).is_none() {
            return Err(ErrorKind::BrokenPipe.into());
        }
        if bytes.is_empty() {
            return Ok(0);
        }
        let key = self.key(fd)?;
        if self.dice.chance(Choice::BlockWrite, self.faults.block_write) {
            self.stats.cut_writes += 1;
            // Without room now, the promised readiness comes when there is some.
            if let Some(stream) = self.stream(key) {
                stream.blocked = true;
            }
            self.poke(key);
            return Err(ErrorKind::WouldBlock.into());
        }
        if self.dice.chance(Choice::Memory, self.faults.no_memory) {
            self.stats.starved += 1;
            return Err(ErrorKind::OutOfMemory.into());
        }
        let room = self.room(key).min(bytes.len());
        if room < bytes.len()
            && let Some(stream) = self.stream(key)
        {
            stream.blocked = true;
        }
        if room == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        let n = self.dice.cut(Choice::CutWrite, self.faults.cut_write, room);
        if n < room {
            self.stats.cut_writes += 1;
            self.poke(key);
        }
        self.log.write(&bytes[..n]);
        self.send_bytes(key, peer, &bytes[..n]);
        Ok(n)
    }

    fn shutdown(&mut self, fd: Fd) -> io::Result<()> {
        let stream = self.stream_of(fd)?;
        let unix = matches!(stream.local, Address::Unix(_));
        if unix && stream.state == State::Dead {
            return Ok(());
        }
        // When both sides have ended, TCP has no connection any more.
        let over = stream.finished && stream.ended && !unix;
        if stream.state != State::Open || over {
            return Err(ErrorKind::NotConnected.into());
        }
        if !std::mem::replace(&mut stream.finished, true)
            && let Some(peer) = stream.peer
        {
            stream.first = !stream.ended;
            self.send_fin(peer);
        }
        Ok(())
    }

    fn set(&mut self, fd: Fd, option: StreamOption) -> io::Result<()> {
        let stream = self.stream_of(fd)?;
        let unix = matches!(stream.local, Address::Unix(_));
        match option {
            StreamOption::ReceiveBuffer(n) => {
                stream.window = n.max(1);
                let key = self.key(fd)?;
                self.relieve(key);
                Ok(())
            }
            StreamOption::SendBuffer(n) => {
                stream.unsent_max = n.max(1);
                Ok(())
            }
            _ if unix => Err(ErrorKind::Unsupported.into()),
            StreamOption::NoDelay(on) => {
                stream.nagle = !on;
                Ok(())
            }
            StreamOption::UserTimeout(limit) => {
                stream.user_timeout = limit;
                Ok(())
            }
            StreamOption::KeepAlive(keep) => {
                let key = self.key(fd)?;
                self.keep_alive(key, keep);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// What the log calls each kind of call.
mod call {
    pub(super) const LISTEN: u64 = 16;
    pub(super) const ACCEPT: u64 = 17;
    pub(super) const CONNECT: u64 = 18;
    pub(super) const CONNECTED: u64 = 19;
    pub(super) const READ: u64 = 20;
    pub(super) const WRITE: u64 = 21;
    pub(super) const SHUTDOWN: u64 = 22;
    pub(super) const RESET: u64 = 23;
    pub(super) const SET: u64 = 24;
}

impl Streams for Sim {
    fn listen(&mut self, at: &Address, how: &ListenOptions, id: Id) -> io::Result<(Fd, Address)> {
        let answer = self.net.listen(at, how, id);
        self.net.answer(call::LISTEN, id.birth, answer, |(fd, _)| fd.0.into())
    }

    fn accept(&mut self, listener: Fd, id: Id) -> io::Result<(Fd, Address)> {
        let answer = self.net.accept(listener, id);
        self.net.was_accepted(listener);
        self.net.answer(call::ACCEPT, listener.0.into(), answer, |(fd, _)| fd.0.into())
    }

    fn connect(&mut self, to: &Address, from: Option<SocketAddr>, id: Id) -> io::Result<Fd> {
        let answer = self.net.connect(to, from, id);
        self.net.answer(call::CONNECT, id.birth, answer, |fd| fd.0.into())
    }

    fn connect_with(
        &mut self,
        to: &Address,
        from: Option<SocketAddr>,
        how: &ConnectOptions,
        id: Id,
    ) -> io::Result<Fd> {
        let fd = self.connect(to, from, id)?;
        for option in &how.settings {
            if let Err(e) = self.set(fd, *option) {
                self.net.close(fd, true);
                return Err(e);
            }
        }
        Ok(fd)
    }

    fn connected(&mut self, fd: Fd) -> io::Result<()> {
        let answer = self.net.connected(fd);
        self.net.answer(call::CONNECTED, fd.0.into(), answer, |()| 0)
    }

    fn read(&mut self, fd: Fd, into: &mut [u8]) -> io::Result<usize> {
        let answer = self.net.read(fd, into);
        self.net.was_read(fd, into.len(), &answer);
        self.net.answer(call::READ, fd.0.into(), answer, |n| *n as u64)
    }

    fn write(&mut self, fd: Fd, bytes: &[u8]) -> io::Result<usize> {
        let answer = self.net.write(fd, bytes);
        self.net.answer(call::WRITE, fd.0.into(), answer, |n| *n as u64)
    }

    fn write_vectored(&mut self, fd: Fd, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        // As one write, so that it may be cut anywhere.
        let bytes = slices.iter().flat_map(|slice| slice.iter().copied()).collect::<Vec<u8>>();
        self.write(fd, &bytes)
    }

    fn shutdown(&mut self, fd: Fd) -> io::Result<()> {
        let answer = self.net.shutdown(fd);
        self.net.answer(call::SHUTDOWN, fd.0.into(), answer, |()| 0)
    }

    fn reset(&mut self, fd: Fd) {
        self.net.note(call::RESET, fd.0.into(), 0);
        self.net.close(fd, true);
    }

    fn set(&mut self, fd: Fd, option: StreamOption) -> io::Result<()> {
        let answer = self.net.set(fd, option);
        self.net.answer(call::SET, fd.0.into(), answer, |()| 0)
    }

    fn local(&mut self, fd: Fd) -> io::Result<Address> {
        Ok(self.net.stream_of(fd)?.local.clone())
    }

    fn peer(&mut self, fd: Fd) -> io::Result<Address> {
        let stream = self.net.stream_of(fd)?;
        match stream.state {
            State::Open => Ok(stream.remote.clone()),
            State::Connecting | State::Dead => Err(ErrorKind::NotConnected.into()),
        }
    }
}
