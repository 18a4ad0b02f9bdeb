//! The load of `versus ws`: messages that are all alike, on many connections, and echoes whose
//! bytes are counted.
//!
//! Rules:
//! * It does not parse, or it would be slower than what it measures: frames are masked once, and
//!   how long an echo is is known (RFC 6455 §5.2 has one shortest form).
//! * The first echo on every connection is compared byte by byte before anything is measured, all
//!   others in how they begin. A byte too many ends it with an error, and so does one too few.
//! * No connection blocks: a large message is written while its echo is read.

use crate::closed_loop::{self, Asker};
use crate::load::Done;
use crate::sys;
use loopwork_ws::core::frame::{self, Opcode};
use loopwork_ws::core::handshake;
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

/// A server that says nothing for so long has failed.
const PATIENCE: Duration = Duration::from_secs(20);
/// One read: some echoes of a pipeline, or a part of a large one.
const BUFFER: usize = 256 * 1024;
/// An answer to the handshake is shorter than this.
const HEAD_MAX: usize = 2048;
/// So much of what is read at the beginning of an echo is looked at.
const BEGIN: usize = 16;
/// The key of RFC 6455 §1.3, and of all connections.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// Masks every frame: not zero, so that a server has to unmask.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// What is sent, and over how many connections.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Load {
    /// Bytes of a message.
    pub(crate) size: usize,
    pub(crate) conns: usize,
    /// Messages that leave together; the next follow when all of them have come back.
    pub(crate) depth: usize,
}

impl Load {
    /// Of `SIZExCONNS` or `SIZExCONNSxDEPTH`.
    ///
    /// # Errors
    /// What is not that, or has a zero.
    pub(crate) fn parse(text: &str) -> io::Result<Load> {
        let numbers: Result<Vec<usize>, _> = text.split('x').map(str::parse).collect();
        match numbers.as_deref() {
            Ok(&[size, conns]) if conns > 0 => Ok(Load { size, conns, depth: 1 }),
            Ok(&[size, conns, depth]) if conns > 0 && depth > 0 => Ok(Load { size, conns, depth }),
            _ => Err(io::Error::other(format!("{text}: SIZExCONNS or SIZExCONNSxDEPTH is needed"))),
        }
    }

    /// The payload of each message: no byte pattern of a frame's head, and no text.
    fn payload(self) -> Vec<u8> {
        (0..self.size).map(|i| (i as u32).wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect()
    }

    /// A message as a client sends it.
    pub(crate) fn message(self) -> Vec<u8> {
        let mut bytes = Vec::new();
        frame::encode(&mut bytes, Opcode::Binary, &self.payload(), Some(MASK));
        bytes
    }

    /// Its echo.
    pub(crate) fn echo(self) -> Vec<u8> {
        let mut bytes = Vec::new();
        frame::encode(&mut bytes, Opcode::Binary, &self.payload(), None);
        bytes
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = crate::report::size(self.size);
        match self.depth {
            1 => f.write_str(&size),
            depth => write!(f, "{size} ×{depth}"),
        }
    }
}

/// Connections to one server.
pub(crate) struct Clients {
    conns: Vec<Conn>,
    /// What is sent at once, and what comes back.
    messages: Vec<u8>,
    echoes: Vec<u8>,
    depth: usize,
    epoll: RawFd,
    buffer: Vec<u8>,
    /// Whether every byte is compared.
    compares: bool,
}

struct Conn {
    stream: TcpStream,
    /// Bytes that did not fit into the socket yet.
    unsent: usize,
    /// Bytes that the server still has to send.
    owed: usize,
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what)
}

/// A connection behind its handshake (RFC 6455 §4.1), which offers no extension.
fn connect(port: u16) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let request = format!(
        "GET / HTTP/1.1\r\nHost: localhost:{port}\r\nUpgrade: websocket\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    );
    stream.write_all(request.as_bytes())?;
    let (mut head, mut byte) = (Vec::new(), [0]);
    // Nothing comes behind the head before we ask, so most of it comes by one read.
    let mut part = [0; HEAD_MAX];
    while !head.ends_with(b"\r\n\r\n") {
        let n = match head.len() {
            0 => stream.read(&mut part)?,
            _ => stream.read(&mut byte).inspect(|_| part[0] = byte[0])?,
        };
        head.extend_from_slice(&part[..n]);
        if n == 0 || head.len() > HEAD_MAX {
            return Err(wrong("the handshake's answer does not end"));
        }
    }
    let accept = handshake::accept_key(KEY);
    let accepted = head.windows(accept.len()).any(|words| words == accept);
    if !head.starts_with(b"HTTP/1.1 101 ") || !accepted {
        return Err(wrong("the server refuses the handshake"));
    }
    stream.set_nonblocking(true)?;
    Ok(stream)
}

