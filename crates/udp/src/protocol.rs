//! What a user of datagrams writes ([`Protocol`]) and holds while it runs ([`Io`]).
//!
//! Rules of this file:
//! * Nothing here touches a socket: [`Io`] fills a queue and notes wishes.
//! * A wish is carried out when the callbacks of a batch are done: settings first, then the
//!   association, then what is queued is sent, then the close.

use crate::queue::{Queue, Sent, same};
use loopwork_reactor::{
    BindOptions, DatagramOption, Env, Facts, Fd, Id, Instant, ROOM_MAX, Source, TimerKey,
};
use std::io;
use std::net::SocketAddr;

/// One datagram socket's behaviour. All methods but the first have an empty default.
pub trait Protocol: 'static {
    /// A datagram came. It may be empty: that is a datagram too, and no end. Its bytes last for
    /// this call, and may be changed in place. Whether some were cut off: [`Io::truncated`].
    ///
    /// Who sent it is what it says of itself: an answer that is longer than the question makes a
    /// server the amplifier of whoever forges addresses.
    fn on_datagram(&mut self, io: &mut Io<'_>, from: SocketAddr, bytes: &mut [u8]);

    /// The socket is bound, to [`Io::local`].
    fn on_open(&mut self, _io: &mut Io<'_>) {}

    /// The queue is empty, after it had been too full for a datagram.
    fn on_drain(&mut self, _io: &mut Io<'_>) {}

    /// Someone asked for it by [`Env::wake`] with this socket's id.
    fn on_wake(&mut self, _io: &mut Io<'_>) {}

    /// The deadline of [`Io::set_deadline`] has passed. It is unset now.
    fn on_timeout(&mut self, _io: &mut Io<'_>) {}

    /// Something failed; the socket lives on.
    ///
    /// With an address, it is the datagram to it that the kernel refused and that is dropped: too
    /// large, no route, not allowed (broadcast), no memory; or, with [`BindOptions::errors`], one
    /// that left earlier and that the network could not deliver (`ConnectionRefused`,
    /// `HostUnreachable`, by ICMP). Without one, it is the socket: the peer it is associated with
    /// refused an earlier datagram, or a wish for a setting or an association failed.
    ///
    /// What ICMP says may be forged, or lost: it is a hint, no proof.
    fn on_error(&mut self, _io: &mut Io<'_>, _to: Option<SocketAddr>, _error: io::Error) {}

    /// The socket is closed, and nothing comes from it any more. The protocol stays in its
    /// [`Host`](crate::Host) and may be opened again, under another id.
    fn on_close(&mut self, _id: Id, _env: &mut Env) {}

    /// What [`post_open`](crate::post_open) asked for failed: the address is in use, is not ours,
    /// is not allowed, or this host has its socket already (`AlreadyExists`).
    fn on_open_failed(&mut self, _env: &mut Env, _at: SocketAddr, _error: io::Error) {}
}

/// The limits of one socket.
#[derive(Clone, Debug)]
pub struct Options {
    /// The longest datagram that is shown whole, in bytes; what is longer is cut, and says so.
    /// 65,536: more than any datagram, so nothing is. Less makes no call shorter: each takes up to
    /// 64, of any length.
    pub max_datagram: usize,
    /// Batches of 64 datagrams that one turn receives. 4: some hundred microseconds for
    /// 256 datagrams, before the other sockets and the timers have their turn. What the kernel
    /// has put together ([`BindOptions::gro`]) comes in larger batches, of which the last is
    /// shown whole: at most 4,096 datagrams more.
    pub batches_per_turn: u32,
    /// Bytes that may wait to be sent. 4 MiB: the answers to one batch of the largest datagrams.
    pub queue_bytes: usize,
    /// Datagrams that may wait to be sent. 4,096: 64 batches, or one of which each message is 64
    /// datagrams; 10 ms of a gigabit in packets of
    /// the usual 1,500 B and less; what waits longer is better lost, and asked for again.
    pub queue_datagrams: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            max_datagram: 65_536,
            batches_per_turn: 4,
            queue_bytes: 4 * 1024 * 1024,
            queue_datagrams: 4096,
        }
    }
}

impl Options {
    /// The room for what comes at once, in bytes: an odd number of cache lines, for the reason of
    /// [`ROOM_MAX`]. It may be more than the longest datagram that is shown.
    pub(crate) fn room(&self, how: &BindOptions) -> usize {
        const LINE: usize = 64;
        match how.gro {
            true => ROOM_MAX,
            false => self.max_datagram.clamp(1, ROOM_MAX).next_multiple_of(LINE) | LINE,
        }
    }
}

/// The socket, as its host sees it.
pub(crate) struct Link {
    /// `None`: closed.
    pub(crate) fd: Option<Fd>,
    pub(crate) id: Id,
    pub(crate) local: SocketAddr,
    pub(crate) peer: Option<SocketAddr>,
    /// For what comes at once, in bytes.
    pub(crate) room: usize,
    /// Facts were asked for.
    pub(crate) facts: bool,
    /// Errors of the network were asked for.
    pub(crate) errors: bool,
    /// Some may wait to be told.
    pub(crate) failed: bool,
    /// The loop runs for it.
    pub(crate) holds: bool,
    /// Receiving may give something.
    pub(crate) readable: bool,
    /// Sending may take something.
    pub(crate) writable: bool,
    /// It stands in the loop's *again* queue.
    pub(crate) again: bool,
    /// The kernel told an error of an earlier datagram instead of sending the one at the queue's
    /// head, which has a second try.
    pub(crate) retried: bool,
    pub(crate) timer: TimerKey,
    /// What `timer` is armed for: never later than the deadline, at times earlier.
    pub(crate) armed: Option<Instant>,
}

/// What a protocol wishes of its socket.
#[derive(Default)]
pub(crate) struct Wishes {
    pub(crate) deadline: Option<Instant>,
    pub(crate) options: Vec<DatagramOption>,
    /// To be associated with this peer, or with none.
    pub(crate) peer: Option<Option<SocketAddr>>,
    pub(crate) close: bool,
}

/// A socket, in a callback.
pub struct Io<'a> {
    /// This socket's id, for [`Env::wake`]. Another one after it was closed and opened again.
    pub id: Id,
    /// In `on_datagram`: the datagram was longer than [`Options::max_datagram`], and its end is
    /// lost. Else `false`.
    pub truncated: bool,
    /// What is outside this socket.
    pub env: &'a mut Env,
    pub(crate) facts: &'a Facts,
    pub(crate) link: &'a Link,
    pub(crate) queue: &'a mut Queue,
    pub(crate) wish: &'a mut Wishes,
}

impl Io<'_> {
    /// Queues one datagram, which leaves with this batch's others. Empty is fine.
    ///
    /// An associated socket sends to its peer alone: to another address is [`Sent::Dropped`].
    /// Longer than [`MAX_PAYLOAD`](crate::MAX_PAYLOAD) is for `on_error` to tell.
    #[inline]
    pub fn send(&mut self, to: SocketAddr, bytes: &[u8]) -> Sent {
        self.send_parts(to, &[bytes])
    }

    /// Queues one datagram that is made of these parts, one behind the other.
    #[inline]
    pub fn send_parts(&mut self, to: SocketAddr, parts: &[&[u8]]) -> Sent {
        match self.peer() {
            Some(peer) if !same(peer, to) => Sent::Dropped,
            _ => self.queue.put(to, parts),
        }
    }

    /// [`send_parts`](Self::send_parts), to leave from this address of ours, or through this
    /// interface. How a server that is bound to all addresses answers from the one that was asked:
    /// with [`BindOptions::destination`] and [`Facts::source`].
    ///
    /// An address that is not ours is for `on_error` to tell.
    pub fn send_from(&mut self, from: Source, to: SocketAddr, parts: &[&[u8]]) -> Sent {
        match self.peer() {
            Some(peer) if !same(peer, to) => Sent::Dropped,
            _ => self.queue.put_from(from, to, parts),
        }
    }

    /// In `on_datagram`: what the kernel says of it, as far as [`BindOptions`] asked for it.
    /// Elsewhere they say nothing.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        self.facts
    }

    /// Bytes that wait in the queue.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.queue.bytes()
    }

    /// Datagrams that wait in the queue.
    #[must_use]
    pub fn queued_datagrams(&self) -> usize {
        self.queue.datagrams()
    }

    /// Where the socket is bound, with its real port.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        self.link.local
    }

    /// The peer that the socket is associated with, or shall be.
    #[must_use]
    pub fn peer(&self) -> Option<SocketAddr> {
        self.wish.peer.unwrap_or(self.link.peer)
    }

    /// `on_timeout` at this time or a little later; `None` unsets. One deadline for each socket.
    /// Moving it to a later time costs nothing.
    #[inline]
    pub fn set_deadline(&mut self, at: Option<Instant>) {
        self.wish.deadline = at;
    }

    /// The deadline that is set.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.wish.deadline
    }

    /// Changes a setting, before what is queued is sent. A failure is for `on_error` to tell.
    pub fn set(&mut self, option: DatagramOption) {
        self.wish.options.push(option);
    }

    /// Takes only from, and sends to, this peer alone from now on. What is queued for others is
    /// forgotten. A failure is for `on_error` to tell.
    pub fn associate(&mut self, peer: SocketAddr) {
        self.wish.peer = Some(Some(peer));
    }

    /// Takes from, and sends to, anyone again. A failure is for `on_error` to tell.
    pub fn dissociate(&mut self) {
        self.wish.peer = Some(None);
    }

    /// Closes the socket. What is queued and the kernel takes at once still goes; nothing is
    /// shown any more but `on_close`.
    pub fn close(&mut self) {
        self.wish.close = true;
    }

    /// The same socket for a shorter time: how one protocol calls another that it is made of.
    #[inline]
    pub fn reborrow(&mut self) -> Io<'_> {
        let Io { id, truncated, facts, link, .. } = *self;
        Io { id, truncated, env: self.env, facts, link, queue: self.queue, wish: self.wish }
    }
}
