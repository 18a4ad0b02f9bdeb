//! The protocol beneath a client: one connection to a server, carrying one exchange at a time.
//!
//! Rules of this file: those of the client, which it keeps; see there.

use super::pool::{Config, Pool, kept};
use super::tunnel::Refusals;
use super::{Exchange, Failure, INTERIM_MAX, Peer, Ticket};
use crate::core::{Body, Decoder, Fields, Progress, Step, encode, parse_response};
use loopwork_tcp::reactor::{Env, Id, Instant, Key};
use loopwork_tcp::{Close, Dial, Flow, Io, Out, Protocol, fail_dial};
use std::io::ErrorKind;
use std::time::Duration;

/// Where a request's body stands on the wire.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Upload {
    Length(u64),
    Chunked,
    /// A tunnel's: as it is, until its owner ends it.
    Raw,
    /// The response came instead of `100 Continue`: nobody wants the body.
    Withheld,
    Done,
}

/// The protocol beneath: connections to servers.
pub struct Wire {
    pub(super) pool: Key<Pool>,
    pub(super) fields: Fields,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It carries nothing.
    Free,
    /// The response's head is awaited.
    Head,
    /// Its body comes in.
    Body,
    /// It is a tunnel now; with whether the server has ended its side.
    Tunnel { ended: bool },
}

/// A connection to a server.
pub struct WireConn {
    to: Peer,
    at: Option<Ticket>,
    decoder: Decoder,
    progress: Progress,
    upload: Upload,
    /// Until when the body waits for `100 Continue`.
    expects: Option<Instant>,
    /// Until when the response's head has to be there, once the request is sent.
    head_by: Option<Instant>,
    /// How long it may be free after what it carries.
    keep: Duration,
    stage: Stage,
    interim: u8,
    /// It stands; before, it is being dialed.
    stands: bool,
    /// It was free for a while, or carried an exchange: its server may have closed it since.
    used: bool,
    /// Exchanges that are over.
    carried: u32,
    /// Something of the response came in.
    heard: bool,
}

impl WireConn {
    pub(super) fn new(to: Peer) -> Self {
        WireConn {
            to,
            at: None,
            decoder: Decoder::default(),
            progress: Progress::new(),
            upload: Upload::Done,
            expects: None,
            head_by: None,
            keep: Duration::ZERO,
            stage: Stage::Free,
            interim: 0,
            stands: false,
            used: false,
            carried: 0,
            heard: false,
        }
    }

    /// When something has to have happened, if `silent` is when silence is too long.
    fn deadline(&self, silent: Instant) -> Option<Instant> {
        match self.stage {
            Stage::Tunnel { .. } => None,
            _ => [self.expects, self.head_by].into_iter().flatten().chain([silent]).min(),
        }
    }
}

impl Wire {
    /// Takes a waiting exchange if it is free; sends what there is to send; reads if it may.
    fn pump(&mut self, c: &mut WireConn, io: &mut Io<'_>) {
        if io.ending() && !matches!(c.stage, Stage::Tunnel { .. }) {
            // A wake from before; nothing more goes out here.
            return;
        }
        let pool = io.env.shared.get(self.pool);
        if c.stage == Stage::Free {
            if pool.leaves(io.id, c.carried) {
                return io.abort(Close::Finished);
            }
            let Some(x) = Wire::take(pool, c, io.env.now) else {
                if pool.is_free(&c.to, io.id) {
                    return;
                }
                if pool.closing {
                    return io.end();
                }
                if !pool.free(&c.to, io.id) {
                    return io.abort(Close::Finished);
                }
                c.used = true;
                return io.set_deadline(Some(io.env.now.after(c.keep)));
            };
            (x.wire, x.carrier) = (Some(io.id), Some(io.id));
            let _ = io.out.write(&x.head);
        }
        let (timeout, head) = (pool.config.timeout, pool.config.head);
        let Some(x) = c.at.and_then(|t| pool.get(t)).filter(|x| x.failure.is_none()) else {
            let ended = c.stage == Stage::Tunnel { ended: true };
            return io.abort(if ended { Close::Finished } else { Close::Aborted });
        };
        // A tunnel's bytes wait until it stands, and a body for `100 Continue`.
        let opens = c.stage == Stage::Head && (x.connects || x.offers) && c.upload == Upload::Done;
        let mut ends = false;
        if !opens && c.expects.is_none() {
            let (go_on, fits) = Wire::send(x, &mut c.upload, &mut io.out);
            if go_on {
                io.env.calls.wake(x.owner);
            }
            if !fits {
                return io.abort(Close::Aborted);
            }
            ends = c.upload == Upload::Raw && x.up.ended() && x.up.is_empty();
        }
        if c.stage == Stage::Head && c.upload == Upload::Done && c.head_by.is_none() {
            c.head_by = head.map(|time| io.env.now.after(time));
        }
        io.wish.set_deadline(c.deadline(io.env.now.after(timeout)));
        let reads = !x.down.full();
        if ends {
            c.upload = Upload::Done;
            io.end();
        }
        if reads {
            io.resume();
        }
    }

