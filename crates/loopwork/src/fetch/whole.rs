//! Answers as a whole.
//!
//! Rule of this file: no body is collected without a limit.

use super::{Agent, Done, Error, Fetch, Fetching, Head, Lines, Taker};
use crate::{Env, Flow};
use std::borrow::Cow;

/// How long a body may be that is taken as a whole, in bytes, if nothing else is said: longer than
/// any page, and short enough for the memory of most machines a few times over.
pub const LIMIT: u64 = 64 * 1024 * 1024;

/// An answer as a whole.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Page {
    /// Its head.
    pub head: Head,
    /// Its body.
    pub body: Vec<u8>,
    /// Its trailers, if it has any.
    pub trailers: Lines,
    /// Redirects that were followed.
    pub redirects: u32,
}

impl Page {
    pub(super) fn new(head: Head, body: Vec<u8>, done: Done) -> Page {
        Page { head, body, trailers: done.trailers, redirects: done.redirects }
    }

    /// The body as text. What is no UTF-8 becomes U+FFFD.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }
}

/// Collects an answer.
struct Collect<F> {
    head: Option<Head>,
    body: Vec<u8>,
    then: F,
}

impl Fetch {
    /// Begins, and calls `then` once, with the whole answer, of any status, or why there is none.
    /// A longer body than its [limit](Fetch::limit) is [`Error::TooLong`].
    pub fn whole(
        mut self,
        env: &mut Env,
        agent: Agent,
        then: impl FnOnce(&mut Env, Result<Page, Error>) + 'static,
    ) -> Fetching {
        self.limit.get_or_insert(LIMIT);
        self.begin(env, agent, Collect { head: None, body: Vec::new(), then })
    }
}

impl<F: FnOnce(&mut Env, Result<Page, Error>) + 'static> Taker for Collect<F> {
    fn on_head(&mut self, _: &mut Env, head: Head) {
        self.head = Some(head);
    }

    fn on_body(&mut self, _: &mut Env, bytes: &[u8]) -> Flow {
        self.body.extend_from_slice(bytes);
        Flow::Open
    }

    fn on_end(self: Box<Self>, env: &mut Env, end: Result<Done, Error>) {
        let Collect { head, body, then } = *self;
        // Who is done had a head.
        let page = end.and_then(|done| match head {
            Some(head) => Ok(Page::new(head, body, done)),
            None => Err(Error::Cancelled),
        });
        then(env, page);
    }
}
