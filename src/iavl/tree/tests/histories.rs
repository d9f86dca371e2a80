//! The histories that real Go wrote (`tests/vectors/iavl_histories.json`), and what tests do with node maps.

use crate::{
    iavl::{Claim, Node, NodeKey, NodeMap, RootRecord, leaf_hash, tree::Committed},
    model::{Change, Hash, Version},
};
use std::collections::BTreeMap;

pub(in crate::iavl) struct History {
    pub name: String,
    /// The version and the records it begins with.
    pub base: (Version, NodeMap),
    pub steps: Vec<Step>,
}

pub(in crate::iavl) struct Step {
    pub version: Version,
    pub changes: Vec<Change>,
    pub root: Hash,
    /// All records of the version, for the smaller histories.
    pub records: Option<Vec<(NodeKey, Vec<u8>)>>,
    /// Digest over all records of the version.
    pub digest: Hash,
    /// Digest over the state changes Go extracts.
    pub extracted: Hash,
}

impl Step {
    /// Whether the operations were one pass over the keys, as a chain writes them.
    pub fn is_one_pass(&self) -> bool {
        self.changes.is_sorted_by(|a, b| a.key < b.key)
    }
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

fn record(line: &serde_json::Value) -> (NodeKey, Vec<u8>) {
    let (key, value) = line.as_str().unwrap().split_once('=').unwrap();
    (NodeKey::from_bytes(&[b"s", unhex(key).as_slice()].concat()).unwrap(), unhex(value))
}

fn change(line: &serde_json::Value) -> Change {
    match line.as_str().unwrap().split_once('=') {
        Some((key, value)) => Change { key: unhex(key), value: Some(unhex(value)) },
        None => Change { key: unhex(line.as_str().unwrap()), value: None },
    }
}

pub(in crate::iavl) fn histories() -> Vec<History> {
    let text = include_str!("../../../../tests/vectors/iavl_histories.json");
    let file: serde_json::Value = serde_json::from_str(text).unwrap();
    let list = |value: &serde_json::Value| value.as_array().cloned().unwrap_or_default();
    let hash = |value: &serde_json::Value| value.as_str().unwrap().parse::<Hash>().unwrap();
    let version = |value: &serde_json::Value| Version(value.as_u64().unwrap());
    let histories = list(&file).into_iter().map(|history| {
        let steps: Vec<Step> = list(&history["versions"])
            .into_iter()
            .map(|step| Step {
                version: version(&step["version"]),
                changes: list(&step["ops"]).iter().map(change).collect(),
                root: hash(&step["root"]),
                records: step["records"].as_array().map(|records| records.iter().map(record).collect()),
                digest: hash(&step["digest"]),
                extracted: hash(&step["changes"]),
            })
            .collect();
        let base = match &history["base"] {
            serde_json::Value::Null => (Version(steps[0].version.0 - 1), NodeMap::default()),
            base => (
                version(&base["version"]),
                NodeMap { records: list(&base["records"]).iter().map(record).collect(), ..NodeMap::default() },
            ),
        };
        History { name: history["name"].as_str().unwrap().to_owned(), base, steps }
    });
    histories.collect()
}

/// SHA-256 over parts with their lengths, as the generator makes it.
pub(in crate::iavl) fn digest<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Hash {
    let mut bytes = Vec::new();
    for part in parts {
        bytes.extend_from_slice(&(part.len() as u32).to_le_bytes());
        bytes.extend_from_slice(part);
    }
    Hash::of(&[&bytes])
}

pub(in crate::iavl) fn digest_of_records(records: &[(NodeKey, Vec<u8>)]) -> Hash {
    let keys: Vec<_> = records.iter().map(|(key, _)| key.to_bytes()).collect();
    digest(keys.iter().zip(records).flat_map(|(key, (_, value))| [key.as_slice(), value.as_slice()]))
}

/// Puts a version into a map; no record may be there already.
pub(in crate::iavl) fn put(map: &mut NodeMap, committed: &Committed) {
    for (key, record) in &committed.records {
        assert_eq!(map.records.insert(*key, record.clone()), None, "record {key} is written twice");
    }
}

/// Where the root of a version is, as Go looks it up; `None` for the empty tree.
pub(in crate::iavl) fn root_of(map: &NodeMap, version: Version) -> Option<NodeKey> {
    let Some(value) = map.records.get(&NodeKey::root_of(version)) else {
        assert!(map.records.is_empty(), "version {version} is not there");
        return None;
    };
    match RootRecord::decode(value).unwrap() {
        RootRecord::Empty => None,
        RootRecord::Node => Some(NodeKey::root_of(version)),
        RootRecord::Reference(key) if map.records.contains_key(&key) => Some(key),
        RootRecord::Reference(key) => Some(NodeKey::new(key.version, 0)),
    }
}

/// The root of a version with its hash.
pub(in crate::iavl) fn claim(map: &NodeMap, version: Version) -> Option<Claim> {
    let key = root_of(map, version)?;
    let hash = match Node::decode(&map.records[&key]).unwrap() {
        Node::Leaf { key: leaf, value } => leaf_hash(key.version, leaf, value),
        Node::Inner { hash, .. } => hash,
    };
    Some(Claim { at: key.into(), hash })
}

pub(in crate::iavl) type Contents = BTreeMap<Vec<u8>, Vec<u8>>;

pub(in crate::iavl) fn apply_to_model(model: &mut Contents, changes: &[Change]) {
    for change in changes {
        match &change.value {
            Some(value) => model.insert(change.key.clone(), value.clone()),
            None => model.remove(&change.key),
        };
    }
}
