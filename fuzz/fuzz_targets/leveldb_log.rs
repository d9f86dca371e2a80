//! Fuzzes a goleveldb log or manifest: its records, and the batches and edits in them. The body is shared with the corpus test of stable Rust.
#![no_main]

#[path = "../bodies/leveldb_log.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
