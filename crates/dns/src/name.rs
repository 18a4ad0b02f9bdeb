//! Names of DNS: checked text, that compares without regard to case.
//!
//! Rules of this file:
//! * RFC 1035, 2.3.4: a label has 1 to 63 octets, a name at most 255 with its length octets.
//! * RFC 4343: case says nothing in a name, so ours are kept in lower case.
//! * What a server sent is shown escaped (RFC 1035, 5.1): no octet of it reaches a terminal, a log
//!   or a host's name as it is.

use crate::message::Cursor;
use std::fmt::{self, Write};
use std::net::IpAddr;

/// Octets of a name at most, with the length octets and the root (RFC 1035, 2.3.4).
pub const NAME_MAX: usize = 255;
/// Octets of a label at most: the two high bits of its length say that it is a pointer.
pub const LABEL_MAX: usize = 63;

/// A name from the root, in lower case, without the dot at its end; the root itself is empty.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Name {
    text: String,
}

/// Why a text is no name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum BadName {
    /// Two dots in a row, or one at the beginning.
    EmptyLabel,
    /// A label of more than [`LABEL_MAX`] octets.
    LongLabel,
    /// More than [`NAME_MAX`] octets.
    Long,
    /// Not ASCII: write it in its `xn--` form.
    NotAscii,
    /// A blank, a control character or a backslash.
    Character,
}

impl fmt::Display for BadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BadName::EmptyLabel => "the name has an empty label: two dots in a row, or one first",
            BadName::LongLabel => "a label of the name has more than 63 characters",
            BadName::Long => "the name has more than 253 characters",
            BadName::NotAscii => "the name is not ASCII: write it in its xn-- form",
            BadName::Character => "the name has a blank, a control character or a backslash",
        })
    }
}

impl std::error::Error for BadName {}

impl Name {
    /// Reads a name as a user writes it, with or without the dot at its end.
    ///
    /// # Errors
    /// What RFC 1035 does not allow, and what is not plain ASCII text.
    pub fn new(text: &str) -> Result<Name, BadName> {
        let text = text.strip_suffix('.').unwrap_or(text);
        if !text.is_ascii() {
            return Err(BadName::NotAscii);
        }
        if text.bytes().any(|b| !b.is_ascii_graphic() || b == b'\\') {
            return Err(BadName::Character);
        }
        if text.is_empty() {
            return Ok(Name::default());
        }
        for label in text.split('.') {
            match label.len() {
                0 => return Err(BadName::EmptyLabel),
                1..=LABEL_MAX => {}
                _ => return Err(BadName::LongLabel),
            }
        }
        // A length octet for each dot and one before the first label; the root's at the end.
        match text.len() + 2 <= NAME_MAX {
            true => Ok(Name { text: text.to_ascii_lowercase() }),
            false => Err(BadName::Long),
        }
    }

    /// The name below which addresses have their names (RFC 1035, 3.5; RFC 3596, 2.5).
    #[must_use]
    pub fn reverse(ip: IpAddr) -> Name {
        let mut text = String::new();
        match ip {
            IpAddr::V4(ip) => {
                let [a, b, c, d] = ip.octets();
                let _ = write!(text, "{d}.{c}.{b}.{a}.in-addr.arpa");
            }
            IpAddr::V6(ip) => {
                for octet in ip.octets().iter().rev() {
                    let _ = write!(text, "{:x}.{:x}.", octet & 15, octet >> 4);
                }
                text.push_str("ip6.arpa");
            }
        }
        Name { text }
    }

