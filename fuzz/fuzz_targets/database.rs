//! Fuzzes whole database directories, opened, read and copied into a checkpoint. The body is shared with the corpus test of stable Rust.
#![no_main]

#[path = "../bodies/database.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
