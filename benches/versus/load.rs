//! The load. What comes back is compared, so that a server that answers wrongly is not called
//! fast.

use crate::servers::Service;
use crate::sys;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::time::{Duration, Instant};

/// The size of a small message.
pub(crate) const MESSAGE: usize = 64;
/// The size of a large one: streams are counted in these.
pub(crate) const CHUNK: usize = 64 * 1024;
/// Bytes of one stream that are on their way there and back: enough to keep a server busy, and
/// not so many that memory is measured instead.
const WINDOW: u64 = 4 * CHUNK as u64;
/// A server that says nothing for so long has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long a load goes on.
#[derive(Clone, Copy)]
pub(crate) enum Until {
    /// For so long.
    Over(Duration),
    /// Until so much is done.
    Done(u64),
}

/// What a load has done.
#[derive(Clone, Copy)]
pub(crate) struct Done {
    /// Messages, chunks or connections.
    pub(crate) count: u64,
    /// How long it took.
    pub(crate) time: Duration,
}

/// Looks at the clock, or at the count.
struct Watch {
    until: Until,
    start: Instant,
}

impl Watch {
    fn new(until: Until) -> Watch {
        Watch { until, start: Instant::now() }
    }

    fn over(&self, count: u64) -> bool {
        match self.until {
            Until::Over(time) => self.start.elapsed() >= time,
            Until::Done(n) => count >= n,
        }
    }

    fn done(&self, count: u64) -> Done {
        Done { count, time: self.start.elapsed() }
    }
}

/// A kind of load.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A small message in flight on each connection.
    PingPong,
    /// Large ones there and back, several in flight on each connection.
    Stream,
    /// Large ones there, and nothing back.
    Sink,
    /// Connections of one message, one after the other.
    Connect,
}

impl Kind {
    /// What a server must do for it.
    pub(crate) fn service(self) -> Service {
        match self {
            Kind::PingPong | Kind::Connect => Service::Echo,
            Kind::Stream => Service::Stream,
            Kind::Sink => Service::Sink,
        }
    }

    /// Bytes of what it counts.
    pub(crate) fn bytes(self) -> usize {
        match self {
            Kind::PingPong | Kind::Connect => MESSAGE,
            Kind::Stream | Kind::Sink => CHUNK,
        }
    }

    /// Runs it.
    pub(crate) fn run(self, port: u16, conns: usize, until: Until) -> io::Result<Done> {
        match (self, until) {
            (Kind::PingPong, Until::Done(n)) => lockstep(port, conns, n),
            (Kind::PingPong, Until::Over(_)) => ping_pong(port, conns, until),
            (Kind::Stream | Kind::Sink, _) => stream(port, conns, until, self == Kind::Stream),
            (Kind::Connect, _) => connect_close(port, until),
        }
    }
}

fn connect(port: u16, conns: usize) -> io::Result<Vec<TcpStream>> {
    let mut streams = Vec::with_capacity(conns);
    for _ in 0..conns {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        streams.push(stream);
    }
    Ok(streams)
}

fn message(conn: usize) -> [u8; MESSAGE] {
    std::array::from_fn(|i| (conn * 31 + i) as u8)
}

fn wrong() -> io::Error {
    io::Error::new(ErrorKind::InvalidData, "the answer is not what was sent")
}

/// How many bytes, or 0 if it would block.
fn now(result: io::Result<usize>) -> io::Result<usize> {
    match result {
        Err(e) if e.kind() == ErrorKind::WouldBlock => Ok(0),
        other => other,
    }
}

/// The next events. None at all: the server has stopped.
fn wait(epoll: RawFd, events: &mut [sys::Event]) -> io::Result<&[sys::Event]> {
    match sys::epoll_wait(epoll, events, PATIENCE.as_millis() as i32)? {
        0 => Err(ErrorKind::TimedOut.into()),
        n => Ok(&events[..n]),
    }
}

