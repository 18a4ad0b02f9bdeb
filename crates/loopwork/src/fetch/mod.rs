//! Fetching by URL: names looked up, addresses tried in turn, redirects followed, proxies asked.
//!
//! From `main`, blocking:
//!
//! ```no_run
//! let page = loopwork::http_get("http://localhost:8080/")?;
//! println!("{}: {} bytes", page.head.status, page.body.len());
//! # Ok::<(), loopwork::fetch::Error>(())
//! ```
//!
//! In a loop, the whole answer at once:
//!
//! ```no_run
//! use loopwork::{Agent, Fetch, Loop, Os};
//! let mut lp = Loop::new(Os::new()?);
//! let agent = Agent::new(&mut lp);
//! Fetch::post("http://localhost:8080/", "a body").whole(&mut lp.env, agent, |_, page| match page {
//!     Ok(page) => println!("{}", page.text()),
//!     Err(why) => eprintln!("{why}"),
//! });
//! lp.run()?;
//! # std::io::Result::Ok(())
//! ```
//!
//! By pieces, with backpressure: a [`Taker`] and [`Fetch::begin`] in a loop, [`Fetch::open`] and
//! [`std::io::Read`] in `main`.
//!
//! Rules of this module:
//! * [`Taker::on_end`] comes exactly once for each fetch, and nothing after it.
//! * What may be sent twice is: bytes, to the next address and by 307 and 308. A stream is sent
//!   once, and what a connection that never stood did not take is not lost.
//! * Credentials go where [`Chain`](crate::http::redirect::Chain) says, and are not shown.
//! * Which client speaks a scheme is decided at one place, [`Agent`]'s.

mod agent;
mod blocking;
mod error;
mod names;
mod proxies;
mod run;
mod whole;

pub use agent::{Agent, Fetching, Settings};
pub use blocking::{Download, http_get};
pub use error::Error;
pub use proxies::Proxies;
pub use run::Upload;
pub use whole::{LIMIT, Page};

use crate::http::core::encode::RequestHead;
use crate::http::core::{Headers, Response, Version};
use crate::http::inflate::Caps;
use crate::http::redirect::Policy;
use crate::http::{BadUrl, Url};
use crate::{Address, Env, Flow, Id};
use std::fmt;
use std::io::ErrorKind;
use std::time::Duration;

/// The schemes of a URL that is fetched.
pub const SCHEMES: &[&str] = &["http", "https"];

/// A request, made ready: what is fetched, and how.
#[derive(Clone)]
pub struct Fetch {
    pub(crate) method: String,
    pub(crate) url: Result<Url, BadUrl>,
    pub(crate) host: Option<String>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Content,
    pub(crate) follow: Option<Policy>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) limit: Option<u64>,
    pub(crate) inflate: Option<Caps>,
    pub(crate) close: bool,
    pub(crate) proxies: Option<Proxies>,
}

/// Without headers and body, which may be secret.
impl fmt::Debug for Fetch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fetch { method, url, .. } = self;
        f.debug_struct("Fetch").field("method", method).field("url", url).finish_non_exhaustive()
    }
}

/// A request's body.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Content {
    None,
    Bytes(Vec<u8>),
    /// So long; without a length in chunks.
    Stream(Option<u64>),
}

impl Fetch {
    /// A request of any method. A URL without a scheme is one of `http`; what is wrong with it
    /// comes out when it is fetched. User and password in it are sent as `Authorization: Basic`.
    #[must_use]
    pub fn new(method: &str, url: &str) -> Fetch {
        Fetch {
            method: method.to_string(),
            url: Url::parse(url, SCHEMES),
            host: None,
            headers: Vec::new(),
            body: Content::None,
            follow: Some(Policy::default()),
            timeout: None,
            limit: None,
            inflate: None,
            close: false,
            proxies: None,
        }
    }

    /// `GET url`.
    #[must_use]
    pub fn get(url: &str) -> Fetch {
        Fetch::new("GET", url)
    }

    /// `POST url`, with a body. Say what it is, by a header `Content-Type`.
    #[must_use]
    pub fn post(url: &str, body: impl Into<Vec<u8>>) -> Fetch {
        Fetch::new("POST", url).body(body)
    }

