//! HTTP/1.1: a parser and encoder that do no I/O, a server and a client on loopwork streams.
//!
//! [`core`] is the grammar; [`Http`] is the server, a protocol of streams; [`client::Client`] is
//! a handle that any protocol can ask with.

pub mod client;
pub mod core;
mod date;
mod pipe;
mod reply;
mod server;

pub use loopwork_tcp as tcp;
pub use pipe::Pipe;
pub use reply::{Answer, Reply, Sink};
pub use server::{App, Config, Conn, Http, Never, NoUpgrade, Offer, Serving, Upgrade};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
