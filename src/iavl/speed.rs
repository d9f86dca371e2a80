//! A measurement of the hot steps of restoring and reading back, without any database:
//! `cargo test --release --no-default-features --lib iavl::speed -- --ignored --nocapture`.

use super::{
    Claim, Fit, Forest, Node, NodeKey, NodeMap, NodeReader, ReadError, RecordStream as _, RecordWalk, Sweep, Swept,
    cut, inner_hash, leaf_hash,
    tree::{Tree, tests::histories::put},
};
use crate::model::{Change, Hash, Version};
use std::{
    hint::black_box,
    time::{Duration, Instant},
};

const KEYS: u64 = 100_000;
const VALUE: usize = 280;

/// A line that the benchmark suite looks for: the time for one of many.
fn measured(name: &str, time: Duration, count: usize) {
    println!("measured\t{name}\t{:.0}\tns", time.as_nanos() as f64 / count.max(1) as f64);
}

/// Records in the order of their keys, read from the place of the last one on.
struct Sorted {
    records: Vec<(NodeKey, Vec<u8>)>,
    at: usize,
}

impl Sorted {
    fn find(&mut self, key: NodeKey) -> bool {
        self.at += 1;
        if self.records.get(self.at).is_none_or(|(next, _)| *next != key) {
            self.at = self.records.partition_point(|(at, _)| *at < key);
        }
        self.records.get(self.at).is_some_and(|(at, _)| *at == key)
    }
}

impl NodeReader for Sorted {
    fn read(&mut self, key: NodeKey, out: &mut Vec<u8>) -> Result<bool, ReadError> {
        let found = self.find(key);
        out.extend_from_slice(if found { &self.records[self.at].1 } else { &[] });
        Ok(found)
    }
}

impl RecordWalk for Sorted {
    fn seek(&mut self, key: NodeKey) {
        self.at = self.records.partition_point(|(at, _)| *at < key);
    }

    fn next(&mut self) -> Result<Option<(NodeKey, &[u8])>, ReadError> {
        self.at += 1;
        Ok(self.records.get(self.at - 1).map(|(at, record)| (*at, record.as_slice())))
    }
}

/// A tree over forty versions, as it lies in store/v1.
fn tree() -> (Sorted, Claim) {
    let key = |n: u64| [b"balances/".as_slice(), &n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()].concat();
    let mut map = NodeMap::default();
    let mut tree = Tree::load(None, Version(0));
    let mut claim = None;
    for version in 1..=40u64 {
        let numbers = (0..KEYS).filter(|n| version == 1 || n % 40 == version);
        let mut changes: Vec<_> =
            numbers.map(|n| Change { key: key(n), value: Some(vec![version as u8; VALUE]) }).collect();
        changes.sort_by(|a, b| a.key.cmp(&b.key));
        tree.apply(&mut map, &changes).unwrap();
        let committed = tree.commit(&mut map, Version(version)).unwrap();
        put(&mut map, &committed);
        claim = committed.root.map(|key| Claim { at: key.into(), hash: committed.hash });
    }
    (Sorted { records: map.records.into_iter().collect(), at: 0 }, claim.unwrap())
}

#[test]
#[ignore = "a measurement"]
fn speed_of_hashing_proving_and_sweeping() {
    let (value, hash) = (vec![7; VALUE], Hash::of(&[b"a"]));
    let start = Instant::now();
    for n in 0..KEYS {
        black_box(leaf_hash(Version(n), &n.to_be_bytes(), black_box(&value)));
    }
    measured("hash of a leaf, 280 B value", start.elapsed(), KEYS as usize);
    let start = Instant::now();
    for n in 0..KEYS {
        black_box(inner_hash(3, n, Version(n), black_box(&hash), &hash));
    }
    measured("hash of an inner node", start.elapsed(), KEYS as usize);

    let (mut source, claim) = tree();
    let start = Instant::now();
    for (_, record) in &source.records {
        let _ = black_box(Node::decode(record));
    }
    measured("node decoded", start.elapsed(), source.records.len());

    let cut = cut(&mut source, claim, 0, u64::MAX).unwrap();
    let mut forest = Forest::default();
    let mut target = Vec::new();
    for _ in 0..3 {
        let start = Instant::now();
        assert_eq!(forest.read(&mut source, &[claim], usize::MAX).unwrap(), Fit::Whole);
        let nodes = 2 * KEYS as usize - 1;
        measured("node read from memory and proven", start.elapsed(), nodes);
        target.clear();
        let start = Instant::now();
        let mut records = forest.records(&[0]).unwrap();
        while let Some((at, record)) = records.next() {
            target.push((at, record.to_vec()));
        }
        measured("node numbered and encoded", start.elapsed(), nodes);
        let mut walk = Sorted { records: std::mem::take(&mut target), at: 0 };
        let start = Instant::now();
        assert_eq!(Sweep::default().prove(&mut walk, &cut.chunks).unwrap(), Swept::Proven);
        measured("node of SC proven by a sweep", start.elapsed(), nodes);
        target = walk.records;
    }
}
