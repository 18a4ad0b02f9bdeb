//! Where a request really goes: `--resolve`, `--connect-to`, a proxy, a Unix socket.
//!
//! Rules of this file:
//! * What the command line says counts before what the environment says.
//! * A proxy of the environment is not asked for this machine itself, whatever `no_proxy` says.

use super::codes;
use super::exchange::Place;
use super::target::{Target, basic};
use crate::common::{Fail, text};
use clap::ArgMatches;
use loopwork::Address;
use loopwork::fetch::Proxies;
use loopwork::http::Url;
use loopwork::http::client::Tunnel;
use loopwork::tcp::Family;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// curl's port of a proxy that names none.
const PROXY_PORT: u16 = 1080;

/// A proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Proxy {
    pub(super) host: String,
    pub(super) port: u16,
    /// The value of `Proxy-Authorization`.
    pub(super) authorization: Option<String>,
    from_environment: bool,
}

/// All that decides where a request goes.
#[derive(Debug, Default)]
pub(super) struct Route {
    /// Host, or `*`; port; addresses.
    names: Vec<(String, u16, Vec<SocketAddr>)>,
    /// The host and port of the URL, or any; those that take their place, or the same.
    instead: Vec<[(String, Option<u16>); 2]>,
    /// For http, and for https; each with the hosts that are asked through it.
    proxies: [Option<(Proxy, Proxies)>; 2],
    unix: Option<PathBuf>,
    family: Option<Family>,
}

impl Route {
    pub(super) fn of(matches: &ArgMatches) -> Result<Route, Fail> {
        let list = |name| matches.get_many::<String>(name).into_iter().flatten();
        let mut route = Route::default();
        for text in list("resolve").filter(|text| !text.starts_with('-')) {
            route.names.push(resolved(text)?);
        }
        for text in list("connect-to") {
            route.instead.push(instead(text)?);
        }
        let env = |name: &str| std::env::var(name).ok();
        let without = text(matches, "noproxy").map(str::to_string);
        let without = without.or_else(|| env("no_proxy")).or_else(|| env("NO_PROXY"));
        let (said, user) = (text(matches, "proxy"), text(matches, "proxy-user"));
        // In upper case anybody's `Proxy:` header would set it for a CGI program.
        let http = ["http_proxy", "all_proxy", "ALL_PROXY"];
        let https = ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];
        for (place, names) in route.proxies.iter_mut().zip([&http[..], &https]) {
            let found = || names.iter().copied().find_map(env);
            let given = said.map(str::to_string).or_else(found);
            if let Some(given) = given.filter(|given| !given.is_empty()) {
                let proxy = proxy(&given, user, said.is_none())?;
                let at = format!("{}:{}", proxy.host, proxy.port);
                let hosts = Proxies::to(&at, without.as_deref().unwrap_or_default());
                let hosts = hosts.map_err(|why| Fail::new(codes::PROXY, why.to_string()))?;
                *place = Some((proxy, hosts));
            }
        }
        route.unix = text(matches, "unix-socket").map(PathBuf::from);
        route.family = match (matches.get_flag("ipv4"), matches.get_flag("ipv6")) {
            (true, _) => Some(Family::V4),
            (_, true) => Some(Family::V6),
            _ => None,
        };
        Ok(route)
    }

    pub(super) fn family(&self) -> Family {
        self.family.unwrap_or(Family::Any)
    }

    /// The proxy by which this URL is asked for, if any.
    pub(super) fn proxy(&self, url: &Url) -> Option<&Proxy> {
        let place = &self.proxies[usize::from(url.scheme == "https")];
        let (proxy, hosts) = place.as_ref().filter(|_| self.unix.is_none())?;
        let left_out = hosts.of(url).is_none() || proxy.from_environment && is_here(url);
        (!left_out).then_some(proxy)
    }

    /// The tunnel through it, by which https goes: then the request itself knows of no proxy.
    pub(super) fn tunnel(&self, url: &Url) -> Option<Arc<Tunnel>> {
        let proxy = self.proxy(url).filter(|_| url.scheme == "https")?;
        Some(Tunnel::to(url, proxy.authorization.clone()))
    }

    /// Where to connect for this URL.
    pub(super) fn place(&self, url: &Url) -> Place {
        if let Some(path) = &self.unix {
            return Place::At(vec![Address::Unix(path.clone())]);
        }
        let (mut host, mut port) = match self.proxy(url) {
            Some(proxy) => (proxy.host.clone(), proxy.port),
            None => (url.host.clone(), url.port),
        };
        let fits = |[(h, p), _]: &&[(String, Option<u16>); 2]| {
            (h.is_empty() || *h == host) && p.is_none_or(|p| p == port)
        };
        if let Some([_, (to, at)]) = self.instead.iter().find(fits) {
            port = at.unwrap_or(port);
            host = if to.is_empty() { host } else { to.clone() };
        }
        let known =
            |(h, p, _): &&(String, u16, Vec<SocketAddr>)| (h == "*" || *h == host) && *p == port;
        match self.names.iter().rev().find(known) {
            Some((.., list)) => Place::At(list.iter().copied().map(Address::from).collect()),
            None => Place::Named(host, port),
        }
    }
}

