//! The receiver: vectors of the RFC, hostile input, limits, and agreement with a naive oracle.

mod core_support;

use core_support::{Got, Outcome, Wire, check, frame, oracle, receive};
use loopwork_ws::core::{Limits, Message, Receiver, Role, Violation};
use proptest::prelude::*;

const BIG: Limits = Limits { message: 16 << 20, frames: 1 << 17, keep: 1 << 10 };

/// Frames from a client, one behind the other.
fn frames(list: &[(u8, &[u8])]) -> Vec<u8> {
    list.iter().flat_map(|(first, payload)| frame(*first, payload, Role::Server)).collect()
}

fn text(text: &str) -> Got {
    Got::Text(text.to_owned())
}

fn ok(got: &[Got]) -> Outcome {
    (got.to_vec(), None)
}

/// After how many bytes, one by one, the violation comes.
fn refused_at(bytes: &[u8], role: Role, limits: Limits) -> Option<usize> {
    let mut wire = Wire::new(role, limits);
    bytes.iter().position(|byte| {
        wire.read(&[*byte]);
        wire.outcome.1.is_some()
    })
}

/// The violation, its code, and after how many bytes (counted from 0) it comes.
fn refused(bytes: &[u8], role: Role, violation: Violation, code: u16, at: usize) {
    assert_eq!(check(bytes, role, BIG).1, Some(violation), "{bytes:02x?}");
    assert_eq!(violation.code().get(), code);
    assert_eq!(refused_at(bytes, role, BIG), Some(at), "{violation}: {bytes:02x?}");
}

#[test]
fn rfc_6455_5_7_examples() {
    let unmasked = |bytes: &[u8]| check(bytes, Role::Client, Limits::default());
    let masked = |bytes: &[u8]| check(bytes, Role::Server, Limits::default());
    assert_eq!(unmasked(b"\x81\x05\x48\x65\x6c\x6c\x6f"), ok(&[text("Hello")]));
    let hello = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
    assert_eq!(masked(hello), ok(&[text("Hello")]));
    assert_eq!(unmasked(b"\x01\x03\x48\x65\x6c\x80\x02\x6c\x6f"), ok(&[text("Hello")]));
    assert_eq!(unmasked(b"\x89\x05\x48\x65\x6c\x6c\x6f"), ok(&[Got::Ping(b"Hello".to_vec())]));
    let pong = b"\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
    assert_eq!(masked(pong), ok(&[Got::Pong(b"Hello".to_vec())]));
    let mut bytes = b"\x82\x7e\x01\x00".to_vec();
    bytes.extend([7; 256]);
    assert_eq!(unmasked(&bytes), ok(&[Got::Binary(vec![7; 256])]));
    let mut bytes = b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00".to_vec();
    bytes.extend([7; 65536]);
    assert_eq!(unmasked(&bytes), ok(&[Got::Binary(vec![7; 65536])]));
}

#[test]
fn hostile_55_headers_are_1002_at_their_first_bad_byte() {
    use Violation as V;
    let (server, client) = (Role::Server, Role::Client);
    refused(b"\x81\x05Hello", server, V::UnmaskedFromClient, 1002, 1);
    refused(b"\x81\x85abcdefghi", client, V::MaskedFromServer, 1002, 1);
    for bit in [0x10, 0x20, 0x40, 0x70] {
        for opcode in [0, 1, 2, 8, 9, 10] {
            refused(&[0x80 | bit | opcode, 0x80], server, V::ReservedBits, 1002, 0);
        }
    }
    for opcode in (3..8).chain(11..16) {
        refused(&[0x80 | opcode, 0x80], server, V::ReservedOpcode, 1002, 0);
        refused(&[opcode, 0x80], server, V::ReservedOpcode, 1002, 0);
    }
    for opcode in 8..=10 {
        refused(&[opcode, 0x80, 1, 2, 3, 4], server, V::FragmentedControl, 1002, 0);
        refused(&[0x80 | opcode, 0xFE, 0, 126], server, V::OversizedControl, 1002, 1);
        refused(&[0x80 | opcode, 0xFF, 0, 0], server, V::OversizedControl, 1002, 1);
    }
    refused(b"\x82\xFE\x00\x7Dabcd", server, V::NonMinimalLength, 1002, 3);
    refused(b"\x82\x7E\x00\x00", client, V::NonMinimalLength, 1002, 3);
    refused(b"\x82\x7F\0\0\0\0\0\0\xFF\xFF", client, V::NonMinimalLength, 1002, 7);
    refused(b"\x82\x7F\x80\0\0\0\0\0\0\0", client, V::LengthOverflow, 1002, 2);
    refused(b"\x82\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFFabcd", server, V::LengthOverflow, 1002, 2);
}

