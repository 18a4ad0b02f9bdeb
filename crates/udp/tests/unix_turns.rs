//! What a Unix datagram socket takes of a turn, and what it says of one that was cut: in a world
//! without a kernel, where as many wait as the test says, and are as long.

use loopwork_reactor::{
    BindOptions, Datagram, DatagramOption, Datagrams, Fd, Handle, Id, Instant, Loop, Mail, Mailbox,
    Ready, World,
};
use loopwork_udp::unix::{self, Host, Io, MAX_DATAGRAM, Protocol};
use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What one turn receives: the constant of the driver.
const PER_TURN: usize = 64;

/// A world with one socket.
#[derive(Default)]
struct Toy {
    id: Option<Id>,
    /// The next poll tells it readable.
    tell: bool,
    /// How long what waits is.
    waiting: VecDeque<usize>,
    received: usize,
}

impl World for Toy {
    fn now(&mut self) -> Instant {
        Instant(1)
    }
    fn poll(&mut self, _: Option<Instant>, ready: &mut Vec<Ready>) -> io::Result<()> {
        if let Some(id) = self.id.filter(|_| std::mem::take(&mut self.tell)) {
            let (readable, writable, closed, gone) = (true, true, false, false);
            ready.push(Ready { id, readable, writable, closed, gone });
        }
        Ok(())
    }
    fn random(&mut self, into: &mut [u8]) {
        into.fill(4);
    }
    fn close(&mut self, _: Fd) {}
    fn watch_signals(&mut self, _: &[i32], _: Id) -> io::Result<()> {
        Err(ErrorKind::Unsupported.into())
    }
    fn next_signal(&mut self, _: Id) -> Option<i32> {
        None
    }
    fn mailbox(&mut self) -> io::Result<Mailbox> {
        Err(ErrorKind::Unsupported.into())
    }
    fn mail(&mut self, _: &mut Vec<Mail>) {}
}

impl Datagrams for Toy {
    fn bind(&mut self, _: SocketAddr, _: &BindOptions, _: Id) -> io::Result<(Fd, SocketAddr)> {
        Err(ErrorKind::Unsupported.into())
    }
    fn associate(&mut self, _: Fd, _: SocketAddr) -> io::Result<()> {
        Err(ErrorKind::Unsupported.into())
    }
    fn recv(&mut self, _: Fd, _: &mut [u8], _: usize, _: &mut Vec<Datagram>) -> io::Result<()> {
        Err(ErrorKind::Unsupported.into())
    }
    fn send(&mut self, _: Fd, _: &[Datagram], _: &[u8]) -> io::Result<usize> {
        Err(ErrorKind::Unsupported.into())
    }
    fn set_datagram(&mut self, _: Fd, _: DatagramOption) -> io::Result<()> {
        Err(ErrorKind::Unsupported.into())
    }
    fn bind_unix(&mut self, _: &Path, id: Id) -> io::Result<Fd> {
        self.id = Some(id);
        Ok(Fd(0))
    }
    fn recv_unix(&mut self, _: Fd, into: &mut [u8]) -> io::Result<(usize, PathBuf)> {
        let len = self.waiting.pop_front().ok_or(ErrorKind::WouldBlock)?;
        self.received += 1;
        Ok((len.min(into.len()), PathBuf::from("/from")))
    }
    fn send_unix(&mut self, _: Fd, _: &Path, _: &[u8]) -> io::Result<()> {
        Ok(())
    }
}

/// Writes down how long each was, and whether it was cut.
#[derive(Default)]
struct Notes(Vec<(usize, bool)>);

impl Protocol for Notes {
    fn on_datagram(&mut self, io: &mut Io<'_>, from: &Path, bytes: &mut [u8]) {
        assert_eq!(from, Path::new("/from"));
        self.0.push((bytes.len(), io.truncated));
    }
    fn on_wake(&mut self, io: &mut Io<'_>) {
        assert!(!io.truncated, "of no datagram");
    }
}

fn bound(waiting: impl IntoIterator<Item = usize>) -> (Loop<Toy>, Handle<Host<Notes>>) {
    let mut lp = Loop::new(Toy::default());
    let host = unix::bind(&mut lp, "/here", Notes::default()).expect("this world has one");
    (lp.world.waiting, lp.world.tell) = (waiting.into_iter().collect(), true);
    (lp, host)
}

fn step(lp: &mut Loop<Toy>) {
    lp.turn(Some(Duration::ZERO)).expect("a turn");
}

#[test]
fn a_flood_is_received_by_the_turn() {
    let (mut lp, host) = bound([5; 5 * PER_TURN]);
    for turn in 1..=5 {
        step(&mut lp);
        assert_eq!(lp.world.received, turn * PER_TURN);
        assert_eq!(lp.get(host).protocol.0.len(), turn * PER_TURN, "all are shown");
        // Told again meanwhile, it does not take more.
        lp.world.tell = true;
    }
}

#[test]
fn only_what_is_longer_than_the_longest_is_cut_and_says_so() {
    let (mut lp, host) = bound([5, MAX_DATAGRAM, MAX_DATAGRAM + 1, 0, MAX_DATAGRAM + 9]);
    step(&mut lp);
    let cut = (MAX_DATAGRAM, true);
    let got = &lp.get(host).protocol.0;
    assert_eq!(*got, [(5, false), (MAX_DATAGRAM, false), cut, (0, false), cut]);
    let id = lp.get(host).id().expect("it is open");
    lp.env.wake(id);
    step(&mut lp);
}
