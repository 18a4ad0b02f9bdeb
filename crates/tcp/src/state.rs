//! What is so of a connection, in one word: most events ask for many of these at once, and as a
//! rule none of them is out of the ordinary, which one test tells.

/// A set of the names below.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct State(u16);

/// Reading may give something, by what the last edge said.
pub(crate) const READABLE: State = State(1);
/// Writing may take something, likewise.
pub(crate) const WRITABLE: State = State(1 << 1);
/// The peer's end lies behind what is there.
pub(crate) const CLOSED: State = State(1 << 2);
/// It stands in the queue of `again`.
pub(crate) const QUEUED: State = State(1 << 3);
/// The output went over its mark, and has not emptied since: a drain is owed.
pub(crate) const FULL: State = State(1 << 4);
/// The peer's end was read.
pub(crate) const EOF: State = State(1 << 5);
/// Our end was sent.
pub(crate) const FIN: State = State(1 << 6);
/// The kernel had no memory for a write, and promises no readiness: a timer takes its place.
pub(crate) const STARVED: State = State(1 << 7);
/// Writing failed: output is lost, but what the peer sent before may still be read.
pub(crate) const BROKEN: State = State(1 << 8);
/// It is being dialed, and does not stand yet.
pub(crate) const DIALING: State = State(1 << 9);
/// What a connection is not that is open both ways, and owes nothing but output.
pub(crate) const ODD: State = DIALING.or(FULL).or(EOF).or(FIN).or(BROKEN).or(STARVED);

impl State {
    /// Both sets together.
    pub(crate) const fn or(self, other: State) -> State {
        State(self.0 | other.0)
    }

    /// Some of these are so.
    #[inline(always)]
    pub(crate) fn has(self, any: State) -> bool {
        self.0 & any.0 != 0
    }

    /// These are so, if `on`; else they stay as they are.
    #[inline(always)]
    pub(crate) fn raise(&mut self, which: State, on: bool) {
        self.0 |= if on { which.0 } else { 0 };
    }

    /// These are so, or are not.
    #[inline(always)]
    pub(crate) fn put(&mut self, which: State, on: bool) {
        self.0 &= !which.0;
        self.raise(which, on);
    }
}
