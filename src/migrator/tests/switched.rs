//! A job that is done, of a node whose store/v1 is RocksDB's, and what the node does next.

use crate::{
    machine::Phase,
    migrator::{self, Migrator},
    model::{Change, StoreChanges, Version},
    plan::{Paths, Plan, Tuning},
    root_store::{ChangeSet, Options, Pruning, RootStore},
    target::{EngineTuning, Place},
};
use std::{
    fs,
    path::{Path, PathBuf},
};

pub const ENGINE: EngineTuning = EngineTuning { cache: 1 << 20, write_buffer: 1 << 20, jobs: 1 };

pub fn copy(name: &str, to: &Path) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name).join("application.db");
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// A job that is done, of a node whose store/v1 is RocksDB's.
pub struct Switched {
    pub dir: tempfile::TempDir,
    pub version: Version,
    pub store: String,
}

impl Switched {
    pub fn new() -> Switched {
        let dir = tempfile::tempdir().unwrap();
        copy("pruned-rocksdb", &dir.path().join("application.db"));
        let mut switched = Switched { dir, version: Version(0), store: String::new() };
        let mut job = migrator::open(&switched.paths(), &Plan::new(), switched.tuning()).unwrap();
        job.run().unwrap();
        let Phase::Done { version, .. } = job.recorder().state().phase else { panic!("it is not done") };
        switched.version = version;
        let info = job.target().sc.as_ref().unwrap().commit_info(version).unwrap().unwrap();
        switched.store = info.stores[0].name.as_str().to_owned();
        switched
    }

    pub fn tuning(&self) -> Tuning {
        Tuning { workers: 1, memory: 64 << 20, reserve: 0, switch: true, ..Tuning::default() }
    }

    pub fn paths(&self) -> Paths {
        let source = self.dir.path().canonicalize().unwrap().join("application.db");
        Paths { source, target: self.target(), changesets: None, checkpoint: None }
    }

    pub fn target(&self) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join("v2")
    }

    fn block(&self, value: &str) -> ChangeSet {
        let change = Change { key: b"since the switch".to_vec(), value: Some(value.as_bytes().to_vec()) };
        let changes = StoreChanges { store: self.store.as_str().into(), changes: vec![change] };
        ChangeSet { stores: vec![changes], ..ChangeSet::default() }
    }

    /// The node goes on with store/v2.
    pub fn v2_goes_on(&self, blocks: &[&str]) {
        let store = RootStore::open_v2(&Place::new(&self.target()), ENGINE, Options::default()).unwrap();
        blocks.iter().for_each(|value| drop(store.commit(self.block(value)).unwrap()));
    }

    /// A node is started on store/v1 by mistake.
    pub fn v1_goes_on(&self, blocks: &[&str]) {
        let store = RootStore::open_rootmulti(&self.paths().source, ENGINE, Options::default()).unwrap();
        blocks.iter().for_each(|value| drop(store.commit(self.block(value)).unwrap()));
    }

    /// The node goes on with store/v2, and keeps no version but the newest one.
    pub fn v2_prunes(&self, blocks: &[&str]) {
        let pruning = Pruning::Keep { recent: 0, interval: 1 };
        let store =
            RootStore::open_v2(&Place::new(&self.target()), ENGINE, Options { pruning, ..Options::default() }).unwrap();
        blocks.iter().for_each(|value| drop(store.commit(self.block(value)).unwrap()));
        store.prune().unwrap();
    }

    /// The node runs on store/v1 after all, and prunes as the other one does.
    pub fn v1_prunes(&self, blocks: &[&str]) {
        let options = Options { pruning: Pruning::Keep { recent: 0, interval: 1 }, ..Options::default() };
        let store = RootStore::open_rootmulti(&self.paths().source, ENGINE, options).unwrap();
        blocks.iter().for_each(|value| drop(store.commit(self.block(value)).unwrap()));
        store.prune().unwrap();
    }

    pub fn job(&self) -> Migrator {
        migrator::inspect(&self.target(), Some(&self.paths()), self.tuning()).unwrap()
    }
}
