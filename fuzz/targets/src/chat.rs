//! A whole WebSocket server and its clients in a simulated world whose every choice is a fuzzer's
//! byte: what comes out is what was sent, whole and in order, by whatever way it went.
//!
//! Rules:
//!
//! * The faults are [`Faults::rough`], which lose nothing. So all that is answered arrives, and all
//!   that is published arrives at each subscriber in the order of publishing.
//! * A message says in its first three bytes what it is, whose, and the how manieth; the rest
//!   follows from them, so that it can be checked wherever it is met.

use loopwork_sim::{Faults, FromBytes, Sim, run_to_rest};
use loopwork_tcp::reactor::{Env, Id, Loop};
use loopwork_tcp::{add, listen};
use loopwork_ws::core::Fragments;
use loopwork_ws::http::core::Request;
use loopwork_ws::http::{self, Answer, Http, Offer, Reply};
use loopwork_ws::{
    App, CloseCode, End, Handshake, Message, Open, Socket, Terms, Ws, dial, publish, subscribers,
};
use std::time::Duration;

/// Turns after which a run is called stuck: ten times the longest of a seed.
const TURNS: u64 = 100_000;
const CLIENTS: usize = 3;
/// Messages of a client, each said by a byte.
const OPS: usize = 8;
const TOPIC: &str = "room";

/// What is done with a message, by the upper bits of its byte.
const TEXT: u8 = 0;
const TO_OTHERS: u8 = 2;
const TO_ALL: u8 = 3;
const PING: u8 = 4;
const IN_PARTS: u8 = 5;
const PLAIN: u8 = 6;
/// The last message of a client: its answer says that all before it was served.
const LAST: u8 = 8;

/// A message: what it is, whose, the how manieth, and as much more as the byte says.
fn message(op: u8, whose: u8, nth: u8, kind: u8) -> Vec<u8> {
    let size = match op & 31 {
        31 => 20_000,
        size => usize::from(size) * 13,
    };
    let mut bytes = vec![b'a' + kind, b'a' + whose, b'a' + nth];
    let first = usize::from(nth) * 31 + usize::from(whose) * 17;
    bytes.extend((0..size).map(|at| b'0' + ((at * at / 7 + first) % 64) as u8));
    bytes
}

/// What all sides know.
#[derive(Default)]
struct Log {
    /// The messages that were published.
    published: Vec<Vec<u8>>,
    /// How many there were when each client was subscribed.
    from: [usize; CLIENTS],
    /// Clients that wait for nothing but what is published.
    done: usize,
    clients: Vec<Id>,
}

impl Log {
    /// What is published for a client, as far as it is known.
    fn expected(&self, whose: u8) -> impl Iterator<Item = &Vec<u8>> {
        let own = [b'a' + TO_OTHERS, b'a' + whose];
        self.published[self.from[usize::from(whose)]..].iter().filter(move |m| m[..2] != own)
    }
}

/// One more client is done: the others look whether all are.
fn done(env: &mut Env) {
    let log = env.shared.one::<Log>();
    log.done += 1;
    for id in log.clients.clone() {
        env.wake(id);
    }
}

/// Does what messages say; pauses at times.
struct Room {
    /// Of so many messages one makes it pause.
    pause: u64,
    messages: u64,
    closed: usize,
}

impl App for Room {
    type Conn = usize;

    fn on_request(&mut self, request: &Request<'_>, _: &mut Handshake<'_>) -> Offer<usize> {
        let whose = request.path().trim_start_matches('/').parse();
        Offer::Accept(whose.expect("a client's number"))
    }

    fn on_open(&mut self, whose: &mut usize, socket: &mut Socket<'_>) {
        assert!(socket.subscribe(TOPIC));
        let log = socket.env.shared.one::<Log>();
        log.from[*whose] = log.published.len();
    }

