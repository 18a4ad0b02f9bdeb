//! Limits and deadlines of a server. Rule: every one has its reason beside it.

use crate::core::Limits;
use loopwork_tcp::BlockList;
use std::time::Duration;

/// Limits and deadlines of a server.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Of heads and bodies.
    pub limits: Limits,
    /// From a head's first byte to its last: 10 s. A head is one packet or two; who takes longer
    /// holds a connection for nothing.
    pub head_timeout: Duration,
    /// From a head's end to its body's end: 300 s, as Node's `requestTimeout`.
    pub body_timeout: Duration,
    /// Bytes a second that a body has to come with, on the average of a window: 240, a tenth of
    /// what any link brings that carries HTTP; 0 asks for nothing. A window in which we did not
    /// read does not count.
    pub upload_rate: u64,
    /// The window of [`upload_rate`](Self::upload_rate): 10 s, for a packet may be lost
    /// three times in a row and be sent again in that time.
    pub rate_window: Duration,
    /// Between two requests, and before the first: 60 s, long enough for a reader of the page.
    pub keep_alive: Duration,
    /// Without one byte taken of a response that waits: 30 s.
    pub write_timeout: Duration,
    /// Bytes a second that have to be taken of a response, on the average of a
    /// [`write_timeout`](Self::write_timeout) in which some of it always waited: 240, as of a
    /// body; 0 asks for no more than one byte.
    pub download_rate: u64,
    /// For the peer's end after ours: 5 s, some round trips and a retransmission.
    pub linger: Duration,
    /// Requests on one connection; the last one's answer says `Connection: close`. As many as
    /// come, as Node: behind a balancer a smaller number spreads clients over its servers anew.
    pub requests: u32,
    /// Who speaks the PROXY protocol, version 1 or 2: a connection from one of these has to begin
    /// with it, and counts as that client's ([`Reply::peer`](crate::Reply::peer)); one that does
    /// not is cut off. From everyone else it is no request. Nobody, as it is: whoever is in here
    /// can say that it is anyone.
    pub proxies: BlockList,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            limits: Limits::default(),
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(300),
            upload_rate: 240,
            rate_window: Duration::from_secs(10),
            keep_alive: Duration::from_secs(60),
            write_timeout: Duration::from_secs(30),
            download_rate: 240,
            linger: Duration::from_secs(5),
            requests: u32::MAX,
            proxies: BlockList::new(),
        }
    }
}
