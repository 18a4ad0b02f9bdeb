//! `versus https`: handshakes, and files through TLS, by `loopwork serve`, by nginx and by hyper on
//! tokio-rustls.
//!
//! Rules:
//! * What is compared is what a second of the server's processor does.
//! * All have the same key (ECDSA, P-256) and the client's first choice of a cipher (AES-256-GCM),
//!   and TLS 1.3; which it was is looked at.
//! * The load is a client of rustls, one connection after the other: it decrypts on a core of its
//!   own, so the rates are as much its as the server's.

use crate::args::Args;
use crate::files_servers;
use crate::load::Done;
use crate::report::{self, Object};
use crate::rounds::{self, Measured};
use crate::server::Server;
use crate::{exact, https_servers, sys};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned};
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

const FLAGS: [&str; 5] = ["--rounds", "--seconds", "--loads", "--only", "--json"];
/// Before a server's processor is looked at.
const WARM: Duration = Duration::from_millis(150);
/// The file of the load that asks for much.
const LARGE: usize = 16 << 20;
/// A head of a file is shorter than this.
const HEAD_MAX: usize = 2048;

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Load {
    /// A connection, a whole handshake, 16 bytes, an end.
    Full,
    /// The same, with the session of the one before.
    Resumed,
    /// 16 bytes again and again on one connection.
    Small,
    /// 16 MiB again and again on one connection.
    Large,
}

const LOADS: [(&str, Load); 4] = [
    ("full", Load::Full),
    ("resumed", Load::Resumed),
    ("small", Load::Small),
    ("large", Load::Large),
];

type Stream = StreamOwned<ClientConnection, TcpStream>;

/// The folder with key, certificate and files, gone with the value.
struct Folder(PathBuf);

impl Folder {
    fn new() -> io::Result<Folder> {
        let folder = Folder(exact::scratch("https"));
        let www = folder.0.join("www");
        std::fs::create_dir_all(&www)?;
        std::fs::write(www.join("small"), [7; 16])?;
        std::fs::write(www.join("large"), vec![7; LARGE])?;
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]);
        let made = made.map_err(io::Error::other)?;
        std::fs::write(folder.0.join("cert.pem"), made.cert.pem())?;
        std::fs::write(folder.0.join("key.pem"), made.signing_key.serialize_pem())?;
        Ok(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A client that trusts the certificate of this folder.
fn client(folder: &Path, load: Load) -> io::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    let own = CertificateDer::from_pem_file(folder.join("cert.pem")).map_err(io::Error::other)?;
    roots.add(own).map_err(io::Error::other)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(io::Error::other)?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    if load != Load::Resumed {
        config.resumption = rustls::client::Resumption::disabled();
    }
    Ok(Arc::new(config))
}

fn connect(port: u16, config: &Arc<ClientConfig>) -> io::Result<Stream> {
    let socket = TcpStream::connect(("127.0.0.1", port))?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(Duration::from_secs(30)))?;
    let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
    let session = ClientConnection::new(config.clone(), name).map_err(io::Error::other)?;
    Ok(StreamOwned::new(session, socket))
}

/// Asks for a file, and takes all of it.
fn ask(stream: &mut Stream, name: &str, len: usize, buffer: &mut [u8]) -> io::Result<()> {
    write!(stream, "GET /{name} HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
        if head.len() > HEAD_MAX {
            return Err(io::Error::new(ErrorKind::InvalidData, "the head does not end"));
        }
    }
    let text = String::from_utf8_lossy(&head).to_ascii_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:"));
    if !text.starts_with("http/1.1 200 ") || length.is_none_or(|n| n.trim().parse() != Ok(len)) {
        return Err(io::Error::new(ErrorKind::InvalidData, format!("another answer: {text}")));
    }
    let mut left = len;
    while left > 0 {
        let most = left.min(buffer.len());
        let n = stream.read(&mut buffer[..most])?;
        if n == 0 || buffer[..n].iter().any(|b| *b != 7) {
            return Err(io::Error::new(ErrorKind::InvalidData, "the answer is not the file"));
        }
        left -= n;
    }
    Ok(())
}

