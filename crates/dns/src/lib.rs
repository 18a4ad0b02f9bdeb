//! A stub resolver for DNS on loopwork's datagrams and streams: it asks the machine's own files,
//! then its cache, then the servers of `/etc/resolv.conf`.
//!
//! Rules of this crate:
//! * Nothing here blocks but reading the machine's two files: when it is asked for, or, with
//!   [`Resolver::system`], when they have changed.
//! * An answer comes in a later phase or turn, as a call: never from inside the question.
//! * A server is not believed: its answer must come from the address and port that were asked, to
//!   a port of ours that is new for each question, with the question's id, and the question's name
//!   in the random case in which it was asked (RFC 5452). What does not fit is ignored, and the
//!   wait goes on.
//! * Each wait, each chain, each message and each list has an end: the constants say which.
//! * Questions that are the same are asked once, however many wait for the answer.
//!
//! ```
//! use loopwork_dns::Resolver;
//! use loopwork_tcp::reactor::{Loop, Os};
//!
//! let mut lp = Loop::new(Os::new()?);
//! let names = Resolver::system(&mut lp);
//! names.lookup(&mut lp.env, "localhost", |_, found| {
//!     assert!(found.unwrap().iter().all(|ip| ip.is_loopback()));
//! });
//! lp.run()?;
//! # std::io::Result::Ok(())
//! ```

mod cache;
mod config;
mod follow;
mod lookup;
mod message;
mod name;
mod resolver;
mod transport;

pub use cache::ENTRIES_MAX;
pub use config::{Config, Hosts};
pub use follow::CHAIN_MAX;
pub use message::{Code, Data, EDNS_SIZE, Kind, Malformed, Message, RECORDS_MAX, Record};
pub use name::{BadName, LABEL_MAX, NAME_MAX, Name};
pub use resolver::{QUESTIONS_MAX, Resolver, SOCKETS};

use std::fmt;
use std::net::SocketAddr;

/// What was found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Answer {
    /// The records of the kind that was asked for. Never none.
    pub records: Vec<Record>,
    /// The names that stood for others on the way there, in order.
    pub chain: Vec<Record>,
    /// Who said it.
    pub server: Option<SocketAddr>,
    /// It was said over TCP.
    pub tcp: bool,
    /// It was said earlier, and still holds.
    pub cached: bool,
}

/// Why nothing was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Error {
    /// The text is no name.
    BadName(BadName),
    /// There is no such name.
    NoSuchName,
    /// The name has no record of this kind.
    NoData,
    /// No server answered in time.
    Timeout,
    /// The servers answered that they cannot, or will not.
    Server(Code),
    /// What the servers sent are no DNS messages.
    Malformed,
    /// Names that stand for each other, or more than [`CHAIN_MAX`] in a row.
    Chain,
    /// The servers cannot be reached.
    Unreachable(std::io::ErrorKind),
    /// [`QUESTIONS_MAX`] questions wait already.
    Busy,
}

impl Error {
    /// The code that Node's `dns` has for it.
    #[must_use]
    pub fn node_code(self) -> &'static str {
        match self {
            Error::BadName(_) => "EBADNAME",
            Error::NoSuchName => "ENOTFOUND",
            Error::NoData => "ENODATA",
            Error::Timeout => "ETIMEOUT",
            Error::Server(Code::Refused) => "EREFUSED",
            Error::Server(Code::FormErr) => "EFORMERR",
            Error::Server(_) => "ESERVFAIL",
            Error::Malformed | Error::Chain => "EBADRESP",
            Error::Unreachable(_) => "ECONNREFUSED",
            Error::Busy => "ENOMEM",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Error::BadName(why) => return why.fmt(f),
            Error::NoSuchName => "there is no such name",
            Error::NoData => "the name has no record of this kind",
            Error::Timeout => "no name server answered in time",
            Error::Server(Code::Refused) => "the name servers refuse to answer",
            Error::Server(Code::FormErr) => "the name servers do not understand the question",
            Error::Server(_) => "the name servers could not find out",
            Error::Malformed => "what the name servers sent is no DNS message",
            Error::Chain => "the name stands for others without end",
            Error::Unreachable(kind) => {
                return write!(f, "the name servers cannot be reached: {kind}");
            }
            Error::Busy => "too many questions wait already",
        })
    }
}

impl std::error::Error for Error {}

impl From<BadName> for Error {
    fn from(why: BadName) -> Self {
        Error::BadName(why)
    }
}
