//! The real binary on real databases: killed, refused, given damaged files, interrupted, looked at.
//!
//! Nothing here uses storeshift's own code to read a target: [`dump`] reads it with RocksDB alone.

mod commands;
mod control;
mod damage;
mod dump;
mod follow;
mod helper;
mod hostile;
mod kill;
mod plant;
mod power;
mod readonly;
mod refusals;
mod rocks;
mod skew;
mod snapshot;
mod strace;
