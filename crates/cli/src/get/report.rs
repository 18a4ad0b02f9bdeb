//! `-w FORMAT`: what is said behind the body.
//!
//! Rule: names are curl's; one that is not known is told, and stands for nothing.

use super::head::Head;
use crate::common;
use loopwork::Address;
use std::fmt::Write as _;
use std::time::Duration;

/// What is known of a transfer when it is over.
#[derive(Default, Debug)]
pub(super) struct Report {
    /// The last response's head; of none there is none.
    pub(super) head: Option<Head>,
    pub(super) size_download: u64,
    pub(super) size_upload: u64,
    pub(super) size_header: u64,
    pub(super) size_request: u64,
    pub(super) redirects: u32,
    pub(super) connects: u32,
    /// From the beginning of the transfer, redirects included.
    pub(super) times: Times,
    pub(super) method: String,
    /// As it was given, and which of all it is.
    pub(super) given: String,
    pub(super) number: usize,
    /// The last URL that was asked.
    pub(super) url: String,
    /// Where a redirect leads that was not followed.
    pub(super) redirect_url: String,
    pub(super) referer: String,
    pub(super) file: String,
    pub(super) remote: Option<Address>,
    /// What the kernel and TLS know of the connection, in words.
    pub(super) link: String,
    pub(super) exit: u8,
    pub(super) error: String,
}

/// When what was done, counted from the beginning of the transfer.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Times {
    /// The last request began; zero when it is the first.
    pub(super) redirect: Duration,
    pub(super) name: Duration,
    pub(super) connect: Duration,
    /// TLS stood, if there was any.
    pub(super) secure: Option<Duration>,
    /// The first byte of the request is sent, and the last so far.
    pub(super) sent: Duration,
    pub(super) asked: Duration,
    pub(super) first: Duration,
    pub(super) total: Duration,
}

/// What goes to stdout, and what to stderr.
#[derive(Default, Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) stdout: String,
    pub(super) stderr: String,
}

/// All variables that have a value of their own, as `%{json}` lists them.
const NAMES: [&str; 30] = [
    "content_type",
    "errormsg",
    "exitcode",
    "filename_effective",
    "http_code",
    "http_version",
    "method",
    "num_connects",
    "num_headers",
    "num_redirects",
    "redirect_url",
    "referer",
    "remote_ip",
    "remote_port",
    "response_code",
    "scheme",
    "size_download",
    "size_header",
    "size_request",
    "size_upload",
    "speed_download",
    "speed_upload",
    "time_appconnect",
    "time_connect",
    "time_namelookup",
    "time_pretransfer",
    "time_redirect",
    "time_starttransfer",
    "time_total",
    "url_effective",
];

impl Report {
    /// The format with its variables filled in.
    pub(super) fn format(&self, format: &str) -> Said {
        let (mut said, mut to_stderr) = (Said::default(), false);
        let mut rest = format;
        loop {
            let at = rest.find(['%', '\\']).unwrap_or(rest.len());
            let out = if to_stderr { &mut said.stderr } else { &mut said.stdout };
            out.push_str(&rest[..at]);
            rest = &rest[at..];
            if rest.is_empty() {
                return said;
            }
            if let Some((name, tail)) = variable(rest) {
                rest = tail;
                match name {
                    "stderr" => to_stderr = true,
                    "stdout" => to_stderr = false,
                    "onerror" if self.exit == 0 => return said,
                    "onerror" => {}
                    name if self.variable(out, name) => {}
                    name => {
                        let said = &mut said.stderr;
                        let _ = writeln!(said, "loopwork get: -w knows no %{{{name}}}");
                    }
                }
                continue;
            }
            let mut chars = rest.chars();
            match (chars.next(), chars.next()) {
                (Some('%'), Some('%')) => out.push('%'),
                (Some('\\'), Some('n')) => out.push('\n'),
                (Some('\\'), Some('r')) => out.push('\r'),
                (Some('\\'), Some('t')) => out.push('\t'),
                (first, second) => out.extend(first.into_iter().chain(second)),
            }
            rest = chars.as_str();
        }
    }

    /// Appends what a variable stands for; whether there is one of this name.
    fn variable(&self, out: &mut String, name: &str) -> bool {
        if let Some(header) = name.strip_prefix("header{") {
            let value = self.head.as_ref().and_then(|head| head.get(header));
            out.push_str(value.unwrap_or_default());
            return true;
        }
        match name {
            "header_json" => self.header_json(out),
            "json" => self.json(out),
            "url" => out.push_str(&self.given),
            "urlnum" => drop(write!(out, "{}", self.number)),
            // There is no proxy that a tunnel was asked of, and nothing to verify.
            "http_connect" => out.push_str("000"),
            "ssl_verify_result" | "proxy_ssl_verify_result" | "num_certs" => out.push('0'),
            "certs" | "ftp_entry_path" => {}
            name => match self.value(name) {
                Some(value) => out.push_str(&value),
                None => return false,
            },
        }
        true
    }

