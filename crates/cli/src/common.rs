//! What all commands share: how they fail, how they say where they listen, how they end.
//!
//! Rules of this file:
//! * Data goes to stdout, talk to stderr. A failure is one line: what, why, what to do.
//! * Writing talk never fails a command: whoever closed stderr does not want it.
//! * The exit code is 0, 1 for a failure, 2 for wrong usage, 130 after ^C.

use crate::tape::{self, Outside, Wanted};
use loopwork::signal::{self, SIGHUP, SIGINT, SIGTERM};
use loopwork::{Env, Loop, World};
use std::io::{self, ErrorKind, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The exit code after a signal is this and the signal's number, as shells have it: 130 after ^C.
const SIGNALLED: i32 = 128;

/// How often a loop that only waits for its output to be written looks for signals.
const LOOK: Duration = Duration::from_millis(100);

/// Why a command ends without success.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fail {
    /// The exit code.
    pub(crate) code: u8,
    /// One line for stderr; empty when there is nothing to say.
    pub(crate) text: String,
}

impl Fail {
    /// With an exit code of the command's own.
    pub(crate) fn new(code: u8, text: impl Into<String>) -> Fail {
        Fail { code, text: text.into() }
    }

    /// With exit code 1.
    pub(crate) fn failed(text: impl Into<String>) -> Fail {
        Fail::new(1, text)
    }

    /// With exit code 2.
    pub(crate) fn usage(text: impl Into<String>) -> Fail {
        Fail::new(2, text)
    }
}

/// An error that comes from the system and not from anything that the user said.
impl From<io::Error> for Fail {
    fn from(error: io::Error) -> Fail {
        Fail::failed(format!("the system refused: {}", reason(&error)))
    }
}

/// The outcome of a command.
pub(crate) type Outcome = Result<(), Fail>;

/// One line to stderr.
pub(crate) fn talk(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// The line that says that a listener accepts now, where scripts look for it.
pub(crate) fn announce(scheme: &str, at: impl std::fmt::Display) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "listening on {scheme}://{at}").and_then(|()| out.flush());
}

/// Appends a JSON string (RFC 8259 §7).
pub(crate) fn quote(out: &mut String, text: &str) {
    out.push('"');
    for char in text.chars() {
        match char {
            '"' | '\\' => out.extend(['\\', char]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            char if char < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(char))),
            char => out.push(char),
        }
    }
    out.push('"');
}

/// Text in HTML and XML, which have no way to say control characters.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::new();
    for char in text.chars() {
        match char {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            char if char.is_control() => {}
            char => out.push(char),
        }
    }
    out
}

/// An error without the number that the standard library puts behind it.
pub(crate) fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    let end = text.find(" (os error").unwrap_or(text.len());
    let mut chars = text[..end].chars();
    let first = chars.next().map(|c| c.to_lowercase().to_string()).unwrap_or_default();
    first + chars.as_str()
}

/// Why a listener could not be opened, and what to do.
pub(crate) fn cannot_listen(at: impl std::fmt::Display, error: &io::Error) -> Fail {
    let advice = match error.kind() {
        ErrorKind::AddrInUse => "; stop who uses it, or choose another port (0: any)",
        ErrorKind::PermissionDenied => "; take a port from 1024 upwards, or ask for the right",
        ErrorKind::AddrNotAvailable => "; take an address of this machine (ip addr lists them)",
        _ => "",
    };
    Fail::failed(format!("cannot listen on {at}: {}{advice}", reason(error)))
}

/// `HOST:PORT`, `:PORT`, `PORT` or `HOST` as an address to listen on. The host is loopback unless
/// one is named, the port `port` unless one is.
pub(crate) fn listen_address(text: &str, port: u16) -> Result<SocketAddr, Fail> {
    if let Ok(at) = text.parse() {
        return Ok(at);
    }
    if let Ok(port) = text.parse() {
        return Ok(SocketAddr::from(([127, 0, 0, 1], port)));
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, tail)) if !host.ends_with(':') => match tail.parse() {
            Ok(port) => (host, port),
            Err(_) => (text, port),
        },
        _ => (text, port),
    };
    let host = if host.is_empty() { "127.0.0.1" } else { host };
    let list = loopwork::resolve(host, port).map_err(|error| {
        let why = reason(&error);
        Fail::failed(format!("no address to listen on in {text:?}: {why}; say IP:PORT"))
    })?;
    list.first().copied().ok_or_else(|| Fail::failed(format!("{host} has no address")))
}

