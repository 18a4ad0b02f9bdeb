//! Replay: the answers of a recording, one after the other, to the calls that were made then.
//!
//! Rules of this file:
//! * The first call that is not the recorded one ends the replay, and is told: whatever would come
//!   behind it is worth nothing.
//! * Behind its end every call has an answer still, an error where there can be one, so that the
//!   program under it comes to its own end. The poll fails, which ends a loop.

use crate::file::{Blocks, Head, Refused};
use crate::record::{BLOCK_HEAD, until_key};
use crate::wire::{Answer, Call, In, over};
use loopwork_reactor::Instant;
use loopwork_reactor::blocking::Job;
use std::fmt;
use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::Path;

/// Why a replay has ended.
#[derive(Debug)]
#[non_exhaustive]
pub enum Stop {
    /// Here the recording ended, in order.
    End,
    /// Here the file ends, in the middle: the recorded program died, or is running still.
    Cut(u64),
    /// This many turns were wanted.
    Turn,
    /// The program does not do what it did.
    Diverged {
        /// What it did then.
        recorded: String,
        /// What it does now.
        came: String,
    },
    /// Another thread has sent something to this driver, and what it was is not recorded.
    Post(u16),
    /// The file is not what was written.
    Refused(Refused),
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stop::End => f.write_str("the recording's end"),
            Stop::Cut(at) => write!(f, "the file ends at byte {at}, before the recorded run did"),
            Stop::Turn => f.write_str("the turn that was asked for"),
            Stop::Diverged { recorded, came } => {
                write!(f, "the program does something else: recorded is {recorded}, came {came}")
            }
            Stop::Post(driver) => write!(
                f,
                "another thread has sent driver {driver} something that cannot be recorded"
            ),
            Stop::Refused(why) => write!(f, "the recording is refused here: {why}"),
        }
    }
}

/// A recording that is read back.
pub struct Replay {
    blocks: Blocks,
    head: Head,
    block: Vec<u8>,
    at: usize,
    now: u64,
    turn: u64,
    last: u64,
    calls: u64,
    stop: Option<Stop>,
    /// Jobs that went to another thread, and are run when their answers came.
    pub(crate) jobs: Vec<Job>,
}

impl Replay {
    /// Opens a recording.
    ///
    /// # Errors
    /// It is none, or of another version, or its beginning is damaged.
    pub fn open(path: &Path) -> Result<Replay, Refused> {
        Replay::new(io::BufReader::new(File::open(path)?))
    }

    /// The recording that these bytes are.
    ///
    /// # Errors
    /// As [`Replay::open`].
    pub fn of_bytes(bytes: impl AsRef<[u8]> + 'static) -> Result<Replay, Refused> {
        Replay::new(Cursor::new(bytes))
    }

    /// Reads a recording from anywhere.
    ///
    /// # Errors
    /// As [`Replay::open`].
    pub fn new(from: impl Read + 'static) -> Result<Replay, Refused> {
        let (blocks, head) = Blocks::open(Box::new(from))?;
        let (block, jobs, stop) = (Vec::new(), Vec::new(), None);
        let (at, now, turn, calls, last) = (0, 0, 0, 0, u64::MAX);
        let mut replay = Replay { blocks, head, block, at, now, turn, last, calls, stop, jobs };
        // Without a first answer a program would not even begin to run, and could not tell why.
        replay.load();
        match replay.stop.take() {
            Some(Stop::Refused(why)) => Err(why),
            Some(Stop::Cut(at)) => Err(Refused::Damaged(at)),
            _ => Ok(replay),
        }
    }

    /// What the recording says of itself.
    #[must_use]
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Stops before the poll that would begin another turn than these.
    #[must_use]
    pub fn to_turn(mut self, last: u64) -> Replay {
        self.last = last;
        self
    }

    /// Polls so far: the number of the turn that runs.
    #[must_use]
    pub fn turn(&self) -> u64 {
        self.turn
    }

    /// Calls so far that had their answer in the recording.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.calls
    }

    /// Why it has ended; `None` while it goes on.
    #[must_use]
    pub fn stopped(&self) -> Option<&Stop> {
        self.stop.as_ref()
    }

    /// Whether it has come to the recording's end, and the program asks for nothing more.
    pub fn finished(&mut self) -> bool {
        if self.stop.is_none() && self.load() && self.block[self.at] == Call::End as u8 {
            self.stop = Some(Stop::End);
        }
        matches!(self.stop, Some(Stop::End))
    }

    pub(crate) fn stop(&mut self, why: Stop) {
        self.stop.get_or_insert(why);
    }

    /// There is an entry to be read.
    fn load(&mut self) -> bool {
        while self.stop.is_none() && self.at == self.block.len() {
            self.at = 0;
            match self.blocks.next(&mut self.block) {
                Ok(true) => {}
                Ok(false) => self.stop(Stop::Cut(self.blocks.at())),
                Err(why) => self.stop(Stop::Refused(why)),
            }
        }
        self.stop.is_none()
    }

    /// The recorded answer to this call, read by `take`; `None` when the replay is over.
    pub(crate) fn entry<T>(
        &mut self,
        call: Call,
        key: u64,
        take: impl FnOnce(&mut In<'_>) -> Option<T>,
    ) -> Option<T> {
        if !self.load() {
            return None;
        }
        let mut from = In(&self.block[self.at..]);
        let head = from.byte().and_then(Call::of).zip(from.number());
        if head == Some((Call::End, 0)) {
            self.stop(Stop::End);
            return None;
        }
        if let Some((recorded, of)) = head
            && (recorded, of) != (call, key)
        {
            let (recorded, came) = (name(recorded, of), name(call, key));
            self.stop(Stop::Diverged { recorded, came });
            return None;
        }
        let answer = head.and_then(|_| take(&mut from));
        self.at = self.block.len() - from.0.len();
        self.calls += 1;
        if answer.is_none() {
            // Its checksum holds, so it was written so; all the same it says nothing.
            self.stop(Stop::Refused(Refused::Damaged(self.block_at())));
        }
        answer
    }

    /// Where the block begins that is being read.
    pub(crate) fn block_at(&self) -> u64 {
        self.blocks.at().saturating_sub(BLOCK_HEAD as u64 + self.block.len() as u64)
    }

    pub(crate) fn answer<T: Answer>(&mut self, call: Call, key: u64) -> T {
        self.entry(call, key, T::take).unwrap_or_else(T::none)
    }

    pub(crate) fn now(&mut self) -> Instant {
        let since = self.entry(Call::Now, 0, |from| from.number()).unwrap_or(1);
        self.now = self.now.saturating_add(since).max(1);
        Instant(self.now)
    }

    /// A turn begins.
    pub(crate) fn begin_turn(&mut self, until: Option<Instant>) -> io::Result<u64> {
        if self.turn >= self.last {
            self.stop(Stop::Turn);
        }
        if self.stop.is_some() {
            return Err(over());
        }
        self.turn += 1;
        Ok(until_key(until, self.now))
    }
}

/// A call as one reads it: calls are told apart by a number, of a socket or of all they were
/// asked with.
fn name(call: Call, key: u64) -> String {
    format!("{call:?}({key:#x})")
}
