//! When what happened on the wire, as the loop saw it.
//!
//! Rule: the loop's tracer looks on, nothing is asked of the connections; times are those of the
//! turns in which things happened.

use loopwork::reactor::{Trace, Tracer};
use loopwork::{Id, Instant};
use std::any::Any;
use std::cell::Cell;
use std::rc::Rc;

/// What is known of the request under way, and of all so far.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Seen {
    /// A connection stood; of a request on a kept one nothing is opened.
    pub(super) opened: Option<Instant>,
    /// TLS stood on it.
    pub(super) secure: Option<Instant>,
    /// The first write, and the last.
    pub(super) first: Option<Instant>,
    pub(super) sent: Option<Instant>,
    /// The first read.
    pub(super) heard: Option<Instant>,
    /// Connections that were opened, of all requests.
    pub(super) connects: u32,
    /// The connection that it is about.
    pub(super) id: Option<Id>,
}

/// The watcher: one half is the loop's, the other is asked.
#[derive(Clone, Default)]
pub(super) struct Watch(Rc<Cell<Seen>>);

impl Watch {
    pub(super) fn seen(&self) -> Seen {
        self.0.get()
    }

    /// A new request begins.
    pub(super) fn begin(&self) {
        self.0.set(Seen { connects: self.0.get().connects, ..Seen::default() });
    }
}

impl Tracer for Watch {
    fn note(&mut self, at: Instant, id: Id, what: Trace) {
        let mut seen = self.0.get();
        match what {
            Trace::Open => {
                seen.opened.get_or_insert(at);
                seen.connects += 1;
                seen.id = Some(id);
            }
            // What was said before was the handshake's.
            Trace::Secure => {
                seen.secure.get_or_insert(at);
                (seen.first, seen.sent, seen.heard) = (None, None, None);
            }
            Trace::Wrote(_) => {
                seen.first.get_or_insert(at);
                seen.sent = Some(at);
                seen.id = Some(id);
            }
            // Of TLS some is said behind the handshake that is no answer.
            Trace::Read(_) if seen.secure.is_none() => {
                seen.heard.get_or_insert(at);
            }
            Trace::Clear(_) => {
                seen.heard.get_or_insert(at);
            }
            _ => return,
        }
        self.0.set(seen);
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}
