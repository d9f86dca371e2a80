//! Trees to prove: grown as a chain grows them, or built node by node with whatever is wrong and hashes that fit.

use crate::support::random::Random;
use storeshift::{
    iavl::{Claim, Node, NodeKey, NodeMap, Proof, ProveError, ProvenNode, inner_hash, leaf_hash, prove, tree::Tree},
    model::{Change, Hash, Version},
};

/// A budget that holds every tree here, and one that holds a node or two.
pub const BUDGETS: [usize; 2] = [1 << 20, 1];

/// A tree over a few versions: keys set, set again and removed.
pub fn grow(random: &mut Random, versions: u64, changes: u64, keys: u64) -> (NodeMap, Option<Claim>) {
    let mut nodes = NodeMap::default();
    let mut tree = Tree::load(None, Version(0));
    let mut claim = None;
    for version in 1..=versions {
        let changes: Vec<Change> = (0..changes)
            .map(|_| {
                let key = format!("key{:03}", random.below(keys)).into_bytes();
                let length = random.below(12) as usize;
                let value = (random.below(6) > 0).then(|| vec![random.next() as u8; length]);
                Change { key, value }
            })
            .collect();
        tree.apply(&mut nodes, &changes).unwrap();
        let committed = tree.commit(&mut nodes, Version(version)).unwrap();
        claim = committed.root.map(|key| Claim { at: key.into(), hash: committed.hash });
        for (key, record) in committed.records {
            // What lies under (version, 1) may be a reference: no node, and never read by a proof.
            nodes.records.insert(key, record);
        }
    }
    (nodes, claim)
}

/// A node with all that is below it.
#[derive(Clone, Debug)]
pub enum Made {
    Leaf { version: u64, key: Vec<u8>, value: Vec<u8> },
    Inner { version: u64, height: u8, size: u64, key: Vec<u8>, left: Box<Made>, right: Box<Made> },
}

impl Made {
    pub fn leaf(version: u64, key: &str) -> Made {
        Made::Leaf { version, key: key.as_bytes().to_vec(), value: b"value".to_vec() }
    }

    /// An inner node with everything as it should be.
    pub fn inner(version: u64, left: Made, right: Made) -> Made {
        let (height, size) = (left.height().max(right.height()) + 1, left.size() + right.size());
        let key = right.first_key().to_vec();
        Made::Inner { version, height, size, key, left: Box::new(left), right: Box::new(right) }
    }

    /// A perfect tree of these leaves, all of version 1.
    pub fn of(keys: &[&str]) -> Made {
        match keys {
            [only] => Made::leaf(1, only),
            keys => {
                let (left, right) = keys.split_at(keys.len() / 2);
                Made::inner(1, Made::of(left), Made::of(right))
            }
        }
    }

    fn height(&self) -> u8 {
        match self {
            Made::Leaf { .. } => 0,
            Made::Inner { height, .. } => *height,
        }
    }

    fn size(&self) -> u64 {
        match self {
            Made::Leaf { .. } => 1,
            Made::Inner { size, .. } => *size,
        }
    }

    fn first_key(&self) -> &[u8] {
        match self {
            Made::Leaf { key, .. } => key,
            Made::Inner { left, .. } => left.first_key(),
        }
    }

    /// The records, with hashes that fit, and the claim of the root: a chain that had such a tree would have this root.
    pub fn records(&self) -> (NodeMap, Claim) {
        let mut nodes = NodeMap::default();
        let claim = self.record(&mut nodes);
        (nodes, claim)
    }

    fn record(&self, nodes: &mut NodeMap) -> Claim {
        let nonce = |nodes: &NodeMap| nodes.records.len() as u32 + 1;
        let mut record = Vec::new();
        let claim = match self {
            Made::Leaf { version, key, value } => {
                Node::Leaf { key, value }.encode(&mut record);
                let version = Version(*version);
                Claim { at: NodeKey::new(version, nonce(nodes)).into(), hash: leaf_hash(version, key, value) }
            }
            Made::Inner { version, height, size, key, left, right } => {
                let (left, right) = (left.record(nodes), right.record(nodes));
                let version = Version(*version);
                let hash = inner_hash(*height, *size, version, &left.hash, &right.hash);
                let (left, right) = (left.at, right.at);
                Node::Inner { height: *height, size: *size, key, hash, left, right }.encode(&mut record);
                Claim { at: NodeKey::new(version, nonce(nodes)).into(), hash }
            }
        };
        nodes.records.insert(claim.at.key().unwrap(), record);
        claim
    }
}

/// A proven node, kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    pub at: NodeKey,
    pub height: u8,
    pub size: u64,
    pub key: Vec<u8>,
    pub value: Vec<u8>,
    pub hash: Hash,
    pub right_size: Option<u64>,
}

impl From<&ProvenNode<'_>> for Kept {
    fn from(node: &ProvenNode<'_>) -> Kept {
        Kept {
            at: node.at.key().unwrap(),
            height: node.height,
            size: node.size,
            key: node.key.to_vec(),
            value: node.value.to_vec(),
            hash: node.hash,
            right_size: node.children.map(|children| children.right_size),
        }
    }
}

/// Proves a tree: what was handed on, and how it ended.
pub fn prove_all(nodes: &NodeMap, claim: Claim, budget: usize) -> (Vec<Kept>, Result<Proof, ProveError>) {
    let mut kept = Vec::new();
    let proof = prove(&mut nodes.clone(), claim, budget, &mut |node| {
        kept.push(Kept::from(node));
        true
    });
    (kept, proof)
}
