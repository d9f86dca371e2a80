//! Faults beside commits: each write to the target fails once, blocks or panics, and so does each write to the journal.

use super::chain::{Model, tuning};
use crate::support::node::InMemory;
use std::{path::Path, sync::Arc};
use storeshift::{
    Outcome,
    live::{Begin, Keeping, LiveStore, Places},
    model::Version,
    plan::At,
    root_store::Options,
};

/// Where the snapshot is taken.
const HEIGHT: Version = Version(12);

/// A node, and what its state has to be.
struct Node {
    dir: tempfile::TempDir,
    databases: InMemory,
    model: Model,
}

fn begin(switch: bool) -> Begin {
    let mut begin = Begin { switch, tuning: tuning(), ..Begin::new() };
    begin.tuning.workers = 1;
    begin.plan.at = At::Version(HEIGHT);
    begin.plan.chunk_leaves = 40;
    begin
}

impl Node {
    /// A chain that stands where the snapshot will be taken.
    fn new() -> Node {
        // Where files cost no disk; the journal is synced often.
        let shared = Path::new("/dev/shm");
        let dir = if shared.is_dir() { tempfile::tempdir_in(shared) } else { tempfile::tempdir() };
        let mut node = Node { dir: dir.unwrap(), databases: InMemory::new(), model: Model::new(31) };
        let store = node.open(None);
        node.model.commits(&store, HEIGHT.0 as usize);
        node
    }

    fn open(&self, begin: Option<Begin>) -> LiveStore {
        self.open_on(self.databases.clone(), begin)
    }

    fn open_on(&self, databases: InMemory, begin: Option<Begin>) -> LiveStore {
        let places = Places { v1: self.dir.path().join("application.db"), v2: self.dir.path().join("v2") };
        let keeping = Keeping { store: Options { threads: 1, ..Options::default() }, ..Keeping::default() };
        LiveStore::open_with(Arc::new(databases), &places, keeping, begin).unwrap()
    }

    /// Commits, and prunes store/v1 as far as the migration lets it.
    fn commits(&mut self, store: &LiveStore, count: usize) {
        for _ in 0..count {
            self.model.commit(store);
            let fence = store.fence();
            if store.source().is_some() {
                let newest = fence.latest().unwrap().version;
                store.prune_below(Version(newest.0 - 2)).unwrap();
            }
        }
    }

    fn until_switched(&mut self, store: &LiveStore) -> Version {
        match store.wait() {
            Some(Ok(Outcome::Done { version, .. })) => version,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_node_in_memory_migrates_itself_and_is_on_store_v2_after_a_restart() {
    let mut node = Node::new();
    let store = node.open(Some(begin(true)));
    node.commits(&store, 5);
    node.until_switched(&store);
    node.commits(&store, 5);
    node.model.check(&store);
    drop(store);
    let store = node.open(None);
    assert!(store.source().is_none());
    node.commits(&store, 5);
    node.model.check(&store);
}
