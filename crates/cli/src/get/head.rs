//! A response's head, kept beyond the buffer that it came in.

use loopwork::http::core::{Response, Version};

/// Status line and headers.
#[derive(Clone, Debug, Default)]
pub(super) struct Head {
    pub(super) status: u16,
    /// `1.1` or `1`, as curl says it.
    pub(super) version: &'static str,
    /// As it is shown, with the empty line.
    pub(super) text: Vec<u8>,
    pub(super) fields: Vec<(String, String)>,
}

impl Head {
    pub(super) fn of(response: &Response<'_>) -> Head {
        let (line, version) = match response.version {
            Version::Http11 => ("HTTP/1.1", "1.1"),
            Version::Http10 => ("HTTP/1.0", "1"),
        };
        let mut text = format!("{line} {:03} ", response.status).into_bytes();
        text.extend_from_slice(response.reason);
        text.extend_from_slice(b"\r\n");
        let mut fields = Vec::new();
        for (name, value) in response.headers {
            field_line(&mut text, name, value);
            fields.push((name.to_string(), String::from_utf8_lossy(value).into_owned()));
        }
        text.extend_from_slice(b"\r\n");
        Head { status: response.status, version, text, fields }
    }

    /// The first header of this name.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        let named = move |(n, v)| (str::eq_ignore_ascii_case(n, name)).then_some(v);
        self.fields.iter().map(|(n, v)| (n.as_str(), v.as_str())).filter_map(named)
    }

    /// Whether it leads elsewhere, if it says where.
    pub(super) fn redirects(&self) -> bool {
        matches!(self.status, 300..=303 | 307 | 308)
    }
}

/// Appends one line of a head or of a trailer section.
pub(super) fn field_line(text: &mut Vec<u8>, name: &str, value: &[u8]) {
    for part in [name.as_bytes(), b": ", value, b"\r\n"] {
        text.extend_from_slice(part);
    }
}