/// This machine itself, as a URL names it.
fn is_here(url: &Url) -> bool {
    let host = url.host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// The next part up to a colon; brackets hold an IPv6 address together.
fn part(text: &str) -> (&str, &str) {
    let from = if text.starts_with('[') { text.find(']').unwrap_or(0) } else { 0 };
    match text[from..].find(':') {
        Some(at) => (&text[..from + at], &text[from + at + 1..]),
        None => (text, ""),
    }
}

/// `[+]HOST:PORT:ADDR[,ADDR]...`
fn resolved(text: &str) -> Result<(String, u16, Vec<SocketAddr>), Fail> {
    // curl: a plus lets the entry time out, which nothing lives long enough for here.
    let (host, rest) = part(text.strip_prefix('+').unwrap_or(text));
    let (port, addresses) = part(rest);
    let wrong = || Fail::usage(format!("{text:?}: --resolve takes HOST:PORT:ADDRESS"));
    let port = port.parse::<u16>().map_err(|_| wrong())?;
    let mut list = Vec::new();
    for address in addresses.split(',') {
        let bare = address.trim_start_matches('[').trim_end_matches(']');
        let ip = bare.parse::<std::net::IpAddr>().map_err(|_| wrong())?;
        list.push(SocketAddr::new(ip, port));
    }
    Ok((host.to_ascii_lowercase(), port, list))
}

/// `HOST1:PORT1:HOST2:PORT2`; what is empty stands for any, or for the same.
fn instead(text: &str) -> Result<[(String, Option<u16>); 2], Fail> {
    let (h1, rest) = part(text);
    let (p1, rest) = part(rest);
    let (h2, p2) = part(rest);
    let number = |text: &str| match text {
        "" => Ok(None),
        text => text.parse::<u16>().map(Some).map_err(|_| {
            Fail::usage(format!("{text:?} is no port: --connect-to takes HOST1:PORT1:HOST2:PORT2"))
        }),
    };
    Ok([(h1.to_ascii_lowercase(), number(p1)?), (h2.to_ascii_lowercase(), number(p2)?)])
}

/// `[http://][NAME:PASSWORD@]HOST[:PORT]`
fn proxy(given: &str, user: Option<&str>, from_environment: bool) -> Result<Proxy, Fail> {
    let bare = match given.split_once("://") {
        Some(("http", bare)) => bare,
        None => given,
        Some((scheme, _)) => {
            let text = format!("a proxy by {scheme} is not spoken to; take an http:// one");
            return Err(Fail::new(codes::CONNECT, text));
        }
    };
    let bad = |_| Fail::new(codes::PROXY, format!("{given:?} is no proxy: say HOST:PORT"));
    let target = Target::parse(bare).map_err(bad)?;
    let authority = bare.split(['/', '?', '#']).next().unwrap_or_default();
    let tail = authority.rsplit('@').next().unwrap_or_default();
    let port = if part(tail).1.is_empty() { PROXY_PORT } else { target.url.port };
    let user = user.map(|user| user.as_bytes().to_vec()).or(target.user);
    let authorization = user.map(|user| basic(&user));
    Ok(Proxy { host: target.url.host, port, authorization, from_environment })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(line: &[&str]) -> Result<Route, Fail> {
        let words = std::iter::once("get").chain(line.iter().copied()).chain(["http://a"]);
        Route::of(&super::super::arguments::command().try_get_matches_from(words).unwrap())
    }

    fn place(line: &[&str], url: &str) -> String {
        match route(line).unwrap().place(&Url::parse(url, &["http"]).unwrap()) {
            Place::At(list) => format!("{:?}", list[0]),
            Place::Named(host, port) => format!("{host} {port}"),
        }
    }

    #[test]
    fn where_requests_go() {
        let by = "--resolve";
        for (line, url, to) in [
            (&[][..], "http://A:8/", "a 8"),
            (&[by, "a:80:1.2.3.4"], "http://a/", "Ip(1.2.3.4:80)"),
            (&[by, "a:80:1.2.3.4"], "http://a:81/", "a 81"),
            (&[by, "*:80:[::1],1.2.3.4"], "http://b/", "Ip([::1]:80)"),
            (&["--connect-to", "a:80:b:81"], "http://a/", "b 81"),
            (&["--connect-to", "::b:"], "http://a:9/", "b 9"),
            (&["--connect-to", "c::b:"], "http://a:9/", "a 9"),
            (&["--connect-to", "a::[::1]:7"], "http://a:9/", "[::1] 7"),
            (&["-x", "p"], "http://a/", "p 1080"),
            (&["-x", "http://u:w@p:80"], "http://127.0.0.1/", "p 80"),
            (&["-x", "p:3", "--noproxy", "b,.a"], "http://x.a/", "x.a 80"),
            (&["-x", "p:3", "--noproxy", "*"], "http://x/", "x 80"),
            (&["-x", "p:3", "--noproxy", "a"], "http://ba/", "p 3"),
            (&["--unix-socket", "/s", "-x", "p"], "http://a/", "Unix(\"/s\")"),
        ] {
            assert_eq!(place(line, url), to, "{line:?} {url}");
        }
    }

    #[test]
    fn what_leads_nowhere() {
        for (line, code) in [
            (&["--resolve", "a:80"][..], 2),
            (&["--resolve", "a:x:1.2.3.4"], 2),
            (&["--connect-to", "a:b:c:d"], 2),
            (&["-x", "socks5://p"], 7),
            (&["-x", "p:x"], 5),
        ] {
            assert_eq!(route(line).map_err(|fail| fail.code).err(), Some(code), "{line:?}");
        }
    }
}
