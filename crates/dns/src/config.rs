//! What the machine says of names: `/etc/resolv.conf` and `/etc/hosts`.
//!
//! Rules of this file:
//! * A line that says nothing to us is stepped over, as resolv.conf(5) and hosts(5) have it; a
//!   number is capped as there.
//! * Both files are bounded: what is longer than [`FILE_MAX`] is read up to there.

use crate::name::Name;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Servers that are asked: resolv.conf(5), `MAXNS`.
const SERVERS_MAX: usize = 3;
/// Domains that are tried: those of resolv.conf(5) before it had no limit. Each is two questions.
const SEARCH_MAX: usize = 6;
/// Bytes of either file: lists of blocked hosts are megabytes; more than this is a mistake.
const FILE_MAX: u64 = 16 * 1024 * 1024;

/// Whom to ask, and how.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// The servers, the first one first.
    pub servers: Vec<SocketAddr>,
    /// Domains in which a short name is looked for.
    pub search: Vec<Name>,
    /// A name of at least so many dots is tried as it is first.
    pub ndots: usize,
    /// How long one server may take for one answer.
    pub timeout: Duration,
    /// How often each server is asked.
    pub attempts: u32,
    /// Each question begins with another server.
    pub rotate: bool,
    /// Ask over TCP alone.
    pub tcp: bool,
}

impl Default for Config {
    /// Those of resolv.conf(5) where it says nothing: this machine's own server, 5 s, twice.
    fn default() -> Self {
        Config {
            servers: vec![(Ipv4Addr::LOCALHOST, 53).into()],
            search: Vec::new(),
            ndots: 1,
            timeout: Duration::from_secs(5),
            attempts: 2,
            rotate: false,
            tcp: false,
        }
    }
}

impl Config {
    /// The machine's own: `/etc/resolv.conf`, or the defaults where there is none. Reads a file.
    #[must_use]
    pub fn system() -> Config {
        Config::parse(&read("/etc/resolv.conf"))
    }

    /// Reads the text of a resolv.conf(5).
    #[must_use]
    pub fn parse(text: &str) -> Config {
        let mut config = Config { servers: Vec::new(), ..Config::default() };
        for line in text.lines() {
            // A comment begins a line, by the man page; behind words it is no word of ours.
            let line = line.split(['#', ';']).next().unwrap_or_default();
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some("nameserver") => {
                    let ip = words.next().and_then(|ip| ip.parse::<IpAddr>().ok());
                    if let Some(ip) = ip.filter(|_| config.servers.len() < SERVERS_MAX) {
                        config.servers.push((ip, 53).into());
                    }
                }
                // The last of them holds.
                Some("search" | "domain") => {
                    let names = words.filter_map(|name| Name::new(name).ok());
                    config.search = names.take(SEARCH_MAX).collect();
                }
                Some("options") => words.for_each(|word| config.option(word)),
                _ => {}
            }
        }
        if config.servers.is_empty() {
            config.servers = Config::default().servers;
        }
        config
    }

    fn option(&mut self, word: &str) {
        let (name, value) = word.split_once(':').unwrap_or((word, ""));
        let value = value.parse::<u32>().ok();
        match (name, value) {
            ("ndots", Some(n)) => self.ndots = n.min(15) as usize,
            ("timeout", Some(n)) => self.timeout = Duration::from_secs(n.clamp(1, 30).into()),
            ("attempts", Some(n)) => self.attempts = n.clamp(1, 5),
            ("rotate", _) => self.rotate = true,
            ("use-vc", _) => self.tcp = true,
            // `edns0` is what we do anyway.
            _ => {}
        }
    }

    /// The names that a user may mean, in the order in which they are tried: as resolv.conf(5)
    /// says of `search` and `ndots`. A dot at the end says that it is the whole name.
    #[must_use]
    pub fn candidates(&self, name: &Name, absolute: bool) -> Vec<Name> {
        if absolute {
            return vec![name.clone()];
        }
        let mut list: Vec<Name> = self.search.iter().filter_map(|s| name.below(s).ok()).collect();
        let at = if name.dots() >= self.ndots { 0 } else { list.len() };
        list.insert(at, name.clone());
        list
    }
}

/// The addresses that the machine itself knows for names.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Hosts {
    names: HashMap<Name, Vec<IpAddr>>,
}

