//! `Host<P>`: a protocol, its connections, its listeners. The driver of streams.
//!
//! Rules of this file:
//! * Protocol, seats and links are disjoint fields, so that one call borrows them all.
//! * Every event finds its connection through [`Host::visit`], or misses by the birth; a visit
//!   ends with a settlement, and with the close if that was its outcome.
//! * Buffers belong to connections that have something in them; the others share the spare ones.

use crate::adopt::Detached;
use crate::connection::{Bufs, Link, Work};
use crate::race::{DialAny, Failed, Race};
use crate::state::{CLOSED, DIALING, QUEUED, READABLE, WRITABLE};
use crate::{BlockList, Close, Protocol, Refusal};
use loopwork_reactor::planted::{Planted, planted};
use loopwork_reactor::{
    Address, ConnectOptions, Cx, Driver, Env, Fd, Handle, Id, ListenOptions, Loop, Pool, Ready,
    StreamOption, Streams, TimerKey, Trace,
};
use slab::Slab;
use std::any::Any;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

/// Slots with this bit are listeners.
const LISTENER: u32 = 1 << 31;
/// Connections that one listener accepts in one turn: about half a millisecond.
pub const ACCEPTS_PER_TURN: usize = 64;
/// How long a dial may take: three tries of a SYN (1 s, 2 s, 4 s), and some.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Spare buffers: those of the connections that are visited between two that keep theirs.
const SPARE: usize = 64;
/// Pauses of a listener that cannot accept: short at first, since a descriptor is soon free;
/// doubled up to half a second, which costs nothing.
const RETRY_FIRST: Duration = Duration::from_millis(10);
const RETRY_LAST: Duration = Duration::from_millis(500);

pub(crate) struct Seat<C> {
    pub(crate) link: Link,
    pub(crate) conn: C,
}

struct Listener {
    fd: Fd,
    birth: u64,
    queued: bool,
    retry: Duration,
    timer: TimerKey,
}

/// A box moves between here and a link, eight bytes wide.
type Spare = Vec<Box<Bufs>>;

/// A protocol and its connections.
pub struct Host<P: Protocol> {
    /// What all its connections share.
    pub protocol: P,
    /// Peers that are reset before `on_accept` would see them; [`Protocol::on_drop`] is told.
    pub block_inbound: BlockList,
    /// Addresses that are not dialed: [`Close::Blocked`].
    pub block_outbound: BlockList,
    /// So many connections at most, of all listeners and dials of this host together, since it is
    /// the host's memory and the process's descriptors that they take: whoever connects beyond it
    /// is reset, and [`Protocol::on_drop`] told; dials go on. May change at any time; 0 drops
    /// everybody. `None`: as many as there are descriptors for.
    pub max_connections: Option<usize>,
    pub(crate) seats: Slab<Seat<P::Conn>>,
    /// Of seats whose dial has several addresses, by their slots, while it is on.
    pub(crate) races: BTreeMap<u32, Race>,
    listeners: Vec<Option<Listener>>,
    /// Each of its listeners and connections keeps the loop running.
    holds: bool,
    spare: Spare,
    /// The buffers of whoever is visited, empty between two visits.
    bufs: Bufs,
    pub(crate) driver: u16,
}

/// Whom to dial, from where, and the state that the connection will have.
pub struct Dial<C> {
    /// The peer.
    pub to: Address,
    /// Our own address, when it matters; port 0 is any.
    pub from: Option<SocketAddr>,
    /// How long it may take.
    pub timeout: Duration,
    /// The connection's state.
    pub conn: C,
}

/// A dial on its way to the host, with the settings of its socket.
struct Dialed<C> {
    dial: Dial<C>,
    how: ConnectOptions,
}

pub(crate) struct Set {
    pub(crate) id: Id,
    pub(crate) option: StreamOption,
}

enum Order {
    Unlisten,
    Shutdown,
}

impl<P: Protocol> Host<P> {
    fn new(protocol: P, driver: u16) -> Self {
        let (seats, listeners, spare) = (Slab::new(), Vec::new(), Vec::new());
        let (block_inbound, block_outbound) = (BlockList::new(), BlockList::new());
        Host {
            protocol,
            block_inbound,
            block_outbound,
            max_connections: None,
            seats,
            races: BTreeMap::new(),
            listeners,
            holds: true,
            spare,
            bufs: Bufs::default(),
            driver,
        }
    }

    /// Bytes of one connection in the slab: all that an idle one holds here.
    pub const SEAT: usize = size_of::<Seat<P::Conn>>();

