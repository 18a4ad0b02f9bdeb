//! Clients that mean harm, against the whole server in a simulated world. Each test has the number
//! of its situation in `docs/hostile.md`.
//!
//! Rule: where a byte is in question every byte is tried.

mod wild;

use loopwork_http::core::encode::{self, NO_HEADERS, RequestHead, ResponseHead};
use loopwork_http::core::{Body, Invalid, Limits, Malformed};
use loopwork_http::{Config, Http};
use std::time::Duration;
use wild::{GAP, Plan, Seen, Site, play, play_one};

/// Bytes of a token (RFC 9110, 5.6.2).
fn is_token(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}

/// Sends each of these on a connection of its own, with one more request behind it that must be
/// served just where the first was. Of each: was it? The one behind comes together with it, and
/// after it, so that a scan of its last bytes meets the end of what is there.
fn served(cases: &[Vec<u8>]) -> Vec<bool> {
    let behind = b"GET /behind HTTP/1.1\r\nHost: a\r\n\r\n";
    let two = |case: &Vec<u8>| {
        let bytes = [&case[..], behind].concat();
        [Plan::whole(&bytes), Plan::cut(&bytes, &[case.len()])]
    };
    let plans: Vec<_> = cases.iter().flat_map(two).collect();
    let (site, log) = Site::new(false);
    let seen = play(Http::new(site), &plans);
    let mut good = Vec::new();
    for (both, case) in seen.chunks(2).zip(cases) {
        let served = [0, 1].map(|n| both[n].statuses() == [200, 200]);
        assert_eq!(served[0], served[1], "{}", case.escape_ascii());
        good.push(served[0]);
        for seen in both {
            let ended = seen.statuses().len() == 1 && seen.closed;
            assert!(served[0] || ended, "{}", seen.text());
        }
    }
    let log = log.borrow();
    let behind = log.begun.iter().filter(|target| *target == "/behind").count();
    assert_eq!(behind, 2 * good.iter().filter(|good| **good).count());
    good
}

/// Puts every byte into a request, and asks whether it is served just where `fits` says so.
fn every_byte(what: &str, request: impl Fn(u8) -> Vec<u8>, fits: impl Fn(u8) -> bool) {
    let cases: Vec<_> = (0..=255).map(request).collect();
    for (b, good) in (0..=255u8).zip(served(&cases)) {
        assert_eq!(good, fits(b), "{what}: {b:#04x}");
    }
}

fn join(before: &str, b: u8, after: &str) -> Vec<u8> {
    [before.as_bytes(), &[b], after.as_bytes()].concat()
}

const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\n";
const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n";
const CHUNKED: &str = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

#[test]
fn hostile_32_lengths_that_could_be_read_in_two_ways() {
    let space = |b| matches!(b, b' ' | b'\t');
    let body = "\r\n\r\nhello";
    let with = |front: &str| format!("{POST}Content-Length:{front}");
    // Of the digits only a zero leaves the length as it is.
    let zero = |b: u8| if b.is_ascii_digit() { b'0' } else { b };
    let (before, behind) = (format!("5{body}"), |b: u8| if b.is_ascii_digit() { b'x' } else { b });
    every_byte("before", |b| join(&with(" "), zero(b), &before), |b| space(b) || zero(b) == b'0');
    every_byte("behind", |b| join(&with(" 5"), behind(b), body), space);
    every_byte("inside", |b| join(&with(" 0"), zero(b), &before), |b| zero(b) == b'0');
    let lines = [
        "Content-Length: 5\r\nContent-Length: 5",
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 5, 5",
        "Content-Length: 5,",
        "Content-Length: ,5",
        "Content-Length: 5 5",
        "Content-Length:",
        "Content-Length: 5\r\n 5",
        "Content-Length: 5.0",
        "Content-Length: 5e0",
        "Content-Length: 05h",
        "Content-Length: \"5\"",
        "Content-Length: 18446744073709551621",
        "Content-Length: 340282366920938463463374607431768211461",
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Transfer-Encoding: identity\r\nContent-Length: 5",
        "Content-Length: 5\r\nTransfer-Encoding:",
        "Content-Length : 5",
        "Content-Length\u{b}: 5",
        "\u{b}Content-Length: 5",
    ];
    let cases: Vec<_> = lines.map(|line| format!("{POST}{line}{body}").into_bytes()).into();
    for (good, line) in served(&cases).into_iter().zip(lines) {
        assert!(!good, "{line}");
    }
}

