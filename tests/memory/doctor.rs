//! The doctor on databases in memory: the bundled fixtures, which are sound, and damage planted in trees of many chunks.

use crate::support::stores::{Chain, encode_commit_info, fixture};
use std::collections::BTreeSet;
use storeshift::{
    doctor::{Finding, Kind, Report, Scope, Severity, Watch, examine},
    iavl::{Node, NodeId, NodeKey},
    model::Version,
    plan::Tuning,
    progress::Stop,
    source::{MemoryEngine, Rootmulti, commit_info},
};

fn report(engine: &MemoryEngine, scope: Scope) -> Report {
    let source = Rootmulti::new(engine.clone());
    examine(&source, scope, Tuning::default(), &Watch::default(), &Stop::default()).unwrap()
}

fn examined(engine: &MemoryEngine) -> Report {
    report(engine, Scope::default())
}

fn damages(report: &Report) -> Vec<&Finding> {
    report.findings.iter().filter(|finding| finding.severity == Severity::Damage).collect()
}

/// Versions that can be migrated, and whether memory stores have to be left out.
fn migratable(report: &Report) -> Vec<(u64, u64, bool)> {
    report.migratable.iter().map(|range| (range.first, range.last, range.leave_out_memory_stores)).collect()
}

/// A fixture, the versions that can be migrated, the kinds of notices.
type Expected = (&'static str, &'static [(u64, u64, bool)], &'static [Kind]);

#[test]
fn every_fixture_is_sound_and_the_versions_that_can_be_migrated_are_those_it_was_made_with() {
    let expected: [Expected; 14] = [
        ("small", &[(1, 20, false)], &[Kind::DeletedStore]),
        ("pruned", &[(18, 25, false)], &[]),
        ("initial", &[(1_000_005, 1_000_017, false)], &[]),
        ("idle", &[(1, 24, false)], &[]),
        ("idle-pruned", &[(28, 31, false)], &[Kind::GhostRoot, Kind::UnreferencedNodes]),
        ("nofast", &[(1, 12, false)], &[]),
        ("unflushed", &[(1, 14, false)], &[]),
        ("legacy", &[(1, 18, true)], &[Kind::MemoryStores, Kind::OrphanRecords]),
        ("legacy-holes", &[(27, 31, true)], &[Kind::MemoryStores, Kind::OrphanRecords, Kind::VersionHoles]),
        ("legacy-pruned", &[(18, 21, true)], &[Kind::MemoryStores, Kind::OrphanRecords]),
        ("mixed", &[(17, 23, false), (1, 16, true)], &[Kind::MemoryStores, Kind::OrphanRecords]),
        ("mixed-pruned", &[(28, 32, false)], &[Kind::UnreferencedNodes]),
        (
            "mixed-upgrade",
            &[(10, 16, false), (1, 9, true)],
            &[Kind::MemoryStores, Kind::OrphanRecords, Kind::DeletedStore],
        ),
        ("mixed-clash", &[(24, 24, false)], &[Kind::MemoryStores, Kind::OrphanRecords, Kind::OverwrittenRoot]),
    ];
    for (name, versions, notices) in expected {
        let report = examined(&fixture(name));
        assert_eq!(damages(&report), Vec::<&Finding>::new(), "{name}");
        assert!(report.sound && report.history, "{name}");
        assert_eq!(migratable(&report), versions, "{name}");
        let found: BTreeSet<Kind> = report.findings.iter().map(|finding| finding.kind).collect();
        assert_eq!(found, notices.iter().copied().collect(), "{name}");
        let latest = report.latest.unwrap();
        let newest = fixture(name);
        let only = self::report(&newest, Scope { at: None, latest_only: true });
        assert!(only.sound && !only.history, "{name}");
        assert_eq!(migratable(&only).first().map(|range| (range.0, range.1)), Some((latest, latest)), "{name}");
    }
}

/// Records of one kind are counted as they are.
#[test]
fn sizes_by_kind_are_those_of_the_records() {
    let engine = fixture("mixed");
    let report = examined(&engine);
    for store in &report.stores {
        let prefix = format!("s/k:{}/", store.name).into_bytes();
        let of = |kind: u8| {
            let records = engine.pairs.iter().filter(|(key, _)| key.starts_with(&prefix) && key[prefix.len()] == kind);
            records.fold((0, 0), |(count, bytes), (key, value)| (count + 1, bytes + (key.len() + value.len()) as u64))
        };
        let kinds = store.records;
        for (kind, tally) in
            [(b's', kinds.s), (b'n', kinds.n), (b'r', kinds.r), (b'o', kinds.o), (b'f', kinds.f), (b'm', kinds.m)]
        {
            assert_eq!((tally.records, tally.bytes), of(kind), "{} {}", store.name, kind as char);
        }
    }
}

/// Trees of several chunks, over three versions.
fn chain() -> Chain {
    let mut chain = Chain::with_stores(&["bank", "acc"]);
    let key = |number: u32| format!("key {number:08}").into_bytes();
    let all = (0..30_000).map(|number| (key(number), Some(b"first".to_vec()))).collect();
    chain.commit(&vec![("bank", all), ("acc", vec![(b"a".to_vec(), Some(b"1".to_vec()))])]);
    for version in 2..=3u32 {
        let some = (0..300).map(|number| (key(number * 97 + version), Some(vec![version as u8]))).collect();
        chain.commit(&vec![("bank", some), ("acc", vec![])]);
    }
    chain
}

fn place(key: NodeKey) -> Vec<u8> {
    [b"s/k:bank/".as_slice(), &key.to_bytes()].concat()
}

fn record(engine: &MemoryEngine, key: NodeKey) -> Vec<u8> {
    engine.pairs[&place(key)].clone()
}

/// The nodes of bank's newest tree in pre-order: key, height, size, parent.
fn nodes(engine: &MemoryEngine) -> Vec<(NodeKey, u8, u64, Option<NodeKey>)> {
    let mut found = Vec::new();
    let mut open = vec![(NodeKey::root_of(Version(3)), None)];
    while let Some((key, parent)) = open.pop() {
        match Node::decode(&record(engine, key)).unwrap() {
            Node::Leaf { .. } => found.push((key, 0, 1, parent)),
            Node::Inner { height, size, left, right, .. } => {
                found.push((key, height, size, parent));
                open.extend([right, left].map(|child| (child.key().unwrap(), Some(key))));
            }
        }
    }
    found
}

/// What is found in a copy that was changed.
fn after(chain: &Chain, change: impl FnOnce(&mut MemoryEngine)) -> Report {
    let mut engine = chain.engine.clone();
    change(&mut engine);
    examined(&engine)
}

#[test]
fn all_missing_nodes_are_named_with_parent_and_keys_wherever_they_lie() {
    let chain = chain();
    assert_eq!(damages(&examined(&chain.engine)), Vec::<&Finding>::new());
    let nodes = nodes(&chain.engine);
    // Leaves of different chunks, a small inner node, and one above the chunks; none below another.
    let leaves = nodes.iter().filter(|(_, height, ..)| *height == 0).map(|node| node.0).collect::<Vec<_>>();
    let first_half = |key: &NodeKey| leaves[..leaves.len() / 3].contains(key);
    let small = nodes.iter().rfind(|(key, height, ..)| *height == 3 && !first_half(key)).unwrap().0;
    let below_small: Vec<NodeKey> = {
        let at = nodes.iter().position(|node| node.0 == small).unwrap();
        nodes[at..at + 2 * nodes[at].2 as usize - 1].iter().map(|node| node.0).collect()
    };
    let mut gone: BTreeSet<NodeKey> = [10, 4000, 9000].map(|number| leaves[number]).into();
    assert!(gone.iter().all(|key| !below_small.contains(key)));
    gone.insert(small);
    let report = after(&chain, |engine| gone.iter().for_each(|key| drop(engine.pairs.remove(&place(*key)))));
    let damages = damages(&report);
    assert_eq!(damages.len(), gone.len(), "{damages:#?}");
    for key in &gone {
        let (_, _, size, parent) = *nodes.iter().find(|node| node.0 == *key).unwrap();
        let found = damages.iter().find(|finding| finding.node == Some(NodeId::from(*key))).unwrap();
        assert_eq!(found.kind, Kind::MissingNode);
        assert_eq!(found.parent, parent.map(NodeId::from));
        assert_eq!(found.keys, Some(size));
        assert_eq!((found.store.as_ref().unwrap().as_str(), found.version), ("bank", Some(Version(3))));
    }
    assert!(report.migratable.is_empty());
    let spine = nodes.iter().find(|(_, _, size, _)| (9000..20_000).contains(size)).unwrap();
    let report = after(&chain, |engine| drop(engine.pairs.remove(&place(spine.0))));
    assert_eq!(self::damages(&report).len(), 1);
    let found = &report.findings[0];
    assert_eq!((found.kind, found.node, found.keys), (Kind::MissingNode, Some(spine.0.into()), Some(spine.2)));
}

/// Rewrites an inner node.
fn rewrite(engine: &mut MemoryEngine, at: NodeKey, change: impl FnOnce(&mut Node<'_>)) {
    let old = record(engine, at);
    let mut node = Node::decode(&old).unwrap();
    change(&mut node);
    let mut new = Vec::new();
    node.encode(&mut new);
    engine.pairs.insert(place(at), new);
}

type Plant<'a> = &'a dyn Fn(&mut MemoryEngine);

#[test]
fn each_kind_of_damage_in_a_node_is_called_by_its_name_and_by_no_other() {
    let chain = chain();
    let nodes = nodes(&chain.engine);
    let top = nodes.iter().find(|(_, _, size, _)| (9000..20_000).contains(size)).unwrap().0;
    let low = nodes.iter().filter(|(_, height, ..)| *height == 2).nth(200).unwrap().0;
    for at in [top, low] {
        let high = nodes.iter().find(|node| node.0 == at).unwrap().3.unwrap();
        let cases: [(Kind, Plant<'_>); 8] = [
            (Kind::WrongHash, &|engine| {
                rewrite(engine, at, |node| {
                    if let Node::Inner { hash, .. } = node {
                        hash.0[7] ^= 1;
                    }
                });
            }),
            (Kind::WrongSize, &|engine| {
                rewrite(engine, at, |node| {
                    if let Node::Inner { size, .. } = node {
                        *size += 1;
                    }
                });
            }),
            (Kind::WrongHeight, &|engine| {
                rewrite(engine, at, |node| {
                    if let Node::Inner { height, .. } = node {
                        *height += 1;
                    }
                });
            }),
            (Kind::WrongInnerKey, &|engine| {
                rewrite(engine, at, |node| {
                    if let Node::Inner { height, size, hash, left, right, .. } = *node {
                        *node = Node::Inner { height, size, key: b"", hash, left, right };
                    }
                });
            }),
            (Kind::WrongOrder, &|engine| {
                rewrite(engine, at, |node| {
                    if let Node::Inner { left, right, .. } = node {
                        std::mem::swap(left, right);
                    }
                });
            }),
            (Kind::Cycle, &|engine| {
                rewrite(engine, at, |node| {
                    if let Node::Inner { left, .. } = node {
                        *left = high.into();
                    }
                });
            }),
            (Kind::BadRecord, &|engine| drop(engine.pairs.insert(place(at), vec![4, 6, 1]))),
            (Kind::MissingNode, &|engine| drop(engine.pairs.remove(&place(at)))),
        ];
        for (kind, plant) in cases {
            let report = after(&chain, plant);
            let damages = damages(&report);
            let found: Vec<_> = damages.iter().map(|finding| (finding.kind, finding.node, finding.parent)).collect();
            assert_eq!(found.len(), 1, "{kind:?} at {at}: {damages:#?}");
            let node = if kind == Kind::Cycle { high } else { at };
            assert_eq!((found[0].0, found[0].1), (kind, Some(node.into())), "{damages:#?}");
            assert!(report.migratable.is_empty(), "{kind:?}");
        }
    }
}

#[test]
fn an_altered_leaf_is_one_finding_however_many_versions_and_parents_have_it() {
    let chain = chain();
    let nodes = nodes(&chain.engine);
    // Of the first version, under a parent of the third: version 1 has it under another parent.
    let leaf = nodes
        .iter()
        .find(|(key, height, _, parent)| *height == 0 && key.version.0 == 1 && parent.unwrap().version.0 == 3)
        .unwrap();
    let report = after(&chain, |engine| *engine.pairs.get_mut(&place(leaf.0)).unwrap().last_mut().unwrap() ^= 1);
    let damages = damages(&report);
    assert_eq!(damages.len(), 1, "{damages:#?}");
    assert_eq!((damages[0].kind, damages[0].node), (Kind::WrongHash, Some(leaf.0.into())));
    assert!(report.whole.is_empty(), "all versions have it: {:?}", report.whole);
}

#[test]
fn damage_in_an_old_version_leaves_the_newer_ones_to_be_migrated() {
    let chain = chain();
    let newest: BTreeSet<NodeKey> = nodes(&chain.engine).iter().map(|node| node.0).collect();
    // A leaf that only versions 1 and 2 have.
    let prefix = b"s/k:bank/s";
    let old = chain.engine.pairs.keys().filter(|key| key.starts_with(prefix));
    let old = old.filter_map(|key| NodeKey::from_bytes(&key[9..])).filter(|key| key.version.0 == 1);
    let mut old = old.filter(|key| matches!(Node::decode(&record(&chain.engine, *key)), Ok(Node::Leaf { .. })));
    let gone = old.rfind(|key| !newest.contains(key)).unwrap();
    let report = after(&chain, |engine| drop(engine.pairs.remove(&place(gone))));
    let damages = damages(&report);
    assert_eq!(damages.len(), 1, "{damages:#?}");
    assert_eq!((damages[0].kind, damages[0].node), (Kind::MissingNode, Some(gone.into())));
    let broken_from = damages[0].version.unwrap().0;
    assert!((1..3).contains(&broken_from));
    assert_eq!(migratable(&report), [(broken_from + 1, 3, false)]);
    // Seen from the newest version alone there is nothing wrong.
    let mut engine = chain.engine.clone();
    engine.pairs.remove(&place(gone));
    assert!(self::report(&engine, Scope { at: None, latest_only: true }).sound);
    assert!(!self::report(&engine, Scope { at: Some(Version(1)), latest_only: false }).sound);
}

#[test]
fn commit_infos_that_lie_or_are_gone_are_told() {
    let chain = chain();
    let info = commit_info::decode(&chain.engine.pairs[b"s/3".as_slice()]).unwrap();
    let kinds = |report: &Report| damages(report).iter().map(|finding| finding.kind).collect::<Vec<_>>();
    let mut other = info.clone();
    other.stores[1].root.as_mut().unwrap().0[0] ^= 1;
    let report = after(&chain, |engine| drop(engine.pairs.insert(b"s/3".to_vec(), encode_commit_info(&other))));
    assert_eq!(kinds(&report), [Kind::RootDiffers]);
    let mut twice = info.clone();
    twice.stores.push(info.stores[1].clone());
    let report = after(&chain, |engine| drop(engine.pairs.insert(b"s/3".to_vec(), encode_commit_info(&twice))));
    assert!(kinds(&report).contains(&Kind::BadCommitInfo), "{:?}", report.findings);
    for (gone, kind) in
        [("s/3", Kind::MissingCommitInfo), ("s/2", Kind::MissingCommitInfo), ("s/latest", Kind::BadLatest)]
    {
        let report = after(&chain, |engine| drop(engine.pairs.remove(gone.as_bytes())));
        assert_eq!(kinds(&report), [kind], "{gone}");
        let left: &[_] = if gone == "s/2" { &[(3, 3, false)] } else { &[] };
        assert_eq!(migratable(&report), left, "{gone}");
    }
    let report = after(&chain, |engine| drop(engine.pairs.insert(b"s/latest".to_vec(), vec![8, 9])));
    assert_eq!(kinds(&report), [Kind::LatestAhead]);
}

#[test]
fn what_a_crash_or_an_upgrade_leaves_is_a_notice_and_no_damage() {
    let chain = chain();
    let notices = |change: &dyn Fn(&mut MemoryEngine)| {
        let report = after(&chain, change);
        assert!(report.sound, "{:?}", report.findings);
        assert_eq!(migratable(&report), [(1, 3, false)]);
        report.findings.into_iter().map(|finding| (finding.kind, finding.count)).collect::<Vec<_>>()
    };
    let leaf = record(&chain.engine, nodes(&chain.engine).iter().find(|node| node.1 == 0).unwrap().0);
    let torn = |engine: &mut MemoryEngine| {
        for nonce in 2..5 {
            engine.pairs.insert(place(NodeKey::new(Version(4), nonce)), leaf.clone());
        }
    };
    assert_eq!(notices(&torn), [(Kind::TornVersion, Some(3))]);
    let ahead = |engine: &mut MemoryEngine| {
        torn(engine);
        engine.pairs.insert(place(NodeKey::root_of(Version(4))), leaf.clone());
    };
    assert_eq!(notices(&ahead), [(Kind::StoreAhead, Some(4))]);
    let unreferenced = |engine: &mut MemoryEngine| {
        engine.pairs.insert(place(NodeKey::new(Version(2), 1_000_000)), leaf.clone());
    };
    assert_eq!(notices(&unreferenced), [(Kind::UnreferencedNodes, Some(1))]);
    let deleted = |engine: &mut MemoryEngine| {
        engine.pairs.insert(b"s/k:gone/s\0\0\0\0\0\0\0\x01\0\0\0\x01".to_vec(), leaf.clone());
    };
    assert_eq!(notices(&deleted), [(Kind::DeletedStore, Some(1))]);
    let stale = |engine: &mut MemoryEngine| {
        engine.pairs.insert(b"s/k:acc/mstorage_version".to_vec(), b"1.1.0-2".to_vec());
        engine.pairs.insert(b"s/k:acc/fa".to_vec(), vec![2, 1, b'9']);
        engine.pairs.insert(b"s/k:acc/fb".to_vec(), vec![2, 1, b'9']);
    };
    assert_eq!(notices(&stale), [(Kind::StaleFastIndex, Some(2))]);
    let odd = |engine: &mut MemoryEngine| {
        let mut long = leaf.clone();
        long[1] |= 0x80;
        long.insert(2, 0);
        let at = nodes(engine).iter().find(|node| node.1 == 0).unwrap().0;
        engine.pairs.insert(place(at), long);
    };
    assert_eq!(notices(&odd), [(Kind::OddRecord, Some(1))]);
}
