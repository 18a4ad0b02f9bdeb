//! Datagrams: loss, doubles, detours, full queues.
//!
//! Rules of this file:
//! * One datagram travels alone: it arrives whole or not at all, once or twice.
//! * Without a detour, what one socket sends arrives in its order.
//! * A full receive queue drops what comes, as a kernel does, and says so to nobody but who asked.
//! * Whoever asked for it gets equal datagrams of one sender together, whenever they lie one behind
//!   the other: so a program cannot rely on one a room.

use crate::Sim;
use crate::dice::Choice;
use crate::net::{Key, Net, Socket, What, wrong_kind};
use crate::ports::{Hold, routed, seen_by};
use loopwork_reactor::{
    BATCH, BindOptions, Datagram, DatagramOption, Datagrams, Facts, Fd, Id, ROOM_MAX, Source, World,
};
use std::collections::{BTreeSet, VecDeque};
use std::hash::Hasher;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The longest datagram: what 16 bits of length leave behind the headers of IPv4 and UDP.
pub const DATAGRAM_MAX: usize = 65_507;
/// What a waiting datagram costs beside its bytes, about as much as the kernel's own book-keeping:
/// so empty ones fill a queue too.
pub const DATAGRAM_OVERHEAD: usize = 256;
/// Datagrams that may be on their way at once, in the whole world; more are dropped. A bound on
/// memory that no test of sense comes near.
pub const DATAGRAMS_IN_FLIGHT: usize = 65_536;
/// Errors of the network that one socket keeps; more are forgotten.
pub const DATAGRAM_ERRORS: usize = 256;
/// Datagrams that come together at most, as in Linux.
const TOGETHER: usize = 64;
/// Hops of what is sent, as every system begins.
const TTL: u8 = 64;
const BROADCAST: IpAddr = IpAddr::V4(Ipv4Addr::BROADCAST);
const EMSGSIZE: i32 = 90;
const ENOBUFS: i32 = 105;
const EAFNOSUPPORT: i32 = 97;

pub(crate) struct Udp {
    pub(crate) local: SocketAddr,
    pub(crate) error: Option<ErrorKind>,
    /// What its binder asked for.
    asked: BindOptions,
    errors: VecDeque<(SocketAddr, ErrorKind)>,
    dropped: u32,
    class: u8,
    ttl: u8,
    peer: Option<SocketAddr>,
    inbox: VecDeque<Letter>,
    queued: usize,
    queue_max: usize,
    broadcast: bool,
    multicast_loop: bool,
    groups: BTreeSet<IpAddr>,
    /// When the last of what it sent arrives.
    arrival: u64,
}

impl Udp {
    pub(crate) fn readable(&self) -> bool {
        self.failed() || !self.inbox.is_empty()
    }

    /// An error waits to be told.
    pub(crate) fn failed(&self) -> bool {
        self.error.is_some() || !self.errors.is_empty()
    }

    /// How many datagrams come in the next room.
    fn together(&self, room: usize) -> usize {
        let Some(Letter { packet: first, .. }) = self.inbox.front() else { return 0 };
        let len = first.bytes.len();
        if !self.asked.gro || room < ROOM_MAX || len == 0 {
            return 1;
        }
        let (mut count, mut end) = (1, len);
        for Letter { packet: next, .. } in self.inbox.iter().skip(1).take(TOGETHER - 1) {
            let more = next.bytes.len();
            let alike = (next.from, next.to, next.class) == (first.from, first.to, first.class);
            if !alike || more == 0 || more > len || end + more > DATAGRAM_MAX {
                break;
            }
            (count, end) = (count + 1, end + more);
            if more < len {
                break;
            }
        }
        count
    }

    /// What was asked to be told of a datagram.
    fn facts(&self, letter: &Letter, day: Duration) -> Facts {
        let (ours, asked, mut facts) = (self.local.ip(), &self.asked, Facts::NONE);
        if asked.destination {
            let at = seen_by(ours, letter.packet.to).ip();
            let many = letter.packet.to.ip().is_multicast() || letter.packet.to.ip() == BROADCAST;
            facts.destination = Some(at);
            facts.local = (!many).then_some(at);
            facts.interface = Some(1);
        }
        facts.class = asked.class.then_some(letter.packet.class);
        facts.ttl = asked.ttl.then_some(letter.packet.ttl);
        facts.dropped = if asked.drops { letter.dropped } else { 0 };
        facts.time = asked.time.then_some(day + Duration::from_nanos(letter.time));
        facts
    }
}

