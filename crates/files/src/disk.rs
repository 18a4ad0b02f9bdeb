//! Whether a file's bytes are in memory, and how they come there without the loop's waiting.
//!
//! Rules of this file:
//! * The loop's thread only asks; what has to be read is read by a thread that may block.
//! * Who asks is not told *no* wrongly for long: what was read is sent without being asked again.
//! * A question is cheap beside what it is about: one for each [`STRIDE`]. So a gap between two of
//!   them, which somebody else's reading has left, is not seen, and costs the loop its reading.

use loopwork_http::tcp::reactor::{Env, Id};
use std::collections::VecDeque;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// Bytes of which one is asked for: what a disk reads in a few milliseconds.
pub(crate) const STRIDE: u64 = 1024 * 1024;
/// What is handed over at once of a file in memory, at most: a peer that takes a minute for it
/// finds the last of it still there, since what was looked at a minute ago is not what goes first.
pub(crate) const WINDOW: u64 = 16 * STRIDE;
/// What one job reads: large enough that a thread's wake is nothing beside it, and small enough
/// that the first bytes leave soon.
const PIECE: u64 = 2 * STRIDE;
/// One read of a job.
const BUFFER: usize = 128 * 1024;
/// Who is woken when a job has ended, of those for whom there was none.
const WOKEN: usize = 8;

/// The disk, or what a test puts in its place.
pub(crate) struct Disk {
    /// Whether the byte at this offset is in memory, or is none of the file.
    pub(crate) has: fn(&File, u64) -> bool,
    /// Reads a range, and waits until it is there.
    pub(crate) read: fn(&File, Range<u64>),
}

/// The one that there is.
pub(crate) static DISK: Disk = Disk { has, read };

/// Who waits for a job of the loop's, which has them in common.
#[derive(Default)]
struct Jobs {
    under_way: usize,
    waiting: VecDeque<Id>,
}

impl Disk {
    /// So much of the range, from its beginning, seems to be in memory, up to a [`WINDOW`].
    pub(crate) fn hot(&self, file: &File, range: &Range<u64>) -> u64 {
        let most = range.end.min(range.start.saturating_add(WINDOW));
        let mut at = range.start;
        while at < most && (self.has)(file, at) {
            at = most.min(at.saturating_add(STRIDE));
        }
        at
    }

    /// Begins to read a range in a thread that may block, as much as one job reads; where that
    /// ends. `id` is woken when it is there, or when there is room for the job, which `None` says
    /// that there was not.
    pub(crate) fn fetch(
        &'static self,
        env: &mut Env,
        id: Id,
        file: &Arc<File>,
        range: &Range<u64>,
    ) -> Fetch {
        let end = range.end.min(range.start.saturating_add(PIECE));
        let (read, file, part) = (self.read, file.clone(), range.start..end);
        let asked = env.blocking(move || read(&file, part), move |env, _| ended(env, id));
        let jobs = env.shared.one::<Jobs>();
        if asked.is_ok() {
            jobs.under_way += 1;
            return Fetch::Begun(end);
        }
        if jobs.under_way == 0 {
            // The threads have other things to do, and nobody would tell us when they have not.
            return Fetch::Never;
        }
        jobs.waiting.push_back(id);
        Fetch::Later
    }
}

/// What becomes of a wish to read.
pub(crate) enum Fetch {
    /// It is being read up to there.
    Begun(u64),
    /// It is to be wished again when woken.
    Later,
    /// Nobody reads it.
    Never,
}

/// A job has ended; whether it could read, the sending will find out.
fn ended(env: &mut Env, id: Id) {
    let jobs = env.shared.one::<Jobs>();
    jobs.under_way -= 1;
    // Some may be gone by now; so the last job tells all that are left.
    let some = if jobs.under_way == 0 { jobs.waiting.len() } else { WOKEN };
    let next: Vec<Id> = jobs.waiting.drain(..some.min(jobs.waiting.len())).collect();
    env.wake(id);
    next.into_iter().for_each(|id| env.wake(id));
}

/// A read of one byte that does not wait. A file system that cannot tell has it not.
#[cfg(target_os = "linux")]
fn has(file: &File, at: u64) -> bool {
    use rustix::io::{ReadWriteFlags, preadv2};
    let mut byte = [0];
    let mut into = [std::io::IoSliceMut::new(&mut byte)];
    preadv2(file, &mut into, at, ReadWriteFlags::NOWAIT).is_ok()
}

/// No other system can tell.
#[cfg(not(target_os = "linux"))]
fn has(_: &File, _: u64) -> bool {
    false
}

fn read(file: &File, range: Range<u64>) {
    let mut buffer = vec![0; BUFFER];
    let mut at = range.start;
    while at < range.end {
        let room = BUFFER.min(usize::try_from(range.end - at).unwrap_or(BUFFER));
        match file.read_at(&mut buffer[..room], at) {
            Ok(n) if n > 0 => at += n as u64,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            // It cannot be read or has become shorter, which ends the sending too.
            _ => return,
        }
    }
    will_need(file, range.end);
}

/// What comes next may be read while this is sent.
#[cfg(target_os = "linux")]
fn will_need(file: &File, from: u64) {
    use rustix::fs::{Advice, fadvise};
    let _ = fadvise(file, from, std::num::NonZeroU64::new(PIECE), Advice::WillNeed);
}

#[cfg(not(target_os = "linux"))]
fn will_need(_: &File, _: u64) {}
