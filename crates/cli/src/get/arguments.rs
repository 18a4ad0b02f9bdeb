//! The options of `get`, by curl's names.
//!
//! Rules of this file:
//! * A name that curl has means what it means there, and what is said twice counts as the last.
//! * The table stands here alone; what it means is read off in `wanted.rs`.

use crate::common;
use clap::{Arg, ArgAction, Command, value_parser};

const EXAMPLES: &str = "\
Examples:
  loopwork get http://127.0.0.1:8080/           the body, to stdout
  loopwork get -I -L http://example.org         the heads, redirects followed
  loopwork get -d name=value http://127.0.0.1:8080/form
  loopwork get -so /dev/null -w '%{http_code} %{time_total}\\n' http://127.0.0.1:8080/
  loopwork get --timing -o /dev/null http://example.org
  loopwork get --page http://example.org        all that a page embeds, as a waterfall
  loopwork get -C - -O http://127.0.0.1:8080/big.iso
  loopwork get --retry 5 -o 'part#1' 'http://127.0.0.1:8080/[1-9]'

Exit codes are curl's: 1 protocol, 2 usage, 3 URL, 5 proxy, 6 name, 7 connect, 8 answer,
18 partial, 22 with -f, 23 write, 26 read, 28 time, 33 range, 47 redirects, 52 empty, 56 receive,
63 too large, 65 cannot send twice. They are those of the last URL.
";

fn value(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value).help(help).allow_hyphen_values(true)
}

fn many(name: &'static str, what: &'static str, help: &'static str) -> Arg {
    value(name, what, help).action(ArgAction::Append)
}

fn flag(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).help(help).action(ArgAction::SetTrue)
}

fn time(name: &'static str, help: &'static str) -> Arg {
    value(name, "SECS", help).value_parser(common::seconds)
}

pub(super) fn command() -> Command {
    let url = Arg::new("url")
        .value_name("URL")
        .help("http[s]://HOST[:PORT]/PATH; {a,b} and [1-9] stand for several")
        .required(true)
        .num_args(1..)
        .action(ArgAction::Append);
    Command::new("get")
        .about("Ask an HTTP server, as curl does")
        .after_help(EXAMPLES)
        .args_override_self(true)
        .arg(url)
        .args(asking())
        .args(crate::tls::client_args())
        .args(bodies())
        .args(files())
        .args(telling())
        .args(ways())
        .args(limits())
}

fn asking() -> Vec<Arg> {
    vec![
        value("request", "METHOD", "The method, instead of GET, or POST with -d").short('X'),
        many("header", "LINE", "'Name: value', 'Name;' empty, 'Name:' none; @FILE").short('H'),
        value("user-agent", "TEXT", "What User-Agent says; '' for none").short('A'),
        value("referer", "URL", "What Referer says; ';auto' for the URL before").short('e'),
        value("user", "NAME:PASSWORD", "Basic credentials").short('u'),
        value("oauth2-bearer", "TOKEN", "A bearer token"),
        many("cookie", "DATA|FILE", "name=value to send, or a file of cookies").short('b'),
        value("cookie-jar", "FILE", "Keep the cookies here at the end").short('c'),
        value("range", "RANGE", "Only these bytes: 0-99, 100-, -100").short('r'),
        value("request-target", "TARGET", "Ask for this instead of the URL's path"),
        flag("compressed", "Ask for a compressed body, and show what it was made from"),
        flag("head", "Ask for the head alone, and show it").short('I'),
        flag("location", "Follow redirects").short('L'),
        flag("location-trusted", "Follow them, credentials for every host"),
        value("max-redirs", "N", "So many redirects at most; -1 for any number")
            .value_parser(value_parser!(i64).range(-1..)),
        flag("post301", "A POST stays one behind 301"),
        flag("post302", "A POST stays one behind 302"),
        flag("post303", "A POST stays one behind 303"),
        flag("http1.1", "HTTP/1.1, which is what is spoken anyway"),
    ]
}

