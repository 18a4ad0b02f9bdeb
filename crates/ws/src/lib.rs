//! WebSocket (RFC 6455): framing that does no I/O, handshake, server and client on loopwork HTTP.

pub mod core;
