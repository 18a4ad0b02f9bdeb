//! What was measured, as a table for people and as JSON for machines.

use crate::rounds::Measured;
use std::fmt::Write;

/// One server under one load.
pub(crate) struct Row {
    /// The load's name.
    pub(crate) load: &'static str,
    /// Bytes of each thing that is counted.
    pub(crate) bytes: usize,
    /// Connections, or sockets.
    pub(crate) conns: usize,
    pub(crate) server: &'static str,
    /// `None`: the server did not start.
    pub(crate) measured: Option<Measured>,
    /// What the first server took, to compare with.
    pub(crate) base: Measured,
    /// The server's system calls for each, if they were counted.
    pub(crate) calls: Option<f64>,
}

/// The head of the table.
pub(crate) const HEAD: &str = "\
| load | connections | server | per second | server CPU ns each | bytes per CPU second \
| rate ÷ raw | CPU ÷ raw | system calls each |
|---|---|---|---|---|---|---|---|---|";

impl Row {
    /// A line of the table.
    pub(crate) fn line(&self) -> String {
        let Row { load, bytes, conns, server, .. } = self;
        let calls = self.calls.map_or("–".to_string(), |n| format!("{n:.3}"));
        let front = format!("| {load} {} | {conns} | {server}", size(*bytes));
        let Some(m) = &self.measured else {
            return format!("{front} | did not start | | | | | {calls} |");
        };
        let (rate, cpu) = (m.rate(), m.cpu());
        let (by_rate, by_cpu) = (rate / self.base.rate(), cpu / self.base.cpu());
        let volume = decimal(*bytes as f64 / cpu * 1e9);
        format!(
            "{front} | {rate:.0} | {cpu:.0} | {volume} | {by_rate:.2} | {by_cpu:.2} | {calls} |"
        )
    }

    fn json(&self) -> String {
        let mut object = Object::new();
        object.text("load", self.load).number("bytes", self.bytes as f64);
        object.number("connections", self.conns as f64).text("server", self.server);
        if let Some(m) = &self.measured {
            object.number("per_second", m.rate()).number("server_cpu_ns", m.cpu());
            object.number("server_cpu_ns_median", m.median_cpu());
            object.number("rate_to_raw", m.rate() / self.base.rate());
            object.number("cpu_to_raw", m.cpu() / self.base.cpu());
        }
        if let Some(calls) = self.calls {
            object.number("system_calls", calls);
        }
        object.end()
    }
}

/// Bytes, in the unit that they were chosen in.
pub(crate) fn size(bytes: usize) -> String {
    match bytes {
        n if n >= 1024 && n.is_multiple_of(1024) => format!("{} KiB", n / 1024),
        n => format!("{n} B"),
    }
}

/// Bytes, in thousands and their powers.
fn decimal(bytes: f64) -> String {
    match bytes {
        n if n >= 1e9 => format!("{:.2} GB", n / 1e9),
        n => format!("{:.1} MB", n / 1e6),
    }
}

/// All rows as a JSON array.
pub(crate) fn rows(rows: &[Row]) -> String {
    array(rows.iter().map(Row::json))
}

/// A JSON array of what is JSON already.
pub(crate) fn array(items: impl Iterator<Item = String>) -> String {
    let items: Vec<String> = items.map(|item| format!("\n    {item}")).collect();
    format!("[{}\n  ]", items.join(","))
}

/// A JSON object, member by member.
pub(crate) struct Object(String);

impl Object {
    pub(crate) fn new() -> Object {
        Object(String::new())
    }

    /// A member that is JSON already.
    pub(crate) fn raw(&mut self, name: &str, value: &str) -> &mut Object {
        let comma = if self.0.is_empty() { "" } else { ", " };
        let _ = write!(self.0, "{comma}\"{name}\": {value}");
        self
    }

    /// A number; what is none is `null`.
    pub(crate) fn number(&mut self, name: &str, value: f64) -> &mut Object {
        match value.is_finite() {
            true => self.raw(name, &format!("{}", (value * 1000.0).round() / 1000.0)),
            false => self.raw(name, "null"),
        }
    }

    /// A text.
    pub(crate) fn text(&mut self, name: &str, value: &str) -> &mut Object {
        let mut quoted = String::from("\"");
        for c in value.chars() {
            match c {
                '"' | '\\' => quoted.extend(['\\', c]),
                c if c < ' ' => quoted.push(' '),
                c => quoted.push(c),
            }
        }
        self.raw(name, &(quoted + "\""))
    }

    /// The object.
    pub(crate) fn end(&self) -> String {
        format!("{{{}}}", self.0)
    }
}

/// The whole document of a command: members that are JSON already, one a line.
pub(crate) fn document(command: &str, members: &[(&str, String)]) -> String {
    let mut head = Object::new();
    head.text("command", command).text("machine", &machine());
    let mut text = format!("{{\n  \"schema_version\": 1,\n  \"run\": {}", head.end());
    for (name, value) in members {
        let _ = write!(text, ",\n  \"{name}\": {value}");
    }
    text + "\n}\n"
}

/// The kernel and the processor.
pub(crate) fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let kernel = read("/proc/sys/kernel/osrelease").trim().to_string();
    let info = read("/proc/cpuinfo");
    let named =
        |l: &str| l.strip_prefix("model name").map(|l| l.trim_matches(['\t', ' ', ':']).into());
    let model: String = info.lines().find_map(named).unwrap_or_default();
    let cores = info.lines().filter(|l| l.starts_with("processor")).count();
    format!("Linux {kernel}, {cores} cores, {model}")
}
