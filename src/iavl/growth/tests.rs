//! Tests of the growth: against what Go wrote, against replaying, in pieces, under damage.

use super::{Growth, Readers, Trunk};
use crate::{
    iavl::{
        NodeKey, NodeMap, NodeReader, ProveError, ReadError, RecordStream,
        diff::OldTree,
        diff::diff,
        numbering, prove,
        tree::{
            Tree,
            tests::{
                histories::{History, claim, histories, put, root_of},
                model::changes as random_changes,
            },
        },
    },
    model::{Change, ChangeRef, Hash, Version},
};
use proptest::prelude::*;

type Records = Vec<(NodeKey, Vec<u8>)>;

/// What a stretch gave.
#[derive(Debug, PartialEq)]
struct Given {
    records: Records,
    changes: Vec<Vec<Change>>,
}

/// A history in store/v1: all its records, and its versions.
struct Past {
    map: NodeMap,
    versions: Vec<Version>,
}

fn past(history: &History) -> Past {
    let (version, mut map) = (history.base.0, history.base.1.clone());
    let mut tree = Tree::load(root_of(&map, version), version);
    map.records.entry(NodeKey::root_of(version)).or_default();
    for step in &history.steps {
        tree.apply(&mut map, &step.changes).unwrap();
        let committed = tree.commit(&mut map, step.version).unwrap();
        assert_eq!(committed.hash, step.root, "{}", history.name);
        put(&mut map, &committed);
    }
    Past { map, versions: std::iter::once(version).chain(history.steps.iter().map(|step| step.version)).collect() }
}

fn hash(map: &NodeMap, version: Version) -> Hash {
    claim(map, version).map_or(Hash::EMPTY, |claim| claim.hash)
}

/// The tree of a version as SC has it after a migration at that version: numbered anew.
fn migrated(map: &NodeMap, version: Version) -> NodeMap {
    let mut target = NodeMap::default();
    let mut root = Vec::new();
    if let Some(claim) = claim(map, version) {
        let mut ordinal = 0;
        prove(&mut map.clone(), claim, usize::MAX, &mut |node| {
            let mut record = Vec::new();
            let key = numbering::encode_record(node, ordinal, &mut record).unwrap();
            ordinal += 1;
            root = key.to_bytes().to_vec();
            assert_eq!(target.records.insert(key, record), None);
            true
        })
        .unwrap();
    }
    target.records.insert(NodeKey::root_of(version), root);
    target
}

fn trunk(source: &NodeMap, target: &NodeMap, version: Version) -> Trunk {
    let root = root_of(source, version).zip(root_of(target, version));
    Trunk { version, hash: hash(source, version), root: root.map(|(source, target)| (source.into(), target.into())) }
}

fn given(growth: &Growth, versions: usize) -> Given {
    let mut records = Vec::new();
    let mut stream = growth.records();
    while let Some((key, record)) = stream.next() {
        records.push((key, record.to_vec()));
    }
    let changes = (0..versions).map(|number| {
        let change =
            |change: ChangeRef<'_>| Change { key: change.key.to_vec(), value: change.value.map(<[u8]>::to_vec) };
        growth.changes(number).map(change).collect()
    });
    Given { records, changes: changes.collect() }
}

fn grow(
    source: &mut dyn NodeReader,
    target: &mut dyn NodeReader,
    trunk: Trunk,
    roots: &[Hash],
    room: usize,
) -> Result<(Growth, usize), ProveError> {
    grow_after(Version(u64::MAX), source, target, trunk, roots, room)
}

fn grow_after(
    same_after: Version,
    source: &mut dyn NodeReader,
    target: &mut dyn NodeReader,
    trunk: Trunk,
    roots: &[Hash],
    room: usize,
) -> Result<(Growth, usize), ProveError> {
    // A map is read through one reader; a database has one for each way it is read.
    struct Shared<'a>(std::rc::Rc<std::cell::RefCell<&'a mut dyn NodeReader>>);
    impl NodeReader for Shared<'_> {
        fn read(&mut self, key: NodeKey, out: &mut Vec<u8>) -> Result<bool, ReadError> {
            self.0.borrow_mut().read(key, out)
        }
    }
    let source = std::rc::Rc::new(std::cell::RefCell::new(source));
    let mut growth = Growth::default();
    let (mut grown, mut old) = (Shared(source.clone()), Shared(source));
    let mut readers = Readers { grown: &mut grown, source: &mut old, target, same_after };
    let versions = growth.read(&mut readers, trunk, roots, room)?;
    Ok((growth, versions))
}

