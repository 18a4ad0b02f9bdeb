//! Limits and deadlines of a server. Rule: every one has its reason beside it.

use crate::core::Limits;
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
    /// Between two requests, and before the first: 60 s, long enough for a reader of the page.
    pub keep_alive: Duration,
    /// Without one byte taken of a response that waits: 30 s.
    pub write_timeout: Duration,
    /// For the peer's end after ours: 5 s, some round trips and a retransmission.
    pub linger: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            limits: Limits::default(),
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(300),
            keep_alive: Duration::from_secs(60),
            write_timeout: Duration::from_secs(30),
            linger: Duration::from_secs(5),
        }
    }
}

impl Config {
    /// How long an exchange may wait: for its body, or without one for its reader.
    pub(crate) fn exchange(&self, whole: bool) -> Duration {
        if whole { self.write_timeout } else { self.body_timeout }
    }
}
