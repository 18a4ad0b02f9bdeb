//! What a server asks of a program: [`App`] answers, [`Upgrade`] takes connections over.
//!
//! Rule: no request is forgotten, since only a [`Reply`] makes an [`Answer`].

use crate::core::{Headers, Malformed, Method, Request};
use crate::reply::{Answer, Reply};
use crate::waits::Late;
use loopwork_tcp::reactor::{Env, Id};
use loopwork_tcp::{Close, Io, Protocol};
use std::net::SocketAddr;

/// What a server does with requests. `&mut self` is shared by all; `Exchange` is what is
/// remembered of one request that is not answered yet.
///
/// Of Node's events: `request` is [`on_request`](App::on_request), the request's `data` is
/// [`on_body`](App::on_body) and its `end` [`on_body_end`](App::on_body_end), the response's
/// `drain` is [`on_more`](App::on_more), its `finish` and `close` are [`on_done`](App::on_done),
/// `clientError` is [`on_malformed`](App::on_malformed) and [`on_late`](App::on_late).
pub trait App: 'static {
    /// What is remembered of a request.
    type Exchange: 'static;

    /// A request's head came in. Its body, if it has one, follows in `on_body`, but only when it
    /// is answered later; else it is read and dropped.
    fn on_request(&mut self, request: &Request<'_>, reply: Reply<'_>) -> Answer<Self::Exchange>;

    /// A part of the request's body; says how many bytes it took. Less than all pauses the body
    /// until [`Reply::resume`], which shows the rest again.
    fn on_body(&mut self, _x: &mut Self::Exchange, _reply: &mut Reply<'_>, bytes: &[u8]) -> usize {
        bytes.len()
    }

    /// The request has come in whole. Called once for each exchange, with a body or without.
    fn on_body_end(
        &mut self,
        _x: &mut Self::Exchange,
        _reply: &mut Reply<'_>,
        _trailers: &Headers<'_>,
    ) {
    }

    /// Someone woke the connection, or the output has drained: go on answering.
    fn on_more(&mut self, _x: &mut Self::Exchange, _reply: &mut Reply<'_>) {}

    /// The exchange is over: answered (`None`), or cut off. Once for each.
    fn on_done(&mut self, _x: Self::Exchange, _env: &mut Env, _cut: Option<Close>) {}

    /// A client sent what is no request; it is answered and cut off without further ado.
    fn on_malformed(&mut self, _env: &mut Env, _id: Id, _why: Malformed) {}

    /// A client took too long; it is answered with 408 if no answer began, and cut off. An exchange
    /// that was under way is told so by [`on_done`](App::on_done), too.
    fn on_late(&mut self, _env: &mut Env, _id: Id, _with: Late) {}

    /// Whether it understands a method: what it does not is answered with 501. CONNECT and TRACE
    /// have to be asked for, since a tunnel or a mirror of cookies must not open by accident.
    fn understands(&self, method: Method<'_>) -> bool {
        !matches!(method, Method::Connect | Method::Trace)
    }
}

/// What a protocol that follows on HTTP says of a request.
pub enum Offer<C> {
    /// Not for it: the request goes to the application.
    Pass,
    /// It is for it, and the connection's new state; it has written its `101` head.
    Accept(C),
    /// It is for it, and wrong: a status and a header to say why. The connection ends.
    Refuse(u16, &'static [(&'static str, &'static str)], &'static str),
}

/// A protocol to which HTTP hands a connection over. Bytes behind the request are its first.
pub trait Upgrade: Protocol {
    /// Looks at a request whose head is complete, a CONNECT too, before the application sees it. A
    /// request with a body has to be received whole before its protocol changes (RFC 9110 §7.8):
    /// it is to be passed or refused, and one that is accepted all the same is given up.
    fn offer(&mut self, request: &Request<'_>, io: &mut Io<'_>) -> Offer<Self::Conn>;

    /// What the server asks: as [`offer`](Upgrade::offer), and with who asks, as
    /// [`Reply::peer`] says it. For a protocol to which that matters; as it is, it asks `offer`.
    #[inline]
    fn offer_to(
        &mut self,
        _peer: Option<SocketAddr>,
        request: &Request<'_>,
        io: &mut Io<'_>,
    ) -> Offer<Self::Conn> {
        self.offer(request, io)
    }
}

/// No protocol follows on HTTP.
pub struct NoUpgrade;

/// The state of a connection that cannot be.
pub enum Never {}

impl Protocol for NoUpgrade {
    type Conn = Never;
    fn on_data(&mut self, conn: &mut Never, _: &mut Io<'_>, _: &mut [u8]) -> usize {
        match *conn {}
    }
}

impl Upgrade for NoUpgrade {
    #[inline]
    fn offer(&mut self, _: &Request<'_>, _: &mut Io<'_>) -> Offer<Never> {
        Offer::Pass
    }
}
