//! Unix datagrams: between processes of one machine, by a path.
//!
//! They are not lost, doubled or overtaken: a receiver that has too many waiting is told to the
//! sender ([`Protocol::on_error`] with `WouldBlock`), who then has to wait or forget. The kernel
//! tells nobody when that is over, so nothing is tried again here.
//!
//! Rules of this file:
//! * Addresses are paths. One that begins with a NUL byte is a name in Linux's abstract namespace;
//!   an empty one is a socket without a path, which can send, and be sent nothing.
//! * A callback fills a queue and notes wishes; `settle` alone touches the socket.
//! * One system call a datagram: there are no batches of them with paths of their own.

use crate::queue::Sent;
use loopwork_reactor::{Cx, Datagrams, Driver, Env, Fd, Handle, Id, Loop, Ready, Trace};
use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// Datagrams that one turn receives, before others and the timers have their turn.
const PER_TURN: usize = 64;
/// Datagrams that one batch of callbacks may queue: an answer to each that was received, and as
/// many more.
const QUEUE: usize = 2 * PER_TURN;
/// The longest datagram that is sent, or shown whole, in bytes: more than Linux lets anyone send
/// who has not asked for larger buffers (`net.core.wmem_default`, 212,992).
pub const MAX_DATAGRAM: usize = 256 * 1024;

