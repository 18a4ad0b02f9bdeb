//! What a peer can do wrong once the handshake is done.
//!
//! Every [`Violation`] names one sin and knows the close code (RFC 6455 §7.4.1) to answer it
//! with. A violation ends the connection: send a Close with its code, read no more.

use std::fmt;

use super::close::CloseCode;

/// A peer's breach of RFC 6455 or of our limits: the connection is to be failed (§7.1.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Violation {
    /// A reserved bit is set and no extension that gives it a meaning was negotiated (§5.2).
    ReservedBits,
    /// Opcode 3–7 or B–F (§5.2).
    ReservedOpcode,
    /// A control frame without FIN (§5.5).
    FragmentedControl,
    /// A control frame whose payload is over 125 bytes (§5.5).
    OversizedControl,
    /// A frame from a client without a mask (§5.1).
    UnmaskedFromClient,
    /// A frame from a server with a mask (§5.1).
    MaskedFromServer,
    /// The payload length is not in the shortest of its three forms (§5.2).
    NonMinimalLength,
    /// The most significant bit of a 64-bit length is set (§5.2).
    LengthOverflow,
    /// A continuation frame while no message is under way (§5.4).
    UnexpectedContinuation,
    /// A new text or binary frame while a fragmented message is under way (§5.4).
    UnfinishedMessage,
    /// A Close with a payload of one byte, too short for a code (§5.5.1).
    TruncatedCloseCode,
    /// A Close with a code that must not be sent (§7.4).
    ReservedCloseCode,
    /// Text, or the reason of a Close, that is not UTF-8 (§8.1).
    InvalidUtf8,
    /// A message that is said to be compressed, and is not, or not to its end (RFC 7692 §7.2.2).
    Compression,
    /// A message over [`Limits::message`](super::message::Limits::message).
    MessageTooBig,
    /// A message in more frames than [`Limits::frames`](super::message::Limits::frames).
    TooManyFrames,
}

impl Violation {
    /// The code of the Close that answers this violation: 1002, 1007 or 1009 (§7.4.1).
    #[must_use]
    pub const fn code(self) -> CloseCode {
        match self {
            Violation::InvalidUtf8 | Violation::Compression => CloseCode::INVALID_PAYLOAD,
            Violation::MessageTooBig | Violation::TooManyFrames => CloseCode::TOO_BIG,
            _ => CloseCode::PROTOCOL_ERROR,
        }
    }

    /// A few words for the reason of that Close and for logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Violation::ReservedBits => "reserved bits set",
            Violation::ReservedOpcode => "reserved opcode",
            Violation::FragmentedControl => "fragmented control frame",
            Violation::OversizedControl => "control frame over 125 bytes",
            Violation::UnmaskedFromClient => "unmasked frame from a client",
            Violation::MaskedFromServer => "masked frame from a server",
            Violation::NonMinimalLength => "length not minimally encoded",
            Violation::LengthOverflow => "length over 63 bits",
            Violation::UnexpectedContinuation => "continuation of no message",
            Violation::UnfinishedMessage => "new message inside a fragmented one",
            Violation::TruncatedCloseCode => "close code of one byte",
            Violation::ReservedCloseCode => "close code not allowed",
            Violation::InvalidUtf8 => "invalid UTF-8",
            Violation::Compression => "not compressed as it says",
            Violation::MessageTooBig => "message too big",
            Violation::TooManyFrames => "message in too many frames",
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::error::Error for Violation {}
