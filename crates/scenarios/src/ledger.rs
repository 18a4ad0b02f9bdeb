//! A protocol around a protocol that keeps the books: what it was shown and what it wrote, in
//! which order it was called, and whether that is what a protocol may rely on.
//!
//! Rules of this file:
//! * It changes nothing: the protocol inside sees and does what it would without it.
//! * It knows the contract of [`tcp::Protocol`] and nothing of what is inside.
//! * What does not hold is a panic that says so; the seed that led there is the caller's to tell.

use loopwork::reactor::{Env, Id, Instant};
use loopwork::sim::{Sim, Unserved, Waiting};
use loopwork::tcp::{self, CARRY_MAX, Close, Io, Protocol, Refusal};
use loopwork::{Address, Flow};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

/// Turns within which bytes that a resumed protocol had left are shown again: the turn that asked,
/// or the next one's `again` when a budget was spent.
pub const TURNS_TO_RESHOW: u64 = 2;
/// Turns within which a connection that wants bytes, and was told of some, has asked for them: the
/// turn that told, or the next one's `again` when a budget was spent, or when it wanted them only
/// since.
pub const TURNS_TO_READ: u64 = 1;
/// Times that one connection may be shown bytes in one turn: sixteen reads of a visit, sixteen
/// rounds behind it, and a few visits, since the world tells the same more than once at times.
pub const SHOWS_PER_TURN: u32 = 200;
/// How long connections may wait at a listener that could not accept: the longest of its rests,
/// half a second, and some.
pub const REST: Duration = Duration::from_millis(510);
/// The driver of sockets that nobody serves: a test's own, outside of its loop.
pub const STRANGER: u16 = 77;

/// One end of a connection that is over.
pub struct Ended {
    /// The host's name.
    pub host: &'static str,
    /// Which of the host's connections.
    pub id: Id,
    /// Why it is over.
    pub why: Close,
    /// All that the protocol wrote.
    pub sent: Vec<u8>,
    /// All that it was shown, each byte once.
    pub received: Vec<u8>,
    /// It wrote behind its own end, where bytes may be dropped.
    pub loose: bool,
}

/// What all watched protocols of one loop have written down.
#[derive(Default)]
pub struct Ledger {
    /// Connections that are over, in that order.
    pub ended: Vec<Ended>,
    /// States given to the loop: by accepting, by dialing.
    pub given: u64,
    /// The turn that runs; whoever drives the loop counts it.
    pub turn: u64,
    /// How late a timer may be: as long as the world holds a program up at most.
    pub late: Duration,
    /// Wakes that were asked for and have not come.
    wakes: BTreeSet<Id>,
    /// Births that are open or over.
    births: BTreeSet<Id>,
    /// Who must be shown what it had left, until which turn.
    due: BTreeMap<Id, u64>,
    /// Who wants bytes, since which turn.
    listening: BTreeMap<Id, u64>,
    /// What the callback that runs has written that stands in its buffer as something else: from
    /// where, up to where, and what it is in plain bytes.
    inserts: Vec<(usize, usize, Vec<u8>)>,
}

/// Shared by the protocols of one loop, and by who drives it.
pub type Book = Rc<RefCell<Ledger>>;

impl Ledger {
    /// Someone will be woken; a wake that nobody announced is a failure.
    pub fn expect_wake(&mut self, id: Id) {
        self.wakes.insert(id);
    }

    /// A turn is over.
    ///
    /// # Panics
    /// A connection has waited longer than it may for bytes that lie there.
    pub fn turn_over(&mut self) {
        for (id, until) in &self.due {
            assert!(self.turn <= *until, "{id} resumed and is not shown what it had left");
        }
        self.turn += 1;
    }

    /// Whoever was told of something and wants it has asked for it by now, whoever else is busy.
    /// For the end of a turn.
    ///
    /// # Panics
    /// When that is not so.
    pub fn nobody_starves(&self, world: &mut Sim) {
        let (polls, now) = (world.stats().polls, world.time());
        for Unserved { id, what, polls: told, at } in world.unserved() {
            let (turns, time) = (polls - told, now.since(at));
            let fine = match what {
                _ if id.driver == STRANGER => true,
                Waiting::Connections => time <= REST,
                Waiting::Bytes => turns <= TURNS_TO_READ || !self.has_listened(id),
                _ => turns <= TURNS_TO_READ,
            };
            assert!(fine, "{id} starves: told of {what:?} {turns} turns and {time:?} ago");
        }
    }

    /// Whether this connection has wanted bytes for so long that whatever it was told of before
    /// must have been read.
    fn has_listened(&self, id: Id) -> bool {
        self.listening.get(&id).is_some_and(|since| self.turn - since > TURNS_TO_READ)
    }

