//! Helpers of the `core_*` tests: `check`, which feeds a receiver in every way, and `oracle`, a
//! receiver that is slow and plain. Nothing of the oracle is shared with the code under test.

use loopwork_ws::core::{Limits, Message, Receiver, Role, Violation};

/// A message that outlives the buffer it came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Got {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(u16, String),
}

impl From<Message<'_>> for Got {
    fn from(message: Message<'_>) -> Got {
        match message {
            Message::Text(text) => Got::Text(text.to_owned()),
            Message::Binary(bytes) => Got::Binary(bytes.to_vec()),
            Message::Part(_) => panic!("nobody asked for parts"),
            Message::Compressed(..) => panic!("nothing was agreed on"),
            Message::Ping(bytes) => Got::Ping(bytes.to_vec()),
            Message::Pong(bytes) => Got::Pong(bytes.to_vec()),
            Message::Close(close) => Got::Close(close.code.get(), close.reason.to_owned()),
        }
    }
}

/// All messages, and the violation that ended them.
pub(crate) type Outcome = (Vec<Got>, Option<Violation>);

/// A small mixer (splitmix64): cuts that are the same in every run.
pub(crate) struct Random(pub u64);

impl Random {
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) as usize % bound.max(1)
    }
}

/// A connection as the loop drives it: a carry of what was not used, then the next read.
pub(crate) struct Wire {
    pub(crate) receiver: Receiver,
    pub(crate) limits: Limits,
    carry: Vec<u8>,
    pub(crate) outcome: Outcome,
}

impl Wire {
    pub(crate) fn new(role: Role, limits: Limits) -> Wire {
        let outcome = (Vec::new(), None);
        Wire { receiver: Receiver::new(role), limits, carry: Vec::new(), outcome }
    }

    /// One read of the loop.
    pub(crate) fn read(&mut self, bytes: &[u8]) {
        if self.outcome.1.is_some() {
            assert_eq!(
                self.receiver.next(&mut bytes.to_vec(), &self.limits),
                Ok((bytes.len(), None))
            );
            return;
        }
        self.carry.extend_from_slice(bytes);
        let mut used = 0;
        loop {
            match self.receiver.next(&mut self.carry[used..], &self.limits) {
                Ok((n, message)) => {
                    used += n;
                    match message {
                        Some(message) => self.outcome.0.push(message.into()),
                        None => break,
                    }
                }
                Err(violation) => {
                    self.outcome.1 = Some(violation);
                    assert!(self.receiver.is_closed());
                    assert_eq!(self.receiver.memory(), 0);
                    return;
                }
            }
        }
        self.carry.drain(..used);
        assert!(self.carry.len() <= 13, "only a header's beginning may be left");
    }
}

/// Feeds `bytes` in parts of the lengths that `cut` gives.
pub(crate) fn receive(
    bytes: &[u8],
    role: Role,
    limits: Limits,
    mut cut: impl FnMut() -> usize,
) -> Outcome {
    let mut wire = Wire::new(role, limits);
    let mut rest = bytes;
    while !rest.is_empty() {
        let (part, behind) = rest.split_at(cut().clamp(1, rest.len()));
        wire.read(part);
        rest = behind;
    }
    wire.outcome
}

/// Feeds `bytes` whole, byte by byte, at every cut or at random cuts, and with bytes behind:
/// it must come to the same, which is also what the oracle says.
pub(crate) fn check(bytes: &[u8], role: Role, limits: Limits) -> Outcome {
    let whole = receive(bytes, role, limits, || usize::MAX);
    assert_eq!(whole, oracle(bytes, role, limits), "oracle, {bytes:02x?}");
    assert_eq!(whole, receive(bytes, role, limits, || 1), "byte by byte, {bytes:02x?}");
    if bytes.len() <= 300 {
        for at in 1..bytes.len() {
            let mut parts = [at, usize::MAX].into_iter();
            let cut = receive(bytes, role, limits, || parts.next().unwrap_or(1));
            assert_eq!(whole, cut, "cut at {at}, {bytes:02x?}");
        }
    }
    for seed in 0..8 {
        let mut random = Random(seed);
        let most = [4, 20, 300, 5000][random.below(4)];
        let cut = receive(bytes, role, limits, || 1 + random.below(most));
        assert_eq!(whole, cut, "random cuts, seed {seed}");
    }
    check_trailing(bytes, role, limits, &whole);
    whole
}

