//! Records of legacy nodes, as IAVL up to 0.20 wrote them.
//!
//! Leaf = zz height 0 ‖ zz size 1 ‖ zz version ‖ bytes key ‖ bytes value; inner = zz height ‖ zz size ‖ zz version ‖ bytes
//! key ‖ bytes left hash ‖ bytes right hash (cosmos/iavl v0.19 `node.go`). The node's own hash is only in its key, its
//! version only in its record; hashes are taken as those of current nodes.

use super::{
    Node, NodeError, NodeId, node,
    varint::{Fields, put_bytes, put_zz},
};
use crate::model::{Hash, Version};

/// Decodes the record of a legacy node, which is kept under `hash`: an inner node comes out with that hash. All of it must be
/// consumed.
///
/// # Errors
/// What is wrong with the bytes.
pub fn decode(hash: Hash, bytes: &[u8]) -> Result<(Version, Node<'_>), NodeError> {
    let mut fields = Fields::new(bytes);
    let (height, size) = node::height_and_size(&mut fields)?;
    let version = fields.zz().ok_or(NodeError("version is missing"))?;
    let version = Version(u64::try_from(version).map_err(|_| NodeError("version is negative"))?);
    let key = fields.bytes().ok_or(NodeError("key is cut short"))?;
    let node = if height == 0 {
        Node::Leaf { key, value: fields.bytes().ok_or(NodeError("value is cut short"))? }
    } else {
        let mut child = || -> Result<NodeId, NodeError> {
            let hash = fields.bytes().ok_or(NodeError("the hash of a child is cut short"))?;
            Ok(NodeId::Legacy(Hash(hash.try_into().map_err(|_| NodeError("the hash of a child is not 32 bytes"))?)))
        };
        Node::Inner { height, size, key, hash, left: child()?, right: child()? }
    };
    if fields.rest().is_empty() { Ok((version, node)) } else { Err(NodeError("bytes left over after the record")) }
}

