//! An answer that is under way.
//!
//! Rule: what the head promised is sent, or the connection is cut; only a cut tells the client
//! that a file has become shorter.

use crate::answers::Content;
use loopwork_http::Reply;
use loopwork_http::tcp::{self, Flow};
use std::collections::VecDeque;
use std::fs::File;
use std::ops::Range;
use std::sync::Arc;

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
    /// A file, and what is left of it.
    File { file: Arc<File>, left: Range<u64> },
    /// Ranges of a file, each behind its lines; then the last lines.
    Parts { file: Arc<File>, parts: VecDeque<(String, Range<u64>)> },
    /// A page, from here.
    Page { bytes: Vec<u8>, at: usize },
}

impl Sending {
    pub(crate) fn nothing() -> Sending {
        Sending(What::Nothing)
    }

    /// A body behind its head, the first of it at once, so that it goes in one packet with it.
    pub(crate) fn part(content: Content<'_>, left: Range<u64>, reply: &mut Reply<'_>) -> Sending {
        match content {
            Content::File(file) => Sending(What::File { file: Arc::new(file), left }).begun(reply),
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
            Content::File(file) => {
                Sending(What::Parts { file: Arc::new(file), parts }).begun(reply)
            }
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

    /// Goes on: for [`App::on_more`](loopwork_http::App::on_more).
    pub fn more(&mut self, reply: &mut Reply<'_>) {
        match &mut self.0 {
            What::Nothing => {}
            What::Page { bytes, at } => {
                while *at < bytes.len() && reply.body.flow() == Flow::Open {
                    let end = bytes.len().min(*at + CHUNK);
                    let _ = reply.body.write(&bytes[*at..end]);
                    *at = end;
                }
            }
            What::Parts { file, parts } => {
                while reply.body.flow() == Flow::Open
                    && let Some((lines, left)) = parts.front_mut()
                {
                    let _ = reply.body.write(std::mem::take(lines).as_bytes());
                    if reply.body.write_file(file, left).is_err() {
                        return reply.abort();
                    }
                    if left.is_empty() {
                        parts.pop_front();
                    }
                }
            }
            What::File { file, left } => {
                if reply.body.write_file(file, left).is_err() {
                    // It has become shorter, or cannot be read: only a cut tells the client.
                    reply.abort();
                }
            }
        }
    }
}
