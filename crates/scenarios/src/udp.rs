//! Questions and answers by datagrams: each is asked again until it is answered, and none comes
//! twice that the network did not double. What is too long for the network, or finds no buffers,
//! is told to who sent it, once, and the next goes all the same; a client asks for less then.

use crate::plan::Plan;
use crate::stage::{Run, Setting, Stage, idle, piece};
use crate::unix::Office;
use loopwork::sim::SplitMix;
use loopwork::udp::{self, Io, Protocol};
use loopwork::{Env, Id};
use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// Questions of one socket.
const QUESTIONS: u32 = 12;
/// Of them asked at once: a batch.
const AHEAD: u32 = 4;
/// Longer than the way there and back without a fault.
const RETRY: Duration = Duration::from_millis(20);
/// Clients by Unix datagrams, at most.
const OFFICE: u32 = 2;
/// Tries of all questions together, before a run has failed.
const TRIES: u32 = 10_000;
/// A number in front of a datagram's bytes. A question has room for two, so that its answer is
/// no longer than it.
const NUMBER: usize = 8;
const HEAD: usize = 2 * NUMBER;
/// The longest datagram of a network that takes no long ones: from .. to. Clients ask for no less
/// than what goes everywhere.
const NARROW: std::ops::Range<u64> = 100..4000;
const GOES: usize = 64;
const EMSGSIZE: i32 = 90;
const ENOBUFS: i32 = 105;

/// What one socket has seen.
#[derive(Default)]
struct Seen {
    numbers: BTreeSet<(SocketAddr, u64)>,
    /// How many came that had come before.
    repeats: u64,
    /// Datagrams that were queued, and those of them that it was told were not sent.
    sent: u64,
    refused: u64,
}

impl Seen {
    fn note(&mut self, from: SocketAddr, bytes: &[u8]) -> u64 {
        let number = bytes.get(..NUMBER).and_then(|n| n.try_into().ok()).map(u64::from_be_bytes);
        let number = number.expect("a whole number");
        self.repeats += u64::from(!self.numbers.insert((from, number)));
        number
    }

    /// A datagram was not sent; whether it was too long.
    fn refuse(&mut self, to: Option<SocketAddr>, error: &io::Error) -> bool {
        assert!(to.is_some(), "{error}: of one datagram, and not of the socket");
        self.refused += 1;
        let code = error.raw_os_error();
        assert!(matches!(code, Some(EMSGSIZE | ENOBUFS)), "{error}: what the world has said");
        code == Some(EMSGSIZE)
    }
}

/// Gives back what it is asked, with a number of its own in front.
#[derive(Default)]
struct Server {
    seen: Seen,
    closed: u32,
}

impl Protocol for Server {
    fn on_datagram(&mut self, io: &mut Io<'_>, from: SocketAddr, bytes: &mut [u8]) {
        self.seen.note(from, bytes);
        self.seen.sent += 1;
        let number = self.seen.sent.to_be_bytes();
        let parts = [&number, &bytes[..NUMBER], &bytes[HEAD..]];
        assert!(io.send_parts(from, &parts) != udp::Sent::Dropped);
    }
    fn on_error(&mut self, _: &mut Io<'_>, to: Option<SocketAddr>, error: io::Error) {
        let long = self.seen.refuse(to, &error);
        assert!(!long, "an answer is no longer than its question");
    }
    fn on_close(&mut self, _: Id, _: &mut Env) {
        self.closed += 1;
    }
}

struct Client {
    server: SocketAddr,
    n: u32,
    sizes: Vec<usize>,
    /// The longest datagram that it tries.
    limit: usize,
    open: BTreeSet<u32>,
    seen: Seen,
    closed: u32,
}

impl Client {
    fn new(server: SocketAddr, n: u32, bytes: u32, dice: &mut SplitMix) -> Client {
        let bits = u64::from(bytes.clamp(2, 1 << 13).ilog2());
        let mut size = || (dice.next_u64() % (1 << (1 + dice.next_u64() % bits))) as usize;
        let sizes = (0..QUESTIONS).map(|_| size()).collect();
        let (limit, open) = (udp::MAX_PAYLOAD, BTreeSet::new());
        Client { server, n, sizes, limit, open, seen: Seen::default(), closed: 0 }
    }

    fn bytes(&self, question: u32) -> Vec<u8> {
        piece(self.n + question, 0, self.sizes[question as usize].min(self.limit - HEAD))
    }

