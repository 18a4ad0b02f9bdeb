//! The real world: mio, the kernel's sockets, the clock.
//!
//! Rules of this folder:
//! * This folder alone names mio and sockets, and it alone asks for the time (the two batch calls
//!   of `mmsg.rs` act on its behalf).
//! * Every socket is registered once, edge-triggered: no `epoll_ctl` on the way of a message. A
//!   stream that was accepted is registered for writing when a write first takes less than all,
//!   once in its life: until then the kernel would tell it of room that it never lacked.
//! * The id travels with the registration. A poll's events become ids before anyone acts on them,
//!   and a token carries the low half of the birth, so that an event of a slot's former owner is
//!   recognised.

mod about;
mod alarm;
mod datagrams;
mod inherited;
mod pass;
mod raw;
mod streams;
mod threads;

use crate::blocking::{Done, Job};
use crate::id::{Fd, Id, Instant, Ready};
use crate::mail::{Mail, Mailbox};
use crate::mmsg::Batches;
use crate::streams::Address;
use crate::world::World;
use alarm::Alarm;
use datagrams::Udp;
use mio::event::Source;
use mio::net::{TcpListener, TcpStream, UdpSocket, UnixDatagram, UnixListener, UnixStream};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use slab::Slab;
use socket2::{Domain, SockAddr};
use std::io::{self, ErrorKind, Read};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time;
use streams::Made;
use threads::Threads;

pub use inherited::{Inherited, LISTEN_FDS_MAX, listen_fds};
pub use mio;
pub use pass::{DESCRIPTORS_MAX, receive_descriptors, send_descriptors};
pub use raw::read_file;

/// Events taken by one poll; what is more stays in the kernel for the next.
const EVENTS: usize = 1024;
const MAIL: Token = Token(usize::MAX);
const ALARM: Token = Token(usize::MAX - 1);
/// Mail has come.
const MAIL_READY: Ready =
    Ready { id: Id::MAIL, readable: true, writable: false, closed: false, gone: false };
/// A deadline nearer than this is waited for by the alarm, to the microsecond. Up to then the
/// poll's own timeout serves, which rounds to milliseconds but costs no call: far enough to hide
/// that, and far below the idle timeouts that connections move.
const NEAR: time::Duration = time::Duration::from_millis(4);
/// A deadline that is farther than this, as the clock was when the last poll returned, is waited
/// for half that way without a look at the clock: a server whose connections all have idle
/// timeouts looks once a turn. Nothing is late by it unless a turn took seconds.
const FAR: u64 = 10_000_000_000;
/// What is asked of a stream's input. Urgent data is not read, but must be known of: a read stops
/// short in front of it.
const INPUT: Interest = Interest::READABLE.add(Interest::PRIORITY);
const BOTH: Interest = INPUT.add(Interest::WRITABLE);

enum Kind {
    TcpListener(TcpListener),
    /// With the path that it made; boxed, since each connection's entry is as wide as the widest.
    UnixListener(Box<(UnixListener, Option<Made>)>),
    /// With whether it is registered for writing too.
    Tcp(TcpStream, bool),
    Unix(UnixStream, bool),
    Udp(UdpSocket, Udp),
    /// With the path that it made.
    UnixDatagrams(Box<(UnixDatagram, Option<Made>)>),
    Signals(UnixStream),
    Foreign,
}

impl Kind {
    fn tcp(both: bool) -> impl FnOnce(TcpStream) -> Kind {
        move |s| Kind::Tcp(s, both)
    }

    fn unix(both: bool) -> impl FnOnce(UnixStream) -> Kind {
        move |s| Kind::Unix(s, both)
    }
}

struct Entry {
    kind: Kind,
    id: Id,
}

/// What an event is told by: the entry, and the low half of its owner's birth.
fn token(fd: Fd, id: Id) -> Token {
    Token(fd.0 as usize | (id.birth as u32 as usize) << 32)
}

struct Watch {
    id: Id,
    fd: Fd,
    flags: Vec<(i32, Arc<AtomicBool>)>,
    hooks: Vec<signal_hook::SigId>,
}

