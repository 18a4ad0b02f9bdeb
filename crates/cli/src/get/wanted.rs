//! What `get` is asked for.
//!
//! Rule: everything that can be wrong with the arguments is found before anything is sent.

use super::codes;
use super::data::{self, Data, Upload};
use super::glob;
use super::route::Route;
use super::target::{Target, basic};
use crate::common::{Fail, parsed, text};
use crate::tls;
use clap::ArgMatches;
use loopwork::http::core::encode::{self, Connection};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

/// Redirects that are followed: as many as browsers do.
const REDIRECTS_MAX: u32 = 20;

/// Where a body goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Sink {
    Stdout,
    File(PathBuf),
    /// In this folder, named by the server, or else so.
    Named(PathBuf, Option<String>),
}

/// One URL.
#[derive(Clone, Debug)]
pub(super) struct Job {
    /// As it was given.
    pub(super) given: String,
    pub(super) target: Target,
    pub(super) sink: Sink,
    pub(super) upload: Upload,
}

/// Where to go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Resume {
    At(u64),
    /// Behind what the file has.
    Behind,
}

/// When a failure is tried again.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Retry {
    pub(super) times: u32,
    pub(super) delay: Option<Duration>,
    pub(super) max_time: Option<Duration>,
    pub(super) refused: bool,
    pub(super) all: bool,
}

/// The arguments, checked.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) jobs: Vec<Job>,
    /// `-X`: stays as it is when a redirect is followed.
    pub(super) method: Option<String>,
    pub(super) head_only: bool,
    pub(super) headers: Vec<(String, String)>,
    /// Headers of ours that are not sent.
    pub(super) without: Vec<String>,
    pub(super) host: Option<String>,
    pub(super) connection: Connection,
    /// The body goes in chunks though its length is known.
    pub(super) chunked: bool,
    pub(super) agent: Option<String>,
    pub(super) referer: Option<String>,
    /// `;auto`: behind a redirect it is the URL before.
    pub(super) referer_auto: bool,
    pub(super) authorization: Option<String>,
    pub(super) cookies: Vec<String>,
    pub(super) jar: Option<String>,
    pub(super) range: Option<String>,
    pub(super) resume: Option<Resume>,
    pub(super) request_target: Option<String>,
    pub(super) json: bool,
    pub(super) compressed: bool,
    pub(super) follow: bool,
    pub(super) trusted: bool,
    /// `None`: any number.
    pub(super) max_redirects: Option<u32>,
    /// Whether a POST stays one behind 301, 302, 303.
    pub(super) keep_post: [bool; 3],
    /// The heads go where the body goes, before it.
    pub(super) show_head: bool,
    pub(super) verbose: bool,
    pub(super) silent: bool,
    pub(super) show_error: bool,
    pub(super) no_progress: bool,
    pub(super) timing: bool,
    /// `-#`.
    pub(super) bar: bool,
    pub(super) fail: bool,
    pub(super) fail_with_body: bool,
    pub(super) fail_early: bool,
    pub(super) write_out: Option<String>,
    pub(super) dump: Option<String>,
    pub(super) create_dirs: bool,
    pub(super) route: Route,
    pub(super) max_time: Option<Duration>,
    pub(super) connect_timeout: Option<Duration>,
    pub(super) max_size: Option<u64>,
    pub(super) retry: Retry,
    /// Whom it believes that speaks TLS.
    pub(super) tls: tls::Wanted,
}

