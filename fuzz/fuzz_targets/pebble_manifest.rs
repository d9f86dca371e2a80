//! Fuzzes a Pebble manifest and the edits in it. The body is shared with the corpus test of stable Rust.
#![no_main]

#[path = "../bodies/pebble_manifest.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
