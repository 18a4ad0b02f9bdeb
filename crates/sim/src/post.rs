//! Unix datagrams: by a path, from hand to hand.
//!
//! Rules of this file:
//! * A datagram is there when it was sent: none is lost, doubled or overtaken, as in the kernel.
//! * A full queue is the sender's to know, and no readiness tells him when it is full no more.

use crate::Sim;
use crate::dice::Choice;
use crate::net::{Key, Net, Socket, wrong_kind};
use loopwork_reactor::{Fd, Id};
use std::collections::VecDeque;
use std::hash::Hasher;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// Datagrams that wait at one socket; one more is refused (`net.unix.max_dgram_qlen` is 10 unless
/// somebody has set it).
pub const UNIX_QUEUE: usize = 10;
/// The longest Unix datagram: what the usual send buffer leaves (`net.core.wmem_default`, and 32
/// bytes less).
pub const UNIX_DATAGRAM_MAX: usize = 212_992 - 32;
const EMSGSIZE: i32 = 90;
const EPROTOTYPE: i32 = 91;
const ENOBUFS: i32 = 105;

/// A Unix datagram socket.
#[derive(Default)]
pub(crate) struct Post {
    /// Empty: it has none.
    pub(crate) path: PathBuf,
    pub(crate) inbox: VecDeque<(PathBuf, Vec<u8>)>,
}

/// What the log calls each kind of call.
mod call {
    pub(super) const BIND: u64 = 48;
    pub(super) const RECV: u64 = 49;
    pub(super) const SEND: u64 = 50;
}

impl Net {
    fn post(&mut self, key: Key) -> io::Result<&mut Post> {
        match self.socket(key) {
            Some(Socket::Post(post)) => Ok(post),
            _ => Err(wrong_kind()),
        }
    }

    fn bind_unix(&mut self, at: &Path, id: Id) -> io::Result<Fd> {
        self.descriptor(0)?;
        let named = !at.as_os_str().is_empty();
        let post = Post { path: at.to_path_buf(), inbox: VecDeque::new() };
        let key = self.insert(id, Socket::Post(post));
        let held = if named { self.ports.hold_path(at, key) } else { Ok(()) };
        self.keep(key, held)?;
        // A new registration is an edge: it can be written.
        self.mark(key);
        Ok(Fd(key.slot))
    }

    fn recv_unix(&mut self, key: Key, into: &mut [u8]) -> io::Result<(usize, PathBuf)> {
        if self.post(key)?.inbox.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        if self.dice.chance(Choice::BlockRead, self.faults.block_read) {
            self.stats.cut_reads += 1;
            self.poke(key);
            return Err(ErrorKind::WouldBlock.into());
        }
        let (from, bytes) = self.post(key)?.inbox.pop_front().unwrap_or_default();
        let len = bytes.len().min(into.len());
        into[..len].copy_from_slice(&bytes[..len]);
        self.log.write(&bytes);
        Ok((len, from))
    }

    fn send_unix(&mut self, key: Key, to: &Path, bytes: &[u8]) -> io::Result<()> {
        let from = self.post(key)?.path.clone();
        let there = self.ports.path(to).ok_or(ErrorKind::NotFound)?;
        if self.post(there).is_err() {
            return Err(io::Error::from_raw_os_error(EPROTOTYPE));
        }
        if bytes.len() > UNIX_DATAGRAM_MAX {
            return Err(io::Error::from_raw_os_error(EMSGSIZE));
        }
        if self.dice.chance(Choice::Buffers, self.faults.no_buffers) {
            return Err(io::Error::from_raw_os_error(ENOBUFS));
        }
        let full = self.dice.chance(Choice::BlockWrite, self.faults.block_write);
        let post = self.post(there)?;
        if full || post.inbox.len() >= UNIX_QUEUE {
            return Err(ErrorKind::WouldBlock.into());
        }
        post.inbox.push_back((from, bytes.to_vec()));
        self.mark(there);
        self.log.write(bytes);
        Ok(())
    }
}

impl Sim {
    pub(crate) fn post_bind(&mut self, at: &Path, id: Id) -> io::Result<Fd> {
        let answer = self.net.bind_unix(at, id);
        self.net.answer(call::BIND, id.birth, answer, |fd| fd.0.into())
    }

    pub(crate) fn post_recv(&mut self, fd: Fd, into: &mut [u8]) -> io::Result<(usize, PathBuf)> {
        let key = self.net.key(fd);
        let answer = key.and_then(|key| self.net.recv_unix(key, into));
        if let Some(key) = self.net.look(fd) {
            // Whoever got one asks again.
            let more = answer.is_ok() && self.net.post(key).is_ok_and(|p| !p.inbox.is_empty());
            self.net.is_asked(key, more);
        }
        self.net.answer(call::RECV, fd.0.into(), answer, |(len, _)| *len as u64)
    }

    pub(crate) fn post_send(&mut self, fd: Fd, to: &Path, bytes: &[u8]) -> io::Result<()> {
        let answer = self.net.key(fd).and_then(|key| self.net.send_unix(key, to, bytes));
        self.net.answer(call::SEND, fd.0.into(), answer, |()| bytes.len() as u64)
    }
}