/// One message in flight on each connection, each for itself.
fn ping_pong(port: u16, conns: usize, until: Until) -> io::Result<Done> {
    let mut streams = connect(port, conns)?;
    let epoll = sys::epoll_create()?;
    let mut got = vec![0usize; conns];
    for (i, stream) in streams.iter_mut().enumerate() {
        stream.set_nonblocking(true)?;
        sys::epoll_add(epoll, stream.as_raw_fd(), i as u64)?;
    }
    let (mut events, mut buffer) = ([sys::NO_EVENT; 1024], [0; MESSAGE]);
    let (watch, mut count) = (Watch::new(until), 0);
    for (i, stream) in streams.iter_mut().enumerate() {
        stream.write_all(&message(i))?;
    }
    while !watch.over(count) {
        for event in wait(epoll, &mut events)? {
            let i = event.u64 as usize;
            let fd = streams[i].as_raw_fd();
            let n = match sys::read(fd, &mut buffer[got[i]..]) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                other => now(other)?,
            };
            let expected = message(i);
            if buffer[got[i]..got[i] + n] != expected[got[i]..got[i] + n] {
                return Err(wrong());
            }
            got[i] = (got[i] + n) % MESSAGE;
            if n > 0 && got[i] == 0 {
                count += 1;
                sys::write(fd, &expected)?;
            }
        }
    }
    sys::close(epoll);
    Ok(watch.done(count))
}

/// All connections write, then all read: a turn of the server has all of them ready, however fast
/// it is, so its calls can be counted.
fn lockstep(port: u16, conns: usize, messages: u64) -> io::Result<Done> {
    let mut streams = connect(port, conns)?;
    let mut buffer = [0; MESSAGE];
    let (watch, rounds) = (Watch::new(Until::Done(messages)), messages.div_ceil(conns as u64));
    for _ in 0..rounds {
        for (i, stream) in streams.iter_mut().enumerate() {
            stream.write_all(&message(i))?;
        }
        for (i, stream) in streams.iter_mut().enumerate() {
            stream.read_exact(&mut buffer)?;
            if buffer != message(i) {
                return Err(wrong());
            }
        }
    }
    Ok(watch.done(rounds * conns as u64))
}

/// Connects, has one message echoed, and closes.
fn connect_close(port: u16, until: Until) -> io::Result<Done> {
    let (watch, mut count) = (Watch::new(until), 0);
    let mut buffer = [0; MESSAGE];
    while !watch.over(count) {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(&message(count as usize))?;
        stream.read_exact(&mut buffer)?;
        if buffer != message(count as usize) {
            return Err(wrong());
        }
        count += 1;
    }
    Ok(watch.done(count))
}

/// A stream's bytes have a period that no buffer has, so that a lost or doubled piece shows.
struct Pattern(Vec<u8>);

impl Pattern {
    /// A prime.
    const PERIOD: usize = 65_521;

    fn new() -> Pattern {
        let byte = |i: usize| ((i % Pattern::PERIOD) as u32).wrapping_mul(2_654_435_761) >> 24;
        Pattern((0..Pattern::PERIOD + CHUNK).map(|i| byte(i) as u8).collect())
    }

    /// So many bytes from there on: a chunk at most.
    fn at(&self, offset: u64, len: usize) -> &[u8] {
        let from = (offset % Pattern::PERIOD as u64) as usize;
        &self.0[from..from + len.min(CHUNK)]
    }
}

/// One connection that streams.
struct Flowing {
    stream: TcpStream,
    sent: u64,
    heard: u64,
    /// What is watched for.
    watched: u32,
}

