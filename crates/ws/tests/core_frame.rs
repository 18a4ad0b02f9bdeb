//! Frame headers and encoding: vectors of RFC 6455 §5.7, minimal lengths, and what is encoded is
//! read back; masking against the formula of §5.3.

mod core_support;

use core_support::{Got, check, frame};
use loopwork_ws::core::frame::{Header, MAX_HEADER, encode, encode_header, parse_header};
use loopwork_ws::core::mask::{self, Mask};
use loopwork_ws::core::{Fragments, Limits, Opcode, Role, Violation};
use proptest::prelude::*;

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

fn encoded(opcode: Opcode, payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    let mut out = b"before".to_vec();
    encode(&mut out, opcode, payload, mask);
    out.split_off(6)
}

#[test]
fn rfc_6455_5_7_examples_are_what_we_send() {
    assert_eq!(encoded(Opcode::Text, b"Hello", None), b"\x81\x05\x48\x65\x6c\x6c\x6f");
    let masked = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
    assert_eq!(encoded(Opcode::Text, b"Hello", Some(KEY)), masked);
    assert_eq!(encoded(Opcode::Ping, b"Hello", None), b"\x89\x05\x48\x65\x6c\x6c\x6f");
    let masked = b"\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
    assert_eq!(encoded(Opcode::Pong, b"Hello", Some(KEY)), masked);
    assert!(encoded(Opcode::Binary, &[0; 256], None).starts_with(b"\x82\x7E\x01\x00\0"));
    let long = encoded(Opcode::Binary, &[0; 65536], None);
    assert!(long.starts_with(b"\x82\x7F\x00\x00\x00\x00\x00\x01\x00\x00\0"));
    let mut out = Vec::new();
    let mut hello = Fragments::text();
    hello.part(&mut out, b"Hel", None);
    hello.finish(&mut out, b"lo", None);
    assert_eq!(out, b"\x01\x03\x48\x65\x6c\x80\x02\x6c\x6f");
}

