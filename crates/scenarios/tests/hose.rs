//! Beside a fire hose, and beside a burst of connections, the quiet ones are answered as if they
//! were alone.

use loopwork::reactor::{Id, ListenOptions, Streams};
use loopwork::sim::{ALWAYS, Choice, Decider, Faults, Sim, SplitMix};
use loopwork::tcp::{self, ACCEPTS_PER_TURN, Close, Host, Io, Protocol, READS_PER_TURN};
use loopwork::{Address, Env, Handle, Instant, Loop};
use loopwork_scenarios::ledger::{self, Book, STRANGER, Watched};
use std::net::SocketAddr;
use std::time::Duration;

/// Clients that ask and wait for their answer.
const QUIET: usize = 20;
/// What a hose sends: each read takes a byte of it.
const HOSE: usize = 30_000;
/// Those of a burst.
const BURST: usize = 1000;
/// There and back, without a fault.
const THERE_AND_BACK: Duration = Duration::from_micros(100);
/// A turn costs one microsecond of this world: so many of them may pass until a question that has
/// come is answered, or an answer that has come is seen.
const TURNS: u32 = 8;
/// Turns of a test: ten times what it takes.
const MOST: usize = 100_000;

/// Every read takes one byte, and everything else is as the dice say.
struct Bytewise(SplitMix);

impl Decider for Bytewise {
    fn pick(&mut self, what: Choice, sides: u64) -> u64 {
        match what {
            Choice::CutRead => sides - 1,
            what => self.0.pick(what, sides),
        }
    }
}

/// Answers what it is asked, and counts whom it lets in.
#[derive(Default)]
struct Server {
    book: Book,
    turn: u64,
    accepted: usize,
    most: usize,
    taken: usize,
}

impl Protocol for Server {
    type Conn = ();

    fn on_accept(&mut self, _: &mut Env, _: Id, _: &Address) -> Option<()> {
        let turn = self.book.borrow().turn;
        let before = if self.turn == turn { self.accepted } else { 0 };
        (self.turn, self.accepted) = (turn, before + 1);
        self.most = self.most.max(self.accepted);
        Some(())
    }

    fn on_data(&mut self, (): &mut (), io: &mut Io<'_>, bytes: &mut [u8]) -> usize {
        match bytes[0] {
            b'?' => drop(io.write(b"!")),
            _ => self.taken += bytes.len(),
        }
        bytes.len()
    }
}

/// Asks again and again until it is told to stop, and notes how long it took.
#[derive(Default)]
struct Clients {
    longest: Duration,
    answers: u32,
    stop: bool,
    over: usize,
}

enum Client {
    Quiet(Instant),
    Hose,
}

impl Protocol for Clients {
    type Conn = Client;

    fn on_open(&mut self, client: &mut Client, io: &mut Io<'_>) {
        match client {
            Client::Quiet(since) => {
                *since = io.env.now;
                let _ = io.write(b"?");
            }
            Client::Hose => {
                let _ = io.write(&[b'.'; HOSE]);
                io.end();
            }
        }
    }

    fn on_data(&mut self, client: &mut Client, io: &mut Io<'_>, bytes: &mut [u8]) -> usize {
        let Client::Quiet(since) = client else { panic!("nobody answers a hose") };
        assert_eq!(bytes, b"!");
        self.longest = self.longest.max(io.env.now.since(*since));
        self.answers += 1;
        *since = io.env.now;
        match self.stop {
            true => io.end(),
            false => drop(io.write(b"?")),
        }
        1
    }

    fn on_close(&mut self, _: Client, _: Id, _: &mut Env, why: Close) {
        assert_eq!(why, Close::Finished);
        self.over += 1;
    }
}

type To<P> = Handle<Host<Watched<P>>>;

struct Test {
    lp: Loop<Sim>,
    book: Book,
    server: To<Server>,
    clients: To<Clients>,
    at: SocketAddr,
}

