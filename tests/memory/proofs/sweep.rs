//! Proving SC in one forward walk: it accepts what was restored, and nothing that differs from it in any way, including
//! what a proof from the root down does not look at.

use super::tree::{Made, grow};
use crate::support::random::{Random, seed};
use std::collections::BTreeMap;
use storeshift::{
    iavl::{
        Claim, Forest, Node, NodeId, NodeKey, NodeMap, ProveError, ReadError, RecordStream as _, RecordWalk, Sweep,
        Swept, cut,
    },
    model::{Chunk, Version},
};

type Records = BTreeMap<NodeKey, Vec<u8>>;

/// A walk over records in a map, which counts how often it is made to seek.
struct Walk<'a> {
    records: &'a Records,
    from: Option<NodeKey>,
    seeks: u64,
}

impl RecordWalk for Walk<'_> {
    fn seek(&mut self, key: NodeKey) {
        self.seeks += 1;
        self.from = Some(key);
    }

    fn next(&mut self) -> Result<Option<(NodeKey, &[u8])>, ReadError> {
        let found = self.from.and_then(|from| self.records.range(from..).next());
        self.from = found.map(|(at, _)| {
            NodeKey::new(Version(at.version.0 + u64::from(at.nonce == u32::MAX)), at.nonce.wrapping_add(1))
        });
        Ok(found.map(|(at, record)| (*at, record.as_slice())))
    }
}

fn sweep(records: &Records, chunks: &[Chunk]) -> Result<Swept, ProveError> {
    Sweep::default().prove(&mut Walk { records, from: None, seeks: 0 }, chunks)
}

/// Chunks of a tree and all its records in SC.
fn restored(random: &mut Random, chunk_leaves: u64) -> (Vec<Chunk>, Records) {
    let (mut nodes, claim) = grow(random, 7, 40, 90);
    restore(&mut nodes, claim.unwrap(), chunk_leaves)
}

/// Restores as the restore phase does: all chunks in memory together.
fn restore(nodes: &mut NodeMap, claim: Claim, chunk_leaves: u64) -> (Vec<Chunk>, Records) {
    let cut = cut(nodes, claim, 0, chunk_leaves).unwrap();
    let claim = |chunk: &Chunk| Claim::of(chunk);
    let claims: Vec<Claim> = cut.chunks.iter().map(claim).collect();
    let ordinals: Vec<u64> = cut.chunks.iter().map(|chunk| chunk.first_ordinal).collect();
    let mut forest = Forest::default();
    forest.read(nodes, &claims, usize::MAX).unwrap();
    let mut stream = forest.records(&ordinals).unwrap();
    let mut records = Records::new();
    let mut last = None;
    while let Some((at, record)) = stream.next() {
        assert!(last.replace(at) < Some(at), "records ascend");
        records.insert(at, record.to_vec());
    }
    for node in &cut.spine {
        let mut record = Vec::new();
        let at = node.encode_record(&mut record).unwrap();
        assert!(records.insert(at, record).is_none());
    }
    (cut.chunks, records)
}

/// Whether a record belongs to one of the chunks, not to the spine.
fn in_chunks(chunks: &[Chunk], at: NodeKey) -> bool {
    let ordinal = u64::from(at.nonce) - 2;
    chunks.iter().any(|chunk| (chunk.first_ordinal..=chunk.root_ordinal()).contains(&ordinal))
}

#[test]
fn every_span_of_neighbouring_chunks_proves_whatever_lies_around_it() {
    let mut random = Random(seed(61));
    for chunk_leaves in [1, 3, 10, 1000] {
        let (chunks, mut records) = restored(&mut random, chunk_leaves);
        // Later versions and a reference to the root lie in the same key space.
        records.insert(NodeKey::root_of(Version(7)), vec![b's'; 13]);
        records.extend((0..50).map(|nonce| (NodeKey::new(Version(8), nonce), b"later".to_vec())));
        for from in 0..chunks.len() {
            for to in from + 1..=chunks.len() {
                assert_eq!(
                    sweep(&records, &chunks[from..to]).unwrap(),
                    Swept::Proven,
                    "{chunk_leaves}: {from} to {to}"
                );
            }
        }
    }
}

#[test]
fn a_flipped_bit_in_any_byte_of_any_record_is_noticed() {
    let (chunks, records) = restored(&mut Random(seed(62)), 12);
    let mut flips = 0;
    for (at, record) in records.iter().filter(|(at, _)| in_chunks(&chunks, **at)) {
        for byte in 0..record.len() {
            for bit in 0..8 {
                let mut damaged = records.clone();
                damaged.get_mut(at).unwrap()[byte] ^= 1 << bit;
                assert!(sweep(&damaged, &chunks).is_err(), "{at}, byte {byte}, bit {bit}");
                flips += 1;
            }
        }
    }
    assert!(flips > 20_000, "{flips}");
}

