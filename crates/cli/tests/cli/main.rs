//! The built binary over real sockets: each command's contract, as a user meets it.
//!
//! Rules of these tests: loopback and port 0 alone; every wait is bounded; what was started is
//! ended, by its own process id.

mod bench;
mod echo;
mod get;
mod get_curl;
mod harness;
mod help;
mod nc;
mod nc_matrix;
mod page;
mod serve;
mod serve_watched;
mod signals;
mod sim;
mod tls;
mod trace;
mod ws;
