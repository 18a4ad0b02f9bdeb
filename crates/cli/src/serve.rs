//! `loopwork serve`: a directory over HTTP.
//!
//! Rules of this file:
//! * Memory is constant: the kernel sends files from where they lie, as their connections drain.
//! * The length that the head promised is kept, or the connection is cut: a file that shrinks
//!   while it is sent is never padded.
//! * Only GET and HEAD; what is served and what not is `files.rs`'s business.

use crate::common::{self, Fail, Outcome};
use crate::conditions::Part;
use crate::files::{self, Found, Name, Refusal};
use crate::{listing, mime, ws};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use loopwork::http::core::{Body, Method, Request};
use loopwork::http::{Answer, App, Http, Reply};
use loopwork::{Flow, Loop, Os, tcp};
use std::fs::{File, Metadata};
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// One read of a file: what a connection's output holds before it is full.
const CHUNK: usize = tcp::HIGH_WATER;

const EXAMPLES: &str = "\
Examples:
  loopwork serve                       this directory, on http://127.0.0.1:8080
  loopwork serve public -p 0           another one, on a free port
  loopwork serve -b 0.0.0.0 -p 80 www  for the whole network

What begins with a dot is not served, and neither is what a symbolic link reaches outside of the
directory. ^C finishes what is in flight; a second ^C ends at once.
";

pub(crate) fn command() -> Command {
    Command::new("serve")
        .about("Serve a directory over HTTP")
        .after_help(EXAMPLES)
        .arg(
            Arg::new("dir")
                .value_name("DIR")
                .help("The directory")
                .value_parser(value_parser!(PathBuf))
                .default_value("."),
        )
        .arg(
            Arg::new("port")
                .short('p')
                .long("port")
                .value_name("PORT")
                .help("The port; 0 takes a free one")
                .value_parser(value_parser!(u16))
                .default_value("8080"),
        )
        .arg(
            Arg::new("bind")
                .short('b')
                .long("bind")
                .value_name("IP")
                .help("The address to listen on; 0.0.0.0 or :: for the whole network")
                .value_parser(value_parser!(IpAddr))
                .default_value("127.0.0.1"),
        )
        .arg(
            Arg::new("ws-echo")
                .long("ws-echo")
                .value_name("PATH")
                .help("On this path, answer WebSockets with what they say"),
        )
        .arg(
            Arg::new("anywhere")
                .long("anywhere")
                .help("Serve / or the home directory too, and what holds it")
                .action(ArgAction::SetTrue),
        )
        .arg(shutdown_timeout())
}

/// The flag that all servers have.
pub(crate) fn shutdown_timeout() -> Arg {
    Arg::new("shutdown-timeout")
        .long("shutdown-timeout")
        .value_name("SECS")
        .help("After SIGTERM or ^C: how long what is in flight may take")
        .value_parser(common::seconds)
        .default_value("10")
}

pub(crate) fn run(matches: &ArgMatches) -> Outcome {
    let dir: PathBuf = common::parsed(matches, "dir").unwrap_or_default();
    let root = root(&dir, matches.get_flag("anywhere"))?;
    let ip = common::parsed(matches, "bind").unwrap_or(IpAddr::from([127, 0, 0, 1]));
    let at = SocketAddr::new(ip, common::parsed(matches, "port").unwrap_or_default());
    let timeout = common::parsed(matches, "shutdown-timeout").unwrap_or_default();
    let site = Site { root };
    match common::text(matches, "ws-echo") {
        None => start(at, timeout, Http::new(site)),
        Some(path) => {
            let echo = ws::echo(Some(format!("/{}", path.trim_start_matches('/'))));
            start(at, timeout, Http::with_upgrade(site, echo))
        }
    }
}

/// Listens, announces, serves until told to end.
fn start<P: tcp::Protocol>(at: SocketAddr, timeout: Duration, protocol: P) -> Outcome {
    let mut lp = Loop::new(Os::new()?);
    let listening = tcp::listen(&mut lp, at, protocol);
    let (host, at) = listening.map_err(|error| common::cannot_listen(at, &error))?;
    common::end_in_order(&mut lp, timeout, move |env| tcp::shutdown(env, host))?;
    common::announce("http", at);
    common::serve(&mut lp)
}

fn root(dir: &Path, anywhere: bool) -> Result<PathBuf, Fail> {
    let shown = dir.display();
    let root = dir.canonicalize().map_err(|error| {
        let why = common::reason(&error);
        Fail::failed(format!("cannot serve {shown}: {why}; name a directory that exists"))
    })?;
    if !root.is_dir() {
        let text = format!("cannot serve {shown}: not a directory; name the one that holds it");
        return Err(Fail::failed(text));
    }
    if !anywhere && files::is_too_much(&root, std::env::var_os("HOME")) {
        let text = format!(
            "will not serve {}: it holds your home directory or the whole machine; \
             name a directory in it, or say --anywhere",
            root.display()
        );
        return Err(Fail::failed(text));
    }
    Ok(root)
}

/// A directory, as an application.
struct Site {
    /// Canonical.
    root: PathBuf,
}

/// An answer that is under way.
enum Sending {
    /// A file, and what is left of it.
    File { file: Arc<File>, left: Range<u64> },
    /// A page, from here.
    Page { bytes: Vec<u8>, at: usize },
}

impl App for Site {
    type Exchange = Sending;

