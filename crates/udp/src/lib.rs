//! UDP on the loopwork reactor: datagrams in batches, one callback each.
//!
//! A [`Protocol`] is shown what came ([`Protocol::on_datagram`]) and puts what shall go into a
//! queue ([`Io::send`]). A [`Host`] is the driver between it and the socket.
//!
//! Rules of this crate:
//! * A callback never touches the socket. It is shown bytes, queues datagrams and states wishes;
//!   [`Host`]'s one `settle` carries them out, behind a whole batch of input.
//! * One system call receives up to 64 messages, and one sends up to 64; and where the kernel
//!   has GSO and GRO, one message is up to 64 datagrams of one size and one peer.
//! * No error of the network is fatal: the socket lives until someone closes it.
//! * The queue has a bound in bytes and one in datagrams. What does not fit is dropped, and the
//!   sender is told at once: UDP's own rule, said aloud.
//! * Nothing is allocated for a datagram in steady state.
//!
//! Datagrams between processes of one machine, by a path: [`unix`].
//!
//! ```
//! use loopwork_reactor::{Loop, Os};
//! use loopwork_udp as udp;
//! use std::net::SocketAddr;
//!
//! struct Echo;
//! impl udp::Protocol for Echo {
//!     fn on_datagram(&mut self, io: &mut udp::Io<'_>, from: SocketAddr, bytes: &mut [u8]) {
//!         let _ = io.send(from, bytes);
//!     }
//! }
//!
//! # fn main() -> std::io::Result<()> {
//! let mut lp = Loop::new(Os::new()?);
//! let (echo, at) = udp::bind(&mut lp, "127.0.0.1:0".parse().unwrap(), Echo)?;
//! assert_ne!(at.port(), 0);
//! udp::close(&mut lp, echo);
//! lp.run() // ends: nothing is open any more
//! # }
//! ```

mod host;
mod open;
mod protocol;
mod queue;
pub mod unix;

pub use host::Host;
pub use loopwork_reactor::{BindOptions, DatagramOption, DatagramSettings, Facts, Source};
pub use open::{
    add, adopt, associate, bind, bind_with, close, dissociate, hold, open, post_open, set,
    settings, with,
};
pub use protocol::{Io, Options, Protocol};
pub use queue::Sent;

/// The largest payload of a datagram over IPv4, in bytes: 65,535 less 20 of the IP header and 8
/// of UDP's own (RFC 768). Over IPv6 it is 20 more.
pub const MAX_PAYLOAD: usize = 65_507;
