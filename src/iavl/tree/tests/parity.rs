//! The same operations give the same hashes and the same bytes as in Go.

use super::histories::{History, digest_of_records, histories, put, root_of};
use crate::{
    iavl::{
        NodeKey, NodeMap, RootRecord,
        numbering::encode_record,
        prove,
        tree::{Committed, Tree},
    },
    model::Version,
};

/// Runs a history; `between` is called after every version with the tree and what it wrote.
fn run(history: &History, reader: &mut NodeMap, mut between: impl FnMut(&mut Tree, &mut NodeMap, &Committed)) {
    let (version, map) = &history.base;
    let mut tree = Tree::load(root_of(map, *version), *version);
    for step in &history.steps {
        let at = format!("{}, version {}", history.name, step.version);
        tree.apply(reader, &step.changes).unwrap();
        let committed = tree.commit(reader, step.version).unwrap();
        if let Some(records) = &step.records {
            assert_eq!(&committed.records, records, "{at}");
        }
        assert_eq!(committed.hash, step.root, "{at}");
        assert_eq!(digest_of_records(&committed.records), step.digest, "{at}");
        assert_eq!(tree.version(), step.version);
        between(&mut tree, reader, &committed);
    }
}

#[test]
fn every_version_has_the_root_and_the_records_of_go_out_of_memory_alone() {
    let histories = histories();
    assert!(histories.len() > 20);
    for history in &histories {
        // The reader never gets the new records.
        run(history, &mut history.base.1.clone(), |_, _, _| {});
    }
}

#[test]
fn a_tree_that_forgets_all_it_can_goes_on_the_same() {
    for history in histories() {
        run(&history, &mut history.base.1.clone(), |tree, map, committed| {
            put(map, committed);
            tree.forget(0);
            assert!(tree.resident() <= 1);
        });
    }
}

#[test]
fn a_tree_that_forgets_some_goes_on_the_same_and_keeps_to_its_bound() {
    for keep in [1, 2, 5, 17, 60] {
        for history in histories() {
            run(&history, &mut history.base.1.clone(), |tree, map, committed| {
                put(map, committed);
                tree.forget(keep);
                assert!(tree.resident() <= keep);
            });
        }
    }
}

#[test]
fn a_tree_loaded_anew_for_every_version_goes_on_the_same() {
    for history in histories() {
        run(&history, &mut history.base.1.clone(), |tree, map, committed| {
            put(map, committed);
            assert_eq!(committed.root, root_of(map, tree.version()));
            *tree = Tree::load(committed.root, tree.version());
        });
    }
}

#[test]
fn references_name_the_root_node_itself_also_where_pruning_renamed_it() {
    let mut seen = [0, 0, 0];
    for history in histories() {
        run(&history, &mut history.base.1.clone(), |_, _, committed| {
            let (key, value) = &committed.records[0];
            assert_eq!(key.nonce, 1);
            if let Some(RootRecord::Reference(root)) = RootRecord::decode(value) {
                assert!(root.version < key.version);
                seen[root.nonce.min(2) as usize] += 1;
            }
        });
    }
    assert!(seen.iter().all(|count| *count > 0), "references to nonces 0, 1 and higher: {seen:?}");
}

/// The tree of a version as storeshift would have migrated it, numbered by post-order ordinals.
fn migrated(map: &mut NodeMap, version: Version) -> (NodeMap, Option<NodeKey>) {
    let mut target = NodeMap::default();
    let mut root = None;
    if let Some(claim) = super::histories::claim(map, version) {
        let mut ordinal = 0;
        let proof = prove(map, claim, usize::MAX, &mut |node| {
            let mut record = Vec::new();
            root = encode_record(node, ordinal, &mut record);
            target.records.insert(root.unwrap(), record);
            ordinal += 1;
            true
        });
        proof.unwrap();
    }
    target.records.insert(NodeKey::root_of(version), root.map_or(Vec::new(), |root| root.to_bytes().to_vec()));
    (target, root)
}

#[test]
fn a_tree_numbered_by_ordinals_goes_on_with_the_hashes_of_go() {
    for history in histories() {
        let mut source = history.base.1.clone();
        let mut at = Vec::new();
        run(&history, &mut history.base.1.clone(), |_, _, committed| at.push(committed.clone()));
        for from in [0, history.steps.len() / 3, history.steps.len() / 2] {
            source.records.clone_from(&history.base.1.records);
            at[..=from].iter().for_each(|committed| put(&mut source, committed));
            let version = history.steps[from].version;
            let (mut target, root) = migrated(&mut source, version);
            let mut tree = Tree::load(root, version);
            for step in &history.steps[from + 1..] {
                tree.apply(&mut target, &step.changes).unwrap();
                let committed = tree.commit(&mut target, step.version).unwrap();
                assert_eq!(committed.hash, step.root, "{}, version {}", history.name, step.version);
                put(&mut target, &committed);
                tree.forget(3);
            }
        }
    }
}