    /// Connections, those still being dialed among them.
    #[must_use]
    pub fn len(&self) -> usize {
        self.seats.len()
    }

    /// No connection.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.seats.is_empty()
    }

    /// The state of a connection.
    pub fn conn(&mut self, id: Id) -> Option<&mut P::Conn> {
        let seat = self.seats.get_mut(id.slot as usize);
        seat.filter(|s| s.link.birth == id.birth).map(|s| &mut s.conn)
    }

    /// The ids of all connections, in the order of their slots.
    pub fn ids(&self) -> impl Iterator<Item = Id> + '_ {
        let driver = self.driver;
        self.seats.iter().map(move |(slot, s)| Id {
            birth: s.link.birth,
            slot: slot as u32,
            driver,
        })
    }

    /// Finds the connection, lets `f` work on it, settles it, and closes it if that came of it.
    /// Says whether it was there.
    #[inline(always)]
    fn visit<W: Streams>(
        &mut self,
        cx: &mut Cx<'_, W>,
        id: Id,
        f: impl FnOnce(&mut Work<'_, P>, &mut Cx<'_, W>),
    ) -> bool {
        let Some(seat) = self.seats.get_mut(id.slot as usize) else { return false };
        if seat.link.birth != id.birth && !planted(Planted::ReusedId) {
            return false;
        }
        if let Some(kept) = seat.link.bufs.take() {
            unpark(kept, &mut self.bufs, &mut self.spare);
        }
        let Seat { link, conn } = seat;
        let (protocol, bufs) = (&mut self.protocol, &mut self.bufs);
        let mut work = Work { protocol, conn, link, bufs, id };
        f(&mut work, cx);
        let end = work.settle(cx);
        if !self.bufs.is_idle() {
            park(&mut seat.link.bufs, &mut self.bufs, &mut self.spare, &mut cx.env.pool);
        }
        if let Some(why) = end {
            self.close(cx, id, why);
        }
        true
    }

    pub(crate) fn close<W: Streams>(&mut self, cx: &mut Cx<'_, W>, id: Id, why: Close) {
        let Seat { link, conn } = self.seats.remove(id.slot as usize);
        if !planted(Planted::TimerLeak) {
            cx.env.calls.timers.cancel(link.timer);
        }
        if planted(Planted::DoubleClose) {
            cx.world.close(link.fd);
        }
        match (self.races.remove(&id.slot), why) {
            (Some(race), _) => race.cancel(cx),
            (None, Close::Aborted | Close::TimedOut | Close::Overrun) => cx.world.reset(link.fd),
            (None, _) => cx.world.close(link.fd),
        }
        cx.env.note(id, Trace::Close);
        self.release(cx.env);
        self.protocol.on_close(conn, id, cx.env, why);
    }

    pub(crate) fn next_id(&mut self, env: &mut Env) -> Id {
        let slot = self.seats.vacant_key() as u32;
        Id { birth: env.calls.birth(), slot, driver: self.driver }
    }

    pub(crate) fn seat(&mut self, env: &mut Env, id: Id, fd: Fd, conn: P::Conn, dialing: bool) {
        if self.holds {
            env.calls.hold();
        }
        let at = self.seats.insert(Seat { link: Link::new(id.birth, fd, dialing), conn });
        debug_assert_eq!(at, id.slot as usize);
    }

    fn accept<W: Streams>(&mut self, cx: &mut Cx<'_, W>, listener_id: Id) {
        for _ in 0..ACCEPTS_PER_TURN {
            let Some(listener) = self.listener(listener_id) else { return };
            let fd = listener.fd;
            let id = self.next_id(cx.env);
            match cx.world.accept(fd, id) {
                Ok((fd, peer)) => {
                    self.welcome(cx, id, fd, &peer);
                    if let Some(listener) = self.listener(listener_id) {
                        listener.retry = RETRY_FIRST;
                    }
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                Err(e) if e.kind() == ErrorKind::ConnectionAborted => {}
                Err(e) => return self.accept_later(cx, listener_id, &e),
            }
        }
        let Some(listener) = self.listener(listener_id) else { return };
        if !std::mem::replace(&mut listener.queued, true) {
            cx.env.calls.again(listener_id);
        }
    }

    fn welcome<W: Streams>(&mut self, cx: &mut Cx<'_, W>, id: Id, fd: Fd, peer: &Address) {
        if peer.ip().is_some_and(|at| self.block_inbound.check(at.ip())) {
            return self.turn_away(cx, fd, peer, Refusal::Blocked);
        }
        let count = self.seats.len();
        if self.max_connections.is_some_and(|max| count >= max) {
            return self.turn_away(cx, fd, peer, Refusal::Full(count));
        }
        match self.protocol.on_accept(cx.env, id, peer) {
            Some(conn) => self.open(cx, id, fd, conn, &[]),
            None => cx.world.close(fd),
        }
    }

    /// A connection that stands, and may have been read from already.
    pub(crate) fn open<W: Streams>(
        &mut self,
        cx: &mut Cx<'_, W>,
        id: Id,
        fd: Fd,
        conn: P::Conn,
        unread: &[u8],
    ) {
        self.seat(cx.env, id, fd, conn, false);
        cx.env.note(id, Trace::Open);
        self.visit(cx, id, |w, cx| {
            w.bufs.carry.extend_from_slice(unread);
            w.link.wish.reshow = !unread.is_empty();
            w.call(cx.env, |p, c, io| p.on_open(c, io));
        });
    }

    /// By a reset: it leaves no state in the kernel, where a flood would find a minute of it for
    /// each, and no peer takes it for an empty answer.
    #[cold]
    fn turn_away<W: Streams>(&mut self, cx: &mut Cx<'_, W>, fd: Fd, peer: &Address, why: Refusal) {
        cx.world.reset(fd);
        self.protocol.on_drop(cx.env, peer, why);
    }

    /// Without descriptors or memory the edge is gone and the connections still wait: a timer
    /// takes the edge's place.
    fn accept_later<W: Streams>(&mut self, cx: &mut Cx<'_, W>, id: Id, error: &io::Error) {
        let now = cx.env.now;
        let Some(listener) = self.listener(id) else { return };
        if listener.timer == TimerKey::NONE {
            listener.timer = cx.env.calls.timers.arm(now.after(listener.retry), id);
            listener.retry = (listener.retry * 2).min(RETRY_LAST);
            self.protocol.on_accept_error(cx.env, error);
        }
    }

    fn listener(&mut self, id: Id) -> Option<&mut Listener> {
        let listener = self.listeners.get_mut((id.slot & !LISTENER) as usize)?.as_mut();
        listener.filter(|l| l.birth == id.birth)
    }

    /// Takes the listener that `open` makes for an id.
    pub(crate) fn listen<W: Streams>(
        &mut self,
        cx: &mut Cx<'_, W>,
        open: impl FnOnce(&mut W, Id) -> io::Result<(Fd, Address)>,
    ) -> io::Result<Address> {
        let birth = cx.env.calls.birth();
        let slot = self.listeners.len() as u32 | LISTENER;
        let id = Id { birth, slot, driver: self.driver };
        let (fd, at) = open(cx.world, id)?;
        let (retry, timer) = (RETRY_FIRST, TimerKey::NONE);
        self.listeners.push(Some(Listener { fd, birth, queued: false, retry, timer }));
        if self.holds {
            cx.env.calls.hold();
        }
        cx.env.note(id, Trace::Listen);
        Ok(at)
    }

    fn unlisten<W: Streams>(&mut self, cx: &mut Cx<'_, W>) {
        for listener in self.listeners.iter_mut().filter_map(Option::take) {
            cx.env.calls.timers.cancel(listener.timer);
            cx.world.close(listener.fd);
            if self.holds {
                cx.env.calls.release();
            }
        }
    }

    /// One listener or connection less.
    pub(crate) fn release(&self, env: &mut Env) {
        if self.holds {
            env.calls.release();
        }
    }

    fn hold(&mut self, env: &mut Env, holds: bool) {
        if std::mem::replace(&mut self.holds, holds) == holds {
            return;
        }
        for _ in 0..self.seats.len() + self.listeners.iter().flatten().count() {
            if holds { env.calls.hold() } else { env.calls.release() }
        }
    }

    fn dial<W: Streams>(&mut self, cx: &mut Cx<'_, W>, dialed: Dialed<P::Conn>) {
        let Dialed { dial, how } = dialed;
        let id = self.next_id(cx.env);
        if dial.to.ip().is_some_and(|to| self.block_outbound.check(to.ip())) {
            return self.protocol.on_close(dial.conn, id, cx.env, Close::Blocked);
        }
        match cx.world.connect_with(&dial.to, dial.from, &how, id) {
            Ok(fd) => {
                self.seat(cx.env, id, fd, dial.conn, true);
                let until = cx.env.now.after(dial.timeout);
                self.visit(cx, id, |w, _| w.link.wish.deadline = until);
            }
            Err(e) => self.protocol.on_close(dial.conn, id, cx.env, Close::Dial(e.kind())),
        }
    }

    fn order<W: Streams>(&mut self, cx: &mut Cx<'_, W>, order: &Order) {
        self.unlisten(cx);
        if let Order::Shutdown = order {
            let ids: Vec<Id> = self.ids().collect();
            for id in ids {
                self.visit(cx, id, |w, cx| match w.link.state.has(DIALING) {
                    true => w.link.wish.abort = Some(Close::Aborted),
                    false => w.call(cx.env, |p, c, io| p.on_shutdown(c, io)),
                });
            }
        }
    }

    fn set<W: Streams>(&mut self, cx: &mut Cx<'_, W>, set: &Set) {
        if let Some(seat) = self.seats.get(set.id.slot as usize)
            && seat.link.birth == set.id.birth
        {
            // A setting that the socket cannot have leaves it as it was, as the doc of the option
            // says; a connection is not given up for it.
            let _ = cx.world.set(seat.link.fd, set.option);
        }
    }
}

