//! Close codes and the payload of Close frames (RFC 6455 §5.5.1, §7.4).

use std::fmt;

use super::error::Violation;
use super::frame::{self, MAX_CONTROL, Opcode};

/// The longest reason that fits behind the code: 125 − 2 bytes.
pub const MAX_REASON: usize = MAX_CONTROL - 2;

/// A status code of RFC 6455 §7.4, or one that stands for what never crossed the wire.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CloseCode(u16);

impl CloseCode {
    /// 1000: the purpose is fulfilled.
    pub const NORMAL: CloseCode = CloseCode(1000);
    /// 1001: the server goes down, or the page is left.
    pub const GOING_AWAY: CloseCode = CloseCode(1001);
    /// 1002: the peer broke the protocol.
    pub const PROTOCOL_ERROR: CloseCode = CloseCode(1002);
    /// 1003: a kind of data that this endpoint does not take.
    pub const UNSUPPORTED_DATA: CloseCode = CloseCode(1003);
    /// 1005: a Close without a code came. Never on the wire.
    pub const NO_STATUS: CloseCode = CloseCode(1005);
    /// 1006: the connection ended without a Close. Never on the wire.
    pub const ABNORMAL: CloseCode = CloseCode(1006);
    /// 1007: data that does not fit its type, as text that is not UTF-8.
    pub const INVALID_PAYLOAD: CloseCode = CloseCode(1007);
    /// 1008: against this endpoint's policy.
    pub const POLICY_VIOLATION: CloseCode = CloseCode(1008);
    /// 1009: too big to process.
    pub const TOO_BIG: CloseCode = CloseCode(1009);
    /// 1010: the client misses an extension in the server's answer.
    pub const MANDATORY_EXTENSION: CloseCode = CloseCode(1010);
    /// 1011: the server met something unexpected.
    pub const INTERNAL_ERROR: CloseCode = CloseCode(1011);
    /// 1012: the service restarts (IANA registry).
    pub const SERVICE_RESTART: CloseCode = CloseCode(1012);
    /// 1013: try again later (IANA registry).
    pub const TRY_AGAIN_LATER: CloseCode = CloseCode(1013);
    /// 1014: a gateway got a bad answer (IANA registry).
    pub const BAD_GATEWAY: CloseCode = CloseCode(1014);

    /// The code of this number, if it may stand in a Close frame.
    ///
    /// Those are 1000–1003, 1007–1014 (registered), 3000–3999 (libraries) and 4000–4999
    /// (private use). 1004, 1005, 1006 and 1015 are reserved and the rest is unassigned (§7.4).
    #[must_use]
    pub const fn new(code: u16) -> Option<CloseCode> {
        match code {
            1000..=1003 | 1007..=1014 | 3000..=4999 => Some(CloseCode(code)),
            _ => None,
        }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }

    /// Whether it may stand in a Close frame: all but [`NO_STATUS`](Self::NO_STATUS) and
    /// [`ABNORMAL`](Self::ABNORMAL).
    #[must_use]
    pub const fn is_sendable(self) -> bool {
        CloseCode::new(self.0).is_some()
    }
}

impl fmt::Debug for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CloseCode({})", self.0)
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The payload of a Close frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloseFrame<'a> {
    /// Why; [`CloseCode::NO_STATUS`] if the payload is empty (§7.1.5).
    pub code: CloseCode,
    /// Text for whoever debugs; may be empty.
    pub reason: &'a str,
}

/// Reads the payload of a Close frame, already unmasked.
///
/// > If there is a body, the first two bytes of the body MUST be a 2-byte unsigned integer (in
/// > network byte order) representing a status code [...]. Following the 2-byte integer, the
/// > body MAY contain UTF-8-encoded data (§5.5.1).
///
/// # Errors
/// A payload of one byte, a code that must not be sent, a reason that is not UTF-8.
pub fn parse(payload: &[u8]) -> Result<CloseFrame<'_>, Violation> {
    let (code, reason) = match payload.split_first_chunk::<2>() {
        Some((code, reason)) => (*code, reason),
        None if payload.is_empty() => {
            return Ok(CloseFrame { code: CloseCode::NO_STATUS, reason: "" });
        }
        None => return Err(Violation::TruncatedCloseCode),
    };
    let code = CloseCode::new(u16::from_be_bytes(code)).ok_or(Violation::ReservedCloseCode)?;
    let reason = std::str::from_utf8(reason).map_err(|_| Violation::InvalidUtf8)?;
    Ok(CloseFrame { code, reason })
}

/// The longest beginning of `reason` that fits into a Close frame and ends between characters.
#[must_use]
pub fn truncate_reason(reason: &str) -> &str {
    reason.get(..reason.floor_char_boundary(MAX_REASON)).unwrap_or("")
}

/// Appends a whole Close frame to `out`.
///
/// The reason is cut to [`MAX_REASON`] bytes between characters. A code that may not stand on
/// the wire ([`CloseCode::NO_STATUS`], [`CloseCode::ABNORMAL`]) makes an empty Close, without a
/// reason. `mask` is the key if we are the client.
pub fn encode(out: &mut Vec<u8>, code: CloseCode, reason: &str, mask: Option<[u8; 4]>) {
    if !code.is_sendable() {
        return frame::encode(out, Opcode::Close, &[], mask);
    }
    let reason = truncate_reason(reason).as_bytes();
    frame::encode_parts(out, Opcode::Close, false, &[&code.0.to_be_bytes(), reason], mask);
}
