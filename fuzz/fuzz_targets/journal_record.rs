//! Fuzzes the records of the journal. The body is shared with the corpus test of stable Rust.
#![no_main]

#[path = "../bodies/journal_record.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