    fn value(&self, name: &str) -> Option<String> {
        let seconds = |time: Duration| format!("{:.6}", time.as_secs_f64());
        let head = self.head.as_ref();
        let speed = |size: u64| (size as f64 / self.times.total.as_secs_f64().max(1e-6)) as u64;
        let ip = self.remote.as_ref().and_then(Address::ip);
        Some(match name {
            "http_code" | "response_code" => format!("{:03}", head.map_or(0, |h| h.status)),
            "http_version" => head.map_or("0", |h| h.version).to_string(),
            "num_headers" => head.map_or(0, |h| h.fields.len()).to_string(),
            "content_type" => head.and_then(|h| h.get("Content-Type")).unwrap_or("").to_string(),
            "size_download" => self.size_download.to_string(),
            "size_upload" => self.size_upload.to_string(),
            "size_header" => self.size_header.to_string(),
            "size_request" => self.size_request.to_string(),
            "speed_download" => speed(self.size_download).to_string(),
            "speed_upload" => speed(self.size_upload).to_string(),
            "time_namelookup" => seconds(self.times.name),
            "time_appconnect" => seconds(self.times.secure.unwrap_or_default()),
            "time_connect" => seconds(self.times.connect),
            "time_pretransfer" => seconds(self.times.sent),
            "time_redirect" => seconds(self.times.redirect),
            "time_starttransfer" => seconds(self.times.first),
            "time_total" => seconds(self.times.total),
            "num_redirects" => self.redirects.to_string(),
            "num_connects" => self.connects.to_string(),
            "url_effective" => self.url.clone(),
            "redirect_url" => self.redirect_url.clone(),
            "referer" => self.referer.clone(),
            "method" => self.method.clone(),
            "scheme" => "HTTP".to_string(),
            "filename_effective" => self.file.clone(),
            "remote_ip" => ip.map_or(String::new(), |at| at.ip().to_string()),
            "remote_port" => ip.map_or(0, |at| at.port()).to_string(),
            "exitcode" => self.exit.to_string(),
            "errormsg" => self.error.clone(),
            _ => return None,
        })
    }

    /// An object of all variables; numbers stay numbers.
    fn json(&self, out: &mut String) {
        out.push('{');
        for (n, name) in NAMES.into_iter().enumerate() {
            let value = self.value(name).unwrap_or_default();
            let prefixes = ["http_code", "response_code", "num_", "size_", "speed_", "time_"];
            let number = prefixes.iter().any(|prefix| name.starts_with(prefix))
                || matches!(name, "exitcode" | "remote_port");
            let comma = if n > 0 { "," } else { "" };
            let _ = write!(out, "{comma}\"{name}\":");
            match number {
                // As a number it has no zeros in front.
                true if name.ends_with("_code") => {
                    let status = self.head.as_ref().map_or(0, |head| head.status);
                    let _ = write!(out, "{status}");
                }
                true => out.push_str(&value),
                false => common::quote(out, &value),
            }
        }
        out.push('}');
    }

    /// The response's headers: names in lower case, a list of values each.
    fn header_json(&self, out: &mut String) {
        let mut names: Vec<String> = Vec::new();
        let fields = self.head.as_ref().map_or(&[][..], |head| &head.fields);
        for (name, _) in fields {
            let name = name.to_ascii_lowercase();
            if !names.contains(&name) {
                names.push(name);
            }
        }
        out.push('{');
        for (n, name) in names.iter().enumerate() {
            out.push_str(if n > 0 { ",\n" } else { "" });
            common::quote(out, name);
            out.push_str(":[");
            let values = fields.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
            for (n, (_, value)) in values.enumerate() {
                out.push_str(if n > 0 { "," } else { "" });
                common::quote(out, value);
            }
            out.push(']');
        }
        out.push_str("\n}");
    }
}

/// `%{NAME}`, or `%header{NAME}` as curl 7.84 and later have it.
fn variable(rest: &str) -> Option<(&str, &str)> {
    if let Some(tail) = rest.strip_prefix("%header{") {
        let (name, after) = tail.split_once('}')?;
        let whole = &rest[1..1 + "header{".len() + name.len()];
        return Some((whole, after));
    }
    rest.strip_prefix("%{").and_then(|tail| tail.split_once('}'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn report() -> Report {
        let fields = [("X-A", "1"), ("x-a", "2\""), ("Content-Type", "t")];
        let fields = fields.map(|(n, v)| (n.to_string(), v.to_string())).to_vec();
        Report {
            head: Some(Head { status: 200, version: "1.1", text: Vec::new(), fields }),
            size_download: 12,
            times: Times { total: Duration::from_micros(1_500_000), ..Times::default() },
            remote: Some(Address::Ip("[::1]:80".parse().unwrap())),
            ..Report::default()
        }
    }

    #[test]
    fn formats() {
        for (format, text) in [
            ("%{http_code}\\n", "200\n"),
            ("%{size_download}/%{time_total}/%{speed_download}", "12/1.500000/8"),
            ("%{remote_ip}|%{remote_port}", "::1|80"),
            ("100%% \\t%{nothing}|", "100% \t|"),
            ("% \\x %{open é", "% \\x %{open é"),
            ("%header{X-a}|%header{no}|%{content_type}", "1||t"),
            ("%{header_json}", "{\"x-a\":[\"1\",\"2\\\"\"],\n\"content-type\":[\"t\"]\n}"),
            ("a%{onerror}b", "a"),
            ("%header{open", "%header{open"),
            ("%", "%"),
            ("", ""),
        ] {
            assert_eq!(report().format(format).stdout, text, "{format}");
        }
        let said = report().format("%{nothing}").stderr;
        assert_eq!(said, "loopwork get: -w knows no %{nothing}\n");
        assert_eq!(Report::default().format("%{http_code}").stdout, "000");
        let said = report().format("a%{stderr}b%{stdout}c");
        assert_eq!((said.stdout.as_str(), said.stderr.as_str()), ("ac", "b"));
    }

    proptest! {
        #[test]
        fn any_format_is_taken(text in "(%|\\{|\\}|header|url|stderr|\\\\|n|é){0,16}") {
            let _ = report().format(&text);
        }
    }

    #[test]
    fn json_has_all_of_it() {
        let text = report().format("%{json}").stdout;
        assert!(text.starts_with("{\"content_type\":\"t\",\"errormsg\":\"\",\"exitcode\":0,"));
        assert!(text.contains("\"http_code\":200,") && text.ends_with('}'), "{text}");
    }
}
