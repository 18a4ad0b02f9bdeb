//! Connecting to whichever of a name's addresses answers first: RFC 8305, "Happy Eyeballs".
//!
//! Rules of this file:
//! * One seat, one state, one `on_close`: the attempts are sockets beside it. Each has a birth of
//!   its own, so that what comes late for a loser misses the winner.
//! * The seat takes over the winner's birth, and with it whatever its socket is told. Nobody has
//!   been told the birth that it had before.
//! * A race has one timer: the next attempt's time, or the end of all.

use crate::{CONNECT_TIMEOUT, Close, Host, Protocol};
use loopwork_reactor::{
    ConnectOptions, Cx, Driver, Env, Fd, Handle, Id, Instant, Ready, Streams, TimerKey, Trace,
};
use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

/// Between the beginnings of two attempts, when none has failed: RFC 8305 §5 recommends it.
pub const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// A shorter delay is raised to this: below it even neighbours would be asked all at once (§5).
pub const ATTEMPT_DELAY_MIN: Duration = Duration::from_millis(10);
/// A longer one is lowered to this: §8 names it as the longest.
pub const ATTEMPT_DELAY_MAX: Duration = Duration::from_secs(2);
/// Addresses that are tried, at most: more than any honest name has. Each costs a descriptor for
/// as long as it does not answer.
pub const ADDRESSES_MAX: usize = 64;

/// The descriptor of a seat whose race is on: no world gives it.
const NO_FD: Fd = Fd(u32::MAX);

/// Whom to dial, one of several; see [`dial_any`].
pub struct DialAny<C> {
    /// The peer's addresses, in the order of preference. The families take turns, beginning with
    /// the first address's (§4). Of more than [`ADDRESSES_MAX`] the last are not tried.
    pub to: Vec<SocketAddr>,
    /// Settings of each socket; one that it cannot have fails its attempt.
    pub how: ConnectOptions,
    /// How long all of it may take.
    pub timeout: Duration,
    /// When the next attempt begins although none has failed, at least [`ATTEMPT_DELAY_MIN`] and
    /// at most [`ATTEMPT_DELAY_MAX`].
    pub delay: Duration,
    /// The connection's state.
    pub conn: C,
}

/// Dials several addresses of one peer, one after the other and soon beside each other; the first
/// connection that stands is the one. It has `on_open`; the others are closed, and nobody hears
/// of them. When none stands within [`CONNECT_TIMEOUT`], there are
/// [`on_dial_failed`](Protocol::on_dial_failed), with each error, and `on_close`: with
/// [`Close::Dial`] and the last error, or [`Close::Blocked`] if every address is blocked.
///
/// An attempt that fails lets the next begin at once; else it begins [`ATTEMPT_DELAY`] after the
/// one before, which goes on. For one attempt alone, as Node without `autoSelectFamily`, give one
/// address.
pub fn dial_any<P: Protocol>(
    env: &mut Env,
    handle: Handle<Host<P>>,
    to: Vec<SocketAddr>,
    conn: P::Conn,
) {
    let (how, timeout, delay) = (ConnectOptions::default(), CONNECT_TIMEOUT, ATTEMPT_DELAY);
    DialAny { to, how, timeout, delay, conn }.send(env, handle);
}

impl<C: 'static> DialAny<C> {
    /// As [`dial_any`], with everything said.
    pub fn send<P: Protocol<Conn = C>>(self, env: &mut Env, handle: Handle<Host<P>>) {
        env.calls.post(handle.driver, Box::new(self));
    }
}

/// A dial that failed before there was an address, as when a name has none: `on_close` takes the
/// state, with [`Close::Dial`].
pub fn fail_dial<P: Protocol>(
    env: &mut Env,
    handle: Handle<Host<P>>,
    why: ErrorKind,
    conn: P::Conn,
) {
    env.calls.post(handle.driver, Box::new(Failed { why, conn }));
}

/// What [`fail_dial`] posts.
pub(crate) struct Failed<C> {
    pub(crate) why: ErrorKind,
    pub(crate) conn: C,
}

