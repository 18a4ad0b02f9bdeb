//! The echo server that `serve` and `echo` have.

use loopwork::http::core::Request;
use loopwork::http::{self, Http, Offer, Reply};
use loopwork::ws::{App, Handshake, Message, Socket, Terms, Ws};

/// The echo server: each message goes back with its type. On one path, or on any.
pub(crate) struct Echo {
    path: Option<String>,
}

impl App for Echo {
    type Conn = ();

    fn wants(&mut self, request: &Request<'_>) -> bool {
        self.path.as_deref().is_none_or(|path| path == request.path())
    }

    fn on_request(&mut self, _: &Request<'_>, _: &mut Handshake<'_>) -> Offer<()> {
        Offer::Accept(())
    }

    fn on_message(&mut self, (): &mut (), socket: &mut Socket<'_>, message: Message<'_>) {
        // No further message is shown while the output is full: the peer has to read.
        let _ = socket.send(&message);
    }
}

/// The echo for `serve`, on one path, or for a server of its own, on any.
pub(crate) fn echo(path: Option<String>) -> Ws<Echo> {
    Ws::new(Echo { path })
}

/// A server that has the echo and nothing else, with permessage-deflate or not.
pub(crate) fn echo_server(deflate: bool) -> Http<Nothing, Ws<Echo>> {
    let mut echo = echo(None);
    echo.config.deflate = deflate.then(Terms::default);
    Http::with_upgrade(Nothing, echo)
}

/// No page is here.
pub(crate) struct Nothing;

impl http::App for Nothing {
    type Exchange = ();

    fn on_request(&mut self, _: &Request<'_>, reply: Reply<'_>) -> http::Answer<()> {
        let plain = ("Content-Type", "text/plain; charset=utf-8");
        reply.send(404, &[plain], b"a WebSocket is here, and nothing else\n")
    }
}
