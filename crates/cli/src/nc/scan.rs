//! `nc -z`: who listens?
//!
//! Rules of this file:
//! * Ports are tried one after the other, each at every address of the host until one answers.
//! * Nothing is sent, and nothing of what the peer says is read.

use super::advice;
use super::arguments::Wanted;
use crate::common::{self, Fail, Outcome, talk};
use loopwork::tcp::{self, CONNECT_TIMEOUT, Dial, Host, Io, Protocol};
use loopwork::{Address, Close, Env, Handle, Id, Loop, Os};
use std::collections::VecDeque;
use std::time::Duration;

pub(super) fn run(wanted: &Wanted) -> Outcome {
    let addresses = VecDeque::from(wanted.place.addresses()?);
    let mut lp = Loop::new(Os::new()?);
    common::end_at_once(&mut lp, |_| {})?;
    let many = wanted.place.ports() > 1;
    let host = tcp::add(&mut lp, |me| Scan {
        me,
        addresses,
        timeout: wanted.wait.unwrap_or(CONNECT_TIMEOUT),
        verbose: wanted.verbose,
        many,
        open: 0,
        last: None,
    });
    lp.with(host, |host, cx| host.protocol.dial_next(cx.env));
    lp.run()?;
    let scan = &mut lp.get(host).protocol;
    match scan.last.take() {
        _ if scan.open > 0 => Ok(()),
        _ if many => Err(Fail::failed(format!("nobody listens at {}", wanted.place))),
        Some(text) => Err(Fail::failed(text)),
        None => Err(Fail::failed("there was nothing to look at")),
    }
}

struct Scan {
    me: Handle<Host<Scan>>,
    /// Whom to try, port by port.
    addresses: VecDeque<Address>,
    timeout: Duration,
    verbose: bool,
    /// More than one port: each is told of by its own line.
    many: bool,
    /// How many answered.
    open: usize,
    /// Why the last one did not.
    last: Option<String>,
}

impl Scan {
    fn dial_next(&mut self, env: &mut Env) {
        let Some(to) = self.addresses.pop_front() else { return };
        let conn = to.clone();
        Dial { to, from: None, timeout: self.timeout, conn }.send(env, self.me);
    }

    fn note(&self, text: &str) {
        if self.verbose {
            talk(text);
        }
    }
}

/// The port of an address; a path has none, and is always another.
fn port(at: &Address) -> Option<u16> {
    at.ip().map(|at| at.port())
}

impl Protocol for Scan {
    /// Who is tried.
    type Conn = Address;

    fn on_open(&mut self, peer: &mut Address, io: &mut Io<'_>) {
        self.open += 1;
        self.note(&format!("open: {peer}"));
        let done = port(peer);
        while self.addresses.front().is_some_and(|next| port(next) == done) {
            self.addresses.pop_front();
        }
        io.abort(Close::Finished);
    }

    fn on_data(&mut self, _: &mut Address, _: &mut Io<'_>, bytes: &mut [u8]) -> usize {
        bytes.len()
    }

    fn on_close(&mut self, peer: Address, _: Id, env: &mut Env, why: Close) {
        if let Close::Dial(kind) = why {
            let text = format!("cannot connect to {peer}: {why}{}", advice(kind));
            // The last one's is the failure's text, unless there are many.
            if self.many || !self.addresses.is_empty() {
                self.note(&text);
            }
            self.last = Some(text);
        }
        self.dial_next(env);
    }
}
