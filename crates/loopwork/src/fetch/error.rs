//! Why there is no answer, or no whole one.

use crate::Address;
use crate::http::client::Failure;
use crate::http::core::Invalid;
use crate::http::inflate::Undecodable;
use crate::http::redirect::Refused;
use crate::http::{BadUrl, Url};
use std::fmt;
use std::io::{self, ErrorKind};

/// Why a fetch failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// What was to be fetched has no URL of HTTP.
    Url(BadUrl),
    /// The proxy has none.
    Proxy(BadUrl),
    /// Nobody here speaks this scheme, to which a redirect may have led.
    Scheme(String),
    /// The request cannot be sent as it is.
    Request(Invalid),
    /// The name has no address, of the wanted family.
    Name {
        /// Whose.
        host: String,
        /// What the resolver says.
        why: String,
    },
    /// No address could be connected to.
    Connect {
        /// The last one that was tried.
        to: Address,
        /// Why not.
        kind: ErrorKind,
    },
    /// The exchange broke; what came of the body before was handed over.
    Exchange {
        /// With whom: the server, or the proxy.
        with: Address,
        /// How.
        why: Failure,
    },
    /// A redirect that is not followed.
    Redirect {
        /// Who redirects.
        from: Box<Url>,
        /// Why it is not followed.
        why: Refused,
    },
    /// A redirect wants the body again, and it was a stream.
    Replay,
    /// It was not done in time.
    TimedOut,
    /// The body is longer than this many bytes.
    TooLong(u64),
    /// The body cannot be decoded, which [`Fetch::inflate`](super::Fetch::inflate) asked for.
    Coding(Undecodable),
    /// It was [cancelled](super::Agent::cancel).
    Cancelled,
    /// What was to be sent cannot be read.
    Source(io::Error),
    /// The loop beneath a blocking fetch failed.
    Loop(io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Url(bad) => write!(f, "no URL of HTTP: {bad}"),
            Error::Proxy(bad) => write!(f, "no URL of an HTTP proxy: {bad}"),
            Error::Scheme(scheme) => write!(f, "{scheme} is not spoken here"),
            Error::Request(why) => write!(f, "the request cannot be sent: {why}"),
            Error::Name { host, why } => write!(f, "cannot find {host}: {why}"),
            Error::Connect { to, kind } => write!(f, "cannot connect to {to}: {kind}"),
            Error::Exchange { with, why } => write!(f, "{with}: {why}"),
            Error::Redirect { from, why } => write!(f, "{from}: {why}"),
            Error::Replay => f.write_str("a redirect wants the streamed body a second time"),
            Error::TimedOut => f.write_str("not done in time"),
            Error::TooLong(limit) => write!(f, "the body is longer than {limit} bytes"),
            Error::Coding(why) => write!(f, "the body cannot be decoded: {why}"),
            Error::Cancelled => f.write_str("cancelled"),
            Error::Source(error) => write!(f, "cannot read what is to be sent: {error}"),
            Error::Loop(error) => write!(f, "the event loop failed: {error}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Url(bad) | Error::Proxy(bad) => Some(bad),
            Error::Exchange { why, .. } => Some(why),
            Error::Redirect { why, .. } => Some(why),
            Error::Coding(why) => Some(why),
            Error::Source(error) | Error::Loop(error) => Some(error),
            _ => None,
        }
    }
}
