//! Names of hosts beyond ASCII, as people write them: what DNS and URLs carry is their `xn--` form
//! (RFC 5891, mapped as browsers do by UTS 46).
//!
//! Rule: what has no such form is left as it is, for whoever says what is wrong with it.

use std::borrow::Cow;

/// A name in its form for DNS.
pub(crate) fn host(name: &str) -> Cow<'_, str> {
    match name.is_ascii() {
        true => name.into(),
        false => idna::domain_to_ascii(name).map_or(name.into(), Cow::from),
    }
}

/// A URL, or what stands for one without its scheme, with its host in that form.
pub(crate) fn url(text: &str) -> Cow<'_, str> {
    let begin = text.find("://").map_or(0, |at| at + 3);
    let end = text[begin..].find(['/', '?', '#', '\\']).map_or(text.len(), |at| begin + at);
    let begin = text[..end].rfind('@').map_or(begin, |at| begin.max(at + 1));
    let end = text[begin..end].find(':').map_or(end, |at| begin + at);
    match host(&text[begin..end]) {
        Cow::Borrowed(_) => text.into(),
        Cow::Owned(host) => [&text[..begin], &host, &text[end..]].concat().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_beyond_ascii_get_their_form_and_nothing_else_changes() {
        for (text, wanted) in [
            ("http://bücher.example/ü?ü#ü", "http://xn--bcher-kva.example/ü?ü#ü"),
            ("BÜCHER.example:80", "xn--bcher-kva.example:80"),
            ("https://ü@例え.jp:8443", "https://ü@xn--r8jz45g.jp:8443"),
            ("http://faß.de?@x", "http://xn--fa-hia.de?@x"),
            ("http://a.example/ü@ü", "http://a.example/ü@ü"),
            ("http://[::1]:80/", "http://[::1]:80/"),
            ("http://a。b/", "http://a.b/"),
            // Not a name in any form.
            ("http://ü\u{202e}/", "http://ü\u{202e}/"),
            ("", ""),
        ] {
            assert_eq!(url(text), wanted, "{text}");
        }
        assert_eq!((host("bücher"), host("a_b")), ("xn--bcher-kva".into(), "a_b".into()));
    }
}
