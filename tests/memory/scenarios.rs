//! The test scenarios of the Go migration manager (store/v2 v2.0.0-beta.1: `migration/manager_test.go`,
//! `root/migrate_test.go`), retold for storeshift, and what they leave out.

use crate::support::{
    job::{World, tiny},
    stores::{Block, Chain},
};
use std::sync::Arc;
use storeshift::{
    Error, Kind, Migrator, Outcome,
    iavl::{Access, NodeKey, RootRecord, tree::Tree},
    journal::{JournalError, Lock},
    machine::Phase,
    model::{Change, Hash, StoreKey, Version},
    plan::{At, Plan},
    source::{Engine as _, MemoryEngine, Rootmulti},
    target::{Commitment, MemoryStorage, Outage, Storage},
};

/// What the Go tests write at each version: new keys named after it, in every store.
pub fn block(stores: &[&'static str], version: u64, keys: u64) -> Block {
    let pair = |i: u64| (format!("key-{version}-{i}").into_bytes(), Some(format!("value-{version}-{i}").into_bytes()));
    stores.iter().map(|store| (*store, (0..keys).map(pair).collect())).collect()
}

pub fn chain(stores: &[&'static str], versions: u64, keys: u64) -> Chain {
    let mut chain = Chain::with_stores(stores);
    for version in 1..=versions {
        chain.commit(&block(stores, version, keys));
    }
    chain
}

pub fn world(chain: &Chain, at: At, switch: bool) -> World {
    let plan = Plan { at, chunk_leaves: 16, ..Plan::new() };
    let source = Arc::new(Rootmulti::new(chain.engine.clone()));
    let mut world = World::new(source, plan, tiny(2));
    world.tuning.switch = switch;
    world
}

pub fn open(world: &World) -> Migrator {
    world.open(&Outage::never()).unwrap()
}

pub fn get(ss: &MemoryStorage, store: &str, version: u64, key: &str) -> Option<Vec<u8>> {
    let store = StoreKey::from(store);
    let mut pairs = ss.pairs(&store, Version(version), key.as_bytes()).unwrap();
    pairs.next().unwrap().filter(|pair| pair.key == key.as_bytes()).map(|pair| pair.value.to_vec())
}

pub fn assert_written(
    ss: &MemoryStorage,
    stores: &[&str],
    at: u64,
    versions: std::ops::RangeInclusive<u64>,
    keys: u64,
) {
    for version in versions {
        for store in stores {
            for i in 0..keys {
                let found = get(ss, store, at, &format!("key-{version}-{i}"));
                assert_eq!(found, Some(format!("value-{version}-{i}").into_bytes()), "{store} {version} {i} at {at}");
            }
        }
    }
}

/// `TestMigrateState`: a hundred versions, the state of the last but one is moved and nothing of the last is in it.
#[test]
fn the_state_of_one_version_is_moved_and_nothing_newer_is_in_it() {
    let stores = ["store1", "store2"];
    let mut chain = chain(&stores, 99, 10);
    let info = chain.commit(&block(&stores, 100, 10));
    let world = world(&chain, At::Version(Version(99)), true);
    let outcome = open(&world).run().unwrap();
    assert_eq!(outcome, Outcome::Done { version: Version(100), app_hash: info.app_hash() });
    assert_written(&world.ss, &stores, 99, 1..=99, 10);
    for store in stores {
        assert_eq!(get(&world.ss, store, 99, "key-100-1"), None);
    }
    assert_written(&world.ss, &stores, 100, 1..=100, 10);
}

/// The Go manager keeps the app hash of nothing. Here both engines stand at the version with the chain's own hash.
#[test]
fn the_target_has_the_chains_own_app_hash_at_the_snapshot_and_at_the_end() {
    let stores = ["store1", "store2", "store3"];
    let mut chain = Chain::with_stores(&stores);
    let infos: Vec<_> = (1..=20).map(|version| chain.commit(&block(&stores, version, 5))).collect();
    let world = world(&chain, At::Version(Version(7)), true);
    open(&world).run().unwrap();
    for version in 7..=20u64 {
        let found = world.sc.commit_info(Version(version)).unwrap().unwrap();
        assert_eq!(found.app_hash(), infos[version as usize - 1].app_hash(), "{version}");
    }
    assert_eq!(world.sc.commit_info(Version(6)).unwrap(), None);
    assert_eq!((world.sc.latest().unwrap(), world.ss.latest().unwrap()), (Some(Version(20)), Some(Version(20))));
}

/// `TestStartMigrateState`: the chain goes on while the migration runs. Here it goes on between runs, the changes are read
/// back from the retained versions, and each is visible from its own version on.
#[test]
fn changes_made_while_the_migration_goes_on_are_followed_version_by_version() {
    let stores = ["store1", "store2"];
    let mut chain = chain(&stores, 9, 5);
    let mut world = world(&chain, At::Latest, false);
    assert_eq!(open(&world).run().unwrap(), Outcome::CaughtUp { version: Version(9) });
    for round in 0..3 {
        for _ in 0..=round {
            let next = chain.version.0 + 1;
            chain.commit(&block(&stores, next, 5));
        }
        world.source = Arc::new(Rootmulti::new(chain.engine.clone()));
        let mut migrator = open(&world);
        assert_eq!(migrator.run().unwrap(), Outcome::CaughtUp { version: chain.version });
        let counts = migrator.counts();
        assert_eq!((counts.versions, counts.pairs_read), (round + 1, 0), "only what is new is read");
        assert_eq!(counts.changes, (round + 1) * 10);
    }
    for version in 9..=chain.version.0 {
        assert_written(&world.ss, &stores, version, 1..=version, 5);
        assert_eq!(get(&world.ss, "store1", version, &format!("key-{}-0", version + 1)), None);
    }
    world.tuning.switch = true;
    assert!(matches!(open(&world).run().unwrap(), Outcome::Done { version, .. } if version == chain.version));
}

/// Both Go tests expect a second migration to be refused while one runs.
#[test]
fn a_second_process_on_the_same_target_is_refused_while_the_first_is_there() {
    let directory = tempfile::tempdir().unwrap();
    let first = Lock::take(directory.path()).unwrap();
    let error = Error::from(Lock::take(directory.path()).unwrap_err());
    assert!(matches!(error, Error::Journal(JournalError::Locked { .. })) && error.kind() == Kind::Blocked);
    assert!(Lock::is_taken(directory.path()));
    drop(first);
    Lock::take(directory.path()).unwrap();
}

/// `TestMigrateStoreTestSuite`: every version can be asked for before, the old versions after, and the chain goes on.
#[test]
fn all_retained_history_can_be_queried_after_the_switch_and_the_source_is_as_it_was() {
    let stores = ["store1", "store2", "store3"];
    let chain = chain(&stores, 60, 10);
    let engine = Arc::new(Rootmulti::new(chain.engine.clone()));
    let mut world = world(&chain, At::Oldest, true);
    world.source = engine.clone();
    open(&world).run().unwrap();
    for version in [1, 2, 30, 59, 60] {
        assert_written(&world.ss, &stores, version, 1..=version, 10);
        assert_eq!(get(&world.ss, "store3", version, &format!("key-{}-0", version + 1)), None);
    }
    assert!(engine.engine().pairs == chain.engine.pairs, "the source was written to");
    assert_eq!(engine.engine().get(b"s/latest").unwrap(), Some(vec![0x08, 60]));
}

/// The end of the same suite: ten more versions are committed on what was migrated.
#[test]
fn the_chain_goes_on_on_the_migrated_trees_with_the_hashes_it_would_have_had() {
    let stores = ["store1", "store2"];
    let mut chain = chain(&stores, 30, 10);
    let world = world(&chain, At::Version(Version(25)), true);
    open(&world).run().unwrap();
    let mut trees: Vec<Tree> = stores.iter().map(|store| Tree::load(root(&world, store, 30), Version(30))).collect();
    for version in 31..=40u64 {
        let changes = block(&stores, version, 10);
        let info = chain.commit(&changes);
        for (tree, (store, pairs)) in trees.iter_mut().zip(&changes) {
            let store = StoreKey::from(*store);
            let changes: Vec<Change> =
                pairs.iter().map(|(key, value)| Change { key: key.clone(), value: value.clone() }).collect();
            let mut nodes = world.sc.nodes(&store, Access::Points).unwrap();
            tree.apply(&mut nodes, &changes).unwrap();
            let committed = tree.commit(&mut nodes, Version(version)).unwrap();
            assert_eq!(Some(committed.hash), info.store(&store).unwrap().root, "{store} at {version}");
        }
    }
}

pub fn root(world: &World, store: &str, version: u64) -> Option<NodeKey> {
    let mut record = Vec::new();
    let at = NodeKey::root_of(Version(version));
    assert!(world.sc.nodes(&StoreKey::from(store), Access::Points).unwrap().read(at, &mut record).unwrap());
    match RootRecord::decode(&record).unwrap() {
        RootRecord::Empty => None,
        RootRecord::Node => Some(at),
        RootRecord::Reference(key) => Some(key),
    }
}

// What the Go tests leave out.

#[test]
fn a_switch_that_died_after_the_fence_does_not_lose_what_the_chain_committed_since() {
    let stores = ["store1"];
    let mut chain = chain(&stores, 5, 10);
    let mut world = world(&chain, At::Version(Version(3)), true);
    let writes = {
        let outage = Outage::never();
        world.fork().open(&outage).unwrap().run().unwrap();
        outage.seen()
    };
    // Dies at every write around the switch; a few of these are between Fenced and Flipped.
    let mut died_fenced = 0;
    let grown = {
        let info = chain.commit(&block(&stores, 6, 10));
        (Arc::new(Rootmulti::new(chain.engine.clone())), info)
    };
    let born = world.clone();
    for point in writes.saturating_sub(80)..writes {
        world = born.fork();
        if let Ok(mut migrator) = world.open(&Outage::after(point)) {
            let _ = migrator.run();
        }
        let phase = world.state().phase;
        if matches!(phase, Phase::Done { .. }) {
            continue;
        }
        died_fenced += u32::from(matches!(phase, Phase::Switching { .. }));
        world.source = grown.0.clone();
        let outcome = open(&world).run().unwrap();
        assert_eq!(outcome, Outcome::Done { version: Version(6), app_hash: grown.1.app_hash() }, "died in {phase}");
    }
    println!("{died_fenced} of these runs died while switching");
    assert!(died_fenced > 5);
}

#[test]
fn a_store_added_and_one_dropped_on_the_way_are_followed() {
    let mut chain = chain(&["old", "store1"], 5, 10);
    chain.add_store("new");
    for version in 6..=8 {
        if version == 7 {
            chain.drop_store("old");
        }
        chain.commit(&block(&["new", "store1"], version, 10));
    }
    let world = world(&chain, At::Version(Version(2)), true);
    assert!(matches!(open(&world).run().unwrap(), Outcome::Done { version: Version(8), .. }));
    assert_written(&world.ss, &["new"], 8, 6..=8, 10);
    assert_eq!(get(&world.ss, "new", 5, "key-6-0"), None);
    assert_written(&world.ss, &["old"], 6, 1..=5, 10);
    assert_eq!(get(&world.ss, "old", 7, "key-1-0"), None);
}

#[test]
fn a_store_added_without_pairs_is_there_from_its_first_version_on() {
    let mut chain = chain(&["store1"], 5, 10);
    chain.add_store("new");
    chain.commit(&block(&["store1"], 6, 10));
    chain.commit(&block(&["store1"], 7, 10));
    chain.commit(&block(&["new", "store1"], 8, 10));
    let world = world(&chain, At::Version(Version(2)), true);
    assert!(matches!(open(&world).run().unwrap(), Outcome::Done { version: Version(8), .. }));
    let roots = (5..=7).map(|version| {
        let place = ("new".into(), NodeKey::root_of(Version(version)));
        world.sc.data().records.get(&place).cloned()
    });
    assert_eq!(
        roots.collect::<Vec<_>>(),
        [None, Some(Vec::new()), Some(Vec::new())],
        "an empty record is an empty tree"
    );
    assert_written(&world.ss, &["new"], 8, 8..=8, 10);
}

#[test]
fn an_export_that_ends_early_is_not_taken_for_the_end() {
    // The Go manager commits a tree as short as the stream was. Here a missing node names itself.
    let chain = chain(&["store1", "store2"], 10, 10);
    let whole = world(&chain, At::Latest, true);
    open(&whole).run().unwrap();
    let prefix = b"s/k:store1/s";
    let nodes: Vec<Vec<u8>> = chain.engine.pairs.keys().filter(|key| key.starts_with(prefix)).cloned().collect();
    let mut refused = 0;
    for missing in &nodes {
        let mut engine = chain.engine.clone();
        engine.pairs.remove(missing);
        let mut world = world(&chain, At::Latest, true);
        world.source = Arc::new(Rootmulti::new(engine));
        match world.open(&Outage::never()).and_then(|mut migrator| migrator.run()) {
            // A node of an older version that the newest tree does not need.
            Ok(_) => assert!(*world.sc.data() == *whole.sc.data() && *world.ss.data() == *whole.ss.data()),
            Err(error) => {
                refused += 1;
                assert!(matches!(error.kind(), Kind::Disagrees | Kind::Blocked), "{error}");
                assert_eq!(world.sc.latest().unwrap(), None, "a tree that is not whole has no version");
            }
        }
    }
    println!("{refused} of {} nodes are needed at the newest version", nodes.len());
    assert!(refused > 100);
}

#[test]
fn a_source_that_went_back_or_is_another_chain_is_noticed_when_the_job_goes_on() {
    let stores = ["store1"];
    let chain10 = chain(&stores, 10, 5);
    let mut world = world(&chain10, At::Latest, false);
    open(&world).run().unwrap();
    let mut other = chain(&stores, 9, 5);
    other.commit(&block(&stores, 999, 5));
    let source = |engine: &MemoryEngine| Arc::new(Rootmulti::new(engine.clone()));
    for engine in [&chain(&stores, 9, 5).engine, &other.engine] {
        world.source = source(engine);
        let Err(error) = world.open(&Outage::never()) else { panic!("not noticed") };
        assert_eq!(error.kind(), Kind::Blocked, "{error}");
    }
    world.source = source(&chain10.engine);
    open(&world).run().unwrap();
}

#[test]
fn empty_stores_and_single_leaves_are_moved_too() {
    let mut chain = Chain::with_stores(&["empty", "one", "emptied"]);
    let set = |key: &str| (key.as_bytes().to_vec(), Some(b"x".to_vec()));
    chain.commit(&vec![("one", vec![set("k")]), ("emptied", vec![set("a"), set("b")])]);
    let info = chain.commit(&vec![("emptied", vec![(b"a".to_vec(), None), (b"b".to_vec(), None)])]);
    for at in [At::Oldest, At::Latest] {
        let world = world(&chain, at, true);
        let outcome = open(&world).run().unwrap();
        assert_eq!(outcome, Outcome::Done { version: Version(2), app_hash: info.app_hash() });
        assert_eq!((root(&world, "empty", 2), root(&world, "emptied", 2)), (None, None));
        assert_eq!(info.store(&"empty".into()).unwrap().root, Some(Hash::EMPTY));
        assert_eq!(get(&world.ss, "one", 2, "k"), Some(b"x".to_vec()));
        assert_eq!(get(&world.ss, "emptied", 2, "a"), None);
    }
}