/// The real world.
pub struct Os {
    poll: Poll,
    events: Events,
    entries: Slab<Entry>,
    alarm: Alarm,
    /// What the clock said last.
    told: Instant,
    /// When the alarm rings; a time that is past when it is silent.
    rings: Instant,
    /// What the clock showed when this world began.
    start: u64,
    mailbox: Option<Mailbox>,
    threads: Threads,
    watches: Vec<Watch>,
    batches: Option<Box<Batches>>,
}

impl Os {
    /// Opens the poll.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn new() -> io::Result<Os> {
        let (poll, alarm) = (Poll::new()?, Alarm::new()?);
        poll.registry().register(&mut SourceFd(&alarm.fd()), ALARM, Interest::READABLE)?;
        Ok(Os {
            poll,
            events: Events::with_capacity(EVENTS),
            entries: Slab::new(),
            alarm,
            told: Instant(0),
            rings: Instant(0),
            start: raw::monotonic(),
            mailbox: None,
            threads: Threads::default(),
            watches: Vec::new(),
            batches: None,
        })
    }

    /// Registers a user's own source of mio's. It stays the user's; its readiness goes to `id`,
    /// whose driver is the user's own `impl Driver<Os>`.
    ///
    /// # Errors
    /// What the kernel says of the registration.
    pub fn watch(&mut self, source: &mut dyn Source, id: Id, interest: Interest) -> io::Result<Fd> {
        let (key, token) = self.vacant(id);
        self.poll.registry().register(source, token, interest)?;
        self.entries.insert(Entry { kind: Kind::Foreign, id });
        Ok(key)
    }

    /// Ends what [`Os::watch`] began.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn unwatch(&mut self, source: &mut dyn Source, fd: Fd) -> io::Result<()> {
        self.entries.try_remove(fd.0 as usize);
        self.poll.registry().deregister(source)
    }

    fn vacant(&self, id: Id) -> (Fd, Token) {
        let fd = Fd(self.entries.vacant_key() as u32);
        (fd, token(fd, id))
    }

    fn seat<S: Source>(
        &mut self,
        mut source: S,
        id: Id,
        interest: Interest,
        kind: impl FnOnce(S) -> Kind,
    ) -> io::Result<Fd> {
        let (fd, token) = self.vacant(id);
        self.poll.registry().register(&mut source, token, interest)?;
        self.entries.insert(Entry { kind: kind(source), id });
        Ok(fd)
    }

    /// How long the poll may wait by its own means: until the deadline if the alarm does not serve
    /// it. Sets the alarm when the deadline is near, and it would not ring by then.
    fn timeout(&mut self, until: Option<Instant>) -> io::Result<Option<time::Duration>> {
        let at = match until {
            None => return Ok(None),
            Some(Instant(0)) => return Ok(Some(time::Duration::ZERO)),
            Some(at) => at,
        };
        let far = at.0.saturating_sub(self.told.0);
        if far > FAR {
            return Ok(Some(time::Duration::from_secs(far / 2_000_000_000)));
        }
        let now = self.now();
        let left = at.since(now);
        if left.is_zero() {
            return Ok(Some(left));
        }
        if left > NEAR {
            // Short of it by what the poll may be late: a rounding, and the kernel's slack, a
            // thousandth of the wait up to 100 ms. The rest is waited for in the next round.
            let millis = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
            let short = 2 + (millis / 512).min(128);
            return Ok(Some(time::Duration::from_millis(millis - short)));
        }
        // One that rings too soon stays: a deadline that every message moves ahead costs a call
        // for each time it comes near, not one for each message.
        if self.rings <= now || self.rings > at {
            self.alarm.set(left)?;
            self.rings = at;
        }
        Ok(Some(left))
    }

    /// Appends what the poll has found.
    fn tell(&mut self, ready: &mut Vec<Ready>) {
        for event in &self.events {
            let token = event.token().0;
            let Some(entry) = self.entries.get(token & 0xffff_ffff) else {
                // Our own tokens are those of no entry.
                if token == MAIL.0 {
                    ready.push(MAIL_READY);
                } else if token == ALARM.0 {
                    self.rings = Instant(0);
                }
                continue;
            };
            if entry.id.birth as u32 as usize != token >> 32 {
                continue;
            }
            let closed = event.is_read_closed() | event.is_priority();
            let gone = event.is_error();
            ready.push(Ready {
                id: entry.id,
                readable: event.is_readable() | closed | gone,
                writable: event.is_writable() | gone,
                closed: closed | gone,
                gone,
            });
        }
    }

    #[inline]
    fn kind(&self, fd: Fd) -> io::Result<&Kind> {
        self.entries.get(fd.0 as usize).map(|e| &e.kind).ok_or_else(wrong_kind)
    }

    fn udp(&mut self, fd: Fd) -> io::Result<(&UdpSocket, &mut Udp)> {
        match self.entries.get_mut(fd.0 as usize).map(|e| &mut e.kind) {
            Some(Kind::Udp(socket, udp)) => Ok((socket, udp)),
            _ => Err(wrong_kind()),
        }
    }
}

