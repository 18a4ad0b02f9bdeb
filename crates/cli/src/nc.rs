//! `loopwork nc`: stdin and stdout at one end of a connection.
//!
//! Rules of this file:
//! * The two directions are apart. The end of stdin ends ours and no more; the peer's end ends
//!   the other and no more. It is over when both have ended, and all that came is written.
//! * Nothing is read that cannot be passed on: a slow stdout pauses the connection, a slow peer
//!   the reading of stdin.
//! * One connection at a time has stdin and stdout. With `-k` others wait, unread.

mod arguments;
mod datagrams;
mod dump;
mod scan;

use crate::common::{self, Fail, Outcome, talk};
use crate::stdio::{CHUNK, Input, Output};
use arguments::Wanted;
use clap::{ArgMatches, Command};
use dump::Dump;
use loopwork::reactor::ListenOptions;
use loopwork::tcp::{self, CONNECT_TIMEOUT, Dial, Host, Io, Protocol};
use loopwork::{Address, Close, Env, Flow, Handle, Id, Loop, Os};
use std::collections::VecDeque;
use std::io::ErrorKind;
use std::time::Duration;

pub(crate) fn command() -> Command {
    arguments::command()
}

pub(crate) fn run(matches: &ArgMatches) -> Outcome {
    let wanted = Wanted::of(matches)?;
    match &wanted {
        Wanted { udp: true, .. } => datagrams::run(&wanted),
        Wanted { scan: true, .. } => scan::run(&wanted),
        _ => streams(&wanted),
    }
}

fn streams(wanted: &Wanted) -> Outcome {
    let mut addresses = VecDeque::from(wanted.place.addresses()?);
    let mut lp = Loop::new(Os::new()?);
    let input = Input::stdin(lp.mailbox()?, CHUNK)?;
    let output = Output::stdout(lp.mailbox()?)?;
    let first = if wanted.listen { addresses.pop_front() } else { None };
    let host = tcp::add(&mut lp, |me| Netcat {
        me,
        input,
        output: output.clone(),
        dump: wanted.hex.then(Dump::default),
        keep: wanted.keep,
        verbose: wanted.verbose,
        idle: wanted.wait,
        active: None,
        waiting: VecDeque::new(),
        addresses,
        stood: false,
        outcome: Ok(()),
    });
    // A Unix socket's path is taken away with its listener.
    common::end_at_once(&mut lp, move |env| tcp::unlisten(env, host))?;
    match first {
        None => lp.with(host, |host, cx| host.protocol.dial_next(cx.env)),
        Some(at) => {
            let listening = tcp::listen_at(&mut lp, host, &at, &ListenOptions::default());
            let at = listening.map_err(|error| common::cannot_listen(at, &error))?;
            talk(&match at {
                Address::Ip(at) => format!("listening on tcp://{at}"),
                Address::Unix(path) => format!("listening on unix://{}", path.display()),
            });
        }
    }
    lp.run()?;
    common::until(&mut lp, |wait| output.flushed(wait))?;
    unwritten(&output)?;
    std::mem::replace(&mut lp.get(host).protocol.outcome, Ok(()))
}

/// Nobody reads stdout any more, which is no news to whoever closed it, or there is no room.
pub(crate) fn unwritten(output: &Output) -> Outcome {
    match output.failed() {
        None => Ok(()),
        Some(ErrorKind::BrokenPipe) => Err(Fail::failed("")),
        Some(kind) => Err(Fail::failed(format!("cannot write to stdout: {kind}"))),
    }
}

/// What all connections of one run share.
struct Netcat {
    me: Handle<Host<Netcat>>,
    input: Input,
    output: Output,
    /// Shows what passes, if it is to be seen.
    dump: Option<Dump>,
    /// Accept one after the other.
    keep: bool,
    verbose: bool,
    idle: Option<Duration>,
    /// Who has stdin and stdout.
    active: Option<Id>,
    /// Who waits for them.
    waiting: VecDeque<Id>,
    /// Whom to dial, until one answers.
    addresses: VecDeque<Address>,
    /// A connection stood, or was accepted.
    stood: bool,
    outcome: Outcome,
}

/// One connection.
struct Talk {
    peer: Address,
    /// Bytes in both directions when the idle deadline was set.
    moved: u64,
}

impl Netcat {
    fn dial_next(&mut self, env: &mut Env) {
        let Some(to) = self.addresses.pop_front() else { return };
        let timeout = self.idle.unwrap_or(CONNECT_TIMEOUT);
        let conn = Talk { peer: to.clone(), moved: 0 };
        Dial { to, from: None, timeout, conn }.send(env, self.me);
    }

    fn note(&self, text: &str) {
        if self.verbose {
            talk(text);
        }
    }