impl Wanted {
    pub(super) fn of(matches: &ArgMatches) -> Result<Wanted, Fail> {
        let flag = |name| matches.get_flag(name);
        let own = |name| text(matches, name).map(str::to_string);
        let time = |name| parsed(matches, name).filter(|time: &Duration| !time.is_zero());
        let data = Data::of(matches)?;
        let head_only = flag("head");
        let uploads = matches.get_many::<String>("upload-file").is_some();
        let posts = data.bytes.is_some() && !flag("get");
        if usize::from(head_only) + usize::from(posts) + usize::from(uploads) > 1 {
            return Err(Fail::usage("-I, -T and -d are one request each: take one of them"));
        }
        let json = data.json;
        let redirects: Option<i64> = parsed(matches, "max-redirs");
        let referer = own("referer");
        let referer_auto = referer.as_ref().is_some_and(|text| text.ends_with(";auto"));
        let mut wanted = Wanted {
            jobs: jobs(matches, data)?,
            method: own("request"),
            head_only,
            headers: Vec::new(),
            without: Vec::new(),
            host: None,
            connection: Connection::Implicit,
            chunked: false,
            agent: own("user-agent"),
            referer: referer.map(|text| text.trim_end_matches(";auto").to_string()),
            referer_auto,
            authorization: authorization(matches)?,
            cookies: matches.get_many("cookie").into_iter().flatten().cloned().collect(),
            jar: own("cookie-jar"),
            range: own("range").map(range),
            resume: resume(matches)?,
            request_target: own("request-target"),
            json,
            compressed: flag("compressed"),
            follow: flag("location") || flag("location-trusted"),
            trusted: flag("location-trusted"),
            max_redirects: u32::try_from(redirects.unwrap_or(REDIRECTS_MAX.into())).ok(),
            keep_post: [flag("post301"), flag("post302"), flag("post303")],
            show_head: head_only || flag("include"),
            verbose: flag("verbose"),
            silent: flag("silent"),
            show_error: flag("show-error"),
            no_progress: flag("no-progress-meter"),
            timing: flag("timing"),
            bar: flag("progress-bar"),
            fail: flag("fail"),
            fail_with_body: flag("fail-with-body"),
            fail_early: flag("fail-early"),
            write_out: write_out(matches)?,
            dump: own("dump-header"),
            create_dirs: flag("create-dirs"),
            route: Route::of(matches)?,
            max_time: time("max-time"),
            connect_timeout: time("connect-timeout"),
            max_size: max_size(matches)?,
            retry: Retry {
                times: parsed(matches, "retry").unwrap_or(0),
                delay: time("retry-delay"),
                max_time: time("retry-max-time"),
                refused: flag("retry-connrefused"),
                all: flag("retry-all-errors"),
            },
            tls: tls::Wanted::of(matches)?,
        };
        for line in matches.get_many::<String>("header").into_iter().flatten() {
            wanted.header_or_file(line)?;
        }
        Ok(wanted)
    }

    fn header_or_file(&mut self, line: &str) -> Result<(), Fail> {
        let Some(path) = line.strip_prefix('@') else { return self.header(line) };
        let bytes = data::read(path, "-H")?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        text.lines().filter(|line| !line.trim().is_empty()).try_for_each(|line| self.header(line))
    }

    fn header(&mut self, line: &str) -> Result<(), Fail> {
        let (name, value) = match (line.split_once(':'), line.strip_suffix(';')) {
            (Some((name, value)), _) => (name, Some(value.trim()).filter(|v| !v.is_empty())),
            (None, Some(name)) => (name, Some("")),
            (None, None) => {
                return Err(Fail::usage(format!("{line:?} is no header: 'Name: value' is one")));
            }
        };
        let framing = encode::is_framing_header(name.as_bytes(), true);
        match (name.to_ascii_lowercase().as_str(), value) {
            ("host", Some(value)) => self.host = Some(value.to_string()),
            ("connection", Some(value)) if value.eq_ignore_ascii_case("close") => {
                self.connection = Connection::Close;
            }
            ("connection", Some(value)) if value.eq_ignore_ascii_case("keep-alive") => {
                self.connection = Connection::KeepAlive;
            }
            ("transfer-encoding", Some(value)) if value.eq_ignore_ascii_case("chunked") => {
                self.chunked = true;
            }
            _ if framing => {
                let text = format!("{name} is set by the program; leave this -H out");
                return Err(Fail::usage(text));
            }
            (_, None) => self.without.push(name.to_string()),
            (_, Some(value)) => self.headers.push((name.to_string(), value.to_string())),
        }
        Ok(())
    }
}

