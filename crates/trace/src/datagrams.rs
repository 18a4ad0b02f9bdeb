//! A tape's datagrams. The rules are those of `tape.rs`.

use crate::record::Recording;
use crate::replay::Replay;
use crate::tape::{Tape, key};
use crate::wire::{Answer, Call, Part, over, put_error};
use crc32fast::Hasher;
use loopwork_reactor::{
    BindOptions, Datagram, DatagramOption, DatagramSettings, Datagrams, Facts, Fd, Id, Source,
};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// The checksum of datagrams: whom they are for, and what they say.
fn sum_of_datagrams(batch: &[Datagram], bytes: &[u8], count: usize) -> u32 {
    let mut sum = Hasher::new();
    let mut peer = Vec::new();
    for datagram in &batch[..count.min(batch.len())] {
        peer.clear();
        datagram.peer.put(&mut peer);
        sum.update(&peer);
        sum.update(inside(bytes, datagram).unwrap_or_default());
    }
    sum.finalize()
}

fn inside<'a>(bytes: &'a [u8], of: &Datagram) -> Option<&'a [u8]> {
    bytes.get(of.start as usize..)?.get(..of.len as usize)
}

impl Recording {
    /// What came in, each at its place in the buffer.
    fn received(&mut self, call: Call, fd: Fd, into: &[u8], got: &io::Result<&[Datagram]>) {
        let out = self.call(call, fd.0.into());
        match got {
            Ok(got) => {
                Ok::<_, io::Error>(got.len()).put(out);
                for datagram in *got {
                    datagram.put(out);
                    out.extend_from_slice(inside(into, datagram).unwrap_or_default());
                }
            }
            Err(e) => put_error(out, e),
        }
    }
}

impl Replay {
    fn receive(
        &mut self,
        call: Call,
        fd: Fd,
        into: &mut [u8],
        got: &mut Vec<Datagram>,
    ) -> io::Result<usize> {
        let outcome = self.entry(call, fd.0.into(), |from| {
            let outcome = <io::Result<usize>>::take(from)?;
            for _ in 0..*outcome.as_ref().unwrap_or(&0) {
                let datagram = Datagram::take(from)?;
                let (start, len) = (datagram.start as usize, datagram.len as usize);
                into.get_mut(start..)?.get_mut(..len)?.copy_from_slice(from.bytes(len)?);
                got.push(datagram);
            }
            Some(outcome)
        });
        outcome.unwrap_or_else(|| Err(over()))
    }
}

impl<W: Datagrams> Datagrams for Tape<W> {
    fn bind(&mut self, at: SocketAddr, how: &BindOptions, id: Id) -> io::Result<(Fd, SocketAddr)> {
        self.call(Call::Bind, || key(&(at, how, id)), |w| w.bind(at, how, id))
    }

    fn adopt_datagrams(
        &mut self,
        socket: OwnedFd,
        how: &BindOptions,
        id: Id,
    ) -> io::Result<(Fd, SocketAddr, Option<SocketAddr>)> {
        let key = || key(&(how, id));
        self.call(Call::AdoptDatagrams, key, |w| w.adopt_datagrams(socket, how, id))
    }

    fn associate(&mut self, fd: Fd, peer: SocketAddr) -> io::Result<()> {
        self.call(Call::Associate, || key(&(fd, peer)), |w| w.associate(fd, peer))
    }

    fn dissociate(&mut self, fd: Fd) -> io::Result<()> {
        self.of(Call::Dissociate, fd, |w| w.dissociate(fd))
    }

    fn recv(
        &mut self,
        fd: Fd,
        into: &mut [u8],
        room: usize,
        got: &mut Vec<Datagram>,
    ) -> io::Result<()> {
        match self {
            Tape::Live(world) => world.recv(fd, into, room, got),
            Tape::Recording(recorder) => {
                let before = got.len();
                let outcome = recorder.world.recv(fd, into, room, got).map(|()| &got[before..]);
                recorder.recording.received(Call::Recv, fd, into, &outcome);
                outcome.map(|_| ())
            }
            Tape::Replaying(replay) => replay.receive(Call::Recv, fd, into, got).map(|_| ()),
        }
    }

