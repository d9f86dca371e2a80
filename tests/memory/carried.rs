//! Whole migrations of chains that IAVL up to 0.20 began: they end as they would had IAVL 1.x written all of it.

use crate::{
    scenarios::{assert_written, block, chain, get, open, root, world},
    support::{
        job::{World, tiny},
        legacy::carry_over_stores,
        random::Random,
        stores::{Block, Chain},
    },
};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use storeshift::{
    Outcome,
    iavl::{Access, Claim, NodeKey, prove},
    model::{CommitInfo, StoreKey, Version},
    plan::{At, Parts, Plan, Tuning},
    source::{Engine, MemoryEngine, PointReader, Rootmulti, Scan, Source as _, SourceError},
    target::{Commitment as _, MemoryStorage, Outage, Storage as _},
};

/// A chain's database had IAVL up to 0.20 written its versions up to this one.
fn carried(chain: &Chain, stores: &[&str], until: u64) -> Chain {
    let engine = carry_over_stores(&chain.engine, stores, Version(until)).unwrap();
    Chain::holding(engine, chain.version)
}

fn assert_pairs(ss: &MemoryStorage, store: &str, at: u64, wanted: &[(&str, &str)]) {
    let store = StoreKey::from(store);
    let mut pairs = ss.pairs(&store, Version(at), b"").unwrap();
    let mut found = Vec::new();
    while let Some(pair) = pairs.next().unwrap() {
        found.push((String::from_utf8(pair.key.to_vec()).unwrap(), String::from_utf8(pair.value.to_vec()).unwrap()));
    }
    let wanted: Vec<_> = wanted.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    assert_eq!(found, wanted, "{store} at {at}");
}

#[test]
fn a_chain_carried_over_from_legacy_nodes_ends_in_the_same_target_wherever_it_begins() {
    let stores = ["idle", "store1", "store2"];
    let mut chain = Chain::with_stores(&stores);
    let mut random = Random(81);
    for version in 1..=14 {
        let mut block = Block::new();
        for store in ["store1", "store2"] {
            let mut changes = std::collections::BTreeMap::new();
            for _ in 0..random.below(9) {
                let value = (random.below(4) > 0).then(|| format!("{version}").into_bytes());
                changes.insert(format!("key{:02}", random.below(40)).into_bytes(), value);
            }
            block.push((store, changes.into_iter().collect()));
        }
        if version == 1 {
            block.push(("idle", vec![(b"only".to_vec(), Some(b"x".to_vec()))]));
        }
        chain.commit(&block);
    }
    let mut compared = 0;
    for (at, parts) in (1..=14).flat_map(|at| [(at, Parts::Both), (at, Parts::Ss), (at, Parts::Sc)]) {
        // Versions that are replayed are kept in memory for SS, or read once more where there is too little of it.
        let run = |chain: &Chain, memory: usize| {
            let plan = Plan { at: At::Version(Version(at)), chunk_leaves: 4, parts, ..Plan::new() };
            let tuning = Tuning { memory, ..tiny(2) };
            let world = World::new(Arc::new(Rootmulti::new(chain.engine.clone())), plan, tuning);
            assert!(matches!(open(&world).run().unwrap(), Outcome::Done { version: Version(14), .. }));
            world
        };
        let little = tiny(2).memory;
        let wanted = run(&chain, little);
        for (until, memory) in [1, 5, 9, 13, 14].into_iter().flat_map(|until| [(until, little), (until, 64 << 20)]) {
            let Some(engine) = carry_over_stores(&chain.engine, &stores, Version(until)) else { continue };
            let world = run(&Chain::holding(engine, chain.version), memory);
            assert!(*world.ss.data() == *wanted.ss.data(), "SS from {at}, legacy until {until}, {parts:?}");
            assert!(*world.sc.data() == *wanted.sc.data(), "SC from {at}, legacy until {until}, {parts:?}");
            compared += 1;
        }
    }
    assert!(compared > 60, "{compared}");
}

