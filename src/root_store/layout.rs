//! What a root store needs of the layout it stands on, and what is the same for all of them.

use super::{RightOfWay, StoreError};
use crate::{
    iavl::{
        Access, Node, NodeId, NodeKey, NodeReader, ReadError, RootRecord,
        diff::{OldTree, orphans},
        leaf_hash,
        lookup::{KeyRange, Order, OwnedPair},
    },
    model::{Change, CommitInfo, Hash, StoreKey, Version},
    source::{Source, StoreRoot},
};
use std::{borrow::Cow, sync::Arc};

/// Hands out pairs in the order that was asked for; after an error there are no more.
pub type PairIter<'a> = Box<dyn Iterator<Item = Result<OwnedPair, StoreError>> + 'a>;

/// How one store comes to a new version.
#[derive(Debug)]
pub struct GrownStore<'a> {
    /// The store.
    pub store: StoreKey,
    /// The records of the version, ascending; the first is the root record.
    pub records: Vec<(NodeKey, Vec<u8>)>,
    /// What was applied, in that order.
    pub changes: Cow<'a, [Change]>,
}

/// A version that is to be written.
#[derive(Debug)]
pub struct NewVersion<'a> {
    /// Its commit info.
    pub info: &'a CommitInfo,
    /// Its stores, in order of name.
    pub stores: &'a [GrownStore<'a>],
    /// The stores it has no more.
    pub dropped: &'a [StoreKey],
    /// Whether it is the first one since the store was opened: a crash may have left parts of a version that never was.
    pub is_first: bool,
}

/// What goes with a version that is pruned.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// The version.
    pub version: Version,
    /// Node records that are removed (no value) or moved.
    pub records: Vec<(StoreKey, NodeKey, Option<Vec<u8>>)>,
}

/// Where the versions of a chain lie. Writes come from one thread at a time, pruning from one other; reads from anywhere.
pub trait Layout: Send + Sync {
    /// What it is called in messages.
    fn name(&self) -> &'static str;

    /// The newest version.
    ///
    /// # Errors
    /// It could not be read.
    fn latest(&self) -> Result<Option<Version>, StoreError>;

    /// The commit info of a version.
    ///
    /// # Errors
    /// It could not be read, or is damaged.
    fn commit_info(&self, version: Version) -> Result<Option<CommitInfo>, StoreError>;

    /// Where the root of a store's tree is at a version; none if the store has no such version.
    ///
    /// # Errors
    /// It could not be read, or is damaged.
    fn root(&self, store: &StoreKey, version: Version) -> Result<Option<StoreRoot>, StoreError>;

    /// A reader of one store's nodes.
    ///
    /// # Errors
    /// The engine could not be read.
    fn nodes(&self, store: &StoreKey, access: Access) -> Result<Box<dyn NodeReader + Send + '_>, StoreError>;

    /// Whether a store has anything of versions up to this one.
    ///
    /// # Errors
    /// The engine could not be read.
    fn has_records(&self, store: &StoreKey, version: Version) -> Result<bool, StoreError>;

    /// Whether the stores can be laid out side by side; in words why not.
    fn objection(&self, stores: &[StoreKey]) -> Option<String>;

