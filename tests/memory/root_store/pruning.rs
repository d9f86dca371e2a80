//! Pruning beside commits and readers, holds, and the change from one layout to another.

use super::{
    blocks::block,
    worlds::{Chain, World, plain},
};
use crate::support::random::Random;
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
use storeshift::{
    iavl::{Access, NodeReader as _},
    model::{StoreKey, Version},
    root_store::{Options, Pruning, StoreError},
    source::{Feed as _, RetainedVersions},
    target::Outage,
};

#[test]
fn readers_see_their_version_whole_while_commits_and_pruning_go_on() {
    for world in World::all() {
        let mut random = Random(23);
        let mut chain = Chain::default();
        for _ in 0..120 {
            let set = Arc::new(block(&mut random, &chain));
            chain.commit(set);
        }
        let options = Options { pruning: Pruning::Keep { recent: 3, interval: 2 }, ..plain() };
        let store = world.open(&Outage::never(), options).unwrap();
        let ended = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let readers: Vec<_> = (0..3)
                .map(|number| {
                    let (store, chain, ended) = (&store, &chain, &ended);
                    scope.spawn(move || {
                        let (mut random, mut reads) = (Random(number), 0u64);
                        while !ended.load(Ordering::SeqCst) {
                            let Some(span) = store.span() else { continue };
                            let version = Version(span.oldest.0 + random.below(span.latest.0 - span.oldest.0 + 1));
                            // It may have been pruned since.
                            let view = match store.at(version) {
                                Ok(view) => view,
                                Err(StoreError::NoVersion { .. }) => continue,
                                Err(error) => panic!("{error}"),
                            };
                            for (name, pairs) in &chain.states[&version] {
                                let found: Vec<_> = view.iter(name).unwrap().map(Result::unwrap).collect();
                                assert_eq!(found, pairs.clone().into_iter().collect::<Vec<_>>());
                            }
                            reads += 1;
                        }
                        reads
                    })
                })
                .collect();
            for set in chain.sets.values() {
                store.commit(set.clone()).unwrap();
            }
            ended.store(true, Ordering::SeqCst);
            let reads: u64 = readers.into_iter().map(|reader| reader.join().unwrap()).sum();
            println!("{reads} reads");
        });
        store.prune().unwrap();
        let status = store.prune_status();
        assert_eq!((status.span.unwrap().oldest, status.failed), (Version(117), None));
        chain.is_held_by(&store, Version(117));
        world.has_nothing_left_over(&chain, Version(117));
    }
}

#[test]
fn a_held_version_is_read_through_the_live_source_until_it_is_let_go() {
    let World::Rootmulti(_) = &World::all()[0] else { unreachable!() };
    let world = World::all()[0].clone();
    let (mut random, mut chain) = (Random(9), Chain::default());
    let store = world.open(&Outage::never(), plain()).unwrap();
    let source = store.source().unwrap();
    let feed = RetainedVersions::new(source.clone());
    let mut hold = None;
    for _ in 0..30 {
        let set = Arc::new(block(&mut random, &chain));
        chain.commit(set.clone());
        store.commit(set).unwrap();
        let latest = chain.latest();
        assert_eq!(feed.tip().unwrap(), latest, "the feed sees versions as they are committed");
        assert_eq!(feed.app_hash(latest).unwrap(), Some(chain.infos[&latest].app_hash()));
        if latest == Version(10) {
            hold = Some(store.hold(latest).unwrap());
        }
        store.prune_below(latest).unwrap();
    }
    assert_eq!(store.span().unwrap().oldest, Version(10));
    assert_eq!(store.prune_status().held, Some(Version(10)));
    for store in &chain.infos[&Version(10)].stores {
        let root = source.root(&store.name, Version(10)).unwrap().unwrap();
        if let storeshift::source::StoreRoot::Node { at, hash } = root {
            assert_eq!(Some(hash), store.root);
            let mut record = Vec::new();
            assert!(source.nodes(&store.name, Access::Points).read(at.key().unwrap(), &mut record).unwrap());
        }
    }
    drop(hold);
    store.prune().unwrap();
    chain.is_held_by(&store, Version(30));
}

#[test]
fn a_store_changes_its_layout_under_the_gate_and_whoever_holds_it_reads_on() {
    let (v1, v2) = (World::all()[0].clone(), World::all()[1].clone());
    let (mut random, mut chain) = (Random(4), Chain::default());
    let (store, beside) = (v1.open(&Outage::never(), plain()).unwrap(), v2.open(&Outage::never(), plain()).unwrap());
    for _ in 0..12 {
        let set = Arc::new(block(&mut random, &chain));
        chain.commit(set.clone());
        store.commit(set.clone()).unwrap();
        // Not yet where the store is.
        assert!(matches!(
            store.fence().replace(v2.layout(&Outage::never()).unwrap(), true),
            Err(StoreError::NotTheSame(_))
        ));
        beside.commit(set).unwrap();
    }
    beside.prune_below(Version(9)).unwrap();
    let before = store.at(Version(12)).unwrap();
    drop(beside);
    let mut fence = store.fence();
    assert_eq!(fence.latest().unwrap().version, Version(12));
    fence.replace(v2.layout(&Outage::never()).unwrap(), true).unwrap();
    drop(fence);
    assert!(store.source().is_none());
    for _ in 0..6 {
        let set = Arc::new(block(&mut random, &chain));
        chain.commit(set.clone());
        store.commit(set).unwrap();
    }
    // Versions before the new layout's oldest are those of the old one.
    chain.is_held_by(&store, Version(1));
    assert_eq!(before.commit_info().app_hash(), chain.infos[&Version(12)].app_hash());
    let bank = StoreKey::from("bank");
    let expected = chain.states[&Version(12)].get(&bank).map(|pairs| pairs.len());
    assert_eq!(before.iter(&bank).ok().map(Iterator::count), expected);
    store.prune_below(Version(16)).unwrap();
    drop(store);
    let store = v2.open(&Outage::never(), plain()).unwrap();
    chain.is_held_by(&store, Version(16));
    store.keep_older(v1.layout(&Outage::never()).unwrap()).unwrap();
    assert_eq!(store.span().unwrap().oldest, Version(16), "there is a gap between the two");
    store.at(Version(12)).unwrap();
    assert!(matches!(store.at(Version(14)), Err(StoreError::NoVersion { .. })));
}
