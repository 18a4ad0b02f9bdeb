//! A URL with what curl allows in it beside HTTP's own: a user and a password.
//!
//! Rule: credentials are taken out of the text before anything is sent or shown.

use super::codes;
use crate::common::Fail;
use crate::idn;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use loopwork::http::{BadUrl, Url};
use percent_encoding::percent_decode_str;

/// The schemes that are spoken.
const SCHEMES: &[&str] = &["http", "https"];

/// A URL, and the credentials that stood in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Target {
    pub(super) url: Url,
    /// `NAME:PASSWORD`, decoded.
    pub(super) user: Option<Vec<u8>>,
}

impl Target {
    pub(super) fn parse(text: &str) -> Result<Target, Fail> {
        let (text, user) = split(text);
        let url = Url::parse(&idn::url(&text), SCHEMES).map_err(bad_url)?;
        Ok(Target { url, user })
    }

    /// Where a `Location` leads from here. What it has of credentials is its own.
    pub(super) fn join(&self, location: &str) -> Result<Target, Fail> {
        // Servers forget it, and everybody knows what they mean: a blank is encoded, as curl does.
        let location = &match location.split_once('?') {
            Some((path, query)) => {
                format!("{}?{}", path.replace(' ', "%20"), query.replace(' ', "+"))
            }
            None => location.replace(' ', "%20"),
        };
        let (text, user) = if location.contains("://") || location.starts_with("//") {
            split(location)
        } else {
            (location.to_string(), None)
        };
        let url = self.url.join(&text, SCHEMES).map_err(bad_url)?;
        Ok(Target { url, user })
    }
}

/// A URL without its `userinfo "@"`, and that, decoded.
fn split(text: &str) -> (String, Option<Vec<u8>>) {
    let start = text.find("//").map_or(0, |at| at + 2);
    let end = text[start..].find(['/', '?', '#']).map_or(text.len(), |at| start + at);
    let Some(at) = text[start..end].rfind('@') else { return (text.to_string(), None) };
    let info = &text[start..start + at];
    let (name, password) = info.split_once(':').unwrap_or((info, ""));
    let mut user: Vec<u8> = percent_decode_str(name).collect();
    user.push(b':');
    user.extend(percent_decode_str(password));
    (format!("{}{}", &text[..start], &text[start + at + 1..]), Some(user))
}

/// RFC 7617: the credentials of `Authorization: Basic`.
pub(super) fn basic(user: &[u8]) -> String {
    format!("Basic {}", STANDARD.encode(user))
}

/// A URL that is none, or none of ours: the exit code and the line.
fn bad_url(bad: BadUrl) -> Fail {
    match bad {
        BadUrl::Scheme(scheme) => {
            let text = format!("{scheme} is not spoken here; take an http:// or https:// URL");
            Fail::new(codes::PROTOCOL, text)
        }
        BadUrl::Malformed(why) => Fail::new(codes::URL, format!("that is no URL: {why}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn credentials_are_taken_out() {
        for (text, url, user) in [
            ("http://a/x@y", "http://a/x@y", None),
            ("http://u:p@a/x", "http://a/x", Some("u:p")),
            ("u@a", "http://a/", Some("u:")),
            ("http://u%40:p:q@a:8/", "http://a:8/", Some("u@:p:q")),
            ("http://u@v@a?b@c", "http://a/?b@c", Some("u@v:")),
        ] {
            let found = Target::parse(text).unwrap();
            assert_eq!(found.url.to_string(), url, "{text}");
            assert_eq!(found.user.as_deref(), user.map(str::as_bytes), "{text}");
        }
        assert_eq!(basic(b"Aladdin:open sesame"), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    }

    proptest! {
        /// Whatever a server sends as a `Location`, no credentials are left in what is sent.
        #[test]
        fn credentials_never_stay(text in "(http:|//|/|u|@|:|p|%40|%|\\?|#| |é){0,12}") {
            let base = Target::parse("http://a/b").unwrap();
            for target in [Target::parse(&text), base.join(&text)].into_iter().flatten() {
                prop_assert!(!target.url.authority().contains('@'));
            }
        }
    }

    #[test]
    fn locations_have_credentials_of_their_own() {
        let base = Target::parse("http://u:p@a/b/c").unwrap();
        let to = |location: &str| base.join(location).unwrap();
        assert_eq!(to("d@e"), Target::parse("http://a/b/d@e").unwrap());
        assert_eq!(to("http://x:y@b/"), Target::parse("http://x:y@b/").unwrap());
        assert_eq!(to("/d e?f g"), Target::parse("http://a/d%20e?f+g").unwrap());
        assert_eq!(to("//x@b/"), Target::parse("http://x@b/").unwrap());
        for (location, code) in [("file:///x", 1), ("http://a b/", 3)] {
            assert_eq!(base.join(location).map_err(|fail| fail.code), Err(code), "{location}");
        }
    }
}
