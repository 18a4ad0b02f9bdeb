//! The target of forms: any cut, beside the plain reader of the crate's tests.

use crate::cuts::Cuts;
use loopwork_http::forms::multipart::Limits;

#[path = "../../../crates/http/tests/form_support/mod.rs"]
mod support;

/// A line, which is the `Content-Type`, and the body behind it.
pub fn http_form(data: &[u8]) {
    let end = data.iter().position(|b| *b == b'\n').unwrap_or(data.len());
    let (kind, body) = (&data[..end], data.get(end + 1..).unwrap_or_default());
    let seed = Cuts::of(data, u64::MAX).next() as u64;
    for limits in [Limits::default(), support::TIGHT] {
        let _ = support::check(kind, body, limits, seed);
    }
}
