//! Replays corpora and regressions through the targets, so that plain `cargo test` holds what
//! fuzzing found.
//!
//! Rule: a target without seeds or without a binary is a failure, and so is a folder or a binary
//! without a target.

use loopwork_fuzz_targets::{TARGETS, Target};
use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// What is in a folder, sorted; nothing if it is not there.
fn entries(folder: &Path) -> BTreeSet<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return BTreeSet::new() };
    entries.map(|entry| entry.expect("an entry").path()).collect()
}

/// Replays a folder; how many files it has.
fn replay(folder: &Path, target: Target) -> usize {
    let files = entries(folder);
    for file in &files {
        let data = fs::read(file).expect("a file");
        // The message of the panic says what; this says of which input.
        assert!(catch_unwind(|| target(&data)).is_ok(), "{}", file.display());
    }
    files.len()
}

#[test]
fn corpora_and_regressions_hold() {
    for (name, target) in TARGETS {
        let seeds = replay(&fuzz().join("corpus").join(name), target);
        assert!(seeds > 0, "{name} has no corpus");
        replay(&fuzz().join("regressions").join(name), target);
    }
}

#[test]
fn every_target_takes_anything() {
    let lines = [&b""[..], b"\0", b"\n", b"\xff\xff", &[0; 100], &[0xff; 100], b":\n:\n"];
    for (name, target) in TARGETS {
        for data in lines {
            assert!(catch_unwind(|| target(data)).is_ok(), "{name}: {data:?}");
        }
    }
}

#[test]
fn targets_folders_and_binaries_go_together() {
    let names = |folder: &str| -> BTreeSet<String> {
        let stem = |path: PathBuf| path.file_stem().map(|s| s.to_string_lossy().into_owned());
        entries(&fuzz().join(folder)).into_iter().filter_map(stem).collect()
    };
    let targets: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names("fuzz_targets"), targets);
    assert_eq!(names("corpus"), targets);
    assert!(names("regressions").is_subset(&targets));
    let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).expect("the manifest");
    for name in targets {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name} is no binary");
    }
}
