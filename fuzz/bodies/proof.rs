//! A whole tree whose records are the input's: proving and cutting it come to an end, in pieces of any size alike, and
//! what is handed on is in order and adds up.

use std::collections::BTreeMap;
use storeshift::{
    iavl::{
        Claim, Forest, Node, NodeId, NodeKey, NodeMap, RecordStream as _, cut, inner_hash, leaf_hash, legacy,
        numbering, prove,
    },
    model::{Hash, Version},
};

/// Set in the first byte if the records are of a tree that may have legacy nodes.
const WITH_LEGACY: u8 = 0x80;

type Records = BTreeMap<NodeKey, Vec<u8>>;

pub fn run(data: &[u8]) {
    let Some((&first, rest)) = data.split_first() else { return };
    let (mut nodes, claims) = if first & WITH_LEGACY == 0 { current(rest) } else { with_legacy(rest) };
    let Some(Some(claim)) = claims.get(usize::from(first & !WITH_LEGACY) % claims.len().max(1)).copied() else {
        return;
    };
    let proofs = [1 << 20, 200, 0].map(|budget| {
        let mut last: Option<Vec<u8>> = None;
        let mut leaves = 0;
        let mut records = Records::new();
        let mut ordinal = 0;
        let proof = prove(&mut nodes, claim, budget, &mut |node| {
            if node.children.is_none() {
                assert!(last.as_deref().is_none_or(|last| last < node.key));
                last = Some(node.key.to_vec());
                leaves += 1;
            }
            let mut record = Vec::new();
            let at = numbering::encode_record(node, ordinal, &mut record).unwrap();
            assert!(records.insert(at, record).is_none());
            ordinal += 1;
            true
        });
        proof.ok().map(|proof| {
            assert_eq!(proof.leaves, leaves);
            records
        })
    });
    assert!(proofs.iter().all(|proof| *proof == proofs[0]), "whether a tree proves depends on the size of the pieces");
    let cut = cut(&mut nodes, claim, 0, 2);
    let [Some(wanted), ..] = proofs else { return };
    let cut = cut.expect("a tree that proves can be cut");
    assert_eq!(cut.spine.len() + 1, cut.chunks.len());
    // All chunks together, as a gulp is read.
    let claims: Vec<Claim> = cut.chunks.iter().map(Claim::of).collect();
    let ordinals: Vec<u64> = cut.chunks.iter().map(|chunk| chunk.first_ordinal).collect();
    let mut forest = Forest::default();
    forest.read(&mut nodes, &claims, usize::MAX).expect("a tree that proves does so in chunks");
    let mut records = Records::new();
    let mut numbered = forest.records(&ordinals).unwrap();
    while let Some((at, record)) = numbered.next() {
        records.insert(at, record.to_vec());
    }
    for node in &cut.spine {
        let mut record = Vec::new();
        let at = node.encode_record(&mut record).unwrap();
        records.insert(at, record);
    }
    assert!(records == wanted, "what is restored depends on the chunks");
}

/// Nodes of version 1. Each record: a byte for its length, then its bytes.
fn current(mut rest: &[u8]) -> (NodeMap, Vec<Option<Claim>>) {
    let (mut nodes, mut claims) = (NodeMap::default(), Vec::new());
    while let Some((record, after)) = next(rest) {
        let at = NodeKey::new(Version(1), claims.len() as u32 + 1);
        // The root's own word is taken for its hash, or everything would end there.
        let hash = match Node::decode(record) {
            Ok(Node::Inner { hash, .. }) => Some(hash),
            Ok(Node::Leaf { key, value }) => Some(leaf_hash(Version(1), key, value)),
            Err(_) => None,
        };
        claims.push(hash.map(|hash| Claim { at: at.into(), hash }));
        nodes.records.insert(at, record.to_vec());
        rest = after;
        if claims.len() == 64 {
            break;
        }
    }
    (nodes, claims)
}

/// Nodes of any kind. Each record: a byte with its kind and version, one for its length, then its bytes. Nobody guesses a
/// hash, so children are named by the numbers of earlier records (hashes of that and zeros), and every hash is put right.
fn with_legacy(mut rest: &[u8]) -> (NodeMap, Vec<Option<Claim>>) {
    let (mut nodes, mut claims) = (NodeMap::default(), Vec::<Option<Claim>>::new());
    while let Some((&kind, after)) = rest.split_first() {
        let Some((bytes, after)) = next(after) else { break };
        rest = after;
        let at = NodeKey::new(Version(u64::from(kind >> 1)), claims.len() as u32 + 1);
        let is_legacy = kind & 1 != 0;
        let decoded = match is_legacy {
            true => legacy::decode(Hash::EMPTY, bytes).ok(),
            false => Node::decode(bytes).ok().map(|node| (at.version, node)),
        };
        let mut record = bytes.to_vec();
        let hash = decoded.map(|(version, node)| match node {
            Node::Leaf { key, value } => leaf_hash(version, key, value),
            Node::Inner { height, size, key, left, right, .. } => {
                let [left, right] = [left, right].map(|child| resolve(&claims, child));
                let hash = inner_hash(height, size, version, &left.hash, &right.hash);
                let node = Node::Inner { height, size, key, hash, left: left.at, right: right.at };
                let mut again = Vec::new();
                match is_legacy {
                    true => drop(legacy::encode(version, &node, &mut again)),
                    false => node.encode(&mut again),
                }
                record = again;
                hash
            }
        });
        let place = match (is_legacy, hash) {
            (false, _) => NodeId::Current(at),
            (true, hash) => NodeId::Legacy(hash.unwrap_or(Hash([claims.len() as u8; 32]))),
        };
        match place {
            NodeId::Current(at) => nodes.records.insert(at, record),
            NodeId::Legacy(name) => nodes.legacy.insert(name, record),
        };
        claims.push(hash.map(|hash| Claim { at: place, hash }));
        if claims.len() == 64 {
            break;
        }
    }
    (nodes, claims)
}

/// Where a child is, and its hash, if an earlier record is meant. A legacy node can name a legacy one only.
fn resolve(claims: &[Option<Claim>], child: NodeId) -> Claim {
    let meant = match child {
        NodeId::Legacy(Hash([number, zeros @ ..])) if zeros == [0; 31] => {
            claims.get(usize::from(number)).copied().flatten()
        }
        NodeId::Legacy(_) => None,
        NodeId::Current(key) => claims.iter().flatten().find(|claim| claim.at == key).copied(),
    };
    match (meant, child) {
        // Named as a legacy one whatever it is: current ones are not found so.
        (Some(claim), NodeId::Legacy(_)) => Claim { at: NodeId::Legacy(claim.hash), ..claim },
        (Some(claim), NodeId::Current(_)) => claim,
        (None, child) => Claim { at: child, hash: Hash::EMPTY },
    }
}

/// The next record and what follows it: a byte for its length, then its bytes.
fn next(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&length, after) = bytes.split_first()?;
    Some(after.split_at(usize::from(length).min(after.len())))
}
