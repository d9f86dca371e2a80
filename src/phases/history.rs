//! Proving again the versions after the snapshot: what each changed is read off SC's trees, proven there, and compared with what
//! SS has of that version.
//!
//! A version's changes are not kept for this; they are added up, each as a digest, so that a version takes 40 bytes of each store
//! it changed. The trees hand changes on version by version and SS has them key by key: a sum does not ask for an order.

use super::{PhaseError, Work, conclude::root_key, in_parallel};
use crate::{
    iavl::{
        Access, Claim, NodeReader, ProveError,
        diff::{OldTree, diff},
    },
    model::{CommitInfo, Hash, StoreKey, Verdict, Version},
    target::{Commitment, Storage, Target, TargetError},
};
use std::collections::{BTreeMap, BTreeSet};

/// Versions whose sums are in memory at the same time; SS is read once for each so many.
const VERSIONS: u64 = 16_384;
/// Tells these digests from all others.
const DIGEST: &str = "storeshift 2026 change of a version";

/// How many changes there were, and their digests added up in four lanes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum {
    count: u64,
    lanes: [u64; 4],
}

impl Sum {
    fn add(&mut self, key: &[u8], value: Option<&[u8]>) {
        let mut hasher = blake3::Hasher::new_derive_key(DIGEST);
        hasher.update(&(key.len() as u64).to_le_bytes());
        hasher.update(key);
        hasher.update(&[u8::from(value.is_some())]);
        hasher.update(value.unwrap_or_default());
        let digest = hasher.finalize();
        self.count += 1;
        for (lane, bytes) in self.lanes.iter_mut().zip(digest.as_bytes().as_chunks().0) {
            *lane = lane.wrapping_add(u64::from_le_bytes(*bytes));
        }
    }
}

/// By version; those without changes are left out.
type Sums = BTreeMap<Version, Sum>;

/// Proves the versions after `from` up to `to`, which SC must have with all between, and compares them with SS. What is wrong is
/// an answer, for each store the first of it. `beyond` says that SS may have entries of versions after `to`.
///
/// # Errors
/// The target could not be read for a reason that another try may not meet; or the request to stop.
pub fn check(
    work: Work<'_>,
    target: &Target,
    from: Version,
    to: Version,
    beyond: bool,
) -> Result<Vec<Verdict>, PhaseError> {
    let Some(sc) = target.sc.as_deref() else { return Ok(Vec::new()) };
    let mut wrong = Vec::new();
    let mut first = from;
    while first < to {
        let last = Version(first.0.saturating_add(VERSIONS)).min(to);
        let infos = match infos(sc, first, last)? {
            Ok(infos) => infos,
            Err(verdict) => return Ok(vec![verdict]),
        };
        let names: BTreeSet<&StoreKey> =
            infos.iter().flat_map(|info| info.stores.iter().map(|store| &store.name)).collect();
        let ends = if last == to && !beyond { Version(u64::MAX) } else { last };
        in_parallel(
            work,
            names.into_iter().collect(),
            |(): &mut (), store: &StoreKey, report| {
                let found = check_store(work, sc, target.ss.as_deref(), store, &infos, ends)?;
                report(found.map(|what| Verdict::Store { store: store.clone(), what }));
                Ok(())
            },
            |found| {
                wrong.extend(found);
                Ok(())
            },
        )?;
        first = last;
    }
    wrong.sort_by_key(ToString::to_string);
    Ok(wrong)
}

