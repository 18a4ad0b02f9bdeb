//! Bugs that a test can switch on, one at a time, to see that the simulator's scenarios find them.
//!
//! Rules of this file:
//! * Without the feature `planted`, which no crate has by default, [`planted`] is `false` when it
//!   is compiled, and the loop is built as if this file were not there.
//! * A planted bug is one that was made before, here or elsewhere; it is a line where it would be.

/// A bug.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[non_exhaustive]
pub enum Planted {
    /// A wake's mark stays when it has been served, so that the next one is taken for queued.
    LostWake,
    /// An id is looked up by its slot alone.
    ReusedId,
    /// Who has stopped before it was dry is not queued again.
    NoRequeue,
    /// A connection's descriptor is closed twice.
    DoubleClose,
    /// Of what a protocol left, the first byte is lost.
    CarryOffByOne,
    /// A timer fires for the deadline that it was armed for, and not for the one that is set.
    EarlyTimer,
    /// A readiness is taken for the answer to a dial, without asking.
    SpuriousReady,
    /// A short read is taken for dry although the end lies behind it.
    LostEnd,
    /// A short write is taken for a whole one.
    ShortWrite,
    /// The output has emptied, and nobody is told.
    NoDrain,
    /// The end is sent before the rest of the output.
    EndBeforeFlush,
    /// A closed connection's timer stays armed.
    TimerLeak,
    /// A batch of datagrams that was cut short begins again with the last that went.
    DatagramTwice,
}

impl Planted {
    /// All of them.
    pub const ALL: [Planted; 13] = [
        Planted::LostWake,
        Planted::ReusedId,
        Planted::NoRequeue,
        Planted::DoubleClose,
        Planted::CarryOffByOne,
        Planted::EarlyTimer,
        Planted::SpuriousReady,
        Planted::LostEnd,
        Planted::ShortWrite,
        Planted::NoDrain,
        Planted::EndBeforeFlush,
        Planted::TimerLeak,
        Planted::DatagramTwice,
    ];

    /// Its name on a command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Planted::LostWake => "lost-wake",
            Planted::ReusedId => "reused-id",
            Planted::NoRequeue => "no-requeue",
            Planted::DoubleClose => "double-close",
            Planted::CarryOffByOne => "carry-off-by-one",
            Planted::EarlyTimer => "early-timer",
            Planted::SpuriousReady => "spurious-ready",
            Planted::LostEnd => "lost-end",
            Planted::ShortWrite => "short-write",
            Planted::NoDrain => "no-drain",
            Planted::EndBeforeFlush => "end-before-flush",
            Planted::TimerLeak => "timer-leak",
            Planted::DatagramTwice => "datagram-twice",
        }
    }
}

#[cfg(feature = "planted")]
thread_local! {
    static NOW: std::cell::Cell<Option<Planted>> = const { std::cell::Cell::new(None) };
}

/// Switches a bug on in this thread's loops, or all of them off. Says whether this build has them.
pub fn plant(bug: Option<Planted>) -> bool {
    #[cfg(feature = "planted")]
    NOW.set(bug);
    #[cfg(not(feature = "planted"))]
    let _ = bug;
    cfg!(feature = "planted")
}

/// Whether this bug is on. For the line that has it.
#[inline(always)]
#[must_use]
pub fn planted(bug: Planted) -> bool {
    #[cfg(feature = "planted")]
    return NOW.get() == Some(bug);
    #[cfg(not(feature = "planted"))]
    {
        let _ = bug;
        false
    }
}
