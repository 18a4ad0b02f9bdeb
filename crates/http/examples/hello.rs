//! A greeting for GET, and an echo for PUT and POST, streamed: the answer begins before the
//! request has come in whole, and a client that does not read is not read either.
//!
//! `cargo run --release --example hello [ADDRESS]`, then `curl -T big http://127.0.0.1:8080/`.

use loopwork_http::core::{Body, Headers, Method, Request};
use loopwork_http::tcp::reactor::{Loop, Os};
use loopwork_http::tcp::{Flow, listen};
use loopwork_http::{Answer, App, Http, Reply};

pub(crate) struct Hello;

impl App for Hello {
    type Exchange = ();

    fn on_request(&mut self, request: &Request<'_>, mut reply: Reply<'_>) -> Answer<()> {
        if !matches!(request.method, Method::Post | Method::Put) {
            let plain = [("Content-Type", "text/plain; charset=utf-8")];
            return reply.send(200, &plain, "欢迎光临\n".as_bytes());
        }
        let length = reply.remaining().map_or(Body::Chunked, Body::Length);
        let kind = request.headers.get("content-type").map(|value| ("Content-Type", value));
        match reply.head(200, kind, length) {
            Ok(()) => reply.later(()),
            Err(_) => reply.send(400, &[], b"what is that?\n"),
        }
    }

    fn on_body(&mut self, _: &mut (), reply: &mut Reply<'_>, bytes: &[u8]) -> usize {
        if reply.body.write(bytes) == Flow::Full {
            reply.pause();
        }
        bytes.len()
    }

    fn on_body_end(&mut self, _: &mut (), reply: &mut Reply<'_>, _: &Headers<'_>) {
        if !reply.body.done() {
            reply.body.finish();
        }
    }

    fn on_more(&mut self, _: &mut (), reply: &mut Reply<'_>) {
        reply.resume();
    }
}

#[allow(dead_code, reason = "the tests take this file in as a module")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let at = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let mut lp = Loop::new(Os::new()?);
    let (_, at) = listen(&mut lp, at.parse()?, Http::new(Hello))?;
    println!("listening on http://{at}");
    Ok(lp.run()?)
}
