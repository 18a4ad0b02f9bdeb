//! The system calls that the raw server and the load are written in.
//!
//! Rule: this file has all the `unsafe` of the comparison, each call wrapped once.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::RawFd;

/// One event of an epoll.
pub(crate) type Event = libc::epoll_event;

/// No event.
pub(crate) const NO_EVENT: Event = Event { events: 0, u64: 0 };

fn check(n: i64) -> io::Result<usize> {
    usize::try_from(n).map_err(|_| io::Error::last_os_error())
}

pub(crate) fn epoll_create() -> io::Result<RawFd> {
    // SAFETY: takes a number, gives a descriptor or an error.
    let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
    check(fd.into()).map(|_| fd)
}

/// Watches for reading, level-triggered.
pub(crate) fn epoll_add(epoll: RawFd, fd: RawFd, token: u64) -> io::Result<()> {
    let mut event = Event { events: libc::EPOLLIN as u32, u64: token };
    // SAFETY: `event` outlives the call.
    let n = unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd, &raw mut event) };
    check(n.into()).map(drop)
}

pub(crate) fn epoll_wait(epoll: RawFd, events: &mut [Event], wait: i32) -> io::Result<usize> {
    let max = events.len() as i32;
    // SAFETY: the kernel writes at most `max` events into `events`.
    check(unsafe { libc::epoll_wait(epoll, events.as_mut_ptr(), max, wait) }.into())
}

pub(crate) fn accept(listener: RawFd) -> io::Result<RawFd> {
    let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: null pointers ask for no address.
    let fd = unsafe { libc::accept4(listener, std::ptr::null_mut(), std::ptr::null_mut(), flags) };
    check(fd.into()).map(|_| fd)
}

pub(crate) fn read(fd: RawFd, into: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the kernel writes at most `into.len()` bytes into `into`.
    check(unsafe { libc::recv(fd, into.as_mut_ptr().cast(), into.len(), 0) } as i64)
}

pub(crate) fn write(fd: RawFd, bytes: &[u8]) -> io::Result<usize> {
    // SAFETY: the kernel reads `bytes.len()` bytes of `bytes`.
    let n = unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), libc::MSG_NOSIGNAL) };
    check(n as i64)
}

pub(crate) fn close(fd: RawFd) {
    // SAFETY: the caller owns the descriptor, and uses it no more.
    unsafe { libc::close(fd) };
}

/// Keeps this process on one core.
pub(crate) fn pin(core: usize) -> io::Result<()> {
    // SAFETY: a `cpu_set_t` is an array of integers; `CPU_SET` is given a core within it, and the
    // set outlives the call.
    let n = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(core % 1024, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set)
    };
    check(n.into()).map(drop)
}

/// Ends this process when its parent ends.
pub(crate) fn die_with_parent() {
    // SAFETY: sets a number of this process.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
}