/// What replaying the proven differences over the target gives.
fn replayed(source: &NodeMap, target: &NodeMap, versions: &[Version]) -> Given {
    let (mut target, mut source) = (target.clone(), source.clone());
    let mut tree = Tree::load(root_of(&target, versions[0]), versions[0]);
    let mut given = Given { records: Vec::new(), changes: Vec::new() };
    for pair in versions.windows(2) {
        let old = root_of(&source, pair[0]).map(|root| OldTree { root: root.into(), version: pair[0] });
        let new = claim(&source, pair[1]);
        let mut changes = Vec::new();
        diff(&mut source, old, new, &mut |key, value| {
            changes.push(Change { key: key.to_vec(), value: value.map(<[u8]>::to_vec) });
            true
        })
        .unwrap();
        tree.apply(&mut target, &changes).unwrap();
        let committed = tree.commit(&mut target, pair[1]).unwrap();
        assert_eq!(committed.hash, hash(&source, pair[1]));
        put(&mut target, &committed);
        given.records.extend(committed.records);
        given.changes.push(changes);
    }
    given
}

fn check(past: &Past, name: &str) {
    let roots: Vec<Hash> = past.versions.iter().map(|version| hash(&past.map, *version)).collect();
    for from in 0..past.versions.len() {
        let versions = &past.versions[from..];
        let target = migrated(&past.map, versions[0]);
        let expected = replayed(&past.map, &target, versions);
        let trunk = trunk(&past.map, &target, versions[0]);
        let (mut source, mut target) = (past.map.clone(), target);
        let (growth, count) = grow(&mut source, &mut target, trunk, &roots[from + 1..], usize::MAX).unwrap();
        assert_eq!(count, versions.len() - 1, "{name} from {}", versions[0]);
        assert_eq!(given(&growth, count), expected, "{name} from {}", versions[0]);
        assert_eq!(growth.trunk().map_or(trunk.hash, |trunk| trunk.hash), *roots.last().unwrap());
    }
}

/// Histories that a chain would write: one pass over the keys in every version.
fn one_pass() -> Vec<History> {
    let mut all = histories();
    all.retain(|history| history.steps.iter().all(super::super::tree::tests::histories::Step::is_one_pass));
    assert!(all.len() > 10, "{}", all.len());
    all
}

#[test]
fn over_the_same_numbers_a_stretch_is_byte_for_byte_what_go_wrote() {
    let mut compared = 0;
    for history in histories() {
        let past = past(&history);
        let roots: Vec<Hash> = past.versions.iter().map(|version| hash(&past.map, *version)).collect();
        for (from, version) in past.versions.iter().enumerate() {
            let trunk = trunk(&past.map, &past.map, *version);
            let (mut source, mut target) = (past.map.clone(), past.map.clone());
            let (growth, count) = grow(&mut source, &mut target, trunk, &roots[from + 1..], usize::MAX).unwrap();
            let wanted: Records = past
                .map
                .records
                .iter()
                .filter(|(key, _)| key.version > *version)
                .map(|(k, r)| (*k, r.clone()))
                .collect();
            assert_eq!(given(&growth, count).records, wanted, "{} from {version}", history.name);
            compared += wanted.len();
        }
    }
    assert!(compared > 10_000, "{compared}");
}

#[test]
fn over_a_migrated_base_a_stretch_is_what_replaying_its_changes_gives() {
    one_pass().iter().for_each(|history| check(&past(history), &history.name));
}