fn jobs(matches: &ArgMatches, data: Data) -> Result<Vec<Job>, Fail> {
    let outputs = data::ordered(matches, &["output", "remote-name"]);
    let files = matches.get_many::<String>("upload-file");
    let files: Vec<&String> = files.into_iter().flatten().collect();
    let folder = text(matches, "output-dir").map(PathBuf::from).unwrap_or_default();
    let by_server = matches.get_flag("remote-header-name");
    let posted = Rc::new(data.bytes.clone().unwrap_or_default());
    let mut jobs = Vec::new();
    let given = matches.get_many::<String>("url").into_iter().flatten();
    for (n, given) in given.enumerate() {
        let file = files.get(n).map(|path| path.as_str());
        for globbed in glob::expand(given, matches.get_flag("globoff"))? {
            let mut text = globbed.url.clone();
            let upload = match (file, &data.bytes) {
                (Some(path), _) => {
                    text = named_upload(text, path);
                    data::upload_file(path)?
                }
                (None, Some(bytes)) if matches.get_flag("get") => {
                    text = with_query(&text, bytes);
                    Upload::None
                }
                (None, Some(_)) => Upload::Bytes(posted.clone()),
                (None, None) => Upload::None,
            };
            let target = Target::parse(&text)?;
            let sink = match outputs.get(n) {
                Some(("output", "-")) => Sink::Stdout,
                Some(("output", path)) => Sink::File(folder.join(globbed.name(path))),
                None if !matches.get_flag("remote-name-all") => Sink::Stdout,
                _ => remote_name(&target, &folder, by_server)?,
            };
            jobs.push(Job { given: text, target, sink, upload });
        }
    }
    Ok(jobs)
}

fn remote_name(target: &Target, folder: &Path, by_server: bool) -> Result<Sink, Fail> {
    let name = target.url.file_name();
    match (name, by_server) {
        (Some(name), false) => Ok(Sink::File(folder.join(name))),
        (name, true) => Ok(Sink::Named(folder.into(), name.map(str::to_string))),
        (None, false) => {
            let why = "the URL ends without a name for the file; say -o FILE";
            Err(Fail::new(codes::WRITE, why))
        }
    }
}

/// As curl: to a folder a file is put under its own name.
fn named_upload(url: String, path: &str) -> String {
    let rest = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
    let name = Path::new(path).file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if path == "-" || url.contains(['?', '#']) || (rest.contains('/') && !rest.ends_with('/')) {
        return url;
    }
    const NAME: &percent_encoding::AsciiSet =
        &percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    let name = percent_encoding::utf8_percent_encode(name, NAME);
    format!("{}/{name}", url.trim_end_matches('/'))
}

/// `-G`: data becomes a query, or follows the one that is there.
fn with_query(url: &str, data: &[u8]) -> String {
    let (front, fragment) = url.split_once('#').map_or((url, ""), |(url, tail)| (url, tail));
    let rest = front.split_once("://").map_or(front, |(_, rest)| rest);
    let slash = if rest.contains(['/', '?']) { "" } else { "/" };
    let mark = if front.contains('?') { "&" } else { "?" };
    let tail = if fragment.is_empty() { String::new() } else { format!("#{fragment}") };
    match data {
        [] => url.to_string(),
        data => format!("{front}{slash}{mark}{}{tail}", String::from_utf8_lossy(data)),
    }
}

fn authorization(matches: &ArgMatches) -> Result<Option<String>, Fail> {
    match (text(matches, "user"), text(matches, "oauth2-bearer")) {
        (_, Some(token)) => Ok(Some(format!("Bearer {token}"))),
        (Some(user), None) if user.contains(':') => Ok(Some(basic(user.as_bytes()))),
        (Some(_), None) => {
            Err(Fail::usage("the password is missing, and is not asked for: say -u NAME:PASSWORD"))
        }
        (None, None) => Ok(None),
    }
}

/// As curl: a number alone is where a range begins.
fn range(text: String) -> String {
    if text.contains('-') { text } else { format!("{text}-") }
}

fn resume(matches: &ArgMatches) -> Result<Option<Resume>, Fail> {
    match text(matches, "continue-at") {
        None => Ok(None),
        Some("-") => Ok(Some(Resume::Behind)),
        Some(number) => match number.parse() {
            Ok(0) => Ok(None),
            Ok(at) => Ok(Some(Resume::At(at))),
            Err(_) => Err(Fail::usage(format!("{number:?}: -C takes a number of bytes, or -"))),
        },
    }
}

