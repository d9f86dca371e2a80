//! Committing: the trees take a block's changes, and what comes of it is written as one version.
//!
//! Owns the trees from one commit to the next. Whoever has the committer is the only one that writes.

use super::{
    ChangeSet, Observer, StoreError,
    changeset::{Begins, Step},
    layout::{GrownStore, Layout, NewVersion, info_of, root_of},
    stand::Stand,
};
use crate::{
    iavl::{
        Access, NodeId,
        lookup::{Order, Pairs},
        tree::{Tree, TreeError},
    },
    model::{Change, CommitInfo, StoreInfo, StoreKey, Timestamp, Version},
};
use std::{
    borrow::Cow,
    collections::BTreeMap,
    ops::Bound,
    sync::{Arc, Mutex, PoisonError},
};

/// The trees of a version, by store.
pub(super) type Trees = BTreeMap<StoreKey, Tree>;

/// The trees of the layout before. To let go of so many nodes takes longer than a switch, and is for after it.
#[must_use = "dropping it takes its time"]
pub struct FormerTrees(Trees);

impl FormerTrees {
    /// Drops them bit by bit: after so many nodes it asks whether to go on so.
    pub fn dissolve(self, nodes: usize, go_on: &mut dyn FnMut() -> bool) {
        // The first that is told not to go on ends it; the others are dropped with the rest.
        let _ = self.0.into_values().all(|tree| tree.dissolve(nodes, go_on));
    }
}

/// What the thread that commits has to itself.
pub(super) struct Committer {
    trees: Trees,
    /// Why nothing can be committed any more.
    broken: Option<String>,
    /// Whether nothing was committed since the layout was opened.
    is_first: bool,
    pub observers: Vec<Arc<dyn Observer>>,
    /// Whether commits wait.
    pub closed: Option<super::gate::Closed>,
}

/// How commits use the machine.
#[derive(Clone, Copy, Debug)]
pub(super) struct Means {
    pub threads: usize,
    /// Nodes of all trees kept in memory.
    pub nodes: usize,
    pub first: Version,
}

/// With fewer changes than this a thread is not worth its start.
const WORTH_A_THREAD: usize = 512;

impl Committer {
    pub fn new() -> Committer {
        Committer { trees: Trees::new(), broken: None, is_first: true, observers: Vec::new(), closed: None }
    }

    /// Goes on with another layout, with these of its trees; nothing else that was learnt of the old one is of use.
    pub fn begin_anew(&mut self, trees: Trees) -> FormerTrees {
        self.is_first = true;
        FormerTrees(std::mem::replace(&mut self.trees, trees))
    }

    /// Nothing is committed any more, for this reason.
    pub fn break_off(&mut self, why: String) {
        self.broken.get_or_insert(why);
    }

    /// Whether anything can be committed.
    pub fn check(&self) -> Result<(), StoreError> {
        self.broken.as_ref().map_or(Ok(()), |why| Err(StoreError::Broken(why.clone())))
    }

    pub fn commit(
        &mut self,
        stand: &Stand,
        changes: &Arc<ChangeSet>,
        means: Means,
    ) -> Result<Arc<CommitInfo>, StoreError> {
        self.check()?;
        let before = stand.retained.latest();
        let grown = self.grow(stand.layout.as_ref(), before.as_deref(), changes, means);
        // Trees that were not given back took changes that are not written; they are loaded anew.
        let Grown { info, mut trees, stores, dropped } = grown?;
        let new = NewVersion { info: &info, stores: &stores, dropped: &dropped, is_first: self.is_first };
        if let Err(error) = stand.layout.write(&new) {
            self.broken = Some(error.to_string());
            return Err(error);
        }
        self.is_first = false;
        let info = Arc::new(info);
        stand.retained.committed(info.clone());
        trim(&mut trees, means.nodes);
        self.trees = trees;
        for observer in &self.observers {
            observer.committed(info.version, changes, &info);
        }
        Ok(info)
    }

