//! Pruning: which versions go, and one after the other their going, on a thread of its own.
//!
//! Commits wake it and do not wait for it; readers hold their versions. A version is given up, so that nobody reads it any more,
//! then removed at once; a crash in between leaves it to be removed later.

use super::{
    Inner, Span, StoreError,
    layout::{Pruned, pruned},
};
use crate::model::Version;
use std::sync::{
    Arc, Condvar, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

/// Which versions are kept, as the SDK's options say it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pruning {
    /// All.
    #[default]
    Nothing,
    /// The newest one and so many before it; the others go with every so many-th version.
    Keep {
        /// Versions kept before the newest (`pruning-keep-recent`).
        recent: u64,
        /// How often the others are removed (`pruning-interval`); 0 is as 1.
        interval: u64,
    },
}

impl Pruning {
    /// The oldest version that is to be kept once this one is committed; none if it is not one to prune at.
    fn goal(self, version: Version) -> Option<Version> {
        match self {
            Pruning::Keep { recent, interval } if version.0.is_multiple_of(interval.max(1)) => {
                version.0.checked_sub(recent).map(Version).filter(|goal| goal.0 > 0)
            }
            _ => None,
        }
    }
}

/// Where pruning stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PruneStatus {
    /// The versions that can be read.
    pub span: Option<Span>,
    /// Versions before this one are to go.
    pub goal: Version,
    /// The oldest version that is held, if any is.
    pub held: Option<Version>,
    /// Why the last attempt ended early. It is taken up with the next commit.
    pub failed: Option<String>,
}

/// What is to be pruned.
#[derive(Default)]
pub(super) struct Pruner {
    goal: AtomicU64,
    /// Taken by who looks for a version to remove, and removes it.
    turn: Mutex<()>,
    /// Taken while a version is removed, with what was given up and not removed yet, and the last failure.
    work: Mutex<Work>,
    call: Mutex<Call>,
    called: Condvar,
}

#[derive(Default)]
struct Work {
    given_up: Option<Pruned>,
    failed: Option<String>,
}

#[derive(Default)]
struct Call {
    work: bool,
    end: bool,
}

impl Pruner {
    /// A version was committed.
    pub fn committed(&self, pruning: Pruning, version: Version) {
        if let Some(goal) = pruning.goal(version) {
            self.want(goal);
        }
        if pruning != Pruning::Nothing {
            self.call(|call| call.work = true);
        }
    }

    /// Versions before this one are to go.
    pub fn want(&self, goal: Version) {
        self.goal.fetch_max(goal.0, Ordering::SeqCst);
    }

    fn call(&self, say: impl FnOnce(&mut Call)) {
        say(&mut self.call.lock().unwrap_or_else(PoisonError::into_inner));
        self.called.notify_all();
    }

    /// The thread comes to its end after the version in hand.
    pub fn end(&self) {
        self.call(|call| call.end = true);
    }

    fn has_to_end(&self) -> bool {
        self.call.lock().unwrap_or_else(PoisonError::into_inner).end
    }

    /// Runs `change` while nothing is being removed, and forgets what was given up: the layout changes.
    pub fn between<T>(&self, change: impl FnOnce() -> T) -> T {
        let mut work = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        let done = change();
        work.given_up = None;
        self.goal.store(0, Ordering::SeqCst);
        done
    }
}

impl Inner {
    /// The thread.
    pub(super) fn prune_when_called(&self) {
        loop {
            let call = self.pruner.call.lock().unwrap_or_else(PoisonError::into_inner);
            let waits = |call: &mut Call| !call.work && !call.end;
            let mut call = self.pruner.called.wait_while(call, waits).unwrap_or_else(PoisonError::into_inner);
            if call.end {
                return;
            }
            call.work = false;
            drop(call);
            if let Err(error) = self.prune() {
                tracing::warn!("pruning ended early, and is taken up with the next commit: {error}");
            }
        }
    }

    /// Removes what is to go.
    pub(super) fn prune(&self) -> Result<(), StoreError> {
        let mut any = false;
        let pruned = loop {
            match self.prune_one() {
                Ok(true) => any = true,
                Ok(false) => break Ok(()),
                Err(error) => break Err(error),
            }
            if self.pruner.has_to_end() {
                break Ok(());
            }
        };
        let stand = self.stand();
        let forgotten = match stand.retained.span().filter(|_| any) {
            Some(span) => stand.layout.forget(span.oldest),
            None => Ok(()),
        };
        let ended = pruned.and(forgotten);
        let mut work = self.pruner.work.lock().unwrap_or_else(PoisonError::into_inner);
        work.failed = ended.as_ref().err().map(ToString::to_string);
        ended
    }

    /// Removes one version; false if there is none to go.
    fn prune_one(&self) -> Result<bool, StoreError> {
        let _turn = self.pruner.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let work = || self.pruner.work.lock().unwrap_or_else(PoisonError::into_inner);
        let stand = self.stand();
        let mut found = None;
        if work().given_up.is_none() {
            let goal = Version(self.pruner.goal.load(Ordering::SeqCst));
            let Some(version) = stand.retained.expendable(goal) else { return Ok(false) };
            // Before it is given up: what is damaged stays, and can be read as far as it goes. It takes long, and a switch, for which
            // commits wait, has to wait for what is removed only.
            found = Some((version, pruned(stand.layout.as_ref(), version)?));
        }
        let mut work = work();
        if !Arc::ptr_eq(&stand, &self.stand()) {
            return Ok(true);
        }
        if let Some((version, found)) = found {
            if !stand.retained.give_up(version) {
                return Ok(false);
            }
            work.given_up = Some(found);
        }
        if let Some(gone) = &work.given_up {
            stand.layout.prune(gone)?;
        }
        work.given_up = None;
        Ok(true)
    }

    pub(super) fn prune_status(&self) -> PruneStatus {
        let stand = self.stand();
        PruneStatus {
            span: stand.retained.span(),
            goal: Version(self.pruner.goal.load(Ordering::SeqCst)),
            held: stand.retained.held(),
            failed: self.pruner.work.lock().unwrap_or_else(PoisonError::into_inner).failed.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_goal_is_that_of_the_sdk() {
        // store v1 `pruning.Manager.GetPruningHeight`: height - 1 - keepRecent and everything before it goes.
        let keep = |recent, interval, version| Pruning::Keep { recent, interval }.goal(Version(version));
        assert_eq!(keep(2, 10, 30), Some(Version(28)));
        assert_eq!((keep(2, 10, 31), keep(2, 10, 29)), (None, None));
        assert_eq!((keep(5, 1, 5), keep(5, 0, 6)), (None, Some(Version(1))));
        assert_eq!(Pruning::Nothing.goal(Version(10)), None);
    }
}
