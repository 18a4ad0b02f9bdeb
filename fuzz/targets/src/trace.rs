//! A recording that anyone may have written, replayed by real protocols.
//!
//! Rule: a file that does not begin as a recording is taken for the entries of one, and put into a
//! block with its checksum, so that what is behind the checksum is reached too.

use loopwork_sim::Sim;
use loopwork_tcp::reactor::{Address, Env, Id, Loop};
use loopwork_tcp::{Io, Protocol, add, dial, listen};
use loopwork_trace::{Replay, Tape, VERSION};
use loopwork_udp as udp;
use std::net::SocketAddr;

/// Turns of a run: more than the entries of any seed.
const TURNS: u64 = 10_000;

/// Says what it hears, by streams and by datagrams.
struct Echo;

impl Protocol for Echo {
    type Conn = ();
    fn on_accept(&mut self, _: &mut Env, _: Id, _: &Address) -> Option<()> {
        Some(())
    }
    fn on_open(&mut self, (): &mut (), io: &mut Io<'_>) {
        let _ = io.write(b"hello");
    }
    fn on_data(&mut self, (): &mut (), io: &mut Io<'_>, bytes: &mut [u8]) -> usize {
        let _ = io.write(bytes);
        bytes.len()
    }
}

impl udp::Protocol for Echo {
    fn on_datagram(&mut self, io: &mut udp::Io<'_>, from: SocketAddr, bytes: &mut [u8]) {
        let _ = io.send(from, bytes);
    }
}

/// The magic, the version, an empty head, and one block.
fn wrapped(entries: &[u8]) -> Vec<u8> {
    let mut file = b"loopwork".to_vec();
    file.extend(VERSION.to_le_bytes());
    for block in [&[0, 0][..], entries] {
        file.extend((block.len() as u32).to_le_bytes());
        file.extend(crc32fast::hash(block).to_le_bytes());
        file.extend(block);
    }
    file
}

/// A program of a listener, a dial and a socket runs by the file, to whatever ends it.
pub fn trace_file(data: &[u8]) {
    let file = if data.starts_with(b"loopwork") { data.to_vec() } else { wrapped(data) };
    let Ok(replay) = Replay::of_bytes(file) else { return };
    let mut lp = Loop::new(Tape::<Sim>::replay(replay));
    let at = SocketAddr::from(([127, 0, 0, 1], 1));
    let heard = listen(&mut lp, at, Echo).is_ok();
    let client = add(&mut lp, |_| Echo);
    dial(&mut lp.env, client, at, ());
    let bound = udp::bind(&mut lp, at, Echo).is_ok();
    // It ends with a reason, or with a poll that has failed in the recording, too.
    while lp.world.replaying().is_some_and(|r| r.turn() < TURNS) && lp.turn(None).is_ok() {}
    let replay = lp.world.replaying().expect("a replay");
    assert!(replay.calls() > 0 || !(heard || bound), "answers come from entries");
}
