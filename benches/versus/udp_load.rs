//! The load of `versus udp`: datagrams in flight, by the batch. What comes back is compared, so
//! that a server that answers wrongly is not called fast.

use crate::load::{Done, Until};
use crate::udp_sys::{self, Batch, LARGE, MESSAGES, SMALL};
use std::io::{self, ErrorKind};
use std::net::UdpSocket;
use std::os::fd::{AsRawFd, RawFd};
use std::time::{Duration, Instant};

/// What asks a sink how many it got.
pub(crate) const ASK: &[u8; 8] = b"how many";
/// An echo that is not back by then is lost.
const LOST: Duration = Duration::from_millis(100);
/// More lost ones in a row, and the server is not there.
const TRIES: u32 = 50;
/// Bytes in flight at most, so that no receive buffer of the usual size overflows.
const FLIGHT: usize = 128 * 1024;
/// Datagrams that the kernel cuts one message into at most.
const SEGMENTS: usize = 64;

/// What is sent, and how.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    pub(crate) name: &'static str,
    /// Bytes of a datagram.
    pub(crate) bytes: usize,
    /// Datagrams leave, and come back, put together.
    pub(crate) joined: bool,
    /// Nothing comes back.
    pub(crate) sink: bool,
}

impl Load {
    /// Datagrams of one message.
    fn segments(&self) -> usize {
        if self.joined { SEGMENTS.min((LARGE - 64) / self.bytes) } else { 1 }
    }

    fn message(&self) -> usize {
        self.segments() * self.bytes
    }

    /// Messages in flight: 64 datagrams, or what one message holds; one way as many as buffers
    /// take.
    fn flight(&self) -> usize {
        match (self.joined, self.sink) {
            (false, _) => MESSAGES,
            (true, false) => 1,
            (true, true) => (FLIGHT / self.message()).clamp(1, 8),
        }
    }

    /// Datagrams in flight.
    pub(crate) fn datagrams(&self) -> usize {
        self.flight() * self.segments()
    }

    fn batch(&self) -> Batch {
        let mut batch = match self.joined {
            true => Batch::new(MESSAGES / 2, LARGE),
            false => Batch::new(MESSAGES, SMALL),
        };
        let bytes = self.bytes;
        batch.fill(|i| (i % bytes * 31) as u8);
        batch
    }

    /// Runs it against the server at this port.
    ///
    /// # Errors
    /// A wrong answer, or none.
    pub(crate) fn run(&self, port: u16, until: Until) -> io::Result<Done> {
        let socket = UdpSocket::bind(("127.0.0.1", 0))?;
        socket.connect(("127.0.0.1", port))?;
        socket.set_read_timeout(Some(LOST))?;
        if self.joined {
            udp_sys::gro(socket.as_raw_fd())?;
        }
        if self.sink { self.pour(&socket, until) } else { self.echo(socket.as_raw_fd(), until) }
    }

    /// Keeps as many in flight as there may be.
    fn echo(&self, socket: RawFd, until: Until) -> io::Result<Done> {
        let (mut out, mut back) = (self.batch(), self.batch());
        let (start, mut count, mut quiet) = (Instant::now(), 0, 0);
        let mut flying = 0;
        while !over(until, start, count) {
            let more = (self.datagrams() - flying) / self.segments();
            out.post(socket, more, self.message(), self.bytes)?;
            flying += more * self.segments();
            let n = match back.recv(socket) {
                Ok(n) => n,
                Err(e) if e.kind() == ErrorKind::WouldBlock && quiet < TRIES => {
                    (flying, quiet) = (0, quiet + 1);
                    continue;
                }
                Err(e) => return Err(e),
            };
            quiet = 0;
            for i in 0..n {
                self.compare(back.bytes(i))?;
                count += back.datagrams(i);
                flying = flying.saturating_sub(back.datagrams(i) as usize);
            }
        }
        Ok(Done { count, time: start.elapsed() })
    }

    fn compare(&self, bytes: &[u8]) -> io::Result<()> {
        let whole = bytes.len().is_multiple_of(self.bytes) && !bytes.is_empty();
        let right = |(i, b): (usize, &u8)| *b == (i % self.bytes * 31) as u8;
        if whole && bytes.iter().enumerate().all(right) {
            return Ok(());
        }
        Err(io::Error::new(ErrorKind::InvalidData, "the echo is not what was sent"))
    }

    /// Sends as fast as it can; what counts is what arrived.
    fn pour(&self, socket: &UdpSocket, until: Until) -> io::Result<Done> {
        let (mut out, start, mut sent) = (self.batch(), Instant::now(), 0);
        let before = ask(socket)?;
        while !over(until, start, sent) {
            out.post(socket.as_raw_fd(), self.flight(), self.message(), self.bytes)?;
            sent += self.datagrams() as u64;
        }
        let time = start.elapsed();
        Ok(Done { count: ask(socket)? - before, time })
    }
}

fn over(until: Until, start: Instant, count: u64) -> bool {
    match until {
        Until::Over(time) => start.elapsed() >= time,
        Until::Done(some) => count >= some,
    }
}

/// How many a sink has got.
fn ask(socket: &UdpSocket) -> io::Result<u64> {
    for _ in 0..TRIES {
        socket.send(ASK)?;
        let mut answer = [0; 8];
        match socket.recv(&mut answer) {
            Ok(8) => return Ok(u64::from_le_bytes(answer)),
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::WouldBlock => {}
            Err(e) => return Err(e),
        }
    }
    Err(io::Error::other("the sink does not answer"))
}
