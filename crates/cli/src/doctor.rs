//! `loopwork doctor`: what of this machine stands in a server's way, and the command that mends it.
//!
//! Rules of this file:
//! * It reads what the kernel tells of itself in `/proc` and `/sys`, and changes nothing.
//! * Each check says what was found; a poor one says what comes of it, and what to run.
//! * What cannot be read is not known, which is no fault of the machine.

use crate::common::{self, Outcome, quote};
use clap::{Arg, ArgAction, ArgMatches, Command};
use std::fmt::Write as _;
use std::io::Write as _;

/// Descriptors for ten thousand connections, and some.
const DESCRIPTORS: u64 = 10_240;
/// Connections that wait to be accepted: what Linux has itself since 5.4.
const BACKLOG: u64 = 4_096;
/// Ports for connections that leave, to one address: what Linux has itself.
const PORTS: u64 = 28_000;
/// A socket's buffer: a round trip of 1 Gbit/s over 30 ms.
const BUFFER: u64 = 4 << 20;
/// The kernel that has all that is made use of: names are opened without waiting for a disk by
/// `openat2` with `RESOLVE_CACHED`; before it came batches of datagrams (5.0) and `openat2` (5.6).
const KERNEL: (u64, u64) = (5, 12);

pub(crate) fn command() -> Command {
    Command::new("doctor")
        .about("What of this machine stands in a server's way, and what mends it")
        .after_help("Exit codes: 0 nothing does, 1 something does.\n")
        .arg(Arg::new("json").long("json").help("Print one JSON object").action(ArgAction::SetTrue))
}

/// How it is.
#[derive(Clone, PartialEq, Eq, Debug)]
enum State {
    Good,
    /// What comes of it, and what to run.
    Poor(&'static str, String),
    Unknown,
}

/// Something that was looked at.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Check {
    name: &'static str,
    found: String,
    state: State,
}

impl Check {
    fn of(
        name: &'static str,
        found: Option<String>,
        poor: bool,
        (why, mend): (&'static str, String),
    ) -> Check {
        let state = match (&found, poor) {
            (None, _) => State::Unknown,
            (Some(_), true) => State::Poor(why, mend),
            (Some(_), false) => State::Good,
        };
        Check { name, found: found.unwrap_or_default(), state }
    }
}

/// A number that is to be at least so much, in a file of its own.
fn least(
    read: &dyn Fn(&str) -> Option<String>,
    (name, key): (&'static str, &str),
    least: u64,
    why: &'static str,
) -> Check {
    let path = format!("/proc/sys/{}", key.replace('.', "/"));
    let found = read(&path).and_then(|text| text.trim().parse::<u64>().ok());
    let mend = format!("sysctl -w {key}={least}");
    Check::of(name, found.map(|n| n.to_string()), found < Some(least), (why, mend))
}

/// Looks at all; `read` gives what is in a file.
fn checks(read: &dyn Fn(&str) -> Option<String>) -> Vec<Check> {
    vec![
        kernel(read),
        descriptors(read),
        least(
            read,
            ("listen queue", "net.core.somaxconn"),
            BACKLOG,
            "connections that come in a burst are dropped, and tried again a second later",
        ),
        least(
            read,
            ("handshakes", "net.ipv4.tcp_max_syn_backlog"),
            1_024,
            "beyond it connections are only let in by cookies, without their options",
        ),
        ports(read),
        least(
            read,
            ("receive buffer", "net.core.rmem_max"),
            BUFFER,
            "datagrams that come in a burst are lost; --rcvbuf cannot ask for more",
        ),
        least(
            read,
            ("send buffer", "net.core.wmem_max"),
            BUFFER,
            "a large buffer that is asked for is cut to this",
        ),
        ipv6(read),
        clock(read),
    ]
}

fn kernel(read: &dyn Fn(&str) -> Option<String>) -> Check {
    let found = read("/proc/sys/kernel/osrelease").map(|text| text.trim().to_owned());
    let version = found.as_deref().and_then(|text| {
        let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse().ok());
        Some((numbers.next()??, numbers.next()??))
    });
    let why = "files are looked up by threads, and large loads of datagrams take more calls";
    let mend = format!("a kernel from {}.{} on", KERNEL.0, KERNEL.1);
    Check::of("kernel", found, version.is_some_and(|version| version < KERNEL), (why, mend))
}

fn descriptors(read: &dyn Fn(&str) -> Option<String>) -> Check {
    let limits = read("/proc/self/limits").and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("Max open files"))?;
        let mut words = line.split_whitespace();
        let number =
            |word: &str| if word == "unlimited" { Some(u64::MAX) } else { word.parse().ok() };
        Some((number(words.next()?)?, number(words.next()?)?))
    });
    let (soft, hard) = limits.unwrap_or_default();
    let mend = match hard >= DESCRIPTORS {
        true => format!("ulimit -n {hard}"),
        false => {
            format!("as root: ulimit -Hn {DESCRIPTORS}; for a service LimitNOFILE={DESCRIPTORS}")
        }
    };
    let why = "each connection takes one, and beyond it none is accepted";
    let found = limits.map(|_| format!("{soft}, and {hard} at most"));
    Check::of("descriptors", found, soft < DESCRIPTORS, (why, mend))
}

