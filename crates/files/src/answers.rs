//! What is written for a request: a file or parts of it, a page, a refusal.
//!
//! Rule: every head is whole here, so that what goes with a status stands in one place.

use crate::conditions::{Verdict, Version};
use crate::core::{Coding, Part, Refusal};
use crate::sending::Source;
use crate::{Sending, find, listing, mime};
use loopwork_http::Reply;
use loopwork_http::core::{Body, Method, Request, reason};
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::fs::Metadata;
use std::path::Path;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

/// Our own pages run nothing and load nothing.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

/// Headers of a file, at most.
const HEADERS: usize = 8;
/// A file in memory that is no longer is copied behind its head; a longer one is sent from where
/// it is kept.
const COPIED_MAX: usize = 4 * 1024;

const ALLOW: (&str, &str) = ("Allow", "GET, HEAD, OPTIONS");

/// What is said of a file in heads.
#[derive(Clone)]
pub(crate) struct Facts {
    version: Version,
    /// `Last-Modified`.
    date: Option<String>,
    /// `Content-Type`, by the name of the file whose form this may be.
    kind: String,
    /// The form that it is in.
    coding: Option<Coding>,
    len: u64,
}

impl Facts {
    pub(crate) fn new(
        metadata: &Metadata,
        path: &Path,
        coding: Option<Coding>,
        varies: bool,
    ) -> Facts {
        let version = find::version(metadata, coding, varies);
        let date = version.modified.map(httpdate::fmt_http_date);
        Facts { version, date, kind: mime::content_type(path), coding, len: metadata.len() }
    }
}

/// Where the bytes of a file are.
pub(crate) enum Content<'a> {
    File(Source),
    Memory(&'a Arc<[u8]>),
}

/// A file, or what of it was asked for, or that it is known already.
pub(crate) fn file(
    request: &Request<'_>,
    reply: &mut Reply<'_>,
    facts: &Facts,
    content: Content<'_>,
) -> Sending {
    let Facts { version, date, kind, coding, len } = facts;
    let mut headers = Vec::with_capacity(HEADERS);
    headers.extend([
        ("X-Content-Type-Options", "nosniff"),
        ("Accept-Ranges", "bytes"),
        ("ETag", &version.tag[..]),
    ]);
    headers.extend(date.as_deref().map(|date| ("Last-Modified", date)));
    // RFC 9110 §12.5.5: by what the form was chosen, whichever it was.
    headers.extend(version.varies.then_some(("Vary", "Accept-Encoding")));
    let (len, get) = (*len, request.method == Method::Get);
    let now = UNIX_EPOCH + reply.env.unix_time();
    let part = match version.judge(&request.headers, get, len, now) {
        Verdict::Send(part) => part,
        Verdict::Known => {
            reply.answer(304, &headers, b"");
            return Sending::nothing();
        }
        Verdict::Other => return message(reply, 412, &[], "It is another version by now."),
    };
    let (status, first, end, range) = match part {
        Part::Whole => (200, 0, len, None),
        Part::Bytes(first, last) => (206, first, last + 1, Some(content_range(first, last, len))),
        Part::Several(list) => {
            headers.extend(coding.map(|coding| ("Content-Encoding", coding.name())));
            return parts(reply, content, len, &list, kind, headers);
        }
        Part::Outside => {
            // RFC 9110 §14.4: `unsatisfied-range = "*/" complete-length`.
            let range = [("Content-Range", &format!("bytes */{len}")[..])];
            return message(reply, 416, &range, "It is shorter than that.");
        }
    };
    headers.push(("Content-Type", kind));
    headers.extend(coding.map(|coding| ("Content-Encoding", coding.name())));
    headers.extend(range.as_deref().map(|range| ("Content-Range", range)));
    if let (200, Content::Memory(bytes)) = (status, &content)
        && bytes.len() <= COPIED_MAX
    {
        // All but what has changed is as it was the last time, and is copied.
        reply.answer(200, &headers, bytes);
        return Sending::nothing();
    }
    if reply.head(status, headers, Body::Length(end - first)).is_err() {
        reply.abort();
    }
    Sending::part(content, first..end, reply)
}

/// `Content-Range = range-unit SP first-pos "-" last-pos "/" complete-length` (RFC 9110 §14.4).
fn content_range(first: u64, last: u64, len: u64) -> String {
    format!("bytes {first}-{last}/{len}")
}

/// Several ranges (RFC 9110 §15.3.7.2): `multipart-body = 1*encapsulation close-delimiter`, each
/// part with the type of the whole and its own range (RFC 2046 §5.1.1).
fn parts(
    reply: &mut Reply<'_>,
    content: Content<'_>,
    len: u64,
    list: &[(u64, u64)],
    kind: &str,
    headers: Vec<(&str, &str)>,
) -> Sending {
    // It may not be in the content, which nobody reads through: 128 bits that nobody foresees.
    let mut random = [0; 16];
    reply.env.random(&mut random);
    let mut boundary = String::with_capacity(2 * random.len());
    for byte in random {
        let _ = write!(boundary, "{byte:02x}");
    }
    let mut parts: VecDeque<_> = list
        .iter()
        .enumerate()
        .map(|(n, &(first, last))| {
            let before = if n == 0 { "" } else { "\r\n" };
            let range = content_range(first, last, len);
            let lines = format!(
                "{before}--{boundary}\r\nContent-Type: {kind}\r\nContent-Range: {range}\r\n\r\n"
            );
            (lines, first..last + 1)
        })
        .collect();
    parts.push_back((format!("\r\n--{boundary}--\r\n"), 0..0));
    let total = parts.iter().map(|(lines, range)| lines.len() as u64 + range.end - range.start);
    let kind = format!("multipart/byteranges; boundary={boundary}");
    let headers = headers.into_iter().chain([("Content-Type", kind.as_str())]);
    if reply.head(206, headers, Body::Length(total.sum())).is_err() {
        reply.abort();
    }
    Sending::parts(content, parts, reply)
}

/// A listing.
pub(crate) fn page(reply: &mut Reply<'_>, page: String) -> Sending {
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

/// That nothing is served.
pub(crate) fn refuse(reply: &mut Reply<'_>, why: Refusal) -> Sending {
    let (status, text) = match why {
        Refusal::Malformed => (400, "That is no path."),
        Refusal::NotFound => (404, "Nothing of that name is served here."),
        Refusal::Forbidden => (403, "The server may not read it."),
        Refusal::Unavailable => (503, "Try again in a moment."),
    };
    message(reply, status, &[], text)
}

/// What may be asked of any path (RFC 9110 §9.3.7).
pub(crate) fn options(reply: &mut Reply<'_>) -> Sending {
    reply.answer(204, &[ALLOW], b"");
    Sending::nothing()
}

/// A method that means nothing here (RFC 9110 §15.5.6).
pub(crate) fn not_allowed(reply: &mut Reply<'_>) -> Sending {
    message(reply, 405, &[ALLOW], "This server only shows files.")
}

/// A page that says one thing.
pub(crate) fn message(
    reply: &mut Reply<'_>,
    status: u16,
    headers: &[(&str, &str)],
    text: &str,
) -> Sending {
    let page = listing::message(&format!("{status} {}", reason(status)), text);
    let mut all = vec![
        ("Content-Type", "text/html; charset=utf-8"),
        ("X-Content-Type-Options", "nosniff"),
        ("Content-Security-Policy", POLICY),
    ];
    all.extend_from_slice(headers);
    reply.answer(status, &all, page.as_bytes());
    Sending::nothing()
}