#[test]
fn lengths_take_their_shortest_form() {
    let header = |len| {
        let mut out = Vec::new();
        encode_header(&mut out, true, Opcode::Binary, false, len, None);
        out
    };
    assert_eq!(header(0), [0x82, 0]);
    assert_eq!(header(125), [0x82, 125]);
    assert_eq!(header(126), [0x82, 126, 0, 126]);
    assert_eq!(header(255), [0x82, 126, 0, 255]);
    assert_eq!(header(256), [0x82, 126, 1, 0]);
    assert_eq!(header(65535), [0x82, 126, 255, 255]);
    assert_eq!(header(65536), [0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
    let most = [0x82, 127, 0x7F, 255, 255, 255, 255, 255, 255, 255];
    assert_eq!(header(u64::MAX >> 1), most);
}

#[test]
fn control_payload_is_cut_to_125_bytes() {
    let ping = encoded(Opcode::Ping, &[b'p'; 200], None);
    assert_eq!(ping, frame(0x89, &[b'p'; 125], Role::Client));
}

#[test]
fn rsv1_only_where_it_is_allowed() {
    let parse = |bytes: &[u8], allow| parse_header(bytes, Role::Client, allow);
    assert_eq!(parse(b"\xC1\x00", false), Err(Violation::ReservedBits));
    let header = Header { fin: true, rsv1: true, opcode: Opcode::Text, mask: None, len: 0 };
    assert_eq!(parse(b"\xC1\x00", true), Ok(Some((header, 2))));
    for first in [0xC0, 0x40, 0xC8, 0xC9, 0xCA, 0xE1, 0xD1, 0xA1, 0x91] {
        assert_eq!(parse(&[first, 0], true), Err(Violation::ReservedBits), "{first:02x}");
    }
    let mut out = Vec::new();
    encode_header(&mut out, false, Opcode::Binary, true, 3, None);
    assert_eq!(out, [0x42, 3]);
}

#[test]
fn streamed_message_arrives_whole() {
    let (mut out, mut expected) = (Vec::new(), Vec::new());
    let mut message = Fragments::binary();
    for i in 0..20_u8 {
        let part = vec![i; usize::from(i) * 40];
        message.part(&mut out, &part, Some([i, 1, 2, 3]));
        expected.extend(part);
        encode(&mut out, Opcode::Ping, &[i], Some(KEY));
    }
    message.finish(&mut out, b"", Some(KEY));
    encode(&mut out, Opcode::Text, b"next", Some(KEY));
    let (got, violation) = check(&out, Role::Server, Limits::default());
    assert_eq!((got.len(), violation), (22, None));
    assert_eq!(got[20..], [Got::Binary(expected), Got::Text("next".to_owned())]);
}

fn any_opcode() -> impl Strategy<Value = Opcode> {
    use Opcode::{Binary, Close, Continuation, Ping, Pong, Text};
    prop::sample::select(vec![Continuation, Text, Binary, Close, Ping, Pong])
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn header_is_read_back_and_no_beginning_of_it_is_refused(
        opcode in any_opcode(),
        fin in any::<bool>(),
        rsv1 in any::<bool>(),
        mask in any::<Option<[u8; 4]>>(),
        bits in 0..64_u32,
        noise in any::<u64>(),
        behind in any::<[u8; 3]>(),
    ) {
        let len = (noise >> 1) >> bits;
        let control = opcode.is_control();
        let header = Header {
            fin: fin || control,
            rsv1: rsv1 && matches!(opcode, Opcode::Text | Opcode::Binary),
            opcode,
            mask,
            len: if control { len % 126 } else { len },
        };
        let mut out = Vec::new();
        encode_header(&mut out, header.fin, opcode, header.rsv1, header.len, mask);
        let size = out.len();
        prop_assert!(size <= MAX_HEADER);
        out.extend(behind);
        let role = if mask.is_some() { Role::Server } else { Role::Client };
        prop_assert_eq!(parse_header(&out, role, true), Ok(Some((header, size))));
        for cut in 0..size {
            prop_assert_eq!(parse_header(&out[..cut], role, true), Ok(None));
        }
        let other = if mask.is_some() { Role::Client } else { Role::Server };
        prop_assert!(parse_header(&out[..2], other, true).is_err());
    }

    #[test]
    fn more_bytes_never_change_a_verdict(
        bytes in prop::collection::vec(any::<u8>(), 0..20),
        server in any::<bool>(),
        allow_rsv1 in any::<bool>(),
    ) {
        let role = if server { Role::Server } else { Role::Client };
        let whole = parse_header(&bytes, role, allow_rsv1);
        let mut known = false;
        for cut in 0..=bytes.len() {
            let verdict = parse_header(&bytes[..cut], role, allow_rsv1);
            prop_assert!(verdict == whole || verdict == Ok(None) && !known);
            known |= verdict != Ok(None);
        }
    }

    #[test]
    fn mask_is_the_formula_however_it_is_cut(
        key in any::<[u8; 4]>(),
        payload in prop::collection::vec(any::<u8>(), 0..200),
        cuts in prop::collection::vec(0..30_usize, 0..12),
        skip in 0..9_usize,
    ) {
        let formula: Vec<u8> =
            payload.iter().enumerate().map(|(i, byte)| byte ^ key[i % 4]).collect();
        let mut whole = payload.clone();
        mask::apply(key, &mut whole);
        prop_assert_eq!(&whole, &formula);
        mask::apply(key, &mut whole);
        prop_assert_eq!(&whole, &payload);
        // In parts, at any alignment in memory.
        let mut parts = vec![0; skip];
        parts.extend(&payload);
        let mut mask = Mask::new(key);
        let mut rest = &mut parts[skip..];
        for cut in cuts {
            let (part, behind) = rest.split_at_mut(cut.min(rest.len()));
            mask.apply(part);
            rest = behind;
        }
        mask.apply(rest);
        prop_assert_eq!(&parts[skip..], &formula[..]);
    }

    #[test]
    fn encoded_messages_arrive(
        text in "\\PC{0,300}",
        binary in prop::collection::vec(any::<u8>(), 0..70_000),
        key in any::<Option<[u8; 4]>>(),
    ) {
        let role = if key.is_some() { Role::Server } else { Role::Client };
        let mut out = Vec::new();
        encode(&mut out, Opcode::Text, text.as_bytes(), key);
        encode(&mut out, Opcode::Binary, &binary, key);
        let outcome = core_support::receive(&out, role, Limits::default(), || 4096);
        prop_assert_eq!(outcome, (vec![Got::Text(text), Got::Binary(binary)], None));
    }
}
