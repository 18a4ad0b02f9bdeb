//! A source of one's own in the loop: standard input, line by line, until it ends.
//!
//! What the loop does not know, a driver brings: anything that mio can register. This one is
//! written for the real world, `impl Driver<Os>`, because descriptors are only there. Try it with
//! `printf 'one\ntwo\n' | cargo run -p loopwork-reactor --example own_source`.

use loopwork_reactor::{Cx, Driver, Fd, Id, Loop, Os, Ready, mio};
use mio::Interest;
use mio::unix::pipe::Receiver;
use std::io::{self, ErrorKind, Read};
use std::os::fd::AsFd;
use std::time::Duration;

struct Lines {
    id: Id,
    fd: Option<Fd>,
    from: Receiver,
    line: Vec<u8>,
    count: usize,
}

impl Driver<Os> for Lines {
    fn on_ready(&mut self, cx: &mut Cx<'_, Os>, _: Ready) {
        // Edge-triggered: read until there is no more, or the edge does not come again.
        loop {
            match self.from.read(cx.buffer) {
                Ok(0) => return self.close(cx),
                Ok(n) => self.take(&cx.buffer[..n]),
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => {
                    eprintln!("standard input: {e}");
                    return self.close(cx);
                }
            }
        }
    }
}

impl Lines {
    fn take(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if byte == b'\n' {
                self.count += 1;
                println!("{:>4}  {}", self.count, String::from_utf8_lossy(&self.line));
                self.line.clear();
            } else {
                self.line.push(byte);
            }
        }
    }

    /// Nothing is left that the loop would run for: `run` returns.
    fn close(&mut self, cx: &mut Cx<'_, Os>) {
        if let Some(fd) = self.fd.take() {
            let _ = cx.world.unwatch(&mut self.from, fd);
            cx.env.calls.release();
        }
    }
}

fn main() -> io::Result<()> {
    // A copy of descriptor 0, so that the process keeps its own.
    let from = Receiver::from(io::stdin().as_fd().try_clone_to_owned()?);
    from.set_nonblocking(true)?;
    let mut lp = Loop::new(Os::new()?);
    let birth = lp.env.calls.birth();
    let handle = lp.add(|handle| {
        let id = Id { birth, slot: 0, driver: handle.driver };
        Lines { id, fd: None, from, line: Vec::new(), count: 0 }
    });
    lp.with(handle, |lines, cx| {
        lines.fd = Some(cx.world.watch(&mut lines.from, lines.id, Interest::READABLE)?);
        cx.env.calls.hold();
        io::Result::Ok(())
    })
    .map_err(|e| io::Error::new(e.kind(), format!("standard input must be a pipe: {e}")))?;
    let clock = lp.env.after(Duration::from_secs(5), |_| println!("      still waiting"));
    lp.env.calls.unref(clock);
    lp.run()
}
