//! Sockets that come from elsewhere, and connections that go there: to another process, another
//! loop, another library.
//!
//! Rules of this file:
//! * A descriptor has one owner. What is taken over is this world's, or closed if it cannot be;
//!   what is given away is no more of it.
//! * A state is closed or given back, never both.

use crate::host::Seat;
use crate::state::DIALING;
use crate::{Close, Host, Protocol};
use loopwork_reactor::{Address, Cx, Env, Handle, Id, ListenOptions, Loop, Streams, Trace};
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;

/// A connection that belongs to no host: it was given away, or is on its way to one.
#[derive(Debug)]
pub struct Detached<C> {
    /// The socket; it does not block.
    pub socket: OwnedFd,
    /// Bytes that were read from it, and that no protocol has used.
    pub unread: Vec<u8>,
    /// The connection's state.
    pub conn: C,
}

impl<C: 'static> Detached<C> {
    /// As [`adopt`], with bytes that were read before: they are shown first.
    pub fn adopt<P: Protocol<Conn = C>>(self, env: &mut Env, handle: Handle<Host<P>>) {
        env.calls.post(handle.driver, Box::new(self));
    }
}

impl<P: Protocol> Host<P> {
    pub(crate) fn adopt<W: Streams>(&mut self, cx: &mut Cx<'_, W>, adopted: Detached<P::Conn>) {
        let Detached { socket, unread, conn } = adopted;
        let id = self.next_id(cx.env);
        match cx.world.adopt(socket, id) {
            Ok(fd) => self.open(cx, id, fd, conn, &unread),
            Err(e) => self.protocol.on_close(conn, id, cx.env, Close::Dial(e.kind())),
        }
    }

    fn detach<W: Streams>(&mut self, cx: &mut Cx<'_, W>, id: Id) -> io::Result<Detached<P::Conn>> {
        let seat = self.seats.get(id.slot as usize).filter(|seat| seat.link.birth == id.birth);
        let link = seat.map(|seat| &seat.link).filter(|link| !link.state.has(DIALING));
        let link = link.ok_or(ErrorKind::NotConnected)?;
        if link.bufs.as_ref().is_some_and(|bufs| bufs.pending() > 0) {
            return Err(ErrorKind::WouldBlock.into());
        }
        let socket = cx.world.release(link.fd)?;
        let Seat { link, conn } = self.seats.remove(id.slot as usize);
        cx.env.calls.timers.cancel(link.timer);
        cx.env.note(id, Trace::Close);
        self.release(cx.env);
        let unread = link.bufs.map(|bufs| bufs.carry).unwrap_or_default();
        Ok(Detached { socket, unread, conn })
    }
}

/// Takes over a stream that is connected, TCP or Unix: `on_open`, as of one that was dialed, or
/// `on_close` with [`Close::Dial`] if it is not such a one. Its settings stay as they are.
pub fn adopt<P: Protocol>(
    env: &mut Env,
    handle: Handle<Host<P>>,
    socket: impl Into<OwnedFd>,
    conn: P::Conn,
) {
    Detached { socket: socket.into(), unread: Vec::new(), conn }.adopt(env, handle);
}

/// As [`listen_at`](crate::listen_at), on a socket that is bound already, and may listen already:
/// a supervisor's ([`listen_fds`](loopwork_reactor::listen_fds)), or one's own. Its address.
///
/// # Errors
/// `InvalidInput`: no stream socket, or one that is connected; what the kernel says. The socket is
/// closed then. `Unsupported`: a world without descriptors.
pub fn listen_on<W: Streams, P: Protocol>(
    lp: &mut Loop<W>,
    handle: Handle<Host<P>>,
    socket: impl Into<OwnedFd>,
    how: &ListenOptions,
) -> io::Result<Address> {
    let socket = socket.into();
    lp.with(handle, |host, cx| host.listen(cx, |world, id| world.listen_on(socket, how, id)))
}

/// Gives a connection away, between two turns. There is no `on_close`: the state comes back with
/// the socket.
///
/// # Errors
/// `NotConnected`: it is gone, or still being dialed. `WouldBlock`: its output has not gone out;
/// [`on_drain`](Protocol::on_drain) or another turn will tell. `Unsupported`: a world without
/// descriptors. The connection stays.
pub fn detach<W: Streams, P: Protocol>(
    lp: &mut Loop<W>,
    handle: Handle<Host<P>>,
    id: Id,
) -> io::Result<Detached<P::Conn>> {
    lp.with(handle, |host, cx| host.detach(cx, id))
}
