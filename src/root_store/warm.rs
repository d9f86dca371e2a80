//! Trees of the layout that a store is about to go on with, in memory before it does: the first commits there would read every node
//! from the engine, in the one block that also waits for the switch.
//!
//! Owns them until they are handed over. They are read beside the commits, as they stand at some version, and follow the commits that
//! come until the gate closes. What is wrong with them costs time and nothing else: they are held against what the engine has, and
//! a store that gets none, or some of another version, reads its nodes as it needs them.

use super::{
    ChangeSet, StoreError,
    commit::{Trees, tree_at, trim},
    layout::agreed,
    v2::root_in,
};
use crate::{
    iavl::{
        Access, NodeReader as _,
        tree::{Tree, TreeError},
    },
    model::{CommitInfo, StoreKey, Version},
    target::{Commitment, TargetError},
};
use std::sync::Arc;

/// Trees at one version.
pub struct WarmTrees {
    pub(super) version: Version,
    pub(super) trees: Trees,
    /// Most nodes of all of them.
    nodes: usize,
}

/// How much is compared of what following a version makes with what the engine has of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparing {
    /// The records of the roots: their hashes, and where their children are.
    Roots,
    /// Every record.
    Records,
}

impl WarmTrees {
    /// Reads the trees of a version: what the last commits passed, the newest first, and then all of them level by level; at most
    /// `nodes` nodes, and as long as `go_on` says so.
    ///
    /// # Errors
    /// SC has no such version, or could not be read.
    pub(super) fn read(
        sc: &dyn Commitment,
        version: Version,
        recent: &[Arc<ChangeSet>],
        nodes: usize,
        go_on: &dyn Fn() -> bool,
    ) -> Result<WarmTrees, StoreError> {
        let mut warm = WarmTrees { version, trees: Trees::new(), nodes };
        let info = info(sc, version)?;
        for store in info.stores.iter().filter(|store| store.root.is_some()) {
            warm.trees.insert(store.name.clone(), load(sc, &info, &store.name)?);
        }
        for changes in recent.iter().rev() {
            for of in &changes.stores {
                let Some(tree) = warm.trees.get_mut(&of.store) else { continue };
                let mut reader = sc.nodes(&of.store, Access::Points)?;
                for change in &of.changes {
                    if !go_on() {
                        return Ok(warm);
                    }
                    tree.touch(&mut reader, &change.key).map_err(|why| failed(&of.store, version, why))?;
                }
            }
            if warm.resident() > nodes / 2 {
                break;
            }
        }
        // Those that are in memory as a whole leave their share to the others.
        let mut unread: Vec<StoreKey> = warm.trees.keys().cloned().collect();
        loop {
            let room = nodes.saturating_sub(warm.resident());
            let share = room / unread.len().max(1);
            if share == 0 || unread.is_empty() {
                break;
            }
            let mut left = Vec::new();
            for store in unread {
                let Some(tree) = warm.trees.get_mut(&store) else { continue };
                let most = tree.resident() + share;
                let mut reader = sc.nodes(&store, Access::Points)?;
                tree.widen(&mut reader, most, go_on).map_err(|why| failed(&store, version, why))?;
                if tree.resident() >= most {
                    left.push(store);
                }
            }
            unread = left;
        }
        Ok(warm)
    }

    /// The version they stand at.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// How many nodes they have in memory.
    #[must_use]
    pub fn resident(&self) -> usize {
        self.trees.values().map(Tree::resident).sum()
    }

    /// Takes what the next version changed, which the engine has by now.
    ///
    /// # Errors
    /// The engine has something else, or could not be read: these trees are of no use any more. Stores that begin or end are not
    /// followed.
    pub fn follow(&mut self, sc: &dyn Commitment, changes: &ChangeSet, comparing: Comparing) -> Result<(), StoreError> {
        let version = self.version.next();
        let other = |what: String| StoreError::Damaged(format!("version {version}: {what}"));
        if !changes.upgrades.is_empty() {
            return Err(other("stores begin or end with it".to_owned()));
        }
        for (store, tree) in &mut self.trees {
            let of = changes.stores.iter().find(|of| of.store == *store);
            let mut reader = sc.nodes(store, Access::Points)?;
            let tree_failed = |why| failed(store, version, why);
            tree.apply(&mut reader, of.map_or(&[][..], |of| of.changes.as_slice())).map_err(tree_failed)?;
            let committed = tree.commit(&mut reader, version).map_err(tree_failed)?;
            let compared = match comparing {
                Comparing::Roots => 1,
                Comparing::Records => committed.records.len(),
            };
            let mut found = Vec::new();
            for (at, record) in committed.records.iter().take(compared) {
                found.clear();
                let is_there = reader.read(*at, &mut found).map_err(TargetError::Read)?;
                if !is_there || found != *record {
                    return Err(other(format!("node {at} of store {store} is another one")));
                }
            }
        }
        self.version = version;
        trim(&mut self.trees, self.nodes);
        Ok(())
    }
}

fn failed(store: &StoreKey, version: Version, why: TreeError) -> StoreError {
    StoreError::Tree { store: store.clone(), version, why: Box::new(why) }
}

fn load(sc: &dyn Commitment, info: &CommitInfo, store: &StoreKey) -> Result<Tree, StoreError> {
    let version = info.version;
    tree_at(agreed(info, store, || root_in(sc, store, version))?, version, store)
}

fn info(sc: &dyn Commitment, version: Version) -> Result<CommitInfo, StoreError> {
    let missing = || StoreError::Damaged(format!("SC has no commit info of version {version}"));
    sc.commit_info(version)?.ok_or_else(missing)
}
