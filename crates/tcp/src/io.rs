//! What a callback may see and wish for.
//!
//! Rules of this file:
//! * No socket, no world: an [`Io`] appends to a buffer and notes wishes.
//! * Public fields are public so that they can be borrowed apart: `io.out` and `io.env.shared` in
//!   one expression.

use crate::{Close, Flow};
use loopwork_reactor::{Env, Id, Instant, StreamOption};

/// The end of a connection's output: append only.
pub struct Out<'a> {
    pub(crate) buf: &'a mut Vec<u8>,
    /// Bytes that layers below hold already.
    pub(crate) below: usize,
    /// Above so many the output is full.
    pub(crate) limit: usize,
}

impl<'a> Out<'a> {
    /// Appends bytes: they leave together, when the callback has returned.
    #[inline]
    pub fn write(&mut self, bytes: &[u8]) -> Flow {
        self.buf.extend_from_slice(bytes);
        self.flow()
    }

    /// Whether more should be written.
    #[inline]
    pub fn flow(&self) -> Flow {
        if self.below + self.buf.len() > self.limit { Flow::Full } else { Flow::Open }
    }

    /// The buffer itself, for encoders that append to one. What is in it already is not ours.
    #[inline]
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        self.buf
    }

    /// The same end, for a shorter time.
    #[inline]
    pub fn reborrow(&mut self) -> Out<'_> {
        Out { buf: self.buf, below: self.below, limit: self.limit }
    }
}

/// What a connection has been wished, to be settled when the callback returns.
#[derive(Default, Debug)]
pub struct Wishes {
    pub(crate) deadline: Instant,
    pub(crate) abort: Option<Close>,
    pub(crate) paused: bool,
    pub(crate) end: bool,
    pub(crate) reshow: bool,
    pub(crate) read_when_full: bool,
}

/// Bytes of a connection so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Count {
    /// Read from the peer.
    pub received: u64,
    /// Taken by the kernel on their way to the peer.
    pub sent: u64,
}

/// One connection, as a callback sees it.
pub struct Io<'a> {
    /// Its name, for whoever wants to wake it.
    pub id: Id,
    /// Where bytes are appended.
    pub out: Out<'a>,
    /// What has been wished.
    pub wish: &'a mut Wishes,
    /// Bytes in and out, up to this callback.
    pub count: Count,
    /// The rest of what a callback may reach.
    pub env: &'a mut Env,
}

impl<'a> Io<'a> {
    /// Appends bytes to the output.
    #[inline]
    pub fn write(&mut self, bytes: &[u8]) -> Flow {
        self.out.write(bytes)
    }

    /// Whether more should be written.
    #[inline]
    pub fn flow(&self) -> Flow {
        self.out.flow()
    }

    /// Ends our side once everything that was written has gone out. What is written afterwards
    /// may be dropped. Reading goes on until the peer ends too.
    pub fn end(&mut self) {
        self.wish.end = true;
    }

    /// Whether [`Io::end`] was wished.
    #[must_use]
    pub fn ending(&self) -> bool {
        self.wish.end
    }

    /// Gives the connection up now: output that has not gone out is lost, and the peer of a TCP
    /// connection sees a reset. The first reason counts.
    pub fn abort(&mut self, why: Close) {
        self.wish.abort(why);
    }

    /// Reads no more until [`Io::resume`]. Bytes that are shown and not used are kept.
    pub fn pause(&mut self) {
        self.wish.pause();
    }

    /// Reads again, and shows again what was left.
    pub fn resume(&mut self) {
        self.wish.resume();
    }

    /// Whether [`Io::pause`] holds.
    #[must_use]
    pub fn paused(&self) -> bool {
        self.wish.paused
    }

    /// Reads on, or not, although the output is full; off at first. For who bounds its output by
    /// itself and streams both ways at once: two peers that both stop reading while they are full
    /// wait for each other for ever. An answerer leaves it off, or its peer makes it grow.
    pub fn read_when_full(&mut self, on: bool) {
        self.wish.read_when_full = on;
    }

    /// `on_timeout` at this time; replaces the deadline before, `None` removes it. A store: the
    /// timer behind it is moved only when it fires too soon.
    #[inline]
    pub fn set_deadline(&mut self, at: Option<Instant>) {
        self.wish.set_deadline(at);
    }

    /// The deadline that is set.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.wish.deadline()
    }

    /// Changes a setting of the socket, later in this turn. For the rare: it allocates.
    pub fn set(&mut self, option: StreamOption) {
        let set = crate::host::Set { id: self.id, option };
        self.env.calls.post(self.id.driver, Box::new(set));
    }

    /// The same connection, for a shorter time.
    #[inline]
    pub fn reborrow(&mut self) -> Io<'_> {
        Io {
            id: self.id,
            out: self.out.reborrow(),
            wish: self.wish,
            count: self.count,
            env: self.env,
        }
    }

    /// The connection as a layer inside sees it: own bytes, own wishes. Full when what lies
    /// beneath it is full.
    #[inline]
    pub fn layer<'b>(&'b mut self, buf: &'b mut Vec<u8>, wish: &'b mut Wishes) -> Io<'b> {
        let below = self.out.below + self.out.buf.len();
        let out = Out { buf, below, limit: self.out.limit };
        Io { id: self.id, out, wish, count: self.count, env: self.env }
    }
}

impl Wishes {
    /// As [`Io::set_deadline`].
    pub fn set_deadline(&mut self, at: Option<Instant>) {
        self.deadline = at.unwrap_or_default();
    }

    /// As [`Io::abort`].
    pub fn abort(&mut self, why: Close) {
        self.abort.get_or_insert(why);
    }

    /// As [`Io::pause`].
    pub fn pause(&mut self) {
        self.paused = true;
    }

    /// As [`Io::resume`].
    pub fn resume(&mut self) {
        if self.paused {
            self.paused = false;
            self.reshow = true;
        }
    }

    /// For a protocol around a protocol: the inner wish for an end.
    #[must_use]
    pub fn ending(&self) -> bool {
        self.end
    }

    /// For a protocol around a protocol: the inner wish to give up.
    #[must_use]
    pub fn aborting(&self) -> Option<Close> {
        self.abort
    }

    /// For a protocol around a protocol: whether the inner one reads.
    #[must_use]
    pub fn paused(&self) -> bool {
        self.paused
    }

    /// For a protocol around a protocol: whether the inner one reads although it is full.
    #[must_use]
    pub fn reads_when_full(&self) -> bool {
        self.read_when_full
    }

    /// For a protocol around a protocol: the inner deadline.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        (self.deadline != Instant::default()).then_some(self.deadline)
    }

    /// For a protocol around a protocol: takes the wish to be shown again what was left.
    pub fn take_reshow(&mut self) -> bool {
        std::mem::take(&mut self.reshow)
    }
}
