//! Syncing: versions after the snapshot are applied one by one; each store's root is compared with that of store/v1 before
//! any record of it is written, and the app hash before the version is said to exist.

use super::{PhaseError, Work, conclude::root_key};
use crate::{
    iavl::{Access, Child, Claim, Node, NodeKey, ProveError, ProvenNode, prove, tree::Tree},
    model::{Change, CommitInfo, Hash, StoreInfo, StoreKey, Verdict, Version},
    progress::raise,
    source::{Feed, StoreChange, VersionChanges},
    target::{Commitment, RecordRun, Storage, Target},
};
use std::collections::BTreeMap;

/// After this many changes what was applied is synced and recorded, so that one sync serves many small versions.
const GROUP_CHANGES: usize = 20_000;
/// After this many versions too.
const GROUP_VERSIONS: u64 = 256;
/// About what a node of a tree takes in memory.
const NODE_BYTES: usize = 320;

/// Applies the versions after `applied` up to `to` and hands the newest that is durable everywhere to `done`, after
/// every group. An engine that is ahead (a crash left it so) skips what it has.
///
/// # Errors
/// A difference is a [`PhaseError::Verdict`]; nothing of that version is written.
pub fn run(
    work: Work<'_>,
    feed: &dyn Feed,
    target: &Target,
    applied: Version,
    to: Version,
    done: &mut dyn FnMut(Version) -> Result<(), PhaseError>,
) -> Result<(), PhaseError> {
    let mut sync = Sync::new(work, feed, target)?;
    let mut recorded = applied;
    let mut version = applied;
    let mut changes = 0;
    while version < to && !work.stop.is_asked() {
        version = version.next();
        changes += sync.apply(&feed.changes(version)?)?;
        raise(&work.progress.versions, 1);
        if changes >= GROUP_CHANGES || version.0 - recorded.0 >= GROUP_VERSIONS {
            sync.make_durable()?;
            done(version)?;
            (recorded, changes) = (version, 0);
        }
    }
    if version > recorded {
        sync.make_durable()?;
        done(version)?;
    }
    work.heed_stop()
}

struct Sync<'a> {
    work: Work<'a>,
    feed: &'a dyn Feed,
    sc: Option<Trees<'a>>,
    ss: Option<(&'a dyn Storage, Version)>,
}

/// New node records of one store.
type Records = Vec<(NodeKey, Vec<u8>)>;

/// SC with the trees that are in work.
struct Trees<'a> {
    sc: &'a dyn Commitment,
    latest: Version,
    trees: BTreeMap<StoreKey, Tree>,
    /// Nodes of each tree kept in memory from one version to the next.
    resident: usize,
}

