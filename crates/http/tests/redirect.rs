//! Redirects, clause by clause of RFC 9110 §15.4. Nothing is sent here.

use loopwork_http::redirect::{Chain, LIMIT, Next, Policy, Refused};
use loopwork_http::{BadUrl, Url};
use proptest::prelude::*;

const SCHEMES: &[&str] = &["http", "https"];

fn url(text: &str) -> Url {
    Url::parse(text, SCHEMES).unwrap()
}

fn policy(change: impl FnOnce(&mut Policy)) -> Policy {
    let mut policy = Policy::default();
    change(&mut policy);
    policy
}

/// The first redirect of a request.
fn first(
    from: &str,
    method: &str,
    status: u16,
    to: &str,
) -> (Result<Option<Next>, Refused>, Chain) {
    let mut chain = Chain::new(Policy::default());
    (chain.next(&url(from), method, status, Some(to.as_bytes())), chain)
}

#[test]
fn methods_and_bodies_by_status() {
    for (method, status, becomes, with_body) in [
        ("GET", 301, "GET", true),
        ("GET", 302, "GET", true),
        ("GET", 303, "GET", false),
        ("HEAD", 301, "HEAD", true),
        ("HEAD", 303, "HEAD", false),
        ("HEAD", 308, "HEAD", true),
        ("POST", 301, "GET", false),
        ("POST", 302, "GET", false),
        ("POST", 303, "GET", false),
        ("POST", 307, "POST", true),
        ("POST", 308, "POST", true),
        ("PUT", 301, "PUT", true),
        ("PUT", 302, "PUT", true),
        ("PUT", 303, "GET", false),
        ("DELETE", 303, "GET", false),
        ("PATCH", 307, "PATCH", true),
        ("post", 302, "post", true),
    ] {
        let (next, chain) = first("http://a/", method, status, "/b");
        let next = next.unwrap().unwrap();
        assert_eq!((&*next.method, next.with_body), (becomes, with_body), "{method} {status}");
        for header in ["Content-Type", "content-encoding", "Last-Modified", "Expect", "Digest"] {
            assert_eq!(chain.sends(header), with_body, "{method} {status} {header}");
        }
        assert!(chain.sends("Authorization") && chain.sends("Accept") && chain.sends("X-A"));
    }
}

#[test]
fn a_body_once_dropped_does_not_come_back() {
    let mut chain = Chain::new(Policy::default());
    let next = chain.next(&url("http://a/"), "POST", 303, Some(b"/b")).unwrap().unwrap();
    let next = chain.next(&next.url, &next.method, 307, Some(b"/c")).unwrap().unwrap();
    assert_eq!((&*next.method, next.with_body), ("GET", false));
    assert!(!chain.sends("Content-Type"));
}

#[test]
fn who_names_a_method_may_keep_it() {
    for (status, with_body) in [(301, false), (302, false), (303, false), (307, true)] {
        let mut chain = Chain::new(policy(|p| p.keep_method = true));
        let next = chain.next(&url("http://a/"), "POST", status, Some(b"/b")).unwrap().unwrap();
        assert_eq!((&*next.method, next.with_body), ("POST", with_body), "{status}");
    }
}

#[test]
fn what_is_no_redirect_is_for_who_asked() {
    for status in [200, 201, 204, 300, 304, 305, 306, 309, 399, 404, 503] {
        assert_eq!(first("http://a/", "GET", status, "/b").0, Ok(None), "{status}");
    }
    let mut chain = Chain::new(policy(|p| p.limit = 0));
    assert_eq!(chain.next(&url("http://a/"), "GET", 302, None), Ok(None));
    assert_eq!(chain.next(&url("http://a/"), "GET", 200, Some(b"/b")), Ok(None));
}

#[test]
fn credentials_stay_with_their_origin() {
    for (from, to, same) in [
        ("http://a/x", "/y", true),
        ("http://a/x", "http://a:80/y", true),
        ("http://a/x", "http://A/y", true),
        ("http://a/x", "http://a:81/y", false),
        ("http://a/x", "http://b/y", false),
        ("http://a/x", "http://a.b/y", false),
        ("http://a.b/x", "http://b/y", false),
        ("http://a/x", "//b/y", false),
        ("http://a/x", "https://a/y", false),
        ("https://a/x", "https://a:443/y", true),
    ] {
        let (next, chain) = first(from, "GET", 302, to);
        assert!(matches!(next, Ok(Some(_))), "{from} {to}: {next:?}");
        for header in ["Authorization", "cookie", "Proxy-Authorization", "Host"] {
            assert_eq!(chain.sends(header), same, "{from} {to} {header}");
        }
        assert!(chain.sends("User-Agent"));
    }
}