#[test]
fn a_record_that_is_missing_moved_doubled_cut_or_longer_is_noticed() {
    let (chunks, records) = restored(&mut Random(seed(63)), 12);
    for (at, record) in records.iter().filter(|(at, _)| in_chunks(&chunks, **at)) {
        let noticed = |how: &str, change: &dyn Fn(&mut Records)| {
            let mut damaged = records.clone();
            change(&mut damaged);
            assert!(sweep(&damaged, &chunks).is_err(), "{at} {how}");
        };
        noticed("missing", &|records| drop(records.remove(at)));
        noticed("longer", &|records| records.get_mut(at).unwrap().push(0));
        noticed("cut", &|records| assert!(records.get_mut(at).unwrap().pop().is_some()));
        let (newer, older) = (NodeKey::new(Version(at.version.0 + 1), at.nonce), Version(at.version.0 - 1));
        noticed("moved to another version", &|records| {
            let record = records.remove(at).unwrap();
            records.insert(newer, record);
        });
        // A second record with its ordinal: no pointer leads to it, so a proof from the root down never sees it. Above
        // the chunks' newest version it would be of a later commit.
        let newest = chunks.iter().map(|chunk| chunk.version).max().unwrap();
        for twin in [newer, NodeKey::new(older, at.nonce)].into_iter().filter(|twin| twin.version <= newest) {
            if !records.contains_key(&twin) {
                noticed("doubled", &|records| drop(records.insert(twin, record.clone())));
            }
        }
    }
}

#[test]
fn records_that_prove_but_are_written_in_another_way_are_noticed() {
    let (chunks, records) = restored(&mut Random(seed(64)), 12);
    let mut tried = 0;
    for (at, record) in records.iter().filter(|(at, _)| in_chunks(&chunks, **at)) {
        let other = match Node::decode(record).unwrap() {
            // An overlong length: Go would read the same leaf from it.
            Node::Leaf { key, value } => {
                let mut other = vec![0, 2, key.len() as u8 | 0x80, 0];
                other.extend_from_slice(key);
                other.push(value.len() as u8);
                other.extend_from_slice(value);
                assert!(matches!(Node::decode(&other), Ok(Node::Leaf { key: k, .. }) if k == key));
                other
            }
            // Another inner key that also lies between the two subtrees: no hash covers it.
            Node::Inner { height, size, key, hash, left, right } => {
                let mut other = Vec::new();
                let key = [key.split_last().unwrap().1, b"!"].concat();
                Node::Inner { height, size, key: &key, hash, left, right }.encode(&mut other);
                other
            }
        };
        let mut damaged = records.clone();
        damaged.insert(*at, other);
        assert!(sweep(&damaged, &chunks).is_err(), "{at}");
        tried += 1;
    }
    assert!(tried > 50);
}

#[test]
fn another_chunk_of_the_same_shape_is_not_the_one_that_was_asked_for() {
    let (chunks, records) = restored(&mut Random(seed(65)), 12);
    for at in 0..chunks.len() {
        let mut asked = chunks.clone();
        asked[at].hash.0[7] ^= 1;
        assert!(matches!(sweep(&records, &asked), Err(ProveError::HashMismatch { .. })));
        let mut asked = chunks.clone();
        asked[at].version = Version(asked[at].version.0 + 1);
        assert!(sweep(&records, &asked).is_err());
    }
}

#[test]
fn where_the_records_lie_too_far_apart_it_gives_up_early() {
    let (chunks, mut records) = restored(&mut Random(seed(66)), 4);
    // Thousands of versions between, none with a node of the chunk.
    for version in 100..20_000u64 {
        records.extend((0..20).map(|nonce| (NodeKey::new(Version(version), 1_000_000 + nonce), vec![1])));
    }
    let mut chunk = chunks[0].clone();
    chunk.version = Version(30_000);
    let mut walk = Walk { records: &records, from: None, seeks: 0 };
    assert_eq!(Sweep::default().prove(&mut walk, &[chunk]).unwrap(), Swept::Scattered);
    assert!(walk.seeks < 5_000, "{}", walk.seeks);
}

#[test]
fn keys_out_of_order_are_refused_although_every_hash_fits() {
    for (keys, sound) in [(&["a", "b", "c", "d"], true), (&["a", "c", "b", "d"], false), (&["b", "a", "c", "d"], false)]
    {
        let (nodes, claim) = Made::of(keys).records();
        // Made in post-order from nonce 1; in SC ordinals begin at nonce 2.
        let moved = |key: NodeKey| NodeKey::new(key.version, key.nonce + 1);
        let child = |child: NodeId| match child {
            NodeId::Current(key) => NodeId::Current(moved(key)),
            legacy @ NodeId::Legacy(_) => legacy,
        };
        let records = nodes.records.iter().map(|(at, record)| {
            let mut out = Vec::new();
            match Node::decode(record).unwrap() {
                Node::Inner { height, size, key, hash, left, right } => {
                    Node::Inner { height, size, key, hash, left: child(left), right: child(right) }.encode(&mut out);
                }
                leaf @ Node::Leaf { .. } => leaf.encode(&mut out),
            }
            (moved(*at), out)
        });
        let NodeKey { version, nonce } = claim.at.key().unwrap();
        let nonce = Some(nonce);
        let chunk = Chunk { store: 0, version, nonce, hash: claim.hash, height: 2, leaves: 4, first_ordinal: 0 };
        let swept = sweep(&records.collect(), &[chunk]);
        assert_eq!(swept.is_ok(), sound, "{keys:?}: {swept:?}");
        assert!(sound || matches!(swept, Err(ProveError::KeyOrder { .. })));
    }
}
