//! HTTP/1.1: a parser and encoder that do no I/O, a server and a client on loopwork streams.

pub mod core;
