//! The load of `versus http`: requests that are all alike, on many connections, and answers whose
//! bytes are counted.
//!
//! Rules:
//! * It does not parse, or it would be slower than what it measures. How long an answer is it
//!   learns from the first one; from then on it counts, and looks at how a read begins.
//! * What it learnt is compared on every connection, byte by byte but for the date, before
//!   anything is measured. A byte too many ends it with an error, and so does one too few.

use crate::closed_loop::{self, Asker};
use crate::load::Done;
use crate::sys;
use loopwork_benches::MINIMAL;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsRawFd, RawFd};
use std::time::{Duration, Instant};

/// What every answer begins with.
const BEGIN: &[u8] = b"HTTP/1.1 200 ";
/// And its body.
pub(crate) const BODY: &[u8] = b"Hello, World!";
/// A server that says nothing for so long has failed.
const PATIENCE: Duration = Duration::from_secs(20);
/// One read: a pipeline's answers, whoever the server is.
const BUFFER: usize = 64 * 1024;
/// An answer of a greeting is shorter than this.
const HEAD_MAX: usize = 2048;

/// What is sent, and over how many connections.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    pub(crate) conns: usize,
    /// Requests that leave together; the next follow when all of them are answered.
    pub(crate) depth: usize,
}

impl Load {
    pub(crate) fn name(&self) -> &'static str {
        if self.depth == 1 { "GET" } else { "GET ×16" }
    }
}

/// Connections to one server.
pub(crate) struct Clients {
    conns: Vec<Conn>,
    /// What is sent at once.
    requests: Vec<u8>,
    depth: usize,
    /// The first answer, without the bytes of its date.
    answer: Vec<u8>,
    epoll: RawFd,
    buffer: Vec<u8>,
    /// From a request to its answer, in microseconds, of each, if they are kept.
    times: Option<Vec<u32>>,
}

struct Conn {
    stream: TcpStream,
    /// Bytes that the server still has to send.
    owed: usize,
    sent: Instant,
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what)
}

/// One answer, read byte after byte as far as its head says.
fn first_answer(mut stream: &TcpStream) -> io::Result<Vec<u8>> {
    stream.write_all(MINIMAL)?;
    let (mut answer, mut byte) = (Vec::new(), [0]);
    while !answer.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        answer.push(byte[0]);
        if answer.len() > HEAD_MAX {
            return Err(wrong("the answer's head does not end"));
        }
    }
    let head = String::from_utf8_lossy(&answer).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    if length.is_none_or(|n| n.trim().parse() != Ok(BODY.len())) {
        return Err(wrong("the answer has another length"));
    }
    let head = answer.len();
    answer.resize(head + BODY.len(), 0);
    stream.read_exact(&mut answer[head..])?;
    if !answer.starts_with(BEGIN) || !answer.ends_with(BODY) {
        return Err(wrong("the answer is another one"));
    }
    undate(&mut answer);
    Ok(answer)
}

/// Blanks the date, which is another one when the day is.
fn undate(answer: &mut [u8]) {
    let lower = answer.to_ascii_lowercase();
    let Some(at) = lower.windows(8).position(|w| w == b"\r\ndate: ") else { return };
    answer[at + 8..].iter_mut().take_while(|b| **b != b'\r').for_each(|b| *b = b' ');
}

impl Clients {
    /// Connects, learns the answer, and compares it on all connections.
    ///
    /// # Errors
    /// What the kernel says; an answer that is wrong.
    pub(crate) fn open(port: u16, load: Load) -> io::Result<Clients> {
        let first = connect(port)?;
        let mut all = Clients {
            answer: first_answer(&first.stream)?,
            conns: vec![first],
            requests: MINIMAL.repeat(load.depth),
            depth: load.depth,
            epoll: sys::epoll_create()?,
            buffer: vec![0; BUFFER],
            times: None,
        };
        while all.conns.len() < load.conns {
            all.conns.push(connect(port)?);
        }
        for (i, conn) in all.conns.iter().enumerate() {
            sys::epoll_add(all.epoll, conn.stream.as_raw_fd(), i as u64)?;
        }
        all.compare()?;
        Ok(all)
    }

    /// Bytes of an answer.
    pub(crate) fn answer(&self) -> usize {
        self.answer.len()
    }

    /// Keeps how long each answer takes, from now on.
    pub(crate) fn keep_times(&mut self) {
        self.times = Some(Vec::new());
    }

    /// How long each answer took since they are kept, in microseconds.
    pub(crate) fn times(&self) -> &[u32] {
        self.times.as_deref().unwrap_or_default()
    }

    /// What leaves together, on one connection after the other, and the answers compared.
    fn compare(&mut self) -> io::Result<()> {
        let mut answers = vec![0; self.answer.len() * self.depth];
        for Conn { stream, .. } in &mut self.conns {
            stream.write_all(&self.requests)?;
            stream.read_exact(&mut answers)?;
            for answer in answers.chunks_mut(self.answer.len()) {
                undate(answer);
                if answer != self.answer {
                    return Err(wrong("an answer differs from the first"));
                }
            }
        }
        Ok(())
    }

    /// Each connection for itself: when all that it asked is answered, it asks again. In the end
    /// all answers are waited for.
    ///
    /// # Errors
    /// A connection that ends, a byte too many, or nothing at all for a while.
    pub(crate) fn run(&mut self, time: Duration) -> io::Result<Done> {
        let Done { count, time } = closed_loop::run(self, time)?;
        Ok(Done { count: count * self.depth as u64, time })
    }

    /// All connections ask, then all are heard: a turn of the server has all of them ready,
    /// however fast it is, so its calls can be counted.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub(crate) fn lockstep(&mut self, requests: u64) -> io::Result<u64> {
        let each = (self.conns.len() * self.depth) as u64;
        let rounds = requests.div_ceil(each);
        closed_loop::lockstep(self, rounds)?;
        Ok(rounds * each)
    }
}

impl Asker for Clients {
    const PATIENCE: Duration = PATIENCE;

    fn conns(&self) -> (usize, RawFd) {
        (self.conns.len(), self.epoll)
    }

    fn ask(&mut self, i: usize) -> io::Result<()> {
        let conn = &mut self.conns[i];
        conn.owed = self.answer.len() * self.depth;
        if self.times.is_some() {
            conn.sent = Instant::now();
        }
        // So little always fits: whoever asks has nothing under way.
        conn.stream.write_all(&self.requests)
    }

    /// Reads once; whether all is answered.
    fn hear(&mut self, i: usize, _: u32) -> io::Result<bool> {
        let conn = &mut self.conns[i];
        let n = match sys::read(conn.stream.as_raw_fd(), &mut self.buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Err(e) if e.kind() == ErrorKind::Interrupted => return Ok(false),
            other => other?,
        };
        let first = conn.owed == self.answer.len() * self.depth;
        if first && !self.buffer[..n].starts_with(&BEGIN[..n.min(BEGIN.len())]) {
            return Err(wrong("an answer begins in another way"));
        }
        let left = conn.owed.checked_sub(n);
        conn.owed = left.ok_or_else(|| wrong("more is answered than was asked"))?;
        if conn.owed == 0
            && let Some(times) = &mut self.times
        {
            times.push(u32::try_from(conn.sent.elapsed().as_micros()).unwrap_or(u32::MAX));
        }
        Ok(conn.owed == 0)
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        sys::close(self.epoll);
    }
}

fn connect(port: u16) -> io::Result<Conn> {
    let stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(Conn { stream, owed: 0, sent: Instant::now() })
}
