//! What a file is, by the end of its name.
//!
//! Rule: text says its encoding, UTF-8, or browsers guess; what is not known is bytes, which a
//! browser stores and does not run.

use std::path::Path;

/// The `Content-Type` of a file.
pub(crate) fn content_type(path: &Path) -> String {
    let guess = mime_guess::from_path(path).first_raw().unwrap_or("application/octet-stream");
    if is_text(guess) { format!("{guess}; charset=utf-8") } else { guess.to_string() }
}

fn is_text(kind: &str) -> bool {
    kind.starts_with("text/")
        || matches!(kind, "application/javascript" | "application/json" | "application/xml")
        || kind.ends_with("+json")
        || kind.ends_with("+xml")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_says_its_encoding() {
        for (name, kind) in [
            ("a.html", "text/html; charset=utf-8"),
            ("a.TXT", "text/plain; charset=utf-8"),
            ("a.js", "text/javascript; charset=utf-8"),
            ("a.css", "text/css; charset=utf-8"),
            ("a.json", "application/json; charset=utf-8"),
            ("a.svg", "image/svg+xml; charset=utf-8"),
            ("a.png", "image/png"),
            ("a.wasm", "application/wasm"),
            ("a.mp4", "video/mp4"),
            ("a", "application/octet-stream"),
            ("a.nothing-known", "application/octet-stream"),
        ] {
            assert_eq!(content_type(Path::new(name)), kind, "{name}");
        }
    }
}
