//! Close codes and payloads: which numbers are valid, what is encoded and read back.

use loopwork_ws::core::close::{MAX_REASON, encode, parse, truncate_reason};
use loopwork_ws::core::{CloseCode, CloseFrame, Violation};
use proptest::prelude::*;

#[test]
fn every_code() {
    for number in 0..=u16::MAX {
        let valid = matches!(number, 1000..=1003 | 1007..=1014 | 3000..=4999);
        assert_eq!(CloseCode::new(number).map(CloseCode::get), valid.then_some(number));
        let parsed = parse(&number.to_be_bytes()).map(|close| close.code.get());
        assert_eq!(parsed, if valid { Ok(number) } else { Err(Violation::ReservedCloseCode) });
    }
    assert!(CloseCode::TOO_BIG.is_sendable());
    assert!(!CloseCode::NO_STATUS.is_sendable() && !CloseCode::ABNORMAL.is_sendable());
    assert_eq!(format!("{0} {0:?}", CloseCode::NORMAL), "1000 CloseCode(1000)");
}

#[test]
fn payloads() {
    assert_eq!(parse(b""), Ok(CloseFrame { code: CloseCode::NO_STATUS, reason: "" }));
    assert_eq!(parse(b"\x03"), Err(Violation::TruncatedCloseCode));
    assert_eq!(parse(b"\x03\xE8"), Ok(CloseFrame { code: CloseCode::NORMAL, reason: "" }));
    assert_eq!(parse(b"\x03\xE9bye").map(|close| close.reason), Ok("bye"));
    assert_eq!(parse(b"\x03\xE8\xFF"), Err(Violation::InvalidUtf8));
    assert_eq!(parse(b"\x03\xE8\xC3"), Err(Violation::InvalidUtf8));
}

#[test]
fn what_is_sent() {
    let sent = |code, reason: &str, mask| {
        let mut out = Vec::new();
        encode(&mut out, code, reason, mask);
        out
    };
    assert_eq!(sent(CloseCode::NORMAL, "bye", None), b"\x88\x05\x03\xE8bye");
    let masked = sent(CloseCode::NORMAL, "", Some([1, 2, 3, 4]));
    assert_eq!(masked, [0x88, 0x82, 1, 2, 3, 4, 0x03 ^ 1, 0xE8 ^ 2]);
    assert_eq!(sent(CloseCode::NO_STATUS, "not sent", None), b"\x88\x00");
    assert_eq!(sent(CloseCode::ABNORMAL, "not sent", None), b"\x88\x00");
    // 41 characters of three bytes are 123 bytes; the 42nd does not fit.
    let long = sent(CloseCode::NORMAL, &"\u{20AC}".repeat(50), None);
    assert_eq!(long.len(), 2 + 125);
    let long = sent(CloseCode::NORMAL, &format!("a{}", "\u{20AC}".repeat(50)), None);
    assert_eq!(long.len(), 2 + 2 + 1 + 40 * 3);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn is_read_back(number in 3000..5000_u16, reason in "\\PC{0,130}") {
        let code = CloseCode::new(number).expect("valid");
        let mut out = Vec::new();
        encode(&mut out, code, &reason, None);
        let cut = truncate_reason(&reason);
        prop_assert_eq!(parse(&out[2..]), Ok(CloseFrame { code, reason: cut }));
        prop_assert!(reason.starts_with(cut) && cut.len() <= MAX_REASON);
        let next = reason[cut.len()..].chars().next().map_or(MAX_REASON, char::len_utf8);
        prop_assert!(cut.len() + next > MAX_REASON || cut == reason);
    }

    #[test]
    fn never_panics(payload in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&payload);
    }
}
