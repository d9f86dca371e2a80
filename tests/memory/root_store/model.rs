//! Random histories on every layout against the model.

use super::{
    blocks::block,
    worlds::{Chain, World, plain},
};
use crate::support::random::{Random, seed};
use proptest::prelude::*;
use std::sync::{Arc, Mutex};
use storeshift::{
    model::{Change, CommitInfo, StoreChanges, StoreKey, Version},
    root_store::{ChangeSet, Observer, Options, StoreError, StoreUpgrades},
    target::Outage,
};

type Commit = (Version, Arc<ChangeSet>, Arc<CommitInfo>);

#[derive(Default)]
struct Told(Mutex<Vec<Commit>>);

impl Observer for Told {
    fn committed(&self, version: Version, changes: &Arc<ChangeSet>, info: &Arc<CommitInfo>) {
        self.0.lock().unwrap().push((version, changes.clone(), info.clone()));
    }
}

/// A history of commits, prunings and restarts.
fn history(world: &World, seed: u64, blocks: u64, threads: usize) {
    let mut random = Random(seed);
    let mut chain = Chain::default();
    let options = Options { threads, ..plain() };
    let mut store = world.open(&Outage::never(), options).unwrap();
    assert!(store.latest().is_none() && store.span().is_none());
    let (mut oldest, mut wanted) = (Version(1), Version(0));
    for _ in 0..blocks {
        let set = Arc::new(block(&mut random, &chain));
        let told = Arc::new(Told::default());
        let since = store.observe(told.clone());
        assert_eq!(since, store.latest().map(|info| info.version));
        let info = store.commit(set.clone()).unwrap();
        let version = chain.commit(set.clone());
        assert_eq!((info.version, info.app_hash()), (version, chain.infos[&version].app_hash()), "seed {seed}");
        let told_of = told.0.lock().unwrap().clone();
        assert!(
            matches!(&told_of[..], [(at, changes, of)] if *at == version && Arc::ptr_eq(changes, &set) && of == &info)
        );
        store.ignore(&(told as Arc<dyn Observer>));
        if random.below(4) == 0 {
            let goal = Version(version.0.saturating_sub(random.below(5)).max(1));
            let hold = (random.below(2) == 0)
                .then(|| store.hold(Version(oldest.0 + random.below(version.0 - oldest.0 + 1))).unwrap());
            store.prune_below(goal).unwrap();
            // What it was told once it goes on wanting, until it is opened anew.
            wanted = wanted.max(goal);
            let bound = hold.as_ref().map_or(wanted, |hold| hold.version().min(wanted));
            oldest = oldest.max(bound);
            world.has_nothing_left_over(&chain, oldest);
            chain.is_held_by(&store, oldest);
            drop(hold);
        }
        if random.below(5) == 0 {
            drop(store);
            store = world.open(&Outage::never(), options).unwrap();
            wanted = Version(0);
        }
        if random.below(3) == 0 {
            // The goal is still what it was, so a hold that is gone is made up for.
            store.prune().unwrap();
            oldest = oldest.max(wanted);
            assert_eq!(store.span().unwrap().oldest, oldest);
        }
    }
    chain.is_held_by(&store, oldest);
    drop(store);
    chain.is_held_by(&world.open(&Outage::never(), options).unwrap(), oldest);
    world.has_nothing_left_over(&chain, oldest);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn every_layout_has_every_version_of_any_history_and_nothing_else(seed: u64, blocks in 1u64..24, threads in 1usize..4) {
        for world in World::all() {
            history(&world, seed, blocks, threads);
        }
    }
}

#[test]
fn a_long_history_is_right_too() {
    for world in World::all() {
        history(&world, seed(11), 150, 2);
    }
}

#[test]
fn large_blocks_are_grown_by_several_threads_to_the_same_hashes() {
    let names: Vec<StoreKey> = (0..7).map(|n| StoreKey::from(format!("a{n}"))).collect();
    let set = |version: u32| {
        let change =
            |n: u32| Change { key: n.to_be_bytes().to_vec(), value: Some((n * version).to_be_bytes().to_vec()) };
        let of = |(at, store): (u32, &StoreKey)| StoreChanges {
            store: store.clone(),
            changes: (0..400 * at).map(|n| change(n * 17 % 5000)).collect(),
        };
        let added = if version == 1 { names.clone() } else { Vec::new() };
        let upgrades = StoreUpgrades { added, ..StoreUpgrades::default() };
        Arc::new(ChangeSet { stores: (0..).zip(&names).map(of).collect(), upgrades, time: None })
    };
    for world in World::all() {
        let mut chain = Chain::default();
        let store = world.open(&Outage::never(), Options { threads: 4, memory: 1 << 20, ..plain() }).unwrap();
        for version in 1..4 {
            let info = store.commit(set(version)).unwrap();
            let version = chain.commit(set(version));
            assert_eq!(info.app_hash(), chain.infos[&version].app_hash());
        }
        chain.is_held_by(&store, Version(1));
    }
}

#[test]
fn changes_that_do_not_fit_are_refused_and_the_store_goes_on() {
    let key = |name: &str| StoreKey::from(name);
    let change = |length: usize| Change { key: vec![b'k'; length], value: Some(vec![1]) };
    let of = |store: &str, changes: Vec<Change>| StoreChanges { store: key(store), changes };
    let upgrade = |added: &[&str], deleted: &[&str], renamed: &[(&str, &str)]| ChangeSet {
        upgrades: StoreUpgrades {
            added: added.iter().map(|name| key(name)).collect(),
            deleted: deleted.iter().map(|name| key(name)).collect(),
            renamed: renamed.iter().map(|(from, to)| (key(from), key(to))).collect(),
        },
        ..ChangeSet::default()
    };
    let stores = |stores| ChangeSet { stores, ..ChangeSet::default() };
    for world in World::all() {
        let store = world.open(&Outage::never(), plain()).unwrap();
        assert!(matches!(store.commit(stores(vec![of("bank", vec![change(1)])])), Err(StoreError::Changes { .. })));
        store.commit(upgrade(&["bank", "gov"], &[], &[])).unwrap();
        store.commit(stores(vec![of("bank", vec![change(3)])])).unwrap();
        store.commit(upgrade(&[], &["gov"], &[])).unwrap();
        for (set, word) in [
            (stores(vec![of("gov", vec![change(1)])]), "store gov is not there"),
            (stores(vec![of("bank", vec![]), of("bank", vec![])]), "twice"),
            (stores(vec![of("bank", vec![change(0)])]), "has 0 bytes"),
            (stores(vec![of("bank", vec![change(131_072)])]), "131072 bytes"),
            (upgrade(&["bank"], &[], &[]), "there already"),
            (upgrade(&["x", "x"], &[], &[]), "there already"),
            (upgrade(&[], &["x"], &[]), "not there"),
            (upgrade(&[], &["bank", "bank"], &[]), "not there"),
            (upgrade(&[], &["bank"], &[("bank", "x")]), "not there"),
            (upgrade(&["a/b"], &[], &[]), "'/'"),
            (upgrade(&["gov"], &[], &[]), "earlier store of that name"),
        ] {
            let error = store.commit(set).unwrap_err();
            assert!(matches!(error, StoreError::Changes { .. }) && error.to_string().contains(word), "{error}");
            assert_eq!(store.latest().unwrap().version, Version(3));
        }
        let ambiguous = store.commit(upgrade(&["banks"], &[], &[]));
        assert_eq!(ambiguous.is_err(), matches!(world, World::V2(..)), "only store/v2 has no separator");
        store.commit(stores(vec![of("bank", vec![change(1)])])).unwrap();
    }
}
