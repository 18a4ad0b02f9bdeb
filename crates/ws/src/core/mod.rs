//! The WebSocket protocol (RFC 6455) as pure functions and small states.
//!
//! Rules that hold in this folder:
//!
//! * No I/O, no clock, no randomness: bytes, keys and limits are arguments.
//! * Nothing of the loop, of TCP or of HTTP is imported.
//! * No input makes anything here panic, and no input makes it allocate more than its limits say.
//! * Work is linear in the bytes that arrive, however they are cut.
//! * In steady state nothing is allocated.
//!
//! [`message::Receiver`] turns the bytes of a connection into messages, in place where it can;
//! [`frame::encode`] turns messages into bytes; [`handshake`] is the opening; [`close`] the end.

pub mod close;
pub mod error;
pub mod frame;
pub mod handshake;
pub mod mask;
pub mod message;
pub mod utf8;

pub use close::{CloseCode, CloseFrame};
pub use error::Violation;
pub use frame::{Fragments, Opcode, Role};
pub use message::{Limits, Message, Receiver};
