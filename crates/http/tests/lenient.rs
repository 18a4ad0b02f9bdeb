//! What RFC 9112 lets a recipient take: each option alone takes its own, and nothing else.

mod peer;
mod support;

use loopwork_http::core::*;
use peer::{Server, Site};
use support::*;

const NONE: Leniency = Leniency::NONE;
const BARE_LF: Leniency = Leniency { bare_lf: true, ..NONE };
const EMPTY_LINES: Leniency = Leniency { empty_lines: true, ..NONE };
const WHITE_SPACE: Leniency = Leniency { white_space: true, ..NONE };
const CHUNK_SPACES: Leniency = Leniency { chunk_spaces: true, ..NONE };
const ALL: Leniency =
    Leniency { bare_lf: true, empty_lines: true, white_space: true, chunk_spaces: true };

fn limits(lenient: Leniency) -> Limits {
    Limits { lenient, ..Limits::default() }
}

/// What the strict parser makes of the same message as it ought to be, but for its length.
fn same_as(kind: Kind, loose: &Outcome, strict: &str) {
    let mut message = loose.clone().expect("taken").expect("whole");
    let right = check_with(kind, limits(NONE), strict.as_bytes()).unwrap().unwrap();
    message.used = right.used;
    assert_eq!(message, right);
}

/// It is taken with the option, as if it were the right one, and refused for `sin` without it,
/// also if all the others are on.
fn option(kind: Kind, which: Leniency, sin: Malformed, wrong: &str, right: &str) {
    let with = check_with(kind, limits(which), wrong.as_bytes());
    same_as(kind, &with, right);
    assert_eq!(check_with(kind, limits(ALL), wrong.as_bytes()), with, "{wrong:?}");
    assert_eq!(check_with(kind, limits(NONE), wrong.as_bytes()), Err(sin), "{wrong:?}");
    let others = Leniency {
        bare_lf: !which.bare_lf,
        empty_lines: !which.empty_lines,
        white_space: !which.white_space,
        chunk_spaces: !which.chunk_spaces,
    };
    let without = check_with(kind, limits(others), wrong.as_bytes());
    assert!(without.is_err(), "{wrong:?}: {without:?}");
}

#[test]
fn each_option_takes_its_own() {
    use Malformed::*;
    let right = "POST /a HTTP/1.1\r\nHost: b\r\nContent-Length: 2\r\nX: y\r\n\r\nhi";
    let wrongs = [
        (BARE_LF, BareLf, right.replace("\r\n", "\n")),
        (BARE_LF, BareLf, right.replacen("\r\n", "\n", 1)),
        (BARE_LF, BareLf, right.replace("y\r\n\r\n", "y\r\n\n")),
        (BARE_LF, BareLf, right.replace("y\r\n\r\n", "y \t\n\r\n")),
        (BARE_LF, BareLf, "\n".to_owned() + right),
        (EMPTY_LINES, LeadingEmptyLines, "\r\n\r\n".to_owned() + right),
        (EMPTY_LINES, LeadingEmptyLines, "\r\n".repeat(1000) + right),
        (WHITE_SPACE, InvalidTarget, right.replace("POST /a", "POST  /a")),
        (WHITE_SPACE, InvalidMethod, right.replace("POST /a", "\tPOST\x0b\x0c/a")),
        (WHITE_SPACE, InvalidMethod, right.replace("POST /a", "POST\r/a")),
        (WHITE_SPACE, InvalidVersion, right.replace("/1.1\r\n", "/1.1 \t\r\n")),
    ];
    for (which, sin, wrong) in wrongs {
        option(Kind::Request, which, sin, &wrong, right);
    }
    let right = "HTTP/1.1 200 O K\r\nContent-Length: 2\r\n\r\nhi";
    let wrongs = [
        (BARE_LF, BareLf, right.replace("\r\n", "\n")),
        (WHITE_SPACE, InvalidStatus, right.replace("1.1 200", "1.1  200")),
        (
            WHITE_SPACE,
            InvalidVersion,
            right.replace("1.1 200 ", " 1.1\t200\x0b ").replace("/ 1", "/1"),
        ),
    ];
    for (which, sin, wrong) in wrongs {
        option(Kind::Response("GET"), which, sin, &wrong, right);
    }
    let right = "POST / HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\n\r\n\
                 5;a=\"b c\";d\r\nhello\r\n0\r\n\r\n";
    let wrongs = [
        (InvalidChunkSize, right.replace("5;a", "5 \t;a")),
        (InvalidChunkExtension, right.replace("5;a", "5; a")),
        (InvalidChunkExtension, right.replace("a=", "a = ")),
        (InvalidChunkExtension, right.replace("\";d", "\" ; d")),
    ];
    for (sin, wrong) in wrongs {
        option(Kind::Request, CHUNK_SPACES, sin, &wrong, right);
    }
}

