//! A server as a process: started, watched, and ended with its value.

use crate::servers::Service;
use crate::sys;
use std::fs;
use std::io::{self, BufRead, BufReader};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A server that does not listen by then has failed: behind a tool it begins slowly.
const BEGUN: Duration = Duration::from_secs(20);

/// A server process; ended with its value.
pub(crate) struct Server {
    child: Child,
    /// Where it listens, on loopback.
    pub(crate) port: u16,
}

impl Server {
    /// Starts a server of this program on the first core.
    pub(crate) fn start(name: &str, service: Service) -> io::Result<Server> {
        Server::behind(&[], name, service)
    }

    /// Starts a server behind a tool: a program and its arguments.
    pub(crate) fn behind(tool: &[&str], name: &str, service: Service) -> io::Result<Server> {
        Server::of(tool, &["server", name, service.name(), "0"])
    }

    /// Starts this program with these words, which make it a server, behind a tool if one is given.
    pub(crate) fn of(tool: &[&str], words: &[&str]) -> io::Result<Server> {
        let me = std::env::current_exe()?;
        let mut command = match tool {
            [] => Command::new(&me),
            [program, args @ ..] => {
                let mut command = Command::new(program);
                command.args(args).arg(&me);
                command
            }
        };
        command.args(words);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let mut line = String::new();
        if let Some(out) = child.stdout.take() {
            BufReader::new(out).read_line(&mut line)?;
        }
        match line.trim().parse() {
            Ok(port) => Ok(Server { child, port }),
            Err(_) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(io::Error::other("the server did not start"))
            }
        }
    }

    /// As [`of`](Self::of), and waits until it listens: some tell their port before that.
    pub(crate) fn listening(tool: &[&str], words: &[&str]) -> io::Result<Server> {
        let server = Server::of(tool, words)?;
        let asked = Instant::now();
        while let Err(e) = TcpStream::connect(("127.0.0.1", server.port)) {
            if asked.elapsed() > BEGUN {
                return Err(e);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(server)
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Bytes of memory that are its own and in use.
    pub(crate) fn resident(&self) -> io::Result<u64> {
        resident(self.child.id())
    }

    /// Nanoseconds on a core so far, in user space and in the kernel, of all its threads.
    pub(crate) fn cpu(&self) -> io::Result<u64> {
        let mut total = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let text = fs::read_to_string(task?.path().join("schedstat"))?;
            let first = text.split(' ').next().unwrap_or_default();
            total += first.parse::<u64>().map_err(io::Error::other)?;
        }
        Ok(total)
    }

    /// Ends a server behind a tool so that the tool has time to write down what it saw.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        let pid = self.child.id();
        // Behind strace the server is its child; valgrind is the server itself.
        let below = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
        let mut below = below.split_whitespace().filter_map(|pid| pid.parse().ok());
        sys::terminate(below.next().unwrap_or(pid));
        self.child.wait().map(drop)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Bytes of a process's memory that are its own and in use.
pub(crate) fn resident(pid: u32) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = text.lines().find_map(|l| l.strip_prefix("Anonymous:"));
    let kib = line.and_then(|l| l.trim().split(' ').next()).and_then(|n| n.parse::<u64>().ok());
    kib.map(|n| n * 1024).ok_or_else(|| io::Error::other("the kernel does not tell"))
}
