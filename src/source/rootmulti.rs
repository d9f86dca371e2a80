//! The rootmulti layout of store/v1: `s/latest`, `s/<version>`, and one IAVL tree per store under `s/k:<store>/`.

use super::{Engine, Pair, PointReader, Scan, Source, SourceError, StoreRoot, commit_info};
use crate::{
    iavl::{Access, Node, NodeId, NodeKey, NodeReader, ReadError, RootRecord, leaf_hash},
    model::{CommitInfo, Hash, StoreKey, Version},
};

/// A store/v1 database over some engine.
pub struct Rootmulti<E> {
    engine: E,
}

impl<E: Engine> Rootmulti<E> {
    /// The rootmulti layout in this engine.
    pub fn new(engine: E) -> Rootmulti<E> {
        Rootmulti { engine }
    }

    /// The engine underneath.
    pub fn engine(&self) -> &E {
        &self.engine
    }

    fn store_get(&self, store: &StoreKey, key: &[u8]) -> Result<Option<Vec<u8>>, SourceError> {
        let mut full = store_prefix(store);
        full.extend_from_slice(key);
        self.engine.get(&full)
    }

    /// The root of a version that IAVL up to 0.20 committed: `r` ‖ BE8 version has its hash, or nothing for the empty tree.
    fn legacy_root(&self, store: &StoreKey, version: Version) -> Result<Option<StoreRoot>, SourceError> {
        let mut key = vec![b'r'];
        key.extend_from_slice(&version.0.to_be_bytes());
        let Some(root) = self.store_get(store, &key)? else { return Ok(None) };
        if root.is_empty() {
            return Ok(Some(StoreRoot::Empty));
        }
        let damaged =
            |what| SourceError::Record { record: format!("root of store {store} at version {version}"), what };
        let hash = Hash(root.try_into().map_err(|_| damaged("is a legacy root and has not 32 bytes"))?);
        Ok(Some(StoreRoot::Node { at: NodeId::Legacy(hash), hash }))
    }
}

fn store_prefix(store: &StoreKey) -> Vec<u8> {
    format!("s/k:{store}/").into_bytes()
}

/// From the first key of a store to the first behind it.
fn store_range(store: &StoreKey) -> (Vec<u8>, Vec<u8>) {
    let start = store_prefix(store);
    let mut end = start.clone();
    // "/" is the last byte of the prefix, so the key after it differs in that byte only.
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    (start, end)
}

/// The hash that the record of a node claims for it.
fn claimed_hash(at: NodeKey, record: &[u8]) -> Option<Hash> {
    match Node::decode(record).ok()? {
        Node::Leaf { key, value } => Some(leaf_hash(at.version, key, value)),
        Node::Inner { hash, .. } => Some(hash),
    }
}

/// The key of a legacy node behind its store's prefix: `n` ‖ hash.
fn legacy_key(hash: &Hash) -> [u8; 33] {
    let mut key = [b'n'; 33];
    if let Some((_, slot)) = key.split_first_mut() {
        slot.copy_from_slice(&hash.0);
    }
    key
}

impl<E: Engine> Source for Rootmulti<E> {
    fn latest(&self) -> Result<Version, SourceError> {
        let record = self.engine.get(b"s/latest")?.ok_or(SourceError::NoVersion)?;
        match commit_info::decode_latest(&record) {
            Ok(Version(0)) => Err(SourceError::NoVersion),
            Ok(version) => Ok(version),
            Err(what) => Err(SourceError::Record { record: "s/latest".to_owned(), what }),
        }
    }

    fn commit_info(&self, version: Version) -> Result<Option<CommitInfo>, SourceError> {
        let record = format!("s/{version}");
        let Some(bytes) = self.engine.get(record.as_bytes())? else { return Ok(None) };
        match commit_info::decode(&bytes) {
            Ok(info) if info.version == version => Ok(Some(info)),
            Ok(_) => Err(SourceError::Record { record, what: "is the commit info of another version" }),
            Err(what) => Err(SourceError::Record { record, what }),
        }
    }

