//! `loopwork sim`: runs, replays, and what it says of a failure.

use crate::harness::run;

#[test]
fn seeds_pass_and_say_the_same_whatever_the_threads() {
    let one = run(&["sim", "--seeds", "6", "--jobs", "1"], b"");
    assert_eq!(one.code, Some(0), "{one:?}");
    assert!(one.text().starts_with("24 runs pass: "), "{one:?}");
    assert!(one.err.is_empty(), "progress is for terminals: {one:?}");
    let three = run(&["sim", "--seeds", "6", "--jobs", "3"], b"");
    assert_eq!((three.code, three.text()), (Some(0), one.text()));
}

#[test]
fn a_seed_is_replayed_turn_by_turn() {
    let ended = run(&["sim", "--scenario", "tcp", "--seed", "4"], b"");
    assert_eq!(ended.code, Some(0), "{:?}", ended.err);
    let text = ended.text();
    assert!(text.starts_with("loopwork sim --scenario tcp --seed 4 --faults hostile\n"));
    assert!(text.contains("\nturn 1  "));
    for word in ["  listen\n", "  open\n", "  read ", "  wrote ", "  close\n", "1 runs pass: "] {
        assert!(text.contains(word), "{word:?} is missing");
    }
    let again = run(&["sim", "--scenario", "tcp", "--seed", "4"], b"");
    assert!(again.text() == text, "the same seed gives the same run");
    let small = ["sim", "--scenario", "tcp", "--seed", "4", "--connections", "1", "--bytes", "9"];
    assert!(run(&small, b"").text().len() < text.len() / 2);
}

#[test]
fn another_world_gives_another_run() {
    let of = |faults| {
        run(&["sim", "--scenario", "udp", "--seeds", "2", "--faults", faults], b"")
            .text()
            .to_owned()
    };
    assert_ne!(of("none"), of("none,loss=10%"));
    assert_eq!(of("rough,loss=50000"), of("rough"));
}

#[test]
fn wrong_usage_says_what_could_stand_there() {
    for (line, part) in [
        (&["sim", "--scenario", "smtp"][..], "tcp, http, ws, udp, all"),
        (&["sim", "--faults", "soft"], "none, rough, hostile or dark"),
        (&["sim", "--faults", "los=1"], "loss"),
        (&["sim", "--faults", "loss=101%"], "0% to 100%"),
        (&["sim", "--seed", "x"], "--seed"),
        (&["sim", "--seed", "1", "--seeds", "2"], "--seeds"),
        (&["sim", "--jobs", "0"], "--jobs"),
    ] {
        let ended = run(line, b"");
        assert_eq!(ended.code, Some(2), "{line:?}: {ended:?}");
        assert!(ended.err.contains(part) && ended.out.is_empty(), "{line:?}: {ended:?}");
    }
}

#[test]
fn the_help_teaches_by_examples() {
    let ended = run(&["sim", "--help"], b"");
    assert_eq!(ended.code, Some(0));
    for part in ["--seed", "--seeds", "--jobs", "--scenario", "--faults", "--trace", "Exit codes"] {
        assert!(ended.text().contains(part), "{part} is missing");
    }
    assert!(ended.text().lines().all(|line| line.chars().count() <= 100), "too wide");
}
