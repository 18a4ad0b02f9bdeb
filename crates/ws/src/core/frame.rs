//! Frames on the wire (RFC 6455 §5.2): the header read and written, and payloads encoded.
//!
//! ```text
//!  0 1 2 3 4 5 6 7   0 1 2 3 4 5 6 7
//! +-+-+-+-+-------+ +-+-------------+ ------------------------ + ----------- + --------
//! |F|R R R| opcode| |M| length (7)  | 2 bytes more if it is 126 | masking key | payload
//! |I|S S S|  (4)  | |A|             | 8 bytes more if it is 127 | (4) if MASK |
//! |N|V V V|       | |S|             |                           |             |
//! +-+-+-+-+-------+ +-+-------------+ ------------------------ + ----------- + --------
//! ```
//!
//! A header is refused with the first byte that spoils it, not only when it is whole.

use super::error::Violation;
use super::mask;

/// The largest payload of a control frame (§5.5).
pub const MAX_CONTROL: usize = 125;
/// The longest header: two bytes, eight of length, four of key.
pub const MAX_HEADER: usize = 14;

const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;
const RSV2_RSV3: u8 = 0x30;
const MASK: u8 = 0x80;
/// In the 7-bit length: a 16-bit length follows.
const LEN_16: u8 = 126;
/// In the 7-bit length: a 64-bit length follows.
const LEN_64: u8 = 127;

/// Which end of the connection *we* are: it says which frames must be masked (§5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// We are the server: frames that come are masked, frames that go are not.
    Server,
    /// We are the client: frames that come are not masked, frames that go are.
    Client,
}

/// What a frame is (§5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Opcode {
    /// The next part of a fragmented message.
    Continuation = 0x0,
    /// A text message, or its first part.
    Text = 0x1,
    /// A binary message, or its first part.
    Binary = 0x2,
    /// The end of the connection.
    Close = 0x8,
    /// A question whether the peer is there.
    Ping = 0x9,
    /// The answer, or an unasked sign of life.
    Pong = 0xA,
}

impl Opcode {
    /// The opcode of these four bits; `None` for the reserved ones and numbers above 15.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Option<Opcode> {
        match bits {
            0x0 => Some(Opcode::Continuation),
            0x1 => Some(Opcode::Text),
            0x2 => Some(Opcode::Binary),
            0x8 => Some(Opcode::Close),
            0x9 => Some(Opcode::Ping),
            0xA => Some(Opcode::Pong),
            _ => None,
        }
    }

    /// > Control frames are identified by opcodes where the most significant bit of the opcode
    /// > is 1 (§5.5).
    #[must_use]
    pub const fn is_control(self) -> bool {
        self as u8 & 0x8 != 0
    }
}

/// A frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The last frame of its message.
    pub fin: bool,
    /// The first reserved bit; permessage-deflate says "compressed" by it (RFC 7692 §6).
    pub rsv1: bool,
    /// What the frame is.
    pub opcode: Opcode,
    /// The masking key, if the payload is masked.
    pub mask: Option<[u8; 4]>,
    /// Bytes of payload behind the header; at most 2^63 − 1.
    pub len: u64,
}

/// Reads the header at the beginning of `bytes`; `role` is ours.
///
/// Gives the header and its length in bytes, or `None` if it is not whole yet.
///
/// # Errors
/// A [`Violation`] as soon as the bytes that are there allow it, even if the header is not
/// whole: reserved bits (RSV1 is allowed on the first frame of a message if `allow_rsv1`),
/// reserved opcodes, fragmented or oversized control frames, wrong masking for the role,
/// lengths that are not minimal or over 63 bits.
pub fn parse_header(
    bytes: &[u8],
    role: Role,
    allow_rsv1: bool,
) -> Result<Option<(Header, usize)>, Violation> {
    let Some(&first) = bytes.first() else { return Ok(None) };
    parse_rest(parse_first(first, allow_rsv1)?, bytes, role)
}

