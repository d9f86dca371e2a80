//! Tests of the difference: parity with Go, replay, versions far apart, damage, cost.

use super::{OldTree, diff, diff_to_replay};
use crate::{
    iavl::{
        Claim, NodeKey, NodeMap, NodeReader, ProveError, ReadError,
        tree::{
            Tree,
            tests::histories::{Contents, History, apply_to_model, claim, digest, histories, put, root_of},
        },
    },
    model::{Change, Version},
};
use proptest::prelude::*;

fn changes<R: NodeReader>(reader: &mut R, old: Option<OldTree>, new: Option<Claim>) -> Result<Vec<Change>, ProveError> {
    let mut found = Vec::new();
    diff(reader, old, new, &mut |key, value| {
        found.push(Change { key: key.to_vec(), value: value.map(<[u8]>::to_vec) });
        true
    })?;
    Ok(found)
}

/// The same unproven.
fn unproven<R: NodeReader>(
    reader: &mut R,
    old: Option<OldTree>,
    new: Option<Claim>,
) -> Result<Vec<Change>, ProveError> {
    let mut found = Vec::new();
    diff_to_replay(reader, old, new.map(|new| new.at), &mut |key, value| {
        found.push(Change { key: key.to_vec(), value: value.map(<[u8]>::to_vec) });
        true
    })?;
    Ok(found)
}

fn old(map: &NodeMap, version: Version) -> Option<OldTree> {
    root_of(map, version).map(|root| OldTree { root: root.into(), version })
}

/// All records of a history, with the version and contents of every version from the base on, where known.
fn grown(history: &History) -> (NodeMap, Vec<(Version, Contents)>) {
    let (version, mut map) = (history.base.0, history.base.1.clone());
    let mut contents = Contents::new();
    let base = claim(&map, version);
    apply_to_model(&mut contents, &changes(&mut map, None, base).unwrap());
    let mut all = vec![(version, contents.clone())];
    let mut tree = Tree::load(root_of(&map, version), version);
    for step in &history.steps {
        tree.apply(&mut map, &step.changes).unwrap();
        let committed = tree.commit(&mut map, step.version).unwrap();
        put(&mut map, &committed);
        apply_to_model(&mut contents, &step.changes);
        all.push((step.version, contents.clone()));
    }
    // The version before the first has no root record; it is the empty tree.
    map.records.entry(NodeKey::root_of(version)).or_default();
    (map, all)
}

#[test]
fn neighbouring_versions_differ_by_what_go_extracts() {
    for history in histories() {
        let (mut map, all) = grown(&history);
        for (step, (before, _)) in history.steps.iter().zip(&all) {
            let (old, new) = (old(&map, *before), claim(&map, step.version));
            let found = changes(&mut map, old, new).unwrap();
            let digest = digest(found.iter().flat_map(|change| match &change.value {
                Some(value) => vec![&[1u8][..], &change.key, value],
                None => vec![&[0u8][..], &change.key],
            }));
            assert_eq!(digest, step.extracted, "{}, version {}: {found:?}", history.name, step.version);
        }
    }
}

#[test]
fn the_difference_replayed_gives_the_roots_and_records_of_go() {
    let mut replayed = 0;
    for history in histories() {
        let (mut map, all) = grown(&history);
        for (step, (before, _)) in history.steps.iter().zip(&all).filter(|(step, _)| step.is_one_pass()) {
            let (old, new) = (old(&map, *before), claim(&map, step.version));
            let found = changes(&mut map, old, new).unwrap();
            let mut tree = Tree::load(old.and_then(|old| old.root.key()), *before);
            tree.apply(&mut map, &found).unwrap();
            let committed = tree.commit(&mut map, step.version).unwrap();
            assert_eq!(committed.hash, step.root, "{}, version {}", history.name, step.version);
            for (key, record) in &committed.records {
                assert_eq!(map.records.get(key), Some(record), "{}, version {}", history.name, step.version);
            }
            replayed += 1;
        }
    }
    assert!(replayed > 100, "{replayed}");
}

