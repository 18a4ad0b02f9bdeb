//! From the path of a request to a name below a root, by its text alone.
//!
//! Rule: what the text gives away as a way out, or as hidden, ends here; nothing is looked up.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// `unreserved = ALPHA / DIGIT / "-" / "." / "_" / "~"` (RFC 3986 §2.3): the rest is encoded.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What a request names, as far as its text tells.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Name {
    /// Below the root; empty for the root itself. Only plain components, none of them hidden.
    pub path: PathBuf,
    /// It ends with a slash: a directory is meant.
    pub slash: bool,
}

/// Why there is nothing to serve.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// The text is no path: 400.
    Malformed,
    /// Nothing that is served: 404.
    NotFound,
    /// It exists, and cannot be read: 403.
    Forbidden,
    /// It cannot be read now; no descriptor is left, say: 503.
    Unavailable,
}

/// `absolute-path = 1*( "/" segment )`, `segment = *pchar` (RFC 9110 §4.1, RFC 3986 §3.3), each
/// segment percent-decoded on its own, so that `%2F` is never a separator. Empty segments and `.`
/// say nothing; `..` is a way out and is never served, any other leading dot is hidden and is
/// served only with `hidden`.
///
/// # Errors
/// [`Refusal::Malformed`], [`Refusal::NotFound`].
pub fn path(target: &str, hidden: bool) -> Result<Name, Refusal> {
    let rest = target.strip_prefix('/').ok_or(Refusal::Malformed)?;
    let mut path = PathBuf::new();
    for segment in rest.split('/') {
        let bytes = decode(segment)?;
        match &bytes[..] {
            b"" | b"." => {}
            b".." => return Err(Refusal::NotFound),
            [b'.', ..] if !hidden => return Err(Refusal::NotFound),
            bytes if bytes.iter().any(|b| matches!(b, 0 | b'/' | b'\\')) => {
                return Err(Refusal::NotFound);
            }
            bytes => path.push(OsStr::from_bytes(bytes)),
        }
    }
    let slash = target.ends_with('/') || target.ends_with("/.");
    Ok(Name { path, slash })
}

/// `pct-encoded = "%" HEXDIG HEXDIG` (RFC 3986 §2.1).
fn decode(segment: &str) -> Result<Vec<u8>, Refusal> {
    let mut rest = segment.as_bytes();
    while let Some(at) = rest.iter().position(|b| *b == b'%') {
        let digits = rest.get(at + 1..at + 3).unwrap_or_default();
        if digits.len() != 2 || !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(Refusal::Malformed);
        }
        rest = &rest[at + 3..];
    }
    Ok(percent_decode_str(segment).collect())
}

/// One name as a segment of a URL.
#[must_use]
pub fn encode(name: &OsStr) -> String {
    match name.to_str() {
        Some(text) => utf8_percent_encode(text, ENCODED).to_string(),
        None => percent_encoding::percent_encode(name.as_bytes(), ENCODED).to_string(),
    }
}

/// A path below the root as the path of a URL.
#[must_use]
pub fn url(path: &Path) -> String {
    let mut url = String::from("/");
    for component in path.components() {
        url.push_str(&encode(component.as_os_str()));
        url.push('/');
    }
    url
}

/// Whether a name begins with a dot.
#[must_use]
pub fn is_hidden(name: &OsStr) -> bool {
    name.as_bytes().first() == Some(&b'.')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::ffi::OsString;
    use std::path::Component;

    /// A name from bytes that need not be text.
    fn name(bytes: &[u8]) -> OsString {
        OsStr::from_bytes(bytes).to_os_string()
    }

    fn served(target: &str, is: &str) {
        let slash = target.ends_with('/') || target.ends_with("/.");
        assert_eq!(path(target, false), Ok(Name { path: is.into(), slash }), "{target}");
    }

    #[test]
    fn plain_paths() {
        served("/", "");
        served("/a", "a");
        served("/a/", "a");
        served("//a///b", "a/b");
        served("/./a/.", "a");
        served("/a%20b/%C3%A9.txt", "a b/é.txt");
        served("/%41%2e%62", "A.b");
        served("/a+b", "a+b");
        served("/a..", "a..");
    }

    #[test]
    fn ways_out_and_hidden_names_are_not_found() {
        for target in [
            "/..",
            "/../etc/passwd",
            "/a/../b",
            "/%2e%2e/x",
            "/%2e%2e%2fetc%2fpasswd",
            "/.%2e/x",
            "/..%2fx",
            "/a%2fb",
            "/a%5cb",
            "/a\\..\\b",
            "/%00",
            "/a%00.html",
            "/.git/config",
            "/a/.env",
            "/...",
            "/..a",
            "/%2egit",
        ] {
            assert_eq!(path(target, false), Err(Refusal::NotFound), "{target}");
        }
    }

    #[test]
    fn hidden_names_are_served_when_asked_for_and_ways_out_never() {
        for target in ["/..", "/a/%2e%2e/b", "/a%00", "/a%2fb", "/.a\\b", "/.%2e"] {
            assert_eq!(path(target, true), Err(Refusal::NotFound), "{target}");
        }
        for (target, is) in [("/.git/config", ".git/config"), ("/...", "..."), ("/.", "")] {
            assert_eq!(path(target, true).map(|n| n.path), Ok(is.into()), "{target}");
        }
    }

    #[test]
    fn what_is_no_path_is_malformed() {
        for target in ["", "a", "*", "/%", "/%4", "/%zz", "/a%2", "/%+1", "/%%41"] {
            assert_eq!(path(target, false), Err(Refusal::Malformed), "{target}");
        }
    }

    #[test]
    fn decoding_happens_once() {
        served("/%252e%252e", "%2e%2e");
        served("/%2541", "%41");
    }

    #[test]
    fn names_that_are_no_text_come_back() {
        let odd = name(b"\xff\xfe x");
        assert_eq!(encode(&odd), "%FF%FE%20x");
        let found = path(&format!("/{}", encode(&odd)), false).unwrap();
        assert_eq!(found.path.as_os_str(), odd);
    }

    proptest! {
        /// Whatever the text is, what comes of it lies below any root, part by part.
        #[test]
        fn no_text_leads_out(target in "(/|%2e|%2E|\\.|%2f|\\\\|%5c|%00|a|%|é|%41){0,24}") {
            if let Ok(name) = path(&target, false) {
                prop_assert!(name.path.is_relative());
                for part in name.path.components() {
                    let Component::Normal(part) = part else { panic!("{part:?}") };
                    prop_assert!(!is_hidden(part));
                    prop_assert!(!part.as_bytes().iter().any(|b| b"\0/\\".contains(b)));
                }
            }
        }

        /// Every name that is served is found again by the link that a listing makes of it. No
        /// entry of a directory that is listed is called `.`, which names the directory itself.
        #[test]
        fn links_lead_back(bytes in prop::collection::vec(1_u8.., 1..20)) {
            prop_assume!(bytes != b".");
            let odd = name(&bytes);
            let bad = is_hidden(&odd) || bytes.iter().any(|b| b"/\\".contains(b));
            let link = format!("/{}", encode(&odd));
            prop_assert!(link.is_ascii());
            let wanted = if bad { Err(Refusal::NotFound) } else { Ok(PathBuf::from(&odd)) };
            prop_assert_eq!(path(&link, false).map(|n| n.path), wanted);
        }
    }
}