    /// Sends what there is of an upload: whether its owner may go on, and whether it is as long as
    /// its head announced. If not, only a cut tells the server.
    fn send(x: &mut Exchange, upload: &mut Upload, out: &mut Out<'_>) -> (bool, bool) {
        let mut fits = true;
        let go_on = x.up.pull(out.flow(), |bytes| match upload {
            Upload::Chunked => encode::chunk(out.buffer(), bytes),
            Upload::Length(left) if bytes.len() as u64 <= *left => {
                *left -= bytes.len() as u64;
                out.buffer().extend_from_slice(bytes);
            }
            Upload::Raw => out.buffer().extend_from_slice(bytes),
            Upload::Withheld => {}
            Upload::Length(_) | Upload::Done => fits = false,
        });
        let ended = x.up.ended() && x.up.is_empty();
        match *upload {
            Upload::Chunked if ended => {
                let plain = x.last_chunk.is_empty();
                out.buffer().extend_from_slice(if plain { b"0\r\n\r\n" } else { &x.last_chunk });
                *upload = Upload::Done;
            }
            Upload::Length(0) => *upload = Upload::Done,
            Upload::Length(_) if ended => fits = false,
            _ => {}
        }
        (go_on, fits)
    }

    /// The next exchange that waits for this address, if its owner has not let go of it.
    fn take<'p>(pool: &'p mut Pool, c: &mut WireConn, now: Instant) -> Option<&'p mut Exchange> {
        let expect = pool.config.expect;
        let ticket = loop {
            let ticket = pool.next(&c.to, !c.used)?;
            if pool.get(ticket).is_some() {
                break ticket;
            }
        };
        let x = pool.get(ticket)?;
        (c.at, c.stage, c.interim, c.heard) = (Some(ticket), Stage::Head, 0, false);
        c.head_by = None;
        c.upload = match x.body {
            Body::Length(n) if n > 0 => Upload::Length(n),
            Body::Chunked => Upload::Chunked,
            _ => Upload::Done,
        };
        c.expects = (x.expects && c.upload != Upload::Done).then(|| now.after(expect));
        Some(x)
    }

    /// The response's head: whether to go on with what lies behind it.
    fn head(
        &mut self,
        c: &mut WireConn,
        io: &mut Io<'_>,
        bytes: &[u8],
        used: &mut usize,
    ) -> Result<bool, Failure> {
        let pool = io.env.shared.get(self.pool);
        let Config { limits, keep, timeout, .. } = pool.config;
        let Some(x) = c.at.and_then(|t| pool.get(t)) else { return Err(Failure::Closed) };
        c.heard = true;
        let parsed = parse_response(bytes, &mut c.progress, &mut self.fields, &limits);
        let Some((response, n)) = parsed.map_err(Failure::Malformed)? else { return Ok(false) };
        *used += n;
        let framing = response.framing(x.method()).map_err(Failure::Malformed)?;
        let switches = match response.status {
            101 if x.offers && framing.upgrade => true,
            101 => return Err(Failure::Unexpected(101)),
            status @ 100..=199 => {
                c.interim += 1;
                let long = x.interim.len() + n > limits.head_bytes as usize;
                if c.interim > INTERIM_MAX || long {
                    return Err(Failure::Unexpected(status));
                }
                if status == 100 && c.expects.take().is_some() {
                    io.env.calls.wake(io.id);
                }
                x.interim.extend_from_slice(&bytes[..n]);
                io.env.calls.wake(x.owner);
                return Ok(true);
            }
            status => x.connects && status < 300,
        };
        if c.expects.take().is_some() {
            c.upload = Upload::Withheld;
        }
        (c.head_by, c.keep) = (None, kept(keep, &response.headers));
        io.wish.set_deadline(c.deadline(io.env.now.after(timeout)));
        c.decoder = Decoder::new(framing.body, &limits).map_err(Failure::Malformed)?;
        x.head.clear();
        x.head.extend_from_slice(&bytes[..n]);
        x.framing = Some(framing);
        c.stage = Stage::Body;
        if switches {
            (c.stage, c.upload, x.tunnel) = (Stage::Tunnel { ended: false }, Upload::Raw, true);
            io.wish.set_deadline(None);
            io.env.calls.wake(io.id);
            if let Some(alarm) = x.alarm.take() {
                io.env.calls.cancel(alarm);
            }
        } else if x.connects || x.offers {
            // What was written for a tunnel that does not stand is nobody's.
            let _ = x.up.pull(Flow::Open, |_| {});
        }
        io.env.calls.wake(x.owner);
        Ok(true)
    }

    /// One step of its body: whether to go on with what lies behind it.
    fn body(
        &mut self,
        c: &mut WireConn,
        io: &mut Io<'_>,
        bytes: &[u8],
        used: &mut usize,
    ) -> Result<bool, Failure> {
        let pool = io.env.shared.get(self.pool);
        let limits = pool.config.limits;
        let Some(x) = c.at.and_then(|t| pool.get(t)) else { return Err(Failure::Closed) };
        match c.decoder.next(bytes, &limits).map_err(Failure::Malformed)? {
            Step::More { skip } => {
                *used += skip;
                Ok(false)
            }
            Step::Data { skip, len } => {
                let flow = x.down.push(&bytes[skip..skip + len]);
                c.decoder.consume(len);
                *used += skip + len;
                io.env.calls.wake(x.owner);
                if flow == Flow::Full {
                    io.pause();
                }
                // The end needs no byte that would bring it later: it is looked for at once.
                Ok(flow == Flow::Open || c.decoder.is_end())
            }
            Step::End { skip, trailers } => {
                x.trailers.extend_from_slice(&bytes[trailers]);
                *used += skip;
                let clean = skip == bytes.len();
                self.complete(c, io, clean);
                Ok(false)
            }
        }
    }

    /// Bytes of a tunnel.
    fn tunnel(&mut self, c: &WireConn, io: &mut Io<'_>, bytes: &[u8]) -> Result<bool, Failure> {
        let pool = io.env.shared.get(self.pool);
        let Some(x) = c.at.and_then(|t| pool.get(t)) else { return Err(Failure::Closed) };
        io.env.calls.wake(x.owner);
        if x.down.push(bytes) == Flow::Full {
            io.pause();
        }
        Ok(false)
    }

    /// The response is complete. `clean`: nothing lies behind it.
    fn complete(&mut self, c: &mut WireConn, io: &mut Io<'_>, clean: bool) {
        let pool = io.env.shared.get(self.pool);
        let Some(x) = c.at.and_then(|t| pool.get(t)) else { return io.abort(Close::Aborted) };
        let keep = x.framing.is_some_and(|f| f.keep_alive) && clean && !c.keep.is_zero();
        let keep = keep && c.upload == Upload::Done;
        x.over = true;
        x.wire = None;
        io.env.calls.wake(x.owner);
        (c.at, c.stage, c.used) = (None, Stage::Free, true);
        c.carried = c.carried.saturating_add(1);
        io.resume();
        if keep && !io.wish.ending() {
            self.pump(c, io);
        } else if matches!(c.upload, Upload::Done | Upload::Withheld) && clean {
            io.end();
        } else {
            io.abort(Close::Aborted);
        }
    }

    /// The exchange fails, and the connection with it.
    fn fail(&mut self, c: &mut WireConn, env: &mut Env, why: Failure) {
        let pool = env.shared.get(self.pool);
        let Some(x) = c.at.take().and_then(|t| pool.get(t)) else { return };
        x.wire = None;
        // Of a tunnel that its server has ended, what is still to be sent matters.
        let over = x.over && c.upload != Upload::Raw;
        if !over && x.failure.is_none() {
            x.failure = Some(why);
            env.calls.wake(x.owner);
        }
    }

    /// A kept connection that was dead already: its request goes to another one.
    fn retry(pool: &mut Pool, c: &mut WireConn) -> bool {
        let Some(ticket) = c.at else { return false };
        let Some(x) = pool.get(ticket) else { return false };
        if !c.used || c.heard || x.retried || !x.idempotent || x.failure.is_some() {
            return false;
        }
        (x.retried, x.wire) = (true, None);
        c.at = None;
        pool.ask_again(&c.to, ticket);
        true
    }
}

