//! `loopwork dns`: asks name servers, and prints what they say as `dig` does.
//!
//! Rules of this file:
//! * Records go to stdout as zone files write them; who answered, and how fast, goes to stderr.
//! * What a server sent is printed escaped: it is the library's text, and no octet of a message.

use crate::common::{self, Fail, Outcome, quote};
use crate::idn;
use crate::tape;
use clap::{Arg, ArgAction, ArgMatches, Command};
use loopwork::dns::{Answer, Config, Error, Hosts, Kind, Name, Record, Resolver};
use loopwork::{Env, World};
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};

const EXAMPLES: &str = "\
Examples:
  loopwork dns www.example.org               its addresses of IPv4
  loopwork dns example.org MX                who takes its mail
  loopwork dns example.org TXT @192.0.2.53   ask this server; @IP:PORT another port
  loopwork dns 192.0.2.7                     the name of an address
  loopwork dns www.example.org AAAA +tcp     ask over TCP
  loopwork dns www.example.org --json        for programs

Types: A, AAAA, CNAME, MX, TXT, SRV, NS, PTR, SOA. Without @SERVER the servers, the domains and the
options of /etc/resolv.conf; with it the name is taken as it is.

Exit codes: 0 found, 1 not found or no answer, 2 wrong usage.
";

pub(crate) fn command() -> Command {
    Command::new("dns")
        .about("Ask name servers")
        .after_help(EXAMPLES)
        .arg(
            Arg::new("words")
                .value_name("NAME [TYPE] [@SERVER] [+tcp]")
                .help("What to ask for, and whom")
                .num_args(1..)
                .required(true),
        )
        .arg(Arg::new("json").long("json").help("Print one JSON object").action(ArgAction::SetTrue))
        .arg(tape::arg())
}

/// What the words of the command line ask for.
#[derive(Debug, PartialEq)]
struct Wanted {
    /// As the user wrote it, or the name of an address.
    name: String,
    kind: Kind,
    server: Option<SocketAddr>,
    tcp: bool,
}

impl Wanted {
    fn parse<'a>(words: impl Iterator<Item = &'a str>) -> Result<Wanted, Fail> {
        let (mut name, mut kind, mut server, mut tcp) = (None, None, None, false);
        for word in words {
            if let Some(at) = word.strip_prefix('@') {
                server = Some(server_of(at)?);
            } else if let Some(option) = word.strip_prefix('+') {
                match option {
                    "tcp" => tcp = true,
                    other => {
                        return Err(Fail::usage(format!("+{other} is unknown; there is +tcp")));
                    }
                }
            } else if name.is_none() {
                name = Some(word);
            } else if let Some(known) = Kind::parse(word).filter(|_| kind.is_none()) {
                kind = Some(known);
            } else {
                let types = Kind::ALL.map(Kind::as_str).join(", ");
                return Err(Fail::usage(format!("{word:?} is no type; there are {types}")));
            }
        }
        let name = name.ok_or_else(|| Fail::usage("say which name; see loopwork dns --help"))?;
        let (name, kind) = match name.parse::<IpAddr>() {
            Ok(ip) if kind.is_none() => (Name::reverse(ip).to_string(), Kind::Ptr),
            _ => (idn::host(name).into_owned(), kind.unwrap_or(Kind::A)),
        };
        match Name::new(&name) {
            Ok(_) => Ok(Wanted { name, kind, server, tcp }),
            Err(why) => Err(Fail::usage(format!("{name:?} cannot be asked for: {why}"))),
        }
    }

    /// Whom to ask, and how.
    fn config(&self) -> Config {
        let mut config = Config::system();
        if let Some(server) = self.server {
            config.servers = vec![server];
            config.search.clear();
        }
        config.tcp |= self.tcp;
        config
    }
}

fn server_of(text: &str) -> Result<SocketAddr, Fail> {
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    let ip = bare.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 53));
    ip.or_else(|_| text.parse()).map_err(|_| {
        Fail::usage(format!("@{text} is no server; say @IP or @IP:PORT, such as @127.0.0.1:5353"))
    })
}

/// What came, for the command to print.
#[derive(Default)]
struct Said(Option<Result<Answer, Error>>);

