//! The loopwork crates under one name: event loop, TCP, UDP, TLS, HTTP and WebSocket.
//!
//! Each layer is a module, as its crate documents it: [`reactor`] is the loop, [`tcp`] and [`udp`]
//! are on it, [`dns`] on both, [`http`] and `tls` (a feature, on by default) are on `tcp`, [`ws`]
//! and [`files`] on `http`; [`sim`] simulates the world beneath them, [`trace`] records and
//! replays it. What every program needs
//! stands at the root.
//!
//! Rules of this crate:
//! * It adds to the layers what names of hosts have to do with them, [`resolve`], [`lookup`],
//!   [`connect_name`], [`connect_by`], [`listen_name`], and what URLs have: [`fetch`];
//!   and it puts HTTP and TLS together. All else is names.
//! * A layer is used through its module, so that `tcp::listen` and `udp::bind` say what they are.
//!
//! A whole TCP echo server:
//!
//! ```no_run
//! use loopwork::{Address, Env, Id, Loop, Os, tcp};
//!
//! struct Echo;
//! impl tcp::Protocol for Echo {
//!     type Conn = ();
//!     fn on_accept(&mut self, _: &mut Env, _: Id, _: &Address) -> Option<()> {
//!         Some(())
//!     }
//!     fn on_data(&mut self, _: &mut (), io: &mut tcp::Io<'_>, bytes: &mut [u8]) -> usize {
//!         let _ = io.write(bytes);
//!         bytes.len()
//!     }
//! }
//!
//! # fn main() -> std::io::Result<()> {
//! let mut lp = Loop::new(Os::new()?);
//! let (_, at) = tcp::listen(&mut lp, "127.0.0.1:0".parse().unwrap(), Echo)?;
//! println!("listening on tcp://{at}");
//! lp.run()
//! # }
//! ```

pub mod fetch;
#[cfg(feature = "tls")]
mod https;
mod name;

pub use loopwork_dns as dns;
pub use loopwork_files as files;
pub use loopwork_http as http;
pub use loopwork_reactor as reactor;
pub use loopwork_sim as sim;
pub use loopwork_tcp as tcp;
#[cfg(feature = "tls")]
pub use loopwork_tls as tls;
pub use loopwork_trace as trace;
pub use loopwork_udp as udp;
pub use loopwork_ws as ws;

pub use fetch::{Agent, Fetch, http_get};
#[cfg(feature = "tls")]
pub use https::{Secure, secure};
pub use name::{connect_by, connect_name, listen_name, lookup, resolve};
pub use reactor::{Address, Env, Handle, Id, Instant, Loop, Mailbox, Os, World, signal};
pub use tcp::{Close, Flow};

/// The listing of the project's README is a test.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct CrateReadme;
