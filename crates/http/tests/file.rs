//! Bodies that are not copied: files and shared bytes, in every framing, as plain bytes would
//! arrive.

use loopwork_http::core::{Body, Request};
use loopwork_http::tcp::reactor::{Loop, Os};
use loopwork_http::tcp::{listen, unlisten};
use loopwork_http::{Answer, App, Http, Reply};
use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

const LEN: u64 = 300_000;
/// How many files there were.
static FILES: AtomicU32 = AtomicU32::new(0);

fn content() -> Vec<u8> {
    (0..LEN).map(|at| (at ^ (at >> 8)) as u8).collect()
}

/// Answers by path: `/length`, `/chunked`, `/close`, `/short`, `/long`, `/shared`, each the file
/// from 5 on.
struct Files {
    file: Arc<File>,
    shared: Arc<[u8]>,
}

impl App for Files {
    type Exchange = (Range<u64>, bool);

    fn on_request(
        &mut self,
        request: &Request<'_>,
        mut reply: Reply<'_>,
    ) -> Answer<Self::Exchange> {
        let mut left = 5..LEN;
        let length = match request.path() {
            "/chunked" => Body::Chunked,
            "/close" => Body::UntilClose,
            // More is promised than the file has.
            "/short" => Body::Length(LEN - 4),
            // Less is promised than is written.
            "/long" => Body::Length(LEN - 6),
            _ => Body::Length(LEN - 5),
        };
        reply.head(200, [("A", "b")], length).expect("a good head");
        match request.path() {
            "/short" => left.end += 1,
            "/shared" => {
                let _ = reply.body.write_shared(&self.shared);
                return reply.later((0..0, false));
            }
            _ => {}
        }
        let mut exchange = (left, length != Body::Length(LEN - 5));
        self.on_more(&mut exchange, &mut reply);
        reply.later(exchange)
    }

    fn on_more(&mut self, (left, finish): &mut Self::Exchange, reply: &mut Reply<'_>) {
        match reply.body.write_file(&self.file, left) {
            Err(_) => reply.abort(),
            Ok(_) if left.is_empty() && *finish && !reply.body.done() => reply.body.finish(),
            Ok(_) => {}
        }
    }
}

/// Sends these bytes, and everything that comes back until the end; no end within some seconds is
/// a failure.
fn ask(at: SocketAddr, request: &str) -> (Vec<u8>, bool) {
    let mut stream = TcpStream::connect(at).expect("the listener is there");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
    stream.write_all(request.as_bytes()).expect("it goes out");
    // A server that resets the connection may have done so by now.
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let mut got = Vec::new();
    let clean = stream.read_to_end(&mut got).is_ok();
    (got, clean)
}

/// What a server with the file answers.
fn exchange(request: &str) -> (Vec<u8>, bool) {
    let request = request.to_owned();
    let n = FILES.fetch_add(1, Ordering::Relaxed);
    let name = format!("loopwork-http-file-{}-{n}", std::process::id());
    let path = std::env::temp_dir().join(name);
    std::fs::write(&path, content()).expect("a scratch file");
    let file = Arc::new(File::open(&path).expect("it was written"));
    std::fs::remove_file(&path).expect("it is ours");
    let mut lp = Loop::new(Os::new().expect("a poll"));
    let app = Files { file, shared: content()[5..].into() };
    let any = "127.0.0.1:0".parse().expect("an address");
    let (host, at) = listen(&mut lp, any, Http::new(app)).expect("a port");
    let client = std::thread::spawn(move || ask(at, &request));
    let begun = Instant::now();
    while !client.is_finished() {
        assert!(begun.elapsed() < Duration::from_secs(60), "it does not end");
        lp.turn(Some(Duration::from_millis(20))).expect("a turn");
    }
    unlisten(&mut lp.env, host);
    client.join().expect("no panic")
}

fn get(path: &str) -> (String, Vec<u8>, bool) {
    let (got, clean) = exchange(&format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
    let end = got.windows(4).position(|w| w == b"\r\n\r\n").expect("a head") + 4;
    (String::from_utf8_lossy(&got[..end]).into_owned(), got[end..].to_vec(), clean)
}

#[test]
fn with_a_length_or_until_the_close_it_is_the_file() {
    for path in ["/length", "/close", "/shared"] {
        let (head, body, clean) = get(path);
        assert!(head.starts_with("HTTP/1.1 200") && clean, "{path}");
        assert_eq!(head.contains("Content-Length: 299995\r\n"), path != "/close");
        assert!(body == content()[5..], "{path}");
    }
}

#[test]
fn in_chunks_it_is_the_file() {
    let (head, mut rest, clean) = get("/chunked");
    assert!(head.contains("Transfer-Encoding: chunked\r\n") && clean);
    let mut body = Vec::new();
    loop {
        let line = rest.windows(2).position(|w| w == b"\r\n").expect("a chunk's size");
        let size = std::str::from_utf8(&rest[..line]).expect("hex");
        let size = usize::from_str_radix(size, 16).expect("hex");
        body.extend_from_slice(&rest[line + 2..line + 2 + size]);
        assert_eq!(&rest[line + 2 + size..][..2], b"\r\n");
        rest.drain(..line + 4 + size);
        if size == 0 {
            break;
        }
    }
    assert!(rest.is_empty() && body == content()[5..]);
}

#[test]
fn one_answer_follows_the_other() {
    let one = "GET /length HTTP/1.1\r\nHost: a\r\n\r\n";
    let head = "HEAD /length HTTP/1.1\r\nHost: a\r\n\r\n";
    let (got, clean) = exchange(&[one, head, one, one].concat());
    let text = String::from_utf8_lossy(&got);
    assert_eq!(text.matches("HTTP/1.1 200 OK\r\n").count(), 4);
    let heads = 4 * (text.find("\r\n\r\n").expect("a head") + 4);
    assert!(clean && got.len() == heads + 3 * (LEN as usize - 5));
    assert!(got.ends_with(&content()[5..]));
}

#[test]
fn where_head_and_file_disagree_the_connection_is_cut() {
    let (_, body, clean) = get("/short");
    assert!(!clean && body.len() < LEN as usize - 4, "the end of the file came too soon");
    let (got, clean) = exchange("GET /long HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(!clean && got.len() < LEN as usize, "more than the length");
}
