//! Fuzzes a block of a goleveldb table, and its filter. The body is shared with the corpus test of stable Rust.
#![no_main]

#[path = "../bodies/leveldb_block.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
