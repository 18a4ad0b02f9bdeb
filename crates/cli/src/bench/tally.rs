//! What was measured, and how it is told: as text, and as JSON.
//!
//! Rules of this file:
//! * Latencies are nanoseconds in a histogram that keeps three digits of each, up to an hour.
//! * What is told in JSON has a `schema_version`, and no field of it changes its meaning.

use crate::common;
use hdrhistogram::Histogram;
use std::fmt::Write as _;
use std::time::Duration;

/// The longest latency that is told apart: an hour.
const LONGEST: u64 = 3_600_000_000_000;
/// The percentiles that are told.
pub(super) const PERCENTILES: [f64; 7] = [50.0, 75.0, 90.0, 99.0, 99.9, 99.99, 100.0];

/// What went wrong, by kind.
#[derive(Clone, Copy, Default)]
pub(super) struct Errors {
    pub(super) connect: u64,
    pub(super) read: u64,
    pub(super) timeout: u64,
    pub(super) malformed: u64,
}

impl Errors {
    pub(super) fn kinds(&self) -> [(&'static str, u64); 4] {
        [
            ("connect", self.connect),
            ("read", self.read),
            ("timeout", self.timeout),
            ("malformed", self.malformed),
        ]
    }

    pub(super) fn all(&self) -> u64 {
        self.kinds().iter().map(|(_, n)| n).sum()
    }
}

/// Answers, and how long they took.
pub(super) struct Tally {
    pub(super) connects: u64,
    pub(super) bytes: u64,
    pub(super) errors: Errors,
    /// From when each request was due.
    pub(super) latency: Histogram<u64>,
    /// With a rate: requests that were due, and had no answer when the run ended.
    pub(super) unanswered: u64,
    /// With a rate: from when it went out.
    pub(super) late: Option<Histogram<u64>>,
    /// How many answers had which status.
    statuses: Vec<u64>,
    /// Answers in each second.
    pub(super) seconds: Vec<u64>,
    /// From the first connection to the end, with the warm-up.
    pub(super) time: Duration,
    /// That ended the run before its time.
    pub(super) signal: Option<u8>,
    /// Processor time, if the system tells.
    pub(super) cpu: Option<Duration>,
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST, 3).expect("bounds that it takes")
}

impl Default for Tally {
    fn default() -> Tally {
        Tally {
            connects: 0,
            bytes: 0,
            errors: Errors::default(),
            latency: histogram(),
            unanswered: 0,
            late: None,
            statuses: vec![0; 1000],
            seconds: Vec::new(),
            time: Duration::ZERO,
            signal: None,
            cpu: None,
        }
    }
}

impl Tally {
    /// Counts an answer, with its status if it has one, in the `second` of the run.
    pub(super) fn answer(
        &mut self,
        took: Duration,
        late: Option<Duration>,
        status: Option<u16>,
        second: usize,
    ) {
        self.latency.saturating_record(nanos(took));
        if let Some(late) = late {
            self.late.get_or_insert_with(histogram).saturating_record(nanos(late));
        }
        let count = status.and_then(|status| self.statuses.get_mut(usize::from(status)));
        if let Some(count) = count {
            *count += 1;
        }
        if second >= self.seconds.len() {
            self.seconds.resize(second + 1, 0);
        }
        self.seconds[second] += 1;
    }

    /// Adds what another thread has measured.
    pub(super) fn add(&mut self, other: &Tally) {
        self.connects += other.connects;
        self.bytes += other.bytes;
        self.unanswered += other.unanswered;
        let (all, more) = (&mut self.errors, other.errors);
        all.connect += more.connect;
        all.read += more.read;
        all.timeout += more.timeout;
        all.malformed += more.malformed;
        // Of one kind, with the same bounds.
        let _ = self.latency.add(&other.latency);
        if let Some(late) = &other.late {
            let _ = self.late.get_or_insert_with(histogram).add(late);
        }
        self.statuses.iter_mut().zip(&other.statuses).for_each(|(all, more)| *all += more);
        let len = self.seconds.len().max(other.seconds.len());
        self.seconds.resize(len, 0);
        self.seconds.iter_mut().zip(&other.seconds).for_each(|(all, more)| *all += more);
        self.time = self.time.max(other.time);
        self.cpu = self.cpu.zip(other.cpu).map(|(all, more)| all + more);
    }

    pub(super) fn requests(&self) -> u64 {
        self.latency.len()
    }

