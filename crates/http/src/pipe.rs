//! Bytes between two connections: one fills, the other empties.
//!
//! Rules of this file:
//! * Full stops the filler; emptying lets it go on. So memory between two connections is bounded
//!   by the high-water mark and one read.
//! * A pipe knows neither side: whoever empties wakes whoever fills.

use loopwork_tcp::{Flow, HIGH_WATER};

/// A bounded run of bytes, and whether it has ended.
#[derive(Default, Debug)]
pub struct Pipe {
    bytes: Vec<u8>,
    full: bool,
    ended: bool,
}

impl Pipe {
    pub(crate) fn new(bytes: Vec<u8>) -> Pipe {
        Pipe { bytes, full: false, ended: false }
    }

    /// Puts bytes in. [`Flow::Full`]: they are kept, and no more should follow until the other
    /// side has emptied it.
    pub fn push(&mut self, bytes: &[u8]) -> Flow {
        self.bytes.extend_from_slice(bytes);
        self.full |= self.bytes.len() > HIGH_WATER;
        if self.full { Flow::Full } else { Flow::Open }
    }

    /// Nothing follows.
    pub fn end(&mut self) {
        self.ended = true;
    }

    /// Whether nothing follows what is in it.
    #[must_use]
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Whether the filler was stopped.
    #[must_use]
    pub fn full(&self) -> bool {
        self.full
    }

    /// Hands all bytes over, unless `ready` says that the taker is full. True when that lets a
    /// stopped filler go on: it is to be woken then.
    #[must_use = "a stopped filler has to be woken"]
    pub fn pull<R>(&mut self, ready: Flow, take: impl FnOnce(&[u8]) -> R) -> bool {
        if ready == Flow::Full || self.bytes.is_empty() {
            return false;
        }
        take(&self.bytes);
        self.bytes.clear();
        std::mem::take(&mut self.full)
    }

    pub(crate) fn into_buffer(self) -> Vec<u8> {
        self.bytes
    }
}
