//! `loopwork serve`: a directory over HTTP.
//!
//! Rule: what is served, what not and how is the business of `loopwork::files`.

use crate::common::{self, Fail, Outcome};
use crate::ws;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use loopwork::files::{self, Files};
use loopwork::http::Http;
use loopwork::{Loop, Os, tcp};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  loopwork serve                       this directory, on http://127.0.0.1:8080
  loopwork serve public -p 0           another one, on a free port
  loopwork serve -b 0.0.0.0 -p 80 www  for the whole network

What begins with a dot is not served, and neither is what a symbolic link reaches outside of the
directory. ^C finishes what is in flight; a second ^C ends at once.
";

pub(crate) fn command() -> Command {
    Command::new("serve")
        .about("Serve a directory over HTTP")
        .after_help(EXAMPLES)
        .arg(
            Arg::new("dir")
                .value_name("DIR")
                .help("The directory")
                .value_parser(value_parser!(PathBuf))
                .default_value("."),
        )
        .arg(
            Arg::new("port")
                .short('p')
                .long("port")
                .value_name("PORT")
                .help("The port; 0 takes a free one")
                .value_parser(value_parser!(u16))
                .default_value("8080"),
        )
        .arg(
            Arg::new("bind")
                .short('b')
                .long("bind")
                .value_name("IP")
                .help("The address to listen on; 0.0.0.0 or :: for the whole network")
                .value_parser(value_parser!(IpAddr))
                .default_value("127.0.0.1"),
        )
        .arg(
            Arg::new("ws-echo")
                .long("ws-echo")
                .value_name("PATH")
                .help("On this path, answer WebSockets with what they say"),
        )
        .arg(
            Arg::new("spa")
                .long("spa")
                .help("Show /index.html to browsers on paths that are not there")
                .action(ArgAction::SetTrue),
        )
        .arg(
            Arg::new("anywhere")
                .long("anywhere")
                .help("Serve / or the home directory too, and what holds it")
                .action(ArgAction::SetTrue),
        )
        .arg(shutdown_timeout())
}

/// The flag that all servers have.
pub(crate) fn shutdown_timeout() -> Arg {
    Arg::new("shutdown-timeout")
        .long("shutdown-timeout")
        .value_name("SECS")
        .help("After SIGTERM or ^C: how long what is in flight may take")
        .value_parser(common::seconds)
        .default_value("10")
}

pub(crate) fn run(matches: &ArgMatches) -> Outcome {
    let dir: PathBuf = common::parsed(matches, "dir").unwrap_or_default();
    let root = root(&dir, matches.get_flag("anywhere"))?;
    let ip = common::parsed(matches, "bind").unwrap_or(IpAddr::from([127, 0, 0, 1]));
    let at = SocketAddr::new(ip, common::parsed(matches, "port").unwrap_or_default());
    let timeout = common::parsed(matches, "shutdown-timeout").unwrap_or_default();
    let site = Files::new(root)?.listing(true).precompressed(true);
    let site = site.spa(matches.get_flag("spa"));
    match common::text(matches, "ws-echo") {
        None => start(at, timeout, Http::new(site)),
        Some(path) => {
            let echo = ws::echo(Some(format!("/{}", path.trim_start_matches('/'))));
            start(at, timeout, Http::with_upgrade(site, echo))
        }
    }
}

/// Listens, announces, serves until told to end.
fn start<P: tcp::Protocol>(at: SocketAddr, timeout: Duration, protocol: P) -> Outcome {
    let mut lp = Loop::new(Os::new()?);
    let listening = tcp::listen(&mut lp, at, protocol);
    let (host, at) = listening.map_err(|error| common::cannot_listen(at, &error))?;
    common::end_in_order(&mut lp, timeout, move |env| tcp::shutdown(env, host))?;
    common::announce("http", at);
    common::serve(&mut lp)
}

fn root(dir: &Path, anywhere: bool) -> Result<PathBuf, Fail> {
    let shown = dir.display();
    let root = dir.canonicalize().map_err(|error| {
        let why = common::reason(&error);
        Fail::failed(format!("cannot serve {shown}: {why}; name a directory that exists"))
    })?;
    if !root.is_dir() {
        let text = format!("cannot serve {shown}: not a directory; name the one that holds it");
        return Err(Fail::failed(text));
    }
    if !anywhere && files::is_too_much(&root, std::env::var_os("HOME")) {
        let text = format!(
            "will not serve {}: it holds your home directory or the whole machine; \
             name a directory in it, or say --anywhere",
            root.display()
        );
        return Err(Fail::failed(text));
    }
    Ok(root)
}
