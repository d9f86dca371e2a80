//! Opening the engines of a target: what a job and a node have to know of where SC and SS come from.
//!
//! Owns the trait only. Whose directory it is was found out before (see [`Place::claim`]); an engine's directory that is not there, or
//! was wiped, is an engine with nothing in it.

use super::{Commitment, Place, Storage, TargetError};

/// Bounds for one engine.
#[derive(Clone, Copy, Debug)]
pub struct EngineTuning {
    /// Bytes of block cache.
    pub cache: usize,
    /// Bytes of one memtable.
    pub write_buffer: usize,
    /// Threads for flushes and compactions.
    pub jobs: usize,
}

impl Default for EngineTuning {
    fn default() -> EngineTuning {
        EngineTuning { cache: 32 << 20, write_buffer: 16 << 20, jobs: 2 }
    }
}

/// Opens the engines of targets. RocksDB's are `target::rocks::RocksEngines`; tests have theirs in memory.
pub trait Engines: Send + Sync {
    /// SC of the target in this place; with nothing in it if there is none yet. Nobody else has it open.
    ///
    /// # Errors
    /// The engine could not open what is there.
    fn commitment(&self, place: &Place, tuning: EngineTuning) -> Result<Box<dyn Commitment>, TargetError>;

    /// SS of it, likewise.
    ///
    /// # Errors
    /// The engine could not open what is there.
    fn storage(&self, place: &Place, tuning: EngineTuning) -> Result<Box<dyn Storage>, TargetError>;
}