    /// When everything is closed: each state once, and what one end wrote is what the other was
    /// shown; a part of it from the beginning, where connections may break (`broken`). Of dials of
    /// several addresses so many at most have stood and lost (`losers`): the server saw them come
    /// and go, without a byte.
    ///
    /// # Panics
    /// When that is not so.
    pub fn balance(&self, broken: bool, server: &str, client: &str, mut losers: usize) {
        self.closed();
        let of = |name: &str| self.ended.iter().filter(|e| e.host == name).collect::<Vec<_>>();
        let (mut servers, mut clients) = (of(server), of(client));
        // Whose dial has failed has no peer; in a world that breaks one may have seen it come.
        let failed = |c: &Ended| matches!(c.why, Close::Dial(_)) && c.received.is_empty();
        clients.retain(|c| broken || !failed(c));
        let fits = |to: &Ended, from: &Ended| {
            let ended = to.why == Close::Finished && from.why == Close::Finished;
            match broken || from.loose || !ended {
                true => from.sent.starts_with(&to.received),
                false => from.sent == to.received,
            }
        };
        // The silent last: a dial that lost has no peer, so they must not take another's.
        let silent = |end: &Ended| end.received.is_empty() && end.sent.is_empty();
        servers.sort_by_key(|end| silent(end));
        let pair = |end: &Ended, c: &Ended| fits(end, c) && fits(c, end);
        let fit = |end: &&Ended| (0..clients.len()).filter(|c| pair(end, clients[*c])).collect();
        let fit: Vec<Vec<usize>> = servers.iter().map(fit).collect();
        let mut peers = vec![None; clients.len()];
        for (at, end) in servers.iter().enumerate() {
            let found = match broken {
                true => !fit[at].is_empty(),
                false => find_peer(&fit, at, &mut peers, &mut vec![false; clients.len()]),
            };
            if !found && silent(end) && losers > 0 {
                losers -= 1;
            } else if !found {
                let (id, n, m) = (end.id, end.received.len(), end.sent.len());
                panic!("no peer sent the {n} bytes of {server} {id} and got its {m}");
            }
        }
        let alone = clients.iter().zip(&peers).find(|(_, peer)| peer.is_none() && !broken);
        if let Some((c, _)) = alone {
            let (id, n, m, why) = (c.id, c.sent.len(), c.received.len(), c.why);
            panic!("{client} {id} has no peer: it sent {n} bytes, got {m}, and was {why}");
        }
    }

    /// Every state that was given is closed.
    ///
    /// # Panics
    /// When one is not.
    pub fn closed(&self) {
        let (ended, given) = (self.ended.len() as u64, self.given);
        assert!(ended == given, "{given} states were given, and {ended} are closed");
        let none = self.due.is_empty() && self.listening.is_empty();
        assert!(none, "who is closed waits for nothing");
    }
}

/// A connection's state, and what is known of it.
pub struct Seen<C> {
    conn: C,
    id: Option<Id>,
    open: bool,
    end: bool,
    /// The output was full, and has not emptied since.
    full: bool,
    loose: bool,
    /// It was told that its dial has failed.
    failed: bool,
    /// It wants bytes, as the ledger knows.
    listens: bool,
    /// The turn in which it was last shown something, and how often.
    shown: (u64, u32),
    sent: Vec<u8>,
    received: Vec<u8>,
    left: Vec<u8>,
    deadline: Option<Instant>,
}

/// A protocol whose connections are watched.
pub struct Watched<P> {
    /// The protocol itself.
    pub inner: P,
    book: Book,
    host: &'static str,
}

impl<P: Protocol> Watched<P> {
    /// Watches `inner`, under a name.
    pub fn new(host: &'static str, book: &Book, inner: P) -> Self {
        Watched { inner, book: book.clone(), host }
    }

    /// The state for a connection that is to be dialed.
    pub fn seat(book: &Book, conn: P::Conn) -> Seen<P::Conn> {
        book.borrow_mut().given += 1;
        Seen {
            conn,
            id: None,
            open: false,
            end: false,
            full: false,
            loose: false,
            failed: false,
            listens: false,
            shown: (0, 0),
            sent: Vec::new(),
            received: Vec::new(),
            left: Vec::new(),
            deadline: None,
        }
    }

