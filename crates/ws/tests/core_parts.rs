//! Messages by parts: put together they are what a receiver that gathers shows, with the same
//! violations at the same places, and nothing of them is kept.

#[allow(dead_code, reason = "each test file uses its part")]
mod core_support;

use core_support::{Got, Outcome, Random, frame, receive};
use loopwork_ws::core::deflate::Deflater;
use loopwork_ws::core::frame::encode_compressed;
use loopwork_ws::core::{Limits, Message, Opcode, Receiver, Role, Violation};

/// A few fields and a Decoder, however long the message is.
const SMALL: usize = 400;

/// Feeds a receiver, cut as `cut` says, and shows what comes.
fn feed(
    receiver: &mut Receiver,
    bytes: &[u8],
    limits: Limits,
    mut cut: impl FnMut() -> usize,
    mut show: impl FnMut(Message<'_>),
) -> Option<Violation> {
    let (mut carry, mut rest) = (Vec::new(), bytes);
    while !rest.is_empty() {
        let (read, behind) = rest.split_at(cut().clamp(1, rest.len()));
        carry.extend_from_slice(read);
        rest = behind;
        let mut used = 0;
        loop {
            let (n, message) = match receiver.next(&mut carry[used..], &limits) {
                Ok(next) => next,
                Err(violation) => return Some(violation),
            };
            used += n;
            let Some(message) = message else { break };
            show(message);
        }
        carry.drain(..used);
        assert!(carry.len() <= 13);
    }
    None
}

/// Receives by parts and puts them together.
fn by_parts(bytes: &[u8], role: Role, limits: Limits, cut: impl FnMut() -> usize) -> Outcome {
    let mut receiver = Receiver::new(role);
    receiver.by_parts(true);
    let (mut got, mut whole) = (Vec::new(), None);
    let violation = feed(&mut receiver, bytes, limits, cut, |message| match message {
        Message::Part(part) => {
            assert_eq!(part.first, whole.is_none(), "the first is the first");
            assert!(part.last || !part.bytes.is_empty());
            let bytes = whole.get_or_insert_with(Vec::new);
            bytes.extend_from_slice(part.bytes);
            if part.last {
                let bytes = whole.take().unwrap_or_default();
                got.push(match part.text {
                    true => Got::Text(String::from_utf8(bytes).expect("checked")),
                    false => Got::Binary(bytes),
                });
            }
        }
        Message::Text(_) | Message::Binary(_) => panic!("by parts"),
        control => got.push(control.into()),
    });
    assert!(receiver.memory() <= SMALL, "{}", receiver.memory());
    (got, violation)
}

/// By parts and whole, under many cuts.
fn check(bytes: &[u8], role: Role, limits: Limits) -> Outcome {
    let whole = receive(bytes, role, limits, || usize::MAX);
    for most in [1, 2, 7, 60, 1000, usize::MAX] {
        let mut random = Random(most as u64);
        let parts = by_parts(bytes, role, limits, || 1 + random.below(most));
        assert_eq!(parts, whole, "pieces of up to {most}, {bytes:02x?}");
    }
    whole
}

#[test]
fn parts_are_the_whole() {
    let role = Role::Server;
    let text = "欢迎, 光临".as_bytes();
    let frames = [
        frame(0x81, text, role),
        frame(0x82, b"", role),
        frame(0x01, &text[..4], role),
        frame(0x89, b"ping", role),
        frame(0x00, &text[4..5], role),
        frame(0x00, b"", role),
        frame(0x80, &text[5..], role),
        frame(0x02, b"", role),
        frame(0x80, b"", role),
        frame(0x82, &[7; 70_000], role),
        frame(0x88, &1000u16.to_be_bytes(), role),
    ];
    let (got, violation) = check(&frames.concat(), role, Limits::default());
    assert_eq!((got.len(), violation), (7, None));
}

#[test]
fn violations_are_found_in_the_same_place() {
    let role = Role::Server;
    let tight = Limits { message: 20, frames: 3, keep: 8 };
    for (frames, limits, why) in [
        (vec![frame(0x01, b"ab\xff", role)], Limits::default(), Violation::InvalidUtf8),
        (vec![frame(0x81, b"ab\xe6\xac", role)], Limits::default(), Violation::InvalidUtf8),
        (vec![frame(0x01, b"\xe6", role), frame(0x80, b"", role)], tight, Violation::InvalidUtf8),
        (vec![frame(0x02, &[0; 15], role), frame(0x00, &[0; 6], role)], tight, TOO_BIG),
        (vec![frame(0x82, &[0; 21], role)], tight, TOO_BIG),
        (
            [&[frame(0x02, b"", role)][..], &vec![frame(0x00, b"", role); 3]].concat(),
            tight,
            Violation::TooManyFrames,
        ),
        (
            vec![frame(0x01, b"a", role), frame(0x01, b"b", role)],
            tight,
            Violation::UnfinishedMessage,
        ),
    ] {
        assert_eq!(check(&frames.concat(), role, limits).1, Some(why));
    }
}

const TOO_BIG: Violation = Violation::MessageTooBig;

#[test]
fn random_frames_by_parts() {
    let mut random = Random(1);
    let (mut ends, mut whole) = (0, 0);
    for _ in 0..2000 {
        let role = [Role::Server, Role::Client][random.below(2)];
        let mut bytes = Vec::new();
        let mut open = false;
        for _ in 0..1 + random.below(8) {
            // Mostly what may come here, with texts that are cut anywhere.
            let fin = random.below(3) > 0;
            let opcode = match random.below(12) {
                0 => 0x9,
                1 => random.below(3) as u8,
                _ if open => 0x0,
                at => 1 + (at % 2) as u8,
            };
            open = if opcode == 0x9 { open } else { !fin };
            let text = "aé欢🙂".repeat(4);
            let start = if random.below(6) == 0 { 1 + random.below(3) } else { 0 };
            let end = if random.below(4) == 0 { random.below(text.len()) } else { text.len() };
            let payload = text.as_bytes().get(start..end).unwrap_or_default();
            let fin = fin || opcode == 0x9;
            bytes.extend(frame(opcode | if fin { 0x80 } else { 0 }, payload, role));
        }
        let limits = Limits { message: 100, frames: 4, keep: 8 };
        let (got, violation) = check(&bytes, role, limits);
        ends += usize::from(violation.is_some());
        whole += got.len();
    }
    assert!(ends > 200 && whole > 2000, "{ends} and {whole}: both are met");
}

#[test]
fn a_compressed_message_is_no_part() {
    let packed = Deflater::new(6, 15).message(&[b'a'; 500], false).to_vec();
    let mut bytes = frame(0x02, b"first", Role::Client);
    bytes.extend(frame(0x80, b"", Role::Client));
    encode_compressed(&mut bytes, Opcode::Text, &packed, None);
    bytes.extend(frame(0x82, b"last", Role::Client));
    for most in [1, 3, usize::MAX] {
        let mut receiver = Receiver::new(Role::Client);
        receiver.by_parts(true);
        receiver.inflates(true);
        let (mut seen, mut random) = (String::new(), Random(3));
        let cut = || 1 + random.below(most);
        let wrong = feed(&mut receiver, &bytes, Limits::default(), cut, |message| match message {
            Message::Part(part) => {
                seen.push_str(std::str::from_utf8(part.bytes).expect("ASCII"));
                seen.push_str(if part.last { "." } else { "" });
            }
            Message::Compressed(Opcode::Text, payload) => {
                assert_eq!(payload, packed);
                seen.push('z');
            }
            other => panic!("{other:?}"),
        });
        assert_eq!(wrong, None);
        assert_eq!(seen, "first.zlast.");
    }
}
