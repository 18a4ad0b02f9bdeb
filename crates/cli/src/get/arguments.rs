//! What `get` is asked for, in curl's words.
//!
//! Rules of this file:
//! * A name that curl has means what it means there.
//! * Everything that can be wrong with the arguments is found before anything is sent.

use super::codes;
use crate::common::{self, Fail, parsed, text};
use clap::{Arg, ArgAction, ArgMatches, Command};
use loopwork::http::core::encode;
use loopwork::http::{BadUrl, Url};
use std::io::Read;
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  loopwork get http://127.0.0.1:8080/           the body, to stdout
  loopwork get -I -L http://example.org         the heads, redirects followed
  loopwork get -d name=value http://127.0.0.1:8080/form
  loopwork get -so /dev/null -w '%{http_code} %{time_total}\\n' http://127.0.0.1:8080/

Exit codes are curl's: 1 protocol, 3 URL, 6 name, 7 connect, 8 answer, 18 partial, 22 with -f,
23 write, 26 read, 28 time, 47 redirects, 52 empty, 56 receive.
";

pub(super) fn command() -> Command {
    let value = |name, short, value, help| {
        let arg = Arg::new(name).short(short).long(name).value_name(value).help(help);
        arg.allow_hyphen_values(true)
    };
    let flag = |name, short, help| {
        Arg::new(name).short(short).long(name).help(help).action(ArgAction::SetTrue)
    };
    Command::new("get")
        .about("Ask an HTTP server, as curl does")
        .after_help(EXAMPLES)
        .arg(Arg::new("url").value_name("URL").help("http://HOST[:PORT]/PATH").required(true))
        .arg(value("request", 'X', "METHOD", "The method, instead of GET, or POST with -d"))
        .arg(
            value("header", 'H', "LINE", "A header: 'Name: value', 'Name;' empty, 'Name:' none")
                .action(ArgAction::Append),
        )
        .arg(
            value("data", 'd', "DATA", "A body to POST; @FILE or @- reads it, without line ends")
                .action(ArgAction::Append),
        )
        .arg(
            value("output", 'o', "FILE", "Write the body here, not to stdout")
                .conflicts_with("remote-name"),
        )
        .arg(flag("remote-name", 'O', "Write it to a file named as the end of the URL"))
        .arg(flag("head", 'I', "Ask for the head alone, and show it"))
        .arg(flag("include", 'i', "Show the head before the body"))
        .arg(flag("verbose", 'v', "Tell on stderr what is said, both ways"))
        .arg(flag("location", 'L', "Follow redirects, 20 at most"))
        .arg(flag("fail", 'f', "Exit with 22 and without a body when the status is 400 or above"))
        .arg(flag("silent", 's', "Say nothing on stderr"))
        .arg(
            Arg::new("max-time")
                .short('m')
                .long("max-time")
                .value_name("SECS")
                .help("Give up after so long")
                .value_parser(common::seconds),
        )
        .arg(value("write-out", 'w', "FORMAT", "Write this behind the body; %{http_code} and such"))
}

/// Where the body goes.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Sink {
    Stdout,
    File(String),
}

/// The arguments, checked.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) url: Url,
    /// `-X`: stays as it is when a redirect is followed.
    pub(super) method: Option<String>,
    pub(super) head_only: bool,
    pub(super) headers: Vec<(String, String)>,
    /// Headers of ours that are not sent.
    pub(super) without: Vec<String>,
    pub(super) host: Option<String>,
    /// The connection is not to be kept.
    pub(super) close: bool,
    pub(super) body: Option<Vec<u8>>,
    pub(super) sink: Sink,
    /// The head goes where the body goes, before it.
    pub(super) show_head: bool,
    pub(super) verbose: bool,
    pub(super) follow: bool,
    pub(super) fail: bool,
    pub(super) max_time: Option<Duration>,
    pub(super) write_out: Option<String>,
}

impl Wanted {
    pub(super) fn of(matches: &ArgMatches) -> Result<Wanted, Fail> {
        let given = text(matches, "url").unwrap_or_default();
        let url = Url::parse(given, super::SCHEMES).map_err(bad_url)?;
        let head_only = matches.get_flag("head");
        let sink = match (text(matches, "output"), matches.get_flag("remote-name")) {
            (Some("-"), _) | (None, false) => Sink::Stdout,
            (Some(path), _) => Sink::File(path.to_string()),
            (None, true) => match url.file_name() {
                Some(name) => Sink::File(name.to_string()),
                None => {
                    let why = "the URL ends without a name for the file; say -o FILE";
                    return Err(Fail::new(codes::WRITE, why));
                }
            },
        };
        let body = body(matches)?;
        if head_only && body.is_some() {
            return Err(Fail::usage("-I has no body: leave -d out"));
        }
        let mut wanted = Wanted {
            url,
            method: text(matches, "request").map(str::to_string),
            head_only,
            headers: Vec::new(),
            without: Vec::new(),
            host: None,
            close: false,
            body,
            sink,
            show_head: head_only || matches.get_flag("include"),
            verbose: matches.get_flag("verbose"),
            follow: matches.get_flag("location"),
            fail: matches.get_flag("fail"),
            max_time: parsed(matches, "max-time").filter(|time: &Duration| !time.is_zero()),
            write_out: text(matches, "write-out").map(str::to_string),
        };
        for line in matches.get_many::<String>("header").into_iter().flatten() {
            wanted.header(line)?;
        }
        Ok(wanted)
    }

