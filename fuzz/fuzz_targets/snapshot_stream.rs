//! Fuzzes the stream of a state sync snapshot. The body is shared with the corpus test of stable Rust.
#![no_main]

#[path = "../bodies/snapshot_stream.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
