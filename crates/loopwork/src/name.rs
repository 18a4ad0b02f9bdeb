//! From names to addresses, by the system's resolver, and from names to connections.
//!
//! Rules of this file:
//! * [`resolve`] and [`listen_name`] block: they are for the time before the loop runs.
//! * The others look up where it may block ([`Env::blocking`]), and go on in the loop. An address
//!   that is written out as such is asked of nobody.

use crate::dns::{self, Resolver};
use crate::reactor::ListenOptions;
use crate::tcp::{self, Family, Host, Protocol};
use crate::{Env, Handle, Loop};
use loopwork_reactor::Streams;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};

/// The host without the brackets of an IPv6 address.
fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host)
}

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
    let bare = bare(host);
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

/// As [`resolve`], without blocking the loop: `then` is called in a later phase or turn.
///
/// `ResourceBusy`: [as many jobs](crate::reactor::blocking::JOBS) as may wait do so already.
///
/// ```
/// use loopwork::{Loop, Os, lookup};
/// let mut lp = Loop::new(Os::new()?);
/// lookup(&mut lp.env, "localhost", 80, |_, found| {
///     assert!(found.unwrap().iter().all(|at| at.ip().is_loopback()));
/// });
/// lp.run()?;
/// # std::io::Result::Ok(())
/// ```
pub fn lookup(
    env: &mut Env,
    host: &str,
    port: u16,
    then: impl FnOnce(&mut Env, io::Result<Vec<SocketAddr>>) + 'static,
) {
    if let Ok(ip) = bare(host).parse::<IpAddr>() {
        return env.defer(move |env| then(env, Ok(vec![SocketAddr::new(ip, port)])));
    }
    if !env.may_block() {
        return env.defer(move |env| then(env, Err(ErrorKind::ResourceBusy.into())));
    }
    let host = host.to_string();
    let asked = env.blocking(
        move || resolve(&host, port),
        move |env, found| {
            // Neither should be: a resolver panics, or no thread begins.
            then(env, found.unwrap_or_else(|_| Err(ErrorKind::Other.into())));
        },
    );
    debug_assert!(asked.is_ok(), "there was room");
}

/// Connects to a host by its name: [looks it up](lookup), and dials [what it finds](tcp::prefer)
/// of the wanted family by RFC 8305 ([`tcp::dial_any`]). `on_open` when a connection stands,
/// `on_close` with [`Close::Dial`](crate::Close::Dial) when none does: with `NotFound` also when
/// the name is unknown, or has no address of the family.
///
/// Node's `net.connect` with `family`, and `autoSelectFamily` on. A resolver of one's own gives
/// its addresses to [`tcp::dial_any`] itself.
pub fn connect_name<P: Protocol>(
    env: &mut Env,
    handle: Handle<Host<P>>,
    host: &str,
    port: u16,
    family: Family,
    conn: P::Conn,
) {
    lookup(env, host, port, move |env, found| {
        match found.map(|list| tcp::prefer(list, family)) {
            Ok(list) if !list.is_empty() => tcp::dial_any(env, handle, list, conn),
            Err(e) if e.kind() == ErrorKind::ResourceBusy => {
                tcp::fail_dial(env, handle, e.kind(), conn);
            }
            // The system's resolver has no kinds of errors.
            Ok(_) | Err(_) => tcp::fail_dial(env, handle, ErrorKind::NotFound, conn),
        }
    });
}

/// As [`connect_name`], by a resolver of the loop's own: no thread waits, and it runs in a
/// simulated world. The addresses of both families race by RFC 8305.
///
/// What the resolver says comes as the kind of an error: `NotFound` where there is no such name,
/// `TimedOut`, `InvalidInput` where it is no name, `ResourceBusy`; else `HostUnreachable`.
pub fn connect_by<P: Protocol>(
    env: &mut Env,
    names: Resolver,
    handle: Handle<Host<P>>,
    host: &str,
    port: u16,
    family: Family,
    conn: P::Conn,
) {
    names.lookup(env, bare(host), move |env, found| {
        let all = found.map(|ips| ips.into_iter().map(|ip| SocketAddr::new(ip, port)).collect());
        let kind = match all.map(|all| tcp::prefer(all, family)) {
            Ok(list) if !list.is_empty() => return tcp::dial_any(env, handle, list, conn),
            Ok(_) | Err(dns::Error::NoSuchName | dns::Error::NoData) => ErrorKind::NotFound,
            Err(dns::Error::Timeout) => ErrorKind::TimedOut,
            Err(dns::Error::BadName(_)) => ErrorKind::InvalidInput,
            Err(dns::Error::Busy) => ErrorKind::ResourceBusy,
            Err(_) => ErrorKind::HostUnreachable,
        };
        tcp::fail_dial(env, handle, kind, conn);
    });
}

/// Opens a listener at a host by its name, at the first of its addresses that is ours to listen
/// at; the real address. Without a host (`None`, or an empty one) at all addresses, as Node does:
/// `::`, which takes IPv4 too, or `0.0.0.0` where there is no IPv6. Blocks as [`resolve`] does.
///
/// # Errors
/// As [`resolve`]; else what the kernel says of the last address.
pub fn listen_name<W: Streams, P: Protocol>(
    lp: &mut Loop<W>,
    handle: Handle<Host<P>>,
    host: Option<&str>,
    port: u16,
    how: &ListenOptions,
) -> io::Result<SocketAddr> {
    let list = match host {
        Some(host) if !host.is_empty() => resolve(host, port)?,
        _ => {
            let all: [IpAddr; 2] = [Ipv6Addr::UNSPECIFIED.into(), Ipv4Addr::UNSPECIFIED.into()];
            all.map(|ip| SocketAddr::new(ip, port)).to_vec()
        }
    };
    let mut error = io::Error::from(ErrorKind::NotFound);
    for at in list {
        match tcp::listen_at(lp, handle, &at.into(), how) {
            Ok(bound) => return Ok(bound.ip().unwrap_or(at)),
            Err(e) => error = e,
        }
    }
    Err(error)
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
