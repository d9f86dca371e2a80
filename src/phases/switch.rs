//! Switching: what has to be true at the fenced version before store/v2 may become the store of record.

use super::PhaseError;
use crate::{
    machine::Verified,
    model::{Hash, Verdict, Version},
    target::Target,
};

/// Compares the target with store/v1 at the fenced version: every engine stands exactly there, and SC's app hash is the
/// one store/v1 recorded.
///
/// # Errors
/// A difference is a [`PhaseError::Verdict`].
pub fn check(target: &Target, version: Version, expected: Hash) -> Result<Verified, PhaseError> {
    if let Some(ss) = &target.ss
        && ss.latest()? != Some(version)
    {
        return Err(PhaseError::Bug("SS does not stand at the fenced version"));
    }
    let Some(sc) = &target.sc else { return Ok(Verified::pairs_only()) };
    if sc.latest()? != Some(version) {
        return Err(PhaseError::Bug("SC does not stand at the fenced version"));
    }
    let info = sc.commit_info(version)?.ok_or(PhaseError::Bug("SC has no commit info of its own version"))?;
    let found = info.app_hash();
    Verified::compare(expected, found).ok_or(PhaseError::Verdict(Verdict::AppHash { version, expected, found }))
}
