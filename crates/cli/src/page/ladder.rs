//! The ladder: what passed between client, kernel and server on the page's first connection.
//!
//! Rules of this file:
//! * What was seen is drawn whole. What only the wire saw is dashed: it is inferred from what the
//!   loop saw, and has the time of that; unless the wire was looked at, too.
//! * One list of rungs, for whoever draws.

use super::account::{self, Account};
use super::capture::{ACK, FIN, Passed, RST, SYN};
use super::journal::{Journal, Life};
use super::load::Story;
use super::phases::{Phases, millis};
use super::waterfall::cut;
use loopwork::{Id, Instant};
use std::fmt::Write as _;

/// Who takes part, from left to right.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Lane {
    Client,
    Kernel,
    Server,
}
use Lane::{Client, Kernel, Server};

/// Something passed from one to another, or the kernel was in a state: then both are the kernel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Rung {
    pub(super) at: Instant,
    pub(super) from: Lane,
    pub(super) to: Lane,
    pub(super) label: String,
    /// What is beyond the kernel was seen there.
    pub(super) wire: bool,
}

impl Rung {
    /// How its part between these two neighbours is to be drawn: whole, dashed, or not at all.
    pub(super) fn seen(&self, left: Lane) -> Option<bool> {
        let (from, to) = (self.from.min(self.to), self.from.max(self.to));
        (from <= left && left < to).then_some(left == Client || self.wire)
    }
}

/// What passed on the connection that the page itself was asked for by first, as it was seen by
/// the loop, by the kernel, and, if that was looked at, on the wire.
pub(super) fn rungs(
    story: &Story,
    phases: &[Phases],
    journal: &Journal,
    account: &Account,
    wire: Option<&[Passed]>,
) -> Vec<Rung> {
    let first = &story.resources[0];
    let Some((id, life)) = first.connection.and_then(|id| Some((id, journal.life(id)?))) else {
        return Vec::new();
    };
    let mut rungs = told(story, phases, id, life);
    if account.is_of(id) {
        rungs.extend(account.states.iter().map(|(at, state)| {
            let label = account::name(*state).to_owned();
            Rung { at: *at, from: Kernel, to: Kernel, label, wire: true }
        }));
        if let Some(wire) = wire {
            rungs.retain(|rung| rung.from.min(rung.to) == Client || rung.from == rung.to);
            for rung in &mut rungs {
                (rung.from, rung.to) = (rung.from.min(Kernel), rung.to.min(Kernel));
            }
            rungs.extend(passed(wire));
        }
    }
    rungs.sort_by_key(|rung| rung.at);
    rungs
}

