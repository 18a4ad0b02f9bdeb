//! What `versus ws` measured, as a table for people and as JSON for machines.

use crate::exact::Calls;
use crate::report::{self, Object};
use crate::rounds::Measured;
use crate::ws_load::Load;

/// One server under one load.
pub(crate) struct Row {
    pub(crate) load: Load,
    pub(crate) server: &'static str,
    pub(crate) measured: Measured,
    /// What the raw server took, and what ours did, to compare with.
    pub(crate) raw: Measured,
    pub(crate) ours: Measured,
    pub(crate) calls: Option<Calls>,
}

/// A server, and what it is or why it is not there.
pub(crate) struct Who {
    pub(crate) server: &'static str,
    pub(crate) about: String,
    pub(crate) there: bool,
}

/// One server's instructions under one load, if they were counted.
pub(crate) type Exact = (&'static str, Load, Option<f64>);

/// All of it.
#[derive(Default)]
pub(crate) struct Results {
    pub(crate) rounds: usize,
    pub(crate) seconds: f64,
    pub(crate) servers: Vec<Who>,
    pub(crate) rows: Vec<Row>,
    pub(crate) exact: Vec<Exact>,
}

/// The head of the table of rates. A cell with two figures has the best round and the median.
pub(crate) const HEAD: &str = "\
| message | connections | server | messages/s, best and median | server CPU ns each, best and \
median | CPU ÷ raw | CPU ÷ ours | rate ÷ raw | rate ÷ ours | calls each: reads, writes, waits, \
others |
|---|---|---|---|---|---|---|---|---|---|";

impl Row {
    /// A line of the table.
    pub(crate) fn line(&self) -> String {
        let Row { load, server, measured: m, raw, ours, calls } = self;
        let calls = calls.map_or("–".to_string(), |Calls { reads, writes, waits, others }| {
            format!("{reads:.3} {writes:.3} {waits:.3} {others:.3}")
        });
        let (rate, cpu, conns) = (m.rate(), m.cpu(), load.conns);
        if !cpu.is_finite() {
            return format!("| {load} | {conns} | {server} | not timed | | | | | | {calls} |");
        }
        // Who was not asked for has nothing to compare with.
        let ratio = |n: f64| match n.is_finite() && n > 0.0 {
            true => format!("{n:.2}"),
            false => "–".to_string(),
        };
        format!(
            "| {load} | {conns} | {server} | {rate:.0} {:.0} | {cpu:.0} {:.0} | {} | {} | {} | {} \
             | {calls} |",
            m.median_rate(),
            m.median_cpu(),
            ratio(cpu / raw.cpu()),
            ratio(cpu / ours.cpu()),
            ratio(rate / raw.rate()),
            ratio(rate / ours.rate())
        )
    }

    fn json(&self) -> String {
        let Row { load, server, measured: m, raw, ours, calls } = self;
        let mut object = of(*load, server);
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
        object.end()
    }
}

fn of(load: Load, server: &str) -> Object {
    let mut object = Object::new();
    object.number("bytes", load.size as f64).number("connections", load.conns as f64);
    object.number("pipelined", load.depth as f64).text("server", server);
    object
}

impl Results {
    /// As a JSON document.
    pub(crate) fn json(&self) -> String {
        let servers = self.servers.iter().map(|who| {
            let mut object = Object::new();
            object.text("server", who.server).text("about", &who.about);
            object.raw("there", &who.there.to_string()).end()
        });
        let exact = self.exact.iter().map(|(server, load, instructions)| {
            let mut object = of(*load, server);
            object.number("user_instructions", instructions.unwrap_or(f64::NAN)).end()
        });
        let members = [
            ("rounds", self.rounds.to_string()),
            ("seconds", self.seconds.to_string()),
            ("servers", report::array(servers)),
            ("rows", report::array(self.rows.iter().map(Row::json))),
            ("exact", report::array(exact)),
        ];
        report::document("versus ws", &members)
    }
}