#[test]
fn hostile_33_transfer_codings_that_could_be_read_in_two_ways() {
    let space = |b| matches!(b, b' ' | b'\t');
    let last = "\r\n\r\n0\r\n\r\n";
    let with = |front: &str| format!("{POST}Transfer-Encoding:{front}");
    every_byte("before", |b| join(&with(" "), b, &format!("chunked{last}")), space);
    every_byte("behind", |b| join(&with(" chunked"), b, last), space);
    let middle = |b| join(&with(" chun"), b, &format!("ed{last}"));
    every_byte("inside", middle, |b| b.eq_ignore_ascii_case(&b'k'));
    for value in [
        "chunked, chunked",
        "chunked,",
        ",chunked",
        "chunked\r\nTransfer-Encoding: chunked",
        "identity",
        "identity, chunked",
        "chunked, identity",
        "gzip, chunked",
        "chunked; q=1",
        "chunked;",
        "xchunked",
        "chunkedx",
        "\"chunked\"",
        "chunked chunked",
        "\r\n chunked",
        "",
    ] {
        let case = format!("{POST}Transfer-Encoding: {value}{last}");
        assert_eq!(served(&[case.into_bytes()]), [false], "{value}");
    }
    let old = "POST / HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked";
    assert_eq!(served(&[format!("{old}{last}").into_bytes()]), [false]);
}

#[test]
fn hostile_34_line_ends_controls_and_names() {
    // HTAB / SP / VCHAR / obs-text; a CR or LF alone ends nothing.
    let value = |b| b == b'\t' || (b >= b' ' && b != 0x7f);
    // At every place of a word or a vector.
    for pad in 0..=40 {
        let front = format!("{GET}X: {}", "a".repeat(pad));
        every_byte("value", |b| join(&front, b, "b\r\n\r\n"), value);
        let front = format!("{GET}{}", "X".repeat(pad + 1));
        let name = |b| is_token(b) || b == b':';
        every_byte("name", |b| join(&front, b, ":\r\n\r\n"), name);
    }
    every_byte("value's first", |b| join(&format!("{GET}X:"), b, "\r\n\r\n"), value);
    every_byte("a line's first", |b| join(GET, b, "X: b\r\n\r\n"), is_token);
    every_byte(
        "name",
        |b| join(&format!("{GET}X"), b, "Y: b\r\n\r\n"),
        |b| {
            // With a colon here the name is `X`, and the value begins with `Y:`.
            is_token(b) || b == b':'
        },
    );
    every_byte(
        "before the colon",
        |b| join(&format!("{GET}X"), b, ": b\r\n\r\n"),
        |b| is_token(b) || b == b':',
    );
    // The line end itself: CRLF and nothing else, at each of the three places.
    let first = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    for (at, _) in first.match_indices("\r\n") {
        for end in ["\n", "\r", "\n\r", "\r\r\n", "\r\n ", "\r\n\t", "\r\0\n", "\u{b}", "\u{c}"] {
            let case = format!("{}{end}{}", &first[..at], &first[at + 2..]);
            // Behind the head, a space begins the next request: the first one is good.
            if at + 2 < first.len() || !end.starts_with("\r\n") {
                assert_eq!(served(&[case.clone().into_bytes()]), [false], "{case:?}");
            }
        }
    }
}

