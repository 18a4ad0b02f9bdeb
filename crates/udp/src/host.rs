//! The driver of one datagram socket: between the world and a protocol.
//!
//! Rules of this file:
//! * `settle` alone carries out wishes, after a batch's callbacks: a whole batch of answers
//!   leaves by one system call.
//! * A batch that came shorter than it could have says that nothing is left (no further call).
//!   Who stops before that asks for `again`: readiness is told once.
//! * No callback is called from inside another, and none but `on_close` once `close` is wished.
//! * Whatever a callback causes is bounded in each turn: errors, drains, batches.

use crate::protocol::{Io, Link, Options, Protocol, Wishes};
use crate::queue::Queue;
use loopwork_reactor::planted::{Planted, planted};
use loopwork_reactor::{
    BATCH, BindOptions, Cx, Datagram, DatagramSettings, Datagrams, Driver, Env, Facts, Fd, Handle,
    Id, Ready, TimerKey, Trace,
};
use std::any::Any;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;

/// Datagrams that may fail one after the other in one flush: an error costs a system call and a
/// callback, and `on_error` may well send again what fails again. As many as a batch has.
const ERRORS_PER_FLUSH: usize = BATCH;

/// What [`post_open`](crate::post_open) sends by mail.
pub(crate) struct Open {
    pub(crate) at: SocketAddr,
    pub(crate) how: BindOptions,
}

/// One datagram socket and its protocol. It may be opened, closed and opened again.
pub struct Host<P> {
    /// What the user wrote.
    pub protocol: P,
    link: Link,
    queue: Queue,
    wish: Wishes,
    /// The batch that is being shown; kept for its memory.
    got: Vec<Datagram>,
    /// What was asked to be told of each of them.
    facts: Vec<Facts>,
    options: Options,
}

impl<P: Protocol> Host<P> {
    pub(crate) fn new(handle: Handle<Self>, options: Options, protocol: P) -> Self {
        Host {
            protocol,
            link: Link {
                fd: None,
                id: Id { birth: 0, slot: 0, driver: handle.driver },
                local: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
                peer: None,
                room: options.max_datagram,
                facts: false,
                errors: false,
                failed: false,
                holds: false,
                readable: false,
                writable: false,
                again: false,
                retried: false,
                timer: TimerKey::NONE,
                armed: None,
            },
            queue: Queue::new(options.queue_bytes, options.queue_datagrams),
            wish: Wishes::default(),
            got: Vec::new(),
            facts: Vec::new(),
            options,
        }
    }

    /// The socket's id, for [`Env::wake`]; `None` while it is closed.
    #[must_use]
    pub fn id(&self) -> Option<Id> {
        self.link.fd.map(|_| self.link.id)
    }

    /// Where the socket is bound, with its real port; `None` while it is closed.
    #[must_use]
    pub fn local(&self) -> Option<SocketAddr> {
        self.link.fd.map(|_| self.link.local)
    }

