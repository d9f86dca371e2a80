//! The databases of a node, in memory: store/v1 and both engines of store/v2. Only the journal, and the files that say whose a
//! directory is, lie in a directory.

use std::{
    fs,
    path::Path,
    sync::{Arc, Mutex, MutexGuard},
};
use storeshift::{
    root_store::{Database, Databases, MemoryDatabase},
    target::{Commitment, EngineTuning, Engines, MemoryCommitment, MemoryStorage, Outage, Place, Storage, TargetError},
};

/// What is kept from one life of the process to the next.
pub struct Kept {
    pub v1: MemoryDatabase,
    pub sc: MemoryCommitment,
    pub ss: MemoryStorage,
}

/// Databases that outlive whoever has them open. Every write to store/v2 counts against the outage.
#[derive(Clone)]
pub struct InMemory {
    kept: Arc<Mutex<Kept>>,
    pub outage: Outage,
}

/// As long as an engine has its directory it has what is in it.
const MARK: &str = "in-memory";

impl InMemory {
    pub fn new() -> InMemory {
        let never = Outage::never;
        let kept = Kept {
            v1: MemoryDatabase::new(None, never()),
            sc: MemoryCommitment::new(None, never()),
            ss: MemoryStorage::new(None, never()),
        };
        InMemory { kept: Arc::new(Mutex::new(kept)), outage: never() }
    }

    /// The same, with another outage.
    pub fn with(&self, outage: &Outage) -> InMemory {
        InMemory { kept: self.kept.clone(), outage: outage.clone() }
    }

    pub fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap()
    }
}

/// Whether a directory was made just now, or anew.
fn is_new(directory: &Path) -> Result<bool, TargetError> {
    let mark = directory.join(MARK);
    if mark.exists() {
        return Ok(false);
    }
    let io = |source| TargetError::Io { path: mark.clone(), doing: "create", source };
    fs::create_dir_all(directory).and_then(|()| fs::write(&mark, "")).map_err(io)?;
    Ok(true)
}

impl Engines for InMemory {
    fn commitment(&self, place: &Place, _: EngineTuning) -> Result<Box<dyn Commitment>, TargetError> {
        let mut kept = self.kept();
        if is_new(&place.sc())? {
            kept.sc = MemoryCommitment::new(None, Outage::never());
        }
        Ok(Box::new(MemoryCommitment::new(Some(&kept.sc), self.outage.clone())))
    }

    fn storage(&self, place: &Place, _: EngineTuning) -> Result<Box<dyn Storage>, TargetError> {
        let mut kept = self.kept();
        if is_new(&place.ss())? {
            kept.ss = MemoryStorage::new(None, Outage::never());
        }
        Ok(Box::new(MemoryStorage::new(Some(&kept.ss), self.outage.clone())))
    }
}

impl Databases for InMemory {
    fn is_there(&self, _: &Path) -> bool {
        !self.kept().v1.pairs().is_empty()
    }

    fn database(&self, _: &Path, _: EngineTuning) -> Result<Arc<dyn Database>, TargetError> {
        Ok(Arc::new(self.kept().v1.clone()))
    }
}
