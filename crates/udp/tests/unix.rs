//! Unix datagrams, on real sockets.

mod common;

use common::{settle, until};
use loopwork_reactor::{Env, Handle, Id, Loop, Os};
use loopwork_sim::Sim;
use loopwork_udp::Sent;
use loopwork_udp::unix::{self, Host, Io, MAX_DATAGRAM, Protocol};
use std::io::{self, ErrorKind};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

/// Writes down what it is told; answers when asked to.
#[derive(Default)]
struct Notes {
    echo: bool,
    got: Vec<(PathBuf, Vec<u8>)>,
    errors: Vec<(Option<PathBuf>, io::Error)>,
    wakes: usize,
    closed: Vec<Id>,
}

impl Protocol for Notes {
    fn on_datagram(&mut self, io: &mut Io<'_>, from: &Path, bytes: &mut [u8]) {
        assert!(!io.truncated);
        self.got.push((from.to_path_buf(), bytes.to_vec()));
        if bytes == b"close" {
            io.close();
        }
        if self.echo {
            assert_eq!(io.send(from, bytes), Sent::Queued);
        }
    }
    fn on_wake(&mut self, _: &mut Io<'_>) {
        self.wakes += 1;
    }
    fn on_error(&mut self, _: &mut Io<'_>, to: Option<&Path>, error: io::Error) {
        self.errors.push((to.map(Path::to_path_buf), error));
    }
    fn on_close(&mut self, id: Id, _: &mut Env) {
        self.closed.push(id);
    }
}

fn new_loop() -> Loop<Os> {
    Loop::new(Os::new().expect("a poll"))
}

fn notes(lp: &mut Loop<Os>, h: Handle<Host<Notes>>) -> &mut Notes {
    &mut lp.get(h).protocol
}

