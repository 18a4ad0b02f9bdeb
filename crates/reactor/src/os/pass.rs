//! Descriptors from process to process, over a Unix socket (`SCM_RIGHTS`, unix(7)).
//!
//! Rules of this file:
//! * For a channel of one's own between processes that know each other, watched by
//!   [`Os::watch`](crate::Os::watch). A stream of the loop's never carries descriptors: its reads
//!   would pay for it, and every peer could make us hold some.
//! * What came is owned at once, so that none is lost, whatever comes next.

use super::{raw, retry};
use crate::control::{Control, HEAD, ROOM};
use socket2::{MsgHdr, SockRef};
use std::io::{self, ErrorKind, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

/// Descriptors in one message, at most: as many as a message's room for notes takes.
pub const DESCRIPTORS_MAX: usize = 60;
const _: () = assert!(HEAD + DESCRIPTORS_MAX * size_of::<RawFd>() <= ROOM);

/// Sends bytes over a Unix socket, and duplicates of descriptors with the first of them; how many
/// bytes it took. If there was one at least, the descriptors are on their way, and the rest of the
/// bytes goes by any write. Does not wait, whether or not the socket would.
///
/// # Errors
/// `WouldBlock`: no room, and nothing was sent. `InvalidInput`: no byte that would carry them, or
/// more descriptors than [`DESCRIPTORS_MAX`]. What the kernel says, as of a write.
pub fn send_descriptors(
    over: impl AsFd,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<usize> {
    if bytes.is_empty() || descriptors.len() > DESCRIPTORS_MAX {
        return Err(ErrorKind::InvalidInput.into());
    }
    let numbers: Vec<u8> = descriptors.iter().flat_map(|fd| fd.as_raw_fd().to_ne_bytes()).collect();
    let mut control = Control::default();
    let len = match numbers.len() {
        0 => 0,
        _ => control.push(0, libc::SOL_SOCKET, libc::SCM_RIGHTS, &numbers),
    };
    let over = over.as_fd();
    let slices = [IoSlice::new(bytes)];
    let message = MsgHdr::new().with_buffers(&slices).with_control(control.bytes(len));
    retry(|| SockRef::from(&over).sendmsg(&message, libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT))
}

/// Receives bytes over a Unix socket, and appends the descriptors that came with them, which
/// programs that this process starts do not have. How many bytes there were; 0 is the peer's end.
/// Never gives bytes of two messages that both brought descriptors. Does not wait.
///
/// # Errors
/// `WouldBlock`. `InvalidData`: a message brought more than [`DESCRIPTORS_MAX`], or this process
/// may have no more; none of that message is kept. What the kernel says, as of a read.
pub fn receive_descriptors(
    over: impl AsFd,
    into: &mut [u8],
    descriptors: &mut Vec<OwnedFd>,
) -> io::Result<usize> {
    let mut control = Control::default();
    let came = retry(|| raw::receive(over.as_fd(), into, control.room()))?;
    let before = descriptors.len();
    for note in control.notes(came.control) {
        if (note.level, note.kind) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
            let (numbers, _) = note.data.as_chunks();
            descriptors.extend(numbers.iter().map(|n| raw::own(RawFd::from_ne_bytes(*n))));
        }
    }
    if came.cut {
        descriptors.truncate(before);
        return Err(ErrorKind::InvalidData.into());
    }
    Ok(came.bytes)
}
