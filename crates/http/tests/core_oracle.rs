//! The parser against others: a slow and plain one that is written here in another way, and
//! httparse. The inputs are messages put together from good and bad parts, with a few bytes
//! changed.

mod support;

use loopwork_http::core::*;
use proptest::prelude::*;
use support::*;

/// What the plain parser says: `None`, not whole; `Some(None)`, refused.
type Verdict<T> = Option<Option<T>>;

/// Bytes as text, one character for each.
fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|&b| char::from(b)).collect()
}

fn is_token(text: &str) -> bool {
    let tchar = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    !text.is_empty() && text.chars().all(tchar)
}

fn is_value(text: &str) -> bool {
    text.chars().all(|c| c == '\t' || !(c.is_ascii_control()))
}

fn is_host(text: &str) -> bool {
    let (name, port) = match text.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, port),
        _ => (text, ""),
    };
    let port_ok = port.chars().all(|c| c.is_ascii_digit())
        && port.trim_start_matches('0').len() <= 5
        && port.parse::<u32>().unwrap_or(0) < 65536;
    let literal = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    port_ok
        && match literal {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => is_reg_name(name),
        }
}

fn is_reg_name(name: &str) -> bool {
    let mut parts = name.split('%');
    let plain = |text: &str| {
        text.chars().all(|c| c.is_ascii_alphanumeric() || "-._~!$&'()*+,;=".contains(c))
    };
    let hex = |text: &str| {
        text.len() >= 2
            && text.is_char_boundary(2)
            && text[..2].chars().all(|c| c.is_ascii_hexdigit())
    };
    parts.next().is_some_and(plain) && parts.all(|part| hex(part) && plain(&part[2..]))
}

fn target_ok(method: &str, target: &str) -> bool {
    let printable = target.chars().all(|c| c.is_ascii_graphic() && !"\"<>#".contains(c));
    let lower = target.to_ascii_lowercase();
    let absolute = lower.strip_prefix("http://").or_else(|| lower.strip_prefix("https://"));
    let absolute = absolute.is_some_and(|rest| {
        let authority = rest.split(['/', '?']).next().unwrap();
        !authority.is_empty() && !authority.starts_with(':') && is_host(authority)
    });
    let named = target.rsplit_once(':').is_some_and(|(name, port)| {
        !name.is_empty() && !port.is_empty() && !port.contains(']') && is_host(target)
    });
    printable
        && match method {
            "CONNECT" => named,
            "OPTIONS" if target == "*" => true,
            _ => target.starts_with('/') || absolute,
        }
}

type Lines = Vec<(String, String)>;

fn header_lines(text: &str) -> Option<Lines> {
    if text.is_empty() {
        return Some(Vec::new());
    }
    field_lines(&text.split("\r\n").collect::<Vec<_>>())
}

fn field_lines(lines: &[&str]) -> Option<Lines> {
    let line = |line: &str| {
        let (name, value) = line.split_once(':')?;
        (is_token(name) && is_value(value))
            .then(|| (name.to_owned(), value.trim_matches([' ', '\t']).to_owned()))
    };
    lines.iter().copied().map(line).collect()
}

fn named(lines: &Lines, name: &str) -> Vec<String> {
    let same = lines.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
    same.map(|(_, value)| value.clone()).collect()
}

fn members(lines: &Lines, name: &str) -> Vec<String> {
    let joined = named(lines, name).join(",").to_ascii_lowercase();
    joined.split(',').map(|member| member.trim_matches([' ', '\t']).to_owned()).collect()
}

fn framing(lines: &Lines, old: bool) -> Option<Framing> {
    let (lengths, codings) = (named(lines, "content-length"), named(lines, "transfer-encoding"));
    let body = match (&lengths[..], &codings[..]) {
        ([], []) => Body::None,
        ([length], []) if length.chars().all(|c| c.is_ascii_digit()) => {
            Body::Length(length.parse().ok()?)
        }
        ([], [coding]) if coding.eq_ignore_ascii_case("chunked") && !old => Body::Chunked,
        _ => return None,
    };
    let expects = named(lines, "expect");
    if expects.iter().any(|e| !e.eq_ignore_ascii_case("100-continue")) {
        return None;
    }
    let options = members(lines, "connection");
    let has = |option: &str| options.iter().any(|o| o == option);
    let upgrade = named(lines, "upgrade").iter().any(|value| !value.is_empty());
    Some(Framing {
        body,
        keep_alive: !has("close") && (!old || has("keep-alive")),
        expect_continue: !expects.is_empty()
            && !old
            && !matches!(body, Body::None | Body::Length(0)),
        upgrade: upgrade && has("upgrade") && !old,
    })
}

