//! What several modules share: disks that fail, jobs in memory, store/v1 databases loaded or made, seeded numbers.

pub mod disk;
pub mod job;
pub mod random;
pub mod stores;
