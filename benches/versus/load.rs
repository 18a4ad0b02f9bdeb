//! The load: connections with one message in flight each. What comes back is compared, so that a
//! server that answers wrongly is not called fast.

use crate::servers::MESSAGE;
use crate::sys;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

fn connect(port: u16, conns: usize) -> io::Result<Vec<TcpStream>> {
    let mut streams = Vec::with_capacity(conns);
    for _ in 0..conns {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        streams.push(stream);
    }
    Ok(streams)
}

fn message(conn: usize) -> [u8; MESSAGE] {
    std::array::from_fn(|i| (conn * 31 + i) as u8)
}

fn wrong() -> io::Error {
    io::Error::new(ErrorKind::InvalidData, "the echo is not what was sent")
}

/// Ping-pong on each connection for so long; how many messages came back.
pub(crate) fn ping_pong(port: u16, conns: usize, time: Duration) -> io::Result<u64> {
    let mut streams = connect(port, conns)?;
    let epoll = sys::epoll_create()?;
    let mut got = vec![0usize; conns];
    for (i, stream) in streams.iter_mut().enumerate() {
        stream.set_nonblocking(true)?;
        sys::epoll_add(epoll, stream.as_raw_fd(), i as u64)?;
        stream.write_all(&message(i))?;
    }
    let (mut events, mut buffer) = ([sys::NO_EVENT; 1024], [0; MESSAGE]);
    let (until, mut count) = (Instant::now() + time, 0);
    while Instant::now() < until {
        let n = sys::epoll_wait(epoll, &mut events, 1000)?;
        for event in &events[..n] {
            let i = event.u64 as usize;
            let fd = streams[i].as_raw_fd();
            let n = match sys::read(fd, &mut buffer[got[i]..]) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(n) => n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => continue,
                Err(e) => return Err(e),
            };
            let expected = message(i);
            if buffer[got[i]..got[i] + n] != expected[got[i]..got[i] + n] {
                return Err(wrong());
            }
            got[i] = (got[i] + n) % MESSAGE;
            if got[i] == 0 {
                count += 1;
                sys::write(fd, &expected)?;
            }
        }
    }
    sys::close(epoll);
    Ok(count)
}

/// Connects, has one message echoed, and closes, for so long; how many connections there were.
pub(crate) fn connect_close(port: u16, time: Duration) -> io::Result<u64> {
    let (until, mut count) = (Instant::now() + time, 0);
    let mut buffer = [0; MESSAGE];
    while Instant::now() < until {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.write_all(&message(count))?;
        stream.read_exact(&mut buffer)?;
        if buffer != message(count) {
            return Err(wrong());
        }
        count += 1;
    }
    Ok(count as u64)
}

/// All connections write, then all read, so often: a turn of the server has all of them ready.
pub(crate) fn lockstep(port: u16, conns: usize, rounds: u64) -> io::Result<()> {
    let mut streams = connect(port, conns)?;
    let mut buffer = [0; MESSAGE];
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
    Ok(())
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