/// A datagram that has arrived.
struct Letter {
    packet: Packet,
    time: u64,
    /// How many its socket had dropped before.
    dropped: u32,
}

/// A datagram on its way.
#[derive(Clone)]
pub(crate) struct Packet {
    sender: Key,
    from: SocketAddr,
    to: SocketAddr,
    class: u8,
    ttl: u8,
    bytes: Vec<u8>,
}

impl Net {
    fn udp(&mut self, key: Key) -> io::Result<&mut Udp> {
        match self.socket(key) {
            Some(Socket::Udp(udp)) => Ok(udp),
            _ => Err(wrong_kind()),
        }
    }

    fn bind(&mut self, at: SocketAddr, how: &BindOptions, id: Id) -> io::Result<(Fd, SocketAddr)> {
        self.descriptor(0)?;
        let udp = Udp {
            local: at,
            error: None,
            asked: how.clone(),
            errors: VecDeque::new(),
            dropped: 0,
            class: 0,
            ttl: TTL,
            peer: None,
            inbox: VecDeque::new(),
            queued: 0,
            queue_max: self.faults.datagram_queue,
            broadcast: false,
            multicast_loop: true,
            groups: BTreeSet::new(),
            arrival: 0,
        };
        let key = self.insert(id, Socket::Udp(udp));
        let (only_v6, shared) = (how.ipv6_only, how.reuse_address || how.reuse_port);
        let hold = Hold { at, key, only_v6, shared, peer: None };
        let held = self.ports.hold_datagram(&mut self.dice, hold, &self.faults.ports);
        let at = self.keep(key, held)?;
        self.udp(key)?.local = at;
        // A new registration is an edge: it can be written.
        self.mark(key);
        Ok((Fd(key.slot), at))
    }

    fn associate(&mut self, key: Key, peer: SocketAddr) -> io::Result<()> {
        let udp = self.udp(key)?;
        if udp.local.is_ipv4() && peer.is_ipv6() {
            return Err(io::Error::from_raw_os_error(EAFNOSUPPORT));
        }
        udp.peer = Some(routed(peer));
        Ok(())
    }

    fn recv(
        &mut self,
        key: Key,
        into: &mut [u8],
        room: usize,
        got: &mut Vec<Datagram>,
        mut facts: Option<(&mut Vec<Facts>, Duration)>,
    ) -> io::Result<usize> {
        let udp = self.udp(key)?;
        if let Some(error) = udp.error.take() {
            return Err(error.into());
        }
        if room == 0 || into.len() < room {
            return Err(ErrorKind::InvalidInput.into());
        }
        let there = udp.inbox.len().min(into.len() / room).min(BATCH);
        if there == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        if self.dice.chance(Choice::BlockRead, self.faults.block_read) {
            self.stats.cut_reads += 1;
            self.poke(key);
            return Err(ErrorKind::WouldBlock.into());
        }
        let n = self.dice.cut(Choice::CutRead, self.faults.cut_receive, there);
        if n < there {
            self.stats.cut_reads += 1;
            self.poke(key);
        }
        for (at, slot) in into.chunks_exact_mut(room).enumerate().take(n) {
            let mut end = 0;
            for _ in 0..self.udp(key)?.together(room) {
                let udp = self.udp(key)?;
                let Some(letter) = udp.inbox.pop_front() else { break };
                let bytes = &letter.packet.bytes;
                udp.queued -= bytes.len() + DATAGRAM_OVERHEAD;
                let len = bytes.len().min(room - end);
                slot[end..end + len].copy_from_slice(&bytes[..len]);
                let (start, truncated) = ((at * room + end) as u32, bytes.len() > len);
                let peer = seen_by(udp.local.ip(), letter.packet.from);
                got.push(Datagram { peer, start, len: len as u32, truncated });
                if let Some((facts, day)) = &mut facts {
                    facts.push(udp.facts(&letter, *day));
                }
                end += len;
                self.log.write(&letter.packet.bytes);
            }
        }
        Ok(n)
    }

    /// Behind a receive into so many rooms: whether the socket is served by it.
    fn was_received(&mut self, fd: Fd, rooms: usize, answer: &io::Result<usize>) {
        let Some(key) = self.look(fd) else { return };
        let Ok(udp) = self.udp(key) else { return };
        let all = match answer {
            Ok(used) => *used == rooms.min(BATCH),
            Err(e) => e.kind() != ErrorKind::WouldBlock,
        };
        let more = all && udp.readable();
        self.is_asked(key, more);
    }