#[test]
fn credentials_do_not_come_back_with_who_leads_home() {
    let mut chain = Chain::new(Policy::default());
    let next = chain.next(&url("http://a/"), "GET", 302, Some(b"http://b/")).unwrap().unwrap();
    let next = chain.next(&next.url, "GET", 302, Some(b"http://a/")).unwrap().unwrap();
    assert_eq!(next.url.to_string(), "http://a/");
    assert!(!chain.sends("Authorization"));
    let mut chain = Chain::new(policy(|p| p.trusting = true));
    let from = url("http://u:p@a/");
    let next = chain.next(&from, "GET", 302, Some(b"http://b/")).unwrap().unwrap();
    assert_eq!(next.url.login, from.login);
    assert!(chain.sends("Authorization") && !chain.sends("Host"));
}

#[test]
fn users_are_kept_at_home_and_not_taken_from_servers() {
    for to in ["y", "/y", "http://a/y", "//A:80/y", "http://u:p@a/y"] {
        let (next, _) = first("http://u:p@a/x", "GET", 302, to);
        assert_eq!(next.unwrap().unwrap().url.login, url("http://u:p@a/").login, "{to}");
    }
    let (next, _) = first("http://u:p@a/x", "GET", 302, "http://b/");
    assert_eq!(next.unwrap().unwrap().url.login, None);
    for to in ["http://v:w@b/", "//v@b/", "http://v:w@a/", "http://u:p@b/"] {
        assert_eq!(first("http://u:p@a/", "GET", 302, to).0, Err(Refused::Login), "{to}");
    }
}

#[test]
fn only_http_is_followed_and_nobody_is_led_out_of_the_dark() {
    for (to, scheme) in [
        ("file:///etc/passwd", "file"),
        ("FTP://a/", "ftp"),
        ("javascript:alert(1)", "javascript"),
        ("data:,x", "data"),
        ("ws://a/", "ws"),
        ("mailto:a@b", "mailto"),
        ("javascript:/http://a/", "javascript"),
        ("x:http://a/", "x"),
    ] {
        let refused = Refused::Location(BadUrl::Scheme(scheme.into()));
        assert_eq!(first("http://a/", "GET", 302, to).0, Err(refused), "{to}");
    }
    for to in ["http://", "http://a b/", "//", "http:///x", "http:x", "http://%00/", "\u{1}"] {
        let (next, chain) = first("http://a/", "GET", 302, to);
        assert!(matches!(next, Err(Refused::Location(BadUrl::Malformed(_)))), "{to}: {next:?}");
        assert_eq!(chain.followed(), 0);
    }
    assert_eq!(first("https://a/", "GET", 301, "http://a/").0, Err(Refused::Downgrade));
    let mut chain = Chain::new(policy(|p| p.downgrade = true));
    let next = chain.next(&url("https://a/"), "GET", 301, Some(b"http://a/")).unwrap().unwrap();
    assert_eq!(next.url.to_string(), "http://a/");
    assert!(!chain.sends("Authorization"));
}

#[test]
fn locations_are_resolved() {
    for (to, at) in [
        (&b"/y"[..], "http://a:8/y"),
        (b"y", "http://a:8/b/y"),
        (b"../y?q#f", "http://a:8/y?q"),
        (b"?q", "http://a:8/b/c?q"),
        (b"", "http://a:8/b/c?d"),
        (b"//x", "http://x/"),
        (b"a b", "http://a:8/b/a%20b"),
        (b"\xc3\xa9\xff", "http://a:8/b/%C3%A9%FF"),
    ] {
        let mut chain = Chain::new(Policy::default());
        let next = chain.next(&url("http://a:8/b/c?d"), "GET", 307, Some(to)).unwrap().unwrap();
        assert_eq!(next.url.to_string(), at);
    }
}

#[test]
fn a_chain_ends() {
    let (mut chain, mut at) = (Chain::new(Policy::default()), url("http://a/0"));
    for n in 1..=LIMIT {
        let to = format!("/{}", n % 2);
        at = chain.next(&at, "GET", 302, Some(to.as_bytes())).unwrap().unwrap().url;
        assert_eq!(chain.followed(), n);
    }
    let refused = chain.next(&at, "GET", 302, Some(b"/"));
    assert_eq!(refused, Err(Refused::TooMany(20)));
    assert_eq!(chain.next(&at, "GET", 200, Some(b"/")), Ok(None));
}

proptest! {
    #[test]
    fn whatever_a_server_says_what_follows_can_be_asked(
        to in proptest::collection::vec(any::<u8>(), 0..24), status in 299u16..310, secure: bool,
    ) {
        let from = url(if secure { "https://u:p@a/b" } else { "http://u:p@a/b" });
        let mut chain = Chain::new(Policy::default());
        if let Ok(Some(next)) = chain.next(&from, "POST", status, Some(&to)) {
            let again = url(&next.url.to_string());
            prop_assert_eq!(&again.target, &next.url.target);
            prop_assert!(!secure || next.url.scheme == "https");
            let home = next.url.same_origin(&from);
            prop_assert_eq!(chain.sends("Cookie"), home);
            prop_assert_eq!(next.url.login.is_some(), home);
        }
    }
}