impl Test {
    /// A server, and its quiet clients at work.
    fn new(faults: Faults) -> Test {
        let sim = Sim::with_decider(Bytewise(SplitMix::new(7)), faults);
        let (mut lp, book) = (Loop::new(sim), Book::default());
        // What the virtual clock counts: a turn is a microsecond.
        book.borrow_mut().late = Duration::from_millis(1);
        let of = Server { book: book.clone(), ..Server::default() };
        let server = ledger::add(&mut lp, "server", &book, of);
        let here = Address::Ip(SocketAddr::from(([127, 0, 0, 1], 0)));
        let at = tcp::listen_at(&mut lp, server, &here, &ListenOptions::default()).expect("a port");
        let clients = ledger::add(&mut lp, "client", &book, Clients::default());
        let at = at.ip().expect("an IP address");
        let mut test = Test { lp, book, server, clients, at };
        (0..QUIET).for_each(|_| test.dial(Client::Quiet(Instant::default())));
        test.until(|test| test.clients().answers > 4 * QUIET as u32);
        test.clients().longest = Duration::ZERO;
        test
    }

    fn dial(&mut self, client: Client) {
        let conn = Watched::<Clients>::seat(&self.book, client);
        tcp::dial(&mut self.lp.env, self.clients, self.at, conn);
    }

    fn clients(&mut self) -> &mut Clients {
        &mut self.lp.get(self.clients).protocol.inner
    }

    fn server(&mut self) -> &mut Server {
        &mut self.lp.get(self.server).protocol.inner
    }

    /// Turns until it is so; how many.
    fn until(&mut self, mut done: impl FnMut(&mut Test) -> bool) -> usize {
        for turns in 0..MOST {
            if done(self) {
                return turns;
            }
            self.lp.turn(None).expect("a turn");
            let mut book = self.book.borrow_mut();
            book.nobody_starves(&mut self.lp.world);
            book.turn_over();
        }
        panic!("it comes to no end");
    }

    /// The quiet ones have had their answers meanwhile, as fast as they come.
    fn judge(mut self) {
        let Clients { longest, answers, over, .. } = *self.clients();
        let bound = THERE_AND_BACK + 2 * Duration::from_micros(TURNS.into());
        assert!(longest <= bound, "a quiet one has waited {longest:?}");
        self.clients().stop = true;
        self.until(|test| test.clients().over == over + QUIET);
        assert!(answers > 8 * QUIET as u32, "there was something to wait for: {answers}");
        tcp::unlisten(&mut self.lp.env, self.server);
        self.until(|test| !test.lp.env.calls.alive());
        self.book.borrow().closed();
    }
}

#[test]
fn a_fire_hose_takes_its_turns_beside_the_quiet_ones() {
    let faults = Faults { cut_read: ALWAYS, ..Faults::none() };
    let mut test = Test::new(faults);
    test.dial(Client::Hose);
    test.until(|test| test.server().taken > 0);
    let turns = test.until(|test| test.server().taken == HOSE);
    assert!(turns * 2 * READS_PER_TURN >= HOSE, "all of it in {turns} turns");
    test.until(|test| test.clients().over == 1);
    test.judge();
}

/// The burst comes from outside of the loop, and says nothing.
#[test]
fn a_burst_of_connections_takes_its_turns_too() {
    let mut test = Test::new(Faults::none());
    let id = Id { birth: 1, slot: 0, driver: STRANGER };
    let dial = |test: &mut Test| test.lp.world.connect(&test.at.into(), None, id).expect("a port");
    let burst = Vec::from_iter((0..BURST).map(|_| dial(&mut test)));
    let all = QUIET + BURST;
    test.until(|test| test.lp.get(test.server).len() == all);
    let most = test.server().most;
    assert!(most >= ACCEPTS_PER_TURN, "they have come at once: {most} in a turn");
    assert!(most <= 2 * ACCEPTS_PER_TURN, "{most} in one turn");
    let answers = test.clients().answers;
    test.until(|test| test.clients().answers > answers + 4 * QUIET as u32);
    burst.into_iter().for_each(|fd| loopwork::World::close(&mut test.lp.world, fd));
    test.judge();
}