fn write_out(matches: &ArgMatches) -> Result<Option<String>, Fail> {
    match text(matches, "write-out") {
        Some(given) => match given.strip_prefix('@') {
            Some(path) => {
                let bytes = data::read(path, "-w")?;
                Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
            }
            None => Ok(Some(given.to_string())),
        },
        None => Ok(None),
    }
}

/// A number of bytes, or of KiB, MiB, GiB.
fn max_size(matches: &ArgMatches) -> Result<Option<u64>, Fail> {
    let Some(given) = text(matches, "max-filesize") else { return Ok(None) };
    let end = given.find(|c: char| !c.is_ascii_digit()).unwrap_or(given.len());
    let unit = match &given[end..] {
        "" | "b" | "B" => Some(1),
        "k" | "K" => Some(1 << 10),
        "m" | "M" => Some(1 << 20),
        "g" | "G" => Some(1 << 30),
        _ => None,
    };
    let size = given[..end].parse::<u64>().ok().zip(unit).and_then(|(n, unit)| n.checked_mul(unit));
    match size {
        Some(size) => Ok(Some(size).filter(|size| *size > 0)),
        None => Err(Fail::usage(format!("{given:?} is no size: 1000, 20k, 3M are some"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &[&str]) -> Result<Wanted, Fail> {
        let words = std::iter::once("get").chain(line.iter().copied());
        let command = super::super::arguments::command();
        Wanted::of(&command.try_get_matches_from(words).expect("arguments"))
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
    fn urls_have_their_outputs_in_order() {
        let line = ["h/a", "-o", "x", "h/b", "-O", "h/[1-2]", "-o", "y#1", "h/c"];
        let wanted = of(&[&line[..], &["--output-dir", "d"]].concat()).unwrap();
        let sinks: Vec<_> = wanted.jobs.iter().map(|job| job.sink.clone()).collect();
        let file = |name: &str| Sink::File(name.into());
        assert_eq!(sinks, [file("d/x"), file("d/b"), file("d/y1"), file("d/y2"), Sink::Stdout]);
    }

    #[test]
    fn data_in_the_url_and_names_of_uploads() {
        for (line, target) in [
            (&["-G", "-d", "a=b", "-d", "c", "http://h"][..], "/?a=b&c"),
            (&["-G", "-d", "a", "http://h/x?y#z"], "/x?y&a"),
            (&["-T", "/etc/hostname", "http://h"], "/hostname"),
            (&["-T", "/etc/hostname", "http://h/d/"], "/d/hostname"),
            (&["-T", "/etc/hostname", "http://h/d/f"], "/d/f"),
            (&["-T", "-", "http://h/"], "/"),
        ] {
            assert_eq!(of(line).unwrap().jobs[0].target.url.target, target, "{line:?}");
        }
    }

    #[test]
    fn what_is_wrong_has_the_code_of_curl() {
        for (line, code) in [
            (&["gopher://a"][..], 1),
            (&["ftp://a"], 1),
            (&["http://a b"], 3),
            (&["http://"], 3),
            (&["http://a/{"], 3),
            (&["-O", "http://a/"], 23),
            (&["-d", "@/no/such/file", "http://a"], 26),
            (&["-T", "/no/such/file", "http://a"], 26),
            (&["-T", "/", "http://a"], 26),
            (&["-H", "x", "http://a"], 2),
            (&["-H", "Content-Length: 3", "http://a"], 2),
            (&["-H", "Host:", "http://a"], 2),
            (&["-I", "-d", "x", "http://a"], 2),
            (&["-T", "/etc/hostname", "-d", "x", "http://a"], 2),
            (&["-u", "name", "http://a"], 2),
            (&["-C", "x", "http://a"], 2),
            (&["--max-filesize", "9x", "http://a"], 2),
        ] {
            assert_eq!(of(line).map(|_| 0).unwrap_or_else(|fail| fail.code), code, "{line:?}");
        }
    }
}
