//! Recording: a world that is asked, and what it answers written down.
//!
//! Rules of this file:
//! * An answer is written as a whole into one block, and a block with one write.
//! * Whatever becomes of the file, the loop goes on.

use crate::file::{Head, MAGIC, VERSION};
use crate::wire::{Answer, Call, put_number};
use loopwork_reactor::Instant;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// A block is written when it has so many bytes: few enough to be copied from a cache, enough
/// that the system call does not count.
pub const BLOCK: usize = 64 * 1024;
/// A block is written though it is not full, when the last one was so long ago, in nanoseconds:
/// what a crash may lose.
pub const FLUSH_EVERY: u64 = 250_000_000;
/// Length and checksum.
pub(crate) const BLOCK_HEAD: usize = 8;

/// A file that is being written. Dropping it ends it in order.
pub struct Recording {
    to: Box<dyn Write>,
    block: Vec<u8>,
    now: u64,
    flushed: u64,
    bytes: u64,
    failed: Option<io::Error>,
}

impl Recording {
    /// Begins a recording in a new file; one that is there is written over. All that was read is in
    /// it, passwords too, so a new one is for its owner alone.
    ///
    /// # Errors
    /// What the system says.
    pub fn create(path: &Path, head: &Head) -> io::Result<Recording> {
        let mut how = OpenOptions::new();
        how.write(true).create(true).truncate(true).mode(0o600);
        Recording::new(how.open(path)?, head)
    }

    /// Begins a recording anywhere. Each block is one write, of about [`BLOCK`] bytes.
    ///
    /// # Errors
    /// What `to` says.
    pub fn new(mut to: impl Write + 'static, head: &Head) -> io::Result<Recording> {
        to.write_all(MAGIC)?;
        to.write_all(&VERSION.to_le_bytes())?;
        let mut recording = Recording {
            to: Box::new(to),
            block: vec![0; BLOCK_HEAD],
            now: 0,
            flushed: 0,
            bytes: 12,
            failed: None,
        };
        head.put(&mut recording.block);
        recording.flush();
        match recording.failed.take() {
            Some(e) => Err(e),
            None => Ok(recording),
        }
    }

    /// Bytes written so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Why the recording ended early, if it has: from there on nothing was written.
    #[must_use]
    pub fn failed(&self) -> Option<&io::Error> {
        self.failed.as_ref()
    }

    /// Writes what waits.
    pub fn flush(&mut self) {
        self.flushed = self.now;
        let len = self.block.len() - BLOCK_HEAD;
        if len > 0 && self.failed.is_none() {
            let sum = crc32fast::hash(&self.block[BLOCK_HEAD..]);
            self.block[..4].copy_from_slice(&(len as u32).to_le_bytes());
            self.block[4..8].copy_from_slice(&sum.to_le_bytes());
            self.failed = self.to.write_all(&self.block).err();
            self.bytes += self.block.len() as u64;
        }
        self.block.truncate(BLOCK_HEAD);
    }

    /// The beginning of a call's entry: what follows is to be appended to what is returned.
    #[inline]
    pub(crate) fn call(&mut self, call: Call, key: u64) -> &mut Vec<u8> {
        if self.block.len() >= BLOCK {
            self.flush();
        }
        self.block.push(call as u8);
        put_number(&mut self.block, key);
        &mut self.block
    }

    /// The time as the difference to the last one, which never goes back.
    #[inline]
    pub(crate) fn now(&mut self, now: Instant) {
        let since = now.0.saturating_sub(self.now);
        self.now = now.0;
        self.call(Call::Now, 0);
        put_number(&mut self.block, since);
    }

    /// The loop is about to wait.
    #[inline]
    pub(crate) fn rest(&mut self) {
        if self.now - self.flushed >= FLUSH_EVERY {
            self.flush();
        }
    }

    /// Until when a poll waits, in the form that is compared.
    pub(crate) fn until(&self, until: Option<Instant>) -> u64 {
        until_key(until, self.now)
    }
}

/// 0 for without end, 1 for not at all, else how long after the time that was told last.
pub(crate) fn until_key(until: Option<Instant>, now: u64) -> u64 {
    match until {
        None => 0,
        Some(Instant(0)) => 1,
        Some(at) => at.0.saturating_sub(now).saturating_add(2),
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        self.call(Call::End, 0);
        self.flush();
    }
}

/// A world, and the recording of what it answers.
pub struct Recorder<W> {
    /// The world that is asked.
    pub world: W,
    /// Where its answers go.
    pub recording: Recording,
}

impl<W> Recorder<W> {
    /// Asks, and writes the answer down.
    pub(crate) fn ask<T: Answer>(
        &mut self,
        call: Call,
        key: u64,
        ask: impl FnOnce(&mut W) -> T,
    ) -> T {
        let answer = ask(&mut self.world);
        answer.put(self.recording.call(call, key));
        answer
    }
}
