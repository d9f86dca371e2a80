//! Fuzzes any events in any order. The body is shared with the corpus test of stable Rust.
#![no_main]

#[path = "../bodies/machine_events.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