/// The first line as `Feeder` shows it, the headers, and the framing.
fn head(lines: &[&str], lenient: Leniency) -> Option<(String, Lines, Framing)> {
    let (first, rest) = lines.split_first()?;
    let white = |c: char| " \t\x0b\x0c\r".contains(c);
    let parts: Vec<&str> = match lenient.white_space {
        true => first.split(white).filter(|part| !part.is_empty()).collect(),
        false => first.split(' ').collect(),
    };
    let [method, target, version] = parts[..] else { return None };
    let minor = version.strip_prefix("HTTP/1.")?;
    if minor.len() != 1 || !minor.chars().all(|c| c.is_ascii_digit()) || !is_token(method) {
        return None;
    }
    if method.len() > 32 || !target_ok(method, target) {
        return None;
    }
    let old = minor == "0";
    let lines = field_lines(rest)?;
    let hosts = named(&lines, "host");
    if hosts.len() > 1 || (hosts.is_empty() && !old) || !hosts.iter().all(|host| is_host(host)) {
        return None;
    }
    let authority = match target.split_once("://") {
        _ if target.starts_with('/') => None,
        Some((_, rest)) => Some(rest.split(['/', '?']).next()?.to_owned()),
        None if method == "CONNECT" => Some(target.to_owned()),
        None => None,
    };
    let host = authority.or(hosts.first().cloned()).unwrap_or_default();
    let version = if old { "Http10" } else { "Http11" };
    let framing = framing(&lines, old)?;
    Some((format!("{method} {target} {version} {host}"), lines, framing))
}

/// The first line and the headers, their ends taken off, and how many characters they and the
/// empty line take. `Some(None)`: a line ends in a way that is not taken.
fn lines_of_head(text: &str, lenient: Leniency) -> Verdict<(Vec<&str>, usize)> {
    let (mut lines, mut at, mut empty) = (Vec::new(), 0, 0);
    loop {
        let len = text[at..].find('\n')?;
        let line = &text[at..at + len];
        at += len + 1;
        let line = match line.strip_suffix('\r') {
            Some(line) => line,
            None if lenient.bare_lf => line,
            None => return Some(None),
        };
        match (line.is_empty(), lines.is_empty()) {
            (true, false) => return Some(Some((lines, text[..at].chars().count()))),
            (true, true) if empty == 1 && !lenient.empty_lines => return Some(None),
            (true, true) => empty += 1,
            (false, _) => lines.push(line),
        }
    }
}

/// `*( ";" name [ "=" value ] )`, by taking one apart and going on with the rest.
fn extensions_ok(text: &str) -> bool {
    let Some(rest) = text.strip_prefix(';') else { return text.is_empty() };
    let end = rest.find([';', '=']).unwrap_or(rest.len());
    let (name, rest) = rest.split_at(end);
    if !is_token(name) {
        return false;
    }
    let Some(value) = rest.strip_prefix('=') else { return extensions_ok(rest) };
    let Some(quoted) = value.strip_prefix('"') else {
        let end = value.find(';').unwrap_or(value.len());
        return is_token(&value[..end]) && extensions_ok(&value[end..]);
    };
    let mut escaped = false;
    for (at, c) in quoted.char_indices() {
        match c {
            _ if !is_value(&c.to_string()) => return false,
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return extensions_ok(&quoted[at + 1..]),
            _ => {}
        }
    }
    false
}

/// Without the white space around `;` and `=`. `None`: there is some elsewhere.
fn tightened(text: &str) -> Option<String> {
    let (mut tight, mut rest) = (String::new(), text);
    while let Some(c) = rest.chars().next() {
        let (piece, behind) = match c {
            '"' => {
                let mut escaped = false;
                let closes = |c: char| match (escaped, c) {
                    (false, '"') => true,
                    (was, c) => {
                        escaped = !was && c == '\\';
                        false
                    }
                };
                let end = rest[1..].find(closes)? + 2;
                rest.split_at(end)
            }
            ' ' | '\t' => {
                let behind = rest.trim_start_matches([' ', '\t']);
                let around = tight.ends_with([';', '=']) || behind.starts_with([';', '=']);
                if !around {
                    return None;
                }
                ("", behind)
            }
            _ => rest.split_at(c.len_utf8()),
        };
        tight += piece;
        rest = behind;
    }
    Some(tight)
}

