//! `loopwork serve`: a directory over HTTP.
//!
//! Rule: what is served, what not and how is the business of `loopwork::files`.

mod counters;
mod log;
mod watched;

use crate::common::{self, Fail, Outcome};
use crate::tape::{self, Wanted};
use crate::{tls, ws};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use counters::Counters;
use log::Format;
use loopwork::files::{self, Files};
use loopwork::http::Http;
use loopwork::reactor::{ListenOptions, Streams, Workers, listen_fds};
use loopwork::tls::rustls::ServerConfig;
use loopwork::tls::{Tls, config};
use loopwork::{Address, Loop, tcp};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use watched::{Watch, Watched};

const EXAMPLES: &str = "\
Examples:
  loopwork serve                       this directory, on http://127.0.0.1:8080
  loopwork serve public -p 0           another one, on a free port
  loopwork serve -b 0.0.0.0 -p 80 www  for the whole network
  loopwork serve --access-log=json --metrics --threads 4 www
  loopwork serve --tls-self-signed www then: loopwork get -k https://127.0.0.1:8080/

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
        .args(watching())
        .args(tls::server_args())
        .arg(shutdown_timeout())
        .arg(tape::arg())
}

/// How it is watched, and how much of the machine it takes.
fn watching() -> [Arg; 4] {
    let flag = |name, help| Arg::new(name).long(name).help(help).action(ArgAction::SetTrue);
    [
        Arg::new("access-log")
            .long("access-log")
            .value_name("FORMAT")
            .help("A line on stdout for each request that is done with: combined or json")
            .value_parser(["combined", "json"])
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("combined"),
        flag("metrics", "Tell counters on /metrics, in the text format of Prometheus"),
        flag("health", "Answer /health with 200"),
        Arg::new("threads")
            .long("threads")
            .value_name("N")
            .help("Threads, each with a loop and a listener of its own")
            .value_parser(value_parser!(u32).range(1..=1024))
            .default_value("1"),
    ]
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

pub(crate) fn run(matches: &ArgMatches, wanted: &Wanted) -> Outcome {
    let dir: PathBuf = common::parsed(matches, "dir").unwrap_or_default();
    let root = root(&dir, matches.get_flag("anywhere"))?;
    let ip = common::parsed(matches, "bind").unwrap_or(IpAddr::from([127, 0, 0, 1]));
    let at = SocketAddr::new(ip, common::parsed(matches, "port").unwrap_or_default());
    let timeout = common::parsed(matches, "shutdown-timeout").unwrap_or_default();
    let threads = common::parsed::<u32>(matches, "threads").unwrap_or(1) as usize;
    let spa = matches.get_flag("spa");
    let site =
        move || io::Result::Ok(Files::new(&root)?.listing(true).precompressed(true).spa(spa));
    let echo = common::text(matches, "ws-echo").map(|p| format!("/{}", p.trim_start_matches('/')));
    wanted.without_tls(matches)?;
    wanted.one_loop(threads)?;
    let secure = tls::server(matches, ip, &[config::HTTP])?;
    let how = How { wanted, at, timeout, threads, secure };
    let (watch, writer) = watch(matches)?;
    let outcome = match (watch, echo) {
        (None, None) => start(how, move || Ok(Http::new(site()?))),
        (None, Some(path)) => {
            start(how, move || Ok(Http::with_upgrade(site()?, ws::echo(Some(path.clone())))))
        }
        (Some(watch), None) => {
            start(how, move || Ok(Http::new(Watched { app: site()?, watch: watch.clone() })))
        }
        (Some(watch), Some(path)) => start(how, move || {
            let watched = Watched { app: site()?, watch: watch.clone() };
            Ok(Http::with_upgrade(watched, ws::echo(Some(path.clone()))))
        }),
    };
    // All who log are gone by now: what they have said is written.
    if let Some(writer) = writer {
        let _ = writer.join();
    }
    outcome
}

/// Who is to watch, if anybody is, and the thread that writes what is logged.
fn watch(matches: &ArgMatches) -> Result<(Option<Watch>, Option<JoinHandle<()>>), Fail> {
    let format = common::text(matches, "access-log").map(|name| match name {
        "json" => Format::Json,
        _ => Format::Combined,
    });
    let (metrics, health) = (matches.get_flag("metrics"), matches.get_flag("health"));
    if format.is_none() && !metrics && !health {
        return Ok((None, None));
    }
    let (log, writer) = format.map(log::begin).transpose()?.unzip();
    let counters = Arc::new(Counters::default());
    Ok((Some(Watch { counters, log, metrics, health }), writer))
}

/// Where and how is served.
struct How<'a> {
    /// In which world.
    wanted: &'a Wanted,
    at: SocketAddr,
    timeout: Duration,
    threads: usize,
    /// By TLS.
    secure: Option<Arc<ServerConfig>>,
}

/// Serves, with TLS around it or without.
fn start<P: tcp::Protocol>(
    how: How<'_>,
    make: impl Fn() -> io::Result<P> + Send + Sync + 'static,
) -> Outcome {
    match how.secure.clone() {
        None => serve(&how, "http", make),
        Some(tls) => serve(&how, "https", move || Ok(Tls::server(make()?, tls.clone()))),
    }
}

/// Listens, announces, serves until told to end: on so many threads, each with a loop and, where
/// there are several, a listener of its own, among which the kernel deals out connections. A
/// socket that a supervisor has opened takes the place of the address.
fn serve<P: tcp::Protocol>(
    &How { wanted, at, timeout, threads, .. }: &How<'_>,
    scheme: &str,
    make: impl Fn() -> io::Result<P> + Send + Sync + 'static,
) -> Outcome {
    let given = listen_fds()?.into_iter().next().map(|inherited| inherited.socket);
    let mut how = ListenOptions::default();
    how.reuse_port = threads > 1 && given.is_none();
    let again = move || given.as_ref().map(OwnedFd::try_clone).transpose();
    let mut lp = tape::open(wanted)?;
    let bound = open(&mut lp, make()?, again()?, &at.into(), &how, timeout)
        .map_err(|error| common::cannot_listen(at, &error))?;
    let real = bound.clone();
    let workers = Workers::start(threads - 1, move |_, lp| {
        open(lp, make()?, again()?, &real, &how, timeout).map(|_| ())
    })?;
    common::announce(scheme, &bound);
    let outcome = common::serve(&mut lp, wanted);
    workers.join()?;
    outcome
}

/// Opens a listener in a loop, and ends it in order.
fn open<W: Streams, P: tcp::Protocol>(
    lp: &mut Loop<W>,
    protocol: P,
    given: Option<OwnedFd>,
    at: &Address,
    how: &ListenOptions,
    timeout: Duration,
) -> io::Result<Address> {
    let host = tcp::add(lp, |_| protocol);
    let at = match given {
        Some(socket) => tcp::listen_on(lp, host, socket, how)?,
        None => tcp::listen_at(lp, host, at, how)?,
    };
    common::end_in_order(lp, timeout, move |env| tcp::shutdown(env, host))?;
    Ok(at)
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
