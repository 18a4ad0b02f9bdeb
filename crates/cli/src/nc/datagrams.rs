//! `nc -u`: each read of stdin is a datagram, each datagram goes to stdout.
//!
//! Rules of this file:
//! * Who listens talks to who spoke first; with `-k`, to who spoke last.
//! * There is no end of a peer to wait for: it goes on until nothing moves for `-w` seconds.
//! * What stdout has no room for is lost, as datagrams are; nothing is kept without a bound.

use super::arguments::{Place, Wanted};
use super::dump::Dump;
use crate::common::{self, Fail, Outcome, talk};
use crate::stdio::{Input, Output};
use loopwork::udp::{self, Io, Protocol, Sent};
use loopwork::{Flow, Loop, Os};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// One read of stdin, hence one datagram: what other netcats send, and most kernels' default
/// socket buffers hold a dozen of.
const DATAGRAM: usize = 16 * 1024;
/// Bytes that wait to be sent before stdin is read no further.
const QUEUE: usize = 256 * 1024;

pub(super) fn run(wanted: &Wanted) -> Outcome {
    let Place::Ip { host, .. } = &wanted.place else {
        return Err(Fail::usage("-U is a stream: leave -u out"));
    };
    let first = wanted.place.addresses()?.into_iter().find_map(|at| at.ip());
    let at = first.ok_or_else(|| Fail::failed(format!("{host} has no address")))?;
    let mut lp = Loop::new(Os::new()?);
    common::end_at_once(&mut lp, |_| {})?;
    let input = Input::stdin(lp.mailbox()?, DATAGRAM)?;
    let output = Output::stdout(lp.mailbox()?)?;
    let netcat = Netcat {
        input,
        output: output.clone(),
        peer: None,
        dump: wanted.hex.then(Dump::default),
        keep: wanted.keep,
        verbose: wanted.verbose,
        idle: wanted.wait,
        outcome: Ok(()),
    };
    let local = if wanted.listen { at } else { any(at) };
    let bound = udp::bind(&mut lp, local, netcat);
    let (handle, local) = bound.map_err(|error| common::cannot_listen(local, &error))?;
    if wanted.listen {
        talk(&format!("listening on udp://{local}"));
    } else {
        udp::associate(&mut lp, handle, at).map_err(|error| {
            Fail::failed(format!("cannot send to {at}: {}", common::reason(&error)))
        })?;
        udp::with(&mut lp, handle, |netcat, io| {
            netcat.peer = Some(at);
            netcat.pump(io);
        });
    }
    lp.run()?;
    common::until(&mut lp, |wait| output.flushed(wait))?;
    super::unwritten(&output)?;
    std::mem::replace(&mut lp.get(handle).protocol.outcome, Ok(()))
}

/// Any address of ours from which this one can be reached.
fn any(to: SocketAddr) -> SocketAddr {
    match to.ip() {
        IpAddr::V4(_) => SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0),
        IpAddr::V6(_) => SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0),
    }
}

struct Netcat {
    input: Input,
    output: Output,
    peer: Option<SocketAddr>,
    /// Shows what passes, if it is to be seen.
    dump: Option<Dump>,
    keep: bool,
    verbose: bool,
    idle: Option<Duration>,
    outcome: Outcome,
}

impl Netcat {
    fn pump(&mut self, io: &mut Io<'_>) {
        if self.output.failed().is_some() {
            return io.close();
        }
        // Nobody is known yet: stdin waits, and so does the clock.
        let Some(peer) = self.peer else { return };
        while io.queued_bytes() < QUEUE
            && let Some(bytes) = self.input.take()
        {
            if let Some(dump) = &mut self.dump {
                dump.sent(&bytes);
            }
            if io.send(peer, &bytes) == Sent::Dropped && self.verbose {
                talk("a datagram was dropped: too many wait");
            }
        }
        self.rearm(io);
    }

    fn rearm(&self, io: &mut Io<'_>) {
        io.set_deadline(self.idle.map(|idle| io.env.now.after(idle)));
    }
}

impl Protocol for Netcat {
    fn on_open(&mut self, io: &mut Io<'_>) {
        self.input.attach(io.id);
        self.output.attach(io.id);
    }

    fn on_datagram(&mut self, io: &mut Io<'_>, from: SocketAddr, bytes: &mut [u8]) {
        if self.peer.is_none() || self.keep {
            if self.verbose && self.peer != Some(from) {
                talk(&format!("connected: {from}"));
            }
            let first = self.peer.replace(from).is_none();
            if !self.keep {
                io.associate(from);
            }
            if first {
                self.pump(io);
            }
        }
        if self.peer != Some(from) {
            return;
        }
        if let Some(dump) = &mut self.dump {
            dump.heard(bytes);
        }
        if self.output.flow() == Flow::Open {
            let _ = self.output.push(bytes);
        } else if self.verbose {
            talk("a datagram was dropped: stdout is too slow");
        }
        self.rearm(io);
    }

    fn on_drain(&mut self, io: &mut Io<'_>) {
        self.pump(io);
    }

    fn on_wake(&mut self, io: &mut Io<'_>) {
        self.pump(io);
    }

    fn on_timeout(&mut self, io: &mut Io<'_>) {
        io.close();
    }

    fn on_error(&mut self, io: &mut Io<'_>, to: Option<SocketAddr>, error: io::Error) {
        let why = common::reason(&error);
        match (to, error.kind()) {
            (None, ErrorKind::ConnectionRefused) => {
                let peer = self.peer.map(|peer| peer.to_string()).unwrap_or_default();
                self.outcome = Err(Fail::failed(format!("{peer} refused: nobody listens there")));
                io.close();
            }
            (Some(to), _) => talk(&format!("a datagram to {to} was not sent: {why}")),
            (None, _) => talk(&format!("the socket says: {why}")),
        }
    }
}
