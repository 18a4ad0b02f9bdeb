//! The least that a server can do, as one writes it in C: level-triggered epoll, one buffer, and
//! state only for who does not read.

use super::{Buffer, Service};
use crate::sys;
use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::net::TcpListener;
use std::os::fd::{AsRawFd, RawFd};

const LISTENER: u64 = u64::MAX;

struct Raw {
    epoll: RawFd,
    buffer: Buffer,
    /// What could not be written; who is here is watched for writing, and not for reading.
    pending: HashMap<RawFd, Vec<u8>>,
    /// Bytes that a sink got, by descriptor.
    totals: Vec<u64>,
}

pub(super) fn run(service: Service) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    println!("{}", listener.local_addr()?.port());
    let epoll = sys::epoll_create()?;
    sys::epoll_add(epoll, listener.as_raw_fd(), LISTENER)?;
    let mut raw = Raw { epoll, buffer: Buffer::new(), pending: HashMap::new(), totals: Vec::new() };
    let mut events = [sys::NO_EVENT; 1024];
    loop {
        let n = sys::epoll_wait(epoll, &mut events, -1)?;
        for event in &events[..n] {
            if event.u64 == LISTENER {
                while let Ok(fd) = sys::accept(listener.as_raw_fd()) {
                    sys::epoll_add(epoll, fd, fd as u64)?;
                }
                continue;
            }
            let fd = event.u64 as RawFd;
            let open = match service {
                Service::Sink => raw.sink(fd),
                _ if event.events & sys::OUT != 0 => raw.flush(fd),
                _ => raw.echo(fd),
            };
            if !open {
                raw.pending.remove(&fd);
                sys::close(fd);
            }
        }
    }
}

impl Raw {
    /// Sends back what is there; whether the connection goes on.
    fn echo(&mut self, fd: RawFd) -> bool {
        let buffer = self.buffer.get();
        let n = match sys::read(fd, buffer) {
            Ok(0) => return false,
            Ok(n) => n,
            Err(e) => return e.kind() == ErrorKind::WouldBlock,
        };
        match sys::write(fd, &buffer[..n]) {
            Ok(sent) if sent == n => true,
            Ok(sent) => self.keep(fd, sent, n),
            Err(e) if e.kind() == ErrorKind::WouldBlock => self.keep(fd, 0, n),
            Err(_) => false,
        }
    }

    #[cold]
    fn keep(&mut self, fd: RawFd, sent: usize, n: usize) -> bool {
        self.pending.insert(fd, self.buffer.get()[sent..n].to_vec());
        sys::epoll_set(self.epoll, fd, sys::OUT, fd as u64).is_ok()
    }

    #[cold]
    fn flush(&mut self, fd: RawFd) -> bool {
        let Some(left) = self.pending.get_mut(&fd) else { return true };
        match sys::write(fd, left) {
            Ok(sent) => drop(left.drain(..sent)),
            Err(e) => return e.kind() == ErrorKind::WouldBlock,
        }
        if !left.is_empty() {
            return true;
        }
        self.pending.remove(&fd);
        sys::epoll_set(self.epoll, fd, sys::IN, fd as u64).is_ok()
    }

    fn sink(&mut self, fd: RawFd) -> bool {
        let at = fd as usize;
        if self.totals.len() <= at {
            self.totals.resize(at + 1, 0);
        }
        match sys::read(fd, self.buffer.get()) {
            Ok(0) => {
                let total = std::mem::take(&mut self.totals[at]);
                // Eight bytes fit into any socket.
                let _ = sys::write(fd, &total.to_le_bytes());
                false
            }
            Ok(n) => {
                self.totals[at] += n as u64;
                true
            }
            Err(e) => e.kind() == ErrorKind::WouldBlock,
        }
    }
}
