//! From a request's path to a file below the root, and nowhere else.
//!
//! Rules of this file:
//! * [`path`] is pure: what the text alone gives away as a way out, or as hidden, ends there.
//! * [`find`] asks the file system where the path really leads, links followed, and opens nothing
//!   that is not a regular file below the root: a FIFO would hang, a device would never end.
//! * Whatever is not served is `NotFound`, whether it exists or not.

use crate::conditions::Version;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// `unreserved = ALPHA / DIGIT / "-" / "." / "_" / "~"` (RFC 3986 §2.3): the rest is encoded.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The first second that the four digits of a year cannot say.
const YEAR_10000: u64 = 253_402_300_800;

/// What a request names, as far as its text tells.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Name {
    /// Below the root; empty for the root itself. Only plain components, none of them hidden.
    pub(crate) path: PathBuf,
    /// It ends with a slash: a directory is meant.
    pub(crate) slash: bool,
}

/// Why there is nothing to serve.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refusal {
    /// The text is no path: 400.
    Malformed,
    /// Nothing that is served: 404.
    NotFound,
    /// It exists, and cannot be read: 403.
    Forbidden,
    /// It cannot be read now; no descriptor is left, say: 503.
    Unavailable,
}

/// What was found.
pub(crate) enum Found {
    /// A regular file, open.
    File(File, Metadata, PathBuf),
    /// A directory.
    Directory(PathBuf),
}

