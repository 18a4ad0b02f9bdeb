//! An echo on streams and its clients: what is sent comes back, whatever either side does on the
//! way.
//!
//! The server stops when full, leaves bytes and pauses, goes on when woken, wakes others, and
//! gives up who is silent; another one takes everything and says nothing. Clients come by TCP, by
//! a Unix socket, or to whichever of several addresses answers first. They send in pieces, or all
//! at once and more than an output holds; copied, shared, or from a file, which is too short at
//! times; they stall, end early, give up, say nothing. When one is over the next one comes, so
//! that slots are used again.

use crate::ledger::{self, Book, Watched, wake_later};
use crate::output::{Files, SHORT, STREAMS, give_back};
use crate::plan::Plan;
use crate::routes::{Route, Routes};
use crate::stage::{Run, Setting, Stage, pattern, piece, random};
use loopwork::tcp::{self, ATTEMPT_DELAY, Close, Dial, DialAny, Host, Io, Protocol};
use loopwork::{Address, Env, Flow, Handle, Id};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Virtual time in which all that is sent comes back, unless it never does.
const PATIENCE: Duration = Duration::from_secs(300);
/// The server gives up who says nothing for so long.
const SILENCE: Duration = Duration::from_secs(400);
/// How long a client that says nothing means to stay, and how long it stays when it has thought
/// about it again before that time is up.
const MUTE: Duration = Duration::from_millis(200);
const MUTE_AGAIN: Duration = Duration::from_millis(300);
/// Rounds of clients: the second finds the slots of the first.
const ROUNDS: u32 = 2;

struct Echo {
    book: Book,
    last: Id,
    /// It takes what it is sent, and says nothing.
    sink: bool,
}

impl Echo {
    fn answer(&self, io: &mut Io<'_>, bytes: &[u8]) {
        if !self.sink {
            give_back(&self.book, io, bytes);
        }
    }
}

impl Protocol for Echo {
    type Conn = ();

    fn on_accept(&mut self, _: &mut Env, _: Id, _: &Address) -> Option<()> {
        Some(())
    }

    fn on_open(&mut self, (): &mut (), io: &mut Io<'_>) {
        io.set_deadline(Some(io.env.now.after(SILENCE)));
    }

    fn on_data(&mut self, (): &mut (), io: &mut Io<'_>, bytes: &mut [u8]) -> usize {
        io.set_deadline(Some(io.env.now.after(SILENCE)));
        // Whoever spoke before may be gone by now: then it misses.
        let last = std::mem::replace(&mut self.last, io.id);
        match random(io.env, 8) {
            0 => {
                let some = random(io.env, bytes.len() as u32 + 1) as usize;
                self.answer(io, &bytes[..some]);
                io.pause();
                let delay = Duration::from_micros(random(io.env, 5000).into());
                wake_later(io.env, &self.book, io.id, delay);
                return some;
            }
            1 => wake_later(io.env, &self.book, last, Duration::from_millis(2)),
            _ => {}
        }
        self.answer(io, bytes);
        bytes.len()
    }

    fn on_wake(&mut self, (): &mut (), io: &mut Io<'_>) {
        io.resume();
    }
}

/// What a client does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Sends and ends, and takes what comes back.
    Plain,
    /// Takes it in small bites, and pauses between them.
    Slow,
    /// Gives up after so many bytes.
    Quits(usize),
    /// Opens and says nothing, until its own time is up.
    Mute,
    /// Promises more of a file than there is, and is given up for it.
    Short,
}

struct Client {
    book: Book,
    files: Files,
    breaks: bool,
    over: u32,
}

struct Job {
    n: u32,
    way: Way,
    route: Route,
    /// How many of its addresses answer.
    alive: usize,
    /// Nothing comes back.
    sink: bool,
    /// It writes in every form that there is.
    mixed: bool,
    size: usize,
    sent: usize,
    got: usize,
}

impl Client {
    /// A Unix socket has no reset: what breaks there looks like an end.
    fn may_end(&self, job: &Job) -> bool {
        self.breaks && matches!(&job.route, Route::One(Address::Unix(_)))
    }

