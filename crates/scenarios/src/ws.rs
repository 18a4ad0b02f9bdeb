//! WebSockets: messages of all sizes arrive whole and in order, or the connection is reported to
//! have failed.

use crate::ledger::{self, Book, Watched, wake_later};
use crate::plan::Plan;
use crate::stage::{Run, Setting, Stage, piece, random};
use loopwork::http::core::Request;
use loopwork::http::{Answer, App, Http, Offer, Reply};
use loopwork::tcp::{self, Close, Dial};
use loopwork::ws::{self, CloseCode, End, Handshake, Message, Open, Socket, Ws};
use loopwork::{Env, Flow, Id};
use std::net::SocketAddr;
use std::time::Duration;

/// Messages of one connection.
const MESSAGES: u32 = 8;
/// Of them on their way at once: more than the high-water mark, if they are large.
const AHEAD: u32 = 4;
const PATIENCE: Duration = Duration::from_secs(300);

/// Answers what is no WebSocket; nobody asks it.
struct Site;

impl App for Site {
    type Exchange = ();

    fn on_request(&mut self, _: &Request<'_>, reply: Reply<'_>) -> Answer<()> {
        reply.send(404, &[], b"")
    }

    fn on_body(&mut self, (): &mut (), _: &mut Reply<'_>, bytes: &[u8]) -> usize {
        bytes.len()
    }

    fn on_done(&mut self, (): (), _: &mut Env, _: Option<Close>) {}
}

/// Echoes, slowly at times: it pauses and is woken.
struct Echo {
    book: Book,
}

impl ws::App for Echo {
    type Conn = ();

    fn on_request(&mut self, _: &Request<'_>, _: &mut Handshake<'_>) -> Offer<()> {
        Offer::Accept(())
    }

    fn on_message(&mut self, (): &mut (), socket: &mut Socket<'_>, message: Message<'_>) {
        let _ = socket.send(&message);
        if random(socket.env, 8) == 0 {
            socket.pause();
            wake_later(socket.env, &self.book, socket.id, Duration::from_millis(3));
        }
    }

    fn on_wake(&mut self, (): &mut (), socket: &mut Socket<'_>) {
        socket.resume();
    }

    fn on_close(&mut self, (): (), _: Id, _: &mut Env, end: &End<'_>) {
        assert!(end.clean || end.failure.is_some());
    }
}

/// Sends numbered messages, and expects them back.
struct Asker {
    breaks: bool,
    over: u32,
}

struct Asked {
    n: u32,
    bytes: u32,
    sizes: Vec<usize>,
    got: u32,
    open: bool,
}

impl Asker {
    fn send(asked: &mut Asked, socket: &mut Socket<'_>) -> Flow {
        let number = asked.sizes.len() as u32;
        if number == MESSAGES {
            return Flow::Open;
        }
        let bits = 1 + random(socket.env, asked.bytes.max(2).ilog2());
        let size = random(socket.env, 1 << bits) as usize;
        asked.sizes.push(size);
        socket.send_binary(&piece(asked.n + number, 0, size))
    }
}

impl ws::App for Asker {
    type Conn = Asked;

    fn on_open(&mut self, asked: &mut Asked, socket: &mut Socket<'_>) {
        asked.open = true;
        socket.read_when_full(true);
        for _ in 0..AHEAD {
            let _ = Asker::send(asked, socket);
        }
        let _ = socket.ping(b"there?");
    }

    fn on_message(&mut self, asked: &mut Asked, socket: &mut Socket<'_>, got: Message<'_>) {
        let Message::Binary(bytes) = got else { panic!("a text") };
        let number = asked.got;
        let size = asked.sizes.get(number as usize).copied();
        assert_eq!(Some(bytes.len()), size, "message {number} has another size");
        assert!(*bytes == *piece(asked.n + number, 0, bytes.len()), "message {number} is another");
        asked.got += 1;
        let _ = Asker::send(asked, socket);
        if asked.got == MESSAGES {
            socket.close(CloseCode::NORMAL, "all");
        }
    }

    fn on_pong(&mut self, _: &mut Asked, _: &mut Socket<'_>, payload: &[u8]) {
        assert!(payload.is_empty() || payload == b"there?");
    }

    fn on_close(&mut self, asked: Asked, _: Id, _: &mut Env, end: &End<'_>) {
        self.over += 1;
        assert!(end.clean || end.failure.is_some());
        assert!(asked.open || !end.clean);
        let all = asked.got == MESSAGES && end.clean;
        assert!(all || self.breaks, "{} messages came back: {:?}", asked.got, end.failure);
    }
}

pub(crate) fn run(plan: &Plan, setting: Setting) -> Run {
    let mut stage = Stage::new(plan, setting);
    let book = stage.book.clone();
    let echo = Http::with_upgrade(Site, Ws::new(Echo { book: book.clone() }));
    let echo = Watched::new("server", &book, echo);
    let here = SocketAddr::from(([127, 0, 0, 1], 80));
    let (server, at) = tcp::listen(&mut stage.lp, here, echo).expect("a port");
    let asker = Ws::new(Asker { breaks: plan.breaks(), over: 0 });
    let client = ledger::add(&mut stage.lp, "client", &book, asker);
    let open = Open { host: "localhost", target: "/", protocols: &[], headers: &[], deflate: None };
    for n in 0..plan.connections {
        let (n, bytes) = (n * MESSAGES, plan.bytes / 2);
        let asked = Asked { n, bytes, sizes: Vec::new(), got: 0, open: false };
        let conn = ws::Conn::client(&mut stage.lp.env, &open, asked).expect("a request");
        let conn = Watched::<Ws<Asker>>::seat(&book, conn);
        let (to, from, timeout) = (at.into(), None, PATIENCE);
        Dial { to, from, timeout, conn }.send(&mut stage.lp.env, client);
    }
    drop(book);
    let count = plan.connections;
    stage.until("all are over", |lp| lp.get(client).protocol.inner.app.over == count);
    tcp::unlisten(&mut stage.lp.env, server);
    let (run, ledger) = stage.finish();
    ledger.balance(plan.breaks(), "server", "client", 0);
    run
}