    fn send(
        &mut self,
        key: Key,
        batch: &[Datagram],
        bytes: &[u8],
        leaves: Option<Source>,
    ) -> io::Result<usize> {
        if let Some(error) = self.udp(key)?.error.take() {
            return Err(error.into());
        }
        let most = batch.len().min(BATCH);
        if most > 0 && self.dice.chance(Choice::BlockWrite, self.faults.block_write) {
            self.stats.cut_writes += 1;
            self.poke(key);
            return Err(ErrorKind::WouldBlock.into());
        }
        let n = self.dice.cut(Choice::CutWrite, self.faults.cut_write, most);
        if n < batch.len() {
            // Also owed behind a whole `BATCH`: the rest waits for a readiness.
            self.stats.cut_writes += u64::from(n < most);
            self.poke(key);
        }
        for (at, datagram) in batch[..n].iter().enumerate() {
            match self.send_one(key, datagram, bytes, leaves) {
                Ok(()) => {}
                Err(e) if at == 0 => {
                    let refused = matches!(e.raw_os_error(), Some(EMSGSIZE | ENOBUFS));
                    self.stats.refused += u64::from(refused);
                    return Err(e);
                }
                Err(_) => return Ok(at),
            }
        }
        Ok(n)
    }

    fn send_one(
        &mut self,
        key: Key,
        datagram: &Datagram,
        bytes: &[u8],
        leaves: Option<Source>,
    ) -> io::Result<()> {
        let start = datagram.start as usize;
        let bytes =
            bytes.get(start..start + datagram.len as usize).ok_or(ErrorKind::InvalidInput)?;
        let longest = DATAGRAM_MAX.min(self.faults.datagram_max);
        let udp = self.udp(key)?;
        let to = udp.peer.unwrap_or_else(|| routed(datagram.peer));
        if to.port() == 0 {
            return Err(ErrorKind::InvalidInput.into());
        }
        if udp.local.is_ipv4() && to.is_ipv6() {
            return Err(io::Error::from_raw_os_error(EAFNOSUPPORT));
        }
        if bytes.len() > longest {
            return Err(io::Error::from_raw_os_error(EMSGSIZE));
        }
        if to.ip() == BROADCAST && !udp.broadcast {
            return Err(ErrorKind::PermissionDenied.into());
        }
        if to.ip().is_multicast() && !udp.multicast_loop {
            // Nobody but this host is there to hear it.
            return Ok(());
        }
        let (class, ttl, local) = (udp.class, udp.ttl, udp.local);
        let ip = match leaves.map(|source| source.ip.to_canonical()) {
            Some(ip) if !ip.is_unspecified() && ip.is_ipv4() == to.is_ipv4() => ip,
            Some(ip) if !ip.is_unspecified() => return Err(ErrorKind::InvalidInput.into()),
            _ => source(local.ip(), to),
        };
        let from = SocketAddr::new(ip, local.port());
        if self.dice.chance(Choice::Buffers, self.faults.no_buffers) {
            return Err(io::Error::from_raw_os_error(ENOBUFS));
        }
        self.log.write(bytes);
        self.stats.sent += 1;
        // What has no end of a connection goes by while one direction is open.
        let cut = self.cut.iter().all(|until| *until > self.now);
        if cut || self.dice.chance(Choice::Loss, self.faults.loss) {
            self.stats.lost += 1;
            return Ok(());
        }
        let twice = self.dice.chance(Choice::Duplicate, self.faults.duplicate);
        self.stats.duplicated += u64::from(twice);
        for _ in 0..1 + u8::from(twice) {
            self.launch(Packet { sender: key, from, to, class, ttl, bytes: bytes.to_vec() });
        }
        Ok(())
    }

    fn launch(&mut self, packet: Packet) {
        if self.in_flight >= DATAGRAMS_IN_FLIGHT {
            self.stats.dropped += 1;
            return;
        }
        self.in_flight += 1;
        let mut at = self.now + self.latency();
        if self.dice.chance(Choice::Reorder, self.faults.reorder) {
            self.stats.reordered += 1;
            at += self.dice.span(Choice::Reorder, &self.faults.reorder_time);
        } else if let Ok(udp) = self.udp(packet.sender) {
            at = at.max(udp.arrival);
            udp.arrival = at;
        }
        self.at(at, What::Packet(packet));
    }