    /// Calls the protocol, and looks at what it did.
    fn call<R>(
        &mut self,
        seen: &mut Seen<P::Conn>,
        io: &mut Io<'_>,
        what: &str,
        f: impl FnOnce(&mut P, &mut P::Conn, &mut Io<'_>) -> R,
    ) -> R {
        assert!(seen.id == Some(io.id), "{what}: one connection, one id");
        assert!(seen.open == (what != "on_open"), "{what}: on_open comes first, and once");
        assert!(io.wish.aborting().is_none(), "{what}: nothing comes behind an abort");
        let before = io.out.buffer().len();
        let (was_ending, was_paused) = (io.ending(), io.paused());
        let answer = f(&mut self.inner, &mut seen.conn, io);
        let (buffer, mut at) = (io.out.buffer(), before);
        seen.loose |= was_ending && buffer.len() > before;
        for (from, to, bytes) in self.book.borrow_mut().inserts.drain(..) {
            seen.sent.extend_from_slice(&buffer[at..from]);
            seen.sent.extend_from_slice(&bytes);
            at = to;
        }
        seen.sent.extend_from_slice(&buffer[at..]);
        seen.full |= io.flow() == Flow::Full;
        seen.deadline = io.deadline();
        let aborts = io.wish.aborting().is_some();
        let stopped = io.paused() || io.ending() || aborts;
        let shown = !seen.full || io.wish.reads_when_full();
        let mut book = self.book.borrow_mut();
        let listens = shown && !io.paused() && !aborts && !seen.end;
        if std::mem::replace(&mut seen.listens, listens) != listens {
            let since = book.turn;
            match listens {
                true => book.listening.insert(io.id, since),
                false => book.listening.remove(&io.id),
            };
        }
        if stopped || !shown {
            book.due.remove(&io.id);
        } else if was_paused && what != "on_data" && !seen.left.is_empty() {
            let until = book.turn + TURNS_TO_RESHOW;
            book.due.insert(io.id, until);
        }
        answer
    }

    fn take_in(&self, seen: &mut Seen<P::Conn>, io: &Io<'_>, bytes: &[u8]) {
        assert!(!io.paused(), "who has paused is shown nothing");
        let open = !seen.full || io.wish.reads_when_full();
        assert!(open, "who is full is shown nothing");
        assert!(bytes.starts_with(&seen.left), "what was left is shown again, as it was");
        let new = &bytes[seen.left.len()..];
        assert!(!seen.end || new.is_empty(), "behind the end comes nothing");
        assert!(!bytes.is_empty(), "no bytes are no data");
        seen.received.extend_from_slice(new);
        let mut book = self.book.borrow_mut();
        book.due.remove(&io.id);
        if seen.shown.0 != book.turn {
            seen.shown = (book.turn, 0);
        }
        seen.shown.1 += 1;
        let shows = seen.shown.1;
        assert!(shows <= SHOWS_PER_TURN, "shown bytes {shows} times in one turn");
    }
}

impl<P: Protocol> Protocol for Watched<P> {
    type Conn = Seen<P::Conn>;

    fn on_accept(&mut self, env: &mut Env, id: Id, peer: &Address) -> Option<Self::Conn> {
        let conn = self.inner.on_accept(env, id, peer)?;
        let mut seen = Self::seat(&self.book, conn);
        seen.id = Some(id);
        Some(seen)
    }

    fn on_open(&mut self, seen: &mut Self::Conn, io: &mut Io<'_>) {
        seen.id.get_or_insert(io.id);
        assert!(self.book.borrow_mut().births.insert(io.id), "{} was there before", io.id);
        self.call(seen, io, "on_open", |p, c, io| p.on_open(c, io));
        seen.open = true;
    }

    fn on_data(&mut self, seen: &mut Self::Conn, io: &mut Io<'_>, bytes: &mut [u8]) -> usize {
        self.take_in(seen, io, bytes);
        let used = self.call(seen, io, "on_data", |p, c, io| p.on_data(c, io, bytes));
        seen.left.clear();
        seen.left.extend_from_slice(&bytes[used..]);
        let bound = seen.left.len() <= CARRY_MAX + loopwork::reactor::READ_MAX;
        assert!(bound, "{} bytes are kept", seen.left.len());
        used
    }

    fn on_drain(&mut self, seen: &mut Self::Conn, io: &mut Io<'_>) {
        assert!(std::mem::take(&mut seen.full), "a drain behind what was never full");
        assert!(!io.ending(), "who has ended waits for no room");
        self.call(seen, io, "on_drain", |p, c, io| p.on_drain(c, io));
    }

    fn on_end(&mut self, seen: &mut Self::Conn, io: &mut Io<'_>) {
        assert!(!std::mem::replace(&mut seen.end, true), "the end comes once");
        self.call(seen, io, "on_end", |p, c, io| p.on_end(c, io));
    }

    fn on_timeout(&mut self, seen: &mut Self::Conn, io: &mut Io<'_>) {
        let Some(at) = seen.deadline.take() else { panic!("a timeout without a deadline") };
        assert!(io.env.now >= at, "a timer is {:?} early", at.since(io.env.now));
        let late = self.book.borrow().late;
        assert!(io.env.now.since(at) <= late, "a timer is {:?} late", io.env.now.since(at));
        self.call(seen, io, "on_timeout", |p, c, io| p.on_timeout(c, io));
    }

