//! The receiving half: bytes of a connection in, messages out (RFC 6455 §5.4, §6.2).
//!
//! Rules that hold here:
//!
//! * An unfragmented frame that lies whole in the caller's buffer is unmasked there and shown
//!   there: no copy, nothing kept.
//! * What is cut or fragmented is unmasked, checked and appended to one contiguous buffer that
//!   exists only while needed (`partial.rs`); bookkeeping is the same few bytes for one frame or a
//!   million.
//! * A message over the limit is refused at the header that says so, a bad byte of text as soon
//!   as it is there. Which violation is found does not depend on how the bytes were cut.
//! * All bytes are consumed but an unfinished header: at most 13 bytes stay with the caller.

use super::close::{self, CloseFrame};
use super::error::Violation;
use super::frame::{self, Header, Opcode, Role};
use super::mask;
use super::part::{Part, Which};
use super::partial::{Found, Partial};

/// What one message of a peer may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of payload in a message. Default 16 MiB: the largest that the Autobahn test suite
    /// sends (9.1.6), and what most peers can receive.
    pub message: usize,
    /// Frames in a message, empty ones too, at least one: bounds the work that a message without
    /// content can cause. Default 131,072: twice what Autobahn 9.3.1 sends (4 MiB in frames of 64
    /// bytes).
    pub frames: u32,
    /// Bytes of buffer that a connection may keep between messages, so that small messages that
    /// are fragmented or cut allocate nothing. Default 1 KiB: 100,000 connections keep at most
    /// about 100 MiB.
    pub keep: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { message: 16 << 20, frames: 1 << 17, keep: 1 << 10 }
    }
}

/// Where buffers of large messages come from, and where they go when the message was shown.
pub(crate) trait Room {
    /// An empty buffer, with at least so much room or none at all.
    fn take(&mut self, room: usize) -> Vec<u8>;
    /// Takes a buffer back.
    fn give(&mut self, buffer: Vec<u8>);
}

/// The allocator.
impl Room for () {
    fn take(&mut self, _: usize) -> Vec<u8> {
        Vec::new()
    }

    fn give(&mut self, _: Vec<u8>) {}
}

