//! The servers of `versus http`: each runs in a process of its own, on a core of its own, prints
//! its port as a line, and runs until it is ended.
//!
//! Rules:
//! * All answer `GET /` with 200, `Content-Type: text/plain` and the same 13 bytes. What else is in
//!   their heads is theirs, so that their answers differ by some bytes; the table says by how many.
//! * Each is written as a careful user of its kind writes it, has one thread that serves, and
//!   waits in the kernel.

use crate::http_load::BODY;
use crate::sys;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper_util::rt::TokioIo;
use loopwork_benches::{Hello, MINIMAL};
use loopwork_http::Http;
use loopwork_reactor::{Loop, Os};
use may_minihttp::{HttpServer, HttpService};
use std::convert::Infallible;
use std::io::ErrorKind::{Interrupted, WouldBlock};
use std::io::{self, ErrorKind};
use std::net::TcpListener;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Who is compared. The first is what the others are measured by.
pub(crate) const SERVERS: [&str; 8] =
    ["raw", "loopwork", "hyper", "minihttp", "nginx", "node", "bun", "bun-fixed"];

/// Connections that a server may have: as many as descriptors, of which most machines give so
/// many.
const CONNS: usize = 20_000;

/// The program of a server that is not of this process, or why there is none; `None` for one that
/// is.
pub(crate) fn program(name: &str) -> Option<Result<PathBuf, &'static str>> {
    let found = match name {
        "nginx" => find("nginx").ok_or("absent: apt-get install nginx-light"),
        "node" => find("node").ok_or("absent: apt-get install nodejs"),
        "bun" | "bun-fixed" => bun().ok_or("absent: benches/versus/install-bun"),
        _ => return None,
    };
    Some(found)
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Debian keeps servers where only root looks.
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    folders.map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// In the path, or where `install-bun` puts it: beside the folder that this program is in.
fn bun() -> Option<PathBuf> {
    let me = std::env::current_exe().ok()?;
    let mine = me.parent()?.parent()?.join("peers/node/node_modules/.bin/bun");
    find("bun").or_else(|| Some(mine).filter(|path| path.is_file()))
}

/// What else is to be said of a server, for the table.
pub(crate) fn about(name: &str) -> String {
    let version = |flag: &str| {
        let Some(Ok(program)) = program(name) else { return String::new() };
        let Ok(said) = Command::new(program).arg(flag).output() else { return String::new() };
        // nginx says it where errors go.
        let text = if said.stdout.is_empty() { said.stderr } else { said.stdout };
        String::from_utf8_lossy(&text).lines().next().unwrap_or_default().to_string()
    };
    match name {
        "raw" => "epoll, level-triggered, a fixed answer, no parser".into(),
        "loopwork" => "`Http<App>`, six lines".into(),
        "hyper" => "1.x on tokio's current thread; `pipeline_flush` for ×16".into(),
        "minihttp" => "may_minihttp 0.1, one worker, without its default features".into(),
        "nginx" => format!("{}, one process, `return 200`", version("-v")),
        "node" => format!("`http` of Node {}", version("--version")),
        "bun" => format!("`Bun.serve` {}, a function", version("--version")),
        _ => format!("`Bun.serve` {}, a fixed route", version("--version")),
    }
}

/// Runs the server of this name. `depth`: requests that come together. `folder`: for the files of
/// one that needs any.
///
/// # Errors
/// A name that nobody has, a program that is not there; what the kernel says.
pub(crate) fn run(name: &str, depth: &str, folder: &str) -> io::Result<()> {
    match name {
        "raw" => raw(),
        "loopwork" => {
            let mut lp = Loop::new(Os::new()?);
            let at = ([127, 0, 0, 1], 0).into();
            let (_, at) = loopwork_tcp::listen(&mut lp, at, Http::new(Hello))?;
            println!("{}", at.port());
            lp.run()
        }
        "hyper" => hyper(depth != "1"),
        "minihttp" => minihttp(),
        "nginx" => nginx(Path::new(folder)),
        "node" | "bun" => script(name, "function"),
        "bun-fixed" => script(name, "fixed"),
        other => Err(io::Error::other(format!("no server is called {other}"))),
    }
}

/// A port of this machine that the kernel says is free, and its listener.
fn listener() -> io::Result<(TcpListener, u16)> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let port = listener.local_addr()?.port();
    Ok((listener, port))
}

