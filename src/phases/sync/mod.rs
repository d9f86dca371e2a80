//! Syncing: versions after the snapshot are applied; each store's root is compared with that of store/v1 before any version
//! with it is said to exist, and so is the app hash.
//!
//! The database retains those versions, so they are applied by the stretch (`stretch`): store by store, several at a time,
//! what its tree grew by (`grow`). A version of a store for which that does not go is replayed (`replay`), which also
//! tells who is at fault; stores that an upgrade begins or drops have their own way (`upgrade`).
//!
//! Versions that come as changes instead of trees are applied to SC's own trees (`changes`). What the target has already, and how
//! it is written, is the same for all (`written`).

mod changes;
mod grow;
mod replay;
mod stretch;
mod upgrade;
mod written;

use super::{PhaseError, Work};
use crate::{
    model::Version,
    source::Feed,
    target::{Target, TargetError},
};
use changes::Replays;
use stretch::Stretches;

/// So many files of an engine may wait to be compacted while versions are applied. The more are compacted at once, the less
/// often the rest is rewritten with them; a gigabyte of them is little on the disk, and still few to be merged.
const SPARE_FILES: usize = 64;

/// Applies the versions after `applied` up to `to` and hands the newest that is durable everywhere to `done`, after
/// every stretch. An engine that is ahead (a crash left it so) keeps what it has.
///
/// # Errors
/// A difference is a [`PhaseError::Verdict`]; no version with it is said to exist.
pub fn run(
    work: Work<'_>,
    feed: &dyn Feed,
    target: &Target,
    mut applied: Version,
    to: Version,
    done: &mut dyn FnMut(Version) -> Result<(), PhaseError>,
) -> Result<(), PhaseError> {
    if let Some(sc) = &target.sc {
        sc.hold()?;
    }
    if let Some(ss) = &target.ss {
        ss.hold()?;
    }
    let changes = feed.changes();
    let trees = if changes.is_some() { to.min(feed.retained().latest()?) } else { to };
    let mut stretches = Stretches::new(work, feed.retained(), target, applied);
    let mut replays = changes.map(|changes| Replays::new(work, changes, target));
    while applied < to {
        work.turn()?;
        applied = match &mut replays {
            Some(replays) if applied >= trees => replays.apply(applied, to)?,
            _ => stretches.apply(applied, trees)?,
        };
        done(applied)?;
        compact(work, target, SPARE_FILES)?;
    }
    Ok(())
}

/// Leaves the engines nothing to compact, once versions were applied. Repeatable: a crash or a stop leaves what was there
/// before or what comes of it.
///
/// # Errors
/// The target could not be written; or the request to stop.
pub fn settle(work: Work<'_>, target: &Target) -> Result<(), PhaseError> {
    compact(work, target, 0)
}

/// Has each engine compact if more than `spare` of its files wait for it.
fn compact(work: Work<'_>, target: &Target, spare: usize) -> Result<(), PhaseError> {
    // What is being compacted goes on in the engine's own threads; what follows waits.
    let stop = || work.governor.turn().is_err();
    let sc = || target.sc.as_ref().map_or(Ok(()), |sc| sc.compact(spare, &stop));
    let ss = || target.ss.as_ref().map_or(Ok(()), |ss| ss.compact(spare, &stop));
    match sc().and_then(|()| ss()) {
        Err(TargetError::Stopped) => Err(PhaseError::Stopped),
        done => Ok(done?),
    }
}
