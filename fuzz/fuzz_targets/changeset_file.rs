//! Fuzzes changeset files and their app hashes. The body is shared with the corpus test of stable Rust.
#![no_main]

#[path = "../bodies/changeset_file.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
