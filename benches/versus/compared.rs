//! What a server's rounds came to beside the raw server's and ours: of `versus http` and `ws`.

use crate::exact::Calls;
use crate::report::Object;
use crate::rounds::Measured;

/// One server's, and what to compare with.
pub(crate) struct Compared {
    pub(crate) measured: Measured,
    pub(crate) raw: Measured,
    pub(crate) ours: Measured,
    /// The server's system calls for each, if they were counted.
    pub(crate) calls: Option<Calls>,
}

/// The head of [`Compared::cells`] for what is counted. A cell with two figures has the best round
/// and the median.
pub(crate) fn head(unit: &str) -> String {
    format!(
        "{unit}/s, best and median | server CPU ns each, best and median | CPU ÷ raw | CPU ÷ ours \
         | rate ÷ raw | rate ÷ ours | calls each: reads, writes, waits, others |"
    )
}

impl Compared {
    /// The cells of a table's line behind those that say who it is.
    pub(crate) fn cells(&self) -> String {
        let Compared { measured: m, raw, ours, calls } = self;
        let calls = calls.map_or("–".to_string(), |Calls { reads, writes, waits, others }| {
            format!("{reads:.3} {writes:.3} {waits:.3} {others:.3}")
        });
        let (rate, cpu) = (m.rate(), m.cpu());
        if !cpu.is_finite() {
            return format!("not timed | | | | | | {calls} |");
        }
        // Who was not asked for has nothing to compare with.
        let ratio = |n: f64| match n.is_finite() && n > 0.0 {
            true => format!("{n:.2}"),
            false => "–".to_string(),
        };
        format!(
            "{rate:.0} {:.0} | {cpu:.0} {:.0} | {} | {} | {} | {} | {calls} |",
            m.median_rate(),
            m.median_cpu(),
            ratio(cpu / raw.cpu()),
            ratio(cpu / ours.cpu()),
            ratio(rate / raw.rate()),
            ratio(rate / ours.rate())
        )
    }

    /// The same, as members of an object.
    pub(crate) fn tell(&self, object: &mut Object) {
        let Compared { measured: m, raw, ours, calls } = self;
        object.number("per_second", m.rate()).number("per_second_median", m.median_rate());
        object.number("server_cpu_ns", m.cpu()).number("server_cpu_ns_median", m.median_cpu());
        object.number("cpu_to_raw", m.cpu() / raw.cpu());
        object.number("cpu_to_loopwork", m.cpu() / ours.cpu());
        object.number("rate_to_raw", m.rate() / raw.rate());
        object.number("rate_to_loopwork", m.rate() / ours.rate());
        if let Some(Calls { reads, writes, waits, others }) = calls {
            object.number("reads", *reads).number("writes", *writes);
            object.number("waits", *waits).number("other_calls", *others);
        }
    }
}