    fn on_message(&mut self, _: &mut usize, socket: &mut Socket<'_>, message: Message<'_>) {
        let (is_text, bytes) = match &message {
            Message::Text(text) => (true, text.as_bytes()),
            Message::Binary(bytes) => (false, &**bytes),
        };
        let kind = bytes[0] - b'a';
        if matches!(kind, TO_OTHERS | TO_ALL) {
            socket.env.shared.one::<Log>().published.push(bytes.to_vec());
        }
        let _flow = match kind {
            TO_OTHERS => {
                assert!(socket.publish(TOPIC, &message) < CLIENTS);
                socket.flow()
            }
            TO_ALL => {
                assert!(publish(socket.env, TOPIC, &message) <= CLIENTS);
                socket.flow()
            }
            IN_PARTS => {
                let mut parts = if is_text { Fragments::text() } else { Fragments::binary() };
                let (a, b) = bytes.split_at(bytes.len() / 3);
                let _ = socket.send_part(&mut parts, a);
                let _ = socket.ping(b"");
                socket.send_last(parts, b)
            }
            PLAIN => socket.send_plain(&message),
            _ => socket.send(&message),
        };
        self.messages += 1;
        if self.messages.is_multiple_of(self.pause) {
            socket.pause();
            let id = socket.id;
            socket.env.after(Duration::from_micros(300), move |env| env.wake(id));
        }
    }

    fn on_wake(&mut self, _: &mut usize, socket: &mut Socket<'_>) {
        assert_eq!(socket.missed(), 0);
        socket.resume();
    }

    fn on_close(&mut self, _: usize, _: Id, _: &mut Env, _: &End<'_>) {
        self.closed += 1;
    }
}

/// What is no WebSocket is not there.
struct Nothing;

impl http::App for Nothing {
    type Exchange = ();
    fn on_request(&mut self, _: &Request<'_>, reply: Reply<'_>) -> Answer<()> {
        reply.send(404, &[], b"")
    }
}

/// What a client says, and how far it is.
struct Plan {
    whose: u8,
    ops: [u8; OPS],
    /// Gives up when it has said all.
    gives_up: bool,
    answers: usize,
    pongs: usize,
    heard: usize,
    done: bool,
}

impl Plan {
    /// The messages that are answered to it alone.
    fn answered(&self) -> Vec<Vec<u8>> {
        let all = (0..).zip(self.ops).map(|(nth, op)| (op, nth, op >> 5));
        let all = all.filter(|(.., kind)| !matches!(*kind, TO_OTHERS | TO_ALL | PING));
        let all = all.map(|(op, nth, kind)| message(op, self.whose, nth, kind));
        all.chain([message(0, self.whose, OPS as u8, LAST)]).collect()
    }

    fn pings(&self) -> usize {
        self.ops.iter().filter(|op| **op >> 5 == PING).count()
    }
}

#[derive(Default)]
struct Clients {
    closed: Vec<(Plan, bool)>,
}

impl Clients {
    fn finish(plan: &Plan, socket: &mut Socket<'_>) {
        let log = socket.env.shared.one::<Log>();
        if log.done == CLIENTS && plan.heard == log.expected(plan.whose).count() {
            socket.close(CloseCode::NORMAL, "all");
        }
    }
}

impl App for Clients {
    type Conn = Plan;

    fn on_open(&mut self, plan: &mut Plan, socket: &mut Socket<'_>) {
        let id = socket.id;
        socket.env.shared.one::<Log>().clients.push(id);
        // More than the high-water mark, and the server stops reading there.
        socket.read_when_full(true);
        for (nth, op) in (0..).zip(plan.ops) {
            let (kind, text) = (op >> 5, (op ^ nth) & 1 == TEXT);
            let mut bytes = message(op, plan.whose, nth, kind);
            if kind == PING {
                let _ = socket.ping(&bytes);
            } else if kind == IN_PARTS {
                let mut parts = if text { Fragments::text() } else { Fragments::binary() };
                let (a, b) = bytes.split_at(bytes.len() / 2);
                let _ = socket.send_part(&mut parts, a);
                let _ = socket.send_last(parts, b);
            } else if text {
                let _ = socket.send_text(std::str::from_utf8(&bytes).expect("ASCII"));
            } else {
                let _ = socket.send(&Message::Binary(&mut bytes));
            }
        }
        let _ = socket.send_binary(&message(0, plan.whose, OPS as u8, LAST));
        if plan.gives_up {
            socket.abort();
        }
    }