#[test]
fn hostile_55_order_of_frames_is_1002() {
    let role = Role::Server;
    let start = frames(&[(0x01, b"Hel")]).len();
    for first in [0x00, 0x80] {
        let bytes = frames(&[(first, b"lo")]);
        refused(&bytes, role, Violation::UnexpectedContinuation, 1002, 0);
    }
    for first in [0x01, 0x81, 0x02, 0x82] {
        let bytes = frames(&[(0x01, b"Hel"), (first, b"lo")]);
        refused(&bytes, role, Violation::UnfinishedMessage, 1002, start);
    }
    // A message that ended is not continued.
    let bytes = frames(&[(0x01, b"Hel"), (0x80, b"lo"), (0x80, b"!")]);
    let (got, violation) = check(&bytes, role, BIG);
    assert_eq!((got, violation), (vec![text("Hello")], Some(Violation::UnexpectedContinuation)));
}

#[test]
fn hostile_60_controls_come_between_fragments() {
    let bytes = frames(&[
        (0x01, "Gr\u{fc}".as_bytes().split_at(3).0),
        (0x89, b"are you there"),
        (0x00, b""),
        (0x8A, b""),
        (0x80, b"\xBC\xC3\x9Fe"),
        (0x82, b""),
        (0x88, b"\x03\xE8bye"),
        (0x81, b"after the end"),
    ]);
    let expected = [
        Got::Ping(b"are you there".to_vec()),
        Got::Pong(vec![]),
        text("Gr\u{fc}\u{df}e"),
        Got::Binary(vec![]),
        Got::Close(1000, "bye".to_owned()),
    ];
    assert_eq!(check(&bytes, Role::Server, BIG), ok(&expected));
}

#[test]
fn hostile_61_text_is_1007_at_its_first_bad_byte() {
    let bad: [&[u8]; 12] = [
        b"\x80",
        b"\xC0",
        b"\xC1",
        b"\xE0\x80",
        b"\xE0\x9F",
        b"\xED\xA0",
        b"\xED\xBF",
        b"\xF0\x8F",
        b"\xF4\x90",
        b"\xF5",
        b"\xFF",
        b"\xE2\x82a",
    ];
    for bad in bad {
        for before in ["", "a", "\u{20AC}", "0123456789 0123456789 0123456789 0123456789 \u{1F600}"]
        {
            let payload = [before.as_bytes(), bad, b"behind"].concat();
            let one = frames(&[(0x81, &payload)]);
            let at = one.len() - b"behind".len() - 1;
            refused(&one, Role::Server, Violation::InvalidUtf8, 1007, at);
            // Over fragments, cut inside the bad sequence.
            let cut = before.len() + bad.len() - 1;
            let head = frames(&[(0x01, &payload[..cut])]);
            let two = frames(&[(0x01, &payload[..cut]), (0x89, b"ping"), (0x80, &payload[cut..])]);
            let at = head.len() + frames(&[(0x89, b"ping")]).len() + 6;
            refused(&two, Role::Server, Violation::InvalidUtf8, 1007, at);
        }
    }
    for cut in [&b"\xC3"[..], b"\xE2\x82", b"\xF0\x9F\x98"] {
        let one = frames(&[(0x81, cut)]);
        refused(&one, Role::Server, Violation::InvalidUtf8, 1007, one.len() - 1);
        let two = frames(&[(0x01, cut), (0x80, b"")]);
        refused(&two, Role::Server, Violation::InvalidUtf8, 1007, two.len() - 1);
    }
}

#[test]
fn hostile_62_closes() {
    let role = Role::Server;
    refused(&frames(&[(0x88, b"\x03")]), role, Violation::TruncatedCloseCode, 1002, 5);
    let reserved = (0..1000).chain(1004..1007).chain(1015..3000).chain(5000..=65535);
    for code in reserved.step_by(7).chain([0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000]) {
        let payload = [&(code as u16).to_be_bytes()[..], b"why"].concat();
        let bytes = frames(&[(0x88, &payload)]);
        refused(&bytes, role, Violation::ReservedCloseCode, 1002, 7);
    }
    for code in (1000..=1003).chain(1007..=1014).chain([3000, 3999, 4000, 4999]) {
        let bytes = frames(&[(0x88, &[&u16::to_be_bytes(code)[..], b"why"].concat())]);
        assert_eq!(check(&bytes, role, BIG), ok(&[Got::Close(code, "why".to_owned())]));
    }
    assert_eq!(check(&frames(&[(0x88, b"")]), role, BIG), ok(&[Got::Close(1005, String::new())]));
    refused(&frames(&[(0x88, b"\x03\xE8ok\xFFno")]), role, Violation::InvalidUtf8, 1007, 10);
    refused(&frames(&[(0x88, b"\x03\xE8\xE2\x82")]), role, Violation::InvalidUtf8, 1007, 9);
    let longest = [b"\x03\xE8", &[b'x'; 123][..]].concat();
    let (got, _) = check(&frames(&[(0x88, &longest)]), role, BIG);
    assert_eq!(got, [Got::Close(1000, "x".repeat(123))]);
}

