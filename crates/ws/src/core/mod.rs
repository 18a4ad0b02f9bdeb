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
//! [`frame::encode`] turns messages into bytes; [`handshake`] is the opening; [`close`] the end;
//! [`extension`] and [`deflate`] are permessage-deflate.
//!
//! ```
//! use loopwork_ws::core::{Limits, Message, Opcode, Receiver, Role, Violation, frame};
//!
//! // An echo: whatever the client says goes back. `read` is what came, `out` what is to go.
//! fn echo(receiver: &mut Receiver, read: &mut [u8], out: &mut Vec<u8>) -> Result<(), Violation> {
//!     let mut used = 0;
//!     loop {
//!         let (n, message) = receiver.next(&mut read[used..], &Limits::default())?;
//!         used += n;
//!         match message {
//!             Some(Message::Text(t)) => frame::encode(out, Opcode::Text, t.as_bytes(), None),
//!             Some(Message::Binary(b)) => frame::encode(out, Opcode::Binary, b, None),
//!             Some(Message::Ping(b)) => frame::encode(out, Opcode::Pong, b, None),
//!             Some(_) => {}
//!             None => return Ok(()), // what is left of `read` must come again, with more
//!         }
//!     }
//! }
//!
//! let mut out = Vec::new();
//! let mut hello = *b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"; // RFC 6455 §5.7
//! echo(&mut Receiver::new(Role::Server), &mut hello, &mut out)?;
//! assert_eq!(out, b"\x81\x05Hello");
//! # Ok::<(), Violation>(())
//! ```

pub mod close;
pub mod deflate;
pub mod error;
pub mod extension;
pub mod frame;
pub mod handshake;
pub mod mask;
pub mod message;
pub mod part;
mod partial;
pub mod utf8;

pub use close::{CloseCode, CloseFrame};
pub use error::Violation;
pub use extension::Terms;
pub use frame::{Fragments, Opcode, Role};
pub use message::{Limits, Message, Receiver};
pub use part::Part;
