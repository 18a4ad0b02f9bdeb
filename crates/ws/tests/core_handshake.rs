//! The opening handshake: the vector of RFC 6455 §1.3, and each way to get it wrong.

use loopwork_ws::core::handshake::{
    BadAnswer, MAX_PROTOCOLS, Refusal, accept_key, check_request, check_response, choose_protocol,
    elements, has_token, is_token, is_valid_key, make_key, verify_accept,
};
use proptest::prelude::*;

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

type Headers = Vec<(&'static str, &'static str)>;

fn bytes<'a>(
    headers: &'a [(&'static str, &'static str)],
) -> impl Iterator<Item = (&'static str, &'static [u8])> + 'a {
    headers.iter().map(|(name, value)| (*name, value.as_bytes()))
}

fn request() -> Headers {
    vec![
        ("Host", "server.example.com"),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Key", KEY),
        ("Sec-WebSocket-Version", "13"),
    ]
}

/// The request with one header replaced, or left out.
fn with(name: &'static str, value: Option<&'static str>) -> Result<&'static str, Refusal> {
    let mut headers = request();
    headers.retain(|(other, _)| *other != name);
    headers.extend(value.map(|value| (name, value)));
    check_request("GET", true, bytes(&headers))
}

/// The request with one header more.
fn and(name: &'static str, value: &'static str) -> Result<&'static str, Refusal> {
    let mut headers = request();
    headers.push((name, value));
    check_request("GET", true, bytes(&headers))
}

#[test]
fn rfc_6455_1_3_example() {
    assert_eq!(accept_key(KEY), ACCEPT.as_bytes());
    assert!(verify_accept(KEY, ACCEPT));
    assert!(!verify_accept(KEY, "s3pPLMBiTxaQ9kYGzzhZRbK+xOO="));
    assert!(!verify_accept(KEY, &ACCEPT.to_lowercase()));
    assert!(!verify_accept(KEY, ""));
    assert_eq!(&make_key(*b"the sample nonce"), KEY.as_bytes());
}

#[test]
fn keys_are_sixteen_bytes_of_base64() {
    assert!(is_valid_key(KEY));
    assert!(is_valid_key("++++//////////////////==") && is_valid_key("AAAAAAAAAAAAAAAAAAAAAA=="));
    let bad = [
        "",
        "==",
        "dGhlIHNhbXBsZSBub25jZQ=",      // cut
        "dGhlIHNhbXBsZSBub25jZQ===",    // long
        "dGhlIHNhbXBsZSBub25jZQ== ",    // blank
        "dGhlIHNhbXBsZSBub25jZQAA",     // 18 bytes
        "dGhlIHNhbXBsZSBub25jZQA=",     // 17 bytes
        "dGhlIHNhbXBsZSBub25j====",     // padding
        "dGhlIHNhbXBsZSBub2=jZQ==",     // padding inside
        "dGhlIHNhbXBsZSBub2-jZQ==",     // the other alphabet
        "dGhlIHNhbXBsZSBub2\0jZQ==",    // NUL
        "dGhlIHNhbXBsZSBub\u{e9}jZQ==", // not ASCII
    ];
    for key in bad {
        assert!(!is_valid_key(key), "{key}");
        assert_eq!(check_key(key), Err(Refusal::Key), "{key}");
    }
}

fn check_key(key: &str) -> Result<(), Refusal> {
    let mut headers: Vec<(&str, &[u8])> = bytes(&request()).collect();
    headers.retain(|(name, _)| *name != "Sec-WebSocket-Key");
    headers.push(("sec-websocket-key", key.as_bytes()));
    check_request("GET", true, headers).map(|_| ())
}

#[test]
fn good_requests() {
    assert_eq!(check_request("GET", true, bytes(&request())), Ok(KEY));
    assert_eq!(with("Connection", Some("keep-alive, Upgrade")), Ok(KEY));
    assert_eq!(with("Connection", Some(",, \tuPGRADE\t,x")), Ok(KEY));
    assert_eq!(with("Upgrade", Some("WebSocket")), Ok(KEY));
    assert_eq!(with("Upgrade", Some("h2c, websocket")), Ok(KEY));
    assert_eq!(and("Upgrade", "h2c"), Ok(KEY));
    assert_eq!(and("Connection", "keep-alive"), Ok(KEY));
    assert_eq!(and("Content-Length", "0"), Ok(KEY));
    let shouted: Headers =
        request().into_iter().map(|(name, value)| (&*name.to_uppercase().leak(), value)).collect();
    assert_eq!(check_request("GET", true, bytes(&shouted)), Ok(KEY));
}

