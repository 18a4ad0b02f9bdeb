//! An answer that is under way.
//!
//! Rule: what the head promised is sent, or the connection is cut; only a cut tells the client
//! that a file has become shorter.

use crate::answers::Content;
use crate::disk::{Disk, Fetch};
use crate::waiting::Waiting;
use loopwork_http::Reply;
use loopwork_http::tcp::reactor::{Env, Id};
use loopwork_http::tcp::{self, Flow};
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// One read of a page: what a connection's output holds before it is full.
const CHUNK: usize = tcp::HIGH_WATER;

/// A part of a small file, whether the output is full or not: it is bounded, and the next request
/// waits until it is out.
fn write_some(reply: &mut Reply<'_>, bytes: &Arc<[u8]>, range: Range<u64>) {
    if reply.body.done() || !reply.body.started() {
        return;
    }
    if range == (0..bytes.len() as u64) {
        let _ = reply.body.write_shared(bytes);
    } else if let Some(part) = bytes.get(range.start as usize..range.end as usize) {
        let _ = reply.body.write(part);
    }
}

/// An answer that is under way: what is remembered of a request until all of it is written.
pub struct Sending(What);

enum What {
    /// Nothing is left to write.
    Nothing,
    /// What is asked for has to be looked up first; only [`Files`](crate::Files) itself has this.
    Waiting(Waiting),
    /// A file, and what is left of it.
    File { source: Source, left: Range<u64> },
    /// Ranges of a file, each behind its lines; then the last lines.
    Parts { source: Source, parts: VecDeque<(String, Range<u64>)> },
    /// A page, from here.
    Page { bytes: Vec<u8>, at: usize },
}

/// A file that is sent as it comes into memory.
pub(crate) struct Source {
    file: Arc<File>,
    disk: &'static Disk,
    /// What was there, or was read for us, and may be sent without being asked for again.
    ready: Range<u64>,
    /// What is being read, and whether it has been.
    coming: Option<(Range<u64>, Arc<AtomicBool>)>,
}

impl Source {
    pub(crate) fn new(file: File, disk: &'static Disk) -> Source {
        Source { file: Arc::new(file), disk, ready: 0..0, coming: None }
    }

    /// Hands over what can be sent without waiting for the disk, until the output is full; the
    /// rest is for `on_more`, which comes with the drain, or when the disk has read.
    fn send(&mut self, left: &mut Range<u64>, reply: &mut Reply<'_>) -> io::Result<()> {
        while !left.is_empty()
            && reply.body.flow() == Flow::Open
            && let Some(end) = self.there(left, reply.env, reply.id)
        {
            let mut part = left.start..end;
            let done = reply.body.write_file(&self.file, &mut part);
            left.start = part.start;
            let _ = done?;
        }
        Ok(())
    }

    /// Up to where the range can be sent now; `None`: it is being read.
    fn there(&mut self, left: &Range<u64>, env: &mut Env, id: Id) -> Option<u64> {
        if let Some((part, done)) = &self.coming {
            if !done.load(Ordering::Relaxed) {
                return None;
            }
            self.ready = part.clone();
            self.coming = None;
        }
        if self.ready.contains(&left.start) {
            return Some(self.ready.end.min(left.end));
        }
        let hot = self.disk.hot(&self.file, left);
        if hot > left.start {
            // A layer takes it in small parts: each would ask for all of it again.
            self.ready = left.start..hot;
            return Some(hot);
        }
        match self.disk.fetch(env, id, &self.file, left) {
            Fetch::Begun(part, done) => {
                self.coming = Some((part, done));
                None
            }
            Fetch::Later => None,
            // Then the loop waits for the disk: better than a client that waits for ever.
            Fetch::Never(part) => Some(part.end),
        }
    }
}

impl Sending {
    pub(crate) fn nothing() -> Sending {
        Sending(What::Nothing)
    }

    pub(crate) fn waiting(waiting: Waiting) -> Sending {
        Sending(What::Waiting(waiting))
    }

    /// A request that need not wait any more; it is taken out.
    pub(crate) fn known(&mut self) -> Option<Waiting> {
        match std::mem::replace(&mut self.0, What::Nothing) {
            What::Waiting(waiting) if waiting.is_known() => Some(waiting),
            other => {
                self.0 = other;
                None
            }
        }
    }

