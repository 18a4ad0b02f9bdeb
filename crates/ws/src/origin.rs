//! Whose pages may ask for a WebSocket (RFC 6455 §10.2).
//!
//! Rules of this file:
//! * No `Origin` is no browser: such a client sends what it likes, so the check would stop nobody.
//!   Two are refused, and so is `null`, of a sandboxed page or a file.
//! * Origins are compared whole: scheme, host and port. There are no patterns; what looks like a
//!   part of a trusted name may be anybody's.

use loopwork_http::core::Request;
use loopwork_http::{BadUrl, Url};

/// Only these load pages whose origin says who wrote them.
const SCHEMES: [&str; 2] = ["http", "https"];

/// Whether the page that asks comes from the host that it asks (RFC 6455 §10.2), so that another
/// site's page cannot use the cookies of its visitor here. A request without `Origin` comes from
/// no browser and is fine; the origin `null`, of a sandboxed page or a file, is not.
#[must_use]
pub fn same_origin(request: &Request<'_>) -> bool {
    let mut origins = request.headers.get_all("Origin");
    let Some(origin) = origins.next() else { return true };
    let host = std::str::from_utf8(origin).ok().and_then(|o| o.split_once("://"));
    let same = host.is_some_and(|(_, host)| host.eq_ignore_ascii_case(request.host()));
    same && origins.next().is_none()
}

/// The origins whose pages may ask, where that is more than the [own host's](same_origin), or
/// where a proxy stands before it and `Host` is not what the browser was told.
#[derive(Clone, Debug)]
pub struct Origins(Vec<Url>);

impl Origins {
    /// Each as browsers write it, `https://example.org` or `http://[::1]:8080`. A port that is the
    /// scheme's may be named or not; a name beyond ASCII is written as browsers send it,
    /// `xn--…`.
    ///
    /// # Errors
    /// What is no origin, of `http` or `https`: a path behind it, a user before it, a pattern.
    pub fn new(origins: &[&str]) -> Result<Origins, BadUrl> {
        origins.iter().map(|origin| read(origin)).collect::<Result<_, _>>().map(Origins)
    }

    /// Whether the page that asks is of one of them. A request without `Origin` is of no page, and
    /// fine; `null`, or more than one `Origin`, is not.
    #[must_use]
    pub fn allow(&self, request: &Request<'_>) -> bool {
        let mut origins = request.headers.get_all("Origin");
        let Some(origin) = origins.next() else { return true };
        let origin = std::str::from_utf8(origin).ok().and_then(|origin| read(origin).ok());
        let listed = origin.is_some_and(|it| self.0.iter().any(|listed| listed.same_origin(&it)));
        listed && origins.next().is_none()
    }
}

/// `serialized-origin = scheme "://" host [ ":" port ]` (RFC 6454 §6.2)
fn read(text: &str) -> Result<Url, BadUrl> {
    const FORM: BadUrl = BadUrl::Malformed("an origin is scheme://host or scheme://host:port");
    let (_, authority) = text.split_once("://").ok_or(FORM)?;
    match authority.contains(['/', '?', '#', '@', '*', '\\']) || !text.is_ascii() {
        true => Err(FORM),
        false => Url::parse(text, &SCHEMES),
    }
}
