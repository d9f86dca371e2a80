//! A strictly read-only reader of databases of the LevelDB family (logs, manifests, sorted tables in levels): opens a
//! directory without locking, creating or changing anything, and hands out point look-ups ([`Cursor`]) and ascending scans
//! ([`Iter`]).
//!
//! What the engines have in common is here; what one has of its own is a [`dialect::Dialect`], which the engine's module
//! gives. The parsers of bytes from disk ([`batch`], [`block`], [`edit`], [`filter`], [`footer`], [`log`], [`unpack`]) are
//! plain functions over slices, open to fuzzing.

pub mod added;
pub mod batch;
pub mod block;
pub mod bytes;
mod cache;
mod cursor;
mod database;
pub mod dialect;
pub mod edit;
pub mod error;
mod file;
pub mod filter;
pub mod footer;
mod iter;
pub mod key;
pub(crate) mod listing;
pub mod log;
mod memory;
mod place;
pub(crate) mod replay;
mod run;
mod table;
mod tables;
mod track;
pub mod unpack;
mod version;
mod window;

pub use cursor::Cursor;
pub use database::{Database, FileInfo, Options};
pub use error::{LsmError, Malformed};
pub use iter::{Iter, Pair};
pub(crate) use version::COMPARATOR;
