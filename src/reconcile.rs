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
