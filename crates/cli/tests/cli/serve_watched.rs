//! `serve` that is watched: its log, its counters, its health; on several threads, on a socket
//! that it was given, and under load when it is told to end.

use crate::harness::*;
use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

fn folder() -> Folder {
    let folder = Folder::new();
    std::fs::write(folder.path().join("a.txt"), "hello").unwrap();
    std::fs::write(folder.path().join("big"), vec![7; 3 << 20]).unwrap();
    folder
}

fn serve(folder: &Folder, args: &[&str]) -> (Run, SocketAddr) {
    let dir = folder.path().to_str().unwrap();
    let run = start(&[&["serve", dir, "-p", "0"], args].concat());
    let at = run.listening("http");
    (run, at)
}

/// Ends it in order; all that it wrote behind its first line.
fn log_of(run: Run) -> Vec<String> {
    run.signal("TERM");
    let ended = run.ended();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    ended.text().lines().skip(1).map(str::to_owned).collect()
}

#[test]
fn each_request_is_a_line() {
    let folder = folder();
    let (run, at) = serve(&folder, &["--access-log"]);
    let agent = ["User-Agent: a\"b", "Referer: http://x/"];
    assert!(ask(at, "GET /a.txt?q=1", &agent).0.starts_with("HTTP/1.1 200"));
    assert!(ask(at, "GET /no", &[]).0.starts_with("HTTP/1.1 404"));
    assert!(ask(at, "HEAD /a.txt", &[]).0.starts_with("HTTP/1.1 200"));
    assert_eq!(ask(at, "GET /big", &[]).1.len(), 3 << 20);
    let lines = log_of(run);
    assert_eq!(lines.len(), 4, "{lines:?}");
    let (front, back) = lines[0].split_once(']').unwrap();
    assert!(front.starts_with("127.0.0.1 - - ["), "{front}");
    assert!(front.ends_with(" +0000"), "{front}");
    assert_eq!(back, " \"GET /a.txt?q=1 HTTP/1.1\" 200 5 \"http://x/\" \"a\\x22b\"");
    assert!(lines[1].contains("\"GET /no HTTP/1.1\" 404 "), "{lines:?}");
    assert!(lines[2].ends_with("\"HEAD /a.txt HTTP/1.1\" 200 0 \"-\" \"-\""), "{lines:?}");
    assert!(lines[3].contains("\"GET /big HTTP/1.1\" 200 3145728 "), "{lines:?}");
}

#[test]
fn a_line_may_be_an_object() {
    let folder = folder();
    let (run, at) = serve(&folder, &["--access-log=json"]);
    ask(at, "GET /a.txt", &["User-Agent: \"\u{1f600}"]);
    let lines = log_of(run);
    assert_eq!(lines.len(), 1, "{lines:?}");
    for part in [
        "{\"schema_version\":1,\"time\":",
        "\"peer\":\"127.0.0.1:",
        "\"method\":\"GET\",\"target\":\"/a.txt\",\"version\":\"1.1\",\"status\":200,\"bytes\":5,",
        "\"cut\":false,\"referer\":\"\",\"user_agent\":\"\\\"\u{1f600}\"}",
    ] {
        assert!(lines[0].contains(part), "{part} in {lines:?}");
    }
}

