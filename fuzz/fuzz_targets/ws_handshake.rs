//! Runs `ws_handshake` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| loopwork_fuzz_targets::ws_handshake(data));
