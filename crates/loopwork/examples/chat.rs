//! A chat: `cargo run -p loopwork --example chat [ADDR]`, then open the address in a browser.
//!
//! Each path below `/rooms/` is a room, and a room is a topic: what a member says is published to
//! it. Nobody keeps a list of members, and who reads slowly misses lines and delays nobody.

use loopwork::http::core::Request;
use loopwork::http::{self, Answer, Http, Offer, Reply};
use loopwork::ws::{App, CloseCode, End, Handshake, Message, Socket, Ws, publish, same_origin};
use loopwork::{Env, Id, Loop, Os, tcp};

/// Characters of a line that are passed on.
const LINE: usize = 500;

#[derive(Default)]
pub(crate) struct Chat {
    joined: u32,
}

pub(crate) struct Member {
    name: String,
    room: String,
}

impl App for Chat {
    type Conn = Member;

    fn on_request(&mut self, request: &Request<'_>, _: &mut Handshake<'_>) -> Offer<Member> {
        if !same_origin(request) {
            return Offer::Refuse(403, &[], "this page may not join");
        }
        self.joined += 1;
        let (name, room) = (format!("guest {}", self.joined), request.path().to_owned());
        Offer::Accept(Member { name, room })
    }
    fn on_open(&mut self, member: &mut Member, socket: &mut Socket<'_>) {
        socket.subscribe(&member.room);
        publish(socket.env, &member.room, &*format!("{} is here", member.name));
    }
    fn on_message(&mut self, member: &mut Member, socket: &mut Socket<'_>, message: Message<'_>) {
        let Message::Text(text) = message else {
            return socket.close(CloseCode::UNSUPPORTED_DATA, "a chat is text");
        };
        let line: String = text.chars().take(LINE).collect();
        publish(socket.env, &member.room, &*format!("{}: {line}", member.name));
    }
    fn on_close(&mut self, member: Member, _: Id, env: &mut Env, _: &End<'_>) {
        publish(env, &member.room, &*format!("{} has left", member.name));
    }
}

/// The page, whatever room is asked for.
pub(crate) struct Site;

impl http::App for Site {
    type Exchange = ();
    fn on_request(&mut self, _: &Request<'_>, reply: Reply<'_>) -> Answer<()> {
        let html = [("Content-Type", "text/html; charset=utf-8")];
        reply.send(200, &html, include_bytes!("chat.html"))
    }
}

pub(crate) fn chat() -> Http<Site, Ws<Chat>> {
    Http::with_upgrade(Site, Ws::new(Chat::default()))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let at = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let mut lp = Loop::new(Os::new()?);
    let (_, at) = tcp::listen(&mut lp, at.parse()?, chat())?;
    println!("listening on http://{at}");
    Ok(lp.run()?)
}
