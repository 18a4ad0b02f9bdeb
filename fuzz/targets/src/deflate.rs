//! permessage-deflate: messages there and back, streams of a hostile peer, and the negotiation
//! beside an oracle that splits where the grammar says.
//!
//! Rule: the first byte says which; the rest is as it is on the wire.

use crate::cuts::Cuts;
use loopwork_ws::core::Terms;
use loopwork_ws::core::deflate::{Deflater, Inflater, WINDOW_MIN};
use loopwork_ws::core::handshake::is_token;

/// The most that a hostile stream may come to, and what its buffer may take at that: zlib is
/// given room that doubles, and one byte more than the limit.
const MOST: usize = 4096;

/// The bits of the first byte: what of a peer it is.
pub fn ws_deflate(data: &[u8]) {
    let Some((&kind, data)) = data.split_first() else { return };
    match kind >> 6 {
        0 => comes_back(kind, data),
        1 => hostile(data, kind & 1 == 1),
        _ => negotiated(kind, data),
    }
}

/// What is compressed is inflated to the same, message after message, in any window; and a
/// message more than the limit is refused.
fn comes_back(kind: u8, data: &[u8]) {
    let (takeover, level) = (kind & 1 == 1, kind >> 1 & 7);
    for bits in [WINDOW_MIN, 12, 15] {
        let (mut deflater, mut inflater) = (Deflater::new(level, bits), Inflater::new());
        let (mut cuts, mut rest) = (Cuts::of(data, 400), data);
        while !rest.is_empty() {
            let (message, behind) = rest.split_at(cuts.next().min(rest.len()));
            let packed = deflater.message(message, takeover).to_vec();
            // Without a window of its own any other inflater understands it, too.
            if !takeover {
                let alone =
                    Inflater::new().message(&packed, message.len(), false).map(|b| b.to_vec());
                assert_eq!(alone.as_deref(), Ok(message));
            }
            let inflated = inflater.message(&packed, message.len(), takeover).map(|b| b.to_vec());
            assert_eq!(inflated.as_deref(), Ok(message));
            rest = behind;
        }
        let packed = deflater.message(data, false).to_vec();
        if !data.is_empty() {
            assert!(Inflater::new().message(&packed, data.len() - 1, false).is_err());
        }
        inflater.release(0);
        deflater.release(0);
        assert_eq!((inflater.memory(), deflater.memory()), (0, 0));
    }
}

/// Whatever comes, the buffer stays within its limit, and what is taken is taken the same way by
/// an inflater that has seen worse.
fn hostile(data: &[u8], takeover: bool) {
    let mut fresh = Inflater::new();
    let first = fresh.message(data, MOST, takeover).map(|bytes| bytes.to_vec());
    assert!(first.as_ref().is_ok_and(|bytes| bytes.len() <= MOST) || first.is_err());
    assert!(fresh.memory() <= 2 * MOST, "{}", fresh.memory());
    if !takeover {
        let again = fresh.message(data, MOST, false).map(|bytes| bytes.to_vec());
        assert_eq!(again, first, "nothing is kept");
    }
    // The larger limit changes nothing for what fits the smaller.
    if let Ok(bytes) = &first {
        let more = Inflater::new().message(data, 2 * MOST, takeover).map(|bytes| bytes.to_vec());
        assert_eq!(more.as_ref(), Ok(bytes));
    }
}

/// The terms of a byte: what is wanted.
fn terms(kind: u8) -> Terms {
    let bits = 8 + (kind >> 2 & 7);
    Terms {
        server_takeover: kind & 1 == 1,
        client_takeover: kind & 2 == 2,
        server_bits: bits,
        client_bits: 23 - bits,
    }
}