/// Seconds, with a fraction if need be: how long to wait.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_string())?;
    let wait = Duration::try_from_secs_f64(seconds);
    wait.map_err(|_| "not a number of seconds that one can wait".to_string())
}

/// A port or a number of seconds that clap has checked.
pub(crate) fn parsed<T: Clone + Send + Sync + 'static>(
    matches: &clap::ArgMatches,
    name: &str,
) -> Option<T> {
    matches.get_one::<T>(name).cloned()
}

/// A text argument that is there, or has a default.
pub(crate) fn text<'a>(matches: &'a clap::ArgMatches, name: &str) -> Option<&'a str> {
    matches.get_one::<String>(name).map(String::as_str)
}

/// Ends a serving loop in order: on SIGINT, SIGTERM or SIGHUP `shutdown` is called, and the loop
/// is left when nothing is in flight any more, or `timeout` later. A second SIGINT ends at once.
pub(crate) fn end_in_order<W: World>(
    lp: &mut Loop<W>,
    timeout: Duration,
    shutdown: impl Fn(&mut Env) + 'static,
) -> io::Result<()> {
    static TOLD: AtomicBool = AtomicBool::new(false);
    let mut ending = false;
    signal::watch(lp, &[SIGINT, SIGTERM, SIGHUP], move |env, number| {
        if std::mem::replace(&mut ending, true) {
            if number == SIGINT {
                std::process::exit(SIGNALLED + SIGINT);
            }
            return;
        }
        // Once, however many loops there are.
        if !TOLD.swap(true, Ordering::Relaxed) {
            let seconds = timeout.as_secs_f64();
            talk(&format!("finishing what is in flight, {seconds} s at most; ^C ends at once"));
        }
        shutdown(env);
        let limit = env.after(timeout, |env| env.calls.stop());
        env.calls.unref(limit);
    })?;
    Ok(())
}

/// Runs a serving loop to its end, and tells what was cut off.
pub(crate) fn serve(lp: &mut Loop<Outside>, wanted: &Wanted) -> Outcome {
    tape::run(lp, wanted)?;
    if lp.env.calls.stopping() {
        talk("the time is up: what was still in flight is cut off");
    }
    Ok(())
}

/// ^C and SIGTERM end a client at once, with 128 and the signal's number, behind `tidy`.
pub(crate) fn end_at_once<W: World>(
    lp: &mut Loop<W>,
    tidy: impl Fn(&mut Env) + 'static,
) -> io::Result<()> {
    signal::watch(lp, &[SIGINT, SIGTERM], move |env, number| {
        tidy(env);
        // In the next turn: what was wished for tidying is carried out at the end of this one.
        env.after(Duration::ZERO, move |_| std::process::exit(SIGNALLED + number));
    })?;
    Ok(())
}

/// Runs until `done` says that the output is written; signals are served meanwhile, also when the
/// loop itself has stopped.
pub(crate) fn until<W: World>(lp: &mut Loop<W>, done: impl Fn(Duration) -> bool) -> io::Result<()> {
    while !done(LOOK) {
        lp.turn(Some(Duration::ZERO))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_to_listen_on() {
        for (text, at) in [
            ("127.0.0.1:0", "127.0.0.1:0"),
            ("9000", "127.0.0.1:9000"),
            (":9000", "127.0.0.1:9000"),
            ("0.0.0.0", "0.0.0.0:7"),
            ("[::1]:9", "[::1]:9"),
            ("::1", "[::1]:7"),
            ("[::1]", "[::1]:7"),
        ] {
            assert_eq!(listen_address(text, 7).unwrap(), at.parse().unwrap(), "{text}");
        }
        assert!(listen_address("127.0.0.1:70000", 7).is_err());
        assert!(listen_address("no such name:1", 7).is_err());
    }

    #[test]
    fn seconds_have_fractions_and_bounds() {
        assert_eq!(seconds("1.5"), Ok(Duration::from_millis(1500)));
        assert_eq!(seconds("0"), Ok(Duration::ZERO));
        for wrong in ["", "x", "-1", "NaN", "inf", "1e30"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn strings_of_json_are_quoted() {
        let mut out = String::new();
        quote(&mut out, "a\"b\\c\n\r\t\u{1}é");
        assert_eq!(out, "\"a\\\"b\\\\c\\n\\r\\t\\u0001é\"");
    }

    #[test]
    fn reasons_have_no_numbers() {
        let error = io::Error::from_raw_os_error(libc::EADDRINUSE);
        assert_eq!(reason(&error), "address already in use");
    }
}
