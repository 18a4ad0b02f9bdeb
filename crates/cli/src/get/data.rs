//! The body of a request: `-d` and its kin, `--json`, `-T`.
//!
//! Rules of this file:
//! * What `-d` names is read before anything is sent; a file of `-T` goes through, it is not kept.
//! * Data of several options stand in the order of the command line.

use super::codes;
use crate::common::{self, Fail};
use clap::ArgMatches;
use std::io::Read;
use std::rc::Rc;

/// What is sent behind the head.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Upload {
    /// There is no body.
    None,
    /// It is here; all requests that send it share it.
    Bytes(Rc<Vec<u8>>),
    /// It is in this file, which is so long.
    File(String, u64),
    /// It comes from stdin, and ends there.
    Stdin,
}

impl Upload {
    /// How long it is, if there is one and that is known.
    pub(super) fn len(&self) -> Option<u64> {
        match self {
            Upload::None | Upload::Stdin => None,
            Upload::Bytes(bytes) => Some(bytes.len() as u64),
            Upload::File(_, len) => Some(*len),
        }
    }

    /// Whether there is one that can be sent twice.
    pub(super) fn is_repeatable(&self) -> bool {
        matches!(self, Upload::Bytes(_) | Upload::File(..))
    }
}

/// What the options for data come to.
#[derive(Default, Debug, PartialEq, Eq)]
pub(super) struct Data {
    /// `None`: no such option was given.
    pub(super) bytes: Option<Vec<u8>>,
    pub(super) json: bool,
}

/// The options that add to the body.
const OPTIONS: [&str; 6] =
    ["data", "data-ascii", "data-raw", "data-binary", "data-urlencode", "json"];

/// All values of these options, in the order of the command line.
pub(super) fn ordered<'a>(
    matches: &'a ArgMatches,
    names: &[&'static str],
) -> Vec<(&'static str, &'a str)> {
    let mut list = Vec::new();
    for name in names {
        let indices = matches.indices_of(name).into_iter().flatten();
        let values = matches.get_many::<String>(name).into_iter().flatten();
        list.extend(indices.zip(values).map(|(at, value)| (at, *name, value.as_str())));
    }
    list.sort_by_key(|(at, ..)| *at);
    list.into_iter().map(|(_, name, value)| (name, value)).collect()
}

/// Reads what is given after `@`: a file, or stdin for `-`.
pub(super) fn read(path: &str, option: &str) -> Result<Vec<u8>, Fail> {
    let mut bytes = Vec::new();
    let read = match path {
        "-" => std::io::stdin().lock().read_to_end(&mut bytes),
        path => std::fs::File::open(path).and_then(|mut file| file.read_to_end(&mut bytes)),
    };
    read.map_err(|error| {
        let why = common::reason(&error);
        Fail::new(codes::READ, format!("cannot read {path}: {why}; check {option}"))
    })?;
    Ok(bytes)
}

impl Data {
    pub(super) fn of(matches: &ArgMatches) -> Result<Data, Fail> {
        let mut data = Data::default();
        for (option, given) in ordered(matches, &OPTIONS) {
            let piece = piece(option, given)?;
            data.json |= option == "json";
            match &mut data.bytes {
                None => data.bytes = Some(piece),
                Some(bytes) => {
                    // A form's parts are joined; those of a text just follow each other.
                    if option != "json" {
                        bytes.push(b'&');
                    }
                    bytes.extend(piece);
                }
            }
        }
        Ok(data)
    }
}

fn piece(option: &str, given: &str) -> Result<Vec<u8>, Fail> {
    let path = given.strip_prefix('@');
    match (option, path) {
        ("data-urlencode", _) => urlencoded(given),
        ("data-raw", _) | (_, None) => Ok(given.as_bytes().to_vec()),
        ("data-binary" | "json", Some(path)) => read(path, option),
        (_, Some(path)) => {
            let mut bytes = read(path, "-d")?;
            // As curl: a form has no line ends.
            bytes.retain(|b| !matches!(b, b'\r' | b'\n' | 0));
            Ok(bytes)
        }
    }
}

/// `TEXT`, `=TEXT`, `name=TEXT`, `@FILE`, `name@FILE`: the text is encoded, the name is not.
fn urlencoded(given: &str) -> Result<Vec<u8>, Fail> {
    let (name, text) = match given.find(['=', '@']) {
        None => ("", given.as_bytes().to_vec()),
        Some(at) if given.as_bytes()[at] == b'=' => {
            (&given[..at], given.as_bytes()[at + 1..].to_vec())
        }
        Some(at) => (&given[..at], read(&given[at + 1..], "--data-urlencode")?),
    };
    let mut out = Vec::new();
    if !name.is_empty() {
        out.extend_from_slice(name.as_bytes());
        out.push(b'=');
    }
    form_encode(&mut out, &text);
    Ok(out)
}

/// RFC 3986 §2.3: unreserved characters stay; a blank is `+`, as forms have it.
fn form_encode(out: &mut Vec<u8>, text: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in text {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(byte),
            b' ' => out.push(b'+'),
            byte => {
                out.extend([b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            }
        }
    }
}

/// What `-T` names.
pub(super) fn upload_file(path: &str) -> Result<Upload, Fail> {
    if matches!(path, "-" | ".") {
        return Ok(Upload::Stdin);
    }
    let meta = std::fs::File::open(path).and_then(|file| file.metadata()).map_err(|error| {
        let why = common::reason(&error);
        Fail::new(codes::READ, format!("cannot read {path}: {why}; check -T"))
    })?;
    match meta.is_dir() {
        true => Err(Fail::new(codes::READ, format!("{path} is a folder; -T takes a file"))),
        false => Ok(Upload::File(path.to_string(), meta.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &[&str]) -> Data {
        let words = std::iter::once("get").chain(line.iter().copied()).chain(["http://a"]);
        Data::of(&super::super::arguments::command().try_get_matches_from(words).unwrap()).unwrap()
    }

    #[test]
    fn data_is_joined_in_order() {
        for (line, body) in [
            (&["-d", "a=1", "-d", "b=2"][..], "a=1&b=2"),
            (&["--data-raw", "@x", "-d", "y"], "@x&y"),
            (&["--data-urlencode", "a b", "--data-urlencode", "=c&d"], "a+b&c%26d"),
            (&["--data-urlencode", "n=é=", "--data-binary", "z"], "n=%C3%A9%3D&z"),
            (&["--data-binary", "1", "--data-raw", "2", "-d", "3"], "1&2&3"),
            (&["--json", "{", "--json", "}"], "{}"),
            (&["-d", ""], ""),
        ] {
            let found = of(line);
            assert_eq!(found.bytes.as_deref(), Some(body.as_bytes()), "{line:?}");
            assert_eq!(found.json, line[0] == "--json");
        }
        assert_eq!(of(&[]), Data::default());
    }
}
