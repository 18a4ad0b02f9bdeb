//! The target of URLs: what is taken can be sent, and means what it means to the oracle of the
//! crate's tests.

#[path = "../../../crates/http/tests/url_support/mod.rs"]
mod support;

/// A line, which is a URL, and behind it a reference to be resolved there.
pub fn url(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (base, reference) = text.split_once('\n').unwrap_or((&text, ""));
    let _ = support::check(base, reference);
    let _ = support::check("http://u:p@a/b/c?d", &text);
}
