//! The alarm: a `timerfd` in the poll, since a poll's own timeout counts whole milliseconds.
//!
//! Rules of this file:
//! * An alarm never rings early, and rings once for each setting. Nobody reads it: setting it
//!   again forgets the old ring, and an edge-triggered poll tells each ring once.
//! * The two calls, which the standard library lacks, are the only `unsafe`; each says why.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;
use std::time::Duration;

/// A `timerfd` of the monotonic clock, the one that [`World::now`](crate::World::now) reads.
pub(super) struct Alarm(OwnedFd);

impl Alarm {
    pub(super) fn new() -> io::Result<Alarm> {
        let flags = libc::TFD_NONBLOCK | libc::TFD_CLOEXEC;
        // SAFETY: the call takes two numbers, and no memory of ours.
        let fd = unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, flags) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just made this descriptor, and nobody else knows it.
        Ok(Alarm(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Rings this long from now, instead of when it was set to ring. At least a nanosecond: zero
    /// would switch it off.
    pub(super) fn set(&self, wait: Duration) -> io::Result<()> {
        let wait = wait.max(Duration::from_nanos(1));
        let once = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let value = libc::timespec {
            tv_sec: libc::time_t::try_from(wait.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_nsec: wait.subsec_nanos().into(),
        };
        let spec = libc::itimerspec { it_interval: once, it_value: value };
        // SAFETY: `spec` lives until the call returns, which only reads it; a null old value asks
        // for none.
        let set = unsafe { libc::timerfd_settime(self.0.as_raw_fd(), 0, &spec, ptr::null_mut()) };
        if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// For the registration with the poll.
    pub(super) fn fd(&self) -> i32 {
        self.0.as_raw_fd()
    }
}
