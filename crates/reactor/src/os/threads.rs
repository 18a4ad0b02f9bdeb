//! The threads of the real world on which jobs block.
//!
//! Rules of this file:
//! * A thread is begun when a job finds none idle, up to [`THREADS`]; then jobs queue. How many
//!   may queue is bounded by who asks, see [`JOBS`](crate::blocking::JOBS).
//! * With the world, threads that wait end. One that is inside a job ends behind it: nobody waits
//!   for a resolver that hangs.

use crate::blocking::{Done, Job, THREADS};
use crate::mail::Mailbox;
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    idle: usize,
    threads: usize,
    over: bool,
}

#[derive(Default)]
struct Inner {
    queue: Mutex<Queue>,
    more: Condvar,
}

impl Inner {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The threads of one world.
#[derive(Default)]
pub(super) struct Threads(Arc<Inner>);

impl Threads {
    /// Has a job run; its answer goes into the mailbox.
    pub(super) fn submit(&self, job: Job, mailbox: &Mailbox) -> io::Result<()> {
        let mut queue = self.0.queue();
        if queue.idle <= queue.jobs.len() && queue.threads < THREADS {
            let (inner, mailbox) = (self.0.clone(), mailbox.clone());
            let name = thread::Builder::new().name("loopwork-blocking".into());
            match name.spawn(move || work(&inner, &mailbox)) {
                Ok(_) => queue.threads += 1,
                Err(e) if queue.threads == 0 => return Err(e),
                // Those that are there will come to it.
                Err(_) => {}
            }
        }
        queue.jobs.push_back(job);
        self.0.more.notify_one();
        Ok(())
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        let mut queue = self.0.queue();
        queue.over = true;
        queue.jobs.clear();
        self.0.more.notify_all();
    }
}

fn work(inner: &Inner, mailbox: &Mailbox) {
    let mut queue = inner.queue();
    while !queue.over {
        if let Some(job) = queue.jobs.pop_front() {
            drop(queue);
            if let Some(done) = job.run() {
                mailbox.post(Done::DRIVER, Box::new(done));
            }
            queue = inner.queue();
        } else {
            queue.idle += 1;
            queue = inner.more.wait(queue).unwrap_or_else(PoisonError::into_inner);
            queue.idle -= 1;
        }
    }
}
