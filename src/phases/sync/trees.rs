//! SC: the trees grow from version to version in memory; what that makes is compared with store/v1's roots at once and
//! handed to the engine by the group: as batches, or as a sorted run where it is much. A version's records lie above all
//! older ones of their store, so a run of them finds its final place when the engine takes it over.

use super::super::{PhaseError, Work, conclude::root_key};
use crate::{
    iavl::{Access, Child, Claim, Node, NodeKey, NodeReader, ProveError, ProvenNode, ReadError, prove, tree::Tree},
    model::{Change, CommitInfo, Hash, StoreInfo, StoreKey, Verdict, Version},
    source::{Feed, StoreChange, VersionChanges},
    target::{Commitment, RecordRun},
};
use std::collections::BTreeMap;

/// About what a node of a tree takes in memory.
const NODE_BYTES: usize = 224;
/// So much of one store is worth a sorted run of its own. Smaller ones would stay where they are as files of their own, too
/// many to be kept open; batches the engine merges.
const RUN_BYTES: usize = 16 << 20;

/// New node records of one store, ascending.
type Records = Vec<(NodeKey, Vec<u8>)>;

/// SC with the trees that are in work.
pub(super) struct Trees<'a> {
    sc: &'a dyn Commitment,
    /// The version the trees stand at.
    latest: Version,
    trees: BTreeMap<StoreKey, Tree>,
    /// Nodes of all trees kept in memory from one version to the next.
    resident: usize,
    /// What the engine does not have yet, ascending.
    waiting: BTreeMap<StoreKey, RecordRun>,
    /// Commit infos of the versions it does not have yet, ascending.
    infos: Vec<CommitInfo>,
    /// Bytes that may wait.
    room: usize,
}

impl<'a> Trees<'a> {
    pub fn new(work: Work<'_>, sc: &'a dyn Commitment) -> Result<Trees<'a>, PhaseError> {
        let Some(latest) = sc.latest()? else { return Err(PhaseError::Bug("syncing a target that is not restored")) };
        // The memory that runs have while restoring serves the trees now.
        let resident = work.tuning.gulps() / 5 / NODE_BYTES;
        let room = work.tuning.gulps() / 24;
        let (trees, waiting) = (BTreeMap::new(), BTreeMap::new());
        Ok(Trees { sc, latest, trees, resident, waiting, infos: Vec::new(), room })
    }

    /// The version the trees stand at.
    pub fn latest(&self) -> Version {
        self.latest
    }

    /// Whether so much waits that the group should end.
    pub fn is_full(&self) -> bool {
        self.waiting.values().map(RecordRun::size).sum::<usize>() >= self.room
    }

    /// Applies one version. Its records wait for [`Trees::make_durable`], or go ahead of their commit info if they are too
    /// many; no version leads to them until it follows.
    pub fn apply(&mut self, work: Work<'_>, feed: &dyn Feed, version: &VersionChanges) -> Result<(), PhaseError> {
        let at = version.info.version;
        let mut stores = Vec::with_capacity(version.stores.len());
        for update in &version.stores {
            let store = &update.store;
            let (root, records) = match &update.change {
                StoreChange::Changes(changes) => self.commit(store, at, changes)?,
                StoreChange::Begins(None) => {
                    self.trees.insert(store.clone(), Tree::load(None, at));
                    (Hash::EMPTY, vec![(NodeKey::root_of(at), Vec::new())])
                }
                StoreChange::Begins(Some(claim)) => {
                    copy_tree(work, self.sc, feed, store, *claim, at)?;
                    self.trees.insert(store.clone(), Tree::load(Some(claim.key), at));
                    (claim.hash, Vec::new())
                }
            };
            if root != update.root {
                return Err(PhaseError::Verdict(Verdict::Root {
                    store: store.clone(),
                    version: at,
                    expected: update.root,
                    found: root,
                }));
            }
            // The root is right, so the records are.
            let waiting = self.waiting.entry(store.clone()).or_default();
            for (key, record) in records {
                let taken = waiting.push(|out| {
                    out.extend_from_slice(&record);
                    Some(key)
                });
                if taken.is_none() {
                    return Err(PhaseError::Bug("one version of a store is larger than a run can be"));
                }
            }
            if self.is_full() {
                self.write_records()?;
            }
            self.forget();
            stores.push(StoreInfo { name: store.clone(), version: at, root: Some(root) });
        }
        let info = CommitInfo { version: at, stores, timestamp: version.info.timestamp };
        let (expected, found) = (version.info.app_hash(), info.app_hash());
        if expected != found {
            return Err(PhaseError::Verdict(Verdict::AppHash { version: at, expected, found }));
        }
        self.infos.push(info);
        self.latest = at;
        for dropped in &version.dropped {
            self.trees.remove(dropped);
        }
        Ok(())
    }

    /// Hands everything to the engine, the commit infos last and in order, and makes it durable.
    pub fn make_durable(&mut self) -> Result<(), PhaseError> {
        self.write_records()?;
        // One sync makes every version of the group durable: the engine's log is a prefix of what was written.
        for info in std::mem::take(&mut self.infos) {
            self.sc.write_info(&info)?;
        }
        Ok(self.sc.sync()?)
    }

    fn write_records(&mut self) -> Result<(), PhaseError> {
        for (store, mut run) in std::mem::take(&mut self.waiting) {
            let is_small = run.size() < RUN_BYTES;
            let mut stream = run.sorted();
            if !is_small {
                self.sc.load(&store, &mut stream, true)?()?;
                continue;
            }
            self.sc.write_records(&store, &mut stream)?;
        }
        Ok(())
    }

    /// Drops nodes from memory if there are too many: what waits or was written can be read again. The largest trees give
    /// way, and so much that this is not done for every version.
    fn forget(&mut self) {
        let total: usize = self.trees.values().map(Tree::resident).sum();
        if total <= self.resident {
            return;
        }
        let mut sizes: Vec<usize> = self.trees.values().map(Tree::resident).collect();
        sizes.sort_unstable();
        let (mut left, mut trees) = (self.resident / 8 * 7, sizes.len());
        let mut most = 0;
        for size in sizes {
            most = left / trees.max(1);
            if size > most {
                break;
            }
            (left, trees) = (left - size, trees - 1);
        }
        self.trees.values_mut().for_each(|tree| tree.forget(most));
    }

    fn commit(&mut self, store: &StoreKey, at: Version, changes: &[Change]) -> Result<(Hash, Records), PhaseError> {
        let tree = match self.trees.get_mut(store) {
            Some(tree) => tree,
            None => {
                let root = root_key(self.sc, store, self.latest)?.ok_or_else(|| {
                    let what = format!("there is no root record of version {}", self.latest);
                    PhaseError::Verdict(Verdict::Store { store: store.clone(), what })
                })?;
                self.trees.entry(store.clone()).or_insert(Tree::load(root, self.latest))
            }
        };
        let mut nodes = Nodes { waiting: self.waiting.get(store), engine: self.sc.nodes(store, Access::Points)? };
        let committed = tree.apply(&mut nodes, changes).and_then(|()| tree.commit(&mut nodes, at));
        match committed {
            Ok(committed) => Ok((committed.hash, committed.records)),
            Err(why) => {
                // A tree that failed half way is of no use; the next attempt loads it anew.
                self.trees.remove(store);
                Err(PhaseError::Tree { store: store.clone(), version: at, why: Box::new(why) })
            }
        }
    }
}

