//! A greeting by https, as Node's `https.createServer`.
//!
//! `cargo run --example https -- CERT.pem KEY.pem [PORT]`, then `curl --cacert CERT.pem` asks it.

use loopwork::http::core::Request;
use loopwork::http::{Answer, App, Http, Reply};
use loopwork::tls::{Tls, agreed, config};
use loopwork::{Loop, Os, tcp};
use std::error::Error;

struct Hello;

impl App for Hello {
    type Exchange = ();

    fn on_request(&mut self, _: &Request<'_>, reply: Reply<'_>) -> Answer<()> {
        let version = agreed(reply.env, reply.id).and_then(|agreed| agreed.version);
        let text = format!("hello by {version:?}\n");
        reply.send(200, &[("Content-Type", "text/plain")], text.as_bytes())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [cert, key, rest @ ..] = &words[..] else {
        return Err("say where the certificate and its key are".into());
    };
    let port = rest.first().map_or(Ok(8443), |port| port.parse())?;
    let identity = config::identity(cert.as_ref(), key.as_ref())?;
    let server = Tls::server(Http::new(Hello), config::server(vec![identity])?);
    let mut lp = Loop::new(Os::new()?);
    let (_, at) = tcp::listen(&mut lp, ([127, 0, 0, 1], port).into(), server)?;
    println!("listening on https://{at}");
    Ok(lp.run()?)
}
