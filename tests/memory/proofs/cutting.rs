//! Cutting a tree into chunks and putting it together again.

use super::tree::{BUDGETS, KINDS, Kind, grow_kind, prove_all};
use crate::support::random::{Random, seed};
use proptest::prelude::*;
use std::collections::BTreeMap;
use storeshift::{
    iavl::{
        Claim, Cut, Forest, NodeId, NodeKey, NodeMap, NodeReader, ReadError, cut, numbering, prove, prove_in_pieces,
    },
    model::{Chunk, Hash},
};

type Records = BTreeMap<NodeKey, Vec<u8>>;

/// Restores one chunk as the restore phase does: knowing nothing but the chunk.
fn restore(nodes: &NodeMap, chunk: &Chunk, budget: usize, into: &mut Records) {
    let claim = Claim::of(chunk);
    let mut ordinal = chunk.first_ordinal;
    let proof = prove(&mut nodes.clone(), claim, budget, &mut |node| {
        let mut record = Vec::new();
        let key = numbering::encode_record(node, ordinal, &mut record).unwrap();
        assert!(into.insert(key, record).is_none(), "two nodes have the key {key}");
        ordinal += 1;
        true
    });
    let proof = proof.unwrap();
    assert_eq!((proof.leaves, proof.height), (chunk.leaves, chunk.height));
    assert_eq!(ordinal, chunk.root_ordinal() + 1);
}

/// The records of the whole tree from its chunks in this order, and its spine.
fn restore_all(nodes: &NodeMap, cut: &Cut, order: &[usize], budget: usize) -> Records {
    let mut records = Records::new();
    for index in order {
        restore(nodes, &cut.chunks[*index], budget, &mut records);
    }
    for node in &cut.spine {
        let mut record = Vec::new();
        let key = node.encode_record(&mut record).unwrap();
        assert!(records.insert(key, record).is_none(), "a spine node takes a chunk's key {key}");
    }
    records
}

fn check_cut(nodes: &NodeMap, claim: Claim, chunk_leaves: u64) -> Cut {
    let (all, proof) = prove_all(nodes, claim, BUDGETS[0]);
    let leaves = proof.unwrap().leaves;
    let cut = cut(&mut nodes.clone(), claim, 3, chunk_leaves).unwrap();
    // The chunks are the leaves, each once, in order; the spine is one node less than there are chunks.
    assert_eq!(cut.chunks.iter().map(|chunk| chunk.leaves).sum::<u64>(), leaves);
    assert_eq!(cut.spine.len() + 1, cut.chunks.len());
    let mut ordinals: Vec<u64> = cut.spine.iter().map(|node| node.ordinal).collect();
    for chunk in &cut.chunks {
        assert!(chunk.leaves <= chunk_leaves && chunk.store == 3);
        // Its root is where the proof of the whole tree met it.
        let root = &all[chunk.root_ordinal() as usize];
        assert_eq!((root.hash, root.size, root.height), (chunk.hash, chunk.leaves, chunk.height));
        assert_eq!(Claim::of(chunk).at, root.at);
        ordinals.extend(chunk.first_ordinal..=chunk.root_ordinal());
    }
    for node in &cut.spine {
        let whole = &all[node.ordinal as usize];
        assert_eq!(
            (&whole.key, whole.hash, whole.size, whole.right_size),
            (&node.key, node.hash, node.size, Some(node.right_size))
        );
        assert!(node.size > chunk_leaves, "a spine node that could have been a chunk");
    }
    ordinals.sort_unstable();
    assert!(ordinals.into_iter().eq(0..all.len() as u64), "every ordinal once");
    cut
}

#[test]
fn the_leaves_of_the_largest_chunk_give_the_same_chunks_again() {
    let mut random = Random(seed(54));
    for kind in KINDS.into_iter().cycle().take(21) {
        let (nodes, claim) = grow_kind(kind, &mut random, 6, 40, 70);
        for chunk_leaves in 1..200 {
            let first = cut(&mut nodes.clone(), claim.unwrap(), 0, chunk_leaves).unwrap();
            let largest = first.chunks.iter().map(|chunk| chunk.leaves).max().unwrap();
            assert_eq!(cut(&mut nodes.clone(), claim.unwrap(), 0, largest).unwrap(), first, "{chunk_leaves}");
            // What tells stores that are cut finer from others.
            assert!(first.chunks.len() == 1 || largest > chunk_leaves / 2);
        }
    }
}

#[test]
fn for_every_chunk_size_the_chunks_partition_the_leaves_and_restore_to_the_same_records_in_any_order() {
    let seed = seed(51);
    for kind in KINDS {
        restores_to_the_same(kind, seed);
    }
}

