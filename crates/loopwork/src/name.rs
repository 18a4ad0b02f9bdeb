//! From a name to addresses, by the system's resolver.
//!
//! Rule: it blocks. Ask before the loop runs, or on another thread.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

/// The addresses of a host, in the order in which the system would have them tried, without
/// repetition. An IP address, in brackets or not, is itself and asks nobody.
///
/// Blocks for as long as the system's resolver takes: seconds, when a name server is away.
///
/// # Errors
/// `NotFound` when the name has no address; else what the resolver says.
///
/// ```
/// let at = loopwork::resolve("[::1]", 80)?;
/// assert_eq!(at, ["[::1]:80".parse().unwrap()]);
/// # std::io::Result::Ok(())
/// ```
pub fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let mut list = Vec::new();
    for at in (bare, port).to_socket_addrs()? {
        if !list.contains(&at) {
            list.push(at);
        }
    }
    match list.is_empty() {
        true => Err(io::Error::new(ErrorKind::NotFound, "the name has no address")),
        false => Ok(list),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_themselves() {
        for (host, at) in [("127.0.0.1", "127.0.0.1:7"), ("::1", "[::1]:7"), ("[::1]", "[::1]:7")] {
            assert_eq!(resolve(host, 7).unwrap(), [at.parse().unwrap()], "{host}");
        }
    }

    #[test]
    fn localhost_is_loopback_and_each_address_comes_once() {
        let list = resolve("localhost", 80).unwrap();
        assert!(!list.is_empty() && list.iter().all(|at| at.ip().is_loopback()));
        assert!((1..list.len()).all(|i| !list[..i].contains(&list[i])));
    }

    #[test]
    fn a_name_that_cannot_be_is_an_error() {
        assert!(resolve("no such name", 80).is_err());
        assert!(resolve("", 80).is_err());
    }
}
