//! What a block changes: pairs by store, and the stores that begin or end with it.
//!
//! Owns the check that it fits the version before, so that nothing is begun that cannot be ended.

use super::StoreError;
use crate::model::{Change, CommitInfo, StoreChanges, StoreKey, Timestamp, Version, check_store_keys};
use std::collections::BTreeSet;

/// Everything one block changes. The version it becomes is the store's matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChangeSet {
    /// Pairs by store, each store once, in the order in which they are to be applied: the shape of a tree, and so the app hash,
    /// depends on it. Nodes write each store's pairs in ascending order, sets and removals interleaved.
    pub stores: Vec<StoreChanges>,
    /// Stores that begin, end or are renamed with this block, before its pairs. The first block of a chain adds all of them.
    pub upgrades: StoreUpgrades,
    /// The block's time. It is in no hash.
    pub time: Option<Timestamp>,
}

/// Store upgrades as the SDK's `StoreUpgrades` has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreUpgrades {
    /// Stores that begin empty.
    pub added: Vec<StoreKey>,
    /// Stores that end.
    pub deleted: Vec<StoreKey>,
    /// Stores whose pairs move, in ascending order of keys, into a store that begins: from, to.
    pub renamed: Vec<(StoreKey, StoreKey)>,
}

impl StoreUpgrades {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.deleted.is_empty() && self.renamed.is_empty()
    }
}

/// What becomes of one store.
pub(super) struct Step<'a> {
    pub store: StoreKey,
    pub changes: &'a [Change],
    pub begins: Begins,
}

/// How a store comes into a version.
pub(super) enum Begins {
    /// It was there before.
    Not,
    Empty,
    /// With the pairs of a store that ends.
    As(StoreKey),
}

/// A checked changeset: what becomes of each store of the new version, in order of name, and which are gone.
pub(super) struct Steps<'a> {
    pub steps: Vec<Step<'a>>,
    pub dropped: Vec<StoreKey>,
}

/// Longest key that the SDK's stores take (`types.MaxKeyLength`).
const LONGEST_KEY: usize = 131_071;

impl ChangeSet {
    /// Checks the changes against the version they come after.
    pub(super) fn steps(&self, before: Option<&CommitInfo>, version: Version) -> Result<Steps<'_>, StoreError> {
        let unfit = |what: String| StoreError::Changes { version, what };
        // SDK 0.46 and older named memory stores too, which have no tree; later releases leave them out.
        let trees = before.into_iter().flat_map(|info| &info.stores).filter(|store| store.root.is_some());
        let mut names: BTreeSet<StoreKey> = trees.map(|store| store.name.clone()).collect();
        let mut dropped = Vec::new();
        for store in self.upgrades.deleted.iter().chain(self.upgrades.renamed.iter().map(|(from, _)| from)) {
            if !names.remove(store) {
                return Err(unfit(format!("store {store} ends, and is not there")));
            }
            dropped.push(store.clone());
        }
        let added = self.upgrades.added.iter().map(|store| (store, None));
        let renamed = self.upgrades.renamed.iter().map(|(from, to)| (to, Some(from)));
        let mut begun = Vec::new();
        for (store, from) in added.chain(renamed) {
            check_store_keys(std::slice::from_ref(store)).map_err(|error| unfit(error.to_string()))?;
            if before.is_some_and(|info| info.store(store).is_some()) || !names.insert(store.clone()) {
                return Err(unfit(format!("store {store} begins, and is there already")));
            }
            begun.push((store, from));
        }
        let mut of_stores = Vec::with_capacity(self.stores.len());
        for StoreChanges { store, changes } in &self.stores {
            if !names.contains(store) {
                return Err(unfit(format!("store {store} is not there; an upgrade has to add it first")));
            }
            if let Some(change) = changes.iter().find(|change| !(1..=LONGEST_KEY).contains(&change.key.len())) {
                let length = change.key.len();
                return Err(unfit(format!(
                    "a key of store {store} has {length} bytes, and 1 to {LONGEST_KEY} are allowed"
                )));
            }
            let longest = changes.iter().filter_map(|change| change.value.as_ref()).map(Vec::len).max();
            if longest.is_some_and(|longest| i32::try_from(longest).is_err()) {
                return Err(unfit(format!("a value of store {store} has 2 GiB or more")));
            }
            of_stores.push((store, changes.as_slice()));
        }
        of_stores.sort_by_key(|(store, _)| *store);
        if let Some((twice, _)) =
            of_stores.iter().zip(of_stores.iter().skip(1)).map(|(a, b)| (a.0, b.0)).find(|(a, b)| a == b)
        {
            return Err(unfit(format!("store {twice} is there twice")));
        }
        let step = |store: StoreKey| {
            let at = of_stores.binary_search_by_key(&&store, |(store, _)| *store).ok();
            let changes = at.and_then(|at| of_stores.get(at)).map_or(&[][..], |(_, changes)| *changes);
            let begins = match begun.iter().find(|(begun, _)| **begun == store) {
                None => Begins::Not,
                Some((_, None)) => Begins::Empty,
                Some((_, Some(from))) => Begins::As((*from).clone()),
            };
            Step { store, changes, begins }
        };
        Ok(Steps { steps: names.into_iter().map(step).collect(), dropped })
    }
}