fn ports(read: &dyn Fn(&str) -> Option<String>) -> Check {
    let key = "net.ipv4.ip_local_port_range";
    let found = read(&format!("/proc/sys/{}", key.replace('.', "/"))).and_then(|text| {
        let mut words = text.split_whitespace().map(|word| word.parse::<u64>().ok());
        Some((words.next()??, words.next()??))
    });
    let count = found.map(|(first, last)| (last + 1).saturating_sub(first));
    let why = "so many connections can leave to one address at a time, and some rest for a minute";
    let mend = format!("sysctl -w {key}='1024 65535'");
    let text = found.zip(count).map(|((first, last), n)| format!("{n}, from {first} to {last}"));
    Check::of("ports", text, count < Some(PORTS), (why, mend))
}

fn ipv6(read: &dyn Fn(&str) -> Option<String>) -> Check {
    let addresses = read("/proc/net/if_inet6").map(|text| text.lines().count());
    let none = addresses.unwrap_or(0) == 0;
    let found = if none { "none" } else { "there" };
    let why = "who has nothing else cannot come, and ::1 is nobody";
    let mend = "sysctl -w net.ipv6.conf.all.disable_ipv6=0".to_owned();
    // Where the kernel has none there is no such file.
    let known = read("/proc/net/tcp").map(|_| found.to_owned());
    Check::of("IPv6", known, none, (why, mend))
}

fn clock(read: &dyn Fn(&str) -> Option<String>) -> Check {
    let path = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    let found = read(path).map(|text| text.trim().to_owned());
    let slow = matches!(found.as_deref(), Some("hpet" | "acpi_pm" | "jiffies" | "refined-jiffies"));
    let why = "each turn asks for the time, and this one is asked by a system call";
    Check::of("clock", found, slow, (why, format!("echo tsc > {path}, if the machine has it")))
}

fn draw(checks: &[Check]) -> String {
    let mut text = String::new();
    for Check { name, found, state } in checks {
        let _ = match state {
            State::Good => writeln!(text, "ok    {name:<15} {found}"),
            State::Unknown => writeln!(text, "?     {name:<15} not known here"),
            State::Poor(why, mend) => {
                writeln!(text, "poor  {name:<15} {found}: {why}\n{:22}{mend}", "")
            }
        };
    }
    text
}

fn json(checks: &[Check]) -> String {
    let one = |Check { name, found, state }: &Check| {
        let mut out = String::from("{\"name\":");
        quote(&mut out, name);
        out.push_str(",\"found\":");
        quote(&mut out, found);
        let (word, told) = match state {
            State::Good => ("good", None),
            State::Unknown => ("unknown", None),
            State::Poor(why, mend) => ("poor", Some((why, mend))),
        };
        let _ = write!(out, ",\"state\":\"{word}\"");
        if let Some((why, mend)) = told {
            out.push_str(",\"why\":");
            quote(&mut out, why);
            out.push_str(",\"mend\":");
            quote(&mut out, mend);
        }
        out + "}"
    };
    let all: Vec<String> = checks.iter().map(one).collect();
    format!("{{\"schema_version\":1,\"checks\":[\n{}\n]}}\n", all.join(",\n"))
}

