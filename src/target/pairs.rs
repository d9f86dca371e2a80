//! Writing what a version changed into SS, whoever it comes from: a sync, or a node that commits.

use super::{Storage, TargetError};
use crate::model::{Change, StoreKey, Version};
use std::collections::BTreeMap;

/// Writes what a version changed in one store. Of several changes to a key the last counts, and removals of keys that were not
/// there before are left out, as they are in what trees differ by. Durable with the next [`Storage::sync`].
///
/// # Errors
/// The engine could not be read or written; none, some or all of it may be there.
pub fn write_real_changes(
    ss: &dyn Storage,
    store: &StoreKey,
    version: Version,
    changes: &[Change],
) -> Result<(), TargetError> {
    if !changes.is_sorted_by(|a, b| a.key < b.key) {
        let last: BTreeMap<&[u8], &Change> = changes.iter().map(|change| (change.key.as_slice(), change)).collect();
        return write(ss, store, version, last.into_values());
    }
    write(ss, store, version, changes.iter())
}

fn write<'a>(
    ss: &dyn Storage,
    store: &StoreKey,
    version: Version,
    changes: impl Iterator<Item = &'a Change>,
) -> Result<(), TargetError> {
    let before = Version(version.0.saturating_sub(1));
    let mut real = Vec::new();
    for change in changes {
        if change.value.is_some() || ss.get(store, before, &change.key)?.is_some() {
            real.push(change);
        }
    }
    if real.is_empty() {
        return Ok(());
    }
    ss.write_changes(store, version, &mut real.into_iter().map(Change::borrow))
}

/// Removes every pair that a store had before a version, as store/v1 does with the tree of a store that is dropped. Durable with
/// the next [`Storage::sync`].
///
/// # Errors
/// The engine could not be read or written; none, some or all of it may be there.
pub fn drop_pairs(ss: &dyn Storage, store: &StoreKey, at: Version) -> Result<(), TargetError> {
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
        drop(pairs);
        let Some(last) = removals.last() else { return Ok(()) };
        from.clone_from(&last.key);
        from.push(0);
        ss.write_changes(store, at, &mut removals.iter().map(Change::borrow))?;
    }
}
