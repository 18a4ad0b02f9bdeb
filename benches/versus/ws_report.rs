//! What `versus ws` measured, as a table for people and as JSON for machines.

use crate::compared::{self, Compared};
use crate::report::{self, Object};
use crate::ws_load::Load;

/// One server under one load.
pub(crate) struct Row {
    pub(crate) load: Load,
    pub(crate) server: &'static str,
    pub(crate) compared: Compared,
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

/// The head of the table of rates.
pub(crate) fn head() -> String {
    let cells = compared::head("messages");
    format!("| message | connections | server | {cells}\n|---|---|---|---|---|---|---|---|---|---|")
}

impl Row {
    /// A line of the table.
    pub(crate) fn line(&self) -> String {
        let Row { load, server, compared } = self;
        format!("| {} | {} | {server} | {}", load, load.conns, compared.cells())
    }

    fn json(&self) -> String {
        let Row { load, server, compared } = self;
        let mut object = of(*load, server);
        compared.tell(&mut object);
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
