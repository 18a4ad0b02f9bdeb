//! The servers of `versus ws`: each runs in a process of its own, on a core of its own, prints its
//! port as a line, and runs until it is ended.
//!
//! Rules:
//! * All echo messages as they come, whole and uncompressed.
//! * Each is written as a careful user of its kind writes it, has one thread that serves, and
//!   waits in the kernel.
//! * The raw one is the control: it answers the handshake and is told what comes, so that it counts
//!   bytes, reads no frame, unmasks nothing, and has its echoes ready. It makes the calls that a
//!   server cannot do without, with the bytes that a right one sends.

use crate::sys;
use crate::ws_load::Load;
use fastwebsockets::{FragmentCollector, OpCode, WebSocketError, upgrade};
use http_body_util::Empty;
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use loopwork_benches::{Hello, WsEcho};
use loopwork_http::Http;
use loopwork_reactor::{Loop, Os, READ_MAX};
use loopwork_ws::Ws;
use loopwork_ws::core::handshake;
use std::io::ErrorKind::{Interrupted, WouldBlock};
use std::io::{self, ErrorKind};
use std::net::TcpListener;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Who is compared. The first is what the others are measured by.
pub(crate) const SERVERS: [&str; 7] =
    ["raw", "loopwork", "echo-ws", "fastwebsockets", "bun", "socketify", "npm-ws"];

/// The program of a server that is not of this process, or why there is none; `None` for one that
/// is.
pub(crate) fn program(name: &str) -> Option<Result<PathBuf, &'static str>> {
    let installed = "absent: benches/versus/install-ws";
    let found = match name {
        "echo-ws" => sibling("loopwork").ok_or("absent: cargo build --release -p loopwork-cli"),
        "bun" => find("bun").or_else(|| peer("node/node_modules/.bin/bun")).ok_or(installed),
        "socketify" => peer("socketify/bin/python").ok_or(installed),
        // The module is looked for where npm has put it; node itself is everywhere.
        "npm-ws" => peer("node/node_modules/ws").and(find("node")).ok_or(installed),
        _ => return None,
    };
    Some(found)
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// A program that is built with this one.
fn sibling(program: &str) -> Option<PathBuf> {
    let path = std::env::current_exe().ok()?.parent()?.join(program);
    Some(path).filter(|path| path.is_file())
}

/// What `install-ws` puts beside the folder that this program is in.
fn peer(path: &str) -> Option<PathBuf> {
    let me = std::env::current_exe().ok()?;
    Some(me.parent()?.parent()?.join("peers").join(path)).filter(|path| path.exists())
}

/// What else is to be said of a server, for the table.
pub(crate) fn about(name: &str) -> String {
    let version = |flag: &str| {
        let Some(Ok(program)) = program(name) else { return String::new() };
        let Ok(said) = Command::new(program).arg(flag).output() else { return String::new() };
        String::from_utf8_lossy(&said.stdout).lines().next().unwrap_or_default().to_string()
    };
    match name {
        "raw" => "epoll, level-triggered, counts bytes; echoes that are ready".into(),
        "loopwork" => "`Http<_, Ws<Echo>>`, a few lines".into(),
        "echo-ws" => "`loopwork echo ws`".into(),
        "fastwebsockets" => "0.10, `FragmentCollector`, tokio's current thread".into(),
        "bun" => format!("`Bun.serve` {}, uWebSockets inside", version("--version")),
        "socketify" => format!("{}, uWebSockets inside", version("--version")),
        _ => format!("npm's ws, Node {}", version("--version")),
    }
}

/// Runs the server of this name, for this load.
///
/// # Errors
/// A name that nobody has, a program that is not there; what the kernel says.
pub(crate) fn run(name: &str, load: Load) -> io::Result<()> {
    match name {
        "raw" => raw(load),
        "loopwork" => {
            let mut lp = Loop::new(Os::new()?);
            let server = Http::with_upgrade(Hello, Ws::new(WsEcho));
            let (_, at) = loopwork_tcp::listen(&mut lp, ([127, 0, 0, 1], 0).into(), server)?;
            println!("{}", at.port());
            lp.run()
        }
        "echo-ws" => {
            let port = listener()?.1;
            let Some(Ok(program)) = program(name) else { return Err(ErrorKind::NotFound.into()) };
            println!("{port}");
            let mut command = Command::new(program);
            command.args(["echo", "ws", &format!("127.0.0.1:{port}")]);
            Err(command.stdout(Stdio::null()).exec())
        }
        "fastwebsockets" => fastwebsockets(),
        "bun" | "npm-ws" => script(name, "ws.cjs"),
        "socketify" => script(name, "ws.py"),
        other => Err(io::Error::other(format!("no server is called {other}"))),
    }
}

/// The program takes this process's place, and with it its core.
fn script(name: &str, script: &str) -> io::Result<()> {
    let Some(Ok(program)) = program(name) else { return Err(ErrorKind::NotFound.into()) };
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/versus");
    let mut command = Command::new(program);
    if let Some(modules) = peer("node/node_modules") {
        command.env("NODE_PATH", modules);
    }
    Err(command.arg(Path::new(folder).join(script)).exec())
}

