//! From what was met to curl's exit code, and to a line that says what, why, what next.

use super::codes;
use super::exchange::{Place, Trouble};
use crate::common::{self, Fail};
use loopwork::http::client::Failure;
use loopwork::http::core::Malformed;
use std::io::ErrorKind;
use std::time::Duration;

/// What the line has to know beside the trouble itself.
pub(super) struct Circumstances<'a> {
    pub(super) place: Option<&'a Place>,
    pub(super) proxied: bool,
    pub(super) remote: String,
    /// The response's head is there.
    pub(super) begun: bool,
    pub(super) received: u64,
    pub(super) max_time: Option<Duration>,
    pub(super) connect_timeout: Option<Duration>,
    pub(super) max_size: Option<u64>,
}

impl Circumstances<'_> {
    pub(super) fn fail(&self, trouble: Trouble) -> Fail {
        let seconds = |time: Option<Duration>| time.unwrap_or_default().as_secs_f64();
        match trouble {
            Trouble::Name(error) => {
                let name = match self.place {
                    Some(Place::Named(host, _)) => host,
                    _ => "an address",
                };
                let (why, code) = (common::reason(&error), [codes::NAME, codes::PROXY]);
                let code = code[usize::from(self.proxied)];
                let what = if self.proxied { "the proxy " } else { "" };
                Fail::new(code, format!("cannot find {what}{name}: {why}; check the name"))
            }
            Trouble::Invalid(why) => {
                Fail::usage(format!("the request cannot be sent: {why}; check -X and -H"))
            }
            Trouble::Connect(to, kind) => {
                let late = kind == ErrorKind::TimedOut;
                let code = if late { codes::TIME } else { codes::CONNECT };
                let advice = crate::nc::advice(kind);
                Fail::new(code, format!("cannot connect to {to}: {kind}{advice}"))
            }
            Trouble::Tls(code, text) => Fail::new(code, text),
            Trouble::Failed(why) => self.failed(why),
            Trouble::Late { connected: false } if self.connect_timeout.is_some() => {
                let limit =
                    seconds(self.connect_timeout.min(self.max_time.or(self.connect_timeout)));
                Fail::new(codes::TIME, format!("no connection within {limit} s; is it up?"))
            }
            Trouble::Late { .. } => {
                let limit = seconds(self.max_time);
                let text = format!("not done within {limit} s; give it more with -m");
                Fail::new(codes::TIME, text)
            }
            Trouble::Write(kind) => unwritten(kind),
            Trouble::Read => {
                let text = "what is to be sent cannot be read to its end; check -T";
                Fail::new(codes::READ, text)
            }
            Trouble::Coding(why) => {
                let text = format!("the body cannot be decoded: {why}; leave --compressed away");
                Fail::new(codes::CODING, text)
            }
            Trouble::Large => {
                let most = self.max_size.unwrap_or_default();
                let text = format!("the body is longer than {most} bytes; see --max-filesize");
                Fail::new(codes::LARGE, text)
            }
        }
    }

    fn failed(&self, why: Failure) -> Fail {
        let (remote, code) = (&self.remote, code(why, self.begun));
        let text = match why {
            Failure::Closed if self.begun => {
                let n = self.received;
                format!("{remote} ended the connection after {n} bytes; there is more to come")
            }
            Failure::Closed => {
                format!("{remote} ended the connection without an answer; is it well?")
            }
            Failure::Malformed(_) if !self.begun => {
                format!("{remote}: {why}; is it an HTTP/1 server?")
            }
            why => format!("{remote}: {why}"),
        };
        Fail::new(code, text)
    }
}

/// The exit code for an exchange that broke, behind the response's head or before it.
pub(crate) fn code(why: Failure, begun: bool) -> u8 {
    match why {
        Failure::TimedOut => codes::TIME,
        Failure::Tunnel(_) => codes::RECEIVE,
        Failure::Closed if begun => codes::PARTIAL,
        Failure::Closed => codes::EMPTY,
        Failure::Malformed(_) if begun => codes::RECEIVE,
        // To curl that is an answer of HTTP/0.9, or of a version that it does not know.
        Failure::Malformed(
            Malformed::InvalidVersion | Malformed::UnsupportedVersion | Malformed::InvalidStatus,
        ) => codes::PROTOCOL,
        Failure::Malformed(Malformed::HeadTooLarge | Malformed::TooManyHeaders) => codes::RECEIVE,
        _ => codes::ANSWER,
    }
}

/// Nobody reads any more, or there is no room. The first is no news to whoever closed the pipe.
pub(super) fn unwritten(kind: ErrorKind) -> Fail {
    match kind {
        ErrorKind::BrokenPipe => Fail::new(codes::WRITE, ""),
        kind => {
            let text = format!("cannot write the body: {kind}; take another place with -o FILE");
            Fail::new(codes::WRITE, text)
        }
    }
}
