//! What `nc` is asked for.
//!
//! Rule: what cannot go together is refused here, before anything is opened.

use crate::common::{self, Fail};
use clap::{Arg, ArgAction, ArgMatches, Command};
use loopwork::Address;
use std::path::PathBuf;
use std::time::Duration;

const USAGE: &str = "\
loopwork nc [OPTIONS] HOST PORT
       loopwork nc -l [OPTIONS] [HOST] PORT
       loopwork nc [-l] -U [OPTIONS] PATH";

const EXAMPLES: &str = "\
Examples:
  loopwork nc example.org 80           talk to a server
  loopwork nc -l 9000 > file           receive a file ...
  loopwork nc 127.0.0.1 9000 < file    ... that is sent so
  loopwork nc -zv 127.0.0.1 22         is there anybody?
  echo hi | loopwork nc -u -w 1 127.0.0.1 7000

The end of stdin ends our side (what others call -N), and receiving goes on until the peer ends
too. Datagrams have no end: with -u say -w, or ^C. A listener says on stderr where it listens.
";

fn flag(name: &'static str, short: char, help: &'static str) -> Arg {
    Arg::new(name).short(short).long(name).help(help).action(ArgAction::SetTrue)
}

pub(super) fn command() -> Command {
    Command::new("nc")
        .about("Connect stdin and stdout to a peer, by TCP, UDP or a Unix socket")
        .override_usage(USAGE)
        .after_help(EXAMPLES)
        .arg(
            Arg::new("where")
                .value_name("WHERE")
                .help("The peer, or where to listen: HOST is then 127.0.0.1 unless it is said")
                .num_args(1..=2)
                .required(true),
        )
        .arg(flag("listen", 'l', "Wait for a peer to connect"))
        .arg(flag("keep", 'k', "With -l: go on after the first peer, one at a time"))
        .arg(flag("udp", 'u', "Datagrams instead of a stream"))
        .arg(flag("unix", 'U', "A Unix stream socket instead of TCP"))
        .arg(flag("zero", 'z', "Only see whether someone listens"))
        .arg(flag("verbose", 'v', "Say on stderr what happens"))
        .arg(
            Arg::new("wait")
                .short('w')
                .long("wait")
                .value_name("SECS")
                .help("Give up connecting after so long, and end when nothing moves for so long")
                .value_parser(common::seconds),
        )
}

/// Where the peer is, or we listen.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Place {
    Ip { host: String, port: u16 },
    Unix(PathBuf),
}

/// The arguments, checked.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Wanted {
    pub(super) place: Place,
    pub(super) listen: bool,
    pub(super) keep: bool,
    pub(super) udp: bool,
    pub(super) scan: bool,
    pub(super) verbose: bool,
    pub(super) wait: Option<Duration>,
}

impl Wanted {
    pub(super) fn of(matches: &ArgMatches) -> Result<Wanted, Fail> {
        let words: Vec<&String> = matches.get_many("where").into_iter().flatten().collect();
        let (listen, unix) = (matches.get_flag("listen"), matches.get_flag("unix"));
        let wanted = Wanted {
            place: place(&words, listen, unix)?,
            listen,
            keep: matches.get_flag("keep"),
            udp: matches.get_flag("udp"),
            scan: matches.get_flag("zero"),
            verbose: matches.get_flag("verbose"),
            wait: common::parsed(matches, "wait").filter(|wait: &Duration| !wait.is_zero()),
        };
        let wrong = match &wanted {
            Wanted { keep: true, listen: false, .. } => "-k goes with -l",
            Wanted { scan: true, listen: true, .. } => "-z looks at others: leave -l out",
            Wanted { scan: true, udp: true, .. } => "-z cannot tell with -u: nobody answers",
            Wanted { udp: true, place: Place::Unix(_), .. } => "-U is a stream: leave -u out",
            _ => return Ok(wanted),
        };
        Err(Fail::usage(wrong))
    }
}

fn place(words: &[&String], listen: bool, unix: bool) -> Result<Place, Fail> {
    let (host, port) = match words {
        [path] if unix => return Ok(Place::Unix(PathBuf::from(path))),
        _ if unix => return Err(Fail::usage("with -U there is a PATH and nothing else")),
        [port] if listen => ("127.0.0.1", *port),
        [host, port] => (host.as_str(), *port),
        _ => return Err(Fail::usage("a HOST and a PORT are needed: loopwork nc HOST PORT")),
    };
    let wrong = |_| Fail::usage(format!("{port:?} is no port: a number up to 65535 is needed"));
    Ok(Place::Ip { host: host.to_string(), port: port.parse().map_err(wrong)? })
}

impl Place {
    /// The addresses to try, in order; one at least.
    pub(super) fn addresses(&self) -> Result<Vec<Address>, Fail> {
        match self {
            Place::Unix(path) => Ok(vec![Address::Unix(path.clone())]),
            Place::Ip { host, port } => {
                let list = loopwork::resolve(host, *port).map_err(|error| {
                    let why = common::reason(&error);
                    Fail::failed(format!("cannot find {host}: {why}; check the name"))
                })?;
                Ok(list.into_iter().map(Address::Ip).collect())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Result<Wanted, Fail> {
        let words = std::iter::once("nc").chain(line.split_whitespace());
        Wanted::of(&command().try_get_matches_from(words).expect(line))
    }

    #[test]
    fn places() {
        let ip = |host: &str, port| Place::Ip { host: host.into(), port };
        assert_eq!(of("example.org 80").unwrap().place, ip("example.org", 80));
        assert_eq!(of("-l 80").unwrap().place, ip("127.0.0.1", 80));
        assert_eq!(of("-l ::1 80").unwrap().place, ip("::1", 80));
        assert_eq!(of("-lU /tmp/x").unwrap().place, Place::Unix("/tmp/x".into()));
        assert_eq!(of("-U /tmp/x").unwrap().place, Place::Unix("/tmp/x".into()));
    }

    #[test]
    fn what_cannot_go_together_is_wrong_usage() {
        for line in ["80", "h 70000", "h x", "-k h 1", "-zl 1", "-zu h 1", "-uU /x", "-U a b"] {
            assert_eq!(of(line).map_err(|fail| fail.code), Err(2), "{line}");
        }
    }

    #[test]
    fn waiting_for_no_time_is_not_waiting() {
        assert_eq!(of("-w 0 h 1").unwrap().wait, None);
        assert_eq!(of("-w 1.5 h 1").unwrap().wait, Some(Duration::from_millis(1500)));
    }
}
