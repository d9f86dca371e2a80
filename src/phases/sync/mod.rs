//! Syncing: versions after the snapshot are applied; each store's root is compared with that of store/v1 before any version
//! with it is said to exist, and so is the app hash.
//!
//! Versions that a database retains are applied by the stretch ([`stretch`]). Where that does not go, and without a database,
//! they are applied one by one: the trees of SC grow by the changes of each version ([`trees`]). The next version is read from
//! the feed while one is applied; where trees are grown their roots prove the changes, so the feed need not; only if a root is
//! not right it does, and tells whether the source is at fault.

mod pairs;
mod stretch;
mod trees;

use super::{PhaseError, Work};
use crate::{
    iavl::diff::Proof,
    model::{Hash, Version},
    progress::raise,
    source::{Feed, FeedError, StoreChange, VersionChanges},
    target::{Storage, Target},
};
use pairs::apply_pairs;
use std::{sync::mpsc, thread};
use stretch::{Reached, Stretches};
use trees::Trees;

/// After this many changes what was applied is synced and recorded, so that one sync serves many small versions.
const GROUP_CHANGES: usize = 50_000;
/// After this many versions too.
const GROUP_VERSIONS: u64 = 256;

/// Applies the versions after `applied` up to `to` and hands the newest that is durable everywhere to `done`, after
/// every stretch or group. An engine that is ahead (a crash left it so) skips what it has.
///
/// # Errors
/// A difference is a [`PhaseError::Verdict`]; nothing of that version is written.
pub fn run(
    work: Work<'_>,
    feed: &dyn Feed,
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
    let mut stretches = feed.retained().map(|source| Stretches::new(work, source, target));
    while applied < to {
        work.heed_stop()?;
        let reached = match &mut stretches {
            Some(stretches) => stretches.apply(applied, to)?,
            None => Reached::OneByOne(to),
        };
        applied = match reached {
            Reached::Version(version) => {
                done(version)?;
                version
            }
            Reached::OneByOne(version) => {
                one_by_one(work, feed, target, applied, version, done)?;
                version
            }
        };
    }
    Ok(())
}

fn one_by_one(
    work: Work<'_>,
    feed: &dyn Feed,
    target: &Target,
    applied: Version,
    to: Version,
    done: &mut dyn FnMut(Version) -> Result<(), PhaseError>,
) -> Result<(), PhaseError> {
    let mut sync = Sync::new(work, feed, target)?;
    // An SC that is ahead does not replay, and so proves nothing.
    let replayed = sync.sc.as_ref().map(Trees::latest);
    let read = move |version: Version| {
        let proof = if replayed.is_some_and(|latest| latest < version) { Proof::ByReplay } else { Proof::Here };
        feed.changes(version, proof)
    };
    if work.tuning.workers < 2 {
        return sync.run(applied, to, &mut |version| Some(read(version)), done);
    }
    thread::scope(|scope| {
        // Without room in between: one version is applied, one is read, no more are in memory.
        let (hand_on, take) = mpsc::sync_channel(0);
        scope.spawn(move || {
            let mut version = applied;
            while version < to {
                version = version.next();
                let changes = read(version);
                let failed = changes.is_err();
                // Nobody takes it any more where applying stopped.
                if hand_on.send(changes).is_err() || failed {
                    break;
                }
            }
        });
        // `take` goes when this ends, and the reader with it.
        sync.run(applied, to, &mut |_| take.recv().ok(), done)
    })
}

struct Sync<'a> {
    work: Work<'a>,
    feed: &'a dyn Feed,
    sc: Option<Trees<'a>>,
    ss: Option<(&'a dyn Storage, Version)>,
}

impl<'a> Sync<'a> {
    fn new(work: Work<'a>, feed: &'a dyn Feed, target: &'a Target) -> Result<Sync<'a>, PhaseError> {
        let sc = match target.sc.as_deref() {
            None => None,
            Some(sc) => Some(Trees::new(work, sc)?),
        };
        let ss = match target.ss.as_deref() {
            None => None,
            Some(ss) => {
                let Some(latest) = ss.latest()? else {
                    return Err(PhaseError::Bug("syncing a target that is not restored"));
                };
                Some((ss, latest))
            }
        };
        Ok(Sync { work, feed, sc, ss })
    }

    fn run(
        &mut self,
        applied: Version,
        to: Version,
        read: &mut dyn FnMut(Version) -> Option<Result<VersionChanges, FeedError>>,
        done: &mut dyn FnMut(Version) -> Result<(), PhaseError>,
    ) -> Result<(), PhaseError> {
        let mut recorded = applied;
        let mut version = applied;
        let mut changes = 0;
        while version < to && !self.work.stop.is_asked() {
            version = version.next();
            let next = read(version).ok_or(PhaseError::Bug("the feed ended before its last version"))??;
            changes += self.apply(&next)?;
            raise(&self.work.progress.versions, 1);
            let is_full = self.sc.as_ref().is_some_and(Trees::is_full);
            if is_full || changes >= GROUP_CHANGES || version.0 - recorded.0 >= GROUP_VERSIONS {
                self.make_durable()?;
                done(version)?;
                (recorded, changes) = (version, 0);
            }
        }
        if version > recorded {
            self.make_durable()?;
            done(version)?;
        }
        self.work.heed_stop()
    }

    /// Applies one version; returns how many changes it had.
    fn apply(&mut self, version: &VersionChanges) -> Result<usize, PhaseError> {
        let at = version.info.version;
        self.check_feed(version)?;
        if let Some(trees) = &mut self.sc
            && trees.latest() < at
            && let Err(error) = trees.apply(self.work, self.feed, version)
        {
            if matches!(error, PhaseError::Verdict(_) | PhaseError::Tree { .. }) {
                // The changes were not proven. If the source is at fault, that is the error.
                self.feed.changes(at, Proof::Here)?;
            }
            return Err(error);
        }
        let mut count = 0;
        for update in &version.stores {
            if let StoreChange::Changes(changes) = &update.change {
                count += changes.len();
            }
        }
        if let Some((ss, latest)) = &mut self.ss
            && *latest < at
        {
            apply_pairs(self.work, *ss, self.feed, version)?;
            *latest = at;
        }
        raise(&self.work.progress.changes, count as u64);
        Ok(count + 1)
    }

    /// The feed proves each store's changes against its root, or the trees do; that these are the roots of the app hash is
    /// checked here.
    fn check_feed(&self, version: &VersionChanges) -> Result<(), PhaseError> {
        let roots = version.stores.iter().map(|update| (&update.store, update.root));
        let recorded = version.info.stores.iter().map(|store| (&store.name, store.root.unwrap_or(Hash::EMPTY)));
        if roots.eq(recorded) { Ok(()) } else { Err(PhaseError::Bug("a feed gave other stores than its commit info")) }
    }

    fn make_durable(&mut self) -> Result<(), PhaseError> {
        // One sync makes every version of the group durable, in order: each engine's log is a prefix of what was written.
        if let Some(trees) = &mut self.sc {
            trees.make_durable()?;
        }
        if let Some((ss, _)) = &self.ss {
            ss.sync()?;
        }
        Ok(())
    }
}
