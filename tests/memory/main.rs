//! Tests that need no disk and no engine: the machine explored exhaustively, whole migrations in memory crashed at every
//! write, a root store against a model and crashed, the journal on a disk that fails, proofs of damaged trees, proofs for others, the
//! layers of the code, and the fuzz corpus.
//!
//! They build and pass without RocksDB: `cargo test --release --no-default-features --test memory`.

mod carried;
mod control;
mod corpus;
mod crash;
mod doctor;
mod existence;
mod histories;
mod journal;
mod large;
mod layers;
mod live;
mod lost;
mod machine;
mod places;
mod prefixes;
mod proofs;
mod reopened;
mod root_store;
mod scenarios;
mod snapshots;
mod support;
mod switching;
mod tampered;
mod verified;
