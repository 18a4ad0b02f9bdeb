//! Content codings of a response, undone: `gzip` and `deflate` (RFC 9110 §8.4.1).
//!
//! Rules of this file:
//! * No I/O, and nothing is decoded that nobody has room for: what is pushed is what came, what is
//!   pulled fits where it is pulled to.
//! * A few bytes may stand for a thousand times as many. How much comes out is bounded, by a number
//!   and by the ratio to what went in.
//! * The library decodes and checks DEFLATE, zlib and gzip; here is what goes around: which
//!   codings, several members, what is cut short.

use flate2::{Decompress, FlushDecompress, Status};
use std::fmt;

/// What to ask for, as `Accept-Encoding` (RFC 9110 §12.5.3).
pub const ACCEPT: &str = "gzip, deflate";

/// Codings on top of each other, `identity` not counted. One is common, two are a mistake that
/// happens, and each takes 50 KB.
pub const CODINGS_MAX: usize = 3;

/// What passes between two codings at a time, in bytes.
const STEP: usize = 8 * 1024;

/// How much may come out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Caps {
    /// Bytes: 1 GiB.
    pub bytes: u64,
    /// Bytes for each that went in: 200. Text becomes 3 to 10 times as long, a log perhaps 50
    /// times; zeros 1,030 times.
    pub ratio: u32,
    /// Up to so many bytes any ratio may be: 4 MiB, which harms nobody.
    pub free: u64,
}

impl Default for Caps {
    fn default() -> Self {
        Caps { bytes: 1 << 30, ratio: 200, free: 4 << 20 }
    }
}

/// Why a body cannot be decoded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Undecodable {
    /// A coding that nobody asked for, or more than [`CODINGS_MAX`] of them.
    Unknown,
    /// Not what its coding says, or damaged.
    Corrupt,
    /// It ends before its coding does.
    Short,
    /// It is longer than [`Caps::bytes`].
    TooLong,
    /// It grows by more than [`Caps::ratio`].
    Bomb,
}

impl fmt::Display for Undecodable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Undecodable::Unknown => "its coding is not known here",
            Undecodable::Corrupt => "it is not what its coding says, or was damaged",
            Undecodable::Short => "it ends too early",
            Undecodable::TooLong => "it is longer than it may be when decoded",
            Undecodable::Bomb => "it becomes too many times as long when decoded",
        })
    }
}

impl std::error::Error for Undecodable {}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Coding {
    /// RFC 1952; `x-gzip` is the same (RFC 9110 §8.4.1.3).
    Gzip,
    /// RFC 1950, and what is sent as it by mistake: RFC 1951 alone (RFC 9110 §8.4.1.2).
    Deflate,
}

impl Coding {
    fn of(name: &str) -> Option<Coding> {
        match () {
            () if name.eq_ignore_ascii_case("gzip") => Some(Coding::Gzip),
            () if name.eq_ignore_ascii_case("x-gzip") => Some(Coding::Gzip),
            () if name.eq_ignore_ascii_case("deflate") => Some(Coding::Deflate),
            () => None,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing came.
    New,
    Within,
    /// Behind the end of a stream, or of a member.
    Ended,
}

/// One coding that is undone.
struct Layer {
    coding: Coding,
    stage: Stage,
    stream: Decompress,
    input: Vec<u8>,
    at: usize,
    /// What came out is all that is right.
    damaged: bool,
}

impl Layer {
    fn new(coding: Coding) -> Layer {
        let stream = match coding {
            Coding::Gzip => Decompress::new_gzip(15),
            Coding::Deflate => Decompress::new(true),
        };
        Layer { coding, stage: Stage::New, stream, input: Vec::new(), at: 0, damaged: false }
    }

    fn push(&mut self, bytes: &[u8]) {
        self.input.drain(..self.at);
        self.at = 0;
        self.input.extend_from_slice(bytes);
    }

    /// What begins with the next byte. False: nothing does.
    fn begin(&mut self) -> bool {
        let Some(first) = self.input.get(self.at) else { return false };
        match (self.coding, self.stage) {
            // CMF of RFC 1950 §2.2: method 8, a window of at most 32 KiB. No encoder of RFC 1951
            // begins so: it would be a stored block with a bit set in the padding.
            (Coding::Deflate, Stage::New) => {
                let zlib = first & 15 == 8 && first >> 4 <= 7;
                self.stream.reset(zlib);
            }
            (Coding::Gzip, Stage::New) => {}
            // RFC 1952 §2.2: members follow each other.
            (Coding::Gzip, Stage::Ended) if *first == 0x1f => {
                self.stream = Decompress::new_gzip(15);
            }
            // Bytes behind the end are nobody's.
            (_, Stage::Ended) => self.damaged = true,
            (_, Stage::Within) => {}
        }
        self.stage = Stage::Within;
        true
    }

    /// Decodes as much as fits. Zero: it needs more.
    fn run(&mut self, into: &mut [u8]) -> Result<usize, Undecodable> {
        while self.stage == Stage::Within || self.begin() {
            if self.damaged {
                return Err(Undecodable::Corrupt);
            }
            let before = (self.stream.total_in(), self.stream.total_out());
            let rest = &self.input[self.at..];
            let done = self.stream.decompress(rest, into, FlushDecompress::None);
            self.damaged = done.is_err();
            let read = (self.stream.total_in() - before.0) as usize;
            let written = (self.stream.total_out() - before.1) as usize;
            self.at += read;
            if matches!(done, Ok(Status::StreamEnd)) {
                self.stage = Stage::Ended;
            }
            let stuck = read == 0 && self.stage == Stage::Within && !self.damaged;
            if written > 0 || stuck {
                return Ok(written);
            }
        }
        Ok(0)
    }
}

/// What undoes the codings of one body.
///
/// ```
/// use loopwork_http::inflate::{Caps, Inflate};
/// let gzipped = b"\x1f\x8b\x08\0\0\0\0\0\x02\xff\xcbH\xcd\xc9\xc9\x07\0\x86\xa6\x106\x05\0\0\0";
/// let mut body = Inflate::new(["gzip"], Caps::default())?.expect("a coding");
/// body.push(gzipped);
/// let mut piece = [0; 64];
/// let n = body.pull(&mut piece)?;
/// assert_eq!(&piece[..n], b"hello");
/// assert_eq!(body.pull(&mut piece)?, 0);
/// body.end()?;
/// # Ok::<(), loopwork_http::inflate::Undecodable>(())
/// ```
pub struct Inflate {
    /// The coding that was applied last comes first.
    layers: Vec<Layer>,
    caps: Caps,
    read: u64,
    written: u64,
    /// See [`Inflate::more`].
    more: bool,
}

impl fmt::Debug for Inflate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inflate { read, written, .. } = self;
        f.debug_struct("Inflate").field("read", read).field("written", written).finish()
    }
}

