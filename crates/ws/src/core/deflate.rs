//! Messages compressed and inflated (RFC 7692 §6, §7.2).
//!
//! Rules that hold here:
//!
//! * A message is compressed and inflated as a whole, so that one [`Deflater`] and one
//!   [`Inflater`] serve all connections whose messages do not refer to those before.
//! * What an inflated message may take is limited while it is inflated, not afterwards.
//! * A message's buffer is the caller's to look at until the next one, or until it says that it is
//!   done with it (`release`), so that a large message leaves nothing behind.

use super::error::Violation;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// What ends a message behind a flush, and is not sent (§7.2.1): an empty block, stored.
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];
/// A whole empty block, stored. Where a block has ended it changes nothing; where none has it is
/// taken for something else.
const PROBE: [u8; 5] = [0, 0, 0, 0xff, 0xff];
/// The least that a buffer grows by.
const GROWTH_MIN: usize = 512;
/// The smallest window that is made, as a base-2 logarithm: zlib makes none of 256 bytes.
pub const WINDOW_MIN: u8 = 9;

/// Compresses messages.
#[derive(Debug)]
pub struct Deflater {
    stream: Compress,
    out: Vec<u8>,
}

impl Deflater {
    /// One with a window of 2^`bits` bytes, 9 to 15, that tries as hard as `level` says, 0 to 9.
    /// Values beyond are taken for the nearest.
    #[must_use]
    pub fn new(level: u8, bits: u8) -> Deflater {
        let (level, bits) = (Compression::new(level.min(9).into()), bits.clamp(WINDOW_MIN, 15));
        Deflater { stream: Compress::new_with_window_bits(level, false, bits), out: Vec::new() }
    }

    /// The payload of the message's frames. The next message may refer to this one if `takeover`.
    ///
    /// > the empty-payload message [...] 0x00 (§7.2.3.6)
    pub fn message(&mut self, payload: &[u8], takeover: bool) -> &[u8] {
        self.out.clear();
        if payload.is_empty() {
            self.out.push(0);
            return &self.out;
        }
        let begin = self.stream.total_in();
        loop {
            self.out.reserve((payload.len() / 4).max(GROWTH_MIN));
            let rest = (self.stream.total_in() - begin) as usize;
            let rest = payload.get(rest..).unwrap_or_default();
            // Of its errors none is possible here: the state is sound, and there is room.
            let flushed = self.stream.compress_vec(rest, &mut self.out, FlushCompress::Sync);
            if flushed.is_err() || self.out.len() < self.out.capacity() {
                break;
            }
        }
        if !takeover {
            self.stream.reset();
        }
        self.out.strip_suffix(&TAIL).unwrap_or(&self.out)
    }

    /// The last message is done with: keeps at most so many bytes of its buffer for the next.
    pub fn release(&mut self, keep: usize) {
        self.out.clear();
        self.out.shrink_to(keep);
    }

    /// Bytes of buffer that are kept, beside the window.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.out.capacity()
    }
}

/// Inflates messages.
#[derive(Debug)]
pub struct Inflater {
    stream: Decompress,
    out: Vec<u8>,
}

impl Default for Inflater {
    fn default() -> Self {
        Inflater::new()
    }
}

impl Inflater {
    /// One with the largest window, which takes what was made with any other.
    #[must_use]
    pub fn new() -> Inflater {
        Inflater { stream: Decompress::new(false), out: Vec::new() }
    }

    /// What the payload of a message's frames was compressed from: `most` bytes at most. The next
    /// message may refer to this one if `takeover`.
    ///
    /// # Errors
    /// [`Violation::MessageTooBig`], and [`Violation::Compression`] for what is not compressed, or
    /// does not end where the message ends.
    pub fn message(
        &mut self,
        payload: &[u8],
        most: usize,
        takeover: bool,
    ) -> Result<&mut [u8], Violation> {
        self.out.clear();
        let inflated = self.inflate(payload, most).and_then(|()| {
            self.inflate(&TAIL, most)?;
            let len = self.out.len();
            self.inflate(&PROBE, most)?;
            if self.out.len() == len { Ok(()) } else { Err(Violation::Compression) }
        });
        if !takeover {
            self.stream.reset(false);
        }
        inflated.map(|()| &mut self.out[..])
    }

    /// The last message is done with: keeps at most so many bytes of its buffer for the next.
    pub fn release(&mut self, keep: usize) {
        self.out.clear();
        self.out.shrink_to(keep);
    }

    /// Bytes of buffer that are kept, beside the window.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.out.capacity()
    }

    fn inflate(&mut self, mut part: &[u8], most: usize) -> Result<(), Violation> {
        loop {
            if self.out.len() == self.out.capacity() {
                // One byte of room beyond the limit shows that there is more.
                let room =
                    self.out.len().max(GROWTH_MIN).min(most.saturating_add(1) - self.out.len());
                self.out.try_reserve_exact(room).map_err(|_| Violation::MessageTooBig)?;
            }
            let before = (self.stream.total_in(), self.stream.total_out());
            let done = self.stream.decompress_vec(part, &mut self.out, FlushDecompress::Sync);
            let used = (self.stream.total_in() - before.0) as usize;
            let made = self.stream.total_out() > before.1;
            part = part.get(used..).unwrap_or_default();
            if self.out.len() > most {
                return Err(Violation::MessageTooBig);
            }
            match done {
                // > an endpoint MAY use DEFLATE blocks with the "BFINAL" bit set to 1 (§7.2.3.5)
                // What follows begins anew; zlib keeps no window over such an end.
                Ok(Status::StreamEnd) => self.stream.reset(false),
                Ok(_) if used > 0 || made => {}
                Ok(_) if part.is_empty() => return Ok(()),
                _ => return Err(Violation::Compression),
            }
            if part.is_empty() && self.out.len() < self.out.capacity() {
                return Ok(());
            }
        }
    }
}
