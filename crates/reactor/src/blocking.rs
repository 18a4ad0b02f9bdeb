//! Work that blocks, such as a look-up of a name or a file: off the loop's thread, and back in it
//! with what came out.
//!
//! Rules of this file:
//! * A callback states the wish ([`Env::blocking`]); the loop hands the job
//!   to the [`World`] in its phase of posts, and the answer comes as a post too.
//! * What waits or runs is bounded ([`JOBS`]): who asks for more is told at once.
//! * A job that panics is an answer like another; neither its thread nor the loop ends.

use crate::env::{Calls, Env};
use crate::id::Id;
use crate::world::World;
use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Jobs of one loop that wait or run, at most: a quarter of a second's for four threads at a
/// millisecond each. A longer queue only hides that the threads are too slow.
pub const JOBS: usize = 1024;
/// Threads of the real world that one loop's jobs share, begun when first needed. Four, as in
/// libuv: what blocks on a disk or a resolver needs no core.
pub const THREADS: usize = 4;

/// Why a job gave nothing.
#[derive(Debug)]
#[non_exhaustive]
pub enum Failed {
    /// It panicked, with this.
    Panicked(Box<dyn Any + Send>),
    /// The world has no thread for it.
    NoThread(io::Error),
}

/// [`JOBS`] wait or run already: this one was not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Full;

impl std::fmt::Display for Full {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{JOBS} jobs wait or run already")
    }
}

impl std::error::Error for Full {}

type Answer = Result<Box<dyn Any + Send>, Failed>;
type Then = Box<dyn FnOnce(&mut Env, Answer)>;

/// A job that was asked for by [`Env::blocking`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct JobKey {
    slot: usize,
    birth: u64,
}

/// A job on its way to a [`World`], which runs it where it likes.
pub struct Job {
    key: JobKey,
    taken: Taken,
    run: Box<dyn FnOnce() -> Box<dyn Any + Send> + Send>,
}

/// Set once: by who begins the job, or by who takes it back.
type Taken = Arc<AtomicBool>;

fn take_first(taken: &Taken) -> bool {
    !taken.swap(true, Ordering::Relaxed)
}

/// What came out of a [`Job`]: to be posted to the driver number [`Done::DRIVER`].
pub struct Done {
    key: JobKey,
    answer: Answer,
}

impl Job {
    /// Runs it, here; `None` when it was taken back before ([`Calls::cancel_job`]).
    #[must_use]
    pub fn run(self) -> Option<Done> {
        if !take_first(&self.taken) {
            return None;
        }
        // What a panic leaves half done is the job's own, and is dropped with it.
        let answer = catch_unwind(AssertUnwindSafe(self.run)).map_err(Failed::Panicked);
        Some(Done { key: self.key, answer })
    }

    /// Its number, of which there is one in a loop: for a `World` that tells jobs apart.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.key.birth
    }
}

impl Done {
    /// Whom a `World` posts it to.
    pub const DRIVER: u16 = Id::JOBS;

    /// The number of the job that it comes of.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.key.birth
    }
}

/// What waits for its answer.
pub(crate) type Waiting = slab::Slab<Wait>;

pub(crate) struct Wait {
    birth: u64,
    taken: Taken,
    then: Then,
}

impl Env {
    /// Whether [`Env::blocking`] would take one more job: for whoever must not lose what its
    /// functions would hold.
    #[must_use]
    pub fn may_block(&self) -> bool {
        self.calls.jobs.len() < JOBS
    }

    /// Runs `job` where it may block, and then `then` in a turn of this loop, with what came out.
    /// In a simulated world it runs at once, in this turn. The loop runs on until then. As long as
    /// it has not begun it can be taken back, by its key.
    ///
    /// # Errors
    /// [`Full`]: too many are under way. Neither function is called.
    pub fn blocking<T: Send + 'static>(
        &mut self,
        job: impl FnOnce() -> T + Send + 'static,
        then: impl FnOnce(&mut Env, Result<T, Failed>) + 'static,
    ) -> Result<JobKey, Full> {
        if !self.may_block() {
            return Err(Full);
        }
        let then: Then = Box::new(move |env, answer| {
            then(env, answer.map(|any| *any.downcast().expect("this job's own answer")));
        });
        let (birth, taken) = (self.calls.birth(), Taken::default());
        let slot = self.calls.jobs.insert(Wait { birth, taken: taken.clone(), then });
        let key = JobKey { slot, birth };
        let run = Box::new(move || Box::new(job()) as Box<dyn Any + Send>);
        self.calls.hold();
        self.calls.post(Id::JOBS, Box::new(Job { key, taken, run }));
        Ok(key)
    }

    /// For the phase of posts: a job that sets out, or one that comes back.
    pub(crate) fn serve_job<W: World>(&mut self, world: &mut W, mail: Box<dyn Any>) {
        let mail = match mail.downcast::<Job>() {
            Ok(job) => {
                let key = job.key;
                return match world.offload(*job) {
                    // Elsewhere, or taken back.
                    Ok(None) => {}
                    Ok(Some(done)) => self.finish_job(done),
                    Err(e) => self.finish_job(Done { key, answer: Err(Failed::NoThread(e)) }),
                };
            }
            Err(mail) => mail,
        };
        if let Ok(done) = mail.downcast::<Done>() {
            self.finish_job(*done);
        }
    }

    fn finish_job(&mut self, done: Done) {
        if let Some(wait) = self.calls.take_job(done.key) {
            (wait.then)(self, done.answer);
        }
    }
}

impl Calls {
    /// Takes a job of [`Env::blocking`] back that has not begun, as `uv_cancel`; says whether it
    /// was. Then neither of its functions is called, and both are dropped, the job's not before a
    /// thread comes to it.
    pub fn cancel_job(&mut self, key: JobKey) -> bool {
        let wait = self.jobs.get(key.slot).filter(|wait| wait.birth == key.birth);
        let cancelled = wait.is_some_and(|wait| take_first(&wait.taken));
        if cancelled {
            self.take_job(key);
        }
        cancelled
    }

    fn take_job(&mut self, key: JobKey) -> Option<Wait> {
        self.jobs.get(key.slot).filter(|wait| wait.birth == key.birth)?;
        self.release();
        Some(self.jobs.remove(key.slot))
    }
}
