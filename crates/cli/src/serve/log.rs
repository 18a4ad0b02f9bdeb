//! The access log: a line for each request that is done with, on stdout.
//!
//! Rules of this file:
//! * Writing never holds up a loop: lines wait in a queue with a bound, a thread writes them, and
//!   those that find no room are counted and dropped.
//! * A request is done with when its answer was handed to the connection whole; a file is, as soon
//!   as the kernel may send it. What the client then does not take is not told.
//! * What a client chose stands in a line only so that it cannot end the line or a field of it.

use crate::common;
use loopwork::Env;
use loopwork::http::core::{Request, Version};
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, UNIX_EPOCH};

/// Lines that may wait: some megabytes of them, a second of a busy server.
const WAITING: usize = 16 * 1024;
/// Of a target or a header so much is told: a line is to be read.
const TOLD: usize = 1024;

/// How a line is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Format {
    /// As Apache and nginx call it.
    Combined,
    /// An object.
    Json,
}

/// Where lines go.
#[derive(Clone)]
pub(super) struct Log {
    to: SyncSender<String>,
    format: Format,
}

/// Begins a log, and the thread that writes it: it ends when the last [`Log`] is gone and all is
/// written.
pub(super) fn begin(format: Format) -> io::Result<(Log, JoinHandle<()>)> {
    let (to, from) = sync_channel(WAITING);
    let writer = std::thread::Builder::new().name("log".to_string());
    Ok((Log { to, format }, writer.spawn(move || write(&from))?))
}

fn write(from: &Receiver<String>) {
    let mut text = String::new();
    while let Ok(line) = from.recv() {
        text.clear();
        text.push_str(&line);
        // What waits goes with it.
        from.try_iter().for_each(|line| text.push_str(&line));
        let mut out = io::stdout().lock();
        if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
            // Nobody reads any more: from here on lines are dropped.
            return;
        }
    }
}

/// A request, as far as it is logged.
pub(super) struct Line {
    front: String,
    back: String,
}

impl Log {
    /// Notes what is known when a request comes.
    pub(super) fn note(&self, request: &Request<'_>, peer: Option<SocketAddr>, env: &Env) -> Line {
        let header = |name| request.headers.get(name).unwrap_or_default();
        let (referer, agent) = (header("Referer"), header("User-Agent"));
        let (method, target) = (request.method.as_str(), request.target);
        let minor = u8::from(request.version == Version::Http11);
        let (mut front, mut back) = (String::new(), String::new());
        match self.format {
            Format::Combined => {
                match peer {
                    Some(peer) => drop(write!(front, "{}", peer.ip())),
                    None => front.push('-'),
                }
                let _ = write!(front, " - - [{}] \"", date(env.unix_time()));
                escape(&mut front, method.as_bytes());
                front.push(' ');
                escape(&mut front, target.as_bytes());
                let _ = write!(front, " HTTP/1.{minor}\"");
                for value in [referer, agent] {
                    back.push_str(" \"");
                    escape(&mut back, if value.is_empty() { b"-" } else { value });
                    back.push('"');
                }
            }
            Format::Json => {
                let time = env.unix_time().as_secs_f64();
                let peer = peer.map_or(String::new(), |peer| peer.to_string());
                let _ =
                    write!(front, "{{\"schema_version\":1,\"time\":{time:.3},\"peer\":\"{peer}\"");
                for (name, value) in [("method", method.as_bytes()), ("target", target.as_bytes())]
                {
                    field(&mut front, name, value);
                }
                let _ = write!(front, ",\"version\":\"1.{minor}\"");
                field(&mut back, "referer", referer);
                field(&mut back, "user_agent", agent);
            }
        }
        Line { front, back }
    }

    /// Writes the line of a request that is done with; whether there was room.
    pub(super) fn write(
        &self,
        line: Line,
        status: u16,
        bytes: u64,
        took: Duration,
        cut: bool,
    ) -> bool {
        let Line { front, back } = line;
        let text = match self.format {
            Format::Combined => format!("{front} {status} {bytes}{back}\n"),
            Format::Json => {
                let seconds = took.as_secs_f64();
                format!(
                    "{front},\"status\":{status},\"bytes\":{bytes},\"seconds\":{seconds:.6},\
                     \"cut\":{cut}{back}}}\n"
                )
            }
        };
        self.to.try_send(text).is_ok()
    }
}

/// `23/Nov/2026:20:05:01 +0000`.
fn date(since: Duration) -> String {
    // Of `Mon, 23 Nov 2026 20:05:01 GMT` (RFC 9110 §5.6.7), whose parts have fixed places.
    let text = httpdate::fmt_http_date(UNIX_EPOCH + since);
    let part = |range| text.get::<std::ops::Range<usize>>(range).unwrap_or_default();
    format!("{}/{}/{}:{} +0000", part(5..7), part(8..11), part(12..16), part(17..25))
}

/// As nginx does: quotes, backslashes and what is not printable ASCII as `\xHH`.
fn escape(out: &mut String, bytes: &[u8]) {
    for byte in bytes.iter().take(TOLD) {
        match byte {
            b'"' | b'\\' | ..0x20 | 0x7f.. => drop(write!(out, "\\x{byte:02X}")),
            byte => out.push(char::from(*byte)),
        }
    }
}

/// A field of an object; bytes that are no text become the sign for that.
fn field(out: &mut String, name: &str, bytes: &[u8]) {
    let _ = write!(out, ",\"{name}\":");
    common::quote(out, &String::from_utf8_lossy(&bytes[..bytes.len().min(TOLD)]));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_is_forged() {
        let mut out = String::new();
        escape(&mut out, b"a\"b\\c\nd\x7f\xff");
        assert_eq!(out, "a\\x22b\\x5Cc\\x0Ad\\x7F\\xFF");
        let mut out = String::new();
        field(&mut out, "x", b"a\"b\\c\n\xff");
        assert_eq!(out, ",\"x\":\"a\\\"b\\\\c\\n\u{fffd}\"");
    }

    #[test]
    fn dates_are_those_of_logs() {
        assert_eq!(date(Duration::from_secs(784_111_777)), "06/Nov/1994:08:49:37 +0000");
    }
}
