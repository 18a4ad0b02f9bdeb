//! Which proxy a URL is asked through.
//!
//! Rules of this file:
//! * The environment is read when one says so ([`Proxies::from_env`]), and never by itself.
//! * `HTTP_PROXY` in capitals is not read: in a CGI program whoever asks sets it, by a header
//!   `Proxy`. Of the other names both are, the small letters first.

use super::Error;
use crate::http::Url;
use std::net::IpAddr;

/// The schemes of proxies that are spoken.
const SCHEMES: &[&str] = &["http"];

/// HTTP proxies, and the hosts that are asked without them.
///
/// ```
/// use loopwork::fetch::Proxies;
/// use loopwork::http::Url;
///
/// let proxies = Proxies::to("http://proxy:3128", "localhost, .example.org, 10.0.0.0/8")?;
/// let through = |url| proxies.of(&Url::parse(url, &["http"]).unwrap()).is_some();
/// assert!(through("http://example.com/"));
/// assert!(!through("http://www.example.org/") && !through("http://10.1.2.3/"));
/// # Ok::<(), loopwork::fetch::Error>(())
/// ```
#[derive(Clone, Default, Debug)]
pub struct Proxies {
    http: Option<Url>,
    https: Option<Url>,
    except: Vec<Except>,
}

/// Who is asked directly.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Except {
    All,
    /// A name and all below it, at one port or at any.
    Name(String, Option<u16>),
    /// The addresses that begin with so many bits.
    Net(IpAddr, u8, Option<u16>),
}

impl Proxies {
    /// No proxy at all.
    #[must_use]
    pub fn none() -> Proxies {
        Proxies::default()
    }

    /// One proxy for everything but for the hosts of `except`: names, each with all below it;
    /// addresses; networks (`10.0.0.0/8`); each with a port if one likes (`a:8080`), between
    /// commas or spaces; `*` for all. User and password of `proxy` are shown to it.
    ///
    /// # Errors
    /// [`Error::Proxy`]: it is no URL, or of another scheme than `http`.
    pub fn to(proxy: &str, except: &str) -> Result<Proxies, Error> {
        let proxy = url(proxy)?;
        Ok(Proxies { https: proxy.clone(), http: proxy, except: exceptions(except) })
    }

    /// What the environment says: `http_proxy`, `https_proxy`, `all_proxy`, `no_proxy`.
    ///
    /// # Errors
    /// As [`Proxies::to`].
    pub fn from_env() -> Result<Proxies, Error> {
        Proxies::from_vars(|name| std::env::var(name).ok())
    }

    /// As [`Proxies::from_env`], of variables from elsewhere.
    ///
    /// # Errors
    /// As [`Proxies::to`].
    pub fn from_vars(var: impl Fn(&str) -> Option<String>) -> Result<Proxies, Error> {
        let either = |name: &str| var(name).or_else(|| var(&name.to_ascii_uppercase()));
        let all = either("all_proxy");
        let of = |named: Option<String>| url(&named.or_else(|| all.clone()).unwrap_or_default());
        Ok(Proxies {
            http: of(var("http_proxy"))?,
            https: of(either("https_proxy"))?,
            except: exceptions(&either("no_proxy").unwrap_or_default()),
        })
    }

    /// The proxy through which a URL is asked; `None` for its own host.
    #[must_use]
    pub fn of(&self, url: &Url) -> Option<&Url> {
        let proxy = if url.scheme == "https" { &self.https } else { &self.http };
        let excepted = || self.except.iter().any(|except| except.holds(&url.host, url.port));
        proxy.as_ref().filter(|_| !excepted())
    }
}

impl Except {
    fn holds(&self, host: &str, port: u16) -> bool {
        let host = bare(host);
        let here = |wanted: &Option<u16>| wanted.is_none_or(|wanted| wanted == port);
        match self {
            Except::All => true,
            Except::Name(name, at) => {
                let host = host.trim_end_matches('.');
                let below = host.strip_suffix(&**name).is_some_and(|front| front.ends_with('.'));
                (host == name || below && host.parse::<IpAddr>().is_err()) && here(at)
            }
            Except::Net(net, bits, at) => {
                host.parse().is_ok_and(|ip| shares(ip, *net, *bits)) && here(at)
            }
        }
    }
}

/// Without the brackets of an IPv6 address.
fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// Whether two addresses begin with the same bits.
fn shares(one: IpAddr, other: IpAddr, bits: u8) -> bool {
    let front = |value: u128, all: u32| value.checked_shr(all - u32::from(bits)).unwrap_or(0);
    match (one, other) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            front(a.to_bits().into(), 32) == front(b.to_bits().into(), 32)
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => front(a.to_bits(), 128) == front(b.to_bits(), 128),
        _ => false,
    }
}

/// A proxy's URL; without a scheme it is `http`.
fn url(text: &str) -> Result<Option<Url>, Error> {
    match text.trim() {
        "" => Ok(None),
        text => Url::parse(text, SCHEMES).map(Some).map_err(Error::Proxy),
    }
}

/// What is no exception in any way excepts nobody, as everywhere.
fn exceptions(list: &str) -> Vec<Except> {
    list.split([',', ' ', '\t']).filter_map(exception).collect()
}