#[test]
fn counters_and_health_are_told_where_they_are_asked_for() {
    let folder = folder();
    let (_run, at) = serve(&folder, &["--metrics", "--health"]);
    assert_eq!(ask(at, "GET /health", &[]).1, b"ok\n");
    ask(at, "GET /a.txt", &[]);
    ask(at, "GET /no", &[]);
    assert!(exchange(at, b"no request\r\n\r\n").starts_with(b"HTTP/1.1 400 "));
    let (head, body) = ask(at, "GET /metrics", &[]);
    assert!(head.contains("Content-Type: text/plain; version=0.0.4"), "{head}");
    let text = String::from_utf8(body).unwrap();
    for line in [
        "loopwork_http_responses_total{code=\"2xx\"} 2\n",
        "loopwork_http_responses_total{code=\"4xx\"} 1\n",
        "loopwork_http_requests_in_flight 1\n",
        "loopwork_http_malformed_total 1\n",
        "loopwork_http_request_duration_seconds_bucket{le=\"+Inf\"} 3\n",
        "loopwork_http_request_duration_seconds_count 3\n",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    assert!(text.lines().all(|l| l.starts_with("# ") || l.split(' ').count() == 2), "{text}");
    assert!(ask(at, "POST /health", &[]).0.starts_with("HTTP/1.1 405"));
    let (_plain, at) = serve(&folder, &[]);
    for path in ["GET /metrics", "GET /health"] {
        assert!(ask(at, path, &[]).0.starts_with("HTTP/1.1 404"), "{path}");
    }
}

#[test]
fn several_threads_answer_on_one_port() {
    let folder = folder();
    let (run, at) = serve(&folder, &["--threads", "4", "--access-log", "--metrics"]);
    let tasks = format!("/proc/{}/task", run.child.id());
    let names: HashSet<String> = std::fs::read_dir(tasks)
        .unwrap()
        .filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).ok())
        .collect();
    for name in ["loopwork-0\n", "loopwork-1\n", "loopwork-2\n"] {
        assert!(names.contains(name), "{names:?}");
    }
    for _ in 0..64 {
        assert_eq!(ask(at, "GET /a.txt", &[]).1, b"hello");
    }
    let text = String::from_utf8(ask(at, "GET /metrics", &[]).1).unwrap();
    assert!(text.contains("responses_total{code=\"2xx\"} 64\n"), "{text}");
    assert_eq!(log_of(run).len(), 65);
}

#[test]
fn a_socket_that_was_given_is_served() {
    let folder = folder();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    // The shell puts the socket where the protocol has it, and its own number where it belongs.
    let script = "export LISTEN_PID=$$ LISTEN_FDS=1; exec \"$0\" serve \"$1\" --threads 2 3<&0";
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", script, env!("CARGO_BIN_EXE_loopwork"), folder.path().to_str().unwrap()]);
    shell.stdin(std::process::Stdio::from(std::os::fd::OwnedFd::from(listener)));
    shell.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let mut child = shell.spawn().unwrap();
    assert_eq!(ask(at, "GET /a.txt", &[]).1, b"hello");
    let id = child.id().to_string();
    assert!(
        std::process::Command::new("kill").args(["-s", "TERM", &id]).status().unwrap().success()
    );
    let ended = child.wait().unwrap();
    assert!(ended.success(), "{ended:?}");
}

/// Asks on connections that are kept, one request after the other, until the server ends them.
/// Nothing that was sent whole on a connection that still stood may be left without an answer, but
/// where the server had closed it before: there not one byte comes.
fn load(at: SocketAddr, stop: &AtomicBool, answers: &AtomicUsize) {
    while !stop.load(Ordering::SeqCst) {
        let Ok(mut stream) = TcpStream::connect(at) else { return };
        stream.set_read_timeout(Some(WAIT)).unwrap();
        loop {
            if stream.write_all(b"GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n").is_err() {
                break;
            }
            let (mut got, mut bytes) = (Vec::new(), [0; 4096]);
            while !got.ends_with(b"\r\n\r\nhello") {
                match stream.read(&mut bytes) {
                    Ok(n) if n > 0 => got.extend_from_slice(&bytes[..n]),
                    ended => {
                        let whole = String::from_utf8_lossy(&got).into_owned();
                        assert!(got.is_empty(), "half an answer: {ended:?} behind {whole:?}");
                        break;
                    }
                }
            }
            if got.is_empty() {
                break;
            }
            answers.fetch_add(1, Ordering::SeqCst);
            if String::from_utf8_lossy(&got).contains("Connection: close") {
                break;
            }
        }
    }
}

#[test]
fn an_end_under_load_cuts_no_answer() {
    let folder = folder();
    for threads in ["1", "3"] {
        let (run, at) = serve(&folder, &["--threads", threads, "--access-log"]);
        let (stop, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let clients: Vec<_> = (0..8)
            .map(|_| {
                let (stop, answers) = (stop.clone(), answers.clone());
                std::thread::spawn(move || load(at, &stop, &answers))
            })
            .collect();
        std::thread::sleep(Duration::from_millis(150));
        let lines = log_of(run).len();
        stop.store(true, Ordering::SeqCst);
        clients.into_iter().for_each(|client| client.join().expect("no half answer"));
        // What was answered was received, each once: nothing is in the log that was lost.
        assert_eq!(lines, answers.load(Ordering::SeqCst), "{threads} threads");
    }
}