/// The header behind its first byte; `bytes` begin with that byte.
#[inline]
pub(super) fn parse_rest(
    (fin, rsv1, opcode): (bool, bool, Opcode),
    bytes: &[u8],
    role: Role,
) -> Result<Option<(Header, usize)>, Violation> {
    let Some(&second) = bytes.get(1) else { return Ok(None) };
    let masked = second & MASK != 0;
    match (role, masked) {
        (Role::Server, false) => return Err(Violation::UnmaskedFromClient),
        (Role::Client, true) => return Err(Violation::MaskedFromServer),
        _ => {}
    }
    let short = second & !MASK;
    if opcode.is_control() && usize::from(short) > MAX_CONTROL {
        return Err(Violation::OversizedControl);
    }
    let behind = bytes.get(2..).unwrap_or_default();
    let Some((len, more)) = parse_len(short, behind)? else { return Ok(None) };
    if !masked {
        return Ok(Some((Header { fin, rsv1, opcode, mask: None, len }, 2 + more)));
    }
    let Some(&key) = behind.get(more..).and_then(<[u8]>::first_chunk::<4>) else {
        return Ok(None);
    };
    Ok(Some((Header { fin, rsv1, opcode, mask: Some(key), len }, 2 + more + 4)))
}

/// The opcode, whether it is masked and the length of a frame that is a data message by itself,
/// plain, with the short form of length; of any other `None`.
#[inline]
pub(super) fn parse_short(bytes: &[u8]) -> Option<(Opcode, bool, usize)> {
    const TEXT: u8 = FIN | Opcode::Text as u8;
    const BINARY: u8 = FIN | Opcode::Binary as u8;
    let [first, second] = *bytes.first_chunk::<2>()?;
    let opcode = match first {
        TEXT => Opcode::Text,
        BINARY => Opcode::Binary,
        _ => return None,
    };
    let short = second & !MASK;
    (short < LEN_16).then_some((opcode, second & MASK != 0, usize::from(short)))
}

/// FIN, RSV1 and the opcode.
///
/// > RSV1, RSV2, RSV3: MUST be 0 unless an extension is negotiated that defines meanings for
/// > non-zero values (§5.2).
#[inline]
pub(super) fn parse_first(first: u8, allow_rsv1: bool) -> Result<(bool, bool, Opcode), Violation> {
    let (fin, rsv1) = (first & FIN != 0, first & RSV1 != 0);
    if first & RSV2_RSV3 != 0 || rsv1 && !allow_rsv1 {
        return Err(Violation::ReservedBits);
    }
    let opcode = Opcode::from_bits(first & 0x0F).ok_or(Violation::ReservedOpcode)?;
    // RFC 7692 §6.1: RSV1 stands only on the first frame of a message.
    if rsv1 && !matches!(opcode, Opcode::Text | Opcode::Binary) {
        return Err(Violation::ReservedBits);
    }
    // > All control frames [...] MUST NOT be fragmented (§5.5).
    if opcode.is_control() && !fin {
        return Err(Violation::FragmentedControl);
    }
    Ok((fin, rsv1, opcode))
}

/// The payload length and how many bytes it takes behind the first two.
///
/// > the minimal number of bytes MUST be used to encode the length [...]
/// > (the most significant bit MUST be 0) (§5.2).
fn parse_len(short: u8, behind: &[u8]) -> Result<Option<(u64, usize)>, Violation> {
    match short {
        LEN_16 => {
            let Some(&bytes) = behind.first_chunk::<2>() else { return Ok(None) };
            let len = u16::from_be_bytes(bytes);
            if len < u16::from(LEN_16) {
                return Err(Violation::NonMinimalLength);
            }
            Ok(Some((u64::from(len), 2)))
        }
        LEN_64 => {
            if behind.first().is_some_and(|byte| byte & 0x80 != 0) {
                return Err(Violation::LengthOverflow);
            }
            // Six zero bytes leave at most 65,535, which fits the 16-bit form.
            if behind.first_chunk::<6>() == Some(&[0; 6]) {
                return Err(Violation::NonMinimalLength);
            }
            let Some(&bytes) = behind.first_chunk::<8>() else { return Ok(None) };
            Ok(Some((u64::from_be_bytes(bytes), 8)))
        }
        len => Ok(Some((u64::from(len), 0))),
    }
}