/// Without an SC nothing is replayed over it; what is gone must be found in the legacy tree.
#[test]
fn what_a_current_version_removed_from_a_legacy_tree_is_removed_from_a_target_without_an_sc() {
    let mut chain = Chain::with_stores(&["store1"]);
    let pair = |key: &str, value: &str| (key.as_bytes().to_vec(), Some(value.as_bytes().to_vec()));
    chain.commit(&vec![("store1", vec![pair("a", "1"), pair("b", "1")])]);
    // Nothing is left of the tree before.
    chain.commit(&vec![("store1", vec![pair("a", "2"), (b"b".to_vec(), None)])]);
    for until in [0, 1, 2] {
        let chain = carried(&chain, &["store1"], until);
        let plan = Plan { at: At::Version(Version(1)), parts: Parts::Ss, ..Plan::new() };
        let world = World::new(Arc::new(Rootmulti::new(chain.engine.clone())), plan, tiny(1));
        open(&world).run().unwrap();
        assert_pairs(&world.ss, "store1", 1, &[("a", "1"), ("b", "1")]);
        assert_pairs(&world.ss, "store1", 2, &[("a", "2")]);
    }
}

/// A crash can leave SC ahead of SS, which then catches up on its own.
#[test]
fn a_crash_anywhere_while_versions_over_a_legacy_tree_are_applied_ends_in_the_same_target() {
    let mut chain = Chain::with_stores(&["store1"]);
    let pair = |key: &str, value: &str| (key.as_bytes().to_vec(), Some(value.as_bytes().to_vec()));
    chain.commit(&vec![("store1", vec![pair("a", "1"), pair("b", "1")])]);
    chain.commit(&vec![("store1", vec![pair("a", "2"), (b"b".to_vec(), None)])]);
    chain.commit(&vec![("store1", vec![pair("c", "3")])]);
    let carried = carried(&chain, &["store1"], 1);
    let born = world(&carried, At::Version(Version(1)), true);
    let (whole, outage) = (born.fork(), Outage::never());
    whole.open(&outage).unwrap().run().unwrap();
    let mut apart = 0;
    for point in 0..outage.seen() {
        let world = born.fork();
        if let Ok(mut migrator) = world.open(&Outage::after(point)) {
            let _ = migrator.run();
        }
        apart += u32::from(world.sc.latest().unwrap() > world.ss.latest().unwrap());
        open(&world).run().unwrap();
        assert!(*world.sc.data() == *whole.sc.data() && *world.ss.data() == *whole.ss.data(), "died at {point}");
    }
    assert!(apart > 0, "SC was never ahead of SS");
}

/// IAVL up to 0.20 gives nodes that are set before a tree's first commit version 1, whatever version it is committed as.
#[test]
fn stores_added_and_dropped_among_legacy_versions_are_followed() {
    for (until, as_version_1) in [(8, false), (8, true), (6, false), (6, true)] {
        let mut chain = chain(&["old", "store1"], 5, 10);
        for name in ["new", "void"] {
            chain.add_store(name);
            if as_version_1 {
                chain.begin_as_version_1(name);
            }
        }
        let mut info = None;
        for version in 6..=9 {
            if version == 7 {
                chain.drop_store("old");
            }
            info = Some(chain.commit(&block(&["new", "store1"], version, 10)));
        }
        let carried = carried(&chain, &["old", "new", "store1", "void"], until);
        for parts in [Parts::Both, Parts::Sc, Parts::Ss] {
            let plan = Plan { at: At::Version(Version(2)), chunk_leaves: 16, parts, ..Plan::new() };
            let world = World::new(Arc::new(Rootmulti::new(carried.engine.clone())), plan, tiny(2));
            let app_hash = info.as_ref().unwrap().app_hash();
            assert_eq!(
                open(&world).run().unwrap(),
                Outcome::Done { version: Version(9), app_hash },
                "{until} {parts:?}"
            );
            if parts != Parts::Sc {
                assert_written(&world.ss, &["new"], 9, 6..=9, 10);
                assert_written(&world.ss, &["new"], 6, 6..=6, 10);
                assert_eq!(get(&world.ss, "new", 5, "key-6-0"), None);
                assert_written(&world.ss, &["old"], 6, 1..=5, 10);
                assert_eq!(get(&world.ss, "old", 7, "key-1-0"), None);
            }
            if parts != Parts::Ss {
                // The tree of the first version is whole, numbered, and under a reference.
                let root = root(&world, "new", 6).unwrap();
                let of_nodes = if as_version_1 { 1 } else { 6 };
                assert_eq!(root, NodeKey::new(Version(of_nodes), 20), "19 nodes in post-order");
                let mut nodes = world.sc.nodes(&"new".into(), Access::Points).unwrap();
                let hash = info_of(&carried, 6).store(&"new".into()).unwrap().root.unwrap();
                let proof = prove(&mut nodes, Claim { at: root.into(), hash }, usize::MAX, &mut |_| true);
                assert_eq!(proof.unwrap().leaves, 10);
            }
        }
    }
}