/// A port of this machine that the kernel says is free, and its listener.
fn listener() -> io::Result<(TcpListener, u16)> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let port = listener.local_addr()?.port();
    Ok((listener, port))
}

/// One connection of the raw server.
#[derive(Clone, Copy, Default)]
struct Seat {
    /// Behind the handshake.
    open: bool,
    /// Bytes of a message that has not come in whole.
    part: usize,
    /// Of what is to be sent, the bytes that did not fit: then the socket is watched for room, and
    /// nothing is read.
    left: usize,
}

struct Raw {
    epoll: RawFd,
    buffer: Vec<u8>,
    /// The bytes of a message, and of its echo.
    sizes: (usize, usize),
    echoes: Vec<u8>,
    /// By descriptor.
    seats: Vec<Seat>,
}

/// The least that a server can do.
fn raw(load: Load) -> io::Result<()> {
    const LISTENER: u64 = u64::MAX;
    let (message, echo) = (load.message(), load.echo());
    let mut raw = Raw {
        epoll: sys::epoll_create()?,
        buffer: vec![0; READ_MAX],
        sizes: (message.len(), echo.len()),
        echoes: echo.repeat(READ_MAX / message.len() + 1),
        seats: Vec::new(),
    };
    let (listener, port) = listener()?;
    listener.set_nonblocking(true)?;
    println!("{port}");
    sys::epoll_add(raw.epoll, listener.as_raw_fd(), LISTENER)?;
    let mut events = [sys::NO_EVENT; 1024];
    loop {
        let n = match sys::epoll_wait(raw.epoll, &mut events, -1) {
            Err(e) if e.kind() == Interrupted => continue,
            other => other?,
        };
        for event in &events[..n] {
            if event.u64 != LISTENER {
                let fd = event.u64 as RawFd;
                match raw.ready(fd) {
                    Ok(()) => {}
                    Err(e) if matches!(e.kind(), WouldBlock | Interrupted) => {}
                    Err(_) => sys::close(fd),
                }
                continue;
            }
            while let Ok(fd) = sys::accept(listener.as_raw_fd()) {
                raw.seats.resize(raw.seats.len().max(fd as usize + 1), Seat::default());
                raw.seats[fd as usize] = Seat::default();
                sys::epoll_add(raw.epoll, fd, fd as u64)?;
            }
        }
    }
}

impl Raw {
    /// One read and one write; or, where the last write was short, the rest of it.
    fn ready(&mut self, fd: RawFd) -> io::Result<()> {
        let seat = self.seats[fd as usize];
        if seat.left > 0 {
            return self.write(fd, seat.left);
        }
        let n = match sys::read(fd, &mut self.buffer)? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            n => n,
        };
        if !seat.open {
            self.seats[fd as usize].open = true;
            return shake(fd, &self.buffer[..n]);
        }
        let bytes = seat.part + n;
        let (message, echo) = self.sizes;
        self.seats[fd as usize].part = bytes % message;
        match bytes / message * echo {
            0 => Ok(()),
            len => self.write(fd, len),
        }
    }

    /// Writes the last so many bytes of the echoes.
    fn write(&mut self, fd: RawFd, len: usize) -> io::Result<()> {
        let sent = match sys::write(fd, &self.echoes[self.echoes.len() - len..]) {
            Err(e) if e.kind() == WouldBlock => 0,
            other => other?,
        };
        let before = std::mem::replace(&mut self.seats[fd as usize].left, len - sent);
        match (before > 0, len > sent) {
            (false, true) => sys::epoll_set(self.epoll, fd, sys::OUT, fd as u64),
            (true, false) => sys::epoll_set(self.epoll, fd, sys::IN, fd as u64),
            _ => Ok(()),
        }
    }
}

/// The answer to a handshake that came by one read, as it does on loopback.
fn shake(fd: RawFd, request: &[u8]) -> io::Result<()> {
    let request = String::from_utf8_lossy(request);
    let key = request.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "));
    let accept = handshake::accept_key(key.ok_or(ErrorKind::InvalidData)?);
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n\r\n",
        String::from_utf8_lossy(&accept)
    );
    sys::write(fd, answer.as_bytes()).map(drop)
}

fn fastwebsockets() -> io::Result<()> {
    async fn echo(socket: upgrade::UpgradeFut) -> Result<(), WebSocketError> {
        let mut socket = FragmentCollector::new(socket.await?);
        loop {
            let frame = socket.read_frame().await?;
            match frame.opcode {
                OpCode::Close => return Ok(()),
                OpCode::Text | OpCode::Binary => socket.write_frame(frame).await?,
                _ => {}
            }
        }
    }
    async fn serve(
        mut request: hyper::Request<Incoming>,
    ) -> Result<hyper::Response<Empty<Bytes>>, WebSocketError> {
        let (response, socket) = upgrade::upgrade(&mut request)?;
        // Who breaks off ends its own task. Its own example takes it out of tokio's budget, too.
        drop(tokio::spawn(tokio::task::unconstrained(echo(socket))));
        Ok(response)
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let (listener, port) = listener()?;
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        println!("{port}");
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let http = hyper::server::conn::http1::Builder::new();
            let service = hyper::service::service_fn(serve);
            let connection = http.serve_connection(TokioIo::new(stream), service);
            drop(tokio::spawn(connection.with_upgrades()));
        }
    })
}
