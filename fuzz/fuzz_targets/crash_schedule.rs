//! Fuzzes schedules of a chain that migrates itself while its power goes. The body is shared with the corpus test of stable Rust, and
//! what it records and replays with the crash images of `tests/memory/crash`.
#![no_main]
#![allow(dead_code, reason = "what the tests of stable Rust share with this one is more than it needs")]

#[path = "../../tests/memory/crash"]
mod crash {
    pub mod gate;
    pub mod images;
    pub mod log;
    pub mod recorder;
    pub mod story;
    pub mod twins;
}
#[path = "../../tests/memory/root_store"]
mod root_store {
    pub mod blocks;
    pub mod worlds;
}
#[path = "../../tests/memory/support"]
mod support {
    pub mod random;
    pub mod tuning;
}

#[path = "../bodies/crash_schedule.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
