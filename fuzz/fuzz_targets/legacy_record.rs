//! Fuzzes the record of a legacy IAVL node. The body is shared with the corpus test of stable Rust.
#![no_main]

#[path = "../bodies/legacy_record.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