#[test]
fn a_stretch_read_in_pieces_is_the_same_and_one_without_room_gives_nothing() {
    for (history, same) in one_pass().iter().flat_map(|history| [(history, false), (history, true)]) {
        let past = past(history);
        let same_after = if same { past.versions[0] } else { Version(u64::MAX) };
        let roots: Vec<Hash> = past.versions.iter().map(|version| hash(&past.map, *version)).collect();
        let mut target = migrated(&past.map, past.versions[0]);
        let expected = replayed(&past.map, &target, &past.versions);
        let mut trunk = trunk(&past.map, &target, past.versions[0]);
        let (mut done, mut pieces) = (0, 0);
        let mut all = Given { records: Vec::new(), changes: Vec::new() };
        let mut room = 1;
        while done + 1 < past.versions.len() {
            let (mut source, mut grown_on) = (past.map.clone(), target.clone());
            let (growth, count) =
                grow_after(same_after, &mut source, &mut grown_on, trunk, &roots[done + 1..], room).unwrap();
            if count == 0 {
                room += room / 8 + 1;
                continue;
            }
            let piece = given(&growth, count);
            assert_eq!(piece.changes.len(), count);
            target.records.extend(piece.records.iter().cloned());
            all.records.extend(piece.records);
            all.changes.extend(piece.changes);
            trunk = growth.trunk().unwrap();
            assert_eq!(trunk.hash, roots[done + count]);
            (done, pieces) = (done + count, pieces + 1);
        }
        assert_eq!(all, expected, "{} in {pieces} pieces", history.name);
        assert!(pieces > 1, "{}: the room was never too small", history.name);
    }
}

#[test]
fn where_sc_has_the_keys_of_store_v1_the_tree_before_is_read_in_sc_alone() {
    for history in one_pass() {
        let past = past(&history);
        let roots: Vec<Hash> = past.versions.iter().map(|version| hash(&past.map, *version)).collect();
        for (from, version) in past.versions.iter().enumerate() {
            let trunk = trunk(&past.map, &past.map, *version);
            let mut target = past.map.clone();
            // Of store/v1 only what is newer than the tree before.
            let mut source = past.map.clone();
            source.records.retain(|key, _| key.version > *version);
            let (growth, count) =
                grow_after(Version(0), &mut source, &mut target, trunk, &roots[from + 1..], usize::MAX).unwrap();
            let wanted: Records = source.records.iter().map(|(key, record)| (*key, record.clone())).collect();
            assert_eq!(given(&growth, count).records, wanted, "{} from {version}", history.name);
        }
    }
}