/// A connection that kept its buffers is visited: they take the place of the empty ones.
#[cold]
fn unpark(mut kept: Box<Bufs>, bufs: &mut Bufs, spare: &mut Spare) {
    std::mem::swap(&mut *kept, bufs);
    if spare.len() < SPARE {
        spare.push(kept);
    }
}

/// A visit leaves something in the buffers: the connection keeps them. Those that have only grown
/// too large are given back.
#[cold]
fn park(kept: &mut Option<Box<Bufs>>, bufs: &mut Bufs, spare: &mut Spare, pool: &mut Pool) {
    if bufs.is_empty() {
        let Bufs { out, carry, .. } = std::mem::take(bufs);
        pool.give(out);
        return pool.give(carry);
    }
    let mut empty = spare.pop().unwrap_or_default();
    std::mem::swap(&mut *empty, bufs);
    *kept = Some(empty);
}

impl<W: Streams, P: Protocol> Driver<W> for Host<P> {
    fn on_ready(&mut self, cx: &mut Cx<'_, W>, ready: Ready) {
        if ready.id.slot & LISTENER != 0 {
            return self.accept(cx, ready.id);
        }
        let found = self.visit(cx, ready.id, |w, cx| {
            w.link.state.raise(READABLE, ready.readable);
            w.link.state.raise(WRITABLE, ready.writable);
            w.link.state.raise(CLOSED, ready.closed);
            if w.link.state.has(DIALING) {
                w.connected(cx);
                if w.link.state.has(DIALING) {
                    return;
                }
            }
            if ready.gone {
                w.gone(cx);
            }
            w.read(cx);
        });
        if !found && !self.races.is_empty() {
            self.attempt_ready(cx, ready);
        }
    }

