//! The fuzz targets: functions of bytes that panic when a property does not hold.
//!
//! Rules that hold here:
//!
//! * A target is deterministic: the same bytes, the same run, the same verdict.
//! * Seeds are what a peer would send, as they are. What else a target needs (where to cut) is
//!   derived from them, so that a corpus can be read, and taken from a capture.
//! * Each target is in [`TARGETS`], has a binary of its name in `fuzz/fuzz_targets` and a folder
//!   of its name in `fuzz/corpus`; `tests/replay.rs` holds to that, and replays all of it.

mod chat;
mod client;
mod cuts;
mod deflate;
mod dns;
mod files;
mod form;
mod http;
mod inflate;
mod page;
mod serve;
mod tcp;
mod tls;
mod trace;
mod url;
mod ws;

pub use chat::ws_ops;
pub use client::http_client_ops;
pub use deflate::ws_deflate;
pub use dns::dns_message;
pub use files::{path_resolve, range_header};
pub use form::http_form;
pub use http::{http_chunked, http_cuts, http_encode, http_request, http_response};
pub use inflate::http_inflate;
pub use page::page_html;
pub use serve::http_ops;
pub use tcp::tcp_ops;
pub use tls::tls_bytes;
pub use trace::trace_file;
pub use url::url;
pub use ws::{ws_cuts, ws_frame, ws_handshake};

/// A target: panics if a property does not hold for these bytes.
pub type Target = fn(&[u8]);

/// All targets by name.
pub const TARGETS: [(&str, Target); 22] = [
    ("http_request", http_request),
    ("http_response", http_response),
    ("http_chunked", http_chunked),
    ("http_cuts", http_cuts),
    ("http_encode", http_encode),
    ("http_form", http_form),
    ("http_inflate", http_inflate),
    ("http_ops", http_ops),
    ("http_client_ops", http_client_ops),
    ("ws_frame", ws_frame),
    ("ws_cuts", ws_cuts),
    ("ws_handshake", ws_handshake),
    ("ws_deflate", ws_deflate),
    ("ws_ops", ws_ops),
    ("tcp_ops", tcp_ops),
    ("dns_message", dns_message),
    ("tls_bytes", tls_bytes),
    ("trace_file", trace_file),
    ("url", url),
    ("page_html", page_html),
    ("path_resolve", path_resolve),
    ("range_header", range_header),
];
