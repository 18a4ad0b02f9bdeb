//! Who is bound where: ports, wildcard addresses, Unix paths.
//!
//! Rules of this file:
//! * The host owns every address, so an address is never refused as not its own.
//! * Sockets of one port are kept in the order of binding: lookups are deterministic.
//! * A client's port is taken for the peer that it is connected to, and stays so for a while when
//!   it has ended the connection first (`TIME_WAIT`); another peer may be reached from it.

use crate::dice::{Choice, Dice};
use crate::net::Key;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

/// Connections that are remembered in `TIME_WAIT` (`net.ipv4.tcp_max_tw_buckets` is about as
/// much); more are forgotten at once, as Linux does.
const WAITING_MAX: usize = 65_536;

/// How a socket holds its port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Hold {
    pub(crate) at: SocketAddr,
    pub(crate) key: Key,
    /// Takes no IPv4 on an IPv6 wildcard.
    pub(crate) only_v6: bool,
    /// Lets others in that share as well.
    pub(crate) shared: bool,
    /// Of a stream's client, whom it is connected to: nobody can connect to it.
    pub(crate) peer: Option<SocketAddr>,
}

impl Hold {
    /// Does what goes to `to` concern this socket? `None`: no. Otherwise how exactly it is meant.
    pub(crate) fn takes(&self, to: SocketAddr) -> Option<u8> {
        if self.at.port() != to.port() || self.peer.is_some() {
            return None;
        }
        match (self.at.ip(), to.ip()) {
            (ours, theirs) if ours == theirs => Some(2),
            (IpAddr::V4(ours), IpAddr::V4(_)) if ours.is_unspecified() => Some(1),
            (IpAddr::V6(ours), IpAddr::V6(_)) if ours.is_unspecified() => Some(1),
            (IpAddr::V6(ours), IpAddr::V4(_)) if ours.is_unspecified() && !self.only_v6 => Some(0),
            _ => None,
        }
    }

    fn overlaps(&self, other: &Hold) -> bool {
        let (mut a, mut b) = (*self, *other);
        if let (Some(a), Some(b)) = (a.peer.take(), b.peer.take())
            && a != b
        {
            return false;
        }
        a.takes(b.at).is_some() || b.takes(a.at).is_some()
    }
}

#[derive(Default)]
pub(crate) struct Ports {
    streams: BTreeMap<u16, Vec<Hold>>,
    datagrams: BTreeMap<u16, Vec<Hold>>,
    paths: BTreeMap<PathBuf, Key>,
    /// Connections that their client has ended first, until when.
    waiting: BTreeMap<(SocketAddr, SocketAddr), u64>,
}

impl Ports {
    /// Holds a stream's address, choosing the port if it is 0.
    pub(crate) fn hold_stream(
        &mut self,
        dice: &mut Dice,
        hold: Hold,
        range: &RangeInclusive<u16>,
        now: u64,
    ) -> io::Result<SocketAddr> {
        let waits = |at: SocketAddr| {
            let until = hold.peer.and_then(|peer| self.waiting.get(&(at, peer)));
            until.is_some_and(|until| *until > now)
        };
        take(&mut self.streams, dice, hold, range, waits)
    }

    pub(crate) fn hold_datagram(
        &mut self,
        dice: &mut Dice,
        hold: Hold,
        range: &RangeInclusive<u16>,
    ) -> io::Result<SocketAddr> {
        take(&mut self.datagrams, dice, hold, range, |_| false)
    }

    /// This connection's client has ended it first.
    pub(crate) fn wait(&mut self, at: SocketAddr, to: SocketAddr, until: u64, now: u64) {
        if self.waiting.len() >= WAITING_MAX {
            self.waiting.retain(|_, until| *until > now);
        }
        if self.waiting.len() < WAITING_MAX {
            self.waiting.insert((at, to), until);
        }
    }

    pub(crate) fn drop_stream(&mut self, at: SocketAddr, key: Key) {
        give_back(&mut self.streams, at, key);
    }

    pub(crate) fn drop_datagram(&mut self, at: SocketAddr, key: Key) {
        give_back(&mut self.datagrams, at, key);
    }