fn info_of(chain: &Chain, version: u64) -> CommitInfo {
    Rootmulti::new(chain.engine.clone()).commit_info(Version(version)).unwrap().unwrap()
}

#[test]
fn a_legacy_store_that_was_dropped_and_taken_up_again_is_refused_where_its_nodes_could_be_others() {
    let stores = ["back", "store1"];
    let mut chain = chain(&stores, 3, 10);
    chain.drop_store("back");
    chain.commit(&block(&["store1"], 4, 10));
    let before = carried(&chain, &stores, 4);
    chain.engine.pairs.retain(|key, _| !key.starts_with(b"s/k:back/"));
    chain.add_store("back");
    chain.begin_as_version_1("back");
    chain.commit(&block(&stores, 5, 10));
    let mut carried = carried(&chain, &stores, 5);
    // Both trees have nodes of version 1, under their hashes.
    carried.engine.pairs.extend(before.engine.pairs.into_iter().filter(|(key, _)| key.starts_with(b"s/k:back/")));
    let refusal = |at: u64| {
        let plan = Plan { at: At::Version(Version(at)), chunk_leaves: 16, ..Plan::new() };
        let world = World::new(Arc::new(Rootmulti::new(carried.engine.clone())), plan, tiny(2));
        open(&world).run()
    };
    for at in [1, 3] {
        let error = refusal(at).unwrap_err();
        assert!(error.to_string().contains("dropped before and taken up again"), "{at}: {error}");
    }
    // From 4 on SC has had no such store.
    refusal(4).unwrap();
    refusal(5).unwrap();
}

/// A run that is no more replayed legacy versions, and SC has nodes under keys of its own; the next run does not know.
#[test]
fn a_run_that_goes_on_above_replayed_versions_ends_in_the_same_target_as_one_that_did_all() {
    let stores = ["store1", "store2"];
    let chain = chain(&stores, 16, 6);
    let carried = carried(&chain, &stores, 8);
    let one = world(&carried, At::Version(Version(3)), true);
    open(&one).run().unwrap();
    let stopped = |at: u8| {
        let mut chain = Chain::holding(carried.engine.clone(), Version(u64::from(at)));
        chain.engine.pairs.insert(b"s/latest".to_vec(), vec![0x08, at]);
        chain
    };
    for stops in [vec![6], vec![8], vec![9], vec![5, 8, 12], (4..16).collect()] {
        let mut world = world(&stopped(stops[0]), At::Version(Version(3)), false);
        for stop in stops {
            world.source = Arc::new(Rootmulti::new(stopped(stop).engine));
            assert_eq!(open(&world).run().unwrap(), Outcome::CaughtUp { version: Version(u64::from(stop)) });
        }
        world.source = Arc::new(Rootmulti::new(carried.engine.clone()));
        world.tuning.switch = true;
        open(&world).run().unwrap();
        assert!(*world.sc.data() == *one.sc.data() && *world.ss.data() == *one.ss.data());
    }
}