impl Protocol for Wire {
    type Conn = WireConn;

    fn on_open(&mut self, c: &mut WireConn, io: &mut Io<'_>) {
        c.stands = true;
        let pool = io.env.shared.get(self.pool);
        c.keep = pool.config.keep;
        pool.stands(&c.to);
        // A server that answers while it reads would wait for us, and we for it. What comes in is
        // bounded by the exchange's own pipe.
        io.read_when_full(true);
        self.pump(c, io);
    }

    fn on_wake(&mut self, c: &mut WireConn, io: &mut Io<'_>) {
        self.pump(c, io);
    }

    fn on_drain(&mut self, c: &mut WireConn, io: &mut Io<'_>) {
        self.pump(c, io);
    }

    fn on_data(&mut self, c: &mut WireConn, io: &mut Io<'_>, bytes: &mut [u8]) -> usize {
        let mut used = 0;
        let timeout = io.env.shared.get(self.pool).config.timeout;
        io.set_deadline(c.deadline(io.env.now.after(timeout)));
        while used < bytes.len() || c.stage == Stage::Body {
            let rest = &bytes[used..];
            let step = match c.stage {
                // Bytes that nobody asked for: the next response could not be told from them.
                Stage::Free => {
                    io.abort(Close::Aborted);
                    return bytes.len();
                }
                Stage::Head => self.head(c, io, rest, &mut used),
                Stage::Body => self.body(c, io, rest, &mut used),
                Stage::Tunnel { .. } => {
                    used = bytes.len();
                    self.tunnel(c, io, rest)
                }
            };
            match step {
                Ok(true) => {}
                Ok(false) => return used,
                Err(why) => {
                    self.fail(c, io.env, why);
                    io.abort(Close::Aborted);
                    return bytes.len();
                }
            }
        }
        used
    }

