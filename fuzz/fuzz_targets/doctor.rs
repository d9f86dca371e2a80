//! Fuzzes the doctor on a database with some records lost, moved or changed. The body is shared with the corpus test of stable Rust.
#![no_main]

#[path = "../bodies/doctor.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