    fn on_message(&mut self, plan: &mut Plan, socket: &mut Socket<'_>, got: Message<'_>) {
        let bytes = match &got {
            Message::Text(text) => text.as_bytes(),
            Message::Binary(bytes) => bytes,
        };
        if matches!(bytes[0] - b'a', TO_OTHERS | TO_ALL) {
            let log = socket.env.shared.one::<Log>();
            let expected = log.expected(plan.whose).nth(plan.heard);
            assert!(expected.is_some_and(|m| m == bytes), "published {}", plan.heard);
            plan.heard += 1;
        } else {
            assert!(plan.answered()[plan.answers] == bytes, "answer {}", plan.answers);
            plan.answers += 1;
            if bytes[0] - b'a' == LAST {
                plan.done = true;
                done(socket.env);
            }
        }
        Clients::finish(plan, socket);
    }

    fn on_pong(&mut self, plan: &mut Plan, _: &mut Socket<'_>, payload: &[u8]) {
        assert!(payload.len() > 2 && payload[0] == b'a' + PING);
        plan.pongs += 1;
    }

    fn on_wake(&mut self, plan: &mut Plan, socket: &mut Socket<'_>) {
        Clients::finish(plan, socket);
    }

    fn on_close(&mut self, plan: Plan, _: Id, env: &mut Env, end: &End<'_>) {
        if !plan.done {
            done(env);
        }
        self.closed.push((plan, end.clean));
    }
}

/// Two bytes for the server, nine for each of three clients, and the rest decides what the kernel
/// does.
pub fn ws_ops(data: &[u8]) {
    let Some((&[how, pause, ref plans @ ..], choices)) =
        data.split_first_chunk::<{ 2 + CLIENTS * (1 + OPS) }>()
    else {
        return;
    };
    let mut lp = Loop::new(Sim::with_decider(FromBytes::new(choices), Faults::rough()));
    let room = Room { pause: 1 + u64::from(pause), messages: 0, closed: 0 };
    let mut ws = Ws::new(room);
    ws.config.behind = usize::MAX;
    let terms = Terms {
        server_takeover: how & 2 != 0,
        client_takeover: how & 4 != 0,
        server_bits: 8 + (how >> 3 & 7),
        client_bits: 15,
    };
    ws.config.deflate = (how & 1 != 0).then_some(terms);
    let here = ([127, 0, 0, 1], 0).into();
    let (server, at) = listen(&mut lp, here, Http::with_upgrade(Nothing, ws)).expect("a port");
    let clients = add(&mut lp, |_| Ws::new(Clients::default()));
    for (whose, plan) in plans.as_chunks::<{ 1 + OPS }>().0.iter().enumerate() {
        let &[first, ref ops @ ..] = plan;
        let everything = Terms { server_takeover: true, ..Terms::default() };
        let deflate = (first & 1 != 0).then_some(everything);
        let target = format!("/{whose}");
        let open = Open { host: "here", target: &target, protocols: &[], headers: &[], deflate };
        let (ops, whose, gives_up) = (*ops, whose as u8, first >= 0xf0);
        let plan = Plan { whose, ops, gives_up, answers: 0, pongs: 0, heard: 0, done: false };
        dial(&mut lp.env, clients, at, &open, plan).expect("a good request");
    }
    run_to_rest(&mut lp, TURNS).expect("comes to rest");

    assert!(lp.get(server).is_empty() && lp.get(clients).is_empty(), "nobody is stuck");
    assert_eq!(lp.world.open(), 1, "the listener is left");
    assert_eq!(subscribers(&mut lp.env, TOPIC), 0);
    let closed = &lp.get(clients).protocol.app.closed;
    assert_eq!(closed.len(), CLIENTS, "one on_close for each");
    for (plan, clean) in closed {
        assert_eq!(*clean, !plan.gives_up);
        let all = (plan.answered().len(), plan.done);
        assert!(plan.gives_up || (plan.answers, plan.done) == all);
        // Of Pings that come together the newest is answered.
        assert!(plan.pongs <= plan.pings() && (plan.pongs > 0 || plan.pings() == 0 || !clean));
    }
}
