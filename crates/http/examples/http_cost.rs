//! What a GET costs a server: its user-space instructions, for a request that comes alone, with one
//! read and one write, and for one of 16 that come together.
//!
//! `cargo run --release -p loopwork-http --example http_cost` runs itself as the server, beneath
//! `valgrind --tool=callgrind`; nothing else is needed. A figure is the difference of two run
//! lengths, so that what happens once cancels out, and is the same on a busy machine. What stands
//! behind `--` goes to valgrind: with `--callgrind-out-file=FILE --dump-instr=yes` the last run's
//! profile is left there for `callgrind_annotate`.

use loopwork_http::core::{Method, Request};
use loopwork_http::tcp::listen;
use loopwork_http::tcp::reactor::{Loop, Os};
use loopwork_http::{Answer, App, Http, Reply};
use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Two run lengths, in writes of the client. By the shorter one all buffers have grown.
const WRITES: [usize; 2] = [300, 1300];

/// How long an answer may take, beneath valgrind and on a machine that has other work.
const PATIENCE: Duration = Duration::from_secs(60);

/// The least that a request can be, and one as `curl` sends it.
const REQUESTS: [(&str, &str); 2] = [
    ("minimal", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    (
        "of curl",
        "GET /index.html HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\
         User-Agent: curl/8.14.1\r\nAccept: */*\r\n\r\n",
    ),
];

const TEXT: &str = "欢迎光临\n";

/// What answers each of them, but for the date.
const ANSWER: &str = "HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\
                      Content-Type: text/plain; charset=utf-8\r\nContent-Length: 13\r\n\r\n欢迎光临\n";

struct Greeter;

impl App for Greeter {
    type Exchange = ();

    fn on_request(&mut self, request: &Request<'_>, reply: Reply<'_>) -> Answer<()> {
        if request.method == Method::Delete {
            reply.env.calls.stop();
        }
        reply.send(200, &[("Content-Type", "text/plain; charset=utf-8")], TEXT.as_bytes())
    }
}

fn serve() -> Result<(), Box<dyn Error>> {
    let mut lp = Loop::new(Os::new()?);
    let (_, at) = listen(&mut lp, "127.0.0.1:0".parse()?, Http::new(Greeter))?;
    println!("{at}");
    Ok(lp.run()?)
}

/// Asks so often, so many requests at a time, and then for the end.
fn load(server: &mut Child, request: &str, together: usize, writes: usize) -> std::io::Result<()> {
    let (mut at, out) = (String::new(), server.stdout.take());
    BufReader::new(out.ok_or(std::io::ErrorKind::BrokenPipe)?).read_line(&mut at)?;
    let mut peer = TcpStream::connect(at.trim())?;
    peer.set_nodelay(true)?;
    peer.set_read_timeout(Some(PATIENCE))?;
    let requests = request.repeat(together);
    let mut answers = vec![0; ANSWER.len() * together];
    for _ in 0..writes {
        peer.write_all(requests.as_bytes())?;
        peer.read_exact(&mut answers)?;
        assert!(answers.starts_with(b"HTTP/1.1 200 OK\r\n") && answers.ends_with(TEXT.as_bytes()));
    }
    peer.write_all(b"DELETE / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")?;
    peer.read_to_end(&mut answers)?;
    Ok(())
}

/// Instructions of a server from its beginning to its end, with this load.
fn instructions(request: &str, together: usize, writes: usize) -> Result<u64, Box<dyn Error>> {
    let mut tool = Command::new("valgrind");
    tool.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    tool.args(std::env::args().skip(1)).arg(std::env::current_exe()?).arg("serve");
    let mut server = tool.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    if let Err(why) = load(&mut server, request, together, writes) {
        server.kill()?;
        server.wait()?;
        return Err(why.into());
    }
    let said = String::from_utf8(server.wait_with_output()?.stderr)?;
    let total = said.lines().find_map(|line| line.split_once("Collected : "));
    Ok(total.ok_or("callgrind gave no total")?.1.trim().parse()?)
}

fn main() -> Result<(), Box<dyn Error>> {
    if std::env::args().nth(1).is_some_and(|first| first == "serve") {
        return serve();
    }
    for (name, request) in REQUESTS {
        for together in [1, 16] {
            let [short, long] = WRITES.map(|writes| instructions(request, together, writes));
            let requests = (WRITES[1] - WRITES[0]) * together;
            let each = (long?.saturating_sub(short?)) as f64 / requests as f64;
            println!("a GET {name}, {together:2} together: {each:6.0} instructions");
        }
    }
    Ok(())
}