impl Clients {
    /// Connects, and leaves it at the handshakes.
    ///
    /// # Errors
    /// What the kernel says; a handshake that fails.
    pub(crate) fn connect(port: u16, load: Load) -> io::Result<Clients> {
        let mut all = Clients {
            conns: Vec::with_capacity(load.conns),
            messages: load.message().repeat(load.depth),
            echoes: load.echo().repeat(load.depth),
            depth: load.depth,
            epoll: sys::epoll_create()?,
            buffer: vec![0; BUFFER],
            compares: false,
        };
        for i in 0..load.conns {
            let stream = connect(port)?;
            sys::epoll_add(all.epoll, stream.as_raw_fd(), i as u64)?;
            all.conns.push(Conn { stream, unsent: 0, owed: 0 });
        }
        Ok(all)
    }

    /// Connects, and compares the echoes on all connections.
    ///
    /// # Errors
    /// As [`connect`](Self::connect); an echo that is wrong.
    pub(crate) fn open(port: u16, load: Load) -> io::Result<Clients> {
        let mut all = Clients::connect(port, load)?;
        all.compare()?;
        Ok(all)
    }

    /// What leaves together, on all connections, and each byte of the echoes compared.
    ///
    /// # Errors
    /// An echo that is wrong, and as [`run`](Self::run).
    pub(crate) fn compare(&mut self) -> io::Result<()> {
        self.compares = true;
        let done = closed_loop::until(self, &|| true);
        self.compares = false;
        done.map(drop)
    }

    /// Each connection for itself: when all that it sent has come back, it sends again. In the end
    /// all echoes are waited for.
    ///
    /// # Errors
    /// A connection that ends, a byte too many, or nothing at all for a while.
    pub(crate) fn run(&mut self, time: Duration) -> io::Result<Done> {
        let Done { count, time } = closed_loop::run(self, time)?;
        Ok(Done { count: count * self.depth as u64, time })
    }

    /// All connections send, then all are heard: a turn of the server has all of them ready, so
    /// its calls can be counted.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub(crate) fn lockstep(&mut self, messages: u64) -> io::Result<u64> {
        let each = (self.conns.len() * self.depth) as u64;
        let rounds = messages.div_ceil(each);
        (0..rounds).try_for_each(|_| closed_loop::until(self, &|| true).map(drop))?;
        Ok(rounds * each)
    }

    /// Writes once. What does not fit waits for the socket.
    fn send(&mut self, i: usize) -> io::Result<()> {
        let conn = &mut self.conns[i];
        let (fd, before) = (conn.stream.as_raw_fd(), conn.unsent);
        let whole = before == self.messages.len();
        match sys::write(fd, &self.messages[self.messages.len() - before..]) {
            Ok(n) => conn.unsent -= n,
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(e) => return Err(e),
        }
        match (whole, conn.unsent) {
            (true, 0) => Ok(()),
            (false, 0) => sys::epoll_set(self.epoll, fd, sys::IN, i as u64),
            _ => sys::epoll_set(self.epoll, fd, sys::IN | sys::OUT, i as u64),
        }
    }
}

impl Asker for Clients {
    const PATIENCE: Duration = PATIENCE;

    fn conns(&self) -> (usize, RawFd) {
        (self.conns.len(), self.epoll)
    }

    fn ask(&mut self, i: usize) -> io::Result<()> {
        let conn = &mut self.conns[i];
        (conn.unsent, conn.owed) = (self.messages.len(), self.echoes.len());
        self.send(i)
    }

    /// Sends what did not fit, and reads once; whether all is back.
    fn hear(&mut self, i: usize, events: u32) -> io::Result<bool> {
        if events & sys::OUT != 0 {
            self.send(i)?;
        }
        if events & !sys::OUT == 0 {
            return Ok(false);
        }
        let conn = &mut self.conns[i];
        let n = match sys::read(conn.stream.as_raw_fd(), &mut self.buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                return Ok(false);
            }
            other => other?,
        };
        let at = self.echoes.len() - conn.owed;
        let left = conn.owed.checked_sub(n);
        conn.owed = left.ok_or_else(|| wrong("more comes back than was sent"))?;
        let look = if self.compares { n } else { n.min(BEGIN) };
        if (at == 0 || self.compares) && self.buffer[..look] != self.echoes[at..at + look] {
            return Err(wrong("what comes back is no echo"));
        }
        Ok(conn.owed == 0)
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        sys::close(self.epoll);
    }
}
