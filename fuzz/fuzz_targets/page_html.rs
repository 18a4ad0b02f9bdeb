//! Runs `page_html` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| loopwork_fuzz_targets::page_html(data));
