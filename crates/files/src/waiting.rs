//! A request whose name has to be looked up on the disk: it waits, and the loop does not.
//!
//! Rules of this file:
//! * A thread that may block looks at all that the request can lead to, and what it finds is
//!   forgotten: it is in memory from then on. Then the request is answered as any.
//! * A request waits once. What somebody else has pushed out of memory meanwhile is looked up by
//!   the loop.

use loopwork_http::Reply;
use loopwork_http::core::{Fields, Limits, Progress, Request, parse_request};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What an answer depends on, beside the method and the target.
const HEADERS: [&str; 8] = [
    "Accept",
    "Accept-Encoding",
    "If-Match",
    "If-None-Match",
    "If-Modified-Since",
    "If-Unmodified-Since",
    "If-Range",
    "Range",
];

/// A request that waits.
pub(crate) struct Waiting {
    /// Its head, as far as it matters.
    head: Vec<u8>,
    /// It need not wait any more.
    known: Arc<AtomicBool>,
}

impl Waiting {
    /// Has these paths looked at by `look` in a thread that may block; the request is woken then.
    /// `None`: there is no room for the job.
    pub(crate) fn begin(
        request: &Request<'_>,
        reply: &mut Reply<'_>,
        paths: Vec<PathBuf>,
        look: fn(&[PathBuf]),
    ) -> Option<Waiting> {
        let known = Arc::new(AtomicBool::new(false));
        let (flag, id) = (known.clone(), reply.id);
        let then = move |env: &mut loopwork_http::tcp::reactor::Env, _| {
            flag.store(true, Ordering::Relaxed);
            env.wake(id);
        };
        reply.env.blocking(move || look(&paths), then).ok()?;
        Some(Waiting { head: head(request), known })
    }

    /// Whether it need not wait any more.
    pub(crate) fn is_known(&self) -> bool {
        self.known.load(Ordering::Relaxed)
    }

    /// Calls a function with the request; `None` where it cannot be read again.
    pub(crate) fn with<T>(&self, then: impl FnOnce(&Request<'_>) -> T) -> Option<T> {
        let most = self.head.len() as u32;
        let limits = Limits { head_bytes: most, target_bytes: most, ..Limits::default() };
        let limits = Limits { headers: most, ..limits };
        let (mut seen, mut fields) = (Progress::new(), Fields::new());
        let parsed = parse_request(&self.head, &mut seen, &mut fields, &limits);
        parsed.ok().flatten().map(|(request, _)| then(&request))
    }
}

/// A head that says the same.
fn head(request: &Request<'_>) -> Vec<u8> {
    let (method, target) = (request.method.as_str(), request.target);
    let mut head = format!("{method} {target} HTTP/1.1\r\nHost: a\r\n").into_bytes();
    for name in HEADERS {
        for value in request.headers.get_all(name) {
            for part in [name.as_bytes(), b": ", value, b"\r\n"] {
                head.extend_from_slice(part);
            }
        }
    }
    head.extend_from_slice(b"\r\n");
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_again_as_it_was() {
        let lines = [
            "Cookie: a",
            "Range: bytes=1-2",
            "accept-encoding: gzip",
            "If-None-Match: \"a\"",
            "Accept-Encoding: br",
            "Content-Length: 5",
        ]
        .join("\r\n");
        for first in ["GET /a%20b?c=d HTTP/1.1", "HEAD http://x/a?y HTTP/1.0", "GET / HTTP/1.1"] {
            let text = format!("{first}\r\nHost: x\r\n{lines}\r\n\r\n");
            let (mut seen, mut fields) = (Progress::new(), Fields::new());
            let limits = Limits::default();
            let parsed = parse_request(text.as_bytes(), &mut seen, &mut fields, &limits);
            let (request, _) = parsed.unwrap().unwrap();
            let waiting = Waiting { head: head(&request), known: Arc::default() };
            let same = waiting.with(|again| {
                assert_eq!((again.method, again.path()), (request.method, request.path()));
                assert_eq!(again.query(), request.query());
                for name in HEADERS {
                    let of = |r: &Request<'_>| -> Vec<Vec<u8>> {
                        r.headers.get_all(name).map(<[u8]>::to_vec).collect()
                    };
                    assert_eq!(of(again), of(&request), "{name}");
                }
                assert!(!again.headers.contains("Content-Length"));
            });
            assert!(same.is_some() && !waiting.is_known());
        }
    }
}