/// With all that can be switched on, what frames a message is as strict as ever.
#[test]
fn what_frames_a_message_is_never_read_loosely() {
    let head = |lines: &str| format!("POST / HTTP/1.1\nHost: a\n{lines}\n");
    for lines in [
        "Content-Length: 1\nContent-Length: 2\n",
        "Content-Length: 5\nTransfer-Encoding: chunked\n",
        "Content-Length : 5\n",
        "Transfer-Encoding : chunked\n",
        " Content-Length: 5\n",
        "X: y\n Content-Length: 5\n",
        "X: y\r\n\tz\r\n",
        "X: y\rContent-Length: 5\n",
        "X\nContent-Length: 5\n",
        "Content-Length: +5\n",
        "Content-Length:\x0b5\n",
        "Transfer-Encoding: chunked\x0c\n",
        "X: y\0\n",
        ": y\n",
    ] {
        let outcome = check_with(Kind::Request, limits(ALL), (head(lines) + "hello").as_bytes());
        assert!(outcome.is_err(), "{lines:?}: {outcome:?}");
    }
    for body in [
        "5\nhello\r\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello\r\n0\n\r\n",
        "5\r\nhello\r\n0\r\n\n",
        "5\r\nhello\r\n0\r\nX: y\n\r\n",
        "5;a \r\nhello\r\n0\r\n\r\n",
        "5;a b\r\nhello\r\n0\r\n\r\n",
        "5 5;a\r\nhello\r\n0\r\n\r\n",
    ] {
        let bytes = head("Transfer-Encoding: chunked\n") + body;
        let outcome = check_with(Kind::Request, limits(ALL), bytes.as_bytes());
        assert!(outcome.is_err(), "{body:?}: {outcome:?}");
    }
}

/// Limits hold, and hold alike however the bytes are cut.
#[test]
fn loose_heads_have_the_same_limits() {
    use Malformed::*;
    let sized = Limits { head_bytes: 300, target_bytes: 40, headers: 3, ..limits(ALL) };
    let get = |target: usize, lines: &str| {
        format!("\n\n GET  /{}\tHTTP/1.1\nHost: a\n{lines}\n", "x".repeat(target))
    };
    let long = |n: usize| format!("X: {}\n", "y".repeat(n));
    let front = get(1, "").len() + long(0).len();
    for (bytes, sin) in [
        (get(39, ""), None),
        (get(1, "X:\nX:\n"), None),
        (get(1, "X:\nX:\nX:\n"), Some(TooManyHeaders)),
        (get(1, &long(300 - front)), None),
        (get(1, &long(301 - front)), Some(HeadTooLarge)),
        ("\n".repeat(50) + &get(1, ""), None),
        ("\r\n".repeat(250) + &get(1, ""), Some(LeadingEmptyLines)),
    ] {
        let outcome = check_with(Kind::Request, sized, bytes.as_bytes());
        assert_eq!(outcome.as_ref().err().copied(), sin, "{bytes:?}: {outcome:?}");
        assert!(sin.is_some() || outcome.is_ok_and(|message| message.is_some()), "{bytes:?}");
    }
    let target = check_with(Kind::Request, sized, get(40, "").as_bytes());
    assert!(target.is_err(), "{target:?}");
}

#[test]
fn a_server_takes_what_it_is_told_to_take() {
    let server = Server::site(|http: &mut loopwork_http::Http<Site>| {
        http.config.limits.lenient = Leniency { bare_lf: true, ..Leniency::NONE };
    });
    let mut peer = server.peer();
    for piece in [100, 1] {
        for bytes in b"GET /hello HTTP/1.1\nHost: a\n\n".chunks(piece) {
            peer.send(bytes);
        }
        assert_eq!(peer.response(false).text(), (200, "hello"));
    }
    peer.send("GET  /hello HTTP/1.1\nHost: a\n\n");
    assert_eq!(peer.response(false).status, 400);
    assert_eq!(peer.rest(), "");
}
