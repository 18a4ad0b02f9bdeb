//! Request targets and hosts (RFC 9112 §3.2, RFC 3986 §3.2).
//!
//! Rule: each method has the forms that it may have, and nothing else passes; a host is checked
//! by the same function wherever it stands.

use core::net::Ipv6Addr;

use super::{Malformed, Method, scan};

/// A target taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target<'a> {
    /// The authority that the target itself names, in absolute-form and authority-form.
    pub(crate) authority: Option<&'a str>,
    /// Path and query; `*` in asterisk-form; empty in authority-form.
    pub(crate) origin: &'a str,
}

/// Takes apart a target of which every byte is a target byte.
///
/// ```text
/// request-target = origin-form / absolute-form / authority-form / asterisk-form
/// origin-form    = absolute-path [ "?" query ]
/// absolute-form  = absolute-URI                ; of the schemes http and https here
/// authority-form = uri-host ":" port           ; CONNECT only, and CONNECT has no other
/// asterisk-form  = "*"                         ; OPTIONS only
/// ```
#[inline(never)]
pub(crate) fn parse<'a>(method: Method<'_>, target: &'a str) -> Result<Target<'a>, Malformed> {
    if method == Method::Connect {
        return match port_at(target) {
            Some(at) if at > 0 && at + 1 < target.len() && is_host(target.as_bytes()) => {
                Ok(Target { authority: Some(target), origin: "" })
            }
            _ => Err(Malformed::InvalidTargetForm),
        };
    }
    if target.starts_with('/') {
        return Ok(Target { authority: None, origin: target });
    }
    if target == "*" && method == Method::Options {
        return Ok(Target { authority: None, origin: target });
    }
    absolute(target)
}

/// `absolute-URI = scheme ":" hier-part [ "?" query ]`, with `hier-part = "//" authority path`.
/// User information is refused (RFC 9110 §4.2.4), and so is an empty host (§4.2.1).
fn absolute(target: &str) -> Result<Target<'_>, Malformed> {
    let rest = ["http://", "https://"].iter().find_map(|scheme| {
        let (front, rest) = target.split_at_checked(scheme.len())?;
        front.eq_ignore_ascii_case(scheme).then_some(rest)
    });
    let rest = rest.ok_or(Malformed::InvalidTargetForm)?;
    let end = rest.bytes().position(|b| matches!(b, b'/' | b'?')).unwrap_or(rest.len());
    let (authority, origin) = rest.split_at(end);
    if authority.is_empty() || authority.starts_with(':') || !is_host(authority.as_bytes()) {
        return Err(Malformed::InvalidHost);
    }
    Ok(Target { authority: Some(authority), origin })
}

/// Where the colon before the port stands.
fn port_at(authority: &str) -> Option<usize> {
    let colon = memchr::memrchr(b':', authority.as_bytes())?;
    (!authority[colon..].contains(']')).then_some(colon)
}

/// Is this a `Host` value?
///
/// ```text
/// Host     = uri-host [ ":" port ]
/// uri-host = IP-literal / IPv4address / reg-name      ; reg-name may be empty
/// reg-name = *( unreserved / pct-encoded / sub-delims )
/// port     = *DIGIT                                   ; of 16 bits
/// ```
///
/// An IP literal is an IPv6 address without a zone: nobody sends `IPvFuture`.
pub(crate) fn is_host(bytes: &[u8]) -> bool {
    is_host_behind(bytes, scan::host(bytes))
}

/// The same, where so many bytes at the front are known to be of a name.
pub(crate) fn is_host_behind(bytes: &[u8], name: usize) -> bool {
    let rest = match bytes {
        [b'[', rest @ ..] => {
            let Some(end) = memchr::memchr(b']', rest) else { return false };
            let address = core::str::from_utf8(&rest[..end]);
            if !address.is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok()) {
                return false;
            }
            &rest[end + 1..]
        }
        _ => &bytes[reg_name(bytes, name)..],
    };
    match rest {
        [] => true,
        [b':', port @ ..] => is_port(port),
        _ => false,
    }
}

/// Length of the `reg-name` at the front; so many bytes of it stand for themselves.
fn reg_name(bytes: &[u8], mut at: usize) -> usize {
    while let [b'%', a, b, rest @ ..] = &bytes[at..] {
        if !scan::is_hex(*a) || !scan::is_hex(*b) {
            break;
        }
        at += 3 + scan::host(rest);
    }
    at
}

/// Zeros in front do not count: five digits are enough for what is left.
fn is_port(port: &[u8]) -> bool {
    let mut number = 0u32;
    for &b in port {
        if !b.is_ascii_digit() {
            return false;
        }
        number = number * 10 + u32::from(b - b'0');
        if number > u32::from(u16::MAX) {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        for good in [
            "",
            "a",
            "a.b",
            "a:80",
            "a:",
            ":80",
            "1.2.3.4:65535",
            "[::1]",
            "[::1]:8080",
            "a_b",
            "%41%2e",
            "a:000080",
            "x--y",
            "a,b",
            "[::ffff:1.2.3.4]",
        ] {
            assert!(is_host(good.as_bytes()), "{good}");
        }
        for bad in [
            "a b",
            "a/b",
            "a@b",
            "a:65536",
            "a:8x",
            "[::1",
            "::1",
            "[::1]x",
            "[v1.a]",
            "%4",
            "%zz",
            "a#",
            "a?b",
            "[fe80::1%25eth0]",
            "a:+80",
            "a\\b",
            "\u{e9}",
            "a:99999999999999999999",
        ] {
            assert!(!is_host(bad.as_bytes()), "{bad}");
        }
    }
}
