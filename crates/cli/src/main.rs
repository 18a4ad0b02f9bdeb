//! The binary `loopwork`.
fn main() {}