/// Behind an end nothing counts; behind whole frames a Pong is one message more.
fn check_trailing(bytes: &[u8], role: Role, limits: Limits, whole: &Outcome) {
    let mut longer = bytes.to_vec();
    let mut expected = whole.clone();
    if whole.1.is_some() || matches!(whole.0.last(), Some(Got::Close(..))) {
        longer.extend_from_slice(b"\x81\x85\xff\x00 rubbish \x88\x80abcd");
    } else if ends_between_frames(bytes) {
        longer.extend(frame(0x8A, b"behind", role));
        expected.0.push(Got::Pong(b"behind".to_vec()));
    }
    assert_eq!(expected, receive(&longer, role, limits, || usize::MAX), "trailing bytes");
    assert_eq!(expected, receive(&longer, role, limits, || 3), "trailing bytes, in threes");
}

/// A frame as a peer of `role` sends it, built by hand: the first byte and the payload.
pub(crate) fn frame(first: u8, payload: &[u8], role: Role) -> Vec<u8> {
    let mask = role == Role::Server;
    let bit = if mask { 0x80 } else { 0 };
    let mut out = vec![first];
    match payload.len() {
        len @ 0..=125 => out.push(bit | len as u8),
        len @ 126..=65535 => {
            out.push(bit | 126);
            out.extend((len as u16).to_be_bytes());
        }
        len => {
            out.push(bit | 127);
            out.extend((len as u64).to_be_bytes());
        }
    }
    if mask {
        // A key that depends on the payload: no two frames of a test mask alike.
        let key = [0x37, payload.len() as u8, 0x21, payload.first().copied().unwrap_or(9)];
        out.extend(key);
        out.extend(payload.iter().enumerate().map(|(i, byte)| byte ^ key[i % 4]));
    } else {
        out.extend(payload);
    }
    out
}

/// The header of the oracle: first byte, payload length, key, bytes of header.
struct Head {
    first: u8,
    len: u64,
    key: [u8; 4],
    size: usize,
}

/// Walks over the bytes of a header one by one.
fn oracle_head(bytes: &[u8], role: Role, in_message: bool) -> Result<Option<Head>, Violation> {
    let Some(&first) = bytes.first() else { return Ok(None) };
    let opcode = first & 15;
    if first & 0x70 != 0 {
        return Err(Violation::ReservedBits);
    }
    if ![0, 1, 2, 8, 9, 10].contains(&opcode) {
        return Err(Violation::ReservedOpcode);
    }
    if opcode >= 8 && first < 0x80 {
        return Err(Violation::FragmentedControl);
    }
    if opcode == 0 && !in_message {
        return Err(Violation::UnexpectedContinuation);
    }
    if (opcode == 1 || opcode == 2) && in_message {
        return Err(Violation::UnfinishedMessage);
    }
    let Some(&second) = bytes.get(1) else { return Ok(None) };
    if role == Role::Server && second < 0x80 {
        return Err(Violation::UnmaskedFromClient);
    }
    if role == Role::Client && second >= 0x80 {
        return Err(Violation::MaskedFromServer);
    }
    if opcode >= 8 && second % 128 > 125 {
        return Err(Violation::OversizedControl);
    }
    let width = match second % 128 {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    if width == 8 && bytes.len() > 2 && bytes[2] >= 0x80 {
        return Err(Violation::LengthOverflow);
    }
    if width == 8 && bytes.len() >= 8 && bytes[2..8] == [0; 6] {
        return Err(Violation::NonMinimalLength);
    }
    if bytes.len() < 2 + width {
        return Ok(None);
    }
    let mut len = u64::from(second % 128);
    if width > 0 {
        len = bytes[2..2 + width].iter().fold(0, |sum, byte| sum * 256 + u64::from(*byte));
        if width == 2 && len < 126 {
            return Err(Violation::NonMinimalLength);
        }
    }
    let size = 2 + width + if role == Role::Server { 4 } else { 0 };
    if bytes.len() < size {
        return Ok(None);
    }
    let mut key = [0; 4];
    if role == Role::Server {
        key.copy_from_slice(&bytes[size - 4..size]);
    }
    Ok(Some(Head { first, len, key, size }))
}

/// UTF-8, or the beginning of it if more may come.
fn oracle_text(bytes: &[u8], ended: bool) -> Result<String, Violation> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(error) if error.error_len().is_none() && !ended => Ok(String::new()),
        Err(_) => Err(Violation::InvalidUtf8),
    }
}