fn exception(text: &str) -> Option<Except> {
    let text = text.trim_end_matches('.');
    if text == "*" {
        return Some(Except::All);
    }
    let whole = |ip: IpAddr, port| Except::Net(ip, if ip.is_ipv4() { 32 } else { 128 }, port);
    if let Ok(ip) = bare(text).parse() {
        return Some(whole(ip, None));
    }
    if let Some((net, bits)) = text.split_once('/') {
        let (ip, bits): (IpAddr, u8) = (bare(net).parse().ok()?, bits.parse().ok()?);
        return (bits <= if ip.is_ipv4() { 32 } else { 128 })
            .then_some(Except::Net(ip, bits, None));
    }
    let (name, port) = match text.rsplit_once(':') {
        Some((name, port)) => (name, Some(port.parse().ok()?)),
        None => (text, None),
    };
    if let Ok(ip) = bare(name).parse() {
        return Some(whole(ip, port));
    }
    let name = name.strip_prefix('*').unwrap_or(name).trim_start_matches('.').trim_end_matches('.');
    (!name.is_empty()).then(|| Except::Name(name.to_ascii_lowercase(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn excepted(list: &str, url: &str) -> bool {
        let proxies = Proxies::to("proxy:8", list).unwrap();
        proxies.of(&Url::parse(url, &["http", "https"]).unwrap()).is_none()
    }

    #[test]
    fn who_is_asked_without_a_proxy() {
        for (list, url, without) in [
            ("", "http://a", false),
            ("*", "http://a", true),
            ("a", "http://a", true),
            ("a", "https://a", true),
            ("A.", "http://a", true),
            ("a", "http://A./", true),
            ("a", "http://b.a", true),
            (".a", "http://a", true),
            ("*.a", "http://c.b.a", true),
            ("a", "http://ba", false),
            ("a", "http://a.b", false),
            ("x, a  y", "http://a", true),
            ("a:80", "http://a", true),
            ("a:80", "http://a:81", false),
            ("a:x", "http://a", false),
            ("127.0.0.1", "http://127.0.0.1:9", true),
            ("127.0.0.1:8", "http://127.0.0.1:9", false),
            ("10.0.0.0/8", "http://10.1.2.3", true),
            ("10.0.0.0/8", "http://11.1.2.3", false),
            ("10.0.0.0/33", "http://10.0.0.0", false),
            ("0.0.0.0/0", "http://1.2.3.4", true),
            ("0.0.0.0/0", "http://[::1]", false),
            ("::1", "http://[::1]", true),
            ("[::1]:80", "http://[::1]", true),
            ("[::1]:81", "http://[::1]", false),
            ("2001:db8::/32", "http://[2001:db8:1::2]", true),
            ("2001:db8::/32", "http://[2001:db9::2]", false),
            ("::/0", "http://[::1]", true),
            (".", "http://a", false),
            ("1", "http://127.0.0.1", false),
        ] {
            assert_eq!(excepted(list, url), without, "{list:?} {url}");
        }
    }

    #[test]
    fn what_the_environment_says() {
        let vars = |list: &'static [(&str, &str)]| {
            let of = |name: &str| list.iter().find(|(n, _)| *n == name);
            Proxies::from_vars(|name| of(name).map(|(_, value)| value.to_string()))
        };
        let proxy = |list, url| {
            let proxies = vars(list).unwrap();
            let url = Url::parse(url, &["http", "https"]).unwrap();
            proxies.of(&url).map(|proxy| proxy.authority())
        };
        let is = |name: &str| Some(name.to_string());
        assert_eq!(proxy(&[], "http://a"), None);
        assert_eq!(proxy(&[("http_proxy", "p:1")], "http://a"), is("p:1"));
        assert_eq!(proxy(&[("http_proxy", "p:1")], "https://a"), None);
        assert_eq!(proxy(&[("HTTP_PROXY", "p:1")], "http://a"), None, "httpoxy");
        assert_eq!(proxy(&[("HTTPS_PROXY", "http://p:1/")], "https://a"), is("p:1"));
        assert_eq!(proxy(&[("https_proxy", "p:1"), ("HTTPS_PROXY", "q")], "https://a"), is("p:1"));
        assert_eq!(proxy(&[("ALL_PROXY", "p"), ("http_proxy", "q:2")], "http://a"), is("q:2"));
        assert_eq!(proxy(&[("all_proxy", "p")], "https://a"), is("p"));
        assert_eq!(proxy(&[("all_proxy", "p"), ("http_proxy", "")], "http://a"), None);
        assert_eq!(proxy(&[("all_proxy", "p"), ("NO_PROXY", "a")], "http://a"), None);
        for bad in ["socks5://p", "https://p", "a b", "http://"] {
            assert!(matches!(Proxies::to(bad, ""), Err(Error::Proxy(_))), "{bad}");
        }
    }

    #[test]
    fn the_password_of_a_proxy_is_not_shown() {
        let proxies = Proxies::to("http://user:secret@p", "").unwrap();
        assert!(!format!("{proxies:?}").contains("secret"));
    }
}
