//! More cores: as many loops on as many threads, which share nothing but what the set-up gives
//! them.
//!
//! Rules of this file:
//! * Each loop is made and lives on its own thread, so nothing in it need be `Send`.
//! * A set-up that fails ends them all, and is what [`Workers::start`] returns.
//! * A callback that panics ends its loop alone; [`Workers::join`] tells it.

use crate::mail::Mailbox;
use crate::os::Os;
use crate::turn::Loop;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};

/// Loops on threads of their own. Dropping it lets them run on.
pub struct Workers {
    mailboxes: Vec<Mailbox>,
    threads: Vec<JoinHandle<io::Result<()>>>,
}

type Told = Sender<io::Result<(usize, Mailbox)>>;

impl Workers {
    /// Starts `count` loops; `setup` gets each one, with its number, on its thread. Returns when
    /// all are set up. Listeners that share a port do so by `SO_REUSEPORT`.
    ///
    /// # Errors
    /// What a set-up said, or the system of a thread or a poll; then none is left running.
    pub fn start(
        count: usize,
        setup: impl Fn(usize, &mut Loop<Os>) -> io::Result<()> + Send + Sync + 'static,
    ) -> io::Result<Workers> {
        let (setup, (tell, told)) = (Arc::new(setup), channel());
        let mut workers = Workers { mailboxes: Vec::new(), threads: Vec::new() };
        let mut failed = None;
        for number in 0..count {
            let (setup, tell) = (setup.clone(), tell.clone());
            let name = thread::Builder::new().name(format!("loopwork-{number}"));
            match name.spawn(move || run(number, &*setup, tell)) {
                Ok(thread) => workers.threads.push(thread),
                Err(e) => failed = failed.or(Some(e)),
            }
        }
        drop(tell);
        let mut mailboxes = Vec::new();
        // Ends when each has told, or is gone by a panic.
        for worker in told {
            match worker {
                Ok(told) => mailboxes.push(told),
                Err(e) => failed = failed.or(Some(e)),
            }
        }
        mailboxes.sort_by_key(|(number, _)| *number);
        workers.mailboxes = mailboxes.into_iter().map(|(_, mailbox)| mailbox).collect();
        if failed.is_none() && workers.mailboxes.len() == count {
            return Ok(workers);
        }
        workers.stop();
        let joined = workers.join();
        Err(failed.or(joined.err()).unwrap_or_else(|| io::Error::other("a set-up panicked")))
    }

    /// The doors to the loops, by number.
    #[must_use]
    pub fn mailboxes(&self) -> &[Mailbox] {
        &self.mailboxes
    }

    /// Ends every loop's [`run`](Loop::run) after its current turn.
    pub fn stop(&self) {
        self.mailboxes.iter().for_each(Mailbox::stop);
    }

    /// Waits until all loops have ended: because they were stopped, or nothing was left for them.
    ///
    /// # Errors
    /// That of the first loop whose poll failed or that panicked; all have ended by then.
    pub fn join(self) -> io::Result<()> {
        let panicked = || io::Error::other("a loop's callback panicked");
        let ends: Vec<_> = self.threads.into_iter().map(JoinHandle::join).collect();
        ends.into_iter().try_for_each(|end| end.unwrap_or_else(|_| Err(panicked())))
    }
}

fn run(
    number: usize,
    setup: &dyn Fn(usize, &mut Loop<Os>) -> io::Result<()>,
    tell: Told,
) -> io::Result<()> {
    let mut made = (|| {
        let mut lp = Loop::new(Os::new()?);
        setup(number, &mut lp)?;
        let mailbox = lp.mailbox()?;
        Ok((lp, mailbox))
    })();
    // The starter waits for every word, and is there to hear it.
    let _ = tell.send(match &mut made {
        Ok((_, mailbox)) => Ok((number, mailbox.clone())),
        Err(e) => Err(std::mem::replace(e, io::Error::other("the set-up failed"))),
    });
    // The starter listens until nobody is left who could tell.
    drop(tell);
    let (mut lp, _) = made?;
    lp.run()
}