    /// Applies the changes to the trees in memory.
    fn grow<'a>(
        &mut self,
        layout: &dyn Layout,
        before: Option<&CommitInfo>,
        changes: &'a ChangeSet,
        means: Means,
    ) -> Result<Grown<'a>, StoreError> {
        let version = before.map_or(means.first, |info| info.version.next());
        let unfit = |what| StoreError::Changes { version, what };
        if version > Version::MAX || version == Version(0) {
            return Err(unfit("there are no such versions".to_owned()));
        }
        let steps = changes.steps(before, version)?;
        if !changes.upgrades.is_empty() {
            let names: Vec<StoreKey> = steps.steps.iter().map(|step| step.store.clone()).collect();
            if let Some(objection) = layout.objection(&names) {
                return Err(unfit(objection));
            }
        }
        let mut trees = std::mem::take(&mut self.trees);
        let growing = steps.steps.into_iter().map(|step| {
            let tree = trees.remove(&step.store);
            Growing { layout, before, version, step, tree }
        });
        let total = growing.len();
        let count: usize = changes.stores.iter().map(|store| store.changes.len()).sum();
        let threads = if changes.upgrades.renamed.is_empty() { count / WORTH_A_THREAD } else { means.threads };
        let grown = in_parallel(threads.min(means.threads), growing.collect(), Growing::grow)?;
        let mut stores = Vec::with_capacity(total);
        let mut infos = Vec::with_capacity(total);
        let mut trees = Trees::new();
        for (tree, root, store) in grown {
            infos.push(StoreInfo { name: store.store.clone(), version, root: Some(root) });
            trees.insert(store.store.clone(), tree);
            stores.push(store);
        }
        // As it is read back, where a time is always recorded.
        let timestamp = Some(changes.time.unwrap_or(Timestamp::ZERO));
        let info = CommitInfo { version, stores: infos, timestamp };
        Ok(Grown { info, trees, stores, dropped: steps.dropped })
    }
}

struct Grown<'a> {
    info: CommitInfo,
    trees: Trees,
    stores: Vec<GrownStore<'a>>,
    dropped: Vec<StoreKey>,
}

/// One store on its way to the next version.
struct Growing<'a, 'l> {
    layout: &'l dyn Layout,
    before: Option<&'l CommitInfo>,
    version: Version,
    step: Step<'a>,
    tree: Option<Tree>,
}

impl<'a> Growing<'a, '_> {
    fn grow(self) -> Result<(Tree, crate::model::Hash, GrownStore<'a>), StoreError> {
        let Growing { layout, before, version, step: Step { store, changes, begins }, tree } = self;
        let last = Version(version.0.saturating_sub(1));
        let (mut tree, changes) = match (&begins, tree) {
            (Begins::Not, Some(tree)) if tree.version() == last => (tree, Cow::Borrowed(changes)),
            (Begins::Not, _) => (load(layout, before, &store)?, Cow::Borrowed(changes)),
            (Begins::Empty | Begins::As(_), _) => {
                if layout.has_records(&store, last)? {
                    return Err(StoreError::Changes {
                        version,
                        what: format!(
                            "store {store} begins, and records of an earlier store of that name are there, on which IAVL does not \
                             begin anew; give it another name"
                        ),
                    });
                }
                let changes = match (&begins, before) {
                    (Begins::As(from), Some(before)) => Cow::Owned(moved(layout, before, from, changes)?),
                    _ => Cow::Borrowed(changes),
                };
                (Tree::load(None, last), changes)
            }
        };
        let failed = |why: TreeError| match why {
            TreeError::Legacy { .. } => StoreError::Legacy { store: store.clone() },
            why => StoreError::Tree { store: store.clone(), version, why: Box::new(why) },
        };
        let mut nodes = layout.nodes(&store, Access::Points)?;
        tree.apply(&mut nodes, &changes).map_err(failed)?;
        let committed = tree.commit(&mut nodes, version).map_err(failed)?;
        drop(nodes);
        Ok((tree, committed.hash, GrownStore { store, records: committed.records, changes }))
    }
}