#[test]
fn hostile_35_chunk_sizes() {
    let size = |before: &str, b: u8, after: &str| {
        join(&format!("{CHUNKED}{before}"), b, &format!("{after}\r\nhello\r\n0\r\n\r\n"))
    };
    // Of the digits only a zero leaves the size as it is.
    let zero = |b: u8| if b.is_ascii_hexdigit() { b'0' } else { b };
    every_byte("before", |b| size("", zero(b), "5"), |b| zero(b) == b'0');
    let behind = |b: u8| if b.is_ascii_hexdigit() { b'x' } else { b };
    every_byte("behind", |b| size("5", behind(b), ""), |_| false);
    every_byte("inside", |b| size("0", zero(b), "5"), |b| zero(b) == b'0');
    every_byte(
        "behind the data",
        |b| join(&format!("{CHUNKED}1\r\nx"), b, "\n0\r\n\r\n"),
        |b| b == b'\r',
    );
    // Zeros without end are refused at the seventeenth, and nothing is kept of them.
    let zeros = [CHUNKED.as_bytes(), &b"0".repeat(1 << 20)].concat();
    let mut plan = Plan::paced(&zeros[CHUNKED.len()..], 1, GAP);
    plan.pieces.insert(0, (GAP, CHUNKED.as_bytes().to_vec()));
    let (site, log) = Site::new(false);
    let seen = play_one(Http::new(site), plan);
    assert_eq!((seen.statuses(), seen.closed), (vec![400], true));
    assert!(seen.sent <= 1 + 17 + 2, "{} pieces", seen.sent);
    assert_eq!(log.borrow().malformed, [Malformed::InvalidChunkSize]);
    for size in ["10000000000000000", "ffffffffffffffff", "8000000000000000", "00000000000000005"] {
        let case = format!("{CHUNKED}{size}\r\nhello\r\n0\r\n\r\n");
        assert_eq!(served(&[case.into_bytes()]), [false], "{size}");
    }
}

/// Sends a front, and then the same piece over and over.
fn flood(front: &str, piece: &str, count: usize) -> (Seen, Vec<Malformed>) {
    let mut pieces = vec![(GAP, front.as_bytes().to_vec())];
    pieces.resize(count, (GAP, piece.as_bytes().to_vec()));
    let (site, log) = Site::new(false);
    let seen = play_one(Http::new(site), Plan { pieces, ..Plan::default() });
    let malformed = log.borrow().malformed.clone();
    (seen, malformed)
}

#[test]
fn hostile_36_extensions_and_trailers_without_end() {
    let limits = Limits::default();
    // Within one chunk, and some in each chunk: all of a body count together.
    for (front, piece) in [
        ("5", ";a=bcd"),
        ("", "1;a=bc\r\nx\r\n"),
        ("", "1;a=bcdefg\r\nx\r\n1\r\nx\r\n"),
        ("5;a=\"", "bcdefg"),
    ] {
        let (seen, why) = flood(&format!("{CHUNKED}{front}"), piece, 10_000);
        assert_eq!((seen.statuses(), seen.closed), (vec![413], true), "{piece}");
        assert_eq!(why, [Malformed::ChunkExtensionsTooLarge]);
        assert!(seen.sent <= limits.extension_bytes as usize / 4 + 4, "{} pieces", seen.sent);
    }
    for (piece, sin) in [
        ("X: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n", Malformed::TrailersTooLarge),
        ("yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy", Malformed::TrailersTooLarge),
    ] {
        let (seen, why) = flood(&format!("{CHUNKED}0\r\n"), piece, 10_000);
        assert_eq!((seen.statuses(), seen.closed, why), (vec![431], true, vec![sin]));
        assert!(seen.sent <= limits.trailer_bytes as usize / piece.len() + 4, "{}", seen.sent);
    }
    let many = format!("{CHUNKED}0\r\n{}\r\n", "X:\r\n".repeat(101));
    assert_eq!(served(&[many.into_bytes()]), [false]);
}

