//! A directory as a page.
//!
//! Rules of this file:
//! * Names are hostile: as text they are escaped, as links every byte but the plainest is encoded.
//! * What would not be served is not shown: hidden names, devices, links that lead out.
//! * The page needs nothing else: no script, no outside request.

use crate::{core, find};
use loopwork_http::forms;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::time::SystemTime;

/// Names that one page shows. More make no page that anyone reads, and the loop waits meanwhile:
/// ten thousand cost some ten milliseconds.
const ENTRIES_MAX: usize = 20_000;

const STYLE: &str = "\
:root{color-scheme:light dark;--line:#8884}\
body{font:16px/1.5 system-ui,sans-serif;max-width:56rem;margin:0 auto;padding:1rem}\
h1{font-size:1.2rem;overflow-wrap:anywhere}\
table{width:100%;border-collapse:collapse}\
th{text-align:left;padding:.45rem .3rem;font-weight:600}th+th{text-align:right}\
td{border-top:1px solid var(--line);padding:.45rem .3rem;vertical-align:top}\
td:first-child{overflow-wrap:anywhere}\
td+td{text-align:right;white-space:nowrap;opacity:.7;font-variant-numeric:tabular-nums}\
a{text-decoration:none}a:hover,a:focus{text-decoration:underline}\
@media(max-width:34rem){td:nth-child(3),th:nth-child(3){display:none}}";

/// One line of a listing.
struct Entry {
    name: OsString,
    directory: bool,
    size: u64,
    modified: Option<SystemTime>,
}

/// By what the names are in order. Directories come first in any.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum By {
    Name,
    Size,
    Time,
}

/// The order of a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Order {
    by: By,
    down: bool,
}

impl Order {
    /// `?sort=name|size|time&order=asc|desc`; what is none of these is as if it were not said.
    pub(crate) fn of(query: &str) -> Order {
        let mut order = Order { by: By::Name, down: false };
        for (name, value) in forms::pairs(query.as_bytes()) {
            match (&name[..], &value[..]) {
                ("sort", "name") => order.by = By::Name,
                ("sort", "size") => order.by = By::Size,
                ("sort", "time") => order.by = By::Time,
                ("order", "asc") => order.down = false,
                ("order", "desc") => order.down = true,
                _ => {}
            }
        }
        order
    }

    /// The head of a column: a link that sorts by it, the other way round if it is so already.
    fn column(self, page: &mut String, by: By, name: &str, text: &str) {
        let here = self.by == by;
        let next = if here && !self.down { "desc" } else { "asc" };
        let (said, mark) = match (here, self.down) {
            (false, _) => ("none", ""),
            (true, false) => ("ascending", " \u{2191}"),
            (true, true) => ("descending", " \u{2193}"),
        };
        let _ = write!(
            page,
            "<th scope=\"col\" aria-sort=\"{said}\">\
             <a href=\"?sort={name}&amp;order={next}\">{text}{mark}</a>"
        );
    }

    fn sort(self, list: &mut [Entry]) {
        list.sort_by_cached_key(|e| (e.name.to_ascii_lowercase(), e.name.clone()));
        // Those that are alike stay in the order of their names.
        match self.by {
            By::Name => {}
            By::Size => list.sort_by_key(|e| e.size),
            By::Time => list.sort_by_key(|e| e.modified),
        }
        if self.down {
            list.reverse();
        }
        list.sort_by_key(|e| !e.directory);
    }
}

/// The page of the directory `real`, which is `name` below `root`.
///
/// # Errors
/// The directory cannot be read.
pub(crate) fn page(
    root: &Path,
    real: &Path,
    name: &Path,
    order: Order,
    hidden: bool,
) -> io::Result<String> {
    let (mut entries, more) = entries(root, real, hidden)?;
    order.sort(&mut entries);
    let title = format!("/{}", name.display());
    let mut page = head(&title);
    page.push_str("<table><thead><tr>");
    order.column(&mut page, By::Name, "name", "Name");
    order.column(&mut page, By::Size, "size", "Size");
    order.column(&mut page, By::Time, "time", "Changed");
    page.push_str("<tbody>");
    if !name.as_os_str().is_empty() {
        page.push_str("<tr><td><a href=\"../\">../</a><td><td>");
    }
    for entry in &entries {
        row(&mut page, entry);
    }
    page.push_str("</table>");
    if entries.is_empty() {
        page.push_str("<p>Nothing here.");
    }
    if more {
        let _ = write!(page, "<p>Only {ENTRIES_MAX} names are shown.");
    }
    page.push('\n');
    Ok(page)
}