    fn keeps(&self, _: &WireConn, env: &mut Env) -> usize {
        env.shared.get(self.pool).config.limits.kept()
    }

    fn on_end(&mut self, c: &mut WireConn, io: &mut Io<'_>) {
        match c.stage {
            Stage::Free => io.end(),
            Stage::Body if c.decoder.finish().is_ok() => {
                io.end();
                self.complete(c, io, true);
            }
            Stage::Tunnel { .. } => {
                c.stage = Stage::Tunnel { ended: true };
                let pool = io.env.shared.get(self.pool);
                let Some(x) = c.at.and_then(|t| pool.get(t)) else { return };
                x.over = true;
                io.env.calls.wake(x.owner);
            }
            // No answer will come, or no more of it: what is still to be sent is not wanted.
            Stage::Head | Stage::Body => io.abort(Close::Aborted),
        }
    }

    fn on_timeout(&mut self, c: &mut WireConn, io: &mut Io<'_>) {
        if c.stage == Stage::Free {
            // Kept for long enough: a close, and no reset.
            return io.abort(Close::Finished);
        }
        if c.expects.take().is_some() {
            return self.pump(c, io);
        }
        let late = c.head_by.is_some_and(|at| at <= io.env.now);
        self.fail(c, io.env, if late { Failure::HeadTimedOut } else { Failure::TimedOut });
        io.abort(Close::TimedOut);
    }

    fn on_close(&mut self, mut c: WireConn, id: Id, env: &mut Env, why: Close) {
        let pool = env.shared.get(self.pool);
        pool.gone(&c.to, id, !c.stands);
        if !c.stands {
            c.at = pool.next(&c.to, true);
            let refused = env.shared.one::<Refusals>().0.get(&id).copied();
            let why = refused.map_or_else(|| Failure::before(why), Failure::Tunnel);
            self.fail(&mut c, env, why);
        } else if !Wire::retry(pool, &mut c) {
            self.fail(&mut c, env, Failure::Closed);
        }
        let pool = env.shared.get(self.pool);
        if let Some(to) = pool.due(&mut env.calls, &c.to) {
            dial(env, self.pool, to);
        }
    }
}

/// Dials a connection that was counted already.
pub(super) fn dial(env: &mut Env, key: Key<Pool>, to: Peer) {
    let pool = env.shared.get(key);
    let (plain, layered, timeout) = (pool.plain, pool.layered.clone(), pool.config.connect);
    let blocked = to.at.ip().is_some_and(|at| pool.block.check(at.ip()));
    let conn = WireConn::new(to.clone());
    let dial = Dial { to: to.at.clone(), from: None, timeout, conn };
    let Some(plain) = plain else { return };
    match (&to.name, layered) {
        _ if blocked => fail_dial(env, plain, ErrorKind::PermissionDenied, dial.conn),
        (Some(_), Some(layered)) => {
            if let Err((why, conn)) = layered(env, dial, &to) {
                fail_dial(env, plain, why, *conn);
            }
        }
        (Some(_), None) => fail_dial(env, plain, ErrorKind::Unsupported, dial.conn),
        (None, _) => dial.send(env, plain),
    }
}
