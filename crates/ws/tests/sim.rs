//! Server and clients in the simulated world, seed by seed, each twice: messages arrive whole and
//! in order, or the connection is reported to have failed; each state is closed exactly once.

mod support;

use loopwork_sim::{Faults, Sim, SplitMix, cargo_test, check};
use loopwork_ws::http::core::Request;
use loopwork_ws::http::{Http, Offer};
use loopwork_ws::tcp::reactor::{Env, Id, Loop};
use loopwork_ws::tcp::{add, listen, shutdown, unlisten};
use loopwork_ws::{App, CloseCode, End, Handshake, Message, Open, Socket, Terms, Ws, dial};
use std::cell::RefCell;
use std::rc::Rc;
use support::Site;

const CLIENTS: usize = 4;
const MESSAGES: u32 = 12;

/// What all sides noted.
#[derive(Default)]
struct Notes {
    accepted: usize,
    server_closed: usize,
    client_closed: usize,
    complete: usize,
    clean: usize,
    /// What the last one has agreed to.
    deflate: Option<Terms>,
}

/// Echoes, slowly at times: it pauses and is woken.
struct Echo {
    notes: Rc<RefCell<Notes>>,
    dice: SplitMix,
}

/// Sends numbered messages of all sizes, and expects them back.
struct Asker {
    notes: Rc<RefCell<Notes>>,
    dice: SplitMix,
}

#[derive(Default)]
struct Asked {
    sent: u32,
    got: u32,
    open: bool,
}

/// Message `n`: its number, and so many bytes that follow from it.
fn message(n: u32, size: usize) -> Vec<u8> {
    let mut bytes = n.to_be_bytes().to_vec();
    bytes.extend((0..size).map(|at| (at as u32 * 31 + n) as u8));
    bytes
}

impl App for Echo {
    type Conn = ();

    fn on_request(&mut self, _: &Request<'_>, _: &mut Handshake<'_>) -> Offer<()> {
        self.notes.borrow_mut().accepted += 1;
        Offer::Accept(())
    }

    fn on_open(&mut self, _: &mut (), socket: &mut Socket<'_>) {
        self.notes.borrow_mut().deflate = socket.deflate();
    }

    fn on_message(&mut self, _: &mut (), socket: &mut Socket<'_>, message: Message<'_>) {
        let _ = socket.send(&message);
        if self.dice.next_u64().is_multiple_of(8) {
            socket.pause();
            let id = socket.id;
            socket.env.after(std::time::Duration::from_millis(3), move |env| env.wake(id));
        }
    }

    fn on_wake(&mut self, _: &mut (), socket: &mut Socket<'_>) {
        socket.resume();
    }

    fn on_close(&mut self, _: (), _: Id, _: &mut Env, end: &End<'_>) {
        assert!(end.clean || end.failure.is_some());
        self.notes.borrow_mut().server_closed += 1;
    }
}

impl Asker {
    fn send(&mut self, asked: &mut Asked, socket: &mut Socket<'_>) {
        if asked.sent < MESSAGES {
            let most = match self.dice.next_u64() % 4 {
                0 => 140,
                1 => 70_000,
                _ => 2000,
            };
            let size = self.dice.next_u64() % most;
            let _ = socket.send_binary(&message(asked.sent, size as usize));
            asked.sent += 1;
        }
    }
}

impl App for Asker {
    type Conn = Asked;

    fn on_open(&mut self, asked: &mut Asked, socket: &mut Socket<'_>) {
        asked.open = true;
        // Four at a time are more than the high-water mark, and the echo stops reading there.
        socket.read_when_full(true);
        for _ in 0..4 {
            self.send(asked, socket);
        }
        let _ = socket.ping(b"there?");
    }

    fn on_message(&mut self, asked: &mut Asked, socket: &mut Socket<'_>, got: Message<'_>) {
        let Message::Binary(bytes) = got else { panic!("a text") };
        assert!(*bytes == *message(asked.got, bytes.len() - 4), "message {}", asked.got);
        asked.got += 1;
        self.send(asked, socket);
        if asked.got == MESSAGES {
            socket.close(CloseCode::NORMAL, "all");
        }
    }

    fn on_pong(&mut self, _: &mut Asked, _: &mut Socket<'_>, payload: &[u8]) {
        assert!(payload.is_empty() || payload == b"there?");
    }