impl Hosts {
    /// The machine's own: `/etc/hosts`, or none. Reads a file.
    #[must_use]
    pub fn system() -> Hosts {
        Hosts::parse(&read("/etc/hosts"))
    }

    /// Reads the text of a hosts(5).
    #[must_use]
    pub fn parse(text: &str) -> Hosts {
        let mut names: HashMap<Name, Vec<IpAddr>> = HashMap::new();
        for line in text.lines() {
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line.split_ascii_whitespace();
            let Some(ip) = words.next().and_then(|ip| ip.parse::<IpAddr>().ok()) else { continue };
            for name in words.filter_map(|name| Name::new(name).ok()) {
                let list = names.entry(name).or_default();
                if !list.contains(&ip) {
                    list.push(ip);
                }
            }
        }
        Hosts { names }
    }

    /// The addresses of a name; none where the file does not have it.
    #[must_use]
    pub fn addresses(&self, name: &Name) -> &[IpAddr] {
        self.names.get(name).map_or(&[], Vec::as_slice)
    }
}

/// A file that is read again when it has changed.
pub(crate) struct Watched {
    path: PathBuf,
    /// Its length and its time, when it was read.
    was: Option<(u64, SystemTime)>,
}

impl Watched {
    pub(crate) fn new(path: PathBuf) -> Watched {
        Watched { path, was: None }
    }

    /// Its text, if it is another one than the last time. One system call if it is not.
    pub(crate) fn changed(&mut self) -> Option<String> {
        let now =
            fs::metadata(&self.path).ok().and_then(|of| Some((of.len(), of.modified().ok()?)));
        if now == self.was {
            return None;
        }
        self.was = now;
        Some(read(&self.path))
    }
}

/// The text of a file, as far as it is one; empty when it cannot be read.
fn read(path: impl AsRef<Path>) -> String {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(FILE_MAX).read_to_end(&mut bytes));
    read.map(|_| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    #[test]
    fn a_resolv_conf_with_garbage_in_it() {
        let config = Config::parse(
            "# of the house\nnameserver 192.0.2.1\nnameserver nonsense\nnameserver\n\
             nameserver 2001:db8::53 # behind\nnameserver 192.0.2.3\nnameserver 192.0.2.4\n\
             domain old.example\nsearch a.example b..c B.example\n;\u{0}\u{1}\n\
             options ndots:99 timeout:0 attempts:7 rotate edns0 what:ever timeout:x\nfoo bar\n",
        );
        let servers = ["192.0.2.1:53", "[2001:db8::53]:53", "192.0.2.3:53"];
        assert_eq!(config.servers, servers.map(|s| s.parse().unwrap()));
        assert_eq!(config.search, [name("a.example"), name("b.example")]);
        assert_eq!((config.ndots, config.timeout), (15, Duration::from_secs(1)));
        assert_eq!((config.attempts, config.rotate, config.tcp), (5, true, false));
        assert_eq!(Config::parse(""), Config::default());
    }

    #[test]
    fn short_names_are_looked_for_below_the_domains_first() {
        let config = Config { search: vec![name("x"), name("y")], ..Config::default() };
        let list = |text: &str, absolute| -> Vec<String> {
            let list = config.candidates(&name(text), absolute);
            list.iter().map(|n| n.as_str().to_string()).collect()
        };
        assert_eq!(list("a", false), ["a.x", "a.y", "a"]);
        assert_eq!(list("a.b", false), ["a.b", "a.b.x", "a.b.y"]);
        assert_eq!(list("a", true), ["a"]);
    }

    #[test]
    fn hosts_have_several_names_and_names_several_addresses() {
        let hosts = Hosts::parse(
            "127.0.0.1 localhost\n192.0.2.1 A.example a # first\n::1 a\n192.0.2.1 a\n\
             x y\n#1.1.1.1 a",
        );
        let of_a: Vec<IpAddr> = vec!["192.0.2.1".parse().unwrap(), "::1".parse().unwrap()];
        assert_eq!(hosts.addresses(&name("a")), of_a);
        assert_eq!(hosts.addresses(&name("a.example")), &of_a[..1]);
        assert!(hosts.addresses(&name("y")).is_empty());
    }
}
