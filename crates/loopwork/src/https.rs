//! `https` for clients: HTTP's connections with TLS around them.
//!
//! Rule: neither HTTP nor TLS knows the other; this is where they meet.

use crate::http::client::{Client, Through, ThroughConn, Wire};
use crate::reactor::Streams;
use crate::tls::config::Refused;
use crate::tls::rustls::ClientConfig;
use crate::tls::rustls::pki_types::ServerName;
use crate::tls::{Conn, Tls};
use crate::{Handle, Loop, tcp};
use std::cell::OnceCell;
use std::io::ErrorKind;
use std::sync::Arc;
use tcp::{Dial, Host};

/// `https` for clients: HTTP in TLS, and that in a [tunnel] where a proxy leads to the server.
///
/// [tunnel]: crate::http::client::Tunnel
pub type Secure = Through<Tls<Wire>>;

/// From now on this client speaks TLS to peers that have a [name](crate::http::client::Peer::name),
/// through a proxy where they [say so](crate::http::client::Peer::through), and believes those that
/// prove to have it. `make` is called when the first of them is dialed: to read whom a machine
/// trusts takes some milliseconds. If it fails, so does the dial, with `InvalidInput`. Gives the
/// host of those connections, to ask the kernel about them.
pub fn secure<W: Streams>(
    lp: &mut Loop<W>,
    client: Client,
    make: impl Fn() -> Result<Arc<ClientConfig>, Refused> + 'static,
) -> Handle<Host<Secure>> {
    let host = tcp::add(lp, |_| Through::new(Tls::client(client.wire())));
    // As those without TLS: tickets hold the loop, connections do not.
    tcp::hold(lp, host, false);
    let made = OnceCell::new();
    client.layer(&mut lp.env, move |env, dial, peer| {
        let Dial { to, from, timeout, conn } = dial;
        let config = match made.get() {
            Some(config) => config,
            None => match make() {
                Ok(config) => made.get_or_init(|| config),
                Err(_) => return Err((ErrorKind::InvalidInput, Box::new(conn))),
            },
        };
        let name = peer.name.as_deref().unwrap_or_default();
        let bare = name.trim_start_matches('[').trim_end_matches(']').to_owned();
        let Ok(name) = ServerName::try_from(bare) else {
            return Err((ErrorKind::InvalidInput, Box::new(conn)));
        };
        let conn = Conn::client(config, name, conn);
        let conn = conn.map_err(|(_, conn)| (ErrorKind::InvalidInput, Box::new(conn)))?;
        let conn = ThroughConn::new(peer.through.clone(), conn);
        Dial { to, from, timeout, conn }.send(env, host);
        Ok(())
    });
    host
}