    /// Asks what has no answer yet.
    fn ask(&mut self, io: &mut Io<'_>, questions: &[u32]) {
        for question in questions {
            self.open.insert(*question);
            let bytes = self.bytes(*question);
            let number = (u64::from(*question) << 32 | self.seen.sent).to_be_bytes();
            self.seen.sent += 1;
            let parts = [&number, &[0; NUMBER][..], &bytes];
            assert!(io.send_parts(self.server, &parts) != udp::Sent::Dropped);
        }
        assert!(self.seen.sent < u64::from(TRIES), "never answered");
        io.set_deadline(Some(io.env.now.after(RETRY)));
    }
}

impl Protocol for Client {
    fn on_open(&mut self, io: &mut Io<'_>) {
        io.associate(self.server);
        self.ask(io, &Vec::from_iter(0..AHEAD));
    }
    fn on_datagram(&mut self, io: &mut Io<'_>, from: SocketAddr, bytes: &mut [u8]) {
        assert_eq!(from, self.server, "from a stranger");
        self.seen.note(from, bytes);
        let (number, body) = bytes[NUMBER..].split_at(NUMBER);
        let number: [u8; NUMBER] = number.try_into().expect("so long");
        let question = (u64::from_be_bytes(number) >> 32) as u32;
        assert!(question < QUESTIONS, "another answer");
        // To a question that was longer once.
        let whole = piece(self.n + question, 0, self.sizes[question as usize]);
        let long = body.len() == whole.len() || body.len() + HEAD >= self.limit;
        assert!(long && whole.starts_with(body), "another answer");
        if self.open.remove(&question) && question + AHEAD < QUESTIONS {
            self.ask(io, &[question + AHEAD]);
        }
    }
    fn on_timeout(&mut self, io: &mut Io<'_>) {
        if self.open.is_empty() && io.queued_datagrams() == 0 {
            return io.close();
        }
        let open = Vec::from_iter(self.open.iter().copied());
        self.ask(io, &open);
    }
    fn on_error(&mut self, _: &mut Io<'_>, to: Option<SocketAddr>, error: io::Error) {
        if self.seen.refuse(to, &error) {
            let longest = self.sizes.iter().max().map_or(0, |size| size + HEAD);
            self.limit = (self.limit.min(longest) * 3 / 4).max(GOES);
        }
    }
    fn on_close(&mut self, _: Id, _: &mut Env) {
        self.closed += 1;
    }
}

pub(crate) fn run(plan: &Plan, setting: Setting) -> Run {
    let mut stage = Stage::new(plan, setting);
    if stage.dice.next_u64().is_multiple_of(2) {
        let longest = NARROW.start + stage.dice.next_u64() % (NARROW.end - NARROW.start);
        if let Some(sim) = stage.lp.world.world() {
            sim.faults().datagram_max = longest as usize;
        }
    }
    let here = SocketAddr::from(([127, 0, 0, 1], 0));
    let (server, at) = udp::bind(&mut stage.lp, here, Server::default()).expect("a port");
    let clients = Vec::from_iter((0..plan.connections).map(|n| {
        let client = Client::new(at, n * QUESTIONS, plan.bytes, &mut stage.dice);
        udp::bind(&mut stage.lp, here, client).expect("a port").0
    }));
    let office = Office::new(&mut stage, plan.connections.min(OFFICE));
    for client in &clients {
        stage.until("all is answered", |lp| lp.get(*client).id().is_none());
    }
    // What is still on its way is answered too, and nobody is there any more.
    while !idle(&mut stage.lp) {
        stage.turn();
    }
    office.close(&mut stage);
    let waiting = udp::with(&mut stage.lp, server, |_, io| io.queued_datagrams());
    assert_eq!(waiting, Some(0), "at rest nothing waits");
    udp::close(&mut stage.lp, server);
    let mut seen = vec![std::mem::take(&mut stage.lp.get(server).protocol.seen)];
    assert_eq!(stage.lp.get(server).protocol.closed, 1, "closed once");
    for client in clients {
        let client = &mut stage.lp.get(client).protocol;
        assert_eq!(client.closed, 1, "closed once");
        seen.push(std::mem::take(&mut client.seen));
    }
    let sum = |f: fn(&Seen) -> u64| seen.iter().map(f).sum::<u64>();
    let (repeats, sent, refused) = (sum(|s| s.repeats), sum(|s| s.sent), sum(|s| s.refused));
    let Some(stats) = stage.lp.world.world().map(|sim| sim.stats()) else {
        return stage.finish().0;
    };
    assert!(repeats <= stats.duplicated, "{repeats} came twice, {} doubled", stats.duplicated);
    assert!(refused == stats.refused, "{refused} are told of {} that were not sent", stats.refused);
    let left = stats.sent + stats.refused;
    assert!(left == sent, "{left} were tried of {sent}");
    stage.finish().0
}