#[test]
fn versions_any_distance_apart_differ_by_their_contents() {
    for history in histories() {
        let (mut map, all) = grown(&history);
        for (from, (before, old_contents)) in all.iter().enumerate() {
            for (after, new_contents) in &all[from..] {
                let (old, new) = (old(&map, *before), claim(&map, *after));
                let found = changes(&mut map, old, new).unwrap();
                assert!(found.is_sorted_by(|a, b| a.key < b.key));
                assert_eq!(unproven(&mut map, old, new).unwrap(), found, "{}: {before} to {after}", history.name);
                let mut contents = old_contents.clone();
                apply_to_model(&mut contents, &found);
                assert_eq!(&contents, new_contents, "{}: {before} to {after}", history.name);
                let removed = found.iter().filter(|change| change.value.is_none());
                assert!(removed.clone().all(|change| old_contents.contains_key(&change.key)));
            }
        }
    }
}

/// A map that counts its reads.
struct Counting<'a>(&'a mut NodeMap, usize);

impl NodeReader for Counting<'_> {
    fn read(&mut self, key: NodeKey, out: &mut Vec<u8>) -> Result<bool, ReadError> {
        self.1 += 1;
        self.0.read(key, out)
    }
}

fn set(n: u32) -> Change {
    Change { key: n.to_be_bytes().to_vec(), value: Some(vec![3]) }
}

/// A tree of even numbers below 8192 at version 1, and what `more` makes of it at version 2.
fn two_versions(more: &[Change]) -> NodeMap {
    let mut map = NodeMap::default();
    let mut tree = Tree::load(None, Version(0));
    tree.apply(&mut map, &(0..4096).map(|n| set(2 * n)).collect::<Vec<_>>()).unwrap();
    put(&mut map, &tree.commit(&mut NodeMap::default(), Version(1)).unwrap());
    tree.apply(&mut map, more).unwrap();
    put(&mut map, &tree.commit(&mut NodeMap::default(), Version(2)).unwrap());
    map
}

#[test]
fn only_what_differs_is_read() {
    let remove = |n: u32| Change { key: n.to_be_bytes().to_vec(), value: None };
    let cases: [(&[Change], usize); 6] = [
        (&[], 1),
        (&[set(5000)], 3 * 13 + 1),
        (&[set(5001)], 3 * 14 + 13),
        (&[set(0)], 4 * 13 + 1),
        (&[remove(8190)], 3 * 13 + 2),
        (&[set(0), remove(4000), set(8191)], 3 * 3 * 14 + 14),
    ];
    for (more, most) in cases {
        let mut map = two_versions(more);
        let (old, new) = (old(&map, Version(1)), claim(&map, Version(2)));
        let mut reader = Counting(&mut map, 0);
        assert_eq!(changes(&mut reader, old, new).unwrap(), more);
        assert!(reader.1 <= most, "{} reads for {more:?}, {most} at most", reader.1);
        let mut reader = Counting(&mut map, 0);
        assert_eq!(unproven(&mut reader, old, new).unwrap(), more);
        assert!(reader.1 <= most * 3 / 4 + 1, "{} reads for {more:?} unproven", reader.1);
    }
}

#[test]
fn a_renamed_root_is_recognized_as_the_same_node() {
    // Version 1's root becomes a child at version 3, and pruning had renamed it.
    let mut map = NodeMap::default();
    let mut tree = Tree::load(None, Version(0));
    tree.apply(&mut map, &[set(1)]).unwrap();
    put(&mut map, &tree.commit(&mut NodeMap::default(), Version(1)).unwrap());
    put(&mut map, &tree.commit(&mut NodeMap::default(), Version(2)).unwrap());
    tree.apply(&mut map, &[set(2)]).unwrap();
    put(&mut map, &tree.commit(&mut NodeMap::default(), Version(3)).unwrap());
    let record = map.records.remove(&NodeKey::root_of(Version(1))).unwrap();
    map.records.insert(NodeKey::new(Version(1), 0), record);
    let (old, new) = (old(&map, Version(2)), claim(&map, Version(3)));
    assert_eq!(old.unwrap().root, NodeKey::new(Version(1), 0));
    assert_eq!(changes(&mut map, old, new).unwrap(), [set(2)]);
}

