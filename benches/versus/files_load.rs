//! The load of `versus files`: one file, asked for again and again on some connections.
//!
//! Rules:
//! * It does not parse, or it would be slower than what it measures. How long a head is it learns
//!   from the first answer; from then on it counts bytes, and looks at how an answer begins.
//! * On every connection the first answer's body is compared with the file before anything is
//!   measured. A byte too many ends it with an error, and so does one too few.

use crate::closed_loop::{self, Asker};
use crate::load::Done;
use crate::sys;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

/// What every answer begins with.
const BEGIN: &[u8] = b"HTTP/1.1 200 ";
/// A server that says nothing for so long has failed: behind a tool a large file takes a while.
const PATIENCE: Duration = Duration::from_secs(60);
/// One read: what a receive buffer holds, so that the load's reads are not what limits.
const BUFFER: usize = 1024 * 1024;
/// A head of a file is shorter than this.
const HEAD_MAX: usize = 2048;

/// Connections to one server that ask for one file.
pub(crate) struct Clients {
    conns: Vec<Conn>,
    request: Vec<u8>,
    epoll: RawFd,
    buffer: Vec<u8>,
}

struct Conn {
    stream: TcpStream,
    /// Bytes of an answer.
    answer: usize,
    /// Of them the server still has to send so many.
    owed: usize,
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what)
}

impl Clients {
    /// Connects, and compares an answer on each connection with the file.
    ///
    /// # Errors
    /// What the kernel says; an answer that is wrong.
    pub(crate) fn open(port: u16, name: &str, file: &[u8], conns: usize) -> io::Result<Clients> {
        let request = format!("GET /{name} HTTP/1.1\r\nHost: localhost\r\n\r\n").into_bytes();
        let (epoll, buffer) = (sys::epoll_create()?, vec![0; BUFFER]);
        let mut all = Clients { conns: Vec::new(), request, epoll, buffer };
        for i in 0..conns {
            let mut stream = TcpStream::connect(("127.0.0.1", port))?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.write_all(&all.request)?;
            let answer = head(&stream, file.len())? + file.len();
            for part in file.chunks(BUFFER) {
                let got = &mut all.buffer[..part.len()];
                stream.read_exact(got)?;
                if got != part {
                    return Err(wrong("the answer is not the file"));
                }
            }
            sys::epoll_add(all.epoll, stream.as_raw_fd(), i as u64)?;
            all.conns.push(Conn { stream, answer, owed: 0 });
        }
        Ok(all)
    }

    /// Each connection for itself: when what it asked for is there, it asks again. In the end all
    /// answers are waited for.
    ///
    /// # Errors
    /// A connection that ends, a byte too many, or nothing at all for a while.
    pub(crate) fn run(&mut self, time: Duration) -> io::Result<Done> {
        closed_loop::run(self, time)
    }

    /// So many times all connections ask, and then all are heard.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub(crate) fn lockstep(&mut self, times: u64) -> io::Result<()> {
        closed_loop::lockstep(self, times)
    }
}

impl Asker for Clients {
    const PATIENCE: Duration = PATIENCE;

    fn conns(&self) -> (usize, RawFd) {
        (self.conns.len(), self.epoll)
    }

    fn ask(&mut self, i: usize) -> io::Result<()> {
        let conn = &mut self.conns[i];
        conn.owed = conn.answer;
        // So little always fits: whoever asks has nothing under way.
        conn.stream.write_all(&self.request)
    }

    /// Reads once; whether all is there.
    fn hear(&mut self, i: usize, _: u32) -> io::Result<bool> {
        let conn = &mut self.conns[i];
        let n = match sys::read(conn.stream.as_raw_fd(), &mut self.buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Err(e) if e.kind() == ErrorKind::Interrupted => return Ok(false),
            other => other?,
        };
        let first = conn.owed == conn.answer;
        if first && !self.buffer[..n].starts_with(&BEGIN[..n.min(BEGIN.len())]) {
            return Err(wrong("an answer begins in another way"));
        }
        let left = conn.owed.checked_sub(n);
        conn.owed = left.ok_or_else(|| wrong("more is answered than was asked"))?;
        Ok(conn.owed == 0)
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        sys::close(self.epoll);
    }
}

/// How long the head of an answer with so much content is, read byte after byte.
fn head(mut stream: &TcpStream, content: usize) -> io::Result<usize> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
        if head.len() > HEAD_MAX {
            return Err(wrong("the answer's head does not end"));
        }
    }
    let text = String::from_utf8_lossy(&head).to_ascii_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:"));
    let right = length.is_some_and(|n| n.trim().parse() == Ok(content));
    if !right || !head.starts_with(BEGIN) {
        return Err(wrong("the answer has another status or length"));
    }
    Ok(head.len())
}