const NEVER_TRAILERS: [&str; 4] = ["content-length", "transfer-encoding", "host", "connection"];

/// Body, trailers, and what is left. Everything after an unfinished line is `None`.
fn chunked(mut text: &str, lenient: Leniency) -> Verdict<(String, Lines, usize)> {
    let (all, mut body) = (text.chars().count(), String::new());
    loop {
        let (line, rest) = text.split_once("\r\n")?;
        let digits = line.find(';').unwrap_or(line.len());
        let (size, extensions) = line.split_at(digits);
        let (size, tight) = match lenient.chunk_spaces && !extensions.is_empty() {
            true => (size.trim_end_matches([' ', '\t']), tightened(extensions)),
            false => (size, Some(extensions.to_owned())),
        };
        if size.is_empty() || size.len() > 16 || !size.chars().all(|c| c.is_ascii_hexdigit()) {
            return Some(None);
        }
        let good = tight.is_some_and(|extensions| extensions_ok(&extensions));
        if line.contains(['\r', '\n']) || !good {
            return Some(None);
        }
        let size = u64::from_str_radix(size, 16).unwrap();
        if size == 0 {
            text = rest;
            break;
        }
        let data: String = rest.chars().take(size as usize).collect();
        if (data.chars().count() as u64) < size {
            return if size > i64::MAX as u64 { Some(None) } else { None };
        }
        let rest = &rest[data.len()..];
        match rest.strip_prefix("\r\n") {
            Some(rest) => text = rest,
            None => return if "\r\n".starts_with(rest) { None } else { Some(None) },
        }
        body += &data;
    }
    let (lines, rest) = match text.strip_prefix("\r\n") {
        Some(rest) => ("", rest),
        None => text.split_once("\r\n\r\n")?,
    };
    let Some(mut lines) = header_lines(lines) else { return Some(None) };
    lines.retain(|(name, _)| !NEVER_TRAILERS.contains(&&name.to_ascii_lowercase()[..]));
    Some(Some((body, lines, all - rest.chars().count())))
}

fn bytes_of(text: &str) -> Vec<u8> {
    text.chars().map(|c| c as u8).collect()
}

fn lines_of(lines: Lines) -> Vec<(String, Vec<u8>)> {
    lines.into_iter().map(|(name, value)| (name, bytes_of(&value))).collect()
}

/// The plain parser for a whole request.
fn oracle(bytes: &[u8], lenient: Leniency) -> Verdict<Message> {
    let text = latin1(bytes);
    let Some((lines, head_len)) = lines_of_head(&text, lenient)? else { return Some(None) };
    let Some((first, lines, framing)) = head(&lines, lenient) else { return Some(None) };
    let rest = &latin1(&bytes[head_len..]);
    let (body, trailers, used) = match framing.body {
        Body::Chunked => match chunked(rest, lenient)? {
            Some(whole) => whole,
            None => return Some(None),
        },
        Body::Length(length) if length > i64::MAX as u64 => return Some(None),
        Body::Length(length) => {
            let body: String = rest.chars().take(length as usize).collect();
            let used = body.chars().count();
            if (used as u64) < length {
                return None;
            }
            (body, Vec::new(), used)
        }
        _ => (String::new(), Vec::new(), 0),
    };
    let (headers, trailers, body) = (lines_of(lines), lines_of(trailers), bytes_of(&body));
    Some(Some(Message { first, headers, framing, body, trailers, used: head_len + used }))
}

/// One of these, or sometimes a piece of anything.
fn part(parts: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    proptest::sample::select(parts).prop_map(|text| text.as_bytes().to_vec())
}

