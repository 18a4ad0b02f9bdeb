//! What can be decided of a request for a file by its text alone: paths and ranges.
//!
//! Rules that hold in this folder: no file is touched and nothing is known of the loop, so that it
//! runs under a fuzzer; nothing panics, whatever the text is; work is linear in the text.

mod path;
mod ranges;

pub use path::{Name, Refusal, encode, is_hidden, path, url};
pub use ranges::{Part, RANGES_MAX, ranges};