    /// From the labels of a message, escaped where they are not plain.
    pub(crate) fn from_labels<'a>(labels: impl Iterator<Item = &'a [u8]>) -> Name {
        let mut text = String::new();
        for (n, label) in labels.enumerate() {
            if n > 0 {
                text.push('.');
            }
            for byte in label {
                match byte {
                    b'.' | b'\\' => text.extend(['\\', char::from(*byte)]),
                    0x21..=0x7e => text.push(char::from(byte.to_ascii_lowercase())),
                    _ => {
                        let _ = write!(text, "\\{byte:03}");
                    }
                }
            }
        }
        Name { text }
    }

    /// The text, without a dot at its end.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// How many dots a user would write in it: what `ndots` counts.
    #[must_use]
    pub fn dots(&self) -> usize {
        self.text.bytes().filter(|b| *b == b'.').count()
    }

    /// RFC 6761, 6.3: `localhost` and what is below it are this machine, and no server is asked.
    #[must_use]
    pub fn is_localhost(&self) -> bool {
        self.text == "localhost" || self.text.ends_with(".localhost")
    }

    /// This name below another.
    ///
    /// # Errors
    /// Both together are too long.
    pub fn below(&self, parent: &Name) -> Result<Name, BadName> {
        match (self.text.is_empty(), parent.text.is_empty()) {
            (true, _) => Ok(parent.clone()),
            (_, true) => Ok(self.clone()),
            _ => Name::new(&format!("{}.{}", self.text, parent.text)),
        }
    }
}

impl fmt::Display for Name {
    /// With the dot at its end, as `dig` writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.", self.text)
    }
}

/// Steps over a name in a message: labels up to the root, or to a pointer, which ends it.
///
/// RFC 1035, 4.1.4: a pointer is to a *prior* occurrence. One that leads to itself or forward is
/// refused, so that following them ends.
pub(crate) fn skip(cursor: &mut Cursor<'_>) -> Option<()> {
    let start = cursor.at;
    loop {
        let first = cursor.byte()?;
        match first {
            0 => return Some(()),
            1..=0x3f => cursor.skip(usize::from(first))?,
            0xc0.. => {
                let to = usize::from(first & 0x3f) << 8 | usize::from(cursor.byte()?);
                return (to < start).then_some(());
            }
            // 0x40 and 0x80 are reserved.
            _ => return None,
        }
        if cursor.at - start > NAME_MAX {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_as_users_write_them() {
        assert_eq!(Name::new("WWW.Example.").unwrap().as_str(), "www.example");
        assert_eq!(Name::new("").unwrap(), Name::new(".").unwrap());
        let long = "a".repeat(64);
        for (text, why) in [
            ("a..b", BadName::EmptyLabel),
            (".a", BadName::EmptyLabel),
            ("..", BadName::EmptyLabel),
            (&long, BadName::LongLabel),
            (&"ab.".repeat(85), BadName::Long),
            ("bücher.example", BadName::NotAscii),
            ("a b", BadName::Character),
            ("a\\b", BadName::Character),
            ("a\u{1b}[0m", BadName::Character),
        ] {
            assert_eq!(Name::new(text), Err(why), "{text}");
        }
        assert!(Name::new(&format!("{}a", "ab.".repeat(84))).is_ok(), "253 characters");
    }

    #[test]
    fn addresses_have_names() {
        let name = |ip: &str| Name::reverse(ip.parse().unwrap()).to_string();
        assert_eq!(name("192.0.2.7"), "7.2.0.192.in-addr.arpa.");
        let v6 = name("2001:db8::1");
        assert!(v6.starts_with("1.0.0.0.") && v6.ends_with("8.b.d.0.1.0.0.2.ip6.arpa."), "{v6}");
        assert_eq!(v6.len(), 32 * 2 + "ip6.arpa.".len());
    }

    #[test]
    fn what_servers_send_is_escaped() {
        let labels: [&[u8]; 3] = [b"A.b", b"\x1b[0m\xff", b"ok"];
        let name = Name::from_labels(labels.into_iter());
        assert_eq!(name.as_str(), "a\\.b.\\027[0m\\255.ok");
    }

    #[test]
    fn localhost_and_what_is_below_it() {
        for (text, is) in [("localhost", true), ("A.LOCALHOST.", true), ("xlocalhost", false)] {
            assert_eq!(Name::new(text).unwrap().is_localhost(), is, "{text}");
        }
    }
}