    /// A body behind its head, the first of it at once, so that it goes in one packet with it.
    pub(crate) fn part(content: Content<'_>, left: Range<u64>, reply: &mut Reply<'_>) -> Sending {
        match content {
            Content::File(source) => Sending(What::File { source, left }).begun(reply),
            Content::Memory(bytes) => {
                write_some(reply, bytes, left);
                Sending::nothing()
            }
        }
    }

    /// A page behind its head.
    pub(crate) fn page(bytes: Vec<u8>, reply: &mut Reply<'_>) -> Sending {
        Sending(What::Page { bytes, at: 0 }).begun(reply)
    }

    /// Ranges of a file, each behind its lines, behind a head.
    pub(crate) fn parts(
        content: Content<'_>,
        parts: VecDeque<(String, Range<u64>)>,
        reply: &mut Reply<'_>,
    ) -> Sending {
        match content {
            Content::File(source) => Sending(What::Parts { source, parts }).begun(reply),
            Content::Memory(bytes) => {
                for (lines, range) in parts {
                    if reply.body.started() && !reply.body.done() {
                        let _ = reply.body.write(lines.as_bytes());
                        write_some(reply, bytes, range);
                    }
                }
                Sending::nothing()
            }
        }
    }

    fn begun(mut self, reply: &mut Reply<'_>) -> Sending {
        if reply.body.started() && !reply.body.done() {
            self.more(reply);
        }
        // A body that is written needs no file: the output holds its own.
        if reply.body.done() { Sending::nothing() } else { self }
    }

    /// Goes on, when the output has drained or the disk has read: for
    /// [`App::on_more`](loopwork_http::App::on_more).
    pub fn more(&mut self, reply: &mut Reply<'_>) {
        match &mut self.0 {
            What::Nothing | What::Waiting(_) => {}
            What::Page { bytes, at } => {
                while *at < bytes.len() && reply.body.flow() == Flow::Open {
                    let end = bytes.len().min(*at + CHUNK);
                    let _ = reply.body.write(&bytes[*at..end]);
                    *at = end;
                }
            }
            What::Parts { source, parts } => {
                while reply.body.flow() == Flow::Open
                    && let Some((lines, left)) = parts.front_mut()
                {
                    let _ = reply.body.write(std::mem::take(lines).as_bytes());
                    if source.send(left, reply).is_err() {
                        return reply.abort();
                    }
                    if !left.is_empty() {
                        return;
                    }
                    parts.pop_front();
                }
            }
            What::File { source, left } => {
                if source.send(left, reply).is_err() {
                    // It has become shorter, or cannot be read: only a cut tells the client.
                    reply.abort();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{STRIDE, WINDOW};
    use loopwork_http::tcp::reactor::{Loop, Os};
    use std::path::{Path, PathBuf};
    use std::sync::atomic::AtomicU64;

    #[test]
    fn what_is_in_memory_is_asked_for_once_a_window() {
        static ASKED: AtomicU64 = AtomicU64::new(0);
        fn has(_: &File, _: u64) -> bool {
            ASKED.fetch_add(1, Ordering::Relaxed);
            true
        }
        fn read(_: &File, _: Range<u64>) {
            unreachable!("all of it is there");
        }
        fn knows(_: &Path) -> bool {
            true
        }
        fn look(_: &[PathBuf]) {}
        static HOT: Disk = Disk { has, read, knows, look };
        let mut lp = Loop::new(Os::new().unwrap());
        let id = Id { birth: 1, slot: 0, driver: 0 };
        let mut source = Source::new(File::open("/dev/null").unwrap(), &HOT);
        // As a layer takes it, 80 KiB at a time.
        let mut left = 0..2 * WINDOW;
        while !left.is_empty() {
            let end = source.there(&left, &mut lp.env, id).unwrap();
            assert!(end > left.start && end <= left.end);
            left.start = end.min(left.start + 80 * 1024);
        }
        assert_eq!(ASKED.load(Ordering::Relaxed), 2 * WINDOW / STRIDE);
    }
}
