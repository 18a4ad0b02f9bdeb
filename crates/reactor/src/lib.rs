//! The reactor: one thread, one loop, one turn after the other. `turn.rs` *is* the loop.
//!
//! It knows neither streams nor datagrams, but as traits of the [`World`], behind which lies
//! everything that is not deterministic. [`Os`] is the real one, by mio; a simulated one serves
//! tests.

pub mod blocking;
mod control;
mod datagrams;
mod env;
mod id;
mod mail;
mod metrics;
mod mmsg;
mod os;
#[doc(hidden)]
pub mod planted;
pub mod signal;
mod streams;
mod timers;
mod trace;
mod turn;
mod workers;
mod world;

pub use datagrams::{
    BATCH, BindOptions, Datagram, DatagramOption, DatagramSettings, Datagrams, Facts, ROOM_MAX,
    Source,
};
pub use env::{CallKey, Calls, Env, Key, Pool, Shared};
pub use id::{Fd, Id, Instant, Ready};
pub use mail::{Mail, Mailbox};
pub use metrics::{Histogram, Metrics};
pub use os::{
    DESCRIPTORS_MAX, Inherited, LISTEN_FDS_MAX, Os, listen_fds, mio, read_file,
    receive_descriptors, send_descriptors,
};
pub use streams::{
    Address, ConnectOptions, Credentials, KeepAlive, ListenOptions, StreamInfo, StreamOption,
    Streams, TcpState,
};
pub use timers::{TimerKey, Timers};
pub use trace::{Trace, Tracer};
pub use turn::{Cx, Driver, Handle, Loop, READ_BUFFER, READ_MAX, TIMERS_PER_TURN};
pub use workers::Workers;
pub use world::World;