#[test]
fn hostile_37_chunks_of_one_byte() {
    // Each costs the client six bytes; they count as one against the body's limit.
    const COUNT: usize = 100_000;
    let body = "1\r\nx\r\n".repeat(COUNT) + "0\r\n\r\n";
    let (site, log) = Site::new(false);
    let seen =
        play_one(Http::new(site), Plan::paced((CHUNKED.to_owned() + &body).as_bytes(), 999, GAP));
    assert_eq!(seen.statuses(), [200]);
    assert_eq!(log.borrow().bodies[0].len(), COUNT);
    let (site, log) = Site::new(false);
    let mut http = Http::new(site);
    http.config.limits.body_bytes = 1000;
    let seen = play_one(http, Plan::paced((CHUNKED.to_owned() + &body).as_bytes(), 6, GAP));
    assert_eq!((seen.statuses(), seen.closed), (vec![413], true));
    let pieces = CHUNKED.len() / 6 + 1000;
    assert!(seen.sent >= pieces && seen.sent <= pieces + 5, "{}", seen.sent);
    assert_eq!(log.borrow().malformed, [Malformed::ContentTooLarge]);
    // Without an end they have a limit of their own, that words and lines do not meet.
    let short = Limits::default().small_chunks as usize;
    for (chunk, most) in [("1\r\nx\r\n", short / 15), ("3\r\nxyz\r\n", short / 13)] {
        let (site, log) = Site::new(false);
        let body = chunk.repeat(most + 2);
        let plan = Plan::paced((CHUNKED.to_owned() + &body).as_bytes(), 60_000, GAP);
        let seen = play_one(Http::new(site), plan);
        assert_eq!((seen.statuses(), seen.closed), (vec![413], true));
        assert_eq!(log.borrow().malformed, [Malformed::SmallChunks]);
        let (site, log) = Site::new(false);
        let body = chunk.repeat(most) + "0\r\n\r\n";
        let plan = Plan::paced((CHUNKED.to_owned() + &body).as_bytes(), 60_000, GAP);
        assert_eq!(play_one(Http::new(site), plan).statuses(), [200]);
        assert_eq!(log.borrow().malformed, []);
    }
    let (site, log) = Site::new(false);
    let body = "10\r\n0123456789abcdef\r\n1f\r\n0123456789abcdef0123456789abcde\r\n1\r\nx\r\n";
    let body = body.repeat(short / 16) + "0\r\n\r\n";
    let plan = Plan::paced((CHUNKED.to_owned() + &body).as_bytes(), 60_000, GAP);
    assert_eq!(play_one(Http::new(site), plan).statuses(), [200]);
    assert_eq!(log.borrow().malformed, []);
}

#[test]
fn hostile_38_heads_without_end() {
    let limits = Limits::default();
    let (head, target, count) = (limits.head_bytes, limits.target_bytes, limits.headers as usize);
    for (front, piece, status, most) in [
        ("GET /", "xxxxxxxxxx", 414, target as usize / 10),
        // A first line in pieces is looked at when it ends, or can no longer be one.
        ("", "xxxxxxxxxx", 501, target as usize / 10),
        ("GET / HTTP/1.1\r\nX: ", "xxxxxxxxxx", 431, head as usize / 10),
        ("GET / HTTP/1.1\r\n", "xxxxxxxxxx", 431, head as usize / 10),
        // The number of lines is known when the head is whole, or has its size.
        ("GET / HTTP/1.1\r\n", "X: yyyyyy\r\n", 431, head as usize / 11),
        ("GET / HTTP/1.1", " ", 400, target as usize + 44),
        ("GET / HTTP/1.1\r\n", "\r", 400, 2),
        ("\r\n", "\r\n", 400, 1),
    ] {
        let (seen, _) = flood(front, piece, 10_000);
        assert_eq!((seen.statuses(), seen.closed), (vec![status], true), "{front:?} {piece:?}");
        assert!(seen.sent <= most + 10, "{front:?} {piece:?}: {} of {most}", seen.sent);
    }
    let lines = |n: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X:\r\n".repeat(n));
    let cases = [count - 1, count].map(|n| lines(n).into_bytes());
    assert_eq!(served(&cases), [true, false]);
}

