//! `versus`: the same work by loopwork and by its peers, in one run, as a table of ratios.
//!
//! ```text
//! cargo run --release -p loopwork-benches --bin versus -- tcp [--json FILE] [--svg FILE]
//! cargo run --release -p loopwork-benches --bin versus -- udp [--json FILE]
//! cargo run --release -p loopwork-benches --bin versus -- http [--json FILE] [--svg FILE]
//! cargo run --release -p loopwork-benches --bin versus -- http-load [--conns 9000]
//! cargo run --release -p loopwork-benches --bin versus -- files [--json FILE]
//! cargo run --release -p loopwork-benches --bin versus -- https [--json FILE]
//! cargo run --release -p loopwork-benches --bin versus -- ws [--json FILE]
//! cargo run --release -p loopwork-benches --bin versus -- ws-idle [--conns 15000]
//! cargo run --release -p loopwork-benches --bin versus -- idle [--conns 10000]
//! cargo run --release -p loopwork-benches --bin versus -- million [--conns 1000000]
//! ```
//!
//! Rules:
//! * Server and load are pinned to different cores; rounds alternate; the best of each counts,
//!   since noise only ever slows.
//! * What is exact is counted, not timed: system calls by `strace -c`, user-space instructions by
//!   callgrind as the difference of two run lengths. Where a tool is missing the row says so.
//! * Everything is on loopback, bounded, and ends by itself.

mod args;
mod chart;
mod closed_loop;
mod compared;
mod exact;
mod files;
mod files_load;
mod files_servers;
mod http;
mod http_load;
mod http_many;
mod http_report;
mod http_servers;
mod https;
mod https_servers;
mod idle;
mod load;
mod million;
mod report;
mod rounds;
mod server;
mod servers;
mod sys;
mod tcp;
mod udp;
mod udp_load;
mod udp_servers;
mod udp_sys;
mod ws;
mod ws_load;
mod ws_report;
mod ws_servers;

use args::Args;
use servers::SERVERS;
use std::io;
use std::process::ExitCode;

const USAGE: &str = "\
usage: versus tcp [--rounds N] [--seconds N] [--loads ping-pong,stream,sink,connect]
                  [--only SERVER,..] [--parts rates,calls,exact,memory] [--json FILE] [--svg FILE]
       versus udp [--rounds N] [--seconds N] [--loads echo,one-way,echo-joined,one-way-joined]
                  [--only SERVER,..] [--parts rates,calls] [--json FILE]
       versus http [--rounds N] [--seconds N] [--loads 1,64,256,64x16]
                   [--only SERVER,..] [--parts rates,calls,exact,memory] [--json FILE] [--svg FILE]
       versus http-load [--conns N] [--seconds N] [--only SERVER,..] [--json FILE]
       versus files [--rounds N] [--seconds N] [--loads 1k-alone,1k,1m,100m]
                    [--only SERVER,..] [--parts rates,calls] [--json FILE]
       versus https [--rounds N] [--seconds N] [--loads full,resumed,small,large]
                    [--only SERVER,..] [--json FILE]
       versus ws [--rounds N] [--seconds N] [--loads 20x100,20x100x16,..: SIZExCONNS[xDEPTH]]
                 [--only SERVER,..] [--parts rates,calls,exact] [--json FILE]
       versus ws-idle [--conns N] [--only SERVER,..] [--json FILE]
       versus idle [--conns N] [--only SERVER,..]
       versus million [--conns N] [--server SERVER] [--json FILE]";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["server", name, service, core] => serve(name, service, core),
        ["udp-server", name, service, core] => udp::serve(name, service, core),
        ["http-server", name, depth, folder, core] => http::serve(name, depth, folder, core),
        ["file-server", name, folder, core] => files::serve(name, folder, core),
        ["https-server", name, folder, core] => https::serve(name, folder, core),
        ["ws-server", name, load, core] => ws::serve(name, load, core),
        ["holder", port, index, conns] => million::hold(port, index, conns),
        ["tcp", ref rest @ ..] => tcp::run(rest),
        ["udp", ref rest @ ..] => udp::run(rest),
        ["http", ref rest @ ..] => http::run(rest),
        ["http-load", ref rest @ ..] => http_many::run(rest),
        ["files", ref rest @ ..] => files::run(rest),
        ["https", ref rest @ ..] => https::run(rest),
        ["ws", ref rest @ ..] => ws::run(rest),
        ["ws-idle", ref rest @ ..] => ws::idle(rest),
        ["idle", ref rest @ ..] => idle(rest),
        ["million", ref rest @ ..] => million::run(rest),
        _ => Err(io::Error::other(USAGE)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("versus: {e}");
            ExitCode::FAILURE
        }
    }
}

/// This process is a server, on a core of its own.
fn serve(name: &str, service: &str, core: &str) -> io::Result<()> {
    sys::die_with_parent();
    sys::descriptors()?;
    sys::pin(core.parse().map_err(io::Error::other)?);
    servers::run(name, service)
}

fn idle(words: &[&str]) -> io::Result<()> {
    let args = Args::of(words, &["--conns", "--only"])?;
    sys::descriptors()?;
    sys::pin(1);
    let servers: Vec<_> = SERVERS.into_iter().filter(|s| args.lists("--only", s)).collect();
    idle::measure(&servers, args.number("--conns", 10_000)?).map(drop)
}
