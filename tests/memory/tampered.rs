//! A target that is changed between being written and being read back, and a source whose trees lie above the chunks: whatever it is, no
//! version comes of it.

use crate::{
    scenarios::{block, chain, open, world},
    support::{
        job::{World, tiny},
        random::{Random, seed},
        stores::Chain,
    },
};
use std::{collections::BTreeSet, sync::Arc};
use storeshift::{
    Error, Kind,
    iavl::{Node, NodeKey, SpineNode},
    machine::Phase,
    model::{Hash, StoreKey, Version},
    phases::join::{Joint, check_joints},
    plan::{At, Plan},
    source::{MemoryEngine, Rootmulti},
    target::Outage,
};

const STORES: [&str; 2] = ["bank", "gov"];
const HEIGHT: Version = Version(6);

/// A job that has written everything and read nothing back.
fn joined(born: &World) -> World {
    for point in 0.. {
        let world = born.fork();
        let end = world.open(&Outage::after(point)).and_then(|mut job| job.run());
        if matches!(&world.state().phase, Phase::Restoring { joined: true, proven, .. } if proven.count() == 0) {
            return world;
        }
        assert!(end.is_err(), "no run stopped there");
    }
    unreachable!()
}

fn small() -> World {
    let chain = chain(&STORES, HEIGHT.0, 10);
    joined(&world(&chain, At::Latest, true))
}

fn is_found(world: &World, how: &str) {
    let end = open(world).run();
    assert!(matches!(end, Err(Error::Halted(_))), "{how}: {end:?}");
    assert!(matches!(world.state().phase, Phase::Halted { .. }), "{how}");
    assert!(world.sc.data().latest.is_none() && world.ss.data().latest.is_none(), "{how}");
}

#[test]
fn a_target_that_nobody_changed_is_right() {
    let world = small();
    open(&world).run().unwrap();
}

#[test]
fn every_record_of_sc_that_is_changed_lost_or_one_too_many_is_found() {
    let (world, mut random) = (small(), Random(seed(21)));
    let records: Vec<_> = world.sc.data().records.clone().into_iter().collect();
    let there: BTreeSet<_> = records.iter().map(|(place, _)| place.clone()).collect();
    let mut spines = 0;
    for ((store, at), record) in &records {
        let place = (store.clone(), *at);
        let lost = world.fork();
        lost.sc.data().records.remove(&place);
        is_found(&lost, &format!("{store} {at} lost"));
        // Every byte of what lies above the chunks, one of the others.
        let decoded = if at.nonce > 1 { Node::decode(record).ok() } else { None };
        let is_spine = matches!(&decoded, Some(Node::Inner { size, .. }) if *size > 16);
        spines += usize::from(is_spine);
        let some = random.below(record.len() as u64) as usize;
        for byte in (0..record.len()).filter(|byte| is_spine && store.as_str() == "bank" || *byte == some) {
            let changed = world.fork();
            changed.sc.data().records.get_mut(&place).unwrap()[byte] ^= 1 << random.below(8);
            is_found(&changed, &format!("{store} {at}, byte {byte} changed"));
        }
        let before = NodeKey::new(Version(at.version.0.saturating_sub(1)), at.nonce);
        let is_leaf = matches!(decoded, Some(Node::Leaf { .. }));
        if is_leaf && !there.contains(&(store.clone(), before)) {
            let doubled = world.fork();
            doubled.sc.data().records.insert((store.clone(), before), record.clone());
            is_found(&doubled, &format!("{store} {before} one too many"));
        }
    }
    assert!(spines > 4 && records.len() > 200, "{spines} nodes above chunks, {} records", records.len());
}