    fn send(&self, job: &mut Job, io: &mut Io<'_>) {
        while job.sent < job.size {
            let left = job.size - job.sent;
            let (len, flow) = match job.mixed {
                true => self.files.write(&self.book, io, (job.n, job.sent, left)),
                false => {
                    let len = (1 + random(io.env, 9000) as usize).min(left);
                    (len, io.write(&piece(job.n, job.sent, len)))
                }
            };
            job.sent += len;
            if flow == Flow::Full {
                return;
            }
        }
        match job.way {
            Way::Short if job.sent == job.size => {
                job.sent += self.files.write_short(&self.book, io, job.n, job.sent);
            }
            Way::Short => {}
            _ => io.end(),
        }
    }
}

impl Protocol for Client {
    type Conn = Job;

    fn on_open(&mut self, job: &mut Job, io: &mut Io<'_>) {
        assert!(job.alive > 0, "it stands, and nobody is there");
        let patience = if job.way == Way::Mute { MUTE } else { PATIENCE };
        io.set_deadline(Some(io.env.now.after(patience)));
        io.read_when_full(true);
        if job.way == Way::Mute {
            return wake_later(io.env, &self.book, io.id, MUTE / 2);
        }
        self.send(job, io);
    }

    fn on_drain(&mut self, job: &mut Job, io: &mut Io<'_>) {
        self.send(job, io);
    }

    fn on_data(&mut self, job: &mut Job, io: &mut Io<'_>, bytes: &mut [u8]) -> usize {
        let mut take = bytes.len();
        if job.way == Way::Slow && random(io.env, 3) == 0 {
            take = 1 + random(io.env, take as u32) as usize;
            io.pause();
            let delay = Duration::from_micros(random(io.env, 9000).into());
            wake_later(io.env, &self.book, io.id, delay);
        }
        let right = bytes[..take].iter().enumerate();
        assert!(right.into_iter().all(|(at, b)| *b == pattern(job.n, job.got + at)), "other bytes");
        job.got += take;
        assert!(job.got <= job.sent, "more came back than was sent");
        if matches!(job.way, Way::Quits(at) if job.got >= at) {
            io.abort(Close::Aborted);
        }
        take
    }

    fn on_wake(&mut self, job: &mut Job, io: &mut Io<'_>) {
        if job.way == Way::Mute {
            return io.set_deadline(Some(io.env.now.after(MUTE_AGAIN)));
        }
        io.resume();
    }

    fn on_end(&mut self, job: &mut Job, io: &mut Io<'_>) {
        let usual = io.ending() || job.way == Way::Mute;
        assert!(usual || self.may_end(job), "the server ended first");
        io.end();
    }

    fn on_timeout(&mut self, job: &mut Job, io: &mut Io<'_>) {
        let (got, size) = (job.got, job.size);
        if job.way != Way::Mute {
            assert!(self.breaks, "{got} of {size} came back in time");
            return io.abort(Close::TimedOut);
        }
        // Whoever is not there will not end either.
        match io.ending() {
            true => io.abort(Close::TimedOut),
            false => io.set_deadline(Some(io.env.now.after(PATIENCE))),
        }
        io.end();
    }

    fn on_dial_failed(&mut self, job: &mut Job, _: &mut Env, tried: &[(SocketAddr, ErrorKind)]) {
        let Route::Race(to) = &job.route else { panic!("a dial of one address is no race") };
        assert!(job.alive == 0 || self.breaks, "nobody of {to:?} has answered: {tried:?}");
        let (mut to, mut told) = (to.clone(), Vec::from_iter(tried.iter().map(|(at, _)| *at)));
        to.sort();
        told.sort();
        // In a world that is slow the time may be over before the last has begun.
        let all = to == told || self.breaks && told.iter().all(|at| to.contains(at));
        assert!(all, "of {to:?} there are errors of {told:?}");
    }

    fn on_close(&mut self, job: Job, _: Id, _: &mut Env, why: Close) {
        self.over += 1;
        let quits = matches!(job.way, Way::Quits(_));
        let usual = match (job.alive, job.way) {
            (0, _) => matches!(why, Close::Dial(_)),
            (_, Way::Short) => why == Close::Aborted,
            _ => why == Close::Finished || quits,
        };
        assert!(usual || self.breaks, "{why} in a sound world, by {:?}", job.route);
        let all = job.got == if job.sink { 0 } else { job.sent };
        let fine = why != Close::Finished || all || quits || self.may_end(&job);
        assert!(fine, "an end before {} came back", job.sent);
    }
}

