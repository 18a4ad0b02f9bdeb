//! Questions and answers by datagrams: each is asked again until it is answered, and none comes
//! twice that the network did not double.

use crate::plan::Plan;
use crate::stage::{Run, Stage, piece};
use loopwork::reactor::Tracer;
use loopwork::sim::SplitMix;
use loopwork::udp::{self, Io, Protocol};
use loopwork::{Env, Id};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

/// Questions of one socket.
const QUESTIONS: u32 = 12;
/// Of them asked at once: a batch.
const AHEAD: u32 = 4;
/// Longer than the way there and back without a fault.
const RETRY: Duration = Duration::from_millis(20);
/// Tries of all questions together, before a run has failed.
const TRIES: u32 = 10_000;
/// A number in front of a datagram's bytes.
const NUMBER: usize = 8;

/// How many came that had come before.
#[derive(Default)]
struct Seen {
    numbers: BTreeSet<(SocketAddr, u64)>,
    repeats: u64,
    sent: u64,
}

impl Seen {
    fn note(&mut self, from: SocketAddr, bytes: &[u8]) -> u64 {
        let number = bytes.get(..NUMBER).and_then(|n| n.try_into().ok()).map(u64::from_be_bytes);
        let number = number.expect("a whole number");
        self.repeats += u64::from(!self.numbers.insert((from, number)));
        number
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
        assert!(io.send_parts(from, &[&number, bytes]) != udp::Sent::Dropped);
    }
    fn on_close(&mut self, _: Id, _: &mut Env) {
        self.closed += 1;
    }
}

struct Client {
    server: SocketAddr,
    n: u32,
    sizes: Vec<usize>,
    open: BTreeSet<u32>,
    seen: Seen,
    closed: u32,
}

impl Client {
    fn new(server: SocketAddr, n: u32, bytes: u32, dice: &mut SplitMix) -> Client {
        let bits = u64::from(bytes.clamp(2, 1 << 13).ilog2());
        let mut size = || (dice.next_u64() % (1 << (1 + dice.next_u64() % bits))) as usize;
        let sizes = (0..QUESTIONS).map(|_| size()).collect();
        Client { server, n, sizes, open: BTreeSet::new(), seen: Seen::default(), closed: 0 }
    }

    fn bytes(&self, question: u32) -> Vec<u8> {
        piece(self.n + question, 0, self.sizes[question as usize])
    }

    /// Asks what has no answer yet.
    fn ask(&mut self, io: &mut Io<'_>, questions: &[u32]) {
        for question in questions {
            self.open.insert(*question);
            let bytes = self.bytes(*question);
            let number = (u64::from(*question) << 32 | self.seen.sent).to_be_bytes();
            self.seen.sent += 1;
            assert!(io.send_parts(self.server, &[&number, &bytes]) != udp::Sent::Dropped);
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
        assert!(question < QUESTIONS && *body == *self.bytes(question), "another answer");
        if self.open.remove(&question) {
            match question + AHEAD {
                next if next < QUESTIONS => self.ask(io, &[next]),
                _ if self.open.is_empty() => io.close(),
                _ => {}
            }
        }
    }
    fn on_timeout(&mut self, io: &mut Io<'_>) {
        let open = Vec::from_iter(self.open.iter().copied());
        self.ask(io, &open);
    }
    fn on_close(&mut self, _: Id, _: &mut Env) {
        self.closed += 1;
    }
}

pub(crate) fn run(plan: &Plan, tracer: Option<Box<dyn Tracer>>) -> Run {
    let mut stage = Stage::new(plan, tracer);
    let here = SocketAddr::from(([127, 0, 0, 1], 0));
    let (server, at) = udp::bind(&mut stage.lp, here, Server::default()).expect("a port");
    let clients = Vec::from_iter((0..plan.connections).map(|n| {
        let client = Client::new(at, n * QUESTIONS, plan.bytes, &mut stage.dice);
        udp::bind(&mut stage.lp, here, client).expect("a port").0
    }));
    for client in &clients {
        stage.until("all is answered", |lp| lp.get(*client).id().is_none());
    }
    udp::close(&mut stage.lp, server);
    // What is still on its way finds nobody.
    let mut seen = vec![std::mem::take(&mut stage.lp.get(server).protocol.seen)];
    assert_eq!(stage.lp.get(server).protocol.closed, 1, "closed once");
    for client in clients {
        let client = &mut stage.lp.get(client).protocol;
        assert_eq!(client.closed, 1, "closed once");
        seen.push(std::mem::take(&mut client.seen));
    }
    let sum = |f: fn(&Seen) -> u64| seen.iter().map(f).sum::<u64>();
    let (repeats, sent) = (sum(|s| s.repeats), sum(|s| s.sent));
    let stats = stage.lp.world.stats();
    assert!(repeats <= stats.duplicated, "{repeats} came twice, {} doubled", stats.duplicated);
    assert!(stats.sent <= sent, "{} left that were {sent}", stats.sent);
    stage.finish().0
}
