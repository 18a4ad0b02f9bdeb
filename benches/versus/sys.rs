//! The system calls that the raw server and the load are written in.
//!
//! Rule: this file has all the `unsafe` of the comparison, each call wrapped once.
#![allow(unsafe_code)]

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

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

/// For reading.
pub(crate) const IN: u32 = libc::EPOLLIN as u32;
/// For writing.
pub(crate) const OUT: u32 = libc::EPOLLOUT as u32;

/// Watches for reading, level-triggered.
pub(crate) fn epoll_add(epoll: RawFd, fd: RawFd, token: u64) -> io::Result<()> {
    epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd, IN, token)
}

/// Watches for something else from now on, level-triggered.
pub(crate) fn epoll_set(epoll: RawFd, fd: RawFd, events: u32, token: u64) -> io::Result<()> {
    epoll_ctl(epoll, libc::EPOLL_CTL_MOD, fd, events, token)
}

fn epoll_ctl(epoll: RawFd, how: i32, fd: RawFd, events: u32, token: u64) -> io::Result<()> {
    let mut event = Event { events, u64: token };
    // SAFETY: `event` outlives the call.
    let n = unsafe { libc::epoll_ctl(epoll, how, fd, &raw mut event) };
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

/// Keeps this process on one core. Where there is no such core, or none that we may have, it goes
/// wherever it is put: what is counted stays right, what is timed becomes coarse, and it is said.
pub(crate) fn pin(core: usize) {
    if let Err(e) = set_core(core) {
        eprintln!("not kept on core {core}: {e}");
    }
}

fn set_core(core: usize) -> io::Result<()> {
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

/// Asks a process that we started to end.
pub(crate) fn terminate(pid: u32) {
    // SAFETY: takes two numbers.
    unsafe { libc::kill(pid as libc::pid_t, libc::SIGTERM) };
}

/// Raises the limit of descriptors as far as this process may, and tells it.
pub(crate) fn descriptors() -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel fills `limit`, which outlives the call.
    check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) }.into())?;
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: the kernel reads `limit`, which outlives the call.
    check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }.into())?;
    Ok(limit.rlim_cur)
}

fn address(at: SocketAddrV4) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: at.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from(*at.ip()).to_be() },
        sin_zero: [0; 8],
    }
}

/// A connection from this address of ours, whose port the kernel chooses when it knows the peer;
/// it is reset when it is closed, so that none of a million lingers.
pub(crate) fn connect_from(source: Ipv4Addr, to: SocketAddrV4) -> io::Result<TcpStream> {
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC;
    // SAFETY: takes numbers, gives a descriptor or an error.
    let fd = unsafe { libc::socket(libc::AF_INET, kind, 0) };
    check(fd.into())?;
    // SAFETY: the descriptor was just made, and nobody else has it.
    let owned = unsafe { OwnedFd::from_raw_fd(fd) };
    set(fd, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, &1i32)?;
    let now = libc::linger { l_onoff: 1, l_linger: 0 };
    set(fd, libc::SOL_SOCKET, libc::SO_LINGER, &now)?;
    let (from, to) = (address(SocketAddrV4::new(source, 0)), address(to));
    let size = size_of::<libc::sockaddr_in>() as libc::socklen_t;
    // SAFETY: `from` is an address of this size, and outlives the call.
    check(unsafe { libc::bind(fd, (&raw const from).cast(), size) }.into())?;
    // SAFETY: `to` is an address of this size, and outlives the call.
    check(unsafe { libc::connect(fd, (&raw const to).cast(), size) }.into())?;
    Ok(TcpStream::from(owned))
}

fn set<T>(fd: RawFd, level: i32, name: i32, value: &T) -> io::Result<()> {
    let size = size_of::<T>() as libc::socklen_t;
    let value: *const T = value;
    // SAFETY: `value` is so many bytes, and outlives the call.
    check(unsafe { libc::setsockopt(fd, level, name, value.cast(), size) }.into()).map(drop)
}