#[test]
fn hostile_56_limit_of_a_message_holds_at_the_header() {
    let limits = Limits { message: 10, frames: 4, keep: 0 };
    let big = |bytes: &[u8], at| {
        assert_eq!(check(bytes, Role::Server, limits).1, Some(Violation::MessageTooBig));
        assert_eq!(refused_at(bytes, Role::Server, limits), Some(at));
        assert_eq!(Violation::MessageTooBig.code().get(), 1009);
    };
    assert_eq!(check(&frames(&[(0x82, &[1; 10])]), Role::Server, limits).1, None);
    big(&frames(&[(0x82, &[1; 11])]), 5);
    big(&frames(&[(0x81, &[b'a'; 300])]), 7);
    big(b"\x82\xFF\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xFFabcd", 13);
    big(&frames(&[(0x02, &[1; 6]), (0x89, &[2; 50]), (0x80, &[1; 5])]), 12 + 56 + 5);
    let fits = frames(&[(0x02, &[1; 6]), (0x89, &[2; 50]), (0x80, &[1; 4]), (0x82, &[3; 10])]);
    for keep in [0, 1000] {
        // Message by message, whether the buffer is kept or not.
        let outcome = check(&fits.repeat(3), Role::Server, Limits { keep, ..limits });
        assert_eq!((outcome.0.len(), outcome.1), (9, None));
    }
    // The limit counts bytes, not characters, held ones too.
    let euro = frames(&[(0x01, b"\xE2\x82"), (0x00, b"\xAC"), (0x80, b"12345678")]);
    assert_eq!(check(&euro, Role::Server, limits).1, Some(Violation::MessageTooBig));
}

#[test]
fn hostile_57_limit_of_frames_bounds_empty_fragments() {
    let limits = Limits { message: 10, frames: 4, keep: 0 };
    let four = frames(&[(0x02, b""), (0x00, b""), (0x00, b""), (0x8A, b""), (0x80, b"x")]);
    assert_eq!(check(&four, Role::Server, limits).0, [Got::Pong(vec![]), Got::Binary(vec![b'x'])]);
    let twice = [four.clone(), four].concat();
    assert_eq!(check(&twice, Role::Server, limits).0.len(), 4);
    let five = frames(&[(0x02, b""), (0x00, b""), (0x00, b""), (0x00, b""), (0x80, b"x")]);
    let outcome = check(&five, Role::Server, limits);
    assert_eq!(outcome.1, Some(Violation::TooManyFrames));
    assert_eq!(Violation::TooManyFrames.code().get(), 1009);
}

#[test]
fn autobahn_9_3_passes_by_default() {
    // 4 MiB in fragments of 64 bytes.
    let mut bytes = Vec::new();
    for i in 0..65536 {
        let first = if i == 0 { 0x01 } else { 0x00 } | if i == 65535 { 0x80 } else { 0 };
        bytes.extend(frame(first, &[b'*'; 64], Role::Server));
    }
    let (got, violation) = receive(&bytes, Role::Server, Limits::default(), || 65536);
    assert_eq!(violation, None);
    assert_eq!(got, [text(&"*".repeat(4 << 20))]);
    // 9.1.6: 16 MiB in one frame.
    let bytes = frame(0x81, &vec![b'*'; 16 << 20], Role::Server);
    let (got, violation) = receive(&bytes, Role::Server, Limits::default(), || 65536);
    assert_eq!((got.len(), violation), (1, None));
}