/// The poll's own descriptor, for a foreign loop: readable when a turn would find something ready.
/// Deadlines are the foreign loop's to keep; see [`Loop::next_deadline`](crate::Loop).
impl AsFd for Os {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.poll.registry().as_fd()
    }
}

impl AsRawFd for Os {
    fn as_raw_fd(&self) -> RawFd {
        self.poll.as_raw_fd()
    }
}

impl Drop for Os {
    fn drop(&mut self) {
        for hook in self.watches.drain(..).flat_map(|w| w.hooks) {
            signal_hook::low_level::unregister(hook);
        }
    }
}

/// A call on a socket that cannot do it: a driver's mistake, never a peer's.
#[cold]
fn wrong_kind() -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, "not a socket of the kind that this call needs")
}

fn domain(at: SocketAddr) -> Domain {
    if at.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 }
}

fn address(at: &SockAddr) -> Address {
    match at.as_socket() {
        Some(at) => Address::Ip(at),
        None => Address::Unix(unix_path(at)),
    }
}

/// The path, empty when unnamed, with a NUL before an abstract name.
fn unix_path(at: &SockAddr) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    if let Some(name) = at.as_abstract_namespace() {
        let mut bytes = vec![0];
        bytes.extend_from_slice(name);
        return PathBuf::from(std::ffi::OsString::from_vec(bytes));
    }
    at.as_pathname().map(PathBuf::from).unwrap_or_default()
}

/// Runs a call again for as long as signals interrupt it.
#[inline(always)]
fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

impl World for Os {
    #[inline]
    fn now(&mut self) -> Instant {
        self.told = Instant(raw::monotonic() - self.start + 1);
        self.told
    }

    fn unix_time(&mut self) -> time::Duration {
        // A clock set before 1970 is wrong in any case.
        time::SystemTime::now().duration_since(time::UNIX_EPOCH).unwrap_or_default()
    }

    fn poll(&mut self, until: Option<Instant>, ready: &mut Vec<Ready>) -> io::Result<()> {
        let before = ready.len();
        loop {
            let timeout = self.timeout(until)?;
            match self.poll.poll(&mut self.events, timeout) {
                Err(e) if e.kind() == ErrorKind::Interrupted => return Ok(()),
                other => other?,
            }
            self.tell(ready);
            // A ring that nobody waits for any more, or the first part of a far wait.
            let Some(at) = until.filter(|_| ready.len() == before) else { return Ok(()) };
            if timeout == Some(time::Duration::ZERO) || self.now() >= at {
                return Ok(());
            }
        }
    }

    fn random(&mut self, into: &mut [u8]) {
        // The kernel's generator fails only where there is none: nothing could go on safely then.
        getrandom::fill(into).expect("the kernel's random generator");
    }

    fn close(&mut self, fd: Fd) {
        self.entries.try_remove(fd.0 as usize);
    }