    /// Who takes connections to `to`: of several that are meant alike, one by chance.
    pub(crate) fn listener(&self, dice: &mut Dice, to: SocketAddr) -> Option<Key> {
        let holds = self.streams.get(&to.port())?;
        let best = holds.iter().filter_map(|h| h.takes(to)).max()?;
        let of: Vec<_> = holds.iter().filter(|h| h.takes(to) == Some(best)).collect();
        Some(of[dice.pick(Choice::Share, of.len() as u64) as usize].key)
    }

    /// Everyone who might take a datagram to this port.
    pub(crate) fn datagrams(&self, port: u16) -> &[Hold] {
        self.datagrams.get(&port).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn hold_path(&mut self, path: &Path, key: Key) -> io::Result<()> {
        if self.paths.contains_key(path) {
            return Err(ErrorKind::AddrInUse.into());
        }
        self.paths.insert(path.to_path_buf(), key);
        Ok(())
    }

    pub(crate) fn path(&self, path: &Path) -> Option<Key> {
        self.paths.get(path).copied()
    }

    pub(crate) fn drop_path(&mut self, path: &Path) {
        self.paths.remove(path);
    }
}

fn take(
    map: &mut BTreeMap<u16, Vec<Hold>>,
    dice: &mut Dice,
    mut hold: Hold,
    range: &RangeInclusive<u16>,
    waits: impl Fn(SocketAddr) -> bool,
) -> io::Result<SocketAddr> {
    let clash = |of: &Hold, other: &Hold| of.overlaps(other) && !(of.shared && other.shared);
    if hold.at.port() == 0 {
        let free = |at: SocketAddr| {
            let hold = Hold { at, ..hold };
            let held = map.get(&at.port()).map_or(&[][..], Vec::as_slice);
            // For a client any port that goes with its peer, for others one that nobody has.
            let free = held.is_empty() || hold.peer.is_some();
            free && !held.iter().any(|other| clash(&hold, other)) && !waits(at)
        };
        hold.at = ephemeral(hold, dice, range, free)?;
    } else if waits(hold.at) {
        return Err(ErrorKind::AddrInUse.into());
    }
    let holds = map.entry(hold.at.port()).or_default();
    if holds.iter().any(|other| clash(&hold, other)) {
        return Err(ErrorKind::AddrInUse.into());
    }
    holds.push(hold);
    Ok(hold.at)
}

fn give_back(map: &mut BTreeMap<u16, Vec<Hold>>, at: SocketAddr, key: Key) {
    if let Some(holds) = map.get_mut(&at.port()) {
        holds.retain(|h| h.key != key);
        if holds.is_empty() {
            map.remove(&at.port());
        }
    }
}

/// A port that is free: a random one, or the next one behind it.
fn ephemeral(
    hold: Hold,
    dice: &mut Dice,
    range: &RangeInclusive<u16>,
    free: impl Fn(SocketAddr) -> bool,
) -> io::Result<SocketAddr> {
    let count = range.len() as u64;
    let start = dice.pick(Choice::Port, count);
    let port = |n| range.start() + ((start + n) % count) as u16;
    let mut all = (0..count).map(|n| SocketAddr::new(hold.at.ip(), port(n)));
    // `connect` finds no address for itself, `bind` and `listen` find theirs in use.
    let why = match hold.peer {
        Some(_) => ErrorKind::AddrNotAvailable,
        None => ErrorKind::AddrInUse,
    };
    all.find(|at| free(*at)).ok_or(why.into())
}

/// Where something goes that is sent to `to`: this host itself for an unspecified address, IPv4
/// for one that is mapped into IPv6.
pub(crate) fn routed(to: SocketAddr) -> SocketAddr {
    let ip = match to.ip().to_canonical() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, to.port())
}

/// How a socket of `ours` sees an address: an IPv6 socket sees IPv4 mapped.
pub(crate) fn seen_by(ours: IpAddr, at: SocketAddr) -> SocketAddr {
    match (ours, at.ip()) {
        (IpAddr::V6(_), IpAddr::V4(ip)) => SocketAddr::new(ip.to_ipv6_mapped().into(), at.port()),
        _ => at,
    }
}
