//! Reconciling on open: the journal against the source and the target it belongs to.
//!
//! Owns the judgement whether what is there can be continued. The target may be ahead of the journal by work in flight,
//! never behind; the source may have grown, never gone back or become another chain.

use crate::{
    error::Error,
    journal::SourceIdentity,
    machine::{Phase, State},
    source::{Feed, Source},
    target::Target,
};

/// Checks that the source is the chain the job was born with and has not gone back.
///
/// # Errors
/// [`Error::Blocked`], saying what differs.
pub fn source(identity: &SourceIdentity, state: &State, feed: &dyn Feed) -> Result<(), Error> {
    let advice = "The target still holds the migration of the first database. Give that one again, or use another target \
                  directory for this one.";
    let blocked = |what: String| Error::Blocked { what, advice: advice.to_owned() };
    let latest = feed.tip()?;
    let applied = state.phase.applied().unwrap_or(identity.height);
    let needed = identity.tip.max(applied);
    if latest < needed {
        return Err(blocked(format!(
            "the source stands at version {latest}, but it stood at {needed} before: it was rolled back or replaced"
        )));
    }
    for (version, expected) in [(identity.height, identity.app_hash), (identity.tip, identity.tip_app_hash)] {
        let found = feed.app_hash(version)?;
        if found.is_none() && version < applied {
            // Pruned, with all that was recorded of it. What was applied since is compared with the target, see [`both`].
            continue;
        }
        if found != Some(expected) {
            return Err(blocked(format!(
                "the source's app hash at version {version} is {}, but it was {expected} when the job was begun: this is \
                 another chain, or it was rolled back and went another way",
                found.map_or("not recorded".to_owned(), |hash| hash.to_string())
            )));
        }
    }
    Ok(())
}

/// Checks that what is given as the source of a job that is done is not another chain's database, as far as that can be told: it may
/// have gone on since, been pruned, or be gone.
///
/// # Errors
/// [`Error::Blocked`] with both app hashes.
pub fn done(identity: &SourceIdentity, source: &dyn Source) -> Result<(), Error> {
    let Ok(Some(info)) = source.commit_info(identity.height) else { return Ok(()) };
    let found = info.app_hash();
    if found == identity.app_hash {
        return Ok(());
    }
    Err(Error::Blocked {
        what: format!(
            "the target is done, and has the migration of another chain: the source's app hash at version {} is {found}, it was {} \
             when the job was begun",
            identity.height, identity.app_hash
        ),
        advice: "Nothing was changed. Use another target directory for this source.".to_owned(),
    })
}

/// Checks that the newest version applied is the same in source and target.
///
/// # Errors
/// [`Error::Blocked`] with both app hashes.
pub fn both(state: &State, feed: &dyn Feed, target: &Target) -> Result<(), Error> {
    let (Some(applied), Some(sc)) = (state.phase.applied(), &target.sc) else { return Ok(()) };
    let (recorded, applied_there) = (feed.app_hash(applied)?, sc.commit_info(applied)?.map(|info| info.app_hash()));
    match (recorded, applied_there) {
        (Some(recorded), Some(found)) if recorded != found => Err(Error::Blocked {
            what: format!(
                "the source's app hash at version {applied} is {recorded}, and {found} was applied: this is another chain, or it was \
                 rolled back and went another way"
            ),
            advice:
                "Nothing was changed. Give the database the job was begun with, or `storeshift abort` and begin anew."
                    .to_owned(),
        }),
        _ => Ok(()),
    }
}

