//! One connection at work: reading, showing, flushing, settling.
//!
//! Rules of this file:
//! * [`Work::settle`] is the one place where wishes become calls on the world.
//! * `readable` and `writable` are what the last edge said. They fall on `WouldBlock` and on a
//!   short read or write, except that a read behind which the end lies is never called dry.
//! * Whoever stops before it is dry queues itself again: the edge will not come back.
//! * Input costs linear work: of the bytes kept and the bytes new, the fewer are copied.

use crate::inserts::{Inserts, SLICES};
use crate::state::{
    BROKEN, CLOSED, DIALING, EOF, FIN, FULL, ODD, QUEUED, READABLE, STARVED, State, WRITABLE,
};
use crate::{Close, Count, Io, Out, Protocol, Wishes};
use loopwork_reactor::planted::{Planted, planted};
use loopwork_reactor::{Cx, Env, Fd, Id, Instant, READ_MAX, Streams, TimerKey, Trace};
use std::io::ErrorKind::{self, OutOfMemory, TimedOut, WouldBlock};
use std::io::{self, IoSlice};
use std::time::Duration;

/// Output above which a writer is told [`Full`](crate::Flow::Full) and nothing more is read: a
/// round trip of 100 Mbit/s over 5 ms; a thousand slow peers hold 64 MiB at most.
pub const HIGH_WATER: usize = 64 * 1024;
/// Input that a protocol may leave unused while it asks for more, unless it says otherwise
/// ([`Protocol::keeps`]): the longest head that most servers take.
pub const CARRY_MAX: usize = 64 * 1024;
/// Reads of one connection in one turn. With [`READ_MAX`] a fire hose moves 1 MiB, about a quarter
/// of a millisecond, before the others have their turn.
pub const READS_PER_TURN: usize = 16;
/// How long after a write for which the kernel had no memory it is tried again: time for others to
/// give some back, and soon enough that the peer sees only a slow packet.
const STARVED_RETRY: Duration = Duration::from_millis(10);
/// Rounds of flush, `on_drain` and show in one turn: the same budget for who writes.
const ROUNDS_PER_TURN: usize = 16;

/// Writes of output with inserts, of one connection in one flush. With [`FILE_PER_CALL`] a peer
/// that takes a file as fast as it is sent moves as much as one that sends ([`READS_PER_TURN`]).
const WRITES_PER_FLUSH: usize = 4;
/// What one call sends of a file: what a call costs is nothing beside it.
const FILE_PER_CALL: u64 = 256 * 1024;

/// Larger buffers go back to the allocator when they have emptied: one big message must not stay
/// for ever.
const IDLE_MAX: usize = 256 * 1024;

/// What a connection holds only while it has something in it.
#[derive(Default)]
pub(crate) struct Bufs {
    pub(crate) out: Vec<u8>,
    /// What goes out in the place of some bytes of `out`.
    pub(crate) inserts: Inserts,
    /// How much of `out` the kernel has taken.
    pub(crate) sent: usize,
    /// Input that was shown and not used.
    pub(crate) carry: Vec<u8>,
}

impl Bufs {
    pub(crate) fn is_empty(&self) -> bool {
        self.out.is_empty() && self.carry.is_empty()
    }

    pub(crate) fn pending(&self) -> usize {
        self.out.len() - self.sent
    }

    /// What is left to send is above its mark.
    fn over(&self) -> bool {
        (self.pending() as u64).saturating_add(self.inserts.weight()) > HIGH_WATER as u64
    }

    /// Forgets what is left to send.
    fn lose(&mut self) {
        self.sent = self.out.len();
        self.inserts.clear();
    }

    /// After writes: what went out goes, if all of it went, or if that is worth a move.
    #[inline]
    fn tidy(&mut self) {
        if self.pending() == 0 {
            self.out.clear();
            self.sent = 0;
        } else if self.sent > HIGH_WATER && self.sent > self.pending() {
            // What went is longer than what is left: moving it costs less than was saved.
            self.out.drain(..self.sent);
            self.inserts.shift(self.sent);
            self.sent = 0;
        }
    }

    /// Writes what lies in memory, up to a file.
    fn gather<W: Streams>(&self, cx: &mut Cx<'_, W>, fd: Fd) -> io::Result<u64> {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let count = self.inserts.slices(&self.out, self.sent, &mut slices);
        cx.world.write_vectored(fd, &slices[..count]).map(|n| n as u64)
    }

