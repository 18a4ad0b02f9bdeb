//! The file: a magic, a version, and blocks that each have a length and a checksum.
//!
//! ```text
//! file  = "loopwork" version:u32 block(head) *block
//! block = length:u32 crc32:u32 length*byte         numbers little-endian
//! ```
//!
//! The last block of a recording that ended in order says so. Rules of this file:
//! * A block is whole or it is refused: nothing of a block is believed before its checksum is.
//! * A file that ends early is no error of the reader's: all blocks before are good, as after a
//!   crash; where it is damaged it is refused, with the place.

use crate::wire::{In, put_number, put_piece};
use std::fmt;
use std::io::{self, ErrorKind, Read};

/// The version of the format that this crate writes, and the one that it reads: a recording
/// belongs to the program that made it, so an older one has no use.
pub const VERSION: u32 = 1;
/// The longest block that is read, in bytes. A block holds one answer more than it has room for,
/// and the longest is a batch of datagrams, 4 MiB.
pub const BLOCK_MAX: usize = 16 << 20;

pub(crate) const MAGIC: &[u8; 8] = b"loopwork";

/// What a recording says of itself.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Head {
    /// The program, with its version: another one does not make the same calls.
    pub program: String,
    /// Its arguments, without its own name.
    pub arguments: Vec<String>,
}

impl Head {
    /// This process, with its arguments as far as they are text.
    #[must_use]
    pub fn of_this_process() -> Head {
        let mut all = std::env::args_os().map(|of| of.to_string_lossy().into_owned());
        Head { program: all.next().unwrap_or_default(), arguments: all.collect() }
    }

    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        put_piece(out, self.program.as_bytes());
        put_number(out, self.arguments.len() as u64);
        self.arguments.iter().for_each(|of| put_piece(out, of.as_bytes()));
    }

    fn take(from: &mut In<'_>) -> Option<Head> {
        let mut text = || Some(String::from_utf8_lossy(from.piece()?).into_owned());
        let program = text()?;
        let count = from.number()?;
        let mut arguments = Vec::new();
        for _ in 0..count {
            arguments.push(String::from_utf8_lossy(from.piece()?).into_owned());
        }
        Some(Head { program, arguments })
    }
}

/// Why a file is not, or not further, replayed.
#[derive(Debug)]
#[non_exhaustive]
pub enum Refused {
    /// It could not be read.
    Io(io::Error),
    /// It does not begin as a recording does.
    NoRecording,
    /// It is of this version of the format.
    Version(u32),
    /// The block that begins here, in bytes, is not as it was written.
    Damaged(u64),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::Io(e) => write!(f, "it cannot be read: {e}"),
            Refused::NoRecording => f.write_str("it is no recording of loopwork's"),
            Refused::Version(of) => write!(
                f,
                "it is a recording of version {of}, and this program reads version {VERSION}; \
                 replay it with the program that recorded it"
            ),
            Refused::Damaged(at) => {
                write!(f, "it is damaged: the block at byte {at} is not as it was written")
            }
        }
    }
}

impl std::error::Error for Refused {}

impl From<io::Error> for Refused {
    fn from(e: io::Error) -> Refused {
        Refused::Io(e)
    }
}

/// Reads block after block.
pub(crate) struct Blocks {
    from: Box<dyn Read>,
    at: u64,
}

impl Blocks {
    pub(crate) fn open(mut from: Box<dyn Read>) -> Result<(Blocks, Head), Refused> {
        let mut begin = [0; 12];
        from.read_exact(&mut begin).map_err(|e| match e.kind() {
            ErrorKind::UnexpectedEof => Refused::NoRecording,
            _ => Refused::Io(e),
        })?;
        if begin[..8] != MAGIC[..] {
            return Err(Refused::NoRecording);
        }
        let version = u32::from_le_bytes([begin[8], begin[9], begin[10], begin[11]]);
        if version != VERSION {
            return Err(Refused::Version(version));
        }
        let mut blocks = Blocks { from, at: begin.len() as u64 };
        let mut block = Vec::new();
        if !blocks.next(&mut block)? {
            return Err(Refused::Damaged(12));
        }
        let head = Head::take(&mut In(&block)).ok_or(Refused::Damaged(12))?;
        Ok((blocks, head))
    }

    /// Where the next block begins.
    pub(crate) fn at(&self) -> u64 {
        self.at
    }

    /// The next block in place of what `into` holds; `false` when the file ends before there is a
    /// whole one.
    pub(crate) fn next(&mut self, into: &mut Vec<u8>) -> Result<bool, Refused> {
        into.clear();
        let mut head = [0; 8];
        if !filled(self.from.read_exact(&mut head))? {
            return Ok(false);
        }
        let word = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|n| head[at + n]));
        let (len, sum) = (word(0) as usize, word(4));
        if len > BLOCK_MAX {
            return Err(Refused::Damaged(self.at));
        }
        // As it comes: a length that lies is not worth its memory.
        let got = self.from.by_ref().take(len as u64).read_to_end(into)?;
        if got < len {
            into.clear();
            return Ok(false);
        }
        if crc32fast::hash(into) != sum {
            into.clear();
            return Err(Refused::Damaged(self.at));
        }
        self.at += (head.len() + len) as u64;
        Ok(true)
    }
}

fn filled(outcome: io::Result<()>) -> io::Result<bool> {
    match outcome {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == ErrorKind::UnexpectedEof => Ok(false),
        Err(e) => Err(e),
    }
}
