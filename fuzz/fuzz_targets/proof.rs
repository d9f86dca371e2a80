//! Fuzzes a whole tree of records that was tampered with. The body is shared with the corpus test of stable Rust.
#![no_main]

#[path = "../bodies/proof.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