#[test]
fn what_does_not_prove_or_belong_is_refused() {
    let more = [set(7), set(4001)];
    let map = two_versions(&more);
    let (old, new) = (old(&map, Version(1)), claim(&map, Version(2)).unwrap());
    // Another hash than the chain's.
    let wrong = Claim { hash: crate::model::Hash::EMPTY, ..new };
    assert!(matches!(changes(&mut map.clone(), old, Some(wrong)), Err(ProveError::HashMismatch { .. })));
    // An old tree that is not the one the new tree grew from.
    let leaf = Some(OldTree { root: NodeKey::new(Version(1), 40).into(), version: Version(1) });
    assert!(matches!(changes(&mut map.clone(), leaf, Some(new)), Err(ProveError::Shape { .. })));
    let newer = Some(OldTree { root: new.at, version: Version(1) });
    assert!(matches!(changes(&mut map.clone(), newer, Some(new)), Err(ProveError::Shape { .. })));
    // A sink that stops.
    assert!(matches!(diff(&mut map.clone(), old, Some(new), &mut |_, _| false), Err(ProveError::Sink)));
    // Any bit of any new record.
    let keys: Vec<NodeKey> = map.records.keys().copied().filter(|key| key.version == Version(2)).collect();
    let expected = changes(&mut map.clone(), old, Some(new)).unwrap();
    assert_eq!(expected, more);
    for key in keys {
        for bit in 0..map.records[&key].len() * 8 {
            let mut record = map.records[&key].clone();
            record[bit / 8] ^= 1 << (bit % 8);
            let mut reader = Overlay { map: &map, key, record: &record };
            // Inner keys of the new tree are in no hash, and of no use here.
            if let Ok(found) = changes(&mut reader, old, Some(new)) {
                assert_eq!(found, more, "{key}, bit {bit}");
            }
        }
    }
}

/// A map with one record replaced.
struct Overlay<'a> {
    map: &'a NodeMap,
    key: NodeKey,
    record: &'a [u8],
}

impl NodeReader for Overlay<'_> {
    fn read(&mut self, key: NodeKey, out: &mut Vec<u8>) -> Result<bool, ReadError> {
        let record = if key == self.key { Some(self.record) } else { self.map.records.get(&key).map(Vec::as_slice) };
        record.into_iter().for_each(|record| out.extend_from_slice(record));
        Ok(record.is_some())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn whatever_bytes_records_have_nothing_panics(
        which in any::<prop::sample::Index>(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        thread_local!(static GROWN: Vec<(NodeMap, Vec<(Version, Contents)>)> =
            histories().iter().take(8).map(grown).collect());
        GROWN.with(|all| {
            let (map, versions) = which.get(all);
            let mut damaged = map.clone();
            let keys: Vec<NodeKey> = map.records.keys().copied().collect();
            for (record, byte, value) in damage {
                let record = damaged.records.get_mut(record.get(&keys)).unwrap();
                if !record.is_empty() {
                    let index = byte.index(record.len());
                    record[index] = value;
                }
            }
            for pair in versions.windows(2) {
                let (old, new) = (old(map, pair[0].0), claim(map, pair[1].0));
                let expected = changes(&mut map.clone(), old, new).unwrap();
                // Sets are proven; removals are not. A difference that passes has all the true sets.
                if let Ok(found) = changes(&mut damaged, old, new) {
                    let sets = |changes: Vec<Change>| changes.into_iter().filter(|c| c.value.is_some()).collect::<Vec<_>>();
                    assert_eq!(sets(found), sets(expected));
                }
            }
        });
    }
}
