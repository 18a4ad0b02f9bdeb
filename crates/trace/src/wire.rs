//! How calls and answers are written: a byte that names the call, numbers of seven bits a byte.
//!
//! Rules of this file:
//! * What [`Answer::put`] writes, [`Answer::take`] reads. A change of either is a new
//!   [`VERSION`](crate::VERSION).
//! * Reading never panics, and reserves no more than there is to read.

use loopwork_reactor::{
    Address, Credentials, Datagram, DatagramSettings, Facts, Fd, Id, Mailbox, Ready, StreamInfo,
    TcpState,
};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

macro_rules! calls {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// What was asked of the world, by the name of its method.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[allow(missing_docs)]
        #[non_exhaustive]
        #[repr(u8)]
        pub enum Call { $($(#[$doc])* $name),* }

        impl Call {
            const ALL: &[Call] = &[$(Call::$name),*];
        }
    };
}

calls! {
    /// The recording ends here, in order.
    End, Now, UnixTime, Poll, Random, Close, WatchSignals, NextSignal, Mailbox, Offload, Mail,
    Listen, Accept, Connect, ConnectWith, Connected, Read, Write, WriteVectored, SendFile,
    Shutdown, Reset, Set, Local, Peer, ListenOn, Adopt, Release, Info, Credentials,
    Bind, AdoptDatagrams, Associate, Dissociate, Recv, RecvFacts, Send, SendFrom, NextError,
    SetDatagram, BindUnix, RecvUnix, SendUnix, DatagramSettings,
    /// An answer of the outside that is no method of the traits: see
    /// [`Tape::also`](crate::Tape::also).
    Also,
}

impl Call {
    pub(crate) fn of(byte: u8) -> Option<Call> {
        Call::ALL.get(usize::from(byte)).copied()
    }
}

/// Bytes that are being read.
pub(crate) struct In<'a>(pub(crate) &'a [u8]);

impl<'a> In<'a> {
    pub(crate) fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    pub(crate) fn bytes(&mut self, n: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(taken)
    }

    pub(crate) fn number(&mut self) -> Option<u64> {
        let mut n = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            n |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte < 0x80 {
                return Some(n);
            }
        }
        None
    }

    pub(crate) fn small<T: TryFrom<u64>>(&mut self) -> Option<T> {
        self.number()?.try_into().ok()
    }

    /// Bytes behind their length.
    pub(crate) fn piece(&mut self) -> Option<&'a [u8]> {
        let n = self.small()?;
        self.bytes(n)
    }
}

