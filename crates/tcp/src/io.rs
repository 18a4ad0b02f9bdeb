//! What a callback may see and wish for.
//!
//! Rules of this file:
//! * No socket, no world: an [`Io`] appends to a buffer and notes wishes.
//! * Public fields are public so that they can be borrowed apart: `io.out` and `io.env.shared` in
//!   one expression.

use crate::inserts::{INSERT_MIN, Inserts, What};
use crate::linger::Draining;
use crate::{Close, Flow};
use loopwork_reactor::{Env, Id, Instant, StreamOption, read_file};
use std::fs::File;
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::sync::Arc;

/// What is read of a file at a time, at least, where it must be copied.
const CHUNK: usize = 16 * 1024;

/// The end of a connection's output: append only.
pub struct Out<'a> {
    pub(crate) buf: &'a mut Vec<u8>,
    /// What is not copied; a layer inside has none, since the layer around it changes the bytes.
    pub(crate) inserts: Option<&'a mut Inserts>,
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

    /// Appends bytes that others hold too, a message to many say: they are not copied, but where
    /// they are few, or on a layer that changes what it carries (WebSocket, TLS).
    pub fn write_shared(&mut self, bytes: &Arc<[u8]>) -> Flow {
        match &mut self.inserts {
            Some(inserts) if bytes.len() >= INSERT_MIN => {
                inserts.push(self.buf, What::Shared(bytes.clone()), bytes.len());
                self.flow()
            }
            _ => self.write(bytes),
        }
    }

    /// Appends bytes of the program's own, likewise.
    pub fn write_static(&mut self, bytes: &'static [u8]) -> Flow {
        match &mut self.inserts {
            Some(inserts) if bytes.len() >= INSERT_MIN => {
                inserts.push(self.buf, What::Static(bytes), bytes.len());
                self.flow()
            }
            _ => self.write(bytes),
        }
    }

    /// Appends bytes that the caller has no more use for, likewise.
    pub fn write_owned(&mut self, bytes: Vec<u8>) -> Flow {
        match &mut self.inserts {
            Some(inserts) if bytes.len() >= INSERT_MIN => {
                let len = bytes.len();
                inserts.push(self.buf, What::Owned(bytes), len);
                self.flow()
            }
            _ => self.write(&bytes),
        }
    }

    /// Appends a range of a file, and moves the range's start behind what was taken. On a plain
    /// connection that is all of it: the kernel sends it from where it lies (`sendfile`), and
    /// [`Flow::Full`] holds for as long as much of it is left. On a layer that changes what it
    /// carries the file is read here until the output is full; the rest of the range is for
    /// `on_drain`. So who calls again with what is left, works on both:
    ///
    /// ```
    /// # use std::{fs::File, io, ops::Range, sync::Arc};
    /// # use loopwork_tcp::{Close, Io};
    /// /// In `on_open` or `on_data`, and again in `on_drain`.
    /// fn more(io: &mut Io<'_>, file: &Arc<File>, left: &mut Range<u64>) {
    ///     match io.write_file(file, left) {
    ///         Ok(_) if left.is_empty() => io.end(),
    ///         Ok(_) => {}
    ///         Err(_) => io.abort(Close::Aborted),
    ///     }
    /// }
    /// ```
    ///
    /// Where the file turns out shorter than the range, or cannot be read, the connection is
    /// given up ([`Close::Aborted`]), since the peer was promised more. Reading blocks the loop
    /// for as long as the disk needs; a file that others change while it goes out, goes out
    /// changed.
    ///
    /// # Errors
    /// Where it is read here: what the system says; `UnexpectedEof` when it is too short.
    pub fn write_file(&mut self, file: &Arc<File>, range: &mut Range<u64>) -> io::Result<Flow> {
        if let Some(inserts) = &mut self.inserts {
            if !range.is_empty() {
                inserts.push_file(self.buf, file.clone(), range.start, range.end);
                range.start = range.end;
            }
            return Ok(self.flow());
        }
        while !range.is_empty() && self.flow() == Flow::Open {
            let left = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
            let room = self.limit.saturating_sub(self.held()).max(CHUNK).min(left);
            match read_file(file, range.start, self.buf, room) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(n) => range.start += n as u64,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(self.flow())
    }

    /// Bytes that have not gone out yet, here and in the layers below.
    #[inline]
    #[must_use]
    pub fn held(&self) -> usize {
        let inserted = self.inserts.as_ref().map_or(0, |i| i.weight());
        let inserted = usize::try_from(inserted).unwrap_or(usize::MAX);
        self.copied().saturating_add(inserted)
    }

    /// As [`held`](Self::held), but for what was not copied.
    #[inline]
    #[must_use]
    pub fn copied(&self) -> usize {
        self.below + self.buf.len()
    }

    /// Whether more should be written.
    #[inline]
    pub fn flow(&self) -> Flow {
        if self.held() > self.limit { Flow::Full } else { Flow::Open }
    }

    /// The buffer itself, for encoders that append to one. What is in it already is not ours: some
    /// of it may stand for bytes that were not copied. It is empty only when nothing is unsent.
    #[inline]
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        self.buf
    }

    /// The same end, for a shorter time.
    #[inline]
    pub fn reborrow(&mut self) -> Out<'_> {
        let inserts = self.inserts.as_deref_mut();
        Out { buf: self.buf, inserts, below: self.below, limit: self.limit }
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
    /// What comes is dropped. Boxed: the fewest ever are.
    pub(crate) drain: Option<Box<Draining>>,
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

    /// As [`Out::write_shared`].
    pub fn write_shared(&mut self, bytes: &Arc<[u8]>) -> Flow {
        self.out.write_shared(bytes)
    }

    /// As [`Out::write_static`].
    pub fn write_static(&mut self, bytes: &'static [u8]) -> Flow {
        self.out.write_static(bytes)
    }

    /// As [`Out::write_owned`].
    pub fn write_owned(&mut self, bytes: Vec<u8>) -> Flow {
        self.out.write_owned(bytes)
    }

    /// As [`Out::write_file`].
    ///
    /// # Errors
    /// See there.
    pub fn write_file(&mut self, file: &Arc<File>, range: &mut Range<u64>) -> io::Result<Flow> {
        self.out.write_file(file, range)
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
        let below = self.out.held();
        let out = Out { buf, inserts: None, below, limit: self.out.limit };
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
