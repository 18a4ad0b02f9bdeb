//! Who is bound where: ports, wildcard addresses, Unix paths.
//!
//! Rules of this file:
//! * The host owns every address, so an address is never refused as not its own.
//! * Sockets of one port are kept in the order of binding: lookups are deterministic.
//! * No `TIME_WAIT`: a port is free when its last socket closes.

use crate::dice::{Choice, Dice};
use crate::net::Key;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// The ports that Linux hands out by itself (`net.ipv4.ip_local_port_range`).
const EPHEMERAL: std::ops::RangeInclusive<u16> = 32_768..=60_999;

/// How a socket holds its port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Hold {
    pub(crate) at: SocketAddr,
    pub(crate) key: Key,
    /// Takes no IPv4 on an IPv6 wildcard.
    pub(crate) only_v6: bool,
    /// Lets others in that share as well.
    pub(crate) shared: bool,
    /// A stream's client: it holds its port, and nobody can connect to it.
    pub(crate) client: bool,
}

impl Hold {
    /// Does what goes to `to` concern this socket? `None`: no. Otherwise how exactly it is meant.
    pub(crate) fn takes(&self, to: SocketAddr) -> Option<u8> {
        if self.at.port() != to.port() || self.client {
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
        (a.client, b.client) = (false, false);
        a.takes(b.at).is_some() || b.takes(a.at).is_some()
    }
}

#[derive(Default)]
pub(crate) struct Ports {
    streams: BTreeMap<u16, Vec<Hold>>,
    datagrams: BTreeMap<u16, Vec<Hold>>,
    paths: BTreeMap<PathBuf, Key>,
}

impl Ports {
    /// Holds a stream's address, choosing the port if it is 0.
    pub(crate) fn hold_stream(&mut self, dice: &mut Dice, hold: Hold) -> io::Result<SocketAddr> {
        take(&mut self.streams, dice, hold)
    }

    pub(crate) fn hold_datagram(&mut self, dice: &mut Dice, hold: Hold) -> io::Result<SocketAddr> {
        take(&mut self.datagrams, dice, hold)
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
) -> io::Result<SocketAddr> {
    if hold.at.port() == 0 {
        hold.at.set_port(ephemeral(map, dice)?);
    }
    let holds = map.entry(hold.at.port()).or_default();
    let clash = |other: &Hold| hold.overlaps(other) && !(hold.shared && other.shared);
    if holds.iter().any(clash) {
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

/// A port that nobody holds: a random one, or the next free one behind it.
fn ephemeral(map: &BTreeMap<u16, Vec<Hold>>, dice: &mut Dice) -> io::Result<u16> {
    let count = EPHEMERAL.len() as u64;
    let start = dice.pick(Choice::Port, count);
    (0..count)
        .map(|n| EPHEMERAL.start() + ((start + n) % count) as u16)
        .find(|port| !map.contains_key(port))
        .ok_or(ErrorKind::AddrInUse.into())
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
