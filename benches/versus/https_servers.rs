//! The servers of `versus https`: each runs on a core of its own, has told its port as a line, and
//! runs until it is ended.
//!
//! Rules:
//! * All serve the same files with the same key, write no log, and have one thread that serves.
//! * hyper has no files: the way here is the cheapest for it, reads by the thread that
//!   serves. `hyper-memory` reads nothing at all while it serves: what TLS and sockets cost alone.

use crate::{files_servers, http_servers};
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio_rustls::TlsAcceptor;

/// Who is compared. The first is ours.
pub(crate) const SERVERS: [&str; 4] = ["loopwork", "nginx", "hyper", "hyper-memory"];

/// What else is to be said of a server, for the table.
pub(crate) fn about(name: &str) -> String {
    match name {
        "loopwork" => "`loopwork serve --tls-cert --tls-key`, rustls on ring".into(),
        "hyper" => "1.x on tokio's current thread and tokio-rustls on ring".into(),
        "hyper-memory" => "the same, and its files are in its memory from the beginning".into(),
        _ => {
            let about = http_servers::about("nginx");
            let version = about.split(',').next().unwrap_or_default();
            format!("{version}, one process, OpenSSL, `ssl_session_cache`, `sendfile`")
        }
    }
}

/// Runs the server of this name, for what lies in `www` in this folder.
///
/// # Errors
/// A name that nobody has, a program that is not there; what the kernel says.
pub(crate) fn run(name: &str, folder: &Path) -> io::Result<()> {
    match name {
        "hyper" => return hyper(folder, false),
        "hyper-memory" => return hyper(folder, true),
        _ => {}
    }
    let Ok(program) = files_servers::program(name) else { return Err(ErrorKind::NotFound.into()) };
    let port = files_servers::free_port()?;
    let mut command = Command::new(program);
    match name {
        "loopwork" => {
            command.args(["serve", "-p", &port.to_string()]).arg(folder.join("www"));
            command.arg("--tls-cert").arg(folder.join("cert.pem"));
            command.arg("--tls-key").arg(folder.join("key.pem"))
        }
        _ => {
            let path = folder.join("nginx.conf");
            std::fs::write(&path, config(folder, port))?;
            command.arg("-p").arg(folder).arg("-c").arg(path)
        }
    };
    println!("{port}");
    Err(command.stdout(Stdio::null()).exec())
}

fn config(folder: &Path, port: u16) -> String {
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {}/{kind}; ", folder.display()))
        .concat();
    format!(
        "daemon off; master_process off; pid {0}/pid; error_log {0}/error.log;
         events {{ worker_connections 4096; }}
         http {{
             {temporary} access_log off; default_type application/octet-stream;
             sendfile on; tcp_nopush on; keepalive_requests 1000000000;
             ssl_certificate {0}/cert.pem; ssl_certificate_key {0}/key.pem;
             ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache shared:all:10m;
             server {{ listen 127.0.0.1:{port} ssl; root {0}/www; }}
         }}",
        folder.display()
    )
}

/// What is read of a file at a time.
const PART: usize = 64 * 1024;

/// What hyper answers with.
struct Files {
    www: PathBuf,
    /// The small one and the large one, if they are kept.
    kept: Option<[Bytes; 2]>,
}

/// A body, and how long the rest of it is.
enum Content {
    Memory(Bytes),
    File(File, u64),
}

impl Files {
    fn answer(&self, request: &Request<Incoming>) -> io::Result<Response<Content>> {
        let path = request.uri().path();
        let mut status = StatusCode::OK;
        let content = match (path, &self.kept) {
            ("/small", Some([small, _])) => Content::Memory(small.clone()),
            ("/large", Some([_, large])) => Content::Memory(large.clone()),
            ("/small" | "/large", None) => {
                let file = File::open(self.www.join(&path[1..]))?;
                let len = file.metadata()?.len();
                Content::File(file, len)
            }
            _ => {
                status = StatusCode::NOT_FOUND;
                Content::Memory(Bytes::new())
            }
        };
        let mut response = Response::new(content);
        *response.status_mut() = status;
        Ok(response)
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let read = match &mut *self {
            Content::Memory(bytes) if bytes.is_empty() => return Poll::Ready(None),
            Content::Memory(bytes) => Ok(std::mem::take(bytes)),
            Content::File(_, 0) => return Poll::Ready(None),
            Content::File(file, left) => {
                let most = PART.min(*left as usize);
                let mut part = vec![0; most];
                *left -= most as u64;
                file.read_exact(&mut part).map(|()| Bytes::from(part))
            }
        };
        Poll::Ready(Some(read.map(Frame::data)))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match self {
            Content::Memory(bytes) => bytes.len() as u64,
            Content::File(_, left) => *left,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.size_hint().exact() == Some(0)
    }
}

fn hyper(folder: &Path, keep: bool) -> io::Result<()> {
    let www = folder.join("www");
    let read = |name: &str| std::fs::read(www.join(name)).map(Bytes::from);
    let kept = if keep { Some([read("small")?, read("large")?]) } else { None };
    let files = Arc::new(Files { www, kept });
    let cert = CertificateDer::from_pem_file(folder.join("cert.pem")).map_err(io::Error::other)?;
    let key = PrivateKeyDer::from_pem_file(folder.join("key.pem")).map_err(io::Error::other)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(vec![cert], key))
        .map_err(io::Error::other)?;
    config.ticketer = rustls::crypto::ring::Ticketer::new().map_err(io::Error::other)?;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
        println!("{}", listener.local_addr()?.port());
        loop {
            let (stream, _) = listener.accept().await?;
            let _ = stream.set_nodelay(true);
            let (acceptor, files) = (acceptor.clone(), files.clone());
            tokio::task::spawn_local(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let service = hyper::service::service_fn(move |request| {
                    let answer = files.answer(&request);
                    async move { answer }
                });
                let served = hyper::server::conn::http1::Builder::new();
                let _ = served.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    })
}