pub(crate) fn run(matches: &ArgMatches, world: &tape::Wanted) -> Outcome {
    let words = matches.get_many::<String>("words").into_iter().flatten();
    let wanted = Wanted::parse(words.map(String::as_str))?;
    let mut lp = tape::open(world)?;
    let config = wanted.config();
    let asked: Vec<String> = config.servers.iter().map(SocketAddr::to_string).collect();
    let names = Resolver::new(&mut lp, config, Hosts::default());
    let begin = lp.world.now();
    let keep = |env: &mut Env, said| env.shared.one::<Said>().0 = Some(said);
    names.resolve(&mut lp.env, &wanted.name, wanted.kind, keep);
    tape::run(&mut lp, world)?;
    let took = lp.world.now().since(begin).as_micros();
    let said = lp.env.shared.one::<Said>().0.take();
    let said = said.ok_or_else(|| Fail::failed("the question was lost; ask again"))?;
    let text = match matches.get_flag("json") {
        true => json(&wanted, &said, took),
        false => said.as_ref().map(lines).unwrap_or_default(),
    };
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush())?;
    match said {
        Ok(answer) => {
            if let (Some(server), false) = (answer.server, matches.get_flag("json")) {
                let how = if answer.tcp { "tcp" } else { "udp" };
                common::talk(&format!(
                    ";; {server} ({how}), {}.{:03} ms",
                    took / 1000,
                    took % 1000
                ));
            }
            Ok(())
        }
        Err(why) => Err(Fail::failed(advice(&wanted, why, &asked.join(", ")))),
    }
}

/// What, why, what to do.
fn advice(wanted: &Wanted, why: Error, asked: &str) -> String {
    let advice = match why {
        Error::NoSuchName => "; look at its spelling".to_string(),
        Error::NoData => "; ask for another type".to_string(),
        Error::Timeout | Error::Unreachable(_) | Error::Server(_) | Error::Malformed => {
            format!("; asked were {asked}; try another with @SERVER")
        }
        _ => String::new(),
    };
    format!("{} {}: {why}{advice}", wanted.name, wanted.kind)
}

/// The chain, then the records, in columns as `dig +noall +answer` has them.
fn lines(answer: &Answer) -> String {
    let line = |r: &Record| format!("{}\t{}\tIN\t{}\t{}\n", r.name, r.ttl, r.data.kind(), r.data);
    answer.chain.iter().chain(&answer.records).map(line).collect()
}

fn json(wanted: &Wanted, said: &Result<Answer, Error>, took: u128) -> String {
    let mut out = String::from("{\"schema_version\":1,\"name\":");
    quote(&mut out, &wanted.name);
    out.push_str(&format!(",\"type\":\"{}\",\"microseconds\":{took}", wanted.kind));
    match said {
        Ok(answer) => {
            if let Some(server) = answer.server {
                out.push_str(&format!(",\"server\":\"{server}\",\"tcp\":{}", answer.tcp));
            }
            out.push_str(",\"records\":[");
            for (n, r) in answer.chain.iter().chain(&answer.records).enumerate() {
                out.push_str(if n > 0 { ",{\"name\":" } else { "{\"name\":" });
                quote(&mut out, &r.name.to_string());
                let kind = r.data.kind();
                out.push_str(&format!(",\"ttl\":{},\"type\":\"{kind}\",\"data\":", r.ttl));
                quote(&mut out, &r.data.to_string());
                out.push('}');
            }
            out.push(']');
        }
        Err(why) => {
            out.push_str(&format!(",\"code\":\"{}\",\"error\":", why.node_code()));
            quote(&mut out, &why.to_string());
        }
    }
    out.push_str("}\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Wanted, Fail> {
        Wanted::parse(text.split(' '))
    }

    #[test]
    fn words_in_any_order() {
        let wanted = parse("@[::1]:5353 a.example mx +tcp").unwrap();
        assert_eq!(wanted.server, Some("[::1]:5353".parse().unwrap()));
        assert_eq!((wanted.kind, wanted.tcp, &*wanted.name), (Kind::Mx, true, "a.example"));
        assert_eq!(parse("a @::1").unwrap().server, Some("[::1]:53".parse().unwrap()));
        let address = parse("192.0.2.7").unwrap();
        assert_eq!((&*address.name, address.kind), ("7.2.0.192.in-addr.arpa.", Kind::Ptr));
    }

    #[test]
    fn what_cannot_be_asked_is_wrong_usage() {
        for text in ["a nonsense", "a mx mx", "a +udp", "a @nobody", "a..b", "@::1"] {
            assert_eq!(parse(text).unwrap_err().code, 2, "{text}");
        }
    }
}
