//! The lives of connections, as the loop's tracer sees them.
//!
//! Rule: nothing is asked of a connection; a time is that of the turn in which something happened.

use loopwork::reactor::{Trace, Tracer};
use loopwork::{Id, Instant, Loop, World};
use std::any::Any;
use std::collections::BTreeMap;

/// Bytes that went one way, until some came the other way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    /// To the server.
    pub(super) out: bool,
    pub(super) from: Instant,
    pub(super) to: Instant,
    pub(super) bytes: u64,
}

/// The life of a connection.
#[derive(Default, Debug)]
pub(super) struct Life {
    pub(super) open: Option<Instant>,
    /// TLS stood; the runs before it are its handshake.
    pub(super) secure: Option<Instant>,
    pub(super) shook: Vec<Run>,
    /// What was said, both ways.
    pub(super) runs: Vec<Run>,
    /// Our end, the peer's, and that of it all.
    pub(super) ended: Option<Instant>,
    pub(super) peer_ended: Option<Instant>,
    pub(super) closed: Option<Instant>,
}

impl Life {
    fn ran(&mut self, out: bool, at: Instant, bytes: u32) {
        match self.runs.last_mut() {
            Some(run) if run.out == out => {
                run.to = at;
                run.bytes += u64::from(bytes);
            }
            _ => self.runs.push(Run { out, from: at, to: at, bytes: bytes.into() }),
        }
    }

    /// The request whose answer's head was seen then, and when its first byte came.
    pub(super) fn exchange(&self, head: Instant) -> Option<(Run, Instant)> {
        let heard = self.runs.iter().rposition(|run| !run.out && run.from <= head)?;
        let sent = self.runs[..heard].last().filter(|run| run.out)?;
        Some((*sent, self.runs[heard].from))
    }
}

/// All of them.
#[derive(Default, Debug)]
pub(super) struct Journal(BTreeMap<Id, Life>);

impl Journal {
    /// The loop's own, which has none then.
    pub(super) fn take<W: World>(lp: &mut Loop<W>) -> Journal {
        let own = lp.trace(None).map(Tracer::into_any);
        own.and_then(|own| own.downcast().ok()).map(|own| *own).unwrap_or_default()
    }

    pub(super) fn life(&self, id: Id) -> Option<&Life> {
        self.0.get(&id)
    }
}

impl Tracer for Journal {
    fn note(&mut self, at: Instant, id: Id, what: Trace) {
        if let Trace::Open = what {
            self.0.entry(id).or_default().open = Some(at);
        }
        let Some(life) = self.0.get_mut(&id) else { return };
        match what {
            Trace::Wrote(bytes) => life.ran(true, at, bytes),
            // Of TLS some is said behind the handshake that is no answer.
            Trace::Read(bytes) if life.secure.is_none() => life.ran(false, at, bytes),
            Trace::Clear(bytes) => life.ran(false, at, bytes),
            Trace::Secure => {
                life.secure = Some(at);
                life.shook = std::mem::take(&mut life.runs);
            }
            Trace::Shutdown => life.ended = life.ended.or(Some(at)),
            Trace::End => life.peer_ended = life.peer_ended.or(Some(at)),
            Trace::Close => life.closed = life.closed.or(Some(at)),
            _ => {}
        }
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::default().after(std::time::Duration::from_millis(ms))
    }

    #[test]
    fn exchanges_of_one_connection_are_told_apart() {
        let (mut journal, id) = (Journal::default(), Id { birth: 1, slot: 0, driver: 0 });
        for (ms, what) in [
            (1, Trace::Open),
            (2, Trace::Wrote(200)),
            (3, Trace::Read(1000)),
            (4, Trace::Wrote(60)),
            (4, Trace::Secure),
            (5, Trace::Read(500)),
            (6, Trace::Wrote(100)),
            (7, Trace::Wrote(10)),
            (8, Trace::Clear(300)),
            (9, Trace::Clear(700)),
            (9, Trace::Wrote(90)),
            (12, Trace::Clear(50)),
            (13, Trace::Shutdown),
            (14, Trace::End),
            (14, Trace::Close),
        ] {
            journal.note(at(ms), id, what);
        }
        let life = journal.life(id).unwrap();
        assert_eq!((life.open, life.secure, life.shook.len()), (Some(at(1)), Some(at(4)), 3));
        let ways: Vec<bool> = life.runs.iter().map(|run| run.out).collect();
        assert_eq!(ways, [true, false, true, false], "and nothing of the session's tickets");
        let first = life.exchange(at(9)).unwrap();
        assert_eq!((first.0.from, first.0.to, first.0.bytes, first.1), (at(6), at(7), 110, at(8)));
        let second = life.exchange(at(12)).unwrap();
        assert_eq!((second.0.from, second.1), (at(9), at(12)));
        assert!(life.exchange(at(7)).is_none());
        assert_eq!((life.ended, life.peer_ended), (Some(at(13)), Some(at(14))));
        assert_eq!(life.closed, Some(at(14)));
    }
}
