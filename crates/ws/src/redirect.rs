//! Where a server sends a client instead of opening a WebSocket.
//!
//! > [the client] MIGHT be redirected by the server using a 3xx status code (but clients are not
//! > required to follow them) (RFC 6455 §4.1)
//!
//! Rule: the rules are HTTP's ([`Chain`]), limits and credentials included; only the schemes have
//! other names here, and a `Location` may use either.

use loopwork_http::Url;
use loopwork_http::core::Response;
use loopwork_http::redirect::{Chain, Refused};

/// The schemes of WebSockets, and those that mean the same to HTTP (RFC 6455 §3).
const TO_HTTP: [(&str, &str); 2] = [("ws", "http"), ("wss", "https")];
const TO_WS: [(&str, &str); 2] = [("http", "ws"), ("https", "wss")];

/// Where the [answer](crate::App::on_answer) to a handshake with `from` leads, as a URL of `ws` or
/// `wss`; `None`: it is no redirect. What of the request's own headers goes along, [`Chain::sends`]
/// says.
///
/// # Errors
/// It is one, and is not to be followed; see [`Refused`].
pub fn redirect(
    chain: &mut Chain,
    from: &Url,
    answer: &Response<'_>,
) -> Result<Option<Url>, Refused> {
    let from = Url { scheme: renamed(&from.scheme, TO_HTTP), ..from.clone() };
    let location = answer.headers.get("Location").map(|location| {
        let colon = location.iter().position(|b| *b == b':').unwrap_or(0);
        let (scheme, rest) = location.split_at(colon);
        let scheme = std::str::from_utf8(scheme).unwrap_or_default();
        match TO_HTTP.iter().find(|(ws, _)| ws.eq_ignore_ascii_case(scheme)) {
            Some((_, http)) => [http.as_bytes(), rest].concat(),
            None => location.to_vec(),
        }
    });
    let next = chain.next(&from, "GET", answer.status, location.as_deref())?;
    Ok(next.map(|next| Url { scheme: renamed(&next.url.scheme, TO_WS), ..next.url }))
}

fn renamed(scheme: &str, names: [(&str, &str); 2]) -> String {
    let other = names.into_iter().find(|(from, _)| *from == scheme);
    other.map_or(scheme, |(_, to)| to).to_owned()
}
