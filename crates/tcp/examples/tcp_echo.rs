//! The whole echo server: greets, says everything back, and is safe against a peer that never
//! reads, since backpressure is the default. `ADDR` is its one argument, `127.0.0.1:7777` if
//! there is none; try it with `nc 127.0.0.1 7777`.

use loopwork_reactor::{Address, Env, Id, Loop, Os, signal};
use loopwork_tcp::{Io, Protocol, listen, shutdown};
use std::io;
use std::net::SocketAddr;

struct Echo;

impl Protocol for Echo {
    type Conn = ();

    fn on_accept(&mut self, _: &mut Env, _: Id, _: &Address) -> Option<()> {
        Some(())
    }

    fn on_open(&mut self, _: &mut (), io: &mut Io<'_>) {
        let _ = io.write("欢迎光临\n".as_bytes());
    }

    // Full needs no answer here: nothing more is read from a peer that does not take its echo.
    fn on_data(&mut self, _: &mut (), io: &mut Io<'_>, bytes: &mut [u8]) -> usize {
        let _ = io.write(bytes);
        bytes.len()
    }
}

fn main() -> io::Result<()> {
    let at = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7777".into());
    let at: SocketAddr = at
        .parse()
        .map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, format!("{at}: {e}")))?;
    let mut lp = Loop::new(Os::new()?);
    let (echo, at) = listen(&mut lp, at, Echo)?;
    let mut asked = false;
    signal::watch(&mut lp, &[signal::SIGINT, signal::SIGTERM], move |env, _| {
        // Once: end cleanly. Twice: now.
        if std::mem::replace(&mut asked, true) {
            env.calls.stop();
        }
        shutdown(env, echo);
    })?;
    println!("listening on tcp://{at}");
    lp.run()
}
