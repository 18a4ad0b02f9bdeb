//! Which connections a client has, who waits for one, and who gets the next.
//!
//! Rules of this file:
//! * A connection is for one address. Who waits for that address gets it in the order of asking.
//! * A place among all connections goes round the addresses that wait for one. If all places are
//!   taken, a connection that is free elsewhere is closed to make one; and so is one that has
//!   had its share, whoever waits for its address, as long as another address has none at all.

use super::{Exchange, Failure, Peer, Ticket, Wire, WireConn};
use crate::core::{Headers, Limits};
use loopwork_tcp::CONNECT_TIMEOUT;
use loopwork_tcp::reactor::{Calls, Env, Handle, Id};
use loopwork_tcp::{BlockList, Dial, Host};
use slab::Slab;
use std::collections::{HashMap, VecDeque};
use std::io::ErrorKind;
use std::rc::Rc;
use std::time::Duration;

/// Limits and deadlines of a client.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Of response heads and bodies.
    pub limits: Limits,
    /// Connections to one address; further requests wait. 256: as many as a busy proxy needs
    /// towards one server, while the descriptors last for several.
    pub per_address: usize,
    /// Connections in all. 1,000: below the 1,024 descriptors that a process commonly may have.
    pub connections: usize,
    /// Free connections that are kept to one address. 256, as Node's Agent.
    pub free_per_address: usize,
    /// Which of the free connections is used next: the one that has been free for longest, so that
    /// all of them stay in use, or the last one, so that those that are not needed end. The last
    /// one, as Node's Agent.
    pub oldest_first: bool,
    /// Requests that may wait for a connection, over all addresses; a further one is
    /// [`Failure::Crowded`]. 65,536: some 50 MB of heads of a common size.
    pub waiting: usize,
    /// Until a connection stands: 10 s. Then it is [`Failure::Connect`] with
    /// [`TimedOut`](std::io::ErrorKind::TimedOut).
    pub connect: Duration,
    /// From the end of a request to the end of the response's head, interim ones included:
    /// 300 s, as Node's `fetch`. Silence is noticed before that; this is for heads that drip.
    pub head: Option<Duration>,
    /// Without a byte in either direction while an exchange is under way: 60 s.
    pub timeout: Duration,
    /// From asking to the end of the response, with the wait for a connection; a tunnel that
    /// stands is past it. Not set, since nobody knows how much there is to send.
    pub exchange: Option<Duration>,
    /// How long a body waits for `100 Continue` if its head has `Expect: 100-continue`: 1 s, as
    /// curl does. It is sent then all the same (RFC 9110 §10.1.1).
    pub expect: Duration,
    /// How long a free connection is kept: 4 s, below the 5 s after which Node's server, the
    /// hastiest of the common ones, closes it. Less where the server says `Keep-Alive: timeout`:
    /// a second less than that.
    pub keep: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            limits: Limits::default(),
            per_address: 256,
            connections: 1000,
            free_per_address: 256,
            oldest_first: false,
            waiting: 65_536,
            connect: CONNECT_TIMEOUT,
            head: Some(Duration::from_secs(300)),
            timeout: Duration::from_secs(60),
            exchange: None,
            expect: Duration::from_secs(1),
            keep: Duration::from_secs(4),
        }
    }
}

/// Exchanges that a connection carries before it makes place for an address that has none, if all
/// places are taken: so a dial, which costs about as much as a request, is one of many.
const SHARE: u32 = 16;

/// How long before a server's own time a connection is closed: what is asked in its last second
/// may cross the server's close on the way.
const HURRY: Duration = Duration::from_secs(1);

/// How long a connection is kept after a response with these headers, if otherwise it is `keep`.
/// Zero: not at all.
pub(super) fn kept(keep: Duration, headers: &Headers<'_>) -> Duration {
    match headers.get_str("keep-alive").and_then(hinted) {
        Some(time) => time.saturating_sub(HURRY).min(keep),
        None => keep,
    }
}

