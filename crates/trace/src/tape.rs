//! The world around a world: it passes calls on, or records their answers, or has them recorded.
//!
//! Rules of this file:
//! * A call is told apart by its method and a key: the socket, or a checksum of all that it was
//!   asked with. A replay gives an answer only to the call that it was given to.
//! * What is asked of the world here is what the loop asked, in its order, and nothing else.

use crate::file::Refused;
use crate::mail::Letter;
use crate::record::{Recorder, Recording};
use crate::replay::{Replay, Stop};
use crate::wire::{Answer, Call, Part, over, put_error, put_number};
use crc32fast::Hasher;
use loopwork_reactor::blocking::{Done, Job};
use loopwork_reactor::{Fd, Id, Instant, Mail, Mailbox, Ready, World};
use std::fmt::{Debug, Write};
use std::io;
use std::time::Duration;

/// A world that may be recorded, or replayed.
pub enum Tape<W> {
    /// It is asked, and nothing is kept.
    Live(W),
    /// It is asked, and its answers are written down.
    Recording(Box<Recorder<W>>),
    /// There is none: the answers are those of a recording.
    Replaying(Box<Replay>),
}

impl<W> Tape<W> {
    /// Records what this world answers.
    pub fn record(world: W, recording: Recording) -> Tape<W> {
        Tape::Recording(Box::new(Recorder { world, recording }))
    }

    /// Gives a recording's answers.
    #[must_use]
    pub fn replay(replay: Replay) -> Tape<W> {
        Tape::Replaying(Box::new(replay))
    }

    /// The world that is asked; none in a replay.
    pub fn world(&mut self) -> Option<&mut W> {
        match self {
            Tape::Live(world) => Some(world),
            Tape::Recording(recorder) => Some(&mut recorder.world),
            Tape::Replaying(_) => None,
        }
    }

    /// The replay, if this is one.
    pub fn replaying(&mut self) -> Option<&mut Replay> {
        match self {
            Tape::Replaying(replay) => Some(replay),
            _ => None,
        }
    }

    /// The recording, if this is one.
    pub fn recording(&mut self) -> Option<&mut Recording> {
        match self {
            Tape::Recording(recorder) => Some(&mut recorder.recording),
            _ => None,
        }
    }

    /// Records a number that a program has from elsewhere, past the traits: whatever it decides by
    /// must be the same in a replay. 0 behind a replay's end.
    pub fn also(&mut self, ask: impl FnOnce(&mut W) -> u64) -> u64 {
        self.call(Call::Also, || 0, ask)
    }

    #[inline(always)]
    pub(crate) fn call<T: Answer>(
        &mut self,
        call: Call,
        key: impl FnOnce() -> u64,
        ask: impl FnOnce(&mut W) -> T,
    ) -> T {
        match self {
            Tape::Live(world) => ask(world),
            Tape::Recording(recorder) => recorder.ask(call, key(), ask),
            Tape::Replaying(replay) => replay.answer(call, key()),
        }
    }

    /// A call that is about one socket and nothing else.
    #[inline(always)]
    pub(crate) fn of<T: Answer>(&mut self, call: Call, fd: Fd, ask: impl FnOnce(&mut W) -> T) -> T {
        self.call(call, || fd.0.into(), ask)
    }
}

/// All that a call was asked with, as a number. For what is rare: it is printed for that.
pub(crate) fn key(asked: &dyn Debug) -> u64 {
    struct Sum(Hasher);
    impl Write for Sum {
        fn write_str(&mut self, text: &str) -> std::fmt::Result {
            self.0.update(text.as_bytes());
            Ok(())
        }
    }
    let mut sum = Sum(Hasher::new());
    // Neither the checksum nor anyone's `Debug` fails.
    let _ = write!(sum, "{asked:?}");
    sum.0.finalize().into()
}

impl Replay {
    /// Something was asked otherwise than it was then.
    fn diverged(&mut self, what: &str, recorded: u64, came: u64) {
        let (recorded, came) = (format!("{what} {recorded}"), format!("{what} {came}"));
        self.stop(Stop::Diverged { recorded, came });
    }

    /// A write of so many bytes, whose checksum up to a length is `sum`.
    pub(crate) fn write(
        &mut self,
        call: Call,
        fd: Fd,
        len: usize,
        sum: impl Fn(usize) -> u32,
    ) -> Wrote {
        let asked = self.entry(call, fd.0.into(), |from| {
            Some((from.number()?, from.small::<u32>()?, Wrote::take(from)?))
        });
        let Some((asked, wrote, answer)) = asked else { return Wrote::none() };
        if asked != len as u64 {
            self.diverged("a write of bytes", asked, len as u64);
            return Wrote::none();
        }
        if answer.as_ref().is_ok_and(|n| *n > len) {
            self.stop(Stop::Refused(Refused::Damaged(self.block_at())));
            return Wrote::none();
        }
        let ours = answer.as_ref().map_or(0, |n| sum(*n));
        if ours != wrote {
            self.diverged("a write with the checksum", wrote.into(), ours.into());
            return Wrote::none();
        }
        answer
    }