    /// Hands a datagram to whom it is for.
    pub(crate) fn deliver(&mut self, packet: Packet) {
        self.in_flight -= 1;
        let to = packet.to;
        let holds = self.ports.datagrams(to.port()).to_vec();
        if to.ip().is_multicast() || to.ip() == BROADCAST {
            for hold in holds {
                if self.hears(&hold, to.ip()) {
                    self.receive(hold.key, packet.clone());
                }
            }
            return;
        }
        // The best match: one that is associated with the sender, then the closest address.
        let mut best: (u8, Vec<Key>) = (0, Vec::new());
        for hold in holds {
            let Some(close) = hold.takes(to) else { continue };
            let score = match self.udp(hold.key).map(|u| u.peer) {
                Ok(Some(peer)) if peer == packet.from => 4 + close,
                Ok(None) => 1 + close,
                _ => continue,
            };
            if score > best.0 {
                best = (score, Vec::new());
            }
            if score == best.0 {
                best.1.push(hold.key);
            }
        }
        let pick = self.dice.pick(Choice::Share, best.1.len() as u64) as usize;
        match best.1.get(pick) {
            Some(key) => self.receive(*key, packet),
            None => self.unreachable(packet.sender, to),
        }
    }

    /// Is this socket among those whom a group, or a broadcast, is for?
    fn hears(&mut self, hold: &Hold, to: IpAddr) -> bool {
        let bound = hold.at.ip();
        let fits = bound == to || bound.is_unspecified();
        let Ok(udp) = self.udp(hold.key) else { return false };
        fits && (udp.groups.contains(&to) || (to == BROADCAST && bound.is_ipv4()))
    }

    fn receive(&mut self, key: Key, packet: Packet) {
        let time = self.now;
        let Ok(udp) = self.udp(key) else { return };
        if udp.peer.is_some_and(|peer| peer != packet.from) {
            return;
        }
        let cost = packet.bytes.len() + DATAGRAM_OVERHEAD;
        if udp.queued + cost > udp.queue_max {
            udp.dropped = udp.dropped.wrapping_add(1);
            self.stats.dropped += 1;
            return;
        }
        udp.queued += cost;
        udp.inbox.push_back(Letter { packet, time, dropped: udp.dropped });
        self.mark(key);
    }

    /// ICMP tells the sender that the port is closed. A socket that is not associated hears it
    /// only if it asked for it.
    fn unreachable(&mut self, sender: Key, to: SocketAddr) {
        let Ok(udp) = self.udp(sender) else { return };
        if udp.asked.errors {
            if udp.errors.len() < DATAGRAM_ERRORS {
                let to = seen_by(udp.local.ip(), to);
                udp.errors.push_back((to, ErrorKind::ConnectionRefused));
            }
        } else if udp.peer == Some(to) {
            udp.error = Some(ErrorKind::ConnectionRefused);
        } else {
            return;
        }
        self.mark(sender);
    }

    fn set_datagram(&mut self, key: Key, option: DatagramOption) -> io::Result<()> {
        let udp = self.udp(key)?;
        match option {
            DatagramOption::Broadcast(on) => udp.broadcast = on,
            DatagramOption::MulticastLoop(on) => udp.multicast_loop = on,
            DatagramOption::ReceiveBuffer(n) => udp.queue_max = n,
            DatagramOption::Class(class) => udp.class = class,
            DatagramOption::Ttl(hops) => {
                udp.ttl = u8::try_from(hops).map_err(|_| ErrorKind::InvalidInput)?;
            }
            DatagramOption::Join(group, _) => {
                if !group.is_multicast() || (udp.local.is_ipv4() != group.is_ipv4()) {
                    return Err(ErrorKind::InvalidInput.into());
                }
                if !udp.groups.insert(group) {
                    return Err(ErrorKind::AddrInUse.into());
                }
            }
            DatagramOption::Leave(group, _) => {
                let was_in = udp.groups.remove(&group);
                return was_in.then_some(()).ok_or(ErrorKind::AddrNotAvailable.into());
            }
            // One hop away, with nothing that would wait to be sent: these change nothing here.
            _ => {}
        }
        Ok(())
    }
}

/// The address that a datagram comes from, when its socket is bound to all.
fn source(local: IpAddr, to: SocketAddr) -> IpAddr {
    let many = to.ip().is_multicast() || to.ip() == BROADCAST;
    match local.to_canonical() {
        local if !local.is_unspecified() => local,
        _ if !many => to.ip(),
        _ if to.is_ipv4() => Ipv4Addr::LOCALHOST.into(),
        _ => Ipv6Addr::LOCALHOST.into(),
    }
}

