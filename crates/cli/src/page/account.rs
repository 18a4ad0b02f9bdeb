//! The kernel's own account of the page's first connection: its two ends, and TCP's state whenever
//! that was read.
//!
//! Rule: it is read between two turns, once each; what came and went within one is not in it.

use loopwork::http::client::Client;
use loopwork::reactor::{Address, Handle, TcpState};
use loopwork::tcp::{self, Host};
use loopwork::{Id, Instant, Loop, Os, Secure, World};
use std::net::SocketAddr;

/// What was read.
pub(super) struct Account {
    client: Client,
    secure: Handle<Host<Secure>>,
    /// The connection, once it is dialed.
    id: Option<Id>,
    /// Our address and the server's, once they are known.
    pub(super) ends: Option<(SocketAddr, SocketAddr)>,
    /// Each state, and when it was first read.
    pub(super) states: Vec<(Instant, TcpState)>,
}

impl Account {
    pub(super) fn new(client: Client, secure: Handle<Host<Secure>>) -> Account {
        Account { client, secure, id: None, ends: None, states: Vec::new() }
    }

    /// Of this connection, and of no other.
    pub(super) fn is_of(&self, id: Id) -> bool {
        self.id == Some(id)
    }

    /// Reads the account.
    pub(super) fn look(&mut self, lp: &mut Loop<Os>) {
        let Some(plain) = self.client.host(&mut lp.env) else { return };
        let of = |id: &Id| id.driver == plain.driver || id.driver == self.secure.driver;
        let first =
            || lp.sources().into_iter().map(|(id, _)| id).filter(of).min_by_key(|id| id.birth);
        let Some(id) = self.id.or_else(first) else { return };
        self.id = Some(id);
        let (info, ends) = match id.driver == plain.driver {
            true => (tcp::info(lp, plain, id), tcp::addresses(lp, plain, id)),
            false => (tcp::info(lp, self.secure, id), tcp::addresses(lp, self.secure, id)),
        };
        if let Some((Address::Ip(ours), Address::Ip(peer))) = ends {
            self.ends = Some((ours, peer));
        }
        if let Ok(info) = info
            && self.states.last().is_none_or(|(_, state)| *state != info.state)
        {
            // The turn's own time is that of its beginning, before it wrote anything.
            self.states.push((lp.world.now(), info.state));
        }
    }
}

/// What RFC 9293 §3.3.2 calls a state.
pub(super) fn name(state: TcpState) -> &'static str {
    match state {
        TcpState::Established => "ESTABLISHED",
        TcpState::SynSent => "SYN-SENT",
        TcpState::SynReceived => "SYN-RECEIVED",
        TcpState::FinWait1 => "FIN-WAIT-1",
        TcpState::FinWait2 => "FIN-WAIT-2",
        TcpState::TimeWait => "TIME-WAIT",
        TcpState::CloseWait => "CLOSE-WAIT",
        TcpState::LastAck => "LAST-ACK",
        TcpState::Listen => "LISTEN",
        TcpState::Closing => "CLOSING",
        _ => "CLOSED",
    }
}