/// What is agreed to is what the oracle finds, is within what was wanted, and the client of such
/// an offer agrees with the answer.
fn negotiated(kind: u8, data: &[u8]) {
    let wanted = terms(kind);
    let agreed = wanted.accept([data]);
    let offers = std::str::from_utf8(data).ok().and_then(oracle);
    let offers = match (offers, agreed) {
        (Some(offers), Ok(_)) => offers,
        (None, Err(_)) => return,
        (offers, agreed) => panic!("{offers:?} and {agreed:?}"),
    };
    let agreed = agreed.ok().flatten();
    assert_eq!(agreed.is_some(), offers.iter().any(is_ours));
    if let Some(terms) = agreed {
        assert!(terms.server_bits <= wanted.server_bits);
        assert!(wanted.server_takeover || !terms.server_takeover);
        assert!(wanted.client_takeover || !terms.client_takeover);
        let offer = offers.iter().find(|offer| is_ours(offer)).expect("one of ours");
        let has = |name: &str| offer.iter().any(|(there, _)| there == name);
        assert!(!(has("server_no_context_takeover") && terms.server_takeover));
        assert!(has("client_max_window_bits") || terms.client_bits == 15);
        let mut answer = Vec::new();
        terms.write(&mut answer);
        let everything = Terms { server_takeover: true, client_takeover: true, ..Terms::default() };
        assert_eq!(everything.check([&answer[..]]), Ok(Some(terms)), "as it is answered");
    }
    // As an answer: who takes it has been offered it.
    if let Ok(Some(terms)) = wanted.check([data]) {
        assert!(offers.len() == 1 && terms.server_bits <= wanted.server_bits);
        assert!(wanted.server_takeover || !terms.server_takeover);
    }
    let mut own = Vec::new();
    wanted.offer(&mut own);
    assert!(wanted.accept([&own[..]]).is_ok_and(|own| own.is_some()));
}

/// An extension: its name, and its parameters behind.
type Extension = Vec<(String, Option<String>)>;

/// A permessage-deflate whose parameters all are ones of RFC 7692 §7.1, each once.
fn is_ours(extension: &Extension) -> bool {
    let (name, params) = extension.split_first().expect("a name");
    let bits = |value: &str| {
        let numbers = ["8", "9", "10", "11", "12", "13", "14", "15"];
        numbers.contains(&value)
    };
    let known = params.iter().enumerate().all(|(at, (name, value))| {
        let once = params[..at].iter().all(|(before, _)| before != name);
        let value = value.as_deref();
        once && match &**name {
            "server_no_context_takeover" | "client_no_context_takeover" => value.is_none(),
            "server_max_window_bits" => value.is_some_and(bits),
            "client_max_window_bits" => value.is_none_or(bits),
            _ => false,
        }
    });
    name.0 == "permessage-deflate" && known
}

/// The extensions of a list; `None` if it is none. It splits at what stands outside of quotes.
fn oracle(text: &str) -> Option<Vec<Extension>> {
    let blank = |text: &str| text.trim_matches([' ', '\t']).to_owned();
    let mut list = Vec::new();
    for element in split(text, ',')? {
        if blank(&element).is_empty() {
            continue;
        }
        let mut extension = Extension::new();
        for (at, part) in split(&element, ';')?.iter().enumerate() {
            let (name, value) = match part.split_once('=') {
                Some((name, value)) if at > 0 => (blank(name), Some(unquoted(&blank(value))?)),
                _ => (blank(part), None),
            };
            extension.push(is_token(&name).then_some((name, value))?);
        }
        list.push(extension);
    }
    Some(list)
}

/// A value without its quotes, if it has any.
fn unquoted(value: &str) -> Option<String> {
    let Some(inside) = value.strip_prefix('"') else {
        return is_token(value).then(|| value.to_owned());
    };
    let inside = inside.strip_suffix('"')?;
    // A quote inside stands behind an odd number of strokes.
    let bare = |(at, _)| {
        let strokes = |text: &str| text.len() - text.trim_end_matches('\\').len();
        inside.get(..at).is_some_and(|before| strokes(before) % 2 == 0)
    };
    if inside.match_indices('"').any(bare) {
        return None;
    }
    (inside.contains('\\') || is_token(inside)).then(|| inside.to_owned())
}

/// The text between these characters, but for those in quotes; `None` if a quote is not closed, or
/// stands elsewhere than around a whole value.
fn split(text: &str, at: char) -> Option<Vec<String>> {
    let (mut parts, mut quoted, mut escaped) = (vec![String::new()], false, false);
    for char in text.chars() {
        if char == at && !quoted {
            parts.push(String::new());
            continue;
        }
        parts.last_mut()?.push(char);
        let was = escaped;
        escaped = quoted && char == '\\' && !was;
        quoted ^= char == '"' && !was;
    }
    (!quoted).then_some(parts)
}