    fn on_close(&mut self, asked: Asked, _: Id, _: &mut Env, end: &End<'_>) {
        let mut notes = self.notes.borrow_mut();
        notes.client_closed += 1;
        notes.complete += usize::from(asked.got == MESSAGES);
        notes.clean += usize::from(end.clean);
        assert!(end.clean || end.failure.is_some());
        assert!(asked.open || !end.clean);
    }
}

/// One run: what was noted, and its hash.
fn run(seed: u64, faults: Faults, stop: bool) -> (Notes, u64) {
    run_with(seed, faults, stop, None)
}

/// The same, where both offer and agree to this.
fn run_with(seed: u64, faults: Faults, stop: bool, deflate: Option<Terms>) -> (Notes, u64) {
    let notes = Rc::new(RefCell::new(Notes::default()));
    let dice = |n| SplitMix::new(seed ^ n);
    let mut lp = Loop::new(Sim::with_faults(seed, faults));
    let mut echo = Ws::new(Echo { notes: notes.clone(), dice: dice(1) });
    echo.config.deflate = deflate;
    let here = "127.0.0.1:80".parse().unwrap();
    let (server, at) = listen(&mut lp, here, Http::with_upgrade(Site, echo)).unwrap();
    let ws = add(&mut lp, |_| Ws::new(Asker { notes: notes.clone(), dice: dice(2) }));
    let open = Open { host: "localhost", target: "/", protocols: &[], headers: &[], deflate };
    for _ in 0..CLIENTS {
        dial(&mut lp.env, ws, at, &open, Asked::default()).unwrap();
    }
    let mut turns = 0;
    while notes.borrow().client_closed < CLIENTS {
        lp.turn(None).unwrap();
        turns += 1;
        assert!(turns < 1_000_000, "it does not end");
        if stop && turns == 60 + seed % 200 {
            shutdown(&mut lp.env, server);
        }
    }
    unlisten(&mut lp.env, server);
    lp.run().unwrap();
    assert!(!lp.env.calls.alive() && lp.get(server).is_empty() && lp.get(ws).is_empty());
    let (hash, sockets) = (lp.world.hash(), lp.world.open());
    assert_eq!(sockets, 0, "sockets left");
    drop(lp);
    (Rc::into_inner(notes).unwrap().into_inner(), hash)
}

#[test]
fn rough_worlds_lose_nothing() {
    check(300, cargo_test("loopwork-ws", "rough_worlds_lose_nothing"), |seed| {
        let (notes, hash) = run(seed, Faults::rough(), false);
        let all = (CLIENTS, CLIENTS, CLIENTS);
        assert_eq!((notes.client_closed, notes.complete, notes.clean), all);
        assert_eq!((notes.accepted, notes.server_closed), (CLIENTS, CLIENTS));
        hash
    });
}

#[test]
fn rough_worlds_lose_nothing_that_is_compressed() {
    let test = "rough_worlds_lose_nothing_that_is_compressed";
    check(50, cargo_test("loopwork-ws", test), |seed| {
        let bits = 9 + (seed % 7) as u8;
        let terms = Terms {
            server_takeover: seed & 1 == 1,
            client_takeover: seed & 2 == 2,
            server_bits: bits,
            client_bits: 24 - bits,
        };
        let (notes, hash) = run_with(seed, Faults::rough(), false, Some(terms));
        let all = (CLIENTS, CLIENTS, CLIENTS);
        assert_eq!((notes.client_closed, notes.complete, notes.clean), all);
        assert_eq!(notes.deflate, Some(terms));
        hash
    });
}

#[test]
fn hostile_worlds_report_what_is_lost() {
    check(300, cargo_test("loopwork-ws", "hostile_worlds_report_what_is_lost"), |seed| {
        let (notes, hash) = run(seed, Faults::hostile(), false);
        assert_eq!((notes.client_closed, notes.accepted), (CLIENTS, notes.server_closed));
        hash
    });
}

#[test]
fn shutdown_in_the_middle_closes_everyone_once() {
    check(100, cargo_test("loopwork-ws", "shutdown_in_the_middle_closes_everyone_once"), |seed| {
        let (notes, hash) = run(seed, Faults::rough(), true);
        assert_eq!((notes.client_closed, notes.accepted), (CLIENTS, notes.server_closed));
        hash
    });
}
