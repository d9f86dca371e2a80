//! Fuzzes a Pebble write-ahead log: where it ends, and the batches in it. The body is shared with the corpus test of stable Rust.
#![no_main]

#[path = "../bodies/pebble_log.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
