//! A head that comes in pieces: what was looked at, and whether it is time to parse.
//!
//! Rules:
//!
//! * each byte is searched once, but for the one before the new ones: it may be a line end's CR;
//! * who drips is not answered by more work: a byte that cannot end a line costs a comparison.

use super::{Limits, Malformed, lines::Stop, loose, scan};

/// How far a head that is not whole was looked at. One per connection; 12 bytes.
///
/// It starts anew by itself when a parse ends in a head or in an error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes in which no end was found; 0 before the first look.
    searched: u32,
    /// Up to this length of the head, what comes is looked at only if it may end a line.
    quiet: u32,
    /// Was the whole first line parsed?
    pub(super) first_line: bool,
}

impl Progress {
    /// Nothing was looked at.
    pub const fn new() -> Self {
        Self { searched: 0, quiet: 0, first_line: false }
    }

    /// Has no byte of the next head come yet? Then the connection is idle, not slow.
    pub const fn is_idle(&self) -> bool {
        self.searched == 0
    }

    /// One byte is new, and it ends nothing: for who drips, all that there is to do.
    #[inline(always)]
    pub(super) fn waits(&mut self, bytes: &[u8]) -> bool {
        let len = bytes.len();
        // Above CR: what else is below is rare, and looked at with more care.
        let waits = len == self.searched as usize + 1
            && len <= self.quiet as usize
            && bytes.last().is_some_and(|new| *new > b'\r');
        if waits {
            scan::work::add(1);
            self.searched = len as u32;
        }
        waits
    }

    /// Searches what is new for a reason to parse: the head is whole, its first line is whole,
    /// there is a CR or LF that stands alone, or it is too long. `longest` is how long a first
    /// line can be.
    pub(super) fn search(&mut self, bytes: &[u8], limits: &Limits, longest: usize) -> bool {
        let most = limits.head_bytes.saturating_sub(1);
        let most = if self.first_line { most } else { longest.min(most as usize) as u32 };
        // What stands behind a CR is always looked at.
        self.quiet = if bytes.last() == Some(&b'\r') { 0 } else { most };
        if limits.lenient.in_heads() {
            return self.search_loosely(bytes, limits, longest);
        }
        let room = limits.head_bytes as usize;
        let head = &bytes[..bytes.len().min(room)];
        // A CR at the very end waits for the byte behind it.
        let start = (self.searched as usize).min(head.len()).saturating_sub(1);
        self.searched = head.len() as u32;
        scan::work::add(head.len() - start);
        let new = &head[start..];
        let ends = |found: usize| {
            let (line, rest) = head.split_at(start + found);
            match rest {
                [b'\r', next, ..] => *next != b'\n',
                [b'\r'] => false,
                _ => {
                    // An empty line may come before the first one.
                    let first_line = !self.first_line && line != b"\r";
                    first_line || !line.ends_with(b"\r") || line.ends_with(b"\r\n\r")
                }
            }
        };
        // A search by blocks takes a run-up, which one who drips does not repay.
        let found = match new.len() {
            ..=2 => (0..new.len()).any(|at| matches!(new[at], b'\r' | b'\n') && ends(at)),
            _ => memchr::memchr2_iter(b'\r', b'\n', new).any(ends),
        };
        found || head.len() >= room || (!self.first_line && head.len() > longest)
    }

    /// The same where ends of lines, or empty ones, need not be as the grammar has them: a line
    /// ends with LF, and what stands before it is looked at when the line is whole.
    #[cold]
    fn search_loosely(&mut self, bytes: &[u8], limits: &Limits, longest: usize) -> bool {
        let room = limits.head_bytes as usize;
        let head = &bytes[..bytes.len().min(room)];
        let start = (self.searched as usize).min(head.len());
        self.searched = head.len() as u32;
        scan::work::add(head.len() - start);
        loose::ends(head, start, self.first_line, limits)
            || head.len() >= room
            || (!self.first_line && head.len() > longest)
    }

    /// A pass has stopped before the head's end: is that wrong, or does it need more bytes?
    #[cold]
    pub(super) fn stopped(
        &mut self,
        stop: Stop,
        head: usize,
        room: usize,
    ) -> Result<usize, Malformed> {
        let sin = match stop {
            Stop::More if head < room => {
                self.searched = head as u32;
                return Ok(0);
            }
            Stop::More => Malformed::HeadTooLarge,
            Stop::Bad(sin) => sin,
        };
        *self = Self::new();
        Err(sin)
    }
}
