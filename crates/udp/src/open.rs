//! What is done to a socket from outside a callback: bind, close, associate, set.
//!
//! Rules of this file:
//! * Whoever has the loop gets the answer at once. Whoever has only the [`Env`] (a callback) asks
//!   by mail, and the answer is a callback.

use crate::host::{Host, Open};
use crate::protocol::{Io, Options, Protocol};
use loopwork_reactor::{
    BindOptions, DatagramOption, DatagramSettings, Datagrams, Env, Handle, Loop,
};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

/// Binds a socket and sets a protocol on it; says where it is (the real port). Of several sockets
/// each has its own protocol.
///
/// # Errors
/// What the kernel says: the address in use, not ours, not allowed. The protocol then stays in
/// the loop, without a socket; who means to try again uses [`add`] and [`open`].
pub fn bind<W: Datagrams, P: Protocol>(
    lp: &mut Loop<W>,
    at: SocketAddr,
    protocol: P,
) -> io::Result<(Handle<Host<P>>, SocketAddr)> {
    bind_with(lp, at, &BindOptions::default(), Options::default(), protocol)
}

/// [`bind`] with everything said.
///
/// # Errors
/// As [`bind`].
pub fn bind_with<W: Datagrams, P: Protocol>(
    lp: &mut Loop<W>,
    at: SocketAddr,
    how: &BindOptions,
    options: Options,
    protocol: P,
) -> io::Result<(Handle<Host<P>>, SocketAddr)> {
    let host = add(lp, options, protocol);
    let at = open(lp, host, at, how)?;
    Ok((host, at))
}

/// A host without a socket yet, for [`open`].
pub fn add<W: Datagrams, P: Protocol>(
    lp: &mut Loop<W>,
    options: Options,
    protocol: P,
) -> Handle<Host<P>> {
    lp.add(|handle| Host::new(handle, options, protocol))
}

/// Binds a host's socket, for the first time or after it was closed; says where it is.
///
/// # Errors
/// What the kernel says; `AlreadyExists` while the host has an open one.
///
/// # Panics
/// With a handle of another loop.
pub fn open<W: Datagrams, P: Protocol>(
    lp: &mut Loop<W>,
    host: Handle<Host<P>>,
    at: SocketAddr,
    how: &BindOptions,
) -> io::Result<SocketAddr> {
    lp.with(host, |host, cx| host.open(cx, at, how))
}

/// Takes over a socket that is bound already, by a parent process for instance: as [`open`].
///
/// # Errors
/// No datagram socket of IPv4 or IPv6 (`InvalidInput`); `AlreadyExists` while the host has an open
/// one; `Unsupported` in a world that cannot.
///
/// # Panics
/// With a handle of another loop.
pub fn adopt<W: Datagrams, P: Protocol>(
    lp: &mut Loop<W>,
    host: Handle<Host<P>>,
    socket: OwnedFd,
    how: &BindOptions,
) -> io::Result<SocketAddr> {
    lp.with(host, |host, cx| host.adopt(cx, socket, how))
}

/// Whether the loop goes on running for this socket alone, as Node's `ref` and `unref`. It does,
/// unless told otherwise. Of a closed socket it says nothing, and nothing is kept for the next.
///
/// # Panics
/// With a handle of another loop.
pub fn hold<W: Datagrams, P: Protocol>(lp: &mut Loop<W>, host: Handle<Host<P>>, holds: bool) {
    lp.with(host, |host, cx| host.hold(cx.env, holds));
}

/// [`open`] from any callback, in this turn's or the next one's posts: the answer is `on_open` or
/// `on_open_failed`.
pub fn post_open<P: Protocol>(
    env: &mut Env,
    host: Handle<Host<P>>,
    at: SocketAddr,
    how: BindOptions,
) {
    env.calls.post(host.driver, Box::new(Open { at, how }));
}

/// Closes a host's socket, if it is open: as [`Io::close`].
///
/// # Panics
/// With a handle of another loop.
pub fn close<W: Datagrams, P: Protocol>(lp: &mut Loop<W>, host: Handle<Host<P>>) {
    let _ = with(lp, host, |_, io| io.close());
}

/// Takes only from, and sends to, this peer alone from now on: as [`Io::associate`].
///
/// # Errors
/// What the kernel says: no route, wrong family. `NotConnected` while the socket is closed.
///
/// # Panics
/// With a handle of another loop.
pub fn associate<W: Datagrams, P: Protocol>(
    lp: &mut Loop<W>,
    host: Handle<Host<P>>,
    peer: SocketAddr,
) -> io::Result<()> {
    lp.with(host, |host, cx| host.associate(cx, Some(peer)))
}

/// Takes from, and sends to, anyone again: as [`Io::dissociate`].
///
/// # Errors
/// What the kernel says. `NotConnected` while the socket is closed.
///
/// # Panics
/// With a handle of another loop.
pub fn dissociate<W: Datagrams, P: Protocol>(
    lp: &mut Loop<W>,
    host: Handle<Host<P>>,
) -> io::Result<()> {
    lp.with(host, |host, cx| host.associate(cx, None))
}

/// What the kernel has set: the sizes of its buffers, hops.
///
/// # Errors
/// What the kernel says. `NotConnected` while the socket is closed; `Unsupported` in a world that
/// has no such settings.
///
/// # Panics
/// With a handle of another loop.
pub fn settings<W: Datagrams, P: Protocol>(
    lp: &mut Loop<W>,
    host: Handle<Host<P>>,
) -> io::Result<DatagramSettings> {
    lp.with(host, |host, cx| host.settings(cx))
}

/// Changes a setting: as [`Io::set`].
///
/// # Errors
/// What the kernel says. `NotConnected` while the socket is closed.
///
/// # Panics
/// With a handle of another loop.
pub fn set<W: Datagrams, P: Protocol>(
    lp: &mut Loop<W>,
    host: Handle<Host<P>>,
    option: DatagramOption,
) -> io::Result<()> {
    lp.with(host, |host, cx| host.set(cx, option))
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
    lp.with(host, |host, cx| host.enter(cx, f))
}
