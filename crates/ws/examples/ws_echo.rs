//! A WebSocket echo server: `cargo run -p loopwork-ws --example ws_echo [ADDR]`.
//!
//! Text comes back as text and bytes as bytes, on any path. A peer that sends and does not read
//! is not read either until it does.

use loopwork_ws::http::core::Request;
use loopwork_ws::http::{self, Answer, Http, Offer, Reply};
use loopwork_ws::tcp::listen;
use loopwork_ws::tcp::reactor::{Loop, Os};
use loopwork_ws::{App, Handshake, Message, Socket, Ws};

struct Echo;

impl App for Echo {
    type Conn = ();

    fn on_request(&mut self, _: &Request<'_>, _: &mut Handshake<'_>) -> Offer<()> {
        Offer::Accept(())
    }

    fn on_message(&mut self, _: &mut (), socket: &mut Socket<'_>, message: Message<'_>) {
        // Full or not: the loop shows the next message when the output has drained.
        let _ = socket.send(&message);
    }
}

/// What answers requests that are for no WebSocket.
struct Site;

impl http::App for Site {
    type Exchange = ();

    fn on_request(&mut self, _: &Request<'_>, reply: Reply<'_>) -> Answer<()> {
        reply.send(426, &[("Upgrade", "websocket")], b"a WebSocket is here\n")
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let at = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let mut lp = Loop::new(Os::new()?);
    let (_, at) = listen(&mut lp, at.parse()?, Http::with_upgrade(Site, Ws::new(Echo)))?;
    println!("listening on ws://{at}");
    Ok(lp.run()?)
}
