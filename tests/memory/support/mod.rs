//! What several modules share: disks that fail, jobs in memory, the databases of a node in memory, store/v1 databases loaded or made or taken back to legacy nodes, seeded numbers.

pub mod disk;
pub mod failing;
pub mod job;
pub mod legacy;
pub mod node;
#[cfg(feature = "rocksdb")]
pub mod ondisk;
pub mod random;
pub mod stores;
pub mod tuning;