    fn on_request(&mut self, request: &Request<'_>, reply: Reply<'_>) -> Answer<Sending> {
        if !matches!(request.method, Method::Get | Method::Head) {
            let text = listing::message("405 Method Not Allowed", "This server only shows files.");
            return error(reply, 405, &[("Allow", "GET, HEAD")], text);
        }
        let found = files::path(request.path())
            .and_then(|name| files::find(&self.root, &name.path).map(|found| (name, found)));
        match found {
            Ok((name, Found::Directory(real))) => self.directory(request, reply, &name, &real),
            // A file is not a directory: what asks for it as one means another file.
            Ok((name, Found::File(..))) if name.slash => refuse(reply, Refusal::NotFound),
            Ok((_, Found::File(file, metadata, real))) => {
                self.file(request, reply, file, &metadata, &real)
            }
            Err(why) => refuse(reply, why),
        }
    }

    fn on_more(&mut self, sending: &mut Sending, reply: &mut Reply<'_>) {
        match sending {
            Sending::Page { bytes, at } => {
                while *at < bytes.len() && reply.body.flow() == Flow::Open {
                    let end = bytes.len().min(*at + CHUNK);
                    let _ = reply.body.write(&bytes[*at..end]);
                    *at = end;
                }
            }
            Sending::File { file, left } => {
                if reply.body.write_file(file, left).is_err() {
                    // It has become shorter, or cannot be read: only a cut tells the client.
                    reply.abort();
                }
            }
        }
    }
}

impl Site {
    fn directory(
        &mut self,
        request: &Request<'_>,
        reply: Reply<'_>,
        name: &Name,
        real: &Path,
    ) -> Answer<Sending> {
        if !name.slash {
            // Made of the name and not of the target, which could be `//another.host`.
            let mut to = files::url(&name.path);
            if let Some(query) = request.query() {
                to.push('?');
                to.push_str(query);
            }
            let text = listing::message("301 Moved Permanently", "A directory ends with a slash.");
            return error(reply, 301, &[("Location", &to)], text);
        }
        match files::find(&self.root, &name.path.join("index.html")) {
            Ok(Found::File(file, metadata, real)) => {
                return self.file(request, reply, file, &metadata, &real);
            }
            Ok(Found::Directory(_)) | Err(Refusal::NotFound | Refusal::Malformed) => {}
            Err(why) => return refuse(reply, why),
        }
        match listing::page(&self.root, real, &name.path) {
            Ok(page) => self.page(reply, page),
            Err(error) => refuse(reply, files::refusal(&error)),
        }
    }

    fn page(&mut self, mut reply: Reply<'_>, page: String) -> Answer<Sending> {
        let headers = [
            ("Content-Type", "text/html; charset=utf-8"),
            ("X-Content-Type-Options", "nosniff"),
            ("Content-Security-Policy", POLICY),
            ("Cache-Control", "no-cache"),
        ];
        if reply.head(200, headers, Body::Length(page.len() as u64)).is_err() {
            reply.abort();
        }
        let mut sending = Sending::Page { bytes: page.into_bytes(), at: 0 };
        self.begin(&mut sending, &mut reply);
        reply.later(sending)
    }

    fn file(
        &mut self,
        request: &Request<'_>,
        mut reply: Reply<'_>,
        file: File,
        metadata: &Metadata,
        path: &Path,
    ) -> Answer<Sending> {
        let version = files::version(metadata);
        let date = version.modified.map(httpdate::fmt_http_date);
        let kind = mime::content_type(path);
        let mut headers = vec![
            ("Content-Type", kind.as_str()),
            ("X-Content-Type-Options", "nosniff"),
            ("Accept-Ranges", "bytes"),
            ("ETag", &version.tag),
        ];
        headers.extend(date.as_deref().map(|date| ("Last-Modified", date)));
        if version.is_known(&request.headers) {
            return reply.send(304, &headers, b"");
        }
        let len = metadata.len();
        // RFC 9110 §14.2: a range means something with GET alone.
        let part = match request.method {
            Method::Get => version.part(&request.headers, len),
            _ => Part::Whole,
        };
        let (status, at, left, range) = match part {
            Part::Whole => (200, 0, len, None),
            Part::Bytes(first, last) => {
                (206, first, last - first + 1, Some(format!("bytes {first}-{last}/{len}")))
            }
            Part::Outside => {
                let range = format!("bytes */{len}");
                let text =
                    listing::message("416 Range Not Satisfiable", "It is shorter than that.");
                return error(reply, 416, &[("Content-Range", &range)], text);
            }
        };
        headers.extend(range.as_deref().map(|range| ("Content-Range", range)));
        if reply.head(status, headers, Body::Length(left)).is_err() {
            reply.abort();
        }
        let mut sending = Sending::File { file: Arc::new(file), left: at..at + left };
        self.begin(&mut sending, &mut reply);
        reply.later(sending)
    }

    /// The first of the body goes with the head, in one packet.
    fn begin(&mut self, sending: &mut Sending, reply: &mut Reply<'_>) {
        if reply.body.started() && !reply.body.done() {
            self.on_more(sending, reply);
        }
    }
}

/// Our own pages run nothing and load nothing.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

fn refuse(reply: Reply<'_>, why: Refusal) -> Answer<Sending> {
    let (status, title, text) = match why {
        Refusal::Malformed => (400, "400 Bad Request", "That is no path."),
        Refusal::NotFound => (404, "404 Not Found", "Nothing of that name is served here."),
        Refusal::Forbidden => (403, "403 Forbidden", "The server may not read it."),
        Refusal::Unavailable => (503, "503 Service Unavailable", "Try again in a moment."),
    };
    error(reply, status, &[], listing::message(title, text))
}

fn error(reply: Reply<'_>, status: u16, headers: &[(&str, &str)], page: String) -> Answer<Sending> {
    let mut all = vec![
        ("Content-Type", "text/html; charset=utf-8"),
        ("X-Content-Type-Options", "nosniff"),
        ("Content-Security-Policy", POLICY),
    ];
    all.extend_from_slice(headers);
    reply.send(status, &all, page.as_bytes())
}
