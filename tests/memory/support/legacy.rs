//! Trees as they are where IAVL up to 0.20 wrote the older nodes: made of current ones, which have the same hashes.
//!
//! What becomes of a whole history is held to the bytes that Go wrote in `histories`.

use std::collections::BTreeMap;
use storeshift::{
    iavl::{Claim, Node, NodeId, NodeKey, NodeMap, RootRecord, leaf_hash, legacy},
    model::{Hash, StoreKey, Version},
    source::MemoryEngine,
};

/// The tree under a claim with those nodes, and all below them, as legacy ones for which `pick` says so; it is asked from the
/// root down. Only what belongs to the tree is kept.
pub fn with_legacy_subtrees(nodes: &NodeMap, root: Claim, pick: &mut dyn FnMut() -> bool) -> (NodeMap, Claim) {
    let mut made = NodeMap::default();
    let at = rename(nodes, root.at.key().unwrap(), false, pick, &mut made);
    (made, Claim { at, ..root })
}

fn rename(nodes: &NodeMap, at: NodeKey, below: bool, pick: &mut dyn FnMut() -> bool, made: &mut NodeMap) -> NodeId {
    let record = &nodes.records[&at];
    let is_legacy = below || pick();
    let node = match Node::decode(record).unwrap() {
        leaf @ Node::Leaf { .. } => leaf,
        Node::Inner { height, size, key, hash, left, right } => {
            let [left, right] = [left, right].map(|child| rename(nodes, child.key().unwrap(), is_legacy, pick, made));
            Node::Inner { height, size, key, hash, left, right }
        }
    };
    put(made, at, &node, is_legacy)
}

fn put(made: &mut NodeMap, at: NodeKey, node: &Node<'_>, is_legacy: bool) -> NodeId {
    let mut record = Vec::new();
    if is_legacy {
        legacy::encode(at.version, node, &mut record).unwrap();
        let hash = hash_of(at, node);
        made.legacy.insert(hash, record);
        NodeId::Legacy(hash)
    } else {
        node.encode(&mut record);
        made.records.insert(at, record);
        at.into()
    }
}

fn hash_of(at: NodeKey, node: &Node<'_>) -> Hash {
    match *node {
        Node::Leaf { key, value } => leaf_hash(at.version, key, value),
        Node::Inner { hash, .. } => hash,
    }
}

/// A store's history after IAVL 1.x was taken up.
#[derive(Clone, Default)]
pub struct Carried {
    pub nodes: NodeMap,
    /// Where the root of each version is; none for the empty tree.
    pub roots: BTreeMap<Version, Option<NodeId>>,
    /// What is recorded under `r`.
    pub legacy_roots: BTreeMap<Version, Option<Hash>>,
}

/// What a history of IAVL 1.x would be had IAVL up to 0.20 written the versions up to `until`. None where IAVL 1.x would write two
/// legacy nodes to one place, and older versions would be lost.
pub fn carry_over(records: &BTreeMap<NodeKey, Vec<u8>>, until: Version) -> Option<Carried> {
    let mut carried = Carried::default();
    // Legacy nodes by the keys they would have had, and which of them were written anew.
    let mut hashes: BTreeMap<NodeKey, Hash> = BTreeMap::new();
    let mut anew: BTreeMap<NodeKey, NodeKey> = BTreeMap::new();
    // Children of a version come after their parents, so names are found first.
    for (at, record) in records.range(..NodeKey::new(until.next(), 0)) {
        if RootRecord::decode(record) == Some(RootRecord::Node) {
            hashes.insert(*at, hash_of(*at, &Node::decode(record).unwrap()));
        }
    }
    for (at, record) in records {
        let is_legacy = at.version <= until;
        match RootRecord::decode(record).unwrap() {
            RootRecord::Empty => {
                carried.roots.insert(at.version, None);
                if is_legacy {
                    carried.legacy_roots.insert(at.version, None);
                } else {
                    carried.nodes.records.insert(*at, Vec::new());
                }
            }
            RootRecord::Reference(to) if is_legacy => {
                carried.roots.insert(at.version, Some(NodeId::Legacy(hashes[&to])));
                carried.legacy_roots.insert(at.version, Some(hashes[&to]));
            }
            RootRecord::Reference(to) => {
                let to = match hashes.get(&to) {
                    Some(_) => {
                        let place = NodeKey::new(to.version, 0);
                        let node = legacy_node(&records[&to], &hashes);
                        let mut again = Vec::new();
                        node.encode(&mut again);
                        if carried.nodes.records.insert(place, again.clone()).is_some_and(|before| before != again) {
                            return None;
                        }
                        anew.insert(to, place);
                        place
                    }
                    None => to,
                };
                carried.roots.insert(at.version, Some(to.into()));
                carried.nodes.records.insert(*at, to.to_bytes().to_vec());
            }
            RootRecord::Node => {
                let node = if is_legacy {
                    legacy_node(record, &hashes)
                } else {
                    with_children(record, |child| match (anew.get(&child), hashes.get(&child)) {
                        (Some(place), _) => (*place).into(),
                        (None, Some(hash)) => NodeId::Legacy(*hash),
                        (None, None) => child.into(),
                    })
                };
                let name = put(&mut carried.nodes, *at, &node, is_legacy);
                if at.nonce == 1 {
                    carried.roots.insert(at.version, Some(name));
                    if let NodeId::Legacy(hash) = name {
                        carried.legacy_roots.insert(at.version, Some(hash));
                    }
                }
            }
        }
    }
    Some(carried)
}

fn legacy_node<'a>(record: &'a [u8], hashes: &BTreeMap<NodeKey, Hash>) -> Node<'a> {
    with_children(record, |child| NodeId::Legacy(hashes[&child]))
}

fn with_children(record: &[u8], name: impl Fn(NodeKey) -> NodeId) -> Node<'_> {
    match Node::decode(record).unwrap() {
        leaf @ Node::Leaf { .. } => leaf,
        Node::Inner { height, size, key, hash, left, right } => {
            let [left, right] = [left, right].map(|child| name(child.key().unwrap()));
            Node::Inner { height, size, key, hash, left, right }
        }
    }
}

/// As [`carry_over`], for every store of a database.
pub fn carry_over_stores(engine: &MemoryEngine, stores: &[&str], until: Version) -> Option<MemoryEngine> {
    let mut pairs = engine.pairs.clone();
    for store in stores {
        let prefix = format!("s/k:{}/", StoreKey::from(*store)).into_bytes();
        let place = |key: &[u8]| [prefix.as_slice(), key].concat();
        let mut records = BTreeMap::new();
        for (key, record) in &engine.pairs {
            if let Some(at) = key.strip_prefix(prefix.as_slice()).and_then(NodeKey::from_bytes) {
                pairs.remove(key);
                records.insert(at, record.clone());
            }
        }
        let carried = carry_over(&records, until)?;
        pairs.extend(carried.nodes.records.into_iter().map(|(at, record)| (place(&at.to_bytes()), record)));
        pairs.extend(carried.nodes.legacy.into_iter().map(|(hash, record)| (place(&named(b'n', &hash.0)), record)));
        for (version, root) in carried.legacy_roots {
            pairs
                .insert(place(&named(b'r', &version.0.to_be_bytes())), root.map_or(Vec::new(), |hash| hash.0.to_vec()));
        }
    }
    Some(MemoryEngine { pairs })
}

fn named(kind: u8, name: &[u8]) -> Vec<u8> {
    [&[kind], name].concat()
}
