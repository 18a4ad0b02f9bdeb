//! One thread's load: connections that ask the same thing over and over, whatever they speak.
//!
//! Rules of this file:
//! * A request is encoded once. What a turn owes a connection leaves in one write, and a read is
//!   taken apart as far as it goes, so that the load is not what is measured.
//! * Where an answer ends is for the [`Speech`] to say; what is asked when, and what counts, is
//!   the same for all.
//! * With a rate requests are due at instants that are fixed beforehand, and wait for their
//!   answers from there, whether a connection was free or not: a server that stalls is not spared
//!   the requests that it would have got meanwhile (coordinated omission).

use super::pace::Pace;
use super::tally::Tally;
use crate::tls::Dialing;
use loopwork::reactor::Key;
use loopwork::tcp::{self, Close, Host, Io, Protocol};
use loopwork::{Env, Handle, Id, Instant};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
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
    /// By TLS.
    pub(super) secure: Option<Dialing>,
    /// As it goes out.
    pub(super) request: Vec<u8>,
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

/// A request that is out.
pub(super) struct Asked {
    /// When it had to go out, and when it did.
    pub(super) due: Instant,
    pub(super) sent: Instant,
}

/// What came is not what the protocol allows.
pub(super) struct Bad;

/// What bytes that came amount to.
pub(super) enum Heard {
    /// A part of something; if none of them was used, more have to come first.
    Part,
    /// Requests may be sent from now on.
    Ready,
    /// An answer, with its status if it has one.
    Answer(Option<u16>),
    /// The server has ended the conversation.
    Over,
}