pub(crate) fn put_number(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

pub(crate) fn put_piece(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// What a world answers.
pub(crate) trait Answer: Sized {
    fn put(&self, out: &mut Vec<u8>);
    fn take(from: &mut In<'_>) -> Option<Self>;
    /// What a replay says that has no answer any more.
    fn none() -> Self;
}

/// What is inside of answers, and need not stand for "over".
pub(crate) trait Part: Sized {
    fn put(&self, out: &mut Vec<u8>);
    fn take(from: &mut In<'_>) -> Option<Self>;
}

impl<T: Part> Answer for io::Result<T> {
    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Ok(answer) => {
                out.push(0);
                answer.put(out);
            }
            Err(e) => put_error(out, e),
        }
    }
    fn take(from: &mut In<'_>) -> Option<Self> {
        match from.byte()? {
            0 => T::take(from).map(Ok),
            how => take_error(from, how).map(Err),
        }
    }
    fn none() -> Self {
        Err(over())
    }
}

impl<T: Part> Answer for Option<T> {
    fn put(&self, out: &mut Vec<u8>) {
        Part::put(self, out);
    }
    fn take(from: &mut In<'_>) -> Option<Self> {
        Part::take(from)
    }
    fn none() -> Self {
        None
    }
}

impl Answer for () {
    fn put(&self, _: &mut Vec<u8>) {}
    fn take(_: &mut In<'_>) -> Option<Self> {
        Some(())
    }
    fn none() -> Self {}
}

impl Answer for u64 {
    fn put(&self, out: &mut Vec<u8>) {
        put_number(out, *self);
    }
    fn take(from: &mut In<'_>) -> Option<Self> {
        from.number()
    }
    fn none() -> Self {
        0
    }
}

impl Answer for Duration {
    fn put(&self, out: &mut Vec<u8>) {
        Part::put(self, out);
    }
    fn take(from: &mut In<'_>) -> Option<Self> {
        Part::take(from)
    }
    fn none() -> Self {
        Duration::ZERO
    }
}

/// What callers are told behind the end of a replay.
pub(crate) fn over() -> io::Error {
    io::Error::other("the replay is over")
}

/// Kinds of errors that a world makes without the system. The order is the format's.
const KINDS: [ErrorKind; 25] = [
    ErrorKind::Other,
    ErrorKind::NotFound,
    ErrorKind::PermissionDenied,
    ErrorKind::ConnectionRefused,
    ErrorKind::ConnectionReset,
    ErrorKind::ConnectionAborted,
    ErrorKind::NotConnected,
    ErrorKind::AddrInUse,
    ErrorKind::AddrNotAvailable,
    ErrorKind::BrokenPipe,
    ErrorKind::AlreadyExists,
    ErrorKind::WouldBlock,
    ErrorKind::InvalidInput,
    ErrorKind::InvalidData,
    ErrorKind::TimedOut,
    ErrorKind::WriteZero,
    ErrorKind::Interrupted,
    ErrorKind::Unsupported,
    ErrorKind::UnexpectedEof,
    ErrorKind::OutOfMemory,
    ErrorKind::HostUnreachable,
    ErrorKind::NetworkUnreachable,
    ErrorKind::NetworkDown,
    ErrorKind::ResourceBusy,
    ErrorKind::StorageFull,
];

/// 1: a number of the system's; 2: a kind; 3: a kind and a text.
pub(crate) fn put_error(out: &mut Vec<u8>, e: &io::Error) {
    if let Some(code) = e.raw_os_error() {
        out.push(1);
        return put_number(out, code as u32 as u64);
    }
    let text = e.get_ref().map(ToString::to_string);
    out.push(if text.is_some() { 3 } else { 2 });
    out.push(KINDS.iter().position(|kind| *kind == e.kind()).unwrap_or(0) as u8);
    if let Some(text) = text {
        put_piece(out, text.as_bytes());
    }
}

fn take_error(from: &mut In<'_>, how: u8) -> Option<io::Error> {
    if how == 1 {
        return Some(io::Error::from_raw_os_error(from.small::<u32>()? as i32));
    }
    let kind = *KINDS.get(usize::from(from.byte()?))?;
    match how {
        2 => Some(kind.into()),
        3 => Some(io::Error::new(kind, String::from_utf8_lossy(from.piece()?))),
        _ => None,
    }
}

macro_rules! numbers {
    ($($of:ty),*) => {$(
        impl Part for $of {
            fn put(&self, out: &mut Vec<u8>) {
                put_number(out, *self as u64);
            }
            fn take(from: &mut In<'_>) -> Option<Self> {
                from.small()
            }
        }
    )*};
}
numbers!(u8, u16, u32, u64, usize);

impl Part for i32 {
    fn put(&self, out: &mut Vec<u8>) {
        put_number(out, *self as u32 as u64);
    }
    fn take(from: &mut In<'_>) -> Option<Self> {
        from.small::<u32>().map(|n| n as i32)
    }
}

impl Part for () {
    fn put(&self, _: &mut Vec<u8>) {}
    fn take(_: &mut In<'_>) -> Option<Self> {
        Some(())
    }
}

impl Part for bool {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
    fn take(from: &mut In<'_>) -> Option<Self> {
        Some(from.byte()? != 0)
    }
}

impl<T: Part> Part for Option<T> {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(u8::from(self.is_some()));
        if let Some(inner) = self {
            inner.put(out);
        }
    }
    fn take(from: &mut In<'_>) -> Option<Self> {
        match from.byte()? {
            0 => Some(None),
            _ => T::take(from).map(Some),
        }
    }
}

impl<A: Part, B: Part> Part for (A, B) {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
        self.1.put(out);
    }
    fn take(from: &mut In<'_>) -> Option<Self> {
        Some((A::take(from)?, B::take(from)?))
    }
}

