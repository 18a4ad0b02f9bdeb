//! The servers that are compared: each runs in a process of its own, on a core of its own, prints
//! its port as a line, and ends by itself after a number of messages, if one is given.

use crate::sys;
use loopwork_reactor::{Address, Env, Id, Loop, Os};
use loopwork_tcp::{Io, Protocol, listen};
use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// The size of a message.
pub(crate) const MESSAGE: usize = 64;
const LISTENER: u64 = u64::MAX;

/// Runs the server of this name.
pub(crate) fn run(name: &str, exit_after: u64) -> io::Result<()> {
    match name {
        "raw" => raw(exit_after),
        "loopwork" => loopwork(exit_after),
        "mio" => mio(),
        "tokio" => tokio(),
        "node" => node(),
        other => Err(io::Error::other(format!("no server is called {other}"))),
    }
}

/// The least that an echo can do: level-triggered epoll, one buffer, no state.
fn raw(exit_after: u64) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    println!("{}", listener.local_addr()?.port());
    let epoll = sys::epoll_create()?;
    sys::epoll_add(epoll, listener.as_raw_fd(), LISTENER)?;
    let (mut events, mut buffer) = ([sys::NO_EVENT; 1024], vec![0; 65_536]);
    let mut left = exit_after;
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
            match sys::read(fd, &mut buffer) {
                Ok(0) => sys::close(fd),
                Ok(n) => {
                    let sent = sys::write(fd, &buffer[..n]);
                    if sent.ok() != Some(n) {
                        sys::close(fd);
                    }
                    left = left.wrapping_sub((n / MESSAGE) as u64);
                    if left == 0 {
                        return Ok(());
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => sys::close(fd),
            }
        }
    }
}

struct Echo {
    left: u64,
}

impl Protocol for Echo {
    type Conn = ();

    fn on_accept(&mut self, _: &mut Env, _: Id, _: &Address) -> Option<()> {
        Some(())
    }

    fn on_data(&mut self, _: &mut (), io: &mut Io<'_>, bytes: &mut [u8]) -> usize {
        let _ = io.write(bytes);
        self.left = self.left.wrapping_sub((bytes.len() / MESSAGE) as u64);
        if self.left == 0 {
            io.env.calls.stop();
        }
        bytes.len()
    }
}

fn loopwork(exit_after: u64) -> io::Result<()> {
    let mut lp = Loop::new(Os::new()?);
    let (_, at) = listen(&mut lp, ([127, 0, 0, 1], 0).into(), Echo { left: exit_after })?;
    println!("{}", at.port());
    lp.run()
}

/// What a careful user of mio writes: edge-triggered, and a short read means dry.
fn mio() -> io::Result<()> {
    use mio::{Events, Interest, Poll, Token};
    let mut poll = Poll::new()?;
    let mut listener = mio::net::TcpListener::bind(([127, 0, 0, 1], 0).into())?;
    println!("{}", listener.local_addr()?.port());
    poll.registry().register(&mut listener, Token(0), Interest::READABLE)?;
    let (mut streams, mut next) = (HashMap::new(), 1);
    let (mut events, mut buffer) = (Events::with_capacity(1024), vec![0; 65_536]);
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() == Token(0) {
                while let Ok((mut stream, _)) = listener.accept() {
                    stream.set_nodelay(true)?;
                    poll.registry().register(&mut stream, Token(next), Interest::READABLE)?;
                    streams.insert(Token(next), stream);
                    next += 1;
                }
                continue;
            }
            let Some(stream) = streams.get_mut(&event.token()) else { continue };
            let open = loop {
                match stream.read(&mut buffer) {
                    Ok(0) => break false,
                    Ok(n) if stream.write(&buffer[..n]).ok() != Some(n) => break false,
                    Ok(n) if n < buffer.len() && !event.is_read_closed() => break true,
                    Ok(_) => {}
                    Err(e) => break e.kind() == io::ErrorKind::WouldBlock,
                }
            };
            if !open {
                streams.remove(&event.token());
            }
        }
    }
}

/// A task for each connection, on one thread.
fn tokio() -> io::Result<()> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
        println!("{}", listener.local_addr()?.port());
        let local = tokio::task::LocalSet::new();
        let accept = async {
            loop {
                let (mut stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                tokio::task::spawn_local(async move {
                    let mut buffer = vec![0; 4096];
                    while let Ok(n @ 1..) = stream.read(&mut buffer).await {
                        if stream.write_all(&buffer[..n]).await.is_err() {
                            break;
                        }
                    }
                });
            }
        };
        local.run_until(accept).await
    })
}

/// Node takes this process's place, and with it its core.
fn node() -> io::Result<()> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/versus/echo.cjs");
    Err(Command::new("node").arg(script).exec())
}
