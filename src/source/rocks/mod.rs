//! A strictly read-only reader of RocksDB directories, through the `rocksdb` library: opens a directory without locking,
//! creating or changing anything, refuses what a node does not write, and hands out point look-ups.
//!
//! `open` owns what is checked before anything is read, with [`manifest`], [`log`], [`logs`] (that nothing is missing between
//! tables and logs) and [`footer`] (which format a table has), [`edit`] what its manifests have of their own, `database` what is open, `reader` the look-ups, `scan` the walks,
//! `error` what RocksDB's words mean. What is checked is plain functions over bytes: they need no library, and are open to fuzzing.

#[cfg(feature = "rocksdb")]
mod database;
pub mod edit;
mod error;
pub mod footer;
pub mod log;
pub mod logs;
pub mod manifest;
#[cfg(feature = "rocksdb")]
mod open;
#[cfg(feature = "rocksdb")]
mod options;
#[cfg(feature = "rocksdb")]
mod reader;
#[cfg(feature = "rocksdb")]
mod scan;
#[cfg(test)]
#[cfg(feature = "rocksdb")]
mod tests;

#[cfg(feature = "rocksdb")]
pub use database::{Options, Rocks};
pub use error::RocksError;
