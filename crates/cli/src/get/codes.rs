//! curl's exit codes, those that this program ends with.

/// The scheme is not spoken, or the answer is none of HTTP/1.
pub(crate) const PROTOCOL: u8 = 1;
pub(crate) const URL: u8 = 3;
/// The proxy's name is unknown.
pub(crate) const PROXY: u8 = 5;
pub(crate) const NAME: u8 = 6;
pub(crate) const CONNECT: u8 = 7;
pub(crate) const ANSWER: u8 = 8;
pub(crate) const PARTIAL: u8 = 18;
pub(crate) const STATUS: u8 = 22;
pub(crate) const WRITE: u8 = 23;
pub(crate) const READ: u8 = 26;
pub(crate) const TIME: u8 = 28;
/// The server cannot send a range.
pub(crate) const RANGE: u8 = 33;
/// TLS could not be agreed on.
pub(crate) const TLS: u8 = 35;
pub(crate) const REDIRECTS: u8 = 47;
pub(crate) const EMPTY: u8 = 52;
pub(crate) const RECEIVE: u8 = 56;
/// The body's coding is not known, or it is not of that coding.
pub(crate) const CODING: u8 = 61;
pub(crate) const LARGE: u8 = 63;
/// What was sent once cannot be sent again.
pub(crate) const REWIND: u8 = 65;
