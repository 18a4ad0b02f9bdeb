//! Streams: TCP and Unix sockets on the reactor.
//!
//! One rule holds everywhere: **a callback never touches a socket. It is shown bytes, appends
//! bytes, and states wishes; the loop settles them.** `connection.rs` has the one function that
//! does (`settle`).
//!
//! A whole echo server, safe against a peer that never reads, since backpressure is the default:
//!
//! ```no_run
//! use loopwork_reactor::{Address, Env, Id, Loop, Os};
//! use loopwork_tcp::{Io, Protocol, listen};
//!
//! struct Echo;
//! impl Protocol for Echo {
//!     type Conn = ();
//!     fn on_accept(&mut self, _: &mut Env, _: Id, _: &Address) -> Option<()> {
//!         Some(())
//!     }
//!     fn on_open(&mut self, _: &mut (), io: &mut Io<'_>) {
//!         let _ = io.write("欢迎光临\n".as_bytes());
//!     }
//!     fn on_data(&mut self, _: &mut (), io: &mut Io<'_>, bytes: &mut [u8]) -> usize {
//!         let _ = io.write(bytes);
//!         bytes.len()
//!     }
//! }
//!
//! # fn main() -> std::io::Result<()> {
//! let mut lp = Loop::new(Os::new()?);
//! let (_, at) = listen(&mut lp, "127.0.0.1:0".parse().unwrap(), Echo)?;
//! println!("listening on tcp://{at}");
//! lp.run()
//! # }
//! ```

mod about;
mod adopt;
mod blocklist;
mod connection;
mod host;
mod inserts;
mod io;
mod linger;
mod race;
mod state;

pub use about::{addresses, credentials, info, socket};
pub use adopt::{Detached, adopt, detach, listen_on};
pub use blocklist::{BadRule, BlockList, PRIVATE_RANGES, Rule};
pub use connection::{CARRY_MAX, HIGH_WATER, READS_PER_TURN};
pub use host::{
    ACCEPTS_PER_TURN, CONNECT_TIMEOUT, Dial, Host, add, dial, hold, listen, listen_at, shutdown,
    unlisten,
};
pub use io::{Count, Io, Out, Wishes};
pub use linger::Drain;
pub use loopwork_reactor as reactor;
pub use race::{
    ADDRESSES_MAX, ATTEMPT_DELAY, ATTEMPT_DELAY_MAX, ATTEMPT_DELAY_MIN, DialAny, Family, dial_any,
    fail_dial, prefer,
};

use reactor::{Address, Env, Id};
use std::io::ErrorKind;

/// Why a connection is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Close {
    /// Both sides ended, and everything that was written went out.
    Finished,
    /// We gave it up: [`Io::abort`].
    Aborted,
    /// The peer reset it, or the network did.
    Reset,
    /// A deadline passed: the protocol's, that of a dial, or that of the kernel's probes.
    TimedOut,
    /// The protocol left more bytes unused than it keeps ([`Protocol::keeps`]) while it still
    /// wanted more: the peer's message is longer than anything that it may be.
    Overrun,
    /// The peer's stream ended where the layer above it had more to come: it was cut off.
    Truncated,
    /// A layer between the stream and the protocol gave it up, and says why by itself: TLS.
    Layer,
    /// A dial failed; with the kind of the error.
    Dial(ErrorKind),
    /// Our own list forbids the address that was dialed ([`Host::block_outbound`]).
    Blocked,
}

impl Close {
    /// Of a dial that failed, whatever forbade it: the kind of the error.
    #[must_use]
    pub fn dial_error(self) -> Option<ErrorKind> {
        match self {
            Close::Dial(kind) => Some(kind),
            Close::Blocked => Some(ErrorKind::PermissionDenied),
            _ => None,
        }
    }
}

impl std::fmt::Display for Close {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Close::Finished => f.write_str("finished"),
            Close::Aborted => f.write_str("aborted"),
            Close::Reset => f.write_str("reset by the peer"),
            Close::TimedOut => f.write_str("timed out"),
            Close::Overrun => f.write_str("message too long"),
            Close::Truncated => f.write_str("cut off"),
            Close::Layer => f.write_str("given up by the layer beneath"),
            Close::Dial(kind) => kind.fmt(f),
            Close::Blocked => f.write_str("blocked by our own list"),
        }
    }
}

/// Why a peer was turned away before [`Protocol::on_accept`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Refusal {
    /// The host has this many connections, and may have no more ([`Host::max_connections`]).
    Full(usize),
    /// Its address is in the host's block list ([`Host::block_inbound`]).
    Blocked,
}