#[test]
fn hostile_39_names_that_are_nearly_those_that_count() {
    // No table of hashes to fill: at most a hundred lines are looked at one by one. What could go
    // wrong is a name that is taken for another.
    for (name, value) in [
        ("Content-Length", "nonsense"),
        ("Transfer-Encoding", "nonsense"),
        ("Connection", "close"),
        ("Expect", "nonsense"),
        ("Host", "b"),
    ] {
        for at in 0..name.len() {
            let line = |b| join(&name[..at], b, &name[at + 1..]);
            let end = format!(": {value}\r\n\r\n");
            let case = |b| [GET.as_bytes(), &line(b), end.as_bytes()].concat();
            let same = |b: u8| b.eq_ignore_ascii_case(&name.as_bytes()[at]);
            // A colon splits the name: what is behind it is a value.
            every_byte(name, case, |b| (is_token(b) || (b == b':' && at > 0)) && !same(b));
        }
    }
    let alike: Vec<u8> = (0..99).flat_map(|_| b"AaAaAaAa: 1\r\n".to_vec()).collect();
    assert_eq!(served(&[[GET.as_bytes(), &alike, b"\r\n"].concat()]), [true]);
}

#[test]
fn hostile_40_every_cut_gives_the_same() {
    let pipeline = [
        format!("{POST}Content-Length: 11\r\n\r\nhello world"),
        format!("{CHUNKED}5;a=\"\\\"b\"\r\nhello\r\nA\r\n0123456789\r\n00\r\nX-Sum: 1\r\n\r\n"),
        "HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "\r\nOPTIONS * HTTP/1.1\r\nHost:\r\nCookie: a=b; c=d\r\n\r\n".to_owned(),
        format!("{POST}Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabc"),
        "GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".to_owned(),
        "GET /behind HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
    ]
    .concat()
    .into_bytes();
    let mut plans = vec![Plan::whole(&pipeline)];
    plans.extend((1..60).map(|size| Plan::paced(&pipeline, size, GAP)));
    plans.extend((1..pipeline.len()).map(|at| Plan::cut(&pipeline, &[at])));
    let (site, log) = Site::new(false);
    let seen = play(Http::new(site), &plans);
    // But for the interim answer, which may be left out, and the time of day.
    let bodies = |seen: &Seen| {
        let answers = seen.answers().into_iter().filter(|answer| answer.status != 100);
        answers.map(|answer| (answer.status, answer.body)).collect::<Vec<_>>()
    };
    let wanted = bodies(&seen[0]);
    let texts: [&[u8]; 6] = [b"hello world", b"hello0123456789", b"", b"", b"abc", b""];
    assert_eq!(wanted, texts.map(|text| (200, text.to_vec())));
    for seen in &seen {
        assert!(bodies(seen) == wanted && seen.closed, "{}", seen.n);
    }
    assert_eq!(log.borrow().begun.len(), 6 * plans.len());
    assert_eq!(log.borrow().trailers.len(), plans.len());
}

/// A server with these settings, and what each of its peers saw.
fn with(set: impl FnOnce(&mut Config), plans: &[Plan]) -> Vec<Seen> {
    let (site, _) = Site::new(false);
    let mut http = Http::new(site);
    set(&mut http.config);
    play(http, plans)
}

const SECOND: Duration = Duration::from_secs(1);
/// How exact a deadline is.
const EXACT: Duration = Duration::from_millis(50);

