//! A whole UDP echo server: `cargo run --example udp_echo -- 127.0.0.1:9000`, and then
//! `nc -u 127.0.0.1 9000`. The word `bye` ends it.

use loopwork_reactor::{Loop, Os};
use loopwork_udp as udp;
use std::io;
use std::net::SocketAddr;

/// All that a server remembers. There is one for the socket; a datagram has no connection.
#[derive(Default)]
struct Echo {
    echoed: u64,
    dropped: u64,
}

impl udp::Protocol for Echo {
    /// Node's `listening`.
    fn on_open(&mut self, io: &mut udp::Io<'_>) {
        println!("listening on {}", io.local());
    }

    /// Node's `message`. The answer leaves together with the others of its batch.
    fn on_datagram(&mut self, io: &mut udp::Io<'_>, from: SocketAddr, bytes: &mut [u8]) {
        match io.send(from, bytes) {
            udp::Sent::Queued => self.echoed += 1,
            udp::Sent::Dropped => self.dropped += 1,
        }
        if bytes.trim_ascii() == b"bye" {
            io.close();
        }
    }

    /// Node's `error`; here the socket lives on.
    fn on_error(&mut self, _: &mut udp::Io<'_>, to: Option<SocketAddr>, error: io::Error) {
        eprintln!("to {to:?}: {error}");
    }
}

fn main() -> io::Result<()> {
    let at = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9000".into());
    let at = at.parse().map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))?;
    let mut lp = Loop::new(Os::new()?);
    let (echo, _) = udp::bind(&mut lp, at, Echo::default())?;
    // Until the socket is closed: then nothing is left that could happen.
    lp.run()?;
    let Echo { echoed, dropped } = lp.get(echo).protocol;
    println!("{echoed} echoed, {dropped} dropped");
    Ok(())
}
