//! Stores that an upgrade begins (added, or renamed to) or drops: the tree of the one is copied, the pairs of the other are
//! removed. The order in which an upgrade wrote its keys, on which a replay would depend, is not to be had from the tree.

use super::{
    super::{PhaseError, Work},
    stretch::Stretch,
};
use crate::{
    iavl::{Access, Claim, Node, NodeKey, ProveError, ProvenNode, numbering, prove},
    model::{StoreKey, Version},
    source::Source,
    target::{Commitment, RecordRun, Storage, drop_pairs},
};

/// Applies the first version of a store, which is the only one of its stretch.
pub(super) fn begin_store(stretch: &Stretch<'_>, store: &StoreKey) -> Result<(), PhaseError> {
    let at = stretch.from().next();
    let hash = stretch.root(store, at);
    let Some(root) = stretch.source_root(store, at)? else {
        if let Some(sc) = stretch.sc {
            let mut empty = RecordRun::default();
            empty.push(|_| Some(NodeKey::root_of(at)));
            sc.write_records(store, &mut empty.sorted())?;
        }
        return Ok(());
    };
    let claim = Claim { at: root, hash };
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
    Ok(stretch.ss.map_or(Ok(()), |ss| drop_pairs(ss, store, stretch.from().next()))?)
}

/// Copies the tree of a store that begins at a version, node by node: under the same node keys, or, where legacy nodes have
/// none, numbered like a snapshot's.
fn copy_tree(
    work: Work<'_>,
    sc: &dyn Commitment,
    source: &dyn Source,
    store: &StoreKey,
    claim: Claim,
    at: Version,
) -> Result<(), PhaseError> {
    let too_large = || PhaseError::Bug("a store that begins is larger than nonces can tell");
    let mut records = RecordRun::default();
    let mut failed = None;
    let mut root = None;
    let mut ordinal = 0;
    let first = first_versions(sc, store, claim, at)?;
    let mut take = |node: &ProvenNode<'_>| -> Result<(), PhaseError> {
        if !first.contains(&node.version) {
            return Err(PhaseError::Refused(format!(
                "store {store} begins at version {at} with node {} of an older version: a store of that name was dropped \
                 before and taken up again, which this release cannot follow. Start from a snapshot at version {at} or later",
                node.at
            )));
        }
        let taken = records.push(|out| {
            root = match node.at.key() {
                Some(key) => {
                    encode_as_it_is(node, out);
                    Some(key)
                }
                None => numbering::encode_record(node, ordinal, out),
            };
            root
        });
        taken.ok_or(too_large())?;
        ordinal += 1;
        if records.size() >= work.gulp_bytes() / 2 {
            sc.load(store, &mut records.sorted(), true)?()?;
            work.spend_changes(true, false, records.size() as u64);
            records.clear();
            work.turn()?;
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
    // The last node is the root.
    match root {
        Some(key) if key == NodeKey::root_of(at) => {}
        Some(key) if claim.at.key().is_none() => {
            let reference = records.push(|out| {
                out.extend_from_slice(&key.to_bytes());
                Some(NodeKey::root_of(at))
            });
            reference.ok_or(too_large())?;
        }
        _ => return Err(PhaseError::Bug("a store that begins has its root elsewhere than at nonce 1")),
    }
    Ok(sc.load(store, &mut records.sorted(), true)?()?)
}

/// The versions that the nodes of a store can have that begins: its first one; and 1, because IAVL up to 0.20 gives what is set
/// before the first commit the version after that of an empty tree (v0.19 `mutable_tree.go`). 1 is only taken if no version in
/// SC has the store, or there might be other nodes of that version already.
fn first_versions(
    sc: &dyn Commitment,
    store: &StoreKey,
    claim: Claim,
    at: Version,
) -> Result<[Version; 2], PhaseError> {
    let mut before = Version(at.0.saturating_sub(1));
    while claim.at.key().is_none() {
        match sc.commit_info(before)? {
            None => return Ok([at, Version(1)]),
            Some(info) if info.store(store).is_some() => break,
            Some(_) => before = Version(before.0.saturating_sub(1)),
        }
    }
    Ok([at, at])
}

fn encode_as_it_is(node: &ProvenNode<'_>, out: &mut Vec<u8>) {
    let ProvenNode { height, size, key, value, hash, .. } = *node;
    match node.children {
        None => Node::Leaf { key, value },
        Some(children) => Node::Inner { height, size, key, hash, left: children.left, right: children.right },
    }
    .encode(out);
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