#[test]
fn hostile_65_requests_are_refused() {
    assert_eq!(check_request("POST", true, bytes(&request())), Err(Refusal::Method));
    assert_eq!(check_request("get", true, bytes(&request())), Err(Refusal::Method));
    assert_eq!(check_request("GET", false, bytes(&request())), Err(Refusal::HttpVersion));
    assert_eq!(with("Host", None), Err(Refusal::Host));
    assert_eq!(with("Upgrade", None), Err(Refusal::Upgrade));
    assert_eq!(with("Upgrade", Some("websockets")), Err(Refusal::Upgrade));
    assert_eq!(with("Upgrade", Some("web socket")), Err(Refusal::Upgrade));
    assert_eq!(with("Connection", None), Err(Refusal::Connection));
    assert_eq!(with("Connection", Some("keep-alive")), Err(Refusal::Connection));
    assert_eq!(with("Connection", Some("keep-alive Upgrade")), Err(Refusal::Connection));
    assert_eq!(with("Sec-WebSocket-Key", None), Err(Refusal::Key));
    assert_eq!(and("Sec-WebSocket-Key", KEY), Err(Refusal::Key));
    for version in [None, Some("8"), Some("12"), Some("14"), Some("013"), Some("13, 8"), Some("")] {
        assert_eq!(with("Sec-WebSocket-Version", version), Err(Refusal::Version));
    }
    assert_eq!(and("Sec-WebSocket-Version", "13"), Err(Refusal::Version));
    assert_eq!(and("Content-Length", "1"), Err(Refusal::Body));
    assert_eq!(and("Transfer-Encoding", "chunked"), Err(Refusal::Body));
    assert_eq!(Refusal::Version.status(), 426);
    assert_eq!([Refusal::Key, Refusal::Body, Refusal::Method].map(Refusal::status), [400; 3]);
}

#[test]
fn lists() {
    assert!(elements(" a,b ,\t, c\t,").eq(["a", "b", "c"]));
    assert_eq!(elements(" ,\t,").next(), None);
    assert!(has_token("keep-alive, Upgrade", "upgrade"));
    assert!(!has_token("keep-alive, Upgraded", "upgrade"));
    assert!(!has_token("", "upgrade") && !has_token("x", ""));
    for token in ["a", "chat.v1", "!#$%&'*+-.^_`|~09azAZ"] {
        assert!(is_token(token));
    }
    for token in ["", " ", "a b", "a,b", "a\"", "a/b", "\u{e9}", "a\n", "(", "="] {
        assert!(!is_token(token), "{token:?}");
    }
}

#[test]
fn hostile_64_protocols() {
    let choose = |offers: &[&str], supported: &[&'static str]| {
        choose_protocol(offers.iter().map(|offer| offer.as_bytes()), supported)
    };
    assert_eq!(choose(&["chat, superchat"], &["superchat", "chat"]), Ok(Some("chat")));
    assert_eq!(choose(&["chat", "superchat"], &["superchat"]), Ok(Some("superchat")));
    assert_eq!(choose(&["Chat"], &["chat"]), Ok(None));
    assert_eq!(choose(&["chat"], &[]), Ok(None));
    assert_eq!(choose(&[], &["chat"]), Ok(None));
    assert_eq!(choose(&["chat, chat"], &["chat"]), Err(Refusal::Protocol));
    assert_eq!(choose(&["chat", "chat"], &["chat"]), Err(Refusal::Protocol));
    assert_eq!(choose(&["chat, \"quoted\""], &["chat"]), Err(Refusal::Protocol));
    assert_eq!(choose(&["chat; q=1"], &["chat"]), Err(Refusal::Protocol));
    assert_eq!(choose_protocol([&b"\xFF"[..]], &["chat"]), Err(Refusal::Protocol));
    let many = |count: usize| (0..count).map(|i| format!("p{i},")).collect::<String>();
    assert_eq!(choose(&[&many(MAX_PROTOCOLS)], &["p31"]), Ok(Some("p31")));
    assert_eq!(choose(&[&many(MAX_PROTOCOLS + 1)], &["p31"]), Err(Refusal::Protocol));
    assert_eq!(choose(&[&many(100_000)], &["p0"]), Err(Refusal::Protocol));
}

