//! The trees of a snapshot, built from the leaves up as its nodes come: what the SDK's importer does with a stack, but
//! strict, and with every hash.
//!
//! Owns the rules a stream must keep and the hashes of its nodes. Hands each node's record to a [`Sink`], numbered by its
//! post-order ordinal as storeshift numbers SC, and leaves a [`Tally`]: roots, and how much there is. Nothing is kept but
//! one subtree for each level of the tree.

use super::item::{Item, NodeItem};
use crate::{
    iavl::{
        Node, NodeId, NodeKey, inner_hash, leaf_hash,
        numbering::{MAX_LEAVES, left_ordinal, node_key, right_ordinal},
    },
    model::{CommitInfo, Hash, StoreInfo, StoreKey, Version},
};

/// Longest key. The SDK allows 65 535 bytes.
const MAX_KEY: usize = 1 << 20;
/// Most stores and extensions: far more than any chain has, and few enough to be kept in memory.
const MAX_NAMES: usize = 10_000;
/// Most subtrees that wait for a parent: one for each level, and the one that was completed last.
const MAX_WAITING: usize = 128;

/// Takes the records as they are made.
pub trait Sink {
    /// Why it could not.
    type Error;

    /// The records that follow are of this store.
    ///
    /// # Errors
    /// It could not be begun.
    fn store(&mut self, name: &StoreKey) -> Result<(), Self::Error>;

    /// The next node in post-order: the version in its node key, and its record.
    ///
    /// # Errors
    /// It could not be taken.
    fn record(&mut self, version: Version, record: &[u8]) -> Result<(), Self::Error>;
}

/// Takes records nowhere: for a look at what there is.
pub struct Nowhere;

impl Sink for Nowhere {
    type Error = std::convert::Infallible;

    fn store(&mut self, _: &StoreKey) -> Result<(), Self::Error> {
        Ok(())
    }

    fn record(&mut self, _: Version, _: &[u8]) -> Result<(), Self::Error> {
        Ok(())
    }
}

/// What a snapshot holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// The stores in the order of the stream.
    pub stores: Vec<StoreTally>,
    /// What is in the snapshot and in no tree, in words.
    pub notes: Vec<String>,
}

/// What a snapshot holds of one store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreTally {
    /// The store.
    pub name: StoreKey,
    /// Its root's hash.
    pub hash: Hash,
    /// Where its root is; none if it is empty.
    pub root: Option<NodeKey>,
    /// Its pairs.
    pub leaves: u64,
    /// Bytes of their keys and values.
    pub pair_bytes: u64,
    /// Bytes of its nodes' records.
    pub record_bytes: u64,
}

impl Tally {
    /// The commit info of the version; the block's time is not in a snapshot.
    pub fn commit_info(&self, version: Version) -> CommitInfo {
        let info = |store: &StoreTally| StoreInfo { name: store.name.clone(), version, root: Some(store.hash) };
        let mut stores: Vec<StoreInfo> = self.stores.iter().map(info).collect();
        stores.sort_by(|a, b| a.name.cmp(&b.name));
        CommitInfo { version, stores, timestamp: None }
    }
}

/// Why items are not those of trees.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError<E> {
    /// A rule is broken.
    #[error("{0}")]
    Broken(String),
    /// The sink failed.
    #[error("{0}")]
    Sink(E),
}

/// A subtree that waits for its parent.
struct Subtree {
    hash: Hash,
    version: Version,
    height: u8,
    size: u64,
    /// The smallest key in it.
    smallest: Vec<u8>,
}

/// Takes items one by one.
pub struct Rebuild<S> {
    height: Version,
    sink: S,
    tally: Tally,
    waiting: Vec<Subtree>,
    /// The last leaf's key.
    last: Option<Vec<u8>>,
    nodes: u64,
    record: Vec<u8>,
    extension: Option<Extension>,
}

struct Extension {
    name: String,
    format: u32,
    payloads: u64,
    bytes: u64,
}

impl<S: Sink> Rebuild<S> {
    /// The trees of a snapshot of this version.
    pub fn new(height: Version, sink: S) -> Rebuild<S> {
        Rebuild {
            height,
            sink,
            tally: Tally::default(),
            waiting: Vec::new(),
            last: None,
            nodes: 0,
            record: Vec::new(),
            extension: None,
        }
    }

    /// Takes the next item.
    ///
    /// # Errors
    /// It cannot follow what was before, or the sink failed.
    pub fn take(&mut self, item: &[u8]) -> Result<(), RebuildError<S::Error>> {
        let item = Item::decode(item).map_err(|what| self.broken(what))?;
        match item {
            Item::Store { name } => self.begin(name),
            Item::Node(node) if self.extension.is_none() => {
                let taken = if node.height == 0 { self.leaf(node) } else { self.inner(node) };
                let version = taken.map_err(|what| self.broken(what))?;
                if let Some(store) = self.tally.stores.last_mut() {
                    store.record_bytes += self.record.len() as u64;
                }
                self.nodes += 1;
                self.sink.record(version, &self.record).map_err(RebuildError::Sink)
            }
            Item::Node(_) => Err(self.broken("a node comes after the extensions")),
            Item::Extension { name, format } => {
                self.end()?;
                if self.tally.notes.len() >= MAX_NAMES {
                    return Err(self.broken("there are more than 10000 extensions"));
                }
                self.extension = Some(Extension { name: name.to_owned(), format, payloads: 0, bytes: 0 });
                Ok(())
            }
            Item::Payload { bytes } => {
                let Some(extension) = &mut self.extension else {
                    return Err(self.broken("a payload comes without an extension"));
                };
                extension.payloads += 1;
                extension.bytes += bytes as u64;
                Ok(())
            }
        }
    }

