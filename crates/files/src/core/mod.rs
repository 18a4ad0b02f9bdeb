//! What can be decided of a request for a file by its text alone: paths, ranges,
//! compressed forms.
//!
//! Rules that hold in this folder: no file is touched and nothing is known of the loop, so that it
//! runs under a fuzzer; nothing panics, whatever the text is; work is linear in the text.

mod codings;
mod path;
mod ranges;

pub use codings::{Coding, codings};
pub use path::{Name, Refusal, encode, is_hidden, path, url};
pub use ranges::{Part, RANGES_MAX, ranges};
