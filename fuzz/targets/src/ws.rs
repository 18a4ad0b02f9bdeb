//! The WebSocket targets: frame headers both ways, a receiver under any cut beside the plain one
//! of the crate's tests, and the opening handshake.

use crate::cuts::Cuts;
use loopwork_ws::core::{Limits, Opcode, Role, frame, handshake, mask};

#[path = "../../../crates/ws/tests/core_support/mod.rs"]
#[allow(dead_code, reason = "of the tests' helpers only the oracle and the wire are used")]
mod support;

/// Limits that a small input reaches.
const TIGHT: Limits = Limits { message: 40, frames: 3, keep: 8 };

/// A header that is parsed is encoded to the same bytes, and no shorter piece of it says anything
/// else than "more"; a frame that is encoded is parsed to the same payload.
pub fn ws_frame(data: &[u8]) {
    for (role, rsv1) in
        [Role::Server, Role::Client].into_iter().flat_map(|r| [(r, false), (r, true)])
    {
        let whole = frame::parse_header(data, role, rsv1);
        let said = (0..=data.len().min(frame::MAX_HEADER))
            .map(|end| frame::parse_header(&data[..end], role, rsv1))
            .find(|part| *part != Ok(None));
        assert_eq!(said.unwrap_or(Ok(None)), whole, "the first word is the last");
        if let Ok(Some((header, len))) = whole {
            let frame::Header { fin, rsv1, opcode, mask, len: payload } = header;
            let mut again = Vec::new();
            frame::encode_header(&mut again, fin, opcode, rsv1, payload, mask);
            assert_eq!(again, data[..len]);
            assert!(!opcode.is_control() || payload <= frame::MAX_CONTROL as u64);
        }
    }
    if let [first, a, b, c, d, payload @ ..] = data
        && let Some(opcode) = Opcode::from_bits(first & 15)
    {
        a_frame_comes_back(opcode, [*a, *b, *c, *d], payload);
    }
}

fn a_frame_comes_back(opcode: Opcode, key: [u8; 4], payload: &[u8]) {
    let most = if opcode.is_control() { frame::MAX_CONTROL } else { usize::MAX };
    let sent = &payload[..payload.len().min(most)];
    for (role, key) in [(Role::Server, Some(key)), (Role::Client, None)] {
        let mut out = Vec::new();
        frame::encode(&mut out, opcode, payload, key);
        let (header, at) = frame::parse_header(&out, role, false).unwrap().expect("whole");
        assert_eq!((header.fin, header.opcode, header.mask), (true, opcode, key));
        assert_eq!((header.len, out.len()), (sent.len() as u64, at + sent.len()));
        // Unmasked in pieces.
        let (mut mask, mut rest) = (mask::Mask::new(key.unwrap_or_default()), &mut out[at..]);
        let mut cuts = Cuts::of(payload, 40);
        while !rest.is_empty() {
            let (part, behind) = rest.split_at_mut(cuts.next().min(rest.len()));
            mask.apply(part);
            rest = behind;
        }
        assert_eq!(&out[at..], sent);
    }
}

/// Any cut gives the same messages and the same violation, which are those of the oracle.
pub fn ws_cuts(data: &[u8]) {
    for role in [Role::Server, Role::Client] {
        for limits in [Limits::default(), TIGHT] {
            let oracle = support::oracle(data, role, limits);
            let whole = support::receive(data, role, limits, || usize::MAX);
            assert_eq!(whole, oracle);
            for mut cuts in Cuts::ways(data) {
                let cut = support::receive(data, role, limits, || cuts.next());
                assert_eq!(cut, whole);
            }
        }
    }
}

/// The lines of a head as names and values: what an HTTP parser would hand over, and worse.
fn headers(data: &[u8]) -> Vec<(&str, &[u8])> {
    let line = |line: &'_ [u8]| line.iter().position(|b| *b == b':');
    let lines = data.split(|b| *b == b'\n');
    let pair = |text| {
        let (name, value) = <[u8]>::split_at(text, line(text)?);
        Some((std::str::from_utf8(name).ok()?, value[1..].trim_ascii()))
    };
    lines.filter_map(pair).collect()
}

/// The checks of a handshake: what they accept is right, and does not depend on the order of the
/// headers or on headers that mean nothing.
pub fn ws_handshake(data: &[u8]) {
    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
    const OURS: [&str; 2] = ["chat", "superchat"];
    let there = headers(data);
    let back = || [("X", &b""[..])].into_iter().chain(there.iter().rev().copied());
    let asked = handshake::check_request("GET", true, there.iter().copied());
    assert_eq!(asked, handshake::check_request("GET", true, back()));
    assert!(asked.is_err() || asked.is_ok_and(handshake::is_valid_key));
    let answered = handshake::check_response(101, there.iter().copied(), KEY, &OURS, None);
    assert_eq!(answered, handshake::check_response(101, back(), KEY, &OURS, None));
    let accept = there.iter().any(|(_, value)| *value == handshake::accept_key(KEY));
    assert!(answered.is_err() || accept);

    let is_offer = |name: &str| name.eq_ignore_ascii_case("sec-websocket-protocol");
    let offers = || there.iter().filter(|(name, _)| is_offer(name)).map(|(_, value)| *value);
    if let Ok(chosen) = handshake::choose_protocol(offers(), &OURS) {
        let lists = || offers().filter_map(|value| std::str::from_utf8(value).ok());
        let offered: Vec<&str> = lists().flat_map(handshake::elements).collect();
        assert!(offered.len() <= handshake::MAX_PROTOCOLS);
        assert_eq!(chosen, offered.into_iter().find_map(|o| OURS.into_iter().find(|s| *s == o)));
    }
}
