//! What `nc` is asked for.
//!
//! Rule: what cannot go together is refused here, before anything is opened.

use crate::common::{self, Fail};
use crate::idn;
use clap::{Arg, ArgAction, ArgMatches, Command};
use loopwork::Address;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

const USAGE: &str = "\
loopwork nc [OPTIONS] HOST PORT
       loopwork nc -l [OPTIONS] [HOST] PORT
       loopwork nc [-l] -U [OPTIONS] PATH
       loopwork nc -z [OPTIONS] HOST PORT[-PORT]";

const EXAMPLES: &str = "\
Examples:
  loopwork nc example.org 80           talk to a server
  loopwork nc -l 9000 > file           receive a file ...
  loopwork nc 127.0.0.1 9000 < file    ... that is sent so
  loopwork nc -zv 127.0.0.1 20-25      is there anybody?
  echo hi | loopwork nc -u -w 1 127.0.0.1 7000

The end of stdin ends our side (what others do only with -N), and receiving goes on until the
peer ends too. The end of the peer's side ends nothing of ours. Datagrams have no end: with -u say
-w, or ^C. A listener says on stderr where it listens.
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
        .arg(flag("shutdown", 'N', "End our side when stdin ends: so it is here in any case"))
        .arg(flag("hex", 'x', "Show on stderr what passes: > to the peer, < from it"))
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
    Ip { host: String, first: u16, last: u16 },
    Unix(PathBuf),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Ip { host, first, last } if first == last => write!(f, "{host} {first}"),
            Place::Ip { host, first, last } => write!(f, "{host} {first}-{last}"),
            Place::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// The arguments, checked.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Wanted {
    pub(super) place: Place,
    pub(super) listen: bool,
    pub(super) keep: bool,
    pub(super) udp: bool,
    pub(super) scan: bool,
    pub(super) hex: bool,
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
            hex: matches.get_flag("hex"),
            verbose: matches.get_flag("verbose"),
            wait: common::parsed(matches, "wait").filter(|wait: &Duration| !wait.is_zero()),
        };
        let wrong = match &wanted {
            Wanted { keep: true, listen: false, .. } => "-k goes with -l",
            Wanted { scan: true, listen: true, .. } => "-z looks at others: leave -l out",
            Wanted { scan: true, udp: true, .. } => "-z cannot tell with -u: nobody answers",
            Wanted { scan: true, hex: true, .. } => "-z sends nothing: leave -x out",
            Wanted { scan: false, place, .. } if place.ports() > 1 => "many ports go with -z",
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
    let wrong = || Fail::usage(format!("{port:?} is no port: a number up to 65535 is needed"));
    let (first, last) = port.split_once('-').unwrap_or((port, port));
    let (Ok(first), Ok(last)) = (first.parse::<u16>(), last.parse()) else { return Err(wrong()) };
    if first > last {
        return Err(Fail::usage(format!("{port:?}: the lower port comes first")));
    }
    Ok(Place::Ip { host: host.to_string(), first, last })
}

impl Place {
    /// How many ports it has; a path counts as one.
    pub(super) fn ports(&self) -> usize {
        match self {
            Place::Ip { first, last, .. } => usize::from(last - first) + 1,
            Place::Unix(_) => 1,
        }
    }

    /// The addresses to try, in order, port by port; one at least.
    pub(super) fn addresses(&self) -> Result<Vec<Address>, Fail> {
        match self {
            Place::Unix(path) => Ok(vec![Address::Unix(path.clone())]),
            Place::Ip { host, first, last } => {
                let list = loopwork::resolve(&idn::host(host), *first).map_err(|error| {
                    let why = common::reason(&error);
                    Fail::failed(format!("cannot find {host}: {why}; check the name"))
                })?;
                let at = |port| list.iter().map(move |at| SocketAddr::new(at.ip(), port));
                Ok((*first..=*last).flat_map(at).map(Address::Ip).collect())
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
        let ip = |host: &str, port| Place::Ip { host: host.into(), first: port, last: port };
        assert_eq!(of("example.org 80").unwrap().place, ip("example.org", 80));
        assert_eq!(of("-l 80").unwrap().place, ip("127.0.0.1", 80));
        assert_eq!(of("-l ::1 80").unwrap().place, ip("::1", 80));
        assert_eq!(of("-lU /tmp/x").unwrap().place, Place::Unix("/tmp/x".into()));
        assert_eq!(of("-U /tmp/x").unwrap().place, Place::Unix("/tmp/x".into()));
    }

    #[test]
    fn ranges_of_ports() {
        let place = of("-z 127.0.0.1 20-25").unwrap().place;
        assert_eq!((place.ports(), place.to_string().as_str()), (6, "127.0.0.1 20-25"));
        let ports: Vec<_> =
            place.addresses().unwrap().iter().map(|at| at.ip().unwrap().port()).collect();
        assert_eq!(ports, [20, 21, 22, 23, 24, 25]);
        assert_eq!(of("-z h 65535-65535").unwrap().place.ports(), 1);
        assert_eq!(of("-z h 0-65535").unwrap().place.ports(), 65536);
        for line in ["-z h 25-20", "-z h 1-70000", "-z h 1-", "-z h a-b", "h 1-2", "-l 1-2"] {
            assert_eq!(of(line).map_err(|fail| fail.code), Err(2), "{line}");
        }
    }

    #[test]
    fn n_is_what_is_done_anyhow() {
        assert_eq!(of("-N h 1").unwrap(), of("h 1").unwrap());
        assert_eq!(of("-Nl 1").unwrap(), of("-l 1").unwrap());
    }

    #[test]
    fn what_cannot_go_together_is_wrong_usage() {
        for line in
            ["80", "h 70000", "h x", "-k h 1", "-zl 1", "-zu h 1", "-uU /x", "-U a b", "-zx h 1"]
        {
            assert_eq!(of(line).map_err(|fail| fail.code), Err(2), "{line}");
        }
    }

    #[test]
    fn waiting_for_no_time_is_not_waiting() {
        assert_eq!(of("-w 0 h 1").unwrap().wait, None);
        assert_eq!(of("-w 1.5 h 1").unwrap().wait, Some(Duration::from_millis(1500)));
    }
}