/// Checks that the target is not behind the journal.
///
/// # Errors
/// [`Error::Blocked`], saying which engine is.
pub fn target(state: &State, target: &Target) -> Result<(), Error> {
    let Some(applied) = state.phase.applied() else { return Ok(()) };
    if matches!(state.phase, Phase::Done { .. }) {
        // Whoever runs on the target since may have gone on, or pruned; that is none of the journal's business.
        return Ok(());
    }
    let sc = target.sc.as_ref().map(|sc| sc.latest()).transpose()?;
    let ss = target.ss.as_ref().map(|ss| ss.latest()).transpose()?;
    for (name, latest) in [("SC", sc), ("SS", ss)] {
        let Some(latest) = latest else { continue };
        if latest.is_none_or(|latest| latest < applied) {
            return Err(Error::Blocked {
                what: format!(
                    "{name} stands at {}, but the journal says that version {applied} was durable there: the target was \
                     replaced, restored from an older copy, or its disk lost acknowledged writes",
                    latest.map_or("no version".to_owned(), |version| format!("version {version}"))
                ),
                advice: "The source is untouched. Run `storeshift abort` to wipe the target, then start over."
                    .to_owned(),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Kind,
        model::{CommitInfo, Hash, StoreInfo, Version},
        source::{Source, SourceError},
        target::{Commitment as _, MemoryCommitment, MemoryStorage, Outage, Storage as _},
    };
    use std::collections::BTreeMap;

    /// What a chain recorded, and where it stands.
    struct Chain {
        tip: u64,
        app_hashes: BTreeMap<u64, Hash>,
    }

    impl Feed for Chain {
        fn tip(&self) -> Result<Version, SourceError> {
            Ok(Version(self.tip))
        }

        fn retained(&self) -> &dyn Source {
            unreachable!("trees are none of reconcile's business")
        }

        fn app_hash(&self, version: Version) -> Result<Option<Hash>, SourceError> {
            Ok(self.app_hashes.get(&version.0).copied())
        }
    }

    const OTHER: Hash = Hash([99; 32]);

    /// A chain at this version with the app hashes of these; each version's is its number.
    fn chain(tip: u64, recorded: &[u64]) -> Chain {
        Chain { tip, app_hashes: recorded.iter().map(|version| (*version, Hash([*version as u8; 32]))).collect() }
    }

    /// Of a job that was begun at version 5 of a chain that stood at 9.
    fn identity() -> SourceIdentity {
        SourceIdentity {
            engine: "memory".to_owned(),
            height: Version(5),
            app_hash: Hash([5; 32]),
            tip: Version(9),
            tip_app_hash: Hash([9; 32]),
        }
    }

    fn at(phase: Phase) -> State {
        State { phase, ..State::new(Version(5)) }
    }

    fn begun() -> State {
        State::new(Version(5))
    }

    fn applied(applied: u64) -> State {
        at(Phase::Syncing { height: Version(5), applied: Version(applied) })
    }

    /// Whether it is refused, and then so that somebody acts.
    fn refused(checked: Result<(), Error>, words: &str) -> bool {
        let Err(error) = checked else { return false };
        assert_eq!(error.kind(), Kind::Blocked, "{error}");
        assert!(error.to_string().contains(words) && !error.advice().is_empty(), "{words}: {error}");
        true
    }

    #[test]
    fn a_source_behind_where_it_stood_or_behind_what_was_applied_is_refused() {
        for (state, tip, is_refused) in [
            (begun(), 8, true),
            (begun(), 9, false),
            (begun(), 10, false),
            (applied(12), 11, true),
            (applied(12), 12, false),
            (applied(12), 13, false),
            (applied(7), 8, true),
        ] {
            let found = source(&identity(), &state, &chain(tip, &[5, 9]));
            assert_eq!(refused(found, "rolled back or replaced"), is_refused, "{state:?} at {tip}");
        }
    }

    #[test]
    fn a_source_with_another_app_hash_is_refused_though_all_that_it_has_was_applied() {
        for version in [5, 9] {
            for state in [begun(), applied(8), applied(12)] {
                let mut other = chain(12, &[5, 9]);
                other.app_hashes.insert(version, OTHER);
                let checked = source(&identity(), &state, &other);
                assert!(refused(checked, &format!("at version {version} is {OTHER}")), "{state:?}");
            }
        }
    }

    #[test]
    fn an_app_hash_that_was_pruned_is_missed_as_long_as_nothing_later_was_applied() {
        let missed = |state: &State, recorded: &[u64]| {
            refused(source(&identity(), state, &chain(12, recorded)), "is not recorded")
        };
        assert!(missed(&begun(), &[9]) && missed(&begun(), &[5]));
        assert!(missed(&applied(5), &[9]), "5 is what was applied last");
        assert!(!missed(&applied(6), &[9]) && missed(&applied(6), &[5]));
        assert!(!missed(&applied(9), &[9]) && missed(&applied(9), &[]));
        assert!(!missed(&applied(10), &[]));
    }

    fn info(version: u64, root: Option<Hash>) -> CommitInfo {
        let store = StoreInfo { name: "bank".into(), version: Version(version), root };
        CommitInfo { version: Version(version), stores: vec![store], timestamp: None }
    }

    /// SC and SS up to these versions; 0 is none.
    fn engines(sc: u64, ss: u64) -> Target {
        let (trees, pairs) = (MemoryCommitment::new(None, Outage::never()), MemoryStorage::new(None, Outage::never()));
        if sc > 0 {
            trees.write_info(&info(sc, Some(Hash([1; 32])))).unwrap();
        }
        if ss > 0 {
            pairs.write_watermark(Version(ss)).unwrap();
        }
        Target { sc: Some(Box::new(trees)), ss: Some(Box::new(pairs)) }
    }

    #[test]
    fn what_was_applied_last_has_to_have_the_app_hash_that_the_source_recorded() {
        let mut recorded = chain(9, &[]);
        assert!(both(&applied(8), &recorded, &engines(8, 8)).is_ok(), "pruned");
        recorded.app_hashes.insert(8, info(8, Some(Hash([1; 32]))).app_hash());
        assert!(both(&applied(8), &recorded, &engines(8, 8)).is_ok());
        assert!(both(&applied(8), &recorded, &engines(7, 8)).is_ok(), "what is behind is told by `target`");
        recorded.app_hashes.insert(8, OTHER);
        assert!(refused(both(&applied(8), &recorded, &engines(8, 8)), "another chain"));
        assert!(both(&begun(), &recorded, &engines(8, 8)).is_ok(), "nothing was applied");
        let pairs_only = Target { sc: None, ..engines(8, 8) };
        assert!(both(&applied(8), &recorded, &pairs_only).is_ok(), "there are no roots");
    }

    #[test]
    fn an_engine_behind_what_was_applied_is_refused_until_the_job_is_done() {
        for (sc, ss, words) in
            [(7, 8, "SC stands at version 7"), (8, 7, "SS stands at version 7"), (8, 0, "SS stands at no")]
        {
            assert!(refused(target(&applied(8), &engines(sc, ss)), words), "{sc} {ss}");
            assert!(target(&begun(), &engines(sc, ss)).is_ok(), "nothing was applied");
            let done = at(Phase::Done { height: Version(5), version: Version(8), finished: false });
            assert!(target(&done, &engines(sc, ss)).is_ok(), "whoever runs on it may have pruned");
        }
        for (sc, ss) in [(8, 8), (9, 8), (8, 9), (9, 9)] {
            assert!(target(&applied(8), &engines(sc, ss)).is_ok(), "{sc} {ss}: work in flight");
        }
        let trees_only = Target { ss: None, ..engines(8, 8) };
        assert!(target(&applied(8), &trees_only).is_ok());
    }
}