pub(crate) fn run(matches: &ArgMatches) -> Outcome {
    let checks = checks(&|path| std::fs::read_to_string(path).ok());
    let text = if matches.get_flag("json") { json(&checks) } else { draw(&checks) };
    std::io::stdout().write_all(text.as_bytes())?;
    let poor = checks.iter().filter(|check| matches!(check.state, State::Poor(..))).count();
    match poor {
        0 => Ok(()),
        1 => Err(common::Fail::failed("one thing can be mended: see above")),
        n => Err(common::Fail::failed(format!("{n} things can be mended: see above"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: [(&str, &str); 10] = [
        ("/proc/sys/kernel/osrelease", "6.1.0-18-amd64\n"),
        ("/proc/self/limits", "Limit\nMax open files            20000   30000   files\n"),
        ("/proc/sys/net/core/somaxconn", "4096\n"),
        ("/proc/sys/net/ipv4/tcp_max_syn_backlog", "1024\n"),
        ("/proc/sys/net/ipv4/ip_local_port_range", "32768\t60999\n"),
        ("/proc/sys/net/core/rmem_max", "4194304\n"),
        ("/proc/sys/net/core/wmem_max", "4194304\n"),
        ("/proc/net/if_inet6", "00000000000000000000000000000001 01 80 10 80 lo\n"),
        ("/proc/net/tcp", "\n"),
        ("/sys/devices/system/clocksource/clocksource0/current_clocksource", "tsc\n"),
    ];

    /// The checks of a machine where these files are others.
    fn of(other: &[(&str, &str)]) -> Vec<Check> {
        checks(&|path| {
            let all = other.iter().chain(&GOOD);
            all.clone().find(|(name, _)| *name == path).map(|(_, text)| (*text).to_owned())
        })
    }

    #[test]
    fn a_good_machine_has_nothing_to_mend() {
        let all = of(&[]);
        assert!(all.iter().all(|check| check.state == State::Good), "{all:?}");
        assert_eq!(all.len(), draw(&all).lines().count());
        assert_eq!(json(&all).matches("\"state\":\"good\"").count(), all.len());
    }

    #[test]
    fn each_poor_thing_is_found_with_what_mends_it() {
        for (path, text, mend) in [
            ("/proc/sys/kernel/osrelease", "5.4.0", "a kernel from 5.12 on"),
            ("/proc/self/limits", "Max open files 1024 20000 files", "ulimit -n 20000"),
            ("/proc/self/limits", "Max open files 1024 4096 files", "LimitNOFILE=10240"),
            ("/proc/sys/net/core/somaxconn", "128", "sysctl -w net.core.somaxconn=4096"),
            ("/proc/sys/net/ipv4/tcp_max_syn_backlog", "256", "tcp_max_syn_backlog=1024"),
            ("/proc/sys/net/ipv4/ip_local_port_range", "50000 50099", "'1024 65535'"),
            ("/proc/sys/net/core/rmem_max", "212992", "net.core.rmem_max=4194304"),
            ("/proc/sys/net/core/wmem_max", "212992", "net.core.wmem_max=4194304"),
            ("/proc/net/if_inet6", "", "disable_ipv6=0"),
            (GOOD[9].0, "hpet", "echo tsc"),
        ] {
            let all = of(&[(path, text)]);
            let poor: Vec<&Check> =
                all.iter().filter(|check| matches!(check.state, State::Poor(..))).collect();
            assert_eq!(poor.len(), 1, "{path}: {all:?}");
            assert!(draw(&all).contains(mend) && json(&all).contains(mend), "{path}: {all:?}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_not_known() {
        let all = checks(&|_| None);
        assert!(all.iter().all(|check| check.state == State::Unknown), "{all:?}");
        let all = of(&[("/proc/self/limits", "x"), ("/proc/sys/net/core/somaxconn", "many")]);
        assert_eq!(all.iter().filter(|check| check.state == State::Unknown).count(), 2, "{all:?}");
    }
}
