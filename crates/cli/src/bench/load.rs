//! One thread's load: connections that ask the same thing over and over.
//!
//! Rules of this file:
//! * A request is encoded once. What a turn owes a connection leaves in one write, and a read is
//!   taken apart as far as it goes, so that the load is not what is measured.
//! * An answer is framed as HTTP says. If its head is byte for byte the one before, so is what it
//!   says, and it is not parsed again.
//! * With a rate requests are due at instants that are fixed beforehand, and wait for their
//!   answers from there, whether a connection was free or not: a server that stalls is not spared
//!   the requests that it would have got meanwhile (coordinated omission).

use super::tally::Tally;
use loopwork::http::core::{
    Body, Decoder, Fields, Limits, Malformed, Method, Progress, Step, parse_response,
};
use loopwork::reactor::Key;
use loopwork::tcp::{self, Close, Host, Io, Protocol};
use loopwork::{Env, Handle, Id, Instant};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// After a connection that did not come about, or failed: before the next. A server that is gone is
/// asked a hundred times a second for each connection, not as often as one can.
const AGAIN: Duration = Duration::from_millis(10);

/// What is to be done, by one thread.
#[derive(Clone)]
pub(super) struct Plan {
    pub(super) to: Vec<SocketAddr>,
    /// As it goes out.
    pub(super) request: Vec<u8>,
    /// Answers have no body.
    pub(super) head_only: bool,
    pub(super) connections: usize,
    /// Requests that may be unanswered on a connection.
    pub(super) depth: usize,
    /// In all; without end if not.
    pub(super) requests: Option<u64>,
    /// And for how long.
    pub(super) duration: Option<Duration>,
    /// A second.
    pub(super) rate: Option<f64>,
    /// For each answer.
    pub(super) timeout: Duration,
    /// Answers before this are not counted.
    pub(super) warm_up: Duration,
}

/// With a rate: which requests are due, and who is free to send them.
pub(super) struct Pace {
    began: Instant,
    /// Between two requests, in nanoseconds.
    gap: f64,
    /// Requests that have been given out.
    given: u64,
    /// When those were due that came back unanswered, from connections that the server closed.
    back: VecDeque<Instant>,
    free: Vec<Id>,
}

impl Pace {
    fn new(began: Instant, rate: f64) -> Pace {
        Pace { began, gap: 1e9 / rate, given: 0, back: VecDeque::new(), free: Vec::new() }
    }

    /// When request `n` is due.
    fn due(&self, n: u64) -> Instant {
        Instant(self.began.0 + (n as f64 * self.gap) as u64)
    }

    /// Requests that were due up to now.
    fn ever(&self, now: Instant) -> u64 {
        (now.since(self.began).as_nanos() as f64 / self.gap) as u64 + 1
    }

    /// Gives out at most so many requests that are due; how many.
    fn take(&mut self, now: Instant, most: usize, into: &mut VecDeque<Asked>) -> usize {
        let again = self.back.len().min(most);
        into.extend(self.back.drain(..again).map(|due| Asked { due, sent: now }));
        let new = self.ever(now).saturating_sub(self.given).min((most - again) as u64);
        for n in self.given..self.given + new {
            into.push_back(Asked { due: self.due(n), sent: now });
        }
        self.given += new;
        again + new as usize
    }

    /// Wakes as many who are free as there are requests due.
    fn tick(&mut self, now: Instant) -> Vec<Id> {
        let new = self.ever(now).saturating_sub(self.given);
        let due = self.back.len().saturating_add(usize::try_from(new).unwrap_or(usize::MAX));
        let left = self.free.len().saturating_sub(due);
        self.free.split_off(left)
    }

    /// How often it ticks: at each request, but for rates that are higher than ticks are cheap.
    fn period(&self) -> Duration {
        Duration::from_nanos(self.gap as u64).max(Duration::from_micros(100))
    }
}

/// The head of the last answer, and what it said.
#[derive(Default)]
struct Memo {
    head: Vec<u8>,
    status: u16,
    length: u64,
}

/// A request that is out.
struct Asked {
    /// When it had to go out, and when it did.
    due: Instant,
    sent: Instant,
}

/// Where an answer stands.
enum Stage {
    Head,
    /// So many bytes of the body are still to come.
    Length(u64),
    Coded(Decoder),
    UntilClose,
}

pub(super) struct Conn {
    asked: VecDeque<Asked>,
    progress: Progress,
    stage: Stage,
    status: u16,
    keep: bool,
    open: bool,
    /// It is among those who are free.
    free: bool,
}

/// The load of one thread, a protocol.
pub(super) struct Load {
    me: Handle<Host<Load>>,
    plan: Plan,
    /// The request as often as it may go out at once.
    batch: Vec<u8>,
    pace: Option<Key<Pace>>,
    memo: Memo,
    fields: Fields,
    limits: Limits,
    sent: u64,
    /// Answers, those of the warm-up among them.
    done: u64,
    began: Instant,
    tally: Tally,
    /// Answers, for whoever shows how it goes.
    live: Arc<AtomicU64>,
}

