//! storeshift judged by code that is not ours: the chain's own Go code (see ../oracle/README.md), RocksDB read with no
//! help from storeshift, and an older RocksDB's own tools.
//!
//! What is missing on a machine is skipped, and says so; with `CI=true` it fails instead. `STORESHIFT_DATA` names a
//! directory with more sets (`small`, `pruned`, `initial`, `medium`), which are then judged like the fixtures.

mod commitment;
mod doctor;
mod follow;
mod go;
mod leveldb;
mod live;
mod live_run;
mod matrix;
mod older_rocksdb;
mod parity;
mod pebble;
mod proofs;
mod reader;
mod rocksdb_source;
mod root_store;
mod set;
mod snapshot;
mod storage;
