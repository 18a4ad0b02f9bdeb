//! Everything that a run depends on, and how it is written on a command line.
//!
//! Rules of this file:
//! * A plan and the command that [`Plan::command`] prints for it give the same run.

use loopwork::reactor::planted::Planted;
use loopwork::sim::{ALWAYS, Faults, Rate};
use std::fmt::Write;

/// Which servers and clients a run puts into its world.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scenario {
    /// An echo on streams that pauses, and clients that send, stall, end early, give up.
    Tcp,
    /// An HTTP server and a client with a pool of connections.
    Http,
    /// WebSockets that echo messages of all sizes.
    Ws,
    /// Questions and answers by datagrams, asked again until they are answered.
    Udp,
}

impl Scenario {
    /// All of them.
    pub const ALL: [Scenario; 4] = [Scenario::Tcp, Scenario::Http, Scenario::Ws, Scenario::Udp];

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Scenario::Tcp => "tcp",
            Scenario::Http => "http",
            Scenario::Ws => "ws",
            Scenario::Udp => "udp",
        }
    }

    /// The scenario of this name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Scenario> {
        Scenario::ALL.into_iter().find(|of| of.name() == name)
    }
}

/// Connections of a run unless told: enough to get into each other's way.
pub(crate) const CONNECTIONS: u32 = 4;
/// Bytes of one connection at most, unless told: more than the high-water mark of an output, so
/// that some runs fill it.
pub(crate) const BYTES: u32 = 128 * 1024;

/// Everything that a run depends on.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Who is in the world.
    pub scenario: Scenario,
    /// Answers every choice.
    pub seed: u64,
    /// How rough the world is.
    pub faults: Faults,
    /// The preset that `faults` began as: one of [`PRESETS`].
    pub preset: &'static str,
    /// Connections, or sockets, of clients.
    pub connections: u32,
    /// Bytes that one of them sends at most.
    pub bytes: u32,
    /// A bug that the loop shall have; of builds with the feature `planted`.
    pub bug: Option<Planted>,
}

impl Plan {
    /// A plan with the usual sizes, in the world of a preset.
    #[must_use]
    pub fn new(scenario: Scenario, seed: u64, preset: &'static str) -> Plan {
        let faults = faults(preset).unwrap_or_default();
        let (connections, bytes, bug) = (CONNECTIONS, BYTES, None);
        Plan { scenario, seed, faults, preset, connections, bytes, bug }
    }

    /// The arguments of `loopwork sim` that run exactly this.
    #[must_use]
    pub fn command(&self) -> String {
        let mut text = format!("loopwork sim --scenario {}", self.scenario.name());
        let _ = write!(text, " --seed {} --faults {}", self.seed, self.preset);
        let mut preset = faults(self.preset).unwrap_or_default();
        let mut ours = self.faults.clone();
        let pairs = ours.rates().into_iter().zip(preset.rates());
        let pairs = Vec::from_iter(pairs.map(|((name, ours), (_, preset))| (name, *ours, *preset)));
        let off = pairs.iter().any(|(_, ours, preset)| *ours == 0 && *preset > 0);
        if off {
            let kept = pairs.iter().filter(|(_, ours, preset)| *ours > 0 && *preset > 0);
            text += ":";
            text += &kept.map(|(name, ..)| *name).collect::<Vec<_>>().join("+");
        }
        for (name, ours, preset) in pairs {
            if ours != preset && !(off && ours == 0) {
                let _ = write!(text, ",{name}={ours}");
            }
        }
        if self.connections != CONNECTIONS {
            let _ = write!(text, " --connections {}", self.connections);
        }
        if self.bytes != BYTES {
            let _ = write!(text, " --bytes {}", self.bytes);
        }
        if let Some(bug) = self.bug {
            let _ = write!(text, " --plant {}", bug.name());
        }
        text
    }

    /// Whether this world breaks connections, so that a part of a stream may be all of it.
    #[must_use]
    pub fn breaks(&self) -> bool {
        self.faults.breaks()
    }
}

/// The presets, by name.
pub const PRESETS: [&str; 4] = ["none", "rough", "hostile", "dark"];

/// The world of a seed, unless told: each in turn.
#[must_use]
pub fn preset_of(seed: u64) -> &'static str {
    PRESETS[1 + (seed % 3) as usize]
}

/// A preset by its name.
#[must_use]
pub fn faults(preset: &str) -> Option<Faults> {
    match preset {
        "none" => Some(Faults::none()),
        "rough" => Some(Faults::rough()),
        "hostile" => Some(Faults::hostile()),
        "dark" => Some(Faults::dark()),
        _ => None,
    }
}

