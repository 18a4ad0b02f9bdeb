//! Runs `tcp_ops` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| loopwork_fuzz_targets::tcp_ops(data));