/// What the loop saw, and what follows from it.
fn told(story: &Story, phases: &[Phases], id: Id, life: &Life) -> Vec<Rung> {
    let mut rungs = Vec::new();
    let mut rung = |at, from, to, label: &str| {
        rungs.push(Rung { at, from, to, label: label.to_owned(), wire: false });
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

/// What was seen on the wire. Data that goes one way is one rung; an acknowledgment is shown where
/// it is one of a beginning or an end.
fn passed(wire: &[Passed]) -> Vec<Rung> {
    let mut rungs: Vec<Rung> = Vec::new();
    // The data that the last rung tells of: which way, since when, segments, bytes.
    let mut run: Option<(bool, Instant, u32, u64)> = None;
    // Behind a beginning or an end of the server's, and of ours.
    let mut due: [Option<u32>; 2] = [None; 2];
    for p in wire {
        let control = p.flags & (SYN | FIN | RST);
        let waits = &mut due[usize::from(p.out)];
        let acknowledges = p.flags & ACK != 0
            && waits.is_some_and(|end| p.acknowledged.wrapping_sub(end) as i32 >= 0);
        if acknowledges {
            *waits = None;
        }
        let mut at = p.at;
        let label = match (control, p.bytes) {
            (0, 0) if acknowledges => "ACK".to_owned(),
            (0, 0) => continue,
            (0, bytes) => {
                let (since, segments, before) = match run {
                    Some((out, since, segments, before)) if out == p.out => {
                        rungs.pop();
                        (since, segments + 1, before)
                    }
                    _ => (p.at, 1, 0),
                };
                let all = before + u64::from(bytes);
                at = since;
                run = Some((p.out, since, segments, all));
                let many = if segments == 1 { "" } else { "s" };
                format!("{segments} segment{many}, {all} B")
            }
            (_, bytes) => {
                let names = [(SYN, "SYN"), (FIN, "FIN"), (RST, "RST"), (ACK, "ACK")];
                let set = names.iter().filter(|(flag, _)| p.flags & flag != 0);
                let names: Vec<&str> = set.map(|(_, name)| *name).collect();
                let carried = if bytes > 0 { format!(", {bytes} B") } else { String::new() };
                names.join(", ") + &carried
            }
        };
        if control != 0 || p.bytes == 0 {
            run = None;
        }
        if control & (SYN | FIN) != 0 {
            due[usize::from(!p.out)] = Some(p.sequence.wrapping_add(p.bytes).wrapping_add(1));
        }
        let (from, to) = if p.out { (Kernel, Server) } else { (Server, Kernel) };
        rungs.push(Rung { at, from, to, label, wire: true });
    }
    rungs
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
    if rung.from == rung.to {
        let label = format!(" ({}) ", rung.label);
        return put(row, &label, LANES[1] - label.len() / 2);
    }
    for lane in [Client, Kernel] {
        let (from, to) = (LANES[lane as usize] + 1, LANES[lane as usize + 1]);
        match rung.seen(lane) {
            Some(true) => row[from..to].fill('─'),
            Some(false) => row[from..to].fill('╌'),
            None => {}
        }
    }
    let (left, right) = (rung.from.min(rung.to), rung.from.max(rung.to));
    match rung.to > rung.from {
        true => row[LANES[right as usize] - 1] = '>',
        false => row[LANES[left as usize] + 1] = '<',
    }
    // On the part that was seen, if there is one.
    let (from, to) = (LANES[left as usize], LANES[(left as usize) + 1]);
    let label = format!(" {} ", cut(&rung.label, to - from - 6));
    put(row, &label, from + (to - from - label.chars().count()) / 2 + 1);
}

fn put(row: &mut [char], text: &str, at: usize) {
    for (place, char) in row[at..].iter_mut().zip(text.chars()) {
        *place = char;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_wire_is_told_by_what_matters() {
        let mut wire = Vec::new();
        let mut add = |out, sequence, acknowledged, flags, bytes| {
            let at = Instant::default().after(Duration::from_millis(wire.len() as u64));
            wire.push(Passed { at, out, sequence, acknowledged, flags, bytes });
        };
        let top = u32::MAX;
        add(true, top, 0, SYN, 0);
        add(false, 500, 0, SYN | ACK, 0);
        add(true, 0, 501, ACK, 0);
        add(true, 0, 501, ACK, 100);
        add(false, 501, 100, ACK, 0);
        add(false, 501, 100, ACK, 1000);
        add(true, 100, 1501, ACK, 0);
        add(false, 1501, 100, ACK, 500);
        add(true, 100, 2001, ACK, 0);
        add(true, 100, 2001, ACK | FIN, 0);
        add(false, 2001, 100, ACK, 0);
        add(false, 2001, 101, ACK, 0);
        add(false, 2001, 101, ACK | FIN, 7);
        add(true, 101, 2009, ACK, 0);
        add(true, 101, 2009, RST, 0);
        let told: Vec<(bool, String)> =
            passed(&wire).into_iter().map(|r| (r.to == Server, r.label)).collect();
        let told: Vec<(bool, &str)> = told.iter().map(|(out, l)| (*out, l.as_str())).collect();
        assert_eq!(
            told,
            [
                (true, "SYN"),
                (false, "SYN, ACK"),
                (true, "ACK"),
                (true, "1 segment, 100 B"),
                (false, "2 segments, 1500 B"),
                (true, "FIN, ACK"),
                (false, "ACK"),
                (false, "FIN, ACK, 7 B"),
                (true, "ACK"),
                (true, "RST"),
            ]
        );
        let rung = &passed(&wire)[0];
        assert_eq!((rung.seen(Client), rung.seen(Kernel)), (None, Some(true)));
    }

    #[test]
    fn rungs_are_drawn_between_their_lanes() {
        let rung = |from, to, label: &str, wire| Rung {
            at: Instant::default(),
            from,
            to,
            label: label.to_owned(),
            wire,
        };
        let text = draw(&[
            rung(Client, Server, "GET /", false),
            rung(Server, Kernel, "ACK", true),
            rung(Kernel, Kernel, "ESTABLISHED", true),
        ]);
        let lines: Vec<&str> = text.lines().skip(2).collect();
        assert!(lines[0].contains("── GET / ──") && lines[0].ends_with("╌╌>│"), "{text}");
        assert!(lines[1].contains("│<──") && lines[1].ends_with("──│"), "{text}");
        assert!(lines[2].contains(" (ESTABLISHED) ") && !lines[2].contains('─'), "{text}");
    }
}
