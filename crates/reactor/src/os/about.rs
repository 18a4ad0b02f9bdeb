//! What the kernel says of a connection when it is asked: `TCP_INFO`, `SO_PEERCRED`.
//!
//! Rules of this file:
//! * An older kernel tells less: what is missing at the end reads as zero.
//! * Offsets are those of `struct tcp_info` in Linux's `include/uapi/linux/tcp.h`; its fields are
//!   in the machine's byte order.

use super::raw;
use crate::streams::{Credentials, StreamInfo, TcpState};
use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

/// As much of `struct tcp_info` as is read here, in bytes.
const INFO: usize = 216;
/// In `tcpi_options`: data in the SYN was acknowledged.
const SYN_DATA: u8 = 32;

pub(super) fn tcp(fd: BorrowedFd<'_>) -> io::Result<StreamInfo> {
    let mut info = [0; INFO];
    raw::get(fd, libc::IPPROTO_TCP, libc::TCP_INFO, &mut info)?;
    let word = |at: usize| u32::from_ne_bytes(std::array::from_fn(|i| info[at + i]));
    let long = |at: usize| u64::from_ne_bytes(std::array::from_fn(|i| info[at + i]));
    let micros = |at: usize| Duration::from_micros(word(at).into());
    Ok(StreamInfo {
        state: state(info[0]),
        syn_data: info[5] & SYN_DATA != 0,
        round_trip: micros(68),
        round_trip_deviation: micros(72),
        round_trip_min: micros(148),
        retransmit_timeout: micros(8),
        congestion_window: word(80),
        slow_start_threshold: word(76),
        segment: word(16),
        unacknowledged: word(24),
        lost: word(32),
        timeouts: info[2].into(),
        retransmissions: word(100),
        unsent: word(144),
        bytes_sent: long(200),
        bytes_resent: long(208),
        bytes_acknowledged: long(120),
        bytes_received: long(128),
        delivery_rate: long(160),
        pacing_rate: long(104),
    })
}

/// A connection with fast open whose SYN has not left: it waits for bytes to take along.
pub(super) fn waits_for_bytes(fd: BorrowedFd<'_>) -> bool {
    /// `tcpi_segs_out`, a word: segments sent.
    const SENT: usize = 136;
    let (mut on, mut info) = ([0; 4], [0xff; INFO]);
    let asked = raw::get(fd, libc::IPPROTO_TCP, libc::TCP_FASTOPEN_CONNECT, &mut on);
    asked.is_ok()
        && on != [0; 4]
        && raw::get(fd, libc::IPPROTO_TCP, libc::TCP_INFO, &mut info).is_ok()
        && state(info[0]) == TcpState::SynSent
        && info[SENT..SENT + 4] == [0; 4]
}

/// The kernel's numbers (`include/net/tcp_states.h`). Its 12 is a connection that is about to be
/// accepted.
fn state(number: u8) -> TcpState {
    match number {
        1 => TcpState::Established,
        2 => TcpState::SynSent,
        3 | 12 => TcpState::SynReceived,
        4 => TcpState::FinWait1,
        5 => TcpState::FinWait2,
        6 => TcpState::TimeWait,
        8 => TcpState::CloseWait,
        9 => TcpState::LastAck,
        10 => TcpState::Listen,
        11 => TcpState::Closing,
        _ => TcpState::Closed,
    }
}

/// `struct ucred`: three numbers of 32 bits.
pub(super) fn credentials(fd: BorrowedFd<'_>) -> io::Result<Credentials> {
    let mut who = [0; 12];
    raw::get(fd, libc::SOL_SOCKET, libc::SO_PEERCRED, &mut who)?;
    let word = |at: usize| u32::from_ne_bytes(std::array::from_fn(|i| who[at + i]));
    let pid = Some(word(0)).filter(|pid| *pid != 0);
    Ok(Credentials { pid, uid: word(4), gid: word(8) })
}