/// Which of a name's addresses are wanted, and which first.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Family {
    /// All, as the resolver sorted them (Node's `family: 0`).
    #[default]
    Any,
    /// IPv4 alone (`family: 4`).
    V4,
    /// IPv6 alone (`family: 6`).
    V6,
    /// All, and IPv4 first.
    V4First,
    /// All, and IPv6 first.
    V6First,
}

/// The addresses of the wanted family, or that family first. Otherwise their order stays.
#[must_use]
pub fn prefer(mut addresses: Vec<SocketAddr>, family: Family) -> Vec<SocketAddr> {
    match family {
        Family::Any => {}
        Family::V4 => addresses.retain(SocketAddr::is_ipv4),
        Family::V6 => addresses.retain(SocketAddr::is_ipv6),
        Family::V4First => addresses.sort_by_key(SocketAddr::is_ipv6),
        Family::V6First => addresses.sort_by_key(SocketAddr::is_ipv4),
    }
    addresses
}

/// §4: the first family's first address, then the other's, in turns; with a "First Address Family
/// Count" of one. What one family has more of comes last.
fn interleave(addresses: Vec<SocketAddr>) -> VecDeque<SocketAddr> {
    let first = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (of_first, of_other): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|at| at.is_ipv6() == first);
    let (mut of_first, mut of_other) = (of_first.into_iter(), of_other.into_iter());
    let mut list = VecDeque::new();
    loop {
        let pair = [of_first.next(), of_other.next()];
        if pair == [None, None] {
            list.truncate(ADDRESSES_MAX);
            return list;
        }
        list.extend(pair.into_iter().flatten());
    }
}

/// A connection that is begun and does not stand yet.
struct Attempt {
    to: SocketAddr,
    fd: Fd,
    birth: u64,
}

/// The attempts of one seat.
pub(crate) struct Race {
    waiting: VecDeque<SocketAddr>,
    under_way: Vec<Attempt>,
    failed: Vec<(SocketAddr, ErrorKind)>,
    /// Of those that failed, how many our own list forbids.
    blocked: usize,
    how: ConnectOptions,
    delay: Duration,
    /// When the next attempt begins.
    next: Instant,
    until: Instant,
    timer: TimerKey,
}

impl Race {
    /// Gives up what is under way.
    pub(crate) fn cancel<W: Streams>(self, cx: &mut Cx<'_, W>) {
        cx.env.calls.timers.cancel(self.timer);
        for attempt in self.under_way {
            cx.world.close(attempt.fd);
        }
    }

    fn arm(&mut self, env: &mut Env, id: Id) {
        let at = if self.waiting.is_empty() { self.until } else { self.until.min(self.next) };
        let timers = &mut env.calls.timers;
        self.timer = match timers.rearm(self.timer, at) {
            Some(timer) => timer,
            None => timers.arm(at, id),
        };
    }

    fn why(&self) -> Close {
        match self.failed.last() {
            Some(_) if self.blocked == self.failed.len() => Close::Blocked,
            Some((_, kind)) => Close::Dial(*kind),
            None => Close::Dial(ErrorKind::AddrNotAvailable),
        }
    }
}

impl<P: Protocol> Host<P> {
    /// A race begins.
    pub(crate) fn dial_any<W: Streams>(&mut self, cx: &mut Cx<'_, W>, dial: DialAny<P::Conn>) {
        let id = self.next_id(cx.env);
        self.seat(cx.env, id, NO_FD, dial.conn, true);
        let race = Race {
            waiting: interleave(dial.to),
            under_way: Vec::new(),
            failed: Vec::new(),
            blocked: 0,
            how: dial.how,
            delay: dial.delay.clamp(ATTEMPT_DELAY_MIN, ATTEMPT_DELAY_MAX),
            next: cx.env.now,
            until: cx.env.now.after(dial.timeout),
            timer: TimerKey::NONE,
        };
        self.races.insert(id.slot, race);
        self.next_attempt(cx, id);
    }

