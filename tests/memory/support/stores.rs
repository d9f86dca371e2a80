//! store/v1 databases in memory: the checked-in fixtures, read with storeshift's own reader, and small ones made with
//! storeshift's own tree (whose bytes other tests hold to the Go code's).

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};
use storeshift::{
    iavl::{
        NodeKey, NodeMap,
        tree::Tree,
        varint::{put_bytes, put_uv},
    },
    model::{Change, CommitInfo, StoreInfo, StoreKey, Version},
    source::{MemoryEngine, Rootmulti, Source, leveldb, lsm},
};

/// A fixture's pairs.
pub fn fixture(name: &str) -> MemoryEngine {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name).join("application.db");
    let database = leveldb::open(&path, lsm::Options::default()).unwrap();
    let mut pairs = BTreeMap::new();
    let mut iter = database.iter(&[], None);
    while let Some((key, value)) = iter.next().unwrap() {
        pairs.insert(key.to_vec(), value.to_vec());
    }
    MemoryEngine { pairs }
}

pub fn source(engine: MemoryEngine) -> Arc<dyn Source> {
    Arc::new(Rootmulti::new(engine))
}

/// A node that keeps its state in store/v1: give it each block's changes, ascending keys in each store.
#[derive(Default)]
pub struct Chain {
    pub engine: MemoryEngine,
    pub version: Version,
    trees: BTreeMap<StoreKey, (Tree, NodeMap)>,
    as_version_1: BTreeSet<StoreKey>,
}

/// The changes of one block: pairs set, or removed, by store.
pub type Block = Vec<(&'static str, Vec<(Vec<u8>, Option<Vec<u8>>)>)>;

impl Chain {
    /// Adds the stores, empty, that the next block begins with.
    pub fn with_stores(names: &[&'static str]) -> Chain {
        let mut chain = Chain::default();
        for name in names {
            chain.add_store(name);
        }
        chain
    }

    /// A database that is there, which does not go on.
    pub fn holding(engine: MemoryEngine, version: Version) -> Chain {
        Chain { engine, version, ..Chain::default() }
    }

    /// An upgrade: the store is there from the next block on.
    pub fn add_store(&mut self, name: &str) {
        self.trees.insert(StoreKey::from(name), (Tree::load(None, self.version), NodeMap::default()));
    }

    /// An upgrade: the store is gone from the next block on; its nodes stay, as the SDK leaves them.
    pub fn drop_store(&mut self, name: &str) {
        self.trees.remove(&StoreKey::from(name)).unwrap();
    }

    /// Has the first nodes of a store that was just added be of version 1, as IAVL up to 0.20 makes them.
    pub fn begin_as_version_1(&mut self, name: &str) {
        let name = StoreKey::from(name);
        self.trees.get_mut(&name).unwrap().0 = Tree::load(None, Version(0));
        self.as_version_1.insert(name);
    }

    /// Commits a block as a node does, and returns its app hash's commit info.
    pub fn commit(&mut self, block: &Block) -> CommitInfo {
        let version = self.version.next();
        let mut stores = Vec::new();
        for (store, (tree, nodes)) in &mut self.trees {
            let of_store = block.iter().filter(|(name, _)| *name == store.as_str());
            let changes: Vec<Change> = of_store
                .flat_map(|(_, changes)| changes)
                .map(|(key, value)| Change { key: key.clone(), value: value.clone() })
                .collect();
            tree.apply(nodes, &changes).unwrap();
            let begins = self.as_version_1.remove(store);
            let mut committed = tree.commit(nodes, if begins { Version(1) } else { version }).unwrap();
            if begins {
                // The root of this version all the same.
                *tree = Tree::load(committed.root, version);
                let reference = committed.root.map_or(Vec::new(), |root| root.to_bytes().to_vec());
                if committed.root.is_none() {
                    committed.records.clear();
                }
                committed.records.push((NodeKey::root_of(version), reference));
            }
            for (key, record) in committed.records {
                let mut place = format!("s/k:{store}/").into_bytes();
                place.extend_from_slice(&key.to_bytes());
                self.engine.pairs.insert(place, record.clone());
                nodes.records.insert(key, record);
            }
            stores.push(StoreInfo { name: store.clone(), version, root: Some(committed.hash) });
        }
        let info = CommitInfo { version, stores, timestamp: None };
        self.engine.pairs.insert(format!("s/{version}").into_bytes(), encode_commit_info(&info));
        let mut latest = vec![0x08];
        put_uv(&mut latest, version.0);
        self.engine.pairs.insert(b"s/latest".to_vec(), latest);
        self.version = version;
        info
    }
}

/// Protobuf `cosmos.store.v1beta1.CommitInfo`.
pub fn encode_commit_info(info: &CommitInfo) -> Vec<u8> {
    let mut out = vec![0x08];
    put_uv(&mut out, info.version.0);
    for store in &info.stores {
        let mut id = vec![0x08];
        put_uv(&mut id, store.version.0);
        id.push(0x12);
        put_bytes(&mut id, store.root.as_ref().map_or(&[], |root| &root.0));
        let mut message = vec![0x0a];
        put_bytes(&mut message, store.name.as_str().as_bytes());
        message.push(0x12);
        put_bytes(&mut message, &id);
        out.push(0x12);
        put_bytes(&mut out, &message);
    }
    out
}
