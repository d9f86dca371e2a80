//! Fuzzes the footer of a table of Pebble, its properties and a block as it lies on disk, in every compression and with both sums. The body is shared with the corpus test of stable Rust.
#![no_main]

#[path = "../support/crc32c.rs"]
mod crc32c;

#[path = "../bodies/pebble_table.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
