//! What the tests of `versus` share: the program, what it says, and files that go by themselves.

use std::path::PathBuf;
use std::process::{Command, Output};

pub(crate) fn versus(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_versus")).args(args).output().expect("the binary")
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A file of this process alone, gone with the value.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> Scratch {
        let name = format!("loopwork-versus-test-{}-{name}", std::process::id());
        Scratch(std::env::temp_dir().join(name))
    }

    pub(crate) fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }

    pub(crate) fn text(&self) -> String {
        std::fs::read_to_string(&self.0).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
