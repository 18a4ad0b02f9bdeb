//! Static files over HTTP: a directory as an [`App`](http::App).
//!
//! [`Files`] is the directory. It is mounted alone, `Http::new(Files::new("public")?)`, or as a
//! part of another application with [`Files::respond`].
//!
//! Rules of this crate:
//! * Nothing outside of the root is opened, whatever the path says and whatever links there are;
//!   no device and no FIFO is opened at all.
//! * The length that a head promised is kept, or the connection is cut: a file that shrinks while
//!   it is sent is never padded.
//! * Memory is bounded: the kernel sends files from where they lie, as their connections drain,
//!   and of the small ones so many are kept as was said.

mod answers;
mod cache;
mod conditions;
pub mod core;
mod disk;
mod find;
mod listing;
mod mime;
mod sending;
mod site;
mod waiting;

pub use find::is_too_much;
pub use loopwork_http as http;
pub use sending::Sending;
pub use site::Files;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
