//! Which store is of record when a node is opened: where one of them is gone, older than it was, or went on by itself.

use super::chain::{Model, tuning};
use crate::support::node::InMemory;
use std::{fs, sync::Arc, time::Duration};
use storeshift::{
    Outcome,
    live::{Begin, Keeping, LiveError, LiveStore, Places},
    root_store::{Options, RootStore, RootmultiLayout, V2Layout},
};

struct Node {
    dir: tempfile::TempDir,
    databases: InMemory,
    model: Model,
}

impl Node {
    /// A node that was switched at a version, on which its chain has not gone on yet.
    fn switched() -> Node {
        let dir = tempfile::tempdir().unwrap();
        let mut node = Node { dir, databases: InMemory::new(), model: Model::new(41) };
        let mut store = node.open().unwrap();
        node.model.commits(&store, 12);
        let mut begin = Begin { tuning: tuning(), max_pause: Duration::from_millis(20), ..Begin::new() };
        begin.plan.chunk_leaves = 100;
        store.migrate(begin).unwrap();
        assert!(matches!(store.wait(), Some(Ok(Outcome::Done { .. }))), "{:?}", store.wait());
        drop(store);
        node
    }

    fn places(&self) -> Places {
        Places { v1: self.dir.path().join("application.db"), v2: self.dir.path().join("v2") }
    }

    fn open(&self) -> Result<LiveStore, LiveError> {
        let keeping = Keeping { store: Options { threads: 1, ..Options::default() }, ..Keeping::default() };
        LiveStore::open_with(Arc::new(self.databases.clone()), &self.places(), keeping, None)
    }

    fn is_refused(&self, words: &str) {
        match self.open() {
            Ok(store) => panic!("it was opened, at {:?}", store.span()),
            Err(error) => assert!(error.to_string().contains(words), "{error}"),
        }
    }

    /// Either store by itself, past all that says which one is of record.
    fn v1(&self) -> RootStore {
        let layout = Arc::new(RootmultiLayout::new(Arc::new(self.databases.kept().v1.clone())));
        RootStore::new(layout, Options::default()).unwrap()
    }

    fn v2(&self) -> RootStore {
        let (sc, ss) = {
            let kept = self.databases.kept();
            (kept.sc.clone(), kept.ss.clone())
        };
        RootStore::new(Arc::new(V2Layout::open(Box::new(sc), Some(Box::new(ss))).unwrap()), Options::default()).unwrap()
    }
}

#[test]
fn a_store_v2_that_is_of_record_and_gone_is_not_made_anew() {
    let mut node = Node::switched();
    for part in ["sc", "ss"] {
        let (there, away) = (node.places().v2.join(part), node.dir.path().join("away"));
        fs::rename(&there, &away).unwrap();
        node.is_refused(part);
        assert!(!there.exists(), "a new {part} was made in the place of the lost one");
        fs::rename(&away, &there).unwrap();
    }
    let store = node.open().unwrap();
    node.model.commits(&store, 3);
    node.model.check(&store);
}

#[test]
fn a_store_v2_that_lost_the_switch_is_not_gone_on_with() {
    let node = Node::switched();
    {
        let kept = node.databases.kept();
        let (mut sc, mut ss) = (kept.sc.data(), kept.ss.data());
        let before = sc.latest.map(|latest| storeshift::model::Version(latest.0 - 1));
        (sc.latest, ss.latest) = (before, before);
    }
    node.is_refused("does not have it");
}

#[test]
fn a_switch_that_nobody_knew_to_be_recorded_and_after_which_store_v1_went_on_is_forgotten() {
    let mut node = Node::switched();
    let v1 = node.v1();
    node.model.commits(&v1, 2);
    drop(v1);
    let store = node.open().unwrap();
    assert!(store.source().is_some(), "store/v1 is of record");
    assert!(!node.places().v2.join("sc").exists(), "what was migrated is wiped");
    node.model.commits(&store, 3);
    node.model.check(&store);
}

#[test]
fn where_both_went_on_nobody_chooses_between_them() {
    let mut node = Node::switched();
    let (v1, v2) = (node.v1(), node.v2());
    node.model.commits(&v1, 2);
    v2.commit(storeshift::root_store::ChangeSet::default()).unwrap();
    drop((v1, v2));
    node.is_refused("both stores went on");
}