/// Has a server work for so long.
fn run_load(port: u16, load: Load, config: &Arc<ClientConfig>, time: Duration) -> io::Result<Done> {
    let (start, mut count, mut buffer) = (Instant::now(), 0, vec![0; 1 << 18]);
    let mut kept = None;
    while start.elapsed() < time || count == 0 {
        let (name, len) = if load == Load::Large { ("large", LARGE) } else { ("small", 16) };
        let again = matches!(load, Load::Small | Load::Large);
        let mut stream = match kept.take() {
            Some(stream) => stream,
            None => connect(port, config)?,
        };
        ask(&mut stream, name, len, &mut buffer)?;
        let kind = stream.conn.handshake_kind();
        let resumed = kind == Some(HandshakeKind::Resumed);
        if load == Load::Full && resumed || load == Load::Resumed && count > 0 && !resumed {
            return Err(io::Error::other("a handshake of another kind"));
        }
        count += 1;
        if again {
            kept = Some(stream);
        } else {
            stream.conn.send_close_notify();
            stream.flush()?;
        }
    }
    Ok(Done { count, time: start.elapsed() })
}

/// This process is a server, on a core of its own.
///
/// # Errors
/// What the kernel says.
pub(crate) fn serve(name: &str, folder: &str, core: &str) -> io::Result<()> {
    sys::die_with_parent();
    sys::descriptors()?;
    sys::pin(core.parse().map_err(io::Error::other)?);
    https_servers::run(name, Path::new(folder))
}

struct Row {
    load: &'static str,
    server: &'static str,
    measured: Measured,
    ours: Measured,
}

const HEAD: &str = "\
| load | server | a second | a second of its processor, best and median | ours ÷ it, the same |
|---|---|---|---|---|";

impl Row {
    fn line(&self) -> String {
        let Row { load, server, measured: m, ours } = self;
        let bytes = if *load == "large" { LARGE as f64 / 1e9 } else { 1.0 };
        let unit = if *load == "large" { " GB" } else { "" };
        let places = if *load == "large" { 2 } else { 0 };
        format!(
            "| {load} | {server} | {:.places$}{unit} \
             | {:.places$} {:.places$}{unit} | {:.2} {:.2} |",
            m.rate() * bytes,
            1e9 / m.cpu() * bytes,
            1e9 / m.median_cpu() * bytes,
            m.cpu() / ours.cpu(),
            m.median_cpu() / ours.median_cpu(),
        )
    }

    fn json(&self) -> String {
        let Row { load, server, measured: m, ours } = self;
        let mut object = Object::new();
        object.text("load", load).text("server", server);
        object.number("per_second", m.rate()).number("server_cpu_ns", m.cpu());
        object.number("server_cpu_ns_median", m.median_cpu());
        object.number("loopwork_to_it", m.cpu() / ours.cpu());
        object.end()
    }
}

/// Runs all of it.
///
/// # Errors
/// Wrong arguments, a server that answers wrongly, a file that cannot be written.
pub(crate) fn run(words: &[&str]) -> io::Result<()> {
    let args = Args::of(words, &FLAGS)?;
    let (rounds, seconds) = (args.number("--rounds", 10)?, args.number("--seconds", 1.0)?);
    let time = Duration::try_from_secs_f64(seconds).map_err(io::Error::other)?;
    let folder = Folder::new()?;
    sys::descriptors()?;
    sys::pin(1);
    println!("| server | what it is |\n|---|---|");
    let mut servers = Vec::new();
    for server in https_servers::SERVERS {
        if server != "loopwork" && !args.lists("--only", server) {
            continue;
        }
        match files_servers::program(if server == "nginx" { server } else { "loopwork" }) {
            Ok(_) => {
                println!("| {server} | {} |", https_servers::about(server));
                servers.push(server);
            }
            Err(why) => println!("| {server} | {why} |"),
        }
    }
    println!("\n{rounds} alternating rounds of {seconds} s; {}\n\n{HEAD}", report::machine());
    let mut rows = Vec::new();
    for (name, load) in LOADS.into_iter().filter(|(name, _)| args.lists("--loads", name)) {
        let config = client(&folder.0, load)?;
        let start = |server: &str| {
            let folder = folder.0.display().to_string();
            Server::listening(&[], &["https-server", server, &folder, "0"])
        };
        let measured = rounds::alternate(
            &servers,
            rounds,
            &start,
            &|port| run_load(port, load, &config, WARM),
            &|port| run_load(port, load, &config, time),
        )?;
        for &server in &servers {
            let of = |name: &str| measured.get(name).cloned().unwrap_or_default();
            let row = Row { load: name, server, measured: of(server), ours: of("loopwork") };
            println!("{}", row.line());
            rows.push(row);
        }
    }
    if let Some(path) = args.text("--json") {
        let members = [
            ("rounds", rounds.to_string()),
            ("seconds", seconds.to_string()),
            ("rows", report::array(rows.iter().map(Row::json))),
        ];
        std::fs::write(path, report::document("versus https", &members))?;
    }
    Ok(())
}
