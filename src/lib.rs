//! storeshift moves a Cosmos SDK chain's state from store/v1 (rootmulti: one IAVL tree per module) to store/v2 (state
//! commitment and state storage), proves every part of it against the chain's own app hash, and can be killed at any
//! instant and carry on.
//!
//! The modules in the order the data flows: a [`plan`] says what to move; [`source`] reads store/v1; [`iavl`] proves its
//! trees; [`phases`] carry the state over into [`target`]; [`machine`] says what comes next and [`journal`] remembers it;
//! [`reconcile`] compares the two after a restart; [`migrator`] drives it all. A Rust node holds its state in a [`root_store`].
#![cfg_attr(
    feature = "rocksdb",
    doc = r#"
```no_run
use storeshift::{migrator, plan::{Paths, Plan, Tuning}};

# fn main() -> Result<(), storeshift::Error> {
let paths = Paths { source: "node/data/application.db".into(), target: "node/data/v2".into(), ..Paths::default() };
let mut job = migrator::open(&paths, &Plan::new(), Tuning::default())?;
println!("{:?}", job.run()?);
# Ok(()) }
```
"#
)]
#![deny(unsafe_code)]
#![warn(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr
)]
#![cfg_attr(test, allow(clippy::print_stdout, clippy::print_stderr))]

pub mod disk;
pub mod model;

pub mod plan;
pub mod progress;

pub mod governor;

pub mod source;

pub mod iavl;

pub mod doctor;

pub mod phases;

pub mod target;

pub mod journal;
pub mod machine;

pub mod migrator;
pub mod reconcile;

pub mod root_store;

pub mod live;

pub mod cli;
mod error;

pub use error::{Error, Kind};
pub use migrator::{Migrator, Outcome, Running, Status};

/// The README's programs are compiled with the documentation's.
#[cfg(all(doctest, feature = "rocksdb"))]
#[doc = include_str!("../README.md")]
struct Readme;
