//! Byte classes as constant tables, and the scans over them.
//!
//! Rule: a scan looks at each byte once and returns the index of the first byte that is not in
//! its class, or the length. All other files get their classes from here.

pub(crate) use super::simd::ascii;

use super::simd::Set;

/// `tchar` of RFC 9110 §5.6.2: methods, header names.
const TOKEN: u8 = 1;
/// What a request target may hold.
const TARGET: u8 = 2;
/// `HTAB / SP / VCHAR / obs-text`: header values and reason phrases (RFC 9110 §5.5).
const VALUE: u8 = 4;
/// `reg-name` of RFC 3986 §3.2.2 but for `%`, which needs two digits behind it.
const HOST: u8 = 8;
/// HEXDIG.
const HEX: u8 = 16;
/// What no header value and no reason phrase holds: controls but for HTAB. What is not `VALUE`.
const CONTROL: u8 = 32;

/// The classes of each byte.
pub(super) static CLASS: [u8; 256] = classes();

/// The classes that are looked for in blocks.
pub(super) static TOKENS: Set = Set::of(TOKEN);
pub(super) static TARGETS: Set = Set::of(TARGET);
pub(super) static HOSTS: Set = Set::of(HOST);
pub(super) static CONTROLS: Set = Set::of(CONTROL);

const fn has(set: &[u8], b: u8) -> bool {
    let mut i = 0;
    while i < set.len() {
        if set[i] == b {
            return true;
        }
        i += 1;
    }
    false
}

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let b = i as u8;
        let alnum = b.is_ascii_alphanumeric();
        let mut class = 0;
        // tchar = "!" / "#" / "$" / "%" / "&" / "'" / "*" / "+" / "-" / "." / "^" / "_" / "`" /
        //         "|" / "~" / DIGIT / ALPHA
        if alnum || has(b"!#$%&'*+-.^_`|~", b) {
            class |= TOKEN;
        }
        // unreserved, reserved and "%" of RFC 3986, without "#". Beyond that the bytes that
        // browsers leave as they are in a query (URL Standard): \ ^ ` { | }
        if alnum || has(b"-._~:/?[]@!$&'()*+,;=%\\^`{|}", b) {
            class |= TARGET;
        }
        if b == b'\t' || (b >= b' ' && b != 0x7f) {
            class |= VALUE;
        } else {
            class |= CONTROL;
        }
        // reg-name = *( unreserved / pct-encoded / sub-delims )
        if alnum || has(b"-._~!$&'()*+,;=", b) {
            class |= HOST;
        }
        if b.is_ascii_hexdigit() {
            class |= HEX;
        }
        table[i] = class;
        i += 1;
    }
    table
}

#[inline(always)]
fn is(b: u8, class: u8) -> bool {
    CLASS[b as usize] & class != 0
}

/// Eight at a time without a branch between them: a short run costs no misprediction.
#[inline(always)]
fn run(bytes: &[u8], class: u8) -> usize {
    let mut at = 0;
    while let Some(eight) = bytes[at..].first_chunk::<8>() {
        let mut outside = 0u64;
        for (lane, &b) in eight.iter().enumerate() {
            outside |= u64::from(!CLASS[b as usize] & class) << (8 * lane);
        }
        if outside != 0 {
            at += (outside.trailing_zeros() / 8) as usize;
            work::add(at);
            return at;
        }
        at += 8;
    }
    let end = at + bytes[at..].iter().position(|&b| !is(b, class)).unwrap_or(bytes.len() - at);
    work::add(end);
    end
}

/// Length of the token at the front.
#[inline(always)]
pub(crate) fn token(bytes: &[u8]) -> usize {
    run(bytes, TOKEN)
}

/// Length of the run of target bytes at the front.
#[inline]
pub(crate) fn target(bytes: &[u8]) -> usize {
    run(bytes, TARGET)
}

/// Length of the run of `reg-name` bytes (without `%`) at the front.
#[inline]
pub(crate) fn host(bytes: &[u8]) -> usize {
    run(bytes, HOST)
}

/// Is this a `tchar`?
#[inline]
pub(crate) fn is_token(b: u8) -> bool {
    is(b, TOKEN)
}

/// Is this byte allowed in a header value?
#[inline]
pub(crate) fn is_value(b: u8) -> bool {
    is(b, VALUE)
}

/// Is this a hex digit?
#[inline]
pub(crate) fn is_hex(b: u8) -> bool {
    is(b, HEX)
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// Length of the run of header value bytes at the front, eight at a time.
#[inline]
pub(crate) fn value(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(eight) = bytes[at..].first_chunk::<8>() {
        let x = u64::from_le_bytes(*eight);
        // Bit 7 of a lane is set when its byte is below 0x20 (first term) or is 0x7f (second).
        // A borrow can only make lanes above a hit wrong, and the lowest hit is the one used.
        let del = x ^ (ONES * 0x7f);
        let hit = (x.wrapping_sub(ONES * 0x20) & !x | del.wrapping_sub(ONES) & !del) & HIGH;
        if hit == 0 {
            at += 8;
            continue;
        }
        at += (hit.trailing_zeros() / 8) as usize;
        if bytes[at] != b'\t' {
            work::add(at);
            return at;
        }
        at += 1;
    }
    let end = at + bytes[at..].iter().position(|&b| !is(b, VALUE)).unwrap_or(bytes.len() - at);
    work::add(end);
    end
}

/// Is every byte allowed in a header value?
pub(crate) fn all_value(bytes: &[u8]) -> bool {
    value(bytes) == bytes.len()
}

/// Is this a token: not empty, and of `tchar` only?
pub(crate) fn all_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && token(bytes) == bytes.len()
}

/// Without the optional white space around it: `OWS = *( SP / HTAB )`.
#[inline]
pub(crate) fn trim_ows(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// Counts the bytes looked at, for the test that work is linear. Nothing outside of tests.
pub(crate) mod work {
    #[cfg(test)]
    std::thread_local! {
        static BYTES: core::cell::Cell<u64> = const { core::cell::Cell::new(0) };
    }

    #[inline(always)]
    pub(crate) fn add(_bytes: usize) {
        #[cfg(test)]
        BYTES.with(|b| b.set(b.get() + _bytes as u64 + 1));
    }

    #[cfg(test)]
    pub(crate) fn take() -> u64 {
        BYTES.with(|b| b.replace(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_agree_with_the_table_at_every_position() {
        for b in 0..=255 {
            for at in 0..24 {
                let mut bytes = [b'a'; 24];
                bytes[at] = b;
                bytes[23] = 0;
                for class in [TOKEN, TARGET, HOST] {
                    let naive = bytes.iter().position(|&b| !is(b, class)).unwrap();
                    assert_eq!(run(&bytes, class), naive, "byte {b:#x} at {at}");
                }
                let mut bytes = [0xe9; 24];
                bytes[at] = b;
                bytes[23] = 0;
                let naive = bytes.iter().position(|&b| !is_value(b)).unwrap();
                assert_eq!(value(&bytes), naive, "byte {b:#x} at {at}");
            }
        }
    }
}
