//! The gate that commits pass: closed, sealed, opened; and a prune that fails, before and after the layout is another one.

use super::{
    blocks::block,
    worlds::{Chain, World, plain},
};
use crate::support::random::Random;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};
use storeshift::{model::Version, root_store::RootStore, target::Outage};

fn committed(seed: u64, blocks: u64) -> (Chain, RootStore, World) {
    let world = World::all()[0].clone();
    let store = world.open(&Outage::never(), plain()).unwrap();
    let (mut random, mut chain) = (Random(seed), Chain::default());
    for _ in 0..blocks {
        let set = Arc::new(block(&mut random, &chain));
        chain.commit(set.clone());
        store.commit(set).unwrap();
    }
    (chain, store, world)
}

fn next(seed: u64, chain: &Chain) -> Arc<storeshift::root_store::ChangeSet> {
    Arc::new(block(&mut Random(seed), chain))
}

#[test]
fn a_gate_that_nobody_closed_or_that_opened_again_cannot_be_sealed() {
    let (mut chain, store, _) = committed(3, 5);
    assert!(!store.seal());
    assert_eq!(store.close(Duration::from_millis(1)).unwrap().version, Version(5));
    // It waits for as long as it may, and no longer.
    let set = next(9, &chain);
    chain.commit(set.clone());
    store.commit(set).unwrap();
    assert!(!store.seal(), "the chain stands at another version than it was closed at");
    assert_eq!(store.close(Duration::from_secs(60)).unwrap().version, Version(6));
    assert!(store.seal());
    store.open_gate();
    assert!(!store.seal());
}

#[test]
fn a_sealed_gate_lets_nobody_pass_until_it_is_opened_however_short_the_pause_was_to_be() {
    for _ in 0..20 {
        let (mut chain, store, _) = committed(4, 5);
        store.close(Duration::ZERO);
        assert!(store.seal());
        let is_opened = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..2000 {
                    thread::yield_now();
                }
                is_opened.store(true, Ordering::SeqCst);
                store.open_gate();
            });
            let set = next(9, &chain);
            chain.commit(set.clone());
            store.commit(set).unwrap();
            assert!(is_opened.load(Ordering::SeqCst), "a commit passed a sealed gate");
        });
    }
}

/// A store/v1 whose writes fail while they are to.
fn failing(seed: u64) -> (Chain, RootStore, World, Arc<AtomicBool>) {
    let (chain, store, world) = committed(seed, 12);
    drop(store);
    let fails = Arc::new(AtomicBool::new(false));
    let asked = fails.clone();
    let store = world.open(&Outage::asking(move || !asked.load(Ordering::SeqCst)), plain()).unwrap();
    (chain, store, world, fails)
}

#[test]
fn a_version_that_could_not_be_pruned_is_taken_up_again() {
    let (chain, store, world, fails) = failing(5);
    fails.store(true, Ordering::SeqCst);
    store.prune_below(Version(6)).unwrap_err();
    assert!(store.prune_status().failed.is_some());
    fails.store(false, Ordering::SeqCst);
    store.prune().unwrap();
    assert_eq!(store.prune_status().failed, None);
    chain.is_held_by(&store, Version(6));
    world.has_nothing_left_over(&chain, Version(6));
}

#[test]
fn what_could_not_be_pruned_of_one_layout_is_not_pruned_of_the_next() {
    let (chain, store, _, fails) = failing(6);
    let v2 = World::all()[1].clone();
    let beside = v2.open(&Outage::never(), plain()).unwrap();
    for set in chain.sets.values() {
        beside.commit(set.clone()).unwrap();
    }
    drop(beside);
    fails.store(true, Ordering::SeqCst);
    store.prune_below(Version(6)).unwrap_err();
    store.fence().replace(v2.layout(&Outage::never()).unwrap(), false).unwrap();
    store.prune().unwrap();
    chain.is_held_by(&store, Version(1));
    v2.has_nothing_left_over(&chain, Version(1));
}

#[test]
fn a_version_that_two_hold_is_held_until_both_let_go() {
    let (chain, store, world) = committed(7, 10);
    let (one, other) = (store.hold(Version(4)).unwrap(), store.hold(Version(4)).unwrap());
    drop(one);
    store.prune_below(Version(9)).unwrap();
    chain.is_held_by(&store, Version(4));
    drop(other);
    store.prune().unwrap();
    chain.is_held_by(&store, Version(9));
    world.has_nothing_left_over(&chain, Version(9));
}