#[test]
fn every_pair_of_ss_that_is_changed_lost_or_one_too_many_is_found() {
    let world = small();
    let pairs: Vec<_> = world.ss.data().pairs.clone().into_iter().collect();
    assert!(pairs.len() > 100);
    let changed = |how: &str, change: &dyn Fn(&World)| {
        let world = world.fork();
        change(&world);
        is_found(&world, how);
    };
    for ((store, key, version), value) in &pairs {
        let how = |what: &str| format!("{store} {} {what}", String::from_utf8_lossy(key));
        let place = (store.clone(), key.clone(), *version);
        changed(&how("lost"), &|world| drop(world.ss.data().pairs.remove(&place)));
        changed(&how("removed"), &|world| drop(world.ss.data().pairs.insert(place.clone(), None)));
        changed(&how("changed"), &|world| {
            let other = value.as_ref().map(|value| [value.as_slice(), b"x"].concat());
            world.ss.data().pairs.insert(place.clone(), other);
        });
        changed(&how("of another version"), &|world| {
            let mut data = world.ss.data();
            let value = data.pairs.remove(&place).unwrap();
            data.pairs.insert((store.clone(), key.clone(), Version(version.0 - 1)), value);
        });
        for other in [[key.as_slice(), b"\0"].concat(), key[..key.len() - 1].to_vec()] {
            let stray = (store.clone(), other, *version);
            if !world.ss.data().pairs.contains_key(&stray) {
                let with = |world: &World| drop(world.ss.data().pairs.insert(stray.clone(), Some(b"x".to_vec())));
                changed(&how("has one too many beside it"), &with);
            }
        }
    }
}

#[test]
fn chunks_whose_records_lie_far_apart_are_read_back_one_by_one() {
    let mut chain = Chain::holding(MemoryEngine::default(), Version(3000));
    chain.add_store("bank");
    for version in 3001..=3004 {
        chain.commit(&block(&["bank"], version, 10));
    }
    let plan = Plan { at: At::Latest, chunk_leaves: 16, ..Plan::new() };
    let world = joined(&World::new(Arc::new(Rootmulti::new(chain.engine.clone())), plan, tiny(1)));
    let bank = StoreKey::from("bank");
    // More than may be passed over between the chunks' own.
    for version in 1..2000u64 {
        let mut data = world.sc.data();
        for nonce in 0..17 {
            data.records.insert((bank.clone(), NodeKey::new(Version(version), 1_000_000 + nonce)), vec![0]);
        }
    }
    let leaves: Vec<NodeKey> = {
        let data = world.sc.data();
        let is_leaf = |at: &NodeKey, record: &[u8]| {
            at.version > Version(3000) && at.nonce > 1 && matches!(Node::decode(record), Ok(Node::Leaf { .. }))
        };
        data.records.iter().filter(|((_, at), record)| is_leaf(at, record)).map(|((_, at), _)| *at).collect()
    };
    assert!(leaves.len() == 40);
    for at in leaves.iter().step_by(7) {
        let changed = world.fork();
        *changed.sc.data().records.get_mut(&(bank.clone(), *at)).unwrap().last_mut().unwrap() ^= 1;
        is_found(&changed, &format!("{at}"));
    }
}

#[test]
fn a_target_that_is_damaged_where_later_versions_grow_on_it_is_found_and_nothing_wrong_is_written() {
    let mut chain = chain(&STORES, HEIGHT.0, 10);
    let written = world(&chain, At::Latest, false);
    open(&written).run().unwrap();
    // Some of the keys that are there, so that those beside them are kept.
    for beside in [0, 4] {
        let keys = (1..=HEIGHT.0).map(|version| format!("key-{version}-{beside}").into_bytes());
        let pairs: Vec<_> = keys.map(|key| (key, Some(b"another".to_vec()))).collect();
        chain.commit(&STORES.map(|store| (store, pairs.clone())).to_vec());
    }
    let grown = World { source: Arc::new(Rootmulti::new(chain.engine.clone())), ..written };
    let whole = grown.fork();
    open(&whole).run().unwrap();
    let newer = |world: &World| {
        let records = world.sc.data().records.clone();
        records.into_iter().filter(|((_, at), _)| at.version > HEIGHT).collect::<Vec<_>>()
    };
    let mut found = 0;
    let records = grown.sc.data().records.clone();
    for (place, record) in records {
        if place.1.nonce < 2 || !matches!(Node::decode(&record), Ok(Node::Leaf { .. })) {
            continue;
        }
        let damaged = grown.fork();
        *damaged.sc.data().records.get_mut(&place).unwrap().last_mut().unwrap() ^= 1;
        match open(&damaged).run() {
            // No later version reads it.
            Ok(_) => assert!(newer(&damaged) == newer(&whole), "{place:?}"),
            Err(error) => {
                found += 1;
                assert!(matches!(error, Error::Halted(_)), "{place:?}: {error}");
                assert_eq!(damaged.sc.data().latest, Some(HEIGHT));
            }
        }
    }
    assert!(found > 10, "{found} were found");
}

