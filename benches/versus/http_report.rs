//! What `versus http` measured, as a table for people and as JSON for machines.

use crate::compared::{self, Compared};
use crate::http_load::Load;
use crate::report::{self, Object};
use loopwork_benches::MINIMAL;

/// One server under one load.
pub(crate) struct Row {
    pub(crate) load: Load,
    pub(crate) server: &'static str,
    pub(crate) compared: Compared,
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

/// The head of the table of rates.
pub(crate) fn head() -> String {
    let cells = compared::head("requests");
    format!("| load | connections | server | {cells}\n|---|---|---|---|---|---|---|---|---|---|")
}

impl Row {
    /// A line of the table.
    pub(crate) fn line(&self) -> String {
        let Row { load, server, compared } = self;
        format!("| {} | {} | {server} | {}", load.name(), load.conns, compared.cells())
    }

    /// As a row of the others' picture.
    pub(crate) fn for_chart(&self) -> report::Row {
        report::Row {
            load: self.load.name(),
            bytes: MINIMAL.len(),
            conns: self.load.conns,
            server: self.server,
            measured: Some(self.compared.measured.clone()),
            base: self.compared.raw.clone(),
            calls: None,
        }
    }

    fn json(&self) -> String {
        let Row { load, server, compared } = self;
        let mut object = Object::new();
        object.number("connections", load.conns as f64).number("pipelined", load.depth as f64);
        object.text("server", server);
        compared.tell(&mut object);
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