/// `absolute-path = 1*( "/" segment )`, `segment = *pchar` (RFC 9110 §4.1, RFC 3986 §3.3), each
/// segment percent-decoded on its own, so that `%2F` is never a separator. Empty segments and `.`
/// say nothing; `..` is a way out, a leading dot is hidden, and neither is served.
pub(crate) fn path(target: &str) -> Result<Name, Refusal> {
    let rest = target.strip_prefix('/').ok_or(Refusal::Malformed)?;
    let mut path = PathBuf::new();
    for segment in rest.split('/') {
        let bytes = decode(segment)?;
        match &bytes[..] {
            b"" | b"." => {}
            [b'.', ..] => return Err(Refusal::NotFound),
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
pub(crate) fn encode(name: &OsStr) -> String {
    match name.to_str() {
        Some(text) => utf8_percent_encode(text, ENCODED).to_string(),
        None => percent_encoding::percent_encode(name.as_bytes(), ENCODED).to_string(),
    }
}

/// A path below the root as the path of a URL.
pub(crate) fn url(path: &Path) -> String {
    let mut url = String::from("/");
    for component in path.components() {
        url.push_str(&encode(component.as_os_str()));
        url.push('/');
    }
    url
}

/// Whether a name is served at all.
pub(crate) fn is_hidden(name: &OsStr) -> bool {
    name.as_bytes().first() == Some(&b'.')
}

/// Where `path` really leads, links followed: only if that is below the root and not hidden there.
pub(crate) fn inside(root: &Path, path: &Path) -> Result<PathBuf, Refusal> {
    let real = path.canonicalize().map_err(|e| refusal(&e))?;
    let below = real.strip_prefix(root).map_err(|_| Refusal::NotFound)?;
    let plain = |c: Component<'_>| matches!(c, Component::Normal(name) if !is_hidden(name));
    if below.components().all(plain) { Ok(real) } else { Err(Refusal::NotFound) }
}

/// Looks a name up below `root`, which must be canonical.
pub(crate) fn find(root: &Path, name: &Path) -> Result<Found, Refusal> {
    let real = inside(root, &root.join(name))?;
    let kind = real.symlink_metadata().map_err(|e| refusal(&e))?;
    if kind.is_dir() {
        return Ok(Found::Directory(real));
    }
    if !kind.is_file() {
        return Err(Refusal::NotFound);
    }
    // Between the look and the opening the file may have been replaced: a link is not followed
    // any more, and a FIFO does not hang.
    let mut how = OpenOptions::new();
    how.read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    let file = how.open(&real).map_err(|e| refusal(&e))?;
    let metadata = file.metadata().map_err(|e| refusal(&e))?;
    if !metadata.is_file() || !is_still(&file, &real) {
        return Err(Refusal::NotFound);
    }
    Ok(Found::File(file, metadata, real))
}

/// The file that was opened is the one that was looked at: no folder on the way was exchanged for
/// a link meanwhile. A system without `/proc` cannot say, and is believed.
fn is_still(file: &File, real: &Path) -> bool {
    let Ok(now) = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())) else {
        return true;
    };
    // It may have been replaced by a newer version in the proper way, which unlinks it.
    let now = now.as_os_str().as_bytes();
    now.strip_suffix(b" (deleted)").unwrap_or(now) == real.as_os_str().as_bytes()
}

/// What an error of the file system means for who asked.
pub(crate) fn refusal(error: &io::Error) -> Refusal {
    const PASSING: [i32; 4] = [libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::EIO];
    match error.raw_os_error() {
        Some(libc::EACCES | libc::EPERM) => Refusal::Forbidden,
        Some(number) if PASSING.contains(&number) => Refusal::Unavailable,
        _ => Refusal::NotFound,
    }
}

/// By what this version of a file is told from others: nanoseconds and length.
pub(crate) fn version(metadata: &Metadata) -> Version {
    let (seconds, fraction) = (metadata.mtime(), metadata.mtime_nsec());
    let tag = format!("\"{seconds:x}.{fraction:x}-{:x}\"", metadata.len());
    Version { tag, modified: modified(metadata) }
}

/// When a file was changed, in whole seconds, as HTTP says dates; `None` when HTTP could not say
/// it: before 1970, or beyond the year 9999.
pub(crate) fn modified(metadata: &Metadata) -> Option<SystemTime> {
    let age = metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    (age.as_secs() < YEAR_10000).then(|| UNIX_EPOCH + Duration::from_secs(age.as_secs()))
}

/// Whether serving this directory would show the whole machine, or all that its user owns.
#[must_use]
pub fn is_too_much(root: &Path, home: Option<OsString>) -> bool {
    let home = home.filter(|h| !h.is_empty()).and_then(|h| Path::new(&h).canonicalize().ok());
    root.parent().is_none() || home.is_some_and(|home| home.starts_with(root))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A name from bytes that need not be text.
    fn name(bytes: &[u8]) -> OsString {
        OsStr::from_bytes(bytes).to_os_string()
    }

    fn served(target: &str, is: &str) {
        let slash = target.ends_with('/') || target.ends_with("/.");
        assert_eq!(path(target), Ok(Name { path: is.into(), slash }), "{target}");
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
            assert_eq!(path(target), Err(Refusal::NotFound), "{target}");
        }
    }

    #[test]
    fn what_is_no_path_is_malformed() {
        for target in ["", "a", "*", "/%", "/%4", "/%zz", "/a%2", "/%+1", "/%%41"] {
            assert_eq!(path(target), Err(Refusal::Malformed), "{target}");
        }
    }

    #[test]
    fn decoding_happens_once() {
        served("/%252e%252e", "%2e%2e");
        served("/%2541", "%41");
    }

    #[test]
    fn the_root_and_what_holds_the_home_is_too_much() {
        let home = std::env::temp_dir().canonicalize().unwrap();
        assert!(is_too_much(Path::new("/"), None));
        assert!(is_too_much(&home, Some(home.clone().into())));
        assert!(!is_too_much(&home.join("x"), Some(home.clone().into())));
        assert!(!is_too_much(&home, None));
        assert!(!is_too_much(&home, Some("".into())));
    }

    #[test]
    fn a_file_that_was_exchanged_is_noticed() {
        let dir = std::env::temp_dir().join(format!("loopwork-still-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let dir = dir.canonicalize().unwrap();
        let path = dir.join("a");
        std::fs::write(&path, "x").unwrap();
        let file = File::open(&path).unwrap();
        assert!(is_still(&file, &path));
        assert!(!is_still(&file, &dir.join("b")));
        std::fs::remove_file(&path).unwrap();
        assert!(is_still(&file, &path), "replaced in the proper way");
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn names_that_are_no_text_come_back() {
        let odd = name(b"\xff\xfe x");
        assert_eq!(encode(&odd), "%FF%FE%20x");
        let found = path(&format!("/{}", encode(&odd))).unwrap();
        assert_eq!(found.path.as_os_str(), odd);
    }

    proptest! {
        /// Whatever the text is, what comes of it lies below any root, part by part.
        #[test]
        fn no_text_leads_out(target in "(/|%2e|%2E|\\.|%2f|\\\\|%5c|%00|a|%|é|%41){0,24}") {
            if let Ok(name) = path(&target) {
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
            prop_assert_eq!(path(&link).map(|n| n.path), wanted);
        }
    }
}