/// Parts of a million, or of a hundred with `%`.
fn rate(text: &str) -> Option<Rate> {
    let (number, unit) = match text.strip_suffix('%') {
        Some(number) => (number, ALWAYS / 100),
        None => (text, 1),
    };
    let rate = number.parse::<Rate>().ok()?.checked_mul(unit)?;
    (rate <= ALWAYS).then_some(rate)
}

/// The preset in front, and of its faults the named ones alone if there is a colon: `rough`,
/// `rough:loss+stale`, `rough:`.
fn begin(text: &str) -> Option<(Faults, &'static str)> {
    let (name, kept) = match text.split_once(':') {
        Some((name, kept)) => (name, Some(kept)),
        None => (text, None),
    };
    let name = PRESETS.into_iter().find(|of| *of == name)?;
    let mut world = faults(name)?;
    let Some(kept) = kept else { return Some((world, name)) };
    let kept: Vec<&str> = kept.split('+').filter(|name| !name.is_empty()).collect();
    let known = world.rates().map(|(name, _)| name);
    if kept.iter().any(|name| !known.contains(name)) {
        return None;
    }
    world.rates().into_iter().filter(|(of, _)| !kept.contains(of)).for_each(|(_, r)| *r = 0);
    Some((world, name))
}

/// `PRESET`, or `PRESET:NAME+NAME` for these kinds of its faults alone, and `NAME=RATE`, with a
/// comma between them: the world, and the preset that it began as, which is `none` unless it comes
/// first.
///
/// # Errors
/// One line that says which part is none, and what could stand there.
pub fn parse_faults(text: &str) -> Result<(Faults, &'static str), String> {
    let mut all = (Faults::none(), "none");
    for (at, part) in text.split(',').enumerate() {
        let Some((name, value)) = part.split_once('=') else {
            let named = (at == 0).then(|| begin(part)).flatten();
            all = named.ok_or_else(|| {
                let what = "none, rough, hostile or dark, or one of them with :NAME+NAME";
                format!("{part:?}: {what} comes first, then NAME=RATE")
            })?;
            continue;
        };
        let mut rates = all.0.rates();
        let names: Vec<&str> = rates.iter().map(|(name, _)| *name).collect();
        let slot = rates.iter_mut().find(|(of, _)| *of == name);
        let Some((_, slot)) = slot else {
            return Err(format!("{name:?} is no fault; there are {}", names.join(", ")));
        };
        **slot = rate(value).ok_or_else(|| {
            format!("{value:?} is no rate of {name}: parts of a million, or 0% to 100%")
        })?;
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_what_is_read() {
        let mut plan = Plan::new(Scenario::Ws, 7, "hostile");
        (plan.faults.reset, plan.faults.loss, plan.connections) = (0, 12, 1);
        let command = plan.command();
        let words: Vec<&str> = command.split(' ').collect();
        assert_eq!(words[..6], ["loopwork", "sim", "--scenario", "ws", "--seed", "7"]);
        let (mut faults, preset) = parse_faults(words[7]).unwrap();
        assert_eq!(preset, "hostile");
        assert_eq!(faults.rates().map(|(_, r)| *r), plan.faults.rates().map(|(_, r)| *r));
        assert_eq!(words[8..], ["--connections", "1"]);
        plan.faults.rates().into_iter().for_each(|(_, rate)| *rate = 0);
        assert!(plan.command().contains(" --faults hostile: "), "{}", plan.command());
        (plan.faults.loss, plan.faults.stale) = (3, Faults::hostile().stale);
        assert!(plan.command().contains(" hostile:stale+loss,loss=3 "), "{}", plan.command());
    }

    #[test]
    fn rates_are_parts_of_a_million_or_percent() {
        let (faults, preset) = parse_faults("loss=5%,split=17").unwrap();
        assert_eq!((faults.loss, faults.split, preset), (50_000, 17, "none"));
        let (faults, _) = parse_faults("rough:loss+early,early=3").unwrap();
        assert_eq!((faults.loss, faults.early), (Faults::rough().loss, 3));
        assert_eq!((faults.split, faults.window), (0, Faults::rough().window));
        for wrong in
            ["", "soft", "rough:los", "loss=5%,rough", "loss", "los=1", "loss=101%", "loss=x"]
        {
            assert!(parse_faults(wrong).is_err(), "{wrong}");
        }
    }
}
