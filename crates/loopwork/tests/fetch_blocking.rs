//! Fetching from `main`, over the loopback: the servers are threads, each with a loop. Every wait
//! is bounded by the deadlines of the client.

mod fetch_support;

use fetch_support::{Log, Redirect, Seen, Site};
use loopwork::fetch::Error;
use loopwork::http::Http;
use loopwork::http::client::Failure;
use loopwork::reactor::Mailbox;
use loopwork::{Fetch, Loop, Os, http_get, tcp};
use std::io::{self, BufRead, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// A server in a thread; dropped, it ends.
struct Server {
    at: SocketAddr,
    mailbox: Mailbox,
    seen: Option<JoinHandle<Vec<Seen>>>,
}

impl Server {
    fn start(redirects: Vec<Redirect>) -> Server {
        let (tell, told) = mpsc::channel();
        let seen = thread::spawn(move || {
            let log = Log::default();
            let mut lp = Loop::new(Os::new().unwrap());
            let site = Site { name: "a", redirects, log: log.clone() };
            let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
            let (_, at) = tcp::listen(&mut lp, any, Http::new(site)).unwrap();
            tell.send((at, lp.mailbox().unwrap())).unwrap();
            lp.run().unwrap();
            log.take()
        });
        let (at, mailbox) = told.recv().unwrap();
        Server { at, mailbox, seen: Some(seen) }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.at)
    }

    /// Ends it; what it was asked.
    fn seen(mut self) -> Vec<Seen> {
        self.mailbox.stop();
        self.seen.take().unwrap().join().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.mailbox.stop();
    }
}

/// Reads the head of a request, so that a close behind the answer is no reset.
fn read_head(stream: &mut TcpStream) {
    let mut head = Vec::new();
    let mut some = [0; 4096];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut some) {
            Ok(n) if n > 0 => head.extend_from_slice(&some[..n]),
            // As when the process was stopped, and goes on.
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            _ => return,
        }
    }
}

/// A server that takes one connection, reads a request, says this, and closes.
fn says(answer: &'static [u8]) -> String {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = server.local_addr().unwrap();
    thread::spawn(move || {
        let (mut stream, _) = server.accept().unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        read_head(&mut stream);
        let _ = stream.write_all(answer);
    });
    format!("http://{at}/")
}

#[test]
fn a_page_in_one_line() {
    let server = Server::start(vec![("a/r", 302, "/there")]);
    let page = http_get(&server.url("/r")).unwrap();
    assert_eq!((page.head.status, &*page.text(), page.redirects), (200, "GET /there", 1));
    let page = http_get(&server.url("/missing")).unwrap();
    assert_eq!((page.head.status, page.head.headers.text("x-a")), (404, Some("b")));
    let page = Fetch::post(&server.url("/p"), "body").header("A", "b").wait().unwrap();
    assert_eq!(page.text(), "POST /p");
    let seen = server.seen();
    assert_eq!(seen.len(), 4);
    assert_eq!((&seen[3].body[..], seen[3].header("A")), (&b"body"[..], Some("b")));
}

#[test]
fn a_long_body_is_read_as_it_comes() {
    let server = Server::start(Vec::new());
    let mut answer = Fetch::get(&server.url("/blob?5000000")).open().unwrap();
    assert_eq!(answer.head.headers.text("Content-Length"), Some("5000000"));
    let mut some = [0; 10];
    answer.read_exact(&mut some).unwrap();
    assert_eq!(&some, b"xxxxxxxxxx");
    assert!(answer.fill_buf().unwrap().len() < 500_000, "bounded by the client's pipe");
    assert_eq!(io::copy(&mut answer, &mut io::sink()).unwrap(), 5_000_000 - 10);
    assert_eq!(answer.read(&mut some).unwrap(), 0);
    // Dropped in the middle, it lets go.
    let mut answer = Fetch::get(&server.url("/blob?5000000")).open().unwrap();
    answer.read_exact(&mut some).unwrap();
    drop(answer);
    let long = Fetch::get(&server.url("/blob?5000000")).limit(4_999_999).wait();
    assert!(matches!(long, Err(Error::TooLong(4_999_999))));
    let whole = Fetch::get(&server.url("/blob?5000000")).wait().unwrap();
    assert_eq!(whole.body.len(), 5_000_000);
}

