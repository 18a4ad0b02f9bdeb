//! From a name to a file below the root, and nowhere else.
//!
//! Rules of this file:
//! * [`find`] asks the file system where the path really leads, links followed, and opens nothing
//!   that is not a regular file below the root: a FIFO would hang, a device would never end.
//! * As a rule there is no link on the way, which the kernel can be told to make sure of: then that
//!   is asked for in one call ([`straight`]). What it does not answer is looked at step by step.
//! * Whatever is not served is `NotFound`, whether it exists or not.

use crate::conditions::Version;
use crate::core::{Coding, Refusal, is_hidden};
use std::ffi::OsString;
use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The first second that the four digits of a year cannot say.
const YEAR_10000: u64 = 253_402_300_800;

/// A regular file below the root, open.
pub(crate) struct Opened {
    pub(crate) file: File,
    pub(crate) metadata: Metadata,
    /// Where it really is.
    pub(crate) real: PathBuf,
}

/// What was found.
pub(crate) enum Found {
    File(Opened),
    /// A directory.
    Directory(PathBuf),
}

/// Where `path` really leads, links followed: only if that is below the root, and not hidden there
/// unless `hidden` names are served.
pub(crate) fn inside(root: &Path, path: &Path, hidden: bool) -> Result<PathBuf, Refusal> {
    let real = path.canonicalize().map_err(|e| refusal(&e))?;
    if is_inside(root, &real, hidden) { Ok(real) } else { Err(Refusal::NotFound) }
}

/// Whether a path without links is below the root, and not hidden there.
fn is_inside(root: &Path, real: &Path, hidden: bool) -> bool {
    let plain =
        |c: Component<'_>| matches!(c, Component::Normal(name) if hidden || !is_hidden(name));
    real.strip_prefix(root).is_ok_and(|below| below.components().all(plain))
}

/// Looks a name up below `root`, which must be canonical.
pub(crate) fn find(root: &Path, name: &Path, hidden: bool) -> Result<Found, Refusal> {
    if let Some(opened) = straight(root, name, hidden) {
        return Ok(Found::File(opened));
    }
    let real = inside(root, &root.join(name), hidden)?;
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
    Ok(Found::File(Opened { file, metadata, real }))
}

/// A regular file to which no link leads, if the kernel says so: it is named first, looked at, and
/// what was looked at is opened. `None`: it is something else, or cannot be told or opened so.
#[cfg(target_os = "linux")]
fn straight(root: &Path, name: &Path, hidden: bool) -> Option<Opened> {
    use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
    let real = root.join(name);
    if !is_inside(root, &real, hidden) {
        return None;
    }
    let (how, links) = (OFlags::PATH | OFlags::CLOEXEC, ResolveFlags::NO_SYMLINKS);
    let named = File::from(openat2(CWD, &real, how, Mode::empty(), links).ok()?);
    let metadata = named.metadata().ok().filter(Metadata::is_file)?;
    let file = File::open(format!("/proc/self/fd/{}", named.as_raw_fd())).ok()?;
    Some(Opened { file, metadata, real })
}

