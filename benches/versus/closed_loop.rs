//! Connections that ask, each for itself: when one is answered, it asks again.
//!
//! Rule: what is asked and what an answer is only the load knows; who asks when is the same for
//! all.

use crate::load::Done;
use crate::sys;
use std::io::{self, ErrorKind};
use std::os::fd::RawFd;
use std::time::{Duration, Instant};

/// Connections by their numbers, which `epoll` tells, too.
pub(crate) trait Asker {
    /// A server that says nothing for so long has failed.
    const PATIENCE: Duration;

    /// How many there are, and where the kernel tells of them.
    fn conns(&self) -> (usize, RawFd);

    /// Asks on one that has nothing under way.
    fn ask(&mut self, i: usize) -> io::Result<()>;

    /// Something is so of one of them; whether it is answered now.
    fn hear(&mut self, i: usize, events: u32) -> io::Result<bool>;
}

/// All ask, and then again until it is over, which is looked at once for all that the kernel tells
/// together; in the end all answers are waited for. How often one was answered.
///
/// # Errors
/// What the asker fails with; nothing at all for a while.
pub(crate) fn until<A: Asker>(asker: &mut A, over: &dyn Fn() -> bool) -> io::Result<u64> {
    let mut events = [sys::NO_EVENT; 1024];
    let ((conns, epoll), wait) = (asker.conns(), A::PATIENCE.as_millis() as i32);
    let (mut count, mut busy) = (0, conns);
    for i in 0..conns {
        asker.ask(i)?;
    }
    while busy > 0 {
        let n = match sys::epoll_wait(epoll, &mut events, wait) {
            Ok(0) => return Err(ErrorKind::TimedOut.into()),
            // This process was stopped and goes on.
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            other => other?,
        };
        let over = over();
        for event in &events[..n] {
            let i = event.u64 as usize;
            if !asker.hear(i, event.events)? {
                continue;
            }
            count += 1;
            match over {
                true => busy -= 1,
                false => asker.ask(i)?,
            }
        }
    }
    Ok(count)
}

/// For so long.
///
/// # Errors
/// As [`until`].
pub(crate) fn run(asker: &mut impl Asker, time: Duration) -> io::Result<Done> {
    let start = Instant::now();
    let count = until(asker, &|| start.elapsed() >= time)?;
    Ok(Done { count, time: start.elapsed() })
}

/// So many times all ask, and then all are heard, one after the other: a turn of the server has all
/// of them ready, however fast it is, so that its calls can be counted.
///
/// # Errors
/// What the asker fails with.
pub(crate) fn lockstep(asker: &mut impl Asker, times: u64) -> io::Result<()> {
    let (conns, _) = asker.conns();
    for _ in 0..times {
        for i in 0..conns {
            asker.ask(i)?;
        }
        for i in 0..conns {
            while !asker.hear(i, sys::IN)? {}
        }
    }
    Ok(())
}
