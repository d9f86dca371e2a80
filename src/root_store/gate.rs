//! Closing the gate for a moment: commits wait, for the switch of a migration and for nothing else, and not for ever.
//!
//! Owns the rule by which commits and a switch meet. Whoever closes the gate says for how long at most; a commit that has waited so
//! long opens it again by itself and goes on, and the switch finds out before it records anything. Only once it is sealed, which is
//! for the one write that makes the switch, commits wait until that has come to its end.

use super::{ChangeSet, Fence, FormerTrees, RootStore, StoreError, WarmTrees, commit::Committer, layout::Layout};
use crate::{
    model::{CommitInfo, Version},
    target::Commitment,
};
use std::{
    sync::{Arc, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Commits wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct Closed {
    /// The first commit that has to wait waits so long.
    most: Duration,
    /// Since when a commit has waited.
    since: Option<Instant>,
    sealed: bool,
}

impl RootStore {
    /// Closes the gate, after a commit under way; says at which version the store stands. The first commit that comes waits `most`
    /// at most, and then goes on.
    pub fn close(&self, most: Duration) -> Option<Arc<CommitInfo>> {
        let mut committer = self.inner.gate();
        committer.closed = Some(Closed { most, since: None, sealed: false });
        self.latest()
    }

    /// Keeps the gate closed until it is opened or the layout is replaced, however long that takes. False if a commit has opened it
    /// meanwhile: then it is open.
    #[must_use]
    pub fn seal(&self) -> bool {
        let mut committer = self.inner.gate();
        committer.closed.as_mut().is_some_and(|closed| {
            closed.sealed = true;
            true
        })
    }

    /// Whether a commit that comes now has to wait.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.inner.gate().closed.is_some()
    }

    /// Opens the gate. Repeatable.
    pub fn open_gate(&self) {
        self.inner.gate().closed = None;
        self.inner.opened.notify_all();
    }

    /// Trees of SC at a version, to be handed over with it: of what this store may keep in memory as much as helps the commits that
    /// come, as far as `go_on` lets it read. `recent` are the last commits, oldest first.
    ///
    /// # Errors
    /// SC has no such version, or could not be read.
    pub fn warm(
        &self,
        sc: &dyn Commitment,
        version: Version,
        recent: &[Arc<ChangeSet>],
        go_on: &dyn Fn() -> bool,
    ) -> Result<WarmTrees, StoreError> {
        WarmTrees::read(sc, version, recent, self.means().nodes, go_on)
    }

    /// Goes on with another layout, and opens the gate; as [`Fence::replace`]. `oldest` is its oldest version where that is known, and
    /// `warm` are its trees if they stand at the newest one: finding and reading them takes time in which commits wait.
    ///
    /// # Errors
    /// As [`Fence::replace`]: the old layout goes on, and the gate is as it was.
    pub fn switch_to(
        &self,
        layout: Arc<dyn Layout>,
        keep_older: bool,
        oldest: Option<Version>,
        warm: Option<WarmTrees>,
    ) -> Result<FormerTrees, StoreError> {
        let mut fence = Fence { inner: &self.inner, committer: self.inner.gate() };
        let before = fence.replace_at(layout, keep_older, oldest, warm)?;
        fence.committer.closed = None;
        drop(fence);
        self.inner.opened.notify_all();
        Ok(before)
    }

    /// Refuses all commits from here on, for this reason: what is of record is not known until the store is opened anew.
    pub fn break_off(&self, why: String) {
        let mut committer = self.inner.gate();
        committer.break_off(why);
        committer.closed = None;
        drop(committer);
        self.inner.opened.notify_all();
    }

    /// Waits until the gate is open, as long as that may take.
    pub(super) fn pass<'a>(&self, mut committer: MutexGuard<'a, Committer>) -> MutexGuard<'a, Committer> {
        loop {
            let Some(closed) = &mut committer.closed else { return committer };
            let since = *closed.since.get_or_insert_with(Instant::now);
            if closed.sealed {
                committer = self.inner.opened.wait(committer).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let left = closed.most.saturating_sub(since.elapsed());
            if left.is_zero() {
                committer.closed = None;
                return committer;
            }
            committer = self.inner.opened.wait_timeout(committer, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