impl Inflate {
    /// For a body with these fields `Content-Encoding`, in their order. `None`: it is not coded.
    ///
    /// `Content-Encoding = #content-coding` (RFC 9110 §8.4)
    ///
    /// # Errors
    /// [`Undecodable::Unknown`].
    pub fn new<'v>(
        fields: impl IntoIterator<Item = &'v str>,
        caps: Caps,
    ) -> Result<Option<Inflate>, Undecodable> {
        let mut layers = Vec::new();
        let names = fields.into_iter().flat_map(|field| field.split(',')).map(str::trim);
        for name in names.filter(|name| !(name.is_empty() || name.eq_ignore_ascii_case("identity")))
        {
            if layers.len() == CODINGS_MAX {
                return Err(Undecodable::Unknown);
            }
            layers.insert(0, Layer::new(Coding::of(name).ok_or(Undecodable::Unknown)?));
        }
        let coded = !layers.is_empty();
        Ok(coded.then_some(Inflate { layers, caps, read: 0, written: 0, more: false }))
    }

    /// Takes what came. It is kept until it is pulled.
    pub fn push(&mut self, bytes: &[u8]) {
        self.read += bytes.len() as u64;
        self.more |= !bytes.is_empty();
        self.layers[0].push(bytes);
    }

    /// Whether more may come out of what was pushed: it is to be pulled, until nothing comes.
    #[must_use]
    pub fn more(&self) -> bool {
        self.more
    }

    /// Decodes as much as fits; how many bytes. Zero: more has to be pushed, or it is the end.
    ///
    /// # Errors
    /// It cannot be decoded, or becomes too long. What came out before is right.
    pub fn pull(&mut self, into: &mut [u8]) -> Result<usize, Undecodable> {
        let n = fill(&mut self.layers, into)?;
        self.more = n > 0;
        self.written += n as u64;
        if self.written > self.caps.bytes {
            return Err(Undecodable::TooLong);
        }
        let most = self.read.saturating_mul(self.caps.ratio.into()).max(self.caps.free);
        if self.written > most { Err(Undecodable::Bomb) } else { Ok(n) }
    }

    /// The body has ended, and all of it was pulled. One without a byte is whole.
    ///
    /// # Errors
    /// [`Undecodable::Short`].
    pub fn end(&self) -> Result<(), Undecodable> {
        let within = |layer: &Layer| layer.stage == Stage::Within;
        if self.layers.iter().any(within) { Err(Undecodable::Short) } else { Ok(()) }
    }
}

/// Pulls from the last of these, which has its bytes from those before.
fn fill(layers: &mut [Layer], into: &mut [u8]) -> Result<usize, Undecodable> {
    let Some((last, before)) = layers.split_last_mut() else { return Ok(0) };
    loop {
        let n = last.run(into)?;
        if n > 0 || before.is_empty() {
            return Ok(n);
        }
        let mut piece = [0; STEP];
        match fill(before, &mut piece)? {
            0 => return Ok(0),
            n => last.push(&piece[..n]),
        }
    }
}