impl<A: Part, B: Part, C: Part> Part for (A, B, C) {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
        self.1.put(out);
        self.2.put(out);
    }
    fn take(from: &mut In<'_>) -> Option<Self> {
        Some((A::take(from)?, B::take(from)?, C::take(from)?))
    }
}

impl Part for io::Error {
    fn put(&self, out: &mut Vec<u8>) {
        put_error(out, self);
    }
    fn take(from: &mut In<'_>) -> Option<Self> {
        let how = from.byte()?;
        take_error(from, how)
    }
}

impl Part for Duration {
    fn put(&self, out: &mut Vec<u8>) {
        put_number(out, self.as_secs());
        put_number(out, self.subsec_nanos().into());
    }
    fn take(from: &mut In<'_>) -> Option<Self> {
        let (seconds, nanos) = (from.number()?, from.small::<u32>()?);
        (nanos < 1_000_000_000).then(|| Duration::new(seconds, nanos))
    }
}

impl Part for Fd {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
    }
    fn take(from: &mut In<'_>) -> Option<Self> {
        u32::take(from).map(Fd)
    }
}

impl Part for Id {
    fn put(&self, out: &mut Vec<u8>) {
        (self.driver, self.slot, self.birth).put(out);
    }
    fn take(from: &mut In<'_>) -> Option<Self> {
        let (driver, slot, birth) = Part::take(from)?;
        Some(Id { birth, slot, driver })
    }
}

impl Part for Ready {
    fn put(&self, out: &mut Vec<u8>) {
        let bits = [self.readable, self.writable, self.closed, self.gone];
        out.push(bits.iter().rev().fold(0, |all, bit| all << 1 | u8::from(*bit)));
        self.id.put(out);
    }
    fn take(from: &mut In<'_>) -> Option<Self> {
        let bits = from.byte()?;
        let bit = |n: u8| bits >> n & 1 == 1;
        let id = Id::take(from)?;
        let (readable, writable) = (bit(0), bit(1));
        Some(Ready { id, readable, writable, closed: bit(2), gone: bit(3) })
    }
}

impl Part for IpAddr {
    fn put(&self, out: &mut Vec<u8>) {
        match self {
            IpAddr::V4(ip) => put_piece(out, &ip.octets()),
            IpAddr::V6(ip) => put_piece(out, &ip.octets()),
        }
    }
    fn take(from: &mut In<'_>) -> Option<Self> {
        let bytes = from.piece()?;
        let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from).ok();
        v4.or_else(|| <[u8; 16]>::try_from(bytes).map(IpAddr::from).ok())
    }
}

impl Part for SocketAddr {
    fn put(&self, out: &mut Vec<u8>) {
        (self.ip(), self.port()).put(out);
        if let SocketAddr::V6(at) = self {
            (at.flowinfo(), at.scope_id()).put(out);
        }
    }
    fn take(from: &mut In<'_>) -> Option<Self> {
        let mut at = <(IpAddr, u16)>::take(from).map(SocketAddr::from)?;
        if let SocketAddr::V6(at) = &mut at {
            at.set_flowinfo(u32::take(from)?);
            at.set_scope_id(u32::take(from)?);
        }
        Some(at)
    }
}

impl Part for PathBuf {
    fn put(&self, out: &mut Vec<u8>) {
        put_piece(out, self.as_os_str().as_bytes());
    }
    fn take(from: &mut In<'_>) -> Option<Self> {
        from.piece().map(|bytes| Path::new(OsStr::from_bytes(bytes)).to_owned())
    }
}

impl Part for Address {
    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Address::Ip(at) => (0u8, *at).put(out),
            Address::Unix(path) => (1u8, path.clone()).put(out),
        }
    }
    fn take(from: &mut In<'_>) -> Option<Self> {
        match from.byte()? {
            0 => Part::take(from).map(Address::Ip),
            1 => Part::take(from).map(Address::Unix),
            _ => None,
        }
    }
}

/// A descriptor is no more in a replay than a place where nothing is.
impl Part for OwnedFd {
    fn put(&self, _: &mut Vec<u8>) {}
    fn take(_: &mut In<'_>) -> Option<Self> {
        File::open("/dev/null").ok().map(OwnedFd::from)
    }
}

