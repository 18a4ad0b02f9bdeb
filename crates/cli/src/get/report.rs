//! `-w FORMAT`: what is said behind the body.
//!
//! Rule: names are curl's; one that is not known is told, and stands for nothing.

use crate::common::talk;
use std::fmt::Write as _;
use std::time::Duration;

/// What is known of a transfer when it is over.
#[derive(Default, Debug)]
pub(super) struct Report {
    /// Of the last response; 0 when there was none.
    pub(super) status: u16,
    pub(super) size_download: u64,
    pub(super) size_upload: u64,
    pub(super) redirects: u32,
    pub(super) time_total: Duration,
    pub(super) time_first: Duration,
    pub(super) content_type: String,
    pub(super) method: String,
    /// The last URL that was asked.
    pub(super) url: String,
    pub(super) remote: String,
    pub(super) exit: u8,
}

impl Report {
    /// The format with its variables filled in.
    pub(super) fn format(&self, format: &str) -> String {
        let mut out = String::new();
        let mut rest = format;
        while let Some(at) = rest.find(['%', '\\']) {
            out.push_str(&rest[..at]);
            rest = &rest[at..];
            let named = rest.strip_prefix("%{").and_then(|tail| tail.split_once('}'));
            if let Some((name, tail)) = named {
                self.variable(&mut out, name);
                rest = tail;
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
        out.push_str(rest);
        out
    }

    fn variable(&self, out: &mut String, name: &str) {
        let _ = match name {
            "http_code" | "response_code" => write!(out, "{:03}", self.status),
            "size_download" => write!(out, "{}", self.size_download),
            "size_upload" => write!(out, "{}", self.size_upload),
            "time_total" => write!(out, "{:.6}", self.time_total.as_secs_f64()),
            "time_starttransfer" => write!(out, "{:.6}", self.time_first.as_secs_f64()),
            "num_redirects" => write!(out, "{}", self.redirects),
            "content_type" => write!(out, "{}", self.content_type),
            "url_effective" => write!(out, "{}", self.url),
            "method" => write!(out, "{}", self.method),
            "remote_ip" | "remote_port" => {
                let (ip, port) = self.remote.rsplit_once(':').unwrap_or_default();
                let ip = ip.trim_start_matches('[').trim_end_matches(']');
                write!(out, "{}", if name == "remote_ip" { ip } else { port })
            }
            "exitcode" => write!(out, "{}", self.exit),
            _ => {
                talk(&format!("loopwork get: -w knows no %{{{name}}}"));
                Ok(())
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats() {
        let report = Report {
            status: 200,
            size_download: 12,
            time_total: Duration::from_micros(1_500_000),
            remote: "[::1]:80".into(),
            ..Report::default()
        };
        for (format, text) in [
            ("%{http_code}\\n", "200\n"),
            ("%{size_download}/%{time_total}", "12/1.500000"),
            ("%{remote_ip}|%{remote_port}", "::1|80"),
            ("100%% \\t%{nothing}|", "100% \t|"),
            ("% \\x %{open é", "% \\x %{open é"),
            ("%", "%"),
            ("", ""),
        ] {
            assert_eq!(report.format(format), text, "{format}");
        }
        assert_eq!(Report::default().format("%{http_code}"), "000");
    }
}
