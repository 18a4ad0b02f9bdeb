//! A directory, a server for it in a thread, and a plain client.
//!
//! Rule: every wait ends, and what is started ends with the test.

#![allow(dead_code)]

use loopwork_files::Files;
use loopwork_files::http::tcp::listen;
use loopwork_files::http::tcp::reactor::{Loop, Mailbox, Os};
use loopwork_files::http::{App, Http};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

/// The longest that anything may take, on the slowest machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A directory of its own, gone with the test.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Folder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::SeqCst);
        let path = std::env::temp_dir().join(format!("loopwork-files-{}-{n}", std::process::id()));
        std::fs::create_dir(&path).expect("a new folder");
        Folder(path.canonicalize().expect("it is there"))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file that was changed an hour ago.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().expect("the folder")).expect("a folder");
        std::fs::write(&path, bytes).expect("a file");
        changed(&path, 3600);
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Makes it so that a file was changed so many seconds ago.
pub(crate) fn changed(path: &Path, ago: u64) {
    let file = std::fs::File::options().write(true).open(path).expect("a file");
    file.set_modified(SystemTime::now() - Duration::from_secs(ago)).expect("a date");
}

/// A server in a thread.
pub(crate) struct Server {
    pub(crate) at: SocketAddr,
    mailbox: Mailbox,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn new(folder: &Folder) -> Server {
        Server::with(folder, |files| files)
    }

    pub(crate) fn with(
        folder: &Folder,
        set: impl FnOnce(Files) -> Files + Send + 'static,
    ) -> Server {
        let root = folder.path().to_path_buf();
        Server::of(move || set(Files::new(root).expect("a folder")))
    }

    pub(crate) fn of<A: App>(make: impl FnOnce() -> A + Send + 'static) -> Server {
        let (tell, told) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let mut lp = Loop::new(Os::new().expect("a poll"));
            let any = "127.0.0.1:0".parse().expect("an address");
            let (_, at) = listen(&mut lp, any, Http::new(make())).expect("a port");
            tell.send((at, lp.mailbox().expect("a mailbox"))).expect("the test waits");
            lp.run().expect("no error of the loop");
        });
        let (at, mailbox) = told.recv_timeout(PATIENCE).expect("the server runs");
        Server { at, mailbox, thread: Some(thread) }
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.at).expect("the listener is there");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        stream
    }

    /// One request, `GET /a` say, on a connection of its own.
    pub(crate) fn ask(&self, first: &str, headers: &[&str]) -> Got {
        let mut stream = self.connect();
        let mut text = format!("{first} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n");
        for header in headers {
            text.push_str(header);
            text.push_str("\r\n");
        }
        stream.write_all((text + "\r\n").as_bytes()).expect("it goes out");
        let mut all = Vec::new();
        stream.read_to_end(&mut all).expect("an end in order");
        Got::of(&all)
    }

    pub(crate) fn get(&self, path: &str) -> Got {
        self.ask(&format!("GET {path}"), &[])
    }

    pub(crate) fn status(&self, path: &str) -> u16 {
        self.get(path).status
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.mailbox.stop();
        if let Some(thread) = self.thread.take()
            && let Err(panic) = thread.join()
            && !std::thread::panicking()
        {
            std::panic::resume_unwind(panic);
        }
    }
}

/// A response.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Got {
    fn of(all: &[u8]) -> Got {
        let end = all.windows(4).position(|w| w == b"\r\n\r\n").expect("a head") + 4;
        let head = String::from_utf8(all[..end].to_vec()).expect("text");
        let status = head[9..12].parse().expect("a status");
        Got { status, head, body: all[end..].to_vec() }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    pub(crate) fn text(&self) -> (u16, &str) {
        (self.status, std::str::from_utf8(&self.body).expect("text"))
    }
}