#[test]
fn hostile_41_heads_that_drip() {
    let head = format!("{GET}X: {}\r\n\r\n", "x".repeat(200));
    let mut plans: Vec<_> = (0..200).map(|_| Plan::paced(head.as_bytes(), 1, SECOND)).collect();
    // Drips that never become a head, and an empty line before one.
    plans.push(Plan { wait: Some(60 * SECOND), ..Plan::whole(b"\r\n") });
    plans.push(Plan { wait: Some(60 * SECOND), ..Plan::whole(b"G") });
    for seen in with(|config| config.head_timeout = 10 * SECOND, &plans) {
        assert_eq!((seen.statuses(), seen.closed), (vec![408], true), "{}", seen.n);
        assert_eq!(seen.answers()[0].header("connection"), Some("close"));
        // From the head's first byte, which dripping plans send a second after their begin.
        let first = if seen.n < 200 { SECOND } else { Duration::ZERO };
        let late = seen.after.saturating_sub(first + 10 * SECOND);
        assert!(seen.after >= first + 10 * SECOND && late < EXACT, "{:?}", seen.after);
    }
    // The head of a later request has its time from its own first byte.
    let two = [GET, "\r\n", GET].concat();
    let mut plan = Plan::cut(two.as_bytes(), &[GET.len() + 2]);
    plan.pieces[1].0 = 20 * SECOND;
    plan.wait = Some(60 * SECOND);
    let seen = with(|config| config.head_timeout = 10 * SECOND, &[plan]).remove(0);
    assert_eq!(seen.statuses(), [200, 408]);
    assert!(seen.after >= 30 * SECOND && seen.after < 30 * SECOND + EXACT, "{:?}", seen.after);
}

#[test]
fn hostile_42_bodies_that_drip() {
    let length = format!("{POST}Content-Length: 1000\r\n\r\n");
    let plans = [(length, "x"), (CHUNKED.to_owned(), "1\r\nx\r\n"), (CHUNKED.to_owned(), "0")];
    let plans = plans.map(|(head, piece)| {
        let mut pieces = vec![(SECOND, piece.as_bytes().to_vec()); 1000];
        pieces[0] = (Duration::ZERO, head.into_bytes());
        Plan { pieces, ..Plan::default() }
    });
    for seen in with(|config| config.body_timeout = 30 * SECOND, &plans) {
        // Zeros without end are refused as a size, if they are fast enough to be one.
        let zeros = seen.n == 2 && seen.statuses() == [400];
        assert!((zeros || seen.statuses() == [408]) && seen.closed, "{}: {}", seen.n, seen.text());
        // Bytes do not move the deadline.
        assert!(seen.after < 30 * SECOND + EXACT, "{:?}", seen.after);
    }
}

#[test]
fn hostile_43_answers_that_nobody_reads() {
    let ask = b"GET /blob?1000000 HTTP/1.1\r\nHost: a\r\n\r\n";
    let wait = Some(3600 * SECOND);
    let plans = vec![Plan { deaf: true, wait, ..Plan::whole(ask) }; 20];
    for seen in with(|config| config.write_timeout = 30 * SECOND, &plans) {
        assert!(seen.got.is_empty());
        assert_eq!(seen.why, loopwork_http::tcp::Close::Reset);
        assert!(seen.lasted < 61 * SECOND, "{:?}", seen.lasted);
    }
}

