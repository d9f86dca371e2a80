//! Faults in the spool, where a snapshot is unpacked: between two runs it is made again, while it is read the run ends in an error and
//! the next one makes it again. The target is always that of a sound one.

use crate::{
    bytes::{self, fresh},
    support::{
        job::{World, tiny},
        random::seed,
    },
    table::{Fate, Table},
};
use std::{
    collections::BTreeMap,
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Arc,
};
use storeshift::{
    Error, Kind, Outcome,
    iavl::{Access, NodeReader},
    model::{CommitInfo, StoreKey, Version},
    plan::{At, Plan},
    source::{Scan, Source, SourceError, StoreRoot, snapshot::Snapshot},
    target::Outage,
};

type Files = BTreeMap<String, Vec<u8>>;

fn snapshot(name: &str, height: u64) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/{name}/snapshots/{height}/3"))
}

fn put(spool: &Path, files: &Files) {
    let _ = fs::remove_dir_all(spool);
    fs::create_dir(spool).unwrap();
    files.iter().for_each(|(name, bytes)| fs::write(spool.join(name), bytes).unwrap());
}

fn there(spool: &Path) -> Files {
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    fs::read_dir(spool)
        .unwrap()
        .map(|e| e.unwrap().path())
        .map(|path| (name(&path), fs::read(&path).unwrap()))
        .collect()
}

/// A snapshot whose spool is damaged once it is there.
struct Damaged {
    inner: Snapshot,
    path: PathBuf,
    damage: Option<Vec<u8>>,
}

impl Source for Damaged {
    fn prepare(&self, stop: &dyn Fn() -> bool) -> Result<(), SourceError> {
        self.inner.prepare(stop)?;
        damage(&self.path, self.damage.as_deref());
        Ok(())
    }

    fn latest(&self) -> Result<Version, SourceError> {
        self.inner.latest()
    }

    fn commit_info(&self, version: Version) -> Result<Option<CommitInfo>, SourceError> {
        self.inner.commit_info(version)
    }

    fn root(&self, store: &StoreKey, version: Version) -> Result<Option<StoreRoot>, SourceError> {
        self.inner.root(store, version)
    }

    fn nodes(&self, store: &StoreKey, access: Access) -> Box<dyn NodeReader + Send + '_> {
        self.inner.nodes(store, access)
    }

    fn engine(&self) -> &'static str {
        self.inner.engine()
    }

    fn records(&self, store: &StoreKey) -> Box<dyn Scan + Send + '_> {
        self.inner.records(store)
    }

    fn stores_on_disk(&self) -> Result<Vec<StoreKey>, SourceError> {
        self.inner.stores_on_disk()
    }

    fn recorded_versions(&self, each: &mut dyn FnMut(Version)) -> Result<(), SourceError> {
        self.inner.recorded_versions(each)
    }

    fn approximate_bytes(&self, store: &StoreKey) -> u64 {
        self.inner.approximate_bytes(store)
    }

    fn counted(&self, store: &StoreKey) -> Option<(u64, u64)> {
        self.inner.counted(store)
    }

    fn spool_bytes(&self) -> u64 {
        self.inner.spool_bytes()
    }
}

fn damage(path: &Path, damage: Option<&[u8]>) {
    match damage {
        Some(bytes) => fs::write(path, bytes).unwrap(),
        None => fs::remove_file(path).unwrap(),
    }
}

struct Sweep {
    snapshot: PathBuf,
    spool: PathBuf,
    files: Files,
    /// A job that was just born, and one that is done.
    born: World,
    done: World,
}

impl Sweep {
    fn new(name: &str, height: u64, spool: PathBuf) -> Sweep {
        let snapshot = snapshot(name, height);
        let source = Arc::new(Snapshot::open(&snapshot, &spool).unwrap());
        let plan = Plan { at: At::Latest, chunk_leaves: 64, ..Plan::new() };
        let born = World::new(source, plan, tiny(1));
        let done = born.fork();
        assert!(matches!(done.open(&Outage::never()).unwrap().run().unwrap(), Outcome::Done { .. }));
        let files = there(&spool);
        Sweep { snapshot, spool, files, born, done }
    }

    fn opened(&self) -> Result<Snapshot, Error> {
        Ok(Snapshot::open(&self.snapshot, &self.spool)?)
    }

    /// Goes on with a job; whether its target is the right one.
    fn run(&self, world: World, source: Arc<dyn Source>) -> Result<bool, Error> {
        let world = World { source, ..world };
        assert!(matches!(world.open(&Outage::never())?.run()?, Outcome::Done { .. }));
        Ok(*world.sc.data() == *self.done.sc.data() && *world.ss.data() == *self.done.ss.data())
    }

    /// The damage is there when a run begins.
    fn at_rest(&self) -> Result<Fate, Error> {
        let same = self.run(self.born.fork(), Arc::new(self.opened()?))?;
        let is_made_again = there(&self.spool) == self.files;
        Ok(match (same, is_made_again) {
            (true, true) => Fate::Found { repaired: true },
            (true, false) => Fate::Harmless,
            (false, _) => Fate::Silent,
        })
    }

    /// It comes while it is read.
    fn beside(&self, path: PathBuf, damage: Option<Vec<u8>>) -> Result<Fate, Error> {
        let world = self.born.fork();
        let journal = world.journal.clone();
        let (sc, ss) = (world.sc.clone(), world.ss.clone());
        let first = self.run(world, Arc::new(Damaged { inner: self.opened()?, path, damage }));
        let error = match first {
            Ok(same) => return Ok(if same { Fate::Harmless } else { Fate::Silent }),
            Err(error) => error,
        };
        assert!(matches!(error.kind(), Kind::Disagrees | Kind::Blocked | Kind::Retry), "{:?} {error}", error.kind());
        let again = World { journal, sc, ss, ..self.born.clone() };
        let repaired = self.run(again, Arc::new(self.opened()?))?;
        Ok(if repaired { Fate::Found { repaired } } else { Fate::Silent })
    }
}

#[test]
fn a_fault_in_the_spool_of_a_snapshot_is_found_and_the_spool_made_again() {
    let seed = seed(85);
    let dir = fresh();
    let earlier = Sweep::new("idle", 1, dir.path().join("earlier")).files;
    let sweep = Sweep::new("nofast", 8, dir.path().join("spool"));
    let mut table = Table::default();
    bytes::sweep(&sweep.files, &earlier, (400, 200), seed, &mut |name, kind, damaged| {
        let path = sweep.spool.join(name);
        let file = name.split('.').next_back().unwrap().to_owned();
        let mut count = |place: String, act: &dyn Fn() -> Result<Fate, Error>| {
            put(&sweep.spool, &sweep.files);
            let fate = catch_unwind(AssertUnwindSafe(act)).unwrap_or(Ok(Fate::Panic));
            let fate = fate.unwrap_or_else(|error| panic!("{kind} of {name}: {error}"));
            table.count(&place, kind, fate, || format!("{kind} of {name}"));
        };
        count(format!("{file}, between two runs"), &|| {
            damage(&path, damaged.as_deref());
            sweep.at_rest()
        });
        count(format!("{file}, while it is read"), &|| sweep.beside(path.clone(), damaged.clone()));
    });
    table.judge("spool of a snapshot");
    let found = table.sum(|place, _| place.ends_with("between two runs"));
    // White space behind the last line of `whole` is nothing.
    assert!(found.harmless() * 50 < found.injected(), "{found:?}");
}
