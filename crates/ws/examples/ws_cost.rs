//! What an echo costs a server: its user-space instructions, for a message that comes alone, with
//! one read and one write, and for one of 16 that come together.
//!
//! `cargo run --release -p loopwork-ws --example ws_cost` runs itself as the server, beneath
//! `valgrind --tool=callgrind`; nothing else is needed. A figure is the difference of two run
//! lengths, so that what happens once cancels out, and is the same on a busy machine. What stands
//! behind `--` goes to valgrind: with `--callgrind-out-file=FILE --dump-instr=yes` the last run's
//! profile is left there for `callgrind_annotate`.

use loopwork_ws::core::{Opcode, frame, handshake};
use loopwork_ws::http::core::Request;
use loopwork_ws::http::{self, Answer, Http, Offer, Reply};
use loopwork_ws::tcp::listen;
use loopwork_ws::tcp::reactor::{Env, Id, Loop, Os};
use loopwork_ws::{App, End, Handshake, Message, Socket, Ws};
use std::error::Error;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Two run lengths, in writes of the client. By the shorter one all buffers have grown.
const WRITES: [usize; 2] = [300, 1300];

/// How long an echo may take, beneath valgrind and on a machine that has other work.
const PATIENCE: Duration = Duration::from_secs(60);

/// The messages: kind and bytes.
const MESSAGES: [(&str, Opcode, usize); 4] = [
    ("text of 20 B", Opcode::Text, 20),
    ("binary of 20 B", Opcode::Binary, 20),
    ("binary of 125 B", Opcode::Binary, 125),
    ("binary of 1 KiB", Opcode::Binary, 1024),
];

/// The key of RFC 6455 §1.3.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// Not zero, so that the server has to unmask.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

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

    fn on_close(&mut self, _: (), _: Id, env: &mut Env, _: &End<'_>) {
        env.calls.stop();
    }
}

struct Site;

impl http::App for Site {
    type Exchange = ();

    fn on_request(&mut self, _: &Request<'_>, reply: Reply<'_>) -> Answer<()> {
        reply.send(404, &[], b"")
    }
}

fn serve() -> Result<(), Box<dyn Error>> {
    let mut lp = Loop::new(Os::new()?);
    let server = Http::with_upgrade(Site, Ws::new(Echo));
    let (_, at) = listen(&mut lp, "127.0.0.1:0".parse()?, server)?;
    println!("{at}");
    Ok(lp.run()?)
}

/// Messages, and how many leave together.
#[derive(Clone, Copy)]
struct Load {
    kind: Opcode,
    size: usize,
    together: usize,
}

/// A connection to the server, behind its handshake.
fn connect(server: &mut Child) -> std::io::Result<TcpStream> {
    let (mut at, out) = (String::new(), server.stdout.take());
    BufReader::new(out.ok_or(ErrorKind::BrokenPipe)?).read_line(&mut at)?;
    let mut peer = TcpStream::connect(at.trim())?;
    peer.set_nodelay(true)?;
    peer.set_read_timeout(Some(PATIENCE))?;
    write!(
        peer,
        "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )?;
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        peer.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    assert!(head.windows(28).any(|words| words == handshake::accept_key(KEY)));
    Ok(peer)
}

/// Has so many writes echoed, and then closes.
fn run(server: &mut Child, load: Load, writes: usize) -> std::io::Result<()> {
    let mut peer = connect(server)?;
    let payload = vec![b'x'; load.size];
    let (mut message, mut echo) = (Vec::new(), Vec::new());
    frame::encode(&mut message, load.kind, &payload, Some(MASK));
    frame::encode(&mut echo, load.kind, &payload, None);
    let (messages, echoes) = (message.repeat(load.together), echo.repeat(load.together));
    let mut came = vec![0; echoes.len()];
    for _ in 0..writes {
        peer.write_all(&messages)?;
        peer.read_exact(&mut came)?;
        assert!(came == echoes, "what comes back is no echo");
    }
    message.clear();
    frame::encode(&mut message, Opcode::Close, &[], Some(MASK));
    peer.write_all(&message)?;
    peer.read_to_end(&mut came)?;
    Ok(())
}

/// Instructions of a server from its beginning to its end, with this load.
fn instructions(load: Load, writes: usize) -> Result<u64, Box<dyn Error>> {
    let mut tool = Command::new("valgrind");
    tool.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    tool.args(std::env::args().skip(1)).arg(std::env::current_exe()?).arg("serve");
    let mut server = tool.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    if let Err(why) = run(&mut server, load, writes) {
        server.kill()?;
        server.wait()?;
        return Err(why.into());
    }
    let said = String::from_utf8(server.wait_with_output()?.stderr)?;
    let total = said.lines().find_map(|line| line.split_once("Collected : "));
    Ok(total.ok_or("callgrind gave no total")?.1.trim().parse()?)
}

fn main() -> Result<(), Box<dyn Error>> {
    if std::env::args().nth(1).is_some_and(|first| first == "serve") {
        return serve();
    }
    for (name, kind, size) in MESSAGES {
        for together in [1, 16] {
            let load = Load { kind, size, together };
            let [short, long] = WRITES.map(|writes| instructions(load, writes));
            let messages = (WRITES[1] - WRITES[0]) * together;
            let each = (long?.saturating_sub(short?)) as f64 / messages as f64;
            println!("{name}, {together:2} together: {each:6.0} instructions");
        }
    }
    Ok(())
}
