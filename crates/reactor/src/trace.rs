//! What the loop tells whoever watches it.
//!
//! Rules of this file:
//! * A note is small and `Copy`: telling it allocates nothing, and whoever wants bytes looks
//!   elsewhere.
//! * A tracer sees, and changes nothing.

use crate::id::{Id, Instant};
use std::any::Any;

/// One thing that happened, in the order of the turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Trace {
    /// A turn's poll returned with so many ready sources.
    Turn(u32),
    /// A source is ready.
    Ready,
    /// A connection stands; a socket is bound.
    Open,
    /// A listener was opened.
    Listen,
    /// So many bytes were read.
    Read(u32),
    /// The protocol used so many of the bytes that it was shown.
    Used(u32),
    /// So many bytes were written.
    Wrote(u32),
    /// The peer ended its side.
    End,
    /// We ended ours.
    Shutdown,
    /// The output has emptied after it had been full.
    Drain,
    /// Woken.
    Wake,
    /// A deadline passed.
    Timer,
    /// The layer around a protocol stands, and the protocol may speak: TLS.
    Secure,
    /// That layer had so many bytes for the protocol.
    Clear(u32),
    /// The connection is over.
    Close,
    /// A protocol's own word.
    Say(&'static str),
}

/// Whoever watches: every note of the loop passes here while it is set
/// ([`Loop::trace`](crate::Loop::trace)).
pub trait Tracer: 'static {
    /// Something happened to `id`, in the turn that began at `at`.
    fn note(&mut self, at: Instant, id: Id, what: Trace);
    /// To get one's own tracer back out of the box.
    fn into_any(self: Box<Self>) -> Box<dyn Any>;
}
