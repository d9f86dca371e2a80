//! The rootmulti layout of store/v1: `s/latest`, `s/<version>`, and one IAVL tree per store under `s/k:<store>/`.

use super::{Engine, PointReader, Source, SourceError, StoreRoot, commit_info};
use crate::{
    iavl::{Access, NodeKey, NodeReader, ReadError, RootRecord},
    model::{CommitInfo, StoreKey, Version},
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
}

fn store_prefix(store: &StoreKey) -> Vec<u8> {
    format!("s/k:{store}/").into_bytes()
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
            let mut legacy = [b'r'; 9];
            if let Some(slot) = legacy.get_mut(1..) {
                slot.copy_from_slice(&version.0.to_be_bytes());
            }
            return match self.store_get(store, &legacy)? {
                Some(_) => Err(SourceError::Legacy { store: store.clone(), version }),
                None => Ok(None),
            };
        };
        match RootRecord::decode(&value) {
            Some(RootRecord::Empty) => Ok(Some(StoreRoot::Empty)),
            Some(RootRecord::Node) => Ok(Some(StoreRoot::At(at))),
            Some(RootRecord::Reference(target)) => {
                // Pruning renames a root (v, 1) that lives on in later versions to (v, 0) and leaves references as they
                // are, so both are tried, as the Go code does.
                let renamed = NodeKey::new(target.version, 0);
                for candidate in [target, renamed] {
                    if self.store_get(store, &candidate.to_bytes())?.is_some() {
                        return Ok(Some(StoreRoot::At(candidate)));
                    }
                }
                Ok(None)
            }
            None => Err(SourceError::Record {
                record: format!("root of store {store} at version {version}"),
                what: "begins as a reference and is none",
            }),
        }
    }

    fn nodes(&self, store: &StoreKey, access: Access) -> Box<dyn NodeReader + Send + '_> {
        let key = store_prefix(store);
        Box::new(Nodes { prefix: key.len(), key, reader: self.engine.reader(access) })
    }

    fn engine(&self) -> &'static str {
        self.engine.name()
    }

    fn approximate_bytes(&self, store: &StoreKey) -> u64 {
        let start = store_prefix(store);
        let mut end = start.clone();
        // "/" is the last byte of the prefix, so the key after it differs in that byte only.
        if let Some(last) = end.last_mut() {
            *last += 1;
        }
        self.engine.approximate_bytes(&start, &end)
    }
}

struct Nodes<'a> {
    key: Vec<u8>,
    prefix: usize,
    reader: Box<dyn PointReader + Send + 'a>,
}

impl Nodes<'_> {
    fn get(&mut self, key: NodeKey, out: &mut Vec<u8>) -> Result<bool, SourceError> {
        self.key.truncate(self.prefix);
        self.key.extend_from_slice(&key.to_bytes());
        self.reader.read(&self.key, out)
    }
}

impl NodeReader for Nodes<'_> {
    fn read(&mut self, key: NodeKey, out: &mut Vec<u8>) -> Result<bool, ReadError> {
        if self.get(key, out)? {
            return Ok(true);
        }
        // Child pointers are never rewritten either: a pointer to (v, 1) may have to be read at (v, 0).
        if key.nonce == 1 {
            return Ok(self.get(NodeKey::new(key.version, 0), out)?);
        }
        Ok(false)
    }
}
