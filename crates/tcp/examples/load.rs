//! A load for the echo example: so many connections, each with one message of 64 bytes under way,
//! so many messages in all. `load ADDR CONNECTIONS MESSAGES`; says how many a second.
//!
//! Plain blocking sockets in one thread, so that the server meets full batches: all are written,
//! then all are read. To count the server's instructions for one message, run it twice beneath
//! `valgrind --tool=callgrind` with different numbers, and divide the difference.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

const SIZE: usize = 64;

fn main() -> std::io::Result<()> {
    let mut args = std::env::args().skip(1);
    let at = args.next().unwrap_or_else(|| "127.0.0.1:7777".into());
    let mut number = |or| args.next().map_or(or, |n| n.parse().expect("a number"));
    let (connections, messages): (usize, usize) = (number(32), number(100_000));
    let mut peers = Vec::new();
    for _ in 0..connections {
        let mut peer = TcpStream::connect(&at)?;
        peer.set_nodelay(true)?;
        peer.read_exact(&mut [0; "欢迎光临\n".len()])?;
        peers.push(peer);
    }
    let message = [b'x'; SIZE];
    let mut back = [0; SIZE];
    let begun = Instant::now();
    for _ in 0..messages / connections.max(1) {
        for peer in &mut peers {
            peer.write_all(&message)?;
        }
        for peer in &mut peers {
            peer.read_exact(&mut back)?;
            assert_eq!(back, message, "an echo says the same");
        }
    }
    let took = begun.elapsed().as_secs_f64();
    println!("{messages} messages in {took:.3} s: {:.0} a second", messages as f64 / took);
    Ok(())
}
