//! A store whose engines die at every write, together or one before the other, and is opened again.

use super::{
    blocks::block,
    worlds::{Chain, World, fork_storage, plain},
};
use crate::support::random::Random;
use std::sync::Arc;
use storeshift::{
    model::{CommitInfo, Version},
    root_store::{ChangeSet, RootStore, StoreError},
    target::{MemoryCommitment, MemoryStorage, Outage},
};

const BLOCKS: u64 = 14;

fn chain(seed: u64) -> Chain {
    let (mut random, mut chain) = (Random(seed), Chain::default());
    for _ in 0..BLOCKS {
        let set = Arc::new(block(&mut random, &chain));
        chain.commit(set);
    }
    chain
}

/// Commits what is missing of a chain, pruning on the way; the last version that was acknowledged, and what ended it.
fn go_on(store: &RootStore, chain: &Chain) -> (Version, Result<(), StoreError>) {
    let mut latest = store.latest().map_or(Version(0), |info| info.version);
    for (version, set) in chain.sets.range(latest.next()..) {
        match store.commit(set.clone()) {
            Ok(info) => assert_eq!(info.app_hash(), chain.infos[version].app_hash()),
            Err(error) => return (latest, Err(error)),
        }
        latest = *version;
        if version.0 % 4 == 0
            && let Err(error) = store.prune_below(Version(version.0 - 2))
        {
            return (latest, Err(error));
        }
    }
    (latest, Ok(()))
}

/// Whether what is there is the chain up to the store's version, and it can go on to the end.
fn is_right(world: &World, chain: &Chain, acknowledged: Version) {
    let store = world.open(&Outage::never(), plain()).unwrap();
    let there = store.latest().map_or(Version(0), |info| info.version);
    assert!(there == acknowledged || there == acknowledged.next(), "{there}, and {acknowledged} was acknowledged");
    if let Some(span) = store.span() {
        for version in (span.oldest.0..=span.latest.0).map(Version) {
            let view = store.at(version).unwrap();
            assert_eq!(view.commit_info().app_hash(), chain.infos[&version].app_hash());
        }
    }
    let (latest, ended) = go_on(&store, chain);
    ended.unwrap();
    assert_eq!(latest, Version(BLOCKS));
    store.prune_below(Version(BLOCKS - 3)).unwrap();
    let oldest = store.span().unwrap().oldest;
    chain.is_held_by(&store, oldest);
    world.has_nothing_left_over(chain, oldest);
}

#[test]
fn a_store_that_dies_at_any_write_has_every_acknowledged_version_and_goes_on() {
    for seed in 0..4 {
        let chain = chain(seed);
        for world in World::all() {
            let mut writes = 0;
            loop {
                let world = world.fork();
                let outage = Outage::after(writes);
                let (acknowledged, ended) = match world.open(&outage, plain()) {
                    Ok(store) => go_on(&store, &chain),
                    Err(error) => (Version(0), Err(error)),
                };
                is_right(&world, &chain, acknowledged);
                if ended.is_ok() {
                    break;
                }
                writes += 1;
            }
            assert!(writes > BLOCKS, "{writes} writes");
        }
    }
}

#[test]
fn what_a_commit_that_died_left_is_gone_though_another_block_came_in_its_place() {
    for (seed, which) in (0..4).flat_map(|seed| [(seed, 1), (seed, 2)]) {
        let chain = chain(seed);
        for writes in 0.. {
            let world = World::all()[which].clone();
            let store = world.open(&Outage::never(), plain()).unwrap();
            let mut other = Chain::default();
            for set in chain.sets.values().take(5) {
                store.commit(set.clone()).unwrap();
                other.commit(set.clone());
            }
            drop(store);
            let died = match world.open(&Outage::after(writes), plain()) {
                Ok(store) => store.commit(chain.sets[&Version(6)].clone()).is_err(),
                Err(_) => true,
            };
            let store = world.open(&Outage::never(), plain()).unwrap();
            if store.latest().unwrap().version == Version(5) {
                let nothing = Arc::new(ChangeSet::default());
                other.commit(nothing.clone());
                store.commit(nothing).unwrap();
                other.is_held_by(&store, Version(1));
                drop(store);
                world.has_nothing_left_over(&other, Version(1));
            }
            if !died {
                break;
            }
        }
    }
}

