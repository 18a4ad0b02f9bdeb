//! curl's exit codes, those that this program ends with.

/// The scheme is not spoken, or the answer is none of HTTP/1.
pub(super) const PROTOCOL: u8 = 1;
pub(super) const URL: u8 = 3;
/// The proxy's name is unknown.
pub(super) const PROXY: u8 = 5;
pub(super) const NAME: u8 = 6;
pub(super) const CONNECT: u8 = 7;
pub(super) const ANSWER: u8 = 8;
pub(super) const PARTIAL: u8 = 18;
pub(super) const STATUS: u8 = 22;
pub(super) const WRITE: u8 = 23;
pub(super) const READ: u8 = 26;
pub(super) const TIME: u8 = 28;
/// The server cannot send a range.
pub(super) const RANGE: u8 = 33;
/// TLS could not be agreed on.
pub(super) const TLS: u8 = 35;
pub(super) const REDIRECTS: u8 = 47;
pub(super) const EMPTY: u8 = 52;
pub(super) const RECEIVE: u8 = 56;
/// The body's coding is not known, or it is not of that coding.
pub(super) const CODING: u8 = 61;
pub(super) const LARGE: u8 = 63;
/// What was sent once cannot be sent again.
pub(super) const REWIND: u8 = 65;
