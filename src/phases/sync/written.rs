//! What SC and SS have already, and how records come to SC: the same whether versions come as trees or as changes.

use super::super::{PhaseError, conclude::root_key};
use crate::{
    iavl::{NodeKey, RecordStream},
    model::{StoreKey, Verdict, Version},
    target::{Commitment, RecordRun, Storage, Target, TargetError},
};

/// So many bytes of one store are worth a table of their own, which is in its final place at once. Fewer go into files with
/// those of other stores, which the engine has to merge; as tables they would be too many to be kept open.
const TABLE_BYTES: usize = 1 << 20;

/// The engines that lack the versions after one, and up to which version they do.
pub(super) struct Lacking<'a> {
    pub sc: Option<&'a dyn Commitment>,
    pub ss: Option<&'a dyn Storage>,
    pub end: Version,
}

/// Which engines lack the versions after `from`, up to `to` at most. A crash may leave one engine ahead of the other: up to
/// there, only the other one is written.
pub(super) fn lacking(target: &Target, from: Version, to: Version) -> Result<Lacking<'_>, TargetError> {
    let mut lacking = Lacking { sc: target.sc.as_deref(), ss: target.ss.as_deref(), end: to };
    let ahead = |latest: Result<Option<Option<Version>>, TargetError>| Ok(latest?.flatten().filter(|at| *at > from));
    if let Some(latest) = ahead(lacking.sc.map(Commitment::latest).transpose())? {
        (lacking.sc, lacking.end) = (None, lacking.end.min(latest));
    }
    if let Some(latest) = ahead(lacking.ss.map(Storage::latest).transpose())? {
        (lacking.ss, lacking.end) = (None, lacking.end.min(latest));
    }
    Ok(lacking)
}

/// Where the root of a store's version is in SC, which must have it; none for the empty tree.
pub(super) fn target_root(
    sc: &dyn Commitment,
    store: &StoreKey,
    version: Version,
) -> Result<Option<NodeKey>, PhaseError> {
    root_key(sc, store, version)?.ok_or_else(|| {
        let what = format!("there is no root record of version {version}");
        PhaseError::Verdict(Verdict::Store { store: store.clone(), what })
    })
}

/// Adds what a tree committed to a run.
pub(super) fn push_committed(run: &mut RecordRun, records: Vec<(NodeKey, Vec<u8>)>) -> Result<(), PhaseError> {
    for (key, record) in records {
        let taken = run.push(|out| {
            out.extend_from_slice(&record);
            Some(key)
        });
        if taken.is_none() {
            return Err(PhaseError::Bug("what a tree committed is larger than a run can be"));
        }
    }
    Ok(())
}

/// Records of versions lie above all older ones of their store, so a table of them finds its final place at once.
pub(super) fn write_records(
    sc: &dyn Commitment,
    store: &StoreKey,
    records: &mut dyn RecordStream,
    bytes: usize,
) -> Result<(), PhaseError> {
    if bytes >= TABLE_BYTES { Ok(sc.load(store, records, true)?()?) } else { Ok(sc.write_records(store, records)?) }
}