    /// Sends the file that is next.
    fn send_file<W: Streams>(&self, cx: &mut Cx<'_, W>, fd: Fd) -> io::Result<u64> {
        let Some((file, from, to)) = self.inserts.file(self.sent) else { return Ok(0) };
        cx.world.send_file(fd, file, from, FILE_PER_CALL.min(to - from))
    }

    /// Empty, and small enough to be kept for the next visit.
    #[inline]
    pub(crate) fn is_idle(&self) -> bool {
        self.is_empty() && self.out.capacity() + self.carry.capacity() <= IDLE_MAX
    }
}

/// A connection but for its protocol's state.
pub(crate) struct Link {
    pub(crate) birth: u64,
    pub(crate) wish: Wishes,
    pub(crate) bufs: Option<Box<Bufs>>,
    pub(crate) count: Count,
    /// When the timer fires; a deadline may have moved behind it.
    armed: Instant,
    pub(crate) timer: TimerKey,
    pub(crate) fd: Fd,
    pub(crate) state: State,
}

impl Link {
    pub(crate) fn new(birth: u64, fd: Fd, dialing: bool) -> Link {
        Link {
            birth,
            wish: Wishes::default(),
            bufs: None,
            count: Count::default(),
            armed: Instant::default(),
            timer: TimerKey::NONE,
            fd,
            state: if dialing { DIALING } else { WRITABLE },
        }
    }

    /// Open both ways, with nothing wished and nothing owed but output.
    #[inline]
    fn is_plain(&self) -> bool {
        let wish = &self.wish;
        !(self.state.has(ODD) | wish.end | wish.reshow | wish.abort.is_some())
    }

    /// A write failed. Unless it only has to wait the output is lost, but what the peer said
    /// before may still be read.
    #[cold]
    fn write_failed(&mut self, bufs: &mut Bufs, why: ErrorKind) {
        match why {
            WouldBlock => self.state.put(WRITABLE, false),
            OutOfMemory => self.state.put(STARVED, true),
            _ => {
                self.state.put(BROKEN.or(READABLE).or(CLOSED), true);
                bufs.lose();
            }
        }
    }

    fn may_read(&self) -> bool {
        let full = self.state.has(FULL) && !self.wish.read_when_full;
        let wanted = !full && !self.wish.paused && self.wish.abort.is_none();
        wanted && self.state.has(READABLE) && !self.state.has(EOF.or(DIALING))
    }
}

/// One connection borrowed apart, for the length of a visit.
pub(crate) struct Work<'a, P: Protocol> {
    pub(crate) protocol: &'a mut P,
    pub(crate) conn: &'a mut P::Conn,
    pub(crate) link: &'a mut Link,
    pub(crate) bufs: &'a mut Bufs,
    pub(crate) id: Id,
}

