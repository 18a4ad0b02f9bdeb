//! An inside that pauses as soon as it opens, and is asked everything in the flight that ends the
//! handshake.

mod support;

use loopwork_tls::Tls;
use loopwork_tls::rustls::ClientConnection;
use loopwork_tls::tcp::reactor::{Address, Env, Id, Loop, Os};
use loopwork_tls::tcp::{Close, Host, Io, Protocol, listen};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;
use support::*;

const PAUSE: Duration = Duration::from_millis(30);

/// Takes two bytes at most, then pauses, and goes on when its deadline has passed.
#[derive(Default)]
struct Slow {
    seen: Vec<String>,
    paused: bool,
}

impl Slow {
    fn pause(&mut self, io: &mut Io<'_>) {
        self.paused = true;
        io.pause();
        let at = io.env.now.after(PAUSE);
        io.set_deadline(Some(at));
    }
}

impl Protocol for Slow {
    type Conn = ();

    fn on_accept(&mut self, _: &mut Env, _: Id, _: &Address) -> Option<()> {
        Some(())
    }

    fn on_open(&mut self, _: &mut (), io: &mut Io<'_>) {
        self.pause(io);
    }

    fn on_data(&mut self, _: &mut (), io: &mut Io<'_>, bytes: &mut [u8]) -> usize {
        assert!(!self.paused, "shown {bytes:?} while it paused");
        let used = bytes.len().min(2);
        self.seen.push(String::from_utf8(bytes[..used].to_vec()).unwrap());
        self.pause(io);
        used
    }

    fn on_timeout(&mut self, _: &mut (), io: &mut Io<'_>) {
        self.paused = false;
        io.resume();
    }

    fn on_end(&mut self, _: &mut (), io: &mut Io<'_>) {
        assert!(!self.paused, "told of the end while it paused");
        self.seen.push("end".to_owned());
        io.end();
    }

    fn on_close(&mut self, _: (), _: Id, _: &mut Env, why: Close) {
        self.seen.push(format!("{why:?}"));
    }
}

/// Says all of it in the flight that ends the handshake, and waits for the end.
fn hasty(at: SocketAddr, mut session: ClientConnection) {
    let mut socket = TcpStream::connect(at).unwrap();
    session.write_tls(&mut socket).unwrap();
    while session.is_handshaking() {
        session.read_tls(&mut socket).unwrap();
        session.process_new_packets().unwrap();
    }
    session.writer().write_all(b"abcde").unwrap();
    session.send_close_notify();
    let mut flight = Vec::new();
    while session.wants_write() {
        session.write_tls(&mut flight).unwrap();
    }
    socket.write_all(&flight).unwrap();
    socket.read_to_end(&mut flight).unwrap();
}

#[test]
fn what_comes_with_the_handshake_waits_for_an_inside_that_paused() {
    let ca = Authority::new("ours");
    let mut lp = Loop::new(Os::new().unwrap());
    let inside = Tls::server(Slow::default(), ca.server());
    let (server, at): (loopwork_tls::tcp::reactor::Handle<Host<_>>, _) =
        listen(&mut lp, ([127, 0, 0, 1], 0).into(), inside).unwrap();
    let session = ClientConnection::new(ca.client(), "localhost".try_into().unwrap()).unwrap();
    let peer = std::thread::spawn(move || hasty(at, session));
    until(&mut lp, |lp| lp.get(server).protocol.inner.seen.iter().any(|it| it == "Finished"));
    peer.join().unwrap();
    assert_eq!(lp.get(server).protocol.inner.seen, ["ab", "cd", "e", "end", "Finished"]);
}
