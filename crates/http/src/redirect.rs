//! Where a redirect leads, and what goes along (RFC 9110 §15.4).
//!
//! Rules of this file:
//! * It decides and does nothing: no I/O, no time; the same answers, the same way.
//! * What a request dropped on its way it does not take up again: who leads back to the first
//!   origin is somebody else.
//! * Every chain ends: it has a limit, and that is all there is about loops.

use crate::url::{Bad, Url};
use std::fmt;

/// Redirects that are followed: as many as browsers do. An honest one needs three.
pub const LIMIT: u32 = 20;

/// What may be followed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Policy {
    /// Redirects of one request: [`LIMIT`]. One more is [`Refused::TooMany`]; with 0, any is.
    pub limit: u32,
    /// Whether `https` may lead to `http`, where everybody on the way reads along. Off.
    pub downgrade: bool,
    /// Whether the method stays what it is, whatever the status says, as with curl's `-X`. The
    /// body goes where the status says all the same. Off.
    pub keep_method: bool,
    /// Whether credentials go along to other origins, as with curl's `--location-trusted`. Off.
    pub trusting: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Policy { limit: LIMIT, downgrade: false, keep_method: false, trusting: false }
    }
}

/// Why a redirect is not followed.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Refused {
    /// There were this many before it.
    TooMany(u32),
    /// `Location` is no URL, or one of another scheme than `http` and `https`.
    Location(Bad),
    /// `Location` has a user or a password: a server does not choose as whom one comes (RFC 9110
    /// §4.2.4).
    Login,
    /// From `https` to `http`.
    Downgrade,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::TooMany(n) => write!(f, "more than {n} redirects"),
            Refused::Location(bad) => write!(f, "the redirect leads to no URL of HTTP: {bad}"),
            Refused::Login => f.write_str("the redirect names a user"),
            Refused::Downgrade => f.write_str("the redirect leads from https to http"),
        }
    }
}

impl std::error::Error for Refused {}

/// The next request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Next {
    /// Where it goes.
    pub url: Url,
    /// Its method.
    pub method: String,
    /// Whether the body is sent again. If not, this request and all behind it have none.
    pub with_body: bool,
}

/// A request and the redirects that it has followed.
///
/// ```
/// use loopwork_http::redirect::{Chain, Policy};
/// use loopwork_http::Url;
///
/// let mut chain = Chain::new(Policy::default());
/// let url = Url::parse("http://a/form?x", &["http"]).unwrap();
/// let next = chain.next(&url, "POST", 303, Some(b"//b/done")).unwrap().unwrap();
/// assert_eq!((next.url.to_string(), &*next.method), ("http://b/done".into(), "GET"));
/// assert!(!next.with_body && !chain.sends("Content-Type") && !chain.sends("Cookie"));
/// assert!(chain.sends("Accept"));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Chain {
    policy: Policy,
    followed: u32,
    /// It has left the origin that the caller named.
    abroad: bool,
    /// Its method became another one, and the body was dropped.
    bare: bool,
}

/// The schemes that a redirect may lead to.
const SCHEMES: &[&str] = &["http", "https"];

/// §15.4, items 2 and 3: they say who asks, to those whom they were meant for.
const CREDENTIALS: [&str; 3] = ["authorization", "cookie", "proxy-authorization"];

/// §15.4, item 5: they speak of a body that is not there. `Expect`, `Trailer` and
/// `Transfer-Encoding` likewise.
const OF_CONTENT: [&str; 12] = [
    "content-digest",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-type",
    "digest",
    "expect",
    "last-modified",
    "repr-digest",
    "trailer",
    "transfer-encoding",
];

impl Chain {
    /// Before the first redirect.
    #[must_use]
    pub fn new(policy: Policy) -> Chain {
        Chain { policy, ..Chain::default() }
    }

    /// How many redirects were followed.
    #[must_use]
    pub fn followed(&self) -> u32 {
        self.followed
    }

    /// What follows an answer with this status and `Location` to a request of `method` for `from`.
    /// `None`: it is no redirect, and meant for who asked.
    ///
    /// * 301, 302: a POST becomes a GET, as everybody does it (§15.4.2, §15.4.3).
    /// * 303: everything becomes a GET but HEAD (§15.4.4).
    /// * 307, 308: method and body stay (§15.4.8, §15.4.9).
    ///
    /// # Errors
    /// It is one, and is not to be followed; the chain is as it was.
    pub fn next(
        &mut self,
        from: &Url,
        method: &str,
        status: u16,
        location: Option<&[u8]>,
    ) -> Result<Option<Next>, Refused> {
        let Some(location) = location.filter(|_| matches!(status, 301..=303 | 307 | 308)) else {
            return Ok(None);
        };
        if self.followed >= self.policy.limit {
            return Err(Refused::TooMany(self.policy.limit));
        }
        let mut url = from.join(&text(location), SCHEMES).map_err(Refused::Location)?;
        let other = !url.same_origin(from);
        if url.login.is_some() && (other || url.login != from.login) {
            return Err(Refused::Login);
        }
        if from.scheme == "https" && url.scheme == "http" && !self.policy.downgrade {
            return Err(Refused::Downgrade);
        }
        let drops = match status {
            301 | 302 => method == "POST",
            303 => true,
            _ => false,
        };
        self.followed += 1;
        self.abroad |= other;
        self.bare |= drops;
        if !other || self.policy.trusting {
            url.login.clone_from(&from.login);
        }
        let becomes_get = drops && method != "HEAD" && !self.policy.keep_method;
        let method = if becomes_get { "GET" } else { method }.to_string();
        Ok(Some(Next { url, method, with_body: !self.bare }))
    }

    /// Whether a header of the first request belongs into the next one too: `Host` and credentials
    /// stay with their origin (scheme, host and port), and what speaks of the body goes with it.
    #[must_use]
    pub fn sends(&self, header: &str) -> bool {
        let among = |names: &[&str]| names.iter().any(|name| name.eq_ignore_ascii_case(header));
        let secret = !self.policy.trusting && among(&CREDENTIALS);
        let stays = self.abroad && (secret || among(&["host"]));
        !(stays || self.bare && among(&OF_CONTENT))
    }
}

/// `Location` as a reference: bytes that none has are encoded, as browsers and curl do it.
fn text(location: &[u8]) -> String {
    let mut text = String::with_capacity(location.len());
    for &byte in location {
        match byte {
            b' ' | 0x80.. => text.push_str(&format!("%{byte:02X}")),
            byte => text.push(byte.into()),
        }
    }
    text
}
