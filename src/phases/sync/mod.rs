//! Syncing: versions after the snapshot are applied; each store's root is compared with that of store/v1 before any version
//! with it is said to exist, and so is the app hash.
//!
//! The database retains those versions, so they are applied by the stretch (`stretch`): store by store, several at a time,
//! what its tree grew by (`grow`). A version of a store for which that does not go is replayed (`replay`), which also
//! tells who is at fault; stores that an upgrade begins or drops have their own way (`upgrade`).

mod grow;
mod replay;
mod stretch;
mod upgrade;

use super::{PhaseError, Work};
use crate::{model::Version, source::Source, target::Target};
use stretch::Stretches;

/// Applies the versions after `applied` up to `to` and hands the newest that is durable everywhere to `done`, after
/// every stretch. An engine that is ahead (a crash left it so) keeps what it has.
///
/// # Errors
/// A difference is a [`PhaseError::Verdict`]; no version with it is said to exist.
pub fn run(
    work: Work<'_>,
    source: &dyn Source,
    target: &Target,
    mut applied: Version,
    to: Version,
    done: &mut dyn FnMut(Version) -> Result<(), PhaseError>,
) -> Result<(), PhaseError> {
    if let Some(sc) = &target.sc {
        sc.end_bulk()?;
    }
    if let Some(ss) = &target.ss {
        ss.end_bulk()?;
    }
    let mut stretches = Stretches::new(work, source, target);
    while applied < to {
        applied = stretches.apply(applied, to)?;
        done(applied)?;
    }
    Ok(())
}