/// A protocol with requests and answers in order.
pub(super) trait Speech: 'static {
    /// Where one connection stands.
    type Conn: 'static;

    /// Of a connection that is dialed.
    fn begin() -> Self::Conn;

    /// The connection stands; whether requests may be sent at once.
    fn open(&mut self, conn: &mut Self::Conn, io: &mut Io<'_>) -> bool;

    /// Takes what came further, one step: how many bytes it took, and what that was.
    fn hear(
        &mut self,
        conn: &mut Self::Conn,
        io: &mut Io<'_>,
        bytes: &[u8],
    ) -> Result<(usize, Heard), Bad>;

    /// The stream has ended: the status of the answer that it completes, if it does.
    fn ended(&mut self, conn: &mut Self::Conn) -> Option<u16>;

    /// Whether more may be asked on this connection.
    fn keeps(&self, conn: &Self::Conn) -> bool;

    /// Whether an answer has begun.
    fn begun(&self, conn: &Self::Conn) -> bool;

    /// Nothing more will be asked: what is said before the stream ends.
    fn bye(&mut self, io: &mut Io<'_>);
}

pub(super) struct Conn<C> {
    asked: VecDeque<Asked>,
    speech: C,
    /// Requests may be sent.
    open: bool,
    /// Nothing more is asked or heard.
    over: bool,
    /// It is among those who are free.
    free: bool,
}

/// How a connection is dialed.
pub(super) type Dialer<C> = Rc<dyn Fn(&mut Env, Conn<C>)>;

/// The load of one thread, a protocol.
pub(super) struct Load<S: Speech> {
    dial: Dialer<S::Conn>,
    plan: Plan,
    speech: S,
    /// The request as often as it may go out at once.
    batch: Vec<u8>,
    pace: Option<Key<Pace>>,
    sent: u64,
    /// Answers, those of the warm-up among them.
    done: u64,
    began: Instant,
    tally: Tally,
    /// Answers, for whoever shows how it goes.
    live: Arc<AtomicU64>,
}

impl<S: Speech> Load<S> {
    pub(super) fn new(
        dial: Dialer<S::Conn>,
        plan: Plan,
        speech: S,
        live: Arc<AtomicU64>,
    ) -> Load<S> {
        let batch = plan.request.repeat(plan.depth);
        Load {
            dial,
            plan,
            speech,
            batch,
            pace: None,
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
        (self.dial)(env, begin::<S>());
    }

    /// Requests that may still go out.
    fn left(&self) -> u64 {
        self.plan.requests.map_or(u64::MAX, |all| all.saturating_sub(self.sent))
    }

    /// Sends what is due here.
    fn send(&mut self, c: &mut Conn<S::Conn>, io: &mut Io<'_>) {
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
            c.over = true;
            self.speech.bye(io);
            io.end();
        }
    }

    /// What came is no answer to anything. Before requests may be sent it is the connection that
    /// fails, which is told when it closes.
    #[cold]
    fn malformed(&mut self, c: &mut Conn<S::Conn>, io: &mut Io<'_>) {
        if c.open {
            self.tally.errors.malformed += 1;
            c.asked.pop_front();
        }
        c.over = true;
        io.abort(Close::Aborted);
    }

    /// So many bytes of answers came.
    fn read(&mut self, count: usize, now: Instant) {
        if now.since(self.began) >= self.plan.warm_up {
            self.tally.bytes += count as u64;
        }
    }

    /// An answer is whole.
    fn count(&mut self, asked: &Asked, status: Option<u16>, now: Instant) {
        self.done += 1;
        self.live.fetch_add(1, Ordering::Relaxed);
        if now.since(self.began) >= self.plan.warm_up {
            let late = self.pace.is_some().then(|| now.since(asked.sent));
            let second = (now.since(self.began) - self.plan.warm_up).as_secs() as usize;
            self.tally.answer(now.since(asked.due), late, status, second);
        }
    }
}

impl<S: Speech> Protocol for Load<S> {
    type Conn = Conn<S::Conn>;

    fn on_open(&mut self, c: &mut Self::Conn, io: &mut Io<'_>) {
        self.tally.connects += 1;
        c.open = self.speech.open(&mut c.speech, io);
        match c.open {
            true => self.send(c, io),
            false => io.set_deadline(Some(io.env.now.after(self.plan.timeout))),
        }
    }

    fn on_data(&mut self, c: &mut Self::Conn, io: &mut Io<'_>, bytes: &mut [u8]) -> usize {
        let (mut used, now) = (0, io.env.now);
        while used < bytes.len() && !c.over {
            let heard = match self.speech.hear(&mut c.speech, io, &bytes[used..]) {
                Ok((n, heard)) => {
                    used += n;
                    (heard, n)
                }
                Err(Bad) => {
                    self.malformed(c, io);
                    return bytes.len();
                }
            };
            match heard {
                (Heard::Part, 0) => break,
                (Heard::Part, _) => {}
                (Heard::Ready, _) => c.open = true,
                (Heard::Over, _) => {
                    c.over = true;
                    io.end();
                }
                (Heard::Answer(status), _) => {
                    let Some(asked) = c.asked.pop_front() else {
                        // An answer to nothing.
                        self.malformed(c, io);
                        return bytes.len();
                    };
                    self.count(&asked, status, now);
                    if !self.speech.keeps(&c.speech) {
                        c.over = true;
                        io.end();
                    }
                }
            }
        }
        self.read(used, now);
        if c.over {
            return bytes.len();
        }
        if c.open {
            self.send(c, io);
        }
        used
    }

    fn on_wake(&mut self, c: &mut Conn<S::Conn>, io: &mut Io<'_>) {
        c.free = false;
        if c.open && !c.over {
            self.send(c, io);
        }
    }

    fn on_end(&mut self, c: &mut Conn<S::Conn>, io: &mut Io<'_>) {
        if !c.asked.is_empty()
            && let Some(status) = self.speech.ended(&mut c.speech)
            && let Some(asked) = c.asked.pop_front()
        {
            self.count(&asked, status.into(), io.env.now);
        }
        c.over = true;
        io.end();
    }

    fn on_close(&mut self, mut c: Self::Conn, _: Id, env: &mut Env, why: Close) {
        let errors = self.tally.errors.all();
        // One that was never ready for a request did not come about either.
        if why.dial_error().is_some() || !c.open {
            self.tally.errors.connect += 1;
            self.sent += 1;
        } else {
            // The server said that it would close: what was sent behind its last answer is for the
            // next connection. But an answer that has begun was to be whole.
            let keeps = self.speech.keeps(&c.speech);
            let lost = match (keeps, self.speech.begun(&c.speech)) {
                (true, _) => c.asked.len(),
                (false, begun) => usize::from(begun),
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
        let dial = self.dial.clone();
        env.after(AGAIN, move |env| dial(env, begin::<S>()));
    }
}

/// A connection that is to be dialed.
fn begin<S: Speech>() -> Conn<S::Conn> {
    Conn { asked: VecDeque::new(), speech: S::begin(), open: false, over: false, free: false }
}

/// Dials to the first of these that answers.
pub(super) fn dial<P: Protocol>(
    env: &mut Env,
    host: Handle<Host<P>>,
    to: &[SocketAddr],
    conn: P::Conn,
) {
    match to {
        [only] => tcp::dial(env, host, *only, conn),
        _ => tcp::dial_any(env, host, to.to_vec(), conn),
    }
}