    fn watch_signals(&mut self, signals: &[i32], id: Id) -> io::Result<()> {
        if signals.iter().any(|signal| signal_hook::consts::FORBIDDEN.contains(signal)) {
            return Err(io::Error::new(ErrorKind::InvalidInput, "a signal that cannot be caught"));
        }
        let (read, write) = std::os::unix::net::UnixStream::pair()?;
        read.set_nonblocking(true)?;
        let fd = self.seat(UnixStream::from_std(read), id, Interest::READABLE, Kind::Signals)?;
        // Of a watch that fails half way, the hooks that stand are taken back with the world.
        self.watches.push(Watch { id, fd, flags: Vec::new(), hooks: Vec::new() });
        let watch = self.watches.last_mut().expect("pushed above");
        for &signal in signals {
            // The flag first: whoever is woken by the pipe finds it raised.
            let flag = Arc::new(AtomicBool::new(false));
            watch.hooks.push(signal_hook::flag::register(signal, flag.clone())?);
            let pipe = write.try_clone()?;
            watch.hooks.push(signal_hook::low_level::pipe::register(signal, pipe)?);
            watch.flags.push((signal, flag));
        }
        Ok(())
    }

    fn next_signal(&mut self, watch: Id) -> Option<i32> {
        let watch = self.watches.iter().find(|w| w.id == watch)?;
        if let Some(Entry { kind: Kind::Signals(pipe), .. }) =
            self.entries.get_mut(watch.fd.0 as usize)
        {
            while matches!(retry(|| pipe.read(&mut [0; 64])), Ok(1..)) {}
        }
        let raised = watch.flags.iter().find(|(_, flag)| flag.swap(false, Ordering::AcqRel));
        raised.map(|(signal, _)| *signal)
    }

    fn mailbox(&mut self) -> io::Result<Mailbox> {
        if let Some(mailbox) = &self.mailbox {
            return Ok(mailbox.clone());
        }
        let waker = Waker::new(self.poll.registry(), MAIL)?;
        // Waking fails only with the poll itself, and then nobody is there to be woken.
        let mailbox = Mailbox::new(move || drop(waker.wake()));
        Ok(self.mailbox.insert(mailbox).clone())
    }

    fn offload(&mut self, job: Job) -> io::Result<Option<Done>> {
        let mailbox = self.mailbox()?;
        self.threads.submit(job, &mailbox)?;
        Ok(None)
    }

    fn mail(&mut self, into: &mut Vec<Mail>) {
        if let Some(mailbox) = &self.mailbox {
            mailbox.take(into);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// What a poll until then would do: how long it waits by itself, and for when the alarm is set.
    fn wait(os: &mut Os, until: Instant) -> (Duration, Instant) {
        (os.timeout(Some(until)).unwrap().expect("an end"), os.rings)
    }

    #[test]
    fn far_deadlines_cost_no_call_however_often_they_move() {
        let mut os = Os::new().unwrap();
        for n in 0..1000 {
            let until = os.now().after(Duration::from_secs(60) + Duration::from_micros(n));
            let (wait, rings) = wait(&mut os, until);
            assert_eq!(rings, Instant(0), "the alarm is not touched");
            assert!((29..=30).contains(&wait.as_secs()), "half the way: {wait:?}");
            let until = Instant(os.told.0 + FAR);
            let (wait, rings) = self::wait(&mut os, until);
            assert_eq!(rings, Instant(0), "the alarm is not touched");
            assert_eq!(wait.as_secs(), 9, "short of it: {wait:?}");
        }
    }

    #[test]
    fn a_near_deadline_that_moves_ahead_costs_one_call() {
        let mut os = Os::new().unwrap();
        let first = os.now().after(NEAR / 2);
        assert_eq!(wait(&mut os, first).1, first);
        assert_eq!(wait(&mut os, first.after(NEAR / 4)).1, first, "it rings soon enough");
        let sooner = Instant(first.0 - 1_000_000);
        assert_eq!(wait(&mut os, sooner).1, sooner);
        let mut ready = Vec::new();
        os.poll(Some(first), &mut ready).unwrap();
        assert!(os.now() >= first && ready.is_empty());
        let now = os.now();
        assert!(os.rings <= now, "silent again");
    }
}