    /// Ends the snapshot.
    ///
    /// # Errors
    /// The last tree is not whole.
    pub fn finish(mut self) -> Result<(Tally, S), RebuildError<S::Error>> {
        self.end()?;
        Ok((self.tally, self.sink))
    }

    fn begin(&mut self, name: &str) -> Result<(), RebuildError<S::Error>> {
        if self.extension.is_some() {
            return Err(self.broken("a store comes after the extensions"));
        }
        self.end()?;
        let name = StoreKey::from(name);
        if self.tally.stores.len() >= MAX_NAMES {
            return Err(self.broken("there are more than 10000 stores"));
        }
        if self.tally.stores.iter().any(|store| store.name == name) {
            return Err(RebuildError::Broken(format!("store {name:?} is there twice")));
        }
        self.last = None;
        self.nodes = 0;
        self.sink.store(&name).map_err(RebuildError::Sink)?;
        let empty = StoreTally { name, hash: Hash::EMPTY, root: None, leaves: 0, pair_bytes: 0, record_bytes: 0 };
        self.tally.stores.push(empty);
        Ok(())
    }

    /// Ends the store or the extension that is being read.
    fn end(&mut self) -> Result<(), RebuildError<S::Error>> {
        if let Some(Extension { name, format, payloads, bytes }) = self.extension.take() {
            self.tally.notes.push(format!(
                "extension {name:?} (format {format}, {payloads} payloads, {bytes} bytes) is left out: it lies beside the \
                 stores, and no app hash covers it"
            ));
        }
        if self.waiting.len() > 1 {
            let what = format!("the store ends with {} subtrees that have no parent", self.waiting.len());
            return Err(self.broken(&what));
        }
        let root = self.waiting.pop();
        if let (Some(root), Some(store)) = (root, self.tally.stores.last_mut()) {
            store.hash = root.hash;
            store.root = node_key(root.version, self.nodes.saturating_sub(1));
            store.leaves = root.size;
        }
        Ok(())
    }

    /// Leaves the record in `self.record`.
    fn leaf(&mut self, node: NodeItem<'_>) -> Result<Version, &'static str> {
        self.check(node)?;
        if self.last.as_deref().is_some_and(|last| last >= node.key) {
            return Err("leaf keys do not ascend");
        }
        let hash = leaf_hash(node.version, node.key, node.value);
        let last = self.last.get_or_insert_default();
        last.clear();
        last.extend_from_slice(node.key);
        if let Some(store) = self.tally.stores.last_mut() {
            store.pair_bytes += (node.key.len() + node.value.len()) as u64;
        }
        self.record.clear();
        Node::Leaf { key: node.key, value: node.value }.encode(&mut self.record);
        self.push(Subtree { hash, version: node.version, height: 0, size: 1, smallest: node.key.to_vec() })
    }

    fn inner(&mut self, node: NodeItem<'_>) -> Result<Version, &'static str> {
        self.check(node)?;
        if !node.value.is_empty() {
            return Err("an inner node has a value");
        }
        let (Some(right), Some(left)) = (self.waiting.pop(), self.waiting.pop()) else {
            return Err("an inner node comes before its children");
        };
        if left.height.max(right.height).checked_add(1) != Some(node.height) {
            return Err("an inner node's height is not one above its higher child's");
        }
        if left.version > node.version || right.version > node.version {
            return Err("a child is newer than its parent");
        }
        if right.smallest != node.key {
            return Err("an inner node's key is not the smallest key of its right subtree");
        }
        let size = left.size + right.size;
        if size > MAX_LEAVES {
            return Err("a store has more than 2^31 pairs");
        }
        let hash = inner_hash(node.height, size, node.version, &left.hash, &right.hash);
        let too_many = "a store has more nodes than can be numbered";
        let child = |version, ordinal| Some(NodeId::Current(node_key(version, ordinal)?));
        let at = self.nodes;
        let left_child = child(left.version, left_ordinal(at, right.size)).ok_or(too_many)?;
        let right_child = child(right.version, right_ordinal(at)).ok_or(too_many)?;
        node_key(node.version, at).ok_or(too_many)?;
        self.record.clear();
        Node::Inner { height: node.height, size, key: node.key, hash, left: left_child, right: right_child }
            .encode(&mut self.record);
        self.push(Subtree { hash, version: node.version, height: node.height, size, smallest: left.smallest })
    }

    fn check(&self, node: NodeItem<'_>) -> Result<(), &'static str> {
        if self.tally.stores.is_empty() {
            return Err("a node comes before any store");
        }
        if node.version > self.height {
            return Err("a node is newer than the snapshot");
        }
        if node.key.len() > MAX_KEY {
            return Err("a key is longer than 1 MiB");
        }
        Ok(())
    }

    fn push(&mut self, subtree: Subtree) -> Result<Version, &'static str> {
        if self.waiting.len() >= MAX_WAITING {
            return Err("more subtrees wait for a parent than any tree has levels");
        }
        let version = subtree.version;
        self.waiting.push(subtree);
        Ok(version)
    }

    fn broken(&self, what: &str) -> RebuildError<S::Error> {
        RebuildError::Broken(match (&self.extension, self.tally.stores.last()) {
            (None, Some(store)) => format!("node {} of store {:?}: {what}", self.nodes, store.name),
            _ => what.to_owned(),
        })
    }
}
