//! The servers of `versus files`: each takes the place of a process of this program, on a core of
//! its own, that has told its port as a line, and runs until it is ended.
//!
//! Rule: all serve the same folder, write no log, and have one process with one thread that serves.

use crate::http_servers;
use std::io::{self, ErrorKind};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Who is compared. The first is ours.
pub(crate) const SERVERS: [&str; 3] = ["loopwork", "nginx", "nginx-cached"];
/// Connections that nginx may have: more than any load here.
const CONNS: usize = 4096;

/// The program of a server, or why there is none.
pub(crate) fn program(name: &str) -> Result<PathBuf, &'static str> {
    match name {
        "loopwork" => ours().ok_or("absent: cargo build --release -p loopwork-cli"),
        _ => http_servers::program("nginx").unwrap_or(Err("absent")),
    }
}

/// The binary beside this one.
fn ours() -> Option<PathBuf> {
    let beside = std::env::current_exe().ok()?.with_file_name("loopwork");
    Some(beside).filter(|path| path.is_file())
}

/// What else is to be said of a server, for the table.
pub(crate) fn about(name: &str) -> String {
    const HOW: &str = "one process, `sendfile`, `tcp_nopush`, chunks of 2 MiB";
    match name {
        "loopwork" => "`loopwork serve`, as it is".into(),
        // What it says of the greeting is no matter here.
        "nginx" => {
            let about = http_servers::about("nginx");
            format!("{}, {HOW}", about.split(',').next().unwrap_or_default())
        }
        _ => "the same, with `open_file_cache` good for a minute".into(),
    }
}

/// Runs the server of this name, for what lies in `www` in this folder; it writes beside it.
///
/// # Errors
/// A name that nobody has, a program that is not there; what the kernel says.
pub(crate) fn run(name: &str, folder: &Path) -> io::Result<()> {
    let Ok(program) = program(name) else { return Err(ErrorKind::NotFound.into()) };
    let (port, www) = (free_port()?, folder.join("www"));
    let mut command = Command::new(program);
    match name {
        "loopwork" => command.args(["serve", "-p", &port.to_string()]).arg(&www),
        "nginx" | "nginx-cached" => {
            let path = folder.join(format!("{name}.conf"));
            std::fs::write(&path, config(folder, port, name == "nginx-cached"))?;
            command.arg("-p").arg(folder).arg("-c").arg(path)
        }
        other => return Err(io::Error::other(format!("no server is called {other}"))),
    };
    println!("{port}");
    Err(command.stdout(Stdio::null()).exec())
}

fn config(folder: &Path, port: u16, cached: bool) -> String {
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {}/{kind}; ", folder.display()))
        .concat();
    let cache = match cached {
        true => "open_file_cache max=1000 inactive=60s; open_file_cache_valid 60s;",
        false => "open_file_cache off;",
    };
    format!(
        "daemon off; master_process off; pid {0}/pid; error_log {0}/error.log;
         worker_rlimit_nofile {CONNS};
         events {{ worker_connections {CONNS}; }}
         http {{
             {temporary} access_log off; default_type application/octet-stream;
             sendfile on; tcp_nopush on; sendfile_max_chunk 2m; {cache}
             keepalive_requests 1000000000; keepalive_timeout 600s;
             server {{ listen 127.0.0.1:{port}; root {0}/www; }}
         }}",
        folder.display()
    )
}

/// A port that nobody has just now: neither of them tells one that it takes.
pub(crate) fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
