//! HTTP/1.1: a parser and encoder that do no I/O, a server and a client on loopwork streams.
//!
//! [`core`] is the grammar; [`Http`] is the server, a protocol of streams; [`client::Client`] is
//! a handle that any protocol can ask with.

mod app;
pub mod client;
mod config;
pub mod core;
mod desk;
pub mod forms;
mod front;
#[cfg(feature = "inflate")]
pub mod inflate;
mod pipe;
mod proxied;
pub mod redirect;
mod reply;
mod server;
mod url;
mod waits;

pub use app::{App, Never, NoUpgrade, Offer, Upgrade};
pub use config::Config;
pub use desk::{Desk, Due};
pub use loopwork_tcp as tcp;
pub use pipe::Pipe;
pub use reply::{Answer, Reply, Sink};
pub use server::{Conn, Http, Serving};
pub use url::{Bad as BadUrl, Login, Url};
pub use waits::Late;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