/// `timeout=N` of a field `Keep-Alive`, in seconds (RFC 2068 §19.7.1.1 has the field; its
/// parameters are what servers send).
fn hinted(value: &str) -> Option<Duration> {
    let params = value.split(',').filter_map(|param| param.split_once('='));
    let mut times = params.filter(|(name, _)| name.trim().eq_ignore_ascii_case("timeout"));
    let seconds = times.next()?.1.trim().trim_matches('"').parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// The connections to one address.
#[derive(Default)]
struct Origin {
    /// The one that has been free for longest comes first.
    free: VecDeque<Id>,
    waiting: VecDeque<Ticket>,
    /// Those that met a dead connection: they wait for a new one, since another kept one may be as
    /// dead, and nothing is sent a third time.
    again: VecDeque<Ticket>,
    /// Connections, those being dialed among them.
    open: usize,
    dialing: usize,
}

impl Origin {
    /// Whether somebody waits for whom none is dialed yet, and one more may be.
    fn wants(&self, config: &Config) -> bool {
        self.waiting.len() + self.again.len() > self.dialing && self.open < config.per_address
    }
}

/// How connections are dialed that have something between the stream and HTTP; what it gives back
/// it cannot dial.
pub(super) type Layered =
    Rc<dyn Fn(&mut Env, Dial<WireConn>, &Peer) -> Result<(), (ErrorKind, Box<WireConn>)>>;

/// What all connections of a client share.
pub(super) struct Pool {
    /// Those to peers without a name; known as soon as the client is.
    pub(super) plain: Option<Handle<Host<Wire>>>,
    /// Those to peers with one.
    pub(super) layered: Option<Layered>,
    pub(super) block: BlockList,
    pub(super) exchanges: Slab<Exchange>,
    pub(super) config: Config,
    origins: HashMap<Peer, Origin>,
    /// Connections in all.
    open: usize,
    /// Requests that wait for one.
    waiting: usize,
    /// Addresses that wait for a place among all connections.
    blocked: VecDeque<Peer>,
    /// Free connections that make place for others.
    leaving: Vec<Id>,
    /// No connection is kept any more.
    pub(super) closing: bool,
}

impl Pool {
    pub(super) fn new(config: Config) -> Pool {
        Pool {
            plain: None,
            layered: None,
            block: BlockList::default(),
            exchanges: Slab::new(),
            config,
            origins: HashMap::new(),
            open: 0,
            waiting: 0,
            blocked: VecDeque::new(),
            leaving: Vec::new(),
            closing: false,
        }
    }

    pub(super) fn get(&mut self, t: Ticket) -> Option<&mut Exchange> {
        self.exchanges.get_mut(t.slot as usize).filter(|x| x.birth == t.birth)
    }

    /// Lets a request wait. True: a connection is to be dialed for it.
    pub(super) fn ask(&mut self, calls: &mut Calls, to: &Peer, t: Ticket) -> bool {
        if self.waiting >= self.config.waiting {
            if let Some(x) = self.get(t) {
                x.failure = Some(Failure::Crowded);
                calls.wake(x.owner);
            }
            return false;
        }
        self.waiting += 1;
        let origin = self.origins.entry(to.clone()).or_default();
        origin.waiting.push_back(t);
        let oldest = self.config.oldest_first;
        match if oldest { origin.free.pop_front() } else { origin.free.pop_back() } {
            Some(id) => {
                calls.wake(id);
                false
            }
            None => self.dials(calls, to),
        }
    }

    /// Lets a request wait for a new connection.
    pub(super) fn ask_again(&mut self, to: &Peer, t: Ticket) {
        self.waiting += 1;
        self.origins.entry(to.clone()).or_default().again.push_back(t);
    }

    /// The next one that waits for a connection to this address, which is `new` or was used.
    pub(super) fn next(&mut self, to: &Peer, new: bool) -> Option<Ticket> {
        let origin = self.origins.get_mut(to)?;
        let again = if new { origin.again.pop_front() } else { None };
        let next = again.or_else(|| origin.waiting.pop_front())?;
        self.waiting -= 1;
        Some(next)
    }

    /// It waits no longer.
    pub(super) fn forget(&mut self, to: &Peer, t: Ticket) {
        let Some(origin) = self.origins.get_mut(to) else { return };
        for line in [&mut origin.waiting, &mut origin.again] {
            if let Some(at) = line.iter().position(|w| *w == t) {
                line.remove(at);
                self.waiting -= 1;
            }
        }
        self.tidy(to);
    }

    fn wants(&self, to: &Peer) -> bool {
        self.origins.get(to).is_some_and(|origin| origin.wants(&self.config))
    }

    /// Whether one more connection is due: it counts as dialed then. If there is no place for it,
    /// its address waits for one.
    fn dials(&mut self, calls: &mut Calls, to: &Peer) -> bool {
        if !self.wants(to) {
            return false;
        }
        let place = self.open < self.config.connections;
        match self.origins.get_mut(to) {
            Some(origin) if place => {
                self.open += 1;
                origin.open += 1;
                origin.dialing += 1;
            }
            _ => {
                if !self.blocked.contains(to) {
                    self.blocked.push_back(to.clone());
                }
                self.evict(calls);
            }
        }
        place
    }

    /// Closes a free connection of the address that has most of them.
    fn evict(&mut self, calls: &mut Calls) {
        let most = self.origins.values_mut().max_by_key(|origin| origin.free.len());
        if let Some(id) = most.and_then(|origin| origin.free.pop_front()) {
            self.leaving.push(id);
            calls.wake(id);
        }
    }

    /// Whether a connection that carries nothing is to be closed, to make place.
    /// It has carried so many exchanges.
    pub(super) fn leaves(&mut self, id: Id, carried: u32) -> bool {
        self.forget_leaving(id) || carried >= SHARE && self.starving().is_some()
    }

    fn forget_leaving(&mut self, id: Id) -> bool {
        let at = self.leaving.iter().position(|leaving| *leaving == id);
        at.map(|at| self.leaving.swap_remove(at)).is_some()
    }

    /// Which of the blocked addresses has no connection at all: the one that waits for longest.
    fn starving(&self) -> Option<usize> {
        let starves = |to| self.origins.get(to).is_some_and(|o| o.open == 0) && self.wants(to);
        self.blocked.iter().position(starves)
    }

    /// Keeps a connection that is free. False: it is to be closed.
    pub(super) fn free(&mut self, to: &Peer, id: Id) -> bool {
        let wanted = self.blocked.iter().any(|to| self.wants(to));
        let origin = self.origins.entry(to.clone()).or_default();
        let room = !wanted && origin.free.len() < self.config.free_per_address;
        if room {
            origin.free.push_back(id);
        }
        room
    }

    /// No connection is kept from here on; those that were free, to be woken.
    pub(super) fn close(&mut self) -> Vec<Id> {
        self.closing = true;
        self.origins.values_mut().flat_map(|origin| origin.free.drain(..)).collect()
    }

    /// Whether a connection counts as free.
    pub(super) fn is_free(&self, to: &Peer, id: Id) -> bool {
        self.origins.get(to).is_some_and(|origin| origin.free.contains(&id))
    }

    /// A connection stands that was dialed.
    pub(super) fn stands(&mut self, to: &Peer) {
        if let Some(origin) = self.origins.get_mut(to) {
            origin.dialing -= 1;
        }
    }

    /// A connection is gone; `dialed`: it never stood.
    pub(super) fn gone(&mut self, to: &Peer, id: Id, dialed: bool) {
        self.forget_leaving(id);
        self.open -= 1;
        let Some(origin) = self.origins.get_mut(to) else { return };
        origin.open -= 1;
        origin.dialing -= usize::from(dialed);
        origin.free.retain(|free| *free != id);
    }

    /// Whom to dial now that a connection to `to` is gone.
    pub(super) fn due(&mut self, calls: &mut Calls, to: &Peer) -> Option<Peer> {
        self.tidy(to);
        if self.wants(to) && !self.blocked.contains(to) {
            self.blocked.push_back(to.clone());
        }
        while self.open < self.config.connections
            && let Some(next) = self.blocked.remove(self.starving().unwrap_or(0))
        {
            if self.dials(calls, &next) {
                if self.wants(&next) {
                    self.blocked.push_back(next.clone());
                }
                return Some(next);
            }
        }
        None
    }

    /// Forgets an address of which nothing is left.
    fn tidy(&mut self, to: &Peer) {
        let rest = |o: &Origin| o.open + o.waiting.len() + o.again.len();
        if self.origins.get(to).is_some_and(|origin| rest(origin) == 0) {
            self.origins.remove(to);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_of_its_patience() {
        for (value, seconds) in [
            ("timeout=5", Some(5)),
            ("timeout=5, max=100", Some(5)),
            ("max=100,Timeout = 7", Some(7)),
            ("timeout=\"9\"", Some(9)),
            ("timeout=0", Some(0)),
            ("max=100", None),
            ("timeout=soon", None),
            ("timeout=-1", None),
            ("timeout", None),
            ("", None),
        ] {
            assert_eq!(hinted(value), seconds.map(Duration::from_secs), "{value}");
        }
    }
}