impl Load {
    pub(super) fn new(me: Handle<Host<Load>>, plan: Plan, live: Arc<AtomicU64>) -> Load {
        let batch = plan.request.repeat(plan.depth);
        Load {
            me,
            plan,
            batch,
            pace: None,
            memo: Memo::default(),
            fields: Fields::new(),
            limits: Limits { body_bytes: u64::MAX, ..Limits::default() },
            sent: 0,
            done: 0,
            began: Instant::default(),
            tally: Tally::default(),
            live,
        }
    }

    /// Dials all connections, and sets the pace.
    pub(super) fn begin(&mut self, env: &mut Env) {
        self.began = env.now;
        if let Some(rate) = self.plan.rate {
            let pace = Pace::new(env.now, rate);
            let period = pace.period();
            let key = env.shared.add(pace);
            self.pace = Some(key);
            let beat = env.every(period, move |env| {
                let now = env.now;
                for id in env.shared.get(key).tick(now) {
                    env.wake(id);
                }
                std::ops::ControlFlow::Continue(())
            });
            env.calls.unref(beat);
        }
        for _ in 0..self.plan.connections {
            self.dial(env);
        }
    }

    /// What was measured, up to now.
    pub(super) fn end(&mut self, now: Instant) -> Tally {
        self.tally.time = now.since(self.began);
        if let Some(rate) = self.plan.rate {
            let due =
                Pace::new(self.began, rate).ever(now).min(self.plan.requests.unwrap_or(u64::MAX));
            self.tally.unanswered = due.saturating_sub(self.done + self.tally.errors.all());
        }
        std::mem::take(&mut self.tally)
    }

    fn dial(&self, env: &mut Env) {
        dial(env, self.me, &self.plan.to);
    }

    /// Requests that may still go out.
    fn left(&self) -> u64 {
        self.plan.requests.map_or(u64::MAX, |all| all.saturating_sub(self.sent))
    }

    /// Sends what is due here.
    fn send(&mut self, c: &mut Conn, io: &mut Io<'_>) {
        let room = self.plan.depth - c.asked.len();
        let room = room.min(usize::try_from(self.left()).unwrap_or(usize::MAX));
        let now = io.env.now;
        let count = match self.pace {
            None => {
                c.asked.extend((0..room).map(|_| Asked { due: now, sent: now }));
                room
            }
            Some(key) => {
                let pace = io.env.shared.get(key);
                let count = pace.take(now, room, &mut c.asked);
                if count < room && !c.free {
                    c.free = true;
                    pace.free.push(io.id);
                }
                count
            }
        };
        self.sent += count as u64;
        if count > 0 {
            let _ = io.write(&self.batch[..count * self.plan.request.len()]);
        }
        // Of the first that waits: what comes of its answer bit by bit does not move it.
        let first = c.asked.front().map(|asked| asked.sent.after(self.plan.timeout));
        io.set_deadline(first);
        if first.is_none() && self.left() == 0 {
            io.end();
        }
    }

    /// Takes an answer further: how many bytes it took, and whether it is whole.
    fn answer(&mut self, c: &mut Conn, bytes: &[u8]) -> Result<(usize, bool), Malformed> {
        match &mut c.stage {
            Stage::Head if bytes.starts_with(&self.memo.head) && !self.memo.head.is_empty() => {
                c.status = self.memo.status;
                c.progress = Progress::new();
                let head = self.memo.head.len();
                let body = self.memo.length.min((bytes.len() - head) as u64);
                let left = self.memo.length - body;
                c.stage = if left == 0 { Stage::Head } else { Stage::Length(left) };
                Ok((head + body as usize, left == 0))
            }
            Stage::Head => self.head(c, bytes),
            Stage::Length(left) => {
                let taken = (*left).min(bytes.len() as u64);
                *left -= taken;
                let whole = *left == 0;
                if whole {
                    c.stage = Stage::Head;
                }
                Ok((taken as usize, whole))
            }
            Stage::Coded(decoder) => {
                let mut used = 0;
                loop {
                    let rest = &bytes[used..];
                    match decoder.next(rest, &self.limits)? {
                        Step::Data { skip, len } => {
                            decoder.consume(len);
                            used += skip + len;
                        }
                        Step::More { skip } => return Ok((used + skip, false)),
                        Step::End { skip, .. } => {
                            c.stage = Stage::Head;
                            return Ok((used + skip, true));
                        }
                    }
                }
            }
            Stage::UntilClose => Ok((bytes.len(), false)),
        }
    }