/// What the log calls each kind of call.
mod call {
    pub(super) const BIND: u64 = 32;
    pub(super) const ASSOCIATE: u64 = 33;
    pub(super) const RECV: u64 = 34;
    pub(super) const SEND: u64 = 35;
    pub(super) const SET: u64 = 36;
    pub(super) const DISSOCIATE: u64 = 37;
    pub(super) const ERROR: u64 = 38;
}

impl Datagrams for Sim {
    fn bind(&mut self, at: SocketAddr, how: &BindOptions, id: Id) -> io::Result<(Fd, SocketAddr)> {
        let answer = self.net.bind(at, how, id);
        self.net.answer(call::BIND, id.birth, answer, |(fd, at)| {
            u64::from(fd.0) << 16 | u64::from(at.port())
        })
    }

    fn associate(&mut self, fd: Fd, peer: SocketAddr) -> io::Result<()> {
        let answer = self.net.key(fd).and_then(|key| self.net.associate(key, peer));
        self.net.answer(call::ASSOCIATE, fd.0.into(), answer, |()| 0)
    }

    fn dissociate(&mut self, fd: Fd) -> io::Result<()> {
        let key = self.net.key(fd);
        let answer = key.and_then(|key| self.net.udp(key).map(|udp| udp.peer = None));
        self.net.answer(call::DISSOCIATE, fd.0.into(), answer, |()| 0)
    }

    fn recv(
        &mut self,
        fd: Fd,
        into: &mut [u8],
        room: usize,
        got: &mut Vec<Datagram>,
    ) -> io::Result<()> {
        let key = self.net.key(fd);
        let answer = key.and_then(|key| self.net.recv(key, into, room, got, None));
        self.net.was_received(fd, into.len() / room.max(1), &answer);
        let answer = answer.map(|_| ());
        self.net.answer(call::RECV, fd.0.into(), answer, |()| got.len() as u64)
    }

    fn recv_facts(
        &mut self,
        fd: Fd,
        into: &mut [u8],
        room: usize,
        got: &mut Vec<Datagram>,
        facts: &mut Vec<Facts>,
    ) -> io::Result<()> {
        // The day at whose beginning the clock stood at zero.
        let day = self.unix_time() - Duration::from_nanos(self.net.now);
        let key = self.net.key(fd);
        let told = Some((facts, day));
        let answer = key.and_then(|key| self.net.recv(key, into, room, got, told));
        self.net.was_received(fd, into.len() / room.max(1), &answer);
        let answer = answer.map(|_| ());
        self.net.answer(call::RECV, fd.0.into(), answer, |()| got.len() as u64)
    }

    fn send(&mut self, fd: Fd, batch: &[Datagram], bytes: &[u8]) -> io::Result<usize> {
        let key = self.net.key(fd);
        let answer = key.and_then(|key| self.net.send(key, batch, bytes, None));
        self.net.answer(call::SEND, fd.0.into(), answer, |n| *n as u64)
    }

    fn send_from(
        &mut self,
        fd: Fd,
        batch: &[Datagram],
        bytes: &[u8],
        source: Source,
    ) -> io::Result<usize> {
        let key = self.net.key(fd);
        let answer = key.and_then(|key| self.net.send(key, batch, bytes, Some(source)));
        self.net.answer(call::SEND, fd.0.into(), answer, |n| *n as u64)
    }

    fn next_error(&mut self, fd: Fd) -> Option<(SocketAddr, io::Error)> {
        let key = self.net.key(fd).ok()?;
        let (to, kind) = self.net.udp(key).ok()?.errors.pop_front()?;
        self.net.note(call::ERROR, fd.0.into(), to.port().into());
        Some((to, kind.into()))
    }

    fn set_datagram(&mut self, fd: Fd, option: DatagramOption) -> io::Result<()> {
        let answer = self.net.key(fd).and_then(|key| self.net.set_datagram(key, option));
        self.net.answer(call::SET, fd.0.into(), answer, |()| 0)
    }

    fn bind_unix(&mut self, at: &Path, id: Id) -> io::Result<Fd> {
        self.post_bind(at, id)
    }

    fn recv_unix(&mut self, fd: Fd, into: &mut [u8]) -> io::Result<(usize, PathBuf)> {
        self.post_recv(fd, into)
    }

    fn send_unix(&mut self, fd: Fd, to: &Path, bytes: &[u8]) -> io::Result<()> {
        self.post_send(fd, to, bytes)
    }
}
