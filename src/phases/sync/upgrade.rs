//! Stores that an upgrade begins (added, or renamed to) or drops: the tree of the one is copied, the pairs of the other are
//! removed. The order in which an upgrade wrote its keys, on which a replay would depend, is not to be had from the tree.

use super::{
    super::{PhaseError, Work},
    stretch::Stretch,
};
use crate::{
    iavl::{Access, Child, Claim, Node, NodeKey, ProveError, ProvenNode, prove},
    model::{Change, StoreKey, Version},
    source::Source,
    target::{Commitment, RecordRun, Storage},
};

/// Applies the first version of a store, which is the only one of its stretch.
pub(super) fn begin_store(stretch: &Stretch<'_>, store: &StoreKey) -> Result<(), PhaseError> {
    let at = stretch.from().next();
    let hash = stretch.root(store, at);
    let Some(key) = stretch.source_root(store, at)? else {
        if let Some(sc) = stretch.sc {
            let mut empty = RecordRun::default();
            empty.push(|_| Some(NodeKey::root_of(at)));
            sc.write_records(store, &mut empty.sorted())?;
        }
        return Ok(());
    };
    let claim = Claim { key, hash };
    if let Some(sc) = stretch.sc {
        copy_tree(stretch.work, sc, stretch.source, store, claim, at)?;
    }
    if let Some(ss) = stretch.ss {
        load_pairs(stretch.work, ss, stretch.source, store, claim, at)?;
    }
    Ok(())
}

/// Removes every pair of a store that the stretch, of one version, does not have any more, as store/v1 does with its tree.
/// SC keeps its old versions.
pub(super) fn drop_store(stretch: &Stretch<'_>, store: &StoreKey) -> Result<(), PhaseError> {
    stretch.ss.map_or(Ok(()), |ss| drop_pairs(ss, store, stretch.from().next()))
}

/// Copies the tree of a store that begins at a version, node by node and under the same node keys.
fn copy_tree(
    work: Work<'_>,
    sc: &dyn Commitment,
    source: &dyn Source,
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
    let mut nodes = source.nodes(store, Access::Points);
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

fn load_pairs(
    work: Work<'_>,
    ss: &dyn Storage,
    source: &dyn Source,
    store: &StoreKey,
    claim: Claim,
    at: Version,
) -> Result<(), PhaseError> {
    let mut loader = ss.loader(store, at)?;
    let mut failed = None;
    let mut nodes = source.nodes(store, Access::Points);
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

pub(super) fn drop_pairs(ss: &dyn Storage, store: &StoreKey, at: Version) -> Result<(), PhaseError> {
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