fn response() -> Headers {
    vec![("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", ACCEPT)]
}

fn answered(
    change: impl FnOnce(&mut Headers),
    offered: &[&'static str],
) -> Result<Option<&'static str>, BadAnswer> {
    let mut headers = response();
    change(&mut headers);
    check_response(101, bytes(&headers), KEY, offered, None).map(|(protocol, _)| protocol)
}

#[test]
fn answers() {
    assert_eq!(answered(|_| (), &["chat"]), Ok(None));
    let chat = |h: &mut Headers| h.push(("sec-websocket-protocol", "chat"));
    assert_eq!(answered(chat, &["superchat", "chat"]), Ok(Some("chat")));
    assert_eq!(answered(|h| h[0].1 = "WebSocket", &[]), Ok(None));
    assert_eq!(answered(|h| h.push(("Sec-WebSocket-Extensions", "")), &[]), Ok(None));
}

#[test]
fn hostile_66_answers_are_refused() {
    for status in [200, 302, 401, 426, 100] {
        let answer = check_response(status, bytes(&response()), KEY, &[], None);
        assert_eq!(answer, Err(BadAnswer::Status(status)));
    }
    let chat = |h: &mut Headers| h.push(("Sec-WebSocket-Protocol", "chat"));
    assert_eq!(answered(|h| h[0].0 = "x", &[]), Err(BadAnswer::Upgrade));
    assert_eq!(answered(|h| h[0].1 = "h2c, websocket", &[]), Err(BadAnswer::Upgrade));
    assert_eq!(answered(|h| h[1].0 = "x", &[]), Err(BadAnswer::Connection));
    assert_eq!(answered(|h| h[1].1 = "close", &[]), Err(BadAnswer::Connection));
    assert_eq!(answered(|h| h[2].0 = "x", &[]), Err(BadAnswer::Accept));
    assert_eq!(answered(|h| h[2].1 = KEY, &[]), Err(BadAnswer::Accept));
    let twice = |h: &mut Headers| h.push(("Sec-WebSocket-Accept", ACCEPT));
    assert_eq!(answered(twice, &[]), Err(BadAnswer::Accept));
    let deflate = |h: &mut Headers| h.push(("Sec-WebSocket-Extensions", "permessage-deflate"));
    assert_eq!(answered(deflate, &[]), Err(BadAnswer::Extension));
    assert_eq!(answered(chat, &[]), Err(BadAnswer::Protocol));
    assert_eq!(answered(chat, &["Chat"]), Err(BadAnswer::Protocol));
    let both = |h: &mut Headers| h.extend([("Sec-WebSocket-Protocol", "a"); 2]);
    assert_eq!(answered(both, &["a"]), Err(BadAnswer::Protocol));
    let list = |h: &mut Headers| h.push(("Sec-WebSocket-Protocol", "a, b"));
    assert_eq!(answered(list, &["a", "b"]), Err(BadAnswer::Protocol));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn our_keys_are_valid_and_differ(a in any::<[u8; 16]>(), b in any::<[u8; 16]>()) {
        let (key, other) = (make_key(a), make_key(b));
        prop_assert_eq!(key == other, a == b);
        let key = std::str::from_utf8(&key).expect("ASCII");
        prop_assert!(is_valid_key(key));
        let accept = accept_key(key);
        prop_assert!(verify_accept(key, std::str::from_utf8(&accept).expect("ASCII")));
    }

    #[test]
    fn nothing_panics(
        name in prop::sample::select(vec![
            "upgrade", "connection", "sec-websocket-key", "sec-websocket-version",
            "sec-websocket-accept", "sec-websocket-protocol", "content-length",
        ]),
        value in prop::collection::vec(any::<u8>(), 0..100),
        method in "\\PC{0,5}",
    ) {
        let _ = check_request(&method, true, [(name, &value[..])]);
        let _ = check_response(101, [(name, &value[..])], KEY, &["chat"], None);
        let _ = choose_protocol([&value[..]], &["chat"]);
    }
}