const FIRST: &[&str] = &[
    "GET / HTTP/1.1\r\n",
    "POST /a?b=c HTTP/1.1\r\n",
    "GET / HTTP/1.0\r\n",
    "PUT /x HTTP/1.1\r\n",
    "GET http://b/x HTTP/1.1\r\n",
    "OPTIONS * HTTP/1.1\r\n",
    "CONNECT a:443 HTTP/1.1\r\n",
    "\r\nGET / HTTP/1.1\r\n",
    "HEAD /%20 HTTP/1.2\r\n",
    "GET / HTTP/1.1\n",
    "GET /a#b HTTP/1.1\r\n",
    "get https://b:1?x HTTP/1.1\r\n",
    "GET * HTTP/1.1\r\n",
    "POST / HTTP/1.1\r\n",
    "POST / HTTP/1.1\n",
    "\nPOST / HTTP/1.1\n",
    "\r\n\r\n\nPOST / HTTP/1.1\r\n",
    " POST\t /  HTTP/1.1 \r\n",
    "POST\r/\x0bHTTP/1.1\x0c\r\n",
];
const LINES: &[&str] = &[
    "Host: a\r\n",
    "Host: [::1]:80\r\n",
    "host:\r\n",
    "X: y\r\n",
    "X-Y:\t a b \r\n",
    "X:\r\n",
    "Content-Length: 5\r\n",
    "Content-Length: 0\r\n",
    "content-length: 05\r\n",
    "Content-Length: 5, 5\r\n",
    "Transfer-Encoding: chunked\r\n",
    "transfer-encoding: CHUNKED\r\n",
    "Transfer-Encoding: gzip, chunked\r\n",
    "Connection: close\r\n",
    "Connection: a, Keep-Alive\r\n",
    "Connection: upgrade\r\nUpgrade: x\r\n",
    "Expect: 100-continue\r\n",
    "Expect: x\r\n",
    "X : y\r\n",
    "X: y\r\n z\r\n",
    "X: y\n",
    "X\r\n",
    ": y\r\n",
    "X: \u{e9}\r\n",
    "Host: a b\r\n",
];
const BODY: &[&str] = &[
    "5\r\nhello\r\n",
    "1;a=b\r\nx\r\n",
    "05;a;b=\"c;\\\"\";d=e\r\nhello\r\n",
    "0\r\n",
    "0;x\r\n",
    "\r\n",
    "X: y\r\n",
    "Content-Length: 9\r\n",
    "hello",
    "a\r\n0123456789\r\n",
    "5 \r\nhello\r\n",
    "5 ; a\t=\t\"b c\" ; d\r\nhello\r\n",
    "1; a = b\r\nx\r\n",
    "1;a \r\nx\r\n",
    "5;\r\nhello\r\n",
    "2\nhi\r\n",
    "fffffffffffffffff\r\n",
    "0\r\n\r\n",
    "0\r\nX: y\r\n\r\n",
];

/// Messages of which about a third are good, with a few bytes changed in some.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![3 => Just(b"POST / HTTP/1.1\r\n".to_vec()), 2 => part(FIRST)];
    let host = prop_oneof![9 => Just(b"Host: a\r\n".to_vec()), 1 => Just(Vec::new())];
    let framed = prop_oneof![
        Just(b"Transfer-Encoding: chunked\r\n".to_vec()),
        Just(b"Content-Length: 5\r\n".to_vec()),
        Just(Vec::new()),
    ];
    let lines = proptest::collection::vec(part(LINES), 0..3);
    let body = proptest::collection::vec(part(BODY), 0..5);
    let edits = prop_oneof![
        3 => Just(Vec::new()),
        1 => proptest::collection::vec((any::<prop::sample::Index>(), 0..3u8, edge()), 1..3),
    ];
    let whole = (first, host, framed, lines, body, edits);
    whole.prop_map(|(first, host, framed, lines, body, edits)| {
        let blank = b"\r\n".to_vec();
        let mut bytes = [first, host, framed, lines.concat(), blank, body.concat()].concat();
        for (at, what, b) in edits {
            let at = at.index(bytes.len());
            match what {
                0 => bytes[at] = b,
                1 => bytes.insert(at, b),
                _ => drop(bytes.remove(at)),
            }
        }
        bytes
    })
}

/// Half of the time nothing, else any of the options.
fn options() -> impl Strategy<Value = Leniency> {
    let any = any::<[bool; 4]>().prop_map(|[bare_lf, empty_lines, white_space, chunk_spaces]| {
        Leniency { bare_lf, empty_lines, white_space, chunk_spaces }
    });
    prop_oneof![Just(Leniency::NONE), any]
}

fn loose(lenient: Leniency) -> Limits {
    Limits { lenient, ..Limits::default() }
}

