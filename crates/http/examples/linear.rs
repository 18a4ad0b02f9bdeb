//! Is the work linear? The user-space instructions of parsing heads, pipelines, chunks, extensions
//! and trailers of one size and of twice that size, whole and in pieces.
//!
//! `cargo run --release -p loopwork-http --example linear` runs itself beneath
//! `valgrind --tool=callgrind`, prints a table, and fails if anything takes more than 2.1 times as
//! many for twice as much. A figure is what a run takes beyond one that parses nothing.

use loopwork_http::core::{
    Body, Decoder, Fields, Limits, Progress, Step, parse_request, parse_trailers,
};
use std::error::Error;
use std::process::Command;

/// Something that may grow: how messages of `n` parts are made, and the `n` of the smaller one.
type Kind = (&'static str, fn(usize) -> String, usize);

const KINDS: [Kind; 9] = [
    (
        "header lines",
        |n| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(n)),
        2000,
    ),
    (
        "a long value",
        |n| format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "y".repeat(n)),
        9000,
    ),
    ("a long target", |n| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "y".repeat(n)), 9000),
    ("a pipeline", |n| "GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(n), 1000),
    ("chunks", |n| chunked(&("1\r\nx\r\n".repeat(n) + "0\r\n\r\n")), 3000),
    ("extensions", |n| chunked(&format!("1{}\r\nx\r\n0\r\n\r\n", ";a=b".repeat(n))), 3000),
    ("a long extension", |n| chunked(&format!("1;{}\r\nx\r\n0\r\n\r\n", "a".repeat(n))), 9000),
    ("trailers", |n| chunked(&format!("0\r\n{}\r\n", "X: y\r\n".repeat(n))), 2000),
    ("a long trailer", |n| chunked(&format!("0\r\nX: {}\r\n\r\n", "y".repeat(n))), 9000),
];

/// Bytes that come at a time.
const PIECES: [usize; 4] = [1, 64, 1460, usize::MAX];

/// Times as many instructions that twice as much may take.
const MOST: f64 = 2.1;

fn chunked(body: &str) -> String {
    format!("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}")
}

fn limits() -> Limits {
    let wide = u32::MAX >> 1;
    Limits {
        head_bytes: wide,
        target_bytes: wide,
        headers: wide,
        extension_bytes: wide,
        small_chunks: wide,
        trailer_bytes: wide,
        ..Limits::default()
    }
}

/// Parses all messages of these bytes, as they come.
fn parse(bytes: &[u8], piece: usize) -> Result<(), Box<dyn Error>> {
    let (limits, mut seen, mut fields) = (limits(), Progress::new(), Fields::new());
    let (mut at, mut end, mut body) = (0, 0, None::<Decoder>);
    while end < bytes.len() {
        end = end.saturating_add(piece).min(bytes.len());
        while at < end {
            let Some(decoder) = &mut body else {
                let parsed = parse_request(&bytes[at..end], &mut seen, &mut fields, &limits)?;
                let Some((request, used)) = parsed else { break };
                at += used;
                let framing = request.framing()?;
                let has_body = framing.body != Body::None;
                body = has_body.then(|| Decoder::new(framing.body, &limits)).transpose()?;
                continue;
            };
            match decoder.next(&bytes[at..end], &limits)? {
                Step::More { skip } => {
                    at += skip;
                    break;
                }
                Step::Data { skip, len } => {
                    at += skip + len;
                    decoder.consume(len);
                }
                Step::End { skip, trailers } => {
                    parse_trailers(&bytes[at..end][trailers], &mut fields, &limits)?;
                    at += skip;
                    body = None;
                }
            }
        }
    }
    if at == bytes.len() && body.is_none() { Ok(()) } else { Err("not all was parsed".into()) }
}

/// Instructions of a process that makes these messages, and parses them or does not.
fn instructions(kind: usize, n: usize, piece: usize, does: &str) -> Result<u64, Box<dyn Error>> {
    let mut tool = Command::new("valgrind");
    tool.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    tool.arg(std::env::current_exe()?).arg(does);
    let ran = tool.args([kind, n, piece].map(|n| n.to_string())).output()?;
    let said = String::from_utf8_lossy(&ran.stderr);
    if !ran.status.success() {
        return Err(said.into());
    }
    let total = said.lines().find_map(|line| line.split_once("Collected : "));
    Ok(total.ok_or("callgrind gave no total")?.1.trim().parse()?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [does, kind, n, piece] = &args[..] {
        let bytes = KINDS[kind.parse::<usize>()?].1(n.parse()?);
        return if does == "parse" { parse(bytes.as_bytes(), piece.parse()?) } else { Ok(()) };
    }
    println!(
        "| of | bytes at a time | instructions | for twice as much | times |\n|---|---|---|---|---|"
    );
    let mut worst = 0f64;
    for (kind, (name, _, n)) in KINDS.iter().enumerate() {
        for piece in PIECES {
            let cost = |n| -> Result<u64, Box<dyn Error>> {
                let with = instructions(kind, n, piece, "parse")?;
                Ok(with.saturating_sub(instructions(kind, n, piece, "make")?))
            };
            let (once, twice) = (cost(*n)?, cost(2 * n)?);
            assert!(once > 0, "the tool counts");
            let times = twice as f64 / once as f64;
            worst = worst.max(times);
            let at_a_time = if piece == usize::MAX { "all".into() } else { piece.to_string() };
            println!("| {name} | {at_a_time} | {once} | {twice} | {times:.2} |");
        }
    }
    if worst > MOST { Err(format!("{worst:.2} is more than {MOST}").into()) } else { Ok(()) }
}