#[cfg(not(target_os = "linux"))]
fn straight(_: &Path, _: &Path, _: bool) -> Option<Opened> {
    None
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

/// By what this version of a file is told from others: nanoseconds and length, and the form.
pub(crate) fn version(metadata: &Metadata, coding: Option<Coding>, varies: bool) -> Version {
    let (seconds, fraction) = (metadata.mtime(), metadata.mtime_nsec());
    let form = coding.map_or("", Coding::suffix);
    let tag = format!("\"{seconds:x}.{fraction:x}-{:x}{form}\"", metadata.len());
    Version { tag, modified: modified(metadata), varies }
}

/// The best form of a file that lies beside it, of those that the client takes: a regular file
/// below the root, as any, that is no older than the file, since one that is older was not made of
/// it.
pub(crate) fn beside(
    root: &Path,
    plain: &Opened,
    codings: &[Coding],
    hidden: bool,
) -> Option<(Opened, Coding)> {
    codings.iter().find_map(|coding| {
        let Ok(Found::File(form)) = find(root, &in_form(&plain.real, *coding), hidden) else {
            return None;
        };
        let age = |m: &Metadata| (m.mtime(), m.mtime_nsec());
        (age(&form.metadata) >= age(&plain.metadata)).then_some((form, *coding))
    })
}

/// Where a form of a file would be.
pub(crate) fn in_form(path: &Path, coding: Coding) -> PathBuf {
    let mut path = path.as_os_str().to_os_string();
    path.push(coding.suffix());
    path.into()
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

    #[test]
    fn the_root_and_what_holds_the_home_is_too_much() {
        let home = std::env::temp_dir().canonicalize().unwrap();
        assert!(is_too_much(Path::new("/"), None));
        assert!(is_too_much(&home, Some(home.clone().into())));
        assert!(!is_too_much(&home.join("x"), Some(home.clone().into())));
        assert!(!is_too_much(&home, None));
        assert!(!is_too_much(&home, Some("".into())));
    }

    /// What a lookup found, to compare: content and path, or why not.
    fn said(found: Result<Found, Refusal>) -> Result<(Vec<u8>, PathBuf), Option<Refusal>> {
        use std::io::Read;
        match found {
            Ok(Found::File(mut opened)) => {
                let mut bytes = Vec::new();
                opened.file.read_to_end(&mut bytes).unwrap();
                assert_eq!(opened.metadata.len(), bytes.len() as u64);
                Ok((bytes, opened.real))
            }
            Ok(Found::Directory(_)) => Err(None),
            Err(why) => Err(Some(why)),
        }
    }

    #[test]
    fn straight_finds_what_is_found_step_by_step() {
        use std::os::unix::fs::symlink;
        let dir = std::env::temp_dir().join(format!("loopwork-straight-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("root/sub/.git")).unwrap();
        let (root, dir) = (dir.join("root").canonicalize().unwrap(), dir.canonicalize().unwrap());
        for (path, text) in [("root/a", "a"), ("root/sub/b", "b"), ("secret", "s")] {
            std::fs::write(dir.join(path), text).unwrap();
        }
        std::fs::write(root.join("sub/.git/c"), "c").unwrap();
        for (to, at) in [("a", "link"), ("sub", "folder"), ("../secret", "out"), ("..", "up")] {
            symlink(to, root.join(at)).unwrap();
        }
        for (name, is_straight, there) in [
            ("a", true, Some("a")),
            ("sub/b", true, Some("b")),
            ("link", false, Some("a")),
            ("folder/b", false, Some("b")),
            ("sub", false, None),
            ("", false, None),
            ("out", false, None),
            ("up/secret", false, None),
            ("../secret", false, None),
            ("sub/../a", false, Some("a")),
            ("a/b", false, None),
            ("sub/.git/c", false, None),
            ("nothing", false, None),
        ] {
            let found = straight(&root, Path::new(name), false);
            assert!(found.is_none() || is_straight, "{name}");
            let found = said(find(&root, Path::new(name), false));
            let text = found.as_ref().ok().map(|(bytes, _)| &bytes[..]);
            assert_eq!(text, there.map(str::as_bytes), "{name}");
            if let Ok((_, real)) = found {
                assert_eq!(real, root.join(name).canonicalize().unwrap(), "{name}");
            }
        }
        assert!(said(find(&root, Path::new("sub/.git/c"), true)).is_ok());
        let absolute = said(find(&root, &root.join("sub/b"), false));
        assert_eq!(absolute, Ok((b"b".to_vec(), root.join("sub/b"))));
        assert_eq!(said(find(&root, &dir.join("secret"), false)), Err(Some(Refusal::NotFound)));
        std::fs::remove_dir_all(dir).unwrap();
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
}
