//! WebSocket (RFC 6455): framing that does no I/O, handshake, server and client on loopwork HTTP.
//!
//! [`core`] is the protocol as pure functions; [`Ws`] is what HTTP hands a connection to, and
//! what dials servers ([`dial`], [`dial_any`]); an [`App`] says what happens to messages, in both
//! roles.
//!
//! A whole echo server, which answers everything that is no WebSocket with 404:
//!
//! ```no_run
//! use loopwork_ws::http::core::Request;
//! use loopwork_ws::http::{self, Answer, Http, Offer, Reply};
//! use loopwork_ws::tcp::listen;
//! use loopwork_ws::tcp::reactor::{Loop, Os};
//! use loopwork_ws::{App, Handshake, Message, Socket, Ws};
//!
//! struct Echo;
//! impl App for Echo {
//!     type Conn = ();
//!     fn on_request(&mut self, _: &Request<'_>, _: &mut Handshake<'_>) -> Offer<()> {
//!         Offer::Accept(())
//!     }
//!     fn on_message(&mut self, _: &mut (), socket: &mut Socket<'_>, message: Message<'_>) {
//!         let _ = socket.send(&message);
//!     }
//! }
//!
//! struct Site;
//! impl http::App for Site {
//!     type Exchange = ();
//!     fn on_request(&mut self, _: &Request<'_>, reply: Reply<'_>) -> Answer<()> {
//!         reply.send(404, &[], b"a WebSocket is here, and nothing else\n")
//!     }
//! }
//!
//! # fn main() -> std::io::Result<()> {
//! let mut lp = Loop::new(Os::new()?);
//! let server = Http::with_upgrade(Site, Ws::new(Echo));
//! let (_, at) = listen(&mut lp, "127.0.0.1:0".parse().unwrap(), server)?;
//! println!("listening on ws://{at}");
//! lp.run()
//! # }
//! ```

mod app;
mod client;
mod codec;
mod conn;
pub mod core;
mod origin;
mod redirect;
mod server;
mod socket;
mod topics;

pub use app::{App, Config, End, Failure, Message};
pub use client::{Open, dial, dial_any};
pub use conn::{Conn, Ws};
pub use core::{CloseCode, Fragments, Limits, Part, Terms};
pub use loopwork_http as http;
pub use loopwork_http::tcp;
pub use origin::{Origins, same_origin};
pub use redirect::redirect;
pub use server::Handshake;
pub use socket::Socket;
pub use topics::{Prepared, publish, subscribers};
