//! Fuzzes what is checked of a RocksDB source's logs before RocksDB replays them. The body is shared with the corpus test of stable Rust.
#![no_main]

#[path = "../support/crc32c.rs"]
mod crc32c;
#[path = "../support/log.rs"]
mod log;

#[path = "../bodies/rocks_log.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
