//! ICS-23 proofs, judged by the Cosmos SDK: a query with `prove` is answered with the same bytes.

use super::{
    go,
    set::{self, Set, scratch, text},
};
use std::{
    fs::File,
    path::Path,
    process::{Command, Stdio},
};
use storeshift::{
    iavl::{Access, Claim, ics23::StoreProof, prove},
    model::{CommitInfo, StoreInfo, Version},
    source::{Source, StoreRoot, open},
};

/// What a node answers a query with.
struct Answer {
    value: Option<Vec<u8>>,
    ops: Vec<u8>,
}

/// The answers of Go's rootmulti to queries, each a line of version, store and key.
fn answers(database: &Path, queries: &str, scratch: &Path) -> Vec<Answer> {
    let (asked, answered) = (scratch.join("queries"), scratch.join("answers"));
    std::fs::write(&asked, queries).unwrap();
    let mut program = Command::new(go::programs().unwrap().join("proofs"));
    program.args(["-from", text(database)]).stdin(Stdio::from(File::open(asked).unwrap()));
    assert!(program.stdout(File::create(&answered).unwrap()).status().unwrap().success(), "{database:?}");
    let bytes = std::fs::read(answered).unwrap();
    let mut rest = bytes.as_slice();
    let take = |rest: &mut &[u8], length: usize| {
        let (taken, behind) = rest.split_at(length);
        *rest = behind;
        taken.to_vec()
    };
    let mut answers = Vec::new();
    while !rest.is_empty() {
        let is_there = take(&mut rest, 1) == [1];
        let mut field = || {
            let length = take(&mut rest, 4);
            take(&mut rest, u32::from_le_bytes(length.try_into().unwrap()) as usize)
        };
        let (value, ops) = (field(), field());
        answers.push(Answer { value: is_there.then_some(value), ops });
    }
    answers
}

/// The root of a store, and the keys to ask for: the first and the last, every few between, and absent ones beside all of these.
fn keys(source: &dyn Source, store: &StoreInfo, version: Version, every: usize) -> (StoreRoot, Vec<Vec<u8>>) {
    let root = source.root(&store.name, version).unwrap().unwrap();
    let mut there = Vec::new();
    if let StoreRoot::Node { at, .. } = root {
        let claim = Claim { at, hash: store.root.unwrap() };
        prove(&mut source.nodes(&store.name, Access::Runs), claim, 64 << 20, &mut |node| {
            if node.height == 0 {
                there.push(node.key.to_vec());
            }
            true
        })
        .unwrap();
    }
    let last = there.len().saturating_sub(1);
    let picked = there.into_iter().enumerate().filter(|(at, _)| at % every == 0 || *at == last);
    let beside = picked.flat_map(|(_, key)| [[&*key, &[0]].concat(), key[..key.len() - 1].to_vec(), key]);
    let keys = beside.filter(|key| !key.is_empty()).chain([vec![0], vec![0xff; 3]]);
    (root, keys.collect())
}

/// The versions to ask about: the oldest, the newest, and some between.
fn versions(set: &Set) -> Vec<u64> {
    let (oldest, latest) = (set.oldest(), set.latest());
    let mut versions: Vec<u64> = (0..4).map(|part| oldest + (latest - oldest) * part / 3).collect();
    versions.dedup();
    versions
}

#[test]
fn proofs_are_byte_for_byte_those_a_node_answers_queries_with() {
    if go::programs().is_none() {
        return;
    }
    for set in &set::fixtures() {
        let dir = scratch();
        let database = set.goleveldb(dir.path());
        let source = open(&database, 8 << 20).unwrap();
        let mut queries = String::new();
        let mut ours = Vec::new();
        for version in versions(set).into_iter().map(Version) {
            let info: CommitInfo = source.commit_info(version).unwrap().unwrap();
            for store in info.stores.iter().filter(|store| store.root.is_some()) {
                let (root, keys) = keys(source.as_ref(), store, version, 5);
                let root = match root {
                    StoreRoot::Empty => None,
                    StoreRoot::Node { at, .. } => Some(at),
                };
                let mut nodes = source.nodes(&store.name, Access::Points);
                for key in keys {
                    let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
                    queries.push_str(&format!("{version} {} {hex}\n", store.name));
                    ours.push(StoreProof::prove(&mut nodes, root, &info, &store.name, &key).unwrap());
                }
            }
        }
        let theirs = answers(&database, &queries, dir.path());
        assert_eq!(theirs.len(), ours.len(), "{}", set.name);
        for ((theirs, ours), query) in theirs.iter().zip(&ours).zip(queries.lines()) {
            assert_eq!(theirs.value.as_deref(), ours.value(), "{}: {query}", set.name);
            assert!(theirs.ops == ours.encode_ops(), "{}: {query}", set.name);
        }
        let there = ours.iter().filter(|proof| proof.value().is_some()).count();
        println!("{}: {there} keys there, {} absent", set.name, ours.len() - there);
        assert!(there > 50 && ours.len() - there > 50, "{}", set.name);
    }
}
