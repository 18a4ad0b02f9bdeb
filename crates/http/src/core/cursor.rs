//! A walk over a head by the words of its classes: the end of a name, of a value and of a target
//! is found by counting zeros.
//!
//! Rules:
//!
//! * the words do not depend on where a line begins, so that the processor makes those of the
//!   next bytes while the lines of these are still walked;
//! * each byte is classified once; of a value that fills a whole window, only its end is searched;
//! * positions only grow.

use super::simd::{BLOCK, BLOCKS, Words, classify, control};

/// Bytes that are classified at a time.
const WINDOW: usize = BLOCK * BLOCKS;

/// Which end is looked for.
const NAME: u8 = 0;
const VALUE: u8 = 1;
const TARGET: u8 = 2;

/// Where the walk is. Positions are those of the bytes; the end of a class is the first byte that
/// is not of it, or the number of the bytes.
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    /// Where the window begins; a multiple of a block.
    base: usize,
    /// The words of the window.
    words: Words,
}

impl<'a> Cursor<'a> {
    /// At the start of these bytes, for a walk that may ask for a target.
    #[inline(always)]
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, base: 0, words: Words::default() }
    }

    /// Classifies the first bytes. To be done once, before anything is asked.
    #[inline(always)]
    pub(super) fn start(&mut self) {
        classify::<true>(self.bytes, 0, &mut self.words);
    }

    /// Where the token at `at` ends.
    #[inline(always)]
    pub(super) fn name_end(&mut self, at: usize) -> usize {
        self.end::<NAME>(at)
    }

    /// Where the value at `at` ends.
    #[inline(always)]
    pub(super) fn value_end(&mut self, at: usize) -> usize {
        self.end::<VALUE>(at)
    }

    /// Where the request target at `at` ends. To be asked before any other end but a method's.
    #[inline(always)]
    pub(super) fn target_end(&mut self, at: usize) -> usize {
        self.end::<TARGET>(at)
    }

    #[inline(always)]
    fn end<const CLASS: u8>(&mut self, at: usize) -> usize {
        self.in_block::<CLASS>(at).unwrap_or_else(|| self.beyond::<CLASS>(at))
    }

    /// The end, if it is in the block of `at`, and that is in the window.
    #[inline(always)]
    fn in_block<const CLASS: u8>(&self, at: usize) -> Option<usize> {
        let hits = self.class::<CLASS>().get((at - self.base) / BLOCK)? >> (at % BLOCK);
        (hits != 0).then(|| at + hits.trailing_zeros() as usize)
    }

    /// The end, which is not in the block of `at` or not in the window.
    #[inline(never)]
    fn beyond<const CLASS: u8>(&mut self, at: usize) -> usize {
        if at - self.base >= WINDOW {
            if !self.classify::<CLASS>(at) {
                return self.bytes.len();
            }
            if let Some(end) = self.in_block::<CLASS>(at) {
                return end;
            }
        }
        let (mut block, mut whole) = ((at - self.base) / BLOCK + 1, false);
        loop {
            while let Some(word) = self.class::<CLASS>().get(block) {
                if *word != 0 {
                    return self.base + block * BLOCK + word.trailing_zeros() as usize;
                }
                block += 1;
            }
            let mut next = self.base + WINDOW;
            if CLASS == VALUE && whole {
                next = control(self.bytes, next);
            }
            if !self.classify::<CLASS>(next) {
                return self.bytes.len();
            }
            (block, whole) = (0, true);
        }
    }

    /// Moves the window to the block of `at`; `false`: there are no bytes.
    #[inline(always)]
    fn classify<const CLASS: u8>(&mut self, at: usize) -> bool {
        let base = at / BLOCK * BLOCK;
        if base >= self.bytes.len() {
            return false;
        }
        self.base = base;
        match CLASS {
            TARGET => classify::<true>(self.bytes, base, &mut self.words),
            _ => classify::<false>(self.bytes, base, &mut self.words),
        }
        true
    }

    #[inline(always)]
    fn class<const CLASS: u8>(&self) -> &[u64; BLOCKS] {
        match CLASS {
            NAME => &self.words.names,
            VALUE => &self.words.values,
            _ => &self.words.targets,
        }
    }
}
