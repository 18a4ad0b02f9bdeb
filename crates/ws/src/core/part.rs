//! Parts of messages, for who does not want them gathered (RFC 6455 §5.4).
//!
//! Rule: a part lies where it came in; nothing is copied, and nothing kept but what it is.

/// A part of a message that is not gathered: what has come of it, and not been shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part<'a> {
    /// Of a text message. Its parts may end inside a character; that there is none which begins
    /// wrong has been checked, and with the last one that none is unfinished.
    pub text: bool,
    /// Nothing of the message was shown before.
    pub first: bool,
    /// The message ends here.
    pub last: bool,
    /// Its bytes, unmasked; only the last part may have none.
    pub bytes: &'a [u8],
}

/// What a part is of its message, in a byte: what is found is handed on with every message.
#[derive(Clone, Copy)]
pub(super) struct Which(u8);

impl Which {
    pub(super) fn new(text: bool, first: bool, last: bool) -> Which {
        Which(u8::from(text) | u8::from(first) << 1 | u8::from(last) << 2)
    }

    #[cold]
    pub(super) fn part(self, bytes: &[u8]) -> Part<'_> {
        let is = |bit: u8| self.0 >> bit & 1 == 1;
        Part { text: is(0), first: is(1), last: is(2), bytes }
    }
}
