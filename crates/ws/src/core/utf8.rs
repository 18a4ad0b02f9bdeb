//! UTF-8 that arrives in parts (RFC 6455 §8.1, RFC 3629 §4), refused at the first bad byte.
//!
//! Whole characters are checked by `simdutf8`; one that a cut divides goes byte by byte.
//! The well-formed sequences are those of RFC 3629 §4:
//!
//! > UTF8-2 = %xC2-DF UTF8-tail
//! > UTF8-3 = %xE0 %xA0-BF UTF8-tail / %xE1-EC 2( UTF8-tail ) /
//! >          %xED %x80-9F UTF8-tail / %xEE-EF 2( UTF8-tail )
//! > UTF8-4 = %xF0 %x90-BF 2( UTF8-tail ) / %xF1-F3 3( UTF8-tail ) /
//! >          %xF4 %x80-8F 2( UTF8-tail )

use std::fmt;
use std::str;

/// A byte that cannot follow what came before it, or an end inside a character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidUtf8;

impl fmt::Display for InvalidUtf8 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("invalid UTF-8")
    }
}

impl std::error::Error for InvalidUtf8 {}

/// A streaming decoder: parts of bytes in, whole characters out, at most three bytes held.
#[derive(Clone, Copy, Debug, Default)]
pub struct Decoder {
    /// The bytes so far of the character that the last cut divided.
    held: [u8; 4],
    /// How many of `held` there are: 0 to 3 between parts.
    len: u8,
}

/// What a part decodes to: the end of the character held from before, and the run behind it.
#[derive(Clone, Copy, Debug)]
pub struct Decoded<'a> {
    /// The character that this part completed, if one was held.
    pub first: Option<char>,
    /// All whole characters behind it.
    pub run: &'a str,
}

impl Decoder {
    /// A decoder at the beginning of a text.
    #[must_use]
    pub const fn new() -> Decoder {
        Decoder { held: [0; 4], len: 0 }
    }

    /// Decodes the next part.
    ///
    /// # Errors
    /// [`InvalidUtf8`] if the text so far is not the beginning of any valid text: the refusal
    /// comes with the first byte that makes it so. The decoder is of no use afterwards.
    pub fn decode<'a>(&mut self, part: &'a [u8]) -> Result<Decoded<'a>, InvalidUtf8> {
        let (first, rest) = self.complete(part)?;
        let (whole, tail) = rest.split_at_checked(rest.len() - cut(rest)).ok_or(InvalidUtf8)?;
        let run = simdutf8::basic::from_utf8(whole).map_err(|_| InvalidUtf8)?;
        for &byte in tail {
            self.hold(byte)?;
        }
        Ok(Decoded { first, run })
    }

    /// The text ends here.
    ///
    /// # Errors
    /// [`InvalidUtf8`] if it ends inside a character.
    pub fn finish(&mut self) -> Result<(), InvalidUtf8> {
        if self.len == 0 { Ok(()) } else { Err(InvalidUtf8) }
    }

    /// How many bytes are held back, 0 to 3.
    #[must_use]
    pub const fn held(&self) -> usize {
        self.len as usize
    }

    /// Completes the character that is held, if one is.
    fn complete<'a>(&mut self, part: &'a [u8]) -> Result<(Option<char>, &'a [u8]), InvalidUtf8> {
        let mut rest = part;
        while self.len > 0
            && let Some((&byte, behind)) = rest.split_first()
        {
            rest = behind;
            if let Some(char) = self.hold(byte)? {
                return Ok((Some(char), rest));
            }
        }
        Ok((None, rest))
    }

    /// Takes one byte of a character; gives the character when it is whole.
    fn hold(&mut self, byte: u8) -> Result<Option<char>, InvalidUtf8> {
        let at = usize::from(self.len);
        let slot = self.held.get_mut(at).ok_or(InvalidUtf8)?;
        *slot = byte;
        let so_far = self.held.get(..=at).ok_or(InvalidUtf8)?;
        match str::from_utf8(so_far) {
            Ok(text) => {
                self.len = 0;
                Ok(text.chars().next())
            }
            Err(error) if error.error_len().is_none() => {
                self.len += 1;
                Ok(None)
            }
            Err(_) => Err(InvalidUtf8),
        }
    }
}

/// How many bytes at the end of `bytes` look like a character that is not whole: 0 to 3.
fn cut(bytes: &[u8]) -> usize {
    for (behind, &byte) in bytes.iter().rev().take(3).enumerate() {
        let width = match byte {
            0x00..=0x7F => return 0,
            0x80..=0xBF => continue,
            0xC0..=0xDF => 2,
            0xE0..=0xEF => 3,
            0xF0..=0xFF => 4,
        };
        return if width > behind + 1 { behind + 1 } else { 0 };
    }
    0
}