    /// The statuses that came, each with how often.
    pub(super) fn statuses(&self) -> impl Iterator<Item = (usize, u64)> {
        self.statuses.iter().copied().enumerate().filter(|(_, count)| *count > 0)
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// A run, to be told of.
pub(super) struct Run<'a> {
    pub(super) url: &'a str,
    /// What one of those is that are counted: a request, a message.
    pub(super) unit: &'static str,
    pub(super) threads: usize,
    pub(super) connections: usize,
    pub(super) depth: usize,
    pub(super) rate: Option<f64>,
    /// Without the warm-up.
    pub(super) time: Duration,
    pub(super) tally: &'a Tally,
    pub(super) warnings: &'a [String],
}

impl Run<'_> {
    pub(super) fn per_second(&self, count: u64) -> f64 {
        count as f64 / self.time.as_secs_f64().max(1e-9)
    }

    /// The answer for a terminal; with the whole spectrum of latencies, or not.
    pub(super) fn text(&self, spectrum: bool) -> String {
        let (tally, mut out) = (self.tally, String::new());
        let (seconds, connections, depth) = (self.time.as_secs_f64(), self.connections, self.depth);
        let unit = self.unit;
        let _ = writeln!(out, "{}", self.url);
        let _ = write!(out, "  {seconds:.1} s, {connections} connections");
        if depth > 1 {
            let _ = write!(out, ", {depth} {unit}s at once on each");
        }
        if self.threads > 1 {
            let _ = write!(out, ", {} threads", self.threads);
        }
        if let Some(rate) = self.rate {
            let _ = write!(out, ", {rate} {unit}s a second asked for");
        }
        let (all, bytes) = (tally.requests(), tally.bytes);
        let _ = writeln!(out, "\n\n  {unit}s {all:>12}   {:.1}/s", self.per_second(all));
        let read = size(self.per_second(bytes));
        let _ = writeln!(out, "  read     {:>12}   {read}/s", size(bytes as f64));
        for (status, count) in tally.statuses() {
            let _ = writeln!(out, "  {status:<8} {count:>12}");
        }
        for (kind, count) in tally.errors.kinds().into_iter().filter(|(_, count)| *count > 0) {
            let _ = writeln!(out, "  {kind:<8} {count:>12}   errors");
        }
        if all > 0 {
            let _ = writeln!(out);
        }
        match &tally.late {
            _ if all == 0 => {}
            None => latencies(&mut out, "latency", &tally.latency, spectrum),
            Some(late) => {
                let title =
                    format!("latency, from when each {unit} was due (no coordinated omission)");
                latencies(&mut out, &title, &tally.latency, spectrum);
                let _ = writeln!(out);
                latencies(&mut out, "latency, from when each was sent", late, false);
            }
        }
        for warning in self.warnings {
            let _ = writeln!(out, "\nwarning: {warning}");
        }
        out
    }

    /// One object.
    pub(super) fn json(&self) -> String {
        let (tally, all) = (self.tally, self.tally.requests());
        let statuses: Vec<_> = tally.statuses().map(|(s, n)| format!("\"{s}\":{n}")).collect();
        let errors: Vec<_> =
            tally.errors.kinds().iter().map(|(kind, n)| format!("\"{kind}\":{n}")).collect();
        let seconds: Vec<_> = tally.seconds.iter().map(u64::to_string).collect();
        let warnings: Vec<_> = self.warnings.iter().map(|text| quoted(text)).collect();
        let rate = self.rate.map_or("null".to_string(), |rate| rate.to_string());
        let sent = tally.late.as_ref().map_or("null".to_string(), spread);
        let cpu = tally.cpu.map_or("null".to_string(), |cpu| format!("{:.6}", cpu.as_secs_f64()));
        format!(
            "{{\"schema_version\":1,\"url\":{},\"threads\":{},\"connections\":{},\"depth\":{},\
             \"rate\":{rate},\"seconds\":{:.6},\"requests\":{all},\"requests_per_second\":{:.3},\
             \"bytes\":{},\"bytes_per_second\":{:.3},\"statuses\":{{{}}},\"errors\":{{{}}},\
             \"connects\":{},\"unanswered\":{},\"latency_ns\":{},\"latency_from_sent_ns\":{sent},\
             \"client_cpu_seconds\":{cpu},\"each_second\":[{}],\"warnings\":[{}]}}\n",
            quoted(self.url),
            self.threads,
            self.connections,
            self.depth,
            self.time.as_secs_f64(),
            self.per_second(all),
            tally.bytes,
            self.per_second(tally.bytes),
            statuses.join(","),
            errors.join(","),
            tally.connects,
            tally.unanswered,
            spread(&tally.latency),
            seconds.join(","),
            warnings.join(","),
        )
    }
}

