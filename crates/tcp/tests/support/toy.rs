//! A world without a kernel: what each call gives is what the test has set, and waiting is time
//! that passes. So budgets can be counted, and limits of time seen to the microsecond, whatever
//! else the machine does.
#![allow(dead_code, reason = "each test file uses its part")]

use loopwork_reactor::{
    Address, Fd, Id, Instant, ListenOptions, Mail, Mailbox, Ready, StreamOption, Streams, World,
};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;

pub(crate) struct Toy {
    now: Instant,
    /// What the next poll tells.
    pub(crate) next: Vec<Ready>,
    /// Of each socket, by its number.
    ids: Vec<Id>,
    /// Connections that wait to be accepted, and errors that come before them.
    pub(crate) waiting: usize,
    pub(crate) accepts: VecDeque<ErrorKind>,
    /// When accepting was tried.
    pub(crate) tried: Vec<Instant>,
    /// Dials stand.
    pub(crate) stands: bool,
    /// Bytes that writes still take.
    pub(crate) room: usize,
    /// Writing fails: the peer is gone.
    pub(crate) broken: bool,
    /// So many writes find no memory; when writing was tried.
    pub(crate) starved: usize,
    pub(crate) writes: Vec<Instant>,
    /// What each write took, and each call for a file.
    pub(crate) wrote: Vec<usize>,
    pub(crate) files: Vec<u64>,
    /// What was written, if it is to be kept.
    pub(crate) out: Option<Vec<u8>>,
    /// Bytes that still come in, and whether the peer's end is behind them.
    pub(crate) hose: usize,
    pub(crate) ended: bool,
    /// What each read gave.
    pub(crate) reads: Vec<usize>,
    /// Sockets of which a setting was changed.
    pub(crate) sets: Vec<Fd>,
    /// Sockets that are closed, and whether by a reset.
    pub(crate) closed: Vec<(Fd, bool)>,
}

impl Toy {
    pub(crate) fn new() -> Toy {
        Toy {
            now: Instant(1 << 20),
            next: Vec::new(),
            ids: Vec::new(),
            waiting: 0,
            accepts: VecDeque::new(),
            tried: Vec::new(),
            stands: false,
            room: usize::MAX,
            broken: false,
            starved: 0,
            writes: Vec::new(),
            wrote: Vec::new(),
            files: Vec::new(),
            out: None,
            hose: 0,
            ended: false,
            reads: Vec::new(),
            sets: Vec::new(),
            closed: Vec::new(),
        }
    }

    fn open(&mut self, id: Id) -> Fd {
        self.ids.push(id);
        Fd(self.ids.len() as u32 - 1)
    }

    /// The next poll tells this socket ready for everything.
    pub(crate) fn tell(&mut self, fd: Fd) {
        let id = self.ids[fd.0 as usize];
        self.next.push(Ready { id, readable: true, writable: true, closed: false, gone: false });
    }

    /// As [`tell`](Self::tell), of every socket that there ever was.
    pub(crate) fn tell_all(&mut self) {
        (0..self.ids.len()).for_each(|fd| self.tell(Fd(fd as u32)));
    }
}

impl World for Toy {
    fn now(&mut self) -> Instant {
        self.now
    }
    fn poll(&mut self, until: Option<Instant>, ready: &mut Vec<Ready>) -> io::Result<()> {
        if self.next.is_empty() {
            self.now = self.now.max(until.expect("a wait without end"));
        }
        ready.append(&mut self.next);
        Ok(())
    }
    fn random(&mut self, into: &mut [u8]) {
        into.fill(4);
    }
    fn close(&mut self, fd: Fd) {
        self.closed.push((fd, false));
    }
    fn watch_signals(&mut self, _: &[i32], _: Id) -> io::Result<()> {
        Err(ErrorKind::Unsupported.into())
    }
    fn next_signal(&mut self, _: Id) -> Option<i32> {
        None
    }
    fn mailbox(&mut self) -> io::Result<Mailbox> {
        Err(ErrorKind::Unsupported.into())
    }
    fn mail(&mut self, _: &mut Vec<Mail>) {}
}

impl Streams for Toy {
    fn listen(&mut self, at: &Address, _: &ListenOptions, id: Id) -> io::Result<(Fd, Address)> {
        Ok((self.open(id), at.clone()))
    }
    fn accept(&mut self, _: Fd, id: Id) -> io::Result<(Fd, Address)> {
        self.tried.push(self.now);
        if let Some(error) = self.accepts.pop_front() {
            return Err(error.into());
        }
        self.waiting = self.waiting.checked_sub(1).ok_or(ErrorKind::WouldBlock)?;
        Ok((self.open(id), Address::Ip(SocketAddr::from(([127, 0, 0, 1], 9)))))
    }
    fn connect(&mut self, _: &Address, _: Option<SocketAddr>, id: Id) -> io::Result<Fd> {
        Ok(self.open(id))
    }
    fn connected(&mut self, _: Fd) -> io::Result<()> {
        if self.stands { Ok(()) } else { Err(ErrorKind::WouldBlock.into()) }
    }
    fn read(&mut self, _: Fd, into: &mut [u8]) -> io::Result<usize> {
        let n = into.len().min(self.hose);
        if n == 0 && !self.ended {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.hose -= n;
        self.reads.push(n);
        Ok(n)
    }
    fn write(&mut self, _: Fd, bytes: &[u8]) -> io::Result<usize> {
        self.writes.push(self.now);
        if self.broken {
            return Err(ErrorKind::BrokenPipe.into());
        }
        if self.starved > 0 {
            self.starved -= 1;
            return Err(ErrorKind::OutOfMemory.into());
        }
        let n = bytes.len().min(self.room);
        if n == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        if let Some(out) = &mut self.out {
            out.extend_from_slice(&bytes[..n]);
        }
        self.room -= if self.room == usize::MAX { 0 } else { n };
        self.wrote.push(n);
        Ok(n)
    }
    fn send_file(&mut self, _: Fd, _: &File, _: u64, len: u64) -> io::Result<u64> {
        self.files.push(len);
        Ok(len)
    }
    fn shutdown(&mut self, _: Fd) -> io::Result<()> {
        Ok(())
    }
    fn reset(&mut self, fd: Fd) {
        self.closed.push((fd, true));
    }
    fn set(&mut self, fd: Fd, _: StreamOption) -> io::Result<()> {
        self.sets.push(fd);
        Ok(())
    }
    fn local(&mut self, _: Fd) -> io::Result<Address> {
        Err(ErrorKind::Unsupported.into())
    }
    fn peer(&mut self, _: Fd) -> io::Result<Address> {
        Err(ErrorKind::Unsupported.into())
    }
}
