//! Sockets that whoever started this process has opened for it: systemd's socket activation
//! (sd_listen_fds(3)), which other supervisors speak too.

use super::raw;
use std::env;
use std::io::{self, ErrorKind};
use std::os::fd::{OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// Sockets that are taken over, at most: more than any service has. The number comes from outside.
pub const LISTEN_FDS_MAX: usize = 1024;
/// Where they begin: behind the three standard ones.
const FIRST: RawFd = 3;

/// A socket that this process was started with.
#[derive(Debug)]
pub struct Inherited {
    /// Its name in the service's file; `unknown` where none was given.
    pub name: String,
    /// The socket. Programs that this process starts do not have it.
    pub socket: OwnedFd,
}

/// Takes over the sockets that `LISTEN_FDS` counts, if `LISTEN_PID` names this process; the first
/// call does, and later ones find none. For [`Streams::listen_on`](crate::Streams::listen_on).
///
/// The variables stay: they name this process, and so mean nothing to those that it starts.
///
/// # Errors
/// `InvalidData`: a number that is none, or above [`LISTEN_FDS_MAX`]. A descriptor that is not
/// open. Nothing is taken over then.
pub fn listen_fds() -> io::Result<Vec<Inherited>> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    let ours = env::var("LISTEN_PID").is_ok_and(|pid| pid == std::process::id().to_string());
    if !ours || TAKEN.swap(true, Ordering::AcqRel) {
        return Ok(Vec::new());
    }
    let count = env::var("LISTEN_FDS").ok().and_then(|n| n.parse::<usize>().ok());
    let count = count.filter(|n| *n <= LISTEN_FDS_MAX).ok_or(ErrorKind::InvalidData)?;
    let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':').filter(|name| !name.is_empty());
    let fds = FIRST..FIRST + count as RawFd;
    fds.clone().try_for_each(raw::close_on_exec)?;
    let take = |fd| Inherited {
        name: names.next().unwrap_or("unknown").to_string(),
        socket: raw::own(fd),
    };
    Ok(fds.map(take).collect())
}