/// A page that says one thing.
pub(crate) fn message(title: &str, text: &str) -> String {
    let mut page = head(title);
    page.push_str("<p>");
    escape(&mut page, text);
    page.push('\n');
    page
}

fn head(title: &str) -> String {
    let mut escaped = String::new();
    escape(&mut escaped, title);
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <title>{escaped}</title><style>{STYLE}</style><h1>{escaped}</h1>"
    )
}

fn entries(root: &Path, real: &Path, hidden: bool) -> io::Result<(Vec<Entry>, bool)> {
    let (mut list, mut more) = (Vec::new(), false);
    for found in real.read_dir()? {
        let Ok(found) = found else { continue };
        let name = found.file_name();
        let path = found.path();
        if !hidden && core::is_hidden(&name) || name.as_encoded_bytes().contains(&b'\\') {
            continue;
        }
        let link = found.file_type().is_ok_and(|kind| kind.is_symlink());
        if link && find::inside(root, &path, hidden).is_err() {
            continue;
        }
        let Ok(metadata) = path.metadata() else { continue };
        if !metadata.is_dir() && !metadata.is_file() {
            continue;
        }
        if list.len() == ENTRIES_MAX {
            more = true;
            break;
        }
        let (directory, size) = (metadata.is_dir(), metadata.len());
        list.push(Entry { name, directory, size, modified: find::modified(&metadata) });
    }
    Ok((list, more))
}

fn row(page: &mut String, entry: &Entry) {
    let slash = if entry.directory { "/" } else { "" };
    // A dot and a slash in front: no name can be taken for a scheme or a host.
    let _ = write!(page, "<tr><td><a href=\"./{}{slash}\">", core::encode(&entry.name));
    escape(page, &entry.name.to_string_lossy());
    let _ = write!(page, "{slash}</a><td>");
    if !entry.directory {
        page.push_str(&size(entry.size));
    }
    page.push_str("<td>");
    if let Some(time) = entry.modified {
        // `Sun, 06 Nov 1994 08:49:37 GMT`, without the day's name and the zone.
        let date = httpdate::fmt_http_date(time);
        page.push_str(date.get(5..22).unwrap_or_default());
    }
}

/// Text as HTML has it, in elements and in quoted attributes.
fn escape(page: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => page.push_str("&amp;"),
            '<' => page.push_str("&lt;"),
            '>' => page.push_str("&gt;"),
            '"' => page.push_str("&quot;"),
            '\'' => page.push_str("&#39;"),
            // A control character, or one that turns the writing round, could disguise a name.
            c if c.is_control()
                || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') =>
            {
                page.push('\u{fffd}');
            }
            c => page.push(c),
        }
    }
}

/// A size as people read it, three digits at most before the unit.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut unit = 0;
    let mut value = bytes as f64;
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    match unit {
        0 => format!("{bytes} B"),
        _ => format!("{value:.1} {}", UNITS[unit]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (1_048_575, "1.0 MiB"),
            (1 << 30, "1.0 GiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(size(bytes), text, "{bytes}");
        }
    }

    #[test]
    fn names_cannot_become_markup() {
        let mut page = String::new();
        let name = "<script>\"'&\u{202e}\n".into();
        row(&mut page, &Entry { name, directory: false, size: 1, modified: None });
        assert!(page.contains("&lt;script&gt;&quot;&#39;&amp;\u{fffd}\u{fffd}</a>"), "{page}");
        assert!(page.contains("href=\"./%3Cscript%3E%22%27%26%E2%80%AE%0A\""), "{page}");
        assert!(!page.contains("<script"));
    }

    #[test]
    fn a_name_cannot_become_a_scheme() {
        let mut page = String::new();
        let name = "javascript:alert(1)".into();
        row(&mut page, &Entry { name, directory: true, size: 0, modified: None });
        assert!(page.contains("href=\"./javascript%3Aalert%281%29/\""), "{page}");
    }

    #[test]
    fn messages_are_escaped() {
        assert!(message("a<b", "c&d").contains("<h1>a&lt;b</h1><p>c&amp;d"));
    }
}
