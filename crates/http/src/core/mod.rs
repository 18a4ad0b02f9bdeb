//! The HTTP/1.1 message core: parser, framing and encoder (RFC 9110, RFC 9112).
//!
//! Rules that hold in this folder:
//!
//! * no I/O and nothing of the loop: bytes in, decisions out, so that it runs under a fuzzer,
//!   in a simulator, or in a program that has its own loop;
//! * nothing panics, whatever the bytes are;
//! * nothing allocates in steady state: [`Fields`] and the encoder's `Vec` are the caller's;
//! * work is linear in the bytes received, however they are cut;
//! * strict where the RFCs leave a choice: what two parsers could read in two ways is refused.
//!
//! A server reads one message in three steps:
//!
//! ```
//! use loopwork_http::core::*;
//!
//! let limits = Limits::default();
//! let (mut seen, mut fields) = (Progress::new(), Fields::new());
//! let bytes = b"POST /a?b HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi";
//!
//! let (request, used) = parse_request(bytes, &mut seen, &mut fields, &limits)?.unwrap();
//! assert_eq!((request.method, request.path()), (Method::Post, "/a"));
//! let framing = request.framing()?;
//! let mut body = Decoder::new(framing.body, &limits)?;
//! assert_eq!(body.next(&bytes[used..], &limits)?, Step::Data { skip: 0, len: 2 });
//! body.consume(2);
//! assert!(matches!(body.next(&[], &limits)?, Step::End { .. }));
//! # Ok::<(), Malformed>(())
//! ```

mod body;
mod cursor;
pub mod encode;
mod error;
mod fields;
mod framing;
mod head;
mod limits;
mod lines;
mod loose;
mod message;
mod progress;
mod scan;
mod simd;
mod status;
mod target;

pub(crate) use body::parse_lines;
pub use body::{Decoder, Step, parse_trailers};
pub use error::{Invalid, Malformed};
pub use fields::{Fields, GetAll, Headers, Iter, List};
pub use framing::{Body, Framing};
pub use head::{parse_request, parse_response};
pub use limits::{Leniency, Limits};
pub use message::{Method, Request, Response, Version};
pub use progress::Progress;
pub use status::{METHODS, STATUS, reason};
