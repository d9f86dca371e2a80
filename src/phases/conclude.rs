//! Concluding the restore: every root and the app hash are recomputed from the target, and only then it is said to stand
//! at the snapshot version.

use super::{PhaseError, Work, snapshot};
use crate::{
    iavl::{Access, Claim, NodeKey, ProveError, RootRecord, SpineNode, cut, numbering},
    machine::Verified,
    model::{Chunk, CommitInfo, Hash, StoreEntry, StoreInfo, StoreKey, Verdict, Version},
    target::{Commitment, Target, TargetError},
};

/// Recomputes every store's root from the target, then the app hash.
///
/// The chunks' own roots were recomputed from their leaves when they were read back; here the rest of each tree is, from
/// the root record down to exactly those chunks.
///
/// # Errors
/// A difference is a [`PhaseError::Verdict`].
pub fn check(
    work: Work<'_>,
    target: &Target,
    height: Version,
    app_hash: Hash,
    stores: &mut dyn Iterator<Item = Result<(StoreEntry, Vec<SpineNode>, Vec<Chunk>), PhaseError>>,
) -> Result<Verified, PhaseError> {
    let mut infos = Vec::new();
    for (index, store) in (0u32..).zip(stores) {
        let (store, spine, chunks) = store?;
        work.turn()?;
        let mut root = store.root;
        if let Some(sc) = &target.sc {
            root = Some(check_tree(sc.as_ref(), &store, index, height, &spine, &chunks)?);
        }
        infos.push(StoreInfo { name: store.name, version: height, root });
    }
    let found = CommitInfo { version: height, stores: infos, timestamp: None }.app_hash();
    let Some(verified) = Verified::compare(app_hash, found) else {
        return Err(PhaseError::Verdict(Verdict::AppHash { version: height, expected: app_hash, found }));
    };
    Ok(if target.sc.is_some() { verified } else { Verified::pairs_only() })
}

/// Writes commit info and watermarks: from here on the target says that it stands at the snapshot version.
///
/// # Errors
/// The target could not be written.
pub fn finish(work: Work<'_>, target: &Target, height: Version) -> Result<(), PhaseError> {
    let entry = |store: &StoreEntry| StoreInfo { name: store.name.clone(), version: height, root: store.root };
    let stores: Vec<StoreInfo> = work.manifest.stores.iter().map(entry).collect();
    if let Some(sc) = &target.sc {
        let info = CommitInfo { version: height, stores, timestamp: work.manifest.timestamp };
        sc.write_info(&info)?;
        sc.sync()?;
    }
    if let Some(ss) = &target.ss {
        ss.write_watermark(height)?;
        ss.sync()?;
    }
    Ok(())
}

/// Proves the top of one store's tree in the target and returns its root.
fn check_tree(
    sc: &dyn Commitment,
    store: &StoreEntry,
    index: u32,
    height: Version,
    spine: &[SpineNode],
    chunks: &[Chunk],
) -> Result<Hash, PhaseError> {
    let verdict = |what: String| PhaseError::Verdict(Verdict::Store { store: store.name.clone(), what });
    let expected = store.root.unwrap_or(Hash::EMPTY);
    let Some(key) = root_key(sc, &store.name, height)? else {
        return Err(verdict(format!("there is no root record of version {height}")));
    };
    let Some(key) = key else {
        if expected == Hash::EMPTY {
            return Ok(expected);
        }
        return Err(verdict("the tree is empty".to_owned()));
    };
    if store.top.and_then(|(version, ordinal)| numbering::node_key(version, ordinal)) != Some(key) {
        return Err(verdict(format!("the root record of version {height} does not lead to the root")));
    }
    let mut nodes = sc.nodes(&store.name, Access::Points)?;
    let root = Claim { at: key.into(), hash: expected };
    let found = match cut(&mut nodes, root, index, snapshot::bound(chunks)) {
        Ok(found) => found,
        Err(ProveError::HashMismatch { at, expected, found }) if at == root.at => {
            let (store, version) = (store.name.clone(), height);
            return Err(PhaseError::Verdict(Verdict::Root { store, version, expected, found }));
        }
        Err(ProveError::Read(error)) if !error.corrupt => return Err(TargetError::Read(error).into()),
        Err(why) => return Err(verdict(why.to_string())),
    };
    if found.spine != spine {
        return Err(verdict("the inner nodes above the chunks are not the ones of the snapshot".to_owned()));
    }
    let same = |found: &Chunk, wanted: &Chunk| {
        (found.hash, found.leaves, found.first_ordinal) == (wanted.hash, wanted.leaves, wanted.first_ordinal)
    };
    if found.chunks.len() != chunks.len() || !found.chunks.iter().zip(chunks).all(|(a, b)| same(a, b)) {
        return Err(verdict("the tree does not lead to the chunks of the snapshot".to_owned()));
    }
    Ok(expected)
}

/// Where the root of a store's version is in SC: outer none without a root record, inner none for the empty tree.
pub(crate) fn root_key(
    sc: &dyn Commitment,
    store: &StoreKey,
    version: Version,
) -> Result<Option<Option<NodeKey>>, PhaseError> {
    let at = NodeKey::root_of(version);
    let mut value = Vec::new();
    let read = sc.nodes(store, Access::Points)?.read(at, &mut value);
    let damaged = |what: String| PhaseError::Verdict(Verdict::Store { store: store.clone(), what });
    match read {
        Ok(false) => Ok(None),
        Ok(true) => match RootRecord::decode(&value) {
            Some(RootRecord::Empty) => Ok(Some(None)),
            Some(RootRecord::Node) => Ok(Some(Some(at))),
            Some(RootRecord::Reference(key)) => Ok(Some(Some(key))),
            None => Err(damaged(format!("the root record of version {version} is damaged"))),
        },
        Err(error) if error.corrupt => Err(damaged(error.message)),
        Err(error) => Err(TargetError::Read(error).into()),
    }
}