/// One Unix datagram socket's behaviour. All methods but the first have an empty default.
pub trait Protocol: 'static {
    /// A datagram came, from a path; empty: from a socket that has none. Its bytes last for this
    /// call, and may be changed in place.
    fn on_datagram(&mut self, io: &mut Io<'_>, from: &Path, bytes: &mut [u8]);

    /// The socket is bound.
    fn on_open(&mut self, _io: &mut Io<'_>) {}

    /// Someone asked for it by [`Env::wake`] with this socket's id.
    fn on_wake(&mut self, _io: &mut Io<'_>) {}

    /// A datagram to this path was not sent: nobody is there (`NotFound`, `ConnectionRefused`), it
    /// is larger than the kernel takes, or too many wait there (`WouldBlock`). Without a path,
    /// receiving failed. The socket lives on.
    fn on_error(&mut self, _io: &mut Io<'_>, _to: Option<&Path>, _error: io::Error) {}

    /// The socket is closed, its path unlinked, and nothing comes from it any more.
    fn on_close(&mut self, _id: Id, _env: &mut Env) {}
}

/// A Unix datagram socket, in a callback.
pub struct Io<'a> {
    /// This socket's id, for [`Env::wake`].
    pub id: Id,
    /// In `on_datagram`: it was longer than [`MAX_DATAGRAM`], and its end is lost.
    pub truncated: bool,
    /// What is outside this socket.
    pub env: &'a mut Env,
    queue: &'a mut VecDeque<(PathBuf, Vec<u8>)>,
    close: &'a mut bool,
}

impl Io<'_> {
    /// Queues one datagram to a path, which leaves when the callbacks of this batch are done.
    /// [`Sent::Dropped`] when 128 wait already, or when it is longer than [`MAX_DATAGRAM`].
    pub fn send(&mut self, to: &Path, bytes: &[u8]) -> Sent {
        if self.queue.len() >= QUEUE || bytes.len() > MAX_DATAGRAM {
            return Sent::Dropped;
        }
        let mut buffer = self.env.pool.take();
        buffer.extend_from_slice(bytes);
        self.queue.push_back((to.to_path_buf(), buffer));
        Sent::Queued
    }

    /// Closes the socket, when what is queued has been sent.
    pub fn close(&mut self) {
        *self.close = true;
    }
}

/// One Unix datagram socket and its protocol.
pub struct Host<P> {
    /// What the user wrote.
    pub protocol: P,
    fd: Option<Fd>,
    id: Id,
    queue: VecDeque<(PathBuf, Vec<u8>)>,
    readable: bool,
    again: bool,
    close: bool,
}

/// Binds a socket at a path and sets a protocol on it.
///
/// # Errors
/// What the kernel says: in use, not allowed, a path too long; `Unsupported` in a world that has no
/// such sockets. The protocol then stays in the loop, without a socket.
pub fn bind<W: Datagrams, P: Protocol>(
    lp: &mut Loop<W>,
    at: impl AsRef<Path>,
    protocol: P,
) -> io::Result<Handle<Host<P>>> {
    let host = lp.add(|handle: Handle<Host<P>>| Host {
        protocol,
        fd: None,
        id: Id { birth: 0, slot: 0, driver: handle.driver },
        queue: VecDeque::new(),
        readable: false,
        again: false,
        close: false,
    });
    lp.with(host, |host, cx| host.open(cx, at.as_ref())).map(|()| host)
}

/// Runs `f` as if it were a callback: how to send from outside. `None` while the socket is closed.
///
/// # Panics
/// With a handle of another loop.
pub fn with<W: Datagrams, P: Protocol, R>(
    lp: &mut Loop<W>,
    host: Handle<Host<P>>,
    f: impl FnOnce(&mut P, &mut Io<'_>) -> R,
) -> Option<R> {
    lp.with(host, |host, cx| {
        host.fd?;
        let answer = host.call(cx.env, f);
        host.settle(cx);
        Some(answer)
    })
}

/// Closes a host's socket, if it is open: as [`Io::close`].
///
/// # Panics
/// With a handle of another loop.
pub fn close<W: Datagrams, P: Protocol>(lp: &mut Loop<W>, host: Handle<Host<P>>) {
    let _ = with(lp, host, |_, io| io.close());
}

impl<P: Protocol> Host<P> {
    /// The socket's id, for [`Env::wake`]; `None` while it is closed.
    #[must_use]
    pub fn id(&self) -> Option<Id> {
        self.fd.map(|_| self.id)
    }

    fn open<W: Datagrams>(&mut self, cx: &mut Cx<'_, W>, at: &Path) -> io::Result<()> {
        let id = Id { birth: cx.env.calls.birth(), ..self.id };
        self.fd = Some(cx.world.bind_unix(at, id)?);
        self.id = id;
        cx.env.calls.hold();
        cx.env.note(id, Trace::Open);
        self.call(cx.env, |p, io| p.on_open(io));
        self.settle(cx);
        Ok(())
    }

    fn call<R>(&mut self, env: &mut Env, f: impl FnOnce(&mut P, &mut Io<'_>) -> R) -> R {
        let Host { protocol, id, queue, close, .. } = self;
        f(protocol, &mut Io { id: *id, truncated: false, env, queue, close })
    }

    fn is(&self, id: Id) -> bool {
        self.fd.is_some() && self.id == id
    }

    /// Receives until dry or the turn's budget is spent, then settles.
    fn read<W: Datagrams>(&mut self, cx: &mut Cx<'_, W>) {
        let Some(fd) = self.fd else { return };
        for _ in 0..PER_TURN {
            // One byte more than is shown tells that there was more.
            match cx.world.recv_unix(fd, &mut cx.buffer[..MAX_DATAGRAM + 1]) {
                Ok((len, from)) => {
                    let shown = len.min(MAX_DATAGRAM);
                    cx.env.note(self.id, Trace::Read(shown as u32));
                    let Host { protocol, id, queue, close, .. } = self;
                    let (id, truncated, env) = (*id, len > shown, &mut *cx.env);
                    let mut io = Io { id, truncated, env, queue, close };
                    protocol.on_datagram(&mut io, &from, &mut cx.buffer[..shown]);
                }
                Err(e) => {
                    self.readable = false;
                    if e.kind() != ErrorKind::WouldBlock {
                        self.call(cx.env, |p, io| p.on_error(io, None, e));
                    }
                }
            }
            if !self.readable || self.close {
                break;
            }
        }
        self.settle(cx);
    }

    /// Sends what is queued, and carries out the other wishes.
    fn settle<W: Datagrams>(&mut self, cx: &mut Cx<'_, W>) {
        let Some(fd) = self.fd else { return };
        // What an error's callback queues waits for the next turn.
        for _ in 0..self.queue.len() {
            let Some((to, bytes)) = self.queue.pop_front() else { break };
            match cx.world.send_unix(fd, &to, &bytes) {
                Ok(()) => cx.env.note(self.id, Trace::Wrote(bytes.len() as u32)),
                Err(e) if !self.close => self.call(cx.env, |p, io| p.on_error(io, Some(&to), e)),
                Err(_) => {}
            }
            cx.env.pool.give(bytes);
        }
        if self.close {
            return self.end(cx);
        }
        if (self.readable || !self.queue.is_empty()) && !self.again {
            self.again = true;
            cx.env.calls.again(self.id);
        }
    }

    fn end<W: Datagrams>(&mut self, cx: &mut Cx<'_, W>) {
        let Some(fd) = self.fd.take() else { return };
        cx.world.close(fd);
        cx.env.calls.release();
        cx.env.note(self.id, Trace::Close);
        self.queue.clear();
        self.protocol.on_close(self.id, cx.env);
    }
}

impl<W: Datagrams, P: Protocol> Driver<W> for Host<P> {
    fn sources(&self, tell: &mut dyn FnMut(Id, &'static str)) {
        if self.fd.is_some() {
            tell(self.id, "socket");
        }
    }

    fn on_ready(&mut self, cx: &mut Cx<'_, W>, ready: Ready) {
        if !self.is(ready.id) {
            return;
        }
        cx.env.note(ready.id, Trace::Ready);
        self.readable |= ready.readable || ready.gone;
        // Who waits for `again` reads there, later in this turn: one budget a turn.
        if self.readable && !self.again {
            self.read(cx);
        }
    }

    fn on_again(&mut self, cx: &mut Cx<'_, W>, id: Id) {
        if self.is(id) {
            self.again = false;
            if self.readable { self.read(cx) } else { self.settle(cx) }
        }
    }

    fn on_wake(&mut self, cx: &mut Cx<'_, W>, id: Id) {
        if self.is(id) {
            cx.env.note(id, Trace::Wake);
            self.call(cx.env, |p, io| p.on_wake(io));
            self.settle(cx);
        }
    }
}
