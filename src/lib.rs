//! tmp
#![forbid(unsafe_code)]
#![warn(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]
pub mod iavl;
pub mod journal;
pub mod machine;
pub mod model;
pub mod plan;
pub mod progress;
pub mod source;
pub mod target;