fn restores_to_the_same(kind: Kind, seed: u64) {
    let mut random = Random(seed);
    let (nodes, claim) = grow_kind(kind, &mut random, 6, 40, 70);
    let claim = claim.unwrap();
    let (_, proof) = prove_all(&nodes, claim, BUDGETS[0]);
    let leaves = proof.unwrap().leaves;
    assert!(leaves > 30);
    let whole = check_cut(&nodes, claim, leaves);
    assert_eq!(whole.chunks.len(), 1);
    let wanted = restore_all(&nodes, &whole, &[0], BUDGETS[0]);
    assert_eq!(wanted.len() as u64, 2 * leaves - 1);
    for chunk_leaves in 1..=leaves {
        let cut = check_cut(&nodes, claim, chunk_leaves);
        let mut order: Vec<usize> = (0..cut.chunks.len()).collect();
        for _ in 0..3 {
            for at in (1..order.len()).rev() {
                order.swap(at, random.below(at as u64 + 1) as usize);
            }
            let budget = if random.coin() { BUDGETS[0] } else { 300 };
            assert!(
                restore_all(&nodes, &cut, &order, budget) == wanted,
                "seed {seed}, {kind:?}, {chunk_leaves} leaves, {order:?}"
            );
        }
    }
}

#[test]
fn the_restored_records_are_the_same_tree_under_the_root_hash() {
    KINDS.into_iter().for_each(the_restored_records_are_the_same_tree);
}

fn the_restored_records_are_the_same_tree(kind: Kind) {
    let (nodes, claim) = grow_kind(kind, &mut Random(52), 6, 40, 70);
    let claim = claim.unwrap();
    let cut = check_cut(&nodes, claim, 5);
    let order: Vec<usize> = (0..cut.chunks.len()).collect();
    let restored = NodeMap { records: restore_all(&nodes, &cut, &order, BUDGETS[0]), ..NodeMap::default() };
    let root = cut.spine.last().unwrap();
    let moved = Claim { at: numbering::node_key(root.version, root.ordinal).unwrap().into(), hash: claim.hash };
    let (before, _) = prove_all(&nodes, claim, BUDGETS[0]);
    for budget in BUDGETS {
        let (after, proof) = prove_all(&restored, moved, budget);
        proof.unwrap();
        let content = |nodes: &[super::tree::Kept]| {
            nodes.iter().map(|node| (node.key.clone(), node.value.clone(), node.hash, node.size)).collect::<Vec<_>>()
        };
        assert!(content(&before) == content(&after));
        let nonces: Vec<u32> = after.iter().map(|node| node.at.key().unwrap().nonce).collect();
        assert!(nonces.iter().copied().eq(2..2 + nonces.len() as u32), "nonces are post-order ordinals plus 2");
        assert!(before.iter().zip(&after).all(|(before, after)| before.version == after.version));
    }
}

#[test]
fn a_proof_that_is_stopped_says_so_and_hands_nothing_on_any_more() {
    for (kind, budget) in KINDS.into_iter().flat_map(|kind| BUDGETS.map(|budget| (kind, budget))) {
        let (nodes, claim) = grow_kind(kind, &mut Random(53), 3, 40, 70);
        let mut seen = 0;
        let proof = prove(&mut nodes.clone(), claim.unwrap(), budget, &mut |_| {
            seen += 1;
            seen < 5
        });
        assert!(matches!(proof, Err(storeshift::iavl::ProveError::Sink)));
        assert_eq!(seen, 5);
    }
}

#[test]
fn a_subtree_cut_without_trying_because_of_any_guess_is_handed_on_the_same() {
    for (kind, versions) in KINDS.into_iter().flat_map(|kind| [(kind, 1), (kind, 5)]) {
        let (nodes, claim) = grow_kind(kind, &mut Random(54), versions, 40, 70);
        let (whole, proof) = prove_all(&nodes, claim.unwrap(), BUDGETS[0]);
        let proof = proof.unwrap();
        for expected in [0, 1, 3_000, 100_000, u64::MAX] {
            for budget in BUDGETS {
                let mut forest = Forest::default();
                let mut reader = Counting { nodes: nodes.clone(), read: 0 };
                let mut handed_on = Vec::new();
                let pieces = prove_in_pieces(&mut forest, &mut reader, claim.unwrap(), expected, budget, &mut |node| {
                    handed_on.push((node.at, node.hash, node.key.to_vec(), node.value.to_vec()));
                    true
                });
                assert_eq!(pieces.unwrap(), proof, "{expected} in {budget}");
                let all = whole.iter().map(|node| (node.at, node.hash, node.key.clone(), node.value.clone()));
                assert!(all.eq(handed_on), "{expected} in {budget}");
                if expected <= budget as u64 && budget >= BUDGETS[0] {
                    assert_eq!(reader.read, whole.len(), "what fits is read once");
                }
            }
        }
    }
}

/// Counts what is read.
struct Counting {
    nodes: NodeMap,
    read: usize,
}

impl NodeReader for Counting {
    fn read(&mut self, key: NodeKey, out: &mut Vec<u8>) -> Result<bool, ReadError> {
        self.read += 1;
        self.nodes.read(key, out)
    }