#[test]
fn hostile_45_unread_bodies_are_not_requests() {
    let evil = "GET /evil HTTP/1.1\r\nHost: a\r\n\r\n";
    let length = evil.len();
    let chunk = format!("{length:x}\r\n{evil}\r\n");
    let long = evil.repeat(3000);
    let cases = [
        (format!("{POST}Content-Length: {length}\r\n\r\n{evil}"), false),
        (format!("{CHUNKED}{chunk}{chunk}0\r\n\r\n"), false),
        (format!("{POST}Content-Length: {}\r\n\r\n{long}", long.len()), true),
        (format!("{CHUNKED}{:x}\r\n{long}\r\n0\r\n\r\n", long.len()), true),
    ];
    for (case, too_long) in cases {
        let bytes = format!("{case}GET /behind HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes();
        let places = (1..bytes.len()).step_by(bytes.len() / 150 + 1);
        let mut plans: Vec<_> = places.map(|at| Plan::cut(&bytes, &[at])).collect();
        plans.push(Plan::whole(&bytes));
        plans.push(Plan::paced(&bytes, 7, GAP));
        let (site, log) = Site::new(true);
        for seen in play(Http::new(site), &plans) {
            let statuses = seen.statuses();
            // It goes on, or it ends: both are right, but what is too long is not read to its end.
            let on = statuses == [200, 200] && !too_long;
            assert!(on || (statuses == [200] && seen.closed), "{statuses:?}");
        }
        let log = log.borrow();
        assert!(log.begun.iter().all(|t| t == "/" || (t == "/behind" && !too_long)));
        assert!(log.malformed.is_empty(), "the answer was out: {:?}", log.malformed);
    }
}

#[test]
fn a_head_request_that_is_refused_has_no_content_for_an_answer() {
    let wrong = ["Expect: tea", "Host: b", "Transfer-Encoding: gzip, chunked", "Content-Length: x"];
    for (line, front) in wrong.iter().flat_map(|line| [(line, ""), (line, "\r\n")]) {
        let ask = |method| {
            let bytes = format!("{front}{method} / HTTP/1.1\r\nHost: a\r\n{line}\r\n\r\n");
            let (site, _) = Site::new(false);
            let seen = play_one(Http::new(site), Plan::whole(bytes.as_bytes()));
            String::from_utf8(seen.got.clone()).unwrap()
        };
        let (get, head) = (ask("GET"), ask("HEAD"));
        assert!(!get.starts_with("HTTP/1.1 200") && !get.ends_with("\r\n\r\n"), "{get}");
        let (front, _) = get.split_once("\r\n\r\n").unwrap();
        assert_eq!(head, format!("{front}\r\n\r\n"), "all of a GET's answer but its content");
    }
}

#[test]
fn hostile_46_expectations() {
    let all = |head: &str, body: &str, hasty| {
        let bytes = format!("{head}\r\n\r\n{body}");
        let (site, log) = Site::new(hasty);
        let plan = Plan::cut(bytes.as_bytes(), &[head.len() + 4]);
        let seen = play_one(Http::new(site), plan);
        let statuses: Vec<u16> = seen.answers().iter().map(|answer| answer.status).collect();
        assert!(log.borrow().begun.len() <= 1, "a body is no request");
        (statuses, seen.closed)
    };
    let expect = format!("{POST}Expect: 100-continue");
    let five = format!("{expect}\r\nContent-Length: 5");
    assert_eq!(all(&five, "hello", false), (vec![100, 200], false));
    let coded = format!("{expect}\r\nTransfer-Encoding: chunked");
    assert_eq!(all(&coded, "5\r\nhello\r\n0\r\n\r\n", false), (vec![100, 200], false));
    // Nothing to wait for, nobody that knows of it, nobody that reads it.
    assert_eq!(all(&expect, "", false), (vec![200], false));
    assert_eq!(all(&format!("{expect}\r\nContent-Length: 0"), "", false), (vec![200], false));
    let old = five.replace("HTTP/1.1", "HTTP/1.0");
    assert_eq!(all(&old, "hello", false), (vec![200], true));
    // Who does not read it says so instead: whether its body comes all the same is not known.
    assert_eq!(all(&five, "hello", true), (vec![200], true));
    let evil = "GET /evil HTTP/1.1\r\nHost: a\r\n\r\n";
    let long = format!("{expect}\r\nContent-Length: {}", evil.len());
    assert_eq!(all(&long, evil, true), (vec![200], true));
    for other in ["tea", "100-continue, tea", "100-continued", "\"100-continue\"", "200-ok"] {
        let head = format!("{POST}Expect: {other}\r\nContent-Length: 5");
        assert_eq!(all(&head, "hello", false), (vec![417], true), "{other}");
    }
}

#[test]
fn hostile_51_what_the_application_sets_splits_nothing() {
    let text = |b: u8| format!("a{}b", char::from(b));
    for b in 0..=0x7fu8 {
        let (mut out, value) = (b"kept".to_vec(), text(b));
        let head = ResponseHead::new(200, Body::Length(0));
        let control = (b < b' ' && b != b'\t') || b == 0x7f;
        let refused = encode::response_head(&mut out, &head, [("X", &value)]);
        assert_eq!(refused.err(), control.then_some(Invalid::HeaderValue), "{b:#04x}");
        assert!(!control || out == b"kept", "nothing of it is written");
        let refused = encode::response_head(&mut out, &head, [(&value, "")]);
        assert_eq!(refused.err(), (!is_token(b)).then_some(Invalid::HeaderName), "{b:#04x}");
        let reason = ResponseHead { reason: Some(&value), ..head };
        let refused = encode::response_head(&mut out, &reason, NO_HEADERS);
        assert_eq!(refused.err(), control.then_some(Invalid::Reason), "{b:#04x}");
        let refused = encode::last_chunk(&mut out, [("X", &value)]);
        assert_eq!(refused.err(), control.then_some(Invalid::HeaderValue), "{b:#04x}");
        let refused = encode::last_chunk(&mut out, [(&value, "")]);
        assert_eq!(refused.is_err(), !is_token(b), "{b:#04x}");
        let target = format!("/{value}");
        let connection = encode::Connection::Implicit;
        let head =
            RequestHead { method: &value, target: "/", host: "a", body: Body::None, connection };
        let refused = encode::request_head(&mut out, &head, NO_HEADERS);
        assert_eq!(refused.err(), (!is_token(b)).then_some(Invalid::Method), "{b:#04x}");
        let head = RequestHead { method: "GET", target: &target, ..head };
        let refused = encode::request_head(&mut out, &head, NO_HEADERS).is_err();
        assert!(refused || (b > b' ' && b != 0x7f && b != b'#'), "{b:#04x}");
    }
}

#[test]
fn hostile_52_targets_and_hosts() {
    // RFC 3986, and what browsers leave as it is in a query; never a fragment.
    let in_uri = |b: u8| b.is_ascii_alphanumeric() || b"-._~:/?[]@!$&'()*+,;=%\\^`{|}".contains(&b);
    let line = " HTTP/1.1\r\nHost: a\r\n\r\n";
    for pad in 0..=40 {
        let front = format!("GET /{}", "a".repeat(pad));
        every_byte("target", |b| join(&front, b, &format!("b{line}")), in_uri);
    }
    every_byte("target's first", |b| join("GET ", b, line), |b| b == b'/');
    every_byte("method", |b| join("GE", b, &format!("T /{line}")), is_token);
    let in_host = |b: u8| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;= \t".contains(&b);
    let host = |b| join("GET / HTTP/1.1\r\nHost: ", b, "\r\n\r\n");
    every_byte("host", host, |b| in_host(b) || b == b':');
    let inside = |b| join("GET / HTTP/1.1\r\nHost: a", b, "a\r\n\r\n");
    every_byte("in the host", inside, |b| in_host(b) && b != b' ' && b != b'\t');
    let authority = |b| join("GET http://a", b, &format!("a/{line}"));
    // A slash or a question mark ends the authority.
    every_byte("authority", authority, |b| {
        (in_host(b) && b != b' ' && b != b'\t') || matches!(b, b'/' | b'?')
    });
    for (request, good) in [
        ("GET / HTTP/1.1\r\n\r\n", false),
        ("GET http://a/ HTTP/1.1\r\n\r\n", false),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", false),
        ("GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n", true),
        ("GET http://a@b/ HTTP/1.1\r\nHost: b\r\n\r\n", false),
        ("GET ftp://a/ HTTP/1.1\r\nHost: b\r\n\r\n", false),
        ("GET //a/ HTTP/1.1\r\nHost: b\r\n\r\n", true),
        ("OPTIONS * HTTP/1.1\r\nHost: b\r\n\r\n", true),
        ("GET * HTTP/1.1\r\nHost: b\r\n\r\n", false),
        ("GET a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", false),
        ("CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", false),
    ] {
        assert_eq!(served(&[request.as_bytes().to_vec()]), [good], "{request:?}");
    }
}
