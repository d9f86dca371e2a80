//! How a job in memory works: as little at a time as may be.

use storeshift::plan::Tuning;

/// Buffers so small that a chunk of eight leaves is a group of its own or nearly.
pub fn tiny(workers: usize) -> Tuning {
    Tuning { workers, memory: workers * 4096, reserve: 0, switch: true, ..Tuning::default() }
}
