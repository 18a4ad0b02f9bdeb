//! Answers that come from elsewhere: from another turn, from a thread of a pool.
//!
//! Rules of this file:
//! * An answer belongs to one request, not to a connection: one that comes too late, when its
//!   request was cut off or was answered otherwise, meets nobody, and never the next request.
//! * The order is the requests': the server asks for an answer when its request's turn has come.
//! * What is kept is bounded by the requests that are open: only who waits has a place.

use crate::reply::Reply;
use loopwork_tcp::reactor::{Id, Mailbox};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The name of an answer that is due: of one request of one connection. It can be copied and sent
/// to any thread.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Due {
    pub(crate) id: Id,
    /// Which request of its connection.
    pub(crate) number: u32,
}

impl Due {
    /// The connection, for whoever wakes it.
    #[must_use]
    pub fn connection(&self) -> Id {
        self.id
    }
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Whole {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// Where answers from elsewhere are handed in. A clone is the same desk; it can be sent to any
/// thread.
///
/// ```
/// use loopwork_http::core::Request;
/// use loopwork_http::{Answer, App, Desk, Http, Reply};
///
/// struct Slow(Desk);
///
/// impl App for Slow {
///     type Exchange = ();
///     fn on_request(&mut self, _: &Request<'_>, mut reply: Reply<'_>) -> Answer<()> {
///         let (due, desk) = (self.0.due(&mut reply), self.0.clone());
///         std::thread::spawn(move || desk.answer(due, 200, &[], b"thought about it\n"));
///         reply.later(())
///     }
/// }
///
/// # use loopwork_http::tcp::reactor::{Loop, Os};
/// # fn main() -> std::io::Result<()> {
/// let mut lp = Loop::new(Os::new()?);
/// let desk = Desk::new(lp.mailbox()?);
/// let mut http = Http::new(Slow(desk.clone()));
/// http.desk = Some(desk);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Desk {
    open: Arc<Mutex<HashMap<Due, Option<Whole>>>>,
    mailbox: Mailbox,
}

impl Desk {
    /// A desk of the loop that this mailbox belongs to. It is to be the server's, too
    /// ([`Http::desk`](crate::Http::desk)).
    #[must_use]
    pub fn new(mailbox: Mailbox) -> Desk {
        Desk { open: Arc::default(), mailbox }
    }

    fn open(&self) -> MutexGuard<'_, HashMap<Due, Option<Whole>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The request of this reply is answered from elsewhere. It is then to be answered
    /// [`later`](Reply::later).
    #[must_use = "nobody else can answer the request"]
    pub fn due(&self, reply: &mut Reply<'_>) -> Due {
        let due = reply.owe();
        self.open().entry(due).or_insert(None);
        due
    }

    /// Hands in an answer, as [`Reply::answer`] sends it. False: nobody waits for it, because it
    /// was answered already, or the request was cut off.
    pub fn answer(&self, due: Due, status: u16, headers: &[(&str, &str)], body: &[u8]) -> bool {
        {
            let mut open = self.open();
            let Some(place @ None) = open.get_mut(&due) else { return false };
            let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
            let headers = headers.iter().map(own).collect();
            *place = Some(Whole { status, headers, body: body.to_owned() });
        }
        self.mailbox.wake(due.id);
        true
    }

    /// How many requests are open: neither answered nor cut off.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.open().len()
    }

    /// The answer, if it has come: then its place is gone.
    pub(crate) fn take(&self, due: Due) -> Option<Whole> {
        let mut open = self.open();
        let whole = open.get_mut(&due)?.take()?;
        open.remove(&due);
        Some(whole)
    }

    /// The request is over, whatever became of it.
    pub(crate) fn forget(&self, due: Due) {
        self.open().remove(&due);
    }
}
