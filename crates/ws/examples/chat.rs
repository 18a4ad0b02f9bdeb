//! A chat: `cargo run -p loopwork-ws --example chat [ADDR]`, then open the address in a browser.
//!
//! Lines lie in the application, which all members share; a member is told by its id that there
//! are more, and knows how far it has read. Who reads slowly misses old lines, and delays nobody.

use loopwork_ws::http::core::Request;
use loopwork_ws::http::{self, Answer, Http, Offer, Reply};
use loopwork_ws::tcp::reactor::{Env, Id, Loop, Os};
use loopwork_ws::tcp::{Flow, listen};
use loopwork_ws::{App, End, Handshake, Message, Socket, Ws, same_origin};
use std::collections::{BTreeSet, VecDeque};

/// Lines that are kept: what a new member gets to see, and how far a slow one may lag behind.
const KEPT: usize = 100;

#[derive(Default)]
struct Chat {
    lines: VecDeque<String>,
    /// Lines that were dropped from the front.
    dropped: usize,
    members: BTreeSet<Id>,
}

impl App for Chat {
    /// The number of the next line to be sent.
    type Conn = usize;

    fn on_request(&mut self, request: &Request<'_>, _: &mut Handshake<'_>) -> Offer<usize> {
        let refusal = Offer::Refuse(403, &[], "this page may not join");
        if same_origin(request) { Offer::Accept(0) } else { refusal }
    }
    fn on_open(&mut self, next: &mut usize, socket: &mut Socket<'_>) {
        self.members.insert(socket.id);
        self.on_wake(next, socket);
    }
    fn on_message(&mut self, _: &mut usize, socket: &mut Socket<'_>, message: Message<'_>) {
        let Message::Text(text) = message else { return };
        self.lines.push_back(text.chars().take(500).collect());
        if self.lines.len() > KEPT {
            self.lines.pop_front();
            self.dropped += 1;
        }
        self.members.iter().for_each(|id| socket.env.wake(*id));
    }
    fn on_wake(&mut self, next: &mut usize, socket: &mut Socket<'_>) {
        *next = self.dropped.max(*next);
        while socket.flow() == Flow::Open && *next < self.dropped + self.lines.len() {
            let _ = socket.send_text(&self.lines[*next - self.dropped]);
            *next += 1;
        }
    }
    fn on_drain(&mut self, next: &mut usize, socket: &mut Socket<'_>) {
        self.on_wake(next, socket);
    }
    fn on_close(&mut self, _: usize, id: Id, _: &mut Env, _: &End<'_>) {
        self.members.remove(&id);
    }
}

/// The page, whatever is asked.
struct Site;

impl http::App for Site {
    type Exchange = ();
    fn on_request(&mut self, _: &Request<'_>, reply: Reply<'_>) -> Answer<()> {
        reply.send(200, &[("Content-Type", "text/html")], include_bytes!("chat.html"))
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let at = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let mut lp = Loop::new(Os::new()?);
    let chat = Http::with_upgrade(Site, Ws::new(Chat::default()));
    let (_, at) = listen(&mut lp, at.parse()?, chat)?;
    println!("listening on http://{at}");
    Ok(lp.run()?)
}
