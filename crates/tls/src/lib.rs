//! TLS 1.2 and 1.3 (RFC 5246, RFC 8446): [`Tls<P>`] is a protocol of streams around a protocol of
//! streams, for either end. `https` is `Tls<Http<…>>`, `wss` is `Tls<Http<…, Ws<…>>>`; neither
//! HTTP nor WebSocket knows.
//!
//! The cryptography and the state machine are those of `rustls`; nothing waits in its buffers.
//!
//! What holds here as everywhere:
//!
//! * **Backpressure**: [`Flow::Full`](tcp::Flow::Full) counts what lies beneath, so who is slow
//!   through TLS holds as little as who is slow without it, and what is not wanted is not
//!   decrypted.
//! * **Ends**: an end says so by `close_notify`, and one side's end leaves the other open (RFC 8446
//!   §6.1). A peer whose stream just stops has been cut off, or somebody did it:
//!   [`Close::Truncated`](tcp::Close::Truncated), never a clean end.
//! * **Deadlines** of the inside hold unchanged; the handshake has one of its own.
//! * **Fairness**: a turn begins so many handshakes at most ([`HANDSHAKES_PER_TURN`]), since each
//!   costs as much as a thousand messages; those who wait stand in line.
//!
//! Early data is refused (it can be replayed), and so is renegotiation (rustls has none).
//!
//! ```no_run
//! use loopwork_tls::tcp::reactor::{Env, Id, Loop, Os};
//! use loopwork_tls::{Tls, config, tcp};
//!
//! struct Echo;
//! impl tcp::Protocol for Echo {
//!     type Conn = ();
//!     fn on_accept(&mut self, _: &mut Env, _: Id, _: &tcp::reactor::Address) -> Option<()> {
//!         Some(())
//!     }
//!     fn on_data(&mut self, _: &mut (), io: &mut tcp::Io<'_>, bytes: &mut [u8]) -> usize {
//!         let _ = io.write(bytes);
//!         bytes.len()
//!     }
//! }
//!
//! let identity = config::identity("cert.pem".as_ref(), "key.pem".as_ref())?;
//! let config = config::server(vec![identity])?;
//! let mut lp = Loop::new(Os::new()?);
//! tcp::listen(&mut lp, ([127, 0, 0, 1], 8443).into(), Tls::server(Echo, config))?;
//! lp.run()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub use loopwork_tcp as tcp;
pub use rustls;

pub mod config;
mod conn;
mod failure;
mod protocol;
mod queue;

pub use conn::{Agreed, Conn};
pub use failure::{Failure, Failures};
pub use protocol::{HANDSHAKE, Tls};
pub use queue::HANDSHAKES_PER_TURN;

/// What was agreed on with the peer of this connection, from `on_open` to `on_close`; `None` if it
/// is not one of TLS.
#[must_use]
pub fn agreed(env: &mut tcp::reactor::Env, id: tcp::reactor::Id) -> Option<&Agreed> {
    env.shared.one::<conn::Sessions>().0.get(&id)
}

/// Why this connection failed, if it was TLS that did: in `on_close` and for a while after it.
#[must_use]
pub fn failure(env: &mut tcp::reactor::Env, id: tcp::reactor::Id) -> Option<&Failure> {
    env.shared.one::<Failures>().of(id)
}