/// The tree of a store at the version before.
fn load(layout: &dyn Layout, before: Option<&CommitInfo>, store: &StoreKey) -> Result<Tree, StoreError> {
    let before = before.ok_or_else(|| StoreError::Damaged(format!("store {store} has no version before")))?;
    tree_at(root_of(layout, before, store)?, before.version, store)
}

/// The tree of a version with its root there.
pub(super) fn tree_at(root: Option<NodeId>, version: Version, store: &StoreKey) -> Result<Tree, StoreError> {
    match root {
        None => Ok(Tree::load(None, version)),
        Some(NodeId::Current(at)) => Ok(Tree::load(Some(at), version)),
        Some(NodeId::Legacy(_)) => Err(StoreError::Legacy { store: store.clone() }),
    }
}

/// The pairs of a store that another one begins with, in the order in which the SDK moves them, and the block's changes after them.
fn moved(
    layout: &dyn Layout,
    before: &CommitInfo,
    from: &StoreKey,
    changes: &[Change],
) -> Result<Vec<Change>, StoreError> {
    let root = root_of(layout, before, from)?;
    let mut pairs = Pairs::new(root, (Bound::Unbounded, Bound::Unbounded), Order::Ascending);
    let mut nodes = layout.nodes(from, Access::Points)?;
    let failed = |why| StoreError::Nodes { store: from.clone(), version: before.version, why: Box::new(why) };
    let mut all = Vec::new();
    while let Some((key, value)) = pairs.next(&mut nodes).map_err(failed)? {
        all.push(Change { key, value: Some(value) });
    }
    all.extend_from_slice(changes);
    Ok(all)
}

/// Lets go of nodes where there are too many, with some room to grow again: looking for them takes time.
pub(super) fn trim(trees: &mut Trees, most: usize) {
    let resident: usize = trees.values().map(Tree::resident).sum();
    if resident <= most {
        return;
    }
    for tree in trees.values_mut() {
        let share = tree.resident() as u128 * (most as u128 * 3 / 4) / resident as u128;
        tree.forget(usize::try_from(share).unwrap_or(usize::MAX));
    }
}

/// Works on every item, the results in the order of the items; the first error ends it.
fn in_parallel<T: Send, R: Send>(
    threads: usize,
    items: Vec<T>,
    work: impl Fn(T) -> Result<R, StoreError> + Sync,
) -> Result<Vec<R>, StoreError> {
    let threads = threads.min(items.len());
    if threads <= 1 {
        return items.into_iter().map(work).collect();
    }
    let queue = Mutex::new(items.into_iter().enumerate());
    let done = Mutex::new(Vec::new());
    let hand = || loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
        let Some((number, item)) = next else { return };
        let result = work(item);
        let failed = result.is_err();
        done.lock().unwrap_or_else(PoisonError::into_inner).push((number, result));
        if failed {
            // Nothing more is begun.
            queue.lock().unwrap_or_else(PoisonError::into_inner).by_ref().for_each(drop);
        }
    };
    std::thread::scope(|scope| {
        (1..threads).for_each(|_| drop(scope.spawn(hand)));
        hand();
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, result)| result).collect()
}

/// Whether two layouts stand at the same version with the same app hash.
pub(super) fn same_place(old: Option<&CommitInfo>, new: &dyn Layout) -> Result<(), StoreError> {
    let latest = new.latest()?;
    let found = latest.map(|version| info_of(new, version)).transpose()?;
    let text = |info: Option<&CommitInfo>| {
        info.map_or("nothing".to_owned(), |info| format!("version {} with app hash {}", info.version, info.app_hash()))
    };
    let (old, new) = (text(old), text(found.as_ref()));
    if old == new { Ok(()) } else { Err(StoreError::NotTheSame(format!("{old} here, {new} there"))) }
}
