//! The streaming UTF-8 decoder against `std::str::from_utf8`, at all cuts.

use loopwork_ws::core::utf8::{Decoder, InvalidUtf8};
use proptest::prelude::*;

/// Decodes the parts and then the end.
fn decode<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Result<String, InvalidUtf8> {
    let (mut decoder, mut text) = (Decoder::new(), String::new());
    for part in parts {
        let decoded = decoder.decode(part)?;
        text.extend(decoded.first);
        text.push_str(decoded.run);
        assert!(decoder.held() <= 3);
    }
    decoder.finish()?;
    Ok(text)
}

/// The first byte at which no text can begin like this any more, by `std`, prefix by prefix.
fn first_bad_byte(bytes: &[u8]) -> Option<usize> {
    (0..bytes.len()).find(|at| {
        std::str::from_utf8(&bytes[..=*at]).is_err_and(|error| error.error_len().is_some())
    })
}

fn check(bytes: &[u8]) {
    let expected = std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| InvalidUtf8);
    assert_eq!(decode([bytes]), expected, "whole, {bytes:02x?}");
    assert_eq!(decode(bytes.chunks(1)), expected, "byte by byte, {bytes:02x?}");
    for cut in 0..=bytes.len() {
        let (a, b) = bytes.split_at(cut);
        assert_eq!(decode([a, b]), expected, "cut at {cut}, {bytes:02x?}");
        assert_eq!(decode([a, &[], b, &[]]), expected, "cut at {cut}, {bytes:02x?}");
        // A part is refused exactly when it contains the first bad byte.
        let mut decoder = Decoder::new();
        let refused = decoder.decode(a).is_err();
        assert_eq!(refused, first_bad_byte(a).is_some(), "part of {cut}, {bytes:02x?}");
        if !refused {
            assert_eq!(decoder.decode(b).is_err(), first_bad_byte(bytes).is_some());
        }
    }
    let mut decoder = Decoder::new();
    let refused = bytes.iter().position(|byte| decoder.decode(&[*byte]).is_err());
    assert_eq!(refused, first_bad_byte(bytes), "earliest byte, {bytes:02x?}");
}

#[test]
fn every_character_byte_by_byte() {
    let mut utf8 = [0; 4];
    for char in '\0'..=char::MAX {
        let bytes = char.encode_utf8(&mut utf8).as_bytes();
        assert_eq!(decode(bytes.chunks(1)).as_deref(), Ok(char.encode_utf8(&mut [0; 4]) as &str));
    }
}

#[test]
fn every_two_bytes_and_what_borders_on_validity() {
    for a in 0..=255 {
        for b in 0..=255 {
            check(&[a, b]);
        }
    }
    let edges = [0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xED, 0xF4, 0xFF];
    for a in 0xE0..=0xFF {
        for b in edges {
            for c in edges {
                check(&[a, b, c]);
                for d in [0x7F, 0x80, 0xBF, 0xC0] {
                    check(&[a, b, c, d, b'z']);
                }
            }
        }
    }
}

#[test]
fn refused_where_the_rfc_says() {
    let refused_at = |bytes: &[u8]| {
        let mut decoder = Decoder::new();
        bytes.iter().position(|byte| decoder.decode(&[*byte]).is_err())
    };
    assert_eq!(refused_at(b"\xE0\x80\x80"), Some(1)); // overlong
    assert_eq!(refused_at(b"\xF0\x8F\xBF\xBF"), Some(1)); // overlong
    assert_eq!(refused_at(b"\xED\xA0\x80"), Some(1)); // surrogate
    assert_eq!(refused_at(b"\xF4\x90\x80\x80"), Some(1)); // above U+10FFFF
    assert_eq!(refused_at(b"\xF5"), Some(0));
    assert_eq!(refused_at(b"\xC0\xAF"), Some(0));
    assert_eq!(refused_at(b"ok\x80"), Some(2));
    // Autobahn 6.4: text and then a character above U+10FFFF.
    assert_eq!(refused_at(b"\xCE\xBA\xE1\xBD\xB9\xCF\x83\xCE\xBC\xCE\xB5\xF4\x90\x80"), Some(12));
}

/// Bytes that are nearly text.
fn nearly_text() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        6 => any::<char>().prop_map(|char| char.to_string().into_bytes()),
        3 => "[ -~]{0,70}".prop_map(String::into_bytes),
        1 => prop::collection::vec(0x80..=0xFF_u8, 1..4),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn agrees_with_std(bytes in nearly_text()) {
        check(&bytes);
    }

    #[test]
    fn agrees_with_std_in_many_parts(
        text in "\\PC{0,400}",
        cuts in prop::collection::vec(0..40_usize, 0..40),
    ) {
        let mut rest = text.as_bytes();
        let mut parts = Vec::new();
        for cut in cuts {
            let (part, behind) = rest.split_at(cut.min(rest.len()));
            parts.push(part);
            rest = behind;
        }
        parts.push(rest);
        prop_assert_eq!(decode(parts), Ok(text.clone()));
    }
}