    /// With a header; one of the same name stays. `Host` takes the place of that of the URL, as
    /// long as no redirect leads elsewhere.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Fetch {
        match name.eq_ignore_ascii_case("host") {
            true => self.host = Some(value.to_string()),
            false => self.headers.push((name.to_string(), value.to_string())),
        }
        self
    }

    /// With these bytes as the body.
    #[must_use]
    pub fn body(mut self, bytes: impl Into<Vec<u8>>) -> Fetch {
        self.body = Content::Bytes(bytes.into());
        self
    }

    /// With a body that [`Taker::on_upload`] writes, of so many bytes, or in chunks. It can be
    /// sent once: a redirect that wants it again is [`Error::Replay`].
    #[must_use]
    pub fn stream(mut self, length: Option<u64>) -> Fetch {
        self.body = Content::Stream(length);
        self
    }

    /// Which redirects are followed; with `None`, redirects are answers like others.
    #[must_use]
    pub fn redirects(mut self, follow: Option<Policy>) -> Fetch {
        self.follow = follow;
        self
    }

    /// How long all of it may take: looking up, connecting, redirects and bodies. Without it each
    /// wait has the deadline that the client gives it.
    #[must_use]
    pub fn timeout(mut self, time: Duration) -> Fetch {
        self.timeout = Some(time);
        self
    }

    /// Through these proxies, and not through those of the agent.
    ///
    /// ```no_run
    /// use loopwork::{Fetch, fetch::Proxies};
    /// let page = Fetch::get("http://localhost/").proxies(Proxies::from_env()?).wait()?;
    /// # Ok::<(), loopwork::fetch::Error>(())
    /// ```
    #[must_use]
    pub fn proxies(mut self, proxies: Proxies) -> Fetch {
        self.proxies = Some(proxies);
        self
    }

    /// How long the answer's body may be; a longer one is [`Error::TooLong`]. If nothing is said,
    /// [`LIMIT`] bytes where it is taken as a whole, and any number by pieces.
    #[must_use]
    pub fn limit(mut self, bytes: u64) -> Fetch {
        self.limit = Some(bytes);
        self
    }

    /// Asks for a compressed answer (`Accept-Encoding`, unless there is such a header), and hands
    /// over what it was made from: `gzip` and `deflate` are undone, within these caps, and a
    /// [limit](Fetch::limit) is one of what comes out. The [`Head`] is as it came, so that its
    /// `Content-Length` is not that of what is handed over. What cannot be decoded is
    /// [`Error::Coding`].
    ///
    /// ```no_run
    /// use loopwork::{Fetch, http::inflate::Caps};
    /// let page = Fetch::get("http://localhost/").inflate(Caps::default()).wait()?;
    /// # Ok::<(), loopwork::fetch::Error>(())
    /// ```
    #[must_use]
    pub fn inflate(mut self, caps: Caps) -> Fetch {
        self.inflate = Some(caps);
        self
    }

    /// Asks the server to close the connection afterwards (`Connection: close`).
    #[must_use]
    pub fn close(mut self) -> Fetch {
        self.close = true;
        self
    }

    /// Begins, and hands to `taker` what comes. Nothing is called before this returns.
    pub fn begin(self, env: &mut Env, agent: Agent, taker: impl Taker) -> Fetching {
        agent.begin(env, self, Box::new(taker))
    }
}

/// Header lines as they came: in their order, their names in their case.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Lines(pub Vec<(String, Vec<u8>)>);

impl Lines {
    pub(crate) fn of(headers: &Headers<'_>) -> Lines {
        let line = |(name, value): (&str, &[u8])| (name.to_string(), value.to_vec());
        Lines(headers.iter().map(line).collect())
    }

    /// The first value of this name, in any case.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.0.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| &value[..])
    }

    /// All values of this name that are text.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let named = self.0.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name));
        named.filter_map(|(_, value)| std::str::from_utf8(value).ok())
    }

    /// The same, if it is text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(|value| std::str::from_utf8(value).ok())
    }
}

/// The head of an answer.
#[derive(Clone, Debug)]
pub struct Head {
    /// Who answers: the URL at the end of all redirects.
    pub url: Url,
    /// The status code.
    pub status: u16,
    /// The reason phrase.
    pub reason: Vec<u8>,
    /// The server's version.
    pub version: Version,
    /// The headers.
    pub headers: Lines,
    /// The connection that it came by: what a [tracer](crate::reactor::Tracer) calls it.
    pub connection: Option<Id>,
}

impl Head {
    pub(crate) fn of(url: &Url, response: &Response<'_>, connection: Option<Id>) -> Head {
        Head {
            url: url.clone(),
            connection,
            status: response.status,
            reason: response.reason.to_vec(),
            version: response.version,
            headers: Lines::of(&response.headers),
        }
    }

    /// Whether the status is one of success (2xx).
    #[must_use]
    pub fn ok(&self) -> bool {
        matches!(self.status, 200..=299)
    }
}

/// A request that goes out.
#[derive(Clone, Copy)]
pub struct Asking<'a> {
    /// For what fetch.
    pub fetching: Fetching,
    /// What is asked for.
    pub url: &'a Url,
    /// Who is connected to: the server, or the proxy.
    pub to: &'a Address,
    /// The head, but for its headers.
    pub head: RequestHead<'a>,
    /// The headers.
    pub headers: &'a [(String, String)],
}

/// How a fetch ended that has its whole answer.
#[derive(Clone, Debug)]
pub struct Done {
    /// The trailers, if there were any.
    pub trailers: Lines,
    /// Redirects that were followed.
    pub redirects: u32,
}

/// Who takes an answer as it comes. The time of a callback is [`Env::now`].
pub trait Taker: 'static {
    /// A request goes out: the first, one to the next address, or one that a redirect led to.
    fn on_asking(&mut self, _env: &mut Env, _asking: &Asking<'_>) {}

    /// This address could not be connected to; the next one is asked.
    fn on_unreachable(&mut self, _env: &mut Env, _to: &Address, _kind: ErrorKind) {}

    /// There is room for more of a body that is a [stream](Fetch::stream). Who has nothing to
    /// write yet calls [`Agent::resume`] when it has.
    fn on_upload(&mut self, up: &mut Upload<'_>) {
        up.finish();
    }

    /// An interim answer (1xx).
    fn on_interim(&mut self, _env: &mut Env, _head: &Head) {}

    /// An answer that redirects to `to`, and is followed. Its body is dropped.
    fn on_redirect(&mut self, _env: &mut Env, _head: &Head, _to: &Url) {}

    /// The head of the answer.
    fn on_head(&mut self, _env: &mut Env, _head: Head) {}

    /// Bytes of its body. [`Flow::Full`]: no more until [`Agent::resume`], and the server waits.
    fn on_body(&mut self, env: &mut Env, bytes: &[u8]) -> Flow;

    /// It is over: once, and nothing after it.
    fn on_end(self: Box<Self>, env: &mut Env, end: Result<Done, Error>);
}
