//! A directory, as an application.
//!
//! Rules of this file:
//! * Only GET, HEAD and OPTIONS; what is served and what not is `find.rs`'s business.
//! * Whatever path a request came by, one of [`Files::respond`]'s answers is written.

use crate::answers::Served;
use crate::core::{self, Name, Refusal};
use crate::find::{self, Found};
use crate::listing::Order;
use crate::{Sending, answers, listing};
use loopwork_http::core::{Method, Request};
use loopwork_http::{Answer, App, Reply};
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A directory, as an application.
///
/// What begins with a dot is not served, and neither is what a symbolic link reaches outside of
/// the directory. A method other than GET, HEAD and OPTIONS is answered with 405.
pub struct Files {
    /// Canonical.
    root: PathBuf,
    index: String,
    listing: bool,
    hidden: bool,
    spa: bool,
    precompressed: bool,
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
        let (index, off) = ("index.html".to_owned(), false);
        Ok(Files { root, index, listing: off, hidden: off, spa: off, precompressed: off })
    }

    /// The directory, as its canonical path.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The file that a directory is shown as; `index.html` unless told otherwise, `""` for none.
    #[must_use]
    pub fn index(mut self, name: &str) -> Files {
        self.index = name.to_owned();
        self
    }

    /// Whether a directory without an index is shown as a page of its names; else it is 404, which
    /// is so unless told otherwise.
    #[must_use]
    pub fn listing(mut self, on: bool) -> Files {
        self.listing = on;
        self
    }

    /// Whether names that begin with a dot are served and listed; not unless told so.
    #[must_use]
    pub fn hidden(mut self, on: bool) -> Files {
        self.hidden = on;
        self
    }

    /// For an application that runs in the browser and has paths of its own: a GET or HEAD for
    /// what is not there, that names `text/html` in `Accept` and whose last segment has no dot, is
    /// answered with the root's index and 200. Not unless told so.
    #[must_use]
    pub fn spa(mut self, on: bool) -> Files {
        self.spa = on;
        self
    }

    /// Whether a file `a.js` is sent as `a.js.br`, `a.js.zst` or `a.js.gz`, if that lies beside it,
    /// is no older, and the client takes it. Each form has a tag of its own, and a range is one of
    /// the form that the same request gives without it; `If-Range` with a date is answered with the
    /// whole, since forms share dates. It costs up to three look-ups for each request. Not unless
    /// told so.
    #[must_use]
    pub fn precompressed(mut self, on: bool) -> Files {
        self.precompressed = on;
        self
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
        match request.method {
            Method::Get | Method::Head => {}
            Method::Options => return answers::options(reply),
            _ => return answers::not_allowed(reply),
        }
        let name = match request.path().strip_prefix(prefix) {
            None => Err(Refusal::NotFound),
            // The prefix itself, which is a directory without its slash.
            Some("") => Ok(Name { path: PathBuf::new(), slash: false }),
            Some(below) if below.starts_with('/') || prefix.is_empty() => {
                core::path(below, self.hidden)
            }
            Some(_) => Err(Refusal::NotFound),
        };
        let name = match name {
            Ok(name) => name,
            Err(why) => return answers::refuse(reply, why),
        };
        match find::find(&self.root, &name.path, self.hidden) {
            Ok(Found::Directory(real)) => self.directory(request, reply, prefix, &name, &real),
            // A file is not a directory: what asks for it as one means another file.
            Ok(Found::File(..)) if name.slash => self.nothing(request, reply, &name),
            Ok(Found::File(file, metadata, real)) => {
                self.file(request, reply, file, metadata, &real)
            }
            Err(Refusal::NotFound) => self.nothing(request, reply, &name),
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
        match self.find_index(&name.path) {
            Ok(Found::File(file, metadata, real)) => {
                return self.file(request, reply, file, metadata, &real);
            }
            Ok(Found::Directory(_)) | Err(Refusal::NotFound | Refusal::Malformed) => {}
            Err(why) => return answers::refuse(reply, why),
        }
        if !self.listing {
            return self.nothing(request, reply, name);
        }
        let order = Order::of(request.query().unwrap_or_default());
        match listing::page(&self.root, real, &name.path, order, self.hidden) {
            Ok(text) => answers::page(reply, text),
            Err(error) => answers::refuse(reply, find::refusal(&error)),
        }
    }

    /// The index of a directory below the root.
    fn find_index(&self, directory: &Path) -> Result<Found, Refusal> {
        match &self.index[..] {
            "" => Err(Refusal::NotFound),
            index => find::find(&self.root, &directory.join(index), self.hidden),
        }
    }

    /// Nothing is there: for the browser's own paths, the application that knows them.
    fn nothing(&mut self, request: &Request<'_>, reply: &mut Reply<'_>, name: &Name) -> Sending {
        let dotted = name.path.file_name().is_some_and(|n| n.as_bytes().contains(&b'.'));
        if self.spa && !dotted && takes_html(request) {
            match self.find_index(Path::new("")) {
                Ok(Found::File(file, metadata, real)) => {
                    return self.file(request, reply, file, metadata, &real);
                }
                Err(Refusal::Unavailable) => {
                    return answers::refuse(reply, Refusal::Unavailable);
                }
                _ => {}
            }
        }
        answers::refuse(reply, Refusal::NotFound)
    }

    fn file(
        &mut self,
        request: &Request<'_>,
        reply: &mut Reply<'_>,
        file: File,
        metadata: Metadata,
        path: &Path,
    ) -> Sending {
        let (mut served, varies) = ((file, metadata, None), self.precompressed);
        if varies {
            let codings = core::codings(request.headers.list("Accept-Encoding"));
            let form = find::beside(&self.root, &served.1, path, &codings, self.hidden);
            if let Some((file, metadata, coding)) = form {
                served = (file, metadata, Some(coding));
            }
        }
        let (file, metadata, coding) = served;
        answers::file(request, reply, Served { file, metadata, path, coding, varies })
    }
}

/// Whether a client asks for a page: it names `text/html`, as browsers do that go somewhere, and
/// as scripts that ask for data do not. RFC 9110 §12.5.1: `Accept = #( media-range [ weight ] )`.
fn takes_html(request: &Request<'_>) -> bool {
    request.headers.list("Accept").any(|member| {
        let mut parts = member.split(|b| *b == b';').map(<[u8]>::trim_ascii);
        let html = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case(b"text/html"));
        let never = |part: &[u8]| matches!(part, b"q=0" | b"q=0.0" | b"q=0.00" | b"q=0.000");
        html && !parts.any(never)
    })
}
