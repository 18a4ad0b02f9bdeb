//! What can be asked about a connection, between two turns.

use crate::{Host, Protocol};
use loopwork_reactor::{Address, Credentials, Fd, Handle, Id, Loop, StreamInfo, Streams};
use std::io::{self, ErrorKind};

/// Asks the world about a connection's socket.
fn ask<W: Streams, P: Protocol, T>(
    lp: &mut Loop<W>,
    handle: Handle<Host<P>>,
    id: Id,
    ask: impl FnOnce(&mut W, Fd) -> io::Result<T>,
) -> io::Result<T> {
    let fd = socket(lp, handle, id).ok_or(ErrorKind::NotConnected)?;
    ask(&mut lp.world, fd)
}

/// The name of a connection's socket in its world, for [`Os::descriptor`](loopwork_reactor::Os);
/// `None` when the connection is gone.
pub fn socket<W: Streams, P: Protocol>(
    lp: &mut Loop<W>,
    handle: Handle<Host<P>>,
    id: Id,
) -> Option<Fd> {
    let seat = lp.get(handle).seats.get(id.slot as usize)?;
    (seat.link.birth == id.birth).then_some(seat.link.fd)
}

/// Our address and the peer's; `None` when the connection is gone.
pub fn addresses<W: Streams, P: Protocol>(
    lp: &mut Loop<W>,
    handle: Handle<Host<P>>,
    id: Id,
) -> Option<(Address, Address)> {
    ask(lp, handle, id, |world, fd| Ok((world.local(fd)?, world.peer(fd)?))).ok()
}

/// What the kernel knows of a TCP connection: round trips, windows, losses, rates.
///
/// # Errors
/// `NotConnected`: it is gone. `Unsupported` of a Unix socket, and in a world that keeps no such
/// account.
pub fn info<W: Streams, P: Protocol>(
    lp: &mut Loop<W>,
    handle: Handle<Host<P>>,
    id: Id,
) -> io::Result<StreamInfo> {
    ask(lp, handle, id, W::info)
}

/// Which process, user and group are at the other end of a Unix socket.
///
/// # Errors
/// `NotConnected`: it is gone. `Unsupported` of a TCP connection, and in a world without processes.
pub fn credentials<W: Streams, P: Protocol>(
    lp: &mut Loop<W>,
    handle: Handle<Host<P>>,
    id: Id,
) -> io::Result<Credentials> {
    ask(lp, handle, id, W::credentials)
}