fn oracle_close(payload: &[u8], ended: bool, len: u64) -> Result<Got, Violation> {
    if len == 1 {
        return Err(Violation::TruncatedCloseCode);
    }
    if payload.len() < 2 {
        return Ok(Got::Close(1005, String::new()));
    }
    let code = u16::from(payload[0]) * 256 + u16::from(payload[1]);
    let good = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014];
    if !good.contains(&code) && !(3000..5000).contains(&code) {
        return Err(Violation::ReservedCloseCode);
    }
    Ok(Got::Close(code, oracle_text(&payload[2..], ended)?))
}

/// What a receiver must make of `bytes`.
pub(crate) fn oracle(bytes: &[u8], role: Role, limits: Limits) -> Outcome {
    let mut got = Vec::new();
    let violation = oracle_frames(bytes, role, limits, &mut got).err();
    (got, violation)
}

fn oracle_frames(
    bytes: &[u8],
    role: Role,
    limits: Limits,
    got: &mut Vec<Got>,
) -> Result<(), Violation> {
    let mut rest = bytes;
    let mut message: Option<(u8, Vec<u8>, u32)> = None;
    while let Some(head) = oracle_head(rest, role, message.is_some())? {
        let opcode = head.first & 15;
        let there = (head.len.min((rest.len() - head.size) as u64)) as usize;
        let ended = there as u64 == head.len;
        let masked = &rest[head.size..head.size + there];
        let payload: Vec<u8> =
            masked.iter().enumerate().map(|(i, byte)| byte ^ head.key[i % 4]).collect();
        rest = &rest[head.size + there..];
        if opcode >= 8 {
            let control = match opcode {
                8 => oracle_close(&payload, ended, head.len)?,
                9 => Got::Ping(payload),
                _ => Got::Pong(payload),
            };
            if ended {
                got.push(control);
            }
            if !ended || opcode == 8 {
                return Ok(());
            }
            continue;
        }
        let (kind, all, frames) = message.get_or_insert((opcode, Vec::new(), 0));
        if all.len() as u128 + u128::from(head.len) > limits.message as u128 {
            return Err(Violation::MessageTooBig);
        }
        *frames += 1;
        if *frames > limits.frames {
            return Err(Violation::TooManyFrames);
        }
        all.extend(payload);
        let last = head.first >= 0x80 && ended;
        let text = if *kind == 1 { oracle_text(all, last)? } else { String::new() };
        if !ended {
            return Ok(());
        }
        if last {
            got.push(if *kind == 1 { Got::Text(text) } else { Got::Binary(all.clone()) });
            message = None;
        }
    }
    Ok(())
}

/// Whether valid frames end where the bytes end.
fn ends_between_frames(bytes: &[u8]) -> bool {
    let mut at = 0;
    let mut in_message = false;
    while at < bytes.len() {
        let role =
            if bytes.get(at + 1).is_some_and(|b| *b >= 0x80) { Role::Server } else { Role::Client };
        let Ok(Some(head)) = oracle_head(&bytes[at..], role, in_message) else { return false };
        if head.first & 15 < 8 {
            in_message = head.first < 0x80;
        }
        if head.len > (bytes.len() - at - head.size) as u64 {
            return false;
        }
        at += head.size + head.len as usize;
    }
    true
}
