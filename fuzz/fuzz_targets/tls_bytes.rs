//! Runs `tls_bytes` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| loopwork_fuzz_targets::tls_bytes(data));
