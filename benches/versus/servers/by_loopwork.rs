//! What a user of loopwork writes.

use super::Service;
use loopwork_reactor::{Address, Env, Id, Instant, Loop, Os, Trace, Tracer};
use loopwork_tcp::{Io, Protocol, listen};
use std::any::Any;
use std::io;

/// With a tracer that keeps all that the loop tells, or with none.
pub(super) fn run(service: Service, traced: bool) -> io::Result<()> {
    let mut lp = Loop::new(Os::new()?);
    if traced {
        lp.trace(Some(Box::new(Ring::new())));
    }
    let at = ([127, 0, 0, 1], 0).into();
    let at = match service {
        Service::Echo | Service::Stream => listen(&mut lp, at, Echo)?.1,
        Service::Sink => listen(&mut lp, at, Sink)?.1,
    };
    println!("{}", at.port());
    lp.run()
}

/// The last notes of the loop.
struct Ring {
    notes: Vec<(Instant, Id, Trace)>,
    next: usize,
}

impl Ring {
    /// How many are kept: some hundred turns of a busy server.
    const NOTES: usize = 16 * 1024;

    fn new() -> Ring {
        Ring { notes: vec![(Instant::default(), Id::NOBODY, Trace::Ready); Ring::NOTES], next: 0 }
    }
}

impl Tracer for Ring {
    fn note(&mut self, at: Instant, id: Id, what: Trace) {
        self.notes[self.next % Ring::NOTES] = (at, id, what);
        self.next = self.next.wrapping_add(1);
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

struct Echo;

impl Protocol for Echo {
    type Conn = ();

    fn on_accept(&mut self, _: &mut Env, _: Id, _: &Address) -> Option<()> {
        Some(())
    }

    fn on_data(&mut self, _: &mut (), io: &mut Io<'_>, bytes: &mut [u8]) -> usize {
        let _ = io.write(bytes);
        bytes.len()
    }
}

struct Sink;

impl Protocol for Sink {
    type Conn = u64;

    fn on_accept(&mut self, _: &mut Env, _: Id, _: &Address) -> Option<u64> {
        Some(0)
    }

    fn on_data(&mut self, total: &mut u64, _: &mut Io<'_>, bytes: &mut [u8]) -> usize {
        *total += bytes.len() as u64;
        bytes.len()
    }

    fn on_end(&mut self, total: &mut u64, io: &mut Io<'_>) {
        let _ = io.write(&total.to_le_bytes());
        io.end();
    }
}