#[test]
fn keys_taken_to_be_the_same_that_are_not_are_refused_or_change_nothing() {
    let mut refused = 0;
    for history in one_pass() {
        let past = past(&history);
        let roots: Vec<Hash> = past.versions.iter().map(|version| hash(&past.map, *version)).collect();
        let (mut source, mut target) = (past.map.clone(), migrated(&past.map, past.versions[0]));
        let expected = replayed(&past.map, &target, &past.versions);
        let trunk = trunk(&past.map, &target, past.versions[0]);
        match grow_after(Version(0), &mut source, &mut target, trunk, &roots[1..], usize::MAX) {
            Ok((growth, count)) => assert_eq!(given(&growth, count), expected, "{}", history.name),
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 0);
}

#[test]
fn another_root_than_the_chains_is_refused_at_its_version() {
    let past = past(&one_pass()[0]);
    let mut roots: Vec<Hash> = past.versions.iter().map(|version| hash(&past.map, *version)).collect();
    roots[2] = Hash::of(&[b"another"]);
    let trunk = trunk(&past.map, &past.map, past.versions[0]);
    match grow(&mut past.map.clone(), &mut past.map.clone(), trunk, &roots[1..], usize::MAX) {
        Err(ProveError::HashMismatch { at, expected, .. }) => {
            assert_eq!((at, expected), (NodeKey::root_of(past.versions[2]).into(), roots[2]));
        }
        other => panic!("{:?}", other.map(|(_, count)| count)),
    }
    let elsewhere = Trunk { hash: Hash::of(&[b"another"]), ..trunk };
    roots[2] = hash(&past.map, past.versions[2]);
    let grow = |trunk| grow(&mut past.map.clone(), &mut past.map.clone(), trunk, &roots[1..], usize::MAX).map(|_| ());
    assert!(grow(trunk).is_ok());
    if trunk.root.is_some() {
        assert!(matches!(grow(elsewhere), Err(ProveError::HashMismatch { .. })));
    }
}

/// One bit of one record.
fn flip(map: &mut NodeMap, key: NodeKey, bit: usize) {
    map.records.get_mut(&key).unwrap()[bit / 8] ^= 1 << (bit % 8);
}

#[test]
fn no_bit_of_either_side_can_be_wrong_and_change_what_is_given() {
    let change = |n: u32, value: Option<u8>| Change { key: n.to_be_bytes().to_vec(), value: value.map(|v| vec![v]) };
    let mut map = NodeMap::default();
    let mut tree = Tree::load(None, Version(0));
    tree.apply(&mut map, &(0..40).map(|n| change(2 * n, Some(1))).collect::<Vec<_>>()).unwrap();
    put(&mut map, &tree.commit(&mut NodeMap::default(), Version(1)).unwrap());
    for (version, changes) in [
        (2, vec![change(6, Some(2)), change(7, Some(2)), change(50, None)]),
        (3, vec![]),
        (4, vec![change(0, None), change(2, None), change(7, Some(3)), change(79, Some(3))]),
    ] {
        tree.apply(&mut map, &changes).unwrap();
        put(&mut map, &tree.commit(&mut NodeMap::default(), Version(version)).unwrap());
    }
    let past = Past { map, versions: (1..=4).map(Version).collect() };
    check(&past, "by hand");
    let target = migrated(&past.map, Version(1));
    let roots: Vec<Hash> = (2..=4).map(|version| hash(&past.map, Version(version))).collect();
    let expected = replayed(&past.map, &target, &past.versions);
    let trunk = trunk(&past.map, &target, Version(1));
    let (mut refused, mut harmless) = (0, 0);
    for side in [&past.map, &target] {
        for (key, record) in &side.records {
            for bit in 0..record.len() * 8 {
                let (mut source, mut target) = (past.map.clone(), target.clone());
                flip(if std::ptr::eq(side, &past.map) { &mut source } else { &mut target }, *key, bit);
                match grow(&mut source, &mut target, trunk, &roots, usize::MAX) {
                    Err(_) => refused += 1,
                    Ok((growth, count)) => {
                        assert_eq!(given(&growth, count), expected, "{key}, bit {bit}");
                        harmless += 1;
                    }
                }
            }
        }
    }
    // Most of the base is not read, and of what store/v1 has of it only the names of children count.
    assert!(refused > 10_000 && harmless > 10_000, "{refused} refused, {harmless} harmless");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn any_history_grows_as_it_is_replayed(history in prop::collection::vec(random_changes(40, 30), 1..8)) {
        let mut map = NodeMap::default();
        let mut tree = Tree::load(None, Version(0));
        let mut versions = Vec::new();
        for (changes, version) in history.into_iter().zip(1..) {
            let mut changes = changes;
            changes.sort_by(|a, b| a.key.cmp(&b.key));
            changes.dedup_by(|a, b| a.key == b.key);
            tree.apply(&mut map, &changes).unwrap();
            put(&mut map, &tree.commit(&mut NodeMap::default(), Version(version)).unwrap());
            versions.push(Version(version));
        }
        check(&Past { map, versions }, "random");
    }

    #[test]
    fn whatever_bytes_records_have_nothing_panics_and_nothing_wrong_is_given(
        which in any::<prop::sample::Index>(),
        from in any::<prop::sample::Index>(),
        in_target: bool,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        thread_local!(static PASTS: Vec<Past> = one_pass().iter().take(8).map(past).collect());
        PASTS.with(|all| {
            let past = which.get(all);
            let from = from.index(past.versions.len());
            let versions = &past.versions[from..];
            let target = migrated(&past.map, versions[0]);
            let roots: Vec<Hash> = versions[1..].iter().map(|version| hash(&past.map, *version)).collect();
            let trunk = trunk(&past.map, &target, versions[0]);
            let expected = replayed(&past.map, &target, versions);
            let (mut source, mut target) = (past.map.clone(), target);
            let damaged = if in_target { &mut target } else { &mut source };
            let keys: Vec<NodeKey> = damaged.records.keys().copied().collect();
            for (record, byte, value) in damage {
                let record = damaged.records.get_mut(record.get(&keys)).unwrap();
                if !record.is_empty() {
                    let index = byte.index(record.len());
                    record[index] = value;
                }
            }
            if let Ok((growth, count)) = grow(&mut source, &mut target, trunk, &roots, usize::MAX) {
                assert_eq!(given(&growth, count), expected);
            }
        });
    }
}
