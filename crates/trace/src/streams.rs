//! A tape's streams. The rules are those of `tape.rs`.

use crate::tape::{Tape, key};
use crate::wire::{Answer, Call, over};
use crc32fast::Hasher;
use loopwork_reactor::{
    Address, ConnectOptions, Credentials, Fd, Id, ListenOptions, StreamInfo, StreamOption, Streams,
};
use std::fs::File;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

/// The checksum of the first `left` bytes.
fn sum_of(slices: &[IoSlice<'_>], mut left: usize) -> u32 {
    let mut sum = Hasher::new();
    for slice in slices {
        let part = &slice[..left.min(slice.len())];
        sum.update(part);
        left -= part.len();
    }
    sum.finalize()
}

fn len_of(slices: &[IoSlice<'_>]) -> usize {
    slices.iter().map(|slice| slice.len()).sum()
}

/// As [`sum_of`], of bytes in one piece.
fn sum_of_one(bytes: &[u8], len: usize) -> u32 {
    crc32fast::hash(&bytes[..len.min(bytes.len())])
}

impl<W: Streams> Streams for Tape<W> {
    fn listen(&mut self, at: &Address, how: &ListenOptions, id: Id) -> io::Result<(Fd, Address)> {
        self.call(Call::Listen, || key(&(at, how, id)), |w| w.listen(at, how, id))
    }

    #[inline]
    fn accept(&mut self, listener: Fd, id: Id) -> io::Result<(Fd, Address)> {
        self.of(Call::Accept, listener, |w| w.accept(listener, id))
    }

    fn connect(&mut self, to: &Address, from: Option<SocketAddr>, id: Id) -> io::Result<Fd> {
        self.call(Call::Connect, || key(&(to, from, id)), |w| w.connect(to, from, id))
    }

    fn connect_with(
        &mut self,
        to: &Address,
        from: Option<SocketAddr>,
        how: &ConnectOptions,
        id: Id,
    ) -> io::Result<Fd> {
        let key = || key(&(to, from, how, id));
        self.call(Call::ConnectWith, key, |w| w.connect_with(to, from, how, id))
    }

    fn connected(&mut self, fd: Fd) -> io::Result<()> {
        self.of(Call::Connected, fd, |w| w.connected(fd))
    }

    #[inline]
    fn read(&mut self, fd: Fd, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Tape::Live(world) => world.read(fd, into),
            Tape::Recording(recorder) => {
                let outcome = recorder.world.read(fd, into);
                let out = recorder.recording.call(Call::Read, fd.0.into());
                outcome.put(out);
                out.extend_from_slice(&into[..*outcome.as_ref().unwrap_or(&0)]);
                outcome
            }
            Tape::Replaying(replay) => {
                let outcome = replay.entry(Call::Read, fd.0.into(), |from| {
                    let outcome = <io::Result<usize>>::take(from)?;
                    let len = *outcome.as_ref().unwrap_or(&0);
                    into.get_mut(..len)?.copy_from_slice(from.bytes(len)?);
                    Some(outcome)
                });
                outcome.unwrap_or_else(|| Err(over()))
            }
        }
    }

    #[inline]
    fn write(&mut self, fd: Fd, bytes: &[u8]) -> io::Result<usize> {
        let sum = |n| sum_of_one(bytes, n);
        match self {
            Tape::Live(world) => world.write(fd, bytes),
            Tape::Recording(recorder) => {
                let outcome = recorder.world.write(fd, bytes);
                let ours = outcome.as_ref().map_or(0, |n| sum(*n));
                recorder.recording.wrote(Call::Write, fd, bytes.len(), ours, &outcome);
                outcome
            }
            Tape::Replaying(replay) => replay.write(Call::Write, fd, bytes.len(), sum),
        }
    }

    #[inline]
    fn write_vectored(&mut self, fd: Fd, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let (call, sum) = (Call::WriteVectored, |n| sum_of(slices, n));
        match self {
            Tape::Live(world) => world.write_vectored(fd, slices),
            Tape::Recording(recorder) => {
                let outcome = recorder.world.write_vectored(fd, slices);
                let ours = outcome.as_ref().map_or(0, |n| sum(*n));
                recorder.recording.wrote(call, fd, len_of(slices), ours, &outcome);
                outcome
            }
            Tape::Replaying(replay) => replay.write(call, fd, len_of(slices), sum),
        }
    }

    fn send_file(&mut self, fd: Fd, file: &File, at: u64, len: u64) -> io::Result<u64> {
        let key = || key(&(fd, at, len));
        self.call(Call::SendFile, key, |w| w.send_file(fd, file, at, len)).map(|n| n.min(len))
    }

    fn shutdown(&mut self, fd: Fd) -> io::Result<()> {
        self.of(Call::Shutdown, fd, |w| w.shutdown(fd))
    }

    fn reset(&mut self, fd: Fd) {
        self.of(Call::Reset, fd, |w| w.reset(fd));
    }

    fn set(&mut self, fd: Fd, option: StreamOption) -> io::Result<()> {
        self.call(Call::Set, || key(&(fd, option)), |w| w.set(fd, option))
    }

    fn local(&mut self, fd: Fd) -> io::Result<Address> {
        self.of(Call::Local, fd, |w| w.local(fd))
    }

    fn peer(&mut self, fd: Fd) -> io::Result<Address> {
        self.of(Call::Peer, fd, |w| w.peer(fd))
    }

    fn listen_on(
        &mut self,
        socket: OwnedFd,
        how: &ListenOptions,
        id: Id,
    ) -> io::Result<(Fd, Address)> {
        self.call(Call::ListenOn, || key(&(how, id)), |w| w.listen_on(socket, how, id))
    }

    fn adopt(&mut self, socket: OwnedFd, id: Id) -> io::Result<Fd> {
        self.call(Call::Adopt, || key(&id), |w| w.adopt(socket, id))
    }

    fn release(&mut self, fd: Fd) -> io::Result<OwnedFd> {
        self.of(Call::Release, fd, |w| w.release(fd))
    }

    fn info(&mut self, fd: Fd) -> io::Result<StreamInfo> {
        self.of(Call::Info, fd, |w| w.info(fd))
    }

    fn credentials(&mut self, fd: Fd) -> io::Result<Credentials> {
        self.of(Call::Credentials, fd, |w| w.credentials(fd))
    }
}