/// The commit infos of these versions, both ends included.
fn infos(sc: &dyn Commitment, from: Version, to: Version) -> Result<Result<Vec<CommitInfo>, Verdict>, PhaseError> {
    let verdict = |what| Err(Verdict::Store { store: "(all)".into(), what });
    let mut infos = Vec::new();
    for version in (from.0..=to.0).map(Version) {
        match sc.commit_info(version) {
            Ok(Some(info)) => infos.push(info),
            Ok(None) => return Ok(verdict(format!("SC has no commit info of version {version}"))),
            Err(TargetError::Corrupt { what, .. }) => return Ok(verdict(format!("SC: {what}"))),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Ok(infos))
}

/// What is wrong with a store at the versions after the first of these.
fn check_store(
    work: Work<'_>,
    sc: &dyn Commitment,
    ss: Option<&dyn Storage>,
    store: &StoreKey,
    infos: &[CommitInfo],
    ends: Version,
) -> Result<Option<String>, PhaseError> {
    let mut nodes = sc.nodes(store, Access::Runs)?;
    let mut sums = Sums::new();
    for pair in infos.windows(2) {
        let [before, info] = pair else { continue };
        work.turn()?;
        match sum_of(sc, &mut nodes, store, before, info)? {
            Ok(sum) if sum.count == 0 => {}
            Ok(sum) => drop(sums.insert(info.version, sum)),
            Err(what) => return Ok(Some(format!("version {}: {what}", info.version))),
        }
    }
    let (Some(ss), Some(first)) = (ss, infos.first()) else { return Ok(None) };
    let found = match sums_of_pairs(work, ss, store, first.version, ends)? {
        Ok(found) => found,
        Err(what) => return Ok(Some(format!("SS: {what}"))),
    };
    let versions: BTreeSet<&Version> = sums.keys().chain(found.keys()).collect();
    let different = versions.into_iter().find(|version| sums.get(version) != found.get(version));
    Ok(different.map(|version| {
        let count = |sums: &Sums| sums.get(version).map_or(0, |sum| sum.count);
        format!(
            "SS has {} changes of version {version} and the tree {}, and they are not the same",
            count(&found),
            count(&sums)
        )
    }))
}

/// What a version changed in one store, by SC's trees, which are proven on the way.
fn sum_of(
    sc: &dyn Commitment,
    nodes: &mut Box<dyn NodeReader + Send + '_>,
    store: &StoreKey,
    before: &CommitInfo,
    info: &CommitInfo,
) -> Result<Result<Sum, String>, PhaseError> {
    let root = |info: &CommitInfo| -> Result<Result<Option<Claim>, String>, PhaseError> {
        let Some(of_store) = info.store(store) else { return Ok(Ok(None)) };
        let hash = of_store.root.unwrap_or(Hash::EMPTY);
        match root_key(sc, store, info.version) {
            Ok(Some(Some(at))) => Ok(Ok(Some(Claim { at: at.into(), hash }))),
            Ok(Some(None)) if hash == Hash::EMPTY => Ok(Ok(None)),
            Ok(Some(None)) => Ok(Err("the tree is empty".to_owned())),
            Ok(None) => Ok(Err(format!("there is no root record of version {}", info.version))),
            Err(PhaseError::Verdict(verdict)) => Ok(Err(verdict.to_string())),
            Err(error) => Err(error),
        }
    };
    let (old, new) = match (root(before)?, root(info)?) {
        (Ok(old), Ok(new)) => (old, new),
        (Err(what), _) | (_, Err(what)) => return Ok(Err(what)),
    };
    let old = old.map(|claim| OldTree { root: claim.at, version: before.version });
    let mut sum = Sum::default();
    let differ = diff(nodes, old, new, &mut |key, value| {
        sum.add(key, value);
        true
    });
    match differ {
        Ok(()) => Ok(Ok(sum)),
        Err(ProveError::Read(error)) if !error.corrupt => Err(TargetError::Read(error).into()),
        Err(why) => Ok(Err(format!("SC: {why}"))),
    }
}

/// What SS has of each version after one, up to another.
fn sums_of_pairs(
    work: Work<'_>,
    ss: &dyn Storage,
    store: &StoreKey,
    after: Version,
    ends: Version,
) -> Result<Result<Sums, String>, PhaseError> {
    /// Entries between two turns.
    const TURN: u64 = 8_192;
    let mut sums = Sums::new();
    let mut entries = ss.entries(store, after.next(), ends)?;
    let mut read = 0u64;
    loop {
        match entries.next() {
            Ok(Some(entry)) => sums.entry(entry.version).or_default().add(entry.key, entry.value),
            Ok(None) => return Ok(Ok(sums)),
            Err(TargetError::Corrupt { what, .. }) => return Ok(Err(what)),
            Err(error) => return Err(error.into()),
        }
        read += 1;
        if read.is_multiple_of(TURN) {
            work.turn()?;
        }
    }
}
