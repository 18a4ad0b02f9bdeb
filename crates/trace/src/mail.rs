//! Mail of other threads, and jobs that block, as far as they can be written down.
//!
//! Rules of this file:
//! * A wake and a stop are recorded as they are. What else a thread sends may be anything, and is
//!   not recorded: its replay stops there, and says so.
//! * What comes out of a job may be anything, too. A replay runs the job again, when its answer
//!   came: what the job reads, a file or a resolver, must then be as it was.

use crate::replay::{Replay, Stop};
use crate::wire::{Call, In, Part};
use loopwork_reactor::blocking::{Done, Job};
use loopwork_reactor::{Id, Mail};
use std::io;

/// Mail, as far as it can be written down.
pub(crate) enum Letter {
    Wake(Id),
    Stop,
    /// The answer of a job; it is run again.
    Done(u64),
    Post(u16),
}

impl Letter {
    pub(crate) fn of(mail: &Mail) -> Letter {
        match mail {
            Mail::Wake(id) => Letter::Wake(*id),
            Mail::Stop => Letter::Stop,
            Mail::Post(driver, any) => match any.downcast_ref::<Done>() {
                Some(done) => Letter::Done(done.number()),
                None => Letter::Post(*driver),
            },
        }
    }

    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        match self {
            Letter::Wake(id) => (0u8, *id).put(out),
            Letter::Stop => 1u8.put(out),
            Letter::Done(number) => (2u8, *number).put(out),
            Letter::Post(driver) => (3u8, *driver).put(out),
        }
    }

    fn take(from: &mut In<'_>) -> Option<Letter> {
        match from.byte()? {
            0 => Part::take(from).map(Letter::Wake),
            1 => Some(Letter::Stop),
            2 => from.number().map(Letter::Done),
            3 => from.small().map(Letter::Post),
            _ => None,
        }
    }
}

impl Replay {
    pub(crate) fn offload(&mut self, job: Job) -> io::Result<Option<Done>> {
        match self.answer::<io::Result<bool>>(Call::Offload, job.number())? {
            true => Ok(job.run()),
            false => {
                self.jobs.push(job);
                Ok(None)
            }
        }
    }

    pub(crate) fn mail(&mut self, into: &mut Vec<Mail>) {
        let letters = self.entry(Call::Mail, 0, |from| {
            let count = from.number()?;
            (0..count).map(|_| Letter::take(from)).collect::<Option<Vec<_>>>()
        });
        for letter in letters.unwrap_or_default() {
            match letter {
                Letter::Wake(id) => into.push(Mail::Wake(id)),
                Letter::Stop => into.push(Mail::Stop),
                Letter::Post(driver) => return self.stop(Stop::Post(driver)),
                Letter::Done(number) => {
                    let at = self.jobs.iter().position(|job| job.number() == number);
                    let done = at.and_then(|at| self.jobs.swap_remove(at).run());
                    into.extend(done.map(|done| Mail::Post(Done::DRIVER, Box::new(done))));
                }
            }
        }
    }
}
