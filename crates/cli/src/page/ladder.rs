//! The ladder: what passed between client, kernel and server on the page's first connection.
//!
//! Rules of this file:
//! * What the loop saw is drawn whole. What only the wire saw follows from it and is dashed: it is
//!   inferred, and its time is that of what it follows from.
//! * One list of rungs, for whoever draws.

use super::journal::{Journal, Life};
use super::load::Story;
use super::phases::{Phases, millis};
use super::waterfall::cut;
use loopwork::Instant;
use std::fmt::Write as _;

/// Who takes part, from left to right.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Lane {
    Client,
    Kernel,
    Server,
}
use Lane::{Client, Kernel, Server};

/// Something passed from one to another; beyond the kernel it is inferred.
#[derive(Debug)]
pub(super) struct Rung {
    pub(super) at: Instant,
    pub(super) from: Lane,
    pub(super) to: Lane,
    pub(super) label: String,
}

/// What passed on the connection that the page itself was asked for by first.
pub(super) fn rungs(story: &Story, phases: &[Phases], journal: &Journal) -> Vec<Rung> {
    let mut rungs = Vec::new();
    let first = &story.resources[0];
    let Some((id, life)) = first.connection.and_then(|id| Some((id, journal.life(id)?))) else {
        return rungs;
    };
    let mut rung = |at, from, to, label: &str| {
        rungs.push(Rung { at, from, to, label: label.to_owned() });
    };
    let (asked, open) = (phases[0].named, life.open.unwrap_or(phases[0].named));
    rung(asked, Client, Kernel, "connect");
    rung(asked, Kernel, Server, "SYN");
    rung(open, Server, Kernel, "SYN, ACK");
    rung(open, Kernel, Server, "ACK");
    rung(open, Kernel, Client, "connected");
    for run in &life.shook {
        let (from, to) = if run.out { (Client, Server) } else { (Server, Client) };
        rung(run.from, from, to, &format!("TLS handshake, {} B", run.bytes));
    }
    let mut carried: Vec<_> = story.resources.iter().zip(phases).collect();
    carried.retain(|(r, _)| r.connection == Some(id));
    carried.sort_by_key(|(_, phases)| phases.begun);
    for (r, p) in carried {
        rung(p.begun, Client, Server, &format!("GET {}", r.url.target));
        rung(p.heard, Server, Client, &format!("{}, {} B", r.status, r.bytes));
    }
    ends(life, &mut rung);
    rungs
}

/// Who ended first, and what the other said to it.
fn ends(life: &Life, rung: &mut impl FnMut(Instant, Lane, Lane, &str)) {
    let ours = life.ended.map(|at| (at, true));
    let mut ends: Vec<_> = ours.into_iter().chain(life.peer_ended.map(|at| (at, false))).collect();
    ends.sort_by_key(|(at, ours)| (*at, !ours));
    for (n, (at, ours)) in ends.iter().enumerate() {
        let there = if *ours { (Client, Server) } else { (Server, Client) };
        rung(*at, there.0, there.1, if *ours { "shutdown: FIN" } else { "FIN: its end" });
        let back = if *ours { (Server, Kernel) } else { (Kernel, Server) };
        let ack = match (n, ours) {
            (0, _) => "ACK",
            (_, false) => "ACK; then TIME_WAIT here",
            (_, true) => "ACK; TIME_WAIT there",
        };
        rung(*at, back.0, back.1, ack);
    }
}

/// Where the lanes are, in columns.
const LANES: [usize; 3] = [11, 41, 75];

/// Draws it in a terminal of 80 columns.
pub(super) fn draw(rungs: &[Rung]) -> String {
    let Some(began) = rungs.first().map(|rung| rung.at) else { return String::new() };
    let mut text = String::from("  the first connection\n");
    let mut heads = vec![' '; 80];
    for (lane, name) in LANES.into_iter().zip(["client", "kernel", "server"]) {
        let from = lane - name.len() / 2;
        heads.splice(from..from + name.len(), name.chars());
    }
    let _ = writeln!(text, "{}", heads.iter().collect::<String>().trim_end());
    for rung in rungs {
        let mut row = vec![' '; LANES[2] + 1];
        LANES.into_iter().for_each(|lane| row[lane] = '│');
        let time = format!("{:>8.1}ms", millis(began, rung.at));
        row.splice(..time.len(), time.chars());
        segment(&mut row, rung);
        let _ = writeln!(text, "{}", row.iter().collect::<String>());
    }
    text.push_str("── seen  ╌╌ inferred\n");
    text
}

fn segment(row: &mut [char], rung: &Rung) {
    let (left, right) = (rung.from.min(rung.to), rung.from.max(rung.to));
    let (from, to) = (LANES[left as usize], LANES[right as usize]);
    for (at, char) in row.iter_mut().enumerate().take(to).skip(from + 1) {
        if at != LANES[1] {
            *char = if at < LANES[1] { '─' } else { '╌' };
        }
    }
    match rung.to > rung.from {
        true => row[to - 1] = '>',
        false => row[from + 1] = '<',
    }
    // On the part that was seen, if there is one.
    let to = LANES[(left as usize) + 1];
    let label = format!(" {} ", cut(&rung.label, to - from - 6));
    let begin = from + (to - from - label.chars().count()) / 2 + 1;
    for (place, char) in row[begin..].iter_mut().zip(label.chars()) {
        *place = char;
    }
}
