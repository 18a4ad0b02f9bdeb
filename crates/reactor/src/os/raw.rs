//! Socket options that neither the standard library nor socket2 knows.
//!
//! Rules of this file:
//! * Descriptors come in borrowed, so that they are open for the length of a call.
//! * Values are plain bytes; who asks reads them by the offsets of the kernel's interface, which
//!   never change and only grow at the end.
//! * Each call is `unsafe` for one reason, which it says.
#![allow(unsafe_code)]

use libc::c_int;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Sets an option whose value is a number.
pub(super) fn set(fd: BorrowedFd<'_>, level: c_int, name: c_int, value: c_int) -> io::Result<()> {
    let len = size_of::<c_int>() as libc::socklen_t;
    // SAFETY: the kernel reads `len` bytes of `value`, which lives until the call returns.
    let done =
        unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, (&raw const value).cast(), len) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
