//! Chains that are given back to store/v1 after both databases, or another one, have gone on since the switch: what would be lost is
//! told, and nothing is given back that is not the chain's.

use crate::{
    error::Error,
    machine::Phase,
    migrator::{self, Returned},
    model::{Change, StoreChanges, Version},
    plan::{Paths, Plan, Tuning},
    root_store::{ChangeSet, Options, RootStore},
    target::{EngineTuning, Engines as _, Place, rocks::RocksEngines},
};
use std::{
    fs,
    path::{Path, PathBuf},
};

const ENGINE: EngineTuning = EngineTuning { cache: 1 << 20, write_buffer: 1 << 20, jobs: 1 };

fn copy(name: &str, to: &Path) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name).join("application.db");
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// A job that is done, of a node whose store/v1 is RocksDB's.
struct Switched {
    dir: tempfile::TempDir,
    version: Version,
    store: String,
}

impl Switched {
    fn new() -> Switched {
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

    fn tuning(&self) -> Tuning {
        Tuning { workers: 1, memory: 64 << 20, reserve: 0, switch: true, ..Tuning::default() }
    }

    fn paths(&self) -> Paths {
        let source = self.dir.path().canonicalize().unwrap().join("application.db");
        Paths { source, target: self.target(), changesets: None, checkpoint: None }
    }

    fn target(&self) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join("v2")
    }

    fn block(&self, value: &str) -> ChangeSet {
        let change = Change { key: b"since the switch".to_vec(), value: Some(value.as_bytes().to_vec()) };
        let changes = StoreChanges { store: self.store.as_str().into(), changes: vec![change] };
        ChangeSet { stores: vec![changes], ..ChangeSet::default() }
    }

    /// The node goes on with store/v2.
    fn v2_goes_on(&self, blocks: &[&str]) {
        let store = RootStore::open_v2(&Place::new(&self.target()), ENGINE, Options::default()).unwrap();
        blocks.iter().for_each(|value| drop(store.commit(self.block(value)).unwrap()));
    }

    /// A node is started on store/v1 by mistake.
    fn v1_goes_on(&self, blocks: &[&str]) {
        let store = RootStore::open_rootmulti(&self.paths().source, ENGINE, Options::default()).unwrap();
        blocks.iter().for_each(|value| drop(store.commit(self.block(value)).unwrap()));
    }

    fn back(&self, paths: &Paths, consented: u64) -> Result<Returned, Error> {
        migrator::back(paths, consented, self.tuning())
    }

    #[track_caller]
    fn is_refused(&self, paths: &Paths, consented: u64, words: &str) {
        let error = self.back(paths, consented).unwrap_err();
        assert!(matches!(&error, Error::Blocked { what, .. } if what.contains(words)), "{error}");
        let state = migrator::found(&self.target()).unwrap().unwrap().1;
        assert!(matches!(state.phase, Phase::Done { finished: false, .. }), "{state:?}");
    }
}

#[test]
fn versions_that_only_store_v2_has_are_lost_with_consent_to_as_many_and_not_without() {
    let switched = Switched::new();
    switched.v2_goes_on(&["one", "two"]);
    switched.is_refused(&switched.paths(), 0, "store/v2 has 2 versions that store/v1 has not");
    switched.is_refused(&switched.paths(), 1, "they would be lost");
    let returned = switched.back(&switched.paths(), 2).unwrap();
    assert_eq!(returned, Returned { switched: switched.version, tip: switched.version, lost: 2 });
    assert!(matches!(migrator::found(&switched.target()).unwrap().unwrap().1.phase, Phase::Aborted));
}

#[test]
fn two_databases_that_went_on_differently_are_told_apart_and_alike_nothing_is_lost() {
    let alike = Switched::new();
    alike.v2_goes_on(&["one", "two"]);
    alike.v1_goes_on(&["one", "two"]);
    let tip = Version(alike.version.0 + 2);
    assert_eq!(alike.back(&alike.paths(), 0).unwrap(), Returned { switched: alike.version, tip, lost: 0 });
    let different = Switched::new();
    different.v2_goes_on(&["one"]);
    different.v1_goes_on(&["another"]);
    different.is_refused(&different.paths(), 10, "they went different ways since the switch");
}

#[test]
fn the_chain_is_not_given_back_to_a_database_of_another_chain_nor_from_a_target_that_has_lost_a_part() {
    let switched = Switched::new();
    let other = switched.dir.path().canonicalize().unwrap().join("other.db");
    copy("tiny", &other);
    switched.is_refused(&Paths { source: other, ..switched.paths() }, 10, "is not the database that was switched");
    // An engine that does not stand where the switch was.
    let place = Place::new(&switched.target());
    let sc = RocksEngines.commitment(&place, ENGINE).unwrap();
    let mut info = sc.commit_info(switched.version).unwrap().unwrap();
    info.version = Version(switched.version.0 - 1);
    sc.write_info(&info).unwrap();
    sc.sync().unwrap();
    drop(sc);
    switched.is_refused(&switched.paths(), 10, "does not have version");
    fs::remove_dir_all(place.ss()).unwrap();
    switched.is_refused(&switched.paths(), 10, "does not have version");
    assert!(!place.ss().exists(), "looking made it");
}