/// A histogram, as an object.
fn spread(all: &Histogram<u64>) -> String {
    let mut out = format!(
        "{{\"count\":{},\"mean\":{:.0},\"stdev\":{:.0},\"min\":{},\"max\":{}",
        all.len(),
        all.mean(),
        all.stdev(),
        all.min(),
        all.max()
    );
    for p in &PERCENTILES[..6] {
        let _ = write!(out, ",\"p{p}\":{}", all.value_at_percentile(*p));
    }
    out.push('}');
    out
}

/// A JSON string.
fn quoted(text: &str) -> String {
    let mut out = String::new();
    common::quote(&mut out, text);
    out
}

fn latencies(out: &mut String, title: &str, all: &Histogram<u64>, spectrum: bool) {
    let _ = writeln!(out, "  {title}");
    let (mean, stdev) = (time(all.mean()), time(all.stdev()));
    let _ = writeln!(out, "    mean {mean:>10}   stdev {stdev}");
    if !spectrum {
        for p in PERCENTILES {
            let _ = writeln!(out, "    {:>6} {:>10}", label(p), time(at(all, p)));
        }
        return;
    }
    // Each line halves what is left, as HDR's own reports do.
    let mut left = 100.0;
    while left > 1e-4 && all.count_between(at(all, 100.0 - left) as u64, u64::MAX) > 0 {
        let p = 100.0 - left;
        let above = all.count_between(at(all, p) as u64, u64::MAX);
        let _ = writeln!(out, "    {p:>9.4} % {:>10} {above:>12}", time(at(all, p)));
        left /= 2.0;
        if above <= 1 {
            break;
        }
    }
    let _ = writeln!(out, "    {:>9.4} % {:>10}", 100.0, time(all.max() as f64));
}

fn at(all: &Histogram<u64>, percentile: f64) -> f64 {
    all.value_at_percentile(percentile) as f64
}

/// `99.9 %`, and `max` for the last.
pub(super) fn label(percentile: f64) -> String {
    if percentile >= 100.0 { "max".to_string() } else { format!("{percentile} %") }
}

/// Nanoseconds, with a unit.
pub(super) fn time(nanos: f64) -> String {
    match nanos {
        n if n < 1e3 => format!("{n:.0} ns"),
        n if n < 1e6 => format!("{:.1} µs", n / 1e3),
        n if n < 1e9 => format!("{:.2} ms", n / 1e6),
        n => format!("{:.2} s", n / 1e9),
    }
}

/// Bytes, with a unit.
fn size(bytes: f64) -> String {
    match bytes {
        b if b < 1e3 => format!("{b:.0} B"),
        b if b < 1e6 => format!("{:.1} kB", b / 1e3),
        b if b < 1e9 => format!("{:.1} MB", b / 1e6),
        b => format!("{:.2} GB", b / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_have_units() {
        for (nanos, text) in
            [(7.0, "7 ns"), (1500.0, "1.5 µs"), (2.5e6, "2.50 ms"), (3e9, "3.00 s")]
        {
            assert_eq!(time(nanos), text);
        }
        assert_eq!(
            (size(999.0), size(1e4), size(2.5e9)),
            ("999 B".into(), "10.0 kB".into(), "2.50 GB".into())
        );
    }

    proptest! {
        /// Percentiles are those of the sorted list, to three digits.
        #[test]
        fn percentiles_are_those_of_the_list(
            mut list in prop::collection::vec(1u64..10_000_000_000, 1..400),
            split in 0usize..400,
        ) {
            let (mut one, mut two) = (Tally::default(), Tally::default());
            for (n, nanos) in list.iter().enumerate() {
                let tally = if n < split { &mut one } else { &mut two };
                tally.answer(Duration::from_nanos(*nanos), None, Some(200), n % 3);
            }
            one.add(&two);
            list.sort_unstable();
            prop_assert_eq!(one.requests(), list.len() as u64);
            prop_assert_eq!(one.statuses().collect::<Vec<_>>(), vec![(200, list.len() as u64)]);
            prop_assert_eq!(one.seconds.iter().sum::<u64>(), list.len() as u64);
            for p in PERCENTILES {
                let rank = ((p / 100.0 * list.len() as f64).ceil() as usize).clamp(1, list.len());
                let exact = list[rank - 1] as f64;
                let told = one.latency.value_at_percentile(p) as f64;
                prop_assert!((told - exact).abs() <= exact / 500.0 + 1.0, "{p}: {told}, {exact}");
            }
        }
    }
}