/// What other threads put into this one in a replay is not asked for: see [`Call::Mail`].
impl Part for Mailbox {
    fn put(&self, _: &mut Vec<u8>) {}
    fn take(_: &mut In<'_>) -> Option<Self> {
        Some(Mailbox::new(|| {}))
    }
}

impl Part for Credentials {
    fn put(&self, out: &mut Vec<u8>) {
        (self.pid, self.uid, self.gid).put(out);
    }
    fn take(from: &mut In<'_>) -> Option<Self> {
        let (pid, uid, gid) = Part::take(from)?;
        Some(Credentials { pid, uid, gid })
    }
}

impl Part for Datagram {
    fn put(&self, out: &mut Vec<u8>) {
        (self.peer, self.start, self.len).put(out);
        self.truncated.put(out);
    }
    fn take(from: &mut In<'_>) -> Option<Self> {
        let (peer, start, len) = Part::take(from)?;
        Some(Datagram { peer, start, len, truncated: bool::take(from)? })
    }
}

impl Part for Facts {
    fn put(&self, out: &mut Vec<u8>) {
        (self.destination, self.local, self.interface).put(out);
        (self.class, self.ttl, self.dropped).put(out);
        Part::put(&self.time, out);
    }
    fn take(from: &mut In<'_>) -> Option<Self> {
        let mut facts = Facts::NONE;
        (facts.destination, facts.local, facts.interface) = Part::take(from)?;
        (facts.class, facts.ttl, facts.dropped) = Part::take(from)?;
        facts.time = Part::take(from)?;
        Some(facts)
    }
}

impl Part for DatagramSettings {
    fn put(&self, out: &mut Vec<u8>) {
        (self.receive_buffer, self.send_buffer).put(out);
        (self.ttl, self.multicast_ttl).put(out);
    }
    fn take(from: &mut In<'_>) -> Option<Self> {
        let mut settings = DatagramSettings::default();
        (settings.receive_buffer, settings.send_buffer) = Part::take(from)?;
        (settings.ttl, settings.multicast_ttl) = Part::take(from)?;
        Some(settings)
    }
}

/// The order is the format's.
const STATES: [TcpState; 11] = [
    TcpState::Established,
    TcpState::SynSent,
    TcpState::SynReceived,
    TcpState::FinWait1,
    TcpState::FinWait2,
    TcpState::TimeWait,
    TcpState::Closed,
    TcpState::CloseWait,
    TcpState::LastAck,
    TcpState::Listen,
    TcpState::Closing,
];

impl Part for TcpState {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(STATES.iter().position(|state| state == self).unwrap_or(0) as u8);
    }
    fn take(from: &mut In<'_>) -> Option<Self> {
        STATES.get(usize::from(from.byte()?)).copied()
    }
}

impl Part for StreamInfo {
    fn put(&self, out: &mut Vec<u8>) {
        (self.state, self.syn_data).put(out);
        (self.round_trip, self.round_trip_deviation, self.round_trip_min).put(out);
        (self.retransmit_timeout, self.congestion_window, self.slow_start_threshold).put(out);
        (self.segment, self.unacknowledged, self.lost).put(out);
        (self.timeouts, self.retransmissions, self.unsent).put(out);
        (self.bytes_sent, self.bytes_resent, self.bytes_acknowledged).put(out);
        (self.bytes_received, self.delivery_rate, self.pacing_rate).put(out);
    }
    fn take(from: &mut In<'_>) -> Option<Self> {
        let mut info = StreamInfo::default();
        (info.state, info.syn_data) = Part::take(from)?;
        (info.round_trip, info.round_trip_deviation, info.round_trip_min) = Part::take(from)?;
        (info.retransmit_timeout, info.congestion_window, info.slow_start_threshold) =
            Part::take(from)?;
        (info.segment, info.unacknowledged, info.lost) = Part::take(from)?;
        (info.timeouts, info.retransmissions, info.unsent) = Part::take(from)?;
        (info.bytes_sent, info.bytes_resent, info.bytes_acknowledged) = Part::take(from)?;
        (info.bytes_received, info.delivery_rate, info.pacing_rate) = Part::take(from)?;
        Some(info)
    }
}