    fn on_again(&mut self, cx: &mut Cx<'_, W>, id: Id) {
        if id.slot & LISTENER != 0 {
            if let Some(listener) = self.listener(id) {
                listener.queued = false;
                self.accept(cx, id);
            }
            return;
        }
        self.visit(cx, id, |w, cx| {
            w.link.state.put(QUEUED, false);
            w.read(cx);
        });
    }

    fn on_timer(&mut self, cx: &mut Cx<'_, W>, id: Id) {
        if id.slot & LISTENER != 0 {
            if let Some(listener) = self.listener(id) {
                listener.timer = TimerKey::NONE;
                self.accept(cx, id);
            }
            return;
        }
        if self.races.is_empty() || !self.race_due(cx, id) {
            self.visit(cx, id, |w, cx| w.timer(cx.env));
        }
    }

    fn on_wake(&mut self, cx: &mut Cx<'_, W>, id: Id) {
        self.visit(cx, id, |w, cx| {
            if !w.link.state.has(DIALING) {
                cx.env.note(id, Trace::Wake);
                w.call(cx.env, |p, c, io| p.on_wake(c, io));
            }
        });
    }

    fn sources(&self, tell: &mut dyn FnMut(Id, &'static str)) {
        let driver = self.driver;
        for (n, listener) in self.listeners.iter().enumerate() {
            if let Some(listener) = listener {
                let slot = n as u32 | LISTENER;
                tell(Id { birth: listener.birth, slot, driver }, "listener");
            }
        }
        for (slot, Seat { link, .. }) in &self.seats {
            let id = Id { birth: link.birth, slot: slot as u32, driver };
            tell(id, if link.state.has(DIALING) { "dial" } else { "connection" });
        }
    }

    fn on_post(&mut self, cx: &mut Cx<'_, W>, mail: Box<dyn Any>) {
        let mail = match mail.downcast::<Dialed<P::Conn>>() {
            Ok(dialed) => return self.dial(cx, *dialed),
            Err(mail) => mail,
        };
        let mail = match mail.downcast::<DialAny<P::Conn>>() {
            Ok(dial) => return self.dial_any(cx, *dial),
            Err(mail) => mail,
        };
        let mail = match mail.downcast::<Failed<P::Conn>>() {
            Ok(failed) => {
                let id = self.next_id(cx.env);
                return self.protocol.on_close(failed.conn, id, cx.env, Close::Dial(failed.why));
            }
            Err(mail) => mail,
        };
        let mail = match mail.downcast::<Detached<P::Conn>>() {
            Ok(adopted) => return self.adopt(cx, *adopted),
            Err(mail) => mail,
        };
        let mail = match mail.downcast::<Set>() {
            Ok(set) => return self.set(cx, &set),
            Err(mail) => mail,
        };
        if let Ok(order) = mail.downcast::<Order>() {
            self.order(cx, &order);
        }
    }
}

/// Opens a listener for a protocol of its own; its handle, and the real address.
///
/// # Errors
/// What the kernel says: the address in use, not ours, not allowed. Nothing is left behind then
/// but the protocol, without connections.
pub fn listen<W: Streams, P: Protocol>(
    lp: &mut Loop<W>,
    at: SocketAddr,
    protocol: P,
) -> io::Result<(Handle<Host<P>>, SocketAddr)> {
    let handle = add(lp, |_| protocol);
    let bound = listen_at(lp, handle, &at.into(), &ListenOptions::default())?;
    Ok((handle, bound.ip().unwrap_or(at)))
}

/// Adds a protocol without a listener: for dialing, or for [`listen_at`]. It is told its handle.
pub fn add<W: Streams, P: Protocol>(
    lp: &mut Loop<W>,
    make: impl FnOnce(Handle<Host<P>>) -> P,
) -> Handle<Host<P>> {
    lp.add(|handle| Host::new(make(handle), handle.driver))
}

/// Opens one more listener of a protocol, TCP or Unix; the real address.
///
/// # Errors
/// As [`listen`].
pub fn listen_at<W: Streams, P: Protocol>(
    lp: &mut Loop<W>,
    handle: Handle<Host<P>>,
    at: &Address,
    how: &ListenOptions,
) -> io::Result<Address> {
    lp.with(handle, |host, cx| host.listen(cx, |world, id| world.listen(at, how, id)))
}

/// Dials, from a callback or from outside: `on_open` when the connection stands, `on_close` with
/// [`Close::Dial`] when it does not within [`CONNECT_TIMEOUT`].
pub fn dial<P: Protocol>(
    env: &mut Env,
    handle: Handle<Host<P>>,
    to: impl Into<Address>,
    conn: P::Conn,
) {
    Dial { to: to.into(), from: None, timeout: CONNECT_TIMEOUT, conn }.send(env, handle);
}

impl<C: 'static> Dial<C> {
    /// As [`dial`], with everything said.
    pub fn send<P: Protocol<Conn = C>>(self, env: &mut Env, handle: Handle<Host<P>>) {
        self.send_with(env, handle, ConnectOptions::default());
    }

    /// As [`Dial::send`], with settings of the socket; one that it cannot have fails the dial.
    pub fn send_with<P: Protocol<Conn = C>>(
        self,
        env: &mut Env,
        handle: Handle<Host<P>>,
        how: ConnectOptions,
    ) {
        env.calls.post(handle.driver, Box::new(Dialed { dial: self, how }));
    }
}

/// Whether the loop goes on running for this host's listeners and connections, as Node's `ref` and
/// `unref`. It does, unless told otherwise; those to come are meant too.
pub fn hold<W: Streams, P: Protocol>(lp: &mut Loop<W>, handle: Handle<Host<P>>, holds: bool) {
    lp.with(handle, |host, cx| host.hold(cx.env, holds));
}

/// Closes a host's listeners; its connections stay.
pub fn unlisten<P: Protocol>(env: &mut Env, handle: Handle<Host<P>>) {
    env.calls.post(handle.driver, Box::new(Order::Unlisten));
}

/// Closes a host's listeners and calls `on_shutdown` for each of its connections. When the last
/// one has ended, nothing of this host keeps the loop running.
pub fn shutdown<P: Protocol>(env: &mut Env, handle: Handle<Host<P>>) {
    env.calls.post(handle.driver, Box::new(Order::Shutdown));
}
