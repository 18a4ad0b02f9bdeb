//! How long a connection waits, for what, and what becomes of it then.
//!
//! Rules of this file:
//! * Every wait has a deadline, and there is one deadline: what it means follows from the stage.
//! * Who is slow is told apart from whom we stopped: a window in which we did not read, or had
//!   nothing to send, accuses nobody.
//! * A message costs no look at these: rates are looked at when a window ends.

use crate::app::{App, Upgrade};
use crate::config::Config;
use crate::server::{Http, Serving, Stage};
use loopwork_tcp::reactor::Instant;
use loopwork_tcp::{Close, Flow, Io};
use std::time::Duration;

/// What a peer was too late with: see [`App::on_late`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Late {
    /// A head was not whole in [`Config::head_timeout`]; it is answered with 408. Or a proxy did
    /// not say in that time for whom it comes.
    Head,
    /// A body was not whole in [`Config::body_timeout`]; answered likewise, if no answer began.
    Body,
    /// A body came slower than [`Config::upload_rate`]; likewise.
    Upload,
    /// It took a response slower than [`Config::download_rate`], or none of it in
    /// [`Config::write_timeout`]; it is cut off.
    Download,
}

/// What is remembered of a wait.
#[derive(Default)]
pub(crate) struct Wait {
    /// Bytes received, or sent, when the window began: of a body the first, else the second.
    mark: u64,
    /// By then the body has to be in; or, between two exchanges, some of what waits be taken.
    until: Instant,
    /// Of a body: we did not read for a part of the window. Else: output waited when the window
    /// began, and has not run dry.
    held: bool,
}

/// What passes in a window at this rate, in bytes.
fn in_window(rate: u64, window: Duration) -> u64 {
    let bytes = u128::from(rate) * window.as_millis() / 1000;
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

impl Config {
    /// A body is awaited.
    pub(crate) fn await_body(&self, wait: &mut Wait, io: &mut Io<'_>) {
        wait.until = io.env.now.after(self.body_timeout);
        self.body_window(wait, io);
    }

    fn body_window(&self, wait: &mut Wait, io: &mut Io<'_>) {
        (wait.mark, wait.held) = (io.count.received, false);
        let window = io.env.now.after(self.rate_window);
        let rated = self.upload_rate > 0 && window < wait.until;
        io.set_deadline(Some(if rated { window } else { wait.until }));
    }

    /// Bytes that have to be taken of a response in each `write_timeout`.
    pub(crate) fn least_download(&self) -> u64 {
        in_window(self.download_rate, self.write_timeout)
    }

    /// The reader of a response is awaited, or whoever has to go on with it.
    pub(crate) fn await_reader(&self, wait: &mut Wait, io: &mut Io<'_>) {
        (wait.mark, wait.held) = (io.count.sent, false);
        io.set_deadline(Some(io.env.now.after(self.write_timeout)));
    }

    /// An exchange is over, and another may follow.
    #[inline]
    pub(crate) fn await_next(&self, wait: &mut Wait, io: &mut Io<'_>) {
        (wait.mark, wait.held) = (io.count.sent, false);
        // Who is slow to read has the time for that first, and is idle from the drain on.
        wait.until = io.env.now.after(self.write_timeout);
        let full = io.flow() == Flow::Full;
        let idle = io.env.now.after(self.keep_alive);
        io.set_deadline(Some(if full { wait.until } else { idle }));
        io.resume();
    }
}

impl Wait {
    /// While a body comes in: are we the ones who hold it up?
    #[inline]
    pub(crate) fn look(&mut self, expected: bool, io: &Io<'_>) {
        self.held |= expected || io.paused() || io.flow() == Flow::Full;
    }

    /// All that waited went out.
    #[inline]
    pub(crate) fn dry(&mut self) {
        self.held = false;
    }

    /// A window of a body ended: what the peer is too late with.
    fn body_late(&self, config: &Config, io: &Io<'_>) -> Option<Late> {
        if io.env.now >= self.until {
            return Some(Late::Body);
        }
        let least = in_window(config.upload_rate, config.rate_window);
        let slow = io.count.received.saturating_sub(self.mark) < least;
        (slow && !self.held).then_some(Late::Upload)
    }

    /// A window of a reader ended: has it taken too little of what waited?
    fn reader_late(&mut self, config: &Config, io: &mut Io<'_>) -> bool {
        let waits = !io.out.buffer().is_empty();
        let moved = io.count.sent.saturating_sub(std::mem::replace(&mut self.mark, io.count.sent));
        let waited = std::mem::replace(&mut self.held, waits);
        let least = config.least_download();
        waits && (moved == 0 || (waited && moved < least))
    }
}

impl<A: App, U: Upgrade> Http<A, U> {
    /// The deadline passed in HTTP.
    pub(crate) fn timeout(&mut self, s: &mut Serving<A::Exchange>, io: &mut Io<'_>) {
        match s.stage {
            Stage::Exchange if !s.ended => {
                s.wait.look(s.sending.expect, io);
                match s.wait.body_late(&self.config, io) {
                    Some(late) => self.late(s, io, late, "the body took too long"),
                    None => self.config.body_window(&mut s.wait, io),
                }
            }
            Stage::Head if !s.progress.is_idle() => {
                self.late(s, io, Late::Head, "the head took too long");
            }
            // Nobody is there to be answered.
            Stage::Proxy => {
                self.app.on_late(io.env, io.id, Late::Head);
                io.abort(Close::TimedOut);
            }
            // Of a drain the deadline is not ours.
            Stage::Linger => {}
            Stage::Head if io.out.buffer().is_empty() => self.linger(s, io),
            // It would have been idle for long enough, but has not got its answer.
            Stage::Head if io.env.now < s.wait.until => io.set_deadline(Some(s.wait.until)),
            Stage::Head | Stage::Exchange => {
                if s.wait.reader_late(&self.config, io) {
                    self.app.on_late(io.env, io.id, Late::Download);
                    return io.abort(Close::TimedOut);
                }
                io.set_deadline(Some(io.env.now.after(self.config.write_timeout)));
            }
        }
    }

    fn late(&mut self, s: &mut Serving<A::Exchange>, io: &mut Io<'_>, late: Late, text: &str) {
        self.app.on_late(io.env, io.id, late);
        self.refuse(s, io, &[], 408, &[], text);
    }
}
