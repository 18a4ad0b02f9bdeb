//! What is unfinished in a [`Receiver`](super::Receiver): a message in fragments, a frame whose
//! payload still comes.
//!
//! Rule: a buffer grows with the bytes that came, never by a declared length; by that length it
//! only takes one that is there already.

use super::close;
use super::error::Violation;
use super::frame::{Header, MAX_CONTROL, Opcode};
use super::mask::Mask;
use super::message::{Limits, Message, Room, show};
use super::part::Which;
use super::utf8::{Decoder, InvalidUtf8};

/// The least a message buffer grows to, so that the first few bytes do not grow it one by one.
const MIN_GROWTH: usize = 64;

/// From this length on a frame's message begins in a buffer that was used before, if there is one.
const ROOM_FROM: usize = 256 << 10;

/// Where the message is that `advance` found.
pub(super) enum Found {
    /// In the caller's bytes, unmasked, from here to the end of what was used.
    Here(Opcode, usize),
    /// There, too, but compressed.
    Compressed(Opcode, usize),
    /// There, too, from here to the end of what was used: a part.
    Part(Which, usize),
    /// In `Partial::control`.
    Control(Opcode),
    /// In `Partial::text` or `Partial::binary`.
    Data(Kind),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Binary,
    /// Compressed, and what it says to be behind that.
    Compressed(Opcode),
}

/// What is unfinished: a message in fragments, a frame whose payload still comes, or both.
#[derive(Debug, Default)]
pub(super) struct Partial {
    /// The data message under way.
    pub(super) kind: Option<Kind>,
    /// The frame whose payload is still coming.
    pub(super) frame: Option<Cut>,
    text: String,
    binary: Vec<u8>,
    /// Characters of `text` that a cut divided.
    decoder: Decoder,
    /// Payload bytes of the message so far.
    pub(super) size: usize,
    /// Frames of the message so far.
    pub(super) frames: u32,
    /// The message in `text` or `binary` was shown: it goes with the next call.
    pub(super) shown: bool,
    /// Of a message that is not gathered: a part of it was shown.
    pub(super) begun: bool,
    control: Control,
}

/// A frame whose header is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    pub(super) opcode: Opcode,
    pub(super) fin: bool,
    pub(super) mask: Option<Mask>,
    pub(super) remaining: u64,
}

/// A control frame that a cut divided.
#[derive(Debug)]
pub(super) struct Control {
    bytes: [u8; MAX_CONTROL],
    len: u8,
    /// Checks the reason of a Close.
    reason: Decoder,
}