#[test]
fn idle_receiver_is_small_and_gives_memory_back() {
    assert!(size_of::<Receiver>() <= 40);
    let limits = Limits { keep: 100, ..Limits::default() };
    let mut receiver = Receiver::new(Role::Server);
    let mut bytes = frames(&[(0x02, &[1; 50]), (0x80, &[2; 5000])]);
    let (used, message) = receiver.next(&mut bytes, &limits).expect("valid");
    assert!(matches!(message, Some(Message::Binary(b)) if b.len() == 5050));
    assert!(!receiver.in_message() && receiver.memory() >= 5050);
    assert_eq!(receiver.next(&mut bytes[used..], &limits), Ok((0, None)));
    assert_eq!(receiver.memory(), 0, "a large buffer is dropped after delivery");
    let mut bytes = frames(&[(0x01, b"small")]);
    let all = bytes.len();
    assert_eq!(receiver.next(&mut bytes, &limits), Ok((all, None)));
    assert!(receiver.in_message());
    receiver.release();
    let mut bytes = frames(&[(0x80, b" talk")]);
    let (_, message) = receiver.next(&mut bytes, &limits).expect("valid");
    assert_eq!(message, Some(Message::Text("small talk")), "an unfinished one is not released");
    assert_eq!(receiver.next(&mut [], &limits), Ok((0, None)));
    assert!(receiver.memory() > 0, "a small buffer is kept");
    receiver.release();
    assert_eq!(receiver.memory(), 0);
}

#[test]
fn whole_messages_are_shown_in_place() {
    let mut bytes = frames(&[(0x82, b"in place"), (0x81, b"too")]);
    let inside = bytes.as_ptr_range();
    let mut receiver = Receiver::new(Role::Server);
    let mut used = 0;
    for _ in 0..2 {
        let (n, message) = receiver.next(&mut bytes[used..], &BIG).expect("valid");
        used += n;
        let at = match message {
            Some(Message::Binary(bytes)) => bytes.as_ptr(),
            Some(Message::Text(text)) => text.as_ptr(),
            other => panic!("{other:?}"),
        };
        assert!(inside.contains(&at));
        assert_eq!(receiver.memory(), 0);
    }
}

#[test]
fn hostile_58_flood_of_tiny_frames_stops_where_the_caller_wants() {
    // 64 KiB of empty frames: each comes by itself, so that the caller can count and stop.
    let mut flood = frame(0x81, b"", Role::Server).repeat(10_922);
    let mut receiver = Receiver::new(Role::Server);
    let (mut used, mut messages) = (0, 0);
    while messages < 100 {
        let (n, message) = receiver.next(&mut flood[used..], &BIG).expect("valid");
        assert_eq!((n, message), (6, Some(Message::Text(""))));
        used += n;
        messages += 1;
    }
    // Later, from another buffer, in the middle of a header.
    let mut later = flood[used..].to_vec();
    let mut at = 0;
    for end in [later.len() - 3, later.len()] {
        while let (n, Some(_)) = receiver.next(&mut later[at..end], &BIG).expect("valid") {
            at += n;
            messages += 1;
        }
    }
    assert_eq!((at, messages), (later.len(), 10_922));
}

#[test]
fn hostile_62_nothing_counts_after_an_end() {
    let mut receiver = Receiver::new(Role::Server);
    let mut bytes = frames(&[(0x88, b""), (0x88, b""), (0x81, b"late")]);
    let all = bytes.len();
    let (used, message) = receiver.next(&mut bytes, &BIG).expect("valid");
    assert!(matches!(message, Some(Message::Close(_))) && receiver.is_closed());
    assert_eq!(receiver.next(&mut bytes[used..], &BIG), Ok((all - used, None)));
    let mut receiver = Receiver::new(Role::Server);
    assert!(receiver.next(&mut [0xFF], &BIG).is_err());
    assert!(receiver.is_closed());
    assert_eq!(receiver.next(&mut frames(&[(0x81, b"late")]), &BIG), Ok((10, None)));
}

/// What a peer sends: messages in fragments with controls between.
fn traffic() -> impl Strategy<Value = Vec<(u8, Vec<u8>)>> {
    let fragment = prop_oneof![
        4 => "\\PC{0,12}".prop_map(String::into_bytes),
        2 => prop::collection::vec(any::<u8>(), 0..200),
        1 => prop::collection::vec(any::<u8>(), 60_000..70_000),
    ];
    let first = prop_oneof![
        30 => prop::sample::select(vec![0x81, 0x82, 0x01, 0x02, 0x00, 0x80, 0x00, 0x80]),
        10 => prop::sample::select(vec![0x89, 0x8A]),
        1 => Just(0x88),
        1 => any::<u8>(),
    ];
    prop::collection::vec((first, fragment), 0..12)
}