    /// Begins the next attempt, if there is one, and says when the one after it is due. Without
    /// any that is under way, the race is lost.
    fn next_attempt<W: Streams>(&mut self, cx: &mut Cx<'_, W>, id: Id) {
        let Some(race) = self.races.get_mut(&id.slot) else { return };
        while let Some(to) = race.waiting.pop_front() {
            if self.block_outbound.check(to.ip()) {
                race.failed.push((to, ErrorKind::PermissionDenied));
                race.blocked += 1;
                continue;
            }
            let birth = cx.env.calls.birth();
            let attempt = Id { birth, ..id };
            cx.env.note(attempt, Trace::Say("attempt"));
            match cx.world.connect_with(&to.into(), None, &race.how, attempt) {
                Ok(fd) => {
                    race.under_way.push(Attempt { to, fd, birth });
                    race.next = cx.env.now.after(race.delay);
                    break;
                }
                Err(e) => {
                    cx.env.note(attempt, Trace::Say("attempt failed"));
                    race.failed.push((to, e.kind()));
                }
            }
        }
        match race.under_way.is_empty() {
            true => self.lost(cx, id),
            false => race.arm(cx.env, id),
        }
    }

    /// No address is left, or no time.
    fn lost<W: Streams>(&mut self, cx: &mut Cx<'_, W>, id: Id) {
        let Some(race) = self.races.get(&id.slot) else { return };
        let why = race.why();
        if let Some(seat) = self.seats.get_mut(id.slot as usize) {
            self.protocol.on_dial_failed(&mut seat.conn, cx.env, &race.failed);
        }
        self.close(cx, id, why);
    }

    /// The id by which a seat is known while its race is on.
    fn racing(&self, slot: u32) -> Option<Id> {
        let birth = self.seats.get(slot as usize)?.link.birth;
        Some(Id { birth, slot, driver: self.driver })
    }

    /// Something is ready that no seat has: an attempt, or nothing any more.
    #[cold]
    pub(crate) fn attempt_ready<W: Streams>(&mut self, cx: &mut Cx<'_, W>, ready: Ready) {
        let slot = ready.id.slot;
        let (Some(id), Some(race)) = (self.racing(slot), self.races.get_mut(&slot)) else { return };
        let of = |a: &Attempt| a.birth == ready.id.birth;
        let Some(at) = race.under_way.iter().position(of) else { return };
        match cx.world.connected(race.under_way[at].fd) {
            Ok(()) => self.won(cx, at, ready),
            Err(e) if e.kind() == ErrorKind::WouldBlock => {}
            Err(e) => {
                let attempt = race.under_way.remove(at);
                cx.env.note(ready.id, Trace::Say("attempt failed"));
                cx.world.close(attempt.fd);
                race.failed.push((attempt.to, e.kind()));
                self.next_attempt(cx, id);
            }
        }
    }

    /// The seat becomes the winner's, and goes on as that of any dial whose socket is ready.
    fn won<W: Streams>(&mut self, cx: &mut Cx<'_, W>, at: usize, ready: Ready) {
        let Some(mut race) = self.races.remove(&ready.id.slot) else { return };
        let winner = race.under_way.remove(at);
        race.cancel(cx);
        if let Some(seat) = self.seats.get_mut(ready.id.slot as usize) {
            (seat.link.birth, seat.link.fd) = (winner.birth, winner.fd);
        }
        self.on_ready(cx, ready);
    }

    /// The timer of a race fired, if it is one: the next attempt is due, or the time is over.
    pub(crate) fn race_due<W: Streams>(&mut self, cx: &mut Cx<'_, W>, id: Id) -> bool {
        let known = self.racing(id.slot) == Some(id);
        let Some(race) = self.races.get_mut(&id.slot).filter(|_| known) else { return false };
        race.timer = TimerKey::NONE;
        if cx.env.now >= race.until {
            let late = race.under_way.iter().map(|a| (a.to, ErrorKind::TimedOut));
            race.failed.extend(late);
            cx.env.note(id, Trace::Timer);
            self.lost(cx, id);
        } else if cx.env.now >= race.next && !race.waiting.is_empty() {
            self.next_attempt(cx, id);
        } else {
            race.arm(cx.env, id);
        }
        true
    }
}