#[test]
fn a_source_with_a_wrong_inner_key_anywhere_is_refused_though_no_hash_covers_it() {
    let chain = chain(&STORES, HEIGHT.0, 10);
    let whole = world(&chain, At::Latest, true);
    open(&whole).run().unwrap();
    let (mut refused, mut joined) = (0, 0);
    for (place, record) in &chain.engine.pairs {
        if !place.starts_with(b"s/k:bank/s") {
            continue;
        }
        let Ok(Node::Inner { height, size, key, hash, left, right }) = Node::decode(record) else { continue };
        let key = [key, b"\0"].concat();
        let mut other = Vec::new();
        Node::Inner { height, size, key: &key, hash, left, right }.encode(&mut other);
        let mut engine = chain.engine.clone();
        engine.pairs.insert(place.clone(), other);
        let mut world = world(&chain, At::Latest, true);
        world.source = Arc::new(Rootmulti::new(engine));
        match open(&world).run() {
            // A node of an older version that the newest tree does not need.
            Ok(_) => assert!(*world.sc.data() == *whole.sc.data()),
            Err(error) => {
                refused += 1;
                assert!(matches!(error.kind(), Kind::Disagrees | Kind::Blocked), "{error}");
                assert!(world.sc.data().latest.is_none());
                // As soon as the source says the right thing the job goes on, whatever it was told as the snapshot was taken.
                let Phase::Restoring { restored, .. } = &world.state().phase else { panic!("{error}") };
                let chunks: u64 = world.recorded().manifest().unwrap().stores.iter().map(|store| store.chunks).sum();
                joined += usize::from(restored.count() == chunks);
                let mended = World { source: whole.source.clone(), ..world };
                open(&mended).run().unwrap_or_else(|error| panic!("{size} leaves: {error}"));
                assert!(*mended.sc.data() == *whole.sc.data() && *mended.ss.data() == *whole.ss.data());
                assert!(mended.recorded().spine(0).unwrap() == whole.recorded().spine(0).unwrap());
            }
        }
    }
    assert!(refused > 40, "{refused} were needed");
    assert!(joined > 2, "{joined} were found out when all chunks were there");
}

#[test]
fn chunks_that_do_not_follow_each_other_do_not_join() {
    let joint = |first_ordinal: u64, first: &str, last: &str| Joint {
        first_ordinal,
        root_ordinal: first_ordinal + 4,
        first_key: first.as_bytes().to_vec(),
        last_key: last.as_bytes().to_vec(),
    };
    check_joints(&[], &[joint(0, "a", "c"), joint(5, "d", "f"), joint(10, "g", "g")]).unwrap();
    for joints in [
        [joint(0, "a", "c"), joint(5, "c", "f"), joint(10, "g", "g")],
        [joint(0, "a", "c"), joint(5, "b", "f"), joint(10, "g", "g")],
        [joint(0, "a", "c"), joint(5, "d", "f"), joint(10, "f", "g")],
    ] {
        check_joints(&[], &joints).unwrap_err();
    }
}

#[test]
fn an_inner_node_above_the_chunks_with_an_ordinal_of_a_chunk_does_not_join() {
    let joint = |first_ordinal: u64, key: &str| {
        let (first_key, last_key) = (key.as_bytes().to_vec(), format!("{key}z").into_bytes());
        Joint { first_ordinal, root_ordinal: first_ordinal + 4, first_key, last_key }
    };
    let joints = [joint(0, "a"), joint(5, "b")];
    let version = Version(1);
    let node = |ordinal: u64, right_size: u64| SpineNode {
        ordinal,
        version,
        height: 3,
        size: 6,
        key: b"b".to_vec(),
        hash: Hash::EMPTY,
        left_version: version,
        right_version: version,
        right_size,
    };
    check_joints(&[node(10, 3)], &joints).unwrap();
    let why = check_joints(&[node(8, 2)], &joints).unwrap_err();
    assert!(why.contains("within a chunk"), "{why}");
}
