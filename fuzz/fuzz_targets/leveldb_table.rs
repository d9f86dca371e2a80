//! Fuzzes the footer of a goleveldb table and a block as it lies on disk, compressed and summed. The body is shared with the corpus test of stable Rust.
#![no_main]

#[path = "../support/crc32c.rs"]
mod crc32c;

#[path = "../bodies/leveldb_table.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
