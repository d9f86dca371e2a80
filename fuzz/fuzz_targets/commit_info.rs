//! Fuzzes commit infos of store/v1 (protobuf) and store/v2. The body is shared with the corpus test of stable Rust.
#![no_main]

#[path = "../bodies/commit_info.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