impl Partial {
    pub(super) fn show(&mut self, found: &Found) -> Result<Message<'_>, Violation> {
        match found {
            Found::Data(Kind::Text) => Ok(Message::Text(&self.text)),
            Found::Data(Kind::Binary) => Ok(Message::Binary(&mut self.binary)),
            Found::Data(Kind::Compressed(opcode)) => Ok(Message::Compressed(*opcode, &self.binary)),
            // Shown where it lies.
            Found::Part(..) => Ok(Message::Binary(&mut [])),
            Found::Control(opcode) | Found::Here(opcode, _) | Found::Compressed(opcode, _) => {
                let len = usize::from(self.control.len);
                show(*opcode, self.control.bytes.get_mut(..len).unwrap_or_default())
            }
        }
    }

    /// A header was read whose payload is to be gathered here.
    pub(super) fn begin(&mut self, header: &Header) {
        match header.opcode {
            opcode @ (Opcode::Text | Opcode::Binary) if header.rsv1 => {
                self.kind = Some(Kind::Compressed(opcode));
            }
            Opcode::Text => self.kind = Some(Kind::Text),
            Opcode::Binary => self.kind = Some(Kind::Binary),
            Opcode::Continuation => {}
            Opcode::Close | Opcode::Ping | Opcode::Pong => self.control = Control::default(),
        }
        if !header.opcode.is_control() {
            self.frames = self.frames.saturating_add(1);
        }
        self.frame = Some(Cut {
            opcode: header.opcode,
            fin: header.fin,
            mask: header.mask.map(Mask::new),
            remaining: header.len,
        });
    }

    /// Whether the frame under way is of a message that can be shown by parts.
    pub(super) fn is_shown_by_parts(&self, opcode: Opcode) -> bool {
        !opcode.is_control() && !matches!(self.kind, Some(Kind::Compressed(_)))
    }

    /// Takes what there is of the payload of the frame under way, to be shown where it lies: from
    /// `start`.
    pub(super) fn pass(
        &mut self,
        mut cut: Cut,
        bytes: &mut [u8],
        start: usize,
    ) -> Result<(usize, Option<Found>), Violation> {
        let taken = usize::try_from(cut.remaining).unwrap_or(usize::MAX).min(bytes.len());
        let part = bytes.get_mut(..taken).unwrap_or_default();
        if let Some(mask) = &mut cut.mask {
            mask.apply(part);
        }
        let text = self.kind == Some(Kind::Text);
        if text {
            self.decoder.decode(part).map_err(|InvalidUtf8| Violation::InvalidUtf8)?;
        }
        self.size = self.size.saturating_add(taken);
        cut.remaining -= taken as u64;
        let ends = cut.remaining == 0;
        self.frame = (!ends).then_some(cut);
        let (first, last) = (!self.begun, ends && cut.fin);
        if last {
            self.decoder.finish().map_err(|InvalidUtf8| Violation::InvalidUtf8)?;
            self.kind = None;
            self.shown = true;
        }
        if taken == 0 && !last {
            return Ok((0, None));
        }
        self.begun = true;
        Ok((taken, Some(Found::Part(Which::new(text, first, last), start))))
    }

    /// Takes what there is of the payload of the frame under way.
    pub(super) fn absorb(
        &mut self,
        mut cut: Cut,
        bytes: &mut [u8],
        limits: &Limits,
        room: &mut dyn Room,
    ) -> Result<(usize, Option<Found>), Violation> {
        let taken = usize::try_from(cut.remaining).unwrap_or(usize::MAX).min(bytes.len());
        let part = bytes.get_mut(..taken).unwrap_or_default();
        if let Some(mask) = &mut cut.mask {
            mask.apply(part);
        }
        if cut.opcode.is_control() {
            self.control.append(cut.opcode, part)?;
        } else {
            // The last frame says how long the message is; before it only the limit is known.
            let rest = usize::try_from(cut.remaining).unwrap_or(usize::MAX);
            let most = if cut.fin { self.size.saturating_add(rest) } else { limits.message };
            if self.capacity() == 0 && rest >= ROOM_FROM {
                self.furnish(room.take(rest));
            }
            self.append(part, most)?;
        }
        cut.remaining -= taken as u64;
        if cut.remaining > 0 {
            self.frame = Some(cut);
            return Ok((taken, None));
        }
        self.frame = None;
        if cut.opcode.is_control() {
            self.control.reason.finish().map_err(|InvalidUtf8| Violation::InvalidUtf8)?;
            return Ok((taken, Some(Found::Control(cut.opcode))));
        }
        if !cut.fin {
            return Ok((taken, None));
        }
        self.decoder.finish().map_err(|InvalidUtf8| Violation::InvalidUtf8)?;
        self.shown = true;
        Ok((taken, self.kind.take().map(Found::Data)))
    }

    /// Appends an unmasked part to the message, which ends at `most` bytes at the latest.
    fn append(&mut self, part: &[u8], most: usize) -> Result<(), Violation> {
        if self.kind == Some(Kind::Text) {
            let decoded =
                self.decoder.decode(part).map_err(|InvalidUtf8| Violation::InvalidUtf8)?;
            let mut char = [0; 4];
            let first = decoded.first.map_or("", |first| first.encode_utf8(&mut char));
            let more = first.len() + decoded.run.len();
            let room = growth(self.text.len(), self.text.capacity(), more, most);
            self.text.try_reserve_exact(room).map_err(|_| Violation::MessageTooBig)?;
            self.text.push_str(first);
            self.text.push_str(decoded.run);
        } else {
            let room = growth(self.binary.len(), self.binary.capacity(), part.len(), most);
            self.binary.try_reserve_exact(room).map_err(|_| Violation::MessageTooBig)?;
            self.binary.extend_from_slice(part);
        }
        self.size = self.size.saturating_add(part.len());
        Ok(())
    }

    /// The message has a buffer from elsewhere to begin with.
    #[cold]
    fn furnish(&mut self, buffer: Vec<u8>) {
        if self.kind == Some(Kind::Text) {
            // It is empty.
            self.text = String::from_utf8(buffer).unwrap_or_default();
        } else {
            self.binary = buffer;
        }
    }

    /// Its buffers, for others.
    pub(super) fn empty(&mut self, room: &mut dyn Room) {
        room.give(std::mem::take(&mut self.text).into_bytes());
        room.give(std::mem::take(&mut self.binary));
    }

    pub(super) fn capacity(&self) -> usize {
        self.text.capacity() + self.binary.capacity()
    }

    /// Ready for the next message, with the buffers.
    pub(super) fn reset(&mut self) {
        self.text.clear();
        self.binary.clear();
        self.size = 0;
        self.frames = 0;
        self.shown = false;
        self.begun = false;
    }
}

/// How much more a buffer reserves to take `more` bytes: twice what it has, so that copying stays
/// linear, but not beyond `most`, and nothing for bytes that have not come but by doubling.
fn growth(len: usize, capacity: usize, more: usize, most: usize) -> usize {
    let needed = len.saturating_add(more);
    if needed <= capacity {
        return 0;
    }
    let doubled = capacity.saturating_mul(2).max(MIN_GROWTH).min(most);
    needed.max(doubled) - len
}

impl Default for Control {
    fn default() -> Control {
        Control { bytes: [0; MAX_CONTROL], len: 0, reason: Decoder::new() }
    }
}

impl Control {
    /// Appends a part; that of a Close is checked as far as it goes.
    fn append(&mut self, opcode: Opcode, part: &[u8]) -> Result<(), Violation> {
        let start = usize::from(self.len);
        let end = start + part.len();
        // The header was refused if the payload were longer.
        let room = self.bytes.get_mut(start..end).ok_or(Violation::OversizedControl)?;
        room.copy_from_slice(part);
        self.len = u8::try_from(end).map_err(|_| Violation::OversizedControl)?;
        if opcode != Opcode::Close || end < 2 {
            return Ok(());
        }
        if start < 2 {
            let code = self.bytes.get(..2).unwrap_or_default();
            close::parse(code)?;
        }
        let reason = self.bytes.get(start.max(2)..end).unwrap_or_default();
        self.reason.decode(reason).map_err(|InvalidUtf8| Violation::InvalidUtf8)?;
        Ok(())
    }
}
