//! Faults by the hundred thousand in what storeshift wrote, and in what it reads: bits flipped one at a time, and seeded damage
//! of every other shape. Each must be found, or be without any effect; a wrong target that nobody notices, and a panic, fail.
//!
//! `records` damages targets in memory record by record, `files` a RocksDB target on the disk, `journal` the redb file, `small_files`
//! what lies beside it, `sources` a database while it is migrated, `runs` and `spool` what waits on the disk until a store is whole. A sample runs by default; `STORESHIFT_PROOF=all` runs every bit
//! and millions of random faults, `STORESHIFT_PROOF=7` seven times the sample, `STORESHIFT_SEED` another seed.

mod bytes;
#[cfg(feature = "rocksdb")]
mod files;
#[cfg(feature = "rocksdb")]
mod hands;
mod journal;
mod records;
#[cfg(feature = "rocksdb")]
mod runs;
mod small_files;
#[cfg(feature = "rocksdb")]
mod sources;
mod spool;
mod table;

#[path = "../memory/support/mod.rs"]
#[allow(dead_code, reason = "what other tests share with this one is more than it needs")]
mod support;
