//! A client that tries an echo server: `cargo run -p loopwork-ws --example probe ADDR [PATH]`.
//!
//! It sends messages of all kinds of sizes, one after the other, expects each of them back, and
//! says how it ended.

use loopwork_ws::core::handshake::BadAnswer;
use loopwork_ws::http::core::Response;
use loopwork_ws::tcp::add;
use loopwork_ws::tcp::reactor::{Env, Id, Loop, Os};
use loopwork_ws::{App, CloseCode, End, Message, Open, Socket, Ws, dial};
use std::net::SocketAddr;

const SIZES: [usize; 10] = [0, 1, 125, 126, 127, 1000, 65_535, 65_536, 70_000, 1 << 20];

struct Probe;

/// How many messages came back.
#[derive(Default)]
struct Seat(usize);

/// The `n`th message: each size as text, then as bytes.
fn send(n: usize, socket: &mut Socket<'_>) {
    let Some(size) = SIZES.get(n / 2) else {
        return socket.close(CloseCode::NORMAL, "all came back");
    };
    let _ = match n % 2 {
        0 => socket.send_text(&"x".repeat(*size)),
        _ => socket.send_binary(&vec![n as u8; *size]),
    };
}

impl App for Probe {
    type Conn = Seat;

    fn on_answer(
        &mut self,
        _: &mut Seat,
        _: &mut Env,
        answer: &Response<'_>,
        outcome: Result<Option<&str>, BadAnswer>,
    ) {
        println!("answer {}: {outcome:?}", answer.status);
    }

    fn on_open(&mut self, seat: &mut Seat, socket: &mut Socket<'_>) {
        let _ = socket.ping(b"there?");
        send(seat.0, socket);
    }

    fn on_message(&mut self, seat: &mut Seat, socket: &mut Socket<'_>, message: Message<'_>) {
        let (n, size) = (seat.0, SIZES[seat.0 / 2]);
        let same = match message {
            Message::Text(text) => n % 2 == 0 && text == "x".repeat(size),
            Message::Binary(bytes) => n % 2 == 1 && *bytes == *vec![n as u8; size],
        };
        if !same {
            return socket.close(CloseCode::PROTOCOL_ERROR, "this is not what was sent");
        }
        seat.0 += 1;
        send(seat.0, socket);
    }

    fn on_pong(&mut self, _: &mut Seat, _: &mut Socket<'_>, payload: &[u8]) {
        println!("pong {}", String::from_utf8_lossy(payload));
    }

    fn on_close(&mut self, seat: Seat, _: Id, _: &mut Env, end: &End<'_>) {
        println!("{} messages came back", seat.0);
        println!("closed: {} {:?} clean={} {:?}", end.code, end.reason, end.clean, end.failure);
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let host = args.next().ok_or("usage: probe ADDR [PATH]")?;
    let to: SocketAddr = host.parse()?;
    let target = args.next().unwrap_or_else(|| "/".to_owned());
    let mut lp = Loop::new(Os::new()?);
    let ws = add(&mut lp, |_| Ws::new(Probe));
    let open = Open { host: &host, target: &target, protocols: &["echo"], headers: &[] };
    dial(&mut lp.env, ws, to, &open, Seat::default())?;
    Ok(lp.run()?)
}