    /// One value. The version is there and has the store.
    ///
    /// # Errors
    /// The engine could not be read.
    fn get(&self, store: &StoreKey, version: Version, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// The pairs of a range. The version is there and has the store.
    ///
    /// # Errors
    /// The engine could not be read.
    fn pairs(
        &self,
        store: &StoreKey,
        version: Version,
        range: KeyRange,
        order: Order,
    ) -> Result<PairIter<'_>, StoreError>;

    /// Writes a version. It is durable when this returns.
    ///
    /// # Errors
    /// It could not be written; whether it is there is told by opening the layout anew.
    fn write(&self, version: &NewVersion<'_>) -> Result<(), StoreError>;

    /// Removes a version that nobody reads, atomically. Durable some time later, in the order of what is written.
    ///
    /// # Errors
    /// It could not be written.
    fn prune(&self, pruned: &Pruned) -> Result<(), StoreError>;

    /// Gives up what only versions before this one need, beside their trees. Repeatable.
    ///
    /// # Errors
    /// It could not be written.
    fn forget(&self, oldest: Version) -> Result<(), StoreError>;

    /// Moves what is in logs into tables, for older releases of an engine.
    ///
    /// # Errors
    /// It could not be written; the data is as it was.
    fn flush(&self) -> Result<(), StoreError>;

    /// The same database as a source of store/v1, which sees new versions as they are committed, and gives them the right of way.
    /// None if it is none.
    fn source(&self, way: &RightOfWay) -> Option<Arc<dyn Source>> {
        let _ = way;
        None
    }
}

/// The commit info of a version that must have one.
pub(super) fn info_of(layout: &dyn Layout, version: Version) -> Result<CommitInfo, StoreError> {
    let missing =
        || StoreError::Damaged(format!("version {version} has no commit info in the {} layout", layout.name()));
    layout.commit_info(version)?.ok_or_else(missing)
}

/// The root of a store that must have the version, compared with its commit info.
pub(super) fn root_of(layout: &dyn Layout, info: &CommitInfo, store: &StoreKey) -> Result<Option<NodeId>, StoreError> {
    agreed(info, store, || layout.root(store, info.version))
}

/// Where the root is that was found, if it is the one that the commit info names.
pub(super) fn agreed(
    info: &CommitInfo,
    store: &StoreKey,
    found: impl FnOnce() -> Result<Option<StoreRoot>, StoreError>,
) -> Result<Option<NodeId>, StoreError> {
    let version = info.version;
    let recorded = info.store(store).ok_or_else(|| StoreError::NoStore { store: store.clone(), version })?.root;
    let (at, found) = match found()? {
        Some(StoreRoot::Node { at, hash }) => (Some(at), Some(hash)),
        Some(StoreRoot::Empty) => (None, Some(Hash::EMPTY)),
        None => (None, None),
    };
    if found == recorded && found.is_some() {
        return Ok(at);
    }
    let text = |hash: Option<Hash>| hash.map_or("none".to_owned(), |hash| hash.to_string());
    Err(StoreError::Damaged(format!(
        "store {store} at version {version}: its root is {}, and its commit info says {}",
        text(found),
        text(recorded)
    )))
}

/// The root that a tree's records name for a version. The reader is one of nodes.
pub(super) fn recorded_root(
    reader: &mut dyn NodeReader,
    version: Version,
) -> Result<Result<Option<StoreRoot>, &'static str>, ReadError> {
    let (mut at, mut record) = (NodeKey::root_of(version), Vec::new());
    if !reader.read(at, &mut record)? {
        return Ok(Ok(None));
    }
    match RootRecord::decode(&record) {
        None => return Ok(Err("begins as a reference and is none")),
        Some(RootRecord::Empty) => return Ok(Ok(Some(StoreRoot::Empty))),
        Some(RootRecord::Node) => {}
        Some(RootRecord::Reference(to)) => {
            at = to;
            record.clear();
            if !reader.read(at, &mut record)? {
                return Ok(Ok(None));
            }
        }
    }
    let hash = match Node::decode(&record) {
        Ok(Node::Leaf { key, value }) => leaf_hash(at.version, key, value),
        Ok(Node::Inner { hash, .. }) => hash,
        Err(_) => return Ok(Err("is no node record")),
    };
    Ok(Ok(Some(StoreRoot::Node { at: at.into(), hash })))
}

/// What goes with a version when the one after it stays: the nodes no later version has, its root records, its commit info. A
/// root that lives on in later trees moves to nonce 0, as in IAVL, so that the version is not found by its root any more; unlike
/// IAVL, which does so only where the next version is the same, wherever it lives on: so no root record is left of a version
/// that is gone.
pub(super) fn pruned(layout: &dyn Layout, version: Version) -> Result<Pruned, StoreError> {
    let (info, next) = (info_of(layout, version)?, info_of(layout, version.next())?);
    let mut pruned = Pruned { version, records: Vec::new() };
    for store in info.stores.iter().filter(|store| store.root.is_some()).map(|store| &store.name) {
        let mut remove = |at: NodeKey| pruned.records.push((store.clone(), at, None));
        let own = NodeKey::root_of(version);
        let mut moves = false;
        if let Some(root) = root_of(layout, &info, store)? {
            let new = match next.store(store) {
                Some(_) => root_of(layout, &next, store)?,
                None => None,
            };
            let mut nodes = layout.nodes(store, Access::Points)?;
            let mut is_legacy = false;
            moves = root == own;
            orphans(&mut nodes, OldTree { root, version }, new, &mut |at| match at {
                NodeId::Legacy(_) => is_legacy = true,
                NodeId::Current(at) if at.nonce > 1 => remove(at),
                NodeId::Current(at) => {
                    // It may have been moved. No retained version has its root there, since none is as old.
                    remove(NodeKey::new(at.version, 0));
                    remove(NodeKey::root_of(at.version));
                    moves &= at != own;
                }
            })
            .map_err(|why| StoreError::Nodes { store: store.clone(), version, why: Box::new(why) })?;
            if is_legacy {
                return Err(StoreError::Legacy { store: store.clone() });
            }
        }
        remove(own);
        if next.store(store).is_none() {
            // store/v1 says at the version that dropped a store that its tree is empty.
            remove(NodeKey::root_of(version.next()));
        }
        if moves {
            let mut record = Vec::new();
            let read = layout.nodes(store, Access::Points)?.read(own, &mut record);
            let read =
                read.map_err(|why| StoreError::Nodes { store: store.clone(), version, why: Box::new(why.into()) })?;
            if read {
                pruned.records.push((store.clone(), NodeKey::new(version, 0), Some(record)));
            }
        }
    }
    Ok(pruned)
}

/// The oldest version from which on all are there. Versions are pruned from below, so it is searched for by halves; what pruning
/// left behind of a version may look like one, so the version found is held against the next.
pub(super) fn oldest(layout: &dyn Layout, latest: Version) -> Result<Version, StoreError> {
    let (mut there, mut gone, mut step) = (latest, Version(0), 1u64);
    // Down in growing steps first: of a chain that keeps few versions most are gone.
    while there.0 > 1 {
        let probe = Version(there.0.saturating_sub(step).max(1));
        if !is_there(layout, probe)? {
            gone = probe;
            break;
        }
        (there, step) = (probe, step.saturating_mul(2));
    }
    while there.0 - gone.0 > 1 {
        let probe = Version(gone.0 + (there.0 - gone.0) / 2);
        *(if is_there(layout, probe)? { &mut there } else { &mut gone }) = probe;
    }
    while there < latest {
        match pruned(layout, there) {
            Ok(_) | Err(StoreError::Legacy { .. }) => break,
            Err(StoreError::Nodes { .. } | StoreError::Damaged(_)) => there = there.next(),
            Err(error) => return Err(error),
        }
    }
    Ok(there)
}

/// Whether a version has its commit info and all roots it names.
fn is_there(layout: &dyn Layout, version: Version) -> Result<bool, StoreError> {
    let Some(info) = layout.commit_info(version)? else { return Ok(false) };
    for store in info.stores.iter().filter(|store| store.root.is_some()) {
        match root_of(layout, &info, &store.name) {
            Ok(_) => {}
            Err(StoreError::Damaged(_)) => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}
