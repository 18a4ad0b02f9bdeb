//! A directory, as an application.
//!
//! Rules of this file:
//! * Only GET, HEAD and OPTIONS; what is served and what not is `find.rs`'s business.
//! * Whatever path a request came by, one of [`Files::respond`]'s answers is written.

use crate::answers::{Content, Facts};
use crate::cache::{self, Cache};
use crate::core::{self, Coding, Name, Refusal};
use crate::disk::{DISK, Disk};
use crate::find::{self, Found, Opened};
use crate::listing::Order;
use crate::sending::Source;
use crate::waiting::Waiting;
use crate::{Sending, answers, listing};
use loopwork_http::core::{Method, Request};
use loopwork_http::{Answer, App, Reply};
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
    cache: Cache,
    pub(crate) disk: &'static Disk,
}

impl App for Files {
    type Exchange = Sending;

    fn on_request(&mut self, request: &Request<'_>, mut reply: Reply<'_>) -> Answer<Sending> {
        let sending = self.answer(request, "", &mut reply, true);
        reply.later(sending)
    }

    fn on_more(&mut self, sending: &mut Sending, reply: &mut Reply<'_>) {
        match sending.known() {
            Some(waiting) => {
                let answered = waiting.with(|request| self.answer(request, "", reply, false));
                let refused = Refusal::Unavailable;
                *sending = answered.unwrap_or_else(|| answers::refuse(reply, refused));
            }
            None => sending.more(reply),
        }
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
        let (listing, hidden, spa, precompressed) = (off, off, off, off);
        let cache = Cache::new(cache::BYTES);
        let disk = &DISK;
        Ok(Files { root, index, listing, hidden, spa, precompressed, cache, disk })
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

    /// How many bytes of small files are kept in memory, at most; 16 MiB unless told otherwise, 0
    /// for none. A file that is kept is looked at in every turn in which it is asked for, and read
    /// anew when it has changed. One of more than 64 KiB is never kept.
    #[must_use]
    pub fn cache(mut self, bytes: usize) -> Files {
        self.cache = Cache::new(bytes);
        self
    }

    /// Answers a request for what lies below `prefix`, such as `/static`; `""` is all there is.
    /// For an application that serves files beside other things: it keeps the [`Sending`] in its
    /// exchange, by [`Reply::later`], and gives it [`Sending::more`] from
    /// [`App::on_more`]. A path that is not below the prefix is answered with 404. A name that is
    /// not in memory is looked up here, which a slow disk may make long; for `Files` as an
    /// application a thread that may block does that.
    pub fn respond(
        &mut self,
        request: &Request<'_>,
        prefix: &str,
        reply: &mut Reply<'_>,
    ) -> Sending {
        self.answer(request, prefix, reply, false)
    }

    /// As [`respond`](Self::respond); `may_wait`: the request may have to come again.
    fn answer(
        &mut self,
        request: &Request<'_>,
        prefix: &str,
        reply: &mut Reply<'_>,
        may_wait: bool,
    ) -> Sending {
        match request.method {
            Method::Get | Method::Head => {}
            Method::Options => return answers::options(reply),
            _ => return answers::not_allowed(reply),
        }
        let Some(below) = below(request, prefix) else {
            return answers::refuse(reply, Refusal::NotFound);
        };
        if let Some(sending) = self.kept(request, reply, below) {
            return sending;
        }
        let name = match below {
            // The prefix itself, which is a directory without its slash.
            "" => Ok(Name { path: PathBuf::new(), slash: false }),
            below => core::path(below, self.hidden),
        };
        let name = match name {
            Ok(name) => name,
            Err(why) => return answers::refuse(reply, why),
        };
        if may_wait && let Some(waiting) = self.wait(request, reply, &name) {
            return Sending::waiting(waiting);
        }
        match find::find(&self.root, &name.path, self.hidden) {
            Ok(Found::Directory(real)) => self.directory(request, reply, prefix, &name, &real),
            // A file is not a directory: what asks for it as one means another file.
            Ok(Found::File(..)) if name.slash => self.nothing(request, reply, &name),
            Ok(Found::File(opened)) => {
                let path = self.root.join(&name.path);
                self.file(request, reply, opened, Some((below, path)))
            }
            Err(Refusal::NotFound) => self.nothing(request, reply, &name),
            Err(why) => answers::refuse(reply, why),
        }
    }

    /// Waits for the disk, if it has to be asked for something that the name may lead to.
    fn wait(&self, request: &Request<'_>, reply: &mut Reply<'_>, name: &Name) -> Option<Waiting> {
        let mut path = self.root.join(&name.path);
        if name.slash {
            path.push(&self.index);
        }
        let mut paths: Vec<_> =
            self.codings(request).into_iter().map(|c| find::in_form(&path, c)).collect();
        paths.push(path);
        if paths.iter().all(|path| (self.disk.knows)(path)) {
            return None;
        }
        Waiting::begin(request, reply, paths, self.disk.look)
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
            Ok(Found::File(opened)) => {
                let path = self.root.join(&name.path).join(&self.index);
                let key = below(request, prefix).map(|below| (below, path));
                return self.file(request, reply, opened, key);
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
                // Not kept: its path is not the one that was asked for.
                Ok(Found::File(opened)) => return self.file(request, reply, opened, None),
                Err(Refusal::Unavailable) => {
                    return answers::refuse(reply, Refusal::Unavailable);
                }
                _ => {}
            }
        }
        answers::refuse(reply, Refusal::NotFound)
    }

    /// A small file that was asked for before by the same path, and is the same by now.
    fn kept(
        &mut self,
        request: &Request<'_>,
        reply: &mut Reply<'_>,
        below: &str,
    ) -> Option<Sending> {
        let codings = self.codings(request);
        let kept = self.cache.get(below, &codings, reply.env.now)?;
        Some(answers::file(request, reply, &kept.facts, Content::Memory(&kept.bytes)))
    }

    /// The forms that the client would rather have, if they are looked for.
    fn codings(&self, request: &Request<'_>) -> Vec<Coding> {
        match self.precompressed {
            true => core::codings(request.headers.list("Accept-Encoding")),
            false => Vec::new(),
        }
    }

    /// A file, which may be kept for who asks by this path again, and looked at there.
    fn file(
        &mut self,
        request: &Request<'_>,
        reply: &mut Reply<'_>,
        plain: Opened,
        key: Option<(&str, PathBuf)>,
    ) -> Sending {
        let codings = self.codings(request);
        let beside = find::beside(&self.root, &plain, &codings, self.hidden);
        let (form, coding) = beside.as_ref().map_or((&plain, None), |(f, c)| (f, Some(*c)));
        let facts = Facts::new(&form.metadata, &plain.real, coding, self.precompressed);
        let now = (reply.env.now, reply.env.unix_time());
        let kept = key.and_then(|(name, path)| {
            let found = cache::Found { name, path, plain: &plain, form, coding };
            self.cache.keep(found, &facts, now)
        });
        match kept {
            Some(bytes) => answers::file(request, reply, &facts, Content::Memory(&bytes)),
            None => {
                let opened = beside.map_or(plain, |(form, _)| form);
                let source = Source::new(opened.file, self.disk);
                answers::file(request, reply, &facts, Content::File(source))
            }
        }
    }
}

/// The path of a request below a prefix, if it is below it: what follows is a slash or nothing.
fn below<'a>(request: &Request<'a>, prefix: &str) -> Option<&'a str> {
    let below = request.path().strip_prefix(prefix)?;
    let is = prefix.is_empty() || below.is_empty() || below.starts_with('/');
    is.then_some(below)
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