impl<'a> Sync<'a> {
    fn new(work: Work<'a>, feed: &'a dyn Feed, target: &'a Target) -> Result<Sync<'a>, PhaseError> {
        let behind = PhaseError::Bug("syncing a target that is not restored");
        let sc = match target.sc.as_deref() {
            None => None,
            Some(sc) => {
                let Some(latest) = sc.latest()? else { return Err(behind) };
                sc.end_bulk()?;
                // The memory that runs have while restoring serves the trees now.
                let stores = work.manifest.stores.len().max(1);
                let resident = work.tuning.gulps() / 3 / NODE_BYTES / stores;
                Some(Trees { sc, latest, trees: BTreeMap::new(), resident })
            }
        };
        let ss = match target.ss.as_deref() {
            None => None,
            Some(ss) => {
                let Some(latest) = ss.latest()? else { return Err(behind) };
                ss.end_bulk()?;
                Some((ss, latest))
            }
        };
        Ok(Sync { work, feed, sc, ss })
    }

    /// Applies one version; returns how many changes it had.
    fn apply(&mut self, version: &VersionChanges) -> Result<usize, PhaseError> {
        let at = version.info.version;
        self.check_feed(version)?;
        if let Some(trees) = &mut self.sc
            && trees.latest < at
        {
            trees.apply(self.work, self.feed, version)?;
        }
        let mut count = 0;
        for update in &version.stores {
            if let StoreChange::Changes(changes) = &update.change {
                count += changes.len();
            }
        }
        if let Some((ss, latest)) = &mut self.ss
            && *latest < at
        {
            apply_pairs(self.work, *ss, self.feed, version)?;
            *latest = at;
        }
        raise(&self.work.progress.changes, count as u64);
        Ok(count + 1)
    }

    /// The feed proves each store's changes against its root; that these are the roots of the app hash is checked here.
    fn check_feed(&self, version: &VersionChanges) -> Result<(), PhaseError> {
        let roots = version.stores.iter().map(|update| (&update.store, update.root));
        let recorded = version.info.stores.iter().map(|store| (&store.name, store.root.unwrap_or(Hash::EMPTY)));
        if roots.eq(recorded) { Ok(()) } else { Err(PhaseError::Bug("a feed gave other stores than its commit info")) }
    }

    fn make_durable(&self) -> Result<(), PhaseError> {
        // One sync makes every version of the group durable, in order: each engine's log is a prefix of what was written.
        if let Some(trees) = &self.sc {
            trees.sc.sync()?;
        }
        if let Some((ss, _)) = &self.ss {
            ss.sync()?;
        }
        Ok(())
    }
}

impl Trees<'_> {
    fn apply(&mut self, work: Work<'_>, feed: &dyn Feed, version: &VersionChanges) -> Result<(), PhaseError> {
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
            // The root is right, so the records are; until the commit info follows, no version leads to them.
            self.sc.write_records(&[(store.clone(), records)], None, false)?;
            if let Some(tree) = self.trees.get_mut(store) {
                // What was just written can be read from the engine, so nodes may be dropped from memory.
                tree.forget(self.resident);
            }
            stores.push(StoreInfo { name: store.clone(), version: at, root: Some(root) });
        }
        let info = CommitInfo { version: at, stores, timestamp: version.info.timestamp };
        let (expected, found) = (version.info.app_hash(), info.app_hash());
        if expected != found {
            return Err(PhaseError::Verdict(Verdict::AppHash { version: at, expected, found }));
        }
        self.sc.write_records(&[], Some(&info), false)?;
        self.latest = at;
        for dropped in &version.dropped {
            self.trees.remove(dropped);
        }
        Ok(())
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
        let mut nodes = self.sc.nodes(store, Access::Points)?;
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

fn apply_pairs(work: Work<'_>, ss: &dyn Storage, feed: &dyn Feed, version: &VersionChanges) -> Result<(), PhaseError> {
    let at = version.info.version;
    for update in &version.stores {
        if let StoreChange::Begins(Some(claim)) = &update.change {
            load_pairs(work, ss, feed, &update.store, *claim, at)?;
        }
    }
    for dropped in &version.dropped {
        drop_pairs(ss, dropped, at)?;
    }
    for update in &version.stores {
        if let StoreChange::Changes(changes) = &update.change
            && !changes.is_empty()
        {
            ss.write_version(at, &[(update.store.clone(), changes)], false, false)?;
        }
    }
    // The watermark goes last; what is above it is written again after a crash.
    Ok(ss.write_version(at, &[], true, false)?)
}

fn load_pairs(
    work: Work<'_>,
    ss: &dyn Storage,
    feed: &dyn Feed,
    store: &StoreKey,
    claim: Claim,
    at: Version,
) -> Result<(), PhaseError> {
    let mut loader = ss.loader(store, at)?;
    let mut failed = None;
    let mut nodes = feed.nodes(store);
    let proof = prove(&mut nodes, claim, work.gulp_bytes() / 4, &mut |node| {
        node.children.is_some()
            || loader.put(node.key, node.value).map_err(|error| failed = Some(PhaseError::from(error))).is_ok()
    });
    match (proof, failed) {
        (Err(ProveError::Sink), Some(error)) => Err(error),
        (Err(why), _) => Err(PhaseError::unproven(store, at, why)),
        (Ok(_), _) => Ok(loader.finish()?()?),
    }
}

/// Removes every pair of a store that an upgrade dropped, as store/v1 does with its tree.
fn drop_pairs(ss: &dyn Storage, store: &StoreKey, at: Version) -> Result<(), PhaseError> {
    const BATCH: usize = 10_000;
    let before = Version(at.0.saturating_sub(1));
    let mut from = Vec::new();
    loop {
        let mut removals = Vec::new();
        let mut pairs = ss.pairs(store, before, &from)?;
        while let Some(pair) = pairs.next()? {
            removals.push(Change { key: pair.key.to_vec(), value: None });
            if removals.len() == BATCH {
                break;
            }
        }
        let Some(last) = removals.last() else { return Ok(()) };
        from.clone_from(&last.key);
        from.push(0);
        ss.write_version(at, &[(store.clone(), &removals)], false, false)?;
    }
}