    fn on_wake(&mut self, seen: &mut Self::Conn, io: &mut Io<'_>) {
        assert!(self.book.borrow_mut().wakes.remove(&io.id), "nobody woke {}", io.id);
        self.call(seen, io, "on_wake", |p, c, io| p.on_wake(c, io));
    }

    fn on_shutdown(&mut self, seen: &mut Self::Conn, io: &mut Io<'_>) {
        self.call(seen, io, "on_shutdown", |p, c, io| p.on_shutdown(c, io));
    }

    fn on_close(&mut self, seen: Self::Conn, id: Id, env: &mut Env, why: Close) {
        assert!(seen.id.is_none_or(|of| of == id), "one connection, one id");
        let dialed = matches!(why, Close::Dial(_));
        assert!(!(seen.open && dialed), "what is open is no dial");
        assert!(!seen.failed || why.dial_error().is_some(), "{why} behind a dial that failed");
        let mut book = self.book.borrow_mut();
        book.due.remove(&id);
        book.wakes.remove(&id);
        book.listening.remove(&id);
        assert!(!book.ended.iter().any(|e| e.id == id), "{id} is closed twice");
        let Seen { sent, received, loose, .. } = seen;
        book.ended.push(Ended { host: self.host, id, why, sent, received, loose });
        drop(book);
        self.inner.on_close(seen.conn, id, env, why);
    }

    fn on_dial_failed(
        &mut self,
        seen: &mut Self::Conn,
        env: &mut Env,
        tried: &[(SocketAddr, ErrorKind)],
    ) {
        assert!(!seen.open, "what is open is no dial");
        assert!(!std::mem::replace(&mut seen.failed, true), "a dial fails once");
        self.inner.on_dial_failed(&mut seen.conn, env, tried);
    }

    fn on_drop(&mut self, env: &mut Env, peer: &Address, why: Refusal) {
        self.inner.on_drop(env, peer, why);
    }

    fn on_accept_error(&mut self, env: &mut Env, error: &std::io::Error) {
        self.inner.on_accept_error(env, error);
    }
}

/// Writes by `write` what is `bytes` on the wire, and tells the ledger: for output that is not
/// copied, of which the buffer does not have the bytes.
pub fn insert<R>(
    book: &Book,
    io: &mut Io<'_>,
    bytes: &[u8],
    write: impl FnOnce(&mut Io<'_>) -> R,
) -> R {
    let from = io.out.buffer().len();
    let answer = write(io);
    let to = io.out.buffer().len();
    book.borrow_mut().inserts.push((from, to, bytes.to_vec()));
    answer
}

/// Wakes a connection of a watched protocol, `delay` from now, and says so to its ledger.
pub fn wake_later(env: &mut Env, book: &Book, id: Id, delay: Duration) {
    let book = book.clone();
    env.after(delay, move |env| {
        book.borrow_mut().expect_wake(id);
        env.wake(id);
    });
}

/// Adds a watched protocol to a loop, without a listener.
pub fn add<W: loopwork::reactor::Streams, P: Protocol>(
    lp: &mut loopwork::Loop<W>,
    host: &'static str,
    book: &Book,
    inner: P,
) -> loopwork::Handle<tcp::Host<Watched<P>>> {
    tcp::add(lp, |_| Watched::new(host, book, inner))
}

/// Finds a peer for a server among those that fit, each server's own: all bytes are of one
/// pattern, so a client may fit several, and whoever has it already looks for another.
fn find_peer(
    fit: &[Vec<usize>],
    server: usize,
    peers: &mut [Option<usize>],
    asked: &mut [bool],
) -> bool {
    for &client in &fit[server] {
        if std::mem::replace(&mut asked[client], true) {
            continue;
        }
        if peers[client].is_none_or(|other| find_peer(fit, other, peers, asked)) {
            peers[client] = Some(server);
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_fits_several_leaves_each_its_own() {
        // The first fits both, the second the first alone; the third nobody but a taken one.
        let fit = [vec![0, 1], vec![0], vec![0]];
        let mut peers = [None; 2];
        assert!(find_peer(&fit, 0, &mut peers, &mut [false; 2]));
        assert!(find_peer(&fit, 1, &mut peers, &mut [false; 2]));
        assert_eq!(peers, [Some(1), Some(0)]);
        assert!(!find_peer(&fit, 2, &mut peers, &mut [false; 2]));
        assert_eq!(peers, [Some(1), Some(0)]);
    }
}