/// What a write says of the output behind it.
#[must_use = "Full means: write no more until on_drain"]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flow {
    /// More may come.
    Open,
    /// The output is above its high-water mark. What was written is kept and will go out; nothing
    /// is read from this connection until it has (but see [`Io::read_when_full`]), and then
    /// [`Protocol::on_drain`] is called.
    Full,
}

/// What a connection does. `&mut self` is what all connections of a [`Host`] share; `Conn` is one
/// connection's own state, inline in the host's slab.
///
/// The events of Node's `net`: `connection` is [`on_accept`](Self::on_accept) and
/// [`on_open`](Self::on_open), `drop` [`on_drop`](Self::on_drop), `connect` is `on_open`, `data`
/// [`on_data`](Self::on_data), `end` [`on_end`](Self::on_end), `drain`
/// [`on_drain`](Self::on_drain), `timeout` [`on_timeout`](Self::on_timeout), `error` and `close`
/// [`on_close`](Self::on_close).
pub trait Protocol: 'static {
    /// The state of one connection.
    type Conn: 'static;

    /// Someone connected to a listener of this host: the state of the new connection, or `None`
    /// to hang up. What is dialed brings its state along instead.
    fn on_accept(&mut self, _env: &mut Env, _id: Id, _peer: &Address) -> Option<Self::Conn> {
        None
    }

    /// Someone connected to a listener of this host, and was turned away.
    fn on_drop(&mut self, _env: &mut Env, _peer: &Address, _why: Refusal) {}

    /// The connection stands, whoever began it.
    fn on_open(&mut self, _conn: &mut Self::Conn, _io: &mut Io<'_>) {}

    /// Bytes came in; says how many of them it used. What is left is shown again, with more
    /// behind it, or after [`Io::resume`], or when the output has drained. The bytes may be
    /// changed in place: they lie in the loop's read buffer.
    fn on_data(&mut self, conn: &mut Self::Conn, io: &mut Io<'_>, bytes: &mut [u8]) -> usize;

    /// How many bytes [`on_data`](Self::on_data) may leave unused while it wants more; above that
    /// the connection is over ([`Close::Overrun`]). It is asked only when more than [`CARRY_MAX`]
    /// are left, so less than that means nothing. A protocol whose messages are shown whole, and
    /// may be longer, says here how long: what it allows, each peer may make it hold.
    fn keeps(&self, _conn: &Self::Conn, _env: &mut Env) -> usize {
        CARRY_MAX
    }

    /// The output has emptied after it had been [`Flow::Full`]. Not called after [`Io::end`]:
    /// then nothing more is to be written.
    fn on_drain(&mut self, _conn: &mut Self::Conn, _io: &mut Io<'_>) {}

    /// The peer ended its side: nothing more comes in. Ends ours too, unless a protocol that
    /// allows half-open connections says otherwise here.
    fn on_end(&mut self, _conn: &mut Self::Conn, io: &mut Io<'_>) {
        io.end();
    }

    /// The deadline passed ([`Io::set_deadline`]); it is unset now.
    fn on_timeout(&mut self, _conn: &mut Self::Conn, io: &mut Io<'_>) {
        io.abort(Close::TimedOut);
    }

    /// Someone woke this connection by its id.
    fn on_wake(&mut self, _conn: &mut Self::Conn, _io: &mut Io<'_>) {}

    /// The host is to shut down ([`shutdown`]): finish what is in flight, then end.
    fn on_shutdown(&mut self, _conn: &mut Self::Conn, io: &mut Io<'_>) {
        io.end();
    }

    /// It is over, and why. The state comes by value: nothing can follow. Called exactly once for
    /// each state that `on_accept` gave or a dial brought, also when the dial failed.
    fn on_close(&mut self, _conn: Self::Conn, _id: Id, _env: &mut Env, _why: Close) {}

    /// A dial of several addresses ([`dial_any`]) is given up: what came of each, in the order of
    /// failing. `PermissionDenied` is also what [`Host::block_outbound`] forbids; `TimedOut`, what
    /// had not answered yet. Those that were not begun are missing. `on_close` follows.
    fn on_dial_failed(
        &mut self,
        _conn: &mut Self::Conn,
        _env: &mut Env,
        _tried: &[(std::net::SocketAddr, ErrorKind)],
    ) {
    }

    /// A connection could not be accepted: no descriptor or no memory is left. The listener tries
    /// again by itself, after 10 ms, then 20, up to 500; connections wait in the kernel meanwhile.
    fn on_accept_error(&mut self, _env: &mut Env, _error: &std::io::Error) {}
}