/// What arrived. It lives until the next call of [`Receiver::next`].
#[derive(Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// A whole text message.
    Text(&'a str),
    /// A whole binary message; mutable, so that it can be worked on in place.
    Binary(&'a mut [u8]),
    /// A whole message, text or binary as the opcode says, still compressed as RFC 7692 §6.1 says:
    /// for an [`Inflater`](super::deflate::Inflater). What is text in the end is not checked. Only
    /// of a receiver that is told so by [`Receiver::inflates`].
    Compressed(Opcode, &'a [u8]),
    /// A part of a message. Only of a receiver that is told so by [`Receiver::by_parts`], and then
    /// all messages come so, but compressed ones.
    Part(Part<'a>),
    /// A Ping: a Pong with the same payload (at most 125 bytes) is owed (§5.5.3).
    Ping(&'a [u8]),
    /// A Pong, asked for or not.
    Pong(&'a [u8]),
    /// A Close: a Close is owed if none was sent (§5.5.1). Whatever follows is ignored.
    Close(CloseFrame<'a>),
}

/// The receiving state of one connection: 16 bytes, and a box while something is unfinished.
#[derive(Debug)]
pub struct Receiver {
    partial: Option<Box<Partial>>,
    role: Role,
    /// A Close came, or a violation: everything that follows is ignored.
    closed: bool,
    /// RSV1 says that a message is compressed.
    inflates: bool,
    /// Messages are not gathered.
    parts: bool,
}

impl Receiver {
    /// The receiver of a new connection; `role` is ours.
    #[must_use]
    pub const fn new(role: Role) -> Receiver {
        Receiver { partial: None, role, closed: false, inflates: false, parts: false }
    }

    /// Whether permessage-deflate was agreed on, so that messages may be
    /// [compressed](Message::Compressed). Off at first.
    pub const fn inflates(&mut self, on: bool) {
        self.inflates = on;
    }

    /// Whether messages are shown by parts, as they come, and nothing of them is kept. Off at
    /// first. The limits hold all the same. To be said before the first message.
    pub const fn by_parts(&mut self, on: bool) {
        self.parts = on;
    }

    /// Takes the next message from `bytes`; gives how many bytes were used, and the message.
    ///
    /// Call it again with the bytes behind the used ones until there is no message; what is left
    /// then (at most 13 bytes, a header's beginning) must stand before the bytes that come next.
    /// Stop earlier to apply backpressure, with [`release`](Self::release) if it may take long:
    /// the memory of a message that was gathered goes with the next call. After a Close or a
    /// violation all bytes are used and there are no more messages.
    ///
    /// # Errors
    /// The peer's [`Violation`]. The connection is to be failed with its code.
    #[inline]
    pub fn next<'a>(
        &'a mut self,
        bytes: &'a mut [u8],
        limits: &Limits,
    ) -> Result<(usize, Option<Message<'a>>), Violation> {
        if !self.closed
            && let Some((opcode, start, end)) = self.is_short(bytes, limits)
        {
            let payload = unmasked(bytes, start, end);
            if opcode == Opcode::Binary {
                return Ok((end, Some(Message::Binary(payload))));
            }
            return match str::from_utf8(payload) {
                Ok(text) => Ok((end, Some(Message::Text(text)))),
                Err(_) => {
                    self.fail();
                    Err(Violation::InvalidUtf8)
                }
            };
        }
        self.next_of_any(bytes, limits, &mut ())
    }

    /// As [`next`](Self::next), of a short message that lies whole at the front: its opcode, its
    /// length with the header, and its payload, of which a text is not checked. Not to be called
    /// behind a Close or a violation.
    #[inline(always)]
    pub(crate) fn short<'a>(
        &self,
        bytes: &'a mut [u8],
        limits: &Limits,
    ) -> Option<(Opcode, usize, &'a mut [u8])> {
        let (opcode, start, end) = self.is_short(bytes, limits)?;
        Some((opcode, end, unmasked(bytes, start, end)))
    }

    /// A message of one frame with the short form of length, that lies here whole: what most are.
    /// Gives where its payload is.
    #[inline(always)]
    fn is_short(&self, bytes: &[u8], limits: &Limits) -> Option<(Opcode, usize, usize)> {
        let (opcode, masked, len) = frame::parse_short(bytes)?;
        let start = if self.role == Role::Server { 6 } else { 2 };
        let end = start + len;
        let plain = self.partial.is_none() & !self.parts & (masked == (start == 6));
        let within = (len <= limits.message) & (end <= bytes.len());
        (plain & within).then_some((opcode, start, end))
    }

    /// As [`next`](Self::next), of any frame; large buffers come from `room` and go there.
    #[inline(never)]
    pub(crate) fn next_of_any<'a>(
        &'a mut self,
        bytes: &'a mut [u8],
        limits: &Limits,
        room: &mut dyn Room,
    ) -> Result<(usize, Option<Message<'a>>), Violation> {
        if self.closed {
            return Ok((bytes.len(), None));
        }
        self.forget_shown(limits.keep, room);
        let (used, found) = match self.advance(bytes, limits, room) {
            Ok(step) => step,
            Err(violation) => {
                self.fail();
                return Err(violation);
            }
        };
        let message = match found {
            None => return Ok((used, None)),
            Some(Found::Here(opcode, start)) => {
                let payload = bytes.get_mut(start..used).unwrap_or_default();
                match show(opcode, payload) {
                    Ok(message) => message,
                    Err(violation) => {
                        self.fail();
                        return Err(violation);
                    }
                }
            }
            Some(Found::Compressed(opcode, start)) => {
                Message::Compressed(opcode, bytes.get(start..used).unwrap_or_default())
            }
            Some(Found::Part(which, start)) => {
                Message::Part(which.part(bytes.get(start..used).unwrap_or_default()))
            }
            Some(found) => {
                // What was gathered is checked already: no error comes from here.
                let Some(partial) = &mut self.partial else { return Ok((used, None)) };
                partial.show(&found)?
            }
        };
        self.closed = matches!(message, Message::Close(_));
        Ok((used, Some(message)))
    }

    /// Whether a fragmented or cut data message is under way: a server may set it a deadline.
    #[must_use]
    pub fn in_message(&self) -> bool {
        self.partial.as_ref().is_some_and(|partial| partial.kind.is_some())
    }

    /// Whether a Close or a violation came: everything that follows is ignored.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        self.closed
    }

    /// Gives back all memory that no unfinished message needs: for a connection that was paused
    /// in the middle of its messages, or that idles.
    pub fn release(&mut self) {
        self.release_to(&mut ());
    }

    /// As [`release`](Self::release); large buffers go to `room`.
    pub(crate) fn release_to(&mut self, room: &mut dyn Room) {
        self.forget_shown(0, room);
        if self.partial.as_ref().is_some_and(|p| p.kind.is_none() && p.frame.is_none()) {
            self.partial = None;
        }
    }

    /// Bytes of memory held beyond the receiver itself.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.partial.as_ref().map_or(0, |partial| size_of::<Partial>() + partial.capacity())
    }

    /// Bytes of buffer that the message under way takes, beyond what may be kept without one.
    #[inline]
    #[must_use]
    pub fn pinned(&self, keep: usize) -> usize {
        self.partial.as_ref().map_or(0, |partial| partial.capacity().saturating_sub(keep))
    }

    fn fail(&mut self) {
        self.closed = true;
        self.partial = None;
    }

    /// The message that was shown last is over: keep a small buffer, give back a large one.
    fn forget_shown(&mut self, keep: usize, room: &mut dyn Room) {
        let Some(partial) = &mut self.partial else { return };
        if !partial.shown {
            return;
        }
        if partial.capacity() > keep {
            partial.empty(room);
            self.partial = None;
        } else {
            partial.reset();
        }
    }

    /// Consumes frames until a message is whole or the bytes are at an end.
    fn advance(
        &mut self,
        bytes: &mut [u8],
        limits: &Limits,
        room: &mut dyn Room,
    ) -> Result<(usize, Option<Found>), Violation> {
        let mut used = 0;
        loop {
            if let Some(partial) = &mut self.partial
                && let Some(cut) = partial.frame
            {
                let rest = bytes.get_mut(used..).unwrap_or_default();
                let (taken, found) = if self.parts && partial.is_shown_by_parts(cut.opcode) {
                    partial.pass(cut, rest, used)?
                } else {
                    partial.absorb(cut, rest, limits, room)?
                };
                used += taken;
                if found.is_some() || partial.frame.is_some() {
                    return Ok((used, found));
                }
            }
            let rest = bytes.get_mut(used..).unwrap_or_default();
            let Some((header, header_len)) = self.header(rest, limits)? else {
                return Ok((used, None));
            };
            used += header_len;
            if let Some(end) = whole_here(&header, used, bytes.len()) {
                if let Some(key) = header.mask {
                    mask::apply(key, bytes.get_mut(used..end).unwrap_or_default());
                }
                if header.rsv1 | self.parts {
                    let payload = bytes.get(used..end).unwrap_or_default();
                    return Ok((end, Some(special(&header, payload, used)?)));
                }
                return Ok((end, Some(Found::Here(header.opcode, used))));
            }
            self.partial.get_or_insert_default().begin(&header);
        }
    }

    /// Reads a header and checks it against what is under way.
    fn header(&self, bytes: &[u8], limits: &Limits) -> Result<Option<(Header, usize)>, Violation> {
        let Some(&first) = bytes.first() else { return Ok(None) };
        let begin = frame::parse_first(first, self.inflates)?;
        let opcode = begin.2;
        let (in_message, size, frames) = match &self.partial {
            Some(partial) => (partial.kind.is_some(), partial.size, partial.frames),
            None => (false, 0, 0),
        };
        // > fragments of one message MUST NOT be interleaved between the fragments of another
        // > message (§5.4).
        match opcode {
            Opcode::Continuation if !in_message => return Err(Violation::UnexpectedContinuation),
            Opcode::Text | Opcode::Binary if in_message => {
                return Err(Violation::UnfinishedMessage);
            }
            _ => {}
        }
        let Some((header, header_len)) = frame::parse_rest(begin, bytes, self.role)? else {
            return Ok(None);
        };
        if opcode.is_control() {
            if opcode == Opcode::Close && header.len == 1 {
                return Err(Violation::TruncatedCloseCode);
            }
            return Ok(Some((header, header_len)));
        }
        if header.len > limits.message.saturating_sub(size) as u64 {
            return Err(Violation::MessageTooBig);
        }
        if frames >= limits.frames.max(1) {
            return Err(Violation::TooManyFrames);
        }
        Ok(Some((header, header_len)))
    }
}

/// The payload of a frame whose header is found good, unmasked if it came from a client.
#[inline(always)]
fn unmasked(bytes: &mut [u8], start: usize, end: usize) -> &mut [u8] {
    let Some((header, payload)) = bytes.split_at_mut_checked(start) else { return &mut [] };
    let payload = payload.get_mut(..end - start).unwrap_or_default();
    if let [_, _, a, b, c, d] = *header {
        mask::apply([a, b, c, d], payload);
    }
    payload
}

/// Where the payload ends, if it can be shown in place: it lies there whole and is a message
/// of its own.
fn whole_here(header: &Header, start: usize, available: usize) -> Option<usize> {
    if !header.fin || header.opcode == Opcode::Continuation {
        return None;
    }
    let end = usize::try_from(header.len).ok()?.checked_add(start)?;
    (end <= available).then_some(end)
}

/// A message that lies unmasked from `start`, but is compressed, or the only part of itself.
#[cold]
fn special(header: &Header, payload: &[u8], start: usize) -> Result<Found, Violation> {
    let text = header.opcode == Opcode::Text;
    if header.rsv1 {
        return Ok(Found::Compressed(header.opcode, start));
    }
    if header.opcode.is_control() {
        return Ok(Found::Here(header.opcode, start));
    }
    if text {
        simdutf8::basic::from_utf8(payload).map_err(|_| Violation::InvalidUtf8)?;
    }
    Ok(Found::Part(Which::new(text, true, true), start))
}

/// The message that lies unmasked in `payload`.
pub(super) fn show(opcode: Opcode, payload: &mut [u8]) -> Result<Message<'_>, Violation> {
    Ok(match opcode {
        Opcode::Text => {
            Message::Text(simdutf8::basic::from_utf8(payload).map_err(|_| Violation::InvalidUtf8)?)
        }
        Opcode::Binary | Opcode::Continuation => Message::Binary(payload),
        Opcode::Close => Message::Close(close::parse(payload)?),
        Opcode::Ping => Message::Ping(payload),
        Opcode::Pong => Message::Pong(payload),
    })
}