impl<P: Protocol> Work<'_, P> {
    /// Calls the protocol.
    #[inline(always)]
    pub(crate) fn call<R>(
        &mut self,
        env: &mut Env,
        f: impl FnOnce(&mut P, &mut P::Conn, &mut Io<'_>) -> R,
    ) -> R {
        let limit = HIGH_WATER + self.bufs.sent;
        let Bufs { out, inserts, .. } = &mut *self.bufs;
        let out = Out { buf: out, inserts: Some(inserts), below: 0, limit };
        let (wish, count) = (&mut self.link.wish, self.link.count);
        f(self.protocol, self.conn, &mut Io { id: self.id, out, wish, count, env })
    }

    /// Shows bytes to the protocol; how many it used.
    ///
    /// # Panics
    /// When the protocol claims more than it was shown: a bug of its own that would corrupt the
    /// stream.
    #[inline]
    fn show(&mut self, env: &mut Env, bytes: &mut [u8]) -> usize {
        let len = bytes.len();
        let used = self.call(env, |p, c, io| p.on_data(c, io, bytes));
        assert!(used <= len, "a protocol used {used} of {len} bytes");
        env.note_bytes(&self.id, Trace::Used, used);
        used
    }

    /// Shows the carry and `buffer[kept..kept + n]`, of which the front is room for the carry, if
    /// that is not longer than a read.
    #[inline(always)]
    fn feed(&mut self, env: &mut Env, buffer: &mut [u8], kept: usize, n: usize) {
        // As a rule nothing was left, nothing is, and all is wanted.
        if kept > 0 || self.link.wish.drain.is_some() {
            return self.feed_behind(env, buffer, kept, n);
        }
        let used = self.show(env, &mut buffer[..n]);
        if used < n {
            self.keep(env, &buffer[used..n]);
        }
    }

    /// As [`feed`](Self::feed), behind a carry or in a drain.
    #[inline(never)]
    fn feed_behind(&mut self, env: &mut Env, buffer: &mut [u8], kept: usize, n: usize) {
        if self.dropped(n) {
            return;
        }
        if self.bufs.carry.len() > n {
            self.bufs.carry.extend_from_slice(&buffer[kept..kept + n]);
            self.show_carry(env);
            return self.cap(env);
        }
        let bytes = &mut buffer[..kept + n];
        bytes[..kept].copy_from_slice(&self.bufs.carry);
        let used = self.show(env, bytes);
        self.keep(env, &bytes[used..]);
    }

    /// Keeps what a show left over.
    #[inline(never)]
    fn keep(&mut self, env: &mut Env, left: &[u8]) {
        self.bufs.carry.clear();
        let lost = usize::from(planted(Planted::CarryOffByOne) && !left.is_empty());
        self.bufs.carry.extend_from_slice(&left[lost..]);
        self.cap(env);
    }

    /// What is left over after a show has a cap, while the protocol still asks for more.
    fn cap(&mut self, env: &mut Env) {
        let long = self.bufs.carry.len() > CARRY_MAX && !self.link.wish.paused;
        if long && !self.over() && !self.dropped(0) {
            self.overrun(env);
        }
    }

    /// More is left than [`CARRY_MAX`]: is it more than the protocol keeps?
    #[cold]
    fn overrun(&mut self, env: &mut Env) {
        if self.bufs.carry.len() > self.protocol.keeps(self.conn, env) {
            self.fail(Close::Overrun);
        }
    }

    /// Shows the carry where it lies.
    fn show_carry(&mut self, env: &mut Env) {
        if self.dropped(0) {
            return;
        }
        let mut carry = std::mem::take(&mut self.bufs.carry);
        let used = self.show(env, &mut carry);
        carry.drain(..used);
        self.bufs.carry = carry;
    }

    /// The output is above its mark, or was and has not emptied, and so nothing is shown.
    fn over(&self) -> bool {
        let full = self.link.state.has(FULL) || self.bufs.over();
        full && !self.link.wish.read_when_full
    }

    /// Reads until dry, stopped, or out of budget.
    #[inline(always)]
    pub(crate) fn read<W: Streams>(&mut self, cx: &mut Cx<'_, W>) {
        for _ in 0..READS_PER_TURN {
            if !self.link.may_read() || self.bufs.over() && !self.link.wish.read_when_full {
                return;
            }
            // A carry that is longer than what is read stays where it lies: it needs no room.
            let kept = self.bufs.carry.len().min(READ_MAX);
            match cx.world.read(self.link.fd, &mut cx.buffer[kept..kept + READ_MAX]) {
                Ok(0) if self.link.state.has(BROKEN) => return self.fail(Close::Reset),
                Ok(0) => {
                    self.link.state.put(EOF, true);
                    cx.env.note(self.id, Trace::End);
                    if self.link.wish.drain.is_none() {
                        self.call(cx.env, |p, c, io| p.on_end(c, io));
                    }
                    return;
                }
                Ok(n) => {
                    let ends = self.link.state.has(CLOSED) && !planted(Planted::LostEnd);
                    self.link.state.put(READABLE, n == READ_MAX || ends);
                    self.link.count.received += n as u64;
                    cx.env.note_bytes(&self.id, Trace::Read, n);
                    self.feed(cx.env, cx.buffer, kept, n);
                    if !self.link.state.has(READABLE) {
                        return;
                    }
                }
                Err(e) if e.kind() == WouldBlock => self.link.state.put(READABLE, false),
                Err(e) if e.kind() == TimedOut => return self.fail(Close::TimedOut),
                Err(_) => return self.fail(Close::Reset),
            }
        }
    }

    fn fail(&mut self, why: Close) {
        self.link.wish.abort.get_or_insert(why);
    }

    /// Writes what there is to write, all of it in the buffer.
    #[inline(always)]
    fn flush<W: Streams>(&mut self, cx: &mut Cx<'_, W>) {
        let (link, bufs) = (&mut *self.link, &mut *self.bufs);
        if link.state.has(BROKEN.or(FIN)) {
            bufs.lose();
        }
        link.state.put(STARVED, false);
        let rest = bufs.pending();
        if link.state.has(WRITABLE) && rest > 0 {
            match cx.world.write(link.fd, &bufs.out[bufs.sent..]) {
                Ok(n) => {
                    bufs.sent += if planted(Planted::ShortWrite) { rest } else { n };
                    link.count.sent += n as u64;
                    link.state.put(WRITABLE, n == rest);
                    cx.env.note_bytes(&self.id, Trace::Wrote, n);
                }
                Err(e) => link.write_failed(bufs, e.kind()),
            }
        }
        bufs.tidy();
    }

    /// As [`flush`](Self::flush), where not all of the output is in the buffer.
    #[cold]
    fn flush_inserts<W: Streams>(&mut self, cx: &mut Cx<'_, W>) {
        let (link, bufs) = (&mut *self.link, &mut *self.bufs);
        if link.state.has(BROKEN.or(FIN)) {
            bufs.lose();
        }
        link.state.put(STARVED, false);
        for _ in 0..WRITES_PER_FLUSH {
            if !link.state.has(WRITABLE) || bufs.pending() == 0 {
                break;
            }
            let file = bufs.inserts.file(bufs.sent).is_some();
            let wrote = if file { bufs.send_file(cx, link.fd) } else { bufs.gather(cx, link.fd) };
            match wrote {
                Ok(0) if file => {
                    cx.env.note(self.id, Trace::Say("a file is shorter than was promised"));
                    return self.fail(Close::Aborted);
                }
                Ok(n) => {
                    let within = bufs.inserts.advance(&bufs.out, &mut bufs.sent, n);
                    link.count.sent += n;
                    // Of a file only an error says that there is no room.
                    link.state.put(WRITABLE, file || !within);
                    cx.env.note_bytes(&self.id, Trace::Wrote, n as usize);
                }
                Err(e) if file && !is_streams(e.kind()) => {
                    cx.env.note(self.id, Trace::Say("a file cannot be read"));
                    return self.fail(Close::Aborted);
                }
                Err(e) => {
                    link.write_failed(bufs, e.kind());
                    break;
                }
            }
        }
        bufs.tidy();
    }

    /// Flushes, tells of drains and shows what was left, until nothing of it is to be done; says
    /// whether the budget ended first.
    fn rounds<W: Streams>(&mut self, cx: &mut Cx<'_, W>) -> bool {
        for _ in 0..ROUNDS_PER_TURN {
            // Before the flush: who was told Full is owed a drain.
            self.link.state.raise(FULL, self.bufs.over());
            if !self.bufs.inserts.is_empty() {
                self.flush_inserts(cx);
            } else if !self.bufs.out.is_empty() {
                self.flush(cx);
            }
            let drained = self.link.state.has(FULL) && self.bufs.out.is_empty();
            if drained {
                self.link.state.put(FULL, false);
                // Who has ended or given up waits for no room.
                let gone = self.link.wish.abort.is_some() || planted(Planted::NoDrain);
                if !self.link.wish.end && !gone {
                    cx.env.note(self.id, Trace::Drain);
                    self.call(cx.env, |p, c, io| p.on_drain(c, io));
                }
            }
            let reshow = std::mem::take(&mut self.link.wish.reshow) || drained;
            if !reshow || self.link.wish.abort.is_some() {
                return false;
            }
            // While the output is over its mark nothing is shown: the drain shows it then.
            if !self.bufs.carry.is_empty() && !self.link.wish.paused && !self.over() {
                self.show_carry(cx.env);
                self.cap(cx.env);
            }
        }
        true
    }

    /// Carries out what was wished. `Some`: the connection is over.
    #[inline(always)]
    pub(crate) fn settle<W: Streams>(&mut self, cx: &mut Cx<'_, W>) -> Option<Close> {
        // As a rule there is some output, and no other wish.
        let inserts = !self.bufs.inserts.is_empty();
        if self.link.is_plain() && !inserts && self.bufs.pending() <= HIGH_WATER {
            if !self.bufs.out.is_empty() {
                self.flush(cx);
            }
            if !self.link.state.has(BROKEN) {
                self.wait(cx, self.link.state.has(READABLE) && !self.link.wish.paused);
                return None;
            }
        }
        self.settle_all(cx)
    }

    /// As [`settle`](Self::settle), whatever was wished.
    #[cold]
    fn settle_all<W: Streams>(&mut self, cx: &mut Cx<'_, W>) -> Option<Close> {
        let spent = !self.link.state.has(DIALING) && self.rounds(cx);
        let link = &mut *self.link;
        // Before our end is sent: a connection that is given up must not look like a clean end.
        if let Some(why) = link.wish.abort {
            return Some(why);
        }
        let flushed = self.bufs.out.is_empty() || planted(Planted::EndBeforeFlush);
        if link.wish.end && !link.state.has(FIN.or(DIALING)) && !spent && flushed {
            link.state.put(FIN, true);
            cx.env.note(self.id, Trace::Shutdown);
            link.wish.drain_from(cx.env.now);
            // Behind the peer's end ours is the close, which follows at once.
            if !link.state.has(BROKEN.or(EOF)) && cx.world.shutdown(link.fd).is_err() {
                link.state.put(BROKEN.or(READABLE).or(CLOSED), true);
            }
        }
        if link.state.has(FIN) && link.state.has(EOF) {
            return Some(if link.state.has(BROKEN) { Close::Reset } else { Close::Finished });
        }
        if link.state.has(BROKEN) && !link.may_read() {
            return Some(Close::Reset);
        }
        if self.drained() {
            return Some(Close::Finished);
        }
        // The budget of a flush may have ended, with room in the kernel.
        let can = self.link.state.has(WRITABLE) && !self.link.state.has(STARVED);
        let unsent = can && self.bufs.pending() > 0;
        self.wait(cx, spent || unsent || self.link.may_read());
        None
    }

    /// Arms the timer if the deadline needs it; `go_on`: there is work for the next turn.
    #[inline(always)]
    fn wait<W>(&mut self, cx: &mut Cx<'_, W>, go_on: bool) {
        let link = &mut *self.link;
        let mut deadline = link.wish.deadline;
        if link.state.has(STARVED) {
            let retry = cx.env.now.after(STARVED_RETRY);
            deadline = if deadline == Instant::default() { retry } else { deadline.min(retry) };
        }
        if deadline != Instant::default() && (link.timer == TimerKey::NONE || deadline < link.armed)
        {
            let timers = &mut cx.env.calls.timers;
            link.timer = match timers.rearm(link.timer, deadline) {
                Some(timer) => timer,
                None => timers.arm(deadline, self.id),
            };
            link.armed = deadline;
        }
        if go_on && !link.state.has(QUEUED) && !planted(Planted::NoRequeue) {
            link.state.put(QUEUED, true);
            cx.env.calls.again(self.id);
        }
    }

    /// The timer fired: the deadline has passed, or has moved and is armed anew by `settle`.
    pub(crate) fn timer(&mut self, env: &mut Env) {
        self.link.timer = TimerKey::NONE;
        let deadline = self.link.wish.deadline;
        let early = deadline > env.now && !planted(Planted::EarlyTimer);
        if deadline == Instant::default() || early {
            return;
        }
        self.link.wish.deadline = Instant::default();
        env.note(self.id, Trace::Timer);
        if self.link.state.has(DIALING) {
            return self.fail(Close::Dial(TimedOut));
        }
        if !self.drain_due(env.now) {
            self.call(env, |p, c, io| p.on_timeout(c, io));
        }
    }

    /// A dial's first event: it stands, it failed, or it goes on.
    pub(crate) fn connected<W: Streams>(&mut self, cx: &mut Cx<'_, W>) {
        match cx.world.connected(self.link.fd) {
            Ok(()) => {
                self.link.state.put(DIALING, false);
                self.link.state.put(WRITABLE, true);
                self.link.wish.deadline = Instant::default();
                cx.env.note(self.id, Trace::Open);
                self.call(cx.env, |p, c, io| p.on_open(c, io));
            }
            Err(e) if e.kind() == WouldBlock && !planted(Planted::SpuriousReady) => {}
            Err(e) => self.fail(Close::Dial(e.kind())),
        }
    }

    /// Whoever cannot read must learn here that the peer is gone, and why.
    pub(crate) fn gone<W: Streams>(&mut self, cx: &mut Cx<'_, W>) {
        if !self.link.may_read() || self.over() {
            let error = cx.world.connected(self.link.fd).err();
            let late = error.is_some_and(|e| e.kind() == TimedOut);
            self.fail(if late { Close::TimedOut } else { Close::Reset });
        }
    }
}

/// Of an error of a call that sends a file: it is the stream's, and not the file's.
fn is_streams(why: ErrorKind) -> bool {
    use ErrorKind::{
        BrokenPipe, ConnectionAborted, ConnectionReset, HostUnreachable, NetworkDown,
        NetworkUnreachable, NotConnected,
    };
    let waits = matches!(why, WouldBlock | OutOfMemory | TimedOut);
    let gone = matches!(why, BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected);
    waits || gone || matches!(why, HostUnreachable | NetworkDown | NetworkUnreachable)
}

const _: () = assert!(2 * READ_MAX <= loopwork_reactor::READ_BUFFER);
