//! The files that `get` writes.
//!
//! Rules of this file:
//! * A file is made when its response's head is there and is to be kept, never before.
//! * A name that the server gives is a name, never a path, and never that of a file that exists.

use super::codes;
use super::head::Head;
use super::wanted::{Resume, Sink, Wanted};
use crate::common::{self, Fail};
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

/// Where in its file a body goes on; 0 when it begins.
pub(super) fn resumed(wanted: &Wanted, sink: &Sink) -> u64 {
    match (wanted.resume, sink) {
        (None, _) => 0,
        (Some(Resume::At(at)), _) => at,
        (Some(Resume::Behind), Sink::File(path)) => {
            std::fs::metadata(path).map_or(0, |meta| meta.len())
        }
        // What the server has yet to name has nothing.
        (Some(Resume::Behind), Sink::Stdout | Sink::Named(..)) => 0,
    }
}

/// Opens the file for a body, and tells its name. `None`: it goes to stdout.
pub(super) fn open(
    wanted: &Wanted,
    sink: &Sink,
    head: &Head,
) -> Result<Option<(PathBuf, File)>, Fail> {
    let mut how = OpenOptions::new();
    let path = match sink {
        Sink::Stdout => return Ok(None),
        Sink::File(path) if wanted.resume.is_some() => {
            how.append(true).create(true);
            path.clone()
        }
        Sink::File(path) => {
            how.write(true).create(true).truncate(true);
            path.clone()
        }
        Sink::Named(folder, name) => {
            how.write(true).create_new(true);
            let given = head.get("Content-Disposition").and_then(file_name);
            let name = given.or_else(|| name.clone()).ok_or_else(|| {
                let text = "neither the URL nor the server names a file; say -o FILE";
                Fail::new(codes::WRITE, text)
            })?;
            folder.join(name)
        }
    };
    if wanted.create_dirs
        && let Some(folder) = path.parent()
    {
        std::fs::create_dir_all(folder).map_err(|error| unwritten(folder, &error))?;
    }
    let file = how.open(&path).map_err(|error| unwritten(&path, &error))?;
    Ok(Some((path, file)))
}

fn unwritten(path: &Path, error: &std::io::Error) -> Fail {
    let why = common::reason(error);
    let advice = match error.kind() {
        std::io::ErrorKind::NotFound => "; make its folder, or say --create-dirs",
        std::io::ErrorKind::AlreadyExists => "; move it, or say -o FILE",
        _ => "",
    };
    Fail::new(codes::WRITE, format!("cannot write {}: {why}{advice}", path.display()))
}

/// `disposition-parm = "filename" "=" value` (RFC 6266 §4.1), its last part alone (§4.3).
fn file_name(value: &str) -> Option<String> {
    let parts = value.split(';').map(str::trim).skip(1);
    let (_, text) = parts
        .filter_map(|part| part.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("filename"))?;
    let text = text.trim();
    let text = match text.strip_prefix('"') {
        Some(rest) => rest.split('"').next().unwrap_or_default(),
        None => text,
    };
    let name = text.rsplit(['/', '\\']).next().unwrap_or_default();
    let sound = !matches!(name, "" | "." | "..") && !name.chars().any(char::is_control);
    sound.then(|| name.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_servers_give() {
        for (value, name) in [
            ("attachment; filename=a.txt", Some("a.txt")),
            // A semicolon within quotes ends it early; what there is of it is a name still.
            ("attachment; filename=\"a b;c.txt\"", Some("a b")),
            ("attachment; FileName=\"a b.txt\"", Some("a b.txt")),
            ("attachment; filename=\"../../etc/passwd\"", Some("passwd")),
            ("attachment; filename=\"c:\\x\\y\"", Some("y")),
            ("attachment; filename=\"..\"", None),
            ("attachment; filename=\"a\nb\"", None),
            ("attachment", None),
            ("filename=x", None),
        ] {
            assert_eq!(file_name(value).as_deref(), name, "{value}");
        }
    }
}