/// Appends a header with the shortest form of `len` to `out`.
///
/// The caller answers for a control frame having `fin` and at most [`MAX_CONTROL`] bytes, and
/// for masking the payload that it appends if `mask` is given.
pub fn encode_header(
    out: &mut Vec<u8>,
    fin: bool,
    opcode: Opcode,
    rsv1: bool,
    len: u64,
    mask: Option<[u8; 4]>,
) {
    let mut first = opcode as u8;
    if fin {
        first |= FIN;
    }
    if rsv1 {
        first |= RSV1;
    }
    let bit = if mask.is_some() { MASK } else { 0 };
    match (u8::try_from(len), u16::try_from(len)) {
        (Ok(len), _) if usize::from(len) <= MAX_CONTROL => {
            out.extend_from_slice(&[first, bit | len]);
        }
        (_, Ok(len)) => {
            let [a, b] = len.to_be_bytes();
            out.extend_from_slice(&[first, bit | LEN_16, a, b]);
        }
        _ => {
            let [a, b, c, d, e, f, g, h] = len.to_be_bytes();
            out.extend_from_slice(&[first, bit | LEN_64, a, b, c, d, e, f, g, h]);
        }
    }
    if let Some(key) = mask {
        out.extend_from_slice(&key);
    }
}

/// Appends a whole, unfragmented frame to `out`; `mask` is the key if we are the client.
///
/// Of a control frame's payload only the first [`MAX_CONTROL`] bytes are sent.
#[inline]
pub fn encode(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8], mask: Option<[u8; 4]>) {
    match u8::try_from(payload.len()) {
        // What a server sends as a rule.
        Ok(len @ ..LEN_16) if mask.is_none() => {
            out.extend_from_slice(&[FIN | opcode as u8, len]);
            out.extend_from_slice(payload);
        }
        _ => encode_any(out, opcode, payload, mask),
    }
}

/// As [`encode`], of any frame.
#[inline(never)]
fn encode_any(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8], mask: Option<[u8; 4]>) {
    let most = if opcode.is_control() { MAX_CONTROL } else { payload.len() };
    let payload = payload.get(..most).unwrap_or(payload);
    encode_parts(out, opcode, false, &[payload], mask);
}

/// As [`encode`], of a message that permessage-deflate has compressed (RFC 7692 §6.1).
pub fn encode_compressed(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8], mask: Option<[u8; 4]>) {
    encode_parts(out, opcode, true, &[payload], mask);
}

/// Appends one whole frame whose payload is `parts`, one behind the other.
pub(super) fn encode_parts(
    out: &mut Vec<u8>,
    opcode: Opcode,
    rsv1: bool,
    parts: &[&[u8]],
    mask: Option<[u8; 4]>,
) {
    let len = parts.iter().map(|part| part.len()).sum::<usize>();
    out.reserve(MAX_HEADER + len);
    encode_header(out, true, opcode, rsv1, len as u64, mask);
    append(out, parts, mask);
}

/// Appends a payload, masked if a key is given.
fn append(out: &mut Vec<u8>, parts: &[&[u8]], mask: Option<[u8; 4]>) {
    let start = out.len();
    for part in parts {
        out.extend_from_slice(part);
    }
    if let Some(key) = mask
        && let Some(payload) = out.get_mut(start..)
    {
        mask::apply(key, payload);
    }
}

/// A message sent in parts as they come to be known (§5.4): the first frame carries the opcode,
/// the others are continuations, the last has FIN.
///
/// Control frames may be encoded in between, data frames may not.
#[derive(Clone, Copy, Debug)]
pub struct Fragments {
    next: Opcode,
}

impl Fragments {
    /// A text message in parts. A part may end inside a character; the whole must be UTF-8.
    #[must_use]
    pub const fn text() -> Fragments {
        Fragments { next: Opcode::Text }
    }

    /// A binary message in parts.
    #[must_use]
    pub const fn binary() -> Fragments {
        Fragments { next: Opcode::Binary }
    }

    /// Appends the next part as a frame of its own.
    pub fn part(&mut self, out: &mut Vec<u8>, part: &[u8], mask: Option<[u8; 4]>) {
        self.frame(out, false, part, mask);
    }

    /// Appends the last part, which may be empty.
    pub fn finish(mut self, out: &mut Vec<u8>, part: &[u8], mask: Option<[u8; 4]>) {
        self.frame(out, true, part, mask);
    }

    fn frame(&mut self, out: &mut Vec<u8>, fin: bool, part: &[u8], mask: Option<[u8; 4]>) {
        out.reserve(MAX_HEADER + part.len());
        encode_header(out, fin, self.next, false, part.len() as u64, mask);
        append(out, &[part], mask);
        self.next = Opcode::Continuation;
    }
}
