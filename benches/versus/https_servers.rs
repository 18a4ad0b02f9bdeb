//! The servers of `versus https`: each runs on a core of its own, has told its port as a line, and
//! runs until it is ended.
//!
//! Rule: all serve the same files with the same key, write no log, and have one thread that serves.

use crate::{files_servers, http_servers};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::convert::Infallible;
use std::io::{self, ErrorKind};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;

/// Who is compared. The first is ours.
pub(crate) const SERVERS: [&str; 3] = ["loopwork", "nginx", "hyper"];

/// What else is to be said of a server, for the table.
pub(crate) fn about(name: &str) -> String {
    match name {
        "loopwork" => "`loopwork serve --tls-cert --tls-key`, rustls on ring".into(),
        "hyper" => "1.x on tokio's current thread and tokio-rustls on ring, files in memory".into(),
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
    if name == "hyper" {
        return hyper(folder);
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

/// What hyper answers.
struct Files {
    small: Bytes,
    large: Bytes,
}

impl Files {
    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let body = match request.uri().path() {
            "/small" => self.small.clone(),
            "/large" => self.large.clone(),
            _ => {
                let mut none = Response::new(Full::new(Bytes::new()));
                *none.status_mut() = StatusCode::NOT_FOUND;
                return none;
            }
        };
        Response::new(Full::new(body))
    }
}

fn hyper(folder: &Path) -> io::Result<()> {
    let read = |name: &str| std::fs::read(folder.join("www").join(name)).map(Bytes::from);
    let files = Arc::new(Files { small: read("small")?, large: read("large")? });
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
                    async move { Ok::<_, Infallible>(answer) }
                });
                let served = hyper::server::conn::http1::Builder::new();
                let _ = served.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    })
}
