//! Unix datagrams beside those of the network: none is lost, doubled or overtaken, and each that
//! was not sent is told to its sender, once, with whom it was for.

use crate::stage::{Stage, idle, piece};
use loopwork::sim::UNIX_QUEUE;
use loopwork::udp::Sent;
use loopwork::udp::unix::{self, Host, Io, Protocol};
use loopwork::{Env, Handle, Id};
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Letters of each client, sent in volleys of more than a queue takes.
const LETTERS: u64 = 40;
const VOLLEY: u64 = UNIX_QUEUE as u64 + 5;
/// What has not been answered is sent again after so long.
const RETRY: Duration = Duration::from_millis(3);
/// The bytes behind a letter's number at most.
const LONGEST: u64 = 300;
const ENOBUFS: i32 = 105;
const NUMBER: usize = 8;

/// What one socket has sent, and to whom: how many, and how many of them it was told of. And the
/// number of the last that came from each.
#[derive(Default)]
struct Account {
    sent: BTreeMap<PathBuf, u64>,
    refused: BTreeMap<PathBuf, u64>,
    came: BTreeMap<PathBuf, u64>,
    last: BTreeMap<PathBuf, u64>,
}

impl Account {
    /// Sends the next letter: its number, and what is behind it.
    fn send(&mut self, io: &mut Io<'_>, to: &Path, body: &[u8]) {
        let number = self.sent.entry(to.to_path_buf()).or_default();
        *number += 1;
        let letter = [&number.to_be_bytes()[..], body].concat();
        assert_eq!(io.send(to, &letter), Sent::Queued);
    }

    /// Numbers only grow: nothing comes twice, and nothing overtakes.
    fn take<'a>(&mut self, from: &Path, bytes: &'a [u8]) -> &'a [u8] {
        let (number, body) = bytes.split_at(NUMBER);
        let number = u64::from_be_bytes(number.try_into().expect("so long"));
        let last = self.last.insert(from.to_path_buf(), number).unwrap_or(0);
        assert!(number > last, "{number} of {} behind {last}", from.display());
        *self.came.entry(from.to_path_buf()).or_default() += 1;
        body
    }

    fn refuse(&mut self, to: Option<&Path>, error: &io::Error) {
        let to = to.expect("a send has failed, and no receive");
        let usual = error.kind() == ErrorKind::WouldBlock || error.raw_os_error() == Some(ENOBUFS);
        assert!(usual, "{error}: what the world has said");
        *self.refused.entry(to.to_path_buf()).or_default() += 1;
    }
}

/// Gives back what it is sent.
#[derive(Default)]
pub(crate) struct Server {
    account: Account,
    closed: u32,
}

impl Protocol for Server {
    fn on_datagram(&mut self, io: &mut Io<'_>, from: &Path, bytes: &mut [u8]) {
        let body = self.account.take(from, bytes).to_vec();
        self.account.send(io, from, &body);
    }

    fn on_error(&mut self, _: &mut Io<'_>, to: Option<&Path>, error: io::Error) {
        self.account.refuse(to, &error);
    }

    fn on_close(&mut self, _: Id, _: &mut Env) {
        self.closed += 1;
    }
}

/// Sends its letters until each has come back.
pub(crate) struct Client {
    server: PathBuf,
    /// Those that have not come back, with their bytes.
    open: BTreeMap<u64, Vec<u8>>,
    account: Account,
    closed: u32,
}

impl Client {
    /// As many as a volley takes, and another look at them later.
    fn volley(&mut self, io: &mut Io<'_>) {
        for (number, body) in self.open.iter().take(VOLLEY as usize) {
            let body = [&number.to_be_bytes()[..], body].concat();
            self.account.send(io, &self.server, &body);
        }
        let id = io.id;
        io.env.after(RETRY, move |env| env.wake(id));
    }
}

impl Protocol for Client {
    fn on_open(&mut self, io: &mut Io<'_>) {
        self.volley(io);
    }

    fn on_wake(&mut self, io: &mut Io<'_>) {
        if !self.open.is_empty() {
            self.volley(io);
        }
    }

    fn on_datagram(&mut self, _: &mut Io<'_>, from: &Path, bytes: &mut [u8]) {
        assert_eq!(from, self.server, "from a stranger");
        let (number, body) = self.account.take(from, bytes).split_at(NUMBER);
        let number = u64::from_be_bytes(number.try_into().expect("so long"));
        // An answer to what was sent again may come when another has come.
        if let Some(of) = self.open.remove(&number) {
            assert!(of == body, "another letter");
        }
    }

    fn on_error(&mut self, _: &mut Io<'_>, to: Option<&Path>, error: io::Error) {
        self.account.refuse(to, &error);
    }

    fn on_close(&mut self, _: Id, _: &mut Env) {
        self.closed += 1;
    }
}

/// A server and its clients.
pub(crate) struct Office {
    server: Handle<Host<Server>>,
    clients: Vec<(PathBuf, Handle<Host<Client>>)>,
}

const HERE: &str = "/office";

impl Office {
    pub(crate) fn new(stage: &mut Stage, clients: u32) -> Office {
        let server = unix::bind(&mut stage.lp, HERE, Server::default()).expect("a path");
        let clients = (0..clients).map(|n| {
            let mut letter = |number| {
                let len = stage.dice.next_u64() % LONGEST;
                (number, piece(n, number as usize, len as usize))
            };
            let open = (0..LETTERS).map(&mut letter).collect();
            let (account, path) = (Account::default(), PathBuf::from(format!("/client {n}")));
            let client = Client { server: HERE.into(), open, account, closed: 0 };
            (path.clone(), unix::bind(&mut stage.lp, path, client).expect("a path"))
        });
        let clients = clients.collect();
        Office { server, clients }
    }

    /// Turns until every letter has come back, closes all, and balances the accounts.
    pub(crate) fn close(self, stage: &mut Stage) {
        for (_, client) in &self.clients {
            stage.until("all letters are back", |lp| lp.get(*client).protocol.open.is_empty());
        }
        let mut accounts = Vec::new();
        // What was sent again is still on its way.
        while !idle(&mut stage.lp) {
            stage.turn();
        }
        for (path, client) in self.clients {
            unix::close(&mut stage.lp, client);
            let client = &mut stage.lp.get(client).protocol;
            assert_eq!(client.closed, 1, "closed once");
            accounts.push((path, std::mem::take(&mut client.account)));
        }
        unix::close(&mut stage.lp, self.server);
        let server = &stage.lp.get(self.server).protocol;
        assert_eq!(server.closed, 1, "closed once");
        let none = |of: &BTreeMap<PathBuf, u64>, at: &Path| of.get(at).copied().unwrap_or(0);
        for (path, client) in &accounts {
            let pairs = [
                (client, Path::new(HERE), &server.account, &**path),
                (&server.account, &**path, client, Path::new(HERE)),
            ];
            for (from, to, receiver, by) in pairs {
                let (sent, refused) = (none(&from.sent, to), none(&from.refused, to));
                let came = none(&receiver.came, by);
                let to = to.display();
                assert!(sent == refused + came, "{to}: {sent} sent, {refused} not, {came} came");
            }
        }
    }
}