    /// Its turn to have stdin and stdout.
    fn begin(&mut self, conn: &mut Talk, io: &mut Io<'_>) {
        self.active = Some(io.id);
        self.note(&format!("connected: {}", conn.peer));
        self.input.attach(io.id);
        self.output.attach(io.id);
        io.resume();
        self.pump(conn, io);
    }

    /// Sends what stdin has, and goes on receiving if stdout has room.
    fn pump(&mut self, conn: &mut Talk, io: &mut Io<'_>) {
        if self.output.failed().is_some() {
            return io.abort(Close::Aborted);
        }
        while io.flow() == Flow::Open
            && !io.ending()
            && let Some(chunk) = self.input.take()
        {
            if let Some(dump) = &mut self.dump {
                dump.sent(&chunk);
            }
            let _ = io.write(&chunk);
        }
        if self.input.finished() {
            io.end();
        }
        if self.output.flow() == Flow::Open {
            io.resume();
        }
        self.rearm(conn, io);
    }

    fn rearm(&self, conn: &mut Talk, io: &mut Io<'_>) {
        conn.moved = io.count.received + io.count.sent;
        io.set_deadline(self.idle.map(|idle| io.env.now.after(idle)));
    }
}

impl Protocol for Netcat {
    type Conn = Talk;

    fn on_accept(&mut self, env: &mut Env, _: Id, peer: &Address) -> Option<Talk> {
        if !self.keep {
            if std::mem::replace(&mut self.stood, true) {
                return None;
            }
            tcp::unlisten(env, self.me);
        }
        Some(Talk { peer: peer.clone(), moved: 0 })
    }

    fn on_open(&mut self, conn: &mut Talk, io: &mut Io<'_>) {
        self.stood = true;
        // The directions are apart: what comes in goes to stdout, and causes no output here.
        io.read_when_full(true);
        if self.active.is_some() {
            io.pause();
            self.waiting.push_back(io.id);
        } else {
            self.begin(conn, io);
        }
    }

    fn on_data(&mut self, conn: &mut Talk, io: &mut Io<'_>, bytes: &mut [u8]) -> usize {
        if let Some(dump) = &mut self.dump {
            dump.heard(bytes);
        }
        if self.output.push(bytes) == Flow::Full {
            io.pause();
        }
        self.rearm(conn, io);
        bytes.len()
    }

    fn on_drain(&mut self, conn: &mut Talk, io: &mut Io<'_>) {
        self.pump(conn, io);
    }

    fn on_wake(&mut self, conn: &mut Talk, io: &mut Io<'_>) {
        if self.active == Some(io.id) {
            self.pump(conn, io);
        } else if self.active.is_none() && self.waiting.front() == Some(&io.id) {
            self.waiting.pop_front();
            self.begin(conn, io);
        }
    }

    fn on_end(&mut self, conn: &mut Talk, io: &mut Io<'_>) {
        self.note(&format!("ended by {}", conn.peer));
        // Who listens on serves the next, whatever stdin still has; else stdin ends our side.
        if self.keep {
            io.end();
        }
    }

    fn on_timeout(&mut self, conn: &mut Talk, io: &mut Io<'_>) {
        // What waits for stdout is not idle.
        if conn.moved == io.count.received + io.count.sent && !io.paused() {
            self.note("nothing moved for too long");
            // What the kernel holds is still delivered, and our end behind it. A reset, which
            // may throw away what was delivered already, is for a peer that does not take it.
            return match io.out.buffer().is_empty() {
                true => io.abort(Close::Finished),
                false => io.abort(Close::TimedOut),
            };
        }
        self.rearm(conn, io);
    }

    fn on_close(&mut self, conn: Talk, id: Id, env: &mut Env, why: Close) {
        self.waiting.retain(|waits| *waits != id);
        if self.active == Some(id) {
            self.active = None;
            if let Some(next) = self.waiting.front() {
                env.wake(*next);
            }
        }
        let peer = &conn.peer;
        match why {
            Close::Dial(_) if !self.addresses.is_empty() => {
                self.note(&format!("cannot connect to {peer}: {why}"));
                self.dial_next(env);
            }
            Close::Dial(kind) => {
                let text = format!("cannot connect to {peer}: {why}{}", advice(kind));
                self.outcome = Err(Fail::failed(text));
            }
            Close::TimedOut if !self.keep => {
                let text = format!("{peer} took nothing for too long; what was under way is lost");
                self.outcome = Err(Fail::failed(text));
            }
            Close::Reset if self.keep => self.note(&format!("reset by {peer}")),
            Close::Reset => {
                let text = format!("{peer} reset the connection; what was under way is lost");
                self.outcome = Err(Fail::failed(text));
            }
            _ => self.note(&format!("over: {peer}")),
        }
    }
}

/// What to do when nobody answers.
pub(crate) fn advice(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::ConnectionRefused => "; nobody listens there",
        ErrorKind::TimedOut => "; is it up, and is a firewall between?",
        ErrorKind::NotFound => "; no such path",
        _ => "",
    }
}