    /// A head that is not the last one again.
    fn head(&mut self, c: &mut Conn, bytes: &[u8]) -> Result<(usize, bool), Malformed> {
        let parsed = parse_response(bytes, &mut c.progress, &mut self.fields, &self.limits)?;
        let Some((response, used)) = parsed else { return Ok((0, false)) };
        if matches!(response.status, 100..=199) {
            return Ok((used, false));
        }
        let method = if self.plan.head_only { Method::Head } else { Method::Get };
        let framing = response.framing(method)?;
        (c.status, c.keep) = (response.status, framing.keep_alive);
        let length = match framing.body {
            Body::None => Some(0),
            Body::Length(length) => Some(length),
            Body::Chunked | Body::UntilClose => None,
        };
        if let (Some(length), true) = (length, c.keep) {
            self.memo.head.clear();
            self.memo.head.extend_from_slice(&bytes[..used]);
            (self.memo.status, self.memo.length) = (c.status, length);
        }
        c.stage = match framing.body {
            Body::None | Body::Length(0) => return Ok((used, true)),
            Body::Length(length) => Stage::Length(length),
            Body::Chunked => Stage::Coded(Decoder::new(framing.body, &self.limits)?),
            Body::UntilClose => Stage::UntilClose,
        };
        Ok((used, false))
    }

    /// So many bytes of answers came.
    fn read(&mut self, count: usize, now: Instant) {
        if now.since(self.began) >= self.plan.warm_up {
            self.tally.bytes += count as u64;
        }
    }

    /// An answer is whole.
    fn count(&mut self, asked: &Asked, status: u16, now: Instant) {
        self.done += 1;
        self.live.fetch_add(1, Ordering::Relaxed);
        if now.since(self.began) >= self.plan.warm_up {
            let late = self.pace.is_some().then(|| now.since(asked.sent));
            let second = (now.since(self.began) - self.plan.warm_up).as_secs() as usize;
            self.tally.answer(now.since(asked.due), late, status, second);
        }
    }
}

impl Protocol for Load {
    type Conn = Conn;

    fn on_open(&mut self, c: &mut Conn, io: &mut Io<'_>) {
        c.open = true;
        self.tally.connects += 1;
        self.send(c, io);
    }

    fn on_data(&mut self, c: &mut Conn, io: &mut Io<'_>, bytes: &mut [u8]) -> usize {
        let (mut used, now) = (0, io.env.now);
        while used < bytes.len() {
            let (n, whole) = match self.answer(c, &bytes[used..]) {
                Ok(step) => step,
                Err(_) => {
                    self.tally.errors.malformed += 1;
                    c.asked.pop_front();
                    io.abort(Close::Aborted);
                    return bytes.len();
                }
            };
            used += n;
            if whole {
                let Some(asked) = c.asked.pop_front() else {
                    // An answer to nothing.
                    self.tally.errors.malformed += 1;
                    io.abort(Close::Aborted);
                    return bytes.len();
                };
                self.count(&asked, c.status, now);
                if !c.keep {
                    self.read(used, now);
                    io.end();
                    return bytes.len();
                }
            } else if n == 0 {
                break;
            }
        }
        self.read(used, now);
        self.send(c, io);
        used
    }

    fn on_wake(&mut self, c: &mut Conn, io: &mut Io<'_>) {
        c.free = false;
        if c.open && c.keep {
            self.send(c, io);
        }
    }

    fn on_end(&mut self, c: &mut Conn, io: &mut Io<'_>) {
        if matches!(c.stage, Stage::UntilClose)
            && let Some(asked) = c.asked.pop_front()
        {
            (c.keep, c.stage) = (false, Stage::Head);
            self.count(&asked, c.status, io.env.now);
        }
        io.end();
    }

    fn on_close(&mut self, mut c: Conn, _: Id, env: &mut Env, why: Close) {
        let errors = self.tally.errors.all();
        if why.dial_error().is_some() {
            self.tally.errors.connect += 1;
            self.sent += 1;
        } else {
            // The server said that it would close: what was sent behind its last answer is for the
            // next connection. But an answer that has begun was to be whole.
            let lost = match (c.keep, &c.stage) {
                (true, _) => c.asked.len(),
                (false, Stage::Head) => 0,
                (false, _) => 1,
            };
            // What was malformed is counted, and gone.
            let lost = lost.min(c.asked.len());
            c.asked.drain(..lost);
            match why {
                Close::TimedOut => self.tally.errors.timeout += lost as u64,
                _ => self.tally.errors.read += lost as u64,
            }
            self.sent -= c.asked.len() as u64;
            if let Some(key) = self.pace {
                let back = &mut env.shared.get(key).back;
                back.extend(c.asked.iter().map(|asked| asked.due));
            }
        }
        if self.left() == 0 {
            return;
        }
        if self.tally.errors.all() == errors {
            return self.dial(env);
        }
        let (me, to) = (self.me, self.plan.to.clone());
        env.after(AGAIN, move |env| dial(env, me, &to));
    }
}

fn dial(env: &mut Env, me: Handle<Host<Load>>, to: &[SocketAddr]) {
    let conn = Conn {
        asked: VecDeque::new(),
        progress: Progress::new(),
        stage: Stage::Head,
        status: 0,
        keep: true,
        open: false,
        free: false,
    };
    match to {
        [only] => tcp::dial(env, me, *only, conn),
        _ => tcp::dial_any(env, me, to.to_vec(), conn),
    }
}
