//! What `--metrics` tells: counters that all threads share, in the text format of Prometheus.
//!
//! Rule: names and units are those of the format's conventions: seconds, bytes, `_total`.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// The bounds of the histogram, in microseconds: from a file that is in memory to a slow client.
const BOUNDS: [u64; 9] = [100, 500, 1_000, 5_000, 10_000, 50_000, 100_000, 1_000_000, 10_000_000];

/// Since the server began.
#[derive(Default)]
pub(super) struct Counters {
    /// By the first digit of the status; 0: cut off before there was one.
    answers: [AtomicU64; 10],
    in_flight: AtomicI64,
    bytes: AtomicU64,
    cut: AtomicU64,
    pub(super) malformed: AtomicU64,
    pub(super) late: AtomicU64,
    /// Lines of the log that nobody took in time.
    pub(super) unlogged: AtomicU64,
    took: [AtomicU64; BOUNDS.len() + 1],
    took_micros: AtomicU64,
}

impl Counters {
    pub(super) fn begin(&self) {
        self.in_flight.fetch_add(1, Relaxed);
    }

    /// A request is done with.
    pub(super) fn end(&self, status: u16, bytes: u64, took: Duration, cut: bool) {
        self.in_flight.fetch_sub(1, Relaxed);
        self.answers[usize::from(status / 100).min(9)].fetch_add(1, Relaxed);
        self.bytes.fetch_add(bytes, Relaxed);
        self.cut.fetch_add(u64::from(cut), Relaxed);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let slot = BOUNDS.iter().position(|bound| micros <= *bound).unwrap_or(BOUNDS.len());
        self.took[slot].fetch_add(1, Relaxed);
        self.took_micros.fetch_add(micros, Relaxed);
    }

    /// The page.
    pub(super) fn text(&self) -> String {
        let mut out = String::new();
        let answers = "loopwork_http_responses_total";
        head(&mut out, answers, "counter", "Responses, by the class of their status.");
        for (class, count) in self.answers.iter().enumerate() {
            let count = count.load(Relaxed);
            match class {
                _ if count == 0 => {}
                0 => drop(writeln!(out, "{answers}{{code=\"none\"}} {count}")),
                class => drop(writeln!(out, "{answers}{{code=\"{class}xx\"}} {count}")),
            }
        }
        let flying = u64::try_from(self.in_flight.load(Relaxed)).unwrap_or(0);
        for (name, kind, help, value) in [
            ("http_requests_in_flight", "gauge", "Requests that are being answered.", flying),
            (
                "http_response_body_bytes_total",
                "counter",
                "Bytes of bodies.",
                self.bytes.load(Relaxed),
            ),
            ("http_cut_total", "counter", "Responses that were cut off.", self.cut.load(Relaxed)),
            (
                "http_malformed_total",
                "counter",
                "What came and is no request.",
                self.malformed.load(Relaxed),
            ),
            ("http_late_total", "counter", "Clients that took too long.", self.late.load(Relaxed)),
            (
                "log_lines_dropped_total",
                "counter",
                "Lines of the log that were not written.",
                self.unlogged.load(Relaxed),
            ),
        ] {
            head(&mut out, &format!("loopwork_{name}"), kind, help);
            let _ = writeln!(out, "loopwork_{name} {value}");
        }
        self.histogram(&mut out);
        out
    }

    fn histogram(&self, out: &mut String) {
        let name = "loopwork_http_request_duration_seconds";
        head(out, name, "histogram", "From a request's head to the end of its response.");
        let mut all = 0;
        for (slot, count) in self.took.iter().enumerate() {
            all += count.load(Relaxed);
            let _ = match BOUNDS.get(slot) {
                Some(micros) => {
                    let bound = *micros as f64 / 1e6;
                    writeln!(out, "{name}_bucket{{le=\"{bound}\"}} {all}")
                }
                None => writeln!(out, "{name}_bucket{{le=\"+Inf\"}} {all}"),
            };
        }
        let sum = self.took_micros.load(Relaxed) as f64 / 1e6;
        let _ = writeln!(out, "{name}_sum {sum}\n{name}_count {all}");
    }
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}