    fn poll(&mut self, until: Option<Instant>, ready: &mut Vec<Ready>) -> io::Result<()> {
        let key = self.begin_turn(until)?;
        let told = self.entry(Call::Poll, key, |from| {
            let outcome = <io::Result<u32>>::take(from)?;
            let mut told = || Ready::take(from);
            Some(match outcome {
                Ok(count) => Ok((0..count).map(|_| told()).collect::<Option<Vec<_>>>()?),
                Err(e) => Err(e),
            })
        });
        ready.append(&mut told.unwrap_or_else(|| Err(over()))?);
        Ok(())
    }
}

pub(crate) type Wrote = io::Result<usize>;

impl Recording {
    pub(crate) fn wrote(&mut self, call: Call, fd: Fd, len: usize, sum: u32, answer: &Wrote) {
        let out = self.call(call, fd.0.into());
        put_number(out, len as u64);
        put_number(out, sum.into());
        answer.put(out);
    }
}

impl<W: World> World for Tape<W> {
    #[inline]
    fn now(&mut self) -> Instant {
        match self {
            Tape::Live(world) => world.now(),
            Tape::Recording(recorder) => {
                let now = recorder.world.now();
                recorder.recording.now(now);
                now
            }
            Tape::Replaying(replay) => replay.now(),
        }
    }

    fn unix_time(&mut self) -> Duration {
        self.call(Call::UnixTime, || 0, W::unix_time)
    }

    #[inline]
    fn poll(&mut self, until: Option<Instant>, ready: &mut Vec<Ready>) -> io::Result<()> {
        match self {
            Tape::Live(world) => world.poll(until, ready),
            Tape::Recording(recorder) => {
                recorder.recording.rest();
                let before = ready.len();
                let outcome = recorder.world.poll(until, ready);
                let key = recorder.recording.until(until);
                let out = recorder.recording.call(Call::Poll, key);
                match &outcome {
                    Ok(()) => {
                        let told = &ready[before..];
                        Ok::<_, io::Error>(told.len() as u32).put(out);
                        told.iter().for_each(|ready| ready.put(out));
                    }
                    Err(e) => put_error(out, e),
                }
                outcome
            }
            Tape::Replaying(replay) => replay.poll(until, ready),
        }
    }

    fn random(&mut self, into: &mut [u8]) {
        let key = into.len() as u64;
        match self {
            Tape::Live(world) => world.random(into),
            Tape::Recording(recorder) => {
                recorder.world.random(into);
                recorder.recording.call(Call::Random, key).extend_from_slice(into);
            }
            Tape::Replaying(replay) => {
                replay.entry(Call::Random, key, |from| {
                    into.copy_from_slice(from.bytes(into.len())?);
                    Some(())
                });
            }
        }
    }

    fn close(&mut self, fd: Fd) {
        self.of(Call::Close, fd, |w| w.close(fd));
    }

    fn watch_signals(&mut self, signals: &[i32], id: Id) -> io::Result<()> {
        let key = || key(&(signals, id));
        self.call(Call::WatchSignals, key, |w| w.watch_signals(signals, id))
    }

    fn next_signal(&mut self, watch: Id) -> Option<i32> {
        self.call(Call::NextSignal, || key(&watch), |w| w.next_signal(watch))
    }

    fn mailbox(&mut self) -> io::Result<Mailbox> {
        self.call(Call::Mailbox, || 0, W::mailbox)
    }

    fn offload(&mut self, job: Job) -> io::Result<Option<Done>> {
        match self {
            Tape::Live(world) => world.offload(job),
            Tape::Recording(recorder) => {
                let key = job.number();
                let outcome = recorder.world.offload(job);
                let out = recorder.recording.call(Call::Offload, key);
                match &outcome {
                    Ok(done) => Ok::<_, io::Error>(done.is_some()).put(out),
                    Err(e) => put_error(out, e),
                }
                outcome
            }
            Tape::Replaying(replay) => replay.offload(job),
        }
    }

    fn mail(&mut self, into: &mut Vec<Mail>) {
        match self {
            Tape::Live(world) => world.mail(into),
            Tape::Recording(recorder) => {
                let before = into.len();
                recorder.world.mail(into);
                let out = recorder.recording.call(Call::Mail, 0);
                put_number(out, (into.len() - before) as u64);
                into[before..].iter().for_each(|mail| Letter::of(mail).put(out));
            }
            Tape::Replaying(replay) => replay.mail(into),
        }
    }
}