    pub(crate) fn open<W: Datagrams>(
        &mut self,
        cx: &mut Cx<'_, W>,
        at: SocketAddr,
        how: &BindOptions,
    ) -> io::Result<SocketAddr> {
        if self.link.fd.is_some() {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let id = Id { birth: cx.env.calls.birth(), ..self.link.id };
        let (fd, local) = cx.world.bind(at, how, id)?;
        self.begin(cx, fd, id, local, None, how);
        Ok(local)
    }

    pub(crate) fn adopt<W: Datagrams>(
        &mut self,
        cx: &mut Cx<'_, W>,
        socket: OwnedFd,
        how: &BindOptions,
    ) -> io::Result<SocketAddr> {
        if self.link.fd.is_some() {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let id = Id { birth: cx.env.calls.birth(), ..self.link.id };
        let (fd, local, peer) = cx.world.adopt_datagrams(socket, how, id)?;
        self.begin(cx, fd, id, local, peer, how);
        Ok(local)
    }

    fn begin<W: Datagrams>(
        &mut self,
        cx: &mut Cx<'_, W>,
        fd: Fd,
        id: Id,
        local: SocketAddr,
        peer: Option<SocketAddr>,
        how: &BindOptions,
    ) {
        // A fresh socket can send; if not, the first try says so.
        let link = &mut self.link;
        (link.fd, link.id, link.local, link.writable) = (Some(fd), id, local, true);
        (link.peer, link.room) = (peer, self.options.room(how));
        (link.facts, link.errors) = (how.facts(), how.errors);
        link.holds = true;
        cx.env.calls.hold();
        cx.env.note(id, Trace::Open);
        self.call(cx.env, |p, io| p.on_open(io));
        self.settle(cx);
    }

    /// Whether the loop runs for this socket.
    pub(crate) fn hold(&mut self, env: &mut Env, holds: bool) {
        if self.link.fd.is_none() || self.link.holds == holds {
            return;
        }
        self.link.holds = holds;
        if holds { env.calls.hold() } else { env.calls.release() }
    }

    /// Runs a piece of the protocol, with its socket. Wishes are noted, not carried out.
    #[inline]
    fn call<R>(&mut self, env: &mut Env, f: impl FnOnce(&mut P, &mut Io<'_>) -> R) -> R {
        let Host { protocol, link, queue, wish, .. } = self;
        let facts = &Facts::NONE;
        f(protocol, &mut Io { id: link.id, truncated: false, env, facts, link, queue, wish })
    }

    /// Runs a piece of the protocol from outside a turn. `None` while the socket is closed.
    pub(crate) fn enter<W: Datagrams, R>(
        &mut self,
        cx: &mut Cx<'_, W>,
        f: impl FnOnce(&mut P, &mut Io<'_>) -> R,
    ) -> Option<R> {
        self.link.fd?;
        let answer = self.call(cx.env, f);
        self.settle(cx);
        Some(answer)
    }

    pub(crate) fn set<W: Datagrams>(
        &mut self,
        cx: &mut Cx<'_, W>,
        option: loopwork_reactor::DatagramOption,
    ) -> io::Result<()> {
        let fd = self.link.fd.ok_or(ErrorKind::NotConnected)?;
        cx.world.set_datagram(fd, option)
    }

    pub(crate) fn settings<W: Datagrams>(
        &mut self,
        cx: &mut Cx<'_, W>,
    ) -> io::Result<DatagramSettings> {
        let fd = self.link.fd.ok_or(ErrorKind::NotConnected)?;
        cx.world.datagram_settings(fd)
    }

    pub(crate) fn associate<W: Datagrams>(
        &mut self,
        cx: &mut Cx<'_, W>,
        peer: Option<SocketAddr>,
    ) -> io::Result<()> {
        let fd = self.link.fd.ok_or(ErrorKind::NotConnected)?;
        match peer {
            Some(peer) => {
                cx.world.associate(fd, peer)?;
                self.queue.keep(peer);
            }
            None => cx.world.dissociate(fd)?,
        }
        self.link.peer = peer;
        Ok(())
    }

    /// Is it this socket that is meant, and not a former one?
    #[inline]
    fn is(&self, id: Id) -> bool {
        self.link.fd.is_some() && self.link.id == id
    }

    /// Receives until dry or the turn's budget is spent, then settles.
    fn read<W: Datagrams>(&mut self, cx: &mut Cx<'_, W>) {
        let Some(fd) = self.link.fd else { return };
        let room = self.link.room;
        let rooms = (cx.buffer.len() / room).min(BATCH);
        for _ in 0..self.options.batches_per_turn.max(1) {
            if self.wish.close {
                break;
            }
            let into = &mut cx.buffer[..rooms * room];
            self.got.clear();
            let told = match self.link.facts {
                false => cx.world.recv(fd, into, room, &mut self.got),
                true => {
                    self.facts.clear();
                    cx.world.recv_facts(fd, into, room, &mut self.got, &mut self.facts)
                }
            };
            match told {
                Ok(()) => {
                    let used = self.got.last().map_or(0, |last| last.start as usize / room + 1);
                    // Rooms that were left say that this was all; what comes later is an event.
                    self.link.readable = used >= rooms;
                    self.show(cx);
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => self.link.readable = false,
                // With errors kept apart this is one of those, without its peer.
                Err(e) if !self.complain(cx) => self.tell(cx.env, None, e),
                Err(_) => {}
            }
            if !self.link.readable {
                break;
            }
            if self.queue.is_ripe() {
                self.push(cx);
            }
        }
        self.settle(cx);
    }

    /// Shows the protocol the batch that was received.
    fn show<W: Datagrams>(&mut self, cx: &mut Cx<'_, W>) {
        let Host { protocol, link, queue, wish, got, facts, options } = self;
        let (id, link, max) = (link.id, &*link, options.max_datagram.max(1));
        let env = &mut *cx.env;
        let mut io = Io { id, truncated: false, env, facts: &Facts::NONE, link, queue, wish };
        for (i, d) in got.iter().enumerate() {
            let len = (d.len as usize).min(max);
            io.env.note(id, Trace::Read(len as u32));
            let bytes = &mut cx.buffer[d.start as usize..][..len];
            io.truncated = d.truncated || d.len as usize > max;
            io.facts = facts.get(i).unwrap_or(&Facts::NONE);
            protocol.on_datagram(&mut io, d.peer, bytes);
            if io.wish.close {
                return;
            }
        }
    }

    /// Tells what the network said of datagrams that left; whether it said anything.
    fn complain<W: Datagrams>(&mut self, cx: &mut Cx<'_, W>) -> bool {
        let Some(fd) = self.link.fd.filter(|_| self.link.errors) else { return false };
        for told in 0..ERRORS_PER_FLUSH {
            let Some((to, error)) = cx.world.next_error(fd) else {
                self.link.failed = false;
                return told > 0;
            };
            self.tell(cx.env, Some(to), error);
        }
        self.link.failed = true;
        true
    }

    /// Carries out what the protocol wished.
    fn settle<W: Datagrams>(&mut self, cx: &mut Cx<'_, W>) {
        self.push(cx);
        if self.queue.owes_drain() && !self.wish.close {
            let _ = self.queue.drained();
            cx.env.note(self.link.id, Trace::Drain);
            self.call(cx.env, |p, io| p.on_drain(io));
            self.push(cx);
        }
        if self.wish.close {
            return self.close(cx);
        }
        self.arm(cx.env);
        let sendable = self.link.writable && !self.queue.is_empty();
        let wishes = !self.wish.options.is_empty() || self.wish.peer.is_some();
        let owed = self.link.failed || self.queue.owes_drain();
        let more = self.link.readable || sendable || wishes || owed;
        if more && !self.link.again {
            self.link.again = true;
            cx.env.calls.again(self.link.id);
        }
    }

    /// Settings and association, then what is queued, as they were wished up to now.
    fn push<W: Datagrams>(&mut self, cx: &mut Cx<'_, W>) {
        if !self.wish.options.is_empty() {
            let mut options = std::mem::take(&mut self.wish.options);
            for option in options.drain(..) {
                if let Err(e) = self.set(cx, option) {
                    self.tell(cx.env, None, e);
                }
            }
        }
        if let Some(peer) = self.wish.peer.take()
            && let Err(e) = self.associate(cx, peer)
        {
            self.tell(cx.env, None, e);
        }
        self.flush(cx);
    }

    /// Sends until the queue is empty, the kernel's is full, or too much has failed.
    fn flush<W: Datagrams>(&mut self, cx: &mut Cx<'_, W>) {
        let Some(fd) = self.link.fd else { return };
        let mut errors = 0;
        while self.link.writable && errors < ERRORS_PER_FLUSH {
            let (batch, bytes, source) = self.queue.head();
            let Some(first) = batch.first() else { return };
            let to = first.peer;
            let sent = match source {
                None => cx.world.send(fd, batch, bytes),
                Some(source) => cx.world.send_from(fd, batch, bytes, source),
            };
            match sent {
                Ok(0) => self.link.writable = false,
                Ok(n) => {
                    self.link.retried = false;
                    let cut = n < batch.len() && planted(Planted::DatagramTwice);
                    let len = self.queue.pop(n - usize::from(cut));
                    cx.env.note(self.link.id, Trace::Wrote(len as u32));
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => self.link.writable = false,
                Err(e) => {
                    errors += 1;
                    self.refused(cx, to, e);
                }
            }
        }
    }

    /// A send has failed. The kernel may have told an error of an *earlier* datagram instead of
    /// sending the first that waits: that one is innocent, and has a second try.
    fn refused<W: Datagrams>(&mut self, cx: &mut Cx<'_, W>, to: SocketAddr, error: io::Error) {
        let told = self.complain(cx);
        let earlier = told || error.kind() == ErrorKind::ConnectionRefused;
        self.link.retried = earlier && !self.link.retried;
        if !self.link.retried {
            self.queue.pop(1);
        }
        if !told {
            self.tell(cx.env, (!earlier).then_some(to), error);
        }
    }

    /// `on_error`, unless the protocol is done with this socket.
    fn tell(&mut self, env: &mut Env, to: Option<SocketAddr>, error: io::Error) {
        if !self.wish.close {
            self.call(env, |p, io| p.on_error(io, to, error));
        }
    }

    /// Sees to it that a timer fires no later than the deadline. One that is armed for an earlier
    /// time stays: firing, it is armed anew, so a deadline that moves with every datagram costs
    /// no timer operation.
    #[inline]
    fn arm(&mut self, env: &mut Env) {
        let Some(at) = self.wish.deadline else { return };
        if self.link.armed.is_some_and(|armed| armed <= at) {
            return;
        }
        let (link, timers) = (&mut self.link, &mut env.calls.timers);
        link.timer = match timers.rearm(link.timer, at) {
            Some(timer) => timer,
            None => timers.arm(at, link.id),
        };
        link.armed = Some(at);
    }

    fn close<W: Datagrams>(&mut self, cx: &mut Cx<'_, W>) {
        let Some(fd) = self.link.fd.take() else { return };
        cx.world.close(fd);
        cx.env.calls.timers.cancel(self.link.timer);
        if std::mem::take(&mut self.link.holds) {
            cx.env.calls.release();
        }
        cx.env.note(self.link.id, Trace::Close);
        let link = &mut self.link;
        (link.readable, link.writable, link.again, link.retried) = (false, false, false, false);
        (link.timer, link.armed, link.peer) = (TimerKey::NONE, None, None);
        link.failed = false;
        self.queue.clear();
        self.wish = Wishes::default();
        self.protocol.on_close(self.link.id, cx.env);
    }
}

impl<W: Datagrams, P: Protocol> Driver<W> for Host<P> {
    fn sources(&self, tell: &mut dyn FnMut(Id, &'static str)) {
        if self.link.fd.is_some() {
            tell(self.link.id, "socket");
        }
    }

    fn on_ready(&mut self, cx: &mut Cx<'_, W>, ready: Ready) {
        if !self.is(ready.id) {
            return;
        }
        cx.env.note(ready.id, Trace::Ready);
        // A kept error (`gone`) is received, too.
        self.link.readable |= ready.readable || ready.gone;
        self.link.writable |= ready.writable;
        if ready.gone && self.link.errors {
            self.complain(cx);
        }
        // Who waits for `again` reads there, later in this turn: one budget a turn.
        if self.link.readable && !self.link.again { self.read(cx) } else { self.settle(cx) }
    }

    fn on_again(&mut self, cx: &mut Cx<'_, W>, id: Id) {
        if !self.is(id) {
            return;
        }
        self.link.again = false;
        if self.link.failed {
            self.complain(cx);
        }
        if self.link.readable { self.read(cx) } else { self.settle(cx) }
    }

    fn on_timer(&mut self, cx: &mut Cx<'_, W>, id: Id) {
        if !self.is(id) {
            return;
        }
        self.link.armed = None;
        if self.wish.deadline.is_some_and(|at| at <= cx.env.now) {
            self.wish.deadline = None;
            cx.env.note(id, Trace::Timer);
            self.call(cx.env, |p, io| p.on_timeout(io));
        }
        self.settle(cx);
    }

    fn on_wake(&mut self, cx: &mut Cx<'_, W>, id: Id) {
        if !self.is(id) {
            return;
        }
        cx.env.note(id, Trace::Wake);
        self.call(cx.env, |p, io| p.on_wake(io));
        self.settle(cx);
    }

    fn on_post(&mut self, cx: &mut Cx<'_, W>, mail: Box<dyn Any>) {
        if let Ok(open) = mail.downcast::<Open>()
            && let Err(e) = self.open(cx, open.at, &open.how)
        {
            self.protocol.on_open_failed(cx.env, open.at, e);
        }
    }
}