    fn read_legacy(&mut self, hash: &Hash, out: &mut Vec<u8>) -> Result<bool, ReadError> {
        self.read += 1;
        self.nodes.read_legacy(hash, out)
    }
}

/// Notes which legacy nodes are asked for.
struct Noting {
    nodes: NodeMap,
    asked: Vec<Hash>,
}

impl NodeReader for Noting {
    fn read(&mut self, key: NodeKey, out: &mut Vec<u8>) -> Result<bool, ReadError> {
        assert!(self.asked.is_empty(), "current nodes lie above the legacy ones, and are read before them");
        self.nodes.read(key, out)
    }

    fn read_legacy(&mut self, hash: &Hash, out: &mut Vec<u8>) -> Result<bool, ReadError> {
        self.asked.push(*hash);
        self.nodes.read_legacy(hash, out)
    }
}

#[test]
fn legacy_nodes_are_read_once_and_in_one_direction_over_the_store_for_each_level() {
    for kind in [Kind::Mixed, Kind::Legacy] {
        let (nodes, claim) = grow_kind(kind, &mut Random(55), 6, 200, 400);
        let (claim, mut reader) = (claim.unwrap(), Noting { nodes, asked: Vec::new() });
        let legacy = reader.nodes.legacy.len();
        Forest::default().read(&mut reader, &[claim], usize::MAX).unwrap();
        assert_eq!(reader.asked.len(), legacy);
        let turns = reader.asked.windows(2).filter(|pair| pair[0] > pair[1]).count();
        let (_, proof) = prove_all(&reader.nodes, claim, BUDGETS[0]);
        let height = usize::from(proof.unwrap().height);
        assert!(legacy > 60 && turns <= height, "{kind:?}: {turns} turns over {legacy} nodes, {height} levels");
    }
}

#[test]
fn subtrees_that_lie_side_by_side_come_out_of_one_forest_as_they_do_one_by_one() {
    for kind in KINDS {
        let (mut nodes, claim) = grow_kind(kind, &mut Random(56), 9, 60, 90);
        let cut = check_cut(&nodes, claim.unwrap(), 6);
        let wanted = restore_all(
            &nodes,
            &Cut { spine: Vec::new(), ..cut.clone() },
            &(0..cut.chunks.len()).collect::<Vec<_>>(),
            1,
        );
        for together in 1..=cut.chunks.len() {
            let mut records = Records::new();
            let mut forest = Forest::default();
            for chunks in cut.chunks.chunks(together) {
                let claims: Vec<Claim> = chunks.iter().map(Claim::of).collect();
                let ordinals: Vec<u64> = chunks.iter().map(|chunk| chunk.first_ordinal).collect();
                forest.read(&mut nodes, &claims, usize::MAX).unwrap();
                let mut numbered = forest.records(&ordinals).unwrap();
                while let Some((at, record)) = storeshift::iavl::RecordStream::next(&mut numbered) {
                    assert!(records.insert(at, record.to_vec()).is_none());
                }
            }
            assert!(records == wanted, "{kind:?}, {together} chunks together");
        }
    }
}

#[test]
fn what_comes_out_is_the_same_whatever_nodes_are_legacy() {
    let records = KINDS.map(|kind| {
        let (nodes, claim) = grow_kind(kind, &mut Random(57), 6, 40, 70);
        let cut = check_cut(&nodes, claim.unwrap(), 7);
        assert_eq!(
            kind != Kind::Current,
            cut.chunks.iter().any(|chunk| Claim::of(chunk).at == NodeId::Legacy(chunk.hash))
        );
        restore_all(&nodes, &cut, &(0..cut.chunks.len()).collect::<Vec<_>>(), BUDGETS[0])
    });
    assert!(records[0] == records[1] && records[0] == records[2]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_trees_cut_anywhere_and_proven_in_pieces_of_any_size_come_out_the_same(
        seed: u64, kind in prop::sample::select(KINDS.to_vec()), versions in 1u64..8, changes in 1u64..60, keys in 1u64..120, chunk_leaves in 1u64..40, budget in 0usize..4000,
    ) {
        let (nodes, claim) = grow_kind(kind, &mut Random(seed), versions, changes, keys);
        let Some(claim) = claim else { return Ok(()) };
        let (whole, proof) = prove_all(&nodes, claim, BUDGETS[0]);
        let (pieces, proof_in_pieces) = prove_all(&nodes, claim, budget);
        prop_assert_eq!(&whole, &pieces);
        prop_assert_eq!(proof.unwrap(), proof_in_pieces.unwrap());
        prop_assert_eq!(whole.iter().filter(|node| node.height == 0).map(|node| &node.key).collect::<Vec<_>>().is_sorted(), true);
        let cut = check_cut(&nodes, claim, chunk_leaves);
        let order: Vec<usize> = (0..cut.chunks.len()).rev().collect();
        let one = check_cut(&nodes, claim, u64::MAX);
        prop_assert_eq!(restore_all(&nodes, &cut, &order, budget), restore_all(&nodes, &one, &[0], BUDGETS[0]));
    }
}