/// Appends the record of a legacy node; none if it is an inner node with a child that is not legacy, which cannot be.
pub fn encode(version: Version, node: &Node<'_>, out: &mut Vec<u8>) -> Option<()> {
    match *node {
        Node::Leaf { key, value } => {
            put_zz(out, 0);
            put_zz(out, 1);
            put_zz(out, version.0 as i64);
            put_bytes(out, key);
            put_bytes(out, value);
        }
        Node::Inner { height, size, key, left: NodeId::Legacy(left), right: NodeId::Legacy(right), .. } => {
            put_zz(out, i64::from(height));
            put_zz(out, size as i64);
            put_zz(out, version.0 as i64);
            put_bytes(out, key);
            put_bytes(out, &left.0);
            put_bytes(out, &right.0);
        }
        Node::Inner { .. } => return None,
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::iavl::{NodeKey, inner_hash, leaf_hash};

    fn unhex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
    }

    /// Every record of the vectors, its key and what Go decoded from it.
    fn records() -> Vec<(Vec<u8>, Vec<u8>, serde_json::Value)> {
        let v0 = include_str!("../../tests/vectors/iavl_v0_legacy.json");
        let mixed = include_str!("../../tests/vectors/iavl_mixed.json");
        let mut records = Vec::new();
        for vectors in [v0, mixed] {
            let vectors: serde_json::Value = serde_json::from_str(vectors).unwrap();
            for record in vectors.as_array().unwrap().iter().filter_map(|step| step["Raw"].as_array()).flatten() {
                let bytes = |field: &str| unhex(record[field].as_str().unwrap());
                records.push((bytes("K"), bytes("V"), record["Decoded"].clone()));
            }
        }
        records
    }

    fn legacy_records() -> Vec<(Hash, Vec<u8>, serde_json::Value)> {
        let name = |key: &[u8]| key.strip_prefix(b"n").and_then(|hash| hash.try_into().ok()).map(Hash);
        records().into_iter().filter_map(|(key, record, decoded)| Some((name(&key)?, record, decoded))).collect()
    }

    #[test]
    fn records_that_go_wrote_decode_hash_to_their_names_and_encode_to_the_same_bytes() {
        let (mut leaves, mut inner) = (0, 0);
        for (name, record, decoded) in legacy_records() {
            let (version, node) = decode(name, &record).unwrap();
            assert_eq!(version.0, decoded["version"].as_u64().unwrap());
            let text = |field: &str| unhex(decoded[field].as_str().unwrap());
            match node {
                Node::Leaf { key, value } => {
                    assert_eq!((key, value), (&*text("key"), &*text("value")));
                    assert_eq!(leaf_hash(version, key, value), name);
                    leaves += 1;
                }
                Node::Inner { height, size, key, hash, left, right } => {
                    let child = |field: &str| Hash(text(field).try_into().unwrap());
                    let (left_hash, right_hash) = (child("left_hash"), child("right_hash"));
                    assert_eq!((left, right), (NodeId::Legacy(left_hash), NodeId::Legacy(right_hash)));
                    assert_eq!(
                        (u64::from(height), size),
                        (decoded["height"].as_u64().unwrap(), decoded["size"].as_u64().unwrap())
                    );
                    assert_eq!((key, hash), (&*text("key"), name));
                    assert_eq!(inner_hash(height, size, version, &left_hash, &right_hash), name);
                    inner += 1;
                }
            }
            let mut again = Vec::new();
            encode(version, &node, &mut again).unwrap();
            assert_eq!(again, record);
        }
        assert!(leaves > 40 && inner > 40, "{leaves} {inner}");
    }

    #[test]
    fn current_records_over_legacy_ones_name_them_by_their_hashes_and_encode_to_the_same_bytes() {
        let legacy: std::collections::BTreeSet<Hash> = legacy_records().into_iter().map(|(name, ..)| name).collect();
        let mut modes = [0; 4];
        for (key, record, decoded) in records() {
            if NodeKey::from_bytes(&key).is_none() || decoded["size"].is_null() {
                continue; // another kind of record, or an empty or reference root
            }
            let node = Node::decode(&record).unwrap();
            if let Node::Inner { left, right, .. } = node {
                let mode = [left, right].map(|child| match child {
                    NodeId::Legacy(name) => usize::from(legacy.contains(&name)),
                    NodeId::Current(_) => 0,
                });
                modes[mode[0] | mode[1] << 1] += 1;
            }
            let mut again = Vec::new();
            node.encode(&mut again);
            assert_eq!(again, record);
        }
        assert!(modes[1..].iter().filter(|mode| **mode > 0).count() >= 2, "{modes:?}");
    }

    #[test]
    fn a_record_cut_anywhere_or_with_a_byte_too_many_is_refused() {
        for (name, mut record, _) in legacy_records() {
            for length in 0..record.len() {
                assert!(decode(name, &record[..length]).is_err(), "cut at {length}: {record:02x?}");
            }
            record.push(0);
            assert!(decode(name, &record).is_err(), "{record:02x?}");
        }
    }

    #[test]
    fn an_inner_node_with_a_current_child_is_not_written_as_a_legacy_one() {
        let (current, legacy) = (NodeId::Current(NodeKey::new(Version(1), 2)), NodeId::Legacy(Hash([1; 32])));
        for (left, right) in [(current, legacy), (legacy, current), (current, current)] {
            let node = Node::Inner { height: 1, size: 2, key: b"b", hash: Hash::EMPTY, left, right };
            let mut record = Vec::new();
            assert_eq!(encode(Version(1), &node, &mut record), None);
            assert!(record.is_empty(), "nothing is left of the attempt");
        }
    }

    #[test]
    fn numbers_no_node_has_are_refused() {
        let hash = [7; 32];
        let made = |height: i64, size: i64, version: i64, children: &[&[u8]]| {
            let mut record = Vec::new();
            [height, size, version].into_iter().for_each(|number| put_zz(&mut record, number));
            put_bytes(&mut record, b"key");
            children.iter().for_each(|child| put_bytes(&mut record, child));
            record
        };
        let refused = |record: &[u8]| decode(Hash(hash), record).expect_err("refused").0;
        decode(Hash(hash), &made(1, 2, 3, &[&hash, &hash])).unwrap();
        decode(Hash(hash), &made(127, 2, 3, &[&hash, &hash])).unwrap();
        decode(Hash(hash), &made(0, 1, 3, &[b"value"])).unwrap();
        assert!(refused(&made(128, 2, 3, &[&hash, &hash])).contains("height"));
        assert!(refused(&made(-1, 2, 3, &[&hash, &hash])).contains("height"));
        assert!(refused(&made(1, -2, 3, &[&hash, &hash])).contains("size"));
        assert!(refused(&made(1, 2, -3, &[&hash, &hash])).contains("version"));
        assert!(refused(&made(0, 2, 3, &[b"value"])).contains("size is not 1"));
        assert!(refused(&made(1, 2, 3, &[&hash[..31], &hash])).contains("32 bytes"));
        assert!(refused(&made(1, 2, 3, &[&hash, b""])).contains("32 bytes"));
        assert!(refused(&made(1, 2, 3, &[&hash])).contains("cut short"));
    }
}
