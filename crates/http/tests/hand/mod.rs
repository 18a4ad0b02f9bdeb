//! What the tests of the client over real sockets share: servers by hand, and a client in a loop.
#![allow(dead_code, reason = "each test file uses its part")]

use crate::asker::{Asker, Job, add, ask, finish};
use crate::peer::Peer;
use loopwork_http::client::{Client, Config};
use loopwork_http::tcp::reactor::{Address, Handle, Loop, Os};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A server by hand: `play` is given each connection and its number.
pub(crate) struct Hand {
    pub(crate) at: Address,
    pub(crate) accepted: Arc<AtomicUsize>,
}

pub(crate) fn hand(play: impl Fn(usize, Peer) + Send + Sync + 'static) -> Hand {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = Address::Ip(listener.local_addr().unwrap());
    let accepted = Arc::new(AtomicUsize::new(0));
    let (count, play) = (accepted.clone(), Arc::new(play));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (n, play) = (count.fetch_add(1, Ordering::SeqCst), play.clone());
            std::thread::spawn(move || play(n, Peer::of(stream)));
        }
    });
    Hand { at, accepted }
}

pub(crate) struct Bench {
    pub(crate) lp: Loop<Os>,
    pub(crate) asker: Handle<Asker>,
    pub(crate) to: Address,
}

impl Bench {
    pub(crate) fn new(to: Address, set: impl FnOnce(&mut Config)) -> Bench {
        let mut lp = Loop::new(Os::new().unwrap());
        let mut config = Config::default();
        set(&mut config);
        let client = Client::with_config(&mut lp, config);
        let asker = add(&mut lp, client);
        Bench { lp, asker, to }
    }

    pub(crate) fn begin(&mut self, job: Job) -> usize {
        ask(&mut self.lp, self.asker, &self.to, job)
    }

    /// One job from its begin to its end.
    pub(crate) fn run(&mut self, job: Job) -> &Job {
        let n = self.begin(job);
        finish(&mut self.lp, self.asker);
        self.job(n)
    }

    pub(crate) fn job(&mut self, n: usize) -> &mut Job {
        &mut self.lp.get(self.asker).jobs[n]
    }
}

/// Answers every request of every connection with the same bytes, and keeps the connection.
pub(crate) fn always(answer: &'static [u8]) -> Hand {
    hand(move |_, mut peer| {
        while peer.heard() {
            peer.send(answer);
        }
    })
}