    fn header(&mut self, line: &str) -> Result<(), Fail> {
        let (name, value) = match (line.split_once(':'), line.strip_suffix(';')) {
            (Some((name, value)), _) => (name, Some(value.trim()).filter(|v| !v.is_empty())),
            (None, Some(name)) => (name, Some("")),
            (None, None) => {
                return Err(Fail::usage(format!("{line:?} is no header: 'Name: value' is one")));
            }
        };
        match value {
            None => self.without.push(name.to_string()),
            Some(value) if name.eq_ignore_ascii_case("host") => {
                self.host = Some(value.to_string());
            }
            Some(value) if name.eq_ignore_ascii_case("connection") && is_close(value) => {
                self.close = true;
            }
            Some(_) if encode::is_framing_header(name.as_bytes(), true) => {
                let text = format!("{name} is set by the program; leave this -H out");
                return Err(Fail::usage(text));
            }
            Some(value) => self.headers.push((name.to_string(), value.to_string())),
        }
        Ok(())
    }
}

fn is_close(value: &str) -> bool {
    value.eq_ignore_ascii_case("close")
}

/// A URL that is none, or none of ours: the exit code and the line.
pub(super) fn bad_url(bad: BadUrl) -> Fail {
    match bad {
        BadUrl::Scheme(scheme) if scheme == "https" => {
            let text = "https is not spoken by this build; take an http:// URL";
            Fail::new(codes::PROTOCOL, text)
        }
        BadUrl::Scheme(scheme) => {
            Fail::new(codes::PROTOCOL, format!("{scheme} is not spoken here; take an http:// URL"))
        }
        BadUrl::Malformed(why) => Fail::new(codes::URL, format!("that is no URL: {why}")),
    }
}

/// All of `-d`, joined by `&`.
fn body(matches: &ArgMatches) -> Result<Option<Vec<u8>>, Fail> {
    let Some(list) = matches.get_many::<String>("data") else { return Ok(None) };
    let mut body = Vec::new();
    for (n, data) in list.enumerate() {
        if n > 0 {
            body.push(b'&');
        }
        let Some(path) = data.strip_prefix('@') else {
            body.extend_from_slice(data.as_bytes());
            continue;
        };
        let mut bytes = Vec::new();
        let read = match path {
            "-" => std::io::stdin().lock().read_to_end(&mut bytes),
            path => std::fs::File::open(path).and_then(|mut file| file.read_to_end(&mut bytes)),
        };
        read.map_err(|error| {
            let why = common::reason(&error);
            Fail::new(codes::READ, format!("cannot read {path}: {why}; check -d"))
        })?;
        // As curl: a form has no line ends.
        body.extend(bytes.into_iter().filter(|b| !matches!(b, b'\r' | b'\n' | 0)));
    }
    Ok(Some(body))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &[&str]) -> Result<Wanted, Fail> {
        let words = std::iter::once("get").chain(line.iter().copied());
        Wanted::of(&command().try_get_matches_from(words).expect("arguments"))
    }

    #[test]
    fn headers_are_set_emptied_and_left_out() {
        let line = ["-H", "A: b: c", "-H", "B;", "-H", "Accept:", "-H", "host: x", "http://a"];
        let wanted = of(&line).unwrap();
        let pair = |n: &str, v: &str| (n.to_string(), v.to_string());
        assert_eq!(wanted.headers, [pair("A", "b: c"), pair("B", "")]);
        assert_eq!((wanted.without, wanted.host), (vec!["Accept".into()], Some("x".into())));
    }

    #[test]
    fn data_is_joined() {
        let wanted = of(&["-d", "a=1", "-d", "b=2", "http://a"]).unwrap();
        assert_eq!(wanted.body.as_deref(), Some(&b"a=1&b=2"[..]));
    }

    #[test]
    fn what_is_wrong_has_the_code_of_curl() {
        for (line, code) in [
            (&["https://a"][..], 1),
            (&["ftp://a"], 1),
            (&["http://a b"], 3),
            (&["http://"], 3),
            (&["-O", "http://a/"], 23),
            (&["-d", "@/no/such/file", "http://a"], 26),
            (&["-H", "x", "http://a"], 2),
            (&["-H", "Content-Length: 3", "http://a"], 2),
            (&["-I", "-d", "x", "http://a"], 2),
        ] {
            assert_eq!(of(line).map(|_| 0).unwrap_or_else(|fail| fail.code), code, "{line:?}");
        }
    }
}
