//! Fuzzes an IAVL node record and a root record. The body is shared with the corpus test of stable Rust.
#![no_main]

#[path = "../bodies/node_record.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
