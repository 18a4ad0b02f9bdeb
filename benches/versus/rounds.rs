//! Who is measured when: all servers under one load, in rounds that alternate.
//!
//! Rules:
//! * A round starts each server anew, and who goes first changes, so that a drift of the machine
//!   favours nobody.
//! * The best of a server's rounds counts, since noise only ever slows; the median is kept beside.
//! * The processor time is the server's alone. The rate depends on the load, too.

use crate::load::Done;
use crate::server::Server;
use std::collections::BTreeMap;
use std::io;

/// What one server's rounds came to.
#[derive(Clone, Default)]
pub(crate) struct Measured {
    rates: Vec<f64>,
    cpu: Vec<f64>,
}

impl Measured {
    /// The most that it did in a second.
    pub(crate) fn rate(&self) -> f64 {
        self.rates.iter().copied().fold(0.0, f64::max)
    }

    /// The least nanoseconds of the server's processor that one took.
    pub(crate) fn cpu(&self) -> f64 {
        self.cpu.iter().copied().fold(f64::INFINITY, f64::min)
    }

    /// As `rate`, in the middle of all rounds.
    pub(crate) fn median_rate(&self) -> f64 {
        median(&self.rates)
    }

    /// As `cpu`, in the middle of all rounds.
    pub(crate) fn median_cpu(&self) -> f64 {
        median(&self.cpu)
    }
}

fn median(all: &[f64]) -> f64 {
    let mut sorted = all.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// All servers in so many rounds. Who does not start is left out.
///
/// # Errors
/// A server that answers wrongly or not at all, with its name.
pub(crate) fn alternate(
    servers: &[&'static str],
    rounds: usize,
    start: &dyn Fn(&str) -> io::Result<Server>,
    warm: &dyn Fn(u16) -> io::Result<Done>,
    load: &dyn Fn(u16) -> io::Result<Done>,
) -> io::Result<BTreeMap<&'static str, Measured>> {
    let mut measured: BTreeMap<&str, Measured> = BTreeMap::new();
    for round in 0..rounds {
        for i in 0..servers.len() {
            let name = servers[(i + round) % servers.len()];
            let Ok(server) = start(name) else { continue };
            let named = |e: io::Error| io::Error::new(e.kind(), format!("{name}: {e}"));
            warm(server.port).map_err(named)?;
            let before = server.cpu()?;
            let done = load(server.port).map_err(named)?;
            let cpu = server.cpu()? - before;
            let all = measured.entry(name).or_default();
            all.rates.push(done.count as f64 / done.time.as_secs_f64());
            all.cpu.push(cpu as f64 / done.count.max(1) as f64);
        }
    }
    Ok(measured)
}
