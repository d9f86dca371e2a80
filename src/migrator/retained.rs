//! Verifying a store/v2 on which a node has run since it was handed over, and whose snapshot it has pruned: what is left of what was
//! migrated is in the newest version, which is proven from its commit info down and compared pair by pair.
//!
//! Owns what counts as pruned. Nothing of it can be redone from the source: the chain has gone on.

use super::{Migrator, verify::Findings};
use crate::{
    error::Error,
    machine::Phase,
    model::{Verdict, Version},
    target::TargetError,
};

impl Migrator {
    /// The oldest and the newest version that are left, if a node has pruned the snapshot since the target is done.
    pub(super) fn retained_since(&self, height: Version) -> Result<Option<(Version, Version)>, Error> {
        let (Phase::Done { version, .. }, Some(sc)) = (&self.recorder.state().phase, &self.target.sc) else {
            return Ok(None);
        };
        // What is damaged is not pruned; the other checks say what is wrong with it.
        let there = |version: Version| match sc.commit_info(version) {
            Ok(info) => Ok(info.is_some()),
            Err(TargetError::Corrupt { .. }) => Ok(true),
            Err(error) => Err(error),
        };
        let latest = match sc.latest() {
            Ok(Some(latest)) if latest > *version => latest,
            Ok(_) | Err(TargetError::Corrupt { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if there(height)? || !there(latest)? {
            return Ok(None);
        }
        // Nodes prune from below.
        let (mut gone, mut left) = (height, latest);
        while left.0 - gone.0 > 1 {
            let middle = Version(gone.0 + (left.0 - gone.0) / 2);
            *(if there(middle)? { &mut left } else { &mut gone }) = middle;
        }
        Ok(Some((left, latest)))
    }

    /// Proves the newest of the versions that are left; with `source` the app hashes of those that it has, too, are compared.
    pub(super) fn verify_retained(
        &self,
        (oldest, latest): (Version, Version),
        source: bool,
    ) -> Result<Findings, Error> {
        let mut findings = Findings { retained: Some((oldest, latest)), ..Findings::default() };
        let Some(sc) = &self.target.sc else { return Ok(findings) };
        // A crash leaves SS behind SC; the node brings it up when it starts.
        let newest = match self.target.ss.as_ref().map(|ss| ss.latest()).transpose() {
            Ok(stands_at) => stands_at.flatten().map_or(latest, |ss| latest.min(ss)),
            Err(TargetError::Corrupt { what, .. }) => {
                findings.wrong.push(Verdict::Store { store: "(all)".into(), what: format!("SS: {what}") });
                latest
            }
            Err(error) => return Err(error.into()),
        };
        if newest < oldest {
            let what = format!("SS stands at version {newest}, SC has versions {oldest} to {latest}");
            findings.wrong.push(Verdict::Store { store: "(all)".into(), what });
            return Ok(findings);
        }
        if source {
            self.compare_app_hashes(sc.as_ref(), (oldest, latest), &mut findings)?;
        }
        if self.commit_info(sc.as_ref(), newest, &mut findings)?.is_some() {
            self.check_tip(newest, &mut findings)?;
        }
        Ok(findings)
    }
}