fn bodies() -> Vec<Arg> {
    vec![
        many("data", "DATA", "A body to POST; @FILE or @- reads it, without line ends").short('d'),
        many("data-ascii", "DATA", "The same").hide(true),
        many("data-raw", "DATA", "The same; @ means nothing"),
        many("data-binary", "DATA", "The same; line ends stay"),
        many("data-urlencode", "DATA", "The same, encoded: TEXT, =TEXT, name=TEXT, [name]@FILE"),
        many("json", "DATA", "A body of JSON, and the headers for it"),
        flag("get", "Put the data into the URL").short('G'),
        value("upload-file", "FILE", "PUT this file; - for stdin").short('T'),
    ]
}

fn files() -> Vec<Arg> {
    vec![
        many("output", "FILE", "Write the body here; #1 is what the first {} stood for").short('o'),
        Arg::new("remote-name")
            .short('O')
            .long("remote-name")
            .help("Write it to a file named as the end of the URL")
            .action(ArgAction::Append)
            .num_args(0)
            .default_missing_value(""),
        flag("remote-name-all", "-O for each URL"),
        flag("remote-header-name", "With -O: the name that the server gives").short('J'),
        flag("create-dirs", "Make the folders that -o names"),
        value("output-dir", "DIR", "Where the files of -o and -O go"),
        value("continue-at", "OFFSET", "Go on from here; - for as much as the file has").short('C'),
        value("dump-header", "FILE", "Write the heads here").short('D'),
        flag("globoff", "{}[] in a URL stand for themselves").short('g'),
    ]
}

fn telling() -> Vec<Arg> {
    vec![
        flag("include", "Show the heads before the body").short('i'),
        flag("verbose", "Tell on stderr what is said, both ways").short('v'),
        flag("silent", "Say nothing on stderr").short('s'),
        flag("show-error", "With -s: say what failed").short('S'),
        flag("progress-bar", "On a terminal: how far it is as a plain bar").short('#'),
        flag("no-progress-meter", "Do not show how far it is"),
        flag("page", "Load the page with all that it embeds, and draw when each of it came"),
        value("har", "FILE", "With --page: its story as a HAR; - for stdout").requires("page"),
        value("trace", "FILE", "With --page: as a trace for Perfetto").requires("page"),
        value("svg", "FILE", "With --page: as a picture").requires("page"),
        flag("capture", "With --page: the ladder by real packets; needs the right to see them")
            .requires("page"),
        flag("story", "With --page: its story as JSON").requires("page").hide(true),
        value("slo", "NAME=MS,…", "With --page: exit with 4 when it takes longer; total, first, …")
            .requires("page"),
        flag("timing", "Draw on stderr where the time went"),
        value("write-out", "FORMAT", "Write this behind the body; %{http_code} and such; @FILE")
            .short('w'),
        flag("fail", "Exit with 22 and without a body when the status is 400 or above").short('f'),
        flag("fail-with-body", "The same, with the body").conflicts_with("fail"),
        flag("fail-early", "End at the first URL that fails"),
    ]
}

fn ways() -> Vec<Arg> {
    vec![
        many("resolve", "HOST:PORT:ADDR", "Take this address for that host"),
        many("connect-to", "H1:P1:H2:P2", "Connect to the second instead of the first"),
        value("proxy", "[http://]HOST:PORT", "Ask by this proxy; '' for none").short('x'),
        value("proxy-user", "NAME:PASSWORD", "Basic credentials for the proxy").short('U'),
        value("noproxy", "HOSTS", "No proxy for these; * for all"),
        value("unix-socket", "PATH", "Connect to this Unix socket"),
        flag("ipv4", "Only IPv4 addresses").short('4'),
        flag("ipv6", "Only IPv6 addresses").short('6').conflicts_with("ipv4"),
    ]
}

fn limits() -> Vec<Arg> {
    vec![
        time("max-time", "Give up after so long").short('m'),
        time("connect-timeout", "Give up when there is no connection after so long"),
        value("max-filesize", "BYTES", "Refuse what is longer; k, M, G"),
        value("retry", "N", "Try again so often when it may help").value_parser(value_parser!(u32)),
        time("retry-delay", "Wait so long before it; else 1, 2, 4 ... s"),
        time("retry-max-time", "Begin no try later than this"),
        flag("retry-connrefused", "Nobody listening is a reason, too"),
        flag("retry-all-errors", "So is every failure"),
    ]
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_arguments_are_sound() {
        super::command().debug_assert();
    }
}
