//! URLs beside the crate `url`, and the examples of RFC 3986.

mod url_support;

use loopwork_http::{BadUrl, Login, Url};
use proptest::prelude::*;
use url_support::{SCHEMES, check};

fn parse(text: &str) -> Url {
    Url::parse(text, SCHEMES).unwrap_or_else(|why| panic!("{text}: {why}"))
}

/// RFC 3986 §5.4.1 and §5.4.2: what is resolved, without the fragment, which is never sent.
const EXAMPLES: [(&str, &str); 41] = [
    ("g", "http://a/b/c/g"),
    ("./g", "http://a/b/c/g"),
    ("g/", "http://a/b/c/g/"),
    ("/g", "http://a/g"),
    ("//g", "http://g/"),
    ("?y", "http://a/b/c/d;p?y"),
    ("g?y", "http://a/b/c/g?y"),
    ("#s", "http://a/b/c/d;p?q"),
    ("g#s", "http://a/b/c/g"),
    ("g?y#s", "http://a/b/c/g?y"),
    (";x", "http://a/b/c/;x"),
    ("g;x", "http://a/b/c/g;x"),
    ("g;x?y#s", "http://a/b/c/g;x?y"),
    ("", "http://a/b/c/d;p?q"),
    (".", "http://a/b/c/"),
    ("./", "http://a/b/c/"),
    ("..", "http://a/b/"),
    ("../", "http://a/b/"),
    ("../g", "http://a/b/g"),
    ("../..", "http://a/"),
    ("../../", "http://a/"),
    ("../../g", "http://a/g"),
    ("../../../g", "http://a/g"),
    ("../../../../g", "http://a/g"),
    ("/./g", "http://a/g"),
    ("/../g", "http://a/g"),
    ("g.", "http://a/b/c/g."),
    (".g", "http://a/b/c/.g"),
    ("g..", "http://a/b/c/g.."),
    ("..g", "http://a/b/c/..g"),
    ("./../g", "http://a/b/g"),
    ("./g/.", "http://a/b/c/g/"),
    ("g/./h", "http://a/b/c/g/h"),
    ("g/../h", "http://a/b/c/h"),
    ("g;x=1/./y", "http://a/b/c/g;x=1/y"),
    ("g;x=1/../y", "http://a/b/c/y"),
    ("g?y/./x", "http://a/b/c/g?y/./x"),
    ("g?y/../x", "http://a/b/c/g?y/../x"),
    ("g#s/./x", "http://a/b/c/g"),
    ("g#s/../x", "http://a/b/c/g"),
    ("HTTP://G", "http://g/"),
];

#[test]
fn rfc_3986_examples() {
    let base = "http://a/b/c/d;p?q";
    for (reference, url) in EXAMPLES {
        assert_eq!(parse(base).join(reference, SCHEMES).unwrap().to_string(), url, "{reference}");
        assert!(check(base, reference).is_some());
    }
    // Of no use to a client, or meant in two ways by those who read it.
    assert_eq!(parse(base).join("g:h", SCHEMES), Err(BadUrl::Scheme("g".into())));
    assert!(matches!(parse(base).join("http:g", SCHEMES), Err(BadUrl::Malformed(_))));
}

#[test]
fn users_and_passwords() {
    let login = |user: &str, password: &str| {
        Some(Login { user: user.to_string(), password: password.to_string() })
    };
    for (text, expected) in [
        ("http://a", None),
        ("http://@a", None),
        ("http://:@a", None),
        ("http://u@a", login("u", "")),
        ("u:p@a/x@y", login("u", "p")),
        ("http://u:p:q@a", login("u", "p:q")),
        ("http://:p@a", login("", "p")),
        ("http://a%40b:%3a%2F%25@a", login("a@b", ":/%")),
        ("http://%C3%A9:ü@a", login("é", "ü")),
        ("http://a/u:p@b", None),
    ] {
        let url = parse(text);
        assert_eq!(url.login, expected, "{text}");
        let shown = format!("{url} {url:?}");
        assert!(url.login.is_none() || !shown.contains("u:") && !shown.contains("\"p"), "{shown}");
        check(text, "");
    }
    for text in [
        "http://a@b@c/",
        "http://%@a",
        "http://%+1@a",
        "http://%f@a",
        "http://%0a@a",
        "http://%00@a",
        "http://%ff@a",
        "http://u%3au:p@a",
        "http://u:p@",
    ] {
        assert!(matches!(Url::parse(text, SCHEMES), Err(BadUrl::Malformed(_))), "{text}");
    }
}

#[test]
fn a_login_stays_where_the_host_does() {
    let base = parse("http://u:p@a/b");
    for (reference, stays) in [("c", true), ("/c", true), ("?c", true), ("//a/c", false)] {
        let url = base.join(reference, SCHEMES).unwrap();
        assert_eq!(url.login.is_some(), stays, "{reference}");
    }
}

#[test]
fn hosts_are_written_in_one_way() {
    for (text, host) in [
        ("http://[::0001]/", "[::1]"),
        ("http://[2001:DB8:0:0::1]", "[2001:db8::1]"),
        ("http://A.B", "a.b"),
        ("http://xn--bcher-kva.example", "xn--bcher-kva.example"),
    ] {
        assert_eq!(parse(text).host, host);
        check(text, "");
    }
    assert!(parse("http://[0::1]:80").same_origin(&parse("http://[::1]/x")));
}

#[test]
fn dots_are_dots_however_they_are_written() {
    for (path, target) in [
        ("/a/%2e%2E/b", "/b"),
        ("/a/.%2e/b", "/b"),
        ("/a/%2e", "/a/"),
        ("/%2e%2e%2e/b", "/%2e%2e%2e/b"),
        ("/%2f%2e", "/%2f%2e"),
        ("//.", "//"),
        ("//..", "/"),
        ("/a//..", "/a/"),
    ] {
        assert_eq!(parse(&format!("http://a{path}")).target, target, "{path}");
        check("http://a", path);
    }
}

#[test]
fn a_scheme_without_slashes_is_no_host() {
    for text in ["http:a", "http:/a", "HTTPS:80/", "https:"] {
        let found = Url::parse(text, SCHEMES);
        assert!(matches!(found, Err(BadUrl::Malformed(_))), "{text}: {found:?}");
    }
    assert_eq!(parse("localhost:80").to_string(), "http://localhost/");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn beside_the_oracle(
        base in "(http|https|HTTP)://([uU%4]{0,3}(:[p%20:]{0,3})?@)?(a|B\\.c|a\\.|\\[::1\\]|x_y)\
            (:(80|443|8|0|))?((/|\\.|%2e|;|a|é|'|\\|)|[!-~]){0,10}(\\?([!-~]|é){0,6})?",
        reference in "(http://b|https://|//c|//u:p@d)?((/|\\.|%2E|\\?|#|a|é|:)|[!-~]){0,12}",
    ) {
        check(&base, &reference);
    }

    #[test]
    fn anything_is_read_or_refused(base in "\\PC{0,24}", reference in "\\PC{0,24}") {
        check(&base, &reference);
        check(&format!("http://{base}"), &reference);
    }
}