    fn recv_facts(
        &mut self,
        fd: Fd,
        into: &mut [u8],
        room: usize,
        got: &mut Vec<Datagram>,
        facts: &mut Vec<Facts>,
    ) -> io::Result<()> {
        match self {
            Tape::Live(world) => world.recv_facts(fd, into, room, got, facts),
            Tape::Recording(recorder) => {
                let outcome = recorder.world.recv_facts(fd, into, room, got, facts);
                let outcome = outcome.map(|()| &got[..]);
                recorder.recording.received(Call::RecvFacts, fd, into, &outcome);
                if outcome.is_ok() {
                    let out = recorder.recording.call(Call::RecvFacts, u64::MAX);
                    facts.iter().for_each(|facts| facts.put(out));
                }
                outcome.map(|_| ())
            }
            Tape::Replaying(replay) => {
                let count = replay.receive(Call::RecvFacts, fd, into, got)?;
                let told = replay.entry(Call::RecvFacts, u64::MAX, |from| {
                    (0..count).map(|_| Facts::take(from)).collect::<Option<Vec<_>>>()
                });
                facts.append(&mut told.ok_or_else(over)?);
                Ok(())
            }
        }
    }

    fn send(&mut self, fd: Fd, batch: &[Datagram], bytes: &[u8]) -> io::Result<usize> {
        let sum = |n| sum_of_datagrams(batch, bytes, n);
        match self {
            Tape::Live(world) => world.send(fd, batch, bytes),
            Tape::Recording(recorder) => {
                let outcome = recorder.world.send(fd, batch, bytes);
                let ours = outcome.as_ref().map_or(0, |n| sum(*n));
                recorder.recording.wrote(Call::Send, fd, batch.len(), ours, &outcome);
                outcome
            }
            Tape::Replaying(replay) => replay.write(Call::Send, fd, batch.len(), sum),
        }
    }

    fn send_from(
        &mut self,
        fd: Fd,
        batch: &[Datagram],
        bytes: &[u8],
        source: Source,
    ) -> io::Result<usize> {
        let sum = || sum_of_datagrams(batch, bytes, batch.len());
        let key = || key(&(fd, source, sum()));
        self.call(Call::SendFrom, key, |w| w.send_from(fd, batch, bytes, source))
    }

    fn next_error(&mut self, fd: Fd) -> Option<(SocketAddr, io::Error)> {
        self.of(Call::NextError, fd, |w| w.next_error(fd))
    }

    fn set_datagram(&mut self, fd: Fd, option: DatagramOption) -> io::Result<()> {
        self.call(Call::SetDatagram, || key(&(fd, option)), |w| w.set_datagram(fd, option))
    }

    fn bind_unix(&mut self, at: &Path, id: Id) -> io::Result<Fd> {
        self.call(Call::BindUnix, || key(&(at, id)), |w| w.bind_unix(at, id))
    }

    fn recv_unix(&mut self, fd: Fd, into: &mut [u8]) -> io::Result<(usize, PathBuf)> {
        match self {
            Tape::Live(world) => world.recv_unix(fd, into),
            Tape::Recording(recorder) => {
                let outcome = recorder.world.recv_unix(fd, into);
                let out = recorder.recording.call(Call::RecvUnix, fd.0.into());
                outcome.put(out);
                out.extend_from_slice(&into[..outcome.as_ref().map_or(0, |(n, _)| *n)]);
                outcome
            }
            Tape::Replaying(replay) => {
                let outcome = replay.entry(Call::RecvUnix, fd.0.into(), |from| {
                    let outcome = <io::Result<(usize, PathBuf)>>::take(from)?;
                    let len = outcome.as_ref().map_or(0, |(n, _)| *n);
                    into.get_mut(..len)?.copy_from_slice(from.bytes(len)?);
                    Some(outcome)
                });
                outcome.unwrap_or_else(|| Err(over()))
            }
        }
    }

    fn send_unix(&mut self, fd: Fd, to: &Path, bytes: &[u8]) -> io::Result<()> {
        let key = || key(&(fd, to, crc32fast::hash(bytes)));
        self.call(Call::SendUnix, key, |w| w.send_unix(fd, to, bytes))
    }

    fn datagram_settings(&mut self, fd: Fd) -> io::Result<DatagramSettings> {
        self.of(Call::DatagramSettings, fd, |w| w.datagram_settings(fd))
    }
}
