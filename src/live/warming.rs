//! The trees that the chain will go on with, made warm before the switch.
//!
//! Owns what the last commits changed, which the thread that commits hands over without waiting, and the trees read for it beside the
//! commits, which follow those that come until the switch. What goes wrong with them is no matter: then the first commits on store/v2 read
//! what they need.

use crate::{
    model::Version,
    root_store::{ChangeSet, Comparing, RootStore, WarmTrees},
    target::Commitment,
};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError},
    time::{Duration, Instant},
};

/// Bytes of the last commits' changes that are kept.
const RECENT_BYTES: usize = 8 << 20;

/// So long trees are read at most, at a time: a disk that is slow in giving a million nodes holds no switch up.
const LONGEST: Duration = Duration::from_secs(10);

/// Of so many commits it is seen how long the chain takes from one to the next.
const RHYTHM: usize = 8;

/// How often trees are read anew that could not follow, or are not followed by the time.
const MOST_TRIES: u32 = 3;

/// So many commits are followed while the chain stands still for the switch; with more of them nodes are read as they are needed.
const MOST_FOLLOWED: u64 = 4;

/// What the last commits changed.
#[derive(Debug, Default)]
pub(super) struct Recent(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    commits: VecDeque<Commit>,
    bytes: usize,
}

#[derive(Debug)]
struct Commit {
    version: Version,
    changes: Arc<ChangeSet>,
    bytes: usize,
    at: Instant,
}

impl Recent {
    /// Takes a commit, without waiting: where somebody reads them right now it is left out.
    pub fn add(&self, version: Version, changes: &Arc<ChangeSet>) {
        let mut kept = match self.0.try_lock() {
            Ok(kept) => kept,
            Err(TryLockError::Poisoned(kept)) => kept.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        let pairs = changes.stores.iter().flat_map(|store| &store.changes);
        let bytes = pairs.map(|change| change.key.len() + change.value.as_ref().map_or(0, Vec::len) + 64).sum();
        kept.bytes += bytes;
        kept.commits.push_back(Commit { version, changes: changes.clone(), bytes, at: Instant::now() });
        while kept.bytes > RECENT_BYTES
            && let Some(oldest) = kept.commits.pop_front()
        {
            kept.bytes -= oldest.bytes;
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those up to a version, oldest first.
    fn until(&self, version: Version) -> Vec<Arc<ChangeSet>> {
        let kept = self.kept();
        let until = kept.commits.iter().filter(|commit| commit.version <= version);
        until.map(|commit| commit.changes.clone()).collect()
    }

    /// What a version changed.
    fn of(&self, version: Version) -> Option<Arc<ChangeSet>> {
        let kept = self.kept();
        kept.commits.iter().find(|commit| commit.version == version).map(|commit| commit.changes.clone())
    }

    /// Whether the next commit is nearer than the last one, by the time that the last few took from one to the next. A chain that has
    /// not committed for much longer rests, and then none is.
    pub fn is_near(&self, now: Instant) -> bool {
        let kept = self.kept();
        let times: Vec<Instant> = kept.commits.iter().rev().take(RHYTHM).map(|commit| commit.at).collect();
        let (Some(last), Some(first)) = (times.first(), times.last()) else { return false };
        let each = last.duration_since(*first) / u32::try_from(times.len() - 1).unwrap_or(1).max(1);
        let since = now.saturating_duration_since(*last);
        since > each / 2 && since < each * 3
    }
}

/// Trees on their way to the switch.
#[derive(Default)]
pub(super) struct Warming {
    trees: Option<WarmTrees>,
    tries: u32,
}

impl Warming {
    /// Has the trees stand at the version that is applied, if that can be; whether that took time, in which the chain may have
    /// committed more.
    pub fn keep_up(
        &mut self,
        store: &RootStore,
        sc: &dyn Commitment,
        recent: &Recent,
        applied: Version,
        go_on: &dyn Fn() -> bool,
    ) -> bool {
        let followed = self.follow(sc, recent, applied, Comparing::Records);
        if self.trees.is_some() || self.tries == MOST_TRIES {
            return followed;
        }
        self.tries += 1;
        let began = Instant::now();
        let in_time = || began.elapsed() < LONGEST && go_on();
        match store.warm(sc, applied, &recent.until(applied), &in_time) {
            Ok(trees) => {
                tracing::debug!(%applied, nodes = trees.resident(), took = ?began.elapsed(), "trees are warm");
                self.trees = Some(trees);
            }
            Err(error) => tracing::debug!(%error, "trees are not made warm"),
        }
        true
    }

    /// The trees at the version at which the chain stands still, if they are there or nearly.
    pub fn take(&mut self, sc: &dyn Commitment, recent: &Recent, version: Version) -> Option<WarmTrees> {
        if self.trees.as_ref().is_some_and(|trees| version.0.saturating_sub(trees.version().0) <= MOST_FOLLOWED) {
            self.follow(sc, recent, version, Comparing::Roots);
        }
        self.tries = 0;
        self.trees.take()
    }

    /// Whether there was anything to follow.
    fn follow(&mut self, sc: &dyn Commitment, recent: &Recent, to: Version, comparing: Comparing) -> bool {
        let behind = self.trees.as_ref().is_some_and(|trees| trees.version() < to);
        while let Some(trees) = self.trees.as_mut().filter(|trees| trees.version() < to) {
            let next = trees.version().next();
            let followed = recent.of(next).map(|changes| trees.follow(sc, &changes, comparing));
            match followed {
                Some(Ok(())) => continue,
                Some(Err(error)) => tracing::debug!(%error, "warm trees are of no use any more"),
                None => tracing::debug!(%next, "what a version changed is not known"),
            }
            self.trees = None;
        }
        behind
    }
}