/// Counts what is read.
#[derive(Clone)]
struct Counting(MemoryEngine, Arc<AtomicU64>);

impl Engine for Counting {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, SourceError> {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.get(key)
    }

    fn reader(&self, _: Access) -> Box<dyn PointReader + Send + '_> {
        Box::new(self.clone())
    }

    fn scan(&self, from: &[u8], until: &[u8]) -> Box<dyn Scan + Send + '_> {
        self.0.scan(from, until)
    }

    fn approximate_bytes(&self, start: &[u8], end: &[u8]) -> u64 {
        self.0.approximate_bytes(start, end)
    }
}

impl PointReader for Counting {
    fn read(&mut self, key: &[u8], out: &mut Vec<u8>) -> Result<bool, SourceError> {
        let value = self.get(key)?;
        out.extend_from_slice(value.as_deref().unwrap_or_default());
        Ok(value.is_some())
    }
}

/// Reads of the source that a migration takes which begins at a version and applies the later ones.
fn reads(engine: &MemoryEngine, after: u64, parts: Parts) -> u64 {
    let count = Arc::new(AtomicU64::new(0));
    let plan = Plan { at: At::Version(Version(after)), parts, ..Plan::new() };
    let source = Arc::new(Rootmulti::new(Counting(engine.clone(), count.clone())));
    let world = World::new(source, plan, Tuning { memory: 64 << 20, ..tiny(2) });
    open(&world).run().unwrap();
    count.load(Ordering::SeqCst)
}

/// Versions over a legacy tree are applied by the stretch as others are, not replayed one by one, whatever the engines.
#[test]
fn versions_over_a_legacy_tree_take_about_as_many_reads_as_over_a_current_one() {
    let stores = ["store1", "store2"];
    let mut chain = Chain::with_stores(&stores);
    let pairs = |version: u64, keys: u64| -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
        let mut pairs: Vec<_> = (0..keys)
            .map(|i| (format!("key{:04}", (i * 7 + version * 13) % 2000).into_bytes(), Some(vec![version as u8])))
            .collect();
        pairs.sort();
        pairs.dedup();
        pairs
    };
    for version in 1..=100 {
        let keys = if version == 1 { 2000 } else { 3 };
        chain.commit(&stores.iter().map(|store| (*store, pairs(version, keys))).collect());
    }
    for parts in [Parts::Both, Parts::Sc, Parts::Ss] {
        for until in [20, 60] {
            let carried = carried(&chain, &stores, until);
            let (current, over_legacy) = (reads(&chain.engine, until, parts), reads(&carried.engine, until, parts));
            println!("{parts:?} after {until}: {current} reads, over a legacy tree {over_legacy}");
            assert!(over_legacy < current + current / 2, "{parts:?} after {until}: {current}, {over_legacy}");
        }
    }
}

/// The versions among legacy ones are replayed; what is above them is not read twice because of it.
#[test]
fn versions_above_replayed_ones_take_about_as_many_reads_as_above_others() {
    let stores = ["store1"];
    let mut chain = chain(&stores, 1, 1500);
    for version in 2..=120 {
        chain.commit(&block(&stores, version, 2));
    }
    let carried = carried(&chain, &stores, 10);
    for parts in [Parts::Both, Parts::Ss] {
        let whole = |engine| reads(engine, 5, parts) - reads(engine, 120, parts);
        let (current, above_replayed) = (whole(&chain.engine), whole(&carried.engine));
        println!("{parts:?}: {current} reads, above replayed versions {above_replayed}");
        assert!(above_replayed < 2 * current, "{parts:?}: {current}, {above_replayed}");
    }
}