/// The least that a server can do: it knows how long a request is and counts bytes, and has all
/// answers to one read ready.
fn raw() -> io::Result<()> {
    const LISTENER: u64 = u64::MAX;
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\
         Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n{}",
        BODY.len(),
        String::from_utf8_lossy(BODY)
    );
    let mut buffer = vec![0; 64 * 1024];
    let answers = answer.repeat(buffer.len() / MINIMAL.len() + 1).into_bytes();
    let (listener, port) = listener()?;
    listener.set_nonblocking(true)?;
    println!("{port}");
    let epoll = sys::epoll_create()?;
    sys::epoll_add(epoll, listener.as_raw_fd(), LISTENER)?;
    // Bytes of a request that has not come in whole, by descriptor.
    let mut parts = vec![0; CONNS + 64];
    let mut events = [sys::NO_EVENT; 1024];
    loop {
        let n = match sys::epoll_wait(epoll, &mut events, -1) {
            Err(e) if e.kind() == Interrupted => continue,
            other => other?,
        };
        for event in &events[..n] {
            if event.u64 != LISTENER {
                let fd = event.u64 as RawFd;
                match answered(fd, &mut parts[fd as usize], &mut buffer, &answers, answer.len()) {
                    Ok(()) => {}
                    Err(e) if matches!(e.kind(), WouldBlock | Interrupted) => {}
                    Err(_) => sys::close(fd),
                }
                continue;
            }
            while let Ok(fd) = sys::accept(listener.as_raw_fd()) {
                parts[fd as usize] = 0;
                sys::epoll_add(epoll, fd, fd as u64)?;
            }
        }
    }
}

/// One read and one write. Who does not read what is answered is hung up on.
fn answered(
    fd: RawFd,
    part: &mut usize,
    buffer: &mut [u8],
    answers: &[u8],
    each: usize,
) -> io::Result<()> {
    let bytes = match sys::read(fd, buffer)? {
        0 => return Err(ErrorKind::UnexpectedEof.into()),
        n => *part + n,
    };
    *part = bytes % MINIMAL.len();
    let len = bytes / MINIMAL.len() * each;
    match len == 0 || sys::write(fd, &answers[..len])? == len {
        true => Ok(()),
        false => Err(ErrorKind::WriteZero.into()),
    }
}

fn hyper(pipelined: bool) -> io::Result<()> {
    async fn hello<B>(_: hyper::Request<B>) -> Result<hyper::Response<Full<Bytes>>, Infallible> {
        let mut response = hyper::Response::new(Full::new(Bytes::from_static(BODY)));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        Ok(response)
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let (listener, port) = listener()?;
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        println!("{port}");
        let mut http = hyper::server::conn::http1::Builder::new();
        http.pipeline_flush(pipelined);
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let service = hyper::service::service_fn(hello);
            let connection = http.serve_connection(TokioIo::new(stream), service);
            // Who breaks off ends its own task.
            drop(tokio::spawn(connection));
        }
    })
}

#[derive(Clone)]
struct Mini;

impl HttpService for Mini {
    fn call(
        &mut self,
        _: may_minihttp::Request<'_, '_, '_>,
        response: &mut may_minihttp::Response<'_>,
    ) -> io::Result<()> {
        response.header("Content-Type: text/plain");
        response.body("Hello, World!");
        Ok(())
    }
}

/// A port that nobody has just now, for servers that do not tell theirs.
fn free_port() -> io::Result<u16> {
    listener().map(|(_, port)| port)
}

/// If somebody else was faster at the port, it takes another.
fn minihttp() -> io::Result<()> {
    const TRIES: usize = 10;
    may::config().set_workers(1).set_pool_capacity(1000);
    may::config().set_worker_pin(false);
    for _ in 0..TRIES {
        let port = free_port()?;
        let Ok(server) = HttpServer(Mini).start(("127.0.0.1", port)) else { continue };
        println!("{port}");
        return server.join().map_err(|_| io::Error::other("its listener ended"));
    }
    Err(ErrorKind::AddrInUse.into())
}

/// nginx takes this process's place. It listens some time after its port is told.
fn nginx(folder: &Path) -> io::Result<()> {
    let port = free_port()?;
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {}/{kind}; ", folder.display()))
        .concat();
    let config = format!(
        "daemon off; master_process off; pid {0}/pid; error_log {0}/error.log;
         worker_rlimit_nofile {CONNS};
         events {{ worker_connections {CONNS}; }}
         http {{
             {temporary} access_log off; server_tokens off; default_type text/plain;
             keepalive_requests 1000000000; keepalive_timeout 600s;
             server {{
                 listen 127.0.0.1:{port};
                 location / {{ return 200 \"{1}\"; }}
             }}
         }}",
        folder.display(),
        String::from_utf8_lossy(BODY)
    );
    let path = folder.join("nginx.conf");
    std::fs::write(&path, config)?;
    let Some(Ok(program)) = program("nginx") else { return Err(ErrorKind::NotFound.into()) };
    println!("{port}");
    Err(Command::new(program).arg("-p").arg(folder).arg("-c").arg(&path).exec())
}

/// Node or Bun takes this process's place, and with it its core.
fn script(name: &str, how: &str) -> io::Result<()> {
    let Some(Ok(program)) = program(name) else { return Err(ErrorKind::NotFound.into()) };
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/versus/http.cjs");
    Err(Command::new(program).arg(script).arg(how).exec())
}
