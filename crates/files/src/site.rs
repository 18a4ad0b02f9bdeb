//! A directory, as an application.
//!
//! Rules of this file:
//! * Only GET and HEAD; what is served and what not is `find.rs`'s business.
//! * Whatever path a request came by, one of [`Files::respond`]'s answers is written.

use crate::conditions::Part;
use crate::find::{self, Found, Name, Refusal};
use crate::{Sending, listing, mime};
use loopwork_http::core::{Body, Method, Request};
use loopwork_http::{Answer, App, Reply};
use std::fs::{File, Metadata};
use std::io;
use std::path::{Path, PathBuf};

/// Our own pages run nothing and load nothing.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

/// A directory, as an application.
///
/// What begins with a dot is not served, and neither is what a symbolic link reaches outside of
/// the directory.
pub struct Files {
    /// Canonical.
    root: PathBuf,
}

impl App for Files {
    type Exchange = Sending;

    fn on_request(&mut self, request: &Request<'_>, mut reply: Reply<'_>) -> Answer<Sending> {
        let sending = self.respond(request, "", &mut reply);
        reply.later(sending)
    }

    fn on_more(&mut self, sending: &mut Sending, reply: &mut Reply<'_>) {
        sending.more(reply);
    }
}

impl Files {
    /// The directory `root`, links to it followed once, now.
    ///
    /// # Errors
    /// What the system says of it; `NotADirectory`.
    pub fn new(root: impl AsRef<Path>) -> io::Result<Files> {
        let root = root.as_ref().canonicalize()?;
        if !root.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        Ok(Files { root })
    }

    /// The directory, as its canonical path.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Answers a request for what lies below `prefix`, such as `/static`; `""` is all there is.
    /// For an application that serves files beside other things: it keeps the [`Sending`] in its
    /// exchange, by [`Reply::later`], and gives it [`Sending::more`] from
    /// [`App::on_more`]. A path that is not below the prefix is answered with 404.
    pub fn respond(
        &mut self,
        request: &Request<'_>,
        prefix: &str,
        reply: &mut Reply<'_>,
    ) -> Sending {
        if !matches!(request.method, Method::Get | Method::Head) {
            let text = listing::message("405 Method Not Allowed", "This server only shows files.");
            return error(reply, 405, &[("Allow", "GET, HEAD")], text);
        }
        let name = match request.path().strip_prefix(prefix) {
            None => Err(Refusal::NotFound),
            // The prefix itself, which is a directory without its slash.
            Some("") => Ok(Name { path: PathBuf::new(), slash: false }),
            Some(below) if below.starts_with('/') || prefix.is_empty() => find::path(below),
            Some(_) => Err(Refusal::NotFound),
        };
        let found =
            name.and_then(|name| find::find(&self.root, &name.path).map(|found| (name, found)));
        match found {
            Ok((name, Found::Directory(real))) => {
                self.directory(request, reply, prefix, &name, &real)
            }
            // A file is not a directory: what asks for it as one means another file.
            Ok((name, Found::File(..))) if name.slash => refuse(reply, Refusal::NotFound),
            Ok((_, Found::File(file, metadata, real))) => {
                self.file(request, reply, file, &metadata, &real)
            }
            Err(why) => refuse(reply, why),
        }
    }

    fn directory(
        &mut self,
        request: &Request<'_>,
        reply: &mut Reply<'_>,
        prefix: &str,
        name: &Name,
        real: &Path,
    ) -> Sending {
        if !name.slash {
            // Made of the name and not of the target, which could be `//another.host`.
            let mut to = format!("{prefix}{}", find::url(&name.path));
            if let Some(query) = request.query() {
                to.push('?');
                to.push_str(query);
            }
            let text = listing::message("301 Moved Permanently", "A directory ends with a slash.");
            return error(reply, 301, &[("Location", &to)], text);
        }
        match find::find(&self.root, &name.path.join("index.html")) {
            Ok(Found::File(file, metadata, real)) => {
                return self.file(request, reply, file, &metadata, &real);
            }
            Ok(Found::Directory(_)) | Err(Refusal::NotFound | Refusal::Malformed) => {}
            Err(why) => return refuse(reply, why),
        }
        match listing::page(&self.root, real, &name.path) {
            Ok(text) => page(reply, text),
            Err(error) => refuse(reply, find::refusal(&error)),
        }
    }

    fn file(
        &mut self,
        request: &Request<'_>,
        reply: &mut Reply<'_>,
        file: File,
        metadata: &Metadata,
        path: &Path,
    ) -> Sending {
        let version = find::version(metadata);
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
            reply.answer(304, &headers, b"");
            return Sending::nothing();
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
        Sending::file(file, at..at + left, reply)
    }
}

fn page(reply: &mut Reply<'_>, page: String) -> Sending {
    let headers = [
        ("Content-Type", "text/html; charset=utf-8"),
        ("X-Content-Type-Options", "nosniff"),
        ("Content-Security-Policy", POLICY),
        ("Cache-Control", "no-cache"),
    ];
    if reply.head(200, headers, Body::Length(page.len() as u64)).is_err() {
        reply.abort();
    }
    Sending::page(page.into_bytes(), reply)
}

fn refuse(reply: &mut Reply<'_>, why: Refusal) -> Sending {
    let (status, title, text) = match why {
        Refusal::Malformed => (400, "400 Bad Request", "That is no path."),
        Refusal::NotFound => (404, "404 Not Found", "Nothing of that name is served here."),
        Refusal::Forbidden => (403, "403 Forbidden", "The server may not read it."),
        Refusal::Unavailable => (503, "503 Service Unavailable", "Try again in a moment."),
    };
    error(reply, status, &[], listing::message(title, text))
}

fn error(reply: &mut Reply<'_>, status: u16, headers: &[(&str, &str)], page: String) -> Sending {
    let mut all = vec![
        ("Content-Type", "text/html; charset=utf-8"),
        ("X-Content-Type-Options", "nosniff"),
        ("Content-Security-Policy", POLICY),
    ];
    all.extend_from_slice(headers);
    reply.answer(status, &all, page.as_bytes());
    Sending::nothing()
}