/// Turns most of the sins of random traffic into virtue, so that long valid runs occur too.
fn tidy(traffic: &mut [(u8, Vec<u8>)]) {
    let mut open: Option<u8> = None;
    for (first, payload) in traffic {
        match *first & 15 {
            0..=2 => {
                let opcode = if open.is_some() { 0 } else { 1 + (*first & 1) };
                let kind = *open.get_or_insert(opcode);
                *first = *first & 0x80 | opcode;
                if kind == 1 {
                    *payload = String::from_utf8_lossy(payload).into_owned().into_bytes();
                }
                if *first & 0x80 != 0 {
                    open = None;
                }
            }
            8 => *payload = b"\x03\xE9going".to_vec(),
            _ => payload.truncate(125),
        }
    }
}

fn against_oracle(
    bytes: &[u8],
    role: Role,
    limits: Limits,
    seed: u64,
) -> Result<(), TestCaseError> {
    let expected = oracle(bytes, role, limits);
    let mut random = core_support::Random(seed);
    prop_assert_eq!(&receive(bytes, role, limits, || usize::MAX), &expected);
    for most in [1, 9, 700, 70_000] {
        let got = receive(bytes, role, limits, || 1 + random.below(most));
        prop_assert_eq!(&got, &expected, "cuts up to {}", most);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 400, failure_persistence: None, ..Default::default()
    })]

    #[test]
    fn agrees_with_the_oracle_on_traffic(
        mut traffic in traffic(),
        tidied in prop::bool::weighted(0.7),
        server in any::<bool>(),
        small in prop::bool::weighted(0.2),
        seed in any::<u64>(),
    ) {
        let role = if server { Role::Server } else { Role::Client };
        if tidied { tidy(&mut traffic) }
        let bytes: Vec<u8> =
            traffic.iter().flat_map(|(first, payload)| frame(*first, payload, role)).collect();
        let limits = if small { Limits { message: 150, frames: 3, keep: 10 } } else { BIG };
        against_oracle(&bytes, role, limits, seed)?;
    }

    #[test]
    fn agrees_with_the_oracle_on_corrupted_traffic(
        mut traffic in traffic(),
        server in any::<bool>(),
        hits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
        seed in any::<u64>(),
    ) {
        let role = if server { Role::Server } else { Role::Client };
        tidy(&mut traffic);
        let mut bytes: Vec<u8> =
            traffic.iter().flat_map(|(first, payload)| frame(*first, payload, role)).collect();
        bytes.extend(frame(0x81, "end \u{20AC}".as_bytes(), role));
        for (at, value) in hits {
            let at = at.index(bytes.len().min(4000));
            bytes[at] ^= value;
        }
        bytes.truncate(bytes.len() - cut.index(bytes.len().min(20)));
        against_oracle(&bytes, role, BIG, seed)?;
    }

    #[test]
    fn agrees_with_the_oracle_on_noise(
        mut bytes in prop::collection::vec(any::<u8>(), 0..60),
        first in prop::sample::select(vec![0x81, 0x01, 0x82, 0x02, 0x88, 0x89]),
        len in 0..130_u8,
        server in any::<bool>(),
    ) {
        let role = if server { Role::Server } else { Role::Client };
        bytes.splice(0..0, [first, len | if server { 0x80 } else { 0 }]);
        check(&bytes, role, Limits { message: 1000, frames: 3, keep: 5 });
    }
}

#[test]
fn work_is_linear_in_the_bytes() {
    // Byte by byte, in one frame and in a frame for each byte: eight times the bytes must not
    // take much more than eight times as long (quadratic work would take 64 times as long).
    let time = |bytes: &[u8]| {
        let run = || {
            let start = std::time::Instant::now();
            let outcome = receive(bytes, Role::Server, BIG, || 1);
            assert_eq!((outcome.0.len(), outcome.1), (1, None));
            start.elapsed()
        };
        (0..5).map(|_| run()).min().expect("five runs")
    };
    let one = |len| frame(0x81, &vec![b'x'; len], Role::Server);
    let many = |len| {
        let mut bytes = frame(0x01, b"x", Role::Server);
        (0..len).for_each(|_| bytes.extend(frame(0x00, b"x", Role::Server)));
        bytes.extend(frame(0x80, b"", Role::Server));
        bytes
    };
    // A busy machine may slow any one measurement: linear work shows in one of ten, and quadratic
    // work in none.
    let is_linear = |small: &[u8], large: &[u8]| {
        let ratio = || time(large).as_secs_f64() / time(small).as_secs_f64();
        assert!((0..10).any(|_| ratio() < 24.0), "8 times the bytes take far more than 8 times");
    };
    is_linear(&one(20_000), &one(160_000));
    is_linear(&many(4_000), &many(32_000));
}