type Clients = Handle<Host<Watched<Client>>>;
type Server = Host<Watched<Echo>>;

fn dial(stage: &mut Stage, host: Clients, routes: &Routes, n: u32, bytes: u32) {
    let bits = 1 + stage.dice.next_u64() % u64::from(bytes.max(2).ilog2());
    let size = 1 + (stage.dice.next_u64() % (1 << bits)) as usize;
    let way = match stage.dice.next_u64() % 12 {
        0..=2 => Way::Slow,
        3 | 4 => Way::Quits(size / 2),
        5 => Way::Mute,
        6 if n < STREAMS => Way::Short,
        _ => Way::Plain,
    };
    let mixed = stage.dice.next_u64().is_multiple_of(3) && n < STREAMS;
    let size = match way {
        Way::Mute => 0,
        Way::Short => size.min(SHORT - 1),
        _ => size,
    };
    let route = routes.pick(&mut stage.dice);
    let (alive, sink) = (routes.alive(&route), routes.is_sink(&route));
    let (timeout, sent, got) = (PATIENCE, 0, 0);
    let job = Job { n, way, route: route.clone(), alive, sink, mixed, size, sent, got };
    let conn = Watched::<Client>::seat(&stage.book, job);
    match route {
        Route::One(to) => {
            Dial { to, from: None, timeout, conn }.send(&mut stage.lp.env, host);
        }
        Route::Race(to) => {
            stage.losers += alive.saturating_sub(1);
            let (how, delay) = (Default::default(), ATTEMPT_DELAY);
            DialAny { to, how, timeout, delay, conn }.send(&mut stage.lp.env, host);
        }
    }
}

/// Where the servers are: the one that answers at two ports and a path, the other at one of each.
fn listen(stage: &mut Stage, sink: Handle<Server>, server: Handle<Server>) -> Routes {
    let mut listen = |host, at: Address| {
        tcp::listen_at(&mut stage.lp, host, &at, &Default::default()).expect("a free address")
    };
    let mut port = |host, at: &str| {
        let at: SocketAddr = at.parse().expect("an address");
        listen(host, at.into()).ip().expect("an IP address")
    };
    let ports = [port(server, "127.0.0.1:0"), port(server, "[::1]:0")];
    let sinks = [port(sink, "127.0.0.1:0").into(), Address::Unix("/sink".into())];
    listen(sink, sinks[1].clone());
    let path = PathBuf::from("/echo");
    listen(server, Address::Unix(path.clone()));
    Routes::new(stage, ports, path, sinks)
}

pub(crate) fn run(plan: &Plan, setting: Setting) -> Run {
    let mut stage = Stage::new(plan, setting);
    let book = stage.book.clone();
    let [sink, server] = [true, false].map(|sink| {
        let echo = Echo { book: book.clone(), last: Id::NOBODY, sink };
        ledger::add(&mut stage.lp, "server", &book, echo)
    });
    let routes = listen(&mut stage, sink, server);
    let (files, breaks) = (Files::get(), plan.breaks());
    let client = Client { book: book.clone(), files, breaks, over: 0 };
    let client = ledger::add(&mut stage.lp, "client", &book, client);
    drop(book);
    let count = plan.connections;
    for n in 0..count * ROUNDS {
        stage.until("one is over", |lp| lp.get(client).inner_over() + count > n);
        dial(&mut stage, client, &routes, n, plan.bytes);
    }
    stage.until("all are over", |lp| lp.get(client).inner_over() == count * ROUNDS);
    tcp::unlisten(&mut stage.lp.env, server);
    tcp::unlisten(&mut stage.lp.env, sink);
    routes.close(&mut stage);
    let losers = stage.losers;
    let (run, ledger) = stage.finish();
    assert!(Files::are_free(), "a file is held by nobody");
    ledger.balance(breaks, "server", "client", losers);
    for end in &ledger.ended {
        let dial = matches!(end.why, Close::Dial(_));
        let fine = dial || matches!(end.why, Close::Finished | Close::Aborted | Close::Reset);
        assert!(fine || breaks, "{} {}: {}", end.host, end.id, end.why);
    }
    run
}

trait Over {
    fn inner_over(&self) -> u32;
}

impl Over for Host<Watched<Client>> {
    fn inner_over(&self) -> u32 {
        self.protocol.inner.over
    }
}