/// A path of this test alone, where nothing is yet.
fn path(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("loopwork-{}-{name}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    path
}

fn echo() -> Notes {
    Notes { echo: true, ..Notes::default() }
}

#[test]
fn a_datagram_goes_to_a_path_and_its_answer_comes_back() {
    let mut lp = new_loop();
    let (here, there) = (path("echo"), path("asker"));
    let h = unix::bind(&mut lp, &here, echo()).unwrap();
    let other = UnixDatagram::bind(&there).unwrap();
    other.set_read_timeout(Some(common::PATIENCE)).unwrap();
    let mut room = vec![0; 100_000];
    for size in [5, 0, 70_000] {
        other.send_to(&vec![7; size], &here).unwrap();
        let seen = notes(&mut lp, h).got.len();
        until(&mut lp, |lp| notes(lp, h).got.len() > seen);
        assert_eq!(other.recv(&mut room).unwrap(), size);
        assert_eq!(notes(&mut lp, h).got[seen], (there.clone(), vec![7; size]));
    }
    let id = lp.get(h).id().unwrap();
    lp.env.wake(id);
    until(&mut lp, |lp| notes(lp, h).wakes == 1);
    other.send_to(b"close", &here).unwrap();
    lp.run().unwrap();
    assert_eq!(other.recv(&mut room).unwrap(), 5, "what was queued still goes");
    assert_eq!(lp.get(h).id(), None);
    assert_eq!(notes(&mut lp, h).closed, [id]);
    assert!(!here.exists(), "unlinked");
    std::fs::remove_file(&there).unwrap();
}

#[test]
fn an_abstract_name_makes_no_file_and_a_nameless_sender_has_no_path() {
    let mut lp = new_loop();
    let name = PathBuf::from(format!("\0loopwork-{}-abstract", std::process::id()));
    let h = unix::bind(&mut lp, &name, Notes::default()).unwrap();
    let from = unix::bind(&mut lp, "", Notes::default()).unwrap();
    let named = PathBuf::from(format!("\0loopwork-{}-other", std::process::id()));
    let second = unix::bind(&mut lp, &named, Notes::default()).unwrap();
    unix::with(&mut lp, from, |_, io| assert_eq!(io.send(&name, b"1"), Sent::Queued)).unwrap();
    unix::with(&mut lp, second, |_, io| assert_eq!(io.send(&name, b"2"), Sent::Queued)).unwrap();
    until(&mut lp, |lp| notes(lp, h).got.len() == 2);
    assert_eq!(notes(&mut lp, h).got, [(PathBuf::new(), b"1".to_vec()), (named, b"2".to_vec())]);
    for host in [h, from, second] {
        unix::close(&mut lp, host);
    }
    lp.run().unwrap();
}

#[test]
fn nobody_there_too_large_and_too_many_are_told_and_the_others_go() {
    let mut lp = new_loop();
    let (here, full) = (path("gone"), path("full"));
    let h = unix::bind(&mut lp, "", Notes::default()).unwrap();
    let other = UnixDatagram::bind(&full).unwrap();
    other.set_nonblocking(true).unwrap();
    unix::with(&mut lp, h, |_, io| {
        assert_eq!(io.send(&here, b"anyone?"), Sent::Queued);
        assert_eq!(io.send(&full, &vec![0; MAX_DATAGRAM + 1]), Sent::Dropped);
        assert_eq!(io.send(&full, b"you"), Sent::Queued);
    });
    let told: Vec<_> = notes(&mut lp, h).errors.drain(..).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!((told[0].0.as_ref(), told[0].1.kind()), (Some(&here), ErrorKind::NotFound));
    assert_eq!(other.recv(&mut [0; 9]).unwrap(), 3);
    // Nobody reads there: the kernel keeps some, and each of the rest is told.
    let mut sent = 0;
    while notes(&mut lp, h).errors.is_empty() && sent < 100_000 {
        unix::with(&mut lp, h, |_, io| assert_eq!(io.send(&full, b"x"), Sent::Queued));
        sent += 1;
    }
    let (to, error) = notes(&mut lp, h).errors.pop().expect("some day it is full");
    assert_eq!((to.as_deref(), error.kind()), (Some(&*full), ErrorKind::WouldBlock));
    let mut kept = 0;
    while other.recv(&mut [0; 9]).is_ok() {
        kept += 1;
    }
    assert_eq!(kept + 1, sent, "none is lost silently");
    unix::with(&mut lp, h, |_, io| assert_eq!(io.send(&full, b"room again"), Sent::Queued));
    assert!(notes(&mut lp, h).errors.is_empty() && other.recv(&mut [0; 99]).is_ok());
    std::fs::remove_file(&full).unwrap();
}

#[test]
fn a_queue_has_an_end_and_a_flood_takes_turns() {
    let mut lp = new_loop();
    let here = path("flood");
    let h = unix::bind(&mut lp, &here, Notes::default()).unwrap();
    let from = unix::bind(&mut lp, "", Notes::default()).unwrap();
    unix::with(&mut lp, from, |_, io| {
        let sent: Vec<Sent> = (0..200).map(|_| io.send(&here, b"x")).collect();
        assert_eq!(sent.iter().filter(|s| **s == Sent::Queued).count(), 128);
        assert_eq!(sent.last(), Some(&Sent::Dropped));
    });
    // As many as the kernel keeps for one receiver (`net.unix.max_dgram_qlen`) have arrived.
    let kept = 128 - notes(&mut lp, from).errors.len();
    until(&mut lp, |lp| notes(lp, h).got.len() == kept);
    settle(&mut lp);
    assert_eq!(notes(&mut lp, h).got.len(), kept);
    assert!(notes(&mut lp, h).errors.is_empty());
}

#[test]
fn a_path_in_use_is_an_error_in_the_simulated_world_too() {
    let mut lp = new_loop();
    let here = path("twice");
    let _h = unix::bind(&mut lp, &here, Notes::default()).unwrap();
    let again = unix::bind(&mut lp, &here, Notes::default()).map(drop).unwrap_err();
    assert_eq!(again.kind(), ErrorKind::AddrInUse);
    drop(lp);
    assert!(!here.exists(), "unlinked however the loop ended");
    let mut simulated = Loop::new(Sim::new(1));
    let _h = unix::bind(&mut simulated, &here, Notes::default()).unwrap();
    let again = unix::bind(&mut simulated, &here, Notes::default()).map(drop).unwrap_err();
    assert_eq!(again.kind(), ErrorKind::AddrInUse);
    assert!(!here.exists(), "a path of another world");
}
