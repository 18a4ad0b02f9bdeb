//! An echo on streams and its clients: what is sent comes back, whatever either side does on the
//! way.
//!
//! The server stops when full, leaves bytes and pauses, goes on when woken, wakes others, and
//! gives up who is silent. Clients send in pieces, or all at once and more than an output holds;
//! they stall, end early, give up, say nothing. When one is over the next one comes, so that slots
//! are used again.

use crate::ledger::{self, Book, Watched, wake_later};
use crate::plan::Plan;
use crate::stage::{Run, Stage, pattern, piece, random};
use loopwork::reactor::Tracer;
use loopwork::tcp::{self, Close, Dial, Host, Io, Protocol};
use loopwork::{Address, Env, Flow, Handle, Id};
use std::net::SocketAddr;
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
                let _ = io.write(&bytes[..some]);
                io.pause();
                let delay = Duration::from_micros(random(io.env, 5000).into());
                wake_later(io.env, &self.book, io.id, delay);
                return some;
            }
            1 => wake_later(io.env, &self.book, last, Duration::from_millis(2)),
            _ => {}
        }
        let _ = io.write(bytes);
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
}

struct Client {
    book: Book,
    breaks: bool,
    over: u32,
}

struct Job {
    n: u32,
    way: Way,
    size: usize,
    sent: usize,
    got: usize,
}

impl Client {
    fn send(job: &mut Job, io: &mut Io<'_>) {
        while job.sent < job.size {
            let len = (1 + random(io.env, 9000) as usize).min(job.size - job.sent);
            let bytes = piece(job.n, job.sent, len);
            job.sent += len;
            if io.write(&bytes) == Flow::Full {
                return;
            }
        }
        io.end();
    }
}

impl Protocol for Client {
    type Conn = Job;

    fn on_open(&mut self, job: &mut Job, io: &mut Io<'_>) {
        let patience = if job.way == Way::Mute { MUTE } else { PATIENCE };
        io.set_deadline(Some(io.env.now.after(patience)));
        io.read_when_full(true);
        if job.way == Way::Mute {
            return wake_later(io.env, &self.book, io.id, MUTE / 2);
        }
        Client::send(job, io);
    }

    fn on_drain(&mut self, job: &mut Job, io: &mut Io<'_>) {
        Client::send(job, io);
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
        // Behind a full output the end is not wished yet.
        assert!(io.ending() || job.way == Way::Mute, "the server ended first");
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

    fn on_close(&mut self, job: Job, _: Id, _: &mut Env, why: Close) {
        self.over += 1;
        let quits = matches!(job.way, Way::Quits(_));
        assert!(why == Close::Finished || quits || self.breaks, "{why} in a sound world");
        let all = job.got == job.sent;
        assert!(why != Close::Finished || all || quits, "an end before {} came back", job.sent);
    }
}

type Clients = Handle<Host<Watched<Client>>>;

fn dial(stage: &mut Stage, host: Clients, to: SocketAddr, n: u32, bytes: u32) {
    let bits = 1 + stage.dice.next_u64() % u64::from(bytes.max(2).ilog2());
    let size = 1 + (stage.dice.next_u64() % (1 << bits)) as usize;
    let way = match stage.dice.next_u64() % 8 {
        0 | 1 => Way::Slow,
        2 => Way::Quits(size / 2),
        3 => Way::Mute,
        _ => Way::Plain,
    };
    let size = if way == Way::Mute { 0 } else { size };
    let conn = Watched::<Client>::seat(&stage.book, Job { n, way, size, sent: 0, got: 0 });
    let (to, from, timeout) = (to.into(), None, PATIENCE);
    Dial { to, from, timeout, conn }.send(&mut stage.lp.env, host);
}

pub(crate) fn run(plan: &Plan, tracer: Option<Box<dyn Tracer>>) -> Run {
    let mut stage = Stage::new(plan, tracer);
    let book = stage.book.clone();
    let echo = Echo { book: book.clone(), last: Id::NOBODY };
    let server = ledger::add(&mut stage.lp, "server", &book, echo);
    let at = Address::Ip(SocketAddr::from(([127, 0, 0, 1], 0)));
    let at = tcp::listen_at(&mut stage.lp, server, &at, &Default::default()).expect("a port");
    let at = at.ip().expect("an IP address");
    let client = Client { book: book.clone(), breaks: plan.breaks(), over: 0 };
    let client = ledger::add(&mut stage.lp, "client", &book, client);
    drop(book);
    let count = plan.connections;
    for n in 0..count * ROUNDS {
        stage.until("one is over", |lp| lp.get(client).inner_over() + count > n);
        dial(&mut stage, client, at, n, plan.bytes);
    }
    stage.until("all are over", |lp| lp.get(client).inner_over() == count * ROUNDS);
    tcp::unlisten(&mut stage.lp.env, server);
    let breaks = plan.breaks();
    let (run, ledger) = stage.finish();
    ledger.balance(breaks, "server", "client");
    for end in &ledger.ended {
        let fine = matches!(end.why, Close::Finished | Close::Aborted | Close::Reset);
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
