//! What `versus http` measured, as a table for people and as JSON for machines.

use crate::exact::Calls;
use crate::http_load::Load;
use crate::report::{self, Object};
use crate::rounds::Measured;
use loopwork_benches::MINIMAL;

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

/// A server, what it is or why it is not there, and the bytes of its answer.
pub(crate) struct Answer {
    pub(crate) server: &'static str,
    pub(crate) about: String,
    /// 0: it is not there.
    pub(crate) bytes: usize,
}

/// The memory of a server with so many connections.
pub(crate) struct Memory {
    pub(crate) server: &'static str,
    pub(crate) conns: usize,
    /// Bytes, of files too.
    pub(crate) resident: u64,
    /// Bytes that are its alone.
    pub(crate) own: u64,
}

/// One server's instructions under one load, if they were counted.
pub(crate) type Exact = (&'static str, Load, Option<f64>);

/// All of it.
#[derive(Default)]
pub(crate) struct Results {
    pub(crate) rounds: usize,
    pub(crate) seconds: f64,
    pub(crate) answers: Vec<Answer>,
    pub(crate) rows: Vec<Row>,
    pub(crate) exact: Vec<Exact>,
    pub(crate) memory: Vec<Memory>,
}

/// The head of the table of rates. A cell with two figures has the best round and the median.
pub(crate) const HEAD: &str = "\
| load | connections | server | requests/s, best and median | server CPU ns each, best and median \
| CPU ÷ raw | CPU ÷ ours | rate ÷ raw | rate ÷ ours | calls each: reads, writes, waits, others |
|---|---|---|---|---|---|---|---|---|---|";

impl Row {
    /// A line of the table.
    pub(crate) fn line(&self) -> String {
        let Row { load, server, measured: m, raw, ours, calls } = self;
        let calls = calls.map_or("–".to_string(), |Calls { reads, writes, waits, others }| {
            format!("{reads:.3} {writes:.3} {waits:.3} {others:.3}")
        });
        let (rate, cpu) = (m.rate(), m.cpu());
        if !cpu.is_finite() {
            let (name, conns) = (load.name(), load.conns);
            return format!("| {name} | {conns} | {server} | not timed | | | | | | {calls} |");
        }
        format!(
            "| {} | {} | {server} | {rate:.0} {:.0} | {cpu:.0} {:.0} | {:.2} | {:.2} | {:.2} \
             | {:.2} | {calls} |",
            load.name(),
            load.conns,
            m.median_rate(),
            m.median_cpu(),
            cpu / raw.cpu(),
            cpu / ours.cpu(),
            rate / raw.rate(),
            rate / ours.rate()
        )
    }

    /// As a row of the others' picture.
    pub(crate) fn for_chart(&self) -> report::Row {
        report::Row {
            load: self.load.name(),
            bytes: MINIMAL.len(),
            conns: self.load.conns,
            server: self.server,
            measured: Some(self.measured.clone()),
            base: self.raw.clone(),
            calls: None,
        }
    }

    fn json(&self) -> String {
        let Row { load, server, measured: m, raw, ours, calls } = self;
        let mut object = Object::new();
        object.number("connections", load.conns as f64).number("pipelined", load.depth as f64);
        object.text("server", server);
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

impl Results {
    /// As a JSON document.
    pub(crate) fn json(&self) -> String {
        let answers = self.answers.iter().map(|a| {
            let mut object = Object::new();
            object.text("server", a.server).text("about", &a.about);
            object.number("answer_bytes", a.bytes as f64).end()
        });
        let exact = self.exact.iter().map(|(server, load, instructions)| {
            let mut object = Object::new();
            object.text("server", server).number("connections", load.conns as f64);
            object.number("pipelined", load.depth as f64);
            object.number("user_instructions", instructions.unwrap_or(f64::NAN)).end()
        });
        let memory = self.memory.iter().map(|m| {
            let mut object = Object::new();
            object.text("server", m.server).number("connections", m.conns as f64);
            object.number("resident_bytes", m.resident as f64);
            object.number("own_bytes", m.own as f64).end()
        });
        let members = [
            ("rounds", self.rounds.to_string()),
            ("seconds", self.seconds.to_string()),
            ("servers", report::array(answers)),
            ("rows", report::array(self.rows.iter().map(Row::json))),
            ("exact", report::array(exact)),
            ("memory", report::array(memory)),
        ];
        report::document("versus http", &members)
    }
}