    fn root(&self, store: &StoreKey, version: Version) -> Result<Option<StoreRoot>, SourceError> {
        let at = NodeKey::root_of(version);
        let Some(value) = self.store_get(store, &at.to_bytes())? else {
            return self.legacy_root(store, version);
        };
        let record = || format!("root of store {store} at version {version}");
        let found = |at: NodeKey, value: &[u8]| match claimed_hash(at, value) {
            Some(hash) => Ok(Some(StoreRoot::Node { at: at.into(), hash })),
            None => Err(SourceError::Record { record: record(), what: "is no node record" }),
        };
        match RootRecord::decode(&value) {
            Some(RootRecord::Empty) => Ok(Some(StoreRoot::Empty)),
            Some(RootRecord::Node) => found(at, &value),
            Some(RootRecord::Reference(target)) => {
                // Pruning renames a root (v, 1) that lives on in later versions to (v, 0) and leaves references as they
                // are, so both are tried, as the Go code does.
                let renamed = NodeKey::new(target.version, 0);
                for candidate in [target, renamed] {
                    if let Some(value) = self.store_get(store, &candidate.to_bytes())? {
                        return found(candidate, &value);
                    }
                }
                Ok(None)
            }
            None => Err(SourceError::Record { record: record(), what: "begins as a reference and is none" }),
        }
    }

    fn nodes(&self, store: &StoreKey, access: Access) -> Box<dyn NodeReader + Send + '_> {
        let key = store_prefix(store);
        Box::new(Nodes { prefix: key.len(), key, reader: self.engine.reader(access) })
    }

    fn engine(&self) -> &'static str {
        self.engine.name()
    }

    fn records(&self, store: &StoreKey) -> Box<dyn Scan + Send + '_> {
        let (start, end) = store_range(store);
        Box::new(StoreScan { scan: self.engine.scan(&start, &end), prefix: start.len(), key: start })
    }

    fn stores_on_disk(&self) -> Result<Vec<StoreKey>, SourceError> {
        let mut scan = self.engine.scan(b"s/k:", b"s/k;");
        let mut names = Vec::new();
        while let Some((key, _)) = scan.next()? {
            let rest = key.get(4..).unwrap_or_default();
            let name = rest.split(|byte| *byte == b'/').next().unwrap_or_default();
            // The byte after a slash is 0.
            let behind = [b"s/k:", name, b"0"].concat();
            names.push(StoreKey::from(String::from_utf8_lossy(name).into_owned()));
            scan.seek(&behind);
        }
        Ok(names)
    }

    fn recorded_versions(&self, each: &mut dyn FnMut(Version)) -> Result<(), SourceError> {
        let mut scan = self.engine.scan(b"s/0", b"s/:");
        while let Some((key, _)) = scan.next()? {
            let version = key.get(2..).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
            version.into_iter().for_each(|version| each(Version(version)));
        }
        Ok(())
    }

    fn approximate_bytes(&self, store: &StoreKey) -> u64 {
        let (start, end) = store_range(store);
        self.engine.approximate_bytes(&start, &end)
    }
}

struct StoreScan<'a> {
    scan: Box<dyn Scan + Send + 'a>,
    key: Vec<u8>,
    prefix: usize,
}

impl Scan for StoreScan<'_> {
    fn seek(&mut self, key: &[u8]) {
        self.key.truncate(self.prefix);
        self.key.extend_from_slice(key);
        self.scan.seek(&self.key);
    }

    fn next(&mut self) -> Result<Option<Pair<'_>>, SourceError> {
        let pair = self.scan.next()?;
        Ok(pair.map(|(key, value)| (key.get(self.prefix..).unwrap_or_default(), value)))
    }
}

struct Nodes<'a> {
    key: Vec<u8>,
    prefix: usize,
    reader: Box<dyn PointReader + Send + 'a>,
}

impl Nodes<'_> {
    fn get(&mut self, key: &[u8], out: &mut Vec<u8>) -> Result<bool, SourceError> {
        self.key.truncate(self.prefix);
        self.key.extend_from_slice(key);
        self.reader.read(&self.key, out)
    }
}

impl NodeReader for Nodes<'_> {
    fn read(&mut self, key: NodeKey, out: &mut Vec<u8>) -> Result<bool, ReadError> {
        if self.get(&key.to_bytes(), out)? {
            return Ok(true);
        }
        // Child pointers are never rewritten either: a pointer to (v, 1) may have to be read at (v, 0).
        if key.nonce == 1 {
            return Ok(self.get(&NodeKey::new(key.version, 0).to_bytes(), out)?);
        }
        Ok(false)
    }

    fn read_legacy(&mut self, hash: &Hash, out: &mut Vec<u8>) -> Result<bool, ReadError> {
        Ok(self.get(&legacy_key(hash), out)?)
    }
}
