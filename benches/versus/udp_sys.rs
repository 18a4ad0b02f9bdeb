//! The system calls of `versus udp`: `recvmmsg` and `sendmmsg`, with and without `UDP_SEGMENT` and
//! `UDP_GRO`, as a careful C program makes them: everything is set up once.
//!
//! Rule: this file has all the `unsafe` of it, each call wrapped once.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::RawFd;

/// Messages of one call.
pub(crate) const MESSAGES: usize = 64;
/// Room for any message that the kernel puts together.
pub(crate) const LARGE: usize = 65_536;
/// Room for one datagram of the sizes that are compared.
pub(crate) const SMALL: usize = 2048;

/// One control message of a number: its length, its level and kind, the number.
type Control = [u64; 3];
/// `CMSG_LEN(sizeof(uint16_t))`.
const SEGMENT_LEN: u64 = 18;
/// `SOL_UDP`, and above it `UDP_SEGMENT`, as a word of a little-endian machine.
const SEGMENT: u64 = libc::SOL_UDP as u64 | (libc::UDP_SEGMENT as u64) << 32;

/// Messages that are received and sent back, or sent.
pub(crate) struct Batch {
    headers: Box<[libc::mmsghdr]>,
    pieces: Box<[libc::iovec]>,
    names: Box<[libc::sockaddr_in]>,
    controls: Box<[Control]>,
    bytes: Box<[u8]>,
    room: usize,
    /// Messages that the last call filled.
    used: usize,
}

fn zeroed<T: Copy>(count: usize) -> Box<[T]> {
    // SAFETY: only C structs of integers and pointers are asked for here: zeroes are a value.
    vec![unsafe { std::mem::zeroed::<T>() }; count].into()
}

fn check(n: i32) -> io::Result<usize> {
    usize::try_from(n).map_err(|_| io::Error::last_os_error())
}

impl Batch {
    /// So many messages of so much room each.
    pub(crate) fn new(count: usize, room: usize) -> Batch {
        let mut batch = Batch {
            headers: zeroed(count),
            pieces: zeroed(count),
            names: zeroed(count),
            controls: zeroed(count),
            bytes: vec![0; count * room].into(),
            room,
            used: count,
        };
        for (i, piece) in batch.bytes.chunks_exact_mut(room).enumerate() {
            batch.pieces[i] = libc::iovec { iov_base: piece.as_mut_ptr().cast(), iov_len: room };
            let header = &mut batch.headers[i].msg_hdr;
            header.msg_iov = &raw mut batch.pieces[i];
            header.msg_iovlen = 1;
            header.msg_name = (&raw mut batch.names[i]).cast();
            header.msg_control = (&raw mut batch.controls[i]).cast();
        }
        batch
    }

    /// Receives as many messages as there are, waiting for the first if the socket waits.
    pub(crate) fn recv(&mut self, socket: RawFd) -> io::Result<usize> {
        for i in 0..self.used {
            self.pieces[i].iov_len = self.room;
            let header = &mut self.headers[i].msg_hdr;
            header.msg_namelen = size_of::<libc::sockaddr_in>() as libc::socklen_t;
            header.msg_controllen = size_of::<Control>();
        }
        self.used = 0;
        let (headers, count) = (self.headers.as_mut_ptr(), self.headers.len() as u32);
        // SAFETY: the headers point at pieces, names and controls that this struct owns; nobody
        // else has them during the call.
        let n = unsafe {
            libc::recvmmsg(socket, headers, count, libc::MSG_WAITFORONE, std::ptr::null_mut())
        };
        // Even of a call that failed, the first header may have been touched.
        self.used = check(n).inspect_err(|_| self.used = 1)?;
        Ok(self.used)
    }

    /// The bytes of a message that was received.
    pub(crate) fn bytes(&self, i: usize) -> &[u8] {
        &self.bytes[i * self.room..][..self.headers[i].msg_len as usize]
    }

    /// How long each datagram of a message is, but the last.
    pub(crate) fn segment(&self, i: usize) -> usize {
        let len = self.headers[i].msg_len as usize;
        match self.headers[i].msg_hdr.msg_controllen {
            0 => len,
            _ => (self.controls[i][2] as u32 as usize).min(len),
        }
    }

    /// Datagrams of a message.
    pub(crate) fn datagrams(&self, i: usize) -> u64 {
        let len = self.headers[i].msg_len as usize;
        len.div_ceil(self.segment(i).max(1)).max(1) as u64
    }

    /// Sends the first `n` messages back, cut as they came.
    pub(crate) fn echo(&mut self, socket: RawFd, n: usize) -> io::Result<()> {
        for i in 0..n {
            let (len, segment) = (self.headers[i].msg_len as usize, self.segment(i));
            self.aim(i, len, segment);
        }
        self.send(socket, n)
    }

    /// Writes a number over the bytes of a message that was received.
    pub(crate) fn tell(&mut self, i: usize, number: u64) {
        self.bytes[i * self.room..][..8].copy_from_slice(&number.to_le_bytes());
    }

    /// Sends one message back.
    pub(crate) fn echo_one(&mut self, socket: RawFd, i: usize) -> io::Result<()> {
        let len = self.headers[i].msg_len as usize;
        self.aim(i, len, len);
        let header = &raw mut self.headers[i];
        // SAFETY: as in `recv`; the kernel only reads what the header points at.
        check(unsafe { libc::sendmmsg(socket, header, 1, 0) }).map(drop)
    }

    /// Sends `n` messages of `len` bytes on a socket that has a peer, cut into segments.
    pub(crate) fn post(
        &mut self,
        socket: RawFd,
        n: usize,
        len: usize,
        segment: usize,
    ) -> io::Result<()> {
        for i in 0..n {
            self.headers[i].msg_hdr.msg_namelen = 0;
            self.aim(i, len, segment);
        }
        self.send(socket, n)
    }

    /// Fills the bytes of all messages.
    pub(crate) fn fill(&mut self, byte: impl Fn(usize) -> u8) {
        let room = self.room;
        self.bytes.iter_mut().enumerate().for_each(|(i, b)| *b = byte(i % room));
    }

    fn aim(&mut self, i: usize, len: usize, segment: usize) {
        self.pieces[i].iov_len = len;
        let cut = segment < len;
        if cut {
            self.controls[i] = [SEGMENT_LEN, SEGMENT, segment as u64];
        }
        self.headers[i].msg_hdr.msg_controllen = if cut { size_of::<Control>() } else { 0 };
    }

    fn send(&mut self, socket: RawFd, n: usize) -> io::Result<()> {
        let mut at = 0;
        while at < n {
            let headers = self.headers[at..n].as_mut_ptr();
            // SAFETY: as in `recv`; the kernel only reads what the headers point at.
            let sent = unsafe { libc::sendmmsg(socket, headers, (n - at) as u32, 0) };
            at += check(sent)?;
        }
        Ok(())
    }
}

/// Lets datagrams come together.
pub(crate) fn gro(socket: RawFd) -> io::Result<()> {
    let on = 1_i32;
    // SAFETY: `on` is as long as is said, and outlives the call.
    let n = unsafe {
        let (value, len) = ((&raw const on).cast(), size_of::<i32>() as libc::socklen_t);
        libc::setsockopt(socket, libc::SOL_UDP, libc::UDP_GRO, value, len)
    };
    check(n).map(drop)
}
