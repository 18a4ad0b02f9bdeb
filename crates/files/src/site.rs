//! A directory, as an application.
//!
//! Rules of this file:
//! * Only GET and HEAD; what is served and what not is `find.rs`'s business.
//! * Whatever path a request came by, one of [`Files::respond`]'s answers is written.

use crate::core::{self, Name, Refusal};
use crate::find::{self, Found};
use crate::{Sending, answers, listing};
use loopwork_http::core::{Method, Request};
use loopwork_http::{Answer, App, Reply};
use std::io;
use std::path::{Path, PathBuf};

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
            let text = "This server only shows files.";
            return answers::message(reply, 405, &[("Allow", "GET, HEAD")], text);
        }
        let name = match request.path().strip_prefix(prefix) {
            None => Err(Refusal::NotFound),
            // The prefix itself, which is a directory without its slash.
            Some("") => Ok(Name { path: PathBuf::new(), slash: false }),
            Some(below) if below.starts_with('/') || prefix.is_empty() => core::path(below, false),
            Some(_) => Err(Refusal::NotFound),
        };
        let found = name
            .and_then(|name| find::find(&self.root, &name.path, false).map(|found| (name, found)));
        match found {
            Ok((name, Found::Directory(real))) => {
                self.directory(request, reply, prefix, &name, &real)
            }
            // A file is not a directory: what asks for it as one means another file.
            Ok((name, Found::File(..))) if name.slash => answers::refuse(reply, Refusal::NotFound),
            Ok((_, Found::File(file, metadata, real))) => {
                answers::file(request, reply, file, &metadata, &real)
            }
            Err(why) => answers::refuse(reply, why),
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
            let mut to = format!("{prefix}{}", core::url(&name.path));
            if let Some(query) = request.query() {
                to.push('?');
                to.push_str(query);
            }
            let text = "A directory ends with a slash.";
            return answers::message(reply, 301, &[("Location", &to)], text);
        }
        match find::find(&self.root, &name.path.join("index.html"), false) {
            Ok(Found::File(file, metadata, real)) => {
                return answers::file(request, reply, file, &metadata, &real);
            }
            Ok(Found::Directory(_)) | Err(Refusal::NotFound | Refusal::Malformed) => {}
            Err(why) => return answers::refuse(reply, why),
        }
        match listing::page(&self.root, real, &name.path) {
            Ok(text) => answers::page(reply, text),
            Err(error) => answers::refuse(reply, find::refusal(&error)),
        }
    }
}
