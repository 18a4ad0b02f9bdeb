//! A walk over a head by the words of its classes: the end of a name, of a value and of a target
//! is found by counting zeros.
//!
//! Rules:
//!
//! * one block at a time, in registers; the words do not depend on where a line begins, so that
//!   the processor makes those of the next block while the lines of this one are still walked;
//! * what ends a value ends a name too, so that where an end of a line is in the block, the end of
//!   its name needs no check;
//! * positions only grow.

use super::simd::{BLOCK, Lanes, Words, next_end};

/// Where the walk is. Positions are those of the bytes; the end of a class is the first byte that
/// is not of it, or the number of the bytes.
pub(super) struct Cursor<'a, L> {
    lanes: L,
    bytes: &'a [u8],
    /// Where the block begins; a multiple of [`BLOCK`].
    base: usize,
    /// Those of the block; of the ends, only those that were not walked over.
    words: Words,
}

/// A line: where its name ends, and where what is before its line end does.
#[derive(Clone, Copy)]
pub(super) struct Ends {
    pub(super) name: usize,
    pub(super) line: usize,
}

impl<'a, L: Lanes> Cursor<'a, L> {
    /// At the start of these bytes, of whose first block these are the words.
    #[inline(always)]
    pub(super) fn new(lanes: L, bytes: &'a [u8], words: Words) -> Self {
        Self { lanes, bytes, base: 0, words }
    }

    /// Where the line at `at` ends, and its name. The walk is at `at`.
    #[inline(always)]
    pub(super) fn line(&mut self, at: usize) -> Ends {
        if self.words.ends == 0 {
            return self.long_line(at);
        }
        let line = self.base + self.words.ends.trailing_zeros() as usize;
        let name = at + (self.words.names >> (at % BLOCK)).trailing_zeros() as usize;
        Ends { name, line }
    }

    /// Walks over the CRLF that ends the line that was asked for last.
    #[inline(always)]
    pub(super) fn pass_crlf(&mut self) {
        // Where LF is in the next block, its bit is passed when that is loaded.
        self.words.ends &= self.words.ends.wrapping_sub(1);
        self.words.ends &= self.words.ends.wrapping_sub(1);
    }

    /// The same, where the line ends in another block.
    #[inline(always)]
    fn long_line(&mut self, at: usize) -> Ends {
        let mut name = None;
        if at - self.base < BLOCK {
            name = first(self.words.names, at);
        }
        let mut base = (self.base + BLOCK).max(at / BLOCK * BLOCK);
        loop {
            (self.base, self.words) = match name {
                Some(_) => next_end(self.lanes, self.bytes, base),
                None => (base, Words::at(self.lanes, self.bytes, base)),
            };
            let from = at.max(self.base);
            self.seek(from);
            if name.is_none() {
                name = first(self.words.names, from);
            }
            if self.words.ends != 0 {
                let line = self.base + self.words.ends.trailing_zeros() as usize;
                return Ends { name: name.unwrap_or(line), line };
            }
            base = self.base + BLOCK;
        }
    }

    /// Walks to `at`, where a line begins.
    #[inline(always)]
    pub(super) fn seek(&mut self, at: usize) {
        let skip = at - self.base;
        self.words.ends &= if skip < BLOCK { u64::MAX << skip } else { 0 };
    }
}

/// The first set bit of the word of a block at `at`, which is in it, or behind it, as a position.
#[inline(always)]
fn first(word: u64, at: usize) -> Option<usize> {
    let hits = word >> (at % BLOCK);
    if hits == 0 { None } else { Some(at + hits.trailing_zeros() as usize) }
}
