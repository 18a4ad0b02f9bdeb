//! The one door through which other threads reach a loop.
//!
//! Rules of this file:
//! * Any number of letters between two turns cost one wake of the poll (a flag coalesces them).
//! * None is lost: the flag is lowered before the letters are taken, never after.
//! * The queue lives in the `World`, since what other threads do is not deterministic.

use crate::id::Id;
use std::any::Any;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What another thread asks of the loop.
pub enum Mail {
    /// `on_wake` of this id.
    Wake(Id),
    /// `on_post` of this driver.
    Post(u16, Box<dyn Any + Send>),
    /// Leave [`Loop::run`](crate::Loop::run).
    Stop,
}

/// A door to a loop, for other threads: clone it, send it, keep it. Outliving the loop is
/// harmless: the letters are dropped with the last door.
#[derive(Clone)]
pub struct Mailbox(Arc<Inner>);

struct Inner {
    letters: Mutex<Vec<Mail>>,
    rung: AtomicBool,
    ring: Box<dyn Fn() + Send + Sync>,
}

impl Mailbox {
    /// A mailbox of a `World`, which says how its poll is interrupted: `ring` is called from any
    /// thread, once for each time the box is filled anew.
    pub fn new(ring: impl Fn() + Send + Sync + 'static) -> Mailbox {
        Mailbox(Arc::new(Inner {
            letters: Mutex::new(Vec::new()),
            rung: AtomicBool::new(false),
            ring: Box::new(ring),
        }))
    }

    /// Puts a letter in, and interrupts the poll if nobody has yet.
    pub fn send(&self, mail: Mail) {
        self.0.letters.lock().unwrap_or_else(PoisonError::into_inner).push(mail);
        if !self.0.rung.swap(true, Ordering::AcqRel) {
            (self.0.ring)();
        }
    }

    /// `on_wake` of `id`, in the loop's next turn.
    pub fn wake(&self, id: Id) {
        self.send(Mail::Wake(id));
    }

    /// `on_post` of a driver, in the loop's next turn.
    pub fn post(&self, driver: u16, mail: Box<dyn Any + Send>) {
        self.send(Mail::Post(driver, mail));
    }

    /// Ends [`Loop::run`](crate::Loop::run) after its current turn.
    pub fn stop(&self) {
        self.send(Mail::Stop);
    }

    /// For a `World`: takes all letters, oldest first.
    pub fn take(&self, into: &mut Vec<Mail>) {
        self.0.rung.store(false, Ordering::Release);
        into.append(&mut self.0.letters.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
