//! What a careful user of mio writes: edge-triggered, a short read means dry, and who cannot be
//! written to is not read.

use super::{Buffer, Service};
use mio::event::Event;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Registry, Token};
use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};

struct Seat {
    stream: TcpStream,
    /// What could not be written.
    pending: Vec<u8>,
    /// Bytes that a sink got.
    total: u64,
}

pub(super) fn run(service: Service) -> io::Result<()> {
    let mut poll = Poll::new()?;
    let mut listener = mio::net::TcpListener::bind(([127, 0, 0, 1], 0).into())?;
    println!("{}", listener.local_addr()?.port());
    poll.registry().register(&mut listener, Token(0), Interest::READABLE)?;
    let (mut seats, mut next) = (HashMap::new(), 1);
    let (mut events, mut buffer) = (Events::with_capacity(1024), Buffer::new());
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            let token = event.token();
            if token == Token(0) {
                while let Ok((mut stream, _)) = listener.accept() {
                    stream.set_nodelay(true)?;
                    poll.registry().register(&mut stream, Token(next), Interest::READABLE)?;
                    seats.insert(Token(next), Seat { stream, pending: Vec::new(), total: 0 });
                    next += 1;
                }
                continue;
            }
            let Some(seat) = seats.get_mut(&token) else { continue };
            let open = match service {
                Service::Sink => seat.sink(event, buffer.get()),
                _ => seat.echo(event, poll.registry(), buffer.get()),
            };
            if !open.unwrap_or(false) {
                seats.remove(&token);
            }
        }
    }
}

/// How many bytes, or `None` if it would block.
fn now(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(n) => Ok(Some(n)),
        Err(e) if e.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(e) => Err(e),
    }
}

impl Seat {
    /// Sends back what is there; whether the connection goes on.
    fn echo(&mut self, event: &Event, to: &Registry, buffer: &mut [u8]) -> io::Result<bool> {
        if !self.pending.is_empty() {
            let sent = now(self.stream.write(&self.pending))?.unwrap_or(0);
            self.pending.drain(..sent);
            if !self.pending.is_empty() {
                return Ok(true);
            }
            to.reregister(&mut self.stream, event.token(), Interest::READABLE)?;
        }
        loop {
            let n = match now(self.stream.read(buffer))? {
                Some(0) => return Ok(false),
                Some(n) => n,
                None => return Ok(true),
            };
            let sent = now(self.stream.write(&buffer[..n]))?.unwrap_or(0);
            if sent < n {
                self.pending.extend_from_slice(&buffer[sent..n]);
                to.reregister(&mut self.stream, event.token(), Interest::WRITABLE)?;
                return Ok(true);
            }
            if n < buffer.len() && !event.is_read_closed() {
                return Ok(true);
            }
        }
    }

    fn sink(&mut self, event: &Event, buffer: &mut [u8]) -> io::Result<bool> {
        loop {
            match now(self.stream.read(buffer))? {
                Some(0) => {
                    let _ = self.stream.write(&self.total.to_le_bytes())?;
                    return Ok(false);
                }
                Some(n) => {
                    self.total += n as u64;
                    if n < buffer.len() && !event.is_read_closed() {
                        return Ok(true);
                    }
                }
                None => return Ok(true),
            }
        }
    }
}