/// Streams on all connections. `echo`: all of it comes back, and at most `WINDOW` is under way;
/// else the server tells at the end how much it got.
fn stream(port: u16, conns: usize, until: Until, echo: bool) -> io::Result<Done> {
    let (pattern, mut buffer) = (Pattern::new(), vec![0; CHUNK]);
    let epoll = sys::epoll_create()?;
    let mut flows = Vec::with_capacity(conns);
    for (i, stream) in connect(port, conns)?.into_iter().enumerate() {
        stream.set_nonblocking(true)?;
        sys::epoll_add(epoll, stream.as_raw_fd(), i as u64)?;
        sys::epoll_set(epoll, stream.as_raw_fd(), sys::IN | sys::OUT, i as u64)?;
        flows.push(Flowing { stream, sent: 0, heard: 0, watched: sys::IN | sys::OUT });
    }
    let mut events = [sys::NO_EVENT; 256];
    let (watch, mut moved) = (Watch::new(until), 0);
    // Whole chunks in all, and each connection its share.
    while !watch.over(moved / CHUNK as u64) {
        for event in wait(epoll, &mut events)? {
            let flow = &mut flows[event.u64 as usize];
            let (sent, heard) = (flow.sent, flow.heard);
            flow.go_on(event.events, &pattern, &mut buffer, echo)?;
            moved += if echo { flow.heard - heard } else { flow.sent - sent };
            flow.rewatch(epoll, event.u64, echo)?;
        }
    }
    sys::close(epoll);
    for flow in &mut flows {
        flow.finish(&pattern, &mut buffer, echo)?;
    }
    let total: u64 = flows.iter().map(|flow| flow.sent).sum();
    Ok(watch.done(total / CHUNK as u64))
}

impl Flowing {
    /// Reads and writes what can be.
    fn go_on(&mut self, ready: u32, from: &Pattern, into: &mut [u8], echo: bool) -> io::Result<()> {
        let fd = self.stream.as_raw_fd();
        if ready & sys::OUT != 0 {
            let room = if echo { WINDOW - (self.sent - self.heard) } else { CHUNK as u64 };
            let bytes = from.at(self.sent, room.min(CHUNK as u64) as usize);
            self.sent += now(sys::write(fd, bytes))? as u64;
        }
        if ready & !sys::OUT != 0 {
            match sys::read(fd, into) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                other => self.compare(from, into, now(other)?)?,
            }
        }
        Ok(())
    }

    fn compare(&mut self, from: &Pattern, heard: &[u8], n: usize) -> io::Result<()> {
        if from.at(self.heard, n) != &heard[..n] {
            return Err(wrong());
        }
        self.heard += n as u64;
        Ok(())
    }

    /// Watches for room only while there is something to send.
    fn rewatch(&mut self, epoll: RawFd, token: u64, echo: bool) -> io::Result<()> {
        let may = !echo || self.sent - self.heard < WINDOW;
        let wanted = if may { sys::IN | sys::OUT } else { sys::IN };
        if wanted != std::mem::replace(&mut self.watched, wanted) {
            sys::epoll_set(epoll, self.stream.as_raw_fd(), wanted, token)?;
        }
        Ok(())
    }

    /// Ends our side and hears the rest.
    fn finish(&mut self, from: &Pattern, into: &mut [u8], echo: bool) -> io::Result<()> {
        self.stream.set_nonblocking(false)?;
        self.stream.set_read_timeout(Some(PATIENCE))?;
        if echo {
            while self.heard < self.sent {
                match self.stream.read(into)? {
                    0 => return Err(ErrorKind::UnexpectedEof.into()),
                    n => self.compare(from, into, n)?,
                }
            }
            return Ok(());
        }
        self.stream.shutdown(Shutdown::Write)?;
        let mut total = [0; 8];
        self.stream.read_exact(&mut total)?;
        if u64::from_le_bytes(total) == self.sent { Ok(()) } else { Err(wrong()) }
    }
}

/// Connections that do nothing, but for one echo on each.
pub(crate) struct Idle(Vec<TcpStream>);

impl Idle {
    /// Opens them, and waits until the server has accepted the last.
    pub(crate) fn open(port: u16, conns: usize) -> io::Result<Idle> {
        let idle = Idle(connect(port, conns)?);
        idle.echo_on(conns - 1)?;
        Ok(idle)
    }

    /// One message on each and back.
    pub(crate) fn echo(&self) -> io::Result<()> {
        (0..self.0.len()).try_for_each(|i| self.echo_on(i))
    }

    fn echo_on(&self, i: usize) -> io::Result<()> {
        let (mut stream, mut buffer) = (&self.0[i], [0; MESSAGE]);
        stream.write_all(&message(i))?;
        stream.read_exact(&mut buffer)?;
        if buffer == message(i) { Ok(()) } else { Err(wrong()) }
    }
}