/// Reads what waits, and the rest from the engine.
struct Nodes<'a> {
    waiting: Option<&'a RecordRun>,
    engine: Box<dyn NodeReader + Send + 'a>,
}

impl NodeReader for Nodes<'_> {
    fn read(&mut self, key: NodeKey, out: &mut Vec<u8>) -> Result<bool, ReadError> {
        if let Some(record) = self.waiting.and_then(|waiting| waiting.get(key)) {
            out.extend_from_slice(record);
            return Ok(true);
        }
        self.engine.read(key, out)
    }
}

/// Copies the tree of a store that begins at a version, node by node and under the same node keys. The order in which an
/// upgrade wrote the keys, on which a replay would depend, is not needed for that.
fn copy_tree(
    work: Work<'_>,
    sc: &dyn Commitment,
    feed: &dyn Feed,
    store: &StoreKey,
    claim: Claim,
    at: Version,
) -> Result<(), PhaseError> {
    let mut records = RecordRun::default();
    let mut failed = None;
    let mut take = |node: &ProvenNode<'_>| -> Result<(), PhaseError> {
        if node.at.version != at {
            return Err(PhaseError::Refused(format!(
                "store {store} begins at version {at} with node {} of an older version: a store of that name was dropped \
                 before and taken up again, which this release cannot follow. Start from a snapshot at version {at} or later",
                node.at
            )));
        }
        records.push(|out| {
            match node.children {
                None => Node::Leaf { key: node.key, value: node.value },
                Some(children) => Node::Inner {
                    height: node.height,
                    size: node.size,
                    key: node.key,
                    hash: node.hash,
                    left: Child::Current(children.left),
                    right: Child::Current(children.right),
                },
            }
            .encode(out);
            Some(node.at)
        });
        if records.size() >= work.gulp_bytes() / 2 {
            sc.load(store, &mut records.sorted(), true)?()?;
            records.clear();
        }
        Ok(())
    };
    let mut nodes = feed.nodes(store);
    let proof = prove(&mut nodes, claim, work.gulp_bytes() / 4, &mut |node| {
        take(node).map_err(|error| failed = Some(error)).is_ok()
    });
    match (proof, failed) {
        (Err(ProveError::Sink), Some(error)) => return Err(error),
        (Err(why), _) => return Err(PhaseError::unproven(store, at, why)),
        (Ok(_), _) => {}
    }
    if claim.key != NodeKey::root_of(at) {
        return Err(PhaseError::Bug("a store that begins has its root elsewhere than at nonce 1"));
    }
    Ok(sc.load(store, &mut records.sorted(), true)?()?)
}
