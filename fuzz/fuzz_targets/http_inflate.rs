//! Runs `http_inflate` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| loopwork_fuzz_targets::http_inflate(data));
