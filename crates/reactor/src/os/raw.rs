//! What neither the standard library nor socket2 knows: a few socket options, and descriptors that
//! come as numbers.
//!
//! Rules of this file:
//! * Descriptors come in borrowed, so that they are open for the length of a call.
//! * Values are plain bytes; who asks reads them by the offsets of the kernel's interface, which
//!   never change and only grow at the end.
//! * Each call is `unsafe` for one reason, which it says.
#![allow(unsafe_code)]

use libc::c_int;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// Sets an option whose value is a number.
pub(super) fn set(fd: BorrowedFd<'_>, level: c_int, name: c_int, value: c_int) -> io::Result<()> {
    let len = size_of::<c_int>() as libc::socklen_t;
    // SAFETY: the kernel reads `len` bytes of `value`, which lives until the call returns.
    let done =
        unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, (&raw const value).cast(), len) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Reads an option into `into`; how many bytes there were of it, at most as many as fit.
pub(super) fn get(
    fd: BorrowedFd<'_>,
    level: c_int,
    name: c_int,
    into: &mut [u8],
) -> io::Result<usize> {
    let mut len = libc::socklen_t::try_from(into.len()).unwrap_or(libc::socklen_t::MAX);
    // SAFETY: the kernel writes at most `len` bytes into `into`, which has that many and is ours
    // alone until the call returns, and then the number that it wrote into `len`.
    let done = unsafe {
        libc::getsockopt(fd.as_raw_fd(), level, name, into.as_mut_ptr().cast(), &raw mut len)
    };
    if done == 0 { Ok(len as usize) } else { Err(io::Error::last_os_error()) }
}

/// Nanoseconds of the monotonic clock, the one that `std::time::Instant` reads: straight, since
/// what that does besides costs as much as the clock itself, and each turn asks.
#[inline]
pub(super) fn monotonic() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one `timespec` into `time`, which is ours alone.
    let done = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    // Every system has this clock: POSIX.1-2024 demands it.
    debug_assert_eq!(done, 0, "there is no monotonic clock");
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Keeps a descriptor from programs that this process starts. An error if it is not open.
pub(super) fn close_on_exec(fd: RawFd) -> io::Result<()> {
    // SAFETY: the call takes numbers alone; of one that is no descriptor it says so.
    let done = unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A descriptor that was given to this process by its number, and to nobody else in it.
pub(super) fn own(fd: RawFd) -> OwnedFd {
    // SAFETY: of its two callers, `listen_fds` runs once in a process, and has seen that it is
    // open; whoever set the variables that name this process says that it is for it. And what
    // `receive_descriptors` reads from a message the kernel has just opened for it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Sends from a file to a stream, from an offset on; how many bytes, 0 where the file ends.
pub(super) fn send_file(
    to: BorrowedFd<'_>,
    from: BorrowedFd<'_>,
    at: u64,
    len: u64,
) -> io::Result<usize> {
    let mut at = libc::off64_t::try_from(at).map_err(|_| io::ErrorKind::InvalidInput)?;
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    // SAFETY: the kernel reads and writes `at`, which lives until the call returns, and no other
    // memory of ours.
    let n = unsafe { libc::sendfile64(to.as_raw_fd(), from.as_raw_fd(), &raw mut at, len) };
    usize::try_from(n).map_err(|_| io::Error::last_os_error())
}

/// Reads of a file, from an offset on, behind what is in `into`: room that is new need not be made
/// zeros first, as the standard library would have it. How many bytes, 0 where the file ends.
///
/// # Errors
/// What the system says, `Interrupted` among it; `InvalidInput` of an offset that no file has.
pub fn read_file(file: &File, at: u64, into: &mut Vec<u8>, most: usize) -> io::Result<usize> {
    // `off_t` has 32 bits on some Linux, and 64 on every other system.
    #[cfg(not(target_os = "linux"))]
    use libc::{off_t, pread};
    #[cfg(target_os = "linux")]
    use libc::{off64_t as off_t, pread64 as pread};
    let at = off_t::try_from(at).map_err(|_| io::ErrorKind::InvalidInput)?;
    into.reserve(most);
    let room = into.spare_capacity_mut();
    let most = most.min(room.len());
    // SAFETY: the kernel writes at most `most` bytes into `room`, which has that many, and is ours
    // alone until the call returns.
    let n = unsafe { pread(file.as_raw_fd(), room.as_mut_ptr().cast(), most, at) };
    let n = usize::try_from(n).map_err(|_| io::Error::last_os_error())?;
    // SAFETY: the kernel has written that many behind the length, and they have room.
    unsafe { into.set_len(into.len() + n) };
    Ok(n)
}

/// Whether a write to a stream whose peer is gone is an error alone: sendfile(2) has no flag that
/// would make it so. Asked anew each time, since any part of the process may change it.
pub(super) fn pipe_signal_is_ignored() -> bool {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: nothing is set; the kernel writes an action into `action`, and all bytes of that
    // type were valid before, since zeros are.
    let action = unsafe {
        if libc::sigaction(libc::SIGPIPE, std::ptr::null(), action.as_mut_ptr()) != 0 {
            return false;
        }
        action.assume_init()
    };
    action.sa_sigaction == libc::SIG_IGN
}

/// What [`receive`] has received.
pub(super) struct Received {
    /// Bytes of the stream.
    pub(super) bytes: usize,
    /// Bytes of control messages.
    pub(super) control: usize,
    /// There were more control messages than had room.
    pub(super) cut: bool,
}

/// Reads bytes with what came beside them; does not wait. Descriptors that come so are not for
/// programs that this process starts.
pub(super) fn receive(
    fd: BorrowedFd<'_>,
    into: &mut [u8],
    control: &mut [u8],
) -> io::Result<Received> {
    let mut part = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
    // SAFETY: all zeros is a message without anything: null pointers, and lengths of none.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    (message.msg_iov, message.msg_iovlen) = (&raw mut part, 1);
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = control.len() as _;
    let flags = libc::MSG_CMSG_CLOEXEC | libc::MSG_DONTWAIT;
    // SAFETY: the kernel writes into the two slices, each with its length, and into `message`;
    // all three are ours alone until the call returns.
    let bytes = unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut message, flags) };
    let bytes = usize::try_from(bytes).map_err(|_| io::Error::last_os_error())?;
    let cut = message.msg_flags & libc::MSG_CTRUNC != 0;
    Ok(Received { bytes, control: message.msg_controllen as usize, cut })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_behind_what_is_there() {
        let path = std::env::temp_dir().join(format!("loopwork-read-{}", std::process::id()));
        std::fs::write(&path, b"0123456789").unwrap();
        let file = File::open(&path).unwrap();
        let mut into = b"ab".to_vec();
        for (at, most, n, all) in [
            (2, 3, 3, &b"ab234"[..]),
            (8, 100_000, 2, b"ab23489"),
            (10, 4, 0, b"ab23489"),
            (0, 0, 0, b"ab23489"),
        ] {
            assert_eq!(read_file(&file, at, &mut into, most).unwrap(), n);
            assert_eq!(into, all);
        }
        let folder = File::open(std::env::temp_dir()).unwrap();
        assert!(read_file(&folder, 0, &mut into, 4).is_err() && into == b"ab23489");
        assert!(read_file(&file, u64::MAX, &mut into, 4).is_err());
        std::fs::remove_file(&path).unwrap();
    }
}
