//! A strictly read-only reader of goleveldb (LevelDB) databases: opens a directory without
//! locking, creating or changing anything, and hands out point look-ups ([`Cursor`]) and
//! ascending scans ([`Iter`]).
//!
//! The parsers of bytes from disk ([`batch`], [`block`], [`edit`], [`filter`], [`footer`],
//! [`journal`], [`unpack`]) are plain functions over slices, open to fuzzing.

pub mod batch;
pub mod block;
pub mod bytes;
mod cache;
mod cursor;
mod database;
pub mod edit;
mod error;
pub mod filter;
pub mod footer;
mod iter;
pub mod journal;
mod key;
mod listing;
mod memory;
mod replay;
mod run;
mod table;
mod tables;
mod track;
pub mod unpack;
mod version;
mod window;

pub use cursor::Cursor;
pub use database::{FileInfo, Leveldb, Options};
pub use error::{LeveldbError, Malformed};
pub use iter::{Iter, Pair};

#[cfg(test)]
mod tests;