/// A byte that a grammar may stumble over.
fn edge() -> impl Strategy<Value = u8> {
    let edges = *b"\r\n\0\t :;=\",/?#%@[]\\09aF\x7f\x80\xff\x0b\x1f";
    prop_oneof![3 => proptest::sample::select(edges.to_vec()), 1 => any::<u8>()]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn the_plain_parser_agrees(bytes in message(), options in options()) {
        let outcome = feed(Kind::Request, loose(options), usize::MAX, [&bytes[..]]);
        match oracle(&bytes, options) {
            // Refused before it is whole, perhaps; but never taken.
            None => prop_assert!(!matches!(outcome, Ok(Some(_))), "{outcome:?}"),
            Some(None) => prop_assert!(outcome.is_err(), "{outcome:?}"),
            Some(Some(message)) => prop_assert_eq!(outcome, Ok(Some(message))),
        }
    }

    /// What we accept, httparse accepts too (but for minor versions that it does not know), and
    /// reads in the same way.
    #[test]
    fn httparse_agrees(bytes in message()) {
        let (mut seen, mut fields) = (Progress::new(), Fields::new());
        let limits = Limits::default();
        let ours = parse_request(&bytes, &mut seen, &mut fields, &limits);
        let mut table = [httparse::EMPTY_HEADER; 100];
        let mut theirs = httparse::Request::new(&mut table);
        let status = theirs.parse(&bytes);
        let Ok(Some((request, used))) = ours else { return Ok(()) };
        if status == Err(httparse::Error::Version) {
            return Ok(());
        }
        prop_assert_eq!(status, Ok(httparse::Status::Complete(used)));
        prop_assert_eq!(theirs.method, Some(request.method.as_str()));
        prop_assert_eq!(theirs.path, Some(request.target));
        prop_assert_eq!(theirs.version, Some((request.version == Version::Http11).into()));
        let lines = theirs.headers.iter().map(|header| (header.name, header.value));
        prop_assert!(request.headers.iter().eq(lines));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn cuts_do_not_matter(bytes in message(), options in options()) {
        let limits = loose(options);
        let whole = feed(Kind::Request, limits, usize::MAX, [&bytes[..]]);
        // With the end of a head behind it, nothing that is wrong stays unseen for want of bytes.
        if whole.as_ref().is_ok_and(Option::is_some) {
            prop_assert_eq!(check_with(Kind::Request, limits, &bytes), whole);
        } else if let Err(sin) = whole {
            let longer = [&bytes[..], b"\r\n\r\n"].concat();
            let cut = feed(Kind::Request, limits, 1, longer.chunks(1));
            prop_assert_eq!(cut, Err(sin));
        }
    }

    /// What is taken strictly is taken in the same way with any options.
    #[test]
    fn options_change_nothing_of_what_is_right(bytes in message(), options in options()) {
        for kind in [Kind::Request, Kind::Response("GET")] {
            let strict = feed(kind, Limits::default(), usize::MAX, [&bytes[..]]);
            if let Ok(Some(message)) = strict {
                let loose = feed(kind, loose(options), usize::MAX, [&bytes[..]]);
                prop_assert_eq!(loose, Ok(Some(message)));
            }
        }
    }

    #[test]
    fn anything_is_survived(bytes in proptest::collection::vec(edge(), 0..60)) {
        for kind in [Kind::Request, Kind::Response("GET")] {
            let _ = feed(kind, Limits::default(), 3, bytes.chunks(2));
        }
        for (head, kind) in [
            (&b"GET / HTTP/1.0\r\n"[..], Kind::Request),
            (b"POST / HTTP/1.1\r\nHost:\r\nTransfer-Encoding: chunked\r\n\r\n", Kind::Request),
            (b"HTTP/1.1 200 OK\r\n", Kind::Response("GET")),
        ] {
            let _ = feed(kind, Limits::default(), 3, [head, &bytes[..]]);
        }
    }
}

/// The generator is of use only if it makes enough messages of each outcome.
#[test]
fn the_generator_makes_all_outcomes() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut counts = [0; 4];
    for _ in 0..2000 {
        let tree = message().new_tree(&mut runner).unwrap();
        counts[match oracle(&proptest::strategy::ValueTree::current(&tree), Leniency::NONE) {
            None => 0,
            Some(None) => 1,
            Some(Some(message)) if message.body.is_empty() => 2,
            Some(Some(_)) => 3,
        }] += 1;
    }
    assert!(counts.iter().all(|&n| n > 100), "{counts:?}");
}