#[test]
fn a_tree_that_is_not_the_one_its_commit_info_says_is_not_committed_on() {
    let chain = (0..).map(chain).find(|chain| {
        let [before, last, next] = [5, 6, 7].map(|version| &chain.infos[&Version(version)]);
        let names = |info: &CommitInfo| info.stores.iter().map(|store| store.name.clone()).collect::<Vec<_>>();
        names(before) == names(last) && names(last) == names(next) && before.app_hash() != last.app_hash()
    });
    let chain = chain.unwrap();
    for world in World::all() {
        let store = world.open(&Outage::never(), plain()).unwrap();
        chain.sets.values().take(6).for_each(|set| drop(store.commit(set.clone()).unwrap()));
        drop(store);
        let mut info = chain.infos[&Version(5)].clone();
        info.version = Version(6);
        info.stores.iter_mut().for_each(|store| store.version = Version(6));
        match &world {
            World::Rootmulti(database) => {
                drop(database.pairs().insert(b"s/6".to_vec(), storeshift::source::commit_info::encode(&info)));
            }
            World::V2(sc, _) => {
                drop(sc.data().infos.insert(info.version, storeshift::target::commit_info::encode(&info)));
            }
        }
        // It may be refused at once.
        let Ok(store) = world.open(&Outage::never(), plain()) else { continue };
        let refused = store.commit(chain.sets[&Version(7)].clone());
        assert!(matches!(refused, Err(StoreError::Damaged(_))), "{refused:?}");
    }
}

#[test]
fn after_a_failed_write_reads_go_on_and_commits_are_refused_until_it_is_opened_anew() {
    let chain = chain(5);
    for world in World::all() {
        let outage = Outage::after(60);
        let store = world.open(&outage, plain()).unwrap();
        let (mut latest, mut failed) = (Version(0), None);
        for (version, set) in &chain.sets {
            match store.commit(set.clone()) {
                Ok(_) => latest = *version,
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        if failed.is_none() {
            continue;
        }
        let again = store.commit(chain.sets[&latest.next()].clone());
        assert!(matches!(again, Err(StoreError::Broken(_))));
        assert!(store.fence().replace(world.fork().layout(&Outage::never()).unwrap(), false).is_err());
        assert_eq!(store.at(latest).unwrap().commit_info().app_hash(), chain.infos[&latest].app_hash());
        drop(store);
        is_right(&world, &chain, latest);
    }
}

/// SC and SS after so many versions, without pruning.
fn engines(chain: &Chain, until: u64) -> (MemoryCommitment, MemoryStorage) {
    let (sc, ss) = (MemoryCommitment::new(None, Outage::never()), MemoryStorage::new(None, Outage::never()));
    let world = World::V2(sc.clone(), Some(ss.clone()));
    let store = world.open(&Outage::never(), plain()).unwrap();
    for set in chain.sets.values().take(until as usize) {
        store.commit(set.clone()).unwrap();
    }
    (sc, ss)
}

#[test]
fn an_ss_that_lost_versions_is_read_back_from_sc_and_one_that_has_too_many_is_refused() {
    let chain = chain(3);
    let whole: Vec<_> = (0..=BLOCKS).map(|until| engines(&chain, until)).collect();
    for (sc_at, (sc, right)) in whole.iter().enumerate().skip(1) {
        for (ss_at, (_, ss)) in whole.iter().enumerate() {
            let World::V2(sc, _) = World::V2(sc.clone(), None).fork() else { unreachable!() };
            let world = World::V2(sc, Some(fork_storage(ss)));
            let opened = world.open(&Outage::never(), plain());
            if ss_at > sc_at {
                assert!(matches!(opened, Err(StoreError::Ahead { .. })));
                let World::V2(_, Some(refused)) = &world else { unreachable!() };
                assert!(*refused.data() == *ss.data(), "nothing is changed");
                continue;
            }
            drop(opened.unwrap());
            let World::V2(_, Some(healed)) = &world else { unreachable!() };
            assert!(*healed.data() == *right.data(), "SC at {sc_at}, SS at {ss_at}");
            is_right(&world, &chain, Version(sc_at as u64));
        }
    }
}

#[test]
fn healing_that_dies_at_any_write_is_gone_on_with() {
    let chain = chain(7);
    let ((sc, right), (_, behind)) = (engines(&chain, BLOCKS), engines(&chain, 3));
    for writes in 0.. {
        let World::V2(sc, _) = World::V2(sc.clone(), None).fork() else { unreachable!() };
        let ss = fork_storage(&behind);
        let world = World::V2(sc, Some(ss.clone()));
        let died = world.open(&Outage::after(writes), plain()).is_err();
        drop(world.open(&Outage::never(), plain()).unwrap());
        assert!(*ss.data() == *right.data(), "after {writes} writes");
        if !died {
            assert!(writes > 10);
            break;
        }
    }
}

#[test]
fn an_sc_that_is_lost_is_not_taken_for_a_new_chain() {
    let (_, ss) = engines(&chain(1), 5);
    let world = World::V2(MemoryCommitment::new(None, Outage::never()), Some(ss));
    assert!(matches!(world.open(&Outage::never(), plain()), Err(StoreError::Ahead { sc: None, .. })));
}
