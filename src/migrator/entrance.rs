//! What a job reads, opened: a database or a snapshot as the plan sees it, and the feed of the versions after it.

use super::{paths, reading};
use crate::{
    error::Error,
    model::Hash,
    plan::{Paths, Plan, Tuning},
    source::{
        self, ChangesetFeed, ChangesetFiles, Feed, IavlStores, RetainedVersions, Snapshot, Source,
        checkpoint::{Checkpoint, Standstill},
    },
    target::Place,
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

pub use reading::Held;

/// A source, and the feed of the versions after the snapshot.
pub type Entered = (Arc<dyn Source>, Box<dyn Feed>);

/// Opens what a job reads, at `path`, which is the plan's source or a checkpoint of it, and the changeset files if there are any. A
/// snapshot is read to its end, unless the target's spool has it already; nothing is written.
///
/// # Errors
/// It is nothing this release reads, it is damaged, or it is a snapshot and there is no trusted app hash for it.
pub(super) fn enter(
    path: &Path,
    paths: &Paths,
    plan: &Plan,
    trusted: Option<Hash>,
    tuning: Tuning,
) -> Result<Entered, Error> {
    let source: Arc<dyn Source> = if source::snapshot::recognises(path) {
        if trusted.is_none() {
            return Err(Error::Blocked {
                what: format!("{} is a state sync snapshot, which carries no app hash", path.display()),
                advice: "Nothing was changed. Give the app hash you trust with --app-hash (app_hash in a plan file), from the \
                         header of the block after the snapshot's height."
                    .to_owned(),
            });
        }
        Arc::new(Snapshot::open(path, &Place::new(&paths.target).spool())?)
    } else {
        seen_by(plan, source::open(path, tuning.source_cache())?)
    };
    let feed: Box<dyn Feed> = match &paths.changesets {
        Some(directory) => {
            Box::new(ChangesetFeed::new(source.clone(), ChangesetFiles::open(directory, source.latest()?)?))
        }
        None => Box::new(RetainedVersions::new(source.clone())),
    };
    Ok((source, feed))
}

/// Opens a database as the plan sees it, while its lock is held here.
///
/// # Errors
/// It is nothing this release reads, or damaged.
pub(super) fn enter_still(still: &Standstill, plan: &Plan, tuning: Tuning) -> Result<Arc<dyn Source>, Error> {
    Ok(seen_by(plan, source::open_still(still, tuning.source_cache())?))
}

fn seen_by(plan: &Plan, source: Box<dyn Source>) -> Arc<dyn Source> {
    if plan.leave_out_memory_stores { Arc::new(IavlStores::of(source)) } else { Arc::from(source) }
}

/// A source that is read for a moment; what had to be made for that goes with it.
pub struct Peek {
    /// The source.
    pub source: Arc<dyn Source>,
    /// The versions after it.
    pub feed: Box<dyn Feed>,
    /// What keeps it readable.
    pub(super) held: Held,
}

impl Peek {
    /// The checkpoint that is read, if a node has the source open.
    #[must_use]
    pub fn checkpoint(&self) -> Option<&Checkpoint> {
        self.held.checkpoint()
    }
}

/// Opens a source as a plan sees it, to look at it; through a checkpoint if a node has it open. Tables are linked for that, never
/// copied.
///
/// # Errors
/// It could not be read, or no checkpoint of it could be made; or a snapshot has no trusted app hash.
pub fn peek(paths: &Paths, plan: &Plan, tuning: Tuning) -> Result<Peek, Error> {
    look(paths, plan, plan.app_hash, tuning)
}

/// Where to read a database for a moment that a node may have open: a checkpoint of it in this directory, which goes with what is
/// returned. The directory is made if need be, and goes too if it was.
///
/// # Errors
/// No checkpoint of it could be made; tables are linked for it, never copied.
pub fn checkpoint_in(source: &Path, directory: &Path, tuning: Tuning) -> Result<(PathBuf, Held), Error> {
    let (source, target) = (source.to_owned(), directory.to_owned());
    let paths = paths::resolved(&Paths { source, checkpoint: Some(target.clone()), target, changesets: None })?;
    reading::for_a_moment(&paths, &Place::new(&paths.target), tuning)
}

/// As [`peek`], where the app hash is known that a snapshot must have.
pub(super) fn look(paths: &Paths, plan: &Plan, trusted: Option<Hash>, tuning: Tuning) -> Result<Peek, Error> {
    let paths = &paths::resolved(paths)?;
    let (path, held) = reading::for_a_moment(paths, &Place::new(&paths.target), tuning)?;
    let (source, feed) = enter(&path, paths, plan, trusted, tuning)?;
    Ok(Peek { source, feed, held })
}
