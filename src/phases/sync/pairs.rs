//! SS: the pairs of each version as they are, and what stores that begin or end add to them.

use super::super::{PhaseError, Work};
use crate::{
    iavl::{Claim, ProveError, prove},
    model::{Change, StoreKey, Version},
    source::{Feed, StoreChange, VersionChanges},
    target::Storage,
};

/// Writes one version, the watermark last.
pub(super) fn apply_pairs(
    work: Work<'_>,
    ss: &dyn Storage,
    feed: &dyn Feed,
    version: &VersionChanges,
) -> Result<(), PhaseError> {
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
            ss.write_changes(&update.store, at, &mut changes.iter().map(Change::borrow))?;
        }
    }
    // The watermark goes last; what is above it is written again after a crash.
    Ok(ss.write_watermark(at)?)
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
        ss.write_changes(store, at, &mut removals.iter().map(Change::borrow))?;
    }
}