#[test]
fn who_drops_a_download_ends_it() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = server.local_addr().unwrap();
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        let (mut stream, _) = server.accept().unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(30))).unwrap();
        read_head(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        let error = loop {
            if let Err(error) = stream.write_all(&[b'x'; 65536]) {
                break error.kind();
            }
        };
        tell.send(error).unwrap();
    });
    let mut answer = Fetch::get(&format!("http://{at}/")).open().unwrap();
    answer.read_exact(&mut [0; 100_000]).unwrap();
    drop(answer);
    let error = told.recv_timeout(Duration::from_secs(60)).unwrap();
    assert!(matches!(error, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{error}");
}

/// Gives so many bytes, and then fails or ends.
struct Source(usize, bool);

impl Read for Source {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.0 == 0 && self.1 {
            return Err(io::Error::other("the disk is gone"));
        }
        let n = into.len().min(self.0).min(10_000);
        into[..n].fill(b'y');
        self.0 -= n;
        Ok(n)
    }
}

#[test]
fn a_reader_is_sent() {
    let server = Server::start(Vec::new());
    let chunked = Fetch::new("PUT", &server.url("/up"));
    for fetch in [chunked.clone(), chunked.stream(Some(3_000_000))] {
        let page = fetch.send(Source(3_000_000, false)).unwrap().whole().unwrap();
        assert_eq!(page.text(), "PUT /up");
    }
    let broken = Fetch::new("PUT", &server.url("/up")).stream(None).send(Source(50_000, true));
    let error = broken.unwrap_err();
    assert!(matches!(error, Error::Source(_)), "{error}");
    assert!(error.to_string().ends_with("the disk is gone"));
    let short = Fetch::new("PUT", &server.url("/up")).stream(Some(9)).send(Source(8, false));
    let closed = matches!(short, Err(Error::Exchange { why: Failure::Closed, .. }));
    assert!(closed, "{short:?}");
    let seen = server.seen();
    assert_eq!(seen.len(), 2);
    assert!(seen.iter().all(|seen| seen.body.len() == 3_000_000));
    assert_eq!(seen[0].header("Transfer-Encoding"), Some("chunked"));
    assert_eq!(seen[1].header("Content-Length"), Some("3000000"));
}

#[test]
fn what_breaks_is_told() {
    // An address of the loopback that nobody uses, at a port that nobody may.
    let error = http_get("http://127.1.2.3:1/").unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error}");
    assert!(error.to_string().contains("127.1.2.3:1"));
    let failed = |answer| match http_get(&says(answer)) {
        Err(Error::Exchange { why, .. }) => why,
        other => panic!("{other:?}"),
    };
    assert_eq!(failed(b""), Failure::Closed);
    assert!(matches!(failed(b"SSH-2.0-x\r\n"), Failure::Malformed(_)));
    assert_eq!(failed(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort"), Failure::Closed);
    // What came before is there, and then the error, once.
    let text = says(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort");
    let mut answer = Fetch::get(&text).open().unwrap();
    let mut got = Vec::new();
    let error = answer.read_to_end(&mut got).unwrap_err();
    assert_eq!(got, b"short");
    assert!(error.get_ref().unwrap().is::<Error>(), "{error}");
    assert_eq!(answer.read(&mut [0; 9]).unwrap(), 0);
    assert!(matches!(http_get(""), Err(Error::Url(_))));
}

#[test]
fn trailers_and_interim_answers() {
    let page = http_get(&says(
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n\
        Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 7\r\n\r\n",
    ));
    let page = page.unwrap();
    assert_eq!((&*page.text(), page.trailers.text("x-sum")), ("hello", Some("7")));
}

#[test]
fn no_longer_than_it_may_take() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = server.local_addr().unwrap();
    // Nobody accepts; the kernel does, and nothing is answered.
    let fetch = Fetch::get(&format!("http://{at}/")).timeout(Duration::from_millis(100));
    assert!(matches!(fetch.wait(), Err(Error::TimedOut)));
}
